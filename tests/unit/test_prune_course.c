#define _GNU_SOURCE
#include "tiny_run.h"
#include "wtl_test.h"

#include "wattle/checkpoint.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/prune.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The course of whole runs: killed anywhere, extended, with both goals, at the edges of the
 * options, and where files cannot be written. */

/* The row that tells the class is white: the dense network makes no mistake. */
static void make_data_clear(void)
{
    enum { HEADER = 16, PIXELS = WTL_TINY_SIDE * WTL_TINY_SIDE };
    const char *path = wtl_tiny_path("data", "train-images-idx3-ubyte");
    unsigned char *bytes;
    size_t length;
    assert_ok(wtl_file_read_plain(path, 1 << 20, &bytes, &length, NULL));
    for (int i = 0; i < WTL_TINY_IMAGES; i++) {
        memset(bytes + HEADER + i * PIXELS + i % 4 * WTL_TINY_SIDE, 255, WTL_TINY_SIDE);
    }
    wtl_test_write(path, bytes, length);
    wtl_free(bytes);
}

static wtl_prune_options tiny_options(const char *method)
{
    static bool written;
    if (!written) {
        wtl_tiny_data("data");
        make_data_clear();
        wtl_tiny_train("dense", wtl_tiny_net);
        written = true;
    }
    wtl_prune_options o = wtl_tiny_prune_options(method);
    o.epochs = 1.4;
    return o;
}

/* Everything that a run leaves, as there is no clock to tell them apart. */
static void assert_same_run(const char *a, const char *b)
{
    static const char *const files[] = {"ckpt/pruned.wtl", "ckpt/last.wtl", "plan.jsonl",
                                        "metrics.csv",     "energy.csv",    "certificate.json",
                                        "config.json",     "masks.npz",     "ckpt/dense.wtl"};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        wtl_tiny_assert_same_file(a, b, files[i]);
    }
}

/* ---- killed ---- */

enum { STRIDE = 29 }; /* of the calls at which runs are killed; 1 takes a minute */

typedef struct killer {
    int calls, at; /* of any hook; 0: never */
} killer;

static void call(killer *k)
{
    if (++k->calls == k->at) {
        _exit(9); /* nothing is flushed, nothing saved */
    }
}

static void on_event(void *context, const wtl_prune_event *event)
{
    (void)event;
    call(context);
}

static int on_stop(void *context)
{
    call(context);
    return 0;
}

static wtl_prune_hooks killing(killer *k)
{
    return (wtl_prune_hooks){.event = on_event, .stop = on_stop, .context = k};
}

/* In a process of its own, which dies at the at-th call of a hook; false if it came through. */
static bool killed(const char *run, const wtl_prune_options *o, bool resume, int at)
{
    int how;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        killer k = {.at = at};
        const wtl_prune_hooks hooks = killing(&k);
        wtl_status status = wtl_prune(wtl_test_path(run), o, resume, false, &hooks, NULL, NULL);
        _exit(status == WTL_OK || status == WTL_E_GOAL ? 0 : 1);
    }
    assert_true(waitpid(child, &how, 0) == child && WIFEXITED(how));
    assert_true(WEXITSTATUS(how) == 0 || WEXITSTATUS(how) == 9);
    return WEXITSTATUS(how) == 9;
}

static wtl_status finish(const char *run, const wtl_prune_options *o, wtl_prune_result *r)
{
    bool begun = wtl_file_exists(wtl_tiny_path(run, "config.json"));
    return wtl_prune(wtl_test_path(run), begun ? NULL : o, begun, false, NULL, r, NULL);
}

