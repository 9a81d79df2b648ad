/* net_memory.c - the arena: when each block of memory is alive, where it lies, who uses it. */
#include "net_private.h"

#include "wattle/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int between(const wtl_net *net)
{
    return net->node_count;
}

static int backward_time(const wtl_net *net, int node)
{
    return 2 * net->node_count - node;
}

static int end_time(const wtl_net *net)
{
    return net->options.training ? 2 * net->node_count : net->node_count;
}

static wtl_status add_block(wtl_net *net, size_t bytes, int first, int last, bool scratch,
                            int *block, wtl_error *err)
{
    *block = WTL_NO_BLOCK;
    if (bytes == 0) {
        return WTL_OK;
    }
    size_t padded;
    if (!wtl_add(bytes, WTL_ALIGNMENT - 1, &padded) || padded > SIZE_MAX / 4) {
        return wtl_fail(err, WTL_E_RANGE, "%s: memory for a batch of %d overflows",
                        net->def->name, net->options.batch);
    }
    padded = padded / WTL_ALIGNMENT * WTL_ALIGNMENT;
    *block = net->block_count;
    net->blocks[net->block_count++] = (wtl_block){.bytes = padded,
                                                  .first = first,
                                                  .last = last < first ? first : last,
                                                  .scratch = scratch};
    return WTL_OK;
}

static wtl_status output_bytes(const wtl_net *net, int layer, size_t *bytes, wtl_error *err)
{
    wtl_shape s = net->shapes[layer];
    if (!wtl_mul(net->places[layer].image, (size_t)net->options.batch, bytes) ||
        !wtl_mul(*bytes, sizeof(float), bytes)) {
        return wtl_fail(err, WTL_E_RANGE, "%s: %s: %dx%dx%d for a batch of %d overflows",
                        net->def->name, net->def->layers[layer].name, s.c, s.h, s.w,
                        net->options.batch);
    }
    return WTL_OK;
}

void wtl_net_name_kernel(wtl_node *node, const char *kernel)
{
    snprintf(node->kernel, sizeof node->kernel, "%s%s%s", kernel ? kernel : node->ops->word,
             node->plan.adds ? ", sum fused" : "",
             node->plan.fused == WTL_ACTIVATION_RELU    ? ", relu fused"
             : node->plan.fused == WTL_ACTIVATION_RELU6 ? ", relu6 fused"
                                                        : "");
}

static wtl_status set_up_nodes(wtl_net *net, wtl_error *err)
{
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        const wtl_layer_def *layer = &net->def->layers[node->layer];
        bool wants_dx = false;
        for (int j = 0; j < node->input_count; j++) {
            wants_dx |= node->backward && net->places[node->home[j]].trained;
        }
        node->plan = (wtl_layer_plan){.in = node->in,
                                      .input_count = node->input_count,
                                      .out = net->shapes[node->layer],
                                      .batch = net->options.batch,
                                      .threads = net->options.threads,
                                      .engine = net->options.engine,
                                      .native = net->options.engine == WTL_ENGINE_NATIVE
                                                    ? wtl_native_of(net->options.isa)
                                                    : NULL,
                                      .no_winograd = net->options.no_winograd,
                                      .no_sparse = net->options.no_sparse,
                                      .blocked_in = node->blocked_in,
                                      .blocked_out = node->blocked_out,
                                      .training = net->options.training,
                                      .input_gradient = wants_dx,
                                      .adds = net->places[node->layer].addend >= 0,
                                      .fused = net->places[node->layer].fused};
        if (node->ops->setup) {
            wtl_status status = node->ops->setup(node->state, layer, &node->plan, err);
            if (status != WTL_OK) {
                return wtl_fail_in(err, status, layer->name);
            }
        }
        wtl_net_name_kernel(node, node->plan.kernel);
    }
    return WTL_OK;
}

