#include "picture_files.h"
#include "wtl_test.h"

#include "wattle/dataset.h"
#include "wattle/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Decodes `file` and frees it; the picture must have this size and these pixels within
 * `tolerance`: 0 for PNG; JPEG of flat colour at quality 100 is off by 2 at most (rounding
 * of the colour conversion there and back). */
static void decodes_to(wtl_test_file file, int width, int height, int channels,
                       const unsigned char *pixels, int tolerance)
{
    wtl_error err = {0};
    wtl_image image = {0};
    wtl_status status = wtl_image_decode(&image, file.bytes, file.length, "picture", &err);
    free(file.bytes);
    assert_string_equal(err.text, "");
    assert_ok(status);
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_int_equal(image.channels, channels);
    for (int i = 0; i < width * height * channels; i++) {
        if (abs(image.pixels[i] - pixels[i]) > tolerance) {
            fail_msg("byte %d is %d, wanted %d", i, image.pixels[i], pixels[i]);
        }
    }
    wtl_image_clear(&image);
}

static void gray_and_rgb_pngs_keep_every_byte(void **state)
{
    (void)state;
    static const unsigned char gray[6] = {0, 1, 127, 128, 254, 255};
    static const unsigned char rgb[12] = {1, 2, 3, 250, 100, 0, 9, 8, 7, 0, 0, 255};
    decodes_to(wtl_test_make_png((wtl_test_png){.width = 3, .height = 2, .rows = gray}), 3, 2,
               1, gray, 0);
    decodes_to(
        wtl_test_make_png((wtl_test_png){.width = 2, .height = 2, .color = 2, .rows = rgb}), 2,
        2, 3, rgb, 0);
}

static void sixteen_bits_are_scaled_to_eight(void **state)
{
    (void)state;
    /* v * 255 / 65535, rounded: 0x8080 -> 128; 0x0180 = 384 -> 1.49; 0x0182 -> 1.50 */
    static const unsigned char rgb[12] = {0x80, 0x80, 0xff, 0xff, 0x01, 0x80,
                                          0x01, 0x82, 0x00, 0x7f, 0xfe, 0xff};
    static const unsigned char want[6] = {128, 255, 1, 2, 0, 254};
    decodes_to(wtl_test_make_png((wtl_test_png){
                   .width = 2, .height = 1, .color = 2, .bits = 16, .rows = rgb}),
               2, 1, 3, want, 0);
    decodes_to(
        wtl_test_make_png((wtl_test_png){.width = 6, .height = 1, .bits = 16, .rows = rgb}), 6,
        1, 1, want, 0);
}

static void palettes_become_rgb_and_their_alpha_is_dropped(void **state)
{
    (void)state;
    static const unsigned char palette[12] = {10, 20, 30, 40, 50, 60, 70, 80, 90, 1, 2, 3};
    static const unsigned char alpha[4] = {0, 128, 255, 7};
    static const unsigned char rows[1] = {0xe4}; /* 3 2 1 0 in two bits each */
    static const unsigned char want[12] = {1, 2, 3, 70, 80, 90, 40, 50, 60, 10, 20, 30};
    wtl_test_png png = {.width = 4,
                        .height = 1,
                        .color = 3,
                        .bits = 2,
                        .rows = rows,
                        .palette = palette,
                        .colors = 4};
    decodes_to(wtl_test_make_png(png), 4, 1, 3, want, 0);
    png.palette_alpha = alpha;
    decodes_to(wtl_test_make_png(png), 4, 1, 3, want, 0);
}

static void alpha_is_dropped(void **state)
{
    (void)state;
    static const unsigned char gray_alpha[4] = {9, 0, 200, 128};
    static const unsigned char rgba[8] = {1, 2, 3, 0, 4, 5, 6, 128};
    static const unsigned char gray[2] = {9, 200}, rgb[6] = {1, 2, 3, 4, 5, 6};
    decodes_to(wtl_test_make_png(
                   (wtl_test_png){.width = 2, .height = 1, .color = 4, .rows = gray_alpha}),
               2, 1, 1, gray, 0);
    decodes_to(
        wtl_test_make_png((wtl_test_png){.width = 2, .height = 1, .color = 6, .rows = rgba}), 2,
        1, 3, rgb, 0);
}

