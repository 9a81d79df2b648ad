#include "wtl_test.h"

#include <stdio.h>
#include <string.h>

static void a_failure_sets_status_and_text(void **state)
{
    (void)state;
    wtl_error err;
    assert_int_equal(wtl_fail(&err, WTL_E_SHAPE, "dense: input has %d values", 7), WTL_E_SHAPE);
    assert_int_equal(err.status, WTL_E_SHAPE);
    assert_string_equal(err.text, "dense: input has 7 values");
    assert_int_equal(wtl_fail(NULL, WTL_E_NAN, "nobody asks"), WTL_E_NAN);
}

static void a_text_stays_on_one_line(void **state)
{
    (void)state;
    wtl_error err;
    (void)wtl_fail(&err, WTL_E_FORMAT, "%s", "a\nb\r\tc\x1b[31m\x7f d\xc3\xa9");
    assert_string_equal(err.text, "a?b??c?[31m? d\xc3\xa9");
    (void)wtl_fail_in(&err, WTL_E_FORMAT, "x\ny");
    assert_string_equal(err.text, "x?y: a?b??c?[31m? d\xc3\xa9");
}

static void a_text_that_is_too_long_is_cut(void **state)
{
    (void)state;
    wtl_error err;
    char text[2 * WTL_ERROR_TEXT_SIZE];
    memset(text, 'x', sizeof text);
    text[sizeof text - 1] = '\0';
    (void)wtl_fail(&err, WTL_E_ARG, "%s", text);
    assert_int_equal(strlen(err.text), WTL_ERROR_TEXT_SIZE - 1);
}

static void a_prefix_comes_before_the_reason(void **state)
{
    (void)state;
    wtl_error err;
    (void)wtl_fail(&err, WTL_E_RANGE, "width 0");
    assert_int_equal(wtl_fail_in(&err, WTL_E_FORMAT, "a.net:3"), WTL_E_FORMAT);
    assert_int_equal(err.status, WTL_E_FORMAT);
    assert_string_equal(err.text, "a.net:3: width 0");
    assert_int_equal(wtl_fail_in(NULL, WTL_E_FORMAT, "a"), WTL_E_FORMAT);
}

static void the_reason_outlives_a_prefix_that_does_not_fit(void **state)
{
    (void)state;
    for (size_t inner = WTL_ERROR_TEXT_SIZE - 6; inner < WTL_ERROR_TEXT_SIZE; inner++) {
        wtl_error err;
        char text[WTL_ERROR_TEXT_SIZE], want[WTL_ERROR_TEXT_SIZE + 16];
        memset(text, 'r', inner);
        text[inner] = '\0';
        int left = WTL_ERROR_TEXT_SIZE - 1 - (int)inner - 2; /* for the prefix */
        snprintf(want, sizeof want, "%.*s%s%s", left > 0 ? left : 0, "prefix",
                 left > 0 ? ": " : "", text);
        (void)wtl_fail(&err, WTL_E_IO, "%s", text);
        (void)wtl_fail_in(&err, WTL_E_IO, "prefix");
        assert_string_equal(err.text, want);
    }
}

static void every_status_has_a_name_of_its_own(void **state)
{
    (void)state;
    for (int i = 0; i < WTL_STATUS_COUNT; i++) {
        assert_string_not_equal(wtl_status_name((wtl_status)i), "unknown");
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(wtl_status_name((wtl_status)i),
                                    wtl_status_name((wtl_status)k));
        }
    }
    assert_string_equal(wtl_status_name(WTL_STATUS_COUNT), "unknown");
    assert_string_equal(wtl_status_name((wtl_status)-1), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_failure_sets_status_and_text),
        WTL_TEST(a_text_stays_on_one_line),
        WTL_TEST(a_text_that_is_too_long_is_cut),
        WTL_TEST(a_prefix_comes_before_the_reason),
        WTL_TEST(the_reason_outlives_a_prefix_that_does_not_fit),
        WTL_TEST(every_status_has_a_name_of_its_own),
    };
    return WTL_RUN("status", tests);
}
