#include "wtl_test.h"

#include "prune/local/lapack.h"
#include "prune/local/moments_private.h"
#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/reconstruct.h"
#include "wattle/rng.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* LAPACK's own entry: least squares of the explicit system, the tests' other way. */
void dgelsd_(const int *m, const int *n, const int *right, double *a, const int *lda, double *b,
             const int *ldb, double *s, const double *rcond, int *rank, double *work,
             const int *lwork, int *iwork, int *info);

enum {
    MOST_WEIGHTS = 512,
    MOST_VALUES = 40000,
    MOST_WIDTH = 64,
    MOST_ROWS = 256,
    LAYERS = 200
};

static char layer_name[] = "layer";

/* ---- random layers ---- */

typedef struct sample_layer {
    wtl_moments *moments;
    int k, m, n, filters; /* filters of a group */
    float weights[MOST_WEIGHTS], mask[MOST_WEIGHTS];
} sample_layer;

static int draw(wtl_rng *rng, int low, int high)
{
    return low + (int)wtl_rng_below(rng, (uint32_t)(high - low + 1));
}

static wtl_layer_def draw_layer(wtl_rng *rng, wtl_shape *in)
{
    wtl_layer_def layer = {.name = layer_name};
    int kind = draw(rng, 0, 5);
    if (kind == 0) {
        layer.kind = WTL_LAYER_DENSE;
        layer.as.dense.out = draw(rng, 1, 6);
        *in = (wtl_shape){draw(rng, 1, 4), draw(rng, 1, 3), draw(rng, 1, 3)};
        return layer;
    }
    layer.kind = kind == 1 ? WTL_LAYER_DEPTHWISE : WTL_LAYER_CONV;
    wtl_conv_options *o = &layer.as.conv;
    o->groups = draw(rng, 1, 3);
    o->out = o->groups * draw(rng, 1, 4);
    *in = (wtl_shape){o->groups * draw(rng, 1, 3), draw(rng, 5, 7), draw(rng, 5, 7)};
    for (int d = 0; d < 2; d++) {
        o->kernel[d] = draw(rng, 1, 3);
        o->stride[d] = draw(rng, 1, 2);
        o->dilation[d] = draw(rng, 1, 2);
        o->pad[2 * d] = draw(rng, 0, 1);
        o->pad[2 * d + 1] = draw(rng, 0, 1);
    }
    return layer;
}

/* Layer number `seed`; every other one has targets from inputs that differ from its own. */
static void make_layer(sample_layer *s, unsigned seed)
{
    enum { IMAGES = 12 };
    static float x[MOST_VALUES], original[MOST_VALUES];
    wtl_rng rng = wtl_rng_make(seed, WTL_RNG_TEST, 0, 0);
    wtl_shape in;
    wtl_layer_def layer = draw_layer(&rng, &in);
    wtl_moments_options options = {.images = IMAGES, .positions = 8, .keep_samples = true};
    options.images = layer.kind == WTL_LAYER_DENSE ? (size_t)draw(&rng, 12, 60) : IMAGES;
    options.form = (wtl_moments_form)draw(&rng, WTL_MOMENTS_AUTO, WTL_MOMENTS_DUAL);
    options.seed = seed;
    size_t values = options.images * wtl_shape_count(in);
    assert_true(values <= MOST_VALUES);
    wtl_fill_random(x, values, seed);
    wtl_fill_random(original, values, seed + 1000);
    for (size_t i = 0; i < values; i++) {
        original[i] = seed % 2 ? x[i] : x[i] + 0.3f * original[i];
    }
    wtl_blas_prepare();
    assert_ok(wtl_moments_create(&s->moments, &layer, in, &options, NULL));
    s->k = s->moments->g.k;
    s->m = s->moments->g.width;
    s->filters = s->moments->g.filters;
    assert_true(s->k * s->m <= MOST_WEIGHTS && s->m <= MOST_WIDTH);
    wtl_fill_random(s->weights, (size_t)s->k * (size_t)s->m, seed + 2000);
    for (int i = 0; i < MOST_WEIGHTS; i++) {
        s->mask[i] = 1.0f;
    }
    assert_ok(
        wtl_moments_add_inputs(s->moments, (int)options.images, x, original, s->weights, NULL));
    s->n = (int)s->moments->rows;
    assert_true(s->n <= MOST_ROWS);
}

static double x_of(const sample_layer *s, int k, int j, int t)
{
    size_t row = (size_t)(k / s->filters) * (size_t)s->m + (size_t)j;
    return (double)s->moments->samples[row * s->moments->capacity + (size_t)t];
}

static double residual_of(const sample_layer *s, const float *w, int k, int t)
{
    double r = (double)s->moments->targets[(size_t)k * s->moments->capacity + (size_t)t];
    for (int j = 0; j < s->m; j++) {
        r -= x_of(s, k, j, t) * (double)w[k * s->m + j];
    }
    return r;
}

static double squares_of(const sample_layer *s, const float *w, int k)
{
    double sum = 0.0;
    for (int t = 0; t < s->n; t++) {
        double r = residual_of(s, w, k, t);
        sum += r * r;
    }
    return sum;
}

