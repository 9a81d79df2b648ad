/* Concat, add, flatten and the input: layers that only move values about. */
#include "layer_harness.h"

#include <limits.h>
#include <math.h>
#include <string.h>

static void concat_puts_channels_behind_each_other(void **state)
{
    (void)state;
    wtl_layer_case c = {.ops = &wtl_concat_ops,
                        .in = {{1, 1, 2}, {2, 1, 2}, {1, 1, 2}},
                        .input_count = 3,
                        .batch = 3,
                        .n = 2,
                        .training = true};
    static const float a[4] = {1, 2, 3, 4}, b[8] = {11, 12, 13, 14, 15, 16, 17, 18};
    static const float d[4] = {21, 22, 23, 24};
    static const float y[16] = {1, 2, 11, 12, 13, 14, 21, 22, 3, 4, 15, 16, 17, 18, 23, 24};
    static const float da[4] = {0, 1, 8, 9}, db[8] = {2, 3, 4, 5, 10, 11, 12, 13};
    static const float dd[4] = {6, 7, 14, 15};
    wtl_layer_harness *h = wtl_harness_create(&c);
    assert_int_equal(h->plan.out.c, 4);
    assert_int_equal(h->plan.out.h, 1);
    assert_int_equal(h->plan.out.w, 2);
    memcpy(h->x[0], a, sizeof a);
    memcpy(h->x[1], b, sizeof b);
    memcpy(h->x[2], d, sizeof d);
    for (int i = 0; i < 16; i++) {
        h->dy[i] = (float)i;
    }
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    assert_all_close(h->y, y, 16, 0.0);
    assert_all_close(h->dx[0], da, 4, 0.0);
    assert_all_close(h->dx[1], db, 8, 0.0);
    assert_all_close(h->dx[2], dd, 4, 0.0);
    wtl_harness_free(h);
}

static void concat_takes_one_input_or_as_many_as_the_table_says(void **state)
{
    (void)state;
    wtl_layer_case c = {
        .ops = &wtl_concat_ops, .in = {{3, 2, 2}}, .batch = 2, .training = true};
    wtl_layer_harness *h = wtl_harness_create(&c);
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    assert_all_close(h->y, h->x[0], 24, 0.0);
    assert_all_close(h->dx[0], h->dy, 24, 0.0);
    wtl_harness_free(h);

    enum { MOST = 64 };
    wtl_shape in[MOST + 1], out;
    float values[MOST], y[MOST];
    const float *x[MOST];
    for (int i = 0; i <= MOST; i++) {
        in[i] = (wtl_shape){1, 1, 1};
    }
    for (int i = 0; i < MOST; i++) {
        values[i] = (float)i;
        x[i] = &values[i];
    }
    wtl_error err;
    wtl_layer_def def = {0};
    double room[256];
    assert_true(wtl_concat_ops.state_bytes <= sizeof room);
    assert_int_equal(wtl_concat_ops.most_inputs, MOST);
    assert_ok(wtl_concat_ops.shape(&def, in, MOST, &out, &err));
    wtl_layer_plan plan = {.in = in, .input_count = MOST, .out = out, .batch = 1, .threads = 1};
    assert_ok(wtl_concat_ops.setup(room, &def, &plan, &err));
    wtl_layer_run run = {.n = 1, .threads = 1};
    wtl_fill_nan(y, MOST);
    wtl_concat_ops.forward(room, &run, x, y);
    assert_all_close(y, values, MOST, 0.0);
    plan.input_count = MOST + 1;
    assert_fails(wtl_concat_ops.setup(room, &def, &plan, &err), WTL_E_RANGE, &err,
                 "65 inputs, at most 64 are possible");
}

static void add_sums_and_passes_the_gradient_to_each(void **state)
{
    (void)state;
    static const float x[3][4] = {{1, -2, 3, -4}, {10, 20, -30, 40}, {100, -200, -300, 400}};
    static const float two[4] = {11, 18, -27, 36}, three[4] = {111, -182, -327, 436};
    static const float relu[4] = {111, 0, 0, 436}, relu6[4] = {6, 0, 0, 6};
    const float *wants[] = {two, three, relu, relu6};
    for (int t = 0; t < 4; t++) {
        wtl_layer_case c = {.ops = &wtl_add_ops,
                            .in = {{2, 1, 1}, {2, 1, 1}, {2, 1, 1}},
                            .input_count = t == 0 ? 2 : 3,
                            .batch = 2,
                            .training = true,
                            .fused = t < 2 ? WTL_ACTIVATION_NONE : (wtl_activation)(t - 1)};
        wtl_layer_harness *h = wtl_harness_create(&c);
        for (int i = 0; i < c.input_count; i++) {
            memcpy(h->x[i], x[i], sizeof x[i]);
        }
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->y, wants[t], 4, 0.0);
        for (int i = 0; i < c.input_count; i++) {
            assert_all_close(h->dx[i], h->dy, 4, 0.0);
        }
        wtl_harness_free(h);
    }
}

