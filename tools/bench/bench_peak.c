/* bench_peak.c - what this machine can do at most: multiply-adds by instruction set, bytes from
 * memory and from the last cache, by number of threads. Prints a Markdown table.
 *
 *   bench_peak [THREADS...]    (1 2)
 */
#include "../common/peak.h"

#include "wattle/text.h"
#include "wattle/threads.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_COLUMNS = 16, MIB = 1 << 20, MEMORY_MIB = 256, CACHE_MIB = 4 };

static const double SECONDS = 0.25; /* of a figure */

static void print_flops(wtl_peak_isa isa, const int *threads, int count)
{
    printf("| multiply-adds, %s | GFLOP/s |", wtl_peak_isa_name(isa));
    for (int i = 0; i < count; i++) {
        printf(" %.1f |", 1e-9 * wtl_peak_flops(isa, threads[i], SECONDS));
        (void)fflush(stdout);
    }
    putchar('\n');
}

static void print_stream(wtl_peak_stream stream, size_t mib, const char *where,
                         const int *threads, int count)
{
    printf("| %s, arrays of %zu MiB (%s) | GB/s |", wtl_peak_stream_name(stream), mib, where);
    for (int i = 0; i < count; i++) {
        printf(" %.1f |", 1e-9 * wtl_peak_bytes(stream, threads[i], mib * MIB, SECONDS));
        (void)fflush(stdout);
    }
    putchar('\n');
}

int main(int count, char **arguments)
{
    int threads[MOST_COLUMNS] = {1, 2}, columns = count > 1 ? count - 1 : 2;
    for (int i = 1; i < count; i++) {
        if (i > MOST_COLUMNS || !wtl_parse_int(arguments[i], 1, 1024, &threads[i - 1])) {
            fprintf(stderr, "usage: bench_peak [THREADS...]\n");
            return 64;
        }
    }
    char processor[128];
    wtl_processor_name(processor, sizeof processor);
    printf("%s, last cache %zu MiB; best of runs over %.2f s\n\n| what | unit |", processor,
           wtl_peak_cache_bytes() / MIB, SECONDS);
    for (int i = 0; i < columns; i++) {
        printf(" %d thread%s |", threads[i], threads[i] == 1 ? "" : "s");
    }
    printf("\n|---|---|");
    for (int i = 0; i < columns; i++) {
        printf("--:|");
    }
    putchar('\n');
    for (int isa = WTL_PEAK_ISA_COUNT - 1; isa >= 0; isa--) {
        if (wtl_peak_has((wtl_peak_isa)isa)) {
            print_flops((wtl_peak_isa)isa, threads, columns);
        }
    }
    for (int stream = 0; stream < WTL_PEAK_STREAM_COUNT; stream++) {
        print_stream((wtl_peak_stream)stream, MEMORY_MIB, "memory", threads, columns);
    }
    for (int stream = 0; stream < WTL_PEAK_STREAM_COUNT; stream++) {
        print_stream((wtl_peak_stream)stream, CACHE_MIB, "cache", threads, columns);
    }
    return 0;
}
