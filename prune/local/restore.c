/* restore.c - steps 1 and 2: remove too much by magnitude, give back by effect on the output.
 *
 * Only the chosen filter's residual changes, so only its gains are computed. State is held for
 * every filter; the order of choices is the greedy one over the whole layer.
 */
#include "reconstruct_private.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 16, CHUNK = 256, MOST_STEP = 64, WORTH_A_FORK = 1 << 16 };

typedef struct restoring {
    wtl_local *l;
    const wtl_patch_geometry *g;
    int rows;               /* that judge */
    float *old;             /* [K,m] weights before */
    unsigned char *removed; /* [K,m] 1: may come back */
    size_t *left;           /* [K] of them */
    float *residual;        /* [K,rows] */
    double *norm;           /* [K] scale * l1 of the residual */
    unsigned char *aside;   /* [K] nothing of it lowers its error */
    double *gain;           /* [m] of the chosen filter */
    uint64_t *keys;         /* [m] for sorting */
} restoring;

/* ---- step 1 ---- */

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* Weights that every filter keeps after the removal. */
static size_t keep_each_of(const wtl_local *l, size_t keep)
{
    double weights = (double)l->moments->g.k * l->moments->g.width;
    double goal = (double)keep / weights;
    double over = l->options.overshoot < goal / 2 ? l->options.overshoot : goal / 2;
    /* Shares such as 1 - 0.35 come out a little low; a weight is more than 1e-9. */
    size_t each = (size_t)floor((goal - over) * l->moments->g.width + 1e-9);
    while (each * (size_t)l->moments->g.k > keep) {
        each--;
    }
    return each;
}

/* The filter keeps its `each` largest; among equals the lower index. */
static void remove_smallest(restoring *re, int k, size_t each)
{
    size_t m = (size_t)re->g->width, alive = 0;
    float *w = re->l->weights + (size_t)k * m, *mask = re->l->mask + (size_t)k * m;
    for (size_t i = 0; i < m; i++) {
        if (mask[i] != 0.0f) { /* magnitude's bits above, then the lower index first */
            uint32_t bits;
            memcpy(&bits, &w[i], sizeof bits);
            re->keys[alive++] =
                (uint64_t)(bits & 0x7fffffffu) << 32 | (uint32_t)(UINT32_MAX - (uint32_t)i);
        }
    }
    qsort(re->keys, alive, sizeof *re->keys, descending);
    for (size_t rank = each; rank < alive; rank++) {
        size_t i = UINT32_MAX - (uint32_t)re->keys[rank];
        mask[i] = w[i] = 0.0f;
        re->removed[(size_t)k * m + i] = 1;
        re->left[k]++;
    }
}

/* ---- step 2 ---- */

/* sum of |r| - |r - x a| */
WTL_HOT static double gain_of(const float *restrict r, const float *restrict x, float a,
                              int count)
{
    double total = 0.0;
    int t = 0;
    while (count - t >= LANES) {
        float lane[LANES] = {0};
        int end = count - t < CHUNK ? t + (count - t) / LANES * LANES : t + CHUNK;
        for (; t < end; t += LANES) {
            for (int i = 0; i < LANES; i++) {
                lane[i] += fabsf(r[t + i]) - fabsf(r[t + i] - x[t + i] * a);
            }
        }
        for (int i = 0; i < LANES; i++) {
            total += (double)lane[i];
        }
    }
    for (; t < count; t++) {
        total += (double)(fabsf(r[t]) - fabsf(r[t] - x[t] * a));
    }
    return total;
}

static const float *column_of(const restoring *re, int k, size_t j)
{
    size_t group = (size_t)(k / re->g->filters);
    return re->l->moments->samples +
           (group * (size_t)re->g->width + j) * re->l->moments->capacity;
}

static void compute_gains(restoring *re, int k)
{
    size_t m = (size_t)re->g->width;
    const float *r = re->residual + (size_t)k * (size_t)re->rows,
                *old = re->old + (size_t)k * m;
    const unsigned char *removed = re->removed + (size_t)k * m;
    bool worth = (double)re->left[k] * re->rows >= WORTH_A_FORK;
#pragma omp parallel for num_threads(worth ? re->l->options.threads : 1) schedule(static, 64)
    for (int j = 0; j < re->g->width; j++) {
        re->gain[j] = removed[j] ? gain_of(r, column_of(re, k, (size_t)j), old[j], re->rows)
                                 : -(double)INFINITY;
    }
}

/* best[] := the removed weights of filter k with the largest gains, at most `most`; among equals
 * the lower index. Returns how many. */
static int choose(const restoring *re, int k, int most, size_t best[MOST_STEP])
{
    int count = 0;
    const unsigned char *removed = re->removed + (size_t)k * (size_t)re->g->width;
    for (size_t j = 0; j < (size_t)re->g->width; j++) {
        if (!removed[j] || (count == most && !(re->gain[j] > re->gain[best[count - 1]]))) {
            continue;
        }
        int at = count < most ? count++ : count - 1;
        for (; at > 0 && re->gain[j] > re->gain[best[at - 1]]; at--) {
            best[at] = best[at - 1];
        }
        best[at] = j;
    }
    return count;
}

