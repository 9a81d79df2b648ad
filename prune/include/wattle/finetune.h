/* finetune.h - training a pruned net: masks held, optionally taught by the dense net.
 *
 * One fine-tuning is `steps` optimiser steps. Batches come from one endless stream of shuffled
 * epochs; fine-tunings of a run continue it, so that a share of an epoch is fair over rounds.
 *
 * With distillation of weight a at temperature T the loss of the main head is
 *   (1 - a) * CE(labels, softmax(z)) + a * T^2 * KL(softmax(z_teacher / T) || softmax(z / T))
 * (Hinton, Vinyals, Dean 2015); auxiliary heads learn the labels alone.
 */
#ifndef WATTLE_FINETUNE_H
#define WATTLE_FINETUNE_H

#include "wattle/batcher.h"
#include "wattle/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_finetune_options {
    wtl_optimizer_options optimizer;
    double rate;        /* of the first step of each fine-tuning */
    double final_share; /* the rate falls along half a cosine to rate * final_share */
    float smoothing;
    double distill;     /* a, 0..1; 0: no teacher */
    double temperature; /* T; 0: 2 */
} wtl_finetune_options;

/* The optimizer's defaults at rate 0.01, falling to 0; temperature 2, no distillation. */
WTL_API void wtl_finetune_defaults(wtl_finetune_options *options);

typedef struct wtl_finetune wtl_finetune;

/* `net` is a training net (masks set), `teacher` an inference net of the same input and classes
 * and at least its batch, or NULL without distillation; `batcher` shuffles. All are kept and
 * must outlive it. WTL_E_ARG, WTL_E_RANGE, WTL_E_SHAPE, WTL_E_NOMEM */
WTL_API wtl_status wtl_finetune_create(wtl_finetune **out, wtl_net *net, wtl_net *teacher,
                                       wtl_batcher *batcher,
                                       const wtl_finetune_options *options,
                                       wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_finetune_free(wtl_finetune *finetune); /* takes NULL */

typedef struct wtl_finetune_state {
    uint64_t
        position; /* batches taken from the stream, ever: keys order, augmentation, dropout */
    uint64_t step, steps; /* of the present fine-tuning: done, in all */
    double rate;          /* its first learning rate; 0: as in the options */
    double loss;          /* sums of the present fine-tuning */
    long top1, images;
} wtl_finetune_state;

/* Forget momentum (and averages): call when a fine-tuning begins, after the masks changed. */
WTL_API void wtl_finetune_reset(wtl_finetune *finetune);

/* Exchange the net's weights with their averages (call twice to return). Nothing without EMA. */
WTL_API void wtl_finetune_swap_ema(wtl_finetune *finetune);

/* Go on until state->step == state->steps. `tick` (may be NULL) is called after each step and
 * may return non-zero to leave early with WTL_OK: state and net then stand between two steps
 * and can be saved. The masks' weights are exactly 0 whenever it is called.
 *   WTL_E_NAN  the loss or gradient is not finite; weights and state stand before that step
 *   and what the batcher returns */
WTL_API wtl_status wtl_finetune_run(wtl_finetune *finetune, wtl_finetune_state *state,
                                    int (*tick)(void *context, const wtl_finetune_state *state),
                                    void *context, wtl_error *err) WTL_MUST_CHECK;

/* Momentum and its like for a checkpoint, and back (wattle/optimizer.h). */
WTL_API wtl_status wtl_finetune_save(wtl_finetune *finetune, wtl_checkpoint *checkpoint,
                                     wtl_error *err) WTL_MUST_CHECK;
WTL_API wtl_status wtl_finetune_load(wtl_finetune *finetune, const wtl_checkpoint *checkpoint,
                                     wtl_error *err) WTL_MUST_CHECK;

/* gradient [n,k] := (1 - a) * gradient + scale * a * T * (softmax(z/T) - softmax(z_teacher/T));
 * returns a * T^2 * the sum of the KLs over the n images, unscaled. */
WTL_API double wtl_distill(int n, int k, const float *logits, const float *teacher_logits,
                           double a, double temperature, float scale, float *gradient);

#ifdef __cplusplus
}
#endif
#endif
