#include "wtl_test.h"

#include "wattle/rng.h"

#include <math.h>
#include <string.h>

/* philox4x32-10 of Random123's tests/kat_vectors. */
static void blocks_are_those_of_random123(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], want[4];
    } cases[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_rng rng = {0};
        uint32_t got[4] = {0};
        memcpy(rng.key, cases[i].key, sizeof rng.key);
        memcpy(rng.counter, cases[i].counter, sizeof rng.counter);
        wtl_rng_block(&rng, cases[i].counter[0], got);
        assert_memory_equal(got, cases[i].want, sizeof got);
    }
}

static void a_stream_is_its_blocks_in_order(void **state)
{
    (void)state;
    wtl_rng rng = wtl_rng_make(7, WTL_RNG_TEST, 3, 4);
    const wtl_rng start = rng;
    for (uint32_t index = 0; index < 5; index++) {
        uint32_t block[4];
        wtl_rng_block(&start, index, block);
        for (int i = 0; i < 4; i++) {
            assert_int_equal(wtl_rng_u32(&rng), block[i]);
        }
    }
}

static void many_blocks_at_once_are_the_same(void **state)
{
    (void)state;
    static const size_t counts[] = {0, 1, 31, 32, 33, 64, 100};
    const wtl_rng stream = wtl_rng_make(7, WTL_RNG_TEST, 3, 4);
    for (size_t c = 0; c < sizeof counts / sizeof counts[0]; c++) {
        uint32_t got[404], first = c % 2 ? 5 : UINT32_MAX - 7; /* the index wraps */
        memset(got, 0xa5, sizeof got);
        wtl_rng_blocks(&stream, first, counts[c], got);
        for (uint32_t i = 0; i < counts[c]; i++) {
            uint32_t want[4];
            wtl_rng_block(&stream, first + i, want);
            assert_memory_equal(got + 4 * i, want, sizeof want);
        }
        assert_int_equal(got[4 * counts[c]], 0xa5a5a5a5u);
    }
}

/* Every bit of the name counts: streams that differ in one share no word in 16. */
static void streams_with_other_names_differ(void **state)
{
    (void)state;
    enum { STREAMS = 2 + 64 + 56 + 32, WORDS = 16 };
    static uint32_t word[STREAMS][WORDS];
    for (int s = 0; s < STREAMS; s++) {
        uint64_t seed = s >= 2 && s < 66 ? 1ull << (s - 2) : 0;
        uint64_t a = s >= 66 && s < 122 ? 1ull << (s - 66) : 0;
        uint32_t b = s >= 122 ? 1u << (s - 122) : 0;
        wtl_rng rng = wtl_rng_make(seed, s == 0 ? WTL_RNG_SHUFFLE : WTL_RNG_AUGMENT, a, b);
        for (int i = 0; i < WORDS; i++) {
            word[s][i] = wtl_rng_u32(&rng);
        }
        for (int other = 0; other < s; other++) {
            assert_memory_not_equal(word[s], word[other], sizeof word[s]);
            assert_int_not_equal(word[s][0], word[other][0]);
        }
    }
}

/* Two streams of neighbouring names are uncorrelated: |r| < 5 / sqrt(n). */
static void neighbouring_streams_are_uncorrelated(void **state)
{
    (void)state;
    enum { N = 20000 };
    double sum = 0;
    wtl_rng x = wtl_rng_make(1, WTL_RNG_AUGMENT, 0, 10);
    wtl_rng y = wtl_rng_make(1, WTL_RNG_AUGMENT, 0, 11);
    for (int i = 0; i < N; i++) {
        sum += ((double)wtl_rng_uniform(&x) - 0.5) * ((double)wtl_rng_uniform(&y) - 0.5);
    }
    assert_close(sum / N * 12, 0.0, 5 / sqrt(N));
}

static void uniform_values_fill_their_range_evenly(void **state)
{
    (void)state;
    enum { N = 64000, BINS = 64 };
    int count[BINS] = {0};
    double square = 0;
    wtl_rng rng = wtl_rng_make(2, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        float u = wtl_rng_uniform(&rng);
        assert_true(u >= 0.0f && u < 1.0f);
        assert_true(u * 0x1p24f == floorf(u * 0x1p24f));
        count[(int)(u * BINS)]++;
    }
    for (int i = 0; i < BINS; i++) {
        square += (count[i] - N / BINS) * (count[i] - N / BINS) / (double)(N / BINS);
    }
    /* chi^2 with 63 degrees of freedom: mean 63, deviation 11.2; 5 deviations each way. */
    assert_close(square, 63.0, 56.0);
}

