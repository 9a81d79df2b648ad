/* sparse_dense.c - see sparse_dense.h. */
#include "sparse_dense.h"

#include "dense_parts.h"

#include "wattle/memory.h"

#include <string.h>

enum {
    QUAD = WTL_SPARSE_DENSE_QUAD,
    QUADS_WIDE = 1024,  /* columns of a panel of quads, and of rows of one vector of images */
    ALONE_WIDE = 65535, /* and of a single image: what an index reaches */
    UNIT = 16,          /* filters: threads take multiples of it */
};

static size_t aligned(size_t bytes)
{
    return (bytes + WTL_ALIGNMENT - 1) / WTL_ALIGNMENT * WTL_ALIGNMENT;
}

static long vectors(const wtl_native *native, int n)
{
    return (n + native->sparse_dense->lanes - 1) / native->sparse_dense->lanes;
}

static int at_most(long a, long b)
{
    return (int)(a < b ? a : b);
}

/* ---- plan ---- */

/* A panel of x takes some 64 KiB: it leaves the first cache a little, but short rows cost more.
 * Quads take four times as long over it. */
static int panel_width(const wtl_native *native, bool quads, int d, int batch)
{
    long vecs = at_most(vectors(native, batch), native->sparse_dense->most_rows);
    long most = batch == 1  ? ALONE_WIDE
                : quads     ? QUADS_WIDE
                : vecs == 1 ? 2 * QUADS_WIDE
                            : QUADS_WIDE / vecs;
    long panels = (d + most - 1) / most;
    return (int)((d + panels - 1) / panels);
}

/* Columns with a weight that is not 0, of filters begin..end. */
static size_t count_entries(int d, int begin, int end, const float *w)
{
    size_t count = 0;
    for (int at = 0; at < d; at++) {
        bool any = false;
        for (int f = begin; f < end; f++) {
            any |= w[(size_t)f * (size_t)d + (size_t)at] != 0.0f;
        }
        count += any;
    }
    return count;
}

static void lay_out(wtl_sparse_dense *p)
{
    p->panels = (p->d + p->width - 1) / p->width;
    p->groups = p->quads ? (p->k + QUAD - 1) / QUAD : p->k;
    p->starts_at = aligned(sizeof *p);
    size_t starts = (size_t)p->panels * (size_t)p->groups + 1;
    p->index_at = aligned(p->starts_at + starts * sizeof(uint32_t));
    p->value_at = aligned(p->index_at + p->entries * sizeof(uint16_t));
    size_t values = p->entries * (p->quads ? QUAD : 1);
    p->bytes = p->entries < UINT32_MAX ? aligned(p->value_at + values * sizeof(float)) : 0;
}

/* Measured on Zen 5 with AVX-512 over layers of 4096x9216: cycles of an entry by itself, of each
 * vector of images beside it, and of a row's end in each panel. One image is bound by memory,
 * of which a thread gets its half. */
static double cycles_of(const wtl_native *native, const wtl_sparse_dense *p)
{
    double vecs = (double)vectors(native, p->batch), ends = (double)p->panels * p->groups;
    double entries = (double)p->entries;
    if (p->batch == 1) {
        return entries * (p->quads ? 3.3 : 1.1) + 10.0 * ends;
    }
    return entries * (p->quads ? 1.2 + 2.1 * vecs : 0.5 + 1.2 * vecs) + 20.0 * ends;
}

double wtl_sparse_dense_rival(const wtl_native *native, int k, int d, int batch)
{
    bool cached = (double)k * d <= WTL_CACHED_WEIGHTS;
    double arithmetic = batch == 1 ? 0.24 : 0.54 * (double)vectors(native, batch);
    double memory = cached ? 0.0 : 0.75;
    return (double)k * d * (arithmetic > memory ? arithmetic : memory);
}

wtl_sparse_dense wtl_sparse_dense_plan(const wtl_native *native, int k, int d, int batch,
                                       const float *w)
{
    wtl_sparse_dense form[2];
    for (int quads = 0; quads <= 1; quads++) {
        wtl_sparse_dense *p = &form[quads];
        *p = (wtl_sparse_dense){.k = k, .d = d, .batch = batch, .quads = quads};
        int step = quads ? QUAD : 1;
        for (int f = 0; f < k; f += step) {
            p->entries += count_entries(d, f, at_most(f + step, k), w);
        }
        p->width = panel_width(native, quads, d, batch);
        lay_out(p);
        p->cycles = cycles_of(native, p);
    }
    return form[form[1].cycles < form[0].cycles];
}

/* ---- pack ---- */

void wtl_sparse_dense_pack(const wtl_sparse_dense *plan, const float *w, void *packed)
{
    char *at = packed;
    memcpy(at, plan, sizeof *plan);
    uint32_t *starts = (void *)(at + plan->starts_at);
    uint16_t *index = (void *)(at + plan->index_at);
    float *value = (void *)(at + plan->value_at);
    const int filters = plan->quads ? QUAD : 1;
    size_t d = (size_t)plan->d, e = 0;
    for (int panel = 0; panel < plan->panels; panel++) {
        size_t begin = (size_t)panel * (size_t)plan->width;
        size_t columns = (size_t)at_most(plan->width, plan->d - (long)begin);
        for (int g = 0; g < plan->groups; g++) {
            const float *row = w + (size_t)g * (size_t)filters * d + begin;
            int rows = at_most(filters, plan->k - (long)g * filters);
            *starts++ = (uint32_t)e;
            for (size_t c = 0; c < columns; c++) {
                float column[QUAD] = {0};
                bool any = false;
                for (int f = 0; f < rows; f++) {
                    column[f] = row[(size_t)f * d + c];
                    any |= column[f] != 0.0f;
                }
                if (any) {
                    memcpy(value + e * (size_t)filters, column,
                           (size_t)filters * sizeof *value);
                    index[e++] = (uint16_t)c;
                }
            }
        }
    }
    *starts = (uint32_t)e;
}

