#include "wtl_test.h"

#include "wattle/mask.h"

#include <math.h>
#include <string.h>

/* c.weight [2,1,2,2], c.bias [2], d.weight [3,8], d.bias [3] */
static const char small_text[] = "net small\n"
                                 "input data 1x3x3\n"
                                 "c = conv data out=2 kernel=2\n"
                                 "d = dense c out=3\n";
enum { C = 8, D = 24 };

static wtl_net *net_of(const char *text)
{
    wtl_netdef *def;
    wtl_net *net;
    const wtl_net_options options = {.batch = 1};
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

static wtl_net *small_net(void)
{
    wtl_net *net = net_of(small_text);
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_param *p = wtl_net_param(net, i);
        wtl_fill_random(p->value, p->count, (unsigned)i + 1);
    }
    return net;
}

static void assert_mask(const wtl_param *p, const float *mask, const float *value)
{
    assert_memory_equal(p->mask, mask, p->count * sizeof *mask);
    for (size_t i = 0; i < p->count; i++) {
        float want = mask[i] != 0.0f ? value[i] : 0.0f;
        assert_memory_equal(&p->value[i], &want, sizeof want); /* -0 is not 0 here */
    }
}

static void a_new_mask_keeps_everything_and_only_weights_get_one(void **state)
{
    (void)state;
    wtl_net *net = small_net();
    wtl_param *weight = param(net, "c.weight");
    wtl_error err;
    assert_true(wtl_mask_allowed(weight));
    assert_int_equal(wtl_mask_kept(weight), C);
    assert_ok(wtl_mask_make(weight, &err));
    static const float ones[C] = {1, 1, 1, 1, 1, 1, 1, 1};
    assert_memory_equal(weight->mask, ones, sizeof ones);
    weight->mask[3] = 0.0f;
    assert_ok(wtl_mask_make(weight, &err));
    assert_false(wtl_mask_keeps(weight, 3));
    assert_true(wtl_mask_keeps(weight, 2));
    assert_int_equal(wtl_mask_kept(weight), C - 1);
    wtl_mask_free(weight);
    assert_null(weight->mask);
    assert_fails(wtl_mask_make(param(net, "c.bias"), &err), WTL_E_ARG, &err,
                 "c.bias: not a weight, only weights can be pruned");
    assert_null(param(net, "c.bias")->mask);
    wtl_net_free(net);
}

static void a_pruned_weight_becomes_plus_zero_whatever_it_was(void **state)
{
    (void)state;
    wtl_net *net = small_net();
    wtl_param *weight = param(net, "c.weight");
    static const float values[C] = {NAN, -1.0f, -0.0f, INFINITY, 5.0f, -6.0f, 1e-40f, 8.0f};
    static const float mask[C] = {0, 0, 0, 0, 1, 1, 0, 0};
    assert_ok(wtl_mask_make(weight, NULL));
    memcpy(weight->mask, mask, sizeof mask);
    memcpy(weight->value, values, sizeof values);
    wtl_mask_apply_net(net);
    assert_mask(weight, mask, values);
    wtl_net_free(net);
}

static void counts_are_of_prunable_weights(void **state)
{
    (void)state;
    wtl_net *net = small_net();
    wtl_param *found[3] = {NULL, NULL, NULL};
    assert_int_equal(wtl_mask_params(net, NULL, 0), 2);
    assert_int_equal(wtl_mask_params(net, found, 1), 2);
    assert_null(found[1]);
    assert_int_equal(wtl_mask_params(net, found, 3), 2);
    assert_ptr_equal(found[0], param(net, "c.weight"));
    assert_ptr_equal(found[1], param(net, "d.weight"));
    assert_null(found[2]);

    assert_ok(wtl_mask_make(found[1], NULL));
    found[1]->mask[0] = found[1]->mask[23] = 0.0f;
    wtl_mask_apply(found[1]);
    found[0]->value[5] = 0.0f;
    wtl_mask_count count = wtl_mask_count_net(net);
    assert_int_equal(count.weights, 32);
    assert_int_equal(count.kept, 30);
    assert_int_equal(count.nonzero, 29);
    wtl_net_free(net);
}

/* Magnitudes 3 1 2 2 | 0 2 5 2: worked by hand. */
static const float by_hand[C] = {3, -1, 2, -2, 0, 2, -5, 2};

