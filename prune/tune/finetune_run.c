/* finetune_run.c - the course of a fine-tuning run: judge, fine-tune, recalibrate, judge.
 *
 * last.wtl is written before the first step, every save_minutes, when stopped and after the
 * last step; never after that: recalibration and the last judging begin again when they are
 * interrupted. finetuned.wtl is the end, and says that the run is finished.
 */
#include "wattle/finetune_run.h"

#include "tuning.h"

#include "wattle/evaluate.h"
#include "wattle/file.h"
#include "wattle/mask.h"

#include <math.h>

typedef struct course {
    wtl_tuning t;
    wtl_finetune_hooks hooks;
    double last_save; /* seconds */
    bool stopped;
    wtl_status status; /* of what was done within a tick */
    wtl_error *err;
} course;

static double now(const course *c)
{
    return c->hooks.seconds ? c->hooks.seconds(c->hooks.context) : 0.0;
}

static bool asked_to_stop(const course *c)
{
    return c->hooks.stop && c->hooks.stop(c->hooks.context) != 0;
}

static double mean(double sum, long images)
{
    return images > 0 ? sum / (double)images : (double)NAN;
}

/* ---- events ---- */

static void emit(const course *c, const wtl_finetune_event *event)
{
    if (c->hooks.event) {
        c->hooks.event(c->hooks.context, event);
    }
}

static void tell_stage(const course *c, const char *stage, long done, long total)
{
    const wtl_finetune_state *tune = &c->t.state.tune;
    const wtl_finetune_event event = {.kind = WTL_FINETUNE_STAGE,
                                      .stage = stage,
                                      .done = done,
                                      .total = total,
                                      .loss = mean(tune->loss, tune->images),
                                      .top1 = wtl_percent(tune->top1, tune->images)};
    emit(c, &event);
}

static void tell_unreadable(void *context, const char *message)
{
    const wtl_finetune_event event = {.kind = WTL_FINETUNE_NOTE, .note = message};
    emit(context, &event);
}

/* ---- metrics.csv ---- */

static double epochs_of(const course *c, uint64_t steps)
{
    return (double)steps / (double)wtl_batcher_count(c->t.batcher);
}

/* Of the step before `step` are done: the last one of a row. */
static double rate_at(const course *c, uint64_t step)
{
    const wtl_finetune_options *o = &c->t.options.finetune;
    const wtl_schedule schedule = {
        .kind = WTL_SCHEDULE_COSINE, .peak = o->rate, .final_share = o->final_share};
    return wtl_schedule_rate(&schedule, (double)step - 1.0, (double)c->t.state.tune.steps);
}

/* Row i alone: loss and top1 are means over its images, epochs and rate those of its end. */
static wtl_finetune_event row_event(const course *c, int i)
{
    const wtl_tuning_row *row = &c->t.state.rows[i];
    const wtl_tuning_row from = i > 0 ? row[-1] : (wtl_tuning_row){0};
    long images = row->images - from.images;
    return (wtl_finetune_event){.kind = WTL_FINETUNE_EPOCH,
                                .loss = mean(row->loss - from.loss, images),
                                .top1 = wtl_percent(row->top1 - from.top1, images),
                                .epochs = epochs_of(c, row->step),
                                .rate = rate_at(c, row->step)};
}

static void put_scores(wtl_writer *writer, const wtl_scores *s)
{
    wtl_writer_printf(writer, ",%.6f,%.4f,%.4f\n", mean(s->loss, s->images),
                      wtl_percent(s->top1, s->images), wtl_percent(s->top5, s->images));
}