static size_t count(const float *mask, int length)
{
    size_t kept = 0;
    for (int i = 0; i < length; i++) {
        kept += mask[i] != 0.0f;
    }
    return kept;
}

/* ---- the definitions, slow ---- */

/* [X_S; sqrt(lambda) I] w = [y; sqrt(lambda) a_S] by singular values, for filter k. Returns
 * largest / smallest singular value (infinite when singular). */
static double solve_explicitly(const sample_layer *s, const float *a, const float *mask, int k,
                               double ridge, double *w)
{
    static double matrix[(MOST_ROWS + MOST_WIDTH) * MOST_WIDTH], right[MOST_ROWS + MOST_WIDTH];
    static double work[200000], singular[MOST_WIDTH];
    static int integers[10000];
    int kept[MOST_WIDTH], size = 0;
    double mean = 0.0;
    for (int j = 0; j < s->m; j++) {
        w[j] = 0.0;
        if (mask[k * s->m + j] != 0.0f) {
            kept[size++] = j;
            for (int t = 0; t < s->n; t++) {
                mean += x_of(s, k, j, t) * x_of(s, k, j, t);
            }
        }
    }
    if (size == 0 || mean == 0.0) {
        return size == 0 ? 1.0 : (double)INFINITY;
    }
    double pull = sqrt(ridge * mean / size), least = 1e-12;
    int rows = s->n + size, one = 1, rank, info, lwork = 200000;
    for (int i = 0; i < size; i++) {
        double old = (double)a[k * s->m + kept[i]];
        for (int t = 0; t < s->n; t++) {
            matrix[i * rows + t] = x_of(s, k, kept[i], t);
        }
        for (int j = 0; j < size; j++) {
            matrix[i * rows + s->n + j] = i == j ? pull : 0.0;
        }
        right[s->n + i] = pull * old;
    }
    for (int t = 0; t < s->n; t++) {
        right[t] = (double)s->moments->targets[(size_t)k * s->moments->capacity + (size_t)t];
    }
    dgelsd_(&rows, &size, &one, matrix, &rows, right, &rows, singular, &least, &rank, work,
            &lwork, integers, &info);
    assert_int_equal(info, 0);
    for (int i = 0; i < size; i++) {
        w[kept[i]] = right[i];
    }
    return rank < size ? (double)INFINITY : singular[0] / singular[size - 1];
}

/* Remove and restore, from scratch at every step. What goes is weight j of every filter of a
 * band: of one filter, or of four of a group (a layer of one filter a group is one group), or of
 * those that a group's end leaves. */
typedef struct literal {
    const sample_layer *s;
    float w[MOST_WEIGHTS], mask[MOST_WEIGHTS];
    bool aside[MOST_WEIGHTS], removed[MOST_WEIGHTS]; /* by band; by weight */
    int height;                                      /* filters of a band */
    int step;
    const float *scale;
    bool losses;
    int first[MOST_WEIGHTS], end[MOST_WEIGHTS], bands;
} literal;

static void cut_into_bands(literal *l)
{
    int each = l->s->filters == 1 ? l->s->k : l->s->filters;
    for (int k = 0; k < l->s->k; k++) {
        if (k % each % l->height == 0) {
            l->first[l->bands++] = k;
        }
        l->end[l->bands - 1] = k + 1;
    }
}

static int size_of(const literal *l, int b)
{
    return l->end[b] - l->first[b];
}

static double l1_with(const literal *l, int k, int j, double a)
{
    double sum = 0.0;
    for (int t = 0; t < l->s->n; t++) {
        sum += fabs(residual_of(l->s, l->w, k, t) - (j < 0 ? 0.0 : x_of(l->s, k, j, t) * a));
    }
    return sum;
}

static double scale_of(const literal *l, int k)
{
    return l->scale ? (double)l->scale[k] : 1.0;
}

static double norm_of_block(const literal *l, int b, int j)
{
    double sum = 0.0;
    for (int k = l->first[b]; k < l->end[b]; k++) {
        sum += pow((double)l->w[k * l->s->m + j], 2.0);
    }
    return sqrt(sum);
}

static void set_block(literal *l, int b, int j, bool back)
{
    for (int k = l->first[b]; k < l->end[b]; k++) {
        int at = k * l->s->m + j;
        l->mask[at] = back ? 1.0f : 0.0f;
        l->w[at] = back ? l->s->weights[at] : 0.0f;
        l->removed[at] = !back;
    }
}

static void literal_remove(literal *l, int each)
{
    int m = l->s->m;
    for (int b = 0; b < l->bands; b++) {
        int row = l->first[b] * m;
        while (count(l->mask + row, m) > (size_t)each) {
            int least = -1;
            for (int j = 0; j < m; j++) {
                if (l->mask[row + j] != 0.0f &&
                    (least < 0 || norm_of_block(l, b, j) <= norm_of_block(l, b, least))) {
                    least = j;
                }
            }
            set_block(l, b, least, false);
        }
    }
}

