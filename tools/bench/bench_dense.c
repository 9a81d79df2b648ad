/* bench_dense.c - fully connected layers: the native kernels, OpenBLAS's sgemm beside them, and
 * the packed forms without zeros. Markdown tables.
 *
 *   bench_dense [-t THREADS] [-b BATCH] [-i avx2|avx512|plain] [-s] [-d] [KxD...]
 *
 *   -d, -s   the dense table, or the sparse one, alone
 *
 * `bound` is the larger of the multiplications at the peak and the weights' bytes at the memory's
 * rate, both measured first in the same run; fractions are of it, above 1 where weights stay in a
 * cache. Sparse columns are the dense kernel's time over the sparse one's, measured in turn. Times
 * are the best of many: other work on the machine only takes away. They are the processor's for one
 * thread, else the wall clock's.
 */
#define _POSIX_C_SOURCE 200809L
#include "../common/peak.h"
#include "models/kernels/native_dense.h"
#include "models/kernels/sparse_dense.h"

#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES = 15, BATCHES = 8, LAYERS = 16, DENSITIES = 5, PAGE = 2 << 20 };

static const int BATCH[BATCHES] = {1, 2, 4, 8, 16, 32, 64, 128};
static const int ZEROS[DENSITIES] = {50, 70, 80, 90, 95};

typedef struct sizes {
    int k, d;
} sizes;

typedef struct bench {
    int threads, batch; /* 0: all */
    const wtl_native *native;
    bool dense, sparse;
    sizes layer[LAYERS];
    int layers;
    double flops, bytes; /* a second */
} bench;

static void stop(const char *text)
{
    fprintf(stderr, "bench_dense: %s\n", text);
    exit(1);
}

