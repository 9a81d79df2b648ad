/* methods.c - what the pruning methods share: weights kept under an energy goal, and which.
 *
 * A layer's energy never falls with more weights, so a bisection finds the most that fit. All
 * numbers of weights are such as whole blocks have (wattle/granularity.h).
 */
#include "methods.h"

#include "wattle/memory.h"

#include <math.h>

enum { HALVINGS = 60 }; /* of [0, 1]: more than a double near 1 can tell apart */

/* ---- how many ---- */

size_t wtl_kept_within(const wtl_method_layer *layer, size_t wanted)
{
    size_t kept = wanted > layer->least ? wanted : layer->least;
    kept = kept < layer->most ? kept : layer->most;
    size_t whole = wtl_stock_at_most(&layer->stock, kept);
    return whole >= layer->least ? whole : wtl_stock_at_least(&layer->stock, kept);
}

/* One weight more, or one block. */
static size_t next_more(const wtl_method_layer *layer, size_t kept)
{
    return wtl_stock_at_least(&layer->stock, kept + 1);
}

double wtl_kept_energy(const wtl_method_context *c, const size_t *kept)
{
    double total = 0.0;
    for (int i = 0; i < wtl_pricing_count(c->pricing); i++) {
        total += wtl_pricing_cost(c->pricing, i, (double)kept[i]);
    }
    return total;
}

static bool fits(const wtl_method_context *c, const size_t *kept)
{
    return wtl_kept_energy(c, kept) <= c->goal_energy;
}

wtl_status wtl_goal_check(const wtl_method_context *c, wtl_error *err)
{
    double lowest = wtl_method_floor(c->pricing, c->layers);
    if (!(c->goal_energy >= lowest)) {
        return wtl_fail(err, WTL_E_FIT,
                        "energy: the goal of %.6g is below %.6g, the least that the limits and "
                        "the hardware allow",
                        c->goal_energy, lowest);
    }
    return WTL_OK;
}

static void allocate_within(const wtl_method_context *c, wtl_allocation *allocate,
                            const void *context, double t, size_t *kept)
{
    allocate(context, t, kept);
    for (int i = 0; i < wtl_pricing_count(c->pricing); i++) {
        kept[i] = wtl_kept_within(&c->layers[i], kept[i]);
    }
}

wtl_status wtl_kept_at_goal(const wtl_method_context *c, wtl_allocation *allocate,
                            const void *context, size_t *kept, wtl_error *err)
{
    wtl_status status = wtl_goal_check(c, err);
    if (status != WTL_OK) {
        return status;
    }
    double low = 0.0, high = 1.0;
    allocate_within(c, allocate, context, high, kept);
    if (!fits(c, kept)) {
        for (int n = 0; n < HALVINGS; n++) {
            double t = 0.5 * (low + high);
            allocate_within(c, allocate, context, t, kept);
            *(fits(c, kept) ? &low : &high) = t;
        }
        allocate_within(c, allocate, context, low, kept);
    }
    if (!fits(c, kept)) { /* even at t = 0: the floor does */
        for (int i = 0; i < wtl_pricing_count(c->pricing); i++) {
            kept[i] = wtl_kept_within(&c->layers[i], 0);
        }
    }
    wtl_kept_top_up(c, kept);
    return WTL_OK;
}

