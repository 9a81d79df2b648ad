/* cmd_info.c - wattle info: what a network or checkpoint consists of. */
#include "commands.h"
#include "common/model.h"
#include "common/output.h"

#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"
#include "wattle/zoo.h"

#include <math.h>
#include <string.h>

typedef struct info_args {
    bool zoo, kernels;
    int batch, engine;
} info_args;

#define ARG(field) offsetof(info_args, field), sizeof(((info_args *)0)->field)
static const wtl_option options[] = {
    {"zoo", NULL, NULL, "list the networks that come with wattle", "Options", WTL_OPTION_FLAG,
     0, ARG(zoo), 0, 0, NULL},
    {"kernels", NULL, NULL, "how each layer would run here", NULL, WTL_OPTION_FLAG, 0,
     ARG(kernels), 0, 0, NULL},
    {"batch", "batch-size", "N", "images in a batch, for memory and kernels (default 1)", NULL,
     WTL_OPTION_INT, 'b', ARG(batch), 1, 65536, NULL},
    {"engine", NULL, "NAME", "native (default), blas or reference", NULL, WTL_OPTION_CHOICE, 0,
     ARG(engine), 0, 0, wtl_engine_words},
    {0},
};

/* ---- what there is to tell ---- */

typedef struct layer_row {
    bool inference; /* part of the inference network */
    wtl_shape output;
    uint64_t parameters; /* trained ones */
    uint64_t macs;
    double density; /* non-zero share of the weights; NaN without weights */
    const char *kernel;
} layer_row;

typedef struct report {
    wtl_subject subject;
    const wtl_checkpoint *checkpoint; /* NULL for a bare network */
    const wtl_netdef *def;
    wtl_net *net;
    layer_row *rows; /* [def->layer_count] */
    wtl_shape *shapes;
    bool *keep;
    uint64_t parameters, macs;         /* of the inference network */
    uint64_t aux_parameters, aux_macs; /* of the layers that only training has */
    double density;                    /* over all weights; NaN without weights */
    bool blocks;                       /* the zeros of all weights are of 4x1 blocks */
    wtl_net_memory memory;
} report;

static void clear_report(report *r)
{
    wtl_net_free(r->net);
    wtl_free(r->rows);
    wtl_free(r->shapes);
    wtl_free(r->keep);
    wtl_subject_clear(&r->subject);
    *r = (report){0};
}

static double non_zero_share(const wtl_tensor_view *view, uint64_t *kept)
{
    size_t count = 0;
    for (size_t i = 0; i < view->count; i++) {
        count += view->value[i] != 0.0f;
    }
    *kept += count;
    return view->count ? (double)count / (double)view->count : NAN;
}

/* Whether the zeros are of 4x1 blocks. */
static bool has_blocks(const wtl_layer_def *layer, const wtl_tensor_view *view)
{
    int groups = layer->kind == WTL_LAYER_CONV ? layer->as.conv.groups : 1;
    return wtl_mask_is_4x1(view->value, (int)view->dims[0], view->count / view->dims[0],
                           groups);
}

/* Parameters and density of layer `index`; adds the prunable weights to kept and all. */
static wtl_status count_layer(report *r, int index, uint64_t *kept, uint64_t *all,
                              wtl_error *err)
{
    const wtl_layer_def *layer = &r->def->layers[index];
    layer_row *row = &r->rows[index];
    wtl_shape *in = wtl_alloc((size_t)layer->input_count, sizeof *in);
    if (!in) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory");
    }
    for (int i = 0; i < layer->input_count; i++) {
        in[i] = r->shapes[layer->inputs[i]];
    }
    *row = (layer_row){.inference = r->keep[index], .output = r->shapes[index], .density = NAN};
    wtl_param_spec specs[WTL_MAX_LAYER_PARAMS];
    int count = layer->input_count ? wtl_layer_params(layer, in, specs) : 0;
    for (int i = 0; i < count; i++) {
        uint64_t size = 1;
        for (int d = 0; d < specs[i].rank; d++) {
            size *= (uint64_t)specs[i].dims[d];
        }
        bool statistics =
            specs[i].role == WTL_PARAM_RUNNING_MEAN || specs[i].role == WTL_PARAM_RUNNING_VAR;
        row->parameters += statistics ? 0 : size;
        char name[512];
        wtl_tensor_view view;
        snprintf(name, sizeof name, "%s.%s", layer->name, specs[i].suffix);
        if (r->checkpoint && specs[i].role == WTL_PARAM_WEIGHT &&
            wtl_checkpoint_find(r->checkpoint, name, &view)) {
            row->density = non_zero_share(&view, kept);
            *all += view.count;
            r->blocks = r->blocks && has_blocks(layer, &view);
        }
    }
    row->macs = layer->input_count ? wtl_layer_macs(layer, in[0], row->output) : 0;
    wtl_free(in);
    return WTL_OK;
}

