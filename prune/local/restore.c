/* restore.c - steps 1 and 2: remove too much by magnitude, give back by effect on the output.
 *
 * What is removed and given back is a block: one weight of one filter, or weight j of each
 * filter of a band (wattle/granularity.h). A band is to blocks what a filter is to weights: its
 * error is the mean of its filters', a block's gain the sum of what it takes off theirs.
 *
 * Only the chosen band's residuals change, so only its gains are computed. State is held for
 * every band; the order of choices is the greedy one over the whole layer. What a band would be
 * given next depends on itself alone: threads work that out for the worst few bands at a time,
 * ahead of their turns.
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

/* What a band would be given next. */
typedef struct turn {
    bool ready;
    int count;
    size_t best[MOST_STEP]; /* most gain first */
    double gain[MOST_STEP];
} turn;

typedef struct restoring {
    wtl_local *l;
    const wtl_patch_geometry *g;
    wtl_blocks blocks;
    int bands;
    int rows;               /* that judge */
    float *old;             /* [K,m] weights before */
    unsigned char *removed; /* [bands,m] 1: may come back */
    size_t *left;           /* [bands] of them */
    wtl_block_stock stock;  /* all of them */
    size_t wanted;          /* weights that are still to come back; the stock makes them */
    bool open[2];           /* by kind: one of them may be the next */
    float *residual;        /* [K,rows] */
    double *norm;           /* [bands] mean over its filters of scale * l1 of the residual */
    unsigned char *aside;   /* [bands] nothing of it lowers its error */
    turn *turns;            /* [bands] */
    double *gain;           /* [threads][m] work space */
    uint64_t *keys;         /* [m] for sorting */
} restoring;

/* ---- step 1 ---- */

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

/* What is removed when every band keeps `each` blocks, of as many as it has. */
static wtl_block_stock removed_with(const restoring *re, size_t each)
{
    wtl_block_stock removed = {{re->stock.weights[0], re->stock.weights[1]}, {0, 0}};
    for (int b = 0; b < re->bands; b++) {
        int kind = wtl_blocks_kind(&re->blocks, wtl_blocks_band(&re->blocks, b));
        removed.count[kind] += re->left[b] > each ? re->left[b] - each : 0;
    }
    return removed;
}

/* Weights that every filter keeps after the removal; left[] are those it has, `alive` in all.
 * What is removed must be able to make up the rest. */
static size_t keep_each_of(const restoring *re, size_t alive, size_t keep)
{
    const wtl_local *l = re->l;
    double weights = (double)re->g->k * re->g->width;
    double goal = (double)keep / weights;
    double over = l->options.overshoot < goal / 2 ? l->options.overshoot : goal / 2;
    /* Shares such as 1 - 0.35 come out a little low; a weight is more than 1e-9. */
    size_t each = (size_t)floor((goal - over) * re->g->width + 1e-9);
    while (each * (size_t)re->g->k > keep) {
        each--;
    }
    while (each > 0) {
        wtl_block_stock removed = removed_with(re, each);
        size_t gone =
            removed.weights[0] * removed.count[0] + removed.weights[1] * removed.count[1];
        if (wtl_stock_makes(&removed, gone - (alive - keep))) {
            break;
        }
        each--;
    }
    return each;
}

