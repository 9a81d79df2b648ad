/* speed.c - which layers' zeros pay on a processor. */
#include "wattle/speed.h"

#include "wattle/granularity.h"
#include "wattle/json.h"
#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <jansson.h>

/* Share of weights, and of 4x1 blocks, that are not all 0. */
static wtl_kernel_density density_of(const wtl_net *net, const wtl_param *param)
{
    wtl_blocks blocks = wtl_blocks_of(WTL_GRANULARITY_4X1, net, param);
    size_t weights = 0, quads = 0;
    for (size_t i = 0; i < param->count; i++) {
        weights += param->value[i] != 0.0f;
    }
    for (int b = 0; b < wtl_blocks_bands(&blocks); b++) {
        wtl_band band = wtl_blocks_band(&blocks, b);
        for (size_t j = 0; j < blocks.width; j++) {
            const float *w = param->value + wtl_block_at(&blocks, band, j);
            bool any = false;
            for (int f = 0; f < band.count; f++, w += blocks.width) {
                any |= *w != 0.0f;
            }
            quads += any;
        }
    }
    return (wtl_kernel_density){(double)weights / (double)param->count,
                                (double)quads / (double)wtl_blocks_count(&blocks)};
}

/* What the predictions ask about a layer. */
typedef struct subject {
    wtl_conv_options options;
    wtl_shape in, out;
    double macs; /* per image */
} subject;

static subject subject_of(const wtl_netdef *def, int index, const wtl_shape *shapes)
{
    const wtl_layer_def *layer = &def->layers[index];
    subject s = {.in = shapes[layer->inputs[0]], .out = shapes[index]};
    s.macs = (double)wtl_layer_macs(layer, s.in, s.out);
    if (layer->kind == WTL_LAYER_DENSE) {
        s.in = (wtl_shape){(int)wtl_shape_count(s.in), 1, 1};
        s.options = (wtl_conv_options){.out = layer->as.dense.out,
                                       .kernel = {1, 1},
                                       .stride = {1, 1},
                                       .dilation = {1, 1},
                                       .groups = 1};
    } else {
        s.options = layer->as.conv;
    }
    return s;
}

static wtl_kernel_choice choose(const wtl_kernel_costs *costs, const subject *s,
                                wtl_kernel_density density, int batch)
{
    return wtl_kernel_choose(costs, &s->options, s->in, s->out, density, batch);
}

/* A layer that can skip. */
static void predict(wtl_speed_layer *layer, const wtl_kernel_costs *costs, const subject *s,
                    int batch)
{
    double kept = layer->density.weights;
    wtl_kernel_choice now = choose(costs, s, layer->density, batch);
    double threads = now.streamed ? 1.0 : costs->threads;
    layer->kernel = now.kernel;
    layer->dense_seconds = now.seconds[WTL_KERNEL_DENSE] / threads;
    layer->seconds = now.seconds[now.kernel] / threads;
    layer->speed_up = now.speed_up;
    layer->in_blocks = choose(costs, s, (wtl_kernel_density){kept, kept}, batch).speed_up;
    for (int k = WTL_KERNEL_DENSE + 1; k < WTL_KERNEL_COUNT; k++) {
        layer->pays_below[k] =
            wtl_kernel_break_even(costs, &s->options, s->in, s->out, (wtl_kernel)k, batch);
    }
}

static wtl_status add_layer(wtl_speed *out, const wtl_net *probe, const wtl_net *net,
                            const wtl_param *param, const wtl_shape *shapes, wtl_error *err)
{
    const wtl_netdef *def = wtl_net_def(net);
    subject s = subject_of(def, param->layer, shapes);
    double always = 2e-9 * s.macs * out->batch / out->costs.dense_gflops / out->costs.threads;
    wtl_speed_layer *layer = &out->layers[out->count];
    *layer = (wtl_speed_layer){.name = wtl_strdup(def->layers[param->layer].name),
                               .can_skip = wtl_net_can_skip(probe, param->layer),
                               .density = density_of(net, param),
                               .dense_seconds = always,
                               .seconds = always,
                               .speed_up = 1,
                               .in_blocks = 1};
    if (!layer->name) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d layers", def->layer_count);
    }
    if (layer->can_skip) {
        predict(layer, &out->costs, &s, out->batch);
    }
    out->faster += layer->speed_up > 1.0;
    out->dense_seconds += layer->dense_seconds;
    out->seconds += layer->seconds;
    out->count++;
    return WTL_OK;
}

