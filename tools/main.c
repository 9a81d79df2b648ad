/* main.c - the wattle command: a table of sub-commands. */
#define _GNU_SOURCE
#include "commands.h"
#include "common/output.h"

#include "wattle/text.h"

#include <signal.h>
#include <string.h>

static const wtl_command *const commands[] = {
    &wtl_command_demo,     &wtl_command_train,   &wtl_command_eval,   &wtl_command_infer,
    &wtl_command_info,     &wtl_command_energy,  &wtl_command_sense,  &wtl_command_prune,
    &wtl_command_finetune, &wtl_command_compare, &wtl_command_report, &wtl_command_bench,
};
enum { COMMAND_COUNT = sizeof commands / sizeof *commands };

static const wtl_command *find_command(const char *name)
{
    for (int i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(commands[i]->name, name) == 0) {
            return commands[i];
        }
    }
    return NULL;
}

static int unknown_command(const char *name)
{
    const char *names[COMMAND_COUNT + 2];
    for (int i = 0; i < COMMAND_COUNT; i++) {
        names[i] = commands[i]->name;
    }
    names[COMMAND_COUNT] = "help";
    names[COMMAND_COUNT + 1] = NULL;
    const char *near = wtl_suggest(name, names);
    wtl_error err;
    (void)wtl_fail(&err, WTL_E_ARG, "unknown command '%.100s'%s%s%s; see 'wattle --help'", name,
                   near ? " (did you mean '" : "", near ? near : "", near ? "'?)" : "");
    return wtl_cli_report(&err);
}

static void print_overview(void)
{
    puts("Usage: wattle COMMAND [ARGUMENT...]\n\n"
         "Trains convolutional networks, runs them, estimates their energy and prunes\n"
         "them where it goes.\n\nCommands:");
    for (int i = 0; i < COMMAND_COUNT; i++) {
        printf("  %-8s %s\n", commands[i]->name, commands[i]->line);
    }
    puts("  help     the help of a command\n\n"
         "'wattle demo' is a first run; 'wattle COMMAND --help' tells about each command.\n\n"
         "Results go to standard output, progress and errors to standard error.\n"
         "Exit codes: 0 done, 1 failed, 2 a stated goal was not met, 64 wrong usage,\n"
         "65 bad input, 66 input missing, 73 cannot write, 75 interrupted but saved,\n"
         "130 interrupted.");
}

static int print_help(int argc, char **argv)
{
    if (argc < 3) {
        print_overview();
        return WTL_EXIT_DONE;
    }
    const wtl_command *command = find_command(argv[2]);
    if (!command) {
        return unknown_command(argv[2]);
    }
    wtl_command_help(stdout, command);
    return WTL_EXIT_DONE;
}

static int dispatch(int argc, char **argv)
{
    if (argc < 2) {
        wtl_error err;
        (void)wtl_fail(&err, WTL_E_ARG,
                       "a command is missing: 'wattle demo' is a first run, "
                       "'wattle --help' lists them all");
        return wtl_cli_report(&err);
    }
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0 ||
        strcmp(argv[1], "-h") == 0) {
        return print_help(argc, argv);
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts("wattle " WTL_VERSION);
        return WTL_EXIT_DONE;
    }
    const wtl_command *command = find_command(argv[1]);
    return command ? command->run(command, argc - 1, argv + 1) : unknown_command(argv[1]);
}

int main(int argc, char **argv)
{
    /* A reader of our output that goes away must not kill a training run; results that
     * nobody took are told by wtl_cli_output_finish(). */
    signal(SIGPIPE, SIG_IGN);
    static const wtl_common defaults;
    wtl_cli_output_prepare(&defaults);
    return wtl_cli_output_finish(dispatch(argc, argv));
}
