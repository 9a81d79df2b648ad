/* Winograd convolution in blocks of channels: all passes against the definition in double over
 * odd shapes, instruction sets and threads. */
#include "models/kernels/conv_winograd.h"
#include "models/kernels/native/winograd.h"

#include "wtl_test.h"

#include "wattle/memory.h"

#include <math.h>
#include <string.h>

enum { GUARD = 64 }; /* floats behind what may be written */

typedef struct row {
    int c, k, h, w, n, groups;
    int size; /* of a filter */
    int pad[4];
    wtl_activation activation;
    bool bias, adds;
} row;

static const row ROWS[] = {
    {1, 1, 3, 3, 1, 1, 3, {0, 0, 0, 0}, WTL_ACTIVATION_NONE, true, false},
    {1, 1, 1, 1, 1, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_NONE, true, true},
    {1, 1, 1, 1, 2, 1, 3, {2, 2, 2, 2}, WTL_ACTIVATION_NONE, false, false},
    {3, 20, 4, 6, 3, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_RELU, true, false},
    {16, 16, 9, 7, 2, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_NONE, false, true},
    {17, 33, 13, 13, 2, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_RELU6, true, false},
    {32, 64, 14, 14, 3, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_RELU, true, true},
    {40, 70, 7, 7, 5, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_NONE, true, false},
    {32, 96, 5, 11, 2, 2, 3, {1, 1, 1, 1}, WTL_ACTIVATION_RELU, true, false},
    {48, 48, 6, 5, 3, 3, 3, {0, 1, 2, 0}, WTL_ACTIVATION_NONE, true, true},
    {16, 32, 2, 19, 2, 1, 3, {2, 0, 0, 2}, WTL_ACTIVATION_NONE, false, false},
    {20, 10, 19, 2, 2, 1, 3, {0, 2, 1, 2}, WTL_ACTIVATION_RELU, true, false},
    {8, 24, 37, 41, 1, 1, 3, {2, 2, 2, 2}, WTL_ACTIVATION_NONE, true, false},
    {16, 20, 33, 30, 2, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_NONE, false, false}, /* many runs */
    {20, 290, 3, 5, 2, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_RELU, true, false},   /* many pairs */
    {64, 256, 4, 4, 2, 1, 3, {1, 1, 1, 1}, WTL_ACTIVATION_NONE, false, false},  /* a large dU */
    {1, 1, 5, 5, 1, 1, 5, {0, 0, 0, 0}, WTL_ACTIVATION_NONE, true, false},
    {2, 3, 1, 1, 2, 1, 5, {2, 2, 2, 2}, WTL_ACTIVATION_NONE, true, true},
    {20, 40, 7, 9, 2, 1, 5, {2, 2, 2, 2}, WTL_ACTIVATION_RELU, true, false},
    {96, 64, 13, 11, 1, 2, 5, {2, 2, 2, 2}, WTL_ACTIVATION_RELU6, true, true},
    {16, 24, 5, 3, 3, 1, 5, {4, 0, 3, 4}, WTL_ACTIVATION_NONE, false, false},
    {33, 17, 27, 27, 1, 1, 5, {2, 2, 2, 2}, WTL_ACTIVATION_NONE, true, false},
};
enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0] };

/* Everything of one row. Images of both maps are further apart than they need be. */
typedef struct fixture {
    const row *r;
    wtl_conv_geometry g;
    size_t x_image, y_image, x_count, y_count, w_count, u_count, scratch_count;
    float *x, *w, *b, *dy, *add_x, *add_y, *packed, *scratch;
    float *y, *dx, *dw; /* results */
    double *want_y, *want_dx, *want_dw;
} fixture;

static float *floats(size_t count)
{
    float *values = wtl_alloc(count, sizeof(float));
    assert_non_null(values);
    return values;
}

static double *doubles(size_t count)
{
    double *values = wtl_alloc(count, sizeof(double));
    assert_non_null(values);
    return values;
}

static size_t at(int c, int h, int v, int height, int width)
{
    return (((size_t)(c / 16) * (size_t)height + (size_t)h) * (size_t)width + (size_t)v) * 16 +
           (size_t)(c % 16);
}

/* A map with random values in the lanes that exist, 0 in the others of its blocks and NaN between
 * images. */
