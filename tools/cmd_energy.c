/* cmd_energy.c - wattle energy: what every layer costs on a described accelerator. */
#include "commands.h"
#include "common/energy_input.h"
#include "common/energy_output.h"
#include "common/model.h"
#include "common/output.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <string.h>

typedef struct energy_args {
    char hardware[1024], shown[1024], against[1024], against_hardware[1024];
    char data[1024], mapping[1024], mappings_out[1024], layers_out[1024];
    char plot[1024], scatter[1024];
    int batch, bits, engine, workers;
    long images;
    bool csv, levels, in_order, list;
} energy_args;

#define ARG(field) offsetof(energy_args, field), sizeof(((energy_args *)0)->field)
static const wtl_option options[] = {
    {"hw", NULL, "HW",
     "the hardware: a name of --hw-list or a YAML file\n"
     "(default eyeriss-cvpr17)",
     "What", WTL_OPTION_TEXT, 0, ARG(hardware), 0, 0, NULL},
    {"batch", "batch-size", "N",
     "images that the hardware takes at once (default 44);\n"
     "a layer file has its own",
     NULL, WTL_OPTION_INT, 'b', ARG(batch), 1, 65536, NULL},
    {"bits", NULL, "N", "width of all values (default 16)", NULL, WTL_OPTION_INT, 0, ARG(bits),
     1, 32, NULL},
    {"mapping", NULL, "FILE",
     "mappings to use instead of the best ones: lines\n"
     "'INDEX: mapping'",
     NULL, WTL_OPTION_TEXT, 0, ARG(mapping), 0, 0, NULL},
    {"against", NULL, "OTHER", "compare with another checkpoint, network or layer file", NULL,
     WTL_OPTION_TEXT, 0, ARG(against), 0, 0, NULL},
    {"against-hw", NULL, "HW", "compare with another hardware", NULL, WTL_OPTION_TEXT, 0,
     ARG(against_hardware), 0, 0, NULL},
    {"hw-list", NULL, NULL, "list the hardware that comes with wattle", NULL, WTL_OPTION_FLAG,
     0, ARG(list), 0, 0, NULL},
    {"hw-show", NULL, "HW", "print a hardware's YAML", NULL, WTL_OPTION_TEXT, 0, ARG(shown), 0,
     0, NULL},
    {"data", NULL, "DATA",
     "measure zeros of a checkpoint's activations on these\n"
     "images; as for 'wattle eval'",
     "Activations", WTL_OPTION_TEXT, 0, ARG(data), 0, 0, NULL},
    {"images", NULL, "N", "images to measure on, at most (default 256)", NULL, WTL_OPTION_LONG,
     0, ARG(images), 1, 1e9, NULL},
    {"workers", NULL, "N", "decoding threads (default 1)", NULL, WTL_OPTION_INT, 'j',
     ARG(workers), 1, 256, NULL},
    {"engine", NULL, "NAME", "native, blas or reference (plain loops, slow)", NULL,
     WTL_OPTION_CHOICE, 0, ARG(engine), 0, 0, wtl_engine_words},
    {"in-order", NULL, NULL, "layers in the network's order, not the costliest first", "Output",
     WTL_OPTION_FLAG, 0, ARG(in_order), 0, 0, NULL},
    {"levels", NULL, NULL, "a second table by memory level", NULL, WTL_OPTION_FLAG, 0,
     ARG(levels), 0, 0, NULL},
    {"csv", NULL, NULL, "print the rows of the MIT energy estimation tool", NULL,
     WTL_OPTION_FLAG, 0, ARG(csv), 0, 0, NULL},
    {"plot", NULL, "OUT.svg", "bars by layer, data type and memory level", NULL,
     WTL_OPTION_TEXT, 0, ARG(plot), 0, 0, NULL},
    {"scatter", NULL, "OUT.svg", "layers' energy over their weights and MACs", NULL,
     WTL_OPTION_TEXT, 0, ARG(scatter), 0, 0, NULL},
    {"layers-out", NULL, "FILE", "write the 25-column layer text", NULL, WTL_OPTION_TEXT, 0,
     ARG(layers_out), 0, 0, NULL},
    {"mappings-out", NULL, "FILE", "write the mappings that were found", NULL, WTL_OPTION_TEXT,
     0, ARG(mappings_out), 0, 0, NULL},
    {0},
};

/* ---- hardware lists ---- */

