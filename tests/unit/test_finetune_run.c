#include "tiny_run.h"
#include "wtl_test.h"

#include "prune/tune/tuning_state.h"

#include "wattle/file.h"
#include "wattle/finetune_run.h"
#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/rng.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VAL = WTL_TINY_VAL, BATCHES = WTL_TINY_BATCHES };

static wtl_finetune_run_options tiny_options(void)
{
    static bool written;
    if (!written) {
        wtl_tiny_data("data");
        wtl_tiny_checkpoint("pruned.wtl", wtl_tiny_net, 1, 100);
        wtl_tiny_checkpoint("dense.wtl", wtl_tiny_net, 2, 0);
        written = true;
    }
    wtl_finetune_run_options o;
    wtl_finetune_run_defaults(&o);
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_test_path("pruned.wtl"));
    snprintf(o.teacher, sizeof o.teacher, "%s", wtl_test_path("dense.wtl"));
    snprintf(o.data, sizeof o.data, "idx:%s", wtl_test_path("data"));
    snprintf(o.augment, sizeof o.augment, "flip");
    o.batch = 16;
    o.epochs = 2.4; /* 7.2 steps */
    o.finetune.distill = 0.5;
    o.finetune.optimizer.ema = 0.8;
    o.recalibration = 2;
    o.threads = 1;
    o.seed = 11;
    return o;
}

/* ---- hooks ---- */

typedef struct watch {
    int polls, stop_at; /* the poll, from 1, that asks to stop; 0: none */
    int epochs;         /* events of the kind */
    double last_epochs;
} watch;

static void see(void *context, const wtl_finetune_event *event)
{
    watch *w = context;
    if (event->kind == WTL_FINETUNE_EPOCH) {
        w->epochs++;
        w->last_epochs = event->epochs;
    }
}

static int poll_stop(void *context)
{
    watch *w = context;
    return ++w->polls == w->stop_at;
}

static wtl_status tune(const char *run, const wtl_finetune_run_options *o, bool resume,
                       watch *w, wtl_finetune_result *result, wtl_error *err)
{
    const wtl_finetune_hooks hooks = {.event = see, .stop = poll_stop, .context = w};
    return wtl_finetune_to_folder(wtl_test_path(run), o, resume, false, &hooks, result, err);
}

static void assert_same_file(const char *a, const char *b)
{
    unsigned char *x, *y;
    size_t length, other;
    assert_ok(wtl_file_read(wtl_test_path(a), (size_t)1 << 24, &x, &length, NULL));
    assert_ok(wtl_file_read(wtl_test_path(b), (size_t)1 << 24, &y, &other, NULL));
    assert_int_equal(length, other);
    assert_memory_equal(x, y, length);
    wtl_free(x);
    wtl_free(y);
}

/* ---- runs ---- */

static void a_run_says_what_was_before_and_after(void **state)
{
    (void)state;
    const wtl_finetune_run_options o = tiny_options();
    wtl_finetune_result r, again;
    watch w = {0};
    assert_ok(tune("plain", &o, false, &w, &r, NULL));
    assert_int_equal(r.steps, 7);
    assert_close(r.epochs, 7.0 / 3.0, 1e-15);
    assert_int_equal(r.before.images, VAL);
    assert_int_equal(r.after.images, VAL);
    assert_true(r.before.loss != r.after.loss);
    assert_int_equal(r.weights, 6 * 9 + 54 * 4);
    assert_int_equal(r.kept, 100);
    assert_int_equal(r.nonzero, 100);
    assert_int_equal(w.epochs, 3); /* after steps 3, 6 and 7 */
    assert_close(w.last_epochs, 7.0 / 3.0, 1e-15);
    /* Asked again, it says the same, without data. */
    assert_int_equal(rename(wtl_test_path("data"), wtl_test_path("gone")), 0);
    assert_ok(tune("plain", NULL, true, &w, &again, NULL));
    assert_int_equal(rename(wtl_test_path("gone"), wtl_test_path("data")), 0);
    assert_memory_equal(&again, &r, sizeof r);
}