static float *random_map(int n, int c, int h, int w, size_t image, unsigned key)
{
    size_t count = (size_t)n * image, values = (size_t)c * (size_t)(h * w);
    float *map = floats(count), *random = floats((size_t)n * values);
    wtl_fill_random(random, (size_t)n * values, key);
    wtl_fill_nan(map, count);
    for (int i = 0; i < n; i++) {
        float *to = map + (size_t)i * image;
        memset(to, 0, wtl_blocked_count((wtl_shape){c, h, w}) * sizeof *to);
        for (int j = 0; j < c * h * w; j++) {
            to[at(j / (h * w), j / w % h, j % w, h, w)] =
                random[(size_t)i * values + (size_t)j];
        }
    }
    wtl_free(random);
    return map;
}

static wtl_conv_geometry geometry_of(const row *r)
{
    wtl_conv_geometry g = {.c = r->c,
                           .h = r->h,
                           .w = r->w,
                           .k = r->k,
                           .r = r->size,
                           .s = r->size,
                           .p = r->h + r->pad[0] + r->pad[1] - r->size + 1,
                           .q = r->w + r->pad[2] + r->pad[3] - r->size + 1,
                           .stride = {1, 1},
                           .dilation = {1, 1},
                           .groups = r->groups};
    memcpy(g.pad, r->pad, sizeof r->pad);
    return g;
}

/* The two values and the weight of every product, into all three results. */
static void add_product(fixture *f, int i, int k, int c, int p, int q, int tap)
{
    const wtl_conv_geometry *g = &f->g;
    int many = g->c / g->groups, channel = k / (g->k / g->groups) * many + c;
    int h = p + tap / g->s - g->pad[0], v = q + tap % g->s - g->pad[2];
    if (h < 0 || h >= g->h || v < 0 || v >= g->w) {
        return;
    }
    size_t x = (size_t)i * f->x_image + at(channel, h, v, g->h, g->w);
    size_t y = (size_t)i * f->y_image + at(k, p, q, g->p, g->q);
    size_t w = ((size_t)k * (size_t)many + (size_t)c) * (size_t)(g->r * g->s) + (size_t)tap;
    f->want_y[y] += (double)f->x[x] * f->w[w];
    f->want_dx[x] += (double)f->dy[y] * f->w[w];
    f->want_dw[w] += (double)f->x[x] * f->dy[y];
}

static double activated(double value, wtl_activation activation)
{
    value = activation == WTL_ACTIVATION_NONE ? value : fmax(value, 0.0);
    return activation == WTL_ACTIVATION_RELU6 ? fmin(value, 6.0) : value;
}

static void define(fixture *f)
{
    const wtl_conv_geometry *g = &f->g;
    int many = g->c / g->groups, taps = g->r * g->s;
    for (int i = 0; i < f->r->n; i++) {
        for (int j = 0; j < g->k * g->p * g->q; j++) {
            int k = j / (g->p * g->q), p = j / g->q % g->p, q = j % g->q;
            for (int t = 0; t < many * taps; t++) {
                add_product(f, i, k, t / taps, p, q, t % taps);
            }
            double *y = f->want_y + (size_t)i * f->y_image + at(k, p, q, g->p, g->q);
            size_t y_at = (size_t)(y - f->want_y);
            *y += f->r->bias ? f->b[k] : 0.0;
            *y += f->r->adds ? f->add_y[y_at] : 0.0;
            *y = activated(*y, f->r->activation);
        }
    }
    for (size_t i = 0; i < f->w_count; i++) {
        f->want_dw[i] += 3.0; /* what was there before */
    }
    for (size_t i = 0; f->r->adds && i < f->x_count; i++) {
        f->want_dx[i] += f->add_x[i];
    }
}