/* ---- forward ---- */

/* Images side by side are rounded up to 16; a tile of them has at most 64. */
static size_t side_images(int n)
{
    return n == 1 ? 1 : ((size_t)n + 15) / 16 * 16;
}

size_t wtl_sparse_dense_scratch(const wtl_sparse_dense *plan, int n)
{
    size_t images = side_images(n), tile = images < 64 ? images : 64;
    size_t panel = n == 1 ? 0 : images * (size_t)plan->d;
    size_t sums = tile * (((size_t)plan->k + QUAD - 1) / QUAD * QUAD);
    return (panel + sums) * sizeof(float);
}

static wtl_sparse_dense_panel panel_at(const wtl_sparse_dense *packed, int panel)
{
    const char *at = (const char *)packed;
    return (wtl_sparse_dense_panel){
        .quads = packed->quads,
        .starts = (const uint32_t *)(const void *)(at + packed->starts_at) +
                  (size_t)panel * (size_t)packed->groups,
        .index = (const void *)(at + packed->index_at),
        .value = (const void *)(at + packed->value_at),
        .fresh = panel == 0,
    };
}

typedef struct forward_job {
    const wtl_sparse_dense_kernels *kernels;
    const wtl_sparse_dense *packed;
    const wtl_dense *t;
    const float *b;
    float *y;
    float *sums; /* [k rounded up to quads, widest] */
    long widest; /* images of a tile */
} forward_job;

/* The filters begin..end of the images first.., whose x, side by side, is `x` [D, width]; vecs 0:
 * one image by itself. */
static void run_tile(const forward_job *job, long begin, long end, int first, int vecs,
                     const float *x)
{
    const wtl_sparse_dense *packed = job->packed;
    const int filters = packed->quads ? QUAD : 1;
    const long width = vecs ? (long)vecs * job->kernels->lanes : 1;
    /* A thread's sums stay in the same place: others may be at a narrower tile. */
    float *sums = job->sums + begin * (job->widest - width);
    for (int panel = 0; begin < end && panel < packed->panels; panel++) {
        wtl_sparse_dense_panel p = panel_at(packed, panel);
        p.begin = begin / filters;
        p.end = (end + filters - 1) / filters;
        const float *from = x + (size_t)panel * (size_t)packed->width * (size_t)width;
        if (vecs) {
            job->kernels->many(&p, vecs, from, sums);
        } else {
            job->kernels->one(&p, from, sums);
        }
    }
    job->kernels->finish(at_most(width, job->t->n - first), (int)(end - begin), width,
                         sums + begin * width, job->b ? job->b + begin : NULL,
                         job->t->activation, job->y + first * job->t->y_step + begin,
                         job->t->y_step);
}

static double macs(const wtl_sparse_dense *packed, const wtl_dense *t)
{
    return (double)packed->entries * (packed->quads ? QUAD : 1) * t->n;
}

void wtl_sparse_dense_forward(const wtl_native *native, int threads,
                              const wtl_sparse_dense *packed, const wtl_dense *t,
                              const float *x, const float *b, float *y, float *scratch)
{
    const wtl_sparse_dense_kernels *kernels = native->sparse_dense;
    const int most = packed->quads ? kernels->most_quads : kernels->most_rows;
    const long vecs = t->n == 1 ? 0 : vectors(native, t->n), tiles = (vecs + most - 1) / most;
    float *panel = scratch;
    const forward_job job = {
        .kernels = kernels,
        .packed = packed,
        .t = t,
        .b = b,
        .y = y,
        .sums = scratch + (vecs ? side_images(t->n) * (size_t)packed->d : 0),
        .widest = vecs ? (vecs + tiles - 1) / tiles * kernels->lanes : 1,
    };
#pragma omp parallel num_threads(wtl_dense_threads(threads, macs(packed, t)))
    {
        long begin, end;
        if (t->n > 1) {
            wtl_dense_share(packed->d, WTL_DENSE_COLUMNS, &begin, &end);
            kernels->turn(t->n, most, packed->d, begin, end, x, t->x_step, panel);
#pragma omp barrier
        }
        wtl_dense_share(packed->k, UNIT, &begin, &end);
        if (t->n == 1) {
            run_tile(&job, begin, end, 0, 0, x);
        }
        for (long tile = 0; tile < tiles; tile++) {
            long first = vecs * tile / tiles, next = vecs * (tile + 1) / tiles;
            long image = first * kernels->lanes;
            run_tile(&job, begin, end, (int)image, (int)(next - first),
                     panel + (size_t)image * (size_t)packed->d);
        }
    }
}