static void the_largest_of_a_layer_stay_and_the_lower_index_breaks_ties(void **state)
{
    (void)state;
    static const struct {
        size_t keep;
        float mask[C];
    } cases[] = {
        {0, {0, 0, 0, 0, 0, 0, 0, 0}}, {1, {0, 0, 0, 0, 0, 0, 1, 0}},
        {2, {1, 0, 0, 0, 0, 0, 1, 0}}, {3, {1, 0, 1, 0, 0, 0, 1, 0}},
        {4, {1, 0, 1, 1, 0, 0, 1, 0}}, {5, {1, 0, 1, 1, 0, 1, 1, 0}},
        {6, {1, 0, 1, 1, 0, 1, 1, 1}}, {7, {1, 1, 1, 1, 0, 1, 1, 1}},
        {8, {1, 1, 1, 1, 1, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_net *net = small_net();
        wtl_param *weight = param(net, "c.weight");
        memcpy(weight->value, by_hand, sizeof by_hand);
        assert_ok(wtl_mask_keep_top(&weight, 1, cases[i].keep, NULL));
        assert_mask(weight, cases[i].mask, by_hand);
        wtl_net_free(net);
    }
}

static void the_largest_of_each_filter_stay(void **state)
{
    (void)state;
    static const float two[C] = {1, 0, 1, 0, 0, 1, 1, 0}, none[C] = {0};
    wtl_net *net = small_net();
    wtl_param *weight = param(net, "c.weight");
    wtl_error err;
    memcpy(weight->value, by_hand, sizeof by_hand);
    assert_ok(wtl_mask_keep_top_filters(weight, 2, NULL));
    assert_mask(weight, two, by_hand);
    assert_fails(wtl_mask_keep_top_filters(weight, 5, &err), WTL_E_RANGE, &err,
                 "c.weight: 5 weights are to be kept, there are 4");
    assert_mask(weight, two, by_hand);
    assert_ok(wtl_mask_keep_top_filters(weight, 0, NULL));
    assert_mask(weight, none, by_hand);
    wtl_net_free(net);
}

/* The slow definition: each in turn is the largest that is left. */
static void choose_slowly(const float *values, size_t count, size_t keep, float *mask)
{
    memset(mask, 0, count * sizeof *mask);
    for (; keep > 0; keep--) {
        size_t best = count;
        for (size_t i = 0; i < count; i++) {
            if (mask[i] == 0.0f && (best == count || fabsf(values[i]) > fabsf(values[best]))) {
                best = i;
            }
        }
        mask[best] = 1.0f;
    }
}

static void the_largest_of_all_layers_stay_as_the_slow_definition_says(void **state)
{
    (void)state;
    for (size_t keep = 0; keep <= C + D; keep++) {
        wtl_net *net = small_net();
        wtl_param *both[2] = {param(net, "c.weight"), param(net, "d.weight")};
        for (int p = 0; p < 2; p++) { /* many ties: multiples of 1/4, tiny and huge ones */
            for (size_t i = 0; i < both[p]->count; i++) {
                both[p]->value[i] = roundf(both[p]->value[i] * 4.0f) / 4.0f;
            }
        }
        both[1]->value[3] = 2e-38f; /* normal: denormals are flushed */
        both[1]->value[4] = -3e38f;
        float values[C + D], mask[C + D];
        memcpy(values, both[0]->value, C * sizeof *values);
        memcpy(values + C, both[1]->value, D * sizeof *values);
        choose_slowly(values, C + D, keep, mask);
        assert_ok(wtl_mask_keep_top(both, 2, keep, NULL));
        assert_mask(both[0], mask, values);
        assert_mask(both[1], mask + C, values + C);
        wtl_net_free(net);
    }
}

static void nan_is_kept_before_any_number(void **state)
{
    (void)state;
    wtl_net *net = small_net();
    wtl_param *weight = param(net, "c.weight");
    memcpy(weight->value, by_hand, sizeof by_hand);
    weight->value[1] = -NAN;
    weight->value[0] = INFINITY;
    assert_ok(wtl_mask_keep_top(&weight, 1, 1, NULL));
    assert_true(wtl_mask_keeps(weight, 1));
    assert_int_equal(wtl_mask_kept(weight), 1);
    wtl_net_free(net);
}

static void choices_that_make_no_sense_change_nothing(void **state)
{
    (void)state;
    wtl_net *net = small_net();
    wtl_param *params[2] = {param(net, "c.weight"), param(net, "d.bias")};
    wtl_rng rng = wtl_rng_make(1, WTL_RNG_PRUNE, 0, 0);
    wtl_error err;
    float before = params[0]->value[0];
    assert_fails(wtl_mask_keep_top(params, 2, 4, &err), WTL_E_ARG, &err,
                 "d.bias: not a weight, only weights can be pruned");
    assert_fails(wtl_mask_keep_top(params, 1, 9, &err), WTL_E_RANGE, &err,
                 "c.weight: 9 weights are to be kept, there are 8");
    assert_fails(wtl_mask_keep_random(params, 1, 9, &rng, &err), WTL_E_RANGE, &err,
                 "c.weight: 9 weights are to be kept, there are 8");
    assert_null(params[0]->mask);
    assert_true(params[0]->value[0] == before);
    wtl_net_free(net);
}

/* 2000 draws of 2 of 8: each weight is expected 500 times, sd = sqrt(2000 * .25 * .75) = 19.4;
 * five of them are never seen by chance. */
static void random_masks_keep_the_number_asked_and_favour_none(void **state)
{
    (void)state;
    wtl_net *net = small_net();
    wtl_param *weight = param(net, "c.weight");
    wtl_rng rng = wtl_rng_make(7, WTL_RNG_PRUNE, 0, 0);
    int seen[C] = {0};
    for (int draw = 0; draw < 2000; draw++) {
        assert_ok(wtl_mask_keep_random(&weight, 1, 2, &rng, NULL));
        assert_int_equal(wtl_mask_kept(weight), 2);
        for (size_t i = 0; i < C; i++) {
            seen[i] += wtl_mask_keeps(weight, i);
        }
    }
    for (size_t i = 0; i < C; i++) {
        assert_close((double)seen[i], 500.0, 97.0);
    }
    wtl_net_free(net);
}

static void random_masks_follow_the_seed_over_all_layers(void **state)
{
    (void)state;
    float masks[3][C + D];
    for (int run = 0; run < 3; run++) {
        wtl_net *net = small_net();
        wtl_param *both[2] = {param(net, "c.weight"), param(net, "d.weight")};
        wtl_rng rng = wtl_rng_make(run == 2 ? 8 : 7, WTL_RNG_PRUNE, 0, 0);
        assert_ok(wtl_mask_keep_random(both, 2, 16, &rng, NULL));
        assert_int_equal(wtl_mask_kept(both[0]) + wtl_mask_kept(both[1]), 16);
        memcpy(masks[run], both[0]->mask, C * sizeof(float));
        memcpy(masks[run] + C, both[1]->mask, D * sizeof(float));
        wtl_net_free(net);
    }
    assert_memory_equal(masks[0], masks[1], sizeof masks[0]);
    assert_memory_not_equal(masks[0], masks[2], sizeof masks[0]);
}

static void masks_are_copied_by_name_and_applied(void **state)
{
    (void)state;
    wtl_net *from = small_net(), *to = small_net();
    wtl_net *other = net_of("net small\ninput data 1x3x3\nd = dense data out=3\n");
    wtl_error err;
    wtl_param *source = param(from, "d.weight");
    assert_ok(wtl_mask_make(source, NULL));
    source->mask[2] = 0.0f;
    assert_ok(wtl_mask_make(param(to, "c.weight"), NULL));
    assert_ok(wtl_mask_copy_net(to, from, &err));
    assert_null(param(to, "c.weight")->mask);
    assert_memory_equal(param(to, "d.weight")->mask, source->mask, D * sizeof(float));
    assert_true(param(to, "d.weight")->value[2] == 0.0f);

    assert_ok(wtl_mask_make(param(to, "c.weight"), NULL));
    assert_ok(wtl_mask_make(param(other, "d.weight"), NULL));
    assert_fails(wtl_mask_copy_net(to, other, &err), WTL_E_SHAPE, &err,
                 "d.weight: the two nets have it in different shapes");
    assert_non_null(param(to, "c.weight")->mask);
    wtl_net_free(from);
    wtl_net_free(to);
    wtl_net_free(other);
}

static wtl_status masks_of_two_nets(void *context)
{
    wtl_net **nets = context;
    wtl_param *both[2] = {param(nets[0], "c.weight"), param(nets[0], "d.weight")};
    wtl_status status = wtl_mask_keep_top(both, 2, 16, NULL);
    if (status == WTL_OK) {
        status = wtl_mask_copy_net(nets[1], nets[0], NULL);
    }
    if (status != WTL_OK) {
        assert_null(param(nets[1], "c.weight")->mask);
    }
    assert_int_equal(both[0]->mask == NULL, both[1]->mask == NULL); /* all or none */
    for (int i = 0; i < 2; i++) {
        wtl_mask_free(param(nets[i], "c.weight"));
        wtl_mask_free(param(nets[i], "d.weight"));
    }
    return status;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    wtl_net *nets[2] = {small_net(), small_net()};
    wtl_test_every_allocation_fails(masks_of_two_nets, nets);
    wtl_net_free(nets[0]);
    wtl_net_free(nets[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_new_mask_keeps_everything_and_only_weights_get_one),
        WTL_TEST(a_pruned_weight_becomes_plus_zero_whatever_it_was),
        WTL_TEST(counts_are_of_prunable_weights),
        WTL_TEST(the_largest_of_a_layer_stay_and_the_lower_index_breaks_ties),
        WTL_TEST(the_largest_of_each_filter_stay),
        WTL_TEST(the_largest_of_all_layers_stay_as_the_slow_definition_says),
        WTL_TEST(nan_is_kept_before_any_number),
        WTL_TEST(choices_that_make_no_sense_change_nothing),
        WTL_TEST(random_masks_keep_the_number_asked_and_favour_none),
        WTL_TEST(random_masks_follow_the_seed_over_all_layers),
        WTL_TEST(masks_are_copied_by_name_and_applied),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("mask", tests);
}
