/* compare.h - several methods from one checkpoint, on equal terms.
 *
 * Each method, with each seed, is taken down the same ladder of energy budgets: prune, the same
 * epochs of fine-tuning, judge, go on to the next budget from there. All share checkpoint,
 * data, order of the batches (by seed), recipe and number of steps.
 *
 * Search and training, validation and test images never overlap. What is chosen (the cheapest
 * net that loses at most `max_drop` points) is chosen on validation images; every accuracy in
 * the result is of the test images, looked at once for each finished net.
 *
 * A comparison is a folder: config.json, results.csv (a row for each net), layers.csv,
 * summary.json, summary.md, plots/pareto.svg, plots/bars.svg, plots/layers.svg, and
 * runs/METHOD-seedN/ (wattle/prune.h), with ckpt/at-0.50.wtl for each budget. Killed or
 * stopped, it goes on where it was.
 *
 * results.csv: method,seed,budget,energy,energy_absolute,weights,macs,density,val_top1,top1,
 * top5,minutes,peak_bytes,note; as in wtl_compare_point. The dense net is the row of the method
 * "dense", without seed and budget. A budget that was not met is a row without numbers and with
 * a note. An empty field is not known.
 *
 * layers.csv: net,method,seed,budget,layer,weights,kept,density,energy,macs,macs_not_skipped,
 * ifmap_density,ofmap_density; a row for each layer of up to three nets: "original", and, of the
 * first seed, the nets at equal accuracy of the best magnitude method ("magnitude") and of
 * energy-aware pruning ("energy-aware"). Energies and MACs per image; the bars show the same
 * nets.
 *
 * summary.json: "schema_version", what wtl_comparison_to_json() gives, and "layers", the rows of
 * layers.csv as objects.
 */
#ifndef WATTLE_COMPARE_H
#define WATTLE_COMPARE_H

#include "wattle/prune.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WTL_COMPARE_METHODS = 8, WTL_COMPARE_BUDGETS = 16, WTL_COMPARE_SEEDS = 64 };

typedef struct wtl_compare_options {
    wtl_prune_options prune; /* of every run; method, target, drop and seed are set for each */
    char methods[WTL_COMPARE_METHODS][64];
    int method_count;
    double budgets[WTL_COMPARE_BUDGETS]; /* shares of dense, falling */
    int budget_count;
    int seeds;           /* runs with prune.seed, +1, ...; 0: 1 */
    double max_drop;     /* points of top-1 for "at equal accuracy"; 0: 1 */
    double equal_energy; /* for "at equal energy"; 0: the middle budget */
} wtl_compare_options;

/* One finished net. */
typedef struct wtl_compare_point {
    int method, seed_index, budget; /* budget -1: the dense net */
    double energy;                  /* share of dense, measured on validation images */
    double energy_absolute;         /* per image */
    double weights, macs;           /* not zero; not skipped, per image */
    double val_top1;
    double top1, top5; /* test */
    double density;
    double minutes;    /* since the run began; NaN: unknown */
    double peak_bytes; /* of the process up to then, so of earlier runs, too */
    char note[200];    /* why there is no net: then all numbers are NaN */
} wtl_compare_point;

/* Of one method, over seeds. NaN where no seed has it. */
typedef struct wtl_compare_row {
    int method;
    /* the cheapest net whose validation drop is at most max_drop, seed by seed */
    double energy_mean, energy_sd;
    double top1_mean, top1_sd, top5_mean, top5_sd; /* test */
    double weights_mean, macs_mean;
    /* energy at dense test top-1 - max_drop, log energy interpolated along the ladder, from the
     * dense net on and over gaps. A curve that crosses this accuracy several times counts with
     * the cheapest crossing; one that ends above it counts with its last budget, and `bounded`
     * says so. */
    double iso_energy_mean, iso_energy_sd;
    bool bounded;
    /* test top-1 at equal_energy, interpolated in the same way; a curve whose last net is
     * within 2 % of it counts with that, one that ends before it does not count */
    double iso_top1_mean, iso_top1_sd;
    double minutes_mean, peak_bytes; /* of whole ladders; the largest peak */
    int seeds;                       /* that have a net that loses at most max_drop */
    int iso_seeds, iso_top1_seeds;   /* that have an iso_energy, an iso_top1 */
} wtl_compare_row;

typedef struct wtl_comparison {
    wtl_compare_options options; /* resolved */
    wtl_compare_point dense;
    wtl_compare_point *points; /* owned: by method, seed, budget */
    int point_count;
    wtl_compare_row *rows; /* owned: [method_count] */
    double floor;          /* share of dense */
    char net[WTL_LIMIT_NAME];
    int best_magnitude, energy_aware; /* rows: the baseline that costs least at equal accuracy
                                         (magnitude methods before others); -1: none */
    long train_images, val_images, test_images, search_images;
} wtl_comparison;

/* Run (or finish) the comparison in the folder `out`. hooks as for wtl_prune(); events of its
 * runs are passed on. A new comparison refuses a folder that holds one, unless `force`. With
 * `resume` the folder's config.json is read; of `options` (may be NULL) threads count then, and
 * seeds, where they are more than before. On failure *result is empty. Statuses as of
 * wtl_prune(), but that a budget that is not met, or a run that does not train (WTL_E_NAN), is a
 * noted gap in a curve, not a failure; WTL_E_GOAL before any work if not even the first budget
 * can be met. */
WTL_API wtl_status wtl_compare(const char *out, const wtl_compare_options *options, bool resume,
                               bool force, const wtl_prune_hooks *hooks, wtl_comparison *result,
                               wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_comparison_clear(wtl_comparison *comparison);

/* Whether the options make sense: methods that exist, each once; budgets that fall, by 0.01 at
 * least, inside (0, 1); max_drop, seeds and equal_energy in range. Fills in what is 0.
 *   WTL_E_ARG, WTL_E_RANGE */
WTL_API wtl_status wtl_compare_resolve(wtl_compare_options *options,
                                       wtl_error *err) WTL_MUST_CHECK;

/* The tables of summary.md, those of layers apart; freed by wtl_free(); NULL when memory is
 * short. */
WTL_API char *wtl_comparison_table(const wtl_comparison *comparison) WTL_MUST_CHECK;

struct json_t;
/* Options, image counts, "dense", "points" and "rows" as the structs above have them, and
 * "ratios"; NaN is null. NULL when memory is short. */
WTL_API struct json_t *wtl_comparison_to_json(const wtl_comparison *comparison) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
