/* options.c - option tables: parsing by getopt_long, help, near misses. */
#define _GNU_SOURCE
#include "options.h"
#include "output.h"

#include "wattle/status.h"
#include "wattle/text.h"

#include <getopt.h>
#include <limits.h>
#include <stdarg.h>
#include <string.h>

static const char *const color_words[] = {"auto", "always", "never", NULL};

#define COMMON(field) offsetof(wtl_common, field)
static const wtl_option common_options[] = {
    {"seed", NULL, "N", "seed of everything random (default 0)", "Everywhere", WTL_OPTION_U64,
     0, COMMON(seed), 0, 0, 0, NULL},
    {"threads", NULL, "N", "compute threads (default: all processors)", NULL, WTL_OPTION_INT, 0,
     COMMON(threads), 0, 1, 1024, NULL},
    {"quiet", NULL, NULL, "results and errors only", NULL, WTL_OPTION_FLAG, 'q', COMMON(quiet),
     0, 0, 0, NULL},
    {"color", NULL, "WHEN", "auto, always or never; NO_COLOR is honoured", NULL,
     WTL_OPTION_CHOICE, 0, COMMON(color), 0, 0, 0, color_words},
    {"json", NULL, NULL, "print the result as one JSON document", NULL, WTL_OPTION_FLAG, 0,
     COMMON(json), 0, 0, 0, NULL},
    {0},
};
enum { COMMON_COUNT = sizeof common_options / sizeof *common_options - 1 };

/* Options are numbered: the common ones first, then the command's. */
static const wtl_option *numbered(const wtl_command *command, int number)
{
    return number < COMMON_COUNT ? &common_options[number]
                                 : &command->options[number - COMMON_COUNT];
}

static int option_count(const wtl_command *command)
{
    int count = COMMON_COUNT;
    while (numbered(command, count)->name) {
        count++;
    }
    return count;
}

/* What JSON's signed integers can hold: config.json keeps the seed. */
static const uint64_t MOST_U64 = INT64_MAX;

/* ---- messages ---- */

