/* mapping_nest_search.c - the loop nest of least energy for a dataflow.
 *
 * What is searched: which dims are spread over rows and columns of the array and which loops
 * run in a PE is the dataflow's (table below); the innermost loops of the buffer are those that
 * leave the stationary type in place; filter rows and columns are not split in DRAM. Free are
 * all factors, the tile in the buffer, and the order of the other loops.
 *
 * What is left out cannot be better:
 * - of factors that give the same number of tiles, all but the smallest, which needs least room;
 * - of loop orders, those that differ in more than the innermost class of dims: a type is reused
 *   only by the loops right above its tile, and the dims fall into three classes, one for each
 *   type that does not depend on them;
 * - of channel tiles, all but the largest that fits and the smallest: more channels in the
 *   buffer only save partial sums, unless without any the weights find the array unchanged;
 * - whatever a lower bound already shows to cost more than the best so far.
 *
 * This takes for granted that a level costs no less than the one inside it.
 */
#include "mapping_nest.h"

#include <assert.h>
#include <math.h>

enum {
    MOST_SPREAD = 4, /* dims of a dataflow at one place */
    CLASS_COUNT = WTL_DATA_COMPUTATION,
    NONE = -1 /* ends a list of dims */
};

/* A class of dims is named by the type that does not depend on them. */
typedef struct dataflow_rule {
    int x[MOST_SPREAD + 1], y[MOST_SPREAD + 1]; /* dims over columns and rows */
    int rf[MOST_SPREAD + 1];                    /* dims of a PE's own loops */
    wtl_data_type stationary;                   /* whose class is innermost in the buffer */
} dataflow_rule;

static const dataflow_rule dataflow_rules[WTL_DATAFLOW_COUNT] = {
    [WTL_WEIGHT_STATIONARY] = {.x = {WTL_LOOP_M, NONE},
                               .y = {WTL_LOOP_C, WTL_LOOP_R, WTL_LOOP_S, NONE},
                               .rf = {WTL_LOOP_C, WTL_LOOP_M, WTL_LOOP_R, WTL_LOOP_S, NONE},
                               .stationary = WTL_DATA_WEIGHT},
    [WTL_OUTPUT_STATIONARY] = {.x = {WTL_LOOP_Q, WTL_LOOP_M, NONE},
                               .y = {WTL_LOOP_P, WTL_LOOP_M, NONE},
                               .rf = {WTL_LOOP_M, WTL_LOOP_P, WTL_LOOP_Q, NONE},
                               .stationary = WTL_DATA_OFMAP},
    [WTL_NO_LOCAL_REUSE] = {.x = {WTL_LOOP_M, NONE},
                            .y = {WTL_LOOP_C, WTL_LOOP_R, WTL_LOOP_S, NONE},
                            .rf = {NONE},
                            .stationary = WTL_DATA_OFMAP},
};

/* What runs inside the array. */
typedef struct inner {
    int64_t x[WTL_LOOP_DIM_COUNT], y[WTL_LOOP_DIM_COUNT], rf[WTL_LOOP_DIM_COUNT];
} inner;

typedef struct outer {
    int64_t buffer[WTL_LOOP_DIM_COUNT], dram[WTL_LOOP_DIM_COUNT];
    wtl_data_type dram_order[CLASS_COUNT], buffer_order[CLASS_COUNT]; /* innermost first */
} outer;

typedef struct visits {
    double shared, each; /* as in mapping_nest.c */
} visits;

typedef struct search {
    const wtl_hardware *hw;
    const dataflow_rule *rule;
    wtl_nest_layer layer;
    double energy[WTL_LEVEL_MAC][WTL_DATA_COMPUTATION][2]; /* of a value at its bits */
    bool stored[WTL_DATA_COMPUTATION];
    double outputs;

    /* Of the inner loops at hand: */
    inner in;
    int64_t part[WTL_LOOP_DIM_COUNT], spatial[WTL_LOOP_DIM_COUNT];
    int64_t unit[WTL_LOOP_DIM_COUNT];  /* part x spatial: what the buffer's loops count */
    int64_t units[WTL_LOOP_DIM_COUNT]; /* of a dim */
    double part_words[WTL_DATA_COMPUTATION];
    visits unit_visits[WTL_DATA_COMPUTATION], whole_visits[WTL_DATA_COMPUTATION];
    double fixed;       /* energy that no outer loop changes */
    double array_bound; /* at least so much more between buffer and array */

    double dram_floor; /* least energy between DRAM and buffer, whatever runs inside */
    bool seeding;
    double seed_bound;
    inner seed;
    double best; /* energy; INFINITY: nothing found yet */
    inner best_in;
    outer best_out;
} search;

