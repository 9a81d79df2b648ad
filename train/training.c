/* training.c - opening a new run or an interrupted one, and its checkpoints. */
#include "training.h"

#include "data_fit.h"
#include "wattle/blas.h"
#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/memory.h"
#include "wattle/threads.h"
#include "wattle/zoo.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void note(wtl_training *t, const char *format, ...) WTL_PRINTF(2, 3);
static void note(wtl_training *t, const char *format, ...)
{
    if (t->note_count < WTL_TRAINING_NOTES) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(t->notes[t->note_count++], sizeof t->notes[0], format, arguments);
        va_end(arguments);
    }
}

/* ---- options ---- */

static double otherwise(double value, double when_zero)
{
    return value != 0.0 ? value : when_zero;
}

static void fill_in(wtl_train_options *o)
{
    o->threads = o->threads != 0 ? o->threads : wtl_threads_available();
    o->workers = o->workers != 0 ? o->workers : 1;
    o->val_share = otherwise(o->val_share, 0.1);
    o->save_minutes = otherwise(o->save_minutes, 5.0);
    o->optimizer.beta2 = otherwise(o->optimizer.beta2, 0.999);
    o->optimizer.epsilon = otherwise(o->optimizer.epsilon, 1e-8);
}

static wtl_status check_text(const char *key, const char *text, wtl_error *err)
{
    json_t *string = json_string(text); /* NULL where it is not UTF-8 */
    json_decref(string);
    return string ? WTL_OK : wtl_fail(err, WTL_E_ARG, "%s: \"%s\" is not UTF-8", key, text);
}

/* What config.json will give back: a resumed run must see the very same numbers. This also
 * holds every option to the limits of the table. */
static wtl_status as_config_says(wtl_train_options *options, wtl_error *err)
{
    const char *const texts[][2] = {
        {"net", options->net}, {"data", options->data}, {"from", options->from}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        wtl_status status = check_text(texts[i][0], texts[i][1], err);
        if (status != WTL_OK) {
            return status;
        }
    }
    json_t *json = wtl_json_reread(wtl_train_options_to_json(options));
    if (!json) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for the options");
    }
    wtl_status status = wtl_train_options_from_json(options, json, "options", err);
    json_decref(json);
    if (status != WTL_OK && err) {
        err->status = WTL_E_ARG; /* it is the caller's number, not a file's */
    }
    return status == WTL_OK ? WTL_OK : WTL_E_ARG;
}

static wtl_status resolve(wtl_training *t, const wtl_train_options *options, wtl_error *err)
{
    t->options = *options;
    fill_in(&t->options);
    wtl_status status = as_config_says(&t->options, err);
    t->options.optimizer.threads = t->options.threads;
    wtl_augment augment;
    if (status == WTL_OK && !wtl_augment_preset(t->options.augment, &augment)) {
        status = wtl_fail(err, WTL_E_ARG,
                          "augment: there is no \"%s\"; there are none, flip, cifar, imagenet "
                          "and caffe",
                          t->options.augment);
    }
    return status;
}

/* ---- data and net ---- */

/* DATA without "@train"; other parts are not for training. */
static wtl_status data_without_part(const char *data, char *name, size_t size, wtl_error *err)
{
    snprintf(name, size, "%s", data);
    char *at = strrchr(name, '@');
    if (at && strcmp(at, "@train") == 0) {
        *at = '\0';
    } else if (at && (strcmp(at, "@val") == 0 || strcmp(at, "@test") == 0)) {
        return wtl_fail(err, WTL_E_ARG, "data: %s: training uses @train; leave %s out", data,
                        at);
    }
    return WTL_OK;
}

