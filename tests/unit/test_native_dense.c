/* The native engine's dense kernels: each instruction set and number of threads against the
 * definition in double over random sizes, and against itself bit for bit. */
#include "models/kernels/native_dense.h"

#include "wtl_test.h"

#include "wattle/memory.h"

#include <float.h>
#include <math.h>
#include <string.h>

enum { CASES = 700, MOST_THREADS = 3, GUARD = 32 };
static const wtl_isa ISAS[] = {WTL_ISA_PLAIN, WTL_ISA_AVX2, WTL_ISA_AVX512};
enum { ISA_COUNT = 3 };

typedef struct buffers {
    wtl_dense t;
    bool bias, fresh;
    float *x, *w, *b, *dy;   /* inputs */
    float *y, *dw, *db, *dx; /* outputs */
    float *scratch;
    size_t x_count, y_count, w_count, scratch_count;
} buffers;

/* ---- random cases ---- */

typedef struct dice {
    uint64_t state;
} dice;

static int roll(dice *d, int low, int high)
{
    d->state = d->state * 6364136223846793005u + 1442695040888963407u;
    return low + (int)((d->state >> 33) % (uint64_t)(high - low + 1));
}

/* Mostly small sizes, now and then beyond what is done at a time. */
static wtl_dense random_sizes(dice *d)
{
    wtl_dense t = {.n = roll(d, 1, 24), .k = roll(d, 1, 30), .d = roll(d, 1, 90)};
    switch (roll(d, 0, 31)) {
    case 0:
        t.n = roll(d, 60, 300);
        break;
    case 1:
        t.k = roll(d, 90, 250);
        break;
    case 2:
        t.d = roll(d, 1000, 2100);
        t.n = roll(d, 1, 12);
        break;
    case 3:
        t.n = roll(d, 40, 80);
        t.k = roll(d, 60, 80);
        break;
    default:
        break;
    }
    t.x_step = t.d + (roll(d, 0, 2) ? 0 : roll(d, 1, 20));
    t.y_step = t.k + (roll(d, 0, 2) ? 0 : roll(d, 1, 20));
    t.activation = (wtl_activation)roll(d, WTL_ACTIVATION_NONE, WTL_ACTIVATION_RELU6);
    return t;
}

/* `count` floats that end where the allocation ends: a read or write beyond shows under
 * AddressSanitizer, a write before or between images below. */
static float *floats(size_t count, unsigned key)
{
    float *p = wtl_alloc(count, sizeof *p);
    assert_non_null(p);
    wtl_fill_random(p, count, key);
    return p;
}

static buffers make(wtl_dense t, bool bias, bool fresh, unsigned key)
{
    buffers m = {.t = t, .bias = bias, .fresh = fresh};
    m.x_count = (size_t)(t.n - 1) * (size_t)t.x_step + (size_t)t.d;
    m.y_count = (size_t)(t.n - 1) * (size_t)t.y_step + (size_t)t.k;
    m.w_count = (size_t)t.k * (size_t)t.d;
    m.scratch_count = wtl_native_dense_scratch(t.n, t.d) / sizeof(float);
    m.x = floats(m.x_count, key);
    m.w = floats(m.w_count, key + 1);
    m.b = floats((size_t)t.k, key + 2);
    m.dy = floats(m.y_count, key + 3);
    m.y = floats(m.y_count, key + 4);
    m.dw = floats(m.w_count, key + 5);
    m.db = floats((size_t)t.k, key + 6);
    m.dx = floats(m.x_count, key + 7);
    m.scratch = floats(m.scratch_count, key + 8);
    return m;
}

static void drop(buffers *m)
{
    float *all[] = {m->x, m->w, m->b, m->dy, m->y, m->dw, m->db, m->dx, m->scratch};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        wtl_free(all[i]);
    }
}

/* Outputs as a run finds them: NaN where it overwrites, random where it adds. */
static void start_outputs(buffers *m, unsigned key)
{
    wtl_fill_nan(m->y, m->y_count);
    wtl_fill_nan(m->dx, m->x_count);
    wtl_fill_nan(m->scratch, m->scratch_count);
    if (m->fresh) {
        wtl_fill_nan(m->dw, m->w_count);
        wtl_fill_nan(m->db, (size_t)m->t.k);
    } else {
        wtl_fill_random(m->dw, m->w_count, key + 5);
        wtl_fill_random(m->db, (size_t)m->t.k, key + 6);
    }
}

