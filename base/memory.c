/* memory.c - the library's only callers of the system allocator. */
#define _GNU_SOURCE
#include "wattle/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { HUGE_PAGE_BYTES = 2 << 20 };

bool wtl_mul(size_t a, size_t b, size_t *product)
{
    if (__builtin_mul_overflow(a, b, product)) {
        *product = SIZE_MAX;
        return false;
    }
    return true;
}

bool wtl_add(size_t a, size_t b, size_t *sum)
{
    if (__builtin_add_overflow(a, b, sum)) {
        *sum = SIZE_MAX;
        return false;
    }
    return true;
}

void *wtl_alloc(size_t count, size_t size)
{
    size_t bytes;
    if (!wtl_mul(count, size, &bytes) || bytes > PTRDIFF_MAX - WTL_ALIGNMENT) {
        return NULL;
    }
    if (bytes == 0) {
        bytes = 1;
    }
    bytes = (bytes + WTL_ALIGNMENT - 1) / WTL_ALIGNMENT * WTL_ALIGNMENT;
    void *memory = aligned_alloc(WTL_ALIGNMENT, bytes);
    if (memory) {
        memset(memory, 0, bytes);
    }
    return memory;
}

void wtl_free(void *memory)
{
    free(memory);
}

static size_t whole_pages(size_t bytes)
{
    size_t unit = bytes >= HUGE_PAGE_BYTES ? (size_t)HUGE_PAGE_BYTES : (size_t)4096;
    return (bytes + unit - 1) / unit * unit;
}

void *wtl_alloc_pages(size_t bytes)
{
    if (bytes == 0) {
        bytes = 1;
    }
    if (bytes > PTRDIFF_MAX - HUGE_PAGE_BYTES) {
        return NULL;
    }
    void *memory = mmap(NULL, whole_pages(bytes), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        return NULL;
    }
#ifdef MADV_HUGEPAGE
    if (bytes >= HUGE_PAGE_BYTES) {
        (void)madvise(memory, whole_pages(bytes), MADV_HUGEPAGE); /* a hint, free to fail */
    }
#endif
    return memory;
}

void wtl_free_pages(void *memory, size_t bytes)
{
    if (memory) {
        (void)munmap(memory, whole_pages(bytes ? bytes : 1));
    }
}
