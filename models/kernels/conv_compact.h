/* conv_compact.h - a convolution of the native engine some of whose filters or input channels are
 * gone as a whole, while masks are followed: a smaller dense convolution of those that are left.
 * Their maps are copied together before it and apart after it, which costs little beside the
 * products. Each group keeps as many filters as the fullest one, rounded up to whole blocks.
 */
#ifndef WTL_CONV_COMPACT_H
#define WTL_CONV_COMPACT_H

#include "conv_native.h"

/* The smaller layer; false if nothing is gone as a whole. */
bool wtl_conv_compact_geometry(const wtl_conv_native *c, const float *mask,
                               wtl_conv_geometry *small);
/* Seconds that copying takes, of all three products together; one thread, the whole batch. */
double wtl_conv_compact_copying(const wtl_conv_native *c, const wtl_conv_geometry *small);

/* Whether nothing else is gone: all weights between what is left are kept. */
bool wtl_conv_compact_is_full(const wtl_conv_native *c, const float *mask);

/* Bytes of what is made of the mask, and of scratch; SIZE_MAX if they cannot be counted. */
size_t wtl_conv_compact_bytes(const wtl_conv_geometry *g, const wtl_conv_geometry *small);
size_t wtl_conv_compact_scratch(const wtl_conv_native *c, const wtl_conv_geometry *small);
void wtl_conv_compact_make(const wtl_conv_native *c, const wtl_conv_geometry *small,
                           const float *mask, void *memory);

void wtl_conv_compact_forward(const wtl_conv_native *c, const wtl_layer_run *run,
                              const float *x, float *y);
/* But for the bias's gradient; dx may be NULL. Sets the gradients of all weights between filters and
 * channels that are left; the others' are left as they are. */
void wtl_conv_compact_backward(const wtl_conv_native *c, const wtl_layer_run *run,
                               const float *x, const float *dy, float *dx);

#endif