/* Killed at every stride-th call, and now and then once more while it is resumed. */
static void kill_everywhere(const char *method, double share, double drop, int stride)
{
    wtl_prune_options o = tiny_options(method);
    wtl_prune_result r, resumed;
    killer count = {0};
    const wtl_prune_hooks hooks = killing(&count);
    char all[64], run[64];
    snprintf(all, sizeof all, "whole-%s-%g", method, drop);
    snprintf(run, sizeof run, "killed-%s-%g", method, drop);
    o.target_energy = share > 0 ? wtl_tiny_above_floor(&o, share) : 0;
    o.max_drop = drop;
    o.finetune.distill = 0.3;
    wtl_status end = wtl_prune(wtl_test_path(all), &o, false, false, &hooks, &r, NULL);
    assert_true(end == WTL_OK || end == WTL_E_GOAL);
    for (int at = 1; at <= count.calls; at += stride) {
        char folder[96];
        snprintf(folder, sizeof folder, "%s-%d", run, at);
        assert_true(killed(folder, &o, false, at));
        if (at % 3 == 0 && wtl_file_exists(wtl_tiny_path(folder, "config.json"))) {
            (void)killed(folder, NULL, true, at % 17 + 1);
        }
        assert_int_equal(finish(folder, &o, &resumed), end);
        assert_same_run(folder, all);
        assert_int_equal(resumed.rounds, r.rounds);
        assert_close(resumed.drop, r.drop, 0.0);
    }
}

static void a_run_killed_anywhere_goes_on_to_the_same_files(void **state)
{
    (void)state;
    kill_everywhere("energy-aware", 0.4, -1, STRIDE);
    kill_everywhere("magnitude-global", 0, 8, STRIDE);
    kill_everywhere("magnitude-sensitivity", 0.3, 7, STRIDE);
    kill_everywhere("magnitude-gradual", 0.5, -1, STRIDE);
}

static void an_extension_killed_anywhere_goes_on_to_the_same_files(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global"), more = {.max_drop = -1};
    wtl_prune_result r;
    killer count = {0};
    const wtl_prune_hooks hooks = killing(&count);
    o.target_energy = wtl_tiny_above_floor(&o, 0.6);
    more.target_energy = wtl_tiny_above_floor(&o, 0.4);
    more.max_drop = 20;
    assert_ok(wtl_prune(wtl_test_path("further"), &o, false, false, NULL, NULL, NULL));
    wtl_status end = wtl_prune(wtl_test_path("further"), &more, true, false, &hooks, &r, NULL);
    assert_true(end == WTL_OK || end == WTL_E_GOAL);
    for (int at = 1; at <= count.calls; at += STRIDE) {
        char run[64];
        snprintf(run, sizeof run, "further-%d", at);
        assert_ok(wtl_prune(wtl_test_path(run), &o, false, false, NULL, NULL, NULL));
        assert_true(killed(run, &more, true, at));
        assert_int_equal(wtl_prune(wtl_test_path(run), &more, true, false, NULL, NULL, NULL),
                         end);
        assert_same_run(run, "further");
    }
}

/* ---- decisions ---- */

/* The decisions of a plan, one word each: "held back held finished". */
static void decisions_of(const char *run, char *text, size_t size)
{
    FILE *file = fopen(wtl_tiny_path(run, "plan.jsonl"), "r");
    char line[2048];
    assert_non_null(file);
    text[0] = '\0';
    while (fgets(line, sizeof line, file)) {
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        const char *what = json_string_value(json_object_get(object, "what"));
        size_t used = strlen(text);
        if (what) {
            snprintf(text + used, size - used, "%s%s", used ? ", " : "", what);
        }
        json_decref(object);
    }
    fclose(file);
}

static int occurrences(const char *text, const char *word)
{
    int count = 0;
    for (const char *at = strstr(text, word); at; at = strstr(at + 1, word)) {
        count++;
    }
    return count;
}

/* The fine-tuning spoils whatever was pruned, and half of the energy goes at once: nothing
 * holds, and the run goes back as often as it may. */
