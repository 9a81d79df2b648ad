/* netdef_parse.c - from text to a network definition. See netdef.h for the language.
 *
 * One pass, line by line: every input must stand above its reader, so a definition can have
 * no cycle. The line is cut into words in a copy of the text.
 */
#include "netdef_options.h"
#include "wattle/memory.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum {
    MOST_TEXT_BYTES = 1 << 20,
    MOST_LAYERS = 10000,
    MOST_NAME_BYTES = 127,
    MOST_INPUT_SIDE = 1 << 16,
    MOST_CLASSES = 1 << 20,
    NAME_SLOTS = 1 << 15 /* a power of two, well above MOST_LAYERS */
};
static const double least_width = 1.0 / 64, most_width = 64.0;

/* The words of one line: blanks were replaced by NUL bytes. */
typedef struct words {
    char *at, *end;
} words;

typedef struct parser {
    const char *file;
    int line;
    wtl_netdef *def;
    const wtl_netdef_options *options;
    wtl_option_context context;
    int text_classes; /* as the text says, whatever the options say */
    bool preprocessed;
    int *slots; /* hash table of layer names: index + 1, or 0 */
    int layer_capacity;
    wtl_error *err;
} parser;

WTL_PRINTF(2, 3) static wtl_status fail(parser *p, const char *format, ...)
{
    if (p->err) {
        char text[WTL_ERROR_TEXT_SIZE];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        return wtl_fail(p->err, WTL_E_FORMAT, "%s:%d: %s", p->file, p->line, text);
    }
    return WTL_E_FORMAT;
}

static wtl_status no_memory(parser *p)
{
    return wtl_fail(p->err, WTL_E_NOMEM, "%s: out of memory", p->file);
}

/* "unknown WHAT 'WORD'; did you mean 'X'?", or what there is. */
static wtl_status fail_unknown(parser *p, const char *what, const char *word,
                               const char *const *known)
{
    const char *near = wtl_suggest(word, known);
    if (near) {
        return fail(p, "unknown %s '%.60s'; did you mean '%s'?", what, word, near);
    }
    char list[WTL_ERROR_TEXT_SIZE] = "";
    size_t used = 0;
    for (; *known && used < sizeof list; known++) {
        used +=
            (size_t)snprintf(list + used, sizeof list - used, "%s%s", used ? ", " : "", *known);
    }
    return fail(p, "unknown %s '%.60s'; expected %s", what, word, list);
}

/* ---- words ---- */

static char *next_word(words *w)
{
    while (w->at < w->end && *w->at == '\0') {
        w->at++;
    }
    char *word = w->at < w->end ? w->at : NULL;
    while (w->at < w->end && *w->at != '\0') {
        w->at++;
    }
    return word;
}

static wtl_status end_of_line(parser *p, words *w)
{
    const char *word = next_word(w);
    return word ? fail(p, "unexpected '%.60s' at the end of the line", word) : WTL_OK;
}

static wtl_status check_name(parser *p, const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "0123456789_-./";
    if (strlen(name) > MOST_NAME_BYTES) {
        return fail(p, "the name '%.20s...' is longer than %d characters", name,
                    MOST_NAME_BYTES);
    }
    if (name[strspn(name, allowed)] != '\0') {
        return fail(p, "the name '%.60s' has other characters than letters, digits and _-./",
                    name);
    }
    return WTL_OK;
}

/* Cut "word=value" at the '='; NULL, with the word left whole, if there is none. */
static char *cut_value(char *word)
{
    char *equals = strchr(word, '=');
    if (!equals) {
        return NULL;
    }
    *equals = '\0';
    return equals + 1;
}

/* ---- layers by name ---- */

static int *slot_of(parser *p, const char *name)
{
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (const char *c = name; *c; c++) {
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    }
    for (uint32_t at = hash;; at++) {
        int *slot = &p->slots[at % NAME_SLOTS];
        if (*slot == 0 || strcmp(p->def->layers[*slot - 1].name, name) == 0) {
            return slot;
        }
    }
}

