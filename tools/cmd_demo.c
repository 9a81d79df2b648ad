/* cmd_demo.c - wattle demo: the whole story on Fashion-MNIST. Train, estimate, prune by
 * magnitude and by energy, compare, report. */
#include "commands.h"
#include "common/energy_input.h"
#include "common/energy_output.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/prune_options.h"
#include "common/signals.h"
#include "common/training.h"

#include "wattle/compare.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/report.h"

#include <string.h>

static const char NET[] = "alexnet-28", DATA[] = "fashion-mnist", HARDWARE[] = "eyeriss-cvpr17";
static const char *const METHODS[] = {"magnitude-global", "energy-aware"};
static const double BUDGETS[] = {0.5, 0.42, 0.38, 0.35};
enum {
    METHOD_COUNT = sizeof METHODS / sizeof *METHODS,
    BUDGET_COUNT = sizeof BUDGETS / sizeof *BUDGETS,
    HARDWARE_BATCH = 44
};

typedef struct demo_args {
    char out[1024];
    int epochs;
    double tuning;
    bool force;
} demo_args;

/* Where things are. */
typedef struct demo_paths {
    char *trained, *compare, *compare_config, *report;
} demo_paths;

#define ARG(field) offsetof(demo_args, field), sizeof(((demo_args *)0)->field)
static const wtl_option options[] = {
    {"out", NULL, "DIR", "the folder of the demo (default wattle-demo)", "Options",
     WTL_OPTION_TEXT, 'o', ARG(out), 0, 0, NULL},
    {"epochs", NULL, "N", "passes over the data in training (default 3)", NULL, WTL_OPTION_INT,
     0, ARG(epochs), 1, 1000, NULL},
    {"final-epochs", NULL, "E", "epochs of fine-tuning to each energy budget (default\n0.5)",
     NULL, WTL_OPTION_DOUBLE, 0, ARG(tuning), 0, 1000, NULL},
    {"force", NULL, NULL, "start anew where a demo has been", NULL, WTL_OPTION_FLAG, 0,
     ARG(force), 0, 0, NULL},
    {0},
};

static void free_paths(demo_paths *p)
{
    wtl_free(p->trained);
    wtl_free(p->compare);
    wtl_free(p->compare_config);
    wtl_free(p->report);
}

static wtl_status make_paths(demo_paths *p, const char *out, wtl_error *err)
{
    *p = (demo_paths){.trained = wtl_path_join(out, "ckpt/last.wtl"),
                      .compare = wtl_path_join(out, "compare"),
                      .compare_config = wtl_path_join(out, "compare/config.json"),
                      .report = wtl_path_join(out, "report.html")};
    return p->trained && p->compare && p->compare_config && p->report
               ? WTL_OK
               : wtl_fail(err, WTL_E_NOMEM, "out of memory for the paths");
}

static void chapter(const wtl_common *common, int number, const char *what)
{
    if (!common->quiet) {
        fprintf(stderr, "\n[%d/4] %s\n", number, what);
    }
}

/* ---- the chapters ---- */

static int train(const wtl_parsed *parsed, const demo_args *args, bool resume,
                 wtl_train_result *result)
{
    char again[1100];
    wtl_train_options o;
    wtl_train_defaults(&o);
    snprintf(o.net, sizeof o.net, "%s", NET);
    snprintf(o.data, sizeof o.data, "%s", DATA);
    snprintf(o.augment, sizeof o.augment, "%s", wtl_cli_suitable_augment(DATA, 28));
    snprintf(again, sizeof again, "wattle demo --out %s", args->out);
    o.epochs = resume && !wtl_option_given(parsed, "epochs") ? 0 : args->epochs;
    o.seed = parsed->common.seed;
    o.threads = parsed->common.threads;
    return wtl_cli_run_training(&parsed->common, args->out, &o, resume, args->force, again,
                                result);
}

