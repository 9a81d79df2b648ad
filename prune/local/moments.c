/* moments.c - X^T X and X^T Y in one pass, or the rows themselves.
 *
 * Rows come in blocks of up to 256, stored transposed (patch [m,256]), so that both products
 * are GEMMs of rows by rows. A product is cut into panels of its own rows: one panel is one
 * task, its size does not depend on the number of threads, so neither do the bits.
 */
#include "moments_private.h"
#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/rng.h"

#include <math.h>
#include <omp.h>
#include <string.h>

enum { BLOCK = WTL_MOMENTS_BLOCK, PANEL = 64, DEFAULT_POSITIONS = 16 };

/* ---- create ---- */

/* *total += a * b * c * size; false on overflow. */
static bool need(size_t *total, size_t a, size_t b, size_t c, size_t size)
{
    size_t product;
    return wtl_mul(a, b, &product) && wtl_mul(product, c, &product) &&
           wtl_mul(product, size, &product) && wtl_add(*total, product, total);
}

static size_t bytes_of(const wtl_moments *mo, bool primal, bool samples)
{
    size_t m = (size_t)mo->g.width, k = (size_t)mo->g.k, groups = (size_t)mo->g.groups;
    size_t bytes = 0;
    bool fits = true;
    if (primal) {
        fits = need(&bytes, groups, m, m, sizeof(double)) &&
               need(&bytes, k, m + 1, 1, sizeof(double));
    }
    if (samples) {
        fits = fits && need(&bytes, groups, m, mo->capacity, sizeof(float)) &&
               need(&bytes, k, mo->capacity, 1, sizeof(float));
    }
    fits = fits && need(&bytes, 2 * m + (size_t)mo->g.filters, BLOCK, 1, sizeof(float)) &&
           need(&bytes, (size_t)mo->options.threads, PANEL, m, sizeof(float));
    return fits ? bytes : SIZE_MAX;
}

static bool allocate(wtl_moments *mo, bool primal, bool samples)
{
    size_t m = (size_t)mo->g.width, k = (size_t)mo->g.k, groups = (size_t)mo->g.groups;
    if (primal) {
        mo->second = wtl_alloc(groups * m * m, sizeof(double));
        mo->cross = wtl_alloc(k * m, sizeof(double));
        mo->energy = wtl_alloc(k, sizeof(double));
    }
    if (samples) {
        mo->samples = wtl_alloc(groups * m * mo->capacity, sizeof(float));
        mo->targets = wtl_alloc(k * mo->capacity, sizeof(float));
    }
    mo->patch = wtl_alloc(m * BLOCK, sizeof(float));
    mo->original = wtl_alloc(m * BLOCK, sizeof(float));
    mo->target = wtl_alloc((size_t)mo->g.filters * BLOCK, sizeof(float));
    mo->panels = wtl_alloc((size_t)mo->options.threads * PANEL * m, sizeof(float));
    mo->places = wtl_alloc(BLOCK, sizeof *mo->places);
    return (!primal || (mo->second && mo->cross && mo->energy)) &&
           (!samples || (mo->samples && mo->targets)) && mo->patch && mo->original &&
           mo->target && mo->panels && mo->places;
}

static wtl_status take_options(wtl_moments *mo, const wtl_moments_options *options,
                               const char *name, wtl_error *err)
{
    wtl_moments_options *o = &mo->options;
    *o = *options;
    if (o->images < 1 || o->positions < 0 || o->threads < 0 || o->form < WTL_MOMENTS_AUTO ||
        o->form > WTL_MOMENTS_DUAL) {
        return wtl_fail(err, WTL_E_ARG, "%s: moments of %zu images, %d positions, %d threads",
                        name, o->images, o->positions, o->threads);
    }
    int64_t map = (int64_t)mo->g.p * mo->g.q;
    o->positions = o->positions ? o->positions : DEFAULT_POSITIONS;
    o->positions = o->positions < map ? o->positions : (int)map;
    o->threads = o->threads ? o->threads : 1;
    o->most_bytes = o->most_bytes ? o->most_bytes : (size_t)2 << 30;
    if (!wtl_mul(o->images, (size_t)o->positions, &mo->capacity) || mo->capacity > INT32_MAX) {
        return wtl_fail(err, WTL_E_FIT, "%s: %zu images with %d positions are too many rows",
                        name, o->images, o->positions);
    }
    if (o->form == WTL_MOMENTS_AUTO) {
        bool few = mo->capacity < (size_t)mo->g.width;
        o->form = few ? WTL_MOMENTS_DUAL : WTL_MOMENTS_PRIMAL;
    }
    return WTL_OK;
}

