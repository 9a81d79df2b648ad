#include "wtl_test.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/svg.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static char *plot_text(const wtl_plot *plot)
{
    wtl_text text = {0};
    wtl_svg_lines(&text, plot);
    char *svg = wtl_text_take(&text);
    assert_non_null(svg);
    return svg;
}

static void assert_has(const char *svg, const char *piece)
{
    if (!strstr(svg, piece)) {
        fail_msg("\"%s\" is not in\n%s", piece, svg);
    }
}

static int count_of(const char *svg, const char *piece)
{
    int count = 0;
    while ((svg = strstr(svg, piece)) != NULL) {
        count++;
        svg += strlen(piece);
    }
    return count;
}

static void special_characters_are_escaped(void **state)
{
    (void)state;
    wtl_text text = {0};
    wtl_svg_escape(&text, "a<b> & \"c\" 'd' \xc3\xa9 \xf0\x9f\x98\x80\t");
    assert_string_equal(text.bytes,
                        "a&lt;b&gt; &amp; &quot;c&quot; 'd' \xc3\xa9 \xf0\x9f\x98\x80\t");
    wtl_text_clear(&text);
}

/* Control characters, stray and missing tails, overlong forms, surrogates, too large. */
static void bytes_that_xml_cannot_hold_are_replaced(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"\x01\x1b\x7f", "??\x7f"},
        {"\x80", "?"},
        {"\xc3", "?"},
        {"\xc3(", "?("},
        {"\xc0\xaf", "??"},
        {"\xe0\x80\xaf", "???"},
        {"\xed\xa0\x80", "???"},
        {"\xef\xbf\xbf", "???"},
        {"\xf4\x90\x80\x80", "????"},
        {"\xf0\x80\x80\x80", "????"},
        {"\xf8\x88\x80\x80", "????"},
        {"\xff", "?"},
        {"\xef\xbf\xbd", "\xef\xbf\xbd"},
        {"\xe2\x82", "??"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_text text = {0};
        wtl_svg_escape(&text, cases[i][0]);
        assert_string_equal(text.bytes, cases[i][1]);
        wtl_text_clear(&text);
    }
}

/* The stored picture was looked at, light and dark. */
static void a_plot_is_the_stored_one_to_the_byte(void **state)
{
    (void)state;
    static const double x[] = {1, 2, 3, 4, 5};
    static const double train[] = {2.0, 1.0, 0.5, 0.25, 0.125};
    static const double valid[] = {2.1, 1.2, NAN, 0.7, NAN};
    const wtl_series series[] = {{"train", x, train, 5, false},
                                 {"validation", x, valid, 5, true}};
    const wtl_plot plot = {"Loss of <lenet5>", "epoch", "cross-entropy", series, 2, false};
    wtl_error err;
    unsigned char *want;
    size_t length;
    char *svg = plot_text(&plot);
    wtl_test_write(wtl_test_path("lines.svg"), svg, strlen(svg));
    assert_ok(
        wtl_file_read(WTL_SOURCE_DIR "/tests/golden/lines.svg", 1 << 20, &want, &length, &err));
    assert_string_equal(svg, (const char *)want);
    wtl_free(want);
    wtl_free(svg);
}

/* By hand: the y range is 0..4 and the area 260 high under title and one row of names, so
 * it spans 64..324; labels "0" to "4" leave it at 60..616: 139 a unit of x from 1. */
static void points_are_where_the_axes_say(void **state)
{
    (void)state;
    static const double x[] = {1, 2, 5}, y[] = {0, 1, 4};
    const wtl_series series[] = {{"a", x, y, 3, false}};
    const wtl_plot plot = {"t", "x", "y", series, 1, false};
    char *svg = plot_text(&plot);
    assert_has(svg, "d=\"M60.00 324.00L199.00 259.00L616.00 64.00\"");
    assert_has(svg, "<text x=\"52.00\" y=\"263.00\" class=\"wtl-tick\" "
                    "text-anchor=\"end\">1</text>");
    wtl_free(svg);
}

/* As above, with the area from 64 on: "0.01" takes 7 * 4 + 36. */
static void a_logarithmic_axis_has_equal_decades(void **state)
{
    (void)state;
    static const double x[] = {0, 1, 2}, y[] = {0.01, 1, 100};
    const wtl_series series[] = {{"a", x, y, 3, false}};
    const wtl_plot plot = {"t", "x", "y", series, 1, true};
    char *svg = plot_text(&plot);
    assert_has(svg, "M64.00 324.00L340.00 194.00L616.00 64.00\"");
    assert_has(svg, ">0.01</text>");
    assert_has(svg, ">100</text>");
    wtl_free(svg);
}

/* A zero has no logarithm: it is a gap, and so are NaN and infinity. */
static void gaps_break_the_line_and_lone_points_are_dots(void **state)
{
    (void)state;
    static const double x[] = {0, 1, 2, 3, 4, 5, NAN, 7};
    static const double y[] = {1, 10, 0, 1, -3, 10, 1, INFINITY};
    const wtl_series series[] = {{"a", x, y, 8, false}};
    const wtl_plot plot = {"t", "x", "y", series, 1, true};
    char *svg = plot_text(&plot);
    assert_has(svg, "wtl-line wtl-s0\" d=\"M60.00 324.00L171.20 64.00\"/>");
    assert_has(svg, "wtl-dot wtl-s0\" d=\"M393.60 324.00h0M616.00 64.00h0\"/>");
    wtl_free(svg);
}