/* Append an empty layer called `name`. */
static wtl_status add_layer(parser *p, const char *name, wtl_layer_kind kind)
{
    wtl_netdef *def = p->def;
    wtl_status status = check_name(p, name);
    if (status != WTL_OK) {
        return status;
    }
    int *slot = slot_of(p, name);
    if (*slot) {
        return fail(p, "the name '%s' is taken by the layer on line %d", name,
                    def->layers[*slot - 1].line);
    }
    if (def->layer_count == MOST_LAYERS) {
        return fail(p, "more than %d layers", MOST_LAYERS);
    }
    if (def->layer_count == p->layer_capacity) {
        int larger = p->layer_capacity * 2 + 16;
        if (wtl_grow((void **)&def->layers, (size_t)p->layer_capacity, (size_t)larger,
                     sizeof *def->layers) != WTL_OK) {
            return no_memory(p);
        }
        p->layer_capacity = larger;
    }
    char *copy = wtl_strdup(name);
    if (!copy) {
        return no_memory(p);
    }
    def->layers[def->layer_count++] =
        (wtl_layer_def){.name = copy, .kind = kind, .line = p->line};
    *slot = def->layer_count;
    return WTL_OK;
}

static wtl_status fail_input(parser *p, const char *word)
{
    const wtl_netdef *def = p->def;
    /* The layer being read is the last one and no input for itself. */
    int count = def->layer_count - 1;
    const char **names = wtl_alloc((size_t)count + 1, sizeof *names);
    for (int i = 0; names && i < count; i++) {
        names[i] = def->layers[i].name;
    }
    const char *near = names ? wtl_suggest(word, names) : NULL;
    wtl_status status =
        near ? fail(p, "no layer '%.60s' above; did you mean '%s'?", word, near)
             : fail(p, "no layer '%.60s' above; an input must stand before its reader", word);
    wtl_free(names);
    return status;
}

/* ---- the head of the text ---- */

static wtl_status read_net(parser *p, words *w)
{
    const char *name = next_word(w);
    if (p->def->name) {
        return fail(p, "a second 'net' line");
    }
    if (!name) {
        return fail(p, "expected 'net NAME'");
    }
    wtl_status status = check_name(p, name);
    if (status != WTL_OK) {
        return status;
    }
    p->def->name = wtl_strdup(name);
    return p->def->name ? end_of_line(p, w) : no_memory(p);
}

static wtl_status read_classes(parser *p, words *w)
{
    const char *count = next_word(w);
    if (p->def->classes > 0) {
        return fail(p, "a second 'classes' line");
    }
    int classes;
    if (!count || !wtl_parse_int(count, 1, MOST_CLASSES, &classes)) {
        return fail(p, "expected 'classes N' with N in 1..%d", MOST_CLASSES);
    }
    p->text_classes = classes;
    if (p->options && p->options->classes > 0) {
        classes = p->options->classes;
    }
    p->def->classes = classes;
    p->context.classes = classes;
    return end_of_line(p, w);
}

static wtl_status read_width(parser *p, words *w)
{
    wtl_option_context *c = &p->context;
    const char *number = next_word(w);
    if (c->width > 0) {
        return fail(p, "a second 'width' line");
    }
    double width;
    if (!number || !wtl_parse_double(number, least_width, most_width, &width)) {
        return fail(p, "expected 'width W' or 'width W multiple=M' with W in %g..%g",
                    least_width, most_width);
    }
    c->width = p->options && p->options->width > 0 ? p->options->width : width;
    c->multiple = 1;
    char *word = next_word(w);
    if (word) {
        const char *value = cut_value(word);
        if (!value || strcmp(word, "multiple") != 0 ||
            !wtl_parse_int(value, 1, 1024, &c->multiple)) {
            return fail(p, "expected 'multiple=M' with M in 1..1024 after the width");
        }
    }
    return end_of_line(p, w);
}

