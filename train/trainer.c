/* trainer.c - the loop over epochs and steps, its events, and when it saves.
 *
 * At the end of an epoch files are written in an order that any kill survives:
 * best.wtl (if it is), metrics.csv, last.wtl, then the log and the plots. A run that is
 * resumed from the last.wtl before does the epoch again and writes the same.
 */
#include "wattle/trainer.h"
#include "wattle/json.h"

#include "training.h"
#include "wattle/evaluate.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const double event_seconds = 0.1; /* between two STEP events */

typedef struct trainer {
    wtl_training run;
    wtl_train_hooks hooks;
    double began, epoch_began, last_save, last_event, last_step; /* seconds */
    double step_seconds;       /* a moving average; 0 until known */
    double evaluation_seconds; /* of the last evaluation */
    bool saved;                /* last.wtl holds the present state */
    wtl_status note_status;    /* of a note that could not be logged */
    wtl_error note_error;
} trainer;

static double now(const trainer *t)
{
    return t->hooks.seconds ? t->hooks.seconds(t->hooks.context) : 0.0;
}

static bool asked_to_stop(const trainer *t)
{
    return t->hooks.stop && t->hooks.stop(t->hooks.context) != 0;
}

static double seconds_of_epoch(const trainer *t)
{
    return t->run.epoch_seconds + now(t) - t->epoch_began;
}

/* From 1; after the last epoch still the last. */
static int epoch_number(const trainer *t)
{
    int next = t->run.state.epoch + 1;
    return next < t->run.options.epochs ? next : t->run.options.epochs;
}

static double mean_loss(const wtl_scores *scores)
{
    return scores->images > 0 ? scores->loss / (double)scores->images : (double)NAN;
}

/* ---- events and the log ---- */

static void emit(const trainer *t, const wtl_train_event *event)
{
    if (t->hooks.event) {
        t->hooks.event(t->hooks.context, event);
    }
}

static double eta(const trainer *t)
{
    const wtl_train_state *s = &t->run.state;
    double epochs_left = (double)(t->run.options.epochs - s->epoch);
    double steps_left = epochs_left * (double)t->run.batches - (double)s->batch;
    double evaluations_left = t->run.val_data ? epochs_left : 0.0;
    return steps_left * t->step_seconds + evaluations_left * t->evaluation_seconds;
}

/* The position and the training scores so far, with nothing of a validation. */
static wtl_train_event event_here(const trainer *t, int kind)
{
    const wtl_train_state *s = &t->run.state;
    wtl_train_event event = {.kind = kind,
                             .epoch = epoch_number(t),
                             .epochs = t->run.options.epochs,
                             .step = (long)s->batch,
                             .steps = (long)t->run.batches,
                             .loss = mean_loss(&s->sums),
                             .top1 = wtl_percent(s->sums.top1, s->sums.images),
                             .val_loss = NAN,
                             .val_top1 = NAN,
                             .val_top5 = NAN,
                             .rate = s->rate,
                             .eta_seconds = eta(t)};
    if (t->step_seconds > 0.0) {
        event.images_per_second = t->run.options.batch / t->step_seconds;
    }
    return event;
}

/* An event for the log at the present position. */
static json_t *log_here(const trainer *t, const char *name)
{
    const wtl_train_state *s = &t->run.state;
    return json_pack("{s:s, s:i, s:I}", "event", name, "epoch", epoch_number(t), "step",
                     (json_int_t)s->step);
}

/* `event` with one more number; NULL, and the event gone, when memory is short. */
static json_t *with(json_t *event, const char *key, double value)
{
    if (json_object_set_new(event, key, wtl_json_real(value)) != 0) {
        json_decref(event);
        return NULL;
    }
    return event;
}

static wtl_status log_event(trainer *t, json_t *event, wtl_error *err)
{
    return wtl_run_folder_log(t->run.folder, event, err);
}

static wtl_status tell(trainer *t, const char *message, wtl_error *err)
{
    wtl_train_event event = event_here(t, WTL_TRAIN_NOTE);
    event.note = message;
    emit(t, &event);
    json_t *line = log_here(t, "note");
    /* A message may quote a file name that is not UTF-8, which JSON cannot hold. */
    json_t *text = json_string(message);
    (void)json_object_set_new(line, "note", text ? text : json_string("(not UTF-8)"));
    return log_event(t, line, err);
}

/* For the batchers, which cannot pass a failure on: it is looked at after their call. */
static void tell_unreadable(void *context, const char *message)
{
    trainer *t = context;
    wtl_status status = tell(t, message, &t->note_error);
    if (t->note_status == WTL_OK) {
        t->note_status = status;
    }
}

