/* net_freeze.c - weights laid out once, for inference. */
#include "net_private.h"

#include "wattle/memory.h"

#include <string.h>

static size_t padded(size_t bytes)
{
    return (bytes + WTL_ALIGNMENT - 1) / WTL_ALIGNMENT * WTL_ALIGNMENT;
}

/* Each node's choice; the bytes of all weights and of the largest scratch. */
static void plan_nodes(wtl_net *net, const wtl_kernel_costs *costs, size_t *weights,
                       size_t *scratch)
{
    *weights = *scratch = 0;
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        node->frozen_plan = (wtl_frozen_plan){0};
        if (node->ops->plan_frozen) {
            wtl_layer_run run = wtl_net_run_of(net, node, net->options.batch, false, 0);
            node->ops->plan_frozen(node->state, &run, costs, &node->frozen_plan);
        }
        *weights += padded(node->frozen_plan.bytes);
        if (node->frozen_plan.bytes && node->frozen_plan.scratch_bytes > *scratch) {
            *scratch = node->frozen_plan.scratch_bytes;
        }
    }
}

wtl_status wtl_net_freeze(wtl_net *net, const wtl_kernel_costs *costs, wtl_error *err)
{
    wtl_net_thaw(net);
    if (net->options.training) {
        return wtl_fail(err, WTL_E_ARG, "%s: a net that is trained cannot be frozen",
                        net->def->name);
    }
    size_t weights, scratch;
    wtl_kernel_costs defaults = wtl_kernel_costs_default(net->options.isa);
    plan_nodes(net, costs ? costs : &defaults, &weights, &scratch);
    if (weights == 0) {
        return WTL_OK;
    }
    net->frozen_bytes = weights + scratch;
    net->frozen = wtl_alloc_pages(net->frozen_bytes);
    if (!net->frozen) {
        wtl_net_thaw(net);
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory: frozen weights take %zu MiB",
                        net->def->name, (weights + scratch) >> 20);
    }
    char *at = net->frozen;
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        if (node->frozen_plan.bytes == 0) {
            continue;
        }
        wtl_layer_run run = wtl_net_run_of(net, node, net->options.batch, false, 0);
        node->ops->freeze(node->state, &run, at);
        node->frozen = at;
        node->scratch[0] = (float *)(void *)(net->frozen + weights);
        wtl_net_name_kernel(node, node->frozen_plan.kernel ? node->frozen_plan.kernel
                                                           : node->plan.kernel);
        at += padded(node->frozen_plan.bytes);
    }
    return WTL_OK;
}

void wtl_net_thaw(wtl_net *net)
{
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        if (node->frozen) {
            node->frozen = NULL;
            node->scratch[0] = wtl_net_block(net, node->scratch_block[0]);
            wtl_net_name_kernel(node, node->plan.kernel);
        }
    }
    wtl_free_pages(net->frozen, net->frozen_bytes);
    net->frozen = NULL;
    net->frozen_bytes = 0;
}
