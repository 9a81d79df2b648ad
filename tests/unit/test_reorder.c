/* Reordering between NCHW and blocks of channels: positions by definition, over odd shapes. */
#include "wtl_test.h"

#include "models/kernels/native.h"
#include "models/kernels/native/reorder.h"
#include "models/kernels/reorder.h"

#include "wattle/memory.h"

#include <math.h>

static const wtl_shape SHAPES[] = {{1, 1, 1},  {5, 3, 1},  {16, 4, 4},  {17, 5, 7},
                                   {40, 1, 9}, {3, 9, 11}, {31, 4, 13}, {64, 7, 7}};
enum { SHAPE_COUNT = sizeof SHAPES / sizeof SHAPES[0], IMAGES = 3, GAP = 16 };

typedef struct maps {
    wtl_shape shape;
    size_t plain_image, blocks_image;
    float *plain, *blocks;
} maps;

static maps create(wtl_shape s)
{
    maps m = {.shape = s};
    m.plain_image = (size_t)s.c * s.h * s.w + 3;
    m.blocks_image = (size_t)(s.c + 15) / 16 * 16 * s.h * s.w + GAP;
    m.plain = wtl_alloc(IMAGES * m.plain_image, sizeof(float));
    m.blocks = wtl_alloc(IMAGES * m.blocks_image, sizeof(float));
    assert_true(m.plain && m.blocks);
    wtl_fill_random(m.plain, IMAGES * m.plain_image, 1);
    wtl_fill_random(m.blocks, IMAGES * m.blocks_image, 2);
    return m;
}

static void drop(maps *m)
{
    wtl_free(m->plain);
    wtl_free(m->blocks);
}

/* Whose channel and pixel the value `at` of an image in blocks is; false: nobody's. */
static bool place(wtl_shape s, size_t at, size_t *plain)
{
    size_t pixels = (size_t)s.h * s.w, c = at / (16 * pixels) * 16 + at % 16;
    *plain = c * pixels + at / 16 % pixels;
    return c < (size_t)s.c;
}

static void check_blocks(const maps *got, const maps *from, bool add)
{
    size_t count = wtl_blocked_count(got->shape), other;
    for (size_t i = 0; i < IMAGES * got->blocks_image; i++) {
        size_t image = i / got->blocks_image, at = i % got->blocks_image;
        double want = add || at >= count ? from->blocks[i] : 0.0;
        if (at < count && place(got->shape, at, &other)) {
            want += from->plain[image * from->plain_image + other];
        }
        assert_close(got->blocks[i], (float)want, 0.0);
    }
}

static void check_plain(const maps *got, const maps *from, bool add)
{
    size_t pixels = (size_t)got->shape.h * got->shape.w, count = got->shape.c * pixels;
    for (size_t i = 0; i < IMAGES * got->plain_image; i++) {
        size_t image = i / got->plain_image, at = i % got->plain_image, c = at / pixels;
        double want = add || at >= count ? from->plain[i] : 0.0;
        if (at < count) {
            want += from->blocks[image * from->blocks_image +
                                 (c / 16 * pixels + at % pixels) * 16 + c % 16];
        }
        assert_close(got->plain[i], (float)want, 0.0);
    }
}

static void every_value_lands_in_its_place_and_gaps_stay(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        for (int threads = 1; threads <= 3; threads++) {
            maps from = create(SHAPES[i]), got = create(SHAPES[i]);
            wtl_reorder_to_blocks(threads, IMAGES, SHAPES[i], from.plain, from.plain_image,
                                  got.blocks, got.blocks_image);
            check_blocks(&got, &from, false);
            wtl_reorder_to_plain(threads, IMAGES, SHAPES[i], from.blocks, from.blocks_image,
                                 got.plain, got.plain_image);
            check_plain(&got, &from, false);
            drop(&from);
            drop(&got);
        }
    }
}

static void adding_keeps_what_was_there(void **state)
{
    (void)state;
    for (int i = 0; i < SHAPE_COUNT; i++) {
        maps from = create(SHAPES[i]), got = create(SHAPES[i]);
        wtl_reorder_add_to_blocks(2, IMAGES, SHAPES[i], from.plain, from.plain_image,
                                  got.blocks, got.blocks_image);
        check_blocks(&got, &from, true);
        wtl_reorder_add_to_plain(2, IMAGES, SHAPES[i], from.blocks, from.blocks_image,
                                 got.plain, got.plain_image);
        check_plain(&got, &from, true);
        drop(&from);
        drop(&got);
    }
}

static void every_instruction_set_does_the_same(void **state)
{
    (void)state;
    for (wtl_isa isa = WTL_ISA_PLAIN; isa < WTL_ISA_COUNT; isa++) {
        const wtl_reorder_kernels *k = wtl_native_of(isa)->reorder;
        for (int channels = 1; channels <= 16; channels += 5) {
            float plain[16 * 37], block[16 * 37], back[16 * 37];
            wtl_fill_random(plain, 16 * 37, 3);
            wtl_fill_nan(block, 16 * 37);
            wtl_fill_nan(back, 16 * 37);
            k->to_blocks(plain, 37, channels, 37, false, block);
            k->to_plain(block, channels, 37, false, back, 37);
            for (int i = 0; i < 16 * 37; i++) {
                float want = i % 16 < channels ? plain[i % 16 * 37 + i / 16] : 0.0f;
                assert_close(block[i], want, 0.0);
                assert_true(i < channels * 37 ? back[i] == plain[i] : isnan(back[i]));
            }
            k->to_blocks(plain, 37, channels, 37, true, block);
            k->to_plain(block, channels, 37, true, back, 37);
            for (int i = 0; i < channels * 37; i++) {
                assert_close(back[i], (double)(plain[i] + 2.0f * plain[i]), 1e-6);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(every_value_lands_in_its_place_and_gaps_stay),
        WTL_TEST(adding_keeps_what_was_there),
        WTL_TEST(every_instruction_set_does_the_same),
    };
    return WTL_RUN("reorder", tests);
}
