/* run_private.h - what the files of a pruning run share.
 *
 *   run.c             the course: prune, fine-tune, judge
 *   decide.c          what the next round is, and when it ends
 *   open.c            beginning, resuming, extending
 *   run_checkpoint.c  last.wtl, held.wtl, pruned.wtl; rows, plan lines, notes
 */
#ifndef WTL_RUN_PRIVATE_H
#define WTL_RUN_PRIVATE_H

#include "prune_folder.h"
#include "prune_state.h"
#include "session.h"

#include <jansson.h>

enum {
    WTL_GRADUAL_STEPS = 4,  /* that a gradual method makes of one */
    WTL_NO_ROUNDS = 1000000 /* a campaign of as many rounds as it takes */
};

/* How near the target is near enough. */
#define WTL_ENERGY_TOLERANCE 0.005

typedef struct wtl_run {
    wtl_session s;
    wtl_prune_state st;
    wtl_prune_folder *folder;
    const wtl_prune_hooks *hooks;
    double earlier, began, last_save; /* seconds: of earlier calls; of the clock */
    double *sensitivity;              /* [layer][level], once it is known */
    wtl_method_step *steps;           /* [layer_count]: what the method reported */
    int *order, order_count;          /* of the reports */
} wtl_run;

/* ---- run_checkpoint.c ---- */

static inline bool wtl_run_targeted(const wtl_run *r)
{
    return r->s.options.target_energy > 0.0;
}

static inline bool wtl_run_limited(const wtl_run *r)
{
    return r->s.options.max_drop >= 0.0;
}

static inline double wtl_run_batches(const wtl_run *r) /* an epoch's */
{
    return (double)wtl_batcher_count(r->s.batcher);
}

double wtl_run_clock(const wtl_run *r);
double wtl_run_seconds(const wtl_run *r); /* of all calls; NaN without a clock */

/* The row of round `number`, from 1; 0 is the dense net. */
wtl_prune_row wtl_run_row(const wtl_run *r, int number);
double wtl_run_energy(const wtl_run *r); /* of the net as it is, a share of dense */

void wtl_run_note(const wtl_run *r, const char *format, ...) WTL_PRINTF(2, 3);
/* Append to plan.jsonl; takes over `object`, NULL means memory was short. */
wtl_status wtl_run_plan(wtl_run *r, json_t *object, wtl_error *err);
wtl_status wtl_run_decided(wtl_run *r, const char *what, const char *why, wtl_error *err);

wtl_status wtl_run_write(const wtl_run *r, wtl_prune_file file, wtl_error *err);
wtl_status wtl_run_load(wtl_run *r, wtl_prune_file file, wtl_error *err);
wtl_status wtl_run_save(wtl_run *r, wtl_error *err); /* last.wtl, with the state */

/* ---- decide.c ---- */

bool wtl_run_is_last_step(const wtl_run *r);
double wtl_run_epochs(const wtl_run *r); /* of fine-tuning in the round under way */
void wtl_run_begin_tuning(wtl_run *r, double epochs, double rate_share);

/* Begin to head for the options' target and limit from the net as it is. */
void wtl_run_begin_campaign(wtl_run *r);
/* The net as it is has held: it becomes held.wtl. */
wtl_status wtl_run_hold(wtl_run *r, wtl_error *err);
/* After a round: what comes next. */
wtl_status wtl_run_decide(wtl_run *r, wtl_error *err);
/* There is nothing further to try. */
wtl_status wtl_run_conclude(wtl_run *r, wtl_error *err);
void wtl_run_reason(wtl_run *r, const char *format, ...) WTL_PRINTF(2, 3);

/* ---- open.c ---- */

/* A run that is begun or found again, not yet on disk; closed by the caller, also after a
 * failure. */
wtl_status wtl_run_open(wtl_run *r, const char *path, const wtl_prune_options *options,
                        bool resume, bool force, wtl_error *err);
wtl_status wtl_run_write_folder(wtl_run *r, wtl_error *err);
void wtl_run_close(wtl_run *r);

#endif
