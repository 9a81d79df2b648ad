/* net.c - making and freeing nets, their parameters and heads; planning is in net_graph.c and
 * net_memory.c, running in net_run.c. */
#include "net_private.h"

#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <string.h>

/* ---- parameters ---- */

static bool is_trained(wtl_param_role role)
{
    return role < WTL_PARAM_RUNNING_MEAN;
}

static wtl_status param_floats(const wtl_net *net, const wtl_param_spec *spec, size_t *count,
                               wtl_error *err)
{
    *count = 1;
    for (int d = 0; d < spec->rank; d++) {
        if (!wtl_mul(*count, (size_t)spec->dims[d], count) || *count > SIZE_MAX / 64) {
            return wtl_fail(err, WTL_E_RANGE, "%s: a %s has too many values", net->def->name,
                            spec->suffix);
        }
    }
    return WTL_OK;
}

static size_t padded(size_t count)
{
    return (count + 15) / 16 * 16;
}

/* Fill params[] for the layers that are part of the net; keys count over the whole definition,
 * so that a parameter starts with the same values with and without auxiliary heads. */
static wtl_status list_params(wtl_net *net, wtl_error *err)
{
    size_t most = (size_t)net->node_count * WTL_MAX_LAYER_PARAMS;
    net->params = wtl_alloc(most, sizeof *net->params);
    net->param_keys = wtl_alloc(most, sizeof *net->param_keys);
    if (!net->params || !net->param_keys) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", net->def->name);
    }
    uint32_t key = 0;
    for (int i = 1; i < net->def->layer_count; i++) {
        const wtl_layer_def *layer = &net->def->layers[i];
        const wtl_layer_ops *ops = wtl_layer_ops_of(layer->kind);
        wtl_param_spec specs[WTL_MAX_LAYER_PARAMS];
        int node = net->places[i].node;
        int count = ops->params ? ops->params(layer, &net->shapes[layer->inputs[0]], specs) : 0;
        if (node >= 0) {
            net->nodes[node].first_param = net->param_count;
            net->nodes[node].param_count = count;
        }
        for (int p = 0; p < count; p++, key++) {
            if (node < 0) {
                continue;
            }
            wtl_param *param = &net->params[net->param_count];
            param->layer = i;
            param->spec = specs[p];
            param->name = wtl_format("%s.%s", layer->name, specs[p].suffix);
            net->param_keys[net->param_count++] = key;
            if (!param->name) {
                return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", net->def->name);
            }
            wtl_status status = param_floats(net, &specs[p], &param->count, err);
            if (status != WTL_OK) {
                return status;
            }
        }
    }
    return WTL_OK;
}

static wtl_status make_params(wtl_net *net, wtl_error *err)
{
    wtl_status status = list_params(net, err);
    if (status != WTL_OK) {
        return status;
    }
    size_t values = 0, gradients = 0;
    for (int p = 0; p < net->param_count; p++) {
        values += padded(net->params[p].count);
        gradients += is_trained(net->params[p].spec.role) ? padded(net->params[p].count) : 0;
    }
    net->value_bytes = values * sizeof(float);
    net->gradient_bytes = net->options.training ? gradients * sizeof(float) : 0;
    net->values = wtl_alloc_pages(net->value_bytes);
    net->gradients = net->values ? wtl_alloc_pages(net->gradient_bytes) : NULL;
    if (!net->values || !net->gradients) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory: the parameters take %zu MiB",
                        net->def->name, (net->value_bytes + net->gradient_bytes) >> 20);
    }
    float *value = net->values, *gradient = net->gradients;
    for (int p = 0; p < net->param_count; p++) {
        wtl_param *param = &net->params[p];
        param->value = value;
        value += padded(param->count);
        if (net->options.training && is_trained(param->spec.role)) {
            param->gradient = gradient;
            gradient += padded(param->count);
        }
    }
    return WTL_OK;
}

int wtl_net_param_count(const wtl_net *net)
{
    return net->param_count;
}

wtl_param *wtl_net_param(wtl_net *net, int index)
{
    return &net->params[index];
}

wtl_param *wtl_net_find_param(wtl_net *net, const char *name)
{
    for (int p = 0; p < net->param_count; p++) {
        if (strcmp(net->params[p].name, name) == 0) {
            return &net->params[p];
        }
    }
    return NULL;
}

