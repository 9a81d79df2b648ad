/* from_net.h - a workload from a network: the one place where energy knows what a net is.
 *
 * The layers are the conv, depthwise, deconv and dense layers of the inference network, in
 * order, numbered from 1. What hardware folds or fuses into such a layer is counted with it:
 * its ofmap is what is left after the batch norm and the ReLU that follow it and are the only
 * readers. Its ifmap is the tensor that it reads, after pooling, normalisation or joins.
 * Dropout and flatten move nothing at inference and are looked through, so that a dense layer
 * is a filter that covers the map before it was flattened.
 *
 * A deconv is counted as the convolution that it equals: stride - 1 zeros between the values of
 * its input, stride 1, padding kernel - 1 - pad. These zeros are zeros of the ifmap even where
 * activations were not measured.
 */
#ifndef WATTLE_FROM_NET_H
#define WATTLE_FROM_NET_H

#include "wattle/net.h"
#include "wattle/workload.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_from_net_options {
    int batch; /* images that hardware takes at once, >= 1 */
    int bits;  /* of all values; 0: 16 */
} wtl_from_net_options;

/* The workload of `def`: shapes, no zeros.
 *   WTL_E_ARG    the net has no layer that computes, or an option makes no sense
 *   WTL_E_SHAPE  a layer's inputs do not fit it, or a workload cannot say its sizes
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_workload_from_netdef(wtl_workload *out, const wtl_netdef *def,
                                            const wtl_from_net_options *options,
                                            wtl_error *err) WTL_MUST_CHECK;

/* The same with the zeros among the weights of `net`. Activations are not looked at. */
WTL_API wtl_status wtl_workload_from_net(wtl_workload *out, wtl_net *net,
                                         const wtl_from_net_options *options,
                                         wtl_error *err) WTL_MUST_CHECK;

/* ---- zeros among activations ---- */

/* Counts the zeros of every input and output map of the workload's layers over a sample of
 * images that its owner runs through a net:
 *
 *   create; for each batch: wtl_net_forward(net, n, WTL_RUN_INFERENCE, 0) and add(n); apply */
typedef struct wtl_zero_counter wtl_zero_counter;

/* `net` is kept and must outlive the counter.
 *   WTL_E_ARG  the net was not planned with keep_outputs and without training
 *   WTL_E_NOMEM, and what wtl_workload_from_net() returns */
WTL_API wtl_status wtl_zero_counter_create(wtl_zero_counter **out, wtl_net *net,
                                           wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_zero_counter_free(wtl_zero_counter *counter); /* takes NULL */

/* Add the n images of the net's last forward. */
WTL_API void wtl_zero_counter_add(wtl_zero_counter *counter, int n);

typedef struct wtl_zero_share {
    double mean;      /* over images, of the share of zeros in a map: 0..1 */
    double deviation; /* standard deviation over images (n - 1); 0 with one image */
} wtl_zero_share;

WTL_API long wtl_zero_counter_images(const wtl_zero_counter *counter);
/* Of the layer `layer` of the workload, counted from 0; zeros before the first add. */
WTL_API wtl_zero_share wtl_zero_counter_ifmap(const wtl_zero_counter *counter, int layer);
WTL_API wtl_zero_share wtl_zero_counter_ofmap(const wtl_zero_counter *counter, int layer);

/* Set the zeros of all maps of `workload`, which must come from the same network: mean share
 * times the values of its batch, to the nearest whole zero.
 *   WTL_E_ARG    no image was added
 *   WTL_E_SHAPE  the workload has other layers */
WTL_API wtl_status wtl_zero_counter_apply(const wtl_zero_counter *counter,
                                          wtl_workload *workload,
                                          wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