static void numbers_below_a_limit_are_unbiased(void **state)
{
    (void)state;
    enum { N = 30000 };
    /* The worst limit for rejection: 3/4 of the range is 3 values in the biased way. */
    const uint32_t limit = 3u << 30;
    int low = 0, count[3] = {0};
    wtl_rng rng = wtl_rng_make(3, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        uint32_t value = wtl_rng_below(&rng, limit);
        assert_true(value < limit);
        low += value % 3 == 0;
        count[wtl_rng_below(&rng, 3)]++;
        assert_int_equal(wtl_rng_below(&rng, 1), 0);
    }
    /* Each has probability 1/3: deviation sqrt(N * 2/9) = 82; 5 deviations. Without
     * rejection value % 3 == 0 has probability 1/2. */
    assert_close(low, N / 3.0, 410);
    for (int i = 0; i < 3; i++) {
        assert_close(count[i], N / 3.0, 410);
    }
}

static void normal_deviates_have_the_normal_moments(void **state)
{
    (void)state;
    enum { N = 100000 };
    double moment[5] = {0};
    wtl_rng rng = wtl_rng_make(4, WTL_RNG_TEST, 0, 0);
    for (int i = 0; i < N; i++) {
        double x = wtl_rng_normal(&rng), power = 1;
        assert_true(isfinite(x));
        for (int k = 0; k < 5; k++, power *= x) {
            moment[k] += power / N;
        }
    }
    /* Five deviations: sqrt(1/N), sqrt(2/N), sqrt(15/N), sqrt(96/N). */
    assert_close(moment[1], 0.0, 0.016);
    assert_close(moment[2], 1.0, 0.023);
    assert_close(moment[3], 0.0, 0.062);
    assert_close(moment[4], 3.0, 0.155);
}

static void a_permutation_has_every_number_once(void **state)
{
    (void)state;
    static const uint32_t counts[] = {0, 1, 2, 7, 1000};
    for (size_t k = 0; k < sizeof counts / sizeof counts[0]; k++) {
        uint32_t order[1001], seen[1000] = {0};
        order[counts[k]] = 77; /* not to be touched */
        wtl_rng rng = wtl_rng_make(5, WTL_RNG_SHUFFLE, k, 0);
        wtl_rng_permutation(&rng, order, counts[k]);
        for (uint32_t i = 0; i < counts[k]; i++) {
            assert_true(order[i] < counts[k]);
            seen[order[i]]++;
        }
        for (uint32_t i = 0; i < counts[k]; i++) {
            assert_int_equal(seen[i], 1);
        }
        assert_int_equal(order[counts[k]], 77);
    }
}

/* All 24 orders of four are equally likely: chi^2 with 23 degrees, 5 deviations. */
static void permutations_are_equally_likely(void **state)
{
    (void)state;
    enum { N = 24000 };
    int count[256] = {0};
    double square = 0;
    for (int i = 0; i < N; i++) {
        uint32_t order[4];
        wtl_rng rng = wtl_rng_make(6, WTL_RNG_SHUFFLE, (uint64_t)i, 0);
        wtl_rng_permutation(&rng, order, 4);
        count[order[0] | order[1] << 2 | order[2] << 4 | order[3] << 6]++;
    }
    int kinds = 0;
    for (int i = 0; i < 256; i++) {
        kinds += count[i] > 0;
        square += count[i] > 0 ? (count[i] - N / 24) * (count[i] - N / 24) / (N / 24.0) : 0;
    }
    assert_int_equal(kinds, 24);
    assert_close(square, 23.0, 34.0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(blocks_are_those_of_random123),
        WTL_TEST(a_stream_is_its_blocks_in_order),
        WTL_TEST(many_blocks_at_once_are_the_same),
        WTL_TEST(streams_with_other_names_differ),
        WTL_TEST(neighbouring_streams_are_uncorrelated),
        WTL_TEST(uniform_values_fill_their_range_evenly),
        WTL_TEST(numbers_below_a_limit_are_unbiased),
        WTL_TEST(normal_deviates_have_the_normal_moments),
        WTL_TEST(a_permutation_has_every_number_once),
        WTL_TEST(permutations_are_equally_likely),
    };
    return WTL_RUN("rng", tests);
}
