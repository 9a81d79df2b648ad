/* layer_harness.c - see layer_harness.h. */
#include "layer_harness.h"

#include "wattle/blas.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

enum { WALL = 16 /* floats on either side of a buffer */ };

static const uint32_t BRICK = 0x7fc5a5a5u; /* a NaN that no arithmetic makes */

static void build_wall(float *at)
{
    for (int i = 0; i < WALL; i++) {
        memcpy(at + i, &BRICK, sizeof BRICK);
    }
}

static float *buffer(size_t count)
{
    float *all = wtl_alloc(count + 2 * WALL, sizeof *all);
    assert_non_null(all);
    build_wall(all);
    build_wall(all + WALL + count);
    return all + WALL;
}

static void drop(float *buffer_or_null)
{
    if (buffer_or_null) {
        wtl_free(buffer_or_null - WALL);
    }
}

static void check_wall(const float *values, size_t count, const char *what)
{
    for (int i = 0; values && i < WALL; i++) {
        if (memcmp(values - 1 - i, &BRICK, sizeof BRICK) != 0) {
            fail_msg("%s: value -%d was overwritten", what, i + 1);
        }
        if (memcmp(values + count + i, &BRICK, sizeof BRICK) != 0) {
            fail_msg("%s: value %zu of %zu was overwritten", what, count + (size_t)i, count);
        }
    }
}

static wtl_layer_case resolved(const wtl_layer_case *c)
{
    wtl_layer_case r = *c;
    r.input_count = c->input_count ? c->input_count : 1;
    r.batch = c->batch ? c->batch : 1;
    r.n = c->n ? c->n : r.batch;
    r.threads = c->threads ? c->threads : 1;
    r.def.kind = c->ops->kind;
    r.def.input_count = r.input_count;
    assert_true(r.n <= r.batch && r.input_count <= WTL_HARNESS_INPUTS);
    return r;
}

/* state has ops->state_bytes. */
static wtl_status plan_layer(wtl_layer_case *c, wtl_layer_plan *plan, void *state,
                             wtl_error *err)
{
    *plan = (wtl_layer_plan){
        .in = c->in,
        .input_count = c->input_count,
        .batch = c->batch,
        .threads = c->threads,
        .engine = c->engine,
        .native = c->engine == WTL_ENGINE_NATIVE ? wtl_native_of(c->isa) : NULL,
        .blocked_in = c->blocked,
        .blocked_out = c->blocked,
        .training = c->training,
        .input_gradient = c->training && !c->no_input_gradient,
        .fused = c->fused,
    };
    wtl_status status = c->ops->check ? c->ops->check(&c->def, err) : WTL_OK;
    if (status == WTL_OK) {
        status = c->ops->shape(&c->def, c->in, c->input_count, &plan->out, err);
    }
    if (status == WTL_OK && c->blocked) {
        assert_int_equal(c->engine, WTL_ENGINE_NATIVE);
        assert_true(c->ops->blocks &&
                    c->ops->blocks(&c->def, c->in, c->input_count, plan->out));
    }
    if (status == WTL_OK && c->ops->setup) {
        status = c->ops->setup(state, &c->def, plan, err);
    }
    return status;
}

wtl_status wtl_harness_plan(const wtl_layer_case *c, wtl_shape *out, wtl_error *err)
{
    wtl_layer_case r = resolved(c);
    wtl_layer_plan plan;
    void *state = wtl_alloc(1, r.ops->state_bytes);
    assert_non_null(state);
    wtl_status status = plan_layer(&r, &plan, state, err);
    wtl_free(state);
    if (out) {
        *out = plan.out;
    }
    return status;
}

static bool is_statistic(wtl_param_role role)
{
    return role == WTL_PARAM_RUNNING_MEAN || role == WTL_PARAM_RUNNING_VAR;
}

