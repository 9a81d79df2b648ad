/* report_comparison.c - the page about a comparison, from summary.json and its plots. */
#include "report_private.h"

#include "wattle/compare.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

typedef struct page {
    const char *folder;
    wtl_report_json summary, config;
} page;

/* ---- reading ---- */

#define NUMBER(name)                                                                           \
    {                                                                                          \
        name, WTL_REPORT_NUMBER, 0, -1e18, 1e18                                                \
    }
#define STRING(name)                                                                           \
    {                                                                                          \
        name, WTL_REPORT_TEXT, 0, 0, 0                                                         \
    }
#define COUNT(fields) ((int)(sizeof(fields) / sizeof *(fields)))

static const wtl_report_field point_fields[] = {
    STRING("method"),  NUMBER("seed"),     NUMBER("budget"), NUMBER("energy"),
    NUMBER("density"), NUMBER("val_top1"), NUMBER("top1"),   STRING("note"),
};
static const wtl_report_field row_fields[] = {
    STRING("method"),        NUMBER("seeds"),
    NUMBER("energy_mean"),   NUMBER("energy_sd"),
    NUMBER("top1_mean"),     NUMBER("top1_sd"),
    NUMBER("top5_mean"),     NUMBER("top5_sd"),
    NUMBER("weights_mean"),  NUMBER("macs_mean"),
    NUMBER("iso_seeds"),     NUMBER("iso_energy_mean"),
    NUMBER("iso_energy_sd"), NUMBER("iso_top1_mean"),
    NUMBER("iso_top1_sd"),   {"bounded", WTL_REPORT_BOOL, 0, 0, 0},
    NUMBER("minutes_mean"),  NUMBER("peak_bytes"),
};
static const wtl_report_field layer_fields[] = {
    STRING("net"), STRING("layer"), NUMBER("energy"), NUMBER("kept"), NUMBER("density"),
};
static const wtl_report_field summary_fields[] = {
    STRING("net"),
    STRING("checkpoint"),
    STRING("data"),
    {"seeds", WTL_REPORT_NEEDED, 0, 1, 1e6},
    {"max_drop", WTL_REPORT_NEEDED, 0, 0, 100},
    {"equal_energy", WTL_REPORT_NEEDED, 0, 0, 1},
    NUMBER("train_images"),
    NUMBER("val_images"),
    NUMBER("test_images"),
    NUMBER("search_images"),
};

/* What the page cannot do without, and that everything is of its type. */
static wtl_status check(page *p, wtl_error *err)
{
    static const struct {
        const char *name;
        const wtl_report_field *fields;
        int count;
    } arrays[] = {{"points", point_fields, COUNT(point_fields)},
                  {"rows", row_fields, COUNT(row_fields)},
                  {"layers", layer_fields, COUNT(layer_fields)}};
    static const char *const objects[] = {"dense", "ratios"};
    union {
        double number;
        const char *text;
    } unused;
    wtl_status status = wtl_report_take(&p->summary, p->summary.root, summary_fields,
                                        COUNT(summary_fields), &unused, err);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays && status == WTL_OK; i++) {
        status = wtl_report_check_array(&p->summary, arrays[i].name, arrays[i].fields,
                                        arrays[i].count, err);
    }
    for (size_t i = 0; i < sizeof objects / sizeof *objects && status == WTL_OK; i++) {
        if (!json_is_object(json_object_get(p->summary.root, objects[i]))) {
            status = wtl_report_json_wrong(&p->summary, objects[i], "an object", err);
        }
    }
    return status;
}

static const json_t *find_row(const page *p, const char *method)
{
    size_t i;
    json_t *row;
    json_array_foreach(json_object_get(p->summary.root, "rows"), i, row)
    {
        if (method[0] && strcmp(wtl_report_text_of(row, "method"), method) == 0) {
            return row;
        }
    }
    return NULL;
}

/* ---- verdict ---- */

/* How surely `ratio` is what it is: a curve that never falls so far counts with its last budget
 * and may cost less. */
