/* dense_masked.h - a fully connected layer of the native engine while its mask is followed: each
 * of its three products touches kept weights alone, where that is estimated to be faster than the
 * dense kernels. The choice depends on the mask, the layer's sizes and the batch alone.
 *
 *   x [n,D]   w [K,D]   b [K]   y [n,K]
 *
 * Maps are turned into planes of up to 64 images, one a column of x or a filter, so that a weight
 * meets vectors of images. Columns are cut into panels whose planes stay in the first-level
 * cache while all filters pass. One pattern serves the three products: a panel after the other, in
 * each the entries of filter after filter.
 */
#ifndef WTL_DENSE_MASKED_H
#define WTL_DENSE_MASKED_H

#include "native.h"
#include "native/dense.h"

typedef struct wtl_dense_masked {
    int k, d, batch;
    bool forward, data, weights; /* sparse? */
    int pitch;                   /* floats of a plane: 16, 32 or 64 */
    int panels;
    size_t entries;
    size_t most;                  /* entries of a panel in a block of filters */
    size_t starts_at, entries_at; /* int32_t [panels][K] + 1, wtl_sparse_entry [entries] */
    size_t bytes;                 /* of the pattern */
} wtl_dense_masked;

/* False if nothing is gained. */
bool wtl_dense_masked_plan(wtl_dense_masked *m, const wtl_native *native, int k, int d,
                           int batch, bool wants_data, const float *mask);
/* Bytes of scratch; SIZE_MAX if they cannot be counted. */
size_t wtl_dense_masked_scratch(const wtl_dense_masked *m, int threads);
/* The pattern, in `memory` of m->bytes, aligned to 64. */
void wtl_dense_masked_make(const wtl_dense_masked *m, const float *mask, void *memory);

/* Fill in the values that w has now: before forward and data. */
void wtl_dense_masked_take(const wtl_dense_masked *m, void *pattern, int threads,
                           const float *w);
/* The products of t->n <= batch images, t->x_step and t->y_step floats apart: */
/* y = activation(x * w^T + b); b may be NULL. */
void wtl_dense_masked_forward(const wtl_dense_masked *m, const wtl_native *native,
                              const void *pattern, int threads, const wtl_dense *t,
                              const float *x, const float *b, float *y, float *scratch);
/* dw = dy^T * x of the kept weights; others are left as they are. */
void wtl_dense_masked_weights(const wtl_dense_masked *m, const wtl_native *native,
                              const void *pattern, int threads, const wtl_dense *t,
                              const float *x, const float *dy, float *dw, float *scratch);
/* dx = dy * w */
void wtl_dense_masked_data(const wtl_dense_masked *m, const wtl_native *native,
                           const void *pattern, int threads, const wtl_dense *t,
                           const float *dy, float *dx, float *scratch);

#endif
