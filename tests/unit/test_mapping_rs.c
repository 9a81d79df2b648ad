/* test_mapping_rs.c - row-stationary mappings: counts by hand, limits, search. */
#include "energy_cases.h"
#include "wtl_test.h"

#include <math.h>
#include <string.h>

/* N 2, C 2, M 4, 4x4 maps, 3x3 filters, padding 1. */
static wtl_work_layer paper_layer(void)
{
    const case_shape shape = {"paper", 2, 4, 4, 3, 1, 1, 1};
    return case_layer(&shape, 1, 2);
}

/* Two strips of two rows (h = 4), two sets over channels; one filter at a time. */
static const wtl_rs_mapping PAPER_MAPPING = {2, 1, 2, 1, 1, 2, 1};

static wtl_access_counts paper_counts(const wtl_hardware *hw)
{
    wtl_work_layer layer = paper_layer();
    wtl_mapping mapping = {WTL_ROW_STATIONARY, {.rs = PAPER_MAPPING}};
    wtl_access_counts counts;
    wtl_error err = {0};
    memset(&counts, 0xff, sizeof counts);
    assert_ok(wtl_mapping_count(&counts, hw, &layer, &mapping, &err));
    return counts;
}

static void assert_words(const wtl_access_counts *counts, wtl_data_type type,
                         const double want[WTL_LEVEL_MAC][2])
{
    for (int level = 0; level < WTL_LEVEL_MAC; level++) {
        assert_close(counts->words[level][type][WTL_READ], want[level][WTL_READ], 1e-9);
        assert_close(counts->words[level][type][WTL_WRITE], want[level][WTL_WRITE], 1e-9);
    }
}

static void counts_by_rows_are_those_worked_by_hand(void **state)
{
    (void)state;
    /* Strips fetch rows -1..2 and 1..4, of which 0..2 and 1..3 exist: 6 rows of 4 values of 4
     * planes, for 2 halves of the filters. Passes: 8 rows of 6, 4 times. */
    static const double ifmap[4][2] = {{192, 0}, {768, 0}, {1152, 0}, {2304, 0}};
    /* 128 values, in one pass over channels; 3*2-1 hops; 18 additions, 6 of them in hops. */
    static const double psums[4][2] = {{0, 128}, {128, 128}, {640, 0}, {1536, 1536}};
    /* 72 weights for 2 images and 2 strips; 4 rows of PEs. */
    static const double weights[4][2] = {{288, 0}, {0, 0}, {576, 0}, {2304, 0}};
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_access_counts counts = paper_counts(&hw);
    assert_words(&counts, WTL_DATA_IFMAP, ifmap);
    assert_words(&counts, WTL_DATA_OFMAP, psums);
    assert_words(&counts, WTL_DATA_WEIGHT, weights);
    assert_close(counts.macs, 2304, 0.0);
    assert_int_equal(counts.active_pes, 12); /* R*e*r*t = 3*2*2*1 */
    assert_close(counts.buffer_ifmap_words, 48, 0.0);
    assert_close(counts.buffer_psum_words, 16, 0.0);
    assert_close(counts.buffer_weight_words, 0, 0.0);
    assert_close(counts.cycles, 192, 0.0); /* 2304 MACs on 12 PEs */
}

static void counts_of_isca16_have_a_real_halo_and_fewer_psums_in_the_buffer(void **state)
{
    (void)state;
    /* 4 planes of 6x6 with a halo of 4/6 * 4/2 = 4/3: 192. */
    static const double ifmap[4][2] = {{384, 0}, {768, 0}, {1152, 0}, {2304, 0}};
    static const double psums[4][2] = {{0, 128}, {0, 0}, {1280, 0}, {1536, 1536}};
    wtl_hardware hw = case_small(WTL_COUNT_ISCA16);
    wtl_access_counts counts = paper_counts(&hw);
    assert_words(&counts, WTL_DATA_IFMAP, ifmap);
    assert_words(&counts, WTL_DATA_OFMAP, psums);
}

