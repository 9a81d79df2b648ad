/* test_mapping_nest.c - accesses of loop nests against a published count, a walk through the
 * loops, and hand-worked nests; the search against trying every nest. */
#include "wtl_test.h"

#include "energy/mapping_private.h"

#include "wattle/mapping.h"

#include <math.h>
#include <string.h>

enum { READ = WTL_READ, WRITE = WTL_WRITE };

static wtl_work_layer layer_of(int n, int c, int m, int r, int s, int p, int q, int stride)
{
    return (wtl_work_layer){.ifmap = {(p - 1) * stride + r, (q - 1) * stride + s, c, n, 0, 16},
                            .filter = {r, s, c, m, 0, 16},
                            .ofmap = {p, q, m, n, 0, 16},
                            .stride = {stride, stride},
                            .dilation = {1, 1}};
}

static wtl_hardware roomy(wtl_dataflow dataflow)
{
    wtl_hardware hw = {.dataflow = dataflow,
                       .rows = 64,
                       .columns = 64,
                       .grid = true,
                       .rf_words = {1 << 20, 1 << 20, 1 << 20},
                       .buffer_words = 1e12,
                       .word_bits = 16,
                       .mac_energy = 1};
    static const double energy[] = {200, 6, 2, 1};
    for (int level = 0; level < WTL_LEVEL_MAC; level++) {
        for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
            hw.energy[level][type][READ] = hw.energy[level][type][WRITE] = energy[level];
        }
    }
    return hw;
}

static wtl_nest_mapping parsed(const char *text)
{
    wtl_mapping mapping;
    assert_ok(wtl_mapping_parse(&mapping, WTL_WEIGHT_STATIONARY, text, NULL));
    return mapping.as.nest;
}

static wtl_access_counts counted(const wtl_hardware *hw, const wtl_work_layer *layer,
                                 const char *text)
{
    wtl_nest_mapping nest = parsed(text);
    wtl_access_counts counts;
    memset(&counts, 0xff, sizeof counts); /* NaN */
    assert_ok(wtl_nest_count(&counts, hw, layer, &nest, NULL));
    return counts;
}

#define WORDS(level, type, way) counts.words[WTL_LEVEL_##level][WTL_DATA_##type][way]

/* eyeriss_like of timeloop-accelergy-exercises: its reference output, word for word. */
static void the_published_timeloop_counts_come_out_exactly(void **state)
{
    (void)state;
    wtl_hardware hw = roomy(WTL_OUTPUT_STATIONARY);
    hw.rows = 12;
    hw.columns = 14;
    hw.rf_words[WTL_DATA_IFMAP] = 12;
    hw.rf_words[WTL_DATA_OFMAP] = 16;
    hw.rf_words[WTL_DATA_WEIGHT] = 192;
    hw.buffer_words = 65536;
    hw.weights_bypass_buffer = true;
    wtl_work_layer layer = layer_of(1, 3, 32, 3, 3, 112, 112, 2);
    wtl_access_counts counts =
        counted(&hw, &layer, "DRAM: P8 Q2 M4 | buffer: P14 Q4 | X: Q14 | Y: C3 S3 | RF: R3 M8");
    assert_close(counts.macs, 10838016, 0);
    assert_close(counts.cycles, 86016, 0);
    assert_int_equal(counts.active_pes, 126);
    assert_close(WORDS(DRAM, WEIGHT, READ), 13824, 0);
    assert_close(WORDS(DRAM, IFMAP, READ), 157296, 0);
    assert_close(WORDS(DRAM, OFMAP, WRITE), 401408, 0);
    assert_close(WORDS(DRAM, OFMAP, READ), 0, 0);
    assert_close(WORDS(BUFFER, IFMAP, READ), 1354752, 0);
    assert_close(WORDS(BUFFER, IFMAP, WRITE), 157296, 0);
    assert_close(WORDS(BUFFER, OFMAP, WRITE), 401408, 0);
    assert_close(WORDS(BUFFER, OFMAP, READ), 0, 0);
    assert_close(WORDS(BUFFER, WEIGHT, READ), 0, 0);
    assert_close(WORDS(RF, OFMAP, READ) / 126, 57344, 0);
    assert_close(WORDS(RF, OFMAP, WRITE) / 126, 86016, 0);
    assert_close(WORDS(RF, WEIGHT, READ) / 126, 86016, 0);
    assert_close(WORDS(RF, WEIGHT, WRITE) / 126, 1536, 0);
    assert_close(WORDS(RF, IFMAP, READ) / 126, 86016, 0);
    assert_close(WORDS(RF, IFMAP, WRITE) / 126, 10752, 0);
    /* Of 28672 sums a PE, nine (C3 S3) become one on the way. */
    assert_close(WORDS(ARRAY, OFMAP, READ), 28672.0 * 126 - 401408, 0);
    /* The buffer's tile: 29 x 113 x 3 ifmap, 14 x 56 x 8 sums. */
    assert_close(counts.buffer_ifmap_words, 29 * 113 * 3, 0);
    assert_close(counts.buffer_psum_words, 14 * 56 * 8, 0);
    assert_close(counts.buffer_weight_words, 0, 0);
}

