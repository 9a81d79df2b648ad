/* test_workload.c - the 25-column text and what must hold between a layer's fields. */
#include "wtl_test.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/workload.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* The published sample line of the MIT tool: AlexNet conv2, batch 44. */
#define CONV2                                                                                  \
    "2,27,27,96,44,3.5731e+05,16,5,5,48,256,0,16,27,27,256,44,6.623e+06,16,1,1,2,2,2,2\n"

static wtl_workload parsed(const char *text)
{
    wtl_workload work;
    assert_ok(wtl_workload_parse(&work, text, strlen(text), "t.txt", NULL));
    return work;
}

static wtl_work_layer conv2(void)
{
    return (wtl_work_layer){.index = 2,
                            .name = "conv2",
                            .ifmap = {27, 27, 96, 44, 357310, 16},
                            .filter = {5, 5, 48, 256, 0, 16},
                            .ofmap = {27, 27, 256, 44, 6623000, 16},
                            .stride = {1, 1},
                            .dilation = {1, 1},
                            .pad = {2, 2, 2, 2}};
}

static void assert_same_tensor(const wtl_work_tensor *got, const wtl_work_tensor *want)
{
    assert_int_equal(got->h, want->h);
    assert_int_equal(got->w, want->w);
    assert_int_equal(got->channels, want->channels);
    assert_int_equal(got->count, want->count);
    assert_close(got->zeros, want->zeros, 0);
    assert_int_equal(got->bits, want->bits);
}

/* Names and deviations, which no text has, are empty in `got`. */
static void assert_same_layer(const wtl_work_layer *got, const wtl_work_layer *want)
{
    assert_int_equal(got->index, want->index);
    assert_same_tensor(&got->ifmap, &want->ifmap);
    assert_same_tensor(&got->filter, &want->filter);
    assert_same_tensor(&got->ofmap, &want->ofmap);
    assert_memory_equal(got->stride, want->stride, sizeof want->stride);
    assert_memory_equal(got->dilation, want->dilation, sizeof want->dilation);
    assert_memory_equal(got->pad, want->pad, sizeof want->pad);
    assert_string_equal(got->name, "");
    assert_close(got->ifmap_zero_deviation, 0, 0);
    assert_close(got->ofmap_zero_deviation, 0, 0);
}

static void the_published_sample_line_is_read(void **state)
{
    (void)state;
    wtl_workload work = parsed(CONV2);
    assert_int_equal(work.layer_count, 1);
    wtl_work_layer want = conv2();
    assert_same_layer(&work.layers[0], &want);
    assert_string_equal(work.name, "t.txt");
    assert_int_equal(wtl_work_groups(&want), 2);
    /* 11.60 % and 80.66 % zeros, as published; MACs: 44 * 223948800. */
    assert_close(1 - wtl_work_density(&work.layers[0].ifmap), 0.1160, 5e-5);
    assert_close(1 - wtl_work_density(&work.layers[0].ofmap), 0.8066, 5e-5);
    assert_close(wtl_work_macs(&want), 44 * 223948800.0, 0);
    assert_false(work.weight_zeros_measured);
    assert_true(work.activation_zeros_measured);
    wtl_workload_clear(&work);
    assert_null(work.layers);
}

static void every_field_goes_to_its_place(void **state)
{
    (void)state;
    /* Height: (11 + 1 + 2 - 3) / 2 + 1 = 6; width: (13 + 0 + 4 - 5) / 3 + 1 = 5. */
    wtl_workload work =
        parsed("7,11,13,6,2,1,8,3,5,2,9,4,9,6,5,9,2,3,10,2,3,1,2,0,4"); /* no newline */
    const wtl_work_layer want = {.index = 7,
                                 .ifmap = {11, 13, 6, 2, 1, 8},
                                 .filter = {3, 5, 2, 9, 4, 9},
                                 .ofmap = {6, 5, 9, 2, 3, 10},
                                 .stride = {2, 3},
                                 .dilation = {1, 1},
                                 .pad = {1, 2, 0, 4}};
    assert_int_equal(work.layer_count, 1);
    assert_same_layer(&work.layers[0], &want);
    assert_true(work.weight_zeros_measured);
    wtl_workload_clear(&work);
}

