/* rng.h - counter-based random numbers (Philox4x32-10 of Random123).
 *
 * A stream is named by (seed, purpose, a, b), for example (7, WTL_RNG_AUGMENT, epoch,
 * image). Streams are independent of each other, so results do not depend on how work is
 * split over threads, and there is no random state to save: a resumed run makes the same
 * streams again.
 */
#ifndef WATTLE_RNG_H
#define WATTLE_RNG_H

#include "wattle/status.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wtl_rng_purpose {
    WTL_RNG_INIT = 1, /* weight initialisation: a = parameter index */
    WTL_RNG_SPLIT,    /* holding validation images out */
    WTL_RNG_SHUFFLE,  /* order of images: a = epoch */
    WTL_RNG_AUGMENT,  /* a = epoch, b = image */
    WTL_RNG_DROPOUT,  /* a = step, b = layer */
    WTL_RNG_SAMPLE,   /* choosing images or positions for statistics */
    WTL_RNG_PRUNE,    /* random pruning */
    WTL_RNG_TEST
} wtl_rng_purpose;

typedef struct wtl_rng {
    uint32_t key[2];
    uint32_t counter[4];
    uint32_t block[4];
    int left;      /* unused words in block */
    int has_spare; /* whether spare holds a normal deviate */
    double spare;
} wtl_rng;

WTL_API wtl_rng wtl_rng_make(uint64_t seed, wtl_rng_purpose purpose, uint64_t a, uint32_t b);

/* Uniform over all 2^32 values. */
WTL_API uint32_t wtl_rng_u32(wtl_rng *rng);

/* Uniform in [0, 1), a multiple of 2^-24: exact in float. */
WTL_API float wtl_rng_uniform(wtl_rng *rng);

/* Uniform over 0 .. limit-1 without bias; limit >= 1. */
WTL_API uint32_t wtl_rng_below(wtl_rng *rng, uint32_t limit);

/* Standard normal deviate (Box-Muller in double). */
WTL_API double wtl_rng_normal(wtl_rng *rng);

/* Put 0 .. count-1 into `order` in random order (Fisher-Yates). */
WTL_API void wtl_rng_permutation(wtl_rng *rng, uint32_t *order, uint32_t count);

/* The four words of counter value (index, b, a) under the stream's key: random access for
 * kernels that fill blocks in any order. */
WTL_API void wtl_rng_block(const wtl_rng *stream, uint32_t index, uint32_t out[4]);

/* The same of `count` blocks from `first` on: word j of block i is out[4*i + j]. Many times
 * faster than one by one. */
WTL_API void wtl_rng_blocks(const wtl_rng *stream, uint32_t first, size_t count, uint32_t *out);

#ifdef __cplusplus
}
#endif
#endif
