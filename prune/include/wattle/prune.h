/* prune.h - a pruning run: a method driven to an energy budget or an accuracy limit.
 *
 * A run goes in rounds. A round prunes to the energy of the round, fine-tunes with the masks
 * held, recalibrates batch norm, measures the energy anew (zeros of activations change) and
 * judges on the validation images. Rounds keep equal shares of what is above the floor: with f
 * the floor, (e_r - f) / (1 - f) falls geometrically (gradual methods: along a cubic).
 *
 *   target energy  `rounds` rounds (fewer where one would end near the target), final_epochs at
 *                  the end; then, while the energy is more than 0.5 % above the target, up to 3
 *                  small corrections
 *   largest drop   rounds of factor `step` until one loses more than max_drop even after
 *                  final_epochs; back to the last that held, half the step, `refinements` times;
 *                  the last that held is the result
 *   both           towards the target, as long as the drop allows
 *
 * Images: the search images (zeros of activations, layer errors, sensitivity) are some of the
 * training images; drops are judged on validation images, which are never trained on; test
 * images are not touched.
 *
 * A run is a folder:
 *   config.json       the options, resolved; can be loaded back
 *   env.json          version, processor, BLAS, threads, seed, data hashes
 *   plan.jsonl        one JSON object a decision, see below
 *   metrics.csv       one row a round: round,goal,energy,density,val_loss,val_top1,val_top5,
 *                     drop,epochs,held,seconds (energies as shares of dense; drop in points)
 *   certificate.json  asked and got, see below
 *   energy.csv        one row a layer: layer,weights,kept_before,kept_after,energy_before,
 *                     energy_after,macs,macs_before,macs_after,ifmap_density_before,
 *                     ifmap_density_after,ofmap_density_before,ofmap_density_after (macs: none
 *                     skipped; macs_before, _after: those not skipped; energies absolute)
 *   ckpt/dense.wtl    what was pruned; teacher, and origin of targets
 *   ckpt/last.wtl     where the run stands, to go on bit for bit
 *   ckpt/held.wtl     the last net that held to the accuracy limit (with max_drop)
 *   ckpt/pruned.wtl   the result
 *   masks.npz         its masks (wattle/mask.h)
 * Killed at any moment, a run that is resumed gives the same pruned.wtl.
 *
 * plan.jsonl: every object has "event", "round" and "seconds" (of the run so far).
 *   "begin"     the dense net: "dense_energy" (absolute), "floor", "top1", "top5"
 *   "layer"     what the method did: "layer", "weights", "kept_before", "kept_after",
 *               "energy_before", "energy_after", "error_before", "error_removal",
 *               "error_restoral", "error" (null where it measured none)
 *   "round"     as the row of metrics.csv, and "top1_train"
 *   "decision"  "what": "held", "second chance", "back", "corrected", "finished"; "why"
 *
 * certificate.json: "schema_version", "met", "why", "method", "granularity", "checkpoint", "data", "hardware",
 * "hardware_batch", "seed", "energy_asked", "energy", "energy_held_out", "floor" (shares of dense
 * or null), "dense_energy", "pruned_energy", "metric", "drop_asked", "drop", "dense_top1",
 * "dense_top5", "top1", "top5", "val_images", "search_images", "train_images", "weights",
 * "weights_before", "weights_kept", "macs", "macs_before", "macs_after", "rounds", "epochs",
 * "seconds", "peak_bytes", "speed" (wtl_speed_to_json(): whether the result runs faster, predicted
 * for a batch of 1).
 */
#ifndef WATTLE_PRUNE_H
#define WATTLE_PRUNE_H

#include "wattle/finetune.h"
#include "wattle/method.h"
#include "wattle/trainer.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wtl_prune_metric { WTL_METRIC_TOP1, WTL_METRIC_TOP5 } wtl_prune_metric;

/* The metrics' names by their value, ended by NULL: "top1", "top5". */
WTL_API extern const char *const wtl_metric_words[];

enum { WTL_PRUNE_LIMITS = 64, WTL_LIMIT_NAME = 128 };

/* The share of a layer's weights that must stay; 1 excludes the layer. */
typedef struct wtl_prune_limit {
    char layer[WTL_LIMIT_NAME];
    double least_density; /* 0..1 */
} wtl_prune_limit;

typedef struct wtl_prune_options {
    char checkpoint[1024]; /* CKPT as the user wrote it */
    char data[1024];       /* DATA as the user wrote it, no part */
    char method[64];
    char hardware[1024]; /* name or file */
    wtl_pricing_options pricing;
    double target_energy; /* share of the dense energy, (0, 1]; 0: none */
    double max_drop;      /* points of `metric` on validation data; negative: none */
    wtl_prune_metric metric;
    int rounds;      /* with a target; 0: 6 */
    double step;     /* without: what a round leaves of the energy above the floor; 0: 0.7 */
    int refinements; /* 0: 2; negative: none */
    double epochs;   /* of fine-tuning a round; 0: none */
    double final_epochs; /* of the last fine-tuning; 0: none */
    wtl_finetune_options finetune;
    int batch;         /* of fine-tuning; 0: 128 */
    char augment[32];  /* a preset's name */
    int recalibration; /* batches that batch norm is recalibrated over; 0: 50; negative: none */
    int search_images; /* 0: 512 */
    wtl_method_options how;
    wtl_prune_limit limits[WTL_PRUNE_LIMITS];
    int limit_count;
    uint64_t seed;
    int threads, workers;
    double save_minutes; /* a checkpoint within a fine-tuning this often; 0: 5 */
} wtl_prune_options;

