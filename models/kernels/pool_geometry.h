/* pool_geometry.h - windows of max and average pooling; the rules are in netdef.h.
 *
 * Everything that comes twice, for height and width, is indexed by an axis: 0 is height.
 */
#ifndef WTL_POOL_GEOMETRY_H
#define WTL_POOL_GEOMETRY_H

#include "wattle/netdef.h"

typedef struct wtl_pool_geometry {
    int c;         /* channels */
    int in[2];     /* H, W */
    int out[2];    /* P, Q */
    int kernel[2]; /* of global and adaptive windows: H, W */
    int stride[2];
    int pad[4]; /* top, bottom, left, right: of an axis, 2*axis and 2*axis + 1 */
    bool adaptive;
    bool count_pad;
} wtl_pool_geometry;

/* One window along one axis. */
typedef struct wtl_pool_window {
    int begin, end; /* half open, clipped to the map; never empty */
    int extent;     /* its share of the average's divisor, >= 1 */
} wtl_pool_window;

/* Whether kernel, global and adaptive go together; an absent stride becomes the kernel.
 * `missing` is the message when none of them is given. */
wtl_status wtl_pool_check(wtl_pool_options *options, const char *missing, wtl_error *err);

/* WTL_E_SHAPE when not even one window fits. */
wtl_status wtl_pool_shape(const wtl_pool_options *options, wtl_shape in, wtl_shape *out,
                          wtl_error *err);

/* The geometry of a layer whose options and shapes have been checked. */
wtl_pool_geometry wtl_pool_geometry_of(const wtl_pool_options *options, wtl_shape in,
                                       wtl_shape out);

static inline wtl_pool_window wtl_pool_window_of(const wtl_pool_geometry *g, int axis,
                                                 int index)
{
    wtl_pool_window window;
    int size = g->in[axis], count = g->out[axis];
    if (g->adaptive) {
        window.begin = (int)((long)index * size / count);
        window.end = (int)(((long)(index + 1) * size + count - 1) / count);
        window.extent = window.end - window.begin;
        return window;
    }
    int start = index * g->stride[axis] - g->pad[2 * axis], end = start + g->kernel[axis];
    int padded_end = size + g->pad[2 * axis + 1];
    window.begin = start < 0 ? 0 : start;
    window.end = end < size ? end : size;
    window.extent = g->count_pad ? (end < padded_end ? end : padded_end) - start
                                 : window.end - window.begin;
    return window;
}

#endif
