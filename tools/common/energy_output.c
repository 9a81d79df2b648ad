/* energy_output.c - tables and JSON of wattle energy. */
#include "energy_output.h"
#include "output.h"

#include "wattle/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- sums ---- */

typedef struct sums {
    double type[WTL_DATA_TYPE_COUNT], level[WTL_LEVEL_COUNT];
    double macs, macs_not_skipped, weights, weights_not_zero, dram_bytes;
} sums;

static double of_type(const wtl_layer_energy *layer, int type)
{
    double sum = 0;
    for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
        sum += layer->energy[type][level];
    }
    return sum;
}

static double of_level(const wtl_layer_energy *layer, int level)
{
    double sum = 0;
    for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
        sum += layer->energy[type][level];
    }
    return sum;
}

static sums sums_of(const wtl_energy_report *report)
{
    sums s = {.macs = 0};
    for (int i = 0; i < report->layer_count; i++) {
        const wtl_layer_energy *layer = &report->layers[i];
        for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
            s.type[type] += of_type(layer, type);
        }
        for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
            s.level[level] += of_level(layer, level);
        }
        s.macs += layer->macs;
        s.macs_not_skipped += layer->macs_not_skipped;
        s.weights += layer->weights;
        s.weights_not_zero += layer->weights_not_zero;
        s.dram_bytes += layer->dram_bytes;
    }
    return s;
}

static double share(double part, double whole)
{
    return whole > 0 ? 100 * part / whole : 0;
}

/* ---- tables ---- */

/* Numbers of a table have one unit, so that they can be compared by eye. */
typedef struct unit {
    double size;
    const char *name;
} unit;

static unit unit_for(double total)
{
    return total >= 1e7   ? (unit){1e6, "millions"}
           : total >= 1e4 ? (unit){1e3, "thousands"}
                          : (unit){1, "units"};
}

static void layer_name(const wtl_layer_energy *layer, char name[WTL_WORK_NAME_SIZE])
{
    if (layer->name[0]) {
        memcpy(name, layer->name, WTL_WORK_NAME_SIZE);
    } else {
        snprintf(name, WTL_WORK_NAME_SIZE, "layer %d", layer->index);
    }
}

static int name_width(const wtl_energy_report *report)
{
    enum { NARROWEST = 8, WIDEST = 32 };
    size_t width = NARROWEST;
    for (int i = 0; i < report->layer_count; i++) {
        char name[WTL_WORK_NAME_SIZE];
        layer_name(&report->layers[i], name);
        width = strlen(name) > width ? strlen(name) : width;
    }
    return width < WIDEST ? (int)width : WIDEST;
}

static int by_total(const void *a, const void *b)
{
    const wtl_layer_energy *x = *(const wtl_layer_energy *const *)a;
    const wtl_layer_energy *y = *(const wtl_layer_energy *const *)b;
    /* Equal ones stay in the order of the network: a and b point into one array. */
    return x->total != y->total ? (x->total < y->total) - (x->total > y->total)
                                : (x > y) - (x < y);
}

/* Freed by wtl_free(); NULL when memory is short. */
static const wtl_layer_energy **sorted(const wtl_energy_report *report, bool in_order)
{
    size_t count = (size_t)report->layer_count;
    const wtl_layer_energy **list = wtl_alloc(count, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        list[i] = &report->layers[i];
    }
    if (list && !in_order) {
        qsort(list, count, sizeof *list, by_total);
    }
    return list;
}

static void print_head(const wtl_energy_report *report)
{
    wtl_cli_print_text(stdout, report->workload);
    printf(" on %s, batch %d\n", report->hardware, report->batch);
    printf("weights: %s; activations: ",
           report->weight_zeros_measured ? "zeros as given" : "taken as dense");
    if (report->sample_images > 0) {
        printf("zeros measured over %ld images\n", report->sample_images);
    } else {
        puts(report->activation_zeros_measured ? "zeros as given" : "taken as dense");
    }
}

static void print_by_type(const wtl_energy_report *report, const wtl_layer_energy **list,
                          unit in, int width)
{
    printf("%5s  %-*s %10s %10s %10s %10s %10s %6s %10s %10s  %s\n", "layer", width, "",
           "ifmap", "ofmap", "weight", "compute", "total", "%", "MACs", "not skip.",
           "density w / if / of");
    for (int i = 0; i < report->layer_count; i++) {
        const wtl_layer_energy *layer = list[i];
        char name[WTL_WORK_NAME_SIZE];
        layer_name(layer, name);
        printf("%5d  %-*.*s", layer->index, width, width, layer->name[0] ? name : "");
        for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
            printf(" %10.3f", of_type(layer, type) / in.size);
        }
        printf(" %10.3f %6.2f %10.3f %10.3f  %.3f %.3f %.3f\n", layer->total / in.size,
               share(layer->total, report->total), layer->macs / in.size,
               layer->macs_not_skipped / in.size, layer->weight_density, layer->ifmap_density,
               layer->ofmap_density);
    }
    sums s = sums_of(report);
    printf("\n%7s%-*s", "", width, "all");
    for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
        printf(" %10.3f", s.type[type] / in.size);
    }
    printf(" %10.3f %6.2f %10.3f %10.3f  %.3f\n%7s%-*s", report->total / in.size, 100.0,
           s.macs / in.size, s.macs_not_skipped / in.size,
           s.weights > 0 ? s.weights_not_zero / s.weights : 0, "", width, "%");
    for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
        printf(" %10.2f", share(s.type[type], report->total));
    }
    putchar('\n');
}

