/* test_concat_zeros.c - concat with channels of zeros: ResNet's shortcut without parameters. */
#include "layer_harness.h"

#include <string.h>

static wtl_layer_case two_maps(wtl_engine engine)
{
    return (wtl_layer_case){
        .ops = &wtl_concat_ops,
        .def.as.concat.zeros = 2,
        .in = {{1, 1, 2}, {2, 1, 2}},
        .input_count = 2,
        .batch = 2,
        .threads = 2,
        .engine = engine,
        .training = true,
    };
}

static void zeros_stand_behind_the_inputs_of_every_image(void **state)
{
    (void)state;
    static const float a[4] = {1, 2, 3, 4}, b[8] = {5, 6, 7, 8, 9, 10, 11, 12};
    static const float want[20] = {1, 2, 5, 6,  7,  8,  0, 0, 0, 0,
                                   3, 4, 9, 10, 11, 12, 0, 0, 0, 0};
    for (int engine = 0; engine < WTL_ENGINE_COUNT; engine++) {
        wtl_layer_case c = two_maps((wtl_engine)engine);
        wtl_layer_harness *h = wtl_harness_create(&c);
        assert_int_equal(h->y_count, 20);
        memcpy(h->x[0], a, sizeof a);
        memcpy(h->x[1], b, sizeof b);
        wtl_harness_forward(h);
        assert_all_close(h->y, want, 20, 0.0);
        wtl_harness_free(h);
    }
}

static void gradients_of_the_zeros_go_nowhere(void **state)
{
    (void)state;
    static const float dy[20] = {1,  2,  3,  4,  5,  6,  90, 91, 92, 93,
                                 11, 12, 13, 14, 15, 16, 94, 95, 96, 97};
    static const float want_a[4] = {1, 2, 11, 12}, want_b[8] = {3, 4, 5, 6, 13, 14, 15, 16};
    wtl_layer_case c = two_maps(WTL_ENGINE_BLAS);
    wtl_layer_harness *h = wtl_harness_create(&c);
    memcpy(h->dy, dy, sizeof dy);
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    assert_all_close(h->dx[0], want_a, 4, 0.0);
    assert_all_close(h->dx[1], want_b, 8, 0.0);
    wtl_harness_free(h);
}

static void one_input_will_do_and_too_many_channels_will_not(void **state)
{
    (void)state;
    wtl_layer_case c = {.ops = &wtl_concat_ops, .def.as.concat.zeros = 16, .in = {{16, 8, 8}}};
    wtl_shape out;
    wtl_error err;
    assert_ok(wtl_harness_plan(&c, &out, &err));
    assert_int_equal(out.c, 32);
    assert_int_equal(out.h, 8);
    c.in[0] = (wtl_shape){2147483647, 1, 1};
    assert_fails(wtl_harness_plan(&c, &out, &err), WTL_E_SHAPE, &err,
                 "more than 2147483647 channels together");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(zeros_stand_behind_the_inputs_of_every_image),
        WTL_TEST(gradients_of_the_zeros_go_nowhere),
        WTL_TEST(one_input_will_do_and_too_many_channels_will_not),
    };
    return WTL_RUN("concat_zeros", tests);
}