static void run(buffers *m, wtl_isa isa, int threads)
{
    const wtl_native *native = wtl_native_of(isa);
    wtl_native_dense_forward(native, threads, &m->t, m->x, m->w, m->bias ? m->b : NULL, m->y,
                             m->scratch);
    wtl_native_dense_weights(native, threads, &m->t, m->fresh, m->x, m->dy, m->dw,
                             m->bias ? m->db : NULL, m->scratch);
    wtl_native_dense_data(native, threads, &m->t, m->dy, m->w, m->dx);
}

/* ---- the definition ---- */

/* A sum of `count` products whose magnitudes add up to `size`. */
static void close_to(float got, double want, double size, long count, const buffers *m,
                     const char *what, long index)
{
    double tolerance = 1e-6 + size * (double)count * FLT_EPSILON;
    if (!(fabs(got - want) <= tolerance)) {
        fail_msg("n %d k %d d %d: %s[%ld] is %.9g, the definition gives %.9g", m->t.n, m->t.k,
                 m->t.d, what, index, (double)got, want);
    }
}

static double activated(double y, wtl_activation activation)
{
    y = activation != WTL_ACTIVATION_NONE && y < 0.0 ? 0.0 : y;
    return activation == WTL_ACTIVATION_RELU6 && y > 6.0 ? 6.0 : y;
}

static void check_y(const buffers *m)
{
    const wtl_dense *t = &m->t;
    for (int n = 0; n < t->n; n++) {
        for (int k = 0; k < t->k; k++) {
            double sum = m->bias ? m->b[k] : 0.0, size = fabs(sum);
            for (int d = 0; d < t->d; d++) {
                double term = (double)m->w[k * t->d + d] * m->x[n * t->x_step + d];
                sum += term;
                size += fabs(term);
            }
            close_to(m->y[n * t->y_step + k], activated(sum, t->activation), size / 16,
                     t->d + 16, m, "y", n * t->y_step + k);
        }
    }
}

static void check_dw(const buffers *m, unsigned key)
{
    const wtl_dense *t = &m->t;
    float *dw = floats(m->w_count, key + 5), *db = floats((size_t)t->k, key + 6);
    for (int k = 0; k < t->k; k++) {
        double bias = m->fresh ? 0.0 : db[k];
        for (int n = 0; n < t->n; n++) {
            bias += m->dy[n * t->y_step + k];
        }
        if (m->bias) {
            close_to(m->db[k], bias, t->n, t->n, m, "db", k);
        }
        for (int d = 0; d < t->d; d++) {
            double sum = m->fresh ? 0.0 : dw[k * t->d + d], size = fabs(sum);
            for (int n = 0; n < t->n; n++) {
                double term = (double)m->dy[n * t->y_step + k] * m->x[n * t->x_step + d];
                sum += term;
                size += fabs(term);
            }
            close_to(m->dw[k * t->d + d], sum, size, t->n, m, "dw", k * t->d + d);
        }
    }
    wtl_free(dw);
    wtl_free(db);
}

static void check_dx(const buffers *m)
{
    const wtl_dense *t = &m->t;
    for (int n = 0; n < t->n; n++) {
        for (int d = 0; d < t->d; d++) {
            double sum = 0.0, size = 0.0;
            for (int k = 0; k < t->k; k++) {
                double term = (double)m->dy[n * t->y_step + k] * m->w[k * t->d + d];
                sum += term;
                size += fabs(term);
            }
            close_to(m->dx[n * t->x_step + d], sum, size, t->k, m, "dx", n * t->x_step + d);
        }
    }
}

/* What lies between the images is as it was: NaN. */
static void check_gaps(const float *values, int n, long step, long used, const char *what)
{
    for (int i = 0; i + 1 < n; i++) {
        for (long at = used; at < step; at++) {
            if (!isnan(values[i * step + at])) {
                fail_msg("%s was written beyond image %d", what, i);
            }
        }
    }
}

static void check_case(dice *d, wtl_isa isa, unsigned key)
{
    wtl_dense t = random_sizes(d);
    bool bias = roll(d, 0, 3) > 0, fresh = roll(d, 0, 1);
    buffers m = make(t, bias, fresh, key);
    start_outputs(&m, key);
    run(&m, isa, roll(d, 1, MOST_THREADS));
    check_y(&m);
    check_dw(&m, key);
    check_dx(&m);
    check_gaps(m.y, t.n, t.y_step, t.k, "y");
    check_gaps(m.dx, t.n, t.x_step, t.d, "dx");
    drop(&m);
}

