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

/* ---- bars ---- */

static const char *const bar_names[] = {"conv1", "a/b & <c>", "fc"};
static const char *const four_parts[] = {"ifmap", "ofmap", "weight", "computation"};
static const char *const two_parts[] = {"DRAM", "MAC"};
static const double four_values[] = {1e6, 2e6, 0.5e6, 0.5e6, 0, 3e6, 0, 1e6, NAN, -1, 2e6, 0};
static const double two_values[] = {3e6, 1e6, 1e6, 3e6, 2e6, INFINITY};

static char *bars_text(const wtl_bars *bars)
{
    wtl_text text = {0};
    wtl_svg_bars(&text, bars);
    char *svg = wtl_text_take(&text);
    assert_non_null(svg);
    return svg;
}

static void assert_stored(const char *name, const char *svg)
{
    wtl_error err;
    unsigned char *want;
    size_t length;
    char path[512];
    snprintf(path, sizeof path, WTL_SOURCE_DIR "/tests/golden/%s", name);
    wtl_test_write(wtl_test_path(name), svg, strlen(svg));
    assert_ok(wtl_file_read(path, 1 << 20, &want, &length, &err));
    assert_string_equal(svg, (const char *)want);
    wtl_free(want);
}

/* The stored picture was looked at, light and dark. */
static void bars_are_the_stored_ones_to_the_byte(void **state)
{
    (void)state;
    const wtl_bars_view views[] = {{"by data type", four_parts, 4, four_values},
                                   {"by level", two_parts, 2, two_values}};
    const wtl_bars bars = {"Energy of <net>", "energy", bar_names, 3, views, 2};
    char *svg = bars_text(&bars);
    assert_stored("bars.svg", svg);
    wtl_free(svg);
}

/* By hand: names of 2 letters take 24 + 14 + 8 = 46; one row of names puts the first row of
 * bars at 36 + 20 + 8 = 64, and its bar of 12 in 18 at 67. The longest is 4: 100 a unit. */
static void parts_of_a_bar_follow_each_other(void **state)
{
    (void)state;
    static const char *const names[] = {"ab", "c"}, *const parts[] = {"p", "q"};
    static const double values[] = {1, 3, 0, 2};
    const wtl_bars_view view = {NULL, parts, 2, values};
    const wtl_bars bars = {NULL, NULL, names, 2, &view, 1};
    char *svg = bars_text(&bars);
    assert_has(svg, "<rect class=\"wtl-f0\" x=\"46.00\" y=\"67.00\" width=\"100.00\" ");
    assert_has(svg, "<rect class=\"wtl-f1\" x=\"146.00\" y=\"67.00\" width=\"300.00\" ");
    assert_has(svg, "<rect class=\"wtl-f1\" x=\"46.00\" y=\"85.00\" width=\"200.00\" ");
    assert_int_equal(count_of(svg, "height=\"12\""), 3); /* nothing for the 0 */
    assert_has(svg, "viewBox=\"0 0 482 152\"");
    wtl_free(svg);
}

static void a_long_name_is_cut_with_a_sign(void **state)
{
    (void)state;
    static const char *const names[] = {"0123456789012345678901234567890123456789",
                                        "012345678901234567890123456789012345"};
    static const char *const parts[] = {"p"};
    static const double values[] = {1, 1};
    const wtl_bars_view view = {NULL, parts, 1, values};
    const wtl_bars bars = {NULL, NULL, names, 2, &view, 1};
    char *svg = bars_text(&bars);
    assert_has(svg, ">01234567890123456789012345678901234\xe2\x80\xa6</text>");
    assert_has(svg, ">012345678901234567890123456789012345</text>");
    wtl_free(svg);
}

static void bars_without_data_say_so(void **state)
{
    (void)state;
    static const char *const names[] = {"a"}, *const parts[] = {"p"};
    static const double values[] = {NAN};
    const wtl_bars_view view = {NULL, parts, 1, values};
    const wtl_bars none = {NULL, NULL, NULL, 0, NULL, 0};
    const wtl_bars gap = {NULL, NULL, names, 1, &view, 1};
    char *svg = bars_text(&none);
    assert_has(svg, "no data");
    wtl_free(svg);
    svg = bars_text(&gap);
    assert_has(svg, "no data");
    assert_null(strstr(svg, "nan"));
    wtl_free(svg);
}

