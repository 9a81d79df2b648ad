/* model.h - checkpoints and networks that users name; checkpoints made ready to run. */
#ifndef WTL_TOOLS_MODEL_H
#define WTL_TOOLS_MODEL_H

#include "wattle/checkpoint.h"
#include "wattle/dataset.h"
#include "wattle/net.h"

/* What users name by CKPT|NET: a checkpoint, or a network by its text file or zoo name. */
typedef struct wtl_subject {
    wtl_checkpoint *checkpoint; /* NULL for a bare network */
    wtl_netdef *loaded;         /* NULL for a checkpoint */
    const wtl_netdef *def;
} wtl_subject;

/* On failure nothing is left behind. What wtl_checkpoint_read() and wtl_netdef_load() return;
 * WTL_E_FORMAT: a checkpoint without a network. */
wtl_status wtl_subject_load(wtl_subject *subject, const char *what,
                            wtl_error *err) WTL_MUST_CHECK;
void wtl_subject_clear(wtl_subject *subject);

typedef struct wtl_model {
    wtl_checkpoint *checkpoint;
    wtl_net *net;
} wtl_model;

/* The words of --engine, in the order of wtl_engine. */
extern const char *const wtl_engine_words[];
/* The words of --isa, in the order of wtl_isa. */
extern const char *const wtl_isa_words[];

/* Read `path` and plan it for inference; threads 0 means all processors. On failure nothing
 * is left behind. */
wtl_status wtl_model_load(wtl_model *model, const char *path, wtl_net_options options,
                          wtl_error *err) WTL_MUST_CHECK;
void wtl_model_clear(wtl_model *model);

/* The name of class `index`, or "class INDEX" written to `spare`. */
const char *wtl_model_class(const wtl_checkpoint *checkpoint, int index, char spare[32]);

#endif
