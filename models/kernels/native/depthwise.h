/* depthwise.h - depthwise convolution of one block of channels of one image, in the calling
 * thread; sizes as in conv_kernels.h.
 *
 * Shapes:  x, dx [H,W,16]   w, dw [R,S,16]   b, db [16]   y, dy [P,Q,16]
 */
#ifndef WTL_NATIVE_DEPTHWISE_H
#define WTL_NATIVE_DEPTHWISE_H

#include "kernels/conv_kernels.h"

typedef struct wtl_depthwise_kernels {
    void (*forward)(const wtl_conv_geometry *g, const float *x, const float *w, const float *b,
                    wtl_activation activation, float *y);
    void (*data)(const wtl_conv_geometry *g, const float *dy, const float *w, float *dx);
    /* Adds to dw and db; db may be NULL. */
    void (*weights)(const wtl_conv_geometry *g, const float *x, const float *dy, float *dw,
                    float *db);
} wtl_depthwise_kernels;

#endif
