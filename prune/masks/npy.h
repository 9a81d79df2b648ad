/* npy.h - the head of one .npy array; see npz.h for the layout. */
#ifndef WTL_NPY_H
#define WTL_NPY_H

#include "npz.h"

#include <stdbool.h>

enum {
    WTL_NPY_MOST_HEAD = 4096,  /* bytes before the values that are accepted */
    WTL_NPY_WRITTEN_HEAD = 256 /* bytes that wtl_npy_head() can need */
};

/* Read the head of `entry`: rank, dims, count and values of *array (its name is there
 * already, for messages). WTL_E_FORMAT. */
wtl_status wtl_npy_parse(wtl_npz_array *array, const unsigned char *entry, size_t length,
                         const char *file, wtl_error *err) WTL_MUST_CHECK;

/* Write the head of a |u1 array; returns its length, a multiple of 64. */
size_t wtl_npy_head(const wtl_npz_array *array, unsigned char head[WTL_NPY_WRITTEN_HEAD]);

#endif
