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
 *     density costs twice what the one before it did. Scans of LeNet-5 and an AlexNet on
 *     Fashion-MNIST down to density 0.0125 follow it within a factor of about two for most
 *     layers, until a net knows next to nothing; a small classifier falls faster. `rise` is at
 *     least LEAST_TAIL_RISE points, as a layer that lost nothing so far is not free to vanish.
 *     When tau is large, all densities fall by a common factor.
 */
#include "methods.h"

#include "wattle/memory.h"
#include "wattle/sense.h"

#include <math.h>

enum { LAST = WTL_SENSE_LEVELS - 1 };
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
    const wtl_method_context *c;
    int layers;
    curve *curves; /* [layers] */
    size_t *kept;  /* [layers] */
} plan;

/* t = 1 / (1 + tau): from everything lost (0) to nothing (1). */
static void allocate(const void *context, double t, size_t *kept)
{
    const plan *p = context;
    double tau = 1.0 / t - 1.0; /* infinite at 0: density 0 */
    for (int i = 0; i < p->layers; i++) {
        double density = density_at(&p->curves[i], tau);
        kept[i] = (size_t)llround(density * (double)p->c->layers[i].weights);
    }
}

static wtl_status make_curves(plan *p, wtl_error *err)
{
    const double *sensitivity = p->c->sensitivity;
    for (int i = 0; i < p->layers; i++, sensitivity += WTL_SENSE_LEVELS) {
        for (int level = 0; level <= LAST; level++) {
            if (!isfinite(sensitivity[level])) {
                return wtl_fail(err, WTL_E_NAN,
                                "%s: its sensitivity at density %g is not finite",
                                p->c->layers[i].param->name, wtl_sense_density(level));
            }
        }
        p->curves[i] = curve_of(sensitivity);
    }
    return WTL_OK;
}

static wtl_status prune(const wtl_method_context *c, wtl_error *err)
{
    plan p = {.c = c, .layers = wtl_pricing_count(c->pricing)};
    p.curves = wtl_alloc((size_t)p.layers, sizeof *p.curves);
    p.kept = wtl_alloc((size_t)p.layers, sizeof *p.kept);
    wtl_status status =
        p.curves && p.kept
            ? make_curves(&p, err)
            : wtl_fail(err, WTL_E_NOMEM, "pruning: out of memory for %d layers", p.layers);
    if (status == WTL_OK) {
        status = wtl_kept_at_goal(c, allocate, &p, p.kept, err);
    }
    if (status == WTL_OK) {
        status = wtl_prune_layers(c, p.kept, wtl_choose_largest, err);
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
