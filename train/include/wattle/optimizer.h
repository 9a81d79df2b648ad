/* optimizer.h - steps that change a net's parameters, and learning-rate schedules.
 *
 *   sgd       v = momentum*v + g + decay*w;  w -= rate*v
 *   nesterov  the same v;                    w -= rate*(g + decay*w + momentum*v)
 *   adam      decoupled weight decay (AdamW): m, s as Kingma & Ba, bias corrected,
 *             w -= rate*(m/(sqrt(s)+eps) + decay*w)
 * Weight decay leaves out biases and batch norm's scale and shift unless asked. A masked
 * weight, its momentum and its average are exactly 0 after every step.
 */
#ifndef WATTLE_OPTIMIZER_H
#define WATTLE_OPTIMIZER_H

#include "wattle/checkpoint.h"
#include "wattle/net.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wtl_optimizer_kind {
    WTL_OPTIMIZER_SGD,
    WTL_OPTIMIZER_NESTEROV,
    WTL_OPTIMIZER_ADAM
} wtl_optimizer_kind;

typedef struct wtl_optimizer_options {
    wtl_optimizer_kind kind;
    double momentum;       /* sgd, nesterov; Adam's beta1 */
    double beta2, epsilon; /* Adam; 0 means 0.999 and 1e-8 */
    double weight_decay;
    bool decay_all;   /* biases and norm parameters decay too (Caffe decays biases not) */
    double clip_norm; /* largest l2 norm of the whole gradient; 0: no clipping */
    double ema;       /* decay of an average of the weights and running statistics, lower in
                         the first steps: min(ema, (1+t)/(10+t)); 0: none */
    int threads;
} wtl_optimizer_options;

/* The kinds' names by their value, ended by NULL: "sgd", "nesterov", "adam". */
WTL_API extern const char *const wtl_optimizer_words[];

/* Nesterov with momentum 0.9 and weight decay 5e-4; beta2 0.999, epsilon 1e-8; no more. */
WTL_API void wtl_optimizer_defaults(wtl_optimizer_options *options);

typedef struct wtl_optimizer wtl_optimizer;

/* For `net`, which must outlive it. WTL_E_ARG, WTL_E_RANGE, WTL_E_NOMEM */
WTL_API wtl_status wtl_optimizer_create(wtl_optimizer **out, wtl_net *net,
                                        const wtl_optimizer_options *options,
                                        wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_optimizer_free(wtl_optimizer *optimizer); /* takes NULL */

/* As it was created: no momentum, averages that begin at the weights as they are now, no steps
 * counted. Masks hold at once. */
WTL_API void wtl_optimizer_reset(wtl_optimizer *optimizer);

/* One step at learning rate `rate`; returns the gradient's l2 norm before clipping (NaN if a
 * gradient is not finite; then nothing is changed). */
WTL_API double wtl_optimizer_step(wtl_optimizer *optimizer, double rate);

/* Exchange the net's weights with their averages (call twice to return); both are 0 where
 * they are masked. Nothing without EMA. */
WTL_API void wtl_optimizer_swap_ema(wtl_optimizer *optimizer);

/* The state as tensors "optimizer.NAME.momentum", ".second" (Adam), ".average" (EMA), and the
 * step count as meta "optimizer"; and back. The tensors must stay until the write. Loading
 * holds the masks: what is masked becomes 0.
 *   WTL_E_MISSING, WTL_E_SHAPE (names the tensor), WTL_E_NOMEM */
WTL_API wtl_status wtl_optimizer_save(wtl_optimizer *optimizer, wtl_checkpoint *checkpoint,
                                      wtl_error *err) WTL_MUST_CHECK;
WTL_API wtl_status wtl_optimizer_load(wtl_optimizer *optimizer,
                                      const wtl_checkpoint *checkpoint,
                                      wtl_error *err) WTL_MUST_CHECK;

typedef enum wtl_schedule_kind {
    WTL_SCHEDULE_CONSTANT,
    WTL_SCHEDULE_STEP,    /* times gamma every `step_epochs` */
    WTL_SCHEDULE_COSINE,  /* to `final_share` of the peak along half a cosine */
    WTL_SCHEDULE_ONECYCLE /* linear up over warm-up, linear down to final_share */
} wtl_schedule_kind;

typedef struct wtl_schedule {
    wtl_schedule_kind kind;
    double peak;
    double warmup_epochs;      /* linear from peak/100; onecycle: 0 means 30 % of the run */
    double step_epochs, gamma; /* step; step_epochs 0 means a third of the run */
    double final_share;        /* cosine, onecycle: 0..1 of the peak at the end */
} wtl_schedule;

/* The rate at a position in [0, epochs], in epochs (fractions are steps). */
WTL_API double wtl_schedule_rate(const wtl_schedule *schedule, double position, double epochs);

#ifdef __cplusplus
}
#endif
#endif
