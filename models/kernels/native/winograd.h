/* winograd.h - the transforms of 3x3 convolution with stride 1 by Winograd's minimal filtering
 * (Lavin and Gray 2016): F(4x4,3x3) for outputs, F(3x3,4x4) for the gradient of the weights.
 *
 *   y  = A'  ((G w G') .* (B' x B)) A      x a 6x6 tile of the input, y 4x4, w 3x3
 *   dw = A3' ((H dy H') .* (B' x B)) A3    dy 4x4
 *
 * Each transform works on the 16 channels of a block at once. The 36 values of a transformed
 * tile lie `step` floats apart, 16 channels each.
 *
 * The points of the interpolation are 0, 5/8, -5/8, 3/2, -3/2 and infinity. Their error is a
 * third of that of the usual 0, 1, -1, 2, -2 at the same cost, and B and A are exact in float.
 */
#ifndef WTL_WINOGRAD_H
#define WTL_WINOGRAD_H

#include "wattle/net.h"

enum {
    WTL_WINOGRAD_TILE = 4,    /* rows and columns of an output tile */
    WTL_WINOGRAD_VALUES = 36, /* of a transformed tile */
    WTL_WINOGRAD_TAPS = 9,
};

/* A tile of one block of channels of a map of h x w pixels, each 16 floats. Its first row and
 * column, and any others, may lie outside of the map: there it reads 0 and writes nothing. */
typedef struct wtl_winograd_place {
    int h, w, top, left;
} wtl_winograd_place;

typedef struct wtl_winograd_kernels {
    /* v = B' x B of the 6x6 tile of the map x. */
    void (*input)(const wtl_winograd_place *at, const float *x, float *v, long step);
    /* y = activation(bias + A' m A + add), a 4x4 tile. bias [16]; add: NULL, or a map laid out
     * as y (it may be y). */
    void (*output)(const wtl_winograd_place *at, const float *m, long step, const float *bias,
                   const float *add, wtl_activation activation, float *y);
    /* d = H dy H' of the 4x4 tile of the map dy. */
    void (*gradient)(const wtl_winograd_place *at, const float *dy, float *d, long step);
    /* u = G w G' of w [9,16]. */
    void (*filter)(const float *w, float *u, long step);
    /* dw [9,16] = A3' m A3, m the sum of `copies` that lie copy_step apart. */
    void (*filter_gradient)(const float *m, long step, int copies, long copy_step, float *dw);
} wtl_winograd_kernels;

#endif