size_t wtl_kept_most(const wtl_method_context *c, size_t *kept, int i, size_t low, size_t high)
{
    while (low < high) {
        size_t middle = low + (high - low + 1) / 2;
        kept[i] = wtl_kept_within(&c->layers[i], middle);
        if (fits(c, kept)) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    kept[i] = wtl_kept_within(&c->layers[i], low);
    return low;
}

static bool one_more_fits(const wtl_method_context *c, size_t *kept, int i)
{
    size_t before = kept[i];
    kept[i] = next_more(&c->layers[i], before);
    bool does = fits(c, kept);
    kept[i] = before;
    return does;
}

/* The layer where the next weight (block) costs most among those where it fits, or -1. */
static int costliest_that_fits(const wtl_method_context *c, size_t *kept)
{
    int found = -1;
    double most = -INFINITY;
    for (int i = 0; i < wtl_pricing_count(c->pricing); i++) {
        size_t next = next_more(&c->layers[i], kept[i]);
        if (kept[i] >= c->layers[i].most || next > c->layers[i].most) {
            continue;
        }
        double step = wtl_pricing_cost(c->pricing, i, (double)next) -
                      wtl_pricing_cost(c->pricing, i, (double)kept[i]);
        if (step > most && one_more_fits(c, kept, i)) {
            most = step;
            found = i;
        }
    }
    return found;
}

void wtl_kept_top_up(const wtl_method_context *c, size_t *kept)
{
    for (int i = costliest_that_fits(c, kept); i >= 0; i = costliest_that_fits(c, kept)) {
        size_t next = next_more(&c->layers[i], kept[i]);
        (void)wtl_kept_most(c, kept, i, next, c->layers[i].most);
    }
}

/* ---- which ---- */

wtl_blocks wtl_blocks_of_layer(const wtl_method_context *c, int i)
{
    return wtl_blocks_of(c->layers[i].granularity, c->net, c->layers[i].param);
}

wtl_status wtl_keep_best(const wtl_method_context *c, int i, float *score, size_t keep,
                         wtl_error *err)
{
    wtl_blocks blocks = wtl_blocks_of_layer(c, i);
    return wtl_blocks_keep(c->layers[i].param, &blocks, score, keep, err);
}

wtl_status wtl_choose_largest(const wtl_method_context *c, int i, size_t keep, wtl_error *err)
{
    return wtl_keep_best(c, i, NULL, keep, err);
}

static void report(const wtl_method_context *c, int i, size_t before, size_t after)
{
    if (c->report) {
        const wtl_method_step step = {
            .layer = i,
            .kept_before = before,
            .kept_after = after,
            .energy_before = wtl_pricing_cost(c->pricing, i, (double)before),
            .energy_after = wtl_pricing_cost(c->pricing, i, (double)after),
            .error_removal = NAN,
            .error_restoral = NAN,
            .error = NAN,
            .error_before = NAN,
        };
        c->report(c->context, &step);
    }
}

wtl_status wtl_prune_layers(const wtl_method_context *c, const size_t *kept, wtl_choice *choose,
                            wtl_error *err)
{
    int layers = wtl_pricing_count(c->pricing);
    for (int i = 0; i < layers; i++) {
        if (c->stop && c->stop(c->context)) {
            return wtl_fail(err, WTL_E_STOPPED, "stopped after pruning %d of %d layers", i,
                            layers);
        }
        size_t before = wtl_mask_kept(c->layers[i].param);
        wtl_status status = choose(c, i, kept[i], err);
        if (status != WTL_OK) {
            return status;
        }
        report(c, i, before, wtl_mask_kept(c->layers[i].param));
        if (c->progress) {
            c->progress(c->context, i + 1, layers);
        }
    }
    return WTL_OK;
}

/* ---- one density ---- */

static void allocate_one_density(const void *context, double t, size_t *kept)
{
    const wtl_method_context *c = context;
    for (int i = 0; i < wtl_pricing_count(c->pricing); i++) {
        kept[i] = (size_t)(t * (double)c->layers[i].weights);
    }
}

wtl_status wtl_prune_one_density(const wtl_method_context *c, wtl_choice *choose,
                                 wtl_error *err)
{
    int layers = wtl_pricing_count(c->pricing);
    size_t *kept = wtl_alloc((size_t)layers, sizeof *kept);
    if (!kept) {
        return wtl_fail(err, WTL_E_NOMEM, "pruning: out of memory for %d layers", layers);
    }
    wtl_status status = wtl_kept_at_goal(c, allocate_one_density, c, kept, err);
    if (status == WTL_OK) {
        status = wtl_prune_layers(c, kept, choose, err);
    }
    wtl_free(kept);
    return status;
}
