/* moments_private.h - what reconstruction reads of the moments. */
#ifndef WTL_MOMENTS_PRIVATE_H
#define WTL_MOMENTS_PRIVATE_H

#include "wattle/moments.h"

enum { WTL_MOMENTS_BLOCK = 256 }; /* rows that one GEMM takes */

/* The layer as a convolution: a dense layer has filters as large as its input. */
typedef struct wtl_patch_geometry {
    int c, h, w;       /* input of all groups */
    int k, r, s, p, q; /* filters; output */
    int stride[2], top, left, dilation[2];
    int groups;
    int width;   /* m */
    int filters; /* of one group */
} wtl_patch_geometry;

/* A sampled row: image of this call, output row and column. */
typedef struct wtl_patch_place {
    int image, p, q;
} wtl_patch_place;

/* WTL_E_ARG, WTL_E_SHAPE. */
wtl_status wtl_patch_geometry_of(wtl_patch_geometry *g, const wtl_layer_def *layer,
                                 wtl_shape in, wtl_error *err) WTL_MUST_CHECK;

/* patch [m, WTL_MOMENTS_BLOCK] := column t is group `group`'s patch at places[t]. */
void wtl_patch_gather(const wtl_patch_geometry *g, int group, const float *x,
                      const wtl_patch_place *places, int count, int threads, float *patch);

struct wtl_moments {
    wtl_patch_geometry g;
    wtl_moments_options options; /* defaults filled in */
    size_t capacity;             /* most rows */
    size_t rows, images;         /* so far */
    size_t bytes;
    double *second; /* [groups][m][m], i <= j filled; NULL in dual form */
    double *cross;  /* [K][m]; NULL in dual form */
    double *energy; /* [K]; NULL in dual form */
    float *samples; /* [groups][m][capacity] or NULL */
    float *targets; /* [K][capacity] or NULL */
    /* work for one block: */
    float *patch, *original; /* [m][block] */
    float *target;           /* [filters of a group][block] */
    float *panels;           /* [threads][panel][m] */
    wtl_patch_place *places; /* [block] */
};

#endif
