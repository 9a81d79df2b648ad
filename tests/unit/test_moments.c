#include "wtl_test.h"

#include "wattle/blas.h"
#include "wattle/moments.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { IMAGES = 7, MOST = 4096 };

typedef struct shape {
    wtl_shape in;
    wtl_layer_kind kind;
    int out, groups, kernel[2], stride[2], pad[4], dilation[2];
    int k, p, q, m; /* by hand */
} shape;

static const shape shapes[] = {
    {{2, 5, 6}, WTL_LAYER_CONV, 3, 1, {3, 2}, {1, 1}, {1, 1, 0, 1}, {1, 1}, 3, 5, 6, 12},
    {{4, 7, 7}, WTL_LAYER_CONV, 6, 2, {3, 3}, {2, 2}, {1, 1, 1, 1}, {1, 1}, 6, 4, 4, 18},
    {{3, 8, 9}, WTL_LAYER_CONV, 2, 1, {2, 3}, {3, 2}, {0, 2, 1, 0}, {2, 1}, 2, 3, 4, 18},
    {{5, 4, 4}, WTL_LAYER_CONV, 4, 1, {1, 1}, {1, 1}, {0, 0, 0, 0}, {1, 1}, 4, 4, 4, 5},
    {{3, 5, 5}, WTL_LAYER_DEPTHWISE, 0, 0, {3, 3}, {1, 1}, {1, 1, 1, 1}, {1, 1}, 3, 5, 5, 9},
    {{2, 3, 4}, WTL_LAYER_DENSE, 5, 1, {0}, {0}, {0}, {0}, 5, 1, 1, 24},
};
enum { SHAPES = sizeof shapes / sizeof *shapes };

static char layer_name[] = "layer";

static wtl_layer_def layer_of(const shape *s)
{
    wtl_layer_def layer = {.name = layer_name, .kind = s->kind};
    if (s->kind == WTL_LAYER_DENSE) {
        layer.as.dense.out = s->out;
        return layer;
    }
    layer.as.conv.out = s->out;
    layer.as.conv.groups = s->groups;
    memcpy(layer.as.conv.kernel, s->kernel, sizeof s->kernel);
    memcpy(layer.as.conv.stride, s->stride, sizeof s->stride);
    memcpy(layer.as.conv.pad, s->pad, sizeof s->pad);
    memcpy(layer.as.conv.dilation, s->dilation, sizeof s->dilation);
    return layer;
}

