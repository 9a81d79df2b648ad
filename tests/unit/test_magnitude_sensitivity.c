/* test_magnitude_sensitivity.c - densities that a hand-made table of sensitivities gives.
 *
 * Two dense layers whose weights cost 1 each, so that the energy is the number of weights kept
 * and a goal can be worked out on paper: choose tau, read each layer's density off its curve,
 * add up. More weights than that number cannot be kept, and fewer need not be.
 */
#include "energy_cases.h"
#include "wattle/method.h"
#include "wattle/sense.h"
#include "wtl_test.h"

#include <math.h>
#include <string.h>

enum { A = 2000, B = 1000, LEVELS = WTL_SENSE_LEVELS };

static const char text[] = "net two\n"
                           "input data 50x1x1\n"
                           "a = dense data out=40\n"
                           "b = dense a out=25\n";

typedef struct fixture {
    wtl_net *net, *probe;
    wtl_pricing *pricing;
    wtl_method_layer layers[2];
    double sensitivity[2 * LEVELS];
    wtl_method_context context;
} fixture;

static wtl_net *plan(bool keep_outputs)
{
    wtl_netdef *def = NULL;
    wtl_net *net = NULL;
    wtl_error err;
    const wtl_net_options options = {.batch = 1, .keep_outputs = keep_outputs};
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "t.net", NULL, &err));
    assert_ok(wtl_net_create(&net, def, &options, &err));
    wtl_netdef_free(def);
    return net;
}

static void look_at_layers(fixture *f)
{
    static const char *const names[] = {"a.weight", "b.weight"};
    for (int i = 0; i < 2; i++) {
        wtl_param *param = wtl_net_find_param(f->net, names[i]);
        f->layers[i] = wtl_method_layer_of(f->net, param, WTL_GRANULARITY_WEIGHT);
    }
}

static void set_up(fixture *f, const double a[LEVELS], const double b[LEVELS])
{
    wtl_error err;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    case_energies(&hw, 0, 0, 0, 0);
    hw.zero_weight = WTL_ZERO_SKIPS;
    memset(f, 0, sizeof *f);
    f->net = plan(false);
    f->probe = plan(true);
    wtl_net_init(f->net, 5);
    assert_ok(wtl_pricing_create(&f->pricing, f->probe, &hw, NULL, &err));
    assert_int_equal(wtl_pricing_count(f->pricing), 2);
    assert_string_equal(wtl_pricing_layer(f->pricing, 0).weight, "a.weight");
    look_at_layers(f);
    assert_int_equal(f->layers[0].weights, A);
    assert_int_equal(f->layers[1].weights, B);
    assert_close(wtl_pricing_cost(f->pricing, 0, 7), 7, 1e-12);
    memcpy(f->sensitivity, a, LEVELS * sizeof *a);
    memcpy(f->sensitivity + LEVELS, b, LEVELS * sizeof *b);
    f->context = (wtl_method_context){.net = f->net,
                                      .probe = f->probe,
                                      .pricing = f->pricing,
                                      .layers = f->layers,
                                      .sensitivity = f->sensitivity,
                                      .threads = 1};
}

static void tear_down(fixture *f)
{
    wtl_pricing_free(f->pricing);
    wtl_net_free(f->net);
    wtl_net_free(f->probe);
}

static wtl_status prune(fixture *f, double goal, wtl_error *err)
{
    const wtl_method *method = wtl_method_find("magnitude-sensitivity");
    assert_non_null(method);
    assert_true(method->wants_sense);
    assert_false(method->rewrites);
    assert_false(method->cubic);
    f->context.goal_energy = goal;
    return method->prune(&f->context, err);
}

static void assert_kept(const fixture *f, size_t a, size_t b)
{
    assert_int_equal(wtl_mask_kept(f->layers[0].param), a);
    assert_int_equal(wtl_mask_kept(f->layers[1].param), b);
}

