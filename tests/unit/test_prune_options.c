#include "wtl_test.h"

#include "prune/run/session.h"
#include "wattle/prune.h"
#include "wattle/threads.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* No bytes between fields are compared: all start from the same zeroes. */
static wtl_prune_options zeroed(void)
{
    wtl_prune_options options;
    memset(&options, 0, sizeof options);
    return options;
}

static wtl_prune_options defaults(void)
{
    wtl_prune_options options = zeroed(), filled;
    wtl_prune_defaults(&filled);
    memcpy(&options, &filled, sizeof options);
    return options;
}

static void defaults_are_those_of_the_header(void **state)
{
    (void)state;
    wtl_prune_options o = defaults();
    assert_string_equal(o.checkpoint, "");
    assert_string_equal(o.data, "");
    assert_string_equal(o.method, "energy-aware");
    assert_string_equal(o.hardware, "eyeriss-cvpr17");
    assert_int_equal(o.pricing.batch, 44);
    assert_int_equal(o.pricing.bits, 16);
    assert_close(o.target_energy, 0.0, 0.0);
    assert_true(o.max_drop < 0.0);
    assert_int_equal(o.metric, WTL_METRIC_TOP1);
    assert_int_equal(o.rounds, 6);
    assert_close(o.step, 0.7, 0.0);
    assert_int_equal(o.refinements, 2);
    assert_close(o.epochs, 1.0, 0.0);
    assert_close(o.final_epochs, 2.0, 0.0);
    assert_int_equal(o.finetune.optimizer.kind, WTL_OPTIMIZER_NESTEROV);
    assert_close(o.finetune.optimizer.momentum, 0.9, 0.0);
    assert_close(o.finetune.optimizer.weight_decay, 5e-4, 0.0);
    assert_close(o.finetune.rate, 0.01, 0.0);
    assert_close(o.finetune.final_share, 0.0, 0.0);
    assert_close(o.finetune.distill, 0.0, 0.0);
    assert_int_equal(o.batch, 128);
    assert_string_equal(o.augment, "none");
    assert_int_equal(o.recalibration, 50);
    assert_int_equal(o.search_images, 512);
    assert_int_equal(o.how.images, 128);
    assert_int_equal(o.how.positions, 16);
    assert_int_equal(o.how.probes, 6);
    assert_close(o.how.reconstruct.overshoot, 0.05, 0.0);
    assert_int_equal(o.how.reconstruct.restore_step, 2);
    assert_int_equal(o.limit_count, 0);
    assert_close(o.save_minutes, 5.0, 0.0);
}

/* No field has its default. */
static wtl_prune_options other_than_default(void)
{
    wtl_prune_options o = zeroed();
    const wtl_prune_options other = {
        .checkpoint = "runs/\xc3\xa4\"q\"/last.wtl",
        .data = "idx:/data",
        .method = "magnitude-gradual",
        .hardware = "chip.yaml",
        .pricing = {.batch = 3, .bits = 8},
        .target_energy = 0.37,
        .max_drop = 1.25,
        .metric = WTL_METRIC_TOP5,
        .rounds = 11,
        .step = 0.61,
        .refinements = 7,
        .epochs = 0.1,
        .final_epochs = 3.7,
        .finetune = {.optimizer = {.kind = WTL_OPTIMIZER_ADAM,
                                   .momentum = 0.85,
                                   .beta2 = 0.99,
                                   .epsilon = 1e-7,
                                   .weight_decay = 0.003,
                                   .decay_all = true,
                                   .clip_norm = 2.5},
                     .rate = 0.0123,
                     .final_share = 0.05,
                     .smoothing = 0.1f,
                     .distill = 0.7,
                     .temperature = 4.5},
        .batch = 17,
        .augment = "cifar",
        .recalibration = 9,
        .search_images = 333,
        .how = {.granularity = WTL_GRANULARITY_4X1,
                .reconstruct = {.overshoot = 0.07,
                                .restore_step = 5,
                                .restore_losses = true,
                                .ridge = 0.25},
                .images = 44,
                .positions = 8,
                .allocation = WTL_EAP_BY_ENERGY,
                .inputs_original = true,
                .targets_dense = true,
                .probes = 12,
                .no_restore = true,
                .no_fit = true},
        .limits = {{"conv2", 0.25}, {"conv1", 1.0}},
        .limit_count = 2,
        .seed = UINT64_MAX,
        .threads = 3,
        .workers = 2,
        .save_minutes = 0.3,
    };
    memcpy(&o, &other, sizeof o);
    return o;
}

