/* hardware.h - a described accelerator: an array of processing elements (PEs) under a memory
 * hierarchy, what an access costs at each level, and what zeros save.
 *
 * Energies are relative: 1 = one 16-bit MAC. Where a hardware has absolute costs, mac_pj turns
 * them into picojoules. Energies per access are per word of `word_bits`; they scale linearly
 * with a value's bits, a MAC's with the product of both operands' bits (facts: Horowitz 2014;
 * Yang, Chen, Sze 2017).
 */
#ifndef WATTLE_HARDWARE_H
#define WATTLE_HARDWARE_H

#include "wattle/status.h"

#include <stdbool.h>
#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The data types and memory levels of every table, in the order of the reports. */
typedef enum wtl_data_type {
    WTL_DATA_IFMAP,
    WTL_DATA_OFMAP, /* partial sums, too */
    WTL_DATA_WEIGHT,
    WTL_DATA_COMPUTATION,
    WTL_DATA_TYPE_COUNT
} wtl_data_type;

typedef enum wtl_memory_level {
    WTL_LEVEL_DRAM,
    WTL_LEVEL_BUFFER, /* the shared on-chip buffer */
    WTL_LEVEL_ARRAY,  /* the network between buffer and PEs and between PEs */
    WTL_LEVEL_RF,     /* a PE's scratchpads */
    WTL_LEVEL_MAC,
    WTL_LEVEL_COUNT
} wtl_memory_level;

typedef enum wtl_dataflow {
    WTL_ROW_STATIONARY,
    WTL_WEIGHT_STATIONARY,
    WTL_OUTPUT_STATIONARY,
    WTL_NO_LOCAL_REUSE,
    WTL_DATAFLOW_COUNT
} wtl_dataflow;

/* How accesses of a row-stationary mapping are counted. */
typedef enum wtl_accounting {
    WTL_COUNT_ROWS,   /* whole strips of rows: what a chip does (JSSC 2017) */
    WTL_COUNT_ISCA16, /* a real-valued halo, partial sums' hops weighed twice: the formulas of
                         the ISCA 2016 study as its authors evaluate them */
    WTL_COUNT_CVPR17  /* the estimation tool behind the EAP paper, as far as decoded */
} wtl_accounting;

typedef enum wtl_zero_rule {
    WTL_ZERO_COUNTS, /* a zero costs what any value costs */
    WTL_ZERO_GATES,  /* a zero operand leaves `gated_share` of the MAC and its RF accesses */
    WTL_ZERO_SKIPS   /* a zero operand costs nothing at the MAC and its RF accesses */
} wtl_zero_rule;

typedef enum wtl_compression {
    WTL_COMPRESS_NONE,
    WTL_COMPRESS_RUN_LENGTH, /* 5-bit runs, 16-bit levels, 3 pairs in 64 bits: 4/3 words per
                                non-zero (JSSC 2017) */
    WTL_COMPRESS_PRESENCE    /* one bit a value: min(V, non-zeros + V/bits) words */
} wtl_compression;

enum { WTL_READ, WTL_WRITE };

typedef struct wtl_hardware {
    char name[64];
    char title[256];
    char source[1024]; /* where the numbers come from */
    wtl_dataflow dataflow;
    wtl_accounting accounting; /* of row-stationary mappings */

    int rows, columns; /* of the array, each 1..1024 */
    bool grid;         /* sets must fit the array in two dimensions; false: only their PEs
                          are counted (ISCA 2016) */
    /* Scratchpad of one PE in words: one pool, or apart for ifmap, psum and weight. */
    int rf_pool_words;                  /* 0: apart */
    int rf_words[WTL_DATA_COMPUTATION]; /* by wtl_data_type; ignored with a pool */
    double buffer_words;                /* what ifmap and partial sums (and weights, unless they
                                            bypass) may take */
    bool weights_bypass_buffer;
    int word_bits;   /* 16 */
    int most_images; /* in a processing pass; 0: any */

    /* Energy per access of one word, MAC = 1. */
    double energy[WTL_LEVEL_MAC][WTL_DATA_COMPUTATION][2]; /* [level][type][WTL_READ/WRITE] */
    double mac_energy; /* of one word_bits x word_bits MAC */
    double mac_pj;     /* picojoules of one unit of energy; 0: unknown */

    wtl_zero_rule zero_ifmap, zero_weight;
    double gated_share; /* 0..1 of a gated MAC and its RF accesses */
    wtl_compression compress[2][WTL_DATA_COMPUTATION]; /* [WTL_LEVEL_DRAM, WTL_LEVEL_BUFFER] */
    bool first_ifmap_raw; /* the first layer's ifmap is not compressed (JSSC 2017) */

    double clock_mhz;                                    /* 0: unknown */
    double dram_words_per_cycle, buffer_words_per_cycle; /* 0: unknown */
} wtl_hardware;

/* Read a hardware description (YAML; the keys are in docs/energy-model.md and in the presets).
 * Unknown keys, missing ones and values out of range are named with line and column.
 *   WTL_E_FORMAT, WTL_E_NOMEM */
WTL_API wtl_status wtl_hardware_parse(wtl_hardware *out, const char *text, size_t length,
                                      const char *file, wtl_error *err) WTL_MUST_CHECK;

/* Names of the presets, ended by NULL, and a preset's YAML text or NULL. */
WTL_API const char *const *wtl_hardware_presets(void);
WTL_API const char *wtl_hardware_preset_text(const char *name, size_t *length);

/* A preset's name or a file. WTL_E_MISSING suggests the near miss. */
WTL_API wtl_status wtl_hardware_load(wtl_hardware *out, const char *name_or_file,
                                     wtl_error *err) WTL_MUST_CHECK;

WTL_API const char *wtl_data_type_name(wtl_data_type type);        /* "ifmap", "ofmap", ... */
WTL_API const char *wtl_memory_level_name(wtl_memory_level level); /* "DRAM", "buffer", ... */
WTL_API const char *wtl_dataflow_name(wtl_dataflow dataflow);      /* "row-stationary", ... */

#ifdef __cplusplus
}
#endif
#endif