static const char *bound_of(bool wins, bool ours_bounded, bool theirs_bounded)
{
    if (ours_bounded == theirs_bounded) {
        return ours_bounded ? "about " : "";
    }
    return ours_bounded == wins ? "at least " : "at most ";
}

static void say(wtl_text *out, const page *p, const json_t *ours, const json_t *theirs)
{
    wtl_report_number our, their, times, drop;
    double a = wtl_report_number_of(ours, "iso_energy_mean");
    double b = wtl_report_number_of(theirs, "iso_energy_mean");
    double ratio = a < b ? b / a : a / b;
    bool wins = a < b, even = ratio < 1.005;
    bool ours_bounded = json_is_true(json_object_get(ours, "bounded"));
    bool theirs_bounded = json_is_true(json_object_get(theirs, "bounded"));
    wtl_text said = {0};
    wtl_text_printf(&said,
                    "At equal accuracy (%s less top-1) energy-aware pruning needs %s%s "
                    "of the dense energy, the best magnitude baseline (%s) %s%s: ",
                    wtl_report_points(drop, wtl_report_number_of(p->summary.root, "max_drop")),
                    ours_bounded ? "at most " : "", wtl_report_percent(our, a),
                    wtl_report_text_of(theirs, "method"), theirs_bounded ? "at most " : "",
                    wtl_report_percent(their, b));
    if (even) {
        wtl_text_printf(&said, "as much");
    } else {
        wtl_text_printf(&said, "%s%s %s", bound_of(wins, ours_bounded, theirs_bounded),
                        wtl_report_times(times, ratio), wins ? "less" : "more");
    }
    out->failed = out->failed || said.failed;
    wtl_html_verdict(
        out,
        even   ? WTL_HTML_PLAIN
        : wins ? WTL_HTML_GOOD
               : WTL_HTML_BAD,
        said.bytes ? said.bytes : "",
        "Interpolated along the budgets, on test images, mean over seeds; energies "
        "are estimates. The networks that were chosen on validation images are "
        "below.");
    wtl_text_clear(&said);
}

static void put_verdict(wtl_text *out, const page *p)
{
    const json_t *ratios = json_object_get(p->summary.root, "ratios");
    const json_t *ours = find_row(p, wtl_report_text_of(ratios, "energy_aware"));
    const json_t *theirs = find_row(p, wtl_report_text_of(ratios, "best_magnitude"));
    if (ours && theirs && !isnan(wtl_report_number_of(ours, "iso_energy_mean")) &&
        !isnan(wtl_report_number_of(theirs, "iso_energy_mean"))) {
        say(out, p, ours, theirs);
    } else {
        wtl_html_verdict(
            out, WTL_HTML_PLAIN, "Pruning methods from one checkpoint, on equal terms",
            "There are no two curves to compare at equal accuracy: see the tables.");
    }
}

/* ---- tables ---- */

/* "31.2 % ± 0.4" */
static void put_mean(wtl_text *out, double mean, double sd, bool share)
{
    wtl_report_number a, b;
    if (isnan(mean)) {
        wtl_html_number_cell(out, WTL_REPORT_DASH);
    } else if (isnan(sd)) {
        wtl_html_number_cell(
            out, "%s", share ? wtl_report_percent(a, mean) : wtl_report_fixed(a, mean, 2));
    } else {
        wtl_html_number_cell(out, "%s \xc2\xb1 %s",
                             share ? wtl_report_percent(a, mean) : wtl_report_fixed(a, mean, 2),
                             wtl_report_fixed(b, share ? 100 * sd : sd, 2));
    }
}

