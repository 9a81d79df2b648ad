/* svg_parts.h - what the plots of svg*.c share: text, axes, colours. */
#ifndef WTL_SVG_PARTS_H
#define WTL_SVG_PARTS_H

#include "wattle/svg.h"

enum {
    WTL_SVG_TITLE_HEIGHT = 36,
    WTL_SVG_LEGEND_ROW = 20,
    WTL_SVG_LETTER = 7, /* a generous average width at 12 px */
    WTL_SVG_COLOURS = 8,
    WTL_SVG_MOST_TICKS = 32
};

/* Beyond this (and below its inverse) differences and quotients could overflow. */
#define WTL_SVG_LARGEST 1e100

typedef struct wtl_svg_axis {
    double low, high; /* in plotted units: logarithms on a log axis */
    double tick[WTL_SVG_MOST_TICKS];
    char label[WTL_SVG_MOST_TICKS][24];
    int ticks;
    bool log;
    bool whole; /* of whole numbers: ticks are, too */
    /* of labels: digits behind the point, or -1 for as many as it takes */
    int decimals;
    double unit;
    const char *unit_name;
} wtl_svg_axis;

static inline const char *wtl_svg_or_empty(const char *text)
{
    return text ? text : "";
}

/* Characters of UTF-8 text, counted no further than `most`. */
int wtl_svg_letters(const char *text, int most);

/* A text element; `attributes` begins with a blank or is "". */
void wtl_svg_put_text(wtl_text *out, const char *attributes, double x, double y,
                      const char *text);

/* Begin a picture: its size, title, styles (with fills of the same colours for `fills`) and
 * ground. */
void wtl_svg_begin(wtl_text *out, int width, double height, const char *title, bool fills);

/* Names behind squares of their colours, in rows between `left` and `right` from `top` down;
 * returns the rows. Draws only with `draw`. */
int wtl_svg_legend(wtl_text *out, const char *const *names, int count, double left,
                   double right, double top, bool draw);

/* A range of one point, or of none, still needs a width. */
void wtl_svg_widen(wtl_svg_axis *axis);
/* Ticks at multiples of a nice step inside the range, which `snap` first widens to such
 * multiples. */
void wtl_svg_linear_ticks(wtl_svg_axis *axis, int wanted, bool snap);
/* Decades, with 2 and 5 between where the range is short. */
void wtl_svg_log_ticks(wtl_svg_axis *axis);

/* The plot area, in pixels, and what its edges stand for. */
typedef struct wtl_svg_area {
    wtl_svg_axis x, y;
    double left, top, bottom;
    int right;
} wtl_svg_area;

double wtl_svg_place_x(const wtl_svg_area *area, double x);
double wtl_svg_place_y(const wtl_svg_area *area, double y);

/* Where the area begins so that the longest label of `y` has room before it: `least` or more.
 * Labels are counted no further than `most` letters. */
double wtl_svg_left(const wtl_svg_axis *y, int least, int most);

/* Both axes with ticks and labels, and horizontal grid lines; vertical ones with `x_grid`. */
void wtl_svg_put_axes(wtl_text *out, const wtl_svg_area *area, const char *x_label,
                      const char *y_label, bool x_grid);

#endif
