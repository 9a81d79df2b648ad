/* conv_sparse.h - convolution by filters most of whose weights are exactly 0, for inference, on
 * maps in blocks (native.h). Only weights that are not 0 are read and multiplied, each by vectors
 * of neighbouring output pixels.
 *
 * Work is cut into *tiles*: some output rows of one or more images. The input that a tile reads is
 * copied, a *panel* of channels at a time, into planes that stay in the first-level cache: for
 * every column s of the filters a *view* of its own, in which the x of all output pixels of the
 * tile are neighbours, so that loads are aligned whatever the tap, stride or padding. Each filter's
 * sums are gathered over the panels, then finished and written to blocks.
 *
 * Filters are packed in one of two forms, whichever is estimated to be faster:
 *   rows   each filter by itself: positions at random
 *   quads  four consecutive filters together: a load of x serves four products. For masks in
 *          blocks of 4x1, or nearly so: a weight that is 0 beside one that is not is multiplied.
 */
#ifndef WTL_CONV_SPARSE_H
#define WTL_CONV_SPARSE_H

#include "conv_kernels.h"
#include "native.h"
#include "wattle/kernel_costs.h"

#include <stdint.h>

enum { WTL_SPARSE_SEGMENT = 24 }; /* blocks of filters whose sums are kept at a time */

typedef enum wtl_sparse_form { WTL_SPARSE_ROWS, WTL_SPARSE_QUADS } wtl_sparse_form;

/* How the tiles of a layer are laid out; worked out in conv_sparse_plan.c. */
typedef struct wtl_sparse_layout {
    bool flat;    /* a view for each tap: rows follow each other without a gap */
    int rows;     /* of output, in a tile */
    int images;   /* in a tile, side by side */
    int channels; /* of a panel: 1, 2, 4, 8 or a multiple of 16 */

    int panels;           /* of a group */
    int row_views, views; /* views for the rows of a filter; for all its taps */
    int view_rows;        /* rows of a view */
    long pitch;           /* between rows of a tile, of sums and views alike */
    long view, plane;     /* floats of a view, and of all views of a channel */
    int vectors;          /* of a tile's pixels */
    long sums_pitch;      /* between the sums of two filters */
    int phases;           /* of columns: those that different s start from */
    long line;            /* floats of one channel and phase of an input row */
    size_t panel_floats, line_floats, sums_floats; /* scratch of a thread */
} wtl_sparse_layout;

/* A packed layer: this header, then what the offsets (in bytes) point at. */
typedef struct wtl_conv_sparse {
    wtl_conv_geometry g;
    int groups; /* that tiles are cut by: 1 unless groups are whole blocks */
    int group_channels, group_filters;
    bool plain;     /* x is NCHW */
    bool gradients; /* laid out for the weights' gradient, else for forward */
    wtl_sparse_form form;
    wtl_sparse_layout layout;
    size_t entries;    /* packed: non-zeros, or quads of them */
    size_t starts_at;  /* int32_t [groups][panels][filters or quads of a group], + 1 */
    size_t entries_at; /* wtl_sparse_entry or wtl_sparse_quad [entries] */
    size_t weights_at; /* int64_t [groups][blocks + 1]: work of the blocks before */
    size_t index_at;   /* of a pattern: int32_t [entries][1 or 4]: places in w, or -1 */
    size_t bytes;      /* of all */
    double seconds;    /* estimated, one thread, the whole batch */
} wtl_conv_sparse;

/* Bytes of the packed form of w [K,C/G,R,S], for up to `batch` images at a time; SIZE_MAX where the
 * layer is too large for it. */
size_t wtl_conv_sparse_bytes(const wtl_native *native, const wtl_conv_geometry *g, int batch,
                             const float *w);

/* Pack w into `memory`, of that many bytes, aligned to 64. The same native kernels must run it. */
const wtl_conv_sparse *wtl_conv_sparse_pack(const wtl_native *native,
                                            const wtl_conv_geometry *g, int batch,
                                            const float *w, void *memory);

/* As wtl_conv_sparse_pack(), in the form that is asked for. */
size_t wtl_conv_sparse_bytes_as(const wtl_native *native, const wtl_conv_geometry *g, int batch,
                                wtl_sparse_form form, const float *w);
const wtl_conv_sparse *wtl_conv_sparse_pack_as(const wtl_native *native,
                                               const wtl_conv_geometry *g, int batch,
                                               wtl_sparse_form form, const float *w,
                                               void *memory);

/* Bytes of scratch that any weights of that geometry need; SIZE_MAX if the layer is too large. */
size_t wtl_conv_sparse_scratch(const wtl_native *native, const wtl_conv_geometry *g, int batch,
                               int threads);

