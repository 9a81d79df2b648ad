/* layer_cost.c - from access counts to energy.
 *
 * E = sum over types and levels of  words * rate * energy per access * bits/word_bits  +
 *     MACs * rate * MAC energy * (weight bits/word_bits) * (ifmap bits/word_bits)
 *
 * A rate is what zeros leave, 0..1:
 *
 *   DRAM, buffer  compressed words / values of the tensor (hw->compress)
 *   MAC, RF       ds * (dg + (1-dg) * gated_share), with ds (dg) the product of the densities
 *                 of the operands whose zeros are skipped (gated). Zeros lie anywhere with the
 *                 same chance; padding of the ifmap is zeros.
 *   other         1
 *
 * The CVPR 2017 accounting also delivers compressed words, and fills scratchpads with at most
 * two words a non-zero (inferred from the weights of the four published rows).
 */
#include "layer_cost.h"

#include "mapping_rs.h"

#include <math.h>

typedef struct storage {
    wtl_compression compression;
    double values, nonzeros;
    int bits;
} storage;

wtl_layer_case wtl_layer_case_of(const wtl_hardware *hw, const wtl_work_layer *layer,
                                 bool first_layer, const wtl_mapping *mapping,
                                 const wtl_access_counts *counts)
{
    double share = mapping->dataflow == WTL_ROW_STATIONARY
                       ? wtl_rs_channel_share(hw, layer, &mapping->as.rs)
                       : 1.0;
    return (wtl_layer_case){hw, layer, first_layer, share, counts};
}

static bool is_cvpr17(const wtl_hardware *hw)
{
    return hw->dataflow == WTL_ROW_STATIONARY && hw->accounting == WTL_COUNT_CVPR17;
}

/* ---- storage ---- */

/* Pairs of a 5-bit run and a level, whole pairs and one end bit in 64 bits. */
static double run_length_words(int bits)
{
    return 64.0 / bits / floor(63.0 / (5 + bits));
}

/* Words that a tensor takes; never more than raw. */
static double stored_words(const storage *s)
{
    switch (s->compression) {
    case WTL_COMPRESS_RUN_LENGTH:
        return fmin(s->values, s->nonzeros * run_length_words(s->bits));
    case WTL_COMPRESS_PRESENCE:
        return fmin(s->values, s->nonzeros + s->values / s->bits);
    default:
        return s->values;
    }
}

/* d stored words / d non-zeros, towards fewer. */
static double stored_slope(const storage *s)
{
    switch (s->compression) {
    case WTL_COMPRESS_RUN_LENGTH:
        return s->nonzeros * run_length_words(s->bits) <= s->values ? run_length_words(s->bits)
                                                                    : 0.0;
    case WTL_COMPRESS_PRESENCE:
        return s->nonzeros + s->values / s->bits <= s->values ? 1.0 : 0.0;
    default:
        return 0.0;
    }
}

static const wtl_work_tensor *tensor_of(const wtl_work_layer *layer, int type)
{
    switch (type) {
    case WTL_DATA_IFMAP:
        return &layer->ifmap;
    case WTL_DATA_OFMAP:
        return &layer->ofmap;
    default:
        return &layer->filter;
    }
}

/* Channels that only fill a pass hold ifmap values that are not zero, and weights that are. */
static storage storage_of(const wtl_layer_case *c, int type, wtl_compression compression)
{
    const wtl_work_tensor *tensor = tensor_of(c->layer, type);
    double share = type == WTL_DATA_OFMAP ? 1.0 : c->channel_share;
    double values = wtl_work_values(tensor);
    storage s = {compression, values * share, values - tensor->zeros, tensor->bits};
    if (type == WTL_DATA_IFMAP) {
        s.nonzeros = s.values - tensor->zeros;
        if (c->first_layer && c->hw->first_ifmap_raw) {
            s.compression = WTL_COMPRESS_NONE;
        }
    }
    return s;
}

/* ---- rates ---- */

typedef struct densities {
    double ifmap, weight;
} densities;

static double padded_share(const wtl_work_layer *l)
{
    double h = (double)l->ifmap.h + l->pad[0] + l->pad[1];
    double w = (double)l->ifmap.w + l->pad[2] + l->pad[3];
    return l->ifmap.h / h * (l->ifmap.w / w);
}

static densities densities_of(const wtl_layer_case *c)
{
    storage ifmap = storage_of(c, WTL_DATA_IFMAP, WTL_COMPRESS_NONE);
    return (densities){ifmap.nonzeros / ifmap.values * padded_share(c->layer),
                       wtl_work_density(&c->layer->filter)};
}

/* Affine in each density. */
static double operations(const wtl_hardware *hw, densities d)
{
    double skip = 1.0, gate = 1.0;
    skip *= hw->zero_ifmap == WTL_ZERO_SKIPS ? d.ifmap : 1.0;
    skip *= hw->zero_weight == WTL_ZERO_SKIPS ? d.weight : 1.0;
    gate *= hw->zero_ifmap == WTL_ZERO_GATES ? d.ifmap : 1.0;
    gate *= hw->zero_weight == WTL_ZERO_GATES ? d.weight : 1.0;
    return skip * (gate + (1.0 - gate) * hw->gated_share);
}

