/* patches.c - a layer as a convolution, and its unrolled input at single output positions. */
#include "moments_private.h"

static wtl_patch_geometry conv_geometry(const wtl_conv_options *o, wtl_shape in, bool depthwise)
{
    wtl_patch_geometry g = {.c = in.c, .h = in.h, .w = in.w};
    g.k = depthwise ? in.c : o->out;
    g.groups = depthwise ? in.c : o->groups;
    g.r = o->kernel[0];
    g.s = o->kernel[1];
    g.top = o->pad[0];
    g.left = o->pad[2];
    for (int d = 0; d < 2; d++) {
        g.stride[d] = o->stride[d];
        g.dilation[d] = o->dilation[d];
    }
    int64_t rows =
        (int64_t)in.h + o->pad[0] + o->pad[1] - (int64_t)g.dilation[0] * (g.r - 1) - 1;
    int64_t columns =
        (int64_t)in.w + o->pad[2] + o->pad[3] - (int64_t)g.dilation[1] * (g.s - 1) - 1;
    g.p = rows < 0 ? 0 : (int)(rows / g.stride[0]) + 1;
    g.q = columns < 0 ? 0 : (int)(columns / g.stride[1]) + 1;
    return g;
}

static wtl_patch_geometry dense_geometry(const wtl_dense_options *o, wtl_shape in)
{
    return (wtl_patch_geometry){.c = in.c,
                                .h = in.h,
                                .w = in.w,
                                .k = o->out,
                                .r = in.h,
                                .s = in.w,
                                .p = 1,
                                .q = 1,
                                .stride = {1, 1},
                                .dilation = {1, 1},
                                .groups = 1};
}

wtl_status wtl_patch_geometry_of(wtl_patch_geometry *g, const wtl_layer_def *layer,
                                 wtl_shape in, wtl_error *err)
{
    enum { MOST_WIDTH = 1 << 20 };
    if (layer->kind == WTL_LAYER_DENSE) {
        *g = dense_geometry(&layer->as.dense, in);
    } else if (layer->kind == WTL_LAYER_CONV || layer->kind == WTL_LAYER_DEPTHWISE) {
        *g = conv_geometry(&layer->as.conv, in, layer->kind == WTL_LAYER_DEPTHWISE);
    } else {
        return wtl_fail(err, WTL_E_ARG,
                        "%s: moments are of conv, depthwise and dense, not of %s", layer->name,
                        wtl_layer_kind_name(layer->kind));
    }
    if (in.c < 1 || in.h < 1 || in.w < 1 || g->p < 1 || g->q < 1 || g->groups < 1 ||
        in.c % g->groups != 0 || g->k % g->groups != 0) {
        return wtl_fail(err, WTL_E_SHAPE, "%s: does not fit an input of %dx%dx%d", layer->name,
                        in.c, in.h, in.w);
    }
    double width = (double)(in.c / g->groups) * g->r * g->s;
    if (width > MOST_WIDTH) {
        return wtl_fail(err, WTL_E_FIT, "%s: %.0f weights a filter, moments take at most %d",
                        layer->name, width, MOST_WIDTH);
    }
    g->width = (int)width;
    g->filters = g->k / g->groups;
    return WTL_OK;
}

/* One weight's column of inputs: channel c, filter row r, filter column s. */
static void gather_row(const wtl_patch_geometry *g, int c, int r, int s, const float *x,
                       const wtl_patch_place *places, int count, float *row)
{
    for (int t = 0; t < count; t++) {
        int h = places[t].p * g->stride[0] + r * g->dilation[0] - g->top;
        int w = places[t].q * g->stride[1] + s * g->dilation[1] - g->left;
        bool inside = h >= 0 && h < g->h && w >= 0 && w < g->w;
        size_t plane = (size_t)places[t].image * (size_t)g->c + (size_t)c;
        row[t] =
            inside ? x[(plane * (size_t)g->h + (size_t)h) * (size_t)g->w + (size_t)w] : 0.0f;
    }
}

void wtl_patch_gather(const wtl_patch_geometry *g, int group, const float *x,
                      const wtl_patch_place *places, int count, int threads, float *patch)
{
    int first = group * (g->c / g->groups), window = g->r * g->s;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int j = 0; j < g->width; j++) {
        gather_row(g, first + j / window, j % window / g->s, j % g->s, x, places, count,
                   patch + (size_t)j * WTL_MOMENTS_BLOCK);
    }
}