static wtl_status plan(wtl_moments *mo, const wtl_layer_def *layer, wtl_shape in,
                       const wtl_moments_options *options, wtl_error *err)
{
    wtl_status status = wtl_patch_geometry_of(&mo->g, layer, in, err);
    if (status == WTL_OK) {
        status = take_options(mo, options, layer->name, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    bool primal = mo->options.form == WTL_MOMENTS_PRIMAL;
    bool samples = !primal || mo->options.keep_samples;
    mo->bytes = bytes_of(mo, primal, samples);
    if (mo->bytes > mo->options.most_bytes) {
        return wtl_fail(err, WTL_E_FIT, "%s: moments need %zu bytes, %zu are allowed",
                        layer->name, mo->bytes, mo->options.most_bytes);
    }
    if (!allocate(mo, primal, samples)) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for moments", layer->name);
    }
    return WTL_OK;
}

wtl_status wtl_moments_create(wtl_moments **out, const wtl_layer_def *layer, wtl_shape in,
                              const wtl_moments_options *options, wtl_error *err)
{
    *out = NULL;
    wtl_moments *mo = wtl_alloc(1, sizeof *mo);
    if (!mo) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for moments", layer->name);
    }
    wtl_status status = plan(mo, layer, in, options, err);
    if (status != WTL_OK) {
        wtl_moments_free(mo);
        return status;
    }
    *out = mo;
    return WTL_OK;
}

void wtl_moments_free(wtl_moments *mo)
{
    if (mo) {
        wtl_free(mo->second);
        wtl_free(mo->cross);
        wtl_free(mo->energy);
        wtl_free(mo->samples);
        wtl_free(mo->targets);
        wtl_free(mo->patch);
        wtl_free(mo->original);
        wtl_free(mo->target);
        wtl_free(mo->panels);
        wtl_free(mo->places);
        wtl_free(mo);
    }
}

/* ---- one block of rows ---- */

/* What one call was given. */
typedef struct batch {
    const float *x;
    const float *y, *bias;             /* targets as outputs, or */
    const float *x_original, *weights; /* as inputs */
} batch;

static bool all_finite(const float *values, int rows, int count)
{
    bool finite = true;
    for (int i = 0; i < rows; i++) {
        for (int t = 0; t < count; t++) {
            finite &= isfinite(values[(size_t)i * BLOCK + (size_t)t]) != 0;
        }
    }
    return finite;
}

static int panel_count(int rows)
{
    return (rows + PANEL - 1) / PANEL;
}

static int panel_rows(int rows, int panel)
{
    int left = rows - panel * PANEL;
    return left < PANEL ? left : PANEL;
}

/* target [filters of the group][block] */
static void targets_from_outputs(wtl_moments *mo, int group, const batch *b, int count)
{
    const wtl_patch_geometry *g = &mo->g;
    for (int f = 0; f < g->filters; f++) {
        int k = group * g->filters + f;
        float bias = b->bias ? b->bias[k] : 0.0f;
        float *row = mo->target + (size_t)f * BLOCK;
        for (int t = 0; t < count; t++) {
            const wtl_patch_place *at = &mo->places[t];
            size_t map = (size_t)at->image * (size_t)g->k + (size_t)k;
            row[t] = b->y[(map * (size_t)g->p + (size_t)at->p) * (size_t)g->q + (size_t)at->q] -
                     bias;
        }
    }
}

