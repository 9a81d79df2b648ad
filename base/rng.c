/* rng.c - Philox4x32-10 streams; see the header for how they are keyed. */
#include "wattle/rng.h"

#include "wattle/threads.h"

#include <Random123/philox.h>
#include <math.h>

wtl_rng wtl_rng_make(uint64_t seed, wtl_rng_purpose purpose, uint64_t a, uint32_t b)
{
    wtl_rng rng = {0};
    rng.key[0] = (uint32_t)seed;
    rng.key[1] = (uint32_t)(seed >> 32);
    rng.counter[1] = b;
    rng.counter[2] = (uint32_t)a;
    rng.counter[3] = (uint32_t)(a >> 32) ^ ((uint32_t)purpose << 24);
    return rng;
}

void wtl_rng_block(const wtl_rng *stream, uint32_t index, uint32_t out[4])
{
    philox4x32_ctr_t counter = {
        {index, stream->counter[1], stream->counter[2], stream->counter[3]}};
    philox4x32_key_t key = {{stream->key[0], stream->key[1]}};
    philox4x32_ctr_t block = philox4x32(counter, key);
    for (int i = 0; i < 4; i++) {
        out[i] = block.v[i];
    }
}

enum { TOGETHER = 32 }; /* blocks: side by side in vectors */

WTL_HOT static void blocks_together(const wtl_rng *stream, uint32_t first,
                                    uint32_t *restrict out)
{
    philox4x32_key_t key = {{stream->key[0], stream->key[1]}};
    uint32_t words[4][TOGETHER];
    for (uint32_t i = 0; i < TOGETHER; i++) {
        philox4x32_ctr_t counter = {
            {first + i, stream->counter[1], stream->counter[2], stream->counter[3]}};
        philox4x32_ctr_t block = philox4x32(counter, key);
        words[0][i] = block.v[0];
        words[1][i] = block.v[1];
        words[2][i] = block.v[2];
        words[3][i] = block.v[3];
    }
    for (int i = 0; i < TOGETHER; i++) {
        for (int j = 0; j < 4; j++) {
            out[4 * i + j] = words[j][i];
        }
    }
}

void wtl_rng_blocks(const wtl_rng *stream, uint32_t first, size_t count, uint32_t *out)
{
    size_t i = 0;
    for (; i + TOGETHER <= count; i += TOGETHER) {
        blocks_together(stream, first + (uint32_t)i, out + 4 * i);
    }
    for (; i < count; i++) {
        wtl_rng_block(stream, first + (uint32_t)i, out + 4 * i);
    }
}

uint32_t wtl_rng_u32(wtl_rng *rng)
{
    if (rng->left == 0) {
        wtl_rng_block(rng, rng->counter[0]++, rng->block);
        rng->left = 4;
    }
    return rng->block[4 - rng->left--];
}

float wtl_rng_uniform(wtl_rng *rng)
{
    return (float)(wtl_rng_u32(rng) >> 8) * 0x1p-24f;
}

uint32_t wtl_rng_below(wtl_rng *rng, uint32_t limit)
{
    /* Lemire's multiply-and-reject. */
    uint64_t product = (uint64_t)wtl_rng_u32(rng) * limit;
    if ((uint32_t)product < limit) {
        uint32_t threshold = -limit % limit;
        while ((uint32_t)product < threshold) {
            product = (uint64_t)wtl_rng_u32(rng) * limit;
        }
    }
    return (uint32_t)(product >> 32);
}

double wtl_rng_normal(wtl_rng *rng)
{
    if (rng->has_spare) {
        rng->has_spare = 0;
        return rng->spare;
    }
    double u = ((double)wtl_rng_u32(rng) + 1.0) * 0x1p-32; /* (0, 1] */
    double v = (double)wtl_rng_u32(rng) * 0x1p-32;
    double radius = sqrt(-2.0 * log(u));
    double angle = 6.283185307179586 * v;
    rng->spare = radius * sin(angle);
    rng->has_spare = 1;
    return radius * cos(angle);
}

void wtl_rng_permutation(wtl_rng *rng, uint32_t *order, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t j = wtl_rng_below(rng, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}
