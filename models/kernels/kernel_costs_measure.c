/* kernel_costs_measure.c - the rates of wattle/kernel_costs.h on the processor at hand: each
 * kernel by itself, on data in the cache that its rate is about; the best of some samples. */
#include "wattle/kernel_costs.h"

#include "conv_direct.h"
#include "conv_winograd.h"
#include "native/sparse.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

#include <math.h>
#include <string.h>

enum {
    BLOCK = WTL_BLOCK_CHANNELS,
    SAMPLES = 15,
    MOST_CALLS = 1 << 12,
    NEAR_FLOATS = 24 * 1024 / 4,      /* in the first-level cache, with sums beside */
    FAR_FLOATS = 320 * 1024 / 4,      /* in the second */
    STREAM_BYTES = 128 * 1024 * 1024, /* in none */
    FILTERS = 32,
    ENTRIES = 384, /* of a filter: beginning and end do not show */
    PLANES = 16,
    COPIES = 64,
    SHORT_FILTERS = 4096,
    SHORT_LEAST = 4, /* entries of one */
    SHORT_RANGE = 16,
    ALL_ENTRIES = SHORT_FILTERS * (SHORT_LEAST + SHORT_RANGE) /* more than FILTERS * ENTRIES */
};
#define LEAST_SECONDS 1e-3 /* of a sample */

typedef struct job {
    const wtl_native *native;
    int threads;
    float *x, *y;          /* FAR_FLOATS and more */
    float *stream;         /* STREAM_BYTES */
    int32_t *starts;       /* FILTERS + 1 */
    int32_t *short_starts; /* SHORT_FILTERS + 1 */
    wtl_sparse_entry *entries;
    wtl_sparse_quad *quads;
    wtl_conv_geometry layer;
    wtl_direct direct;
    float *packed, *scratch; /* of the dense kernels */
} job;

/* ---- time ---- */

static double seconds_of(const job *j, void (*run)(const job *), int calls,
                         const wtl_clock *clock)
{
    double start = clock->now(clock->context);
    for (int i = 0; i < calls; i++) {
        run(j);
    }
    return clock->now(clock->context) - start;
}

/* *seconds of one call: the best sample, for others use the processor too. */
static wtl_status best(const job *j, void (*run)(const job *), const wtl_clock *clock,
                       double *seconds, wtl_error *err)
{
    double least = INFINITY, took = 0;
    int calls = 1;
    run(j);
    while (took >= 0 && took < LEAST_SECONDS && calls < MOST_CALLS) {
        took = seconds_of(j, run, calls, clock);
        calls *= took < LEAST_SECONDS ? 2 : 1;
    }
    for (int i = 0; i < SAMPLES && took > 0; i++) {
        least = fmin(least, seconds_of(j, run, calls, clock));
    }
    took = took > 0 ? least : took;
    *seconds = took / calls;
    return took > 0 ? WTL_OK
                    : wtl_fail(err, WTL_E_RANGE,
                               "kernel costs: the clock went %g s during %d calls, not forward",
                               took, calls);
}

/* ---- what is timed ---- */

static void run_rows(const job *j)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    k->rows(k->most_rows, FILTERS, j->starts, j->entries, j->x, j->y, k->most_rows * k->lanes,
            true);
}

static void run_quads(const job *j)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    k->quads(k->most_quads, FILTERS, j->starts, j->quads, j->x, j->y, k->most_quads * k->lanes,
             true);
}

/* Sums alone: no filter has an entry. */
static void run_sums(const job *j)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    static const int32_t none[FILTERS + 1];
    for (int i = 0; i < FAR_FLOATS / (FILTERS * k->most_rows * k->lanes); i++) {
        k->rows(k->most_rows, FILTERS, none, j->entries, j->x,
                j->y + i * FILTERS * k->most_rows * k->lanes, k->most_rows * k->lanes, false);
    }
}

/* Filters of a few entries, no two alike: branches are mispredicted as they are in a layer. */
static void run_short(const job *j)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    k->rows(k->most_rows, SHORT_FILTERS, j->short_starts, j->entries, j->x, j->y, 0, true);
}

static void run_turn(const job *j)
{
    for (int i = 0; i < FAR_FLOATS / (PLANES * 64); i++) {
        j->native->sparse->to_planes(j->x + (long)i * PLANES * 64, BLOCK, 64, j->y, 64 + BLOCK);
    }
}

static void run_copy(const job *j)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    for (int i = 0; i < COPIES; i++) {
        k->copy(j->x, 64 + BLOCK, j->y, 64 + BLOCK, PLANES, 64 / k->lanes);
    }
}

