/* net.h - a network that runs: planned from a definition, then forward and backward
 * without any allocation.
 *
 * Tensors are float. Seen through this header they are NCHW, contiguous, images first.
 * All memory of a run is one arena: at inference outputs share it by liveness, in training
 * every output is kept for the backward pass.
 */
#ifndef WATTLE_NET_H
#define WATTLE_NET_H

#include "wattle/netdef.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wtl_engine {
    WTL_ENGINE_NATIVE,    /* wattle's own kernels on maps in blocks of channels */
    WTL_ENGINE_BLAS,      /* im2col and OpenBLAS */
    WTL_ENGINE_REFERENCE, /* plain loops: slow, obvious, the tests' twin */
    WTL_ENGINE_COUNT
} wtl_engine;

/* Instruction sets of the native engine's kernels. */
typedef enum wtl_isa {
    WTL_ISA_BEST, /* of those below, what the processor has */
    WTL_ISA_PLAIN,
    WTL_ISA_AVX2,
    WTL_ISA_AVX512,
    WTL_ISA_COUNT
} wtl_isa;

typedef enum wtl_activation {
    WTL_ACTIVATION_NONE,
    WTL_ACTIVATION_RELU,
    WTL_ACTIVATION_RELU6
} wtl_activation;

typedef struct wtl_net wtl_net;

typedef struct wtl_net_options {
    int batch;   /* most images in a run, >= 1 */
    int threads; /* 0: one */
    wtl_engine engine;
    wtl_isa isa;         /* of the native engine: the most it may use */
    bool no_winograd;    /* native engine: no convolution by Winograd's F(4x4,3x3), whose errors
                            are about three times larger */
    bool no_sparse;      /* native engine: frozen weights that are 0 are multiplied by, too */
    bool training;       /* plan for backward; auxiliary heads are part of the net */
    bool no_fusion;      /* keep ReLU apart from its producer (for tests) */
    bool input_gradient; /* backward also computes d loss / d input */
    bool keep_outputs;   /* no sharing of outputs: every layer's output can be looked at */
    uint64_t seed;       /* of dropout */
} wtl_net_options;

/* Plan `def` (copied) under `options`. Parameters are zero until wtl_net_init() or until
 * they are filled through wtl_net_param().
 *   WTL_E_ARG    an option makes no sense, or a net without softmax is to be trained
 *   WTL_E_SHAPE  a layer's inputs do not fit it
 *   WTL_E_RANGE  memory would overflow
 *   WTL_E_NOMEM  out of memory */