static void create_params(wtl_layer_harness *h)
{
    h->param_count = h->is.ops->params ? h->is.ops->params(&h->is.def, h->is.in, h->specs) : 0;
    for (int i = 0; i < h->param_count; i++) {
        const wtl_param_spec *spec = &h->specs[i];
        h->counts[i] = 1;
        for (int d = 0; d < spec->rank; d++) {
            h->counts[i] *= (size_t)spec->dims[d];
        }
        h->value[i] = buffer(h->counts[i]);
        wtl_fill_random(h->value[i], h->counts[i], h->is.key * 100 + 10 + (unsigned)i);
        for (size_t j = 0; spec->role == WTL_PARAM_RUNNING_VAR && j < h->counts[i]; j++) {
            h->value[i][j] = fabsf(h->value[i][j]) + 0.5f;
        }
        if (h->is.training && !is_statistic(spec->role)) {
            h->gradient[i] = buffer(h->counts[i]);
        }
    }
}

/* Also the floats between images: blocks need no less than 16, so walls fit between. */
static float *blocked_buffer(const wtl_layer_harness *h, wtl_shape shape, size_t *image)
{
    *image = wtl_shape_count(shape);
    if (!h->is.blocked) {
        return NULL;
    }
    *image = wtl_blocked_count(shape) + WALL;
    return buffer((size_t)h->is.n * *image); /* zeros until a run */
}

static void create_activations(wtl_layer_harness *h)
{
    for (int i = 0; i < h->is.input_count; i++) {
        h->x_count[i] = (size_t)h->is.n * wtl_shape_count(h->is.in[i]);
        h->x[i] = buffer(h->x_count[i]);
        wtl_fill_random(h->x[i], h->x_count[i], h->is.key * 100 + (unsigned)i);
        h->blocked_x[i] = blocked_buffer(h, h->is.in[i], &h->x_image[i]);
        if (h->plan.input_gradient) {
            h->dx[i] = buffer(h->x_count[i]);
            h->blocked_dx[i] = blocked_buffer(h, h->is.in[i], &h->x_image[i]);
        }
        h->unread_count = h->x_count[i] > h->unread_count ? h->x_count[i] : h->unread_count;
    }
    h->y_count = (size_t)h->is.n * wtl_shape_count(h->plan.out);
    h->y = buffer(h->y_count);
    h->blocked_y = blocked_buffer(h, h->plan.out, &h->y_image);
    h->unread_count = h->y_count > h->unread_count ? h->y_count : h->unread_count;
    if (h->is.training) {
        h->dy = buffer(h->y_count);
        h->blocked_dy = blocked_buffer(h, h->plan.out, &h->y_image);
        wtl_fill_random(h->dy, h->y_count, h->is.key * 100 + 50);
        if (h->is.blocked) {
            h->unread_count = 16 * h->unread_count + (size_t)h->is.n * WALL;
        }
        h->unread = buffer(h->unread_count);
        wtl_fill_nan(h->unread, h->unread_count);
    }
}

wtl_layer_harness *wtl_harness_create(const wtl_layer_case *c)
{
    wtl_blas_prepare();
    wtl_layer_harness *h = wtl_alloc(1, sizeof *h);
    assert_non_null(h);
    h->is = resolved(c);
    h->state = wtl_alloc(1, h->is.ops->state_bytes);
    assert_non_null(h->state);
    wtl_error err;
    wtl_status status = plan_layer(&h->is, &h->plan, h->state, &err);
    if (status != WTL_OK) {
        fail_msg("%s: %s", h->is.ops->word, err.text);
    }
    create_params(h);
    create_activations(h);
    h->scratch_count = (h->plan.scratch_bytes + sizeof(float) - 1) / sizeof(float);
    h->saved_count = (h->plan.saved_bytes + sizeof(float) - 1) / sizeof(float);
    h->scratch = buffer(h->scratch_count);
    h->saved = buffer(h->saved_count);
    h->run = (wtl_layer_run){
        .n = h->is.n,
        .threads = h->is.threads,
        .engine = h->is.engine,
        .training = h->is.training,
        .stat_momentum = -1.0f,
        .seed = 1,
        .scratch = h->scratch,
        .saved = h->saved,
        .value = h->value,
        .gradient = h->gradient,
        .x_image = h->x_image,
        .dx_image = h->x_image,
        .y_image = h->y_image,
        .dy_image = h->y_image,
    };
    return h;
}

