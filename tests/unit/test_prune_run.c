#include "tiny_run.h"
#include "wtl_test.h"

#include "prune/run/session.h"
#include "wattle/checkpoint.h"
#include "wattle/evaluate.h"
#include "wattle/file.h"
#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/prune.h"
#include "wattle/sense.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Two branches and an auxiliary head, which inference lacks. */
static const char branched_net[] =
    "net branched\n"
    "classes 4\n"
    "input data 1x6x6\n"
    "preprocess order=rgb resize=none scale=0.004 mean=0.5 std=0.3\n"
    "a = conv data out=6 kernel=3 pad=1\n"
    "ra = relu a\n"
    "x = dense ra out=classes\n"
    "px = softmax x weight=0.3 aux=yes\n"
    "b = conv ra out=4 kernel=1\n"
    "c = conv ra out=4 kernel=3 pad=1\n"
    "j = concat b c\n"
    "rj = relu j\n"
    "d = dense rj out=classes\n"
    "p = softmax d\n";

/* Every kind that is pruned; filters of a group: 5, 10 (depthwise), 6, 4. No relu: the zeros of
 * so few activations would jump. */
static const char kinds_net[] =
    "net kinds\n"
    "classes 4\n"
    "input data 1x6x6\n"
    "preprocess order=rgb resize=none scale=0.004 mean=0.5 std=0.3\n"
    "s = conv data out=2 kernel=3 pad=1\n"
    "a = conv s out=10 kernel=3 pad=1 groups=2 bias=no\n"
    "ba = batchnorm a\n"
    "w = depthwise ba kernel=3 pad=1\n"
    "m = maxpool w kernel=2 stride=2\n"
    "u = deconv m out=6 kernel=2 stride=2\n"
    "d = dense u out=classes\n"
    "p = softmax d\n";

static wtl_prune_options tiny_options(const char *method)
{
    static bool written;
    if (!written) {
        wtl_tiny_data("data");
        wtl_tiny_train("dense", wtl_tiny_net);
        wtl_tiny_train("branched", branched_net);
        wtl_tiny_train("kinds", kinds_net);
        wtl_tiny_checkpoint("masked.wtl", wtl_tiny_net, 1, 200);
        written = true;
    }
    wtl_prune_options o = wtl_tiny_prune_options(method);
    o.epochs = 1.4;
    o.final_epochs = 2;
    return o;
}

/* ---- hooks ---- */

typedef struct watch {
    int polls, stop_at; /* the poll, from 1, that asks to stop; 0: none */
    int rounds;
    char notes[2048];
} watch;

static int poll_stop(void *context)
{
    watch *w = context;
    return ++w->polls == w->stop_at;
}

static void see(void *context, const wtl_prune_event *event)
{
    watch *w = context;
    w->rounds += event->kind == WTL_PRUNE_ROUND;
}

static wtl_prune_hooks hooks_of(watch *w)
{
    return (wtl_prune_hooks){.event = see, .stop = poll_stop, .context = w};
}

static wtl_status go(const char *run, const wtl_prune_options *o, bool resume, watch *w,
                     wtl_prune_result *result, wtl_error *err)
{
    watch none = {0};
    const wtl_prune_hooks hooks = hooks_of(w ? w : &none);
    return wtl_prune(wtl_test_path(run), o, resume, false, &hooks, result, err);
}

/* ---- budgets ---- */

static void every_method_meets_its_budget_within_a_percent(void **state)
{
    (void)state;
    for (int m = 0; wtl_method_at(m); m++) {
        wtl_prune_options o = tiny_options(wtl_method_at(m)->name);
        wtl_prune_result r;
        char run[64];
        o.target_energy = 0.5 + 0.5 * wtl_tiny_floor(&o);
        snprintf(run, sizeof run, "budget-%d", m);
        assert_ok(go(run, &o, false, NULL, &r, NULL));
        assert_true(r.met);
        assert_true(r.energy <= 1.01 * o.target_energy && r.energy >= 0.97 * o.target_energy);
        assert_true(r.density > 0.0 && r.density < 1.0);
    }
}