int wtl_cli_usage_error(const wtl_command *command, const char *format, ...)
{
    wtl_error err;
    char text[WTL_ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    (void)wtl_fail(&err, WTL_E_ARG, "%s; see 'wattle %s --help'", text, command->name);
    return wtl_cli_report(&err);
}

static bool leave(wtl_parsed *parsed, int exit_code)
{
    parsed->exit_code = exit_code;
    return false;
}

static bool unknown_option(wtl_parsed *parsed, const wtl_command *command, const char *word)
{
    const char *names[2 * WTL_MOST_OPTIONS + 2];
    int count = 0;
    for (int i = 0; i < option_count(command); i++) {
        const wtl_option *option = numbered(command, i);
        names[count++] = option->name;
        if (option->alias) {
            names[count++] = option->alias;
        }
    }
    names[count++] = "help";
    names[count] = NULL;

    char name[64];
    snprintf(name, sizeof name, "%s", word + strspn(word, "-"));
    name[strcspn(name, "=")] = '\0';
    const char *near = strncmp(word, "--", 2) == 0 ? wtl_suggest(name, names) : NULL;
    if (near) {
        return leave(parsed, wtl_cli_usage_error(command,
                                                 "unknown option '%.200s' (did you mean --%s?)",
                                                 word, near));
    }
    return leave(parsed, wtl_cli_usage_error(command, "unknown option '%.200s'", word));
}

static void list_words(wtl_text *text, const char *const *words)
{
    for (int i = 0; words[i]; i++) {
        wtl_text_printf(text, "%s%s", i == 0 ? "" : words[i + 1] ? ", " : " or ", words[i]);
    }
}

static bool bad_value(wtl_parsed *parsed, const wtl_option *option, const char *value)
{
    wtl_text wanted = {0};
    switch (option->kind) {
    case WTL_OPTION_INT:
    case WTL_OPTION_LONG:
        wtl_text_printf(&wanted, "a whole number from %.0f to %.0f", option->low, option->high);
        break;
    case WTL_OPTION_U64:
        wtl_text_printf(&wanted, "a whole number from 0 to %lld", (long long)MOST_U64);
        break;
    case WTL_OPTION_DOUBLE:
    case WTL_OPTION_FLOAT:
        wtl_text_printf(&wanted, "a number from %g to %g", option->low, option->high);
        break;
    case WTL_OPTION_TEXT:
        wtl_text_printf(&wanted, "1 to %zu characters", option->size - 1);
        break;
    case WTL_OPTION_CHOICE:
        list_words(&wanted, option->words);
        break;
    case WTL_OPTION_FLAG:
        break;
    }
    const char *near =
        option->kind == WTL_OPTION_CHOICE ? wtl_suggest(value, option->words) : NULL;
    int code =
        wtl_cli_usage_error(parsed->command, "--%s takes %s, not '%.200s'%s%s%s", option->name,
                            wanted.bytes ? wanted.bytes : "another value", value,
                            near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
    wtl_text_clear(&wanted);
    return leave(parsed, code);
}

/* ---- values ---- */

static bool parse_long(const char *text, double low, double high, long *value)
{
    bool negative = *text == '-';
    uint64_t size;
    if (!wtl_parse_u64(text + negative, 0, LONG_MAX, &size)) {
        return false;
    }
    long number = negative ? -(long)size : (long)size;
    if ((double)number < low || (double)number > high) {
        return false;
    }
    *value = number;
    return true;
}

static bool parse_choice(const char *text, const char *const *words, int *value)
{
    for (int i = 0; words[i]; i++) {
        if (strcmp(text, words[i]) == 0) {
            *value = i;
            return true;
        }
    }
    return false;
}

static bool set_value(const wtl_option *option, void *place, const char *text)
{
    double number;
    switch (option->kind) {
    case WTL_OPTION_FLAG:
        *(bool *)place = true;
        return true;
    case WTL_OPTION_INT:
        return wtl_parse_int(text, (int)option->low, (int)option->high, place);
    case WTL_OPTION_LONG:
        return parse_long(text, option->low, option->high, place);
    case WTL_OPTION_U64:
        return wtl_parse_u64(text, 0, MOST_U64, place);
    case WTL_OPTION_DOUBLE:
        return wtl_parse_double(text, option->low, option->high, place);
    case WTL_OPTION_FLOAT:
        if (!wtl_parse_double(text, option->low, option->high, &number)) {
            return false;
        }
        *(float *)place = (float)number;
        return true;
    case WTL_OPTION_TEXT:
        if (*text == '\0' || strlen(text) >= option->size) {
            return false;
        }
        memcpy(place, text, strlen(text) + 1);
        return true;
    case WTL_OPTION_CHOICE:
        return parse_choice(text, option->words, place);
    }
    return false;
}

/* ---- the command line ---- */

enum { HELP_KEY = 'h', FIRST_KEY = 1000 };

static void describe_for_getopt(const wtl_command *command, char *letters, struct option *longs)
{
    *letters++ = ':';
    *letters++ = HELP_KEY;
    for (int i = 0; i < option_count(command); i++) {
        const wtl_option *option = numbered(command, i);
        int argument = option->argument ? required_argument : no_argument;
        *longs++ = (struct option){option->name, argument, NULL, FIRST_KEY + i};
        if (option->alias) {
            *longs++ = (struct option){option->alias, argument, NULL, FIRST_KEY + i};
        }
        if (option->letter) {
            *letters++ = option->letter;
        }
        if (option->letter && option->argument) {
            *letters++ = ':';
        }
    }
    *letters = '\0';
    *longs++ = (struct option){"help", no_argument, NULL, HELP_KEY};
    *longs = (struct option){0};
}

static int number_of_letter(const wtl_command *command, int letter)
{
    for (int i = 0; i < option_count(command); i++) {
        if (numbered(command, i)->letter == letter) {
            return i;
        }
    }
    return -1;
}

static bool take_option(wtl_parsed *parsed, void *arguments, int number)
{
    const wtl_option *option = numbered(parsed->command, number);
    void *base = number < COMMON_COUNT ? (void *)&parsed->common : arguments;
    parsed->given[number] = true;
    return set_value(option, (char *)base + option->offset, optarg) ||
           bad_value(parsed, option, optarg);
}

static bool count_words(wtl_parsed *parsed)
{
    const wtl_command *command = parsed->command;
    if (parsed->word_count < command->least_words) {
        return leave(
            parsed, wtl_cli_usage_error(command, "%s needs %s", command->name, command->words));
    }
    if (parsed->word_count > command->most_words) {
        return leave(parsed, wtl_cli_usage_error(command, "'%.200s' is one argument too many",
                                                 parsed->words[command->most_words]));
    }
    return true;
}

bool wtl_options_parse(wtl_parsed *parsed, const wtl_command *command, void *arguments,
                       int argc, char **argv)
{
    char letters[2 * WTL_MOST_OPTIONS + 4];
    struct option longs[2 * WTL_MOST_OPTIONS + 2];
    describe_for_getopt(command, letters, longs);
    *parsed = (wtl_parsed){.command = command};
    opterr = 0;
    optind = 0; /* glibc: start afresh */
    for (int key; (key = getopt_long(argc, argv, letters, longs, NULL)) != -1;) {
        if (key == HELP_KEY) {
            wtl_command_help(stdout, command);
            return leave(parsed, WTL_EXIT_DONE);
        }
        if (key == ':') {
            return leave(parsed,
                         wtl_cli_usage_error(command, "%s needs a value", argv[optind - 1]));
        }
        if (key == '?') {
            char letter[3] = {'-', (char)optopt, '\0'};
            bool is_letter = optopt > 0 && optopt < FIRST_KEY;
            return unknown_option(parsed, command, is_letter ? letter : argv[optind - 1]);
        }
        int number = key >= FIRST_KEY ? key - FIRST_KEY : number_of_letter(command, key);
        if (!take_option(parsed, arguments, number)) {
            return false;
        }
    }
    parsed->words = argv + optind;
    parsed->word_count = argc - optind;
    wtl_cli_output_prepare(&parsed->common);
    return count_words(parsed);
}

bool wtl_option_given(const wtl_parsed *parsed, const char *name)
{
    for (int i = 0; i < option_count(parsed->command); i++) {
        if (strcmp(numbered(parsed->command, i)->name, name) == 0) {
            return parsed->given[i];
        }
    }
    return false;
}

const char *wtl_option_given_but(const wtl_parsed *parsed, const char *const *allowed)
{
    for (int i = 0; i < option_count(parsed->command); i++) {
        const char *name = numbered(parsed->command, i)->name;
        int unused;
        if (parsed->given[i] && !parse_choice(name, allowed, &unused)) {
            return name;
        }
    }
    return NULL;
}

/* ---- help ---- */

enum { HELP_COLUMN = 30 };

static void help_option(FILE *stream, const wtl_option *option)
{
    if (option->heading) {
        fprintf(stream, "\n%s:\n", option->heading);
    }
    char left[96];
    int used = option->letter ? snprintf(left, sizeof left, "  -%c, ", option->letter)
                              : snprintf(left, sizeof left, "      ");
    used += snprintf(left + used, sizeof left - (size_t)used, "--%s%s%s", option->name,
                     option->argument ? " " : "", option->argument ? option->argument : "");
    fprintf(stream, "%s", left);
    if (used > HELP_COLUMN - 2) {
        putc('\n', stream);
        used = 0;
    }
    for (const char *line = option->help; line; used = 0) {
        int length = (int)strcspn(line, "\n");
        fprintf(stream, "%*s%.*s\n", HELP_COLUMN - used, "", length, line);
        line = line[length] ? line + length + 1 : NULL;
    }
    if (option->alias) {
        fprintf(stream, "%*s(also --%s)\n", HELP_COLUMN, "", option->alias);
    }
}

void wtl_command_help(FILE *stream, const wtl_command *command)
{
    fprintf(stream, "Usage: wattle %s %s\n\n%s\n", command->name, command->usage,
            command->about);
    for (const wtl_option *option = command->options; option->name; option++) {
        help_option(stream, option);
    }
    for (const wtl_option *option = common_options; option->name; option++) {
        help_option(stream, option);
    }
    fprintf(stream, "  -h, --help                  show this\n");
    if (command->examples) {
        fprintf(stream, "\nExamples:\n%s\n", command->examples);
    }
}

int wtl_options_check_resume(const wtl_parsed *parsed, const char *out,
                             const char *const *allowed, const char *what, const char *folder)
{
    const char *other = wtl_option_given_but(parsed, allowed);
    if (!out[0]) {
        return wtl_cli_usage_error(parsed->command, "--resume needs --out %s", folder);
    }
    return other ? wtl_cli_usage_error(parsed->command,
                                       "--%s cannot change a %s that is resumed: leave it out, "
                                       "or leave out --resume",
                                       other, what)
                 : WTL_EXIT_DONE;
}
