/* Batch normalisation: values by hand, the definition in double, running statistics. */
#include "layer_harness.h"

#include <math.h>
#include <string.h>

static const wtl_engine ENGINES[] = {WTL_ENGINE_BLAS, WTL_ENGINE_REFERENCE};

static wtl_layer_case norm(wtl_shape in, int batch, wtl_engine engine)
{
    return (wtl_layer_case){
        .ops = &wtl_batchnorm_ops,
        .def.as.batchnorm = {.eps = 1e-5f, .momentum = 0.1f, .affine = true},
        .in = {in},
        .batch = batch,
        .training = true,
        .engine = engine};
}

/* Two channels of two pixels in two images. Channel 0: mean 2, variance 1, eps 3: d = 1/2.
 * Channel 1 is constant. */
static wtl_layer_harness *small(wtl_engine engine)
{
    static const float x[8] = {1, 3, 5, 5, 1, 3, 5, 5}, dy[8] = {1, 2, 1, 1, 3, 6, 1, 1};
    wtl_layer_case c = norm((wtl_shape){2, 1, 2}, 2, engine);
    c.def.as.batchnorm.eps = 3;
    c.def.as.batchnorm.momentum = 0.75f;
    wtl_layer_harness *h = wtl_harness_create(&c);
    memcpy(h->x[0], x, sizeof x);
    memcpy(h->dy, dy, sizeof dy);
    memcpy(h->value[0], (float[]){4, 7}, 8);
    memcpy(h->value[1], (float[]){10, -3}, 8);
    memcpy(h->value[2], (float[]){4, 1}, 8);
    memcpy(h->value[3], (float[]){8, 4}, 8);
    return h;
}

static void training_gives_the_hand_worked_values(void **state)
{
    (void)state;
    static const float y[8] = {8, 12, -3, -3, 8, 12, -3, -3};
    /* dx = 4/2 * (dy - 12/4 - u * 2/4), u = -0.5 and 0.5; channel 1: dy is its own mean */
    static const float dx[8] = {-3.5f, -2.5f, 0, 0, 0.5f, 5.5f, 0, 0};
    static const float dweight[2] = {100 + 2, 0}, dbias[2] = {12, 1000 + 4};
    /* 0.25 * 4 + 0.75 * 2; the unbiased variance of channel 0 is 4/3 */
    static const float mean[2] = {2.5f, 4}, var[2] = {3, 1};
    for (int e = 0; e < 2; e++) {
        wtl_layer_harness *h = small(ENGINES[e]);
        h->gradient[0][0] = 100;
        h->gradient[1][1] = 1000;
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_all_close(h->y, y, 8, 0.0);
        assert_all_close(h->dx[0], dx, 8, 0.0);
        assert_all_close(h->gradient[0], dweight, 2, 0.0);
        assert_all_close(h->gradient[1], dbias, 2, 0.0);
        assert_all_close(h->value[2], mean, 2, 0.0);
        assert_all_close(h->value[3], var, 2, 0.0);
        wtl_harness_free(h);
    }
}

static void inference_uses_the_running_statistics_and_leaves_them(void **state)
{
    (void)state;
    /* d = 1/sqrt(13 + 3) = 1/4: y = (x - 4) * 4/4 + 10; and 1/sqrt(1 + 3): (x-1)*7/2 - 3 */
    static const float y[8] = {7, 9, 11, 11, 7, 9, 11, 11};
    for (int e = 0; e < 2; e++) {
        wtl_layer_harness *h = small(ENGINES[e]);
        memcpy(h->value[3], (float[]){13, 1}, 8);
        h->run.training = false;
        wtl_harness_forward(h);
        assert_all_close(h->y, y, 8, 0.0);
        assert_all_close(h->value[2], ((float[]){4, 1}), 2, 0.0);
        assert_all_close(h->value[3], ((float[]){13, 1}), 2, 0.0);
        wtl_harness_free(h);
    }
}

