/* mapping.c - counts and search by dataflow, and mappings as text. */
#include "wattle/mapping.h"

#include "mapping_private.h"
#include "mapping_rs.h"
#include "wattle/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

/* ---- counts and search ---- */

/* Partial sums that go to DRAM and come back are no ofmap yet: only the last write of each
 * value has its zeros. */
static void keep_spilled_psums_whole(wtl_access_counts *counts, const wtl_work_layer *layer)
{
    double values = wtl_work_values(&layer->ofmap);
    const double *words = counts->words[WTL_LEVEL_DRAM][WTL_DATA_OFMAP];
    double *whole = counts->whole[WTL_LEVEL_DRAM][WTL_DATA_OFMAP];
    whole[WTL_READ] = words[WTL_READ];
    whole[WTL_WRITE] = words[WTL_WRITE] > values ? words[WTL_WRITE] - values : 0.0;
}

wtl_status wtl_mapping_count(wtl_access_counts *out, const wtl_hardware *hw,
                             const wtl_work_layer *layer, const wtl_mapping *mapping,
                             wtl_error *err)
{
    *out = (wtl_access_counts){0};
    wtl_status status = wtl_work_layer_check(layer, err);
    if (status != WTL_OK) {
        return status;
    }
    if (mapping->dataflow != hw->dataflow) {
        return wtl_fail(err, WTL_E_FIT, "mapping: it is %s, the hardware is %s",
                        wtl_dataflow_name(mapping->dataflow), wtl_dataflow_name(hw->dataflow));
    }
    if (mapping->dataflow == WTL_ROW_STATIONARY) {
        status = wtl_rs_check(hw, layer, &mapping->as.rs, err);
        if (status == WTL_OK) {
            wtl_rs_count(out, hw, layer, &mapping->as.rs);
        }
        return status;
    }
    status = wtl_nest_count(out, hw, layer, &mapping->as.nest, err);
    if (status == WTL_OK) {
        keep_spilled_psums_whole(out, layer);
    }
    return status;
}

wtl_status wtl_mapping_search(wtl_mapping *out, const wtl_hardware *hw,
                              const wtl_work_layer *layer, wtl_error *err)
{
    *out = (wtl_mapping){.dataflow = hw->dataflow};
    wtl_status status = wtl_work_layer_check(layer, err);
    if (status != WTL_OK) {
        return status;
    }
    return hw->dataflow == WTL_ROW_STATIONARY ? wtl_rs_search(&out->as.rs, hw, layer, err)
                                              : wtl_nest_search(&out->as.nest, hw, layer, err);
}

/* ---- text ---- */

static const char RS_LETTERS[] = "mnepqrt";
static const char DIM_LETTERS[] = "NCMRSPQ"; /* by wtl_loop_dim */
static const char *const PLACES[] = {"DRAM", "buffer", "X", "Y", "RF"};
enum { RS_PARAMETERS = 7, PLACE_COUNT = WTL_LOOP_RF + 1 };

static int *rs_parameter(wtl_rs_mapping *map, int i)
{
    int *const all[RS_PARAMETERS] = {&map->m, &map->n, &map->e, &map->p,
                                     &map->q, &map->r, &map->t};
    return all[i];
}

static void rs_text(wtl_rs_mapping map, char *text, size_t size)
{
    snprintf(text, size, "m=%d n=%d e=%d p=%d q=%d r=%d t=%d", map.m, map.n, map.e, map.p,
             map.q, map.r, map.t);
}

static void nest_text(const wtl_nest_mapping *nest, char *text, size_t size)
{
    size_t at = 0;
    for (int i = 0; i < nest->loop_count && at < size; i++) {
        const wtl_loop *loop = &nest->loops[i];
        if (i == 0 || loop->place != nest->loops[i - 1].place) {
            at += (size_t)snprintf(text + at, size - at, "%s%s:", i > 0 ? " | " : "",
                                   PLACES[loop->place]);
        }
        if (at < size) {
            at += (size_t)snprintf(text + at, size - at, " %c%d", DIM_LETTERS[loop->dim],
                                   loop->factor);
        }
    }
}

void wtl_mapping_text(const wtl_mapping *mapping, char *text, size_t size)
{
    if (size == 0) {
        return;
    }
    text[0] = '\0';
    if (mapping->dataflow == WTL_ROW_STATIONARY) {
        rs_text(mapping->as.rs, text, size);
    } else {
        nest_text(&mapping->as.nest, text, size);
    }
}

