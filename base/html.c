/* html.c - one self-contained HTML page as text. */
#include "wattle/html.h"

#include "wattle/memory.h"
#include "wattle/svg.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* Colours are variables, so that dark and paper are a few lines each. Contrast of text on its
 * ground is at least 4.5 to 1 in both. */
static const char style[] =
    ":root{color-scheme:light dark;--ground:#ffffff;--raised:#f5f7f9;--text:#1f2328;"
    "--soft:#565d66;--line:#d9dee4;--accent:#0b62b5;--bar:#b9d6f2;--good:#1a7f37;"
    "--good-ground:#e6f5ea;--bad:#b3261e;--bad-ground:#fdecea}\n"
    "@media (prefers-color-scheme:dark){:root{--ground:#16191d;--raised:#1f242a;"
    "--text:#e4e7eb;--soft:#a7aeb8;--line:#363d45;--accent:#6cb6ff;--bar:#1f4a75;"
    "--good:#5fd38a;--good-ground:#14291c;--bad:#ff9a92;--bad-ground:#331a18}}\n"
    "*{box-sizing:border-box}\n"
    "html{-webkit-text-size-adjust:100%}\n"
    "body{margin:0;background:var(--ground);color:var(--text);"
    "font:16px/1.55 system-ui,-apple-system,'Segoe UI',Roboto,'Noto Sans',sans-serif}\n"
    "main{max-width:64rem;margin:0 auto;padding:1.5rem 1.25rem 4rem}\n"
    "h1{font-size:1.15rem;color:var(--soft);font-weight:600;margin:0 0 1rem;"
    "overflow-wrap:anywhere}\n"
    "h2{font-size:1.35rem;line-height:1.25;margin:2.75rem 0 .75rem;padding-top:.75rem;"
    "border-top:1px solid var(--line)}\n"
    "h3{font-size:1.05rem;margin:1.75rem 0 .5rem}\n"
    "p{margin:.6rem 0;max-width:46rem;overflow-wrap:anywhere}\n"
    ".note{color:var(--soft);font-size:.875rem}\n"
    ".verdict{border-left:.4rem solid var(--accent);background:var(--raised);"
    "padding:1.1rem 1.25rem;border-radius:.25rem}\n"
    ".verdict p{max-width:none}\n"
    ".verdict .said{font-size:1.6rem;line-height:1.3;font-weight:650;margin:0}\n"
    ".verdict .why{margin:.6rem 0 0}\n"
    ".good{border-color:var(--good);background:var(--good-ground)}\n"
    ".bad{border-color:var(--bad);background:var(--bad-ground)}\n"
    ".good .said{color:var(--good)}\n"
    ".bad .said{color:var(--bad)}\n"
    ".tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(9.5rem,1fr));gap:.75rem;"
    "margin:1.25rem 0}\n"
    ".tile{background:var(--raised);border-radius:.25rem;padding:.75rem .9rem}\n"
    ".tile b{display:block;font-size:1.5rem;line-height:1.25;font-variant-numeric:tabular-nums;"
    "overflow-wrap:anywhere}\n"
    ".tile i{display:block;font-style:normal;color:var(--soft);font-size:.8125rem;"
    "line-height:1.35}\n"
    ".wide{overflow-x:auto;margin:.75rem 0}\n"
    "table{border-collapse:collapse;font-size:.875rem;line-height:1.4;"
    "font-variant-numeric:tabular-nums}\n"
    "th,td{padding:.3rem .65rem;text-align:left;vertical-align:baseline;"
    "border-bottom:1px solid var(--line)}\n"
    "thead th{vertical-align:bottom;color:var(--soft);font-weight:600}\n"
    "tbody th{font-weight:600;white-space:nowrap}\n"
    "th:first-child,td:first-child{padding-left:0}\n"
    ".n{text-align:right;white-space:nowrap}\n"
    ".total th,.total td{border-top:2px solid var(--soft);font-weight:650}\n"
    ".share{background-repeat:no-repeat;background-position:left bottom .15rem;"
    "background-image:linear-gradient(var(--bar),var(--bar));min-width:5.5rem}\n"
    "figure{margin:1rem 0;overflow-x:auto}\n"
    "figure svg{display:block;height:auto;max-width:100%}\n"
    "figure.broad svg{max-width:none}\n"
    "@media (min-width:66rem){figure.broad{margin-inline:calc(50% - min(50vw - "
    "1.5rem,44rem))}}\n"
    "details{margin:.5rem 0}\n"
    "summary{cursor:pointer;padding:.25rem 0;font-weight:600}\n"
    "pre{background:var(--raised);border-radius:.25rem;padding:.9rem 1rem;overflow-x:auto;"
    "font:.8125rem/1.5 ui-monospace,'DejaVu Sans Mono',Menlo,Consolas,monospace}\n"
    "@media (max-width:40rem){main{padding:1rem .9rem 3rem}.verdict{padding:.9rem 1rem}"
    ".verdict .said{font-size:1.25rem}h2{margin-top:2rem}"
    ".tiles{grid-template-columns:repeat(2,minmax(0,1fr))}.tile b{font-size:1.2rem}"
    "tbody th{white-space:normal;overflow-wrap:anywhere;min-width:6rem}}\n"
    "@media print{:root{color-scheme:light;--ground:#fff;--raised:#f5f7f9;--text:#000;"
    "--soft:#444;--line:#bbb;--accent:#0b62b5;--bar:#b9d6f2;--good:#14652b;"
    "--good-ground:#fff;--bad:#8f1d16;--bad-ground:#fff}\n"
    "@page{margin:15mm}\n"
    "body{font-size:10.5pt}\n"
    "main{max-width:none;padding:0}\n"
    "*{-webkit-print-color-adjust:exact;print-color-adjust:exact}\n"
    "h2,h3,summary{break-after:avoid}\n"
    "tr,figure,.verdict,.tile,pre{break-inside:avoid}\n"
    "thead{display:table-header-group}\n"
    "table{font-size:8pt}\n"
    "th,td{padding:.2rem .4rem}\n"
    ".wide,figure{overflow:visible}\n"
    "figure.broad{margin-inline:0}figure.broad svg{max-width:100%}\n"
    ".note{font-size:8.5pt}\n"
    "pre{white-space:pre-wrap;overflow-wrap:anywhere;overflow:visible}\n"
    "details::details-content{content-visibility:visible;display:block;block-size:auto}\n"
    "}\n";

