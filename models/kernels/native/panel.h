/* panel.h - images side by side: a matrix of images [N,D] as [tiles, D, width], so that a vector
 * holds the same value of several images; and the way back from sums [K, width]. Beside isa.h.
 */
#ifndef WTL_PANEL_H
#define WTL_PANEL_H

#include "part.h"

/* How n images are cut into tiles: of equal width, a whole number of vectors, at most `most`
 * vectors each. Their sum is at most n rounded up to 16 if most * LANES divides by 16. */
typedef struct wtl_panel {
    int images;
    int vecs; /* of all */
    int tiles;
} wtl_panel;

WTL_INLINE wtl_panel panel_of(int images, int most)
{
    int vecs = (images + LANES - 1) / LANES;
    return (wtl_panel){images, vecs, (vecs + most - 1) / most};
}

/* The first vector of a tile. */
WTL_INLINE int panel_begin(wtl_panel p, int tile)
{
    return p.vecs * tile / p.tiles;
}

WTL_INLINE void four_turn(four v[4])
{
    four a = v[0], b = v[1], c = v[2], d = v[3];
    v[0] = (four){a[0], b[0], c[0], d[0]};
    v[1] = (four){a[1], b[1], c[1], d[1]};
    v[2] = (four){a[2], b[2], c[2], d[2]};
    v[3] = (four){a[3], b[3], c[3], d[3]};
}

/* to[j*to_step + i] = i < rows ? from[i*from_step + j] : 0, for i < 4, j < columns. */
WTL_INLINE void panel_turn_four(int rows, long columns, const float *from, long from_step,
                                float *to, long to_step)
{
    long j = 0;
    for (; rows == 4 && j + 4 <= columns; j += 4) {
        four v[4];
        for (int i = 0; i < 4; i++) {
            v[i] = four_load(from + i * from_step + j);
        }
        four_turn(v);
        for (int i = 0; i < 4; i++) {
            four_store(to + (j + i) * to_step, v[i]);
        }
    }
    for (; j < columns; j++) {
        for (int i = 0; i < 4; i++) {
            to[j * to_step + i] = i < rows ? from[i * from_step + j] : 0.0f;
        }
    }
}

/* The columns begin..end of x, images x_step apart, into a panel of D columns. */
static void panel_fill(wtl_panel p, long d, long begin, long end, const float *x, long x_step,
                       float *panel)
{
    enum { COLUMNS = 64 }; /* whose part of the panel stays in the first cache */
    for (int tile = 0; tile < p.tiles; tile++) {
        int first = panel_begin(p, tile) * LANES, last = panel_begin(p, tile + 1) * LANES;
        long width = last - first;
        for (long at = begin; at < end; at += COLUMNS) {
            long columns = end - at < COLUMNS ? end - at : COLUMNS;
            for (int i = first; i < last; i += 4) {
                int rows = p.images - i < 4 ? p.images - i : 4;
                panel_turn_four(rows > 0 ? rows : 0, columns, x + i * x_step + at, x_step,
                                panel + first * d + at * width + (i - first), width);
            }
        }
    }
}

/* Four filters' sums [4, width] of the images first.. to y[n][k..k+3], with the bias. */
WTL_INLINE void panel_finish(int images, long width, const float *sum, const float *bias,
                             wtl_activation activation, float *y, long y_step)
{
    four start = bias ? four_load(bias) : (four){0};
    for (int i = 0; i < images; i += 4) {
        four v[4];
        for (int f = 0; f < 4; f++) {
            v[f] = four_load(sum + f * width + i);
        }
        four_turn(v);
        for (int at = 0; at < 4 && i + at < images; at++) {
            four_store(y + (i + at) * y_step, four_activated(v[at] + start, activation));
        }
    }
}

/* The same for fewer filters. */
WTL_INLINE void panel_finish_few(int filters, int images, long width, const float *sum,
                                 const float *bias, wtl_activation activation, float *y,
                                 long y_step)
{
    for (int f = 0; f < filters; f++) {
        for (int i = 0; i < images; i++) {
            four v = {sum[f * width + i] + (bias ? bias[f] : 0.0f)};
            y[i * y_step + f] = four_activated(v, activation)[0];
        }
    }
}

#endif