/* Stopped at every `every`-th poll until it is done; the result is that of "whole". */
static void run_in_parts(const wtl_finetune_run_options *o, int every)
{
    wtl_finetune_result whole, parts;
    watch none = {0};
    char name[64], file[96];
    snprintf(name, sizeof name, "parts-%d-%d", o->threads, every);
    assert_ok(
        wtl_finetune_to_folder(wtl_test_path("whole"), o, false, true, NULL, &whole, NULL));
    wtl_status status = WTL_E_STOPPED;
    int stops = 0;
    for (bool resume = false; status == WTL_E_STOPPED; resume = true) {
        watch w = {.stop_at = every};
        wtl_error err;
        status = tune(name, resume ? NULL : o, resume, &w, &parts, &err);
        stops += status == WTL_E_STOPPED;
        assert_true(stops < 60);
    }
    assert_ok(status);
    assert_true(stops > 1);
    snprintf(file, sizeof file, "%s/ckpt/finetuned.wtl", name);
    assert_same_file(file, "whole/ckpt/finetuned.wtl");
    snprintf(file, sizeof file, "%s/metrics.csv", name);
    assert_same_file(file, "whole/metrics.csv");
    assert_ok(tune(name, NULL, true, &none, &parts, NULL));
    assert_memory_equal(&parts, &whole, sizeof whole);
}

static void a_run_in_parts_equals_one_in_whole(void **state)
{
    (void)state;
    /* One poll a batch of validation (one), and one a step. */
    wtl_finetune_run_options o = tiny_options();
    run_in_parts(&o, 2);
    run_in_parts(&o, 3);
    o.finetune.optimizer.kind = WTL_OPTIMIZER_ADAM;
    o.threads = 2;
    run_in_parts(&o, 4);
}

static void a_run_stopped_while_judging_can_go_on(void **state)
{
    (void)state;
    const wtl_finetune_run_options o = tiny_options();
    wtl_finetune_result r;
    wtl_error err;
    watch first = {.stop_at = 1}, last = {.stop_at = 8}, none = {0};
    assert_fails(tune("judging", &o, false, &first, &r, &err), WTL_E_STOPPED, &err,
                 "stopped before the first step; ready to resume");
    assert_false(wtl_file_exists(wtl_test_path("judging/ckpt/last.wtl")));
    /* One poll of the judging, six of steps (the last step asks nobody), one at the end. */
    assert_fails(tune("judging", NULL, true, &last, &r, &err), WTL_E_STOPPED, &err,
                 "stopped after the last step; saved, ready to resume");
    assert_ok(tune("judging", NULL, true, &none, &r, &err));
    assert_ok(
        wtl_finetune_to_folder(wtl_test_path("whole"), &o, false, true, NULL, NULL, NULL));
    assert_same_file("judging/ckpt/finetuned.wtl", "whole/ckpt/finetuned.wtl");
}

static void a_run_that_is_there_is_left_alone(void **state)
{
    (void)state;
    const wtl_finetune_run_options o = tiny_options();
    watch w = {.stop_at = 3};
    wtl_error err;
    char want[WTL_ERROR_TEXT_SIZE];
    assert_int_equal(tune("there", &o, false, &w, NULL, NULL), WTL_E_STOPPED);
    snprintf(want, sizeof want,
             "%s: holds a run already; resume it, overwrite it by force, or choose another "
             "folder",
             wtl_test_path("there"));
    assert_fails(tune("there", &o, false, &w, NULL, &err), WTL_E_ARG, &err, want);
}

/* ---- options ---- */

static void options_come_back_from_json(void **state)
{
    (void)state;
    wtl_finetune_run_options o = tiny_options(), back;
    o.finetune.optimizer.kind = WTL_OPTIMIZER_ADAM;
    o.finetune.smoothing = 0.1f;
    o.seed = UINT64_MAX;
    json_t *json = wtl_finetune_run_options_to_json(&o);
    assert_non_null(json);
    wtl_finetune_run_defaults(&back);
    assert_ok(wtl_finetune_run_options_from_json(&back, json, "config.json", NULL));
    json_t *again = wtl_finetune_run_options_to_json(&back);
    assert_true(json_equal(json, again));
    assert_int_equal(back.finetune.optimizer.kind, WTL_OPTIMIZER_ADAM);
    assert_string_equal(back.teacher, o.teacher);
    assert_true(back.seed == UINT64_MAX);
    json_decref(again);
    json_decref(json);
}

static void options_that_make_no_sense_are_refused_before_anything_is_written(void **state)
{
    (void)state;
    const wtl_finetune_run_options good = tiny_options();
    wtl_finetune_run_options o[5] = {good, good, good, good, good};
    o[0].epochs = -1;
    o[1].finetune.optimizer.momentum = NAN;
    snprintf(o[2].augment, sizeof o[2].augment, "flipp");
    o[3].teacher[0] = '\0';
    o[4].finetune.distill = 0.0;
    for (int i = 0; i < 5; i++) {
        wtl_error err = {0};
        watch w = {0};
        assert_int_equal(tune("refused", &o[i], false, &w, NULL, &err), WTL_E_ARG);
        assert_int_equal(err.status, WTL_E_ARG);
        assert_true(err.text[0] != '\0');
        assert_false(wtl_folder_exists(wtl_test_path("refused")));
    }
}

