/* fuzz_idx.c - IDX bytes, as labels and as images. */
#include "data/source.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    for (int dimensions = 1; dimensions <= 3; dimensions += 2) {
        wtl_idx idx;
        wtl_error err;
        if (wtl_idx_parse(&idx, bytes, length, dimensions, "fuzz", &err) == WTL_OK) {
            size_t values = idx.count * (size_t)idx.rows * (size_t)idx.columns;
            volatile unsigned char ends[2]; /* the reads must stay */
            ends[0] = idx.values[0];
            ends[1] = idx.values[values - 1];
            (void)ends;
        }
    }
    return 0;
}
