/* Dense layers packed without their zeros: each instruction set, form and number of threads
 * against the definition in double over random sizes, and against itself bit for bit. */
#include "models/kernels/sparse_dense.h"

#include "wtl_test.h"

#include "wattle/memory.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { CASES = 700, MOST_THREADS = 3 };
static const wtl_isa ISAS[] = {WTL_ISA_PLAIN, WTL_ISA_AVX2, WTL_ISA_AVX512};
enum { ISA_COUNT = 3 };

typedef struct dice {
    uint64_t state;
} dice;

static int roll(dice *d, int low, int high)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return low + (int)((d->state >> 33) % (uint64_t)(high - low + 1));
}

typedef struct layer {
    wtl_dense t;
    int batch;
    float *x, *w, *b, *y, *scratch; /* b NULL: no bias */
    size_t x_count, y_count;
    wtl_sparse_dense plan;
    void *packed;
} layer;

static float *floats(size_t count, unsigned key)
{
    float *p = wtl_alloc(count, sizeof *p);
    assert_non_null(p);
    wtl_fill_random(p, count, key);
    return p;
}

/* `zeros` of 1000 weights become 0, one by one or in blocks of 4x1. */
static void cut(dice *d, wtl_dense t, int zeros, bool blocks, float *w)
{
    for (int k = 0; k < t.k; k += blocks ? 4 : 1) {
        for (int c = 0; c < t.d; c++) {
            bool goes = roll(d, 1, 1000) <= zeros;
            for (int f = k; goes && f < (blocks ? k + 4 : k + 1) && f < t.k; f++) {
                w[f * t.d + c] = roll(d, 0, 1) ? 0.0f : -0.0f;
            }
        }
    }
}

static layer make(dice *d, wtl_isa isa, wtl_dense t, int batch, int zeros, bool blocks,
                  bool bias)
{
    layer l = {.t = t, .batch = batch};
    unsigned key = (unsigned)roll(d, 1, 100000) * 8;
    l.x_count = (size_t)(t.n - 1) * (size_t)t.x_step + (size_t)t.d;
    l.y_count = (size_t)(t.n - 1) * (size_t)t.y_step + (size_t)t.k;
    l.x = floats(l.x_count, key);
    l.w = floats((size_t)t.k * (size_t)t.d, key + 1);
    l.b = bias ? floats((size_t)t.k, key + 2) : NULL;
    l.y = floats(l.y_count, key + 3);
    cut(d, t, zeros, blocks, l.w);
    l.plan = wtl_sparse_dense_plan(wtl_native_of(isa), t.k, t.d, batch, l.w);
    l.packed = wtl_alloc(1, l.plan.bytes);
    assert_non_null(l.packed);
    wtl_sparse_dense_pack(&l.plan, l.w, l.packed);
    l.scratch = wtl_alloc(1, wtl_sparse_dense_scratch(&l.plan, t.n));
    assert_non_null(l.scratch);
    return l;
}

static void drop(layer *l)
{
    wtl_free(l->x);
    wtl_free(l->w);
    wtl_free(l->b);
    wtl_free(l->y);
    wtl_free(l->packed);
    wtl_free(l->scratch);
}

static void run(layer *l, wtl_isa isa, int threads)
{
    wtl_fill_nan(l->y, l->y_count);
    wtl_fill_nan(l->scratch, wtl_sparse_dense_scratch(&l->plan, l->t.n) / sizeof(float));
    wtl_sparse_dense_forward(wtl_native_of(isa), threads, l->packed, &l->t, l->x, l->b, l->y,
                             l->scratch);
}

static double activated(double y, wtl_activation activation)
{
    y = activation != WTL_ACTIVATION_NONE && y < 0.0 ? 0.0 : y;
    return activation == WTL_ACTIVATION_RELU6 && y > 6.0 ? 6.0 : y;
}

static void check(const layer *l)
{
    const wtl_dense *t = &l->t;
    for (int n = 0; n < t->n; n++) {
        for (int k = 0; k < t->k; k++) {
            double sum = l->b ? l->b[k] : 0.0, size = fabs(sum);
            for (int d = 0; d < t->d; d++) {
                double term = (double)l->w[k * t->d + d] * l->x[n * t->x_step + d];
                sum += term;
                size += fabs(term);
            }
            double got = l->y[n * t->y_step + k], want = activated(sum, t->activation);
            /* Each of at most d + 2 roundings is of a partial sum. */
            double tolerance = 1e-6 + size * (t->d / 8.0 + 2) * FLT_EPSILON;
            if (!(fabs(got - want) <= tolerance)) {
                fail_msg("n %d of %d k %d d %d quads %d: y[%d][%d] is %.9g, not %.9g", t->n,
                         l->batch, t->k, t->d, l->plan.quads, n, k, got, want);
            }
        }
        for (long at = t->k; n + 1 < t->n && at < t->y_step; at++) {
            assert_true(isnan(l->y[n * t->y_step + at]));
        }
    }
}

static wtl_dense random_sizes(dice *d)
{
    wtl_dense t = {
        .n = roll(d, 0, 2) ? roll(d, 1, 24) : 1, .k = roll(d, 1, 40), .d = roll(d, 1, 120)};
    switch (roll(d, 0, 19)) {
    case 0:
        t.n = roll(d, 40, 200);
        break;
    case 1:
        t.d = roll(d, 1000, 2600);
        break;
    default:
        break;
    }
    t.x_step = t.d + (roll(d, 0, 2) ? 0 : roll(d, 1, 20));
    t.y_step = t.k + (roll(d, 0, 2) ? 0 : roll(d, 1, 20));
    t.activation = (wtl_activation)roll(d, WTL_ACTIVATION_NONE, WTL_ACTIVATION_RELU6);
    return t;
}

