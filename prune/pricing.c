/* pricing.c - a net's layers priced by the energy oracle, at zeros of maps as measured last. */
#include "wattle/pricing.h"

#include "wattle/from_net.h"
#include "wattle/memory.h"

#include <string.h>

struct wtl_pricing {
    wtl_net *net;
    wtl_energy_oracle *oracle;
    wtl_workload work;         /* weights dense; zeros of maps as measured last */
    const wtl_param **weights; /* [work.layer_count], of `net` */
};

void wtl_pricing_free(wtl_pricing *pricing)
{
    if (pricing) {
        wtl_energy_oracle_free(pricing->oracle);
        wtl_workload_clear(&pricing->work);
        wtl_free(pricing->weights);
        wtl_free(pricing);
    }
}

/* ---- create ---- */

static wtl_status check_plan(const wtl_net *net, wtl_error *err)
{
    const wtl_net_options *options = wtl_net_options_of(net);
    if (!options->keep_outputs || options->training) {
        return wtl_fail(err, WTL_E_ARG,
                        "net %s: is priced as an inference net that keeps its outputs",
                        wtl_net_def(net)->name);
    }
    return WTL_OK;
}

static const wtl_param *weight_of(wtl_net *net, int layer)
{
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        if (param->layer == layer && param->spec.role == WTL_PARAM_WEIGHT) {
            return param;
        }
    }
    return NULL;
}

static wtl_status find_weights(wtl_pricing *pricing, wtl_error *err)
{
    const wtl_workload *work = &pricing->work;
    pricing->weights = wtl_alloc((size_t)work->layer_count, sizeof(const wtl_param *));
    if (!pricing->weights) {
        return wtl_fail(err, WTL_E_NOMEM, "net %s: out of memory for its prices", work->name);
    }
    for (int i = 0; i < work->layer_count; i++) {
        const char *name = work->layers[i].name;
        int layer = wtl_netdef_find(wtl_net_def(pricing->net), name);
        pricing->weights[i] = weight_of(pricing->net, layer);
        if (!pricing->weights[i]) {
            return wtl_fail(err, WTL_E_SHAPE, "%s: has no weights to price", name);
        }
    }
    return WTL_OK;
}

