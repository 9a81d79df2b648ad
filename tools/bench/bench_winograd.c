/* bench_winograd.c - Winograd convolution by layer and pass, as a Markdown table.
 *
 *   bench_winograd [THREADS [MIN_SECONDS [avx512|avx2|plain [LAYER]]]]
 *
 * Speed is that of direct convolution: its operations (2 a multiply-add) over the best time. With
 * one thread time is the processor's, else that of the clock. `of peak` is against multiply-adds
 * in registers, timed in the same run on the same threads. Errors are the largest and the root
 * mean square over a sample of outputs, divided by the root mean square of the output; beside
 * them those of a plain float sum.
 */
#define _POSIX_C_SOURCE 200809L
#include "models/kernels/conv_winograd.h"
#include "models/kernels/native/tile.h"

#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct layer {
    const char *name;
    int c, k, size, filter, groups, batch;
} layer;

static const layer LAYERS[] = {
    {"AlexNet conv3, 256 to 384, 13x13", 256, 384, 13, 3, 1, 32},
    {"AlexNet conv4, 384 to 384, 13x13", 384, 384, 13, 3, 1, 32},
    {"AlexNet conv4, 2 groups", 384, 384, 13, 3, 2, 32},
    {"AlexNet conv5, 384 to 256, 13x13", 384, 256, 13, 3, 1, 32},
    {"GoogLeNet conv3, 64 to 192, 56x56", 64, 192, 56, 3, 1, 8},
    {"GoogLeNet 3a, 96 to 128, 28x28", 96, 128, 28, 3, 1, 16},
    {"GoogLeNet 4e, 160 to 320, 14x14", 160, 320, 14, 3, 1, 32},
    {"GoogLeNet 5b, 192 to 384, 7x7", 192, 384, 7, 3, 1, 32},
    {"CIFAR, 64 to 64, 32x32", 64, 64, 32, 3, 1, 32},
    {"ResNet, 32 to 32, 16x16", 32, 32, 16, 3, 1, 64},
    {"ResNet, 16 to 16, 32x32", 16, 16, 32, 3, 1, 64},
    {"AlexNet conv2, 5x5, 64 to 192, 27x27", 64, 192, 27, 5, 1, 16},
    {"AlexNet conv2, 5x5, 96 to 256, 2 groups", 96, 256, 27, 5, 2, 16},
    {"GoogLeNet 3b, 5x5, 32 to 96, 28x28", 32, 96, 28, 5, 1, 16},
    {"GoogLeNet 4e, 5x5, 32 to 128, 14x14", 32, 128, 14, 5, 1, 32},
    {"AlexNet conv4, batch 1", 384, 384, 13, 3, 1, 1},
};
enum { LAYER_COUNT = sizeof LAYERS / sizeof LAYERS[0], SAMPLES = 2000 };

typedef enum pass { FORWARD, DATA, WEIGHTS, PACK, PASS_COUNT } pass;

static const char *const PASS_NAMES[PASS_COUNT] = {"forward", "input gradient",
                                                   "weight gradient", "pack"};

/* Arrays of one layer; x, y, dx and dy in blocks. */
typedef struct bench {
    const wtl_native *native;
    wtl_conv_geometry g;
    int n, threads;
    size_t x_image, y_image, x_bytes, y_bytes, u_bytes, scratch_bytes, w_count;
    float *x, *dx, *y, *dy, *w, *dw, *packed, *flipped, *scratch;
} bench;

static double now(int threads)
{
    struct timespec t;
    clockid_t clock = CLOCK_MONOTONIC;
    if (threads == 1) {
        clock = CLOCK_THREAD_CPUTIME_ID;
    }
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void *pages(size_t bytes)
{
    void *memory = wtl_alloc_pages(bytes);
    if (!memory) {
        fprintf(stderr, "bench_winograd: out of memory\n");
        exit(1);
    }
    return memory;
}

static float noise(unsigned *state)
{
    *state = *state * 1664525u + 1013904223u;
    return (float)(int)*state / 2147483648.0f;
}

static void fill(float *values, size_t count, unsigned key)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = noise(&key);
    }
}

