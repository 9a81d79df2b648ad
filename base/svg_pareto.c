/* svg_pareto.c - lines and their single results over a logarithmic cost. */
#include "svg_parts.h"

#include <math.h>
#include <stdio.h>

enum {
    WIDTH = 720,
    LEFT = 60, /* of the plot area, at least */
    RIGHT = 690,
    PLOT_HEIGHT = 380,
    BELOW = 52,  /* room for tick labels and the x label */
    SAMPLE = 30, /* of a legend: the mark and its gap */
    APART = 16,
    DOT = 3,
    RING = 5,
    SQUARE = 10,
    FOREIGN = 7 /* the colour of what is of no method */
};

typedef struct canvas {
    wtl_text *out;
    const wtl_pareto *plot;
    wtl_svg_area area;
} canvas;

/* ---- axes ---- */

/* Whether a point can be placed; *x, *y are in plotted units. */
static bool point_of(double from_x, double from_y, double *x, double *y)
{
    if (!(from_x >= 1 / WTL_SVG_LARGEST && from_x <= WTL_SVG_LARGEST) ||
        !(fabs(from_y) <= WTL_SVG_LARGEST)) {
        return false;
    }
    *x = log10(from_x);
    *y = from_y;
    return true;
}

static void span_point(canvas *c, double from_x, double from_y)
{
    double x, y;
    if (point_of(from_x, from_y, &x, &y)) {
        y = y < c->plot->least_y ? c->plot->least_y : y;
        c->area.x.low = fmin(c->area.x.low, x);
        c->area.x.high = fmax(c->area.x.high, x);
        c->area.y.low = fmin(c->area.y.low, y);
        c->area.y.high = fmax(c->area.y.high, y);
    }
}

static void span_data(canvas *c)
{
    const wtl_pareto *p = c->plot;
    c->area.x.low = c->area.y.low = INFINITY;
    c->area.x.high = c->area.y.high = -INFINITY;
    for (int k = 0; k < p->curve_count; k++) {
        for (int i = 0; i < p->curves[k].count; i++) {
            span_point(c, p->curves[k].x[i], p->curves[k].y[i]);
        }
        for (int i = 0; i < p->curves[k].dot_count; i++) {
            span_point(c, p->curves[k].dot_x[i], p->curves[k].dot_y[i]);
        }
    }
    for (int i = 0; p->foreign && i < p->foreign_count; i++) {
        span_point(c, p->foreign_x[i], p->foreign_y[i]);
    }
    if (p->origin) {
        span_point(c, p->origin_x, p->origin_y);
    }
    if (p->limit && c->area.y.low <= c->area.y.high) {
        span_point(c, p->limit_x, c->area.y.high);
    }
}

/* Within a decade every digit has its mark. */
static void fine_ticks(wtl_svg_axis *x)
{
    if (x->high - x->low > 1 + 1e-9) {
        return;
    }
    x->ticks = 0;
    for (int decade = (int)floor(x->low); decade <= (int)ceil(x->high); decade++) {
        for (int lead = 1; lead < 10; lead++) {
            double place = decade + log10(lead);
            if (place >= x->low - 1e-9 && place <= x->high + 1e-9) {
                snprintf(x->label[x->ticks], sizeof x->label[0], "%.6g",
                         lead * pow(10, decade));
                x->tick[x->ticks++] = place;
            }
        }
    }
}

/* Both in pixels; false for a point that is not drawn. */
static bool place(const canvas *c, double from_x, double from_y, double *x, double *y)
{
    if (!point_of(from_x, from_y, x, y) || *y < c->area.y.low) {
        return false;
    }
    *x = wtl_svg_place_x(&c->area, *x);
    *y = wtl_svg_place_y(&c->area, *y);
    return true;
}

/* ---- marks ---- */

static void put_dot(const canvas *c, int colour, double x, double y)
{
    wtl_text_printf(c->out,
                    "<circle class=\"wtl-f%d\" fill-opacity=\"0.6\" cx=\"%.2f\" cy=\"%.2f\" "
                    "r=\"%d\"/>\n",
                    colour, x, y, DOT);
}

