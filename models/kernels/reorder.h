/* reorder.h - maps between plain NCHW and blocks of 16 channels (native.h), split over
 * `threads`. `plain_image` and `blocks_image` are the floats between images. */
#ifndef WTL_REORDER_H
#define WTL_REORDER_H

#include "wattle/net.h"

#include <stddef.h>

/* The lanes beyond the last channel become 0. */
void wtl_reorder_to_blocks(int threads, int n, wtl_shape shape, const float *plain,
                           size_t plain_image, float *blocks, size_t blocks_image);
void wtl_reorder_to_plain(int threads, int n, wtl_shape shape, const float *blocks,
                          size_t blocks_image, float *plain, size_t plain_image);

/* blocks += plain, and plain += blocks. */
void wtl_reorder_add_to_blocks(int threads, int n, wtl_shape shape, const float *plain,
                               size_t plain_image, float *blocks, size_t blocks_image);
void wtl_reorder_add_to_plain(int threads, int n, wtl_shape shape, const float *blocks,
                              size_t blocks_image, float *plain, size_t plain_image);

#endif
