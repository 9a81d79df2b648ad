/* grow.c - arrays that grow; apart from memory.c so that tests can make its allocation fail. */
#include "wattle/memory.h"

#include <string.h>

wtl_status wtl_grow(void **array, size_t old_count, size_t new_count, size_t size)
{
    void *larger = wtl_alloc(new_count, size);
    if (!larger) {
        return WTL_E_NOMEM;
    }
    size_t kept = old_count < new_count ? old_count : new_count;
    if (kept > 0) {
        memcpy(larger, *array, kept * size);
    }
    wtl_free(*array);
    *array = larger;
    return WTL_OK;
}