/* On fresh weights: a + b is asked for (and half a weight, as sums of energies are rounded), a
 * and b are kept. */
static void assert_split(const double loss_a[LEVELS], const double loss_b[LEVELS], size_t a,
                         size_t b)
{
    fixture f;
    wtl_error err;
    set_up(&f, loss_a, loss_b);
    assert_ok(prune(&f, (double)(a + b) + 0.5, &err));
    assert_kept(&f, a, b);
    tear_down(&f);
}

/* A point a level. */
static const double even[LEVELS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
static const double none[LEVELS] = {0};

/* ---- within the scan ---- */

static void layers_go_to_the_same_loss_between_levels(void **state)
{
    (void)state;
    static const double a[LEVELS] = {0, 0.5, 1, 1.5, 2, 3, 5, 7, 9, 30};
    /* tau 2.5: a between 2 (0.4) and 3 (0.5), b between 2 (0.2) and 3 (0.3) */
    assert_split(a, even, A * 55 / 100, B * 75 / 100);
    /* tau 6: a between 5 (0.6) and 7 (0.7), b at 0.6 */
    assert_split(a, even, A * 35 / 100, B * 40 / 100);
    /* tau 1: levels themselves */
    assert_split(a, even, A * 80 / 100, B * 90 / 100);
}

static void the_layer_that_loses_more_keeps_more(void **state)
{
    (void)state;
    static const double steep[LEVELS] = {0, 10, 20, 30, 40, 50, 60, 70, 80, 90};
    /* tau 5: 0.5 and 0.05 */
    assert_split(even, steep, A * 50 / 100, B * 95 / 100);
    assert_split(steep, even, A * 95 / 100, B * 50 / 100);
}

static void a_loss_that_falls_again_is_not_believed(void **state)
{
    (void)state;
    static const double dip[LEVELS] = {0, 3, -1, 2, 4, 5, 6, 7, 8, 9};
    /* tau 1.5: half of the way to level 1; not one of the levels below 1.5 behind it */
    assert_split(dip, even, A * 95 / 100, B * 85 / 100);
    /* tau 3.5: past 3 at levels 1 to 3, half of the way from there to level 4 */
    assert_split(dip, even, A * 65 / 100, B * 65 / 100);
}

static void a_gain_counts_as_no_loss(void **state)
{
    (void)state;
    static const double gain[LEVELS] = {0, -2, -1, -3, 1, 5, 6, 7, 8, 9};
    /* tau 0.5: from 0 at level 3 (not from -3) half of the way to 1 at level 4 */
    assert_split(gain, even, A * 65 / 100, B * 95 / 100);
    /* The dense net's own column: it lost nothing. */
    static const double odd[LEVELS] = {4, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    assert_split(odd, even, A * 75 / 100, B * 75 / 100);
}

static void layers_that_lose_nothing_go_together_and_first(void **state)
{
    (void)state;
    static const double late[LEVELS] = {0, 0, 0, 0, 0, 0, 10, 20, 30, 40};
    assert_split(late, late, A * 80 / 100, B * 80 / 100);
    assert_split(late, late, A * 53 / 100, B * 53 / 100);
    assert_split(late, even, A * 70 / 100, B);
    /* tau 5, past it */
    assert_split(late, even, A * 45 / 100, B * 50 / 100);
}

/* ---- beyond the scan ---- */

static void beyond_the_last_level_each_halving_costs_twice_the_one_before(void **state)
{
    (void)state;
    static const double wide[LEVELS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 20};
    /* From density 0.2 to 0.1 `wide` lost 12: 0.05 is at 20 + 24, 0.025 at 20 + 24 + 48. `even`
     * lost 1: 0.05 is at 9 + 2, 0.025 at 9 + 2 + 4; 0.1 / (1 + 35/2) at 44. */
    assert_split(even, wide, (size_t)(A * 0.1 / 18.5 + 0.5), B * 5 / 100);
    assert_split(wide, wide, A * 5 / 100, B * 5 / 100);
    assert_split(wide, wide, A * 25 / 1000, B * 25 / 1000);
}

static void a_layer_that_loses_nothing_does_not_vanish(void **state)
{
    (void)state;
    /* tau 3: `none` is at 0.1 / (1 + 3/2) = 0.04, as its first halving costs 2 points */
    assert_split(none, even, A * 4 / 100, B * 70 / 100);
    assert_split(none, none, A * 2 / 100, B * 2 / 100);
}

/* ---- goals and limits ---- */

static void the_largest_weights_stay(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f, even, even);
    wtl_param *dense = wtl_net_find_param(f.probe, "a.weight");
    memcpy(dense->value, f.layers[0].param->value, A * sizeof(float));
    assert_ok(prune(&f, 1500, &err));
    assert_kept(&f, A / 2, B / 2);
    const wtl_param *param = f.layers[0].param;
    float least_kept = INFINITY, most_pruned = 0;
    for (size_t i = 0; i < A; i++) {
        float magnitude = fabsf(dense->value[i]);
        if (wtl_mask_keeps(param, i)) {
            least_kept = fminf(least_kept, magnitude);
            assert_memory_equal(&param->value[i], &dense->value[i], sizeof(float));
        } else {
            most_pruned = fmaxf(most_pruned, magnitude);
            assert_true(param->value[i] == 0.0f && !signbit(param->value[i]));
        }
    }
    assert_true(least_kept >= most_pruned);
    tear_down(&f);
}

static void limits_bind_and_the_others_go_on(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f, even, even);
    f.layers[0].least = A;
    assert_ok(prune(&f, A + 300, &err));
    assert_kept(&f, A, 300);
    assert_null(f.layers[0].param->mask);
    tear_down(&f);

    set_up(&f, none, even); /* tau 3 would leave 80 of a */
    f.layers[0].least = 500;
    assert_ok(prune(&f, 500 + 700, &err));
    assert_kept(&f, 500, 700);
    tear_down(&f);
}

