/* compare_plots.c - plots/pareto.svg, bars.svg and layers.svg. */
#include "compare_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/svg.h"

#include <stdio.h>
#include <string.h>

static const char energy_label[] = "energy of one image, estimated (1 = one 16-bit MAC)";

static wtl_status write_svg(const char *out, const char *name, wtl_text *text, wtl_error *err)
{
    char *path = wtl_format("%s/plots/%s", out, name);
    size_t length = text->length;
    char *svg = wtl_text_take(text);
    wtl_status status = path && svg ? wtl_file_write(path, svg, length, err)
                                    : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", out);
    wtl_free(svg);
    wtl_free(path);
    return status;
}

/* ---- accuracy over energy ---- */

/* Published: AlexNet on ImageNet (Yang, Chen, Sze, CVPR 2017, table 3): energy as a share of
 * the original's, top-5 against the original's 80.43. */
static const double paper_energy[] = {1.85 / 3.97, 1.06 / 3.97};
static const double paper_drop[] = {80.37 - 80.43, 79.56 - 80.43};
static const char *const paper_names[] = {"Deep Compression", "energy-aware"};
static const char paper[] = "AlexNet, ImageNet, top-5, from the paper; not this network";

/* The line of a method has the dense net and, for each budget, the means over seeds; its dots
 * are the nets. All accuracies are points against the dense net, so that the paper's, of
 * another task, can stand beside them. */
static void fill_curve(const wtl_comparison *c, int method, double *line_x, double *line_y,
                       double *dot_x, double *dot_y)
{
    const wtl_compare_options *o = &c->options;
    line_x[0] = 1.0;
    line_y[0] = 0.0;
    for (int b = 0; b < o->budget_count; b++) {
        double energy = 0, top1 = 0;
        int count = 0;
        for (int s = 0; s < o->seeds; s++) {
            const wtl_compare_point *point = wtl_compare_at(c, method, s, b);
            *dot_x = point->energy;
            *dot_y = point->top1 - c->dense.top1;
            if (wtl_compare_has_net(point)) {
                energy += *dot_x;
                top1 += *dot_y;
                count++;
            }
            dot_x++;
            dot_y++;
        }
        line_x[b + 1] = count > 0 ? energy / count : (double)NAN;
        line_y[b + 1] = count > 0 ? top1 / count : (double)NAN;
    }
}

static void put_pareto(wtl_text *out, const wtl_comparison *c, const wtl_curve *curves)
{
    char title[256], y_label[128];
    snprintf(title, sizeof title, "%s: accuracy over energy", c->net);
    snprintf(y_label, sizeof y_label, "top-1, test images: points against %.2f %%",
             c->dense.top1);
    const wtl_pareto pareto = {.title = title,
                               .x_label = "energy, share of the original's (estimated)",
                               .y_label = y_label,
                               .curves = curves,
                               .curve_count = c->options.method_count,
                               .origin = "original",
                               .origin_x = 1.0,
                               .origin_y = 0.0,
                               .foreign = paper,
                               .foreign_x = paper_energy,
                               .foreign_y = paper_drop,
                               .foreign_labels = paper_names,
                               .foreign_count = 2,
                               .limit = c->floor > 0 ? "floor: no weight left" : NULL,
                               .limit_x = c->floor,
                               /* Beyond five times the drop that is asked about, curves fall
                                * too far to leave room for what matters. */
                               .least_y = -fmax(5.0 * c->options.max_drop, 2.0)};
    wtl_svg_pareto(out, &pareto);
}

static wtl_status plot_pareto(const wtl_comparison *c, const char *out, wtl_error *err)
{
    const wtl_compare_options *o = &c->options;
    size_t line = (size_t)o->budget_count + 1;
    size_t dots = (size_t)o->budget_count * (size_t)o->seeds;
    double *values = wtl_alloc((size_t)o->method_count * 2 * (line + dots), sizeof *values);
    wtl_curve curves[WTL_COMPARE_METHODS];
    if (!values) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the plot", out);
    }
    for (int m = 0; m < o->method_count; m++) {
        double *x = values + (size_t)m * 2 * (line + dots);
        double *y = x + line, *dot_x = y + line, *dot_y = dot_x + dots;
        fill_curve(c, m, x, y, dot_x, dot_y);
        curves[m] = (wtl_curve){.name = o->methods[m],
                                .x = x,
                                .y = y,
                                .count = (int)line,
                                .dot_x = dot_x,
                                .dot_y = dot_y,
                                .dot_count = (int)dots};
    }
    wtl_text text = {0};
    put_pareto(&text, c, curves);
    wtl_free(values);
    return write_svg(out, "pareto.svg", &text, err);
}

/* ---- bars ---- */

static void type_names(const char *names[WTL_DATA_TYPE_COUNT])
{
    for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
        names[type] = wtl_data_type_name((wtl_data_type)type);
    }
}

