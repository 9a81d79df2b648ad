/* netdef.h - what a network is: layers by name, kind, inputs and options, without weights.
 *
 * The text form has one statement a line; '#' starts a comment.
 *
 *   net lenet5
 *   classes 10                                   # what `out=classes` means
 *   width 1.0 multiple=8                         # optional: what `out=32*width` means
 *   input data 1x28x28                           # C x H x W; the input is a layer, too
 *   preprocess order=rgb resize=none scale=0.00392157 mean=0.286 std=0.353
 *   conv1 = conv data out=20 kernel=5            # name = kind input... option=value...
 *   pool1 = maxpool conv1 kernel=2 stride=2
 *   ...
 *   prob  = softmax ip2
 *
 * Options per kind are listed beside each struct below, required ones marked with *.
 * KxK sizes are written `kernel=3` or `kernel=3x5` (height x width); padding `pad=1`,
 * `pad=1x2` (height x width) or `pad=0,1,0,1` (top,bottom,left,right).
 *
 * Where `out` is a number of channels it can follow the width: `32*width`, never narrowed
 * `1280*max(1,width)`, and as a multiple of a scaled width, `6*(32*width)`. N*width is
 * rounded to the nearest multiple, at least one of them and no less than 90 % of N*width
 * (as in the MobileNets); then comes the outer factor.
 *
 * preprocess: order=rgb|bgr resize=none|warp:SIDE|short:SIDE scale=1 mean=0 std=1, mean and
 * std once or once a channel; see preprocess.h.
 *
 * Names have letters, digits and _-./ and at most 127 of them; a text has at most 10,000
 * layers and 1 MiB. An input stands above its reader, so there are no cycles.
 *
 * Images are counted apart: a shape is one image's C x H x W.
 */
#ifndef WATTLE_NETDEF_H
#define WATTLE_NETDEF_H

#include "wattle/preprocess.h"
#include "wattle/status.h"

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_shape {
    int c, h, w;
} wtl_shape;

static inline size_t wtl_shape_count(wtl_shape s)
{
    return (size_t)s.c * (size_t)s.h * (size_t)s.w;
}

typedef enum wtl_layer_kind {
    WTL_LAYER_INPUT,
    WTL_LAYER_CONV,
    WTL_LAYER_DEPTHWISE,
    WTL_LAYER_DENSE,
    WTL_LAYER_MAXPOOL,
    WTL_LAYER_AVGPOOL,
    WTL_LAYER_LRN,
    WTL_LAYER_BATCHNORM,
    WTL_LAYER_RELU,
    WTL_LAYER_RELU6,
    WTL_LAYER_DROPOUT,
    WTL_LAYER_CONCAT,
    WTL_LAYER_ADD,
    WTL_LAYER_FLATTEN,
    WTL_LAYER_SOFTMAX,
    WTL_LAYER_UPSAMPLE,
    WTL_LAYER_DECONV,
    WTL_LAYER_SPACE_TO_DEPTH,
    WTL_LAYER_DEPTH_TO_SPACE,
    WTL_LAYER_KIND_COUNT
} wtl_layer_kind;

/* Text: const:V  gauss:SD  uniform:A (+-A)  xavier (+-sqrt(3/fan_in), Caffe)
 *       msra (SD sqrt(2/fan_in))  msra-out (SD sqrt(2/fan_out), torchvision's ResNet)
 *       torch (+-1/sqrt(fan_in), torch's default for weights and biases) */
typedef enum wtl_init_kind {
    WTL_INIT_CONST,
    WTL_INIT_GAUSS,
    WTL_INIT_UNIFORM,
    WTL_INIT_XAVIER,
    WTL_INIT_MSRA,
    WTL_INIT_MSRA_OUT,
    WTL_INIT_TORCH
} wtl_init_kind;

typedef struct wtl_init {
    wtl_init_kind kind;
    float value; /* of const, gauss and uniform; else 0 */
} wtl_init;

/* conv: *out *kernel stride=1 pad=0 dilation=1 groups=1 bias=yes init=msra bias_init=const:0
 *   y[k,p,q] = b[k] + sum over c,r,s of w[k,c,r,s] * x[c, p*stride+r*dilation-pad, ...]
 *   P = floor((H + top + bottom - dilation*(R-1) - 1) / stride) + 1
 * deconv takes the same options without dilation and groups; P = (H-1)*stride - top -
 * bottom + R, w [C,K,R,S] as in torch's ConvTranspose2d. */
