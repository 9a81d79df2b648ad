/* image.h - the decoders behind wtl_image_decode(), private to this folder. */
#ifndef WTL_IMAGE_H
#define WTL_IMAGE_H

#include "wattle/dataset.h"

enum { WTL_LARGEST_SIDE = 16384, WTL_MOST_PIXELS = 1 << 26 };

/* The size a header claims; WTL_E_FORMAT, WTL_E_RANGE. */
wtl_status wtl_image_check_size(uint32_t width, uint32_t height, const char *name,
                                wtl_error *err) WTL_MUST_CHECK;

/* Check the size and make room for it; also WTL_E_NOMEM. */
wtl_status wtl_image_begin(wtl_image *image, uint32_t width, uint32_t height, int channels,
                           const char *name, wtl_error *err) WTL_MUST_CHECK;

wtl_status wtl_png_decode(wtl_image *image, const unsigned char *bytes, size_t length,
                          const char *name, wtl_error *err) WTL_MUST_CHECK;
wtl_status wtl_jpeg_decode(wtl_image *image, const unsigned char *bytes, size_t length,
                           const char *name, wtl_error *err) WTL_MUST_CHECK;

#endif