static void measure(restoring *re, int k)
{
    double scale = re->l->options.filter_scale ? (double)re->l->options.filter_scale[k] : 1.0;
    re->norm[k] =
        scale * wtl_norm_1(re->residual + (size_t)k * (size_t)re->rows, (size_t)re->rows);
}

static void give_back(restoring *re, int k, size_t j)
{
    size_t at = (size_t)k * (size_t)re->g->width + j;
    float *r = re->residual + (size_t)k * (size_t)re->rows;
    const float *x = column_of(re, k, j);
    float a = re->old[at];
    for (int t = 0; t < re->rows; t++) {
        r[t] -= x[t] * a;
    }
    re->l->weights[at] = a;
    re->l->mask[at] = 1.0f;
    re->removed[at] = 0;
    re->left[k]--;
}

/* The filter with the largest error that has something to give back, or -1. */
static int worst_filter(const restoring *re, bool last_resort)
{
    int worst = -1;
    for (int k = 0; k < re->g->k; k++) {
        bool open = re->left[k] > 0 && (last_resort || !re->aside[k]);
        if (open && (worst < 0 || re->norm[k] > re->norm[worst])) {
            worst = k;
        }
    }
    return worst;
}

static void restore(restoring *re, size_t wanted)
{
    bool last_resort = re->l->options.restore_losses;
    while (wanted > 0) {
        int k = worst_filter(re, last_resort);
        if (k < 0) { /* all are set aside: something is left, or keep was in range */
            last_resort = true;
            continue;
        }
        compute_gains(re, k);
        size_t best[MOST_STEP];
        int step = re->l->options.restore_step;
        int count = choose(re, k, (size_t)step < wanted ? step : (int)wanted, best);
        int given = 0;
        while (given < count && (last_resort || re->gain[best[given]] > 0.0)) {
            give_back(re, k, best[given++]);
        }
        re->aside[k] = given == 0;
        wanted -= (size_t)given;
        measure(re, k);
    }
}

/* ---- both ---- */

static size_t count_kept(const float *mask, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        kept += mask[i] != 0.0f;
    }
    return kept;
}

static bool allocate(restoring *re)
{
    size_t k = (size_t)re->g->k, m = (size_t)re->g->width;
    re->old = wtl_alloc(k * m, sizeof *re->old);
    re->removed = wtl_alloc(k * m, 1);
    re->left = wtl_alloc(k, sizeof *re->left);
    re->residual = wtl_alloc(k * (size_t)re->rows, sizeof *re->residual);
    re->norm = wtl_alloc(k, sizeof *re->norm);
    re->aside = wtl_alloc(k, 1);
    re->gain = wtl_alloc(m, sizeof *re->gain);
    re->keys = wtl_alloc(m, sizeof *re->keys);
    return re->old && re->removed && re->left && re->residual && re->norm && re->aside &&
           re->gain && re->keys;
}

static void clear(restoring *re)
{
    wtl_free(re->old);
    wtl_free(re->removed);
    wtl_free(re->left);
    wtl_free(re->residual);
    wtl_free(re->norm);
    wtl_free(re->aside);
    wtl_free(re->gain);
    wtl_free(re->keys);
}

static wtl_status run(restoring *re, size_t keep, wtl_reconstruct_report *report,
                      wtl_error *err)
{
    wtl_local *l = re->l;
    size_t weights = (size_t)re->g->k * (size_t)re->g->width;
    size_t alive = count_kept(l->mask, weights), each = keep_each_of(l, keep);
    if (keep > alive) {
        return wtl_fail(err, WTL_E_RANGE,
                        "reconstruct: %zu weights are to be kept, there are %zu", keep, alive);
    }
    memcpy(re->old, l->weights, weights * sizeof *re->old);
    for (int k = 0; k < re->g->k; k++) {
        remove_smallest(re, k, each);
    }
    size_t kept = count_kept(l->mask, weights);
    report->removed = alive - kept;
    report->restored = keep - kept;
    wtl_status status = wtl_output_error_of(l, &report->removal, err);
    if (status == WTL_OK) {
        wtl_residuals(l, re->rows, re->residual, (size_t)re->rows);
        for (int k = 0; k < re->g->k; k++) {
            measure(re, k);
        }
        restore(re, keep - kept);
    }
    return status;
}

wtl_status wtl_restore(wtl_local *l, size_t keep, wtl_reconstruct_report *report,
                       wtl_error *err)
{
    restoring re = {.l = l, .g = &l->moments->g, .rows = (int)l->moments->rows};
    if (l->options.restore_rows > 0 && l->options.restore_rows < l->moments->rows) {
        re.rows = (int)l->options.restore_rows;
    }
    wtl_status status = allocate(&re)
                            ? run(&re, keep, report, err)
                            : wtl_fail(err, WTL_E_NOMEM, "reconstruct: out of memory");
    clear(&re);
    return status;
}
