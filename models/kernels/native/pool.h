/* pool.h - pooling of one block of channels of one image, in the calling thread; windows as in
 * pool_geometry.h.
 *
 * Shapes, in blocks of 16 channels:  x, dx [H,W,16]   y, dy, places [P,Q,16]
 */
#ifndef WTL_NATIVE_POOL_H
#define WTL_NATIVE_POOL_H

#include "kernels/pool_geometry.h"

#include <stdint.h>

enum { WTL_POOL_MOST_TAPS = 16 }; /* rows, or columns, of a window of maxima */

typedef struct wtl_pool_kernels {
    /* Of equal values the first in reading order counts, a NaN as the largest. `places`: NULL,
     * or where in its window each maximum was, row * 16 + column. */
    void (*maximum)(const wtl_pool_geometry *g, const float *x, float *y, uint8_t *places);
    void (*maximum_gradient)(const wtl_pool_geometry *g, const float *dy, const uint8_t *places,
                             float *dx);
    /* line [W,16]: working memory */
    void (*mean)(const wtl_pool_geometry *g, const float *x, float *y, float *line);
    /* line [Q,16] */
    void (*mean_gradient)(const wtl_pool_geometry *g, const float *dy, float *dx, float *line);
} wtl_pool_kernels;

#endif