static wtl_status read_input(parser *p, words *w)
{
    wtl_netdef *def = p->def;
    const char *name = next_word(w), *size = next_word(w);
    if (def->layer_count > 0) {
        return fail(p, "a second 'input' line");
    }
    int side[3];
    if (!size || wtl_read_ints(size, 'x', 1, MOST_INPUT_SIDE, side, 3) != 3) {
        return fail(p, "expected 'input NAME CxHxW', each of C, H, W in 1..%d",
                    MOST_INPUT_SIDE);
    }
    if ((double)side[0] * side[1] * side[2] > INT_MAX) {
        return fail(p, "an input of %s has more than 2^31 values", size);
    }
    def->input = (wtl_shape){side[0], side[1], side[2]};
    def->preprocess.channels = side[0];
    def->preprocess.height = side[1];
    def->preprocess.width = side[2];
    wtl_status status = add_layer(p, name, WTL_LAYER_INPUT);
    return status == WTL_OK ? end_of_line(p, w) : status;
}

/* ---- preprocessing ---- */

static bool read_order(wtl_preprocess *pre, const char *value)
{
    pre->order = strcmp(value, "bgr") == 0 ? WTL_ORDER_BGR : WTL_ORDER_RGB;
    return pre->order == WTL_ORDER_BGR || strcmp(value, "rgb") == 0;
}

static bool read_resize(wtl_preprocess *pre, const char *value)
{
    if (strcmp(value, "none") == 0) {
        return true;
    }
    int side = pre->height > pre->width ? pre->height : pre->width;
    if (strncmp(value, "warp:", 5) == 0) {
        pre->rule = WTL_RESIZE_WARP;
        return wtl_parse_int(value + 5, side, MOST_INPUT_SIDE, &pre->resize);
    }
    pre->rule = WTL_RESIZE_SHORT;
    return strncmp(value, "short:", 6) == 0 &&
           wtl_parse_int(value + 6, side, MOST_INPUT_SIDE, &pre->resize);
}

static bool read_scale(wtl_preprocess *pre, const char *value)
{
    return wtl_read_floats(value, ',', 1e-9, 1e9, &pre->scale, 1) == 1;
}

/* One number for all channels, or one a channel. */
static bool read_per_channel(const wtl_preprocess *pre, const char *value, double low,
                             float *values)
{
    int count = wtl_read_floats(value, ',', low, 1e9, values, pre->channels);
    for (int c = 1; count == 1 && c < WTL_MAX_IMAGE_CHANNELS; c++) {
        values[c] = values[0];
    }
    return count == 1 || count == pre->channels;
}

static bool read_mean(wtl_preprocess *pre, const char *value)
{
    return read_per_channel(pre, value, -1e9, pre->mean);
}

static bool read_std(wtl_preprocess *pre, const char *value)
{
    return read_per_channel(pre, value, 1e-9, pre->deviation);
}

static const struct {
    const char *expected;
    bool (*read)(wtl_preprocess *pre, const char *value);
} preprocess_options[] = {
    {"rgb or bgr", read_order},
    {"none, warp:SIDE or short:SIDE, no smaller than the input", read_resize},
    {"a number above 0", read_scale},
    {"one number, or one a channel", read_mean},
    {"one number above 0, or one a channel", read_std},
};
static const char *const preprocess_words[] = {"order", "resize", "scale", "mean", "std", NULL};

static int find_word(const char *const *known, const char *word)
{
    for (int i = 0; known[i]; i++) {
        if (strcmp(known[i], word) == 0) {
            return i;
        }
    }
    return -1;
}

static wtl_status read_preprocess(parser *p, words *w)
{
    wtl_preprocess *pre = &p->def->preprocess;
    if (p->preprocessed) {
        return fail(p, "a second 'preprocess' line");
    }
    if (p->def->layer_count == 0) {
        return fail(p, "'preprocess' before the 'input' line");
    }
    if (pre->channels != 1 && pre->channels != 3) {
        return fail(p, "'preprocess' takes pictures of 1 or 3 channels, not %d", pre->channels);
    }
    p->preprocessed = true;
    unsigned given = 0;
    for (char *word; (word = next_word(w)) != NULL;) {
        const char *value = cut_value(word);
        int which = find_word(preprocess_words, word);
        if (which < 0) {
            return fail_unknown(p, "option of preprocess", word, preprocess_words);
        }
        if (given & 1u << which) {
            return fail(p, "%s is given twice", word);
        }
        if (!value || !preprocess_options[which].read(pre, value)) {
            return fail(p, "%s=%.60s: expected %s", word, value ? value : "",
                        preprocess_options[which].expected);
        }
        given |= 1u << which;
    }
    return given ? WTL_OK : fail(p, "expected 'preprocess order=... mean=... std=...'");
}

