/* conv_native.c - see conv_native.h. Scratch: packed filters of the product at hand, then what
 * its kernel needs. */
#include "conv_native.h"

#include "conv_compact.h"
#include "conv_winograd.h"
#include "native/sparse.h"

#include <stdio.h>
#include <string.h>

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
                           .wants_data = plan->input_gradient,
                           .no_winograd = plan->no_winograd,
                           .plain = !plan->blocked_in,
                           .no_sparse = plan->no_sparse};
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
    plan->scratch_bytes = c->dense_scratch = together(c->packed, scratch);
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

bool wtl_conv_native_can_skip(const wtl_conv_native *c)
{
    return !c->plain && !c->no_sparse;
}

/* The sparse kernel, if there is one that is faster. */
static bool sparse_pays(wtl_conv_native *c, const wtl_layer_run *run,
                        const wtl_kernel_costs *costs, wtl_frozen_plan *plan)
{
    if (!wtl_conv_native_can_skip(c)) {
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

/* ---- masks ---- */

/* Seconds of one dense product of the whole batch, of one thread: multiplications by the share of the
 * peak that the kernels reach, measured on an AVX-512 machine. Winograd's tiles of 4x4 are
 * computed whole. */
static const double clock_hz = 3.7e9; /* of that machine */

static double dense_seconds(const wtl_conv_native *c, const wtl_conv_geometry *g)
{
    int lanes = c->native->sparse->lanes;
    double pixels = (double)g->p * g->q, share = 0.95;
    if (!c->plain && !c->no_winograd && wtl_winograd_pays(g)) {
        share = 3.0;
        pixels = (double)((g->p + 3) / 4) * ((g->q + 3) / 4) * 16;
    }
    return (double)c->batch * g->k * (g->c / g->groups) * g->r * g->s * pixels /
           (2 * lanes * share * clock_hz);
}

/* Whether what is left of the filters and channels makes a smaller layer, faster than `rival`. */
static bool plan_compact(wtl_conv_native *c, double rival, const float *mask,
                         wtl_masked_plan *plan)
{
    c->compacts = false;
    if (!wtl_conv_compact_geometry(c, mask, &c->compact)) {
        return false;
    }
    int products = c->wants_data ? 3 : 2;
    double seconds = products * dense_seconds(c, &c->compact);
    if (seconds + wtl_conv_compact_copying(c, &c->compact) >= rival) {
        return false;
    }
    c->compacts = true;
    plan->sets_weights = wtl_conv_compact_is_full(c, mask);
    plan->bytes = wtl_conv_compact_bytes(&c->geometry, &c->compact);
    plan->scratch_bytes = wtl_conv_compact_scratch(c, &c->compact);
    snprintf(plan->kernel, sizeof plan->kernel, "kept filters and channels, %s",
             DENSE_KERNELS[dense_method(c)][c->native->isa]);
    return true;
}

void wtl_conv_native_plan_masked(wtl_conv_native *c, const wtl_layer_run *run,
                                 const float *mask, wtl_masked_plan *plan)
{
    double seconds = dense_seconds(c, &c->geometry);
    bool sparse = wtl_conv_masked_plan(&c->masked, c->native, &c->geometry, run->n, c->plain,
                                       c->wants_data, seconds, mask);
    if (plan_compact(c, c->masked.seconds, mask, plan) || !sparse) {
        return;
    }
    plan->bytes = wtl_conv_masked_bytes(&c->masked);
    plan->scratch_bytes =
        most(wtl_conv_masked_scratch(&c->masked, c->threads), c->dense_scratch);
    plan->sets_weights = c->masked.weights;
    wtl_name_masked(plan, c->masked.forward, c->masked.weights,
                    c->masked.data || !c->wants_data,
                    DENSE_KERNELS[dense_method(c)][c->native->isa]);
}

void wtl_conv_native_follow(const wtl_conv_native *c, const float *mask, void *masked)
{
    if (c->compacts) {
        wtl_conv_compact_make(c, &c->compact, mask, masked);
    } else {
        wtl_conv_masked_make(&c->masked, &c->geometry, mask, masked);
    }
}

/* ---- the three products ---- */

/* By kept weights alone? */
static bool masked_forward(const wtl_conv_native *c, const wtl_layer_run *run, const float *x,
                           float *y)
{
    if (run->masked && c->compacts) {
        wtl_conv_compact_forward(c, run, x, y);
        return true;
    }
    if (!run->masked || !c->masked.forward) {
        return false;
    }
    wtl_conv_sparse *kept = wtl_conv_masked_kept(&c->masked, run->masked);
    wtl_conv_sparse_take(kept, c->threads, run->value[0]);
    wtl_conv_sparse_forward(c->native, kept, run->n, c->threads, x, run->x_image[0],
                            bias_of(c, run), c->fused, NULL, y, run->y_image, run->scratch);
    return true;
}

void wtl_conv_native_forward(const wtl_conv_native *c, const wtl_layer_run *run,
                             const float *const *inputs, float *y)
{
    const float *x = inputs[0], *add = c->adds ? inputs[1] : NULL;
    float *scratch = run->scratch;
    const float *packed = run->frozen;
    if (masked_forward(c, run, x, y)) {
        return;
    }
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

void wtl_conv_native_weights(const wtl_conv_native *c, const wtl_layer_run *run,
                             wtl_const_map x, wtl_const_map dy)
{
    float *scratch = run->scratch, *dw = run->gradient[0];
    if (run->masked && c->masked.weights) {
        wtl_conv_sparse_weights(c->native, wtl_conv_masked_sampled(&c->masked, run->masked),
                                run->n, c->threads, x.data, x.image, dy.data, dy.image, dw,
                                scratch);
    } else if (c->winograd) {
        wtl_winograd_weights(c->native, &c->geometry, run->n, c->threads, x.data, x.image,
                             dy.data, dy.image, dw, scratch + c->packed);
    } else {
        wtl_direct_weights(&c->direct, c->native, run->n, x, dy, dw, scratch);
    }
}

void wtl_conv_native_data(const wtl_conv_native *c, const wtl_layer_run *run, wtl_const_map dy,
                          wtl_map dx)
{
    float *scratch = run->scratch;
    const float *w = run->value[0];
    if (run->masked && c->masked.data) {
        wtl_conv_sparse *flipped = wtl_conv_masked_flipped(&c->masked, run->masked);
        wtl_conv_sparse_take(flipped, c->threads, w);
        wtl_conv_sparse_forward(c->native, flipped, run->n, c->threads, dy.data, dy.image, NULL,
                                WTL_ACTIVATION_NONE, NULL, dx.data, dx.image, scratch);
    } else if (c->winograd) {
        wtl_winograd_pack(c->native, &c->geometry, c->threads, w, true, scratch);
        wtl_winograd_data(c->native, &c->geometry, run->n, c->threads, dy.data, dy.image,
                          scratch, NULL, dx.data, dx.image, scratch + c->packed);
    } else {
        wtl_direct_pack(&c->direct.data, c->threads, w, NULL, scratch);
        wtl_direct_data(&c->direct, c->native, run->n, dy, scratch, dx, scratch + c->packed);
    }
}

void wtl_conv_native_backward(const wtl_conv_native *c, const wtl_layer_run *run,
                              const float *x, const float *dy, float *dx)
{
    wtl_const_map of_x = {x, run->x_image[0]}, of_y = {dy, run->dy_image};
    if (c->has_bias) {
        wtl_direct_bias(&c->direct, c->native, run->n, of_y, run->gradient[1]);
    }
    if (run->masked && c->compacts) {
        wtl_conv_compact_backward(c, run, x, dy, dx);
        return;
    }
    wtl_conv_native_weights(c, run, of_x, of_y);
    if (dx) {
        wtl_conv_native_data(c, run, of_y, (wtl_map){dx, run->dx_image[0]});
    }
}
