/* energy_plot.c - the SVG plots of wattle energy. */
#include "energy_output.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/svg.h"

#include <stdio.h>
#include <string.h>

static const char unit_label[] = "energy of one image, estimated (1 = one 16-bit MAC)";

static wtl_status write_svg(const char *path, wtl_text *text, wtl_error *err)
{
    size_t length = text->length;
    char *svg = wtl_text_take(text);
    if (!svg) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the plot", path);
    }
    wtl_status status = wtl_file_write(path, svg, length, err);
    wtl_free(svg);
    return status;
}

static void title_of(const wtl_energy_report *report, char title[256])
{
    snprintf(title, 256, "%s on %s, batch %d", report->workload, report->hardware,
             report->batch);
}

/* ---- bars ---- */

typedef struct bar_data {
    char (*names)[WTL_WORK_NAME_SIZE];
    const char **name_list;
    double *by_type, *by_level;
} bar_data;

static void clear_bars(bar_data *d)
{
    wtl_free(d->names);
    wtl_free(d->name_list);
    wtl_free(d->by_type);
    wtl_free(d->by_level);
}

static bool fill_bars(bar_data *d, const wtl_energy_report *report)
{
    size_t count = (size_t)report->layer_count;
    d->names = wtl_alloc(count, sizeof *d->names);
    d->name_list = wtl_alloc(count, sizeof *d->name_list);
    d->by_type = wtl_alloc(count * WTL_DATA_TYPE_COUNT, sizeof *d->by_type);
    d->by_level = wtl_alloc(count * WTL_LEVEL_COUNT, sizeof *d->by_level);
    if (!d->names || !d->name_list || !d->by_type || !d->by_level) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        const wtl_layer_energy *layer = &report->layers[i];
        snprintf(d->names[i], sizeof d->names[i], "%s", layer->name);
        if (!layer->name[0]) {
            snprintf(d->names[i], sizeof d->names[i], "layer %d", layer->index);
        }
        d->name_list[i] = d->names[i];
        for (int k = 0; k < WTL_DATA_TYPE_COUNT * WTL_LEVEL_COUNT; k++) {
            int type = k / WTL_LEVEL_COUNT, level = k % WTL_LEVEL_COUNT;
            d->by_type[i * WTL_DATA_TYPE_COUNT + (size_t)type] += layer->energy[type][level];
            d->by_level[i * WTL_LEVEL_COUNT + (size_t)level] += layer->energy[type][level];
        }
    }
    return true;
}

wtl_status wtl_energy_plot(const char *path, const wtl_energy_report *report, wtl_error *err)
{
    bar_data d = {0};
    if (!fill_bars(&d, report)) {
        clear_bars(&d);
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the plot", path);
    }
    const char *types[WTL_DATA_TYPE_COUNT], *levels[WTL_LEVEL_COUNT];
    for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
        types[type] = wtl_data_type_name((wtl_data_type)type);
    }
    for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
        levels[level] = wtl_memory_level_name((wtl_memory_level)level);
    }
    char title[256];
    title_of(report, title);
    const wtl_bars_view views[] = {{"by data type", types, WTL_DATA_TYPE_COUNT, d.by_type},
                                   {"by memory level", levels, WTL_LEVEL_COUNT, d.by_level}};
    const wtl_bars bars = {.title = title,
                           .x_label = unit_label,
                           .names = d.name_list,
                           .bar_count = report->layer_count,
                           .views = views,
                           .view_count = 2};
    wtl_text text = {0};
    wtl_svg_bars(&text, &bars);
    clear_bars(&d);
    return write_svg(path, &text, err);
}

/* ---- energy over weights and MACs ---- */

typedef struct point_data {
    double *weights, *macs, *energy;
    int *group;
    const char **labels;
} point_data;

static void clear_points(point_data *d)
{
    wtl_free(d->weights);
    wtl_free(d->macs);
    wtl_free(d->energy);
    wtl_free(d->group);
    wtl_free(d->labels);
}

