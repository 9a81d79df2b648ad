/* cmd_prune.c - wattle prune. */
#include "commands.h"
#include "common/kernel_cache.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/prune_options.h"
#include "common/signals.h"
#include "common/speed_output.h"
#include "common/training.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct prune_args {
    wtl_prune_options o;
    wtl_prune_extra x;
    char out[1024];
    bool resume, force, dry_run, methods;
} prune_args;

#define ARG(field) WTL_AT(prune_args, field)
static const wtl_option options[] = {
    {"method", NULL, "NAME", "a name of --methods (default energy-aware)", "What",
     WTL_OPTION_TEXT, 'm', ARG(o.method), 0, 0, NULL},
    {"data", "data-path", "DATA", "training and validation images, as for 'wattle train'", NULL,
     WTL_OPTION_TEXT, 0, ARG(o.data), 0, 0, NULL},
    {"out", "output-dir", "RUN", "the folder of the run", NULL, WTL_OPTION_TEXT, 'o', ARG(out),
     0, 0, NULL},
    {"resume", NULL, NULL,
     "go on with the run in RUN; a finished one goes on to\na harder goal", NULL,
     WTL_OPTION_FLAG, 0, ARG(resume), 0, 0, NULL},
    {"force", NULL, NULL, "start anew in a RUN that holds one", NULL, WTL_OPTION_FLAG, 0,
     ARG(force), 0, 0, NULL},
    {"dry-run", NULL, NULL, "only tell what is reachable and what each layer costs", NULL,
     WTL_OPTION_FLAG, 'n', ARG(dry_run), 0, 0, NULL},
    {"methods", NULL, NULL, "list the methods: which weights stay", NULL, WTL_OPTION_FLAG, 0,
     ARG(methods), 0, 0, NULL},

    {"target-energy", NULL, "F", "the energy to reach, as a share of the dense network's",
     "Goal", WTL_OPTION_DOUBLE, 't', ARG(o.target_energy), 1e-6, 1, NULL},
    {"max-drop", NULL, "P",
     "the most points of accuracy that may be lost on the\nvalidation images", NULL,
     WTL_OPTION_DOUBLE, 'd', ARG(o.max_drop), 0, 100, NULL},
    {"metric", NULL, "NAME", "top1 or top5 (default top1)", NULL, WTL_OPTION_CHOICE, 0,
     ARG(x.metric), 0, 0, wtl_metric_words},
    {"rounds", NULL, "N", "rounds to the target energy (default 6)", NULL, WTL_OPTION_INT, 0,
     ARG(o.rounds), 1, 1000, NULL},
    {"step", NULL, "F",
     "without a target: what a round leaves of the energy above\nthe floor (default 0.7)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.step), 0.01, 0.99, NULL},
    {"refinements", NULL, "N",
     "how often to go back and try a smaller step once too much\n"
     "was lost (default 2; -1: never)",
     NULL, WTL_OPTION_INT, 0, ARG(o.refinements), -1, 100, NULL},

    WTL_PRUNE_ENERGY_ROWS(prune_args, o, x),
    WTL_PRUNE_RECIPE_ROWS(prune_args, o, x),
    WTL_PRUNE_METHOD_ROWS(prune_args, o, x),
    WTL_PRUNE_RUNNING_ROWS(prune_args, o),
    {0},
};

/* ---- options that make no sense ---- */

static int check_resume(const prune_args *args, const wtl_parsed *parsed)
{
    static const char *const allowed[] = {"resume",  "out",   "target-energy", "max-drop",
                                          "rounds",  "quiet", "color",         "json",
                                          "threads", NULL};
    int code = wtl_options_check_resume(parsed, args->out, allowed, "run", "RUN");
    return code || !parsed->word_count
               ? code
               : wtl_cli_usage_error(parsed->command,
                                     "the checkpoint of a run that is resumed is "
                                     "in RUN: leave %s out",
                                     parsed->words[0]);
}

static int check_new(const prune_args *args, const wtl_parsed *parsed)
{
    const char *missing = parsed->word_count == 0           ? "CKPT"
                          : !args->o.data[0]                ? "--data DATA"
                          : !args->dry_run && !args->out[0] ? "--out RUN"
                                                            : NULL;
    if (missing) {
        return wtl_cli_usage_error(parsed->command, "%s is missing", missing);
    }
    if (!args->dry_run && args->o.target_energy <= 0 && args->o.max_drop < 0) {
        return wtl_cli_usage_error(parsed->command,
                                   "give a goal: --target-energy F, --max-drop P or both");
    }
    if (args->o.target_energy > 0 && (wtl_option_given(parsed, "step"))) {
        return wtl_cli_usage_error(
            parsed->command, "--step goes without --target-energy; with it, --rounds says "
                             "how many steps there are");
    }
    if (strlen(parsed->words[0]) >= sizeof args->o.checkpoint) {
        return wtl_cli_usage_error(parsed->command, "the path of the checkpoint is too long");
    }
    return WTL_EXIT_DONE;
}

static int list_methods(void)
{
    for (int i = 0; wtl_method_at(i); i++) {
        printf("%-22s %s\n", wtl_method_at(i)->name, wtl_method_at(i)->line);
    }
    return WTL_EXIT_DONE;
}

/* ---- dry run ---- */

static json_t *preflight_json(const wtl_preflight *p, const wtl_speed *speed)
{
    json_t *layers = json_array();
    for (int i = 0; i < p->layer_count; i++) {
        const wtl_preflight_layer *l = &p->layers[i];
        json_array_append_new(
            layers,
            json_pack("{s:s, s:I, s:I, s:I, s:o, s:o, s:o}", "layer", l->name, "weights",
                      (json_int_t)l->weights, "kept", (json_int_t)l->kept, "least",
                      (json_int_t)l->least, "macs", wtl_json_real(l->macs), "energy",
                      wtl_json_real(l->energy), "floor", wtl_json_real(l->floor)));
    }
    return json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:I, s:I, s:o, s:o}", "net",
                     p->net, "hardware", p->hardware, "dense_energy", wtl_json_real(p->dense),
                     "floor", wtl_json_real(p->floor / p->dense), "top1",
                     wtl_json_real(p->top1), "top5", wtl_json_real(p->top5), "loss",
                     wtl_json_real(p->loss), "floor_energy", wtl_json_real(p->floor),
                     "train_images", (json_int_t)p->train_images, "val_images",
                     (json_int_t)p->val_images, "search_images", (json_int_t)p->search_images,
                     "speed", wtl_speed_to_json(speed), "layers", layers);
}

