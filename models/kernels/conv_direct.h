/* conv_direct.h - convolution on maps in blocks of 16 channels (native.h), without a patch
 * matrix: the tile of native/tile.h over padded copies of some rows that stay in the cache.
 *
 * The three products are those of conv_kernels.h. Filters are packed for the tile first: per
 * step in training, once for inference.
 */
#ifndef WTL_CONV_DIRECT_H
#define WTL_CONV_DIRECT_H

#include "conv_kernels.h"
#include "native.h"

enum { WTL_DIRECT_MOST_STRIDE = 8 };

/* A map in blocks, or, where a function says so, a plain image. */
typedef struct wtl_map {
    float *data;
    size_t image; /* floats between images */
} wtl_map;

typedef struct wtl_const_map {
    const float *data;
    size_t image;
} wtl_const_map;

/* Outputs first, first + step, ... along one axis, and where they read: output i reads, by
 * tap j, row in_first + i*in_step + j*tap_step of the input. */
typedef struct wtl_direct_axis {
    int first, step, count;
    int in_first, in_step;
    int tap_first, taps, tap_step; /* taps of the filter: tap_first + j*filter_step */
    int filter_step;
} wtl_direct_axis;

/* One correlation: forward, or the input's gradient, which a stride cuts into phases. */
typedef struct wtl_direct_pass {
    int channels, h, w; /* input map, of one group */
    int filters, p, q;  /* output map, of one group */
    int groups;
    bool plain;    /* the input is NCHW */
    int phases[2]; /* along height and width */
    wtl_direct_axis axis[2][WTL_DIRECT_MOST_STRIDE];
    int low[2], high[2]; /* input rows and columns that are read; may lie outside */
    bool patches;        /* a padded copy is needed */
    int rows;            /* output rows of a unit of work */
    int images;          /* and images */
    size_t patch;        /* floats of a copy for one image */
    int r, s;            /* filter */
    bool transposed;     /* packs w with input and output channels exchanged */
} wtl_direct_pass;

typedef struct wtl_direct {
    wtl_conv_geometry geometry;
    int threads;
    wtl_direct_pass forward, data;
} wtl_direct;

/* Whether these kernels can do it: channels of a group are whole blocks, or there is one group.
 * `plain`: the input stays NCHW (for images of few channels). */
bool wtl_direct_can(const wtl_conv_geometry *g);
bool wtl_direct_wants_plain(const wtl_conv_geometry *g);

wtl_direct wtl_direct_plan(const wtl_conv_geometry *g, const wtl_native *native, int threads,
                           bool plain);

/* Floats of packed filters (and bias) of one pass. */
size_t wtl_direct_packed(const wtl_direct_pass *pass);
/* b may be NULL. */
void wtl_direct_pack(const wtl_direct_pass *pass, int threads, const float *w, const float *b,
                     float *packed);

/* Floats of scratch of the calls below, packed filters not included. */
size_t wtl_direct_scratch(const wtl_direct *d, bool training);

/* y = activation(bias + w * x [+ add]); add: NULL or a map like y. */
void wtl_direct_forward(const wtl_direct *d, const wtl_native *native, int n, wtl_const_map x,
                        const float *packed, const float *add, wtl_activation activation,
                        wtl_map y, float *scratch);
void wtl_direct_data(const wtl_direct *d, const wtl_native *native, int n, wtl_const_map dy,
                     const float *packed, wtl_map dx, float *scratch);
/* dw [K,C/G,R,S] is added to. */
void wtl_direct_weights(const wtl_direct *d, const wtl_native *native, int n, wtl_const_map x,
                        wtl_const_map dy, float *dw, float *scratch);
/* db [K] += sum of dy. */
void wtl_direct_bias(const wtl_direct *d, const wtl_native *native, int n, wtl_const_map dy,
                     float *db);

#endif