/* ---- energy ---- */

static visits visits_at(const search *s, wtl_data_type type, const int64_t *tile)
{
    visits v = {1, 1};
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        if (wtl_nest_idle_type((wtl_loop_dim)d) == type) {
            int64_t size = s->layer.size[d];
            v.shared *= (double)wtl_ceil_div(size, tile[d]);
            v.each *= (double)wtl_nest_spread(size, tile[d], s->part[d], s->spatial[d]);
        }
    }
    return v;
}

/* Energy of a stored type between the level above the array and the PEs. */
static double array_energy(const search *s, wtl_data_type type, visits v)
{
    double shared = s->part_words[type] * v.shared, each = s->part_words[type] * v.each;
    const double *array = s->energy[WTL_LEVEL_ARRAY][type];
    const double *rf = s->energy[WTL_LEVEL_RF][type],
                 *buffer = s->energy[WTL_LEVEL_BUFFER][type];
    if (type == WTL_DATA_OFMAP) {
        double sums = each < s->layer.macs ? s->layer.macs * rf[WTL_WRITE] +
                                                 (s->layer.macs - each) * rf[WTL_READ]
                                           : 0;
        return shared * (buffer[WTL_WRITE] + buffer[WTL_READ]) +
               (each - shared) * array[WTL_READ] + sums;
    }
    bool bypasses = type == WTL_DATA_WEIGHT && s->hw->weights_bypass_buffer;
    double above = s->energy[bypasses ? WTL_LEVEL_DRAM : WTL_LEVEL_BUFFER][type][WTL_READ];
    return shared * above + each * (array[WTL_READ] + rf[WTL_WRITE]) +
           s->layer.macs * rf[WTL_READ];
}

/* The same of a type without scratchpad, which moves with every MAC. */
static double streamed_energy(const search *s, wtl_data_type type)
{
    static const int64_t ones[WTL_LOOP_DIM_COUNT] = {1, 1, 1, 1, 1, 1, 1};
    double shared = wtl_nest_words(&s->layer, type, ones, true);
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        if (wtl_nest_idle_type((wtl_loop_dim)d) == type) {
            shared *= (double)wtl_nest_steps(s->layer.size[d], s->part[d], s->spatial[d]);
        }
    }
    double array = s->energy[WTL_LEVEL_ARRAY][type][WTL_READ];
    const double *buffer = s->energy[WTL_LEVEL_BUFFER][type];
    if (type == WTL_DATA_OFMAP) {
        return shared * (buffer[WTL_WRITE] + buffer[WTL_READ]) +
               (s->layer.macs - shared) * array;
    }
    bool bypasses = type == WTL_DATA_WEIGHT && s->hw->weights_bypass_buffer;
    double above = s->energy[bypasses ? WTL_LEVEL_DRAM : WTL_LEVEL_BUFFER][type][WTL_READ];
    return shared * above + s->layer.macs * array;
}

/* Of one word between DRAM and buffer. A sum that goes to DRAM is not read back by the array. */
static double dram_word_energy(const search *s, wtl_data_type type)
{
    const double *dram = s->energy[WTL_LEVEL_DRAM][type],
                 *buffer = s->energy[WTL_LEVEL_BUFFER][type];
    return type == WTL_DATA_OFMAP ? dram[WTL_WRITE] + dram[WTL_READ] - buffer[WTL_READ]
                                  : dram[WTL_READ] + buffer[WTL_WRITE];
}

/* Which classes' loops advance at a level. */
typedef struct movement {
    bool dram[CLASS_COUNT], buffer[CLASS_COUNT];
} movement;

static movement movement_of(const search *s, const outer *o)
{
    movement m = {0};
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        wtl_data_type class = wtl_nest_idle_type((wtl_loop_dim)d);
        m.dram[class] |= o->dram[d] > 1;
        m.buffer[class] |= s->units[d] > o->dram[d];
    }
    return m;
}

