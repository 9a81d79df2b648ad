/* report_run.c - the page about one pruning run. */
#include "report_private.h"

#include "wattle/memory.h"
#include "wattle/svg.h"

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* ---- what is read ---- */

typedef struct certificate {
    bool met;
    const char *why, *method, *checkpoint, *data, *hardware, *metric;
    double energy_asked, energy, energy_held_out, floor, dense_energy, pruned_energy;
    double drop_asked, drop, dense_top1, dense_top5, top1, top5;
    double val_images, search_images, train_images;
    double weights, weights_before, weights_kept, macs, macs_before, macs_after;
    double rounds, epochs, seconds, peak_bytes;
} certificate;

#define AT(member) offsetof(certificate, member)
#define NEEDED(member)                                                                         \
    {                                                                                          \
#member, WTL_REPORT_NEEDED, AT(member), 0, 1e18                                        \
    }
#define NUMBER(member)                                                                         \
    {                                                                                          \
#member, WTL_REPORT_NUMBER, AT(member), 0, 1e18                                        \
    }
#define STRING(member)                                                                         \
    {                                                                                          \
#member, WTL_REPORT_TEXT, AT(member), 0, 0                                             \
    }
static const wtl_report_field certificate_fields[] = {
    {"met", WTL_REPORT_BOOL, AT(met), 0, 0},
    STRING(why),
    STRING(method),
    STRING(checkpoint),
    STRING(data),
    STRING(hardware),
    STRING(metric),
    NUMBER(energy_asked),
    NEEDED(energy),
    NUMBER(energy_held_out),
    NEEDED(floor),
    NEEDED(dense_energy),
    NEEDED(pruned_energy),
    NUMBER(drop_asked),
    {"drop", WTL_REPORT_NEEDED, AT(drop), -100, 100},
    NEEDED(dense_top1),
    NEEDED(dense_top5),
    NEEDED(top1),
    NEEDED(top5),
    NEEDED(val_images),
    NEEDED(search_images),
    NEEDED(train_images),
    NEEDED(weights),
    NEEDED(weights_before),
    NEEDED(weights_kept),
    NEEDED(macs),
    NEEDED(macs_before),
    NEEDED(macs_after),
    NUMBER(rounds),
    NUMBER(epochs),
    NUMBER(seconds),
    NUMBER(peak_bytes),
};
#undef AT

typedef struct layer_row {
    const char *layer;
    double weights, kept_before, kept_after, energy_before, energy_after;
    double macs_before, macs_after, ifmap_after, ofmap_after;
} layer_row;

#define AT(member) offsetof(layer_row, member)
static const wtl_report_field layer_fields[] = {
    STRING(layer),
    NEEDED(weights),
    NEEDED(kept_before),
    NEEDED(kept_after),
    NEEDED(energy_before),
    NEEDED(energy_after),
    NEEDED(macs_before),
    NEEDED(macs_after),
    {"ifmap_density_after", WTL_REPORT_NUMBER, AT(ifmap_after), 0, 1e18},
    {"ofmap_density_after", WTL_REPORT_NUMBER, AT(ofmap_after), 0, 1e18},
};
#undef AT

typedef struct round_row {
    double round, goal, energy, density, val_loss, val_top1, val_top5, drop, epochs, held,
        seconds;
} round_row;

#define AT(member) offsetof(round_row, member)
static const wtl_report_field round_fields[] = {
    NEEDED(round),    NUMBER(goal),
    NEEDED(energy),   NEEDED(density),
    NEEDED(val_loss), NEEDED(val_top1),
    NEEDED(val_top5), {"drop", WTL_REPORT_NEEDED, AT(drop), -100, 100},
    NEEDED(epochs),   NEEDED(held),
    NUMBER(seconds),
};
#undef AT

/* Of all lines of plan.jsonl: what a line does not have is null. */
static const wtl_report_field plan_fields[] = {
    {"event", WTL_REPORT_TEXT, 0, 0, 0},
    {"round", WTL_REPORT_NEEDED, 0, 0, 1e9},
    {"layer", WTL_REPORT_TEXT, 0, 0, 0},
    {"what", WTL_REPORT_TEXT, 0, 0, 0},
    {"why", WTL_REPORT_TEXT, 0, 0, 0},
    {"weights", WTL_REPORT_NUMBER, 0, 0, 1e18},
    {"kept_before", WTL_REPORT_NUMBER, 0, 0, 1e18},
    {"kept_after", WTL_REPORT_NUMBER, 0, 0, 1e18},
    {"error_before", WTL_REPORT_NUMBER, 0, 0, 1e18},
    {"error_removal", WTL_REPORT_NUMBER, 0, 0, 1e18},
    {"error_restoral", WTL_REPORT_NUMBER, 0, 0, 1e18},
    {"error", WTL_REPORT_NUMBER, 0, 0, 1e18},
};