static void a_run_goes_back_as_often_as_it_is_told(void **state)
{
    (void)state;
    for (int times = -1; times <= 3; times += 2) {
        for (int both = 0; both < 2; both++) {
            wtl_prune_options o = tiny_options("magnitude-global");
            wtl_prune_result r;
            char run[64], text[1024];
            snprintf(run, sizeof run, "back-%d-%d", times, both);
            o.max_drop = 0;
            o.step = 0.5;
            o.refinements = times;
            o.target_energy = both ? wtl_tiny_above_floor(&o, 0.3) : 0;
            o.finetune.rate = 20;
            o.finetune.optimizer.clip_norm = 1;
            o.finetune.final_share = 1;
            assert_int_equal(wtl_prune(wtl_test_path(run), &o, false, false, NULL, &r, NULL),
                             both ? WTL_E_GOAL : WTL_OK);
            decisions_of(run, text, sizeof text);
            int tries = times < 0 ? 1 : times + 1;
            assert_int_equal(occurrences(text, "back"), tries);
            assert_int_equal(occurrences(text, "second chance"), tries);
            assert_int_equal(occurrences(text, "held"), 1); /* the dense network */
            assert_int_equal(r.rounds, 2 * tries);
            assert_close(r.energy, 1.0, 1e-9);
            assert_close(r.drop, 0.0, 0.0);
            assert_int_equal(r.met, !both);
            wtl_tiny_assert_same_file(run, run, "ckpt/pruned.wtl");
        }
    }
}

/* ---- edges ---- */

static void no_epochs_at_all(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        wtl_prune_options o = tiny_options(i ? "magnitude-gradual" : "magnitude-global");
        wtl_prune_result r;
        o.epochs = o.final_epochs = 0;
        o.target_energy = wtl_tiny_above_floor(&o, 0.5);
        char run[32];
        snprintf(run, sizeof run, "none-%d", i);
        assert_ok(wtl_prune(wtl_test_path(run), &o, false, false, NULL, &r, NULL));
        assert_true(r.met && r.energy <= 1.01 * o.target_energy && r.density < 1.0);
        assert_close(r.epochs, 0.0, 0.0);
    }
}

static void another_number_of_threads_goes_on(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("energy-aware");
    const wtl_prune_options other = {.threads = 2, .max_drop = -1};
    wtl_prune_result r;
    o.target_energy = wtl_tiny_above_floor(&o, 0.5);
    assert_true(killed("threads", &o, false, 60));
    assert_ok(wtl_prune(wtl_test_path("threads"), &other, true, false, NULL, &r, NULL));
    assert_true(r.met);
}

/* ---- states that a run seldom comes to ---- */

/* Begin a run and change its state, in last.wtl, as it is right after the beginning. */
static void begin_with(const char *run, const wtl_prune_options *o, const char *key,
                       double value)
{
    enum { CALLS = 60 };
    wtl_checkpoint *checkpoint;
    const char *last = wtl_tiny_path(run, "ckpt/last.wtl");
    for (int at = 1; at < CALLS && !wtl_file_exists(last); at++) {
        assert_true(killed(run, o, false, at));
    }
    assert_ok(wtl_checkpoint_read(&checkpoint, last, NULL));
    json_t *state = wtl_checkpoint_meta(checkpoint, "pruning");
    json_t *old = json_object_get(state, key);
    assert_true(json_is_number(old));
    json_object_set_new(
        state, key, json_is_integer(old) ? json_integer((json_int_t)value) : json_real(value));
    assert_ok(wtl_checkpoint_write(checkpoint, last, NULL));
    wtl_checkpoint_free(checkpoint);
}

static int stop_after_many(void *context)
{
    int *polls = context;
    return ++*polls > 3000;
}

/* The drift of the step before, 5 %, takes the aim below the floor; the target is above it. */
static void a_target_near_the_floor_is_tried(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result r;
    o.limits[0] = (wtl_prune_limit){"c", 0.5};
    o.limits[1] = (wtl_prune_limit){"d", 0.5};
    o.limit_count = 2;
    o.rounds = 1;
    o.final_epochs = 0.1; /* zeros of activations hardly change */
    o.finetune.rate = 1e-6;
    o.target_energy = 1.01 * wtl_tiny_floor(&o);
    begin_with("near-floor", &o, "drift", 1.05);
    assert_ok(wtl_prune(wtl_test_path("near-floor"), NULL, true, false, NULL, &r, NULL));
    assert_true(r.met && r.rounds == 1 && r.density >= 0.5 && r.density < 0.52);
}

