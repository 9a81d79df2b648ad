/* cmd_demo.c - wattle demo: a first run on Fashion-MNIST, from nothing to test accuracy. */
#include "commands.h"
#include "common/model.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/signals.h"
#include "common/training.h"

#include "wattle/evaluate.h"
#include "wattle/file.h"
#include "wattle/memory.h"

static const char NET[] = "alexnet-28", DATA[] = "fashion-mnist";

typedef struct demo_args {
    char out[1024];
    int epochs;
    bool force;
} demo_args;

#define ARG(field) offsetof(demo_args, field), sizeof(((demo_args *)0)->field)
static const wtl_option options[] = {
    {"out", NULL, "DIR", "the folder of the run (default wattle-demo)", "Options",
     WTL_OPTION_TEXT, 'o', ARG(out), 0, 0, NULL},
    {"epochs", NULL, "N", "passes over the data (default 3)", NULL, WTL_OPTION_INT, 0,
     ARG(epochs), 1, 1000, NULL},
    {"force", NULL, NULL, "start anew where a demo has been", NULL, WTL_OPTION_FLAG, 0,
     ARG(force), 0, 0, NULL},
    {0},
};

static bool go_on(void *context, long done, long total)
{
    wtl_progress_show(context, "test images", done, total, "", -1);
    return !wtl_signals_stop(NULL);
}

static wtl_status test(const wtl_common *common, const char *file, wtl_scores *scores,
                       wtl_error *err)
{
    wtl_model model;
    wtl_dataset *dataset = NULL;
    wtl_evaluation result = {0};
    wtl_progress progress;
    wtl_dataset_options part = {.part = WTL_DATA_TEST};
    wtl_evaluate_options how = {.progress = go_on, .context = &progress};
    wtl_status status = wtl_model_load(
        &model, file, (wtl_net_options){.batch = 128, .threads = common->threads}, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_progress_begin(&progress, common);
    status = wtl_dataset_open(&dataset, DATA, &part, err);
    if (status == WTL_OK) {
        status = wtl_evaluate(&result, model.net, dataset, &how, err);
    }
    wtl_progress_end(&progress);
    *scores = result.scores;
    wtl_evaluation_clear(&result);
    wtl_dataset_free(dataset);
    wtl_model_clear(&model);
    return status;
}

static int print_json(const wtl_command *command, const demo_args *args,
                      const wtl_train_result *r, const wtl_scores *s)
{
    return wtl_cli_print_json(
        command,
        json_pack("{s:o, s:s, s:s, s:i, s:o, s:o, s:o, s:o, s:I, s:o}", "run",
                  wtl_cli_string(args->out), "net", NET, "data", DATA, "epochs", r->epochs,
                  "val_top1", wtl_cli_number(r->val_top1), "top1",
                  wtl_cli_number(wtl_percent(s->top1, s->images)), "top5",
                  wtl_cli_number(wtl_percent(s->top5, s->images)), "loss",
                  wtl_cli_number(s->images ? s->loss / (double)s->images : 0.0), "images",
                  (json_int_t)s->images, "seconds", wtl_cli_number(r->seconds)));
}

static int print_text(const demo_args *args, const wtl_train_result *r, const wtl_scores *s)
{
    const char *run = args->out;
    printf("%s on %s, %d epochs\n", NET, DATA, r->epochs);
    printf("Acc@1 %.2f Acc@5 %.2f  %ld test images, seen for the first time\n\n",
           wtl_percent(s->top1, s->images), wtl_percent(s->top5, s->images), s->images);
    printf("What it left in %s:\n"
           "  ckpt/last.wtl                     the network after the last epoch\n"
           "  ckpt/best.wtl                     the best one on held-out images\n"
           "  metrics.csv                       a row for each epoch\n"
           "  plots/loss.svg, accuracy.svg      the curves\n"
           "  config.json, env.json, log.jsonl  how, on what, and what happened\n\n",
           run);
    printf("Go on with:\n"
           "  wattle info %s/ckpt/last.wtl\n"
           "  wattle eval %s/ckpt/last.wtl --data fashion-mnist@test --confusion\n"
           "  wattle train --net lenet5 --data fashion-mnist --out runs/lenet5\n",
           run, run);
    return WTL_EXIT_DONE;
}

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

static int run(const wtl_command *command, int argc, char **argv)
{
    demo_args args = {.out = "wattle-demo", .epochs = 3};
    wtl_parsed parsed;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    wtl_error err = {0};
    wtl_train_result result = {0};
    wtl_scores scores = {0};
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
    int code = train(&parsed, &args, resume, &result);
    if (code) {
        return code;
    }
    char *file = wtl_path_join(args.out, "ckpt/last.wtl");
    wtl_status status = file ? test(&parsed.common, file, &scores, &err)
                             : wtl_fail(&err, WTL_E_NOMEM, "out of memory");
    wtl_free(file);
    if (status != WTL_OK) {
        return wtl_cli_report(&err);
    }
    return parsed.common.json ? print_json(command, &args, &result, &scores)
                              : print_text(&args, &result, &scores);
}

const wtl_command wtl_command_demo = {
    .name = "demo",
    .line = "a first run: train and test a small AlexNet on Fashion-MNIST",
    .usage = "[OPTION...]",
    .about = "Trains a small AlexNet-shaped network (alexnet-28) on Fashion-MNIST, in a few\n"
             "minutes on two processors, tests it once on the test images, and says where\n"
             "everything is. The data are the Debian package dataset-fashion-mnist. A demo\n"
             "that was interrupted goes on where it stopped.",
    .examples = "  wattle demo\n"
                "  wattle demo --out /tmp/demo --epochs 1",
    .options = options,
    .least_words = 0,
    .most_words = 0,
    .words = "no arguments",
    .run = run,
};