static wtl_status open_data(wtl_training *t, wtl_error *err)
{
    const wtl_train_options *o = &t->options;
    char name[sizeof o->data];
    wtl_status status = data_without_part(o->data, name, sizeof name, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_dataset_options part = {.part = WTL_DATA_TRAIN,
                                .split_seed = o->seed,
                                .val_share = o->val_share,
                                .whole_train = o->whole_train};
    status = wtl_dataset_open(&t->train_data, name, &part, err);
    if (status == WTL_OK && !o->whole_train) {
        part.part = WTL_DATA_VAL;
        status = wtl_dataset_open(&t->val_data, name, &part, err);
    }
    if (status == WTL_OK && wtl_dataset_count(t->train_data) == 0) {
        status =
            wtl_fail(err, WTL_E_ARG, "data: %s has no images", wtl_dataset_name(t->train_data));
    }
    if (status == WTL_OK && t->val_data && wtl_dataset_count(t->val_data) == 0) {
        note(t, "%s has no images: no validation", wtl_dataset_name(t->val_data));
        wtl_dataset_free(t->val_data);
        t->val_data = NULL;
    }
    return status;
}

/* The NET text, with its `classes` line (if any) set to what the data have. */
static wtl_status load_def(wtl_training *t, wtl_error *err)
{
    int classes = wtl_dataset_classes(t->train_data);
    wtl_status status = wtl_netdef_load(&t->def, t->options.net, 0, err);
    if (status == WTL_OK && t->def->classes != 0 && t->def->classes != classes) {
        wtl_netdef_free(t->def);
        status = wtl_netdef_load(&t->def, t->options.net, classes, err);
    }
    return status;
}

static wtl_status take_def(wtl_training *t, const wtl_checkpoint *checkpoint, const char *file,
                           wtl_error *err)
{
    const wtl_netdef *def = wtl_checkpoint_net(checkpoint);
    if (!def) {
        return wtl_fail(err, WTL_E_MISSING, "%s: holds no net", file);
    }
    t->def = wtl_netdef_copy(def);
    return t->def ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "out of memory for the net");
}

static wtl_status check_classes(const wtl_training *t, wtl_error *err)
{
    const wtl_head *main_head = wtl_net_main_head(t->net);
    int classes = wtl_dataset_classes(t->train_data);
    if (!main_head) {
        return wtl_fail(err, WTL_E_SHAPE, "net %s has no softmax to train", t->def->name);
    }
    if (main_head->classes != classes) {
        return wtl_fail(
            err, WTL_E_SHAPE, "net %s tells %d classes apart, %s has %d%s", t->def->name,
            main_head->classes, wtl_dataset_name(t->train_data), classes,
            t->def->classes == 0 ? "; a `classes` line would let it follow the data" : "");
    }
    /* Every head learns the same labels. */
    for (int h = 0; h < wtl_net_head_count(t->net); h++) {
        const wtl_head *head = wtl_net_head(t->net, h);
        if (head->classes != classes) {
            return wtl_fail(err, WTL_E_SHAPE,
                            "net %s: its head %s tells %d classes apart, its head %s %d",
                            t->def->name, head->name, head->classes, main_head->name, classes);
        }
    }
    return WTL_OK;
}

/* The net planned and the pictures' way into it; the weights are still zero. */
static wtl_status build_net(wtl_training *t, wtl_error *err)
{
    const wtl_train_options *o = &t->options;
    const wtl_net_options net = {.batch = o->batch,
                                 .threads = o->threads,
                                 .engine = o->engine,
                                 .training = true,
                                 .seed = o->seed};
    wtl_batch_options batches = {.batch = o->batch,
                                 .preprocess = t->def->preprocess,
                                 .seed = o->seed,
                                 .shuffle = true,
                                 .workers = o->workers};
    (void)wtl_augment_preset(o->augment, &batches.augment); /* checked by resolve() */
    batches.augment.cutout = o->cutout;
    bool cropped = batches.augment.random_crop || batches.augment.resized_crop;
    wtl_status status = wtl_data_fits(t->def, t->train_data, true, !cropped, err);
    if (status == WTL_OK) {
        status = wtl_net_create(&t->net, t->def, &net, err);
    }
    if (status == WTL_OK) {
        status = check_classes(t, err);
    }
    if (status == WTL_OK) {
        status = wtl_batcher_create(&t->batcher, t->train_data, &batches, err);
    }
    if (status == WTL_OK) {
        t->batches = wtl_batcher_count(t->batcher);
    }
    return status;
}

