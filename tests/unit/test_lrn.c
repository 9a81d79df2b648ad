/* LRN across channels: values by hand, the formulas in double, central differences. */
#include "layer_harness.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE};

static wtl_layer_case lrn(wtl_lrn_options o, wtl_shape in, wtl_engine engine)
{
    return (wtl_layer_case){
        .ops = &wtl_lrn_ops, .def.as.lrn = o, .in = {in}, .training = true, .engine = engine};
}

static void forward_and_backward_give_the_hand_worked_values(void **state)
{
    (void)state;
    /* alpha/size = 1: s = 7 + 9 = 16, 7 + 18 = 25, 16, and 16^-0.75 = 1/8.
     * dx0 = dy0/8 - 2*0.75*3 * dy0*(3/8)/16 = dy0 * 2.5/128; the middle x is 0. */
    static const float x[3] = {3, 0, 3}, dy[3] = {128, 0, 64};
    static const float y[3] = {0.375f, 0, 0.375f}, dx[3] = {2.5f, 0, 1.25f};
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c =
            lrn((wtl_lrn_options){3, 3, 0.75f, 7}, (wtl_shape){3, 1, 1}, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->x[0], x, sizeof x);
        memcpy(h->dy, dy, sizeof dy);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->y, y, 3, 0.0);
        assert_all_close(h->dx[0], dx, 3, 0.0);
        wtl_harness_free(h);
    }
}

/* One pixel's channels, `step` apart. */
static void define(const wtl_lrn_options *o, int channels, int step, const float *x,
                   const float *dy, double *y, double *dx)
{
    double s[128];
    assert_true(channels <= 128);
    for (int c = 0; c < channels; c++) {
        s[c] = o->k;
        for (int j = 0; j < channels; j++) {
            if (abs(j - c) <= (o->size - 1) / 2) {
                s[c] += (double)o->alpha / o->size * x[j * step] * x[j * step];
            }
        }
        y[c] = x[c * step] * pow(s[c], -o->beta);
    }
    for (int c = 0; c < channels; c++) {
        dx[c] = dy[c * step] * pow(s[c], -o->beta);
        for (int j = 0; j < channels; j++) {
            if (abs(j - c) <= (o->size - 1) / 2) {
                dx[c] -= 2.0 * o->alpha / o->size * o->beta * x[c * step] * dy[j * step] *
                         y[j] / s[j];
            }
        }
    }
}

static void both_engines_follow_the_definition(void **state)
{
    (void)state;
    static const struct {
        wtl_lrn_options o;
        wtl_shape in;
    } table[] = {
        {{5, 1e-4f, 0.75f, 1}, {12, 3, 5}}, {{5, 2, 0.75f, 2}, {96, 1, 2}},
        {{3, 4, 0.75f, 0.5f}, {5, 5, 13}}, /* one pixel more than a block */
        {{3, 4, 0.75f, 1}, {2, 8, 8}},      {{1, 1, 0.75f, 1}, {3, 9, 7}},
        {{7, 3, 0.5f, 1}, {4, 3, 3}}, /* wider than the channels on either side */
        {{9, 3, 1, 2}, {3, 2, 2}},          {{3, 0, 0.75f, 1}, {1, 1, 1}},
        {{5, 1, 0, 3}, {6, 1, 130}},
    };
    for (size_t t = 0; t < 2 * sizeof table / sizeof table[0]; t++) {
        wtl_layer_case c = lrn(table[t / 2].o, table[t / 2].in, ENGINES[t % 2]);
        c.batch = 2;
        wtl_layer_harness *h = wtl_harness_create(&c);
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        int channels = c.in[0].c, pixels = c.in[0].h * c.in[0].w;
        for (int at = 0; at < 2 * pixels; at++) {
            int first = at / pixels * channels * pixels + at % pixels;
            double y[128], dx[128];
            define(&c.def.as.lrn, channels, pixels, h->x[0] + first, h->dy + first, y, dx);
            for (int k = 0; k < channels; k++) {
                /* some ten float roundings, and powf's own */
                assert_close(h->y[first + k * pixels], y[k], 1e-6 * fmax(1, fabs(y[k])));
                assert_close(h->dx[0][first + k * pixels], dx[k], 2e-6 * fmax(1, fabs(dx[k])));
            }
        }
        wtl_harness_free(h);
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c =
            lrn((wtl_lrn_options){3, 2, 0.75f, 1}, (wtl_shape){4, 2, 3}, ENGINES[e]);
        c.batch = 2;
        /* y to 6e-8 over 2e-2; the third derivative times 1e-4 / 6 */
        wtl_harness_check_gradients(&c, 1e-2, 2e-4);
        c.def.as.lrn.beta = 0.6f;
        wtl_harness_check_gradients(&c, 1e-2, 2e-4);
    }
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    static const int images[] = {1, 2, 3, 5};
    for (int i = 0; i < 4; i++) {
        wtl_layer_case c = lrn((wtl_lrn_options){5, 1e-1f, 0.75f, 1},
                               (wtl_shape){44 / images[i] + 1, 27, 29}, WTL_ENGINE_BLAS);
        c.batch = 5;
        c.n = images[i];
        wtl_harness_check_threads(&c);
    }
}

static void inference_needs_no_memory_and_gives_the_same(void **state)
{
    (void)state;
    wtl_layer_case c =
        lrn((wtl_lrn_options){5, 1, 0.75f, 1}, (wtl_shape){8, 9, 9}, WTL_ENGINE_BLAS);
    wtl_layer_harness *trained = wtl_harness_create(&c);
    c.training = false;
    wtl_layer_harness *h = wtl_harness_create(&c);
    assert_int_equal(h->plan.scratch_bytes, 0);
    assert_int_equal(h->plan.saved_bytes, 0);
    wtl_harness_forward(h);
    wtl_harness_forward(trained);
    assert_all_close(h->y, trained->y, h->y_count, 0.0);
    wtl_harness_free(h);
    wtl_harness_free(trained);
}

static void a_nan_reaches_the_channels_around_it_alone(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c =
            lrn((wtl_lrn_options){3, 1, 0.75f, 1}, (wtl_shape){5, 1, 1}, ENGINES[e]);
        wtl_layer_harness *h = wtl_harness_create(&c);
        h->x[0][1] = NAN;
        wtl_harness_forward(h);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(isnan(h->y[i]) != 0, i < 3);
        }
        wtl_harness_free(h);
    }
}

static void an_even_window_is_refused(void **state)
{
    (void)state;
    wtl_layer_case c =
        lrn((wtl_lrn_options){4, 1, 0.75f, 1}, (wtl_shape){5, 1, 1}, WTL_ENGINE_BLAS);
    wtl_error err;
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err, "size is 4, must be odd");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(forward_and_backward_give_the_hand_worked_values),
        WTL_TEST(both_engines_follow_the_definition),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(results_do_not_depend_on_threads),
        WTL_TEST(inference_needs_no_memory_and_gives_the_same),
        WTL_TEST(a_nan_reaches_the_channels_around_it_alone),
        WTL_TEST(an_even_window_is_refused),
    };
    return WTL_RUN("lrn", tests);
}