/* Some class that advances runs inside class `type`. */
static bool moved_inside(const wtl_data_type *order, const bool *moves, wtl_data_type type)
{
    int i = 0;
    while (order[i] != type && !moves[order[i]]) {
        i++;
    }
    return order[i] != type;
}

/* How often a stored type's tiles visit the array. */
static visits array_visits(const search *s, const outer *o, const movement *m,
                           wtl_data_type type, const int64_t *tile)
{
    if (moved_inside(o->buffer_order, m->buffer, type)) {
        return s->unit_visits[type];
    }
    bool others = false;
    for (int class = 0; class < CLASS_COUNT; class ++) {
        others |= class != (int)type && m->buffer[class];
    }
    return others || moved_inside(o->dram_order, m->dram, type) ? visits_at(s, type, tile)
                                                                : s->whole_visits[type];
}

static double outer_energy(const search *s, const outer *o, const int64_t *tile,
                           double ifmap_words)
{
    movement m = movement_of(s, o);
    const double words[CLASS_COUNT] = {
        [WTL_DATA_IFMAP] = ifmap_words,
        [WTL_DATA_OFMAP] = s->outputs,
        [WTL_DATA_WEIGHT] = wtl_nest_words(&s->layer, WTL_DATA_WEIGHT, tile, true)};
    double energy = s->fixed;
    for (int type = 0; type < CLASS_COUNT; type++) {
        if (type == WTL_DATA_WEIGHT && s->hw->weights_bypass_buffer) {
            continue;
        }
        double times = moved_inside(o->dram_order, m.dram, (wtl_data_type)type)
                           ? visits_at(s, (wtl_data_type)type, tile).shared
                           : 1;
        energy += words[type] * times * dram_word_energy(s, (wtl_data_type)type);
    }
    if (energy + s->array_bound >= s->best) {
        return INFINITY;
    }
    for (int type = 0; type < CLASS_COUNT; type++) {
        if (s->stored[type]) {
            visits v = array_visits(s, o, &m, (wtl_data_type)type, tile);
            energy += array_energy(s, (wtl_data_type)type, v);
        }
    }
    return energy;
}

/* ---- outer loops ---- */

static void keep_better(search *s, const outer *o, double energy)
{
    /* Equal but for rounding: the first stays, so that the result is the same everywhere. */
    if (energy < s->best * (1 - 1e-12) || (isinf(s->best) && !isinf(energy))) {
        s->best = energy;
        s->best_in = s->in;
        s->best_out = *o;
    }
}

static void set_order(wtl_data_type *order, wtl_data_type innermost, bool swapped)
{
    wtl_data_type a = (wtl_data_type)((innermost + 1) % CLASS_COUNT);
    wtl_data_type b = (wtl_data_type)((innermost + 2) % CLASS_COUNT);
    order[0] = innermost;
    order[1] = swapped ? b : a;
    order[2] = swapped ? a : b;
}

static int64_t smaller(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static void set_tile(const search *s, outer *o, int64_t *tile, int dim, int64_t buffer)
{
    o->buffer[dim] = buffer;
    tile[dim] = smaller(buffer * s->unit[dim], s->layer.size[dim]);
    o->dram[dim] = wtl_ceil_div(s->layer.size[dim], tile[dim]);
}

static void try_orders(search *s, outer *o, const int64_t *tile)
{
    double ifmap_words = wtl_nest_words(&s->layer, WTL_DATA_IFMAP, tile, false);
    for (int dram = 0; dram < CLASS_COUNT; dram++) {
        set_order(o->dram_order, (wtl_data_type)dram, false);
        for (int swapped = 0; swapped < 2; swapped++) {
            set_order(o->buffer_order, s->rule->stationary, swapped);
            keep_better(s, o, outer_energy(s, o, tile, ifmap_words));
        }
    }
}

static double buffer_words(const search *s, const int64_t *tile)
{
    double words = wtl_nest_tile_words(&s->layer, WTL_DATA_IFMAP, tile) +
                   wtl_nest_tile_words(&s->layer, WTL_DATA_OFMAP, tile);
    return s->hw->weights_bypass_buffer
               ? words
               : words + wtl_nest_tile_words(&s->layer, WTL_DATA_WEIGHT, tile);
}

/* The most units of channels that fit beside the rest of the tile; 0: not one. */
static int64_t most_channels(const search *s, const int64_t *tile)
{
    int64_t with[WTL_LOOP_DIM_COUNT];
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        with[d] = tile[d];
    }
    with[WTL_LOOP_C] = s->layer.size[WTL_LOOP_C];
    if (buffer_words(s, with) <= s->hw->buffer_words) {
        return s->units[WTL_LOOP_C];
    }
    double sums = wtl_nest_tile_words(&s->layer, WTL_DATA_OFMAP, tile);
    with[WTL_LOOP_C] = 1;
    double channel = buffer_words(s, with) - sums;
    double channels = floor((s->hw->buffer_words - sums) / channel);
    double units = floor(channels / (double)s->unit[WTL_LOOP_C]);
    return units < 1 ? 0 : smaller((int64_t)units, s->units[WTL_LOOP_C]);
}