static int list_hardware(const wtl_command *command, bool as_json)
{
    json_t *list = json_array();
    for (const char *const *name = wtl_hardware_presets(); *name; name++) {
        wtl_hardware hw;
        wtl_error err = {0};
        if (wtl_hardware_load(&hw, *name, &err) != WTL_OK) {
            json_decref(list);
            return wtl_cli_report(&err);
        }
        if (!as_json) {
            printf("%-16s %s\n", hw.name, hw.title);
        }
        (void)json_array_append_new(list, json_pack("{s:s, s:o, s:s, s:o}", "name", *name,
                                                    "title", wtl_json_string(hw.title),
                                                    "dataflow", wtl_dataflow_name(hw.dataflow),
                                                    "source", wtl_json_string(hw.source)));
    }
    if (as_json) {
        return wtl_cli_print_json(command, json_pack("{s:o}", "hardware", list));
    }
    json_decref(list);
    return WTL_EXIT_DONE;
}

/* The text as it stands, once it is known to be good. */
static int show_hardware(const wtl_command *command, const char *what, bool as_json)
{
    enum { MOST_BYTES = 1 << 20 };
    wtl_hardware hw;
    wtl_error err = {0};
    unsigned char *bytes = NULL;
    size_t length;
    wtl_status status = wtl_hardware_load(&hw, what, &err);
    const char *text = status == WTL_OK ? wtl_hardware_preset_text(what, &length) : NULL;
    if (status == WTL_OK && !text) {
        status = wtl_file_read(what, MOST_BYTES, &bytes, &length, &err);
        text = (const char *)bytes;
    }
    int code = WTL_EXIT_DONE;
    if (status != WTL_OK) {
        code = wtl_cli_report(&err);
    } else if (as_json) {
        code = wtl_cli_print_json(command,
                                  json_pack("{s:o, s:o}", "name", wtl_json_string(hw.name),
                                            "yaml", wtl_json_string(text)));
    } else {
        (void)fwrite(text, 1, length, stdout); /* failures show when stdout is closed */
    }
    wtl_free(bytes);
    return code;
}

/* ---- one estimate ---- */

typedef struct estimate {
    wtl_hardware hw;
    wtl_workload work;
    wtl_energy_report report;
} estimate;

static void clear_estimate(estimate *e)
{
    wtl_workload_clear(&e->work);
    wtl_energy_report_clear(&e->report);
}

static wtl_status make_estimate(estimate *e, const char *what, const char *hardware,
                                const energy_args *args, const wtl_parsed *parsed,
                                wtl_error *err)
{
    wtl_energy_input input = {.what = what,
                              .data = args->data[0] ? args->data : NULL,
                              .images = args->images,
                              .batch = args->batch,
                              .bits = args->bits,
                              .batch_given = wtl_option_given(parsed, "batch") ||
                                             wtl_option_given(parsed, "bits"),
                              .engine = args->engine,
                              .workers = args->workers,
                              .seed_given = wtl_option_given(parsed, "seed")};
    wtl_mapping *mappings = NULL;
    wtl_status status = wtl_hardware_load(&e->hw, hardware, err);
    if (status == WTL_OK) {
        status = wtl_energy_input_load(&e->work, &input, &parsed->common, err);
    }
    if (status == WTL_OK && args->mapping[0]) {
        status =
            wtl_energy_mappings_read(&mappings, args->mapping, &e->work, e->hw.dataflow, err);
    }
    if (status == WTL_OK) {
        wtl_energy_options how = {.mappings = mappings};
        status = wtl_energy_estimate(&e->report, &e->hw, &e->work, &how, err);
    }
    wtl_free(mappings);
    return status;
}

static wtl_status write_layers(const char *path, const wtl_workload *work, wtl_error *err)
{
    char *text;
    wtl_status status = wtl_workload_text(&text, work, err);
    if (status == WTL_OK) {
        status = wtl_file_write(path, text, strlen(text), err);
        wtl_free(text);
    }
    return status;
}

static wtl_status write_files(const estimate *e, const energy_args *args, wtl_error *err)
{
    wtl_status status = WTL_OK;
    if (args->layers_out[0]) {
        status = write_layers(args->layers_out, &e->work, err);
    }
    if (status == WTL_OK && args->mappings_out[0]) {
        status = wtl_energy_mappings_write(args->mappings_out, &e->report, err);
    }
    if (status == WTL_OK && args->plot[0]) {
        status = wtl_energy_plot(args->plot, &e->report, err);
    }
    if (status == WTL_OK && args->scatter[0]) {
        status = wtl_energy_scatter(args->scatter, &e->work, &e->report, err);
    }
    return status;
}

/* ---- the command ---- */

static int print_csv(const wtl_energy_report *report)
{
    char *csv = wtl_energy_csv(report);
    if (!csv) {
        wtl_error err;
        (void)wtl_fail(&err, WTL_E_NOMEM, "out of memory for the table");
        return wtl_cli_report(&err);
    }
    fputs(csv, stdout);
    wtl_free(csv);
    return WTL_EXIT_DONE;
}