static void create(fixture *f, const row *r)
{
    *f = (fixture){.r = r, .g = geometry_of(r)};
    const wtl_conv_geometry *g = &f->g;
    assert_true(wtl_winograd_takes(g));
    f->x_image = wtl_blocked_count((wtl_shape){g->c, g->h, g->w}) + 16;
    f->y_image = wtl_blocked_count((wtl_shape){g->k, g->p, g->q}) + 48;
    f->x_count = f->x_image * (size_t)r->n;
    f->y_count = f->y_image * (size_t)r->n;
    f->w_count = (size_t)g->k * (size_t)(g->c / g->groups) * (size_t)g->r * (size_t)g->s;
    f->u_count = wtl_winograd_pack_floats(g);
    f->x = random_map(r->n, g->c, g->h, g->w, f->x_image, 1);
    f->dy = random_map(r->n, g->k, g->p, g->q, f->y_image, 2);
    f->add_x = random_map(r->n, g->c, g->h, g->w, f->x_image, 3);
    f->add_y = random_map(r->n, g->k, g->p, g->q, f->y_image, 4);
    f->w = floats(f->w_count);
    f->b = floats((size_t)g->k);
    wtl_fill_random(f->w, f->w_count, 5);
    wtl_fill_random(f->b, (size_t)g->k, 6);
    f->packed = floats(f->u_count + GUARD);
    f->y = floats(f->y_count);
    f->dx = floats(f->x_count);
    f->dw = floats(f->w_count + GUARD);
    f->want_y = doubles(f->y_count);
    f->want_dx = doubles(f->x_count);
    f->want_dw = doubles(f->w_count);
    define(f);
}

static void destroy(fixture *f)
{
    float *all[] = {f->x, f->w, f->b, f->dy, f->add_x, f->add_y, f->packed, f->y, f->dx, f->dw};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        wtl_free(all[i]);
    }
    wtl_free(f->want_y);
    wtl_free(f->want_dx);
    wtl_free(f->want_dw);
}

static void assert_guarded(const float *end)
{
    for (int i = 0; i < GUARD; i++) {
        assert_true(isnan(end[i]));
    }
}

/* All three passes; what may be left unwritten is NaN before. `adds` in place when it can be. */
static void run(fixture *f, const wtl_native *native, int threads)
{
    const row *r = f->r;
    const wtl_conv_geometry *g = &f->g;
    size_t bytes = wtl_winograd_scratch(g, r->n, threads, true), count = bytes / sizeof(float);
    float *scratch = floats(count + GUARD);
    wtl_fill_nan(scratch, count + GUARD);
    wtl_fill_nan(f->packed, f->u_count + GUARD);
    wtl_fill_nan(f->y, f->y_count);
    wtl_winograd_pack(native, g, threads, f->w, false, f->packed);
    wtl_winograd_forward(native, g, r->n, threads, f->x, f->x_image, f->packed,
                         r->bias ? f->b : NULL, r->adds ? f->add_y : NULL, r->activation, f->y,
                         f->y_image, scratch);
    assert_guarded(f->packed + f->u_count);
    wtl_fill_nan(scratch, count);
    wtl_fill_nan(f->packed, f->u_count);
    wtl_winograd_pack(native, g, threads, f->w, true, f->packed);
    memcpy(f->dx, f->add_x, f->x_count * sizeof *f->dx);
    wtl_winograd_data(native, g, r->n, threads, f->dy, f->y_image, f->packed,
                      r->adds ? f->dx : NULL, f->dx, f->x_image, scratch);
    wtl_fill_nan(scratch, count);
    wtl_fill_nan(f->dw, f->w_count + GUARD);
    for (size_t i = 0; i < f->w_count; i++) {
        f->dw[i] = 3.0f;
    }
    wtl_winograd_weights(native, g, r->n, threads, f->x, f->x_image, f->dy, f->y_image, f->dw,
                         scratch);
    assert_guarded(f->dw + f->w_count);
    assert_guarded(f->packed + f->u_count);
    assert_guarded(scratch + count);
    wtl_free(scratch);
}

/* Float sums of some thousand products lie within 1e-5 of the size of the results, Winograd's
 * within five times that; a wrong or missing term is 1e-2. */
static void compare(const float *got, const double *want, size_t count, const char *what)
{
    double squares = 0.0;
    for (size_t i = 0; i < count; i++) {
        squares += want[i] * want[i];
    }
    double tolerance = 5e-5 * fmax(1e-3, sqrt(squares / (double)count));
    for (size_t i = 0; i < count; i++) {
        if (!(fabs(got[i] - want[i]) <= tolerance)) {
            fail_msg("%s[%zu] is %.9g, the definition gives %.9g", what, i, (double)got[i],
                     want[i]);
        }
    }
}

/* A map image by image: the lanes that exist are close, the others 0, the space behind them is
 * `before`, bit for bit. */
