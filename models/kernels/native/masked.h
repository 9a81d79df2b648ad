/* masked.h - the kernels of training with weights that are gone, beside those of sparse.h: sums
 * over pixels (or images) for the kept weights alone, and what a dense layer needs in addition.
 * Vectors run along pixels or images; a plane is what one channel or filter has of them.
 */
#ifndef WTL_MASKED_H
#define WTL_MASKED_H

#include "sparse.h"

enum {
    WTL_MASKED_SLACK = 16 /* floats behind `sums` that are read and written back */
};

typedef struct wtl_masked_kernels {
    /* For f < count, the entries e of starts[f] .. starts[f+1]-1 and all `vectors` vectors i:
     *   sums[e - starts[0]] += sum over i of x[offset + i] * dy[f*pitch + i] */
    void (*rows)(int vectors, int count, const int32_t *starts, const wtl_sparse_entry *entries,
                 const float *x, const float *dy, long pitch, float *sums);
    /* The same for quads of filters: sums[4*(e - starts[0]) + k] with dy of filter 4*f + k. */
    void (*quads)(int vectors, int count, const int32_t *starts, const wtl_sparse_quad *entries,
                  const float *x, const float *dy, long pitch, float *sums);

    /* dx[offset + i] += value * dy[f*pitch + i] for the entries of filter f and `width`
     * vectors, at most most_spread. */
    void (*spread)(int width, int count, const int32_t *starts, const wtl_sparse_entry *entries,
                   const float *dy, long pitch, float *dx);
    int most_spread;

    /* x[i*step + c] = activation(planes[c*pitch + i] + bias[c]) for c < 16 and i < count; reads
     * planes up to the next multiple of the vector's length. */
    void (*from_planes)(const wtl_sparse_finish *how, const float *planes, long pitch,
                        long count, float *x, long step);
} wtl_masked_kernels;

#endif
