/* tuning.c - opening a new fine-tuning run or an interrupted one, and its checkpoints. */
#include "tuning.h"
#include "retrain.h"

#include "wattle/blas.h"
#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MOST_CONFIG_BYTES = 1 << 20 };

/* ---- options ---- */

static void fill_in(wtl_finetune_run_options *o)
{
    wtl_finetune_run_options defaults;
    wtl_finetune_run_defaults(&defaults);
    o->epochs = o->epochs != 0.0 ? o->epochs : defaults.epochs;
    o->batch = o->batch ? o->batch : defaults.batch;
    o->recalibration = o->recalibration ? o->recalibration : defaults.recalibration;
    o->recalibration = o->recalibration > 0 ? o->recalibration : -1;
    o->workers = o->workers ? o->workers : defaults.workers;
    o->save_minutes = o->save_minutes != 0.0 ? o->save_minutes : defaults.save_minutes;
    o->threads = o->threads ? o->threads : wtl_threads_available();
    wtl_finetune_options *f = &o->finetune;
    f->temperature = f->temperature != 0.0 ? f->temperature : defaults.finetune.temperature;
    if (f->optimizer.beta2 == 0.0) {
        f->optimizer.beta2 = defaults.finetune.optimizer.beta2;
    }
    if (f->optimizer.epsilon == 0.0) {
        f->optimizer.epsilon = defaults.finetune.optimizer.epsilon;
    }
    if (!o->augment[0]) {
        memcpy(o->augment, defaults.augment, sizeof o->augment);
    }
}

/* What config.json will give back: a resumed run must see the very same numbers. This also
 * holds every option to the limits of the table. */
static wtl_status as_config_says(wtl_finetune_run_options *options, wtl_error *err)
{
    json_t *json = wtl_json_reread(wtl_finetune_run_options_to_json(options));
    if (!json) {
        return wtl_fail(err, WTL_E_ARG, "the options' names are not UTF-8, or memory is short");
    }
    wtl_status status = wtl_finetune_run_options_from_json(options, json, "options", err);
    json_decref(json);
    if (status == WTL_E_FORMAT && err) {
        err->status = WTL_E_ARG; /* it is the caller's number, not a file's */
    }
    return status == WTL_E_FORMAT ? WTL_E_ARG : status;
}

static wtl_status check_teacher(const wtl_finetune_run_options *o, wtl_error *err)
{
    bool distils = o->finetune.distill > 0.0;
    if (distils == (o->teacher[0] != '\0')) {
        return WTL_OK;
    }
    return distils ? wtl_fail(err, WTL_E_ARG, "distillation of %g without a teacher",
                              o->finetune.distill)
                   : wtl_fail(err, WTL_E_ARG,
                              "teacher %s without distillation: its weight is 0", o->teacher);
}

static wtl_status resolve(wtl_tuning *t, const wtl_finetune_run_options *options,
                          wtl_error *err)
{
    wtl_finetune_run_options *o = &t->options;
    *o = *options;
    fill_in(o);
    wtl_status status = as_config_says(o, err);
    o->finetune.optimizer.threads = o->threads;
    wtl_augment augment;
    if (status == WTL_OK && !wtl_augment_preset(o->augment, &augment)) {
        status =
            wtl_fail(err, WTL_E_ARG,
                     "augment: there is no '%s'; there are none, flip, cifar, imagenet and "
                     "caffe",
                     o->augment);
    }
    return status == WTL_OK ? check_teacher(o, err) : status;
}

/* ---- the folder ---- */

static wtl_status no_memory(wtl_error *err)
{
    return wtl_fail(err, WTL_E_NOMEM, "out of memory for the files of the run");
}