static uint32_t val_hash(const wtl_training *t)
{
    return t->val_data ? wtl_dataset_hash(t->val_data) : 0;
}

/* ---- a new run ---- */

static wtl_status begin_weights(wtl_training *t, wtl_error *err)
{
    wtl_checkpoint *from = NULL;
    wtl_status status = WTL_OK;
    const char *file = t->options.from;
    if (file[0] != '\0') {
        status = wtl_checkpoint_read(&from, file, err);
    }
    if (status == WTL_OK) {
        status =
            from && t->options.net[0] == '\0' ? take_def(t, from, file, err) : load_def(t, err);
    }
    if (status == WTL_OK) {
        status = build_net(t, err);
    }
    if (status == WTL_OK) {
        wtl_net_init(t->net, t->options.seed);
    }
    if (status == WTL_OK && from) {
        status = wtl_checkpoint_fill_net(from, t->net, err);
        if (status != WTL_OK) {
            status = wtl_fail_in(err, status, file);
        }
    }
    wtl_checkpoint_free(from);
    return status;
}

static wtl_status begin(wtl_training *t, wtl_error *err)
{
    wtl_status status = open_data(t, err);
    if (status == WTL_OK) {
        status = begin_weights(t, err);
    }
    if (status == WTL_OK) {
        status = wtl_optimizer_create(&t->optimizer, t->net, &t->options.optimizer, err);
    }
    if (status == WTL_OK) {
        t->state.train_hash = wtl_dataset_hash(t->train_data);
        t->state.val_hash = val_hash(t);
    }
    if (status == WTL_OK) {
        status = wtl_run_folder_prepare(t->folder, err);
    }
    return status == WTL_OK ? wtl_run_folder_clear(t->folder, err) : status;
}

/* ---- an interrupted run ---- */

/* Options that were edited in config.json since the checkpoint: some are refused, because
 * the position in the epoch or the data would mean something else; others are the user's
 * choice, and noted. */
static wtl_status compare_config(wtl_training *t, const json_t *then, wtl_error *err)
{
    static const char *const fixed[] = {"net",       "batch",       "seed",
                                        "val_share", "whole_train", NULL};
    static const char *const free_to_change[] = {"optimizer", "schedule", "smoothing",
                                                 "augment",   "cutout",   "threads",
                                                 "engine",    "data",     NULL};
    json_t *now = wtl_train_options_to_json(&t->options);
    wtl_status status =
        now ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "out of memory for the options");
    for (int i = 0; fixed[i] && status == WTL_OK; i++) {
        if (!json_equal(json_object_get(now, fixed[i]), json_object_get(then, fixed[i]))) {
            status = wtl_fail(err, WTL_E_ARG,
                              "config.json: \"%s\" differs from the run's checkpoint; a run "
                              "goes on with what it began with",
                              fixed[i]);
        }
    }
    for (int i = 0; free_to_change[i] && status == WTL_OK; i++) {
        const char *key = free_to_change[i];
        if (!json_equal(json_object_get(now, key), json_object_get(then, key))) {
            note(t, "\"%s\" differs from the run so far: the result will, too", key);
        }
    }
    const json_t *epochs = json_object_get(then, "epochs");
    if (status == WTL_OK && json_integer_value(epochs) != t->options.epochs) {
        note(t, "%d epochs in all, %lld before: the learning rate follows the new total",
             t->options.epochs, (long long)json_integer_value(epochs));
    }
    json_decref(now);
    return status;
}

static wtl_status check_hashes(const wtl_training *t, wtl_error *err)
{
    if (wtl_dataset_hash(t->train_data) != t->state.train_hash ||
        val_hash(t) != t->state.val_hash) {
        return wtl_fail(err, WTL_E_ARG, "%s: the data are not those the run began with",
                        t->options.data);
    }
    return WTL_OK;
}

