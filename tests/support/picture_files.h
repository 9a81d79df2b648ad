/* picture_files.h - small PNG and JPEG files made by libpng and libjpeg themselves. */
#ifndef WTL_PICTURE_FILES_H
#define WTL_PICTURE_FILES_H

#include <stdbool.h>
#include <stddef.h>

typedef struct wtl_test_file {
    unsigned char *bytes; /* free() */
    size_t length;
} wtl_test_file;

typedef struct wtl_test_png {
    int width, height;
    int color; /* PNG_COLOR_TYPE_...: 0 gray, 2 RGB, 3 palette, 4 gray + alpha,
                                     6 RGBA */
    int bits;  /* of a sample; 0 means 8 */
    bool interlaced;
    const unsigned char *rows; /* as PNG packs them: 16 bits big-endian, 1 to 4 bits packed */
    const unsigned char *palette; /* [colors][3] */
    int colors;
    const unsigned char *palette_alpha; /* [colors], or NULL */
} wtl_test_png;

wtl_test_file wtl_test_make_png(wtl_test_png png);

typedef struct wtl_test_jpeg {
    int width, height;
    int components; /* of `pixels`: 1 gray, 3 RGB, 4 CMYK */
    bool ycck;      /* store four components as YCCK, not as CMYK */
    bool no_adobe;  /* leave the Adobe marker out */
    int ac_scans;   /* > 0: progressive, each coefficient in scans of its own, so many bits
                        apart: 1 + 63 * ac_scans scans */
    const unsigned char *pixels;
} wtl_test_jpeg;

wtl_test_file wtl_test_make_jpeg(wtl_test_jpeg jpeg); /* quality 100, no subsampling */

/* A PNG file of interleaved bytes. */
void wtl_test_write_png(const char *path, int width, int height, int channels,
                        const unsigned char *pixels);

#endif
