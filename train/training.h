/* training.h - the parts of a training run, opened and put together. The loop over them is
 * in trainer.c.
 */
#ifndef WTL_TRAINING_H
#define WTL_TRAINING_H

#include "run_folder.h"
#include "train_state.h"
#include "wattle/trainer.h"

enum { WTL_TRAINING_NOTES = 8 };

typedef struct wtl_training {
    wtl_train_options options; /* resolved: as config.json has them */
    wtl_run_folder *folder;
    wtl_dataset *train_data;
    wtl_dataset *val_data; /* NULL without validation */
    wtl_netdef *def;
    wtl_net *net;
    wtl_optimizer *optimizer;
    wtl_batcher *batcher;
    size_t batches; /* in an epoch */
    wtl_train_state state;
    bool resumed;         /* state is that of last.wtl */
    double epoch_seconds; /* what the epoch under way took before it was interrupted */
    int note_count;       /* what the user should know about how the run was put together */
    char notes[WTL_TRAINING_NOTES][256];
} wtl_training;

/* Open a new run or resume one, as wtl_train() says. *t is closed by the caller, also on
 * failure. Nothing is written before everything else has succeeded. */
wtl_status wtl_training_open(wtl_training *t, const char *run, const wtl_train_options *options,
                             bool resume, bool force, wtl_error *err) WTL_MUST_CHECK;
void wtl_training_close(wtl_training *t);

/* ckpt/last.wtl: weights, optimizer, position, history. */
wtl_status wtl_training_save_last(const wtl_training *t, wtl_error *err) WTL_MUST_CHECK;
/* ckpt/best.wtl: the weights the net has now (averaged ones while they are swapped in) and
 * their validation scores. */
wtl_status wtl_training_save_best(const wtl_training *t, const wtl_train_row *row,
                                  wtl_error *err) WTL_MUST_CHECK;

#endif