/* Whether blocks that are kept (or removed), less one of `size` (or none), have `weights`. */
static bool add_up(const literal *l, bool removed, int size, int weights)
{
    int whole = 0, rest = 0, rest_size = 1;
    for (int b = 0; b < l->bands; b++) {
        for (int j = 0; j < l->s->m; j++) {
            int at = l->first[b] * l->s->m + j;
            bool there = removed ? l->removed[at] : l->mask[at] != 0.0f;
            whole += there && size_of(l, b) == l->height;
            rest += there && size_of(l, b) < l->height;
        }
        rest_size = size_of(l, b) < l->height ? size_of(l, b) : rest_size;
    }
    whole -= size == l->height;
    rest -= size > 0 && size < l->height;
    for (int i = 0; i <= rest && whole >= 0; i++) {
        int left = weights - size - i * rest_size;
        if (left >= 0 && l->height > 0 && left % l->height == 0 && left / l->height <= whole) {
            return true;
        }
    }
    return false;
}

static int still_wanted(const literal *l, size_t keep)
{
    return (int)keep - (int)count(l->mask, l->s->k * l->s->m);
}

static int literal_worst(const literal *l, bool all, int wanted)
{
    int worst = -1, m = l->s->m;
    double worst_norm = 0.0;
    for (int b = 0; b < l->bands; b++) {
        bool some = false;
        double norm = 0.0;
        for (int j = 0; j < m; j++) {
            some = some || l->removed[l->first[b] * m + j];
        }
        if (!some || (l->aside[b] && !all) || !add_up(l, true, size_of(l, b), wanted)) {
            continue;
        }
        for (int k = l->first[b]; k < l->end[b]; k++) {
            norm += l1_with(l, k, -1, 0.0) * scale_of(l, k) / size_of(l, b);
        }
        if (worst < 0 || norm > worst_norm) {
            worst = b;
            worst_norm = norm;
        }
    }
    return worst;
}

static double literal_gain(const literal *l, int b, int j)
{
    double gain = 0.0;
    for (int k = l->first[b]; k < l->end[b]; k++) {
        gain += scale_of(l, k) * (l1_with(l, k, -1, 0.0) -
                                  l1_with(l, k, j, (double)l->s->weights[k * l->s->m + j]));
    }
    return gain;
}

static void literal_restore(literal *l, size_t keep)
{
    int m = l->s->m;
    bool all = l->losses;
    while (still_wanted(l, keep) > 0) {
        int b = literal_worst(l, all, still_wanted(l, keep));
        if (b < 0) {
            all = true;
            continue;
        }
        double gain[MOST_WIDTH] = {0};
        for (int j = 0; j < m; j++) { /* gains of one step are of one residual */
            gain[j] =
                l->removed[l->first[b] * m + j] ? literal_gain(l, b, j) : -(double)INFINITY;
        }
        l->aside[b] = true;
        for (int g = 0; g < l->step && add_up(l, true, size_of(l, b), still_wanted(l, keep));
             g++) {
            int best = 0;
            for (int j = 1; j < m; j++) {
                best = gain[j] > gain[best] ? j : best;
            }
            if (isinf(gain[best]) || (gain[best] <= 0.0 && !all)) {
                break;
            }
            gain[best] = -(double)INFINITY;
            set_block(l, b, best, true);
            l->aside[b] = false;
        }
    }
}

/* Whether, with `each` blocks in every band, the removed ones can make up the rest. */
static bool can_be_made_up(const literal *l, int each, size_t keep)
{
    static literal trial;
    trial = *l;
    literal_remove(&trial, each);
    return still_wanted(&trial, keep) >= 0 &&
           add_up(&trial, true, 0, still_wanted(&trial, keep));
}

/* Returns how many weights are kept: `keep`, or fewer if whole blocks do not make it. */
static size_t choose_literally(literal *l, const sample_layer *s, size_t keep, double overshoot)
{
    int m = s->m, all = s->k * m;
    l->s = s;
    memcpy(l->w, s->weights, sizeof l->w);
    memcpy(l->mask, s->mask, sizeof l->mask);
    cut_into_bands(l);
    while (!add_up(l, false, 0, (int)keep)) {
        keep--;
    }
    double goal = (double)keep / all;
    double share = goal - (overshoot < goal / 2 ? overshoot : goal / 2);
    int each = (int)floor(share * m + 1e-9);
    while (!can_be_made_up(l, each, keep)) {
        each--;
    }
    literal_remove(l, each);
    literal_restore(l, keep);
    return keep;
}

/* ---- tests ---- */

