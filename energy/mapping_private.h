/* mapping_private.h - what the files of the mapping share. */
#ifndef WTL_MAPPING_PRIVATE_H
#define WTL_MAPPING_PRIVATE_H

#include "wattle/mapping.h"

#include <assert.h>
#include <stdint.h>

/* ceil(a / b) of a >= 0 and b >= 1; no more than a, so it fits where a does. */
static inline int64_t wtl_ceil_div(int64_t a, int64_t b)
{
    assert(b > 0);
    return a / b + (a % b != 0);
}

/* Count the accesses of a loop nest. hw->dataflow is not looked at: any nest is counted by the
 * same rules. The layer is consistent (wtl_work_layer_check). The nest's factors are those of
 * one group; counts are for all groups.
 *   WTL_E_RANGE  a factor is below 1, a dimension is not covered, places are out of order
 *   WTL_E_FIT    array, scratchpad or buffer are too small; says which and by how much */
wtl_status wtl_nest_count(wtl_access_counts *out, const wtl_hardware *hw,
                          const wtl_work_layer *layer, const wtl_nest_mapping *mapping,
                          wtl_error *err) WTL_MUST_CHECK;

/* The nest of least energy for dense data among those that hw->dataflow allows (weight- or
 * output-stationary, no local reuse). WTL_E_FIT when nothing fits. */
wtl_status wtl_nest_search(wtl_nest_mapping *out, const wtl_hardware *hw,
                           const wtl_work_layer *layer, wtl_error *err) WTL_MUST_CHECK;

#endif