static void bench_create(bench *b, const wtl_native *native, const layer *l, int threads)
{
    *b = (bench){.native = native, .n = l->batch, .threads = threads};
    int pad = l->filter / 2;
    b->g = (wtl_conv_geometry){.c = l->c,
                               .h = l->size,
                               .w = l->size,
                               .k = l->k,
                               .r = l->filter,
                               .s = l->filter,
                               .p = l->size,
                               .q = l->size,
                               .stride = {1, 1},
                               .pad = {pad, pad, pad, pad},
                               .dilation = {1, 1},
                               .groups = l->groups};
    b->x_image = wtl_blocked_count((wtl_shape){l->c, l->size, l->size});
    b->y_image = wtl_blocked_count((wtl_shape){l->k, l->size, l->size});
    b->x_bytes = b->x_image * (size_t)b->n * sizeof(float);
    b->y_bytes = b->y_image * (size_t)b->n * sizeof(float);
    b->u_bytes = wtl_winograd_pack_floats(&b->g) * sizeof(float);
    b->scratch_bytes = wtl_winograd_scratch(&b->g, b->n, threads, true);
    b->w_count = (size_t)l->k * (size_t)(l->c / l->groups) * (size_t)(l->filter * l->filter);
    b->x = pages(b->x_bytes);
    b->dx = pages(b->x_bytes);
    b->y = pages(b->y_bytes);
    b->dy = pages(b->y_bytes);
    b->w = pages(b->w_count * sizeof(float));
    b->dw = pages(b->w_count * sizeof(float));
    b->packed = pages(b->u_bytes);
    b->flipped = pages(b->u_bytes);
    b->scratch = pages(b->scratch_bytes);
    fill(b->x, b->x_bytes / sizeof(float), 1);
    fill(b->dy, b->y_bytes / sizeof(float), 2);
    fill(b->w, b->w_count, 3);
}

static void bench_free(bench *b)
{
    wtl_free_pages(b->x, b->x_bytes);
    wtl_free_pages(b->dx, b->x_bytes);
    wtl_free_pages(b->y, b->y_bytes);
    wtl_free_pages(b->dy, b->y_bytes);
    wtl_free_pages(b->w, b->w_count * sizeof(float));
    wtl_free_pages(b->dw, b->w_count * sizeof(float));
    wtl_free_pages(b->packed, b->u_bytes);
    wtl_free_pages(b->flipped, b->u_bytes);
    wtl_free_pages(b->scratch, b->scratch_bytes);
}

static void run(bench *b, pass which)
{
    switch (which) {
    case FORWARD:
        wtl_winograd_forward(b->native, &b->g, b->n, b->threads, b->x, b->x_image, b->packed,
                             NULL, NULL, WTL_ACTIVATION_NONE, b->y, b->y_image, b->scratch);
        break;
    case DATA:
        wtl_winograd_data(b->native, &b->g, b->n, b->threads, b->dy, b->y_image, b->flipped,
                          NULL, b->dx, b->x_image, b->scratch);
        break;
    case WEIGHTS:
        wtl_winograd_weights(b->native, &b->g, b->n, b->threads, b->x, b->x_image, b->dy,
                             b->y_image, b->dw, b->scratch);
        break;
    default:
        wtl_winograd_pack(b->native, &b->g, b->threads, b->w, false, b->packed);
        wtl_winograd_pack(b->native, &b->g, b->threads, b->w, true, b->flipped);
        break;
    }
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Best and median seconds of a pass. */
static double timed(bench *b, pass which, double least_seconds, double *median)
{
    enum { MOST = 1000 };
    static double times[MOST];
    double total = 0.0;
    int count = 0;
    run(b, which);
    while (count < MOST && (total < least_seconds || count < 5)) {
        double start = now(b->threads);
        run(b, which);
        times[count] = now(b->threads) - start;
        total += times[count++];
    }
    qsort(times, (size_t)count, sizeof *times, ascending);
    *median = times[count / 2];
    return times[0];
}

/* GFLOP/s of the widest tile of the direct kernel on weights and values that stay in the first
 * level of cache; the best of many short runs on each thread. */
static double peak(const wtl_native *native, int threads)
{
    enum { DEPTH = 64, CALLS = 400, RUNS = 40 };
    double sum = 0.0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : sum)
    for (int part = 0; part < threads; part++) {
        static _Thread_local float x[DEPTH * 16], w[DEPTH * 32], y[28 * 32];
        int width = native->tile->widths[2];
        wtl_tile t = {.blocks_in = DEPTH / 16,
                      .rows = 1,
                      .cols = 1,
                      .depth = 16,
                      .block_step = 16,
                      .pixel_step = 16,
                      .y_pixel_step = 32,
                      .y_block_step = 16};
        double best = 1e9;
        for (int i = 0; i < RUNS; i++) {
            double start = now(1);
            for (int call = 0; call < CALLS; call++) {
                native->tile->forward(&t, 2, width, x, w, NULL, NULL, y);
            }
            best = fmin(best, now(1) - start);
        }
        sum += 2e-9 * DEPTH * 32.0 * width * CALLS / best;
    }
    return sum;
}

