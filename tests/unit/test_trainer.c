#include "wtl_test.h"

#include "wattle/checkpoint.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/rng.h"
#include "wattle/trainer.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A data set that can be learned in seconds: noise with one bright quarter, which is the
 * class. 120 pictures of 8x8 to train on, 12 of them held out: 108 are 7 batches of 16, the
 * last one short. */
enum { SIDE = 8, TRAIN = 120, TEST = 40, CLASSES = 4, BATCHES = 7, EPOCHS = 3 };

static void write_idx(const char *name, int dims, int count, const unsigned char *bytes,
                      size_t length)
{
    static unsigned char file[16 + TRAIN * SIDE * SIDE];
    const unsigned char header[16] = {
        0, 0, 8,   (unsigned char)dims, 0, 0, 0, (unsigned char)count, 0, 0, 0, SIDE, 0,
        0, 0, SIDE};
    size_t size = 4 + 4 * (size_t)dims;
    memcpy(file, header, size);
    memcpy(file + size, bytes, length);
    wtl_test_write(wtl_test_path(name), file, size + length);
}

static void write_part(const char *folder, const char *part, int count, int classes,
                       unsigned key)
{
    unsigned char pixels[TRAIN][SIDE * SIDE], labels[TRAIN];
    char name[128];
    wtl_rng rng = wtl_rng_make(key, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < count; i++) {
        int label = i % classes;
        labels[i] = (unsigned char)label;
        for (int p = 0; p < SIDE * SIDE; p++) {
            int quarter = p / SIDE / (SIDE / 2) * 2 + p % SIDE / (SIDE / 2);
            pixels[i][p] =
                (unsigned char)(wtl_rng_below(&rng, 160) + (quarter == label ? 90 : 0));
        }
    }
    snprintf(name, sizeof name, "%s/%s-images-idx3-ubyte", folder, part);
    write_idx(name, 3, count, pixels[0], (size_t)count * SIDE * SIDE);
    snprintf(name, sizeof name, "%s/%s-labels-idx1-ubyte", folder, part);
    write_idx(name, 1, count, labels, (size_t)count);
}

static void write_data(const char *folder, int classes, unsigned key)
{
    assert_ok(wtl_make_folder(wtl_test_path(folder), NULL));
    write_part(folder, "train", TRAIN, classes, key);
    write_part(folder, "t10k", TEST, classes, key + 1);
}

/* One of everything that has a state: running statistics, dropout, momentum, averages. */
static const char net_text[] = "net tiny\n"
                               "classes 10\n"
                               "input data 1x8x8\n"
                               "preprocess order=rgb resize=none scale=0.004 mean=0.5 std=0.3\n"
                               "c = conv data out=6 kernel=3 pad=1 bias=no\n"
                               "b = batchnorm c\n"
                               "r = relu b\n"
                               "m = maxpool r kernel=2 stride=2\n"
                               "o = dropout m rate=0.1\n"
                               "d = dense o out=classes\n"
                               "p = softmax d\n";

static wtl_train_options tiny_options(void)
{
    static bool written;
    if (!written) {
        write_data("data", CLASSES, 1);
        wtl_test_write(wtl_test_path("tiny.net"), net_text, strlen(net_text));
        written = true;
    }
    wtl_train_options o;
    wtl_train_defaults(&o);
    snprintf(o.net, sizeof o.net, "%s", wtl_test_path("tiny.net"));
    snprintf(o.data, sizeof o.data, "idx:%s", wtl_test_path("data"));
    o.epochs = EPOCHS;
    o.batch = 16;
    o.optimizer.ema = 0.8;
    o.smoothing = 0.1f;
    snprintf(o.augment, sizeof o.augment, "flip");
    o.cutout = 2;
    o.threads = 1;
    o.seed = 11;
    return o;
}

/* ---- hooks ---- */

enum { MOST_EVENTS = 256 };

typedef struct watch {
    int polls, stop_at; /* the poll, from 1, that asks to stop; 0: none */
    double clock, tick; /* seconds a look at the clock takes */
    int kinds[4];       /* events of each kind */
    wtl_train_event last_epoch;
    char notes[4096];
} watch;

