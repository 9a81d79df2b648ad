/* workload.h - the layers whose energy is estimated: shapes, zero counts and bit widths, no
 * weights and no network. It can come from a net (from_net.h) or from the 25-column text of the
 * MIT energy estimation tool, one conv or dense layer a line, comma-separated:
 *
 *   1       layer index
 *   2-7     ifmap   height, width, channels, maps, zeros, bits
 *   8-13    filter  height, width, channels, filters, zeros, bits
 *   14-19   ofmap   height, width, channels, maps, zeros, bits
 *   20-21   stride  y, x
 *   22-25   pad     top, bottom, left, right
 *
 * Maps are the images of the batch. Zeros are counted over all of them (padding apart) and may
 * be in exponent notation with five digits. Groups = ifmap channels / filter channels. A dense
 * layer is a convolution whose filter covers the whole map.
 */
#ifndef WATTLE_WORKLOAD_H
#define WATTLE_WORKLOAD_H

#include "wattle/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { WTL_WORK_NAME_SIZE = 128 };

/* A tensor of a layer: h x w x channels x count values, of which `zeros` are zero. */
typedef struct wtl_work_tensor {
    int h, w, channels;
    int count;    /* maps (images in the batch) or filters, >= 1 */
    double zeros; /* 0 .. h*w*channels*count */
    int bits;     /* 1 .. 32 */
} wtl_work_tensor;

typedef struct wtl_work_layer {
    int index;                     /* >= 0, as the text says; unique */
    char name[WTL_WORK_NAME_SIZE]; /* "" when it came from text */
    wtl_work_tensor ifmap, filter, ofmap;
    int stride[2];   /* y, x */
    int dilation[2]; /* y, x; 1 in text */
    int pad[4];      /* top, bottom, left, right */
    /* Spread of the zero counts over the sampled images, as a share of the map; 0 if unknown. */
    double ifmap_zero_deviation, ofmap_zero_deviation;
} wtl_work_layer;

typedef struct wtl_workload {
    char name[WTL_WORK_NAME_SIZE]; /* of the net or file */
    wtl_work_layer *layers;        /* owned */
    int layer_count;
    bool weight_zeros_measured;     /* false: taken as 0 */
    bool activation_zeros_measured; /* false: taken as 0; a report must say so */
    long sample_images;             /* images behind the activation zeros; 0 if none */
} wtl_workload;

/* Values of a tensor, and their density 0..1. */
static inline double wtl_work_values(const wtl_work_tensor *t)
{
    return (double)t->h * t->w * t->channels * t->count;
}

static inline double wtl_work_density(const wtl_work_tensor *t)
{
    return 1.0 - t->zeros / wtl_work_values(t);
}

static inline int wtl_work_groups(const wtl_work_layer *l)
{
    return l->ifmap.channels / l->filter.channels;
}

/* Multiply-accumulates of the layer for the whole batch, none skipped. */
static inline double wtl_work_macs(const wtl_work_layer *l)
{
    return (double)l->ofmap.h * l->ofmap.w * l->ofmap.channels * l->ofmap.count * l->filter.h *
           l->filter.w * l->filter.channels;
}

/* Check one layer: sizes >= 1, ofmap sizes that follow from ifmap, filter, stride, dilation and
 * padding (floor((H + pads - D*(R-1) - 1)/U) + 1), channels and filters that groups divide, as
 * many filters as ofmap channels, as many ofmap maps as ifmap maps, zeros within the tensors,
 * bits within 1..32. WTL_E_RANGE or WTL_E_SHAPE; the message has no place in it. */
WTL_API wtl_status wtl_work_layer_check(const wtl_work_layer *layer,
                                        wtl_error *err) WTL_MUST_CHECK;

/* Read 25-column text; '#' starts a comment, blank lines are skipped, and so is a first line
 * that is a header of words. `file` names it in messages ("layers.txt:3: ...").
 *   WTL_E_FORMAT  with file:line, the field's name, what it holds and what was expected
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_workload_parse(wtl_workload *out, const char *text, size_t length,
                                      const char *file, wtl_error *err) WTL_MUST_CHECK;

/* The 25-column text, zero counts exact (integers up to 2^53). Freed by wtl_free().
 *   WTL_E_RANGE  a layer has a dilation, which the text cannot say
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_workload_text(char **out, const wtl_workload *workload,
                                     wtl_error *err) WTL_MUST_CHECK;

/* Frees what the workload holds and empties it; fine on an empty one. */
WTL_API void wtl_workload_clear(wtl_workload *workload);

#ifdef __cplusplus
}
#endif
#endif
