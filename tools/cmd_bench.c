/* cmd_bench.c - wattle bench: how fast a network runs here, and how fast it could. */
#include "commands.h"
#include "common/calibrate.h"
#include "common/kernel_cache.h"
#include "common/net_bench.h"
#include "common/output.h"
#include "common/progress.h"
#include "common/signals.h"
#include "common/table.h"

#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <math.h>
#include <string.h>

enum { MOST_ITEMS = 32, MOST_REPEATS = 10000, LIST_SIZE = 256 };

typedef struct bench_args {
    bool train, layers, no_fold, no_winograd, dense, calibrate, markdown, csv;
    char batches[LIST_SIZE], threads_list[LIST_SIZE];
    int engine, isa, warmup, repeats;
    double seconds;
} bench_args;

#define ARG(field) offsetof(bench_args, field), sizeof(((bench_args *)0)->field)
static const wtl_option options[] = {
    {"train", NULL, NULL,
     "time a training step (forward, loss, backward, SGD) instead of\n"
     "inference; auxiliary heads are part of it",
     "What is timed", WTL_OPTION_FLAG, 0, ARG(train), 0, 0, NULL},
    {"batches", NULL, "N,...", "images in a batch, one after the other (default 1,8,64)", NULL,
     WTL_OPTION_TEXT, 'b', ARG(batches), 0, 0, NULL},
    {"threads-list", NULL, "N,...", "numbers of threads, instead of --threads", NULL,
     WTL_OPTION_TEXT, 0, ARG(threads_list), 0, 0, NULL},
    {"engine", NULL, "NAME", "native (default), blas or reference", NULL, WTL_OPTION_CHOICE, 0,
     ARG(engine), 0, 0, wtl_engine_words},
    {"isa", NULL, "NAME",
     "best (default), plain, avx2 or avx512: the most that the native\n"
     "engine may use",
     NULL, WTL_OPTION_CHOICE, 0, ARG(isa), 0, 0, wtl_isa_words},
    {"no-winograd", NULL, NULL, "native engine: direct convolution only", NULL, WTL_OPTION_FLAG,
     0, ARG(no_winograd), 0, 0, NULL},
    {"dense", NULL, NULL,
     "native engine: dense kernels only, though a checkpoint's zeros\n"
     "would pay; without it, both are timed where they differ",
     NULL, WTL_OPTION_FLAG, 0, ARG(dense), 0, 0, NULL},
    {"no-fold", NULL, NULL, "keep batch norm apart from the layers before, at inference", NULL,
     WTL_OPTION_FLAG, 0, ARG(no_fold), 0, 0, NULL},
    {"calibrate", NULL, NULL,
     "instead: measure this processor's kernels (some seconds), keep\n"
     "the rates, by which layers choose between dense and sparse",
     NULL, WTL_OPTION_FLAG, 0, ARG(calibrate), 0, 0, NULL},
    {"warmup", NULL, "N", "passes before the first that counts (default 2)", "How often",
     WTL_OPTION_INT, 0, ARG(warmup), 1, 1000, NULL},
    {"repeats", NULL, "N", "passes that count, at most (default 100)", NULL, WTL_OPTION_INT, 0,
     ARG(repeats), 1, MOST_REPEATS, NULL},
    {"seconds", NULL, "S",
     "no new pass after S seconds, but for the first three\n"
     "(default 2)",
     NULL, WTL_OPTION_DOUBLE, 0, ARG(seconds), 0, 1e6, NULL},
    {"layers", NULL, NULL, "a table of layers for each batch and number of threads", "Output",
     WTL_OPTION_FLAG, 0, ARG(layers), 0, 0, NULL},
    {"markdown", NULL, NULL, "print Markdown tables", NULL, WTL_OPTION_FLAG, 0, ARG(markdown),
     0, 0, NULL},
    {"csv", NULL, NULL, "print comma-separated values; with --layers, a row a layer", NULL,
     WTL_OPTION_FLAG, 0, ARG(csv), 0, 0, NULL},
    {0},
};

typedef struct number_list {
    int values[MOST_ITEMS];
    int count;
} number_list;