static void small_gray_samples_fill_the_byte(void **state)
{
    (void)state;
    static const unsigned char one[1] = {0xa0}, four[2] = {0x0f, 0x80};
    static const unsigned char want_one[3] = {255, 0, 255}, want_four[3] = {0, 255, 136};
    decodes_to(
        wtl_test_make_png((wtl_test_png){.width = 3, .height = 1, .bits = 1, .rows = one}), 3,
        1, 1, want_one, 0);
    decodes_to(
        wtl_test_make_png((wtl_test_png){.width = 3, .height = 1, .bits = 4, .rows = four}), 3,
        1, 1, want_four, 0);
}

static void interlaced_pngs_come_out_whole(void **state)
{
    (void)state;
    enum { W = 13, H = 11 };
    unsigned char rgb[W * H * 3];
    for (int i = 0; i < W * H * 3; i++) {
        rgb[i] = (unsigned char)(i * 7);
    }
    decodes_to(wtl_test_make_png((wtl_test_png){
                   .width = W, .height = H, .color = 2, .interlaced = true, .rows = rgb}),
               W, H, 3, rgb, 0);
}

static void fill(unsigned char *pixels, int count, const unsigned char *color, int channels)
{
    for (int i = 0; i < count * channels; i++) {
        pixels[i] = color[i % channels];
    }
}

static void jpegs_become_rgb_and_gray_stays_gray(void **state)
{
    (void)state;
    enum { W = 9, H = 10 };
    static const unsigned char orange[3] = {250, 130, 20}, dim[1] = {77};
    unsigned char rgb[W * H * 3], gray[W * H];
    fill(rgb, W * H, orange, 3);
    fill(gray, W * H, dim, 1);
    decodes_to(wtl_test_make_jpeg(
                   (wtl_test_jpeg){.width = W, .height = H, .components = 3, .pixels = rgb}),
               W, H, 3, rgb, 2);
    decodes_to(wtl_test_make_jpeg(
                   (wtl_test_jpeg){.width = W, .height = H, .components = 1, .pixels = gray}),
               W, H, 1, gray, 2);
}

static void cmyk_jpegs_become_rgb_inverted_where_adobe_says_so(void **state)
{
    (void)state;
    enum { W = 8, H = 8 };
    /* Ink C 0, M 127, Y 255, K 51:  R = 255*204/255 = 204, G = 128*204/255 = 102.4, B = 0 */
    static const unsigned char ink[4] = {0, 127, 255, 51}, inverted[4] = {255, 128, 0, 204};
    static const unsigned char color[3] = {204, 102, 0};
    unsigned char want[W * H * 3], pixels[W * H * 4];
    fill(want, W * H, color, 3);
    fill(pixels, W * H, inverted, 4);
    wtl_test_jpeg jpeg = {.width = W, .height = H, .components = 4, .pixels = pixels};
    decodes_to(wtl_test_make_jpeg(jpeg), W, H, 3, want, 3);
    jpeg.ycck = true;
    decodes_to(wtl_test_make_jpeg(jpeg), W, H, 3, want, 3);
    fill(pixels, W * H, ink, 4);
    jpeg.ycck = false;
    jpeg.no_adobe = true;
    decodes_to(wtl_test_make_jpeg(jpeg), W, H, 3, want, 3);
}

static void a_png_called_jpeg_is_told_by_its_content(void **state)
{
    (void)state;
    static const unsigned char gray[2] = {3, 200};
    const char *path = wtl_test_path("n02105855_2933.JPEG");
    wtl_test_write_png(path, 2, 1, 1, gray);
    wtl_error err;
    wtl_image image = {0};
    assert_ok(wtl_image_load(&image, path, &err));
    assert_int_equal(image.width, 2);
    assert_memory_equal(image.pixels, gray, 2);
    wtl_image_clear(&image);
    assert_int_equal(wtl_image_load(&image, wtl_test_path("none.png"), &err), WTL_E_MISSING);
}