static void cholesky_and_svd_solve_what_they_should(void **state)
{
    (void)state;
    double a[9] = {4, 2, 0, NAN, 5, 3, NAN, NAN, 6}, b[3] = {8, 21, 24}; /* x = 1 2 3 */
    a[3] = a[6] = a[7] = 99;        /* the lower triangle is not read */
    double other[3] = {16, 42, 48}; /* twice that */
    assert_true(wtl_lapack_cholesky(3, a));
    wtl_lapack_solve(3, a, b);
    wtl_lapack_solve(3, a, other);
    for (int i = 0; i < 3; i++) {
        assert_close(b[i], i + 1, 1e-14);
        assert_close(other[i], 2 * (i + 1), 1e-14);
    }
    double indefinite[4] = {1, 2, 0, 1};
    assert_false(wtl_lapack_cholesky(2, indefinite));
    double singular[4] = {1, 1, 99, 1}, d[2] = {4, 4}; /* x + y = 4: the shortest is 2 2 */
    assert_ok(wtl_lapack_svd(2, singular, d));
    assert_close(d[0], 2, 1e-14);
    assert_close(d[1], 2, 1e-14);
    double bad[1] = {NAN};
    assert_int_equal(wtl_lapack_svd(1, bad, d), WTL_E_NAN);
}

/* A share of the mask is dropped at random; without ridge and with. Float patches' products
 * leave about 1e-5 where the system is well conditioned. */
static void least_squares_equals_an_svd_of_the_explicit_system(void **state)
{
    (void)state;
    int compared = 0;
    for (unsigned seed = 1; seed <= LAYERS; seed++) {
        sample_layer s;
        make_layer(&s, seed);
        wtl_rng rng = wtl_rng_make(seed, WTL_RNG_TEST, 1, 0);
        for (int i = 0; i < s.k * s.m; i++) {
            s.mask[i] = draw(&rng, 0, 2) ? 1.0f : 0.0f;
        }
        float w[MOST_WEIGHTS], old[MOST_WEIGHTS];
        for (int i = 0; i < MOST_WEIGHTS; i++) {
            w[i] = old[i] = i < s.k * s.m && s.mask[i] != 0.0f ? s.weights[i] : 0.0f;
        }
        const double ridge = seed % 3 ? 0.0 : 0.05;
        wtl_reconstruct_options options = {.ridge = ridge > 0.0 ? ridge : -1.0};
        wtl_reconstruct_report report;
        assert_ok(wtl_reconstruct_fit(s.moments, w, s.mask, &options, &report, NULL));
        double before = 0.0, after = 0.0, target = report.target.l2;
        for (int k = 0; k < s.k; k++) {
            double want[MOST_WIDTH], largest = 1.0;
            double condition = solve_explicitly(&s, old, s.mask, k, ridge, want);
            double was = squares_of(&s, old, k), is = squares_of(&s, w, k);
            assert_true(is <= was * (1 + 1e-6) + 1e-10 * target * target);
            before += was;
            after += is;
            if (condition > 50.0) {
                continue; /* singular ones: only the error is defined */
            }
            compared++;
            for (int j = 0; j < s.m; j++) {
                largest = fmax(largest, fabs(want[j]));
            }
            for (int j = 0; j < s.m; j++) {
                assert_close((double)w[k * s.m + j], want[j], 1e-3 * largest);
            }
        }
        assert_close(report.before.l2, sqrt(before), 1e-4 * target);
        assert_close(report.after.l2, sqrt(after), 1e-4 * target);
        wtl_moments_free(s.moments);
    }
    assert_true(compared > LAYERS);
}

/* Some weights were pruned before: blocks of them. */
static void prune_some(sample_layer *s, literal *l, wtl_rng *rng)
{
    l->s = s;
    l->bands = 0;
    cut_into_bands(l);
    for (int i = 0; i < l->bands * s->m; i++) {
        bool keeps = draw(rng, 0, 4) != 0;
        for (int k = l->first[i / s->m]; k < l->end[i / s->m]; k++) {
            int at = k * s->m + i % s->m;
            s->mask[at] = keeps ? 1.0f : 0.0f;
            s->weights[at] = keeps ? s->weights[at] : 0.0f;
        }
    }
    l->bands = 0;
}

