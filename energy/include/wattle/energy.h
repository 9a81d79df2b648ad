/* energy.h - the estimate: what every layer costs, by data type and memory level.
 *
 * Energies are normalised: 1 = one 16-bit MAC; they are per image (the batch total divided by
 * the number of maps). All of it is an estimate from a model (docs/energy-model.md), never a
 * measurement.
 */
#ifndef WATTLE_ENERGY_H
#define WATTLE_ENERGY_H

#include "wattle/mapping.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_layer_energy {
    int index;
    char name[WTL_WORK_NAME_SIZE];
    double energy[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT]; /* per image */
    double total;                                        /* their sum */
    double macs, macs_not_skipped;                       /* per image */
    double weights, weights_not_zero;
    double ifmap_density, ofmap_density, weight_density;
    wtl_mapping mapping;
    wtl_access_counts counts; /* words of the whole batch, before zeros */
    double dram_bytes;        /* per image, after compression */
} wtl_layer_energy;

typedef struct wtl_energy_report {
    char workload[WTL_WORK_NAME_SIZE], hardware[64];
    double mac_pj; /* of the hardware; 0: unknown */
    int batch;
    bool weight_zeros_measured, activation_zeros_measured;
    long sample_images;
    wtl_layer_energy *layers; /* owned */
    int layer_count;
    double total; /* per image */
} wtl_energy_report;

typedef struct wtl_energy_options {
    const wtl_mapping *mappings; /* [layer_count] to use instead of searching; NULL: search */
} wtl_energy_options;

/* Estimate every layer of `work` on `hw`; neither is kept. Deterministic: same input, same
 * bytes. options may be NULL. On failure *out is empty.
 *   WTL_E_RANGE, WTL_E_SHAPE  a layer is not consistent; names the layer
 *   WTL_E_FIT                 no tiling of some layer fits the memories of `hw`
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_energy_estimate(wtl_energy_report *out, const wtl_hardware *hw,
                                       const wtl_workload *work,
                                       const wtl_energy_options *options,
                                       wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_energy_report_clear(wtl_energy_report *report);

/* One layer at a given mapping. */
WTL_API wtl_status wtl_energy_layer(wtl_layer_energy *out, const wtl_hardware *hw,
                                    const wtl_work_layer *layer, bool first_layer,
                                    const wtl_mapping *mapping, wtl_error *err) WTL_MUST_CHECK;

/* The MIT tool's output: header Layer_Index,Input_Feature_Map,Output_Feature_Map,Weight,
 * Computation and a row a layer. Freed by wtl_free(); NULL when memory is short. */
WTL_API char *wtl_energy_csv(const wtl_energy_report *report) WTL_MUST_CHECK;

/* ---- oracle: one layer's energy at other densities, thousands of times ---- */

typedef struct wtl_energy_oracle wtl_energy_oracle;

/* Searches every layer's mapping once. */
WTL_API wtl_status wtl_energy_oracle_create(wtl_energy_oracle **out, const wtl_hardware *hw,
                                            const wtl_workload *work,
                                            wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_energy_oracle_free(wtl_energy_oracle *oracle); /* takes NULL */

typedef struct wtl_energy_query {
    double weight_nonzeros; /* of the layer */
    double ifmap_zeros, ofmap_zeros;
    int ifmap_bits, weight_bits, ofmap_bits; /* 0: as in the workload */
} wtl_energy_query;

/* The layer as it stands in the workload. */
WTL_API wtl_energy_query wtl_energy_oracle_now(const wtl_energy_oracle *oracle, int layer);

/* Energy per image of layer `layer` (0-based) at its cached mapping: the same number that
 * wtl_energy_estimate() gives for such a layer at that mapping. */
WTL_API double wtl_energy_oracle_ask(const wtl_energy_oracle *oracle, int layer,
                                     const wtl_energy_query *query);

typedef struct wtl_energy_marginals {
    double per_weight;        /* dE / d weight_nonzeros */
    double per_ifmap_nonzero; /* dE / d (-ifmap_zeros) */
    double per_ofmap_nonzero;
    /* E(M) - E(M-1) and E(C) - E(C-1): sizes of this layer alone, densities as they are, cached
     * mapping. With groups, every group loses one and this is a group's share. */
    double per_filter, per_channel;
    double per_weight_bit, per_ifmap_bit, per_ofmap_bit; /* E(b) - E(b-1); 0 at 1 bit */
} wtl_energy_marginals;

/* Exact one-sided derivatives (towards fewer) and differences at `query`. */
WTL_API wtl_energy_marginals wtl_energy_oracle_marginals(const wtl_energy_oracle *oracle,
                                                         int layer,
                                                         const wtl_energy_query *query);

#ifdef __cplusplus
}
#endif
#endif
