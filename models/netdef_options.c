/* netdef_options.c - values of layer options: from text, to text, compared. */
#include "netdef_options.h"

#include <assert.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const init_words[] = {
    [WTL_INIT_CONST] = "const",   [WTL_INIT_GAUSS] = "gauss", [WTL_INIT_UNIFORM] = "uniform",
    [WTL_INIT_XAVIER] = "xavier", [WTL_INIT_MSRA] = "msra",   [WTL_INIT_MSRA_OUT] = "msra-out",
    [WTL_INIT_TORCH] = "torch",
};
enum { INIT_KINDS = sizeof init_words / sizeof init_words[0] };

static bool init_has_value(wtl_init_kind kind)
{
    return kind == WTL_INIT_CONST || kind == WTL_INIT_GAUSS || kind == WTL_INIT_UNIFORM;
}

static void *field(wtl_layer_def *def, const wtl_layer_option *option)
{
    return (char *)def + option->offset;
}

static const void *const_field(const wtl_layer_def *def, const wtl_layer_option *option)
{
    return (const char *)def + option->offset;
}

/* Cut the next piece of a separated list into `piece`; moves *text behind the separator, or
 * to NULL after the last piece. False if the piece is too long to be a number. */
static bool next_piece(const char **text, char separator, char *piece, size_t size)
{
    const char *end = strchr(*text, separator);
    size_t length = end ? (size_t)(end - *text) : strlen(*text);
    if (length >= size) {
        return false;
    }
    memcpy(piece, *text, length);
    piece[length] = '\0';
    *text = end ? end + 1 : NULL;
    return true;
}

int wtl_read_ints(const char *text, char separator, int low, int high, int *values, int most)
{
    int count = 0;
    char piece[32];
    while (text) {
        if (count == most || !next_piece(&text, separator, piece, sizeof piece) ||
            !wtl_parse_int(piece, low, high, &values[count])) {
            return 0;
        }
        count++;
    }
    return count;
}

int wtl_read_floats(const char *text, char separator, double low, double high, float *values,
                    int most)
{
    int count = 0;
    char piece[64];
    while (text) {
        double value;
        if (count == most || !next_piece(&text, separator, piece, sizeof piece) ||
            !wtl_parse_double(piece, low, high, &value) || !isfinite((float)value)) {
            return 0;
        }
        values[count++] = (float)value;
    }
    return count;
}

/* ---- reading ---- */

/* Round like torchvision's _make_divisible: to the nearest multiple, at least one multiple,
 * and never below 90 % of the value. Returns 0 if that is no int. */
static int round_width(double value, int multiple)
{
    assert(multiple > 0);
    if (value > INT_MAX / 2) {
        return 0;
    }
    int rounded = (int)(value + multiple / 2.0) / multiple * multiple;
    rounded = rounded > multiple ? rounded : multiple;
    return rounded < 0.9 * value ? rounded + multiple : rounded;
}

/* N, N*width, N*max(1,width), or one of these scaled forms times M: M*(N*width). */
static bool read_scaled(const char *text, const wtl_option_context *context, int *value)
{
    char copy[64];
    size_t length = strlen(text);
    if (length >= sizeof copy) {
        return false;
    }
    memcpy(copy, text, length + 1);
    char *inner = strstr(copy, "*(");
    int times = 1, base;
    if (inner) {
        *inner = '\0';
        if (copy[length - 1] != ')' || !wtl_parse_int(copy, 1, 1 << 16, &times)) {
            return false;
        }
        copy[length - 1] = '\0';
        inner += 2;
    } else {
        inner = copy;
    }
    char *scale = strchr(inner, '*');
    if (scale) {
        *scale++ = '\0';
    }
    if (!wtl_parse_int(inner, 1, 1 << 20, &base) || (times > 1 && !scale)) {
        return false;
    }
    if (!scale) {
        *value = base;
        return true;
    }
    double width = context->width;
    if (strcmp(scale, "max(1,width)") == 0) {
        width = width > 1.0 ? width : 1.0;
    } else if (strcmp(scale, "width") != 0) {
        return false;
    }
    int rounded = round_width(base * width, context->multiple);
    *value = rounded > INT_MAX / times ? 0 : rounded * times;
    return true;
}

