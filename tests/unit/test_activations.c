/* ReLU and ReLU6. */
#include "layer_harness.h"

#include <math.h>
#include <string.h>

static wtl_layer_case rectifier(const wtl_layer_ops *ops, wtl_shape in, int batch)
{
    return (wtl_layer_case){.ops = ops, .in = {in}, .batch = batch, .training = true};
}

static void values_and_gradients_are_as_written(void **state)
{
    (void)state;
    static const float x[8] = {-2, 0, 3, 6, 7, -INFINITY, INFINITY, 0.5f};
    static const float dy[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const float relu[7] = {0, 0, 3, 6, 7, 0}, relu6[8] = {0, 0, 3, 6, 6, 0, 6, 0.5f};
    static const float drelu[8] = {0, 0, 3, 4, 5, 0, 7, 8},
                       drelu6[8] = {0, 0, 3, 0, 0, 0, 0, 8};
    for (int six = 0; six < 2; six++) {
        wtl_layer_case c =
            rectifier(six ? &wtl_relu6_ops : &wtl_relu_ops, (wtl_shape){2, 2, 2}, 1);
        wtl_layer_harness *h = wtl_harness_create(&c);
        assert_int_equal(h->y_count, 8);
        memcpy(h->x[0], x, sizeof x);
        memcpy(h->dy, dy, sizeof dy);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->y, six ? relu6 : relu, 6, 0.0);
        assert_true(h->y[6] == (six ? 6.0f : INFINITY) && h->y[7] == 0.5f);
        assert_all_close(h->dx[0], six ? drelu6 : drelu, 8, 0.0);
        wtl_harness_free(h);
    }
}

static void a_nan_stays_one(void **state)
{
    (void)state;
    for (int six = 0; six < 2; six++) {
        wtl_layer_case c =
            rectifier(six ? &wtl_relu6_ops : &wtl_relu_ops, (wtl_shape){1, 1, 37}, 1);
        for (int at = 0; at < 37; at++) { /* in vector code and beside it */
            wtl_layer_harness *h = wtl_harness_create(&c);
            h->x[0][at] = NAN;
            wtl_harness_forward(h);
            for (int i = 0; i < 37; i++) {
                assert_int_equal(isnan(h->y[i]) != 0, i == at);
            }
            wtl_harness_free(h);
        }
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    wtl_layer_case c = rectifier(&wtl_relu_ops, (wtl_shape){3, 4, 5}, 2);
    c.key = 1; /* no value within the step of 0 */
    wtl_harness_check_gradients(&c, 1e-4, 2e-3);
    c.ops = &wtl_relu6_ops;
    wtl_harness_check_gradients(&c, 1e-4, 2e-3);
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n += n < 3 ? 1 : 2) {
        wtl_layer_case c = rectifier(&wtl_relu_ops, (wtl_shape){44 / n + 1, 27, 29}, 5);
        c.n = n;
        wtl_harness_check_threads(&c);
        c.ops = &wtl_relu6_ops;
        wtl_harness_check_threads(&c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(values_and_gradients_are_as_written),
        WTL_TEST(a_nan_stays_one),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(results_do_not_depend_on_threads),
    };
    return WTL_RUN("activations", tests);
}
