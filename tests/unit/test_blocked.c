/* Layers on maps in blocks of channels against the reference engine, whose own tests hold it to
 * the definitions: channels that fill blocks and that do not, every instruction set, threads. */
#include "layer_harness.h"

#include <math.h>
#include <string.h>

static const int CHANNELS[] = {1, 5, 16, 17, 40};
enum { CHANNEL_COUNT = sizeof CHANNELS / sizeof CHANNELS[0] };

/* In training with all channels, at inference with some; large maps, which threads share, with
 * the most channels alone. */
static void check_channels(wtl_layer_case c, double tolerance)
{
    int h = c.in[0].h, w = c.in[0].w;
    c.batch = 3;
    for (int i = h * w > 200 ? CHANNEL_COUNT - 1 : 0; i < CHANNEL_COUNT; i++) {
        for (int input = 0; input < WTL_HARNESS_INPUTS; input++) {
            c.in[input] = (wtl_shape){CHANNELS[i], h, w};
        }
        c.key = (unsigned)i;
        c.n = 3;
        c.training = true;
        wtl_harness_check_blocked(&c, tolerance);
        c.n = 2;
        c.training = false;
        if (CHANNELS[i] > 16) {
            wtl_harness_check_blocked(&c, tolerance);
        }
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
    for (int i = 0; i < WINDOW_COUNT; i++) {
        wtl_layer_case c = {.ops = &wtl_avgpool_ops,
                            .def.as.pool = WINDOWS[i].o,
                            .in = {{1, WINDOWS[i].h, WINDOWS[i].w}}};
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

/* ---- depthwise convolution ---- */

static void depthwise_convolution_follows_the_reference(void **state)
{
    (void)state;
    static const struct {
        int h, w;
        wtl_conv_options o;
    } table[] = {
        {1, 1, {.kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}}},
        {7, 6, {.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}, .dilation = {1, 1}}},
        {27, 28, {.kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}, .dilation = {1, 1}}},
        {28, 27, {.kernel = {3, 3}, .stride = {2, 2}, .pad = {1, 1, 1, 1}, .dilation = {1, 1}}},
        {28, 28, {.kernel = {3, 3}, .stride = {2, 2}, .pad = {0, 1, 0, 1}, .dilation = {1, 1}}},
        {7, 6, {.kernel = {3, 2}, .stride = {2, 1}, .pad = {0, 1, 2, 0}, .dilation = {1, 1}}},
        {8, 9, {.kernel = {3, 3}, .stride = {2, 3}, .pad = {1, 0, 0, 2}, .dilation = {1, 1}}},
        {9, 8, {.kernel = {2, 3}, .stride = {1, 2}, .pad = {3, 1, 0, 1}, .dilation = {3, 2}}},
        {9, 12, {.kernel = {3, 3}, .stride = {2, 3}, .pad = {2, 2, 4, 1}, .dilation = {2, 2}}},
        {9, 12, {.kernel = {3, 3}, .stride = {6, 4}, .pad = {9, 9, 9, 9}, .dilation = {4, 6}}},
        {2, 2, {.kernel = {2, 2}, .stride = {1, 1}, .pad = {4, 3, 3, 4}, .dilation = {1, 1}}},
        {1, 20, {.kernel = {1, 5}, .stride = {1, 4}, .pad = {0, 0, 2, 2}, .dilation = {1, 1}}},
        {20, 1, {.kernel = {5, 1}, .stride = {7, 1}, .dilation = {2, 1}}},
        {10, 10, {.kernel = {2, 2}, .stride = {3, 3}, .dilation = {1, 1}}},
        {4, 5, {.kernel = {1, 1}, .stride = {3, 3}, .dilation = {1, 1}}},
        {14, 15, {.kernel = {9, 9}, .stride = {1, 1}, .pad = {4, 4, 4, 4}, .dilation = {1, 1}}},
        {3, 3, {.kernel = {5, 5}, .stride = {1, 1}, .pad = {2, 2, 2, 2}, .dilation = {1, 1}}},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        wtl_layer_case c = {.ops = &wtl_depthwise_ops,
                            .def.as.conv = table[i].o,
                            .in = {{1, table[i].h, table[i].w}},
                            .fused = (wtl_activation)(i % 3)};
        c.def.as.conv.bias = i % 2;
        /* sums of up to 2300 products in float, each below 1 */
        check_channels(c, 2e-5);
    }
}

static void depthwise_first_layers_have_no_gradient_of_x(void **state)
{
    (void)state;
    wtl_layer_case c = {.ops = &wtl_depthwise_ops,
                        .def.as.conv = {.kernel = {3, 3}, .stride = {1, 1}, .dilation = {1, 1}},
                        .in = {{17, 6, 7}},
                        .training = true,
                        .no_input_gradient = true};
    wtl_harness_check_blocked(&c, 2e-5);
}

