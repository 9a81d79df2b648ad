/* restore.c - steps 1 and 2: remove too much by magnitude, give back by effect on the output.
 *
 * Only the chosen filter's residual changes, so only its gains are computed. State is held for
 * every filter; the order of choices is the greedy one over the whole layer. What a filter would
 * be given next depends on itself alone: threads work that out for the worst few filters at a
 * time, ahead of their turns.
 */
#include "reconstruct_private.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <math.h>
#include <omp.h>
#include <stdlib.h>
#include <string.h>

enum {
    LANES = 16,
    CHUNK = 256,
    MOST_STEP = 64,
    WORTH_A_FORK = 1 << 16,
    AHEAD = 16, /* turns for each thread */
    MOST_AHEAD = 256
};

/* What a filter would be given next. */
typedef struct turn {
    bool ready;
    int count;
    size_t best[MOST_STEP]; /* most gain first */
    double gain[MOST_STEP];
} turn;

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
    turn *turns;            /* [K] */
    double *gain;           /* [threads][m] work space */
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

static void compute_gains(const restoring *re, int k, int threads, double *gain)
{
    size_t m = (size_t)re->g->width;
    const float *r = re->residual + (size_t)k * (size_t)re->rows,
                *old = re->old + (size_t)k * m;
    const unsigned char *removed = re->removed + (size_t)k * m;
#pragma omp parallel for num_threads(threads) schedule(static, 64)
    for (int j = 0; j < re->g->width; j++) {
        gain[j] = removed[j] ? gain_of(r, column_of(re, k, (size_t)j), old[j], re->rows)
                             : -(double)INFINITY;
    }
}

/* The removed weights of filter k with the largest gains; among equals the lower index. */
static void choose(const restoring *re, int k, const double *gain, turn *t)
{
    const unsigned char *removed = re->removed + (size_t)k * (size_t)re->g->width;
    int most = re->l->options.restore_step;
    t->count = 0;
    for (size_t j = 0; j < (size_t)re->g->width; j++) {
        if (!removed[j] || (t->count == most && !(gain[j] > t->gain[most - 1]))) {
            continue;
        }
        int at = t->count < most ? t->count++ : most - 1;
        for (; at > 0 && gain[j] > t->gain[at - 1]; at--) {
            t->best[at] = t->best[at - 1];
            t->gain[at] = t->gain[at - 1];
        }
        t->best[at] = j;
        t->gain[at] = gain[j];
    }
    t->ready = true;
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

static bool is_open(const restoring *re, int k, bool last_resort)
{
    return re->left[k] > 0 && (last_resort || !re->aside[k]);
}

/* The filter with the largest error that has something to give back, or -1. */
static int worst_filter(const restoring *re, bool last_resort)
{
    int worst = -1;
    for (int k = 0; k < re->g->k; k++) {
        if (is_open(re, k, last_resort) && (worst < 0 || re->norm[k] > re->norm[worst])) {
            worst = k;
        }
    }
    return worst;
}

/* list[] := the worst open filters whose next turn is not known, at most `most`. */
static int worst_unready(const restoring *re, bool last_resort, int most, int *list)
{
    int count = 0;
    for (int k = 0; k < re->g->k; k++) {
        if (!is_open(re, k, last_resort) || re->turns[k].ready ||
            (count == most && !(re->norm[k] > re->norm[list[most - 1]]))) {
            continue;
        }
        int at = count < most ? count++ : most - 1;
        for (; at > 0 && re->norm[k] > re->norm[list[at - 1]]; at--) {
            list[at] = list[at - 1];
        }
        list[at] = k;
    }
    return count;
}

/* Work out the turn of the worst filter and, with threads, of those that come after it. */
static void look_ahead(restoring *re, bool last_resort)
{
    int threads = re->l->options.threads, list[MOST_AHEAD] = {0};
    int most = threads < MOST_AHEAD / AHEAD ? threads * AHEAD : (int)MOST_AHEAD;
    int count = worst_unready(re, last_resort, threads > 1 ? most : 1, list);
    size_t m = (size_t)re->g->width;
    double work = 0.0;
    for (int i = 0; i < count; i++) {
        work += (double)re->left[list[i]] * re->rows;
    }
    int workers = work >= WORTH_A_FORK ? threads : 1;
    bool together = count >= threads; /* else threads share a filter's weights */
#pragma omp parallel for num_threads(together ? workers : 1) schedule(dynamic, 1)
    for (int i = 0; i < count; i++) {
        double *gain = re->gain + (size_t)omp_get_thread_num() * m;
        compute_gains(re, list[i], together ? 1 : workers, gain);
        choose(re, list[i], gain, &re->turns[list[i]]);
    }
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
        turn *t = &re->turns[k];
        if (!t->ready) {
            look_ahead(re, last_resort);
        }
        int count = (size_t)t->count < wanted ? t->count : (int)wanted, given = 0;
        while (given < count && (last_resort || t->gain[given] > 0.0)) {
            give_back(re, k, t->best[given++]);
        }
        re->aside[k] = given == 0;
        t->ready = given == 0; /* its residual is as it was */
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
    re->turns = wtl_alloc(k, sizeof *re->turns);
    re->gain = wtl_alloc((size_t)re->l->options.threads * m, sizeof *re->gain);
    re->keys = wtl_alloc(m, sizeof *re->keys);
    return re->old && re->removed && re->left && re->residual && re->norm && re->aside &&
           re->turns && re->gain && re->keys;
}

static void clear(restoring *re)
{
    wtl_free(re->old);
    wtl_free(re->removed);
    wtl_free(re->left);
    wtl_free(re->residual);
    wtl_free(re->norm);
    wtl_free(re->aside);
    wtl_free(re->turns);
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
