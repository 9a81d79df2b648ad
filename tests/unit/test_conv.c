/* Convolution: both engines against values worked by hand, the definition in double over odd
 * shapes, central differences and each other. */
#include "layer_harness.h"

#include "wattle/memory.h"

#include <math.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE};

/* 1 -> 2 channels, 3x3 input, 2x2 filters: small integers, so every value is exact. */
static const float X[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
static const float W[8] = {1, 0, 0, -1, 2, 1, 0, 3}, B[2] = {10, -5};
static const float DY[8] = {1, 2, 0, -1, 3, 0, 1, 1};

static wtl_layer_case small_case(wtl_engine engine)
{
    return (wtl_layer_case){.ops = &wtl_conv_ops,
                            .def.as.conv = {.out = 2,
                                            .kernel = {2, 2},
                                            .stride = {1, 1},
                                            .dilation = {1, 1},
                                            .groups = 1,
                                            .bias = true},
                            .in = {{1, 3, 3}},
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
    static const float want[8] = {6, 6, 6, 6, 14, 20, 32, 38};
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
    static const float dx[9] = {7, 5, 0, 2, 10, -1, 0, 3, 4};
    static const float dw[8] = {0, 2, 6, 8 + 100, 12, 17, 27, 32}, db[2] = {2 + 1000, 5};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        wtl_layer_harness *h = with_numbers(&c);
        h->gradient[0][3] = 100;
        h->gradient[1][0] = 1000;
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->dx[0], dx, 9, 0.0);
        assert_all_close(h->gradient[0], dw, 8, 0.0);
        assert_all_close(h->gradient[1], db, 2, 0.0);
        wtl_harness_free(h);
    }
}

static void padding_stride_and_dilation_move_the_window_as_written(void **state)
{
    (void)state;
    /* Top 1, left 2; taps 2 apart; rows -1,1 | 1,3 and columns -2,0 | 1,3: of the 3x3 map
     * (1,0), (1,1) and, for the second column, nothing at column 3. */
    static const float want[4] = {4 * 40, 5 * 30, 4 * 20, 5 * 10};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = small_case(ENGINES[e]);
        c.def.as.conv = (wtl_conv_options){.out = 1,
                                           .kernel = {2, 2},
                                           .stride = {2, 3},
                                           .pad = {1, 1, 2, 1},
                                           .dilation = {2, 2},
                                           .groups = 1};
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->x[0], X, sizeof X);
        memcpy(h->value[0], (float[]){10, 20, 30, 40}, 4 * sizeof(float));
        wtl_harness_forward(h);
        assert_int_equal(h->plan.out.h, 2);
        assert_int_equal(h->plan.out.w, 2);
        assert_all_close(h->y, want, 4, 0.0);
        wtl_harness_free(h);
    }
}

static void the_fused_activation_comes_after_the_bias(void **state)
{
    (void)state;
    static const float relu[8] = {0, 0, 0, 0, 14, 20, 32, 38};
    static const float relu6[8] = {0, 0, 0, 0, 6, 6, 6, 6};
    for (int e = 0; e < 2; e++) {
        for (int six = 0; six < 2; six++) {
            wtl_layer_case c = small_case(ENGINES[e]);
            c.fused = six ? WTL_ACTIVATION_RELU6 : WTL_ACTIVATION_RELU;
            wtl_layer_harness *h = with_numbers(&c);
            h->value[1][0] = 1; /* 1 - 4 = -3 */
            wtl_harness_forward(h);
            assert_all_close(h->y, six ? relu6 : relu, 8, 0.0);
            wtl_harness_free(h);
        }
    }
}

/* ---- the definition ---- */

typedef struct row {
    int c, h, w, k, groups;
    int kernel[2], stride[2], pad[4], dilation[2];
    bool bias;
    int p, q; /* worked out by hand */
} row;

