/* Training with masks that are followed: each product on kept weights against the definition in
 * double, on every instruction set; then nets, with and without their masks followed. */
#include "wtl_test.h"

#include "models/kernels/conv_masked.h"
#include "models/kernels/dense_masked.h"
#include "wattle/loss.h"
#include "wattle/memory.h"
#include "wattle/optimizer.h"
#include "wattle/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const wtl_isa ISAS[] = {WTL_ISA_PLAIN, WTL_ISA_AVX2, WTL_ISA_AVX512};
enum { ISA_COUNT = 3, BLOCK = 16, GAP = 32 };

static int between(wtl_rng *rng, int low, int high)
{
    return low + (int)wtl_rng_below(rng, (uint32_t)(high - low + 1));
}

static float *floats(size_t count, unsigned key)
{
    float *values = wtl_alloc(count + 1, sizeof *values);
    assert_non_null(values);
    wtl_fill_random(values, count, key);
    return values;
}

static void *nan_memory(size_t bytes)
{
    assert_true(bytes < SIZE_MAX);
    float *memory = wtl_alloc(bytes / sizeof(float) + 16, sizeof(float));
    assert_non_null(memory);
    wtl_fill_nan(memory, bytes / sizeof(float));
    return memory;
}

/* ---- masks: of `rows` filters of `width` weights each ---- */

typedef enum mask_kind { RANDOM, QUADS, FILTERS, KIND_COUNT } mask_kind;

static void fill_mask(float *mask, int rows, size_t width, mask_kind kind, double density,
                      unsigned key)
{
    float *u = floats((size_t)rows * width, key); /* in [-1, 1) */
    for (size_t i = 0; i < (size_t)rows * width; i++) {
        size_t k = i / width, j = i % width;
        size_t drawn = kind == QUADS ? k / 4 * 4 * width + j : kind == FILTERS ? k * width : i;
        mask[i] = (u[drawn] + 1) / 2 < density ? 1.0f : 0.0f;
    }
    wtl_free(u);
}

/* ---- convolution ---- */

typedef struct layer {
    wtl_conv_geometry g;
    int n, channels, filters; /* of a group */
    size_t filter, weights, x_image, y_image;
    float *x, *w, *mask, *dy; /* x and dy [n,C,H,W] and [n,K,P,Q] */
    double *y, *dx, *dw;      /* wanted */
} layer;

static layer layer_of(wtl_conv_geometry g, int n, mask_kind kind, double density, unsigned key)
{
    g.p = (g.h + g.pad[0] + g.pad[1] - (g.r - 1) * g.dilation[0] - 1) / g.stride[0] + 1;
    g.q = (g.w + g.pad[2] + g.pad[3] - (g.s - 1) * g.dilation[1] - 1) / g.stride[1] + 1;
    layer l = {.g = g, .n = n, .channels = g.c / g.groups, .filters = g.k / g.groups};
    l.filter = (size_t)l.channels * g.r * g.s;
    l.weights = (size_t)g.k * l.filter;
    l.x_image = (size_t)g.c * g.h * g.w;
    l.y_image = (size_t)g.k * g.p * g.q;
    l.x = floats(n * l.x_image, key);
    l.dy = floats(n * l.y_image, key + 1);
    l.w = floats(l.weights, key + 2);
    l.mask = floats(l.weights, key + 3);
    fill_mask(l.mask, g.k, l.filter, kind, density, key + 4);
    for (size_t i = 0; i < l.weights; i++) {
        l.w[i] = l.mask[i] != 0.0f ? l.w[i] : 0.0f;
    }
    l.y = wtl_alloc(n * l.y_image + 1, sizeof *l.y);
    l.dx = wtl_alloc(n * l.x_image + 1, sizeof *l.dx);
    l.dw = wtl_alloc(l.weights + 1, sizeof *l.dw);
    assert_true(l.y && l.dx && l.dw);
    return l;
}

static void free_layer(layer *l)
{
    wtl_free(l->x);
    wtl_free(l->dy);
    wtl_free(l->w);
    wtl_free(l->mask);
    wtl_free(l->y);
    wtl_free(l->dx);
    wtl_free(l->dw);
}

