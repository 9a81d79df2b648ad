/* Sparse convolution: values worked by hand, the definition in double over random shapes on every
 * instruction set this processor has, both packed forms, and what threads must not change. */
#include "wtl_test.h"

#include "models/kernels/conv_sparse.h"
#include "models/kernels/native/sparse.h"
#include "wattle/memory.h"
#include "wattle/rng.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const wtl_isa ISAS[] = {WTL_ISA_PLAIN, WTL_ISA_AVX2, WTL_ISA_AVX512};
enum { ISA_COUNT = 3, BLOCK = 16 };

typedef struct maps {
    wtl_conv_geometry g;
    int n;
    float *x, *w, *bias, *add; /* plain: NCHW */
    float *y;                  /* plain, what came out */
    double *want;
} maps;

static size_t x_count(const wtl_conv_geometry *g)
{
    return (size_t)g->c * g->h * g->w;
}

static size_t y_count(const wtl_conv_geometry *g)
{
    return (size_t)g->k * g->p * g->q;
}

static size_t w_count(const wtl_conv_geometry *g)
{
    return (size_t)g->k * (g->c / g->groups) * g->r * g->s;
}

static float *floats(size_t count, unsigned key)
{
    float *values = wtl_alloc(count + 1, sizeof *values);
    assert_non_null(values);
    wtl_fill_random(values, count, key);
    return values;
}

static maps maps_of(wtl_conv_geometry g, int n, unsigned key)
{
    g.p = (g.h + g.pad[0] + g.pad[1] - (g.r - 1) * g.dilation[0] - 1) / g.stride[0] + 1;
    g.q = (g.w + g.pad[2] + g.pad[3] - (g.s - 1) * g.dilation[1] - 1) / g.stride[1] + 1;
    maps m = {.g = g, .n = n};
    m.x = floats(n * x_count(&g), key);
    m.w = floats(w_count(&g), key + 1);
    m.bias = floats((size_t)g.k, key + 2);
    m.add = floats(n * y_count(&g), key + 3);
    m.y = floats(n * y_count(&g), key);
    m.want = wtl_alloc(n * y_count(&g) + 1, sizeof *m.want);
    assert_non_null(m.want);
    return m;
}

static void free_maps(maps *m)
{
    wtl_free(m->x);
    wtl_free(m->w);
    wtl_free(m->bias);
    wtl_free(m->add);
    wtl_free(m->y);
    wtl_free(m->want);
}

/* ---- the definition ---- */

static double output(const maps *m, int n, int k, int p, int q)
{
    const wtl_conv_geometry *g = &m->g;
    int channels = g->c / g->groups, first = k / (g->k / g->groups) * channels;
    double sum = 0;
    for (int i = 0; i < channels * g->r * g->s; i++) {
        int c = i / (g->r * g->s), r = i / g->s % g->r, s = i % g->s;
        int h = p * g->stride[0] + r * g->dilation[0] - g->pad[0];
        int v = q * g->stride[1] + s * g->dilation[1] - g->pad[2];
        if (h >= 0 && h < g->h && v >= 0 && v < g->w) {
            sum += (double)m->w[(size_t)k * channels * g->r * g->s + i] *
                   m->x[(((size_t)n * g->c + first + c) * g->h + h) * g->w + v];
        }
    }
    return sum;
}

static double activated(double value, wtl_activation activation)
{
    if (activation != WTL_ACTIVATION_NONE && value < 0) {
        return 0;
    }
    return activation == WTL_ACTIVATION_RELU6 && value > 6 ? 6 : value;
}

typedef struct run {
    wtl_isa isa;
    int planned, threads; /* batch that it is packed for */
    wtl_sparse_form form;
    bool chooses; /* the form, itself */
    bool bias, add, in_place;
    wtl_activation activation;
} run;

static void define(maps *m, const run *r)
{
    const wtl_conv_geometry *g = &m->g;
    for (size_t i = 0; i < m->n * y_count(g); i++) {
        int q = (int)(i % g->q), p = (int)(i / g->q % g->p), k = (int)(i / g->q / g->p % g->k);
        double value = output(m, (int)(i / y_count(g)), k, p, q);
        value += (r->bias ? m->bias[k] : 0) + (r->add ? m->add[i] : 0);
        m->want[i] = activated(value, r->activation);
    }
}

/* ---- blocks ---- */

/* Each image is followed by GAP floats that belong to somebody else. */
enum { GAP = 32 };

static size_t blocked(int c, int h, int w)
{
    return (size_t)(c + BLOCK - 1) / BLOCK * BLOCK * h * w + GAP;
}

