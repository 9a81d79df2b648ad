/* reconstruct_private.h - the steps of reconstruct.h, on copies. */
#ifndef WTL_RECONSTRUCT_PRIVATE_H
#define WTL_RECONSTRUCT_PRIVATE_H

#include "moments_private.h"
#include "wattle/reconstruct.h"

/* One layer under reconstruction; options have their defaults filled in. */
typedef struct wtl_local {
    const wtl_moments *moments;
    wtl_reconstruct_options options;
    float *weights; /* [K,m]: pruned ones are 0 */
    float *mask;    /* [K,m] */
} wtl_local;

/* r [K, length] := y - X w for the first `rows` rows of the samples. */
void wtl_residuals(const wtl_local *l, int rows, float *r, size_t length);

/* Sums of |r| and r^2 over one filter, in a fixed order. */
double wtl_norm_1(const float *r, size_t count);
double wtl_norm_2_squared(const float *r, size_t count);

/* Steps 1 and 2, and what they report. */
wtl_status wtl_restore(wtl_local *l, size_t keep, wtl_reconstruct_report *report,
                       wtl_error *err) WTL_MUST_CHECK;

/* Step 3. */
wtl_status wtl_fit(wtl_local *l, wtl_reconstruct_report *report, wtl_error *err) WTL_MUST_CHECK;

/* The layer's error as it is. */
wtl_status wtl_output_error_of(const wtl_local *l, wtl_output_error *error,
                               wtl_error *err) WTL_MUST_CHECK;

#endif