static bool read_channels(const wtl_layer_option *option, const char *text,
                          wtl_option_context *context, int *value, char *expected)
{
    if (strcmp(text, "classes") == 0) {
        snprintf(expected, WTL_EXPECTED_SIZE, "a line 'classes N' above");
        *value = context->classes;
        context->classes_used = true;
        return context->classes > 0;
    }
    if (strstr(text, "width") && context->width <= 0) {
        snprintf(expected, WTL_EXPECTED_SIZE, "a line 'width W' above");
        return false;
    }
    int channels;
    if (!read_scaled(text, context, &channels) || channels < option->low ||
        channels > option->high) {
        return false;
    }
    *value = channels;
    return true;
}

static bool read_pad(const wtl_layer_option *option, const char *text, int pad[4])
{
    int low = (int)option->low, high = (int)option->high, v[4];
    int count = wtl_read_ints(text, ',', low, high, v, 4);
    if (count == 4) {
        memcpy(pad, v, sizeof v);
        return true;
    }
    count = wtl_read_ints(text, 'x', low, high, v, 2);
    if (count == 0) {
        return false;
    }
    pad[0] = pad[1] = v[0];
    pad[2] = pad[3] = v[count - 1];
    return true;
}

static bool read_init(const char *text, wtl_init *init)
{
    const char *colon = strchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : strlen(text);
    for (int kind = 0; kind < INIT_KINDS; kind++) {
        const char *word = init_words[kind];
        if (strlen(word) != length || memcmp(word, text, length) != 0) {
            continue;
        }
        wtl_init read = {.kind = (wtl_init_kind)kind};
        if (init_has_value(read.kind) != (colon != NULL)) {
            return false;
        }
        double low = read.kind == WTL_INIT_CONST ? -1e6 : 0.0;
        if (colon && wtl_read_floats(colon + 1, ':', low, 1e6, &read.value, 1) != 1) {
            return false;
        }
        *init = read;
        return true;
    }
    return false;
}

/* `words` is "a|b": *second tells which of the two `text` is. */
static bool read_word(const char *words, const char *text, bool *second)
{
    const char *bar = strchr(words, '|');
    size_t length = strlen(text);
    bool is_second = strcmp(text, bar + 1) == 0;
    if (!is_second && (length != (size_t)(bar - words) || memcmp(text, words, length) != 0)) {
        return false;
    }
    *second = is_second;
    return true;
}

static void say_expected(const wtl_layer_option *option, char expected[WTL_EXPECTED_SIZE])
{
    static const char *const forms[] = {
        [WTL_OPTION_INT] = "a whole number",
        [WTL_OPTION_CHANNELS] =
            "N, N*width, N*max(1,width), M*(N*width) or classes, with a result",
        [WTL_OPTION_FLOAT] = "a number",
        [WTL_OPTION_BOOL] = "yes or no",
        [WTL_OPTION_PAIR] = "N or NxN, each",
        [WTL_OPTION_PAD] = "N, NxN or N,N,N,N, each",
        [WTL_OPTION_INIT] = "const:V, gauss:SD, uniform:A, xavier, msra, msra-out or torch",
    };
    const char *bar;
    switch (option->type) {
    case WTL_OPTION_WORD:
        bar = strchr(option->words, '|');
        snprintf(expected, WTL_EXPECTED_SIZE, "%.*s or %s", (int)(bar - option->words),
                 option->words, bar + 1);
        break;
    case WTL_OPTION_BOOL:
    case WTL_OPTION_INIT:
        snprintf(expected, WTL_EXPECTED_SIZE, "%s", forms[option->type]);
        break;
    default:
        snprintf(expected, WTL_EXPECTED_SIZE, "%s %.9g..%.9g", forms[option->type], option->low,
                 option->high);
    }
}

bool wtl_option_read(wtl_layer_def *def, const wtl_layer_option *option, const char *text,
                     wtl_option_context *context, char expected[WTL_EXPECTED_SIZE])
{
    void *to = field(def, option);
    int low = (int)option->low, high = (int)option->high;
    int *ints = to, count;
    say_expected(option, expected);
    switch (option->type) {
    case WTL_OPTION_INT:
        return wtl_parse_int(text, low, high, to);
    case WTL_OPTION_CHANNELS:
        return read_channels(option, text, context, to, expected);
    case WTL_OPTION_FLOAT:
        return wtl_read_floats(text, ' ', option->low, option->high, to, 1) == 1;
    case WTL_OPTION_BOOL:
        return read_word("no|yes", text, to);
    case WTL_OPTION_PAIR:
        count = wtl_read_ints(text, 'x', low, high, ints, 2);
        if (count == 1) {
            ints[1] = ints[0];
        }
        return count > 0;
    case WTL_OPTION_PAD:
        return read_pad(option, text, to);
    case WTL_OPTION_INIT:
        return read_init(text, to);
    case WTL_OPTION_WORD:
        return read_word(option->words, text, to);
    }
    return false;
}