static void see(void *context, const wtl_train_event *event)
{
    watch *w = context;
    w->kinds[event->kind]++;
    if (event->kind == WTL_TRAIN_EPOCH) {
        w->last_epoch = *event;
    }
    if (event->kind == WTL_TRAIN_NOTE) {
        size_t used = strlen(w->notes);
        snprintf(w->notes + used, sizeof w->notes - used, "%s\n", event->note);
    }
}

static int poll_stop(void *context)
{
    watch *w = context;
    return ++w->polls == w->stop_at;
}

static double tick(void *context)
{
    watch *w = context;
    return w->clock += w->tick;
}

static wtl_train_hooks hooks_of(watch *w)
{
    return (wtl_train_hooks){see, w->tick > 0.0 ? tick : NULL, poll_stop, w};
}

static wtl_status train(const char *run, const wtl_train_options *o, bool resume, watch *w,
                        wtl_train_result *result, wtl_error *err)
{
    wtl_train_hooks hooks = hooks_of(w);
    return wtl_train(wtl_test_path(run), o, resume, false, &hooks, result, err);
}

/* ---- files ---- */

static const char *in_run(const char *run, const char *file)
{
    char name[256];
    snprintf(name, sizeof name, "%s/%s", run, file);
    return wtl_test_path(name);
}

static char *text_of(const char *path)
{
    static unsigned char *bytes; /* static: gcc 12 sees a dangling pointer otherwise */
    size_t length;
    assert_ok(wtl_file_read(path, 1 << 24, &bytes, &length, NULL));
    return (char *)bytes;
}

static void assert_same_file(const char *a, const char *b)
{
    unsigned char *bytes[2];
    size_t length[2];
    assert_ok(wtl_file_read(a, 1 << 24, &bytes[0], &length[0], NULL));
    assert_ok(wtl_file_read(b, 1 << 24, &bytes[1], &length[1], NULL));
    assert_int_equal(length[0], length[1]);
    assert_memory_equal(bytes[0], bytes[1], length[0]);
    wtl_free(bytes[0]);
    wtl_free(bytes[1]);
}

static void copy_file(const char *from, const char *to)
{
    unsigned char *bytes;
    size_t length;
    assert_ok(wtl_file_read(from, 1 << 24, &bytes, &length, NULL));
    wtl_test_write(to, bytes, length);
    wtl_free(bytes);
}

static int count_of(const char *text, const char *part)
{
    int count = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) {
        count++;
    }
    return count;
}

/* What a whole run has to leave behind, compared with the run called "whole". */
static void assert_as_if_never_interrupted(const char *run)
{
    assert_same_file(in_run(run, "ckpt/last.wtl"), in_run("whole", "ckpt/last.wtl"));
    assert_same_file(in_run(run, "ckpt/best.wtl"), in_run("whole", "ckpt/best.wtl"));
    assert_same_file(in_run(run, "metrics.csv"), in_run("whole", "metrics.csv"));
    assert_same_file(in_run(run, "config.json"), in_run("whole", "config.json"));
    assert_same_file(in_run(run, "plots/loss.svg"), in_run("whole", "plots/loss.svg"));
    char *log = text_of(in_run(run, "log.jsonl")),
         *whole = text_of(in_run("whole", "log.jsonl"));
    assert_int_equal(count_of(log, "\"event\":\"step\""), EPOCHS * BATCHES);
    assert_int_equal(count_of(log, "\"event\":\"epoch\""), EPOCHS);
    assert_int_equal(count_of(log, "\"event\":\"done\""), 1);
    assert_int_equal(log[strlen(log) - 1], '\n');
    wtl_free(log);
    wtl_free(whole);
}

/* The uninterrupted run that others are compared with; made once. */
static void make_whole_run(void)
{
    if (!wtl_folder_exists(wtl_test_path("whole"))) {
        wtl_train_options o = tiny_options();
        wtl_error err;
        watch w = {0};
        wtl_status status = train("whole", &o, false, &w, NULL, &err);
        if (status != WTL_OK) {
            fail_msg("%s", err.text);
        }
    }
}