static void a_budget_below_the_floor_is_refused_before_any_work(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result r;
    wtl_error err;
    char floor[32];
    double share = wtl_tiny_floor(&o);
    o.target_energy = 0.9 * share;
    assert_int_equal(go("never", &o, false, NULL, &r, &err), WTL_E_GOAL);
    snprintf(floor, sizeof floor, "%.4g", share);
    assert_non_null(strstr(err.text, floor));
    assert_false(wtl_folder_exists(wtl_test_path("never")));
}

/* ---- what is in the files ---- */

static void masks_hold_and_numbers_can_be_had_again(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("energy-aware");
    wtl_prune_result r;
    wtl_checkpoint *checkpoint;
    wtl_net *net;
    wtl_dataset *val;
    wtl_evaluation seen;
    o.target_energy = 0.5 + 0.5 * wtl_tiny_floor(&o);
    o.finetune.distill = 0.5;
    assert_ok(go("held", &o, false, NULL, &r, NULL));
    assert_ok(wtl_checkpoint_read(&checkpoint, wtl_tiny_path("held", "ckpt/pruned.wtl"), NULL));
    const wtl_net_options plan = {.batch = 16};
    assert_ok(wtl_net_create(&net, wtl_checkpoint_net(checkpoint), &plan, NULL));
    assert_ok(wtl_checkpoint_fill_net(checkpoint, net, NULL));
    size_t zeros = 0;
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *p = wtl_net_param(net, i);
        for (size_t j = 0; p->mask && j < p->count; j++) {
            assert_true(p->mask[j] != 0.0f || p->value[j] == 0.0f);
            zeros += p->mask[j] == 0.0f;
        }
    }
    assert_close((double)zeros, (1.0 - r.density) * 270, 0.01);
    /* The masks by themselves, on a dense net, prune the same weights. */
    wtl_net_init(net, 9);
    assert_ok(wtl_mask_load(net, wtl_tiny_path("held", "masks.npz"), NULL));
    assert_int_equal(wtl_mask_count_net(net).kept, 270 - zeros);
    assert_ok(wtl_checkpoint_fill_net(checkpoint, net, NULL));
    const wtl_dataset_options part = {.part = WTL_DATA_VAL, .split_seed = 3, .val_share = 0.25};
    assert_ok(wtl_dataset_open(&val, o.data, &part, NULL));
    assert_ok(wtl_evaluate(&seen, net, val, NULL, NULL));
    assert_int_equal(seen.scores.images, WTL_TINY_VAL);
    assert_close(wtl_percent(seen.scores.top1, seen.scores.images), r.top1, 1e-9);
    wtl_evaluation_clear(&seen);
    wtl_dataset_free(val);
    wtl_net_free(net);
    wtl_checkpoint_free(checkpoint);
}

/* ---- interruptions ---- */

/* Stopped at every poll in turn (or every few), then resumed: the same bytes. */
static void stops_everywhere(const char *method, double target, double drop, int stride)
{
    wtl_prune_options o = tiny_options(method);
    watch whole = {0};
    wtl_error err;
    wtl_prune_result r, resumed;
    char run[64], all[64];
    snprintf(all, sizeof all, "all-%s", method);
    o.target_energy = target > 0 ? target + (1 - target) * wtl_tiny_floor(&o) : 0;
    o.max_drop = drop;
    o.finetune.distill = 0.3;
    wtl_status end = go(all, &o, false, &whole, &r, &err);
    assert_true(end == WTL_OK || end == WTL_E_GOAL);
    assert_true(whole.polls > 10);
    for (int at = 1; at <= whole.polls; at += stride) {
        watch w = {.stop_at = at};
        snprintf(run, sizeof run, "stop-%s-%d", method, at);
        wtl_status status = go(run, &o, false, &w, &resumed, &err);
        assert_true(status == WTL_E_STOPPED || status == end);
        if (status == WTL_E_STOPPED && !wtl_file_exists(wtl_tiny_path(run, "config.json"))) {
            assert_int_equal(go(run, &o, false, NULL, &resumed, &err), end);
        } else if (status == WTL_E_STOPPED) {
            assert_int_equal(go(run, NULL, true, NULL, &resumed, &err), end);
        }
        wtl_tiny_assert_same_file(run, all, "ckpt/pruned.wtl");
        wtl_tiny_assert_same_file(run, all, "ckpt/last.wtl");
        assert_close(resumed.energy, r.energy, 0.0);
        assert_int_equal(resumed.rounds, r.rounds);
    }
}

