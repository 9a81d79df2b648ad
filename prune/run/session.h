/* session.h - everything a pruning run works with, opened and put together; the course of the
 * run is in run.c. */
#ifndef WTL_PRUNE_SESSION_H
#define WTL_PRUNE_SESSION_H

#include "wattle/prune.h"

#include "wattle/checkpoint.h"
#include "wattle/evaluate.h"

typedef struct wtl_session {
    wtl_prune_options options; /* resolved */
    const wtl_method *method;
    wtl_hardware hardware;
    wtl_checkpoint *dense; /* what is pruned */
    wtl_dataset *train, *val;
    wtl_batcher *batcher;     /* training images, shuffled and augmented */
    wtl_batcher *calibration; /* the same images as evaluation sees them; NULL without batch
                                 norm */
    wtl_sample search;        /* of the training images */
    wtl_sample held_out;      /* of the validation images, as many */
    wtl_net *net;             /* training: what is pruned */
    wtl_net *probe;           /* inference, keep_outputs: maps of the pruned net */
    wtl_net *original;        /* inference, keep_outputs: the dense net */
    wtl_net *teacher;         /* inference: the dense net; NULL without distillation */
    wtl_pricing *pricing;     /* of probe */
    wtl_finetune *finetune;
    wtl_method_layer *layers; /* [layer_count] */
    int layer_count;
    double *nonzeros;  /* [layer_count], scratch */
    int round, rounds; /* for events */
    const wtl_prune_hooks *hooks;
} wtl_session;

/* WTL_E_GOAL: the target is below the floor, both shares of dense. */
wtl_status wtl_prune_out_of_reach(double target, double floor, const char *hardware,
                                  wtl_error *err);

/* Fill in defaults for zeros and hold every option to its limits (WTL_E_ARG). */
wtl_status wtl_prune_resolve(wtl_prune_options *options, wtl_error *err);

/* Open everything for options that are resolved; the dense net's weights come from the file
 * `dense` (the user's checkpoint, or the run's copy). Nothing is written. *s is closed by the
 * caller, also on failure. */
wtl_status wtl_session_open(wtl_session *s, const wtl_prune_options *options, const char *dense,
                            const wtl_prune_hooks *hooks, wtl_error *err);
void wtl_session_close(wtl_session *s);

/* Set the layers' least and most from the limits and the masks as they are. */
wtl_status wtl_session_limit(wtl_session *s, wtl_error *err);

typedef struct wtl_energy_now {
    double search, held_out; /* absolute, zeros of maps measured on either sample */
} wtl_energy_now;

/* Measure the net as it is; afterwards the pricing stands on the search sample and `nonzeros`
 * are the net's. With held_out false only `search` is measured. */
wtl_status wtl_session_measure(wtl_session *s, bool held_out, wtl_energy_now *energy,
                               wtl_error *err);

/* Batch norm anew from `recalibration` batches; nothing without batch norm. */
wtl_status wtl_session_recalibrate(wtl_session *s, wtl_error *err);

/* The net on the validation images. */
wtl_status wtl_session_judge(wtl_session *s, wtl_scores *scores, wtl_error *err);

/* One STAGE event. */
void wtl_session_stage(const wtl_session *s, const char *stage, long done, long total);
int wtl_session_stopped(void *session);

/* Share of prunable weights that are kept. */
double wtl_session_density(const wtl_session *s);

#endif