/* ---- tests ---- */

static void a_run_learns_and_leaves_its_files(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {.tick = 0.25};
    wtl_train_result r;
    o.epochs = 8;
    o.cutout = 0;
    snprintf(o.augment, sizeof o.augment, "none"); /* a flip would change the class */
    assert_ok(train("learns", &o, false, &w, &r, NULL));
    assert_int_equal(r.epochs, 8);
    assert_true(r.val_top1 >= 90.0); /* chance is 25 */
    assert_true(r.best_val_top1 >= r.val_top1);
    assert_true(r.best_epoch >= 1 && r.best_epoch <= 8);
    assert_true(r.seconds > 0.0);
    assert_int_equal(w.kinds[WTL_TRAIN_EPOCH], 8);
    assert_int_equal(w.kinds[WTL_TRAIN_SAVED], 8);
    assert_int_equal(w.kinds[WTL_TRAIN_STEP], 8 * BATCHES);
    assert_int_equal(w.last_epoch.epoch, 8);
    assert_close(w.last_epoch.val_top1, r.val_top1, 0.0);
    assert_close(w.last_epoch.loss, r.train_loss, 0.0);
    assert_close(w.last_epoch.eta_seconds, 0.0, 0.0);
    assert_true(w.last_epoch.images_per_second > 0.0);

    char *metrics = text_of(in_run("learns", "metrics.csv"));
    assert_int_equal(count_of(metrics, "\n"), 1 + 8);
    assert_ptr_equal(
        strstr(metrics,
               "epoch,rate,train_loss,train_top1,val_loss,val_top1,val_top5,seconds\n"),
        metrics);
    assert_null(strstr(metrics, ",\n")); /* with a clock every row has its seconds */
    wtl_free(metrics);
    char *env = text_of(in_run("learns", "env.json"));
    json_t *json = json_loads(env, 0, NULL);
    static const char *const keys[] = {"version", "processor", "blas",
                                       "threads", "seed",      "data_hash"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        assert_non_null(json_object_get(json, keys[i]));
    }
    json_decref(json);
    wtl_free(env);
    char *svg = text_of(in_run("learns", "plots/accuracy.svg"));
    assert_non_null(strstr(svg, "validation top-1"));
    wtl_free(svg);
}

static void config_json_can_be_loaded_back(void **state)
{
    (void)state;
    make_whole_run();
    char *text = text_of(in_run("whole", "config.json"));
    json_t *json = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    wtl_train_options o;
    wtl_train_defaults(&o);
    assert_ok(wtl_train_options_from_json(&o, json, "config.json", NULL));
    assert_int_equal(o.epochs, EPOCHS);
    assert_int_equal(o.seed, 11);
    assert_close(o.save_minutes, 5.0, 0.0); /* resolved */
    assert_close(o.val_share, 0.1, 0.0);
    json_decref(json);
    wtl_free(text);
}

static void the_same_seed_gives_the_same_bytes_whatever_the_workers(void **state)
{
    (void)state;
    make_whole_run();
    wtl_train_options o = tiny_options();
    watch w = {.tick = 3.0};
    o.workers = 3;
    assert_ok(train("again", &o, false, &w, NULL, NULL));
    assert_same_file(in_run("again", "ckpt/last.wtl"), in_run("whole", "ckpt/last.wtl"));
    o.seed++;
    assert_ok(train("other", &o, false, &w, NULL, NULL));
    unsigned char *a, *b;
    size_t length, other;
    assert_ok(wtl_file_read(in_run("whole", "ckpt/last.wtl"), 1 << 24, &a, &length, NULL));
    assert_ok(wtl_file_read(in_run("other", "ckpt/last.wtl"), 1 << 24, &b, &other, NULL));
    assert_true(length != other || memcmp(a, b, length) != 0);
    wtl_free(a);
    wtl_free(b);
}

