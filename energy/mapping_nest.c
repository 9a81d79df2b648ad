/* mapping_nest.c - accesses of any loop nest over DRAM, buffer, array and scratchpads.
 *
 * Loops placed at a level run around the tile that this level hands to the next one: the tile
 * in the buffer is what all loops below DRAM cover, a PE's tile what its own loops cover. The
 * rules, the same for each data type:
 *
 * - A tile is moved again whenever a loop that its type depends on advances. Loops that it does
 *   not depend on, if they are the innermost above it, find it still in place and cost nothing;
 *   further out they move everything below them again.
 * - An ifmap tile has the rows and columns that its outputs need; neighbours overlap and are
 *   fetched whole.
 * - Over the array, loops that a type does not depend on share one word: the buffer is read
 *   once for all those PEs (multicast), and partial sums of those PEs are added up on the way
 *   (hops). Every other PE gets words of its own.
 * - A partial sum that leaves is written one level up and, when its sum goes on, read back from
 *   there; a transfer between two levels is counted once, at the upper one.
 * - A type without scratchpad moves to or from the array with every MAC.
 *
 * Checked against the reference output of Timeloop's eyeriss_like example. Tiles need not
 * divide their dims: the last one is smaller and counted so.
 */
#include "mapping_nest.h"

#include <math.h>

typedef struct nest {
    const wtl_hardware *hw;
    wtl_nest_layer layer;
    const wtl_loop *loops;
    int count;
    int buffer_at, array_at, rf_at; /* first loop at or inside that place */
    int64_t spatial[WTL_LOOP_DIM_COUNT];
    int64_t part[WTL_LOOP_DIM_COUNT]; /* of a dim in one PE */
} nest;

static const char dim_letters[] = "NCMRSPQ";

/* ---- sizes ---- */

wtl_nest_layer wtl_nest_layer_of(const wtl_work_layer *layer)
{
    int groups = wtl_work_groups(layer);
    wtl_nest_layer l = {.size = {[WTL_LOOP_N] = layer->ifmap.count,
                                 [WTL_LOOP_C] = layer->filter.channels,
                                 [WTL_LOOP_M] = layer->filter.count / groups,
                                 [WTL_LOOP_R] = layer->filter.h,
                                 [WTL_LOOP_S] = layer->filter.w,
                                 [WTL_LOOP_P] = layer->ofmap.h,
                                 [WTL_LOOP_Q] = layer->ofmap.w},
                        .stride = {layer->stride[0], layer->stride[1]},
                        .dilation = {layer->dilation[0], layer->dilation[1]},
                        .macs = wtl_work_macs(layer) / groups,
                        .groups = groups};
    const int64_t in[2] = {layer->ifmap.h, layer->ifmap.w};
    for (int axis = 0; axis < 2; axis++) {
        l.used[axis] = l.stride[axis] * (l.size[WTL_LOOP_P + axis] - 1) +
                       l.dilation[axis] * (l.size[WTL_LOOP_R + axis] - 1) + 1;
        int64_t real = l.used[axis] - layer->pad[2 * axis];
        real = real < in[axis] ? real : in[axis];
        l.real[axis] = real > 0 ? real : 0;
    }
    return l;
}

_Static_assert(WTL_LOOP_S == WTL_LOOP_R + 1 && WTL_LOOP_Q == WTL_LOOP_P + 1,
               "dims of axis 1 follow those of axis 0");

/* Rows of all ifmap tiles along an axis. Padding is taken off where tiles hold the whole
 * filter, so that it lies in the first and last tile; else in proportion. */
static double axis_words(const wtl_nest_layer *l, int axis, const int64_t *tile, bool padded)
{
    int64_t p = l->size[WTL_LOOP_P + axis], r = l->size[WTL_LOOP_R + axis];
    int64_t np = wtl_ceil_div(p, tile[WTL_LOOP_P + axis]);
    int64_t nr = wtl_ceil_div(r, tile[WTL_LOOP_R + axis]);
    double rows = (double)l->stride[axis] * (double)(nr * (p - np)) +
                  (double)l->dilation[axis] * (double)(np * (r - nr)) + (double)(np * nr);
    if (padded) {
        return rows;
    }
    double used = (double)l->used[axis], real = (double)l->real[axis];
    return nr == 1 ? fmax(rows - (used - real), 0) : rows * real / used;
}