static void a_run_stopped_anywhere_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    stops_everywhere("energy-aware", 0.4, -1, 9);
    stops_everywhere("magnitude-global", 0, 8, 7);
    stops_everywhere("magnitude-sensitivity", 0.5, 30, 13);
}

/* ---- limits ---- */

static void a_limit_that_nothing_meets_returns_the_dense_net(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("random");
    wtl_prune_result r;
    o.max_drop = 0;
    o.step = 0.5; /* much goes at once */
    o.refinements = -1;
    o.finetune.rate = 20; /* spoils whatever is left */
    o.finetune.optimizer.clip_norm = 1;
    o.finetune.final_share = 1;
    wtl_status status = go("dense-stays", &o, false, NULL, &r, NULL);
    assert_int_equal(status, WTL_OK);
    assert_int_equal(r.rounds, 2); /* the step and its second chance */
    assert_close(r.drop, 0.0, 0.0);
    assert_close(r.density, 1.0, 0.0);
    assert_close(r.energy, 1.0, 1e-9);
}

static void a_limit_is_kept_and_going_back_is_told(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-uniform");
    wtl_prune_result r;
    unsigned char *plan;
    size_t length;
    o.max_drop = 7; /* one picture of 15 */
    o.step = 0.5;
    assert_ok(go("limit", &o, false, NULL, &r, NULL));
    assert_true(r.drop <= 7.0 + 1e-9);
    assert_true(r.energy < 1.0);
    assert_ok(wtl_file_read_plain(wtl_tiny_path("limit", "plan.jsonl"), 1 << 24, &plan, &length,
                                  NULL));
    assert_non_null(strstr((const char *)plan, "\"what\":\"held\""));
    assert_non_null(strstr((const char *)plan, "\"what\":\"finished\""));
    wtl_free(plan);
}

static void layers_that_are_excluded_keep_their_weights(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result r;
    wtl_checkpoint *checkpoint;
    wtl_tensor_view mask;
    o.limits[0] = (wtl_prune_limit){.layer = "d", .least_density = 1.0};
    o.limit_count = 1;
    o.target_energy = 0.6 + 0.4 * wtl_tiny_floor(&o);
    assert_ok(go("excluded", &o, false, NULL, &r, NULL));
    assert_ok(
        wtl_checkpoint_read(&checkpoint, wtl_tiny_path("excluded", "ckpt/pruned.wtl"), NULL));
    size_t kept = 0;
    bool has = wtl_checkpoint_find(checkpoint, "d.weight.mask", &mask);
    for (size_t i = 0; has && i < mask.count; i++) {
        kept += mask.value[i] != 0.0f;
    }
    assert_true(!has || kept == mask.count);
    wtl_checkpoint_free(checkpoint);
    wtl_error err;
    snprintf(o.limits[0].layer, sizeof o.limits[0].layer, "dd");
    assert_int_equal(go("no-such", &o, false, NULL, &r, &err), WTL_E_ARG);
    assert_non_null(strstr(err.text, "did you mean 'd'"));
    assert_false(wtl_folder_exists(wtl_test_path("no-such")));
}

