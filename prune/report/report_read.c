/* report_read.c - JSON and CSV of a folder into structs, by tables of fields. */
#include "report_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* ---- texts ---- */

/* The whole of folder/name as text without NUL; *path and *text are the caller's, also after
 * a failure. */
static wtl_status read_text(const char *folder, const char *name, size_t most_bytes,
                            char **path, char **text, wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    *text = NULL;
    *path = wtl_path_join(folder, name);
    if (!*path) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for the path of %s", name);
    }
    wtl_status status = wtl_file_read_plain(*path, most_bytes, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    *text = (char *)bytes;
    const char *nul = memchr(*text, '\0', length);
    if (nul) {
        int line = 1;
        for (const char *c = *text; c < nul; c++) {
            line += *c == '\n';
        }
        return wtl_fail(err, WTL_E_FORMAT, "%s:%d: a NUL byte in a text", *path, line);
    }
    return WTL_OK;
}

/* ---- JSON ---- */

wtl_status wtl_report_json_read(wtl_report_json *out, const char *folder, const char *name,
                                wtl_error *err)
{
    json_error_t why;
    *out = (wtl_report_json){.root = NULL};
    wtl_status status =
        read_text(folder, name, WTL_REPORT_JSON_BYTES, &out->path, &out->text, err);
    if (status == WTL_OK) {
        out->root = json_loads(out->text, JSON_REJECT_DUPLICATES, &why);
        if (!out->root) {
            status = wtl_fail(err, WTL_E_FORMAT, "%s:%d: %s", out->path, why.line, why.text);
        } else if (!json_is_object(out->root)) {
            status = wtl_fail(err, WTL_E_FORMAT, "%s:1: must be an object", out->path);
        }
    }
    if (status != WTL_OK) {
        wtl_report_json_clear(out);
    }
    return status;
}

void wtl_report_json_clear(wtl_report_json *json)
{
    json_decref(json->root);
    wtl_free(json->text);
    wtl_free(json->path);
    *json = (wtl_report_json){.root = NULL};
}

/* Where "key": is first in `text`, or NULL. */
static const char *find_key(const char *text, const char *key)
{
    size_t length = strlen(key);
    for (; (text = strchr(text, '"')); text++) {
        const char *end = text + 1 + length;
        if (strncmp(text + 1, key, length) == 0 && *end == '"' &&
            end[1 + strspn(end + 1, " \t\r\n")] == ':') {
            return text;
        }
    }
    return NULL;
}

/* jansson keeps no places: they are looked for when they are needed. */
static int line_of(const wtl_report_json *json, const char *key)
{
    const char *place = json->place;
    int line = 1;
    if (!place && json_object_get(json->root, key)) {
        place = find_key(json->text, key);
    }
    for (const char *c = json->text; c && c < place; c++) {
        line += *c == '\n';
    }
    return line;
}

/* The place behind the `skipped`-th object or array inside the array that begins at `text`:
 * where the next begins. */
static const char *skip_elements(const char *text, size_t skipped)
{
    int depth = 0;
    bool quoted = false;
    for (; *text; text++) {
        if (quoted) {
            quoted = *text != '"';
            text += *text == '\\' && text[1];
        } else if (*text == '"') {
            quoted = true;
        } else if (*text == '{' || *text == '[') {
            if (++depth == 2 && skipped-- == 0) {
                break;
            }
        } else if (*text == '}' || *text == ']') {
            depth--;
        }
    }
    return text;
}

wtl_status wtl_report_json_wrong(const wtl_report_json *json, const char *key, const char *what,
                                 wtl_error *err)
{
    return wtl_fail(err, WTL_E_FORMAT, "%s:%d: %s must be %s", json->path, line_of(json, key),
                    key, what);
}

static wtl_status wrong_number(const wtl_report_json *json, const wtl_report_field *field,
                               wtl_error *err)
{
    char what[96];
    snprintf(what, sizeof what, "a number from %g to %g", field->low, field->high);
    return wtl_report_json_wrong(json, field->name, what, err);
}

static wtl_status take_number(const wtl_report_json *json, const json_t *value,
                              const wtl_report_field *field, double *to, wtl_error *err)
{
    *to = (double)NAN;
    if ((!value || json_is_null(value)) && field->type == WTL_REPORT_NUMBER) {
        return WTL_OK;
    }
    double number = json_number_value(value);
    if (!json_is_number(value) || !(number >= field->low && number <= field->high)) {
        return wrong_number(json, field, err);
    }
    *to = number;
    return WTL_OK;
}

