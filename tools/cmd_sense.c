/* cmd_sense.c - wattle sense: how much accuracy is lost when one layer is pruned. */
#include "commands.h"
#include "common/model.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/sense_output.h"
#include "common/signals.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/sense.h"
#include "wattle/split.h"
#include "wattle/text.h"

#include <string.h>

typedef struct sense_args {
    char data[1024], layers[4096], sparsities[1024], out[1024], plot[1024];
    int images, batch, engine, granularity;
    bool csv;
} sense_args;

#define ARG(field) offsetof(sense_args, field), sizeof(((sense_args *)0)->field)
static const wtl_option options[] = {
    {"data", NULL, "DATA", "the data set, see above; required", "What", WTL_OPTION_TEXT, 0,
     ARG(data), 0, 0, NULL},
    {"images", NULL, "N", "judge on N images, chosen by --seed (default 512)", NULL,
     WTL_OPTION_INT, 0, ARG(images), 1, 1e6, NULL},
    {"sparsities", NULL, "S,...",
     "shares of a layer's weights to prune, ascending, 0 to 1\n"
     "(default 0,0.1,...,0.9)",
     NULL, WTL_OPTION_TEXT, 0, ARG(sparsities), 0, 0, NULL},
    {"layers", NULL, "LAYER,...", "only these layers (default: all with weights)", NULL,
     WTL_OPTION_TEXT, 0, ARG(layers), 0, 0, NULL},
    {"granularity", NULL, "NAME",
     "weight, or 4x1: four consecutive filters share one\npattern (default weight)", NULL,
     WTL_OPTION_CHOICE, 0, ARG(granularity), 0, 0, wtl_granularity_words},
    {"batch", "batch-size", "N", "images in a batch (default 128)", "Running", WTL_OPTION_INT,
     'b', ARG(batch), 1, 65536, NULL},
    {"engine", NULL, "NAME", "native, blas or reference (plain loops, slow)", NULL,
     WTL_OPTION_CHOICE, 0, ARG(engine), 0, 0, wtl_engine_words},
    {"csv", NULL, NULL, "print CSV: parameter,sparsity,top1,top5,loss", "Output",
     WTL_OPTION_FLAG, 0, ARG(csv), 0, 0, NULL},
    {"out", NULL, "FILE.csv", "also write that CSV to a file", NULL, WTL_OPTION_TEXT, 'o',
     ARG(out), 0, 0, NULL},
    {"plot", NULL, "OUT.svg", "draw top-1 over sparsity, a line a layer", NULL, WTL_OPTION_TEXT,
     0, ARG(plot), 0, 0, NULL},
    {0},
};

/* ---- sparsities ---- */

enum { MOST_SPARSITIES = 100 };

typedef struct ladder {
    double sparsities[MOST_SPARSITIES];
    int count; /* 0: the default */
} ladder;

/* 0, or an exit code when everything is said. */
static int read_ladder(ladder *l, const char *list, const wtl_command *command)
{
    *l = (ladder){.count = 0};
    while (*list) {
        char word[32];
        size_t length = strcspn(list, ",");
        snprintf(word, sizeof word, "%.*s", (int)length, list);
        if (l->count == MOST_SPARSITIES) {
            return wtl_cli_usage_error(command, "--sparsities takes at most %d of them",
                                       MOST_SPARSITIES);
        }
        double *s = &l->sparsities[l->count];
        if (length >= sizeof word || !wtl_parse_double(word, 0, 1, s)) {
            return wtl_cli_usage_error(
                command, "--sparsities takes numbers from 0 to 1, not '%s'", word);
        }
        if (l->count > 0 && !(*s > s[-1])) {
            return wtl_cli_usage_error(command, "--sparsities ascend, but %g follows %g", *s,
                                       s[-1]);
        }
        l->count++;
        list += length;
        if (*list == ',' && !*++list) {
            return wtl_cli_usage_error(command, "--sparsities ends with a comma");
        }
    }
    return WTL_EXIT_DONE;
}

/* ---- layers ---- */

typedef struct selection {
    wtl_param **params;  /* [count]: those to scan, in the net's order */
    const char **layers; /* names of all layers with weights, then NULL */
    int count;
} selection;

static void clear_selection(selection *s)
{
    wtl_free(s->params);
    wtl_free(s->layers);
}

/* Whether `param` is meant by "conv1" or "conv1.weight"; `layer` is "conv1". */
static bool is_meant(const wtl_param *param, const char *layer, const char *word)
{
    return strcmp(param->name, word) == 0 || strcmp(layer, word) == 0;
}

static wtl_status unknown_layer(const selection *all, const wtl_net *net, const char *word,
                                wtl_error *err)
{
    const char *near = wtl_suggest(word, all->layers);
    return wtl_fail(err, WTL_E_ARG, "net %s has no layer '%.200s' to prune%s%s%s",
                    wtl_net_def(net)->name, word, near ? "; did you mean '" : "",
                    near ? near : "", near ? "'?" : "");
}