static void plots_without_data_say_so(void **state)
{
    (void)state;
    static const double x[] = {1}, y[] = {NAN};
    const wtl_series series[] = {{NULL, x, y, 1, false}};
    const wtl_plot none = {NULL, NULL, NULL, NULL, 0, true};
    const wtl_plot gap = {NULL, NULL, NULL, series, 1, false};
    char *svg = plot_text(&none);
    assert_has(svg, "no data");
    wtl_free(svg);
    svg = plot_text(&gap);
    assert_has(svg, "no data");
    wtl_free(svg);
}

static void large_numbers_have_short_labels(void **state)
{
    (void)state;
    static const double x[] = {0, 1}, y[] = {1e6, 4e6}, z[] = {1e-7, 4e-7}, w[] = {1e20, 2e20};
    wtl_series series[] = {{"a", x, y, 2, false}};
    const wtl_plot plot = {"t", "x", "y", series, 1, false};
    char *svg = plot_text(&plot);
    assert_has(svg, ">1.0M</text>");
    assert_has(svg, ">2.5M</text>");
    wtl_free(svg);
    series[0].y = z;
    svg = plot_text(&plot);
    assert_has(svg, ">4e-7</text>");
    wtl_free(svg);
    series[0].y = w;
    svg = plot_text(&plot);
    assert_has(svg, ">2e20</text>");
    wtl_free(svg);
}

/* Whatever the range: it ends, every number is finite and inside the canvas, few ticks. */
static void every_range_of_values_gives_a_sound_picture(void **state)
{
    (void)state;
    static const double ends[][2] = {
        {0, 0},          {5, 5},         {-5, -5},         {0, DBL_TRUE_MIN}, {1e15, 1e15 + 1},
        {-1e99, 1e99},   {-DBL_MAX, 1},  {1e-300, 2e-300}, {0.1, 0.1000001},  {-1e-9, 1e9},
        {99.99, 100.01}, {1, 1 + 1e-12}, {-7, 123456},     {1e-90, 1e90},
    };
    static const double x[] = {0, 1};
    for (size_t i = 0; i < 2 * sizeof ends / sizeof ends[0]; i++) {
        const wtl_series series[] = {
            {"a", i % 2 ? ends[i / 2] : x, i % 2 ? x : ends[i / 2], 2, false}};
        for (int log_y = 0; log_y < 2; log_y++) {
            const wtl_plot plot = {"t", "x", "y", series, 1, log_y};
            char *svg = plot_text(&plot);
            assert_null(strstr(svg, "nan"));
            assert_null(strstr(svg, "inf"));
            assert_null(strstr(svg, "=\"-"));
            int ticks = count_of(svg, "\"wtl-tick\"");
            assert_true(ticks >= 2 && ticks <= 26);
            wtl_free(svg);
        }
    }
}

static void many_names_take_several_rows(void **state)
{
    (void)state;
    static const double x[] = {0, 1}, y[] = {1, 2};
    wtl_series series[12];
    for (int i = 0; i < 12; i++) {
        series[i] = (wtl_series){"a name of some length", x, y, 2, false};
    }
    const wtl_plot plot = {"t", "x", "y", series, 12, false};
    char *svg = plot_text(&plot);
    assert_int_equal(count_of(svg, ">a name of some length</text>"), 12);
    /* 30 + 7 * 21 + 16 a name: two fit into 556. 36 + 6 rows of 20 + 8 + 260 + 52. */
    assert_has(svg, "viewBox=\"0 0 640 476\"");
    wtl_free(svg);
}

static wtl_status make_plot(void *context)
{
    wtl_text text = {0};
    wtl_svg_lines(&text, context);
    char *svg = wtl_text_take(&text);
    wtl_free(svg);
    return svg ? WTL_OK : WTL_E_NOMEM;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    static const double x[] = {0, 1}, y[] = {1, 2};
    const wtl_series series[] = {{"a", x, y, 2, false}};
    wtl_plot plot = {"t", "x", "y", series, 1, false};
    wtl_test_every_allocation_fails(make_plot, &plot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(special_characters_are_escaped),
        WTL_TEST(bytes_that_xml_cannot_hold_are_replaced),
        WTL_TEST(a_plot_is_the_stored_one_to_the_byte),
        WTL_TEST(points_are_where_the_axes_say),
        WTL_TEST(a_logarithmic_axis_has_equal_decades),
        WTL_TEST(gaps_break_the_line_and_lone_points_are_dots),
        WTL_TEST(plots_without_data_say_so),
        WTL_TEST(large_numbers_have_short_labels),
        WTL_TEST(every_range_of_values_gives_a_sound_picture),
        WTL_TEST(many_names_take_several_rows),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("svg", tests);
}
