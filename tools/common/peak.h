/* peak.h - what this machine can do at most: floating-point operations and bytes a second, as
 * measured. The yardstick of wattle bench and of tools/bench.
 *
 * A multiply-add is 2 operations. Results are the best of many short runs: what else the machine
 * does only takes away. Units: FLOP/s and bytes/s.
 */
#ifndef WTL_TOOLS_PEAK_H
#define WTL_TOOLS_PEAK_H

#include <stdbool.h>
#include <stddef.h>

typedef enum wtl_peak_isa {
    WTL_PEAK_PLAIN, /* what the compiler makes of a loop for any processor of this kind */
    WTL_PEAK_AVX2,
    WTL_PEAK_AVX512,
    WTL_PEAK_ISA_COUNT
} wtl_peak_isa;

const char *wtl_peak_isa_name(wtl_peak_isa isa); /* "AVX-512" */
bool wtl_peak_has(wtl_peak_isa isa);             /* whether the processor has it */
wtl_peak_isa wtl_peak_widest(void);

/* Multiply-adds in registers on `threads` threads, for about `seconds`. The processor must have
 * `isa`. */
double wtl_peak_flops(wtl_peak_isa isa, int threads, double seconds);

typedef enum wtl_peak_stream {
    WTL_PEAK_READ,  /* sum of a:         the array's bytes */
    WTL_PEAK_COPY,  /* a = s * b:        twice */
    WTL_PEAK_TRIAD, /* a = b + s * c:    three times; that a is read first is not counted */
    WTL_PEAK_STREAM_COUNT
} wtl_peak_stream;

const char *wtl_peak_stream_name(wtl_peak_stream stream); /* "read" */

/* Streaming over arrays of `bytes` each, shared among the threads: memory if they are much larger
 * than the last cache, else that cache. 0 when memory is short. */
double wtl_peak_bytes(wtl_peak_stream stream, int threads, size_t bytes, double seconds);

/* Bytes of the last level of cache; 0 where the system does not say. */
size_t wtl_peak_cache_bytes(void);

/* Seconds of a monotonic clock. */
double wtl_peak_now(void);

#endif
