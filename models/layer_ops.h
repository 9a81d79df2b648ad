/* layer_ops.h - what every kind of layer provides. One const table a kind, in its own file
 * under layers/; layers/registry.c lists them in the order of wtl_layer_kind.
 *
 * Plan, then run: shape(), params() and setup() check and size everything; forward() and
 * backward() neither allocate nor fail.
 */
#ifndef WTL_LAYER_OPS_H
#define WTL_LAYER_OPS_H

#include "kernels/native.h"
#include "wattle/kernel_costs.h"
#include "wattle/net.h"
#include "wattle/netdef.h"

/* How an option of the text reaches a field of wtl_layer_def.as. */
typedef enum wtl_option_type {
    WTL_OPTION_INT,      /* int, low..high */
    WTL_OPTION_CHANNELS, /* int: N, N*width, N*max(1,width), M*(N*width) or `classes` */
    WTL_OPTION_FLOAT,    /* float, low..high */
    WTL_OPTION_BOOL,     /* bool: yes or no */
    WTL_OPTION_PAIR,     /* int[2]: A or AxB, each low..high */
    WTL_OPTION_PAD,      /* int[4]: A, AxB or T,B,L,R, each low..high */
    WTL_OPTION_INIT,     /* wtl_init */
    WTL_OPTION_WORD      /* bool: whether the second of two words was given; words "a|b" */
} wtl_option_type;

typedef struct wtl_layer_option {
    const char *name; /* NULL ends the table */
    wtl_option_type type;
    size_t offset;            /* of the field in wtl_layer_def */
    double low, high;         /* allowed range of the numbers */
    const char *default_text; /* NULL: the option is required; may be out of range, with a
                                 meaning that check() resolves (a pool's stride 0) */
    const char *words;        /* of WTL_OPTION_WORD */
} wtl_layer_option;

/* What a layer is told when the net is planned. */
typedef struct wtl_layer_plan {
    const wtl_shape *in; /* one per input */
    int input_count;
    wtl_shape out;
    int batch; /* most images in a run */
    int threads;
    wtl_engine engine;
    const wtl_native *native; /* of the native engine; else NULL */
    /* Maps in blocks of 16 channels (native.h) rather than NCHW; only if ops->blocks says that
     * the layer can. Both are equal but for a conv, which may read a plain image. */
    bool blocked_in, blocked_out;
    bool no_winograd;     /* only kernels that sum in the usual way */
    bool no_sparse;       /* frozen weights: only kernels that multiply by zeros, too */
    bool training;        /* whether backward will be called */
    bool input_gradient;  /* whether backward will be asked for dx */
    bool adds;            /* conv in blocks: the last input is a map that is added to y */
    wtl_activation fused; /* applied to y at the end of forward, only if ops->fuses; its
                              gradient is the net's business, not the layer's */
    /* Filled in by setup(): */
    size_t scratch_bytes; /* working memory, shared between layers, contents not kept */
    size_t saved_bytes;   /* kept from forward to backward (argmax, batch statistics, ...) */
    bool passes_gradient; /* backward applies the fused activation's gradient itself */
    const char *kernel;   /* static text for `wattle info --kernels`; NULL: the kind's word */
} wtl_layer_plan;

/* What a layer needs for inference with frozen weights. */
typedef struct wtl_frozen_plan {
    size_t bytes;         /* of what it makes of the weights; 0: nothing */
    size_t scratch_bytes; /* in place of the plan's */
    const char *kernel;   /* NULL: as before */
} wtl_frozen_plan;

/* What a layer needs while the masks of its parameters are followed. */
typedef struct wtl_masked_plan {
    size_t bytes;         /* of what it makes of the masks; 0: nothing to gain */
    size_t scratch_bytes; /* in place of the plan's, forward and backward */
    bool sets_weights;    /* backward writes the kept gradients of the first parameter, rather
                             than adding to all of them */
    char kernel[64];
} wtl_masked_plan;

/* Name the kernels of the products, each sparse or by `dense`. */
void wtl_name_masked(wtl_masked_plan *plan, bool forward, bool weights, bool data,
                     const char *dense);

