#include "wtl_test.h"

#include "wattle/memory.h"

#include <string.h>

static void blocks_are_zeroed_and_aligned(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 63, 64, 65, 4096, 100003};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        /* Dirty memory of that size first, so that zeros are no luck. */
        unsigned char *block = wtl_alloc(sizes[i], 1);
        assert_non_null(block);
        memset(block, 0xa5, sizes[i]);
        wtl_free(block);
        block = wtl_alloc(sizes[i], 1);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 64, 0);
        for (size_t k = 0; k < sizes[i]; k++) {
            assert_int_equal(block[k], 0);
        }
        wtl_free(block);
    }
    wtl_free(NULL);
}

static void sizes_that_overflow_give_no_memory(void **state)
{
    (void)state;
    assert_null(wtl_alloc(SIZE_MAX / 4 + 1, 4));
    assert_null(wtl_alloc(SIZE_MAX, 1));
    assert_null(wtl_alloc(SIZE_MAX - 63, 1));
    assert_null(wtl_alloc(1, SIZE_MAX - 64));
    assert_null(wtl_alloc_pages(SIZE_MAX));
    assert_null(wtl_alloc_pages(SIZE_MAX / 2));
}

static void sums_and_products_say_when_they_overflow(void **state)
{
    (void)state;
    size_t result = 7;
    assert_true(wtl_mul(SIZE_MAX / 3, 3, &result));
    assert_true(result == SIZE_MAX / 3 * 3);
    assert_false(wtl_mul(SIZE_MAX / 2 + 1, 2, &result));
    assert_true(result == SIZE_MAX);
    assert_true(wtl_mul(SIZE_MAX, 0, &result));
    assert_int_equal(result, 0);
    assert_true(wtl_add(SIZE_MAX - 1, 1, &result));
    assert_true(result == SIZE_MAX);
    result = 7;
    assert_false(wtl_add(SIZE_MAX, 1, &result));
    assert_true(result == SIZE_MAX);
}

static void an_array_grows_and_keeps_what_it_has(void **state)
{
    (void)state;
    int *array = NULL;
    assert_ok(wtl_grow((void **)&array, 0, 3, sizeof *array));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(array[i], 0);
        array[i] = i + 1;
    }
    assert_ok(wtl_grow((void **)&array, 3, 100, sizeof *array));
    for (int i = 0; i < 100; i++) {
        assert_int_equal(array[i], i < 3 ? i + 1 : 0);
    }
    assert_ok(wtl_grow((void **)&array, 100, 2, sizeof *array));
    assert_int_equal(array[1], 2);
    wtl_free(array);
}

static void an_array_that_cannot_grow_is_as_it_was(void **state)
{
    (void)state;
    int *array = wtl_alloc(2, sizeof *array), *before = array;
    assert_non_null(array);
    array[1] = 5;
    assert_int_equal(wtl_grow((void **)&array, 2, SIZE_MAX / 2, sizeof *array), WTL_E_NOMEM);
    assert_ptr_equal(array, before);
    wtl_test_fail_allocation(1, 0);
    assert_int_equal(wtl_grow((void **)&array, 2, 4, sizeof *array), WTL_E_NOMEM);
    wtl_test_fail_allocation(0, 0);
    assert_ptr_equal(array, before);
    assert_int_equal(array[1], 5);
    wtl_free(array);
}

static void pages_are_zeroed_and_go_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 4097, (2 << 20) - 1, (2 << 20) + 1, 5 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        unsigned char *block = wtl_alloc_pages(sizes[i]);
        assert_non_null(block);
        assert_int_equal((uintptr_t)block % 4096, 0);
        for (size_t k = 0; k < sizes[i]; k += 1021) {
            assert_int_equal(block[k], 0);
        }
        if (sizes[i] > 0) {
            block[sizes[i] - 1] = 1;
        }
        wtl_free_pages(block, sizes[i]);
    }
    wtl_free_pages(NULL, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(blocks_are_zeroed_and_aligned),
        WTL_TEST(sizes_that_overflow_give_no_memory),
        WTL_TEST(sums_and_products_say_when_they_overflow),
        WTL_TEST(an_array_grows_and_keeps_what_it_has),
        WTL_TEST(an_array_that_cannot_grow_is_as_it_was),
        WTL_TEST(pages_are_zeroed_and_go_back),
    };
    return WTL_RUN("memory", tests);
}