double wtl_nest_words(const wtl_nest_layer *l, wtl_data_type type, const int64_t *tile,
                      bool padded)
{
    const int64_t *s = l->size;
    switch (type) {
    case WTL_DATA_IFMAP:
        return (double)s[WTL_LOOP_N] * (double)s[WTL_LOOP_C] * axis_words(l, 0, tile, padded) *
               axis_words(l, 1, tile, padded);
    case WTL_DATA_OFMAP:
        return (double)s[WTL_LOOP_N] * (double)s[WTL_LOOP_M] * (double)s[WTL_LOOP_P] *
               (double)s[WTL_LOOP_Q];
    default:
        return (double)s[WTL_LOOP_C] * (double)s[WTL_LOOP_M] * (double)s[WTL_LOOP_R] *
               (double)s[WTL_LOOP_S];
    }
}

double wtl_nest_tile_words(const wtl_nest_layer *l, wtl_data_type type, const int64_t *tile)
{
    wtl_nest_layer one = *l;
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        one.size[d] = tile[d] < l->size[d] ? tile[d] : l->size[d];
    }
    return wtl_nest_words(&one, type, one.size, true);
}

/* What the loops from `from` on cover of a dim. */
static int64_t covered(const nest *n, int dim, int from)
{
    int64_t size = n->layer.size[dim], product = 1;
    for (int i = from; i < n->count && product < size; i++) {
        product *= (int)n->loops[i].dim == dim ? n->loops[i].factor : 1;
    }
    return product < size ? product : size;
}

static void covered_all(const nest *n, int from, int64_t *tile)
{
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        tile[d] = covered(n, d, from);
    }
}

/* ---- the nest's form ---- */

static wtl_status check_loops(const wtl_nest_mapping *mapping, wtl_error *err)
{
    if (mapping->loop_count < 0 || mapping->loop_count > WTL_MOST_LOOPS) {
        return wtl_fail(err, WTL_E_RANGE, "mapping: %d loops; expected 0 to %d",
                        mapping->loop_count, WTL_MOST_LOOPS);
    }
    for (int i = 0; i < mapping->loop_count; i++) {
        const wtl_loop *loop = &mapping->loops[i];
        if ((unsigned)loop->place > WTL_LOOP_RF || (unsigned)loop->dim >= WTL_LOOP_DIM_COUNT ||
            (i > 0 && loop->place < loop[-1].place)) {
            return wtl_fail(err, WTL_E_RANGE,
                            "mapping: loop %d is out of place; expected the order DRAM, "
                            "buffer, X, Y, RF",
                            i + 1);
        }
        if (loop->factor < 1) {
            return wtl_fail(err, WTL_E_RANGE, "mapping: %c%d; expected a factor of 1 or more",
                            dim_letters[loop->dim], loop->factor);
        }
    }
    return WTL_OK;
}

static int first_at(const wtl_nest_mapping *mapping, wtl_loop_place place)
{
    int i = 0;
    while (i < mapping->loop_count && mapping->loops[i].place < place) {
        i++;
    }
    return i;
}

static wtl_status open_nest(nest *n, const wtl_hardware *hw, const wtl_work_layer *layer,
                            const wtl_nest_mapping *mapping, wtl_error *err)
{
    wtl_status status = check_loops(mapping, err);
    if (status != WTL_OK) {
        return status;
    }
    *n = (nest){.hw = hw,
                .layer = wtl_nest_layer_of(layer),
                .loops = mapping->loops,
                .count = mapping->loop_count,
                .buffer_at = first_at(mapping, WTL_LOOP_BUFFER),
                .array_at = first_at(mapping, WTL_LOOP_SPATIAL_X),
                .rf_at = first_at(mapping, WTL_LOOP_RF)};
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        if (covered(n, d, 0) < n->layer.size[d]) {
            return wtl_fail(err, WTL_E_RANGE,
                            "mapping: the loops over %c cover %lld; expected at least %lld",
                            dim_letters[d], (long long)covered(n, d, 0),
                            (long long)n->layer.size[d]);
        }
        n->spatial[d] = 1;
        n->part[d] = covered(n, d, n->rf_at);
    }
    for (int i = n->array_at; i < n->rf_at; i++) {
        /* More PEs than the dim has values would idle; the array's size is checked apart. */
        int64_t *spatial = &n->spatial[n->loops[i].dim];
        int64_t most = n->layer.size[n->loops[i].dim];
        *spatial = *spatial * n->loops[i].factor < most ? *spatial * n->loops[i].factor : most;
    }
    return WTL_OK;
}

/* ---- what fits ---- */

static double spatial_product(const nest *n, wtl_loop_place place)
{
    double product = 1;
    for (int i = n->array_at; i < n->rf_at; i++) {
        product *= n->loops[i].place == place ? n->loops[i].factor : 1;
    }
    return product;
}

