/* svg_scatter.c - points over logarithmic axes, one y over several x beside each other. */
#include "svg_parts.h"

#include <math.h>
#include <stdio.h>

enum {
    LEFT = 66, /* of the first view, at least */
    VIEW_WIDTH = 400,
    PLOT_HEIGHT = 340,
    BETWEEN = 36, /* two views, and right of the last */
    BELOW = 52,   /* room for tick labels and the x label */
    RADIUS = 4,
    LINE = 12, /* of labels */
    MOST_LABELS = 64
};

typedef struct box {
    double left, right, y; /* of a label's base line */
} box;

typedef struct canvas {
    wtl_text *out;
    const wtl_scatter *plot;
    wtl_svg_axis x, y; /* x of the view being drawn */
    double left;       /* of that view */
    double first_left, top, bottom;
    box labels[MOST_LABELS];
    int label_count;
} canvas;

/* ---- axes ---- */

static bool drawable(double value)
{
    return value >= 1 / WTL_SVG_LARGEST && value <= WTL_SVG_LARGEST;
}

static bool point_of(const canvas *c, const wtl_scatter_view *view, int i, double *x, double *y)
{
    if (!drawable(view->x[i]) || !drawable(c->plot->y[i])) {
        return false;
    }
    *x = log10(view->x[i]);
    *y = log10(c->plot->y[i]);
    return true;
}

/* False where there is no point. */
static bool span(const canvas *c, const wtl_scatter_view *view, wtl_svg_axis *x,
                 wtl_svg_axis *y)
{
    bool any = false;
    for (int i = 0; i < c->plot->count; i++) {
        double at_x, at_y;
        if (point_of(c, view, i, &at_x, &at_y)) {
            x->low = fmin(x->low, at_x);
            x->high = fmax(x->high, at_x);
            y->low = fmin(y->low, at_y);
            y->high = fmax(y->high, at_y);
            any = true;
        }
    }
    return any;
}

/* Thousands, millions, ... as k, M, ... */
static void shorten_labels(wtl_svg_axis *axis)
{
    static const char units[] = "kMGT";
    for (int i = 0; i < axis->ticks; i++) {
        int decade = (int)floor(axis->tick[i] + 1e-9), unit = decade / 3;
        if (decade >= 3 && unit <= 4) {
            snprintf(axis->label[i], sizeof axis->label[i], "%.3g%c",
                     pow(10, axis->tick[i] - 3 * unit), units[unit - 1]);
        }
    }
}

static void log_axis(wtl_svg_axis *axis)
{
    axis->log = true;
    wtl_svg_widen(axis);
    wtl_svg_log_ticks(axis);
    shorten_labels(axis);
}

static double place_x(const canvas *c, double x)
{
    return c->left + (x - c->x.low) / (c->x.high - c->x.low) * VIEW_WIDTH;
}

static double place_y(const canvas *c, double y)
{
    return c->bottom - (y - c->y.low) / (c->y.high - c->y.low) * (c->bottom - c->top);
}

static void put_axes(const canvas *c, const wtl_scatter_view *view, bool first)
{
    double right = c->left + VIEW_WIDTH;
    for (int i = 0; i < c->y.ticks; i++) {
        double y = place_y(c, c->y.tick[i]);
        wtl_text_printf(c->out, "<path class=\"wtl-grid\" d=\"M%.2f %.2fH%.2f\"/>\n", c->left,
                        y, right);
        if (first) {
            wtl_svg_put_text(c->out, " class=\"wtl-tick\" text-anchor=\"end\"", c->left - 8,
                             y + 4, c->y.label[i]);
        }
    }
    for (int i = 0; i < c->x.ticks; i++) {
        double x = place_x(c, c->x.tick[i]);
        wtl_text_printf(c->out, "<path class=\"wtl-axis\" d=\"M%.2f %.2fv5\"/>\n", x,
                        c->bottom);
        wtl_svg_put_text(c->out, " class=\"wtl-tick\" text-anchor=\"middle\"", x,
                         c->bottom + 19, c->x.label[i]);
    }
    wtl_text_printf(c->out, "<path class=\"wtl-axis\" d=\"M%.2f %.2fV%.2fH%.2f\"/>\n", c->left,
                    c->top, c->bottom, right);
    wtl_svg_put_text(c->out, " text-anchor=\"middle\"", (c->left + right) / 2, c->bottom + 42,
                     wtl_svg_or_empty(view->x_label));
}

/* ---- points ---- */

/* Where y is x times the quotient of their sums. */
static void put_proportion(const canvas *c, const wtl_scatter_view *view)
{
    double sum_x = 0, sum_y = 0, x, y;
    for (int i = 0; i < c->plot->count; i++) {
        if (point_of(c, view, i, &x, &y)) {
            sum_x += view->x[i];
            sum_y += c->plot->y[i];
        }
    }
    double shift = log10(sum_y) - log10(sum_x);
    double from = fmax(c->x.low, c->y.low - shift), to = fmin(c->x.high, c->y.high - shift);
    if (from < to) {
        wtl_text_printf(
            c->out, "<path class=\"wtl-axis wtl-dashed\" d=\"M%.2f %.2fL%.2f %.2f\"/>\n",
            place_x(c, from), place_y(c, from + shift), place_x(c, to), place_y(c, to + shift));
    }
}

static bool covers_point(const canvas *c, const wtl_scatter_view *view, const box *label)
{
    double x, y;
    for (int i = 0; i < c->plot->count; i++) {
        if (point_of(c, view, i, &x, &y)) {
            x = place_x(c, x);
            y = place_y(c, y);
            if (x + RADIUS > label->left && x - RADIUS < label->right &&
                y + RADIUS > label->y - LINE + 3 && y - RADIUS < label->y + 3) {
                return true;
            }
        }
    }
    return false;
}

