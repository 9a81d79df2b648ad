/* mapping.c - counts and search by dataflow. */
#include "wattle/mapping.h"

#include "mapping_private.h"
#include "mapping_rs.h"

/* Partial sums that go to DRAM and come back are no ofmap yet: only the last write of each
 * value has its zeros. */
static void keep_spilled_psums_whole(wtl_access_counts *counts, const wtl_work_layer *layer)
{
    double values = wtl_work_values(&layer->ofmap);
    const double *words = counts->words[WTL_LEVEL_DRAM][WTL_DATA_OFMAP];
    double *whole = counts->whole[WTL_LEVEL_DRAM][WTL_DATA_OFMAP];
    whole[WTL_READ] = words[WTL_READ];
    whole[WTL_WRITE] = words[WTL_WRITE] > values ? words[WTL_WRITE] - values : 0.0;
}

wtl_status wtl_mapping_count(wtl_access_counts *out, const wtl_hardware *hw,
                             const wtl_work_layer *layer, const wtl_mapping *mapping,
                             wtl_error *err)
{
    *out = (wtl_access_counts){0};
    wtl_status status = wtl_work_layer_check(layer, err);
    if (status != WTL_OK) {
        return status;
    }
    if (mapping->dataflow != hw->dataflow) {
        return wtl_fail(err, WTL_E_FIT, "mapping: it is %s, the hardware is %s",
                        wtl_dataflow_name(mapping->dataflow), wtl_dataflow_name(hw->dataflow));
    }
    if (mapping->dataflow == WTL_ROW_STATIONARY) {
        status = wtl_rs_check(hw, layer, &mapping->as.rs, err);
        if (status == WTL_OK) {
            wtl_rs_count(out, hw, layer, &mapping->as.rs);
        }
        return status;
    }
    status = wtl_nest_count(out, hw, layer, &mapping->as.nest, err);
    if (status == WTL_OK) {
        keep_spilled_psums_whole(out, layer);
    }
    return status;
}

wtl_status wtl_mapping_search(wtl_mapping *out, const wtl_hardware *hw,
                              const wtl_work_layer *layer, wtl_error *err)
{
    *out = (wtl_mapping){.dataflow = hw->dataflow};
    wtl_status status = wtl_work_layer_check(layer, err);
    if (status != WTL_OK) {
        return status;
    }
    return hw->dataflow == WTL_ROW_STATIONARY ? wtl_rs_search(&out->as.rs, hw, layer, err)
                                              : wtl_nest_search(&out->as.nest, hw, layer, err);
}