/* Everything that was measured. */
typedef struct bench {
    wtl_subject subject;
    number_list batches, threads;
    wtl_limits limits[MOST_ITEMS]; /* by number of threads */
    wtl_bench_pair *pairs;         /* [threads.count * batches.count], in this order */
    wtl_kernel_costs costs;
} bench;

static const wtl_bench_pair *pair_of(const bench *b, int thread, int batch)
{
    return &b->pairs[thread * b->batches.count + batch];
}

static bool is_pair(const wtl_bench_pair *pair)
{
    return pair->dense.repeats > 0;
}

static bool any_pair(const bench *b)
{
    bool any = false;
    for (int i = 0; i < b->threads.count * b->batches.count; i++) {
        any |= is_pair(&b->pairs[i]);
    }
    return any;
}

static void clear_bench(bench *b)
{
    for (int i = 0; b->pairs && i < b->threads.count * b->batches.count; i++) {
        wtl_bench_pair_clear(&b->pairs[i]);
    }
    wtl_free(b->pairs);
    wtl_subject_clear(&b->subject);
}

/* ---- lists ---- */

/* 0, or an exit code when everything is said. */
static int read_list(number_list *list, const char *text, int most, const char *option,
                     const wtl_command *command)
{
    list->count = 0;
    do {
        char word[32];
        size_t length = strcspn(text, ",");
        snprintf(word, sizeof word, "%.*s", (int)length, text);
        if (list->count == MOST_ITEMS) {
            return wtl_cli_usage_error(command, "--%s takes at most %d numbers", option,
                                       MOST_ITEMS);
        }
        if (length >= sizeof word ||
            !wtl_parse_int(word, 1, most, &list->values[list->count])) {
            return wtl_cli_usage_error(command, "--%s takes numbers from 1 to %d, not '%s'",
                                       option, most, word);
        }
        list->count++;
        text += length;
    } while (*text++ == ',');
    return WTL_EXIT_DONE;
}

/* ---- measuring ---- */

static wtl_status measure(bench *b, const bench_args *args, const wtl_common *common,
                          wtl_error *err)
{
    wtl_progress progress;
    wtl_status status = WTL_OK;
    int done = 0, total = b->threads.count * b->batches.count;
    wtl_progress_begin(&progress, common);
    for (int t = 0; t < b->threads.count && status == WTL_OK; t++) {
        wtl_limits_measure(&b->limits[t], b->threads.values[t]);
        for (int i = 0; i < b->batches.count && status == WTL_OK; i++, done++) {
            const wtl_bench_plan plan = {.training = args->train,
                                         .no_fold = args->no_fold,
                                         .engine = (wtl_engine)args->engine,
                                         .isa = (wtl_isa)args->isa,
                                         .no_winograd = args->no_winograd,
                                         .no_sparse = args->dense,
                                         .costs = &b->costs,
                                         .threads = b->threads.values[t],
                                         .batch = b->batches.values[i],
                                         .warmup = args->warmup,
                                         .repeats = args->repeats,
                                         .seconds = args->seconds,
                                         .seed = common->seed};
            wtl_progress_show(&progress, "measuring", done, total, "", -1);
            status = wtl_bench_measure(&b->pairs[done], &b->subject, &plan, &b->limits[t], err);
        }
    }
    wtl_progress_end(&progress);
    return status;
}

/* ---- tables ---- */

static double percent(double part, double whole)
{
    return whole > 0.0 ? 100.0 * part / whole : NAN;
}

static double ms(double seconds)
{
    return 1e3 * seconds;
}

/* GFLOP/s; NaN where nothing is counted. */
static double gflops(double flops, double seconds)
{
    return flops > 0.0 && seconds > 0.0 ? 1e-9 * flops / seconds : NAN;
}

static double planned_bytes(const wtl_bench_point *p)
{
    return (double)(p->memory.parameters + p->memory.gradients + p->memory.activations);
}

/* NaN: there is no pair. */
static double speed_up(const wtl_bench_pair *pair)
{
    return is_pair(pair) ? pair->dense.seconds.median / pair->point.seconds.median : NAN;
}

