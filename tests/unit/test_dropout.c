/* Dropout: the mask is the one the header of dropout.c describes, whatever the threads. */
#include "layer_harness.h"

#include "wattle/rng.h"

#include <math.h>
#include <string.h>

static wtl_layer_case dropout(float rate, wtl_shape in, int batch)
{
    return (wtl_layer_case){.ops = &wtl_dropout_ops,
                            .def.as.dropout.rate = rate,
                            .in = {in},
                            .batch = batch,
                            .training = true};
}

static bool kept(uint64_t seed, uint64_t step, uint32_t layer, size_t i, double rate)
{
    wtl_rng stream = wtl_rng_make(seed, WTL_RNG_DROPOUT, step, layer);
    uint32_t words[4];
    wtl_rng_block(&stream, (uint32_t)(i / 4), words);
    return words[i % 4] >= floor(rate * 4294967296.0);
}

static void kept_values_are_scaled_and_the_others_zero(void **state)
{
    (void)state;
    for (int n = 1; n <= 3; n++) { /* 21, 42 and 63 values: blocks are cut off, too */
        wtl_layer_case c = dropout(0.75f, (wtl_shape){7, 1, 3}, 3);
        c.n = n;
        wtl_layer_harness *h = wtl_harness_create(&c);
        h->run.seed = 11;
        h->run.step = 5000000000u;
        h->run.layer = 3;
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        int count = 0;
        for (size_t i = 0; i < h->y_count; i++) {
            bool keep = kept(11, 5000000000u, 3, i, 0.75);
            count += keep;
            assert_close(h->y[i], keep ? h->x[0][i] * 4 : 0, 0.0);
            assert_close(h->dx[0][i], keep ? h->dy[i] * 4 : 0, 0.0);
        }
        assert_true(count > 0 && (size_t)count < h->y_count);
        assert_int_equal(h->plan.saved_bytes, 63);
        wtl_harness_free(h);
    }
}

static int kept_count(wtl_layer_harness *h)
{
    int count = 0;
    for (size_t i = 0; i < h->x_count[0]; i++) {
        h->x[0][i] = 1;
    }
    wtl_harness_forward(h);
    for (size_t i = 0; i < h->y_count; i++) {
        count += h->y[i] != 0;
    }
    return count;
}

static void the_rate_is_the_share_of_zeros(void **state)
{
    (void)state;
    static const float rates[] = {0.2f, 0.4f, 0.5f, 0.7f};
    for (int r = 0; r < 4; r++) {
        wtl_layer_case c = dropout(rates[r], (wtl_shape){1 << 12, 4, 4}, 1);
        wtl_layer_harness *h = wtl_harness_create(&c);
        double want = (1 - (double)rates[r]) * 65536;
        /* 5 standard deviations: fails for one seed in two million */
        assert_close(kept_count(h), want, 5 * sqrt(want * (double)rates[r]));
        assert_int_equal(kept_count(h), kept_count(h));
        wtl_harness_free(h);
    }
}

static void seed_step_and_layer_each_change_the_mask(void **state)
{
    (void)state;
    wtl_layer_case c = dropout(0.5f, (wtl_shape){1024, 1, 1}, 1);
    wtl_layer_harness *h = wtl_harness_create(&c);
    float first[1024];
    wtl_harness_forward(h);
    memcpy(first, h->y, sizeof first);
    for (int what = 0; what < 3; what++) {
        h->run.seed = what == 0 ? 2 : 1;
        h->run.step = what == 1;
        h->run.layer = what == 2;
        wtl_harness_forward(h);
        int same = 0;
        for (int i = 0; i < 1024; i++) {
            same += (first[i] == 0) == (h->y[i] == 0);
        }
        assert_close(same, 512, 5 * 16); /* independent: half, within 5 deviations */
    }
    wtl_harness_free(h);
}

static void inference_and_rate_zero_pass_values_through(void **state)
{
    (void)state;
    assert_true(wtl_dropout_ops.alias_at_inference);
    for (int training = 0; training < 2; training++) {
        wtl_layer_case c = dropout(training ? 0.0f : 0.9f, (wtl_shape){5, 3, 3}, 2);
        wtl_layer_harness *h = wtl_harness_create(&c);
        h->run.training = training;
        wtl_harness_forward(h);
        assert_all_close(h->y, h->x[0], h->y_count, 0.0);
        if (training) {
            wtl_harness_backward(h);
            assert_all_close(h->dx[0], h->dy, h->y_count, 0.0);
        }
        wtl_harness_free(h);
    }
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    for (int n = 1; n <= 5; n += n < 3 ? 1 : 2) {
        wtl_layer_case c = dropout(0.5f, (wtl_shape){44 / n + 1, 27, 29}, 5);
        c.n = n;
        wtl_harness_check_threads(&c);
    }
}

static void what_cannot_be_dropped_is_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_layer_case c = dropout(1.0f, (wtl_shape){4, 1, 1}, 1);
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "rate is 1, must be below 1");
    c = dropout(0.5f, (wtl_shape){1 << 10, 1 << 10, 1 << 10}, 17);
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "a batch of 17 has more than 2^34 values");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(kept_values_are_scaled_and_the_others_zero),
        WTL_TEST(the_rate_is_the_share_of_zeros),
        WTL_TEST(seed_step_and_layer_each_change_the_mask),
        WTL_TEST(inference_and_rate_zero_pass_values_through),
        WTL_TEST(results_do_not_depend_on_threads),
        WTL_TEST(what_cannot_be_dropped_is_refused),
    };
    return WTL_RUN("dropout", tests);
}
