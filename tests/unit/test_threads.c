#include "wtl_test.h"

#include "wattle/threads.h"

#include <omp.h>
#include <string.h>

static void shares_cover_every_item_once_and_are_even(void **state)
{
    (void)state;
    for (long count = 0; count < 40; count++) {
        for (int parts = 1; parts < 12; parts++) {
            long next = 0, least = count, most = 0;
            for (int part = 0; part < parts; part++) {
                long begin = -1, end = -1;
                wtl_share(count, part, parts, &begin, &end);
                assert_int_equal(begin, next);
                assert_true(end >= begin);
                least = end - begin < least ? end - begin : least;
                most = end - begin > most ? end - begin : most;
                next = end;
            }
            assert_int_equal(next, count);
            assert_true(most - least <= 1);
        }
    }
}

static void shares_of_large_counts_do_not_overflow(void **state)
{
    (void)state;
    long begin, end, count = 4000000000000000001L;
    wtl_share(count, 63, 64, &begin, &end);
    assert_true(end == count);
    assert_true(end - begin == count / 64);
}

static void there_is_a_processor(void **state)
{
    (void)state;
    assert_true(wtl_threads_available() >= 1);
}

#if defined(__x86_64__)
/* The second is the smallest normal number: half of it is denormal. In a file's scope, for
 * gcc folds volatile variables of a parallel region. */
static volatile float SMALL[2] = {0x1p-120f, 0x1p-126f};

static void prepared_threads_flush_denormals(void **state)
{
    (void)state;
    enum { THREADS = 3 };
    float product[THREADS];
    wtl_fill_nan(product, THREADS);
    omp_set_dynamic(0);
    int started = 0; /* threads that are there already do not inherit the mode */
#pragma omp parallel num_threads(THREADS) reduction(+ : started)
    {
        started++;
    }
    assert_int_equal(started, THREADS);
    wtl_threads_prepare(THREADS);
#pragma omp parallel num_threads(THREADS)
    {
        product[omp_get_thread_num()] = SMALL[0] * SMALL[0] + SMALL[1] * 0.5f;
    }
    for (int i = 0; i < THREADS; i++) {
        uint32_t bits; /* as a float, a denormal would look like 0 from here */
        memcpy(&bits, &product[i], sizeof bits);
        assert_int_equal(bits, 0);
    }
    wtl_threads_prepare(0); /* taken as one */
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(shares_cover_every_item_once_and_are_even),
        WTL_TEST(shares_of_large_counts_do_not_overflow),
        WTL_TEST(there_is_a_processor),
#if defined(__x86_64__)
        WTL_TEST(prepared_threads_flush_denormals),
#endif
    };
    return WTL_RUN("threads", tests);
}
