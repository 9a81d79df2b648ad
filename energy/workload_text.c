/* workload_text.c - the 25-column text, in and out. */
#include "workload_private.h"

#include "wattle/memory.h"
#include "wattle/text.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_LAYERS = 4096, FIELD_SIZE = 64, SHOWN = 20 };

static const double MOST_ZEROS = 9007199254740992.0; /* 2^53 */

/* A stretch of the text, not ended by NUL. */
typedef struct span {
    const char *start, *end;
} span;

typedef struct reader {
    wtl_workload *out;
    int room; /* layers allocated */
    const char *file;
    int line;       /* from 1 */
    bool seen_text; /* a line that is not blank has gone by: no header any more */
    wtl_error *err;
} reader;

static span trimmed(span s)
{
    while (s.start < s.end && isspace((unsigned char)*s.start)) {
        s.start++;
    }
    while (s.end > s.start && isspace((unsigned char)s.end[-1])) {
        s.end--;
    }
    return s;
}

/* Cuts the next field off `rest`; false behind the last one. */
static bool next_field(span *rest, span *field)
{
    if (!rest->start) {
        return false;
    }
    const char *comma = memchr(rest->start, ',', (size_t)(rest->end - rest->start));
    *field = trimmed((span){rest->start, comma ? comma : rest->end});
    rest->start = comma ? comma + 1 : NULL;
    return true;
}

static int count_fields(span line)
{
    span field;
    int count = 0;
    while (next_field(&line, &field)) {
        count++;
    }
    return count;
}

/* Every field begins with a letter: no layer has such a field. */
static bool is_header(span line)
{
    span field;
    while (next_field(&line, &field)) {
        if (field.start == field.end || !isalpha((unsigned char)*field.start)) {
            return false;
        }
    }
    return true;
}

/* "file:line: filter zeros (field 12): '-5'; expected ..." */
static wtl_status refuse(const reader *r, int index, span field, const char *expected)
{
    int length = (int)(field.end - field.start < SHOWN ? field.end - field.start : SHOWN);
    return wtl_fail(r->err, WTL_E_FORMAT, "%s:%d: %s (field %d): '%.*s%s'; expected %s",
                    r->file, r->line, wtl_work_fields[index].name, index + 1, length,
                    field.start, field.end - field.start > SHOWN ? "..." : "", expected);
}

static wtl_status read_int(const reader *r, int index, span field, const char *text, int *value)
{
    const wtl_work_field *is = &wtl_work_fields[index];
    if (wtl_parse_int(text, is->low, is->high, value)) {
        return WTL_OK;
    }
    char expected[64];
    snprintf(expected, sizeof expected, "a whole number from %d to %d", is->low, is->high);
    return refuse(r, index, field, expected);
}

static wtl_status read_zeros(const reader *r, int index, span field, const char *text,
                             double *value)
{
    if (wtl_parse_double(text, 0, MOST_ZEROS, value) && *value == floor(*value)) {
        *value = fabs(*value); /* "-0" */
        return WTL_OK;
    }
    return refuse(r, index, field,
                  "a whole number of zeros, 0 or more, such as 357310 or 3.5731e+05");
}

static wtl_status read_field(const reader *r, int index, span field, wtl_work_layer *layer)
{
    char text[FIELD_SIZE];
    size_t length = (size_t)(field.end - field.start);
    bool fits = length < sizeof text && memchr(field.start, '\0', length) == NULL;
    memcpy(text, field.start, fits ? length : 0);
    text[fits ? length : 0] = '\0';
    const wtl_work_field *is = &wtl_work_fields[index];
    void *member = (char *)layer + is->offset;
    return is->is_zeros ? read_zeros(r, index, field, text, member)
                        : read_int(r, index, field, text, member);
}

/* A count of five digits can round up to above the tensor's size: then all are zero. */
static void undo_rounding(wtl_work_tensor *tensor)
{
    double values = wtl_work_values(tensor);
    char rounded[32];
    snprintf(rounded, sizeof rounded, "%.4e", values);
    if (tensor->zeros > values && strtod(rounded, NULL) == tensor->zeros) {
        tensor->zeros = values;
    }
}

static wtl_status read_layer(const reader *r, span line, wtl_work_layer *layer)
{
    int count = count_fields(line);
    if (count != WTL_WORK_FIELD_COUNT) {
        return wtl_fail(r->err, WTL_E_FORMAT, "%s:%d: %d fields; expected %d, with commas",
                        r->file, r->line, count, WTL_WORK_FIELD_COUNT);
    }
    *layer = (wtl_work_layer){.dilation = {1, 1}};
    span field;
    for (int i = 0; next_field(&line, &field); i++) {
        wtl_status status = read_field(r, i, field, layer);
        if (status != WTL_OK) {
            return status;
        }
    }
    undo_rounding(&layer->ifmap);
    undo_rounding(&layer->filter);
    undo_rounding(&layer->ofmap);
    if (wtl_work_layer_check(layer, r->err) != WTL_OK) {
        char place[WTL_ERROR_TEXT_SIZE];
        snprintf(place, sizeof place, "%s:%d", r->file, r->line);
        return wtl_fail_in(r->err, WTL_E_FORMAT, place);
    }
    return WTL_OK;
}

