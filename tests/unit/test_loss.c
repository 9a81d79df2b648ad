#include "wtl_test.h"

#include "wattle/loss.h"

#include <math.h>
#include <string.h>

static const float log_of_3 = 1.09861228867f;

/* softmax of (0, log 3) is (1/4, 3/4): loss log 4 for label 0, log(4/3) for label 1. */
static void loss_and_gradient_of_two_classes_are_those_worked_by_hand(void **state)
{
    (void)state;
    const float logits[4] = {0.0f, log_of_3, 0.0f, log_of_3};
    const int labels[2] = {0, 1};
    const float want[4] = {0.5f * -0.75f, 0.5f * 0.75f, 0.5f * 0.25f, 0.5f * -0.25f};
    float gradient[4];
    wtl_fill_nan(gradient, 4);
    wtl_scores scores = {.loss = 10.0, .top1 = 1, .top5 = 2, .images = 5};
    double loss = wtl_cross_entropy(2, 2, logits, labels, 0.0f, 0.5f, gradient, &scores);
    /* The float log 3 is off by 1e-8 of itself. */
    assert_close(loss, log(4.0) + log(4.0 / 3.0), 1e-7);
    assert_all_close(gradient, want, 4, 1e-7);
    assert_close(scores.loss, 10.0 + loss, 1e-12);
    assert_int_equal(scores.top1, 1 + 1);
    assert_int_equal(scores.top5, 2 + 2);
    assert_int_equal(scores.images, 5 + 2);
}

/* Smoothing 0.2 over 2 classes: targets 0.9 at the label and 0.1 elsewhere. */
static void smoothing_moves_the_target_as_the_header_says(void **state)
{
    (void)state;
    const float logits[2] = {0.0f, log_of_3};
    const int label = 1;
    const float want[2] = {0.25f - 0.1f, 0.75f - 0.9f};
    float gradient[2];
    wtl_fill_nan(gradient, 2);
    double loss = wtl_cross_entropy(1, 2, logits, &label, 0.2f, 1.0f, gradient, NULL);
    assert_close(loss, 0.9 * log(4.0 / 3.0) + 0.1 * log(4.0), 1e-7);
    assert_all_close(gradient, want, 2, 1e-7);
}

static void large_logits_neither_overflow_nor_lose_the_loss(void **state)
{
    (void)state;
    const float logits[3] = {1000.0f, 900.0f, -1000.0f};
    const int labels[1] = {1};
    float gradient[3];
    wtl_fill_nan(gradient, 3);
    const float want[3] = {1.0f, -1.0f, 0.0f};
    assert_close(wtl_cross_entropy(1, 3, logits, labels, 0.0f, 1.0f, gradient, NULL), 100.0,
                 1e-9);
    assert_all_close(gradient, want, 3, 1e-12);
}

/* The definition in plain double, written apart from the code under test. */
static double defined_loss(int n, int k, const double *z, const int *labels, double smoothing)
{
    double total = 0.0;
    for (int i = 0; i < n; i++) {
        double sum = 0.0;
        for (int j = 0; j < k; j++) {
            sum += exp(z[i * k + j]);
        }
        for (int j = 0; j < k; j++) {
            double target = smoothing / k + (j == labels[i] ? 1.0 - smoothing : 0.0);
            total -= target * log(exp(z[i * k + j]) / sum);
        }
    }
    return total;
}

static void gradient_agrees_with_central_differences(void **state)
{
    (void)state;
    enum { N = 4, K = 7 };
    const int labels[N] = {0, 6, 3, 3};
    const float smoothing = 0.125f, scale = 0.25f;
    float logits[N * K], gradient[N * K];
    double z[N * K];
    wtl_fill_random(logits, N * K, 1);
    wtl_fill_nan(gradient, N * K);
    for (int i = 0; i < N * K; i++) {
        logits[i] *= 4.0f;
        z[i] = (double)logits[i];
    }
    double loss = wtl_cross_entropy(N, K, logits, labels, smoothing, scale, gradient, NULL);
    assert_close(loss, defined_loss(N, K, z, labels, (double)smoothing), 1e-10);
    for (int i = 0; i < N * K; i++) {
        const double h = 1e-5;
        double kept = z[i];
        z[i] = kept + h;
        double above = defined_loss(N, K, z, labels, (double)smoothing);
        z[i] = kept - h;
        double below = defined_loss(N, K, z, labels, (double)smoothing);
        z[i] = kept;
        /* Floats near 1/4 are good to 2e-8, differences at this h to 1e-9. */
        assert_close((double)gradient[i], (double)scale * (above - below) / (2 * h), 1e-7);
    }
}

