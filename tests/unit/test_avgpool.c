/* Average pooling: values and gradients by hand, the definition in double over odd windows,
 * refusals. */
#include "layer_harness.h"

#include <math.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE};

static wtl_layer_case pool(wtl_pool_options o, wtl_shape in, wtl_engine engine)
{
    return (wtl_layer_case){.ops = &wtl_avgpool_ops,
                            .def.as.pool = o,
                            .in = {in},
                            .training = true,
                            .engine = engine};
}

/* y and dx for one map, exactly. */
static void expect(wtl_pool_options o, wtl_shape in, const float *x, const float *dy,
                   const float *y, size_t y_count, const float *dx)
{
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = pool(o, in, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        assert_int_equal(h->y_count, y_count);
        memcpy(h->x[0], x, h->x_count[0] * sizeof *x);
        memcpy(h->dy, dy, y_count * sizeof *dy);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->y, y, y_count, 0.0);
        assert_all_close(h->dx[0], dx, h->x_count[0], 0.0);
        wtl_harness_free(h);
    }
}

static void forward_and_backward_give_the_hand_worked_values(void **state)
{
    (void)state;
    static const float x[12] = {1, 3, 5, 7, 9, 11, 13, 15, 2, 4, 6, 8};
    /* 2x2, stride 1x2 */
    static const float y[4] = {6, 10, 6.5, 10.5}, dy[4] = {4, 8, 12, 16};
    static const float dx[12] = {1, 1, 2, 2, 4, 4, 6, 6, 3, 3, 4, 4};
    expect((wtl_pool_options){.kernel = {2, 2}, .stride = {1, 2}}, (wtl_shape){1, 3, 4}, x, dy,
           y, 4, dx);
    /* global: 84 / 12 */
    static const float mean[1] = {7}, up[1] = {12};
    static const float one[12] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    expect((wtl_pool_options){.global = true}, (wtl_shape){1, 3, 4}, x, up, mean, 1, one);
    /* adaptive 2x2 of 3x4: rows 0-1 and 1-2, columns 0-1 and 2-3: as the first */
    expect((wtl_pool_options){.adaptive = {2, 2}}, (wtl_shape){1, 3, 4}, x, dy, y, 4, dx);
}

static void padding_counts_in_the_divisor_or_not(void **state)
{
    (void)state;
    /* 2x2 with padding 1 over 2x2: each window holds one value. */
    static const float x[4] = {4, 8, 12, 16}, dy[4] = {4, 8, 12, 16};
    static const float quarter[4] = {1, 2, 3, 4};
    wtl_pool_options o = {.kernel = {2, 2}, .pad = {1, 1, 1, 1}, .count_pad = true};
    expect(o, (wtl_shape){1, 2, 2}, x, dy, quarter, 4, quarter);
    o.count_pad = false;
    expect(o, (wtl_shape){1, 2, 2}, x, dy, x, 4, dy);
}

static void a_window_beyond_the_padded_map_is_clipped_in_the_divisor(void **state)
{
    (void)state;
    /* 1x3, stride 2, ceil, 4 columns: the second window is columns 2, 3 and one outside.
     * With padding 1 behind, that one counts; with count_pad=no it does not. */
    static const float x[4] = {3, 6, 9, 15}, dy[2] = {3, 6};
    static const float bare[2] = {6, 12}, bare_dx[4] = {1, 1, 4, 3};
    static const float padded[2] = {6, 8}, padded_dx[4] = {1, 1, 3, 2};
    wtl_pool_options o = {.kernel = {1, 3}, .stride = {1, 2}, .ceil = true, .count_pad = true};
    expect(o, (wtl_shape){1, 1, 4}, x, dy, bare, 2, bare_dx);
    o.pad[3] = 1;
    expect(o, (wtl_shape){1, 1, 4}, x, dy, padded, 2, padded_dx);
    o.count_pad = false;
    expect(o, (wtl_shape){1, 1, 4}, x, dy, bare, 2, bare_dx);
}