static char *text_of(const wtl_prune_options *o)
{
    json_t *json = wtl_prune_options_to_json(o);
    assert_non_null(json);
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(json);
    return text;
}

static wtl_status take(wtl_prune_options *o, const char *text, wtl_error *err)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    wtl_status status = wtl_prune_options_from_json(o, json, "config.json", err);
    json_decref(json);
    return status;
}

static void assert_same_goal(const wtl_prune_options *a, const wtl_prune_options *b)
{
    assert_string_equal(a->checkpoint, b->checkpoint);
    assert_string_equal(a->data, b->data);
    assert_string_equal(a->method, b->method);
    assert_string_equal(a->hardware, b->hardware);
    assert_int_equal(a->pricing.batch, b->pricing.batch);
    assert_int_equal(a->pricing.bits, b->pricing.bits);
    assert_close(a->target_energy, b->target_energy, 0.0);
    assert_close(a->max_drop, b->max_drop, 0.0);
    assert_int_equal(a->metric, b->metric);
    assert_int_equal(a->rounds, b->rounds);
    assert_close(a->step, b->step, 0.0);
    assert_int_equal(a->refinements, b->refinements);
    assert_close(a->epochs, b->epochs, 0.0);
    assert_close(a->final_epochs, b->final_epochs, 0.0);
    assert_int_equal(a->limit_count, b->limit_count);
    for (int i = 0; i < a->limit_count; i++) {
        assert_string_equal(a->limits[i].layer, b->limits[i].layer);
        assert_close(a->limits[i].least_density, b->limits[i].least_density, 0.0);
    }
}

static void assert_same_recipe(const wtl_prune_options *a, const wtl_prune_options *b)
{
    const wtl_finetune_options *f = &a->finetune, *g = &b->finetune;
    assert_int_equal(f->optimizer.kind, g->optimizer.kind);
    assert_close(f->optimizer.momentum, g->optimizer.momentum, 0.0);
    assert_close(f->optimizer.beta2, g->optimizer.beta2, 0.0);
    assert_close(f->optimizer.epsilon, g->optimizer.epsilon, 0.0);
    assert_close(f->optimizer.weight_decay, g->optimizer.weight_decay, 0.0);
    assert_int_equal(f->optimizer.decay_all, g->optimizer.decay_all);
    assert_close(f->optimizer.clip_norm, g->optimizer.clip_norm, 0.0);
    assert_close(f->rate, g->rate, 0.0);
    assert_close(f->final_share, g->final_share, 0.0);
    assert_close((double)f->smoothing, (double)g->smoothing, 0.0);
    assert_close(f->distill, g->distill, 0.0);
    assert_close(f->temperature, g->temperature, 0.0);
    assert_int_equal(a->batch, b->batch);
    assert_string_equal(a->augment, b->augment);
    assert_int_equal(a->recalibration, b->recalibration);
    assert_true(a->seed == b->seed);
    assert_int_equal(a->threads, b->threads);
    assert_int_equal(a->workers, b->workers);
    assert_close(a->save_minutes, b->save_minutes, 0.0);
}

static void assert_same_method(const wtl_prune_options *a, const wtl_prune_options *b)
{
    const wtl_method_options *m = &a->how, *n = &b->how;
    assert_int_equal(a->search_images, b->search_images);
    assert_close(m->reconstruct.overshoot, n->reconstruct.overshoot, 0.0);
    assert_int_equal(m->reconstruct.restore_step, n->reconstruct.restore_step);
    assert_int_equal(m->reconstruct.restore_losses, n->reconstruct.restore_losses);
    assert_close(m->reconstruct.ridge, n->reconstruct.ridge, 0.0);
    assert_int_equal(m->granularity, n->granularity);
    assert_int_equal(m->images, n->images);
    assert_int_equal(m->positions, n->positions);
    assert_int_equal(m->allocation, n->allocation);
    assert_int_equal(m->inputs_original, n->inputs_original);
    assert_int_equal(m->targets_dense, n->targets_dense);
    assert_int_equal(m->probes, n->probes);
    assert_int_equal(m->no_restore, n->no_restore);
    assert_int_equal(m->no_fit, n->no_fit);
}