static wtl_status count_layers(report *r, wtl_error *err)
{
    uint64_t kept = 0, all = 0;
    r->blocks = true;
    for (int i = 0; i < r->def->layer_count; i++) {
        wtl_status status = count_layer(r, i, &kept, &all, err);
        if (status != WTL_OK) {
            return status;
        }
        if (!r->keep[i]) {
            r->aux_parameters += r->rows[i].parameters;
            r->aux_macs += r->rows[i].macs;
        }
    }
    r->density = all ? (double)kept / (double)all : NAN;
    r->blocks = r->blocks && kept < all;
    return wtl_netdef_totals(r->def, &r->parameters, &r->macs, err);
}

static wtl_status plan(report *r, const info_args *args, int threads, wtl_error *err)
{
    wtl_net_options how = {
        .batch = args->batch, .threads = threads, .engine = (wtl_engine)args->engine};
    wtl_status status = wtl_net_create(&r->net, r->def, &how, err);
    if (status != WTL_OK) {
        return status;
    }
    r->memory = wtl_net_memory_of(r->net);
    for (int i = 0; i < r->def->layer_count; i++) {
        const char *kernel = r->keep[i] ? wtl_net_kernel(r->net, i) : NULL;
        r->rows[i].kernel = kernel ? kernel : "";
    }
    return WTL_OK;
}

static wtl_status make_report(report *r, const char *what, const info_args *args, int threads,
                              wtl_error *err)
{
    wtl_status status = wtl_subject_load(&r->subject, what, err);
    if (status != WTL_OK) {
        return status;
    }
    r->checkpoint = r->subject.checkpoint;
    r->def = r->subject.def;
    size_t count = (size_t)r->def->layer_count;
    r->rows = wtl_alloc(count, sizeof *r->rows);
    r->shapes = wtl_alloc(count, sizeof *r->shapes);
    r->keep = wtl_alloc(count, sizeof *r->keep);
    if (!r->rows || !r->shapes || !r->keep) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %zu layers", count);
    }
    status = wtl_netdef_shapes(r->def, r->shapes, err);
    if (status == WTL_OK) {
        (void)wtl_netdef_inference_layers(r->def, r->keep);
        status = count_layers(r, err);
    }
    return status == WTL_OK ? plan(r, args, threads, err) : status;
}

/* ---- as text ---- */

static void shape_text(wtl_shape s, char text[40])
{
    snprintf(text, 40, "%dx%dx%d", s.c, s.h, s.w);
}

static int name_width(const wtl_netdef *def)
{
    enum { NARROWEST = 5, WIDEST = 40 };
    size_t width = NARROWEST;
    for (int i = 0; i < def->layer_count; i++) {
        size_t length = strlen(def->layers[i].name);
        width = length > width ? length : width;
    }
    return width < WIDEST ? (int)width : WIDEST;
}

static void print_layers(const report *r, bool kernels)
{
    int width = name_width(r->def);
    printf("%-*s  %-14s %14s %13s %15s%s%s\n", width, "layer", "kind", "output", "parameters",
           "MACs", r->checkpoint ? "  density" : "", kernels ? "  kernel" : "");
    for (int i = 0; i < r->def->layer_count; i++) {
        const wtl_layer_def *layer = &r->def->layers[i];
        const layer_row *row = &r->rows[i];
        char shape[40];
        shape_text(row->output, shape);
        printf("%-*s  %-14s %14s %13s %15s", width, layer->name,
               wtl_layer_kind_name(layer->kind), shape,
               row->parameters ? wtl_cli_grouped(row->parameters) : "-",
               row->macs ? wtl_cli_grouped(row->macs) : "-");
        if (r->checkpoint && !isnan(row->density)) {
            printf("  %7.4f", row->density);
        } else if (r->checkpoint && (kernels || !row->inference)) {
            printf("  %7s", "-");
        }
        if (!row->inference) {
            printf("  training only");
        } else if (kernels && row->kernel[0]) {
            printf("  %s", row->kernel);
        }
        putchar('\n');
    }
}

