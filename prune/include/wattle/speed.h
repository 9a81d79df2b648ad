/* speed.h - whether zeros among a net's weights make its layers run faster on a processor.
 *
 * Predicted from the rates of its kernels (wattle/kernel_costs.h), not measured: times are those
 * of the layers that have weights, alone, on costs.threads threads. Layers that never skip zeros
 * count at the dense rate. `wattle bench` measures.
 */
#ifndef WATTLE_SPEED_H
#define WATTLE_SPEED_H

#include "wattle/kernel_costs.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_speed_layer {
    char *name;
    bool can_skip; /* there is a kernel for it that skips zeros */
    wtl_kernel_density density;
    wtl_kernel kernel;    /* the fastest */
    double dense_seconds; /* of the batch, by the dense kernel */
    double seconds;       /* by `kernel` */
    double speed_up;      /* dense_seconds / seconds, at least 1 */
    double in_blocks;     /* what speed_up would be with as many weights, in 4x1 blocks */
    double pays_below[WTL_KERNEL_COUNT]; /* the density under which that kernel is faster than
                                            dense (wtl_kernel_break_even); 0: never */
} wtl_speed_layer;

typedef struct wtl_speed {
    wtl_kernel_costs costs;
    int batch;
    wtl_speed_layer *layers; /* owned: those with prunable weights, in the net's order */
    int count, faster;       /* layers; those with speed_up > 1 */
    double dense_seconds, seconds, speed_up; /* of all of them together */
} wtl_speed;

/* Of the weights that `net` (inference or training) has now, on `batch` images at a time. On
 * success cleared by wtl_speed_clear(), else empty.
 *   WTL_E_NOMEM, and what wtl_net_create() returns */
WTL_API wtl_status wtl_speed_predict(wtl_speed *out, wtl_net *net,
                                     const wtl_kernel_costs *costs, int batch,
                                     wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_speed_clear(wtl_speed *speed);

struct json_t;
/* {"predicted": true, "batch", "processor" (null: rates not measured on it), "isa", "threads",
 * "speed_up", "dense_seconds", "seconds", "layers_faster", "layers": [{"layer", "kernel": "dense",
 * "sparse" or "sparse 4x1", "density", "density_4x1", "dense_seconds", "seconds", "speed_up",
 * "speed_up_in_blocks", "pays_below", "pays_below_4x1"}]}. NULL when memory is short. */
WTL_API struct json_t *wtl_speed_to_json(const wtl_speed *speed) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
