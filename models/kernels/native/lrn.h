/* lrn.h - local response normalisation (layers/lrn.c) of some pixels of one image in blocks of
 * channels, in the calling thread.
 *
 * Shapes:  x, y, dy, dx [C/16, plane/16, 16], from the first of the pixels on
 */
#ifndef WTL_NATIVE_LRN_H
#define WTL_NATIVE_LRN_H

#include <stddef.h>

enum { WTL_LRN_PIXELS = 16 }; /* most in a call */

typedef struct wtl_lrn {
    int blocks; /* of channels */
    long plane; /* floats between blocks */
    int half;   /* channels on either side that count */
    float coefficient, beta, k;
} wtl_lrn;

/* Floats of a line: the channels of a pixel, with zeros for the windows at both ends. */
static inline size_t wtl_lrn_line(const wtl_lrn *l)
{
    size_t margin = ((size_t)l->half + 15) / 16 * 16;
    return 2 * margin + (size_t)l->blocks * 16;
}

typedef struct wtl_lrn_kernels {
    /* lines: working memory, WTL_LRN_PIXELS lines for forward, twice as many for backward */
    void (*forward)(const wtl_lrn *l, int pixels, const float *x, float *y, float *lines);
    void (*backward)(const wtl_lrn *l, int pixels, const float *x, const float *dy, float *dx,
                     float *lines);
} wtl_lrn_kernels;

#endif
