/* json.h - what train/ needs beside jansson itself. */
#ifndef WTL_TRAIN_JSON_H
#define WTL_TRAIN_JSON_H

#include <jansson.h>
#include <math.h>

/* JSON has no NaN: it becomes null. */
static inline json_t *wtl_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

/* The number, or NaN for null and anything else. */
static inline double wtl_json_number(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

#endif