/* Each cut must be seen; where a JPEG's end mark alone is missing, all pixels are there. */
static void fails_at_every_cut(wtl_test_file file, size_t spare)
{
    wtl_image image = {0};
    wtl_error err;
    for (size_t length = 0; length + spare < file.length; length++) {
        unsigned char *exact = malloc(length ? length : 1); /* sanitizers see its end */
        assert_non_null(exact);
        memcpy(exact, file.bytes, length);
        wtl_status status = wtl_image_decode(&image, exact, length, "cut", &err);
        free(exact);
        if (status != WTL_E_FORMAT) {
            fail_msg("cut at %zu of %zu: %s", length, file.length, wtl_status_name(status));
        }
        assert_null(strchr(err.text, '\n'));
    }
    free(file.bytes);
    wtl_image_clear(&image);
}

static void cut_files_are_refused_at_every_length(void **state)
{
    (void)state;
    enum { W = 12, H = 9 };
    unsigned char pixels[W * H * 4];
    for (int i = 0; i < W * H * 4; i++) {
        pixels[i] = (unsigned char)(i * i);
    }
    /* The 12 bytes of IEND and the CRC of the pixels before them are not needed. */
    fails_at_every_cut(
        wtl_test_make_png((wtl_test_png){.width = W, .height = H, .color = 2, .rows = pixels}),
        12 + 4);
    fails_at_every_cut(
        wtl_test_make_png((wtl_test_png){
            .width = W, .height = H, .color = 6, .interlaced = true, .rows = pixels}),
        12 + 4);
    fails_at_every_cut(wtl_test_make_jpeg((wtl_test_jpeg){
                           .width = W, .height = H, .components = 3, .pixels = pixels}),
                       2);
    fails_at_every_cut(wtl_test_make_jpeg((wtl_test_jpeg){
                           .width = W, .height = H, .components = 4, .pixels = pixels}),
                       2);
}

static void damage_is_told_in_one_line(void **state)
{
    (void)state;
    wtl_error err;
    wtl_image image = {0};
    static const unsigned char gif[] = "GIF89a\1\0\1\0";
    assert_fails(wtl_image_decode(&image, gif, 10, "x.gif", &err), WTL_E_FORMAT, &err,
                 "x.gif: neither PNG nor JPEG: begins with bytes 47 49 46 38");
    assert_fails(wtl_image_decode(&image, gif, 0, "empty.png", &err), WTL_E_FORMAT, &err,
                 "empty.png: 0 bytes are no picture");
    static const unsigned char gray[4] = {1, 2, 3, 4};
    wtl_test_file file =
        wtl_test_make_png((wtl_test_png){.width = 2, .height = 2, .rows = gray});
    file.bytes[29] ^= 1; /* the header's CRC */
    assert_fails(wtl_image_decode(&image, file.bytes, file.length, "a.png", &err), WTL_E_FORMAT,
                 &err, "a.png: damaged PNG: IHDR: CRC error");
    free(file.bytes);
    wtl_image_clear(&image);
}

/* The place of marker ff `code`. */
static size_t marker(wtl_test_file jpeg, unsigned char code)
{
    size_t at = 0;
    while (jpeg.bytes[at] != 0xff || jpeg.bytes[at + 1] != code) {
        at++;
        assert_true(at + 1 < jpeg.length);
    }
    return at;
}

static void jpegs_that_lack_pixels_are_refused_and_stray_bytes_let_pass(void **state)
{
    (void)state;
    enum { W = 16, H = 16, DHT = 0xc4, SOS = 0xda, EOI = 0xd9 };
    unsigned char gray[W * H];
    for (int i = 0; i < W * H; i++) {
        gray[i] = (unsigned char)(i * 7 % 256);
    }
    wtl_test_file jpeg = wtl_test_make_jpeg(
        (wtl_test_jpeg){.width = W, .height = H, .components = 1, .pixels = gray});
    size_t middle = (marker(jpeg, SOS) + jpeg.length) / 2;
    unsigned char kept[2] = {jpeg.bytes[middle], jpeg.bytes[middle + 1]};
    wtl_image image = {0};
    wtl_error err;
    jpeg.bytes[middle] = 0xff;
    jpeg.bytes[middle + 1] = EOI;
    assert_fails(wtl_image_decode(&image, jpeg.bytes, jpeg.length, "a.jpg", &err), WTL_E_FORMAT,
                 &err, "a.jpg: damaged JPEG: Corrupt JPEG data: premature end of data segment");
    memcpy(jpeg.bytes + middle, kept, 2);

    enum { STRAY = 3 };
    size_t at = marker(jpeg, DHT);
    wtl_test_file longer = {malloc(jpeg.length + STRAY), jpeg.length + STRAY};
    assert_non_null(longer.bytes);
    memcpy(longer.bytes, jpeg.bytes, at);
    memset(longer.bytes + at, 0x11, STRAY);
    memcpy(longer.bytes + at + STRAY, jpeg.bytes + at, jpeg.length - at);
    free(jpeg.bytes);
    decodes_to(longer, W, H, 1, gray, 2);
    wtl_image_clear(&image);
}

