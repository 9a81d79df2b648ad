/* workload_private.h - the 25 fields of a layer as a table, for its check and its text. */
#ifndef WTL_WORKLOAD_PRIVATE_H
#define WTL_WORKLOAD_PRIVATE_H

#include "wattle/workload.h"

enum { WTL_WORK_FIELD_COUNT = 25 };

typedef struct wtl_work_field {
    const char *name;
    size_t offset; /* in wtl_work_layer: of an int, or of a double where `is_zeros` */
    int low, high; /* a zero count's bounds come from its tensor instead */
    bool is_zeros;
} wtl_work_field;

extern const wtl_work_field wtl_work_fields[WTL_WORK_FIELD_COUNT]; /* in the text's order */

/* What an int field of `layer` holds. */
static inline int wtl_work_field_get(const wtl_work_layer *layer, const wtl_work_field *field)
{
    return *(const int *)(const void *)((const char *)layer + field->offset);
}

#endif
