/* sample.h - a few preprocessed images held in memory: what pruning looks at again and again.
 */
#ifndef WATTLE_SAMPLE_H
#define WATTLE_SAMPLE_H

#include "wattle/dataset.h"
#include "wattle/netdef.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_sample {
    int count;       /* images */
    wtl_shape shape; /* of one */
    float *images;   /* [count,C,H,W], as evaluation sees them: no augmentation */
    int *labels;     /* [count] */
} wtl_sample;

/* Draw `count` images (all of them, if there are fewer) of `dataset` without repeats; which
 * depends on `seed` and the data alone. Unreadable pictures are left out.
 *   WTL_E_ARG     count < 1
 *   WTL_E_FORMAT  not one image could be read
 *   WTL_E_SHAPE, WTL_E_NOMEM, and what the batcher returns */
WTL_API wtl_status wtl_sample_draw(wtl_sample *out, const wtl_dataset *dataset,
                                   const wtl_netdef *def, int count, uint64_t seed,
                                   wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_sample_clear(wtl_sample *sample); /* fine on an empty one */

#ifdef __cplusplus
}
#endif
#endif