static void run_stream(const job *j)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    long lines = STREAM_BYTES / 4 / 256;
#pragma omp parallel for num_threads(j->threads) schedule(static, 1) if (j->threads > 1)
    for (int part = 0; part < j->threads; part++) {
        long begin, end;
        float target[256];
        wtl_share(lines, part, j->threads, &begin, &end);
        k->copy(j->stream + begin * 256, 256, target, 0, (int)(end - begin), 256 / k->lanes);
    }
}

static void run_direct(const job *j)
{
    size_t image = (size_t)j->layer.c * j->layer.h * j->layer.w;
    wtl_direct_forward(&j->direct, j->native, 1, (wtl_const_map){j->x, image}, j->packed, NULL,
                       WTL_ACTIVATION_RELU, (wtl_map){j->y, image}, j->scratch);
}

static void run_winograd(const job *j)
{
    size_t image = (size_t)j->layer.c * j->layer.h * j->layer.w;
    wtl_winograd_forward(j->native, &j->layer, 1, 1, j->x, image, j->packed, NULL, NULL,
                         WTL_ACTIVATION_RELU, j->y, image, j->scratch);
}

/* ---- data ---- */

static uint32_t next_random(uint32_t *state)
{
    *state = *state * 1664525u + 1013904223u;
    return *state >> 8;
}

/* Entries over `floats` of x, in order within a filter, at multiples of a vector. */
static void spread(job *j, int floats)
{
    int room = floats / BLOCK - j->native->sparse->most_rows;
    uint32_t state = 1;
    for (int i = 0; i < ALL_ENTRIES; i++) {
        long place = (long)(i % ENTRIES) * room + (long)next_random(&state) % room;
        int at = (int)(place / ENTRIES);
        j->entries[i] = (wtl_sparse_entry){0.01f, at * BLOCK};
        j->quads[i] = (wtl_sparse_quad){{0.01f, 0.02f, 0.03f, 0.04f}, at * BLOCK};
    }
}

enum { LAYER_MAP = 64 * 28 * 28 };

static void free_job(job *j)
{
    wtl_free(j->x);
    wtl_free(j->y);
    wtl_free_pages(j->stream, STREAM_BYTES);
    wtl_free(j->starts);
    wtl_free(j->short_starts);
    wtl_free(j->entries);
    wtl_free(j->quads);
    wtl_free(j->packed);
    wtl_free(j->scratch);
}

static size_t greater(size_t a, size_t b)
{
    return a > b ? a : b;
}

static bool make_job(job *j)
{
    wtl_conv_geometry *g = &j->layer;
    *g = (wtl_conv_geometry){.c = 64,
                             .h = 28,
                             .w = 28,
                             .k = 64,
                             .r = 3,
                             .s = 3,
                             .p = 28,
                             .q = 28,
                             .stride = {1, 1},
                             .pad = {1, 1, 1, 1},
                             .dilation = {1, 1},
                             .groups = 1};
    j->direct = wtl_direct_plan(g, j->native, 1, false);
    j->x = wtl_alloc(greater(FAR_FLOATS, LAYER_MAP) + 4096, sizeof *j->x);
    j->y = wtl_alloc(greater(FAR_FLOATS, LAYER_MAP) + 4096, sizeof *j->y);
    j->stream = wtl_alloc_pages(STREAM_BYTES);
    j->starts = wtl_alloc(FILTERS + 1, sizeof *j->starts);
    j->short_starts = wtl_alloc(SHORT_FILTERS + 1, sizeof *j->short_starts);
    j->entries = wtl_alloc(ALL_ENTRIES, sizeof *j->entries);
    j->quads = wtl_alloc(ALL_ENTRIES, sizeof *j->quads);
    j->packed =
        wtl_alloc(greater(wtl_direct_packed(&j->direct.forward), wtl_winograd_pack_floats(g)),
                  sizeof *j->packed);
    j->scratch = wtl_alloc(greater(wtl_direct_scratch(&j->direct, false) * sizeof(float),
                                   wtl_winograd_scratch(g, 1, 1, false)),
                           1);
    if (!j->x || !j->y || !j->stream || !j->starts || !j->short_starts || !j->entries ||
        !j->quads || !j->packed || !j->scratch) {
        return false;
    }
    memset(j->stream, 0x3f, STREAM_BYTES); /* pages never written are all one page */
    for (int f = 0; f <= FILTERS; f++) {
        j->starts[f] = f * ENTRIES;
    }
    uint32_t state = 1;
    for (int f = 0; f < SHORT_FILTERS; f++) {
        j->short_starts[f + 1] =
            j->short_starts[f] + SHORT_LEAST + (int32_t)(next_random(&state) % SHORT_RANGE);
    }
    return true;
}

/* ---- rates ---- */

