#include "wtl_test.h"

#include "wattle/memory.h"
#include "wattle/optimizer.h"

#include <math.h>
#include <string.h>

/* d.weight [2,2], d.bias [2]; gradients are put in by hand. */
static const char small_text[] = "net small\n"
                                 "input data 1x1x2\n"
                                 "d = dense data out=2\n"
                                 "p = softmax d\n";
enum { WEIGHTS = 4, BIASES = 2 };

static wtl_net *net_of(const char *text)
{
    wtl_netdef *def;
    wtl_net *net;
    const wtl_net_options options = {.batch = 1, .training = true};
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "test.net", NULL, NULL));
    assert_ok(wtl_net_create(&net, def, &options, NULL));
    wtl_netdef_free(def);
    return net;
}

static wtl_param *param(wtl_net *net, const char *name)
{
    wtl_param *found = wtl_net_find_param(net, name);
    assert_non_null(found);
    return found;
}

static void fill(float *values, size_t count, float value)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = value;
    }
}

/* All weights and biases, and all their gradients, at one value. */
static wtl_net *small_net(float value, float gradient)
{
    wtl_net *net = net_of(small_text);
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        fill(wtl_net_param(net, i)->value, wtl_net_param(net, i)->count, value);
        fill(wtl_net_param(net, i)->gradient, wtl_net_param(net, i)->count, gradient);
    }
    return net;
}

static wtl_optimizer *optimizer_of(wtl_net *net, wtl_optimizer_options options)
{
    wtl_optimizer *optimizer;
    assert_ok(wtl_optimizer_create(&optimizer, net, &options, NULL));
    return optimizer;
}

static void assert_all(wtl_net *net, const char *name, float want, double tolerance)
{
    const wtl_param *p = param(net, name);
    for (size_t i = 0; i < p->count; i++) {
        assert_close((double)p->value[i], (double)want, tolerance);
    }
}

/* Powers of two: every value is exact. */
static const wtl_optimizer_options halves = {
    .kind = WTL_OPTIMIZER_SGD, .momentum = 0.5, .weight_decay = 0.25};

