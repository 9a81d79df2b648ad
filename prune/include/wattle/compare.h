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
 */
#ifndef WATTLE_COMPARE_H
#define WATTLE_COMPARE_H

#include "wattle/prune.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { WTL_COMPARE_METHODS = 8, WTL_COMPARE_BUDGETS = 16 };

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
    double minutes, peak_bytes; /* since the run began; NaN: unknown */
} wtl_compare_point;

/* Of one method, over seeds. NaN where no seed has it. */
typedef struct wtl_compare_row {
    int method;
    /* the cheapest net whose validation drop is at most max_drop, seed by seed */
    double energy_mean, energy_sd;
    double top1_mean, top1_sd, top5_mean, top5_sd; /* test */
    double weights_mean, macs_mean;
    /* energy at dense test top-1 - max_drop, log energy interpolated along the ladder; a curve
     * that never falls so far counts with its last budget, and `bounded` says so */
    double iso_energy_mean, iso_energy_sd;
    bool bounded;
    /* test top-1 at equal_energy, interpolated */
    double iso_top1_mean, iso_top1_sd;
    double minutes_mean, peak_bytes;
    int seeds; /* that have such a net */
} wtl_compare_row;

typedef struct wtl_comparison {
    wtl_compare_options options; /* resolved */
    wtl_compare_point dense;
    wtl_compare_point *points; /* owned: by method, seed, budget */
    int point_count;
    wtl_compare_row *rows; /* owned: [method_count] */
    double floor;          /* share of dense */
    long train_images, val_images, test_images, search_images;
} wtl_comparison;

/* Run (or finish) the comparison in the folder `out`. hooks as for wtl_prune(); events of its
 * runs are passed on. On failure *result is empty. Statuses as of wtl_prune(), but that a
 * budget that is not met is a gap in a curve, not a failure. */
WTL_API wtl_status wtl_compare(const char *out, const wtl_compare_options *options, bool resume,
                               bool force, const wtl_prune_hooks *hooks, wtl_comparison *result,
                               wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_comparison_clear(wtl_comparison *comparison);

#ifdef __cplusplus
}
#endif
#endif