/* The last where there is a pair. */
enum { PAIR_POINT_COLUMNS = 2 };
static const wtl_column point_columns[] = {
    {"threads", NULL, false},
    {"batch", NULL, false},
    {"images/s", "images_per_second", false},
    {"median ms", "median_ms", false},
    {"mean ms", "mean_ms", false},
    {"sd ms", "sd_ms", false},
    {"least ms", "least_ms", false},
    {"most ms", "most_ms", false},
    {"repeats", NULL, false},
    {"GFLOP/s", "gflops", false},
    {"of peak %", "of_peak_percent", false},
    {"memory MiB", "memory_mib", false},
    {"kernels", NULL, true},
    {"times dense", "times_dense", false},
};
enum { POINT_COLUMNS = sizeof point_columns / sizeof *point_columns };

/* `faster`: how many times dense; NaN where this is dense. */
static void add_point(wtl_table *table, const wtl_bench_point *p, double faster,
                      const wtl_limits *limits)
{
    wtl_table_cell(table, "%d", p->threads);
    wtl_table_cell(table, "%d", p->batch);
    wtl_table_number(table, p->batch / p->seconds.median, 1);
    wtl_table_number(table, ms(p->seconds.median), 3);
    wtl_table_number(table, ms(p->seconds.mean), 3);
    wtl_table_number(table, ms(p->seconds.sd), 3);
    wtl_table_number(table, ms(p->seconds.least), 3);
    wtl_table_number(table, ms(p->seconds.most), 3);
    wtl_table_cell(table, "%d", p->repeats);
    double rate = gflops(p->flops, p->seconds.median);
    wtl_table_number(table, rate, 1);
    wtl_table_number(table, percent(1e9 * rate, limits->flops), 1);
    wtl_table_number(table, planned_bytes(p) / (1 << 20), 1);
    if (table->column_count == POINT_COLUMNS) {
        wtl_table_cell(table, "%s", isnan(faster) ? "dense" : "sparse");
        wtl_table_number(table, faster, 2);
    }
}

/* The first two only where rows of several points come together, the last three where there is a
 * pair. */
enum { OWN_COLUMNS = 2, PAIR_LAYER_COLUMNS = 3 };
static const wtl_column layer_columns[] = {
    {"threads", NULL, false},
    {"batch", NULL, false},
    {"layer", NULL, true},
    {"kind", NULL, true},
    {"pass", NULL, true},
    {"ms", NULL, false},
    {"share %", "share_percent", false},
    {"GFLOP/s", "gflops", false},
    {"of peak %", "of_peak_percent", false},
    {"bound ms", "bound_ms", false},
    {"by", "bound_by", true},
    {"of bound %", "of_bound_percent", false},
    {"kernel", NULL, true},
    {"dense ms", "dense_ms", false},
    {"times dense", "times_dense", false},
    {"dense kernel", "dense_kernel", true},
};
enum { LAYER_COLUMNS = sizeof layer_columns / sizeof *layer_columns };

static void begin_layer(wtl_table *table, const wtl_bench_point *p, const char *name,
                        const char *kind, const char *pass, double seconds)
{
    if (table->columns == layer_columns) {
        wtl_table_cell(table, "%d", p->threads);
        wtl_table_cell(table, "%d", p->batch);
    }
    wtl_table_cell(table, "%s", name);
    wtl_table_cell(table, "%s", kind);
    wtl_table_cell(table, "%s", pass);
    wtl_table_number(table, ms(seconds), 3);
    wtl_table_number(table, percent(seconds, p->seconds.median), 1);
}

static bool shows_pairs(const wtl_table *table)
{
    return table->columns + table->column_count == layer_columns + LAYER_COLUMNS;
}

/* NaN, NULL: there is no dense one. */
static void end_layer(wtl_table *table, double seconds, double dense_seconds,
                      const char *dense_kernel)
{
    if (shows_pairs(table)) {
        wtl_table_number(table, ms(dense_seconds), 3);
        wtl_table_number(table, dense_seconds / seconds, 2);
        wtl_table_cell(table, "%s", dense_kernel ? dense_kernel : "-");
    }
}

