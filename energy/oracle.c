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

/* The entry's counts, or counts made anew for a layer of other bits. */
static const wtl_access_counts *counts_at(wtl_access_counts *counted,
                                          const wtl_energy_oracle *oracle,
                                          const layer_entry *entry, const wtl_work_layer *layer)
{
    if (!counts_see_bits(&oracle->hw) || same_bits(layer, &entry->layer)) {
        return &entry->counts;
    }
    wtl_rs_count(counted, &oracle->hw, layer, &entry->mapping.as.rs);
    return counted;
}

static double cost_with(const wtl_energy_oracle *oracle, const layer_entry *entry,
                        const wtl_work_layer *layer, const wtl_access_counts *counts)
{
    wtl_zero_rates rates;
    double energy[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT];
    bool first = entry == oracle->layers;
    wtl_layer_case c = wtl_layer_case_of(&oracle->hw, layer, first, &entry->mapping, counts);
    wtl_zero_rates_of(&rates, &c);
    return wtl_layer_cost(energy, &c, &rates);
}

static double cost_of(const wtl_energy_oracle *oracle, const layer_entry *entry,
                      const wtl_work_layer *layer)
{
    wtl_access_counts counted;
    return cost_with(oracle, entry, layer, counts_at(&counted, oracle, entry, layer));
}

double wtl_energy_oracle_ask(const wtl_energy_oracle *oracle, int layer,
                             const wtl_energy_query *query)
{
    const layer_entry *entry = &oracle->layers[layer];
    wtl_work_layer at = layer_at(entry, query);
    return cost_of(oracle, entry, &at);
}

/* ---- marginals ---- */

static double slope(const wtl_layer_case *c, wtl_data_type type)
{
    wtl_zero_rates slopes;
    double energy[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT];
    wtl_zero_slopes_of(&slopes, c, type);
    return wtl_layer_cost(energy, c, &slopes);
}

static void find_slopes(wtl_energy_marginals *out, const wtl_energy_oracle *oracle,
                        const layer_entry *entry, const wtl_work_layer *layer)
{
    wtl_access_counts counted;
    bool first = entry == oracle->layers;
    const wtl_access_counts *counts = counts_at(&counted, oracle, entry, layer);
    wtl_layer_case c = wtl_layer_case_of(&oracle->hw, layer, first, &entry->mapping, counts);
    out->per_weight = slope(&c, WTL_DATA_WEIGHT);
    out->per_ifmap_nonzero = slope(&c, WTL_DATA_IFMAP);
    out->per_ofmap_nonzero = slope(&c, WTL_DATA_OFMAP);
}

/* E(b) - E(b-1) for `bits` inside `layer`; a value of 1 bit has no less: 0. */
static double per_bit(const wtl_energy_oracle *oracle, const layer_entry *entry,
                      wtl_work_layer *layer, int *bits, double here)
{
    if (*bits <= 1) {
        return 0.0;
    }
    --*bits;
    double less = cost_of(oracle, entry, layer);
    ++*bits;
    return here - less;
}

/* Take `less` of *size away; the density stays. */
static void narrow(wtl_work_tensor *tensor, int *size, int less)
{
    tensor->zeros *= (double)(*size - less) / *size;
    *size -= less;
}

/* The cost with other sizes at the cached mapping, which still covers them. */
static double cost_resized(const wtl_energy_oracle *oracle, const layer_entry *entry,
                           const wtl_work_layer *layer, double here)
{
    wtl_access_counts counts;
    if (oracle->hw.dataflow == WTL_ROW_STATIONARY) {
        wtl_rs_count(&counts, &oracle->hw, layer, &entry->mapping.as.rs);
    } else if (wtl_nest_count(&counts, &oracle->hw, layer, &entry->mapping.as.nest, NULL) !=
               WTL_OK) {
        return here;
    }
    return cost_with(oracle, entry, layer, &counts);
}

/* Every group loses a filter, so that they stay alike; a group's share of the difference. */
static double per_filter(const wtl_energy_oracle *oracle, const layer_entry *entry,
                         wtl_work_layer layer, double here)
{
    int groups = wtl_work_groups(&layer);
    if (layer.filter.count == groups) {
        return here / groups; /* nothing is left */
    }
    narrow(&layer.filter, &layer.filter.count, groups);
    narrow(&layer.ofmap, &layer.ofmap.channels, groups);
    return (here - cost_resized(oracle, entry, &layer, here)) / groups;
}

static double per_channel(const wtl_energy_oracle *oracle, const layer_entry *entry,
                          wtl_work_layer layer, double here)
{
    int groups = wtl_work_groups(&layer);
    if (layer.filter.channels == 1) {
        return here / groups;
    }
    narrow(&layer.filter, &layer.filter.channels, 1);
    narrow(&layer.ifmap, &layer.ifmap.channels, groups);
    return (here - cost_resized(oracle, entry, &layer, here)) / groups;
}

wtl_energy_marginals wtl_energy_oracle_marginals(const wtl_energy_oracle *oracle, int layer,
                                                 const wtl_energy_query *query)
{
    const layer_entry *entry = &oracle->layers[layer];
    wtl_work_layer at = layer_at(entry, query);
    double here = cost_of(oracle, entry, &at);
    wtl_energy_marginals out = {0};
    find_slopes(&out, oracle, entry, &at);
    out.per_filter = per_filter(oracle, entry, at, here);
    out.per_channel = per_channel(oracle, entry, at, here);
    out.per_weight_bit = per_bit(oracle, entry, &at, &at.filter.bits, here);
    out.per_ifmap_bit = per_bit(oracle, entry, &at, &at.ifmap.bits, here);
    out.per_ofmap_bit = per_bit(oracle, entry, &at, &at.ofmap.bits, here);
    return out;
}
