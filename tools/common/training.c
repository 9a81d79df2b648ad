/* training.c - progress, signals and messages around wtl_train(). */
#include "training.h"
#include "output.h"
#include "progress.h"
#include "signals.h"

#include "wattle/blas.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <math.h>
#include <string.h>

static void show_step(wtl_progress *progress, const wtl_train_event *e)
{
    char label[64], rest[128];
    snprintf(label, sizeof label, "epoch %d/%d", e->epoch, e->epochs);
    snprintf(rest, sizeof rest, "loss %.4f  acc@1 %.1f  %.0f img/s", e->loss, e->top1,
             e->images_per_second);
    wtl_progress_show(progress, label, e->step, e->steps, rest,
                      e->eta_seconds >= 0 ? e->eta_seconds : -1);
}

static void show_epoch(wtl_progress *progress, const wtl_train_event *e)
{
    char eta[32], validation[128] = "Acc@1 - Acc@5 - (no validation)";
    wtl_cli_format_seconds(e->eta_seconds, eta);
    if (!isnan(e->val_top1)) {
        snprintf(validation, sizeof validation, "val loss %.4f  Acc@1 %.2f Acc@5 %.2f",
                 e->val_loss, e->val_top1, e->val_top5);
    }
    wtl_progress_log(
        progress, "epoch %d/%d  loss %.4f  acc@1 %.2f  %s  lr %.4g  %.0f img/s  eta %s",
        e->epoch, e->epochs, e->loss, e->top1, validation, e->rate, e->images_per_second, eta);
}

static void on_event(void *context, const wtl_train_event *event)
{
    wtl_progress *progress = context;
    switch (event->kind) {
    case WTL_TRAIN_STEP:
        show_step(progress, event);
        break;
    case WTL_TRAIN_EPOCH:
        show_epoch(progress, event);
        break;
    case WTL_TRAIN_NOTE:
        wtl_progress_log(progress, "note: %s", event->note);
        break;
    case WTL_TRAIN_SAVED:
        break;
    }
}

int wtl_cli_run_training(const wtl_common *common, const char *run,
                         const wtl_train_options *options, bool resume, bool force,
                         const char *resume_with, wtl_train_result *result)
{
    wtl_error err = {0};
    wtl_progress progress;
    wtl_train_hooks hooks = {.event = on_event,
                             .seconds = wtl_cli_clock,
                             .stop = wtl_signals_stop,
                             .context = &progress};
    wtl_blas_prepare();
    wtl_signals_catch();
    wtl_progress_begin(&progress, common);
    if (resume) {
        wtl_progress_log(&progress, "going on with %s", run);
    } else {
        wtl_progress_log(&progress, "net %s  data %s  seed %llu  threads %d  run %s",
                         options->net, options->data, (unsigned long long)options->seed,
                         options->threads ? options->threads : wtl_threads_available(), run);
    }
    wtl_status status = wtl_train(run, options, resume, force, &hooks, result, &err);
    wtl_progress_end(&progress);
    if (status == WTL_E_STOPPED) {
        return wtl_cli_report_stopped(&err, "%s", resume_with);
    }
    if (status != WTL_OK) {
        int code = wtl_cli_report(&err);
        return status == WTL_E_NAN ? WTL_EXIT_FAILED : code;
    }
    return WTL_EXIT_DONE;
}

wtl_status wtl_cli_has_run(const char *run, bool *has, wtl_error *err)
{
    char *file = wtl_path_join(run, "ckpt/last.wtl");
    if (!file) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory");
    }
    *has = wtl_file_exists(file);
    wtl_free(file);
    return WTL_OK;
}

const char *const wtl_augment_words[] = {"none", "flip", "cifar", "imagenet", "caffe", NULL};

int wtl_cli_check_augment(const wtl_parsed *parsed, const char *augment)
{
    wtl_augment preset;
    if (!augment[0] || wtl_augment_preset(augment, &preset)) {
        return WTL_EXIT_DONE;
    }
    const char *near = wtl_suggest(augment, wtl_augment_words);
    return wtl_cli_usage_error(parsed->command,
                               "--augment takes none, flip, cifar, imagenet or caffe, not "
                               "'%s'%s%s%s",
                               augment, near ? " (did you mean " : "", near ? near : "",
                               near ? "?)" : "");
}

const char *wtl_cli_suitable_augment(const char *data, int side)
{
    if (strncmp(data, "idx:", 4) == 0) {
        return "none";
    }
    if (strncmp(data, "fashion-mnist", 13) == 0) {
        return "flip";
    }
    return side <= 64 ? "cifar" : "imagenet";
}
