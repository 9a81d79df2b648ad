/* Rates of kernels: the file and what it refuses, measuring by a clock that is played, and what
 * choice follows from given rates. */
#include "wtl_test.h"

#include "wattle/file.h"
#include "wattle/kernel_costs.h"
#include "wattle/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const double *rates_of(const wtl_kernel_costs *costs)
{
    return &costs->dense_gflops;
}
enum { RATES = 11 };

static const wtl_conv_options CONV_3X3 = {
    .kernel = {3, 3}, .stride = {1, 1}, .pad = {1, 1, 1, 1}, .dilation = {1, 1}, .groups = 1};
static const wtl_conv_options CONV_1X1 = {
    .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}, .groups = 1};

/* ---- the file ---- */

static void what_is_saved_is_loaded(void **state)
{
    (void)state;
    const char *path = wtl_test_path("costs.json");
    wtl_kernel_costs saved, loaded;
    memset(&saved, 0, sizeof saved);
    strcpy(saved.processor, "A processor");
    saved.isa = WTL_ISA_AVX2;
    saved.threads = 3;
    for (int i = 0; i < RATES; i++) {
        (&saved.dense_gflops)[i] = 0.25 * (i + 1);
    }
    assert_ok(wtl_kernel_costs_save(&saved, path, NULL));
    assert_ok(wtl_kernel_costs_load(&loaded, path, NULL));
    assert_string_equal(loaded.processor, "A processor");
    assert_int_equal(loaded.isa, WTL_ISA_AVX2);
    assert_int_equal(loaded.threads, 3);
    for (int i = 0; i < RATES; i++) {
        assert_close(rates_of(&loaded)[i], 0.25 * (i + 1), 0.0);
    }
}

typedef struct bad_file {
    const char *name, *message; /* after the path */
} bad_file;

static const bad_file BAD_FILES[] = {
    {"other-format", ": not a file of wattle kernel costs"},
    {"no-format", ": not a file of wattle kernel costs"},
    {"list", ": not a file of wattle kernel costs"},
    {"version-2", ": version is not 1"},
    {"version-text", ": version is not 1"},
    {"long-processor", ": processor is no text of up to 63 bytes"},
    {"number-processor", ": processor is no text of up to 63 bytes"},
    {"no-isa", ": isa is none of plain, avx2, avx512"},
    {"unknown-isa", ": isa is none of plain, avx2, avx512"},
    {"zero-threads", ": threads is no number from 1 to 65536"},
    {"many-threads", ": threads is no number from 1 to 65536"},
    {"fraction-threads", ": threads is no number from 1 to 65536"},
    {"no-rate", ": sum_ns is no number above 0, up to 1e9"},
    {"zero-rate", ": rows_ns is no number above 0, up to 1e9"},
    {"negative-rate", ": quads_ns is no number above 0, up to 1e9"},
    {"huge-rate", ": dense_gflops is no number above 0, up to 1e9"},
    {"text-rate", ": call_ns is no number above 0, up to 1e9"},
    {"null-rate", ": turn_ns is no number above 0, up to 1e9"},
    {"unknown-key", ": has keys that mean nothing"},
};

static void bad_files_are_refused_with_their_reason(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof BAD_FILES / sizeof *BAD_FILES; i++) {
        char path[512], want[1024];
        wtl_kernel_costs costs = {.threads = 7};
        wtl_error err;
        snprintf(path, sizeof path, "%s/tests/bad/kernel_costs/%s.json", WTL_SOURCE_DIR,
                 BAD_FILES[i].name);
        snprintf(want, sizeof want, "%s%s", path, BAD_FILES[i].message);
        assert_fails(wtl_kernel_costs_load(&costs, path, &err), WTL_E_FORMAT, &err, want);
        assert_int_equal(costs.threads, 0);
    }
}

static void text_that_is_no_json_is_refused(void **state)
{
    (void)state;
    static const char *const names[] = {"key-twice", "cut",      "rubbish-after", "empty",
                                        "nan",       "overflow", "deep"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        wtl_kernel_costs costs;
        wtl_error err;
        snprintf(path, sizeof path, "%s/tests/bad/kernel_costs/%s.json", WTL_SOURCE_DIR,
                 names[i]);
        assert_int_equal(wtl_kernel_costs_load(&costs, path, &err), WTL_E_FORMAT);
        assert_memory_equal(err.text, path, strlen(path));
    }
    wtl_kernel_costs costs;
    assert_int_equal(wtl_kernel_costs_load(&costs, wtl_test_path("none"), NULL), WTL_E_MISSING);
    wtl_kernel_costs good = wtl_kernel_costs_default(WTL_ISA_PLAIN);
    assert_int_equal(wtl_kernel_costs_save(&good, wtl_test_path("no/such/folder"), NULL),
                     WTL_E_WRITE);
}

