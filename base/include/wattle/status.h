/* status.h - how wattle's functions report failure.
 *
 * A function that can fail returns a wtl_status (0 is success) and, where there is a
 * reason worth telling, takes a last `wtl_error *err` that may be NULL. The message is
 * one line without newline: the thing, the value, the rule.
 */
#ifndef WATTLE_STATUS_H
#define WATTLE_STATUS_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WTL_API        __attribute__((visibility("default")))
#define WTL_MUST_CHECK __attribute__((warn_unused_result))
#define WTL_PRINTF(format_index, first_argument)                                               \
    __attribute__((format(printf, format_index, first_argument)))

typedef enum wtl_status {
    WTL_OK = 0,
    WTL_E_ARG,     /* the caller passed something that makes no sense */
    WTL_E_RANGE,   /* a number is outside what its meaning allows */
    WTL_E_SHAPE,   /* sizes do not fit together */
    WTL_E_FORMAT,  /* bytes or text from outside are malformed */
    WTL_E_NAN,     /* a value that must be finite is NaN or infinite */
    WTL_E_MISSING, /* a file, data set, name or part is not there */
    WTL_E_IO,      /* reading failed */
    WTL_E_WRITE,   /* writing failed: disk full, no permission, ... */
    WTL_E_NOMEM,   /* out of memory */
    WTL_E_FIT,     /* no solution fits the stated limits */
    WTL_E_STOPPED, /* asked to stop; state was saved */
    WTL_E_GOAL,    /* done, but a stated goal was not met */
    WTL_E_SYSTEM,  /* the operating system refused a thread, a mapping, ... */
    WTL_STATUS_COUNT
} wtl_status;

enum { WTL_ERROR_TEXT_SIZE = 512 };

typedef struct wtl_error {
    wtl_status status;
    char text[WTL_ERROR_TEXT_SIZE]; /* NUL-terminated, cut to fit, one line */
} wtl_error;

/* Set *err (unless NULL) and return `status`, so that `return wtl_fail(...)` reads well.
 * Control characters in the formatted text become '?', so that a hostile file cannot
 * break the one-line rule. */
WTL_API wtl_status wtl_fail(wtl_error *err, wtl_status status, const char *format, ...)
    WTL_PRINTF(3, 4);

/* Put "prefix: " before the text that is already in *err; returns `status`. */
WTL_API wtl_status wtl_fail_in(wtl_error *err, wtl_status status, const char *prefix);

#ifdef __clang_analyzer__ /* It does not see that both return `status`, never WTL_OK. */
#define wtl_fail(err, status, ...)       ((void)(wtl_fail)(err, status, __VA_ARGS__), (status))
#define wtl_fail_in(err, status, prefix) ((void)(wtl_fail_in)(err, status, prefix), (status))
#endif

/* A short name such as "shape" for logs; never NULL. */
WTL_API const char *wtl_status_name(wtl_status status);

#ifdef __cplusplus
}
#endif
#endif