static void add_layer(wtl_table *table, const wtl_bench_point *p, const wtl_bench_row *row,
                      const wtl_bench_row *dense, const wtl_limits *limits)
{
    begin_layer(table, p, row->name, row->kind, row->backward ? "backward" : "forward",
                row->seconds);
    double rate = gflops(row->flops, row->seconds);
    wtl_table_number(table, rate, 1);
    wtl_table_number(table, percent(1e9 * rate, limits->flops), 1);
    wtl_table_number(table, ms(row->bound_seconds), 3);
    wtl_table_cell(table, "%s", row->memory_bound ? "memory" : "compute");
    wtl_table_number(table, percent(row->bound_seconds, row->seconds), 1);
    wtl_table_cell(table, "%s", row->kernel);
    end_layer(table, row->seconds, dense ? dense->seconds : NAN, dense ? dense->kernel : NULL);
}

/* What is no layer: loss, step, rest. */
static void add_other(wtl_table *table, const wtl_bench_point *p, const char *name,
                      double seconds, double dense_seconds)
{
    enum { WITHOUT_VALUE = 6 };
    begin_layer(table, p, name, "-", "-", seconds);
    for (int i = 0; i < WITHOUT_VALUE; i++) {
        wtl_table_cell(table, "-");
    }
    end_layer(table, seconds, dense_seconds, NULL);
}

static const wtl_bench_row *row_of(const wtl_bench_point *p, const wtl_bench_row *like)
{
    for (int i = 0; i < p->row_count; i++) {
        if (p->rows[i].layer == like->layer && p->rows[i].backward == like->backward) {
            return &p->rows[i];
        }
    }
    return NULL;
}

static void add_layers(wtl_table *table, const wtl_bench_pair *pair, const wtl_limits *limits,
                       bool training)
{
    const wtl_bench_point *p = &pair->point;
    for (int i = 0; i < p->row_count; i++) {
        add_layer(table, p, &p->rows[i], row_of(&pair->dense, &p->rows[i]), limits);
    }
    if (training) {
        add_other(table, p, "(loss)", p->loss_seconds, NAN);
        add_other(table, p, "(step)", p->step_seconds, NAN);
    }
    add_other(table, p, "(rest)", p->rest_seconds,
              is_pair(pair) ? pair->dense.rest_seconds : NAN);
}

static wtl_status print_table(wtl_table *table, wtl_table_form form, wtl_error *err)
{
    wtl_status status = wtl_table_print(stdout, table, form, err);
    wtl_table_clear(table);
    return status;
}

/* All points, a row each; CSV always has the same columns. */
static wtl_status print_points(const bench *b, wtl_table_form form, wtl_error *err)
{
    bool pairs = form == WTL_TABLE_CSV || any_pair(b);
    wtl_table table = {.columns = point_columns,
                       .column_count = POINT_COLUMNS - (pairs ? 0 : PAIR_POINT_COLUMNS)};
    for (int t = 0; t < b->threads.count; t++) {
        for (int i = 0; i < b->batches.count; i++) {
            const wtl_bench_pair *pair = pair_of(b, t, i);
            add_point(&table, &pair->point, speed_up(pair), &b->limits[t]);
            if (is_pair(pair)) {
                add_point(&table, &pair->dense, NAN, &b->limits[t]);
            }
        }
    }
    return print_table(&table, form, err);
}

/* All layers of all points. */
static wtl_status print_layers_csv(const bench *b, bool training, wtl_error *err)
{
    wtl_table table = {.columns = layer_columns, .column_count = LAYER_COLUMNS};
    for (int t = 0; t < b->threads.count; t++) {
        for (int i = 0; i < b->batches.count; i++) {
            add_layers(&table, pair_of(b, t, i), &b->limits[t], training);
        }
    }
    return print_table(&table, WTL_TABLE_CSV, err);
}

static wtl_status print_layers(const bench *b, int thread, int batch, wtl_table_form form,
                               bool training, wtl_error *err)
{
    const wtl_bench_pair *pair = pair_of(b, thread, batch);
    const wtl_bench_point *p = &pair->point;
    wtl_table table = {.columns = layer_columns + OWN_COLUMNS,
                       .column_count = LAYER_COLUMNS - OWN_COLUMNS -
                                       (is_pair(pair) ? 0 : PAIR_LAYER_COLUMNS)};
    printf("\n%d thread%s, batch %d%s\n", p->threads, p->threads == 1 ? "" : "s", p->batch,
           form == WTL_TABLE_MARKDOWN ? "\n" : "");
    add_layers(&table, pair, &b->limits[thread], training);
    return print_table(&table, form, err);
}

