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

/* ---- reference: plain loops, sums in double ---- */

void wtl_conv_reference_forward(const wtl_conv_geometry *g, int n, const float *x,
                                const float *w, const float *b, float *y);
void wtl_conv_reference_data(const wtl_conv_geometry *g, int n, const float *dy, const float *w,
                             float *dx);
void wtl_conv_reference_weights(const wtl_conv_geometry *g, int n, const float *x,
                                const float *dy, float *dw, float *db);

/* ---- im2col + GEMM ---- */

/* Bytes of scratch that the three calls below need for up to `batch` images. */
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

#endif