static void targets_from_inputs(wtl_moments *mo, int group, const batch *b, int count)
{
    const wtl_patch_geometry *g = &mo->g;
    const float *original = mo->patch;
    if (b->x_original != b->x) {
        wtl_patch_gather(g, group, b->x_original, mo->places, count, mo->options.threads,
                         mo->original);
        original = mo->original;
    }
    const float *weights = b->weights + (size_t)group * (size_t)g->filters * (size_t)g->width;
#pragma omp parallel for num_threads(mo->options.threads) schedule(static)
    for (int panel = 0; panel < panel_count(g->filters); panel++) {
        size_t first = (size_t)panel * PANEL;
        wtl_gemm('N', 'N', panel_rows(g->filters, panel), count, g->width,
                 weights + first * (size_t)g->width, g->width, original, BLOCK, 0.0f,
                 mo->target + first * BLOCK, BLOCK);
    }
}

/* sum [rows, columns] (row length `length`) += product, in double. */
static void add_panel(double *sum, size_t length, const float *product, int rows, int columns)
{
    for (int i = 0; i < rows; i++) {
        for (int j = 0; j < columns; j++) {
            sum[(size_t)i * length + (size_t)j] +=
                (double)product[(size_t)i * (size_t)columns + (size_t)j];
        }
    }
}

/* One panel of X^T X: its rows, and of the columns those from the diagonal on. */
static void add_second(wtl_moments *mo, int group, int panel, int count, float *work)
{
    int m = mo->g.width, first = panel * PANEL, rows = panel_rows(m, panel);
    const float *patch = mo->patch + (size_t)first * BLOCK;
    wtl_gemm('N', 'T', rows, m - first, count, patch, BLOCK, patch, BLOCK, 0.0f, work,
             m - first);
    double *sum = mo->second + (size_t)group * (size_t)m * (size_t)m;
    add_panel(sum + (size_t)first * (size_t)m + (size_t)first, (size_t)m, work, rows,
              m - first);
}

/* One panel of Y^T X. */
static void add_cross(wtl_moments *mo, int group, int panel, int count, float *work)
{
    int m = mo->g.width, first = panel * PANEL, rows = panel_rows(mo->g.filters, panel);
    wtl_gemm('N', 'T', rows, m, count, mo->target + (size_t)first * BLOCK, BLOCK, mo->patch,
             BLOCK, 0.0f, work, m);
    size_t filter = (size_t)group * (size_t)mo->g.filters + (size_t)first;
    add_panel(mo->cross + filter * (size_t)m, (size_t)m, work, rows, m);
}

static void add_moments(wtl_moments *mo, int group, int count)
{
    int second = panel_count(mo->g.width), cross = panel_count(mo->g.filters);
#pragma omp parallel for num_threads(mo->options.threads) schedule(dynamic, 1)
    for (int task = 0; task < second + cross; task++) {
        float *work = mo->panels + (size_t)omp_get_thread_num() * PANEL * (size_t)mo->g.width;
        if (task < second) {
            add_second(mo, group, task, count, work);
        } else {
            add_cross(mo, group, task - second, count, work);
        }
    }
    for (int f = 0; f < mo->g.filters; f++) {
        double sum = 0.0;
        for (int t = 0; t < count; t++) {
            double value = (double)mo->target[(size_t)f * BLOCK + (size_t)t];
            sum += value * value;
        }
        mo->energy[group * mo->g.filters + f] += sum;
    }
}

/* Rows of a block become the next columns of an array whose rows are `capacity` long. */
static void store(float *to, size_t capacity, size_t at, const float *from, int rows, int count)
{
    for (int i = 0; i < rows; i++) {
        memcpy(to + (size_t)i * capacity + at, from + (size_t)i * BLOCK,
               (size_t)count * sizeof *to);
    }
}

static void store_samples(wtl_moments *mo, int group, int count)
{
    size_t capacity = mo->capacity, g = (size_t)group;
    store(mo->samples + g * (size_t)mo->g.width * capacity, capacity, mo->rows, mo->patch,
          mo->g.width, count);
    store(mo->targets + g * (size_t)mo->g.filters * capacity, capacity, mo->rows, mo->target,
          mo->g.filters, count);
}

