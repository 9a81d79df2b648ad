/* Max pooling: values and gradients by hand, the definition over odd windows, NaN and
 * infinities, refusals. */
#include "layer_harness.h"

#include <math.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE};

static wtl_layer_case pool(wtl_pool_options o, wtl_shape in, wtl_engine engine)
{
    return (wtl_layer_case){.ops = &wtl_maxpool_ops,
                            .def.as.pool = o,
                            .in = {in},
                            .training = true,
                            .engine = engine};
}

static void forward_and_backward_give_the_hand_worked_values(void **state)
{
    (void)state;
    /* 3x3 windows 2 apart over 5x5: the 9 in the middle is in all four. */
    static const float x[25] = {1, 2, 3, 4, 5, 0, 0, 0, 0, 7, 3, 1, 9,
                                2, 1, 4, 0, 0, 0, 0, 1, 2, 1, 6, 8};
    static const float dy[4] = {1, 2, 4, 8}, want[4] = {9, 9, 9, 9};
    static const float dx[25] = {[12] = 15};
    /* 2x2 windows, stride 2: the last row and column are left out. */
    static const float want2[4] = {2, 4, 4, 9},
                       dx2[25] = {[1] = 1, [3] = 2, [15] = 4, [12] = 8};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = pool((wtl_pool_options){.kernel = {3, 3}, .stride = {2, 2}},
                                (wtl_shape){1, 5, 5}, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->x[0], x, sizeof x);
        memcpy(h->dy, dy, sizeof dy);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_int_equal(h->y_count, 4);
        assert_all_close(h->y, want, 4, 0.0);
        assert_all_close(h->dx[0], dx, 25, 0.0);
        wtl_harness_free(h);

        c.def.as.pool = (wtl_pool_options){.kernel = {2, 2}};
        h = wtl_harness_create(&c);
        memcpy(h->x[0], x, sizeof x);
        memcpy(h->dy, dy, sizeof dy);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_int_equal(h->y_count, 4);
        assert_all_close(h->y, want2, 4, 0.0);
        assert_all_close(h->dx[0], dx2, 25, 0.0);
        wtl_harness_free(h);
    }
}

static void of_equal_values_the_first_takes_the_gradient(void **state)
{
    (void)state;
    static const float x[8] = {2, 2, 1, 5, 2, 2, 5, 5}, dy[2] = {3, 4};
    static const float dx[8] = {3, 0, 0, 4, 0, 0, 0, 0};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c =
            pool((wtl_pool_options){.kernel = {2, 2}}, (wtl_shape){1, 2, 4}, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->x[0], x, sizeof x);
        memcpy(h->dy, dy, sizeof dy);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->dx[0], dx, 8, 0.0);
        wtl_harness_free(h);
    }
}

static void padding_is_never_a_maximum(void **state)
{
    (void)state;
    static const float x[4] = {-1, -2, -3, -4}, want[9] = {-1, -1, -2, -1, -1, -2, -3, -3, -4};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c =
            pool((wtl_pool_options){.kernel = {2, 2}, .stride = {1, 1}, .pad = {1, 1, 1, 1}},
                 (wtl_shape){1, 2, 2}, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->x[0], x, sizeof x);
        wtl_harness_forward(h);
        assert_int_equal(h->y_count, 9);
        assert_all_close(h->y, want, 9, 0.0);
        wtl_harness_free(h);
    }
}

static void a_nan_comes_out_wherever_it_goes_in(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        for (int at = 0; at < 25; at++) {
            wtl_layer_case c = pool((wtl_pool_options){.kernel = {3, 3}, .stride = {2, 2}},
                                    (wtl_shape){1, 5, 5}, ENGINES[e]);
            c.training = at % 2;
            wtl_layer_harness *h = wtl_harness_create(&c);
            h->x[0][at] = NAN;
            wtl_harness_forward(h);
            for (int i = 0; i < 4; i++) {
                int row = at / 5 - i / 2 * 2, column = at % 5 - i % 2 * 2;
                bool inside = row >= 0 && row < 3 && column >= 0 && column < 3;
                assert_int_equal(isnan(h->y[i]) != 0, inside);
            }
            wtl_harness_free(h);
        }
    }
}