static void print_heading(const bench *b, const bench_args *args)
{
    char processor[128], blas[256];
    const char *gap = args->markdown ? "\n" : "";
    wtl_processor_name(processor, sizeof processor);
    wtl_blas_describe(blas, sizeof blas);
    wtl_cli_print_text(stdout, b->subject.def->name);
    printf("  %s, engine %s\n%s", args->train ? "training" : "inference",
           wtl_engine_words[args->engine], gap);
    printf("%s; %s\n%s", processor, blas, gap);
    for (int t = 0; t < b->threads.count; t++) {
        const wtl_limits *l = &b->limits[t];
        printf("limits, %d thread%s: %.1f GFLOP/s (%s); memory %.1f GB/s read, %.1f copied; "
               "cache %.1f, %.1f\n%s",
               l->threads, l->threads == 1 ? "" : "s", 1e-9 * l->flops,
               wtl_peak_isa_name(l->isa), 1e-9 * l->memory_read, 1e-9 * l->memory_copy,
               1e-9 * l->cache_read, 1e-9 * l->cache_copy, gap);
    }
    fputs(args->markdown ? "" : "\n", stdout);
}

static wtl_table_form form_of(const bench_args *args)
{
    return args->csv ? WTL_TABLE_CSV : args->markdown ? WTL_TABLE_MARKDOWN : WTL_TABLE_TEXT;
}

static wtl_status print_text(const bench *b, const bench_args *args, wtl_error *err)
{
    wtl_table_form form = form_of(args);
    if (args->csv && args->layers) {
        return print_layers_csv(b, args->train, err);
    }
    if (!args->csv) {
        print_heading(b, args);
    }
    wtl_status status = print_points(b, form, err);
    for (int t = 0; t < b->threads.count && args->layers && !args->csv; t++) {
        for (int i = 0; i < b->batches.count && status == WTL_OK; i++) {
            status = print_layers(b, t, i, form, args->train, err);
        }
    }
    return status;
}

/* ---- JSON ---- */

static json_t *limits_json(const wtl_limits *l)
{
    return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:I}", "threads", l->threads, "isa",
                     wtl_peak_isa_name(l->isa), "flops_per_second", wtl_json_real(l->flops),
                     "memory_read_bytes_per_second", wtl_json_real(l->memory_read),
                     "memory_copy_bytes_per_second", wtl_json_real(l->memory_copy),
                     "cache_read_bytes_per_second", wtl_json_real(l->cache_read),
                     "cache_copy_bytes_per_second", wtl_json_real(l->cache_copy), "cache_bytes",
                     (json_int_t)l->cache_bytes);
}

static json_t *row_json(const wtl_bench_row *row)
{
    return json_pack("{s:o, s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:s}", "name",
                     wtl_json_string(row->name), "kind", row->kind, "pass",
                     row->backward ? "backward" : "forward", "kernel",
                     wtl_json_string(row->kernel), "seconds", wtl_json_real(row->seconds),
                     "flops", wtl_json_real(row->flops), "bytes", wtl_json_real(row->bytes),
                     "bound_seconds", wtl_json_real(row->bound_seconds), "bound_by",
                     row->memory_bound ? "memory" : "compute");
}

