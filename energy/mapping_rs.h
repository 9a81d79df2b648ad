/* mapping_rs.h - row-stationary mappings: the shape they see, their limits, their words.
 *
 * One pass takes q*r channels, p*t filters, n images and e rows of the ofmap. What a mapping
 * costs depends on the seven parameters through few numbers only, the `terms`; the search
 * walks over those.
 */
#ifndef WTL_MAPPING_RS_H
#define WTL_MAPPING_RS_H

#include "mapping_private.h"

/* One group of a layer, as the array sees it. */
typedef struct wtl_rs_shape {
    int images, channels, filters, groups;
    int kernel_h, kernel_w;
    int span_h, span_w; /* of the kernel with its dilation */
    int out_h, out_w, stride_h;
    int in_h, in_w, pad_top;
    int padded_h, padded_w;
    int bits[WTL_DATA_COMPUTATION];
} wtl_rs_shape;

typedef struct wtl_rs_terms {
    double image_passes;             /* ceil(N/n) */
    double strips;                   /* ceil(E/e) */
    double dram_values, buffer_rows; /* of the ifmap, a channel and image, over all strips */
    double ifmap_fetches;            /* ceil(M/m) */
    double filter_passes;            /* ceil(M/(p*t)) */
    double filter_turns;             /* ceil(M/p) */
    double channel_turns;            /* ceil(C/q) */
    double channel_passes;           /* ceil(C/(q*r)) */
    double channels;                 /* C, or rounded up to whole passes (CVPR 2017) */
    double sets;                     /* r */
} wtl_rs_terms;

/* Words of one data type, before zeros save anything; `whole` as in wtl_access_counts. */
typedef struct wtl_rs_words {
    double words[WTL_LEVEL_MAC][2];
    double whole[WTL_LEVEL_MAC][2];
} wtl_rs_words;

/* A dense layer whose filter is too large for the array or a scratchpad becomes a 1x1
 * convolution over all its values, which it equals. */
wtl_rs_shape wtl_rs_shape_of(const wtl_hardware *hw, const wtl_work_layer *layer);

/* PE sets that fit beside and above each other when a set is e wide. */
int wtl_rs_sets(const wtl_hardware *hw, const wtl_rs_shape *shape, int e);

/* Rows of the ifmap, padding included, behind a strip of e rows of the ofmap. */
int wtl_rs_strip_rows(const wtl_rs_shape *shape, int e);

void wtl_rs_image_terms(wtl_rs_terms *terms, const wtl_hardware *hw, const wtl_rs_shape *shape,
                        int n, int e);
void wtl_rs_channel_terms(wtl_rs_terms *terms, const wtl_hardware *hw,
                          const wtl_rs_shape *shape, int q, int r);
void wtl_rs_filter_terms(wtl_rs_terms *terms, const wtl_rs_shape *shape, int m, int p, int t);

/* Words of the whole batch and all groups. None falls when a term rises, but psums' hops,
 * which fall with channel_passes. */
void wtl_rs_words_of(wtl_rs_words *out, const wtl_hardware *hw, const wtl_rs_shape *shape,
                     const wtl_rs_terms *terms, wtl_data_type type);

/* Channels of the ifmap that a mapping is charged for, as a multiple of the layer's: 1 but in
 * the CVPR 2017 accounting, which fills the last pass up. */
double wtl_rs_channel_share(const wtl_hardware *hw, const wtl_work_layer *layer,
                            const wtl_rs_mapping *mapping);

/* Count without asking whether the mapping fits. */
void wtl_rs_count(wtl_access_counts *out, const wtl_hardware *hw, const wtl_work_layer *layer,
                  const wtl_rs_mapping *mapping);

wtl_status wtl_rs_check(const wtl_hardware *hw, const wtl_work_layer *layer,
                        const wtl_rs_mapping *mapping, wtl_error *err) WTL_MUST_CHECK;
wtl_status wtl_rs_search(wtl_rs_mapping *out, const wtl_hardware *hw,
                         const wtl_work_layer *layer, wtl_error *err) WTL_MUST_CHECK;

#endif