/* All three products of output pixel o of image n and weight i of its filter. */
static void define_one(layer *l, int n, size_t o, size_t i)
{
    const wtl_conv_geometry *g = &l->g;
    int q = (int)(o % g->q), p = (int)(o / g->q % g->p), k = (int)(o / g->q / g->p);
    int s = (int)(i % g->s), r = (int)(i / g->s % g->r), c = (int)(i / g->s / g->r);
    int h = p * g->stride[0] + r * g->dilation[0] - g->pad[0];
    int v = q * g->stride[1] + s * g->dilation[1] - g->pad[2];
    if (h < 0 || h >= g->h || v < 0 || v >= g->w) {
        return;
    }
    size_t of_x =
        n * l->x_image + ((size_t)(k / l->filters * l->channels + c) * g->h + h) * g->w + v;
    size_t of_w = k * l->filter + i, of_y = n * l->y_image + o;
    l->y[of_y] += (double)l->w[of_w] * l->x[of_x];
    l->dx[of_x] += (double)l->w[of_w] * l->dy[of_y];
    l->dw[of_w] += (double)l->dy[of_y] * l->x[of_x];
}

static void define(layer *l)
{
    for (int n = 0; n < l->n; n++) {
        for (size_t o = 0; o < l->y_image; o++) {
            for (size_t i = 0; i < l->filter; i++) {
                define_one(l, n, o, i);
            }
        }
    }
}

/* Each image is followed by GAP floats that belong to somebody else. */
static size_t blocked(int c, int pixels)
{
    return (size_t)(c + BLOCK - 1) / BLOCK * BLOCK * pixels + GAP;
}

static size_t at(int c, int pixels, size_t i, size_t image)
{
    size_t n = i / pixels / c, channel = i / pixels % c;
    return n * image + (channel / BLOCK * pixels + i % pixels) * BLOCK + channel % BLOCK;
}

static float *to_blocks(const float *plain, int n, int c, int pixels)
{
    size_t image = blocked(c, pixels);
    float *blocks = wtl_alloc(n * image, sizeof *blocks);
    assert_non_null(blocks);
    for (size_t i = 0; i < (size_t)n * c * pixels; i++) {
        blocks[at(c, pixels, i, image)] = plain[i];
    }
    for (int i = 0; i < n; i++) {
        wtl_fill_nan(blocks + (i + 1) * image - GAP, GAP);
    }
    return blocks;
}

static void check_blocks(const float *blocks, int n, int c, int pixels, const double *want,
                         double tolerance)
{
    for (size_t i = 0; i < (size_t)n * c * pixels; i++) {
        assert_close((double)blocks[at(c, pixels, i, blocked(c, pixels))], want[i], tolerance);
    }
}

typedef struct setting {
    const wtl_native *native;
    int planned, threads;
    bool plain;     /* x is NCHW */
    bool gradients; /* laid out for those */
} setting;

/* Forward, then the weights' gradient, with the pattern of what is kept. */
static void check_kept(const layer *l, const setting *s)
{
    const wtl_conv_geometry *g = &l->g;
    wtl_conv_sparse plan;
    assert_true(wtl_conv_sparse_plan_pattern(&plan, s->native, g, s->planned, l->mask, false,
                                             s->plain, s->gradients));
    void *memory = nan_memory(plan.bytes);
    wtl_conv_sparse *kept = wtl_conv_sparse_make_pattern(&plan, g, l->mask, false, memory);
    float *scratch = nan_memory(wtl_conv_sparse_weights_scratch(kept, s->threads));
    size_t y_image = blocked(g->k, g->p * g->q);
    size_t x_image = s->plain ? l->x_image : blocked(g->c, g->h * g->w);
    float *blocks = s->plain ? NULL : to_blocks(l->x, l->n, g->c, g->h * g->w);
    const float *x = s->plain ? l->x : blocks;
    float *y = nan_memory(l->n * y_image * sizeof *y);
    wtl_conv_sparse_take(kept, s->threads, l->w);
    wtl_conv_sparse_forward(s->native, kept, l->n, s->threads, x, x_image, NULL,
                            WTL_ACTIVATION_NONE, NULL, y, y_image, scratch);
    check_blocks(y, l->n, g->k, g->p * g->q, l->y, 1e-6 * (double)(l->filter + 4));
    float *dy = to_blocks(l->dy, l->n, g->k, g->p * g->q);
    float *dw = floats(l->weights, 1);
    for (size_t i = 0; i < l->weights; i++) {
        dw[i] = 7.0f;
    }
    wtl_fill_nan(scratch, wtl_conv_sparse_weights_scratch(kept, s->threads) / sizeof(float));
    wtl_conv_sparse_weights(s->native, kept, l->n, s->threads, x, x_image, dy, y_image, dw,
                            scratch);
    for (size_t i = 0; i < l->weights; i++) {
        double want = l->mask[i] != 0.0f ? l->dw[i] : 7.0; /* what is gone is left alone */
        assert_close((double)dw[i], want, 3e-7 * (l->n * g->p * g->q + 4));
    }
    wtl_free(dw);
    wtl_free(dy);
    wtl_free(y);
    wtl_free(blocks);
    wtl_free(scratch);
    wtl_free(memory);
}

