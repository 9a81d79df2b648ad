/* threads.c - compute threads and their floating-point mode. */
#include "wattle/threads.h"
#include "wattle/file.h"
#include "wattle/memory.h"

#include <omp.h>
#include <stdio.h>
#include <string.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* Where OMP_PROC_BIND has bound this very thread to one processor, OpenMP knows of the others. */
int wtl_threads_available(void)
{
    return omp_get_num_procs() > 0 ? omp_get_num_procs() : 1;
}

void wtl_flush_denormals(void)
{
#if defined(__x86_64__)
    enum { FLUSH_TO_ZERO = 0x8000, DENORMALS_ARE_ZERO = 0x0040 };
    _mm_setcsr(_mm_getcsr() | FLUSH_TO_ZERO | DENORMALS_ARE_ZERO);
#endif
}

void wtl_threads_prepare(int threads)
{
    /* First in the caller: libomp's threads take over its mode at every fork, and it gets its
     * own back at every join. */
    wtl_flush_denormals();
#pragma omp parallel num_threads(threads > 0 ? threads : 1)
    {
        wtl_flush_denormals();
    }
}

/* ---- the processor ---- */

void wtl_processor_name(char *name, size_t size)
{
    snprintf(name, size, "unknown");
    unsigned char *bytes;
    size_t length;
    if (wtl_file_read("/proc/cpuinfo", (size_t)1 << 24, &bytes, &length, NULL) != WTL_OK) {
        return;
    }
    const char *line = strstr((const char *)bytes, "model name");
    const char *colon = line ? strchr(line, ':') : NULL;
    if (colon) {
        colon += 1 + strspn(colon + 1, " \t");
        snprintf(name, size, "%.*s", (int)strcspn(colon, "\n"), colon);
    }
    wtl_free(bytes);
}