static void compare_map(const float *got, const double *want, int n, wtl_shape shape,
                        size_t image, const float *before, const char *what)
{
    size_t own = wtl_blocked_count(shape), pixels = (size_t)shape.h * (size_t)shape.w;
    for (int i = 0; i < n; i++, got += image, want += image) {
        compare(got, want, own, what);
        for (size_t j = own - 16 * pixels; j < own; j++) {
            bool exists = (shape.c - 1) / 16 * 16 + (int)(j % 16) < shape.c;
            assert_true(exists || got[j] == 0.0f);
        }
        for (size_t j = own; j < image; j++) {
            assert_true(before ? memcmp(&got[j], &before[(size_t)i * image + j], 4) == 0
                               : isnan(got[j]));
        }
    }
}

static void check(fixture *f, const wtl_native *native, int threads)
{
    const wtl_conv_geometry *g = &f->g;
    run(f, native, threads);
    compare_map(f->y, f->want_y, f->r->n, (wtl_shape){g->k, g->p, g->q}, f->y_image, NULL, "y");
    compare_map(f->dx, f->want_dx, f->r->n, (wtl_shape){g->c, g->h, g->w}, f->x_image, f->add_x,
                "dx");
    compare(f->dw, f->want_dw, f->w_count, "dw");
}

static void all_passes_follow_the_definition_over_odd_shapes(void **state)
{
    (void)state;
    for (int i = 0; i < ROW_COUNT; i++) {
        fixture f;
        create(&f, &ROWS[i]);
        for (int threads = 1; threads <= 3; threads++) {
            check(&f, wtl_native_of(WTL_ISA_BEST), threads);
        }
        check(&f, wtl_native_of(WTL_ISA_PLAIN), 1 + i % 3);
        check(&f, wtl_native_of(WTL_ISA_AVX2), 1 + i % 2);
        destroy(&f);
    }
}

static void random_shapes_follow_the_definition(void **state)
{
    (void)state;
    for (unsigned key = 1; key <= 40; key++) {
        float values[16];
        int v[16];
        wtl_fill_random(values, 16, 1000 + key);
        for (int i = 0; i < 16; i++) {
            v[i] = (int)((values[i] + 1.0f) * 500.0f);
        }
        int groups = v[0] % 4 == 0 ? 2 : 1, size = v[15] % 2 ? 3 : 5;
        row r = {.c = groups == 2 ? 32 : 1 + v[1] % 40,
                 .k = groups == 2 ? 64 : 1 + v[2] % 70,
                 .h = size + v[3] % 11,
                 .w = size + v[4] % 11,
                 .n = 1 + v[5] % 3,
                 .groups = groups,
                 .size = size,
                 .pad = {v[6] % size, v[7] % size, v[8] % size, v[9] % size},
                 .activation = (wtl_activation)(v[10] % 3),
                 .bias = v[11] % 2,
                 .adds = v[12] % 2};
        fixture f;
        create(&f, &r);
        check(&f, wtl_native_of((wtl_isa)(v[13] % WTL_ISA_COUNT)), 1 + v[14] % 3);
        destroy(&f);
    }
}

static void a_second_run_gives_the_same_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < ROW_COUNT; i++) {
        fixture f;
        create(&f, &ROWS[i]);
        for (int threads = 1; threads <= 4; threads += 3) {
            run(&f, wtl_native_of(WTL_ISA_BEST), threads);
            float *y = f.y, *dx = f.dx, *dw = f.dw;
            f.y = floats(f.y_count);
            f.dx = floats(f.x_count);
            f.dw = floats(f.w_count + GUARD);
            run(&f, wtl_native_of(WTL_ISA_BEST), threads);
            assert_memory_equal(y, f.y, f.y_count * sizeof *y);
            assert_memory_equal(dx, f.dx, f.x_count * sizeof *dx);
            assert_memory_equal(dw, f.dw, f.w_count * sizeof *dw);
            wtl_free(y);
            wtl_free(dx);
            wtl_free(dw);
        }
        destroy(&f);
    }
}

static void scratch_for_a_batch_does_for_fewer_images(void **state)
{
    (void)state;
    for (int i = 0; i < ROW_COUNT; i++) {
        wtl_conv_geometry g = geometry_of(&ROWS[i]);
        for (int threads = 1; threads <= 8; threads++) {
            size_t before = 0;
            for (int n = 1; n < 20; n++) {
                size_t bytes = wtl_winograd_scratch(&g, n, threads, true);
                assert_true(bytes >= before);
                assert_true(bytes >= wtl_winograd_scratch(&g, n, threads, false));
                before = bytes;
            }
        }
    }
}