#define COUNT(fields) ((int)(sizeof(fields) / sizeof *(fields)))

typedef struct page {
    certificate c;
    wtl_report_json certificate, config, env, plan;
    wtl_prune_options options;
    layer_row *layers;
    round_row *rounds;
    int layer_count, round_count;
    char *layer_text, *round_text;
} page;

static wtl_status read_page(page *p, const char *folder, wtl_error *err)
{
    wtl_status status = wtl_report_json_read(&p->certificate, folder, "certificate.json", err);
    if (status == WTL_OK) {
        status = wtl_report_take(&p->certificate, p->certificate.root, certificate_fields,
                                 COUNT(certificate_fields), &p->c, err);
    }
    if (status == WTL_OK) {
        status = wtl_report_json_read(&p->config, folder, "config.json", err);
    }
    if (status == WTL_OK) {
        wtl_prune_defaults(&p->options);
        status = wtl_prune_options_from_json(&p->options, p->config.root, p->config.path, err);
    }
    if (status == WTL_OK) {
        status = wtl_report_json_read(&p->env, folder, "env.json", err);
    }
    if (status == WTL_OK) {
        status = wtl_report_csv_read((void **)&p->layers, &p->layer_count, &p->layer_text,
                                     sizeof *p->layers, layer_fields, COUNT(layer_fields),
                                     folder, "energy.csv", err);
    }
    if (status == WTL_OK) {
        status = wtl_report_csv_read((void **)&p->rounds, &p->round_count, &p->round_text,
                                     sizeof *p->rounds, round_fields, COUNT(round_fields),
                                     folder, "metrics.csv", err);
    }
    if (status == WTL_OK) {
        status = wtl_report_lines_read(&p->plan, folder, "plan.jsonl", err);
    }
    return status == WTL_OK
               ? wtl_report_check_array(&p->plan, NULL, plan_fields, COUNT(plan_fields), err)
               : status;
}

static void close_page(page *p)
{
    wtl_report_json_clear(&p->certificate);
    wtl_report_json_clear(&p->config);
    wtl_report_json_clear(&p->env);
    wtl_report_json_clear(&p->plan);
    wtl_free(p->layers);
    wtl_free(p->rounds);
    wtl_free(p->layer_text);
    wtl_free(p->round_text);
}

/* ---- verdict ---- */

static void put_verdict(wtl_text *out, const page *p)
{
    const certificate *c = &p->c;
    wtl_report_number energy, asked, drop, limit, images;
    wtl_text said = {0};
    wtl_text_printf(&said, "Energy %s of dense", wtl_report_percent(energy, c->energy));
    if (!isnan(c->energy_asked)) {
        wtl_text_printf(&said, " (asked %s)", wtl_report_percent(asked, c->energy_asked));
    }
    wtl_text_printf(&said, " at %s points %s %s", wtl_report_fixed(drop, fabs(c->drop), 2),
                    c->drop < 0 ? "more" : "less",
                    strcmp(c->metric, "top5") == 0 ? "top-5" : "top-1");
    if (!isnan(c->drop_asked)) {
        wtl_text_printf(&said, " (asked at most %s)", wtl_report_exact(limit, c->drop_asked));
    }
    wtl_text_printf(&said, " on %s validation images: %s",
                    wtl_report_count(images, c->val_images),
                    c->met ? "goal met" : "goal not met");
    out->failed = out->failed || said.failed;
    wtl_html_verdict(out, c->met ? WTL_HTML_GOOD : WTL_HTML_BAD, said.bytes ? said.bytes : "",
                     c->why);
    wtl_text_clear(&said);
}

static void put_tile(wtl_text *out, const char *name, const char *value, const char *before,
                     const char *number)
{
    char *beside = wtl_format("%s %s", before, number);
    out->failed = out->failed || !beside;
    wtl_html_tile(out, value, name, beside ? beside : "");
    wtl_free(beside);
}

