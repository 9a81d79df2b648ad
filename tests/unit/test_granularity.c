/* test_granularity.c - blocks by hand, what they add up to by trying everything, and the choice
 * of blocks against a literal definition. */
#include "wtl_test.h"

#include "wattle/granularity.h"
#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/rng.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { X1 = WTL_GRANULARITY_WEIGHT, X4 = WTL_GRANULARITY_4X1, MOST = 512 };

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

/* ---- cutting ---- */

static void bands_are_of_four_filters_and_do_not_cross_groups(void **state)
{
    (void)state;
    static const struct {
        int granularity, filters, groups, bands;
        int first[5], count[5];
    } cases[] = {
        {X4, 10, 1, 3, {0, 4, 8}, {4, 4, 2}},
        {X4, 8, 1, 2, {0, 4}, {4, 4}},
        {X4, 10, 2, 4, {0, 4, 5, 9}, {4, 1, 4, 1}},
        {X4, 6, 3, 3, {0, 2, 4}, {2, 2, 2}},
        {X4, 6, 6, 2, {0, 4}, {4, 2}}, /* depthwise: one filter a group */
        {X4, 1, 1, 1, {0}, {1}},
        {X1, 3, 1, 3, {0, 1, 2}, {1, 1, 1}},
        {X1, 4, 2, 4, {0, 1, 2, 3}, {1, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_blocks b = wtl_blocks_make((wtl_granularity)cases[i].granularity, cases[i].filters,
                                       cases[i].groups, 9);
        assert_int_equal(wtl_blocks_bands(&b), cases[i].bands);
        assert_int_equal(wtl_blocks_count(&b), 9 * cases[i].bands);
        for (int n = 0; n < cases[i].bands; n++) {
            wtl_band band = wtl_blocks_band(&b, n);
            assert_int_equal(band.first, cases[i].first[n]);
            assert_int_equal(band.count, cases[i].count[n]);
            assert_int_equal(wtl_block_at(&b, band, 7), cases[i].first[n] * 9 + 7);
        }
    }
}

static const char kinds_text[] = "net kinds\n"
                                 "input data 6x4x4\n"
                                 "g = conv data out=10 kernel=3 pad=1 groups=2\n"
                                 "w = depthwise g kernel=3 pad=1\n"
                                 "u = deconv w out=3 kernel=2 stride=2\n"
                                 "d = dense u out=7\n";

static void a_parameter_is_cut_by_the_groups_of_its_layer(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int filters, group, bands;
        size_t width;
    } cases[] = {{"g.weight", 10, 5, 4, 27},
                 {"w.weight", 10, 10, 3, 9},
                 {"u.weight", 10, 10, 3, 12},
                 {"d.weight", 7, 7, 2, 192}};
    wtl_net *net = net_of(kinds_text);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_blocks b = wtl_blocks_of(WTL_GRANULARITY_4X1, net, param(net, cases[i].name));
        assert_int_equal(b.filters, cases[i].filters);
        assert_int_equal(b.group, cases[i].group);
        assert_int_equal(b.width, cases[i].width);
        assert_int_equal(wtl_blocks_bands(&b), cases[i].bands);
    }
    wtl_net_free(net);
}

/* Six filters of two weights, by column; the last band has two filters. */
static const float hand[12] = {1, -3, -1, 4, 1, 0, -1, 0, 3, 6, -4, 8};