/* First and last + 1 tap of a window, in the map's coordinates, before clipping. */
static void window(const wtl_pool_options *o, int axis, int i, int size, int count, int *begin,
                   int *end)
{
    if (o->adaptive[0]) {
        *begin = (int)floor((double)i * size / count);
        *end = (int)ceil((double)(i + 1) * size / count);
    } else if (o->global) {
        *begin = 0;
        *end = size;
    } else {
        *begin = i * o->stride[axis] - o->pad[2 * axis];
        *end = *begin + o->kernel[axis];
    }
}

/* The definition in double. */
static void define(const wtl_pool_options *o, wtl_shape in, int p_count, int q_count,
                   const float *x, const float *dy, float *y, float *dx)
{
    double gradient[1024] = {0};
    for (int pq = 0; pq < p_count * q_count; pq++) {
        int top, bottom, left, right, divisor = 0;
        window(o, 0, pq / q_count, in.h, p_count, &top, &bottom);
        window(o, 1, pq % q_count, in.w, q_count, &left, &right);
        double sum = 0;
        for (int pass = 0; pass < 2; pass++) {
            for (int hv = 0; hv < (bottom - top) * (right - left); hv++) {
                int h = top + hv / (right - left), v = left + hv % (right - left);
                bool inside = h >= 0 && h < in.h && v >= 0 && v < in.w;
                bool padded = h < in.h + o->pad[1] && v < in.w + o->pad[3];
                if (pass == 0) {
                    divisor += o->count_pad ? padded : inside;
                    sum += inside ? x[h * in.w + v] : 0.0;
                } else if (inside) {
                    gradient[h * in.w + v] += (double)dy[pq] / divisor;
                }
            }
        }
        y[pq] = (float)(sum / divisor);
    }
    for (int i = 0; i < in.h * in.w; i++) {
        dx[i] = (float)gradient[i];
    }
}

static const struct {
    wtl_pool_options o; /* each is run with count_pad yes and no */
    wtl_shape in;
    int p, q;
} TABLE[] = {
    {{.kernel = {2, 2}, .stride = {2, 2}}, {2, 7, 5}, 3, 2},
    {{.kernel = {2, 2}, .stride = {2, 2}, .ceil = true}, {2, 7, 5}, 4, 3},
    {{.kernel = {5, 5}, .stride = {3, 3}, .ceil = true}, {2, 14, 14}, 4, 4},
    {{.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}}, {3, 6, 17}, 6, 17},
    {{.kernel = {3, 3}, .stride = {2, 2}, .pad = {0, 2, 1, 2}}, {1, 6, 9}, 3, 5},
    {{.kernel = {4, 2}, .stride = {3, 1}, .pad = {3, 1, 1, 0}, .ceil = true}, {2, 5, 4}, 3, 4},
    {{.kernel = {2, 2}, .stride = {2, 2}, .pad = {1, 1, 1, 1}, .ceil = true}, {1, 3, 3}, 2, 2},
    {{.kernel = {1, 1}, .stride = {3, 3}, .ceil = true}, {1, 3, 4}, 1, 2},
    {{.kernel = {3, 3}, .stride = {2, 2}, .ceil = true}, {2, 2, 2}, 1, 1},
    {{.kernel = {2, 3}, .stride = {1, 5}}, {2, 3, 14}, 2, 3},
    {{.global = true}, {5, 7, 7}, 1, 1},
    {{.global = true}, {1, 1, 1}, 1, 1},
    {{.adaptive = {6, 6}}, {2, 7, 7}, 6, 6},
    {{.adaptive = {4, 4}}, {2, 7, 7}, 4, 4},
    {{.adaptive = {4, 4}}, {2, 14, 14}, 4, 4},
    {{.adaptive = {1, 1}}, {2, 5, 6}, 1, 1},
    {{.adaptive = {6, 3}}, {2, 1, 2}, 6, 3}, /* more windows than rows */
};

