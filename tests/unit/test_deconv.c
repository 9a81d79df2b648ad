/* Transposed convolution: both engines against values worked by hand, the definition in
 * double over odd shapes, central differences and each other. */
#include "layer_harness.h"

#include "wattle/memory.h"

#include <math.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE};

/* One 1x2 input, one 2x2 filter, stride 1: y is 2x3. Exact. */
static const float X[2] = {1, 2}, W[4] = {1, 2, 3, -1}, B[1] = {10};
static const float DY[6] = {1, 0, 2, -1, 1, 1};

static wtl_layer_case small_case(wtl_engine engine)
{
    return (wtl_layer_case){
        .ops = &wtl_deconv_ops,
        .def.as.conv = {.out = 1, .kernel = {2, 2}, .stride = {1, 1}, .bias = true},
        .in = {{1, 1, 2}},
        .training = true,
        .engine = engine};
}

static wtl_layer_harness *with_numbers(const wtl_layer_case *c)
{
    wtl_layer_harness *h = wtl_harness_create(c);
    memcpy(h->x[0], X, sizeof X);
    memcpy(h->value[0], W, sizeof W);
    memcpy(h->value[1], B, sizeof B);
    return h;
}

static void forward_gives_the_hand_worked_values(void **state)
{
    (void)state;
    static const float want[6] = {11, 14, 14, 13, 15, 8};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        wtl_layer_harness *h = with_numbers(&c);
        wtl_harness_forward(h);
        assert_int_equal(h->plan.out.h, 2);
        assert_int_equal(h->plan.out.w, 3);
        assert_all_close(h->y, want, 6, 0.0);
        wtl_harness_free(h);
    }
}

static void backward_gives_the_hand_worked_gradients_and_adds_them(void **state)
{
    (void)state;
    /* dx: 1*1+2*0+3*-1-1*1 and 1*0+2*2+3*1-1*1. */
    static const float dx[2] = {-3, 6};
    static const float dw[4] = {1, 4, 1 + 100, 3}, db[1] = {4 + 1000};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        wtl_layer_harness *h = with_numbers(&c);
        memcpy(h->dy, DY, sizeof DY);
        h->gradient[0][2] = 100;
        h->gradient[1][0] = 1000;
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->dx[0], dx, 2, 0.0);
        assert_all_close(h->gradient[0], dw, 4, 0.0);
        assert_all_close(h->gradient[1], db, 1, 0.0);
        wtl_harness_free(h);
    }
}

static void a_stride_spreads_and_padding_cuts(void **state)
{
    (void)state;
    /* Stride 3x2: columns 0 1 | 2 3; padding takes the first row and the last column. */
    static const float want[3] = {3 * 1, -1 * 1, 3 * 2};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        c.def.as.conv.stride[0] = 3;
        c.def.as.conv.stride[1] = 2;
        c.def.as.conv.pad[0] = 1;
        c.def.as.conv.pad[3] = 1;
        wtl_layer_harness *h = with_numbers(&c);
        h->value[1][0] = 0;
        wtl_harness_forward(h);
        assert_int_equal(h->plan.out.h, 1);
        assert_int_equal(h->plan.out.w, 3);
        assert_all_close(h->y, want, 3, 0.0);
        wtl_harness_free(h);
    }
}

static void the_fused_activation_comes_after_the_bias(void **state)
{
    (void)state;
    static const float want[6] = {0, 0, 0, 0, 1, 0};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        c.fused = WTL_ACTIVATION_RELU;
        wtl_layer_harness *h = with_numbers(&c);
        h->value[1][0] = -4;
        wtl_harness_forward(h);
        assert_all_close(h->y, want, 6, 0.0);
        wtl_harness_free(h);
    }
}

/* ---- the definition ---- */

typedef struct row {
    int c, h, w, k;
    int kernel[2], stride[2], pad[4];
    bool bias;
    int p, q; /* worked out by hand */
} row;

static const row ROWS[] = {
    {1, 1, 1, 1, {1, 1}, {1, 1}, {0}, true, 1, 1},
    {3, 4, 5, 2, {3, 3}, {1, 1}, {1, 1, 1, 1}, true, 4, 5},
    {2, 4, 5, 3, {4, 4}, {2, 2}, {1, 1, 1, 1}, true, 8, 10},
    {2, 3, 4, 3, {2, 2}, {2, 2}, {0}, false, 6, 8},
    {4, 3, 5, 2, {3, 2}, {1, 3}, {0, 1, 1, 0}, true, 4, 13},
    {3, 3, 2, 5, {2, 3}, {3, 5}, {0}, true, 8, 8}, /* gaps between the filters */
    {5, 4, 3, 2, {1, 1}, {1, 1}, {0}, true, 4, 3},
    {5, 4, 3, 2, {1, 1}, {2, 2}, {0}, false, 7, 5},
    {2, 5, 5, 2, {3, 3}, {1, 1}, {2, 2, 3, 2}, true, 3, 2}, /* padding beyond the filter */
    {8, 21, 23, 9, {5, 5}, {1, 1}, {2, 2, 2, 2}, true, 21, 23},
};
enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0] };

