/* calibrate.c - see calibrate.h. */
#include "calibrate.h"

#include "kernel_cache.h"
#include "model.h"
#include "output.h"
#include "peak.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

/* ---- the rates ---- */

#define RATE(name, unit, what)                                                                 \
    {                                                                                          \
#name, unit, what, offsetof(wtl_kernel_costs, name)                                    \
    }
static const struct {
    const char *name, *unit, *what;
    size_t at;
} RATES[] = {
    RATE(dense_gflops, "GFLOP/s", "direct convolution, one thread"),
    RATE(winograd_gflops, "GFLOP/s", "3x3 by Winograd, counted as if direct"),
    RATE(memory_gbs, "GB/s", "weights read from memory, all threads"),
    RATE(rows_ns, "ns", "a weight by itself, one output pixel"),
    RATE(rows_far_ns, "ns", "the same, input in the second-level cache"),
    RATE(quads_ns, "ns", "a 4x1 block, one output pixel"),
    RATE(quads_far_ns, "ns", "the same, input in the second-level cache"),
    RATE(sum_ns, "ns", "a sum put away and fetched again"),
    RATE(turn_ns, "ns", "a value turned between layouts"),
    RATE(copy_ns, "ns", "a value copied"),
    RATE(call_ns, "ns", "beginning the sums of a filter"),
};
enum { RATE_COUNT = sizeof RATES / sizeof *RATES };

static double rate_of(const wtl_kernel_costs *costs, int i)
{
    return *(const double *)(const void *)((const char *)costs + RATES[i].at);
}

/* ---- typical layers ---- */

#define CONV(filters, side, padding, group_count)                                              \
    {                                                                                          \
        .out = (filters), .kernel = {side, side}, .stride = {1, 1},                            \
        .pad = {padding, padding, padding, padding}, .dilation = {1, 1},                       \
        .groups = (group_count)                                                                \
    }
static const struct {
    const char *name;
    wtl_conv_options options;
    wtl_shape in, out;
} LAYERS[] = {
    {"AlexNet conv2", CONV(256, 5, 2, 2), {96, 27, 27}, {256, 27, 27}},
    {"AlexNet conv3", CONV(384, 3, 1, 1), {256, 13, 13}, {384, 13, 13}},
    {"AlexNet conv4", CONV(384, 3, 1, 2), {384, 13, 13}, {384, 13, 13}},
    {"AlexNet conv5", CONV(256, 3, 1, 2), {384, 13, 13}, {256, 13, 13}},
    {"AlexNet fc6", CONV(4096, 1, 0, 1), {9216, 1, 1}, {4096, 1, 1}},
    {"GoogLeNet 3a 1x1", CONV(64, 1, 0, 1), {192, 28, 28}, {64, 28, 28}},
    {"GoogLeNet 3a 3x3", CONV(128, 3, 1, 1), {96, 28, 28}, {128, 28, 28}},
    {"GoogLeNet 3b 5x5", CONV(96, 5, 2, 1), {32, 28, 28}, {96, 28, 28}},
    {"GoogLeNet 4c 1x1", CONV(128, 1, 0, 1), {512, 14, 14}, {128, 14, 14}},
    {"GoogLeNet 4c 3x3", CONV(256, 3, 1, 1), {128, 14, 14}, {256, 14, 14}},
};
enum { LAYER_COUNT = sizeof LAYERS / sizeof *LAYERS };

/* What is told of a layer, at batch 1. */
typedef struct prospect {
    double dense_seconds;
    double below[WTL_KERNEL_COUNT];    /* density */
    double speed_up[WTL_KERNEL_COUNT]; /* at FEW of the weights, where it is faster; else 1 */
} prospect;

static const double FEW = 0.1;

static prospect prospect_of(const wtl_kernel_costs *costs, int i)
{
    const wtl_conv_options *o = &LAYERS[i].options;
    prospect p;
    wtl_kernel_choice choice = wtl_kernel_choose(costs, o, LAYERS[i].in, LAYERS[i].out,
                                                 (wtl_kernel_density){FEW, FEW}, 1);
    double dense = choice.seconds[WTL_KERNEL_DENSE];
    p.dense_seconds = dense;
    for (int k = WTL_KERNEL_DENSE; k < WTL_KERNEL_COUNT; k++) {
        p.below[k] = k == WTL_KERNEL_DENSE
                         ? 1.0
                         : wtl_kernel_break_even(costs, o, LAYERS[i].in, LAYERS[i].out,
                                                 (wtl_kernel)k, 1);
        p.speed_up[k] = choice.seconds[k] < dense ? dense / choice.seconds[k] : 1.0;
    }
    return p;
}

/* ---- output ---- */

static const wtl_column rate_columns[] = {
    {"rate", NULL, true}, {"value", NULL, false}, {"unit", NULL, true}, {"of", NULL, true}};

static const wtl_column layer_columns[] = {
    {"layer", NULL, true},
    {"dense ms", "dense_ms", false},
    {"pays below", "pays_below", false},
    {"4x1 below", "pays_below_4x1", false},
    {"at 0.1", "speed_up_at_0.1", false},
    {"4x1 at 0.1", "speed_up_4x1_at_0.1", false},
};

static wtl_status print_table(wtl_table *table, wtl_table_form form, wtl_error *err)
{
    wtl_status status = wtl_table_print(stdout, table, form, err);
    wtl_table_clear(table);
    return status;
}