static void recalibration_averages_the_batches(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        wtl_layer_harness *h = small(ENGINES[e]);
        h->value[2][0] = NAN; /* momentum 1 forgets anything */
        h->value[3][1] = NAN;
        h->run.stat_momentum = 1;
        wtl_harness_forward(h);
        for (int i = 0; i < 8; i++) {
            h->x[0][i] = h->x[0][i] * 3 - 1; /* mean 5 and 14, variance 9 and 0 */
        }
        h->run.stat_momentum = 0.5f;
        wtl_harness_forward(h);
        assert_all_close(h->value[2], ((float[]){3.5f, 9.5f}), 2, 0.0);
        assert_all_close(h->value[3], ((float[]){20.0f / 3, 0}), 2, 1e-7); /* (4/3 + 12) / 2 */
        h->run.stat_momentum = 0;
        wtl_harness_forward(h);
        assert_all_close(h->value[2], ((float[]){3.5f, 9.5f}), 2, 0.0);
        wtl_harness_free(h);
    }
}

static void without_scale_and_shift_the_statistics_come_first(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = norm((wtl_shape){1, 1, 2}, 2, ENGINES[e]);
        c.def.as.batchnorm = (wtl_batchnorm_options){.eps = 3, .momentum = 0.75f};
        wtl_layer_harness *h = wtl_harness_create(&c);
        memcpy(h->x[0], (float[]){1, 3, 1, 3}, 16);
        h->value[0][0] = 4;
        h->value[1][0] = 8;
        wtl_harness_forward(h);
        assert_all_close(h->y, ((float[]){-0.5f, 0.5f, -0.5f, 0.5f}), 4, 0.0);
        assert_close(h->value[0][0], 2.5, 0.0); /* as in the scaled layer above */
        assert_close(h->value[1][0], 3, 0.0);
        h->value[1][0] = 6; /* d = 1/3 */
        h->run.training = false;
        wtl_harness_forward(h);
        assert_all_close(h->y, ((float[]){-0.5f, 1 / 6.0f, -0.5f, 1 / 6.0f}), 4, 1e-7);
        wtl_harness_free(h);
    }
}

static void one_value_says_nothing_about_variance(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = norm((wtl_shape){1, 1, 1}, 1, ENGINES[e]);
        c.def.as.batchnorm.momentum = 0.5f;
        wtl_layer_harness *h = wtl_harness_create(&c);
        h->x[0][0] = 6;
        h->value[1][0] = 9;
        h->value[2][0] = 2;
        h->value[3][0] = 5;
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        assert_close(h->y[0], 9, 0.0);
        assert_close(h->dx[0][0], 0, 0.0);
        assert_close(h->value[2][0], 4, 0.0);
        assert_close(h->value[3][0], 5, 0.0);
        wtl_harness_free(h);
    }
}

/* The definition for one channel, two passes in double. */
static void check_channel(const wtl_layer_harness *h, int channel, double tolerance)
{
    const wtl_layer_case *c = &h->is;
    int pixels = c->in[0].h * c->in[0].w, m = c->n * pixels;
    bool affine = c->def.as.batchnorm.affine;
    double mean = 0, var = 0, sum = 0, product = 0;
    double weight = affine ? h->value[0][channel] : 1, bias = affine ? h->value[1][channel] : 0;
#define AT(i) (((i) / pixels * c->in[0].c + channel) * pixels + (i) % pixels)
    for (int i = 0; i < m; i++) {
        mean += (double)h->x[0][AT(i)] / m;
    }
    for (int i = 0; i < m; i++) {
        var += pow(h->x[0][AT(i)] - mean, 2) / m;
    }
    double d = 1 / sqrt(var + c->def.as.batchnorm.eps);
    for (int i = 0; i < m; i++) {
        double y = (h->x[0][AT(i)] - mean) * d * weight + bias;
        y = c->fused && y < 0 ? 0 : y;
        y = c->fused == WTL_ACTIVATION_RELU6 && y > 6 ? 6 : y;
        assert_close(h->y[AT(i)], y, tolerance * fmax(1, fabs(y)));
        sum += h->dy[AT(i)];
        product += h->dy[AT(i)] * (h->x[0][AT(i)] - mean) * d;
    }
    for (int i = 0; i < m; i++) {
        double u = (h->x[0][AT(i)] - mean) * d;
        double dx = weight * d * (h->dy[AT(i)] - sum / m - u * product / m);
        assert_close(h->dx[0][AT(i)], dx, tolerance * fmax(1, weight * d));
    }
#undef AT
    if (affine) {
        assert_close(h->gradient[0][channel], product, tolerance * m);
        assert_close(h->gradient[1][channel], sum, tolerance * m);
    }
}