static void sgd_takes_the_two_steps_worked_by_hand(void **state)
{
    (void)state;
    wtl_net *net = small_net(1.0f, 0.5f);
    wtl_optimizer *optimizer = optimizer_of(net, halves);
    assert_close(wtl_optimizer_step(optimizer, 0.5), sqrt(6 * 0.25), 1e-15);
    assert_all(net, "d.weight", 0.625f, 0.0); /* v = .5 + .25 = .75 */
    assert_all(net, "d.bias", 0.75f, 0.0);    /* v = .5: biases do not decay */
    (void)wtl_optimizer_step(optimizer, 0.5);
    assert_all(net, "d.weight", 0.109375f, 0.0); /* v = .375 + .5 + .15625 */
    assert_all(net, "d.bias", 0.375f, 0.0);      /* v = .25 + .5 */
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

static void nesterov_takes_the_two_steps_worked_by_hand(void **state)
{
    (void)state;
    wtl_net *net = small_net(1.0f, 0.5f);
    wtl_optimizer_options options = halves;
    options.kind = WTL_OPTIMIZER_NESTEROV;
    wtl_optimizer *optimizer = optimizer_of(net, options);
    (void)wtl_optimizer_step(optimizer, 0.5);
    assert_all(net, "d.weight", 0.4375f, 0.0); /* 1 - .5 * (.75 + .5 * .75) */
    assert_all(net, "d.bias", 0.625f, 0.0);    /* 1 - .5 * (.5 + .25) */
    (void)wtl_optimizer_step(optimizer, 0.5);
    /* slope = .609375, v = .984375 */
    assert_all(net, "d.weight", -0.11328125f, 0.0);
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

static void biases_decay_when_asked(void **state)
{
    (void)state;
    wtl_net *net = small_net(1.0f, 0.5f);
    wtl_optimizer_options options = halves;
    options.decay_all = true;
    wtl_optimizer *optimizer = optimizer_of(net, options);
    (void)wtl_optimizer_step(optimizer, 0.5);
    assert_all(net, "d.bias", 0.625f, 0.0);
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

/* Kingma & Ba's algorithm with decoupled decay, in double. */
static void adam_follows_its_definition_over_three_steps(void **state)
{
    (void)state;
    static const float gradients[3] = {0.5f, -0.25f, 2.0f};
    const double b1 = 0.8, b2 = 0.9, eps = 1e-3, rate = 0.1, decay = 0.25;
    wtl_net *net = small_net(1.0f, 0.0f);
    wtl_optimizer *optimizer =
        optimizer_of(net, (wtl_optimizer_options){.kind = WTL_OPTIMIZER_ADAM,
                                                  .momentum = b1,
                                                  .beta2 = b2,
                                                  .epsilon = eps,
                                                  .weight_decay = decay});
    double w = 1.0, b = 1.0, m = 0.0, s = 0.0;
    for (int t = 1; t <= 3; t++) {
        double g = (double)gradients[t - 1];
        fill(param(net, "d.weight")->gradient, WEIGHTS, gradients[t - 1]);
        fill(param(net, "d.bias")->gradient, BIASES, gradients[t - 1]);
        (void)wtl_optimizer_step(optimizer, rate);
        m = b1 * m + (1 - b1) * g;
        s = b2 * s + (1 - b2) * g * g;
        double move = m / (1 - pow(b1, t)) / (sqrt(s / (1 - pow(b2, t))) + eps);
        w -= rate * (move + decay * w);
        b -= rate * move;
        assert_all(net, "d.weight", (float)w, 1e-6); /* a few float roundings near 1 */
        assert_all(net, "d.bias", (float)b, 1e-6);
    }
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

static void clipping_shrinks_a_long_gradient_and_leaves_a_short_one(void **state)
{
    (void)state;
    wtl_net *net = small_net(0.0f, 0.0f);
    wtl_optimizer *optimizer =
        optimizer_of(net, (wtl_optimizer_options){.kind = WTL_OPTIMIZER_SGD, .clip_norm = 2.5});
    param(net, "d.weight")->gradient[1] = 3.0f;
    param(net, "d.bias")->gradient[0] = -4.0f;
    assert_close(wtl_optimizer_step(optimizer, 1.0), 5.0, 0.0);
    assert_close((double)param(net, "d.weight")->value[1], -1.5, 0.0);
    assert_close((double)param(net, "d.bias")->value[0], 2.0, 0.0);
    param(net, "d.weight")->gradient[1] = 0.5f;
    param(net, "d.bias")->gradient[0] = 0.0f;
    assert_close(wtl_optimizer_step(optimizer, 1.0), 0.5, 0.0);
    assert_close((double)param(net, "d.weight")->value[1], -2.0, 0.0);
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

static void the_average_follows_the_weights_and_is_swapped_in_and_out(void **state)
{
    (void)state;
    wtl_net *net = small_net(1.0f, 1.0f);
    /* At step 1 the warm-up's decay 2/11 is above .125, which therefore holds. */
    wtl_optimizer *optimizer =
        optimizer_of(net, (wtl_optimizer_options){.kind = WTL_OPTIMIZER_SGD, .ema = 0.125});
    (void)wtl_optimizer_step(optimizer, 1.0);
    assert_all(net, "d.weight", 0.0f, 0.0);
    wtl_optimizer_swap_ema(optimizer);
    assert_all(net, "d.weight", 0.125f, 0.0);
    wtl_optimizer_swap_ema(optimizer);
    assert_all(net, "d.weight", 0.0f, 0.0);
    wtl_optimizer_free(optimizer);

    fill(param(net, "d.weight")->value, WEIGHTS, 1.0f);
    optimizer =
        optimizer_of(net, (wtl_optimizer_options){.kind = WTL_OPTIMIZER_SGD, .ema = 0.999});
    (void)wtl_optimizer_step(optimizer, 1.0);
    wtl_optimizer_swap_ema(optimizer);
    assert_all(net, "d.weight", 2.0f / 11.0f, 1e-7);
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

static void running_statistics_are_averaged_but_not_stepped(void **state)
{
    (void)state;
    wtl_net *net = net_of("net bn\ninput data 2x1x1\nb = batchnorm data\nd = dense b out=2\n"
                          "p = softmax d\n");
    wtl_param *mean = param(net, "b.running_mean");
    fill(mean->value, 2, 1.0f);
    wtl_optimizer *optimizer =
        optimizer_of(net, (wtl_optimizer_options){.kind = WTL_OPTIMIZER_SGD, .ema = 0.125});
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_param *p = wtl_net_param(net, i);
        fill(p->gradient ? p->gradient : p->value, p->count, p->gradient ? 1.0f : 2.0f);
    }
    (void)wtl_optimizer_step(optimizer, 1.0);
    assert_all(net, "b.running_mean", 2.0f, 0.0);
    wtl_optimizer_swap_ema(optimizer);
    assert_all(net, "b.running_mean", 1.875f, 0.0); /* 1 + .875 * (2 - 1) */
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

/* ---- masks ---- */

/* Exactly +0: no bit set. */
static void assert_zero_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    assert_int_equal(bits, 0);
}

static void mask_first_two(wtl_net *net)
{
    wtl_param *p = param(net, "d.weight");
    p->mask = wtl_alloc(WEIGHTS, sizeof *p->mask);
    assert_non_null(p->mask);
    p->mask[2] = p->mask[3] = 1.0f;
}

static void assert_masked_stay_zero(wtl_net *net, wtl_optimizer *optimizer)
{
    const wtl_param *p = param(net, "d.weight");
    for (int turn = 0; turn < 2; turn++) { /* the weights, then their averages */
        assert_zero_bits(p->value[0]);
        assert_zero_bits(p->value[1]);
        assert_true(p->value[2] != 0.0f);
        wtl_optimizer_swap_ema(optimizer);
    }
}

static void nothing_revives_a_masked_weight(void **state)
{
    (void)state;
    static const wtl_optimizer_kind kinds[] = {WTL_OPTIMIZER_SGD, WTL_OPTIMIZER_NESTEROV,
                                               WTL_OPTIMIZER_ADAM};
    for (size_t k = 0; k < 3; k++) {
        wtl_net *net = small_net(1.0f, 0.5f);
        wtl_optimizer *optimizer = optimizer_of(
            net, (wtl_optimizer_options){
                     .kind = kinds[k], .momentum = 0.9, .weight_decay = 0.1, .ema = 0.9});
        /* Momentum and averages that are not 0 when the mask comes, in both signs. */
        param(net, "d.weight")->gradient[1] = -0.5f;
        for (int i = 0; i < 3; i++) {
            (void)wtl_optimizer_step(optimizer, 0.25);
        }
        mask_first_two(net);
        (void)wtl_optimizer_step(optimizer, 0.25); /* momentum, decay, gradient, average */
        assert_masked_stay_zero(net, optimizer);
        param(net, "d.weight")->value[0] = -3.0f; /* put back by someone */
        (void)wtl_optimizer_step(optimizer, 0.25);
        assert_masked_stay_zero(net, optimizer);
        /* Without the mask and with no gradient, leftover momentum would move it. */
        fill(param(net, "d.weight")->mask, WEIGHTS, 1.0f);
        fill(param(net, "d.weight")->gradient, WEIGHTS, 0.0f);
        (void)wtl_optimizer_step(optimizer, 0.25);
        assert_masked_stay_zero(net, optimizer);
        wtl_optimizer_free(optimizer);
        wtl_net_free(net);
    }
}

static void masked_gradients_do_not_count_in_the_norm(void **state)
{
    (void)state;
    wtl_net *net = small_net(1.0f, 0.0f);
    mask_first_two(net);
    wtl_optimizer *optimizer = optimizer_of(net, halves);
    assert_zero_bits(param(net, "d.weight")->value[0]); /* already at creation */
    param(net, "d.weight")->gradient[0] = 100.0f;
    param(net, "d.weight")->gradient[2] = 3.0f;
    assert_close(wtl_optimizer_step(optimizer, 0.5), 3.0, 0.0);
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

/* ---- trouble, threads, state ---- */

static void a_gradient_that_is_not_finite_changes_nothing(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        wtl_net *net = small_net(1.0f, 0.5f);
        wtl_optimizer_options options = halves;
        options.ema = 0.5;
        wtl_optimizer *optimizer = optimizer_of(net, options);
        param(net, "d.bias")->gradient[1] = bad[i];
        assert_true(isnan(wtl_optimizer_step(optimizer, 0.5)));
        assert_all(net, "d.weight", 1.0f, 0.0);
        assert_all(net, "d.bias", 1.0f, 0.0);
        param(net, "d.bias")->gradient[1] = 0.5f;
        (void)wtl_optimizer_step(optimizer, 0.5);
        assert_all(net, "d.weight", 0.625f, 0.0); /* as if it were the first step */
        wtl_optimizer_free(optimizer);
        wtl_net_free(net);
    }
}

static const char large_text[] = "net large\ninput data 1x13x11\nd = dense data out=101\n"
                                 "p = softmax d\n"; /* 14443 weights: four chunks, one short */

static void every_thread_count_gives_the_same_bits(void **state)
{
    (void)state;
    enum { COUNT = 101 * 143 };
    static float one[COUNT];
    double norm_of_one = 0.0;
    for (int threads = 1; threads <= 3; threads++) {
        wtl_net *net = net_of(large_text);
        wtl_net_init(net, 3);
        wtl_param *w = param(net, "d.weight");
        wtl_fill_random(w->gradient, w->count, 5);
        fill(param(net, "d.bias")->gradient, 101, 0.0f);
        wtl_optimizer *optimizer =
            optimizer_of(net, (wtl_optimizer_options){.kind = WTL_OPTIMIZER_NESTEROV,
                                                      .momentum = 0.9,
                                                      .weight_decay = 1e-3,
                                                      .clip_norm = 1.0,
                                                      .threads = threads});
        double norm = wtl_optimizer_step(optimizer, 0.1);
        if (threads == 1) {
            double sum = 0.0;
            for (size_t i = 0; i < COUNT; i++) {
                sum += (double)w->gradient[i] * (double)w->gradient[i];
            }
            assert_close(norm, sqrt(sum), 1e-12 * sqrt(sum)); /* another order of sums */
            norm_of_one = norm;
            memcpy(one, w->value, sizeof one);
        }
        assert_true(norm == norm_of_one);
        assert_memory_equal(one, w->value, sizeof one);
        wtl_optimizer_free(optimizer);
        wtl_net_free(net);
    }
}

static const wtl_optimizer_options adam_with_average = {
    .kind = WTL_OPTIMIZER_ADAM, .momentum = 0.9, .weight_decay = 0.01, .ema = 0.9};

static wtl_checkpoint *saved(wtl_net *net, wtl_optimizer *optimizer)
{
    wtl_checkpoint *checkpoint;
    const char *path = wtl_test_path("state.wtl");
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_ok(wtl_checkpoint_set_net(checkpoint, wtl_net_def(net), NULL));
    assert_ok(wtl_checkpoint_add_net(checkpoint, net, NULL));
    assert_ok(wtl_optimizer_save(optimizer, checkpoint, NULL));
    assert_ok(wtl_checkpoint_write(checkpoint, path, NULL));
    wtl_checkpoint_free(checkpoint);
    assert_ok(wtl_checkpoint_read(&checkpoint, path, NULL));
    return checkpoint;
}

static void a_saved_and_loaded_optimizer_goes_on_bit_for_bit(void **state)
{
    (void)state;
    wtl_net *net = small_net(1.0f, 0.5f), *other = small_net(0.0f, 0.5f);
    wtl_optimizer *optimizer = optimizer_of(net, adam_with_average);
    for (int i = 0; i < 3; i++) {
        (void)wtl_optimizer_step(optimizer, 0.1);
    }
    wtl_checkpoint *checkpoint = saved(net, optimizer);
    assert_ok(wtl_checkpoint_fill_net(checkpoint, other, NULL));
    wtl_optimizer *resumed = optimizer_of(other, adam_with_average);
    assert_ok(wtl_optimizer_load(resumed, checkpoint, NULL));
    wtl_checkpoint_free(checkpoint);
    for (int turn = 0; turn < 2; turn++) { /* weights, then averages */
        (void)wtl_optimizer_step(optimizer, 0.1);
        (void)wtl_optimizer_step(resumed, 0.1);
        for (int i = 0; i < wtl_net_param_count(net); i++) {
            assert_memory_equal(wtl_net_param(net, i)->value, wtl_net_param(other, i)->value,
                                wtl_net_param(net, i)->count * sizeof(float));
        }
        wtl_optimizer_swap_ema(optimizer);
        wtl_optimizer_swap_ema(resumed);
    }
    wtl_optimizer_free(optimizer);
    wtl_optimizer_free(resumed);
    wtl_net_free(net);
    wtl_net_free(other);
}

static void loading_does_not_revive_a_masked_weight(void **state)
{
    (void)state;
    wtl_net *net = small_net(1.0f, 0.5f);
    wtl_optimizer *optimizer = optimizer_of(net, adam_with_average);
    (void)wtl_optimizer_step(optimizer, 0.1);
    wtl_checkpoint *checkpoint = saved(net, optimizer);
    mask_first_two(net); /* after the state was saved */
    assert_ok(wtl_optimizer_load(optimizer, checkpoint, NULL));
    assert_masked_stay_zero(net, optimizer);
    wtl_checkpoint_free(checkpoint);
    wtl_optimizer_free(optimizer);
    wtl_net_free(net);
}

static void a_checkpoint_without_the_state_is_refused_by_name(void **state)
{
    (void)state;
    wtl_error err;
    wtl_net *net = small_net(1.0f, 0.5f);
    wtl_optimizer *sgd = optimizer_of(net, halves);
    wtl_optimizer *adam = optimizer_of(net, adam_with_average);
    wtl_checkpoint *checkpoint = saved(net, sgd);
    assert_fails(wtl_optimizer_load(adam, checkpoint, &err), WTL_E_MISSING, &err,
                 "the checkpoint has no optimizer.d.weight.second");
    wtl_checkpoint_free(checkpoint);
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_fails(wtl_optimizer_load(sgd, checkpoint, &err), WTL_E_MISSING, &err,
                 "the checkpoint has no optimizer state");
    wtl_checkpoint_free(checkpoint);
    wtl_optimizer_free(sgd);
    wtl_optimizer_free(adam);
    wtl_net_free(net);
}

static void options_outside_their_meaning_are_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_optimizer *optimizer;
    wtl_net *net = small_net(0.0f, 0.0f);
    wtl_optimizer_options o = halves;
    o.momentum = 1.0;
    assert_fails(wtl_optimizer_create(&optimizer, net, &o, &err), WTL_E_RANGE, &err,
                 "optimizer: momentum is 1, must be at least 0 and below 1");
    assert_null(optimizer);
    o = halves;
    o.weight_decay = (double)NAN;
    assert_fails(wtl_optimizer_create(&optimizer, net, &o, &err), WTL_E_RANGE, &err,
                 "optimizer: weight_decay is nan, must be at least 0");
    o = halves;
    o.kind = (wtl_optimizer_kind)9;
    assert_fails(wtl_optimizer_create(&optimizer, net, &o, &err), WTL_E_ARG, &err,
                 "optimizer: there is no kind 9");
    wtl_net_free(net);
}

static wtl_status create_and_free(void *net)
{
    wtl_optimizer *optimizer;
    wtl_status status = wtl_optimizer_create(&optimizer, net, &adam_with_average, NULL);
    wtl_optimizer_free(optimizer);
    return status;
}

static void every_failing_allocation_of_create_is_reported(void **state)
{
    (void)state;
    wtl_net *net = small_net(1.0f, 0.5f);
    wtl_test_every_allocation_fails(create_and_free, net);
    wtl_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(sgd_takes_the_two_steps_worked_by_hand),
        WTL_TEST(nesterov_takes_the_two_steps_worked_by_hand),
        WTL_TEST(biases_decay_when_asked),
        WTL_TEST(adam_follows_its_definition_over_three_steps),
        WTL_TEST(clipping_shrinks_a_long_gradient_and_leaves_a_short_one),
        WTL_TEST(the_average_follows_the_weights_and_is_swapped_in_and_out),
        WTL_TEST(running_statistics_are_averaged_but_not_stepped),
        WTL_TEST(nothing_revives_a_masked_weight),
        WTL_TEST(masked_gradients_do_not_count_in_the_norm),
        WTL_TEST(a_gradient_that_is_not_finite_changes_nothing),
        WTL_TEST(every_thread_count_gives_the_same_bits),
        WTL_TEST(a_saved_and_loaded_optimizer_goes_on_bit_for_bit),
        WTL_TEST(loading_does_not_revive_a_masked_weight),
        WTL_TEST(a_checkpoint_without_the_state_is_refused_by_name),
        WTL_TEST(options_outside_their_meaning_are_refused),
        WTL_TEST(every_failing_allocation_of_create_is_reported),
    };
    return WTL_RUN("optimizer", tests);
}