void wtl_harness_free(wtl_layer_harness *h)
{
    if (!h) {
        return;
    }
    for (int i = 0; i < h->param_count; i++) {
        drop(h->value[i]);
        drop(h->gradient[i]);
    }
    for (int i = 0; i < h->is.input_count; i++) {
        drop(h->x[i]);
        drop(h->dx[i]);
        drop(h->blocked_x[i]);
        drop(h->blocked_dx[i]);
    }
    drop(h->y);
    drop(h->dy);
    drop(h->blocked_y);
    drop(h->blocked_dy);
    drop(h->scratch);
    drop(h->saved);
    drop(h->unread);
    wtl_free(h->state);
    wtl_free(h);
}

static void check_walls(const wtl_layer_harness *h)
{
    for (int i = 0; i < h->param_count; i++) {
        check_wall(h->value[i], h->counts[i], h->specs[i].suffix);
        check_wall(h->gradient[i], h->counts[i], "a parameter's gradient");
    }
    for (int i = 0; i < h->is.input_count; i++) {
        check_wall(h->x[i], h->x_count[i], "x");
        check_wall(h->dx[i], h->x_count[i], "dx");
        check_wall(h->blocked_x[i], (size_t)h->is.n * h->x_image[i], "x in blocks");
        check_wall(h->blocked_dx[i], (size_t)h->is.n * h->x_image[i], "dx in blocks");
    }
    check_wall(h->blocked_y, (size_t)h->is.n * h->y_image, "y in blocks");
    check_wall(h->blocked_dy, (size_t)h->is.n * h->y_image, "dy in blocks");
    check_wall(h->y, h->y_count, "y");
    check_wall(h->dy, h->y_count, "dy");
    check_wall(h->scratch, h->scratch_count, "scratch");
    check_wall(h->saved, h->saved_count, "saved");
}

static void add_hash(uint64_t *sum, const float *values, size_t count)
{
    for (size_t i = 0; values && i < count; i++) {
        uint32_t bits;
        memcpy(&bits, values + i, sizeof bits);
        *sum = (*sum ^ bits) * 1099511628211u; /* FNV-1a */
    }
}

/* Of what a layer may read but not change. */
static uint64_t hash_of_inputs(const wtl_layer_harness *h)
{
    uint64_t sum = 14695981039346656037u;
    for (int i = 0; i < h->is.input_count; i++) {
        add_hash(&sum, h->x[i], h->x_count[i]);
    }
    for (int i = 0; i < h->param_count; i++) {
        if (!is_statistic(h->specs[i].role)) {
            add_hash(&sum, h->value[i], h->counts[i]);
        }
    }
    add_hash(&sum, h->dy, h->y_count);
    for (int i = 0; i < h->is.input_count; i++) {
        add_hash(&sum, h->blocked_x[i], (size_t)h->is.n * h->x_image[i]);
    }
    add_hash(&sum, h->blocked_dy, (size_t)h->is.n * h->y_image);
    return sum;
}

/* ---- blocks of channels ---- */

/* Where value `at` of a map in NCHW lies in blocks. */
static size_t place_in_blocks(wtl_shape s, size_t image, size_t at)
{
    size_t count = wtl_shape_count(s), pixels = (size_t)s.h * s.w;
    size_t c = at % count / pixels, pixel = at % pixels;
    return at / count * image + (c / WTL_BLOCK_CHANNELS * pixels + pixel) * WTL_BLOCK_CHANNELS +
           c % WTL_BLOCK_CHANNELS;
}

