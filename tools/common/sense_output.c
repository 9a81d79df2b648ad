/* sense_output.c - a sensitivity scan as text, CSV, JSON and SVG. */
#include "sense_output.h"

#include "wattle/memory.h"
#include "wattle/svg.h"

#include <string.h>

static int out_of_memory(void)
{
    wtl_error err;
    (void)wtl_fail(&err, WTL_E_NOMEM, "out of memory for the table");
    return wtl_cli_report(&err);
}

/* ---- text ---- */

static int per_layer(const wtl_sense_view *view)
{
    return view->sense->count / view->layers;
}

/* Without ".weight": every row is of weights. */
static int name_length(const wtl_sense_row *row)
{
    const char *dot = strrchr(row->parameter, '.');
    return dot ? (int)(dot - row->parameter) : (int)strlen(row->parameter);
}

static void print_heading(const wtl_sense_view *view)
{
    printf("%s, judged on %d images of ", view->net, view->images);
    wtl_cli_print_text(stdout, view->data);
    printf(
        "\nTop-1 in percent when one layer is pruned by magnitude%s to a sparsity; nothing is "
        "trained again.\n",
        view->granularity == WTL_GRANULARITY_4X1 ? ", in 4x1 blocks," : "");
    if (view->weights.kept < view->weights.weights) {
        printf("%s of %s weights are pruned already and stay so.\n",
               wtl_cli_grouped(view->weights.weights - view->weights.kept),
               wtl_cli_grouped(view->weights.weights));
    }
}

int wtl_sense_print(const wtl_sense_view *view)
{
    const wtl_sense_row *rows = view->sense->rows;
    int each = per_layer(view), width = 5;
    for (int i = 0; i < view->sense->count; i++) {
        width = name_length(&rows[i]) > width ? name_length(&rows[i]) : width;
    }
    print_heading(view);
    printf("\n%-*s %11s", width, "layer", "weights");
    for (int i = 0; i < each; i++) {
        printf(" %6g", rows[i].sparsity);
    }
    putchar('\n');
    for (int l = 0; l < view->layers; l++, rows += each) {
        printf("%-*.*s %11s", width, name_length(rows), rows->parameter,
               wtl_cli_grouped(rows->weights));
        for (int i = 0; i < each; i++) {
            printf(" %6.2f", rows[i].top1);
        }
        putchar('\n');
    }
    return WTL_EXIT_DONE;
}

int wtl_sense_print_csv(const wtl_sense_view *view)
{
    char *csv = wtl_sense_csv(view->sense);
    if (!csv) {
        return out_of_memory();
    }
    fputs(csv, stdout);
    wtl_free(csv);
    return WTL_EXIT_DONE;
}

/* ---- JSON ---- */

static json_t *row_json(const wtl_sense_row *row)
{
    return json_pack("{s:s, s:o, s:I, s:I, s:o, s:o, s:o}", "parameter", row->parameter,
                     "sparsity", wtl_json_real(row->sparsity), "weights",
                     (json_int_t)row->weights, "kept", (json_int_t)row->kept, "top1",
                     wtl_json_real(row->top1), "top5", wtl_json_real(row->top5), "loss",
                     wtl_json_real(row->loss));
}

json_t *wtl_sense_json(const wtl_sense_view *view)
{
    json_t *rows = json_array();
    for (int i = 0; i < view->sense->count; i++) {
        (void)json_array_append_new(rows, row_json(&view->sense->rows[i]));
    }
    return json_pack("{s:o, s:s, s:s, s:o, s:i, s:o}", "checkpoint",
                     wtl_json_string(view->checkpoint), "granularity",
                     wtl_granularity_words[view->granularity], "net", view->net, "data",
                     wtl_json_string(view->data), "images", view->images, "rows", rows);
}

/* ---- SVG ---- */

static void put_plot(wtl_text *out, const wtl_sense_view *view, wtl_series *series, double *x,
                     double *y)
{
    const wtl_sense_row *rows = view->sense->rows;
    int each = per_layer(view);
    for (int i = 0; i < view->sense->count; i++) {
        x[i] = rows[i].sparsity;
        y[i] = rows[i].top1;
    }
    for (int l = 0; l < view->layers; l++) {
        series[l] = (wtl_series){.name = rows[l * each].parameter,
                                 .x = x + l * each,
                                 .y = y + l * each,
                                 .count = each};
    }
    char *title = wtl_format("%s on %d images of %s", view->net, view->images, view->data);
    const wtl_plot plot = {.title = title,
                           .x_label = "sparsity of one layer, the others as they are",
                           .y_label = "top-1 (%)",
                           .series = series,
                           .series_count = view->layers};
    wtl_svg_lines(out, &plot);
    out->failed = out->failed || !title;
    wtl_free(title);
}

char *wtl_sense_svg(const wtl_sense_view *view)
{
    size_t count = (size_t)view->sense->count;
    wtl_text text = {0};
    double *x = wtl_alloc(count, sizeof *x), *y = wtl_alloc(count, sizeof *y);
    wtl_series *series = wtl_alloc((size_t)view->layers, sizeof *series);
    if (x && y && series) {
        put_plot(&text, view, series, x, y);
    } else {
        text.failed = true;
    }
    wtl_free(x);
    wtl_free(y);
    wtl_free(series);
    return wtl_text_take(&text);
}
