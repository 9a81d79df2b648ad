/* compare_results.c - results.csv: what a comparison has so far, and goes on from. */
#include "compare_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char header[] = "method,seed,budget,energy,energy_absolute,weights,macs,density,"
                             "val_top1,top1,top5,minutes,peak_bytes,note";

/* The numbers of a row, in the order of the header. */
enum { NUMBERS = 10, FIELDS = 3 + NUMBERS + 1 };
static const size_t number_offsets[NUMBERS] = {
    offsetof(wtl_compare_point, energy),  offsetof(wtl_compare_point, energy_absolute),
    offsetof(wtl_compare_point, weights), offsetof(wtl_compare_point, macs),
    offsetof(wtl_compare_point, density), offsetof(wtl_compare_point, val_top1),
    offsetof(wtl_compare_point, top1),    offsetof(wtl_compare_point, top5),
    offsetof(wtl_compare_point, minutes), offsetof(wtl_compare_point, peak_bytes)};

/* ---- writing ---- */

/* A field without commas and quotes needs no quoting rules. */
static void put_note(wtl_writer *writer, const char *note)
{
    for (; *note; note++) {
        char c = *note == ',' ? ';' : *note == '"' || (unsigned char)*note < 32 ? ' ' : *note;
        wtl_writer_put(writer, &c, 1);
    }
}

static void put_row(wtl_writer *writer, const wtl_comparison *c, const wtl_compare_point *point)
{
    wtl_writer_printf(writer, "%s,", wtl_compare_method(c, point));
    if (point->budget >= 0) {
        wtl_writer_printf(writer, "%llu,%.10g", wtl_compare_seed(c, point->seed_index),
                          c->options.budgets[point->budget]);
    } else {
        wtl_writer_put(writer, ",", 1);
    }
    for (int i = 0; i < NUMBERS; i++) {
        double value;
        memcpy(&value, (const char *)point + number_offsets[i], sizeof value);
        if (isfinite(value)) {
            wtl_writer_printf(writer, ",%.10g", value);
        } else {
            wtl_writer_put(writer, ",", 1);
        }
    }
    wtl_writer_put(writer, ",", 1);
    put_note(writer, point->note);
    wtl_writer_put(writer, "\n", 1);
}

