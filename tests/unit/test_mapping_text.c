/* test_mapping_text.c - mappings as text and back. */
#include "wtl_test.h"

#include "wattle/mapping.h"

#include <string.h>

/* The mapping of the Timeloop example. */
static const wtl_mapping nest = {.dataflow = WTL_OUTPUT_STATIONARY,
                                 .as.nest = {.loops = {{WTL_LOOP_DRAM, WTL_LOOP_P, 8},
                                                       {WTL_LOOP_DRAM, WTL_LOOP_Q, 2},
                                                       {WTL_LOOP_DRAM, WTL_LOOP_M, 4},
                                                       {WTL_LOOP_BUFFER, WTL_LOOP_P, 14},
                                                       {WTL_LOOP_BUFFER, WTL_LOOP_Q, 4},
                                                       {WTL_LOOP_SPATIAL_X, WTL_LOOP_Q, 14},
                                                       {WTL_LOOP_SPATIAL_Y, WTL_LOOP_C, 3},
                                                       {WTL_LOOP_SPATIAL_Y, WTL_LOOP_S, 3},
                                                       {WTL_LOOP_RF, WTL_LOOP_R, 3},
                                                       {WTL_LOOP_RF, WTL_LOOP_M, 8}},
                                             .loop_count = 10}};
static const char nest_text[] =
    "DRAM: P8 Q2 M4 | buffer: P14 Q4 | X: Q14 | Y: C3 S3 | RF: R3 M8";

static void assert_nest(const wtl_mapping *got, const wtl_mapping *want)
{
    assert_int_equal(got->dataflow, want->dataflow);
    assert_int_equal(got->as.nest.loop_count, want->as.nest.loop_count);
    for (int i = 0; i < want->as.nest.loop_count; i++) {
        assert_int_equal(got->as.nest.loops[i].place, want->as.nest.loops[i].place);
        assert_int_equal(got->as.nest.loops[i].dim, want->as.nest.loops[i].dim);
        assert_int_equal(got->as.nest.loops[i].factor, want->as.nest.loops[i].factor);
    }
}

static void a_row_stationary_mapping_is_seven_parameters(void **state)
{
    (void)state;
    const wtl_mapping mapping = {.dataflow = WTL_ROW_STATIONARY,
                                 .as.rs = {96, 1, 7, 16, 1, 1, 2}};
    char text[80];
    wtl_mapping_text(&mapping, text, sizeof text);
    assert_string_equal(text, "m=96 n=1 e=7 p=16 q=1 r=1 t=2");
    wtl_mapping again;
    assert_ok(wtl_mapping_parse(&again, WTL_ROW_STATIONARY, text, NULL));
    assert_int_equal(again.dataflow, WTL_ROW_STATIONARY);
    assert_memory_equal(&again.as.rs, &mapping.as.rs, sizeof mapping.as.rs);
    assert_ok(wtl_mapping_parse(&again, WTL_ROW_STATIONARY, " t=2 r=1\tq=1 p=16 e=7 n=1 m=96\n",
                                NULL));
    assert_memory_equal(&again.as.rs, &mapping.as.rs, sizeof mapping.as.rs);
}

static void a_loop_nest_is_its_places_and_loops(void **state)
{
    (void)state;
    char text[256];
    wtl_mapping_text(&nest, text, sizeof text);
    assert_string_equal(text, nest_text);
    wtl_mapping again;
    assert_ok(wtl_mapping_parse(&again, WTL_OUTPUT_STATIONARY, text, NULL));
    assert_nest(&again, &nest);
}

static void places_without_loops_may_be_left_out(void **state)
{
    (void)state;
    wtl_mapping mapping;
    assert_ok(wtl_mapping_parse(&mapping, WTL_WEIGHT_STATIONARY, "buffer: M3|Y: C2", NULL));
    const wtl_mapping want = {.dataflow = WTL_WEIGHT_STATIONARY,
                              .as.nest = {.loops = {{WTL_LOOP_BUFFER, WTL_LOOP_M, 3},
                                                    {WTL_LOOP_SPATIAL_Y, WTL_LOOP_C, 2}},
                                          .loop_count = 2}};
    assert_nest(&mapping, &want);
    char text[256];
    wtl_mapping_text(&mapping, text, sizeof text);
    assert_string_equal(text, "DRAM: | buffer: M3 | X: | Y: C2 | RF:");
    wtl_mapping again;
    assert_ok(wtl_mapping_parse(&again, WTL_WEIGHT_STATIONARY, text, NULL));
    assert_nest(&again, &want);
}

static void a_text_is_cut_to_its_room(void **state)
{
    (void)state;
    char text[12] = "###########";
    wtl_mapping_text(&nest, text, 10);
    assert_string_equal(text, "DRAM: P8 ");
    assert_int_equal(text[10], '#');
    wtl_mapping_text(&nest, text, 1);
    assert_string_equal(text, "");
    text[0] = '#';
    wtl_mapping_text(&nest, text, 0);
    assert_int_equal(text[0], '#');
}