/* ---- any nest against a walk through its loops ---- */

typedef struct range {
    int from, size;
} range;

typedef struct tile {
    range of[WTL_LOOP_DIM_COUNT];
} tile;

static bool depends(int type, int dim)
{
    static const char *const dims[] = {"NCRSPQ", "NMPQ", "CMRS"};
    return strchr(dims[type], "NCMRSPQ"[dim]) != NULL;
}

static bool same_tile(int type, const tile *a, const tile *b)
{
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        if (depends(type, d) &&
            (a->of[d].from != b->of[d].from || a->of[d].size != b->of[d].size)) {
            return false;
        }
    }
    return true;
}

/* Rows from the first to the last that an axis needs; real: those that are no padding. */
static double rows_of(const wtl_work_layer *l, int axis, const tile *t, bool real)
{
    range p = t->of[WTL_LOOP_P + axis], r = t->of[WTL_LOOP_R + axis];
    int first = p.from * l->stride[axis] + r.from * l->dilation[axis];
    int last =
        (p.from + p.size - 1) * l->stride[axis] + (r.from + r.size - 1) * l->dilation[axis];
    int height = axis ? l->ifmap.w : l->ifmap.h, rows = 0;
    for (int row = first - l->pad[2 * axis]; row <= last - l->pad[2 * axis]; row++) {
        rows += !real || (row >= 0 && row < height);
    }
    return rows;
}

static double words_of(const wtl_work_layer *l, int type, const tile *t, bool real)
{
    double words = 1;
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        bool sliding = type == WTL_DATA_IFMAP && d >= WTL_LOOP_R;
        words *= depends(type, d) && !sliding ? t->of[d].size : 1;
    }
    return type == WTL_DATA_IFMAP ? words * rows_of(l, 0, t, real) * rows_of(l, 1, t, real)
                                  : words;
}

enum { MOST_PES = 64 };

typedef struct walk {
    const wtl_work_layer *layer;
    const wtl_nest_mapping *nest;
    const int *stored; /* by type */
    tile in_buffer[3], in_pe[MOST_PES][3];
    bool began;
    double dram[3], shared[3], each[3], cycles;
} walk;

/* The tile that the loops from `from` on cover at the indices of the loops before it. */
static tile tile_at(const walk *w, const int *index, int from)
{
    tile t;
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        t.of[d] = (range){0, 1};
        for (int i = w->nest->loop_count - 1; i >= 0; i--) {
            if ((int)w->nest->loops[i].dim == d) {
                t.of[d].from += i < from ? index[i] * t.of[d].size : 0;
                t.of[d].size *= w->nest->loops[i].factor;
            }
        }
        /* The size once more: only loops inside. */
        t.of[d].size = 1;
        for (int i = from; i < w->nest->loop_count; i++) {
            t.of[d].size *= (int)w->nest->loops[i].dim == d ? w->nest->loops[i].factor : 1;
        }
    }
    return t;
}

static int first_of(const wtl_nest_mapping *nest, wtl_loop_place place)
{
    int i = 0;
    while (i < nest->loop_count && nest->loops[i].place < place) {
        i++;
    }
    return i;
}

/* All PEs at one step of the loops over time. */
static void walk_pes(walk *w, int *index, int type, bool anew)
{
    int x = first_of(w->nest, WTL_LOOP_SPATIAL_X), rf = first_of(w->nest, WTL_LOOP_RF);
    int inside = w->stored[type] ? rf : w->nest->loop_count;
    tile seen[MOST_PES];
    int seen_count = 0, pe = 0;
    for (int i = x; i < rf; i++) {
        index[i] = 0;
    }
    for (bool more = true; more; pe++) {
        tile t = tile_at(w, index, inside);
        if (anew || !same_tile(type, &t, &w->in_pe[pe][type])) {
            double words = words_of(w->layer, type, &t, false);
            bool shared = false;
            for (int k = 0; k < seen_count; k++) {
                shared |= same_tile(type, &t, &seen[k]);
            }
            w->shared[type] += shared ? 0 : words;
            w->each[type] += words;
            seen[seen_count++] = t;
        }
        w->in_pe[pe][type] = t;
        more = false;
        for (int i = rf - 1; i >= x && !more; i--) {
            index[i] = (index[i] + 1) % w->nest->loops[i].factor;
            more = index[i] != 0;
        }
    }
}

