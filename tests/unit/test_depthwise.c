/* Depthwise convolution: both engines against values worked by hand, the definition in double
 * over odd shapes, central differences and each other. */
#include "layer_harness.h"

#include "wattle/memory.h"

#include <math.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE};

/* Two channels of 3x3, 2x2 filters: small integers, so every value is exact. */
static const float X[18] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 0, 1, 0, 1, 0, 1, 0};
static const float W[8] = {1, 0, 0, -1, 2, 1, 0, 3}, B[2] = {10, -5};
static const float DY[8] = {1, 2, 0, -1, 3, 0, 1, 1};

static wtl_layer_case small_case(wtl_engine engine)
{
    return (wtl_layer_case){
        .ops = &wtl_depthwise_ops,
        .def.as.conv = {.kernel = {2, 2}, .stride = {1, 1}, .dilation = {1, 1}, .bias = true},
        .in = {{2, 3, 3}},
        .training = true,
        .engine = engine};
}

static wtl_layer_harness *with_numbers(const wtl_layer_case *c)
{
    wtl_layer_harness *h = wtl_harness_create(c);
    memcpy(h->x[0], X, sizeof X);
    memcpy(h->value[0], W, sizeof W);
    memcpy(h->value[1], B, sizeof B);
    memcpy(h->dy, DY, sizeof DY);
    return h;
}

static void forward_gives_the_hand_worked_values(void **state)
{
    (void)state;
    /* Channel 1: 2*x00 + x01 + 3*x11 - 5 = 1-5, 2+3-5, 2+3-5, 1-5. */
    static const float want[8] = {6, 6, 6, 6, -4, 0, 0, -4};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        wtl_layer_harness *h = with_numbers(&c);
        wtl_harness_forward(h);
        assert_all_close(h->y, want, 8, 0.0);
        wtl_harness_free(h);
    }
}

static void backward_gives_the_hand_worked_gradients_and_adds_them(void **state)
{
    (void)state;
    static const float dx[18] = {1, 2, 0, 0, -2, -2, 0, 0, 1, 6, 3, 0, 2, 12, 1, 0, 3, 3};
    static const float dw[8] = {0, 2, 6, 8 + 100, 1, 4, 4, 1}, db[2] = {2, 5 + 1000};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        wtl_layer_harness *h = with_numbers(&c);
        h->gradient[0][3] = 100;
        h->gradient[1][1] = 1000;
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->dx[0], dx, 18, 0.0);
        assert_all_close(h->gradient[0], dw, 8, 0.0);
        assert_all_close(h->gradient[1], db, 2, 0.0);
        wtl_harness_free(h);
    }
}

static void the_fused_activation_comes_after_the_bias(void **state)
{
    (void)state;
    static const float want[8] = {6, 6, 6, 6, 0, 1, 1, 0};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        c.fused = WTL_ACTIVATION_RELU6;
        wtl_layer_harness *h = with_numbers(&c);
        h->value[1][0] = 20;
        h->value[1][1] = -4;
        wtl_harness_forward(h);
        assert_all_close(h->y, want, 8, 0.0);
        wtl_harness_free(h);
    }
}

/* ---- the definition ---- */

typedef struct row {
    int c, h, w;
    int kernel[2], stride[2], pad[4], dilation[2];
    bool bias;
    int p, q; /* worked out by hand */
} row;

static const row ROWS[] = {
    {1, 1, 1, {1, 1}, {1, 1}, {0}, {1, 1}, true, 1, 1},
    {3, 7, 6, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, true, 7, 6},
    {5, 9, 7, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, true, 5, 4},
    {3, 7, 6, {3, 2}, {2, 1}, {0, 1, 2, 0}, {1, 1}, false, 3, 7},
    {4, 8, 9, {3, 3}, {2, 3}, {1, 0, 0, 2}, {1, 1}, true, 4, 3},
    {6, 9, 8, {2, 3}, {1, 2}, {3, 1, 0, 1}, {3, 2}, true, 10, 3},
    {2, 9, 12, {3, 3}, {2, 3}, {2, 2, 4, 1}, {2, 2}, true, 5, 5},
    {2, 2, 2, {2, 2}, {1, 1}, {4, 3, 3, 4}, {1, 1}, true, 8, 8}, /* only padding seen */
    {2, 1, 20, {1, 5}, {1, 4}, {0, 0, 2, 2}, {1, 1}, true, 1, 5},
    {1, 20, 1, {5, 1}, {7, 1}, {0}, {2, 1}, true, 2, 1},
    {2, 10, 10, {2, 2}, {3, 3}, {0}, {1, 1}, true, 3, 3}, /* a last column nobody reads */
    {2, 4, 5, {1, 1}, {3, 3}, {0}, {1, 1}, false, 2, 2},
    {2, 14, 15, {9, 9}, {1, 1}, {4, 4, 4, 4}, {1, 1}, true, 14, 15}, /* 81 terms a row */
    {2, 6, 70, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, true, 6, 70},   /* three blocks a row */
    {2, 6, 131, {3, 3}, {1, 2}, {1, 1, 1, 1}, {1, 1}, true, 6, 66},
};
enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0] };

