/* finetune.c - optimiser steps on a pruned net along an endless stream of batches. */
#include "wattle/finetune.h"

#include "wattle/loss.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

struct wtl_finetune {
    wtl_net *net, *teacher;
    wtl_batcher *batcher;
    wtl_optimizer *optimizer;
    wtl_finetune_options options;
    uint64_t next; /* the position that the batcher stands at; UINT64_MAX: at none */
};

static wtl_status check(const wtl_net *net, const wtl_net *teacher,
                        const wtl_finetune_options *o, wtl_error *err)
{
    const wtl_head *head = wtl_net_main_head(net);
    if (!wtl_net_options_of(net)->training || !head) {
        return wtl_fail(err, WTL_E_ARG, "fine-tuning: net %s was not planned for training",
                        wtl_net_def(net)->name);
    }
    if (!(o->rate >= 0.0) || !(o->final_share >= 0.0 && o->final_share <= 1.0) ||
        !(o->distill >= 0.0 && o->distill <= 1.0) || !(o->temperature >= 0.0)) {
        return wtl_fail(err, WTL_E_RANGE,
                        "fine-tuning: rate %g, final share %g, distillation %g at temperature "
                        "%g: one is outside its meaning",
                        o->rate, o->final_share, o->distill, o->temperature);
    }
    if (o->distill == 0.0) {
        return WTL_OK;
    }
    const wtl_head *other = teacher ? wtl_net_main_head(teacher) : NULL;
    if (!other) {
        return wtl_fail(err, WTL_E_ARG, "fine-tuning: distillation needs a teacher");
    }
    if (other->classes != head->classes ||
        wtl_shape_count(wtl_net_def(teacher)->input) !=
            wtl_shape_count(wtl_net_def(net)->input) ||
        wtl_net_options_of(teacher)->batch < wtl_net_options_of(net)->batch) {
        return wtl_fail(
            err, WTL_E_SHAPE,
            "fine-tuning: the teacher takes other pictures, classes or batches than "
            "net %s",
            wtl_net_def(net)->name);
    }
    return WTL_OK;
}

wtl_status wtl_finetune_create(wtl_finetune **out, wtl_net *net, wtl_net *teacher,
                               wtl_batcher *batcher, const wtl_finetune_options *options,
                               wtl_error *err)
{
    *out = NULL;
    wtl_status status = check(net, teacher, options, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_finetune *f = wtl_alloc(1, sizeof *f);
    if (!f) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for fine-tuning");
    }
    *f = (wtl_finetune){.net = net,
                        .teacher = options->distill > 0.0 ? teacher : NULL,
                        .batcher = batcher,
                        .options = *options,
                        .next = UINT64_MAX};
    f->options.temperature = options->temperature > 0.0 ? options->temperature : 2.0;
    status = wtl_optimizer_create(&f->optimizer, net, &options->optimizer, err);
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
        wtl_free(finetune);
    }
}

void wtl_finetune_reset(wtl_finetune *finetune)
{
    wtl_optimizer_reset(finetune->optimizer);
}

wtl_status wtl_finetune_save(wtl_finetune *finetune, wtl_checkpoint *checkpoint, wtl_error *err)
{
    return wtl_optimizer_save(finetune->optimizer, checkpoint, err);
}

wtl_status wtl_finetune_load(wtl_finetune *finetune, const wtl_checkpoint *checkpoint,
                             wtl_error *err)
{
    return wtl_optimizer_load(finetune->optimizer, checkpoint, err);
}

/* ---- the stream ---- */

/* The batch at state->position or, where that one's pictures cannot be read, the next that
 * there is; the position moves to it. */
static wtl_status next_batch(wtl_finetune *f, wtl_finetune_state *state, wtl_batch *batch,
                             wtl_error *err)
{
    uint64_t batches = wtl_batcher_count(f->batcher);
    for (int epochs = 0; epochs < 2; epochs++) {
        wtl_status status = WTL_OK;
        uint64_t epoch = state->position / batches, first = state->position % batches;
        if (f->next != state->position || first == 0) {
            status = wtl_batcher_start(f->batcher, epoch, (size_t)first, err);
        }
        if (status == WTL_OK) {
            status = wtl_batcher_next(f->batcher, batch, err);
        }
        if (status != WTL_OK) {
            f->next = UINT64_MAX;
            return status;
        }
        state->position = epoch * batches + batch->number;
        f->next = state->position + 1;
        if (batch->count > 0) {
            return WTL_OK;
        }
    }
    return wtl_fail(err, WTL_E_FORMAT, "fine-tuning: not one image could be read");
}

/* ---- one step ---- */

static double rate_now(const wtl_finetune *f, const wtl_finetune_state *state)
{
    double first = state->rate > 0.0 ? state->rate : f->options.rate;
    double last = first * f->options.final_share;
    double done = (double)state->step / (double)state->steps;
    return last + (first - last) * 0.5 * (1.0 + cos(acos(-1.0) * done));
}

static void ask_teacher(const wtl_finetune *f, const wtl_batch *batch)
{
    size_t image = wtl_shape_count(wtl_net_def(f->net)->input);
    memcpy(wtl_net_input(f->teacher), batch->images,
           (size_t)batch->count * image * sizeof(float));
    wtl_net_forward(f->teacher, batch->count, WTL_RUN_INFERENCE, 0);
    const wtl_head *head = wtl_net_main_head(f->net);
    (void)wtl_distill(batch->count, head->classes, head->logits,
                      wtl_net_main_head(f->teacher)->logits, f->options.distill,
                      f->options.temperature, head->weight / (float)batch->count,
                      head->gradient);
}

static wtl_status diverged(const wtl_finetune_state *state, const char *what, wtl_error *err)
{
    return wtl_fail(
        err, WTL_E_NAN,
        "fine-tuning, step %llu of %llu: %s is not finite; a lower learning rate or "
        "clipping may help",
        (unsigned long long)state->step + 1, (unsigned long long)state->steps, what);
}

static wtl_status step(wtl_finetune *f, wtl_finetune_state *state, wtl_error *err)
{
    wtl_batch batch;
    wtl_finetune_state after = *state;
    wtl_status status = next_batch(f, &after, &batch, err);
    if (status != WTL_OK) {
        return status;
    }
    size_t image = wtl_shape_count(wtl_net_def(f->net)->input);
    memcpy(wtl_net_input(f->net), batch.images, (size_t)batch.count * image * sizeof(float));
    wtl_net_forward(f->net, batch.count, WTL_RUN_TRAINING, after.position);
    wtl_scores scores = {0};
    double loss =
        wtl_net_loss(f->net, batch.count, batch.labels, f->options.smoothing, &scores);
    if (!isfinite(loss)) {
        return diverged(state, "the loss", err);
    }
    if (f->teacher) {
        ask_teacher(f, &batch);
    }
    wtl_net_backward(f->net, batch.count);
    if (isnan(wtl_optimizer_step(f->optimizer, rate_now(f, state)))) {
        return diverged(state, "the gradient", err);
    }
    after.position++;
    after.step++;
    after.loss += scores.loss;
    after.top1 += scores.top1;
    after.images += scores.images;
    *state = after;
    return WTL_OK;
}

wtl_status wtl_finetune_run(wtl_finetune *finetune, wtl_finetune_state *state,
                            int (*tick)(void *context, const wtl_finetune_state *state),
                            void *context, wtl_error *err)
{
    while (state->step < state->steps) {
        wtl_status status = step(finetune, state, err);
        if (status != WTL_OK) {
            return status;
        }
        if (tick && tick(context, state)) {
            break;
        }
    }
    return WTL_OK;
}