static wtl_status name_files(wtl_tuning *t, const char *run, wtl_error *err)
{
    const struct {
        char **path;
        const char *name;
    } files[] = {{&t->config, "config.json"},
                 {&t->metrics, "metrics.csv"},
                 {&t->checkpoints, "ckpt"},
                 {&t->last, "ckpt/last.wtl"},
                 {&t->finetuned, "ckpt/finetuned.wtl"}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        *files[i].path = wtl_path_join(run, files[i].name);
        if (!*files[i].path) {
            return no_memory(err);
        }
    }
    return WTL_OK;
}

static wtl_status read_config(const wtl_tuning *t, wtl_finetune_run_options *options,
                              wtl_error *err)
{
    if (!wtl_file_exists(t->config)) {
        return wtl_fail(err, WTL_E_MISSING,
                        "%s: no such file, so there is no run to resume; start one without "
                        "resuming",
                        t->config);
    }
    json_t *json;
    wtl_status status = wtl_json_read(&json, t->config, MOST_CONFIG_BYTES, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_finetune_run_defaults(options);
    status = wtl_finetune_run_options_from_json(options, json, t->config, err);
    json_decref(json);
    return status;
}

/* The folders, without the files of an earlier run. The outcome goes first and config.json
 * stays until it is replaced: whenever this is killed, what is left is a run. */
static wtl_status begin_folder(const wtl_tuning *t, wtl_error *err)
{
    const char *const old[] = {t->finetuned, t->last, t->metrics};
    wtl_status status = wtl_make_folder(t->checkpoints, err);
    for (size_t i = 0; i < sizeof old / sizeof *old && status == WTL_OK; i++) {
        if (remove(old[i]) != 0 && errno != ENOENT) {
            status = wtl_fail(err, WTL_E_WRITE, "%s: cannot be removed: %s", old[i],
                              strerror(errno));
        }
    }
    return status;
}

/* ---- nets ---- */

/* A net that cannot be trained is a bad file, not wrong usage. */
static wtl_status open_net(wtl_net **out, const wtl_checkpoint *checkpoint, const char *file,
                           const wtl_net_options *plan, wtl_error *err)
{
    wtl_status status = wtl_retrain_open_net(out, checkpoint, file, plan, err);
    if (status == WTL_E_ARG && err) {
        err->status = WTL_E_FORMAT;
    }
    return status == WTL_E_ARG ? WTL_E_FORMAT : status;
}

static uint32_t hash_of(wtl_net *net)
{
    uint32_t crc = 0;
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        crc = wtl_crc32(crc, param->value, param->count * sizeof *param->value);
    }
    return crc;
}

static wtl_status open_teacher(wtl_tuning *t, wtl_error *err)
{
    const wtl_finetune_run_options *o = &t->options;
    const wtl_net_options plan = {.batch = o->batch, .threads = o->threads};
    wtl_checkpoint *checkpoint;
    wtl_status status = wtl_checkpoint_read(&checkpoint, o->teacher, err);
    if (status == WTL_OK) {
        status = open_net(&t->teacher, checkpoint, o->teacher, &plan, err);
        wtl_checkpoint_free(checkpoint);
    }
    return status;
}

static wtl_status open_nets(wtl_tuning *t, const char *file, wtl_error *err)
{
    const wtl_finetune_run_options *o = &t->options;
    const wtl_net_options plan = {
        .batch = o->batch, .threads = o->threads, .training = true, .seed = o->seed};
    wtl_status status = open_net(&t->net, t->from, file, &plan, err);
    return status == WTL_OK && o->teacher[0] ? open_teacher(t, err) : status;
}

/* ---- new or resumed ---- */

static uint64_t steps_of(const wtl_tuning *t)
{
    double batches = (double)wtl_batcher_count(t->batcher);
    long long steps = llround(t->options.epochs * batches);
    return steps > 1 ? (uint64_t)steps : 1;
}