/* The next word between blanks, or false at the end. */
static bool next_word(const char **text, char *word, size_t size)
{
    const char *begin = *text + strspn(*text, " \t\r\n");
    size_t length = strcspn(begin, " \t\r\n");
    if (length == 0) {
        return false;
    }
    size_t kept = length < size ? length : size - 1;
    memcpy(word, begin, kept);
    word[kept] = '\0';
    *text = begin + length;
    return true;
}

static wtl_status rs_parse(wtl_rs_mapping *map, const char *text, wtl_error *err)
{
    char word[32];
    while (next_word(&text, word, sizeof word)) {
        const char *letter = strchr(RS_LETTERS, word[0]);
        int value;
        if (!letter || word[1] != '=' || !wtl_parse_int(word + 2, 1, INT_MAX, &value)) {
            return wtl_fail(err, WTL_E_FORMAT,
                            "mapping: '%s' is not one of m n e p q r t, '=' and a whole number "
                            "of at least 1",
                            word);
        }
        int *parameter = rs_parameter(map, (int)(letter - RS_LETTERS));
        if (*parameter != 0) {
            return wtl_fail(err, WTL_E_FORMAT, "mapping: %c is given twice", word[0]);
        }
        *parameter = value;
    }
    for (int i = 0; i < RS_PARAMETERS; i++) {
        if (*rs_parameter(map, i) == 0) {
            return wtl_fail(err, WTL_E_FORMAT, "mapping: %c is missing", RS_LETTERS[i]);
        }
    }
    return WTL_OK;
}

/* "buffer:" opens a place. -1: not a place's name, or one that comes too late. */
static int place_of(const char *word, int last)
{
    size_t length = strlen(word);
    for (int i = last + 1; i < PLACE_COUNT; i++) {
        if (strlen(PLACES[i]) + 1 == length && word[length - 1] == ':' &&
            strncmp(word, PLACES[i], length - 1) == 0) {
            return i;
        }
    }
    return -1;
}

static wtl_status add_loop(wtl_nest_mapping *nest, int place, const char *word, wtl_error *err)
{
    const char *letter = strchr(DIM_LETTERS, word[0]);
    int factor;
    if (place < 0) {
        return wtl_fail(err, WTL_E_FORMAT, "mapping: '%s' stands before the first place", word);
    }
    if (!letter || !wtl_parse_int(word + 1, 1, INT_MAX, &factor)) {
        return wtl_fail(err, WTL_E_FORMAT,
                        "mapping: '%s' is not one of N C M R S P Q and a whole number of at "
                        "least 1",
                        word);
    }
    if (nest->loop_count == WTL_MOST_LOOPS) {
        return wtl_fail(err, WTL_E_FORMAT, "mapping: more than %d loops", WTL_MOST_LOOPS);
    }
    nest->loops[nest->loop_count++] =
        (wtl_loop){(wtl_loop_place)place, (wtl_loop_dim)(letter - DIM_LETTERS), factor};
    return WTL_OK;
}

static wtl_status nest_parse(wtl_nest_mapping *nest, const char *text, wtl_error *err)
{
    char word[32];
    int place = -1;
    wtl_status status = WTL_OK;
    while (status == WTL_OK && next_word(&text, word, sizeof word)) {
        if (strcmp(word, "|") == 0) {
            continue;
        }
        if (word[strlen(word) - 1] != ':') {
            status = add_loop(nest, place, word, err);
            continue;
        }
        int next = place_of(word, place);
        if (next < 0) {
            return wtl_fail(err, WTL_E_FORMAT,
                            "mapping: '%s' is not the next of DRAM: buffer: X: Y: RF:", word);
        }
        place = next;
    }
    if (status == WTL_OK && nest->loop_count == 0) {
        status = wtl_fail(err, WTL_E_FORMAT, "mapping: it has no loops");
    }
    return status;
}

wtl_status wtl_mapping_parse(wtl_mapping *out, wtl_dataflow dataflow, const char *text,
                             wtl_error *err)
{
    wtl_mapping map = {.dataflow = dataflow};
    *out = map;
    wtl_status status;
    if (dataflow == WTL_ROW_STATIONARY) {
        map.as.rs = (wtl_rs_mapping){0};
        status = rs_parse(&map.as.rs, text, err);
    } else {
        map.as.nest = (wtl_nest_mapping){.loop_count = 0};
        status = nest_parse(&map.as.nest, text, err);
    }
    if (status == WTL_OK) {
        *out = map;
    }
    return status;
}