static void a_window_of_minus_infinity_sends_its_gradient_into_the_map(void **state)
{
    (void)state;
    /* 2x2 windows, padding 1: the first place of each window that is in the map. */
    static const float dy[4] = {1, 2, 4, 8}, dx[4] = {1, 2, 4, 8};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = pool((wtl_pool_options){.kernel = {2, 2}, .pad = {1, 1, 1, 1}},
                                (wtl_shape){1, 2, 2}, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->dy, dy, sizeof dy);
        for (int i = 0; i < 4; i++) {
            h->x[0][i] = -INFINITY;
        }
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_int_equal(h->y_count, 4);
        for (int i = 0; i < 4; i++) {
            assert_true(isinf(h->y[i]) && h->y[i] < 0);
        }
        assert_all_close(h->dx[0], dx, 4, 0.0);
        wtl_harness_free(h);
    }
}

/* The definition, from the options as written. */
static void define(const wtl_pool_options *o, wtl_shape in, int p_count, int q_count,
                   const float *x, const float *dy, float *y, float *dx)
{
    int r_count = o->global ? in.h : o->kernel[0], s_count = o->global ? in.w : o->kernel[1];
    memset(dx, 0, (size_t)in.h * (size_t)in.w * sizeof *dx);
    for (int p = 0; p < p_count; p++) {
        for (int q = 0; q < q_count; q++) {
            int at = -1;
            for (int rs = 0; rs < r_count * s_count; rs++) {
                int h = p * o->stride[0] + rs / s_count - o->pad[0];
                int v = q * o->stride[1] + rs % s_count - o->pad[2];
                if (h >= 0 && h < in.h && v >= 0 && v < in.w &&
                    (at < 0 || x[h * in.w + v] > x[at])) {
                    at = h * in.w + v;
                }
            }
            assert_true(at >= 0);
            y[p * q_count + q] = x[at];
            dx[at] += dy[p * q_count + q];
        }
    }
}

static const struct {
    wtl_pool_options o;
    wtl_shape in;
    int p, q;
} TABLE[] = {
    {{.kernel = {2, 2}, .stride = {2, 2}}, {2, 7, 5}, 3, 2},
    {{.kernel = {2, 2}, .stride = {2, 2}, .ceil = true}, {2, 7, 5}, 4, 3},
    {{.kernel = {3, 3}, .stride = {2, 2}, .ceil = true}, {1, 8, 14}, 4, 7},
    {{.kernel = {3, 3}, .stride = {2, 2}}, {1, 8, 14}, 3, 6},
    {{.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}}, {3, 6, 37}, 6, 37},
    {{.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1, 1, 1}}, {1, 4, 66}, 2, 33},
    {{.kernel = {3, 3}, .stride = {2, 2}, .pad = {0, 2, 0, 2}}, {1, 6, 9}, 3, 5},
    {{.kernel = {4, 2}, .stride = {3, 1}, .pad = {3, 1, 1, 0}}, {2, 5, 4}, 2, 4},
    /* The last window would start beyond the map and its leading padding. */
    {{.kernel = {2, 2}, .stride = {2, 2}, .pad = {1, 1, 1, 1}, .ceil = true}, {1, 3, 3}, 2, 2},
    {{.kernel = {1, 1}, .stride = {3, 3}, .ceil = true}, {1, 3, 4}, 1, 2},
    {{.kernel = {1, 3}, .stride = {2, 4}}, {2, 3, 11}, 2, 3},
    {{.kernel = {2, 3}, .stride = {1, 5}}, {2, 3, 14}, 2, 3},
    {{.kernel = {3, 3}, .stride = {2, 2}, .ceil = true}, {2, 2, 2}, 1, 1},
    {{.kernel = {5, 17}, .stride = {1, 1}, .pad = {0, 0, 16, 16}}, {1, 6, 3}, 2, 19},
    {{.kernel = {3, 1}, .stride = {1, 1}}, {1, 3, 1}, 1, 1},
    {{.global = true}, {3, 5, 4}, 1, 1},
    {{.global = true}, {1, 1, 1}, 1, 1},
    {{.global = true}, {1, 2, 300}, 1, 1},
};

