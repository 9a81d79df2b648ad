/* conv_kernels.h - convolution as arithmetic on arrays: the reference loops and the path
 * through im2col and GEMM. Both compute the same three products:
 *
 *   forward  y[n,k,p,q]  = b[k] + sum over c,r,s of w[k,c,r,s] * x[n, g*C/G+c, h, v]
 *   data     dx[n,c,h,v] = sum over the k,r,s,p,q that read it of w * dy
 *   weights  dw[k,c,r,s] += sum over n,p,q of dy * x,   db[k] += sum over n,p,q of dy
 *   with h = p*stride + r*dilation - top, v = q*stride + s*dilation - left
 *
 * Shapes:  x [n,C,H,W]   w [K,C/G,R,S]   y [n,K,P,Q]
 */
#ifndef WTL_CONV_KERNELS_H
#define WTL_CONV_KERNELS_H

#include "elementwise.h"
#include "wattle/net.h"

typedef struct wtl_conv_geometry {
    int c, h, w;   /* input */
    int k, r, s;   /* filters */
    int p, q;      /* output */
    int stride[2]; /* height, width */
    int pad[4];    /* top, bottom, left, right */
    int dilation[2];
    int groups;
} wtl_conv_geometry;

/* The geometry of a conv whose options and shapes have been checked. */
wtl_conv_geometry wtl_conv_geometry_of(const wtl_conv_options *options, wtl_shape in,
                                       wtl_shape out);

/* Output height and width of a sliding window; WTL_E_SHAPE when it does not fit once. */
wtl_status wtl_conv_output(const wtl_conv_options *options, wtl_shape in, int *p, int *q,
                           wtl_error *err);

/* WTL_E_RANGE when an input map, an output map, a filter or all filters of a group that read
 * one value have more than 2^30 values: below that, int arithmetic within them is safe. */
wtl_status wtl_conv_check_range(const wtl_conv_geometry *g, wtl_error *err);

/* y = activation(y + b[k]) over `n` images of `k` planes of `pixels`; b may be NULL. */
void wtl_finish_planes(float *y, int n, int k, size_t pixels, const float *b,
                       wtl_activation activation, int threads);

/* Sum of a few thousand values, in float: 16 running sums, then pairs; the order is fixed. */
float wtl_row_sum(const float *values, size_t count);

/* db[k] += sum over n and pixels of dy, in an order that `threads` does not change. */
void wtl_sum_planes(const float *dy, int n, int k, size_t pixels, float *db, int threads);

/* ---- reference: plain loops, sums in double ---- */

void wtl_conv_reference_forward(const wtl_conv_geometry *g, int n, const float *x,
                                const float *w, const float *b, float *y);
void wtl_conv_reference_data(const wtl_conv_geometry *g, int n, const float *dy, const float *w,
                             float *dx);
void wtl_conv_reference_weights(const wtl_conv_geometry *g, int n, const float *x,
                                const float *dy, float *dw, float *db);

/* ---- im2col + GEMM ---- */

/* False for 1x1 filters that need no patch matrix: x is one. */
bool wtl_conv_unrolls(const wtl_conv_geometry *g);

/* Bytes of scratch that the three calls below need for up to `batch` images; SIZE_MAX if they
 * cannot be counted. */
size_t wtl_conv_gemm_scratch(const wtl_conv_geometry *g, int batch, int threads, bool training);

/* b may be NULL. */
void wtl_conv_gemm_forward(const wtl_conv_geometry *g, int n, int threads, const float *x,
                           const float *w, const float *b, wtl_activation activation, float *y,
                           float *scratch);
void wtl_conv_gemm_data(const wtl_conv_geometry *g, int n, int threads, const float *dy,
                        const float *w, float *dx, float *scratch);
/* db may be NULL. */
void wtl_conv_gemm_weights(const wtl_conv_geometry *g, int n, int threads, const float *x,
                           const float *dy, float *dw, float *db, float *scratch);

/* ---- depthwise: groups = C = K, direct ---- */

/* Bytes of scratch; SIZE_MAX if they cannot be counted. */
size_t wtl_depthwise_scratch(const wtl_conv_geometry *g, int threads, bool training);

/* b may be NULL. */
void wtl_depthwise_forward(const wtl_conv_geometry *g, int n, int threads, const float *x,
                           const float *w, const float *b, wtl_activation activation, float *y,
                           float *scratch);
/* db and dx may be NULL. */
void wtl_depthwise_backward(const wtl_conv_geometry *g, int n, int threads, const float *x,
                            const float *w, const float *dy, float *dw, float *db, float *dx,
                            float *scratch);

#endif