static void counts_of_cvpr17_have_presence_bits(void **state)
{
    (void)state;
    /* Halo 4/3 of the 64 values without padding: 85.33 a pass, twice from DRAM. */
    static const double ifmap[4][2] = {{512.0 / 3, 0},
                                       {512.0 / 3 + 1024.0 / 3 * 17 / 16, 512.0 / 3},
                                       {1152, 0},
                                       {2304 * 17.0 / 16, 1152 * 17.0 / 16}};
    static const double psums[4][2] = {{0, 128}, {128, 128}, {896, 0}, {2304, 2304}};
    static const double weights[4][2] = {
        {288, 0}, {0, 0}, {576, 0}, {2304 * 17.0 / 16, 576 * 17.0 / 16}};
    wtl_hardware hw = case_small(WTL_COUNT_CVPR17);
    wtl_access_counts counts = paper_counts(&hw);
    assert_words(&counts, WTL_DATA_IFMAP, ifmap);
    assert_words(&counts, WTL_DATA_OFMAP, psums);
    assert_words(&counts, WTL_DATA_WEIGHT, weights);
    assert_close(counts.whole[WTL_LEVEL_RF][WTL_DATA_WEIGHT][WTL_READ], 144, 0.0);
}

static void weights_that_do_not_bypass_the_buffer_take_room_and_traffic(void **state)
{
    (void)state;
    static const double weights[4][2] = {{288, 0}, {288, 288}, {576, 0}, {2304, 0}};
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.weights_bypass_buffer = false;
    wtl_access_counts counts = paper_counts(&hw);
    assert_words(&counts, WTL_DATA_WEIGHT, weights);
    assert_close(counts.buffer_weight_words, 18, 0.0); /* p*t*q*r*R*S */
}

static void groups_count_as_layers_beside_each_other(void **state)
{
    (void)state;
    const case_shape alone = {"one", 2, 5, 3, 3, 2, 1, 1}, both = {"two", 4, 5, 6, 3, 2, 1, 2};
    wtl_work_layer one = case_layer(&alone, 1, 2), two = case_layer(&both, 1, 2);
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_mapping mapping = case_mapping(3, 1, 2, 1, 1, 2, 1);
    wtl_access_counts a, b;
    wtl_error err = {0};
    assert_ok(wtl_mapping_count(&a, &hw, &one, &mapping, &err));
    assert_ok(wtl_mapping_count(&b, &hw, &two, &mapping, &err));
    for (int i = 0; i < WTL_LEVEL_MAC * WTL_DATA_COMPUTATION * 2; i++) {
        assert_close((&b.words[0][0][0])[i], 2 * (&a.words[0][0][0])[i], 0.0);
    }
    assert_close(b.macs, 2 * a.macs, 0.0);
    assert_close(b.cycles, 2 * a.cycles, 0.0);
}

static void a_dense_layer_too_tall_for_the_array_counts_as_1x1(void **state)
{
    (void)state;
    const case_shape tall = {"dense", 2, 7, 5, 7, 1, 0, 1},
                     flat = {"1x1", 98, 1, 5, 1, 1, 0, 1};
    wtl_work_layer a = case_layer(&tall, 1, 3), b = case_layer(&flat, 1, 3);
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_mapping x, y;
    wtl_access_counts counts_x, counts_y;
    wtl_error err = {0};
    assert_ok(wtl_mapping_search(&x, &hw, &a, &err));
    assert_ok(wtl_mapping_search(&y, &hw, &b, &err));
    assert_memory_equal(&x.as.rs, &y.as.rs, sizeof x.as.rs);
    assert_ok(wtl_mapping_count(&counts_x, &hw, &a, &x, &err));
    assert_ok(wtl_mapping_count(&counts_y, &hw, &b, &y, &err));
    assert_memory_equal(&counts_x, &counts_y, sizeof counts_x);
}

/* A 1x1 filter with stride 2 on 6 rows: strips take rows 0..2 and 4; row 5 is not needed. */
static void a_short_last_strip_fetches_only_its_rows(void **state)
{
    (void)state;
    const case_shape shape = {"gap", 1, 6, 1, 1, 2, 0, 1};
    wtl_work_layer layer = case_layer(&shape, 1, 1);
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_mapping mapping = case_mapping(1, 1, 2, 1, 1, 1, 1);
    wtl_access_counts counts;
    wtl_error err = {0};
    assert_ok(wtl_mapping_count(&counts, &hw, &layer, &mapping, &err));
    assert_close(counts.words[WTL_LEVEL_DRAM][WTL_DATA_IFMAP][WTL_READ], 24, 0.0);
    assert_close(counts.words[WTL_LEVEL_BUFFER][WTL_DATA_IFMAP][WTL_READ], 36, 0.0);
}