/* ---- the state in a checkpoint ---- */

static const char good_state[] =
    "{'position': 9, 'step': 7, 'steps': 20, 'loss': 3.5, 'top1': 5, 'images': 100,"
    " 'before': {'loss': 1.0, 'top1': 2, 'top5': 3, 'images': 4},"
    " 'train_hash': 1, 'val_hash': 4294967295, 'teacher_hash': 0,"
    " 'rows': [[3, 1.5, 2, 40], [6, 3.0, 4, 90]]}";

/* good_state with `old` as `new` (NULL: as it is), quotes made double. */
static wtl_status load_state(wtl_tuning_state *s, const char *old, const char *new,
                             wtl_error *err)
{
    char text[1024];
    const char *at = old ? strstr(good_state, old) : good_state;
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good_state), good_state, old ? new : "",
             old ? at + strlen(old) : at);
    for (char *c = text; *c; c++) {
        *c = *c == '\'' ? '"' : *c;
    }
    wtl_checkpoint *checkpoint;
    json_t *meta = json_loads(text, 0, NULL);
    assert_non_null(meta);
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_ok(wtl_checkpoint_set_meta(checkpoint, "tuning", meta, NULL));
    wtl_status status = wtl_tuning_state_load(s, checkpoint, "last.wtl", err);
    wtl_checkpoint_free(checkpoint);
    return status;
}

static void a_state_is_read_as_written(void **state)
{
    (void)state;
    wtl_tuning_state s;
    assert_ok(load_state(&s, NULL, NULL, NULL));
    assert_int_equal(s.tune.position, 9);
    assert_int_equal(s.tune.step, 7);
    assert_int_equal(s.tune.steps, 20);
    assert_close(s.tune.loss, 3.5, 0.0);
    assert_int_equal(s.tune.top1, 5);
    assert_int_equal(s.tune.images, 100);
    assert_int_equal(s.before.top5, 3);
    assert_true(s.val_hash == UINT32_MAX);
    assert_int_equal(s.row_count, 2);
    assert_int_equal(s.rows[1].step, 6);
    assert_int_equal(s.rows[1].images, 90);
    wtl_tuning_state_clear(&s);
}

static void a_malformed_state_is_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"'position': 9", "'position': -1"},
        {"'position': 9", "'position': 1.5"},
        {"'step': 7", "'step': 21"},
        {"'steps': 20", "'steps': '20'"},
        {"'loss': 3.5", "'loss': null"},
        {"'top1': 5", "'top1': 101"},
        {"'images': 100", "'x': 100"},
        {"'top5': 3", "'top5': 5"},
        {"'loss': 1.0, ", ""},
        {"4294967295", "4294967296"},
        {"'rows': [[3", "'rows': [[8"},
        {"'rows': [", "'rows': [3, "},
        {"[6, 3.0", "[3, 3.0"},
        {"4, 90]", "4, 101]"},
        {"4, 90]", "91, 90]"},
        {"4, 90]", "4, 90, 1]"},
        {"4, 90]", "4]"},
        {"1.5, 2", "true, 2"},
        {"'rows': [[3, 1.5, 2, 40], [6, 3.0, 4, 90]]", "'rows': {}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_tuning_state s;
        wtl_error err = {0};
        if (load_state(&s, cases[i][0], cases[i][1], &err) != WTL_E_FORMAT) {
            fail_msg("accepted: %s", cases[i][1]);
        }
        assert_int_equal(strncmp(err.text, "last.wtl: ", 10), 0);
        wtl_tuning_state_clear(&s);
    }
}

/* ---- memory ---- */

static wtl_status starved_run(void *context)
{
    return wtl_finetune_to_folder(wtl_test_path("starved"), context, false, true, NULL, NULL,
                                  NULL);
}

static void failing_allocations_neither_crash_nor_leak(void **state)
{
    (void)state;
    wtl_finetune_run_options o = tiny_options();
    o.epochs = 1;
    o.batch = 45;
    wtl_test_some_allocations_fail(starved_run, &o, 17);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_run_says_what_was_before_and_after),
        WTL_TEST(a_run_in_parts_equals_one_in_whole),
        WTL_TEST(a_run_stopped_while_judging_can_go_on),
        WTL_TEST(a_run_that_is_there_is_left_alone),
        WTL_TEST(options_come_back_from_json),
        WTL_TEST(options_that_make_no_sense_are_refused_before_anything_is_written),
        WTL_TEST(a_state_is_read_as_written),
        WTL_TEST(a_malformed_state_is_refused),
        WTL_TEST(failing_allocations_neither_crash_nor_leak),
    };
    return WTL_RUN("finetune_run", tests);
}
