/* test_hardware.c - hardware descriptions: presets, every key, and bad files. */
#include "wtl_test.h"

#include "wattle/file.h"
#include "wattle/hardware.h"
#include "wattle/memory.h"

#include <stdio.h>
#include <string.h>

/* The least that a description says. */
static const char least[] = "name: least\n"
                            "source: made up\n"
                            "dataflow: weight-stationary\n"
                            "array: {rows: 4, columns: 5, fit: pes}\n"
                            "registers: {pool_words: 7}\n"
                            "buffer: {words: 1000, weights: shared}\n"
                            "energy: {dram: 200, buffer: 6, array: 2, register: 1}\n";

static wtl_hardware loaded(const char *name)
{
    wtl_hardware hw;
    assert_ok(wtl_hardware_load(&hw, name, NULL));
    assert_string_equal(hw.name, name);
    assert_true(strlen(hw.source) > 20);
    return hw;
}

static void assert_energy(const wtl_hardware *hw, wtl_memory_level level, wtl_data_type type,
                          double read, double write)
{
    assert_close(hw->energy[level][type][WTL_READ], read, 0);
    assert_close(hw->energy[level][type][WTL_WRITE], write, 0);
}

static void assert_level(const wtl_hardware *hw, wtl_memory_level level, double energy)
{
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        assert_energy(hw, level, (wtl_data_type)type, energy, energy);
    }
}

static void every_preset_reads(void **state)
{
    (void)state;
    static const char *const names[] = {"diannao-like",   "eyeriss-chip",    "eyeriss-cvpr17",
                                        "eyeriss-isca16", "shidiannao-like", "tpu-like"};
    const char *const *presets = wtl_hardware_presets();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        assert_string_equal(presets[i], names[i]);
        size_t length = 0;
        const char *text = wtl_hardware_preset_text(names[i], &length);
        assert_int_equal(strlen(text), length);
        (void)loaded(names[i]);
    }
    assert_null(presets[6]);
    size_t length;
    assert_null(wtl_hardware_preset_text("eyeriss", &length));
}

static void the_study_of_2016_has_its_published_numbers(void **state)
{
    (void)state;
    wtl_hardware hw = loaded("eyeriss-isca16");
    assert_int_equal(hw.dataflow, WTL_ROW_STATIONARY);
    assert_int_equal(hw.accounting, WTL_COUNT_ISCA16);
    assert_int_equal(hw.rows * hw.columns, 256);
    assert_false(hw.grid);
    assert_int_equal(hw.rf_pool_words, 256);
    assert_close(hw.buffer_words, 65536, 0);
    assert_true(hw.weights_bypass_buffer);
    assert_int_equal(hw.word_bits, 16);
    assert_int_equal(hw.most_images, 0);
    assert_level(&hw, WTL_LEVEL_DRAM, 200);
    assert_level(&hw, WTL_LEVEL_BUFFER, 6);
    assert_level(&hw, WTL_LEVEL_ARRAY, 2);
    assert_level(&hw, WTL_LEVEL_RF, 1);
    assert_close(hw.mac_energy, 1, 0);
    assert_int_equal(hw.zero_ifmap, WTL_ZERO_COUNTS);
}

static void the_chip_has_its_published_numbers(void **state)
{
    (void)state;
    wtl_hardware hw = loaded("eyeriss-chip");
    assert_int_equal(hw.accounting, WTL_COUNT_ROWS);
    assert_int_equal(hw.rows, 12);
    assert_int_equal(hw.columns, 14);
    assert_true(hw.grid);
    assert_int_equal(hw.rf_pool_words, 0);
    assert_int_equal(hw.rf_words[WTL_DATA_IFMAP], 12);
    assert_int_equal(hw.rf_words[WTL_DATA_OFMAP], 24);
    assert_int_equal(hw.rf_words[WTL_DATA_WEIGHT], 224);
    assert_close(hw.buffer_words, 51200, 0);
    assert_int_equal(hw.zero_ifmap, WTL_ZERO_GATES);
    assert_int_equal(hw.zero_weight, WTL_ZERO_COUNTS);
    assert_close(hw.gated_share, 1 - 0.45 / 0.5753, 0.005);
    assert_int_equal(hw.compress[WTL_LEVEL_DRAM][WTL_DATA_IFMAP], WTL_COMPRESS_RUN_LENGTH);
    assert_int_equal(hw.compress[WTL_LEVEL_DRAM][WTL_DATA_OFMAP], WTL_COMPRESS_RUN_LENGTH);
    assert_int_equal(hw.compress[WTL_LEVEL_DRAM][WTL_DATA_WEIGHT], WTL_COMPRESS_NONE);
    assert_int_equal(hw.compress[WTL_LEVEL_BUFFER][WTL_DATA_IFMAP], WTL_COMPRESS_NONE);
    assert_true(hw.first_ifmap_raw);
    assert_close(hw.clock_mhz, 200, 0);
    /* 2, 1, 4, 15 and 460 pJ. */
    assert_close(hw.mac_energy * hw.mac_pj, 2, 0);
    assert_level(&hw, WTL_LEVEL_RF, 1 / hw.mac_pj);
    assert_level(&hw, WTL_LEVEL_ARRAY, 4 / hw.mac_pj);
    assert_level(&hw, WTL_LEVEL_BUFFER, 15 / hw.mac_pj);
    assert_level(&hw, WTL_LEVEL_DRAM, 460 / hw.mac_pj);
}

