/* moments.h - what a layer sees and what it should answer, gathered for local reconstruction.
 *
 * At sampled output positions of sampled images a conv, depthwise or dense layer multiplies its
 * weights by unrolled input patches. With n such rows (images x positions), m = C/groups * R * S
 * weights a filter, X [n,m] the patches of a group and Y [n,K] the targets (outputs that are
 * wanted, without bias), this module keeps, for every group apart,
 *
 *   primal form  X^T X [m,m] and X^T Y [m,K] as sums in double (products of 256 rows at a time
 *                in float by GEMM, added up in double), and sum of Y^2 per filter
 *   dual form    the rows themselves, X and Y in float: smaller where n < m
 *
 * Filters of a group share X^T X. One pass over the batches is enough; memory is fixed by
 * wtl_moments_create() and does not grow.
 *
 * The network in question is what the caller feeds: inputs x of the pruned network and targets
 * from the original one correct the error of the layers before (asymmetric); both from one
 * network, the layer by itself. Feed conv and dense layers what they read (an input shape of a
 * dense layer is flattened), and outputs *before* an activation: a net planned with no_fusion
 * and keep_outputs has them; or let wtl_moments_add_inputs() compute the targets.
 *
 * Positions of image i depend on (seed, layer, i) alone, i counted from 0 over all calls; how
 * images are split over calls changes float rounding only. Threads do not change a bit. Call
 * wtl_blas_prepare() first (creating a net does).
 */
#ifndef WATTLE_MOMENTS_H
#define WATTLE_MOMENTS_H

#include "wattle/netdef.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wtl_moments_form {
    WTL_MOMENTS_AUTO, /* dual if the most rows are fewer than m */
    WTL_MOMENTS_PRIMAL,
    WTL_MOMENTS_DUAL
} wtl_moments_form;

typedef struct wtl_moments_options {
    size_t images; /* most images that will be added, at least 1 */
    int positions; /* sampled in each output map, without repeats; 0: 16; never more than
                         * the map has */
    wtl_moments_form form;
    bool keep_samples; /* in primal form, too: n * (groups * m + K) floats. Restoring weights
                         * (reconstruct.h) needs samples; the dual form has them anyway */
    uint64_t seed;
    uint32_t layer;    /* names the layer in the random stream */
    int threads;       /* 0: one */
    size_t most_bytes; /* 0: 2 GiB */
} wtl_moments_options;

typedef struct wtl_moments wtl_moments;

/* `layer` is a conv, depthwise or dense layer (not kept) that reads images of shape `in`.
 *   WTL_E_ARG    another kind of layer; images is 0; a negative number
 *   WTL_E_SHAPE  the layer does not fit `in`
 *   WTL_E_FIT    more than most_bytes would be needed; the message says how many
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_moments_create(wtl_moments **out, const wtl_layer_def *layer,
                                      wtl_shape in, const wtl_moments_options *options,
                                      wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_moments_free(wtl_moments *moments); /* takes NULL */

/* Add n images x [n,C,H,W] with the layer's outputs y [n,K,P,Q] as targets, less bias [K]
 * (which may be NULL).
 *   WTL_E_RANGE  more images than options.images; nothing was added
 *   WTL_E_NAN    a patch or target is not finite; the moments are of no use any more */
WTL_API wtl_status wtl_moments_add_outputs(wtl_moments *moments, int n, const float *x,
                                           const float *y, const float *bias,
                                           wtl_error *err) WTL_MUST_CHECK;

/* The same with targets computed: weights [K,m] times the patches of x_original [n,C,H,W],
 * which may be x itself. */
WTL_API wtl_status wtl_moments_add_inputs(wtl_moments *moments, int n, const float *x,
                                          const float *x_original, const float *weights,
                                          wtl_error *err) WTL_MUST_CHECK;

/* ---- looking at them ---- */

typedef struct wtl_moments_info {
    int groups, filters;  /* filters: K, of all groups */
    int width;            /* m: weights of a filter */
    size_t rows;          /* n so far */
    bool primal, samples; /* what is kept; at least one of them */
    size_t bytes;         /* of memory */
} wtl_moments_info;

WTL_API wtl_moments_info wtl_moments_info_of(const wtl_moments *moments);

/* (X^T X)[i,j] of a group, (X^T Y)[i,k] and sum of Y[k]^2: primal form only, else NaN. */
WTL_API double wtl_moments_second(const wtl_moments *moments, int group, int i, int j);
WTL_API double wtl_moments_cross(const wtl_moments *moments, int filter, int i);
WTL_API double wtl_moments_energy(const wtl_moments *moments, int filter);

#ifdef __cplusplus
}
#endif
#endif