static void check_flipped(const layer *l, const setting *s)
{
    const wtl_conv_geometry *g = &l->g;
    wtl_conv_geometry flipped;
    wtl_conv_sparse plan;
    if (!wtl_conv_sparse_flipped(g, &flipped)) {
        return;
    }
    assert_true(wtl_conv_sparse_plan_pattern(&plan, s->native, &flipped, s->planned, l->mask,
                                             true, false, false));
    void *memory = nan_memory(plan.bytes);
    wtl_conv_sparse *pattern =
        wtl_conv_sparse_make_pattern(&plan, &flipped, l->mask, true, memory);
    float *scratch = nan_memory(wtl_conv_sparse_own_scratch(pattern, s->threads));
    float *dy = to_blocks(l->dy, l->n, g->k, g->p * g->q);
    size_t x_image = blocked(g->c, g->h * g->w), y_image = blocked(g->k, g->p * g->q);
    float *dx = nan_memory(l->n * x_image * sizeof *dx);
    wtl_conv_sparse_take(pattern, s->threads, l->w);
    wtl_conv_sparse_forward(s->native, pattern, l->n, s->threads, dy, y_image, NULL,
                            WTL_ACTIVATION_NONE, NULL, dx, x_image, scratch);
    check_blocks(dx, l->n, g->c, g->h * g->w, l->dx,
                 1e-6 * (double)(l->filters * g->r * g->s + 4));
    wtl_free(dx);
    wtl_free(dy);
    wtl_free(scratch);
    wtl_free(memory);
}

static wtl_conv_geometry random_geometry(wtl_rng *rng)
{
    wtl_conv_geometry g = {.r = between(rng, 1, 4), .s = between(rng, 1, 4)};
    g.groups = between(rng, 1, 3);
    /* Half of the time whole blocks, so that groups are cut apart. */
    int scale = between(rng, 0, 1) ? BLOCK : 1;
    g.c = g.groups * scale * between(rng, 1, scale == 1 ? 18 : 2);
    g.k = g.groups * scale * between(rng, 1, scale == 1 ? 18 : 2);
    bool strided = between(rng, 0, 2) == 0; /* else there is a flipped layer */
    for (int d = 0; d < 2; d++) {
        g.stride[d] = strided ? between(rng, 1, 4) : 1;
        g.dilation[d] = between(rng, 1, 2);
    }
    for (int d = 0; d < 4; d++) {
        int reach = d < 2 ? (g.r - 1) * g.dilation[0] : (g.s - 1) * g.dilation[1];
        g.pad[d] = strided ? between(rng, 0, 3) : between(rng, 0, reach);
    }
    int reach_h = (g.r - 1) * g.dilation[0] + 1, reach_w = (g.s - 1) * g.dilation[1] + 1;
    int least_h = reach_h - g.pad[0] - g.pad[1], least_w = reach_w - g.pad[2] - g.pad[3];
    g.h = (least_h > 1 ? least_h : 1) + between(rng, 0, 6);
    g.w = (least_w > 1 ? least_w : 1) + between(rng, 0, between(rng, 0, 3) ? 7 : 40);
    return g;
}

static void convolutions_of_kept_weights_are_what_the_definition_gives(void **state)
{
    (void)state;
    static const double densities[] = {0, 0.03, 0.1, 0.3, 1};
    wtl_rng rng = wtl_rng_make(1, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < 150; i++) {
        layer l = layer_of(random_geometry(&rng), between(&rng, 1, 4),
                           (mask_kind)between(&rng, 0, KIND_COUNT - 1),
                           densities[between(&rng, 0, 4)], (unsigned)i * 8);
        setting s = {.native = wtl_native_of(ISAS[i % ISA_COUNT]),
                     .planned = l.n + between(&rng, 0, 2),
                     .threads = between(&rng, 1, 3),
                     .plain = between(&rng, 0, 3) == 0,
                     .gradients = between(&rng, 0, 1)};
        define(&l);
        check_kept(&l, &s);
        check_flipped(&l, &s);
        free_layer(&l);
    }
}

/* x is 1 2 3 / 4 5 6 / 7 8 9, dy is 1 at the first pixel and 10 at the last; the filter of 2x2
 * keeps its first and last weight. */