/* ---- layers ---- */

enum { MOST_OPTIONS = 16 };

static wtl_status find_kind(parser *p, const char *word, wtl_layer_kind *kind)
{
    const char *known[WTL_LAYER_KIND_COUNT];
    int count = 0;
    for (int k = WTL_LAYER_INPUT + 1; k < WTL_LAYER_KIND_COUNT; k++) {
        known[count++] = wtl_layer_kind_name((wtl_layer_kind)k);
    }
    known[count] = NULL;
    int which = find_word(known, word);
    if (which < 0) {
        return fail_unknown(p, "layer kind", word, known);
    }
    *kind = (wtl_layer_kind)(WTL_LAYER_INPUT + 1 + which);
    return WTL_OK;
}

/* Read input names up to the first option, whose word is left in *option (or NULL). */
static wtl_status read_inputs(parser *p, words *w, wtl_layer_def *layer, char **option)
{
    int capacity = 0;
    char *word;
    while ((word = next_word(w)) != NULL && !strchr(word, '=')) {
        int index = *slot_of(p, word) - 1;
        if (index < 0 || index == p->def->layer_count - 1) {
            return fail_input(p, word);
        }
        if (p->def->layers[index].kind == WTL_LAYER_SOFTMAX) {
            return fail(p, "'%.60s' is a softmax, a head of the net: no layer can read it",
                        word);
        }
        if (layer->input_count == capacity) {
            int larger = capacity * 2 + 2;
            if (wtl_grow((void **)&layer->inputs, (size_t)capacity, (size_t)larger,
                         sizeof *layer->inputs) != WTL_OK) {
                return no_memory(p);
            }
            capacity = larger;
        }
        layer->inputs[layer->input_count++] = index;
    }
    *option = word;
    return WTL_OK;
}

static wtl_status check_input_count(parser *p, const wtl_layer_ops *ops, int count)
{
    if (count >= ops->least_inputs && (ops->most_inputs == 0 || count <= ops->most_inputs)) {
        return WTL_OK;
    }
    if (ops->least_inputs == ops->most_inputs) {
        return fail(p, "%s takes %d input%s, not %d", ops->word, ops->least_inputs,
                    ops->least_inputs == 1 ? "" : "s", count);
    }
    if (ops->most_inputs == 0) {
        return fail(p, "%s takes %d or more inputs, not %d", ops->word, ops->least_inputs,
                    count);
    }
    return fail(p, "%s takes %d to %d inputs, not %d", ops->word, ops->least_inputs,
                ops->most_inputs, count);
}

static wtl_status fail_option(parser *p, const wtl_layer_ops *ops, const char *word)
{
    const char *known[MOST_OPTIONS + 1] = {NULL};
    for (int i = 0; ops->options && ops->options[i].name && i < MOST_OPTIONS; i++) {
        known[i] = ops->options[i].name;
    }
    if (!known[0]) {
        return fail(p, "unknown option '%.60s'; %s takes none", word, ops->word);
    }
    char what[64];
    snprintf(what, sizeof what, "option of %s", ops->word);
    return fail_unknown(p, what, word, known);
}

static wtl_status read_option(parser *p, const wtl_layer_ops *ops, wtl_layer_def *layer,
                              char *word, unsigned *given)
{
    const char *value = cut_value(word);
    if (!value) {
        return fail(p, "unexpected '%.60s'; expected OPTION=VALUE or the end of the line",
                    word);
    }
    int which = 0;
    const wtl_layer_option *options = ops->options;
    while (options && options[which].name && strcmp(options[which].name, word) != 0) {
        which++;
    }
    if (!options || !options[which].name) {
        return fail_option(p, ops, word);
    }
    if (*given & 1u << which) {
        return fail(p, "%s is given twice", word);
    }
    *given |= 1u << which;
    char expected[WTL_EXPECTED_SIZE];
    if (!wtl_option_read(layer, &options[which], value, &p->context, expected)) {
        return fail(p, "%s=%.60s: expected %s", word, value, expected);
    }
    return WTL_OK;
}

