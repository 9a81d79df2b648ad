/* model.h - a checkpoint made ready to run, for eval and infer. */
#ifndef WTL_TOOLS_MODEL_H
#define WTL_TOOLS_MODEL_H

#include "wattle/checkpoint.h"
#include "wattle/dataset.h"
#include "wattle/net.h"

typedef struct wtl_model {
    wtl_checkpoint *checkpoint;
    wtl_net *net;
} wtl_model;

/* The words of --engine, in the order of wtl_engine. */
extern const char *const wtl_engine_words[];

/* Read `path` and plan it for inference; threads 0 means all processors. On failure nothing
 * is left behind. */
wtl_status wtl_model_load(wtl_model *model, const char *path, wtl_net_options options,
                          wtl_error *err) WTL_MUST_CHECK;
void wtl_model_clear(wtl_model *model);

/* The name of class `index`, or "class INDEX" written to `spare`. */
const char *wtl_model_class(const wtl_checkpoint *checkpoint, int index, char spare[32]);

#endif