static void gradients_are_the_hand_worked_ones(void **state)
{
    (void)state;
    wtl_conv_geometry g = {.c = 1,
                           .h = 3,
                           .w = 3,
                           .k = 1,
                           .r = 2,
                           .s = 2,
                           .p = 2,
                           .q = 2,
                           .stride = {1, 1},
                           .dilation = {1, 1},
                           .groups = 1};
    static const float mask[4] = {1, 0, 0, 1}, w[4] = {3, 0, 0, -2};
    static const float dy_plain[4] = {1, 0, 0, 10};
    static const float want_dw[4] = {1 + 50, 5, 5, 5 + 90};
    static const double want_dx[9] = {3, 0, 0, 0, -2 + 30, 0, 0, 0, -20};
    float x[9], dw[4] = {5, 5, 5, 5};
    for (int i = 0; i < 9; i++) {
        x[i] = (float)(i + 1);
    }
    for (int i = 0; i < ISA_COUNT; i++) {
        const wtl_native *native = wtl_native_of(ISAS[i]);
        wtl_conv_sparse plan;
        wtl_conv_geometry flipped;
        float *dy = to_blocks(dy_plain, 1, 1, 4);
        assert_true(
            wtl_conv_sparse_plan_pattern(&plan, native, &g, 1, mask, false, true, true));
        void *memory = nan_memory(plan.bytes);
        wtl_conv_sparse *p = wtl_conv_sparse_make_pattern(&plan, &g, mask, false, memory);
        void *scratch = nan_memory(wtl_conv_sparse_weights_scratch(p, 1));
        wtl_conv_sparse_weights(native, p, 1, 1, x, 9, dy, blocked(1, 4), dw, scratch);
        assert_all_close(dw, want_dw, 4, 0.0);
        wtl_free(scratch);
        wtl_free(memory);
        assert_true(wtl_conv_sparse_flipped(&g, &flipped));
        assert_true(
            wtl_conv_sparse_plan_pattern(&plan, native, &flipped, 1, mask, true, false, false));
        memory = nan_memory(plan.bytes);
        p = wtl_conv_sparse_make_pattern(&plan, &flipped, mask, true, memory);
        scratch = nan_memory(wtl_conv_sparse_own_scratch(p, 1));
        float *dx = nan_memory(blocked(1, 9) * sizeof *dx);
        wtl_conv_sparse_take(p, 1, w);
        wtl_conv_sparse_forward(native, p, 1, 1, dy, blocked(1, 4), NULL, WTL_ACTIVATION_NONE,
                                NULL, dx, blocked(1, 9), scratch);
        check_blocks(dx, 1, 1, 9, want_dx, 0.0);
        wtl_free(dx);
        wtl_free(dy);
        wtl_free(scratch);
        wtl_free(memory);
    }
}

static void wide_padding_or_a_stride_has_no_flipped_layer(void **state)
{
    (void)state;
    wtl_conv_geometry flipped, g = {.c = 2,
                                    .h = 5,
                                    .w = 7,
                                    .k = 3,
                                    .r = 3,
                                    .s = 3,
                                    .p = 5,
                                    .q = 6,
                                    .stride = {1, 1},
                                    .pad = {1, 1, 0, 1},
                                    .dilation = {1, 1},
                                    .groups = 1};
    assert_true(wtl_conv_sparse_flipped(&g, &flipped));
    assert_int_equal(flipped.c, 3);
    assert_int_equal(flipped.k, 2);
    assert_int_equal(flipped.w, 6);
    assert_int_equal(flipped.q, 7);
    assert_int_equal(flipped.pad[2], 2);
    assert_int_equal(flipped.pad[3], 1);
    g.pad[2] = 3;
    assert_false(wtl_conv_sparse_flipped(&g, &flipped));
    g.pad[2] = 0;
    g.stride[1] = 2;
    assert_false(wtl_conv_sparse_flipped(&g, &flipped));
}

/* ---- dense layers ---- */

typedef struct matrix {
    int k, d, n;
    long x_step, y_step;
    float *x, *w, *mask, *dy, *b;
} matrix;

static double product(const float *a, long a_step, const float *b, long b_step, int count)
{
    double sum = 0;
    for (int i = 0; i < count; i++) {
        sum += (double)a[i * a_step] * b[i * b_step];
    }
    return sum;
}

static void check_forward(const matrix *m, const wtl_dense_masked *p, const wtl_native *native,
                          const wtl_dense *t, const void *pattern, int threads, float *scratch)
{
    float *y = nan_memory((size_t)m->n * m->y_step * sizeof *y);
    wtl_dense_masked_forward(p, native, pattern, threads, t, m->x, m->b, y, scratch);
    for (int i = 0; i < m->n; i++) {
        for (int k = 0; k < m->y_step; k++) {
            double got = (double)y[i * m->y_step + k];
            if (k >= m->k) {
                assert_true(isnan(got));
                continue;
            }
            double want =
                m->b[k] + product(m->x + i * m->x_step, 1, m->w + (size_t)k * m->d, 1, m->d);
            assert_close(got, want > 0 ? want : 0, 1e-6 * (m->d + 4));
        }
    }
    wtl_free(y);
}