/* Polls: one before each step and one after each batch of the validation (one batch). */
static void a_stopped_and_resumed_run_equals_an_uninterrupted_one(void **state)
{
    (void)state;
    make_whole_run();
    static const struct {
        int poll;
        const char *message;
    } stops[] = {
        {1, "stopped in epoch 1 of 3 after step 0 of 7; saved, ready to resume"},
        {4, "stopped in epoch 1 of 3 after step 3 of 7; saved, ready to resume"},
        {8, "stopped in epoch 1 of 3 after step 7 of 7; saved, ready to resume"},
        {9, "stopped in epoch 2 of 3 after step 0 of 7; saved, ready to resume"},
        {22, "stopped in epoch 3 of 3 after step 5 of 7; saved, ready to resume"},
    };
    for (size_t i = 0; i < sizeof stops / sizeof *stops; i++) {
        char run[32];
        wtl_error err;
        wtl_train_options o = tiny_options();
        watch w = {.stop_at = stops[i].poll};
        snprintf(run, sizeof run, "stopped-%d", stops[i].poll);
        assert_fails(train(run, &o, false, &w, NULL, &err), WTL_E_STOPPED, &err,
                     stops[i].message);
        w = (watch){0};
        assert_ok(train(run, NULL, true, &w, NULL, NULL));
        assert_as_if_never_interrupted(run);
    }
}

static void a_run_stopped_every_few_steps_equals_an_uninterrupted_one(void **state)
{
    (void)state;
    make_whole_run();
    wtl_train_options o = tiny_options();
    watch w = {.stop_at = 4};
    wtl_status status = train("steps", &o, false, &w, NULL, NULL);
    int stops = 0;
    for (; status == WTL_E_STOPPED && stops < 100; stops++) {
        w = (watch){.stop_at = 4};
        status = train("steps", NULL, true, &w, NULL, NULL);
    }
    assert_ok(status);
    assert_true(stops >= EPOCHS * BATCHES / 4);
    assert_as_if_never_interrupted("steps");
}

static void two_threads_resume_bit_for_bit(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {0};
    o.threads = 2;
    o.epochs = 1;
    assert_ok(train("two", &o, false, &w, NULL, NULL));
    w = (watch){.stop_at = 5};
    assert_int_equal(train("two-stopped", &o, false, &w, NULL, NULL), WTL_E_STOPPED);
    assert_ok(train("two-stopped", NULL, true, &w, NULL, NULL));
    assert_same_file(in_run("two", "ckpt/last.wtl"), in_run("two-stopped", "ckpt/last.wtl"));
}

/* Everything at once that has a state or scales a step. */
static void adam_with_clipping_and_decay_of_all_resumes_bit_for_bit(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {0};
    o.optimizer.kind = WTL_OPTIMIZER_ADAM;
    o.optimizer.clip_norm = 0.5;
    o.optimizer.decay_all = true;
    o.schedule.peak = 0.003;
    o.epochs = 2;
    assert_ok(train("adam", &o, false, &w, NULL, NULL));
    w = (watch){.stop_at = 11};
    assert_int_equal(train("adam-stopped", &o, false, &w, NULL, NULL), WTL_E_STOPPED);
    w = (watch){0};
    assert_ok(train("adam-stopped", NULL, true, &w, NULL, NULL));
    assert_same_file(in_run("adam", "ckpt/last.wtl"), in_run("adam-stopped", "ckpt/last.wtl"));
    assert_same_file(in_run("adam", "ckpt/best.wtl"), in_run("adam-stopped", "ckpt/best.wtl"));
}

/* As after kill -9: newer files lie beside an older last.wtl, and the log is torn. */
static void a_killed_run_goes_on_from_its_last_checkpoint(void **state)
{
    (void)state;
    make_whole_run();
    /* Before the evaluation of epoch 1, and within epoch 2. */
    static const int polls[] = {8, 12};
    for (int i = 0; i < 2; i++) {
        char run[32];
        wtl_train_options o = tiny_options();
        watch w = {.stop_at = polls[i]};
        snprintf(run, sizeof run, "killed-%d", polls[i]);
        assert_int_equal(train(run, &o, false, &w, NULL, NULL), WTL_E_STOPPED);
        copy_file(in_run(run, "ckpt/last.wtl"), wtl_test_path("older.wtl"));
        w = (watch){0};
        assert_ok(train(run, NULL, true, &w, NULL, NULL));
        copy_file(wtl_test_path("older.wtl"), in_run(run, "ckpt/last.wtl"));
        FILE *log = fopen(in_run(run, "log.jsonl"), "a");
        fputs("{\"event\":\"step\",\"epoch\":9,\"st", log);
        fclose(log);
        assert_ok(train(run, NULL, true, &w, NULL, NULL));
        assert_as_if_never_interrupted(run);
    }
}

