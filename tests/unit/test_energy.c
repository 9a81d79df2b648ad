/* test_energy.c - the estimate of whole workloads, and the oracle. */
#include "energy_cases.h"
#include "wattle/memory.h"
#include "wtl_test.h"

#include <math.h>
#include <string.h>

/* N 2, C 2, M 4, 4x4 maps, 3x3 filters, padding 1; its counts are worked in
 * test_mapping_rs.c. */
static wtl_work_layer paper_layer(void)
{
    const case_shape shape = {"paper", 2, 4, 4, 3, 1, 1, 1};
    return case_layer(&shape, 7, 2);
}

static wtl_mapping paper_mapping(void)
{
    return case_mapping(2, 1, 2, 1, 1, 2, 1);
}

static wtl_layer_energy energy_of(const wtl_hardware *hw, const wtl_work_layer *layer,
                                  bool first, wtl_mapping mapping)
{
    wtl_layer_energy energy;
    wtl_error err = {0};
    memset(&energy, 0xff, sizeof energy);
    if (wtl_energy_layer(&energy, hw, layer, first, &mapping, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    return energy;
}

static wtl_energy_report report_of(const wtl_hardware *hw, wtl_work_layer *layers, int count,
                                   const wtl_mapping *mappings)
{
    wtl_workload work = {.name = "net", .layers = layers, .layer_count = count};
    wtl_energy_options options = {mappings};
    wtl_energy_report report;
    wtl_error err = {0};
    assert_ok(wtl_energy_estimate(&report, hw, &work, &options, &err));
    return report;
}

static void assert_energies(const wtl_layer_energy *got,
                            const double want[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT])
{
    double total = 0.0;
    for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
        for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
            assert_close(got->energy[type][level], want[type][level], 1e-9);
            total += want[type][level];
        }
    }
    assert_close(got->total, total, 1e-6);
}

/* ---- one layer ---- */

static void a_dense_layer_costs_what_is_worked_by_hand(void **state)
{
    (void)state;
    /* Words of test_mapping_rs.c at 200, 6, 2, 1, for two images. */
    static const double want[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT] = {
        {19200, 2304, 1152, 1152, 0},
        {12800, 768, 640, 1536, 0},
        {28800, 0, 576, 1152, 0},
        {0, 0, 0, 0, 1152}};
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layer = paper_layer();
    wtl_layer_energy got = energy_of(&hw, &layer, true, paper_mapping());
    assert_energies(&got, want);
    assert_close(got.total, 71232, 0.0);
    assert_int_equal(got.index, 7);
    assert_string_equal(got.name, "paper");
    assert_close(got.macs, 1152, 0.0);
    assert_close(got.macs_not_skipped, 1152, 0.0);
    assert_close(got.weights, 72, 0.0);
    assert_close(got.weights_not_zero, 72, 0.0);
    assert_close(got.dram_bytes, 608, 0.0); /* (192+128+288) words * 2 bytes / 2 images */
}

/* Half the ifmap and of the weights, a quarter of the ofmap is not zero. */
static wtl_work_layer sparse_layer(void)
{
    wtl_work_layer layer = paper_layer();
    layer.ifmap.zeros = 32;
    layer.filter.zeros = 36;
    layer.ofmap.zeros = 96;
    return layer;
}

static void zeros_are_skipped_and_compressed(void **state)
{
    (void)state;
    /* Of the padded 6x6 ifmaps 2/9 is not zero: 1/9 of the MACs is left. With a presence bit
     * of 1/16 word: 9/16, 5/16 and 9/16 of the DRAM words. */
    static const double want[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT] = {
        {19200 * 9 / 16.0, 2304 * 9 / 16.0, 1152, 128, 0},
        {12800 * 5 / 16.0, 768, 640, 1536 / 9.0, 0},
        {28800 * 9 / 16.0, 0, 576, 128, 0},
        {0, 0, 0, 0, 128}};
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.zero_ifmap = hw.zero_weight = WTL_ZERO_SKIPS;
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        hw.compress[WTL_LEVEL_DRAM][type] = WTL_COMPRESS_PRESENCE;
    }
    hw.compress[WTL_LEVEL_BUFFER][WTL_DATA_IFMAP] = WTL_COMPRESS_PRESENCE;
    wtl_work_layer layer = sparse_layer();
    wtl_layer_energy got = energy_of(&hw, &layer, true, paper_mapping());
    assert_energies(&got, want);
    assert_close(got.macs_not_skipped, 128, 1e-9);
    assert_close(got.dram_bytes, (192 * 9 + 128 * 5 + 288 * 9) / 16.0, 1e-9);
}