static wtl_status estimate(const demo_paths *paths, const wtl_common *common,
                           wtl_energy_report *report, wtl_error *err)
{
    enum { IMAGES = 256 };
    char data[64];
    snprintf(data, sizeof data, "%s@train", DATA);
    const wtl_energy_input input = {.what = paths->trained,
                                    .data = data,
                                    .images = IMAGES,
                                    .batch = HARDWARE_BATCH,
                                    .workers = 1};
    wtl_hardware hardware;
    wtl_workload work = {0};
    wtl_status status = wtl_hardware_load(&hardware, HARDWARE, err);
    if (status == WTL_OK) {
        status = wtl_energy_input_load(&work, &input, common, err);
    }
    if (status == WTL_OK) {
        status = wtl_energy_estimate(report, &hardware, &work, NULL, err);
    }
    wtl_workload_clear(&work);
    return status;
}

static void plan(wtl_compare_options *c, const demo_args *args, const demo_paths *paths,
                 const wtl_common *common)
{
    wtl_prune_options *o = &c->prune;
    wtl_prune_defaults(o);
    snprintf(o->checkpoint, sizeof o->checkpoint, "%s", paths->trained);
    snprintf(o->data, sizeof o->data, "%s", DATA);
    snprintf(o->augment, sizeof o->augment, "%s", wtl_cli_suitable_augment(DATA, 28));
    o->pricing.batch = HARDWARE_BATCH;
    o->rounds = 1;
    o->final_epochs = args->tuning;
    o->finetune.rate = 0.02;
    o->finetune.distill = 0.7;
    o->finetune.temperature = 3.0;
    o->seed = common->seed;
    o->threads = common->threads;
    for (int m = 0; m < METHOD_COUNT; m++) {
        snprintf(c->methods[m], sizeof c->methods[m], "%s", METHODS[m]);
    }
    memcpy(c->budgets, BUDGETS, sizeof BUDGETS);
    c->method_count = METHOD_COUNT;
    c->budget_count = BUDGET_COUNT;
    c->seeds = 1;
    c->max_drop = 1.0;
}

static wtl_status compare(const demo_args *args, const demo_paths *paths,
                          const wtl_common *common, wtl_comparison *result, wtl_error *err)
{
    static wtl_compare_options c; /* tens of kilobytes */
    wtl_progress progress;
    bool resume = !args->force && wtl_file_exists(paths->compare_config);
    plan(&c, args, paths, common);
    wtl_progress_begin(&progress, common);
    wtl_prune_hooks hooks = wtl_cli_prune_hooks(&progress);
    wtl_status status =
        wtl_compare(paths->compare, &c, resume, args->force, &hooks, result, err);
    wtl_progress_end(&progress);
    return status;
}

/* ---- results ---- */

static int print_json(const wtl_command *command, const demo_args *args,
                      const wtl_train_result *r, const wtl_energy_report *energy,
                      const wtl_comparison *comparison, const demo_paths *paths)
{
    return wtl_cli_print_json(command, json_pack("{s:o, s:s, s:s, s:i, s:o, s:o, s:o, s:o}",
                                                 "run", wtl_json_string(args->out), "net", NET,
                                                 "data", DATA, "epochs", r->epochs, "val_top1",
                                                 wtl_json_real(r->val_top1), "dense_energy",
                                                 wtl_json_real(energy->total), "comparison",
                                                 wtl_comparison_to_json(comparison), "report",
                                                 wtl_json_string(paths->report)));
}