wtl_status wtl_pricing_create(wtl_pricing **out, wtl_net *net, const wtl_hardware *hw,
                              const wtl_pricing_options *options, wtl_error *err)
{
    *out = NULL;
    wtl_status status = check_plan(net, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_pricing *pricing = wtl_alloc(1, sizeof *pricing);
    if (!pricing) {
        return wtl_fail(err, WTL_E_NOMEM, "net %s: out of memory for its prices",
                        wtl_net_def(net)->name);
    }
    pricing->net = net;
    const wtl_from_net_options how = {.batch = options && options->batch ? options->batch : 44,
                                      .bits = options ? options->bits : 0};
    status = wtl_workload_from_netdef(&pricing->work, wtl_net_def(net), &how, err);
    if (status == WTL_OK) {
        status = find_weights(pricing, err);
    }
    if (status == WTL_OK) {
        status = wtl_energy_oracle_create(&pricing->oracle, hw, &pricing->work, err);
    }
    if (status != WTL_OK) {
        wtl_pricing_free(pricing);
        return status;
    }
    *out = pricing;
    return WTL_OK;
}

/* ---- zeros of maps ---- */

static wtl_status run_batch(wtl_net *net, wtl_zero_counter *counter, const wtl_sample *sample,
                            int first, int count, wtl_error *err)
{
    size_t image = wtl_shape_count(sample->shape);
    memcpy(wtl_net_input(net), sample->images + (size_t)first * image,
           (size_t)count * image * sizeof *sample->images);
    wtl_net_forward(net, count, WTL_RUN_INFERENCE, 0);
    if (!wtl_net_output_finite(net, count)) {
        return wtl_fail(err, WTL_E_NAN,
                        "net %s: an output for images %d to %d of the sample is not finite",
                        wtl_net_def(net)->name, first, first + count - 1);
    }
    wtl_zero_counter_add(counter, count);
    return WTL_OK;
}

static wtl_status run_sample(wtl_net *net, wtl_zero_counter *counter, const wtl_sample *sample,
                             int (*stop)(void *context), void *context, wtl_error *err)
{
    int batch = wtl_net_options_of(net)->batch;
    for (int first = 0; first < sample->count; first += batch) {
        if (stop && stop(context)) {
            return wtl_fail(err, WTL_E_STOPPED, "stopped after %d of %d images", first,
                            sample->count);
        }
        int left = sample->count - first;
        wtl_status status =
            run_batch(net, counter, sample, first, left < batch ? left : batch, err);
        if (status != WTL_OK) {
            return status;
        }
    }
    return WTL_OK;
}

static wtl_status check_sample(const wtl_net *net, const wtl_sample *sample, wtl_error *err)
{
    wtl_shape want = wtl_net_def(net)->input, have = sample->shape;
    if (have.c != want.c || have.h != want.h || have.w != want.w) {
        return wtl_fail(err, WTL_E_SHAPE, "sample: images are %dx%dx%d, net %s takes %dx%dx%d",
                        have.c, have.h, have.w, wtl_net_def(net)->name, want.c, want.h, want.w);
    }
    return WTL_OK;
}

wtl_status wtl_pricing_measure(wtl_pricing *pricing, const wtl_sample *sample,
                               int (*stop)(void *context), void *context, wtl_error *err)
{
    wtl_zero_counter *counter = NULL;
    wtl_status status = check_sample(pricing->net, sample, err);
    if (status == WTL_OK) {
        status = wtl_zero_counter_create(&counter, pricing->net, err);
    }
    if (status == WTL_OK) {
        status = run_sample(pricing->net, counter, sample, stop, context, err);
    }
    if (status == WTL_OK) {
        status = wtl_zero_counter_apply(counter, &pricing->work, err);
    }
    wtl_zero_counter_free(counter);
    return status;
}

/* ---- prices ---- */

int wtl_pricing_count(const wtl_pricing *pricing)
{
    return pricing->work.layer_count;
}

static double macs_per_image(const wtl_work_layer *layer)
{
    return wtl_work_macs(layer) / layer->ifmap.count;
}

wtl_priced_layer wtl_pricing_layer(const wtl_pricing *pricing, int index)
{
    const wtl_work_layer *layer = &pricing->work.layers[index];
    const wtl_param *weight = pricing->weights[index];
    return (wtl_priced_layer){.name = layer->name,
                              .weight = weight->name,
                              .layer = weight->layer,
                              .weights = weight->count,
                              .macs = macs_per_image(layer),
                              .ifmap_density = wtl_work_density(&layer->ifmap),
                              .ofmap_density = wtl_work_density(&layer->ofmap)};
}

double wtl_pricing_cost(const wtl_pricing *pricing, int index, double nonzeros)
{
    const wtl_work_layer *layer = &pricing->work.layers[index];
    const wtl_energy_query query = {.weight_nonzeros = nonzeros,
                                    .ifmap_zeros = layer->ifmap.zeros,
                                    .ofmap_zeros = layer->ofmap.zeros};
    return wtl_energy_oracle_ask(pricing->oracle, index, &query);
}

/* Of the padded ifmap, the share that is not padding. */
static double padded_share(const wtl_work_layer *layer)
{
    double h = (double)layer->ifmap.h + layer->pad[0] + layer->pad[1];
    double w = (double)layer->ifmap.w + layer->pad[2] + layer->pad[3];
    return layer->ifmap.h / h * (layer->ifmap.w / w);
}

double wtl_pricing_macs(const wtl_pricing *pricing, int index, double nonzeros,
                        bool activations)
{
    const wtl_work_layer *layer = &pricing->work.layers[index];
    double macs = macs_per_image(layer) * (nonzeros / wtl_work_values(&layer->filter));
    return activations ? macs * wtl_work_density(&layer->ifmap) * padded_share(layer) : macs;
}

void wtl_pricing_nonzeros(const wtl_pricing *pricing, wtl_net *net, double *nonzeros)
{
    for (int i = 0; i < pricing->work.layer_count; i++) {
        const wtl_param *param = weight_of(net, pricing->weights[i]->layer);
        size_t count = 0;
        for (size_t k = 0; k < param->count; k++) {
            count += param->value[k] != 0.0f;
        }
        nonzeros[i] = (double)count;
    }
}

double wtl_pricing_total(const wtl_pricing *pricing, const double *nonzeros)
{
    double total = 0.0;
    for (int i = 0; i < pricing->work.layer_count; i++) {
        total += wtl_pricing_cost(pricing, i, nonzeros[i]);
    }
    return total;
}

wtl_status wtl_pricing_workload(const wtl_pricing *pricing, const double *nonzeros,
                                wtl_workload *out, wtl_error *err)
{
    const wtl_workload *work = &pricing->work;
    size_t count = (size_t)work->layer_count;
    *out = (wtl_workload){0};
    wtl_work_layer *layers = wtl_alloc(count, sizeof *layers);
    if (!layers) {
        return wtl_fail(err, WTL_E_NOMEM, "net %s: out of memory for its workload", work->name);
    }
    memcpy(layers, work->layers, count * sizeof *layers);
    for (size_t i = 0; i < count; i++) {
        layers[i].filter.zeros = wtl_work_values(&layers[i].filter) - nonzeros[i];
    }
    *out = *work;
    out->layers = layers;
    out->weight_zeros_measured = true;
    return WTL_OK;
}