static wtl_status restore(wtl_training *t, const wtl_checkpoint *checkpoint, wtl_error *err)
{
    const char *file = wtl_run_folder_last(t->folder);
    wtl_status status = compare_config(t, wtl_checkpoint_meta(checkpoint, "config"), err);
    if (status == WTL_OK) {
        status = open_data(t, err);
    }
    if (status == WTL_OK) {
        status = take_def(t, checkpoint, file, err);
    }
    if (status == WTL_OK) {
        status = build_net(t, err);
    }
    if (status == WTL_OK) {
        status = wtl_train_state_load(&t->state, checkpoint, t->batches, file, err);
    }
    if (status == WTL_OK) {
        status = check_hashes(t, err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_fill_net(checkpoint, t->net, err);
    }
    if (status == WTL_OK) {
        status = wtl_optimizer_create(&t->optimizer, t->net, &t->options.optimizer, err);
    }
    return status == WTL_OK ? wtl_optimizer_load(t->optimizer, checkpoint, err) : status;
}

static wtl_status resume_run(wtl_training *t, wtl_error *err)
{
    wtl_checkpoint *checkpoint;
    wtl_status status = wtl_checkpoint_read(&checkpoint, wtl_run_folder_last(t->folder), err);
    if (status != WTL_OK) {
        return status;
    }
    status = restore(t, checkpoint, err);
    wtl_checkpoint_free(checkpoint);
    t->resumed = status == WTL_OK;
    return status == WTL_OK ? wtl_run_folder_prepare(t->folder, err) : status;
}

/* ---- both ---- */

static wtl_status read_options(wtl_training *t, const wtl_train_options *options,
                               wtl_error *err)
{
    wtl_train_options config;
    wtl_status status = wtl_run_folder_read_config(t->folder, &config, err);
    if (status != WTL_OK) {
        return status;
    }
    if (options && options->threads > 0) {
        config.threads = options->threads;
    }
    if (options && options->epochs > 0) {
        config.epochs = options->epochs;
    }
    return resolve(t, &config, err);
}

/* config.json, env.json and the log; metrics and plots as far as the history goes. */
static wtl_status write_folder(wtl_training *t, wtl_error *err)
{
    wtl_train_state *s = &t->state;
    wtl_status status = wtl_train_state_reserve(s, t->options.epochs, err);
    if (status == WTL_OK) {
        status = wtl_run_folder_write_config(t->folder, &t->options, err);
    }
    if (status == WTL_OK) {
        status = wtl_run_folder_write_env(t->folder, &t->options, s->train_hash, err);
    }
    if (status == WTL_OK) {
        status = wtl_run_folder_open_log(t->folder, s, &t->epoch_seconds, err);
    }
    if (status == WTL_OK) {
        wtl_run_folder_read_seconds(t->folder, s->rows, s->epoch);
        status = wtl_run_folder_write_metrics(t->folder, s->rows, s->epoch, err);
    }
    if (status == WTL_OK && s->epoch > 0) {
        status = wtl_run_folder_write_plots(t->folder, s->rows, s->epoch, err);
    }
    return status;
}

wtl_status wtl_training_open(wtl_training *t, const char *run, const wtl_train_options *options,
                             bool resume, bool force, wtl_error *err)
{
    *t = (wtl_training){0};
    wtl_status status = wtl_run_folder_create(&t->folder, run, err);
    if (status != WTL_OK) {
        return status;
    }
    if (!resume && !force && wtl_run_folder_has_checkpoint(t->folder)) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s: holds a run already; resume it, overwrite it by force, or choose "
                        "another folder",
                        run);
    }
    status = resume ? read_options(t, options, err) : resolve(t, options, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_blas_prepare();
    wtl_threads_prepare(t->options.threads);
    bool interrupted = resume && wtl_file_exists(wtl_run_folder_last(t->folder));
    status = interrupted ? resume_run(t, err) : begin(t, err);
    return status == WTL_OK ? write_folder(t, err) : status;
}