/* wanted[i] := 1 for the layers in `list`. */
static wtl_status mark_layers(char *wanted, const selection *all, const wtl_net *net,
                              const char *list, wtl_error *err)
{
    while (true) {
        char word[256];
        size_t length = strcspn(list, ",");
        snprintf(word, sizeof word, "%.*s", (int)length, list);
        int found = 0;
        while (found < all->count && !is_meant(all->params[found], all->layers[found], word)) {
            found++;
        }
        if (found == all->count) {
            return unknown_layer(all, net, word, err);
        }
        wanted[found] = 1;
        if (!list[length]) {
            return WTL_OK;
        }
        list += length + 1;
    }
}

static wtl_status keep_marked(selection *s, const wtl_net *net, const char *list,
                              wtl_error *err)
{
    char *wanted = wtl_alloc((size_t)s->count, 1);
    wtl_status status = wanted ? mark_layers(wanted, s, net, list, err)
                               : wtl_fail(err, WTL_E_NOMEM, "out of memory for layers");
    int kept = 0;
    for (int i = 0; i < s->count && status == WTL_OK; i++) {
        if (wanted[i]) {
            s->params[kept++] = s->params[i];
        }
    }
    s->count = status == WTL_OK ? kept : s->count;
    wtl_free(wanted);
    return status;
}

/* All prunable parameters, or those that `list` names unless it is empty. */
static wtl_status select_layers(selection *s, wtl_net *net, const char *list, wtl_error *err)
{
    s->count = wtl_mask_params(net, NULL, 0);
    s->params = wtl_alloc((size_t)s->count, sizeof(wtl_param *));
    s->layers = wtl_alloc((size_t)s->count + 1, sizeof(const char *));
    if (!s->params || !s->layers) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d layers", s->count);
    }
    (void)wtl_mask_params(net, s->params, s->count);
    for (int i = 0; i < s->count; i++) {
        s->layers[i] = wtl_net_def(net)->layers[s->params[i]->layer].name;
    }
    return *list ? keep_marked(s, net, list, err) : WTL_OK;
}

/* ---- images ---- */

static wtl_status check_classes(const wtl_net *net, const wtl_dataset *dataset, wtl_error *err)
{
    const wtl_head *head = wtl_net_main_head(net);
    if (!head || wtl_dataset_classes(dataset) <= head->classes) {
        return WTL_OK; /* a net without a softmax is refused by the scan */
    }
    return wtl_fail(err, WTL_E_SHAPE, "net %s tells %d classes apart, %s has %d",
                    wtl_net_def(net)->name, head->classes, wtl_dataset_name(dataset),
                    wtl_dataset_classes(dataset));
}

/* Without a part, training images: a layer's rate is a choice, and what choices are made on
 * must not judge them. */
static wtl_status draw(wtl_sample *sample, wtl_dataset **dataset, const wtl_model *model,
                       const sense_args *args, uint64_t seed, wtl_error *err)
{
    wtl_dataset_options split = wtl_split_of(model->checkpoint);
    split.part = WTL_DATA_TRAIN;
    wtl_status status = wtl_dataset_open(dataset, args->data, &split, err);
    if (status == WTL_OK) {
        status = check_classes(model->net, *dataset, err);
    }
    return status == WTL_OK ? wtl_sample_draw(sample, *dataset, wtl_net_def(model->net),
                                              args->images, seed, err)
                            : status;
}

/* ---- the command ---- */

static void on_row(void *context, int done, int total)
{
    wtl_progress_show(context, "sense", done, total, "", -1);
}

/* Everything that the scan needs and leaves. */
typedef struct work {
    wtl_writer *csv, *plot; /* begun before the scan: what cannot be written is told at once */
    wtl_model model;
    selection chosen;
    wtl_dataset *dataset;
    wtl_sample sample;
    wtl_sense sense;
} work;

static void clear_work(work *w)
{
    wtl_writer_abort(w->csv);
    wtl_writer_abort(w->plot);
    wtl_sense_clear(&w->sense);
    wtl_sample_clear(&w->sample);
    wtl_dataset_free(w->dataset);
    clear_selection(&w->chosen);
    wtl_model_clear(&w->model);
}

static wtl_status prepare(work *w, const char *file, const sense_args *args,
                          const wtl_parsed *parsed, wtl_error *err)
{
    const wtl_net_options plan = {.batch = args->batch,
                                  .threads = parsed->common.threads,
                                  .engine = (wtl_engine)args->engine};
    wtl_status status = wtl_model_load(&w->model, file, plan, err);
    if (status == WTL_OK) {
        status = select_layers(&w->chosen, w->model.net, args->layers, err);
    }
    if (status == WTL_OK) {
        status = draw(&w->sample, &w->dataset, &w->model, args, parsed->common.seed, err);
    }
    if (status == WTL_OK && args->out[0]) {
        status = wtl_writer_open(&w->csv, args->out, err);
    }
    if (status == WTL_OK && args->plot[0]) {
        status = wtl_writer_open(&w->plot, args->plot, err);
    }
    return status;
}