static void walk_step(walk *w, int *index, bool first_in_pe)
{
    int buffer = first_of(w->nest, WTL_LOOP_BUFFER);
    for (int type = 0; type < 3; type++) {
        tile t = tile_at(w, index, buffer);
        if (first_in_pe && (!w->began || !same_tile(type, &t, &w->in_buffer[type]))) {
            w->dram[type] += words_of(w->layer, type, &t, true);
            w->in_buffer[type] = t;
        }
        if (first_in_pe || !w->stored[type]) {
            walk_pes(w, index, type, !w->began || !w->stored[type]);
        }
    }
    w->began = true;
    w->cycles++;
}

static void walk_loops(walk *w, int *index, int i)
{
    int rf = first_of(w->nest, WTL_LOOP_RF);
    if (i == w->nest->loop_count) {
        bool first = true;
        for (int k = rf; k < w->nest->loop_count; k++) {
            first &= index[k] == 0;
        }
        walk_step(w, index, first);
        return;
    }
    bool spatial = w->nest->loops[i].place == WTL_LOOP_SPATIAL_X ||
                   w->nest->loops[i].place == WTL_LOOP_SPATIAL_Y;
    int most = spatial ? 1 : w->nest->loops[i].factor;
    for (index[i] = 0; index[i] < most; index[i]++) {
        walk_loops(w, index, i + 1);
    }
    index[i] = 0;
}

static unsigned random_below(unsigned *seed, unsigned most)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (*seed >> 16) % most;
}

/* A nest in random order whose factors multiply to exactly the layer's sizes. */
static wtl_nest_mapping random_nest(unsigned *seed, int *size)
{
    wtl_nest_mapping nest = {0};
    int pes = 1;
    for (int d = 0; d < WTL_LOOP_DIM_COUNT; d++) {
        size[d] = 1;
    }
    for (int place = WTL_LOOP_DRAM; place <= WTL_LOOP_RF; place++) {
        for (int k = (int)random_below(seed, 4); k > 0; k--) {
            wtl_loop loop = {(wtl_loop_place)place,
                             (wtl_loop_dim)random_below(seed, WTL_LOOP_DIM_COUNT),
                             1 + (int)random_below(seed, 3)};
            bool spatial = place == WTL_LOOP_SPATIAL_X || place == WTL_LOOP_SPATIAL_Y;
            if (size[loop.dim] * loop.factor > 8 || (spatial && pes * loop.factor > MOST_PES)) {
                continue;
            }
            size[loop.dim] *= loop.factor;
            pes *= spatial ? loop.factor : 1;
            nest.loops[nest.loop_count++] = loop;
        }
    }
    return nest;
}

static void assert_walked(const wtl_access_counts *got, const walk *w, bool bypass)
{
    wtl_access_counts counts = *got;
    double outputs = wtl_work_values(&w->layer->ofmap), macs = wtl_work_macs(w->layer);
    assert_close(counts.cycles, w->cycles, 0);
    assert_close(WORDS(DRAM, IFMAP, READ), w->dram[WTL_DATA_IFMAP], 0);
    assert_close(WORDS(BUFFER, IFMAP, WRITE), w->dram[WTL_DATA_IFMAP], 0);
    assert_close(WORDS(BUFFER, IFMAP, READ), w->shared[WTL_DATA_IFMAP], 0);
    assert_close(WORDS(ARRAY, IFMAP, READ), w->each[WTL_DATA_IFMAP], 0);
    assert_close(WORDS(DRAM, WEIGHT, READ), (bypass ? w->shared : w->dram)[WTL_DATA_WEIGHT], 0);
    assert_close(WORDS(BUFFER, WEIGHT, READ), bypass ? 0 : w->shared[WTL_DATA_WEIGHT], 0);
    assert_close(WORDS(ARRAY, WEIGHT, READ), w->each[WTL_DATA_WEIGHT], 0);
    assert_close(WORDS(DRAM, OFMAP, WRITE), w->dram[WTL_DATA_OFMAP], 0);
    assert_close(WORDS(DRAM, OFMAP, READ), w->dram[WTL_DATA_OFMAP] - outputs, 0);
    assert_close(WORDS(BUFFER, OFMAP, WRITE), w->shared[WTL_DATA_OFMAP], 0);
    assert_close(WORDS(BUFFER, OFMAP, READ),
                 w->shared[WTL_DATA_OFMAP] - w->dram[WTL_DATA_OFMAP], 0);
    assert_close(WORDS(ARRAY, OFMAP, READ), w->each[WTL_DATA_OFMAP] - w->shared[WTL_DATA_OFMAP],
                 0);
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        bool sums = type == WTL_DATA_OFMAP, stored = w->stored[type];
        bool used = stored && !(sums && w->each[type] == macs);
        assert_close(counts.words[WTL_LEVEL_RF][type][READ],
                     !used  ? 0
                     : sums ? macs - w->each[type]
                            : macs,
                     0);
        assert_close(counts.words[WTL_LEVEL_RF][type][WRITE],
                     !used  ? 0
                     : sums ? macs
                            : w->each[type],
                     0);
    }
}

