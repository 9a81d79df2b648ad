/* Direct convolution on maps in blocks: all three products against the reference loops (sums in
 * double) over random geometries, instruction sets and thread counts. */
#include "models/kernels/conv_direct.h"
#include "wattle/memory.h"
#include "wtl_test.h"

#include <math.h>
#include <string.h>

enum { CASES = 1000, MOST_MACS = 400000, GAP = 16 }; /* floats between images, which stay NaN */

static unsigned draw_state;

static int draw(int low, int high)
{
    draw_state = draw_state * 1664525u + 1013904223u;
    return low + (int)((draw_state >> 8) % (unsigned)(high - low + 1));
}

static int one_of(const int *list, int count)
{
    return list[draw(0, count - 1)];
}

static wtl_conv_geometry random_geometry(void)
{
    static const int CHANNELS[] = {1, 2, 3, 5, 16, 17, 24, 32, 48};
    static const int FILTERS[] = {1, 7, 16, 20, 32, 33, 48, 64};
    wtl_conv_geometry g;
    do {
        g = (wtl_conv_geometry){.c = one_of(CHANNELS, 9), .k = one_of(FILTERS, 8), .groups = 1};
        if (draw(0, 3) == 0) {
            g.groups = draw(2, 3);
            g.c = g.groups * 16 * draw(1, 2);
            g.k = g.groups * 16 * draw(1, 3);
        }
        g.h = draw(1, draw(1, 14));
        g.w = draw(1, draw(1, 33));
        g.r = draw(1, 5);
        g.s = draw(1, 5);
        bool dilated = draw(0, 5) == 0;
        for (int axis = 0; axis < 2; axis++) {
            g.stride[axis] = dilated ? 1 : draw(1, draw(1, 4));
            g.dilation[axis] = dilated ? draw(1, 3) : 1;
        }
        for (int side = 0; side < 4; side++) {
            g.pad[side] = draw(0, draw(0, 4));
        }
        if (draw(0, 3) == 0) { /* as it stands */
            g.r = g.s = g.stride[0] = g.stride[1] = 1;
            memset(g.pad, 0, sizeof g.pad);
        }
        g.p = (g.h + g.pad[0] + g.pad[1] - (g.r - 1) * g.dilation[0] - 1) / g.stride[0] + 1;
        g.q = (g.w + g.pad[2] + g.pad[3] - (g.s - 1) * g.dilation[1] - 1) / g.stride[1] + 1;
    } while (g.h + g.pad[0] + g.pad[1] < (g.r - 1) * g.dilation[0] + 1 ||
             g.w + g.pad[2] + g.pad[3] < (g.s - 1) * g.dilation[1] + 1 ||
             g.k * (g.c / g.groups) * g.r * g.s * g.p * g.q > MOST_MACS);
    return g;
}

static size_t image_floats(int c, int h, int w, bool plain)
{
    size_t count = wtl_blocked_count((wtl_shape){c, h, w});
    return (plain ? (size_t)c * h * w : count) + GAP;
}

static float *map_at(float *map, size_t image, bool plain, int n, int c, int h, int hw)
{
    return plain ? map + (size_t)n * image + (size_t)c * h + hw
                 : map + (size_t)n * image + ((size_t)(c / 16) * h + hw) * 16 + c % 16;
}

/* NaN everywhere but in the map, whose lanes beyond c are 0. */
static float *to_map(const float *values, int n, int c, int h, int w, bool plain)
{
    size_t image = image_floats(c, h, w, plain);
    float *map = wtl_alloc((size_t)n * image, sizeof *map);
    assert_non_null(map);
    for (size_t i = 0; i < (size_t)n * image; i++) {
        map[i] = i % image < image - GAP && !plain ? 0.0f : NAN;
    }
    for (int i = 0; i < n * c * h * w; i++) {
        int hw = i % (h * w), rest = i / (h * w);
        *map_at(map, image, plain, rest / c, rest % c, h * w, hw) = values[i];
    }
    return map;
}

static float *nan_map(int n, int c, int h, int w)
{
    size_t count = (size_t)n * image_floats(c, h, w, false);
    float *map = wtl_alloc(count, sizeof *map);
    assert_non_null(map);
    for (size_t i = 0; i < count; i++) {
        map[i] = NAN;
    }
    return map;
}

/* The map's values against `want`; lanes beyond c are 0 and gaps as they were. */
static void check_map(float *map, const float *want, int n, int c, int h, int w,
                      double tolerance)
{
    size_t image = image_floats(c, h, w, false);
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < (c + 15) / 16 * 16; k++) {
            for (int hw = 0; hw < h * w; hw++) {
                float got = *map_at(map, image, false, i, k, h * w, hw);
                if (k < c) {
                    assert_close(got, want[((size_t)i * c + k) * h * w + hw], tolerance);
                } else {
                    assert_true(got == 0.0f);
                }
            }
        }
        for (int j = 0; j < GAP; j++) {
            assert_true(isnan(map[(size_t)(i + 1) * image - GAP + j]));
        }
    }
}

typedef struct numbers {
    int n;
    size_t x_count, w_count, y_count;
    float *x, *w, *b, *dy, *y, *dx, *dw, *db;
} numbers;

static float *values(size_t count, unsigned key)
{
    float *v = wtl_alloc(count, sizeof *v);
    assert_non_null(v);
    if (key) {
        wtl_fill_random(v, count, key);
    }
    return v;
}

