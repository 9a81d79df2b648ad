/* net_private.h - what a planned net is made of; shared by net*.c alone.
 *
 * A layer of the definition becomes a *node* if something has to be computed for it: not the
 * input, not an alias (flatten), not a ReLU fused into the layer before. Its *home* is the
 * layer whose memory its output is in: its own, or that of the layer it aliases or is fused
 * into. All memory of a run is *blocks* in one arena, each alive over a span of times:
 *
 *   0 .. E-1      forward of node 0 .. E-1
 *   E             between: the caller reads outputs, fills the heads' gradients
 *   E+1 .. 2E     backward of node E-1 .. 0
 */
#ifndef WTL_NET_PRIVATE_H
#define WTL_NET_PRIVATE_H

#include "kernels/native.h"
#include "layer_ops.h"
#include "wattle/net.h"

enum { WTL_NO_BLOCK = -1, WTL_NOT_IN_NET = -1 };

typedef struct wtl_block {
    size_t bytes, offset;
    int first, last; /* times, both included */
    bool scratch;
} wtl_block;

/* Of each layer of the definition. */
typedef struct wtl_place {
    int home; /* or WTL_NOT_IN_NET */
    int node; /* or -1: nothing to compute */
    wtl_activation fused;
    /* Of layers that are their own home: */
    int value, gradient; /* blocks */
    bool trained;        /* the output depends on something that is trained */
    bool reached;        /* a head depends on the output */
    bool kept;           /* the value is still there after the forward */
    bool blocked;        /* in blocks of channels rather than NCHW */
    bool opaque;         /* and so not what NCHW would be */
    int within;          /* the concatenation whose map it is a part of, or -1 */
    size_t offset;       /* of the part, in floats */
    size_t image;        /* floats between images */
    int addend;          /* layer whose output is added to this one's, or -1 */
    bool in_sum;         /* one of the two */
    bool copied;         /* the caller sees a copy in NCHW of a map in blocks */
    int copy;            /* its block */
} wtl_place;

typedef struct wtl_node {
    int layer;
    const wtl_layer_ops *ops;
    void *state;
    wtl_layer_plan plan;
    bool backward;
    int input_count;
    wtl_shape *in; /* [input_count] */
    int *home;     /* [input_count]: of each input */
    int *spare;    /* [input_count]: block for a gradient that is added afterwards */
    bool blocked_in, blocked_out;
    bool *copies;               /* [input_count]: the input is copied to the other layout */
    int *copy_block;            /* [input_count]: of that copy */
    bool *adds;                 /* [input_count]: its gradient is added to what others wrote */
    size_t *x_image, *dx_image; /* [input_count]: floats between images */
    const float **x;            /* [input_count] */
    float **dx; /* [input_count]: NULL, the input's gradient, or the spare block */
    int saved_block, scratch_block[2]; /* of forward and backward */
    float *y, *dy;
    void *saved, *scratch[2];
    int first_param, param_count;
    float *value[WTL_MAX_LAYER_PARAMS], *gradient[WTL_MAX_LAYER_PARAMS];
    char kernel[96];
    wtl_frozen_plan frozen_plan;
    const void *frozen; /* or NULL */
    wtl_masked_plan masked_plan;
    void *masked;      /* or NULL */
    double seconds[2]; /* of the latest forward and backward under a clock */
} wtl_node;

struct wtl_net {
    wtl_netdef *def;
    wtl_net_options options;
    int main_layer;    /* the main head, or the last layer */
    wtl_shape *shapes; /* [def->layer_count] */
    wtl_place *places; /* [def->layer_count] */
    wtl_node *nodes;
    int node_count;
    wtl_param *params;
    int param_count;
    uint32_t *param_keys; /* index over the whole definition: names the random stream */
    float *values, *gradients;
    size_t value_bytes, gradient_bytes;
    wtl_head *heads;
    int head_count;
    wtl_block *blocks;
    int block_count;
    char *arena;
    size_t arena_bytes, unshared_bytes;
    char *frozen; /* of wtl_net_freeze(): each node's weights, then scratch */
    size_t frozen_bytes;
    char *masked; /* of wtl_net_follow_masks(): likewise */
    size_t masked_bytes;
    uint64_t follow_count;          /* calls of it */
    float stat_momentum;            /* < 0: each layer's own */
    double (*clock)(void *context); /* NULL: layers are not timed */
    void *clock_context;
};

/* Decide homes, fusions and nodes; needs def, options, shapes. */
wtl_status wtl_net_plan_graph(wtl_net *net, wtl_error *err);
/* Decide the layout of every map; needs the graph. */
void wtl_net_plan_layout(wtl_net *net);
/* Floats of an image of input `input` in the layout that the node works in. */
size_t wtl_net_copy_floats(const wtl_net *net, const wtl_node *node, int input);
/* Name the node's kernel for wtl_net_kernel(). */
void wtl_net_name_kernel(wtl_node *node, const char *kernel);
/* Set the layers up, then lay all memory out; needs nodes and parameters. */
wtl_status wtl_net_plan_memory(wtl_net *net, wtl_error *err);

static inline float *wtl_net_block(const wtl_net *net, int block)
{
    return block == WTL_NO_BLOCK ? NULL
                                 : (float *)(void *)(net->arena + net->blocks[block].offset);
}

/* The value and the gradient (or NULL) of a layer that is its own home: a part of a
 * concatenation's begins `offset` floats behind that. */
static inline float *wtl_net_value(const wtl_net *net, int home)
{
    const wtl_place *place = &net->places[home];
    return place->within < 0
               ? wtl_net_block(net, place->value)
               : wtl_net_block(net, net->places[place->within].value) + place->offset;
}

static inline float *wtl_net_gradient(const wtl_net *net, int home)
{
    const wtl_place *place = &net->places[home];
    if (place->within < 0) {
        return wtl_net_block(net, place->gradient);
    }
    float *whole = wtl_net_block(net, net->places[place->within].gradient);
    return whole ? whole + place->offset : NULL;
}

static inline wtl_layer_run wtl_net_run_of(const wtl_net *net, const wtl_node *node, int n,
                                           bool training, uint64_t step)
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
                           .frozen = node->frozen,
                           .masked = node->masked,
                           .x_image = node->x_image,
                           .dx_image = node->dx_image,
                           .y_image = net->places[node->layer].image,
                           .dy_image = net->places[node->layer].image,
                           .value = node->value,
                           .gradient = node->gradient};
}

#endif