static wtl_status take(const wtl_report_json *json, const json_t *object,
                       const wtl_report_field *field, char *to, wtl_error *err)
{
    const json_t *value = json_object_get(object, field->name);
    void *member = to + field->offset;
    switch (field->type) {
    case WTL_REPORT_NUMBER:
    case WTL_REPORT_NEEDED:
        return take_number(json, value, field, member, err);
    case WTL_REPORT_TEXT:
        *(const char **)member = json_is_string(value) ? json_string_value(value) : "";
        return !value || json_is_null(value) || json_is_string(value)
                   ? WTL_OK
                   : wtl_report_json_wrong(json, field->name, "a text", err);
    case WTL_REPORT_BOOL:
        *(bool *)member = json_is_true(value);
        return json_is_boolean(value)
                   ? WTL_OK
                   : wtl_report_json_wrong(json, field->name, "true or false", err);
    }
    return WTL_OK;
}

wtl_status wtl_report_take(const wtl_report_json *json, const json_t *object,
                           const wtl_report_field *fields, int count, void *to, wtl_error *err)
{
    wtl_status status = WTL_OK;
    for (int i = 0; i < count && status == WTL_OK; i++) {
        status = take(json, object, &fields[i], to, err);
    }
    return status;
}

/* Where element `index` of the array is; of JSON lines, that line. */
static const char *place_of(const wtl_report_json *json, const char *name, size_t index)
{
    const char *at = json->text;
    if (name) {
        const char *key = find_key(at, name);
        at = key ? skip_elements(key + strlen(name) + 2, index) : at;
    } else {
        for (; index > 0 && (at = strchr(at, '\n')); index--) {
            at++;
        }
    }
    return at;
}

wtl_status wtl_report_check_array(wtl_report_json *json, const char *name,
                                  const wtl_report_field *fields, int count, wtl_error *err)
{
    union {
        double number;
        const char *text;
        bool truth;
    } unused;
    const json_t *array = name ? json_object_get(json->root, name) : json->root;
    size_t length = json_array_size(array);
    const char *what = name ? name : "a line";
    wtl_status status =
        json_is_array(array) ? WTL_OK : wtl_report_json_wrong(json, what, "an array", err);
    for (size_t i = 0; i < length && status == WTL_OK; i++) {
        const json_t *element = json_array_get(array, i);
        if (!json_is_object(element)) {
            return wtl_report_json_wrong(json, what, "an array of objects", err);
        }
        status = wtl_report_take(json, element, fields, count, &unused, NULL);
        if (status != WTL_OK) { /* looking for places is slow: only then */
            json->place = place_of(json, name, i);
            return wtl_report_take(json, element, fields, count, &unused, err);
        }
    }
    return status;
}

double wtl_report_number_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

const char *wtl_report_text_of(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : "";
}

/* ---- JSON lines ---- */

wtl_status wtl_report_lines_read(wtl_report_json *out, const char *folder, const char *name,
                                 wtl_error *err)
{
    *out = (wtl_report_json){.root = NULL};
    wtl_status status =
        read_text(folder, name, WTL_REPORT_PLAN_BYTES, &out->path, &out->text, err);
    if (status == WTL_OK && !(out->root = json_array())) {
        status = wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", out->path);
    }
    int line = 1;
    for (const char *at = out->text; status == WTL_OK && *at; line++) {
        json_error_t why;
        size_t length = strcspn(at, "\n");
        json_t *object = json_loadb(at, length, JSON_REJECT_DUPLICATES, &why);
        if (!object) {
            status = wtl_fail(err, WTL_E_FORMAT, "%s:%d: %s", out->path, line, why.text);
        } else if (!json_is_object(object) || at[length] != '\n') {
            json_decref(object);
            status = wtl_fail(err, WTL_E_FORMAT, "%s:%d: must be an object and a whole line",
                              out->path, line);
        } else if (json_array_append_new(out->root, object) != 0) {
            status = wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", out->path);
        }
        at += length + (at[length] == '\n');
    }
    if (status != WTL_OK) {
        wtl_report_json_clear(out);
    }
    return status;
}

/* ---- CSV ---- */

enum { MOST_COLUMNS = 64 };