static void every_option_comes_back_from_json_text(void **state)
{
    (void)state;
    wtl_prune_options sent = other_than_default(), got = defaults();
    char *text = text_of(&sent);
    assert_non_null(strstr(text, "\"smoothing\":0.1,")); /* not 0.100000001490116 */
    assert_non_null(strstr(text, "\"seed\":\"18446744073709551615\""));
    assert_non_null(strstr(text, "\"limits\":{\"conv2\":0.25,\"conv1\":1.0}"));
    assert_ok(take(&got, text, NULL));
    assert_same_goal(&got, &sent);
    assert_same_recipe(&got, &sent);
    assert_same_method(&got, &sent);
    free(text);
}

static void what_json_leaves_out_stays(void **state)
{
    (void)state;
    wtl_prune_options o = other_than_default(), before = o;
    assert_ok(take(&o, "{}", NULL));
    assert_memory_equal(&o, &before, sizeof o);
    assert_ok(take(&o, "{\"limits\":{}}", NULL));
    assert_int_equal(o.limit_count, 0); /* the whole list, not an addition */
}

static void what_is_wrong_is_named_and_nothing_changes(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "config.json: must be an object"},
        {"{\"epoch\":1}", "config.json: unknown key epoch; did you mean epochs?"},
        {"{\"finetune\":{\"rtae\":1}}",
         "config.json: unknown key finetune.rtae; did you mean rate?"},
        {"{\"seed\":5,\"rounds\":0}",
         "config.json: rounds: must be a whole number from 1 to 1000"},
        {"{\"seed\":5,\"target_energy\":1.01}",
         "config.json: target_energy: must be a number from 0 to 1"},
        {"{\"max_drop\":101}", "config.json: max_drop: must be a number from -1 to 100"},
        {"{\"step\":1}", "config.json: step: must be a number from 0.01 to 0.99"},
        {"{\"metric\":\"top2\"}", "config.json: metric: must be one of top1 top5"},
        {"{\"optimizer\":{\"kind\":\"adamw\"}}",
         "config.json: optimizer.kind: must be one of sgd nesterov adam"},
        {"{\"how\":{\"granularity\":\"2x1\"}}",
         "config.json: how.granularity: must be one of weight 4x1"},
        {"{\"how\":{\"allocation\":\"fair\"}}",
         "config.json: how.allocation: must be one of least-error equal-error by-energy"},
        {"{\"how\":{\"restore_step\":65}}",
         "config.json: how.restore_step: must be a whole number from 1 to 64"},
        {"{\"limits\":[]}", "config.json: limits: must be an object"},
        {"{\"limits\":{\"a\":0.5,\"b\":1.5}}",
         "config.json: limits: at most 64 layers, each with a density from 0 to 1; b has 1.5"},
        {"{\"limits\":{\"a\":\"half\"}}",
         "config.json: limits: at most 64 layers, each with a density from 0 to 1; a has -1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_prune_options o = other_than_default(), before = o;
        wtl_error err;
        assert_fails(take(&o, cases[i][0], &err), WTL_E_FORMAT, &err, cases[i][1]);
        assert_memory_equal(&o, &before, sizeof o);
    }
}

static void as_many_limits_as_there_is_room_for(void **state)
{
    (void)state;
    json_t *json = json_object(), *limits = json_object();
    json_object_set_new(json, "limits", limits);
    for (int i = 0; i < WTL_PRUNE_LIMITS; i++) {
        char layer[16];
        snprintf(layer, sizeof layer, "conv%d", i);
        json_object_set_new(limits, layer, json_real(i / 100.0));
    }
    wtl_prune_options o = defaults();
    assert_ok(wtl_prune_options_from_json(&o, json, "c", NULL));
    assert_int_equal(o.limit_count, 64);
    assert_string_equal(o.limits[63].layer, "conv63");
    assert_close(o.limits[63].least_density, 0.63, 0.0);
    json_object_set_new(limits, "more", json_real(0.5));
    assert_int_equal(wtl_prune_options_from_json(&o, json, "c", NULL), WTL_E_FORMAT);
    assert_int_equal(o.limit_count, 64);
    json_object_clear(limits);
    char name[WTL_LIMIT_NAME + 1];
    memset(name, 'n', sizeof name);
    name[WTL_LIMIT_NAME] = '\0';
    json_object_set_new(limits, name, json_real(0.5)); /* 128 bytes: one too many */
    assert_int_equal(wtl_prune_options_from_json(&o, json, "c", NULL), WTL_E_FORMAT);
    json_decref(json);
}

