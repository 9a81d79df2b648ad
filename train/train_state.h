/* train_state.h - where a training run stands, beside its weights: what goes into a
 * checkpoint's meta "training", so that the run goes on bit for bit. No timings: they would
 * make two equal runs differ.
 */
#ifndef WTL_TRAIN_STATE_H
#define WTL_TRAIN_STATE_H

#include "wattle/checkpoint.h"
#include "wattle/loss.h"

/* One epoch's results. Losses are means over images, top-1 and top-5 percent. */
typedef struct wtl_train_row {
    double rate; /* of the last step */
    double train_loss, train_top1;
    double val_loss, val_top1, val_top5; /* NaN without validation */
    double seconds;                      /* NaN if not known; not in checkpoints */
} wtl_train_row;

typedef struct wtl_train_state {
    int epoch;       /* epochs done, evaluation included */
    size_t batch;    /* batches done of the one under way; all of them: only its evaluation
                        is missing */
    uint64_t step;   /* batches in all; keys dropout */
    wtl_scores sums; /* of the epoch under way */
    double rate;     /* of the last step */
    uint32_t train_hash, val_hash; /* of the data; val_hash 0 without validation */
    wtl_train_row *rows;           /* [row_capacity], the first `epoch` are filled */
    int row_capacity;
} wtl_train_state;

/* Make room for `epochs` rows. WTL_E_NOMEM. */
wtl_status wtl_train_state_reserve(wtl_train_state *state, int epochs,
                                   wtl_error *err) WTL_MUST_CHECK;
void wtl_train_state_clear(wtl_train_state *state);

/* The row of the best validation top-1 (the first of equals), or -1. */
int wtl_train_state_best(const wtl_train_state *state);

wtl_status wtl_train_state_save(const wtl_train_state *state, wtl_checkpoint *checkpoint,
                                wtl_error *err) WTL_MUST_CHECK;
/* WTL_E_FORMAT: not the state of a run whose epochs have `batches` batches. On failure
 * clear the state. `file` is for messages. */
wtl_status wtl_train_state_load(wtl_train_state *state, const wtl_checkpoint *checkpoint,
                                size_t batches, const char *file,
                                wtl_error *err) WTL_MUST_CHECK;

#endif
