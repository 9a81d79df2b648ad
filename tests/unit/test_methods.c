/* test_methods.c - which weights each method takes, worked by hand and against a literal
 * definition; goals, limits, refusals. */
#include "energy_cases.h"
#include "prune/methods/methods.h"
#include "wattle/memory.h"
#include "wattle/zoo.h"
#include "wtl_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LAYERS = 8 };

/* ---- a net that is pruned, its prices, a context ---- */

typedef struct fixture {
    wtl_net *net, *probe;
    wtl_pricing *pricing;
    wtl_method_layer layers[MOST_LAYERS];
    int count;
    wtl_method_context context;
} fixture;

static wtl_net *plan(const char *text, size_t length, bool keep_outputs)
{
    wtl_netdef *def = NULL;
    wtl_net *net = NULL;
    wtl_error err;
    const wtl_net_options options = {.batch = 1, .keep_outputs = keep_outputs};
    assert_ok(wtl_netdef_parse(&def, text, length, "t.net", NULL, &err));
    assert_ok(wtl_net_create(&net, def, &options, &err));
    wtl_netdef_free(def);
    return net;
}

static void set_layers(fixture *f)
{
    for (int i = 0; i < f->count; i++) {
        wtl_param *param = wtl_net_find_param(f->net, wtl_pricing_layer(f->pricing, i).weight);
        f->layers[i] = wtl_method_layer_of(f->net, param, WTL_GRANULARITY_WEIGHT);
    }
}

static void set_up(fixture *f, const char *text, size_t length, const wtl_hardware *hw)
{
    wtl_error err;
    memset(f, 0, sizeof *f);
    f->net = plan(text, length, false);
    f->probe = plan(text, length, true);
    wtl_net_init(f->net, 11);
    assert_ok(wtl_pricing_create(&f->pricing, f->probe, hw, NULL, &err));
    f->count = wtl_pricing_count(f->pricing);
    assert_true(f->count <= MOST_LAYERS);
    set_layers(f);
    f->context = (wtl_method_context){.net = f->net,
                                      .probe = f->probe,
                                      .pricing = f->pricing,
                                      .layers = f->layers,
                                      .seed = 1,
                                      .threads = 1};
}

static void tear_down(fixture *f)
{
    wtl_pricing_free(f->pricing);
    wtl_net_free(f->net);
    wtl_net_free(f->probe);
}

/* Only MACs cost, 1 each, and those of a zero weight nothing: a weight costs as often as it is
 * used in one image. */
static wtl_hardware macs_only(void)
{
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    case_energies(&hw, 0, 0, 0, 0);
    hw.zero_weight = WTL_ZERO_SKIPS;
    return hw;
}

/* c.weight [2,1,2,2]: 8 weights, each used at 2x2 places: 4 each, 32 in all.
 * d.weight [3,8]: 24 weights at 1. Dense: 56. */
static const char hand_text[] = "net hand\n"
                                "input data 1x3x3\n"
                                "c = conv data out=2 kernel=2\n"
                                "d = dense c out=3\n";
enum { C = 8, D = 24 };

static const float hand_c[C] = {3, -1, 2, -2, 0.5f, 7, -5, 2};

static void set_up_hand(fixture *f)
{
    wtl_hardware hw = macs_only();
    set_up(f, hand_text, strlen(hand_text), &hw);
    assert_int_equal(f->count, 2);
    memcpy(f->layers[0].param->value, hand_c, sizeof hand_c);
    for (int i = 0; i < D; i++) { /* 0.25, -0.5, 0.75, ... -6 */
        f->layers[1].param->value[i] = (i % 2 ? -0.25f : 0.25f) * (float)(i + 1);
    }
}

static double energy_kept(const fixture *f)
{
    double total = 0;
    for (int i = 0; i < f->count; i++) {
        double kept = (double)wtl_mask_kept(f->layers[i].param);
        total += wtl_pricing_cost(f->pricing, i, kept);
    }
    return total;
}

static double energy_most(const fixture *f)
{
    double total = 0;
    for (int i = 0; i < f->count; i++) {
        total += wtl_pricing_cost(f->pricing, i, (double)f->layers[i].most);
    }
    return total;
}

