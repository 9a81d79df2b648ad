/* wtl_test.c - see wtl_test.h. */
#define _GNU_SOURCE
#include "wtl_test.h"

#include "wattle/memory.h"
#include "wattle/rng.h"

#include <errno.h>
#include <ftw.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void *__real_wtl_alloc(size_t count, size_t size);
void __real_wtl_free(void *memory);
void *__real_wtl_alloc_pages(size_t bytes);
void __real_wtl_free_pages(void *memory, size_t bytes);
void *__wrap_wtl_alloc(size_t count, size_t size);
void __wrap_wtl_free(void *memory);
void *__wrap_wtl_alloc_pages(size_t bytes);
void __wrap_wtl_free_pages(void *memory, size_t bytes);

static atomic_long live, asked, fail_at;
static atomic_int fail_all;

static int allocation_fails(void)
{
    long number = atomic_fetch_add(&asked, 1) + 1;
    long at = atomic_load(&fail_at);
    return at > 0 && (number == at || (number > at && atomic_load(&fail_all)));
}

void *__wrap_wtl_alloc(size_t count, size_t size)
{
    void *memory = allocation_fails() ? NULL : __real_wtl_alloc(count, size);
    live += memory != NULL;
    return memory;
}

void __wrap_wtl_free(void *memory)
{
    live -= memory != NULL;
    __real_wtl_free(memory);
}

void *__wrap_wtl_alloc_pages(size_t bytes)
{
    void *memory = allocation_fails() ? NULL : __real_wtl_alloc_pages(bytes);
    live += memory != NULL;
    return memory;
}

void __wrap_wtl_free_pages(void *memory, size_t bytes)
{
    live -= memory != NULL;
    __real_wtl_free_pages(memory, bytes);
}

void wtl_test_run(void **state)
{
    const wtl_test_case *test = *state;
    wtl_test_fail_allocation(0, 0);
    long before = live;
    void *none = NULL;
    test->run(&none);
    if (live != before) {
        fail_msg("%s leaves %ld allocations behind", test->name, (long)live - before);
    }
}

long wtl_test_live_allocations(void)
{
    return live;
}

void wtl_test_fail_allocation(long n, int all)
{
    atomic_store(&asked, 0);
    atomic_store(&fail_all, all);
    atomic_store(&fail_at, n);
}

long wtl_test_allocations(void)
{
    return asked;
}

void wtl_test_every_allocation_fails(wtl_status (*f)(void *context), void *context)
{
    long before = live;
    wtl_test_fail_allocation(0, 0);
    assert_int_equal(f(context), WTL_OK);
    long count = wtl_test_allocations();
    assert_int_equal(live, before);
    for (long n = 1; n <= count; n++) {
        for (int all = 0; all < 2; all++) {
            wtl_test_fail_allocation(n, all);
            wtl_status status = f(context);
            wtl_test_fail_allocation(0, 0);
            if (status != WTL_E_NOMEM) {
                fail_msg("allocation %ld of %ld failed, but the call returned \"%s\"", n, count,
                         wtl_status_name(status));
            }
            if (live != before) {
                fail_msg("allocation %ld of %ld failed and %ld blocks leaked", n, count,
                         (long)live - before);
            }
        }
    }
}

void wtl_test_some_allocations_fail(wtl_status (*f)(void *context), void *context, long stride)
{
    wtl_test_fail_allocation(0, 0);
    assert_ok(f(context));
    long count = wtl_test_allocations(), before = wtl_test_live_allocations();
    int failures = 0;
    for (long n = 1; n <= count; n += stride) {
        wtl_test_fail_allocation(n, 0);
        wtl_status status = f(context);
        wtl_test_fail_allocation(0, 0);
        assert_true(status == WTL_OK || status == WTL_E_NOMEM);
        assert_int_equal(wtl_test_live_allocations(), before);
        failures += status == WTL_E_NOMEM;
    }
    assert_true(failures > 0);
}

void wtl_assert_close(double got, double want, double tolerance, const char *what,
                      const char *file, int line)
{
    if (!(fabs(got - want) <= tolerance)) {
        print_error("%s is %.9g, wanted %.9g +- %.3g\n", what, got, want, tolerance);
        _fail(file, line);
    }
}

void wtl_assert_all_close(const float *got, const float *want, size_t count, double tolerance,
                          const char *what, const char *file, int line)
{
    for (size_t i = 0; i < count; i++) {
        double allowed = tolerance * fmax(1.0, fabs((double)want[i]));
        if (!(fabs((double)got[i] - (double)want[i]) <= allowed)) {
            print_error("%s[%zu] is %.9g, wanted %.9g +- %.3g\n", what, i, (double)got[i],
                        (double)want[i], allowed);
            _fail(file, line);
        }
    }
}

void wtl_fill_nan(float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = NAN;
    }
}

void wtl_fill_random(float *values, size_t count, unsigned key)
{
    wtl_rng rng = wtl_rng_make(key, WTL_RNG_TEST, 0, 0);
    for (size_t i = 0; i < count; i++) {
        values[i] = 2.0f * wtl_rng_uniform(&rng) - 1.0f;
    }
}

static int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk)
{
    (void)info;
    (void)type;
    (void)walk;
    return remove(path);
}

const char *wtl_test_folder(void)
{
    static char folder[4096];
    if (folder[0] == '\0') {
        snprintf(folder, sizeof folder, "%s/scratch-%s-%ld", WTL_TEST_DIR,
                 program_invocation_short_name, (long)getpid());
        (void)nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
        if (mkdir(folder, 0777) != 0) {
            fail_msg("%s: %s", folder, strerror(errno));
        }
    }
    return folder;
}

const char *wtl_test_path(const char *name)
{
    static char paths[8][4352];
    static unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", wtl_test_folder(), name);
    return path;
}

void wtl_test_write(const char *path, const void *bytes, size_t length)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, length, file), length);
    assert_int_equal(fclose(file), 0);
}