static void gating_leaves_its_share(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layer = sparse_layer();
    hw.gated_share = 0.25;
    hw.zero_ifmap = WTL_ZERO_GATES; /* 2/9 + 7/9 * 1/4 = 15/36 */
    wtl_layer_energy got = energy_of(&hw, &layer, true, paper_mapping());
    assert_close(got.energy[WTL_DATA_COMPUTATION][WTL_LEVEL_MAC], 1152 * 15 / 36.0, 1e-9);
    assert_close(got.macs_not_skipped, 256, 1e-9);
    hw.zero_weight = WTL_ZERO_SKIPS; /* half of that */
    got = energy_of(&hw, &layer, true, paper_mapping());
    assert_close(got.energy[WTL_DATA_COMPUTATION][WTL_LEVEL_MAC], 1152 * 15 / 72.0, 1e-9);
    hw.zero_weight = WTL_ZERO_GATES; /* 1/9 + 8/9 * 1/4 = 1/3 */
    got = energy_of(&hw, &layer, true, paper_mapping());
    assert_close(got.energy[WTL_DATA_COMPUTATION][WTL_LEVEL_MAC], 384, 1e-9);
    assert_close(got.energy[WTL_DATA_OFMAP][WTL_LEVEL_RF], 1536 / 3.0, 1e-9);
}

static void run_lengths_cost_4_thirds_of_a_word_and_never_more_than_raw(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.compress[WTL_LEVEL_DRAM][WTL_DATA_IFMAP] = WTL_COMPRESS_RUN_LENGTH;
    hw.first_ifmap_raw = true;
    wtl_work_layer layer = sparse_layer();
    wtl_layer_energy got = energy_of(&hw, &layer, false, paper_mapping());
    assert_close(got.energy[WTL_DATA_IFMAP][WTL_LEVEL_DRAM], 19200 * 2 / 3.0, 1e-9);
    got = energy_of(&hw, &layer, true, paper_mapping());
    assert_close(got.energy[WTL_DATA_IFMAP][WTL_LEVEL_DRAM], 19200, 0.0);
    layer.ifmap.zeros = 8;
    got = energy_of(&hw, &layer, false, paper_mapping());
    assert_close(got.energy[WTL_DATA_IFMAP][WTL_LEVEL_DRAM], 19200, 0.0);
    /* 8 bits: 4 pairs of 13 bits in 64 make 2 words a non-zero. */
    layer.ifmap.zeros = 48;
    layer.ifmap.bits = 8;
    got = energy_of(&hw, &layer, false, paper_mapping());
    assert_close(got.energy[WTL_DATA_IFMAP][WTL_LEVEL_DRAM], 19200 / 2 / 2, 1e-9);
}

/* Memory is linear in the bits, a MAC in those of each operand. */
static void narrower_values_cost_less(void **state)
{
    (void)state;
    static const double want[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT] = {
        {9600, 1152, 576, 576, 0},
        {25600, 1536, 1280, 3072, 0},
        {7200, 0, 144, 288, 0},
        {0, 0, 0, 0, 144}};
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layer = paper_layer();
    layer.ifmap.bits = 8;
    layer.filter.bits = 4;
    layer.ofmap.bits = 32;
    wtl_layer_energy got = energy_of(&hw, &layer, true, paper_mapping());
    assert_energies(&got, want);
}