static void prune_to(fixture *f, const char *method, double goal)
{
    wtl_error err = {0};
    f->context.goal_energy = goal;
    const wtl_method *found = wtl_method_find(method);
    assert_non_null(found);
    if (found->prune(&f->context, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
}

/* Pruned weights are +0.0f, every byte. */
static void assert_zeros_are_exact(const fixture *f)
{
    static const float zero = 0.0f;
    for (int i = 0; i < f->count; i++) {
        const wtl_param *param = f->layers[i].param;
        for (size_t k = 0; k < param->count; k++) {
            if (!wtl_mask_keeps(param, k)) {
                assert_memory_equal(&param->value[k], &zero, sizeof zero);
            }
        }
    }
}

static void assert_kept(const fixture *f, size_t c, size_t d)
{
    assert_int_equal(wtl_mask_kept(f->layers[0].param), c);
    assert_int_equal(wtl_mask_kept(f->layers[1].param), d);
    assert_zeros_are_exact(f);
}

/* ---- the list ---- */

/* Those that look at weights alone. */
enum { SIMPLE = 4 };
static const char *const simple_names[SIMPLE] = {"magnitude-uniform", "magnitude-global",
                                                 "magnitude-gradual", "random"};

static const wtl_method *simple(int i)
{
    const wtl_method *method = wtl_method_find(simple_names[i]);
    assert_non_null(method);
    return method;
}

static void methods_are_listed_and_found_by_name(void **state)
{
    (void)state;
    int count = 0;
    for (const wtl_method *m = wtl_method_at(0); m; m = wtl_method_at(++count)) {
        assert_ptr_equal(wtl_method_find(m->name), m);
        assert_non_null(m->prune);
        assert_true(strlen(m->line) > 0);
        assert_int_equal(m->cubic, strcmp(m->name, "magnitude-gradual") == 0);
    }
    for (int i = 0; i < SIMPLE; i++) {
        const wtl_method *m = simple(i);
        assert_string_equal(m->name, simple_names[i]);
        assert_false(m->rewrites);
        assert_false(m->wants_sense);
    }
    assert_null(wtl_method_find("magnitude"));
    assert_null(wtl_method_at(-1));
    assert_null(wtl_method_at(count + 1));
}

/* ---- by hand ---- */

static void the_floor_is_the_sum_of_what_limits_leave(void **state)
{
    (void)state;
    fixture f;
    set_up_hand(&f);
    assert_close(energy_most(&f), 56, 1e-9);
    assert_close(wtl_method_floor(f.pricing, f.layers), 4 + 1, 1e-9);
    f.layers[0].least = 3;
    f.layers[1].least = D;
    assert_close(wtl_method_floor(f.pricing, f.layers), 3 * 4 + 24, 1e-9);
    f.layers[1].most = 10; /* it holds fewer already than its limit */
    assert_close(wtl_method_floor(f.pricing, f.layers), 3 * 4 + 10, 1e-9);
    tear_down(&f);
}

static void uniform_keeps_one_density_and_the_largest_of_each_layer(void **state)
{
    (void)state;
    static const float half[C] = {1, 0, 1, 0, 0, 1, 1, 0}; /* |2| three times: the first */
    fixture f;
    set_up_hand(&f);
    prune_to(&f, "magnitude-uniform", 28); /* density 1/2: 4*4 + 12 */
    assert_kept(&f, 4, 12);
    assert_memory_equal(f.layers[0].param->mask, half, sizeof half);
    for (int i = 0; i < D; i++) {
        assert_int_equal(wtl_mask_keeps(f.layers[1].param, (size_t)i), i >= 12);
    }
    assert_close(f.layers[0].param->value[6], -5, 0);
    tear_down(&f);

    /* Under density 5/8 the layers hold 4 and 14, at it 5 and 15, which is 35: the first, and
     * one more of d, as c's next does not fit. */
    set_up_hand(&f);
    prune_to(&f, "magnitude-uniform", 31);
    assert_kept(&f, 4, 15);
    tear_down(&f);
}

static void gradual_cuts_as_uniform_does(void **state)
{
    (void)state;
    fixture f, g;
    set_up_hand(&f);
    set_up_hand(&g);
    prune_to(&f, "magnitude-uniform", 23);
    prune_to(&g, "magnitude-gradual", 23);
    for (int i = 0; i < f.count; i++) {
        size_t bytes = f.layers[i].weights * sizeof(float);
        assert_memory_equal(f.layers[i].param->mask, g.layers[i].param->mask, bytes);
    }
    tear_down(&f);
    tear_down(&g);
}

/* In the common row: c 7 | d 6 .. 5.25 | c 5, d 5 | d 4.75 .. 3.25 | c 3, d 3 | d 2.75 .. 2.25 |
 * c 2 2 2, d 2 | ... */
static void global_has_one_threshold_for_all_layers(void **state)
{
    (void)state;
    fixture f;
    set_up_hand(&f);
    /* Above 3: 2 of c and 12 of d are 20; c's 3 makes it 24, d's 3 makes it 25. */
    prune_to(&f, "magnitude-global", 25);
    assert_kept(&f, 3, 13);
    assert_true(wtl_mask_keeps(f.layers[0].param, 0));
    assert_true(wtl_mask_keeps(f.layers[1].param, 11));
    tear_down(&f);

    /* Ties go by layer: at 24, c's 3 is in and d's is not. */
    set_up_hand(&f);
    prune_to(&f, "magnitude-global", 24);
    assert_kept(&f, 3, 12);
    tear_down(&f);

    /* And at 23 c's 3 ends the row; what it leaves goes to d, 3 in number. */
    set_up_hand(&f);
    prune_to(&f, "magnitude-global", 23);
    assert_kept(&f, 2, 15);
    tear_down(&f);

    /* Above 2: 3 of c and 16 of d are 28; of the three 2s of c the first. 35: two of them. */
    set_up_hand(&f);
    prune_to(&f, "magnitude-global", 36);
    assert_kept(&f, 5, 16);
    assert_true(wtl_mask_keeps(f.layers[0].param, 2));
    assert_true(wtl_mask_keeps(f.layers[0].param, 3));
    assert_false(wtl_mask_keeps(f.layers[0].param, 7));
    tear_down(&f);
}

static void an_excluded_layer_is_not_touched(void **state)
{
    (void)state;
    for (int m = 0; m < SIMPLE; m++) {
        fixture f;
        set_up_hand(&f);
        f.layers[0].least = C;
        prune_to(&f, simple_names[m], 32 + 5);
        assert_kept(&f, C, 5);
        assert_null(f.layers[0].param->mask);
        assert_memory_equal(f.layers[0].param->value, hand_c, sizeof hand_c);
        tear_down(&f);
    }
}

static void a_goal_that_holds_already_changes_nothing(void **state)
{
    (void)state;
    fixture f;
    for (int m = 0; m < SIMPLE; m++) {
        set_up_hand(&f);
        prune_to(&f, simple_names[m], 56.5);
        assert_kept(&f, C, D);
        assert_null(f.layers[1].param->mask);
        tear_down(&f);
    }
}

/* ---- against the literal definition ---- */

typedef struct ranked {
    double magnitude;
    int layer;
    size_t index;
} ranked;

static int by_rank(const void *left, const void *right)
{
    const ranked *a = left, *b = right;
    if (a->magnitude != b->magnitude) {
        return a->magnitude > b->magnitude ? -1 : 1;
    }
    if (a->layer != b->layer) {
        return a->layer - b->layer;
    }
    return a->index < b->index ? -1 : a->index > b->index;
}

static double energy_of(const fixture *f, const size_t *kept)
{
    double total = 0;
    for (int i = 0; i < f->count; i++) {
        total += wtl_pricing_cost(f->pricing, i, (double)kept[i]);
    }
    return total;
}

/* kept := what the first n of the row are within the limits. */
static void kept_of_first(const fixture *f, const ranked *row, size_t n, size_t *kept)
{
    memset(kept, 0, MOST_LAYERS * sizeof *kept);
    for (size_t k = 0; k < n; k++) {
        kept[row[k].layer]++;
    }
    for (int i = 0; i < f->count; i++) {
        const wtl_method_layer *l = &f->layers[i];
        kept[i] = kept[i] < l->least ? l->least : kept[i];
        kept[i] = kept[i] > l->most ? l->most : kept[i];
    }
}

/* One weight at a time, to the layer where it costs most of those where it fits. */
static void top_up_slowly(const fixture *f, size_t *kept)
{
    for (int best = 0; best >= 0;) {
        double most = -1;
        best = -1;
        for (int i = 0; i < f->count; i++) {
            double before = wtl_pricing_cost(f->pricing, i, (double)kept[i]);
            if (kept[i] == f->layers[i].most) {
                continue;
            }
            kept[i]++;
            double step = wtl_pricing_cost(f->pricing, i, (double)kept[i]) - before;
            if (step > most && energy_of(f, kept) <= f->context.goal_energy) {
                most = step;
                best = i;
            }
            kept[i]--;
        }
        if (best >= 0) {
            kept[best]++;
        }
    }
}

static ranked *make_row(const fixture *f, size_t *total)
{
    *total = 0;
    for (int i = 0; i < f->count; i++) {
        *total += f->layers[i].weights;
    }
    ranked *row = malloc((*total + 1) * sizeof *row);
    assert_non_null(row);
    size_t at = 0;
    for (int i = 0; i < f->count; i++) {
        for (size_t k = 0; k < f->layers[i].weights; k++) {
            row[at++] = (ranked){fabs((double)f->layers[i].param->value[k]), i, k};
        }
    }
    qsort(row, *total, sizeof *row, by_rank);
    return row;
}

/* masks[layer] := what stays, by the definition. */
static void keep_by_definition(const fixture *f, float **masks)
{
    size_t total, n = 0, kept[MOST_LAYERS], taken[MOST_LAYERS] = {0};
    ranked *row = make_row(f, &total);
    for (bool fit = true; fit && n < total; n += fit) {
        kept_of_first(f, row, n + 1, kept);
        fit = energy_of(f, kept) <= f->context.goal_energy;
    }
    kept_of_first(f, row, n, kept);
    top_up_slowly(f, kept);
    for (size_t k = 0; k < total; k++) {
        int i = row[k].layer;
        masks[i][row[k].index] = taken[i] < kept[i] ? 1.0f : 0.0f;
        taken[i]++;
    }
    free(row);
}

/* 3 layers of which one has groups: costs of a weight 36, 9 and 1. */
static const char three_text[] = "net three\n"
                                 "input data 2x6x6\n"
                                 "a = conv data out=4 kernel=3 pad=1\n"
                                 "p = maxpool a kernel=2 stride=2\n"
                                 "b = conv p out=6 kernel=3 pad=1 groups=2\n"
                                 "r = relu b\n"
                                 "d = dense r out=5\n";

/* Half of the seeds have magnitudes of 7 values, so that nearly all weights are tied. */
static void fill_for(fixture *f, unsigned seed)
{
    wtl_rng rng = wtl_rng_make(seed, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < f->count; i++) {
        wtl_method_layer *l = &f->layers[i];
        for (size_t k = 0; k < l->weights; k++) {
            float value = (float)wtl_rng_normal(&rng) * (i == 1 ? 0.3f : 1.0f);
            l->param->value[k] = seed % 2 ? roundf(2 * value) : value;
        }
        l->least = 1 + wtl_rng_below(&rng, (uint32_t)l->weights / 3);
    }
}

static void check_definition(unsigned seed, const wtl_hardware *hw)
{
    fixture f;
    float *masks[MOST_LAYERS] = {NULL};
    set_up(&f, three_text, strlen(three_text), hw);
    fill_for(&f, seed);
    double lowest = wtl_method_floor(f.pricing, f.layers), dense = energy_most(&f);
    for (int i = 0; i < f.count; i++) {
        masks[i] = calloc(f.layers[i].weights, sizeof **masks);
        assert_non_null(masks[i]);
    }
    for (int round = 1; round <= 3; round++) { /* the second and third begin where masks are */
        f.context.goal_energy = lowest + (dense - lowest) * pow(0.25 + 0.1 * (seed % 6), round);
        keep_by_definition(&f, masks);
        prune_to(&f, "magnitude-global", f.context.goal_energy);
        for (int i = 0; i < f.count; i++) {
            size_t bytes = f.layers[i].weights * sizeof(float);
            assert_non_null(f.layers[i].param->mask);
            assert_memory_equal(f.layers[i].param->mask, masks[i], bytes);
            f.layers[i].most = wtl_mask_kept(f.layers[i].param);
        }
        assert_zeros_are_exact(&f);
    }
    for (int i = 0; i < f.count; i++) {
        free(masks[i]);
    }
    tear_down(&f);
}

static void global_is_the_longest_row_that_meets_the_goal(void **state)
{
    (void)state;
    wtl_hardware plain = macs_only(), paper;
    wtl_error err;
    assert_ok(wtl_hardware_load(&paper, "eyeriss-cvpr17", &err));
    for (unsigned seed = 0; seed < 12; seed++) {
        check_definition(seed, &plain);
        check_definition(seed, &paper);
    }
}

/* ---- goals on a real net ---- */

static void set_up_lenet(fixture *f)
{
    size_t length = 0;
    const char *text = wtl_zoo_text("lenet5", &length);
    wtl_hardware hw;
    wtl_error err;
    assert_ok(wtl_hardware_load(&hw, "eyeriss-cvpr17", &err));
    set_up(f, text, length, &hw);
}

/* What is trained between two rounds: kept weights move. */
static void train_a_little(fixture *f, unsigned key)
{
    wtl_rng rng = wtl_rng_make(key, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < f->count; i++) {
        wtl_param *param = f->layers[i].param;
        for (size_t k = 0; k < param->count; k++) {
            param->value[k] += 0.05f * (wtl_rng_uniform(&rng) - 0.5f);
        }
        wtl_mask_apply(param);
    }
}

/* Not one more weight fits, and so the miss is less than 0.1 %: a weight of lenet5's first
 * layer, the dearest, is about 0.03 %. */
static void assert_goal_met(const fixture *f, double goal)
{
    double got = energy_kept(f);
    assert_true(got <= goal);
    assert_true(got >= goal * 0.999);
    for (int i = 0; i < f->count; i++) {
        size_t kept = wtl_mask_kept(f->layers[i].param);
        double here = wtl_pricing_cost(f->pricing, i, (double)kept);
        if (kept < f->layers[i].most) {
            double more = wtl_pricing_cost(f->pricing, i, (double)(kept + 1)) - here;
            assert_true(got + more > goal * (1 - 1e-12));
        }
    }
}

static void assert_nothing_came_back(const fixture *f, float **before)
{
    for (int i = 0; i < f->count; i++) {
        const wtl_param *param = f->layers[i].param;
        for (size_t k = 0; k < param->count; k++) {
            bool kept = wtl_mask_keeps(param, k);
            if (!before[i]) { /* never; clang's analyser does not know assert_non_null() */
                return;
            }
            if (kept && before[i][k] == 0.0f) {
                fail_msg("%s: weight %zu came back", param->name, k);
            }
            before[i][k] = kept;
        }
    }
}

static void check_rounds(const char *method)
{
    static const double shares[] = {0.9, 0.7, 0.55, 0.45};
    fixture f;
    float *kept[MOST_LAYERS] = {NULL};
    set_up_lenet(&f);
    double dense = energy_most(&f);
    size_t limit = f.layers[1].weights / 4;
    f.layers[1].least = limit;
    for (int i = 0; i < f.count; i++) {
        kept[i] = malloc(f.layers[i].weights * sizeof **kept);
        assert_non_null(kept[i]);
        for (size_t k = 0; k < f.layers[i].weights; k++) {
            kept[i][k] = 1.0f;
        }
    }
    for (int round = 0; round < 4; round++) {
        prune_to(&f, method, shares[round] * dense);
        assert_goal_met(&f, shares[round] * dense);
        assert_nothing_came_back(&f, kept);
        assert_zeros_are_exact(&f);
        assert_true(wtl_mask_kept(f.layers[1].param) >= limit);
        for (int i = 0; i < f.count; i++) {
            f.layers[i].most = wtl_mask_kept(f.layers[i].param);
        }
        train_a_little(&f, (unsigned)round);
    }
    for (int i = 0; i < f.count; i++) {
        free(kept[i]);
    }
    tear_down(&f);
}

static void goals_are_met_as_near_as_whole_weights_allow(void **state)
{
    (void)state;
    for (int i = 0; i < SIMPLE; i++) {
        check_rounds(simple_names[i]);
    }
}

/* Rounding down takes less than a weight, 1/500 in the smallest layer; the top-up gives others
 * less than a quarter of that. */
static void uniform_densities_are_equal(void **state)
{
    (void)state;
    fixture f;
    set_up_lenet(&f);
    prune_to(&f, "magnitude-uniform", 0.6 * energy_most(&f));
    double want = (double)wtl_mask_kept(f.layers[2].param) / (double)f.layers[2].weights;
    for (int i = 0; i < f.count; i++) {
        const wtl_param *param = f.layers[i].param;
        assert_close((double)wtl_mask_kept(param) / (double)param->count, want, 1.25 / 500);
    }
    tear_down(&f);
}

/* Of the kept weights some are 0: they must not make room for pruned ones. */
static void a_kept_zero_stays_before_a_pruned_one(void **state)
{
    (void)state;
    static const float values[C] = {0, 0, 4, 0, 5, 0, 0, 6}, mask[C] = {0, 0, 1, 1, 1, 1, 1, 1};
    static const float want[C] = {0, 0, 1, 1, 1, 0, 0, 1};
    fixture f;
    set_up_hand(&f);
    wtl_param *param = f.layers[0].param;
    assert_ok(wtl_mask_make(param, NULL));
    memcpy(param->value, values, sizeof values);
    memcpy(param->mask, mask, sizeof mask);
    set_layers(&f);
    assert_ok(wtl_keep_best(&f.context, 0, NULL, 4, NULL));
    assert_memory_equal(param->mask, want, sizeof want);
    /* Without a mask, too. */
    wtl_mask_free(param);
    assert_ok(wtl_keep_best(&f.context, 0, NULL, 4, NULL));
    assert_int_equal(wtl_mask_kept(param), 4);
    assert_true(wtl_mask_keeps(param, 0));
    assert_false(wtl_mask_keeps(param, 1));
    tear_down(&f);
}

/* ---- in 4x1 blocks ---- */

static void set_blocks(fixture *f)
{
    for (int i = 0; i < f->count; i++) {
        f->layers[i] = wtl_method_layer_of(f->net, f->layers[i].param, WTL_GRANULARITY_4X1);
    }
}

/* c.weight [4,1,2,2]: 4 blocks, of weights that cost 4 each: 16 a block, 64 in all.
 * d.weight [6,16]: 16 blocks of 4 weights at 1, and 16 of 2: 96 in all. Dense: 160. */
static const char blocks_text[] = "net blocks\n"
                                  "input data 1x3x3\n"
                                  "c = conv data out=4 kernel=2\n"
                                  "d = dense c out=6\n";

/* Norms: of c 2 16 4 12; of d's first band 1 .. 16, of its second 8.5 + (0 .. 15). */
static void set_up_blocks(fixture *f)
{
    static const float norms[4] = {2, 16, 4, 12};
    wtl_hardware hw = macs_only();
    set_up(f, blocks_text, strlen(blocks_text), &hw);
    for (int i = 0; i < 16; i++) {
        f->layers[0].param->value[i] = (i % 3 ? 0.5f : -0.5f) * norms[i % 4];
    }
    for (int i = 0; i < 96; i++) { /* the second band's first filter has all of its norm */
        float j = (float)(i % 16);
        f->layers[1].param->value[i] = i < 64 ? 0.5f * (1 + j) : i < 80 ? -8.5f - j : 0.0f;
    }
    set_blocks(f);
}

static void a_layer_keeps_one_block_at_least(void **state)
{
    (void)state;
    fixture f;
    set_up_blocks(&f);
    assert_int_equal(f.layers[0].least, 4);
    assert_int_equal(f.layers[1].least, 2); /* one of the second band */
    assert_int_equal(f.layers[1].most, 96);
    assert_close(wtl_method_floor(f.pricing, f.layers), 16 + 2, 1e-9);
    assert_int_equal(wtl_kept_within(&f.layers[0], 7), 4);
    assert_int_equal(wtl_kept_within(&f.layers[1], 7), 6);
    f.layers[1].least = 7;
    assert_int_equal(wtl_kept_within(&f.layers[1], 0), 8);
    tear_down(&f);
}

/* Of d the second band has the eight largest, 16.5 to 23.5; then the bands take turns. In the
 * common row c's 16 comes first of those that are equal, and c's 12 before d's. */
static void global_has_one_threshold_for_blocks(void **state)
{
    (void)state;
    fixture f;
    set_up_blocks(&f);
    /* d: 23.5 .. 16.5 are 8 of 2 weights: 16. c's 16: 32. d's 16: 36. d's 15.5: 38. */
    prune_to(&f, "magnitude-global", 36);
    assert_kept(&f, 4, 16 + 4);
    const wtl_param *c = f.layers[0].param, *d = f.layers[1].param;
    for (size_t i = 0; i < 16; i++) {
        assert_int_equal(wtl_mask_keeps(c, i), i % 4 == 1);
        assert_int_equal(wtl_mask_keeps(d, 48 + i), i == 15); /* filter 3, with the first */
        assert_int_equal(wtl_mask_keeps(d, 80 + i), i >= 8);  /* filter 5, with the other */
    }
    tear_down(&f);

    /* Down to d's 12.5, 40 weights, it is 56; c's 12 would make it 72 and ends the row. Too
     * little is left for a block of c, so d gets it, although c's would be the dearer one. */
    set_up_blocks(&f);
    prune_to(&f, "magnitude-global", 64);
    assert_kept(&f, 4, 48);
    tear_down(&f);

    /* At 31 c's 16 ends the row, at 16 of d; 15 are left, 16 is c's price. Given back is in d:
     * c's block does not fit, d's next do, 4 weights a time, and 2 at the end. */
    set_up_blocks(&f);
    f.layers[0].least = 0;
    prune_to(&f, "magnitude-global", 31);
    assert_kept(&f, 0, 30);
    tear_down(&f);
}

static void uniform_keeps_one_density_of_blocks(void **state)
{
    (void)state;
    fixture f;
    set_up_blocks(&f);
    prune_to(&f, "magnitude-uniform", 80); /* half: 8 of c at 4, 48 of d */
    assert_kept(&f, 8, 48);
    assert_true(wtl_mask_keeps(f.layers[0].param, 1) && wtl_mask_keeps(f.layers[0].param, 3));
    tear_down(&f);
}

static void set_up_kinds(fixture *f)
{
    static const char text[] = "net kinds\n"
                               "input data 2x6x6\n"
                               "a = conv data out=10 kernel=3 pad=1 groups=2\n"
                               "w = depthwise a kernel=3 pad=1\n"
                               "p = maxpool w kernel=2 stride=2\n"
                               "b = conv p out=8 kernel=1\n"
                               "d = dense b out=7\n";
    wtl_hardware hw;
    wtl_error err;
    assert_ok(wtl_hardware_load(&hw, "eyeriss-cvpr17", &err));
    set_up(f, text, strlen(text), &hw);
    set_blocks(f);
}

/* Not one more block fits in any layer. */
static void assert_blocks_meet(const fixture *f, double goal)
{
    double got = energy_kept(f);
    assert_true(got <= goal);
    for (int i = 0; i < f->count; i++) {
        const wtl_method_layer *l = &f->layers[i];
        size_t kept = wtl_mask_kept(l->param), next = kept + 1;
        wtl_blocks blocks = wtl_blocks_of(WTL_GRANULARITY_4X1, f->net, l->param);
        assert_true(wtl_blocks_whole(&blocks, l->param->mask));
        while (next < l->most && !wtl_stock_makes(&l->stock, next)) {
            next++;
        }
        double more = wtl_pricing_cost(f->pricing, i, (double)next) -
                      wtl_pricing_cost(f->pricing, i, (double)kept);
        assert_true(kept >= l->most || got + more > goal * (1 - 1e-12));
    }
}

static void check_rounds_of_blocks(const char *method)
{
    static const double shares[] = {0.9, 0.7, 0.5, 0.3};
    fixture f;
    double sensitivity[MOST_LAYERS][10];
    static float kept[MOST_LAYERS][512];
    float *before[MOST_LAYERS];
    set_up_kinds(&f);
    for (int i = 0; i < MOST_LAYERS; i++) {
        before[i] = kept[i];
        for (int k = 0; k < 512; k++) {
            kept[i][k] = 1.0f;
        }
        for (int level = 0; level < 10; level++) {
            sensitivity[i][level] = (double)(level * level) / (i + 2);
        }
    }
    f.context.sensitivity = sensitivity[0];
    double dense = energy_most(&f), lowest = wtl_method_floor(f.pricing, f.layers);
    for (int round = 0; round < 4; round++) {
        prune_to(&f, method, lowest + shares[round] * (dense - lowest));
        assert_blocks_meet(&f, f.context.goal_energy);
        assert_nothing_came_back(&f, before);
        assert_zeros_are_exact(&f);
        assert_true(wtl_mask_net_is_4x1(f.net));
        train_a_little(&f, (unsigned)round);
        set_blocks(&f);
    }
    tear_down(&f);
}

static void every_method_leaves_whole_blocks_as_near_the_goal_as_they_allow(void **state)
{
    (void)state;
    for (int i = 0; i < SIMPLE; i++) {
        check_rounds_of_blocks(simple_names[i]);
    }
    check_rounds_of_blocks("magnitude-sensitivity");
}

/* ---- allocations ---- */

static void keep_all(const void *context, double t, size_t *kept)
{
    (void)context;
    (void)t;
    kept[0] = kept[1] = 1000;
}

/* First c alone, then d. */
static void keep_in_turn(const void *context, double t, size_t *kept)
{
    (void)context;
    kept[0] = (size_t)(fmin(2 * t, 1) * C);
    kept[1] = (size_t)(fmax(2 * t - 1, 0) * D);
}

static void any_allocation_is_held_to_goal_and_limits(void **state)
{
    (void)state;
    fixture f;
    size_t kept[2];
    wtl_error err;
    set_up_hand(&f);
    f.context.goal_energy = 32 + 7;
    assert_ok(wtl_kept_at_goal(&f.context, keep_in_turn, NULL, kept, &err));
    assert_int_equal(kept[0], C);
    assert_int_equal(kept[1], 7);
    f.layers[0].most = 6; /* then d has more */
    assert_ok(wtl_kept_at_goal(&f.context, keep_in_turn, NULL, kept, &err));
    assert_int_equal(kept[0], 6);
    assert_int_equal(kept[1], 15);
    /* One that asks for too much whatever t: the least, topped up, c first. */
    f.layers[1].least = 3;
    f.context.goal_energy = 21;
    assert_ok(wtl_kept_at_goal(&f.context, keep_all, NULL, kept, &err));
    assert_int_equal(kept[0], 4);
    assert_int_equal(kept[1], 5);
    tear_down(&f);
}

/* ---- random ---- */

static void prune_random(fixture *f, uint64_t seed, const double *goals, int count)
{
    set_up_hand(f);
    f->context.seed = seed;
    for (int i = 0; i < count; i++) {
        f->context.round = i;
        prune_to(f, "random", goals[i]);
        f->layers[0].most = wtl_mask_kept(f->layers[0].param);
        f->layers[1].most = wtl_mask_kept(f->layers[1].param);
    }
}

static void random_choice_does_not_depend_on_the_rounds_but_on_the_seed(void **state)
{
    (void)state;
    static const double goals[] = {42, 35, 21};
    fixture slow, quick, other;
    prune_random(&slow, 7, goals, 3);
    prune_random(&quick, 7, goals + 2, 1);
    prune_random(&other, 8, goals + 2, 1);
    const wtl_param *d = slow.layers[1].param;
    assert_kept(&slow, 3, 9);
    for (int i = 0; i < 2; i++) {
        size_t bytes = slow.layers[i].weights * sizeof(float);
        assert_memory_equal(slow.layers[i].param->mask, quick.layers[i].param->mask, bytes);
    }
    assert_memory_not_equal(d->mask, other.layers[1].param->mask, D * sizeof(float));
    tear_down(&slow);
    tear_down(&quick);
    tear_down(&other);
}

static void random_choice_takes_up_any_mask(void **state)
{
    (void)state;
    fixture f;
    set_up_hand(&f);
    prune_to(&f, "magnitude-uniform", 28); /* d keeps its last 12 */
    set_layers(&f);
    prune_to(&f, "random", 14);
    assert_kept(&f, 2, 6);
    for (size_t i = 0; i < 12; i++) {
        assert_false(wtl_mask_keeps(f.layers[1].param, i));
    }
    tear_down(&f);
}

/* 800 seeds, half of 24 weights: each stays 400 times, give or take 14.1; five of those. */
static void random_choice_is_fair(void **state)
{
    (void)state;
    int stays[D] = {0}, equal = 0;
    fixture f;
    set_up_hand(&f);
    for (int seed = 0; seed < 800; seed++) {
        f.context.seed = (uint64_t)seed;
        wtl_mask_free(f.layers[0].param);
        wtl_mask_free(f.layers[1].param);
        prune_to(&f, "random", 28);
        assert_int_equal(wtl_mask_kept(f.layers[1].param), 12);
        for (size_t i = 0; i < D; i++) {
            stays[i] += wtl_mask_keeps(f.layers[1].param, i);
        }
        equal +=
            memcmp(f.layers[0].param->mask, f.layers[1].param->mask, C * sizeof(float)) == 0;
    }
    for (int i = 0; i < D; i++) {
        assert_close(stays[i], 400, 71);
    }
    assert_true(equal < 50); /* layers are drawn apart: about 1 in 256 agree on 8 weights */
    tear_down(&f);
}

/* ---- hooks and refusals ---- */

typedef struct heard {
    wtl_method_step steps[MOST_LAYERS];
    int step_count, done, total, asked, stop_at;
} heard;

static void hear_step(void *context, const wtl_method_step *step)
{
    heard *h = context;
    h->steps[h->step_count++] = *step;
}

static void hear_progress(void *context, int done, int total)
{
    heard *h = context;
    h->done = done;
    h->total = total;
}

static int stop_at(void *context)
{
    heard *h = context;
    return ++h->asked == h->stop_at;
}

static void listen(fixture *f, heard *h)
{
    f->context.report = hear_step;
    f->context.progress = hear_progress;
    f->context.stop = stop_at;
    f->context.context = h;
}

static void each_layer_is_reported_once(void **state)
{
    (void)state;
    fixture f;
    heard h = {0};
    set_up_hand(&f);
    listen(&f, &h);
    prune_to(&f, "magnitude-global", 25);
    assert_int_equal(h.step_count, 2);
    assert_int_equal(h.done, 2);
    assert_int_equal(h.total, 2);
    static const size_t before[2] = {C, D}, after[2] = {3, 13};
    static const double cost[2] = {4, 1};
    for (int i = 0; i < 2; i++) {
        assert_int_equal(h.steps[i].layer, i);
        assert_int_equal(h.steps[i].kept_before, before[i]);
        assert_int_equal(h.steps[i].kept_after, after[i]);
        assert_close(h.steps[i].energy_before, cost[i] * (double)before[i], 1e-9);
        assert_close(h.steps[i].energy_after, cost[i] * (double)after[i], 1e-9);
        assert_true(isnan(h.steps[i].error) && isnan(h.steps[i].error_before));
        assert_true(isnan(h.steps[i].error_removal) && isnan(h.steps[i].error_restoral));
    }
    tear_down(&f);
}

static void methods_leave_when_asked_to_stop(void **state)
{
    (void)state;
    fixture f;
    heard h = {.stop_at = 2};
    wtl_error err;
    set_up_hand(&f);
    listen(&f, &h);
    f.context.goal_energy = 25;
    assert_fails(wtl_method_find("magnitude-uniform")->prune(&f.context, &err), WTL_E_STOPPED,
                 &err, "stopped after pruning 1 of 2 layers");
    assert_int_equal(h.step_count, 1);
    tear_down(&f);
}

static void a_goal_below_the_floor_is_refused_with_both(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up_hand(&f);
    f.layers[0].least = 3;
    for (int m = 0; m < SIMPLE; m++) {
        f.context.goal_energy = 12.5;
        assert_fails(simple(m)->prune(&f.context, &err), WTL_E_FIT, &err,
                     "energy: the goal of 12.5 is below 13, the least that the limits and the "
                     "hardware allow");
        assert_kept(&f, C, D);
        f.context.goal_energy = NAN;
        assert_int_equal(simple(m)->prune(&f.context, NULL), WTL_E_FIT);
    }
    prune_to(&f, "magnitude-global", 13);
    assert_kept(&f, 3, 1);
    tear_down(&f);
}

/* Where zeros of weights save nothing, dense is the floor. */
static void hardware_that_zeros_do_not_help_has_no_lower_goal(void **state)
{
    (void)state;
    static const char *const names[] = {"tpu-like", "eyeriss-isca16"};
    for (int n = 0; n < 2; n++) {
        wtl_hardware hw;
        wtl_error err;
        fixture f;
        assert_ok(wtl_hardware_load(&hw, names[n], &err));
        set_up(&f, three_text, strlen(three_text), &hw);
        double dense = energy_most(&f);
        assert_close(wtl_method_floor(f.pricing, f.layers), dense, 0);
        f.context.goal_energy = 0.9 * dense;
        assert_int_equal(simple(0)->prune(&f.context, &err), WTL_E_FIT);
        prune_to(&f, "magnitude-global", dense);
        assert_null(f.layers[0].param->mask);
        tear_down(&f);
    }
}

typedef struct method_case {
    fixture f;
    const wtl_method *method;
} method_case;

static wtl_status prune_and_forget(void *context)
{
    method_case *m = context;
    wtl_status status = m->method->prune(&m->f.context, NULL);
    wtl_mask_free(m->f.layers[0].param);
    wtl_mask_free(m->f.layers[1].param);
    memcpy(m->f.layers[0].param->value, hand_c, sizeof hand_c);
    for (int i = 0; i < D; i++) {
        m->f.layers[1].param->value[i] = (float)i;
    }
    return status;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    for (int i = 0; i < SIMPLE; i++) {
        method_case m = {.method = simple(i)};
        set_up_hand(&m.f);
        m.f.context.goal_energy = 25;
        wtl_test_every_allocation_fails(prune_and_forget, &m);
        tear_down(&m.f);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(methods_are_listed_and_found_by_name),
        WTL_TEST(the_floor_is_the_sum_of_what_limits_leave),
        WTL_TEST(uniform_keeps_one_density_and_the_largest_of_each_layer),
        WTL_TEST(gradual_cuts_as_uniform_does),
        WTL_TEST(global_has_one_threshold_for_all_layers),
        WTL_TEST(an_excluded_layer_is_not_touched),
        WTL_TEST(a_goal_that_holds_already_changes_nothing),
        WTL_TEST(global_is_the_longest_row_that_meets_the_goal),
        WTL_TEST(goals_are_met_as_near_as_whole_weights_allow),
        WTL_TEST(uniform_densities_are_equal),
        WTL_TEST(a_kept_zero_stays_before_a_pruned_one),
        WTL_TEST(a_layer_keeps_one_block_at_least),
        WTL_TEST(global_has_one_threshold_for_blocks),
        WTL_TEST(uniform_keeps_one_density_of_blocks),
        WTL_TEST(every_method_leaves_whole_blocks_as_near_the_goal_as_they_allow),
        WTL_TEST(any_allocation_is_held_to_goal_and_limits),
        WTL_TEST(random_choice_does_not_depend_on_the_rounds_but_on_the_seed),
        WTL_TEST(random_choice_takes_up_any_mask),
        WTL_TEST(random_choice_is_fair),
        WTL_TEST(each_layer_is_reported_once),
        WTL_TEST(methods_leave_when_asked_to_stop),
        WTL_TEST(a_goal_below_the_floor_is_refused_with_both),
        WTL_TEST(hardware_that_zeros_do_not_help_has_no_lower_goal),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("methods", tests);
}