static wtl_moments *moments_of(const shape *s, wtl_moments_options options)
{
    wtl_moments *moments;
    wtl_error err;
    const wtl_layer_def layer = layer_of(s);
    options.images = options.images ? options.images : IMAGES;
    wtl_blas_prepare();
    if (wtl_moments_create(&moments, &layer, s->in, &options, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    return moments;
}

static int groups_of(const shape *s)
{
    return s->kind == WTL_LAYER_DEPTHWISE ? s->in.c : s->groups;
}

/* The definition: weight j of a filter of `group` meets this input at output (p, q). */
static double input_of(const shape *s, const float *x, int image, int group, int j, int p,
                       int q)
{
    bool dense = s->kind == WTL_LAYER_DENSE;
    int height = dense ? s->in.h : s->kernel[0], width = dense ? s->in.w : s->kernel[1];
    int c = group * (s->in.c / groups_of(s)) + j / (height * width);
    int h = j / width % height, w = j % width;
    if (!dense) {
        h = p * s->stride[0] + h * s->dilation[0] - s->pad[0];
        w = q * s->stride[1] + w * s->dilation[1] - s->pad[2];
    }
    if (h < 0 || w < 0 || h >= s->in.h || w >= s->in.w) {
        return 0.0;
    }
    return (double)x[((image * s->in.c + c) * s->in.h + h) * s->in.w + w];
}

/* Sums over all positions of all images. */
static double second_of(const shape *s, const float *x, int group, int i, int j)
{
    double sum = 0.0;
    for (int at = 0; at < IMAGES * s->p * s->q; at++) {
        int image = at / (s->p * s->q), p = at / s->q % s->p, q = at % s->q;
        sum += input_of(s, x, image, group, i, p, q) * input_of(s, x, image, group, j, p, q);
    }
    return sum;
}

static double cross_of(const shape *s, const float *x, const float *y, float bias, int k, int i)
{
    double sum = 0.0;
    for (int at = 0; at < IMAGES * s->p * s->q; at++) {
        int image = at / (s->p * s->q), p = at / s->q % s->p, q = at % s->q;
        double target = (double)y[((image * s->k + k) * s->p + p) * s->q + q] - (double)bias;
        double input =
            i < 0 ? target : input_of(s, x, image, k / (s->k / groups_of(s)), i, p, q);
        sum += target * input;
    }
    return sum;
}

/* Float products of values below 1, at most 210 of them: 1e-4 is many roundings. */
static void all_positions_give_the_moments_of_an_explicit_im2col(void **state)
{
    (void)state;
    static float x[MOST], y[MOST], bias[8];
    for (int c = 0; c < SHAPES; c++) {
        const shape *s = &shapes[c];
        wtl_fill_random(x, MOST, 1);
        wtl_fill_random(y, MOST, 2);
        wtl_fill_random(bias, 8, 3);
        for (int with_bias = 0; with_bias < 2; with_bias++) {
            wtl_moments *mo = moments_of(
                s, (wtl_moments_options){.positions = 1000, .form = WTL_MOMENTS_PRIMAL});
            size_t input = wtl_shape_count(s->in),
                   output = (size_t)s->k * (size_t)s->p * (size_t)s->q;
            const float *b = with_bias ? bias : NULL;
            assert_ok(wtl_moments_add_outputs(mo, 3, x, y, b, NULL));
            assert_ok(wtl_moments_add_outputs(mo, 4, x + 3 * input, y + 3 * output, b, NULL));
            wtl_moments_info info = wtl_moments_info_of(mo);
            assert_int_equal(info.width, s->m);
            assert_int_equal(info.filters, s->k);
            assert_int_equal(info.groups, groups_of(s));
            assert_int_equal(info.rows, IMAGES * s->p * s->q);
            for (int g = 0; g < groups_of(s); g++) {
                for (int i = 0; i < s->m; i++) {
                    for (int j = 0; j < s->m; j++) {
                        assert_close(wtl_moments_second(mo, g, i, j), second_of(s, x, g, i, j),
                                     1e-4);
                    }
                }
            }
            for (int k = 0; k < s->k; k++) {
                float offset = with_bias ? bias[k] : 0.0f;
                assert_close(wtl_moments_energy(mo, k), cross_of(s, x, y, offset, k, -1), 1e-4);
                for (int i = 0; i < s->m; i++) {
                    assert_close(wtl_moments_cross(mo, k, i), cross_of(s, x, y, offset, k, i),
                                 1e-4);
                }
            }
            wtl_moments_free(mo);
        }
    }
}

/* targets = weights * patches of x_original, so X^T Y = (X^T X0) w for x = x0. */
static void targets_can_be_computed_from_inputs_and_weights(void **state)
{
    (void)state;
    static float x[MOST], w[MOST], copy[MOST];
    for (int c = 0; c < SHAPES; c++) {
        const shape *s = &shapes[c];
        wtl_fill_random(x, MOST, 1);
        wtl_fill_random(w, MOST, 2);
        memcpy(copy, x, sizeof x);
        for (int same = 0; same < 2; same++) {
            wtl_moments *mo = moments_of(
                s, (wtl_moments_options){.form = WTL_MOMENTS_PRIMAL, .positions = 3});
            assert_ok(wtl_moments_add_inputs(mo, IMAGES, x, same ? x : copy, w, NULL));
            for (int k = 0; k < s->k; k++) {
                for (int i = 0; i < s->m; i++) {
                    double want = 0.0;
                    for (int j = 0; j < s->m; j++) {
                        want += wtl_moments_second(mo, k / (s->k / groups_of(s)), i, j) *
                                (double)w[k * s->m + j];
                    }
                    assert_close(wtl_moments_cross(mo, k, i), want, 1e-4);
                }
            }
            wtl_moments_free(mo);
        }
    }
}

/* Other inputs than those the targets come from: one weight, one position, by hand. */
static void inputs_and_targets_can_come_from_two_networks(void **state)
{
    (void)state;
    static const shape one = {{1, 1, 1}, WTL_LAYER_DENSE, 1, 1, {0}, {0}, {0}, {0}, 1, 1, 1, 1};
    const float pruned[2] = {2, 3}, original[2] = {5, 7}, weight = 10;
    wtl_moments *mo =
        moments_of(&one, (wtl_moments_options){.images = 2, .form = WTL_MOMENTS_PRIMAL});
    assert_ok(wtl_moments_add_inputs(mo, 2, pruned, original, &weight, NULL));
    assert_close(wtl_moments_second(mo, 0, 0, 0), 4 + 9, 0.0);
    assert_close(wtl_moments_cross(mo, 0, 0), 2 * 50 + 3 * 70, 0.0);
    assert_close(wtl_moments_energy(mo, 0), 2500 + 4900, 0.0);
    wtl_moments_free(mo);
}

/* A 1x1 conv on a map that holds its own positions shows which were sampled. */
static void sampled(int *seen, uint64_t seed, uint32_t layer, int per_call)
{
    static const shape s = {{2, 4, 5}, WTL_LAYER_CONV, 1, 1, {1, 1}, {1, 1},
                            {0},       {1, 1},         1, 4, 5,      2};
    enum { N = 6, MAP = 20 };
    float x[N * 2 * MAP], y[N * MAP] = {0};
    memset(seen, 0, N * MAP * sizeof *seen);
    wtl_moments *mo = moments_of(&s, (wtl_moments_options){.images = N,
                                                           .positions = 5,
                                                           .form = WTL_MOMENTS_PRIMAL,
                                                           .seed = seed,
                                                           .layer = layer});
    double before[2] = {0, 0};
    for (int image = 0; image < N; image += per_call) {
        memset(x, 0, sizeof x);
        for (int i = 0; i < per_call; i++) { /* powers of two: the sum tells the set */
            for (int at = 0; at < MAP; at++) {
                x[i * 2 * MAP + at] = i == 0 ? sqrtf((float)(1 << at)) : 0.0f;
            }
        }
        assert_ok(wtl_moments_add_outputs(mo, per_call, x, y, NULL, NULL));
        double now = wtl_moments_second(mo, 0, 0, 0);
        long set = lrint(now - before[0]);
        before[0] = now;
        for (int at = 0; at < MAP; at++) {
            seen[image * MAP + at] = set >> at & 1;
        }
    }
    assert_int_equal(wtl_moments_info_of(mo).rows, N * 5);
    wtl_moments_free(mo);
}

static void positions_follow_the_seed_the_layer_and_the_image_alone(void **state)
{
    (void)state;
    enum { N = 6, MAP = 20 };
    int one[N * MAP], again[N * MAP], pairs[N * MAP], seed[N * MAP], layer[N * MAP];
    sampled(one, 1, 1, 1);
    sampled(again, 1, 1, 1);
    sampled(pairs, 1, 1, 2);
    sampled(seed, 2, 1, 1);
    sampled(layer, 1, 2, 1);
    for (int image = 0; image < N; image++) {
        int count = 0;
        for (int at = 0; at < MAP; at++) {
            count += one[image * MAP + at];
        }
        assert_int_equal(count, 5);
    }
    assert_memory_equal(one, again, sizeof one);
    for (int image = 0; image < N; image += 2) { /* the first of each pair is seen */
        assert_memory_equal(one + image * MAP, pairs + image * MAP, MAP * sizeof *one);
    }
    assert_memory_not_equal(one, seed, sizeof one);
    assert_memory_not_equal(one, layer, sizeof one);
    assert_memory_not_equal(one, one + MAP, MAP * sizeof *one);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    enum { N = 40, WIDTH = 150, FILTERS = 70 }; /* several panels of both */
    static const shape s = {{WIDTH, 1, 1}, WTL_LAYER_DENSE, FILTERS, 1, {0},  {0}, {0},
                            {0},           FILTERS,         1,       1, WIDTH};
    static float x[N * WIDTH], w[FILTERS * WIDTH];
    wtl_moments *mo[2];
    wtl_fill_random(x, N * WIDTH, 1);
    wtl_fill_random(w, FILTERS * WIDTH, 2);
    for (int t = 0; t < 2; t++) {
        mo[t] =
            moments_of(&s, (wtl_moments_options){
                               .images = N, .form = WTL_MOMENTS_PRIMAL, .threads = 1 + 2 * t});
        assert_ok(wtl_moments_add_inputs(mo[t], N, x, x, w, NULL));
    }
    for (int i = 0; i < WIDTH; i++) {
        for (int j = 0; j < WIDTH; j++) {
            assert_true(wtl_moments_second(mo[0], 0, i, j) ==
                        wtl_moments_second(mo[1], 0, i, j));
        }
        for (int k = 0; k < FILTERS; k++) {
            assert_true(wtl_moments_cross(mo[0], k, i) == wtl_moments_cross(mo[1], k, i));
        }
    }
    wtl_moments_free(mo[0]);
    wtl_moments_free(mo[1]);
}

static void the_form_follows_the_sizes_and_the_memory_is_stated(void **state)
{
    (void)state;
    const shape *dense = &shapes[5]; /* m = 24 */
    static const struct {
        wtl_moments_options options;
        bool primal, samples;
    } cases[] = {
        {{.images = 23}, false, true},
        {{.images = 24}, true, false},
        {{.images = 24, .keep_samples = true}, true, true},
        {{.images = 24, .form = WTL_MOMENTS_DUAL}, false, true},
        {{.images = 23, .form = WTL_MOMENTS_PRIMAL}, true, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_moments *mo = moments_of(dense, cases[i].options);
        wtl_moments_info info = wtl_moments_info_of(mo);
        assert_int_equal(info.primal, cases[i].primal);
        assert_int_equal(info.samples, cases[i].samples);
        size_t n = cases[i].options.images;
        size_t want = (cases[i].primal ? 8 * (24 * 24 + 5 * 25) : 0) +
                      (cases[i].samples ? 4 * n * (24 + 5) : 0) +
                      4 * (256 * (2 * 24 + 5) + 64 * 24);
        assert_int_equal(info.bytes, want);
        assert_int_equal(isnan(wtl_moments_second(mo, 0, 0, 0)) != 0, !cases[i].primal);
        wtl_moments_free(mo);
    }
}

/* AlexNet's fc6 in primal form: 9216^2 and 4096 * 9217 doubles, and work. */
static void fc6_of_alexnet_stays_within_two_gigabytes(void **state)
{
    (void)state;
    static const shape fc6 = {
        {256, 6, 6}, WTL_LAYER_DENSE, 4096, 1, {0}, {0}, {0}, {0}, 4096, 1, 1, 9216};
    const wtl_layer_def layer = layer_of(&fc6);
    wtl_moments_options options = {
        .images = 10000, .form = WTL_MOMENTS_PRIMAL, .most_bytes = 1000000000};
    wtl_moments *mo;
    wtl_error err;
    assert_fails(wtl_moments_create(&mo, &layer, fc6.in, &options, &err), WTL_E_FIT, &err,
                 "layer: moments need 1006927872 bytes, 1000000000 are allowed");
    assert_null(mo);
}

static void what_does_not_fit_is_refused(void **state)
{
    (void)state;
    wtl_layer_def layer = layer_of(&shapes[0]);
    wtl_moments_options options = {.images = 1};
    wtl_moments *mo;
    wtl_error err;
    const wtl_shape in = shapes[0].in, tiny = {2, 0, 1}, odd = {3, 7, 7};
    assert_fails(wtl_moments_create(&mo, &layer, tiny, &options, &err), WTL_E_SHAPE, &err,
                 "layer: does not fit an input of 2x0x1");
    layer = layer_of(&shapes[1]);
    assert_fails(wtl_moments_create(&mo, &layer, odd, &options, &err), WTL_E_SHAPE, &err,
                 "layer: does not fit an input of 3x7x7");
    layer.kind = WTL_LAYER_RELU;
    assert_fails(wtl_moments_create(&mo, &layer, in, &options, &err), WTL_E_ARG, &err,
                 "layer: moments are of conv, depthwise and dense, not of relu");
    layer = layer_of(&shapes[0]);
    options.images = 0;
    assert_fails(wtl_moments_create(&mo, &layer, in, &options, &err), WTL_E_ARG, &err,
                 "layer: moments of 0 images, 0 positions, 0 threads");
    options.images = SIZE_MAX;
    assert_int_equal(wtl_moments_create(&mo, &layer, in, &options, &err), WTL_E_FIT);
}

static void too_many_images_and_values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    float x[48] = {0}, y[10] = {0};
    wtl_error err;
    wtl_moments *mo = moments_of(&shapes[5], (wtl_moments_options){.images = 2});
    assert_ok(wtl_moments_add_outputs(mo, 1, x, y, NULL, NULL));
    assert_fails(wtl_moments_add_outputs(mo, 2, x, y, NULL, &err), WTL_E_RANGE, &err,
                 "moments: 2 more images, there is room for 1");
    assert_int_equal(wtl_moments_info_of(mo).rows, 1);
    x[5] = INFINITY;
    assert_fails(wtl_moments_add_outputs(mo, 1, x, y, NULL, &err), WTL_E_NAN, &err,
                 "moments: an input or target of row 1 to 1 is not finite");
    wtl_moments_free(mo);
    mo = moments_of(&shapes[5], (wtl_moments_options){.images = 2});
    x[5] = 0.0f;
    y[4] = NAN;
    assert_int_equal(wtl_moments_add_outputs(mo, 1, x, y, NULL, &err), WTL_E_NAN);
    wtl_moments_free(mo);
}

static wtl_status create_and_free(void *context)
{
    const wtl_layer_def layer = layer_of(&shapes[1]);
    const wtl_moments_options options = {
        .images = 9, .form = WTL_MOMENTS_PRIMAL, .keep_samples = true};
    (void)context;
    wtl_moments *mo;
    wtl_status status = wtl_moments_create(&mo, &layer, shapes[1].in, &options, NULL);
    wtl_moments_free(mo);
    return status;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(create_and_free, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(all_positions_give_the_moments_of_an_explicit_im2col),
        WTL_TEST(targets_can_be_computed_from_inputs_and_weights),
        WTL_TEST(inputs_and_targets_can_come_from_two_networks),
        WTL_TEST(positions_follow_the_seed_the_layer_and_the_image_alone),
        WTL_TEST(threads_do_not_change_a_bit),
        WTL_TEST(the_form_follows_the_sizes_and_the_memory_is_stated),
        WTL_TEST(fc6_of_alexnet_stays_within_two_gigabytes),
        WTL_TEST(what_does_not_fit_is_refused),
        WTL_TEST(too_many_images_and_values_that_are_not_finite_are_refused),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("moments", tests);
}
