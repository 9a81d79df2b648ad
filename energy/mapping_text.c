/* mapping_text.c - mappings as one line of text, and back. */
#include "wattle/mapping.h"

#include "wattle/text.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { MOST_FACTOR = 1 << 20, WORD_SIZE = 32 };

static const char dim_letters[WTL_LOOP_DIM_COUNT + 1] = "NCMRSPQ";
static const char *const place_words[] = {"DRAM", "buffer", "X", "Y", "RF", NULL};

static const struct {
    const char *name;
    size_t offset;
} parameters[] = {
    {"m", offsetof(wtl_rs_mapping, m)}, {"n", offsetof(wtl_rs_mapping, n)},
    {"e", offsetof(wtl_rs_mapping, e)}, {"p", offsetof(wtl_rs_mapping, p)},
    {"q", offsetof(wtl_rs_mapping, q)}, {"r", offsetof(wtl_rs_mapping, r)},
    {"t", offsetof(wtl_rs_mapping, t)},
};
enum { PARAMETER_COUNT = sizeof parameters / sizeof *parameters };

static int *parameter(wtl_rs_mapping *mapping, int i)
{
    return (int *)(void *)((char *)mapping + parameters[i].offset);
}

/* ---- to text ---- */

typedef struct line {
    char *text;
    size_t size, length;
} line;

static void put(line *l, const char *format, ...) WTL_PRINTF(2, 3);
static void put(line *l, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int more = vsnprintf(l->text + l->length, l->size - l->length, format, arguments);
    va_end(arguments);
    l->length += more > 0 ? (size_t)more : 0;
    l->length = l->length < l->size ? l->length : l->size - 1;
}

/* Every place is named, even without loops: "DRAM: P8 | buffer: | X: Q14 | Y: | RF: R3". */
static void put_nest(line *l, const wtl_nest_mapping *nest)
{
    int i = 0;
    for (int place = 0; place_words[place]; place++) {
        put(l, "%s%s:", place > 0 ? " | " : "", place_words[place]);
        for (; i < nest->loop_count && (int)nest->loops[i].place <= place; i++) {
            const wtl_loop *loop = &nest->loops[i];
            bool known = (unsigned)loop->dim < WTL_LOOP_DIM_COUNT;
            put(l, " %c%d", known ? dim_letters[loop->dim] : '?', loop->factor);
        }
    }
}

void wtl_mapping_text(const wtl_mapping *mapping, char *text, size_t size)
{
    if (size == 0) {
        return;
    }
    line l = {text, size, 0};
    text[0] = '\0';
    if (mapping->dataflow != WTL_ROW_STATIONARY) {
        put_nest(&l, &mapping->as.nest);
        return;
    }
    wtl_rs_mapping rs = mapping->as.rs;
    for (int i = 0; i < PARAMETER_COUNT; i++) {
        put(&l, "%s%s=%d", i > 0 ? " " : "", parameters[i].name, *parameter(&rs, i));
    }
}

/* ---- from text ---- */

/* The next word of *rest; '|' is one of its own. It is cut to WORD_SIZE - 1 bytes, which no good
 * word has. False at the end. */
static bool next_word(const char **rest, char word[WORD_SIZE])
{
    const char *start = *rest;
    while (isspace((unsigned char)*start)) {
        start++;
    }
    const char *end = start;
    while (*end && *end != '|' && !isspace((unsigned char)*end)) {
        end++;
    }
    end += end == start && *end == '|';
    size_t length = (size_t)(end - start);
    size_t kept = length < WORD_SIZE - 1 ? length : WORD_SIZE - 1;
    memcpy(word, start, kept);
    word[kept] = '\0';
    *rest = end;
    return length > 0;
}

static wtl_status read_parameter(char *word, wtl_rs_mapping *rs, wtl_error *err)
{
    char *equals = strchr(word, '=');
    for (int i = 0; equals && i < PARAMETER_COUNT; i++) {
        size_t length = strlen(parameters[i].name);
        if (length != (size_t)(equals - word) ||
            strncmp(word, parameters[i].name, length) != 0) {
            continue;
        }
        if (*parameter(rs, i) != 0) {
            return wtl_fail(err, WTL_E_FORMAT, "mapping: %s is there twice",
                            parameters[i].name);
        }
        return wtl_parse_int(equals + 1, 1, MOST_FACTOR, parameter(rs, i))
                   ? WTL_OK
                   : wtl_fail(err, WTL_E_FORMAT,
                              "mapping: '%s'; expected a whole number from 1 to %d", word,
                              MOST_FACTOR);
    }
    return wtl_fail(err, WTL_E_FORMAT,
                    "mapping: '%s'; expected m=, n=, e=, p=, q=, r= or t= and a number", word);
}