static wtl_status add_block(wtl_moments *mo, const batch *b, int count, wtl_error *err)
{
    for (int group = 0; group < mo->g.groups; group++) {
        wtl_patch_gather(&mo->g, group, b->x, mo->places, count, mo->options.threads,
                         mo->patch);
        if (b->y) {
            targets_from_outputs(mo, group, b, count);
        } else {
            targets_from_inputs(mo, group, b, count);
        }
        if (!all_finite(mo->patch, mo->g.width, count) ||
            !all_finite(mo->target, mo->g.filters, count)) {
            return wtl_fail(err, WTL_E_NAN,
                            "moments: an input or target of row %zu to %zu is not"
                            " finite",
                            mo->rows, mo->rows + (size_t)count - 1);
        }
        if (mo->second) {
            add_moments(mo, group, count);
        }
        if (mo->samples) {
            store_samples(mo, group, count);
        }
    }
    mo->rows += (size_t)count;
    return WTL_OK;
}

/* ---- sampling ---- */

static wtl_status add(wtl_moments *mo, int n, const batch *b, wtl_error *err)
{
    if (n < 0 || (size_t)n > mo->options.images - mo->images) {
        return wtl_fail(err, WTL_E_RANGE, "moments: %d more images, there is room for %zu", n,
                        mo->options.images - mo->images);
    }
    int count = 0;
    for (int i = 0; i < n; i++, mo->images++) {
        wtl_rng rng =
            wtl_rng_make(mo->options.seed, WTL_RNG_SAMPLE, mo->images, mo->options.layer);
        int left = mo->g.p * mo->g.q, wanted = mo->options.positions;
        for (int at = 0; wanted > 0; at++, left--) { /* selection sampling */
            if (wtl_rng_below(&rng, (uint32_t)left) >= (uint32_t)wanted) {
                continue;
            }
            wanted--;
            mo->places[count++] = (wtl_patch_place){i, at / mo->g.q, at % mo->g.q};
            wtl_status status = count == BLOCK ? add_block(mo, b, count, err) : WTL_OK;
            if (status != WTL_OK) {
                return status;
            }
            count %= BLOCK;
        }
    }
    return count > 0 ? add_block(mo, b, count, err) : WTL_OK;
}

wtl_status wtl_moments_add_outputs(wtl_moments *mo, int n, const float *x, const float *y,
                                   const float *bias, wtl_error *err)
{
    return add(mo, n, &(batch){.x = x, .y = y, .bias = bias}, err);
}

wtl_status wtl_moments_add_inputs(wtl_moments *mo, int n, const float *x,
                                  const float *x_original, const float *weights, wtl_error *err)
{
    return add(mo, n, &(batch){.x = x, .x_original = x_original, .weights = weights}, err);
}

/* ---- looking ---- */

wtl_moments_info wtl_moments_info_of(const wtl_moments *mo)
{
    return (wtl_moments_info){.groups = mo->g.groups,
                              .filters = mo->g.k,
                              .width = mo->g.width,
                              .rows = mo->rows,
                              .primal = mo->second != NULL,
                              .samples = mo->samples != NULL,
                              .bytes = mo->bytes};
}

double wtl_moments_second(const wtl_moments *mo, int group, int i, int j)
{
    size_t m = (size_t)mo->g.width, low = (size_t)(i < j ? i : j),
           high = (size_t)(i < j ? j : i);
    return mo->second ? mo->second[((size_t)group * m + low) * m + high] : (double)NAN;
}

double wtl_moments_cross(const wtl_moments *mo, int filter, int i)
{
    return mo->cross ? mo->cross[(size_t)filter * (size_t)mo->g.width + (size_t)i]
                     : (double)NAN;
}

double wtl_moments_energy(const wtl_moments *mo, int filter)
{
    return mo->energy ? mo->energy[filter] : (double)NAN;
}