/* ---- resolving ---- */

static void zeros_become_the_defaults_of_the_header(void **state)
{
    (void)state;
    wtl_prune_options o = zeroed(), want = defaults();
    o.max_drop = -1.0;
    o.finetune.rate = want.finetune.rate;
    o.finetune.optimizer = want.finetune.optimizer;
    o.epochs = want.epochs; /* 0 of these is none */
    o.final_epochs = want.final_epochs;
    assert_ok(wtl_prune_resolve(&o, NULL));
    want.threads = wtl_threads_available();
    assert_same_goal(&o, &want);
    assert_same_recipe(&o, &want);
    assert_same_method(&o, &want);
}

static void every_negative_that_means_none_is_taken(void **state)
{
    (void)state;
    wtl_prune_options o = defaults();
    o.max_drop = -7.5;
    o.refinements = -3;
    o.recalibration = -20;
    o.how.reconstruct.overshoot = -2;
    o.how.reconstruct.ridge = -2;
    assert_ok(wtl_prune_resolve(&o, NULL));
    assert_true(o.max_drop < 0 && o.refinements < 0 && o.recalibration < 0);
    assert_true(o.how.reconstruct.overshoot < 0 && o.how.reconstruct.ridge < 0);
}

static void a_caller_s_mistakes_are_named(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "options: target_energy: must be a number from 0 to 1",
        "options: max_drop: must be a number from -1 to 100",
        "options: metric: must be one of top1 top5",
        "options: rounds: must be a whole number from 1 to 1000",
        "there is no method 'energy-awre'; did you mean 'energy-aware'?",
        "augment: there is no 'flop'; there are none, flip, cifar, imagenet and caffe",
        "the options' names are not UTF-8, or memory is short",
    };
    for (int i = 0; i < 7; i++) {
        wtl_prune_options o = defaults();
        wtl_error err;
        o.target_energy = i == 0 ? (double)NAN : 0.5;
        o.max_drop = i == 1 ? (double)NAN : -1.0;
        o.metric = i == 2 ? (wtl_prune_metric)2 : WTL_METRIC_TOP1;
        o.rounds = i == 3 ? -1 : 6;
        snprintf(o.method, sizeof o.method, i == 4 ? "energy-awre" : "energy-aware");
        snprintf(o.augment, sizeof o.augment, i == 5 ? "flop" : "flip");
        snprintf(o.data, sizeof o.data, i == 6 ? "idx:\xff" : "idx:d");
        assert_fails(wtl_prune_resolve(&o, &err), WTL_E_ARG, &err, messages[i]);
        assert_int_equal(err.status, WTL_E_ARG);
    }
}

/* What config.json cannot bring back must not count: a resumed run would be another. */
static void what_config_json_cannot_hold_does_not_count(void **state)
{
    (void)state;
    wtl_prune_options o = defaults();
    o.epochs = 1.0 / 3.0; /* 17 digits; the file has 15 */
    o.finetune.optimizer.ema = 0.9;
    o.how.reconstruct.restore_rows = 3;
    o.how.reconstruct.ridge_raises = 1;
    o.how.reconstruct.singular = WTL_SINGULAR_KEEP;
    assert_ok(wtl_prune_resolve(&o, NULL));
    wtl_prune_options back = defaults();
    char *text = text_of(&o);
    assert_ok(take(&back, text, NULL));
    free(text);
    assert_close(o.epochs, back.epochs, 0.0);
    assert_close(o.finetune.optimizer.ema, 0.0, 0.0);
    assert_int_equal(o.how.reconstruct.restore_rows, 0);
    assert_int_equal(o.how.reconstruct.ridge_raises, 0);
    assert_int_equal(o.how.reconstruct.singular, WTL_SINGULAR_SVD);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(defaults_are_those_of_the_header),
        WTL_TEST(every_option_comes_back_from_json_text),
        WTL_TEST(what_json_leaves_out_stays),
        WTL_TEST(what_is_wrong_is_named_and_nothing_changes),
        WTL_TEST(as_many_limits_as_there_is_room_for),
        WTL_TEST(zeros_become_the_defaults_of_the_header),
        WTL_TEST(every_negative_that_means_none_is_taken),
        WTL_TEST(a_caller_s_mistakes_are_named),
        WTL_TEST(what_config_json_cannot_hold_does_not_count),
    };
    return WTL_RUN("prune options", tests);
}
