/* native_dense.h - fully connected layers on the native kernels, over threads. The same bytes
 * whatever the number of threads.
 *
 *   x [N,D]   w [K,D]   b [K]   y [N,K]   images t->x_step and t->y_step floats apart
 */
#ifndef WTL_NATIVE_DENSE_DRIVER_H
#define WTL_NATIVE_DENSE_DRIVER_H

#include "native.h"
#include "native/dense.h"

/* Bytes of scratch for both passes of up to n images. */
size_t wtl_native_dense_scratch(int n, int d);

/* y = activation(x * w^T + b); b may be NULL. */
void wtl_native_dense_forward(const wtl_native *native, int threads, const wtl_dense *t,
                              const float *x, const float *w, const float *b, float *y,
                              float *scratch);

/* dw += dy^T * x and db += the sum of dy over images; with `fresh` they are overwritten
 * instead. db may be NULL. */
void wtl_native_dense_weights(const wtl_native *native, int threads, const wtl_dense *t,
                              bool fresh, const float *x, const float *dy, float *dw, float *db,
                              float *scratch);

/* dx = dy * w */
void wtl_native_dense_data(const wtl_native *native, int threads, const wtl_dense *t,
                           const float *dy, const float *w, float *dx);

#endif
