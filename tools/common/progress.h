/* progress.h - how far a job is, on stderr: a bar with ETA on a terminal, redrawn ten times a
 * second; elsewhere one line every 15 seconds; nothing with --quiet. */
#ifndef WTL_TOOLS_PROGRESS_H
#define WTL_TOOLS_PROGRESS_H

#include "options.h"

typedef struct wtl_progress {
    bool quiet, bar;
    bool drawn;    /* a bar is on the screen */
    double begin;  /* seconds */
    double latest; /* when the latest bar or line came */
} wtl_progress;

/* Seconds of a monotonic clock; the context is not used (a hook of the trainer). */
double wtl_cli_clock(void *context);

void wtl_progress_begin(wtl_progress *progress, const wtl_common *common);

/* "LABEL  [###>....] done/total  REST  eta 00:01:42"; eta_seconds < 0: by the time so far. */
void wtl_progress_show(wtl_progress *progress, const char *label, long done, long total,
                       const char *rest, double eta_seconds);

/* A line that stays. */
void wtl_progress_log(wtl_progress *progress, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Wipe the bar. */
void wtl_progress_end(wtl_progress *progress);

/* 3725 as "01:02:05". */
void wtl_cli_format_seconds(double seconds, char text[32]);

#endif
