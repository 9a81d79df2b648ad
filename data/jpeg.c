/* jpeg.c - JPEG decoding. The only file that sees <jpeglib.h>.
 *
 * Gray stays gray, all else becomes RGB. CMYK and YCCK go through CMYK: Adobe's programs,
 * the ones that write such files, store them inverted (255 is no ink) and say so by their
 * marker. Conversion without colour profile: red = (1 - C) * (1 - K), and so on.
 */
#include "image.h"

#include "wattle/memory.h"

#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>

#include <jerror.h>

typedef struct jpeg_work {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_source_mgr source;
    struct jpeg_progress_mgr progress;
    jmp_buf jump;
    const char *name;
    unsigned char *cmyk; /* one row */
    bool out_of_memory;
    char message[JMSG_LENGTH_MAX];
} jpeg_work;

static void leave(j_common_ptr jpeg)
{
    jpeg_work *work = jpeg->client_data;
    work->out_of_memory = jpeg->err->msg_code == JERR_OUT_OF_MEMORY;
    jpeg->err->format_message(jpeg, work->message);
    longjmp(work->jump, 1);
}

/* libjpeg would paint over damage in gray. Only what leaves every pixel right is let pass. */
static void on_message(j_common_ptr jpeg, int level)
{
    static const int harmless[] = {JWRN_ADOBE_XFORM, JWRN_BOGUS_ICC, JWRN_EXTRANEOUS_DATA,
                                   JWRN_JFIF_MAJOR, JWRN_TOO_MUCH_DATA};
    bool stop = level < 0;
    for (size_t i = 0; i < sizeof harmless / sizeof harmless[0]; i++) {
        stop = stop && jpeg->err->msg_code != harmless[i];
    }
    if (stop) {
        leave(jpeg);
    }
}

/* A few bytes can ask for thousands of passes over a large picture. */
static void on_progress(j_common_ptr jpeg)
{
    enum { MOST_SCANS = 200 };
    j_decompress_ptr decompress = (j_decompress_ptr)jpeg;
    if (decompress->input_scan_number > MOST_SCANS) {
        jpeg_work *work = jpeg->client_data;
        snprintf(work->message, sizeof work->message, "more than %d scans", MOST_SCANS);
        longjmp(work->jump, 1);
    }
}

static void nothing(j_decompress_ptr jpeg)
{
    (void)jpeg;
}

static boolean out_of_bytes(j_decompress_ptr jpeg)
{
    jpeg_work *work = jpeg->client_data;
    snprintf(work->message, sizeof work->message, "cut short");
    longjmp(work->jump, 1);
}

static void skip_bytes(j_decompress_ptr jpeg, long count)
{
    if (count > 0) {
        if ((size_t)count > jpeg->src->bytes_in_buffer) {
            (void)out_of_bytes(jpeg);
        }
        jpeg->src->next_input_byte += count;
        jpeg->src->bytes_in_buffer -= (size_t)count;
    }
}

static void rgb_from_cmyk(unsigned char *rgb, const unsigned char *cmyk, int width,
                          bool inverted)
{
    unsigned flip = inverted ? 0 : 255;
    for (int x = 0; x < width; x++) {
        unsigned light = cmyk[4 * x + 3] ^ flip; /* 255 - K */
        for (int c = 0; c < 3; c++) {
            unsigned share = cmyk[4 * x + c] ^ flip;
            rgb[3 * x + c] = (unsigned char)((share * light + 127) / 255);
        }
    }
}

/* Asks for gray, RGB or CMYK; returns the channels of the picture. */
static int choose_output(j_decompress_ptr jpeg)
{
    switch (jpeg->jpeg_color_space) {
    case JCS_GRAYSCALE:
        jpeg->out_color_space = JCS_GRAYSCALE;
        return 1;
    case JCS_RGB:
    case JCS_YCbCr:
        jpeg->out_color_space = JCS_RGB;
        return 3;
    case JCS_CMYK:
    case JCS_YCCK:
        jpeg->out_color_space = JCS_CMYK;
        return 3;
    default:
        return 0;
    }
}

static wtl_status read_rows(jpeg_work *work, wtl_image *image)
{
    j_decompress_ptr jpeg = &work->jpeg;
    size_t row_bytes = (size_t)image->width * (size_t)image->channels;
    bool cmyk = jpeg->out_color_space == JCS_CMYK;
    while (jpeg->output_scanline < jpeg->output_height) {
        unsigned char *row = image->pixels + jpeg->output_scanline * row_bytes;
        JSAMPROW to = cmyk ? work->cmyk : row;
        if (jpeg_read_scanlines(jpeg, &to, 1) == 1 && cmyk) {
            rgb_from_cmyk(row, work->cmyk, image->width, jpeg->saw_Adobe_marker);
        }
    }
    return WTL_OK;
}

static wtl_status decode(jpeg_work *work, const unsigned char *bytes, size_t length,
                         wtl_image *image, wtl_error *err)
{
    j_decompress_ptr jpeg = &work->jpeg;
    if (setjmp(work->jump)) {
        return work->out_of_memory
                   ? wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for a JPEG", work->name)
                   : wtl_fail(err, WTL_E_FORMAT, "%s: damaged JPEG: %s", work->name,
                              work->message);
    }
    jpeg_create_decompress(jpeg);
    jpeg->client_data = work;
    jpeg->progress = &work->progress;
    jpeg->src = &work->source;
    jpeg->src->next_input_byte = bytes;
    jpeg->src->bytes_in_buffer = length;
    (void)jpeg_read_header(jpeg, TRUE);
    int channels = choose_output(jpeg);
    if (channels == 0) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: a JPEG of %d unknown components", work->name,
                        jpeg->num_components);
    }
    wtl_status status = wtl_image_begin(image, jpeg->image_width, jpeg->image_height, channels,
                                        work->name, err);
    if (status == WTL_OK && jpeg->out_color_space == JCS_CMYK) {
        work->cmyk = wtl_alloc(jpeg->image_width, 4);
        status = work->cmyk
                     ? WTL_OK
                     : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for a JPEG", work->name);
    }
    if (status != WTL_OK) {
        return status;
    }
    (void)jpeg_start_decompress(jpeg);
    return read_rows(work, image);
}

wtl_status wtl_jpeg_decode(wtl_image *image, const unsigned char *bytes, size_t length,
                           const char *name, wtl_error *err)
{
    jpeg_work work = {.name = name};
    work.jpeg.err = jpeg_std_error(&work.errors);
    work.jpeg.client_data = &work;
    work.errors.error_exit = leave;
    work.errors.emit_message = on_message;
    work.progress.progress_monitor = on_progress;
    work.source = (struct jpeg_source_mgr){.init_source = nothing,
                                           .fill_input_buffer = out_of_bytes,
                                           .skip_input_data = skip_bytes,
                                           .resync_to_restart = jpeg_resync_to_restart,
                                           .term_source = nothing};
    wtl_status status = decode(&work, bytes, length, image, err);
    jpeg_destroy_decompress(&work.jpeg);
    wtl_free(work.cmyk);
    return status;
}
