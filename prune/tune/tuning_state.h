/* tuning_state.h - where a fine-tuning run stands, beside its weights: last.wtl's meta
 * "tuning", so that the run goes on bit for bit; and its outcome, finetuned.wtl's "finetuned".
 * No timings: they would make two equal runs differ. */
#ifndef WTL_TUNING_STATE_H
#define WTL_TUNING_STATE_H

#include "wattle/checkpoint.h"
#include "wattle/finetune_run.h"

/* Where an epoch's worth of steps ended; sums since the first step. */
typedef struct wtl_tuning_row {
    uint64_t step;
    double loss;
    long top1, images;
} wtl_tuning_row;

typedef struct wtl_tuning_state {
    wtl_finetune_state tune;
    wtl_scores before;                           /* the checkpoint's on the validation images */
    uint32_t train_hash, val_hash, teacher_hash; /* of the data; of weights, 0: no teacher */
    wtl_tuning_row *rows;                        /* [row_capacity], row_count are filled */
    int row_count, row_capacity;
} wtl_tuning_state;

/* Append where state->tune stands. WTL_E_NOMEM. */
wtl_status wtl_tuning_state_add(wtl_tuning_state *state, wtl_error *err) WTL_MUST_CHECK;
void wtl_tuning_state_clear(wtl_tuning_state *state);

wtl_status wtl_tuning_state_save(const wtl_tuning_state *state, wtl_checkpoint *checkpoint,
                                 wtl_error *err) WTL_MUST_CHECK;
/* WTL_E_FORMAT: not the state of a fine-tuning run. `file` is for messages. On failure clear
 * the state. */
wtl_status wtl_tuning_state_load(wtl_tuning_state *state, const wtl_checkpoint *checkpoint,
                                 const char *file, wtl_error *err) WTL_MUST_CHECK;

wtl_status wtl_tuning_result_save(const wtl_finetune_result *result, wtl_checkpoint *checkpoint,
                                  wtl_error *err) WTL_MUST_CHECK;
/* WTL_E_FORMAT: not the outcome of a fine-tuning run. */
wtl_status wtl_tuning_result_load(wtl_finetune_result *result, const wtl_checkpoint *checkpoint,
                                  const char *file, wtl_error *err) WTL_MUST_CHECK;

#endif
