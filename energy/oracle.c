/* oracle.c - one layer's energy at other densities and bit widths, with mappings found once.
 *
 * Counts are kept; they are made anew where a query changes what they depend on: sizes, and
 * bits under an accounting that counts presence bits.
 */
#include "layer_cost.h"
#include "mapping_private.h"
#include "mapping_rs.h"
#include "wattle/memory.h"

typedef struct layer_entry {
    wtl_work_layer layer;
    wtl_mapping mapping;
    wtl_access_counts counts;
} layer_entry;

struct wtl_energy_oracle {
    wtl_hardware hw;
    layer_entry *layers;
    int layer_count;
};

void wtl_energy_oracle_free(wtl_energy_oracle *oracle)
{
    if (oracle) {
        wtl_free(oracle->layers);
        wtl_free(oracle);
    }
}

static void keep_layer(layer_entry *entry, const wtl_work_layer *layer,
                       const wtl_layer_energy *energy)
{
    entry->layer = *layer;
    entry->mapping = energy->mapping;
    entry->counts = energy->counts;
}

wtl_status wtl_energy_oracle_create(wtl_energy_oracle **out, const wtl_hardware *hw,
                                    const wtl_workload *work, wtl_error *err)
{
    *out = NULL;
    wtl_energy_report report = {0};
    wtl_status status = wtl_energy_estimate(&report, hw, work, NULL, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_energy_oracle *oracle = wtl_alloc(1, sizeof *oracle);
    layer_entry *layers = wtl_alloc((size_t)work->layer_count, sizeof *layers);
    if (!oracle || !layers) {
        wtl_free(oracle);
        wtl_free(layers);
        wtl_energy_report_clear(&report);
        return wtl_fail(err, WTL_E_NOMEM, "energy oracle: out of memory for %d layers",
                        work->layer_count);
    }
    *oracle = (wtl_energy_oracle){*hw, layers, work->layer_count};
    for (int i = 0; i < work->layer_count; i++) {
        keep_layer(&layers[i], &work->layers[i], &report.layers[i]);
    }
    wtl_energy_report_clear(&report);
    *out = oracle;
    return WTL_OK;
}

wtl_energy_query wtl_energy_oracle_now(const wtl_energy_oracle *oracle, int layer)
{
    const wtl_work_layer *l = &oracle->layers[layer].layer;
    return (wtl_energy_query){
        .weight_nonzeros = wtl_work_values(&l->filter) - l->filter.zeros,
        .ifmap_zeros = l->ifmap.zeros,
        .ofmap_zeros = l->ofmap.zeros,
    };
}

/* ---- a layer as a query has it ---- */

static void apply_bits(wtl_work_tensor *tensor, int bits)
{
    if (bits > 0) {
        tensor->bits = bits;
    }
}

static wtl_work_layer layer_at(const layer_entry *entry, const wtl_energy_query *query)
{
    wtl_work_layer layer = entry->layer;
    layer.filter.zeros = wtl_work_values(&layer.filter) - query->weight_nonzeros;
    layer.ifmap.zeros = query->ifmap_zeros;
    layer.ofmap.zeros = query->ofmap_zeros;
    apply_bits(&layer.ifmap, query->ifmap_bits);
    apply_bits(&layer.filter, query->weight_bits);
    apply_bits(&layer.ofmap, query->ofmap_bits);
    return layer;
}

static bool counts_see_bits(const wtl_hardware *hw)
{
    return hw->dataflow == WTL_ROW_STATIONARY && hw->accounting == WTL_COUNT_CVPR17;
}

static bool same_bits(const wtl_work_layer *a, const wtl_work_layer *b)
{
    return a->ifmap.bits == b->ifmap.bits && a->filter.bits == b->filter.bits &&
           a->ofmap.bits == b->ofmap.bits;
}

static double cost_of(const wtl_energy_oracle *oracle, const layer_entry *entry,
                      const wtl_work_layer *layer)
{
    bool first = entry == oracle->layers;
    const wtl_access_counts *counts = &entry->counts;
    wtl_access_counts counted;
    if (counts_see_bits(&oracle->hw) && !same_bits(layer, &entry->layer)) {
        wtl_rs_count(&counted, &oracle->hw, layer, &entry->mapping.as.rs);
        counts = &counted;
    }
    wtl_layer_case c = wtl_layer_case_of(&oracle->hw, layer, first, &entry->mapping, counts);
    wtl_zero_rates rates;
    double energy[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT];
    wtl_zero_rates_of(&rates, &c);
    return wtl_layer_cost(energy, &c, &rates);
}

double wtl_energy_oracle_ask(const wtl_energy_oracle *oracle, int layer,
                             const wtl_energy_query *query)
{
    const layer_entry *entry = &oracle->layers[layer];
    wtl_work_layer at = layer_at(entry, query);
    return cost_of(oracle, entry, &at);
}