static void try_channels(search *s, outer *o, int64_t *tile)
{
    int64_t units = s->units[WTL_LOOP_C], most = most_channels(s, tile);
    if (most == 0) {
        return;
    }
    int64_t tidy = wtl_ceil_div(units, wtl_ceil_div(units, most));
    set_tile(s, o, tile, WTL_LOOP_C, tidy);
    try_orders(s, o, tile);
    if (tidy > 1) {
        set_tile(s, o, tile, WTL_LOOP_C, 1);
        try_orders(s, o, tile);
    }
}

/* The energy of ifmap and ofmap at DRAM cannot be less at these tiles. */
static bool is_hopeless(const search *s, const int64_t *tile)
{
    double least = s->fixed + s->array_bound +
                   s->outputs * dram_word_energy(s, WTL_DATA_OFMAP) +
                   wtl_nest_words(&s->layer, WTL_DATA_IFMAP, tile, false) *
                       dram_word_energy(s, WTL_DATA_IFMAP);
    return least >= s->best;
}

/* Every number of tiles of the dims from tiled[at] on, fewest first. */
static void try_tiles(search *s, outer *o, int64_t *tile, int at)
{
    static const int tiled[] = {WTL_LOOP_P, WTL_LOOP_Q, WTL_LOOP_N, WTL_LOOP_M, NONE};
    int dim = tiled[at];
    if (dim == NONE) {
        try_channels(s, o, tile);
        return;
    }
    if (dim == WTL_LOOP_N && is_hopeless(s, tile)) {
        return;
    }
    int64_t units = s->units[dim], buffer = units;
    while (buffer > 0) {
        bool fits =
            dim != WTL_LOOP_N || s->hw->most_images == 0 || buffer <= s->hw->most_images;
        if (fits) {
            set_tile(s, o, tile, dim, buffer);
            try_tiles(s, o, tile, at + 1);
        }
        buffer = buffer == 1 ? 0 : wtl_ceil_div(units, wtl_ceil_div(units, buffer - 1));
    }
}

static void try_outer(search *s)
{
    outer o = {0};
    int64_t tile[WTL_LOOP_DIM_COUNT];
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        set_tile(s, &o, tile, d, s->units[d]); /* R and S stay so */
    }
    try_tiles(s, &o, tile, 0);
}

/* ---- inner loops ---- */

static void measure_inner(search *s)
{
    const int64_t *size = s->layer.size;
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        s->part[d] = s->in.rf[d];
        s->spatial[d] = s->in.x[d] * s->in.y[d];
        s->unit[d] = smaller(s->part[d] * s->spatial[d], size[d]);
        s->units[d] = wtl_ceil_div(size[d], s->unit[d]);
    }
    s->fixed = 0;
    s->array_bound = 0;
    for (int t = 0; t < CLASS_COUNT; t++) {
        wtl_data_type type = (wtl_data_type)t;
        if (!s->stored[t]) {
            s->fixed += streamed_energy(s, type);
            continue;
        }
        s->part_words[t] = wtl_nest_words(&s->layer, type, s->part, true);
        s->unit_visits[t] = visits_at(s, type, s->unit);
        s->whole_visits[t] = visits_at(s, type, size);
        s->array_bound += fmin(array_energy(s, type, s->unit_visits[t]),
                               array_energy(s, type, s->whole_visits[t]));
    }
    /* Sums come into the buffer from DRAM one time less than they go. */
    s->fixed -= s->outputs * s->energy[WTL_LEVEL_DRAM][WTL_DATA_OFMAP][WTL_READ];
}