double wtl_macs_kept(const wtl_layer_case *c)
{
    densities d = densities_of(c);
    return (c->hw->zero_ifmap == WTL_ZERO_COUNTS ? 1.0 : d.ifmap) *
           (c->hw->zero_weight == WTL_ZERO_COUNTS ? 1.0 : d.weight);
}

/* The dense tensor counts one value in 0 words as rate 1. */
static double stored_rate(const wtl_layer_case *c, int type, wtl_compression compression)
{
    storage s = storage_of(c, type, compression);
    return stored_words(&s) / s.values;
}

void wtl_zero_rates_of(wtl_zero_rates *out, const wtl_layer_case *c)
{
    const wtl_hardware *hw = c->hw;
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        storage s = storage_of(c, type, WTL_COMPRESS_NONE);
        out->dram[type] = stored_rate(c, type, hw->compress[WTL_LEVEL_DRAM][type]);
        out->buffer[type] = stored_rate(c, type, hw->compress[WTL_LEVEL_BUFFER][type]);
        out->array[type] = is_cvpr17(hw) ? out->dram[type] : 1.0;
        out->fill[type] = is_cvpr17(hw) ? fmin(1.0, 2.0 * s.nonzeros / s.values) : 1.0;
    }
    out->operations = operations(hw, densities_of(c));
    out->whole = 1.0;
}

static double stored_rate_slope(const wtl_layer_case *c, int type, wtl_compression compression)
{
    storage s = storage_of(c, type, compression);
    return stored_slope(&s) / s.values;
}

void wtl_zero_slopes_of(wtl_zero_rates *out, const wtl_layer_case *c, wtl_data_type type)
{
    const wtl_hardware *hw = c->hw;
    storage s = storage_of(c, (int)type, WTL_COMPRESS_NONE);
    *out = (wtl_zero_rates){.whole = 0.0};
    out->dram[type] = stored_rate_slope(c, (int)type, hw->compress[WTL_LEVEL_DRAM][type]);
    out->buffer[type] = stored_rate_slope(c, (int)type, hw->compress[WTL_LEVEL_BUFFER][type]);
    if (is_cvpr17(hw)) {
        out->array[type] = out->dram[type];
        out->fill[type] = 2.0 * s.nonzeros <= s.values ? 2.0 / s.values : 0.0;
    }
    densities zero = densities_of(c), one = zero;
    if (type == WTL_DATA_WEIGHT) {
        zero.weight = 0.0;
        one.weight = 1.0;
        out->operations =
            (operations(hw, one) - operations(hw, zero)) / wtl_work_values(&c->layer->filter);
    } else if (type == WTL_DATA_IFMAP) {
        zero.ifmap = 0.0;
        one.ifmap = 1.0;
        out->operations =
            (operations(hw, one) - operations(hw, zero)) * padded_share(c->layer) / s.values;
    }
}

/* ---- energy ---- */

static double rate_of(const wtl_zero_rates *rates, int level, int type, int direction)
{
    switch (level) {
    case WTL_LEVEL_DRAM:
        return rates->dram[type];
    case WTL_LEVEL_BUFFER:
        return rates->buffer[type];
    case WTL_LEVEL_ARRAY:
        return rates->array[type];
    default:
        return direction == WTL_WRITE && type != WTL_DATA_OFMAP ? rates->fill[type]
                                                                : rates->operations;
    }
}

static double words_left(const wtl_layer_case *c, const wtl_zero_rates *rates, int level,
                         int type, int direction)
{
    double words = c->counts->words[level][type][direction];
    double whole = c->counts->whole[level][type][direction];
    return (words - whole) * rate_of(rates, level, type, direction) + whole * rates->whole;
}

double wtl_layer_cost(double energy[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT],
                      const wtl_layer_case *c, const wtl_zero_rates *rates)
{
    const wtl_hardware *hw = c->hw;
    double word_bits = hw->word_bits, images = c->layer->ifmap.count, total = 0.0;
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        double scale = tensor_of(c->layer, type)->bits / word_bits / images;
        for (int level = 0; level < WTL_LEVEL_MAC; level++) {
            const double *access = hw->energy[level][type];
            energy[type][level] =
                scale * (words_left(c, rates, level, type, WTL_READ) * access[WTL_READ] +
                         words_left(c, rates, level, type, WTL_WRITE) * access[WTL_WRITE]);
            total += energy[type][level];
        }
        energy[type][WTL_LEVEL_MAC] = 0.0;
    }
    double product = c->layer->filter.bits / word_bits * (c->layer->ifmap.bits / word_bits);
    for (int level = 0; level < WTL_LEVEL_MAC; level++) {
        energy[WTL_DATA_COMPUTATION][level] = 0.0;
    }
    double macs = c->counts->macs * rates->operations * hw->mac_energy * product / images;
    energy[WTL_DATA_COMPUTATION][WTL_LEVEL_MAC] = macs;
    return total + macs;
}

double wtl_layer_dram_bytes(const wtl_layer_case *c, const wtl_zero_rates *rates)
{
    double bytes = 0.0;
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        double words = words_left(c, rates, WTL_LEVEL_DRAM, type, WTL_READ) +
                       words_left(c, rates, WTL_LEVEL_DRAM, type, WTL_WRITE);
        bytes += words * tensor_of(c->layer, type)->bits / 8.0;
    }
    return bytes / c->layer->ifmap.count;
}