static void the_tool_of_2017_costs_what_its_sample_shows(void **state)
{
    (void)state;
    wtl_hardware hw = loaded("eyeriss-cvpr17");
    assert_int_equal(hw.accounting, WTL_COUNT_CVPR17);
    assert_level(&hw, WTL_LEVEL_DRAM, 200);
    assert_level(&hw, WTL_LEVEL_BUFFER, 6);
    assert_level(&hw, WTL_LEVEL_ARRAY, 1);
    assert_energy(&hw, WTL_LEVEL_RF, WTL_DATA_IFMAP, 0.5, 0.5);
    assert_energy(&hw, WTL_LEVEL_RF, WTL_DATA_OFMAP, 1, 1);
    assert_energy(&hw, WTL_LEVEL_RF, WTL_DATA_WEIGHT, 1, 1);
    assert_int_equal(hw.zero_ifmap, WTL_ZERO_SKIPS);
    assert_int_equal(hw.zero_weight, WTL_ZERO_SKIPS);
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        assert_int_equal(hw.compress[WTL_LEVEL_DRAM][type], WTL_COMPRESS_PRESENCE);
    }
    assert_int_equal(hw.compress[WTL_LEVEL_BUFFER][WTL_DATA_IFMAP], WTL_COMPRESS_PRESENCE);
    assert_int_equal(hw.compress[WTL_LEVEL_BUFFER][WTL_DATA_OFMAP], WTL_COMPRESS_NONE);
}

static void other_dataflows_have_the_same_pes_storage_and_energies(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        wtl_dataflow dataflow;
        int words; /* of a PE */
    } table[] = {{"tpu-like", WTL_WEIGHT_STATIONARY, 1},
                 {"shidiannao-like", WTL_OUTPUT_STATIONARY, 1},
                 {"diannao-like", WTL_NO_LOCAL_REUSE, 0}};
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        wtl_hardware hw = loaded(table[i].name);
        assert_int_equal(hw.dataflow, table[i].dataflow);
        assert_int_equal(hw.rows * hw.columns, 256);
        const int *rf = hw.rf_words;
        assert_int_equal(rf[0] + rf[1] + rf[2], table[i].words);
        assert_close(hw.buffer_words + 256 * table[i].words, 65536 + 256 * 256, 0);
        assert_level(&hw, WTL_LEVEL_DRAM, 200);
        assert_level(&hw, WTL_LEVEL_ARRAY, 2);
        assert_energy(&hw, WTL_LEVEL_BUFFER, WTL_DATA_IFMAP, 6, 0);
        assert_energy(&hw, WTL_LEVEL_BUFFER, WTL_DATA_OFMAP, 6, 6);
    }
}

static void the_least_description_leaves_the_rest_at_its_defaults(void **state)
{
    (void)state;
    wtl_hardware hw;
    assert_ok(wtl_hardware_parse(&hw, least, strlen(least), "t", NULL));
    assert_string_equal(hw.name, "least");
    assert_string_equal(hw.title, "");
    assert_int_equal(hw.dataflow, WTL_WEIGHT_STATIONARY);
    assert_int_equal(hw.rows, 4);
    assert_int_equal(hw.columns, 5);
    assert_false(hw.grid);
    assert_false(hw.weights_bypass_buffer);
    assert_int_equal(hw.rf_pool_words, 7);
    assert_int_equal(hw.word_bits, 16);
    assert_int_equal(hw.most_images, 0);
    assert_close(hw.mac_energy, 1, 0);
    assert_close(hw.mac_pj, 0, 0);
    assert_int_equal(hw.zero_ifmap, WTL_ZERO_COUNTS);
    assert_int_equal(hw.zero_weight, WTL_ZERO_COUNTS);
    assert_int_equal(hw.compress[WTL_LEVEL_DRAM][WTL_DATA_IFMAP], WTL_COMPRESS_NONE);
    assert_false(hw.first_ifmap_raw);
    assert_close(hw.clock_mhz, 0, 0);
    assert_close(hw.dram_words_per_cycle, 0, 0);
}