static void check_backward(const matrix *m, const wtl_dense_masked *p, const wtl_native *native,
                           const wtl_dense *t, const void *pattern, int threads, float *scratch)
{
    float *dx = nan_memory((size_t)m->n * m->x_step * sizeof *dx);
    float *dw = nan_memory((size_t)m->k * m->d * sizeof *dw);
    wtl_dense_masked_weights(p, native, pattern, threads, t, m->x, m->dy, dw, scratch);
    for (size_t i = 0; i < (size_t)m->k * m->d; i++) {
        if (m->mask[i] == 0.0f) {
            assert_true(isnan(dw[i]));
            continue;
        }
        double want = product(m->dy + i / m->d, m->y_step, m->x + i % m->d, m->x_step, m->n);
        assert_close((double)dw[i], want, 1e-6 * (m->n + 4));
    }
    wtl_dense_masked_data(p, native, pattern, threads, t, m->dy, dx, scratch);
    for (int i = 0; i < m->n; i++) {
        for (int d = 0; d < m->x_step; d++) {
            double got = (double)dx[i * m->x_step + d];
            if (d >= m->d) {
                assert_true(isnan(got));
                continue;
            }
            double want = product(m->dy + i * m->y_step, 1, m->w + d, m->d, m->k);
            assert_close(got, want, 1e-6 * (m->k + 4));
        }
    }
    wtl_free(dx);
    wtl_free(dw);
}

static void check_matrix(const matrix *m, const wtl_native *native, int planned, int threads)
{
    wtl_dense_masked p;
    const wtl_dense t = {.n = m->n,
                         .k = m->k,
                         .d = m->d,
                         .x_step = m->x_step,
                         .y_step = m->y_step,
                         .activation = WTL_ACTIVATION_RELU};
    (void)wtl_dense_masked_plan(&p, native, m->k, m->d, planned, true, m->mask);
    void *pattern = nan_memory(p.bytes);
    size_t bytes = wtl_dense_masked_scratch(&p, threads);
    float *scratch = nan_memory(bytes);
    wtl_dense_masked_make(&p, m->mask, pattern);
    wtl_dense_masked_take(&p, pattern, threads, m->w);
    check_forward(m, &p, native, &t, pattern, threads, scratch);
    wtl_fill_nan(scratch, bytes / sizeof *scratch);
    check_backward(m, &p, native, &t, pattern, threads, scratch);
    wtl_free(pattern);
    wtl_free(scratch);
}

static void dense_layers_of_kept_weights_are_what_the_definition_gives(void **state)
{
    (void)state;
    static const double densities[] = {0, 0.03, 0.1, 0.5, 1};
    wtl_rng rng = wtl_rng_make(2, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < 60; i++) {
        bool wide = between(&rng, 0, 4) == 0; /* several panels, several tiles of images */
        matrix m = {.k = between(&rng, 1, wide ? 150 : 40),
                    .d = between(&rng, 1, wide ? 700 : 70),
                    .n = between(&rng, 1, wide ? 150 : 40)};
        m.x_step = m.d + between(&rng, 0, 3);
        m.y_step = m.k + between(&rng, 0, 3);
        m.x = floats((size_t)m.n * m.x_step, (unsigned)i * 8);
        m.dy = floats((size_t)m.n * m.y_step, (unsigned)i * 8 + 1);
        m.w = floats((size_t)m.k * m.d, (unsigned)i * 8 + 2);
        m.mask = floats((size_t)m.k * m.d, (unsigned)i * 8 + 3);
        m.b = floats((size_t)m.k, (unsigned)i * 8 + 4);
        fill_mask(m.mask, m.k, (size_t)m.d, (mask_kind)between(&rng, 0, KIND_COUNT - 1),
                  densities[between(&rng, 0, 4)], (unsigned)i * 8 + 5);
        for (size_t j = 0; j < (size_t)m.k * m.d; j++) {
            m.w[j] = m.mask[j] != 0.0f ? m.w[j] : 0.0f;
        }
        check_matrix(&m, wtl_native_of(ISAS[i % ISA_COUNT]), m.n + between(&rng, 0, 20),
                     between(&rng, 1, 3));
        wtl_free(m.x);
        wtl_free(m.dy);
        wtl_free(m.w);
        wtl_free(m.mask);
        wtl_free(m.b);
    }
}