static void every_count_is_that_of_a_walk_through_the_loops(void **state)
{
    (void)state;
    unsigned seed = 7;
    for (int k = 0; k < 400; k++) {
        int size[WTL_LOOP_DIM_COUNT];
        wtl_nest_mapping nest = random_nest(&seed, size);
        wtl_work_layer layer = layer_of(size[0], size[1], size[2], size[3], size[4], size[5],
                                        size[6], 1 + (int)random_below(&seed, 3));
        wtl_hardware hw = roomy(WTL_OUTPUT_STATIONARY);
        hw.weights_bypass_buffer = random_below(&seed, 2);
        for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
            hw.rf_words[type] *= random_below(&seed, 3) > 0;
        }
        wtl_access_counts counts;
        assert_ok(wtl_nest_count(&counts, &hw, &layer, &nest, NULL));
        static walk w;
        w = (walk){.layer = &layer, .nest = &nest, .stored = hw.rf_words};
        int index[WTL_MOST_LOOPS] = {0};
        walk_loops(&w, index, 0);
        assert_walked(&counts, &w, hw.weights_bypass_buffer);
    }
}

/* ---- hand-worked ---- */

static void padding_is_not_fetched_from_dram_and_counts_in_the_array(void **state)
{
    (void)state;
    wtl_work_layer layer = layer_of(1, 1, 1, 3, 3, 8, 8, 1);
    layer.ifmap.h = layer.ifmap.w = 8;
    for (int i = 0; i < 4; i++) {
        layer.pad[i] = 1;
    }
    wtl_hardware hw = roomy(WTL_OUTPUT_STATIONARY);
    /* Two strips of 4 rows: 5 + 5 real rows of 8. In a PE: 6 + 6 rows of 10. */
    wtl_access_counts counts = counted(&hw, &layer, "DRAM: P2 | RF: P4 Q8 R3 S3");
    assert_close(WORDS(DRAM, IFMAP, READ), 80, 0);
    assert_close(WORDS(BUFFER, IFMAP, READ), 120, 0);
    assert_close(counts.buffer_ifmap_words, 60, 0);
    /* All at once: the 64 values of the map. */
    counts = counted(&hw, &layer, "RF: P8 Q8 R3 S3");
    assert_close(WORDS(DRAM, IFMAP, READ), 64, 0);
}

static void tiles_that_do_not_divide_are_counted_at_their_true_sizes(void **state)
{
    (void)state;
    wtl_work_layer layer = layer_of(1, 5, 7, 1, 1, 1, 1, 1);
    wtl_hardware hw = roomy(WTL_WEIGHT_STATIONARY);
    /* M: 3 + 3 + 1 (parts of 2 over 2 PEs: 2, 2 and 1 PEs), C: 2 + 2 + 1, inside M. */
    wtl_access_counts counts = counted(&hw, &layer, "DRAM: M2 C3 | X: M2 | RF: M2 C2");
    assert_close(counts.macs, 35, 0);
    assert_close(WORDS(DRAM, WEIGHT, READ), 35, 0);
    assert_close(WORDS(DRAM, IFMAP, READ), 5 * 2, 0); /* for each tile of 4 filters */
    assert_close(WORDS(BUFFER, IFMAP, READ), 5 * 2, 0);
    assert_close(WORDS(ARRAY, IFMAP, READ), 5 * (2 + 2), 0); /* tiles 4 and 3: 2 PEs each */
    assert_close(WORDS(DRAM, OFMAP, WRITE), 7, 0);           /* C goes on inside: sums stay */
    assert_int_equal(counts.active_pes, 2);
    /* 5 channels x (2 + 2) filters one after the other. */
    assert_close(counts.cycles, 5 * 4, 0);
    counts = counted(&hw, &layer, "DRAM: C3 M2 | X: M2 | RF: M2 C2");
    assert_close(WORDS(DRAM, IFMAP, READ), 5, 0);
    assert_close(WORDS(DRAM, OFMAP, WRITE), 7 * 3, 0);
    assert_close(WORDS(DRAM, OFMAP, READ), 7 * 2, 0);
    layer.filter.count = layer.ofmap.channels = 5;
    counts = counted(&hw, &layer, "DRAM: M2 C3 | X: M2 | RF: M2 C2");
    assert_close(WORDS(ARRAY, IFMAP, READ), 5 * 3, 0); /* tile 4: 2 PEs, tile 1: one */
}

