/* png.c - PNG decoding. The only file that sees <png.h>.
 *
 * Everything becomes 8-bit gray or RGB: 16-bit samples are scaled, palettes and small
 * samples expanded, alpha dropped (as when other tools open a picture as RGB), gamma and
 * colour profiles ignored.
 */
#include "image.h"

#include "wattle/memory.h"

#include <png.h>
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

typedef struct png_work {
    const unsigned char *bytes;
    size_t length, position;
    const char *name;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    bool out_of_memory;
    char message[128];
} png_work;

static void on_error(png_structp png, png_const_charp message)
{
    png_work *work = png_get_error_ptr(png);
    snprintf(work->message, sizeof work->message, "%s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message)
{
    (void)png;
    (void)message;
}

static png_voidp allocate(png_structp png, png_alloc_size_t size)
{
    png_work *work = png_get_mem_ptr(png);
    void *memory = wtl_alloc(size, 1);
    work->out_of_memory |= memory == NULL;
    return memory;
}

static void release(png_structp png, png_voidp memory)
{
    (void)png;
    wtl_free(memory);
}

static void read_bytes(png_structp png, png_bytep to, size_t count)
{
    png_work *work = png_get_io_ptr(png);
    if (count > work->length - work->position) {
        png_error(png, "cut short");
    }
    memcpy(to, work->bytes + work->position, count);
    work->position += count;
}

static wtl_status failed(const png_work *work, wtl_error *err)
{
    return work->out_of_memory
               ? wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for a PNG", work->name)
               : wtl_fail(err, WTL_E_FORMAT, "%s: damaged PNG: %s", work->name, work->message);
}

static void ask_for_8_bits(png_structp png, int color)
{
    if (color == PNG_COLOR_TYPE_PALETTE) {
        png_set_palette_to_rgb(png);
    } else if (!(color & PNG_COLOR_MASK_COLOR)) {
        png_set_expand_gray_1_2_4_to_8(png);
    }
    png_set_scale_16(png);
    png_set_strip_alpha(png);
}

/* Whether the bytes can be enough for the pixels that the header claims. */
static wtl_status check_claims(const png_work *work, png_uint_32 width, png_uint_32 height,
                               wtl_error *err)
{
    enum { MOST_EXPANSION = 1032 }; /* of deflate: 258 bytes from 2 bits */
    wtl_status status = wtl_image_check_size(width, height, work->name, err);
    size_t row_bytes = png_get_rowbytes(work->png, work->info);
    if (status == WTL_OK && row_bytes / MOST_EXPANSION > work->length / height) {
        return wtl_fail(err, WTL_E_FORMAT,
                        "%s: damaged PNG: %zu bytes cannot hold %lu x %lu pixels", work->name,
                        work->length, (unsigned long)width, (unsigned long)height);
    }
    return status;
}

/* Between setjmp and its return, libpng may leave from any call: nothing here is owned by
 * this function's own variables. */
static wtl_status decode_rows(png_work *work, wtl_image *image, wtl_error *err)
{
    if (setjmp(png_jmpbuf(work->png))) {
        return failed(work, err);
    }
    png_set_read_fn(work->png, work, read_bytes);
    png_read_info(work->png, work->info);
    png_uint_32 width = png_get_image_width(work->png, work->info);
    png_uint_32 height = png_get_image_height(work->png, work->info);
    int color = png_get_color_type(work->png, work->info);
    bool colored = (color & PNG_COLOR_MASK_COLOR) != 0;
    wtl_status status = check_claims(work, width, height, err);
    if (status == WTL_OK) {
        status = wtl_image_begin(image, width, height, colored ? 3 : 1, work->name, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    ask_for_8_bits(work->png, color);
    (void)png_set_interlace_handling(work->png);
    png_read_update_info(work->png, work->info);
    size_t row_bytes = (size_t)width * (size_t)image->channels;
    if (png_get_rowbytes(work->png, work->info) != row_bytes) {
        png_error(work->png, "rows of an unexpected size");
    }
    work->rows = wtl_alloc(height, sizeof work->rows[0]);
    if (!work->rows) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for a PNG", work->name);
    }
    for (size_t i = 0; i < height; i++) {
        work->rows[i] = image->pixels + i * row_bytes;
    }
    png_read_image(work->png, work->rows);
    return WTL_OK;
}

wtl_status wtl_png_decode(wtl_image *image, const unsigned char *bytes, size_t length,
                          const char *name, wtl_error *err)
{
    png_work work = {.bytes = bytes, .length = length, .name = name};
    work.png = png_create_read_struct_2(PNG_LIBPNG_VER_STRING, &work, on_error, on_warning,
                                        &work, allocate, release);
    work.info = work.png ? png_create_info_struct(work.png) : NULL;
    wtl_status status = WTL_E_NOMEM;
    if (work.info) {
        /* libpng's own limits are off: ours are checked before the pixels are allocated. */
        png_set_user_limits(work.png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
        png_set_chunk_malloc_max(work.png, 1 << 23);
        status = decode_rows(&work, image, err);
    } else {
        (void)wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for a PNG", name);
    }
    png_destroy_read_struct(&work.png, &work.info, NULL);
    wtl_free(work.rows);
    return status;
}
