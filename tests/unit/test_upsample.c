/* Upsampling: both engines against values worked by hand, torch's rule in double, central
 * differences and each other. */
#include "layer_harness.h"

#include <math.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE};

static wtl_layer_case case_of(wtl_shape in, int factor, bool bilinear, wtl_engine engine)
{
    return (wtl_layer_case){.ops = &wtl_upsample_ops,
                            .def.as.resample = {.factor = factor, .bilinear = bilinear},
                            .in = {in},
                            .training = true,
                            .engine = engine};
}

static void nearest_repeats_values_and_sums_gradients(void **state)
{
    (void)state;
    static const float x[4] = {1, 2, 3, 4};
    static const float y[16] = {1, 1, 2, 2, 1, 1, 2, 2, 3, 3, 4, 4, 3, 3, 4, 4};
    static const float dy[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const float dx[4] = {14, 22, 46, 54};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = case_of((wtl_shape){1, 2, 2}, 2, false, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->x[0], x, sizeof x);
        memcpy(h->dy, dy, sizeof dy);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->y, y, 16, 0.0);
        assert_all_close(h->dx[0], dx, 4, 0.0);
        wtl_harness_free(h);
    }
}

static void bilinear_takes_quarters_between_and_edges_outside(void **state)
{
    (void)state;
    /* Factor 2: outputs at -1/4, 1/4, 3/4, 5/4 of the inputs; multiples of 16 are exact. */
    static const float x[2] = {16, 32}, y[8] = {16, 20, 28, 32, 16, 20, 28, 32};
    static const float dy[8] = {4, 8, 16, 4, 0, 0, 0, 4};
    static const float dx[2] = {4 + 6 + 4, 2 + 12 + 4 + 4};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = case_of((wtl_shape){1, 1, 2}, 2, true, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->x[0], x, sizeof x);
        memcpy(h->dy, dy, sizeof dy);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->y, y, 8, 0.0);
        assert_all_close(h->dx[0], dx, 2, 0.0);
        wtl_harness_free(h);
    }
}

typedef struct row {
    wtl_shape in;
    int factor;
} row;

static const row ROWS[] = {
    {{1, 1, 1}, 1}, {{2, 1, 1}, 4}, {{3, 3, 5}, 2}, {{2, 4, 3}, 3},
    {{1, 5, 1}, 5}, {{2, 1, 6}, 4}, {{1, 3, 3}, 1}, {{5, 2, 33}, 2},
};
enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0] };

/* torch: src = max((i + 0.5) / factor - 0.5, 0); between floor(src) and the next, which is
 * floor(src) itself at the end. Nearest: floor(i / factor). */
static void source_of(int i, int factor, int size, bool bilinear, int *low, int *high,
                      double *high_weight)
{
    double src = bilinear ? fmax((i + 0.5) / factor - 0.5, 0.0) : floor((double)i / factor);
    *low = (int)floor(src);
    *high = *low + 1 < size ? *low + 1 : *low;
    *high_weight = src - *low;
}

static double expected(const wtl_layer_harness *h, wtl_shape in, int factor, bool bilinear,
                       int plane, int p, int q)
{
    int h0, h1, v0, v1;
    double down, across;
    source_of(p, factor, in.h, bilinear, &h0, &h1, &down);
    source_of(q, factor, in.w, bilinear, &v0, &v1, &across);
    const float *x = h->x[0] + (size_t)plane * in.h * in.w;
    return (1 - down) * ((1 - across) * x[h0 * in.w + v0] + across * x[h0 * in.w + v1]) +
           down * ((1 - across) * x[h1 * in.w + v0] + across * x[h1 * in.w + v1]);
}

static void check_row(const row *r, bool bilinear, int n, int threads, wtl_engine engine)
{
    wtl_layer_case c = case_of(r->in, r->factor, bilinear, engine);
    c.batch = n;
    c.threads = threads;
    wtl_layer_harness *h = wtl_harness_create(&c);
    int p_count = r->in.h * r->factor, q_count = r->in.w * r->factor;
    assert_int_equal(h->plan.out.c, r->in.c);
    assert_int_equal(h->plan.out.h, p_count);
    assert_int_equal(h->plan.out.w, q_count);
    wtl_harness_forward(h);
    for (int at = 0; at < n * r->in.c * p_count * q_count; at++) {
        int plane = at / (p_count * q_count), p = at / q_count % p_count, q = at % q_count;
        /* A few roundings of numbers below 1. */
        assert_close(h->y[at], expected(h, r->in, r->factor, bilinear, plane, p, q), 5e-7);
    }
    wtl_harness_free(h);
}

static void both_engines_follow_the_definition_over_odd_shapes(void **state)
{
    (void)state;
    for (int i = 0; i < ROW_COUNT * 2; i++) {
        check_row(&ROWS[i / 2], i % 2, 2, 1, WTL_ENGINE_REFERENCE);
        for (int threads = 1; threads <= 3; threads++) {
            check_row(&ROWS[i / 2], i % 2, 1, threads, WTL_ENGINE_BLAS);
            check_row(&ROWS[i / 2], i % 2, 5, threads, WTL_ENGINE_BLAS);
        }
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (int i = 0; i < (ROW_COUNT - 1) * 2; i++) {
        for (int e = 0; e < 2; e++) {
            wtl_layer_case c = case_of(ROWS[i / 2].in, ROWS[i / 2].factor, i % 2, ENGINES[e]);
            c.batch = 2;
            wtl_harness_check_gradients(&c, 0.5, 1e-4); /* linear */
        }
    }
}

static void engines_agree_and_repeat(void **state)
{
    (void)state;
    for (int i = 0; i < ROW_COUNT * 2; i++) {
        wtl_layer_case c = case_of(ROWS[i / 2].in, ROWS[i / 2].factor, i % 2, WTL_ENGINE_BLAS);
        c.batch = 5;
        c.threads = 3;
        wtl_harness_check_engines(&c, 1e-5);
        wtl_harness_check_repeats(&c);
        c.no_input_gradient = true;
        wtl_harness_check_engines(&c, 1e-5);
    }
}

static void a_size_that_would_overflow_is_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_layer_case c = case_of((wtl_shape){1, 1 << 14, 1 << 14}, 3, false, WTL_ENGINE_BLAS);
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "factor 3 makes more than 2^30 values of an input of 1x16384x16384");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(nearest_repeats_values_and_sums_gradients),
        WTL_TEST(bilinear_takes_quarters_between_and_edges_outside),
        WTL_TEST(both_engines_follow_the_definition_over_odd_shapes),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(engines_agree_and_repeat),
        WTL_TEST(a_size_that_would_overflow_is_refused),
    };
    return WTL_RUN("upsample", tests);
}