static void the_transforms_give_the_hand_worked_values(void **state)
{
    (void)state;
    for (wtl_isa isa = WTL_ISA_PLAIN; isa < WTL_ISA_COUNT; isa++) {
        const wtl_winograd_kernels *kernels = wtl_native_of(isa)->winograd;
        float u[36 * 16], w[9 * 16] = {0}, v[36 * 16];
        /* Of a filter that is 1 in its middle: products of G's middle column, p / N(p), which is 0
         * at the points 0 and infinity. */
        w[4 * 16 + 7] = 1.0f;
        kernels->size[0].filter(w, u, 16);
        const double a = 0.625 / (2 * 0.390625 * (0.390625 - 2.25));
        const double b = 1.5 / (2 * 2.25 * (2.25 - 0.390625));
        const double column[6] = {0, a, -a, b, -b, 0};
        for (int i = 0; i < 36; i++) {
            assert_close(u[i * 16 + 7], column[i / 6] * column[i % 6], 1e-7);
            assert_true(u[i * 16 + 6] == 0.0f);
        }
        /* One pixel of a map, the tile's last value: only infinity sees it. */
        float map[16] = {2.0f};
        wtl_winograd_place at_end = {.h = 1, .w = 1, .top = -5, .left = -5};
        kernels->input(&at_end, map, v, 16);
        for (int i = 0; i < 36; i++) {
            assert_true(v[i * 16] == (i == 35 ? 2.0f : 0.0f));
        }
    }
}

static void other_convolutions_are_not_taken(void **state)
{
    (void)state;
    static const row any = {32, 64, 9, 9, 1, 2, 3, {1, 1, 1, 1}, WTL_ACTIVATION_NONE, 0, 0};
    wtl_conv_geometry g = geometry_of(&any);
    assert_true(wtl_winograd_takes(&g));
    int *fields[] = {&g.r,      &g.s,           &g.stride[0],   &g.stride[1], &g.pad[0],
                     &g.pad[3], &g.dilation[0], &g.dilation[1], &g.groups};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        int right = *fields[i];
        *fields[i] = right == 2 ? 4 : right + 2; /* groups of 8 channels; not square; ... */
        assert_false(wtl_winograd_takes(&g));
        *fields[i] = right;
    }
    g.pad[1] = -1;
    assert_false(wtl_winograd_takes(&g));
}

static void small_maps_and_few_channels_do_not_pay(void **state)
{
    (void)state;
    static const struct {
        row r;
        bool pays;
    } cases[] = {
        {{.c = 16, .k = 16, .h = 7, .w = 7, .groups = 1, .size = 3, .pad = {1, 1, 1, 1}}, true},
        /* 36 products for 9 pixels of 9, for 4 pixels of 9, for 4 of 25 */
        {{.c = 32, .k = 32, .h = 3, .w = 3, .groups = 1, .size = 3, .pad = {1, 1, 1, 1}}, true},
        {{.c = 32, .k = 32, .h = 2, .w = 2, .groups = 1, .size = 3, .pad = {1, 1, 1, 1}},
         false},
        {{.c = 32, .k = 32, .h = 2, .w = 2, .groups = 1, .size = 5, .pad = {2, 2, 2, 2}}, true},
        {{.c = 3, .k = 64, .h = 32, .w = 32, .groups = 1, .size = 3, .pad = {1, 1, 1, 1}},
         false},
        {{.c = 64, .k = 10, .h = 32, .w = 32, .groups = 1, .size = 3, .pad = {1, 1, 1, 1}},
         false},
        {{.c = 64, .k = 64, .h = 32, .w = 32, .groups = 1, .size = 7, .pad = {3, 3, 3, 3}},
         false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_conv_geometry g = geometry_of(&cases[i].r);
        assert_int_equal(wtl_winograd_pays(&g), cases[i].pays);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(the_transforms_give_the_hand_worked_values),
        WTL_TEST(all_passes_follow_the_definition_over_odd_shapes),
        WTL_TEST(random_shapes_follow_the_definition),
        WTL_TEST(a_second_run_gives_the_same_bytes),
        WTL_TEST(scratch_for_a_batch_does_for_fewer_images),
        WTL_TEST(other_convolutions_are_not_taken),
        WTL_TEST(small_maps_and_few_channels_do_not_pay),
    };
    return WTL_RUN("winograd", tests);
}
