/* certificate.c - the net that came out beside the one that went in. */
#include "certificate.h"

#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* A layer before or after. */
typedef struct look {
    double kept, energy, macs; /* macs: not skipped */
    double ifmap, ofmap;       /* densities */
} look;

/* The layers of the pricing at its present zeros of maps, with `nonzeros` weights. */
static void look_at(look *layers, const wtl_session *s)
{
    for (int i = 0; i < s->layer_count; i++) {
        wtl_priced_layer layer = wtl_pricing_layer(s->pricing, i);
        layers[i] = (look){.kept = s->nonzeros[i],
                           .energy = wtl_pricing_cost(s->pricing, i, s->nonzeros[i]),
                           .macs = wtl_pricing_macs(s->pricing, i, s->nonzeros[i], true),
                           .ifmap = layer.ifmap_density,
                           .ofmap = layer.ofmap_density};
    }
}

static wtl_status look_at_dense(look *layers, wtl_session *s, wtl_error *err)
{
    wtl_status status = wtl_checkpoint_fill_net(s->dense, s->probe, err);
    if (status == WTL_OK) {
        status = wtl_pricing_measure(s->pricing, &s->search, wtl_session_stopped, s, err);
    }
    if (status == WTL_OK) {
        wtl_pricing_nonzeros(s->pricing, s->probe, s->nonzeros);
        look_at(layers, s);
    }
    return status;
}