static wtl_status read_options(parser *p, words *w, const wtl_layer_ops *ops,
                               wtl_layer_def *layer, char *first)
{
    const wtl_layer_option *options = ops->options;
    for (int i = 0; options && options[i].name; i++) {
        wtl_option_set_default(layer, &options[i]);
    }
    unsigned given = 0;
    for (char *word = first; word; word = next_word(w)) {
        wtl_status status = read_option(p, ops, layer, word, &given);
        if (status != WTL_OK) {
            return status;
        }
    }
    for (int i = 0; options && options[i].name; i++) {
        if (!options[i].default_text && !(given & 1u << i)) {
            return fail(p, "%s needs %s=...", ops->word, options[i].name);
        }
    }
    if (ops->check && ops->check(layer, p->err) != WTL_OK) {
        char place[WTL_ERROR_TEXT_SIZE];
        snprintf(place, sizeof place, "%s:%d", p->file, p->line);
        return wtl_fail_in(p->err, WTL_E_FORMAT, place);
    }
    return WTL_OK;
}

/* NAME = KIND INPUT... OPTION=VALUE... */
static wtl_status read_layer(parser *p, words *w, const char *name)
{
    if (p->def->layer_count == 0) {
        return fail(p, "a layer before the 'input' line");
    }
    const char *word = next_word(w);
    if (!word) {
        return fail(p, "expected NAME = KIND INPUT... OPTION=VALUE...");
    }
    wtl_layer_kind kind = WTL_LAYER_INPUT;
    wtl_status status = find_kind(p, word, &kind);
    if (status != WTL_OK) {
        return status;
    }
    status = add_layer(p, name, kind);
    if (status != WTL_OK) {
        return status;
    }
    wtl_layer_def *layer = &p->def->layers[p->def->layer_count - 1];
    const wtl_layer_ops *ops = wtl_layer_ops_of(kind);
    char *option = NULL;
    status = read_inputs(p, w, layer, &option);
    if (status != WTL_OK) {
        return status;
    }
    status = check_input_count(p, ops, layer->input_count);
    return status == WTL_OK ? read_options(p, w, ops, layer, option) : status;
}

/* ---- lines ---- */

static const char *const keywords[] = {"net", "classes", "width", "input", "preprocess", NULL};
static wtl_status (*const readers[])(parser *, words *) = {read_net, read_classes, read_width,
                                                           read_input, read_preprocess};

static wtl_status read_statement(parser *p, words w)
{
    const char *first = next_word(&w);
    if (!first) {
        return WTL_OK;
    }
    words behind = w;
    const char *second = next_word(&behind);
    if (second && strcmp(second, "=") == 0) {
        return read_layer(p, &behind, first);
    }
    int which = find_word(keywords, first);
    if (which >= 0) {
        return readers[which](p, &w);
    }
    const char *near = wtl_suggest(first, keywords);
    if (near) {
        return fail(p, "unknown word '%.60s'; did you mean '%s'?", first, near);
    }
    return fail(p, "expected NAME = KIND INPUT... or a line that begins with net, classes, "
                   "width, input or preprocess");
}

static wtl_status read_line(parser *p, char *line, char *end)
{
    if (end > line && end[-1] == '\r') {
        end--;
    }
    char *comment = NULL;
    for (char *c = line; c < end; c++) {
        unsigned char byte = (unsigned char)*c;
        if ((byte < ' ' && byte != '\t') || byte == 127) {
            return fail(p, "byte 0x%02x is no text", byte);
        }
        if (byte == '#' && !comment) {
            comment = c;
        }
        if (byte == ' ' || byte == '\t') {
            *c = '\0';
        }
    }
    end = comment ? comment : end;
    *end = '\0';
    return read_statement(p, (words){line, end});
}