/* What a layer is given in a run. */
typedef struct wtl_layer_run {
    int n; /* images in this run, 1..plan.batch */
    int threads;
    wtl_engine engine;
    bool training;       /* dropout on, batch statistics used and running ones updated */
    float stat_momentum; /* overrides batch norm's momentum when >= 0 (recalibration) */
    uint64_t seed, step; /* with `layer`: the key of dropout's random numbers */
    int layer;           /* index in the net */
    void *scratch;
    void *saved;
    const void *frozen;     /* what freeze() made of the weights; NULL: they may change */
    void *masked;           /* what follow() made of the masks; NULL: they are not followed */
    float *const *value;    /* the layer's parameters, in the order of params() */
    float *const *gradient; /* backward adds to these; NULL entries for statistics */
    /* Floats between the images of each map; a dx may lie elsewhere than its x. */
    const size_t *x_image, *dx_image; /* one per input */
    size_t y_image, dy_image;
} wtl_layer_run;

typedef struct wtl_layer_ops {
    wtl_layer_kind kind;
    const char *word;
    int least_inputs, most_inputs;   /* most 0: no limit */
    const wtl_layer_option *options; /* ended by a NULL name; NULL: none */
    size_t state_bytes;              /* of the private struct filled by setup() */
    bool fuses;                      /* forward applies plan.fused to y */
    bool needs_x;                    /* backward reads x */
    bool needs_y; /* backward reads y (a fused activation makes the net keep y) */
    bool alias;   /* y is x: no buffer, forward and backward never called (flatten) */
    bool alias_at_inference; /* the same in a net planned without training (dropout) */

    /* Options that cannot be checked one by one ("kernel or global"); NULL: none. The
     * message has no place in it, the caller prepends file:line. */
    wtl_status (*check)(wtl_layer_def *def, wtl_error *err);
    /* The message names sizes, not the layer; the caller prepends the layer's name. */
    wtl_status (*shape)(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                        wtl_shape *out, wtl_error *err);
    int (*params)(const wtl_layer_def *def, const wtl_shape *in,
                  wtl_param_spec specs[WTL_MAX_LAYER_PARAMS]); /* NULL: none */
    /* Whether the layer can run on maps in blocks of channels; NULL: it cannot. */
    bool (*blocks)(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                   wtl_shape out);
    /* Of layers that write blocks whatever they are given: whether it is best to read an NCHW
     * input of this shape as it is. NULL for the others, which follow their inputs. */
    bool (*reads_plain)(const wtl_layer_def *def, wtl_shape in);
    uint64_t (*macs)(const wtl_layer_def *def, wtl_shape in, wtl_shape out); /* NULL: 0 */
    /* Fill `state` (zeroed, state_bytes) and the plan's last three fields. Owns no memory.
     * NULL: nothing to set up. */
    wtl_status (*setup)(void *state, const wtl_layer_def *def, wtl_layer_plan *plan,
                        wtl_error *err);
    /* Whether plan_frozen() may choose a kernel that skips zeros; NULL: never. */
    bool (*can_skip)(const void *state);
    /* For inference with weights that stay as they are: choose the kernel by the values in
     * run->value (`state` keeps the choice) and say what it needs; then fill `frozen`. Both NULL:
     * nothing to gain. */
    void (*plan_frozen)(void *state, const wtl_layer_run *run, const wtl_kernel_costs *costs,
                        wtl_frozen_plan *plan);
    void (*freeze)(const void *state, const wtl_layer_run *run, void *frozen);
    /* While a mask of the first parameter, [its count], stays as it is: choose kernels that leave
     * out what is gone (`state` keeps the choice), and say what they need; then fill `masked`,
     * which the layer may change in its runs. Both NULL: nothing to gain. */
    void (*plan_masked)(void *state, const wtl_layer_run *run, const float *mask,
                        wtl_masked_plan *plan);
    void (*follow)(const void *state, const float *mask, void *masked);
    void (*forward)(const void *state, const wtl_layer_run *run, const float *const *x,
                    float *y);
    /* Overwrites dx[i] unless it is NULL; adds to run->gradient. dy has the fused
     * activation's gradient applied already, unless plan.passes_gradient. */
    void (*backward)(const void *state, const wtl_layer_run *run, const float *const *x,
                     const float *y, const float *dy, float *const *dx);
} wtl_layer_ops;

const wtl_layer_ops *wtl_layer_ops_of(wtl_layer_kind kind);

/* One variable a file of layers/. */
extern const wtl_layer_ops wtl_input_ops, wtl_conv_ops, wtl_depthwise_ops, wtl_dense_ops,
    wtl_maxpool_ops, wtl_avgpool_ops, wtl_lrn_ops, wtl_batchnorm_ops, wtl_relu_ops,
    wtl_relu6_ops, wtl_dropout_ops, wtl_concat_ops, wtl_add_ops, wtl_flatten_ops,
    wtl_softmax_ops, wtl_upsample_ops, wtl_deconv_ops, wtl_space_to_depth_ops,
    wtl_depth_to_space_ops;

#endif
