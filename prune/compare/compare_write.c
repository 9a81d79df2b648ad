/* compare_write.c - layers.csv, summary.json and summary.md. */
#include "compare_private.h"

#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* ---- JSON ---- */

/* Add `item` to an array that may have failed before; NULL when it has, or fails. */
static json_t *append(json_t *array, json_t *item)
{
    if (array && json_array_append_new(array, item) == 0) {
        return array;
    }
    if (!array) {
        json_decref(item);
    }
    json_decref(array);
    return NULL;
}

static json_t *point_to_json(const wtl_comparison *c, const wtl_compare_point *p)
{
    bool dense = p->budget < 0;
    return json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "method",
        wtl_compare_method(c, p), "seed",
        dense ? json_null() : json_integer((json_int_t)wtl_compare_seed(c, p->seed_index)),
        "budget", dense ? json_null() : json_real(c->options.budgets[p->budget]), "energy",
        wtl_json_real(p->energy), "energy_absolute", wtl_json_real(p->energy_absolute),
        "weights", wtl_json_real(p->weights), "macs", wtl_json_real(p->macs), "density",
        wtl_json_real(p->density), "val_top1", wtl_json_real(p->val_top1), "top1",
        wtl_json_real(p->top1), "top5", wtl_json_real(p->top5), "minutes",
        wtl_json_real(p->minutes), "peak_bytes", wtl_json_real(p->peak_bytes), "note",
        wtl_json_string(p->note));
}

static json_t *points_to_json(const wtl_comparison *c)
{
    json_t *array = json_array();
    for (int i = 0; i < c->point_count; i++) {
        array = append(array, point_to_json(c, &c->points[i]));
    }
    return array;
}

static json_t *row_to_json(const wtl_comparison *c, const wtl_compare_row *r)
{
    return json_pack(
        "{s:s, s:i, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o, s:o, s:b, s:i, s:o, s:o, "
        "s:o, s:o}",
        "method", c->options.methods[r->method], "seeds", r->seeds, "energy_mean",
        wtl_json_real(r->energy_mean), "energy_sd", wtl_json_real(r->energy_sd), "top1_mean",
        wtl_json_real(r->top1_mean), "top1_sd", wtl_json_real(r->top1_sd), "top5_mean",
        wtl_json_real(r->top5_mean), "top5_sd", wtl_json_real(r->top5_sd), "weights_mean",
        wtl_json_real(r->weights_mean), "macs_mean", wtl_json_real(r->macs_mean), "iso_seeds",
        r->iso_seeds, "iso_energy_mean", wtl_json_real(r->iso_energy_mean), "iso_energy_sd",
        wtl_json_real(r->iso_energy_sd), "bounded", (int)r->bounded, "iso_top1_seeds",
        r->iso_top1_seeds, "iso_top1_mean", wtl_json_real(r->iso_top1_mean), "iso_top1_sd",
        wtl_json_real(r->iso_top1_sd), "minutes_mean", wtl_json_real(r->minutes_mean),
        "peak_bytes", wtl_json_real(r->peak_bytes));
}

static json_t *rows_to_json(const wtl_comparison *c)
{
    json_t *array = json_array();
    for (int m = 0; m < c->options.method_count; m++) {
        array = append(array, row_to_json(c, &c->rows[m]));
    }
    return array;
}

static json_t *budgets_to_json(const wtl_comparison *c)
{
    json_t *array = json_array();
    for (int b = 0; b < c->options.budget_count; b++) {
        array = append(array, json_real(c->options.budgets[b]));
    }
    return array;
}

static json_t *method_name(const wtl_comparison *c, int method)
{
    return method < 0 ? json_null() : json_string(c->options.methods[method]);
}

/* How many times less energy: energy-aware against the best baseline, and both against dense. */
static json_t *ratios_to_json(const wtl_comparison *c)
{
    const wtl_compare_row *ours = c->energy_aware < 0 ? NULL : &c->rows[c->energy_aware];
    const wtl_compare_row *theirs = c->best_magnitude < 0 ? NULL : &c->rows[c->best_magnitude];
    double our_energy = ours ? ours->energy_mean : (double)NAN;
    double their_energy = theirs ? theirs->energy_mean : (double)NAN;
    double our_iso = ours ? ours->iso_energy_mean : (double)NAN;
    double their_iso = theirs ? theirs->iso_energy_mean : (double)NAN;
    return json_pack(
        "{s:o, s:o, s:{s:o, s:o, s:o}, s:{s:o, s:o, s:o}}", "best_magnitude",
        method_name(c, c->best_magnitude), "energy_aware", method_name(c, c->energy_aware),
        "chosen", "magnitude_over_energy_aware", wtl_json_real(their_energy / our_energy),
        "dense_over_energy_aware", wtl_json_real(1 / our_energy), "dense_over_magnitude",
        wtl_json_real(1 / their_energy), "interpolated", "magnitude_over_energy_aware",
        wtl_json_real(their_iso / our_iso), "dense_over_energy_aware",
        wtl_json_real(1 / our_iso), "dense_over_magnitude", wtl_json_real(1 / their_iso));
}

