#include "wtl_test.h"

#include "data/pipeline.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

enum { MOST = 64 };

/* A picture over `pixels`, which outlives it. */
static wtl_image picture(unsigned char *pixels, int width, int height, int channels)
{
    return (wtl_image){width, height, channels,
                       (size_t)width * (size_t)height * (size_t)channels, pixels};
}

/* Values that normalise to the pixel itself. */
static wtl_preprocess plain(int channels, int height, int width)
{
    return (wtl_preprocess){.channels = channels,
                            .height = height,
                            .width = width,
                            .scale = 1.0f,
                            .deviation = {1.0f, 1.0f, 1.0f}};
}

static void gives(const wtl_preprocess *p, const wtl_image *image, const float *want,
                  double tolerance)
{
    float got[MOST];
    wtl_fill_nan(got, MOST);
    wtl_error err = {0};
    if (wtl_preprocess_image(p, image, got, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    size_t count = (size_t)p->channels * (size_t)p->height * (size_t)p->width;
    assert_all_close(got, want, count, tolerance);
    assert_true(isnan(got[count]));
}

static void torchvision_and_caffe_numbers_come_out(void **state)
{
    (void)state;
    unsigned char rgb[6] = {255, 0, 128, 10, 20, 30}; /* two pixels */
    wtl_image image = picture(rgb, 2, 1, 3);
    wtl_preprocess torch = {.channels = 3,
                            .height = 1,
                            .width = 2,
                            .scale = 1.0f / 255.0f,
                            .mean = {0.485f, 0.456f, 0.406f},
                            .deviation = {0.229f, 0.224f, 0.225f}};
    /* (1 - .485)/.229, (10/255 - .485)/.229, ... */
    static const float torch_want[6] = {2.2489083f,  -1.9466564f, -2.0357144f,
                                        -1.6855742f, 0.4264923f,  -1.2815686f};
    gives(&torch, &image, torch_want, 1e-6); /* float rounding of four operations */
    wtl_preprocess caffe = {.channels = 3,
                            .height = 1,
                            .width = 2,
                            .order = WTL_ORDER_BGR,
                            .scale = 1.0f,
                            .mean = {104, 117, 123},
                            .deviation = {1, 1, 1}};
    /* B, G, R of both pixels less their means */
    static const float caffe_want[6] = {24, -74, -117, -97, 132, -113};
    gives(&caffe, &image, caffe_want, 0.0);
}

static void gray_fills_three_channels_and_colour_becomes_luma(void **state)
{
    (void)state;
    unsigned char gray[2] = {7, 200}, rgb[12] = {255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30};
    wtl_image image = picture(gray, 2, 1, 1);
    wtl_preprocess p = plain(3, 1, 2);
    p.mean[2] = 5.0f;
    static const float three[6] = {7, 200, 7, 200, 2, 195};
    gives(&p, &image, three, 0.0);
    image = picture(rgb, 4, 1, 3);
    p = plain(1, 1, 4);
    /* 0.299 R + 0.587 G + 0.114 B: 76.2, 149.7, 29.1, 18.15 */
    static const float luma[4] = {76, 150, 29, 18};
    gives(&p, &image, luma, 0.0);
}

static void the_centre_is_cropped(void **state)
{
    (void)state;
    unsigned char gray[30]; /* [5,6]: 10 y + x */
    for (int i = 0; i < 30; i++) {
        gray[i] = (unsigned char)(10 * (i / 6) + i % 6);
    }
    wtl_image image = picture(gray, 6, 5, 1);
    wtl_preprocess p = plain(1, 2, 3);
    /* offsets (5-2)/2 = 1 and (6-3)/2 = 1, rounded down */
    static const float want[6] = {11, 12, 13, 21, 22, 23};
    gives(&p, &image, want, 0.0);
    /* torchvision rounds 1.5 to 2 ... */
    p.rule = WTL_RESIZE_SHORT;
    p.resize = 5;
    static const float even[6] = {22, 23, 24, 32, 33, 34};
    gives(&p, &image, even, 0.0);
    /* ... and 0.5 to 0 */
    p.height = 4;
    static const float half[12] = {2, 3, 4, 12, 13, 14, 22, 23, 24, 32, 33, 34};
    gives(&p, &image, half, 0.0);
}

static void short_side_rule_keeps_the_aspect(void **state)
{
    (void)state;
    /* 3 wide, 7 high to 2 wide: the long side is 2 * 7 / 3 = 4.67, rounded down to 4. */
    unsigned char gray[21];
    for (int i = 0; i < 21; i++) {
        gray[i] = (unsigned char)(30 * (i / 3));
    }
    wtl_image image = picture(gray, 3, 7, 1);
    wtl_preprocess p = plain(1, 2, 2);
    p.rule = WTL_RESIZE_SHORT;
    p.resize = 2;
    /* Rows 1 and 2 of the 4. Scale 7/4: row 1 has its centre at 2.625, and rows 1, 2, 3 lie
     * 1.125, 0.125 and 0.875 from it, so their weights are as 0.625, 1.625 and 0.875:
     *   (30 * 0.625 + 60 * 1.625 + 90 * 0.875) / 3.125 = 62.4
     * Row 2 is its mirror image: 180 - 62.4 = 117.6. */
    static const float want[4] = {62, 62, 118, 118};
    gives(&p, &image, want, 0.0);
    wtl_view out;
    wtl_workspace space = {0};
    assert_ok(wtl_apply_resize_rule(&out, &p, &image, &space, NULL));
    assert_int_equal(out.width, 2);
    assert_int_equal(out.height, 4);
    image = picture(gray, 7, 3, 1);
    assert_ok(wtl_apply_resize_rule(&out, &p, &image, &space, NULL));
    assert_int_equal(out.width, 4);
    assert_int_equal(out.height, 2);
    wtl_workspace_clear(&space);
}

static void warp_rule_ignores_the_aspect(void **state)
{
    (void)state;
    unsigned char gray[4] = {0, 100, 200, 50};
    wtl_image image = picture(gray, 4, 1, 1);
    wtl_preprocess p = plain(1, 2, 2);
    p.rule = WTL_RESIZE_WARP;
    p.resize = 2;
    static const float want[4] = {50, 125, 50, 125}; /* plain bilinear, not antialiased */
    gives(&p, &image, want, 0.0);
}

static void pictures_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    unsigned char gray[40] = {0};
    float out[MOST];
    wtl_error err;
    wtl_image image = picture(gray, 4, 6, 1);
    wtl_preprocess p = plain(1, 5, 5);
    assert_fails(wtl_preprocess_image(&p, &image, out, &err), WTL_E_SHAPE, &err,
                 "a picture of 4 x 6 pixels (width x height), the network takes 5 x 5 and "
                 "resizes nothing");
    image = picture(gray, 1, 40, 1);
    p.rule = WTL_RESIZE_SHORT;
    p.resize = 500;
    assert_fails(
        wtl_preprocess_image(&p, &image, out, &err), WTL_E_RANGE, &err,
        "1 x 40 pixels is too narrow: with the short side at 500 the long one would be "
        "over 16384");
}

static void numbers_without_sense_are_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_preprocess p = plain(2, 4, 4);
    assert_fails(wtl_preprocess_check(&p, &err), WTL_E_ARG, &err,
                 "preprocess: 2 channels, not 1 or 3");
    p = plain(3, 0, 4);
    assert_fails(wtl_preprocess_check(&p, &err), WTL_E_ARG, &err,
                 "preprocess: an input of 0 x 4 pixels, not 1..16384");
    p = plain(3, 4, 4);
    p.rule = WTL_RESIZE_WARP;
    p.resize = 3;
    assert_fails(wtl_preprocess_check(&p, &err), WTL_E_ARG, &err,
                 "preprocess: a resize to 3 pixels for an input of 4 x 4");
    p = plain(3, 4, 4);
    p.deviation[2] = 0.0f;
    assert_fails(wtl_preprocess_check(&p, &err), WTL_E_ARG, &err,
                 "preprocess: a deviation of 0, not above 0");
    p = plain(3, 4, 4);
    p.scale = NAN;
    assert_int_equal(wtl_preprocess_check(&p, NULL), WTL_E_ARG);
    p = plain(3, 4, 4);
    p.mean[0] = INFINITY;
    assert_int_equal(wtl_preprocess_check(&p, NULL), WTL_E_ARG);
    p = plain(1, 4, 4);
    p.deviation[1] = 0.0f; /* of a channel that is not there */
    assert_ok(wtl_preprocess_check(&p, NULL));
}

static wtl_status preprocess_once(void *context)
{
    unsigned char gray[4] = {0, 100, 200, 50};
    wtl_image image = picture(gray, 4, 1, 1);
    float out[MOST];
    return wtl_preprocess_image(context, &image, out, NULL);
}

static void every_failing_allocation_is_no_memory(void **state)
{
    (void)state;
    wtl_preprocess p = plain(1, 2, 2);
    p.resize = 3;
    p.rule = WTL_RESIZE_WARP;
    wtl_test_every_allocation_fails(preprocess_once, &p);
    p.rule = WTL_RESIZE_SHORT;
    wtl_test_every_allocation_fails(preprocess_once, &p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(torchvision_and_caffe_numbers_come_out),
        WTL_TEST(gray_fills_three_channels_and_colour_becomes_luma),
        WTL_TEST(the_centre_is_cropped),
        WTL_TEST(short_side_rule_keeps_the_aspect),
        WTL_TEST(warp_rule_ignores_the_aspect),
        WTL_TEST(pictures_that_do_not_fit_are_refused),
        WTL_TEST(numbers_without_sense_are_refused),
        WTL_TEST(every_failing_allocation_is_no_memory),
    };
    return WTL_RUN("preprocess", tests);
}
