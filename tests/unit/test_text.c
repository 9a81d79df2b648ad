#include "wtl_test.h"

#include "wattle/memory.h"
#include "wattle/text.h"

static void integers_are_read_whole_or_not_at_all(void **state)
{
    (void)state;
    int value = 77;
    assert_true(wtl_parse_int("-12", -20, 20, &value));
    assert_int_equal(value, -12);
    value = 77;
    assert_false(wtl_parse_int("12x", 0, 20, &value));
    assert_false(wtl_parse_int("", 0, 20, &value));
    assert_false(wtl_parse_int(" 1", 0, 20, &value));
    assert_false(wtl_parse_int("21", 0, 20, &value));
    assert_false(wtl_parse_int("99999999999999999999", 0, 20, &value));
    assert_int_equal(value, 77);
}

static void suggestions_name_the_near_miss_only(void **state)
{
    (void)state;
    static const char *const words[] = {"alexnet-bvlc", "caffenet", "lenet5", NULL};
    assert_string_equal(wtl_suggest("lenet", words), "lenet5");
    assert_null(wtl_suggest("transformer", words));
}

static wtl_status make_text(void *context)
{
    (void)context;
    wtl_text text = {0};
    for (int i = 0; i < 100; i++) {
        wtl_text_printf(&text, "%d,", i);
    }
    char *bytes = wtl_text_take(&text);
    wtl_free(bytes);
    return bytes ? WTL_OK : WTL_E_NOMEM;
}

static void a_text_that_cannot_grow_is_not_half_given(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(make_text, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(integers_are_read_whole_or_not_at_all),
        WTL_TEST(suggestions_name_the_near_miss_only),
        WTL_TEST(a_text_that_cannot_grow_is_not_half_given),
    };
    return WTL_RUN("text", tests);
}