static void groups_repeat_the_work_of_one(void **state)
{
    (void)state;
    wtl_hardware hw = roomy(WTL_WEIGHT_STATIONARY);
    wtl_work_layer one = layer_of(2, 3, 4, 2, 2, 4, 4, 1), two = one;
    two.ifmap.channels *= 2;
    two.filter.count *= 2;
    two.ofmap.channels *= 2;
    static const char text[] = "DRAM: M2 C3 | buffer: P4 Q2 N2 | X: M2 | Y: R2 | RF: Q2 S2";
    wtl_access_counts a = counted(&hw, &one, text), b = counted(&hw, &two, text);
    for (int level = 0; level < WTL_LEVEL_MAC; level++) {
        for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
            assert_close(b.words[level][type][READ], 2 * a.words[level][type][READ], 0);
            assert_close(b.words[level][type][WRITE], 2 * a.words[level][type][WRITE], 0);
        }
    }
    assert_close(b.macs, wtl_work_macs(&two), 0);
    assert_close(b.cycles, 2 * a.cycles, 0);
    assert_int_equal(b.active_pes, a.active_pes);
    assert_close(b.buffer_ifmap_words, a.buffer_ifmap_words, 0);
}

static void what_does_not_fit_is_refused_with_its_limit(void **state)
{
    (void)state;
    wtl_work_layer layer = layer_of(4, 4, 4, 3, 3, 4, 4, 1);
    static const char text[] = "buffer: N4 P4 Q4 | X: M4 | Y: C4 R3 | RF: S3";
    static const struct {
        int columns, rows, grid, ifmap, psum, weight, pool, images, bypass;
        double buffer;
        const char *message;
    } table[] = {
        {3, 12, 1, 3, 1, 3, 0, 0, 1, 1e6,
         "mapping: array columns: 4 are needed, 1 more than the 3 there are"},
        {4, 10, 1, 3, 1, 3, 0, 0, 1, 1e6,
         "mapping: array rows: 12 are needed, 2 more than the 10 there are"},
        {5, 9, 0, 3, 1, 3, 0, 0, 1, 1e6,
         "mapping: PEs: 48 are needed, 3 more than the 45 there are"},
        {4, 12, 1, 2, 1, 3, 0, 0, 1, 1e6,
         "mapping: ifmap scratchpad words: 3 are needed, 1 more than the 2 there are"},
        {4, 12, 1, 3, 1, 1, 0, 0, 1, 1e6,
         "mapping: weight scratchpad words: 3 are needed, 2 more than the 1 there are"},
        {4, 12, 1, 0, 0, 0, 6, 0, 1, 1e6,
         "mapping: scratchpad words: 7 are needed, 1 more than the 6 there are"},
        {4, 12, 1, 3, 1, 3, 0, 3, 1, 1e6,
         "mapping: images at once: 4 are needed, 1 more than the 3 there are"},
        /* 4 x 4 x 6 x 6 ifmap, 4 x 4 x 4 x 4 sums, 4 x 4 x 3 x 3 weights. */
        {4, 12, 1, 3, 1, 3, 0, 0, 1, 831,
         "mapping: buffer words: 832 are needed, 1 more than the 831 there are"},
        {4, 12, 1, 3, 1, 3, 0, 0, 0, 900,
         "mapping: buffer words: 976 are needed, 76 more than the 900 there are"},
        {4, 12, 1, 3, 1, 3, 0, 4, 1, 832, NULL},
        {4, 12, 0, 0, 0, 0, 7, 4, 0, 976, NULL},
    };
    wtl_nest_mapping nest = parsed(text);
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        wtl_hardware hw = roomy(WTL_WEIGHT_STATIONARY);
        hw.columns = table[i].columns;
        hw.rows = table[i].rows;
        hw.grid = table[i].grid;
        hw.rf_words[WTL_DATA_IFMAP] = table[i].ifmap;
        hw.rf_words[WTL_DATA_OFMAP] = table[i].psum;
        hw.rf_words[WTL_DATA_WEIGHT] = table[i].weight;
        hw.rf_pool_words = table[i].pool;
        hw.most_images = table[i].images;
        hw.weights_bypass_buffer = table[i].bypass;
        hw.buffer_words = table[i].buffer;
        wtl_access_counts counts;
        wtl_error err;
        if (table[i].message) {
            assert_fails(wtl_nest_count(&counts, &hw, &layer, &nest, &err), WTL_E_FIT, &err,
                         table[i].message);
            assert_close(counts.buffer_psum_words, 0, 0);
        } else {
            assert_ok(wtl_nest_count(&counts, &hw, &layer, &nest, NULL));
        }
    }
}