wtl_status wtl_net_copy_params(wtl_net *to, wtl_net *from, wtl_error *err)
{
    for (int p = 0; p < to->param_count; p++) {
        wtl_param *target = &to->params[p];
        const wtl_param *source = wtl_net_find_param(from, target->name);
        if (!source) {
            return wtl_fail(err, WTL_E_MISSING, "%s: the other net has no such parameter",
                            target->name);
        }
        if (source->count != target->count) {
            return wtl_fail(err, WTL_E_SHAPE, "%s: %zu values here, %zu in the other net",
                            target->name, target->count, source->count);
        }
        memcpy(target->value, source->value, target->count * sizeof(float));
    }
    return WTL_OK;
}

/* ---- heads ---- */

static wtl_status make_heads(wtl_net *net, wtl_error *err)
{
    net->heads = wtl_alloc((size_t)net->node_count, sizeof *net->heads);
    if (!net->heads) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", net->def->name);
    }
    for (int e = 0; e < net->node_count; e++) {
        const wtl_node *node = &net->nodes[e];
        const wtl_layer_def *layer = &net->def->layers[node->layer];
        if (layer->kind == WTL_LAYER_SOFTMAX) {
            net->heads[net->head_count++] =
                (wtl_head){.name = layer->name,
                           .aux = layer->as.softmax.aux,
                           .weight = layer->as.softmax.weight,
                           .classes = (int)wtl_shape_count(net->shapes[node->layer]),
                           .logits = node->x[0],
                           .probability = node->y,
                           .gradient = net->options.training ? node->dy : NULL};
        }
    }
    return WTL_OK;
}

int wtl_net_head_count(const wtl_net *net)
{
    return net->head_count;
}

const wtl_head *wtl_net_head(const wtl_net *net, int index)
{
    return &net->heads[index];
}

const wtl_head *wtl_net_main_head(const wtl_net *net)
{
    const char *name = net->def->layers[net->main_layer].name;
    for (int h = 0; h < net->head_count; h++) {
        if (strcmp(net->heads[h].name, name) == 0) {
            return &net->heads[h];
        }
    }
    return NULL;
}

/* ---- making and freeing ---- */

static wtl_status check_options(const wtl_netdef *def, const wtl_net_options *options,
                                wtl_error *err)
{
    if (options->batch < 1) {
        return wtl_fail(err, WTL_E_ARG, "a batch of %d: at least 1 is needed", options->batch);
    }
    if (options->threads < 0 || (unsigned)options->engine >= WTL_ENGINE_COUNT) {
        return wtl_fail(err, WTL_E_ARG, "%d threads and engine %d: not possible",
                        options->threads, (int)options->engine);
    }
    bool has_head = false;
    for (int i = 0; i < def->layer_count; i++) {
        has_head |= def->layers[i].kind == WTL_LAYER_SOFTMAX;
    }
    if (options->training && !has_head) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s: cannot be trained without a softmax layer at its end", def->name);
    }
    return WTL_OK;
}

static wtl_status build(wtl_net *net, const wtl_netdef *def, wtl_error *err)
{
    net->def = wtl_netdef_copy(def);
    net->shapes = wtl_alloc((size_t)def->layer_count, sizeof *net->shapes);
    if (!net->def || !net->shapes) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", def->name);
    }
    wtl_status status = wtl_netdef_shapes(net->def, net->shapes, err);
    if (status == WTL_OK) {
        status = wtl_net_plan_graph(net, err);
    }
    if (status == WTL_OK) {
        wtl_net_plan_layout(net);
        status = make_params(net, err);
    }
    if (status == WTL_OK) {
        status = wtl_net_plan_memory(net, err);
    }
    return status == WTL_OK ? make_heads(net, err) : status;
}

wtl_status wtl_net_create(wtl_net **out, const wtl_netdef *def, const wtl_net_options *options,
                          wtl_error *err)
{
    *out = NULL;
    wtl_status status = check_options(def, options, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_net *net = wtl_alloc(1, sizeof *net);
    if (!net) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", def->name);
    }
    net->options = *options;
    net->options.threads = options->threads ? options->threads : 1;
    net->stat_momentum = -1.0f;
    wtl_blas_prepare();
    wtl_threads_prepare(net->options.threads);
    status = build(net, def, err);
    if (status != WTL_OK) {
        wtl_net_free(net);
        return status;
    }
    *out = net;
    return WTL_OK;
}