static void put_tiles(wtl_text *out, const page *p)
{
    const certificate *c = &p->c;
    wtl_report_number a, b;
    wtl_html_tiles(out);
    put_tile(out, "less energy, estimated", wtl_report_times(a, 1 / c->energy),
             "at the very most", wtl_report_times(b, 1 / c->floor));
    put_tile(out, "top-1", wtl_report_fixed(a, c->top1, 2), "dense",
             wtl_report_fixed(b, c->dense_top1, 2));
    put_tile(out, "top-5", wtl_report_fixed(a, c->top5, 2), "dense",
             wtl_report_fixed(b, c->dense_top5, 2));
    put_tile(out, "weights kept", wtl_report_percent(a, c->weights_kept / c->weights), "of",
             wtl_report_amount(b, c->weights));
    put_tile(out, "MACs not skipped", wtl_report_amount(a, c->macs_after), "dense",
             wtl_report_amount(b, c->macs_before));
    put_tile(out, "it took", wtl_report_duration(a, c->seconds), "peak memory",
             wtl_report_bytes(b, c->peak_bytes));
    wtl_html_tiles_end(out);
}

static void put_accuracy_row(wtl_text *out, const char *name, double before, double after)
{
    wtl_report_number a, b, change;
    wtl_html_row(out);
    wtl_html_head_cell(out, "%s", name);
    wtl_html_number_cell(out, "%s %%", wtl_report_fixed(a, before, 2));
    wtl_html_number_cell(out, "%s %%", wtl_report_fixed(b, after, 2));
    wtl_html_number_cell(out, "%s%s points", after >= before ? "+" : "\xe2\x88\x92",
                         wtl_report_fixed(change, fabs(after - before), 2));
    wtl_html_cell(out, "%s", "");
}

static void put_key_figures(wtl_text *out, const page *p)
{
    static const char *const heads[] = {"", "#dense", "#pruned", "#pruned / dense",
                                        "#dense / pruned"};
    const certificate *c = &p->c;
    const struct {
        const char *name;
        double before, after;
    } rows[] = {{"Energy an image, estimated", c->dense_energy, c->pruned_energy},
                {"Weights that are not zero", c->weights_before, c->weights_kept},
                {"MACs that are not skipped", c->macs_before, c->macs_after}};
    wtl_report_number a, b, share, ratio;
    wtl_html_table(out, heads, 5);
    put_accuracy_row(out, "Top-1, validation images", c->dense_top1, c->top1);
    put_accuracy_row(out, "Top-5, validation images", c->dense_top5, c->top5);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        wtl_html_row(out);
        wtl_html_head_cell(out, "%s", rows[i].name);
        wtl_html_number_cell(out, "%s", wtl_report_amount(a, rows[i].before));
        wtl_html_number_cell(out, "%s", wtl_report_amount(b, rows[i].after));
        wtl_html_number_cell(out, "%s",
                             wtl_report_percent(share, rows[i].after / rows[i].before));
        wtl_html_number_cell(out, "%s",
                             wtl_report_times(ratio, rows[i].before / rows[i].after));
    }
    wtl_html_table_end(out);
    wtl_html_note(
        out,
        "The unit of energy is one 16-bit multiply-accumulate (MAC). A MAC is skipped where "
        "its "
        "weight or its activation is zero; with none skipped an image takes %s. Zeros of "
        "activations are those of the search images; on %s validation images the pruned "
        "network comes to %s of dense. With every prunable weight gone %s would be left.",
        wtl_report_amount(share, c->macs),
        wtl_report_count(a, fmin(c->search_images, c->val_images)),
        wtl_report_percent(b, c->energy_held_out), wtl_report_percent(ratio, c->floor));
}

/* ---- layers ---- */

static void put_layer_bars(wtl_text *out, const page *p)
{
    static const char *const parts[] = {"kept", "saved"};
    size_t count = (size_t)p->layer_count;
    double *values = wtl_alloc(count ? 2 * count : 1, sizeof *values);
    const char **names = wtl_alloc(count ? count : 1, sizeof *names);
    out->failed = out->failed || !values || !names;
    for (size_t i = 0; values && names && i < count; i++) {
        names[i] = p->layers[i].layer;
        values[2 * i] = p->layers[i].energy_after / 1e6;
        values[2 * i + 1] = (p->layers[i].energy_before - p->layers[i].energy_after) / 1e6;
    }
    if (values && names && count > 0) {
        const wtl_bars_view view = {.parts = parts, .part_count = 2, .values = values};
        const wtl_bars bars = {.title = "Energy by layer",
                               .x_label = "millions of units an image",
                               .names = names,
                               .bar_count = p->layer_count,
                               .views = &view,
                               .view_count = 1};
        wtl_html_figure(out, false);
        wtl_svg_bars(out, &bars);
        wtl_html_figure_end(out);
    }
    wtl_free(values);
    wtl_free(names);
}

