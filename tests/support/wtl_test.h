/* wtl_test.h - what every unit test uses: leak-checked tests, comparisons that NaN fails,
 * allocations that can be made to fail, scratch files.
 *
 *   int main(void)
 *   {
 *       const struct CMUnitTest tests[] = {WTL_TEST(a_sentence), ...};
 *       return WTL_RUN("group", tests);
 *   }
 */
#ifndef WTL_TEST_H
#define WTL_TEST_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wattle/status.h"

/* A test that fails if it leaves allocations of the library behind. */
#define WTL_TEST(f)                                                                            \
    {                                                                                          \
#f, wtl_test_run, NULL, NULL, (void *)&(wtl_test_case)                                 \
        {                                                                                      \
#f, f                                                                              \
        }                                                                                      \
    }
typedef struct wtl_test_case {
    const char *name;
    void (*run)(void **state);
} wtl_test_case;
void wtl_test_run(void **state);
#define WTL_RUN(name, tests) cmocka_run_group_tests_name(name, tests, NULL, NULL)

/* Live allocations of the library now. */
long wtl_test_live_allocations(void);
/* Make the n-th allocation from now (1 = the next) fail, and all after it when `all`;
 * n = 0 turns this off. */
void wtl_test_fail_allocation(long n, int all);
/* Allocations asked for since the last call of wtl_test_fail_allocation(). */
long wtl_test_allocations(void);

/* Run `f(context)`, which returns a status, with each of its allocations failing in turn:
 * each such run must return WTL_E_NOMEM and leak nothing; the run without failure must
 * succeed. f must free what it made. */
void wtl_test_every_allocation_fails(wtl_status (*f)(void *context), void *context);

/* Run `f(context)`, a long job, with every `stride`-th of its allocations failing in turn. Not
 * every allocation is one whose failure must fail the job (syncing a folder, for one), so the rule
 * here is: succeed, or say that memory was short, as it does at least once; leave nothing
 * behind. */
void wtl_test_some_allocations_fail(wtl_status (*f)(void *context), void *context, long stride);

/* `expression` is a call with a last argument &err: fails with the message of err. */
#define assert_ok(expression)                                                                  \
    do {                                                                                       \
        wtl_status wtl_status_ = (expression);                                                 \
        if (wtl_status_ != WTL_OK) {                                                           \
            fail_msg("%s: %s", #expression, wtl_status_name(wtl_status_));                     \
        }                                                                                      \
    } while (0)

/* The call fails with `wanted_status` and the message `wanted_text`. */
#define assert_fails(expression, wanted_status, err, wanted_text)                              \
    do {                                                                                       \
        wtl_error *err_ = (err);                                                               \
        err_->text[0] = '\0';                                                                  \
        assert_int_equal((expression), (wanted_status));                                       \
        assert_string_equal(err_->text, (wanted_text));                                        \
    } while (0)

/* |got - want| <= tolerance; NaN fails. */
#define assert_close(got, want, tolerance)                                                     \
    wtl_assert_close((got), (want), (tolerance), #got, __FILE__, __LINE__)
void wtl_assert_close(double got, double want, double tolerance, const char *what,
                      const char *file, int line);

/* Every element: |got - want| <= tolerance * max(1, |want|); NaN fails. */
#define assert_all_close(got, want, count, tolerance)                                          \
    wtl_assert_all_close((got), (want), (count), (tolerance), #got, __FILE__, __LINE__)
void wtl_assert_all_close(const float *got, const float *want, size_t count, double tolerance,
                          const char *what, const char *file, int line);

/* Fill with NaN, so that an output that is not written shows. */
void wtl_fill_nan(float *values, size_t count);
/* Deterministic values in [-1, 1), different for each key. */
void wtl_fill_random(float *values, size_t count, unsigned key);

/* A fresh folder for this test program, removed and made anew at the first call. */
const char *wtl_test_folder(void);
/* wtl_test_folder()/name; static storage, good until the 8th next call. */
const char *wtl_test_path(const char *name);
void wtl_test_write(const char *path, const void *bytes, size_t length);

#endif