static void headers_comments_blanks_and_carriage_returns_are_passed_over(void **state)
{
    (void)state;
    wtl_workload work = parsed("# a net\r\n\r\nLayer_Index, Ifmap_H,w\r\n"
                               " 0 ,\t1,1,1,1,0,1, 1,1,1,1,0,1, 1,1,1,1,0,1, 1,1, 0,0,0,0 # one"
                               "\r\n\n" CONV2);
    assert_int_equal(work.layer_count, 2);
    assert_int_equal(work.layers[0].index, 0);
    assert_int_equal(work.layers[0].ofmap.bits, 1);
    assert_int_equal(work.layers[1].filter.count, 256);
    wtl_workload_clear(&work);
}

static void a_count_rounded_up_to_five_digits_means_all_zeros(void **state)
{
    (void)state;
    wtl_workload work =
        parsed("2,1,1,99999,7,6.9999e+05,16,1,1,99999,1,0,16,1,1,1,7,0,16,1,1,0,0,0,0\n"
               "3,1,1,17747,7,1.2423e+05,16,1,1,17747,1,0,16,1,1,1,7,0,16,1,1,0,0,0,0\n");
    assert_close(work.layers[0].ifmap.zeros, 699990, 0); /* of 699993: as it stands */
    assert_close(work.layers[1].ifmap.zeros, 124229, 0); /* of 124229, written 124230 */
    wtl_workload_clear(&work);
    static const char above[] =
        "3,1,1,17747,7,1.2424e+05,16,1,1,17747,1,0,16,1,1,1,7,0,16,1,1,0,0,0,0\n";
    wtl_error err;
    assert_fails(wtl_workload_parse(&work, above, strlen(above), "t", &err), WTL_E_FORMAT, &err,
                 "t:1: ifmap zeros: 124240; expected 0 to 124229 (1 x 1 x 17747 x 7 values)");
}

static void zero_counts_are_written_exactly(void **state)
{
    (void)state;
    wtl_work_layer layers[] = {conv2(), conv2()};
    layers[0].filter.zeros = 123457;
    /* 2^53 - 1 of 2^53 values: the largest odd count that a double holds. */
    layers[1] = (wtl_work_layer){.index = 3,
                                 .ifmap = {1 << 17, 1 << 18, 1 << 18, 1, 9007199254740991.0, 1},
                                 .filter = {1 << 17, 1 << 18, 1 << 18, 1, 0, 32},
                                 .ofmap = {1, 1, 1, 1, 1, 7},
                                 .stride = {1, 1},
                                 .dilation = {1, 1}};
    wtl_workload work = {.layers = layers, .layer_count = 2};
    char *text;
    assert_ok(wtl_workload_text(&text, &work, NULL));
    assert_string_equal(
        text,
        "2,27,27,96,44,357310,16,5,5,48,256,123457,16,27,27,256,44,6623000,16,1,1,2,2,2,2\n"
        "3,131072,262144,262144,1,9007199254740991,1,131072,262144,262144,1,0,32,1,1,1,1,1,7,"
        "1,1,0,0,0,0\n");
    wtl_workload again = parsed(text);
    assert_int_equal(again.layer_count, 2);
    assert_same_layer(&again.layers[0], &layers[0]);
    assert_same_layer(&again.layers[1], &layers[1]);
    wtl_workload_clear(&again);
    wtl_free(text);
}

static void a_workload_without_layers_is_an_empty_text(void **state)
{
    (void)state;
    char *text;
    assert_ok(wtl_workload_text(&text, &(wtl_workload){0}, NULL));
    assert_string_equal(text, "");
    wtl_free(text);
}

static void what_the_text_cannot_say_is_refused(void **state)
{
    (void)state;
    wtl_work_layer layer = conv2();
    layer.dilation[1] = 2;
    layer.ofmap.w = 23;
    layer.ofmap.zeros = 0;
    wtl_workload work = {.layers = &layer, .layer_count = 1};
    char *text;
    wtl_error err;
    assert_fails(wtl_workload_text(&text, &work, &err), WTL_E_RANGE, &err,
                 "layer 2 conv2: dilation 1x2; the 25-column text has no field for it");
    assert_null(text);
    layer.ofmap.w = 22;
    assert_fails(wtl_workload_text(&text, &work, &err), WTL_E_SHAPE, &err,
                 "layer 2 conv2: ofmap width: 22; expected 23 (ifmap 27, pads 2 and 2, filter "
                 "5, stride 1, dilated)");
}

