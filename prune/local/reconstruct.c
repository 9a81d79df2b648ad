/* reconstruct.c - the steps in order, on copies; errors. */
#include "reconstruct_private.h"
#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <math.h>
#include <string.h>

enum { PANEL = 64, MOST_STEP = 64, LANES = 8 };

/* ---- norms ---- */

/* Lanes are added in pairs at the end: an order that the compiler can run in parallel. */
WTL_HOT double wtl_norm_1(const float *r, size_t count)
{
    double lane[LANES] = {0}, sum = 0.0;
    size_t t = 0;
    for (; t + LANES <= count; t += LANES) {
        for (size_t i = 0; i < LANES; i++) {
            lane[i] += (double)fabsf(r[t + i]);
        }
    }
    for (; t < count; t++) {
        sum += (double)fabsf(r[t]);
    }
    for (size_t i = 0; i < LANES; i++) {
        sum += lane[i];
    }
    return sum;
}

WTL_HOT double wtl_norm_2_squared(const float *r, size_t count)
{
    double lane[LANES] = {0}, sum = 0.0;
    size_t t = 0;
    for (; t + LANES <= count; t += LANES) {
        for (size_t i = 0; i < LANES; i++) {
            lane[i] += (double)r[t + i] * (double)r[t + i];
        }
    }
    for (; t < count; t++) {
        sum += (double)r[t] * (double)r[t];
    }
    for (size_t i = 0; i < LANES; i++) {
        sum += lane[i];
    }
    return sum;
}

/* ---- residuals and errors ---- */

/* r [panel's filters, length]: filters `first` to first + count - 1, all of one group. */
static void residual_panel(const wtl_local *l, int first, int count, int rows, float *r,
                           size_t length)
{
    const wtl_moments *mo = l->moments;
    size_t m = (size_t)mo->g.width, group = (size_t)(first / mo->g.filters);
    const float *samples = mo->samples + group * m * mo->capacity;
    wtl_gemm('N', 'N', count, rows, mo->g.width, l->weights + (size_t)first * m, mo->g.width,
             samples, (int)mo->capacity, 0.0f, r, (int)length);
    for (int f = 0; f < count; f++) {
        const float *target = mo->targets + (size_t)(first + f) * mo->capacity;
        float *row = r + (size_t)f * length;
        for (int t = 0; t < rows; t++) {
            row[t] = target[t] - row[t];
        }
    }
}

/* Panels do not cross groups. */
static int panels_of_group(const wtl_patch_geometry *g)
{
    return (g->filters + PANEL - 1) / PANEL;
}

static int panel_begin(const wtl_patch_geometry *g, int panel, int *count)
{
    int each = panels_of_group(g), at = panel % each * PANEL;
    *count = g->filters - at < PANEL ? g->filters - at : (int)PANEL;
    return panel / each * g->filters + at;
}

void wtl_residuals(const wtl_local *l, int rows, float *r, size_t length)
{
    const wtl_patch_geometry *g = &l->moments->g;
    int panels = panels_of_group(g) * g->groups;
#pragma omp parallel for num_threads(l->options.threads) schedule(static)
    for (int panel = 0; panel < panels; panel++) {
        int count, first = panel_begin(g, panel, &count);
        residual_panel(l, first, count, rows, r + (size_t)first * length, length);
    }
}

static wtl_status error_by_samples(const wtl_local *l, wtl_output_error *error, wtl_error *err)
{
    const wtl_patch_geometry *g = &l->moments->g;
    size_t rows = l->moments->rows;
    float *r = wtl_alloc((size_t)g->k * rows, sizeof *r);
    if (!r) {
        return wtl_fail(err, WTL_E_NOMEM, "reconstruct: out of memory for outputs");
    }
    wtl_residuals(l, (int)rows, r, rows);
    double squares = 0.0;
    error->l1 = 0.0;
    for (size_t k = 0; k < (size_t)g->k; k++) {
        error->l1 += wtl_norm_1(r + k * rows, rows);
        squares += wtl_norm_2_squared(r + k * rows, rows);
    }
    error->l2 = sqrt(squares);
    wtl_free(r);
    return WTL_OK;
}