static void every_key_goes_to_its_place(void **state)
{
    (void)state;
    static const char text[] =
        "title: 'Everything: said'\r\n"
        "name: all\nsource: >-\n  two\n  lines\nword_bits: 8\nmost_images: 3\n"
        "dataflow: output-stationary\nclock_mhz: 12.5\n"
        "array: {rows: 1024, columns: 1, fit: grid}\n"
        "registers: {ifmap_words: 0, psum_words: 2, weight_words: 3}\n"
        "buffer: {words: 1.5e6, weights: bypass}\n"
        "energy:\n  dram: {ifmap: 1, ofmap: {read: 2, write: 3}, weight: 4}\n"
        "  buffer: {ifmap: {read: 5, write: 0}, ofmap: 6, weight: {write: 8, read: 7}}\n"
        "  array: 9\n  register: {ifmap: 10, ofmap: 11, weight: 12}\n"
        "mac: {energy: 0.25, picojoules: 0.5}\n"
        "zeros: {ifmap: skip, weight: gate, gated_share: 0.125}\n"
        "compression: {dram: {weight: presence}, buffer: run-length, first_ifmap: raw}\n"
        "bandwidth: {dram_words_per_cycle: 1.5, buffer_words_per_cycle: 16}\n";
    wtl_hardware hw;
    assert_ok(wtl_hardware_parse(&hw, text, strlen(text), "t", NULL));
    assert_string_equal(hw.title, "Everything: said");
    assert_string_equal(hw.source, "two lines");
    assert_int_equal(hw.word_bits, 8);
    assert_int_equal(hw.most_images, 3);
    assert_int_equal(hw.dataflow, WTL_OUTPUT_STATIONARY);
    assert_close(hw.clock_mhz, 12.5, 0);
    assert_int_equal(hw.rows, 1024);
    assert_int_equal(hw.columns, 1);
    assert_true(hw.grid);
    assert_int_equal(hw.rf_words[WTL_DATA_IFMAP], 0);
    assert_int_equal(hw.rf_words[WTL_DATA_OFMAP], 2);
    assert_int_equal(hw.rf_words[WTL_DATA_WEIGHT], 3);
    assert_close(hw.buffer_words, 1.5e6, 0);
    assert_true(hw.weights_bypass_buffer);
    assert_energy(&hw, WTL_LEVEL_DRAM, WTL_DATA_IFMAP, 1, 1);
    assert_energy(&hw, WTL_LEVEL_DRAM, WTL_DATA_OFMAP, 2, 3);
    assert_energy(&hw, WTL_LEVEL_DRAM, WTL_DATA_WEIGHT, 4, 4);
    assert_energy(&hw, WTL_LEVEL_BUFFER, WTL_DATA_IFMAP, 5, 0);
    assert_energy(&hw, WTL_LEVEL_BUFFER, WTL_DATA_OFMAP, 6, 6);
    assert_energy(&hw, WTL_LEVEL_BUFFER, WTL_DATA_WEIGHT, 7, 8);
    assert_level(&hw, WTL_LEVEL_ARRAY, 9);
    assert_energy(&hw, WTL_LEVEL_RF, WTL_DATA_IFMAP, 10, 10);
    assert_energy(&hw, WTL_LEVEL_RF, WTL_DATA_WEIGHT, 12, 12);
    assert_close(hw.mac_energy, 0.25, 0);
    assert_close(hw.mac_pj, 0.5, 0);
    assert_int_equal(hw.zero_ifmap, WTL_ZERO_SKIPS);
    assert_int_equal(hw.zero_weight, WTL_ZERO_GATES);
    assert_close(hw.gated_share, 0.125, 0);
    assert_int_equal(hw.compress[WTL_LEVEL_DRAM][WTL_DATA_IFMAP], WTL_COMPRESS_NONE);
    assert_int_equal(hw.compress[WTL_LEVEL_DRAM][WTL_DATA_WEIGHT], WTL_COMPRESS_PRESENCE);
    assert_int_equal(hw.compress[WTL_LEVEL_BUFFER][WTL_DATA_OFMAP], WTL_COMPRESS_RUN_LENGTH);
    assert_true(hw.first_ifmap_raw);
    assert_close(hw.dram_words_per_cycle, 1.5, 0);
    assert_close(hw.buffer_words_per_cycle, 16, 0);
}