typedef struct wtl_conv_options {
    int out;
    int kernel[2]; /* height, width */
    int stride[2];
    int pad[4]; /* top, bottom, left, right */
    int dilation[2];
    int groups;
    bool bias;
    wtl_init init, bias_init;
} wtl_conv_options;

/* depthwise: as conv with groups = C = out, so it takes neither option; w [C,1,R,S]. */

/* dense: *out bias=yes init=xavier bias_init=const:0      w [out, C*H*W] */
typedef struct wtl_dense_options {
    int out;
    bool bias;
    wtl_init init, bias_init;
} wtl_dense_options;

/* maxpool, avgpool: kernel (* unless global or adaptive) stride=kernel pad=0 ceil=no
 *   global=no (window = whole map)
 *   avgpool alone: count_pad=yes (padding counts in the divisor), adaptive=HxW
 *   (torch's AdaptiveAvgPool2d: window i covers floor(i*H/P) .. ceil((i+1)*H/P)-1).
 * Sizes: floor or ceil of (H + top + bottom - R)/stride, + 1; with ceil, the last window is
 * dropped if it would start at or beyond H + top (Caffe's and torch's rule).
 * Average: the divisor counts the window clipped to the padded map (count_pad) or to the
 * map itself. Max ignores padding. */
typedef struct wtl_pool_options {
    int kernel[2];
    int stride[2];
    int pad[4];
    bool ceil;
    bool global;
    bool count_pad;
    int adaptive[2]; /* 0,0: not adaptive */
} wtl_pool_options;

/* lrn: size=5 alpha=1e-4 beta=0.75 k=1 (across channels; alpha is divided by size)
 *   y = x / (k + alpha/size * sum over a window of `size` channels of x^2)^beta */
typedef struct wtl_lrn_options {
    int size;
    float alpha, beta, k;
} wtl_lrn_options;

/* batchnorm: eps=1e-5 momentum=0.1 affine=yes init=const:1
 *   running = (1 - momentum) * running + momentum * batch (torch's convention; the running
 *   variance takes the unbiased batch variance) */
typedef struct wtl_batchnorm_options {
    float eps, momentum;
    bool affine;   /* scale and shift */
    wtl_init init; /* of the scale */
} wtl_batchnorm_options;

/* dropout: rate=0.5; training scales kept values by 1/(1-rate), inference passes through */
typedef struct wtl_dropout_options {
    float rate;
} wtl_dropout_options;

/* softmax: weight=1 aux=no; a head: probabilities at inference, cross-entropy in training
 * with loss weight `weight`; an auxiliary head exists in training only. No layer reads a
 * head: its gradient is that of the loss alone. */
typedef struct wtl_softmax_options {
    float weight;
    bool aux;
} wtl_softmax_options;

/* upsample: *factor mode=nearest|bilinear (half-pixel centres, torch align_corners=False)
 * space_to_depth, depth_to_space: *factor (torch's pixel_unshuffle and pixel_shuffle) */
typedef struct wtl_resample_options {
    int factor;
    bool bilinear;
} wtl_resample_options;

/* concat: zeros=0; the channels of all inputs, then `zeros` channels of zeros (ResNet's
 * shortcut without parameters where the number of channels grows) */
typedef struct wtl_concat_options {
    int zeros;
} wtl_concat_options;

/* relu, relu6, add (two or more inputs), flatten: no options. */

typedef struct wtl_layer_def {
    char *name;
    wtl_layer_kind kind;
    int line;    /* in the text it came from, 0 if none */
    int *inputs; /* indices of earlier layers */
    int input_count;
    union {
        wtl_conv_options conv; /* conv, depthwise, deconv */
        wtl_dense_options dense;
        wtl_pool_options pool; /* maxpool, avgpool */
        wtl_lrn_options lrn;
        wtl_batchnorm_options batchnorm;
        wtl_dropout_options dropout;
        wtl_softmax_options softmax;
        wtl_concat_options concat;
        wtl_resample_options resample; /* upsample, space_to_depth, depth_to_space */
    } as;
} wtl_layer_def;

