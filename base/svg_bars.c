/* svg_bars.c - stacked horizontal bars, several views of the same bars beside each other.
 *
 * Bars lie, so that long names of many layers can be read. All views share the rows, the names
 * at the left and the scale.
 */
#include "svg_parts.h"

#include <math.h>
#include <stdio.h>

enum {
    ROW = 18,
    BAR = 12,
    VIEW_WIDTH = 400,
    BETWEEN = 36, /* two views, and right of the last */
    NAME_GAP = 8,
    MOST_LETTERS = 36, /* of a name */
    VIEW_TITLE = 20,
    BELOW = 52 /* room for tick labels and the x label */
};

typedef struct canvas {
    wtl_text *out;
    const wtl_bars *bars;
    wtl_svg_axis x;
    int names;           /* width of their column */
    double legends, top; /* of the legends and of the first row */
    double bottom;       /* of the last row */
    double height;       /* of the picture */
} canvas;

static double part_of(const wtl_bars_view *view, int bar, int part)
{
    double value = view->values[(size_t)bar * (size_t)view->part_count + (size_t)part];
    return value > 0 && value <= WTL_SVG_LARGEST ? value : 0;
}

static double longest_bar(const wtl_bars *bars)
{
    double longest = 0;
    for (int v = 0; v < bars->view_count; v++) {
        for (int b = 0; b < bars->bar_count; b++) {
            double sum = 0;
            for (int p = 0; p < bars->views[v].part_count; p++) {
                sum += part_of(&bars->views[v], b, p);
            }
            longest = fmax(longest, sum);
        }
    }
    return fmin(longest, WTL_SVG_LARGEST);
}

static double left_of(const canvas *c, int view)
{
    return c->names + (double)view * (VIEW_WIDTH + BETWEEN);
}

static double place_x(const canvas *c, int view, double value)
{
    return left_of(c, view) + value / c->x.high * VIEW_WIDTH;
}

static void place_rows(canvas *c)
{
    int letters = 0, rows = 0;
    for (int b = 0; b < c->bars->bar_count; b++) {
        int here = wtl_svg_letters(c->bars->names[b], MOST_LETTERS);
        letters = here > letters ? here : letters;
    }
    c->names = 24 + WTL_SVG_LETTER * letters + NAME_GAP;
    c->legends = WTL_SVG_TITLE_HEIGHT;
    for (int v = 0; v < c->bars->view_count; v++) {
        const wtl_bars_view *view = &c->bars->views[v];
        int here =
            wtl_svg_legend(c->out, view->parts, view->part_count, 0, VIEW_WIDTH, 0, false);
        rows = here > rows ? here : rows;
        if (view->title) {
            c->legends = WTL_SVG_TITLE_HEIGHT + VIEW_TITLE;
        }
    }
    c->top = c->legends + WTL_SVG_LEGEND_ROW * rows + 8;
    c->bottom = c->top + (double)ROW * (c->bars->bar_count > 1 ? c->bars->bar_count : 1);
    c->height = c->bottom + BELOW;
}

/* The name of a bar, cut with a sign that it goes on. */
static void put_name(const canvas *c, int bar, double y)
{
    const char *name = wtl_svg_or_empty(c->bars->names[bar]);
    char cut[4 * MOST_LETTERS + 8];
    size_t used = 0;
    if (wtl_svg_letters(name, MOST_LETTERS + 1) > MOST_LETTERS) {
        int letters = 0;
        while (used < 4 * MOST_LETTERS) {
            letters += ((unsigned char)name[used] & 0xc0) != 0x80;
            if (letters == MOST_LETTERS) {
                break;
            }
            cut[used] = name[used];
            used++;
        }
        snprintf(cut + used, sizeof cut - used, "\xe2\x80\xa6");
        name = cut;
    }
    wtl_svg_put_text(c->out, " class=\"wtl-tick\" text-anchor=\"end\"", c->names - NAME_GAP, y,
                     name);
}

static void put_axis(const canvas *c, int view)
{
    double left = left_of(c, view), right = left + VIEW_WIDTH;
    for (int i = 0; i < c->x.ticks; i++) {
        double x = place_x(c, view, c->x.tick[i]);
        wtl_text_printf(c->out, "<path class=\"wtl-grid\" d=\"M%.2f %.2fV%.2f\"/>\n", x, c->top,
                        c->bottom);
        wtl_svg_put_text(c->out, " class=\"wtl-tick\" text-anchor=\"middle\"", x,
                         c->bottom + 19, c->x.label[i]);
    }
    wtl_svg_put_text(c->out, " text-anchor=\"middle\"", (left + right) / 2, c->bottom + 42,
                     wtl_svg_or_empty(c->bars->x_label));
}

static void put_bars(const canvas *c, int v)
{
    const wtl_bars_view *view = &c->bars->views[v];
    for (int b = 0; b < c->bars->bar_count; b++) {
        double sum = 0, y = c->top + (double)ROW * b + (ROW - BAR) / 2.0;
        for (int p = 0; p < view->part_count; p++) {
            double from = place_x(c, v, sum);
            sum += part_of(view, b, p);
            double width = place_x(c, v, sum) - from;
            if (width >= 0.005) { /* what two decimals show */
                wtl_text_printf(c->out,
                                "<rect class=\"wtl-f%d\" x=\"%.2f\" y=\"%.2f\" "
                                "width=\"%.2f\" height=\"%d\"/>\n",
                                p % WTL_SVG_COLOURS, from, y, width, BAR);
            }
        }
    }
    wtl_text_printf(c->out, "<path class=\"wtl-axis\" d=\"M%.2f %.2fV%.2f\"/>\n", left_of(c, v),
                    c->top, c->bottom);
}

static void put_view(const canvas *c, int v)
{
    const wtl_bars_view *view = &c->bars->views[v];
    double left = left_of(c, v);
    if (view->title) {
        wtl_svg_put_text(c->out, "", left, WTL_SVG_TITLE_HEIGHT + 12, view->title);
    }
    (void)wtl_svg_legend(c->out, view->parts, view->part_count, left, left + VIEW_WIDTH,
                         c->legends, true);
    put_axis(c, v);
    put_bars(c, v);
}

void wtl_svg_bars(wtl_text *out, const wtl_bars *bars)
{
    canvas c = {.out = out, .bars = bars};
    double longest = longest_bar(bars);
    c.x.high = longest > 0 ? fmax(longest, 1 / WTL_SVG_LARGEST) : 1;
    wtl_svg_linear_ticks(&c.x, 5, true);
    place_rows(&c);
    int views = bars->view_count > 1 ? bars->view_count : 1;
    wtl_svg_begin(out, c.names + views * (VIEW_WIDTH + BETWEEN), c.height, bars->title, true);
    wtl_svg_put_text(out, " class=\"wtl-title\"", 24, 24, wtl_svg_or_empty(bars->title));
    for (int v = 0; v < bars->view_count; v++) {
        put_view(&c, v);
    }
    for (int b = 0; b < bars->bar_count; b++) {
        put_name(&c, b, c.top + (double)ROW * b + ROW / 2.0 + 4);
    }
    if (longest <= 0) {
        wtl_svg_put_text(out, " text-anchor=\"middle\"", c.names + VIEW_WIDTH / 2.0,
                         (c.top + c.bottom) / 2 + 4, "no data");
    }
    wtl_text_printf(out, "</svg>\n");
}
