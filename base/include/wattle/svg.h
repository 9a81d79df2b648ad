/* svg.h - plots as SVG text: deterministic bytes, no fonts, readable on light and dark.
 * Written for line plots now; each plot is a string that can be a file or sit inside HTML. */
#ifndef WATTLE_SVG_H
#define WATTLE_SVG_H

#include "wattle/text.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_series {
    const char *name;
    const double *x, *y; /* count values; a NaN y leaves a gap */
    int count;
    bool dashed;
} wtl_series;

typedef struct wtl_plot {
    const char *title, *x_label, *y_label;
    const wtl_series *series;
    int series_count;
    bool log_y;
} wtl_plot;

/* Append a line plot. */
WTL_API void wtl_svg_lines(wtl_text *out, const wtl_plot *plot);

/* Append text with & < > " escaped. */
WTL_API void wtl_svg_escape(wtl_text *out, const char *text);

#ifdef __cplusplus
}
#endif
#endif