/* The band keeps its `each` largest blocks; among equals the lower index. */
static void remove_smallest(restoring *re, int b, size_t each)
{
    size_t m = (size_t)re->g->width, alive = 0;
    wtl_band band = wtl_blocks_band(&re->blocks, b);
    const float *mask = re->l->mask + wtl_block_at(&re->blocks, band, 0);
    for (size_t j = 0; j < m; j++) {
        if (mask[j] != 0.0f) { /* the norm's bits above, then the lower index first */
            float norm = wtl_block_norm(&re->blocks, band, j, re->l->weights);
            uint32_t bits;
            memcpy(&bits, &norm, sizeof bits);
            re->keys[alive++] =
                (uint64_t)(bits & 0x7fffffffu) << 32 | (uint32_t)(UINT32_MAX - (uint32_t)j);
        }
    }
    qsort(re->keys, alive, sizeof *re->keys, descending);
    re->left[b] = 0;
    for (size_t rank = each; rank < alive; rank++) {
        size_t j = UINT32_MAX - (uint32_t)re->keys[rank];
        wtl_block_set(&re->blocks, band, j, re->l->mask, 0.0f);
        wtl_block_set(&re->blocks, band, j, re->l->weights, 0.0f);
        re->removed[(size_t)b * m + j] = 1;
        re->left[b]++;
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

/* Filters are compared by their scale, here relative to the band's first. */
static double gain_of_block(const restoring *re, wtl_band band, size_t j)
{
    const float *scale = re->l->options.filter_scale;
    double total = 0.0;
    for (int k = band.first; k < band.first + band.count; k++) {
        double share = scale ? (double)scale[k] / (double)scale[band.first] : 1.0;
        const float *r = re->residual + (size_t)k * (size_t)re->rows;
        float a = re->old[(size_t)k * (size_t)re->g->width + j];
        total += share * gain_of(r, column_of(re, k, j), a, re->rows);
    }
    return total;
}

static void compute_gains(const restoring *re, int b, int threads, double *gain)
{
    wtl_band band = wtl_blocks_band(&re->blocks, b);
    const unsigned char *removed = re->removed + (size_t)b * (size_t)re->g->width;
#pragma omp parallel for num_threads(threads) schedule(static, 64)
    for (int j = 0; j < re->g->width; j++) {
        gain[j] = removed[j] ? gain_of_block(re, band, (size_t)j) : -(double)INFINITY;
    }
}

/* The removed blocks of band b with the largest gains; among equals the lower index. */
static void choose(const restoring *re, int b, const double *gain, turn *t)
{
    const unsigned char *removed = re->removed + (size_t)b * (size_t)re->g->width;
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

static void measure(restoring *re, int b)
{
    const float *scale = re->l->options.filter_scale;
    wtl_band band = wtl_blocks_band(&re->blocks, b);
    double sum = 0.0;
    for (int k = band.first; k < band.first + band.count; k++) {
        const float *r = re->residual + (size_t)k * (size_t)re->rows;
        sum += (scale ? (double)scale[k] : 1.0) * wtl_norm_1(r, (size_t)re->rows);
    }
    re->norm[b] = sum / band.count;
}

static void see_what_fits(restoring *re)
{
    for (int kind = 0; kind < 2; kind++) {
        re->open[kind] = wtl_stock_makes_with(&re->stock, kind, re->wanted);
    }
}

static void give_back(restoring *re, int b, size_t j)
{
    size_t m = (size_t)re->g->width;
    wtl_band band = wtl_blocks_band(&re->blocks, b);
    for (int k = band.first; k < band.first + band.count; k++) {
        size_t at = (size_t)k * m + j;
        float *r = re->residual + (size_t)k * (size_t)re->rows;
        const float *x = column_of(re, k, j);
        float a = re->old[at];
        for (int t = 0; t < re->rows; t++) {
            r[t] -= x[t] * a;
        }
        re->l->weights[at] = a;
    }
    wtl_block_set(&re->blocks, band, j, re->l->mask, 1.0f);
    re->removed[(size_t)b * m + j] = 0;
    re->left[b]--;
    re->stock.count[wtl_blocks_kind(&re->blocks, band)]--;
    re->wanted -= (size_t)band.count;
    see_what_fits(re);
}

/* Whether one of the band's blocks may be the next: with it the rest can still be made up. */
static bool has_room(const restoring *re, int b)
{
    return re->open[wtl_blocks_kind(&re->blocks, wtl_blocks_band(&re->blocks, b))];
}

static bool is_open(const restoring *re, int b, bool last_resort)
{
    return re->left[b] > 0 && (last_resort || !re->aside[b]) && has_room(re, b);
}

/* The band with the largest error that has something to give back, or -1. */
static int worst_band(const restoring *re, bool last_resort)
{
    int worst = -1;
    for (int b = 0; b < re->bands; b++) {
        if (is_open(re, b, last_resort) && (worst < 0 || re->norm[b] > re->norm[worst])) {
            worst = b;
        }
    }
    return worst;
}

/* list[] := the worst open bands whose next turn is not known, at most `most`. */
static int worst_unready(const restoring *re, bool last_resort, int most, int *list)
{
    int count = 0;
    for (int b = 0; b < re->bands; b++) {
        if (!is_open(re, b, last_resort) || re->turns[b].ready ||
            (count == most && !(re->norm[b] > re->norm[list[most - 1]]))) {
            continue;
        }
        int at = count < most ? count++ : most - 1;
        for (; at > 0 && re->norm[b] > re->norm[list[at - 1]]; at--) {
            list[at] = list[at - 1];
        }
        list[at] = b;
    }
    return count;
}

/* Work out the turn of the worst band and, with threads, of those that come after it. */
static void look_ahead(restoring *re, bool last_resort)
{
    int threads = re->l->options.threads, list[MOST_AHEAD] = {0};
    int most = threads < MOST_AHEAD / AHEAD ? threads * AHEAD : (int)MOST_AHEAD;
    int count = worst_unready(re, last_resort, threads > 1 ? most : 1, list);
    size_t m = (size_t)re->g->width;
    double work = 0.0;
    for (int i = 0; i < count; i++) {
        work += (double)re->left[list[i]] * re->blocks.height * re->rows;
    }
    int workers = work >= WORTH_A_FORK ? threads : 1;
    bool together = count >= threads; /* else threads share a band's blocks */
#pragma omp parallel for num_threads(together ? workers : 1) schedule(dynamic, 1)
    for (int i = 0; i < count; i++) {
        double *gain = re->gain + (size_t)omp_get_thread_num() * m;
        compute_gains(re, list[i], together ? 1 : workers, gain);
        choose(re, list[i], gain, &re->turns[list[i]]);
    }
}

static void restore(restoring *re)
{
    bool last_resort = re->l->options.restore_losses;
    see_what_fits(re);
    while (re->wanted > 0) {
        int b = worst_band(re, last_resort);
        if (b < 0) { /* all are set aside: something is left, or keep was in range */
            last_resort = true;
            continue;
        }
        turn *t = &re->turns[b];
        if (!t->ready) {
            look_ahead(re, last_resort);
        }
        int given = 0;
        while (given < t->count && has_room(re, b) && (last_resort || t->gain[given] > 0.0)) {
            give_back(re, b, t->best[given++]);
        }
        re->aside[b] = given == 0;
        t->ready = given == 0; /* its residuals are as they were */
        measure(re, b);
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
    size_t k = (size_t)re->g->k, m = (size_t)re->g->width, bands = (size_t)re->bands;
    re->old = wtl_alloc(k * m, sizeof *re->old);
    re->removed = wtl_alloc(bands * m, 1);
    re->left = wtl_alloc(bands, sizeof *re->left);
    re->residual = wtl_alloc(k * (size_t)re->rows, sizeof *re->residual);
    re->norm = wtl_alloc(bands, sizeof *re->norm);
    re->aside = wtl_alloc(bands, 1);
    re->turns = wtl_alloc(bands, sizeof *re->turns);
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

/* Step 1, to where step 2 can give back until `keep` stay; `alive` are there now. */
static void remove_too_many(restoring *re, size_t alive, size_t keep)
{
    size_t m = (size_t)re->g->width;
    for (int b = 0; b < re->bands; b++) {
        wtl_band band = wtl_blocks_band(&re->blocks, b);
        re->left[b] = count_kept(re->l->mask + wtl_block_at(&re->blocks, band, 0), m);
    }
    size_t each = keep_each_of(re, alive, keep);
    re->stock = removed_with(re, each);
    for (int b = 0; b < re->bands; b++) {
        remove_smallest(re, b, each);
    }
}

static wtl_status run(restoring *re, size_t keep, wtl_reconstruct_report *report,
                      wtl_error *err)
{
    wtl_local *l = re->l;
    size_t weights = (size_t)re->g->k * (size_t)re->g->width;
    size_t alive = count_kept(l->mask, weights);
    if (keep > alive) {
        return wtl_fail(err, WTL_E_RANGE,
                        "reconstruct: %zu weights are to be kept, there are %zu", keep, alive);
    }
    if (!wtl_blocks_whole(&re->blocks, l->mask)) {
        return wtl_fail(err, WTL_E_ARG, "reconstruct: the mask is not of whole 4x1 blocks");
    }
    memcpy(re->old, l->weights, weights * sizeof *re->old);
    re->stock = wtl_blocks_kept(&re->blocks, l->mask);
    keep = wtl_stock_at_most(&re->stock, keep);
    remove_too_many(re, alive, keep);
    size_t kept = count_kept(l->mask, weights);
    re->wanted = keep - kept;
    report->removed = alive - kept;
    report->restored = keep - kept;
    wtl_status status = wtl_output_error_of(l, &report->removal, err);
    if (status == WTL_OK) {
        wtl_residuals(l, re->rows, re->residual, (size_t)re->rows);
        for (int b = 0; b < re->bands; b++) {
            measure(re, b);
        }
        restore(re);
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
    re.blocks =
        wtl_blocks_make(l->options.granularity, re.g->k, re.g->groups, (size_t)re.g->width);
    re.bands = wtl_blocks_bands(&re.blocks);
    wtl_status status = allocate(&re)
                            ? run(&re, keep, report, err)
                            : wtl_fail(err, WTL_E_NOMEM, "reconstruct: out of memory");
    clear(&re);
    return status;
}