static void use_inner(search *s)
{
    measure_inner(s);
    double bound = s->fixed + s->array_bound + s->dram_floor;
    if (s->seeding) {
        if (bound < s->seed_bound) {
            s->seed_bound = bound;
            s->seed = s->in;
        }
    } else if (bound < s->best) {
        try_outer(s);
    }
}

static int64_t next_factor(int64_t size, int64_t factor)
{
    int64_t tiles = wtl_ceil_div(size, factor);
    return tiles == 1 ? 0 : wtl_ceil_div(size, tiles - 1);
}

static void spread_rows(search *s, int at, int64_t room)
{
    int dim = s->rule->y[at];
    if (dim == NONE) {
        use_inner(s);
        return;
    }
    int64_t left = wtl_ceil_div(s->layer.size[dim], s->in.rf[dim] * s->in.x[dim]);
    for (int64_t f = 1; f > 0 && f <= room; f = next_factor(left, f)) {
        s->in.y[dim] = f;
        spread_rows(s, at + 1, room / f);
    }
    s->in.y[dim] = 1;
}

static void spread_columns(search *s, int at, int64_t used, int64_t room)
{
    int dim = s->rule->x[at];
    if (dim == NONE) {
        int64_t pes = (int64_t)s->hw->rows * s->hw->columns;
        spread_rows(s, 0, s->hw->grid ? s->hw->rows : pes / used);
        return;
    }
    int64_t left = wtl_ceil_div(s->layer.size[dim], s->in.rf[dim]);
    for (int64_t f = 1; f > 0 && f <= room; f = next_factor(left, f)) {
        s->in.x[dim] = f;
        spread_columns(s, at + 1, used * f, room / f);
    }
    s->in.x[dim] = 1;
}

static bool fits_scratchpads(const search *s)
{
    double sum = 0;
    for (int type = 0; type < CLASS_COUNT; type++) {
        double words = wtl_nest_tile_words(&s->layer, (wtl_data_type)type, s->in.rf);
        if (s->stored[type] && s->hw->rf_pool_words == 0 && words > s->hw->rf_words[type]) {
            return false;
        }
        sum += words;
    }
    return s->hw->rf_pool_words == 0 || sum <= s->hw->rf_pool_words;
}

static void fill_scratchpads(search *s, int at)
{
    int dim = s->rule->rf[at];
    /* Without a place for the type that stays, loops in a PE are of no use. */
    if (dim == NONE || !s->stored[s->rule->stationary]) {
        int64_t pes = (int64_t)s->hw->rows * s->hw->columns;
        spread_columns(s, 0, 1, s->hw->grid ? s->hw->columns : pes);
        return;
    }
    for (int64_t f = 1; f > 0; f = next_factor(s->layer.size[dim], f)) {
        s->in.rf[dim] = f;
        if (!fits_scratchpads(s)) {
            break;
        }
        fill_scratchpads(s, at + 1);
    }
    s->in.rf[dim] = 1;
}

/* ---- the whole ---- */

static void open_search(search *s, const wtl_hardware *hw, const wtl_work_layer *layer)
{
    *s = (search){.hw = hw,
                  .rule = &dataflow_rules[hw->dataflow],
                  .layer = wtl_nest_layer_of(layer),
                  .seed_bound = INFINITY,
                  .best = INFINITY};
    s->outputs = wtl_nest_words(&s->layer, WTL_DATA_OFMAP, s->layer.size, true);
    const int bits[] = {[WTL_DATA_IFMAP] = layer->ifmap.bits,
                        [WTL_DATA_OFMAP] = layer->ofmap.bits,
                        [WTL_DATA_WEIGHT] = layer->filter.bits};
    for (int level = 0; level < WTL_LEVEL_MAC; level++) {
        for (int type = 0; type < CLASS_COUNT; type++) {
            for (int way = WTL_READ; way <= WTL_WRITE; way++) {
                s->energy[level][type][way] =
                    hw->energy[level][type][way] * bits[type] / hw->word_bits;
            }
        }
    }
    for (int type = 0; type < CLASS_COUNT; type++) {
        s->stored[type] = wtl_nest_stored(hw, (wtl_data_type)type);
    }
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        s->in.x[d] = s->in.y[d] = s->in.rf[d] = 1;
    }
}

