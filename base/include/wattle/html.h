/* html.h - one self-contained HTML page as text: no script, nothing loaded, light and dark by
 * prefers-color-scheme, narrow screens, paper. Deterministic bytes.
 *
 * Every text that comes in is escaped; markup is made by these functions alone. What was opened
 * is closed by its _end, in order. A failed allocation is kept in the wtl_text.
 */
#ifndef WATTLE_HTML_H
#define WATTLE_HTML_H

#include "wattle/text.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- the page ---- */

/* Everything up to the first section. Browsers are told to run and to load nothing. */
WTL_API void wtl_html_begin(wtl_text *out, const char *title);
WTL_API void wtl_html_end(wtl_text *out);

/* A section with a heading; `id` is a plain word, for links. */
WTL_API void wtl_html_section(wtl_text *out, const char *id, const char *heading);
WTL_API void wtl_html_section_end(wtl_text *out);
WTL_API void wtl_html_subheading(wtl_text *out, const char *heading);

/* ---- text ---- */

/* Formatted text, escaped as a whole. */
WTL_API void wtl_html_printf(wtl_text *out, const char *format, ...) WTL_PRINTF(2, 3);
WTL_API void wtl_html_paragraph(wtl_text *out, const char *format, ...) WTL_PRINTF(2, 3);
/* Smaller: what has to be known beside a table or figure. */
WTL_API void wtl_html_note(wtl_text *out, const char *format, ...) WTL_PRINTF(2, 3);
/* Text as it stands, in a fixed-width font: commands. */
WTL_API void wtl_html_code(wtl_text *out, const char *text);

typedef enum wtl_html_mood { WTL_HTML_PLAIN, WTL_HTML_GOOD, WTL_HTML_BAD } wtl_html_mood;
/* The one big sentence of the page; `reason`, below it and smaller, may be NULL or "". */
WTL_API void wtl_html_verdict(wtl_text *out, wtl_html_mood mood, const char *sentence,
                              const char *reason);

/* Figures that catch the eye, in a row that wraps. */
WTL_API void wtl_html_tiles(wtl_text *out);
WTL_API void wtl_html_tile(wtl_text *out, const char *value, const char *name,
                           const char *beside);
WTL_API void wtl_html_tiles_end(wtl_text *out);

/* Folded until it is asked for; on paper it is open. */
WTL_API void wtl_html_fold(wtl_text *out, const char *summary, bool open);
WTL_API void wtl_html_fold_end(wtl_text *out);

/* A plot of wattle/svg.h between these becomes a figure. It is made smaller on a narrow screen;
 * a `broad` one keeps its size, takes room beside the text, and scrolls. */
WTL_API void wtl_html_figure(wtl_text *out, bool broad);
WTL_API void wtl_html_figure_end(wtl_text *out);

/* ---- tables ---- */

/* A table with heads[column_count], which scrolls where it is wider than the screen. A first
 * '#' of a head is not shown and makes a column of numbers, which stand at the right. */
WTL_API void wtl_html_table(wtl_text *out, const char *const *heads, int column_count);
WTL_API void wtl_html_table_end(wtl_text *out);
WTL_API void wtl_html_row(wtl_text *out);       /* ends the row before */
WTL_API void wtl_html_row_total(wtl_text *out); /* the same, for a sum: set off from the rest */
/* The first cell of a row is its head. */
WTL_API void wtl_html_head_cell(wtl_text *out, const char *format, ...) WTL_PRINTF(2, 3);
WTL_API void wtl_html_cell(wtl_text *out, const char *format, ...) WTL_PRINTF(2, 3);
WTL_API void wtl_html_number_cell(wtl_text *out, const char *format, ...) WTL_PRINTF(2, 3);
/* A density 0..1 as percent over a bar of that length; "–" when NaN. */
WTL_API void wtl_html_share_cell(wtl_text *out, double share);

#ifdef __cplusplus
}
#endif
#endif