/* ---- other nets ---- */

static void auxiliary_heads_come_through(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("energy-aware");
    wtl_prune_result r;
    wtl_checkpoint *checkpoint;
    wtl_tensor_view view;
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_test_path("branched/ckpt/last.wtl"));
    o.target_energy = 0.6 + 0.4 * wtl_tiny_floor(&o);
    assert_ok(go("aux", &o, false, NULL, &r, NULL));
    assert_true(r.met);
    assert_ok(wtl_checkpoint_read(&checkpoint, wtl_tiny_path("aux", "ckpt/pruned.wtl"), NULL));
    assert_true(wtl_checkpoint_find(checkpoint, "x.weight", &view));
    assert_false(wtl_checkpoint_find(checkpoint, "x.weight.mask", &view));
    wtl_checkpoint_free(checkpoint);
}

/* "Dense" is the net as it came: what it had pruned stays so. */
static void a_pruned_net_is_pruned_further(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result r;
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_test_path("masked.wtl"));
    o.target_energy = 0.6 + 0.4 * wtl_tiny_floor(&o);
    assert_ok(go("further", &o, false, NULL, &r, NULL));
    assert_true(r.density < 200.0 / 270.0);
}

static void a_finished_run_goes_on_to_a_harder_goal(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result first, same, harder;
    wtl_prune_options more = {.max_drop = -1};
    double floor = wtl_tiny_floor(&o);
    o.target_energy = 0.7 + 0.3 * floor;
    assert_ok(go("extended", &o, false, NULL, &first, NULL));
    assert_ok(go("extended", NULL, true, NULL, &same, NULL));
    assert_close(same.energy, first.energy, 0.0);
    more.target_energy = 0.4 + 0.6 * floor;
    assert_ok(go("extended", &more, true, NULL, &harder, NULL));
    assert_true(harder.energy < first.energy && harder.rounds > first.rounds);
    assert_close(harder.dense_energy, first.dense_energy, 0.0);
    more.target_energy = 0.5 * floor;
    wtl_error err;
    assert_int_equal(go("extended", &more, true, NULL, &harder, &err), WTL_E_GOAL);
}

static void what_makes_no_sense_is_refused_and_nothing_written(void **state)
{
    (void)state;
    wtl_error err;
    wtl_prune_result r;
    const struct {
        wtl_status status;
        const char *text;
        int what;
    } cases[] = {{WTL_E_ARG, "target energy or a largest drop", 0},
                 {WTL_E_ARG, "did you mean 'random'", 1},
                 {WTL_E_ARG, "leave @test out", 2},
                 {WTL_E_MISSING, "nothing.wtl", 3},
                 {WTL_E_ARG, "rounds", 4},
                 {WTL_E_ARG, "augment", 5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_prune_options o = tiny_options(cases[i].what == 1 ? "randon" : "random");
        o.target_energy = cases[i].what == 0 ? 0 : 0.95;
        if (cases[i].what == 2) {
            snprintf(o.data, sizeof o.data, "idx:%s@test", wtl_test_path("data"));
        }
        if (cases[i].what == 3) {
            snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_test_path("nothing.wtl"));
        }
        o.rounds = cases[i].what == 4 ? -3 : o.rounds;
        if (cases[i].what == 5) {
            snprintf(o.augment, sizeof o.augment, "flop");
        }
        assert_int_equal(go("refused", &o, false, NULL, &r, &err), cases[i].status);
        assert_non_null(strstr(err.text, cases[i].text));
        assert_false(wtl_folder_exists(wtl_test_path("refused")));
    }
}

/* ---- blocks ---- */

static wtl_prune_options block_options(const char *method)
{
    wtl_prune_options o = tiny_options(method);
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_tiny_path("kinds", "ckpt/last.wtl"));
    o.how.granularity = WTL_GRANULARITY_4X1;
    o.target_energy = wtl_tiny_above_floor(&o, 0.4);
    return o;
}