static wtl_status status_of_notes(const trainer *t, wtl_error *err)
{
    return t->note_status == WTL_OK ? WTL_OK
                                    : wtl_fail(err, t->note_status, "%s", t->note_error.text);
}

/* ---- saving and stopping ---- */

static wtl_status save_last(trainer *t, wtl_error *err)
{
    wtl_status status = wtl_training_save_last(&t->run, err);
    if (status != WTL_OK) {
        return status;
    }
    t->saved = true;
    t->last_save = now(t);
    return log_event(t, with(log_here(t, "saved"), "seconds", seconds_of_epoch(t)), err);
}

static wtl_status save_within_epoch(trainer *t, wtl_error *err)
{
    wtl_status status = save_last(t, err);
    if (status == WTL_OK) {
        wtl_train_event event = event_here(t, WTL_TRAIN_SAVED);
        emit(t, &event);
    }
    return status;
}

static wtl_status stop_run(trainer *t, wtl_error *err)
{
    wtl_status status = t->saved ? WTL_OK : save_within_epoch(t, err);
    if (status == WTL_OK) {
        status = log_event(t, log_here(t, "stopped"), err);
    }
    if (status != WTL_OK) {
        return status;
    }
    const wtl_train_state *s = &t->run.state;
    return wtl_fail(err, WTL_E_STOPPED,
                    "stopped in epoch %d of %d after step %zu of %zu; saved, ready to resume",
                    s->epoch + 1, t->run.options.epochs, s->batch, t->run.batches);
}

/* The weights are spoiled: nothing is saved. */
static wtl_status diverged(trainer *t, const char *where, const char *what, wtl_error *err)
{
    (void)!log_event(t, log_here(t, "diverged"), NULL); /* the divergence is the news */
    return wtl_fail(err, WTL_E_NAN,
                    "epoch %d, %s: %s is not finite; %s; a lower learning rate or clipping may "
                    "help",
                    t->run.state.epoch + 1, where, what,
                    wtl_run_folder_has_checkpoint(t->run.folder)
                        ? "last.wtl is the last good state"
                        : "nothing was saved yet");
}

static wtl_status diverged_in_step(trainer *t, const char *what, wtl_error *err)
{
    char where[64];
    snprintf(where, sizeof where, "step %zu of %zu", t->run.state.batch + 1, t->run.batches);
    return diverged(t, where, what, err);
}

/* ---- one step ---- */

static void measure_step(trainer *t)
{
    double at = now(t), took = at - t->last_step;
    t->last_step = at;
    t->step_seconds = t->step_seconds > 0.0 ? 0.95 * t->step_seconds + 0.05 * took : took;
}

static wtl_status report_step(trainer *t, wtl_error *err)
{
    enum { LINES_AN_EPOCH = 20 };
    const wtl_train_state *s = &t->run.state;
    measure_step(t);
    if (!t->hooks.seconds || t->last_step - t->last_event >= event_seconds) {
        wtl_train_event event = event_here(t, WTL_TRAIN_STEP);
        emit(t, &event);
        t->last_event = t->last_step;
    }
    size_t every = t->run.batches / LINES_AN_EPOCH + 1;
    if (s->batch % every != 0 && s->batch != t->run.batches) {
        return WTL_OK;
    }
    json_t *line = with(log_here(t, "step"), "loss", mean_loss(&s->sums));
    line = with(line, "top1", wtl_percent(s->sums.top1, s->sums.images));
    return log_event(t, with(line, "rate", s->rate), err);
}

static double rate_now(const trainer *t)
{
    const wtl_train_state *s = &t->run.state;
    double position = s->epoch + (double)s->batch / (double)t->run.batches;
    return wtl_schedule_rate(&t->run.options.schedule, position, t->run.options.epochs);
}

static wtl_status learn(trainer *t, const wtl_batch *batch, wtl_error *err)
{
    wtl_train_state *s = &t->run.state;
    wtl_net *net = t->run.net;
    wtl_scores sums = s->sums;
    double rate = rate_now(t);
    memcpy(wtl_net_input(net), batch->images,
           (size_t)batch->count * wtl_shape_count(t->run.def->input) * sizeof(float));
    wtl_net_forward(net, batch->count, WTL_RUN_TRAINING, s->step);
    double loss =
        wtl_net_loss(net, batch->count, batch->labels, t->run.options.smoothing, &sums);
    if (!isfinite(loss)) {
        return diverged_in_step(t, "the loss", err);
    }
    wtl_net_backward(net, batch->count);
    if (isnan(wtl_optimizer_step(t->run.optimizer, rate))) {
        return diverged_in_step(t, "the gradient", err);
    }
    s->sums = sums;
    s->rate = rate;
    return WTL_OK;
}

