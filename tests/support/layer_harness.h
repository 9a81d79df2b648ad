/* layer_harness.h - one layer run by itself, through its wtl_layer_ops table, as a net
 * would: check, shape, params, setup; then forward and backward as often as wanted.
 *
 * Every run starts from NaN in y, dx, the scratch memory and (forward) the saved memory;
 * walls around each buffer, and the inputs, are checked after it. backward gets NaN for x
 * and y unless the table says that it reads them.
 *
 *   wtl_layer_case c = {.ops = &wtl_conv_ops, .def.as.conv = {...}, .in = {{3, 8, 8}},
 *                       .batch = 2, .training = true};
 *   wtl_layer_harness *h = wtl_harness_create(&c);
 *   ... fill h->x[0], h->value[0], h->dy (random until then) ...
 *   wtl_harness_forward(h);
 *   assert_all_close(h->y, want, h->y_count, 0.0);
 *   wtl_harness_backward(h);
 *   wtl_harness_free(h);
 *
 * A `blocked` case runs the native engine on maps in blocks of channels: x, y, dx and dy stay
 * NCHW here and are reordered around each run. In blocks, images lie further apart than they
 * must, with walls between them; the lanes beyond the last channel must stay 0.
 */
#ifndef WTL_LAYER_HARNESS_H
#define WTL_LAYER_HARNESS_H

#include "models/layer_ops.h"

#include "wtl_test.h"

enum { WTL_HARNESS_INPUTS = 4 };

typedef struct wtl_layer_case {
    const wtl_layer_ops *ops;
    wtl_layer_def def; /* `as` alone matters */
    wtl_shape in[WTL_HARNESS_INPUTS];
    int input_count; /* 0: one */
    int batch;       /* 0: one */
    int n;           /* images to run; 0: batch */
    int threads;     /* 0: one */
    wtl_engine engine;
    bool blocked; /* maps in blocks; only with WTL_ENGINE_NATIVE */
    wtl_isa isa;  /* of the native engine: the most it may use */
    bool training;
    bool no_input_gradient; /* backward gets NULL for every dx */
    wtl_activation fused;
    unsigned key; /* of the random inputs, parameters and dy */
} wtl_layer_case;

typedef struct wtl_layer_harness {
    wtl_layer_case is; /* as given, zeros resolved */
    wtl_layer_plan plan;
    int param_count;
    wtl_param_spec specs[WTL_MAX_LAYER_PARAMS];
    size_t counts[WTL_MAX_LAYER_PARAMS];
    float *value[WTL_MAX_LAYER_PARAMS];
    float *gradient[WTL_MAX_LAYER_PARAMS]; /* NULL for statistics; zero until a backward */
    /* For n images; dx[i] is NULL without input gradient, dx and dy without training. */
    float *x[WTL_HARNESS_INPUTS], *dx[WTL_HARNESS_INPUTS], *y, *dy;
    size_t x_count[WTL_HARNESS_INPUTS], y_count;
    size_t x_image[WTL_HARNESS_INPUTS], y_image; /* as the layer is told */
    float *blocked_x[WTL_HARNESS_INPUTS], *blocked_dx[WTL_HARNESS_INPUTS], *blocked_y,
        *blocked_dy;
    wtl_layer_run run; /* seed, step, stat_momentum (-1) may be changed between runs */
    void *state;
    float *scratch, *saved, *unread; /* unread: NaN in place of what backward must not read */
    size_t scratch_count, saved_count, unread_count;
} wtl_layer_harness;

/* Fails the test if the layer refuses. */
wtl_layer_harness *wtl_harness_create(const wtl_layer_case *c);
void wtl_harness_free(wtl_layer_harness *h);

/* check, shape and setup alone: for refusals. */
wtl_status wtl_harness_plan(const wtl_layer_case *c, wtl_shape *out, wtl_error *err);

void wtl_harness_forward(wtl_layer_harness *h);
/* Adds to h->gradient, as in a net that has not cleared them. */
void wtl_harness_backward(wtl_layer_harness *h);

/* Central differences of sum(dy * y) by every input and every trained parameter against
 * backward: |difference - gradient| <= tolerance * max(1, |gradient|). y is float: its last
 * bits over 2 * step are the error that the tolerance must cover. Layers linear in what is
 * stepped can take step 0.5. `c` must not fuse. */
void wtl_harness_check_gradients(const wtl_layer_case *c, double step, double tolerance);

/* Both engines on equal numbers: y, and in training dx and gradients (added to the same
 * start), agree; c->engine does not matter. */
void wtl_harness_check_engines(const wtl_layer_case *c, double tolerance);

/* The native engine in blocks against the reference engine: plain C by one thread, AVX2 by two
 * and AVX-512 by three, as far as the processor has them, each twice for the same bytes. */
void wtl_harness_check_blocked(const wtl_layer_case *c, double tolerance);

/* The same bytes from a second layer run on the same numbers. */
void wtl_harness_check_repeats(const wtl_layer_case *c);

/* `check` each of `rows` cases: the reference engine on two images, then the BLAS engine on 1, 2,
 * 3 and 5 images by 1, 2 and 3 threads. */
void wtl_harness_over_batches(int rows,
                              void (*check)(int row, int n, int threads, wtl_engine engine));

/* The same bytes with 1, 2 and 3 threads: for layers whose sums do not depend on them. Give
 * it enough floats (some 16384 a thread) for the layer to use them all. */
void wtl_harness_check_threads(const wtl_layer_case *c);

#endif