typedef struct wtl_netdef {
    char *name;
    int classes; /* 0 when the text has no `classes` line */
    wtl_preprocess preprocess;
    wtl_shape input;
    wtl_layer_def *layers; /* in order: inputs come before their readers; [0] is the input */
    int layer_count;
} wtl_netdef;

/* Changes made while reading the text. Zero means: as the text says. */
typedef struct wtl_netdef_options {
    double width; /* the width multiplier; refused if the text has no `width` line */
    int classes;  /* refused if the text has no `classes` line */
} wtl_netdef_options;

/* Read `length` bytes of text; `file` names it in messages ("alexnet.net:12: ...").
 * options may be NULL. Everything but shapes is checked here (names, kinds, options,
 * ranges, inputs); shapes by wtl_netdef_shapes().
 *   WTL_E_FORMAT  with file:line and what was expected
 *   WTL_E_ARG     an option in `options` does not apply to this text
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_netdef_parse(wtl_netdef **out, const char *text, size_t length,
                                    const char *file, const wtl_netdef_options *options,
                                    wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_netdef_free(wtl_netdef *def); /* takes NULL */

/* The canonical text of `def`: widths and classes resolved, defaults left out. Reading it
 * back gives an equal definition. Freed by wtl_free(); NULL when memory is short. */
WTL_API char *wtl_netdef_text(const wtl_netdef *def) WTL_MUST_CHECK;

/* A deep copy; NULL when memory is short. */
WTL_API wtl_netdef *wtl_netdef_copy(const wtl_netdef *def) WTL_MUST_CHECK;

/* Index of the layer called `name`, or -1. */
WTL_API int wtl_netdef_find(const wtl_netdef *def, const char *name);

/* shapes[layer_count] := the output shape of each layer for one image.
 *   WTL_E_SHAPE  a layer's inputs do not fit it; names the layer and the sizes */
WTL_API wtl_status wtl_netdef_shapes(const wtl_netdef *def, wtl_shape *shapes,
                                     wtl_error *err) WTL_MUST_CHECK;

/* keep[layer_count] := which layers the inference network has: those that the main head
 * (the last softmax that is not auxiliary, else the last layer) depends on. Returns the
 * index of that head. */
WTL_API int wtl_netdef_inference_layers(const wtl_netdef *def, bool *keep);

/* The word of a kind in the text, for example "conv". */
WTL_API const char *wtl_layer_kind_name(wtl_layer_kind kind);

/* Multiply-accumulates of one layer for one image: conv, depthwise, deconv, dense count
 * (biases do not); others 0. `in` is the shape of the first input, `out` the layer's. */
WTL_API uint64_t wtl_layer_macs(const wtl_layer_def *layer, wtl_shape in, wtl_shape out);

typedef enum wtl_param_role {
    WTL_PARAM_WEIGHT, /* the prunable ones */
    WTL_PARAM_BIAS,
    WTL_PARAM_SCALE,        /* batch norm's gamma */
    WTL_PARAM_SHIFT,        /* batch norm's beta */
    WTL_PARAM_RUNNING_MEAN, /* statistics: not trained */
    WTL_PARAM_RUNNING_VAR
} wtl_param_role;

enum { WTL_MAX_LAYER_PARAMS = 4, WTL_MAX_RANK = 4 };

typedef struct wtl_param_spec {
    const char *suffix; /* "weight", "bias", "running_mean", ...: the name is layer.suffix */
    wtl_param_role role;
    int rank;
    int dims[WTL_MAX_RANK];
    int fan_in, fan_out; /* for the initialiser */
    wtl_init init;
} wtl_param_spec;

/* Parameters of a layer whose inputs have the shapes in[input_count]; returns their count.
 * batchnorm: weight, bias (if affine), running_mean, running_var. */
WTL_API int wtl_layer_params(const wtl_layer_def *layer, const wtl_shape *in,
                             wtl_param_spec specs[WTL_MAX_LAYER_PARAMS]);

/* Totals of the inference network, auxiliary heads apart. Parameters count what is trained
 * (weights, biases, scales, shifts), as papers and torchvision do.
 *   WTL_E_SHAPE, WTL_E_NOMEM */
WTL_API wtl_status wtl_netdef_totals(const wtl_netdef *def, uint64_t *parameters,
                                     uint64_t *macs, wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