/* Looks at the clock are the only time there is: an interruption must not make any. */
static void an_interrupted_epoch_counts_all_its_seconds(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {.tick = 1.0, .stop_at = 5};
    o.epochs = 1;
    assert_int_equal(train("timed", &o, false, &w, NULL, NULL), WTL_E_STOPPED);
    w = (watch){.tick = 1.0};
    assert_ok(train("timed", NULL, true, &w, NULL, NULL));
    char *metrics = text_of(in_run("timed", "metrics.csv"));
    double seconds = strtod(strrchr(metrics, ',') + 1, NULL);
    /* At least two looks a step; resumed alone it would be 3 steps' worth. */
    assert_true(seconds >= 2.0 * BATCHES);
    wtl_free(metrics);
}

static void a_run_killed_before_its_first_checkpoint_begins_again(void **state)
{
    (void)state;
    make_whole_run();
    assert_ok(wtl_make_folder(wtl_test_path("early/ckpt"), NULL));
    copy_file(in_run("whole", "config.json"), in_run("early", "config.json"));
    copy_file(in_run("whole", "log.jsonl"), in_run("early", "log.jsonl"));
    copy_file(in_run("whole", "ckpt/best.wtl"), in_run("early", "ckpt/best.wtl"));
    watch w = {0};
    assert_ok(train("early", NULL, true, &w, NULL, NULL));
    assert_as_if_never_interrupted("early");
}

static void nothing_to_resume_is_said_so(void **state)
{
    (void)state;
    watch w = {0};
    wtl_error err;
    char want[4600];
    snprintf(want, sizeof want,
             "%s: no config.json there, so no run to resume; start one without resuming",
             wtl_test_path("nowhere"));
    assert_fails(train("nowhere", NULL, true, &w, NULL, &err), WTL_E_MISSING, &err, want);
    assert_false(wtl_folder_exists(wtl_test_path("nowhere")));
}

static void a_finished_run_goes_on_when_given_more_epochs(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {0};
    wtl_train_result r;
    o.epochs = 1;
    assert_ok(train("longer", &o, false, &w, &r, NULL));
    w = (watch){0};
    assert_ok(train("longer", NULL, true, &w, &r, NULL)); /* nothing left to do */
    assert_int_equal(w.kinds[WTL_TRAIN_STEP], 0);
    assert_int_equal(r.epochs, 1);
    o.epochs = 2;
    assert_ok(train("longer", &o, true, &w, &r, NULL));
    assert_int_equal(r.epochs, 2);
    assert_int_equal(w.kinds[WTL_TRAIN_STEP], BATCHES);
    assert_string_equal(w.notes,
                        "2 epochs in all, 1 before: the learning rate follows the new total\n");
}

static void a_folder_with_a_run_is_only_overwritten_by_force(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {0};
    wtl_error err;
    char want[4600];
    o.epochs = 1;
    assert_ok(train("taken", &o, false, &w, NULL, NULL));
    snprintf(want, sizeof want,
             "%s: holds a run already; resume it, overwrite it by force, or choose another "
             "folder",
             wtl_test_path("taken"));
    assert_fails(train("taken", &o, false, &w, NULL, &err), WTL_E_ARG, &err, want);
    o.whole_train = true;
    assert_ok(wtl_train(wtl_test_path("taken"), &o, false, true, NULL, NULL, NULL));
    assert_false(wtl_file_exists(in_run("taken", "ckpt/best.wtl"))); /* no validation now */
}