/* y = activation(conv(x) + bias + add) of n <= batch images in blocks; bias [K] and add may be
 * NULL, add is laid out as y and may be y. scratch is aligned to 64. The result does not depend on
 * the number of threads. */
void wtl_conv_sparse_forward(const wtl_native *native, const wtl_conv_sparse *packed, int n,
                             int threads, const float *x, size_t x_image, const float *bias,
                             wtl_activation activation, const float *add, float *y,
                             size_t y_image, float *scratch);

/* ---- patterns: packed once for a mask, filled with values each step, for training ---- */

/* The layer whose forward product is the gradient of the input of a layer `g`: it reads dy, its
 * filters are the layer's channels. False where there is none: with a stride, or where padding
 * is wider than the filters. */
bool wtl_conv_sparse_flipped(const wtl_conv_geometry *g, wtl_conv_geometry *flipped);

/* Plan the pattern of the weights where mask [K,C/G,R,S] is not 0, of layer `g`; with `flipped`,
 * `g` is the flipped layer and the mask that of the layer it comes from. `plain`: x is NCHW. `gradients`: to be
 * fast in wtl_conv_sparse_weights() rather than forward. Sets *p, `bytes` and
 * `seconds` included; false where the layer is too large. */
bool wtl_conv_sparse_plan_pattern(wtl_conv_sparse *p, const wtl_native *native,
                                  const wtl_conv_geometry *g, int batch, const float *mask,
                                  bool flipped, bool plain, bool gradients);
/* Make it in `memory`, of planned->bytes bytes, aligned to 64. */
wtl_conv_sparse *wtl_conv_sparse_make_pattern(const wtl_conv_sparse *planned,
                                              const wtl_conv_geometry *g, const float *mask,
                                              bool flipped, void *memory);
/* Fill in the values that w has now. */
void wtl_conv_sparse_take(wtl_conv_sparse *pattern, int threads, const float *w);

/* Bytes of scratch of forward and of the function below; SIZE_MAX if they cannot be counted. */
size_t wtl_conv_sparse_own_scratch(const wtl_conv_sparse *pattern, int threads);
size_t wtl_conv_sparse_weights_scratch(const wtl_conv_sparse *pattern, int threads);
/* dw = the sum of dy * x for the weights of a pattern that is not flipped; others are left as they
 * are. x and dy are maps in blocks of n <= batch images. The result is the same at the same number
 * of threads. */
void wtl_conv_sparse_weights(const wtl_native *native, const wtl_conv_sparse *pattern, int n,
                             int threads, const float *x, size_t x_image, const float *dy,
                             size_t y_image, float *dw, float *scratch);
/* wtl_kernel_choose() for a geometry; in kernel_costs.c. */
wtl_kernel_choice wtl_kernel_choose_for(const wtl_kernel_costs *costs,
                                        const wtl_conv_geometry *g, wtl_kernel_density density,
                                        int batch);
/* How full w [K,C/G,R,S] is. */
wtl_kernel_density wtl_kernel_density_of(const wtl_conv_geometry *g, const float *w);

/* ---- conv_sparse_plan.c, for conv_sparse.c ---- */

/* The geometry that is computed: a 1x1 filter sees an image as rows of any length. */
wtl_conv_geometry wtl_sparse_geometry(const wtl_conv_geometry *g);

/* Groups, layout and estimate for `entries` entries in that form; false if the layer is too
 * large. Sets the fields of *packed up to `entries`, and `seconds`. */
bool wtl_sparse_plan(wtl_conv_sparse *packed, const wtl_native *native,
                     const wtl_conv_geometry *g, int batch, wtl_sparse_form form,
                     size_t entries, bool gradients);

/* Seconds of one thread that a planned layer takes at these rates. */
double wtl_sparse_estimate(const wtl_conv_sparse *packed, const wtl_native *native, int batch,
                           const wtl_kernel_costs *costs);

/* Row of input, plus the padding above, where row 0 of row view v begins. */
static inline int wtl_sparse_view_base(const wtl_conv_sparse *p, int v)
{
    int at = v * p->g.dilation[0];
    return p->layout.flat ? at : at % p->g.stride[0];
}

/* Where, in the planes of a channel, the first output pixel of a tile finds tap (r, s). */
static inline long wtl_sparse_tap(const wtl_conv_sparse *p, int r, int s)
{
    const wtl_sparse_layout *l = &p->layout;
    int row = l->flat ? 0 : r * p->g.dilation[0] / p->g.stride[0];
    return ((long)(r % l->row_views) * p->g.s + s) * l->view + row * l->pitch;
}

#endif
