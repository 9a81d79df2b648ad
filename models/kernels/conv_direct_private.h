/* conv_direct_private.h - what the three files of conv_direct share: plan and packed filters
 * (conv_direct_plan.c), forward and the input's gradient (conv_direct.c), the weights' gradient
 * (conv_direct_weights.c). */
#ifndef WTL_CONV_DIRECT_PRIVATE_H
#define WTL_CONV_DIRECT_PRIVATE_H

#include "conv_direct.h"
#include "native/tile.h"

enum {
    WTL_DIRECT_UNIT =
        96 * 1024,             /* floats of input that a unit reads: beside filters in 1 MiB of
                                    L2 */
    WTL_DIRECT_MOST_IMAGES = 8 /* of a unit */
};

static inline int wtl_direct_blocks(int channels)
{
    return (channels + WTL_BLOCK_CHANNELS - 1) / WTL_BLOCK_CHANNELS;
}

/* How much longer the busiest of `threads` works than the mean. */
static inline double wtl_direct_imbalance(long items, int threads)
{
    return (double)((items + threads - 1) / threads * threads) / (double)items;
}

/* What rows (or columns) outputs [begin, end) of an axis with all its phases read. */
void wtl_direct_reach(const wtl_direct_pass *pass, int axis, int begin, int end, int *low,
                      int *high);

/* Values a tap: 16 channels, or of a plain image a row of the filter. */
int wtl_direct_depth(const wtl_direct_pass *pass);
/* Floats of a phase's filters, and of all phases', for one block of output channels of a group. */
size_t wtl_direct_block_floats(const wtl_direct_pass *pass, int fh, int fw);
size_t wtl_direct_phases_floats(const wtl_direct_pass *pass);
/* Where the filters of a pair of blocks begin. */
size_t wtl_direct_pair_start(const wtl_direct_pass *pass, int group, int block);

/* What a unit reads: rows [top, top + rows) and columns [left, left + pitch) of the input. */
typedef struct wtl_direct_window {
    const float *data;
    int top, left;
    long pitch, plane; /* in pixels: of a row, of a block (or channel) */
    int pixel;         /* floats */
} wtl_direct_window;

/* The window of output rows [p0, p1) over blocks (or channels) [first, last) of the group that
 * starts at x; copied to `patch` where the pass needs that. */
wtl_direct_window wtl_direct_window_of(const wtl_direct_pass *pass, const float *x, int first,
                                       int last, int p0, int p1, float *patch);

static inline const float *wtl_direct_at(const wtl_direct_window *v, long row, long column)
{
    return v->data + ((row - v->top) * v->pitch + column - v->left) * v->pixel;
}

#endif
