/* dense_masked.c - see dense_masked.h. */
#include "dense_masked.h"

#include "native/masked.h"
#include "native/sparse.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <omp.h>
#include <string.h>

enum {
    BLOCK = WTL_BLOCK_CHANNELS,
    PANEL_FLOATS = 8192, /* of x: 32 KiB */
    FILTERS = 64,        /* whose kept weights' gradients are summed at a time */
    MOST_IMAGES = 64,    /* of a plane */
    AHEAD = 8            /* rows that are fetched ahead */
};

static long rounded_up(long a, long b)
{
    return (a + b - 1) / b * b;
}

static long least(long a, long b)
{
    return a < b ? a : b;
}

static size_t aligned(size_t bytes)
{
    return (bytes + WTL_ALIGNMENT - 1) / WTL_ALIGNMENT * WTL_ALIGNMENT;
}

static int columns_of(const wtl_dense_masked *m)
{
    return PANEL_FLOATS / m->pitch;
}

/* An entry's offset is its column, shifted. */
static int shift_of(const wtl_dense_masked *m)
{
    return m->pitch == 16 ? 4 : m->pitch == 32 ? 5 : 6;
}

/* The part of a panel of a row that will soon be read or written: rows lie too far apart for the
 * processor to see it coming. */
static inline void fetch_ahead(const wtl_dense_masked *m, const float *row)
{
    enum { LINE = WTL_ALIGNMENT / sizeof(float) };
    for (long i = 0; i < columns_of(m); i += LINE) {
        __builtin_prefetch(row + i);
    }
}

/* ---- the estimate, in cycles of one thread: measured on an AVX-512 machine ---- */

static void choose(wtl_dense_masked *m, const wtl_native *native, bool wants_data)
{
    int lanes = native->sparse->lanes, tiles = (m->batch + m->pitch - 1) / m->pitch;
    double vectors = (double)m->pitch / lanes, n = (double)m->entries;
    double passes = (double)m->panels * m->k;
    double dense = (double)m->k * m->d * m->batch / (2 * lanes) / 0.95;
    double turned = (double)(m->d + m->k) * vectors * 6;
    double forward = tiles * (n * (vectors * 0.7 + 1) + passes * (vectors * 3 + 10) + turned);
    double weights = tiles * (n * (vectors * 0.7 + 4) + passes * (vectors + 8) + turned);
    double data = tiles * (n * (vectors * 1.3 + 1) + passes * (vectors + 8) + turned);
    /* The kept weights lie all over w, and so do their gradients: most of it passes by. */
    double touched = (double)m->k * m->d * 0.8;
    m->forward = forward + touched < dense;
    m->weights = weights + touched < dense;
    m->data = wants_data && data + (m->forward ? 0.0 : touched) < dense;
}

/* ---- the pattern ---- */

/* Kept weights of one filter in one panel. */
static size_t count_kept(const wtl_dense_masked *m, const float *mask, int k, int panel)
{
    const float *row = mask + (size_t)k * m->d;
    int begin = panel * columns_of(m), end = (int)least(begin + columns_of(m), m->d);
    size_t count = 0;
    for (int d = begin; d < end; d++) {
        count += row[d] != 0.0f;
    }
    return count;
}

static void count_all(wtl_dense_masked *m, const float *mask)
{
    for (int panel = 0; panel < m->panels; panel++) {
        size_t in_block = 0;
        for (int k = 0; k < m->k; k++) {
            size_t count = count_kept(m, mask, k, panel);
            in_block = (k % FILTERS ? in_block : 0) + count;
            m->entries += count;
            m->most = in_block > m->most ? in_block : m->most;
        }
    }
}

bool wtl_dense_masked_plan(wtl_dense_masked *m, const wtl_native *native, int k, int d,
                           int batch, bool wants_data, const float *mask)
{
    *m = (wtl_dense_masked){.k = k, .d = d, .batch = batch};
    m->pitch = batch <= 16 ? 16 : batch <= 32 ? 32 : MOST_IMAGES;
    m->panels = (d + columns_of(m) - 1) / columns_of(m);
    count_all(m, mask);
    double starts = (double)m->panels * k;
    if (m->entries > INT32_MAX || starts > INT32_MAX) {
        return false;
    }
    choose(m, native, wants_data);
    m->starts_at = 0;
    m->entries_at = aligned(((size_t)m->panels * (size_t)k + 1) * sizeof(int32_t));
    m->bytes = m->entries_at + aligned(m->entries * sizeof(wtl_sparse_entry));
    return m->forward || m->data || m->weights;
}

static const int32_t *starts_of(const wtl_dense_masked *m, const void *pattern)
{
    return (const int32_t *)(const void *)((const char *)pattern + m->starts_at);
}