static wtl_status save_and_load(void *context)
{
    wtl_kernel_costs costs = wtl_kernel_costs_default(WTL_ISA_PLAIN);
    wtl_status status = wtl_kernel_costs_save(&costs, context, NULL);
    return status == WTL_OK ? wtl_kernel_costs_load(&costs, context, NULL) : status;
}

/* ---- measuring ---- */

typedef struct played_clock {
    double now, step;
} played_clock;

static double tick(void *context)
{
    played_clock *clock = context;
    return clock->now += clock->step;
}

static wtl_status measure(double step, int threads, wtl_kernel_costs *costs, wtl_error *err)
{
    played_clock played = {5, step};
    const wtl_clock clock = {tick, &played};
    return wtl_kernel_costs_measure(costs, WTL_ISA_BEST, threads, &clock, err);
}

/* Every call of the clock is 4 ms after the one before, so a sample is one call of 4 ms. */
static void rates_are_what_the_clock_says(void **state)
{
    (void)state;
    wtl_kernel_costs costs;
    assert_ok(measure(0.004, 2, &costs, NULL));
    assert_true(costs.isa != WTL_ISA_BEST && costs.threads == 2 && costs.processor[0]);
    for (int i = 0; i < RATES; i++) {
        assert_true(isfinite(rates_of(&costs)[i]) && rates_of(&costs)[i] > 0);
    }
    /* 128 MiB, and 64 filters of 64x3x3 over 28x28 pixels. */
    assert_close(costs.memory_gbs, 134217728e-9 / 0.004, 1e-6);
    assert_close(costs.dense_gflops, 2e-9 * 64 * 64 * 9 * 784 / 0.004, 1e-9);
    assert_close(costs.winograd_gflops, costs.dense_gflops, 1e-9);
    assert_close(costs.copy_ns, 4e6 / 65536, 1e-6);
}

static void a_clock_that_does_not_go_is_refused(void **state)
{
    (void)state;
    wtl_kernel_costs costs = {.threads = 7};
    wtl_error err;
    assert_int_equal(measure(-0.004, 1, &costs, &err), WTL_E_RANGE);
    assert_int_equal(measure(0, 1, &costs, &err), WTL_E_RANGE);
    assert_int_equal(costs.threads, 0);
    assert_fails(measure(0.004, 0, &costs, &err), WTL_E_ARG, &err,
                 "kernel costs: 0 threads, at least 1 is needed");
}

static wtl_status measure_once(void *context)
{
    return measure(0.004, 1, context, NULL);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    wtl_kernel_costs costs;
    char path[512];
    snprintf(path, sizeof path, "%s", wtl_test_path("memory.json"));
    /* The last is of the processor's name, which may stay unknown. */
    wtl_test_some_allocations_fail(measure_once, &costs, 1);
    wtl_test_every_allocation_fails(save_and_load, path);
}

/* ---- choosing ---- */

static wtl_kernel_choice choose(const wtl_conv_options *o, wtl_shape map, double weights,
                                double quads, int batch)
{
    wtl_kernel_costs costs = wtl_kernel_costs_default(WTL_ISA_BEST);
    return wtl_kernel_choose(&costs, o, map, map, (wtl_kernel_density){weights, quads}, batch);
}

/* 4 bytes a weight when dense; 6 a non-zero; 18 a quad. */
static void a_dense_layer_of_one_image_costs_the_bytes_of_its_weights(void **state)
{
    (void)state;
    wtl_shape map = {1024, 1, 1};
    wtl_kernel_choice c = choose(&CONV_1X1, map, 0.1, 0.3439, 1);
    assert_int_equal(c.kernel, WTL_KERNEL_ROWS);
    assert_close(c.speed_up, 4 / 0.6, 1e-12);
    c = choose(&CONV_1X1, map, 0.1, 0.1, 1);
    assert_int_equal(c.kernel, WTL_KERNEL_QUADS);
    assert_close(c.speed_up, 16 / 1.8, 1e-12);
    c = choose(&CONV_1X1, map, 0.9, 1, 1);
    assert_int_equal(c.kernel, WTL_KERNEL_DENSE);
    assert_close(c.speed_up, 1, 0.0);
    wtl_kernel_costs costs = wtl_kernel_costs_default(WTL_ISA_BEST);
    assert_close(wtl_kernel_break_even(&costs, &CONV_1X1, map, map, WTL_KERNEL_ROWS, 1),
                 2.0 / 3, 1e-3);
    assert_close(wtl_kernel_break_even(&costs, &CONV_1X1, map, map, WTL_KERNEL_QUADS, 1),
                 16.0 / 18, 1e-3);
}