void wtl_training_close(wtl_training *t)
{
    wtl_train_state_clear(&t->state);
    wtl_batcher_free(t->batcher);
    wtl_optimizer_free(t->optimizer);
    wtl_net_free(t->net);
    wtl_netdef_free(t->def);
    wtl_dataset_free(t->val_data);
    wtl_dataset_free(t->train_data);
    wtl_run_folder_free(t->folder);
    *t = (wtl_training){0};
}

/* ---- checkpoints ---- */

static wtl_status put_classes(const wtl_training *t, wtl_checkpoint *checkpoint, wtl_error *err)
{
    int count = wtl_dataset_classes(t->train_data);
    if (!wtl_dataset_class_name(t->train_data, 0)) {
        return WTL_OK;
    }
    const char **names = wtl_alloc((size_t)count, sizeof *names);
    if (!names) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d class names", count);
    }
    for (int i = 0; i < count; i++) {
        names[i] = wtl_dataset_class_name(t->train_data, i);
    }
    wtl_status status = wtl_checkpoint_set_classes(checkpoint, names, count, err);
    wtl_free(names);
    return status;
}

/* `value` as meta[key]; takes it over. NULL means memory was short. */
static wtl_status put_meta(wtl_checkpoint *checkpoint, const char *key, json_t *value,
                           wtl_error *err)
{
    return value ? wtl_checkpoint_set_meta(checkpoint, key, value, err)
                 : wtl_fail(err, WTL_E_NOMEM, "out of memory for the checkpoint's %s", key);
}

/* The options without those that cannot change a result: runs that differ only there give
 * the same bytes. */
static json_t *lasting_config(const wtl_training *t)
{
    json_t *config = wtl_train_options_to_json(&t->options);
    (void)json_object_del(config, "workers");
    (void)json_object_del(config, "save_minutes");
    return config;
}

/* What an evaluation needs to find the same held-out images again. */
static json_t *data_meta(const wtl_training *t)
{
    json_t *config = wtl_train_options_to_json(&t->options);
    json_t *data = json_pack("{s:s, s:O, s:f, s:b}", "name", t->options.data, "split_seed",
                             json_object_get(config, "seed"), "val_share", t->options.val_share,
                             "whole_train", (int)t->options.whole_train);
    json_decref(config);
    return data;
}

/* What both checkpoints hold. *out is freed by the caller, also on failure. */
static wtl_status compose(wtl_checkpoint **out, const wtl_training *t, wtl_error *err)
{
    wtl_status status = wtl_checkpoint_create(out, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_set_net(*out, t->def, err);
    }
    if (status == WTL_OK) {
        status = put_classes(t, *out, err);
    }
    if (status == WTL_OK) {
        status = put_meta(*out, "config", lasting_config(t), err);
    }
    if (status == WTL_OK) {
        status = put_meta(*out, "data", data_meta(t), err);
    }
    return status == WTL_OK ? wtl_checkpoint_add_net(*out, t->net, err) : status;
}

wtl_status wtl_training_save_last(const wtl_training *t, wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = compose(&checkpoint, t, err);
    if (status == WTL_OK) {
        status = wtl_train_state_save(&t->state, checkpoint, err);
    }
    if (status == WTL_OK) {
        status = wtl_optimizer_save(t->optimizer, checkpoint, err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_write(checkpoint, wtl_run_folder_last(t->folder), err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}

wtl_status wtl_training_save_best(const wtl_training *t, const wtl_train_row *row,
                                  wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = compose(&checkpoint, t, err);
    if (status == WTL_OK) {
        status = put_meta(checkpoint, "best",
                          json_pack("{s:i, s:f, s:f, s:f}", "epoch", t->state.epoch + 1,
                                    "val_loss", row->val_loss, "val_top1", row->val_top1,
                                    "val_top5", row->val_top5),
                          err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_write(checkpoint, wtl_run_folder_best(t->folder), err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}
