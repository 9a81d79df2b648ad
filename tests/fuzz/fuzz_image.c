/* fuzz_image.c - PNG and JPEG bytes. */
#include "wattle/dataset.h"

#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    wtl_image image = {0};
    wtl_error err;
    if (wtl_image_decode(&image, bytes, length, "fuzz", &err) == WTL_OK) {
        size_t count = (size_t)image.width * (size_t)image.height * (size_t)image.channels;
        for (size_t i = 0; i < count; i++) {
            volatile unsigned char seen = image.pixels[i]; /* none may be missing */
            (void)seen;
        }
    }
    wtl_image_clear(&image);
    return 0;
}
