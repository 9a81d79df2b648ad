/* eap_allocate.c - how many weights every layer keeps, so that the goal is met.
 *
 * One number serves all layers, found by bisection:
 *   equal error  the relative output error tau that every layer may have
 *   by energy    s: a layer keeps the share 1 - s * E / E_max of its weights
 * A layer is held between its least and what it keeps now.
 */
#include "../methods.h"
#include "eap.h"

#include <math.h>

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

/* At t = 1 nothing goes, at t = 0 all. */
typedef struct allocation {
    const wtl_eap_round *round;
    double low, high; /* numbers at t = 1 and t = 0 */
} allocation;

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
    return keep > 0.0 ? (size_t)keep : 0;
}

static void allocate(const void *context, double t, size_t *kept)
{
    const allocation *a = context;
    for (int i = 0; i < a->round->count; i++) {
        const wtl_eap_layer *layer = &a->round->layers[i];
        kept[layer->index] = keep_at(a->round, layer, a->high + t * (a->low - a->high));
    }
}

/* The tolerances, or s, between which all layers' answers lie. */
static void find_range(allocation *a)
{
    bool first = true;
    a->low = a->high = 0.0;
    for (int i = 0; i < a->round->count; i++) {
        const wtl_eap_layer *layer = &a->round->layers[i];
        const wtl_eap_curve *curve = &layer->curve;
        double least = 0.0, most = 1.0;
        if (layer->least >= layer->kept) {
            continue;
        }
        if (a->round->options.allocation == WTL_EAP_BY_ENERGY) {
            most = layer->energy > 0.0 ? a->round->layers[0].energy / layer->energy : most;
        } else {
            least = curve->level[curve->count - 1] - 1.0;
            most = curve->level[0];
        }
        a->low = first || least < a->low ? least : a->low;
        a->high = first || most > a->high ? most : a->high;
        first = false;
    }
}

wtl_status wtl_eap_allocate(wtl_eap_round *round, wtl_error *err)
{
    allocation a = {.round = round};
    find_range(&a);
    wtl_status status = wtl_kept_at_goal(round->context, allocate, &a, round->kept, err);
    for (int i = 0; i < round->count && status == WTL_OK; i++) {
        round->layers[i].keep = round->kept[round->layers[i].index];
    }
    return status;
}