static void jpegs_of_hundreds_of_scans_are_refused(void **state)
{
    (void)state;
    unsigned char gray[64];
    for (int i = 0; i < 64; i++) {
        gray[i] = (unsigned char)(i * 37);
    }
    wtl_test_jpeg jpeg = {
        .width = 8, .height = 8, .components = 1, .ac_scans = 1, .pixels = gray};
    decodes_to(wtl_test_make_jpeg(jpeg), 8, 8, 1, gray, 2);
    jpeg.ac_scans = 4;
    wtl_test_file file = wtl_test_make_jpeg(jpeg);
    wtl_image image = {0};
    wtl_error err;
    assert_fails(wtl_image_decode(&image, file.bytes, file.length, "a.jpg", &err), WTL_E_FORMAT,
                 &err, "a.jpg: damaged JPEG: more than 200 scans");
    free(file.bytes);
    wtl_image_clear(&image);
}

/* The PNG header's width and height, with its CRC made right again. */
static void set_png_size(unsigned char *png, unsigned width, unsigned height)
{
    enum { IHDR = 12, SIZE = 17 };
    for (int i = 0; i < 4; i++) {
        png[16 + i] = (unsigned char)(width >> (24 - 8 * i));
        png[20 + i] = (unsigned char)(height >> (24 - 8 * i));
    }
    unsigned crc = 0xffffffff;
    for (int i = 0; i < SIZE; i++) {
        crc ^= png[IHDR + i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320 : 0);
        }
    }
    for (int i = 0; i < 4; i++) {
        png[IHDR + SIZE + i] = (unsigned char)(~crc >> (24 - 8 * i));
    }
}

static void sizes_are_checked_before_pixels_are_allocated(void **state)
{
    (void)state;
    static const struct {
        unsigned width, height;
        wtl_status status;
        const char *text;
    } cases[] = {
        {16385, 1, WTL_E_RANGE,
         "bomb: 16385 x 1 pixels is too large: sides may have 16384, the picture 67108864"},
        {1, 20000, WTL_E_RANGE,
         "bomb: 1 x 20000 pixels is too large: sides may have 16384, the picture 67108864"},
        {16384, 4097, WTL_E_RANGE,
         "bomb: 16384 x 4097 pixels is too large: sides may have 16384, the picture 67108864"},
    };
    static const unsigned char gray[1] = {1};
    wtl_test_file png =
        wtl_test_make_png((wtl_test_png){.width = 1, .height = 1, .rows = gray});
    /* Bytes to spare, so that the size alone is what is wrong. */
    enum { SPARE = 1 << 20 };
    png.bytes = realloc(png.bytes, SPARE);
    assert_non_null(png.bytes);
    wtl_error err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_image image = {0};
        set_png_size(png.bytes, cases[i].width, cases[i].height);
        assert_fails(wtl_image_decode(&image, png.bytes, SPARE, "bomb", &err), cases[i].status,
                     &err, cases[i].text);
        assert_null(image.pixels);
    }
    wtl_image image = {0};
    assert_int_equal(wtl_image_decode(&image, png.bytes, png.length, "bomb", &err),
                     WTL_E_RANGE); /* whatever else is wrong */
    set_png_size(png.bytes, 8192, 8192);
    assert_fails(wtl_image_decode(&image, png.bytes, png.length, "bomb", &err), WTL_E_FORMAT,
                 &err, "bomb: damaged PNG: 67 bytes cannot hold 8192 x 8192 pixels");
    assert_null(image.pixels);
    free(png.bytes);

    wtl_test_file jpeg = wtl_test_make_jpeg(
        (wtl_test_jpeg){.width = 1, .height = 1, .components = 1, .pixels = gray});
    unsigned char *frame = jpeg.bytes;
    while (frame[0] != 0xff || frame[1] != 0xc0) {
        frame++;
    }
    frame[5] = frame[6] = frame[7] = frame[8] = 0xfa; /* height and width 64250 */
    assert_fails(wtl_image_decode(&image, jpeg.bytes, jpeg.length, "bomb", &err), WTL_E_RANGE,
                 &err,
                 "bomb: 64250 x 64250 pixels is too large: sides may have 16384, the picture "
                 "67108864");
    assert_null(image.pixels);
    free(jpeg.bytes);
}

