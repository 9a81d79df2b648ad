/* batchnorm.h - sweeps over one block of channels of one image (layers/batchnorm.c), in the
 * calling thread.
 *
 * Shapes:  x, y, dy, dx [pixels,16]; everything else [16]. With `stream`, results go past the caches.
 */
#ifndef WTL_NATIVE_BATCHNORM_H
#define WTL_NATIVE_BATCHNORM_H

#include "wattle/net.h"

/* How y was made: by it dy passes the fused activation's gradient, without a look at y. */
typedef struct wtl_batchnorm_forward {
    const float *mean, *factor, *bias; /* as normalise() had them */
    wtl_activation activation;
} wtl_batchnorm_forward;

typedef struct wtl_batchnorm_kernels {
    /* Sums of x and of x^2. */
    void (*moments)(long pixels, const float *x, double *sum, double *square);
    /* y = activation((x - mean) * factor + bias) */
    void (*normalise)(long pixels, const float *x, const float *mean, const float *factor,
                      const float *bias, wtl_activation activation, bool stream, float *y);
    /* Sums of dy and of dy * (x - mean); dy counts where `f` lets it pass. */
    void (*products)(long pixels, const float *x, const float *dy,
                     const wtl_batchnorm_forward *f, double *sum, double *product);
    /* dx = scale * (dy - dy_mean - slope * (x - mean)); likewise. */
    void (*combine)(long pixels, const float *x, const float *dy,
                    const wtl_batchnorm_forward *f, const float *dy_mean, const float *slope,
                    const float *scale, bool stream, float *dx);
} wtl_batchnorm_kernels;

#endif