static void print_preflight(const wtl_preflight *p, const wtl_speed *speed)
{
    printf("%s on %s, zeros of activations measured on %ld training images\n\n", p->net,
           p->hardware, p->search_images);
    printf("%-20s %12s %12s %14s %14s %8s %14s\n", "layer", "weights", "may go", "MACs",
           "energy", "share", "floor");
    for (int i = 0; i < p->layer_count; i++) {
        const wtl_preflight_layer *l = &p->layers[i];
        printf("%-20s %12s %12s %14s %14.0f %7.2f%% %14.0f\n", l->name,
               wtl_cli_grouped(l->weights), wtl_cli_grouped(l->kept - l->least),
               wtl_cli_grouped((uint64_t)l->macs), l->energy, 100.0 * l->energy / p->dense,
               l->floor);
    }
    printf("\ndense energy   %.6g an image\n", p->dense);
    printf("floor          %.4g of it: what is left, mostly of feature maps, with every weight "
           "gone that\n"
           "               may go\n",
           p->floor / p->dense);
    printf("accuracy       Acc@1 %.2f Acc@5 %.2f on %ld validation images\n", p->top1, p->top5,
           p->val_images);
    printf("images         %ld to train on (search images are some of them), %ld to judge by\n",
           p->train_images, p->val_images);
    wtl_speed_print_prospect(speed, "speed          ");
    puts("               Energies are estimated by a model.");
}

static int dry_run(const prune_args *args, const wtl_command *command, bool json)
{
    wtl_preflight preflight;
    wtl_error err = {0};
    wtl_status status = wtl_prune_preflight(&preflight, &args->o, &err);
    int code = status == WTL_OK ? WTL_EXIT_DONE : wtl_cli_report(&err);
    wtl_speed speed = {.layers = NULL};
    if (preflight.layers) {
        wtl_kernel_costs costs = wtl_kernel_cache_load(WTL_ISA_BEST);
        status = wtl_speed_of_file(&speed, args->o.checkpoint, &costs, &err);
    }
    if (preflight.layers && status != WTL_OK && !code) {
        code = wtl_cli_report(&err);
    } else if (preflight.layers && json) {
        int printed = wtl_cli_print_json(command, preflight_json(&preflight, &speed));
        code = code ? code : printed;
    } else if (preflight.layers) {
        print_preflight(&preflight, &speed);
    }
    wtl_speed_clear(&speed);
    wtl_preflight_clear(&preflight);
    return code;
}

