/* net_graph.c - which layers of a definition run, where their outputs live, which ReLUs fuse,
 * and what the backward pass has to reach. */
#include "net_private.h"

#include "wattle/memory.h"

#include <string.h>

static wtl_activation activation_of(wtl_layer_kind kind)
{
    return kind == WTL_LAYER_RELU    ? WTL_ACTIVATION_RELU
           : kind == WTL_LAYER_RELU6 ? WTL_ACTIVATION_RELU6
                                     : WTL_ACTIVATION_NONE;
}

static void count_readers(const wtl_net *net, int *readers)
{
    const wtl_netdef *def = net->def;
    for (int i = 0; i < def->layer_count; i++) {
        for (int j = 0; net->places[i].home != WTL_NOT_IN_NET && j < def->layers[i].input_count;
             j++) {
            readers[def->layers[i].inputs[j]]++;
        }
    }
}

/* A ReLU disappears into the layer before, or the sum that has disappeared there, if nothing else
 * reads the value between. */
static bool fuses(const wtl_net *net, int layer, const int *readers)
{
    const wtl_layer_def *def = &net->def->layers[layer];
    if (net->options.no_fusion || activation_of(def->kind) == WTL_ACTIVATION_NONE) {
        return false;
    }
    int producer = def->inputs[0], home = net->places[producer].home;
    bool sum = home != producer && net->def->layers[producer].kind == WTL_LAYER_ADD;
    return (home == producer || sum) && readers[producer] == 1 && producer != net->main_layer &&
           wtl_layer_ops_of(net->def->layers[home].kind)->fuses &&
           net->places[home].fused == WTL_ACTIVATION_NONE;
}

/* Of a sum of two at inference: the input, computed last, whose layer can add the other to its own
 * sums; -1: none. */
static int adds_within(const wtl_net *net, int layer, const int *readers)
{
    const wtl_layer_def *def = &net->def->layers[layer];
    if (net->options.no_fusion || net->options.training || net->options.keep_outputs ||
        net->options.engine != WTL_ENGINE_NATIVE || def->kind != WTL_LAYER_ADD ||
        def->input_count != 2) {
        return -1;
    }
    int a = def->inputs[0], b = def->inputs[1], home_a = net->places[a].home,
        home_b = net->places[b].home;
    int last = net->places[home_a].node > net->places[home_b].node ? a : b;
    const wtl_layer_def *producer = &net->def->layers[last];
    const wtl_place *place = &net->places[last];
    bool free = place->home == last && place->node >= 0 && place->addend < 0 &&
                place->fused == WTL_ACTIVATION_NONE && readers[last] == 1 && home_a != home_b;
    return free && producer->kind == WTL_LAYER_CONV &&
                   wtl_layer_ops_of(producer->kind)
                       ->blocks(producer, &net->shapes[producer->inputs[0]], 1,
                                net->shapes[last])
               ? last
               : -1;
}

static bool is_alias(const wtl_net *net, const wtl_layer_ops *ops)
{
    return ops->alias || (ops->alias_at_inference && !net->options.training);
}

static void place_layers(wtl_net *net, const int *readers)
{
    for (int i = 0; i < net->def->layer_count; i++) {
        wtl_place *place = &net->places[i];
        const wtl_layer_def *layer = &net->def->layers[i];
        if (place->home == WTL_NOT_IN_NET) {
            continue;
        }
        if (layer->kind == WTL_LAYER_INPUT) {
            place->home = i;
        } else if (is_alias(net, wtl_layer_ops_of(layer->kind))) {
            place->home = net->places[layer->inputs[0]].home;
        } else if (fuses(net, i, readers)) {
            place->home = net->places[layer->inputs[0]].home;
            net->places[place->home].fused = activation_of(layer->kind);
        } else if (adds_within(net, i, readers) >= 0) {
            int conv = adds_within(net, i, readers);
            int other = layer->inputs[layer->inputs[0] == conv ? 1 : 0];
            place->home = conv;
            net->places[conv].addend = net->places[other].home;
            net->places[conv].in_sum = net->places[net->places[other].home].in_sum = true;
        } else {
            place->home = i;
            place->node = net->node_count++;
        }
    }
}

