/* conv_winograd.h - convolution with stride 1 on maps in blocks of 16 channels (native.h) by
 * Winograd's minimal filtering: F(4x4,3x3) needs a quarter of the multiplications, F(2x2,5x5) a
 * little more than a third. Errors are about twice those of plain float sums (a few 1e-6 of the
 * output's size). What is computed, and the sizes, are as in conv_kernels.h.
 *
 * Maps x and dx are of C channels and HxW pixels, y and dy of K and PxQ; x_image and y_image are
 * the distances of their images. `scratch` has at least the bytes that wtl_winograd_scratch()
 * gave for as many images or more and the same threads, aligned as all data to 64 bytes.
 * At the same number of threads and images the results are the same bytes.
 */
#ifndef WTL_CONV_WINOGRAD_H
#define WTL_CONV_WINOGRAD_H

#include "conv_kernels.h"
#include "native.h"

/* Whether the functions below take this convolution: 3x3 or 5x5, stride and dilation 1, padding
 * below the filter's size, one group or groups of whole blocks of channels. */
bool wtl_winograd_takes(const wtl_conv_geometry *g);

/* Whether it takes it and is likely to be faster than direct convolution: there are whole blocks
 * of channels on both sides, and the map is not so small that most of its tiles lies outside. */
bool wtl_winograd_pays(const wtl_conv_geometry *g);

/* Bytes of scratch; SIZE_MAX if they cannot be counted. */
size_t wtl_winograd_scratch(const wtl_conv_geometry *g, int batch, int threads, bool training);

/* Floats of the transformed weights; the same for both directions. */
size_t wtl_winograd_pack_floats(const wtl_conv_geometry *g);

/* w [K,C/G,R,S] transformed, for wtl_winograd_forward() or, `flipped`, wtl_winograd_data(). */
void wtl_winograd_pack(const wtl_native *native, const wtl_conv_geometry *g, int threads,
                       const float *w, bool flipped, float *packed);

/* y = activation(b + w * x + add). b [K] or NULL; add: NULL, or a map laid out as y (it may be
 * y). */
void wtl_winograd_forward(const wtl_native *native, const wtl_conv_geometry *g, int n,
                          int threads, const float *x, size_t x_image, const float *packed,
                          const float *b, const float *add, wtl_activation activation, float *y,
                          size_t y_image, float *scratch);

/* dx = w^T * dy + add; add: NULL, or a map laid out as dx (it may be dx). */
void wtl_winograd_data(const wtl_native *native, const wtl_conv_geometry *g, int n, int threads,
                       const float *dy, size_t y_image, const float *flipped, const float *add,
                       float *dx, size_t x_image, float *scratch);

/* dw [K,C/G,R,S] += dy * x. */
void wtl_winograd_weights(const wtl_native *native, const wtl_conv_geometry *g, int n,
                          int threads, const float *x, size_t x_image, const float *dy,
                          size_t y_image, float *dw, float *scratch);

#endif
