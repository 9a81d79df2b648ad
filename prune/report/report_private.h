/* report_private.h - what the files of a report share: reading a folder without trusting it,
 * numbers as people write them, the commands that reproduce a run. */
#ifndef WTL_REPORT_PRIVATE_H
#define WTL_REPORT_PRIVATE_H

#include "wattle/html.h"
#include "wattle/prune.h"

#include <jansson.h>

/* ---- files ---- */

enum {
    WTL_REPORT_JSON_BYTES = 1 << 24,
    WTL_REPORT_CSV_BYTES = 1 << 24,
    WTL_REPORT_PLAN_BYTES = 1 << 26,
    WTL_REPORT_SVG_BYTES = 1 << 23
};

typedef struct wtl_report_json {
    char *path; /* for messages */
    char *text;
    json_t *root;      /* an object */
    const char *place; /* in `text`: what is read now, or NULL for all of it */
} wtl_report_json;

/* Read folder/name. WTL_E_FORMAT with "FILE:LINE: ..." */
wtl_status wtl_report_json_read(wtl_report_json *out, const char *folder, const char *name,
                                wtl_error *err) WTL_MUST_CHECK;
void wtl_report_json_clear(wtl_report_json *json);

/* WTL_E_FORMAT: "FILE:LINE: KEY must be WHAT", at json->place or the first line with the key. */
wtl_status wtl_report_json_wrong(const wtl_report_json *json, const char *key, const char *what,
                                 wtl_error *err);

typedef enum wtl_report_type {
    WTL_REPORT_NUMBER, /* double in [low, high]; NaN for null or where it is not there */
    WTL_REPORT_NEEDED, /* the same, but must be there and not null */
    WTL_REPORT_TEXT,   /* const char *, of the JSON or CSV; "" for null or none */
    WTL_REPORT_BOOL    /* bool; must be there */
} wtl_report_type;

/* A member of a struct, by the name it has in a file. */
typedef struct wtl_report_field {
    const char *name;
    wtl_report_type type;
    size_t offset;
    double low, high;
} wtl_report_field;

/* The same of a file with an object a line; `root` is an array of them. */
wtl_status wtl_report_lines_read(wtl_report_json *out, const char *folder, const char *name,
                                 wtl_error *err) WTL_MUST_CHECK;

/* Fill `to` from members of `object`, which is json->root or within. */
wtl_status wtl_report_take(const wtl_report_json *json, const json_t *object,
                           const wtl_report_field *fields, int count, void *to,
                           wtl_error *err) WTL_MUST_CHECK;

/* Whether root[name], or `root` itself where name is NULL, is an array of objects and each has
 * these members, when their offsets are taken to be 0. */
wtl_status wtl_report_check_array(wtl_report_json *json, const char *name,
                                  const wtl_report_field *fields, int count,
                                  wtl_error *err) WTL_MUST_CHECK;

/* A member, NaN or "" where there is none. */
double wtl_report_number_of(const json_t *object, const char *key);
const char *wtl_report_text_of(const json_t *object, const char *key);

/* Rows of a CSV file as structs of `size` bytes; texts point into *text. Columns may come in
 * any order, and others beside them. An empty field is NaN, or "".
 * *rows and *text are freed by wtl_free(). */
wtl_status wtl_report_csv_read(void **rows, int *count, char **text, size_t size,
                               const wtl_report_field *fields, int field_count,
                               const char *folder, const char *name,
                               wtl_error *err) WTL_MUST_CHECK;

/* Append folder/name, a plot of wattle/svg.h. Anything that is not of such a plot - scripts,
 * links, unknown elements or attributes - is WTL_E_FORMAT. */
wtl_status wtl_report_svg(wtl_text *out, const char *folder, const char *name, bool broad,
                          wtl_error *err) WTL_MUST_CHECK;

/* The check alone; `file` is for messages. */
wtl_status wtl_report_svg_check(const char *text, const char *file,
                                wtl_error *err) WTL_MUST_CHECK;

/* ---- numbers ---- */

enum { WTL_REPORT_NUMBER_SIZE = 40 };
typedef char wtl_report_number[WTL_REPORT_NUMBER_SIZE];

#define WTL_REPORT_DASH "\xe2\x80\x93" /* what is not known */

/* "1,234,567" */
const char *wtl_report_count(wtl_report_number text, double value);
/* "1.06 G": three digits and a thousand's power */
const char *wtl_report_amount(wtl_report_number text, double value);
/* 0.312 as "31.2 %", 0.0312 as "3.12 %" */
const char *wtl_report_percent(wtl_report_number text, double share);
/* with `decimals` digits */
const char *wtl_report_fixed(wtl_report_number text, double value, int decimals);
/* "3.2\u00d7" */
const char *wtl_report_times(wtl_report_number text, double ratio);
/* "1 point", "0.5 points" */
const char *wtl_report_points(wtl_report_number text, double points);
/* 4000 as "1 h 06 min" */
const char *wtl_report_duration(wtl_report_number text, double seconds);
/* "512 MiB" */
const char *wtl_report_bytes(wtl_report_number text, double bytes);
/* The fewest digits that read back as `value`. */
const char *wtl_report_exact(wtl_report_number text, double value);

/* ---- shared parts of the page ---- */

/* Append `word` as one word of a shell. */
void wtl_report_quote(wtl_text *out, const char *word);
/* Append " \\\n    --option value" for every option that differs from wtl_prune_defaults(), but
 * for those whose key is among `leave` (ended by NULL). What the command line cannot say is
 * appended to `beyond` as "key = value" lines. */
void wtl_report_options(wtl_text *out, wtl_text *beyond, const wtl_prune_options *options,
                        const char *const *leave);
/* The section "To reproduce it": a command, what is beyond it (both are cleared), and a note
 * (may be NULL). */
void wtl_report_reproduce(wtl_text *out, wtl_text *command, wtl_text *beyond, const char *note);

/* What a method does, in a sentence or two; "" for one that is not known. */
const char *wtl_report_method(const char *name);
/* What goes together, unless that is single weights. */
void wtl_report_granularity(wtl_text *out, const wtl_prune_options *options);
/* "Energies are estimates ..." */
void wtl_report_estimates(wtl_text *out, const wtl_prune_options *options,
                          double search_images);

/* Members of a JSON object as a table; objects within as GROUP.KEY. */
void wtl_report_members(wtl_text *out, const json_t *object, const char *head);

/* ---- the two kinds ---- */

/* Append the page; the folder holds a finished one. */
wtl_status wtl_report_run(wtl_text *out, const char *folder, wtl_error *err) WTL_MUST_CHECK;
wtl_status wtl_report_comparison(wtl_text *out, const char *folder,
                                 wtl_error *err) WTL_MUST_CHECK;

#endif
