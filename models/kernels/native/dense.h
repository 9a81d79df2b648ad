/* dense.h - kernels of fully connected layers, each for a range that a thread takes.
 *
 *   x [N,D]   w [K,D]   y [N,K]   row-major, images x_step and y_step floats apart
 *
 * Every sum has the same order whatever the ranges.
 */
#ifndef WTL_NATIVE_DENSE_H
#define WTL_NATIVE_DENSE_H

#include "wattle/net.h"

#include <stdbool.h>

enum {
    WTL_DENSE_FEW = 6 /* up to so many images forward needs no panel */
};

typedef struct wtl_dense {
    int n, k, d;
    long x_step, y_step;       /* at least d and k; the same for dx and dy */
    wtl_activation activation; /* of forward */
} wtl_dense;

typedef struct wtl_dense_kernels {
    /* Images of x side by side for forward: panel [tiles of images, D, images of a tile],
     * missing images 0, filled for the columns d of begin..end. */
    void (*turn)(const wtl_dense *t, long begin, long end, const float *x, float *panel);
    /* y[n,k] = activation(bias[k] + sum over d of w[k,d] * x[n,d]) for the filters begin..end.
     * bias may be NULL; of x and panel one is read: x if n <= WTL_DENSE_FEW. */
    void (*forward)(const wtl_dense *t, long begin, long end, const float *x,
                    const float *panel, const float *w, const float *bias, float *y);
    /* Columns of x for weights: panel [ceil(D/P), N, P] with P floats, 8 to 32, filled for the
     * columns d of begin..end; begin is a multiple of 32. */
    void (*cut)(const wtl_dense *t, long begin, long end, const float *x, float *panel);
    /* dw[k,d] (+)= sum over n of dy[n,k] * x[n,d] for the filters begin..end; overwritten
     * unless `add`. */
    void (*weights)(const wtl_dense *t, long begin, long end, bool add, const float *panel,
                    const float *dy, float *dw);
    /* db[k] (+)= sum over n of dy[n,k], likewise. */
    void (*bias)(const wtl_dense *t, long begin, long end, bool add, const float *dy,
                 float *db);
    /* dx[n,d] = sum over k of dy[n,k] * w[k,d] for the columns d of begin..end. */
    void (*data)(const wtl_dense *t, long begin, long end, const float *dy, const float *w,
                 float *dx);
} wtl_dense_kernels;

/* Floats of a panel: images and columns rounded up to whole vectors. */
static inline size_t wtl_dense_panel(int n, int d)
{
    return ((size_t)n + 15) / 16 * 16 * (((size_t)d + 31) / 32 * 32);
}

#endif