/* ckpt/pruned.wtl of a run: its masks, by the zeros of its weights and as of masks.npz. */
static void assert_blocks(const char *run)
{
    wtl_checkpoint *checkpoint;
    wtl_net *net;
    const wtl_net_options plan = {.batch = 1};
    assert_ok(wtl_checkpoint_read(&checkpoint, wtl_tiny_path(run, "ckpt/pruned.wtl"), NULL));
    assert_ok(wtl_net_create(&net, wtl_checkpoint_net(checkpoint), &plan, NULL));
    assert_ok(wtl_checkpoint_fill_net(checkpoint, net, NULL));
    assert_true(wtl_mask_net_is_4x1(net));
    assert_ok(wtl_mask_load(net, wtl_tiny_path(run, "masks.npz"), NULL));
    assert_true(wtl_mask_net_is_4x1(net));
    const json_t *pruned = wtl_checkpoint_meta(checkpoint, "pruned");
    assert_string_equal(json_string_value(json_object_get(pruned, "granularity")), "4x1");
    wtl_net_free(net);
    wtl_checkpoint_free(checkpoint);
}

static void every_method_prunes_in_blocks_to_the_end(void **state)
{
    (void)state;
    for (int m = 0; wtl_method_at(m); m++) {
        wtl_prune_options o = block_options(wtl_method_at(m)->name);
        wtl_prune_result r;
        char run[64];
        snprintf(run, sizeof run, "blocks-%d", m);
        assert_ok(go(run, &o, false, NULL, &r, NULL));
        assert_true(r.met);
        assert_true(r.energy <= 1.01 * o.target_energy && r.energy >= 0.97 * o.target_energy);
        assert_blocks(run);
    }
}

static void a_run_in_blocks_that_was_stopped_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        wtl_prune_options o = block_options(i ? "energy-aware" : "magnitude-sensitivity");
        watch w = {.polls = 0};
        const char *whole = i ? "blocks-whole-1" : "blocks-whole-0";
        const char *cut = i ? "blocks-cut-1" : "blocks-cut-0";
        assert_ok(go(whole, &o, false, &w, NULL, NULL));
        watch stopped = {.stop_at = 2 * w.polls / 3};
        assert_int_equal(go(cut, &o, false, &stopped, NULL, NULL), WTL_E_STOPPED);
        assert_ok(go(cut, NULL, true, NULL, NULL, NULL));
        wtl_tiny_assert_same_file(whole, cut, "ckpt/pruned.wtl");
        wtl_tiny_assert_same_file(whole, cut, "masks.npz");
        assert_blocks(cut);
    }
}

enum { KINDS = 5, LEVELS = KINDS * WTL_SENSE_LEVELS };

/* s.net := what magnitude-sensitivity leaves with a scan of that granularity. */
static void prune_by_scan(wtl_session *s, const wtl_prune_options *o, wtl_granularity scan)
{
    static const wtl_prune_hooks none;
    double lost[LEVELS];
    wtl_param *params[KINDS];
    wtl_energy_now energy;
    wtl_sense sense;
    wtl_prune_options resolved = *o;
    const wtl_sense_options how = {.granularity = scan};
    assert_ok(wtl_prune_resolve(&resolved, NULL));
    assert_ok(wtl_session_open(s, &resolved, resolved.checkpoint, &none, NULL));
    assert_ok(wtl_session_measure(s, false, &energy, NULL));
    assert_int_equal(s->layer_count, KINDS);
    for (int i = 0; i < KINDS; i++) {
        params[i] = wtl_net_find_param(s->probe, s->layers[i].param->name);
    }
    assert_ok(wtl_sense_scan(&sense, s->probe, params, KINDS, &s->search, &how, NULL));
    for (int i = 0; i < LEVELS; i++) {
        lost[i] = sense.rows[i - i % WTL_SENSE_LEVELS].top1 - sense.rows[i].top1;
    }
    const wtl_method_context context = {.net = s->net,
                                        .pricing = s->pricing,
                                        .layers = s->layers,
                                        .goal_energy = o->target_energy * energy.search,
                                        .options = &s->options.how,
                                        .sensitivity = lost};
    assert_ok(s->method->prune(&context, NULL));
    wtl_sense_clear(&sense);
}