enum { GROUP_CONV, GROUP_POINT, GROUP_DEPTHWISE, GROUP_DENSE, GROUP_COUNT };
static const char *const groups[GROUP_COUNT] = {"conv", "1x1 conv", "depthwise", "dense"};

/* Only the groups that the net has; returns their count. */
static int name_groups(point_data *d, int count, const char *names[GROUP_COUNT])
{
    int used = 0;
    for (int g = 0; g < GROUP_COUNT; g++) {
        bool any = false;
        for (int i = 0; i < count; i++) {
            if (d->group[i] == g) {
                d->group[i] = used; /* <= g: not met again */
                any = true;
            }
        }
        if (any) {
            names[used++] = groups[g];
        }
    }
    return used;
}

static int group_of(const wtl_work_layer *layer)
{
    if (layer->ofmap.h == 1 && layer->ofmap.w == 1 && layer->filter.h == layer->ifmap.h &&
        layer->filter.w == layer->ifmap.w) {
        return GROUP_DENSE;
    }
    if (layer->filter.channels == 1 && layer->ifmap.channels > 1) {
        return GROUP_DEPTHWISE;
    }
    return layer->filter.h == 1 && layer->filter.w == 1 ? GROUP_POINT : GROUP_CONV;
}

/* Names beside the points of the costliest layers: more would hide each other. */
static void label_costliest(point_data *d, const wtl_energy_report *report)
{
    enum { LABELS = 6 };
    for (int k = 0; k < LABELS && k < report->layer_count; k++) {
        int best = -1;
        for (int i = 0; i < report->layer_count; i++) {
            if (!d->labels[i] && (best < 0 || d->energy[i] > d->energy[best])) {
                best = i;
            }
        }
        d->labels[best] = report->layers[best].name[0] ? report->layers[best].name : "?";
    }
    for (int i = 0; i < report->layer_count; i++) {
        d->labels[i] = report->layers[i].name[0] ? d->labels[i] : NULL;
    }
}

static bool fill_points(point_data *d, const wtl_workload *work,
                        const wtl_energy_report *report)
{
    size_t count = (size_t)report->layer_count;
    d->weights = wtl_alloc(count, sizeof *d->weights);
    d->macs = wtl_alloc(count, sizeof *d->macs);
    d->energy = wtl_alloc(count, sizeof *d->energy);
    d->group = wtl_alloc(count, sizeof *d->group);
    d->labels = wtl_alloc(count, sizeof *d->labels);
    if (!d->weights || !d->macs || !d->energy || !d->group || !d->labels) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        d->weights[i] = report->layers[i].weights_not_zero;
        d->macs[i] = report->layers[i].macs_not_skipped;
        d->energy[i] = report->layers[i].total;
        d->group[i] = group_of(&work->layers[i]);
    }
    label_costliest(d, report);
    return true;
}

wtl_status wtl_energy_scatter(const char *path, const wtl_workload *work,
                              const wtl_energy_report *report, wtl_error *err)
{
    point_data d = {0};
    if (!fill_points(&d, work, report)) {
        clear_points(&d);
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the plot", path);
    }
    char title[256];
    const char *names[GROUP_COUNT];
    int group_count = name_groups(&d, report->layer_count, names);
    title_of(report, title);
    const wtl_scatter_view views[] = {{"weights that are not zero", d.weights},
                                      {"MACs that are not skipped", d.macs}};
    const wtl_scatter scatter = {.title = title,
                                 .y_label = unit_label,
                                 .y = d.energy,
                                 .group = d.group,
                                 .labels = d.labels,
                                 .count = report->layer_count,
                                 .groups = names,
                                 .group_count = group_count,
                                 .views = views,
                                 .view_count = 2};
    wtl_text text = {0};
    wtl_svg_scatter(&text, &scatter);
    clear_points(&d);
    return write_svg(path, &text, err);
}