/* ---- the run ---- */

static int print_json(const wtl_command *command, const char *out, const wtl_prune_result *r,
                      const wtl_speed *speed)
{
    return wtl_cli_print_json(
        command,
        json_pack(
            "{s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, "
            "s:I, s:o, s:i, s:o, s:o, s:o, s:o}",
            "run", wtl_json_string(out), "met", (int)r->met, "why", wtl_json_string(r->why),
            "energy_asked", wtl_json_real(r->energy_asked), "energy", wtl_json_real(r->energy),
            "energy_held_out", wtl_json_real(r->energy_held_out), "dense_energy",
            wtl_json_real(r->dense_energy), "pruned_energy", wtl_json_real(r->pruned_energy),
            "floor", wtl_json_real(r->floor), "drop_asked", wtl_json_real(r->drop_asked),
            "drop", wtl_json_real(r->drop), "dense_top1", wtl_json_real(r->dense_top1),
            "dense_top5", wtl_json_real(r->dense_top5), "top1", wtl_json_real(r->top1), "top5",
            wtl_json_real(r->top5), "val_images", (json_int_t)r->val_images, "density",
            wtl_json_real(r->density), "rounds", r->rounds, "epochs", wtl_json_real(r->epochs),
            "seconds", wtl_json_real(r->seconds), "peak_bytes", wtl_json_real(r->peak_bytes),
            "speed", wtl_speed_to_json(speed)));
}

static void print_text(const char *out, const wtl_prune_result *r, const char *network,
                       const wtl_speed *speed)
{
    char asked[2][64] = {"nothing", "nothing"}, took[32];
    if (!isnan(r->energy_asked)) {
        snprintf(asked[0], sizeof asked[0], "%.4g", r->energy_asked);
    }
    if (!isnan(r->drop_asked)) {
        snprintf(asked[1], sizeof asked[1], "at most %g", r->drop_asked);
    }
    wtl_cli_format_seconds(r->seconds, took);
    printf("%s%s%s\n", r->met ? "goal met" : "GOAL NOT MET", r->why[0] ? ": " : "", r->why);
    printf(
        "energy    %.4f of dense (asked %s; %.4f on held-out images; floor %.4f), estimated\n",
        r->energy, asked[0], r->energy_held_out, r->floor);
    printf("accuracy  Acc@1 %.2f Acc@5 %.2f on %ld validation images; dense %.2f, %.2f\n",
           r->top1, r->top5, r->val_images, r->dense_top1, r->dense_top5);
    printf("drop      %.2f points (asked %s)\n", r->drop, asked[1]);
    printf("weights   %.2f %% kept\n", 100.0 * r->density);
    wtl_speed_print(speed, "speed     ", network);
    printf("cost      %d rounds, %.2f epochs of fine-tuning, %s, %.0f MB\n", r->rounds,
           r->epochs, took, r->peak_bytes / 1e6);
    printf("\nthe network is %s; 'wattle report %s' makes a page of the run\n", network, out);
}

/* Of a finished run. */
static int print_result(const prune_args *args, const wtl_parsed *parsed,
                        const wtl_prune_result *result, const wtl_kernel_costs *costs)
{
    wtl_error err = {0};
    wtl_speed speed;
    char *network = wtl_format("%s/ckpt/pruned.wtl", args->out);
    wtl_status status = network ? wtl_speed_of_file(&speed, network, costs, &err)
                                : wtl_fail(&err, WTL_E_NOMEM, "out of memory");
    int code = status == WTL_OK ? WTL_EXIT_DONE : wtl_cli_report(&err);
    if (status == WTL_OK && parsed->common.json) {
        code = print_json(parsed->command, args->out, result, &speed);
    } else if (status == WTL_OK) {
        print_text(args->out, result, network, &speed);
    }
    if (status == WTL_OK) {
        wtl_speed_clear(&speed);
    }
    wtl_free(network);
    return code;
}

/* Whether there is something to go on with; progress is shown by `show`. */
typedef struct watch {
    wtl_prune_hooks show;
    bool saved;
} watch;

static void on_event(void *context, const wtl_prune_event *event)
{
    watch *w = context;
    w->saved = w->saved || event->kind == WTL_PRUNE_SAVED;
    w->show.event(w->show.context, event);
}

static int report_stopped(const prune_args *args, bool saved, const wtl_error *err)
{
    return saved || args->resume
               ? wtl_cli_report_stopped(err, "wattle prune --resume --out %s", args->out)
               : wtl_cli_report(err);
}

