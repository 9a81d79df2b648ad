/* winograd.h - the transforms of convolution with stride 1 by Winograd's minimal filtering (Lavin
 * and Gray 2016) in tiles of 6x6 values: F(4x4,3x3) and F(2x2,5x5) for outputs, F(3x3,4x4) and
 * F(5x5,2x2) for the gradient of the weights.
 *
 *   y  = A'm ((Gr w Gr') .* (B' x B)) Am      x a 6x6 tile of the input, y mxm, w rxr, m+r = 7
 *   dw = A'r ((Gm dy Gm') .* (B' x B)) Ar     dy mxm
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
    WTL_WINOGRAD_VALUES = 36,    /* of a transformed tile */
    WTL_WINOGRAD_MOST_TAPS = 25, /* of a filter */
};

/* A tile of one block of channels of a map of h x w pixels, each 16 floats. Its first row and
 * column, and any others, may lie outside of the map: there it reads 0 and writes nothing. */
typedef struct wtl_winograd_place {
    int h, w, top, left;
} wtl_winograd_place;

/* What differs with the size of the filter. */
typedef struct wtl_winograd_size {
    int tile, filter_size; /* m and r: rows and columns of an output tile and of a filter */
    /* y = activation(bias + A' v A + add). bias [16]; add: NULL, or a map laid out as y (it may
     * be y). */
    void (*output)(const wtl_winograd_place *at, const float *v, long step, const float *bias,
                   const float *add, wtl_activation activation, float *y);
    /* v = G dy G' of the tile of the map dy. */
    void (*gradient)(const wtl_winograd_place *at, const float *dy, float *v, long step);
    /* v = G w G' of w [r*r,16]. */
    void (*filter)(const float *w, float *v, long step);
    /* dw [r*r,16] = A' v A, v the sum of `copies` that lie copy_step apart. */
    void (*filter_gradient)(const float *v, long step, int copies, long copy_step, float *dw);
} wtl_winograd_size;

typedef struct wtl_winograd_kernels {
    /* v = B' x B of the 6x6 tile of the map x. */
    void (*input)(const wtl_winograd_place *at, const float *x, float *v, long step);
    wtl_winograd_size size[2]; /* for filters of 3x3 and 5x5 */
} wtl_winograd_kernels;

#endif