static wtl_status check_room(double needed, double room, const char *what, wtl_error *err)
{
    return needed <= room ? WTL_OK
                          : wtl_fail(err, WTL_E_FIT,
                                     "mapping: %s: %.0f are needed, %.0f more than the %.0f "
                                     "there are",
                                     what, needed, needed - room, room);
}

static wtl_status check_array(const nest *n, wtl_error *err)
{
    double x = spatial_product(n, WTL_LOOP_SPATIAL_X);
    double y = spatial_product(n, WTL_LOOP_SPATIAL_Y);
    const wtl_hardware *hw = n->hw;
    if (!hw->grid) {
        return check_room(x * y, (double)hw->rows * hw->columns, "PEs", err);
    }
    wtl_status status = check_room(x, hw->columns, "array columns", err);
    return status == WTL_OK ? check_room(y, hw->rows, "array rows", err) : status;
}

static wtl_status check_scratchpads(const nest *n, wtl_error *err)
{
    static const char *const names[] = {"ifmap scratchpad words", "psum scratchpad words",
                                        "weight scratchpad words"};
    double sum = 0;
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        double words = wtl_nest_tile_words(&n->layer, (wtl_data_type)type, n->part);
        int room = n->hw->rf_words[type];
        sum += words;
        if (n->hw->rf_pool_words == 0 && room > 0 && words > room) {
            return check_room(words, room, names[type], err);
        }
    }
    return n->hw->rf_pool_words > 0
               ? check_room(sum, n->hw->rf_pool_words, "scratchpad words", err)
               : WTL_OK;
}

static wtl_status check_buffer(const nest *n, wtl_access_counts *out, wtl_error *err)
{
    int64_t tile[WTL_LOOP_DIM_COUNT];
    covered_all(n, n->buffer_at, tile);
    if (n->hw->most_images > 0 && tile[WTL_LOOP_N] > n->hw->most_images) {
        return check_room((double)tile[WTL_LOOP_N], n->hw->most_images, "images at once", err);
    }
    out->buffer_ifmap_words = wtl_nest_tile_words(&n->layer, WTL_DATA_IFMAP, tile);
    out->buffer_psum_words = wtl_nest_tile_words(&n->layer, WTL_DATA_OFMAP, tile);
    if (!n->hw->weights_bypass_buffer) {
        out->buffer_weight_words = wtl_nest_tile_words(&n->layer, WTL_DATA_WEIGHT, tile);
    }
    return check_room(out->buffer_ifmap_words + out->buffer_psum_words +
                          out->buffer_weight_words,
                      n->hw->buffer_words, "buffer words", err);
}

/* ---- counts ---- */

static bool advances(const nest *n, int i)
{
    int dim = n->loops[i].dim;
    int64_t size = n->layer.size[dim];
    return wtl_ceil_div(size, covered(n, dim, i + 1)) > wtl_ceil_div(size, covered(n, dim, i));
}

/* The innermost loop before `end` that moves on to another tile of that type; -1: none. */
static int last_moving(const nest *n, wtl_data_type type, int end)
{
    int i = end - 1;
    while (i >= 0 && (wtl_nest_idle_type(n->loops[i].dim) == type || !advances(n, i))) {
        i--;
    }
    return i;
}

typedef struct visits {
    double shared; /* how often the tiles are moved: once for all PEs that share them */
    double each;   /* the same, once for every PE */
} visits;

/* Of the tiles of a type that the loops before `end` move: what the loops over the dims that
 * the type does not depend on make of it. */
static visits visits_of(const nest *n, wtl_data_type type, int end)
{
    int moving = last_moving(n, type, end);
    visits v = {1, 1};
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        if (wtl_nest_idle_type((wtl_loop_dim)d) != type) {
            continue;
        }
        int64_t size = n->layer.size[d], tile = covered(n, d, moving + 1);
        v.shared *= (double)wtl_ceil_div(size, tile);
        v.each *= (double)wtl_nest_spread(size, tile, n->part[d], n->spatial[d]);
    }
    return v;
}

typedef struct traffic {
    double words;     /* out of (sums: into) the level above the array */
    double delivered; /* to (sums: from) PEs, each PE's counted */
} traffic;