/* Room for a formatted text of this length. */
static char *text_of_length(wtl_text *out, int length)
{
    char *text = length < 0 ? NULL : wtl_alloc((size_t)length + 1, 1);
    out->failed = out->failed || !text;
    return text;
}

/* Markup of our own. */
static void put(wtl_text *out, const char *markup)
{
    wtl_text_printf(out, "%s", markup);
}

#define PUT_BETWEEN(out, before, after, format)                                                \
    do {                                                                                       \
        va_list arguments;                                                                     \
        va_start(arguments, format);                                                           \
        int length = vsnprintf(NULL, 0, format, arguments);                                    \
        va_end(arguments);                                                                     \
        char *text = text_of_length(out, length);                                              \
        if (text) {                                                                            \
            va_start(arguments, format);                                                       \
            vsnprintf(text, (size_t)length + 1, format, arguments);                            \
            va_end(arguments);                                                                 \
            put(out, before);                                                                  \
            wtl_svg_escape(out, text);                                                         \
            put(out, after);                                                                   \
        }                                                                                      \
        wtl_free(text);                                                                        \
    } while (0)

/* ---- the page ---- */

void wtl_html_begin(wtl_text *out, const char *title)
{
    put(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
             "<meta http-equiv=\"Content-Security-Policy\" "
             "content=\"default-src 'none'; style-src 'unsafe-inline'\">\n"
             "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
             "<meta name=\"color-scheme\" content=\"light dark\">\n");
    wtl_text_printf(out, "<title>");
    wtl_svg_escape(out, title);
    wtl_text_printf(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<h1>", style);
    wtl_svg_escape(out, title);
    put(out, "</h1>\n");
}

void wtl_html_end(wtl_text *out)
{
    put(out, "</main>\n</body>\n</html>\n");
}

void wtl_html_section(wtl_text *out, const char *id, const char *heading)
{
    wtl_text_printf(out, "<section id=\"%s\">\n<h2>", id);
    wtl_svg_escape(out, heading);
    put(out, "</h2>\n");
}

void wtl_html_section_end(wtl_text *out)
{
    put(out, "</section>\n");
}

void wtl_html_subheading(wtl_text *out, const char *heading)
{
    put(out, "<h3>");
    wtl_svg_escape(out, heading);
    put(out, "</h3>\n");
}

/* ---- text ---- */

void wtl_html_printf(wtl_text *out, const char *format, ...)
{
    PUT_BETWEEN(out, "", "", format);
}

void wtl_html_paragraph(wtl_text *out, const char *format, ...)
{
    PUT_BETWEEN(out, "<p>", "</p>\n", format);
}

void wtl_html_note(wtl_text *out, const char *format, ...)
{
    PUT_BETWEEN(out, "<p class=\"note\">", "</p>\n", format);
}

void wtl_html_code(wtl_text *out, const char *text)
{
    /* A newline right behind <pre> is dropped by browsers: the text may begin with one. */
    put(out, "<pre>\n");
    wtl_svg_escape(out, text);
    put(out, "</pre>\n");
}

void wtl_html_verdict(wtl_text *out, wtl_html_mood mood, const char *sentence,
                      const char *reason)
{
    static const char *const classes[] = {[WTL_HTML_PLAIN] = "verdict",
                                          [WTL_HTML_GOOD] = "verdict good",
                                          [WTL_HTML_BAD] = "verdict bad"};
    wtl_text_printf(out, "<div class=\"%s\">\n<p class=\"said\">", classes[mood]);
    wtl_svg_escape(out, sentence);
    put(out, "</p>\n");
    if (reason && reason[0]) {
        put(out, "<p class=\"why\">");
        wtl_svg_escape(out, reason);
        put(out, "</p>\n");
    }
    put(out, "</div>\n");
}

void wtl_html_tiles(wtl_text *out)
{
    put(out, "<div class=\"tiles\">\n");
}

void wtl_html_tile(wtl_text *out, const char *value, const char *name, const char *beside)
{
    put(out, "<div class=\"tile\"><i>");
    wtl_svg_escape(out, name);
    put(out, "</i><b>");
    wtl_svg_escape(out, value);
    put(out, "</b><i>");
    wtl_svg_escape(out, beside);
    put(out, "</i></div>\n");
}

void wtl_html_tiles_end(wtl_text *out)
{
    put(out, "</div>\n");
}

void wtl_html_fold(wtl_text *out, const char *summary, bool open)
{
    wtl_text_printf(out, "<details%s>\n<summary>", open ? " open" : "");
    wtl_svg_escape(out, summary);
    put(out, "</summary>\n");
}

void wtl_html_fold_end(wtl_text *out)
{
    put(out, "</details>\n");
}

void wtl_html_figure(wtl_text *out, bool broad)
{
    put(out, broad ? "<figure class=\"broad\">\n" : "<figure>\n");
}

void wtl_html_figure_end(wtl_text *out)
{
    put(out, "</figure>\n");
}

/* ---- tables ---- */

void wtl_html_table(wtl_text *out, const char *const *heads, int column_count)
{
    put(out, "<div class=\"wide\">\n<table>\n<thead><tr>");
    for (int i = 0; i < column_count; i++) {
        bool number = heads[i][0] == '#';
        put(out, number ? "<th scope=\"col\" class=\"n\">" : "<th scope=\"col\">");
        wtl_svg_escape(out, heads[i] + number);
        put(out, "</th>");
    }
    put(out, "</tr></thead>\n<tbody>\n");
}

void wtl_html_table_end(wtl_text *out)
{
    put(out, "</tbody>\n</table>\n</div>\n");
}

/* The end tag of a row may be left out (HTML, 13.1.2.4). */
void wtl_html_row(wtl_text *out)
{
    put(out, "<tr>");
}

void wtl_html_row_total(wtl_text *out)
{
    put(out, "<tr class=\"total\">");
}

void wtl_html_head_cell(wtl_text *out, const char *format, ...)
{
    PUT_BETWEEN(out, "<th scope=\"row\">", "</th>\n", format);
}

void wtl_html_cell(wtl_text *out, const char *format, ...)
{
    PUT_BETWEEN(out, "<td>", "</td>\n", format);
}

void wtl_html_number_cell(wtl_text *out, const char *format, ...)
{
    PUT_BETWEEN(out, "<td class=\"n\">", "</td>\n", format);
}

void wtl_html_share_cell(wtl_text *out, double share)
{
    if (!isfinite(share)) {
        put(out, "<td class=\"n\">\xe2\x80\x93</td>\n");
        return;
    }
    double length = fmin(fmax(share, 0), 1) * 100;
    wtl_text_printf(
        out, "<td class=\"n share\" style=\"background-size:%.1f%% .25rem\">%.1f %%</td>\n",
        length, 100 * share);
}
