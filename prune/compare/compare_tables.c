/* compare_tables.c - the tables of summary.md, in columns that a terminal shows as well. */
#include "compare_private.h"

#include "wattle/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- a table in columns ---- */

enum { CELL = 128 };

typedef struct grid {
    int rows, columns;
    char (*cells)[CELL];
} grid;

static bool begin_grid(grid *g, int rows, int columns, const char *const *heads)
{
    *g = (grid){rows + 1, columns, wtl_alloc((size_t)(rows + 1) * (size_t)columns, CELL)};
    for (int i = 0; g->cells && i < columns; i++) {
        snprintf(g->cells[i], CELL, "%s", heads[i]);
    }
    return g->cells != NULL;
}

/* Row 0 is the first below the heads. */
static char *cell(const grid *g, int row, int column)
{
    return g->cells[(row + 1) * g->columns + column];
}

static int letters(const char *text)
{
    int count = 0;
    for (; *text; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static int width_of(const grid *g, int column)
{
    int width = 3;
    for (int row = -1; row < g->rows - 1; row++) {
        int here = letters(cell(g, row, column));
        width = here > width ? here : width;
    }
    return width;
}

static void put_padding(wtl_text *out, char c, int count)
{
    for (; count > 0; count--) {
        wtl_text_put(out, &c, 1);
    }
}

/* Under the heads a line that says to Markdown what is aligned where: words left, numbers
 * right. */
static void put_rule(wtl_text *out, const grid *g, int words)
{
    for (int i = 0; i < g->columns; i++) {
        wtl_text_printf(out, "|-");
        put_padding(out, '-', width_of(g, i));
        wtl_text_printf(out, i < words ? "-" : ":");
    }
    wtl_text_printf(out, "|\n");
}

/* The first `words` columns are words. Frees the grid. */
static void end_grid(wtl_text *out, grid *g, int words)
{
    for (int row = -1; row < g->rows - 1; row++) {
        for (int i = 0; i < g->columns; i++) {
            const char *text = cell(g, row, i);
            int padding = width_of(g, i) - letters(text);
            wtl_text_printf(out, i ? " | " : "| ");
            put_padding(out, ' ', i < words ? 0 : padding);
            wtl_text_put(out, text, strlen(text));
            put_padding(out, ' ', i < words ? padding : 0);
        }
        wtl_text_printf(out, " |\n");
        if (row < 0) {
            put_rule(out, g, words);
        }
    }
    wtl_text_printf(out, "\n");
    wtl_free(g->cells);
}

/* ---- numbers ---- */

/* "91.23 ± 0.12"; a deviation or a mean that is not known is "-". */
static void put_mean(char *text, double mean, double sd, int decimals)
{
    if (isnan(mean)) {
        snprintf(text, CELL, "-");
    } else if (isnan(sd)) {
        snprintf(text, CELL, "%.*f ± -", decimals, mean);
    } else {
        snprintf(text, CELL, "%.*f ± %.*f", decimals, mean, decimals, sd);
    }
}

static void put_number(char *text, double value, int decimals)
{
    if (isnan(value)) {
        snprintf(text, CELL, "-");
    } else {
        snprintf(text, CELL, "%.*f", decimals, value);
    }
}

/* The power of ten below `dense`, or that of a thousand: 3.71e8 is 3.71 (1e8), and 60.95e6
 * 60.95 (1e6). */
typedef struct unit {
    int exponent;
    double size;
} unit;

static unit unit_of(double dense, bool thousands)
{
    int exponent = dense >= 1 ? (int)floor(log10(dense) + 1e-12) : 0;
    exponent -= thousands ? exponent % 3 : 0;
    return (unit){exponent, pow(10, exponent)};
}

static void put_share(char *text, double value, double dense, unit u)
{
    if (isnan(value)) {
        snprintf(text, CELL, "-");
    } else {
        snprintf(text, CELL, "%.2f (%.0f %%)", value / u.size, 100 * value / dense);
    }
}

static void put_energy(char *text, double mean, double sd, double dense, unit u)
{
    char number[CELL];
    put_mean(number, mean * dense / u.size, sd * dense / u.size, 2);
    if (isnan(mean)) {
        snprintf(text, CELL, "-");
    } else {
        snprintf(text, CELL, "%.60s (%.0f %%)", number, 100 * mean);
    }
}

/* ---- at equal accuracy ---- */

static void put_accuracy_rows(const wtl_comparison *c, const grid *g, unit weights, unit macs,
                              unit energy)
{
    const wtl_compare_point *dense = &c->dense;
    snprintf(cell(g, 0, 1), CELL, "original");
    put_number(cell(g, 0, 2), dense->top1, 2);
    put_number(cell(g, 0, 3), dense->top5, 2);
    put_share(cell(g, 0, 4), dense->weights, dense->weights, weights);
    put_share(cell(g, 0, 5), dense->macs, dense->macs, macs);
    put_share(cell(g, 0, 6), dense->energy_absolute, dense->energy_absolute, energy);
    snprintf(cell(g, 0, 7), CELL, "-");
    for (int m = 0; m < c->options.method_count; m++) {
        const wtl_compare_row *row = &c->rows[m];
        snprintf(cell(g, m + 1, 1), CELL, "%s", c->options.methods[m]);
        put_mean(cell(g, m + 1, 2), row->top1_mean, row->top1_sd, 2);
        put_mean(cell(g, m + 1, 3), row->top5_mean, row->top5_sd, 2);
        put_share(cell(g, m + 1, 4), row->weights_mean, dense->weights, weights);
        put_share(cell(g, m + 1, 5), row->macs_mean, dense->macs, macs);
        put_energy(cell(g, m + 1, 6), row->energy_mean, row->energy_sd, dense->energy_absolute,
                   energy);
        snprintf(cell(g, m + 1, 7), CELL, "%d of %d", row->seeds, c->options.seeds);
    }
}

static bool put_equal_accuracy(wtl_text *out, const wtl_comparison *c)
{
    const unit weights = unit_of(c->dense.weights, true), macs = unit_of(c->dense.macs, false),
               energy = unit_of(c->dense.energy_absolute, false);
    char heads[3][CELL];
    snprintf(heads[0], CELL, "non-zero weights (1e%d)", weights.exponent);
    snprintf(heads[1], CELL, "non-skipped MACs (1e%d)", macs.exponent);
    snprintf(heads[2], CELL, "energy (1e%d)", energy.exponent);
    const char *const all[] = {"model",  "variant", "top-1 %", "top-5 %",
                               heads[0], heads[1],  heads[2],  "seeds"};
    grid g;
    if (!begin_grid(&g, c->options.method_count + 1, 8, all)) {
        return false;
    }
    wtl_text_printf(out,
                    "## At equal accuracy\n\n"
                    "The cheapest network of each method that loses at most %g %s of top-1 on "
                    "the validation images; accuracies are those of the test images.\n\n",
                    c->options.max_drop, wtl_compare_points(c->options.max_drop));
    for (int row = 0; row <= c->options.method_count; row++) {
        snprintf(cell(&g, row, 0), CELL, "%.100s", c->net);
    }
    put_accuracy_rows(c, &g, weights, macs, energy);
    end_grid(out, &g, 2);
    return true;
}

/* ---- at equal energy ---- */

static bool put_equal_energy(wtl_text *out, const wtl_comparison *c)
{
    static const char *const heads[] = {"variant", "top-1 %", "points against the original",
                                        "seeds"};
    grid g;
    if (!begin_grid(&g, c->options.method_count, 4, heads)) {
        return false;
    }
    wtl_text_printf(out,
                    "## At equal energy\n\n"
                    "Top-1 on the test images at %g %% of the original's energy, interpolated "
                    "between two networks of the same run.\n\n",
                    100 * c->options.equal_energy);
    for (int m = 0; m < c->options.method_count; m++) {
        const wtl_compare_row *row = &c->rows[m];
        snprintf(cell(&g, m, 0), CELL, "%s", c->options.methods[m]);
        put_mean(cell(&g, m, 1), row->iso_top1_mean, row->iso_top1_sd, 2);
        if (isnan(row->iso_top1_mean)) {
            snprintf(cell(&g, m, 2), CELL, "-");
        } else {
            snprintf(cell(&g, m, 2), CELL, "%+.2f", row->iso_top1_mean - c->dense.top1);
        }
        snprintf(cell(&g, m, 3), CELL, "%d of %d", row->iso_top1_seeds, c->options.seeds);
    }
    end_grid(out, &g, 1);
    return true;
}

/* ---- energy at a loss ---- */

static bool put_interpolated(wtl_text *out, const wtl_comparison *c)
{
    static const char *const heads[] = {"variant", "energy, % of the original",
                                        "times less than the original", "seeds"};
    grid g;
    bool any = false;
    if (!begin_grid(&g, c->options.method_count, 4, heads)) {
        return false;
    }
    wtl_text_printf(out,
                    "## Energy at %g %s less\n\n"
                    "Where the curve of each run falls that far below the original's top-1 on "
                    "the test images, interpolated (energy by its logarithm).\n\n",
                    c->options.max_drop, wtl_compare_points(c->options.max_drop));
    for (int m = 0; m < c->options.method_count; m++) {
        const wtl_compare_row *row = &c->rows[m];
        const char *sign = row->bounded ? "at most " : "";
        char number[CELL];
        put_mean(number, 100 * row->iso_energy_mean, 100 * row->iso_energy_sd, 1);
        snprintf(cell(&g, m, 0), CELL, "%s", c->options.methods[m]);
        snprintf(cell(&g, m, 1), CELL, "%s%.60s", sign, number);
        put_number(number, 1 / row->iso_energy_mean, 2);
        snprintf(cell(&g, m, 2), CELL, "%s%.60s", row->bounded ? "at least " : "", number);
        snprintf(cell(&g, m, 3), CELL, "%d of %d", row->iso_seeds, c->options.seeds);
        any = any || row->bounded;
    }
    end_grid(out, &g, 1);
    if (any) {
        wtl_text_printf(out, "At most: some run never fell so far; it counts with its last "
                             "network.\n\n");
    }
    return true;
}

static void put_ratio(wtl_text *out, const wtl_comparison *c)
{
    if (c->energy_aware < 0 || c->best_magnitude < 0) {
        return;
    }
    const wtl_compare_row *ours = &c->rows[c->energy_aware];
    const wtl_compare_row *theirs = &c->rows[c->best_magnitude];
    char chosen[CELL], between[CELL];
    put_number(chosen, theirs->energy_mean / ours->energy_mean, 2);
    put_number(between, theirs->iso_energy_mean / ours->iso_energy_mean, 2);
    wtl_text_printf(out,
                    "Energy of %s, the best baseline, over that of energy-aware: %s (networks "
                    "of the first table), %s (interpolated%s).\n\n",
                    c->options.methods[c->best_magnitude], chosen, between,
                    ours->bounded && !theirs->bounded   ? "; at least"
                    : theirs->bounded && !ours->bounded ? "; at most"
                    : theirs->bounded                   ? "; both are bounds"
                                                        : "");
}

/* ---- cost, gaps ---- */

static bool put_cost(wtl_text *out, const wtl_comparison *c)
{
    static const char *const heads[] = {"variant", "minutes", "peak memory, GB"};
    grid g;
    if (!begin_grid(&g, c->options.method_count, 3, heads)) {
        return false;
    }
    wtl_text_printf(out, "## Cost of pruning\n\n"
                         "Of a run through all budgets, fine-tuning included; memory of the "
                         "process up to then.\n\n");
    for (int m = 0; m < c->options.method_count; m++) {
        snprintf(cell(&g, m, 0), CELL, "%s", c->options.methods[m]);
        put_number(cell(&g, m, 1), c->rows[m].minutes_mean, 1);
        put_number(cell(&g, m, 2), c->rows[m].peak_bytes / 1e9, 2);
    }
    end_grid(out, &g, 1);
    return true;
}

static void put_gaps(wtl_text *out, const wtl_comparison *c)
{
    bool any = false;
    for (int i = 0; i < c->point_count; i++) {
        const wtl_compare_point *point = &c->points[i];
        if (!point->note[0]) {
            continue;
        }
        wtl_text_printf(out, "%s- %s, seed %llu, %g %%: %s\n",
                        any ? "" : "## Budgets that were not met\n\n",
                        c->options.methods[point->method],
                        wtl_compare_seed(c, point->seed_index),
                        100 * c->options.budgets[point->budget], point->note);
        any = true;
    }
    wtl_text_printf(out, any ? "\n" : "");
}

char *wtl_comparison_table(const wtl_comparison *comparison)
{
    wtl_text out = {0};
    bool whole = put_equal_accuracy(&out, comparison) && put_equal_energy(&out, comparison) &&
                 put_interpolated(&out, comparison);
    if (whole) {
        put_ratio(&out, comparison);
        whole = put_cost(&out, comparison);
    }
    put_gaps(&out, comparison);
    if (!whole) {
        wtl_text_clear(&out);
        return NULL;
    }
    return wtl_text_take(&out);
}

/* ---- layers ---- */

static void fill_layers(const grid *g, const wtl_compare_net *nets, int net_count, unit energy)
{
    for (int i = 0; i < nets[0].report.layer_count; i++) {
        snprintf(cell(g, i, 0), CELL, "%s", nets[0].report.layers[i].name);
        put_number(cell(g, i, 1), nets[0].report.layers[i].weights, 0);
        for (int n = 0; n < net_count; n++) {
            const wtl_layer_energy *layer = &nets[n].report.layers[i];
            put_number(cell(g, i, 2 + n), 100 * layer->weight_density, 1);
            put_number(cell(g, i, 2 + net_count + n), layer->total / energy.size, 3);
        }
    }
}

void wtl_compare_put_layers(wtl_text *out, const wtl_comparison *c, const wtl_compare_net *nets,
                            int net_count)
{
    if (net_count == 0) {
        return;
    }
    const unit energy = unit_of(c->dense.energy_absolute, false);
    char names[2 * WTL_COMPARE_NETS][CELL];
    const char *heads[2 + 2 * WTL_COMPARE_NETS] = {"layer", "weights"};
    for (int n = 0; n < net_count; n++) {
        snprintf(names[2 * n], CELL, "density %%, %s", nets[n].role);
        snprintf(names[2 * n + 1], CELL, "energy (1e%d), %s", energy.exponent, nets[n].role);
        heads[2 + n] = names[2 * n];
        heads[2 + net_count + n] = names[2 * n + 1];
    }
    grid g;
    if (!begin_grid(&g, nets[0].report.layer_count, 2 + 2 * net_count, heads)) {
        out->failed = true;
        return;
    }
    wtl_text_printf(out, "## Layers\n\n");
    for (int n = 1; n < net_count; n++) {
        const wtl_compare_point *point = nets[n].point;
        wtl_text_printf(out, "%s: %s, seed %llu, %.1f %% of the energy%s", nets[n].role,
                        wtl_compare_method(c, point), wtl_compare_seed(c, point->seed_index),
                        100 * point->energy, n + 1 < net_count ? "; " : ".\n\n");
    }
    fill_layers(&g, nets, net_count, energy);
    end_grid(out, &g, 1);
}
