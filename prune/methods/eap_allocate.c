/* eap_allocate.c - how many weights every layer keeps, so that the goal is met.
 *
 * One number serves all layers, found by bisection:
 *   equal error  the relative output error tau that every layer may have
 *   by energy    s: a layer keeps the share 1 - s * E / E_max of its weights
 * A layer is held between its least and what it keeps now.
 */
#include "eap.h"

#include <math.h>
#include <string.h>

/* ---- curves ---- */

void wtl_eap_curve_add(wtl_eap_curve *curve, double share, double error)
{
    int at = curve->count;
    if (at == WTL_EAP_POINTS || !(share >= 0.0 && share <= 1.0)) {
        return;
    }
    for (int i = 0; i < at; i++) {
        if (fabs(curve->share[i] - share) < 1e-9) {
            return;
        }
    }
    for (; at > 0 && curve->share[at - 1] > share; at--) {
        curve->share[at] = curve->share[at - 1];
        curve->error[at] = curve->error[at - 1];
    }
    curve->share[at] = share;
    curve->error[at] = error;
    curve->count++;
}

/* Between points the logarithm of the error is a line over the share. A little is added so that
 * an error of 0 has a logarithm; more weights never count as a larger error, and so that one
 * tolerance has one answer, as a slightly smaller one. */
void wtl_eap_curve_finish(wtl_eap_curve *curve)
{
    static const double ZERO = 1e-3, LESS = 1e-6;
    for (int i = 0; i < curve->count; i++) {
        curve->level[i] = log(curve->error[i] + ZERO);
        if (i > 0 && !(curve->level[i] < curve->level[i - 1] - LESS)) {
            curve->level[i] = curve->level[i - 1] - LESS;
        }
    }
}

/* The least share with a level of at most `level`. */
static double share_at(const wtl_eap_curve *curve, double level)
{
    int i = 0;
    while (i < curve->count && curve->level[i] > level) {
        i++;
    }
    if (i == 0 || i == curve->count) {
        return i == 0 ? 0.0 : 1.0;
    }
    double t = (curve->level[i - 1] - level) / (curve->level[i - 1] - curve->level[i]);
    return curve->share[i - 1] + t * (curve->share[i] - curve->share[i - 1]);
}

/* ---- one number for all ---- */

static size_t keep_at(const wtl_eap_round *round, const wtl_eap_layer *layer, double number)
{
    double share = 1.0;
    if (layer->least >= layer->kept) {
        return layer->kept;
    }
    if (round->options.allocation == WTL_EAP_BY_ENERGY) {
        share -= number * layer->energy / round->layers[0].energy;
    } else {
        share = share_at(&layer->curve, number);
    }
    double keep = ceil(share * (double)layer->kept - 1e-6);
    return keep <= (double)layer->least  ? layer->least
           : keep >= (double)layer->kept ? layer->kept
                                         : (size_t)keep;
}

double wtl_eap_energy(const wtl_eap_round *round)
{
    for (int i = 0; i < round->count; i++) {
        round->nonzeros[round->layers[i].index] = (double)round->layers[i].keep;
    }
    return wtl_pricing_total(round->context->pricing, round->nonzeros);
}

static double energy_at(wtl_eap_round *round, double number)
{
    for (int i = 0; i < round->count; i++) {
        round->layers[i].keep = keep_at(round, &round->layers[i], number);
    }
    return wtl_eap_energy(round);
}

/* *low := a number at which nothing goes, *high := one at which all goes. */
static void number_range(const wtl_eap_round *round, double *low, double *high)
{
    *low = 0.0;
    *high = 0.0;
    bool first = true;
    for (int i = 0; i < round->count; i++) {
        const wtl_eap_layer *layer = &round->layers[i];
        const wtl_eap_curve *curve = &layer->curve;
        if (layer->least >= layer->kept) {
            continue;
        }
        double least = 0.0, most = 1.0;
        if (round->options.allocation == WTL_EAP_BY_ENERGY) {
            most = layer->energy > 0.0 ? round->layers[0].energy / layer->energy : most;
        } else {
            least = curve->level[curve->count - 1] - 1.0;
            most = curve->level[0];
        }
        *low = first || least < *low ? least : *low;
        *high = first || most > *high ? most : *high;
        first = false;
    }
}

/* Give the layer as many weights as the goal has room for, but no more than `most` in all. */
static void fill_up(wtl_eap_round *round, wtl_eap_layer *layer, size_t most)
{
    size_t good = layer->keep;
    while (good < most) {
        layer->keep = good + (most - good + 1) / 2;
        if (wtl_eap_energy(round) <= round->context->goal_energy) {
            good = layer->keep;
        } else {
            most = layer->keep - 1;
        }
    }
    layer->keep = good;
}

wtl_status wtl_eap_allocate(wtl_eap_round *round, wtl_error *err)
{
    enum { HALVINGS = 100 }; /* to the last bit */
    double goal = round->context->goal_energy, low, high;
    for (int i = 0; i < round->count; i++) {
        round->layers[i].keep = round->layers[i].least;
    }
    double floor_energy = wtl_eap_energy(round);
    if (!(floor_energy <= goal)) {
        return wtl_fail(err, WTL_E_FIT,
                        "energy-aware: the goal is an energy of %g, limits allow no less "
                        "than %g",
                        goal, floor_energy);
    }
    number_range(round, &low, &high);
    if (energy_at(round, low) <= goal) {
        return WTL_OK;
    }
    for (int i = 0; i < HALVINGS; i++) {
        double middle = 0.5 * (low + high);
        *(energy_at(round, middle) <= goal ? &high : &low) = middle;
    }
    (void)energy_at(round, high);
    for (int i = 0; i < round->count; i++) { /* up to `low`, where the goal is just missed */
        fill_up(round, &round->layers[i], keep_at(round, &round->layers[i], low));
    }
    for (int i = 0; i < round->count; i++) { /* what is left is less than one such weight */
        fill_up(round, &round->layers[i], round->layers[i].kept);
    }
    return WTL_OK;
}