static void without_validation_the_columns_are_empty(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {0};
    wtl_train_result r;
    o.epochs = 1;
    o.whole_train = true;
    assert_ok(train("unvalidated", &o, false, &w, &r, NULL));
    assert_true(isnan(r.val_top1) && isnan(r.best_val_top1));
    assert_int_equal(r.best_epoch, 0);
    char *metrics = text_of(in_run("unvalidated", "metrics.csv"));
    assert_non_null(strstr(metrics, ",,,,\n"));
    wtl_free(metrics);
    assert_ok(train("unvalidated", NULL, true, &w, &r, NULL));
}

static void a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(void **state)
{
    (void)state;
    static const char deep[] = "net deep\ninput data 1x8x8\na = dense data out=8\n"
                               "b = dense a out=8\nc = dense b out=4\np = softmax c\n";
    wtl_test_write(wtl_test_path("deep.net"), deep, strlen(deep));
    wtl_train_options o = tiny_options();
    snprintf(o.net, sizeof o.net, "%s", wtl_test_path("deep.net"));
    watch w = {0};
    wtl_error err;
    o.epochs = 1;
    o.schedule.peak = 1e-3;
    assert_ok(train("diverges", &o, false, &w, NULL, NULL));
    copy_file(in_run("diverges", "ckpt/last.wtl"), wtl_test_path("good.wtl"));
    char *config = text_of(in_run("diverges", "config.json"));
    json_t *json = json_loads(config, 0, NULL);
    json_object_set_new(json_object_get(json, "schedule"), "peak", json_real(1e6));
    json_dump_file(json, in_run("diverges", "config.json"), 0);
    json_decref(json);
    wtl_free(config);
    o.epochs = 2;
    assert_int_equal(train("diverges", &o, true, &w, NULL, &err), WTL_E_NAN);
    assert_ptr_equal(strstr(err.text, "epoch 2, step "), err.text);
    assert_non_null(strstr(err.text, " is not finite; last.wtl is the last good state; "));
    assert_non_null(strstr(w.notes, "\"schedule\" differs from the run so far"));
    assert_same_file(in_run("diverges", "ckpt/last.wtl"), wtl_test_path("good.wtl"));
}

static void a_mid_epoch_checkpoint_is_saved_by_the_clock(void **state)
{
    (void)state;
    make_whole_run();
    wtl_train_options o = tiny_options();
    watch w = {.tick = 20.0}; /* several looks a step: a minute is over after each */
    o.save_minutes = 1;
    assert_ok(train("clocked", &o, false, &w, NULL, NULL));
    assert_true(w.kinds[WTL_TRAIN_SAVED] > EPOCHS + 3);
    assert_same_file(in_run("clocked", "ckpt/last.wtl"), in_run("whole", "ckpt/last.wtl"));
}

static void a_folder_that_cannot_be_written_is_reported(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {0};
    wtl_error err;
    o.epochs = 1;
    assert_ok(wtl_make_folder(wtl_test_path("blocked"), NULL));
    wtl_test_write(in_run("blocked", "ckpt"), "", 0);
    assert_int_equal(train("blocked", &o, false, &w, NULL, &err), WTL_E_WRITE);
    /* A folder where last.wtl should go: only the rename fails, at the end of the epoch. */
    assert_ok(wtl_make_folder(in_run("blocked2", "ckpt"), NULL));
    watch stopping = {.stop_at = 3};
    wtl_train_hooks hooks = hooks_of(&stopping);
    assert_int_equal(wtl_train(wtl_test_path("blocked2"), &o, false, false, &hooks, NULL, &err),
                     WTL_E_STOPPED);
    assert_int_equal(remove(in_run("blocked2", "ckpt/last.wtl")), 0);
    assert_ok(wtl_make_folder(in_run("blocked2", "ckpt/last.wtl/in-the-way"), NULL));
    stopping = (watch){.stop_at = 3};
    assert_int_equal(train("blocked2", NULL, true, &stopping, NULL, &err), WTL_E_WRITE);
}