static void bad_row_stationary_texts_are_refused(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"", "mapping: m= is missing"},
        {"m=1 n=1 e=1 p=1 q=1 r=1", "mapping: t= is missing"},
        {"m=1 n=1 e=1 p=1 q=1 r=1 t=1 m=1", "mapping: m is there twice"},
        {"m=0", "mapping: 'm=0'; expected a whole number from 1 to 1048576"},
        {"m=-3", "mapping: 'm=-3'; expected a whole number from 1 to 1048576"},
        {"m=x", "mapping: 'm=x'; expected a whole number from 1 to 1048576"},
        {"m=1048577", "mapping: 'm=1048577'; expected a whole number from 1 to 1048576"},
        {"m", "mapping: 'm'; expected m=, n=, e=, p=, q=, r= or t= and a number"},
        {"f=5", "mapping: 'f=5'; expected m=, n=, e=, p=, q=, r= or t= and a number"},
        {"mm=5", "mapping: 'mm=5'; expected m=, n=, e=, p=, q=, r= or t= and a number"},
        {"m=1 | n=1", "mapping: '|'; expected m=, n=, e=, p=, q=, r= or t= and a number"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        wtl_mapping mapping;
        wtl_error err;
        assert_fails(wtl_mapping_parse(&mapping, WTL_ROW_STATIONARY, table[i][0], &err),
                     WTL_E_FORMAT, &err, table[i][1]);
        assert_int_equal(mapping.as.rs.m, 0);
    }
}

static void bad_loop_nests_are_refused(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"", "mapping: the text ends; expected DRAM:, buffer:, X:, Y: or RF:"},
        {"DRAM: P8 |", "mapping: the text ends; expected DRAM:, buffer:, X:, Y: or RF:"},
        {"P8", "mapping: 'P8'; expected DRAM:, buffer:, X:, Y: or RF:"},
        {"DRAM: P8 | Q2", "mapping: 'Q2'; expected DRAM:, buffer:, X:, Y: or RF:"},
        {"| DRAM: P8", "mapping: '|'; expected DRAM:, buffer:, X:, Y: or RF:"},
        {"DRAM: P8 || X: Q2", "mapping: '|'; expected DRAM:, buffer:, X:, Y: or RF:"},
        {"DRAM: P8 X: Q2", "mapping: 'X:'; expected '|' before it"},
        {"X: P8 | DRAM: Q2", "mapping: 'DRAM:'; expected the order DRAM, buffer, X, Y, RF"},
        {"X: P8 | X: Q2", "mapping: 'X:'; expected the order DRAM, buffer, X, Y, RF"},
        {"GLB: P8", "mapping: 'GLB:'; expected DRAM:, buffer:, X:, Y: or RF:"},
        {":", "mapping: ':'; expected DRAM:, buffer:, X:, Y: or RF:"},
        {"DRAM: P", "mapping: 'P'; expected a loop: one of N, C, M, R, S, P, Q and a number "
                    "from 1 to 1048576"},
        {"DRAM: P0", "mapping: 'P0'; expected a loop: one of N, C, M, R, S, P, Q and a number "
                     "from 1 to 1048576"},
        {"DRAM: K8", "mapping: 'K8'; expected a loop: one of N, C, M, R, S, P, Q and a number "
                     "from 1 to 1048576"},
        {"DRAM: 8", "mapping: '8'; expected a loop: one of N, C, M, R, S, P, Q and a number "
                    "from 1 to 1048576"},
        {"DRAM: P8888888888888888888888888888888888888888",
         "mapping: 'P888888888888888888888888888888'; expected a loop: one of N, C, M, R, S, "
         "P, Q and a number from 1 to 1048576"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        wtl_mapping mapping;
        wtl_error err;
        assert_fails(wtl_mapping_parse(&mapping, WTL_NO_LOCAL_REUSE, table[i][0], &err),
                     WTL_E_FORMAT, &err, table[i][1]);
        assert_int_equal(mapping.as.nest.loop_count, 0);
    }
}

static void forty_loops_and_no_more_are_read(void **state)
{
    (void)state;
    char text[256] = "DRAM:";
    size_t end = strlen(text);
    for (int i = 0; i < 40; i++) {
        memcpy(text + end + 3 * (size_t)i, " N1", 4);
    }
    wtl_mapping mapping;
    assert_ok(wtl_mapping_parse(&mapping, WTL_NO_LOCAL_REUSE, text, NULL));
    assert_int_equal(mapping.as.nest.loop_count, 40);
    memcpy(text + end + 120, " N1", 4);
    wtl_error err;
    assert_fails(wtl_mapping_parse(&mapping, WTL_NO_LOCAL_REUSE, text, &err), WTL_E_FORMAT,
                 &err, "mapping: more than 40 loops");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_row_stationary_mapping_is_seven_parameters),
        WTL_TEST(a_loop_nest_is_its_places_and_loops),
        WTL_TEST(places_without_loops_may_be_left_out),
        WTL_TEST(a_text_is_cut_to_its_room),
        WTL_TEST(bad_row_stationary_texts_are_refused),
        WTL_TEST(bad_loop_nests_are_refused),
        WTL_TEST(forty_loops_and_no_more_are_read),
    };
    return WTL_RUN("mapping_text", tests);
}