/* Fill in the defaults: nesterov 0.9, decay 5e-4, rate 0.01 to 0 (an exact value for every "0:"
 * above), 1 epoch a round and 2 at the end, eyeriss-cvpr17, batch 44, energy-aware; checkpoint,
 * data stay "". What has no key in config.json does not count in a run: averages (ema), and
 * restore_rows, ridge_raises, singular of the reconstruction. */
WTL_API void wtl_prune_defaults(wtl_prune_options *options);

struct json_t;
/* As wtl_train_options_to_json() and ..._from_json(). */
WTL_API struct json_t *wtl_prune_options_to_json(const wtl_prune_options *options);
WTL_API wtl_status wtl_prune_options_from_json(wtl_prune_options *options,
                                               const struct json_t *json, const char *file,
                                               wtl_error *err) WTL_MUST_CHECK;

/* ---- before the run ---- */

typedef struct wtl_preflight_layer {
    char name[WTL_LIMIT_NAME];
    size_t weights, kept, least; /* now; the fewest that limits allow */
    double macs;                 /* per image, none skipped */
    double energy, floor;        /* now, and with `least` weights */
} wtl_preflight_layer;

typedef struct wtl_preflight {
    char net[WTL_LIMIT_NAME], hardware[64];
    wtl_preflight_layer *layers; /* owned */
    int layer_count;
    double dense; /* energy of the checkpoint as it is (masks included) */
    double floor; /* with every prunable weight gone, maps' zeros as they are */
    long train_images, val_images, search_images;
    double top1, top5; /* of the checkpoint on the validation images, percent */
    double loss;
} wtl_preflight;

/* What is reachable; nothing is written.
 *   WTL_E_GOAL  the target is below the floor: the message names it (*out is filled all the
 *               same) */
WTL_API wtl_status wtl_prune_preflight(wtl_preflight *out, const wtl_prune_options *options,
                                       wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_preflight_clear(wtl_preflight *preflight);

/* ---- the run ---- */

typedef struct wtl_prune_event {
    enum {
        WTL_PRUNE_NOTE,  /* note */
        WTL_PRUNE_STAGE, /* stage begins or goes on: done of total */
        WTL_PRUNE_LAYER, /* a method's decision: layer, layer_step */
        WTL_PRUNE_ROUND, /* a round ended: energy, top1, top5, loss, drop, density */
        WTL_PRUNE_SAVED
    } kind;
    int round, rounds; /* from 1; rounds 0 where not known */
    const char *stage; /* "prune", "recalibrate", "fine-tune", "measure", "validate" */
    long done, total;
    double loss, top1, top5; /* STAGE fine-tune: of the training images so far */
    double goal, energy;     /* shares of the dense energy */
    double drop, density;
    const char *layer;
    const wtl_method_step *layer_step;
    const char *note;
} wtl_prune_event;

typedef struct wtl_prune_hooks {
    void (*event)(void *context, const wtl_prune_event *event);
    double (*seconds)(void *context);    /* a monotonic clock; NULL: no timings */
    double (*peak_bytes)(void *context); /* of the process' memory; NULL: unknown */
    int (*stop)(void *context);
    void *context;
    const struct wtl_kernel_costs *costs; /* of this processor's kernels; NULL: the defaults */
} wtl_prune_hooks;                        /* each may be NULL */

typedef struct wtl_prune_result {
    bool met;               /* every stated goal */
    char why[256];          /* what was not met, or "" */
    double energy_asked;    /* share of dense; NaN: none */
    double energy;          /* got, on the search images */
    double energy_held_out; /* got, on validation images (as many as search images) */
    double dense_energy, pruned_energy; /* absolute */
    double floor;                       /* share of dense */
    double drop_asked, drop;            /* points on the validation images; NaN: none asked */
    double dense_top1, dense_top5, top1, top5; /* percent, validation */
    long val_images;
    double density; /* prunable weights kept */
    int rounds;
    double epochs;     /* of fine-tuning, in all */
    double seconds;    /* of all calls, NaN without a clock */
    double peak_bytes; /* of the process of this call, NaN if unknown */
} wtl_prune_result;

/* Prune into the folder `run`. New runs refuse a folder that holds one, unless `force`; nothing
 * is written before checkpoint, data, hardware and goal are found good. With `resume` the
 * run's config.json is read; of `options` (may be NULL) threads, target_energy, max_drop and
 * rounds count then, where they differ from 0 (max_drop: from negative): a finished run goes on
 * to a harder goal; a granularity that differs from 0 must be the run's (WTL_E_ARG). hooks and
 * result may be NULL.
 *   WTL_E_GOAL     done, a goal was not met (*result is filled), or - before any work - cannot
 *                  be
 *   WTL_E_STOPPED  stopped by the hook; saved, unless that was before the first round
 *   WTL_E_NAN      the checkpoint or the training is not finite
 *   WTL_E_MISSING, WTL_E_FORMAT, WTL_E_SHAPE, WTL_E_WRITE, WTL_E_NOMEM, WTL_E_ARG, WTL_E_FIT */
WTL_API wtl_status wtl_prune(const char *run, const wtl_prune_options *options, bool resume,
                             bool force, const wtl_prune_hooks *hooks, wtl_prune_result *result,
                             wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
