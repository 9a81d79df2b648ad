/* registry.c - the kinds of layers, in the order of wtl_layer_kind. */
#include "layer_ops.h"

static const wtl_layer_ops *const registry[] = {
    [WTL_LAYER_INPUT] = &wtl_input_ops,
    [WTL_LAYER_CONV] = &wtl_conv_ops,
    [WTL_LAYER_DEPTHWISE] = &wtl_depthwise_ops,
    [WTL_LAYER_DENSE] = &wtl_dense_ops,
    [WTL_LAYER_MAXPOOL] = &wtl_maxpool_ops,
    [WTL_LAYER_AVGPOOL] = &wtl_avgpool_ops,
    [WTL_LAYER_LRN] = &wtl_lrn_ops,
    [WTL_LAYER_BATCHNORM] = &wtl_batchnorm_ops,
    [WTL_LAYER_RELU] = &wtl_relu_ops,
    [WTL_LAYER_RELU6] = &wtl_relu6_ops,
    [WTL_LAYER_DROPOUT] = &wtl_dropout_ops,
    [WTL_LAYER_CONCAT] = &wtl_concat_ops,
    [WTL_LAYER_ADD] = &wtl_add_ops,
    [WTL_LAYER_FLATTEN] = &wtl_flatten_ops,
    [WTL_LAYER_SOFTMAX] = &wtl_softmax_ops,
    [WTL_LAYER_UPSAMPLE] = &wtl_upsample_ops,
    [WTL_LAYER_DECONV] = &wtl_deconv_ops,
    [WTL_LAYER_SPACE_TO_DEPTH] = &wtl_space_to_depth_ops,
    [WTL_LAYER_DEPTH_TO_SPACE] = &wtl_depth_to_space_ops,
};

_Static_assert(sizeof registry / sizeof registry[0] == WTL_LAYER_KIND_COUNT,
               "every kind of layer has its table here");

const wtl_layer_ops *wtl_layer_ops_of(wtl_layer_kind kind)
{
    return (unsigned)kind < WTL_LAYER_KIND_COUNT ? registry[kind] : NULL;
}