/* The last time the value of `layer` (its own home) is read. */
static int last_use(const wtl_net *net, int layer)
{
    const wtl_place *place = &net->places[layer];
    if (layer == 0 || net->options.keep_outputs) {
        return end_time(net);
    }
    int last = place->node;
    const wtl_node *own = &net->nodes[place->node];
    bool head = net->def->layers[layer].kind == WTL_LAYER_SOFTMAX ||
                layer == net->places[net->main_layer].home;
    bool masked = place->fused != WTL_ACTIVATION_NONE && !own->plan.passes_gradient;
    if (own->backward && (own->ops->needs_y || masked)) {
        last = backward_time(net, place->node);
    }
    for (int e = place->node + 1; e < net->node_count; e++) {
        const wtl_node *reader = &net->nodes[e];
        for (int j = 0; j < reader->input_count; j++) {
            if (reader->home[j] != layer) {
                continue;
            }
            head |= net->def->layers[reader->layer].kind == WTL_LAYER_SOFTMAX;
            bool again = reader->backward && reader->ops->needs_x && !reader->copies[j];
            int use = again ? backward_time(net, e) : e;
            last = use > last ? use : last;
        }
    }
    return head && last < between(net) ? between(net) : last;
}

/* A map that others are part of is there from the first of them on, for all of them. */
static int first_write(const wtl_net *net, int layer, int *last)
{
    int first = net->places[layer].node < 0 ? 0 : net->places[layer].node;
    *last = last_use(net, layer);
    for (int i = 0; i < net->def->layer_count; i++) {
        const wtl_place *part = &net->places[i];
        if (part->home == i && part->within == layer) {
            int use = last_use(net, i);
            first = part->node < first ? part->node : first;
            *last = use > *last ? use : *last;
        }
    }
    return first;
}

static int last_gradient_use(const wtl_net *net, int home)
{
    int last = home == 0 ? end_time(net) : backward_time(net, net->places[home].node);
    for (int i = 0; i < net->def->layer_count; i++) {
        const wtl_place *part = &net->places[i];
        if (part->home == i && part->within == home) {
            int use = backward_time(net, part->node);
            last = use > last ? use : last;
        }
    }
    return last;
}

static size_t home_floats(const wtl_net *net, int home)
{
    return net->places[home].blocked ? wtl_blocked_count(net->shapes[home])
                                     : wtl_shape_count(net->shapes[home]);
}

/* Gradients of an output with several readers: the first to run backward writes, each other
 * writes to a spare block which is added. A gradient in the layout that the node does not work
 * in comes by way of a block, too. */
static wtl_status plan_gradients(wtl_net *net, wtl_error *err)
{
    for (int e = net->node_count - 1; e >= 0; e--) {
        wtl_node *node = &net->nodes[e];
        int now = backward_time(net, e);
        for (int j = 0; node->backward && j < node->input_count; j++) {
            int home = node->home[j];
            wtl_place *place = &net->places[home];
            size_t bytes;
            if (!place->trained) {
                continue;
            }
            if (place->within == node->layer) { /* a part of dy is its gradient */
                continue;
            }
            wtl_status status = output_bytes(net, home, &bytes, err);
            node->adds[j] = place->gradient != WTL_NO_BLOCK;
            if (status == WTL_OK && !node->adds[j]) {
                status = add_block(net, bytes, now, last_gradient_use(net, home), false,
                                   &place->gradient, err);
            }
            if (status == WTL_OK && (node->adds[j] || node->copies[j])) {
                bytes = (size_t)net->options.batch * sizeof(float) *
                        (node->copies[j] ? wtl_net_copy_floats(net, node, j)
                                         : home_floats(net, home));
                status = add_block(net, bytes, now, now, true, &node->spare[j], err);
            }
            if (status != WTL_OK) {
                return status;
            }
        }
    }
    return WTL_OK;
}

/* Copies of inputs in the other layout: kept as long as the input would be. */
static wtl_status plan_copies(wtl_net *net, int e, wtl_error *err)
{
    wtl_node *node = &net->nodes[e];
    bool head = net->def->layers[node->layer].kind == WTL_LAYER_SOFTMAX;
    int last = node->backward && node->ops->needs_x ? backward_time(net, e)
               : head                               ? between(net)
                                                    : e;
    wtl_status status = WTL_OK;
    for (int j = 0; status == WTL_OK && j < node->input_count; j++) {
        size_t bytes;
        if (!node->copies[j]) {
            continue;
        }
        if (!wtl_mul(wtl_net_copy_floats(net, node, j),
                     sizeof(float) * (size_t)net->options.batch, &bytes)) {
            return wtl_fail(err, WTL_E_RANGE, "%s: memory for a batch of %d overflows",
                            net->def->name, net->options.batch);
        }
        status = add_block(net, bytes, e, last, false, &node->copy_block[j], err);
    }
    return status;
}