/* `probe`: the net as it is planned for inference. */
static wtl_status predict_all(wtl_speed *out, const wtl_net *probe, wtl_net *net,
                              wtl_error *err)
{
    const wtl_netdef *def = wtl_net_def(net);
    size_t count = (size_t)def->layer_count;
    wtl_shape *shapes = wtl_alloc(count, sizeof *shapes);
    bool *keep = wtl_alloc(count, sizeof *keep);
    out->layers = wtl_alloc(count, sizeof *out->layers);
    wtl_status status = shapes && keep && out->layers
                            ? wtl_netdef_shapes(def, shapes, err)
                            : wtl_fail(err, WTL_E_NOMEM, "out of memory for %zu layers", count);
    if (status == WTL_OK) {
        (void)wtl_netdef_inference_layers(def, keep);
    }
    for (int p = 0; p < wtl_net_param_count(net) && status == WTL_OK; p++) {
        const wtl_param *param = wtl_net_param(net, p);
        if (wtl_mask_allowed(param) && keep[param->layer]) {
            status = add_layer(out, probe, net, param, shapes, err);
        }
    }
    wtl_free(shapes);
    wtl_free(keep);
    return status;
}

wtl_status wtl_speed_predict(wtl_speed *out, wtl_net *net, const wtl_kernel_costs *costs,
                             int batch, wtl_error *err)
{
    wtl_net *probe = NULL;
    const wtl_net_options options = {.batch = batch, .threads = 1, .isa = costs->isa};
    *out = (wtl_speed){.costs = *costs, .batch = batch, .speed_up = 1};
    wtl_status status = wtl_net_create(&probe, wtl_net_def(net), &options, err);
    if (status == WTL_OK) {
        status = predict_all(out, probe, net, err);
    }
    wtl_net_free(probe);
    if (status != WTL_OK) {
        wtl_speed_clear(out);
    } else if (out->seconds > 0.0) {
        out->speed_up = out->dense_seconds / out->seconds;
    }
    return status;
}

void wtl_speed_clear(wtl_speed *speed)
{
    for (int i = 0; i < speed->count; i++) {
        wtl_free(speed->layers[i].name);
    }
    wtl_free(speed->layers);
    *speed = (wtl_speed){0};
}

/* ---- JSON ---- */

static const char *const KERNELS[WTL_KERNEL_COUNT] = {"dense", "sparse", "sparse 4x1"};
static const char *const ISAS[WTL_ISA_COUNT] = {"best", "plain", "avx2", "avx512"};

static json_t *layer_json(const wtl_speed_layer *l)
{
    return json_pack(
        "{s:o, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "layer", wtl_json_string(l->name),
        "kernel", KERNELS[l->kernel], "density", wtl_json_real(l->density.weights),
        "density_4x1", wtl_json_real(l->density.quads), "dense_seconds",
        wtl_json_real(l->dense_seconds), "seconds", wtl_json_real(l->seconds), "speed_up",
        wtl_json_real(l->speed_up), "speed_up_in_blocks", wtl_json_real(l->in_blocks),
        "pays_below", wtl_json_real(l->pays_below[WTL_KERNEL_ROWS]), "pays_below_4x1",
        wtl_json_real(l->pays_below[WTL_KERNEL_QUADS]));
}

json_t *wtl_speed_to_json(const wtl_speed *speed)
{
    json_t *layers = json_array();
    for (int i = 0; layers && i < speed->count; i++) {
        if (json_array_append_new(layers, layer_json(&speed->layers[i])) != 0) {
            json_decref(layers);
            layers = NULL;
        }
    }
    const wtl_kernel_costs *costs = &speed->costs;
    return json_pack(
        "{s:b, s:i, s:o, s:s, s:i, s:o, s:o, s:o, s:i, s:o}", "predicted", 1, "batch",
        speed->batch, "processor",
        costs->processor[0] ? wtl_json_string(costs->processor) : json_null(), "isa",
        ISAS[costs->isa], "threads", costs->threads, "speed_up", wtl_json_real(speed->speed_up),
        "dense_seconds", wtl_json_real(speed->dense_seconds), "seconds",
        wtl_json_real(speed->seconds), "layers_faster", speed->faster, "layers", layers);
}
