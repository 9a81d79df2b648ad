#include "wtl_test.h"

#include "data/pipeline.h"
#include "wattle/file.h"

#include <string.h>

typedef wtl_status (*resizer)(wtl_image *out, wtl_view from, int width, int height,
                              wtl_resize_space *space);

/* Resizes pixels [height,width,channels] and compares every byte. */
static void resizes_to(resizer resize, wtl_view from, int width, int height,
                       const unsigned char *want)
{
    wtl_resize_space space = {0};
    wtl_image out = {0};
    assert_ok(resize(&out, from, width, height, &space));
    assert_int_equal(out.width, width);
    assert_int_equal(out.height, height);
    assert_int_equal(out.channels, from.channels);
    for (int i = 0; i < width * height * from.channels; i++) {
        if (out.pixels[i] != want[i]) {
            fail_msg("%d x %d: byte %d is %d, wanted %d", width, height, i, out.pixels[i],
                     want[i]);
        }
    }
    wtl_image_clear(&out);
    wtl_resize_space_clear(&space);
}

static wtl_view row(const unsigned char *pixels, int width)
{
    return (wtl_view){pixels, (size_t)width, width, 1, 1};
}

static wtl_view column(const unsigned char *pixels, int height)
{
    return (wtl_view){pixels, 1, 1, height, 1};
}

static void plain_bilinear_gives_the_hand_worked_values(void **state)
{
    (void)state;
    static const unsigned char two[2] = {0, 100}, four[4] = {0, 100, 200, 50};
    static const unsigned char five[5] = {10, 20, 40, 80, 160};
    /* centres at -1/4 (clamped), 1/4, 3/4, 5/4 (clamped) */
    static const unsigned char twice[4] = {0, 25, 75, 100};
    /* centres at 1/2 and 5/2: means of neighbours, whatever lies further */
    static const unsigned char half[2] = {50, 125};
    /* centres at 1/3, 2, 11/3: 10 + 10/3, 40, 80 + 80*2/3 */
    static const unsigned char three[3] = {13, 40, 133};
    resizes_to(wtl_resize_bilinear, row(two, 2), 4, 1, twice);
    resizes_to(wtl_resize_bilinear, column(two, 2), 1, 4, twice);
    resizes_to(wtl_resize_bilinear, row(four, 4), 2, 1, half);
    resizes_to(wtl_resize_bilinear, column(four, 4), 1, 2, half);
    resizes_to(wtl_resize_bilinear, row(five, 5), 3, 1, three);
}

static void antialiasing_weighs_all_pixels_a_reduction_covers(void **state)
{
    (void)state;
    static const unsigned char four[4] = {0, 100, 200, 50};
    /* Reduction by 2: weights 3/4 3/4 1/4 around 1, over their sum 7/4:
     * (75 + 50) / 1.75 = 71.4, (25 + 150 + 37.5) / 1.75 = 121.4 */
    static const unsigned char half[2] = {71, 121};
    static const unsigned char two[2] = {0, 100}, twice[4] = {0, 25, 75, 100};
    resizes_to(wtl_resize_antialiased, row(four, 4), 2, 1, half);
    resizes_to(wtl_resize_antialiased, column(four, 4), 1, 2, half);
    resizes_to(wtl_resize_antialiased, row(two, 2), 4, 1, twice);
}

enum { W = 7, H = 5 };

static void fill_pattern(unsigned char *pixels, int width, int height, int channels)
{
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            for (int c = 0; c < channels; c++) {
                *pixels++ =
                    (unsigned char)((37 * x * x + 91 * y + 53 * c * x * y + 11 * c) % 256);
            }
        }
    }
}

/* Values from Pillow 9.4.0 (Debian 12), Image.resize(size, Image.BILINEAR), of the pattern
 * above as "L" or "RGB". */