static void to_blocks(const float *plain, int n, int c, int pixels, size_t image, float *blocks)
{
    for (int i = 0; i < n * c; i++) {
        for (int p = 0; p < pixels; p++) {
            int channel = i % c;
            blocks[i / c * image + ((size_t)(channel / BLOCK) * pixels + p) * BLOCK +
                   channel % BLOCK] = plain[(size_t)i * pixels + p];
        }
    }
}

/* Back, and: lanes without a channel are 0, gaps untouched. */
static void from_blocks(const float *blocks, int n, int c, int pixels, size_t image,
                        float *plain)
{
    for (int i = 0; i < n; i++) {
        for (size_t at = 0; at < image - GAP; at++) {
            int channel = (int)(at / BLOCK / pixels) * BLOCK + (int)(at % BLOCK);
            float value = blocks[i * image + at];
            if (channel < c) {
                plain[((size_t)i * c + channel) * pixels + at / BLOCK % pixels] = value;
            } else if (value != 0.0f) {
                fail_msg("lane %d of image %d is %g", channel, i, value);
            }
        }
        for (size_t at = image - GAP; at < image; at++) {
            assert_true(isnan(blocks[i * image + at]));
        }
    }
}

static const wtl_conv_sparse *packed_for(const maps *m, const run *r, const wtl_native *native)
{
    size_t bytes = r->chooses
                       ? wtl_conv_sparse_bytes(native, &m->g, r->planned, m->w)
                       : wtl_conv_sparse_bytes_as(native, &m->g, r->planned, r->form, m->w);
    assert_true(bytes < SIZE_MAX);
    void *memory = wtl_alloc(bytes, 1);
    assert_non_null(memory);
    memset(memory, 0xff, bytes);
    return r->chooses
               ? wtl_conv_sparse_pack(native, &m->g, r->planned, m->w, memory)
               : wtl_conv_sparse_pack_as(native, &m->g, r->planned, r->form, m->w, memory);
}

static void forward(maps *m, const run *r)
{
    const wtl_conv_geometry *g = &m->g;
    const wtl_native *native = wtl_native_of(r->isa);
    size_t x_image = blocked(g->c, g->h, g->w), y_image = blocked(g->k, g->p, g->q);
    float *x = wtl_alloc(m->n * x_image, sizeof *x), *y = wtl_alloc(m->n * y_image, sizeof *y);
    float *add = wtl_alloc(m->n * y_image, sizeof *add);
    size_t bytes = wtl_conv_sparse_scratch(native, g, r->planned, r->threads);
    assert_true(bytes < SIZE_MAX);
    float *scratch = wtl_alloc(bytes, 1);
    assert_true(x && y && add && scratch);
    wtl_fill_nan(scratch, bytes / sizeof *scratch);
    to_blocks(m->x, m->n, g->c, g->h * g->w, x_image, x);
    to_blocks(m->add, m->n, g->k, g->p * g->q, y_image, add);
    for (int i = 0; i < m->n; i++) {
        wtl_fill_nan(add + (i + 1) * y_image - GAP, GAP);
    }
    if (r->in_place) {
        memcpy(y, add, m->n * y_image * sizeof *y);
    } else {
        wtl_fill_nan(y, m->n * y_image);
    }
    void *packed = (void *)(uintptr_t)packed_for(m, r, native);
    wtl_conv_sparse_forward(native, packed, m->n, r->threads, x, x_image,
                            r->bias ? m->bias : NULL, r->activation,
                            !r->add       ? NULL
                            : r->in_place ? y
                                          : add,
                            y, y_image, scratch);
    from_blocks(y, m->n, g->k, g->p * g->q, y_image, m->y);
    wtl_free(packed);
    wtl_free(scratch);
    wtl_free(add);
    wtl_free(y);
    wtl_free(x);
}

/* Rounding of a sum of `terms` floats below about 1 each. */
static void check(const maps *m, const char *what)
{
    const wtl_conv_geometry *g = &m->g;
    double terms = (double)(g->c / g->groups) * g->r * g->s + 2;
    for (size_t i = 0; i < m->n * y_count(g); i++) {
        if (!(fabs(m->y[i] - m->want[i]) <= 1e-7 * (terms + 4))) {
            fail_msg("%s: y[%zu] is %.9g, not %.9g; c%d %dx%d k%d %dx%d stride %d,%d pad "
                     "%d,%d,%d,%d dilation %d,%d groups %d, %d images",
                     what, i, m->y[i], m->want[i], g->c, g->h, g->w, g->k, g->r, g->s,
                     g->stride[0], g->stride[1], g->pad[0], g->pad[1], g->pad[2], g->pad[3],
                     g->dilation[0], g->dilation[1], g->groups, m->n);
        }
    }
}

