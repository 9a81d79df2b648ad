/* cmd_compare.c - wattle compare: pruning methods from one checkpoint, on equal terms. */
#include "commands.h"
#include "common/model.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/prune_options.h"
#include "common/signals.h"

#include "wattle/compare.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <string.h>

typedef struct compare_args {
    wtl_prune_options o;
    wtl_prune_extra x;
    char methods[1024], budgets[512], out[1024];
    int seeds;
    double max_drop, equal_energy;
    bool resume, force, dry_run;
} compare_args;

#define ARG(field) WTL_AT(compare_args, field)
static const wtl_option options[] = {
    {"methods", NULL, "NAME,...",
     "methods of 'wattle prune --methods' (default\nmagnitude-global,energy-aware)", "What",
     WTL_OPTION_TEXT, 'm', ARG(methods), 0, 0, NULL},
    {"data", "data-path", "DATA",
     "training, validation and test images, as for 'wattle\ntrain'", NULL, WTL_OPTION_TEXT, 0,
     ARG(o.data), 0, 0, NULL},
    {"out", "output-dir", "DIR", "the folder of the comparison", NULL, WTL_OPTION_TEXT, 'o',
     ARG(out), 0, 0, NULL},
    {"resume", NULL, NULL, "go on with the comparison in DIR; --seeds may add seeds", NULL,
     WTL_OPTION_FLAG, 0, ARG(resume), 0, 0, NULL},
    {"force", NULL, NULL, "start anew in a DIR that holds one", NULL, WTL_OPTION_FLAG, 0,
     ARG(force), 0, 0, NULL},
    {"dry-run", NULL, NULL, "only tell what would be run, and about how long", NULL,
     WTL_OPTION_FLAG, 'n', ARG(dry_run), 0, 0, NULL},

    {"budgets", NULL, "F,...",
     "energies to go down to, as shares of the dense network's,\n"
     "falling (default 0.7,0.5,0.4,0.3)",
     "Terms", WTL_OPTION_TEXT, 0, ARG(budgets), 0, 0, NULL},
    {"seeds", NULL, "N", "runs of each method: --seed, the next, ... (default 1)", NULL,
     WTL_OPTION_INT, 0, ARG(seeds), 1, WTL_COMPARE_SEEDS, NULL},
    {"max-drop", NULL, "P", "points of top-1 for \"at equal accuracy\" (default 1)", NULL,
     WTL_OPTION_DOUBLE, 'd', ARG(max_drop), 1e-3, 100, NULL},
    {"equal-energy", NULL, "F",
     "the energy for \"at equal energy\" (default: the middle\nbudget)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(equal_energy), 1e-6, 1, NULL},
    {"rounds", NULL, "N", "rounds to each budget (default 6)", NULL, WTL_OPTION_INT, 0,
     ARG(o.rounds), 1, 1000, NULL},

    WTL_PRUNE_ENERGY_ROWS(compare_args, o, x),
    WTL_PRUNE_RECIPE_ROWS(compare_args, o, x),
    WTL_PRUNE_METHOD_ROWS(compare_args, o, x),
    WTL_PRUNE_RUNNING_ROWS(compare_args, o),
    {0},
};

/* ---- options ---- */

static int check_resume(const compare_args *args, const wtl_parsed *parsed)
{
    static const char *const allowed[] = {"resume", "out",  "seeds",   "quiet",
                                          "color",  "json", "threads", NULL};
    int code = wtl_options_check_resume(parsed, args->out, allowed, "comparison", "DIR");
    return code || !parsed->word_count
               ? code
               : wtl_cli_usage_error(parsed->command,
                                     "the checkpoint of a comparison that is "
                                     "resumed is in DIR: leave %.200s out",
                                     parsed->words[0]);
}

static int check_new(const compare_args *args, const wtl_parsed *parsed)
{
    const char *missing = parsed->word_count == 0           ? "CKPT"
                          : !args->o.data[0]                ? "--data DATA"
                          : !args->dry_run && !args->out[0] ? "--out DIR"
                                                            : NULL;
    if (missing) {
        return wtl_cli_usage_error(parsed->command, "%s is missing", missing);
    }
    const char *part = strrchr(args->o.data, '@');
    if (part && (strcmp(part, "@train") == 0 || strcmp(part, "@val") == 0 ||
                 strcmp(part, "@test") == 0)) {
        return wtl_cli_usage_error(
            parsed->command, "a comparison takes all parts: leave out '%s' in --data", part);
    }
    if (strlen(parsed->words[0]) >= sizeof args->o.checkpoint) {
        return wtl_cli_usage_error(parsed->command, "the path of the checkpoint is too long");
    }
    return WTL_EXIT_DONE;
}

/* The next word of a list parted by commas, cut to fit; the rest of the list, or NULL. */
static const char *next_word(const char *list, char *word, size_t size)
{
    size_t length = strcspn(list, ",");
    snprintf(word, size, "%.*s", (int)length, list);
    return list[length] ? list + length + 1 : NULL;
}

static int read_methods(wtl_compare_options *c, const char *list, const wtl_command *command)
{
    while (list) {
        if (c->method_count == WTL_COMPARE_METHODS) {
            return wtl_cli_usage_error(command, "--methods takes at most %d",
                                       WTL_COMPARE_METHODS);
        }
        char *word = c->methods[c->method_count++];
        list = next_word(list, word, sizeof c->methods[0]);
    }
    return WTL_EXIT_DONE;
}

static int read_budgets(wtl_compare_options *c, const char *list, const wtl_command *command)
{
    while (list) {
        char word[64];
        list = next_word(list, word, sizeof word);
        if (c->budget_count == WTL_COMPARE_BUDGETS) {
            return wtl_cli_usage_error(command, "--budgets takes at most %d",
                                       WTL_COMPARE_BUDGETS);
        }
        if (!wtl_parse_double(word, 0, 1, &c->budgets[c->budget_count])) {
            return wtl_cli_usage_error(
                command, "--budgets takes numbers between 0 and 1, not '%s'", word);
        }
        c->budget_count++;
    }
    return WTL_EXIT_DONE;
}

static int read_options(wtl_compare_options *c, const compare_args *args,
                        const wtl_parsed *parsed)
{
    wtl_error err = {0};
    *c = (wtl_compare_options){.prune = args->o,
                               .seeds = args->seeds,
                               .max_drop = args->max_drop,
                               .equal_energy = args->equal_energy};
    int code = read_methods(c, args->methods, parsed->command);
    code = code ? code : read_budgets(c, args->budgets, parsed->command);
    code = code ? code : wtl_prune_extra_end(&args->x, &c->prune, parsed);
    if (code) {
        return code;
    }
    snprintf(c->prune.checkpoint, sizeof c->prune.checkpoint, "%s", parsed->words[0]);
    wtl_cli_augment_of(&c->prune);
    return wtl_compare_resolve(c, &err) == WTL_OK
               ? WTL_EXIT_DONE
               : wtl_cli_usage_error(parsed->command, "%s", err.text);
}

/* ---- dry run ---- */

typedef struct plan {
    wtl_preflight before;
    int runs, nets;
    double epochs_a_net, epochs; /* in all */
    double minutes;
} plan;

/* Training takes about three times as long as inference, which is timed here. */
static wtl_status time_training(plan *p, const wtl_prune_options *o, wtl_error *err)
{
    enum { TIMES = 3 };
    wtl_model model;
    wtl_status status =
        wtl_model_load(&model, o->checkpoint,
                       (wtl_net_options){.batch = o->batch, .threads = o->threads}, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_net_forward(model.net, o->batch, WTL_RUN_INFERENCE, 0); /* touches the memory */
    double begin = wtl_cli_clock(NULL);
    for (int i = 0; i < TIMES; i++) {
        wtl_net_forward(model.net, o->batch, WTL_RUN_INFERENCE, 0);
    }
    double image = (wtl_cli_clock(NULL) - begin) / TIMES / o->batch;
    p->minutes = 3 * image * p->epochs * (double)p->before.train_images / 60;
    wtl_model_clear(&model);
    return WTL_OK;
}

static wtl_status make_plan(plan *p, const wtl_compare_options *c, wtl_error *err)
{
    wtl_prune_options o = c->prune;
    o.target_energy = c->budgets[0];
    snprintf(o.method, sizeof o.method, "%s", c->methods[0]);
    p->runs = c->method_count * c->seeds;
    p->nets = p->runs * c->budget_count;
    p->epochs_a_net = (o.rounds - 1) * o.epochs + o.final_epochs;
    p->epochs = p->nets * p->epochs_a_net;
    wtl_status status = wtl_prune_preflight(&p->before, &o, err);
    return status == WTL_OK ? time_training(p, &o, err) : status;
}

static void print_plan(const plan *p, const wtl_compare_options *c)
{
    double floor = p->before.floor / p->before.dense;
    printf("%s on %s\n", p->before.net, p->before.hardware);
    printf("runs      %d: ", p->runs);
    for (int m = 0; m < c->method_count; m++) {
        printf("%s%s", m ? ", " : "", c->methods[m]);
    }
    printf("; %d seed%s\nbudgets   ", c->seeds, c->seeds == 1 ? "" : "s");
    for (int b = 0; b < c->budget_count; b++) {
        printf("%g%s ", c->budgets[b], c->budgets[b] < floor ? " (cannot be met)" : "");
    }
    printf("of the dense energy; floor %.4g\n", floor);
    printf("epochs    %g to each budget (%d rounds), %g in all, %ld images each\n",
           p->epochs_a_net, c->prune.rounds, p->epochs, p->before.train_images);
    printf("images    %ld to search with (of those that are trained on), %ld to choose by\n",
           p->before.search_images, p->before.val_images);
    printf("time      about %.3g minutes of fine-tuning on this machine, as inference was "
           "timed now;\n          choosing weights comes on top\n",
           p->minutes);
}

static json_t *plan_json(const plan *p, const wtl_compare_options *c)
{
    return json_pack("{s:s, s:i, s:i, s:i, s:o, s:o, s:o, s:I, s:I, s:I, s:o}", "net",
                     p->before.net, "runs", p->runs, "nets", p->nets, "seeds", c->seeds,
                     "floor", wtl_json_real(p->before.floor / p->before.dense), "epochs_a_net",
                     wtl_json_real(p->epochs_a_net), "epochs", wtl_json_real(p->epochs),
                     "train_images", (json_int_t)p->before.train_images, "val_images",
                     (json_int_t)p->before.val_images, "search_images",
                     (json_int_t)p->before.search_images, "estimated_minutes",
                     wtl_json_real(p->minutes));
}

static int dry_run(const wtl_compare_options *c, const wtl_parsed *parsed)
{
    wtl_error err = {0};
    plan p = {.runs = 0};
    int code = WTL_EXIT_DONE;
    if (make_plan(&p, c, &err) != WTL_OK) {
        code = wtl_cli_report(&err);
    } else if (parsed->common.json) {
        code = wtl_cli_print_json(parsed->command, plan_json(&p, c));
    } else {
        print_plan(&p, c);
    }
    wtl_preflight_clear(&p.before);
    return code;
}

/* ---- the comparison ---- */

static int print_text(const char *out, const wtl_comparison *comparison)
{
    char *table = wtl_comparison_table(comparison);
    if (!table) {
        wtl_error err;
        (void)wtl_fail(&err, WTL_E_NOMEM, "out of memory for the tables");
        return wtl_cli_report(&err);
    }
    fputs(table, stdout);
    wtl_free(table);
    printf(
        "results are in %s: summary.md, results.csv, layers.csv, plots/*.svg; 'wattle report "
        "%s' makes a page of them\n",
        out, out);
    return WTL_EXIT_DONE;
}

static int compare(const compare_args *args, const wtl_compare_options *c,
                   const wtl_parsed *parsed)
{
    wtl_error err = {0};
    wtl_comparison result;
    wtl_progress progress;
    wtl_signals_catch();
    wtl_progress_begin(&progress, &parsed->common);
    wtl_prune_hooks hooks = wtl_cli_prune_hooks(&progress);
    wtl_status status =
        wtl_compare(args->out, c, args->resume, args->force, &hooks, &result, &err);
    wtl_progress_end(&progress);
    if (status == WTL_E_STOPPED) {
        return wtl_cli_report_stopped(&err, "wattle compare --resume --out %s", args->out);
    }
    if (status != WTL_OK) {
        return wtl_cli_report(&err);
    }
    int code = parsed->common.json
                   ? wtl_cli_print_json(parsed->command, wtl_comparison_to_json(&result))
                   : print_text(args->out, &result);
    wtl_comparison_clear(&result);
    return code;
}

static int run(const wtl_command *command, int argc, char **argv)
{
    static compare_args args = {.methods = "magnitude-global,energy-aware",
                                .budgets = "0.7,0.5,0.4,0.3"}; /* tens of kilobytes */
    static wtl_compare_options c;
    wtl_parsed parsed;
    wtl_prune_defaults(&args.o);
    args.o.augment[0] = '\0';
    wtl_prune_extra_begin(&args.x, &args.o);
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    int code = args.resume ? check_resume(&args, &parsed) : check_new(&args, &parsed);
    if (code) {
        return code;
    }
    if (args.resume) { /* what may change */
        c.seeds = args.seeds;
        c.prune.threads = parsed.common.threads;
        return compare(&args, &c, &parsed);
    }
    code = read_options(&c, &args, &parsed);
    if (code) {
        return code;
    }
    return args.dry_run ? dry_run(&c, &parsed) : compare(&args, &c, &parsed);
}

const wtl_command wtl_command_compare = {
    .name = "compare",
    .line = "compare pruning methods: same checkpoint, same terms",
    .usage = "CKPT --data DATA --out DIR [--methods NAME,...] [OPTION...]\n"
             "       wattle compare --resume --out DIR [--seeds N]",
    .about =
        "Takes each method, with each seed, down the same energy budgets, with the same data,\n"
        "recipe and number of steps, and judges every network that comes out. Networks are\n"
        "chosen by the validation images; accuracies are those of the test images, which each\n"
        "network sees once. A budget that a method cannot meet is a gap in its curve.\n"
        "\n"
        "DIR gets results.csv, layers.csv, summary.md, summary.json, plots/ and, for every\n"
        "method and seed, the folder of a pruning run. The tables say what each method costs\n"
        "at equal accuracy, how good it is at equal energy, and how long it took.\n"
        "\n"
        "SIGINT (Ctrl-C), SIGTERM and SIGUSR1 save and leave with exit code 75. A comparison\n"
        "that was interrupted, or killed at any moment, goes on with --resume.",
    .examples =
        "  wattle compare runs/a/ckpt/last.wtl --data fashion-mnist --dry-run\n"
        "  wattle compare runs/a/ckpt/last.wtl --data fashion-mnist --out runs/c --seeds 3 \\\n"
        "      --methods magnitude-global,magnitude-gradual,energy-aware --budgets 0.6,0.4,0.3",
    .options = options,
    .least_words = 0,
    .most_words = 1,
    .words = "one checkpoint",
    .run = run,
};