/* ||y - X w||^2 = y^T y - 2 w^T X^T y + w^T X^T X w */
static double filter_error_by_moments(const wtl_local *l, int k)
{
    const wtl_moments *mo = l->moments;
    int m = mo->g.width, group = k / mo->g.filters;
    const float *w = l->weights + (size_t)k * (size_t)m;
    double sum = mo->energy[k];
    for (int i = 0; i < m; i++) {
        if (w[i] == 0.0f) {
            continue;
        }
        const double *row = mo->second + ((size_t)group * (size_t)m + (size_t)i) * (size_t)m;
        double inner = 0.5 * row[i] * (double)w[i];
        for (int j = i + 1; j < m; j++) {
            inner += row[j] * (double)w[j];
        }
        sum += 2.0 * (double)w[i] * (inner - mo->cross[(size_t)k * (size_t)m + (size_t)i]);
    }
    return sum > 0.0 ? sum : 0.0;
}

static wtl_status error_by_moments(const wtl_local *l, wtl_output_error *error, wtl_error *err)
{
    int filters = l->moments->g.k;
    double *squares = wtl_alloc((size_t)filters, sizeof *squares);
    if (!squares) {
        return wtl_fail(err, WTL_E_NOMEM, "reconstruct: out of memory for outputs");
    }
#pragma omp parallel for num_threads(l->options.threads) schedule(dynamic, 1)
    for (int k = 0; k < filters; k++) {
        squares[k] = filter_error_by_moments(l, k);
    }
    double sum = 0.0;
    for (int k = 0; k < filters; k++) {
        sum += squares[k];
    }
    *error = (wtl_output_error){.l1 = (double)NAN, .l2 = sqrt(sum)};
    wtl_free(squares);
    return WTL_OK;
}

wtl_status wtl_output_error_of(const wtl_local *l, wtl_output_error *error, wtl_error *err)
{
    return l->moments->samples ? error_by_samples(l, error, err)
                               : error_by_moments(l, error, err);
}

static wtl_output_error target_of(const wtl_moments *mo)
{
    wtl_output_error target = {.l1 = mo->samples ? 0.0 : (double)NAN};
    double squares = 0.0;
    for (size_t k = 0; k < (size_t)mo->g.k; k++) {
        if (mo->samples) {
            target.l1 += wtl_norm_1(mo->targets + k * mo->capacity, mo->rows);
            squares += wtl_norm_2_squared(mo->targets + k * mo->capacity, mo->rows);
        } else {
            squares += mo->energy[k];
        }
    }
    target.l2 = sqrt(squares);
    return target;
}

/* ---- the calls ---- */

static wtl_status take_options(wtl_local *l, const wtl_reconstruct_options *options,
                               wtl_error *err)
{
    wtl_reconstruct_options *o = &l->options;
    if (options) {
        *o = *options;
    }
    bool sane =
        o->overshoot <= 1.0 && o->restore_step >= 0 && o->restore_step <= MOST_STEP &&
        o->ridge < (double)INFINITY && o->threads >= 0 &&
        (o->granularity == WTL_GRANULARITY_WEIGHT || o->granularity == WTL_GRANULARITY_4X1) &&
        (o->singular == WTL_SINGULAR_SVD || o->singular == WTL_SINGULAR_KEEP);
    for (int k = 0; sane && o->filter_scale && k < l->moments->g.k; k++) {
        sane = isfinite(o->filter_scale[k]) && o->filter_scale[k] > 0.0f;
    }
    if (!sane) {
        return wtl_fail(err, WTL_E_ARG, "reconstruct: an option is outside its meaning");
    }
    o->overshoot = o->overshoot == 0.0 ? 0.05 : o->overshoot < 0.0 ? 0.0 : o->overshoot;
    o->restore_step = o->restore_step ? o->restore_step : 2;
    o->ridge_raises = o->ridge_raises == 0 ? 4 : o->ridge_raises < 0 ? 0 : o->ridge_raises;
    o->threads = o->threads ? o->threads : 1;
    return WTL_OK;
}