static void print_preprocess(const wtl_preprocess *p)
{
    static const char *const rules[] = {[WTL_RESIZE_NONE] = "crop",
                                        [WTL_RESIZE_WARP] = "warp to",
                                        [WTL_RESIZE_SHORT] = "short side to"};
    printf("preprocessing  %s", p->channels == 1            ? "gray"
                                : p->order == WTL_ORDER_BGR ? "BGR"
                                                            : "RGB");
    printf(", %s", rules[p->rule]);
    if (p->rule != WTL_RESIZE_NONE) {
        printf(" %d, crop", p->resize);
    }
    printf(" %dx%d, (pixel * %.6g - mean) / deviation, mean", p->height, p->width,
           (double)p->scale);
    for (int c = 0; c < p->channels; c++) {
        printf(" %.6g", (double)p->mean[c]);
    }
    printf(", deviation");
    for (int c = 0; c < p->channels; c++) {
        printf(" %.6g", (double)p->deviation[c]);
    }
    putchar('\n');
}

/* Static storage, good until the 4th next call. */
static const char *bytes_text(size_t bytes)
{
    enum { RING = 4, SIZE = 32 };
    static char ring[RING][SIZE];
    static int next;
    const double kib = 1024.0, mib = kib * kib;
    char *text = ring[next];
    next = (next + 1) % RING;
    if ((double)bytes < mib) {
        snprintf(text, SIZE, "%.1f KiB", (double)bytes / kib);
    } else {
        snprintf(text, SIZE, "%.1f MiB", (double)bytes / mib);
    }
    return text;
}

/* Epochs behind the weights and their validation top-1: a run's last.wtl has its history,
 * best.wtl the epoch it is of. */
static void find_trained(const wtl_checkpoint *checkpoint, long *epochs, double *val_top1)
{
    enum { VAL_TOP1 = 4 }; /* in a row of the history */
    const json_t *best = wtl_checkpoint_meta(checkpoint, "best");
    const json_t *training = wtl_checkpoint_meta(checkpoint, "training");
    const json_t *history = json_object_get(training, "history");
    const json_t *row = json_array_get(history, json_array_size(history) - 1);
    const json_t *epoch = json_object_get(best ? best : training, "epoch");
    const json_t *top1 =
        best ? json_object_get(best, "val_top1") : json_array_get(row, VAL_TOP1);
    *epochs = json_is_integer(epoch) ? (long)json_integer_value(epoch) : -1;
    *val_top1 = json_is_number(top1) ? json_number_value(top1) : NAN;
}

static void print_trained(const report *r)
{
    const json_t *data = wtl_checkpoint_meta(r->checkpoint, "data");
    const char *name = json_string_value(json_object_get(data, "name"));
    long epochs;
    double top1;
    find_trained(r->checkpoint, &epochs, &top1);
    if (epochs < 0) {
        return;
    }
    printf("trained        %ld epoch%s", epochs, epochs == 1 ? "" : "s");
    if (name) {
        fputs(" on ", stdout);
        wtl_cli_print_text(stdout, name);
    }
    if (!isnan(top1)) {
        printf(", validation Acc@1 %.2f", top1);
    }
    putchar('\n');
}

static void print_text(const report *r, const info_args *args)
{
    char input[40];
    shape_text(r->def->input, input);
    printf("%s  input %s  classes %d\n\n", r->def->name, input, r->def->classes);
    print_layers(r, args->kernels);
    printf("\nparameters     %s\n", wtl_cli_grouped(r->parameters));
    printf("MACs           %s for one image\n", wtl_cli_grouped(r->macs));
    if (r->aux_parameters || r->aux_macs) {
        printf("training only  %s parameters, %s MACs (not in the totals)\n",
               wtl_cli_grouped(r->aux_parameters), wtl_cli_grouped(r->aux_macs));
    }
    if (!isnan(r->density)) {
        printf("density        %.4f of the weights are not zero%s\n", r->density,
               r->blocks ? ", in 4x1 blocks" : "");
    }
    printf("memory         %s parameters + %s activations at batch %d (%s unshared)\n",
           bytes_text(r->memory.parameters), bytes_text(r->memory.activations), args->batch,
           bytes_text(r->memory.unshared));
    print_preprocess(&r->def->preprocess);
    if (r->checkpoint) {
        print_trained(r);
    }
}