static void free_node(wtl_node *node)
{
    wtl_free(node->in);
    wtl_free(node->home);
    wtl_free(node->spare);
    wtl_free((void *)node->x);
    wtl_free((void *)node->dx);
    wtl_free(node->copies);
    wtl_free(node->copy_block);
    wtl_free(node->adds);
    wtl_free(node->x_image);
    wtl_free(node->dx_image);
    wtl_free(node->state);
}

void wtl_net_free(wtl_net *net)
{
    if (!net) {
        return;
    }
    for (int e = 0; net->nodes && e < net->node_count; e++) {
        free_node(&net->nodes[e]);
    }
    for (int p = 0; p < net->param_count; p++) {
        char *name;
        memcpy(&name, &net->params[p].name, sizeof name); /* ours, though const to others */
        wtl_free(name);
        wtl_free(net->params[p].mask);
    }
    wtl_free(net->params);
    wtl_free(net->param_keys);
    wtl_free_pages(net->values, net->value_bytes);
    wtl_free_pages(net->gradients, net->gradient_bytes);
    wtl_free_pages(net->arena, net->arena_bytes);
    wtl_free_pages(net->frozen, net->frozen_bytes);
    wtl_free_pages(net->masked, net->masked_bytes);
    wtl_free(net->nodes);
    wtl_free(net->places);
    wtl_free(net->blocks);
    wtl_free(net->heads);
    wtl_free(net->shapes);
    wtl_netdef_free(net->def);
    wtl_free(net);
}

/* ---- what there is to see ---- */

const wtl_netdef *wtl_net_def(const wtl_net *net)
{
    return net->def;
}

const wtl_net_options *wtl_net_options_of(const wtl_net *net)
{
    return &net->options;
}

float *wtl_net_input(wtl_net *net)
{
    return wtl_net_block(net, net->places[0].value);
}

static const float *value_of(const wtl_net *net, int layer, wtl_shape *shape)
{
    int home = net->places[layer].home;
    if (shape) {
        *shape = net->shapes[layer];
    }
    return net->places[home].copied ? wtl_net_block(net, net->places[home].copy)
                                    : wtl_net_value(net, home);
}

const float *wtl_net_output(const wtl_net *net, wtl_shape *shape)
{
    return value_of(net, net->main_layer, shape);
}

const float *wtl_net_layer_output(const wtl_net *net, int index, wtl_shape *shape)
{
    int home = net->places[index].home;
    if (home == WTL_NOT_IN_NET || !net->places[home].kept ||
        (index == home && net->places[home].addend >= 0)) { /* only the sum is there */
        return NULL;
    }
    return value_of(net, index, shape);
}

const float *wtl_net_input_gradient(const wtl_net *net)
{
    return wtl_net_block(net, net->places[0].gradient);
}

void wtl_net_set_stat_momentum(wtl_net *net, float momentum)
{
    net->stat_momentum = momentum;
}

void wtl_net_set_clock(wtl_net *net, double (*seconds)(void *context), void *context)
{
    net->clock = seconds;
    net->clock_context = context;
}

double wtl_net_layer_seconds(const wtl_net *net, int index, bool backward)
{
    int node = net->places[index].node;
    return node < 0 ? 0.0 : net->nodes[node].seconds[backward];
}

wtl_net_memory wtl_net_memory_of(const wtl_net *net)
{
    return (wtl_net_memory){.parameters = net->value_bytes,
                            .gradients = net->gradient_bytes,
                            .activations = net->arena_bytes,
                            .unshared = net->unshared_bytes,
                            .frozen = net->frozen_bytes,
                            .masked = net->masked_bytes};
}

bool wtl_net_can_skip(const wtl_net *net, int index)
{
    const wtl_place *place = &net->places[index];
    const wtl_node *node = place->node >= 0 ? &net->nodes[place->node] : NULL;
    return node && !net->options.training && node->ops->can_skip &&
           node->ops->can_skip(node->state);
}

const char *wtl_net_kernel(const wtl_net *net, int index)
{
    const wtl_place *place = &net->places[index];
    if (place->node >= 0) {
        return net->nodes[place->node].kernel;
    }
    if (place->home == WTL_NOT_IN_NET) {
        return "not in the inference net";
    }
    return index == 0 ? "input"
           : net->def->layers[index].kind == WTL_LAYER_ADD ||
                   (net->places[place->home].fused != WTL_ACTIVATION_NONE &&
                    net->def->layers[index].kind >= WTL_LAYER_RELU &&
                    net->def->layers[index].kind <= WTL_LAYER_RELU6)
               ? "fused into its input"
               : "same memory as its input";
}