/* `after` is NULL while it is not known. */
static wtl_status write_metrics(const course *c, const wtl_scores *after, wtl_error *err)
{
    const wtl_tuning_state *s = &c->t.state;
    wtl_writer *writer;
    wtl_status status = wtl_writer_open(&writer, c->t.metrics, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_writer_printf(writer,
                      "step,epochs,rate,train_loss,train_top1,val_loss,val_top1,val_top5\n"
                      "0,0.0000,,,");
    put_scores(writer, &s->before);
    for (int i = 0; i < s->row_count; i++) {
        const wtl_finetune_event row = row_event(c, i);
        wtl_writer_printf(writer, "%llu,%.4f,%.8f,%.6f,%.4f,,,\n",
                          (unsigned long long)s->rows[i].step, row.epochs, row.rate, row.loss,
                          row.top1);
    }
    if (after) {
        wtl_writer_printf(writer, "%llu,%.4f,,,", (unsigned long long)s->tune.steps,
                          epochs_of(c, s->tune.steps));
        put_scores(writer, after);
    }
    return wtl_writer_commit(writer, err);
}

/* ---- judging ---- */

static bool judging(void *context, long done, long total)
{
    const course *c = context;
    tell_stage(c, "validate", done, total);
    return !asked_to_stop(c);
}

static wtl_status judge(course *c, wtl_scores *scores, wtl_error *err)
{
    const wtl_evaluate_options options = {.seed = c->t.options.seed,
                                          .workers = c->t.options.workers,
                                          .progress = judging,
                                          .report = tell_unreadable,
                                          .context = c};
    wtl_evaluation evaluation;
    wtl_status status = wtl_evaluate(&evaluation, c->t.net, c->t.val, &options, err);
    if (status == WTL_OK) {
        *scores = evaluation.scores;
        wtl_evaluation_clear(&evaluation);
    }
    return status;
}

static wtl_status save(course *c, wtl_error *err)
{
    wtl_status status = wtl_tuning_save_last(&c->t, err);
    c->last_save = now(c);
    return status;
}

static wtl_status judge_before(course *c, wtl_finetune_result *result, wtl_error *err)
{
    wtl_status status = judge(c, &c->t.state.before, err);
    result->before = c->t.state.before;
    if (status == WTL_E_STOPPED) {
        return wtl_fail(err, WTL_E_STOPPED, "stopped before the first step; ready to resume");
    }
    return status == WTL_OK ? save(c, err) : status;
}

/* ---- fine-tuning ---- */

static wtl_status end_row(course *c, wtl_error *err)
{
    wtl_status status = wtl_tuning_state_add(&c->t.state, err);
    if (status == WTL_OK) {
        status = write_metrics(c, NULL, err);
    }
    if (status == WTL_OK) {
        const wtl_finetune_event event = row_event(c, c->t.state.row_count - 1);
        emit(c, &event);
    }
    return status;
}

static int on_tick(void *context, const wtl_finetune_state *tune)
{
    course *c = context;
    c->t.state.tune = *tune;
    bool end = tune->step == tune->steps;
    bool row = end || tune->step % wtl_batcher_count(c->t.batcher) == 0;
    tell_stage(c, "fine-tune", (long)tune->step, (long)tune->steps);
    if (row) {
        c->status = end_row(c, c->err);
    }
    c->stopped = !end && asked_to_stop(c);
    bool due =
        c->hooks.seconds ? now(c) - c->last_save >= 60.0 * c->t.options.save_minutes : row;
    if (c->status == WTL_OK && (c->stopped || due || end)) {
        c->status = save(c, c->err);
    }
    return c->stopped || c->status != WTL_OK;
}

static wtl_status fine_tune(course *c, wtl_error *err)
{
    wtl_finetune_state tune = c->t.state.tune;
    c->err = err;
    wtl_status status = wtl_finetune_run(c->t.finetune, &tune, on_tick, c, err);
    if (status == WTL_OK) {
        status = c->status;
    }
    if (status == WTL_OK && c->stopped) {
        return wtl_fail(err, WTL_E_STOPPED,
                        "stopped after step %llu of %llu; saved, ready to resume",
                        (unsigned long long)tune.step, (unsigned long long)tune.steps);
    }
    return status;
}

/* ---- the end ---- */

static wtl_status finish(course *c, wtl_finetune_result *result, wtl_error *err)
{
    wtl_tuning *t = &c->t;
    wtl_status status = WTL_OK;
    wtl_finetune_swap_ema(t->finetune);
    if (t->calibration) {
        tell_stage(c, "recalibrate", 0, t->options.recalibration);
        status = wtl_recalibrate(t->net, t->calibration, t->options.recalibration, err);
    }
    *result = (wtl_finetune_result){.before = t->state.before,
                                    .steps = t->state.tune.steps,
                                    .epochs = epochs_of(c, t->state.tune.steps)};
    if (status == WTL_OK) {
        status = judge(c, &result->after, err);
    }
    if (status == WTL_E_STOPPED) {
        return wtl_fail(err, WTL_E_STOPPED,
                        "stopped after the last step; saved, ready to resume");
    }
    wtl_mask_count count = wtl_mask_count_net(t->net);
    result->weights = count.weights;
    result->kept = count.kept;
    result->nonzero = count.nonzero;
    if (status == WTL_OK) {
        status = write_metrics(c, &result->after, err);
    }
    return status == WTL_OK ? wtl_tuning_save_result(t, result, err) : status;
}

static wtl_status follow(course *c, wtl_finetune_result *result, wtl_error *err)
{
    wtl_status status = WTL_OK;
    wtl_batcher_on_unreadable(c->t.batcher, tell_unreadable, c);
    c->last_save = now(c);
    if (!c->t.resumed) {
        status = judge_before(c, result, err);
    }
    if (status == WTL_OK) {
        status = write_metrics(c, NULL, err);
    }
    if (status == WTL_OK) {
        status = fine_tune(c, err);
    }
    return status == WTL_OK ? finish(c, result, err) : status;
}

wtl_status wtl_finetune_to_folder(const char *run, const wtl_finetune_run_options *options,
                                  bool resume, bool force, const wtl_finetune_hooks *hooks,
                                  wtl_finetune_result *result, wtl_error *err)
{
    wtl_finetune_result unused;
    course c = {0};
    bool finished;
    if (hooks) {
        c.hooks = *hooks;
    }
    result = result ? result : &unused;
    *result = (wtl_finetune_result){0};
    wtl_status status =
        wtl_tuning_open(&c.t, run, options, resume, force, result, &finished, err);
    if (status == WTL_OK && !finished) {
        result->before = c.t.state.before; /* of a resumed run */
        status = follow(&c, result, err);
    }
    wtl_tuning_close(&c.t);
    return status;
}