/* Values, zeros in the lanes of no channel, walls behind each image. */
static void to_blocks(const wtl_layer_harness *h, wtl_shape s, size_t image, const float *plain,
                      float *blocks)
{
    size_t count = wtl_blocked_count(s);
    for (int i = 0; i < h->is.n; i++) {
        memset(blocks + (size_t)i * image, 0, count * sizeof *blocks);
        build_wall(blocks + (size_t)i * image + count);
    }
    for (size_t at = 0; at < (size_t)h->is.n * wtl_shape_count(s); at++) {
        blocks[place_in_blocks(s, image, at)] = plain[at];
    }
}

static void check_lanes(wtl_shape s, const float *blocks, int image, const char *what)
{
    size_t pixels = (size_t)s.h * s.w;
    for (size_t i = 0; i < wtl_blocked_count(s); i++) {
        size_t c =
            i / (WTL_BLOCK_CHANNELS * pixels) * WTL_BLOCK_CHANNELS + i % WTL_BLOCK_CHANNELS;
        if (c >= (size_t)s.c && !(blocks[i] == 0.0f)) {
            fail_msg("%s: image %d: %g in the lane of no channel %zu", what, image,
                     (double)blocks[i], c);
        }
    }
}

/* Checks walls, too, and that the lanes of no channel hold 0. */
static void from_blocks(const wtl_layer_harness *h, wtl_shape s, size_t image,
                        const float *blocks, float *plain, const char *what)
{
    for (int i = 0; i < h->is.n; i++) {
        const float *at = blocks + (size_t)i * image;
        check_wall(at, wtl_blocked_count(s), what);
        check_lanes(s, at, i, what);
    }
    for (size_t at = 0; at < (size_t)h->is.n * wtl_shape_count(s); at++) {
        plain[at] = blocks[place_in_blocks(s, image, at)];
    }
}

static void fill_blocks_nan(const wtl_layer_harness *h, wtl_shape s, size_t image,
                            float *blocks)
{
    for (int i = 0; i < h->is.n; i++) {
        wtl_fill_nan(blocks + (size_t)i * image, wtl_blocked_count(s));
        build_wall(blocks + (size_t)i * image + wtl_blocked_count(s));
    }
}

/* ---- runs ---- */

void wtl_harness_forward(wtl_layer_harness *h)
{
    const float *x[WTL_HARNESS_INPUTS];
    memcpy(x, h->x, sizeof x);
    for (int i = 0; h->is.blocked && i < h->is.input_count; i++) {
        to_blocks(h, h->is.in[i], h->x_image[i], h->x[i], h->blocked_x[i]);
        x[i] = h->blocked_x[i];
    }
    wtl_fill_nan(h->y, h->y_count);
    if (h->is.blocked) {
        fill_blocks_nan(h, h->plan.out, h->y_image, h->blocked_y);
    }
    wtl_fill_nan(h->scratch, h->scratch_count);
    wtl_fill_nan(h->saved, h->saved_count);
    uint64_t before = hash_of_inputs(h);
    h->is.ops->forward(h->state, &h->run, x, h->is.blocked ? h->blocked_y : h->y);
    assert_true(hash_of_inputs(h) == before);
    check_walls(h);
    if (h->is.blocked) {
        from_blocks(h, h->plan.out, h->y_image, h->blocked_y, h->y, "y");
    }
}

/* h->blocked_y is as forward left it, and h->blocked_x. */
static void backward_in_blocks(wtl_layer_harness *h)
{
    const float *x[WTL_HARNESS_INPUTS] = {0};
    for (int i = 0; i < h->is.input_count; i++) {
        x[i] = h->is.ops->needs_x ? h->blocked_x[i] : h->unread;
        if (h->dx[i]) {
            fill_blocks_nan(h, h->is.in[i], h->x_image[i], h->blocked_dx[i]);
        }
    }
    h->is.ops->backward(h->state, &h->run, x, h->is.ops->needs_y ? h->blocked_y : h->unread,
                        h->blocked_dy, h->blocked_dx);
    for (int i = 0; i < h->is.input_count; i++) {
        if (h->dx[i]) {
            from_blocks(h, h->is.in[i], h->x_image[i], h->blocked_dx[i], h->dx[i], "dx");
        }
    }
}

