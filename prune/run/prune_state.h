/* prune_state.h - where a pruning run stands, beside its weights: what goes into last.wtl's meta
 * "pruning", so that the run goes on to the same result. No timings: they would make two equal
 * runs differ. */
#ifndef WTL_PRUNE_STATE_H
#define WTL_PRUNE_STATE_H

#include "wattle/checkpoint.h"
#include "wattle/prune.h"

/* What a round does. */
typedef enum wtl_round_kind {
    WTL_ROUND_STEP,    /* prune to the goal, fine-tune */
    WTL_ROUND_CHANCE,  /* a round that lost too much: fine-tune for final_epochs */
    WTL_ROUND_CORRECT, /* trim to the target, fine-tune gently */
    WTL_ROUND_POLISH   /* the last that held: fine-tune for final_epochs */
} wtl_round_kind;

typedef enum wtl_round_stage {
    WTL_STAGE_PRUNE,
    WTL_STAGE_TUNE,
    WTL_STAGE_JUDGE,
    WTL_STAGE_FINISHED
} wtl_round_stage;

/* One round's outcome; energies as shares of dense. */
typedef struct wtl_prune_row {
    double goal, energy, density;
    double val_loss, val_top1, val_top5; /* percent */
    double drop;                         /* points of the metric; negative: better */
    double epochs;                       /* of its fine-tuning */
    bool held;
    double seconds; /* of the run so far; NaN: unknown; not in checkpoints */
} wtl_prune_row;

typedef struct wtl_prune_state {
    int kind, stage;  /* of the round under way */
    double goal;      /* its energy, as a share of dense */
    double drift;     /* energy after fine-tuning / energy pruned to, of the last step */
    double pruned_to; /* energy right after pruning, zeros of maps as before: a share */
    /* the way to the present target and limit, as in the options */
    double target, limit;
    double step;          /* what a step leaves of the energy above the floor */
    double campaign_from; /* energy where it began, a share */
    int campaign_round, campaign_rounds;
    int corrections, refinements;
    bool approached;   /* the step before the last was taken, or is under way */
    int present, held; /* rounds (from 1; 0: the dense net) that made the net as it is, and
                           held.wtl */
    bool polished;     /* final_epochs were spent on the present net */
    bool held_polished;
    bool met;
    /* the dense net */
    double dense_energy, dense_held_out; /* absolute */
    double floor;                        /* share of dense */
    double dense_loss, dense_top1, dense_top5;
    double epochs; /* of fine-tuning, in all */
    int plan_lines;
    wtl_finetune_state tune;
    uint32_t train_hash, val_hash; /* of the data */
    char why[256];
    wtl_prune_row *rows; /* [row_capacity], round_count are filled */
    int round_count, row_capacity;
} wtl_prune_state;

/* Append a row. WTL_E_NOMEM. */
wtl_status wtl_prune_state_add(wtl_prune_state *state, const wtl_prune_row *row,
                               wtl_error *err);
void wtl_prune_state_clear(wtl_prune_state *state);

wtl_status wtl_prune_state_save(const wtl_prune_state *state, wtl_checkpoint *checkpoint,
                                wtl_error *err);
/* WTL_E_FORMAT: not the state of a pruning run. `file` is for messages. On failure clear the
 * state. */
wtl_status wtl_prune_state_load(wtl_prune_state *state, const wtl_checkpoint *checkpoint,
                                const char *file, wtl_error *err);

#endif
