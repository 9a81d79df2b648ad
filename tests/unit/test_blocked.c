/* Layers on maps in blocks of channels against the reference engine, whose own tests hold it to
 * the definitions: channels that fill blocks and that do not, every instruction set, threads. */
#include "layer_harness.h"

#include <math.h>
#include <string.h>

static const int CHANNELS[] = {1, 5, 16, 17, 40};
enum { CHANNEL_COUNT = sizeof CHANNELS / sizeof CHANNELS[0] };

/* In training and at inference, one and several images, maps large enough to be shared
 * between threads if `h` times `w` is. */
static void check_channels(wtl_layer_case c, double tolerance)
{
    int h = c.in[0].h, w = c.in[0].w;
    for (int i = 0; i < CHANNEL_COUNT; i++) {
        for (int input = 0; input < WTL_HARNESS_INPUTS; input++) {
            c.in[input] = (wtl_shape){CHANNELS[i], h, w};
        }
        c.key = (unsigned)i;
        c.batch = 3;
        c.n = 3;
        c.training = true;
        wtl_harness_check_blocked(&c, tolerance);
        c.n = 2;
        c.training = false;
        wtl_harness_check_blocked(&c, tolerance);
    }
}

/* ---- pooling ---- */

static const struct {
    wtl_pool_options o;
    int h, w;
} WINDOWS[] = {
    {{.kernel = {2, 2}, .stride = {2, 2}}, 7, 5},
    {{.kernel = {2, 2}, .stride = {2, 2}, .ceil = true}, 7, 5},
    {{.kernel = {3, 3}, .stride = {2, 2}, .ceil = true}, 29, 28},
    {{.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}}, 13, 14},
    {{.kernel = {3, 3}, .stride = {2, 2}, .pad = {0, 2, 0, 2}}, 6, 9},
    {{.kernel = {4, 2}, .stride = {3, 1}, .pad = {3, 1, 1, 0}}, 5, 4},
    {{.kernel = {2, 2}, .stride = {2, 2}, .pad = {1, 1, 1, 1}, .ceil = true}, 3, 3},
    {{.kernel = {1, 3}, .stride = {2, 4}}, 3, 11}, /* columns that no window covers */
    {{.kernel = {16, 16}, .stride = {1, 1}}, 17, 16},
    {{.kernel = {3, 3}, .stride = {2, 2}, .ceil = true}, 2, 2},
    {{.global = true}, 7, 6},
    {{.global = true}, 1, 1},
};
enum { WINDOW_COUNT = sizeof WINDOWS / sizeof WINDOWS[0] };

static void max_pooling_follows_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < WINDOW_COUNT; i++) {
        wtl_layer_case c = {.ops = &wtl_maxpool_ops,
                            .def.as.pool = WINDOWS[i].o,
                            .in = {{1, WINDOWS[i].h, WINDOWS[i].w}}};
        /* sums of one value's gradients in the same order */
        check_channels(c, 0.0);
    }
}

static void equal_maxima_and_nans_go_where_the_reference_sends_them(void **state)
{
    (void)state;
    wtl_layer_case c = {.ops = &wtl_maxpool_ops,
                        .def.as.pool = {.kernel = {3, 3}, .stride = {2, 2}},
                        .in = {{17, 7, 7}},
                        .training = true};
    for (int isa = 0; isa < WTL_ISA_COUNT; isa++) {
        wtl_layer_harness *h[2];
        for (int which = 0; which < 2; which++) {
            c.engine = which ? WTL_ENGINE_REFERENCE : WTL_ENGINE_NATIVE;
            c.blocked = !which;
            c.isa = (wtl_isa)isa;
            h[which] = wtl_harness_create(&c);
            for (size_t i = 0; i < h[which]->x_count[0]; i++) {
                h[which]->x[0][i] = roundf(h[which]->x[0][i] * 2); /* ties */
            }
            h[which]->x[0][3 * 49 + 8] = NAN;
            h[which]->x[0][5 * 49 + 24] = NAN;
            h[which]->x[0][5 * 49 + 25] = NAN;
            for (int i = 0; i < 49; i++) {
                h[which]->x[0][6 * 49 + i] = -INFINITY;
            }
            wtl_harness_forward(h[which]);
            wtl_harness_backward(h[which]);
        }
        assert_memory_equal(h[0]->y, h[1]->y, h[0]->y_count * sizeof(float));
        assert_memory_equal(h[0]->dx[0], h[1]->dx[0], h[0]->x_count[0] * sizeof(float));
        wtl_harness_free(h[0]);
        wtl_harness_free(h[1]);
    }
}

