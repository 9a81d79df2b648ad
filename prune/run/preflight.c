/* preflight.c - what a pruning run could reach, before it does anything. */
#include "session.h"

#include "wattle/memory.h"

#include <stdio.h>

static wtl_status fill(wtl_preflight *out, wtl_session *s, wtl_error *err)
{
    wtl_energy_now energy;
    wtl_scores scores;
    wtl_status status = wtl_session_measure(s, false, &energy, err);
    if (status == WTL_OK) {
        status = wtl_session_judge(s, &scores, err);
    }
    out->layers = wtl_alloc((size_t)s->layer_count, sizeof *out->layers);
    if (status == WTL_OK && !out->layers) {
        status = wtl_fail(err, WTL_E_NOMEM, "out of memory for %d layers", s->layer_count);
    }
    if (status != WTL_OK) {
        return status;
    }
    snprintf(out->net, sizeof out->net, "%s", wtl_net_def(s->net)->name);
    snprintf(out->hardware, sizeof out->hardware, "%s", s->hardware.name);
    out->layer_count = s->layer_count;
    for (int i = 0; i < s->layer_count; i++) {
        wtl_priced_layer layer = wtl_pricing_layer(s->pricing, i);
        wtl_preflight_layer *l = &out->layers[i];
        snprintf(l->name, sizeof l->name, "%s", layer.name);
        l->weights = layer.weights;
        l->kept = s->layers[i].most;
        l->least = s->layers[i].least;
        l->macs = layer.macs;
        l->energy = wtl_pricing_cost(s->pricing, i, s->nonzeros[i]);
        l->floor = wtl_pricing_cost(s->pricing, i, (double)s->layers[i].least);
    }
    out->dense = energy.search;
    out->floor = wtl_method_floor(s->pricing, s->layers);
    out->train_images = (long)wtl_dataset_count(s->train);
    out->val_images = (long)wtl_dataset_count(s->val);
    out->search_images = s->search.count;
    out->top1 = wtl_percent(scores.top1, scores.images);
    out->top5 = wtl_percent(scores.top5, scores.images);
    out->loss = scores.loss / (double)scores.images;
    return WTL_OK;
}

wtl_status wtl_prune_preflight(wtl_preflight *out, const wtl_prune_options *options,
                               wtl_error *err)
{
    *out = (wtl_preflight){0};
    wtl_prune_options o = *options;
    wtl_session s = {0};
    wtl_status status = wtl_prune_resolve(&o, err);
    if (status == WTL_OK) {
        status = wtl_session_open(&s, &o, o.checkpoint, NULL, err);
    }
    if (status == WTL_OK) {
        status = fill(out, &s, err);
    }
    wtl_session_close(&s);
    if (status != WTL_OK) {
        wtl_preflight_clear(out);
        return status;
    }
    double floor = out->floor / out->dense;
    if (o.target_energy > 0 && o.target_energy < floor) {
        return wtl_prune_out_of_reach(o.target_energy, floor, out->hardware, err);
    }
    return WTL_OK;
}

void wtl_preflight_clear(wtl_preflight *preflight)
{
    wtl_free(preflight->layers);
    *preflight = (wtl_preflight){0};
}