/* Outputs that the caller sees in NCHW. */
static wtl_status plan_outputs(wtl_net *net, wtl_error *err)
{
    wtl_status status = WTL_OK;
    for (int i = 0; status == WTL_OK && i < net->def->layer_count; i++) {
        wtl_place *place = &net->places[i];
        if (place->copied) {
            size_t bytes =
                wtl_shape_count(net->shapes[i]) * (size_t)net->options.batch * sizeof(float);
            status =
                add_block(net, bytes, place->node, end_time(net), false, &place->copy, err);
        }
    }
    return status;
}

static wtl_status plan_blocks(wtl_net *net, wtl_error *err)
{
    wtl_status status = WTL_OK;
    size_t bytes;
    for (int i = 0; status == WTL_OK && i < net->def->layer_count; i++) {
        wtl_place *place = &net->places[i];
        if (place->home != i || place->within >= 0) {
            continue;
        }
        status = output_bytes(net, i, &bytes, err);
        if (status == WTL_OK) {
            int last;
            int first = first_write(net, i, &last);
            status = add_block(net, bytes, first, last, false, &place->value, err);
        }
        bool head = net->def->layers[i].kind == WTL_LAYER_SOFTMAX;
        if (status == WTL_OK && head && net->options.training) {
            status = add_block(net, bytes, between(net), backward_time(net, place->node), false,
                               &place->gradient, err);
        }
    }
    for (int e = 0; status == WTL_OK && e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        int back = backward_time(net, e);
        status = plan_copies(net, e, err);
        if (status == WTL_OK) {
            status = add_block(net, node->plan.saved_bytes, e, node->backward ? back : e, false,
                               &node->saved_block, err);
        }
        if (status == WTL_OK) {
            status = add_block(net, node->plan.scratch_bytes, e, e, true,
                               &node->scratch_block[0], err);
        }
        if (status == WTL_OK && node->backward) {
            status = add_block(net, node->plan.scratch_bytes, back, back, true,
                               &node->scratch_block[1], err);
        }
    }
    if (status == WTL_OK) {
        status = plan_outputs(net, err);
    }
    return status == WTL_OK ? plan_gradients(net, err) : status;
}

/* ---- laying out ---- */

static bool both_alive(const wtl_block *a, const wtl_block *b)
{
    return a->first <= b->last && b->first <= a->last;
}

typedef struct ranked {
    size_t bytes;
    int block;
} ranked;

static int larger_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->bytes != y->bytes) {
        return x->bytes < y->bytes ? 1 : -1;
    }
    return x->block - y->block;
}

/* Lowest offset at which `block` does not collide with those placed (sorted by offset). */
static size_t lowest_fit(const wtl_net *net, const wtl_block *block, const int *placed,
                         int count)
{
    size_t at = 0;
    for (int i = 0; i < count; i++) {
        const wtl_block *other = &net->blocks[placed[i]];
        if (!both_alive(block, other)) {
            continue;
        }
        if (other->offset >= at + block->bytes) {
            break;
        }
        size_t behind = other->offset + other->bytes;
        at = behind > at ? behind : at;
    }
    return at;
}