/* Many refinements make the factor of a step 1: it takes nothing, and would for ever. */
static void a_step_that_takes_nothing_is_the_last(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result r = {.rounds = -1};
    wtl_error err;
    int polls = 0;
    const wtl_prune_hooks hooks = {.stop = stop_after_many, .context = &polls};
    o.target_energy = wtl_tiny_above_floor(&o, 0.3);
    o.max_drop = 100;
    begin_with("nothing", &o, "campaign_rounds", 1000000);
    begin_with("nothing", &o, "goal", 1.0);
    assert_int_equal(wtl_prune(wtl_test_path("nothing"), NULL, true, false, &hooks, &r, &err),
                     WTL_E_GOAL);
    assert_int_equal(r.rounds, 0);
    assert_close(r.density, 1.0, 0.0);
}

/* ---- a net that is pruned already ---- */

static void the_density_in_checkpoints_is_that_of_the_net(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_checkpoint *checkpoint;
    wtl_tiny_checkpoint("masked.wtl", wtl_tiny_net, 1, 200);
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_test_path("masked.wtl"));
    o.max_drop = 100;
    begin_with("masked", &o, "plan_lines", 2);
    assert_ok(wtl_checkpoint_read(&checkpoint, wtl_tiny_path("masked", "ckpt/held.wtl"), NULL));
    const json_t *pruned = wtl_checkpoint_meta(checkpoint, "pruned");
    assert_close(json_number_value(json_object_get(pruned, "density")), 200.0 / 270.0, 1e-12);
    assert_close(json_number_value(json_object_get(pruned, "energy")), 1.0, 0.0);
    wtl_checkpoint_free(checkpoint);
}

/* ---- no room ---- */

/* At a call of a hook, `file` of the run is put aside, and a full disk in its place. */
typedef struct filler {
    int calls, at;
    const char *run, *file;
    bool done;
} filler;

static const char *aside(const filler *f)
{
    char name[96];
    snprintf(name, sizeof name, "%s.aside", f->file);
    return wtl_tiny_path(f->run, name);
}

static void fill_disk(void *context, const wtl_prune_event *event)
{
    filler *f = context;
    (void)event;
    if (++f->calls == f->at) {
        const char *path = wtl_tiny_path(f->run, f->file);
        f->done = true;
        (void)rename(path, aside(f)); /* it need not be there yet */
        assert_int_equal(symlink("/dev/full", path), 0);
    }
}

static void make_room(const filler *f)
{
    const char *path = wtl_tiny_path(f->run, f->file);
    assert_int_equal(unlink(path), 0);
    if (wtl_file_exists(aside(f))) {
        assert_int_equal(rename(aside(f), path), 0);
    }
}

static void a_full_disk_is_told_and_costs_nothing(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        int at; /* when the folder is there, and a save, or the end, is still to come */
    } cases[] = {{"ckpt/last.wtl", 12},    {"ckpt/last.wtl", 20}, {"ckpt/held.wtl", 12},
                 {"ckpt/pruned.wtl", 12},  {"metrics.csv", 12},   {"energy.csv", 12},
                 {"certificate.json", 12}, {"masks.npz", 12}};
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result r;
    o.target_energy = wtl_tiny_above_floor(&o, 0.6);
    o.max_drop = 50;
    assert_ok(wtl_prune(wtl_test_path("room"), &o, false, false, NULL, &r, NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char run[32];
        wtl_error err;
        snprintf(run, sizeof run, "no-room-%zu", i);
        filler f = {.at = cases[i].at, .run = run, .file = cases[i].file};
        const wtl_prune_hooks hooks = {.event = fill_disk, .context = &f};
        wtl_status status = wtl_prune(wtl_test_path(run), &o, false, false, &hooks, NULL, &err);
        if (status != WTL_E_WRITE || !f.done) {
            fail_msg("%s full at call %d of %d: %s", f.file, f.at, f.calls,
                     wtl_status_name(status));
        }
        assert_non_null(strstr(err.text, "/dev/full: cannot be written: No space left"));
        make_room(&f);
        assert_ok(wtl_prune(wtl_test_path(run), NULL, true, false, NULL, &r, NULL));
        assert_same_run(run, "room");
    }
}