static void sparse_kernels_are_chosen_for_sparse_weights_alone(void **state)
{
    (void)state;
    const wtl_conv_options *options[] = {&CONV_3X3, &CONV_1X1};
    for (int i = 0; i < 4; i++) {
        wtl_shape map = {128, 14, 14};
        int batch = i % 2 ? 16 : 1;
        const wtl_conv_options *o = options[i / 2];
        assert_int_equal(choose(o, map, 1, 1, batch).kernel, WTL_KERNEL_DENSE);
        /* One in fifty, each in a quad of its own; then in quads that are full. */
        wtl_kernel_choice c = choose(o, map, 0.02, 0.08, batch);
        assert_int_equal(c.kernel, WTL_KERNEL_ROWS);
        assert_true(c.speed_up > 2);
        c = choose(o, map, 0.04, 0.04, batch);
        assert_int_equal(c.kernel, WTL_KERNEL_QUADS);
        assert_true(c.speed_up > 2);
    }
}

static void fuller_weights_never_cost_less(void **state)
{
    (void)state;
    wtl_shape map = {96, 13, 13};
    double before[WTL_KERNEL_COUNT] = {0};
    for (int i = 0; i <= 20; i++) {
        wtl_kernel_choice c = choose(&CONV_3X3, map, i / 20.0, i / 20.0, 1);
        for (int k = 0; k < WTL_KERNEL_COUNT; k++) {
            assert_true(c.seconds[k] >= before[k] && isfinite(c.seconds[k]));
            before[k] = c.seconds[k];
        }
    }
}

static void break_even_divides_faster_from_slower(void **state)
{
    (void)state;
    wtl_shape map = {128, 28, 28};
    wtl_kernel_costs costs = wtl_kernel_costs_default(WTL_ISA_BEST);
    for (int k = WTL_KERNEL_ROWS; k < WTL_KERNEL_COUNT; k++) {
        double at = wtl_kernel_break_even(&costs, &CONV_3X3, map, map, (wtl_kernel)k, 1);
        assert_true(at > 0.01 && at < 1);
        wtl_kernel_choice below = choose(&CONV_3X3, map, at - 0.005, at - 0.005, 1);
        wtl_kernel_choice above = choose(&CONV_3X3, map, at + 0.005, at + 0.005, 1);
        assert_true(below.seconds[k] < below.seconds[WTL_KERNEL_DENSE]);
        assert_true(above.seconds[k] > above.seconds[WTL_KERNEL_DENSE]);
    }
    /* A dense kernel that takes no time is never beaten; one that takes for ever, always. */
    costs.dense_gflops = costs.winograd_gflops = 1e9;
    assert_close(wtl_kernel_break_even(&costs, &CONV_3X3, map, map, WTL_KERNEL_ROWS, 1), 0, 0);
    costs.dense_gflops = costs.winograd_gflops = 1e-9;
    assert_close(wtl_kernel_break_even(&costs, &CONV_3X3, map, map, WTL_KERNEL_ROWS, 1), 1, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(what_is_saved_is_loaded),
        WTL_TEST(bad_files_are_refused_with_their_reason),
        WTL_TEST(text_that_is_no_json_is_refused),
        WTL_TEST(rates_are_what_the_clock_says),
        WTL_TEST(a_clock_that_does_not_go_is_refused),
        WTL_TEST(every_allocation_may_fail),
        WTL_TEST(a_dense_layer_of_one_image_costs_the_bytes_of_its_weights),
        WTL_TEST(sparse_kernels_are_chosen_for_sparse_weights_alone),
        WTL_TEST(fuller_weights_never_cost_less),
        WTL_TEST(break_even_divides_faster_from_slower),
    };
    return WTL_RUN("kernel_costs", tests);
}