/* by_type[type] += of one layer. */
static void add_types(double *by_type, const wtl_layer_energy *layer)
{
    for (int k = 0; k < WTL_DATA_TYPE_COUNT * WTL_LEVEL_COUNT; k++) {
        by_type[k / WTL_LEVEL_COUNT] += layer->energy[k / WTL_LEVEL_COUNT][k % WTL_LEVEL_COUNT];
    }
}

/* "magnitude-global 41.2 %"; the original by its name alone. */
static void net_name(const wtl_comparison *c, const wtl_compare_net *net, char name[96])
{
    if (net->point->budget < 0) {
        snprintf(name, 96, "original");
    } else {
        snprintf(name, 96, "%.60s %.1f %%", wtl_compare_method(c, net->point),
                 100 * net->point->energy);
    }
}

static wtl_status plot_bars(const wtl_comparison *c, const wtl_compare_net *nets, int net_count,
                            const char *out, wtl_error *err)
{
    double values[WTL_COMPARE_NETS][WTL_DATA_TYPE_COUNT] = {{0}};
    char names[WTL_COMPARE_NETS][96], title[256];
    const char *list[WTL_COMPARE_NETS], *types[WTL_DATA_TYPE_COUNT];
    type_names(types);
    for (int n = 0; n < net_count; n++) {
        for (int i = 0; i < nets[n].report.layer_count; i++) {
            add_types(values[n], &nets[n].report.layers[i]);
        }
        net_name(c, &nets[n], names[n]);
        list[n] = names[n];
    }
    snprintf(title, sizeof title, "%s: energy at most %g %s of top-1 below the original",
             c->net, c->options.max_drop, wtl_compare_points(c->options.max_drop));
    const wtl_bars_view view = {NULL, types, WTL_DATA_TYPE_COUNT, &values[0][0]};
    const wtl_bars bars = {.title = title,
                           .x_label = energy_label,
                           .names = list,
                           .bar_count = net_count,
                           .views = &view,
                           .view_count = 1};
    wtl_text text = {0};
    wtl_svg_bars(&text, &bars);
    return write_svg(out, "bars.svg", &text, err);
}

/* ---- layers ---- */

static void put_layers(wtl_text *text, const wtl_comparison *c, const wtl_compare_net *nets,
                       int net_count, const char *const *list, const double *values)
{
    const char *types[WTL_DATA_TYPE_COUNT];
    char names[WTL_COMPARE_NETS][96], title[256];
    wtl_bars_view views[WTL_COMPARE_NETS];
    int layers = net_count > 0 ? nets[0].report.layer_count : 0;
    type_names(types);
    for (int n = 0; n < net_count; n++) {
        net_name(c, &nets[n], names[n]);
        views[n] = (wtl_bars_view){names[n], types, WTL_DATA_TYPE_COUNT,
                                   values + (size_t)n * (size_t)layers * WTL_DATA_TYPE_COUNT};
    }
    snprintf(title, sizeof title, "%s: energy by layer and data type", c->net);
    const wtl_bars bars = {.title = title,
                           .x_label = energy_label,
                           .names = list,
                           .bar_count = layers,
                           .views = views,
                           .view_count = net_count};
    wtl_svg_bars(text, &bars);
}

static wtl_status plot_layers(const wtl_comparison *c, const wtl_compare_net *nets,
                              int net_count, const char *out, wtl_error *err)
{
    size_t layers = net_count > 0 ? (size_t)nets[0].report.layer_count : 0;
    double *values =
        wtl_alloc((size_t)net_count * layers * WTL_DATA_TYPE_COUNT, sizeof *values);
    const char **list = wtl_alloc(layers, sizeof *list);
    wtl_status status = WTL_OK;
    if (values && list) {
        wtl_text text = {0};
        for (size_t i = 0; i < layers; i++) {
            list[i] = nets[0].report.layers[i].name;
        }
        for (size_t k = 0; k < (size_t)net_count * layers; k++) {
            add_types(values + k * WTL_DATA_TYPE_COUNT,
                      &nets[k / layers].report.layers[k % layers]);
        }
        put_layers(&text, c, nets, net_count, list, values);
        status = write_svg(out, "layers.svg", &text, err);
    } else {
        status = wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the plot", out);
    }
    wtl_free(list);
    wtl_free(values);
    return status;
}

wtl_status wtl_compare_plots(const wtl_comparison *c, const wtl_compare_net *nets,
                             int net_count, const char *out, wtl_error *err)
{
    wtl_status status = plot_pareto(c, out, err);
    if (status == WTL_OK) {
        status = plot_bars(c, nets, net_count, out, err);
    }
    return status == WTL_OK ? plot_layers(c, nets, net_count, out, err) : status;
}