/* Of one thread its own time, which others do not take from. */
static double now(const bench *b)
{
    if (b->threads > 1) {
        return wtl_peak_now();
    }
    struct timespec t;
    (void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *pages(size_t count)
{
    float *p = wtl_alloc_pages(count * sizeof *p);
    if (!p) {
        stop("out of memory");
    }
    uint32_t state = 1;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (float)(state >> 8) / (1 << 23) - 1.0f;
    }
    return p;
}

/* ---- what is timed ---- */

typedef struct work {
    const bench *b;
    wtl_dense t;
    float *x, *w, *y, *dw, *dx, *scratch;
    wtl_sparse_dense plan;
    void *packed;
    size_t packed_bytes, scratch_bytes;
} work;

typedef void pass(work *w);

static void run_forward(work *w)
{
    wtl_native_dense_forward(w->b->native, w->b->threads, &w->t, w->x, w->w, NULL, w->y,
                             w->scratch);
}

static void run_weights(work *w)
{
    wtl_native_dense_weights(w->b->native, w->b->threads, &w->t, false, w->x, w->y, w->dw, NULL,
                             w->scratch);
}

static void run_data(work *w)
{
    wtl_native_dense_data(w->b->native, w->b->threads, &w->t, w->y, w->w, w->dx);
}

static void run_blas(work *w)
{
    const wtl_dense *t = &w->t;
    wtl_gemm_threads(w->b->threads, 'N', 'T', t->n, t->k, t->d, w->x, t->d, w->w, t->d, 0.0f,
                     w->y, t->k);
}

static void run_sparse(work *w)
{
    wtl_sparse_dense_forward(w->b->native, w->b->threads, w->packed, &w->t, w->x, NULL, w->y,
                             w->scratch);
}

/* The best of each of `count` passes, run in turn. */
static void time_passes(work *w, int count, pass *const run[], double seconds[])
{
    for (int i = 0; i < count; i++) {
        seconds[i] = INFINITY;
    }
    for (int s = 0; s < SAMPLES; s++) {
        for (int i = 0; i < count; i++) {
            double start = now(w->b);
            run[i](w);
            seconds[i] = fmin(seconds[i], now(w->b) - start);
        }
    }
}

static wtl_peak_isa peak_isa(wtl_isa isa)
{
    return isa == WTL_ISA_AVX512 ? WTL_PEAK_AVX512
           : isa == WTL_ISA_AVX2 ? WTL_PEAK_AVX2
                                 : WTL_PEAK_PLAIN;
}

/* Memory: the better of reading an array and of a layer of 256 MiB for one image. */
static void measure_machine(bench *b)
{
    b->flops = wtl_peak_flops(peak_isa(b->native->isa), b->threads, 0.5);
    work one = {.b = b, .t = {.n = 1, .k = 8192, .d = 8192, .x_step = 8192, .y_step = 8192}};
    pass *const read[] = {run_forward};
    double seconds;
    one.x = pages(8192);
    one.y = pages(8192);
    one.w = pages((size_t)8192 * 8192);
    time_passes(&one, 1, read, &seconds);
    wtl_free_pages(one.x, 8192 * sizeof(float));
    wtl_free_pages(one.y, 8192 * sizeof(float));
    wtl_free_pages(one.w, (size_t)8192 * 8192 * sizeof(float));
    b->bytes = fmax((double)8192 * 8192 * sizeof(float) / seconds,
                    wtl_peak_bytes(WTL_PEAK_READ, b->threads, (size_t)256 << 20, 0.3));
}

static double bound(const bench *b, wtl_dense t)
{
    double weights = (double)t.k * t.d;
    return fmax(2.0 * t.n * weights / b->flops, 4.0 * weights / b->bytes);
}

/* ---- tables ---- */

static work work_of(const bench *b, sizes s, int n)
{
    work w = {.b = b, .t = {.n = n, .k = s.k, .d = s.d, .x_step = s.d, .y_step = s.k}};
    size_t weights = (size_t)s.k * (size_t)s.d;
    w.x = pages((size_t)n * (size_t)s.d);
    w.y = pages((size_t)n * (size_t)s.k);
    w.w = pages(weights);
    w.dw = pages(weights);
    w.dx = pages((size_t)n * (size_t)s.d);
    w.scratch_bytes =
        wtl_native_dense_scratch(n, s.d) + 64u * sizeof(float) * ((size_t)s.k + 4);
    w.scratch = pages(w.scratch_bytes / sizeof(float));
    w.packed_bytes = weights * 8 + 64 * (size_t)s.k * 4 + PAGE;
    w.packed = b->sparse ? pages(w.packed_bytes / sizeof(float)) : NULL;
    return w;
}

static void drop(work *w)
{
    size_t weights = (size_t)w->t.k * (size_t)w->t.d * sizeof(float);
    size_t x = (size_t)w->t.n * (size_t)w->t.d * sizeof(float);
    wtl_free_pages(w->x, x);
    wtl_free_pages(w->dx, x);
    wtl_free_pages(w->y, (size_t)w->t.n * (size_t)w->t.k * sizeof(float));
    wtl_free_pages(w->w, weights);
    wtl_free_pages(w->dw, weights);
    wtl_free_pages(w->scratch, w->scratch_bytes / sizeof(float) * sizeof(float));
    if (w->packed) {
        wtl_free_pages(w->packed, w->packed_bytes / sizeof(float) * sizeof(float));
    }
}

static void dense_row(const bench *b, sizes s, int n)
{
    pass *const run[] = {run_forward, run_weights, run_data, run_blas};
    work w = work_of(b, s, n);
    double seconds[4], least = bound(b, w.t), flops = 2.0 * n * s.k * s.d;
    time_passes(&w, 4, run, seconds);
    /* Their gradient is read and written, which is twice the weights' bytes. */
    double weights_least = fmax(flops / b->flops, 8.0 * s.k * s.d / b->bytes);
    printf("| %dx%d | %d |", s.k, s.d, n);
    for (int i = 0; i < 3; i++) {
        printf(" %.2f | %.0f | %.2f |", 1e3 * seconds[i], 1e-9 * flops / seconds[i],
               (i == 1 ? weights_least : least) / seconds[i]);
    }
    printf(" %.2f | %.0f |\n", 1e3 * seconds[3], 1e-9 * flops / seconds[3]);
    drop(&w);
}

/* The weights that stay are those of a hash of their place below a threshold. */
static void cut(work *w, int zeros, bool blocks)
{
    const int step = blocks ? 4 : 1;
    for (int k = 0; k < w->t.k; k++) {
        for (int d = 0; d < w->t.d; d++) {
            uint32_t place = (uint32_t)(k / step) * 2654435761u ^ (uint32_t)d * 2246822519u;
            place = (place ^ place >> 15) * 2246822519u;
            place = (place ^ place >> 13) * 3266489917u;
            bool stays = (place >> 8) % 1000 >= (uint32_t)zeros * 10;
            w->w[(size_t)k * (size_t)w->t.d + (size_t)d] = stays ? 0.01f : 0.0f;
        }
    }
}

static void sparse_row(const bench *b, sizes s, int n)
{
    pass *const run[] = {run_forward, run_sparse};
    work w = work_of(b, s, n);
    printf("| %dx%d | %d |", s.k, s.d, n);
    for (int blocks = 0; blocks <= 1; blocks++) {
        for (int z = 0; z < DENSITIES; z++) {
            double seconds[2];
            cut(&w, ZEROS[z], blocks);
            w.plan = wtl_sparse_dense_plan(b->native, s.k, s.d, n, w.w);
            if (w.plan.bytes == 0 || w.plan.bytes > w.packed_bytes ||
                wtl_sparse_dense_scratch(&w.plan, n) > w.scratch_bytes) {
                stop("a packed layer is larger than expected");
            }
            wtl_sparse_dense_pack(&w.plan, w.w, w.packed);
            time_passes(&w, 2, run, seconds);
            printf(" %.2f%s |", seconds[0] / seconds[1], w.plan.quads == blocks ? "" : "*");
            fflush(stdout);
        }
    }
    printf("\n");
    drop(&w);
}

static void each_row(const bench *b, void (*row)(const bench *b, sizes s, int n))
{
    for (int l = 0; l < b->layers; l++) {
        for (int i = 0; i < BATCHES; i++) {
            if (b->batch == 0 || b->batch == BATCH[i]) {
                row(b, b->layer[l], BATCH[i]);
                fflush(stdout);
            }
        }
    }
}

static void print_tables(const bench *b)
{
    char blas[200];
    wtl_blas_describe(blas, sizeof blas);
    printf("%d threads, %s; peak %.0f GFLOP/s and %.1f GB/s in this run; BLAS: %s\n\n",
           b->threads, wtl_peak_isa_name(peak_isa(b->native->isa)), 1e-9 * b->flops,
           1e-9 * b->bytes, blas);
    if (b->dense) {
        printf("| layer | batch | forward ms | GFLOP/s | of bound | weights' gradient ms | "
               "GFLOP/s | of bound | input's gradient ms | GFLOP/s | of bound | sgemm forward "
               "ms | GFLOP/s |\n|---|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        each_row(b, dense_row);
        printf("\n");
    }
    if (b->sparse) {
        printf("Dense time over sparse time by %% of zeros (* packed in the other form):\n\n"
               "| layer | batch |");
        for (int z = 0; z < 2 * DENSITIES; z++) {
            printf(" %s%d |", z < DENSITIES ? "random " : "4x1 ", ZEROS[z % DENSITIES]);
        }
        printf("\n|---|---|---|---|---|---|---|---|---|---|---|---|\n");
        each_row(b, sparse_row);
    }
}

/* ---- options ---- */

static wtl_isa isa_of(const char *word)
{
    static const char *const words[] = {"plain", "avx2", "avx512"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(word, words[i]) == 0) {
            return (wtl_isa)(WTL_ISA_PLAIN + i);
        }
    }
    stop("-i takes plain, avx2 or avx512");
    return WTL_ISA_BEST;
}

static void add_layer(bench *b, const char *text)
{
    sizes s;
    char word[16];
    const char *cross = strchr(text, 'x');
    size_t length = cross ? (size_t)(cross - text) : sizeof word;
    if (length >= sizeof word || b->layers == LAYERS) {
        stop("a layer is KxD, as 4096x9216");
    }
    memcpy(word, text, length);
    word[length] = '\0';
    if (!wtl_parse_int(word, 1, 1 << 16, &s.k) || !wtl_parse_int(cross + 1, 1, 1 << 16, &s.d)) {
        stop("a layer is KxD, as 4096x9216");
    }
    b->layer[b->layers++] = s;
}

int main(int argc, char **argv)
{
    bench b = {.threads = wtl_threads_available(), .native = wtl_native_of(WTL_ISA_BEST)};
    int option;
    bool good = true;
    while (good && (option = getopt(argc, argv, "t:b:i:sd")) != -1) {
        switch (option) {
        case 't':
            good = wtl_parse_int(optarg, 1, 1024, &b.threads);
            break;
        case 'b':
            good = wtl_parse_int(optarg, 1, 1 << 16, &b.batch);
            break;
        case 'i':
            b.native = wtl_native_of(isa_of(optarg));
            break;
        case 's':
            b.sparse = true;
            break;
        case 'd':
            b.dense = true;
            break;
        default:
            return 2;
        }
    }
    if (!b.sparse && !b.dense) {
        b.sparse = b.dense = true;
    }
    if (!good) {
        stop("-t and -b take numbers from 1 on");
    }
    for (int i = optind; i < argc; i++) {
        add_layer(&b, argv[i]);
    }
    static const char *const usual[] = {"4096x9216", "4096x4096", "1000x4096", "1000x1024"};
    for (int i = 0; i < 4 && optind == argc; i++) {
        add_layer(&b, usual[i]);
    }
    wtl_blas_prepare();
    wtl_threads_prepare(b.threads);
    measure_machine(&b);
    print_tables(&b);
    return 0;
}