static void both_engines_follow_the_definition(void **state)
{
    (void)state;
    for (size_t t = 0; t < sizeof TABLE / sizeof TABLE[0]; t++) {
        for (int variant = 0; variant < 4; variant++) {
            wtl_layer_case c = pool(TABLE[t].o, TABLE[t].in, ENGINES[variant / 2]);
            c.def.as.pool.count_pad = variant % 2;
            c.batch = 2;
            wtl_layer_harness *h = wtl_harness_create(&c);
            int out = TABLE[t].p * TABLE[t].q, in = TABLE[t].in.h * TABLE[t].in.w;
            assert_int_equal(h->plan.out.h, TABLE[t].p);
            assert_int_equal(h->plan.out.w, TABLE[t].q);
            wtl_harness_forward(h);
            wtl_harness_backward(h);
            for (int plane = 0; plane < 2 * TABLE[t].in.c; plane++) {
                float y[256], dx[1024];
                assert_true(out <= 256 && in <= 1024);
                define(&c.def.as.pool, TABLE[t].in, TABLE[t].p, TABLE[t].q,
                       h->x[0] + plane * in, h->dy + plane * out, y, dx);
                /* up to 49 floats added: a few times 6e-8 */
                assert_all_close(h->y + plane * out, y, (size_t)out, 1e-6);
                assert_all_close(h->dx[0] + plane * in, dx, (size_t)in, 1e-6);
            }
            wtl_harness_free(h);
        }
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
        wtl_harness_check_gradients(&c, 0.5, 1e-5); /* linear: any step will do */
        c.def.as.pool = (wtl_pool_options){.adaptive = {3, 3}};
        wtl_harness_check_gradients(&c, 0.5, 1e-5);
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
            wtl_harness_check_engines(&c, 1e-6);
        }
    }
}

static void what_cannot_be_pooled_is_refused(void **state)
{
    (void)state;
    static const struct {
        wtl_pool_options o;
        wtl_status status;
        const char *text;
    } table[] = {
        {{.count_pad = true}, WTL_E_ARG, "give kernel=K, global=yes or adaptive=HxW"},
        {{.adaptive = {2, 2}, .global = true},
         WTL_E_ARG,
         "only one of kernel, global and adaptive can be given"},
        {{.adaptive = {2, 2}, .kernel = {2, 2}},
         WTL_E_ARG,
         "only one of kernel, global and adaptive can be given"},
        {{.adaptive = {2, 2}, .pad = {1, 0, 0, 0}},
         WTL_E_ARG,
         "stride, pad and ceil go with kernel, not with adaptive"},
        {{.adaptive = {0, 2}}, WTL_E_RANGE, "adaptive is 0x2, both must be at least 1"},
        {{.kernel = {2, 2}, .pad = {0, 2, 0, 0}},
         WTL_E_RANGE,
         "pad 2 is not smaller than the kernel's 2"},
        {{.kernel = {8, 3}, .stride = {2, 2}},
         WTL_E_SHAPE,
         "the 8x3 window does not fit the padded input of 4x4"},
    };
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        wtl_layer_case c = pool(table[t].o, (wtl_shape){1, 4, 4}, WTL_ENGINE_BLAS);
        wtl_error err;
        assert_fails(wtl_harness_plan(&c, NULL, &err), table[t].status, &err, table[t].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(forward_and_backward_give_the_hand_worked_values),
        WTL_TEST(padding_counts_in_the_divisor_or_not),
        WTL_TEST(a_window_beyond_the_padded_map_is_clipped_in_the_divisor),
        WTL_TEST(both_engines_follow_the_definition),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(results_do_not_depend_on_threads),
        WTL_TEST(what_cannot_be_pooled_is_refused),
    };
    return WTL_RUN("avgpool", tests);
}
