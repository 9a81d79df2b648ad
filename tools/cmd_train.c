/* cmd_train.c - wattle train. */
#include "commands.h"
#include "common/model.h"
#include "common/output.h"
#include "common/prune_options.h"
#include "common/training.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/zoo.h"

#include <jansson.h>
#include <string.h>

typedef struct train_args {
    wtl_train_options o;
    int optimizer, schedule, engine; /* enums of `o` as the option table wants them */
    char out[1024], config[1024];
    bool resume, force;
} train_args;

static const char *const schedule_words[] = {[WTL_SCHEDULE_CONSTANT] = "constant",
                                             [WTL_SCHEDULE_STEP] = "step",
                                             [WTL_SCHEDULE_COSINE] = "cosine",
                                             [WTL_SCHEDULE_ONECYCLE] = "onecycle",
                                             NULL};

#define ARG(field) offsetof(train_args, field), sizeof(((train_args *)0)->field)
static const wtl_option options[] = {
    {"net", "model", "NET",
     "a zoo name ('wattle info --zoo') or a file of network text;\n"
     "':width=W' and ':classes=K' may follow",
     "What", WTL_OPTION_TEXT, 0, ARG(o.net), 0, 0, NULL},
    {"data", "data-path", "DATA", "what to train on, see above", NULL, WTL_OPTION_TEXT, 0,
     ARG(o.data), 0, 0, NULL},
    {"out", "output-dir", "RUN", "the folder of the run", NULL, WTL_OPTION_TEXT, 'o', ARG(out),
     0, 0, NULL},
    {"from", "weights", "CKPT", "start from the weights of a checkpoint", NULL, WTL_OPTION_TEXT,
     0, ARG(o.from), 0, 0, NULL},
    {"resume", NULL, NULL, "go on with the interrupted run in RUN, bit for bit", NULL,
     WTL_OPTION_FLAG, 0, ARG(resume), 0, 0, NULL},
    {"force", NULL, NULL, "start anew in a RUN that has a checkpoint", NULL, WTL_OPTION_FLAG, 0,
     ARG(force), 0, 0, NULL},
    {"config", NULL, "FILE", "options from a run's config.json; others here override", NULL,
     WTL_OPTION_TEXT, 0, ARG(config), 0, 0, NULL},

    {"epochs", NULL, "N", "passes over the data (default 10)", "How", WTL_OPTION_INT, 0,
     ARG(o.epochs), 1, 100000, NULL},
    {"batch", "batch-size", "N", "images in a step (default 128)", NULL, WTL_OPTION_INT, 'b',
     ARG(o.batch), 1, 65536, NULL},
    {"optimizer", "opt", "NAME", "sgd, nesterov or adam (decoupled decay; default nesterov)",
     NULL, WTL_OPTION_CHOICE, 0, ARG(optimizer), 0, 0, wtl_optimizer_words},
    {"lr", NULL, "RATE", "the largest learning rate (default 0.1; adam 0.001)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.schedule.peak), 1e-12, 1e6, NULL},
    {"momentum", NULL, "M", "momentum; adam's beta1 (default 0.9)", NULL, WTL_OPTION_DOUBLE, 0,
     ARG(o.optimizer.momentum), 0, 0.999999, NULL},
    {"weight-decay", "wd", "D", "weight decay (default 0.0005)", NULL, WTL_OPTION_DOUBLE, 0,
     ARG(o.optimizer.weight_decay), 0, 1, NULL},
    {"decay-all", NULL, NULL, "biases and norm parameters decay, too", NULL, WTL_OPTION_FLAG, 0,
     ARG(o.optimizer.decay_all), 0, 0, NULL},
    {"schedule", "lr-scheduler", "NAME",
     "constant, step, cosine or onecycle (default onecycle)", NULL, WTL_OPTION_CHOICE, 0,
     ARG(schedule), 0, 0, schedule_words},
    {"warmup", "lr-warmup-epochs", "EPOCHS",
     "epochs of rising rate (default 0; onecycle: 30 % of all)", NULL, WTL_OPTION_DOUBLE, 0,
     ARG(o.schedule.warmup_epochs), 0, 1e5, NULL},
    {"step-epochs", "lr-step-size", "EPOCHS", "step: epochs between two drops", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.schedule.step_epochs), 1e-3, 1e5, NULL},
    {"gamma", "lr-gamma", "F", "step: what a drop multiplies the rate by", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.schedule.gamma), 1e-9, 1, NULL},
    {"final-share", NULL, "F", "cosine, onecycle: the last rate as a share of --lr", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.schedule.final_share), 0, 1, NULL},
    {"label-smoothing", NULL, "S", "share of the target spread over all classes (default 0)",
     NULL, WTL_OPTION_FLOAT, 0, ARG(o.smoothing), 0, 0.999, NULL},
    {"clip", "clip-grad-norm", "NORM", "largest l2 norm of the gradient (default: any)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.optimizer.clip_norm), 1e-12, 1e9, NULL},
    {"ema", "model-ema-decay", "D",
     "evaluate and keep an average of the weights with\nthis decay (default: none)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.optimizer.ema), 1e-6, 0.999999999, NULL},

    {"augment", NULL, "NAME",
     "none, flip, cifar (shift by 4, flip), imagenet (resized\n"
     "crop, flip) or caffe (crop, flip); default: fashion-mnist\n"
     "flip, idx none, others cifar up to 64 pixels, else\nimagenet",
     "Images", WTL_OPTION_TEXT, 0, ARG(o.augment), 0, 0, wtl_augment_words},
    {"cutout", NULL, "PIXELS", "side of a square that is blanked (default 0: none)", NULL,
     WTL_OPTION_INT, 0, ARG(o.cutout), 0, 4096, NULL},
    {"val-share", NULL, "F",
     "share of the training images held out for validation\n"
     "(default 0.1)",
     NULL, WTL_OPTION_DOUBLE, 0, ARG(o.val_share), 1e-6, 0.9, NULL},
    {"whole-train", NULL, NULL, "train on all images: no validation, no best.wtl", NULL,
     WTL_OPTION_FLAG, 0, ARG(o.whole_train), 0, 0, NULL},
    {"workers", NULL, "N", "decoding threads (default 1)", NULL, WTL_OPTION_INT, 'j',
     ARG(o.workers), 1, 256, NULL},

    {"engine", NULL, "NAME", "native, blas or reference (plain loops, slow)", "Running",
     WTL_OPTION_CHOICE, 0, ARG(engine), 0, 0, wtl_engine_words},
    {"save-minutes", NULL, "M", "minutes between two checkpoints (default 5)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.save_minutes), 1e-4, 1e6, NULL},
    {0},
};

/* ---- options ---- */

static void enums_out(train_args *args)
{
    args->optimizer = (int)args->o.optimizer.kind;
    args->schedule = (int)args->o.schedule.kind;
    args->engine = (int)args->o.engine;
}

static void enums_in(train_args *args)
{
    args->o.optimizer.kind = (wtl_optimizer_kind)args->optimizer;
    args->o.schedule.kind = (wtl_schedule_kind)args->schedule;
    args->o.engine = (wtl_engine)args->engine;
}

static wtl_status read_config(wtl_train_options *o, const char *file, wtl_error *err)
{
    enum { MOST_BYTES = 1 << 20 };
    unsigned char *bytes = NULL;
    size_t length = 0;
    json_error_t where;
    wtl_status status = wtl_file_read(file, MOST_BYTES, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    json_t *json = json_loadb((const char *)bytes, length, JSON_REJECT_DUPLICATES, &where);
    status = json ? wtl_train_options_from_json(o, json, file, err)
                  : wtl_fail(err, WTL_E_FORMAT, "%s:%d:%d: not JSON: %s", file, where.line,
                             where.column, where.text);
    json_decref(json);
    wtl_free(bytes);
    return status;
}

/* Options that a file or several options together decide. */
static void fill_defaults(train_args *args, const wtl_parsed *parsed)
{
    wtl_train_options *o = &args->o;
    bool chosen = args->config[0] != '\0';
    if (o->optimizer.kind == WTL_OPTIMIZER_ADAM && !wtl_option_given(parsed, "lr") && !chosen) {
        o->schedule.peak = 0.001;
    }
    if (!wtl_option_given(parsed, "augment") && !chosen) {
        wtl_netdef *def = NULL;
        int side = wtl_netdef_load(&def, o->net, 0, NULL) == WTL_OK ? def->input.h : 0;
        wtl_netdef_free(def);
        snprintf(o->augment, sizeof o->augment, "%s", wtl_cli_suitable_augment(o->data, side));
    }
    if (wtl_option_given(parsed, "seed") || !chosen) {
        o->seed = parsed->common.seed;
    }
    if (wtl_option_given(parsed, "threads") || !chosen) {
        o->threads = parsed->common.threads;
    }
}

/* The command line over the config file over the defaults. False: leave with *code. */
static bool read_options(train_args *args, wtl_parsed *parsed, const wtl_command *command,
                         int argc, char **argv, int *code)
{
    *args = (train_args){0};
    wtl_train_defaults(&args->o);
    enums_out(args);
    *code = WTL_EXIT_DONE;
    if (!wtl_options_parse(parsed, command, args, argc, argv)) {
        *code = parsed->exit_code;
        return false;
    }
    if (args->config[0]) {
        wtl_error err = {0};
        char file[sizeof args->config];
        memcpy(file, args->config, sizeof file);
        *args = (train_args){0};
        wtl_train_defaults(&args->o);
        if (read_config(&args->o, file, &err) != WTL_OK) {
            *code = wtl_cli_report(&err);
            return false;
        }
        enums_out(args);
        if (!wtl_options_parse(parsed, command, args, argc, argv)) {
            *code = parsed->exit_code;
            return false;
        }
    }
    enums_in(args);
    return true;
}

/* ---- combinations that make no sense ---- */

static int check_resume(const train_args *args, const wtl_parsed *parsed)
{
    static const char *const allowed[] = {"resume", "out",   "epochs", "threads",
                                          "quiet",  "color", "json",   NULL};
    return wtl_options_check_resume(parsed, args->out, allowed, "run", "RUN");
}

static int check_schedule(const train_args *args, const wtl_parsed *parsed)
{
    const wtl_schedule *s = &args->o.schedule;
    bool drops = s->kind == WTL_SCHEDULE_STEP;
    bool falls = s->kind == WTL_SCHEDULE_COSINE || s->kind == WTL_SCHEDULE_ONECYCLE;
    if (!drops && wtl_option_given(parsed, "step-epochs")) {
        return wtl_cli_usage_error(parsed->command, "--step-epochs goes with --schedule step");
    }
    if (!drops && wtl_option_given(parsed, "gamma")) {
        return wtl_cli_usage_error(parsed->command, "--gamma goes with --schedule step");
    }
    if (!falls && wtl_option_given(parsed, "final-share")) {
        return wtl_cli_usage_error(parsed->command,
                                   "--final-share goes with --schedule cosine or onecycle");
    }
    if (s->warmup_epochs > args->o.epochs) {
        return wtl_cli_usage_error(parsed->command, "--warmup %g is longer than --epochs %d",
                                   s->warmup_epochs, args->o.epochs);
    }
    return WTL_EXIT_DONE;
}

static int check_data(const train_args *args, const wtl_parsed *parsed)
{
    const char *at = strrchr(args->o.data, '@');
    if (at && (strcmp(at, "@test") == 0 || strcmp(at, "@val") == 0)) {
        return wtl_cli_usage_error(
            parsed->command, "training takes the train part: leave out '%s' in --data", at);
    }
    if (args->o.whole_train && wtl_option_given(parsed, "val-share")) {
        return wtl_cli_usage_error(
            parsed->command, "--whole-train holds nothing out, so --val-share makes no sense");
    }
    return wtl_cli_check_augment(parsed, args->o.augment);
}

static int check_run(const train_args *args, const wtl_parsed *parsed)
{
    wtl_error err = {0};
    bool there = false;
    if (!args->force && wtl_cli_has_run(args->out, &there, &err) != WTL_OK) {
        return wtl_cli_report(&err);
    }
    return there ? wtl_cli_usage_error(parsed->command,
                                       "%s holds a run already: --resume goes on with it, "
                                       "--force starts anew",
                                       args->out)
                 : WTL_EXIT_DONE;
}

static int check_options(const train_args *args, const wtl_parsed *parsed)
{
    if (args->resume) {
        return check_resume(args, parsed);
    }
    const char *missing = !args->o.net[0]    ? "--net NET"
                          : !args->o.data[0] ? "--data DATA"
                          : !args->out[0]    ? "--out RUN"
                                             : NULL;
    if (missing) {
        return wtl_cli_usage_error(parsed->command, "%s is missing", missing);
    }
    int code = check_data(args, parsed);
    code = code ? code : check_schedule(args, parsed);
    return code ? code : check_run(args, parsed);
}

/* ---- results ---- */

static int print_json(const wtl_command *command, const char *run, const wtl_train_result *r)
{
    return wtl_cli_print_json(
        command,
        json_pack("{s:o, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o}", "run",
                  wtl_json_string(run), "epochs", r->epochs, "train_loss",
                  wtl_json_real(r->train_loss), "train_top1", wtl_json_real(r->train_top1),
                  "val_loss", wtl_json_real(r->val_loss), "val_top1",
                  wtl_json_real(r->val_top1), "val_top5", wtl_json_real(r->val_top5),
                  "best_val_top1", wtl_json_real(r->best_val_top1), "best_epoch", r->best_epoch,
                  "seconds", wtl_json_real(r->seconds)));
}

static int print_text(const char *run, const wtl_train_result *r, bool validated)
{
    if (validated) {
        printf("Acc@1 %.2f Acc@5 %.2f  validation, epoch %d\n", r->val_top1, r->val_top5,
               r->epochs);
        printf("best  %.2f  epoch %d\n", r->best_val_top1, r->best_epoch);
    } else {
        printf("Acc@1 %.2f  training images, epoch %d\n", r->train_top1, r->epochs);
    }
    printf("results are in %s: metrics.csv, ckpt/last.wtl%s, plots/*.svg\n", run,
           validated ? ", ckpt/best.wtl" : "");
    return WTL_EXIT_DONE;
}

static int run(const wtl_command *command, int argc, char **argv)
{
    train_args args;
    wtl_parsed parsed;
    int code;
    if (!read_options(&args, &parsed, command, argc, argv, &code)) {
        return code;
    }
    code = check_options(&args, &parsed);
    if (code) {
        return code;
    }
    if (args.resume) {
        args.o.epochs = wtl_option_given(&parsed, "epochs") ? args.o.epochs : 0;
        args.o.threads = parsed.common.threads;
    } else {
        fill_defaults(&args, &parsed);
    }
    char resume_with[1100];
    snprintf(resume_with, sizeof resume_with, "wattle train --resume --out %s", args.out);
    wtl_train_result result = {0};
    code = wtl_cli_run_training(&parsed.common, args.out, &args.o, args.resume, args.force,
                                resume_with, &result);
    if (code) {
        return code;
    }
    return parsed.common.json ? print_json(command, args.out, &result)
                              : print_text(args.out, &result, result.best_epoch > 0);
}

const wtl_command wtl_command_train = {
    .name = "train",
    .line = "train a network on a data set",
    .usage = "--net NET --data DATA --out RUN [OPTION...]\n"
             "       wattle train --resume --out RUN",
    .about =
        "Trains a network and leaves everything about it in the folder RUN: config.json,\n"
        "env.json, metrics.csv, log.jsonl, ckpt/last.wtl, ckpt/best.wtl and plots/. A part of\n"
        "the training images is held out by the seed; after each epoch Acc@1 and Acc@5 are\n"
        "those of the held-out images. The test images are never touched.\n"
        "\n"
        "DATA is one of\n"
        "  fashion-mnist   the Debian package dataset-fashion-mnist\n"
        "  idx:DIR         MNIST's files: train-images-idx3-ubyte[.gz] and so on\n"
        "  cifar10:DIR     CIFAR-10, binary version\n"
        "  cifar100:DIR    CIFAR-100, binary version\n"
        "  folder:DIR      DIR/train/CLASS/picture, or DIR/CLASS/picture; PNG and JPEG\n"
        "  list:FILE       lines 'path label'\n"
        "\n"
        "SIGINT (Ctrl-C), SIGTERM and SIGUSR1 save and leave with exit code 75; a second one\n"
        "leaves at once. --resume then goes on as if nothing had happened: only --epochs and\n"
        "--threads may be given with it.",
    .examples = "  wattle train --net lenet5 --data fashion-mnist --out runs/first\n"
                "  wattle train --net resnet-20 --data cifar10:DIR --out runs/r20 --epochs 60 "
                "--seed 1\n"
                "  wattle train --resume --out runs/r20",
    .options = options,
    .least_words = 0,
    .most_words = 0,
    .words = "no other arguments",
    .run = run,
};