/* ---- errors ---- */

static size_t blocked(int c, int h, int v, int height, int width)
{
    return (((size_t)(c / 16) * (size_t)height + (size_t)h) * (size_t)width + (size_t)v) * 16 +
           (size_t)(c % 16);
}

typedef struct sums {
    double exact;
    float plain;
} sums;

static void add(sums *s, float a, float b)
{
    s->exact += (double)a * b;
    s->plain = fmaf(a, b, s->plain);
}

/* y of one output, or dx of one input when `back`. */
static sums output_sums(const bench *b, bool back, int i, int k, int p, int q)
{
    const wtl_conv_geometry *g = &b->g;
    int many = g->c / g->groups, filters = g->k / g->groups, depth = back ? filters : many;
    int group = k / (back ? many : filters), taps = g->r * g->s;
    sums s = {0};
    for (int d = 0; d < depth; d++) {
        for (int tap = 0; tap < taps; tap++) {
            int h = p + tap / g->s - g->pad[0], v = q + tap % g->s - g->pad[2];
            if (h < 0 || h >= g->h || v < 0 || v >= g->w) {
                continue;
            }
            size_t at = blocked(group * depth + d, h, v, g->h, g->w);
            float value =
                back ? b->dy[(size_t)i * b->y_image + at] : b->x[(size_t)i * b->x_image + at];
            int filter = back ? group * filters + d : k, channel = back ? k % many : d;
            add(&s, value,
                b->w[((size_t)filter * (size_t)many + (size_t)channel) * (size_t)taps +
                     (size_t)(back ? taps - 1 - tap : tap)]);
        }
    }
    return s;
}

static sums weight_sums(const bench *b, int k, int c, int tap)
{
    const wtl_conv_geometry *g = &b->g;
    int channel = k / (g->k / g->groups) * (g->c / g->groups) + c;
    sums s = {0};
    for (int at = 0; at < b->n * g->p * g->q; at++) {
        int i = at / (g->p * g->q), p = at / g->q % g->p, q = at % g->q;
        int h = p + tap / g->s - g->pad[0], v = q + tap % g->s - g->pad[2];
        if (h >= 0 && h < g->h && v >= 0 && v < g->w) {
            add(&s, b->x[(size_t)i * b->x_image + blocked(channel, h, v, g->h, g->w)],
                b->dy[(size_t)i * b->y_image + blocked(k, p, q, g->p, g->q)]);
        }
    }
    return s;
}

static int any(unsigned *state, int count)
{
    noise(state);
    return (int)(*state >> 8) % count;
}

static float sample(const bench *b, pass which, unsigned *state, sums *s)
{
    const wtl_conv_geometry *g = &b->g;
    if (which == WEIGHTS) {
        int many = g->c / g->groups, taps = g->r * g->s;
        int k = any(state, g->k), c = any(state, many), tap = any(state, taps);
        *s = weight_sums(b, k, c, tap);
        return b->dw[((size_t)k * (size_t)many + (size_t)c) * (size_t)taps + (size_t)tap];
    }
    bool back = which == DATA;
    int i = any(state, b->n), k = any(state, back ? g->c : g->k);
    int p = any(state, g->p), q = any(state, g->q);
    *s = output_sums(b, back, i, k, p, q);
    size_t image = back ? b->x_image : b->y_image;
    return (back ? b->dx : b->y)[(size_t)i * image + blocked(k, p, q, g->p, g->q)];
}