/* ---- scatter ---- */

static const char *const two_groups[] = {"conv", "dense"};

static char *scatter_text(const wtl_scatter *scatter)
{
    wtl_text text = {0};
    wtl_svg_scatter(&text, scatter);
    char *svg = wtl_text_take(&text);
    assert_non_null(svg);
    return svg;
}

static void a_scatter_is_the_stored_one_to_the_byte(void **state)
{
    (void)state;
    static const double y[] = {2e8, 5e7, 6e7, 1e6, 0}, macs[] = {1e8, 1e7, 1.1e7, 4e6, 1},
                        weights[] = {3e4, 4e7, 2e6, -1, 1};
    static const int group[] = {0, 1, 0, 1, 0};
    static const char *const labels[] = {"conv1", "fc & co", "conv2", NULL, "gone"};
    const wtl_scatter_view views[] = {{"weights", weights}, {"MACs", macs}};
    const wtl_scatter scatter = {"Energy of <net>", "energy", y,     group, labels, 5,
                                 two_groups,        2,        views, 2};
    char *svg = scatter_text(&scatter);
    assert_stored("scatter.svg", svg);
    wtl_free(svg);
}

/* By hand: decades 1..100 on both axes; the area begins at 66, 64 and is 400 x 340: 200 and
 * 170 a decade. Sums are 111 and 111: the proportion is the diagonal. */
static void points_lie_on_logarithmic_axes(void **state)
{
    (void)state;
    static const double x[] = {1, 10, 100}, y[] = {100, 10, 1};
    static const int group[] = {0, 1, 0};
    const wtl_scatter_view view = {"x", x};
    const wtl_scatter scatter = {"t", "y", y, group, NULL, 3, two_groups, 2, &view, 1};
    char *svg = scatter_text(&scatter);
    assert_has(svg, "<circle class=\"wtl-f0\" fill-opacity=\"0.8\" cx=\"66.00\" cy=\"64.00\"");
    assert_has(svg,
               "<circle class=\"wtl-f1\" fill-opacity=\"0.8\" cx=\"266.00\" cy=\"234.00\"");
    assert_has(svg,
               "<circle class=\"wtl-f0\" fill-opacity=\"0.8\" cx=\"466.00\" cy=\"404.00\"");
    assert_has(svg, "wtl-dashed\" d=\"M66.00 404.00L466.00 64.00\"/>");
    wtl_free(svg);
}

/* Three points on one place: labels right and left of it, then there is a line below and
 * above; names too wide for either side are left out. */
static void labels_that_would_cover_something_are_left_out(void **state)
{
    (void)state;
    static const double x[] = {10, 10, 10, 1, 100}, y[] = {10, 10, 10, 1, 100};
    static const int group[] = {0, 0, 0, 0, 0};
    static const char wide[] = "a name that is far too wide for the view it is in on either "
                               "side of its point";
    static const char *const labels[] = {"one", "two", "three", NULL, wide};
    const wtl_scatter_view view = {"x", x};
    const wtl_scatter scatter = {"t", "y", y, group, labels, 5, two_groups, 1, &view, 1};
    char *svg = scatter_text(&scatter);
    assert_has(svg, "<text x=\"274.00\" y=\"238.00\" class=\"wtl-tick\">one</text>");
    assert_has(svg, "<text x=\"258.00\" y=\"238.00\" class=\"wtl-tick\" "
                    "text-anchor=\"end\">two</text>");
    assert_null(strstr(svg, ">three<"));
    assert_null(strstr(svg, "far too wide"));
    wtl_free(svg);
}

static void every_scatter_is_a_sound_picture(void **state)
{
    (void)state;
    static const double ends[][2] = {{0, 0},     {-1, 5},          {1, 1},  {1e-99, 1e99},
                                     {NAN, 1e3}, {INFINITY, 1e-9}, {5, 5.5}};
    static const int group[] = {0, 1};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        for (size_t j = 0; j < sizeof ends / sizeof ends[0]; j++) {
            const wtl_scatter_view view = {NULL, ends[i]};
            const wtl_scatter scatter = {NULL, NULL,       ends[j], group, two_groups,
                                         2,    two_groups, 2,       &view, 1};
            char *svg = scatter_text(&scatter);
            assert_null(strstr(svg, "nan"));
            assert_null(strstr(svg, "inf"));
            assert_null(strstr(svg, "=\"-"));
            bool point = false;
            for (int k = 0; k < 2; k++) {
                point |= ends[i][k] > 0 && isfinite(ends[i][k]) && ends[j][k] > 0 &&
                         isfinite(ends[j][k]);
            }
            assert_true((strstr(svg, "no data") == NULL) == point);
            wtl_free(svg);
        }
    }
}