static bool is_free(const canvas *c, const wtl_scatter_view *view, const box *label)
{
    if (label->left < c->left || label->right > c->left + VIEW_WIDTH || label->y < c->top ||
        label->y > c->bottom) {
        return false;
    }
    for (int i = 0; i < c->label_count; i++) {
        const box *other = &c->labels[i];
        if (label->left < other->right && other->left < label->right &&
            fabs(label->y - other->y) < LINE) {
            return false;
        }
    }
    return !covers_point(c, view, label);
}

/* Right or left of the point, level with it or a line below or above, wherever nothing is
 * covered; else nowhere. */
static void put_label(canvas *c, const wtl_scatter_view *view, double x, double y,
                      const char *name)
{
    static const int below[] = {0, 0, 8, 8, -8, -8};
    double width = WTL_SVG_LETTER * wtl_svg_letters(name, VIEW_WIDTH);
    for (int k = 0; k < 6 && c->label_count < MOST_LABELS; k++) {
        bool before = k % 2;
        double edge = before ? x - 8 : x + 8;
        box label = {before ? edge - width : edge, before ? edge : edge + width,
                     y + 4 + below[k]};
        if (is_free(c, view, &label)) {
            wtl_svg_put_text(c->out,
                             before ? " class=\"wtl-tick\" text-anchor=\"end\""
                                    : " class=\"wtl-tick\"",
                             edge, label.y, name);
            c->labels[c->label_count++] = label;
            return;
        }
    }
}

static void put_points(canvas *c, const wtl_scatter_view *view)
{
    double x, y;
    for (int i = 0; i < c->plot->count; i++) {
        if (point_of(c, view, i, &x, &y)) {
            int colour = c->plot->group ? c->plot->group[i] % WTL_SVG_COLOURS : 0;
            wtl_text_printf(c->out,
                            "<circle class=\"wtl-f%d\" fill-opacity=\"0.8\" cx=\"%.2f\" "
                            "cy=\"%.2f\" r=\"%d\"/>\n",
                            colour, place_x(c, x), place_y(c, y), RADIUS);
        }
    }
    c->label_count = 0;
    for (int i = 0; c->plot->labels && i < c->plot->count; i++) {
        if (c->plot->labels[i] && point_of(c, view, i, &x, &y)) {
            put_label(c, view, place_x(c, x), place_y(c, y), c->plot->labels[i]);
        }
    }
}

static void put_view(canvas *c, int v)
{
    const wtl_scatter_view *view = &c->plot->views[v];
    wtl_svg_axis y = c->y;
    c->left = c->first_left + (double)v * (VIEW_WIDTH + BETWEEN);
    c->x = (wtl_svg_axis){.low = INFINITY, .high = -INFINITY};
    bool any = span(c, view, &c->x, &y);
    log_axis(&c->x);
    put_axes(c, view, v == 0);
    if (any) {
        put_proportion(c, view);
        put_points(c, view);
    } else {
        wtl_svg_put_text(c->out, " text-anchor=\"middle\"", c->left + VIEW_WIDTH / 2.0,
                         (c->top + c->bottom) / 2, "no data");
    }
}

/* The y axis is of all views. */
static void place_area(canvas *c)
{
    c->y = (wtl_svg_axis){.low = INFINITY, .high = -INFINITY};
    for (int v = 0; v < c->plot->view_count; v++) {
        wtl_svg_axis x = {.low = INFINITY, .high = -INFINITY};
        (void)span(c, &c->plot->views[v], &x, &c->y);
    }
    log_axis(&c->y);
    c->first_left = LEFT;
    for (int i = 0; i < c->y.ticks; i++) {
        c->first_left =
            fmax(c->first_left, 36 + WTL_SVG_LETTER * wtl_svg_letters(c->y.label[i], LEFT));
    }
    int rows = wtl_svg_legend(c->out, c->plot->groups, c->plot->group_count, c->first_left,
                              c->first_left + VIEW_WIDTH, 0, false);
    c->top = WTL_SVG_TITLE_HEIGHT + WTL_SVG_LEGEND_ROW * rows + 8;
    c->bottom = c->top + PLOT_HEIGHT;
}

void wtl_svg_scatter(wtl_text *out, const wtl_scatter *scatter)
{
    canvas c = {.out = out, .plot = scatter};
    place_area(&c);
    int views = scatter->view_count > 1 ? scatter->view_count : 1;
    wtl_svg_begin(out, (int)c.first_left + views * (VIEW_WIDTH + BETWEEN), c.bottom + BELOW,
                  scatter->title, true);
    wtl_svg_put_text(out, " class=\"wtl-title\"", c.first_left, 24,
                     wtl_svg_or_empty(scatter->title));
    (void)wtl_svg_legend(out, scatter->groups, scatter->group_count, c.first_left,
                         c.first_left + VIEW_WIDTH, WTL_SVG_TITLE_HEIGHT, true);
    wtl_text_printf(out,
                    "<text transform=\"translate(18 %.2f) rotate(-90)\" "
                    "text-anchor=\"middle\">",
                    (c.top + c.bottom) / 2);
    wtl_svg_escape(out, wtl_svg_or_empty(scatter->y_label));
    wtl_text_printf(out, "</text>\n");
    for (int v = 0; v < scatter->view_count; v++) {
        put_view(&c, v);
    }
    wtl_text_printf(out, "</svg>\n");
}
