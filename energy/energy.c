/* energy.c - the estimate of a workload on a hardware, layer by layer. */
#include "wattle/energy.h"

#include "layer_cost.h"
#include "wattle/memory.h"

#include <stdio.h>
#include <string.h>

wtl_status wtl_energy_layer(wtl_layer_energy *out, const wtl_hardware *hw,
                            const wtl_work_layer *layer, bool first_layer,
                            const wtl_mapping *mapping, wtl_error *err)
{
    *out = (wtl_layer_energy){.index = layer->index};
    memcpy(out->name, layer->name, sizeof out->name);
    out->mapping = *mapping;
    wtl_status status = wtl_mapping_count(&out->counts, hw, layer, mapping, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_layer_case c = wtl_layer_case_of(hw, layer, first_layer, mapping, &out->counts);
    wtl_zero_rates rates;
    wtl_zero_rates_of(&rates, &c);
    out->total = wtl_layer_cost(out->energy, &c, &rates);
    out->dram_bytes = wtl_layer_dram_bytes(&c, &rates);
    out->macs = wtl_work_macs(layer) / layer->ifmap.count;
    out->macs_not_skipped = out->macs * wtl_macs_kept(&c);
    out->weights = wtl_work_values(&layer->filter);
    out->weights_not_zero = out->weights - layer->filter.zeros;
    out->ifmap_density = wtl_work_density(&layer->ifmap);
    out->ofmap_density = wtl_work_density(&layer->ofmap);
    out->weight_density = wtl_work_density(&layer->filter);
    return WTL_OK;
}

static wtl_status fail_in_layer(wtl_error *err, wtl_status status, const wtl_work_layer *layer)
{
    char place[WTL_WORK_NAME_SIZE + 32];
    if (layer->name[0]) {
        snprintf(place, sizeof place, "layer %d (%s)", layer->index, layer->name);
    } else {
        snprintf(place, sizeof place, "layer %d", layer->index);
    }
    return wtl_fail_in(err, status, place);
}

static wtl_status estimate_layer(wtl_layer_energy *out, const wtl_hardware *hw,
                                 const wtl_workload *work, int i,
                                 const wtl_energy_options *options, wtl_error *err)
{
    const wtl_work_layer *layer = &work->layers[i];
    wtl_mapping found;
    const wtl_mapping *mapping = &found;
    wtl_status status = WTL_OK;
    if (options && options->mappings) {
        mapping = &options->mappings[i];
    } else {
        status = wtl_mapping_search(&found, hw, layer, err);
    }
    if (status == WTL_OK) {
        status = wtl_energy_layer(out, hw, layer, i == 0, mapping, err);
    }
    return status == WTL_OK ? WTL_OK : fail_in_layer(err, status, layer);
}

wtl_status wtl_energy_estimate(wtl_energy_report *out, const wtl_hardware *hw,
                               const wtl_workload *work, const wtl_energy_options *options,
                               wtl_error *err)
{
    *out = (wtl_energy_report){.mac_pj = hw->mac_pj};
    wtl_energy_report report = *out;
    memcpy(report.workload, work->name, sizeof report.workload);
    memcpy(report.hardware, hw->name, sizeof report.hardware);
    report.batch = work->layer_count > 0 ? work->layers[0].ifmap.count : 0;
    report.weight_zeros_measured = work->weight_zeros_measured;
    report.activation_zeros_measured = work->activation_zeros_measured;
    report.sample_images = work->sample_images;
    report.layers = wtl_alloc((size_t)work->layer_count, sizeof *report.layers);
    if (!report.layers) {
        return wtl_fail(err, WTL_E_NOMEM, "energy: out of memory for %d layers",
                        work->layer_count);
    }
    report.layer_count = work->layer_count;
    wtl_status status = WTL_OK;
    for (int i = 0; i < work->layer_count && status == WTL_OK; i++) {
        status = estimate_layer(&report.layers[i], hw, work, i, options, err);
        report.total += report.layers[i].total;
    }
    if (status != WTL_OK) {
        wtl_energy_report_clear(&report);
        return status;
    }
    *out = report;
    return WTL_OK;
}
