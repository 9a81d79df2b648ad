/* elementwise.h - the activations that layers fuse, and sums of whole arrays. */
#ifndef WTL_ELEMENTWISE_H
#define WTL_ELEMENTWISE_H

#include "wattle/net.h"

/* y = max(y, 0), or min(max(y, 0), 6), or y as it is; in the calling thread. A NaN stays. */
void wtl_activate(float *y, size_t count, wtl_activation activation);

/* dy = 0 where the activation that gave y was flat; split over `threads`. */
void wtl_activation_gradient(int threads, const float *y, float *dy, size_t count,
                             wtl_activation activation);

/* sum += more, split over `threads`. */
void wtl_accumulate(int threads, float *sum, const float *more, size_t count);

/* The same over n maps of `count` floats, `image` floats apart. */
void wtl_activation_gradient_maps(int threads, int n, size_t count, const float *y,
                                  size_t y_image, float *dy, size_t dy_image,
                                  wtl_activation activation);
void wtl_accumulate_maps(int threads, int n, size_t count, float *sum, size_t sum_image,
                         const float *more, size_t more_image);

/* values = 0, split over `threads`. */
void wtl_clear(int threads, float *values, size_t count);

#endif
