/* sparse_dense.h - fully connected layers most of whose weights are exactly 0, for inference. Only
 * weights that are not 0 are read: 6 bytes each, their column in 16 bits and their value.
 *
 *   x [N,D]   w [K,D]   b [K]   y [N,K]   as in native_dense.h
 *
 * Columns are cut into panels, whose x stays in a cache while all filters pass. Filters are
 * packed in one of two forms, whichever is estimated to be faster:
 *   rows   each by itself: positions at random
 *   quads  four consecutive ones together, which share a column's index and loads of x: for
 *          masks in blocks of 4x1, or nearly so. A weight that is 0 beside one that is not is
 *          multiplied.
 *
 * A weight of 0 is not multiplied even where x is infinite or NaN. The same bytes whatever the
 * number of threads.
 */
#ifndef WTL_SPARSE_DENSE_H
#define WTL_SPARSE_DENSE_H

#include "native.h"
#include "native/dense.h"
#include "native/sparse_dense.h"

/* A packed layer: this header, then what the offsets (in bytes) point at. */
typedef struct wtl_sparse_dense {
    int k, d;
    int batch; /* images that it is packed for; it runs with any number up to it */
    bool quads;
    int width, panels; /* columns of a panel; the last may have fewer */
    int groups;        /* filters or quads */
    size_t entries;    /* packed: non-zeros, or quads of them */
    size_t starts_at;  /* uint32_t [panels][groups], + 1 */
    size_t index_at;   /* uint16_t [entries] */
    size_t value_at;   /* float [entries], or [entries][4] */
    size_t bytes;      /* of all; 0: there are too many entries to pack */
    double cycles;     /* estimated, of one of two threads, for the whole batch */
} wtl_sparse_dense;

/* How w would be packed for up to `batch` images. */
wtl_sparse_dense wtl_sparse_dense_plan(const wtl_native *native, int k, int d, int batch,
                                       const float *w);

/* The cycles of the dense kernels (native_dense.h) on such a layer, by the same measure. */
double wtl_sparse_dense_rival(const wtl_native *native, int k, int d, int batch);

/* Pack w as planned into plan->bytes, aligned to 64 bytes. w is as when planned. */
void wtl_sparse_dense_pack(const wtl_sparse_dense *plan, const float *w, void *packed);

/* Bytes of scratch of a forward of n images. */
size_t wtl_sparse_dense_scratch(const wtl_sparse_dense *plan, int n);

/* y = activation(x * w^T + b) for t->n <= batch images; b may be NULL. */
void wtl_sparse_dense_forward(const wtl_native *native, int threads,
                              const wtl_sparse_dense *packed, const wtl_dense *t,
                              const float *x, const float *b, float *y, float *scratch);

#endif
