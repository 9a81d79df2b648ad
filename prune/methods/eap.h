/* eap.h - one round of energy-aware pruning, in parts:
 *
 *   energy_aware.c    the round: order, allocation, layer by layer
 *   eap_probe.c       how a layer's output error grows as weights go
 *   eap_allocate.c    how many weights every layer keeps
 *   eap_moments.c     the sample through the nets, into moments
 *   eap_magnitude.c   layers that have no moments
 */
#ifndef WTL_EAP_H
#define WTL_EAP_H

#include "wattle/method.h"

/* The relative l1 output error of a layer over the share of its present weights that it
 * keeps, by points of rising share. */
enum { WTL_EAP_POINTS = 112 };
typedef struct wtl_eap_curve {
    int count;
    double share[WTL_EAP_POINTS], error[WTL_EAP_POINTS];
    double level[WTL_EAP_POINTS]; /* what is interpolated: by wtl_eap_curve_finish() */
} wtl_eap_curve;

typedef struct wtl_eap_layer {
    int index; /* in the pricing */
    int layer; /* in the definition */
    const wtl_layer_def *def;
    wtl_shape in;
    wtl_param *param; /* of the net that is pruned */
    wtl_param *probe; /* the same of context->probe */
    wtl_granularity granularity;
    wtl_blocks blocks;    /* of the parameter */
    const float *targets; /* weights that make Y */
    float *scale;         /* [K] filter_scale, or NULL; owned */
    size_t kept, least;   /* now; the fewest allowed */
    size_t keep;          /* decided */
    double energy;        /* now */
    wtl_eap_curve curve;
} wtl_eap_layer;

typedef struct wtl_eap_round {
    const wtl_method_context *context;
    wtl_method_options options; /* defaults filled in */
    int threads;
    const wtl_netdef *def;
    wtl_net *inputs, *targets; /* X and Y come from their maps; may be the same */
    wtl_net *before;           /* the net as it stood: targets, where asked for; owned */
    int images;                /* of the sample */
    int count;
    wtl_eap_layer *layers; /* [count] most energy first */
    double *nonzeros;      /* [count] now, by index in the pricing */
    size_t *kept;          /* [count] decided, by index in the pricing */
    int done, total;       /* for progress */
} wtl_eap_round;

/* ---- eap_magnitude.c ---- */

/* True if there are no moments of such a layer. */
bool wtl_eap_by_magnitude(const wtl_eap_layer *layer);

/* Keep `keep` (a number that whole blocks make) of the weights that are kept, the largest of
 * every filter, as many in each as far as that goes (in 4x1 blocks: those of the largest norm of
 * every band); *lost (may be NULL) := sum |a| of the removed ones over sum |a| (of blocks:
 * norms). With `apply` the parameter, which has a mask, is pruned; else it stays. */
wtl_status wtl_eap_keep_largest(const wtl_eap_layer *layer, size_t keep, bool apply,
                                double *lost, wtl_error *err) WTL_MUST_CHECK;

/* ---- eap_moments.c ---- */

/* Whose moments: a layer or some of its filters. */
typedef struct wtl_eap_view {
    const wtl_eap_layer *layer;
    const wtl_layer_def *def; /* of as many filters */
    const float *targets;     /* [filters, m] weights that make Y */
    wtl_moments *fit;         /* of the images that weights are fitted to */
    wtl_moments *judge;       /* of the others, or NULL */
} wtl_eap_view;

/* Empty moments for the view. With `judge` a quarter of the images is kept apart, if there are
 * 4. Also after a failure to be closed. WTL_E_FIT, WTL_E_NOMEM, WTL_E_SHAPE. */
wtl_status wtl_eap_view_open(const wtl_eap_round *round, wtl_eap_view *view, bool judge,
                             wtl_error *err) WTL_MUST_CHECK;
void wtl_eap_view_close(wtl_eap_view *view);

/* Run the sample through the nets as they stand and add it to the views, which were all opened
 * with the same `judge`. WTL_E_NAN, WTL_E_STOPPED. */
wtl_status wtl_eap_gather(const wtl_eap_round *round, const wtl_eap_view *views, int count,
                          bool judge, wtl_error *err) WTL_MUST_CHECK;

/* The caller's options for this layer, with a restore_step that keeps the greedy search within
 * `most_work` residual updates and 262144 turns; `kept` weights become `keep`. */
wtl_reconstruct_options wtl_eap_reconstruction(const wtl_eap_round *round,
                                               const wtl_eap_layer *layer,
                                               const wtl_moments *moments, size_t kept,
                                               size_t keep, double most_work);

/* WTL_E_STOPPED if the caller says so. */
wtl_status wtl_eap_check_stop(const wtl_eap_round *round, wtl_error *err) WTL_MUST_CHECK;
void wtl_eap_progress(wtl_eap_round *round, int more);

/* ---- eap_probe.c ---- */

/* Fill in the curves of all layers that may lose weights, by a ladder of densities. */
wtl_status wtl_eap_probe(wtl_eap_round *round, wtl_error *err) WTL_MUST_CHECK;
/* Add to every such curve the point at layer->keep. */
wtl_status wtl_eap_probe_again(wtl_eap_round *round, wtl_error *err) WTL_MUST_CHECK;
/* How often to do that, after an allocation each time: 2 of the probes, or 1 of few. */
int wtl_eap_refinements(const wtl_eap_round *round);
/* How many probes it all takes. */
int wtl_eap_probe_count(const wtl_eap_round *round);

/* ---- eap_allocate.c ---- */

void wtl_eap_curve_add(wtl_eap_curve *curve, double share, double error);
/* Call after the last point. */
void wtl_eap_curve_finish(wtl_eap_curve *curve);

/* layer->keep := an allocation that meets the goal. WTL_E_FIT. */
wtl_status wtl_eap_allocate(wtl_eap_round *round, wtl_error *err) WTL_MUST_CHECK;

#endif
