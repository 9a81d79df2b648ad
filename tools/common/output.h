/* output.h - results, errors and exit codes of every sub-command. */
#ifndef WTL_TOOLS_OUTPUT_H
#define WTL_TOOLS_OUTPUT_H

#include "options.h"

#include "wattle/json.h"
#include "wattle/status.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

enum {
    WTL_EXIT_DONE = 0,
    WTL_EXIT_FAILED = 1,
    WTL_EXIT_GOAL = 2,      /* done, but a stated goal was not met */
    WTL_EXIT_USAGE = 64,    /* the numbers of sysexits.h from here */
    WTL_EXIT_DATA = 65,     /* bad input */
    WTL_EXIT_NO_INPUT = 66, /* input missing */
    WTL_EXIT_CANNOT_WRITE = 73,
    WTL_EXIT_SAVED = 75,       /* interrupted, and saved */
    WTL_EXIT_INTERRUPTED = 130 /* interrupted */
};

enum { WTL_SCHEMA_VERSION = 1 }; /* of every JSON document */

/* Apply --color. */
void wtl_cli_output_prepare(const wtl_common *common);
/* Escape sequences for stderr, or "" where colour is off. */
const char *wtl_cli_color_error(void);
const char *wtl_cli_color_bar(void);
const char *wtl_cli_color_off(void);

int wtl_cli_exit_code(wtl_status status);

/* Print "wattle: MESSAGE" on stderr; returns the exit code of err->status. */
int wtl_cli_report(const wtl_error *err);

/* The same of work that was stopped and saved, with the command that goes on: exit code 75. */
int wtl_cli_report_stopped(const wtl_error *err, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Flush stdout; returns `exit_code`, or 73 with a message if something was not written. */
int wtl_cli_output_finish(int exit_code);

/* Print `document` with its "schema_version" and "command"; takes over the reference. */
int wtl_cli_print_json(const wtl_command *command, json_t *document);

/* Text from a file, control characters shown as '?'. */
void wtl_cli_print_text(FILE *stream, const char *text);

/* 1234567 as "1,234,567"; static storage, good until the 8th next call. */
const char *wtl_cli_grouped(uint64_t value);

#endif
