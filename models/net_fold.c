/* net_fold.c - batch norm folded into the layer before it, for inference.
 *
 *   gamma * (w*x + b - mean) / sqrt(var + eps) + beta
 *     = (s*w) * x + (s*(b - mean) + beta),   s = gamma / sqrt(var + eps)
 */
#include "net_private.h"

#include "wattle/memory.h"

#include <math.h>
#include <string.h>

static bool takes_fold(wtl_layer_kind kind)
{
    return kind == WTL_LAYER_CONV || kind == WTL_LAYER_DEPTHWISE || kind == WTL_LAYER_DENSE;
}

static int reader_count(const wtl_netdef *def, int layer)
{
    int readers = 0;
    for (int i = 0; i < def->layer_count; i++) {
        for (int j = 0; j < def->layers[i].input_count; j++) {
            readers += def->layers[i].inputs[j] == layer;
        }
    }
    return readers;
}

/* Take `layer` out; what read it reads its input instead. */
static void remove_layer(wtl_netdef *def, int layer)
{
    int input = def->layers[layer].input_count > 0 ? def->layers[layer].inputs[0] : -1;
    for (int i = layer + 1; i < def->layer_count; i++) {
        for (int j = 0; j < def->layers[i].input_count; j++) {
            int *at = &def->layers[i].inputs[j];
            *at = *at == layer ? input : *at > layer ? *at - 1 : *at;
        }
    }
    wtl_free(def->layers[layer].name);
    wtl_free(def->layers[layer].inputs);
    memmove(&def->layers[layer], &def->layers[layer + 1],
            (size_t)(def->layer_count - layer - 1) * sizeof *def->layers);
    def->layer_count--;
}

static void set_bias(wtl_layer_def *layer)
{
    if (layer->kind == WTL_LAYER_DENSE) {
        layer->as.dense.bias = true;
    } else {
        layer->as.conv.bias = true;
    }
}

static wtl_netdef *folded_definition(const wtl_netdef *def, const bool *keep)
{
    wtl_netdef *copy = wtl_netdef_copy(def);
    if (!copy) {
        return NULL;
    }
    for (int i = copy->layer_count - 1; i > 0; i--) {
        if (!keep[i]) {
            remove_layer(copy, i); /* nothing that is kept reads it */
        }
    }
    for (int i = copy->layer_count - 1; i > 0; i--) {
        wtl_layer_def *layer = &copy->layers[i];
        if (layer->kind == WTL_LAYER_BATCHNORM &&
            takes_fold(copy->layers[layer->inputs[0]].kind) &&
            reader_count(copy, layer->inputs[0]) == 1) {
            set_bias(&copy->layers[layer->inputs[0]]);
            remove_layer(copy, i);
        }
    }
    return copy;
}

static wtl_param *param_of(wtl_net *net, int layer, wtl_param_role role)
{
    for (int p = 0; p < net->param_count; p++) {
        if (net->params[p].layer == layer && net->params[p].spec.role == role) {
            return &net->params[p];
        }
    }
    return NULL;
}

/* The batch norm of `net` that disappeared behind `layer`, or -1; keep[] as in
 * wtl_netdef_inference_layers(). */
static int folded_norm(const wtl_net *net, const bool *keep, const wtl_netdef *folded,
                       int layer)
{
    for (int i = 0; i < net->def->layer_count; i++) {
        const wtl_layer_def *norm = &net->def->layers[i];
        if (keep[i] && norm->kind == WTL_LAYER_BATCHNORM && norm->inputs[0] == layer &&
            wtl_netdef_find(folded, norm->name) < 0) {
            return i;
        }
    }
    return -1;
}

/* One channel's factor and offset of a batch norm. */
static void channel_affine(wtl_net *net, int norm, size_t k, double *scale, double *offset)
{
    const wtl_param *gamma = param_of(net, norm, WTL_PARAM_SCALE);
    const wtl_param *beta = param_of(net, norm, WTL_PARAM_SHIFT);
    double mean = (double)param_of(net, norm, WTL_PARAM_RUNNING_MEAN)->value[k];
    double var = (double)param_of(net, norm, WTL_PARAM_RUNNING_VAR)->value[k];
    double eps = (double)net->def->layers[norm].as.batchnorm.eps;
    *scale = (gamma ? (double)gamma->value[k] : 1.0) / sqrt(var + eps);
    *offset = (beta ? (double)beta->value[k] : 0.0) - *scale * mean;
}

static void fold_layer(wtl_net *net, int layer, int norm, wtl_net *to, int to_layer)
{
    const wtl_param *w = param_of(net, layer, WTL_PARAM_WEIGHT);
    const wtl_param *b = param_of(net, layer, WTL_PARAM_BIAS);
    wtl_param *to_w = param_of(to, to_layer, WTL_PARAM_WEIGHT);
    wtl_param *to_b = param_of(to, to_layer, WTL_PARAM_BIAS);
    size_t filters = to_b->count, taps = w->count / filters;
    for (size_t k = 0; k < filters; k++) {
        double scale, offset;
        channel_affine(net, norm, k, &scale, &offset);
        for (size_t i = k * taps; i < (k + 1) * taps; i++) {
            to_w->value[i] = (float)(scale * (double)w->value[i]);
        }
        to_b->value[k] = (float)(scale * (b ? (double)b->value[k] : 0.0) + offset);
    }
}

static wtl_status copy_mask(const wtl_param *from, wtl_param *to)
{
    if (from && from->mask) {
        to->mask = wtl_alloc(to->count, sizeof *to->mask);
        if (!to->mask) {
            return WTL_E_NOMEM;
        }
        memcpy(to->mask, from->mask, to->count * sizeof *to->mask);
    }
    return WTL_OK;
}

wtl_status wtl_net_fold(wtl_net **out, wtl_net *net, const wtl_net_options *options,
                        wtl_error *err)
{
    *out = NULL;
    if (options->training) {
        return wtl_fail(err, WTL_E_ARG, "%s: a folded net is for inference only",
                        net->def->name);
    }
    bool *keep = wtl_alloc((size_t)net->def->layer_count, sizeof *keep);
    wtl_netdef *def = NULL;
    wtl_net *folded = NULL;
    if (keep) {
        (void)wtl_netdef_inference_layers(net->def, keep);
        def = folded_definition(net->def, keep);
    }
    wtl_status status = def ? wtl_net_create(&folded, def, options, err)
                            : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", net->def->name);
    for (int p = 0; status == WTL_OK && p < folded->param_count; p++) {
        wtl_param *param = &folded->params[p];
        int layer = wtl_netdef_find(net->def, def->layers[param->layer].name);
        int norm = folded_norm(net, keep, def, layer);
        const wtl_param *from = param_of(net, layer, param->spec.role);
        if (norm < 0) {
            memcpy(param->value, from->value, param->count * sizeof *param->value);
        } else if (param->spec.role == WTL_PARAM_WEIGHT) {
            fold_layer(net, layer, norm, folded, param->layer);
        }
        status = copy_mask(from, param);
        if (status != WTL_OK) {
            (void)wtl_fail(err, status, "%s: out of memory", net->def->name);
        }
    }
    wtl_free(keep);
    wtl_netdef_free(def);
    if (status != WTL_OK) {
        wtl_net_free(folded);
        return status;
    }
    *out = folded;
    return WTL_OK;
}