void wtl_harness_backward(wtl_layer_harness *h)
{
    const float *x[WTL_HARNESS_INPUTS] = {0};
    for (int i = 0; i < h->is.input_count; i++) {
        x[i] = h->is.ops->needs_x ? h->x[i] : h->unread;
        if (h->dx[i]) {
            wtl_fill_nan(h->dx[i], h->x_count[i]);
        }
    }
    wtl_fill_nan(h->scratch, h->scratch_count);
    if (h->is.blocked) {
        to_blocks(h, h->plan.out, h->y_image, h->dy, h->blocked_dy);
    }
    uint64_t before = hash_of_inputs(h);
    if (h->is.blocked) {
        backward_in_blocks(h);
    } else {
        h->is.ops->backward(h->state, &h->run, x, h->is.ops->needs_y ? h->y : h->unread, h->dy,
                            h->dx);
    }
    assert_true(hash_of_inputs(h) == before);
    check_walls(h);
}

/* ---- checks ---- */

static double loss(wtl_layer_harness *h)
{
    wtl_harness_forward(h);
    double sum = 0.0;
    for (size_t i = 0; i < h->y_count; i++) {
        sum += (double)h->dy[i] * h->y[i];
    }
    return sum;
}

static void check_slope(wtl_layer_harness *h, float *at, double gradient, double step,
                        double tolerance, const char *what, size_t index)
{
    float kept = *at;
    *at = (float)(kept + step);
    double up = *at, above = loss(h);
    *at = (float)(kept - step);
    double down = *at, below = loss(h);
    *at = kept;
    double slope = (above - below) / (up - down);
    if (!(fabs(slope - gradient) <= tolerance * fmax(1.0, fabs(gradient)))) {
        fail_msg("%s: gradient by %s[%zu] is %.9g, differences give %.9g", h->is.ops->word,
                 what, index, gradient, slope);
    }
}

void wtl_harness_check_gradients(const wtl_layer_case *c, double step, double tolerance)
{
    wtl_layer_case training = *c;
    training.training = true;
    assert_int_equal(c->fused, WTL_ACTIVATION_NONE);
    wtl_layer_harness *h = wtl_harness_create(&training);
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    for (int i = 0; i < h->is.input_count; i++) {
        for (size_t j = 0; h->dx[i] && j < h->x_count[i]; j++) {
            check_slope(h, &h->x[i][j], h->dx[i][j], step, tolerance, "x", j);
        }
    }
    for (int i = 0; i < h->param_count; i++) {
        for (size_t j = 0; h->gradient[i] && j < h->counts[i]; j++) {
            check_slope(h, &h->value[i][j], h->gradient[i][j], step, tolerance,
                        h->specs[i].suffix, j);
        }
    }
    wtl_harness_free(h);
}

/* As a net does before backward. */
static void pass_activation(wtl_layer_harness *h)
{
    for (size_t i = 0; i < h->y_count; i++) {
        bool flat = h->is.fused != WTL_ACTIVATION_NONE && !(h->y[i] > 0.0f);
        flat = flat || (h->is.fused == WTL_ACTIVATION_RELU6 && !(h->y[i] < 6.0f));
        h->dy[i] = flat && !h->plan.passes_gradient ? 0.0f : h->dy[i];
    }
}

/* One layer, run once; gradients start at random values. */
static wtl_layer_harness *run_once(const wtl_layer_case *c)
{
    wtl_layer_harness *h = wtl_harness_create(c);
    for (int i = 0; i < h->param_count; i++) {
        if (h->gradient[i]) {
            wtl_fill_random(h->gradient[i], h->counts[i], 77 + (unsigned)i);
        }
    }
    wtl_harness_forward(h);
    if (h->is.training) {
        pass_activation(h);
        wtl_harness_backward(h);
    }
    return h;
}

