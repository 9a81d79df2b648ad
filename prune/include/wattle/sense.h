/* sense.h - how much each layer can lose by itself: a sensitivity scan.
 *
 * For every prunable layer and a ladder of sparsities, that layer alone is pruned by magnitude
 * (Han et al. 2015, section 3.1, figure 6; no fine-tuning, batch norm as it is) and the net is
 * judged. What goes are the smallest weights, or the 4x1 blocks of the smallest norm
 * (wattle/granularity.h), as many as the sparsity allows: what stays is the largest number up to
 * the one asked that whole blocks make.
 */
#ifndef WATTLE_SENSE_H
#define WATTLE_SENSE_H

#include "wattle/granularity.h"
#include "wattle/mask.h"
#include "wattle/sample.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WTL_SENSE_LEVELS = 10 };

/* Level 0 is dense; 1 ... 9 are sparsities 0.1, 0.2, ... 0.9. */
static inline double wtl_sense_density(int level)
{
    return 1.0 - 0.1 * level;
}

typedef struct wtl_sense_row {
    const char *parameter; /* the net's */
    double sparsity;       /* asked, 0..1 */
    size_t weights, kept;
    double top1, top5; /* percent */
    double loss;
} wtl_sense_row;

typedef struct wtl_sense {
    wtl_sense_row *rows; /* owned: by layer in the order of `params`, then by sparsity */
    int count;
} wtl_sense;

typedef struct wtl_sense_options {
    const double *sparsities; /* [sparsity_count], ascending, 0..1; NULL: WTL_SENSE_LEVELS */
    int sparsity_count;
    wtl_granularity granularity;                          /* what goes together */
    void (*progress)(void *context, int done, int total); /* may be NULL */
    int (*stop)(void *context); /* non-zero: WTL_E_STOPPED; may be NULL */
    void *context;
} wtl_sense_options;

/* Scan params[count] (prunable; of `net`, an inference net) on `sample`. Weights and masks are
 * as before afterwards, also after a failure; a mask that is there stays in force.
 *   WTL_E_ARG (also: a mask is not of whole blocks), WTL_E_RANGE (a sparsity outside 0..1), WTL_E_SHAPE (the sample does not fit the
 *   net), WTL_E_NAN, WTL_E_STOPPED, WTL_E_NOMEM */
WTL_API wtl_status wtl_sense_scan(wtl_sense *out, wtl_net *net, wtl_param *const *params,
                                  int count, const wtl_sample *sample,
                                  const wtl_sense_options *options,
                                  wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_sense_clear(wtl_sense *sense);

/* CSV with the header that users of Distiller know: parameter,sparsity,top1,top5,loss. Freed by
 * wtl_free(); NULL when memory is short. */
WTL_API char *wtl_sense_csv(const wtl_sense *sense) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