static wtl_status write_layers(const wtl_session *s, const wtl_prune_folder *folder,
                               const look *before, const look *after, wtl_error *err)
{
    wtl_writer *writer;
    wtl_status status =
        wtl_writer_open(&writer, wtl_prune_folder_path(folder, WTL_FILE_ENERGY), err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_writer_printf(writer, "layer,weights,kept_before,kept_after,energy_before,energy_after,"
                              "macs,macs_before,macs_after,ifmap_density_before,"
                              "ifmap_density_after,ofmap_density_before,ofmap_density_after\n");
    for (int i = 0; i < s->layer_count; i++) {
        const look *b = &before[i], *a = &after[i];
        wtl_priced_layer layer = wtl_pricing_layer(s->pricing, i);
        wtl_writer_printf(writer,
                          "%s,%zu,%.0f,%.0f,%.3f,%.3f,%.0f,%.1f,%.1f,%.6f,%.6f,%.6f,%.6f\n",
                          layer.name, layer.weights, b->kept, a->kept, b->energy, a->energy,
                          layer.macs, b->macs, a->macs, b->ifmap, a->ifmap, b->ofmap, a->ofmap);
    }
    return wtl_writer_commit(writer, err);
}

static void fill_result(wtl_prune_result *out, const wtl_session *s, const wtl_prune_state *st,
                        const wtl_energy_now *energy, double seconds)
{
    const wtl_prune_options *o = &s->options;
    bool dense = st->present == 0;
    const wtl_prune_row *row = dense ? NULL : &st->rows[st->present - 1];
    *out = (wtl_prune_result){
        .met = st->met,
        .energy_asked = o->target_energy > 0 ? o->target_energy : (double)NAN,
        .energy = energy->search / st->dense_energy,
        .energy_held_out = energy->held_out / st->dense_held_out,
        .dense_energy = st->dense_energy,
        .pruned_energy = energy->search,
        .floor = st->floor,
        .drop_asked = o->max_drop >= 0 ? o->max_drop : (double)NAN,
        .drop = dense ? 0.0 : row->drop,
        .dense_top1 = st->dense_top1,
        .dense_top5 = st->dense_top5,
        .top1 = dense ? st->dense_top1 : row->val_top1,
        .top5 = dense ? st->dense_top5 : row->val_top5,
        .val_images = (long)wtl_dataset_count(s->val),
        .density = wtl_session_density(s),
        .rounds = st->round_count,
        .epochs = st->epochs,
        .seconds = seconds,
        .peak_bytes =
            s->hooks->peak_bytes ? s->hooks->peak_bytes(s->hooks->context) : (double)NAN,
    };
    snprintf(out->why, sizeof out->why, "%s", st->why);
}

typedef struct total {
    double weights, weights_before, weights_after;
    double macs, macs_before, macs_after;
} total;

static total add_up(const wtl_session *s, const look *before, const look *after)
{
    total t = {0};
    for (int i = 0; i < s->layer_count; i++) {
        wtl_priced_layer layer = wtl_pricing_layer(s->pricing, i);
        t.weights += (double)layer.weights;
        t.weights_before += before[i].kept;
        t.weights_after += after[i].kept;
        t.macs += layer.macs;
        t.macs_before += before[i].macs;
        t.macs_after += after[i].macs;
    }
    return t;
}

static json_t *certificate(const wtl_session *s, const wtl_prune_result *r, const total *t)
{
    const wtl_prune_options *o = &s->options;
    json_t *config = wtl_prune_options_to_json(o);
    json_t *document = json_pack(
        "{s:i, s:b, s:s, s:s, s:s, s:s, s:s, s:s, s:i, s:O, s:o, s:o, s:o, s:o, s:o, s:o}",
        "schema_version", 1, "met", (int)r->met, "why", r->why, "method", o->method,
        "granularity", wtl_granularity_words[o->how.granularity], "checkpoint", o->checkpoint,
        "data", o->data, "hardware", s->hardware.name, "hardware_batch", o->pricing.batch,
        "seed", json_object_get(config, "seed"), "energy_asked", wtl_json_real(r->energy_asked),
        "energy", wtl_json_real(r->energy), "energy_held_out",
        wtl_json_real(r->energy_held_out), "floor", wtl_json_real(r->floor), "dense_energy",
        wtl_json_real(r->dense_energy), "pruned_energy", wtl_json_real(r->pruned_energy));
    json_t *rest = json_pack(
        "{s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:I, s:i, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:i, "
        "s:o, s:o, s:o}",
        "metric", o->metric == WTL_METRIC_TOP5 ? "top5" : "top1", "drop_asked",
        wtl_json_real(r->drop_asked), "drop", wtl_json_real(r->drop), "dense_top1",
        wtl_json_real(r->dense_top1), "dense_top5", wtl_json_real(r->dense_top5), "top1",
        wtl_json_real(r->top1), "top5", wtl_json_real(r->top5), "val_images",
        (json_int_t)r->val_images, "search_images", s->search.count, "train_images",
        (json_int_t)wtl_dataset_count(s->train), "weights", wtl_json_real(t->weights),
        "weights_before", wtl_json_real(t->weights_before), "weights_kept",
        wtl_json_real(t->weights_after), "macs", wtl_json_real(t->macs), "macs_before",
        wtl_json_real(t->macs_before), "macs_after", wtl_json_real(t->macs_after), "rounds",
        r->rounds, "epochs", wtl_json_real(r->epochs), "seconds", wtl_json_real(r->seconds),
        "peak_bytes", wtl_json_real(r->peak_bytes));
    json_decref(config);
    if (document && (!rest || json_object_update(document, rest) != 0)) {
        json_decref(document);
        document = NULL;
    }
    json_decref(rest);
    return document;
}

wtl_status wtl_prune_certify(wtl_session *s, const wtl_prune_state *state,
                             const wtl_prune_folder *folder, double seconds,
                             wtl_prune_result *result, wtl_error *err)
{
    size_t count = (size_t)s->layer_count;
    look *before = wtl_alloc(count, sizeof *before), *after = wtl_alloc(count, sizeof *after);
    wtl_energy_now energy = {0};
    wtl_status status = before && after
                            ? look_at_dense(before, s, err)
                            : wtl_fail(err, WTL_E_NOMEM, "out of memory for %zu layers", count);
    if (status == WTL_OK) {
        status = wtl_session_measure(s, true, &energy, err);
    }
    if (status == WTL_OK) {
        look_at(after, s);
        fill_result(result, s, state, &energy, seconds);
        status = write_layers(s, folder, before, after, err);
    }
    if (status == WTL_OK) {
        total t = add_up(s, before, after);
        status = wtl_json_write(wtl_prune_folder_path(folder, WTL_FILE_CERTIFICATE),
                                certificate(s, result, &t), err);
    }
    wtl_free(before);
    wtl_free(after);
    if (status == WTL_OK && !result->met) {
        status = wtl_fail(err, WTL_E_GOAL, "%s", result->why);
    }
    return status;
}