static void depthwise_gradients_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int channels = 16; channels <= 40; channels += 24) {
        wtl_layer_case c = {.ops = &wtl_depthwise_ops,
                            .def.as.conv = {.kernel = {3, 3},
                                            .stride = {1, 1},
                                            .pad = {1, 1, 1, 1},
                                            .dilation = {1, 1},
                                            .bias = true},
                            .in = {{channels, 27, 28}},
                            .batch = 5,
                            .engine = WTL_ENGINE_NATIVE,
                            .blocked = true,
                            .training = true};
        wtl_harness_check_threads(&c);
    }
}

/* ---- value by value ---- */

static void elementwise_layers_follow_the_reference(void **state)
{
    (void)state;
    static const int sizes[][2] = {{1, 1}, {7, 5}, {27, 28}};
    for (int i = 0; i < 3; i++) {
        wtl_layer_case c = {.ops = &wtl_relu_ops, .in = {{1, sizes[i][0], sizes[i][1]}}};
        check_channels(c, 0.0);
        c.ops = &wtl_relu6_ops;
        check_channels(c, 0.0);
        c.ops = &wtl_dropout_ops;
        c.def.as.dropout.rate = 0.75f;
        check_channels(c, 0.0);
        c.ops = &wtl_add_ops;
        c.input_count = 2;
        check_channels(c, 0.0);
        c.input_count = 4;
        c.fused = WTL_ACTIVATION_RELU;
        check_channels(c, 0.0);
    }
}

static void concat_joins_whole_blocks(void **state)
{
    (void)state;
    for (int last = 1; last <= 32; last += 31) {
        for (int zeros = 0; zeros <= (last == 32 ? 20 : 0); zeros += 4) {
            wtl_layer_case c = {.ops = &wtl_concat_ops,
                                .def.as.concat.zeros = zeros,
                                .in = {{16, 17, 9}, {48, 17, 9}, {last, 17, 9}},
                                .input_count = 3,
                                .batch = 3,
                                .training = true};
            wtl_harness_check_blocked(&c, 0.0);
        }
    }
}

static void concat_takes_parts_that_begin_with_a_block(void **state)
{
    (void)state;
    wtl_layer_def def = {0};
    wtl_shape in[2] = {{32, 1, 1}, {17, 1, 1}}, out = {49, 1, 1};
    assert_true(wtl_concat_ops.blocks(&def, in, 2, out));
    def.as.concat.zeros = 1;
    assert_false(wtl_concat_ops.blocks(&def, in, 2, out));
    def.as.concat.zeros = 0;
    in[0].c = 31;
    assert_false(wtl_concat_ops.blocks(&def, in, 2, out));
}

/* Inputs and gradients inside the concatenation: nothing may move. */
static void concat_leaves_what_is_in_place(void **state)
{
    (void)state;
    enum { PIXELS = 3, IMAGE = 48 * PIXELS };
    wtl_layer_def def = {.kind = WTL_LAYER_CONCAT};
    wtl_shape in[2] = {{16, 1, PIXELS}, {32, 1, PIXELS}};
    wtl_layer_plan plan = {.in = in,
                           .input_count = 2,
                           .out = {48, 1, PIXELS},
                           .batch = 2,
                           .threads = 1,
                           .blocked_in = true,
                           .blocked_out = true,
                           .training = true};
    wtl_error err;
    char state_of_layer[2048];
    assert_true(wtl_concat_ops.state_bytes <= sizeof state_of_layer);
    memset(state_of_layer, 0, sizeof state_of_layer);
    assert_ok(wtl_concat_ops.setup(state_of_layer, &def, &plan, &err));
    float y[2 * IMAGE], before[2 * IMAGE];
    wtl_fill_random(y, 2 * IMAGE, 1);
    memcpy(before, y, sizeof y);
    size_t images[2] = {IMAGE, IMAGE};
    wtl_layer_run run = {.n = 2,
                         .threads = 1,
                         .x_image = images,
                         .dx_image = images,
                         .y_image = IMAGE,
                         .dy_image = IMAGE};
    const float *x[2] = {y, y + 16 * PIXELS};
    float *dx[2] = {y, y + 16 * PIXELS};
    wtl_concat_ops.forward(state_of_layer, &run, x, y);
    wtl_concat_ops.backward(state_of_layer, &run, x, y, y, dx);
    assert_memory_equal(y, before, sizeof y);
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
        WTL_TEST(depthwise_convolution_follows_the_reference),
        WTL_TEST(depthwise_first_layers_have_no_gradient_of_x),
        WTL_TEST(depthwise_gradients_do_not_depend_on_threads),
        WTL_TEST(elementwise_layers_follow_the_reference),
        WTL_TEST(concat_joins_whole_blocks),
        WTL_TEST(concat_takes_parts_that_begin_with_a_block),
        WTL_TEST(concat_leaves_what_is_in_place),
    };
    return WTL_RUN("blocked", tests);
}