static wtl_layer_case case_of(const row *r, int n, int threads, wtl_engine engine)
{
    wtl_layer_case c = {.ops = &wtl_depthwise_ops,
                        .in = {{r->c, r->h, r->w}},
                        .batch = n,
                        .threads = threads,
                        .engine = engine,
                        .training = true,
                        .key = (unsigned)(r->c + r->h)};
    c.def.as.conv = (wtl_conv_options){.bias = r->bias};
    memcpy(c.def.as.conv.kernel, r->kernel, sizeof r->kernel);
    memcpy(c.def.as.conv.stride, r->stride, sizeof r->stride);
    memcpy(c.def.as.conv.pad, r->pad, sizeof r->pad);
    memcpy(c.def.as.conv.dilation, r->dilation, sizeof r->dilation);
    return c;
}

typedef struct definition {
    double *y, *dx, *dw, *db;
} definition;

/* Every product that output (plane, p, q) is the sum of, into all four results. */
static void visit_output(const wtl_layer_harness *h, const definition *d, const row *r,
                         int plane, int p, int q)
{
    int c = plane % r->c, taps = r->kernel[0] * r->kernel[1];
    size_t y = ((size_t)plane * r->p + p) * r->q + q;
    if (r->bias) {
        d->y[y] += h->value[1][c];
        d->db[c] += h->dy[y];
    }
    for (int t = 0; t < taps; t++) {
        int u = p * r->stride[0] + t / r->kernel[1] * r->dilation[0] - r->pad[0];
        int v = q * r->stride[1] + t % r->kernel[1] * r->dilation[1] - r->pad[2];
        size_t x = ((size_t)plane * r->h + u) * r->w + v, w = (size_t)c * taps + t;
        if (u >= 0 && u < r->h && v >= 0 && v < r->w) {
            d->y[y] += (double)h->value[0][w] * h->x[0][x];
            d->dx[x] += (double)h->value[0][w] * h->dy[y];
            d->dw[w] += (double)h->x[0][x] * h->dy[y];
        }
    }
}

static void compare(const float *got, const double *want, size_t count, const char *what,
                    int index)
{
    /* Sums of up to 4000 products in float, each below 1: errors of a few 1e-6. */
    for (size_t i = 0; i < count; i++) {
        if (!(fabs(got[i] - want[i]) <= 2e-5 * fmax(1.0, fabs(want[i])))) {
            fail_msg("row %d: %s[%zu] is %.9g, the definition gives %.9g", index, what, i,
                     (double)got[i], want[i]);
        }
    }
}

static void check_row(int index, int n, int threads, wtl_engine engine)
{
    const row *r = &ROWS[index];
    wtl_layer_case c = case_of(r, n, threads, engine);
    wtl_layer_harness *h = wtl_harness_create(&c);
    assert_int_equal(h->plan.out.c, r->c);
    assert_int_equal(h->plan.out.h, r->p);
    assert_int_equal(h->plan.out.w, r->q);
    definition d = {wtl_alloc(h->y_count, sizeof(double)),
                    wtl_alloc(h->x_count[0], sizeof(double)),
                    wtl_alloc(h->counts[0], sizeof(double)), wtl_alloc(r->c, sizeof(double))};
    assert_true(d.y && d.dx && d.dw && d.db);
    for (int plane = 0; plane < n * r->c; plane++) {
        for (int at = 0; at < r->p * r->q; at++) {
            visit_output(h, &d, r, plane, at / r->q, at % r->q);
        }
    }
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    compare(h->y, d.y, h->y_count, "y", index);
    compare(h->dx[0], d.dx, h->x_count[0], "dx", index);
    compare(h->gradient[0], d.dw, h->counts[0], "dw", index);
    assert_int_equal(h->param_count, r->bias ? 2 : 1);
    if (r->bias) {
        compare(h->gradient[1], d.db, h->counts[1], "db", index);
    }
    wtl_free(d.y);
    wtl_free(d.dx);
    wtl_free(d.dw);
    wtl_free(d.db);
    wtl_harness_free(h);
}

