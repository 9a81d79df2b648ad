/* status.c - error values and their texts. */
#include "wattle/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#undef wtl_fail /* what the analyzer sees elsewhere, see status.h */
#undef wtl_fail_in

static void keep_to_one_line(char *text)
{
    for (; *text; text++) {
        if ((unsigned char)*text < 32 || *text == 127) {
            *text = '?';
        }
    }
}

wtl_status wtl_fail(wtl_error *err, wtl_status status, const char *format, ...)
{
    if (err) {
        va_list arguments;
        va_start(arguments, format);
        err->status = status;
        vsnprintf(err->text, sizeof err->text, format, arguments);
        va_end(arguments);
        keep_to_one_line(err->text);
    }
    return status;
}

wtl_status wtl_fail_in(wtl_error *err, wtl_status status, const char *prefix)
{
    if (err) {
        /* Keep the inner reason whole; cut the prefix if both do not fit. */
        size_t inner = strlen(err->text), room = sizeof err->text - 1 - inner;
        size_t before = strlen(prefix);
        if (room > 2) {
            before = before < room - 2 ? before : room - 2;
            memmove(err->text + before + 2, err->text, inner + 1);
            memcpy(err->text, prefix, before);
            memcpy(err->text + before, ": ", 2);
        }
        err->status = status;
        keep_to_one_line(err->text);
    }
    return status;
}

const char *wtl_status_name(wtl_status status)
{
    static const char *const names[WTL_STATUS_COUNT] = {
        [WTL_OK] = "ok",
        [WTL_E_ARG] = "argument",
        [WTL_E_RANGE] = "range",
        [WTL_E_SHAPE] = "shape",
        [WTL_E_FORMAT] = "format",
        [WTL_E_NAN] = "not a number",
        [WTL_E_MISSING] = "missing",
        [WTL_E_IO] = "read",
        [WTL_E_WRITE] = "write",
        [WTL_E_NOMEM] = "memory",
        [WTL_E_FIT] = "fit",
        [WTL_E_STOPPED] = "stopped",
        [WTL_E_GOAL] = "goal",
        [WTL_E_SYSTEM] = "system",
    };
    return (unsigned)status < WTL_STATUS_COUNT && names[status] ? names[status] : "unknown";
}