static void print_by_level(const wtl_energy_report *report, const wtl_layer_energy **list,
                           unit in, int width)
{
    printf("\n%5s  %-*s", "layer", width, "");
    for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
        printf(" %10s", wtl_memory_level_name((wtl_memory_level)level));
    }
    printf(" %10s %14s\n", "total", "DRAM bytes");
    for (int i = 0; i < report->layer_count; i++) {
        const wtl_layer_energy *layer = list[i];
        printf("%5d  %-*.*s", layer->index, width, width, layer->name);
        for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
            printf(" %10.3f", of_level(layer, level) / in.size);
        }
        printf(" %10.3f %14.0f\n", layer->total / in.size, layer->dram_bytes);
    }
    sums s = sums_of(report);
    printf("\n%7s%-*s", "", width, "all");
    for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
        printf(" %10.3f", s.level[level] / in.size);
    }
    printf(" %10.3f %14.0f\n%7s%-*s", report->total / in.size, s.dram_bytes, "", width, "%");
    for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
        printf(" %10.2f", share(s.level[level], report->total));
    }
    putchar('\n');
}

static void print_joules(const wtl_energy_report *report)
{
    if (report->mac_pj > 0) {
        printf("%s: %.4g mJ an image, at %g pJ a unit\n", report->hardware,
               report->total * report->mac_pj * 1e-9, report->mac_pj);
    }
}

static const char estimated[] =
    "Estimated by a model, not measured on hardware. A unit is the energy of one 16-bit MAC.";

void wtl_energy_print(const wtl_energy_report *report, bool in_order, bool levels)
{
    const wtl_layer_energy **list = sorted(report, in_order);
    if (!list) {
        return;
    }
    unit in = unit_for(report->total);
    int width = name_width(report);
    print_head(report);
    printf("energy of one image in %s%s\n\n", in.name, in.size > 1 ? " of units" : "");
    print_by_type(report, list, in, width);
    if (levels) {
        print_by_level(report, list, in, width);
    }
    putchar('\n');
    print_joules(report);
    puts(estimated);
    wtl_free(list);
}

/* ---- two estimates ---- */

static bool same_layers(const wtl_energy_report *a, const wtl_energy_report *b)
{
    bool same = a->layer_count == b->layer_count;
    for (int i = 0; same && i < a->layer_count; i++) {
        same = a->layers[i].index == b->layers[i].index &&
               strcmp(a->layers[i].name, b->layers[i].name) == 0;
    }
    return same;
}

static void print_pair(double a, double b, double size)
{
    printf(" %12.3f %12.3f", a / size, b / size);
    if (b > 0) {
        printf(" %8.3f", a / b);
    } else {
        printf(" %8s", "-");
    }
    putchar('\n');
}

static void print_layer_pairs(const wtl_energy_report *a, const wtl_energy_report *b,
                              bool in_order, double size, int width)
{
    const wtl_layer_energy **list = sorted(a, in_order);
    for (int i = 0; list && i < a->layer_count; i++) {
        printf("%5d  %-*.*s", list[i]->index, width, width, list[i]->name);
        print_pair(list[i]->total, b->layers[list[i] - a->layers].total, size);
    }
    wtl_free(list);
    putchar('\n');
}

void wtl_energy_print_both(const wtl_energy_report *a, const wtl_energy_report *b,
                           bool in_order)
{
    unit in = unit_for(fmax(a->total, b->total));
    int width = name_width(a);
    sums of_a = sums_of(a), of_b = sums_of(b);
    fputs("A: ", stdout);
    print_head(a);
    fputs("B: ", stdout);
    print_head(b);
    printf("energy of one image in %s%s\n\n", in.name, in.size > 1 ? " of units" : "");
    printf("%5s  %-*s %12s %12s %8s\n", "layer", width, "", "A", "B", "A / B");
    if (same_layers(a, b)) {
        print_layer_pairs(a, b, in_order, in.size, width);
    }
    for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
        printf("%7s%-*s", "", width, wtl_data_type_name((wtl_data_type)type));
        print_pair(of_a.type[type], of_b.type[type], in.size);
    }
    putchar('\n');
    for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
        printf("%7s%-*s", "", width, wtl_memory_level_name((wtl_memory_level)level));
        print_pair(of_a.level[level], of_b.level[level], in.size);
    }
    printf("\n%7s%-*s", "", width, "all");
    print_pair(a->total, b->total, in.size);
    printf("%7s%-*s", "", width, "MACs");
    print_pair(of_a.macs_not_skipped, of_b.macs_not_skipped, in.size);
    printf("%7s%-*s", "", width, "weights");
    print_pair(of_a.weights_not_zero, of_b.weights_not_zero, in.size);
    puts("\nMACs are those not skipped, weights those that are not zero.");
    print_joules(a);
    print_joules(b);
    puts(estimated);
}

