/* pool_geometry.c - windows of max and average pooling. */
#include "pool_geometry.h"

#include <limits.h>

static bool given(const int pair[2])
{
    return pair[0] != 0 || pair[1] != 0;
}

static wtl_status positive(const int pair[2], const char *name, wtl_error *err)
{
    if (pair[0] < 1 || pair[1] < 1) {
        return wtl_fail(err, WTL_E_RANGE, "%s is %dx%d, both must be at least 1", name, pair[0],
                        pair[1]);
    }
    return WTL_OK;
}

/* A window must meet the map, so padding stays smaller than the kernel. */
static wtl_status check_pads(const wtl_pool_options *o, wtl_error *err)
{
    for (int side = 0; side < 4; side++) {
        if (o->pad[side] >= o->kernel[side / 2]) {
            return wtl_fail(err, WTL_E_RANGE, "pad %d is not smaller than the kernel's %d",
                            o->pad[side], o->kernel[side / 2]);
        }
    }
    return WTL_OK;
}

wtl_status wtl_pool_check(wtl_pool_options *o, const char *missing, wtl_error *err)
{
    bool kernel = given(o->kernel), adaptive = given(o->adaptive);
    if (kernel + adaptive + o->global == 0) {
        return wtl_fail(err, WTL_E_ARG, "%s", missing);
    }
    if (kernel + adaptive + o->global > 1) {
        return wtl_fail(err, WTL_E_ARG, "only one of kernel, global and adaptive can be given");
    }
    if (!kernel) {
        if (given(o->stride) || given(o->pad) || given(o->pad + 2) || o->ceil) {
            return wtl_fail(err, WTL_E_ARG, "stride, pad and ceil go with kernel, not with %s",
                            adaptive ? "adaptive" : "global");
        }
        return adaptive ? positive(o->adaptive, "adaptive", err) : WTL_OK;
    }
    if (!given(o->stride)) {
        o->stride[0] = o->kernel[0];
        o->stride[1] = o->kernel[1];
    }
    wtl_status status = positive(o->kernel, "kernel", err);
    if (status == WTL_OK) {
        status = positive(o->stride, "stride", err);
    }
    return status == WTL_OK ? check_pads(o, err) : status;
}

/* Windows along one axis; < 1 when none fits. */
static long window_count(const wtl_pool_options *o, int axis, int size)
{
    long padded = (long)size + o->pad[2 * axis] + o->pad[2 * axis + 1];
    long room = padded - o->kernel[axis], stride = o->stride[axis];
    if (!o->ceil) {
        return room < 0 ? 0 : room / stride + 1;
    }
    long count = room <= -stride ? 0 : (room + stride - 1) / stride + 1;
    /* The last window starts beyond the map and its leading padding: dropped. */
    return (count - 1) * stride >= (long)size + o->pad[2 * axis] ? count - 1 : count;
}

static wtl_status too_large(wtl_error *err)
{
    return wtl_fail(err, WTL_E_SHAPE, "more than 2^30 values in an input or output map");
}

wtl_status wtl_pool_shape(const wtl_pool_options *o, wtl_shape in, wtl_shape *out,
                          wtl_error *err)
{
    if ((long)in.h * in.w > INT_MAX / 2) {
        return too_large(err);
    }
    if (o->global || given(o->adaptive)) {
        *out =
            (wtl_shape){in.c, o->global ? 1 : o->adaptive[0], o->global ? 1 : o->adaptive[1]};
        return WTL_OK;
    }
    long p = window_count(o, 0, in.h), q = window_count(o, 1, in.w);
    if (p < 1 || q < 1) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "the %dx%d window does not fit the padded input of %ldx%ld",
                        o->kernel[0], o->kernel[1], (long)in.h + o->pad[0] + o->pad[1],
                        (long)in.w + o->pad[2] + o->pad[3]);
    }
    if (p * q > INT_MAX / 2) {
        return too_large(err);
    }
    *out = (wtl_shape){in.c, (int)p, (int)q};
    return WTL_OK;
}

wtl_pool_geometry wtl_pool_geometry_of(const wtl_pool_options *o, wtl_shape in, wtl_shape out)
{
    wtl_pool_geometry g = {
        .c = in.c,
        .in = {in.h, in.w},
        .out = {out.h, out.w},
        .adaptive = given(o->adaptive),
        .count_pad = o->count_pad,
    };
    for (int axis = 0; axis < 2; axis++) {
        if (o->global || g.adaptive) {
            g.kernel[axis] = g.in[axis];
            g.stride[axis] = 1;
        } else {
            g.kernel[axis] = o->kernel[axis];
            g.stride[axis] = o->stride[axis];
            g.pad[2 * axis] = o->pad[2 * axis];
            g.pad[2 * axis + 1] = o->pad[2 * axis + 1];
        }
    }
    return g;
}