static void the_net_must_suit_the_data(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {0};
    wtl_error err;
    char want[4600];
    static const char fixed[] = "net fixed\ninput data 1x8x8\nd = dense data out=3\n"
                                "p = softmax d\n";
    wtl_test_write(wtl_test_path("fixed.net"), fixed, strlen(fixed));
    snprintf(o.net, sizeof o.net, "%s", wtl_test_path("fixed.net"));
    snprintf(
        want, sizeof want,
        "net fixed tells 3 classes apart, idx:%s@train has 4; a `classes` line would let it "
        "follow the data",
        wtl_test_path("data"));
    assert_fails(train("unsuited", &o, false, &w, NULL, &err), WTL_E_SHAPE, &err, want);

    static const char small[] = "net small\nclasses 10\ninput data 1x7x8\n"
                                "d = dense data out=classes\np = softmax d\n";
    wtl_test_write(wtl_test_path("small.net"), small, strlen(small));
    snprintf(o.net, sizeof o.net, "%s", wtl_test_path("small.net"));
    snprintf(want, sizeof want, "net small takes pictures of 1x7x8, idx:%s@train has 1x8x8",
             wtl_test_path("data"));
    assert_fails(train("unsuited", &o, false, &w, NULL, &err), WTL_E_SHAPE, &err, want);

    static const char heads[] = "net heads\nclasses 10\ninput data 1x8x8\n"
                                "a = dense data out=2\nside = softmax a aux=yes\n"
                                "d = dense data out=classes\np = softmax d\n";
    wtl_test_write(wtl_test_path("heads.net"), heads, strlen(heads));
    snprintf(o.net, sizeof o.net, "%s", wtl_test_path("heads.net"));
    assert_fails(train("unsuited", &o, false, &w, NULL, &err), WTL_E_SHAPE, &err,
                 "net heads: its head side tells 2 classes apart, its head p 4");

    o = tiny_options();
    snprintf(o.data, sizeof o.data, "idx:%s@test", wtl_test_path("data"));
    snprintf(want, sizeof want, "data: %s: training uses @train; leave @test out", o.data);
    assert_fails(train("unsuited", &o, false, &w, NULL, &err), WTL_E_ARG, &err, want);
    o = tiny_options();
    snprintf(o.augment, sizeof o.augment, "fancy");
    assert_fails(train("unsuited", &o, false, &w, NULL, &err), WTL_E_ARG, &err,
                 "augment: there is no \"fancy\"; there are none, flip, cifar, imagenet and "
                 "caffe");
    o = tiny_options();
    o.batch = 0;
    assert_fails(train("unsuited", &o, false, &w, NULL, &err), WTL_E_ARG, &err,
                 "options: batch: must be a whole number from 1 to 65536");
    assert_false(wtl_folder_exists(wtl_test_path("unsuited"))); /* nothing was made */
}

static void other_data_or_another_batch_size_are_not_resumed(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    watch w = {.stop_at = 3};
    wtl_error err;
    write_data("changing", CLASSES, 5);
    snprintf(o.data, sizeof o.data, "idx:%s", wtl_test_path("changing"));
    assert_int_equal(train("changed", &o, false, &w, NULL, NULL), WTL_E_STOPPED);
    write_data("changing", CLASSES, 6);
    char want[4600];
    snprintf(want, sizeof want, "%s: the data are not those the run began with", o.data);
    assert_fails(train("changed", NULL, true, &w, NULL, &err), WTL_E_ARG, &err, want);
    write_data("changing", CLASSES, 5);
    char *config = text_of(in_run("changed", "config.json"));
    char *batch = strstr(config, "\"batch\": 16");
    assert_non_null(batch);
    memcpy(batch, "\"batch\": 17", strlen("\"batch\": 17"));
    wtl_test_write(in_run("changed", "config.json"), config, strlen(config));
    wtl_free(config);
    assert_fails(train("changed", NULL, true, &w, NULL, &err), WTL_E_ARG, &err,
                 "config.json: \"batch\" differs from the run's checkpoint; a run goes on with "
                 "what it began with");
}