static const row ROWS[] = {
    {1, 1, 1, 1, 1, {1, 1}, {1, 1}, {0}, {1, 1}, true, 1, 1},
    {3, 7, 6, 4, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, true, 7, 6},
    {3, 7, 6, 4, 1, {3, 2}, {2, 1}, {0, 1, 2, 0}, {1, 1}, false, 3, 7},
    {4, 8, 9, 6, 2, {3, 3}, {2, 3}, {1, 0, 0, 2}, {1, 1}, true, 4, 3},
    {6, 9, 8, 3, 3, {2, 3}, {1, 2}, {3, 1, 0, 1}, {3, 2}, true, 10, 3},
    {5, 4, 5, 7, 1, {1, 1}, {1, 1}, {0}, {1, 1}, true, 4, 5},
    {5, 5, 5, 3, 1, {1, 1}, {2, 2}, {0}, {1, 1}, false, 3, 3},
    {4, 5, 3, 4, 2, {1, 1}, {1, 1}, {0}, {1, 1}, true, 5, 3},
    {2, 3, 3, 2, 1, {1, 1}, {1, 1}, {1, 0, 2, 1}, {1, 1}, true, 4, 6},
    {2, 2, 2, 3, 1, {2, 2}, {1, 1}, {4, 3, 3, 4}, {1, 1}, true, 8, 8}, /* only padding seen */
    {2, 1, 20, 2, 1, {1, 5}, {1, 4}, {0, 0, 2, 2}, {1, 1}, true, 1, 5},
    {1, 20, 1, 2, 1, {5, 1}, {7, 1}, {0}, {2, 1}, true, 2, 1},
    {2, 40, 37, 3, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, true, 40, 37},
    {120, 9, 9, 5, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, true, 9, 9}, /* two images a tile */
    {120, 17, 13, 2, 1, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, false, 17, 13}, /* two tiles */
};
enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0] };

static wtl_layer_case case_of(const row *r, int n, int threads, wtl_engine engine)
{
    wtl_layer_case c = {.ops = &wtl_conv_ops,
                        .in = {{r->c, r->h, r->w}},
                        .batch = n,
                        .threads = threads,
                        .engine = engine,
                        .training = true,
                        .key = (unsigned)(r->c + r->h)};
    c.def.as.conv = (wtl_conv_options){.out = r->k, .groups = r->groups, .bias = r->bias};
    memcpy(c.def.as.conv.kernel, r->kernel, sizeof r->kernel);
    memcpy(c.def.as.conv.stride, r->stride, sizeof r->stride);
    memcpy(c.def.as.conv.pad, r->pad, sizeof r->pad);
    memcpy(c.def.as.conv.dilation, r->dilation, sizeof r->dilation);
    return c;
}

/* All results in double, from one walk over every product of the sum. */
typedef struct definition {
    double *y, *dx, *dw, *db;
} definition;

static void visit_product(const wtl_layer_harness *h, const definition *d, size_t y, size_t x,
                          size_t w)
{
    d->y[y] += (double)h->value[0][w] * h->x[0][x];
    d->dx[x] += (double)h->value[0][w] * h->dy[y];
    d->dw[w] += (double)h->x[0][x] * h->dy[y];
}

static void visit_output(const wtl_layer_harness *h, const definition *d, const row *r, int i,
                         int k, int p, int q)
{
    int cg = r->c / r->groups, first = k / (r->k / r->groups) * cg;
    size_t y = (((size_t)i * r->k + k) * r->p + p) * r->q + q;
    if (r->bias) {
        d->y[y] += h->value[1][k];
        d->db[k] += h->dy[y];
    }
    for (int c = 0; c < cg; c++) {
        for (int t = 0; t < r->kernel[0] * r->kernel[1]; t++) {
            int u = p * r->stride[0] + t / r->kernel[1] * r->dilation[0] - r->pad[0];
            int v = q * r->stride[1] + t % r->kernel[1] * r->dilation[1] - r->pad[2];
            if (u >= 0 && u < r->h && v >= 0 && v < r->w) {
                visit_product(h, d, y, (((size_t)i * r->c + first + c) * r->h + u) * r->w + v,
                              ((size_t)k * cg + c) * r->kernel[0] * r->kernel[1] + t);
            }
        }
    }
}

