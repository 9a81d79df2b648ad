/* text.c - numbers from text, growable strings, near-miss suggestions. */
#include "wattle/text.h"

#include "wattle/memory.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool wtl_parse_int(const char *text, int low, int high, int *value)
{
    if (!isdigit((unsigned char)text[0]) &&
        !(text[0] == '-' && isdigit((unsigned char)text[1]))) {
        return false;
    }
    char *end;
    errno = 0;
    long parsed = strtol(text, &end, 10);
    if (*end != '\0' || errno != 0 || parsed < low || parsed > high) {
        return false;
    }
    *value = (int)parsed;
    return true;
}

bool wtl_parse_u64(const char *text, uint64_t low, uint64_t high, uint64_t *value)
{
    if (!isdigit((unsigned char)text[0])) {
        return false;
    }
    char *end;
    errno = 0;
    unsigned long long parsed = strtoull(text, &end, 10);
    if (*end != '\0' || errno != 0 || parsed < low || parsed > high) {
        return false;
    }
    *value = parsed;
    return true;
}

bool wtl_parse_double(const char *text, double low, double high, double *value)
{
    /* Only plain decimal forms: strtod alone would take "inf", "nan", hex and blanks. */
    if (text[0] == '\0' || text[strspn(text, "+-.0123456789eE")] != '\0') {
        return false;
    }
    char *end;
    errno = 0;
    double parsed = strtod(text, &end);
    if (end == text || *end != '\0' || !isfinite(parsed) || parsed < low || parsed > high) {
        return false;
    }
    *value = parsed;
    return true;
}

char *wtl_strndup(const char *text, size_t length)
{
    char *copy = wtl_alloc(length + 1, 1);
    if (copy) {
        memcpy(copy, text, length);
    }
    return copy;
}

char *wtl_strdup(const char *text)
{
    return wtl_strndup(text, strlen(text));
}

char *wtl_format(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    char *text = length < 0 ? NULL : wtl_alloc((size_t)length + 1, 1);
    if (text) {
        va_start(arguments, format);
        vsnprintf(text, (size_t)length + 1, format, arguments);
        va_end(arguments);
    }
    return text;
}

static bool text_reserve(wtl_text *text, size_t more)
{
    if (text->failed) {
        return false;
    }
    size_t needed = text->length + more + 1;
    if (needed > text->capacity) {
        size_t larger = text->capacity * 2 > needed ? text->capacity * 2 : needed + 64;
        if (wtl_grow((void **)&text->bytes, text->length, larger, 1) != WTL_OK) {
            text->failed = true;
            return false;
        }
        text->capacity = larger;
    }
    return true;
}

void wtl_text_put(wtl_text *text, const char *bytes, size_t length)
{
    if (text_reserve(text, length)) {
        memcpy(text->bytes + text->length, bytes, length);
        text->length += length;
        text->bytes[text->length] = '\0';
    }
}

void wtl_text_printf(wtl_text *text, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length >= 0 && text_reserve(text, (size_t)length)) {
        va_start(arguments, format);
        vsnprintf(text->bytes + text->length, (size_t)length + 1, format, arguments);
        va_end(arguments);
        text->length += (size_t)length;
    }
}

void wtl_text_clear(wtl_text *text)
{
    wtl_free(text->bytes);
    *text = (wtl_text){0};
}

char *wtl_text_take(wtl_text *text)
{
    wtl_text_put(text, "", 0);
    char *bytes = text->bytes;
    if (text->failed) {
        wtl_text_clear(text);
        return NULL;
    }
    *text = (wtl_text){0};
    return bytes;
}

const char *wtl_named_text_find(const wtl_named_text *texts, const char *name, size_t *length)
{
    for (; texts->name; texts++) {
        if (strcmp(texts->name, name) == 0) {
            *length = texts->length;
            return texts->text;
        }
    }
    return NULL;
}

/* Levenshtein distance of short words; anything longer counts as far away. */
static int edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t m = strlen(a), n = strlen(b);
    if (m > LONGEST || n > LONGEST) {
        return INT_MAX;
    }
    int row[LONGEST + 1];
    for (size_t j = 0; j <= n; j++) {
        row[j] = (int)j;
    }
    for (size_t i = 1; i <= m; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= n; j++) {
            int substitute = diagonal + (a[i - 1] != b[j - 1]);
            int shorter = row[j] < row[j - 1] ? row[j] + 1 : row[j - 1] + 1;
            diagonal = row[j];
            row[j] = substitute < shorter ? substitute : shorter;
        }
    }
    return row[n];
}

const char *wtl_suggest(const char *word, const char *const *words)
{
    const char *best = NULL;
    int limit = (int)(strlen(word) / 3) + 1;
    for (; *words; words++) {
        int distance = edit_distance(word, *words);
        if (distance <= limit) {
            limit = distance - 1;
            best = *words;
        }
    }
    return best;
}
