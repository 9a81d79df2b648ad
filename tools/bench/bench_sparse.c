/* bench_sparse.c - sparse convolution beside dense, layer by layer, one thread. A Markdown table:
 * at several shares of zeros, the positions at random and in blocks of 4x1, the time of the sparse
 * kernels (conv_sparse.h), their GFLOP/s on non-zeros and the ratio of the dense time to it.
 *
 *   bench_sparse [-b BATCH] [-i avx2|avx512|plain] [-z ZEROS] [-v] [LAYER...]
 *   bench_sparse -c FILE [-i ...]    measures the rates of wattle/kernel_costs.h into FILE
 *
 * The dense time is that of the direct kernels (conv_direct.h) on the same layer, measured in turn
 * with the sparse one. Times are processor time of the thread, medians of many.
 */
#define _POSIX_C_SOURCE 200809L
#include "models/kernels/conv_direct.h"
#include "models/kernels/conv_sparse.h"
#include "models/kernels/native/sparse.h"
#include "wattle/memory.h"
#include "wattle/rng.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

typedef struct layer {
    const char *name;
    int c, size, k, kernel, groups;
} layer;

static const layer LAYERS[] = {
    {"alexnet-conv2", 96, 27, 256, 5, 2},    {"alexnet-conv3", 256, 13, 384, 3, 1},
    {"alexnet-conv4", 384, 13, 384, 3, 2},   {"alexnet-conv5", 384, 13, 256, 3, 2},
    {"googlenet-conv3", 64, 56, 192, 3, 1},  {"googlenet-3a-3x3", 96, 28, 128, 3, 1},
    {"googlenet-3a-5x5", 16, 28, 32, 5, 1},  {"googlenet-4e-3x3", 160, 14, 320, 3, 1},
    {"googlenet-4e-5x5", 32, 14, 128, 5, 1}, {"googlenet-5b-3x3", 192, 7, 384, 3, 1},
    {"googlenet-3a-1x1", 192, 28, 64, 1, 1}, {"googlenet-4a-1x1", 480, 14, 192, 1, 1},
    {"googlenet-5b-1x1", 832, 7, 384, 1, 1},
};
enum { LAYER_COUNT = sizeof LAYERS / sizeof *LAYERS };

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

enum { SAMPLES = 41 };
#define LEAST_SECONDS 1e-3 /* of a sample: shorter ones show the clock's grain */

/* Medians of what a call of each takes, their samples taken in turn. */
static void medians(int count, void (*const run[])(void *), void *const context[],
                    double seconds[])
{
    double samples[2][SAMPLES];
    int calls[2] = {1, 1};
    for (int i = 0; i < count; i++) {
        run[i](context[i]);
        for (double took = 0; took < LEAST_SECONDS; calls[i] *= took < LEAST_SECONDS ? 2 : 1) {
            double start = now();
            for (int c = 0; c < calls[i]; c++) {
                run[i](context[i]);
            }
            took = now() - start;
        }
    }
    for (int s = 0; s < count * SAMPLES; s++) {
        int i = s % count;
        double start = now();
        for (int c = 0; c < calls[i]; c++) {
            run[i](context[i]);
        }
        samples[i][s / count] = (now() - start) / calls[i];
    }
    for (int i = 0; i < count; i++) {
        qsort(samples[i], SAMPLES, sizeof samples[i][0], by_value);
        seconds[i] = samples[i][SAMPLES / 2];
    }
}

static void *memory_of(size_t bytes)
{
    void *memory = bytes < SIZE_MAX ? wtl_alloc(bytes, 1) : NULL;
    if (!memory) {
        fprintf(stderr, "bench_sparse: no memory\n");
        exit(1);
    }
    return memory;
}

/* ---- a layer ---- */

typedef struct run {
    const wtl_native *native;
    const wtl_conv_sparse *packed;
    int batch;
    size_t x_image, y_image;
    float *x, *y, *bias, *scratch;
    wtl_direct direct;
    float *direct_packed, *direct_scratch;
} run;

