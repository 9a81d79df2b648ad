/* text.h - numbers from text, growable strings, texts by name, near-miss suggestions. */
#ifndef WATTLE_TEXT_H
#define WATTLE_TEXT_H

#include "wattle/status.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The whole of `text` must be one number inside [low, high]; no blanks, no leftovers, no
 * NaN. False leaves *value alone. Numbers are read in the C locale. */
WTL_API bool wtl_parse_int(const char *text, int low, int high, int *value) WTL_MUST_CHECK;
WTL_API bool wtl_parse_u64(const char *text, uint64_t low, uint64_t high,
                           uint64_t *value) WTL_MUST_CHECK;
WTL_API bool wtl_parse_double(const char *text, double low, double high,
                              double *value) WTL_MUST_CHECK;

/* A copy freed by wtl_free(); NULL when memory is short. */
WTL_API char *wtl_strdup(const char *text) WTL_MUST_CHECK;
WTL_API char *wtl_strndup(const char *text, size_t length) WTL_MUST_CHECK;
/* A formatted string freed by wtl_free(); NULL when memory is short. */
WTL_API char *wtl_format(const char *format, ...) WTL_MUST_CHECK WTL_PRINTF(1, 2);

/* A string that grows. Start from {0}. A failed allocation is kept in `failed` and shown
 * once, by wtl_text_take(). */
typedef struct wtl_text {
    char *bytes; /* NUL-terminated, or NULL while empty */
    size_t length, capacity;
    bool failed;
} wtl_text;

WTL_API void wtl_text_put(wtl_text *text, const char *bytes, size_t length);
WTL_API void wtl_text_printf(wtl_text *text, const char *format, ...) WTL_PRINTF(2, 3);
WTL_API void wtl_text_clear(wtl_text *text); /* frees */
/* The string, now the caller's (wtl_free()), or NULL when memory ran short on the way. */
WTL_API char *wtl_text_take(wtl_text *text) WTL_MUST_CHECK;

/* A text that the build put into the library, by name. */
typedef struct wtl_named_text {
    const char *name, *text;
    size_t length; /* of the text, its NUL apart */
} wtl_named_text;

/* The text called `name` among `texts` (ended by a NULL name) and its length, or NULL. */
WTL_API const char *wtl_named_text_find(const wtl_named_text *texts, const char *name,
                                        size_t *length);

/* The entry of `words` (ended by NULL) closest to `word`, or NULL if none is close: for
 * "did you mean ...?". */
WTL_API const char *wtl_suggest(const char *word, const char *const *words);

#ifdef __cplusplus
}
#endif
#endif
