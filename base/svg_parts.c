/* svg_parts.c - text, axes and colours of plots. */
#include "svg_parts.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

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

int wtl_svg_letters(const char *text, int most)
{
    int count = 0;
    for (; *text && count < most; text++) {
        count += ((unsigned char)*text & 0xc0) != 0x80;
    }
    return count;
}

void wtl_svg_put_text(wtl_text *out, const char *attributes, double x, double y,
                      const char *text)
{
    wtl_text_printf(out, "<text x=\"%.2f\" y=\"%.2f\"%s>", x, y, attributes);
    wtl_svg_escape(out, text);
    wtl_text_printf(out, "</text>\n");
}

/* ---- axes ---- */

void wtl_svg_widen(wtl_svg_axis *a)
{
    if (a->low > a->high) {
        a->low = 0;
        a->high = 1;
    }
    double least = fmax(fmax(fabs(a->low), fabs(a->high)) * 1e-9, 1 / WTL_SVG_LARGEST);
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

static void add_tick(wtl_svg_axis *a, double place, double value)
{
    if (a->ticks < WTL_SVG_MOST_TICKS) {
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
static void choose_unit(wtl_svg_axis *a, double step)
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

void wtl_svg_linear_ticks(wtl_svg_axis *a, int wanted, bool snap)
{
    double step = nice_step(a->high - a->low, wanted);
    step = a->whole ? fmax(step, 1) : step;
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

void wtl_svg_log_ticks(wtl_svg_axis *a)
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

/* ---- the picture ---- */

static void put_colours(wtl_text *out, const char *const *colours, bool fills)
{
    for (int i = 0; i < WTL_SVG_COLOURS; i++) {
        wtl_text_printf(out, ".wtl-s%d{stroke:%s}\n", i, colours[i]);
    }
    for (int i = 0; fills && i < WTL_SVG_COLOURS; i++) {
        wtl_text_printf(out, ".wtl-f%d{fill:%s}\n", i, colours[i]);
    }
}

static void put_style(wtl_text *out, bool fills)
{
    static const char *const light[WTL_SVG_COLOURS] = {
        "#0b62b5", "#c4510b", "#13805c", "#a3368b", "#7a5b00", "#c0263a", "#5b4fc7", "#4d5560"};
    static const char *const dark[WTL_SVG_COLOURS] = {
        "#6cb6ff", "#ff9d5c", "#4fd1a5", "#f08bd8", "#e3c34d", "#ff8087", "#b3a7ff", "#b4bcc6"};
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
    put_colours(out, light, fills);
    wtl_text_printf(out, "@media (prefers-color-scheme:dark){\n"
                         ".wtl-plot text{fill:#e4e7eb}\n"
                         ".wtl-plot .wtl-tick{fill:#a7aeb8}\n"
                         ".wtl-ground{fill:#16191d}\n"
                         ".wtl-grid{stroke:#2c3138}\n"
                         ".wtl-axis{stroke:#79818b}\n");
    put_colours(out, dark, fills);
    wtl_text_printf(out, "}\n</style>\n");
}

void wtl_svg_begin(wtl_text *out, int width, double height, const char *title, bool fills)
{
    wtl_text_printf(out,
                    "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"wtl-plot\" role=\"img\" "
                    "width=\"%d\" height=\"%.0f\" viewBox=\"0 0 %d %.0f\">\n<title>",
                    width, height, width, height);
    wtl_svg_escape(out, wtl_svg_or_empty(title));
    wtl_text_printf(out, "</title>\n");
    put_style(out, fills);
    wtl_text_printf(out, "<rect class=\"wtl-ground\" width=\"%d\" height=\"%.0f\"/>\n", width,
                    height);
}

int wtl_svg_legend(wtl_text *out, const char *const *names, int count, double left,
                   double right, double top, bool draw)
{
    enum { SQUARE = 10, SAMPLE = 16, APART = 16 };
    int row = 0, most = (int)(right - left);
    double at = left;
    for (int i = 0; i < count; i++) {
        const char *name = wtl_svg_or_empty(names[i]);
        double width = SAMPLE + WTL_SVG_LETTER * wtl_svg_letters(name, most) + APART;
        if (at > left && at + width - APART > right) {
            at = left;
            row++;
        }
        if (draw) {
            double y = top + WTL_SVG_LEGEND_ROW * row;
            wtl_text_printf(out,
                            "<rect class=\"wtl-f%d\" x=\"%.2f\" y=\"%.2f\" width=\"%d\" "
                            "height=\"%d\"/>\n",
                            i % WTL_SVG_COLOURS, at, y + 3, SQUARE, SQUARE);
            wtl_svg_put_text(out, "", at + SAMPLE, y + 12, name);
        }
        at += width;
    }
    return count > 0 ? row + 1 : 0;
}

/* ---- the plot area ---- */

double wtl_svg_place_x(const wtl_svg_area *a, double x)
{
    return a->left + (x - a->x.low) / (a->x.high - a->x.low) * (a->right - a->left);
}

double wtl_svg_place_y(const wtl_svg_area *a, double y)
{
    return a->bottom - (y - a->y.low) / (a->y.high - a->y.low) * (a->bottom - a->top);
}

double wtl_svg_left(const wtl_svg_axis *y, int least, int most)
{
    double left = least;
    for (int i = 0; i < y->ticks; i++) {
        left = fmax(left, 36 + WTL_SVG_LETTER * wtl_svg_letters(y->label[i], most));
    }
    return left;
}

void wtl_svg_put_axes(wtl_text *out, const wtl_svg_area *a, const char *x_label,
                      const char *y_label, bool x_grid)
{
    for (int i = 0; i < a->y.ticks; i++) {
        double y = wtl_svg_place_y(a, a->y.tick[i]);
        wtl_text_printf(out, "<path class=\"wtl-grid\" d=\"M%.2f %.2fH%d\"/>\n", a->left, y,
                        a->right);
        wtl_svg_put_text(out, " class=\"wtl-tick\" text-anchor=\"end\"", a->left - 8, y + 4,
                         a->y.label[i]);
    }
    for (int i = 0; i < a->x.ticks; i++) {
        double x = wtl_svg_place_x(a, a->x.tick[i]);
        if (x_grid) {
            wtl_text_printf(out, "<path class=\"wtl-grid\" d=\"M%.2f %.2fV%.2f\"/>\n", x,
                            a->top, a->bottom);
        } else {
            wtl_text_printf(out, "<path class=\"wtl-axis\" d=\"M%.2f %.2fv5\"/>\n", x,
                            a->bottom);
        }
        wtl_svg_put_text(out, " class=\"wtl-tick\" text-anchor=\"middle\"", x, a->bottom + 19,
                         a->x.label[i]);
    }
    wtl_text_printf(out, "<path class=\"wtl-axis\" d=\"M%.2f %.2fV%.2fH%d\"/>\n", a->left,
                    a->top, a->bottom, a->right);
    wtl_svg_put_text(out, " text-anchor=\"middle\"", (a->left + a->right) / 2, a->bottom + 42,
                     wtl_svg_or_empty(x_label));
    wtl_text_printf(out,
                    "<text transform=\"translate(18 %.2f) rotate(-90)\" "
                    "text-anchor=\"middle\">",
                    (a->top + a->bottom) / 2);
    wtl_svg_escape(out, wtl_svg_or_empty(y_label));
    wtl_text_printf(out, "</text>\n");
}