static wtl_status parse_rs(wtl_rs_mapping *rs, const char *text, wtl_error *err)
{
    char word[WORD_SIZE];
    wtl_status status = WTL_OK;
    while (status == WTL_OK && next_word(&text, word)) {
        status = read_parameter(word, rs, err);
    }
    for (int i = 0; status == WTL_OK && i < PARAMETER_COUNT; i++) {
        if (*parameter(rs, i) == 0) {
            status = wtl_fail(err, WTL_E_FORMAT, "mapping: %s= is missing", parameters[i].name);
        }
    }
    return status;
}

typedef struct nest_reader {
    wtl_nest_mapping *nest;
    int place;        /* of the loops that come next; -1: a place must come first */
    bool place_ended; /* by a '|': a place must come next */
    wtl_error *err;
} nest_reader;

static wtl_status read_place(nest_reader *r, const char *word)
{
    size_t length = strlen(word) - 1; /* without the colon */
    for (int place = 0; place_words[place]; place++) {
        if (strlen(place_words[place]) != length ||
            strncmp(word, place_words[place], length) != 0) {
            continue;
        }
        if (r->place >= 0 && !r->place_ended) {
            return wtl_fail(r->err, WTL_E_FORMAT, "mapping: '%s'; expected '|' before it",
                            word);
        }
        if (place <= r->place) {
            return wtl_fail(r->err, WTL_E_FORMAT,
                            "mapping: '%s'; expected the order DRAM, buffer, X, Y, RF", word);
        }
        r->place = place;
        r->place_ended = false;
        return WTL_OK;
    }
    return wtl_fail(r->err, WTL_E_FORMAT,
                    "mapping: '%s'; expected DRAM:, buffer:, X:, Y: or RF:", word);
}

static wtl_status read_loop(nest_reader *r, const char *word)
{
    if (r->place < 0 || r->place_ended) {
        return wtl_fail(r->err, WTL_E_FORMAT,
                        "mapping: '%s'; expected DRAM:, buffer:, X:, Y: or RF:", word);
    }
    const char *letter = strchr(dim_letters, word[0]);
    wtl_loop loop = {.place = (wtl_loop_place)r->place};
    if (!letter || !wtl_parse_int(word + 1, 1, MOST_FACTOR, &loop.factor)) {
        return wtl_fail(r->err, WTL_E_FORMAT,
                        "mapping: '%s'; expected a loop: one of N, C, M, R, S, P, Q and a "
                        "number from 1 to %d",
                        word, MOST_FACTOR);
    }
    if (r->nest->loop_count == WTL_MOST_LOOPS) {
        return wtl_fail(r->err, WTL_E_FORMAT, "mapping: more than %d loops", WTL_MOST_LOOPS);
    }
    loop.dim = (wtl_loop_dim)(letter - dim_letters);
    r->nest->loops[r->nest->loop_count++] = loop;
    return WTL_OK;
}

static wtl_status read_nest_word(nest_reader *r, const char *word)
{
    if (strcmp(word, "|") == 0) {
        bool early = r->place < 0 || r->place_ended;
        r->place_ended = true;
        return early ? wtl_fail(r->err, WTL_E_FORMAT,
                                "mapping: '|'; expected DRAM:, buffer:, X:, Y: or RF:")
                     : WTL_OK;
    }
    return word[strlen(word) - 1] == ':' ? read_place(r, word) : read_loop(r, word);
}

static wtl_status parse_nest(wtl_nest_mapping *nest, const char *text, wtl_error *err)
{
    nest_reader r = {.nest = nest, .place = -1, .err = err};
    char word[WORD_SIZE];
    wtl_status status = WTL_OK;
    while (status == WTL_OK && next_word(&text, word)) {
        status = read_nest_word(&r, word);
    }
    if (status == WTL_OK && (r.place < 0 || r.place_ended)) {
        status = wtl_fail(err, WTL_E_FORMAT,
                          "mapping: the text ends; expected DRAM:, buffer:, X:, Y: or RF:");
    }
    return status;
}

wtl_status wtl_mapping_parse(wtl_mapping *out, wtl_dataflow dataflow, const char *text,
                             wtl_error *err)
{
    *out = (wtl_mapping){.dataflow = dataflow};
    wtl_status status = dataflow == WTL_ROW_STATIONARY ? parse_rs(&out->as.rs, text, err)
                                                       : parse_nest(&out->as.nest, text, err);
    if (status != WTL_OK) {
        *out = (wtl_mapping){.dataflow = dataflow};
    }
    return status;
}
