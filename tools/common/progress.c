/* progress.c - bars and lines on stderr. */
#define _GNU_SOURCE
#include "progress.h"
#include "output.h"

#include "wattle/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double BAR_SECONDS = 0.1, LINE_SECONDS = 15.0;

double wtl_cli_clock(void *context)
{
    (void)context;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void wtl_cli_format_seconds(double seconds, char text[32])
{
    if (!(seconds >= 0 && seconds < 3.6e8)) {
        snprintf(text, 32, "--:--:--");
        return;
    }
    long whole = lround(seconds);
    snprintf(text, 32, "%02ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
}

void wtl_progress_begin(wtl_progress *progress, const wtl_common *common)
{
    const char *term = getenv("TERM");
    bool terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    double now = wtl_cli_clock(NULL);
    *progress =
        (wtl_progress){.quiet = common->quiet, .bar = terminal, .begin = now, .latest = now};
}

static int terminal_columns(void)
{
    struct winsize size;
    bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0;
    return known ? size.ws_col : 80;
}

static void draw_bar(const char *label, long done, long total, const char *tail)
{
    enum { WIDEST = 30, NARROWEST = 5 };
    char counts[64];
    int length = snprintf(counts, sizeof counts, "%ld/%ld", done, total);
    /* One column stays free: some terminals wrap when the last one is filled. */
    int room = terminal_columns() - 1;
    int width = room - (int)strlen(label) - length - (int)strlen(tail) - 7;
    width = width > WIDEST ? WIDEST : width;
    fputs("\r\033[K", stderr);
    if (width < NARROWEST) {
        char line[512];
        snprintf(line, sizeof line, "%s  %s  %s", label, counts, tail);
        fprintf(stderr, "%.*s", room > 0 ? room : 0, line);
        return;
    }
    int full = total > 0 ? (int)((double)width * (double)done / (double)total) : 0;
    fprintf(stderr, "%s  [%s", label, wtl_cli_color_bar());
    for (int i = 0; i < width; i++) {
        putc(i < full ? '#' : i == full ? '>' : '.', stderr);
    }
    fprintf(stderr, "%s] %s  %s", wtl_cli_color_off(), counts, tail);
}

void wtl_progress_show(wtl_progress *progress, const char *label, long done, long total,
                       const char *rest, double eta_seconds)
{
    double now = wtl_cli_clock(NULL), passed = now - progress->begin;
    bool due = now - progress->latest >= (progress->bar ? BAR_SECONDS : LINE_SECONDS);
    if (progress->quiet || !due) {
        return;
    }
    progress->latest = now;
    if (eta_seconds < 0 && done > 0) {
        eta_seconds = passed * (double)(total - done) / (double)done;
    }
    char eta[32], tail[256];
    wtl_cli_format_seconds(eta_seconds, eta);
    snprintf(tail, sizeof tail, "%s%seta %s", rest, *rest ? "  " : "", eta);
    if (progress->bar) {
        draw_bar(label, done, total, tail);
        progress->drawn = true;
        fflush(stderr);
        return;
    }
    fprintf(stderr, "%s  %ld/%ld  %s\n", label, done, total, tail);
}

void wtl_progress_end(wtl_progress *progress)
{
    if (progress->drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
        progress->drawn = false;
    }
}

void wtl_progress_log(wtl_progress *progress, const char *format, ...)
{
    if (progress->quiet) {
        return;
    }
    wtl_progress_end(progress);
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    putc('\n', stderr);
}
