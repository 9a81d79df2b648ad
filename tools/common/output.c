/* output.c - errors, exit codes, JSON. */
#define _GNU_SOURCE
#include "output.h"

#include "wattle/memory.h"
#include "wattle/text.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool colored; /* stderr is coloured; set once, by wtl_cli_output_prepare() */

static bool terminal_with_color(void)
{
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(STDERR_FILENO) && !(no_color && *no_color) && term &&
           strcmp(term, "dumb") != 0;
}

void wtl_cli_output_prepare(const wtl_common *common)
{
    colored = common->color == WTL_COLOR_ALWAYS ||
              (common->color == WTL_COLOR_AUTO && terminal_with_color());
}

const char *wtl_cli_color_error(void)
{
    return colored ? "\033[1;31m" : "";
}

const char *wtl_cli_color_bar(void)
{
    return colored ? "\033[32m" : "";
}

const char *wtl_cli_color_off(void)
{
    return colored ? "\033[0m" : "";
}

int wtl_cli_exit_code(wtl_status status)
{
    switch (status) {
    case WTL_OK:
        return WTL_EXIT_DONE;
    case WTL_E_ARG:
        return WTL_EXIT_USAGE;
    case WTL_E_RANGE:
    case WTL_E_SHAPE:
    case WTL_E_FORMAT:
    case WTL_E_NAN:
    case WTL_E_IO:
        return WTL_EXIT_DATA;
    case WTL_E_MISSING:
        return WTL_EXIT_NO_INPUT;
    case WTL_E_WRITE:
        return WTL_EXIT_CANNOT_WRITE;
    case WTL_E_STOPPED:
        return WTL_EXIT_INTERRUPTED;
    case WTL_E_FIT:
    case WTL_E_GOAL:
        return WTL_EXIT_GOAL;
    case WTL_E_NOMEM:
    case WTL_E_SYSTEM:
    case WTL_STATUS_COUNT:
        break;
    }
    return WTL_EXIT_FAILED;
}

int wtl_cli_report(const wtl_error *err)
{
    fflush(stdout); /* what was said before comes before */
    fprintf(stderr, "%swattle:%s %s\n", wtl_cli_color_error(), wtl_cli_color_off(),
            err->text[0] ? err->text : wtl_status_name(err->status));
    return wtl_cli_exit_code(err->status);
}

int wtl_cli_report_stopped(const wtl_error *err, const char *format, ...)
{
    wtl_error told;
    char command[1200];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(command, sizeof command, format, arguments);
    va_end(arguments);
    (void)wtl_fail(&told, WTL_E_STOPPED, "%s; go on with '%s'", err->text, command);
    (void)wtl_cli_report(&told);
    return WTL_EXIT_SAVED;
}

int wtl_cli_output_finish(int exit_code)
{
    errno = 0;
    bool written = fflush(stdout) == 0 && !ferror(stdout);
    int reason = errno;
    if (written && close(STDOUT_FILENO) != 0 && errno != EBADF) {
        written = false;
        reason = errno;
    }
    if (written || (exit_code != WTL_EXIT_DONE && exit_code != WTL_EXIT_GOAL)) {
        return exit_code; /* a failure that has been reported already stays the one */
    }
    wtl_error err;
    (void)wtl_fail(&err, WTL_E_WRITE, "cannot write the result to standard output%s%s",
                   reason ? ": " : "", reason ? strerror(reason) : "");
    return wtl_cli_report(&err);
}

int wtl_cli_print_json(const wtl_command *command, json_t *document)
{
    json_t *whole = json_pack("{s:i, s:s}", "schema_version", (int)WTL_SCHEMA_VERSION,
                              "command", command->name);
    bool made = whole && document && json_object_update(whole, document) == 0;
    if (made) {
        json_dumpf(whole, stdout, JSON_INDENT(2) | JSON_REAL_PRECISION(9));
        putchar('\n');
    }
    json_decref(whole);
    json_decref(document);
    if (!made) {
        wtl_error err;
        (void)wtl_fail(&err, WTL_E_NOMEM, "out of memory for the JSON document");
        return wtl_cli_report(&err);
    }
    return WTL_EXIT_DONE;
}

void wtl_cli_print_text(FILE *stream, const char *text)
{
    for (; *text; text++) {
        putc((unsigned char)*text < 32 || *text == 127 ? '?' : *text, stream);
    }
}

const char *wtl_cli_grouped(uint64_t value)
{
    enum { RING = 8, DIGITS = 20, SIZE = 32 };
    static char ring[RING][SIZE];
    static int next;
    char digits[DIGITS + 1], *out = ring[next];
    next = (next + 1) % RING;
    int count = snprintf(digits, sizeof digits, "%llu", (unsigned long long)value), used = 0;
    for (int i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0) {
            out[used++] = ',';
        }
        out[used++] = digits[i];
    }
    out[used] = '\0';
    return out;
}
