/* native.h - wattle's own kernels, compiled for several instruction sets and chosen once, when a
 * net is planned, by what the processor has.
 *
 * Inside a net they work on maps in *blocks* of 16 channels (NCHW16c):
 *
 *   value (n, c, h, v) is data[n*image + ((c/16*H + h)*W + v)*16 + c%16]
 *
 * `image` is the distance between images in floats: ceil(C/16)*16*H*W, or more where the map
 * is a part of a concatenation. The lanes of channels beyond C hold 0 and stay 0. Data is
 * aligned to 64 bytes.
 */
#ifndef WTL_NATIVE_H
#define WTL_NATIVE_H

#include "wattle/net.h"

enum { WTL_BLOCK_CHANNELS = 16 };

/* A family a file of native/: its functions, in a table of type wtl_FAMILY_kernels that its
 * header declares. */
#define WTL_NATIVE_FAMILIES(EACH)                                                              \
    EACH(tile)                                                                                 \
    EACH(reorder)                                                                              \
    EACH(winograd)                                                                             \
    EACH(pool)                                                                                 \
    EACH(sparse)                                                                               \
    EACH(lrn)                                                                                  \
    EACH(batchnorm)                                                                            \
    EACH(depthwise)                                                                            \
    EACH(dense)                                                                                \
    EACH(sparse_dense)                                                                         \
    EACH(masked)

typedef struct wtl_native {
    wtl_isa isa;
#define WTL_MEMBER(family) const struct wtl_##family##_kernels *family;
    WTL_NATIVE_FAMILIES(WTL_MEMBER)
#undef WTL_MEMBER
} wtl_native;

/* The kernels for `isa`, or the best for this processor up to it. */
const wtl_native *wtl_native_of(wtl_isa most);

/* Whether an output of so many floats is best written past the caches, which do not hold it. */
static inline bool wtl_streams(size_t floats)
{
    return floats > ((size_t)3 << 20);
}

/* Floats of an image of `shape` in blocks. */
static inline size_t wtl_blocked_count(wtl_shape shape)
{
    size_t blocks = ((size_t)shape.c + WTL_BLOCK_CHANNELS - 1) / WTL_BLOCK_CHANNELS;
    return blocks * WTL_BLOCK_CHANNELS * (size_t)shape.h * (size_t)shape.w;
}

#endif
