/* magnitude_sensitivity.c - magnitude pruning at rates from a sensitivity scan.
 *
 * Han et al. 2015 (Learning both Weights and Connections, section 3.1 and figure 6) set a
 * layer's rate by how much accuracy the net loses when that layer alone is pruned. Here all
 * layers go to the sparsity at which they alone would lose tau points of top-1, and tau is
 * found by bisection so that the estimated energy meets the goal.
 *
 * The curve of a layer, loss over sparsity, has to rise for that:
 *   - The running maximum of the scan, from 0 at sparsity 0: that a few images are gained by
 *     pruning is chance. Each level adds at least LEAST_RISE, so that layers which lose
 *     nothing go through such levels together and no tau makes a jump.
 *   - Between two levels it is linear in the sparsity.
 *   - Beyond the last level, density d9 = 0.1, it goes on linearly in 1 / density,
 *         loss(d) = loss(d9) + (d9 / d - 1) * rise     rise = 2 * (loss(d9) - loss(2 * d9)),
 *     the line through the last two levels (densities 0.2 and 0.1): each halving of the
 *     density costs twice what the one before it did. `rise` is at least LEAST_TAIL_RISE
 *     points, as a layer that lost nothing so far is not free to vanish. When tau is large,
 *     all densities fall by a common factor.
 */
#include "wattle/method.h"

#include "wattle/memory.h"
#include "wattle/sense.h"

#include <math.h>

enum { LAST = WTL_SENSE_LEVELS - 1, BISECTIONS = 200 };
static const double LEAST_RISE = 1e-6;     /* points a level */
static const double LEAST_TAIL_RISE = 2.0; /* points: the first halving beyond the scan */

typedef struct curve {
    double loss[WTL_SENSE_LEVELS]; /* rising, from 0 */
} curve;

/* ---- one layer's curve ---- */

static curve curve_of(const double *sensitivity)
{
    curve c = {{0}};
    for (int level = 1; level <= LAST; level++) {
        double least = c.loss[level - 1] + LEAST_RISE;
        c.loss[level] = sensitivity[level] > least ? sensitivity[level] : least;
    }
    return c;
}

/* The least density at which the layer alone loses no more than tau points. */
static double density_at(const curve *c, double tau)
{
    if (tau >= c->loss[LAST]) {
        double rise = 2.0 * (c->loss[LAST] - c->loss[LAST - 1]);
        rise = rise > LEAST_TAIL_RISE ? rise : LEAST_TAIL_RISE;
        return wtl_sense_density(LAST) / (1.0 + (tau - c->loss[LAST]) / rise);
    }
    int level = 0;
    while (tau >= c->loss[level + 1]) {
        level++;
    }
    double share = (tau - c->loss[level]) / (c->loss[level + 1] - c->loss[level]);
    double from = wtl_sense_density(level), to = wtl_sense_density(level + 1);
    return from + share * (to - from);
}

/* ---- all layers ---- */

typedef struct plan {
    const wtl_method_context *context;
    int count;     /* of layers */
    curve *curves; /* [count] */
    size_t *kept;  /* [count] */
} plan;

static size_t kept_at(const plan *p, int layer, double tau)
{
    const wtl_method_layer *l = &p->context->layers[layer];
    double wanted = round(density_at(&p->curves[layer], tau) * (double)l->weights);
    size_t kept = wanted > 0.0 ? (size_t)wanted : 0;
    kept = kept < l->least ? l->least : kept;
    return kept > l->most ? l->most : kept;
}

/* Fills p->kept for tau; the energy of that. */
static double energy_at(plan *p, double tau)
{
    double energy = 0.0;
    for (int i = 0; i < p->count; i++) {
        p->kept[i] = kept_at(p, i, tau);
        energy += wtl_pricing_cost(p->context->pricing, i, (double)p->kept[i]);
    }
    return energy;
}

/* The least tau that meets the goal, and p->kept for it. */
static wtl_status find_tau(plan *p, wtl_error *err)
{
    const double goal = p->context->goal_energy;
    double floor = energy_at(p, (double)INFINITY);
    if (!(goal >= floor)) {
        return wtl_fail(err, WTL_E_FIT,
                        "magnitude-sensitivity: the goal %g is below the floor "
                        "%g",
                        goal, floor);
    }
    double low = 0.0, high = 1.0;
    if (energy_at(p, low) <= goal) {
        return WTL_OK;
    }
    while (energy_at(p, high) > goal) { /* ends: densities fall with 1 / tau */
        high *= 2.0;
    }
    for (int i = 0; i < BISECTIONS; i++) {
        double middle = low + 0.5 * (high - low);
        if (middle <= low || middle >= high) {
            break;
        }
        if (energy_at(p, middle) <= goal) {
            high = middle;
        } else {
            low = middle;
        }
    }
    (void)energy_at(p, high);
    return WTL_OK;
}

static wtl_status prune_layer(const plan *p, int layer, wtl_error *err)
{
    const wtl_method_context *c = p->context;
    wtl_method_layer *l = &c->layers[layer];
    if (c->stop && c->stop(c->context)) {
        return wtl_fail(err, WTL_E_STOPPED, "magnitude-sensitivity: stopped");
    }
    wtl_status status = wtl_mask_keep_top(&l->param, 1, p->kept[layer], err);
    if (status == WTL_OK && c->report) {
        c->report(
            c->context,
            &(wtl_method_step){
                .layer = layer,
                .kept_before = l->most,
                .kept_after = p->kept[layer],
                .energy_before = wtl_pricing_cost(c->pricing, layer, (double)l->most),
                .energy_after = wtl_pricing_cost(c->pricing, layer, (double)p->kept[layer]),
                .error_before = (double)NAN,
                .error_removal = (double)NAN,
                .error_restoral = (double)NAN,
                .error = (double)NAN});
    }
    if (status == WTL_OK && c->progress) {
        c->progress(c->context, layer + 1, p->count);
    }
    return status;
}

static wtl_status make_curves(plan *p, wtl_error *err)
{
    const double *sensitivity = p->context->sensitivity;
    for (int i = 0; i < p->count; i++, sensitivity += WTL_SENSE_LEVELS) {
        for (int level = 0; level <= LAST; level++) {
            if (!isfinite(sensitivity[level])) {
                return wtl_fail(err, WTL_E_NAN,
                                "%s: its sensitivity at density %g is not finite",
                                p->context->layers[i].param->name, wtl_sense_density(level));
            }
        }
        p->curves[i] = curve_of(sensitivity);
    }
    return WTL_OK;
}

static wtl_status prune(const wtl_method_context *context, wtl_error *err)
{
    plan p = {.context = context, .count = wtl_pricing_count(context->pricing)};
    p.curves = wtl_alloc((size_t)p.count, sizeof *p.curves);
    p.kept = wtl_alloc((size_t)p.count, sizeof *p.kept);
    wtl_status status =
        p.curves && p.kept ? make_curves(&p, err)
                           : wtl_fail(err, WTL_E_NOMEM, "out of memory for %d layers", p.count);
    if (status == WTL_OK) {
        status = find_tau(&p, err);
    }
    for (int i = 0; i < p.count && status == WTL_OK; i++) {
        status = prune_layer(&p, i, err);
    }
    wtl_free(p.curves);
    wtl_free(p.kept);
    return status;
}

const wtl_method wtl_method_magnitude_sensitivity = {
    .name = "magnitude-sensitivity",
    .line =
        "the largest weights of each layer, densities by a sensitivity scan (Han et al. 2015)",
    .wants_sense = true,
    .prune = prune,
};
