/* threads.h - the compute threads (OpenMP) and their floating-point mode. */
#ifndef WATTLE_THREADS_H
#define WATTLE_THREADS_H

#include "wattle/status.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Processors this process may run on, at least 1. */
WTL_API int wtl_threads_available(void);

/* Flush denormals to zero in the calling thread (x86: FTZ and DAZ; elsewhere nothing).
 * Denormals make pruned and decayed networks many times slower. */
WTL_API void wtl_flush_denormals(void);

/* Start `threads` OpenMP threads and flush denormals in each; call before a run. */
WTL_API void wtl_threads_prepare(int threads);

/* The processor's name from Linux's table, or "unknown". */
WTL_API void wtl_processor_name(char *name, size_t size);

/* Half-open share of `count` items for part `part` of `parts`, in order, sizes equal to 1:
 * the fixed partition behind every deterministic sum. */
static inline void wtl_share(long count, int part, int parts, long *begin, long *end)
{
    long base = count / parts, extra = count % parts;
    *begin = part * base + (part < extra ? part : extra);
    *end = *begin + base + (part < extra ? 1 : 0);
}

/* Compiles a hot loop for AVX-512, AVX2 and plain x86-64 and picks at run time. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && !defined(WTL_NO_CLONES)
#define WTL_HOT __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define WTL_HOT
#endif

#ifdef __cplusplus
}
#endif
#endif