static void follow_the_literal_algorithm(wtl_granularity granularity)
{
    for (unsigned seed = 1; seed <= LAYERS; seed++) {
        sample_layer s;
        static literal l;
        float scale[16], w[MOST_WEIGHTS], mask[MOST_WEIGHTS];
        make_layer(&s, seed);
        wtl_rng rng = wtl_rng_make(seed, WTL_RNG_TEST, 2, 0);
        memset(&l, 0, sizeof l);
        for (int k = 0; k < 16; k++) {
            scale[k] = 0.5f + wtl_rng_uniform(&rng);
        }
        l.height = granularity == WTL_GRANULARITY_4X1 ? 4 : 1;
        if (seed % 4 == 0) {
            prune_some(&s, &l, &rng);
        }
        size_t keep = (size_t)draw(&rng, 0, (int)count(s.mask, s.k * s.m));
        l.step = seed % 3 == 0 ? 3 : seed % 5 == 0 ? 1 : 2;
        l.losses = seed % 7 == 0;
        l.scale = seed % 2 ? scale : NULL;
        double overshoot = seed % 3 == 1 ? 0.3 : 0.05;
        size_t stays = choose_literally(&l, &s, keep, overshoot);

        memcpy(w, s.weights, sizeof w);
        memcpy(mask, s.mask, sizeof mask);
        const wtl_reconstruct_options options = {.granularity = granularity,
                                                 .overshoot = seed % 3 == 1 ? 0.3 : 0.0,
                                                 .restore_step = l.step == 2 ? 0 : l.step,
                                                 .restore_losses = l.losses,
                                                 .filter_scale = l.scale,
                                                 .ridge = 1e-3};
        wtl_reconstruct_report report;
        assert_ok(wtl_reconstruct_select(s.moments, w, mask, keep, &options, &report, NULL));
        assert_memory_equal(mask, l.mask, (size_t)(s.k * s.m) * sizeof *mask);
        assert_memory_equal(w, l.w, (size_t)(s.k * s.m) * sizeof *w);
        assert_int_equal(report.kept, stays);
        assert_true(granularity == WTL_GRANULARITY_WEIGHT ? stays == keep : stays + 4 > keep);
        assert_int_equal(report.weights, s.k * s.m);
        assert_int_equal(report.removed - report.restored, count(s.mask, s.k * s.m) - stays);

        /* All three steps: the weights of the definition, too. */
        memcpy(w, s.weights, sizeof w);
        memcpy(mask, s.mask, sizeof mask);
        assert_ok(wtl_reconstruct_layer(s.moments, w, mask, keep, &options, &report, NULL));
        assert_memory_equal(mask, l.mask, (size_t)(s.k * s.m) * sizeof *mask);
        for (int k = 0; k < s.k; k++) {
            double want[MOST_WIDTH];
            double condition = solve_explicitly(&s, l.w, l.mask, k, 1e-3, want);
            for (int j = 0; j < s.m && isfinite(condition); j++) { /* else: dead inputs */
                assert_close((double)w[k * s.m + j], want[j], 1e-3 * fmax(1.0, fabs(want[j])));
            }
        }
        assert_true(report.after.l2 <= report.restoral.l2 + 1e-6 * report.target.l2);
        wtl_moments_free(s.moments);
    }
}

static void removing_and_restoring_follow_the_literal_algorithm(void **state)
{
    (void)state;
    follow_the_literal_algorithm(WTL_GRANULARITY_WEIGHT);
}

static void blocks_are_removed_and_restored_by_it_too(void **state)
{
    (void)state;
    follow_the_literal_algorithm(WTL_GRANULARITY_4X1);
}

/* One row, x = (1,1,1); y is 3.5 four times. Blocks are columns, of norms 8, 6 and 8.06; their
 * returns take 3 - 4 + 3 - 4, 4 * 3 and -3.5 + 2.5 - 3.5 + 2.5 off the four errors. */
static void the_block_comes_back_that_helps_four_filters_most(void **state)
{
    (void)state;
    const wtl_layer_def layer = {
        .name = layer_name, .kind = WTL_LAYER_DENSE, .as.dense = {.out = 4}};
    const wtl_moments_options options = {
        .images = 1, .form = WTL_MOMENTS_DUAL, .keep_samples = true};
    const wtl_reconstruct_options blocks = {.granularity = WTL_GRANULARITY_4X1};
    static const float x[3] = {1, 1, 1}, want[12] = {0, 1, 0, 0, 1, 0, 0, 1, 0, 0, 1, 0};
    float w[12] = {4, 3, -3.5f, -4, 3, 4.5f, 4, 3, -3.5f, -4, 3, 4.5f}, mask[12];
    wtl_moments *mo;
    wtl_reconstruct_report report;
    wtl_error err;
    for (int i = 0; i < 12; i++) {
        mask[i] = 1.0f;
    }
    assert_ok(wtl_moments_create(&mo, &layer, (wtl_shape){3, 1, 1}, &options, NULL));
    assert_ok(wtl_moments_add_inputs(mo, 1, x, x, w, NULL));
    assert_ok(wtl_reconstruct_select(mo, w, mask, 5, &blocks, &report, NULL));
    assert_memory_equal(mask, want, sizeof want);
    assert_int_equal(report.kept, 4); /* 5 are no whole blocks */
    assert_int_equal(report.removed, 12);
    assert_int_equal(report.restored, 4);
    assert_close(report.target.l1, 14, 1e-6);
    assert_close(report.removal.l1, 14, 1e-6);
    assert_close(report.restoral.l1, 2, 1e-6);
    mask[0] = 1.0f;
    assert_fails(wtl_reconstruct_select(mo, w, mask, 4, &blocks, NULL, &err), WTL_E_ARG, &err,
                 "reconstruct: the mask is not of whole 4x1 blocks");
    wtl_moments_free(mo);
}

/* A matrix that filters share changes no bit: alone, every filter has one of its own. */
/* Seven filters, 4 + 3. 36 weights of 70 are 5 blocks in both bands and one weight, which no block
 * makes up: 4 in both, and two blocks of 4 come back. */