typedef struct csv {
    const char *path;
    const wtl_report_field *fields;
    int field_count;
    size_t size; /* of a row's struct */
    int columns;
    int column_of[MOST_COLUMNS]; /* of each field */
    int line;
} csv;

/* Cut the line that begins at *next at its commas and step over it. */
static wtl_status cut_line(csv *c, char **next, char *cells[MOST_COLUMNS], int *count,
                           wtl_error *err)
{
    char *at = *next, *end = strchr(at, '\n');
    c->line++;
    if (!end) { /* rows are written whole */
        return wtl_fail(err, WTL_E_FORMAT, "%s:%d: the line does not end", c->path, c->line);
    }
    *end = '\0';
    *next = end + 1;
    for (*count = 0; at; (*count)++) {
        if (*count == MOST_COLUMNS) {
            return wtl_fail(err, WTL_E_FORMAT, "%s:%d: more than %d fields", c->path, c->line,
                            (int)MOST_COLUMNS);
        }
        cells[*count] = at;
        at = strchr(at, ',');
        if (at) {
            *at++ = '\0';
        }
    }
    return WTL_OK;
}

static wtl_status read_head(csv *c, char **next, wtl_error *err)
{
    char *cells[MOST_COLUMNS];
    wtl_status status = cut_line(c, next, cells, &c->columns, err);
    for (int f = 0; f < c->field_count && status == WTL_OK; f++) {
        int column = 0;
        while (column < c->columns && strcmp(cells[column], c->fields[f].name) != 0) {
            column++;
        }
        c->column_of[f] = column;
        if (column == c->columns) {
            status = wtl_fail(err, WTL_E_FORMAT, "%s:%d: there is no column '%s'", c->path,
                              c->line, c->fields[f].name);
        }
    }
    return status;
}

static wtl_status fill_cell(const csv *c, const wtl_report_field *field, char *cell, void *to,
                            wtl_error *err)
{
    if (field->type == WTL_REPORT_TEXT) {
        *(char **)to = cell;
        return WTL_OK;
    }
    double *number = to;
    *number = (double)NAN;
    if (!cell[0] && field->type == WTL_REPORT_NUMBER) {
        return WTL_OK;
    }
    return wtl_parse_double(cell, field->low, field->high, number)
               ? WTL_OK
               : wtl_fail(err, WTL_E_FORMAT,
                          "%s:%d: %s must be a number from %g to %g, not '%.40s'", c->path,
                          c->line, field->name, field->low, field->high, cell);
}

static wtl_status read_row(csv *c, char **next, char *row, wtl_error *err)
{
    char *cells[MOST_COLUMNS];
    int count;
    wtl_status status = cut_line(c, next, cells, &count, err);
    if (status == WTL_OK && count != c->columns) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s:%d: %d fields under %d columns", c->path,
                          c->line, count, c->columns);
    }
    for (int f = 0; f < c->field_count && status == WTL_OK; f++) {
        const wtl_report_field *field = &c->fields[f];
        status = fill_cell(c, field, cells[c->column_of[f]], row + field->offset, err);
    }
    return status;
}

static wtl_status read_rows(csv *c, char *text, void **rows, int *count, wtl_error *err)
{
    int lines = 0;
    for (const char *at = text; *at; at++) { /* CSV_BYTES bound it */
        lines += *at == '\n';
    }
    wtl_status status = read_head(c, &text, err);
    if (status != WTL_OK) {
        return status;
    }
    *rows = wtl_alloc((size_t)lines, c->size);
    if (!*rows) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for %d rows", c->path, lines);
    }
    for (; *text && status == WTL_OK; (*count)++) {
        status = read_row(c, &text, (char *)*rows + (size_t)*count * c->size, err);
    }
    return status;
}

wtl_status wtl_report_csv_read(void **rows, int *count, char **text, size_t size,
                               const wtl_report_field *fields, int field_count,
                               const char *folder, const char *name, wtl_error *err)
{
    char *path;
    *rows = NULL;
    *count = 0;
    wtl_status status = read_text(folder, name, WTL_REPORT_CSV_BYTES, &path, text, err);
    if (status == WTL_OK) {
        csv c = {.path = path, .fields = fields, .field_count = field_count, .size = size};
        status = read_rows(&c, *text, rows, count, err);
    }
    if (status != WTL_OK) {
        wtl_free(*rows);
        wtl_free(*text);
        *rows = NULL;
        *text = NULL;
        *count = 0;
    }
    wtl_free(path);
    return status;
}