static void a_block_is_worth_the_norm_of_its_weights(void **state)
{
    (void)state;
    wtl_blocks b = wtl_blocks_make(WTL_GRANULARITY_4X1, 6, 1, 2);
    assert_close(wtl_block_norm(&b, wtl_blocks_band(&b, 0), 0, hand), 2, 0);  /* 1 1 1 1 */
    assert_close(wtl_block_norm(&b, wtl_blocks_band(&b, 0), 1, hand), 5, 0);  /* 3 4 0 0 */
    assert_close(wtl_block_norm(&b, wtl_blocks_band(&b, 1), 0, hand), 5, 0);  /* 3 4 */
    assert_close(wtl_block_norm(&b, wtl_blocks_band(&b, 1), 1, hand), 10, 0); /* 6 8 */
    b = wtl_blocks_make(WTL_GRANULARITY_WEIGHT, 6, 1, 2);
    assert_close(wtl_block_norm(&b, wtl_blocks_band(&b, 0), 1, hand), 3, 0);
    /* Squares that a float cannot hold. */
    static const float small[4] = {3e-30f, 0, 4e-30f, 0}, large[4] = {3e30f, 0, -4e30f, 0};
    b = wtl_blocks_make(WTL_GRANULARITY_4X1, 4, 1, 1);
    assert_close(wtl_block_norm(&b, wtl_blocks_band(&b, 0), 0, small) / 5e-30f, 1, 1e-6);
    assert_close(wtl_block_norm(&b, wtl_blocks_band(&b, 0), 0, large) / 5e30f, 1, 1e-6);
}

static void a_mask_of_whole_blocks_is_known(void **state)
{
    (void)state;
    /* Five filters of three weights: the last one is a band of its own. */
    static const float whole[15] = {1, 0, 1, 1, 0, 1, 1, 0, 1, 1, 0, 1, 0, 1, 0};
    float mask[15];
    assert_true(wtl_mask_is_4x1(whole, 5, 3, 1));
    assert_true(wtl_mask_is_4x1(NULL, 5, 3, 1));
    for (int i = 0; i < 12; i++) { /* any one of the first band breaks it */
        memcpy(mask, whole, sizeof mask);
        mask[i] = 1.0f - mask[i];
        assert_false(wtl_mask_is_4x1(mask, 5, 3, 1));
    }
    for (int i = 12; i < 15; i++) { /* none of the other does */
        memcpy(mask, whole, sizeof mask);
        mask[i] = 1.0f - mask[i];
        assert_true(wtl_mask_is_4x1(mask, 5, 3, 1));
    }
    static const float pairs[4] = {1, 1, 0, 0};
    assert_true(wtl_mask_is_4x1(pairs, 4, 1, 2)); /* two groups of two */
    assert_false(wtl_mask_is_4x1(pairs, 4, 1, 1));
    assert_false(wtl_mask_is_4x1(pairs, 4, 1, 4)); /* depthwise */
}

static void a_net_is_4x1_when_all_masks_are_and_something_is_pruned(void **state)
{
    (void)state;
    wtl_net *net = net_of(kinds_text);
    wtl_param *w = param(net, "w.weight");
    assert_false(wtl_mask_net_is_4x1(net)); /* dense */
    assert_ok(wtl_mask_make(w, NULL));
    assert_false(wtl_mask_net_is_4x1(net)); /* dense, too */
    for (size_t k = 4; k < 8; k++) {
        w->mask[k * 9] = 0.0f;
    }
    assert_true(wtl_mask_net_is_4x1(net));
    assert_ok(wtl_mask_make(param(net, "d.weight"), NULL));
    param(net, "d.weight")->mask[5] = 0.0f;
    assert_false(wtl_mask_net_is_4x1(net));
    wtl_error err;
    wtl_blocks b = wtl_blocks_of(WTL_GRANULARITY_4X1, net, param(net, "d.weight"));
    assert_fails(wtl_blocks_check(param(net, "d.weight"), &b, &err), WTL_E_ARG, &err,
                 "d.weight: its weights were pruned one by one, so they cannot be pruned in "
                 "4x1 blocks: take the dense network, or the granularity weight");
    b = wtl_blocks_of(WTL_GRANULARITY_WEIGHT, net, param(net, "d.weight"));
    assert_ok(wtl_blocks_check(param(net, "d.weight"), &b, NULL));
    wtl_net_free(net);
}

/* ---- what blocks add up to ---- */

static bool slow_makes(const wtl_block_stock *s, size_t weights)
{
    for (size_t a = 0; a <= s->count[0]; a++) {
        for (size_t b = 0; b <= s->count[1]; b++) {
            if (a * s->weights[0] + b * s->weights[1] == weights) {
                return true;
            }
        }
    }
    return false;
}