static void nests_that_are_not_of_the_layer_are_refused(void **state)
{
    (void)state;
    wtl_work_layer layer = layer_of(1, 4, 4, 3, 3, 4, 4, 1);
    wtl_hardware hw = roomy(WTL_WEIGHT_STATIONARY);
    wtl_access_counts counts;
    wtl_error err;
    wtl_nest_mapping nest = parsed("DRAM: C4 M4 R3 S3 P3 Q4");
    assert_fails(wtl_nest_count(&counts, &hw, &layer, &nest, &err), WTL_E_RANGE, &err,
                 "mapping: the loops over P cover 3; expected at least 4");
    nest.loops[0].factor = 0;
    assert_fails(wtl_nest_count(&counts, &hw, &layer, &nest, &err), WTL_E_RANGE, &err,
                 "mapping: C0; expected a factor of 1 or more");
    nest.loops[0].place = WTL_LOOP_RF;
    nest.loops[0].factor = 4;
    assert_fails(wtl_nest_count(&counts, &hw, &layer, &nest, &err), WTL_E_RANGE, &err,
                 "mapping: loop 2 is out of place; expected the order DRAM, buffer, X, Y, RF");
    nest.loop_count = 41;
    assert_fails(wtl_nest_count(&counts, &hw, &layer, &nest, &err), WTL_E_RANGE, &err,
                 "mapping: 41 loops; expected 0 to 40");
    /* Far too large factors do not overflow. */
    nest = parsed("DRAM: C1048576 C1048576 C1048576 M4 | buffer: P4 Q4 P1048576 R3 S3");
    assert_ok(wtl_nest_count(&counts, &hw, &layer, &nest, NULL));
    assert_close(counts.macs, 4 * 4 * 9 * 16, 0);
}

/* ---- the search ---- */

static double energy_of(const wtl_hardware *hw, const wtl_work_layer *layer,
                        const wtl_access_counts *counts)
{
    const int bits[] = {layer->ifmap.bits, layer->ofmap.bits, layer->filter.bits};
    double sum = 0;
    for (int level = 0; level < WTL_LEVEL_MAC; level++) {
        for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
            for (int way = READ; way <= WRITE; way++) {
                sum += counts->words[level][type][way] * hw->energy[level][type][way] *
                       bits[type] / hw->word_bits;
            }
        }
    }
    return sum;
}

/* Every nest of a dataflow: all factors, all orders of the classes of dims. */
typedef struct everything {
    const wtl_hardware *hw;
    const wtl_work_layer *layer;
    const char *x, *y, *rf; /* dims there may be */
    const char *innermost;  /* in the buffer */
    int factor[5][WTL_LOOP_DIM_COUNT];
    int size[WTL_LOOP_DIM_COUNT];
    double best;
    long tried;
} everything;

static void put_class(wtl_nest_mapping *nest, const everything *e, int place, const char *dims)
{
    for (; *dims; dims++) {
        int dim = (int)(strchr("NCMRSPQ", *dims) - "NCMRSPQ");
        nest->loops[nest->loop_count++] =
            (wtl_loop){(wtl_loop_place)place, (wtl_loop_dim)dim, e->factor[place][dim]};
    }
}

static void try_orders(everything *e)
{
    static const char *const orders[][3] = {{"NPQ", "CRS", "M"}, {"NPQ", "M", "CRS"},
                                            {"CRS", "NPQ", "M"}, {"CRS", "M", "NPQ"},
                                            {"M", "NPQ", "CRS"}, {"M", "CRS", "NPQ"}};
    for (int k = 0; k < 36; k++) {
        if (strcmp(orders[k % 6][2], e->innermost) != 0) {
            continue;
        }
        wtl_nest_mapping nest = {0};
        for (int i = 0; i < 3; i++) {
            put_class(&nest, e, WTL_LOOP_DRAM, orders[k / 6][i]);
        }
        for (int i = 0; i < 3; i++) {
            put_class(&nest, e, WTL_LOOP_BUFFER, orders[k % 6][i]);
        }
        for (int place = WTL_LOOP_SPATIAL_X; place <= WTL_LOOP_RF; place++) {
            put_class(&nest, e, place, "NCMRSPQ");
        }
        wtl_access_counts counts;
        if (wtl_nest_count(&counts, e->hw, e->layer, &nest, NULL) == WTL_OK) {
            double energy = energy_of(e->hw, e->layer, &counts);
            e->best = energy < e->best ? energy : e->best;
            e->tried++;
        }
    }
}

static int ceil_div(int a, int b)
{
    return (a + b - 1) / b;
}