static int print(const wtl_command *command, const estimate *a, const estimate *b,
                 const energy_args *args, const wtl_parsed *parsed)
{
    if (parsed->common.json) {
        json_t *document = wtl_energy_json(&a->report);
        if (b) {
            double ratio = a->report.total / b->report.total;
            (void)json_object_set_new(document, "against", wtl_energy_json(&b->report));
            (void)json_object_set_new(document, "ratio", wtl_json_real(ratio));
        }
        return wtl_cli_print_json(command, document);
    }
    if (args->csv) {
        return print_csv(&a->report);
    }
    if (b) {
        wtl_energy_print_both(&a->report, &b->report, args->in_order);
    } else {
        wtl_energy_print(&a->report, args->in_order, args->levels);
    }
    return WTL_EXIT_DONE;
}

static int check_usage(const wtl_command *command, const energy_args *args,
                       const wtl_parsed *parsed)
{
    if (parsed->word_count == 0) {
        return wtl_cli_usage_error(command, "energy needs a checkpoint, a network or a layer "
                                            "file; 'wattle info --zoo' lists networks");
    }
    if (args->against[0] && args->against_hardware[0]) {
        return wtl_cli_usage_error(command, "--against and --against-hw: compare with one");
    }
    if (args->against_hardware[0] && args->mapping[0]) {
        return wtl_cli_usage_error(command, "--mapping is of one hardware: leave out "
                                            "--against-hw");
    }
    if (args->csv && (args->against[0] || args->against_hardware[0])) {
        return wtl_cli_usage_error(command, "--csv is of one estimate: leave out %s",
                                   args->against[0] ? "--against" : "--against-hw");
    }
    if (args->csv && parsed->common.json) {
        return wtl_cli_usage_error(command, "--csv and --json: print one");
    }
    if (wtl_option_given(parsed, "images") && !args->data[0]) {
        return wtl_cli_usage_error(command, "--images says how much of --data to use");
    }
    return 0;
}

static int compute(const wtl_command *command, const energy_args *args,
                   const wtl_parsed *parsed)
{
    wtl_error err = {0};
    estimate a = {.work = {.layers = NULL}}, b = {.work = {.layers = NULL}};
    const char *what = parsed->words[0];
    bool both = args->against[0] || args->against_hardware[0];
    wtl_status status = make_estimate(&a, what, args->hardware, args, parsed, &err);
    if (status == WTL_OK && both) {
        status =
            make_estimate(&b, args->against[0] ? args->against : what,
                          args->against_hardware[0] ? args->against_hardware : args->hardware,
                          args, parsed, &err);
    }
    if (status == WTL_OK) {
        status = write_files(&a, args, &err);
    }
    int code = status != WTL_OK ? wtl_cli_report(&err)
                                : print(command, &a, both ? &b : NULL, args, parsed);
    clear_estimate(&a);
    clear_estimate(&b);
    return code;
}

static int run(const wtl_command *command, int argc, char **argv)
{
    energy_args args = {
        .hardware = "eyeriss-cvpr17", .batch = 44, .bits = 16, .workers = 1, .images = 256};
    wtl_parsed parsed;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    if ((args.list || args.shown[0]) && parsed.word_count) {
        return wtl_cli_usage_error(command, "--hw-%s is about hardware: leave out '%.200s'",
                                   args.list ? "list" : "show", parsed.words[0]);
    }
    if (args.list) {
        return list_hardware(command, parsed.common.json);
    }
    if (args.shown[0]) {
        return show_hardware(command, args.shown, parsed.common.json);
    }
    int code = check_usage(command, &args, &parsed);
    return code ? code : compute(command, &args, &parsed);
}

const wtl_command wtl_command_energy = {
    .name = "energy",
    .line = "what every layer costs on a described accelerator",
    .usage = "CKPT|NET|LAYERS.txt [OPTION...]\n       wattle energy --hw-list",
    .about =
        "Estimates the energy of inference, layer by layer: of reading and writing input\n"
        "maps, output maps (partial sums) and weights at every level of memory, and of\n"
        "computing. Each layer is laid onto the accelerator in the way that costs least.\n"
        "The unit is the energy of one 16-bit multiply-accumulate (MAC).\n"
        "\n"
        "The zeros among weights are those of the checkpoint, the zeros among activations\n"
        "are measured with --data; what is not known is taken as dense, and the output\n"
        "says so. LAYERS.txt is the 25-column text of the MIT energy estimation tool.",
    .examples = "  wattle energy alexnet-bvlc\n"
                "  wattle energy runs/first/ckpt/best.wtl --data fashion-mnist --plot e.svg\n"
                "  wattle energy pruned.wtl --against dense.wtl\n"
                "  wattle energy layers.txt --hw my-chip.yaml --csv",
    .options = options,
    .least_words = 0,
    .most_words = 1,
    .words = "a checkpoint, network or layer file",
    .run = run,
};
