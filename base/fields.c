/* fields.c - options to and from JSON by a table. */
#include "wattle/fields.h"
#include "wattle/json.h"
#include "wattle/text.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- to JSON ---- */

/* The double with the fewest digits that gives this float back, so that 0.1f is written as
 * 0.1. */
static double shortest(float value)
{
    char text[32];
    double parsed = (double)value;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        parsed = strtod(text, NULL);
        if ((float)parsed == value) {
            break;
        }
    }
    return parsed;
}

static json_t *seed_to_json(uint64_t seed)
{
    char digits[24];
    if (seed <= INT64_MAX) {
        return json_integer((json_int_t)seed);
    }
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)seed);
    return json_string(digits);
}

/* An enum value that has no word becomes null, which no reader takes. */
static json_t *word_to_json(const char *const *words, int value)
{
    for (int i = 0; words[i]; i++) {
        if (i == value) {
            return json_string(words[i]);
        }
    }
    return json_null();
}

static json_t *field_to_json(const wtl_field *f, const void *options)
{
    const void *at = (const char *)options + f->offset;
    switch (f->type) {
    case WTL_FIELD_INT:
        return json_integer(*(const int *)at);
    case WTL_FIELD_REAL:
        return wtl_json_real(*(const double *)at);
    case WTL_FIELD_FLOAT:
        return wtl_json_real(shortest(*(const float *)at));
    case WTL_FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case WTL_FIELD_TEXT:
        return json_string(at);
    case WTL_FIELD_WORD:
        return word_to_json(f->words, *(const int *)at);
    case WTL_FIELD_SEED:
        return seed_to_json(*(const uint64_t *)at);
    }
    return NULL;
}

/* The object a field goes into, made when it is not there yet; NULL without memory. */
static json_t *group_object(json_t *root, const char *group)
{
    if (!group) {
        return root;
    }
    json_t *object = json_object_get(root, group);
    if (!object && json_object_set_new(root, group, json_object()) == 0) {
        object = json_object_get(root, group);
    }
    return object;
}

json_t *wtl_fields_to_json(const wtl_field *fields, int count, const void *options)
{
    json_t *root = json_object();
    for (int i = 0; root && i < count; i++) {
        json_t *object = group_object(root, fields[i].group);
        if (!object || json_object_set_new(object, fields[i].key,
                                           field_to_json(&fields[i], options)) != 0) {
            json_decref(root);
            root = NULL;
        }
    }
    return root;
}

/* ---- from JSON ---- */

typedef struct reading {
    const char *file;
    const wtl_field *fields;
    int count;
    void *options;
    wtl_error *err;
} reading;

static bool same_group(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static wtl_status wrong(const reading *r, const wtl_field *f, const char *wanted)
{
    return wtl_fail(r->err, WTL_E_FORMAT, "%s: %s%s%s: must be %s", r->file,
                    f->group ? f->group : "", f->group ? "." : "", f->key, wanted);
}

static wtl_status number_from_json(const reading *r, const wtl_field *f, const json_t *value,
                                   void *at)
{
    char wanted[96];
    bool whole = f->type == WTL_FIELD_INT;
    double number = wtl_json_number(value);
    if (!(number >= f->low && number <= f->high) || (whole && !json_is_integer(value))) {
        snprintf(wanted, sizeof wanted, "a %snumber from %.10g to %.10g", whole ? "whole " : "",
                 f->low, f->high);
        return wrong(r, f, wanted);
    }
    if (f->type == WTL_FIELD_INT) {
        *(int *)at = (int)number;
    } else if (f->type == WTL_FIELD_REAL) {
        *(double *)at = number;
    } else {
        *(float *)at = (float)number;
    }
    return WTL_OK;
}

static wtl_status text_from_json(const reading *r, const wtl_field *f, const json_t *value,
                                 char *at)
{
    size_t size = (size_t)f->high;
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) >= size) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "a string of fewer than %zu bytes", size);
        return wrong(r, f, wanted);
    }
    memset(at, 0, size);
    memcpy(at, text, json_string_length(value));
    return WTL_OK;
}