static void put_layer_table(wtl_text *out, const page *p)
{
    static const char *const heads[] = {"layer",    "#energy before", "#after",  "#saved",
                                        "#weights", "#density",       "#inputs", "#outputs"};
    wtl_report_number a, b, c, d;
    double before = 0.0, after = 0.0, weights = 0.0, kept = 0.0;
    wtl_html_table(out, heads, 8);
    for (int i = 0; i < p->layer_count; i++) {
        const layer_row *l = &p->layers[i];
        before += l->energy_before;
        after += l->energy_after;
        weights += l->weights;
        kept += l->kept_after;
        wtl_html_row(out);
        wtl_html_head_cell(out, "%s", l->layer);
        wtl_html_number_cell(out, "%s", wtl_report_amount(a, l->energy_before));
        wtl_html_number_cell(out, "%s", wtl_report_amount(b, l->energy_after));
        wtl_html_number_cell(out, "%s",
                             wtl_report_percent(c, 1 - l->energy_after / l->energy_before));
        wtl_html_number_cell(out, "%s", wtl_report_count(d, l->weights));
        wtl_html_share_cell(out, l->kept_after / l->weights);
        wtl_html_share_cell(out, l->ifmap_after);
        wtl_html_share_cell(out, l->ofmap_after);
    }
    wtl_html_row_total(out);
    wtl_html_head_cell(out, "all");
    wtl_html_number_cell(out, "%s", wtl_report_amount(a, before));
    wtl_html_number_cell(out, "%s", wtl_report_amount(b, after));
    wtl_html_number_cell(out, "%s", wtl_report_percent(c, 1 - after / before));
    wtl_html_number_cell(out, "%s", wtl_report_count(d, weights));
    wtl_html_share_cell(out, kept / weights);
    wtl_html_cell(out, "%s", "");
    wtl_html_cell(out, "%s", "");
    wtl_html_table_end(out);
    wtl_html_note(out,
                  "Densities after pruning: of the weights, and of the input and output maps. "
                  "What maps cost stays when weights go: it is the floor.");
}

/* ---- the course ---- */

typedef struct two_lines {
    const char *title, *y_label, *names[2]; /* the second is dashed */
    size_t offset, other; /* of members of round_row; SIZE_MAX: `constant` in all rounds */
    double scale, constant;
} two_lines;

static double member_of(const round_row *row, size_t offset)
{
    double value;
    memcpy(&value, (const char *)row + offset, sizeof value);
    return value;
}

static void put_line_plot(wtl_text *out, const page *p, const two_lines *lines)
{
    size_t count = (size_t)p->round_count;
    double *values = wtl_alloc(count ? 3 * count : 1, sizeof *values);
    out->failed = out->failed || !values;
    for (size_t i = 0; values && i < count; i++) {
        const round_row *row = &p->rounds[i];
        values[i] = row->round;
        values[count + i] = lines->scale * member_of(row, lines->offset);
        values[2 * count + i] = lines->other == SIZE_MAX
                                    ? lines->constant
                                    : lines->scale * member_of(row, lines->other);
    }
    if (values && count > 1) {
        const wtl_series series[] = {
            {lines->names[0], values, values + count, p->round_count, false},
            {lines->names[1], values, values + 2 * count, p->round_count, true}};
        const wtl_plot plot = {lines->title, "round", lines->y_label, series, 2, false};
        wtl_html_figure(out, false);
        wtl_svg_lines(out, &plot);
        wtl_html_figure_end(out);
    }
    wtl_free(values);
}