static void both_engines_follow_the_definition(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof TABLE / sizeof TABLE[0]; t++) {
        for (int variant = 0; variant < 4; variant++) {
            wtl_layer_case c = pool(TABLE[t].o, TABLE[t].in, ENGINES[variant / 2]);
            c.training = variant % 2;
            c.batch = 2;
            wtl_layer_harness *h = wtl_harness_create(&c);
            int out = TABLE[t].p * TABLE[t].q, in = TABLE[t].in.h * TABLE[t].in.w;
            assert_int_equal(h->plan.out.h, TABLE[t].p);
            assert_int_equal(h->plan.out.w, TABLE[t].q);
            for (size_t i = 0; i < h->x_count[0]; i++) {
                h->x[0][i] = roundf(h->x[0][i] * 4); /* ties */
            }
            wtl_harness_forward(h);
            if (c.training) {
                wtl_harness_backward(h);
            }
            for (int plane = 0; plane < 2 * TABLE[t].in.c; plane++) {
                float y[256], dx[1024], dy[256] = {0};
                assert_true(out <= 256 && in <= 1024);
                if (c.training) {
                    memcpy(dy, h->dy + plane * out, (size_t)out * sizeof *dy);
                }
                define(&TABLE[t].o, TABLE[t].in, TABLE[t].p, TABLE[t].q, h->x[0] + plane * in,
                       dy, y, dx);
                assert_all_close(h->y + plane * out, y, (size_t)out, 0.0);
                if (c.training) { /* the same sums in the same order */
                    assert_all_close(h->dx[0] + plane * in, dx, (size_t)in, 0.0);
                }
            }
            wtl_harness_free(h);
        }
    }
}

static void places_are_saved_in_the_smallest_type(void **state)
{
    (void)state;
    static const struct {
        int h, w;
        size_t bytes;
    } table[] = {{16, 16, 1}, {17, 2, 2}, {2, 256, 2}, {257, 1, 4}};
    for (int t = 0; t < 4; t++) {
        wtl_layer_case c = pool((wtl_pool_options){.global = true},
                                (wtl_shape){3, table[t].h, table[t].w}, WTL_ENGINE_BLAS);
        c.batch = 2;
        for (c.n = 1; c.n <= 2; c.n++) { /* the last place can be saved */
            wtl_layer_harness *h = wtl_harness_create(&c);
            assert_int_equal(h->plan.saved_bytes, 2 * 3 * table[t].bytes);
            size_t last = h->x_count[0] - 1;
            h->x[0][last] = 2;
            h->dy[h->y_count - 1] = 7;
            wtl_harness_forward(h);
            wtl_harness_backward(h);
            assert_close(h->y[h->y_count - 1], 2, 0.0);
            assert_close(h->dx[0][last], 7, 0.0);
            wtl_harness_free(h);
        }
        c.training = false;
        c.n = 1;
        wtl_layer_harness *h = wtl_harness_create(&c);
        assert_int_equal(h->plan.saved_bytes, 0);
        wtl_harness_free(h);
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c =
            pool((wtl_pool_options){.kernel = {3, 2}, .stride = {2, 1}, .pad = {1, 0, 0, 1}},
                 (wtl_shape){2, 5, 4}, ENGINES[e]);
        c.batch = 2;
        c.key = 3;
        /* y is exact to 6e-8, over 2e-3; no two values lie within the step */
        wtl_harness_check_gradients(&c, 1e-3, 1e-3);
    }
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    static const int images[] = {1, 2, 3, 5};
    for (int i = 0; i < 4; i++) {
        wtl_layer_case c = pool((wtl_pool_options){.kernel = {3, 3}, .stride = {2, 2}},
                                (wtl_shape){32 / images[i] + 1, 37, 29}, WTL_ENGINE_BLAS);
        c.batch = 5;
        c.n = images[i];
        wtl_harness_check_threads(&c);
        if (images[i] == 3) {
            c.threads = 3;
            wtl_harness_check_engines(&c, 0.0);
        }
    }
}

