/* bench_conv.c - GFLOP/s of the native engine's convolution kernels, layer by layer and pass by
 * pass, beside the peak of multiply-adds in registers measured in the same round. Prints Markdown.
 *
 *   bench_conv [THREADS [BATCH [ISA]]]      ISA: plain, avx2, avx512
 *
 * Filters are packed outside the timing (they are once a step); taps in the padding count.
 */
#include "../common/peak.h"
#include "models/kernels/conv_direct.h"
#include "models/kernels/native/tile.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 7 };

typedef struct row {
    const char *name;
    int c, hw, k, rs, stride, pad, groups;
} row;

static const row ROWS[] = {
    {"AlexNet conv1 11x11/4", 3, 227, 96, 11, 4, 0, 1},
    {"AlexNet conv2 5x5 g2", 96, 27, 256, 5, 1, 2, 2},
    {"AlexNet conv3 3x3", 256, 13, 384, 3, 1, 1, 1},
    {"AlexNet conv4 3x3 g2", 384, 13, 384, 3, 1, 1, 2},
    {"AlexNet conv5 3x3 g2", 384, 13, 256, 3, 1, 1, 2},
    {"GoogLeNet conv1 7x7/2", 3, 224, 64, 7, 2, 3, 1},
    {"GoogLeNet conv2 1x1", 64, 56, 64, 1, 1, 0, 1},
    {"GoogLeNet conv3 3x3", 64, 56, 192, 3, 1, 1, 1},
    {"GoogLeNet 3a 1x1", 192, 28, 64, 1, 1, 0, 1},
    {"GoogLeNet 3a 3x3", 96, 28, 128, 3, 1, 1, 1},
    {"GoogLeNet 3a 5x5", 16, 28, 32, 5, 1, 2, 1},
    {"GoogLeNet 4a 1x1", 480, 14, 192, 1, 1, 0, 1},
    {"GoogLeNet 4e 3x3", 160, 14, 320, 3, 1, 1, 1},
    {"GoogLeNet 5b 1x1", 832, 7, 384, 1, 1, 0, 1},
    {"GoogLeNet 5b 3x3", 192, 7, 384, 3, 1, 1, 1},
    {"ResNet-20 3x3 16", 16, 32, 16, 3, 1, 1, 1},
    {"ResNet-20 3x3 64", 64, 8, 64, 3, 1, 1, 1},
    {"ResNet-20 3x3/2 16-32", 16, 32, 32, 3, 2, 1, 1},
    {"MobileNet 1x1 32-64", 32, 112, 64, 1, 1, 0, 1},
    {"MobileNet 1x1 512", 512, 14, 512, 1, 1, 0, 1},
};

static float *filled(size_t count, unsigned key)
{
    float *v = wtl_alloc(count + 16, sizeof *v);
    if (!v) {
        fprintf(stderr, "bench_conv: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < count; i++) {
        v[i] = (float)((i * 2654435761u + key) % 1000) / 500.0f - 1.0f;
    }
    return v;
}

typedef struct job {
    const wtl_native *native;
    wtl_direct d;
    int n;
    wtl_const_map x, dy;
    wtl_map y, dx;
    float *forward, *data, *dw, *scratch;
} job;

static void run_forward(job *j)
{
    wtl_direct_forward(&j->d, j->native, j->n, j->x, j->forward, NULL, WTL_ACTIVATION_RELU,
                       j->y, j->scratch);
}

static void run_data(job *j)
{
    wtl_direct_data(&j->d, j->native, j->n, j->dy, j->data, j->dx, j->scratch);
}

static void run_weights(job *j)
{
    wtl_direct_weights(&j->d, j->native, j->n, j->x, j->dy, j->dw, j->scratch);
}

/* Mean seconds of a run over about 30 ms. */
static double seconds(void (*run)(job *), job *j)
{
    double start = wtl_peak_now(), spent;
    int runs = 0;
    do {
        run(j);
        runs++;
        spent = wtl_peak_now() - start;
    } while (spent < 0.03);
    return spent / runs;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, by_value);
    return values[count / 2];
}