static void each_instruction_set_follows_the_definition_over_random_sizes(void **state)
{
    (void)state;
    static const int zeros[] = {0, 300, 700, 900, 990, 1000};
    int quads = 0;
    for (int s = 0; s < ISA_COUNT; s++) {
        dice d = {(uint64_t)s + 1};
        for (int i = 0; i < CASES; i++) {
            wtl_dense t = random_sizes(&d);
            int batch = t.n + (roll(&d, 0, 2) ? 0 : roll(&d, 0, 70));
            layer l = make(&d, ISAS[s], t, batch, zeros[roll(&d, 0, 5)], roll(&d, 0, 1),
                           roll(&d, 0, 3) > 0);
            run(&l, ISAS[s], roll(&d, 1, MOST_THREADS));
            check(&l);
            quads += l.plan.quads;
            drop(&l);
        }
    }
    assert_in_range(quads, CASES / 4, ISA_COUNT * CASES - CASES / 4); /* both are tried */
}

static void rows_longer_than_an_index_reaches_are_cut(void **state)
{
    (void)state;
    for (int s = 0; s < ISA_COUNT; s++) {
        dice d = {9};
        wtl_dense t = {.n = 1, .k = 6, .d = 70001, .x_step = 70001, .y_step = 6};
        layer l = make(&d, ISAS[s], t, 1, 950, false, true);
        assert_int_equal(l.plan.panels, 2);
        run(&l, ISAS[s], 2);
        check(&l);
        drop(&l);
    }
}

static void the_number_of_threads_does_not_change_a_bit(void **state)
{
    (void)state;
    static const int images[] = {1, 2, 17, 64, 130};
    for (int s = 0; s < ISA_COUNT; s++) {
        for (int i = 0; i < 10; i++) {
            dice d = {7};
            int n = images[i / 2];
            wtl_dense t = {.n = n, .k = 150, .d = 3000, .x_step = 3000, .y_step = 150};
            layer l = make(&d, ISAS[s], t, n, 800, i % 2, true);
            float *one = floats(l.y_count, 1);
            run(&l, ISAS[s], 1);
            memcpy(one, l.y, l.y_count * sizeof *one);
            for (int threads = 2; threads <= MOST_THREADS; threads++) {
                run(&l, ISAS[s], threads);
                assert_memory_equal(l.y, one, l.y_count * sizeof *one);
            }
            wtl_free(one);
            drop(&l);
        }
    }
}

/* 10 filters of 64, six weights in each row: apart, then the same in each block of four rows.
 * Counted on paper. */
static void entries_are_non_zeros_or_quads_of_them(void **state)
{
    (void)state;
    float w[10 * 64] = {0};
    const wtl_native *native = wtl_native_of(WTL_ISA_BEST);
    for (int k = 0; k < 10; k++) {
        for (int i = 0; i < 6; i++) {
            w[k * 64 + k + 10 * i] = 1.0f; /* no two of a quad share a column */
        }
    }
    wtl_sparse_dense p = wtl_sparse_dense_plan(native, 10, 64, 64, w);
    assert_false(p.quads);
    assert_int_equal(p.groups, 10);
    assert_int_equal(p.entries, 60);
    /* Header, 11 starts, 60 columns and 60 values, each rounded up to 64. */
    assert_int_equal(p.bytes, (sizeof p + 63) / 64 * 64 + 64 + 128 + 256);
    memset(w, 0, sizeof w);
    for (int k = 0; k < 10; k++) {
        for (int i = 0; i < 6; i++) {
            w[k * 64 + k / 4 + 10 * i] = 1.0f;
        }
    }
    p = wtl_sparse_dense_plan(native, 10, 64, 64, w);
    assert_true(p.quads);
    assert_int_equal(p.groups, 3);
    assert_int_equal(p.entries, 18);
    /* 4 starts, 18 columns and 18 x 4 values. */
    assert_int_equal(p.bytes, (sizeof p + 63) / 64 * 64 + 64 + 64 + 320);
}

static void a_weight_of_zero_is_not_multiplied(void **state)
{
    (void)state;
    for (int s = 0; s < ISA_COUNT; s++) {
        for (int n = 1; n <= 20; n += 19) {
            dice d = {3};
            wtl_dense t = {.n = n, .k = 9, .d = 40, .x_step = 40, .y_step = 9};
            layer l = make(&d, ISAS[s], t, n, 1000, false, true);
            l.x[5] = NAN;
            run(&l, ISAS[s], 1);
            assert_all_close(l.y, l.b, 9, 0.0);
            drop(&l);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(entries_are_non_zeros_or_quads_of_them),
        WTL_TEST(each_instruction_set_follows_the_definition_over_random_sizes),
        WTL_TEST(rows_longer_than_an_index_reaches_are_cut),
        WTL_TEST(the_number_of_threads_does_not_change_a_bit),
        WTL_TEST(a_weight_of_zero_is_not_multiplied),
    };
    return WTL_RUN("sparse_dense", tests);
}
