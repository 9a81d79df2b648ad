/* peak.c - multiply-adds in registers, streams through memory. */
#define _POSIX_C_SOURCE 200809L
#include "peak.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

double wtl_peak_now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- multiply-adds ----
 *
 * r = r * 0.5 + 1 in so many registers that none waits for itself: two units with a latency of 4
 * need 8. All stay near 2: no denormals, no infinities. Separate variables, as compilers keep
 * arrays of them in memory. */

#define FOR_12(f) f(0) f(1) f(2) f(3) f(4) f(5) f(6) f(7) f(8) f(9) f(10) f(11)
#define FOR_16(f) FOR_12(f) f(12) f(13) f(14) f(15)

/* Runs `rounds` rounds; the result is there so that nothing is optimised away. */
typedef float fma_kernel(long rounds, float start);

enum { PLAIN_LANES = 32 };
static float fma_plain(long rounds, float start)
{
    float r[PLAIN_LANES], sum = 0.0f;
    for (int i = 0; i < PLAIN_LANES; i++) {
        r[i] = start + (float)i;
    }
    for (long round = 0; round < rounds; round++) {
        for (int i = 0; i < PLAIN_LANES; i++) {
            r[i] = r[i] * 0.5f + 1.0f;
        }
    }
    for (int i = 0; i < PLAIN_LANES; i++) {
        sum += r[i];
    }
    return sum;
}

#if defined(__x86_64__)
#define START_256(i) __m256 r##i = _mm256_set1_ps(start + (float)(i));
#define STEP_256(i)  r##i = _mm256_fmadd_ps(r##i, half, one);
#define SUM_256(i)   sum = _mm256_add_ps(sum, r##i);
__attribute__((target("avx2,fma"))) static float fma_avx2(long rounds, float start)
{
    const __m256 half = _mm256_set1_ps(0.5f), one = _mm256_set1_ps(1.0f);
    __m256 sum = _mm256_setzero_ps();
    FOR_12(START_256)
    for (long round = 0; round < rounds; round++) {
        FOR_12(STEP_256)
    }
    FOR_12(SUM_256)
    return _mm256_cvtss_f32(sum);
}

#define START_512(i) __m512 r##i = _mm512_set1_ps(start + (float)(i));
#define STEP_512(i)  r##i = _mm512_fmadd_ps(r##i, half, one);
#define SUM_512(i)   sum = _mm512_add_ps(sum, r##i);
__attribute__((target("avx512f"))) static float fma_avx512(long rounds, float start)
{
    const __m512 half = _mm512_set1_ps(0.5f), one = _mm512_set1_ps(1.0f);
    __m512 sum = _mm512_setzero_ps();
    FOR_16(START_512)
    for (long round = 0; round < rounds; round++) {
        FOR_16(STEP_512)
    }
    FOR_16(SUM_512)
    return _mm512_cvtss_f32(sum);
}
#endif

static const struct {
    const char *name;
    int flops; /* of a round */
    fma_kernel *kernel;
} isas[WTL_PEAK_ISA_COUNT] = {
    [WTL_PEAK_PLAIN] = {"plain C", 2 * PLAIN_LANES, fma_plain},
#if defined(__x86_64__)
    [WTL_PEAK_AVX2] = {"AVX2", 2 * 8 * 12, fma_avx2},
    [WTL_PEAK_AVX512] = {"AVX-512", 2 * 16 * 16, fma_avx512},
#else
    [WTL_PEAK_AVX2] = {"AVX2", 0, NULL},
    [WTL_PEAK_AVX512] = {"AVX-512", 0, NULL},
#endif
};

const char *wtl_peak_isa_name(wtl_peak_isa isa)
{
    return isas[isa].name;
}

bool wtl_peak_has(wtl_peak_isa isa)
{
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (isa == WTL_PEAK_AVX2) {
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    }
    if (isa == WTL_PEAK_AVX512) {
        return __builtin_cpu_supports("avx512f") != 0;
    }
#endif
    return isa == WTL_PEAK_PLAIN;
}

wtl_peak_isa wtl_peak_widest(void)
{
    return wtl_peak_has(WTL_PEAK_AVX512) ? WTL_PEAK_AVX512
           : wtl_peak_has(WTL_PEAK_AVX2) ? WTL_PEAK_AVX2
                                         : WTL_PEAK_PLAIN;
}

double wtl_peak_flops(wtl_peak_isa isa, int threads, double seconds)
{
    enum { ROUNDS = 1000000 }; /* 2 ms and more: long beside the start of the threads */
    fma_kernel *kernel = isas[isa].kernel;
    double best = 0.0, begin = wtl_peak_now(), end;
    volatile float sink;
    do {
        double start = wtl_peak_now();
        float sum = 0.0f;
#pragma omp parallel num_threads(threads) reduction(+ : sum)
        sum += kernel(ROUNDS, (float)(start - begin));
        sink = sum;
        end = wtl_peak_now();
        double rate = (double)isas[isa].flops * ROUNDS * threads / (end - start);
        best = rate > best ? rate : best;
    } while (end - begin < seconds);
    (void)sink;
    return best;
}