static wtl_status scan(work *w, const ladder *l, const sense_args *args,
                       const wtl_common *common, wtl_error *err)
{
    wtl_progress progress;
    wtl_progress_begin(&progress, common);
    const wtl_sense_options how = {.sparsities = l->count ? l->sparsities : NULL,
                                   .sparsity_count = l->count,
                                   .granularity = (wtl_granularity)args->granularity,
                                   .progress = on_row,
                                   .stop = wtl_signals_stop,
                                   .context = &progress};
    wtl_status status = wtl_sense_scan(&w->sense, w->model.net, w->chosen.params,
                                       w->chosen.count, &w->sample, &how, err);
    wtl_progress_end(&progress);
    return status;
}

/* `text` to `*writer`, which is used up. */
static wtl_status finish_file(wtl_writer **writer, char *text, wtl_error *err)
{
    wtl_writer *w = *writer;
    *writer = NULL;
    if (!text) {
        wtl_writer_abort(w);
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for a file's text");
    }
    wtl_writer_put(w, text, strlen(text));
    wtl_free(text);
    return wtl_writer_commit(w, err);
}

static wtl_status write_files(work *w, const wtl_sense_view *view, wtl_error *err)
{
    wtl_status status = w->csv ? finish_file(&w->csv, wtl_sense_csv(&w->sense), err) : WTL_OK;
    return status == WTL_OK && w->plot ? finish_file(&w->plot, wtl_sense_svg(view), err)
                                       : status;
}

static int show(const wtl_command *command, const sense_args *args, const wtl_parsed *parsed,
                const wtl_sense_view *view)
{
    return parsed->common.json ? wtl_cli_print_json(command, wtl_sense_json(view))
           : args->csv         ? wtl_sense_print_csv(view)
                               : wtl_sense_print(view);
}

static int compute(const wtl_command *command, const sense_args *args, const ladder *l,
                   const wtl_parsed *parsed)
{
    wtl_error err = {0};
    work w = {0};
    wtl_signals_catch();
    wtl_status status = prepare(&w, parsed->words[0], args, parsed, &err);
    if (status == WTL_OK) {
        status = scan(&w, l, args, &parsed->common, &err);
    }
    wtl_sense_view view = {.sense = &w.sense,
                           .checkpoint = parsed->words[0],
                           .granularity = (wtl_granularity)args->granularity};
    if (status == WTL_OK) {
        view.net = wtl_net_def(w.model.net)->name;
        view.data = wtl_dataset_name(w.dataset);
        view.images = w.sample.count;
        view.layers = w.chosen.count;
        view.weights = wtl_mask_count_net(w.model.net);
        status = write_files(&w, &view, &err);
    }
    int code = status == WTL_OK ? show(command, args, parsed, &view) : wtl_cli_report(&err);
    clear_work(&w);
    return code;
}

static int run(const wtl_command *command, int argc, char **argv)
{
    sense_args args = {.images = 512, .batch = 128};
    wtl_parsed parsed;
    ladder l;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    if (!args.data[0]) {
        return wtl_cli_usage_error(command, "--data is missing");
    }
    if (args.csv && parsed.common.json) {
        return wtl_cli_usage_error(command, "--csv and --json: print one");
    }
    if (args.out[0] && strcmp(args.out, args.plot) == 0) {
        return wtl_cli_usage_error(command, "--out and --plot: two files, not one");
    }
    int code = read_ladder(&l, args.sparsities, command);
    return code ? code : compute(command, &args, &l, &parsed);
}

const wtl_command wtl_command_sense = {
    .name = "sense",
    .line = "what each layer can lose: top-1 when it alone is pruned",
    .usage = "CKPT --data DATA[@PART] [OPTION...]",
    .about = "Prunes one layer at a time by magnitude, to a ladder of sparsities, and judges\n"
             "the network each time. Nothing is trained again, and the checkpoint stays as\n"
             "it is. Weights that are pruned already stay so.\n"
             "\n"
             "DATA is as for 'wattle train'. Without a PART (train, val or test) the images\n"
             "are some of those that the checkpoint was trained on: what rates are chosen by\n"
             "must not judge them. The output names the part.",
    .examples =
        "  wattle sense runs/first/ckpt/last.wtl --data fashion-mnist --plot s.svg\n"
        "  wattle sense runs/first/ckpt/last.wtl --data fashion-mnist --layers conv1 \\\n"
        "      --sparsities 0.5,0.9,0.95 --csv",
    .options = options,
    .least_words = 1,
    .most_words = 1,
    .words = "one checkpoint file (CKPT)",
    .run = run,
};
