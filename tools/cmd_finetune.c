/* cmd_finetune.c - wattle finetune: train a pruned checkpoint further, its masks held. */
#include "commands.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/prune_options.h"
#include "common/signals.h"

#include "wattle/evaluate.h"
#include "wattle/finetune_run.h"
#include "wattle/text.h"

#include <jansson.h>
#include <string.h>

typedef struct finetune_args {
    wtl_finetune_run_options o;
    int optimizer; /* the enum of `o` as the option table wants it */
    char out[1024];
    bool resume, force;
} finetune_args;

#define ARG(field) offsetof(finetune_args, field), sizeof(((finetune_args *)0)->field)
static const wtl_option options[] = {
    {"data", "data-path", "DATA", "what the checkpoint was trained on, no part", "What",
     WTL_OPTION_TEXT, 0, ARG(o.data), 0, 0, NULL},
    {"out", "output-dir", "RUN", "the folder of the run", NULL, WTL_OPTION_TEXT, 'o', ARG(out),
     0, 0, NULL},
    {"masks", NULL, "FILE.npz",
     "prune by these masks first: arrays of 0 and 1 called\nLAYER.weight, as RUN/masks.npz of "
     "'wattle prune'",
     NULL, WTL_OPTION_TEXT, 0, ARG(o.masks), 0, 0, NULL},
    {"resume", NULL, NULL, "go on with the interrupted run in RUN, bit for bit", NULL,
     WTL_OPTION_FLAG, 0, ARG(resume), 0, 0, NULL},
    {"force", NULL, NULL, "start anew in a RUN that has a checkpoint", NULL, WTL_OPTION_FLAG, 0,
     ARG(force), 0, 0, NULL},

    {"epochs", NULL, "E", "passes over the data, fractions too (default 1)", "How",
     WTL_OPTION_DOUBLE, 0, ARG(o.epochs), 1e-9, 1e5, NULL},
    {"lr", NULL, "RATE", "the first learning rate (default 0.01; adam 0.001)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.finetune.rate), 1e-12, 1e6, NULL},
    {"final-share", NULL, "F",
     "the last rate as a share of --lr; between them it falls\n"
     "along half a cosine (default 0)",
     NULL, WTL_OPTION_DOUBLE, 0, ARG(o.finetune.final_share), 0, 1, NULL},
    {"optimizer", "opt", "NAME", "sgd, nesterov or adam (decoupled decay; default nesterov)",
     NULL, WTL_OPTION_CHOICE, 0, ARG(optimizer), 0, 0, wtl_optimizer_words},
    {"momentum", NULL, "M", "momentum; adam's beta1 (default 0.9)", NULL, WTL_OPTION_DOUBLE, 0,
     ARG(o.finetune.optimizer.momentum), 0, 0.999999, NULL},
    {"weight-decay", "wd", "D", "weight decay (default 0.0005)", NULL, WTL_OPTION_DOUBLE, 0,
     ARG(o.finetune.optimizer.weight_decay), 0, 1, NULL},
    {"clip", "clip-grad-norm", "NORM", "largest l2 norm of the gradient (default: any)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.finetune.optimizer.clip_norm), 1e-12, 1e9, NULL},
    {"ema", "model-ema-decay", "D",
     "end with an average of the weights with this decay\n(default: none)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.finetune.optimizer.ema), 1e-6, 0.999999999, NULL},
    {"label-smoothing", "smoothing", "S",
     "share of the target spread over all classes (default 0)", NULL, WTL_OPTION_FLOAT, 0,
     ARG(o.finetune.smoothing), 0, 0.999, NULL},
    {"distill", NULL, "A",
     "weight of the teacher's answers in the loss, 0 to 1\n(default 0: labels alone)", NULL,
     WTL_OPTION_DOUBLE, 0, ARG(o.finetune.distill), 0, 1, NULL},
    {"teacher", NULL, "CKPT", "with --distill: the network to learn from, as the dense one",
     NULL, WTL_OPTION_TEXT, 0, ARG(o.teacher), 0, 0, NULL},
    {"temperature", NULL, "T", "of distillation (default 2)", NULL, WTL_OPTION_DOUBLE, 0,
     ARG(o.finetune.temperature), 0.01, 1000, NULL},
    {"recalibrate", NULL, "N",
     "batches that batch norm is recalibrated over at the end\n(default 50; -1: none)", NULL,
     WTL_OPTION_INT, 0, ARG(o.recalibration), -1, 1e6, NULL},

    {"batch", "batch-size", "N", "images in a step (default 128)", "Images", WTL_OPTION_INT,
     'b', ARG(o.batch), 1, 65536, NULL},
    {"augment", NULL, "NAME",
     "none, flip, cifar, imagenet or caffe, as for 'wattle train'\n"
     "(default: what the checkpoint was trained with)",
     NULL, WTL_OPTION_TEXT, 0, ARG(o.augment), 0, 0, NULL},
    {"workers", NULL, "N", "decoding threads (default 1)", NULL, WTL_OPTION_INT, 'j',
     ARG(o.workers), 1, 256, NULL},
    {"save-minutes", NULL, "M", "minutes between two checkpoints (default 5)", "Running",
     WTL_OPTION_DOUBLE, 0, ARG(o.save_minutes), 1e-4, 1e6, NULL},
    {0},
};

/* ---- options ---- */

static int check_resume(const finetune_args *args, const wtl_parsed *parsed)
{
    static const char *const allowed[] = {"resume", "out",  "threads", "quiet",
                                          "color",  "json", NULL};
    int code = wtl_options_check_resume(parsed, args->out, allowed, "run", "RUN");
    return code || !parsed->word_count
               ? code
               : wtl_cli_usage_error(parsed->command,
                                     "a run that is resumed knows its checkpoint: leave %s out",
                                     parsed->words[0]);
}

static int check_new(const finetune_args *args, const wtl_parsed *parsed)
{
    const char *missing = parsed->word_count == 0 ? "CKPT"
                          : !args->o.data[0]      ? "--data DATA"
                          : !args->out[0]         ? "--out RUN"
                                                  : NULL;
    bool distils = args->o.finetune.distill > 0.0;
    if (missing) {
        return wtl_cli_usage_error(parsed->command, "%s is missing", missing);
    }
    if (strlen(parsed->words[0]) >= sizeof args->o.checkpoint) {
        return wtl_cli_usage_error(parsed->command, "the path of the checkpoint is too long");
    }
    if (distils && !args->o.teacher[0]) {
        return wtl_cli_usage_error(parsed->command, "--distill needs --teacher CKPT");
    }
    if (!distils && (args->o.teacher[0] || wtl_option_given(parsed, "temperature"))) {
        return wtl_cli_usage_error(parsed->command, "--%s goes with --distill A",
                                   args->o.teacher[0] ? "teacher" : "temperature");
    }
    wtl_augment augment;
    if (args->o.augment[0] && !wtl_augment_preset(args->o.augment, &augment)) {
        return wtl_cli_usage_error(parsed->command,
                                   "--augment takes none, flip, cifar, imagenet or caffe, not "
                                   "'%s'",
                                   args->o.augment);
    }
    return WTL_EXIT_DONE;
}

/* What several options together decide, or the checkpoint. */
static void fill_defaults(finetune_args *args, const wtl_parsed *parsed)
{
    static wtl_prune_options like; /* tens of kilobytes */
    wtl_finetune_run_options *o = &args->o;
    snprintf(o->checkpoint, sizeof o->checkpoint, "%s", parsed->words[0]);
    o->finetune.optimizer.kind = (wtl_optimizer_kind)args->optimizer;
    if (o->finetune.optimizer.kind == WTL_OPTIMIZER_ADAM && !wtl_option_given(parsed, "lr")) {
        o->finetune.rate = 0.001;
    }
    o->seed = parsed->common.seed;
    memcpy(like.checkpoint, o->checkpoint, sizeof like.checkpoint);
    memcpy(like.data, o->data, sizeof like.data);
    memcpy(like.augment, o->augment, sizeof like.augment);
    wtl_cli_augment_of(&like);
    memcpy(o->augment, like.augment, sizeof o->augment);
}

/* ---- progress and results ---- */

static void on_event(void *context, const wtl_finetune_event *e)
{
    wtl_progress *progress = context;
    char rest[64] = "";
    switch (e->kind) {
    case WTL_FINETUNE_STAGE:
        if (strcmp(e->stage, "fine-tune") == 0) {
            snprintf(rest, sizeof rest, "loss %.4f  acc@1 %.1f", e->loss, e->top1);
        }
        wtl_progress_show(progress, e->stage, e->done, e->total, rest, -1);
        break;
    case WTL_FINETUNE_EPOCH:
        wtl_progress_log(progress, "epoch %.4g  loss %.4f  acc@1 %.2f  lr %.4g", e->epochs,
                         e->loss, e->top1, e->rate);
        break;
    case WTL_FINETUNE_NOTE:
        wtl_progress_log(progress, "note: %s", e->note);
        break;
    }
}

static double density(const wtl_finetune_result *r)
{
    return r->weights > 0 ? (double)r->kept / (double)r->weights : 1.0;
}

static json_t *scores_json(const wtl_scores *s)
{
    return json_pack("{s:o, s:o, s:o}", "loss", wtl_json_real(s->loss / (double)s->images),
                     "top1", wtl_json_real(wtl_percent(s->top1, s->images)), "top5",
                     wtl_json_real(wtl_percent(s->top5, s->images)));
}

static int print_json(const wtl_command *command, const char *out, const wtl_finetune_result *r)
{
    return wtl_cli_print_json(
        command,
        json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:I, s:o}", "run",
                  wtl_json_string(out), "before", scores_json(&r->before), "after",
                  scores_json(&r->after), "val_images", (json_int_t)r->after.images, "weights",
                  (json_int_t)r->weights, "kept", (json_int_t)r->kept, "nonzero",
                  (json_int_t)r->nonzero, "density", wtl_json_real(density(r)), "steps",
                  (json_int_t)r->steps, "epochs", wtl_json_real(r->epochs)));
}

static void print_scores(const char *when, const wtl_scores *s)
{
    printf("%-8s Acc@1 %.2f Acc@5 %.2f loss %.4f  %ld validation images\n", when,
           wtl_percent(s->top1, s->images), wtl_percent(s->top5, s->images),
           s->loss / (double)s->images, s->images);
}

static int print_text(const char *out, const wtl_finetune_result *r)
{
    print_scores("before", &r->before);
    print_scores("after", &r->after);
    printf("density  %.4f of the weights, %s of %s\n", density(r), wtl_cli_grouped(r->kept),
           wtl_cli_grouped(r->weights));
    printf("the network is %s/ckpt/finetuned.wtl, after %.4g epochs (%s steps)\n", out,
           r->epochs, wtl_cli_grouped(r->steps));
    return WTL_EXIT_DONE;
}

/* ---- the run ---- */

static int finetune(const finetune_args *args, const wtl_parsed *parsed)
{
    wtl_error err = {0};
    wtl_finetune_result result;
    wtl_progress progress;
    wtl_finetune_hooks hooks = {.event = on_event,
                                .seconds = wtl_cli_clock,
                                .stop = wtl_signals_stop,
                                .context = &progress};
    wtl_signals_catch();
    wtl_progress_begin(&progress, &parsed->common);
    wtl_status status = wtl_finetune_to_folder(args->out, &args->o, args->resume, args->force,
                                               &hooks, &result, &err);
    wtl_progress_end(&progress);
    if (status == WTL_E_STOPPED) {
        return wtl_cli_report_stopped(&err, "wattle finetune --resume --out %s", args->out);
    }
    if (status != WTL_OK) {
        int code = wtl_cli_report(&err);
        bool diverged = status == WTL_E_NAN && result.before.images > 0;
        return diverged ? WTL_EXIT_FAILED : code;
    }
    return parsed->common.json ? print_json(parsed->command, args->out, &result)
                               : print_text(args->out, &result);
}

static int run(const wtl_command *command, int argc, char **argv)
{
    finetune_args args = {0};
    wtl_parsed parsed;
    wtl_finetune_run_defaults(&args.o);
    args.o.augment[0] = '\0';
    args.optimizer = (int)args.o.finetune.optimizer.kind;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    int code = args.resume ? check_resume(&args, &parsed) : check_new(&args, &parsed);
    if (code) {
        return code;
    }
    if (!args.resume) {
        fill_defaults(&args, &parsed);
    }
    args.o.threads = parsed.common.threads;
    return finetune(&args, &parsed);
}

const wtl_command wtl_command_finetune = {
    .name = "finetune",
    .line = "train a pruned network further, its masks held",
    .usage = "CKPT --data DATA --out RUN [OPTION...]\n"
             "       wattle finetune --resume --out RUN",
    .about =
        "Trains the network of a checkpoint further; weights that are pruned stay exactly\n"
        "zero. With --distill it also learns from another network's answers, as a rule the\n"
        "dense one that was pruned: the loss is\n"
        "(1 - A) * cross-entropy + A * T^2 * KL(teacher || network), both softened by T.\n"
        "\n"
        "Accuracy is judged before and after on the validation images: those that the\n"
        "checkpoint's training held out, whatever --seed. They are never trained on. The\n"
        "result is RUN/ckpt/finetuned.wtl; RUN/metrics.csv has a row an epoch.\n"
        "\n"
        "SIGINT (Ctrl-C), SIGTERM and SIGUSR1 save and leave with exit code 75. A run that\n"
        "was interrupted goes on with --resume bit for bit; one that was killed loses at\n"
        "most --save-minutes.",
    .examples =
        "  wattle finetune runs/p/ckpt/pruned.wtl --data fashion-mnist --epochs 2 --out "
        "runs/f\n"
        "  wattle finetune runs/p/ckpt/pruned.wtl --data fashion-mnist --distill 0.7 \\\n"
        "      --teacher runs/a/ckpt/best.wtl --out runs/g\n"
        "  wattle finetune --resume --out runs/g",
    .options = options,
    .least_words = 0,
    .most_words = 1,
    .words = "one checkpoint",
    .run = run,
};
