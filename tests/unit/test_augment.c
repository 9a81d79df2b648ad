#include "wtl_test.h"

#include "data/pipeline.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

enum { SIDE = 4, COUNT = SIDE * SIDE };

static const wtl_preprocess plain = {
    .channels = 1, .height = SIDE, .width = SIDE, .scale = 1.0f, .deviation = {1.0f}};

/* One picture through the whole pipeline, with the random stream number `key`. */
static void prepare(const wtl_preprocess *p, const wtl_augment *a, const wtl_image *image,
                    unsigned key, float *out)
{
    wtl_workspace space = {0};
    wtl_normalise_table table;
    wtl_error err = {0};
    wtl_normalise_prepare(&table, p);
    wtl_rng rng = wtl_rng_make(5, WTL_RNG_AUGMENT, 0, key);
    /* What an earlier picture left behind. */
    assert_ok(wtl_image_resize(&space.framed, p->width, p->height, 3));
    memset(space.framed.pixels, 213, space.framed.capacity);
    wtl_fill_nan(out, (size_t)p->channels * (size_t)p->height * (size_t)p->width);
    if (wtl_prepare_image(p, &table, a, &rng, image, &space, out, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    wtl_workspace_clear(&space);
}

/* pixels[count] = 1, 2, 3, ...: every place can be told. */
static wtl_image numbered(unsigned char *pixels, int width, int height)
{
    for (int i = 0; i < width * height; i++) {
        pixels[i] = (unsigned char)(i + 1);
    }
    return (wtl_image){width, height, 1, (size_t)width * (size_t)height, pixels};
}

/* Whether `got` is the numbered picture moved by (dx, dy) with zeros around, then mirrored. */
static bool is_moved(const float *got, int dx, int dy, bool mirrored)
{
    for (int y = 0; y < SIDE; y++) {
        for (int x = 0; x < SIDE; x++) {
            int from_x = (mirrored ? SIDE - 1 - x : x) - dx, from_y = y - dy;
            bool inside = from_x >= 0 && from_x < SIDE && from_y >= 0 && from_y < SIDE;
            float want = inside ? (float)(from_y * SIDE + from_x + 1) : 0.0f;
            if (got[y * SIDE + x] != want) {
                return false;
            }
        }
    }
    return true;
}

static void pad_and_crop_moves_everywhere_equally_often(void **state)
{
    (void)state;
    enum { PAD = 2, SHIFTS = 2 * PAD + 1, OUTCOMES = 2 * SHIFTS * SHIFTS, DRAWS = 5000 };
    unsigned char pixels[COUNT];
    wtl_image image = numbered(pixels, SIDE, SIDE);
    const wtl_augment a = {.pad = PAD, .flip = true};
    int seen[OUTCOMES] = {0};
    for (unsigned key = 0; key < DRAWS; key++) {
        float got[COUNT];
        int found = -1;
        prepare(&plain, &a, &image, key, got);
        for (int i = 0; i < OUTCOMES; i++) {
            int dx = i / 2 % SHIFTS - PAD, dy = i / 2 / SHIFTS - PAD;
            found = is_moved(got, dx, dy, i % 2) ? i : found;
        }
        assert_true(found >= 0);
        seen[found]++;
    }
    /* 100 expected of each, standard deviation 10: five of them. */
    for (int i = 0; i < OUTCOMES; i++) {
        assert_in_range(seen[i], 50, 150);
    }
}

static void a_pad_larger_than_the_picture_leaves_zeros(void **state)
{
    (void)state;
    unsigned char pixels[COUNT];
    wtl_image image = numbered(pixels, SIDE, SIDE);
    const wtl_augment a = {.pad = 50};
    int empty = 0;
    for (unsigned key = 0; key < 200; key++) {
        float got[COUNT];
        float sum = 0;
        prepare(&plain, &a, &image, key, got);
        for (int i = 0; i < COUNT; i++) {
            assert_true(got[i] >= 0 && got[i] <= COUNT);
            sum += got[i];
        }
        empty += sum == 0.0f;
    }
    assert_in_range(empty, 190, 200); /* 7 of 101 shifts each way show anything */
}

static void random_crop_takes_every_window(void **state)
{
    (void)state;
    enum { WIDE = 6, HIGH = 5, WINDOWS = 3 * 2, DRAWS = 600 };
    unsigned char pixels[WIDE * HIGH];
    wtl_image image = numbered(pixels, WIDE, HIGH);
    const wtl_augment a = {.random_crop = true};
    int seen[WINDOWS] = {0};
    for (unsigned key = 0; key < DRAWS; key++) {
        float got[COUNT];
        prepare(&plain, &a, &image, key, got);
        int first = (int)got[0] - 1, top = first / WIDE, left = first % WIDE;
        assert_true(top < 2 && left < 3);
        for (int i = 0; i < COUNT; i++) {
            assert_close(got[i], (top + i / SIDE) * WIDE + left + i % SIDE + 1, 0.0);
        }
        seen[top * 3 + left]++;
    }
    for (int i = 0; i < WINDOWS; i++) {
        assert_in_range(seen[i], 55, 145); /* 100 +- 5 standard deviations of 9.1 */
    }
}

static void random_areas_keep_to_share_and_aspect(void **state)
{
    (void)state;
    enum { WIDE = 200, HIGH = 120 };
    static unsigned char pixels[WIDE * HIGH];
    wtl_view whole = {pixels, WIDE, WIDE, HIGH, 1};
    double least = 1.0, most = 0.0, narrowest = 2.0, widest = 0.0;
    for (unsigned key = 0; key < 2000; key++) {
        wtl_rng rng = wtl_rng_make(1, WTL_RNG_AUGMENT, 0, key);
        wtl_view area = wtl_random_area(whole, 0.0, &rng);
        ptrdiff_t offset = area.pixels - pixels;
        assert_true(offset >= 0 && offset % WIDE + area.width <= WIDE);
        assert_true(offset / WIDE + area.height <= HIGH);
        double share = (double)area.width * area.height / (WIDE * HIGH);
        double aspect = (double)area.width / area.height;
        least = fmin(least, share);
        most = fmax(most, share);
        narrowest = fmin(narrowest, aspect);
        widest = fmax(widest, aspect);
    }
    /* Sides are rounded to pixels, 1.5 % of the smallest. A square of 4/3 fits 0.8 at most. */
    assert_true(least >= 0.08 * 0.97 && least < 0.09);
    assert_true(most > 0.78 && most <= 0.81);
    assert_true(narrowest >= 0.75 * 0.97 && narrowest < 0.76);
    assert_true(widest <= 4.0 / 3.0 * 1.03 && widest > 1.32);
}

static void areas_of_very_narrow_pictures_are_cut_in_the_centre(void **state)
{
    (void)state;
    static unsigned char pixels[300];
    wtl_rng rng = wtl_rng_make(1, WTL_RNG_AUGMENT, 0, 0);
    /* A share of at least 0.9 of 3 x 100 never has an aspect up to 4/3. */
    wtl_view tall = wtl_random_area((wtl_view){pixels, 3, 3, 100, 1}, 0.9, &rng);
    assert_int_equal(tall.width, 3);
    assert_int_equal(tall.height, 4);
    assert_ptr_equal(tall.pixels, pixels + 48 * 3);
    wtl_view wide = wtl_random_area((wtl_view){pixels, 100, 100, 3, 1}, 0.9, &rng);
    assert_int_equal(wide.width, 4);
    assert_int_equal(wide.height, 3);
    assert_ptr_equal(wide.pixels, pixels + 48);
    wtl_view one = wtl_random_area((wtl_view){pixels, 1, 1, 1, 1}, 0.0, &rng);
    assert_int_equal(one.width * one.height, 1);
}

static void resized_crop_brings_any_area_to_the_networks_size(void **state)
{
    (void)state;
    static unsigned char pixels[50 * 40];
    memset(pixels, 90, sizeof pixels);
    wtl_image image = {50, 40, 1, sizeof pixels, pixels};
    const wtl_augment a = {.resized_crop = true};
    float got[COUNT], want[COUNT];
    for (int i = 0; i < COUNT; i++) {
        want[i] = 90.0f;
    }
    for (unsigned key = 0; key < 20; key++) {
        prepare(&plain, &a, &image, key, got);
        assert_all_close(got, want, COUNT, 0.0);
    }
}

/* The factor that jitter draws first from this stream. */
static double first_factor(unsigned key, double value)
{
    wtl_rng rng = wtl_rng_make(9, WTL_RNG_AUGMENT, 0, key);
    return 1.0 - value + 2.0 * value * (double)wtl_rng_uniform(&rng);
}

static double clipped(double value)
{
    return fmin(255.0, fmax(0.0, value));
}

static void jitter_blends_with_black_mean_gray_and_own_gray(void **state)
{
    (void)state;
    static const unsigned char start[6] = {10, 20, 30, 200, 100, 255};
    const wtl_augment brightness = {.brightness = 0.5f}, contrast = {.contrast = 0.8f},
                      saturation = {.saturation = 1.0f};
    double gray[2];
    for (int i = 0; i < 2; i++) {
        gray[i] = 0.299 * start[3 * i] + 0.587 * start[3 * i + 1] + 0.114 * start[3 * i + 2];
    }
    for (unsigned key = 0; key < 50; key++) {
        unsigned char pixels[3][6];
        for (int i = 0; i < 3; i++) {
            static const float values[3] = {0.5f, 0.8f, 1.0f};
            const wtl_augment *a = i == 0 ? &brightness : i == 1 ? &contrast : &saturation;
            memcpy(pixels[i], start, 6);
            wtl_image image = {2, 1, 3, 6, pixels[i]};
            wtl_rng rng = wtl_rng_make(9, WTL_RNG_AUGMENT, 0, key);
            wtl_jitter(&image, a, &rng);
            double f = first_factor(key, (double)values[i]);
            for (int j = 0; j < 6; j++) {
                double from = i == 0 ? 0.0 : i == 1 ? (gray[0] + gray[1]) / 2 : gray[j / 3];
                /* bytes are rounded: half a level */
                assert_close(pixels[i][j], clipped(from + (start[j] - from) * f), 0.5001);
            }
        }
    }
}

static void cutout_sets_a_square_to_the_mean(void **state)
{
    (void)state;
    enum { H = 6, W = 8, C = 2, CUT = 3 };
    bool whole = false, corner = false;
    for (unsigned key = 0; key < 300; key++) {
        float image[C * H * W];
        for (int i = 0; i < C * H * W; i++) {
            image[i] = 7.0f;
        }
        wtl_rng rng = wtl_rng_make(3, WTL_RNG_AUGMENT, 0, key);
        wtl_cutout(image, C, H, W, CUT, &rng);
        int top = H, left = W, bottom = -1, right = -1, zeros = 0;
        for (int i = 0; i < C * H * W; i++) {
            int y = i / W % H, x = i % W;
            if (image[i] == 0.0f) {
                zeros++;
                top = y < top ? y : top;
                left = x < left ? x : left;
                bottom = y > bottom ? y : bottom;
                right = x > right ? x : right;
            } else {
                assert_close(image[i], 7.0, 0.0);
            }
        }
        int high = bottom - top + 1, wide = right - left + 1;
        assert_int_equal(zeros, C * high * wide);
        /* Only an edge makes it smaller. */
        assert_true(high == CUT || (high == CUT - 1 && (top == 0 || bottom == H - 1)));
        assert_true(wide == CUT || (wide == CUT - 1 && (left == 0 || right == W - 1)));
        whole |= zeros == C * CUT * CUT;
        corner |= zeros == C * (CUT - 1) * (CUT - 1);
    }
    assert_true(whole && corner);
}

static void steps_come_in_their_order(void **state)
{
    (void)state;
    /* Black edges stay black under brightness, then are normalised; cutout is 0 after all. */
    unsigned char pixels[COUNT];
    memset(pixels, 100, sizeof pixels);
    wtl_image image = {SIDE, SIDE, 1, sizeof pixels, pixels};
    wtl_preprocess p = plain;
    p.mean[0] = 50.0f;
    const wtl_augment a = {.pad = 3, .brightness = 0.5f, .cutout = 2};
    bool edge = false, cut = false, picture = false;
    for (unsigned key = 0; key < 50; key++) {
        float got[COUNT];
        prepare(&p, &a, &image, key, got);
        for (int i = 0; i < COUNT; i++) {
            bool is_edge = got[i] == -50.0f, is_cut = got[i] == 0.0f;
            edge |= is_edge;
            cut |= is_cut;
            picture |= !is_edge && !is_cut;
            assert_true(is_edge || is_cut || (got[i] >= 0.0f && got[i] <= 100.0f));
        }
    }
    assert_true(edge && cut && picture);
}

static void a_stream_gives_the_same_picture_again(void **state)
{
    (void)state;
    unsigned char pixels[COUNT];
    wtl_image image = numbered(pixels, SIDE, SIDE);
    const wtl_augment a = {.pad = 2, .flip = true, .contrast = 0.4f, .cutout = 1};
    float first[COUNT], again[COUNT];
    prepare(&plain, &a, &image, 17, first);
    prepare(&plain, &a, &image, 17, again);
    assert_memory_equal(first, again, sizeof first);
}

static void without_augmentation_it_is_what_evaluation_sees(void **state)
{
    (void)state;
    unsigned char pixels[30];
    wtl_image image = numbered(pixels, 6, 5);
    const wtl_augment none = {0};
    float got[COUNT], want[COUNT];
    prepare(&plain, &none, &image, 3, got);
    wtl_fill_nan(want, COUNT);
    assert_ok(wtl_preprocess_image(&plain, &image, want, NULL));
    assert_all_close(got, want, COUNT, 0.0);
}

static void presets_have_their_names(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool flip, resized, random;
        int pad;
    } cases[] = {{"none", false, false, false, 0},
                 {"flip", true, false, false, 0},
                 {"cifar", true, false, false, 4},
                 {"imagenet", true, true, false, 0},
                 {"caffe", true, false, true, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_augment a = {.cutout = 99};
        assert_true(wtl_augment_preset(cases[i].name, &a));
        assert_int_equal(a.flip, cases[i].flip);
        assert_int_equal(a.resized_crop, cases[i].resized);
        assert_int_equal(a.random_crop, cases[i].random);
        assert_int_equal(a.pad, cases[i].pad);
        assert_int_equal(a.cutout, 0);
        assert_ok(wtl_augment_check(&a, NULL));
    }
    wtl_augment a = {.cutout = 99};
    assert_false(wtl_augment_preset("cifar10", &a));
    assert_int_equal(a.cutout, 99);
}

static void options_that_contradict_are_refused(void **state)
{
    (void)state;
    wtl_error err;
    static const struct {
        wtl_augment augment;
        const char *text;
    } cases[] = {
        {{.pad = 4, .resized_crop = true},
         "augment: only one of pad, resized crop and random crop can be chosen"},
        {{.resized_crop = true, .random_crop = true},
         "augment: only one of pad, resized crop and random crop can be chosen"},
        {{.pad = -1}, "augment: pad -1, cutout 0: not inside 0..16384"},
        {{.cutout = 16385}, "augment: pad 0, cutout 16385: not inside 0..16384"},
        {{.least_area = 1.5}, "augment: a least area of 1.5, not inside 0..1"},
        {{.saturation = -0.5f}, "augment: a jitter of -0.5, not inside 0..1"},
        {{.contrast = 2.0f}, "augment: a jitter of 2, not inside 0..1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_fails(wtl_augment_check(&cases[i].augment, &err), WTL_E_ARG, &err,
                     cases[i].text);
    }
    const wtl_augment nan = {.brightness = NAN};
    assert_int_equal(wtl_augment_check(&nan, NULL), WTL_E_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(pad_and_crop_moves_everywhere_equally_often),
        WTL_TEST(a_pad_larger_than_the_picture_leaves_zeros),
        WTL_TEST(random_crop_takes_every_window),
        WTL_TEST(random_areas_keep_to_share_and_aspect),
        WTL_TEST(areas_of_very_narrow_pictures_are_cut_in_the_centre),
        WTL_TEST(resized_crop_brings_any_area_to_the_networks_size),
        WTL_TEST(jitter_blends_with_black_mean_gray_and_own_gray),
        WTL_TEST(cutout_sets_a_square_to_the_mean),
        WTL_TEST(steps_come_in_their_order),
        WTL_TEST(a_stream_gives_the_same_picture_again),
        WTL_TEST(without_augmentation_it_is_what_evaluation_sees),
        WTL_TEST(presets_have_their_names),
        WTL_TEST(options_that_contradict_are_refused),
    };
    return WTL_RUN("augment", tests);
}