static void files_of_a_beginning_that_cannot_be_written_are_told(void **state)
{
    (void)state;
    static const char *const files[] = {"env.json", "ckpt/dense.wtl"};
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_error err;
    o.target_energy = 0.97;
    for (int i = 0; i < 2; i++) {
        char run[32];
        snprintf(run, sizeof run, "begin-%d", i);
        assert_ok(wtl_make_folder(wtl_tiny_path(run, "ckpt"), NULL));
        assert_int_equal(symlink("/dev/full", wtl_tiny_path(run, files[i])), 0);
        assert_int_equal(wtl_prune(wtl_test_path(run), &o, false, false, NULL, NULL, &err),
                         WTL_E_WRITE);
        assert_non_null(strstr(err.text, "/dev/full: cannot be written"));
        assert_false(wtl_file_exists(wtl_tiny_path(run, "ckpt/last.wtl")));
        assert_int_equal(unlink(wtl_tiny_path(run, files[i])), 0);
        assert_ok(wtl_prune(wtl_test_path(run), &o, false, false, NULL, NULL, &err));
    }
}

/* ---- no memory ---- */

static void no_allocation_that_fails_leaks_or_spoils_a_run(void **state)
{
    (void)state;
    enum { TRIES = 40 };
    wtl_prune_options o = tiny_options("energy-aware");
    wtl_prune_result r;
    o.rounds = 1;
    o.epochs = o.final_epochs = 0.4;
    o.target_energy = wtl_tiny_above_floor(&o, 0.6);
    o.max_drop = 90;
    o.finetune.distill = 0.3;
    wtl_test_fail_allocation(0, 0);
    assert_ok(wtl_prune(wtl_test_path("memory"), &o, false, false, NULL, &r, NULL));
    long count = wtl_test_allocations(), live = wtl_test_live_allocations();
    for (int i = 0; i < TRIES; i++) {
        char run[32];
        wtl_error err = {.text = ""};
        long at = 1 + count * i / TRIES;
        snprintf(run, sizeof run, "memory-%d", i);
        wtl_test_fail_allocation(at, 0);
        wtl_status status = wtl_prune(wtl_test_path(run), &o, false, false, NULL, &r, &err);
        wtl_test_fail_allocation(0, 0);
        if (status != WTL_E_NOMEM || err.text[0] == '\0') {
            fail_msg("allocation %ld of %ld failed: %s (%s)", at, count,
                     wtl_status_name(status), err.text);
        }
        assert_int_equal(wtl_test_live_allocations(), live);
        assert_ok(finish(run, &o, &r));
        assert_same_run(run, "memory");
    }
}

/* ---- training that is not finite ---- */

static void training_that_is_not_finite_is_told_and_nothing_is_lost(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_error err;
    wtl_checkpoint *checkpoint;
    o.target_energy = wtl_tiny_above_floor(&o, 0.6);
    o.finetune.rate = 1e6;
    o.finetune.optimizer.momentum = 0.999;
    o.epochs = o.final_epochs = 30;
    assert_int_equal(wtl_prune(wtl_test_path("nan"), &o, false, false, NULL, NULL, &err),
                     WTL_E_NAN);
    assert_null(strchr(err.text, '\n'));
    assert_ok(wtl_checkpoint_read(&checkpoint, wtl_tiny_path("nan", "ckpt/last.wtl"), NULL));
    wtl_checkpoint_free(checkpoint);
    assert_false(wtl_file_exists(wtl_tiny_path("nan", "ckpt/pruned.wtl")));
}

/* ---- the clock ---- */

static double tick(void *context)
{
    double *now = context;
    return *now += 1.0;
}

static double peak(void *context)
{
    (void)context;
    return 12345.0;
}

