/* npz.h - arrays of bytes in a NumPy .npz file. The only door to libzip.
 *
 * An .npz is a zip; each entry NAME.npy is
 *
 *   \x93NUMPY  major minor  header length (u16 LE in 1.0, u32 LE in 2.0)
 *   header     {'descr': '|u1', 'fortran_order': False, 'shape': (4, 3), } spaces \n
 *   values     product of the shape, C order
 *
 * and the values begin at a multiple of 64 bytes from the entry's start.
 */
#ifndef WTL_NPZ_H
#define WTL_NPZ_H

#include "wattle/status.h"

enum { WTL_NPZ_MOST_RANK = 8 };

typedef struct wtl_npz_array {
    char *name; /* without .npy */
    int rank;   /* 0: one value */
    size_t dims[WTL_NPZ_MOST_RANK];
    size_t count;
    const unsigned char *values;
} wtl_npz_array;

typedef struct wtl_npz {
    wtl_npz_array *arrays;
    unsigned char **entries; /* unpacked; the arrays' values are inside */
    size_t count;
} wtl_npz;

typedef struct wtl_npz_limits {
    size_t arrays; /* at most this many */
    size_t values; /* bytes of all arrays together */
} wtl_npz_limits;

/* Read |u1 and |b1 arrays from a file's bytes (not kept); `file` names it in messages. Sizes
 * are checked against the limits before anything is unpacked. *npz is for wtl_npz_clear(), on
 * failure, too. WTL_E_FORMAT, WTL_E_RANGE (limits), WTL_E_NOMEM. */
wtl_status wtl_npz_read(wtl_npz *npz, const unsigned char *bytes, size_t length,
                        const wtl_npz_limits *limits, const char *file,
                        wtl_error *err) WTL_MUST_CHECK;
void wtl_npz_clear(wtl_npz *npz);

/* Write |u1 arrays, at least one; same arrays, same bytes. WTL_E_WRITE, WTL_E_NOMEM. */
wtl_status wtl_npz_write(const wtl_npz_array *arrays, size_t count, const char *path,
                         wtl_error *err) WTL_MUST_CHECK;

#endif