static void every_goal_is_met_to_the_weight(void **state)
{
    (void)state;
    static const double a[LEVELS] = {0, 0, -0.2, 0.2, 0.2, 0.6, 1.4, 3, 11, 37};
    static const double b[LEVELS] = {0, 0.2, 0.2, 0.6, 1.8, 2.4, 8, 19, 41, 80};
    for (int goal = 2; goal <= A + B; goal += 131) {
        fixture f;
        wtl_error err;
        set_up(&f, a, b);
        assert_ok(prune(&f, goal, &err));
        size_t kept = wtl_mask_kept(f.layers[0].param) + wtl_mask_kept(f.layers[1].param);
        assert_int_equal(kept, goal);
        tear_down(&f);
    }
}

static void rounds_lead_where_one_step_does(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f, even, none);
    assert_ok(prune(&f, 2500, &err));
    look_at_layers(&f);
    assert_ok(prune(&f, 1650, &err));
    look_at_layers(&f);
    assert_ok(prune(&f, A * 70 / 100 + B * 4 / 100, &err));
    assert_kept(&f, A * 70 / 100, B * 4 / 100);
    tear_down(&f);
}

static void a_goal_that_holds_already_changes_nothing(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f, none, even);
    assert_ok(prune(&f, A + B, &err));
    assert_null(f.layers[0].param->mask);
    assert_null(f.layers[1].param->mask);
    tear_down(&f);
}

static void a_goal_below_the_floor_is_refused(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f, even, even);
    f.layers[1].least = 10;
    assert_fails(prune(&f, 10.5, &err), WTL_E_FIT, &err,
                 "energy: the goal of 10.5 is below 11, the least that the limits and the "
                 "hardware allow");
    assert_ok(prune(&f, 11, &err));
    assert_kept(&f, 1, 10);
    tear_down(&f);
}

