/* tile.h - the kernel that all dense convolutions are made of: some output pixels of a row, in
 * one or two blocks of 16 output channels, summed in registers over every tap and channel.
 *
 *   y[i][k] = activation(bias[k] + sum over a,r,s,d of w[a][r][s][d][k] *
 *                        x[a*block_step + r*row_step + s*col_step + i*pixel_step + d])
 *
 * for i < width pixels and k < 16*blocks. `d` runs over the 16 channels of a block of x, or,
 * for a plain image, along a row of the filter.
 */
#ifndef WTL_TILE_H
#define WTL_TILE_H

#include "wattle/net.h"

enum {
    WTL_TILE_MOST_BLOCKS = 2,
    WTL_TILE_MOST_WIDTH = 28 /* with one block; 14 with two */
};

typedef struct wtl_tile {
    int blocks_in, rows, cols, depth;    /* extents of a, r, s, d */
    long block_step, row_step, col_step; /* of x, in floats */
    long pixel_step;                     /* of x, between output pixels */
    long y_pixel_step, y_block_step;     /* of y, in floats */
    bool stream; /* y goes past the caches, for maps that no cache holds */
    wtl_activation activation;
} wtl_tile;

/* The gradient of the weights of one tap, `count` channels d and one or two blocks of k:
 *
 *   dw[d][k] += sum over rows p and pixels q of x[p*x_row + q*x_step + d] * dy[p*dy_row + q*16 + k]
 *
 * with the second block of k dy_block further. */
typedef struct wtl_outer {
    int rows, pixels;
    long x_row, x_step;
    long dy_row, dy_block;
} wtl_outer;

typedef struct wtl_tile_kernels {
    int widths[WTL_TILE_MOST_BLOCKS + 1]; /* best widest tile for 1 and 2 blocks */
    /* w [blocks_in, rows, cols, depth, 16*blocks]; bias [16*blocks], or NULL: sums start from
     * 0. `add`: NULL, or what is added to the sums, laid out as y (it may be y). */
    void (*forward)(const wtl_tile *t, int blocks, int width, const float *x, const float *w,
                    const float *bias, const float *add, float *y);
    /* After tiles that stream, before another thread reads them. */
    void (*fence)(void);
    /* dw [count, 16*blocks], count <= 16. */
    void (*weights)(const wtl_outer *t, int blocks, int count, const float *x, const float *dy,
                    float *dw);
    /* sum [16]: over the pixels of one block. */
    void (*sums)(long pixels, const float *dy, float *sum);
} wtl_tile_kernels;

#endif