static void both_engines_follow_the_definition(void **state)
{
    (void)state;
    static const struct {
        wtl_shape in;
        int batch, n;
        bool affine;
        wtl_activation fused;
        float offset;
        double tolerance;
    } table[] = {
        {{3, 5, 7}, 2, 2, true, WTL_ACTIVATION_NONE, 0, 1e-6},
        {{3, 5, 7}, 5, 3, true, WTL_ACTIVATION_RELU, 0, 1e-6},
        {{2, 4, 4}, 1, 1, true, WTL_ACTIVATION_RELU6, 0, 1e-6},
        {{1, 3, 5}, 3, 3, false, WTL_ACTIVATION_NONE, 0, 1e-6},
        {{4, 1, 1}, 5, 5, true, WTL_ACTIVATION_RELU, 0, 1e-6},
        {{2, 7, 7}, 2, 2, false, WTL_ACTIVATION_RELU6, 0, 1e-6},
        {{2, 1, 17}, 1, 1, true, WTL_ACTIVATION_NONE, 0, 1e-6},
        /* x^2 - mean^2 would lose every digit in float; a mean in float is good to 3e-5,
         * times weight/deviation of 4/0.58 */
        {{2, 9, 9}, 2, 2, true, WTL_ACTIVATION_NONE, 1000, 3e-4},
    };
    for (size_t t = 0; t < 2 * sizeof table / sizeof table[0]; t++) {
        wtl_layer_case c = norm(table[t / 2].in, table[t / 2].batch, ENGINES[t % 2]);
        c.def.as.batchnorm.affine = table[t / 2].affine;
        c.n = table[t / 2].n;
        c.fused = table[t / 2].fused;
        wtl_layer_harness *h = wtl_harness_create(&c);
        for (size_t i = 0; i < h->x_count[0]; i++) {
            h->x[0][i] += table[t / 2].offset;
        }
        for (int i = 0; c.def.as.batchnorm.affine && i < c.in[0].c; i++) {
            h->value[0][i] = (float)(i + 1) * 2; /* beyond 6, too */
        }
        wtl_harness_forward(h);
        wtl_harness_backward(h);
        for (int channel = 0; channel < c.in[0].c; channel++) {
            check_channel(h, channel, table[t / 2].tolerance);
        }
        wtl_harness_free(h);
    }
}

static void gradients_agree_with_central_differences(void **state)
{
    (void)state;
    for (int e = 0; e < 2; e++) {
        wtl_layer_case c = norm((wtl_shape){2, 2, 3}, 3, ENGINES[e]);
        /* y to 2e-7 over 2e-2, some 18 of them; the third derivative times 1e-4 / 6 */
        wtl_harness_check_gradients(&c, 1e-2, 1e-3);
        c.def.as.batchnorm.affine = false;
        wtl_harness_check_gradients(&c, 1e-2, 1e-3);
    }
}

