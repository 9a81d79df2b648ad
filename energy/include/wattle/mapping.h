/* mapping.h - how a layer is laid onto an accelerator, the accesses that follow, and the search
 * for the mapping of least energy.
 *
 * Row-stationary mappings have the seven parameters of the Eyeriss papers (ISCA 2016, JSSC
 * 2017). The other dataflows are loop nests over the memory levels, counted by one generic
 * rule. Counts are words for the whole batch and all groups, before zeros save anything.
 */
#ifndef WATTLE_MAPPING_H
#define WATTLE_MAPPING_H

#include "wattle/hardware.h"
#include "wattle/workload.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A processing pass takes q*r channels, p*t filters, n images and e rows of the ofmap. */
typedef struct wtl_rs_mapping {
    int m; /* ofmap channels whose partial sums stay in the buffer */
    int n; /* images in a pass */
    int e; /* ofmap rows in a strip */
    int p; /* filters interleaved in a PE */
    int q; /* channels interleaved in a PE */
    int r; /* PE sets over channels: partial sums add up inside the array */
    int t; /* PE sets over filters */
} wtl_rs_mapping;

/* The seven loops of a convolution (groups apart). */
typedef enum wtl_loop_dim {
    WTL_LOOP_N, /* images */
    WTL_LOOP_C, /* channels */
    WTL_LOOP_M, /* filters */
    WTL_LOOP_R, /* filter rows */
    WTL_LOOP_S, /* filter columns */
    WTL_LOOP_P, /* ofmap rows */
    WTL_LOOP_Q, /* ofmap columns */
    WTL_LOOP_DIM_COUNT
} wtl_loop_dim;

/* Where a loop runs: around the memory of that level. */
typedef enum wtl_loop_place {
    WTL_LOOP_DRAM,
    WTL_LOOP_BUFFER,
    WTL_LOOP_SPATIAL_X, /* over columns of the array */
    WTL_LOOP_SPATIAL_Y, /* over rows */
    WTL_LOOP_RF
} wtl_loop_place;

typedef struct wtl_loop {
    wtl_loop_place place;
    wtl_loop_dim dim;
    int factor; /* >= 1; the factors of a dimension multiply to at least its size */
} wtl_loop;

enum { WTL_MOST_LOOPS = 40 };

typedef struct wtl_nest_mapping {
    wtl_loop loops[WTL_MOST_LOOPS]; /* outermost first; places in the order of the enum */
    int loop_count;
} wtl_nest_mapping;

typedef struct wtl_mapping {
    wtl_dataflow dataflow;
    union {
        wtl_rs_mapping rs;     /* row-stationary */
        wtl_nest_mapping nest; /* the others */
    } as;
} wtl_mapping;

/* Words moved at each level for each data type, reads and writes apart. DRAM: to and from the
 * chip. Buffer: out of and into the buffer. Array: deliveries to PEs and hops between them
 * (all under WTL_READ). RF: scratchpad accesses. */
typedef struct wtl_access_counts {
    double words[WTL_LEVEL_MAC][WTL_DATA_COMPUTATION][2];
    /* Of these, words that zeros never save: spilled partial sums, presence bits, ... */
    double whole[WTL_LEVEL_MAC][WTL_DATA_COMPUTATION][2];
    double macs;
    int active_pes;
    double buffer_ifmap_words, buffer_psum_words, buffer_weight_words; /* stored at once */
    double cycles; /* of computation, one MAC a PE and cycle, none skipped */
} wtl_access_counts;

/* Count the accesses of a given mapping.
 *   WTL_E_FIT    the mapping does not fit the hardware; says which limit and by how much
 *   WTL_E_RANGE  a parameter is outside the layer's sizes */
WTL_API wtl_status wtl_mapping_count(wtl_access_counts *out, const wtl_hardware *hw,
                                     const wtl_work_layer *layer, const wtl_mapping *mapping,
                                     wtl_error *err) WTL_MUST_CHECK;

/* The mapping of least energy for dense data (hw->dataflow); ties go to the lexicographically
 * smallest parameters. The optimum of the formulas, proven: the search leaves out only what
 * cannot be better. WTL_E_FIT when nothing fits. */
WTL_API wtl_status wtl_mapping_search(wtl_mapping *out, const wtl_hardware *hw,
                                      const wtl_work_layer *layer,
                                      wtl_error *err) WTL_MUST_CHECK;

/* One line such as "m=96 n=1 e=7 p=16 q=1 r=1 t=2" or
 * "DRAM: P8 Q2 M4 | buffer: P14 Q4 | X: Q14 | Y: C3 S3 | RF: R3 M8", and back.
 * WTL_E_FORMAT says what was expected. */
WTL_API void wtl_mapping_text(const wtl_mapping *mapping, char *text, size_t size);
WTL_API wtl_status wtl_mapping_parse(wtl_mapping *out, wtl_dataflow dataflow, const char *text,
                                     wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
