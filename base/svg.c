/* svg.c - line plots as SVG text.
 *
 * Coordinates are pixels of a fixed canvas with two decimals, so bytes do not depend on the
 * last bits of a sum. Colours sit in CSS classes with a second set for dark surroundings;
 * the canvas is painted, so that text and ground always belong together.
 */
#include "wattle/svg.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    WIDTH = 640,
    LEFT = 60, /* of the plot area, at least */
    RIGHT = 616,
    PLOT_HEIGHT = 260,
    BELOW = 52, /* room for tick labels and the x label */
    TITLE_HEIGHT = 36,
    LEGEND_ROW = 20,
    LEGEND_SAMPLE = 30, /* the piece of line before a name, with its gap */
    LETTER = 7,         /* a generous average width at 12 px */
    COLOURS = 8,
    MOST_TICKS = 32
};

/* Beyond this (and below its inverse) differences and quotients could overflow. */
static const double LARGEST = 1e100;

typedef struct axis {
    double low, high; /* in plotted units: logarithms on a log axis */
    double tick[MOST_TICKS];
    char label[MOST_TICKS][24];
    int ticks;
    bool log;
    /* of labels: digits behind the point, or -1 for as many as it takes */
    int decimals;
    double unit;
    const char *unit_name;
} axis;

typedef struct canvas {
    wtl_text *out;
    const wtl_plot *plot;
    axis x, y;
    double left, top, bottom; /* of the plot area */
} canvas;

/* ---- text ---- */

/* Bytes of the UTF-8 sequence at `s` if XML may hold it, else 0. */
static size_t utf8_length(const unsigned char *s)
{
    if (s[0] < 0x80) {
        return s[0] >= 0x20 || s[0] == '\t' || s[0] == '\n' || s[0] == '\r';
    }
    size_t length = s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : 2;
    static const unsigned long least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned long code = s[0] & (0x7fu >> length);
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (s[i] & 0x3fu);
    }
    bool good = s[0] >= 0xc2 && s[0] <= 0xf4 && code >= least[length] && code <= 0x10ffff &&
                !(code >= 0xd800 && code <= 0xdfff) && code != 0xfffe && code != 0xffff;
    return good ? length : 0;
}

void wtl_svg_escape(wtl_text *out, const char *text)
{
    while (*text) {
        size_t length = utf8_length((const unsigned char *)text);
        if (length == 0) {
            wtl_text_put(out, "?", 1);
            length = 1;
        } else if (*text == '&') {
            wtl_text_put(out, "&amp;", 5);
        } else if (*text == '<') {
            wtl_text_put(out, "&lt;", 4);
        } else if (*text == '>') {
            wtl_text_put(out, "&gt;", 4);
        } else if (*text == '"') {
            wtl_text_put(out, "&quot;", 6);
        } else {
            wtl_text_put(out, text, length);
        }
        text += length;
    }
}

static const char *or_empty(const char *text)
{
    return text ? text : "";
}