/* Medians over rounds, in each of which the peak is measured, too. */
static void print_rates(job *j, double flops, bool has_data, wtl_peak_isa isa, int threads)
{
    void (*const runs[3])(job *) = {run_forward, run_data, run_weights};
    double rate[3][ROUNDS], share[3][ROUNDS];
    for (int round = 0; round < ROUNDS; round++) {
        double top = wtl_peak_flops(isa, threads, 0.03);
        for (int pass = 0; pass < 3; pass++) {
            bool skip = pass == 1 && !has_data;
            rate[pass][round] = skip ? 0.0 : flops / seconds(runs[pass], j);
            share[pass][round] = rate[pass][round] / top;
        }
    }
    for (int pass = 0; pass < 3; pass++) {
        if (pass == 1 && !has_data) {
            printf(" - | - |");
        } else {
            printf(" %.0f | %.2f |", 1e-9 * median(rate[pass], ROUNDS),
                   median(share[pass], ROUNDS));
        }
    }
}

static void bench(const row *r, const wtl_native *native, wtl_peak_isa isa, int threads, int n)
{
    wtl_conv_geometry g = {.c = r->c,
                           .h = r->hw,
                           .w = r->hw,
                           .k = r->k,
                           .r = r->rs,
                           .s = r->rs,
                           .stride = {r->stride, r->stride},
                           .dilation = {1, 1},
                           .pad = {r->pad, r->pad, r->pad, r->pad},
                           .groups = r->groups};
    g.p = g.q = (r->hw + 2 * r->pad - r->rs) / r->stride + 1;
    bool plain = wtl_direct_wants_plain(&g);
    job j = {.native = native, .d = wtl_direct_plan(&g, native, threads, plain), .n = n};
    j.x.image = plain ? (size_t)g.c * g.h * g.w : wtl_blocked_count((wtl_shape){g.c, g.h, g.w});
    j.dx.image = j.x.image;
    j.y.image = j.dy.image = wtl_blocked_count((wtl_shape){g.k, g.p, g.q});
    float *x = filled(n * j.x.image, 1), *dy = filled(n * j.y.image, 2);
    j.x.data = x;
    j.dy.data = dy;
    j.y.data = filled(n * j.y.image, 3);
    j.dx.data = filled(n * j.x.image, 4);
    size_t weights = (size_t)g.k * (g.c / g.groups) * g.r * g.s;
    float *w = filled(weights, 5);
    j.dw = filled(weights, 6);
    j.forward = filled(wtl_direct_packed(&j.d.forward), 7);
    j.data = filled(wtl_direct_packed(&j.d.data), 8);
    j.scratch = filled(wtl_direct_scratch(&j.d, true), 9);
    wtl_direct_pack(&j.d.forward, threads, w, NULL, j.forward);
    wtl_direct_pack(&j.d.data, threads, w, NULL, j.data);
    double flops = 2.0 * n * (double)weights * g.p * g.q;
    printf("| %s |", r->name);
    print_rates(&j, flops, !plain, isa, threads);
    putchar('\n');
    fflush(stdout);
    float *all[] = {x, dy, j.y.data, j.dx.data, w, j.dw, j.forward, j.data, j.scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        wtl_free(all[i]);
    }
}

int main(int argc, char **argv)
{
    static const wtl_peak_isa PEAKS[WTL_ISA_COUNT] = {[WTL_ISA_PLAIN] = WTL_PEAK_PLAIN,
                                                      [WTL_ISA_AVX2] = WTL_PEAK_AVX2,
                                                      [WTL_ISA_AVX512] = WTL_PEAK_AVX512};
    static const char *const WORDS[] = {"best", "plain", "avx2", "avx512"};
    int threads = 1, n = 32, most = WTL_ISA_BEST;
    bool good = argc <= 4 && (argc < 2 || wtl_parse_int(argv[1], 1, 1024, &threads)) &&
                (argc < 3 || wtl_parse_int(argv[2], 1, 4096, &n));
    for (int i = 0; argc == 4 && i < WTL_ISA_COUNT; i++) {
        most = strcmp(argv[3], WORDS[i]) == 0 ? i : most;
    }
    if (!good) {
        fprintf(stderr, "usage: bench_conv [THREADS [BATCH [plain|avx2|avx512]]]\n");
        return 64;
    }
    const wtl_native *native = wtl_native_of((wtl_isa)most);
    wtl_threads_prepare(threads);
    printf("%s, %d threads, batch %d: GFLOP/s and share of the peak, medians of %d rounds\n\n",
           WORDS[native->isa], threads, n, ROUNDS);
    printf("| layer | forward | of peak | input gradient | of peak | weight gradient | of peak "
           "|\n");
    printf("|---|--:|--:|--:|--:|--:|--:|\n");
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        bench(&ROWS[i], native, PEAKS[native->isa], threads, n);
    }
    return 0;
}