/* ---- pareto ---- */

static char *pareto_text(const wtl_pareto *pareto)
{
    wtl_text text = {0};
    wtl_svg_pareto(&text, pareto);
    char *svg = wtl_text_take(&text);
    assert_non_null(svg);
    return svg;
}

/* The stored picture was looked at, light and dark. */
static void a_pareto_is_the_stored_one_to_the_byte(void **state)
{
    (void)state;
    static const double x[] = {1, 0.7, 0.5, 0.3}, magnitude[] = {0, -0.4, -1.9, -9},
                        aware[] = {0, -0.1, NAN, -0.8};
    static const double dot_x[] = {0.7, 0.71, 0.5, 0.29}, dot_y[] = {-0.3, -0.5, -1.9, -12};
    static const double paper_x[] = {0.47, 0.27}, paper_y[] = {-0.06, -0.87};
    static const char *const paper[] = {"Deep Compression", "energy-aware"};
    const wtl_curve curves[] = {{"magnitude & co", x, magnitude, 4, dot_x, dot_y, 4},
                                {"energy-aware", x, aware, 4, NULL, NULL, 0}};
    const wtl_pareto pareto = {"Accuracy of <net>",
                               "energy",
                               "points",
                               curves,
                               2,
                               "original",
                               1,
                               0,
                               "AlexNet, from the paper; not this network",
                               paper_x,
                               paper_y,
                               paper,
                               2,
                               "floor",
                               0.25,
                               -5};
    char *svg = pareto_text(&pareto);
    assert_stored("pareto.svg", svg);
    wtl_free(svg);
}

/* By hand: labels "0.0" to "-4.0" leave x at 64..690, one row of names y at 68..448. A decade
 * is 626 wide, a point of y 95 high. */
static void a_pareto_has_its_marks_where_the_axes_say(void **state)
{
    (void)state;
    static const double x[] = {1, 0.1}, y[] = {0, -4}, foreign_x[] = {0.31622776601683794};
    static const double foreign_y[] = {-1};
    const wtl_curve curve = {"c", x, y, 2, x, y, 2};
    const wtl_pareto pareto = {.curves = &curve,
                               .curve_count = 1,
                               .origin = "o",
                               .origin_x = 1,
                               .origin_y = 0,
                               .foreign = "f",
                               .foreign_x = foreign_x,
                               .foreign_y = foreign_y,
                               .foreign_count = 1,
                               .limit = "l",
                               .limit_x = 0.1,
                               .least_y = NAN};
    char *svg = pareto_text(&pareto);
    assert_has(svg, "wtl-line wtl-s0\" d=\"M690.00 68.00L64.00 448.00\"/>");
    assert_has(svg, "<circle class=\"wtl-f0\" fill-opacity=\"0.6\" cx=\"64.00\" "
                    "cy=\"448.00\" r=\"3\"/>");
    assert_has(svg, "<rect class=\"wtl-f7\" x=\"685.00\" y=\"63.00\" width=\"10\"");
    assert_has(svg, "<circle class=\"wtl-ground wtl-s7\" stroke-width=\"2\" "
                    "cx=\"377.00\" cy=\"163.00\" r=\"5\"/>");
    assert_has(svg, "<path class=\"wtl-axis wtl-dashed\" d=\"M64.00 68.00V448.00\"/>");
    assert_has(svg, ">0.3</text>"); /* every tenth within a decade */
    wtl_free(svg);
}

/* As above, but y ends at -2: half-way down the line. The point below is not drawn; the line
 * steps over what is no number. */