/* ---- nets ---- */

/* Layers large enough for sparse kernels to be chosen, a layer without a mask, a strided layer on
 * the image itself. Biases keep sums off 0, where rounding decides on which side of a ReLU's corner
 * they are. */
static const char NET[] = "net masked\n"
                          "input data 3x27x27\n"
                          "c1 = conv data out=32 kernel=5 stride=2 pad=2 bias_init=const:0.1\n"
                          "r1 = relu c1\n"
                          "c2 = conv r1 out=64 kernel=3 pad=1 groups=2 bias_init=const:0.1\n"
                          "r2 = relu c2\n"
                          "free = conv r2 out=32 kernel=1\n"
                          "c3 = conv free out=48 kernel=5 pad=2\n"
                          "p = avgpool c3 kernel=2 stride=2\n"
                          "d1 = dense p out=160 bias_init=const:0.1\n"
                          "rd = relu d1\n"
                          "d2 = dense rd out=10\n"
                          "prob = softmax d2\n";
enum { BATCH = 12, CLASSES = 10 };
static const char *const MASKED[] = {"c1.weight", "c2.weight", "c3.weight", "d1.weight"};
enum { MASKED_COUNT = sizeof MASKED / sizeof *MASKED };

static wtl_status make_net(wtl_net **net, wtl_engine engine, int threads)
{
    wtl_netdef *def;
    wtl_net_options options = {
        .batch = BATCH, .threads = threads, .engine = engine, .training = true};
    wtl_status status = wtl_netdef_parse(&def, NET, strlen(NET), "net", NULL, NULL);
    if (status == WTL_OK) {
        status = wtl_net_create(net, def, &options, NULL);
        wtl_netdef_free(def);
    }
    if (status == WTL_OK) {
        wtl_net_init(*net, 3);
        wtl_fill_random(wtl_net_input(*net), (size_t)BATCH * 3 * 27 * 27, 5);
    }
    return status;
}

static bool mask_params(wtl_net *net, mask_kind kind, double density, unsigned key)
{
    for (int i = 0; i < MASKED_COUNT; i++) {
        wtl_param *p = wtl_net_find_param(net, MASKED[i]);
        p->mask = p->mask ? p->mask : wtl_alloc(p->count, sizeof *p->mask);
        if (!p->mask) {
            return false;
        }
        fill_mask(p->mask, p->spec.dims[0], p->count / (size_t)p->spec.dims[0], kind, density,
                  key + (unsigned)i);
        for (size_t j = 0; j < p->count; j++) {
            p->value[j] = p->mask[j] != 0.0f ? p->value[j] : 0.0f;
        }
    }
    return true;
}

static wtl_net *masked_net(wtl_engine engine, int threads, mask_kind kind, double density)
{
    wtl_net *net = NULL;
    assert_ok(make_net(&net, engine, threads));
    assert_true(mask_params(net, kind, density, 50));
    return net;
}

static double run(wtl_net *net, int n)
{
    int labels[BATCH];
    for (int i = 0; i < n; i++) {
        labels[i] = i % CLASSES;
    }
    wtl_scores scores = {0};
    wtl_net_forward(net, n, WTL_RUN_TRAINING, 1);
    double loss = wtl_net_loss(net, n, labels, 0.0f, &scores);
    wtl_net_backward(net, n);
    return loss;
}

/* Gradients of what is kept agree; of what is gone are 0 where the number says so. */
static void assert_same_gradients(wtl_net *followed, wtl_net *twin)
{
    for (int i = 0; i < wtl_net_param_count(twin); i++) {
        const wtl_param *a = wtl_net_param(followed, i), *b = wtl_net_param(twin, i);
        double largest = 1e-3;
        for (size_t j = 0; j < b->count; j++) {
            largest = fmax(largest, fabs((double)b->gradient[j]));
        }
        for (size_t j = 0; j < b->count; j++) {
            bool gone = a->mask && a->mask[j] == 0.0f;
            if (gone && a->followed) {
                assert_true(a->gradient[j] == 0.0f);
            } else if (!gone) {
                /* Winograd's rounding through four layers. */
                assert_close((double)a->gradient[j], (double)b->gradient[j], 2e-4 * largest);
            }
        }
    }
}

static int followed_count(wtl_net *net)
{
    int count = 0;
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        count += wtl_net_param(net, i)->followed != 0;
    }
    return count;
}

