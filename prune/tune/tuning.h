/* tuning.h - everything a fine-tuning run works with, opened and put together, and its
 * checkpoints; the course of the run is in finetune_run.c. */
#ifndef WTL_TUNING_H
#define WTL_TUNING_H

#include "tuning_state.h"

typedef struct wtl_tuning {
    wtl_finetune_run_options options;          /* resolved */
    char *config, *metrics, *last, *finetuned; /* paths */
    char *checkpoints;                         /* the folder they are in */
    wtl_checkpoint *from;                      /* what the run began with, or last.wtl */
    wtl_dataset *train, *val;
    wtl_batcher *batcher;     /* training images, shuffled and augmented */
    wtl_batcher *calibration; /* the same as evaluation sees them; NULL: nothing to
                                 recalibrate */
    wtl_net *net, *teacher;   /* teacher is NULL without distillation */
    wtl_finetune *finetune;
    wtl_tuning_state state;
    bool resumed; /* state is that of last.wtl */
} wtl_tuning;

/* Open a new run or resume one, as wtl_finetune_to_folder() says. A finished run that is
 * resumed has *result filled and *finished set, and nothing else is opened. *t is closed by
 * the caller, also on failure. Nothing is written before everything else has succeeded. */
wtl_status wtl_tuning_open(wtl_tuning *t, const char *run,
                           const wtl_finetune_run_options *options, bool resume, bool force,
                           wtl_finetune_result *result, bool *finished,
                           wtl_error *err) WTL_MUST_CHECK;
void wtl_tuning_close(wtl_tuning *t);

/* ckpt/last.wtl: weights, masks, optimiser, position. */
wtl_status wtl_tuning_save_last(const wtl_tuning *t, wtl_error *err) WTL_MUST_CHECK;
/* ckpt/finetuned.wtl: the net as it is now, and the outcome. */
wtl_status wtl_tuning_save_result(const wtl_tuning *t, const wtl_finetune_result *result,
                                  wtl_error *err) WTL_MUST_CHECK;

#endif
