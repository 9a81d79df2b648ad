/* pixel_shuffle.c - space-to-depth and depth-to-space, torch's pixel_unshuffle and
 * pixel_shuffle: each undoes the other, so one's backward is the other's forward.
 *
 *   deep[c*f*f + i*f + j, p, q] = wide[c, p*f + i, q*f + j]
 *
 * Shapes:  wide [n,C,P*f,Q*f]   deep [n,C*f*f,P,Q]
 */
#include "layer_ops.h"
#include "wattle/threads.h"

#include <limits.h>

typedef struct shuffle_state {
    int factor;
    int c, p, q; /* of the formula */
} shuffle_state;

static wtl_status space_to_depth_shape(const wtl_layer_def *def, const wtl_shape *in,
                                       int input_count, wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    int f = def->as.resample.factor;
    if (in->h % f != 0 || in->w % f != 0) {
        return wtl_fail(err, WTL_E_SHAPE, "factor %d does not divide the input of %dx%d", f,
                        in->h, in->w);
    }
    if (in->c > INT_MAX / 2 / f / f) {
        return wtl_fail(err, WTL_E_RANGE, "factor %d makes more than 2^30 channels of %d", f,
                        in->c);
    }
    *out = (wtl_shape){in->c * f * f, in->h / f, in->w / f};
    return WTL_OK;
}

static wtl_status depth_to_space_shape(const wtl_layer_def *def, const wtl_shape *in,
                                       int input_count, wtl_shape *out, wtl_error *err)
{
    (void)input_count;
    int f = def->as.resample.factor;
    if (in->c % (f * f) != 0) {
        return wtl_fail(err, WTL_E_SHAPE, "factor %d needs a multiple of %d channels, not %d",
                        f, f * f, in->c);
    }
    if (in->h > INT_MAX / 2 / f || in->w > INT_MAX / 2 / f) {
        return wtl_fail(err, WTL_E_RANGE, "factor %d makes %dx%d larger than 2^30", f, in->h,
                        in->w);
    }
    *out = (wtl_shape){in->c / (f * f), in->h * f, in->w * f};
    return WTL_OK;
}

static wtl_status space_to_depth_setup(void *self, const wtl_layer_def *def,
                                       wtl_layer_plan *plan, wtl_error *err)
{
    (void)err;
    *(shuffle_state *)self = (shuffle_state){.factor = def->as.resample.factor,
                                             .c = plan->in[0].c,
                                             .p = plan->out.h,
                                             .q = plan->out.w};
    plan->kernel = "copy";
    return WTL_OK;
}

static wtl_status depth_to_space_setup(void *self, const wtl_layer_def *def,
                                       wtl_layer_plan *plan, wtl_error *err)
{
    (void)err;
    *(shuffle_state *)self = (shuffle_state){.factor = def->as.resample.factor,
                                             .c = plan->out.c,
                                             .p = plan->in[0].h,
                                             .q = plan->in[0].w};
    plan->kernel = "copy";
    return WTL_OK;
}

/* Start of the deep row that row `row` of wide holds every f-th value of, from value j on;
 * wide's rows are counted through all images and channels. */
static size_t deep_row(const shuffle_state *l, size_t row, int j)
{
    size_t f = (size_t)l->factor, p = row / f % (size_t)l->p, i = row % f;
    size_t channel = row / f / (size_t)l->p; /* n*C + c */
    return (((channel * f + i) * f + (size_t)j) * (size_t)l->p + p) * (size_t)l->q;
}

static void to_depth(const shuffle_state *l, const float *wide, float *deep, long begin,
                     long end)
{
    size_t f = (size_t)l->factor, width = (size_t)l->q * f;
    for (long row = begin; row < end; row++) {
        for (int j = 0; j < l->factor; j++) {
            const float *from = wide + (size_t)row * width + j;
            float *to = deep + deep_row(l, (size_t)row, j);
            for (size_t q = 0; q < (size_t)l->q; q++) {
                to[q] = from[q * f];
            }
        }
    }
}

static void to_space(const shuffle_state *l, const float *deep, float *wide, long begin,
                     long end)
{
    size_t f = (size_t)l->factor, width = (size_t)l->q * f;
    for (long row = begin; row < end; row++) {
        for (int j = 0; j < l->factor; j++) {
            const float *from = deep + deep_row(l, (size_t)row, j);
            float *to = wide + (size_t)row * width + j;
            for (size_t q = 0; q < (size_t)l->q; q++) {
                to[q * f] = from[q];
            }
        }
    }
}

/* A copy has no faster twin: both engines take this. */
static void over_rows(const shuffle_state *l, const wtl_layer_run *run, const float *from,
                      float *to,
                      void (*rows)(const shuffle_state *l, const float *from, float *to,
                                   long begin, long end))
{
    long count = (long)run->n * l->c * l->p * l->factor;
#pragma omp parallel for num_threads(run->threads) schedule(static, 1)
    for (int part = 0; part < run->threads; part++) {
        long begin, end;
        wtl_share(count, part, run->threads, &begin, &end);
        rows(l, from, to, begin, end);
    }
}

static void space_to_depth_forward(const void *self, const wtl_layer_run *run,
                                   const float *const *x, float *y)
{
    over_rows(self, run, x[0], y, to_depth);
}

static void space_to_depth_backward(const void *self, const wtl_layer_run *run,
                                    const float *const *x, const float *y, const float *dy,
                                    float *const *dx)
{
    (void)x;
    (void)y;
    if (dx[0]) {
        over_rows(self, run, dy, dx[0], to_space);
    }
}

static void depth_to_space_forward(const void *self, const wtl_layer_run *run,
                                   const float *const *x, float *y)
{
    over_rows(self, run, x[0], y, to_space);
}

static void depth_to_space_backward(const void *self, const wtl_layer_run *run,
                                    const float *const *x, const float *y, const float *dy,
                                    float *const *dx)
{
    (void)x;
    (void)y;
    if (dx[0]) {
        over_rows(self, run, dy, dx[0], to_depth);
    }
}

static const wtl_layer_option shuffle_option_table[] = {
    {"factor", WTL_OPTION_INT, offsetof(wtl_layer_def, as.resample.factor), 1, 1 << 8, NULL,
     NULL},
    {0},
};

const wtl_layer_ops wtl_space_to_depth_ops = {
    .kind = WTL_LAYER_SPACE_TO_DEPTH,
    .word = "space_to_depth",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = shuffle_option_table,
    .state_bytes = sizeof(shuffle_state),
    .shape = space_to_depth_shape,
    .setup = space_to_depth_setup,
    .forward = space_to_depth_forward,
    .backward = space_to_depth_backward,
};

const wtl_layer_ops wtl_depth_to_space_ops = {
    .kind = WTL_LAYER_DEPTH_TO_SPACE,
    .word = "depth_to_space",
    .least_inputs = 1,
    .most_inputs = 1,
    .options = shuffle_option_table,
    .state_bytes = sizeof(shuffle_state),
    .shape = depth_to_space_shape,
    .setup = depth_to_space_setup,
    .forward = depth_to_space_forward,
    .backward = depth_to_space_backward,
};