void wtl_option_set_default(wtl_layer_def *def, const wtl_layer_option *option)
{
    if (!option->default_text) {
        return;
    }
    wtl_layer_option wide = *option;
    wide.low = -INT_MAX;
    wide.high = INT_MAX;
    wtl_option_context none = {0};
    char expected[WTL_EXPECTED_SIZE];
    bool good = wtl_option_read(def, &wide, option->default_text, &none, expected);
    assert(good && "a default text of an option table does not parse");
    (void)good;
}

/* ---- comparing and writing ---- */

bool wtl_option_equal(const wtl_layer_option *option, const wtl_layer_def *a,
                      const wtl_layer_def *b)
{
    const void *x = const_field(a, option), *y = const_field(b, option);
    const wtl_init *init_x = x, *init_y = y;
    switch (option->type) {
    case WTL_OPTION_INT:
    case WTL_OPTION_CHANNELS:
        return *(const int *)x == *(const int *)y;
    case WTL_OPTION_FLOAT:
        return *(const float *)x == *(const float *)y;
    case WTL_OPTION_BOOL:
    case WTL_OPTION_WORD:
        return *(const bool *)x == *(const bool *)y;
    case WTL_OPTION_PAIR:
        return memcmp(x, y, 2 * sizeof(int)) == 0;
    case WTL_OPTION_PAD:
        return memcmp(x, y, 4 * sizeof(int)) == 0;
    case WTL_OPTION_INIT:
        return init_x->kind == init_y->kind && init_x->value == init_y->value;
    }
    return false;
}

void wtl_put_float(wtl_text *out, float value)
{
    char text[32];
    for (int digits = 1; digits <= 9; digits++) {
        double back;
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        if (wtl_parse_double(text, -HUGE_VAL, HUGE_VAL, &back) && (float)back == value) {
            break;
        }
    }
    wtl_text_printf(out, "%s", text);
}

static void put_pad(wtl_text *out, const int pad[4])
{
    if (pad[0] != pad[1] || pad[2] != pad[3]) {
        wtl_text_printf(out, "%d,%d,%d,%d", pad[0], pad[1], pad[2], pad[3]);
    } else if (pad[0] != pad[2]) {
        wtl_text_printf(out, "%dx%d", pad[0], pad[2]);
    } else {
        wtl_text_printf(out, "%d", pad[0]);
    }
}

static void put_init(wtl_text *out, const wtl_init *init)
{
    wtl_text_printf(out, "%s", init_words[init->kind]);
    if (init_has_value(init->kind)) {
        wtl_text_printf(out, ":");
        wtl_put_float(out, init->value);
    }
}

static void put_word(wtl_text *out, const char *words, bool second)
{
    const char *bar = strchr(words, '|');
    if (second) {
        wtl_text_printf(out, "%s", bar + 1);
    } else {
        wtl_text_put(out, words, (size_t)(bar - words));
    }
}

void wtl_option_put(wtl_text *out, const wtl_layer_option *option, const wtl_layer_def *def)
{
    const void *from = const_field(def, option);
    const int *ints = from;
    switch (option->type) {
    case WTL_OPTION_INT:
    case WTL_OPTION_CHANNELS:
        wtl_text_printf(out, "%d", ints[0]);
        break;
    case WTL_OPTION_FLOAT:
        wtl_put_float(out, *(const float *)from);
        break;
    case WTL_OPTION_BOOL:
        put_word(out, "no|yes", *(const bool *)from);
        break;
    case WTL_OPTION_PAIR:
        wtl_text_printf(out, ints[0] == ints[1] ? "%d" : "%dx%d", ints[0], ints[1]);
        break;
    case WTL_OPTION_PAD:
        put_pad(out, ints);
        break;
    case WTL_OPTION_INIT:
        put_init(out, from);
        break;
    case WTL_OPTION_WORD:
        put_word(out, option->words, *(const bool *)from);
        break;
    }
}
