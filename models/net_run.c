/* net_run.c - forward and backward over the planned nodes: no allocation, no failure. */
#include "kernels/elementwise.h"
#include "net_private.h"

#include "wattle/threads.h"

#include <math.h>

static wtl_layer_run run_of(const wtl_net *net, const wtl_node *node, int n, bool training,
                            uint64_t step)
{
    return (wtl_layer_run){.n = n,
                           .threads = net->options.threads,
                           .engine = net->options.engine,
                           .training = training,
                           .stat_momentum = net->stat_momentum,
                           .seed = net->options.seed,
                           .step = step,
                           .layer = node->layer,
                           .saved = node->saved,
                           .value = node->value,
                           .gradient = node->gradient};
}

static double clock_of(const wtl_net *net)
{
    return net->clock ? net->clock(net->clock_context) : 0.0;
}

void wtl_net_forward(wtl_net *net, int n, wtl_run_mode mode, uint64_t step)
{
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        wtl_layer_run run = run_of(net, node, n, mode == WTL_RUN_TRAINING, step);
        run.scratch = node->scratch[0];
        double start = clock_of(net);
        node->ops->forward(node->state, &run, node->x, node->y);
        node->seconds[0] = clock_of(net) - start;
    }
}

static void backward_node(wtl_net *net, wtl_node *node, int n)
{
    wtl_layer_run run = run_of(net, node, n, true, 0);
    run.scratch = node->scratch[1];
    if (node->plan.fused != WTL_ACTIVATION_NONE) {
        wtl_activation_gradient(run.threads, node->y, node->dy,
                                (size_t)n * wtl_shape_count(node->plan.out), node->plan.fused);
    }
    node->ops->backward(node->state, &run, node->x, node->y, node->dy, node->dx);
    for (int j = 0; j < node->input_count; j++) {
        if (node->spare[j] != WTL_NO_BLOCK) {
            float *sum = wtl_net_block(net, net->places[node->home[j]].gradient);
            wtl_accumulate(run.threads, sum, node->dx[j],
                           (size_t)n * wtl_shape_count(node->in[j]));
        }
    }
}

void wtl_net_backward(wtl_net *net, int n)
{
    wtl_clear(net->options.threads, net->gradients, net->gradient_bytes / sizeof(float));
    for (int e = net->node_count - 1; e >= 0; e--) {
        if (net->nodes[e].backward) {
            double start = clock_of(net);
            backward_node(net, &net->nodes[e], n);
            net->nodes[e].seconds[1] = clock_of(net) - start;
        }
    }
}

bool wtl_net_output_finite(const wtl_net *net, int n)
{
    wtl_shape shape;
    const float *y = wtl_net_output(net, &shape);
    for (size_t i = 0; i < (size_t)n * wtl_shape_count(shape); i++) {
        if (!isfinite(y[i])) {
            return false;
        }
    }
    return true;
}
