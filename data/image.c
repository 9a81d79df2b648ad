/* image.c - pictures in memory, and telling PNG from JPEG by content. */
#include "image.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <string.h>

wtl_status wtl_image_resize(wtl_image *image, int width, int height, int channels)
{
    size_t bytes;
    if (width < 0 || height < 0 || channels < 0 ||
        !wtl_mul((size_t)width, (size_t)height, &bytes) ||
        !wtl_mul(bytes, (size_t)channels, &bytes)) {
        return WTL_E_NOMEM;
    }
    if (bytes > image->capacity) {
        unsigned char *pixels = wtl_alloc(bytes, 1);
        if (!pixels) {
            return WTL_E_NOMEM;
        }
        wtl_free(image->pixels);
        image->pixels = pixels;
        image->capacity = bytes;
    }
    image->width = width;
    image->height = height;
    image->channels = channels;
    return WTL_OK;
}

void wtl_image_clear(wtl_image *image)
{
    wtl_free(image->pixels);
    *image = (wtl_image){0};
}

wtl_status wtl_image_check_size(uint32_t width, uint32_t height, const char *name,
                                wtl_error *err)
{
    if (width == 0 || height == 0) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: a picture of %lu x %lu pixels", name,
                        (unsigned long)width, (unsigned long)height);
    }
    if (width > WTL_LARGEST_SIDE || height > WTL_LARGEST_SIDE ||
        (uint64_t)width * height > WTL_MOST_PIXELS) {
        return wtl_fail(err, WTL_E_RANGE,
                        "%s: %lu x %lu pixels is too large: sides may have %d, the picture %d",
                        name, (unsigned long)width, (unsigned long)height, WTL_LARGEST_SIDE,
                        WTL_MOST_PIXELS);
    }
    return WTL_OK;
}

wtl_status wtl_image_begin(wtl_image *image, uint32_t width, uint32_t height, int channels,
                           const char *name, wtl_error *err)
{
    wtl_status status = wtl_image_check_size(width, height, name, err);
    if (status != WTL_OK) {
        return status;
    }
    if (wtl_image_resize(image, (int)width, (int)height, channels) != WTL_OK) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for %lu x %lu pixels", name,
                        (unsigned long)width, (unsigned long)height);
    }
    return WTL_OK;
}

wtl_status wtl_image_decode(wtl_image *image, const unsigned char *bytes, size_t length,
                            const char *name, wtl_error *err)
{
    static const unsigned char png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    static const unsigned char jpeg[] = {0xff, 0xd8, 0xff};
    if (length >= sizeof png && memcmp(bytes, png, sizeof png) == 0) {
        return wtl_png_decode(image, bytes, length, name, err);
    }
    if (length >= sizeof jpeg && memcmp(bytes, jpeg, sizeof jpeg) == 0) {
        return wtl_jpeg_decode(image, bytes, length, name, err);
    }
    if (length < sizeof png) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: %zu bytes are no picture", name, length);
    }
    return wtl_fail(err, WTL_E_FORMAT,
                    "%s: neither PNG nor JPEG: begins with bytes %02x %02x %02x %02x", name,
                    bytes[0], bytes[1], bytes[2], bytes[3]);
}

wtl_status wtl_image_load(wtl_image *image, const char *path, wtl_error *err)
{
    enum { MOST_FILE_BYTES = 1 << 28 };
    unsigned char *bytes;
    size_t length;
    wtl_status status = wtl_file_read(path, MOST_FILE_BYTES, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    status = wtl_image_decode(image, bytes, length, path, err);
    wtl_free(bytes);
    return status;
}