/* Slot k: place k / 7 from RF outwards, dim k % 7; DRAM gets what is left. */
static void try_everything(everything *e, int slot)
{
    static const int places[] = {WTL_LOOP_RF, WTL_LOOP_SPATIAL_Y, WTL_LOOP_SPATIAL_X,
                                 WTL_LOOP_BUFFER};
    int dim = slot % 7;
    if (slot == 28) {
        for (int d = 0; d < 7; d++) {
            int inside = e->factor[4][d] * e->factor[3][d] * e->factor[2][d] * e->factor[1][d];
            e->factor[0][d] = ceil_div(e->size[d], inside);
        }
        if (e->factor[0][WTL_LOOP_R] == 1 && e->factor[0][WTL_LOOP_S] == 1) {
            try_orders(e);
        }
        return;
    }
    int place = places[slot / 7], inside = 1;
    for (int p = 4; p > place; p--) {
        inside *= e->factor[p][dim];
    }
    const char *allowed = place == WTL_LOOP_RF          ? e->rf
                          : place == WTL_LOOP_SPATIAL_Y ? e->y
                          : place == WTL_LOOP_SPATIAL_X ? e->x
                                                        : "NCMRSPQ";
    int most = strchr(allowed, "NCMRSPQ"[dim]) ? ceil_div(e->size[dim], inside) : 1;
    for (int f = 1; f <= most; f++) {
        e->factor[place][dim] = f;
        try_everything(e, slot + 1);
    }
    e->factor[place][dim] = 1;
}

static const char *const flow_dims[WTL_DATAFLOW_COUNT][4] = {
    [WTL_WEIGHT_STATIONARY] = {"M", "CRS", "CMRS", "NPQ"},
    [WTL_OUTPUT_STATIONARY] = {"QM", "PM", "MPQ", "CRS"},
    [WTL_NO_LOCAL_REUSE] = {"M", "CRS", "", "CRS"},
};

static void assert_search_finds_the_best(const wtl_hardware *hw, const wtl_work_layer *layer)
{
    const char *const *dims = flow_dims[hw->dataflow];
    bool weights = hw->dataflow == WTL_WEIGHT_STATIONARY;
    bool keeps = hw->rf_words[weights ? WTL_DATA_WEIGHT : WTL_DATA_OFMAP] > 0;
    everything e = {.hw = hw,
                    .layer = layer,
                    .x = dims[0],
                    .y = dims[1],
                    .rf = keeps ? dims[2] : "", /* nothing to keep, no loops */
                    .innermost = dims[3],
                    .size = {layer->ifmap.count, layer->filter.channels, layer->filter.count,
                             layer->filter.h, layer->filter.w, layer->ofmap.h, layer->ofmap.w},
                    .best = INFINITY};
    for (int place = 0; place < 5; place++) {
        for (int d = 0; d < 7; d++) {
            e.factor[place][d] = 1;
        }
    }
    try_everything(&e, 0);
    wtl_nest_mapping nest;
    assert_ok(wtl_nest_search(&nest, hw, layer, NULL));
    wtl_access_counts counts;
    assert_ok(wtl_nest_count(&counts, hw, layer, &nest, NULL));
    assert_true(e.tried > 0);
    assert_close(energy_of(hw, layer, &counts) / e.best, 1, 1e-12);
}

static void the_search_finds_the_best_of_all_nests(void **state)
{
    (void)state;
    /* n c m r s p q stride pad, PEs in rows and columns, buffer, bypass, scratchpads. */
    static const struct {
        int n, c, m, r, s, p, q, stride, pad, rows, columns, bypass, rf[3];
        double buffer;
    } table[] = {
        {1, 3, 4, 2, 1, 3, 2, 1, 0, 2, 2, 1, {0, 0, 1}, 14},
        {1, 5, 4, 1, 1, 3, 1, 1, 0, 2, 3, 0, {0, 0, 1}, 12},
        {2, 3, 5, 1, 1, 2, 2, 2, 0, 2, 2, 1, {1, 1, 1}, 9},
        {1, 2, 3, 3, 1, 5, 1, 1, 1, 3, 2, 1, {0, 0, 2}, 11},
        {1, 4, 3, 1, 1, 4, 1, 2, 0, 2, 2, 0, {2, 2, 2}, 16},
        {1, 7, 5, 1, 1, 1, 1, 1, 0, 2, 2, 1, {0, 0, 1}, 5},
        {1, 3, 3, 2, 2, 2, 2, 1, 0, 4, 3, 0, {0, 1, 0}, 40},
        {3, 2, 2, 1, 1, 3, 2, 1, 0, 2, 2, 1, {0, 2, 0}, 8},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        wtl_work_layer layer = layer_of(table[i].n, table[i].c, table[i].m, table[i].r,
                                        table[i].s, table[i].p, table[i].q, table[i].stride);
        layer.ifmap.h -= 2 * table[i].pad;
        layer.pad[0] = layer.pad[1] = table[i].pad;
        layer.filter.bits = 8;
        for (int flow = WTL_WEIGHT_STATIONARY; flow < WTL_DATAFLOW_COUNT; flow++) {
            wtl_hardware hw = roomy((wtl_dataflow)flow);
            hw.rows = table[i].rows;
            hw.columns = table[i].columns;
            hw.weights_bypass_buffer = table[i].bypass;
            hw.buffer_words = table[i].buffer;
            memcpy(hw.rf_words, table[i].rf, sizeof hw.rf_words);
            hw.energy[WTL_LEVEL_BUFFER][WTL_DATA_IFMAP][WRITE] = 0;
            assert_search_finds_the_best(&hw, &layer);
        }
    }
}