static void more_is_removed_where_blocks_cannot_make_up_the_rest(void **state)
{
    (void)state;
    enum { K = 7, M = 10, N = 20 };
    const wtl_layer_def layer = {
        .name = layer_name, .kind = WTL_LAYER_DENSE, .as.dense = {.out = K}};
    const wtl_moments_options options = {
        .images = N, .form = WTL_MOMENTS_DUAL, .keep_samples = true};
    const wtl_reconstruct_options blocks = {.granularity = WTL_GRANULARITY_4X1,
                                            .overshoot = -1.0};
    float x[N * M], w[K * M], mask[K * M];
    wtl_moments *mo;
    wtl_reconstruct_report report;
    wtl_fill_random(x, N * M, 1);
    wtl_fill_random(w, K * M, 2);
    for (int i = 0; i < K * M; i++) {
        mask[i] = 1.0f;
    }
    assert_ok(wtl_moments_create(&mo, &layer, (wtl_shape){M, 1, 1}, &options, NULL));
    assert_ok(wtl_moments_add_inputs(mo, N, x, x, w, NULL));
    assert_ok(wtl_reconstruct_select(mo, w, mask, 36, &blocks, &report, NULL));
    assert_int_equal(count(mask, K * M), 36);
    assert_int_equal(count(mask, M), 6);
    assert_int_equal(count(mask + 4 * M, M), 4);
    assert_int_equal(report.removed, 42);
    assert_int_equal(report.restored, 8);
    wtl_moments_free(mo);
}

static void neighbours_of_one_pattern_are_fitted_as_if_alone(void **state)
{
    (void)state;
    for (unsigned seed = 2; seed <= LAYERS; seed += 2) { /* even ones: other inputs */
        sample_layer s;
        float together[MOST_WEIGHTS], alone[MOST_WEIGHTS];
        make_layer(&s, seed);
        wtl_rng rng = wtl_rng_make(seed, WTL_RNG_TEST, 3, 0);
        for (int j = 0; j < s.m; j++) {
            float keeps = draw(&rng, 0, 3) ? 1.0f : 0.0f;
            for (int k = 0; k < s.k; k++) {
                s.mask[k * s.m + j] = keeps;
            }
        }
        memcpy(together, s.weights, sizeof together);
        assert_ok(wtl_reconstruct_fit(s.moments, together, s.mask, NULL, NULL, NULL));
        for (int k = 0; k < s.k; k++) {
            float mask[MOST_WEIGHTS] = {0};
            memcpy(mask + k * s.m, s.mask + k * s.m, (size_t)s.m * sizeof *mask);
            memcpy(alone, s.weights, sizeof alone);
            assert_ok(wtl_reconstruct_fit(s.moments, alone, mask, NULL, NULL, NULL));
            assert_memory_equal(together + k * s.m, alone + k * s.m,
                                (size_t)s.m * sizeof *alone);
        }
        wtl_moments_free(s.moments);
    }
}

static void keeping_every_weight_is_the_identity(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= LAYERS; seed += 2) { /* odd ones: own inputs */
        sample_layer s;
        float w[MOST_WEIGHTS], mask[MOST_WEIGHTS];
        make_layer(&s, seed);
        memcpy(w, s.weights, sizeof w);
        memcpy(mask, s.mask, sizeof mask);
        wtl_reconstruct_report report;
        assert_ok(wtl_reconstruct_layer(s.moments, w, mask, (size_t)(s.k * s.m), NULL, &report,
                                        NULL));
        assert_memory_equal(mask, s.mask, sizeof mask);
        assert_all_close(w, s.weights, (size_t)(s.k * s.m), 1e-5);
        assert_true(report.after.l2 <= 1e-5 * report.target.l2);
        wtl_moments_free(s.moments);
    }
}

/* One weight stays of two: y = 3 x0 + x1 at x0 = (1,1), x1 = (0,1): the best w0 is 3.5. */
static void one_weight_of_two_takes_the_value_worked_by_hand(void **state)
{
    (void)state;
    const wtl_layer_def layer = {
        .name = layer_name, .kind = WTL_LAYER_DENSE, .as.dense = {.out = 1}};
    const wtl_moments_options options = {
        .images = 2, .form = WTL_MOMENTS_PRIMAL, .keep_samples = 1};
    const wtl_reconstruct_options bare = {.ridge = -1.0}, pulled = {.ridge = 1.0};
    const float x[4] = {1, 0, 1, 1};
    float w[2] = {3, 1}, mask[2] = {1, 1};
    wtl_moments *mo;
    wtl_reconstruct_report report;
    assert_ok(wtl_moments_create(&mo, &layer, (wtl_shape){2, 1, 1}, &options, NULL));
    assert_ok(wtl_moments_add_inputs(mo, 2, x, x, w, NULL));
    assert_ok(wtl_reconstruct_layer(mo, w, mask, 1, &bare, &report, NULL));
    assert_close((double)w[0], 3.5, 1e-6);
    assert_true(w[1] == 0.0f && mask[0] == 1.0f && mask[1] == 0.0f);
    assert_close(report.target.l1, 7.0, 0.0); /* y = 3, 4 */
    assert_close(report.target.l2, 5.0, 0.0);
    assert_close(report.before.l1, 0.0, 0.0);
    assert_close(report.restoral.l1, 1.0, 0.0);
    assert_close(report.restoral.l2, 1.0, 0.0);
    assert_close(report.after.l1, 1.0, 1e-6);
    assert_close(report.after.l2, sqrt(0.5), 1e-6);
    /* lambda = 2: minimise (3-w)^2 + (4-w)^2 + 2 (3-w)^2: w = 13/4 */
    w[0] = 3;
    assert_ok(wtl_reconstruct_fit(mo, w, mask, &pulled, NULL, NULL));
    assert_close((double)w[0], 3.25, 1e-6);
    wtl_moments_free(mo);
}

