/* net_masks.c - masks that stay as they are for many training steps, followed. */
#include "kernels/elementwise.h"
#include "net_private.h"

#include "wattle/memory.h"

#include <stdio.h>

static size_t padded(size_t bytes)
{
    return (bytes + WTL_ALIGNMENT - 1) / WTL_ALIGNMENT * WTL_ALIGNMENT;
}

void wtl_name_masked(wtl_masked_plan *plan, bool forward, bool weights, bool data,
                     const char *dense)
{
    if (forward && weights && data) {
        snprintf(plan->kernel, sizeof plan->kernel, "kept weights");
        return;
    }
    snprintf(plan->kernel, sizeof plan->kernel, "kept weights (%s%s%s), else %s",
             forward ? "forward" : "", weights ? (forward ? ", dw" : "dw") : "",
             data ? (forward || weights ? ", dx" : "dx") : "", dense);
}

/* The mask of the node's weights, or NULL. */
static const float *mask_of(const wtl_net *net, const wtl_node *node)
{
    return node->param_count > 0 ? net->params[node->first_param].mask : NULL;
}

/* Each node's choice; the bytes of all that they make and of the largest scratch. False if they
 * cannot be counted. */
static bool plan_nodes(wtl_net *net, size_t *patterns, size_t *scratch)
{
    bool countable = true;
    *patterns = *scratch = 0;
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        wtl_masked_plan *plan = &node->masked_plan;
        const float *mask = mask_of(net, node);
        *plan = (wtl_masked_plan){0};
        if (mask && node->backward && node->ops->plan_masked) {
            wtl_layer_run run = wtl_net_run_of(net, node, net->options.batch, true, 0);
            node->ops->plan_masked(node->state, &run, mask, plan);
        }
        if (plan->bytes == 0) {
            continue;
        }
        size_t own = padded(plan->scratch_bytes < SIZE_MAX / 2 ? plan->scratch_bytes : 0);
        countable = countable && plan->scratch_bytes < SIZE_MAX / 2 &&
                    wtl_add(*patterns, padded(plan->bytes), patterns);
        *scratch = own > *scratch ? own : *scratch;
    }
    return countable && wtl_add(*patterns, *scratch, &net->masked_bytes);
}

static void follow_node(wtl_net *net, wtl_node *node, char *at, char *scratch)
{
    wtl_param *weights = &net->params[node->first_param];
    node->ops->follow(node->state, weights->mask, at);
    node->masked = at;
    node->scratch[0] = node->scratch[1] = (float *)(void *)scratch;
    if (node->masked_plan.sets_weights) { /* from now on only what is kept is written */
        wtl_clear(net->options.threads, weights->gradient, weights->count);
        weights->followed = net->follow_count;
    }
    wtl_net_name_kernel(node, node->masked_plan.kernel);
}

wtl_status wtl_net_follow_masks(wtl_net *net, wtl_error *err)
{
    wtl_net_forget_masks(net);
    if (!net->options.training) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s: masks of a net that is not trained are not followed",
                        net->def->name);
    }
    size_t patterns, scratch;
    bool countable = plan_nodes(net, &patterns, &scratch);
    if (countable && patterns == 0) {
        net->masked_bytes = 0;
        return WTL_OK;
    }
    net->masked = countable ? wtl_alloc_pages(net->masked_bytes) : NULL;
    if (!net->masked) {
        size_t needed = net->masked_bytes;
        net->masked_bytes = 0;
        return wtl_fail(err, WTL_E_NOMEM,
                        "%s: out of memory: to follow its masks takes %zu MiB", net->def->name,
                        needed >> 20);
    }
    net->follow_count++;
    char *at = net->masked;
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        if (node->masked_plan.bytes > 0) {
            follow_node(net, node, at, net->masked + patterns);
            at += padded(node->masked_plan.bytes);
        }
    }
    return WTL_OK;
}

void wtl_net_forget_masks(wtl_net *net)
{
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        if (node->masked) {
            node->masked = NULL;
            net->params[node->first_param].followed = 0;
            node->scratch[0] = wtl_net_block(net, node->scratch_block[0]);
            node->scratch[1] = wtl_net_block(net, node->scratch_block[1]);
            wtl_net_name_kernel(node, node->plan.kernel);
        }
    }
    wtl_free_pages(net->masked, net->masked_bytes);
    net->masked = NULL;
    net->masked_bytes = 0;
}
