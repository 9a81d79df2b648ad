/* split.h - which images a checkpoint's training held out. */
#ifndef WATTLE_SPLIT_H
#define WATTLE_SPLIT_H

#include "wattle/checkpoint.h"
#include "wattle/dataset.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The split that the checkpoint was trained with (its meta "data"): with it, @val are the
 * images held out then, and @train never has one of them. `part` is WTL_DATA_VAL. A checkpoint
 * that does not tell has the default split of seed 0. */
WTL_API wtl_dataset_options wtl_split_of(const wtl_checkpoint *checkpoint);

#ifdef __cplusplus
}
#endif
#endif