static void check_stock(const wtl_block_stock *s)
{
    size_t all = s->weights[0] * s->count[0] + s->weights[1] * s->count[1], last = 0;
    for (size_t n = 0; n <= all + 3; n++) {
        bool makes = slow_makes(s, n);
        last = makes ? n : last;
        assert_int_equal(wtl_stock_makes(s, n), makes);
        assert_int_equal(wtl_stock_at_most(s, n), last);
        size_t next = n < all ? n : all;
        while (!slow_makes(s, next)) {
            next++;
        }
        assert_int_equal(wtl_stock_at_least(s, n), next);
        for (int kind = 0; kind < 2; kind++) {
            wtl_block_stock rest = *s;
            bool with = rest.count[kind] > 0 && n >= rest.weights[kind];
            rest.count[kind] -= rest.count[kind] > 0;
            with = with && slow_makes(&rest, n - rest.weights[kind]);
            assert_int_equal(wtl_stock_makes_with(s, kind, n), with);
        }
    }
}

static void blocks_add_up_to_what_trying_all_finds(void **state)
{
    (void)state;
    for (size_t whole = 0; whole < 6; whole++) {
        for (size_t rest = 0; rest < 7; rest++) {
            for (size_t size = 1; size < 4; size++) {
                check_stock(&(wtl_block_stock){{4, size}, {whole, rest}});
            }
        }
        check_stock(&(wtl_block_stock){{1, 0}, {whole, 0}});
    }
    const wtl_block_stock any = {{0, 0}, {0, 0}};
    assert_true(wtl_stock_makes(&any, 17));
    assert_int_equal(wtl_stock_at_most(&any, 17), 17);
    assert_int_equal(wtl_stock_at_least(&any, 17), 17);
}

static void the_stock_of_a_mask_counts_its_blocks_by_size(void **state)
{
    (void)state;
    wtl_blocks b = wtl_blocks_make(WTL_GRANULARITY_4X1, 12, 2, 2); /* 4 + 2 filters, twice */
    wtl_block_stock s = wtl_blocks_kept(&b, NULL);
    assert_int_equal(s.weights[0], 4);
    assert_int_equal(s.weights[1], 2);
    assert_int_equal(s.count[0], 4);
    assert_int_equal(s.count[1], 4);
    float mask[24];
    for (int i = 0; i < 24; i++) {
        mask[i] = 1.0f;
    }
    wtl_block_set(&b, wtl_blocks_band(&b, 0), 1, mask, 0.0f);
    wtl_block_set(&b, wtl_blocks_band(&b, 3), 0, mask, 0.0f);
    assert_true(mask[1] == 0.0f && mask[3] == 0.0f && mask[5] == 0.0f && mask[7] == 0.0f);
    assert_true(mask[20] == 0.0f && mask[22] == 0.0f && mask[9] == 1.0f);
    s = wtl_blocks_kept(&b, mask);
    assert_int_equal(s.count[0], 3);
    assert_int_equal(s.count[1], 3);
}

/* ---- choosing ---- */

/* d.weight [6,2] with the values above: norms 2 5 of four, 5 10 of two. */
static wtl_net *hand_net(void)
{
    wtl_net *net = net_of("net hand\ninput data 2x1x1\nd = dense data out=6\n");
    memcpy(param(net, "d.weight")->value, hand, sizeof hand);
    return net;
}