static void put_ring(const canvas *c, double x, double y)
{
    wtl_text_printf(c->out,
                    "<circle class=\"wtl-ground wtl-s%d\" stroke-width=\"2\" cx=\"%.2f\" "
                    "cy=\"%.2f\" r=\"%d\"/>\n",
                    FOREIGN, x, y, RING);
}

static void put_square(const canvas *c, double x, double y)
{
    wtl_text_printf(c->out,
                    "<rect class=\"wtl-f%d\" x=\"%.2f\" y=\"%.2f\" width=\"%d\" "
                    "height=\"%d\"/>\n",
                    FOREIGN, x - SQUARE / 2.0, y - SQUARE / 2.0, SQUARE, SQUARE);
}

/* ---- lines ---- */

/* From (x0, y0) to (x1, y1), in plotted units, as far as it is above the lower edge. */
static void put_piece(const canvas *c, double x0, double y0, double x1, double y1)
{
    double low = c->area.y.low;
    if (y0 < low && y1 < low) {
        return;
    }
    double t = (low - y0) / (y1 - y0); /* used only where one end is below */
    double cut = x0 + t * (x1 - x0);
    bool below0 = y0 < low, below1 = y1 < low;
    wtl_text_printf(c->out, "M%.2f %.2fL%.2f %.2f",
                    wtl_svg_place_x(&c->area, below0 ? cut : x0),
                    wtl_svg_place_y(&c->area, below0 ? low : y0),
                    wtl_svg_place_x(&c->area, below1 ? cut : x1),
                    wtl_svg_place_y(&c->area, below1 ? low : y1));
}

static void put_line(const canvas *c, int index)
{
    const wtl_curve *curve = &c->plot->curves[index];
    bool begun = false;
    double before_x = 0, before_y = 0;
    wtl_text_printf(c->out, "<path class=\"wtl-line wtl-s%d\" d=\"", index % WTL_SVG_COLOURS);
    for (int i = 0; i < curve->count; i++) {
        double x, y;
        if (point_of(curve->x[i], curve->y[i], &x, &y)) {
            if (begun) {
                put_piece(c, before_x, before_y, x, y);
            }
            before_x = x;
            before_y = y;
            begun = true;
        }
    }
    wtl_text_printf(c->out, "\"/>\n");
}

static void put_dots(const canvas *c, int index)
{
    const wtl_curve *curve = &c->plot->curves[index];
    double x, y;
    for (int i = 0; i < curve->dot_count; i++) {
        if (place(c, curve->dot_x[i], curve->dot_y[i], &x, &y)) {
            put_dot(c, index % WTL_SVG_COLOURS, x, y);
        }
    }
}

/* The label is left of its ring where there is no room to the right. */
static void put_foreign(const canvas *c, int i)
{
    double x, y;
    if (!place(c, c->plot->foreign_x[i], c->plot->foreign_y[i], &x, &y)) {
        return;
    }
    const char *label =
        wtl_svg_or_empty(c->plot->foreign_labels ? c->plot->foreign_labels[i] : NULL);
    bool right = x + 10 + WTL_SVG_LETTER * wtl_svg_letters(label, WIDTH) <= RIGHT;
    put_ring(c, x, y);
    wtl_svg_put_text(c->out,
                     right ? " class=\"wtl-tick\"" : " class=\"wtl-tick\" text-anchor=\"end\"",
                     right ? x + 10 : x - 10, y + 4, label);
}

static void put_limit(const canvas *c)
{
    double x, y;
    if (point_of(c->plot->limit_x, 0, &x, &y)) {
        wtl_text_printf(c->out, "<path class=\"wtl-axis wtl-dashed\" d=\"M%.2f %.2fV%.2f\"/>\n",
                        wtl_svg_place_x(&c->area, x), c->area.top, c->area.bottom);
    }
}

/* Lines over the limit, results over lines, the origin on top. */
static void put_data(const canvas *c)
{
    const wtl_pareto *p = c->plot;
    if (p->limit) {
        put_limit(c);
    }
    for (int k = 0; k < p->curve_count; k++) {
        put_line(c, k);
    }
    for (int k = 0; k < p->curve_count; k++) {
        put_dots(c, k);
    }
    for (int i = 0; p->foreign && i < p->foreign_count; i++) {
        put_foreign(c, i);
    }
    double x, y;
    if (p->origin && place(c, p->origin_x, p->origin_y, &x, &y)) {
        put_square(c, x, y);
    }
}

