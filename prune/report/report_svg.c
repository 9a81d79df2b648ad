/* report_svg.c - a plot out of a file into the page, once it is known to be only a plot.
 *
 * A page runs what is inlined: only the elements and attributes that wattle's own plots have
 * pass, so that a folder from elsewhere cannot bring a script, a link or a picture to load.
 */
#include "report_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <ctype.h>
#include <string.h>

static const char *const elements[] = {"svg",  "title",  "style", "rect",  "path", "text",
                                       "line", "circle", "g",     "tspan", NULL};
static const char *const attributes[] = {
    "xmlns",       "class",        "role",         "width", "height", "viewBox", "x",
    "y",           "x1",           "y1",           "x2",    "y2",     "cx",      "cy",
    "r",           "rx",           "ry",           "dx",    "dy",     "d",       "transform",
    "text-anchor", "fill-opacity", "stroke-width", NULL};

typedef struct scan {
    const char *at, *file;
    int line;
    int depth;
    bool style; /* inside <style> */
} scan;

static bool is_among(const char *word, size_t length, const char *const *words)
{
    for (; *words; words++) {
        if (strlen(*words) == length && strncmp(*words, word, length) == 0) {
            return true;
        }
    }
    return false;
}

static wtl_status refuse(const scan *s, const char *what, wtl_error *err)
{
    return wtl_fail(err, WTL_E_FORMAT, "%s:%d: not a plot of wattle: %s '%.24s'", s->file,
                    s->line, what, s->at);
}

static void step(scan *s, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        s->line += s->at[i] == '\n';
    }
    s->at += count;
}

static void skip_blanks(scan *s)
{
    step(s, strspn(s->at, " \t\r\n"));
}

static size_t name_length(const char *text)
{
    size_t length = 0;
    while (isalnum((unsigned char)text[length]) || text[length] == '-') {
        length++;
    }
    return length;
}

/* name="value": a value that has no quote in it cannot leave it. */
static wtl_status scan_attribute(scan *s, wtl_error *err)
{
    size_t name = name_length(s->at);
    if (!is_among(s->at, name, attributes) || s->at[name] != '=' || s->at[name + 1] != '"') {
        return refuse(s, "the attribute", err);
    }
    size_t value = strcspn(s->at + name + 2, "\"<>");
    if (s->at[name + 2 + value] != '"') {
        return refuse(s, "the value of", err);
    }
    step(s, name + 2 + value + 1);
    return WTL_OK;
}

static wtl_status scan_open(scan *s, wtl_error *err)
{
    size_t name = name_length(s->at + 1);
    if (!is_among(s->at + 1, name, elements) || (s->depth == 0) != (name == 3)) {
        return refuse(s, "the element", err);
    }
    s->style = is_among(s->at + 1, name, (const char *const[]){"style", NULL});
    step(s, 1 + name);
    wtl_status status = WTL_OK;
    skip_blanks(s);
    while (status == WTL_OK && *s->at != '>' && *s->at != '/') {
        status = scan_attribute(s, err);
        skip_blanks(s);
    }
    if (status != WTL_OK) {
        return status;
    }
    bool empty = *s->at == '/';
    if (empty && s->at[1] != '>') {
        return refuse(s, "the end of an element", err);
    }
    s->depth += !empty;
    step(s, empty ? 2 : 1);
    return WTL_OK;
}

static wtl_status scan_close(scan *s, wtl_error *err)
{
    size_t name = name_length(s->at + 2);
    if (!is_among(s->at + 2, name, elements) || s->at[2 + name] != '>' || s->depth == 0) {
        return refuse(s, "the end", err);
    }
    s->depth--;
    s->style = false;
    step(s, 2 + name + 1);
    return WTL_OK;
}

/* Styles could load by url() and @import, or hide either behind a backslash. */
static wtl_status scan_text(scan *s, wtl_error *err)
{
    size_t length = strcspn(s->at, "<");
    for (size_t i = 0; s->style && i < length; i++) {
        if (s->at[i] == '\\' || strncmp(s->at + i, "url", 3) == 0 ||
            strncmp(s->at + i, "@import", 7) == 0) {
            step(s, i);
            return refuse(s, "the style", err);
        }
    }
    step(s, length);
    return WTL_OK;
}

wtl_status wtl_report_svg_check(const char *text, const char *file, wtl_error *err)
{
    scan s = {.at = text, .file = file, .line = 1};
    wtl_status status = WTL_OK;
    skip_blanks(&s);
    if (*s.at != '<' || s.at[1] == '/') {
        return refuse(&s, "it begins with", err);
    }
    do {
        status = *s.at != '<'     ? scan_text(&s, err)
                 : s.at[1] == '/' ? scan_close(&s, err)
                                  : scan_open(&s, err);
    } while (status == WTL_OK && *s.at && s.depth > 0);
    if (status != WTL_OK) {
        return status;
    }
    skip_blanks(&s);
    return s.depth > 0 || *s.at ? refuse(&s, "it ends with", err) : WTL_OK;
}

wtl_status wtl_report_svg(wtl_text *out, const char *folder, const char *name, bool broad,
                          wtl_error *err)
{
    unsigned char *bytes = NULL;
    size_t length;
    char *path = wtl_path_join(folder, name);
    if (!path) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for the path of %s", name);
    }
    wtl_status status = wtl_file_read_plain(path, WTL_REPORT_SVG_BYTES, &bytes, &length, err);
    if (status == WTL_OK && strlen((const char *)bytes) != length) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s:1: a NUL byte in a text", path);
    }
    if (status == WTL_OK) {
        status = wtl_report_svg_check((const char *)bytes, path, err);
    }
    if (status == WTL_OK) {
        wtl_html_figure(out, broad);
        wtl_text_put(out, (const char *)bytes, length);
        wtl_html_figure_end(out);
    }
    wtl_free(bytes);
    wtl_free(path);
    return status;
}