static void put_equal_accuracy(wtl_text *out, const page *p)
{
    static const char *const heads[] = {
        "network",           "#top-1, %", "#top-5, %", "#non-zero weights",
        "#non-skipped MACs", "#energy",   "#seeds"};
    const json_t *dense = json_object_get(p->summary.root, "dense");
    wtl_report_number a, b;
    size_t i;
    json_t *row;
    wtl_html_subheading(out, "At equal accuracy: the cheapest network within the limit");
    wtl_html_table(out, heads, 7);
    wtl_html_row(out);
    wtl_html_head_cell(out, "original");
    put_mean(out, wtl_report_number_of(dense, "top1"), NAN, false);
    put_mean(out, wtl_report_number_of(dense, "top5"), NAN, false);
    wtl_html_number_cell(out, "%s",
                         wtl_report_amount(a, wtl_report_number_of(dense, "weights")));
    wtl_html_number_cell(out, "%s", wtl_report_amount(b, wtl_report_number_of(dense, "macs")));
    wtl_html_number_cell(out, "100 %%");
    wtl_html_number_cell(out, "%s", "");
    json_array_foreach(json_object_get(p->summary.root, "rows"), i, row)
    {
        wtl_html_row(out);
        wtl_html_head_cell(out, "%s", wtl_report_text_of(row, "method"));
        put_mean(out, wtl_report_number_of(row, "top1_mean"),
                 wtl_report_number_of(row, "top1_sd"), false);
        put_mean(out, wtl_report_number_of(row, "top5_mean"),
                 wtl_report_number_of(row, "top5_sd"), false);
        wtl_html_number_cell(out, "%s",
                             wtl_report_amount(a, wtl_report_number_of(row, "weights_mean")));
        wtl_html_number_cell(out, "%s",
                             wtl_report_amount(b, wtl_report_number_of(row, "macs_mean")));
        put_mean(out, wtl_report_number_of(row, "energy_mean"),
                 wtl_report_number_of(row, "energy_sd"), true);
        wtl_html_number_cell(out, "%.0f", wtl_report_number_of(row, "seeds"));
    }
    wtl_html_table_end(out);
    wtl_html_note(
        out,
        "Of each seed the cheapest network that loses at most %s of top-1 on "
        "validation images; accuracies are of the test images, mean \xc2\xb1 standard "
        "deviation over seeds. A dash: no network of the ladder is within the limit.",
        wtl_report_points(a, wtl_report_number_of(p->summary.root, "max_drop")));
}

static void put_interpolated(wtl_text *out, const page *p)
{
    static const char *const heads[] = {"method", "#energy at equal accuracy",
                                        "#top-1 at equal energy", "#minutes a ladder",
                                        "#peak memory"};
    wtl_report_number a, b;
    size_t i;
    json_t *row;
    wtl_html_subheading(out, "Interpolated along the budgets, and what it cost");
    wtl_html_table(out, heads, 5);
    json_array_foreach(json_object_get(p->summary.root, "rows"), i, row)
    {
        wtl_html_row(out);
        wtl_html_head_cell(out, "%s%s", wtl_report_text_of(row, "method"),
                           json_is_true(json_object_get(row, "bounded")) ? " (at most)" : "");
        put_mean(out, wtl_report_number_of(row, "iso_energy_mean"),
                 wtl_report_number_of(row, "iso_energy_sd"), true);
        put_mean(out, wtl_report_number_of(row, "iso_top1_mean"),
                 wtl_report_number_of(row, "iso_top1_sd"), false);
        wtl_html_number_cell(out, "%s",
                             wtl_report_fixed(a, wtl_report_number_of(row, "minutes_mean"), 1));
        wtl_html_number_cell(out, "%s",
                             wtl_report_bytes(b, wtl_report_number_of(row, "peak_bytes")));
    }
    wtl_html_table_end(out);
    wtl_html_note(out,
                  "Energy where the test top-1 is %s below the dense network's, and test "
                  "top-1 at %s of the dense energy. The peak is of the process so far.",
                  wtl_report_points(a, wtl_report_number_of(p->summary.root, "max_drop")),
                  wtl_report_percent(b, wtl_report_number_of(p->summary.root, "equal_energy")));
}