static wtl_status print_rates(const wtl_kernel_costs *costs, wtl_table_form form,
                              wtl_error *err)
{
    wtl_table table = {.columns = rate_columns,
                       .column_count = sizeof rate_columns / sizeof *rate_columns};
    for (int i = 0; i < RATE_COUNT; i++) {
        wtl_table_cell(&table, "%s", RATES[i].name);
        wtl_table_cell(&table, "%.4g", rate_of(costs, i));
        wtl_table_cell(&table, "%s", RATES[i].unit);
        wtl_table_cell(&table, "%s", RATES[i].what);
    }
    return print_table(&table, form, err);
}

static wtl_status print_prospects(const wtl_kernel_costs *costs, wtl_table_form form,
                                  wtl_error *err)
{
    wtl_table table = {.columns = layer_columns,
                       .column_count = sizeof layer_columns / sizeof *layer_columns};
    for (int i = 0; i < LAYER_COUNT; i++) {
        prospect p = prospect_of(costs, i);
        wtl_table_cell(&table, "%s", LAYERS[i].name);
        wtl_table_number(&table, 1e3 * p.dense_seconds, 3);
        wtl_table_number(&table, p.below[WTL_KERNEL_ROWS], 3);
        wtl_table_number(&table, p.below[WTL_KERNEL_QUADS], 3);
        wtl_table_number(&table, p.speed_up[WTL_KERNEL_ROWS], 2);
        wtl_table_number(&table, p.speed_up[WTL_KERNEL_QUADS], 2);
    }
    return print_table(&table, form, err);
}

static wtl_status print_text(const wtl_kernel_costs *costs, const char *path,
                             wtl_table_form form, wtl_error *err)
{
    const char *gap = form == WTL_TABLE_MARKDOWN ? "\n" : "";
    bool csv = form == WTL_TABLE_CSV;
    if (!csv) {
        wtl_cli_print_text(stdout, costs->processor);
        printf(", kernels for %s, %d thread%s\n\n", wtl_isa_words[costs->isa], costs->threads,
               costs->threads == 1 ? "" : "s");
    }
    wtl_status status = print_rates(costs, form, err);
    putchar('\n');
    if (!csv) {
        printf(
            "Predicted from them, at batch 1: dense on one thread (fc6: on all); the share of "
            "weights\n"
            "below which a layer runs faster, and how many times faster it is with a tenth "
            "of them,\n"
            "of zeros anywhere and of zeros in 4x1 blocks.\n\n");
    }
    if (status == WTL_OK) {
        status = print_prospects(costs, form, err);
    }
    if (!csv) {
        printf("%s\nkept in ", gap);
        wtl_cli_print_text(stdout, path);
        putchar('\n');
    }
    return status;
}

static int print_json(const wtl_command *command, const wtl_kernel_costs *costs,
                      const char *path)
{
    json_t *rates = json_object(), *layers = json_array();
    for (int i = 0; i < RATE_COUNT; i++) {
        (void)json_object_set_new(rates, RATES[i].name, wtl_json_real(rate_of(costs, i)));
    }
    for (int i = 0; i < LAYER_COUNT; i++) {
        prospect p = prospect_of(costs, i);
        (void)json_array_append_new(
            layers, json_pack("{s:s, s:o, s:o, s:o, s:o, s:o}", "layer", LAYERS[i].name,
                              "dense_seconds", wtl_json_real(p.dense_seconds), "pays_below",
                              wtl_json_real(p.below[WTL_KERNEL_ROWS]), "pays_below_4x1",
                              wtl_json_real(p.below[WTL_KERNEL_QUADS]), "speed_up_at_0.1",
                              wtl_json_real(p.speed_up[WTL_KERNEL_ROWS]), "speed_up_4x1_at_0.1",
                              wtl_json_real(p.speed_up[WTL_KERNEL_QUADS])));
    }
    return wtl_cli_print_json(
        command, json_pack("{s:o, s:s, s:i, s:o, s:o, s:o}", "processor",
                           wtl_json_string(costs->processor), "isa", wtl_isa_words[costs->isa],
                           "threads", costs->threads, "kept_in", wtl_json_string(path), "rates",
                           rates, "layers", layers));
}

/* ---- */

static double now(void *context)
{
    (void)context;
    return wtl_peak_now();
}

int wtl_calibrate(const wtl_parsed *parsed, wtl_isa isa, wtl_table_form form)
{
    static const wtl_clock clock = {now, NULL};
    int threads = parsed->common.threads ? parsed->common.threads : wtl_threads_available();
    wtl_kernel_costs costs;
    wtl_error err = {0};
    char *path;
    wtl_threads_prepare(threads);
    wtl_status status = wtl_kernel_cache_prepare(&path, isa, &err);
    if (status == WTL_OK) {
        status = wtl_kernel_costs_measure(&costs, isa, threads, &clock, &err);
    }
    if (status == WTL_OK) {
        status = wtl_kernel_costs_save(&costs, path, &err);
    }
    if (status == WTL_OK && parsed->common.json) {
        int code = print_json(parsed->command, &costs, path);
        wtl_free(path);
        return code;
    }
    if (status == WTL_OK) {
        status = print_text(&costs, path, form, &err);
    }
    wtl_free(path);
    return status == WTL_OK ? WTL_EXIT_DONE : wtl_cli_report(&err);
}