WTL_API wtl_status wtl_net_create(wtl_net **out, const wtl_netdef *def,
                                  const wtl_net_options *options,
                                  wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_net_free(wtl_net *net); /* takes NULL */

WTL_API const wtl_netdef *wtl_net_def(const wtl_net *net);
WTL_API const wtl_net_options *wtl_net_options_of(const wtl_net *net);

/* ---- parameters ---- */

typedef struct wtl_param {
    const char *name; /* layer.suffix */
    int layer;        /* index in the definition */
    wtl_param_spec spec;
    size_t count;
    float *value;
    float *gradient;   /* NULL unless training and trained */
    float *mask;       /* NULL, or 1.0f and 0.0f: weights that stay exactly 0 */
    uint64_t followed; /* 0, or: the gradient is 0 wherever the mask is, until the next call of
                          wtl_net_follow_masks() or wtl_net_forget_masks(); no two calls of the
                          former on a net give the same number */
} wtl_param;

WTL_API int wtl_net_param_count(const wtl_net *net);
WTL_API wtl_param *wtl_net_param(wtl_net *net, int index);
WTL_API wtl_param *wtl_net_find_param(wtl_net *net, const char *name); /* NULL if absent */

/* Fill every parameter by its initialiser: running_var 1, running_mean and biases as their
 * init says. Depends on seed and the parameter's index alone. */
WTL_API void wtl_net_init(wtl_net *net, uint64_t seed);

/* Copy values of the parameters both nets have (by name); WTL_E_SHAPE if sizes differ,
 * WTL_E_MISSING if `to` has one that `from` lacks. */
WTL_API wtl_status wtl_net_copy_params(wtl_net *to, wtl_net *from,
                                       wtl_error *err) WTL_MUST_CHECK;

/* A new inference net with every batch norm that directly follows a conv, depthwise or
 * dense layer (and is its only reader) folded into that layer's weights and bias. */
WTL_API wtl_status wtl_net_fold(wtl_net **out, wtl_net *net, const wtl_net_options *options,
                                wtl_error *err) WTL_MUST_CHECK;

struct wtl_kernel_costs; /* kernel_costs.h */

/* Prepare an inference net for many runs with the weights it has now: each layer chooses its
 * kernel by them (zeros may pay: by `costs`, or with NULL by the defaults) and lays them out
 * for it. After a weight or bias was changed,
 * call it again, or wtl_net_thaw(); until then runs may use the old values.
 *   WTL_E_ARG    the net was planned for training
 *   WTL_E_NOMEM  out of memory; the net runs as before */
WTL_API wtl_status wtl_net_freeze(wtl_net *net, const struct wtl_kernel_costs *costs,
                                  wtl_error *err) WTL_MUST_CHECK;
/* Back to weights that may change between runs. */
WTL_API void wtl_net_thaw(wtl_net *net);

/* Whether layer `index` of an inference net has a kernel that skips weights that are 0, should
 * wtl_net_freeze() choose it. Such are a dense layer and a convolution, but for one that reads an
 * image of few channels. */
WTL_API bool wtl_net_can_skip(const wtl_net *net, int index);

/* Prepare a net for many training steps with the masks it has now: each layer chooses kernels
 * that leave out what is gone, where that is faster. Gradients of weights that a mask has at 0
 * need not be computed then: they are 0, or what they are without this call. Until the masks are
 * followed anew or forgotten, a weight that was gone when they were followed must stay 0 (an
 * optimiser sees to that). What is chosen depends on the masks and the net's options alone.
 * A net without masks, or of another engine than the native one, runs as before.
 *   WTL_E_ARG    the net was not planned for training
 *   WTL_E_NOMEM  out of memory; the masks are not followed */
WTL_API wtl_status wtl_net_follow_masks(wtl_net *net, wtl_error *err) WTL_MUST_CHECK;
/* Back to masks that may change between steps. */
WTL_API void wtl_net_forget_masks(wtl_net *net);

/* ---- running ---- */

/* Where to put the images: [batch, C, H, W]. Kept by forward and backward. */
WTL_API float *wtl_net_input(wtl_net *net);

/* A head: a softmax layer. */
typedef struct wtl_head {
    const char *name;
    bool aux;
    float weight;             /* in the loss */
    int classes;              /* K */
    const float *logits;      /* [n, K]: what goes into the softmax */
    const float *probability; /* [n, K] */
    float *gradient; /* [n, K]: d loss / d logits, filled by the caller before backward;
                           NULL unless training */
} wtl_head;

WTL_API int wtl_net_head_count(const wtl_net *net);
WTL_API const wtl_head *wtl_net_head(const wtl_net *net, int index);
/* The head that is not auxiliary, or NULL in a net without softmax. */
WTL_API const wtl_head *wtl_net_main_head(const wtl_net *net);

/* The output of the net's last (main) layer, [n, ...], and its shape. */
WTL_API const float *wtl_net_output(const wtl_net *net, wtl_shape *shape);

/* Output [n, ...] of layer `index` after the last forward (and before the backward): after its
 * ReLU where one is fused, or NULL where the arena has reused the memory (see keep_outputs) or
 * the layer is not part of the net. */
WTL_API const float *wtl_net_layer_output(const wtl_net *net, int index, wtl_shape *shape);

typedef enum wtl_run_mode {
    WTL_RUN_INFERENCE, /* running statistics, no dropout */
    WTL_RUN_TRAINING   /* batch statistics (running ones updated), dropout; training nets */
} wtl_run_mode;

/* Run the first n images of the input through the net, 1 <= n <= batch. `step` keys the
 * dropout masks: same seed and step, same masks. */
WTL_API void wtl_net_forward(wtl_net *net, int n, wtl_run_mode mode, uint64_t step);

/* After a WTL_RUN_TRAINING forward of n images and with each head's gradient filled:
 * compute parameter gradients (set, not added) and, when planned with input_gradient, d loss /
 * d input. */
WTL_API void wtl_net_backward(wtl_net *net, int n);

/* d loss / d input [n,C,H,W] of the last backward; NULL unless planned. */
WTL_API const float *wtl_net_input_gradient(const wtl_net *net);

/* Momentum used by batch norm's running statistics in the next forward passes; a negative
 * value returns to each layer's own. Recalibration runs batch k = 1, 2, ... in training
 * mode with momentum 1/k: the running statistics become plain averages. */
WTL_API void wtl_net_set_stat_momentum(wtl_net *net, float momentum);

/* Time every layer in the next runs by this monotonic clock in seconds; NULL: no longer. */
WTL_API void wtl_net_set_clock(wtl_net *net, double (*seconds)(void *context), void *context);

/* What layer `index` took in the latest forward or backward under a clock. 0 for a layer that
 * does not run by itself: where it is fused into another, its time is in the other's. */
WTL_API double wtl_net_layer_seconds(const wtl_net *net, int index, bool backward);

/* True if every value of the n images' main output is finite. */
WTL_API bool wtl_net_output_finite(const wtl_net *net, int n);

/* ---- what was planned ---- */

typedef struct wtl_net_memory {
    size_t parameters;  /* bytes of values */
    size_t gradients;   /* of parameters */
    size_t activations; /* arena: outputs, their gradients, what layers save, scratch */
    size_t unshared;    /* what the arena would take without sharing */
    size_t frozen;      /* weights laid out anew by wtl_net_freeze(), and its scratch */
    size_t masked;      /* what wtl_net_follow_masks() made, and its scratch */
} wtl_net_memory;

WTL_API wtl_net_memory wtl_net_memory_of(const wtl_net *net);

/* How layer `index` runs, for `wattle info --kernels`: e.g. "im2col+gemm, relu fused". */
WTL_API const char *wtl_net_kernel(const wtl_net *net, int index);

#ifdef __cplusplus
}
#endif
#endif