/* Seconds go on over calls: never back within plan.jsonl, nor in the certificate. */
static void seconds_are_of_all_calls(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    double now = 1000.0, last = 0.0;
    const wtl_prune_hooks hooks = {.seconds = tick, .peak_bytes = peak, .context = &now};
    wtl_prune_result r;
    char line[2048];
    o.target_energy = wtl_tiny_above_floor(&o, 0.6);
    o.save_minutes = 1.0 / 60.0; /* every second: after every batch */
    begin_with("clock", &o, "drift", 1.0);
    for (int times = 0; times < 3; times++) {
        now = times * 1e6; /* another process has another clock */
        assert_ok(wtl_prune(wtl_test_path("clock"), NULL, true, false, &hooks, &r, NULL));
        FILE *file = fopen(wtl_tiny_path("clock", "plan.jsonl"), "r");
        assert_non_null(file);
        double before = 0.0;
        while (fgets(line, sizeof line, file)) {
            json_t *object = json_loads(line, 0, NULL);
            double seconds = json_number_value(json_object_get(object, "seconds"));
            assert_true(seconds >= before && seconds < 500.0);
            before = seconds;
            json_decref(object);
        }
        fclose(file);
        assert_true(r.seconds >= before && r.seconds >= last && r.seconds < 500.0);
        assert_close(r.peak_bytes, 12345.0, 0.0);
        last = before;
    }
}

/* ---- top-5 ---- */

static void the_limit_is_in_points_of_the_metric(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("random");
    wtl_prune_result r;
    o.metric = WTL_METRIC_TOP5; /* of 4 classes: never wrong */
    o.max_drop = 0;
    o.refinements = -1;
    o.finetune.rate = 20;
    o.finetune.optimizer.clip_norm = 1;
    o.target_energy = wtl_tiny_above_floor(&o, 0.5);
    assert_ok(wtl_prune(wtl_test_path("top5"), &o, false, false, NULL, &r, NULL));
    assert_close(r.drop, 0.0, 0.0);
    assert_true(r.top1 < r.dense_top1); /* which would not have held */
}

/* ---- where nothing was saved ---- */

static int stop_at_once(void *context)
{
    (void)context;
    return 1;
}

static void a_run_stopped_before_its_beginning_leaves_nothing(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("random");
    wtl_error err;
    const wtl_prune_hooks hooks = {.stop = stop_at_once};
    o.target_energy = 0.95;
    assert_fails(wtl_prune(wtl_test_path("at-once"), &o, false, false, &hooks, NULL, &err),
                 WTL_E_STOPPED, &err, "stopped before the first round");
    assert_false(wtl_folder_exists(wtl_test_path("at-once")));
}

static void a_run_may_begin_from_what_it_overwrites(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result first, second;
    o.target_energy = wtl_tiny_above_floor(&o, 0.7);
    assert_ok(wtl_prune(wtl_test_path("own"), &o, false, false, NULL, &first, NULL));
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_tiny_path("own", "ckpt/pruned.wtl"));
    assert_int_equal(wtl_prune(wtl_test_path("own"), &o, false, false, NULL, NULL, NULL),
                     WTL_E_ARG);
    o.target_energy = 0.97;
    assert_ok(wtl_prune(wtl_test_path("own"), &o, false, true, NULL, &second, NULL));
    assert_close(second.dense_energy / first.pruned_energy, 1.0, 1e-9);
    assert_true(second.density < first.density);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_run_killed_anywhere_goes_on_to_the_same_files),
        WTL_TEST(an_extension_killed_anywhere_goes_on_to_the_same_files),
        WTL_TEST(a_run_goes_back_as_often_as_it_is_told),
        WTL_TEST(no_epochs_at_all),
        WTL_TEST(another_number_of_threads_goes_on),
        WTL_TEST(a_target_near_the_floor_is_tried),
        WTL_TEST(a_step_that_takes_nothing_is_the_last),
        WTL_TEST(the_density_in_checkpoints_is_that_of_the_net),
        WTL_TEST(a_full_disk_is_told_and_costs_nothing),
        WTL_TEST(files_of_a_beginning_that_cannot_be_written_are_told),
        WTL_TEST(no_allocation_that_fails_leaks_or_spoils_a_run),
        WTL_TEST(training_that_is_not_finite_is_told_and_nothing_is_lost),
        WTL_TEST(seconds_are_of_all_calls),
        WTL_TEST(the_limit_is_in_points_of_the_metric),
        WTL_TEST(a_run_stopped_before_its_beginning_leaves_nothing),
        WTL_TEST(a_run_may_begin_from_what_it_overwrites),
    };
    return WTL_RUN("prune course", tests);
}
