/* finetune_run.h - training a pruned checkpoint further, its masks held: a run that can be
 * interrupted, killed and resumed.
 *
 * A run is a folder:
 *   config.json         the options, resolved; can be loaded back
 *   metrics.csv         step,epochs,rate,train_loss,train_top1,val_loss,val_top1,val_top5: a
 *                       row before the first step, one an epoch, one with the result
 *   ckpt/last.wtl       where the run stands, to go on bit for bit
 *   ckpt/finetuned.wtl  the result
 * Validation images are those that the checkpoint's training held out (wattle/split.h),
 * whatever the seed: they are never trained on.
 */
#ifndef WATTLE_FINETUNE_RUN_H
#define WATTLE_FINETUNE_RUN_H

#include "wattle/finetune.h"
#include "wattle/loss.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_finetune_run_options {
    char checkpoint[1024]; /* CKPT as the user wrote it */
    char data[1024];       /* DATA as the user wrote it, no part */
    char masks[1024];      /* an .npz of masks (wattle/mask.h) to put on at first; "": none */
    char teacher[1024];    /* CKPT that is learned from with finetune.distill > 0 */
    double epochs;         /* fractions too; 0: 1 */
    wtl_finetune_options finetune;
    int batch;           /* 0: 128 */
    char augment[32];    /* a preset's name; "": none */
    int recalibration;   /* batches that batch norm is recalibrated over at the end; 0: 50;
                          negative: none */
    uint64_t seed;       /* of order, augmentation and dropout; not of the split */
    int threads;         /* 0: all available */
    int workers;         /* decoding threads; 0: 1 */
    double save_minutes; /* a checkpoint this often; 0: 5 */
} wtl_finetune_run_options;

/* Fill in the defaults: 1 epoch, nesterov 0.9, decay 5e-4, rate 0.01 to 0, batch 128, and an
 * exact value for every "0:" above but threads. */
WTL_API void wtl_finetune_run_defaults(wtl_finetune_run_options *options);

struct json_t;
/* As wtl_train_options_to_json() and ..._from_json(). */
WTL_API struct json_t *
wtl_finetune_run_options_to_json(const wtl_finetune_run_options *options) WTL_MUST_CHECK;
WTL_API wtl_status wtl_finetune_run_options_from_json(wtl_finetune_run_options *options,
                                                      const struct json_t *json,
                                                      const char *file,
                                                      wtl_error *err) WTL_MUST_CHECK;

typedef struct wtl_finetune_event {
    enum {
        WTL_FINETUNE_NOTE,  /* note */
        WTL_FINETUNE_STAGE, /* stage begins or goes on: done of total */
        WTL_FINETUNE_EPOCH  /* an epoch's worth of steps, or the last part of one, is done */
    } kind;
    const char *stage; /* "validate", "fine-tune", "recalibrate" */
    long done, total;  /* images or steps */
    double loss, top1; /* means, percent: STAGE fine-tune of the training images so far,
                          EPOCH of the epoch's */
    double epochs;     /* EPOCH: so far */
    double rate;       /* EPOCH: of the last step */
    const char *note;  /* one line, e.g. an unreadable picture */
} wtl_finetune_event;

typedef struct wtl_finetune_hooks {
    void (*event)(void *context, const wtl_finetune_event *event);
    double (*seconds)(void *context); /* a monotonic clock; NULL: saved once an epoch */
    int (*stop)(void *context);       /* non-zero: save and return WTL_E_STOPPED */
    void *context;
} wtl_finetune_hooks; /* each may be NULL */

typedef struct wtl_finetune_result {
    wtl_scores before, after;      /* on the validation images; loss is their sum. `before` is
                                      known as soon as the training begins, whatever comes
                                      after; without images it is not */
    size_t weights, kept, nonzero; /* prunable ones; of them; of these at the end */
    uint64_t steps;
    double epochs;
} wtl_finetune_result;

/* Fine-tune into the folder `run`. New runs refuse a folder that holds one, unless `force`;
 * nothing is written before checkpoint, data and options are found good. With `resume` the
 * run's config.json is read and `options` (may be NULL) is ignored but for threads (0: as
 * before): the run goes on bit for bit, or begins again if it was killed before its first
 * checkpoint; a finished one only tells its result. hooks and result may be NULL.
 *   WTL_E_STOPPED  stopped by the hook; saved
 *   WTL_E_NAN      checkpoint or training is not finite; last.wtl is the last good state
 *   WTL_E_ARG      an option, a run that is there, or a checkpoint whose training held nothing
 *                  out
 *   WTL_E_MISSING, WTL_E_FORMAT, WTL_E_SHAPE, WTL_E_WRITE, WTL_E_NOMEM, WTL_E_SYSTEM */
WTL_API wtl_status wtl_finetune_to_folder(const char *run,
                                          const wtl_finetune_run_options *options, bool resume,
                                          bool force, const wtl_finetune_hooks *hooks,
                                          wtl_finetune_result *result,
                                          wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
