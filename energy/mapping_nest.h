/* mapping_nest.h - the sizes behind a loop nest, shared by its counter and its search. */
#ifndef WTL_MAPPING_NEST_H
#define WTL_MAPPING_NEST_H

#include "mapping_private.h"

#include <stdint.h>

/* One group of a layer as a nest sees it. Axis 0 is P with R, axis 1 is Q with S. */
typedef struct wtl_nest_layer {
    int64_t size[WTL_LOOP_DIM_COUNT];
    int stride[2], dilation[2];
    int64_t used[2]; /* rows and columns of the padded ifmap that the filter reaches */
    int64_t real[2]; /* those of them that are no padding */
    double macs;     /* of the group */
    int groups;
} wtl_nest_layer;

wtl_nest_layer wtl_nest_layer_of(const wtl_work_layer *layer);

/* A data type has nothing to do with the loops over these dims: they reuse what they find. */
static inline wtl_data_type wtl_nest_idle_type(wtl_loop_dim dim)
{
    switch (dim) {
    case WTL_LOOP_M:
        return WTL_DATA_IFMAP;
    case WTL_LOOP_C:
    case WTL_LOOP_R:
    case WTL_LOOP_S:
        return WTL_DATA_OFMAP;
    default:
        return WTL_DATA_WEIGHT;
    }
}

/* A PE keeps values of that type from one MAC to the next. */
static inline bool wtl_nest_stored(const wtl_hardware *hw, wtl_data_type type)
{
    return hw->rf_pool_words > 0 || hw->rf_words[type] > 0;
}

/* Sum of the words of all tiles of a type when every dim is cut into tiles of `tile`. Ifmap
 * tiles overlap where filters do; unless `padded`, rows and columns of padding are left out. */
double wtl_nest_words(const wtl_nest_layer *l, wtl_data_type type, const int64_t *tile,
                      bool padded);

/* Words of the largest single tile. */
double wtl_nest_tile_words(const wtl_nest_layer *l, wtl_data_type type, const int64_t *tile);

/* How many PEs share the work on a dim, summed over its tiles: each tile is spread over up to
 * `spatial` PEs in parts of `part`. */
static inline int64_t wtl_nest_spread(int64_t size, int64_t tile, int64_t part, int64_t spatial)
{
    int64_t tiles = wtl_ceil_div(size, tile);
    int64_t full = wtl_ceil_div(tile, part), last = size - (tiles - 1) * tile;
    last = wtl_ceil_div(last, part);
    return (tiles - 1) * (full < spatial ? full : spatial) + (last < spatial ? last : spatial);
}

/* Steps that a dim takes when `spatial` PEs side by side each walk through `part`. */
static inline int64_t wtl_nest_steps(int64_t size, int64_t part, int64_t spatial)
{
    int64_t rest = size % (part * spatial);
    return size / (part * spatial) * part + (rest < part ? rest : part);
}

#endif