static wtl_layer_case case_of(const row *r, int n, int threads, wtl_engine engine)
{
    wtl_layer_case c = {.ops = &wtl_deconv_ops,
                        .in = {{r->c, r->h, r->w}},
                        .batch = n,
                        .threads = threads,
                        .engine = engine,
                        .training = true,
                        .key = (unsigned)(r->c + r->h)};
    c.def.as.conv = (wtl_conv_options){.out = r->k, .bias = r->bias};
    memcpy(c.def.as.conv.kernel, r->kernel, sizeof r->kernel);
    memcpy(c.def.as.conv.stride, r->stride, sizeof r->stride);
    memcpy(c.def.as.conv.pad, r->pad, sizeof r->pad);
    return c;
}

typedef struct definition {
    double *y, *dx, *dw, *db;
} definition;

/* Spreads input value x of channel c at (u,v) over its filters: all four results. */
static void visit_input(const wtl_layer_harness *h, const definition *d, const row *r, int i,
                        int c, int u, int v)
{
    size_t x = (((size_t)i * r->c + c) * r->h + u) * r->w + v;
    int taps = r->kernel[0] * r->kernel[1];
    for (int kt = 0; kt < r->k * taps; kt++) {
        int k = kt / taps, t = kt % taps;
        int p = u * r->stride[0] + t / r->kernel[1] - r->pad[0];
        int q = v * r->stride[1] + t % r->kernel[1] - r->pad[2];
        size_t y = (((size_t)i * r->k + k) * r->p + p) * r->q + q;
        size_t w = (size_t)c * r->k * taps + kt;
        if (p >= 0 && p < r->p && q >= 0 && q < r->q) {
            d->y[y] += (double)h->value[0][w] * h->x[0][x];
            d->dx[x] += (double)h->value[0][w] * h->dy[y];
            d->dw[w] += (double)h->x[0][x] * h->dy[y];
        }
    }
}

static void add_biases(const wtl_layer_harness *h, const definition *d, const row *r)
{
    for (size_t y = 0; r->bias && y < h->y_count; y++) {
        size_t k = y / ((size_t)r->p * r->q) % (size_t)r->k;
        d->y[y] += h->value[1][k];
        d->db[k] += h->dy[y];
    }
}

static void compare(const float *got, const double *want, size_t count, const char *what,
                    int index)
{
    /* Sums of up to 2500 products in float, each below 1: errors of a few 1e-6. */
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
    assert_int_equal(h->plan.out.c, r->k);
    assert_int_equal(h->plan.out.h, r->p);
    assert_int_equal(h->plan.out.w, r->q);
    definition d = {wtl_alloc(h->y_count, sizeof(double)),
                    wtl_alloc(h->x_count[0], sizeof(double)),
                    wtl_alloc(h->counts[0], sizeof(double)), wtl_alloc(r->k, sizeof(double))};
    assert_true(d.y && d.dx && d.dw && d.db);
    for (int plane = 0; plane < n * r->c; plane++) {
        for (int at = 0; at < r->h * r->w; at++) {
            visit_input(h, &d, r, plane / r->c, plane % r->c, at / r->w, at % r->w);
        }
    }
    add_biases(h, &d, r);
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
        for (int index = 0; index < 9; index++) {
            wtl_layer_case c = case_of(&ROWS[index], 2, 1, ENGINES[e]);
            /* Linear in each value: a large step costs nothing but float's last bits. */
            wtl_harness_check_gradients(&c, 0.5, 1e-4);
        }
    }
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
    wtl_layer_case c = case_of(&ROWS[4], 1, 1, WTL_ENGINE_BLAS);
    wtl_layer_harness *h = wtl_harness_create(&c);
    static const int dims[4] = {4, 2, 3, 2};
    assert_string_equal(h->specs[0].suffix, "weight");
    assert_int_equal(h->specs[0].role, WTL_PARAM_WEIGHT);
    assert_memory_equal(h->specs[0].dims, dims, sizeof dims);
    assert_int_equal(h->specs[0].fan_in, 12);
    assert_int_equal(h->specs[0].fan_out, 24);
    assert_int_equal(h->specs[1].dims[0], 2);
    assert_int_equal(wtl_deconv_ops.macs(&c.def, c.in[0], h->plan.out), 4 * 3 * 5 * 2 * 6);
    assert_string_equal(h->plan.kernel, "gemm+col2im");
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
    c.def.as.conv.pad[0] = 5;
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "padding leaves nothing of the output: 0x5");
    c.def.as.conv.pad[0] = 4;
    assert_int_equal(wtl_harness_plan(&c, NULL, &err), WTL_OK);
    c.def.as.conv.stride[0] = 4096;
    c.in[0].h = 1 << 19;
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "an output of 2147479550x5 is larger than 2^30");
    c.in[0].h = 1 << 17;
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "an input of 2x536866814x5 has more than 2^30 values");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(forward_gives_the_hand_worked_values),
        WTL_TEST(backward_gives_the_hand_worked_gradients_and_adds_them),
        WTL_TEST(a_stride_spreads_and_padding_cuts),
        WTL_TEST(the_fused_activation_comes_after_the_bias),
        WTL_TEST(both_engines_follow_the_definition_over_odd_shapes),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(a_second_run_gives_the_same_bytes),
        WTL_TEST(inference_and_first_layers_need_less),
        WTL_TEST(parameters_macs_and_kernels_are_told),
        WTL_TEST(what_does_not_fit_is_refused),
    };
    return WTL_RUN("deconv", tests);
}