json_t *wtl_comparison_to_json(const wtl_comparison *c)
{
    const wtl_prune_options *p = &c->options.prune;
    return json_pack(
        "{s:o, s:o, s:o, s:s, s:o, s:i, s:i, s:o, s:i, s:f, s:f, s:o, s:I, s:I, s:I, s:I, s:o, "
        "s:o, s:o, s:o}",
        "net", wtl_json_string(c->net), "checkpoint", wtl_json_string(p->checkpoint), "data",
        wtl_json_string(p->data), "granularity", wtl_granularity_words[p->how.granularity],
        "hardware", wtl_json_string(p->hardware), "hardware_batch", p->pricing.batch, "bits",
        p->pricing.bits, "floor", wtl_json_real(c->floor), "seeds", c->options.seeds,
        "max_drop", c->options.max_drop, "equal_energy", c->options.equal_energy, "budgets",
        budgets_to_json(c), "train_images", (json_int_t)c->train_images, "val_images",
        (json_int_t)c->val_images, "test_images", (json_int_t)c->test_images, "search_images",
        (json_int_t)c->search_images, "dense", point_to_json(c, &c->dense), "points",
        points_to_json(c), "rows", rows_to_json(c), "ratios", ratios_to_json(c));
}

static json_t *layer_to_json(const wtl_comparison *c, const wtl_compare_net *net,
                             const wtl_layer_energy *l)
{
    const wtl_compare_point *p = net->point;
    bool dense = p->budget < 0;
    return json_pack(
        "{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "net", net->role,
        "method", wtl_compare_method(c, p), "seed",
        dense ? json_null() : json_integer((json_int_t)wtl_compare_seed(c, p->seed_index)),
        "budget", dense ? json_null() : json_real(c->options.budgets[p->budget]), "layer",
        wtl_json_string(l->name), "weights", wtl_json_real(l->weights), "kept",
        wtl_json_real(l->weights_not_zero), "density", wtl_json_real(l->weight_density),
        "energy", wtl_json_real(l->total), "macs", wtl_json_real(l->macs), "macs_not_skipped",
        wtl_json_real(l->macs_not_skipped), "ifmap_density", wtl_json_real(l->ifmap_density),
        "ofmap_density", wtl_json_real(l->ofmap_density));
}

static json_t *summary_json(const wtl_comparison *c, const wtl_compare_net *nets, int net_count)
{
    json_t *root = wtl_comparison_to_json(c), *layers = json_array();
    for (int n = 0; n < net_count; n++) {
        for (int i = 0; i < nets[n].report.layer_count; i++) {
            layers = append(layers, layer_to_json(c, &nets[n], &nets[n].report.layers[i]));
        }
    }
    if (root && json_object_set_new(root, "schema_version", json_integer(1)) == 0 &&
        json_object_set_new(root, "layers", layers) == 0) {
        return root;
    }
    json_decref(root);
    return NULL;
}

/* ---- files ---- */

static wtl_status no_memory(const char *path, wtl_error *err)
{
    return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", path);
}

static wtl_status write_json(const wtl_comparison *c, const wtl_compare_net *nets,
                             int net_count, const char *path, wtl_error *err)
{
    json_t *root = summary_json(c, nets, net_count);
    char *text = root ? json_dumps(root, JSON_INDENT(2) | JSON_REAL_PRECISION(10)) : NULL;
    wtl_status status =
        text ? wtl_file_write(path, text, strlen(text), err) : no_memory(path, err);
    free(text);
    json_decref(root);
    return status;
}

/* An empty field for what is not known. */
static void put_field(wtl_writer *writer, double value)
{
    if (isfinite(value)) {
        wtl_writer_printf(writer, ",%.10g", value);
    } else {
        wtl_writer_put(writer, ",", 1);
    }
}

