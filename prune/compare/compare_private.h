/* compare_private.h - what the files of a comparison share. */
#ifndef WTL_COMPARE_PRIVATE_H
#define WTL_COMPARE_PRIVATE_H

#include "wattle/compare.h"
#include "wattle/text.h"

#include <math.h>

/* ---- what a comparison is made with ----
 *
 * A table, so that the ladder, the files and the summary can be tested without hours of
 * pruning. */

typedef struct wtl_compare_engine {
    wtl_status (*preflight)(wtl_preflight *out, const wtl_prune_options *options,
                            wtl_error *err);
    wtl_status (*prune)(const char *run, const wtl_prune_options *options, bool resume,
                        bool force, const wtl_prune_hooks *hooks, wtl_prune_result *result,
                        wtl_error *err);
    /* Open the judge of `options` (of the whole comparison); *test_images := how many. */
    wtl_status (*open)(void **judge, const wtl_prune_options *options, long *test_images,
                       wtl_error *err);
    /* Fill energy_absolute, weights, macs, density and accuracies of `point` from a checkpoint;
     * with `point` NULL only the estimate, with `report` NULL none. */
    wtl_status (*judge)(void *judge, const char *checkpoint, const wtl_prune_hooks *hooks,
                        wtl_compare_point *point, wtl_energy_report *report, wtl_error *err);
    void (*close)(void *judge); /* takes NULL */
} wtl_compare_engine;

extern const wtl_compare_engine wtl_compare_judging; /* open, judge and close of real nets */

/* wtl_compare() with an engine. */
wtl_status wtl_compare_with(const wtl_compare_engine *engine, const char *out,
                            const wtl_compare_options *options, bool resume, bool force,
                            const wtl_prune_hooks *hooks, wtl_comparison *result,
                            wtl_error *err) WTL_MUST_CHECK;

/* ---- points ---- */

static inline bool wtl_compare_has_net(const wtl_compare_point *point)
{
    return isfinite(point->energy) && point->energy > 0 && isfinite(point->top1);
}

/* The point of a method, seed and budget. */
static inline wtl_compare_point *wtl_compare_at(const wtl_comparison *c, int method, int seed,
                                                int budget)
{
    return &c->points[(method * c->options.seeds + seed) * c->options.budget_count + budget];
}

static inline unsigned long long wtl_compare_seed(const wtl_comparison *c, int seed_index)
{
    return (unsigned long long)c->options.prune.seed + (unsigned long long)seed_index;
}

/* Allocate points and rows for c->options (resolved); every point is NaN without a note. */
wtl_status wtl_compare_allocate(wtl_comparison *c, wtl_error *err) WTL_MUST_CHECK;

/* All numbers NaN. */
void wtl_compare_blank(wtl_compare_point *point, int method, int seed_index, int budget);

/* ---- summary ---- */

/* Fill rows, best_magnitude and energy_aware from the points. */
void wtl_compare_summarise(wtl_comparison *c);

/* The cheapest net of (method, seed) whose validation drop is at most max_drop, or NULL. */
const wtl_compare_point *wtl_compare_chosen(const wtl_comparison *c, int method, int seed);

/* Energy at which the curve of (method, seed) has a test top-1 of `top1`, and test top-1 that it
 * has at `energy`; NaN where it has none. */
double wtl_compare_energy_at(const wtl_comparison *c, int method, int seed, double top1,
                             bool *bounded);
double wtl_compare_top1_at(const wtl_comparison *c, int method, int seed, double energy);

/* ---- files ---- */

/* config.json as text, freed by wtl_free(); NULL when memory is short. */
char *wtl_compare_config_text(const wtl_compare_options *options) WTL_MUST_CHECK;
wtl_status wtl_compare_config_parse(wtl_compare_options *options, const char *text,
                                    size_t length, const char *file,
                                    wtl_error *err) WTL_MUST_CHECK;

/* results.csv: the dense point if there is one, and every point that has a net or a note. */
wtl_status wtl_compare_results_write(const wtl_comparison *c, const char *path,
                                     wtl_error *err) WTL_MUST_CHECK;
/* Into c->dense and c->points (allocated); a method, seed or budget that is not the
 * comparison's is refused (WTL_E_FORMAT, with file and line). `text` is changed. */
wtl_status wtl_compare_results_parse(wtl_comparison *c, char *text, const char *file,
                                     wtl_error *err) WTL_MUST_CHECK;

/* A net whose layers are shown. */
typedef struct wtl_compare_net {
    const char *role;               /* "original", "magnitude", "energy-aware" */
    const wtl_compare_point *point; /* of the comparison */
    wtl_energy_report report;
} wtl_compare_net;
enum { WTL_COMPARE_NETS = 3 };

/* The name of a net's method, "dense" for the original. */
static inline const char *wtl_compare_method(const wtl_comparison *c,
                                             const wtl_compare_point *point)
{
    return point->budget < 0 ? "dense" : c->options.methods[point->method];
}

/* The table of layers for summary.md. */
void wtl_compare_put_layers(wtl_text *out, const wtl_comparison *c, const wtl_compare_net *nets,
                            int net_count);

/* "1 point", "2 points". */
static inline const char *wtl_compare_points(double count)
{
    return count == 1.0 ? "point" : "points";
}

/* layers.csv, summary.json, summary.md and plots/ in the folder `out`. */
wtl_status wtl_compare_write(const wtl_comparison *c, const wtl_compare_net *nets,
                             int net_count, const char *out, wtl_error *err) WTL_MUST_CHECK;
wtl_status wtl_compare_plots(const wtl_comparison *c, const wtl_compare_net *nets,
                             int net_count, const char *out, wtl_error *err) WTL_MUST_CHECK;

#endif