/* `text` ends in a NUL that belongs to us and is not counted. */
static wtl_status read_lines(parser *p, char *text, size_t length)
{
    char *end = text + length;
    for (char *line = text; line < end;) {
        char *newline = memchr(line, '\n', (size_t)(end - line));
        char *line_end = newline ? newline : end;
        p->line++;
        wtl_status status = read_line(p, line, line_end);
        if (status != WTL_OK) {
            return status;
        }
        line = line_end + 1;
    }
    return WTL_OK;
}

/* What can only be said once all lines are read. */
static wtl_status check_whole(const parser *p)
{
    const wtl_netdef *def = p->def;
    const wtl_netdef_options *options = p->options;
    if (!def->name) {
        return wtl_fail(p->err, WTL_E_FORMAT, "%s: no 'net NAME' line", p->file);
    }
    if (def->layer_count < 2) {
        return wtl_fail(p->err, WTL_E_FORMAT, "%s: %s", p->file,
                        def->layer_count == 0 ? "no 'input NAME CxHxW' line"
                                              : "no layer after the input");
    }
    if (options && options->width > 0 && p->context.width <= 0) {
        return wtl_fail(p->err, WTL_E_ARG, "%s: width=%g does not apply: no 'width' line",
                        p->file, options->width);
    }
    if (options && options->classes > 0 && def->classes == 0) {
        return wtl_fail(p->err, WTL_E_ARG, "%s: classes=%d does not apply: no 'classes' line",
                        p->file, options->classes);
    }
    /* A canonical text has its classes resolved: another number would change nothing. */
    if (options && def->classes != p->text_classes && !p->context.classes_used) {
        return wtl_fail(p->err, WTL_E_ARG, "%s: classes=%d does not apply: no out=classes",
                        p->file, options->classes);
    }
    return WTL_OK;
}

static wtl_status check_options(const char *file, const wtl_netdef_options *options,
                                wtl_error *err)
{
    if (options && options->width != 0 &&
        !(options->width >= least_width && options->width <= most_width)) {
        return wtl_fail(err, WTL_E_ARG, "%s: width=%g is outside %g..%g", file, options->width,
                        least_width, most_width);
    }
    if (options && (options->classes < 0 || options->classes > MOST_CLASSES)) {
        return wtl_fail(err, WTL_E_ARG, "%s: classes=%d is outside 1..%d", file,
                        options->classes, MOST_CLASSES);
    }
    return WTL_OK;
}

static wtl_status parse_copy(parser *p, const char *text, size_t length)
{
    char *copy = wtl_strndup(text, length);
    p->slots = wtl_alloc(NAME_SLOTS, sizeof *p->slots);
    p->def = wtl_alloc(1, sizeof *p->def);
    wtl_status status = WTL_E_NOMEM;
    if (!copy || !p->slots || !p->def) {
        (void)no_memory(p);
    } else {
        wtl_preprocess *pre = &p->def->preprocess;
        pre->scale = 1.0f;
        for (int c = 0; c < WTL_MAX_IMAGE_CHANNELS; c++) {
            pre->deviation[c] = 1.0f;
        }
        status = read_lines(p, copy, length);
    }
    wtl_free(copy);
    wtl_free(p->slots);
    return status == WTL_OK ? check_whole(p) : status;
}

wtl_status wtl_netdef_parse(wtl_netdef **out, const char *text, size_t length, const char *file,
                            const wtl_netdef_options *options, wtl_error *err)
{
    *out = NULL;
    wtl_status status = check_options(file, options, err);
    if (status != WTL_OK) {
        return status;
    }
    if (length > MOST_TEXT_BYTES) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: the text is longer than %d bytes", file,
                        MOST_TEXT_BYTES);
    }
    parser p = {.file = file, .options = options, .err = err};
    status = parse_copy(&p, text, length);
    if (status != WTL_OK) {
        wtl_netdef_free(p.def);
        return status;
    }
    *out = p.def;
    return WTL_OK;
}