static void each_direction_has_its_energy(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.energy[WTL_LEVEL_BUFFER][WTL_DATA_OFMAP][WTL_READ] = 3;
    hw.energy[WTL_LEVEL_BUFFER][WTL_DATA_OFMAP][WTL_WRITE] = 10;
    hw.mac_energy = 2.0;
    wtl_work_layer layer = paper_layer();
    wtl_layer_energy got = energy_of(&hw, &layer, true, paper_mapping());
    assert_close(got.energy[WTL_DATA_OFMAP][WTL_LEVEL_BUFFER], 64 * 3 + 64 * 10, 0.0);
    assert_close(got.energy[WTL_DATA_COMPUTATION][WTL_LEVEL_MAC], 2304, 0.0);
}

/* ---- properties over random layers ---- */

static unsigned next_random(unsigned *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

static int between(unsigned *seed, int low, int high)
{
    return low + (int)(next_random(seed) % (unsigned)(high - low + 1));
}

static wtl_work_layer random_layer(unsigned *seed)
{
    int groups = between(seed, 1, 2), r = between(seed, 1, 3);
    case_shape shape = {"random",
                        groups * between(seed, 1, 9),
                        between(seed, 3, 12),
                        groups * between(seed, 1, 9),
                        r,
                        between(seed, 1, 2),
                        between(seed, 0, r / 2),
                        groups};
    wtl_work_layer layer = case_layer(&shape, 1, between(seed, 1, 5));
    wtl_work_tensor *tensors[] = {&layer.ifmap, &layer.filter, &layer.ofmap};
    for (int i = 0; i < 3; i++) {
        tensors[i]->zeros = floor(wtl_work_values(tensors[i]) * between(seed, 0, 10) / 10.0);
        tensors[i]->bits = between(seed, 1, 32);
    }
    return layer;
}

static wtl_hardware random_hardware(unsigned *seed)
{
    wtl_hardware hw = case_small((wtl_accounting)between(seed, 0, 2));
    hw.buffer_words = 2000;
    hw.zero_ifmap = (wtl_zero_rule)between(seed, 0, 2);
    hw.zero_weight = (wtl_zero_rule)between(seed, 0, 2);
    hw.gated_share = between(seed, 0, 4) / 4.0;
    for (int i = 0; i < 2 * WTL_DATA_COMPUTATION; i++) {
        hw.compress[i / WTL_DATA_COMPUTATION][i % WTL_DATA_COMPUTATION] =
            (wtl_compression)between(seed, 0, 2);
    }
    return hw;
}

static void more_zeros_never_cost_more(void **state)
{
    (void)state;
    unsigned seed = 1;
    for (int i = 0; i < 300; i++) {
        wtl_hardware hw = random_hardware(&seed);
        wtl_work_layer layer = random_layer(&seed);
        wtl_mapping mapping;
        wtl_error err = {0};
        assert_ok(wtl_mapping_search(&mapping, &hw, &layer, &err));
        double before = energy_of(&hw, &layer, false, mapping).total;
        wtl_work_tensor *tensors[] = {&layer.ifmap, &layer.filter, &layer.ofmap};
        for (int type = 0; type < 3; type++) {
            double values = wtl_work_values(tensors[type]);
            tensors[type]->zeros += floor((values - tensors[type]->zeros) / 2);
            double after = energy_of(&hw, &layer, false, mapping).total;
            assert_true(isfinite(after) && after >= 0 && after <= before * (1 + 1e-12));
            before = after;
        }
    }
}

/* ---- a workload ---- */

static void parts_equal_the_total(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layers[2] = {sparse_layer(), paper_layer()};
    wtl_mapping mappings[2] = {paper_mapping(), paper_mapping()};
    wtl_energy_report report = report_of(&hw, layers, 2, mappings);
    double total = 0.0;
    for (int i = 0; i < 2; i++) {
        double parts = 0.0;
        for (int j = 0; j < WTL_DATA_TYPE_COUNT * WTL_LEVEL_COUNT; j++) {
            parts += (&report.layers[i].energy[0][0])[j];
        }
        assert_close(parts, report.layers[i].total, 1e-12 * parts);
        total += parts;
    }
    assert_close(report.total, total, 1e-12 * total);
    assert_string_equal(report.workload, "net");
    assert_string_equal(report.hardware, "small");
    assert_int_equal(report.batch, 2);
    wtl_energy_report_clear(&report);
    assert_null(report.layers);
}

static void a_found_mapping_is_never_dearer_than_a_forced_one(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layer = paper_layer();
    wtl_mapping mapping = paper_mapping();
    wtl_energy_report forced = report_of(&hw, &layer, 1, &mapping);
    wtl_energy_report found = report_of(&hw, &layer, 1, NULL);
    assert_true(found.total < forced.total);
    assert_memory_equal(&forced.layers[0].mapping.as.rs, &mapping.as.rs, sizeof mapping.as.rs);
    wtl_energy_report_clear(&forced);
    wtl_energy_report_clear(&found);
}

static void the_table_has_the_tools_form(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.zero_weight = WTL_ZERO_SKIPS;
    wtl_work_layer layers[2] = {paper_layer(), sparse_layer()};
    layers[1].index = 12;
    layers[1].filter.zeros = 48; /* a third is left */
    wtl_mapping mappings[2] = {paper_mapping(), paper_mapping()};
    wtl_energy_report report = report_of(&hw, layers, 2, mappings);
    char *csv = wtl_energy_csv(&report);
    assert_non_null(csv);
    assert_string_equal(csv,
                        "Layer_Index,Input_Feature_Map,Output_Feature_Map,Weight,Computation\n"
                        "7,23808,15744,30528,1152\n"
                        "12,23040,14720,29760,384\n");
    wtl_free(csv);
    wtl_energy_report_clear(&report);
}

static void a_layer_that_cannot_be_estimated_is_named(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layers[2] = {paper_layer(), paper_layer()};
    wtl_workload work = {.layers = layers, .layer_count = 2};
    wtl_energy_report report;
    wtl_error err = {0};
    layers[1].ofmap.zeros = 129;
    assert_fails(wtl_energy_estimate(&report, &hw, &work, NULL, &err), WTL_E_RANGE, &err,
                 "layer 7 (paper): ofmap zeros: 129; expected 0 to 128 (4 x 4 x 4 x 2 values)");
    assert_null(report.layers);
    layers[1] = paper_layer();
    hw.buffer_words = 20;
    layers[0].name[0] = '\0';
    assert_fails(wtl_energy_estimate(&report, &hw, &work, NULL, &err), WTL_E_FIT, &err,
                 "layer 7: mapping: 22 words are kept in the buffer of 20");
    wtl_energy_oracle *oracle;
    assert_fails(wtl_energy_oracle_create(&oracle, &hw, &work, &err), WTL_E_FIT, &err,
                 "layer 7: mapping: 22 words are kept in the buffer of 20");
    assert_null(oracle);
}

static wtl_status make_all(void *context)
{
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    wtl_work_layer layer = paper_layer();
    wtl_workload work = {.layers = &layer, .layer_count = 1};
    wtl_energy_report report;
    wtl_energy_oracle *oracle;
    (void)context;
    wtl_status status = wtl_energy_estimate(&report, &hw, &work, NULL, NULL);
    if (status != WTL_OK) {
        return status;
    }
    char *csv = wtl_energy_csv(&report);
    wtl_energy_report_clear(&report);
    if (!csv) {
        return WTL_E_NOMEM;
    }
    wtl_free(csv);
    status = wtl_energy_oracle_create(&oracle, &hw, &work, NULL);
    if (status == WTL_OK) {
        wtl_energy_oracle_free(oracle);
    }
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(make_all, NULL);
    wtl_energy_oracle_free(NULL);
}

/* ---- oracle ---- */

static wtl_energy_oracle *oracle_of(const wtl_hardware *hw, wtl_work_layer *layers, int count)
{
    wtl_workload work = {.layers = layers, .layer_count = count};
    wtl_energy_oracle *oracle = NULL;
    wtl_error err = {0};
    assert_ok(wtl_energy_oracle_create(&oracle, hw, &work, &err));
    return oracle;
}

static void the_oracle_gives_the_estimate(void **state)
{
    (void)state;
    unsigned seed = 2;
    for (int i = 0; i < 100; i++) {
        wtl_hardware hw = random_hardware(&seed);
        hw.first_ifmap_raw = i % 2;
        wtl_work_layer layers[2] = {random_layer(&seed), random_layer(&seed)};
        wtl_energy_oracle *oracle = oracle_of(&hw, layers, 2);
        wtl_energy_report report = report_of(&hw, layers, 2, NULL);
        for (int l = 0; l < 2; l++) {
            wtl_energy_query now = wtl_energy_oracle_now(oracle, l);
            assert_close(wtl_energy_oracle_ask(oracle, l, &now), report.layers[l].total, 0.0);
            /* Other zeros and bits at the mapping it found. */
            wtl_work_layer other = layers[l];
            other.filter.zeros = floor(wtl_work_values(&other.filter) / 3);
            other.ifmap.zeros = floor(wtl_work_values(&other.ifmap) / 5);
            other.ofmap.zeros = 0;
            other.filter.bits = 5;
            other.ifmap.bits = 9;
            other.ofmap.bits = 11;
            wtl_energy_query query = {wtl_work_values(&other.filter) - other.filter.zeros,
                                      other.ifmap.zeros,
                                      other.ofmap.zeros,
                                      9,
                                      5,
                                      11};
            wtl_layer_energy want = energy_of(&hw, &other, l == 0, report.layers[l].mapping);
            assert_close(wtl_energy_oracle_ask(oracle, l, &query), want.total, 0.0);
        }
        wtl_energy_report_clear(&report);
        wtl_energy_oracle_free(oracle);
    }
}

/* E is affine in each count of non-zeros between its kinks, so the slope towards fewer is the
 * difference to one value less, but for rounding. */
static double less(const wtl_energy_oracle *oracle, const wtl_energy_query *query, int which)
{
    wtl_energy_query other = *query;
    other.weight_nonzeros -= which == 0;
    other.ifmap_zeros += which == 1;
    other.ofmap_zeros += which == 2;
    return wtl_energy_oracle_ask(oracle, 0, query) - wtl_energy_oracle_ask(oracle, 0, &other);
}

static bool has_a_value(const wtl_work_layer *layer, int which)
{
    const wtl_work_tensor *tensors[] = {&layer->filter, &layer->ifmap, &layer->ofmap};
    return tensors[which]->zeros < wtl_work_values(tensors[which]);
}

static void slopes_are_differences_to_one_value_less(void **state)
{
    (void)state;
    unsigned seed = 3;
    int compared = 0;
    for (int i = 0; i < 300; i++) {
        wtl_hardware hw = random_hardware(&seed);
        wtl_work_layer layer = random_layer(&seed);
        wtl_energy_oracle *oracle = oracle_of(&hw, &layer, 1);
        wtl_energy_query now = wtl_energy_oracle_now(oracle, 0);
        wtl_energy_marginals slopes = wtl_energy_oracle_marginals(oracle, 0, &now);
        const double got[] = {slopes.per_weight, slopes.per_ifmap_nonzero,
                              slopes.per_ofmap_nonzero};
        double scale = wtl_energy_oracle_ask(oracle, 0, &now);
        for (int which = 0; which < 3; which++) {
            wtl_energy_query one = now;
            one.weight_nonzeros -= which == 0;
            one.ifmap_zeros += which == 1;
            one.ofmap_zeros += which == 2;
            double next = less(oracle, &one, which), difference = less(oracle, &now, which);
            bool kink = fabs(next - difference) > 1e-9 * scale;
            if (has_a_value(&layer, which) && !kink) {
                assert_close(got[which], difference, 1e-9 * scale);
                compared++;
            }
        }
        wtl_energy_oracle_free(oracle);
    }
    assert_true(compared > 600);
}

/* With a presence bit 60 of 64 values fill exactly as many words as raw: the 61st costs
 * nothing, one less than 60 saves. */
static void at_a_kink_the_slope_is_that_towards_fewer(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.compress[WTL_LEVEL_DRAM][WTL_DATA_IFMAP] = WTL_COMPRESS_PRESENCE;
    wtl_work_layer layer = paper_layer();
    wtl_energy_oracle *oracle = oracle_of(&hw, &layer, 1);
    wtl_energy_query query = wtl_energy_oracle_now(oracle, 0);
    wtl_energy_report report = report_of(&hw, &layer, 1, NULL);
    double words = report.layers[0].counts.words[WTL_LEVEL_DRAM][WTL_DATA_IFMAP][WTL_READ];
    query.ifmap_zeros = 3;
    assert_close(wtl_energy_oracle_marginals(oracle, 0, &query).per_ifmap_nonzero, 0.0, 0.0);
    query.ifmap_zeros = 4;
    assert_close(wtl_energy_oracle_marginals(oracle, 0, &query).per_ifmap_nonzero,
                 words / 64 * 200 / 2, 1e-9);
    wtl_energy_report_clear(&report);
    wtl_energy_oracle_free(oracle);
}

/* Filters, channels and bits: the energy of a layer of that size at the same mapping. The
 * mapping leaves room for the smaller layer. */
static void size_marginals_are_differences_of_estimates(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.zero_ifmap = hw.zero_weight = WTL_ZERO_SKIPS;
    hw.rf_words[WTL_DATA_OFMAP] = 2;
    hw.buffer_words = 140;
    const case_shape shape = {"sizes", 10, 6, 16, 3, 1, 1, 2};
    wtl_work_layer layer = case_layer(&shape, 1, 2);
    layer.filter.zeros = 240; /* of 720 */
    layer.ifmap.zeros = 180;  /* of 720 */
    wtl_energy_oracle *oracle = oracle_of(&hw, &layer, 1);
    wtl_energy_query now = wtl_energy_oracle_now(oracle, 0);
    wtl_energy_marginals got = wtl_energy_oracle_marginals(oracle, 0, &now);
    wtl_energy_report report = report_of(&hw, &layer, 1, NULL);
    wtl_mapping mapping = report.layers[0].mapping;
    double here = report.layers[0].total;

    wtl_work_layer fewer = layer;
    fewer.filter.count = fewer.ofmap.channels = 14;
    fewer.filter.zeros = 210;
    assert_close(got.per_filter, (here - energy_of(&hw, &fewer, true, mapping).total) / 2,
                 1e-9 * here);
    fewer = layer;
    fewer.ifmap.channels = 8;
    fewer.filter.channels = 4;
    fewer.filter.zeros = 192;
    fewer.ifmap.zeros = 144;
    assert_close(got.per_channel, (here - energy_of(&hw, &fewer, true, mapping).total) / 2,
                 1e-9 * here);
    wtl_work_tensor *tensors[] = {&fewer.filter, &fewer.ifmap, &fewer.ofmap};
    const double per_bit[] = {got.per_weight_bit, got.per_ifmap_bit, got.per_ofmap_bit};
    for (int i = 0; i < 3; i++) {
        fewer = layer;
        tensors[i]->bits = 15;
        assert_close(per_bit[i], here - energy_of(&hw, &fewer, true, mapping).total,
                     1e-9 * here);
        assert_true(per_bit[i] > 0);
    }
    wtl_energy_query narrow = now;
    narrow.weight_bits = narrow.ifmap_bits = narrow.ofmap_bits = 1;
    got = wtl_energy_oracle_marginals(oracle, 0, &narrow);
    assert_close(got.per_weight_bit + got.per_ifmap_bit + got.per_ofmap_bit, 0.0, 0.0);
    wtl_energy_report_clear(&report);
    wtl_energy_oracle_free(oracle);
}

static void the_last_filter_and_channel_cost_the_whole_layer(void **state)
{
    (void)state;
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    const case_shape shape = {"depthwise", 4, 6, 4, 3, 1, 1, 4};
    wtl_work_layer layer = case_layer(&shape, 1, 2);
    wtl_energy_oracle *oracle = oracle_of(&hw, &layer, 1);
    wtl_energy_query now = wtl_energy_oracle_now(oracle, 0);
    wtl_energy_marginals got = wtl_energy_oracle_marginals(oracle, 0, &now);
    double here = wtl_energy_oracle_ask(oracle, 0, &now);
    assert_close(got.per_filter, here / 4, 0.0);
    assert_close(got.per_channel, here / 4, 0.0);
    wtl_energy_oracle_free(oracle);
}

/* ---- other dataflows ---- */

static wtl_hardware nest_hardware(void)
{
    wtl_hardware hw = case_small(WTL_COUNT_ROWS);
    hw.dataflow = WTL_OUTPUT_STATIONARY;
    hw.compress[WTL_LEVEL_DRAM][WTL_DATA_OFMAP] = WTL_COMPRESS_PRESENCE;
    return hw;
}

/* Channels in two halves around DRAM: each of the 4 sums leaves, comes back and leaves again;
 * only the second time it is an ofmap, of which 1/2 + 1/16 is stored. */
static void partial_sums_in_dram_are_not_compressed(void **state)
{
    (void)state;
    const case_shape shape = {"spill", 2, 2, 1, 1, 1, 0, 1};
    wtl_work_layer layer = case_layer(&shape, 1, 1);
    layer.ofmap.zeros = 2;
    wtl_hardware hw = nest_hardware();
    wtl_mapping mapping;
    wtl_error err = {0};
    assert_ok(wtl_mapping_parse(&mapping, WTL_OUTPUT_STATIONARY,
                                "DRAM: C2 P2 Q2 | buffer: | X: | Y: | RF:", &err));
    wtl_layer_energy got = energy_of(&hw, &layer, true, mapping);
    assert_close(got.energy[WTL_DATA_OFMAP][WTL_LEVEL_DRAM], 200 * (4 + 4 + 4 * 9 / 16.0), 0.0);
}

static void the_oracle_gives_the_estimate_of_a_nest(void **state)
{
    (void)state;
    wtl_hardware hw = nest_hardware();
    hw.zero_weight = WTL_ZERO_SKIPS;
    wtl_work_layer layer = sparse_layer();
    wtl_energy_oracle *oracle = oracle_of(&hw, &layer, 1);
    wtl_energy_report report = report_of(&hw, &layer, 1, NULL);
    wtl_energy_query now = wtl_energy_oracle_now(oracle, 0);
    assert_close(wtl_energy_oracle_ask(oracle, 0, &now), report.total, 0.0);
    wtl_work_layer fewer = layer;
    fewer.filter.count = fewer.ofmap.channels = 3;
    fewer.filter.zeros = 27;
    fewer.ofmap.zeros = 72;
    double less_here = energy_of(&hw, &fewer, true, report.layers[0].mapping).total;
    assert_close(wtl_energy_oracle_marginals(oracle, 0, &now).per_filter,
                 report.total - less_here, 1e-9 * report.total);
    assert_true(less_here < report.total);
    wtl_energy_report_clear(&report);
    wtl_energy_oracle_free(oracle);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_dense_layer_costs_what_is_worked_by_hand),
        WTL_TEST(zeros_are_skipped_and_compressed),
        WTL_TEST(gating_leaves_its_share),
        WTL_TEST(run_lengths_cost_4_thirds_of_a_word_and_never_more_than_raw),
        WTL_TEST(narrower_values_cost_less),
        WTL_TEST(each_direction_has_its_energy),
        WTL_TEST(more_zeros_never_cost_more),
        WTL_TEST(parts_equal_the_total),
        WTL_TEST(a_found_mapping_is_never_dearer_than_a_forced_one),
        WTL_TEST(the_table_has_the_tools_form),
        WTL_TEST(a_layer_that_cannot_be_estimated_is_named),
        WTL_TEST(every_allocation_may_fail),
        WTL_TEST(the_oracle_gives_the_estimate),
        WTL_TEST(slopes_are_differences_to_one_value_less),
        WTL_TEST(at_a_kink_the_slope_is_that_towards_fewer),
        WTL_TEST(size_marginals_are_differences_of_estimates),
        WTL_TEST(the_last_filter_and_channel_cost_the_whole_layer),
        WTL_TEST(partial_sums_in_dram_are_not_compressed),
        WTL_TEST(the_oracle_gives_the_estimate_of_a_nest),
    };
    return WTL_RUN("energy", tests);
}