/* ---- masks ---- */

static void keep_at_random(maps *m, double density, unsigned key)
{
    size_t count = w_count(&m->g);
    float *u = floats(count, key); /* in [-1, 1) */
    for (size_t i = 0; i < count; i++) {
        m->w[i] = (u[i] + 1) / 2 < density ? m->w[i] : 0.0f;
    }
    wtl_free(u);
}

/* Four filters of a group share a mask. */
static void keep_quads(maps *m, double density, unsigned key)
{
    const wtl_conv_geometry *g = &m->g;
    size_t filter = w_count(g) / g->k;
    float *u = floats(w_count(g), key);
    for (size_t i = 0; i < w_count(g); i++) {
        int k = (int)(i / filter), group = g->k / g->groups;
        int first_of_quad = k / group * group + k % group / 4 * 4;
        size_t first = (size_t)first_of_quad;
        m->w[i] = (u[first * filter + i % filter] + 1) / 2 < density ? m->w[i] : 0.0f;
    }
    wtl_free(u);
}

/* ---- tests ---- */

/* x is 1..9 in a square; filter 0 is -2 at the middle and 1 at the right, filter 1 is 0. */
static void forward_gives_the_hand_worked_values(void **state)
{
    (void)state;
    static const float want[18] = {-2 + 2,  -4 + 3,  -6,  -8 + 5, -10 + 6, -12,
                                   -14 + 8, -16 + 9, -18, 3,      3,       3,
                                   3,       3,       3,   3,      3,       3};
    for (int i = 0; i < ISA_COUNT * 2; i++) {
        wtl_conv_geometry g = {.c = 1,
                               .h = 3,
                               .w = 3,
                               .k = 2,
                               .r = 3,
                               .s = 3,
                               .stride = {1, 1},
                               .pad = {1, 1, 1, 1},
                               .dilation = {1, 1},
                               .groups = 1};
        maps m = maps_of(g, 1, 1);
        memset(m.w, 0, w_count(&m.g) * sizeof *m.w);
        m.w[4] = -2;
        m.w[5] = 1;
        m.bias[0] = 0;
        m.bias[1] = 3;
        for (int p = 0; p < 9; p++) {
            m.x[p] = (float)(p + 1);
        }
        run r = {.isa = ISAS[i / 2],
                 .planned = 1,
                 .threads = 1,
                 .bias = true,
                 .form = i % 2 ? WTL_SPARSE_QUADS : WTL_SPARSE_ROWS};
        forward(&m, &r);
        assert_all_close(m.y, want, 18, 0.0);
        free_maps(&m);
    }
}

static int between(wtl_rng *rng, int low, int high)
{
    return low + (int)wtl_rng_below(rng, (uint32_t)(high - low + 1));
}

static wtl_conv_geometry random_geometry(wtl_rng *rng)
{
    wtl_conv_geometry g = {.r = between(rng, 1, 4), .s = between(rng, 1, 4)};
    g.groups = between(rng, 1, 3);
    /* Half of the time whole blocks, so that groups are cut apart. */
    int scale = between(rng, 0, 1) ? BLOCK : 1;
    g.c = g.groups * scale * between(rng, 1, scale == 1 ? 20 : 2);
    g.k = g.groups * scale * between(rng, 1, scale == 1 ? 20 : 2);
    for (int d = 0; d < 2; d++) {
        g.stride[d] = between(rng, 1, 3);
        g.dilation[d] = between(rng, 1, 3);
    }
    for (int d = 0; d < 4; d++) {
        g.pad[d] = between(rng, 0, 3);
    }
    int reach_h = (g.r - 1) * g.dilation[0] + 1, reach_w = (g.s - 1) * g.dilation[1] + 1;
    int least_h = reach_h - g.pad[0] - g.pad[1], least_w = reach_w - g.pad[2] - g.pad[3];
    g.h = (least_h > 1 ? least_h : 1) + between(rng, 0, 9);
    g.w = (least_w > 1 ? least_w : 1) + between(rng, 0, between(rng, 0, 3) ? 9 : 40);
    return g;
}