typedef void compare(const float *got, const float *want, size_t count, double tolerance,
                     const char *what);

static void compare_close(const float *got, const float *want, size_t count, double tolerance,
                          const char *what)
{
    wtl_assert_all_close(got, want, count, tolerance, what, __FILE__, __LINE__);
}

static void compare_bytes(const float *got, const float *want, size_t count, double tolerance,
                          const char *what)
{
    (void)tolerance;
    for (size_t i = 0; i < count; i++) {
        if (memcmp(got + i, want + i, sizeof *got) != 0) {
            fail_msg("%s[%zu] is %.9g once and %.9g again", what, i, (double)want[i],
                     (double)got[i]);
        }
    }
}

static void compare_results(const wtl_layer_harness *got, const wtl_layer_harness *want,
                            compare *same, double tolerance)
{
    same(got->y, want->y, got->y_count, tolerance, "y");
    for (int i = 0; i < got->is.input_count; i++) {
        if (got->dx[i]) {
            same(got->dx[i], want->dx[i], got->x_count[i], tolerance, "dx");
        }
    }
    for (int i = 0; i < got->param_count; i++) {
        same(got->value[i], want->value[i], got->counts[i], tolerance, got->specs[i].suffix);
        if (got->gradient[i]) {
            same(got->gradient[i], want->gradient[i], got->counts[i], tolerance,
                 got->specs[i].suffix);
        }
    }
}

static void compare_runs(const wtl_layer_case *a, const wtl_layer_case *b, compare *same,
                         double tolerance)
{
    wtl_layer_harness *got = run_once(a), *want = run_once(b);
    compare_results(got, want, same, tolerance);
    wtl_harness_free(got);
    wtl_harness_free(want);
}

void wtl_harness_check_engines(const wtl_layer_case *c, double tolerance)
{
    wtl_layer_case fast = *c, reference = *c;
    fast.engine = WTL_ENGINE_BLAS;
    reference.engine = WTL_ENGINE_REFERENCE;
    compare_runs(&fast, &reference, compare_close, tolerance);
}

void wtl_harness_check_blocked(const wtl_layer_case *c, double tolerance)
{
    wtl_layer_case blocked = *c, reference = *c;
    blocked.engine = WTL_ENGINE_NATIVE;
    blocked.blocked = true;
    reference.engine = WTL_ENGINE_REFERENCE;
    reference.blocked = false;
    wtl_layer_harness *want = run_once(&reference);
    for (wtl_isa isa = WTL_ISA_PLAIN; isa < WTL_ISA_COUNT; isa++) {
        blocked.isa = isa;
        blocked.threads = (int)isa;
        wtl_layer_harness *got = run_once(&blocked), *again = run_once(&blocked);
        compare_results(got, want, compare_close, tolerance);
        compare_results(again, got, compare_bytes, 0.0);
        wtl_harness_free(got);
        wtl_harness_free(again);
    }
    wtl_harness_free(want);
}

void wtl_harness_check_repeats(const wtl_layer_case *c)
{
    compare_runs(c, c, compare_bytes, 0.0);
}

void wtl_harness_check_threads(const wtl_layer_case *c)
{
    wtl_layer_case one = *c, more = *c;
    one.threads = 1;
    for (more.threads = 2; more.threads <= 3; more.threads++) {
        compare_runs(&more, &one, compare_bytes, 0.0);
    }
}

void wtl_harness_over_batches(int rows,
                              void (*check)(int row, int n, int threads, wtl_engine engine))
{
    static const int images[] = {1, 2, 3, 5};
    for (int row = 0; row < rows; row++) {
        check(row, 2, 1, WTL_ENGINE_REFERENCE);
        for (int i = 0; i < 4; i++) {
            for (int threads = 1; threads <= 3; threads++) {
                check(row, images[i], threads, WTL_ENGINE_BLAS);
            }
        }
    }
}