static void each_instruction_set_follows_the_definition_over_random_sizes(void **state)
{
    (void)state;
    for (int s = 0; s < ISA_COUNT; s++) {
        dice d = {(uint64_t)s + 1};
        for (int i = 0; i < CASES; i++) {
            check_case(&d, ISAS[s], (unsigned)i * 16);
        }
    }
}

static void the_number_of_threads_does_not_change_a_bit(void **state)
{
    (void)state;
    static const int images[] = {1, 4, 7, 33, 130};
    for (int s = 0; s < ISA_COUNT; s++) {
        for (int i = 0; i < 5; i++) {
            wtl_dense t = {.n = images[i], .k = 101, .d = 1153, .x_step = 1153, .y_step = 101};
            buffers one = make(t, true, false, 5), more = make(t, true, false, 5);
            start_outputs(&one, 5);
            run(&one, ISAS[s], 1);
            for (int threads = 2; threads <= MOST_THREADS; threads++) {
                start_outputs(&more, 5);
                run(&more, ISAS[s], threads);
                assert_memory_equal(more.y, one.y, one.y_count * sizeof(float));
                assert_memory_equal(more.dw, one.dw, one.w_count * sizeof(float));
                assert_memory_equal(more.db, one.db, (size_t)t.k * sizeof(float));
                assert_memory_equal(more.dx, one.dx, one.x_count * sizeof(float));
            }
            drop(&one);
            drop(&more);
        }
    }
}

/* Worked by hand: small integers, so every value is exact. */
static void each_instruction_set_gives_the_hand_worked_values(void **state)
{
    (void)state;
    static const float x[6] = {1, 2, 1, 0, 3, 5}, w[6] = {1, 2, 3, -1, 0, 4}, b[2] = {10, -5};
    static const float dy[4] = {1, 2, -1, 3};
    static const float want[4] = {18, -2, 31, 15}, want_relu6[4] = {6, 0, 6, 6};
    static const float dx_want[6] = {-1, 2, 11, -4, -2, 9}, dw_want[6] = {1, -1, -4, 2, 13, 17};
    static const float db_want[2] = {100, 105};
    for (int s = 0; s < ISA_COUNT; s++) {
        const wtl_native *native = wtl_native_of(ISAS[s]);
        wtl_dense t = {.n = 2, .k = 2, .d = 3, .x_step = 3, .y_step = 2};
        float *scratch = floats(wtl_native_dense_scratch(2, 3) / sizeof(float), 1);
        float y[4], dx[6], dw[6] = {0}, db[2] = {100, 100};
        wtl_native_dense_forward(native, 1, &t, x, w, b, y, scratch);
        assert_all_close(y, want, 4, 0.0);
        wtl_native_dense_weights(native, 1, &t, false, x, dy, dw, db, scratch);
        assert_all_close(dw, dw_want, 6, 0.0);
        assert_all_close(db, db_want, 2, 0.0);
        wtl_native_dense_data(native, 1, &t, dy, w, dx);
        assert_all_close(dx, dx_want, 6, 0.0);
        t.activation = WTL_ACTIVATION_RELU6;
        wtl_native_dense_forward(native, 1, &t, x, w, b, y, scratch);
        assert_all_close(y, want_relu6, 4, 0.0);
        wtl_free(scratch);
    }
}

static void a_nan_is_not_hidden_by_the_activation(void **state)
{
    (void)state;
    for (int s = 0; s < ISA_COUNT; s++) {
        for (int n = 1; n <= 17; n += 16) {
            wtl_dense t = {.n = n, .k = 5, .d = 19, .x_step = 19, .y_step = 5};
            t.activation = WTL_ACTIVATION_RELU6;
            buffers m = make(t, true, true, 9);
            m.x[3] = NAN;
            run(&m, ISAS[s], 1);
            for (int k = 0; k < t.k; k++) {
                assert_true(isnan(m.y[k]));
            }
            assert_true(n == 1 || !isnan(m.y[5]));
            drop(&m);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(each_instruction_set_gives_the_hand_worked_values),
        WTL_TEST(each_instruction_set_follows_the_definition_over_random_sizes),
        WTL_TEST(the_number_of_threads_does_not_change_a_bit),
        WTL_TEST(a_nan_is_not_hidden_by_the_activation),
    };
    return WTL_RUN("native_dense", tests);
}
