/* svg.h - plots as SVG text: deterministic bytes, no fonts, readable on light and dark
 * (a ground of its own, that follows prefers-color-scheme; classes begin with wtl-).
 * Written for line plots now; each plot is a string that can be a file or sit inside HTML. */
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

/* Append text with & < > " escaped; bytes that XML cannot hold (control characters, broken
 * UTF-8) become '?'. */
WTL_API void wtl_svg_escape(wtl_text *out, const char *text);

#ifdef __cplusplus
}
#endif
#endif