/* The state, of last.wtl or a new one, and whether what is there is what it began with. */
static wtl_status open_state(wtl_tuning *t, wtl_error *err)
{
    wtl_tuning_state *s = &t->state;
    const uint32_t train = wtl_dataset_hash(t->train), val = wtl_dataset_hash(t->val);
    const uint32_t teacher = t->teacher ? hash_of(t->teacher) : 0;
    if (!t->resumed) {
        *s = (wtl_tuning_state){.tune = {.steps = steps_of(t)},
                                .train_hash = train,
                                .val_hash = val,
                                .teacher_hash = teacher};
        return WTL_OK;
    }
    wtl_status status = wtl_tuning_state_load(s, t->from, t->last, err);
    if (status == WTL_OK && (train != s->train_hash || val != s->val_hash)) {
        status = wtl_fail(err, WTL_E_ARG, "%s: the data are not those the run began with",
                          t->options.data);
    }
    if (status == WTL_OK && teacher != s->teacher_hash) {
        status = wtl_fail(err, WTL_E_ARG, "%s: is not the teacher the run began with",
                          t->options.teacher[0] ? t->options.teacher : "none");
    }
    if (status == WTL_OK && s->tune.steps != steps_of(t)) {
        status = wtl_fail(err, WTL_E_ARG,
                          "config.json: %g epochs are %llu steps, the run began with %llu; it "
                          "goes on with what it began with",
                          t->options.epochs, (unsigned long long)steps_of(t),
                          (unsigned long long)s->tune.steps);
    }
    return status == WTL_OK ? wtl_finetune_load(t->finetune, t->from, err) : status;
}

/* `file`: what the weights come from. */
static wtl_status open_all(wtl_tuning *t, const char *file, wtl_error *err)
{
    const wtl_finetune_run_options *o = &t->options;
    const wtl_retraining what = {
        .work = "fine-tuning", .data = o->data, .checkpoint = o->checkpoint};
    const wtl_retrain_batches batches = {.batch = o->batch,
                                         .workers = o->workers,
                                         .augment = o->augment,
                                         .seed = o->seed,
                                         .recalibrate = o->recalibration > 0};
    wtl_blas_prepare();
    wtl_threads_prepare(o->threads);
    wtl_status status = wtl_checkpoint_read(&t->from, file, err);
    if (status == WTL_OK) {
        status = wtl_retrain_open_data(&t->train, &t->val, &what, t->from, err);
    }
    if (status == WTL_OK) {
        status = open_nets(t, file, err);
    }
    if (status == WTL_OK) {
        status = wtl_retrain_check(t->net, t->train, &what, err);
    }
    if (status == WTL_OK) {
        status = wtl_retrain_open_batches(&t->batcher, &t->calibration, t->net, t->train,
                                          &batches, err);
    }
    if (status == WTL_OK) {
        status = wtl_finetune_create(&t->finetune, t->net, t->teacher, t->batcher,
                                     &t->options.finetune, err);
    }
    return status == WTL_OK ? open_state(t, err) : status;
}

static wtl_status begin(wtl_tuning *t, wtl_error *err)
{
    wtl_status status = open_all(t, t->options.checkpoint, err);
    if (status == WTL_OK && t->options.masks[0]) {
        status = wtl_mask_load(t->net, t->options.masks, err);
    }
    if (status == WTL_OK) {
        status = begin_folder(t, err);
    }
    return status == WTL_OK
               ? wtl_json_write(t->config, wtl_finetune_run_options_to_json(&t->options), err)
               : status;
}

static wtl_status read_result(const wtl_tuning *t, wtl_finetune_result *result, wtl_error *err)
{
    wtl_checkpoint *checkpoint;
    wtl_status status = wtl_checkpoint_read(&checkpoint, t->finetuned, err);
    if (status == WTL_OK) {
        status = wtl_tuning_result_load(result, checkpoint, t->finetuned, err);
        wtl_checkpoint_free(checkpoint);
    }
    return status;
}