static void the_scan_of_a_run_goes_by_its_blocks(void **state)
{
    (void)state;
    wtl_prune_options o = block_options("magnitude-sensitivity");
    o.rounds = 1;
    o.epochs = o.final_epochs = 0;
    assert_ok(go("blocks-scan", &o, false, NULL, NULL, NULL));
    for (int scan = WTL_GRANULARITY_WEIGHT; scan <= WTL_GRANULARITY_4X1; scan++) {
        wtl_session s = {.rounds = 0};
        bool same = true;
        prune_by_scan(&s, &o, (wtl_granularity)scan);
        float *masks[KINDS];
        for (int i = 0; i < KINDS; i++) { /* the run's take their place */
            masks[i] = s.layers[i].param->mask;
            s.layers[i].param->mask = NULL;
        }
        assert_ok(wtl_mask_load(s.net, wtl_tiny_path("blocks-scan", "masks.npz"), NULL));
        for (int i = 0; i < KINDS; i++) {
            const wtl_param *param = s.layers[i].param;
            for (size_t k = 0; k < param->count; k++) {
                bool kept = !masks[i] || masks[i][k] != 0.0f;
                same = same && kept == wtl_mask_keeps(param, k);
            }
            wtl_free(masks[i]);
        }
        assert_int_equal(same, scan == WTL_GRANULARITY_4X1);
        wtl_session_close(&s);
    }
}

static void replace_in_config(const char *run, const char *was, const char *is)
{
    char path[512];
    json_error_t why;
    snprintf(path, sizeof path, "%s", wtl_tiny_path(run, "config.json"));
    json_t *config = json_load_file(path, 0, &why);
    json_t *how = json_object_get(config, "how");
    assert_string_equal(json_string_value(json_object_get(how, "granularity")), was);
    assert_int_equal(json_object_set_new(how, "granularity", json_string(is)), 0);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
}

static void a_run_is_not_resumed_with_another_granularity(void **state)
{
    (void)state;
    wtl_prune_options o = block_options("magnitude-global");
    wtl_error err;
    char want[512];
    assert_ok(go("blocks-own", &o, false, NULL, NULL, NULL));
    assert_ok(go("blocks-own", &o, true, NULL, NULL, NULL)); /* the same */
    replace_in_config("blocks-own", "4x1", "weight");
    snprintf(want, sizeof want,
             "%s: the run began with granularity 'weight', it cannot go on with '4x1'",
             wtl_tiny_path("blocks-own", "config.json"));
    assert_fails(go("blocks-own", &o, true, NULL, NULL, &err), WTL_E_ARG, &err, want);
    snprintf(want, sizeof want,
             "%s: the run began with granularity '4x1', it cannot go on with 'weight'",
             wtl_tiny_path("blocks-own", "ckpt/last.wtl"));
    assert_fails(go("blocks-own", NULL, true, NULL, NULL, &err), WTL_E_ARG, &err, want);
}

static void single_weights_that_are_pruned_are_no_blocks(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("random");
    wtl_error err;
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_test_path("masked.wtl"));
    o.how.granularity = WTL_GRANULARITY_4X1;
    o.target_energy = 0.9;
    assert_int_equal(go("no-blocks", &o, false, NULL, NULL, &err), WTL_E_ARG);
    assert_non_null(strstr(err.text, ".weight: its weights were pruned one by one"));
    assert_false(wtl_folder_exists(wtl_test_path("no-blocks")));
}

