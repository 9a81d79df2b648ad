/* Space-to-depth and depth-to-space: copies, so every value is exact. */
#include "layer_harness.h"

#include <string.h>

static wtl_layer_case case_of(const wtl_layer_ops *ops, wtl_shape in, int factor)
{
    return (wtl_layer_case){
        .ops = ops, .def.as.resample.factor = factor, .in = {in}, .training = true};
}

/* Two channels of 2x4 with factor 2, and the eight channels of 1x2 they become. */
static const float WIDE[16] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17};
static const float DEEP[16] = {0, 2, 1, 3, 4, 6, 5, 7, 10, 12, 11, 13, 14, 16, 15, 17};

static void check_by_hand(const wtl_layer_ops *ops, wtl_shape in, const float *x,
                          const float *y, wtl_shape out)
{
    wtl_layer_case c = case_of(ops, in, 2);
    wtl_layer_harness *h = wtl_harness_create(&c);
    assert_int_equal(h->plan.out.c, out.c);
    assert_int_equal(h->plan.out.h, out.h);
    assert_int_equal(h->plan.out.w, out.w);
    memcpy(h->x[0], x, 16 * sizeof *x);
    memcpy(h->dy, y, 16 * sizeof *y);
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    assert_all_close(h->y, y, 16, 0.0);
    assert_all_close(h->dx[0], x, 16, 0.0); /* the gradient goes back the way it came */
    wtl_harness_free(h);
}

static void values_go_where_the_hand_puts_them(void **state)
{
    (void)state;
    wtl_shape wide = {2, 2, 4}, deep = {8, 1, 2};
    check_by_hand(&wtl_space_to_depth_ops, wide, WIDE, DEEP, deep);
    check_by_hand(&wtl_depth_to_space_ops, deep, DEEP, WIDE, wide);
}

typedef struct row {
    int c, p, q, factor; /* wide is C x P*f x Q*f */
} row;

static const row ROWS[] = {{1, 1, 1, 1}, {3, 2, 5, 1}, {1, 1, 1, 3},
                           {3, 2, 3, 2}, {2, 5, 1, 3}, {2, 1, 4, 4}};
enum { ROW_COUNT = sizeof ROWS / sizeof ROWS[0] };

/* deep[c*f*f + i*f + j, p, q] and wide[c, p*f + i, q*f + j], from torch's manual. */
static void check_row(const wtl_layer_ops *ops, const row *r, int n, int threads,
                      wtl_engine engine)
{
    int f = r->factor;
    bool to_depth = ops == &wtl_space_to_depth_ops;
    wtl_shape wide = {r->c, r->p * f, r->q * f}, deep = {r->c * f * f, r->p, r->q};
    wtl_layer_case c = case_of(ops, to_depth ? wide : deep, f);
    c.batch = n;
    c.threads = threads;
    c.engine = engine;
    wtl_layer_harness *h = wtl_harness_create(&c);
    wtl_harness_forward(h);
    wtl_harness_backward(h);
    for (int at = 0; at < n * r->c * f * f * r->p * r->q; at++) {
        int q = at % r->q, p = at / r->q % r->p, channel = at / (r->q * r->p);
        int j = channel % f, i = channel / f % f, plane = channel / (f * f);
        int there = (plane * r->p * f + p * f + i) * r->q * f + q * f + j;
        int from = to_depth ? there : at, to = to_depth ? at : there;
        assert_true(h->y[to] == h->x[0][from]);
        assert_true(h->dx[0][from] == h->dy[to]);
    }
    wtl_harness_free(h);
}

static void both_follow_the_definition_over_odd_shapes(void **state)
{
    (void)state;
    for (int i = 0; i < ROW_COUNT; i++) {
        for (int threads = 1; threads <= 3; threads++) {
            check_row(&wtl_space_to_depth_ops, &ROWS[i], 1, threads, WTL_ENGINE_BLAS);
            check_row(&wtl_depth_to_space_ops, &ROWS[i], 1, threads, WTL_ENGINE_BLAS);
            check_row(&wtl_space_to_depth_ops, &ROWS[i], 5, threads, WTL_ENGINE_REFERENCE);
            check_row(&wtl_depth_to_space_ops, &ROWS[i], 5, threads, WTL_ENGINE_BLAS);
        }
    }
}

static void a_first_layer_needs_no_gradient(void **state)
{
    (void)state;
    wtl_layer_case c = case_of(&wtl_space_to_depth_ops, (wtl_shape){2, 4, 4}, 2);
    c.no_input_gradient = true;
    wtl_harness_check_engines(&c, 0.0);
    c = case_of(&wtl_depth_to_space_ops, (wtl_shape){8, 4, 4}, 2);
    c.no_input_gradient = true;
    wtl_harness_check_engines(&c, 0.0);
}

static void what_does_not_divide_is_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_layer_case c = case_of(&wtl_space_to_depth_ops, (wtl_shape){2, 4, 6}, 4);
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "factor 4 does not divide the input of 4x6");
    c.in[0] = (wtl_shape){2, 6, 4};
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "factor 4 does not divide the input of 6x4");
    c = case_of(&wtl_depth_to_space_ops, (wtl_shape){6, 1, 1}, 2);
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_SHAPE, &err,
                 "factor 2 needs a multiple of 4 channels, not 6");
}

static void sizes_that_would_overflow_are_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_layer_case c = case_of(&wtl_space_to_depth_ops, (wtl_shape){1 << 20, 256, 256}, 256);
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "factor 256 makes more than 2^30 channels of 1048576");
    c = case_of(&wtl_depth_to_space_ops, (wtl_shape){4, 1, 1 << 30}, 2);
    assert_fails(wtl_harness_plan(&c, NULL, &err), WTL_E_RANGE, &err,
                 "factor 2 makes 1x1073741824 larger than 2^30");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(values_go_where_the_hand_puts_them),
        WTL_TEST(both_follow_the_definition_over_odd_shapes),
        WTL_TEST(a_first_layer_needs_no_gradient),
        WTL_TEST(what_does_not_divide_is_refused),
        WTL_TEST(sizes_that_would_overflow_are_refused),
    };
    return WTL_RUN("space_to_depth", tests);
}
