/* Dense: the engines against values worked by hand, the definition in double over odd
 * shapes, central differences and each other. */
#include "layer_harness.h"

#include "wattle/memory.h"

#include <math.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE, WTL_ENGINE_NATIVE};
enum { ENGINE_COUNT = sizeof ENGINES / sizeof *ENGINES };

/* Worked by hand: w, b and x are small integers, so every value is exact. */
enum { N = 2, D = 3, K = 2 };
static const float X[N * D] = {1, 2, 1, 0, 3, 5};
static const float W[K * D] = {1, 2, 3, -1, 0, 4}, B[K] = {10, -5};
static const float DY[N * K] = {1, 2, -1, 3};

static wtl_layer_case small_case(wtl_engine engine, int threads)
{
    return (wtl_layer_case){.ops = &wtl_dense_ops,
                            .def.as.dense = {.out = K, .bias = true},
                            .in = {{1, 1, D}},
                            .batch = N,
                            .threads = threads,
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
    static const float want[N * K] = {18, -2, 31, 15};
    for (int e = 0; e < ENGINE_COUNT; e++) {
        for (int threads = 1; threads <= 3; threads++) {
            wtl_layer_case c = small_case(ENGINES[e], threads);
            wtl_layer_harness *h = with_numbers(&c);
            wtl_harness_forward(h);
            assert_all_close(h->y, want, N * K, 0.0);
            wtl_harness_free(h);
        }
    }
}

static void backward_gives_the_hand_worked_gradients_and_adds_them(void **state)
{
    (void)state;
    static const float dx[N * D] = {-1, 2, 11, -4, -2, 9};
    static const float dw[K * D] = {1, -1, -4 + 100, 2, 13, 17}, db[K] = {0 + 1000, 5};
    for (int e = 0; e < ENGINE_COUNT; e++) {
        wtl_layer_case c = small_case(ENGINES[e], 2);
        wtl_layer_harness *h = with_numbers(&c);
        h->gradient[0][2] = 100;
        h->gradient[1][0] = 1000;
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->dx[0], dx, N * D, 0.0);
        assert_all_close(h->gradient[0], dw, K * D, 0.0);
        assert_all_close(h->gradient[1], db, K, 0.0);
        wtl_harness_free(h);
    }
}

static void the_fused_activation_comes_after_the_bias(void **state)
{
    (void)state;
    static const float want[N * K] = {18, 0, 31, 15};
    for (int e = 0; e < ENGINE_COUNT; e++) {
        wtl_layer_case c = small_case(ENGINES[e], 1);
        c.fused = WTL_ACTIVATION_RELU;
        wtl_layer_harness *h = with_numbers(&c);
        wtl_harness_forward(h);
        assert_all_close(h->y, want, N * K, 0.0);
        wtl_harness_free(h);
    }
}

/* ---- the definition ---- */

typedef struct row {
    wtl_shape in;
    int d, k;
    bool bias;
} row;

static const row ROWS[] = {
    {{1, 1, 1}, 1, 1, true},          {{5, 1, 1}, 5, 3, true},     {{2, 3, 4}, 24, 7, false},
    {{1, 1, 33}, 33, 1, true},        {{300, 1, 1}, 300, 3, true}, {{3, 7, 11}, 231, 130, true},
    {{140, 32, 32}, 143360, 2, true}, /* one row of w is more than a block */
};
enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0], LONG_ROW = ROW_COUNT - 1 };

static wtl_layer_case case_of(const row *r, int n, int threads, wtl_engine engine)
{
    return (wtl_layer_case){.ops = &wtl_dense_ops,
                            .def.as.dense = {.out = r->k, .bias = r->bias},
                            .in = {r->in},
                            .batch = n,
                            .threads = threads,
                            .engine = engine,
                            .training = true,
                            .key = (unsigned)r->d};
}

static void close_to(float got, double want, const char *what, int index, int n)
{
    /* Sums of up to 143360 products in float, each below 1, in many running sums. */
    if (!(fabs(got - want) <= 5e-5 * fmax(1.0, fabs(want)))) {
        fail_msg("row %d, %d images: %s is %.9g, the definition gives %.9g", index, n, what,
                 (double)got, want);
    }
}

static void check_data(const wtl_layer_harness *h, const row *r, int index, int n)
{
    for (int at = 0; at < n * r->k; at++) {
        int i = at / r->k, k = at % r->k;
        double sum = r->bias ? h->value[1][k] : 0.0;
        for (int d = 0; d < r->d; d++) {
            sum += (double)h->value[0][k * r->d + d] * h->x[0][i * r->d + d];
        }
        close_to(h->y[at], sum, "y", index, n);
    }
    for (int at = 0; at < n * r->d; at++) {
        int i = at / r->d, d = at % r->d;
        double sum = 0.0;
        for (int k = 0; k < r->k; k++) {
            sum += (double)h->value[0][k * r->d + d] * h->dy[i * r->k + k];
        }
        close_to(h->dx[0][at], sum, "dx", index, n);
    }
}

static void check_weights(const wtl_layer_harness *h, const row *r, int index, int n)
{
    for (int at = 0; at < r->k * r->d; at++) {
        int k = at / r->d, d = at % r->d;
        double sum = 0.0;
        for (int i = 0; i < n; i++) {
            sum += (double)h->dy[i * r->k + k] * h->x[0][i * r->d + d];
        }
        close_to(h->gradient[0][at], sum, "dw", index, n);
    }
    for (int k = 0; r->bias && k < r->k; k++) {
        double sum = 0.0;
        for (int i = 0; i < n; i++) {
            sum += h->dy[i * r->k + k];
        }
        close_to(h->gradient[1][k], sum, "db", index, n);
    }
}

