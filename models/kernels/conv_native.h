/* conv_native.h - a convolution on maps in blocks (native.h) by the kernels that suit it: direct
 * (conv_direct.h), Winograd's F(4x4,3x3) (conv_winograd.h) or, for frozen weights many of which
 * are 0, sparse (conv_sparse.h). The three products are those of conv_kernels.h.
 */
#ifndef WTL_CONV_NATIVE_H
#define WTL_CONV_NATIVE_H

#include "conv_direct.h"
#include "conv_masked.h"
#include "conv_sparse.h"
#include "layer_ops.h"

typedef enum wtl_conv_method {
    WTL_CONV_DIRECT,
    WTL_CONV_WINOGRAD,
    WTL_CONV_SPARSE
} wtl_conv_method;

typedef struct wtl_conv_native {
    wtl_conv_geometry geometry; /* of the whole layer; direct.geometry may be flattened */
    const wtl_native *native;
    wtl_direct direct;
    int threads, batch;
    wtl_activation fused;
    bool has_bias;
    bool adds;     /* x[1] to y, at inference */
    bool winograd; /* in the three dense products */
    bool wants_data;
    wtl_conv_method frozen; /* chosen for the weights at hand */
    bool no_winograd;
    wtl_conv_masked masked;    /* and for the mask: kept weights, */
    bool compacts;             /* or, if this is set, */
    wtl_conv_geometry compact; /* kept filters and channels (conv_compact.h) */
    size_t dense_scratch;      /* bytes, of the dense products */
    wtl_sparse_form form;      /* if that is sparse */
    bool plain;                /* the input is NCHW */
    bool no_sparse;            /* when frozen */
    size_t packed;             /* floats of scratch for packed filters */
} wtl_conv_native;

/* Sets plan->scratch_bytes and plan->kernel. */
void wtl_conv_native_setup(wtl_conv_native *c, const wtl_conv_geometry *g, bool has_bias,
                           wtl_layer_plan *plan);

/* As wtl_layer_ops has them. */
bool wtl_conv_native_can_skip(const wtl_conv_native *c);
void wtl_conv_native_plan_frozen(wtl_conv_native *c, const wtl_layer_run *run,
                                 const wtl_kernel_costs *costs, wtl_frozen_plan *plan);
void wtl_conv_native_freeze(const wtl_conv_native *c, const wtl_layer_run *run, void *frozen);
void wtl_conv_native_plan_masked(wtl_conv_native *c, const wtl_layer_run *run,
                                 const float *mask, wtl_masked_plan *plan);
void wtl_conv_native_follow(const wtl_conv_native *c, const float *mask, void *masked);
void wtl_conv_native_forward(const wtl_conv_native *c, const wtl_layer_run *run,
                             const float *const *inputs, float *y);
/* dx may be NULL. */
void wtl_conv_native_weights(const wtl_conv_native *c, const wtl_layer_run *run,
                             wtl_const_map x, wtl_const_map dy);
void wtl_conv_native_data(const wtl_conv_native *c, const wtl_layer_run *run, wtl_const_map dy,
                          wtl_map dx);
void wtl_conv_native_backward(const wtl_conv_native *c, const wtl_layer_run *run,
                              const float *x, const float *dy, float *dx);

#endif