/* Move to batch `number` of the epoch: batches of unreadable pictures alone are passed over,
 * but count as steps, so that a step keeps its number. */
static void move_to(wtl_train_state *s, size_t number)
{
    s->step += number - s->batch;
    s->batch = number;
}

static wtl_status run_step(trainer *t, wtl_error *err)
{
    wtl_batch batch;
    wtl_status status = wtl_batcher_next(t->run.batcher, &batch, err);
    if (status == WTL_OK) {
        status = status_of_notes(t, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    move_to(&t->run.state, batch.number);
    if (batch.count == 0) { /* the epoch's last pictures cannot be read */
        return WTL_OK;
    }
    status = learn(t, &batch, err);
    if (status != WTL_OK) {
        return status;
    }
    move_to(&t->run.state, batch.number + 1);
    t->saved = false;
    return report_step(t, err);
}

static wtl_status save_if_due(trainer *t, wtl_error *err)
{
    bool due = t->hooks.seconds &&
               now(t) - t->last_save >= 60.0 * t->run.options.save_minutes &&
               t->run.state.batch < t->run.batches; /* else the epoch's end saves */
    return due ? save_within_epoch(t, err) : WTL_OK;
}

/* ---- the end of an epoch ---- */

static bool go_on(void *context, long done, long total)
{
    (void)done;
    (void)total;
    return !asked_to_stop(context);
}

static wtl_status evaluate(trainer *t, wtl_train_row *row, wtl_error *err)
{
    const wtl_evaluate_options options = {.seed = t->run.options.seed,
                                          .workers = t->run.options.workers,
                                          .progress = go_on,
                                          .report = tell_unreadable,
                                          .context = t};
    wtl_evaluation evaluation;
    wtl_status status = wtl_evaluate(&evaluation, t->run.net, t->run.val_data, &options, err);
    if (status != WTL_OK) {
        return status;
    }
    const wtl_scores *scores = &evaluation.scores;
    row->val_loss = mean_loss(scores);
    row->val_top1 = wtl_percent(scores->top1, scores->images);
    row->val_top5 = wtl_percent(scores->top5, scores->images);
    wtl_evaluation_clear(&evaluation);
    return status_of_notes(t, err);
}

/* With the averaged weights, where there are any. */
static wtl_status validate(trainer *t, wtl_train_row *row, wtl_error *err)
{
    double began = now(t);
    wtl_optimizer_swap_ema(t->run.optimizer);
    wtl_status status = evaluate(t, row, err);
    int best = wtl_train_state_best(&t->run.state);
    if (status == WTL_OK && (best < 0 || row->val_top1 > t->run.state.rows[best].val_top1)) {
        status = wtl_training_save_best(&t->run, row, err);
    }
    wtl_optimizer_swap_ema(t->run.optimizer);
    t->evaluation_seconds = now(t) - began;
    return status;
}

static wtl_status report_epoch(trainer *t, wtl_train_event event, wtl_error *err)
{
    const wtl_train_state *s = &t->run.state;
    const wtl_train_row *row = &s->rows[s->epoch - 1];
    json_t *line = json_pack("{s:s, s:i, s:I}", "event", "epoch", "epoch", s->epoch, "step",
                             (json_int_t)s->step);
    const struct {
        const char *key;
        double value;
    } values[] = {{"rate", row->rate},
                  {"train_loss", row->train_loss},
                  {"train_top1", row->train_top1},
                  {"val_loss", row->val_loss},
                  {"val_top1", row->val_top1},
                  {"val_top5", row->val_top5},
                  {"seconds", row->seconds}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        line = with(line, values[i].key, values[i].value);
    }
    wtl_status status = log_event(t, line, err);
    if (status == WTL_OK) {
        status = wtl_run_folder_write_plots(t->run.folder, s->rows, s->epoch, err);
    }
    if (status == WTL_OK) {
        emit(t, &event);
        event.kind = WTL_TRAIN_SAVED;
        emit(t, &event);
    }
    return status;
}

static wtl_status finish_epoch(trainer *t, wtl_error *err)
{
    wtl_train_state *s = &t->run.state;
    wtl_train_row row = {.rate = s->rate,
                         .train_loss = mean_loss(&s->sums),
                         .train_top1 = wtl_percent(s->sums.top1, s->sums.images),
                         .val_loss = NAN,
                         .val_top1 = NAN,
                         .val_top5 = NAN,
                         .seconds = NAN};
    if (s->sums.images == 0) {
        return wtl_fail(err, WTL_E_FORMAT, "epoch %d: not one image could be read",
                        s->epoch + 1);
    }
    if (t->run.val_data) {
        wtl_status status = validate(t, &row, err);
        if (status == WTL_E_STOPPED) {
            return stop_run(t, err);
        }
        if (status != WTL_OK) {
            return status == WTL_E_NAN ? diverged(t, "validation", "the output", err) : status;
        }
    }
    row.seconds = t->hooks.seconds ? seconds_of_epoch(t) : (double)NAN;
    wtl_train_event event = event_here(t, WTL_TRAIN_EPOCH);
    event.val_loss = row.val_loss;
    event.val_top1 = row.val_top1;
    event.val_top5 = row.val_top5;
    s->rows[s->epoch++] = row;
    s->batch = 0;
    s->sums = (wtl_scores){0};
    t->run.epoch_seconds = 0.0;
    t->epoch_began = now(t);
    wtl_status status = wtl_run_folder_write_metrics(t->run.folder, s->rows, s->epoch, err);
    if (status == WTL_OK) {
        status = save_last(t, err);
    }
    event.eta_seconds = eta(t);
    return status == WTL_OK ? report_epoch(t, event, err) : status;
}

static wtl_status run_epoch(trainer *t, wtl_error *err)
{
    wtl_train_state *s = &t->run.state;
    wtl_status status = WTL_OK;
    if (s->batch < t->run.batches) { /* else only the evaluation is missing */
        status = wtl_batcher_start(t->run.batcher, (uint64_t)s->epoch, s->batch, err);
    }
    t->last_step = now(t);
    while (status == WTL_OK && s->batch < t->run.batches) {
        if (asked_to_stop(t)) {
            return stop_run(t, err);
        }
        status = run_step(t, err);
        if (status == WTL_OK) {
            status = save_if_due(t, err);
        }
    }
    return status == WTL_OK ? finish_epoch(t, err) : status;
}

/* ---- the run ---- */

static wtl_status tell_beginning(trainer *t, wtl_error *err)
{
    wtl_status status = log_event(t, log_here(t, t->run.resumed ? "resumed" : "begun"), err);
    for (int i = 0; i < t->run.note_count && status == WTL_OK; i++) {
        status = tell(t, t->run.notes[i], err);
    }
    return status;
}

static wtl_status run_epochs(trainer *t, wtl_error *err)
{
    wtl_batcher_on_unreadable(t->run.batcher, tell_unreadable, t);
    t->epoch_began = t->last_save = t->last_event = now(t);
    t->saved = t->run.resumed;
    wtl_status status = tell_beginning(t, err);
    if (status == WTL_OK) { /* of a pruned net they stay as they are */
        status = wtl_net_follow_masks(t->run.net, err);
    }
    while (status == WTL_OK && t->run.state.epoch < t->run.options.epochs) {
        status = run_epoch(t, err);
    }
    return status == WTL_OK ? log_event(t, log_here(t, "done"), err) : status;
}

static void fill_result(const trainer *t, wtl_train_result *result)
{
    const wtl_train_state *s = &t->run.state;
    int best = wtl_train_state_best(s);
    *result = (wtl_train_result){.epochs = s->epoch, .seconds = now(t) - t->began};
    result->train_loss = result->train_top1 = NAN;
    result->val_loss = result->val_top1 = result->val_top5 = result->best_val_top1 = NAN;
    if (s->epoch > 0) {
        const wtl_train_row *row = &s->rows[s->epoch - 1];
        result->train_loss = row->train_loss;
        result->train_top1 = row->train_top1;
        result->val_loss = row->val_loss;
        result->val_top1 = row->val_top1;
        result->val_top5 = row->val_top5;
    }
    if (best >= 0) {
        result->best_val_top1 = s->rows[best].val_top1;
        result->best_epoch = best + 1;
    }
}

wtl_status wtl_train(const char *run, const wtl_train_options *options, bool resume, bool force,
                     const wtl_train_hooks *hooks, wtl_train_result *result, wtl_error *err)
{
    trainer t = {0};
    if (hooks) {
        t.hooks = *hooks;
    }
    t.began = now(&t);
    wtl_status status = wtl_training_open(&t.run, run, options, resume, force, err);
    if (status == WTL_OK) {
        status = run_epochs(&t, err);
    }
    if (result) {
        fill_result(&t, result);
    }
    wtl_training_close(&t.run);
    return status;
}
