/* compare_summary.c - what the points of a comparison say about each method.
 *
 * A curve is the ladder of one method and seed: the dense net, then its nets by budget; gaps
 * are stepped over. Between two nets test top-1 is linear in the logarithm of energy.
 */
#include "compare_private.h"

#include "wattle/memory.h"

#include <string.h>

/* How much more than asked the last net may cost and still count as having that energy: runs
 * meet budgets on the search images, energies here are of validation images. */
static const double SAME_ENERGY = 1.02;
/* Percentages of counts are compared: this is far below one image. */
static const double SAME_TOP1 = 1e-9;

/* ---- points ---- */

void wtl_compare_blank(wtl_compare_point *point, int method, int seed_index, int budget)
{
    *point = (wtl_compare_point){.method = method,
                                 .seed_index = seed_index,
                                 .budget = budget,
                                 .energy = NAN,
                                 .energy_absolute = NAN,
                                 .weights = NAN,
                                 .macs = NAN,
                                 .val_top1 = NAN,
                                 .top1 = NAN,
                                 .top5 = NAN,
                                 .density = NAN,
                                 .minutes = NAN,
                                 .peak_bytes = NAN};
}

wtl_status wtl_compare_allocate(wtl_comparison *c, wtl_error *err)
{
    const wtl_compare_options *o = &c->options;
    c->point_count = o->method_count * o->seeds * o->budget_count;
    c->points = wtl_alloc((size_t)c->point_count, sizeof *c->points);
    c->rows = wtl_alloc((size_t)o->method_count, sizeof *c->rows);
    if (!c->points || !c->rows) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for a comparison of %d nets",
                        c->point_count);
    }
    wtl_compare_blank(&c->dense, -1, -1, -1);
    for (int i = 0; i < c->point_count; i++) {
        int run = i / o->budget_count;
        wtl_compare_blank(&c->points[i], run / o->seeds, run % o->seeds, i % o->budget_count);
    }
    return WTL_OK;
}

void wtl_comparison_clear(wtl_comparison *comparison)
{
    wtl_free(comparison->points);
    wtl_free(comparison->rows);
    *comparison = (wtl_comparison){0};
}

/* ---- curves ---- */

/* The net of the ladder before budget `from` (the dense net before the first), or NULL. */
static const wtl_compare_point *step_back(const wtl_comparison *c, int method, int seed,
                                          int *from)
{
    while (*from > 0) {
        const wtl_compare_point *point = wtl_compare_at(c, method, seed, --*from);
        if (wtl_compare_has_net(point)) {
            return point;
        }
    }
    return (*from)-- == 0 ? &c->dense : NULL;
}

double wtl_compare_energy_at(const wtl_comparison *c, int method, int seed, double top1,
                             bool *bounded)
{
    int from = c->options.budget_count;
    const wtl_compare_point *low = step_back(c, method, seed, &from);
    *bounded = false;
    if (!low || low == &c->dense) {
        return NAN; /* no net at all */
    }
    if (low->top1 >= top1 - SAME_TOP1) {
        *bounded = true;
        return low->energy;
    }
    /* From the cheap end: the first net that is good enough makes the cheapest crossing. */
    for (const wtl_compare_point *high; (high = step_back(c, method, seed, &from));
         low = high) {
        if (high->top1 >= top1 - SAME_TOP1) {
            double t = (top1 - low->top1) / (high->top1 - low->top1);
            return exp(log(low->energy) + t * (log(high->energy) - log(low->energy)));
        }
    }
    return NAN;
}

double wtl_compare_top1_at(const wtl_comparison *c, int method, int seed, double energy)
{
    int from = c->options.budget_count;
    const wtl_compare_point *low = step_back(c, method, seed, &from);
    if (!low || low == &c->dense || low->energy > energy * SAME_ENERGY) {
        return NAN;
    }
    if (low->energy >= energy) {
        return low->top1;
    }
    for (const wtl_compare_point *high; (high = step_back(c, method, seed, &from));
         low = high) {
        if (high->energy >= energy) {
            double t = log(energy / low->energy) / log(high->energy / low->energy);
            return low->top1 + t * (high->top1 - low->top1);
        }
    }
    return NAN;
}

const wtl_compare_point *wtl_compare_chosen(const wtl_comparison *c, int method, int seed)
{
    const wtl_compare_point *best = NULL;
    for (int b = 0; b < c->options.budget_count; b++) {
        const wtl_compare_point *point = wtl_compare_at(c, method, seed, b);
        if (wtl_compare_has_net(point) &&
            c->dense.val_top1 - point->val_top1 <= c->options.max_drop + SAME_TOP1 &&
            (!best || point->energy < best->energy)) {
            best = point;
        }
    }
    return best;
}

/* ---- over seeds ---- */

/* Mean and sample standard deviation of the values that are numbers. */
typedef struct sample {
    double value[WTL_COMPARE_SEEDS];
    int count;
} sample;