static json_t *point_json(const wtl_bench_point *p, double faster, bool training)
{
    json_t *layers = json_array();
    for (int i = 0; i < p->row_count; i++) {
        (void)json_array_append_new(layers, row_json(&p->rows[i]));
    }
    const wtl_spread *s = &p->seconds;
    json_t *seconds =
        json_pack("{s:o, s:o, s:o, s:o, s:o}", "median", wtl_json_real(s->median), "mean",
                  wtl_json_real(s->mean), "sd", wtl_json_real(s->sd), "least",
                  wtl_json_real(s->least), "most", wtl_json_real(s->most));
    json_t *json =
        json_pack("{s:i, s:i, s:i, s:o, s:o, s:o, s:o, s:o, s:o}", "threads", p->threads,
                  "batch", p->batch, "repeats", p->repeats, "images_per_second",
                  wtl_json_real(p->batch / s->median), "flops", wtl_json_real(p->flops),
                  "memory_bytes", json_integer((json_int_t)planned_bytes(p)), "seconds",
                  seconds, "rest_seconds", wtl_json_real(p->rest_seconds), "layers", layers);
    (void)json_object_set_new(json, "kernels", json_string(isnan(faster) ? "dense" : "sparse"));
    (void)json_object_set_new(json, "times_dense", wtl_json_real(faster));
    if (training) {
        (void)json_object_set_new(json, "loss_seconds", wtl_json_real(p->loss_seconds));
        (void)json_object_set_new(json, "step_seconds", wtl_json_real(p->step_seconds));
    }
    return json;
}

static int print_json(const wtl_command *command, const bench *b, const bench_args *args,
                      const char *what)
{
    char processor[128], blas[256];
    json_t *limits = json_array(), *results = json_array();
    wtl_processor_name(processor, sizeof processor);
    wtl_blas_describe(blas, sizeof blas);
    for (int t = 0; t < b->threads.count; t++) {
        (void)json_array_append_new(limits, limits_json(&b->limits[t]));
        for (int i = 0; i < b->batches.count; i++) {
            const wtl_bench_pair *pair = pair_of(b, t, i);
            (void)json_array_append_new(results,
                                        point_json(&pair->point, speed_up(pair), args->train));
            if (is_pair(pair)) {
                (void)json_array_append_new(results,
                                            point_json(&pair->dense, NAN, args->train));
            }
        }
    }
    return wtl_cli_print_json(
        command,
        json_pack("{s:o, s:o, s:s, s:s, s:b, s:o, s:o, s:o, s:o}", "file",
                  wtl_json_string(what), "net", wtl_json_string(b->subject.def->name), "pass",
                  args->train ? "training" : "inference", "engine",
                  wtl_engine_words[args->engine], "batchnorm_folded",
                  !args->train && !args->no_fold, "processor", wtl_json_string(processor),
                  "blas", wtl_json_string(blas), "limits", limits, "results", results));
}

/* ---- the command ---- */

static int compute(const wtl_command *command, const bench_args *args, bench *b,
                   const wtl_parsed *parsed)
{
    wtl_error err = {0};
    const char *what = parsed->words[0];
    wtl_status status = wtl_subject_load(&b->subject, what, &err);
    if (status == WTL_OK) {
        size_t count = (size_t)b->threads.count * (size_t)b->batches.count;
        b->costs = wtl_kernel_cache_load((wtl_isa)args->isa);
        b->pairs = wtl_alloc(count, sizeof *b->pairs);
        status = b->pairs ? WTL_OK
                          : wtl_fail(&err, WTL_E_NOMEM, "out of memory for %zu points", count);
    }
    if (status == WTL_OK) {
        wtl_signals_catch();
        status = measure(b, args, &parsed->common, &err);
    }
    if (status == WTL_OK && parsed->common.json) {
        return print_json(command, b, args, what);
    }
    if (status == WTL_OK) {
        status = print_text(b, args, &err);
    }
    return status == WTL_OK ? WTL_EXIT_DONE : wtl_cli_report(&err);
}

static int check_calibrate(const wtl_parsed *parsed)
{
    static const char *const allowed[] = {"calibrate", "isa",   "threads", "csv", "markdown",
                                          "json",      "quiet", "color",   NULL};
    const char *other = wtl_option_given_but(parsed, allowed);
    if (parsed->word_count) {
        return wtl_cli_usage_error(parsed->command,
                                   "--calibrate measures the processor, not a network: leave "
                                   "'%.200s' out",
                                   parsed->words[0]);
    }
    return other ? wtl_cli_usage_error(parsed->command, "--calibrate goes without --%s", other)
                 : WTL_EXIT_DONE;
}

