/* conv_geometry.c - sizes of a convolution; biases and activations of whole planes. */
#include "conv_kernels.h"

#include "wattle/threads.h"

#include <limits.h>

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

wtl_status wtl_conv_check_range(const wtl_conv_geometry *g, wtl_error *err)
{
    const double most = INT_MAX / 2; /* products of ints in double: no overflow */
    double taps = (double)g->r * g->s;
    if ((double)g->c * g->h * g->w > most) {
        return wtl_fail(err, WTL_E_RANGE, "an input of %dx%dx%d has more than 2^30 values",
                        g->c, g->h, g->w);
    }
    if ((double)g->k * g->p * g->q > most) {
        return wtl_fail(err, WTL_E_RANGE, "an output of %dx%dx%d has more than 2^30 values",
                        g->k, g->p, g->q);
    }
    if (taps * (g->c / g->groups) > most || taps * (g->k / g->groups) > most) {
        return wtl_fail(err, WTL_E_RANGE,
                        "%d filters of %dx%dx%d have more than 2^30 values around one",
                        g->k / g->groups, g->c / g->groups, g->r, g->s);
    }
    return WTL_OK;
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
    if (h > INT_MAX / 2 || w > INT_MAX / 2) {
        return wtl_fail(err, WTL_E_RANGE, "a padded input of %ldx%ld is larger than 2^30", h,
                        w);
    }
    *p = (int)((h - reach_h) / o->stride[0]) + 1;
    *q = (int)((w - reach_w) / o->stride[1]) + 1;
    return WTL_OK;
}

WTL_HOT static void add_constant(float *y, size_t count, float value)
{
    for (size_t i = 0; i < count; i++) {
        y[i] += value;
    }
}

void wtl_finish_planes(float *y, int n, int k, size_t pixels, const float *b,
                       wtl_activation activation, int threads)
{
    if (!b && activation == WTL_ACTIVATION_NONE) {
        return;
    }
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        long begin, end;
        wtl_share((long)n * k, part, threads, &begin, &end);
        for (long plane = begin; plane < end; plane++) {
            if (b) {
                add_constant(y + (size_t)plane * pixels, pixels, b[plane % k]);
            }
            wtl_activate(y + (size_t)plane * pixels, pixels, activation);
        }
    }
}

WTL_HOT static float row_sum(const float *values, size_t count)
{
    float sums[16] = {0};
    size_t i = 0;
    for (; i + 16 <= count; i += 16) {
        for (int j = 0; j < 16; j++) {
            sums[j] += values[i + j];
        }
    }
    for (int j = 0; i + j < count; j++) {
        sums[j] += values[i + j];
    }
    for (int half = 8; half > 0; half /= 2) {
        for (int j = 0; j < half; j++) {
            sums[j] += sums[j + half];
        }
    }
    return sums[0];
}

float wtl_row_sum(const float *values, size_t count)
{
    return row_sum(values, count);
}

void wtl_sum_planes(const float *dy, int n, int k, size_t pixels, float *db, int threads)
{
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int part = 0; part < threads; part++) {
        long begin, end;
        wtl_share(k, part, threads, &begin, &end);
        for (long j = begin; j < end; j++) {
            double sum = 0.0;
            for (int i = 0; i < n; i++) {
                sum += row_sum(dy + ((size_t)i * k + j) * pixels, pixels);
            }
            db[j] += (float)sum;
        }
    }
}