/* Largest first, each at the lowest address that is free over its whole life. */
static wtl_status lay_out(wtl_net *net)
{
    ranked *order = wtl_alloc((size_t)net->block_count, sizeof *order);
    int *placed = wtl_alloc((size_t)net->block_count, sizeof *placed);
    if (!order || !placed) {
        wtl_free(order);
        wtl_free(placed);
        return WTL_E_NOMEM;
    }
    for (int i = 0; i < net->block_count; i++) {
        order[i] = (ranked){net->blocks[i].bytes, i};
    }
    qsort(order, (size_t)net->block_count, sizeof *order, larger_first);
    size_t top = 0, unshared = 0, scratch = 0;
    for (int i = 0; i < net->block_count; i++) {
        wtl_block *block = &net->blocks[order[i].block];
        block->offset = lowest_fit(net, block, placed, i);
        int slot = i;
        while (slot > 0 && net->blocks[placed[slot - 1]].offset > block->offset) {
            placed[slot] = placed[slot - 1];
            slot--;
        }
        placed[slot] = order[i].block;
        size_t behind = block->offset + block->bytes;
        top = behind > top ? behind : top;
        unshared += block->scratch ? 0 : block->bytes;
        scratch = block->scratch && block->bytes > scratch ? block->bytes : scratch;
    }
    net->arena_bytes = top;
    net->unshared_bytes = unshared + scratch;
    wtl_free(order);
    wtl_free(placed);
    return WTL_OK;
}

/* Or between forward and backward, when the heads' gradients are filled. */
static bool overwritten_before_backward(const wtl_net *net, const wtl_block *value)
{
    for (int i = 0; i < net->block_count; i++) {
        const wtl_block *other = &net->blocks[i];
        bool later = other->first > value->last && other->first <= between(net);
        if (later && other->offset < value->offset + value->bytes &&
            value->offset < other->offset + other->bytes) {
            return true;
        }
    }
    return false;
}

static void bind_inputs(wtl_net *net, wtl_node *node)
{
    for (int j = 0; j < node->input_count; j++) {
        int home = node->home[j];
        bool copies = node->copies[j], by_way = node->spare[j] != WTL_NO_BLOCK;
        size_t own = copies ? wtl_net_copy_floats(net, node, j) : home_floats(net, home);
        node->x[j] =
            copies ? wtl_net_block(net, node->copy_block[j]) : wtl_net_value(net, home);
        node->x_image[j] = copies ? own : net->places[home].image;
        node->dx[j] = !node->backward || !net->places[home].trained ? NULL
                      : by_way ? wtl_net_block(net, node->spare[j])
                               : wtl_net_gradient(net, home);
        node->dx_image[j] = by_way ? own : net->places[home].image;
    }
}

static void bind_pointers(wtl_net *net)
{
    for (int i = 0; i < net->def->layer_count; i++) {
        wtl_place *place = &net->places[i];
        if (place->copied) {
            place->kept = true;
        } else if (place->home == i && place->within < 0) {
            place->kept =
                !place->opaque && !overwritten_before_backward(net, &net->blocks[place->value]);
        }
    }
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        node->y = wtl_net_value(net, node->layer);
        node->dy = wtl_net_gradient(net, node->layer);
        node->scratch[0] = wtl_net_block(net, node->scratch_block[0]);
        node->scratch[1] = wtl_net_block(net, node->scratch_block[1]);
        node->saved = wtl_net_block(net, node->saved_block);
        bind_inputs(net, node);
        for (int p = 0; p < node->param_count; p++) {
            node->value[p] = net->params[node->first_param + p].value;
            node->gradient[p] = net->params[node->first_param + p].gradient;
        }
    }
}

wtl_status wtl_net_plan_memory(wtl_net *net, wtl_error *err)
{
    size_t most_blocks = 3 * (size_t)net->def->layer_count + 3 * (size_t)net->node_count;
    for (int e = 0; e < net->node_count; e++) {
        most_blocks += 2 * (size_t)net->nodes[e].input_count;
    }
    net->blocks = wtl_alloc(most_blocks, sizeof *net->blocks);
    wtl_status status = net->blocks
                            ? set_up_nodes(net, err)
                            : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", net->def->name);
    if (status == WTL_OK) {
        status = plan_blocks(net, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    status = lay_out(net);
    if (status == WTL_OK) {
        net->arena = wtl_alloc_pages(net->arena_bytes);
        status = net->arena ? WTL_OK : WTL_E_NOMEM;
    }
    if (status != WTL_OK) {
        return wtl_fail(err, status, "%s: out of memory: a batch of %d takes %zu MiB",
                        net->def->name, net->options.batch, net->arena_bytes >> 20);
    }
    bind_pointers(net);
    return WTL_OK;
}
