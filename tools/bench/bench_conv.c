/* bench_conv.c - GFLOP/s of the native engine's convolution kernels, layer by layer and pass by
 * pass, beside the peak of fused multiply-adds measured in the same run. Prints Markdown.
 *
 *   bench_conv [THREADS [BATCH [ISA]]]      ISA: plain, avx2, avx512
 *
 * Filters are packed outside the timing (they are once a step); taps in the padding count.
 */
#define _POSIX_C_SOURCE 200809L
#include "models/kernels/conv_direct.h"
#include "models/kernels/native/tile.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

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

static double seconds(void (*run)(job *), job *j)
{
    double best = 1e30, start = now();
    run(j);
    for (int i = 0; i < 15 && (i < 3 || now() - start < 0.5); i++) {
        double begin = now();
        run(j);
        double spent = now() - begin;
        best = spent < best ? spent : best;
    }
    return best;
}

/* A tile whose input and filters stay in the first-level cache: what the units can do. */
static double peak(const wtl_native *native, int threads)
{
    enum { TURNS = 20000 };
    int widest = native->tile->widths[2];
    float *x = filled(64 * 1024, 1), *w = filled(64 * 1024, 2), *y = filled(64 * 1024, 3);
    wtl_tile t = {.blocks_in = 8,
                  .rows = 1,
                  .cols = 1,
                  .depth = 16,
                  .block_step = 448,
                  .pixel_step = 16,
                  .y_pixel_step = 16,
                  .y_block_step = 512};
    double best = 0.0;
    for (int turn = 0; turn < 7; turn++) {
        double begin = now();
#pragma omp parallel for num_threads(threads) schedule(static, 1)
        for (int thread = 0; thread < threads; thread++) {
            for (int i = 0; i < TURNS; i++) {
                native->tile->forward(&t, 2, widest, x, w, NULL, NULL, y + thread * 4096);
            }
        }
        double rate = 2.0 * threads * TURNS * 8 * 16 * 32 * widest / (now() - begin);
        best = rate > best ? rate : best;
    }
    wtl_free(x);
    wtl_free(w);
    wtl_free(y);
    return best;
}

static void bench(const row *r, const wtl_native *native, int threads, int n, double top)
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
    double forward = flops / seconds(run_forward, &j);
    double data = plain ? 0.0 : flops / seconds(run_data, &j);
    double dw = flops / seconds(run_weights, &j);
    printf("| %s | %.0f | %.2f | %.0f | %.2f | %.0f | %.2f |\n", r->name, forward * 1e-9,
           forward / top, data * 1e-9, data / top, dw * 1e-9, dw / top);
    fflush(stdout);
    float *all[] = {x, dy, j.y.data, j.dx.data, w, j.dw, j.forward, j.data, j.scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        wtl_free(all[i]);
    }
}

int main(int argc, char **argv)
{
    int threads = argc > 1 ? atoi(argv[1]) : 1, n = argc > 2 ? atoi(argv[2]) : 32;
    wtl_isa isa = WTL_ISA_BEST;
    if (argc > 3) {
        isa = strcmp(argv[3], "avx2") == 0    ? WTL_ISA_AVX2
              : strcmp(argv[3], "plain") == 0 ? WTL_ISA_PLAIN
                                              : WTL_ISA_AVX512;
    }
    const wtl_native *native = wtl_native_of(isa);
    wtl_threads_prepare(threads);
    double top = peak(native, threads);
    printf("%d threads, batch %d, peak %.0f GFLOP/s\n\n", threads, n, top * 1e-9);
    printf("| layer | forward | of peak | data | of peak | weights | of peak |\n");
    printf("|---|---|---|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof ROWS / sizeof *ROWS; i++) {
        bench(&ROWS[i], native, threads, n, top);
    }
    return 0;
}