/* ---- JSON ---- */

static json_t *by_type_json(const double *type)
{
    json_t *json = json_object();
    for (int t = 0; t < WTL_DATA_TYPE_COUNT; t++) {
        (void)json_object_set_new(json, wtl_data_type_name((wtl_data_type)t),
                                  wtl_json_real(type[t]));
    }
    return json;
}

static json_t *by_level_json(const double *level)
{
    json_t *json = json_object();
    for (int l = 0; l < WTL_LEVEL_COUNT; l++) {
        (void)json_object_set_new(json, wtl_memory_level_name((wtl_memory_level)l),
                                  wtl_json_real(level[l]));
    }
    return json;
}

static json_t *energy_json(const wtl_layer_energy *layer)
{
    json_t *json = json_object();
    for (int t = 0; t < WTL_DATA_TYPE_COUNT; t++) {
        (void)json_object_set_new(json, wtl_data_type_name((wtl_data_type)t),
                                  by_level_json(layer->energy[t]));
    }
    return json;
}

/* Words of the whole batch, before zeros: [read, write] a type and level. */
static json_t *words_json(const wtl_access_counts *counts)
{
    json_t *json = json_object();
    for (int t = 0; t < WTL_DATA_COMPUTATION; t++) {
        json_t *levels = json_object();
        for (int l = 0; l < WTL_LEVEL_MAC; l++) {
            const double *words = counts->words[l][t];
            (void)json_object_set_new(levels, wtl_memory_level_name((wtl_memory_level)l),
                                      json_pack("[o, o]", wtl_json_real(words[WTL_READ]),
                                                wtl_json_real(words[WTL_WRITE])));
        }
        (void)json_object_set_new(json, wtl_data_type_name((wtl_data_type)t), levels);
    }
    return json;
}

static json_t *layer_json(const wtl_layer_energy *layer, double total)
{
    char mapping[1024];
    wtl_mapping_text(&layer->mapping, mapping, sizeof mapping);
    json_t *density = json_pack(
        "{s:o, s:o, s:o}", "weight", wtl_json_real(layer->weight_density), "ifmap",
        wtl_json_real(layer->ifmap_density), "ofmap", wtl_json_real(layer->ofmap_density));
    return json_pack(
        "{s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:s, s:i, s:o, s:o, s:o}", "index",
        layer->index, "name", wtl_json_string(layer->name), "total",
        wtl_json_real(layer->total), "share", wtl_json_real(share(layer->total, total) / 100),
        "energy", energy_json(layer), "macs", wtl_json_real(layer->macs), "macs_not_skipped",
        wtl_json_real(layer->macs_not_skipped), "weights", wtl_json_real(layer->weights),
        "weights_not_zero", wtl_json_real(layer->weights_not_zero), "density", density,
        "mapping", mapping, "active_pes", layer->counts.active_pes, "cycles",
        wtl_json_real(layer->counts.cycles), "dram_bytes", wtl_json_real(layer->dram_bytes),
        "words", words_json(&layer->counts));
}

json_t *wtl_energy_json(const wtl_energy_report *report)
{
    sums s = sums_of(report);
    json_t *layers = json_array();
    for (int i = 0; i < report->layer_count; i++) {
        (void)json_array_append_new(layers, layer_json(&report->layers[i], report->total));
    }
    bool joules = report->mac_pj > 0;
    return json_pack(
        "{s:o, s:o, s:b, s:s, s:i, s:b, s:b, s:I, s:o, s:o, s:o, s:o, s:o, s:o, "
        "s:o, s:o, s:o}",
        "workload", wtl_json_string(report->workload), "hardware",
        wtl_json_string(report->hardware), "estimated", 1, "unit",
        "energy of one 16-bit MAC, per image", "batch", report->batch, "weight_zeros_measured",
        (int)report->weight_zeros_measured, "activation_zeros_measured",
        (int)report->activation_zeros_measured, "sample_images",
        (json_int_t)report->sample_images, "total", wtl_json_real(report->total), "joules",
        joules ? wtl_json_real(report->total * report->mac_pj * 1e-12) : json_null(), "by_type",
        by_type_json(s.type), "by_level", by_level_json(s.level), "macs", wtl_json_real(s.macs),
        "macs_not_skipped", wtl_json_real(s.macs_not_skipped), "weights",
        wtl_json_real(s.weights), "weights_not_zero", wtl_json_real(s.weights_not_zero),
        "layers", layers);
}
