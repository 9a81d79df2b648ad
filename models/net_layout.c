/* net_layout.c - which maps of a net lie in blocks of 16 channels (kernels/native.h), where a
 * layer needs its input in the other layout, and which maps are part of a concatenation's.
 *
 * The native engine's convolutions write blocks; what reads blocks and can, works on them. A
 * layer that cannot gets a copy of the input in NCHW, as does the caller for the net's output, or
 * for every output where they are kept to be looked at (wtl_net_layer_output).
 */
#include "net_private.h"

static size_t image_floats(const wtl_net *net, int home)
{
    return net->places[home].blocked ? wtl_blocked_count(net->shapes[home])
                                     : wtl_shape_count(net->shapes[home]);
}

/* Flattened, a map in blocks is not what its shape says. */
static bool same_shape(wtl_shape a, wtl_shape b)
{
    return a.c == b.c && a.h == b.h && a.w == b.w;
}

static bool reads_maps(const wtl_net *net, const wtl_node *node)
{
    for (int j = 0; j < node->input_count; j++) {
        if (!same_shape(node->in[j], net->shapes[node->home[j]])) {
            return false;
        }
    }
    return true;
}

static bool any_blocked(const wtl_net *net, const wtl_node *node)
{
    for (int j = 0; j < node->input_count; j++) {
        if (net->places[node->home[j]].blocked) {
            return true;
        }
    }
    return false;
}

/* A convolution starts the blocks; an image of few channels it reads as it is, unless its
 * gradient is wanted. */
static void lay_out_node(wtl_net *net, wtl_node *node)
{
    const wtl_layer_def *layer = &net->def->layers[node->layer];
    if (!node->ops->blocks || !reads_maps(net, node) ||
        !node->ops->blocks(layer, node->in, node->input_count, net->shapes[node->layer])) {
        return;
    }
    bool blocked = any_blocked(net, node);
    if (!node->ops->reads_plain && !blocked) {
        return;
    }
    node->blocked_out = net->places[node->layer].blocked = true;
    node->blocked_in = blocked || !node->ops->reads_plain(layer, node->in[0]) ||
                       (node->backward && net->places[node->home[0]].trained);
}

static int reader_count(const wtl_net *net, int home)
{
    int readers = 0;
    for (int e = 0; e < net->node_count; e++) {
        for (int j = 0; j < net->nodes[e].input_count; j++) {
            readers += net->nodes[e].home[j] == home;
        }
    }
    return readers;
}

/* Inputs that nobody else reads are written where the concatenation wants them. */
static void place_within(wtl_net *net, const wtl_node *concat)
{
    size_t offset = 0, map = (size_t)concat->in[0].h * (size_t)concat->in[0].w;
    for (int j = 0; j < concat->input_count; j++) {
        int home = concat->home[j];
        wtl_place *place = &net->places[home];
        if (place->blocked && place->node >= 0 && place->within < 0 && !place->in_sum &&
            net->def->layers[home].kind != WTL_LAYER_CONCAT &&
            home != net->places[net->main_layer].home && reader_count(net, home) == 1) {
            place->within = concat->layer;
            place->offset = offset;
        }
        offset += (size_t)concat->in[j].c * map;
    }
}

/* One value a channel and whole blocks: the two layouts are the same. */
static bool layouts_agree(const wtl_net *net, int home)
{
    wtl_shape s = net->shapes[home];
    return s.h == 1 && s.w == 1 && s.c % WTL_BLOCK_CHANNELS == 0 &&
           net->places[home].within < 0;
}

static void mark_copies(wtl_net *net, wtl_node *node)
{
    for (int j = 0; j < node->input_count; j++) {
        int home = node->home[j];
        node->copies[j] =
            net->places[home].blocked != node->blocked_in && !layouts_agree(net, home);
    }
}

void wtl_net_plan_layout(wtl_net *net)
{
    bool blocks = net->options.engine == WTL_ENGINE_NATIVE;
    for (int e = 0; blocks && e < net->node_count; e++) {
        lay_out_node(net, &net->nodes[e]);
    }
    for (int e = 0; blocks && e < net->node_count; e++) {
        const wtl_node *node = &net->nodes[e];
        if (node->blocked_out && net->def->layers[node->layer].kind == WTL_LAYER_CONCAT) {
            place_within(net, node);
        }
    }
    for (int i = 0; i < net->def->layer_count; i++) {
        if (net->places[i].home == i) {
            net->places[i].image = image_floats(net, i);
        }
    }
    for (int i = 0; i < net->def->layer_count; i++) {
        if (net->places[i].home == i && net->places[i].within >= 0) {
            net->places[i].image = net->places[net->places[i].within].image;
        }
    }
    for (int e = 0; e < net->node_count; e++) {
        mark_copies(net, &net->nodes[e]);
    }
    int output = net->places[net->main_layer].home;
    for (int i = 0; i < net->def->layer_count; i++) {
        wtl_place *place = &net->places[i];
        place->opaque = place->home == i && place->blocked && !layouts_agree(net, i);
        place->copied = place->opaque && (i == output || net->options.keep_outputs);
    }
}

size_t wtl_net_copy_floats(const wtl_net *net, const wtl_node *node, int input)
{
    wtl_shape shape = net->shapes[node->home[input]];
    return node->blocked_in ? wtl_blocked_count(shape) : wtl_shape_count(shape);
}