static void put_plots(wtl_text *out, const page *p)
{
    const two_lines energy = {.title = "Energy",
                              .y_label = "percent of the dense energy",
                              .names = {"estimated after the round", "goal of the round"},
                              .offset = offsetof(round_row, energy),
                              .other = offsetof(round_row, goal),
                              .scale = 100};
    const two_lines accuracy = {.title = "Accuracy",
                                .y_label = "top-1, percent",
                                .names = {"after fine-tuning, validation images", "dense"},
                                .offset = offsetof(round_row, val_top1),
                                .other = SIZE_MAX,
                                .scale = 1,
                                .constant = p->c.dense_top1};
    put_line_plot(out, p, &energy);
    put_line_plot(out, p, &accuracy);
}

static void put_course(wtl_text *out, const page *p)
{
    static const char *const heads[] = {"round",  "#goal",       "#energy", "#weights",
                                        "#top-1", "#top-5",      "#drop",   "#epochs",
                                        "held",   "#since start"};
    wtl_report_number n[8];
    wtl_html_section(out, "course", "Course");
    wtl_html_table(out, heads, 10);
    for (int i = 0; i < p->round_count; i++) {
        const round_row *r = &p->rounds[i];
        wtl_html_row(out);
        wtl_html_head_cell(out, "%.0f", r->round);
        wtl_html_number_cell(out, "%s", wtl_report_percent(n[0], r->goal));
        wtl_html_number_cell(out, "%s", wtl_report_percent(n[1], r->energy));
        wtl_html_number_cell(out, "%s", wtl_report_percent(n[2], r->density));
        wtl_html_number_cell(out, "%s", wtl_report_fixed(n[3], r->val_top1, 2));
        wtl_html_number_cell(out, "%s", wtl_report_fixed(n[4], r->val_top5, 2));
        wtl_html_number_cell(out, "%s", wtl_report_fixed(n[5], r->drop, 2));
        wtl_html_number_cell(out, "%s", wtl_report_fixed(n[6], r->epochs, 2));
        wtl_html_cell(out, "%s", r->held > 0 ? "yes" : "no");
        wtl_html_number_cell(out, "%s", wtl_report_duration(n[7], r->seconds));
    }
    wtl_html_table_end(out);
    wtl_html_note(out, "Energies are shares of the dense network's; accuracies are of the "
                       "validation images, after fine-tuning; the drop is in points.");
    put_plots(out, p);
    wtl_html_section_end(out);
}

/* ---- decisions ---- */

static void put_layer_decision(wtl_text *out, const json_t *line)
{
    wtl_report_number n[6];
    double weights = wtl_report_number_of(line, "weights");
    wtl_html_row(out);
    wtl_html_head_cell(out, "%.0f", wtl_report_number_of(line, "round"));
    wtl_html_cell(out, "%s", wtl_report_text_of(line, "layer"));
    wtl_html_number_cell(
        out, "%s",
        wtl_report_percent(n[0], wtl_report_number_of(line, "kept_before") / weights));
    wtl_html_number_cell(
        out, "%s",
        wtl_report_percent(n[1], wtl_report_number_of(line, "kept_after") / weights));
    wtl_html_number_cell(out, "%s",
                         wtl_report_fixed(n[2], wtl_report_number_of(line, "error_before"), 3));
    wtl_html_number_cell(
        out, "%s", wtl_report_fixed(n[3], wtl_report_number_of(line, "error_removal"), 3));
    wtl_html_number_cell(
        out, "%s", wtl_report_fixed(n[4], wtl_report_number_of(line, "error_restoral"), 3));
    wtl_html_number_cell(out, "%s",
                         wtl_report_fixed(n[5], wtl_report_number_of(line, "error"), 3));
}

/* How many lines of the plan have this event. */
static size_t count_events(const page *p, const char *event)
{
    size_t i, count = 0;
    json_t *line;
    json_array_foreach(p->plan.root, i, line)
    {
        count += strcmp(wtl_report_text_of(line, "event"), event) == 0;
    }
    return count;
}

static void put_layer_decisions(wtl_text *out, const page *p)
{
    enum { MOST_SHOWN = 2000 };
    static const char *const heads[] = {"round",         "layer",    "#kept before", "#after",
                                        "#error before", "#removed", "#restored",    "#fitted"};
    size_t i, count = count_events(p, "layer");
    size_t hidden = count > MOST_SHOWN ? count - MOST_SHOWN : 0, seen = 0;
    json_t *line;
    wtl_html_fold(out, "What the method did, layer by layer", false);
    wtl_html_table(out, heads, 8);
    json_array_foreach(p->plan.root, i, line)
    {
        if (strcmp(wtl_report_text_of(line, "event"), "layer") == 0 && seen++ >= hidden) {
            put_layer_decision(out, line);
        }
    }
    wtl_html_table_end(out);
    if (hidden > 0) {
        wtl_html_note(out, "The last %d of %zu: plan.jsonl has them all.", (int)MOST_SHOWN,
                      count);
    }
    wtl_html_note(out,
                  "Kept: of the layer's weights. Errors of the layer's output, relative, on "
                  "sampled images: on entry, after too much was removed, after restoring, "
                  "after the least-squares fit. Methods by magnitude measure none.");
    wtl_html_fold_end(out);
}