static void antialiasing_gives_pillows_bytes(void **state)
{
    (void)state;
    static const unsigned char rgb_4x3[36] = {62,  79,  56,  145, 115, 152, 134, 102, 123,
                                              137, 116, 84,  141, 134, 140, 117, 100, 103,
                                              78,  140, 126, 155, 116, 165, 85,  120, 96,
                                              99,  157, 101, 134, 102, 130, 105, 109, 173};
    static const unsigned char gray_10x2[20] = {79,  99,  130, 166, 123, 99,  105,
                                                159, 157, 131, 87,  107, 117, 96,
                                                102, 107, 108, 106, 120, 139};
    static const unsigned char gray_3x9[27] = {48,  97,  103, 78,  127, 133, 129, 178, 184,
                                               155, 121, 161, 175, 38,  120, 114, 80,  120,
                                               69,  116, 118, 89,  124, 107, 101, 129, 101};
    static const unsigned char gray_7x2[14] = {79, 116, 169, 98,  101, 178, 131,
                                               87, 124, 95,  106, 109, 104, 139};
    static const unsigned char gray_3x5[15] = {48,  97, 103, 139, 188, 194, 175, 38,
                                               120, 65, 114, 120, 101, 129, 101};
    unsigned char gray[W * H], rgb[W * H * 3];
    fill_pattern(gray, W, H, 1);
    fill_pattern(rgb, W, H, 3);
    wtl_view from_gray = {gray, W, W, H, 1}, from_rgb = {rgb, 3 * W, W, H, 3};
    resizes_to(wtl_resize_antialiased, from_rgb, 4, 3, rgb_4x3);
    resizes_to(wtl_resize_antialiased, from_gray, 10, 2, gray_10x2);
    resizes_to(wtl_resize_antialiased, from_gray, 3, 9, gray_3x9);
    resizes_to(wtl_resize_antialiased, from_gray, 7, 2, gray_7x2);
    resizes_to(wtl_resize_antialiased, from_gray, 3, 5, gray_3x5);
    /* crop((1, 1, 6, 4)) first: nothing outside the part may count */
    static const unsigned char part_2x2[4] = {153, 136, 107, 90};
    resizes_to(wtl_resize_antialiased, wtl_view_part(from_gray, 1, 1, 5, 3), 2, 2, part_2x2);
}

/* CRC-32 of what the same Pillow gives for the pattern in 101 x 83 pixels of RGB. */
static void antialiasing_gives_pillows_bytes_at_usual_sizes(void **state)
{
    (void)state;
    enum { WIDE = 101, HIGH = 83 };
    static const struct {
        int width, height;
        uint32_t crc;
    } cases[] = {{37, 23, 0x97258488},   {150, 40, 0xec4dc7da}, {40, 150, 0xe1e944bb},
                 {224, 224, 0x9a91cf86}, {100, 82, 0xeab4592d}, {1, 1, 0xd1eaceaa}};
    static unsigned char rgb[WIDE * HIGH * 3];
    fill_pattern(rgb, WIDE, HIGH, 3);
    wtl_resize_space space = {0};
    wtl_image out = {0};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_view from = {rgb, 3 * WIDE, WIDE, HIGH, 3};
        assert_ok(wtl_resize_antialiased(&out, from, cases[i].width, cases[i].height, &space));
        size_t bytes = (size_t)cases[i].width * (size_t)cases[i].height * 3;
        assert_int_equal(wtl_crc32(0, out.pixels, bytes), cases[i].crc);
    }
    wtl_image_clear(&out);
    wtl_resize_space_clear(&space);
}

static void the_same_size_is_a_copy(void **state)
{
    (void)state;
    unsigned char rgb[W * H * 3];
    fill_pattern(rgb, W, H, 3);
    wtl_view whole = {rgb, 3 * W, W, H, 3};
    resizes_to(wtl_resize_antialiased, whole, W, H, rgb);
    resizes_to(wtl_resize_bilinear, whole, W, H, rgb);
    unsigned char part[4 * 3];
    memcpy(part, rgb + (1 * W + 2) * 3, 6);
    memcpy(part + 6, rgb + (2 * W + 2) * 3, 6);
    resizes_to(wtl_resize_bilinear, wtl_view_part(whole, 2, 1, 2, 2), 2, 2, part);
}

static void flat_colour_stays_flat_at_any_size(void **state)
{
    (void)state;
    static const int sizes[] = {1, 2, 3, 10, 31, 64};
    enum { COUNT = sizeof sizes / sizeof sizes[0] };
    static unsigned char flat[64 * 64];
    memset(flat, 255, sizeof flat);
    for (int i = 0; i < COUNT * COUNT; i++) {
        wtl_view from = {flat, 64, sizes[i % COUNT], sizes[i / COUNT], 1};
        resizes_to(wtl_resize_antialiased, from, sizes[i / COUNT], sizes[i % COUNT], flat);
        resizes_to(wtl_resize_bilinear, from, sizes[i / COUNT], sizes[i % COUNT], flat);
    }
}

static wtl_status resize_once(void *context)
{
    (void)context;
    static const unsigned char gray[12] = {0};
    wtl_view from = {gray, 4, 4, 3, 1};
    wtl_resize_space space = {0};
    wtl_image out = {0};
    wtl_status status = wtl_resize_antialiased(&out, from, 30, 20, &space);
    wtl_image_clear(&out);
    wtl_resize_space_clear(&space);
    return status;
}

static void every_failing_allocation_is_no_memory(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(resize_once, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(plain_bilinear_gives_the_hand_worked_values),
        WTL_TEST(antialiasing_weighs_all_pixels_a_reduction_covers),
        WTL_TEST(antialiasing_gives_pillows_bytes),
        WTL_TEST(antialiasing_gives_pillows_bytes_at_usual_sizes),
        WTL_TEST(the_same_size_is_a_copy),
        WTL_TEST(flat_colour_stays_flat_at_any_size),
        WTL_TEST(every_failing_allocation_is_no_memory),
    };
    return WTL_RUN("resize", tests);
}