static void add(sample *s, double value)
{
    if (isfinite(value) && s->count < WTL_COMPARE_SEEDS) {
        s->value[s->count++] = value;
    }
}

static double mean(const sample *s)
{
    double sum = 0;
    for (int i = 0; i < s->count; i++) {
        sum += s->value[i];
    }
    return s->count > 0 ? sum / s->count : (double)NAN;
}

/* In two passes: the values are close together. NaN for one value: it tells nothing. */
static double deviation(const sample *s)
{
    double middle = mean(s), sum = 0;
    for (int i = 0; i < s->count; i++) {
        sum += (s->value[i] - middle) * (s->value[i] - middle);
    }
    return s->count > 1 ? sqrt(sum / (s->count - 1)) : (double)NAN;
}

static void summarise_chosen(const wtl_comparison *c, wtl_compare_row *row)
{
    sample energy = {.count = 0}, top1 = {.count = 0}, top5 = {.count = 0};
    sample weights = {.count = 0}, macs = {.count = 0};
    for (int s = 0; s < c->options.seeds; s++) {
        const wtl_compare_point *point = wtl_compare_chosen(c, row->method, s);
        if (point) {
            add(&energy, point->energy);
            add(&top1, point->top1);
            add(&top5, point->top5);
            add(&weights, point->weights);
            add(&macs, point->macs);
        }
    }
    row->seeds = energy.count;
    row->energy_mean = mean(&energy);
    row->energy_sd = deviation(&energy);
    row->top1_mean = mean(&top1);
    row->top1_sd = deviation(&top1);
    row->top5_mean = mean(&top5);
    row->top5_sd = deviation(&top5);
    row->weights_mean = mean(&weights);
    row->macs_mean = mean(&macs);
}

static void summarise_curves(const wtl_comparison *c, wtl_compare_row *row)
{
    sample energy = {.count = 0}, top1 = {.count = 0};
    for (int s = 0; s < c->options.seeds; s++) {
        bool bounded;
        double least = c->dense.top1 - c->options.max_drop;
        add(&energy, wtl_compare_energy_at(c, row->method, s, least, &bounded));
        add(&top1, wtl_compare_top1_at(c, row->method, s, c->options.equal_energy));
        row->bounded = row->bounded || bounded;
    }
    row->iso_seeds = energy.count;
    row->iso_energy_mean = mean(&energy);
    row->iso_energy_sd = deviation(&energy);
    row->iso_top1_seeds = top1.count;
    row->iso_top1_mean = mean(&top1);
    row->iso_top1_sd = deviation(&top1);
}

static void summarise_cost(const wtl_comparison *c, wtl_compare_row *row)
{
    sample minutes = {.count = 0};
    row->peak_bytes = NAN;
    for (int s = 0; s < c->options.seeds; s++) {
        int from = c->options.budget_count;
        const wtl_compare_point *last = step_back(c, row->method, s, &from);
        if (last && last != &c->dense) {
            add(&minutes, last->minutes);
            row->peak_bytes = fmax(row->peak_bytes, last->peak_bytes); /* passes NaN over */
        }
    }
    row->minutes_mean = mean(&minutes);
}

/* ---- which is best ---- */

static bool is_energy_aware(const wtl_comparison *c, int method)
{
    return strcmp(c->options.methods[method], "energy-aware") == 0;
}

static bool is_magnitude(const wtl_comparison *c, int method)
{
    return strncmp(c->options.methods[method], "magnitude", 9) == 0;
}

/* Magnitude methods first; then those that more seeds brought to that accuracy, then the
 * cheapest; where no net was good enough, by the interpolated energy. */
static bool is_better(const wtl_comparison *c, int a, int b)
{
    const wtl_compare_row *x = &c->rows[a], *y = &c->rows[b];
    if (is_magnitude(c, a) != is_magnitude(c, b)) {
        return is_magnitude(c, a);
    }
    if (x->seeds != y->seeds) {
        return x->seeds > y->seeds;
    }
    double left = x->seeds > 0 ? x->energy_mean : x->iso_energy_mean;
    double right = x->seeds > 0 ? y->energy_mean : y->iso_energy_mean;
    return left < right || (!isnan(left) && isnan(right));
}

void wtl_compare_summarise(wtl_comparison *c)
{
    c->best_magnitude = c->energy_aware = -1;
    for (int m = 0; m < c->options.method_count; m++) {
        wtl_compare_row *row = &c->rows[m];
        *row = (wtl_compare_row){.method = m};
        summarise_chosen(c, row);
        summarise_curves(c, row);
        summarise_cost(c, row);
    }
    for (int m = 0; m < c->options.method_count; m++) {
        if (is_energy_aware(c, m)) {
            c->energy_aware = m;
        } else if (c->best_magnitude < 0 || is_better(c, m, c->best_magnitude)) {
            c->best_magnitude = m;
        }
    }
}