/* ---- as JSON ---- */

static json_t *shape_json(wtl_shape s)
{
    return json_pack("[i, i, i]", s.c, s.h, s.w);
}

static json_t *layer_json(const report *r, int index, bool kernels)
{
    const wtl_layer_def *layer = &r->def->layers[index];
    const layer_row *row = &r->rows[index];
    json_t *inputs = json_array();
    for (int i = 0; i < layer->input_count; i++) {
        (void)json_array_append_new(inputs,
                                    wtl_json_string(r->def->layers[layer->inputs[i]].name));
    }
    json_t *json =
        json_pack("{s:o, s:s, s:o, s:o, s:I, s:I, s:b}", "name", wtl_json_string(layer->name),
                  "kind", wtl_layer_kind_name(layer->kind), "inputs", inputs, "output",
                  shape_json(row->output), "parameters", (json_int_t)row->parameters, "macs",
                  (json_int_t)row->macs, "training_only", !row->inference);
    if (!isnan(row->density)) {
        (void)json_object_set_new(json, "density", json_real(row->density));
    }
    if (kernels && row->inference) {
        (void)json_object_set_new(json, "kernel", wtl_json_string(row->kernel));
    }
    return json;
}

static json_t *preprocess_json(const wtl_preprocess *p)
{
    static const char *const rules[] = {
        [WTL_RESIZE_NONE] = "none", [WTL_RESIZE_WARP] = "warp", [WTL_RESIZE_SHORT] = "short"};
    json_t *mean = json_array(), *deviation = json_array();
    for (int c = 0; c < p->channels; c++) {
        (void)json_array_append_new(mean, wtl_json_real((double)p->mean[c]));
        (void)json_array_append_new(deviation, wtl_json_real((double)p->deviation[c]));
    }
    return json_pack("{s:i, s:i, s:i, s:s, s:s, s:i, s:o, s:o, s:o}", "channels", p->channels,
                     "height", p->height, "width", p->width, "order",
                     p->order == WTL_ORDER_BGR ? "bgr" : "rgb", "resize_rule", rules[p->rule],
                     "resize", p->resize, "scale", wtl_json_real((double)p->scale), "mean",
                     mean, "deviation", deviation);
}

static json_t *memory_json(const report *r, const info_args *args, int threads)
{
    return json_pack("{s:i, s:i, s:I, s:I, s:I}", "batch", args->batch, "threads", threads,
                     "parameters_bytes", (json_int_t)r->memory.parameters, "activations_bytes",
                     (json_int_t)r->memory.activations, "unshared_bytes",
                     (json_int_t)r->memory.unshared);
}

static void add_checkpoint(const report *r, json_t *document)
{
    json_t *classes = json_array(), *config = wtl_checkpoint_meta(r->checkpoint, "config");
    for (int i = 0; i < wtl_checkpoint_class_count(r->checkpoint); i++) {
        (void)json_array_append_new(classes,
                                    wtl_json_string(wtl_checkpoint_class(r->checkpoint, i)));
    }
    long epochs;
    double top1;
    find_trained(r->checkpoint, &epochs, &top1);
    (void)json_object_set_new(document, "density", wtl_json_real(r->density));
    (void)json_object_set_new(document, "blocks_4x1", json_boolean(r->blocks));
    (void)json_object_set_new(document, "class_names", classes);
    (void)json_object_set_new(document, "epochs",
                              epochs < 0 ? json_null() : json_integer(epochs));
    (void)json_object_set_new(document, "val_top1", wtl_json_real(top1));
    (void)json_object_set_new(document, "config",
                              config ? json_deep_copy(config) : json_null());
}

