/* conv_geometry.c - sizes of a convolution. */
#include "conv_kernels.h"

wtl_conv_geometry wtl_conv_geometry_of(const wtl_conv_options *o, wtl_shape in, wtl_shape out)
{
    return (wtl_conv_geometry){
        .c = in.c,
        .h = in.h,
        .w = in.w,
        .k = out.c,
        .r = o->kernel[0],
        .s = o->kernel[1],
        .p = out.h,
        .q = out.w,
        .stride = {o->stride[0], o->stride[1]},
        .pad = {o->pad[0], o->pad[1], o->pad[2], o->pad[3]},
        .dilation = {o->dilation[0], o->dilation[1]},
        .groups = o->groups,
    };
}

wtl_status wtl_conv_output(const wtl_conv_options *o, wtl_shape in, int *p, int *q,
                           wtl_error *err)
{
    long reach_h = (long)o->dilation[0] * (o->kernel[0] - 1) + 1;
    long reach_w = (long)o->dilation[1] * (o->kernel[1] - 1) + 1;
    long h = (long)in.h + o->pad[0] + o->pad[1], w = (long)in.w + o->pad[2] + o->pad[3];
    if (reach_h > h || reach_w > w) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "the %ldx%ld window does not fit the padded input of %ldx%ld", reach_h,
                        reach_w, h, w);
    }
    *p = (int)((h - reach_h) / o->stride[0]) + 1;
    *q = (int)((w - reach_w) / o->stride[1]) + 1;
    return WTL_OK;
}
