/* svg.c - line plots as SVG text.
 *
 * Coordinates are pixels of a fixed canvas with two decimals, so bytes do not depend on the
 * last bits of a sum. Colours sit in CSS classes with a second set for dark surroundings;
 * the canvas is painted, so that text and ground always belong together.
 */
#include "svg_parts.h"

#include <math.h>

enum {
    WIDTH = 640,
    LEFT = 60, /* of the plot area, at least */
    RIGHT = 616,
    PLOT_HEIGHT = 260,
    BELOW = 52,         /* room for tick labels and the x label */
    LEGEND_SAMPLE = 30, /* the piece of line before a name, with its gap */
};

typedef struct canvas {
    wtl_text *out;
    const wtl_plot *plot;
    wtl_svg_area area;
} canvas;

/* ---- axes ---- */

/* Whether point i is drawn; *x, *y are in plotted units. */
static bool point_of(const wtl_series *series, int i, bool log_y, double *x, double *y)
{
    *x = series->x[i];
    *y = series->y[i];
    if (!(fabs(*x) <= WTL_SVG_LARGEST) || !(fabs(*y) <= WTL_SVG_LARGEST) ||
        (log_y && *y <= 0)) {
        return false;
    }
    *y = log_y ? log10(*y) : *y;
    return true;
}

static void span_data(canvas *c)
{
    c->area.x.low = c->area.y.low = INFINITY;
    c->area.x.high = c->area.y.high = -INFINITY;
    c->area.x.whole = true; /* epochs, rounds */
    for (int s = 0; s < c->plot->series_count; s++) {
        for (int i = 0; i < c->plot->series[s].count; i++) {
            double x, y;
            if (point_of(&c->plot->series[s], i, c->plot->log_y, &x, &y)) {
                c->area.x.low = fmin(c->area.x.low, x);
                c->area.x.high = fmax(c->area.x.high, x);
                c->area.x.whole = c->area.x.whole && x == floor(x);
                c->area.y.low = fmin(c->area.y.low, y);
                c->area.y.high = fmax(c->area.y.high, y);
            }
        }
    }
}

/* ---- lines ---- */

static void put_line_class(wtl_text *out, const wtl_plot *plot, int index)
{
    wtl_text_printf(out, "<path class=\"wtl-line wtl-s%d%s\" d=\"", index % WTL_SVG_COLOURS,
                    plot->series[index].dashed ? " wtl-dashed" : "");
}

/* The line of a series, or its points that have no neighbour to draw a line to: those are
 * lines of length 0, whose round caps make dots. */
static void put_points(const canvas *c, int index, bool dots)
{
    const wtl_series *series = &c->plot->series[index];
    bool before = false;
    for (int i = 0; i < series->count; i++) {
        double x, y, next_x, next_y;
        bool here = point_of(series, i, c->plot->log_y, &x, &y);
        bool after =
            i + 1 < series->count && point_of(series, i + 1, c->plot->log_y, &next_x, &next_y);
        if (here && dots == (!before && !after)) {
            wtl_text_printf(c->out, "%c%.2f %.2f%s", before ? 'L' : 'M',
                            wtl_svg_place_x(&c->area, x), wtl_svg_place_y(&c->area, y),
                            dots ? "h0" : "");
        }
        before = here;
    }
}

static void put_line(const canvas *c, int index)
{
    put_line_class(c->out, c->plot, index);
    put_points(c, index, false);
    wtl_text_printf(c->out, "\"/>\n<path class=\"wtl-dot wtl-s%d\" d=\"",
                    index % WTL_SVG_COLOURS);
    put_points(c, index, true);
    wtl_text_printf(c->out, "\"/>\n");
}

/* Names in rows under the title; returns the rows. Draws only with `draw`. */
static int put_legend(const canvas *c, bool draw)
{
    int row = 0, left = (int)c->area.left, at = left;
    for (int s = 0; s < c->plot->series_count; s++) {
        const char *name = wtl_svg_or_empty(c->plot->series[s].name);
        int width = LEGEND_SAMPLE + WTL_SVG_LETTER * wtl_svg_letters(name, WIDTH) + 16;
        if (at > left && at + width > RIGHT) {
            at = left;
            row++;
        }
        if (draw) {
            double y = WTL_SVG_TITLE_HEIGHT + WTL_SVG_LEGEND_ROW * row + 8;
            put_line_class(c->out, c->plot, s);
            wtl_text_printf(c->out, "M%d %.2fh22\"/>\n", at, y);
            wtl_svg_put_text(c->out, "", at + LEGEND_SAMPLE, y + 4, name);
        }
        at += width;
    }
    return c->plot->series_count > 0 ? row + 1 : 0;
}

/* As far right as the longest label asks, as far down as the legend does. */
static void place_area(canvas *c)
{
    c->area.left = wtl_svg_left(&c->area.y, LEFT, WIDTH);
    c->area.right = RIGHT;
    c->area.top = WTL_SVG_TITLE_HEIGHT + WTL_SVG_LEGEND_ROW * put_legend(c, false) + 8;
    c->area.bottom = c->area.top + PLOT_HEIGHT;
}

void wtl_svg_lines(wtl_text *out, const wtl_plot *plot)
{
    canvas c = {.out = out, .plot = plot};
    span_data(&c);
    bool empty = c.area.x.low > c.area.x.high;
    c.area.y.log = plot->log_y && !empty;
    wtl_svg_widen(&c.area.x);
    wtl_svg_widen(&c.area.y);
    wtl_svg_linear_ticks(&c.area.x, 8, false);
    if (c.area.y.log) {
        wtl_svg_log_ticks(&c.area.y);
    } else {
        wtl_svg_linear_ticks(&c.area.y, 6, true);
    }
    place_area(&c);
    double height = c.area.bottom + BELOW;
    wtl_svg_begin(out, WIDTH, height, plot->title, false);
    wtl_svg_put_text(out, " class=\"wtl-title\"", c.area.left, 24,
                     wtl_svg_or_empty(plot->title));
    (void)put_legend(&c, true);
    wtl_svg_put_axes(out, &c.area, c.plot->x_label, c.plot->y_label, false);
    if (empty) {
        wtl_svg_put_text(out, " text-anchor=\"middle\"", (c.area.left + RIGHT) / 2,
                         (c.area.top + c.area.bottom) / 2, "no data");
    }
    for (int s = 0; s < plot->series_count; s++) {
        put_line(&c, s);
    }
    wtl_text_printf(out, "</svg>\n");
}
