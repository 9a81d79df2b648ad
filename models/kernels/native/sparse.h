/* sparse.h - the kernels of convolution by weights most of which are 0 (conv_sparse.h). Vectors
 * run along output pixels: patches of x and sums are planes, one a channel or filter. */
#ifndef WTL_SPARSE_H
#define WTL_SPARSE_H

#include "wattle/net.h"

#include <stdbool.h>
#include <stdint.h>

enum { WTL_QUAD = 4 }; /* filters of a quad: consecutive ones that share positions */

/* A weight and where the first output pixel finds its x, in floats. */
typedef struct wtl_sparse_entry {
    float value;
    int32_t offset;
} wtl_sparse_entry;

typedef struct wtl_sparse_quad {
    float value[WTL_QUAD];
    int32_t offset;
} wtl_sparse_quad;

/* What the sums of 16 filters become in y. */
typedef struct wtl_sparse_finish {
    const float *bias; /* [16] */
    wtl_activation activation;
} wtl_sparse_finish;

typedef struct wtl_sparse_kernels {
    int lanes;      /* floats of a vector */
    int most_rows;  /* vectors of one call of rows() */
    int most_quads; /* and of quads() */

    /* For f < count and the `width` vectors i at x + offset:
     *   sums[f*pitch + i] = (fresh ? 0 : itself) + sum over entries starts[f] .. starts[f+1]-1
     *                                              of value * x[offset + i] */
    void (*rows)(int width, int count, const int32_t *starts, const wtl_sparse_entry *entries,
                 const float *x, float *sums, long pitch, bool fresh);
    /* The same for `count` quads of filters. */
    void (*quads)(int width, int count, const int32_t *starts, const wtl_sparse_quad *entries,
                  const float *x, float *sums, long pitch, bool fresh);

    /* planes[c*pitch + i] = x[i*step + c] for c < 16 and i < count; 0 up to the next multiple
     * of `lanes`. */
    void (*to_planes)(const float *x, long step, long count, float *planes, long pitch);
    /* to[c*to_pitch + i] = from[c*from_pitch + i] for c < channels and `vectors` vectors i. */
    void (*copy)(const float *from, long from_pitch, float *to, long to_pitch, int channels,
                 int vectors);
    /* y[i*16 + f] = activation(bias[f] + sums[f*pitch + i] + add[i*16 + f]) for f < 16 and
     * i < count; add may be NULL. Reads sums up to the next multiple of `lanes`. */
    void (*finish)(const wtl_sparse_finish *how, const float *sums, long pitch, long count,
                   const float *add, float *y);
} wtl_sparse_kernels;

#endif
