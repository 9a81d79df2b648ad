/* svg.h - plots as SVG text: deterministic bytes, no fonts, readable on light and dark
 * (a ground of its own, that follows prefers-color-scheme; classes begin with wtl-).
 * Each plot is a string that can be a file or sit inside HTML. */
#ifndef WATTLE_SVG_H
#define WATTLE_SVG_H

#include "wattle/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_series {
    const char *name;
    const double *x, *y; /* count values; one that is not finite (or, with log_y, a y that is
                          * not positive) leaves a gap; a point between gaps is a dot */
    int count;
    bool dashed;
} wtl_series;

typedef struct wtl_plot {
    const char *title, *x_label, *y_label; /* NULL: none */
    const wtl_series *series;
    int series_count;
    bool log_y;
} wtl_plot;

/* Append a line plot. */
WTL_API void wtl_svg_lines(wtl_text *out, const wtl_plot *plot);

/* ---- stacked bars ---- */

/* One way to take the bars apart. */
typedef struct wtl_bars_view {
    const char *title;        /* NULL: none */
    const char *const *parts; /* [part_count]: names */
    int part_count;
    const double *values; /* [bar_count][part_count]; what is not finite and positive is 0 */
} wtl_bars_view;

typedef struct wtl_bars {
    const char *title, *x_label; /* NULL: none */
    const char *const *names;    /* [bar_count], top to bottom; long ones are cut */
    int bar_count;
    const wtl_bars_view *views; /* beside each other, on the same scale */
    int view_count;
} wtl_bars;

/* Append horizontal bars, each a stack of its parts, once a view. */
WTL_API void wtl_svg_bars(wtl_text *out, const wtl_bars *bars);

/* ---- points on logarithmic axes ---- */

typedef struct wtl_scatter_view {
    const char *x_label;
    const double *x; /* [count] */
} wtl_scatter_view;

typedef struct wtl_scatter {
    const char *title, *y_label;
    const double *y;           /* [count]; points that are not positive are left out */
    const int *group;          /* [count], 0 .. group_count - 1: the colour */
    const char *const *labels; /* [count] of names beside points, NULL: none */
    int count;
    const char *const *groups; /* [group_count] */
    int group_count;
    const wtl_scatter_view *views; /* beside each other */
    int view_count;
} wtl_scatter;

/* Append one plot a view, y over x. A dashed line shows where points would lie if y were
 * in proportion to x (the same sum of y over the points of the view). */
WTL_API void wtl_svg_scatter(wtl_text *out, const wtl_scatter *scatter);

/* ---- what is kept over what it costs ---- */

/* A line over its single results. Values of x that are not positive, and values that are not
 * finite, are left out; the line steps over them. */
typedef struct wtl_curve {
    const char *name;
    const double *x, *y; /* [count]: the line */
    int count;
    const double *dot_x, *dot_y; /* [dot_count]: the results */
    int dot_count;
} wtl_curve;

typedef struct wtl_pareto {
    const char *title, *x_label, *y_label; /* NULL: none */
    const wtl_curve *curves;               /* a colour each */
    int curve_count;
    const char *origin; /* the name of one point, a filled square; NULL: none */
    double origin_x, origin_y;
    const char *foreign; /* the name of points from elsewhere, hollow; NULL: none */
    const double *foreign_x, *foreign_y;
    const char *const *foreign_labels; /* beside each point */
    int foreign_count;
    const char *limit; /* the name of a dashed vertical line; NULL: none */
    double limit_x;
    double least_y; /* what lies below is cut off; NaN: nothing */
} wtl_pareto;

/* Append y over the logarithm of x. */
WTL_API void wtl_svg_pareto(wtl_text *out, const wtl_pareto *pareto);

/* Append text with & < > " escaped; bytes that XML cannot hold (control characters, broken
 * UTF-8) become '?'. */
WTL_API void wtl_svg_escape(wtl_text *out, const char *text);

#ifdef __cplusplus
}
#endif
#endif
