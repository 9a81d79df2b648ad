/* eap_allocate.c - how many weights every layer keeps, so that the goal is met.
 *
 * One number serves all layers, found by bisection; a layer keeps the share of its weights that
 * its line has at that number, the less the larger it is:
 *   least error  log lambda: the share x that makes e(x)^2 + lambda * E(x) least, e the layer's
 *                relative output error, E its energy as a share of all: what is saved is saved
 *                where it costs the least squared error (Lagrange's condition). Along an edge of
 *                the lower hull of (E, e^2) all shares are as good, so that the answer jumps:
 *                the line goes through the edges' middles instead
 *   equal error  log tau, the error that every layer may have
 *   by energy    s: the share 1 - s * E / E_max
 * A layer is held between its least and what it keeps now.
 */
#include "eap.h"
#include "methods.h"
#include "wattle/memory.h"

#include <math.h>

const char *const wtl_allocation_words[] = {[WTL_EAP_LEAST_ERROR] = "least-error",
                                            [WTL_EAP_EQUAL_ERROR] = "equal-error",
                                            [WTL_EAP_BY_ENERGY] = "by-energy",
                                            NULL};

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

static double error_at(const wtl_eap_curve *curve, double share)
{
    int i = 0;
    while (i < curve->count && curve->share[i] < share) {
        i++;
    }
    if (i == 0 || i == curve->count) {
        return exp(curve->level[i == 0 ? 0 : curve->count - 1]);
    }
    double t = (share - curve->share[i - 1]) / (curve->share[i] - curve->share[i - 1]);
    return exp(curve->level[i - 1] + t * (curve->level[i] - curve->level[i - 1]));
}

/* ---- lines ---- */

/* Shares rise from 0 to 1 as numbers fall. */
typedef struct share_line {
    int count;
    double share[WTL_EAP_POINTS], number[WTL_EAP_POINTS];
} share_line;

static double share_at(const share_line *line, double number)
{
    int i = 0;
    while (i < line->count && line->number[i] > number) {
        i++;
    }
    if (i == 0 || i == line->count) {
        return i == 0 ? 0.0 : 1.0;
    }
    double t = (line->number[i - 1] - number) / (line->number[i - 1] - line->number[i]);
    return line->share[i - 1] + t * (line->share[i] - line->share[i - 1]);
}

static void add_point(share_line *line, double share, double number)
{
    line->share[line->count] = share;
    line->number[line->count++] = number;
}

static void line_by_energy(const wtl_eap_round *round, const wtl_eap_layer *layer,
                           share_line *line)
{
    double most = round->layers[0].energy;
    add_point(line, 0.0, layer->energy > 0.0 ? most / layer->energy : 1.0);
    add_point(line, 1.0, 0.0);
}

static void line_of_equal_error(const wtl_eap_layer *layer, share_line *line)
{
    for (int i = 0; i < layer->curve.count; i++) {
        add_point(line, layer->curve.share[i], layer->curve.level[i]);
    }
}

/* ---- least error ---- */

enum { TRIALS = WTL_EAP_POINTS - 4 }; /* shares that are looked at */

typedef struct corner {
    double share, energy, square; /* energy as a share of all; square of the error */
} corner;

typedef struct hull {
    int count;
    corner at[TRIALS + 2]; /* share and energy rise */
} hull;

static double steepness(const corner *a, const corner *b)
{
    return (a->square - b->square) / (b->energy - a->energy);
}

static void add_corner(hull *h, corner next)
{
    while (h->count > 0 && !(next.energy > h->at[h->count - 1].energy)) {
        h->count--; /* more weights for the same energy */
    }
    while (h->count > 1 && steepness(&h->at[h->count - 2], &h->at[h->count - 1]) <=
                               steepness(&h->at[h->count - 1], &next)) {
        h->count--; /* above the line from its neighbour to the new one */
    }
    h->at[h->count++] = next;
}

/* No weight, then 1 % of the present ones to all of them. */
static void make_hull(const wtl_eap_round *round, const wtl_eap_layer *layer, hull *h)
{
    const wtl_pricing *pricing = round->context->pricing;
    double total = wtl_pricing_total(pricing, round->nonzeros);
    h->count = 0;
    for (int i = -1; i <= TRIALS; i++) {
        double share = i < 0 ? 0.0 : pow(0.01, 1.0 - (double)i / TRIALS);
        double error = error_at(&layer->curve, share);
        double cost = wtl_pricing_cost(pricing, layer->index, share * (double)layer->kept);
        add_corner(h, (corner){share, cost / total, error * error});
    }
}

static void line_of_least_error(const wtl_eap_round *round, const wtl_eap_layer *layer,
                                share_line *line)
{
    hull h;
    make_hull(round, layer, &h);
    for (int i = 0; i + 1 < h.count; i++) {
        double number = log(steepness(&h.at[i], &h.at[i + 1]));
        if (i == 0) {
            add_point(line, 0.0, number + 1.0);
        }
        add_point(line, 0.5 * (h.at[i].share + h.at[i + 1].share), number);
    }
    add_point(line, 1.0, line->count > 0 ? line->number[line->count - 1] - 1.0 : 0.0);
}

/* ---- one number for all ---- */

/* At t = 1 nothing goes, at t = 0 all. */
typedef struct allocation {
    const wtl_eap_round *round;
    share_line *lines; /* [count]; empty where nothing may go */
    double low, high;  /* numbers at t = 1 and t = 0 */
} allocation;

static void allocate(const void *context, double t, size_t *kept)
{
    const allocation *a = context;
    double number = a->high + t * (a->low - a->high);
    for (int i = 0; i < a->round->count; i++) {
        const wtl_eap_layer *layer = &a->round->layers[i];
        double keep = ceil(share_at(&a->lines[i], number) * (double)layer->kept - 1e-6);
        bool open = a->lines[i].count > 0;
        kept[layer->index] = !open ? layer->kept : keep > 0.0 ? (size_t)keep : 0;
    }
}

static void make_lines(allocation *a)
{
    bool first = true;
    for (int i = 0; i < a->round->count; i++) {
        const wtl_eap_layer *layer = &a->round->layers[i];
        share_line *line = &a->lines[i];
        if (layer->least >= layer->kept) {
            continue;
        }
        switch (a->round->options.allocation) {
        case WTL_EAP_BY_ENERGY:
            line_by_energy(a->round, layer, line);
            break;
        case WTL_EAP_EQUAL_ERROR:
            line_of_equal_error(layer, line);
            break;
        case WTL_EAP_LEAST_ERROR:
            line_of_least_error(a->round, layer, line);
            break;
        }
        double high = line->number[0], low = line->number[line->count - 1];
        a->high = first || high > a->high ? high : a->high;
        a->low = first || low < a->low ? low : a->low;
        first = false;
    }
}

wtl_status wtl_eap_allocate(wtl_eap_round *round, wtl_error *err)
{
    allocation a = {.round = round};
    a.lines = wtl_alloc((size_t)round->count, sizeof *a.lines);
    if (!a.lines) {
        return wtl_fail(err, WTL_E_NOMEM, "energy-aware: out of memory for the allocation");
    }
    make_lines(&a);
    wtl_status status = wtl_kept_at_goal(round->context, allocate, &a, round->kept, err);
    for (int i = 0; i < round->count && status == WTL_OK; i++) {
        round->layers[i].keep = round->kept[round->layers[i].index];
    }
    wtl_free(a.lines);
    return status;
}