static void a_file_is_read_where_no_preset_has_the_name(void **state)
{
    (void)state;
    const char *path = wtl_test_path("hw.yaml");
    wtl_test_write(path, least, strlen(least));
    wtl_hardware hw;
    assert_ok(wtl_hardware_load(&hw, path, NULL));
    assert_string_equal(hw.name, "least");
    wtl_error err;
    assert_fails(wtl_hardware_load(&hw, "eyeris-chip", &err), WTL_E_MISSING, &err,
                 "no hardware 'eyeris-chip': neither a preset nor a file; did you mean "
                 "'eyeriss-chip'?");
    assert_fails(wtl_hardware_load(&hw, "zzz", &err), WTL_E_MISSING, &err,
                 "no hardware 'zzz': neither a preset nor a file");
    assert_string_equal(hw.name, "");
}

static void names_are_those_of_the_reports(void **state)
{
    (void)state;
    assert_string_equal(wtl_data_type_name(WTL_DATA_OFMAP), "ofmap");
    assert_string_equal(wtl_data_type_name(WTL_DATA_COMPUTATION), "computation");
    assert_string_equal(wtl_data_type_name(WTL_DATA_TYPE_COUNT), "unknown");
    assert_string_equal(wtl_memory_level_name(WTL_LEVEL_DRAM), "DRAM");
    assert_string_equal(wtl_memory_level_name(WTL_LEVEL_RF), "RF");
    assert_string_equal(wtl_memory_level_name(WTL_LEVEL_COUNT), "unknown");
    assert_string_equal(wtl_dataflow_name(WTL_NO_LOCAL_REUSE), "no-local-reuse");
    assert_string_equal(wtl_dataflow_name(WTL_DATAFLOW_COUNT), "unknown");
}

