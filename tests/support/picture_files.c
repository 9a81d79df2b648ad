/* picture_files.c - see picture_files.h. Failures of the libraries end the program. */
#include "picture_files.h"

#include "wtl_test.h"

#include <png.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jpeglib.h>

static void append(png_structp png, png_bytep bytes, size_t count)
{
    wtl_test_file *file = png_get_io_ptr(png);
    file->bytes = realloc(file->bytes, file->length + count);
    assert_non_null(file->bytes);
    memcpy(file->bytes + file->length, bytes, count);
    file->length += count;
}

static void flush(png_structp png)
{
    (void)png;
}

wtl_test_file wtl_test_make_png(wtl_test_png p)
{
    static const int samples[] = {1, 0, 3, 1, 2, 0, 4};
    wtl_test_file file = {0};
    int bits = p.bits ? p.bits : 8;
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, NULL, NULL, NULL);
    png_infop info = png_create_info_struct(png);
    png_set_write_fn(png, &file, append, flush);
    png_set_IHDR(png, info, (png_uint_32)p.width, (png_uint_32)p.height, bits, p.color,
                 p.interlaced ? PNG_INTERLACE_ADAM7 : PNG_INTERLACE_NONE,
                 PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    if (p.palette) {
        png_color colors[256];
        for (int i = 0; i < p.colors; i++) {
            colors[i] =
                (png_color){p.palette[3 * i], p.palette[3 * i + 1], p.palette[3 * i + 2]};
        }
        png_set_PLTE(png, info, colors, p.colors);
    }
    if (p.palette_alpha) {
        png_set_tRNS(png, info, p.palette_alpha, p.colors, NULL);
    }
    size_t row_bytes = ((size_t)p.width * (size_t)samples[p.color] * (size_t)bits + 7) / 8;
    unsigned char *copy = malloc(row_bytes * (size_t)p.height);
    png_bytep *rows = malloc((size_t)p.height * sizeof *rows);
    assert_true(copy && rows);
    memcpy(copy, p.rows, row_bytes * (size_t)p.height);
    for (int y = 0; y < p.height; y++) {
        rows[y] = copy + (size_t)y * row_bytes;
    }
    png_write_info(png, info);
    png_write_image(png, rows);
    png_write_end(png, info);
    png_destroy_write_struct(&png, &info);
    free(rows);
    free(copy);
    return file;
}

/* Scans that send each AC coefficient alone, its bits from `shift` down to 0. */
static void many_scans(struct jpeg_compress_struct *jpeg, jpeg_scan_info *scans, int ac_scans)
{
    int count = 0;
    scans[count++] = (jpeg_scan_info){.comps_in_scan = 1};
    for (int k = 1; k < 64; k++) {
        for (int shift = ac_scans - 1; shift >= 0; shift--) {
            scans[count++] = (jpeg_scan_info){.comps_in_scan = 1,
                                              .Ss = k,
                                              .Se = k,
                                              .Ah = shift == ac_scans - 1 ? 0 : shift + 1,
                                              .Al = shift};
        }
    }
    jpeg->scan_info = scans;
    jpeg->num_scans = count;
}

wtl_test_file wtl_test_make_jpeg(wtl_test_jpeg j)
{
    static jpeg_scan_info scans[1 + 63 * 8];
    unsigned char *bytes = NULL;
    unsigned long length = 0;
    struct jpeg_error_mgr errors;
    struct jpeg_compress_struct jpeg = {.err = jpeg_std_error(&errors)};
    jpeg_create_compress(&jpeg);
    jpeg_mem_dest(&jpeg, &bytes, &length);
    jpeg.image_width = (JDIMENSION)j.width;
    jpeg.image_height = (JDIMENSION)j.height;
    jpeg.input_components = j.components;
    jpeg.in_color_space = j.components == 1   ? JCS_GRAYSCALE
                          : j.components == 3 ? JCS_RGB
                                              : JCS_CMYK;
    jpeg_set_defaults(&jpeg);
    if (j.components == 4) {
        jpeg_set_colorspace(&jpeg, j.ycck ? JCS_YCCK : JCS_CMYK);
    }
    jpeg_set_quality(&jpeg, 100, TRUE);
    jpeg.comp_info[0].h_samp_factor = jpeg.comp_info[0].v_samp_factor = 1;
    if (j.no_adobe) {
        jpeg.write_Adobe_marker = FALSE;
    }
    if (j.ac_scans > 0) {
        many_scans(&jpeg, scans, j.ac_scans);
    }
    size_t row_bytes = (size_t)j.width * (size_t)j.components;
    unsigned char *row = malloc(row_bytes);
    assert_non_null(row);
    jpeg_start_compress(&jpeg, TRUE);
    for (int y = 0; y < j.height; y++) {
        memcpy(row, j.pixels + (size_t)y * row_bytes, row_bytes);
        JSAMPROW rows[] = {row};
        (void)jpeg_write_scanlines(&jpeg, rows, 1);
    }
    jpeg_finish_compress(&jpeg);
    jpeg_destroy_compress(&jpeg);
    free(row);
    return (wtl_test_file){bytes, length};
}

void wtl_test_write_png(const char *path, int width, int height, int channels,
                        const unsigned char *pixels)
{
    wtl_test_file file = wtl_test_make_png((wtl_test_png){
        .width = width, .height = height, .color = channels == 3 ? 2 : 0, .rows = pixels});
    wtl_test_write(path, file.bytes, file.length);
    free(file.bytes);
}