static void the_largest_blocks_stay_of_as_many_weights_as_asked(void **state)
{
    (void)state;
    /* By norm: (1,1) 10 of two, (0,1) 5 of four, (1,0) 5 of two, (0,0) 2 of four. */
    static const struct {
        size_t keep, kept;
        int blocks[4]; /* (0,0) (0,1) (1,0) (1,1) */
    } cases[] = {
        {12, 12, {1, 1, 1, 1}}, {11, 10, {1, 1, 0, 1}}, /* 10 = 2 + 4 + 4 */
        {10, 10, {1, 1, 0, 1}}, {9, 8, {0, 1, 1, 1}},   {8, 8, {0, 1, 1, 1}},
        {7, 6, {0, 1, 0, 1}},   {6, 6, {0, 1, 0, 1}},   {4, 4, {0, 0, 1, 1}},
        {2, 2, {0, 0, 0, 1}},   {1, 0, {0, 0, 0, 0}},   {0, 0, {0, 0, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_net *net = hand_net();
        wtl_param *d = param(net, "d.weight");
        wtl_blocks b = wtl_blocks_of(WTL_GRANULARITY_4X1, net, d);
        assert_ok(wtl_blocks_keep(d, &b, NULL, cases[i].keep, NULL));
        assert_int_equal(wtl_mask_kept(d), cases[i].kept);
        for (size_t at = 0; at < 12; at++) {
            int block = (at >= 8 ? 2 : 0) + (int)(at % 2);
            assert_int_equal(wtl_mask_keeps(d, at), cases[i].blocks[block]);
            assert_close(d->value[at], cases[i].blocks[block] ? hand[at] : 0.0f, 0);
        }
        assert_true((d->mask == NULL) == (cases[i].keep == 12)); /* nothing was to go */
        wtl_net_free(net);
    }
}

static void scores_of_the_caller_choose_instead_of_norms(void **state)
{
    (void)state;
    float scores[4] = {9, 1, 2, 3};
    wtl_net *net = hand_net();
    wtl_param *d = param(net, "d.weight");
    wtl_blocks b = wtl_blocks_of(WTL_GRANULARITY_4X1, net, d);
    assert_ok(wtl_blocks_keep(d, &b, scores, 6, NULL));
    static const float want[12] = {1, 0, 1, 0, 1, 0, 1, 0, 0, 1, 0, 1};
    assert_memory_equal(d->mask, want, sizeof want);
    /* What is pruned stays so. */
    float others[4] = {1, 9, 9, 2};
    assert_ok(wtl_blocks_keep(d, &b, others, 5, NULL));
    assert_int_equal(wtl_mask_kept(d), 4);
    assert_true(wtl_mask_keeps(d, 0) && !wtl_mask_keeps(d, 1) && !wtl_mask_keeps(d, 8));
    wtl_net_free(net);
}

/* From the largest norm down, a block stays if what is left of `keep` can be made without it. */
static void slow_keep(const wtl_blocks *b, const float *value, const float *mask, size_t keep,
                      float *want)
{
    wtl_block_stock stock = wtl_blocks_kept(b, mask);
    int taken[MOST] = {0};
    size_t left = keep, blocks = wtl_blocks_count(b);
    while (!slow_makes(&stock, left)) {
        left--;
    }
    memcpy(want, mask, (size_t)b->filters * b->width * sizeof *want);
    for (;;) {
        int best = -1;
        double most = -1.0;
        for (size_t i = 0; i < blocks; i++) {
            wtl_band band = wtl_blocks_band(b, (int)(i / b->width));
            double norm = 0.0;
            for (int f = 0; f < band.count; f++) {
                norm +=
                    pow((double)value[(size_t)(band.first + f) * b->width + i % b->width], 2.0);
            }
            bool there = mask[wtl_block_at(b, band, i % b->width)] != 0.0f && !taken[i];
            if (there && (float)sqrt(norm) > (float)most) {
                most = sqrt(norm);
                best = (int)i;
            }
        }
        if (best < 0) {
            return;
        }
        taken[best] = 1;
        wtl_band band = wtl_blocks_band(b, best / (int)b->width);
        int kind = band.count < 4;
        stock.count[kind]--;
        size_t size = (size_t)band.count;
        if (left >= size && slow_makes(&stock, left - size)) {
            left -= size;
        } else {
            wtl_block_set(b, band, (size_t)best % b->width, want, 0.0f);
        }
    }
}

static void the_choice_equals_the_literal_definition(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 60; seed++) {
        wtl_rng rng = wtl_rng_make(seed, WTL_RNG_TEST, 0, 0);
        int out = 1 + (int)wtl_rng_below(&rng, 13), in = 1 + (int)wtl_rng_below(&rng, 9);
        char text[96];
        float want[MOST];
        snprintf(text, sizeof text, "net r\ninput data %dx1x1\nd = dense data out=%d\n", in,
                 out);
        wtl_net *net = net_of(text);
        wtl_param *d = param(net, "d.weight");
        wtl_blocks b = wtl_blocks_of(WTL_GRANULARITY_4X1, net, d);
        wtl_fill_random(d->value, d->count, seed);
        for (size_t i = 0; i < d->count; i++) { /* ties */
            d->value[i] = seed % 3 ? d->value[i] : roundf(2.0f * d->value[i]);
        }
        assert_ok(wtl_mask_make(d, NULL));
        for (int round = 0; round < 3; round++) { /* each from what the one before left */
            size_t kept = wtl_mask_kept(d);
            size_t keep = wtl_rng_below(&rng, (uint32_t)kept + 1);
            slow_keep(&b, d->value, d->mask, keep, want);
            assert_ok(wtl_blocks_keep(d, &b, NULL, keep, NULL));
            assert_memory_equal(d->mask, want, d->count * sizeof *want);
            assert_true(wtl_blocks_whole(&b, d->mask));
            assert_true(wtl_mask_kept(d) <= keep && wtl_mask_kept(d) + 4 > keep);
        }
        wtl_net_free(net);
    }
}

static void single_weights_are_chosen_as_by_the_mask_functions(void **state)
{
    (void)state;
    wtl_net *net = hand_net(), *other = hand_net();
    wtl_param *d = param(net, "d.weight"), *o = param(other, "d.weight");
    wtl_blocks b = wtl_blocks_of(WTL_GRANULARITY_WEIGHT, net, d);
    for (size_t keep = 12; keep-- > 0;) {
        assert_ok(wtl_blocks_keep(d, &b, NULL, keep, NULL));
        assert_ok(wtl_mask_keep_top(&o, 1, keep, NULL));
        assert_memory_equal(d->mask, o->mask, sizeof hand);
        assert_memory_equal(d->value, o->value, sizeof hand);
    }
    wtl_net_free(net);
    wtl_net_free(other);
}

static void what_may_not_be_pruned_is_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_net *net = hand_net();
    wtl_param *bias = param(net, "d.bias");
    wtl_blocks b = wtl_blocks_make(WTL_GRANULARITY_4X1, 6, 1, 1);
    assert_fails(wtl_blocks_keep(bias, &b, NULL, 2, &err), WTL_E_ARG, &err,
                 "d.bias: not a weight, only weights can be pruned");
    assert_null(bias->mask);
    wtl_net_free(net);
}