static void primal_and_dual_forms_agree(void **state)
{
    (void)state;
    enum { M = 30, K = 3, N = 20 }; /* fewer rows than weights: the ridge decides */
    const wtl_layer_def layer = {
        .name = layer_name, .kind = WTL_LAYER_DENSE, .as.dense = {.out = K}};
    float x[N * M], w[2][K * M], mask[K * M], first[K * M];
    wtl_fill_random(x, N * M, 1);
    wtl_fill_random(first, K * M, 2);
    for (int i = 0; i < K * M; i++) { /* filters of 30, 25 and 10 weights */
        mask[i] = i < M || (i < 2 * M && i % 6) || i % 3 == 0 ? 1.0f : 0.0f;
    }
    for (int form = 0; form < 2; form++) {
        wtl_moments_options options = {.images = N,
                                       .form = form ? WTL_MOMENTS_DUAL : WTL_MOMENTS_PRIMAL};
        wtl_moments *mo;
        assert_ok(wtl_moments_create(&mo, &layer, (wtl_shape){M, 1, 1}, &options, NULL));
        assert_ok(wtl_moments_add_inputs(mo, N, x, x, first, NULL));
        wtl_reconstruct_report report;
        for (int i = 0; i < K * M; i++) {
            w[form][i] = mask[i] != 0.0f ? first[i] : 0.0f;
        }
        assert_ok(wtl_reconstruct_fit(mo, w[form], mask, NULL, &report, NULL));
        assert_int_equal(isnan(report.after.l1) != 0, form == 0);
        assert_true(report.after.l2 < 0.7 * report.before.l2);
        wtl_moments_free(mo);
    }
    assert_all_close(w[0], w[1], K * M, 1e-4);
}

static void threads_do_not_change_a_bit(void **state)
{
    (void)state;
    for (unsigned seed = 1; seed <= 20; seed++) {
        sample_layer s;
        float w[2][MOST_WEIGHTS], mask[2][MOST_WEIGHTS];
        make_layer(&s, seed);
        for (int t = 0; t < 2; t++) {
            const wtl_reconstruct_options options = {.threads = 1 + 2 * t};
            memcpy(w[t], s.weights, sizeof w[t]);
            memcpy(mask[t], s.mask, sizeof mask[t]);
            assert_ok(wtl_reconstruct_layer(s.moments, w[t], mask[t], (size_t)(s.k * s.m) / 3,
                                            &options, NULL, NULL));
        }
        assert_memory_equal(w[0], w[1], sizeof w[0]);
        assert_memory_equal(mask[0], mask[1], sizeof mask[0]);
        wtl_moments_free(s.moments);
    }
}

/* Two equal inputs: y = 2 x0 + 1 x1 where x0 = x1, weight 2 of a third input that is 0. */
static wtl_moments *twins(float w[3])
{
    const wtl_layer_def layer = {
        .name = layer_name, .kind = WTL_LAYER_DENSE, .as.dense = {.out = 1}};
    const wtl_moments_options options = {.images = 4, .form = WTL_MOMENTS_PRIMAL};
    const float x[12] = {1, 1, 0, 2, 2, 0, -1, -1, 0, 3, 3, 0}, y[4] = {3, 6, -3, 9};
    wtl_moments *mo;
    assert_ok(wtl_moments_create(&mo, &layer, (wtl_shape){3, 1, 1}, &options, NULL));
    assert_ok(wtl_moments_add_outputs(mo, 4, x, y, NULL, NULL));
    w[0] = w[1] = w[2] = 1.0f;
    return mo;
}

static void a_singular_system_goes_by_its_rule(void **state)
{
    (void)state;
    float w[3];
    wtl_moments *mo = twins(w);
    wtl_reconstruct_report report;
    wtl_reconstruct_options options = {.ridge = -1.0, .ridge_raises = -1};
    assert_ok(wtl_reconstruct_fit(mo, w, NULL, &options, &report, NULL));
    assert_int_equal(report.filters_singular, 1);
    assert_int_equal(report.filters_raised, 0);
    assert_close((double)w[0], 1.5, 1e-5); /* the shortest change */
    assert_close((double)w[1], 1.5, 1e-5);
    assert_close((double)w[2], 1.0, 0.0);

    options.singular = WTL_SINGULAR_KEEP;
    w[0] = w[1] = 1.0f;
    assert_ok(wtl_reconstruct_fit(mo, w, NULL, &options, &report, NULL));
    assert_true(w[0] == 1.0f && w[1] == 1.0f && w[2] == 1.0f);
    assert_int_equal(report.filters_unchanged, 1);

    options.ridge_raises = 0; /* the ridge 1e-6 that is then tried is enough */
    assert_ok(wtl_reconstruct_fit(mo, w, NULL, &options, &report, NULL));
    assert_int_equal(report.filters_singular, 0);
    assert_int_equal(report.filters_raised, 1);
    assert_close((double)w[0], 1.5, 1e-4);

    const float dead[3] = {0, 0, 1}; /* only the input that is always 0 */
    assert_ok(wtl_reconstruct_fit(mo, w, dead, NULL, &report, NULL));
    assert_true(w[0] == 0.0f && w[2] == 1.0f);
    assert_int_equal(report.filters_unchanged, 1);
    wtl_moments_free(mo);
}