static void put_points(wtl_text *out, const page *p)
{
    static const char *const heads[] = {"method",   "#seed",      "#budget",     "#energy",
                                        "#weights", "#val top-1", "#test top-1", "note"};
    wtl_report_number n[6];
    size_t i;
    json_t *point;
    wtl_html_fold(out, "Every network", false);
    wtl_html_table(out, heads, 8);
    json_array_foreach(json_object_get(p->summary.root, "points"), i, point)
    {
        wtl_html_row(out);
        wtl_html_head_cell(out, "%s", wtl_report_text_of(point, "method"));
        wtl_html_number_cell(out, "%s",
                             wtl_report_count(n[0], wtl_report_number_of(point, "seed")));
        wtl_html_number_cell(out, "%s",
                             wtl_report_percent(n[1], wtl_report_number_of(point, "budget")));
        wtl_html_number_cell(out, "%s",
                             wtl_report_percent(n[2], wtl_report_number_of(point, "energy")));
        wtl_html_number_cell(out, "%s",
                             wtl_report_percent(n[3], wtl_report_number_of(point, "density")));
        wtl_html_number_cell(
            out, "%s", wtl_report_fixed(n[4], wtl_report_number_of(point, "val_top1"), 2));
        wtl_html_number_cell(out, "%s",
                             wtl_report_fixed(n[5], wtl_report_number_of(point, "top1"), 2));
        wtl_html_cell(out, "%s", wtl_report_text_of(point, "note"));
    }
    wtl_html_table_end(out);
    wtl_html_fold_end(out);
}

static void put_layers(wtl_text *out, const page *p)
{
    static const char *const heads[] = {"network", "layer", "#energy", "#weights kept",
                                        "#density"};
    wtl_report_number a, b;
    size_t i;
    json_t *layer;
    wtl_html_fold(out, "Layer by layer", false);
    wtl_html_table(out, heads, 5);
    json_array_foreach(json_object_get(p->summary.root, "layers"), i, layer)
    {
        wtl_html_row(out);
        wtl_html_head_cell(out, "%s", wtl_report_text_of(layer, "net"));
        wtl_html_cell(out, "%s", wtl_report_text_of(layer, "layer"));
        wtl_html_number_cell(out, "%s",
                             wtl_report_amount(a, wtl_report_number_of(layer, "energy")));
        wtl_html_number_cell(out, "%s",
                             wtl_report_count(b, wtl_report_number_of(layer, "kept")));
        wtl_html_share_cell(out, wtl_report_number_of(layer, "density"));
    }
    wtl_html_table_end(out);
    wtl_html_fold_end(out);
}

/* ---- how ---- */

static void put_protocol(wtl_text *out, const page *p, const wtl_prune_options *options)
{
    const json_t *s = p->summary.root;
    wtl_report_number train, search, val, test;
    size_t i;
    json_t *row;
    wtl_html_section(out, "how", "How it was compared");
    wtl_html_paragraph(
        out,
        "All methods began with the same checkpoint (%s), saw the same data (%s) in the same "
        "order "
        "for each seed, and were fine-tuned for the same number of steps to each budget. "
        "Corrections that bring the energy onto its budget add up to a quarter epoch each.",
        wtl_report_text_of(s, "checkpoint"), wtl_report_text_of(s, "data"));
    wtl_html_paragraph(out,
                       "Images never overlap: %s to train on (%s search images are some of "
                       "them), %s to choose by, "
                       "%s to test, which each network saw once.",
                       wtl_report_count(train, wtl_report_number_of(s, "train_images")),
                       wtl_report_count(search, wtl_report_number_of(s, "search_images")),
                       wtl_report_count(val, wtl_report_number_of(s, "val_images")),
                       wtl_report_count(test, wtl_report_number_of(s, "test_images")));
    wtl_report_estimates(out, options, wtl_report_number_of(s, "search_images"));
    json_array_foreach(json_object_get(s, "rows"), i, row)
    {
        const char *method = wtl_report_text_of(row, "method");
        wtl_html_paragraph(out, "%s: %s", method, wtl_report_method(method));
    }
    wtl_report_granularity(out, options);
    wtl_html_fold(out, "All options", false);
    wtl_report_members(out, p->config.root, "config.json");
    wtl_html_fold_end(out);
    wtl_html_section_end(out);
}