static void bad_files_are_refused_with_their_reason(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"accounting", "bad:4:13: accounting: 'rows'; expected no such key, as the dataflow is "
                       "not row-stationary"},
        {"alias", "bad:10:12: anchors, aliases and tags are not read here"},
        {"anchor", "bad:4:8: anchors, aliases and tags are not read here"},
        {"array-number", "bad:4:8: array: '20'; expected a mapping of keys to values"},
        {"bad-dataflow", "bad:3:11: dataflow: 'column-stationary'; expected row-stationary, "
                         "weight-stationary, output-stationary or no-local-reuse"},
        {"bad-fit", "bad:4:35: array.fit: 'snug'; expected pes or grid"},
        {"bad-write", "bad:12:36: energy.buffer.ifmap: 'x'; expected a number, 0 or more"},
        {"comment-alone", "bad:1:1: there is nothing in it"},
        {"compression",
         "bad:10:21: compression.dram: 'zip'; expected none, run-length or presence"},
        {"control", "bad:2:10: not YAML: control characters are not allowed"},
        {"deep", "bad:1:14: nested more than 8 deep"},
        {"empty-name", "bad:1:6: name: ''; expected a text of 1 to 63 bytes"},
        {"empty", "bad:1:1: there is nothing in it"},
        {"fraction-rows",
         "bad:4:15: array.rows: '4.5'; expected a whole number from 1 to 1024"},
        {"gate-without-share",
         "bad:10:8: zeros: the key 'gated_share' is missing, as a zero gates"},
        {"gated-share", "bad:10:50: zeros.gated_share: '1.5'; expected a number from 0 to 1"},
        {"half-energy", "bad:12:11: energy.buffer: the key 'ofmap' is missing"},
        {"key-twice", "bad:3:1: the key 'name' is there twice"},
        {"large", "bad:1:1: 66255 bytes; expected at most 65536"},
        {"list-value", "bad:9:17: buffer.words: a list; expected a number, 1 or more"},
        {"list", "bad:1:1: hardware: a list; expected a mapping of keys to values"},
        {"long-name", "bad:1:7: name: 'nnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnnn...'; expected "
                      "a text of 1 to 63 bytes"},
        {"many-columns",
         "bad:4:27: array.columns: '1025'; expected a whole number from 1 to 1024"},
        {"many-values", "bad:10:2024: more than 1024 values"},
        {"mapping-key", "bad:1:1: expected a key, a word before a colon"},
        {"nan-energy", "bad:11:9: energy.dram: '.nan'; expected a number, 0 or more, or one "
                       "each for ifmap, ofmap and weight"},
        {"negative-energy", "bad:11:9: energy.dram: '-200'; expected a number, 0 or more, or "
                            "one each for ifmap, ofmap and weight"},
        {"no-energy", "bad:1:1: the key 'energy' is missing"},
        {"no-name", "bad:1:1: the key 'name' is missing"},
        {"no-psum-words", "bad:6:3: registers: the key 'psum_words' is missing; expected "
                          "pool_words or all of ifmap_words, psum_words and weight_words"},
        {"no-register-energy", "bad:11:3: energy: the key 'register' is missing"},
        {"no-rows", "bad:4:8: array: the key 'rows' is missing"},
        {"not-utf8", "bad:2:9: not YAML: invalid leading UTF-8 octet"},
        {"nul", "bad:1:7: a NUL byte"},
        {"open-bracket",
         "bad:5:10: not YAML: did not find expected ',' or '}' while parsing a flow mapping"},
        {"pool-and-apart",
         "bad:6:16: registers.ifmap_words: '12'; expected no such key beside pool_words"},
        {"psum-energy", "bad:12:22: unknown key 'psum'; expected ifmap, ofmap or weight"},
        {"read-alone", "bad:12:19: energy.buffer.ifmap: the key 'write' is missing"},
        {"scalar", "bad:1:1: hardware: 'just words'; expected a mapping of keys to values"},
        {"tab", "bad:6:1: not YAML: found character that cannot start any token while scanning "
                "for the next token"},
        {"tag", "bad:1:7: anchors, aliases and tags are not read here"},
        {"two-documents", "bad:15:1: a second document; expected one"},
        {"type-compression",
         "bad:10:31: compression.buffer.ofmap: '4'; expected none, run-length or presence"},
        {"unknown-array-key", "bad:4:18: unknown key 'colums'; did you mean 'columns'?"},
        {"unknown-far-key", "bad:4:1: unknown key 'zebra'; expected name, title, source, "
                            "dataflow, accounting, word_bits, most_images, clock_mhz, array, "
                            "registers, buffer, energy, mac, zeros, compression or bandwidth"},
        {"unknown-key", "bad:2:1: unknown key 'sauce'; did you mean 'source'?"},
        {"zero-buffer", "bad:9:17: buffer.words: '0'; expected a number, 1 or more"},
        {"zero-clock", "bad:10:12: clock_mhz: '0'; expected a number above 0"},
        {"zero-images",
         "bad:10:14: most_images: '0'; expected a whole number from 1 to 1048576"},
        {"zero-rows", "bad:4:15: array.rows: '0'; expected a whole number from 1 to 1024"},
        {"zero-weight-words", "bad:8:17: registers.weight_words: '0'; expected 1 or more, as "
                              "the dataflow is row-stationary"},
    };
    wtl_error err;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/tests/bad/hardware/%s.yaml", WTL_SOURCE_DIR,
                 table[i][0]);
        unsigned char *bytes;
        size_t length;
        assert_ok(wtl_file_read(path, 1 << 20, &bytes, &length, &err));
        wtl_hardware hw;
        assert_fails(wtl_hardware_parse(&hw, (char *)bytes, length, "bad", &err), WTL_E_FORMAT,
                     &err, table[i][1]);
        assert_string_equal(hw.name, "");
        wtl_free(bytes);
    }
}

static wtl_status read_least(void *context)
{
    (void)context;
    wtl_hardware hw;
    return wtl_hardware_parse(&hw, least, strlen(least), "t", NULL);
}

static void short_memory_is_survived(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(read_least, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(every_preset_reads),
        WTL_TEST(the_study_of_2016_has_its_published_numbers),
        WTL_TEST(the_chip_has_its_published_numbers),
        WTL_TEST(the_tool_of_2017_costs_what_its_sample_shows),
        WTL_TEST(other_dataflows_have_the_same_pes_storage_and_energies),
        WTL_TEST(the_least_description_leaves_the_rest_at_its_defaults),
        WTL_TEST(every_key_goes_to_its_place),
        WTL_TEST(a_file_is_read_where_no_preset_has_the_name),
        WTL_TEST(names_are_those_of_the_reports),
        WTL_TEST(bad_files_are_refused_with_their_reason),
        WTL_TEST(short_memory_is_survived),
    };
    return WTL_RUN("hardware", tests);
}