/* Sparse kernels: ns of a weight, or four, and a pixel, with input of that size. */
static wtl_status measure_sparse(job *j, int floats, double *rows, double *quads,
                                 const wtl_clock *clock, wtl_error *err)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    double products = 1e-9 * FILTERS * ENTRIES * k->lanes;
    spread(j, floats);
    wtl_status status = best(j, run_rows, clock, rows, err);
    if (status == WTL_OK) {
        status = best(j, run_quads, clock, quads, err);
    }
    /* As the estimate counts it: an entry's own reading is worth a vector, or a quarter. */
    *rows /= products * (k->most_rows + 1);
    *quads /= products * (k->most_quads + 0.25);
    return status;
}

/* What filters take beside their entries, which have their rate. */
static wtl_status measure_call(job *j, wtl_kernel_costs *c, const wtl_clock *clock,
                               wtl_error *err)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    double seconds, entries = j->short_starts[SHORT_FILTERS];
    spread(j, NEAR_FLOATS);
    wtl_status status = best(j, run_short, clock, &seconds, err);
    double all = 1e9 * seconds / SHORT_FILTERS;
    double rest = all - entries / SHORT_FILTERS * (k->most_rows + 1) * k->lanes * c->rows_ns;
    c->call_ns = fmax(rest, all / 50);
    return status;
}

/* A rate is what a call takes, times or by the units in it. */
typedef struct measurement {
    void (*run)(const job *);
    double *rate;
    double units; /* ns a unit, or, negative, units a ns */
} measurement;

static wtl_status measure_rates(job *j, wtl_kernel_costs *c, const wtl_clock *clock,
                                wtl_error *err)
{
    const wtl_sparse_kernels *k = j->native->sparse;
    const wtl_conv_geometry *g = &j->layer;
    int tile = FILTERS * k->most_rows * k->lanes;
    const measurement all[] = {
        {run_sums, &c->sum_ns, (double)(FAR_FLOATS / tile) * tile},
        {run_turn, &c->turn_ns, (double)(FAR_FLOATS / (PLANES * 64)) * PLANES * 64},
        {run_copy, &c->copy_ns, COPIES * PLANES * 64},
        {run_stream, &c->memory_gbs, -STREAM_BYTES},
        {run_direct, &c->dense_gflops, -2.0 * g->k * g->c * 9 * g->p * g->q},
    };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        double seconds;
        wtl_status status = best(j, all[i].run, clock, &seconds, err);
        if (status != WTL_OK) {
            return status;
        }
        double units = all[i].units;
        *all[i].rate = units > 0 ? 1e9 * seconds / units : -1e-9 * units / seconds;
    }
    return WTL_OK;
}

static wtl_status measure_winograd(job *j, wtl_kernel_costs *c, const wtl_clock *clock,
                                   wtl_error *err)
{
    const wtl_conv_geometry *g = &j->layer;
    double seconds;
    wtl_winograd_pack(j->native, g, 1, j->stream, false, j->packed);
    wtl_status status = best(j, run_winograd, clock, &seconds, err);
    if (status == WTL_OK) {
        c->winograd_gflops = 1e-9 * 2.0 * g->k * g->c * 9 * g->p * g->q / seconds;
    }
    return status;
}

static wtl_status measure_all(job *j, wtl_kernel_costs *c, const wtl_clock *clock,
                              wtl_error *err)
{
    wtl_status status = measure_sparse(j, NEAR_FLOATS, &c->rows_ns, &c->quads_ns, clock, err);
    if (status == WTL_OK) {
        status = measure_sparse(j, FAR_FLOATS, &c->rows_far_ns, &c->quads_far_ns, clock, err);
    }
    if (status == WTL_OK) {
        status = measure_call(j, c, clock, err);
    }
    if (status == WTL_OK) {
        wtl_direct_pack(&j->direct.forward, 1, j->stream, NULL, j->packed);
        status = measure_rates(j, c, clock, err);
    }
    return status == WTL_OK ? measure_winograd(j, c, clock, err) : status;
}

wtl_status wtl_kernel_costs_measure(wtl_kernel_costs *costs, wtl_isa isa, int threads,
                                    const wtl_clock *clock, wtl_error *err)
{
    memset(costs, 0, sizeof *costs);
    if (threads < 1) {
        return wtl_fail(err, WTL_E_ARG, "kernel costs: %d threads, at least 1 is needed",
                        threads);
    }
    job j = {.native = wtl_native_of(isa), .threads = threads};
    wtl_kernel_costs read = {.isa = j.native->isa, .threads = threads};
    wtl_status status = make_job(&j)
                            ? measure_all(&j, &read, clock, err)
                            : wtl_fail(err, WTL_E_NOMEM, "kernel costs: out of memory");
    free_job(&j);
    if (status == WTL_OK) {
        wtl_processor_name(read.processor, sizeof read.processor);
        *costs = read;
    }
    return status;
}