static void run_layer(void *context)
{
    const run *r = context;
    wtl_conv_sparse_forward(r->native, r->packed, r->batch, 1, r->x, r->x_image, r->bias,
                            WTL_ACTIVATION_RELU, NULL, r->y, r->y_image, r->scratch);
}

static void run_dense(void *context)
{
    const run *r = context;
    wtl_direct_forward(&r->direct, r->native, r->batch, (wtl_const_map){r->x, r->x_image},
                       r->direct_packed, NULL, WTL_ACTIVATION_RELU, (wtl_map){r->y, r->y_image},
                       r->direct_scratch);
}

/* Filters packed for the direct kernels. */
static void prepare_dense(run *r, const wtl_conv_geometry *g, const float *w)
{
    r->direct = wtl_direct_plan(g, r->native, 1, false);
    r->direct_packed = memory_of(wtl_direct_packed(&r->direct.forward) * sizeof(float));
    wtl_direct_pack(&r->direct.forward, 1, w, r->bias, r->direct_packed);
    r->direct_scratch = memory_of(wtl_direct_scratch(&r->direct, false) * sizeof(float));
}

static wtl_conv_geometry geometry_of(const layer *l)
{
    int pad = l->kernel / 2;
    return (wtl_conv_geometry){.c = l->c,
                               .h = l->size,
                               .w = l->size,
                               .k = l->k,
                               .r = l->kernel,
                               .s = l->kernel,
                               .p = l->size,
                               .q = l->size,
                               .stride = {1, 1},
                               .pad = {pad, pad, pad, pad},
                               .dilation = {1, 1},
                               .groups = l->groups};
}

/* One weight in WTL_QUAD filters is drawn when `quads`. Returns the number that are not 0. */
static size_t draw(const wtl_conv_geometry *g, double zeros, bool quads, float *w)
{
    wtl_rng rng = wtl_rng_make(1, WTL_RNG_INIT, 0, 0);
    size_t filter = (size_t)(g->c / g->groups) * g->r * g->s, count = 0;
    for (size_t k = 0; k < (size_t)g->k; k++) {
        for (size_t i = 0; i < filter; i++) {
            bool kept = quads && k % WTL_QUAD ? w[(k - 1) * filter + i] != 0.0f
                                              : wtl_rng_uniform(&rng) >= zeros;
            w[k * filter + i] = kept ? 0.01f : 0.0f;
            count += kept;
        }
    }
    return count;
}

typedef struct options {
    const wtl_native *native;
    int batch;
    double zeros; /* or -1: all */
    bool verbose;
} options;

static void bench_mask(const options *o, const layer *l, double zeros, bool quads)
{
    wtl_conv_geometry g = geometry_of(l);
    wtl_shape in = {g.c, g.h, g.w}, out = {g.k, g.p, g.q};
    run r = {.native = o->native,
             .batch = o->batch,
             .x_image = wtl_blocked_count(in),
             .y_image = wtl_blocked_count(out)};
    size_t weights = (size_t)g.k * (g.c / g.groups) * g.r * g.s;
    float *w = memory_of(weights * sizeof *w);
    size_t kept = draw(&g, zeros, quads, w);
    r.x = memory_of(o->batch * r.x_image * sizeof *r.x);
    r.y = memory_of(o->batch * r.y_image * sizeof *r.y);
    r.bias = memory_of((size_t)g.k * sizeof *r.bias);
    r.scratch = memory_of(wtl_conv_sparse_scratch(o->native, &g, o->batch, 1));
    void *packed = memory_of(wtl_conv_sparse_bytes(o->native, &g, o->batch, w));
    r.packed = wtl_conv_sparse_pack(o->native, &g, o->batch, w, packed);
    prepare_dense(&r, &g, w);
    double took[2];
    medians(2, (void (*const[])(void *)){run_layer, run_dense}, (void *const[]){&r, &r}, took);
    double seconds = took[0], flop = 2.0 * o->batch * g.p * g.q;
    const wtl_sparse_layout *lay = &r.packed->layout;
    printf("| %s | %d | %.0f | %s | %s | %.3f | %.1f | %.0f | %.2f |", l->name, o->batch,
           100 * zeros, quads ? "4x1" : "random",
           r.packed->form == WTL_SPARSE_ROWS ? "rows" : "quads", 1e3 * seconds,
           1e-9 * flop * (double)kept / seconds, 1e-9 * flop * (double)weights / took[1],
           took[1] / seconds);
    if (o->verbose) {
        printf(" %s %d rows %d images %d channels, %zu KiB, estimate off by %.2f |",
               lay->flat ? "flat" : "lined", lay->rows, lay->images, lay->channels,
               lay->panel_floats * 4 / 1024, seconds / r.packed->seconds);
    }
    printf("\n");
    (void)fflush(stdout);
    wtl_free(r.direct_scratch);
    wtl_free(r.direct_packed);
    wtl_free(packed);
    wtl_free(r.scratch);
    wtl_free(r.bias);
    wtl_free(r.y);
    wtl_free(r.x);
    wtl_free(w);
}

