/* method.h - pruning methods behind one interface: which weights go.
 *
 * A method is asked, round by round, to bring the net's estimated energy down to a goal. It
 * sets masks (wattle/mask.h), and may change the weights that stay. Everything else -
 * fine-tuning, judging, budgets, logs - is the run's (wattle/prune.h) and equal for all.
 */
#ifndef WATTLE_METHOD_H
#define WATTLE_METHOD_H

#include "wattle/granularity.h"
#include "wattle/mask.h"
#include "wattle/pricing.h"
#include "wattle/reconstruct.h"
#include "wattle/sample.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A layer as a method sees it; index as in the pricing. */
typedef struct wtl_method_layer {
    wtl_param *param; /* its weights in the net that is pruned */
    size_t weights;
    size_t least; /* the fewest that may be kept: limits and exclusions of the user, and 1 */
    size_t most;  /* the most: what is kept now; a pruned weight does not come back */
    wtl_granularity granularity; /* what goes and stays together */
    wtl_block_stock stock;       /* blocks that are kept now; all zero: single weights */
} wtl_method_layer;

/* A layer of `net` as its mask, of whole blocks, is: least is one block, or 0 if none is kept. */
WTL_API wtl_method_layer wtl_method_layer_of(const wtl_net *net, wtl_param *param,
                                             wtl_granularity granularity);

/* What a method did to one layer, for the plan. Errors are NaN where it measured none. */
typedef struct wtl_method_step {
    int layer;
    size_t kept_before, kept_after;
    double energy_before, energy_after; /* of the layer */
    double error_removal, error_restoral,
        error;           /* relative l1 (after the fit: l2) output error */
    double error_before; /* on entry; nothing removed yet */
} wtl_method_step;

typedef enum wtl_eap_allocation {
    WTL_EAP_LEAST_ERROR, /* the sum of squared relative output errors is least for the energy */
    WTL_EAP_EQUAL_ERROR, /* every layer goes as far as one relative output error allows */
    WTL_EAP_BY_ENERGY    /* weights kept fall in proportion to a layer's share of the energy */
} wtl_eap_allocation;

/* The allocations' names by their value, ended by NULL: "least-error" and so on. */
WTL_API extern const char *const wtl_allocation_words[];

/* What CVPR 2017 leaves open, and the magnitude methods'. Zero means the default. */
typedef struct wtl_method_options {
    wtl_granularity granularity; /* of every layer */
    wtl_reconstruct_options reconstruct;
    int images;    /* that X and Y are sampled from; 0: 128 */
    int positions; /* outputs sampled in each map; 0: 16 */
    wtl_eap_allocation allocation;
    bool inputs_original; /* X from the dense net; default: the net as it is pruned so far */
    bool
        targets_dense; /* Y from the dense net; default: the net as it stood before the round */
    int probes;        /* densities at which a layer's error is looked at; 0: 6 */
    bool no_restore, no_fit; /* ablations: magnitude within a filter; weights as they were */
} wtl_method_options;

typedef struct wtl_method_context {
    wtl_net *net;      /* pruned: weights and masks are set here (any net of the definition) */
    wtl_net *probe;    /* inference, keep_outputs: for looking at maps; the method fills it */
    wtl_net *original; /* inference, keep_outputs: the dense net */
    wtl_pricing *pricing;     /* of `probe`; measured on the net as it stands */
    const wtl_sample *sample; /* of the search images (part of the training images) */
    wtl_method_layer *layers; /* [wtl_pricing_count(pricing)] */
    double goal_energy;       /* the sum of costs is to be at most this, at the present zeros of
                           maps, and as near as whole weights (blocks) allow */
    int round;                /* from 0, over the whole run */
    uint64_t seed;
    int threads;
    const wtl_method_options *options;
    /* sensitivity[layer][level]: top-1 lost, in points on the sample, when that layer alone
     * keeps wtl_sense_density(level); NULL unless the method asks for it (wants_sense) */
    const double *sensitivity;
    void (*report)(void *context, const wtl_method_step *step); /* once a layer; may be NULL */
    void (*progress)(void *context, int done, int total);       /* may be NULL */
    int (*stop)(void *context); /* non-zero: leave with WTL_E_STOPPED; may be NULL */
    void *context;
} wtl_method_context;

typedef struct wtl_method {
    const char *name; /* "energy-aware" */
    const char *line; /* for lists */
    bool wants_sense; /* context.sensitivity is filled */
    bool cubic;       /* the run's goals fall along a cubic schedule, in many small steps */
    bool rewrites;    /* changes weights that stay */
    /* Reach goal_energy. After a failure net and masks are undefined.
     *   WTL_E_FIT     the goal is below what `least` allows
     *   WTL_E_NAN, WTL_E_NOMEM, WTL_E_STOPPED */
    wtl_status (*prune)(const wtl_method_context *context, wtl_error *err);
} wtl_method;

/* NULL if there is none of that name. */
WTL_API const wtl_method *wtl_method_find(const char *name);
/* In order; NULL behind the last. */
WTL_API const wtl_method *wtl_method_at(int index);

/* The least energy that `layers` allow at the present zeros of maps. */
WTL_API double wtl_method_floor(const wtl_pricing *pricing, const wtl_method_layer *layers);

#ifdef __cplusplus
}
#endif
#endif