wtl_status wtl_compare_results_write(const wtl_comparison *c, const char *path, wtl_error *err)
{
    wtl_writer *writer;
    wtl_status status = wtl_writer_open(&writer, path, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_writer_printf(writer, "%s\n", header);
    if (wtl_compare_has_net(&c->dense)) {
        put_row(writer, c, &c->dense);
    }
    for (int i = 0; i < c->point_count; i++) {
        if (wtl_compare_has_net(&c->points[i]) || c->points[i].note[0]) {
            put_row(writer, c, &c->points[i]);
        }
    }
    return wtl_writer_commit(writer, err);
}

/* ---- reading ---- */

typedef struct place {
    const char *file;
    int line;
    wtl_error *err;
} place;

static wtl_status wrong(const place *at, const char *what, const char *value)
{
    return wtl_fail(at->err, WTL_E_FORMAT, "%s:%d: %s '%.60s'", at->file, at->line, what,
                    value);
}

static int method_of(const wtl_comparison *c, const char *name)
{
    for (int m = 0; m < c->options.method_count; m++) {
        if (strcmp(c->options.methods[m], name) == 0) {
            return m;
        }
    }
    return -1;
}

static int seed_of(const wtl_comparison *c, const char *text)
{
    uint64_t seed;
    if (!wtl_parse_u64(text, 0, UINT64_MAX, &seed)) {
        return -1;
    }
    uint64_t index = seed - c->options.prune.seed;
    return index < (uint64_t)c->options.seeds ? (int)index : -1;
}

static int budget_of(const wtl_comparison *c, const char *text)
{
    double budget;
    if (!wtl_parse_double(text, 0, 1, &budget)) {
        return -1;
    }
    for (int b = 0; b < c->options.budget_count; b++) {
        if (fabs(c->options.budgets[b] - budget) < 1e-9) {
            return b;
        }
    }
    return -1;
}

/* The point that a row is about. */
static wtl_status find_point(wtl_comparison *c, char *const fields[FIELDS], const place *at,
                             wtl_compare_point **point)
{
    if (strcmp(fields[0], "dense") == 0) {
        *point = &c->dense;
        return fields[1][0] || fields[2][0]
                   ? wrong(at, "the dense network has no seed and no budget, not",
                           fields[1][0] ? fields[1] : fields[2])
                   : WTL_OK;
    }
    int method = method_of(c, fields[0]), seed = seed_of(c, fields[1]);
    int budget = budget_of(c, fields[2]);
    if (method < 0 || seed < 0 || budget < 0) {
        return method < 0 ? wrong(at, "a method of another comparison,", fields[0])
               : seed < 0 ? wrong(at, "a seed of another comparison,", fields[1])
                          : wrong(at, "a budget of another comparison,", fields[2]);
    }
    *point = wtl_compare_at(c, method, seed, budget);
    return WTL_OK;
}

static wtl_status fill_point(wtl_compare_point *point, char *const fields[FIELDS],
                             const place *at)
{
    for (int i = 0; i < NUMBERS; i++) {
        const char *text = fields[3 + i];
        double value = NAN;
        if (text[0] && !wtl_parse_double(text, -1e300, 1e300, &value)) {
            return wrong(at, "not a number:", text);
        }
        memcpy((char *)point + number_offsets[i], &value, sizeof value);
    }
    snprintf(point->note, sizeof point->note, "%s", fields[FIELDS - 1]);
    if (!wtl_compare_has_net(point) && !point->note[0]) {
        return wrong(at, "no energy, no accuracy and no note:", fields[0]);
    }
    return WTL_OK;
}

/* Cut a line at its commas. */
static bool cut(char *line, char *fields[FIELDS])
{
    int count = 0;
    for (char *next = line; next; count++) {
        char *comma = strchr(next, ',');
        if (count < FIELDS) {
            fields[count] = next;
        }
        if (comma) {
            *comma = '\0';
        }
        next = comma ? comma + 1 : NULL;
    }
    return count == FIELDS;
}

static wtl_status parse_line(wtl_comparison *c, char *line, const place *at)
{
    char *fields[FIELDS];
    wtl_compare_point *point = NULL;
    if (!cut(line, fields)) {
        return wtl_fail(at->err, WTL_E_FORMAT, "%s:%d: a row has %d fields", at->file, at->line,
                        (int)FIELDS);
    }
    wtl_status status = find_point(c, fields, at, &point);
    if (status == WTL_OK && (wtl_compare_has_net(point) || point->note[0])) {
        status = wrong(at, "a second row for the same network:", fields[0]);
    }
    return status == WTL_OK ? fill_point(point, fields, at) : status;
}

wtl_status wtl_compare_results_parse(wtl_comparison *c, char *text, const char *file,
                                     wtl_error *err)
{
    place at = {file, 0, err};
    wtl_status status = WTL_OK;
    while (*text && status == WTL_OK) {
        char *end = strchr(text, '\n');
        at.line++;
        if (!end) { /* rows are written whole: a file without its end is not ours */
            return wtl_fail(err, WTL_E_FORMAT, "%s:%d: the line does not end", file, at.line);
        }
        *end = '\0';
        if (at.line > 1) {
            status = parse_line(c, text, &at);
        } else if (strcmp(text, header) != 0) {
            status = wrong(&at, "not the header of results.csv:", text);
        }
        text = end + 1;
    }
    return status == WTL_OK && at.line == 0
               ? wtl_fail(err, WTL_E_FORMAT, "%s: empty, without a header", file)
               : status;
}