static void compare(const float *got, const double *want, size_t count, const char *what,
                    int index)
{
    /* Sums of up to 7400 products in float, each below 1: errors of a few 1e-6. */
    for (size_t i = 0; i < count; i++) {
        if (!(fabs(got[i] - want[i]) <= 3e-5 * fmax(1.0, fabs(want[i])))) {
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
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < r->k; k++) {
            for (int at = 0; at < r->p * r->q; at++) {
                visit_output(h, &d, r, i, k, at / r->q, at % r->q);
            }
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

static void small_maps_of_many_images_follow_the_definition(void **state)
{
    (void)state;
    check_row(5, 37, 1, WTL_ENGINE_BLAS); /* 1x1 */
    check_row(1, 37, 2, WTL_ENGINE_BLAS);
    check_row(3, 50, 3, WTL_ENGINE_BLAS); /* groups */
}

static void a_part_of_the_batch_can_be_run(void **state)
{
    (void)state;
    wtl_layer_case c = case_of(&ROWS[3], 8, 3, WTL_ENGINE_BLAS);
    for (c.n = 1; c.n <= 8; c.n++) {
        wtl_harness_check_engines(&c, 1e-5);
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        for (int index = 0; index < 12; index++) {
            wtl_layer_case c = case_of(&ROWS[index], 2, 2, ENGINES[e]);
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

static void the_first_layer_needs_no_input_gradient(void **state)
{
    (void)state;
    for (int threads = 1; threads <= 2; threads++) {
        wtl_layer_case c = case_of(&ROWS[4], 3, threads, WTL_ENGINE_BLAS);
        c.no_input_gradient = true;
        wtl_harness_check_engines(&c, 1e-5);
    }
}

static void parameters_macs_and_kernels_are_told(void **state)
{
    (void)state;
    wtl_layer_case c = case_of(&ROWS[3], 1, 1, WTL_ENGINE_BLAS);
    wtl_layer_harness *h = wtl_harness_create(&c);
    static const int dims[4] = {6, 2, 3, 3};
    assert_string_equal(h->specs[0].suffix, "weight");
    assert_int_equal(h->specs[0].role, WTL_PARAM_WEIGHT);
    assert_memory_equal(h->specs[0].dims, dims, sizeof dims);
    assert_int_equal(h->specs[0].fan_in, 18);
    assert_int_equal(h->specs[0].fan_out, 27);
    assert_string_equal(h->specs[1].suffix, "bias");
    assert_int_equal(h->specs[1].role, WTL_PARAM_BIAS);
    assert_int_equal(h->specs[1].rank, 1);
    assert_int_equal(h->specs[1].dims[0], 6);
    assert_int_equal(wtl_conv_ops.macs(&c.def, c.in[0], h->plan.out), 6 * 4 * 3 * 18);
    assert_string_equal(h->plan.kernel, "im2col+gemm");
    wtl_harness_free(h);

    c = case_of(&ROWS[5], 1, 1, WTL_ENGINE_BLAS);
    h = wtl_harness_create(&c);
    assert_string_equal(h->plan.kernel, "gemm 1x1");
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
    c.def.as.conv.groups = 2;
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "2 groups do not divide 3 input channels and 4 filters");
    c.def.as.conv.groups = 3;
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "3 groups do not divide 3 input channels and 4 filters");
    c = case_of(&ROWS[1], 1, 1, WTL_ENGINE_BLAS);
    c.def.as.conv.kernel[0] = 5;
    c.def.as.conv.dilation[0] = 2;
    c.in[0].h = 6; /* 8 with padding */
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "the 9x3 window does not fit the padded input of 8x8");
    c.in[0].h = 7;
    assert_int_equal(wtl_harness_plan(&c, NULL, &err), WTL_OK);
}

static void sizes_that_would_overflow_are_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_layer_case c = case_of(&ROWS[1], 1, 1, WTL_ENGINE_BLAS);
    c.in[0] = (wtl_shape){3, 1 << 15, 1 << 15};
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "an input of 3x32768x32768 has more than 2^30 values");
    c.in[0] = (wtl_shape){3, 1 << 14, 1 << 14};
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "an output of 4x16384x16384 has more than 2^30 values");
    c.in[0] = (wtl_shape){3, 2147483647, 1};
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "a padded input of 2147483649x3 is larger than 2^30");
    c = case_of(&ROWS[1], 1, 1, WTL_ENGINE_BLAS);
    c.in[0] = (wtl_shape){1, 4096, 4096};
    c.def.as.conv.kernel[0] = c.def.as.conv.kernel[1] = 4096;
    c.def.as.conv.out = 100;
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "100 filters of 1x4096x4096 have more than 2^30 values around one");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(forward_gives_the_hand_worked_values),
        WTL_TEST(backward_gives_the_hand_worked_gradients_and_adds_them),
        WTL_TEST(padding_stride_and_dilation_move_the_window_as_written),
        WTL_TEST(the_fused_activation_comes_after_the_bias),
        WTL_TEST(both_engines_follow_the_definition_over_odd_shapes),
        WTL_TEST(small_maps_of_many_images_follow_the_definition),
        WTL_TEST(a_part_of_the_batch_can_be_run),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(a_second_run_gives_the_same_bytes),
        WTL_TEST(the_first_layer_needs_no_input_gradient),
        WTL_TEST(parameters_macs_and_kernels_are_told),
        WTL_TEST(what_does_not_fit_is_refused),
        WTL_TEST(sizes_that_would_overflow_are_refused),
    };
    return WTL_RUN("conv", tests);
}