static wtl_status choose_once(void *context)
{
    wtl_param *d = context;
    wtl_blocks b = wtl_blocks_make(WTL_GRANULARITY_4X1, 6, 1, 2);
    wtl_status status = wtl_blocks_keep(d, &b, NULL, 6, NULL);
    assert_true(status == WTL_OK || d->mask == NULL);
    wtl_mask_free(d);
    memcpy(d->value, hand, sizeof hand);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    wtl_net *net = hand_net();
    wtl_test_every_allocation_fails(choose_once, param(net, "d.weight"));
    wtl_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(bands_are_of_four_filters_and_do_not_cross_groups),
        WTL_TEST(a_parameter_is_cut_by_the_groups_of_its_layer),
        WTL_TEST(a_block_is_worth_the_norm_of_its_weights),
        WTL_TEST(a_mask_of_whole_blocks_is_known),
        WTL_TEST(a_net_is_4x1_when_all_masks_are_and_something_is_pruned),
        WTL_TEST(blocks_add_up_to_what_trying_all_finds),
        WTL_TEST(the_stock_of_a_mask_counts_its_blocks_by_size),
        WTL_TEST(the_largest_blocks_stay_of_as_many_weights_as_asked),
        WTL_TEST(scores_of_the_caller_choose_instead_of_norms),
        WTL_TEST(the_choice_equals_the_literal_definition),
        WTL_TEST(single_weights_are_chosen_as_by_the_mask_functions),
        WTL_TEST(what_may_not_be_pruned_is_refused),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("granularity", tests);
}