static void without_an_input_gradient_parameters_still_get_theirs(void **state)
{
    (void)state;
    wtl_layer_case c = norm((wtl_shape){2, 3, 3}, 2, WTL_ENGINE_BLAS);
    wtl_layer_harness *with = wtl_harness_create(&c);
    c.no_input_gradient = true;
    wtl_layer_harness *without = wtl_harness_create(&c);
    wtl_harness_forward(with);
    wtl_harness_backward(with);
    wtl_harness_forward(without);
    wtl_harness_backward(without);
    assert_all_close(without->gradient[0], with->gradient[0], 2, 0.0);
    assert_all_close(without->gradient[1], with->gradient[1], 2, 0.0);
    wtl_harness_free(with);
    wtl_harness_free(without);
}

static void a_fused_rectifier_lets_nan_through(void **state)
{
    (void)state;
    wtl_layer_case c = norm((wtl_shape){2, 1, 4}, 1, WTL_ENGINE_BLAS);
    for (int a = WTL_ACTIVATION_RELU; a <= WTL_ACTIVATION_RELU6; a++) {
        c.fused = (wtl_activation)a;
        wtl_layer_harness *h = wtl_harness_create(&c);
        h->x[0][2] = NAN;
        wtl_harness_forward(h);
        for (int i = 0; i < 8; i++) {
            assert_int_equal(isnan(h->y[i]) != 0, i < 4);
        }
        wtl_harness_free(h);
    }
}

static void results_do_not_depend_on_threads(void **state)
{
    (void)state;
    static const int images[] = {1, 2, 3, 5};
    for (int i = 0; i < 4; i++) {
        wtl_layer_case c = norm((wtl_shape){44 / images[i] + 1, 27, 29}, 5, WTL_ENGINE_BLAS);
        c.n = images[i];
        c.fused = WTL_ACTIVATION_RELU;
        wtl_harness_check_threads(&c);
        if (images[i] == 3) {
            wtl_harness_check_engines(&c, 1e-5);
            c.training = false;
            wtl_harness_check_threads(&c);
        }
    }
}

static void parameters_are_named_and_initialised_as_torch_does(void **state)
{
    (void)state;
    wtl_layer_def def = {.as.batchnorm = {.affine = true, .init = {WTL_INIT_CONST, 0.5f}}};
    wtl_shape in = {7, 2, 3};
    wtl_param_spec specs[WTL_MAX_LAYER_PARAMS];
    static const char *const names[] = {"weight", "bias", "running_mean", "running_var"};
    static const float start[] = {0.5f, 0, 0, 1};
    static const wtl_param_role roles[] = {WTL_PARAM_SCALE, WTL_PARAM_SHIFT,
                                           WTL_PARAM_RUNNING_MEAN, WTL_PARAM_RUNNING_VAR};
    for (int affine = 0; affine < 2; affine++) {
        def.as.batchnorm.affine = affine;
        int count = affine ? 4 : 2;
        assert_int_equal(wtl_batchnorm_ops.params(&def, &in, specs), count);
        for (int i = 0; i < count; i++) {
            int j = 4 - count + i;
            assert_string_equal(specs[i].suffix, names[j]);
            assert_int_equal(specs[i].role, roles[j]);
            assert_int_equal(specs[i].rank, 1);
            assert_int_equal(specs[i].dims[0], 7);
            assert_int_equal(specs[i].init.kind, WTL_INIT_CONST);
            assert_close(specs[i].init.value, start[j], 0.0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(training_gives_the_hand_worked_values),
        WTL_TEST(inference_uses_the_running_statistics_and_leaves_them),
        WTL_TEST(recalibration_averages_the_batches),
        WTL_TEST(without_scale_and_shift_the_statistics_come_first),
        WTL_TEST(one_value_says_nothing_about_variance),
        WTL_TEST(both_engines_follow_the_definition),
        WTL_TEST(gradients_agree_with_central_differences),
        WTL_TEST(without_an_input_gradient_parameters_still_get_theirs),
        WTL_TEST(a_fused_rectifier_lets_nan_through),
        WTL_TEST(results_do_not_depend_on_threads),
        WTL_TEST(parameters_are_named_and_initialised_as_torch_does),
    };
    return WTL_RUN("batchnorm", tests);
}
