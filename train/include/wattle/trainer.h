/* trainer.h - training runs: epochs, evaluation, checkpoints, logs, interruption.
 *
 * A run is a folder:
 *   config.json   the options, resolved; can be loaded back
 *   env.json      version, processor, BLAS, threads, seed, data hash
 *   metrics.csv   one row an epoch
 *   log.jsonl     one JSON object an event
 *   ckpt/last.wtl, ckpt/best.wtl (by validation top-1)
 *   plots/loss.svg, plots/accuracy.svg
 * last.wtl holds all that is needed to go on bit for bit, mid-epoch included.
 */
#ifndef WATTLE_TRAINER_H
#define WATTLE_TRAINER_H

#include "wattle/batcher.h"
#include "wattle/loss.h"
#include "wattle/optimizer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_train_options {
    char net[256];   /* NET as the user wrote it */
    char data[1024]; /* DATA as the user wrote it */
    char from[1024]; /* start from this checkpoint's weights; "" for none */
    int epochs;
    int batch;
    wtl_optimizer_options optimizer;
    wtl_schedule schedule;
    float smoothing;
    char augment[32]; /* a preset's name, see wtl_augment_preset() */
    int cutout;
    double val_share; /* held out of train; 0 means 0.1 */
    bool whole_train; /* train on all of it: no validation, no best.wtl */
    uint64_t seed;
    int threads; /* 0: all available */
    int workers; /* decoding threads; 0 means 1 */
    wtl_engine engine;
    double save_minutes; /* a mid-epoch checkpoint this often; 0 means 5 */
} wtl_train_options;

/* Fill in what a new user would want (net and data stay ""): 10 epochs, batch 128, nesterov 0.9, decay 5e-4,
 * onecycle peak 0.1, no smoothing, augment "none". */
WTL_API void wtl_train_defaults(wtl_train_options *options);

typedef struct wtl_train_event {
    enum { WTL_TRAIN_STEP, WTL_TRAIN_EPOCH, WTL_TRAIN_SAVED, WTL_TRAIN_NOTE } kind;
    int epoch, epochs;                   /* epoch counts from 1 */
    long step, steps;                    /* in this epoch */
    double loss, top1;                   /* of this epoch so far (training images); here
                                            and below losses are means, top-k percent */
    double val_loss, val_top1, val_top5; /* EPOCH; NaN without validation */
    double rate;                         /* learning rate */
    double images_per_second, eta_seconds;
    const char *note; /* NOTE: one line, e.g. an unreadable picture */
} wtl_train_event;

typedef struct wtl_train_hooks {
    void (*event)(void *context, const wtl_train_event *event); /* may be NULL */
    double (*seconds)(void *context); /* a monotonic clock; NULL: no timings */
    int (*stop)(void *context);       /* asked before each step and after each batch of the
                                         validation; non-zero: save and return WTL_E_STOPPED;
                                         may be NULL */
    void *context;
} wtl_train_hooks;

typedef struct wtl_train_result {
    int epochs;
    double train_loss, train_top1;
    double val_loss, val_top1, val_top5; /* of the last epoch */
    double best_val_top1;
    int best_epoch;
    double seconds; /* of this call */
} wtl_train_result; /* without a validation or an epoch, what is missing is NaN */

/* Train into the folder `run`. A new run refuses a folder that has a checkpoint unless
 * `force`; nothing is written before data, net and options are found good. With `resume` the
 * run's config.json is read and `options` (may be NULL) is ignored but for threads and epochs
 * (0: as before): the run goes on bit for bit, or begins again if it was killed before its
 * first checkpoint. With `from` and an empty `net` the net is that of the checkpoint. `hooks`
 * and `result` may be NULL. Checkpoints hold the meta "config", "data" (name, split_seed,
 * val_share, whole_train: what finds the held-out images again), in last.wtl "training" and
 * "optimizer", in best.wtl "best"; best.wtl has the averaged weights when there is an EMA.
 *   WTL_E_STOPPED  stopped by the hook; saved
 *   WTL_E_NAN      the loss became NaN; last.wtl is the last good state
 *   WTL_E_MISSING, WTL_E_FORMAT, WTL_E_SHAPE, WTL_E_WRITE, WTL_E_NOMEM, WTL_E_ARG */
WTL_API wtl_status wtl_train(const char *run, const wtl_train_options *options, bool resume,
                             bool force, const wtl_train_hooks *hooks, wtl_train_result *result,
                             wtl_error *err) WTL_MUST_CHECK;

/* Options to and from JSON (config.json). The first gives NULL without memory or where a
 * string is not UTF-8. In the second, keys that are not there keep their value in *options
 * (so begin with wtl_train_defaults()); unknown keys and bad values are named with `file`
 * (WTL_E_FORMAT) and leave *options alone. */
struct json_t;
WTL_API struct json_t *wtl_train_options_to_json(const wtl_train_options *options);
WTL_API wtl_status wtl_train_options_from_json(wtl_train_options *options,
                                               const struct json_t *json, const char *file,
                                               wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