/* ---- limits ---- */

static void assert_count_fails(const wtl_hardware *hw, const wtl_work_layer *layer,
                               const char *text, wtl_status status, const char *message)
{
    wtl_mapping mapping;
    wtl_access_counts counts;
    wtl_error err = {0};
    assert_ok(wtl_mapping_parse(&mapping, WTL_ROW_STATIONARY, text, &err));
    assert_fails(wtl_mapping_count(&counts, hw, layer, &mapping, &err), status, &err, message);
}

static void mappings_outside_the_layer_are_refused(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layer = paper_layer();
    static const struct {
        const char *text, *message;
    } bad[] = {
        {"m=5 n=1 e=2 p=1 q=1 r=2 t=1", "mapping: m is 5, this layer takes 1..4"},
        {"m=2 n=3 e=2 p=1 q=1 r=2 t=1", "mapping: n is 3, this layer takes 1..2"},
        {"m=2 n=1 e=5 p=1 q=1 r=2 t=1", "mapping: e is 5, this layer takes 1..4"},
        {"m=2 n=1 e=2 p=5 q=1 r=2 t=1", "mapping: p is 5, this layer takes 1..4"},
        {"m=2 n=1 e=2 p=1 q=3 r=2 t=1", "mapping: q is 3, this layer takes 1..2"},
        {"m=2 n=1 e=2 p=1 q=1 r=3 t=1", "mapping: r is 3, this layer takes 1..2"},
        {"m=2 n=1 e=2 p=1 q=1 r=2 t=5", "mapping: t is 5, this layer takes 1..4"},
        {"m=2 n=1 e=2 p=1 q=2 r=2 t=1", "mapping: q*r is 4, a group has 2 channels"},
        {"m=2 n=1 e=2 p=3 q=1 r=2 t=1", "mapping: p*t is 3, more than m, which is 2"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_count_fails(&hw, &layer, bad[i].text, WTL_E_RANGE, bad[i].message);
    }
}

static void mappings_that_do_not_fit_the_hardware_are_refused(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layer = paper_layer();
    assert_count_fails(&hw, &layer, "m=2 n=1 e=3 p=1 q=1 r=2 t=2", WTL_E_FIT,
                       "mapping: r*t is 4 sets of 3x3 PEs, the 6x4 array takes 2");
    assert_count_fails(&hw, &layer, "m=4 n=1 e=2 p=4 q=1 r=1 t=1", WTL_E_FIT,
                       "mapping: a PE keeps 4 psum words, that scratchpad has 3");
    assert_count_fails(&hw, &layer, "m=4 n=1 e=2 p=3 q=2 r=1 t=1", WTL_E_FIT,
                       "mapping: a PE keeps 18 weight words, that scratchpad has 12");
    const case_shape wide = {"wide", 2, 5, 4, 3, 1, 1, 1};
    wtl_work_layer five_rows = case_layer(&wide, 1, 1); /* in two segments of 4 and 1 columns */
    assert_count_fails(&hw, &five_rows, "m=1 n=1 e=5 p=1 q=1 r=2 t=1", WTL_E_FIT,
                       "mapping: r*t is 2 sets of 3x5 PEs, the 6x4 array takes 1");
    hw.rf_words[WTL_DATA_IFMAP] = 5;
    assert_count_fails(&hw, &layer, "m=4 n=1 e=2 p=1 q=2 r=1 t=1", WTL_E_FIT,
                       "mapping: a PE keeps 6 ifmap words, that scratchpad has 5");
    hw.rf_pool_words = 14;
    assert_count_fails(&hw, &layer, "m=4 n=1 e=2 p=3 q=1 r=1 t=1", WTL_E_FIT,
                       "mapping: a PE keeps 15 words, its scratchpad has 14");
    hw.most_images = 1;
    assert_count_fails(&hw, &layer, "m=2 n=2 e=2 p=1 q=1 r=1 t=1", WTL_E_FIT,
                       "mapping: n is 2, a pass takes at most 1 images");
    hw.buffer_words = 63;
    assert_count_fails(&hw, &layer, "m=2 n=1 e=2 p=1 q=1 r=2 t=1", WTL_E_FIT,
                       "mapping: 64 words are kept in the buffer of 63");
}

static void a_filter_taller_than_the_array_finds_no_mapping(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    const case_shape shape = {"tall", 1, 9, 1, 7, 1, 0, 1};
    wtl_work_layer layer = case_layer(&shape, 1, 1);
    wtl_mapping mapping;
    wtl_error err = {0};
    assert_fails(wtl_mapping_search(&mapping, &hw, &layer, &err), WTL_E_FIT, &err,
                 "mapping: the filter has 7 rows, the array 6");
}

static void a_mapping_of_another_dataflow_is_refused(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layer = paper_layer();
    wtl_mapping mapping = {.dataflow = WTL_NO_LOCAL_REUSE};
    wtl_access_counts counts;
    wtl_error err = {0};
    assert_fails(wtl_mapping_count(&counts, &hw, &layer, &mapping, &err), WTL_E_FIT, &err,
                 "mapping: it is no-local-reuse, the hardware is row-stationary");
}

/* ---- search ---- */

static double dense_cost(const wtl_hardware *hw, const wtl_work_layer *layer,
                         const wtl_access_counts *counts)
{
    const int bits[] = {layer->ifmap.bits, layer->ofmap.bits, layer->filter.bits};
    double cost = 0.0;
    for (int i = 0; i < WTL_LEVEL_MAC * WTL_DATA_COMPUTATION * 2; i++) {
        int type = i / 2 % WTL_DATA_COMPUTATION;
        cost += (&counts->words[0][0][0])[i] * (&hw->energy[0][0][0])[i] * bits[type] /
                hw->word_bits;
    }
    return cost;
}

typedef struct best_mapping {
    wtl_rs_mapping map;
    double cost;
} best_mapping;

static void try_mapping(best_mapping *best, const wtl_hardware *hw, const wtl_work_layer *layer,
                        const int *v)
{
    wtl_mapping mapping = case_mapping(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
    wtl_access_counts counts;
    if (wtl_mapping_count(&counts, hw, layer, &mapping, NULL) != WTL_OK) {
        return;
    }
    double cost = dense_cost(hw, layer, &counts);
    if (cost < best->cost) { /* in lexicographic order: the first of equals stays */
        *best = (best_mapping){mapping.as.rs, cost};
    }
}

/* Every mapping there is, in lexicographic order. */
static best_mapping exhaustive(const wtl_hardware *hw, const wtl_work_layer *layer)
{
    int groups = wtl_work_groups(layer), filters = layer->filter.count / groups;
    const int most[7] = {filters, layer->ifmap.count,     layer->ofmap.h,
                         filters, layer->filter.channels, layer->filter.channels,
                         filters};
    int v[7] = {1, 1, 1, 1, 1, 1, 1};
    best_mapping best = {.cost = INFINITY};
    for (int i = 0; i >= 0;) {
        try_mapping(&best, hw, layer, v);
        for (i = 6; i >= 0 && v[i] == most[i]; i--) {
            v[i] = 1;
        }
        if (i >= 0) {
            v[i]++;
        }
    }
    return best;
}

static void assert_search_is_exhaustive(const wtl_hardware *hw, const wtl_work_layer *layer)
{
    best_mapping want = exhaustive(hw, layer);
    wtl_mapping got;
    wtl_access_counts counts;
    wtl_error err = {0};
    assert_true(isfinite(want.cost));
    assert_ok(wtl_mapping_search(&got, hw, layer, &err));
    assert_ok(wtl_mapping_count(&counts, hw, layer, &got, &err));
    assert_close(dense_cost(hw, layer, &counts), want.cost, 1e-12 * want.cost);
    if (hw->accounting == WTL_COUNT_ROWS) { /* all costs are whole: ties are exact */
        char text[2][80];
        wtl_mapping mapping = {WTL_ROW_STATIONARY, {.rs = want.map}};
        wtl_mapping_text(&mapping, text[0], sizeof text[0]);
        wtl_mapping_text(&got, text[1], sizeof text[1]);
        assert_string_equal(text[1], text[0]);
    }
}

static const case_shape SMALL[] = {
    {"3x3", 3, 7, 5, 3, 1, 1, 1},    {"1x1", 5, 4, 6, 1, 1, 0, 1},
    {"stride", 2, 9, 5, 3, 2, 0, 1}, {"groups", 4, 5, 6, 3, 1, 1, 2},
    {"dense", 4, 3, 7, 3, 1, 0, 1},  {"gap", 3, 7, 4, 1, 2, 0, 1},
    {"depth", 3, 6, 3, 3, 1, 1, 3},  {"padded", 2, 3, 4, 3, 1, 2, 1},
};
enum { SMALL_COUNT = sizeof SMALL / sizeof *SMALL };

static void the_search_finds_what_an_exhaustive_one_finds(void **state)
{
    (void)state;
    for (int i = 0; i < SMALL_COUNT * 3; i++) {
        wtl_hardware hw = case_small((wtl_accounting)(i % 3));
        wtl_work_layer layer = case_layer(&SMALL[i / 3], 1, 3);
        assert_search_is_exhaustive(&hw, &layer);
    }
}

static void the_search_is_exhaustive_under_other_limits(void **state)
{
    (void)state;
    for (int i = 0; i < SMALL_COUNT * 4; i++) {
        wtl_hardware hw = case_small((wtl_accounting)(i % 3));
        wtl_work_layer layer = case_layer(&SMALL[i / 4], 1, 3);
        switch (i % 4) {
        case 0: /* weights share a buffer that is short */
            hw.weights_bypass_buffer = false;
            hw.buffer_words = 90;
            break;
        case 1: /* only PEs are counted, scratchpads are pooled */
            hw.grid = false;
            hw.rf_pool_words = 17;
            break;
        case 2: /* another balance of costs */
            case_energies(&hw, 4, 3, 8, 1);
            hw.most_images = 2;
            break;
        default:
            layer.ofmap.bits = 8;
            layer.filter.bits = 4;
            hw.buffer_words = 120;
        }
        assert_search_is_exhaustive(&hw, &layer);
    }
}

/* Two strips of 5 rows: 3+2 fetch 3+2 rows, 4+1 fetch 3+1, as padding is not fetched. */
static void a_taller_strip_that_fetches_less_is_found(void **state)
{
    (void)state;
    const case_shape shape = {"padded", 1, 3, 1, 3, 1, 2, 1};
    wtl_work_layer layer = case_layer(&shape, 1, 1);
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.buffer_words = 70; /* a strip of 5 rows takes 74 */
    assert_search_is_exhaustive(&hw, &layer);
    wtl_mapping mapping;
    wtl_error err = {0};
    assert_ok(wtl_mapping_search(&mapping, &hw, &layer, &err));
    assert_int_equal(mapping.as.rs.e, 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(counts_by_rows_are_those_worked_by_hand),
        WTL_TEST(counts_of_isca16_have_a_real_halo_and_fewer_psums_in_the_buffer),
        WTL_TEST(counts_of_cvpr17_have_presence_bits),
        WTL_TEST(weights_that_do_not_bypass_the_buffer_take_room_and_traffic),
        WTL_TEST(groups_count_as_layers_beside_each_other),
        WTL_TEST(a_dense_layer_too_tall_for_the_array_counts_as_1x1),
        WTL_TEST(a_short_last_strip_fetches_only_its_rows),
        WTL_TEST(mappings_outside_the_layer_are_refused),
        WTL_TEST(mappings_that_do_not_fit_the_hardware_are_refused),
        WTL_TEST(a_filter_taller_than_the_array_finds_no_mapping),
        WTL_TEST(a_mapping_of_another_dataflow_is_refused),
        WTL_TEST(the_search_finds_what_an_exhaustive_one_finds),
        WTL_TEST(the_search_is_exhaustive_under_other_limits),
        WTL_TEST(a_taller_strip_that_fetches_less_is_found),
    };
    return WTL_RUN("mapping", tests);
}