static void a_sensitivity_that_is_no_number_is_refused(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f, even, even);
    f.sensitivity[LEVELS + 5] = NAN;
    assert_fails(prune(&f, 1000, &err), WTL_E_NAN, &err,
                 "b.weight: its sensitivity at density 0.5 is not finite");
    f.sensitivity[LEVELS + 5] = 5;
    f.sensitivity[LEVELS - 1] = INFINITY;
    assert_fails(prune(&f, 1000, &err), WTL_E_NAN, &err,
                 "a.weight: its sensitivity at density 0.1 is not finite");
    assert_null(f.layers[0].param->mask);
    tear_down(&f);
}

/* ---- the context's hooks ---- */

typedef struct watch {
    int steps, progress, asked, stop_at;
    size_t before[2], after[2];
} watch;

static void on_step(void *context, const wtl_method_step *step)
{
    watch *w = context;
    assert_int_equal(step->layer, w->steps);
    w->before[w->steps] = step->kept_before;
    w->after[w->steps++] = step->kept_after;
    assert_close(step->energy_before, (double)step->kept_before, 1e-9);
    assert_close(step->energy_after, (double)step->kept_after, 1e-9);
    assert_true(isnan(step->error) && isnan(step->error_before));
}

static void on_progress(void *context, int done, int total)
{
    watch *w = context;
    assert_int_equal(done, ++w->progress);
    assert_int_equal(total, 2);
}

static int on_stop(void *context)
{
    watch *w = context;
    return w->asked++ == w->stop_at;
}

static void layers_are_reported_and_a_stop_is_heeded(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    watch w = {.stop_at = -1};
    set_up(&f, even, none);
    f.context.report = on_step;
    f.context.progress = on_progress;
    f.context.stop = on_stop;
    f.context.context = &w;
    assert_ok(prune(&f, A * 70 / 100 + B * 4 / 100, &err));
    assert_int_equal(w.steps, 2);
    assert_int_equal(w.progress, 2);
    assert_int_equal(w.before[0], A);
    assert_int_equal(w.after[0], A * 70 / 100);
    assert_int_equal(w.before[1], B);
    assert_int_equal(w.after[1], B * 4 / 100);
    look_at_layers(&f);
    w = (watch){.stop_at = 1};
    assert_int_equal(prune(&f, 1000, &err), WTL_E_STOPPED);
    assert_int_equal(w.steps, 1);
    tear_down(&f);
}

static wtl_status prune_afresh(void *context)
{
    fixture *f = context;
    wtl_error err;
    wtl_mask_free(f->layers[0].param);
    wtl_mask_free(f->layers[1].param);
    wtl_net_init(f->net, 5);
    wtl_status status = prune(f, 1500, &err);
    wtl_mask_free(f->layers[0].param);
    wtl_mask_free(f->layers[1].param);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fixture f;
    set_up(&f, even, none);
    wtl_test_every_allocation_fails(prune_afresh, &f);
    tear_down(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(layers_go_to_the_same_loss_between_levels),
        WTL_TEST(the_layer_that_loses_more_keeps_more),
        WTL_TEST(a_loss_that_falls_again_is_not_believed),
        WTL_TEST(a_gain_counts_as_no_loss),
        WTL_TEST(layers_that_lose_nothing_go_together_and_first),
        WTL_TEST(beyond_the_last_level_each_halving_costs_twice_the_one_before),
        WTL_TEST(a_layer_that_loses_nothing_does_not_vanish),
        WTL_TEST(the_largest_weights_stay),
        WTL_TEST(limits_bind_and_the_others_go_on),
        WTL_TEST(every_goal_is_met_to_the_weight),
        WTL_TEST(rounds_lead_where_one_step_does),
        WTL_TEST(a_goal_that_holds_already_changes_nothing),
        WTL_TEST(a_goal_below_the_floor_is_refused),
        WTL_TEST(a_sensitivity_that_is_no_number_is_refused),
        WTL_TEST(layers_are_reported_and_a_stop_is_heeded),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("magnitude_sensitivity", tests);
}
