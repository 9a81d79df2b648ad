#include "wtl_test.h"

#include "wattle/trainer.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* No bytes between fields are compared: both sides start from the same zeroes. */
static wtl_train_options zeroed_defaults(void)
{
    wtl_train_options options;
    memset(&options, 0, sizeof options);
    wtl_train_defaults(&options);
    return options;
}

static void defaults_are_those_of_the_header(void **state)
{
    (void)state;
    wtl_train_options o = zeroed_defaults();
    assert_int_equal(o.epochs, 10);
    assert_int_equal(o.batch, 128);
    assert_int_equal(o.optimizer.kind, WTL_OPTIMIZER_NESTEROV);
    assert_close(o.optimizer.momentum, 0.9, 0.0);
    assert_close(o.optimizer.weight_decay, 5e-4, 0.0);
    assert_int_equal(o.schedule.kind, WTL_SCHEDULE_ONECYCLE);
    assert_close(o.schedule.peak, 0.1, 0.0);
    assert_close((double)o.smoothing, 0.0, 0.0);
    assert_string_equal(o.augment, "none");
}

static void every_option_comes_back_from_json_text(void **state)
{
    (void)state;
    const wtl_train_options sent = {
        .net = "alexnet-28:width=0.5",
        .data = "idx:/data/\xc3\xa4\"quoted\"",
        .from = "old.wtl",
        .epochs = 3,
        .batch = 17,
        .optimizer = {.kind = WTL_OPTIMIZER_ADAM,
                      .momentum = 0.85,
                      .beta2 = 0.99,
                      .epsilon = 1e-7,
                      .weight_decay = 0.01,
                      .decay_all = true,
                      .clip_norm = 2.5,
                      .ema = 0.9999},
        .schedule = {.kind = WTL_SCHEDULE_STEP,
                     .peak = 0.003,
                     .warmup_epochs = 1.5,
                     .step_epochs = 7,
                     .gamma = 0.2,
                     .final_share = 0.05},
        .smoothing = 0.1f,
        .augment = "cifar",
        .cutout = 8,
        .val_share = 0.2,
        .whole_train = true,
        .seed = UINT64_MAX,
        .threads = 4,
        .workers = 3,
        .engine = WTL_ENGINE_REFERENCE,
        .save_minutes = 2.5,
    };
    json_t *json = wtl_train_options_to_json(&sent);
    char *text = json_dumps(json, JSON_REAL_PRECISION(15));
    json_decref(json);
    assert_non_null(text);
    assert_non_null(strstr(text, "\"smoothing\": 0.1,")); /* not 0.100000001490116 */
    json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    free(text);
    wtl_train_options got = zeroed_defaults();
    assert_ok(wtl_train_options_from_json(&got, json, "config.json", NULL));
    json_decref(json);

    assert_string_equal(got.net, sent.net);
    assert_string_equal(got.data, sent.data);
    assert_string_equal(got.from, sent.from);
    assert_int_equal(got.epochs, 3);
    assert_int_equal(got.batch, 17);
    assert_int_equal(got.optimizer.kind, WTL_OPTIMIZER_ADAM);
    assert_close(got.optimizer.momentum, 0.85, 0.0);
    assert_close(got.optimizer.beta2, 0.99, 0.0);
    assert_close(got.optimizer.epsilon, 1e-7, 0.0);
    assert_close(got.optimizer.weight_decay, 0.01, 0.0);
    assert_true(got.optimizer.decay_all);
    assert_close(got.optimizer.clip_norm, 2.5, 0.0);
    assert_close(got.optimizer.ema, 0.9999, 0.0);
    assert_int_equal(got.schedule.kind, WTL_SCHEDULE_STEP);
    assert_close(got.schedule.peak, 0.003, 0.0);
    assert_close(got.schedule.warmup_epochs, 1.5, 0.0);
    assert_close(got.schedule.step_epochs, 7, 0.0);
    assert_close(got.schedule.gamma, 0.2, 0.0);
    assert_close(got.schedule.final_share, 0.05, 0.0);
    assert_true(got.smoothing == 0.1f);
    assert_string_equal(got.augment, "cifar");
    assert_int_equal(got.cutout, 8);
    assert_close(got.val_share, 0.2, 0.0);
    assert_true(got.whole_train);
    assert_true(got.seed == UINT64_MAX);
    assert_int_equal(got.threads, 4);
    assert_int_equal(got.workers, 3);
    assert_int_equal(got.engine, WTL_ENGINE_REFERENCE);
    assert_close(got.save_minutes, 2.5, 0.0);
}