/* The elements (of objects: their `key`) with commas between, as one word of a shell. */
static void put_list(wtl_text *out, const json_t *array, const char *key)
{
    size_t i;
    json_t *value;
    wtl_text list = {0};
    json_array_foreach((json_t *)(uintptr_t)array, i, value)
    {
        wtl_report_number number;
        wtl_text_printf(&list, "%s%s", i ? "," : "",
                        key ? wtl_report_text_of(value, key)
                            : wtl_report_exact(number, json_number_value(value)));
    }
    wtl_report_quote(out, list.bytes ? list.bytes : "");
    out->failed = out->failed || list.failed;
    wtl_text_clear(&list);
}

static void put_commands(wtl_text *out, const page *p, const wtl_prune_options *options)
{
    static const char *const leave[] = {"checkpoint",    "data",     "method",
                                        "target_energy", "max_drop", NULL};
    const json_t *s = p->summary.root;
    wtl_report_number drop, energy;
    wtl_text command = {0}, beyond = {0};
    wtl_text_printf(&command, "wattle compare ");
    wtl_report_quote(&command, options->checkpoint);
    wtl_text_printf(&command, " \\\n    --data ");
    wtl_report_quote(&command, options->data);
    wtl_text_printf(&command, " --out DIR \\\n    --methods ");
    put_list(&command, json_object_get(s, "rows"), "method");
    wtl_text_printf(&command, " \\\n    --budgets ");
    put_list(&command, json_object_get(s, "budgets"), NULL);
    wtl_text_printf(&command, " \\\n    --seeds %.0f --max-drop %s --equal-energy %s",
                    wtl_report_number_of(s, "seeds"),
                    wtl_report_exact(drop, wtl_report_number_of(s, "max_drop")),
                    wtl_report_exact(energy, wtl_report_number_of(s, "equal_energy")));
    wtl_report_options(&command, &beyond, options, leave);
    wtl_text_printf(&command, "\nwattle report DIR\n");
    wtl_report_reproduce(out, &command, &beyond, NULL);
}

static wtl_status put_page(wtl_text *out, const page *p, wtl_error *err)
{
    wtl_prune_options options;
    wtl_prune_defaults(&options);
    json_t *recipe = json_object_get(p->config.root, "prune");
    wtl_status status = wtl_prune_options_from_json(&options, recipe ? recipe : p->config.root,
                                                    p->config.path, err);
    if (status != WTL_OK) {
        return status;
    }
    char *title =
        wtl_format("Pruning %s, methods compared", wtl_report_text_of(p->summary.root, "net"));
    out->failed = out->failed || !title;
    wtl_html_begin(out, title ? title : "");
    wtl_free(title);
    put_verdict(out, p);
    status = wtl_report_svg(out, p->folder, "plots/pareto.svg", false, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_html_section(out, "tables", "Methods");
    put_equal_accuracy(out, p);
    put_interpolated(out, p);
    put_points(out, p);
    wtl_html_section_end(out);
    wtl_html_section(out, "energy", "Where the energy goes");
    status = wtl_report_svg(out, p->folder, "plots/bars.svg", false, err);
    if (status == WTL_OK) {
        status = wtl_report_svg(out, p->folder, "plots/layers.svg", true, err);
    }
    put_layers(out, p);
    wtl_html_section_end(out);
    put_protocol(out, p, &options);
    put_commands(out, p, &options);
    wtl_html_end(out);
    return status;
}

wtl_status wtl_report_comparison(wtl_text *out, const char *folder, wtl_error *err)
{
    page p = {.folder = folder};
    wtl_status status = wtl_report_json_read(&p.summary, folder, "summary.json", err);
    if (status == WTL_OK) {
        status = wtl_report_json_read(&p.config, folder, "config.json", err);
    }
    if (status == WTL_OK) {
        status = check(&p, err);
    }
    if (status == WTL_OK) {
        status = put_page(out, &p, err);
    }
    wtl_report_json_clear(&p.summary);
    wtl_report_json_clear(&p.config);
    return status;
}