static int letters(const char *text)
{
    int count = 0;
    for (; *text && count < WIDTH; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

static void put_text(wtl_text *out, const char *attributes, double x, double y,
                     const char *text)
{
    wtl_text_printf(out, "<text x=\"%.2f\" y=\"%.2f\"%s>", x, y, attributes);
    wtl_svg_escape(out, text);
    wtl_text_printf(out, "</text>\n");
}

/* ---- axes ---- */

/* Whether point i is drawn; *x, *y are in plotted units. */
static bool point_of(const wtl_series *series, int i, bool log_y, double *x, double *y)
{
    *x = series->x[i];
    *y = series->y[i];
    if (!(fabs(*x) <= LARGEST) || !(fabs(*y) <= LARGEST) || (log_y && *y <= 0)) {
        return false;
    }
    *y = log_y ? log10(*y) : *y;
    return true;
}

static void span_data(canvas *c)
{
    c->x.low = c->y.low = INFINITY;
    c->x.high = c->y.high = -INFINITY;
    for (int s = 0; s < c->plot->series_count; s++) {
        for (int i = 0; i < c->plot->series[s].count; i++) {
            double x, y;
            if (point_of(&c->plot->series[s], i, c->plot->log_y, &x, &y)) {
                c->x.low = fmin(c->x.low, x);
                c->x.high = fmax(c->x.high, x);
                c->y.low = fmin(c->y.low, y);
                c->y.high = fmax(c->y.high, y);
            }
        }
    }
}

/* A range of one point, or of none, still needs a width. */
static void widen(axis *a)
{
    if (a->low > a->high) {
        a->low = 0;
        a->high = 1;
    }
    double least = fmax(fmax(fabs(a->low), fabs(a->high)) * 1e-9, 1 / LARGEST);
    if (a->high - a->low <= least) {
        double by = a->log ? 1 : fabs(a->low) * 0.1;
        by = by > least ? by : 1;
        a->low -= by;
        a->high += by;
    }
}

/* 1, 2 or 5 times a power of ten: at most about `wanted` steps cover the range. */
static double nice_step(double range, int wanted)
{
    double rough = range / wanted, power = pow(10, floor(log10(rough)));
    double lead = rough / power;
    return power * (lead <= 1.0001 ? 1 : lead <= 2.0001 ? 2 : lead <= 5.0001 ? 5 : 10);
}

/* "1e-05" as "1e-5", "1e+06" as "1e6". */
static void shorten_exponent(char *label)
{
    char *e = strchr(label, 'e');
    if (e) {
        char *from = e + 1, *to = e + 1;
        if (*from == '-') {
            from++;
            to++;
        }
        from += strspn(from, "+0");
        memmove(to, from, strlen(from) + 1);
    }
}

static void add_tick(axis *a, double place, double value)
{
    if (a->ticks < MOST_TICKS) {
        char *label = a->label[a->ticks];
        if (a->decimals >= 0) {
            snprintf(label, sizeof a->label[0], "%.*f%s", a->decimals, value / a->unit,
                     value != 0 ? a->unit_name : "");
        } else {
            snprintf(label, sizeof a->label[0], "%.6g", value);
            shorten_exponent(label);
        }
        a->tick[a->ticks++] = place;
    }
}

/* Thousands, millions, ... where plain digits would be many. */
static void choose_unit(axis *a, double step)
{
    static const struct {
        double size;
        const char *name;
    } units[] = {{1, ""}, {1e3, "k"}, {1e6, "M"}, {1e9, "G"}, {1e12, "T"}};
    double largest = fmax(fabs(a->low), fabs(a->high));
    int i = 0;
    while (i < 4 && largest >= (i == 0 ? 1e5 : units[i + 1].size)) {
        i++;
    }
    a->unit = units[i].size;
    a->unit_name = units[i].name;
    a->decimals = (int)fmax(0, ceil(-log10(step / a->unit) - 1e-9));
    if (a->decimals > 6 || largest >= 1e15) {
        a->decimals = -1;
    }
}

/* Ticks at multiples of a nice step inside the range, which `snap` first widens to such
 * multiples. */
static void linear_ticks(axis *a, int wanted, bool snap)
{
    double step = nice_step(a->high - a->low, wanted);
    if (snap) {
        a->low = floor(a->low / step + 1e-9) * step;
        a->high = ceil(a->high / step - 1e-9) * step;
    }
    double first = ceil(a->low / step - 1e-9), last = floor(a->high / step + 1e-9);
    choose_unit(a, step);
    for (double i = first; i <= last; i++) {
        double value = i == 0 ? 0 : i * step; /* no "-0" */
        add_tick(a, value, value);
    }
}

/* Decades, with 2 and 5 between where the range is short. */
static void log_ticks(axis *a)
{
    static const double leads[] = {1, 2, 5};
    int first = (int)floor(a->low + 1e-9), last = (int)ceil(a->high - 1e-9);
    last = last > first ? last : first + 1;
    double low = first, high = last;
    for (int lead = 1; lead < 3; lead++) { /* the tightest marks round the data */
        double mark = log10(leads[lead]);
        low = first + mark <= a->low + 1e-9 ? first + mark : low;
    }
    for (int lead = 2; lead > 0; lead--) {
        double mark = log10(leads[lead]);
        high = last - 1 + mark >= a->high - 1e-9 ? last - 1 + mark : high;
    }
    a->low = low;
    a->high = high;
    a->decimals = -1;
    int every = (last - first) / 8 + 1, fine = last - first <= 3 ? 3 : 1;
    for (int decade = first; decade <= last; decade += every) {
        for (int lead = 0; lead < fine; lead++) {
            double place = decade + log10(leads[lead]);
            if (place >= low - 1e-9 && place <= high + 1e-9) {
                add_tick(a, place, leads[lead] * pow(10, decade));
            }
        }
    }
}

static double place_x(const canvas *c, double x)
{
    return c->left + (x - c->x.low) / (c->x.high - c->x.low) * (RIGHT - c->left);
}

static double place_y(const canvas *c, double y)
{
    return c->bottom - (y - c->y.low) / (c->y.high - c->y.low) * (c->bottom - c->top);
}

static void put_axes(const canvas *c)
{
    wtl_text *out = c->out;
    for (int i = 0; i < c->y.ticks; i++) {
        double y = place_y(c, c->y.tick[i]);
        wtl_text_printf(out, "<path class=\"wtl-grid\" d=\"M%.2f %.2fH%d\"/>\n", c->left, y,
                        RIGHT);
        put_text(out, " class=\"wtl-tick\" text-anchor=\"end\"", c->left - 8, y + 4,
                 c->y.label[i]);
    }
    for (int i = 0; i < c->x.ticks; i++) {
        double x = place_x(c, c->x.tick[i]);
        wtl_text_printf(out, "<path class=\"wtl-axis\" d=\"M%.2f %.2fv5\"/>\n", x, c->bottom);
        put_text(out, " class=\"wtl-tick\" text-anchor=\"middle\"", x, c->bottom + 19,
                 c->x.label[i]);
    }
    wtl_text_printf(out, "<path class=\"wtl-axis\" d=\"M%.2f %.2fV%.2fH%d\"/>\n", c->left,
                    c->top, c->bottom, RIGHT);
    double middle = (c->top + c->bottom) / 2;
    put_text(out, " text-anchor=\"middle\"", (c->left + RIGHT) / 2, c->bottom + 42,
             or_empty(c->plot->x_label));
    wtl_text_printf(out,
                    "<text transform=\"translate(18 %.2f) rotate(-90)\" "
                    "text-anchor=\"middle\">",
                    middle);
    wtl_svg_escape(out, or_empty(c->plot->y_label));
    wtl_text_printf(out, "</text>\n");
}

/* ---- lines ---- */

static void put_style(wtl_text *out)
{
    static const char *const light[COLOURS] = {"#0b62b5", "#c4510b", "#13805c", "#a3368b",
                                               "#7a5b00", "#c0263a", "#5b4fc7", "#4d5560"};
    static const char *const dark[COLOURS] = {"#6cb6ff", "#ff9d5c", "#4fd1a5", "#f08bd8",
                                              "#e3c34d", "#ff8087", "#b3a7ff", "#b4bcc6"};
    wtl_text_printf(out,
                    "<style>\n"
                    ".wtl-plot text{fill:#22262b;font:12px sans-serif}\n"
                    ".wtl-plot .wtl-title{font-size:15px;font-weight:bold}\n"
                    ".wtl-plot .wtl-tick{font-size:11px;fill:#565d66}\n"
                    ".wtl-plot path{fill:none;stroke-linecap:round;stroke-linejoin:round}\n"
                    ".wtl-ground{fill:#ffffff}\n"
                    ".wtl-grid{stroke:#e3e6ea}\n"
                    ".wtl-axis{stroke:#7d858f}\n"
                    ".wtl-line{stroke-width:2}\n"
                    ".wtl-dot{stroke-width:6}\n"
                    ".wtl-dashed{stroke-dasharray:5 5}\n");
    for (int i = 0; i < COLOURS; i++) {
        wtl_text_printf(out, ".wtl-s%d{stroke:%s}\n", i, light[i]);
    }
    wtl_text_printf(out, "@media (prefers-color-scheme:dark){\n"
                         ".wtl-plot text{fill:#e4e7eb}\n"
                         ".wtl-plot .wtl-tick{fill:#a7aeb8}\n"
                         ".wtl-ground{fill:#16191d}\n"
                         ".wtl-grid{stroke:#2c3138}\n"
                         ".wtl-axis{stroke:#79818b}\n");
    for (int i = 0; i < COLOURS; i++) {
        wtl_text_printf(out, ".wtl-s%d{stroke:%s}\n", i, dark[i]);
    }
    wtl_text_printf(out, "}\n</style>\n");
}

static void put_line_class(wtl_text *out, const wtl_plot *plot, int index)
{
    wtl_text_printf(out, "<path class=\"wtl-line wtl-s%d%s\" d=\"", index % COLOURS,
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
            wtl_text_printf(c->out, "%c%.2f %.2f%s", before ? 'L' : 'M', place_x(c, x),
                            place_y(c, y), dots ? "h0" : "");
        }
        before = here;
    }
}

static void put_line(const canvas *c, int index)
{
    put_line_class(c->out, c->plot, index);
    put_points(c, index, false);
    wtl_text_printf(c->out, "\"/>\n<path class=\"wtl-dot wtl-s%d\" d=\"", index % COLOURS);
    put_points(c, index, true);
    wtl_text_printf(c->out, "\"/>\n");
}

/* Names in rows under the title; returns the rows. Draws only with `draw`. */
static int put_legend(const canvas *c, bool draw)
{
    int row = 0, left = (int)c->left, at = left;
    for (int s = 0; s < c->plot->series_count; s++) {
        const char *name = or_empty(c->plot->series[s].name);
        int width = LEGEND_SAMPLE + LETTER * letters(name) + 16;
        if (at > left && at + width > RIGHT) {
            at = left;
            row++;
        }
        if (draw) {
            double y = TITLE_HEIGHT + LEGEND_ROW * row + 8;
            put_line_class(c->out, c->plot, s);
            wtl_text_printf(c->out, "M%d %.2fh22\"/>\n", at, y);
            put_text(c->out, "", at + LEGEND_SAMPLE, y + 4, name);
        }
        at += width;
    }
    return c->plot->series_count > 0 ? row + 1 : 0;
}

/* As far right as the longest label asks, as far down as the legend does. */
static void place_area(canvas *c)
{
    c->left = LEFT;
    for (int i = 0; i < c->y.ticks; i++) {
        c->left = fmax(c->left, 36 + LETTER * letters(c->y.label[i]));
    }
    c->top = TITLE_HEIGHT + LEGEND_ROW * put_legend(c, false) + 8;
    c->bottom = c->top + PLOT_HEIGHT;
}

void wtl_svg_lines(wtl_text *out, const wtl_plot *plot)
{
    canvas c = {.out = out, .plot = plot};
    span_data(&c);
    bool empty = c.x.low > c.x.high;
    c.y.log = plot->log_y && !empty;
    widen(&c.x);
    widen(&c.y);
    linear_ticks(&c.x, 8, false);
    if (c.y.log) {
        log_ticks(&c.y);
    } else {
        linear_ticks(&c.y, 6, true);
    }
    place_area(&c);
    double height = c.bottom + BELOW;
    wtl_text_printf(out,
                    "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"wtl-plot\" role=\"img\" "
                    "width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\">\n<title>",
                    WIDTH, height, WIDTH, height);
    wtl_svg_escape(out, or_empty(plot->title));
    wtl_text_printf(out, "</title>\n");
    put_style(out);
    wtl_text_printf(out, "<rect class=\"wtl-ground\" width=\"%d\" height=\"%.0f\"/>\n", WIDTH,
                    height);
    put_text(out, " class=\"wtl-title\"", c.left, 24, or_empty(plot->title));
    (void)put_legend(&c, true);
    put_axes(&c);
    if (empty) {
        put_text(out, " text-anchor=\"middle\"", (c.left + RIGHT) / 2, (c.top + c.bottom) / 2,
                 "no data");
    }
    for (int s = 0; s < plot->series_count; s++) {
        put_line(&c, s);
    }
    wtl_text_printf(out, "</svg>\n");
}