static int prune(const prune_args *args, const wtl_parsed *parsed)
{
    wtl_error err = {0};
    wtl_prune_result result = {0};
    wtl_progress progress;
    wtl_signals_catch();
    wtl_progress_begin(&progress, &parsed->common);
    watch w = {.show = wtl_cli_prune_hooks(&progress)};
    wtl_prune_hooks hooks = w.show;
    hooks.event = on_event;
    hooks.context = &w; /* the others take none */
    wtl_status status =
        wtl_prune(args->out, &args->o, args->resume, args->force, &hooks, &result, &err);
    wtl_progress_end(&progress);
    if (status == WTL_E_STOPPED) {
        return report_stopped(args, w.saved, &err);
    }
    bool finished = status == WTL_OK || (status == WTL_E_GOAL && result.dense_energy > 0);
    int code = finished ? print_result(args, parsed, &result, hooks.costs) : WTL_EXIT_DONE;
    if (code) {
        return code;
    }
    return status == WTL_OK ? WTL_EXIT_DONE : wtl_cli_report(&err);
}

static int run(const wtl_command *command, int argc, char **argv)
{
    static prune_args args; /* tens of kilobytes */
    wtl_parsed parsed;
    wtl_prune_defaults(&args.o);
    args.o.augment[0] = '\0';
    wtl_prune_extra_begin(&args.x, &args.o);
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    if (args.methods) {
        return list_methods();
    }
    int code = args.resume ? check_resume(&args, &parsed) : check_new(&args, &parsed);
    code = code ? code : wtl_prune_extra_end(&args.x, &args.o, &parsed);
    if (code) {
        return code;
    }
    if (args.resume) {
        args.o.rounds = wtl_option_given(&parsed, "rounds") ? args.o.rounds : 0;
    } else {
        snprintf(args.o.checkpoint, sizeof args.o.checkpoint, "%s", parsed.words[0]);
        wtl_cli_augment_of(&args.o);
    }
    return args.dry_run ? dry_run(&args, command, parsed.common.json) : prune(&args, &parsed);
}

const wtl_command wtl_command_prune = {
    .name = "prune",
    .line = "prune a network to an energy budget or an accuracy limit",
    .usage = "CKPT --data DATA --out RUN --target-energy F|--max-drop P [OPTION...]\n"
             "       wattle prune --resume --out RUN [--target-energy F] [--max-drop P]\n"
             "       wattle prune --methods",
    .about =
        "Takes a trained checkpoint and returns a network that meets the goal, or says that "
        "it\n"
        "could not. In rounds, a method decides which weights go, the network is fine-tuned\n"
        "with the pruned weights held at zero, and batch norm is recalibrated; then the "
        "energy\n"
        "is estimated anew, with the zeros of its activations counted on search images, and\n"
        "the accuracy is judged on the validation images: those that the checkpoint's "
        "training\n"
        "held out. Search images are some of the training images. Test images are not\n"
        "touched. --dry-run tells what can be saved; whether the pruned network runs faster\n"
        "here is predicted at the end, layer by layer ('wattle bench' measures it).\n"
        "\n"
        "With --target-energy the run goes to that energy in --rounds steps; with --max-drop\n"
        "alone it goes down step by step until more is lost, and returns the last network "
        "that\n"
        "held; with both it goes towards the target as long as the limit allows. The result "
        "is\n"
        "RUN/ckpt/pruned.wtl, what was asked and got RUN/certificate.json, every decision\n"
        "RUN/plan.jsonl. Exit code 2: a goal was not met, or cannot be.\n"
        "\n"
        "SIGINT (Ctrl-C), SIGTERM and SIGUSR1 save and leave with exit code 75. A run that "
        "was\n"
        "interrupted, or killed at any moment, goes on with --resume to the same result.",
    .examples = "  wattle prune runs/a/ckpt/last.wtl --data fashion-mnist --dry-run\n"
                "  wattle prune runs/a/ckpt/last.wtl --data fashion-mnist --target-energy 0.4 "
                "--out runs/p\n"
                "  wattle prune --resume --out runs/p --target-energy 0.35\n"
                "  wattle prune runs/a/ckpt/last.wtl --data fashion-mnist --max-drop 1 "
                "--method magnitude-global --out runs/m",
    .options = options,
    .least_words = 0,
    .most_words = 1,
    .words = "one checkpoint",
    .run = run,
};