static void limits_and_a_harder_goal_hold_in_blocks(void **state)
{
    (void)state;
    wtl_prune_options o = block_options("energy-aware"), harder;
    wtl_prune_result r;
    o.limits[0] = (wtl_prune_limit){.layer = "d", .least_density = 1.0};
    o.limits[1] = (wtl_prune_limit){.layer = "a", .least_density = 0.51};
    o.limit_count = 2;
    o.target_energy = wtl_tiny_above_floor(&o, 0.5);
    assert_ok(go("blocks-limits", &o, false, NULL, &r, NULL));
    harder = o;
    harder.target_energy = wtl_tiny_above_floor(&o, 0.2);
    assert_ok(go("blocks-limits", &harder, true, NULL, &r, NULL));
    assert_true(r.met);
    assert_blocks("blocks-limits");
}

/* ---- options ---- */

static void options_survive_json(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-gradual"), back;
    o.target_energy = 0.37;
    o.max_drop = 1.25;
    o.metric = WTL_METRIC_TOP5;
    o.how.allocation = WTL_EAP_BY_ENERGY;
    o.how.targets_dense = true;
    o.finetune.smoothing = 0.1f;
    o.limits[0] = (wtl_prune_limit){.layer = "c", .least_density = 0.25};
    o.limit_count = 1;
    json_t *json = wtl_prune_options_to_json(&o);
    assert_non_null(json);
    wtl_prune_defaults(&back);
    assert_ok(wtl_prune_options_from_json(&back, json, "config.json", NULL));
    json_t *again = wtl_prune_options_to_json(&back);
    assert_true(json_equal(json, again));
    assert_close(back.target_energy, 0.37, 0.0);
    assert_int_equal(back.metric, WTL_METRIC_TOP5);
    assert_int_equal(back.limit_count, 1);
    assert_string_equal(back.limits[0].layer, "c");
    json_decref(again);
    wtl_error err;
    wtl_prune_options kept = back;
    json_object_set_new(json, "epoch", json_integer(1));
    assert_fails(wtl_prune_options_from_json(&back, json, "c.json", &err), WTL_E_FORMAT, &err,
                 "c.json: unknown key epoch; did you mean epochs?");
    json_object_del(json, "epoch");
    json_object_set_new(json_object_get(json, "limits"), "c", json_real(1.5));
    assert_int_equal(wtl_prune_options_from_json(&back, json, "c.json", &err), WTL_E_FORMAT);
    assert_memory_equal(&back, &kept, sizeof back);
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(every_method_meets_its_budget_within_a_percent),
        WTL_TEST(a_budget_below_the_floor_is_refused_before_any_work),
        WTL_TEST(masks_hold_and_numbers_can_be_had_again),
        WTL_TEST(a_run_stopped_anywhere_goes_on_to_the_same_bytes),
        WTL_TEST(a_limit_that_nothing_meets_returns_the_dense_net),
        WTL_TEST(a_limit_is_kept_and_going_back_is_told),
        WTL_TEST(layers_that_are_excluded_keep_their_weights),
        WTL_TEST(auxiliary_heads_come_through),
        WTL_TEST(a_pruned_net_is_pruned_further),
        WTL_TEST(a_finished_run_goes_on_to_a_harder_goal),
        WTL_TEST(what_makes_no_sense_is_refused_and_nothing_written),
        WTL_TEST(every_method_prunes_in_blocks_to_the_end),
        WTL_TEST(a_run_in_blocks_that_was_stopped_goes_on_to_the_same_bytes),
        WTL_TEST(the_scan_of_a_run_goes_by_its_blocks),
        WTL_TEST(a_run_is_not_resumed_with_another_granularity),
        WTL_TEST(single_weights_that_are_pruned_are_no_blocks),
        WTL_TEST(limits_and_a_harder_goal_hold_in_blocks),
        WTL_TEST(options_survive_json),
    };
    return WTL_RUN("prune run", tests);
}