static void keys_that_are_not_there_keep_their_value(void **state)
{
    (void)state;
    wtl_train_options o = zeroed_defaults();
    json_t *json = json_loads("{\"epochs\": 4, \"optimizer\": {\"momentum\": 0}}", 0, NULL);
    assert_ok(wtl_train_options_from_json(&o, json, "c.json", NULL));
    json_decref(json);
    assert_int_equal(o.epochs, 4);
    assert_int_equal(o.batch, 128);
    assert_close(o.optimizer.momentum, 0.0, 0.0);
    assert_close(o.optimizer.weight_decay, 5e-4, 0.0);
}

static void what_is_wrong_is_named_and_changes_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *text, *message;
    } cases[] = {
        {"[]", "c.json: must be an object"},
        {"{\"epochs\": 4, \"optimizer\": 1}", "c.json: optimizer: must be an object"},
        {"{\"epochs\": 4, \"bacth\": 1}", "c.json: unknown key bacth; did you mean batch?"},
        {"{\"epochs\": 4, \"zzzzzz\": 1}", "c.json: unknown key zzzzzz"},
        {"{\"epochs\": 4, \"optimizer\": {\"peak\": 1}}", "c.json: unknown key optimizer.peak"},
        {"{\"epochs\": 4, \"momentum\": 0.5}", "c.json: unknown key momentum"},
        {"{\"epochs\": 0}", "c.json: epochs: must be a whole number from 1 to 1000000"},
        {"{\"epochs\": 1.5}", "c.json: epochs: must be a whole number from 1 to 1000000"},
        {"{\"epochs\": 4, \"cutout\": null}",
         "c.json: cutout: must be a whole number from 0 to 65536"},
        {"{\"epochs\": 4, \"optimizer\": {\"momentum\": 1}}",
         "c.json: optimizer.momentum: must be a number from 0 to 0.9999999999"},
        {"{\"epochs\": 4, \"optimizer\": {\"kind\": \"lion\"}}",
         "c.json: optimizer.kind: must be one of sgd nesterov adam"},
        {"{\"epochs\": 4, \"schedule\": {\"peak\": -1}}",
         "c.json: schedule.peak: must be a number from 0 to 1000000"},
        {"{\"epochs\": 4, \"whole_train\": 1}", "c.json: whole_train: must be true or false"},
        {"{\"epochs\": 4, \"seed\": -1}",
         "c.json: seed: must be a whole number from 0 to 18446744073709551615"},
        {"{\"epochs\": 4, \"seed\": \"18446744073709551616\"}",
         "c.json: seed: must be a whole number from 0 to 18446744073709551615"},
        {"{\"epochs\": 4, \"augment\": \"0123456789012345678901234567890123456789\"}",
         "c.json: augment: must be a string of fewer than 32 bytes"},
        {"{\"epochs\": 4, \"engine\": 0}",
         "c.json: engine: must be one of native blas reference"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_train_options o = zeroed_defaults();
        wtl_error err;
        json_t *json = json_loads(cases[i].text, 0, NULL);
        assert_non_null(json);
        assert_fails(wtl_train_options_from_json(&o, json, "c.json", &err), WTL_E_FORMAT, &err,
                     cases[i].message);
        json_decref(json);
        assert_int_equal(o.epochs, 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(defaults_are_those_of_the_header),
        WTL_TEST(every_option_comes_back_from_json_text),
        WTL_TEST(keys_that_are_not_there_keep_their_value),
        WTL_TEST(what_is_wrong_is_named_and_changes_nothing),
    };
    return WTL_RUN("train options", tests);
}