static wtl_status decode_file(void *context)
{
    const wtl_test_file *file = context;
    wtl_image image = {0};
    wtl_status status = wtl_image_decode(&image, file->bytes, file->length, "picture", NULL);
    wtl_image_clear(&image);
    return status;
}

static void every_failing_allocation_is_no_memory(void **state)
{
    (void)state;
    static const unsigned char pixels[16] = {0};
    wtl_test_file png = wtl_test_make_png((wtl_test_png){
        .width = 2, .height = 2, .color = 6, .interlaced = true, .rows = pixels});
    wtl_test_every_allocation_fails(decode_file, &png);
    free(png.bytes);
    wtl_test_file jpeg = wtl_test_make_jpeg(
        (wtl_test_jpeg){.width = 2, .height = 2, .components = 4, .pixels = pixels});
    wtl_test_every_allocation_fails(decode_file, &jpeg);
    free(jpeg.bytes);
}

static void resizing_reuses_memory_and_failing_keeps_the_picture(void **state)
{
    (void)state;
    wtl_image image = {0};
    assert_ok(wtl_image_resize(&image, 4, 3, 3));
    assert_int_equal(image.capacity, 36);
    unsigned char *first = image.pixels;
    first[35] = 99;
    assert_ok(wtl_image_resize(&image, 3, 4, 1));
    assert_ptr_equal(image.pixels, first);
    wtl_test_fail_allocation(1, 1);
    assert_int_equal(wtl_image_resize(&image, 5, 5, 3), WTL_E_NOMEM);
    wtl_test_fail_allocation(0, 0);
    assert_ptr_equal(image.pixels, first);
    assert_int_equal(image.width, 3);
    assert_int_equal(image.capacity, 36);
    assert_int_equal(first[35], 99);
    assert_int_equal(wtl_image_resize(&image, -1, 5, 3), WTL_E_NOMEM);
    wtl_image_clear(&image);
    assert_null(image.pixels);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(gray_and_rgb_pngs_keep_every_byte),
        WTL_TEST(sixteen_bits_are_scaled_to_eight),
        WTL_TEST(palettes_become_rgb_and_their_alpha_is_dropped),
        WTL_TEST(alpha_is_dropped),
        WTL_TEST(small_gray_samples_fill_the_byte),
        WTL_TEST(interlaced_pngs_come_out_whole),
        WTL_TEST(jpegs_become_rgb_and_gray_stays_gray),
        WTL_TEST(cmyk_jpegs_become_rgb_inverted_where_adobe_says_so),
        WTL_TEST(a_png_called_jpeg_is_told_by_its_content),
        WTL_TEST(cut_files_are_refused_at_every_length),
        WTL_TEST(damage_is_told_in_one_line),
        WTL_TEST(jpegs_that_lack_pixels_are_refused_and_stray_bytes_let_pass),
        WTL_TEST(jpegs_of_hundreds_of_scans_are_refused),
        WTL_TEST(sizes_are_checked_before_pixels_are_allocated),
        WTL_TEST(every_failing_allocation_is_no_memory),
        WTL_TEST(resizing_reuses_memory_and_failing_keeps_the_picture),
    };
    return WTL_RUN("image", tests);
}
