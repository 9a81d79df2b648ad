/* finetune.c - training steps with the masks held, resumable between any two.
 *
 * The stream of batches has no end: position p is batch p % batches of epoch p / batches, so a
 * number is all there is to remember. Batches without a readable picture are passed over and
 * keep their numbers: what a step sees depends on its position alone.
 *
 * A step that fails leaves nothing behind: the optimiser changes nothing when a gradient is not
 * finite, and the running statistics, which the forward pass moves, are put back.
 */
#include "wattle/finetune.h"

#include "wattle/loss.h"
#include "wattle/mask.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

struct wtl_finetune {
    wtl_finetune_options options;
    wtl_net *net, *teacher;
    wtl_batcher *batcher;
    wtl_optimizer *optimizer;
    float *statistics; /* the running ones before the step, one parameter behind another */
};

/* ---- options ---- */

void wtl_finetune_defaults(wtl_finetune_options *options)
{
    *options = (wtl_finetune_options){.rate = 0.01, .temperature = 2.0};
    wtl_optimizer_defaults(&options->optimizer);
}

static wtl_status check_options(const wtl_finetune_options *o, const wtl_net *teacher,
                                wtl_error *err)
{
    const struct {
        const char *name;
        double value, low, high;
    } numbers[] = {{"rate", o->rate, 0.0, 1e6},
                   {"final_share", o->final_share, 0.0, 1.0},
                   {"smoothing", (double)o->smoothing, 0.0, 1.0},
                   {"distill", o->distill, 0.0, 1.0},
                   {"temperature", o->temperature, 0.01, 1000.0}};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        if (!(numbers[i].value >= numbers[i].low && numbers[i].value <= numbers[i].high)) {
            return wtl_fail(err, WTL_E_RANGE, "fine-tuning: %s is %g, must be from %g to %g",
                            numbers[i].name, numbers[i].value, numbers[i].low, numbers[i].high);
        }
    }
    if (o->distill > 0.0 && !teacher) {
        return wtl_fail(err, WTL_E_ARG, "fine-tuning: distillation of %g without a teacher",
                        o->distill);
    }
    return WTL_OK;
}

static wtl_status check_teacher(wtl_net *net, wtl_net *teacher, wtl_error *err)
{
    const wtl_netdef *is = wtl_net_def(teacher), *must = wtl_net_def(net);
    const wtl_head *head = wtl_net_main_head(teacher), *pupil = wtl_net_main_head(net);
    const wtl_shape a = is->input, b = must->input;
    if (a.c != b.c || a.h != b.h || a.w != b.w) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "fine-tuning: net %s takes %dx%dx%d, its teacher %s %dx%dx%d",
                        must->name, b.c, b.h, b.w, is->name, a.c, a.h, a.w);
    }
    if (!head || head->classes != pupil->classes) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "fine-tuning: net %s tells %d classes apart, its teacher %s %d",
                        must->name, pupil->classes, is->name, head ? head->classes : 0);
    }
    int takes = wtl_net_options_of(teacher)->batch, batch = wtl_net_options_of(net)->batch;
    if (takes < batch) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "fine-tuning: batches of %d, the teacher is planned for %d", batch,
                        takes);
    }
    return WTL_OK;
}

static wtl_status check(wtl_net *net, wtl_net *teacher, const wtl_batcher *batcher,
                        const wtl_finetune_options *options, wtl_error *err)
{
    wtl_status status = check_options(options, teacher, err);
    if (status != WTL_OK) {
        return status;
    }
    if (!wtl_net_options_of(net)->training || !wtl_net_main_head(net)) {
        return wtl_fail(err, WTL_E_ARG, "fine-tuning: net %s is not planned for training",
                        wtl_net_def(net)->name);
    }
    if (wtl_batcher_count(batcher) == 0) {
        return wtl_fail(err, WTL_E_ARG, "fine-tuning: there are no images");
    }
    return teacher ? check_teacher(net, teacher, err) : WTL_OK;
}

/* ---- running statistics ---- */

static bool is_statistic(const wtl_param *param)
{
    return param->spec.role == WTL_PARAM_RUNNING_MEAN ||
           param->spec.role == WTL_PARAM_RUNNING_VAR;
}

static size_t statistics_count(wtl_net *net)
{
    size_t count = 0;
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        count += is_statistic(param) ? param->count : 0;
    }
    return count;
}