static void a_net_that_follows_its_masks_has_the_gradients_of_one_that_does_not(void **state)
{
    (void)state;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        for (int threads = 1; threads <= 2; threads++) {
            wtl_net *net = masked_net(WTL_ENGINE_NATIVE, threads, (mask_kind)kind, 0.06);
            wtl_net *twin = masked_net(WTL_ENGINE_BLAS, 1, (mask_kind)kind, 0.06);
            assert_ok(wtl_net_follow_masks(net, NULL));
            assert_true(kind == FILTERS || followed_count(net) >= 2);
            assert_true(wtl_net_memory_of(net).masked > 0);
            for (int n = BATCH; n > 0; n -= 7) {
                assert_close(run(net, n), run(twin, n), 1e-5);
                assert_same_gradients(net, twin);
            }
            wtl_net_free(net);
            wtl_net_free(twin);
        }
    }
}

/* Of c2 and c3: two filters in five and one channel in four are left; with holes, not all of their
 * weights. */
static void mask_structure(wtl_net *net, bool holes)
{
    for (int i = 1; i < 3; i++) {
        wtl_param *p = wtl_net_find_param(net, MASKED[i]);
        const int *dims = p->spec.dims;
        size_t taps = (size_t)dims[2] * dims[3];
        for (size_t j = 0; j < p->count; j++) {
            size_t k = j / taps / dims[1], c = j / taps % dims[1];
            bool kept = k % 5 < 2 && (i == 1 || c % 4 == 1) && !(holes && j % 7 == 3);
            p->mask[j] = kept ? 1.0f : 0.0f;
            p->value[j] = (float)(kept ? 0.1 * sin((double)j) : 0.0);
        }
    }
}

static void filters_and_channels_that_are_gone_make_a_smaller_layer(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        bool holes = i % 2;
        wtl_net *net = masked_net(WTL_ENGINE_NATIVE, 1 + i / 2, RANDOM, 2.0);
        wtl_net *twin = masked_net(WTL_ENGINE_BLAS, 1, RANDOM, 2.0);
        mask_structure(net, holes);
        mask_structure(twin, holes);
        assert_ok(wtl_net_follow_masks(net, NULL));
        assert_non_null(strstr(wtl_net_kernel(net, 3), "kept filters and channels"));
        assert_non_null(strstr(wtl_net_kernel(net, 6), "kept filters and channels"));
        assert_true(holes == !wtl_net_find_param(net, "c3.weight")->followed);
        for (int n = BATCH; n > 0; n -= 7) {
            assert_close(run(net, n), run(twin, n), 1e-5);
            assert_same_gradients(net, twin);
        }
        wtl_net_free(net);
        wtl_net_free(twin);
    }
}

static void masks_can_change_and_be_forgotten(void **state)
{
    (void)state;
    wtl_net *net = masked_net(WTL_ENGINE_NATIVE, 1, RANDOM, 0.05);
    wtl_net *twin = masked_net(WTL_ENGINE_BLAS, 1, RANDOM, 0.05);
    assert_ok(wtl_net_follow_masks(net, NULL));
    (void)run(net, BATCH);
    wtl_net_init(net, 4);
    wtl_net_init(twin, 4);
    assert_true(mask_params(net, QUADS, 0.08, 90) && mask_params(twin, QUADS, 0.08, 90));
    assert_ok(wtl_net_follow_masks(net, NULL));
    assert_close(run(net, BATCH), run(twin, BATCH), 1e-5);
    assert_same_gradients(net, twin);
    wtl_net_forget_masks(net);
    assert_int_equal(followed_count(net), 0);
    assert_int_equal(wtl_net_memory_of(net).masked, 0);
    assert_null(strstr(wtl_net_kernel(net, 1), "kept"));
    assert_close(run(net, BATCH), run(twin, BATCH), 1e-5);
    assert_same_gradients(net, twin);
    wtl_net_free(net);
    wtl_net_free(twin);
}

static void full_masks_and_no_masks_change_nothing(void **state)
{
    (void)state;
    wtl_net *net = NULL;
    assert_ok(make_net(&net, WTL_ENGINE_NATIVE, 1));
    assert_ok(wtl_net_follow_masks(net, NULL));
    assert_int_equal(wtl_net_memory_of(net).masked, 0);
    assert_true(mask_params(net, RANDOM, 2.0, 1));
    assert_ok(wtl_net_follow_masks(net, NULL));
    assert_int_equal(wtl_net_memory_of(net).masked, 0);
    wtl_net_free(net);
    net = masked_net(WTL_ENGINE_BLAS, 1, RANDOM, 0.05);
    assert_ok(wtl_net_follow_masks(net, NULL));
    assert_int_equal(wtl_net_memory_of(net).masked, 0);
    wtl_net_free(net);
}