static void windows_too_large_for_a_byte_are_not_run_in_blocks(void **state)
{
    (void)state;
    wtl_layer_def def = {.as.pool = {.global = true}};
    wtl_shape in = {16, 17, 16}, out = {16, 1, 1};
    assert_false(wtl_maxpool_ops.blocks(&def, &in, 1, out));
    in.h = 16;
    assert_true(wtl_maxpool_ops.blocks(&def, &in, 1, out));
}

static void average_pooling_follows_the_reference(void **state)
{
    (void)state;
    for (int i = 0; i < 2 * WINDOW_COUNT; i++) {
        wtl_layer_case c = {.ops = &wtl_avgpool_ops,
                            .def.as.pool = WINDOWS[i / 2].o,
                            .in = {{1, WINDOWS[i / 2].h, WINDOWS[i / 2].w}}};
        c.def.as.pool.count_pad = i % 2;
        check_channels(c, 1e-6); /* float sums of up to 256 values around 0 */
    }
    static const int adaptive[][4] = {{6, 6, 7, 7}, {4, 4, 14, 14}, {6, 3, 1, 2}, {1, 1, 5, 6}};
    for (int i = 0; i < 4; i++) {
        wtl_layer_case c = {.ops = &wtl_avgpool_ops,
                            .def.as.pool = {.adaptive = {adaptive[i][0], adaptive[i][1]}},
                            .in = {{1, adaptive[i][2], adaptive[i][3]}}};
        check_channels(c, 1e-6);
    }
}

/* ---- local response normalisation ---- */

static void lrn_windows_cross_blocks(void **state)
{
    (void)state;
    static const wtl_lrn_options options[] = {
        {5, 1e-4f, 0.75f, 1}, {5, 2, 0.75f, 2},  {3, 4, 0.75f, 0.5f}, {1, 1, 0.75f, 1},
        {7, 3, 0.5f, 1},      {35, 3, 0.75f, 2}, {9, 3, 1, 2},        {5, 1, 0, 3},
    };
    for (size_t i = 0; i < sizeof options / sizeof options[0]; i++) {
        wtl_layer_case c = {
            .ops = &wtl_lrn_ops, .def.as.lrn = options[i], .in = {{1, 3, i ? 7 : 131}}};
        /* some ten float roundings, and powf's own */
        check_channels(c, 2e-6);
    }
}

/* ---- batch normalisation ---- */

static void batchnorm_follows_the_reference(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {3, 3}, {7, 5}, {27, 28}};
    for (int i = 0; i < 4; i++) {
        for (int fused = 0; fused < 3; fused++) {
            wtl_layer_case c = {.ops = &wtl_batchnorm_ops,
                                .def.as.batchnorm = {1e-5f, 0.1f, fused != 1, {0}},
                                .in = {{1, sizes[i][0], sizes[i][1]}},
                                .fused = (wtl_activation)fused};
            check_channels(c, 2e-5); /* as of the BLAS engine: d is up to 300 */
        }
    }
}

static void batchnorm_gives_the_same_bytes_with_any_threads(void **state)
{
    (void)state;
    for (int channels = 16; channels <= 64; channels += 24) {
        wtl_layer_case c = {.ops = &wtl_batchnorm_ops,
                            .def.as.batchnorm = {1e-5f, 0.1f, true, {0}},
                            .in = {{channels, 27, 28}},
                            .batch = 5,
                            .engine = WTL_ENGINE_NATIVE,
                            .blocked = true,
                            .training = true};
        wtl_harness_check_threads(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(max_pooling_follows_the_reference),
        WTL_TEST(equal_maxima_and_nans_go_where_the_reference_sends_them),
        WTL_TEST(windows_too_large_for_a_byte_are_not_run_in_blocks),
        WTL_TEST(average_pooling_follows_the_reference),
        WTL_TEST(lrn_windows_cross_blocks),
        WTL_TEST(batchnorm_follows_the_reference),
        WTL_TEST(batchnorm_gives_the_same_bytes_with_any_threads),
    };
    return WTL_RUN("blocked", tests);
}
