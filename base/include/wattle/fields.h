/* fields.h - an options struct to JSON and back by one table: a run's config.json. */
#ifndef WATTLE_FIELDS_H
#define WATTLE_FIELDS_H

#include "wattle/status.h"

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wtl_field_type {
    WTL_FIELD_INT,
    WTL_FIELD_REAL,  /* double */
    WTL_FIELD_FLOAT, /* float */
    WTL_FIELD_BOOL,
    WTL_FIELD_TEXT, /* char[], high is its size */
    WTL_FIELD_WORD, /* an enum, by its name in words */
    WTL_FIELD_SEED  /* uint64_t; a string of digits where JSON's integers end */
} wtl_field_type;

typedef struct wtl_field {
    const char *group; /* the object it is in, or NULL */
    const char *key;
    wtl_field_type type;
    size_t offset;            /* in the struct */
    double low, high;         /* of numbers */
    const char *const *words; /* ended by NULL */
} wtl_field;

struct json_t;

/* The struct as an object; NULL without memory or where a string is not UTF-8. */
WTL_API struct json_t *wtl_fields_to_json(const wtl_field *fields, int count,
                                          const void *options) WTL_MUST_CHECK;

/* Keys that are not there keep their value in *options. WTL_E_FORMAT names `file` and what is
 * unknown or wrong; *options is undefined then. */
WTL_API wtl_status wtl_fields_from_json(const wtl_field *fields, int count, void *options,
                                        const struct json_t *json, const char *file,
                                        wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