static void layers_that_no_text_can_hold_are_checked_too(void **state)
{
    (void)state;
    wtl_error err;
    wtl_work_layer layer = conv2();
    assert_ok(wtl_work_layer_check(&layer, NULL));
    layer.dilation[0] = 0;
    assert_fails(wtl_work_layer_check(&layer, &err), WTL_E_RANGE, &err,
                 "dilation y: 0; expected a whole number from 1 to 1048576");
    layer = conv2();
    layer.stride[1] = -1;
    assert_fails(wtl_work_layer_check(&layer, &err), WTL_E_RANGE, &err,
                 "stride x: -1; expected a whole number from 1 to 1048576");
    layer = conv2();
    layer.dilation[0] = 8; /* reaches 33 rows */
    assert_fails(wtl_work_layer_check(&layer, &err), WTL_E_SHAPE, &err,
                 "filter height: 5; expected at most 4, the height of the padded ifmap");
    layer = conv2();
    layer.ofmap.zeros = NAN;
    assert_fails(wtl_work_layer_check(&layer, &err), WTL_E_RANGE, &err,
                 "ofmap zeros: nan; expected 0 to 8211456 (27 x 27 x 256 x 44 values)");
    layer = conv2();
    layer.filter.zeros = -0.5;
    assert_fails(wtl_work_layer_check(&layer, &err), WTL_E_RANGE, &err,
                 "filter zeros: -0.5; expected 0 to 307200 (5 x 5 x 48 x 256 values)");
    layer = conv2();
    layer.ofmap_zero_deviation = 1.5;
    assert_fails(wtl_work_layer_check(&layer, &err), WTL_E_RANGE, &err,
                 "ofmap zero deviation: 1.5; expected a share from 0 to 1");
}

