/* reorder.c - see reorder.h. A unit of work is one block of channels of one image. */
#include "reorder.h"

#include "native.h"
#include "native/reorder.h"
#include "parts.h"

#include "wattle/threads.h"

typedef struct unit {
    size_t plain, block; /* offsets */
    int channels;        /* of the block */
    long pixels;
} unit;

static long units_of(int n, wtl_shape s)
{
    return (long)n * ((s.c + WTL_BLOCK_CHANNELS - 1) / WTL_BLOCK_CHANNELS);
}

static unit unit_of(wtl_shape s, size_t plain_image, size_t blocks_image, long index)
{
    long blocks = units_of(1, s), pixels = (long)s.h * s.w;
    size_t image = (size_t)(index / blocks), block = (size_t)(index % blocks);
    size_t first = block * WTL_BLOCK_CHANNELS, left = (size_t)s.c - first;
    return (unit){.plain = image * plain_image + first * (size_t)pixels,
                  .block = image * blocks_image + first * (size_t)pixels,
                  .channels = left < WTL_BLOCK_CHANNELS ? (int)left : WTL_BLOCK_CHANNELS,
                  .pixels = pixels};
}

static int parts_of(int threads, int n, wtl_shape s)
{
    return wtl_parts(units_of(n, s), (long)((size_t)n * wtl_shape_count(s)), threads);
}

/* Any instruction set moves the same bits, so the best will do. */
static const wtl_reorder_kernels *kernels(void)
{
    return wtl_native_of(WTL_ISA_BEST)->reorder;
}

static void to_blocks(int threads, int n, wtl_shape shape, const float *plain,
                      size_t plain_image, bool add, float *blocks, size_t blocks_image)
{
    int parts = parts_of(threads, n, shape);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(units_of(n, shape), part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            unit u = unit_of(shape, plain_image, blocks_image, i);
            kernels()->to_blocks(plain + u.plain, u.pixels, u.channels, u.pixels, add,
                                 blocks + u.block);
        }
    }
}

static void to_plain(int threads, int n, wtl_shape shape, const float *blocks,
                     size_t blocks_image, bool add, float *plain, size_t plain_image)
{
    int parts = parts_of(threads, n, shape);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share(units_of(n, shape), part, parts, &begin, &end);
        for (long i = begin; i < end; i++) {
            unit u = unit_of(shape, plain_image, blocks_image, i);
            kernels()->to_plain(blocks + u.block, u.channels, u.pixels, add, plain + u.plain,
                                u.pixels);
        }
    }
}

void wtl_reorder_to_blocks(int threads, int n, wtl_shape shape, const float *plain,
                           size_t plain_image, float *blocks, size_t blocks_image)
{
    to_blocks(threads, n, shape, plain, plain_image, false, blocks, blocks_image);
}

void wtl_reorder_to_plain(int threads, int n, wtl_shape shape, const float *blocks,
                          size_t blocks_image, float *plain, size_t plain_image)
{
    to_plain(threads, n, shape, blocks, blocks_image, false, plain, plain_image);
}

void wtl_reorder_add_to_blocks(int threads, int n, wtl_shape shape, const float *plain,
                               size_t plain_image, float *blocks, size_t blocks_image)
{
    to_blocks(threads, n, shape, plain, plain_image, true, blocks, blocks_image);
}

void wtl_reorder_add_to_plain(int threads, int n, wtl_shape shape, const float *blocks,
                              size_t blocks_image, float *plain, size_t plain_image)
{
    to_plain(threads, n, shape, blocks, blocks_image, true, plain, plain_image);
}
