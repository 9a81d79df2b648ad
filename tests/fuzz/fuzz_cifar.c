/* fuzz_cifar.c - CIFAR-10 and CIFAR-100 records, read twice as two files would be. */
#include "data/source.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    for (int label_bytes = 1; label_bytes <= 2; label_bytes++) {
        wtl_source source = {0};
        wtl_error err;
        int files = 0;
        while (files < 2 &&
               wtl_cifar_parse(&source, bytes, length, label_bytes, "fuzz", &err) == WTL_OK) {
            files++;
        }
        require(files == 0 || files == 2);
        for (size_t i = 0; i < source.count; i++) {
            require(source.labels[i] >= 0 && source.labels[i] < (label_bytes == 1 ? 10 : 100));
        }
        require(source.count == 0 ||
                source.pixels[source.count * 3072 - 1] == bytes[length - 1]);
        wtl_source_clear(&source);
    }
    return 0;
}