static wtl_status check_new(const reader *r, const wtl_work_layer *layer)
{
    for (int i = 0; i < r->out->layer_count; i++) {
        if (r->out->layers[i].index == layer->index) {
            return wtl_fail(r->err, WTL_E_FORMAT,
                            "%s:%d: layer index (field 1): %d; expected one that no layer "
                            "before has",
                            r->file, r->line, layer->index);
        }
    }
    return r->out->layer_count < MOST_LAYERS
               ? WTL_OK
               : wtl_fail(r->err, WTL_E_FORMAT, "%s:%d: more than %d layers", r->file, r->line,
                          MOST_LAYERS);
}

static wtl_status add_layer(reader *r, const wtl_work_layer *layer)
{
    wtl_workload *out = r->out;
    if (out->layer_count == r->room) {
        int room = r->room ? 2 * r->room : 16;
        void *layers = out->layers;
        if (wtl_grow(&layers, (size_t)r->room, (size_t)room, sizeof *layer) != WTL_OK) {
            return wtl_fail(r->err, WTL_E_NOMEM, "%s: out of memory", r->file);
        }
        out->layers = layers;
        r->room = room;
    }
    out->layers[out->layer_count++] = *layer;
    out->weight_zeros_measured |= layer->filter.zeros > 0;
    out->activation_zeros_measured |= layer->ifmap.zeros > 0 || layer->ofmap.zeros > 0;
    return WTL_OK;
}

static wtl_status read_line(reader *r, span line)
{
    const char *comment = memchr(line.start, '#', (size_t)(line.end - line.start));
    line = trimmed((span){line.start, comment ? comment : line.end});
    if (line.start == line.end) {
        return WTL_OK;
    }
    bool first = !r->seen_text;
    r->seen_text = true;
    if (first && is_header(line)) {
        return WTL_OK;
    }
    wtl_work_layer layer;
    wtl_status status = read_layer(r, line, &layer);
    if (status == WTL_OK) {
        status = check_new(r, &layer);
    }
    return status == WTL_OK ? add_layer(r, &layer) : status;
}

static wtl_status read_lines(reader *r, span text)
{
    while (text.start < text.end) {
        const char *newline = memchr(text.start, '\n', (size_t)(text.end - text.start));
        const char *end = newline ? newline : text.end;
        r->line++;
        wtl_status status = read_line(r, (span){text.start, end});
        if (status != WTL_OK) {
            return status;
        }
        text.start = newline ? newline + 1 : text.end;
    }
    return r->out->layer_count > 0
               ? WTL_OK
               : wtl_fail(r->err, WTL_E_FORMAT, "%s: no layer; expected lines of %d fields",
                          r->file, WTL_WORK_FIELD_COUNT);
}

wtl_status wtl_workload_parse(wtl_workload *out, const char *text, size_t length,
                              const char *file, wtl_error *err)
{
    *out = (wtl_workload){0};
    snprintf(out->name, sizeof out->name, "%s", file);
    reader r = {.out = out, .file = file, .err = err};
    wtl_status status = read_lines(&r, (span){text, text + length});
    if (status != WTL_OK) {
        wtl_workload_clear(out);
    }
    return status;
}

static wtl_status check_sayable(const wtl_work_layer *layer, wtl_error *err)
{
    wtl_status status = wtl_work_layer_check(layer, err);
    if (status == WTL_OK && (layer->dilation[0] > 1 || layer->dilation[1] > 1)) {
        status =
            wtl_fail(err, WTL_E_RANGE, "dilation %dx%d; the 25-column text has no field for it",
                     layer->dilation[0], layer->dilation[1]);
    }
    if (status != WTL_OK) {
        char place[WTL_WORK_NAME_SIZE + 32];
        snprintf(place, sizeof place, "layer %d%s%s", layer->index, layer->name[0] ? " " : "",
                 layer->name);
        return wtl_fail_in(err, status, place);
    }
    return WTL_OK;
}

static void write_layer(wtl_text *text, const wtl_work_layer *layer)
{
    for (int i = 0; i < WTL_WORK_FIELD_COUNT; i++) {
        const wtl_work_field *field = &wtl_work_fields[i];
        const void *member = (const char *)layer + field->offset;
        const char *comma = i > 0 ? "," : "";
        if (field->is_zeros) {
            /* A mean over sampled images need not be whole; the text counts whole zeros. */
            wtl_text_printf(text, "%s%.0f", comma, *(const double *)member);
        } else {
            wtl_text_printf(text, "%s%d", comma, *(const int *)member);
        }
    }
    wtl_text_put(text, "\n", 1);
}

wtl_status wtl_workload_text(char **out, const wtl_workload *workload, wtl_error *err)
{
    *out = NULL;
    wtl_text text = {0};
    for (int i = 0; i < workload->layer_count; i++) {
        wtl_status status = check_sayable(&workload->layers[i], err);
        if (status != WTL_OK) {
            wtl_text_clear(&text);
            return status;
        }
        write_layer(&text, &workload->layers[i]);
    }
    *out = wtl_text_take(&text);
    return *out ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "workload: out of memory");
}
