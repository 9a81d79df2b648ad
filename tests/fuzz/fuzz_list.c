/* fuzz_list.c - list files of pictures and labels. */
#include "data/source.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    wtl_source source = {0};
    wtl_error err;
    if (wtl_list_parse(&source, bytes, length, "fuzz", &err) == WTL_OK) {
        for (size_t i = 0; i < source.count; i++) {
            if (source.labels[i] < 0 || source.labels[i] >= source.classes ||
                strlen(wtl_strings_at(&source.paths, i)) == 0) {
                abort();
            }
        }
    } else if (strchr(err.text, '\n')) {
        abort();
    }
    wtl_source_clear(&source);
    return 0;
}