static void what_lies_below_a_pareto_is_cut_off(void **state)
{
    (void)state;
    static const double x[] = {1, 0.5, NAN, 0.1}, y[] = {0, NAN, -1, -4};
    static const double all_below[] = {-3, -3, -3, -3};
    static const double back_x[] = {0.1, 1}, back_y[] = {-4, 0};
    const wtl_curve curves[] = {{"c", x, y, 4, x, y, 4},
                                {"d", x, all_below, 4, NULL, NULL, 0},
                                {"e", back_x, back_y, 2, NULL, NULL, 0}};
    const wtl_pareto pareto = {.curves = curves, .curve_count = 3, .least_y = -2};
    char *svg = pareto_text(&pareto);
    assert_has(svg, "wtl-line wtl-s0\" d=\"M690.00 68.00L377.00 448.00\"/>");
    assert_has(svg, "wtl-line wtl-s1\" d=\"\"/>");
    assert_has(svg, "wtl-line wtl-s2\" d=\"M377.00 448.00L690.00 68.00\"/>");
    assert_int_equal(count_of(svg, "fill-opacity"), 4); /* one point, three in the legend */
    wtl_free(svg);
}

static void every_pareto_is_a_sound_picture(void **state)
{
    (void)state;
    static const double ends[][2] = {{0, 0},     {-1, 5},          {1, 1},  {1e-99, 1e99},
                                     {NAN, 1e3}, {INFINITY, 1e-9}, {5, 5.5}};
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        for (size_t j = 0; j < sizeof ends / sizeof ends[0]; j++) {
            const wtl_curve curve = {NULL, ends[i], ends[j], 2, ends[i], ends[j], 2};
            const wtl_pareto pareto = {.curves = &curve,
                                       .curve_count = 1,
                                       .limit = "limit",
                                       .limit_x = ends[j][0],
                                       .least_y = i % 2 ? -1 : (double)NAN};
            char *svg = pareto_text(&pareto);
            assert_null(strstr(svg, "nan"));
            assert_null(strstr(svg, "inf"));
            assert_null(strstr(svg, "=\"-"));
            wtl_free(svg);
        }
    }
    const wtl_pareto none = {.least_y = NAN};
    char *svg = pareto_text(&none);
    assert_has(svg, "no data");
    wtl_free(svg);
}

static wtl_status make_pareto(void *context)
{
    wtl_text text = {0};
    wtl_svg_pareto(&text, context);
    char *svg = wtl_text_take(&text);
    wtl_free(svg);
    return svg ? WTL_OK : WTL_E_NOMEM;
}

static wtl_status make_plot(void *context)
{
    wtl_text text = {0};
    wtl_svg_lines(&text, context);
    char *svg = wtl_text_take(&text);
    wtl_free(svg);
    return svg ? WTL_OK : WTL_E_NOMEM;
}

static wtl_status make_bars(void *context)
{
    wtl_text text = {0};
    wtl_svg_bars(&text, context);
    char *svg = wtl_text_take(&text);
    wtl_free(svg);
    return svg ? WTL_OK : WTL_E_NOMEM;
}

static wtl_status make_scatter(void *context)
{
    wtl_text text = {0};
    wtl_svg_scatter(&text, context);
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
    const wtl_bars_view view = {NULL, two_parts, 2, two_values};
    wtl_bars bars = {"t", "x", bar_names, 3, &view, 1};
    wtl_test_every_allocation_fails(make_bars, &bars);
    static const int group[] = {0, 1};
    const wtl_scatter_view over = {"x", y};
    wtl_scatter scatter = {"t", "y", y, group, two_groups, 2, two_groups, 2, &over, 1};
    wtl_test_every_allocation_fails(make_scatter, &scatter);
    const wtl_curve curve = {"c", y, y, 2, y, y, 2};
    wtl_pareto pareto = {.curves = &curve, .curve_count = 1, .least_y = NAN};
    wtl_test_every_allocation_fails(make_pareto, &pareto);
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
        WTL_TEST(bars_are_the_stored_ones_to_the_byte),
        WTL_TEST(parts_of_a_bar_follow_each_other),
        WTL_TEST(a_long_name_is_cut_with_a_sign),
        WTL_TEST(bars_without_data_say_so),
        WTL_TEST(a_scatter_is_the_stored_one_to_the_byte),
        WTL_TEST(points_lie_on_logarithmic_axes),
        WTL_TEST(labels_that_would_cover_something_are_left_out),
        WTL_TEST(every_scatter_is_a_sound_picture),
        WTL_TEST(a_pareto_is_the_stored_one_to_the_byte),
        WTL_TEST(a_pareto_has_its_marks_where_the_axes_say),
        WTL_TEST(what_lies_below_a_pareto_is_cut_off),
        WTL_TEST(every_pareto_is_a_sound_picture),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("svg", tests);
}