static int print_text(const demo_args *args, const wtl_energy_report *energy,
                      const wtl_comparison *comparison)
{
    const char *out = args->out;
    char *table = wtl_comparison_table(comparison);
    if (!table) {
        wtl_error err;
        (void)wtl_fail(&err, WTL_E_NOMEM, "out of memory for the tables");
        return wtl_cli_report(&err);
    }
    wtl_energy_print(energy, true, false);
    printf("\n%s\n", table);
    wtl_free(table);
    printf("What it left in %s:\n"
           "  report.html               all of it on one page: open it in a browser\n"
           "  ckpt/last.wtl             the trained network\n"
           "  compare/runs/*/ckpt/      the pruned ones, at-F.wtl for each budget F\n"
           "  compare/summary.md        the tables; compare/plots/*.svg the pictures\n\n",
           out);
    printf("Go on with:\n"
           "  wattle energy %s/ckpt/last.wtl --data fashion-mnist\n"
           "  wattle prune %s/ckpt/last.wtl --data fashion-mnist --max-drop 1 --out pruned\n"
           "  wattle eval pruned/ckpt/pruned.wtl --data fashion-mnist@test\n",
           out, out);
    return WTL_EXIT_DONE;
}

/* ---- all of it ---- */

static wtl_status tell(const wtl_parsed *parsed, const demo_args *args, const demo_paths *paths,
                       const wtl_train_result *trained, int *code, wtl_error *err)
{
    wtl_energy_report energy = {0};
    wtl_comparison comparison = {0};
    chapter(&parsed->common, 2, "estimate the energy of every layer");
    wtl_status status = estimate(paths, &parsed->common, &energy, err);
    chapter(&parsed->common, 3, "prune by magnitude and by energy, from the same network");
    if (status == WTL_OK) {
        status = compare(args, paths, &parsed->common, &comparison, err);
    }
    chapter(&parsed->common, 4, "report");
    if (status == WTL_OK) {
        status = wtl_report_write(paths->compare, paths->report, err);
    }
    if (status == WTL_OK) {
        *code = parsed->common.json
                    ? print_json(parsed->command, args, trained, &energy, &comparison, paths)
                    : print_text(args, &energy, &comparison);
    }
    wtl_comparison_clear(&comparison);
    wtl_energy_report_clear(&energy);
    return status;
}

static int report_failure(wtl_status status, const wtl_error *err, const char *out)
{
    return status == WTL_E_STOPPED ? wtl_cli_report_stopped(err, "wattle demo --out %s", out)
                                   : wtl_cli_report(err);
}

static int run(const wtl_command *command, int argc, char **argv)
{
    demo_args args = {.out = "wattle-demo", .epochs = 3, .tuning = 0.5};
    demo_paths paths;
    wtl_parsed parsed;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    wtl_error err = {0};
    wtl_train_result trained = {0};
    bool resume = false;
    if (!args.force && wtl_cli_has_run(args.out, &resume, &err) != WTL_OK) {
        return wtl_cli_report(&err);
    }
    if (resume && wtl_option_given(&parsed, "seed")) {
        return wtl_cli_usage_error(command,
                                   "--seed cannot change the demo in %s that goes on: "
                                   "leave it out, or add --force",
                                   args.out);
    }
    chapter(&parsed.common, 1, "train a small AlexNet on Fashion-MNIST");
    int code = train(&parsed, &args, resume, &trained);
    if (code) {
        return code;
    }
    wtl_status status = make_paths(&paths, args.out, &err);
    if (status == WTL_OK) {
        status = tell(&parsed, &args, &paths, &trained, &code, &err);
    }
    free_paths(&paths);
    return status == WTL_OK ? code : report_failure(status, &err, args.out);
}

const wtl_command wtl_command_demo = {
    .name = "demo",
    .line = "the whole story: train, estimate, prune, compare, report",
    .usage = "[OPTION...]",
    .about =
        "Trains a small AlexNet-shaped network (alexnet-28) on Fashion-MNIST, estimates what\n"
        "each of its layers costs in energy, prunes it by magnitude and by energy to the same\n"
        "budgets, and compares both at the same accuracy on the test images: in a few minutes\n"
        "on two processors, and then all of it is one page, DIR/report.html. The data are the\n"
        "Debian package dataset-fashion-mnist. A demo that was interrupted goes on where it\n"
        "stopped.",
    .examples = "  wattle demo\n"
                "  wattle demo --out /tmp/demo --epochs 1",
    .options = options,
    .least_words = 0,
    .most_words = 0,
    .words = "no arguments",
    .run = run,
};