/* ---- legend ---- */

typedef struct legend {
    const canvas *c;
    double at;
    int row;
    bool draw;
} legend;

/* Make room for a name; *y is the middle of its line. Returns where its mark begins. */
static double next_entry(legend *l, const char *name, double *y)
{
    double width = SAMPLE + WTL_SVG_LETTER * wtl_svg_letters(name, WIDTH) + APART;
    if (l->at > l->c->area.left && l->at + width - APART > RIGHT) {
        l->at = l->c->area.left;
        l->row++;
    }
    double begin = l->at;
    *y = WTL_SVG_TITLE_HEIGHT + WTL_SVG_LEGEND_ROW * l->row + 8;
    l->at += width;
    if (l->draw) {
        wtl_svg_put_text(l->c->out, "", begin + SAMPLE, *y + 4, name);
    }
    return begin;
}

static void put_curve_entry(legend *l, int index)
{
    double y;
    double x = next_entry(l, wtl_svg_or_empty(l->c->plot->curves[index].name), &y);
    if (l->draw) {
        int colour = index % WTL_SVG_COLOURS;
        wtl_text_printf(l->c->out, "<path class=\"wtl-line wtl-s%d\" d=\"M%.2f %.2fh22\"/>\n",
                        colour, x, y);
        put_dot(l->c, colour, x + 11, y);
    }
}

static void put_other_entries(legend *l)
{
    const wtl_pareto *p = l->c->plot;
    double x, y;
    if (p->origin) {
        x = next_entry(l, p->origin, &y);
        if (l->draw) {
            put_square(l->c, x + 11, y);
        }
    }
    if (p->limit) {
        x = next_entry(l, p->limit, &y);
        if (l->draw) {
            wtl_text_printf(l->c->out,
                            "<path class=\"wtl-axis wtl-dashed\" d=\"M%.2f %.2fv16\"/>\n",
                            x + 11, y - 8);
        }
    }
    if (p->foreign) {
        x = next_entry(l, p->foreign, &y);
        if (l->draw) {
            put_ring(l->c, x + 11, y);
        }
    }
}

/* Names in rows under the title; returns the rows. */
static int put_legend(const canvas *c, bool draw)
{
    legend l = {c, c->area.left, 0, draw};
    for (int k = 0; k < c->plot->curve_count; k++) {
        put_curve_entry(&l, k);
    }
    put_other_entries(&l);
    return l.at > c->area.left ? l.row + 1 : 0;
}

/* ---- the picture ---- */

static void place_area(canvas *c)
{
    c->area.left = wtl_svg_left(&c->area.y, LEFT, WIDTH);
    c->area.right = RIGHT;
    c->area.top = WTL_SVG_TITLE_HEIGHT + WTL_SVG_LEGEND_ROW * put_legend(c, false) + 12;
    c->area.bottom = c->area.top + PLOT_HEIGHT;
}

void wtl_svg_pareto(wtl_text *out, const wtl_pareto *pareto)
{
    canvas c = {.out = out, .plot = pareto};
    span_data(&c);
    bool empty = c.area.x.low > c.area.x.high;
    c.area.x.log = true;
    wtl_svg_widen(&c.area.x);
    wtl_svg_widen(&c.area.y);
    wtl_svg_log_ticks(&c.area.x);
    fine_ticks(&c.area.x);
    wtl_svg_linear_ticks(&c.area.y, 8, true);
    place_area(&c);
    wtl_svg_begin(out, WIDTH, c.area.bottom + BELOW, pareto->title, true);
    wtl_svg_put_text(out, " class=\"wtl-title\"", c.area.left, 24,
                     wtl_svg_or_empty(pareto->title));
    (void)put_legend(&c, true);
    wtl_svg_put_axes(out, &c.area, c.plot->x_label, c.plot->y_label, true);
    if (empty) {
        wtl_svg_put_text(out, " text-anchor=\"middle\"", (c.area.left + RIGHT) / 2,
                         (c.area.top + c.area.bottom) / 2, "no data");
    } else {
        put_data(&c);
    }
    wtl_text_printf(out, "</svg>\n");
}
