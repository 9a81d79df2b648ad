/* reconstruct.h - prune one layer so that its *outputs* change least: the local step of
 * energy-aware pruning (Yang, Chen, Sze, CVPR 2017).
 *
 * For a filter with weights a [m], patches X [n,m] and targets y [n] (moments.h), r = y - X a:
 *
 *   1. remove   in every filter the weights of smallest magnitude go, on purpose more than asked
 *   2. restore  until the layer keeps what was asked: take the filter whose ||r||_1 is largest,
 *               give it back the g removed weights whose return, each by itself, lowers its
 *               ||r||_1 most (with their old values), update r
 *   3. fit      least squares over the weights S that are kept, filter by filter:
 *               minimise ||y - X_S w||^2 + lambda ||w - a_S||^2
 *
 * With the granularity 4x1 (wattle/granularity.h) steps 1 and 2 go by bands of filters and
 * blocks instead of filters and weights: blocks of the smallest norm go; the band whose filters
 * have the largest mean ||r||_1 gets back the g blocks whose return lowers the sum of its
 * filters' ||r||_1 most; what stays is the largest number up to the one asked that whole blocks
 * make. Filters are fitted one by one all the same; neighbours of one pattern share the matrix.
 *
 * The ridge lambda pulls towards the old weights, never towards 0; so the fit never increases a
 * filter's squared error (where rounding would, the old weights stay).
 *
 * Weights are [K,m], a mask is 1.0f and 0.0f of the same shape: what wtl_param's value and mask
 * are for conv, depthwise and dense layers. A weight that is pruned on entry stays pruned.
 * Errors are over all filters and rows: l1 the sum of |r|, l2 the root of the sum of r^2; l1 is
 * NaN where the moments keep no samples.
 *
 * Threads do not change a bit. Memory: steps 1 and 2 take K * n floats; the fit takes, for each
 * thread, about 8 q^2 bytes (12 q^2 + 4 n s from samples), q = min(n, s) with samples alone and
 * else s, the most weights that a filter keeps.
 */
#ifndef WATTLE_RECONSTRUCT_H
#define WATTLE_RECONSTRUCT_H

#include "wattle/granularity.h"
#include "wattle/moments.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wtl_singular_rule {
    WTL_SINGULAR_SVD, /* the shortest change of weights among the best, by singular values */
    WTL_SINGULAR_KEEP /* the filter keeps its magnitude-pruned values */
} wtl_singular_rule;

/* Everything that the paper leaves open. Zero means the default. */
typedef struct wtl_reconstruct_options {
    wtl_granularity granularity; /* what goes and comes back together */
    /* Share of the layer's weights removed beyond the goal; default 0.05 (the paper's example:
     * 30 % asked, 35 % removed), but never more than half of what is to stay. Negative: none,
     * so magnitude alone chooses (up to the rounding of weights per filter). */
    double overshoot;
    int restore_step;    /* g weights (blocks), 1 to 64; default 2, the paper's */
    size_t restore_rows; /* judge by the first so many rows only; default all */
    /* When no removed weight of the worst filter lowers its error, the filter is by default set
     * aside, and only when that holds for all are the least harmful weights given back; true:
     * the worst filter gets them at once, to the letter of the paper. */
    bool restore_losses;
    /* [K], positive: filters are compared by scale * ||r||_1, for example |gamma| / sigma of a
     * batch norm that follows; default NULL, all equal. */
    const float *filter_scale;
    /* lambda as a fraction of the mean of diag(X_S^T X_S). Default: 1e-4, or 1e-2 if there are
     * fewer than 5 rows per kept weight. Negative: none. */
    double ridge;
    /* A system that Cholesky refuses is tried again with 10 times the ridge (1e-6 after none),
     * this often; default 4. Negative: not at all. */
    int ridge_raises;
    wtl_singular_rule singular; /* and then */
    int threads;                /* default 1 */
} wtl_reconstruct_options;

typedef struct wtl_output_error {
    double l1, l2;
} wtl_output_error;

typedef struct wtl_reconstruct_report {
    size_t weights, kept;      /* of the layer; kept at the end */
    size_t removed, restored;  /* by steps 1 and 2 */
    wtl_output_error target;   /* the targets themselves: what 100 % error is */
    wtl_output_error before;   /* on entry */
    wtl_output_error removal;  /* after step 1 */
    wtl_output_error restoral; /* after step 2 */
    wtl_output_error after;    /* after step 3 */
    int filters_raised;        /* needed a higher ridge */
    int filters_singular;      /* went by the singular rule */
    int filters_unchanged;     /* the fit found nothing better than the old weights */
} wtl_reconstruct_report;

/* All three steps: the layer keeps exactly `keep` weights (see above for blocks). options may be NULL (defaults),
 * report may be NULL. On failure weights and mask are as they were.
 *   WTL_E_ARG    the moments keep no samples or have no rows; an option is outside its meaning;
 *                the mask is not of whole blocks
 *   WTL_E_RANGE  more weights are to be kept than are left
 *   WTL_E_NAN    a weight is not finite
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_reconstruct_layer(const wtl_moments *moments, float *weights,
                                         float *mask, size_t keep,
                                         const wtl_reconstruct_options *options,
                                         wtl_reconstruct_report *report,
                                         wtl_error *err) WTL_MUST_CHECK;

/* Steps 1 and 2 alone; in the report `after` equals `restoral`. */
WTL_API wtl_status wtl_reconstruct_select(const wtl_moments *moments, float *weights,
                                          float *mask, size_t keep,
                                          const wtl_reconstruct_options *options,
                                          wtl_reconstruct_report *report,
                                          wtl_error *err) WTL_MUST_CHECK;

/* Step 3 alone, on the weights that `mask` keeps (NULL: all), whoever chose them; needs no
 * samples. In the report removal and restoral equal `before`. Statuses as above. */
WTL_API wtl_status wtl_reconstruct_fit(const wtl_moments *moments, float *weights,
                                       const float *mask,
                                       const wtl_reconstruct_options *options,
                                       wtl_reconstruct_report *report,
                                       wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
