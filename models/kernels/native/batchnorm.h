/* batchnorm.h - sweeps over one block of channels of one image (layers/batchnorm.c), in the
 * calling thread.
 *
 * Shapes:  x, y, dy, dx [pixels,16]; everything else [16]
 */
#ifndef WTL_NATIVE_BATCHNORM_H
#define WTL_NATIVE_BATCHNORM_H

#include "wattle/net.h"

typedef struct wtl_batchnorm_kernels {
    /* Sums of x and of x^2. */
    void (*moments)(long pixels, const float *x, double *sum, double *square);
    /* y = activation((x - mean) * factor + bias) */
    void (*normalise)(long pixels, const float *x, const float *mean, const float *factor,
                      const float *bias, wtl_activation activation, float *y);
    /* Sums of dy and of dy * (x - mean). */
    void (*products)(long pixels, const float *x, const float *dy, const float *mean,
                     double *sum, double *product);
    /* dx = factor * (dy - dy_mean - slope * (x - mean)) */
    void (*combine)(long pixels, const float *x, const float *dy, const float *mean,
                    const float *dy_mean, const float *slope, const float *factor, float *dx);
} wtl_batchnorm_kernels;

#endif