static const wtl_sparse_entry *entries_of(const wtl_dense_masked *m, const void *pattern)
{
    return (const wtl_sparse_entry *)(const void *)((const char *)pattern + m->entries_at);
}

void wtl_dense_masked_make(const wtl_dense_masked *m, const float *mask, void *memory)
{
    char *bytes = memory;
    int32_t *start = (int32_t *)(void *)(bytes + m->starts_at);
    wtl_sparse_entry *entry = (wtl_sparse_entry *)(void *)(bytes + m->entries_at);
    *start = 0;
    for (int panel = 0; panel < m->panels; panel++) {
        int begin = panel * columns_of(m), end = (int)least(begin + columns_of(m), m->d);
        for (int k = 0; k < m->k; k++, start++) {
            start[1] = start[0];
            for (int d = begin; d < end; d++) {
                if (mask[(size_t)k * m->d + d] != 0.0f) {
                    *entry++ = (wtl_sparse_entry){.offset = (d - begin) * m->pitch};
                    start[1]++;
                }
            }
        }
    }
}

/* Filters first .. of a block in one panel: w is read a few rows at a time, so that what the
 * caches hold of them serves all panels. */
static void take_block(const wtl_dense_masked *m, const int32_t *starts, int panel, int first,
                       const float *w, wtl_sparse_entry *entries)
{
    int shift = shift_of(m), end = (int)least(first + FILTERS, m->k);
    for (int k = first; k < end; k++) {
        const float *from = w + (size_t)k * m->d + (long)panel * columns_of(m);
        fetch_ahead(m, k + AHEAD < end
                           ? from + (long)AHEAD * m->d
                           : from + columns_of(m) - (long)(end - first - AHEAD) * m->d);
        for (int32_t e = starts[k]; e < starts[k + 1]; e++) {
            entries[e].value = from[entries[e].offset >> shift];
        }
    }
}

void wtl_dense_masked_take(const wtl_dense_masked *m, void *pattern, int threads,
                           const float *w)
{
    const int32_t *starts = starts_of(m, pattern);
    wtl_sparse_entry *entries = (wtl_sparse_entry *)(void *)((char *)pattern + m->entries_at);
    int blocks = (m->k + FILTERS - 1) / FILTERS;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int block = 0; block < blocks; block++) {
        for (int panel = 0; panel < m->panels; panel++) {
            take_block(m, starts + (long)panel * m->k, panel, block * FILTERS, w, entries);
        }
    }
}

/* ---- planes: scratch is those of x, those of y, then each thread's own ---- */

/* Floats of the planes of `count` columns or filters, of all images. */
static size_t planes_floats(const wtl_dense_masked *m, int count)
{
    int tiles = (m->batch + m->pitch - 1) / m->pitch;
    return (size_t)rounded_up(count, BLOCK) * (size_t)m->pitch * (size_t)tiles;
}

static size_t own_floats(const wtl_dense_masked *m)
{
    size_t sums = (m->most + WTL_MASKED_SLACK + BLOCK) / BLOCK * BLOCK;
    return sums > PANEL_FLOATS ? sums : PANEL_FLOATS;
}

size_t wtl_dense_masked_scratch(const wtl_dense_masked *m, int threads)
{
    double floats = (double)(rounded_up(m->d, BLOCK) + rounded_up(m->k, BLOCK)) *
                        ((double)m->batch + m->pitch) +
                    (double)own_floats(m) * threads;
    if (floats > (double)(SIZE_MAX / 8)) {
        return SIZE_MAX;
    }
    return (planes_floats(m, m->d) + planes_floats(m, m->k) + own_floats(m) * (size_t)threads) *
           sizeof(float);
}

/* Images of tile t that a run of n has. */
static int images_of(const wtl_dense_masked *m, int n, int t)
{
    return (int)least(n - t * m->pitch, m->pitch);
}

static int tiles_of(const wtl_dense_masked *m, int n)
{
    return (n + m->pitch - 1) / m->pitch;
}

static const float *plane(const wtl_dense_masked *m, const float *planes, int count, int tile,
                          long at)
{
    return planes + ((size_t)tile * (size_t)rounded_up(count, BLOCK) + (size_t)at) * m->pitch;
}

/* Columns begin .. end-1 (begin a multiple of 16) of x [n,count], images x_step apart, into
 * planes. */