/* ---- streams ---- */

static const char *const stream_names[WTL_PEAK_STREAM_COUNT] = {"read", "copy", "triad"};

const char *wtl_peak_stream_name(wtl_peak_stream stream)
{
    return stream_names[stream];
}

/* Of integers, whose sum may be taken in any order, so that the compiler vectorises it. */
WTL_HOT static uint32_t sum_of(const uint32_t *a, long count)
{
    uint32_t sum = 0;
    for (long i = 0; i < count; i++) {
        sum += a[i];
    }
    return sum;
}

/* With a factor, or the compiler would call memcpy() with its own ways round the caches. */
WTL_HOT static void scale(float *restrict a, const float *restrict b, float factor, long count)
{
    for (long i = 0; i < count; i++) {
        a[i] = factor * b[i];
    }
}

WTL_HOT static void triad(float *restrict a, const float *restrict b, const float *restrict c,
                          float factor, long count)
{
    for (long i = 0; i < count; i++) {
        a[i] = b[i] + factor * c[i];
    }
}

typedef struct arrays {
    float *a, *b, *c;
    long count; /* floats in each */
} arrays;

static uint32_t sweep(const arrays *all, wtl_peak_stream stream, int part, int parts, int times)
{
    enum { LINE_FLOATS = 16 };
    long begin, end, size;
    uint32_t sum = 0;
    wtl_share(all->count / LINE_FLOATS, part, parts, &begin, &end);
    size = (end - begin) * LINE_FLOATS;
    begin *= LINE_FLOATS;
    for (int i = 0; i < times; i++) {
        if (stream == WTL_PEAK_READ) {
            sum += sum_of((const uint32_t *)(const void *)(all->a + begin), size);
        } else if (stream == WTL_PEAK_COPY) {
            scale(all->a + begin, all->b + begin, 1.0f, size);
        } else {
            triad(all->a + begin, all->b + begin, all->c + begin, 0.5f, size);
        }
    }
    return sum;
}

static double best_rate(const arrays *all, wtl_peak_stream stream, int threads, double seconds)
{
    enum { LEAST_BYTES = 256 << 20 }; /* of a timed run: some milliseconds */
    double moved = (double)all->count * sizeof(float) * ((double)stream + 1.0), best = 0.0;
    int times = moved < LEAST_BYTES ? (int)(LEAST_BYTES / moved) + 1 : 1;
    double begin = wtl_peak_now(), end;
    volatile uint32_t sink;
    bool warm = false;
    do {
        double start = wtl_peak_now();
        uint32_t sum = 0;
#pragma omp parallel for num_threads(threads) schedule(static, 1) reduction(+ : sum)
        for (int part = 0; part < threads; part++) {
            sum += sweep(all, stream, part, threads, times);
        }
        sink = sum;
        end = wtl_peak_now();
        double rate = moved * times / (end - start);
        best = warm && rate > best ? rate : best; /* the first one finds memory */
        begin = warm ? begin : end;
        warm = true;
    } while (best <= 0.0 || end - begin < seconds);
    (void)sink;
    return best;
}

double wtl_peak_bytes(wtl_peak_stream stream, int threads, size_t bytes, double seconds)
{
    arrays all = {.count = (long)(bytes / sizeof(float))};
    double best = 0.0;
    all.a = wtl_alloc_pages(bytes);
    all.b = stream >= WTL_PEAK_COPY ? wtl_alloc_pages(bytes) : NULL;
    all.c = stream >= WTL_PEAK_TRIAD ? wtl_alloc_pages(bytes) : NULL;
    bool got = all.a && (all.b || stream < WTL_PEAK_COPY) && (all.c || stream < WTL_PEAK_TRIAD);
    if (got) {
        /* Pages that were never written are all the same one, which lies in the cache. */
        for (long i = 0; i < all.count; i++) {
            all.a[i] = 1.0f;
        }
        for (long i = 0; all.b && i < all.count; i++) {
            all.b[i] = 1.0f;
        }
        for (long i = 0; all.c && i < all.count; i++) {
            all.c[i] = 1.0f;
        }
        best = best_rate(&all, stream, threads, seconds);
    }
    wtl_free_pages(all.a, bytes);
    wtl_free_pages(all.b, bytes);
    wtl_free_pages(all.c, bytes);
    return best;
}

/* From Linux's table: sysconf() tells what the whole machine has where a virtual one is asked. */
size_t wtl_peak_cache_bytes(void)
{
    enum { MOST_CACHES = 10 };
    size_t most = 0;
    for (int i = 0; i < MOST_CACHES; i++) {
        char path[80], text[32] = "";
        snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu0/cache/index%d/size", i);
        FILE *file = fopen(path, "r");
        char *end = file ? fgets(text, sizeof text, file) : NULL;
        size_t size = end ? strtoul(text, &end, 10) : 0; /* "32768K" */
        size <<= end && *end == 'M' ? 20 : end && *end == 'K' ? 10 : 0;
        most = size > most ? size : most;
        if (file) {
            (void)fclose(file);
        }
    }
    return most;
}
