/* net_run.c - forward and backward over the planned nodes: no allocation, no failure. */
#include "kernels/elementwise.h"
#include "kernels/reorder.h"
#include "net_private.h"

#include "wattle/threads.h"

#include <math.h>

/* Inputs in the layout that the node does not work in. */
static void copy_inputs(const wtl_net *net, const wtl_node *node, int n)
{
    for (int j = 0; j < node->input_count; j++) {
        if (!node->copies[j]) {
            continue;
        }
        int home = node->home[j];
        wtl_shape shape = net->shapes[home];
        const float *from = wtl_net_value(net, home);
        float *to = wtl_net_block(net, node->copy_block[j]);
        (node->blocked_in ? wtl_reorder_to_blocks : wtl_reorder_to_plain)(
            net->options.threads, n, shape, from, net->places[home].image, to,
            node->x_image[j]);
    }
}

static void copy_output(const wtl_net *net, int home, int n)
{
    const wtl_place *place = &net->places[home];
    wtl_shape shape = net->shapes[home];
    wtl_reorder_to_plain(net->options.threads, n, shape, wtl_net_value(net, home), place->image,
                         wtl_net_block(net, place->copy), wtl_shape_count(shape));
}

static double clock_of(const wtl_net *net)
{
    return net->clock ? net->clock(net->clock_context) : 0.0;
}

void wtl_net_forward(wtl_net *net, int n, wtl_run_mode mode, uint64_t step)
{
    for (int e = 0; e < net->node_count; e++) {
        wtl_node *node = &net->nodes[e];
        wtl_layer_run run = wtl_net_run_of(net, node, n, mode == WTL_RUN_TRAINING, step);
        run.scratch = node->scratch[0];
        double start = clock_of(net);
        copy_inputs(net, node, n);
        node->ops->forward(node->state, &run, node->x, node->y);
        if (net->places[node->layer].copied) {
            copy_output(net, node->layer, n);
        }
        node->seconds[0] = clock_of(net) - start;
    }
}

/* What came by way of a spare block goes to the input's gradient. */
static void pass_on_gradient(const wtl_net *net, const wtl_node *node, int j, int n)
{
    int home = node->home[j], threads = net->options.threads;
    wtl_shape shape = net->shapes[home];
    float *sum = wtl_net_gradient(net, home);
    size_t image = net->places[home].image, from = node->dx_image[j];
    if (!node->copies[j]) {
        wtl_accumulate_maps(threads, n, from, sum, image, node->dx[j], from);
    } else if (node->blocked_in) {
        (node->adds[j] ? wtl_reorder_add_to_plain : wtl_reorder_to_plain)(
            threads, n, shape, node->dx[j], from, sum, image);
    } else {
        (node->adds[j] ? wtl_reorder_add_to_blocks : wtl_reorder_to_blocks)(
            threads, n, shape, node->dx[j], from, sum, image);
    }
}

static void backward_node(wtl_net *net, wtl_node *node, int n)
{
    wtl_layer_run run = wtl_net_run_of(net, node, n, true, 0);
    run.scratch = node->scratch[1];
    if (node->plan.fused != WTL_ACTIVATION_NONE && !node->plan.passes_gradient) {
        size_t count = node->blocked_out ? wtl_blocked_count(node->plan.out)
                                         : wtl_shape_count(node->plan.out);
        wtl_activation_gradient_maps(run.threads, n, count, node->y, run.y_image, node->dy,
                                     run.dy_image, node->plan.fused);
    }
    node->ops->backward(node->state, &run, node->x, node->y, node->dy, node->dx);
    for (int j = 0; j < node->input_count; j++) {
        if (node->spare[j] != WTL_NO_BLOCK) {
            pass_on_gradient(net, node, j, n);
        }
    }
}

/* But those that the layers set: they lie between gradients that they add to. */
static void clear_gradients(wtl_net *net)
{
    float *end = net->gradients + net->gradient_bytes / sizeof(float), *from = net->gradients;
    for (int e = 0; e < net->node_count; e++) {
        const wtl_node *node = &net->nodes[e];
        if (node->masked && node->masked_plan.sets_weights) {
            float *set = node->gradient[0];
            wtl_clear(net->options.threads, from, (size_t)(set - from));
            from = set + net->params[node->first_param].count;
        }
    }
    wtl_clear(net->options.threads, from, (size_t)(end - from));
}

void wtl_net_backward(wtl_net *net, int n)
{
    clear_gradients(net);
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