static void a_search_without_room_says_so(void **state)
{
    (void)state;
    wtl_work_layer layer = layer_of(1, 4, 4, 3, 3, 4, 4, 1);
    wtl_hardware hw = roomy(WTL_WEIGHT_STATIONARY);
    wtl_nest_mapping nest;
    wtl_error err;
    hw.buffer_words = 18; /* 9 ifmap values, 1 sum, 9 weights */
    assert_fails(wtl_nest_search(&nest, &hw, &layer, &err), WTL_E_FIT, &err,
                 "no weight-stationary mapping fits: the smallest tile needs 19 buffer words, "
                 "there are 18");
    hw.buffer_words = 19;
    assert_ok(wtl_nest_search(&nest, &hw, &layer, NULL));
    hw.rf_pool_words = 2;
    assert_fails(wtl_nest_search(&nest, &hw, &layer, &err), WTL_E_FIT, &err,
                 "no weight-stationary mapping fits: a PE needs 3 scratchpad words and has 2");
    hw.rf_pool_words = 3;
    assert_ok(wtl_nest_search(&nest, &hw, &layer, NULL));
}

/* AlexNet conv2 at N = 16, two groups, on the presets: the dataflow keeps what it should. */
static void presets_keep_what_their_dataflow_keeps(void **state)
{
    (void)state;
    wtl_work_layer layer = {.ifmap = {27, 27, 96, 16, 0, 16},
                            .filter = {5, 5, 48, 256, 0, 16},
                            .ofmap = {27, 27, 256, 16, 0, 16},
                            .stride = {1, 1},
                            .dilation = {1, 1},
                            .pad = {2, 2, 2, 2}};
    static const char *const names[] = {"tpu-like", "shidiannao-like", "diannao-like"};
    double weights[3], sums[3];
    for (int i = 0; i < 3; i++) {
        wtl_hardware hw;
        assert_ok(wtl_hardware_load(&hw, names[i], NULL));
        wtl_nest_mapping nest;
        wtl_access_counts counts;
        assert_ok(wtl_nest_search(&nest, &hw, &layer, NULL));
        assert_ok(wtl_nest_count(&counts, &hw, &layer, &nest, NULL));
        assert_close(counts.macs, 223948800.0 * 16, 0);
        assert_true(counts.active_pes > 200 && counts.active_pes <= 256);
        weights[i] = WORDS(ARRAY, WEIGHT, READ);
        sums[i] = WORDS(BUFFER, OFMAP, WRITE);
        assert_true(WORDS(DRAM, IFMAP, READ) >= wtl_work_values(&layer.ifmap));
        assert_true(WORDS(DRAM, WEIGHT, READ) >= wtl_work_values(&layer.filter));
        assert_true(WORDS(DRAM, OFMAP, WRITE) >= wtl_work_values(&layer.ofmap));
    }
    assert_true(weights[0] < weights[1] / 100 && weights[0] < weights[2] / 100);
    assert_close(sums[1], wtl_work_values(&layer.ofmap), 0);
    assert_true(sums[1] < sums[0] && sums[1] < sums[2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(the_published_timeloop_counts_come_out_exactly),
        WTL_TEST(every_count_is_that_of_a_walk_through_the_loops),
        WTL_TEST(padding_is_not_fetched_from_dram_and_counts_in_the_array),
        WTL_TEST(tiles_that_do_not_divide_are_counted_at_their_true_sizes),
        WTL_TEST(groups_repeat_the_work_of_one),
        WTL_TEST(what_does_not_fit_is_refused_with_its_limit),
        WTL_TEST(nests_that_are_not_of_the_layer_are_refused),
        WTL_TEST(the_search_finds_the_best_of_all_nests),
        WTL_TEST(a_search_without_room_says_so),
        WTL_TEST(presets_keep_what_their_dataflow_keeps),
    };
    return WTL_RUN("mapping_nest", tests);
}