static wtl_status word_from_json(const reading *r, const wtl_field *f, const json_t *value,
                                 int *at)
{
    const char *text = json_string_value(value);
    for (int i = 0; text && f->words[i]; i++) {
        if (strcmp(f->words[i], text) == 0) {
            *at = i;
            return WTL_OK;
        }
    }
    char wanted[96] = "one of";
    for (int i = 0; f->words[i]; i++) {
        size_t used = strlen(wanted);
        snprintf(wanted + used, sizeof wanted - used, " %s", f->words[i]);
    }
    return wrong(r, f, wanted);
}

static wtl_status seed_from_json(const reading *r, const wtl_field *f, const json_t *value,
                                 uint64_t *at)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *at = (uint64_t)json_integer_value(value);
        return WTL_OK;
    }
    if (json_is_string(value) && wtl_parse_u64(json_string_value(value), 0, UINT64_MAX, at)) {
        return WTL_OK;
    }
    return wrong(r, f, "a whole number from 0 to 18446744073709551615");
}

static wtl_status field_from_json(const reading *r, const wtl_field *f, const json_t *value)
{
    void *at = (char *)r->options + f->offset;
    switch (f->type) {
    case WTL_FIELD_INT:
    case WTL_FIELD_REAL:
    case WTL_FIELD_FLOAT:
        return number_from_json(r, f, value, at);
    case WTL_FIELD_TEXT:
        return text_from_json(r, f, value, at);
    case WTL_FIELD_WORD:
        return word_from_json(r, f, value, at);
    case WTL_FIELD_SEED:
        return seed_from_json(r, f, value, at);
    case WTL_FIELD_BOOL:
        if (!json_is_boolean(value)) {
            return wrong(r, f, "true or false");
        }
        *(bool *)at = json_is_true(value);
        return WTL_OK;
    }
    return WTL_OK;
}

static wtl_status unknown_key(const reading *r, const char *group, const char *key)
{
    enum { MOST_WORDS = 128 };
    const char *words[MOST_WORDS + 1];
    int count = 0;
    for (int i = 0; i < r->count && count < MOST_WORDS; i++) {
        if (same_group(r->fields[i].group, group)) {
            words[count++] = r->fields[i].key;
        }
    }
    words[count] = NULL;
    const char *near = wtl_suggest(key, words);
    return wtl_fail(r->err, WTL_E_FORMAT, "%s: unknown key %s%s%s%s%s%s", r->file,
                    group ? group : "", group ? "." : "", key, near ? "; did you mean " : "",
                    near ? near : "", near ? "?" : "");
}

static const wtl_field *find_field(const reading *r, const char *group, const char *key)
{
    for (int i = 0; i < r->count; i++) {
        if (same_group(r->fields[i].group, group) && strcmp(r->fields[i].key, key) == 0) {
            return &r->fields[i];
        }
    }
    return NULL;
}

static bool is_group(const reading *r, const char *key)
{
    bool found = false;
    for (int i = 0; i < r->count; i++) {
        found = found || (r->fields[i].group && strcmp(r->fields[i].group, key) == 0);
    }
    return found;
}

/* The whole, or the group of that name. */
static wtl_status object_from_json(const reading *r, const char *group, const json_t *object)
{
    if (!json_is_object(object)) {
        return wtl_fail(r->err, WTL_E_FORMAT, "%s: %s%smust be an object", r->file,
                        group ? group : "", group ? ": " : "");
    }
    wtl_status status = WTL_OK;
    /* jansson's iterators take no const object, but change nothing. */
    json_t *readable = json_incref((json_t *)(uintptr_t)object);
    const char *key;
    json_t *value;
    json_object_foreach(readable, key, value)
    {
        const wtl_field *f = find_field(r, group, key);
        if (f) {
            status = field_from_json(r, f, value);
        } else if (!group && is_group(r, key)) {
            status = object_from_json(r, key, value);
        } else {
            status = unknown_key(r, group, key);
        }
        if (status != WTL_OK) {
            break;
        }
    }
    json_decref(readable);
    return status;
}

wtl_status wtl_fields_from_json(const wtl_field *fields, int count, void *options,
                                const json_t *json, const char *file, wtl_error *err)
{
    const reading r = {file, fields, count, options, err};
    return object_from_json(&r, NULL, json);
}
