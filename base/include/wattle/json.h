/* json.h - what wattle needs beside jansson itself: numbers that JSON lacks, files of one
 * document, lines of a log.
 *
 * Functions that take a document take it over, also when they fail; a NULL document means that
 * memory was short while it was made.
 */
#ifndef WATTLE_JSON_H
#define WATTLE_JSON_H

#include "wattle/status.h"

#include <stddef.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

struct json_t;

/* JSON has no NaN and no infinity: they become null. NULL without memory. */
WTL_API struct json_t *wtl_json_real(double value) WTL_MUST_CHECK;

/* The number, or NaN for null and anything else. */
WTL_API double wtl_json_number(const struct json_t *value);

/* A string, '?' in place of bytes that are not UTF-8. NULL without memory. */
WTL_API struct json_t *wtl_json_string(const char *text) WTL_MUST_CHECK;

/* The document as a file has it, indented, with 15 digits, so that what a user wrote comes back
 * as written. Freed by free(); NULL without memory. */
WTL_API char *wtl_json_text(struct json_t *document) WTL_MUST_CHECK;

/* What reading that text gives: numbers with the digits that the file keeps. NULL without
 * memory. */
WTL_API struct json_t *wtl_json_reread(struct json_t *document) WTL_MUST_CHECK;

/* Replace `path` by that text and a newline. WTL_E_WRITE, WTL_E_NOMEM */
WTL_API wtl_status wtl_json_write(const char *path, struct json_t *document,
                                  wtl_error *err) WTL_MUST_CHECK;

/* Read a file of one document, no key twice; *out is freed by json_decref().
 *   WTL_E_FORMAT  "FILE:LINE: why"
 *   WTL_E_MISSING, WTL_E_IO, WTL_E_RANGE (more than most_bytes), WTL_E_NOMEM */
WTL_API wtl_status wtl_json_read(struct json_t **out, const char *path, size_t most_bytes,
                                 wtl_error *err) WTL_MUST_CHECK;

/* Append the document as one line, at once on its way to the disk: a kill tears at most the last
 * line. `path` is for messages. WTL_E_WRITE, WTL_E_NOMEM */
WTL_API wtl_status wtl_json_append(FILE *file, const char *path, struct json_t *document,
                                   wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