static void both_engines_follow_the_definition_over_odd_shapes(void **state)
{
    (void)state;
    wtl_harness_over_batches(ROW_COUNT, check_row);
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        for (int index = 0; index < 12; index++) {
            wtl_layer_case c = case_of(&ROWS[index], 2, 1, ENGINES[e]);
            /* Linear in each value: a large step costs nothing but float's last bits. */
            wtl_harness_check_gradients(&c, 0.5, 1e-4);
        }
    }
}

static void gradients_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    wtl_layer_case c = case_of(&ROWS[2], 5, 1, WTL_ENGINE_BLAS);
    wtl_layer_harness *one = wtl_harness_create(&c);
    c.threads = 3;
    wtl_layer_harness *three = wtl_harness_create(&c);
    wtl_harness_forward(one);
    wtl_harness_forward(three);
    wtl_harness_backward(one);
    wtl_harness_backward(three);
    assert_memory_equal(one->gradient[0], three->gradient[0], one->counts[0] * sizeof(float));
    assert_memory_equal(one->gradient[1], three->gradient[1], one->counts[1] * sizeof(float));
    assert_memory_equal(one->dx[0], three->dx[0], one->x_count[0] * sizeof(float));
    wtl_harness_free(one);
    wtl_harness_free(three);
}

static void a_second_run_gives_the_same_bytes(void **state)
{
    (void)state;
    for (int index = 0; index < ROW_COUNT; index++) {
        for (int threads = 1; threads <= 3; threads++) {
            wtl_layer_case c = case_of(&ROWS[index], 5, threads, WTL_ENGINE_BLAS);
            wtl_harness_check_repeats(&c);
        }
    }
}

static void inference_and_first_layers_need_less(void **state)
{
    (void)state;
    wtl_layer_case c = case_of(&ROWS[4], 3, 2, WTL_ENGINE_BLAS);
    c.no_input_gradient = true;
    wtl_harness_check_engines(&c, 1e-5);
    c.training = false;
    wtl_harness_check_engines(&c, 1e-5);
    c.n = 1;
    wtl_harness_check_engines(&c, 1e-5);
}

static void parameters_macs_and_kernels_are_told(void **state)
{
    (void)state;
    wtl_layer_case c = case_of(&ROWS[3], 1, 1, WTL_ENGINE_BLAS);
    wtl_layer_harness *h = wtl_harness_create(&c);
    static const int dims[4] = {3, 1, 3, 2};
    assert_string_equal(h->specs[0].suffix, "weight");
    assert_int_equal(h->specs[0].role, WTL_PARAM_WEIGHT);
    assert_memory_equal(h->specs[0].dims, dims, sizeof dims);
    assert_int_equal(h->specs[0].fan_in, 6);
    assert_int_equal(h->specs[0].fan_out, 6);
    assert_int_equal(wtl_depthwise_ops.macs(&c.def, c.in[0], h->plan.out), 3 * 3 * 7 * 6);
    assert_string_equal(h->plan.kernel, "direct");
    wtl_harness_free(h);
    c.engine = WTL_ENGINE_REFERENCE;
    h = wtl_harness_create(&c);
    assert_string_equal(h->plan.kernel, "reference");
    assert_int_equal(h->plan.scratch_bytes, 0);
    wtl_harness_free(h);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_layer_case c = case_of(&ROWS[1], 1, 1, WTL_ENGINE_BLAS);
    c.in[0].w = 1;
    c.def.as.conv.dilation[1] = 2;
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "the 3x5 window does not fit the padded input of 9x3");
    c = case_of(&ROWS[1], 1, 1, WTL_ENGINE_BLAS);
    c.in[0] = (wtl_shape){5, 1 << 14, 1 << 14};
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "an input of 5x16384x16384 has more than 2^30 values");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(forward_gives_the_hand_worked_values),
        WTL_TEST(backward_gives_the_hand_worked_gradients_and_adds_them),
        WTL_TEST(the_fused_activation_comes_after_the_bias),
        WTL_TEST(both_engines_follow_the_definition_over_odd_shapes),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(gradients_do_not_depend_on_the_number_of_threads),
        WTL_TEST(a_second_run_gives_the_same_bytes),
        WTL_TEST(inference_and_first_layers_need_less),
        WTL_TEST(parameters_macs_and_kernels_are_told),
        WTL_TEST(what_does_not_fit_is_refused),
    };
    return WTL_RUN("depthwise", tests);
}
