/* planes.h - sweeps over maps in blocks of channels (native.h) go plane by plane: one block of
 * channels of one image, counted through all images. */
#ifndef WTL_PLANES_H
#define WTL_PLANES_H

#include "native.h"

static inline int wtl_blocks_of(int channels)
{
    return (channels + WTL_BLOCK_CHANNELS - 1) / WTL_BLOCK_CHANNELS;
}

/* Where plane `index` begins, of images `image` floats apart, of `blocks` planes of `pixels`. */
static inline size_t wtl_plane_at(long index, int blocks, size_t image, size_t pixels)
{
    return (size_t)(index / blocks) * image +
           (size_t)(index % blocks) * pixels * WTL_BLOCK_CHANNELS;
}

#endif
