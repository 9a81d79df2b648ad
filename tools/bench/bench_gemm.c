/* bench_gemm.c - wtl_gemm at the shapes of convolutional networks, as a share of the peak of
 * multiply-adds measured in the same run. Prints a Markdown table.
 *
 *   bench_gemm [THREADS]    (1)
 *
 * Shapes are im2col's: M filters, N pixels, K = C*R*S. The three products of a layer:
 *   forward   [M,K] * [K,N]       weights   [M,N] * [K,N]^T       data   [M,K]^T * [M,N]
 */
#include "../common/peak.h"

#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

typedef struct shape {
    const char *name;
    int m, n, k;
} shape;

static const shape shapes[] = {
    {"AlexNet conv1", 64, 3025, 363},
    {"AlexNet conv2", 192, 729, 1600},
    {"AlexNet conv3", 384, 169, 1728},
    {"AlexNet conv4", 256, 169, 3456},
    {"AlexNet fc6, batch 64", 64, 4096, 9216},
    {"GoogLeNet conv2 1x1", 64, 3136, 64},
    {"GoogLeNet conv2 3x3", 192, 3136, 576},
    {"GoogLeNet 3a 5x5", 32, 784, 400},
    {"GoogLeNet 4e 3x3", 320, 196, 1440},
    {"GoogLeNet 5b 1x1", 384, 49, 832},
    {"the same, batch 32", 384, 1568, 832},
    {"MobileNet 1x1", 512, 196, 512},
    {"square", 1024, 1024, 1024},
};

static const double SECONDS = 0.1; /* of a figure */

static float *operand(size_t floats)
{
    float *values = wtl_alloc_pages(floats * sizeof *values);
    if (!values) {
        fprintf(stderr, "bench_gemm: out of memory\n");
        exit(1);
    }
    for (size_t i = 0; i < floats; i++) {
        values[i] = (float)(i % 251) / 251.0f - 0.5f;
    }
    return values;
}

/* FLOP/s of C [m,n] = op(A) [m,k] * op(B) [k,n], the best of many. */
static double best_rate(int threads, char op_a, char op_b, int m, int n, int k)
{
    enum { LEAST_FLOPS = 20 * 1000 * 1000 }; /* of a timed run */
    size_t sizes[3] = {(size_t)m * (size_t)k, (size_t)k * (size_t)n, (size_t)m * (size_t)n};
    float *a = operand(sizes[0]), *b = operand(sizes[1]), *c = operand(sizes[2]);
    double flops = 2.0 * m * n * k, best = 0.0, begin = wtl_peak_now(), end = begin;
    int times = flops < LEAST_FLOPS ? (int)(LEAST_FLOPS / flops) + 1 : 1;
    while (end - begin < SECONDS) {
        double start = wtl_peak_now();
        for (int i = 0; i < times; i++) {
            wtl_gemm_threads(threads, op_a, op_b, m, n, k, a, op_a == 'T' ? m : k, b,
                             op_b == 'T' ? k : n, 0.0f, c, n);
        }
        end = wtl_peak_now();
        best = fmax(best, flops * times / (end - start));
    }
    wtl_free_pages(a, sizes[0] * sizeof *a);
    wtl_free_pages(b, sizes[1] * sizeof *b);
    wtl_free_pages(c, sizes[2] * sizeof *c);
    return best;
}

int main(int count, char **arguments)
{
    int threads = 1;
    if (count > 2 || (count == 2 && !wtl_parse_int(arguments[1], 1, 1024, &threads))) {
        fprintf(stderr, "usage: bench_gemm [THREADS]\n");
        return 64;
    }
    char blas[256];
    wtl_blas_prepare();
    wtl_threads_prepare(threads);
    wtl_blas_describe(blas, sizeof blas);
    wtl_peak_isa isa = wtl_peak_widest();
    double peak = wtl_peak_flops(isa, threads, SECONDS), logs[3] = {0.0};
    printf("%d thread%s; %s; peak %.1f GFLOP/s (%s); shares of it\n\n", threads,
           threads == 1 ? "" : "s", blas, 1e-9 * peak, wtl_peak_isa_name(isa));
    printf("| shape | M | N | K | forward | weights | data |\n|---|--:|--:|--:|--:|--:|--:|\n");
    int shape_count = sizeof shapes / sizeof *shapes;
    for (int i = 0; i < shape_count; i++) {
        const shape *s = &shapes[i];
        double rates[3] = {best_rate(threads, 'N', 'N', s->m, s->n, s->k),
                           best_rate(threads, 'N', 'T', s->m, s->k, s->n),
                           best_rate(threads, 'T', 'N', s->k, s->n, s->m)};
        printf("| %s | %d | %d | %d |", s->name, s->m, s->n, s->k);
        for (int pass = 0; pass < 3; pass++) {
            printf(" %.2f |", rates[pass] / peak);
            logs[pass] += log(rates[pass] / peak) / shape_count;
        }
        putchar('\n');
        (void)fflush(stdout);
    }
    printf("| geometric mean | | | | %.2f | %.2f | %.2f |\n", exp(logs[0]), exp(logs[1]),
           exp(logs[2]));
    return 0;
}