static void a_run_begins_from_the_weights_of_a_checkpoint_and_holds_its_masks(void **state)
{
    (void)state;
    make_whole_run();
    /* Mask one weight of the best checkpoint and train on from there. */
    wtl_checkpoint *checkpoint;
    wtl_net *net;
    const wtl_net_options options = {.batch = 1, .training = true};
    assert_ok(wtl_checkpoint_read(&checkpoint, in_run("whole", "ckpt/best.wtl"), NULL));
    assert_ok(wtl_net_create(&net, wtl_checkpoint_net(checkpoint), &options, NULL));
    assert_ok(wtl_checkpoint_fill_net(checkpoint, net, NULL));
    wtl_checkpoint_free(checkpoint);
    wtl_param *p = wtl_net_find_param(net, "d.weight");
    p->mask = wtl_alloc(p->count, sizeof *p->mask);
    for (size_t i = 1; i < p->count; i++) {
        p->mask[i] = 1.0f;
    }
    p->value[0] = 0.0f;
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_ok(wtl_checkpoint_set_net(checkpoint, wtl_net_def(net), NULL));
    assert_ok(wtl_checkpoint_add_net(checkpoint, net, NULL));
    assert_ok(wtl_checkpoint_write(checkpoint, wtl_test_path("masked.wtl"), NULL));
    wtl_checkpoint_free(checkpoint);
    wtl_net_free(net);

    wtl_train_options o = tiny_options();
    watch w = {0};
    o.net[0] = '\0'; /* the checkpoint's own */
    o.epochs = 1;
    snprintf(o.from, sizeof o.from, "%s", wtl_test_path("masked.wtl"));
    assert_ok(train("from", &o, false, &w, NULL, NULL));
    static const char *const files[] = {"ckpt/last.wtl", "ckpt/best.wtl"};
    for (int i = 0; i < 2; i++) {
        wtl_tensor_view view;
        assert_ok(wtl_checkpoint_read(&checkpoint, in_run("from", files[i]), NULL));
        assert_true(wtl_checkpoint_find(checkpoint, "d.weight", &view));
        assert_true(view.value[0] == 0.0f && view.value[1] != 0.0f);
        assert_true(wtl_checkpoint_find(checkpoint, "d.weight.mask", &view));
        wtl_checkpoint_free(checkpoint);
    }
}

static wtl_status starved_run(void *context)
{
    return wtl_train(wtl_test_path("starved"), context, false, true, NULL, NULL, NULL);
}

static void failing_allocations_neither_crash_nor_leak(void **state)
{
    (void)state;
    wtl_train_options o = tiny_options();
    o.epochs = 1;
    o.batch = 64;
    wtl_test_some_allocations_fail(starved_run, &o, 41);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_run_learns_and_leaves_its_files),
        WTL_TEST(config_json_can_be_loaded_back),
        WTL_TEST(the_same_seed_gives_the_same_bytes_whatever_the_workers),
        WTL_TEST(a_stopped_and_resumed_run_equals_an_uninterrupted_one),
        WTL_TEST(a_run_stopped_every_few_steps_equals_an_uninterrupted_one),
        WTL_TEST(two_threads_resume_bit_for_bit),
        WTL_TEST(adam_with_clipping_and_decay_of_all_resumes_bit_for_bit),
        WTL_TEST(a_killed_run_goes_on_from_its_last_checkpoint),
        WTL_TEST(an_interrupted_epoch_counts_all_its_seconds),
        WTL_TEST(a_run_killed_before_its_first_checkpoint_begins_again),
        WTL_TEST(nothing_to_resume_is_said_so),
        WTL_TEST(a_finished_run_goes_on_when_given_more_epochs),
        WTL_TEST(a_folder_with_a_run_is_only_overwritten_by_force),
        WTL_TEST(without_validation_the_columns_are_empty),
        WTL_TEST(a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state),
        WTL_TEST(a_mid_epoch_checkpoint_is_saved_by_the_clock),
        WTL_TEST(a_folder_that_cannot_be_written_is_reported),
        WTL_TEST(the_net_must_suit_the_data),
        WTL_TEST(other_data_or_another_batch_size_are_not_resumed),
        WTL_TEST(a_run_begins_from_the_weights_of_a_checkpoint_and_holds_its_masks),
        WTL_TEST(failing_allocations_neither_crash_nor_leak),
    };
    return WTL_RUN("trainer", tests);
}