static void put_decisions(wtl_text *out, const page *p)
{
    static const char *const heads[] = {"after round", "what", "why"};
    size_t i;
    json_t *line;
    wtl_html_section(out, "decisions", "Decisions");
    wtl_html_table(out, heads, 3);
    json_array_foreach(p->plan.root, i, line)
    {
        if (strcmp(wtl_report_text_of(line, "event"), "decision") == 0) {
            wtl_html_row(out);
            wtl_html_head_cell(out, "%.0f", wtl_report_number_of(line, "round"));
            wtl_html_cell(out, "%s", wtl_report_text_of(line, "what"));
            wtl_html_cell(out, "%s", wtl_report_text_of(line, "why"));
        }
    }
    wtl_html_table_end(out);
    put_layer_decisions(out, p);
    wtl_html_section_end(out);
}

/* ---- how ---- */

static void put_protocol(wtl_text *out, const page *p)
{
    const certificate *c = &p->c;
    wtl_report_number train, val, search;
    wtl_html_section(out, "how", "How");
    wtl_html_paragraph(out, "%s: %s", c->method, wtl_report_method(c->method));
    wtl_report_granularity(out, &p->options);
    wtl_report_estimates(out, &p->options, c->search_images);
    wtl_html_paragraph(
        out,
        "Data: %s. Fine-tuned on %s training images; %s search images are some of them; judged "
        "on "
        "%s validation images, which were never trained on. Test images were not touched.",
        c->data, wtl_report_count(train, c->train_images),
        wtl_report_count(search, c->search_images), wtl_report_count(val, c->val_images));
    wtl_html_fold(out, "Environment", false);
    wtl_report_members(out, p->env.root, "env.json");
    wtl_html_fold_end(out);
    wtl_html_fold(out, "All options", false);
    wtl_report_members(out, p->config.root, "config.json");
    wtl_html_fold_end(out);
    wtl_html_section_end(out);
}

static void put_commands(wtl_text *out, const page *p)
{
    static const char *const leave[] = {"checkpoint", "data", NULL};
    wtl_text command = {0}, beyond = {0};
    wtl_text_printf(&command, "wattle prune ");
    wtl_report_quote(&command, p->options.checkpoint);
    wtl_text_printf(&command, " \\\n    --data ");
    wtl_report_quote(&command, p->options.data);
    wtl_text_printf(&command, " --out RUN");
    wtl_report_options(&command, &beyond, &p->options, leave);
    wtl_text_printf(&command, "\nwattle report RUN\n");
    wtl_report_reproduce(out, &command, &beyond,
                         "The same bytes come out on the same machine with the same number of "
                         "threads. A run that was extended from an easier goal took that way "
                         "first.");
}

static void put_page(wtl_text *out, const page *p)
{
    char *title = wtl_format("Pruning %s with %s", p->c.checkpoint, p->c.method);
    out->failed = out->failed || !title;
    wtl_html_begin(out, title ? title : "");
    wtl_free(title);
    put_verdict(out, p);
    put_tiles(out, p);
    put_key_figures(out, p);
    wtl_html_section(out, "layers", "Layers");
    put_layer_bars(out, p);
    put_layer_table(out, p);
    wtl_html_section_end(out);
    put_course(out, p);
    put_decisions(out, p);
    put_protocol(out, p);
    put_commands(out, p);
    wtl_html_end(out);
}

wtl_status wtl_report_run(wtl_text *out, const char *folder, wtl_error *err)
{
    page *p = wtl_alloc(1, sizeof *p);
    if (!p) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for the report");
    }
    wtl_status status = read_page(p, folder, err);
    if (status == WTL_OK) {
        put_page(out, p);
    }
    close_page(p);
    wtl_free(p);
    return status;
}