static void turn(const wtl_dense_masked *m, const wtl_native *native, int n, const float *x,
                 long x_step, int count, long begin, long end, float *planes)
{
    float edge[MOST_IMAGES * BLOCK];
    for (int t = 0; t < tiles_of(m, n); t++) {
        int images = images_of(m, n, t);
        const float *from = x + (long)t * m->pitch * x_step;
        float *to = planes + (plane(m, planes, count, t, 0) - planes);
        for (long c = begin; c < end; c += BLOCK) {
            const float *columns = from + c;
            long step = x_step;
            if (c + BLOCK > count) {
                memset(edge, 0, sizeof edge);
                for (int i = 0; i < images; i++) {
                    memcpy(edge + i * BLOCK, columns + i * x_step,
                           (size_t)(count - c) * sizeof *edge);
                }
                columns = edge;
                step = BLOCK;
            }
            native->sparse->to_planes(columns, step, images, to + c * m->pitch, m->pitch);
        }
    }
}

/* Planes of one tile, of columns begin .. end-1, into x [images,count], x_step apart; bias [count]
 * or NULL. */
static void turn_back(const wtl_dense_masked *m, const wtl_native *native, int images,
                      const float *planes, int count, long begin, long end, const float *bias,
                      wtl_activation activation, float *x, long x_step)
{
    float edge[MOST_IMAGES * BLOCK];
    for (long c = begin; c < end; c += BLOCK, planes += (long)BLOCK * m->pitch) {
        float of_bias[BLOCK] = {0};
        long wide = least(BLOCK, count - c);
        wtl_sparse_finish how = {of_bias, activation};
        if (bias) {
            memcpy(of_bias, bias + c, (size_t)wide * sizeof *bias);
        }
        if (wide == BLOCK) {
            native->masked->from_planes(&how, planes, m->pitch, images, x + c, x_step);
            continue;
        }
        native->masked->from_planes(&how, planes, m->pitch, images, edge, BLOCK);
        for (int i = 0; i < images; i++) {
            memcpy(x + i * x_step + c, edge + i * BLOCK, (size_t)wide * sizeof *x);
        }
    }
}

/* In a parallel region: this thread's part of `count` in whole units. */
static void share(long count, long unit, long *begin, long *end)
{
    wtl_share((count + unit - 1) / unit, omp_get_thread_num(), omp_get_num_threads(), begin,
              end);
    *begin *= unit;
    *end = least(*end * unit, count);
}

static int vectors_of(const wtl_native *native, int images)
{
    return (images + native->sparse->lanes - 1) / native->sparse->lanes;
}

/* ---- forward ---- */

typedef struct job {
    const wtl_dense_masked *m;
    const wtl_native *native;
    const int32_t *starts;
    const wtl_sparse_entry *entries;
    int n;
    float *x, *y; /* planes; y may be those of dy */
} job;

static job job_of(const wtl_dense_masked *m, const wtl_native *native, const void *pattern,
                  int n, float *scratch)
{
    return (job){.m = m,
                 .native = native,
                 .starts = starts_of(m, pattern),
                 .entries = entries_of(m, pattern),
                 .n = n,
                 .x = scratch,
                 .y = scratch + planes_floats(m, m->d)};
}

/* Sums of filters begin .. end-1 of one tile over all panels. */
static void sum_filters(const job *j, int tile, long begin, long end, float *sums)
{
    const wtl_dense_masked *m = j->m;
    const wtl_sparse_kernels *kernels = j->native->sparse;
    int vectors = vectors_of(j->native, images_of(m, j->n, tile));
    for (int panel = 0; panel < m->panels; panel++) {
        const float *x = plane(m, j->x, m->d, tile, (long)panel * columns_of(m));
        for (int at = 0; at < vectors; at += kernels->most_rows) {
            int width = (int)least(kernels->most_rows, vectors - at);
            long first = (long)at * kernels->lanes;
            kernels->rows(width, (int)(end - begin), j->starts + (long)panel * m->k + begin,
                          j->entries, x + first, sums + first, m->pitch, panel == 0);
        }
    }
}

void wtl_dense_masked_forward(const wtl_dense_masked *m, const wtl_native *native,
                              const void *pattern, int threads, const wtl_dense *t,
                              const float *x, const float *b, float *y, float *scratch)
{
    const int n = t->n;
    const job j = job_of(m, native, pattern, n, scratch);
#pragma omp parallel num_threads(threads)
    {
        long begin, end;
        share(m->d, BLOCK, &begin, &end);
        turn(m, native, n, x, t->x_step, m->d, begin, end, j.x);
#pragma omp barrier
        share(m->k, BLOCK, &begin, &end);
        for (int tile = 0; begin < end && tile < tiles_of(m, n); tile++) {
            float *sums = j.y + (plane(m, j.y, m->k, tile, begin) - j.y);
            sum_filters(&j, tile, begin, end, sums);
            turn_back(m, native, images_of(m, n, tile), sums, m->k, begin, end, b,
                      t->activation, y + (long)tile * m->pitch * t->y_step, t->y_step);
        }
    }
}