static wtl_scores scores_of(int k, const float *logits, int label)
{
    wtl_scores scores = {0};
    (void)wtl_cross_entropy(1, k, logits, &label, 0.0f, 1.0f, NULL, &scores);
    return scores;
}

static void ties_count_against_the_label(void **state)
{
    (void)state;
    const float tied[2] = {1.0f, 1.0f};
    assert_int_equal(scores_of(2, tied, 0).top1, 0);
    assert_int_equal(scores_of(2, tied, 1).top1, 0);
    const float six[6] = {1, 1, 1, 1, 1, 1};
    assert_int_equal(scores_of(6, six, 2).top5, 0);
}

static void top5_takes_the_fifth_and_leaves_the_sixth(void **state)
{
    (void)state;
    const float falling[7] = {7, 6, 5, 4, 3, 2, 1};
    assert_int_equal(scores_of(7, falling, 0).top1, 1);
    assert_int_equal(scores_of(7, falling, 1).top1, 0);
    assert_int_equal(scores_of(7, falling, 4).top5, 1);
    assert_int_equal(scores_of(7, falling, 5).top5, 0);
}

static void with_fewer_than_five_classes_top5_is_always_hit(void **state)
{
    (void)state;
    const float four[4] = {4, 3, 2, 1};
    assert_int_equal(scores_of(4, four, 3).top5, 1);
    const float one[1] = {0};
    assert_int_equal(scores_of(1, one, 0).top1, 1);
}

static void a_nan_logit_is_no_hit_and_shows_in_the_loss(void **state)
{
    (void)state;
    const float logits[3] = {NAN, 1.0f, 2.0f};
    for (int label = 0; label < 3; label++) {
        wtl_scores scores = scores_of(3, logits, label);
        assert_int_equal(scores.top1, 0);
        assert_true(isnan(scores.loss));
    }
}

/* Two images, one pixel each; head a's logits are (x, 0), those of b, the main one, (0, x). */
static void only_the_main_head_is_scored_and_every_head_has_its_weight(void **state)
{
    (void)state;
    static const char text[] = "net heads\ninput data 1x1x1\n"
                               "da = dense data out=2 bias=no\na = softmax da weight=0.5\n"
                               "db = dense data out=2 bias=no\nb = softmax db\n";
    wtl_netdef *def;
    wtl_net *net;
    const wtl_net_options options = {.batch = 2, .training = true};
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "t.net", NULL, NULL));
    assert_ok(wtl_net_create(&net, def, &options, NULL));
    wtl_net_find_param(net, "da.weight")->value[0] = 1.0f;
    wtl_net_find_param(net, "db.weight")->value[1] = 1.0f;
    wtl_net_input(net)[0] = wtl_net_input(net)[1] = log_of_3;
    wtl_net_forward(net, 2, WTL_RUN_TRAINING, 0);
    const int labels[2] = {1, 1};
    wtl_scores scores = {0};
    double loss = wtl_net_loss(net, 2, labels, 0.0f, &scores);
    assert_close(loss, 0.5 * log(4.0) + log(4.0 / 3.0), 1e-7);
    assert_int_equal(scores.images, 2);
    assert_int_equal(scores.top1, 2);
    assert_close(scores.loss, 2 * log(4.0 / 3.0), 1e-7);
    const float want[2][4] = {{0.1875f, -0.1875f, 0.1875f, -0.1875f},
                              {0.125f, -0.125f, 0.125f, -0.125f}};
    for (int h = 0; h < 2; h++) {
        assert_all_close(wtl_net_head(net, h)->gradient, want[h], 4, 1e-7);
    }
    wtl_net_free(net);
    wtl_netdef_free(def);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(loss_and_gradient_of_two_classes_are_those_worked_by_hand),
        WTL_TEST(smoothing_moves_the_target_as_the_header_says),
        WTL_TEST(large_logits_neither_overflow_nor_lose_the_loss),
        WTL_TEST(gradient_agrees_with_central_differences),
        WTL_TEST(ties_count_against_the_label),
        WTL_TEST(top5_takes_the_fifth_and_leaves_the_sixth),
        WTL_TEST(with_fewer_than_five_classes_top5_is_always_hit),
        WTL_TEST(a_nan_logit_is_no_hit_and_shows_in_the_loss),
        WTL_TEST(only_the_main_head_is_scored_and_every_head_has_its_weight),
    };
    return WTL_RUN("loss", tests);
}
