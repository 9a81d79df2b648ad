/* conv_masked.h - a convolution of the native engine (conv_native.h) while masks are followed:
 * each of its three products by kernels that touch kept weights alone, where that is estimated to
 * be faster than the dense ones. The choice depends on the mask and the plan alone.
 */
#ifndef WTL_CONV_MASKED_H
#define WTL_CONV_MASKED_H

#include "conv_sparse.h"

/* Chosen for a mask; `memory` below is what wtl_conv_masked_make() fills. */
typedef struct wtl_conv_masked {
    bool forward, data, weights;     /* sparse? */
    double seconds;                  /* estimated: the products as chosen, together */
    wtl_conv_sparse kept;            /* header of the pattern of forward */
    wtl_conv_sparse sampled;         /* of that of weights */
    wtl_conv_geometry flipped_layer; /* of the pattern of data */
    wtl_conv_sparse flipped;
} wtl_conv_masked;

/* plain: x is NCHW. dense_seconds: of one dense product, for the whole batch and one thread. False, if nothing is
 * gained. */
bool wtl_conv_masked_plan(wtl_conv_masked *m, const wtl_native *native,
                          const wtl_conv_geometry *g, int batch, bool plain, bool wants_data,
                          double dense_seconds, const float *mask);
size_t wtl_conv_masked_bytes(const wtl_conv_masked *m);
/* Bytes of scratch of the sparse products; SIZE_MAX if they cannot be counted. */
size_t wtl_conv_masked_scratch(const wtl_conv_masked *m, int threads);
void wtl_conv_masked_make(const wtl_conv_masked *m, const wtl_conv_geometry *g,
                          const float *mask, void *memory);

/* The patterns in `memory`. */
wtl_conv_sparse *wtl_conv_masked_kept(const wtl_conv_masked *m, void *memory);
wtl_conv_sparse *wtl_conv_masked_sampled(const wtl_conv_masked *m, void *memory);
wtl_conv_sparse *wtl_conv_masked_flipped(const wtl_conv_masked *m, void *memory);

#endif