static void bench_layer(const options *o, const layer *l)
{
    static const double zeros[] = {0.5, 0.7, 0.8, 0.9, 0.95};
    for (int quads = 0; quads < 2; quads++) {
        for (size_t i = 0; i < sizeof zeros / sizeof *zeros; i++) {
            if (o->zeros < 0 || fabs(o->zeros - zeros[i]) < 1e-6) {
                bench_mask(o, l, zeros[i], quads);
            }
        }
    }
}

static wtl_isa isa_of(const char *name)
{
    return !strcmp(name, "avx2")    ? WTL_ISA_AVX2
           : !strcmp(name, "plain") ? WTL_ISA_PLAIN
                                    : WTL_ISA_AVX512;
}

static double wall(void *context)
{
    struct timespec t;
    (void)context;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Measure the rates of wattle/kernel_costs.h into a file. */
static int calibrate(wtl_isa isa, const char *path)
{
    const wtl_clock clock = {wall, NULL};
    wtl_kernel_costs costs;
    wtl_error err;
    if (wtl_kernel_costs_measure(&costs, isa, wtl_threads_available(), &clock, &err) !=
            WTL_OK ||
        wtl_kernel_costs_save(&costs, path, &err) != WTL_OK) {
        fprintf(stderr, "bench_sparse: %s\n", err.text);
        return 1;
    }
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: bench_sparse [-b BATCH] [-c FILE] [-i ISA] [-z PERCENT] [-v]\n");
    return 64;
}

int main(int argc, char **argv)
{
    options o = {.batch = 1, .zeros = -1};
    wtl_isa isa = WTL_ISA_BEST;
    const char *costs = NULL;
    for (int option; (option = getopt(argc, argv, "b:c:i:z:v")) != -1;) {
        switch (option) {
        case 'b':
            if (!wtl_parse_int(optarg, 1, 4096, &o.batch)) {
                return usage();
            }
            break;
        case 'c':
            costs = optarg;
            break;
        case 'i':
            isa = isa_of(optarg);
            break;
        case 'z':
            if (!wtl_parse_double(optarg, 0, 100, &o.zeros)) {
                return usage();
            }
            o.zeros /= 100;
            break;
        case 'v':
            o.verbose = true;
            break;
        default:
            return usage();
        }
    }
    if (costs) {
        return calibrate(isa, costs);
    }
    o.native = wtl_native_of(isa);
    printf("| layer | images | zeros %% | where | form | ms | GFLOP/s | dense GFLOP/s | "
           "speed-up |%s\n",
           o.verbose ? " layout |" : "");
    printf("| --- | --- | --- | --- | --- | --- | --- | --- | --- |%s\n",
           o.verbose ? " --- |" : "");
    for (int i = 0; i < LAYER_COUNT; i++) {
        bool wanted = optind == argc;
        for (int a = optind; a < argc; a++) {
            wanted = wanted || strstr(LAYERS[i].name, argv[a]);
        }
        if (wanted) {
            bench_layer(&o, &LAYERS[i]);
        }
    }
    return 0;
}