static void the_kernel_names_what_is_sparse(void **state)
{
    (void)state;
    wtl_net *net = masked_net(WTL_ENGINE_NATIVE, 1, RANDOM, 0.03);
    assert_ok(wtl_net_follow_masks(net, NULL));
    assert_string_equal(wtl_net_kernel(net, 1), "kept weights, relu fused");
    wtl_net_free(net);
}

static void an_inference_net_is_refused(void **state)
{
    (void)state;
    wtl_netdef *def;
    wtl_net *net;
    wtl_error err;
    wtl_net_options options = {.batch = 1};
    assert_ok(wtl_netdef_parse(&def, NET, strlen(NET), "net", NULL, NULL));
    assert_ok(wtl_net_create(&net, def, &options, NULL));
    wtl_netdef_free(def);
    assert_fails(wtl_net_follow_masks(net, &err), WTL_E_ARG, &err,
                 "masked: masks of a net that is not trained are not followed");
    wtl_net_free(net);
}

/* Steps with the masks followed, from momentum that a dense step left in what is gone. */
static void train(wtl_net *net, bool follow, int steps)
{
    wtl_optimizer *optimizer;
    wtl_optimizer_options options;
    wtl_optimizer_defaults(&options);
    options.ema = 0.9;
    assert_ok(wtl_optimizer_create(&optimizer, net, &options, NULL));
    (void)run(net, BATCH);
    (void)wtl_optimizer_step(optimizer, 0.01);
    assert_true(mask_params(net, RANDOM, 0.06, 50));
    for (int i = 0; i < steps; i++) {
        if (follow && i % 3 == 0) {
            assert_ok(wtl_net_follow_masks(net, NULL));
        }
        (void)run(net, BATCH);
        (void)wtl_optimizer_step(optimizer, 0.01);
    }
    wtl_net_forget_masks(net);
    wtl_optimizer_free(optimizer);
}

static void steps_with_masks_followed_keep_what_is_gone_at_0(void **state)
{
    (void)state;
    wtl_net *net = NULL, *again = NULL, *twin = NULL;
    assert_ok(make_net(&net, WTL_ENGINE_NATIVE, 1));
    assert_ok(make_net(&again, WTL_ENGINE_NATIVE, 1));
    assert_ok(make_net(&twin, WTL_ENGINE_NATIVE, 1));
    train(net, true, 5);
    train(again, true, 5);
    train(twin, false, 5);
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *a = wtl_net_param(net, i), *b = wtl_net_param(twin, i);
        assert_memory_equal(a->value, wtl_net_param(again, i)->value,
                            a->count * sizeof *a->value);
        for (size_t j = 0; j < a->count; j++) {
            if (a->mask && a->mask[j] == 0.0f) {
                assert_true(a->value[j] == 0.0f && !signbit(a->value[j]));
            } else {
                assert_close((double)a->value[j], (double)b->value[j], 1e-4);
            }
        }
    }
    wtl_net_free(net);
    wtl_net_free(again);
    wtl_net_free(twin);
}

static void out_of_memory_the_net_runs_as_before(void **state)
{
    (void)state;
    wtl_net *net = masked_net(WTL_ENGINE_NATIVE, 1, RANDOM, 0.05);
    double loss = run(net, 3);
    wtl_test_fail_allocation(1, 1);
    wtl_status status = wtl_net_follow_masks(net, NULL);
    wtl_test_fail_allocation(0, 0);
    assert_int_equal(status, WTL_E_NOMEM);
    assert_int_equal(followed_count(net), 0);
    assert_close(run(net, 3), loss, 0.0); /* it runs as before */
    wtl_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(gradients_are_the_hand_worked_ones),
        WTL_TEST(wide_padding_or_a_stride_has_no_flipped_layer),
        WTL_TEST(convolutions_of_kept_weights_are_what_the_definition_gives),
        WTL_TEST(dense_layers_of_kept_weights_are_what_the_definition_gives),
        WTL_TEST(a_net_that_follows_its_masks_has_the_gradients_of_one_that_does_not),
        WTL_TEST(filters_and_channels_that_are_gone_make_a_smaller_layer),
        WTL_TEST(masks_can_change_and_be_forgotten),
        WTL_TEST(full_masks_and_no_masks_change_nothing),
        WTL_TEST(the_kernel_names_what_is_sparse),
        WTL_TEST(an_inference_net_is_refused),
        WTL_TEST(steps_with_masks_followed_keep_what_is_gone_at_0),
        WTL_TEST(out_of_memory_the_net_runs_as_before),
    };
    return WTL_RUN("masked", tests);
}
