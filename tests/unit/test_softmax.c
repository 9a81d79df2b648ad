/* Softmax: a head, so backward passes through what the loss gives. */
#include "layer_harness.h"

#include <float.h>
#include <math.h>
#include <string.h>

static wtl_layer_case softmax(int k, int batch)
{
    return (wtl_layer_case){
        .ops = &wtl_softmax_ops, .in = {{k, 1, 1}}, .batch = batch, .training = true};
}

static void equal_logits_share_however_large(void **state)
{
    (void)state;
    static const float x[16] = {0,         0,        0,        0,       1000,      1000,
                                -INFINITY, -1000,    -9,       FLT_MAX, -INFINITY, 0,
                                -FLT_MAX,  -FLT_MAX, -FLT_MAX, -FLT_MAX};
    static const float y[16] = {0.25f, 0.25f, 0.25f, 0.25f, 0.5f,  0.5f,  0,     0,
                                0,     1,     0,     0,     0.25f, 0.25f, 0.25f, 0.25f};
    wtl_layer_case c = softmax(4, 4);
    wtl_layer_harness *h = wtl_harness_create(&c);
    memcpy(h->x[0], x, sizeof x);
    wtl_harness_forward(h);
    assert_all_close(h->y, y, 16, 0.0);
    wtl_harness_free(h);
}

static void forward_follows_the_definition(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 10, 1000};
    for (int t = 0; t < 4; t++) {
        int k = sizes[t];
        wtl_layer_case c = softmax(k, 5);
        c.n = 3;
        wtl_layer_harness *h = wtl_harness_create(&c);
        for (size_t i = 0; i < h->x_count[0]; i++) {
            h->x[0][i] = h->x[0][i] * 10 + (float)(i / (size_t)k) * 100;
        }
        wtl_harness_forward(h);
        for (int n = 0; n < 3; n++) {
            double sum = 0;
            for (int i = 0; i < k; i++) {
                sum += exp((double)h->x[0][n * k + i] - 100.0 * n);
            }
            for (int i = 0; i < k; i++) {
                double want = exp((double)h->x[0][n * k + i] - 100.0 * n) / sum;
                assert_close(h->y[n * k + i], want, 4e-6 * want); /* x - max, up to 20: 1e-6 */
            }
        }
        wtl_harness_free(h);
    }
}

static void a_nan_or_infinite_logit_spoils_its_own_image(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY};
    for (int t = 0; t < 6; t++) {
        wtl_layer_case c = softmax(3, 2);
        wtl_layer_harness *h = wtl_harness_create(&c);
        h->x[0][t % 3] = bad[t / 3];
        wtl_harness_forward(h);
        for (int i = 0; i < 6; i++) {
            assert_int_equal(isnan(h->y[i]) != 0, i < 3);
        }
        wtl_harness_free(h);
    }
}

static void backward_passes_the_gradient_through(void **state)
{
    (void)state;
    wtl_layer_case c = softmax(7, 5);
    c.n = 3;
    wtl_layer_harness *h = wtl_harness_create(&c);
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    assert_int_equal(h->y_count, 21);
    assert_all_close(h->dx[0], h->dy, 21, 0.0);
    wtl_harness_free(h);
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    wtl_layer_case c = softmax(1000, 34);
    wtl_harness_check_threads(&c);
}

static void a_map_is_refused(void **state)
{
    (void)state;
    wtl_layer_case c = softmax(10, 1);
    wtl_error err;
    c.in[0] = (wtl_shape){10, 1, 2};
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "input is 10x1x2, must be a vector of Kx1x1");
    c.in[0] = (wtl_shape){10, 3, 1};
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "input is 10x3x1, must be a vector of Kx1x1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(equal_logits_share_however_large),
        WTL_TEST(forward_follows_the_definition),
        WTL_TEST(a_nan_or_infinite_logit_spoils_its_own_image),
        WTL_TEST(backward_passes_the_gradient_through),
        WTL_TEST(results_do_not_depend_on_threads),
        WTL_TEST(a_map_is_refused),
    };
    return WTL_RUN("softmax", tests);
}
