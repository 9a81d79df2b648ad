/* cmd_report.c - wattle report. */
#include "commands.h"
#include "common/output.h"

#include "wattle/memory.h"
#include "wattle/report.h"
#include "wattle/text.h"

typedef struct report_args {
    char out[1024];
} report_args;

static const wtl_option options[] = {
    {"out", NULL, "FILE", "the page (default RUN/report.html)", "Options", WTL_OPTION_TEXT, 'o',
     offsetof(report_args, out), sizeof(((report_args *)0)->out), 0, 0, NULL},
    {0},
};

static int run(const wtl_command *command, int argc, char **argv)
{
    report_args args = {.out = ""};
    wtl_parsed parsed;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    wtl_error err = {0};
    const char *folder = parsed.words[0];
    if (wtl_report_write(folder, args.out[0] ? args.out : NULL, &err) != WTL_OK) {
        return wtl_cli_report(&err);
    }
    char *page = args.out[0] ? wtl_strdup(args.out) : wtl_format("%s/report.html", folder);
    int code = WTL_EXIT_DONE;
    if (parsed.common.json) {
        code =
            wtl_cli_print_json(command, json_pack("{s:o, s:o}", "run", wtl_json_string(folder),
                                                  "report", wtl_json_string(page ? page : "")));
    } else {
        printf("%s\n", page ? page : "");
    }
    wtl_free(page);
    return code;
}

const wtl_command wtl_command_report = {
    .name = "report",
    .line = "make one HTML page of a pruning run or a comparison",
    .usage = "RUN [--out FILE]",
    .about = "Writes one self-contained HTML page about a finished 'wattle prune' or 'wattle "
             "compare':\n"
             "no script, nothing loaded from elsewhere, light or dark as the reader likes, and "
             "made to\n"
             "be printed. It opens with the verdict and ends with the commands that reproduce "
             "it. The\n"
             "same folder gives the same bytes.",
    .examples = "  wattle report runs/p\n"
                "  wattle report runs/compare --out compare.html",
    .options = options,
    .least_words = 1,
    .most_words = 1,
    .words = "one folder of a run",
    .run = run,
};