static void put_layer(wtl_writer *writer, const wtl_comparison *c, const wtl_compare_net *net,
                      const wtl_layer_energy *l)
{
    const wtl_compare_point *p = net->point;
    wtl_writer_printf(writer, "%s,%s,", net->role, wtl_compare_method(c, p));
    if (p->budget < 0) {
        wtl_writer_printf(writer, ",,%s", l->name);
    } else {
        wtl_writer_printf(writer, "%llu,%.10g,%s", wtl_compare_seed(c, p->seed_index),
                          c->options.budgets[p->budget], l->name);
    }
    const double values[] = {
        l->weights, l->weights_not_zero, l->weight_density, l->total,
        l->macs,    l->macs_not_skipped, l->ifmap_density,  l->ofmap_density};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        put_field(writer, values[i]);
    }
    wtl_writer_put(writer, "\n", 1);
}

static wtl_status write_layers(const wtl_comparison *c, const wtl_compare_net *nets,
                               int net_count, const char *path, wtl_error *err)
{
    wtl_writer *writer;
    wtl_status status = wtl_writer_open(&writer, path, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_writer_printf(writer, "net,method,seed,budget,layer,weights,kept,density,energy,macs,"
                              "macs_not_skipped,ifmap_density,ofmap_density\n");
    for (int n = 0; n < net_count; n++) {
        for (int i = 0; i < nets[n].report.layer_count; i++) {
            put_layer(writer, c, &nets[n], &nets[n].report.layers[i]);
        }
    }
    return wtl_writer_commit(writer, err);
}

static void put_head(wtl_text *out, const wtl_comparison *c)
{
    const wtl_prune_options *p = &c->options.prune;
    wtl_text_printf(out, "# Pruning methods compared: %s\n\n", c->net);
    wtl_text_printf(out,
                    "%s, data %s; energy estimated on %s, batch %d, %d bits (1 = one 16-bit "
                    "MAC), per image. ",
                    p->checkpoint, p->data, p->hardware, p->pricing.batch, p->pricing.bits);
    wtl_text_printf(out,
                    "Images: %ld to fine-tune with (%ld of them to search with), %ld to choose "
                    "with (validation), %ld to report (test). ",
                    c->train_images, c->search_images, c->val_images, c->test_images);
    wtl_text_printf(out,
                    "%d seed%s from %llu; to each budget %d rounds of %g epochs, the last of "
                    "%g. With every weight gone that may go, %.1f %% of the energy is left.\n\n"
                    "Budgets:",
                    c->options.seeds, c->options.seeds == 1 ? "" : "s", wtl_compare_seed(c, 0),
                    p->rounds, p->epochs, p->final_epochs, 100 * c->floor);
    for (int b = 0; b < c->options.budget_count; b++) {
        wtl_text_printf(out, " %g", c->options.budgets[b]);
    }
    if (p->how.granularity != WTL_GRANULARITY_WEIGHT) {
        wtl_text_printf(out, ". Weights go in %s blocks",
                        wtl_granularity_words[p->how.granularity]);
    }
    wtl_text_printf(out, ". Mean ± standard deviation over seeds.\n\n");
}

static wtl_status write_markdown(const wtl_comparison *c, const wtl_compare_net *nets,
                                 int net_count, const char *path, wtl_error *err)
{
    wtl_text out = {0};
    char *tables = wtl_comparison_table(c);
    put_head(&out, c);
    wtl_text_put(&out, tables ? tables : "", tables ? strlen(tables) : 0);
    wtl_compare_put_layers(&out, c, nets, net_count);
    out.failed = out.failed || !tables;
    char *text = wtl_text_take(&out);
    wtl_status status =
        text ? wtl_file_write(path, text, strlen(text), err) : no_memory(path, err);
    wtl_free(text);
    wtl_free(tables);
    return status;
}

wtl_status wtl_compare_write(const wtl_comparison *c, const wtl_compare_net *nets,
                             int net_count, const char *out, wtl_error *err)
{
    static const struct {
        const char *name;
        wtl_status (*write)(const wtl_comparison *c, const wtl_compare_net *nets, int net_count,
                            const char *path, wtl_error *err);
    } files[] = {{"layers.csv", write_layers},
                 {"summary.json", write_json},
                 {"summary.md", write_markdown}};
    wtl_status status = WTL_OK;
    for (size_t i = 0; i < sizeof files / sizeof *files && status == WTL_OK; i++) {
        char *path = wtl_path_join(out, files[i].name);
        status = path ? files[i].write(c, nets, net_count, path, err) : no_memory(out, err);
        wtl_free(path);
    }
    return status;
}