static wtl_status make_node(wtl_net *net, int i, wtl_node *node)
{
    const wtl_layer_def *layer = &net->def->layers[i];
    int addend = net->places[i].addend;
    size_t count = (size_t)layer->input_count + (addend >= 0);
    node->layer = i;
    node->ops = wtl_layer_ops_of(layer->kind);
    node->input_count = (int)count;
    node->saved_block = node->scratch_block[0] = node->scratch_block[1] = WTL_NO_BLOCK;
    node->in = wtl_alloc(count, sizeof *node->in);
    node->home = wtl_alloc(count, sizeof *node->home);
    node->spare = wtl_alloc(count, sizeof *node->spare);
    node->x = wtl_alloc(count, sizeof *node->x);
    node->dx = wtl_alloc(count, sizeof *node->dx);
    node->copies = wtl_alloc(count, sizeof *node->copies);
    node->copy_block = wtl_alloc(count, sizeof *node->copy_block);
    node->adds = wtl_alloc(count, sizeof *node->adds);
    node->x_image = wtl_alloc(count, sizeof *node->x_image);
    node->dx_image = wtl_alloc(count, sizeof *node->dx_image);
    node->state = wtl_alloc(1, node->ops->state_bytes);
    if (!node->in || !node->home || !node->spare || !node->x || !node->dx || !node->copies ||
        !node->copy_block || !node->adds || !node->x_image || !node->dx_image || !node->state) {
        return WTL_E_NOMEM;
    }
    for (int j = 0; j < node->input_count; j++) {
        int input = j < layer->input_count ? layer->inputs[j] : addend;
        node->in[j] = net->shapes[input];
        node->home[j] = net->places[input].home;
        node->spare[j] = node->copy_block[j] = WTL_NO_BLOCK;
    }
    return WTL_OK;
}

static bool has_trained_parameters(const wtl_node *node, const wtl_layer_def *layer)
{
    wtl_param_spec specs[WTL_MAX_LAYER_PARAMS];
    int count = node->ops->params ? node->ops->params(layer, node->in, specs) : 0;
    for (int p = 0; p < count; p++) {
        if (specs[p].role < WTL_PARAM_RUNNING_MEAN) {
            return true;
        }
    }
    return false;
}

/* Forward: what depends on trained parameters. Backward: what a head depends on. */
static void mark_backward(wtl_net *net)
{
    net->places[0].trained = net->options.input_gradient;
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        wtl_place *place = &net->places[node->layer];
        place->trained = has_trained_parameters(node, &net->def->layers[node->layer]);
        for (int j = 0; j < node->input_count; j++) {
            place->trained |= net->places[node->home[j]].trained;
        }
        place->reached = net->def->layers[node->layer].kind == WTL_LAYER_SOFTMAX;
    }
    for (int e = net->node_count - 1; e >= 0; e--) {
        wtl_node *node = &net->nodes[e];
        const wtl_place *place = &net->places[node->layer];
        node->backward = net->options.training && place->reached && place->trained;
        for (int j = 0; j < node->input_count; j++) {
            net->places[node->home[j]].reached |= place->reached;
        }
    }
}

wtl_status wtl_net_plan_graph(wtl_net *net, wtl_error *err)
{
    const wtl_netdef *def = net->def;
    size_t count = (size_t)def->layer_count;
    net->places = wtl_alloc(count, sizeof *net->places);
    bool *keep = wtl_alloc(count, sizeof *keep);
    int *readers = wtl_alloc(count, sizeof *readers);
    wtl_status status = net->places && keep && readers ? WTL_OK : WTL_E_NOMEM;
    if (status == WTL_OK) {
        net->main_layer = wtl_netdef_inference_layers(def, keep);
        for (int i = 0; i < def->layer_count; i++) {
            bool part = i == 0 || net->options.training || keep[i];
            net->places[i] = (wtl_place){.home = part ? i : WTL_NOT_IN_NET,
                                         .node = -1,
                                         .value = WTL_NO_BLOCK,
                                         .gradient = WTL_NO_BLOCK,
                                         .within = -1,
                                         .addend = -1,
                                         .copy = WTL_NO_BLOCK};
        }
        count_readers(net, readers);
        place_layers(net, readers);
        net->nodes = wtl_alloc((size_t)net->node_count, sizeof *net->nodes);
        status = net->nodes ? WTL_OK : WTL_E_NOMEM;
    }
    for (int i = 0; status == WTL_OK && i < def->layer_count; i++) {
        if (net->places[i].node >= 0) {
            status = make_node(net, i, &net->nodes[net->places[i].node]);
        }
    }
    if (status == WTL_OK) {
        mark_backward(net);
    } else {
        (void)wtl_fail(err, status, "%s: out of memory", def->name);
    }
    wtl_free(keep);
    wtl_free(readers);
    return status;
}