typedef struct error_rates {
    double most, rms, plain_most, plain_rms;
} error_rates;

static error_rates errors_of(bench *b, pass which)
{
    unsigned state = 7;
    int count = which == WEIGHTS ? SAMPLES / 10 : SAMPLES;
    double squares = 0.0, power = 0.0, plain_squares = 0.0;
    error_rates e = {0};
    memset(b->dw, 0, b->w_count * sizeof(float));
    run(b, which);
    for (int i = 0; i < count; i++) {
        sums s;
        double got = sample(b, which, &state, &s), error = fabs(got - s.exact);
        double plain = fabs(s.plain - s.exact);
        e.most = fmax(e.most, error);
        e.plain_most = fmax(e.plain_most, plain);
        squares += error * error;
        plain_squares += plain * plain;
        power += s.exact * s.exact;
    }
    double size = sqrt(power / count);
    e.most /= size;
    e.plain_most /= size;
    e.rms = sqrt(squares / count) / size;
    e.plain_rms = sqrt(plain_squares / count) / size;
    return e;
}

static void report(bench *b, const char *name, double least_seconds, double top)
{
    const wtl_conv_geometry *g = &b->g;
    double operations = 2.0 * b->n * g->p * g->q * (double)b->w_count;
    run(b, PACK);
    for (pass which = FORWARD; which < PASS_COUNT; which++) {
        double median, best = timed(b, which, least_seconds, &median);
        printf("| %s | %s | %.3f | %.3f |", name, PASS_NAMES[which], 1e3 * best, 1e3 * median);
        if (which == PACK) {
            printf(" | | | |\n");
            continue;
        }
        error_rates e = errors_of(b, which);
        printf(" %.0f | %.2f | %.1e / %.1e | %.1e / %.1e |\n", 1e-9 * operations / best,
               1e-9 * operations / best / top, e.most, e.rms, e.plain_most, e.plain_rms);
        fflush(stdout);
    }
}

int main(int argc, char **argv)
{
    static const char *const ISAS[WTL_ISA_COUNT] = {"best", "plain", "avx2", "avx512"};
    int threads = 1, only = -1;
    double seconds = 0.2;
    if ((argc > 1 && !wtl_parse_int(argv[1], 1, 1024, &threads)) ||
        (argc > 2 && !wtl_parse_double(argv[2], 0.001, 3600, &seconds)) ||
        (argc > 4 && !wtl_parse_int(argv[4], 0, LAYER_COUNT - 1, &only))) {
        fprintf(stderr, "usage: bench_winograd [THREADS [SECONDS [ISA [LAYER]]]]\n");
        return 64;
    }
    wtl_isa isa = WTL_ISA_BEST;
    for (int i = 0; i < WTL_ISA_COUNT; i++) {
        isa = argc > 3 && strcmp(argv[3], ISAS[i]) == 0 ? (wtl_isa)i : isa;
    }
    const wtl_native *native = wtl_native_of(isa);
    wtl_threads_prepare(threads);
    double top = peak(native, threads);
    printf("%d thread(s), %s, peak %.0f GFLOP/s\n\n", threads, ISAS[native->isa], top);
    printf("| layer | pass | best ms | median ms | effective GFLOP/s | of peak | error max / "
           "rms | of a plain sum |\n");
    printf("| --- | --- | --- | --- | --- | --- | --- | --- |\n");
    for (int i = 0; i < LAYER_COUNT; i++) {
        bench b;
        if (only >= 0 && only != i) {
            continue;
        }
        bench_create(&b, native, &LAYERS[i], threads);
        report(&b, LAYERS[i].name, seconds, top);
        bench_free(&b);
    }
    return 0;
}