static numbers numbers_of(const wtl_conv_geometry *g, int n, unsigned key)
{
    numbers m = {.n = n,
                 .x_count = (size_t)n * g->c * g->h * g->w,
                 .w_count = (size_t)g->k * (g->c / g->groups) * g->r * g->s,
                 .y_count = (size_t)n * g->k * g->p * g->q};
    m.x = values(m.x_count, key);
    m.w = values(m.w_count, key + 1);
    m.b = values((size_t)g->k, key + 2);
    m.dy = values(m.y_count, key + 3);
    m.y = values(m.y_count, 0);
    m.dx = values(m.x_count, 0);
    m.dw = values(m.w_count, key + 4); /* gradients are added to */
    m.db = values((size_t)g->k, key + 5);
    return m;
}

static void free_numbers(numbers *m)
{
    float *all[] = {m->x, m->w, m->b, m->dy, m->y, m->dx, m->dw, m->db};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        wtl_free(all[i]);
    }
}

static void check_forward(const wtl_direct *d, const wtl_native *native,
                          const wtl_conv_geometry *g, numbers *m, const float *x,
                          float *scratch, double tolerance)
{
    bool plain = d->forward.plain;
    float *packed = values(wtl_direct_packed(&d->forward), 1);
    float *y = nan_map(m->n, g->k, g->p, g->q);
    wtl_conv_reference_forward(g, m->n, m->x, m->w, m->b, m->y);
    for (size_t i = 0; i < m->y_count; i++) {
        m->y[i] = m->y[i] > 0.0f ? m->y[i] : 0.0f;
    }
    wtl_direct_pack(&d->forward, d->threads, m->w, m->b, packed);
    wtl_direct_forward(d, native, m->n,
                       (wtl_const_map){x, image_floats(g->c, g->h, g->w, plain)}, packed, NULL,
                       WTL_ACTIVATION_RELU, (wtl_map){y, image_floats(g->k, g->p, g->q, false)},
                       scratch);
    check_map(y, m->y, m->n, g->k, g->p, g->q, tolerance);
    wtl_free(packed);
    wtl_free(y);
}

static void check_data(const wtl_direct *d, const wtl_native *native,
                       const wtl_conv_geometry *g, numbers *m, const float *dy, float *scratch,
                       double tolerance)
{
    float *packed = values(wtl_direct_packed(&d->data), 1);
    float *dx = nan_map(m->n, g->c, g->h, g->w);
    wtl_conv_reference_data(g, m->n, m->dy, m->w, m->dx);
    wtl_direct_pack(&d->data, d->threads, m->w, NULL, packed);
    wtl_direct_data(d, native, m->n, (wtl_const_map){dy, image_floats(g->k, g->p, g->q, false)},
                    packed, (wtl_map){dx, image_floats(g->c, g->h, g->w, false)}, scratch);
    check_map(dx, m->dx, m->n, g->c, g->h, g->w, tolerance);
    wtl_free(packed);
    wtl_free(dx);
}

static void check_weights(const wtl_direct *d, const wtl_native *native,
                          const wtl_conv_geometry *g, numbers *m, const float *x,
                          const float *dy, float *scratch, double tolerance)
{
    float *dw = values(m->w_count, 1), *db = values((size_t)g->k, 1);
    memcpy(dw, m->dw, m->w_count * sizeof *dw);
    memcpy(db, m->db, (size_t)g->k * sizeof *db);
    wtl_conv_reference_weights(g, m->n, m->x, m->dy, m->dw, m->db);
    wtl_direct_weights(d, native, m->n,
                       (wtl_const_map){x, image_floats(g->c, g->h, g->w, d->forward.plain)},
                       (wtl_const_map){dy, image_floats(g->k, g->p, g->q, false)}, dw, scratch);
    wtl_direct_bias(d, native, m->n, (wtl_const_map){dy, image_floats(g->k, g->p, g->q, false)},
                    db);
    assert_all_close(dw, m->dw, m->w_count, tolerance);
    assert_all_close(db, m->db, (size_t)g->k, tolerance);
    wtl_free(dw);
    wtl_free(db);
}

static void check_case(const wtl_conv_geometry *g, int n, int threads, wtl_isa isa,
                       unsigned key)
{
    const wtl_native *native = wtl_native_of(isa);
    bool plain = wtl_direct_wants_plain(g) && key % 2;
    wtl_direct d = wtl_direct_plan(g, native, threads, plain);
    numbers m = numbers_of(g, n, key);
    float *x = to_map(m.x, n, g->c, g->h, g->w, plain);
    float *dy = to_map(m.dy, n, g->k, g->p, g->q, false);
    float *scratch = values(wtl_direct_scratch(&d, true), 0);
    /* Floats of the size of 1: a sum of `terms` products is wrong by some sqrt(terms) ulps. */
    double terms = (double)(g->c / g->groups) * g->r * g->s;
    double tolerance = 2e-7 * (4.0 + terms);
    check_forward(&d, native, g, &m, x, scratch, tolerance);
    if (!plain) {
        check_data(&d, native, g, &m, dy, scratch,
                   2e-7 * (4.0 + (double)(g->k / g->groups) * g->r * g->s));
    }
    check_weights(&d, native, g, &m, x, dy, scratch, 2e-7 * (4.0 + (double)n * g->p * g->q));
    wtl_free(x);
    wtl_free(dy);
    wtl_free(scratch);
    free_numbers(&m);
}

static void all_products_equal_the_reference(void **state)
{
    (void)state;
    draw_state = 1;
    for (int i = 0; i < CASES; i++) {
        wtl_conv_geometry g = random_geometry();
        assert_true(wtl_direct_can(&g));
        int n = draw(1, draw(1, 5)), threads = draw(1, 3),
            isa = draw(WTL_ISA_PLAIN, WTL_ISA_AVX512);
        check_case(&g, n, threads, (wtl_isa)isa, (unsigned)i + 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {WTL_TEST(all_products_equal_the_reference)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