/* ---- gradients ---- */

/* dw of filters begin .. end-1, at most FILTERS, in one panel. */
static void gradients(const job *j, int panel, long begin, long end, float *sums, float *dw)
{
    const wtl_dense_masked *m = j->m;
    const int32_t *starts = j->starts + (long)panel * m->k + begin;
    long count = end - begin;
    memset(sums, 0, (size_t)(starts[count] - starts[0]) * sizeof *sums);
    for (int t = 0; t < tiles_of(m, j->n); t++) {
        j->native->masked->rows(vectors_of(j->native, images_of(m, j->n, t)), (int)count,
                                starts, j->entries,
                                plane(m, j->x, m->d, t, (long)panel * columns_of(m)),
                                plane(m, j->y, m->k, t, begin), m->pitch, sums);
    }
    int shift = shift_of(m);
    for (long k = 0; k < count; k++) {
        float *to = dw + (size_t)(begin + k) * m->d + (long)panel * columns_of(m);
        fetch_ahead(m, to + (k + AHEAD < count ? (long)AHEAD * m->d
                                               : columns_of(m) - (count - AHEAD) * m->d));
        for (int32_t e = starts[k]; e < starts[k + 1]; e++) {
            to[j->entries[e].offset >> shift] = sums[e - starts[0]];
        }
    }
}

void wtl_dense_masked_weights(const wtl_dense_masked *m, const wtl_native *native,
                              const void *pattern, int threads, const wtl_dense *t,
                              const float *x, const float *dy, float *dw, float *scratch)
{
    const int n = t->n;
    const job j = job_of(m, native, pattern, n, scratch);
    float *own = j.y + planes_floats(m, m->k);
#pragma omp parallel num_threads(threads)
    {
        long begin, end;
        share(m->d, BLOCK, &begin, &end);
        turn(m, native, n, x, t->x_step, m->d, begin, end, j.x);
        share(m->k, BLOCK, &begin, &end);
        turn(m, native, n, dy, t->y_step, m->k, begin, end, j.y);
#pragma omp barrier
        float *sums = own + own_floats(m) * (size_t)omp_get_thread_num();
        share(m->k, FILTERS, &begin, &end);
        for (long k = begin; k < end; k += FILTERS) { /* as take_block() */
            for (int panel = 0; panel < m->panels; panel++) {
                gradients(&j, panel, k, least(k + FILTERS, end), sums, dw);
            }
        }
    }
}

static void data_panel(const job *j, int panel, float *planes, float *dx, long dx_step)
{
    const wtl_dense_masked *m = j->m;
    const wtl_masked_kernels *kernels = j->native->masked;
    int lanes = j->native->sparse->lanes;
    long begin = (long)panel * columns_of(m), end = least(begin + columns_of(m), m->d);
    for (int t = 0; t < tiles_of(m, j->n); t++) {
        int images = images_of(m, j->n, t), vectors = vectors_of(j->native, images);
        memset(planes, 0, (size_t)rounded_up(end - begin, BLOCK) * m->pitch * sizeof *planes);
        for (int at = 0; at < vectors; at += kernels->most_spread) {
            kernels->spread((int)least(kernels->most_spread, vectors - at), m->k,
                            j->starts + (long)panel * m->k, j->entries,
                            plane(m, j->y, m->k, t, 0) + (long)at * lanes, m->pitch,
                            planes + (long)at * lanes);
        }
        turn_back(m, j->native, images, planes, m->d, begin, end, NULL, WTL_ACTIVATION_NONE,
                  dx + (long)t * m->pitch * dx_step, dx_step);
    }
}

void wtl_dense_masked_data(const wtl_dense_masked *m, const wtl_native *native,
                           const void *pattern, int threads, const wtl_dense *t,
                           const float *dy, float *dx, float *scratch)
{
    const int n = t->n;
    const job j = job_of(m, native, pattern, n, scratch);
    float *own = j.y + planes_floats(m, m->k);
#pragma omp parallel num_threads(threads)
    {
        long begin, end;
        share(m->k, BLOCK, &begin, &end);
        turn(m, native, n, dy, t->y_step, m->k, begin, end, j.y);
#pragma omp barrier
        float *planes = own + own_floats(m) * (size_t)omp_get_thread_num();
        share(m->panels, 1, &begin, &end);
        for (long panel = begin; panel < end; panel++) {
            data_panel(&j, (int)panel, planes, dx, t->x_step);
        }
    }
}