static int print_json(const wtl_command *command, const report *r, const char *what,
                      const info_args *args, int threads)
{
    json_t *layers = json_array();
    for (int i = 0; i < r->def->layer_count; i++) {
        (void)json_array_append_new(layers, layer_json(r, i, args->kernels));
    }
    json_t *document = json_pack(
        "{s:o, s:o, s:o, s:i, s:I, s:I, s:I, s:I, s:o, s:o, s:o}", "file",
        wtl_json_string(what), "net", wtl_json_string(r->def->name), "input",
        shape_json(r->def->input), "classes", r->def->classes, "parameters",
        (json_int_t)r->parameters, "macs", (json_int_t)r->macs, "training_only_parameters",
        (json_int_t)r->aux_parameters, "training_only_macs", (json_int_t)r->aux_macs, "memory",
        memory_json(r, args, threads), "preprocess", preprocess_json(&r->def->preprocess),
        "layers", layers);
    if (r->checkpoint) {
        add_checkpoint(r, document);
    }
    return wtl_cli_print_json(command, document);
}

/* ---- the zoo ---- */

static int list_zoo(const wtl_command *command, bool as_json)
{
    json_t *list = json_array();
    if (!as_json) {
        printf("%-24s %12s %13s %16s\n", "net", "input", "parameters", "MACs");
    }
    for (const char *const *name = wtl_zoo_names(); *name; name++) {
        wtl_netdef *def = NULL;
        wtl_error err = {0};
        uint64_t parameters, macs;
        wtl_status status = wtl_netdef_load(&def, *name, 0, &err);
        if (status == WTL_OK) {
            status = wtl_netdef_totals(def, &parameters, &macs, &err);
        }
        if (status != WTL_OK) {
            wtl_netdef_free(def);
            json_decref(list);
            return wtl_cli_report(&err);
        }
        char shape[40];
        shape_text(def->input, shape);
        if (!as_json) {
            printf("%-24s %12s %13s %16s\n", *name, shape, wtl_cli_grouped(parameters),
                   wtl_cli_grouped(macs));
        }
        (void)json_array_append_new(list, json_pack("{s:s, s:o, s:I, s:I}", "net", *name,
                                                    "input", shape_json(def->input),
                                                    "parameters", (json_int_t)parameters,
                                                    "macs", (json_int_t)macs));
        wtl_netdef_free(def);
    }
    if (!as_json) {
        json_decref(list);
        return WTL_EXIT_DONE;
    }
    return wtl_cli_print_json(command, json_pack("{s:o}", "zoo", list));
}

static int run(const wtl_command *command, int argc, char **argv)
{
    info_args args = {.batch = 1};
    wtl_parsed parsed;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    if (args.zoo && parsed.word_count) {
        return wtl_cli_usage_error(command, "--zoo lists all networks: leave out '%.200s'",
                                   parsed.words[0]);
    }
    if (args.zoo) {
        return list_zoo(command, parsed.common.json);
    }
    if (parsed.word_count == 0) {
        return wtl_cli_usage_error(command, "info needs a checkpoint, a network file or a name "
                                            "from 'wattle info --zoo'");
    }
    wtl_error err = {0};
    report r = {0};
    const char *what = parsed.words[0];
    int threads = parsed.common.threads ? parsed.common.threads : wtl_threads_available();
    wtl_status status = make_report(&r, what, &args, threads, &err);
    int code = WTL_EXIT_DONE;
    if (status != WTL_OK) {
        code = wtl_cli_report(&err);
    } else if (parsed.common.json) {
        code = print_json(command, &r, what, &args, threads);
    } else {
        print_text(&r, &args);
    }
    clear_report(&r);
    return code;
}

const wtl_command wtl_command_info = {
    .name = "info",
    .line = "layers, shapes, parameters, MACs and memory of a network",
    .usage = "FILE|NET [OPTION...]\n       wattle info --zoo",
    .about =
        "Shows a checkpoint, a file of network text or a network of the zoo: each layer's\n"
        "output (channels x height x width), parameters (trained ones), multiply-\n"
        "accumulates for one image and, of a checkpoint, the share of weights that are\n"
        "not zero; the totals of the inference network, with what only training has\n"
        "apart; the memory that inference needs; the preprocessing.",
    .examples = "  wattle info --zoo\n"
                "  wattle info mobilenet-v2:width=0.5 --json\n"
                "  wattle info runs/first/ckpt/last.wtl --kernels --batch 32",
    .options = options,
    .least_words = 0,
    .most_words = 1,
    .words = "a checkpoint or network",
    .run = run,
};