static void put_loop(wtl_nest_mapping *nest, wtl_loop_place place, int dim, int64_t factor)
{
    if (factor > 1) {
        nest->loops[nest->loop_count++] =
            (wtl_loop){.place = place, .dim = (wtl_loop_dim)dim, .factor = (int)factor};
    }
}

/* Tiles of single values take in all tiles of larger units; without a scratchpad, and nothing
 * counted inside, what is left is DRAM. INFINITY: not even the smallest tile fits. */
static double least_dram_energy(const search *whole)
{
    search s = *whole;
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        s.part[d] = s.spatial[d] = s.unit[d] = 1;
        s.units[d] = s.layer.size[d];
    }
    for (int type = 0; type < CLASS_COUNT; type++) {
        s.stored[type] = false;
    }
    try_outer(&s);
    return s.best;
}

/* order is innermost first, NULL: any. */
static void put_loops(wtl_nest_mapping *nest, wtl_loop_place place, const int64_t *factors,
                      const wtl_data_type *order)
{
    for (int i = CLASS_COUNT - 1; i >= 0; i--) {
        wtl_data_type class = order ? order[i] : (wtl_data_type)i;
        for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
            if (wtl_nest_idle_type((wtl_loop_dim)d) == class) {
                put_loop(nest, place, d, factors[d]);
            }
        }
    }
}

_Static_assert(5 * WTL_LOOP_DIM_COUNT <= WTL_MOST_LOOPS, "every place may have every dim");

static wtl_status report_no_fit(const search *s, wtl_error *err)
{
    int64_t tile[WTL_LOOP_DIM_COUNT] = {1, 1, 1, 1, 1, 1, 1};
    if (s->hw->rf_pool_words > 0 && s->hw->rf_pool_words < CLASS_COUNT) {
        return wtl_fail(err, WTL_E_FIT,
                        "no %s mapping fits: a PE needs %d scratchpad words and has %d",
                        wtl_dataflow_name(s->hw->dataflow), CLASS_COUNT, s->hw->rf_pool_words);
    }
    tile[WTL_LOOP_R] = s->layer.size[WTL_LOOP_R];
    tile[WTL_LOOP_S] = s->layer.size[WTL_LOOP_S];
    return wtl_fail(err, WTL_E_FIT,
                    "no %s mapping fits: the smallest tile needs %.0f buffer words, there are "
                    "%.0f",
                    wtl_dataflow_name(s->hw->dataflow), buffer_words(s, tile),
                    s->hw->buffer_words);
}

wtl_status wtl_nest_search(wtl_nest_mapping *out, const wtl_hardware *hw,
                           const wtl_work_layer *layer, wtl_error *err)
{
    *out = (wtl_nest_mapping){0};
    assert(hw->dataflow != WTL_ROW_STATIONARY);
    search s;
    open_search(&s, hw, layer);
    s.dram_floor = least_dram_energy(&s);
    /* The inner loops of the least bound first: a good first result leaves out most others. */
    s.seeding = true;
    fill_scratchpads(&s, 0);
    s.seeding = false;
    if (!isinf(s.seed_bound)) {
        inner first = s.in;
        s.in = s.seed;
        use_inner(&s);
        s.in = first;
        fill_scratchpads(&s, 0);
    }
    if (isinf(s.best)) {
        return report_no_fit(&s, err);
    }
    put_loops(out, WTL_LOOP_DRAM, s.best_out.dram, s.best_out.dram_order);
    put_loops(out, WTL_LOOP_BUFFER, s.best_out.buffer, s.best_out.buffer_order);
    put_loops(out, WTL_LOOP_SPATIAL_X, s.best_in.x, NULL);
    put_loops(out, WTL_LOOP_SPATIAL_Y, s.best_in.y, NULL);
    put_loops(out, WTL_LOOP_RF, s.best_in.rf, NULL);
    return WTL_OK;
}
