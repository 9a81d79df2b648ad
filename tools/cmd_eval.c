/* cmd_eval.c - wattle eval: a checkpoint's accuracy over a data set. */
#include "commands.h"
#include "common/model.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/signals.h"

#include "wattle/evaluate.h"
#include "wattle/split.h"

typedef struct eval_args {
    char data[1024];
    int batch, engine, workers;
    long images;
    bool confusion;
} eval_args;

#define ARG(field) offsetof(eval_args, field), sizeof(((eval_args *)0)->field)
static const wtl_option options[] = {
    {"data", NULL, "DATA", "the data set, see above; required", "Options", WTL_OPTION_TEXT, 0,
     ARG(data), 0, 0, NULL},
    {"batch", "batch-size", "N", "images in a batch (default 128)", NULL, WTL_OPTION_INT, 'b',
     ARG(batch), 1, 65536, NULL},
    {"engine", NULL, "NAME", "native, blas or reference (plain loops, slow)", NULL,
     WTL_OPTION_CHOICE, 0, ARG(engine), 0, 0, wtl_engine_words},
    {"workers", NULL, "N", "decoding threads (default 1)", NULL, WTL_OPTION_INT, 'j',
     ARG(workers), 1, 256, NULL},
    {"images", NULL, "N", "only N images, chosen by --seed", NULL, WTL_OPTION_LONG, 0,
     ARG(images), 1, 1e9, NULL},
    {"confusion", NULL, NULL, "also print how often each class was taken for each", NULL,
     WTL_OPTION_FLAG, 0, ARG(confusion), 0, 0, NULL},
    {0},
};

/* ---- progress ---- */

typedef struct watch {
    wtl_progress progress;
} watch;

static bool on_batch(void *context, long done, long total)
{
    watch *w = context;
    char rate[64];
    double seconds = wtl_cli_clock(NULL) - w->progress.begin;
    snprintf(rate, sizeof rate, "%.0f img/s", seconds > 0 ? (double)done / seconds : 0.0);
    wtl_progress_show(&w->progress, "evaluate", done, total, rate, -1);
    return !wtl_signals_stop(NULL);
}

static void on_unreadable(void *context, const char *message)
{
    watch *w = context;
    wtl_progress_log(&w->progress, "left out: %s", message);
}

/* ---- results ---- */

static void print_confusion(const wtl_model *model, const wtl_evaluation *result)
{
    puts("\nconfusion: rows are true classes, columns the network's answers");
    for (int i = 0; i < result->classes; i++) {
        for (int j = 0; j < result->classes; j++) {
            printf("%7ld", result->confusion[i * result->classes + j]);
        }
        char spare[32];
        fputs("  ", stdout);
        wtl_cli_print_text(stdout, wtl_model_class(model->checkpoint, i, spare));
        putchar('\n');
    }
}

static int print_text(const wtl_model *model, const char *data, const wtl_evaluation *result)
{
    const wtl_scores *s = &result->scores;
    wtl_cli_print_text(stdout, data);
    printf("  %ld images  loss %.4f\n", s->images,
           s->images ? s->loss / (double)s->images : 0.0);
    printf("Acc@1 %.2f Acc@5 %.2f\n", wtl_percent(s->top1, s->images),
           wtl_percent(s->top5, s->images));
    if (result->unreadable) {
        printf("%ld unreadable images were left out\n", result->unreadable);
    }
    if (result->confusion) {
        print_confusion(model, result);
    }
    return WTL_EXIT_DONE;
}

static json_t *confusion_json(const wtl_evaluation *result)
{
    json_t *rows = json_array();
    for (int i = 0; i < result->classes; i++) {
        json_t *row = json_array();
        for (int j = 0; j < result->classes; j++) {
            (void)json_array_append_new(
                row, json_integer(result->confusion[i * result->classes + j]));
        }
        (void)json_array_append_new(rows, row);
    }
    return rows;
}

static int print_json(const wtl_command *command, const char *file, const char *data,
                      const wtl_evaluation *result)
{
    const wtl_scores *s = &result->scores;
    json_t *document =
        json_pack("{s:o, s:o, s:I, s:o, s:o, s:o, s:I}", "checkpoint", wtl_json_string(file),
                  "data", wtl_json_string(data), "images", (json_int_t)s->images, "top1",
                  wtl_json_real(wtl_percent(s->top1, s->images)), "top5",
                  wtl_json_real(wtl_percent(s->top5, s->images)), "loss",
                  wtl_json_real(s->images ? s->loss / (double)s->images : 0.0), "unreadable",
                  (json_int_t)result->unreadable);
    if (result->confusion) {
        (void)json_object_set_new(document, "confusion", confusion_json(result));
    }
    return wtl_cli_print_json(command, document);
}

/* ---- the command ---- */

static int run(const wtl_command *command, int argc, char **argv)
{
    eval_args args = {.batch = 128, .workers = 1};
    wtl_parsed parsed;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    if (!args.data[0]) {
        return wtl_cli_usage_error(command, "--data is missing");
    }

    wtl_error err = {0};
    wtl_model model = {0};
    wtl_dataset *dataset = NULL;
    wtl_evaluation result = {0};
    watch w;
    const char *file = parsed.words[0];
    wtl_net_options plan = {.batch = args.batch,
                            .threads = parsed.common.threads,
                            .engine = (wtl_engine)args.engine};
    wtl_signals_catch();
    wtl_status status = wtl_model_load(&model, file, plan, &err);
    if (status == WTL_OK) {
        status = wtl_net_freeze(model.net, NULL, &err);
    }
    if (status == WTL_OK) {
        wtl_dataset_options split = wtl_split_of(model.checkpoint);
        if (wtl_option_given(&parsed, "seed")) {
            split.split_seed = parsed.common.seed;
        }
        status = wtl_dataset_open(&dataset, args.data, &split, &err);
    }
    if (status == WTL_OK) {
        wtl_evaluate_options how = {.seed = parsed.common.seed,
                                    .workers = args.workers,
                                    .confusion = args.confusion,
                                    .most_images = args.images,
                                    .progress = on_batch,
                                    .report = on_unreadable,
                                    .context = &w};
        wtl_progress_begin(&w.progress, &parsed.common);
        status = wtl_evaluate(&result, model.net, dataset, &how, &err);
        wtl_progress_end(&w.progress);
    }
    int code = status != WTL_OK ? wtl_cli_report(&err)
               : parsed.common.json
                   ? print_json(command, file, wtl_dataset_name(dataset), &result)
                   : print_text(&model, wtl_dataset_name(dataset), &result);
    wtl_evaluation_clear(&result);
    wtl_dataset_free(dataset);
    wtl_model_clear(&model);
    return code;
}

const wtl_command wtl_command_eval = {
    .name = "eval",
    .line = "top-1, top-5 and loss of a checkpoint over a data set",
    .usage = "CKPT --data DATA[@PART] [OPTION...]",
    .about = "Runs every image of a data set through the network of a checkpoint.\n"
             "DATA is as for 'wattle train'. PART is train, val or test. Without a part,\n"
             "the validation images that the checkpoint's own training held out are used\n"
             "(its seed and share are in the file; --seed overrides the seed); the test\n"
             "images are touched only by @test.",
    .examples = "  wattle eval runs/first/ckpt/best.wtl --data fashion-mnist\n"
                "  wattle eval runs/first/ckpt/last.wtl --data fashion-mnist@test --json",
    .options = options,
    .least_words = 1,
    .most_words = 1,
    .words = "one checkpoint file (CKPT)",
    .run = run,
};