static void what_cannot_be_pooled_is_refused(void **state)
{
    (void)state;
    static const struct {
        wtl_pool_options o;
        wtl_shape in;
        wtl_status status;
        const char *text;
    } table[] = {
        {{.stride = {2, 2}}, {1, 4, 4}, WTL_E_ARG, "give kernel=K or global=yes"},
        {{.kernel = {2, 2}, .global = true},
         {1, 4, 4},
         WTL_E_ARG,
         "only one of kernel, global and adaptive can be given"},
        {{.stride = {2, 2}, .global = true},
         {1, 4, 4},
         WTL_E_ARG,
         "stride, pad and ceil go with kernel, not with global"},
        {{.global = true, .pad = {0, 0, 0, 1}},
         {1, 4, 4},
         WTL_E_ARG,
         "stride, pad and ceil go with kernel, not with global"},
        {{.global = true, .ceil = true},
         {1, 4, 4},
         WTL_E_ARG,
         "stride, pad and ceil go with kernel, not with global"},
        {{.kernel = {2, 0}}, {1, 4, 4}, WTL_E_RANGE, "kernel is 2x0, both must be at least 1"},
        {{.kernel = {2, 2}, .stride = {0, 1}},
         {1, 4, 4},
         WTL_E_RANGE,
         "stride is 0x1, both must be at least 1"},
        {{.kernel = {3, 2}, .pad = {2, 2, 1, 2}},
         {1, 4, 4},
         WTL_E_RANGE,
         "pad 2 is not smaller than the kernel's 2"},
        {{.kernel = {3, 5}, .pad = {0, 0, 0, 1}},
         {1, 3, 3},
         WTL_E_SHAPE,
         "the 3x5 window does not fit the padded input of 3x4"},
        {{.kernel = {5, 5}, .stride = {2, 2}, .ceil = true},
         {1, 3, 5},
         WTL_E_SHAPE,
         "the 5x5 window does not fit the padded input of 3x5"},
        {{.kernel = {2, 2}},
         {1, 40000, 40000},
         WTL_E_SHAPE,
         "more than 2^30 values in an input or output map"},
        {{.kernel = {1, 4000}, .stride = {1, 1}, .pad = {0, 0, 3999, 3999}},
         {1, 1 << 20, 1},
         WTL_E_SHAPE,
         "more than 2^30 values in an input or output map"},
        {{.global = true},
         {1, 40000, 2},
         WTL_E_RANGE,
         "a window of 40000x2, at most 32768x32768 are possible"},
    };
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        wtl_layer_case c = pool(table[t].o, table[t].in, WTL_ENGINE_BLAS);
        wtl_error err;
        assert_fails(wtl_harness_plan(&c, NULL, &err), table[t].status, &err, table[t].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(forward_and_backward_give_the_hand_worked_values),
        WTL_TEST(of_equal_values_the_first_takes_the_gradient),
        WTL_TEST(padding_is_never_a_maximum),
        WTL_TEST(a_nan_comes_out_wherever_it_goes_in),
        WTL_TEST(a_window_of_minus_infinity_sends_its_gradient_into_the_map),
        WTL_TEST(both_engines_follow_the_definition),
        WTL_TEST(places_are_saved_in_the_smallest_type),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(results_do_not_depend_on_threads),
        WTL_TEST(what_cannot_be_pooled_is_refused),
    };
    return WTL_RUN("maxpool", tests);
}