static traffic array_traffic(const nest *n, wtl_data_type type)
{
    int64_t ones[WTL_LOOP_DIM_COUNT] = {1, 1, 1, 1, 1, 1, 1};
    if (wtl_nest_stored(n->hw, type)) {
        double words = wtl_nest_words(&n->layer, type, n->part, true);
        visits v = visits_of(n, type, n->array_at);
        return (traffic){words * v.shared, words * v.each};
    }
    double words = wtl_nest_words(&n->layer, type, ones, true);
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        if (wtl_nest_idle_type((wtl_loop_dim)d) == type) {
            words *= (double)wtl_nest_steps(n->layer.size[d], n->part[d], n->spatial[d]);
        }
    }
    return (traffic){words, n->layer.macs};
}

/* Words between DRAM and the buffer. */
static double dram_words(const nest *n, wtl_data_type type)
{
    int64_t tile[WTL_LOOP_DIM_COUNT];
    covered_all(n, n->buffer_at, tile);
    return wtl_nest_words(&n->layer, type, tile, false) *
           visits_of(n, type, n->buffer_at).shared;
}

static void count_operand(const nest *n, wtl_data_type type, bool bypasses,
                          wtl_access_counts *out)
{
    traffic array = array_traffic(n, type);
    double dram = bypasses ? array.words : dram_words(n, type);
    out->words[WTL_LEVEL_DRAM][type][WTL_READ] = dram;
    if (!bypasses) {
        out->words[WTL_LEVEL_BUFFER][type][WTL_WRITE] = dram;
        out->words[WTL_LEVEL_BUFFER][type][WTL_READ] = array.words;
    }
    out->words[WTL_LEVEL_ARRAY][type][WTL_READ] = array.delivered;
    if (wtl_nest_stored(n->hw, type)) {
        out->words[WTL_LEVEL_RF][type][WTL_WRITE] = array.delivered;
        out->words[WTL_LEVEL_RF][type][WTL_READ] = n->layer.macs;
    }
}

static void count_sums(const nest *n, wtl_access_counts *out)
{
    const wtl_data_type type = WTL_DATA_OFMAP;
    traffic array = array_traffic(n, type);
    double outputs = wtl_nest_words(&n->layer, type, n->layer.size, true);
    double dram = dram_words(n, type);
    out->words[WTL_LEVEL_DRAM][type][WTL_WRITE] = dram;
    out->words[WTL_LEVEL_DRAM][type][WTL_READ] = dram - outputs;
    out->words[WTL_LEVEL_BUFFER][type][WTL_WRITE] = array.words;
    out->words[WTL_LEVEL_BUFFER][type][WTL_READ] = array.words - dram;
    out->words[WTL_LEVEL_ARRAY][type][WTL_READ] = array.delivered - array.words;
    /* A sum of a single MAC leaves without touching the scratchpad. */
    if (wtl_nest_stored(n->hw, type) && array.delivered < n->layer.macs) {
        out->words[WTL_LEVEL_RF][type][WTL_WRITE] = n->layer.macs;
        out->words[WTL_LEVEL_RF][type][WTL_READ] = n->layer.macs - array.delivered;
    }
}

static void count_work(const nest *n, wtl_access_counts *out)
{
    double pes = 1, cycles = 1;
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        int64_t size = n->layer.size[d];
        pes *= (double)wtl_nest_spread(size, size, n->part[d], n->spatial[d]);
        cycles *= (double)wtl_nest_steps(size, n->part[d], n->spatial[d]);
    }
    out->active_pes = (int)pes;
    out->cycles = cycles;
    out->macs = n->layer.macs;
}

static void for_all_groups(wtl_access_counts *out, int groups)
{
    double *words = &out->words[0][0][0];
    for (size_t i = 0; i < sizeof out->words / sizeof *words; i++) {
        words[i] *= groups;
    }
    out->macs *= groups;
    out->cycles *= groups;
}

wtl_status wtl_nest_count(wtl_access_counts *out, const wtl_hardware *hw,
                          const wtl_work_layer *layer, const wtl_nest_mapping *mapping,
                          wtl_error *err)
{
    *out = (wtl_access_counts){0};
    nest n;
    wtl_status status = open_nest(&n, hw, layer, mapping, err);
    if (status == WTL_OK) {
        status = check_array(&n, err);
    }
    if (status == WTL_OK) {
        status = check_scratchpads(&n, err);
    }
    if (status == WTL_OK) {
        status = check_buffer(&n, out, err);
    }
    if (status != WTL_OK) {
        *out = (wtl_access_counts){0};
        return status;
    }
    count_operand(&n, WTL_DATA_IFMAP, false, out);
    count_operand(&n, WTL_DATA_WEIGHT, hw->weights_bypass_buffer, out);
    count_sums(&n, out);
    count_work(&n, out);
    for_all_groups(out, n.layer.groups);
    return WTL_OK;
}