static void bad_files_are_refused_with_their_reason(void **state)
{
    (void)state;
    static const char *const table[][2] = {
        {"empty", "bad: no layer; expected lines of 25 fields"},
        {"comments-alone", "bad: no layer; expected lines of 25 fields"},
        {"header-alone", "bad: no layer; expected lines of 25 fields"},
        {"two-headers", "bad:2: 3 fields; expected 25, with commas"},
        {"short-line", "bad:1: 24 fields; expected 25, with commas"},
        {"long-line", "bad:1: 26 fields; expected 25, with commas"},
        {"trailing-comma", "bad:2: 26 fields; expected 25, with commas"},
        {"semicolons", "bad:1: 1 fields; expected 25, with commas"},
        {"word", "bad:1: ifmap width (field 3): 'wide'; expected a whole number from 1 to "
                 "1048576"},
        {"blank-field",
         "bad:1: filter height (field 8): ''; expected a whole number from 1 to 1048576"},
        {"negative-size",
         "bad:1: ifmap height (field 2): '-27'; expected a whole number from 1 to 1048576"},
        {"zero-size",
         "bad:1: ifmap channels (field 4): '0'; expected a whole number from 1 to 1048576"},
        {"fraction-size",
         "bad:1: filter width (field 9): '5.0'; expected a whole number from 1 to 1048576"},
        {"huge-size", "bad:1: ifmap maps (field 5): '99999999999999999999'; expected a whole "
                      "number from 1 to 1048576"},
        {"negative-index",
         "bad:1: layer index (field 1): '-1'; expected a whole number from 0 to 1000000000"},
        {"same-index",
         "bad:3: layer index (field 1): 2; expected one that no layer before has"},
        {"negative-zeros", "bad:1: filter zeros (field 12): '-5'; expected a whole number of "
                           "zeros, 0 or more, such as 357310 or 3.5731e+05"},
        {"fraction-zeros", "bad:1: ifmap zeros (field 6): '35731.5'; expected a whole number "
                           "of zeros, 0 or more, such as 357310 or 3.5731e+05"},
        {"nan-zeros", "bad:1: ifmap zeros (field 6): 'nan'; expected a whole number of zeros, "
                      "0 or more, such as 357310 or 3.5731e+05"},
        {"hex-zeros", "bad:1: ifmap zeros (field 6): '0x10'; expected a whole number of zeros, "
                      "0 or more, such as 357310 or 3.5731e+05"},
        {"infinite-zeros", "bad:1: ofmap zeros (field 18): '1e999'; expected a whole number of "
                           "zeros, 0 or more, such as 357310 or 3.5731e+05"},
        {"too-many-ifmap-zeros",
         "bad:1: ifmap zeros: 3079297; expected 0 to 3079296 (27 x 27 x 96 x 44 values)"},
        {"too-many-filter-zeros",
         "bad:1: filter zeros: 307201; expected 0 to 307200 (5 x 5 x 48 x 256 values)"},
        {"too-many-ofmap-zeros",
         "bad:1: ofmap zeros: 8300000; expected 0 to 8211456 (27 x 27 x 256 x 44 values)"},
        {"zero-bits", "bad:1: ifmap bits (field 7): '0'; expected a whole number from 1 to 32"},
        {"33-bits", "bad:1: ofmap bits (field 19): '33'; expected a whole number from 1 to 32"},
        {"zero-stride",
         "bad:1: stride y (field 20): '0'; expected a whole number from 1 to 1048576"},
        {"negative-pad",
         "bad:1: pad right (field 25): '-1'; expected a whole number from 0 to 1048576"},
        {"group-channels",
         "bad:1: filter channels: 50; expected a divisor of the 96 ifmap channels"},
        {"group-filters", "bad:1: filters: 256; expected a multiple of the 3 groups (96 ifmap "
                          "channels / 32 filter channels)"},
        {"ofmap-channels", "bad:1: ofmap channels: 255; expected 256, one a filter"},
        {"ofmap-maps", "bad:1: ofmap maps: 4; expected 44, as many as ifmap maps"},
        {"ofmap-height", "bad:1: ofmap height: 28; expected 27 (ifmap 27, pads 2 and 2, filter "
                         "5, stride 1)"},
        {"ofmap-width", "bad:1: ofmap width: 27; expected 14 (ifmap 27, pads 2 and 2, filter "
                        "5, stride 2)"},
        {"tall-filter",
         "bad:1: filter height: 32; expected at most 31, the height of the padded ifmap"},
        {"too-many-values",
         "bad:1: ifmap: 1000000 x 1000000 x 96 x 1000000 values; expected at most 2^53"},
        {"nul-byte", "bad:1: filter zeros (field 12): ''; expected a whole number of zeros, 0 "
                     "or more, such as 357310 or 3.5731e+05"},
        {"long-field", "bad:1: filters (field 11): '22222222222222222222...'; expected a whole "
                       "number from 1 to 1048576"},
        {"binary", "bad:1: 1 fields; expected 25, with commas"},
    };
    wtl_error err;
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        char path[1024];
        snprintf(path, sizeof path, "%s/tests/bad/workload/%s.txt", WTL_SOURCE_DIR,
                 table[i][0]);
        unsigned char *bytes;
        size_t length;
        assert_ok(wtl_file_read(path, 1 << 20, &bytes, &length, &err));
        wtl_workload work;
        assert_fails(wtl_workload_parse(&work, (char *)bytes, length, "bad", &err),
                     WTL_E_FORMAT, &err, table[i][1]);
        assert_null(work.layers);
        assert_int_equal(work.layer_count, 0);
        wtl_free(bytes);
    }
}

static wtl_status read_and_write(void *context)
{
    (void)context;
    wtl_workload work;
    char *text = NULL;
    static const char line[] = "%d,1,1,1,1,0,1,1,1,1,1,0,1,1,1,1,1,0,1,1,1,0,0,0,0\n";
    static char lines[40 * sizeof line];
    size_t length = 0;
    for (int i = 0; i < 40; i++) {
        length += (size_t)sprintf(lines + length, "%d%s", i, line + 2);
    }
    wtl_status status = wtl_workload_parse(&work, lines, length, "t", NULL);
    if (status == WTL_OK) {
        status = wtl_workload_text(&text, &work, NULL);
    }
    wtl_free(text);
    wtl_workload_clear(&work);
    return status;
}

static void short_memory_is_survived(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(read_and_write, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(the_published_sample_line_is_read),
        WTL_TEST(every_field_goes_to_its_place),
        WTL_TEST(headers_comments_blanks_and_carriage_returns_are_passed_over),
        WTL_TEST(a_count_rounded_up_to_five_digits_means_all_zeros),
        WTL_TEST(zero_counts_are_written_exactly),
        WTL_TEST(a_workload_without_layers_is_an_empty_text),
        WTL_TEST(what_the_text_cannot_say_is_refused),
        WTL_TEST(layers_that_no_text_can_hold_are_checked_too),
        WTL_TEST(bad_files_are_refused_with_their_reason),
        WTL_TEST(short_memory_is_survived),
    };
    return WTL_RUN("workload", tests);
}