/* Copies of weights and mask, pruned weights 0; freed by close_local(). */
static wtl_status open_local(wtl_local *l, const float *weights, const float *mask,
                             const wtl_reconstruct_options *options, wtl_error *err)
{
    size_t count = (size_t)l->moments->g.k * (size_t)l->moments->g.width;
    wtl_status status = take_options(l, options, err);
    if (status != WTL_OK) {
        return status;
    }
    if (l->moments->rows == 0) {
        return wtl_fail(err, WTL_E_ARG, "reconstruct: the moments have no rows");
    }
    l->weights = wtl_alloc(count, sizeof *l->weights);
    l->mask = wtl_alloc(count, sizeof *l->mask);
    if (!l->weights || !l->mask) {
        return wtl_fail(err, WTL_E_NOMEM, "reconstruct: out of memory for weights");
    }
    for (size_t i = 0; i < count; i++) {
        bool keeps = !mask || mask[i] != 0.0f;
        l->mask[i] = keeps ? 1.0f : 0.0f;
        l->weights[i] = keeps ? weights[i] : 0.0f;
        if (!isfinite(l->weights[i])) {
            return wtl_fail(err, WTL_E_NAN, "reconstruct: weight %zu is not finite", i);
        }
    }
    return WTL_OK;
}

static void close_local(wtl_local *l)
{
    wtl_free(l->weights);
    wtl_free(l->mask);
}

/* What the caller wants of the three steps. */
typedef struct task {
    bool select, fit;
    size_t keep;
} task;

static wtl_status run(wtl_local *l, const task *t, wtl_reconstruct_report *report,
                      wtl_error *err)
{
    wtl_status status = wtl_output_error_of(l, &report->before, err);
    report->target = target_of(l->moments);
    report->removal = report->restoral = report->before;
    if (status == WTL_OK && t->select) {
        status = wtl_restore(l, t->keep, report, err);
        if (status == WTL_OK) {
            status = wtl_output_error_of(l, &report->restoral, err);
        }
    }
    report->after = report->restoral;
    if (status == WTL_OK && t->fit) {
        status = wtl_fit(l, report, err);
        if (status == WTL_OK) {
            status = wtl_output_error_of(l, &report->after, err);
        }
    }
    return status;
}

static void hand_back(const wtl_local *l, float *weights, float *mask,
                      wtl_reconstruct_report *report)
{
    size_t count = (size_t)l->moments->g.k * (size_t)l->moments->g.width;
    report->weights = count;
    for (size_t i = 0; i < count; i++) {
        report->kept += l->mask[i] != 0.0f;
    }
    memcpy(weights, l->weights, count * sizeof *weights);
    if (mask) {
        memcpy(mask, l->mask, count * sizeof *mask);
    }
}

static wtl_status reconstruct(const wtl_moments *moments, float *weights, const float *mask,
                              float *mask_out, const task *t,
                              const wtl_reconstruct_options *options,
                              wtl_reconstruct_report *report, wtl_error *err)
{
    wtl_local l = {.moments = moments};
    wtl_reconstruct_report own = {0};
    if (t->select && !moments->samples) {
        return wtl_fail(err, WTL_E_ARG, "reconstruct: the moments keep no samples");
    }
    wtl_status status = open_local(&l, weights, mask, options, err);
    if (status == WTL_OK) {
        status = run(&l, t, &own, err);
    }
    if (status == WTL_OK) {
        hand_back(&l, weights, mask_out, &own);
    }
    if (report) {
        *report = status == WTL_OK ? own : (wtl_reconstruct_report){0};
    }
    close_local(&l);
    return status;
}

wtl_status wtl_reconstruct_layer(const wtl_moments *moments, float *weights, float *mask,
                                 size_t keep, const wtl_reconstruct_options *options,
                                 wtl_reconstruct_report *report, wtl_error *err)
{
    const task t = {.select = true, .fit = true, .keep = keep};
    return reconstruct(moments, weights, mask, mask, &t, options, report, err);
}

wtl_status wtl_reconstruct_select(const wtl_moments *moments, float *weights, float *mask,
                                  size_t keep, const wtl_reconstruct_options *options,
                                  wtl_reconstruct_report *report, wtl_error *err)
{
    const task t = {.select = true, .keep = keep};
    return reconstruct(moments, weights, mask, mask, &t, options, report, err);
}

wtl_status wtl_reconstruct_fit(const wtl_moments *moments, float *weights, const float *mask,
                               const wtl_reconstruct_options *options,
                               wtl_reconstruct_report *report, wtl_error *err)
{
    const task t = {.fit = true};
    return reconstruct(moments, weights, mask, NULL, &t, options, report, err);
}