static wtl_status resume_run(wtl_tuning *t, int threads, wtl_finetune_result *result,
                             bool *finished, wtl_error *err)
{
    wtl_finetune_run_options config;
    wtl_status status = read_config(t, &config, err);
    if (status != WTL_OK) {
        return status;
    }
    config.threads = threads > 0 ? threads : config.threads;
    status = resolve(t, &config, err);
    if (status == WTL_OK && wtl_file_exists(t->finetuned)) {
        *finished = true;
        return read_result(t, result, err);
    }
    if (status == WTL_OK &&
        !wtl_file_exists(t->last)) { /* killed before its first checkpoint */
        return begin(t, err);
    }
    t->resumed = true;
    return status == WTL_OK ? open_all(t, t->last, err) : status;
}

wtl_status wtl_tuning_open(wtl_tuning *t, const char *run,
                           const wtl_finetune_run_options *options, bool resume, bool force,
                           wtl_finetune_result *result, bool *finished, wtl_error *err)
{
    *t = (wtl_tuning){0};
    *finished = false;
    wtl_status status = name_files(t, run, err);
    if (status == WTL_OK && resume) {
        return resume_run(t, options ? options->threads : 0, result, finished, err);
    }
    if (status == WTL_OK && !force &&
        (wtl_file_exists(t->last) || wtl_file_exists(t->finetuned))) {
        status = wtl_fail(err, WTL_E_ARG,
                          "%s: holds a run already; resume it, overwrite it by force, or "
                          "choose another folder",
                          run);
    }
    if (status == WTL_OK) {
        status = resolve(t, options, err);
    }
    return status == WTL_OK ? begin(t, err) : status;
}

void wtl_tuning_close(wtl_tuning *t)
{
    wtl_tuning_state_clear(&t->state);
    wtl_finetune_free(t->finetune);
    wtl_net_free(t->teacher);
    wtl_net_free(t->net);
    wtl_batcher_free(t->batcher);
    wtl_batcher_free(t->calibration);
    wtl_dataset_free(t->val);
    wtl_dataset_free(t->train);
    wtl_checkpoint_free(t->from);
    wtl_free(t->config);
    wtl_free(t->metrics);
    wtl_free(t->checkpoints);
    wtl_free(t->last);
    wtl_free(t->finetuned);
    *t = (wtl_tuning){0};
}

/* ---- checkpoints ---- */

/* The net as it is, with what its training and its pruning left about it: which images are
 * held out above all. *out is freed by the caller, also on failure. */
static wtl_status compose(wtl_checkpoint **out, const wtl_tuning *t, wtl_error *err)
{
    static const char *const kept[] = {"data", "config", "pruned"};
    wtl_status status = wtl_checkpoint_create(out, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_set_net(*out, wtl_net_def(t->net), err);
    }
    if (status == WTL_OK) {
        status = wtl_retrain_copy_classes(*out, t->from, err);
    }
    for (size_t i = 0; i < sizeof kept / sizeof *kept && status == WTL_OK; i++) {
        json_t *meta = wtl_checkpoint_meta(t->from, kept[i]);
        if (meta) {
            status = wtl_checkpoint_set_meta(*out, kept[i], json_incref(meta), err);
        }
    }
    return status == WTL_OK ? wtl_checkpoint_add_net(*out, t->net, err) : status;
}

wtl_status wtl_tuning_save_last(const wtl_tuning *t, wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = compose(&checkpoint, t, err);
    if (status == WTL_OK) {
        status = wtl_tuning_state_save(&t->state, checkpoint, err);
    }
    if (status == WTL_OK) {
        status = wtl_finetune_save(t->finetune, checkpoint, err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_write(checkpoint, t->last, err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}

wtl_status wtl_tuning_save_result(const wtl_tuning *t, const wtl_finetune_result *result,
                                  wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = compose(&checkpoint, t, err);
    if (status == WTL_OK) {
        status = wtl_tuning_result_save(result, checkpoint, err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_write(checkpoint, t->finetuned, err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}