static void what_makes_no_sense_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    sample_layer s;
    float w[3], before[MOST_WEIGHTS], scale[16] = {0};
    wtl_error err;
    make_layer(&s, 1);
    memcpy(before, s.weights, sizeof before);
    static const char outside[] = "reconstruct: an option is outside its meaning";
    const wtl_reconstruct_options wrong[] = {
        {.restore_step = 65}, {.restore_step = -1}, {.overshoot = 1.5},     {.overshoot = NAN},
        {.ridge = NAN},       {.threads = -1},      {.filter_scale = scale}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_fails(
            wtl_reconstruct_layer(s.moments, s.weights, s.mask, 1, &wrong[i], NULL, &err),
            WTL_E_ARG, &err, outside);
    }
    char text[128];
    snprintf(text, sizeof text, "reconstruct: %d weights are to be kept, there are %d",
             s.k * s.m + 1, s.k * s.m);
    assert_fails(wtl_reconstruct_layer(s.moments, s.weights, s.mask, (size_t)(s.k * s.m) + 1,
                                       NULL, NULL, &err),
                 WTL_E_RANGE, &err, text);
    assert_memory_equal(s.weights, before, sizeof before);
    s.weights[1] = NAN;
    assert_fails(wtl_reconstruct_layer(s.moments, s.weights, s.mask, 1, NULL, NULL, &err),
                 WTL_E_NAN, &err, "reconstruct: weight 1 is not finite");
    wtl_moments_free(s.moments);
    wtl_moments *mo = twins(w);
    assert_fails(wtl_reconstruct_layer(mo, w, before, 1, NULL, NULL, &err), WTL_E_ARG, &err,
                 "reconstruct: the moments keep no samples");
    mo->rows = 0;
    assert_fails(wtl_reconstruct_fit(mo, w, NULL, NULL, NULL, &err), WTL_E_ARG, &err,
                 "reconstruct: the moments have no rows");
    wtl_moments_free(mo);
}

static wtl_status reconstruct_and_forget(void *context)
{
    const sample_layer *s = context;
    float w[MOST_WEIGHTS], mask[MOST_WEIGHTS];
    memcpy(w, s->weights, sizeof w);
    memcpy(mask, s->mask, sizeof mask);
    const wtl_reconstruct_options options = {.threads = 2};
    wtl_status status = wtl_reconstruct_layer(s->moments, w, mask, (size_t)(s->k * s->m) / 2,
                                              &options, NULL, NULL);
    if (status != WTL_OK) {
        assert_memory_equal(w, s->weights, sizeof w);
        assert_memory_equal(mask, s->mask, sizeof mask);
    }
    return status;
}

static wtl_status fit_twins(void *context)
{
    float w[3] = {1, 1, 1};
    const wtl_reconstruct_options options = {.ridge = -1.0, .ridge_raises = -1};
    return wtl_reconstruct_fit(context, w, NULL, &options, NULL, NULL);
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    float w[3];
    wtl_moments *mo = twins(w);
    wtl_test_every_allocation_fails(fit_twins, mo);
    wtl_moments_free(mo);
    for (unsigned seed = 1; seed <= 6; seed++) {
        sample_layer s;
        make_layer(&s, seed);
        wtl_test_every_allocation_fails(reconstruct_and_forget, &s);
        wtl_moments_free(s.moments);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(cholesky_and_svd_solve_what_they_should),
        WTL_TEST(one_weight_of_two_takes_the_value_worked_by_hand),
        WTL_TEST(least_squares_equals_an_svd_of_the_explicit_system),
        WTL_TEST(removing_and_restoring_follow_the_literal_algorithm),
        WTL_TEST(blocks_are_removed_and_restored_by_it_too),
        WTL_TEST(the_block_comes_back_that_helps_four_filters_most),
        WTL_TEST(more_is_removed_where_blocks_cannot_make_up_the_rest),
        WTL_TEST(neighbours_of_one_pattern_are_fitted_as_if_alone),
        WTL_TEST(keeping_every_weight_is_the_identity),
        WTL_TEST(primal_and_dual_forms_agree),
        WTL_TEST(threads_do_not_change_a_bit),
        WTL_TEST(a_singular_system_goes_by_its_rule),
        WTL_TEST(what_makes_no_sense_is_refused_and_changes_nothing),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("reconstruct", tests);
}
