/* reorder.h - one block of channels of one image between plain planes and pixels of 16
 * channels, in the calling thread. */
#ifndef WTL_NATIVE_REORDER_H
#define WTL_NATIVE_REORDER_H

#include <stdbool.h>

/* `plane`: floats between the plain channels, of which there are 1..16. */
typedef struct wtl_reorder_kernels {
    /* The lanes beyond `channels` become 0, or when adding stay as they are. */
    void (*to_blocks)(const float *plain, long plane, int channels, long pixels, bool add,
                      float *block);
    void (*to_plain)(const float *block, int channels, long pixels, bool add, float *plain,
                     long plane);
} wtl_reorder_kernels;

#endif
