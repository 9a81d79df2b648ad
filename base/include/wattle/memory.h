/* memory.h - allocation that checks for overflow, is zeroed and aligned, and can be made
 * to fail in tests (every allocation of the library goes through here).
 */
#ifndef WATTLE_MEMORY_H
#define WATTLE_MEMORY_H

#include "wattle/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { WTL_ALIGNMENT = 64 }; /* bytes: one cache line, one AVX-512 register */

/* `count` * `size` zeroed bytes, 64-byte aligned, or NULL when memory is short or the
 * product overflows. A product of 0 gives a valid pointer. Freed by wtl_free(). */
WTL_API void *wtl_alloc(size_t count, size_t size) WTL_MUST_CHECK;

/* Takes NULL. */
WTL_API void wtl_free(void *memory);

/* Grow *array from `old_count` to `new_count` elements of `size` bytes; the new part is
 * zeroed. On failure WTL_E_NOMEM and *array is as it was. */
WTL_API wtl_status wtl_grow(void **array, size_t old_count, size_t new_count,
                            size_t size) WTL_MUST_CHECK;

/* A large zeroed block for tensors: huge pages are asked for where the system has them
 * (first touch of 4 KiB pages is several times slower). NULL when memory is short.
 * Freed by wtl_free_pages() with the same byte count. */
WTL_API void *wtl_alloc_pages(size_t bytes) WTL_MUST_CHECK;
WTL_API void wtl_free_pages(void *memory, size_t bytes);

/* *product = a * b; false and *product = SIZE_MAX on overflow. */
WTL_API bool wtl_mul(size_t a, size_t b, size_t *product) WTL_MUST_CHECK;

/* *sum = a + b; false and *sum = SIZE_MAX on overflow. */
WTL_API bool wtl_add(size_t a, size_t b, size_t *sum) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