static void inputs_without_gradient_are_left_alone(void **state)
{
    (void)state;
    const wtl_layer_ops *const kinds[] = {&wtl_add_ops, &wtl_concat_ops};
    for (int t = 0; t < 2; t++) {
        wtl_layer_case c = {
            .ops = kinds[t], .in = {{2, 3, 3}, {2, 3, 3}}, .input_count = 2, .training = true};
        wtl_layer_harness *h = wtl_harness_create(&c);
        float *first = h->dx[0];
        wtl_fill_nan(first, h->x_count[0]);
        h->dx[0] = NULL;
        wtl_harness_backward(h);
        assert_all_close(h->dx[1], t ? h->dy + 18 : h->dy, 18, 0.0);
        assert_true(isnan(first[0]) && isnan(first[17]));
        h->dx[0] = first;
        wtl_harness_free(h);
    }
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    static const int images[] = {1, 2, 3, 5};
    for (int i = 0; i < 8; i++) {
        int n = images[i % 4], channels = (i < 4 ? 44 : 15) / n + 1;
        wtl_layer_case c = {.ops = i < 4 ? &wtl_add_ops : &wtl_concat_ops,
                            .in = {{channels, 27, 29}, {channels, 27, 29}, {channels, 27, 29}},
                            .input_count = 3,
                            .batch = 5,
                            .n = n,
                            .training = true,
                            .fused = i < 4 ? WTL_ACTIVATION_RELU : WTL_ACTIVATION_NONE};
        wtl_harness_check_threads(&c);
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    wtl_layer_case c = {
        .ops = &wtl_add_ops, .in = {{2, 2, 3}, {2, 2, 3}}, .input_count = 2, .batch = 2};
    wtl_harness_check_gradients(&c, 0.5, 1e-5); /* linear: any step will do */
    c.ops = &wtl_concat_ops;
    wtl_harness_check_gradients(&c, 0.5, 1e-5);
}

static void flatten_keeps_the_values_where_they_are(void **state)
{
    (void)state;
    assert_true(wtl_flatten_ops.alias);
    wtl_layer_case c = {.ops = &wtl_flatten_ops, .in = {{256, 6, 7}}};
    wtl_shape out;
    wtl_error err;
    assert_ok(wtl_harness_plan(&c, &out, &err));
    assert_int_equal(out.c, 256 * 6 * 7);
    assert_int_equal(out.h, 1);
    assert_int_equal(out.w, 1);
}

static void the_input_has_the_size_it_is_given(void **state)
{
    (void)state;
    wtl_layer_case c = {.ops = &wtl_input_ops, .in = {{3, 5, 7}}};
    wtl_shape out;
    wtl_error err;
    assert_ok(wtl_harness_plan(&c, &out, &err));
    assert_int_equal(out.c, 3);
    assert_int_equal(out.h, 5);
    assert_int_equal(out.w, 7);
}

static void what_does_not_fit_together_is_refused(void **state)
{
    (void)state;
    static const struct {
        const wtl_layer_ops *ops;
        wtl_shape in[3];
        int input_count;
        const char *text;
    } table[] = {
        {&wtl_concat_ops,
         {{1, 4, 4}, {2, 4, 4}, {3, 4, 5}},
         3,
         "input 3 is 3x4x5, must be 4x4 as input 1"},
        {&wtl_concat_ops,
         {{1, 4, 4}, {2, 5, 4}},
         2,
         "input 2 is 2x5x4, must be 4x4 as input 1"},
        {&wtl_concat_ops,
         {{INT_MAX, 1, 1}, {1, 1, 1}},
         2,
         "more than 2147483647 channels together"},
        {&wtl_add_ops, {{2, 4, 4}, {3, 4, 4}}, 2, "input 2 is 3x4x4, must be 2x4x4 as input 1"},
        {&wtl_add_ops, {{2, 4, 4}, {2, 5, 4}}, 2, "input 2 is 2x5x4, must be 2x4x4 as input 1"},
        {&wtl_add_ops,
         {{2, 4, 4}, {2, 4, 4}, {2, 4, 3}},
         3,
         "input 3 is 2x4x3, must be 2x4x4 as input 1"},
        {&wtl_flatten_ops,
         {{2, 32768, 32768}},
         1,
         "input of 2x32768x32768 has more than 2147483647 values"},
        {&wtl_flatten_ops,
         {{1, 65536, 32768}},
         1,
         "input of 1x65536x32768 has more than 2147483647 values"},
    };
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        wtl_layer_case c = {.ops = table[t].ops, .input_count = table[t].input_count};
        memcpy(c.in, table[t].in, sizeof table[t].in);
        wtl_error err;
        assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err, table[t].text);
    }
    assert_int_equal(wtl_add_ops.least_inputs, 2);
    assert_int_equal(wtl_add_ops.most_inputs, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(concat_puts_channels_behind_each_other),
        WTL_TEST(concat_takes_one_input_or_as_many_as_the_table_says),
        WTL_TEST(add_sums_and_passes_the_gradient_to_each),
        WTL_TEST(inputs_without_gradient_are_left_alone),
        WTL_TEST(results_do_not_depend_on_threads),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(flatten_keeps_the_values_where_they_are),
        WTL_TEST(the_input_has_the_size_it_is_given),
        WTL_TEST(what_does_not_fit_together_is_refused),
    };
    return WTL_RUN("joins", tests);
}