static run random_run(wtl_rng *rng, int n)
{
    run r = {.isa = ISAS[between(rng, 0, ISA_COUNT - 1)],
             .planned = n + between(rng, 0, 2),
             .threads = between(rng, 1, 3),
             .form = between(rng, 0, 1) ? WTL_SPARSE_QUADS : WTL_SPARSE_ROWS,
             .chooses = between(rng, 0, 3) == 0,
             .bias = between(rng, 0, 1),
             .add = between(rng, 0, 1),
             .activation = (wtl_activation)between(rng, 0, 2)};
    r.in_place = r.add && between(rng, 0, 1);
    return r;
}

static void any_shape_gives_what_the_definition_gives(void **state)
{
    (void)state;
    static const double densities[] = {0, 0.03, 0.1, 0.3, 1};
    wtl_rng rng = wtl_rng_make(1, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < 250; i++) {
        maps m = maps_of(random_geometry(&rng), between(&rng, 1, 4), (unsigned)i);
        run r = random_run(&rng, m.n);
        double density = densities[between(&rng, 0, 4)];
        if (between(&rng, 0, 1)) {
            keep_quads(&m, density, (unsigned)i + 7);
        } else {
            keep_at_random(&m, density, (unsigned)i + 7);
        }
        define(&m, &r);
        forward(&m, &r);
        check(&m, r.chooses ? "chosen" : r.form == WTL_SPARSE_ROWS ? "rows" : "quads");
        free_maps(&m);
    }
}

/* More filters than sums are kept of at a time, many panels, small maps side by side, and few
 * images of many planned for. */
static void large_layers_give_the_same_bytes_for_any_number_of_threads(void **state)
{
    (void)state;
    static const struct {
        int c, size, k, kernel, groups, n, planned;
    } rows[] = {{24, 4, 410, 1, 1, 2, 2},  {192, 5, 32, 3, 1, 5, 5}, {96, 16, 20, 1, 1, 1, 1},
                {64, 20, 800, 3, 2, 1, 1}, {48, 7, 36, 5, 1, 1, 16}, {20, 30, 3, 1, 1, 3, 3}};
    for (size_t i = 0; i < 2 * (sizeof rows / sizeof *rows); i++) {
        int pad = rows[i / 2].kernel / 2;
        wtl_conv_geometry g = {.c = rows[i / 2].c,
                               .h = rows[i / 2].size,
                               .w = rows[i / 2].size,
                               .k = rows[i / 2].k,
                               .r = rows[i / 2].kernel,
                               .s = rows[i / 2].kernel,
                               .stride = {1, 1},
                               .pad = {pad, pad, pad, pad},
                               .dilation = {1, 1},
                               .groups = rows[i / 2].groups};
        maps m = maps_of(g, rows[i / 2].n, (unsigned)i);
        keep_quads(&m, 0.03, (unsigned)i);
        run r = {.planned = rows[i / 2].planned,
                 .threads = 1,
                 .form = i % 2 ? WTL_SPARSE_QUADS : WTL_SPARSE_ROWS,
                 .bias = true};
        define(&m, &r);
        forward(&m, &r);
        check(&m, "one thread");
        size_t bytes = m.n * y_count(&m.g) * sizeof *m.y;
        float *first = wtl_alloc(bytes, 1);
        assert_non_null(first);
        memcpy(first, m.y, bytes);
        for (r.threads = 2; r.threads <= 4; r.threads++) {
            forward(&m, &r);
            assert_memory_equal(m.y, first, bytes);
        }
        wtl_free(first);
        free_maps(&m);
    }
}

static void the_form_that_suits_the_mask_is_chosen(void **state)
{
    (void)state;
    for (int quads = 0; quads < 2; quads++) {
        wtl_conv_geometry g = {.c = 64,
                               .h = 14,
                               .w = 14,
                               .k = 64,
                               .r = 3,
                               .s = 3,
                               .stride = {1, 1},
                               .pad = {1, 1, 1, 1},
                               .dilation = {1, 1},
                               .groups = 1};
        maps m = maps_of(g, 1, 3);
        (quads ? keep_quads : keep_at_random)(&m, 0.1, 4);
        run r = {.planned = 1, .chooses = true};
        const wtl_conv_sparse *packed = packed_for(&m, &r, wtl_native_of(WTL_ISA_BEST));
        assert_int_equal(packed->form, quads ? WTL_SPARSE_QUADS : WTL_SPARSE_ROWS);
        wtl_free((void *)(uintptr_t)packed);
        free_maps(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(forward_gives_the_hand_worked_values),
        WTL_TEST(any_shape_gives_what_the_definition_gives),
        WTL_TEST(large_layers_give_the_same_bytes_for_any_number_of_threads),
        WTL_TEST(the_form_that_suits_the_mask_is_chosen),
    };
    return WTL_RUN("conv_sparse", tests);
}