/* 0, or an exit code when everything is said. */
static int check(const bench_args *args, bench *b, const wtl_parsed *parsed)
{
    enum { MOST_BATCH = 65536, MOST_THREADS = 1024 };
    const wtl_command *command = parsed->command;
    if (args->csv + args->markdown + parsed->common.json > 1) {
        return wtl_cli_usage_error(command, "--csv, --markdown and --json: print one");
    }
    if (args->calibrate) {
        return check_calibrate(parsed);
    }
    if (parsed->word_count == 0) {
        return wtl_cli_usage_error(command, "bench needs a checkpoint or network (CKPT|NET)");
    }
    if (args->train && args->dense) {
        return wtl_cli_usage_error(command, "--dense is of inference: leave --train out");
    }
    if (args->train && args->no_fold) {
        return wtl_cli_usage_error(command, "--no-fold: training never folds");
    }
    bool list = wtl_option_given(parsed, "threads-list");
    if (list && parsed->common.threads) {
        return wtl_cli_usage_error(command, "--threads and --threads-list: give one");
    }
    int threads = parsed->common.threads;
    b->threads =
        (number_list){.values = {threads ? threads : wtl_threads_available()}, .count = 1};
    int code = read_list(&b->batches, args->batches, MOST_BATCH, "batches", command);
    return code || !list ? code
                         : read_list(&b->threads, args->threads_list, MOST_THREADS,
                                     "threads-list", command);
}

static int run(const wtl_command *command, int argc, char **argv)
{
    bench_args args = {.batches = "1,8,64", .warmup = 2, .repeats = 100, .seconds = 2.0};
    bench b = {.batches = {.count = 0}};
    wtl_parsed parsed;
    if (!wtl_options_parse(&parsed, command, &args, argc, argv)) {
        return parsed.exit_code;
    }
    int code = check(&args, &b, &parsed);
    if (code == WTL_EXIT_DONE) {
        code = args.calibrate ? wtl_calibrate(&parsed, (wtl_isa)args.isa, form_of(&args))
                              : compute(command, &args, &b, &parsed);
    }
    clear_bench(&b);
    return code;
}

const wtl_command wtl_command_bench = {
    .name = "bench",
    .line = "how fast a network runs here, layer by layer, and could run",
    .usage = "CKPT|NET [OPTION...]\n       wattle bench --calibrate [OPTION...]",
    .about =
        "Times inference, or a training step, of a checkpoint or a network (a file of\n"
        "network text or a name of the zoo) on images of noise, after warm-up. Beside it\n"
        "stand limits measured in the same run: multiply-adds of the widest vectors, bytes\n"
        "from memory and from the last cache.\n"
        "\n"
        "--layers shows each layer's median, its rate (2 operations a multiply-accumulate,\n"
        "zero weights counted), its share of the peak, and its bound: the longer of\n"
        "operations at the peak and bytes, each tensor once, at the bandwidth. Maps count\n"
        "as cached if they fill no more than half of the last cache, weights if the whole\n"
        "network does. What is fused counts where it is fused into. (rest) is what no layer\n"
        "accounts for.\n"
        "\n"
        "Where zeros of a checkpoint's weights make layers choose another kernel, inference\n"
        "is timed by these and by the dense ones, in turns, and the tables tell how many\n"
        "times faster it is. Layers choose by rates that --calibrate measures and keeps in\n"
        "~/.cache/wattle (XDG_CACHE_HOME), or by defaults; eval, infer and prune, too.\n"
        "\n"
        "Threads are best bound to cores: OMP_PROC_BIND=true OMP_PLACES=cores. Which kernels\n"
        "OpenBLAS takes is up to OPENBLAS_CORETYPE, if it is set.",
    .examples = "  wattle bench alexnet-bvlc --batches 1,64 --threads-list 1,2 --layers\n"
                "  wattle bench runs/first/ckpt/last.wtl --train --batches 64 --markdown\n"
                "  wattle bench mobilenet-v1 --csv --layers --seconds 10\n"
                "  wattle bench --calibrate",
    .options = options,
    .least_words = 0,
    .most_words = 1,
    .words = "a checkpoint or network (CKPT|NET)",
    .run = run,
};
