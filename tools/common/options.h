/* options.h - what a sub-command takes: one table parses the command line and prints --help.
 */
#ifndef WTL_TOOLS_OPTIONS_H
#define WTL_TOOLS_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

typedef enum wtl_option_kind {
    WTL_OPTION_FLAG,   /* bool */
    WTL_OPTION_INT,    /* int in [low, high] */
    WTL_OPTION_LONG,   /* long in [low, high] */
    WTL_OPTION_U64,    /* uint64_t up to 2^63 - 1 */
    WTL_OPTION_DOUBLE, /* double in [low, high] */
    WTL_OPTION_FLOAT,  /* float in [low, high] */
    WTL_OPTION_TEXT,   /* char[size], refused when longer */
    WTL_OPTION_CHOICE  /* int: index in words */
} wtl_option_kind;

typedef struct wtl_option {
    const char *name;     /* long name without dashes; NULL ends a table */
    const char *alias;    /* a second long name, or NULL */
    const char *argument; /* placeholder in the help, NULL for flags */
    const char *help;     /* lines parted by \n */
    const char *heading;  /* starts a group in the help, or NULL */
    wtl_option_kind kind;
    char letter;   /* one-letter name, or 0 */
    size_t offset; /* of the value in the command's arguments */
    size_t size;   /* TEXT */
    double low, high;
    const char *const *words; /* CHOICE: ended by NULL */
} wtl_option;

enum { WTL_COLOR_AUTO, WTL_COLOR_ALWAYS, WTL_COLOR_NEVER };

/* Taken by every sub-command. */
typedef struct wtl_common {
    uint64_t seed;
    int threads; /* 0: all processors */
    bool quiet, json;
    int color;
} wtl_common;

typedef struct wtl_command {
    const char *name;
    const char *line;  /* one line for the overview */
    const char *usage; /* behind the command's name */
    const char *about; /* paragraphs for the help */
    const char *examples;
    const wtl_option *options;
    int least_words, most_words; /* what is not an option */
    const char *words;           /* what these are, for messages */
    int (*run)(const struct wtl_command *command, int argc, char **argv);
} wtl_command;

enum { WTL_MOST_OPTIONS = 64 };

typedef struct wtl_parsed {
    const wtl_command *command;
    wtl_common common;
    bool given[WTL_MOST_OPTIONS];
    char **words; /* the other arguments */
    int word_count;
    int exit_code; /* when parsing says to leave */
} wtl_parsed;

/* Fill `arguments` (the table's offsets point into it; it holds the defaults) and *parsed
 * from argv[1..]. False: leave with parsed->exit_code, everything is said. May be called
 * again with the same argv. */
bool wtl_options_parse(wtl_parsed *parsed, const wtl_command *command, void *arguments,
                       int argc, char **argv);

/* Whether the command line has --name. */
bool wtl_option_given(const wtl_parsed *parsed, const char *name);

/* The first option given that is not among `allowed` (ended by NULL), or NULL. */
const char *wtl_option_given_but(const wtl_parsed *parsed, const char *const *allowed);

/* --resume goes with --out (whose value is `out`) and the options in `allowed` (ended by NULL)
 * alone. `what`: "run"; `folder`: "RUN", as the help calls it. 0, or 64 when it is said. */
int wtl_options_check_resume(const wtl_parsed *parsed, const char *out,
                             const char *const *allowed, const char *what, const char *folder);

/* One line about wrong usage; returns exit code 64. */
int wtl_cli_usage_error(const wtl_command *command, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

void wtl_command_help(FILE *stream, const wtl_command *command);

#endif