static void keep_statistics(wtl_finetune *f)
{
    float *next = f->statistics;
    for (int i = 0; i < wtl_net_param_count(f->net); i++) {
        const wtl_param *param = wtl_net_param(f->net, i);
        if (is_statistic(param)) {
            memcpy(next, param->value, param->count * sizeof *next);
            next += param->count;
        }
    }
}

static void put_statistics_back(wtl_finetune *f)
{
    const float *next = f->statistics;
    for (int i = 0; i < wtl_net_param_count(f->net); i++) {
        wtl_param *param = wtl_net_param(f->net, i);
        if (is_statistic(param)) {
            memcpy(param->value, next, param->count * sizeof *next);
            next += param->count;
        }
    }
}

/* ---- create, free, reset ---- */

wtl_status wtl_finetune_create(wtl_finetune **out, wtl_net *net, wtl_net *teacher,
                               wtl_batcher *batcher, const wtl_finetune_options *options,
                               wtl_error *err)
{
    *out = NULL;
    wtl_finetune_options o = *options;
    o.temperature = o.temperature != 0.0 ? o.temperature : 2.0;
    wtl_status status = check(net, teacher, batcher, &o, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_finetune *f = wtl_alloc(1, sizeof *f);
    if (!f) {
        return wtl_fail(err, WTL_E_NOMEM, "fine-tuning: out of memory");
    }
    *f = (wtl_finetune){.options = o, .net = net, .teacher = teacher, .batcher = batcher};
    f->statistics = wtl_alloc(statistics_count(net), sizeof *f->statistics);
    status = f->statistics ? wtl_optimizer_create(&f->optimizer, net, &o.optimizer, err)
                           : wtl_fail(err, WTL_E_NOMEM, "fine-tuning: out of memory");
    if (status != WTL_OK) {
        wtl_finetune_free(f);
        return status;
    }
    *out = f;
    return WTL_OK;
}

void wtl_finetune_free(wtl_finetune *finetune)
{
    if (finetune) {
        wtl_optimizer_free(finetune->optimizer);
        wtl_free(finetune->statistics);
        wtl_free(finetune);
    }
}

void wtl_finetune_reset(wtl_finetune *finetune)
{
    wtl_optimizer_reset(finetune->optimizer);
}

void wtl_finetune_swap_ema(wtl_finetune *finetune)
{
    wtl_optimizer_swap_ema(finetune->optimizer);
}

/* ---- one step ---- */

static wtl_status not_finite(const wtl_finetune_state *s, const char *what, wtl_error *err)
{
    return wtl_fail(err, WTL_E_NAN,
                    "fine-tuning: step %llu of %llu: %s is not finite; a lower learning rate "
                    "or clipping may help",
                    (unsigned long long)s->step + 1, (unsigned long long)s->steps, what);
}

/* The main head learns from the teacher, too: its gradient is mixed, its part of the mean loss
 * over all heads (`loss`) and its sum of losses over the images replaced. */
static double learn_from_teacher(wtl_finetune *f, const wtl_batch *batch, double loss,
                                 double *main_loss)
{
    const int n = batch->count;
    const wtl_head *head = wtl_net_main_head(f->net);
    memcpy(wtl_net_input(f->teacher), batch->images,
           (size_t)n * wtl_shape_count(wtl_net_def(f->teacher)->input) * sizeof(float));
    wtl_net_forward(f->teacher, n, WTL_RUN_INFERENCE, 0);
    const double a = f->options.distill, labels = *main_loss;
    double soft =
        wtl_distill(n, head->classes, head->logits, wtl_net_main_head(f->teacher)->logits, a,
                    f->options.temperature, head->weight / (float)n, head->gradient);
    *main_loss = (1.0 - a) * labels + soft;
    return loss + (double)head->weight * (*main_loss - labels) / n;
}

/* Loss and gradients of one batch; adds to the sums of *s. */
static wtl_status differentiate(wtl_finetune *f, wtl_finetune_state *s, const wtl_batch *batch,
                                wtl_error *err)
{
    wtl_scores scores = {0};
    wtl_net *net = f->net;
    memcpy(wtl_net_input(net), batch->images,
           (size_t)batch->count * wtl_shape_count(wtl_net_def(net)->input) * sizeof(float));
    wtl_net_forward(net, batch->count, WTL_RUN_TRAINING, s->position);
    double loss = wtl_net_loss(net, batch->count, batch->labels, f->options.smoothing, &scores);
    if (f->options.distill > 0.0) {
        loss = learn_from_teacher(f, batch, loss, &scores.loss);
    }
    if (!isfinite(loss)) {
        return not_finite(s, "the loss", err);
    }
    wtl_net_backward(net, batch->count);
    s->loss += scores.loss;
    s->top1 += scores.top1;
    s->images += scores.images;
    return WTL_OK;
}

static double rate_now(const wtl_finetune *f, const wtl_finetune_state *s)
{
    const wtl_schedule schedule = {.kind = WTL_SCHEDULE_COSINE,
                                   .peak = s->rate > 0.0 ? s->rate : f->options.rate,
                                   .final_share = f->options.final_share};
    return wtl_schedule_rate(&schedule, (double)s->step, (double)s->steps);
}

/* Train on the batch at s->position. */
static wtl_status learn(wtl_finetune *f, wtl_finetune_state *s, const wtl_batch *batch,
                        wtl_error *err)
{
    int takes = wtl_net_options_of(f->net)->batch;
    if (batch->count > takes) {
        return wtl_fail(err, WTL_E_SHAPE, "fine-tuning: batches of %d, the net takes %d",
                        batch->count, takes);
    }
    wtl_finetune_state after = *s;
    keep_statistics(f);
    wtl_status status = differentiate(f, &after, batch, err);
    if (status == WTL_OK && isnan(wtl_optimizer_step(f->optimizer, rate_now(f, s)))) {
        status = not_finite(s, "the gradient", err);
    }
    if (status != WTL_OK) {
        put_statistics_back(f);
        return status;
    }
    after.position++;
    after.step++;
    *s = after;
    return WTL_OK;
}

/* ---- the stream ---- */

/* The next batch with a readable picture, and its *position. The batcher is in *epoch; at an
 * epoch's end the next one begins; one whole epoch without a picture is the end of it all. */
static wtl_status next_batch(wtl_finetune *f, uint64_t *epoch, uint64_t *position,
                             wtl_batch *batch, wtl_error *err)
{
    wtl_status status = wtl_batcher_next(f->batcher, batch, err);
    for (int begun = 0; status == WTL_OK && batch->count == 0; begun++) {
        if (begun > 0) {
            return wtl_fail(err, WTL_E_FORMAT,
                            "fine-tuning: not one image of an epoch could be read");
        }
        status = wtl_batcher_start(f->batcher, ++*epoch, 0, err);
        if (status == WTL_OK) {
            status = wtl_batcher_next(f->batcher, batch, err);
        }
    }
    if (status == WTL_OK) {
        *position = *epoch * wtl_batcher_count(f->batcher) + batch->number;
    }
    return status;
}

static wtl_status run_steps(wtl_finetune *finetune, wtl_finetune_state *state,
                            int (*tick)(void *context, const wtl_finetune_state *state),
                            void *context, wtl_error *err)
{
    const uint64_t batches = wtl_batcher_count(finetune->batcher);
    uint64_t epoch = state->position / batches;
    wtl_status status =
        wtl_batcher_start(finetune->batcher, epoch, (size_t)(state->position % batches), err);
    while (status == WTL_OK && state->step < state->steps) {
        wtl_finetune_state at = *state;
        wtl_batch batch;
        status = next_batch(finetune, &epoch, &at.position, &batch, err);
        if (status == WTL_OK) {
            status = learn(finetune, &at, &batch, err);
        }
        if (status == WTL_OK) {
            *state = at;
        }
        if (status == WTL_OK && tick && tick(context, state) != 0) {
            break;
        }
    }
    return status;
}

/* Whoever calls may change masks between two runs, so that they are followed within one alone. */
wtl_status wtl_finetune_run(wtl_finetune *finetune, wtl_finetune_state *state,
                            int (*tick)(void *context, const wtl_finetune_state *state),
                            void *context, wtl_error *err)
{
    if (state->step >= state->steps) {
        return WTL_OK;
    }
    wtl_mask_apply_net(finetune->net);
    wtl_status status = wtl_net_follow_masks(finetune->net, err);
    if (status == WTL_OK) {
        status = run_steps(finetune, state, tick, context, err);
    }
    wtl_net_forget_masks(finetune->net);
    return status;
}

/* ---- saving and loading ---- */

wtl_status wtl_finetune_save(wtl_finetune *finetune, wtl_checkpoint *checkpoint, wtl_error *err)
{
    return wtl_optimizer_save(finetune->optimizer, checkpoint, err);
}

wtl_status wtl_finetune_load(wtl_finetune *finetune, const wtl_checkpoint *checkpoint,
                             wtl_error *err)
{
    return wtl_optimizer_load(finetune->optimizer, checkpoint, err);
}