static void check_row(int index, int n, int threads, wtl_engine engine)
{
    wtl_layer_case c = case_of(&ROWS[index], n, threads, engine);
    wtl_layer_harness *h = wtl_harness_create(&c);
    assert_int_equal(h->plan.out.c, ROWS[index].k);
    assert_int_equal(h->plan.out.h, 1);
    assert_int_equal(h->plan.out.w, 1);
    assert_int_equal(h->param_count, ROWS[index].bias ? 2 : 1);
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    check_data(h, &ROWS[index], index, n);
    check_weights(h, &ROWS[index], index, n);
    wtl_harness_free(h);
}

static void the_engines_follow_the_definition_over_odd_shapes(void **state)
{
    (void)state;
    static const int images[] = {1, 2, 3, 5, 9, 33};
    check_row(LONG_ROW, 2, 2, WTL_ENGINE_BLAS);
    check_row(LONG_ROW, 9, 2, WTL_ENGINE_NATIVE);
    for (int index = 0; index < LONG_ROW; index++) {
        check_row(index, 3, 1, WTL_ENGINE_REFERENCE);
        for (int i = 0; i < 6; i++) {
            for (int threads = 1; threads <= 3; threads++) {
                check_row(index, images[i], threads, WTL_ENGINE_BLAS);
                check_row(index, images[i], threads, WTL_ENGINE_NATIVE);
            }
        }
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (int e = 0; e < ENGINE_COUNT; e++) {
        for (int index = 0; index < 4; index++) {
            for (int n = 1; n <= 7; n += 3) {
                wtl_layer_case c = case_of(&ROWS[index], n, 2, ENGINES[e]);
                /* Linear in each value: a large step costs nothing but float's last bits. */
                wtl_harness_check_gradients(&c, 0.5, 1e-4);
            }
        }
    }
}

static void a_second_run_gives_the_same_bytes(void **state)
{
    (void)state;
    for (int index = 0; index < LONG_ROW; index++) {
        for (int threads = 1; threads <= 3; threads++) {
            for (int n = 1; n <= 16; n *= 4) {
                wtl_layer_case c = case_of(&ROWS[index], n, threads, WTL_ENGINE_BLAS);
                wtl_harness_check_repeats(&c);
                c.engine = WTL_ENGINE_NATIVE;
                wtl_harness_check_repeats(&c);
            }
        }
    }
}

static void native_sums_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    for (int n = 1; n <= 64; n *= 4) {
        wtl_layer_case c = case_of(&ROWS[5], n, 1, WTL_ENGINE_NATIVE);
        c.def.as.dense.out = 1000;
        wtl_harness_check_threads(&c);
    }
}

static void a_part_of_the_batch_and_a_first_layer_are_fine(void **state)
{
    (void)state;
    wtl_layer_case c = case_of(&ROWS[5], 16, 2, WTL_ENGINE_BLAS);
    for (c.n = 1; c.n <= 16; c.n += 5) {
        wtl_harness_check_engines(&c, 1e-5);
    }
    c.n = 16;
    c.no_input_gradient = true;
    wtl_harness_check_engines(&c, 1e-5);
}

static void parameters_macs_and_kernels_are_told(void **state)
{
    (void)state;
    wtl_layer_case c = case_of(&ROWS[2], 1, 1, WTL_ENGINE_BLAS);
    wtl_layer_harness *h = wtl_harness_create(&c);
    assert_string_equal(h->specs[0].suffix, "weight");
    assert_int_equal(h->specs[0].rank, 2);
    assert_int_equal(h->specs[0].dims[0], 7);
    assert_int_equal(h->specs[0].dims[1], 24);
    assert_int_equal(h->specs[0].fan_in, 24);
    assert_int_equal(h->specs[0].fan_out, 7);
    assert_int_equal(wtl_dense_ops.macs(&c.def, c.in[0], h->plan.out), 7 * 24);
    assert_string_equal(h->plan.kernel, "gemv");
    wtl_harness_free(h);
    c.batch = 2;
    h = wtl_harness_create(&c);
    assert_string_equal(h->plan.kernel, "gemm");
    wtl_harness_free(h);
    c.engine = WTL_ENGINE_NATIVE;
    h = wtl_harness_create(&c);
    assert_string_equal(h->plan.kernel, "dot products");
    wtl_harness_free(h);
    c.batch = 64;
    h = wtl_harness_create(&c);
    assert_string_equal(h->plan.kernel, "images side by side");
    wtl_harness_free(h);
    c.engine = WTL_ENGINE_REFERENCE;
    h = wtl_harness_create(&c);
    assert_string_equal(h->plan.kernel, "reference");
    wtl_harness_free(h);
}

static void sizes_that_would_overflow_are_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_layer_case c = case_of(&ROWS[0], 1, 1, WTL_ENGINE_BLAS);
    c.in[0] = (wtl_shape){1 << 20, 1 << 20, 1 << 20};
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "an input of 1048576x1048576x1048576 has more than 2^30 values");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(forward_gives_the_hand_worked_values),
        WTL_TEST(backward_gives_the_hand_worked_gradients_and_adds_them),
        WTL_TEST(the_fused_activation_comes_after_the_bias),
        WTL_TEST(the_engines_follow_the_definition_over_odd_shapes),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(a_second_run_gives_the_same_bytes),
        WTL_TEST(native_sums_do_not_depend_on_the_number_of_threads),
        WTL_TEST(a_part_of_the_batch_and_a_first_layer_are_fine),
        WTL_TEST(parameters_macs_and_kernels_are_told),
        WTL_TEST(sizes_that_would_overflow_are_refused),
    };
    return WTL_RUN("dense", tests);
}
