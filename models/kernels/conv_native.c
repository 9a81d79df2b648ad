/* conv_native.c - see conv_native.h. Scratch: packed filters of the product at hand, then what
 * its kernel needs. */
#include "conv_native.h"

#include "conv_winograd.h"

#include <string.h>

enum { TOGETHER_FLOATS = 3 << 20 }; /* 12 MiB */

static size_t most(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Bytes; SIZE_MAX when they cannot be counted. */
static size_t together(size_t floats, size_t bytes)
{
    return bytes > SIZE_MAX - floats * sizeof(float) ? SIZE_MAX
                                                     : floats * sizeof(float) + bytes;
}

static const char *const DENSE_KERNELS[WTL_CONV_SPARSE][WTL_ISA_COUNT] = {
    [WTL_CONV_DIRECT] = {NULL, "direct, plain C", "direct, avx2", "direct, avx512"},
    [WTL_CONV_WINOGRAD] = {NULL, "winograd, plain C", "winograd, avx2", "winograd, avx512"},
};

static const char *const SPARSE_KERNELS[WTL_SPARSE_QUADS + 1][WTL_ISA_COUNT] = {
    [WTL_SPARSE_ROWS] = {NULL, "sparse, plain C", "sparse, avx2", "sparse, avx512"},
    [WTL_SPARSE_QUADS] = {NULL, "sparse 4x1, plain C", "sparse 4x1, avx2",
                          "sparse 4x1, avx512"},
};

static wtl_conv_method dense_method(const wtl_conv_native *c)
{
    return c->winograd ? WTL_CONV_WINOGRAD : WTL_CONV_DIRECT;
}

void wtl_conv_native_setup(wtl_conv_native *c, const wtl_conv_geometry *g, bool has_bias,
                           wtl_layer_plan *plan)
{
    *c = (wtl_conv_native){.geometry = *g,
                           .native = plan->native,
                           .threads = plan->threads,
                           .batch = plan->batch,
                           .fused = plan->fused,
                           .has_bias = has_bias,
                           .adds = plan->adds,
                           .plain = !plan->blocked_in};
    c->direct = wtl_direct_plan(g, plan->native, plan->threads, !plan->blocked_in);
    c->winograd = plan->blocked_in && !plan->no_winograd && wtl_winograd_pays(g);
    size_t scratch;
    if (c->winograd) {
        c->packed = wtl_winograd_pack_floats(g);
        scratch = wtl_winograd_scratch(g, plan->batch, plan->threads, plan->training);
    } else {
        c->packed = wtl_direct_packed(&c->direct.forward);
        if (plan->training) {
            c->packed = most(c->packed, wtl_direct_packed(&c->direct.data));
        }
        scratch = wtl_direct_scratch(&c->direct, plan->training) * sizeof(float);
    }
    c->packed = (c->packed + 15) / 16 * 16;
    plan->scratch_bytes = together(c->packed, scratch);
    plan->kernel = DENSE_KERNELS[dense_method(c)][c->native->isa];
}

/* ---- frozen weights ---- */

static const float *bias_of(const wtl_conv_native *c, const wtl_layer_run *run)
{
    return c->has_bias ? run->value[1] : NULL;
}

static void pack(const wtl_conv_native *c, const wtl_layer_run *run, float *packed)
{
    if (c->winograd) {
        wtl_winograd_pack(c->native, &c->geometry, c->threads, run->value[0], false, packed);
    } else {
        wtl_direct_pack(&c->direct.forward, c->threads, run->value[0], bias_of(c, run), packed);
    }
}

/* The sparse kernel, if there is one that is faster. */
static bool sparse_pays(wtl_conv_native *c, const wtl_layer_run *run,
                        const wtl_kernel_costs *costs, wtl_frozen_plan *plan)
{
    if (c->plain) {
        return false;
    }
    const wtl_conv_geometry *g = &c->geometry;
    wtl_kernel_choice choice =
        wtl_kernel_choose_for(costs, g, wtl_kernel_density_of(g, run->value[0]), c->batch);
    if (choice.kernel == WTL_KERNEL_DENSE) {
        return false;
    }
    c->form = choice.kernel == WTL_KERNEL_QUADS ? WTL_SPARSE_QUADS : WTL_SPARSE_ROWS;
    plan->bytes = wtl_conv_sparse_bytes_as(c->native, g, c->batch, c->form, run->value[0]);
    plan->scratch_bytes = wtl_conv_sparse_scratch(c->native, g, c->batch, c->threads);
    return plan->bytes != SIZE_MAX && plan->scratch_bytes != SIZE_MAX;
}

void wtl_conv_native_plan_frozen(wtl_conv_native *c, const wtl_layer_run *run,
                                 const wtl_kernel_costs *costs, wtl_frozen_plan *plan)
{
    if (sparse_pays(c, run, costs, plan)) {
        c->frozen = WTL_CONV_SPARSE;
        plan->kernel = SPARSE_KERNELS[c->form][c->native->isa];
        return;
    }
    c->frozen = dense_method(c);
    plan->bytes = c->packed * sizeof(float);
    plan->scratch_bytes = c->winograd
                              ? wtl_winograd_scratch(&c->geometry, c->batch, c->threads, false)
                              : wtl_direct_scratch(&c->direct, false) * sizeof(float);
    plan->kernel = DENSE_KERNELS[c->frozen][c->native->isa];
}

void wtl_conv_native_freeze(const wtl_conv_native *c, const wtl_layer_run *run, void *frozen)
{
    if (c->frozen == WTL_CONV_SPARSE) {
        (void)wtl_conv_sparse_pack_as(c->native, &c->geometry, c->batch, c->form, run->value[0],
                                      frozen);
    } else {
        pack(c, run, frozen);
    }
}

/* ---- the three products ---- */

void wtl_conv_native_forward(const wtl_conv_native *c, const wtl_layer_run *run,
                             const float *const *inputs, float *y)
{
    const float *x = inputs[0], *add = c->adds ? inputs[1] : NULL;
    float *scratch = run->scratch;
    const float *packed = run->frozen;
    if (packed && c->frozen == WTL_CONV_SPARSE) {
        wtl_conv_sparse_forward(c->native, run->frozen, run->n, c->threads, x, run->x_image[0],
                                bias_of(c, run), c->fused, add, y, run->y_image, scratch);
        return;
    }
    if (!packed) {
        pack(c, run, scratch);
        packed = scratch;
        scratch += c->packed;
    }
    if (c->winograd) {
        wtl_winograd_forward(c->native, &c->geometry, run->n, c->threads, x, run->x_image[0],
                             packed, bias_of(c, run), add, c->fused, y, run->y_image, scratch);
    } else {
        wtl_direct_forward(&c->direct, c->native, run->n, (wtl_const_map){x, run->x_image[0]},
                           packed, add, c->fused, (wtl_map){y, run->y_image}, scratch);
    }
}

/* Images whose maps stay in the last-level cache from one product to the other. */
static int images_at_a_time(const wtl_conv_native *c, const wtl_layer_run *run)
{
    size_t image = run->dy_image + run->x_image[0];
    size_t fitting = TOGETHER_FLOATS / image;
    size_t weights = (size_t)c->geometry.k * (c->geometry.c / c->geometry.groups) *
                     (size_t)c->geometry.r * (size_t)c->geometry.s;
    /* The sums of the weights' gradient are put together once a turn. */
    if (c->winograd || fitting < (size_t)c->threads || weights * 8 > fitting * image) {
        return run->n;
    }
    return fitting < (size_t)run->n ? (int)fitting : run->n;
}

static void direct_backward(const wtl_conv_native *c, const wtl_layer_run *run, const float *x,
                            const float *dy, float *dx)
{
    float *packed = run->scratch, *scratch = packed + c->packed;
    int step = dx ? images_at_a_time(c, run) : run->n;
    if (dx) {
        wtl_direct_pack(&c->direct.data, c->threads, run->value[0], NULL, packed);
    }
    for (int n = 0; n < run->n; n += step) {
        int count = run->n - n < step ? run->n - n : step;
        wtl_const_map of_x = {x + (size_t)n * run->x_image[0], run->x_image[0]};
        wtl_const_map of_y = {dy + (size_t)n * run->dy_image, run->dy_image};
        wtl_direct_weights(&c->direct, c->native, count, of_x, of_y, run->gradient[0], scratch);
        if (dx) {
            wtl_map to = {dx + (size_t)n * run->dx_image[0], run->dx_image[0]};
            wtl_direct_data(&c->direct, c->native, count, of_y, packed, to, scratch);
        }
    }
}

static void winograd_backward(const wtl_conv_native *c, const wtl_layer_run *run,
                              const float *x, const float *dy, float *dx)
{
    float *packed = run->scratch, *scratch = packed + c->packed;
    wtl_winograd_weights(c->native, &c->geometry, run->n, c->threads, x, run->x_image[0], dy,
                         run->dy_image, run->gradient[0], scratch);
    if (dx) {
        wtl_winograd_pack(c->native, &c->geometry, c->threads, run->value[0], true, packed);
        wtl_winograd_data(c->native, &c->geometry, run->n, c->threads, dy, run->dy_image,
                          packed, NULL, dx, run->dx_image[0], scratch);
    }
}

void wtl_conv_native_backward(const wtl_conv_native *c, const wtl_layer_run *run,
                              const float *x, const float *dy, float *dx)
{
    if (c->has_bias) {
        wtl_direct_bias(&c->direct, c->native, run->n, (wtl_const_map){dy, run->dy_image},
                        run->gradient[1]);
    }
    (c->winograd ? winograd_backward : direct_backward)(c, run, x, dy, dx);
}
