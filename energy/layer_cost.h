/* layer_cost.h - from access counts to energy: what zeros and bit widths leave of the words. */
#ifndef WTL_LAYER_COST_H
#define WTL_LAYER_COST_H

#include "wattle/energy.h"

/* A layer on a hardware at a mapping; nothing is owned. */
typedef struct wtl_layer_case {
    const wtl_hardware *hw;
    const wtl_work_layer *layer; /* its zeros and bits are those of the estimate */
    bool first_layer;            /* of the network: its ifmap may have to stay raw */
    double channel_share;        /* ifmap channels charged for / those of the layer */
    const wtl_access_counts *counts;
} wtl_layer_case;

/* Shares of the words that zeros leave, by data type. */
typedef struct wtl_zero_rates {
    double dram[WTL_DATA_COMPUTATION];
    double buffer[WTL_DATA_COMPUTATION];
    double array[WTL_DATA_COMPUTATION];
    double fill[WTL_DATA_COMPUTATION]; /* writes of operands into scratchpads */
    double operations;                 /* MACs and their scratchpad accesses */
    double whole;                      /* of words that zeros never save: 1 */
} wtl_zero_rates;

/* A case for `layer`; counts and mapping must stay. */
wtl_layer_case wtl_layer_case_of(const wtl_hardware *hw, const wtl_work_layer *layer,
                                 bool first_layer, const wtl_mapping *mapping,
                                 const wtl_access_counts *counts);

void wtl_zero_rates_of(wtl_zero_rates *out, const wtl_layer_case *c);

/* d rates / d non-zeros of one data type, towards fewer; `whole` is 0. */
void wtl_zero_slopes_of(wtl_zero_rates *out, const wtl_layer_case *c, wtl_data_type type);

/* Energy per image by data type and level, linear in the rates; returns the sum. */
double wtl_layer_cost(double energy[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT],
                      const wtl_layer_case *c, const wtl_zero_rates *rates);

/* Bytes to and from DRAM per image. */
double wtl_layer_dram_bytes(const wtl_layer_case *c, const wtl_zero_rates *rates);

/* Share of MACs with no operand that the hardware takes for zero. */
double wtl_macs_kept(const wtl_layer_case *c);

#endif
