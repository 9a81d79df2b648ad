#include "picture_files.h"
#include "tiny_run.h"
#include "wtl_test.h"

#include "wattle/evaluate.h"
#include "wattle/file.h"
#include "wattle/finetune.h"
#include "wattle/loss.h"
#include "wattle/mask.h"
#include "wattle/rng.h"
#include "wattle/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Of the 60 pictures of tiny_run.h 6 are held out: the other 54 are 7 batches of 8, the last one
 * short. */
enum { SIDE = WTL_TINY_SIDE, TRAIN = 54, CLASSES = 4, BATCH = 8, BATCHES = 7 };

static wtl_dataset *open_data(void)
{
    static bool written;
    char data[4400];
    if (!written) {
        wtl_tiny_data("data");
        written = true;
    }
    wtl_dataset *dataset;
    snprintf(data, sizeof data, "idx:%s@train", wtl_test_path("data"));
    assert_ok(wtl_dataset_open(&dataset, data, NULL, NULL));
    assert_int_equal(wtl_dataset_count(dataset), TRAIN);
    return dataset;
}

static const char linear_text[] =
    "net linear\n"
    "classes 4\n"
    "input data 1x6x6\n"
    "preprocess order=rgb resize=none scale=0.004 mean=0.5 std=0.3\n"
    "d = dense data out=classes\n"
    "p = softmax d\n";

static wtl_net *net_of(const char *text, int batch, bool training, uint64_t seed)
{
    wtl_netdef *def;
    wtl_net *net;
    const wtl_net_options options = {.batch = batch, .training = training, .seed = 3};
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "test.net", NULL, NULL));
    assert_ok(wtl_net_create(&net, def, &options, NULL));
    wtl_netdef_free(def);
    wtl_net_init(net, seed);
    return net;
}

/* Everything that a fine-tuning needs, made anew for each: equal ones must go equal ways. */
typedef struct rig {
    wtl_dataset *dataset;
    wtl_net *net, *teacher;
    wtl_batcher *batcher;
    wtl_finetune *tune;
    wtl_finetune_state state;
} rig;

static wtl_finetune_options tune_options(wtl_optimizer_kind kind)
{
    return (wtl_finetune_options){
        .optimizer = {.kind = kind, .momentum = 0.9, .weight_decay = 0.01, .ema = 0.7},
        .rate = 0.02,
        .final_share = 0.1,
        .smoothing = 0.1f,
    };
}

static wtl_finetune_options taught(wtl_optimizer_kind kind)
{
    wtl_finetune_options options = tune_options(kind);
    options.distill = 0.6;
    options.temperature = 3.0;
    return options;
}

/* Prune every third weight of each parameter; the values are not touched. */
static void set_masks(wtl_net *net)
{
    wtl_param *params[8];
    int count = wtl_mask_params(net, params, 8);
    assert_true(count >= 1 && count <= 8);
    for (int i = 0; i < count; i++) {
        assert_ok(wtl_mask_make(params[i], NULL));
        for (size_t j = 0; j < params[i]->count; j++) {
            params[i]->mask[j] = j % 3 == 1 ? 0.0f : 1.0f;
        }
    }
}

static rig open_rig(const char *text, wtl_finetune_options options, bool masked)
{
    rig r = {.dataset = open_data(),
             .net = net_of(text, BATCH, true, 5),
             .teacher = options.distill > 0.0 ? net_of(wtl_tiny_net, BATCH, false, 6) : NULL,
             .state = {.steps = 9}};
    const wtl_batch_options batches = {.batch = BATCH,
                                       .preprocess = wtl_net_def(r.net)->preprocess,
                                       .augment = {.flip = true, .pad = 1},
                                       .seed = 9,
                                       .shuffle = true,
                                       .workers = 2};
    if (masked) {
        set_masks(r.net);
        wtl_mask_apply_net(r.net);
    }
    assert_ok(wtl_batcher_create(&r.batcher, r.dataset, &batches, NULL));
    assert_int_equal(wtl_batcher_count(r.batcher), BATCHES);
    assert_ok(wtl_finetune_create(&r.tune, r.net, r.teacher, r.batcher, &options, NULL));
    return r;
}

static void close_rig(rig *r)
{
    wtl_finetune_free(r->tune);
    wtl_batcher_free(r->batcher);
    wtl_net_free(r->teacher);
    wtl_net_free(r->net);
    wtl_dataset_free(r->dataset);
}

static void run(rig *r)
{
    assert_ok(wtl_finetune_run(r->tune, &r->state, NULL, NULL, NULL));
    assert_int_equal(r->state.step, r->state.steps);
}

static void assert_same_net(wtl_net *a, wtl_net *b)
{
    assert_int_equal(wtl_net_param_count(a), wtl_net_param_count(b));
    for (int i = 0; i < wtl_net_param_count(a); i++) {
        const wtl_param *p = wtl_net_param(a, i), *q = wtl_net_param(b, i);
        assert_int_equal(p->count, q->count);
        if (memcmp(p->value, q->value, p->count * sizeof(float)) != 0) {
            fail_msg("%s differs", p->name);
        }
    }
}

static void assert_same_state(const wtl_finetune_state *a, const wtl_finetune_state *b)
{
    assert_int_equal(a->position, b->position);
    assert_int_equal(a->step, b->step);
    assert_int_equal(a->steps, b->steps);
    assert_close(a->rate, b->rate, 0.0);
    assert_close(a->loss, b->loss, 0.0);
    assert_int_equal(a->top1, b->top1);
    assert_int_equal(a->images, b->images);
}

/* Weights and all that the optimiser remembers; ends with the averages in either net. */
static void assert_same(rig *a, rig *b)
{
    assert_same_state(&a->state, &b->state);
    assert_same_net(a->net, b->net);
    wtl_finetune_swap_ema(a->tune);
    wtl_finetune_swap_ema(b->tune);
    assert_same_net(a->net, b->net);
}

/* ---- distillation ---- */

/* z = (2 ln 3, 0) at T = 2 is p = (3/4, 1/4); the teacher's q = (1/2, 1/2):
 * KL = (ln(2/3) + ln 2) / 2 = ln(4/3) / 2, and a T^2 KL = ln(4/3) for a = 1/2. */
static void distillation_of_two_classes_is_as_worked_by_hand(void **state)
{
    (void)state;
    const float z[2] = {2.0f * logf(3.0f), 0.0f}, teacher[2] = {5.0f, 5.0f};
    float gradient[2] = {1.0f, -2.0f};
    static const float want[2] = {0.5625f, -1.0625f}; /* g/2 + 1/4 * 1/2 * 2 * (+-1/4) */
    assert_close(wtl_distill(1, 2, z, teacher, 0.5, 2.0, 0.25f, gradient), log(4.0 / 3.0),
                 1e-7); /* ln 3 is rounded to float */
    assert_all_close(gradient, want, 2, 1e-7);
}

/* q = (1, 0), p = (0, 1) as far as doubles go: KL = 1 * (0 - (-2000)), no 0 * infinity. */
static void distillation_survives_logits_far_apart(void **state)
{
    (void)state;
    static const float z[2] = {-1000.0f, 1000.0f}, teacher[2] = {1000.0f, -1000.0f};
    float gradient[2] = {7.0f, 7.0f};
    static const float want[2] = {-1.0f, 1.0f};
    assert_close(wtl_distill(1, 2, z, teacher, 1.0, 1.0, 1.0f, gradient), 2000.0, 0.0);
    assert_all_close(gradient, want, 2, 0.0);
}

/* The definition in double: (1-a) CE + a T^2 KL summed over n images of k classes. */
static double mixed_loss(int n, int k, const double *z, const double *teacher,
                         const int *labels, double smoothing, double a, double t)
{
    double loss = 0.0;
    for (int i = 0; i < n; i++) {
        double sum = 0.0, sum_p = 0.0, sum_q = 0.0;
        for (int j = 0; j < k; j++) {
            sum += exp(z[i * k + j]);
            sum_p += exp(z[i * k + j] / t);
            sum_q += exp(teacher[i * k + j] / t);
        }
        for (int j = 0; j < k; j++) {
            double target = smoothing / k + (j == labels[i] ? 1.0 - smoothing : 0.0);
            double p = exp(z[i * k + j] / t) / sum_p, q = exp(teacher[i * k + j] / t) / sum_q;
            loss -= (1.0 - a) * target * log(exp(z[i * k + j]) / sum);
            loss += a * t * t * q * log(q / p);
        }
    }
    return loss;
}

static void distillation_gradient_is_that_of_central_differences(void **state)
{
    (void)state;
    enum { N = 3, K = 5 };
    static const int labels[N] = {4, 0, 2};
    static const double cases[][2] = {{0.3, 3.0}, {1.0, 1.0}, {0.9, 0.5}, {0.5, 20.0}};
    float z[N * K], teacher[N * K], gradient[N * K], want[N * K];
    double wide[N * K], wide_teacher[N * K];
    wtl_fill_random(z, N * K, 1);
    wtl_fill_random(teacher, N * K, 2);
    for (int i = 0; i < N * K; i++) {
        z[i] *= 3.0f;
        teacher[i] *= 3.0f;
        wide[i] = (double)z[i];
        wide_teacher[i] = (double)teacher[i];
    }
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        const double a = cases[c][0], t = cases[c][1], h = 1e-4, scale = 0.25;
        for (int i = 0; i < N * K; i++) {
            double at = wide[i], up, down;
            wide[i] = at + h;
            up = mixed_loss(N, K, wide, wide_teacher, labels, 0.1, a, t);
            wide[i] = at - h;
            down = mixed_loss(N, K, wide, wide_teacher, labels, 0.1, a, t);
            wide[i] = at;
            want[i] = (float)(scale * (up - down) / (2.0 * h));
        }
        double loss = wtl_cross_entropy(N, K, z, labels, 0.1f, (float)scale, gradient, NULL);
        loss *= 1.0 - a;
        loss += wtl_distill(N, K, z, teacher, a, t, (float)scale, gradient);
        /* The smoothing 0.1f is a float. */
        assert_close(loss, mixed_loss(N, K, wide, wide_teacher, labels, 0.1, a, t), 1e-6);
        assert_all_close(gradient, want, N * K, 1e-6); /* h^2 and a few float roundings */
    }
}

/* ---- one step, by its definition ---- */

static double linear_loss(const double *w, const wtl_batch *batch, const double *teacher,
                          double a, double t)
{
    enum { D = SIDE * SIDE };
    double z[BATCH * CLASSES];
    for (int i = 0; i < batch->count; i++) {
        for (int k = 0; k < CLASSES; k++) {
            double sum = 0.0; /* biases are 0 */
            for (int p = 0; p < D; p++) {
                sum += w[k * D + p] * (double)batch->images[i * D + p];
            }
            z[i * CLASSES + k] = sum;
        }
    }
    return mixed_loss(batch->count, CLASSES, z, teacher, batch->labels, 0.1, a, t);
}

/* Plain SGD at rate 1/2: the step is half the gradient of the mean of the mixed loss, and
 * state.loss is its sum. */
static void a_step_follows_the_gradient_of_the_mixed_loss(void **state)
{
    (void)state;
    enum { COUNT = CLASSES * SIDE * SIDE };
    wtl_finetune_options options = taught(WTL_OPTIMIZER_SGD);
    options.optimizer = (wtl_optimizer_options){.kind = WTL_OPTIMIZER_SGD};
    options.rate = 0.5;
    rig r = open_rig(linear_text, options, false);
    const wtl_param *param = wtl_net_find_param(r.net, "d.weight");
    double w[COUNT], teacher[BATCH * CLASSES];
    float want[COUNT];
    for (int i = 0; i < COUNT; i++) {
        w[i] = (double)param->value[i];
    }
    wtl_batch batch;
    assert_ok(wtl_batcher_start(r.batcher, 0, 0, NULL));
    assert_ok(wtl_batcher_next(r.batcher, &batch, NULL));
    memcpy(wtl_net_input(r.teacher), batch.images,
           (size_t)batch.count * SIDE * SIDE * sizeof(float));
    wtl_net_forward(r.teacher, batch.count, WTL_RUN_INFERENCE, 0);
    for (int i = 0; i < BATCH * CLASSES; i++) {
        teacher[i] = (double)wtl_net_main_head(r.teacher)->logits[i];
    }
    double loss = linear_loss(w, &batch, teacher, 0.6, 3.0);
    for (int i = 0; i < COUNT; i++) {
        const double h = 1e-4;
        w[i] += h;
        double up = linear_loss(w, &batch, teacher, 0.6, 3.0);
        w[i] -= 2.0 * h;
        double down = linear_loss(w, &batch, teacher, 0.6, 3.0);
        w[i] += h;
        want[i] = (float)(w[i] - 0.5 * (up - down) / (2.0 * h) / BATCH);
    }
    r.state.steps = 1;
    run(&r);
    assert_all_close(param->value, want, COUNT, 1e-6); /* h^2, float sums of 36 */
    assert_close(r.state.loss, loss, 1e-5);
    assert_int_equal(r.state.images, BATCH);
    assert_int_equal(r.state.position, 1);
    close_rig(&r);
}

/* The loop written out: batches of epoch p / 7, dropout keyed by p, the rate along half a
 * cosine. */
static void train_plainly(rig *r, const wtl_finetune_options *o, uint64_t position,
                          uint64_t steps, wtl_scores *scores)
{
    const double pi = 3.14159265358979323846;
    wtl_optimizer *optimizer;
    assert_ok(wtl_optimizer_create(&optimizer, r->net, &o->optimizer, NULL));
    for (uint64_t s = 0; s < steps; s++, position++) {
        wtl_batch batch;
        double share = o->final_share + (1.0 - o->final_share) *
                                            (1.0 + cos(pi * (double)s / (double)steps)) / 2.0;
        assert_ok(wtl_batcher_start(r->batcher, position / BATCHES,
                                    (size_t)(position % BATCHES), NULL));
        assert_ok(wtl_batcher_next(r->batcher, &batch, NULL));
        memcpy(wtl_net_input(r->net), batch.images,
               (size_t)batch.count * SIDE * SIDE * sizeof(float));
        wtl_net_forward(r->net, batch.count, WTL_RUN_TRAINING, position);
        (void)wtl_net_loss(r->net, batch.count, batch.labels, o->smoothing, scores);
        wtl_net_backward(r->net, batch.count);
        assert_false(isnan(wtl_optimizer_step(optimizer, o->rate * share)));
    }
    wtl_optimizer_free(optimizer);
}

static void without_distillation_it_is_plain_training_bit_for_bit(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        const wtl_finetune_options options = tune_options((wtl_optimizer_kind)kind);
        wtl_finetune_options other_rate = options;
        other_rate.rate = 77.0; /* the state's counts */
        rig plain = open_rig(wtl_tiny_net, options, true);
        rig tuned = open_rig(wtl_tiny_net, options, true);
        rig rated = open_rig(wtl_tiny_net, other_rate, true);
        wtl_scores scores = {0};
        train_plainly(&plain, &options, 5, 9, &scores);
        tuned.state.position = rated.state.position = 5;
        rated.state.rate = options.rate;
        run(&tuned);
        run(&rated);
        assert_same_net(tuned.net, plain.net);
        assert_same_net(rated.net, plain.net);
        assert_int_equal(tuned.state.position, 14);
        /* Batches 6 and 13 are the short ones. */
        assert_int_equal(tuned.state.images, 7 * BATCH + 2 * (TRAIN - 6 * BATCH));
        assert_int_equal(tuned.state.images, scores.images);
        assert_int_equal(tuned.state.top1, scores.top1);
        assert_close(tuned.state.loss, scores.loss, 0.0);
        close_rig(&rated);
        close_rig(&tuned);
        close_rig(&plain);
    }
}

/* Every third one is +0.0f, bit for bit, and the others live. */
static void assert_held(wtl_net *net)
{
    static const float zero = 0.0f;
    wtl_param *params[8];
    int count = wtl_mask_params(net, params, 8), alive = 0;
    assert_true(count >= 1 && count <= 8);
    for (int i = 0; i < count; i++) {
        for (size_t j = 0; j < params[i]->count; j++) {
            alive += params[i]->value[j] != 0.0f;
            if (j % 3 == 1 && memcmp(&params[i]->value[j], &zero, sizeof zero) != 0) {
                fail_msg("%s[%zu] is %g", params[i]->name, j, (double)params[i]->value[j]);
            }
        }
    }
    assert_true(alive > 10);
}

/* ---- resuming ---- */

static void save(rig *r, const char *name)
{
    wtl_checkpoint *checkpoint;
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_ok(wtl_checkpoint_add_net(checkpoint, r->net, NULL));
    assert_ok(wtl_finetune_save(r->tune, checkpoint, NULL));
    assert_ok(wtl_checkpoint_write(checkpoint, wtl_test_path(name), NULL));
    wtl_checkpoint_free(checkpoint);
}

static void load(rig *r, const char *name, bool weights)
{
    wtl_checkpoint *checkpoint;
    assert_ok(wtl_checkpoint_read(&checkpoint, wtl_test_path(name), NULL));
    if (weights) {
        assert_ok(wtl_checkpoint_fill_net(checkpoint, r->net, NULL));
        assert_held(r->net);
    }
    assert_ok(wtl_finetune_load(r->tune, checkpoint, NULL));
    wtl_checkpoint_free(checkpoint);
}

static int leave_at(void *context, const wtl_finetune_state *state)
{
    return state->step == *(const uint64_t *)context;
}

static void seven_steps_are_three_saved_and_loaded_and_four(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        const wtl_finetune_options options = taught((wtl_optimizer_kind)kind);
        rig whole = open_rig(wtl_tiny_net, options, true);
        rig first = open_rig(wtl_tiny_net, options, true);
        rig then = open_rig(wtl_tiny_net, options, false);
        uint64_t three = 3;
        whole.state = first.state = (wtl_finetune_state){.position = 4, .steps = 7};
        run(&whole);
        assert_ok(wtl_finetune_run(first.tune, &first.state, leave_at, &three, NULL));
        assert_int_equal(first.state.step, 3);
        save(&first, "three.wtl");
        load(&then, "three.wtl", true);
        then.state = first.state;
        run(&then);
        assert_same(&then, &whole);
        close_rig(&then);
        close_rig(&first);
        close_rig(&whole);
    }
}

static int leave_always(void *context, const wtl_finetune_state *state)
{
    (void)state;
    ++*(int *)context;
    return 1;
}

static void leaving_after_every_step_changes_nothing(void **state)
{
    (void)state;
    const wtl_finetune_options options = taught(WTL_OPTIMIZER_NESTEROV);
    rig whole = open_rig(wtl_tiny_net, options, true);
    rig parts = open_rig(wtl_tiny_net, options, true);
    int calls = 0;
    run(&whole);
    for (uint64_t i = 0; i < 9; i++) {
        assert_int_equal(parts.state.step, i);
        assert_ok(wtl_finetune_run(parts.tune, &parts.state, leave_always, &calls, NULL));
    }
    assert_same(&parts, &whole);
    /* Done is done. */
    assert_ok(wtl_finetune_run(parts.tune, &parts.state, leave_always, &calls, NULL));
    assert_int_equal(calls, 9);
    assert_same_state(&parts.state, &whole.state);
    close_rig(&parts);
    close_rig(&whole);
}

static void after_a_reset_it_is_as_if_it_were_new(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        const wtl_finetune_options options = tune_options((wtl_optimizer_kind)kind);
        rig used = open_rig(wtl_tiny_net, options, true);
        rig fresh = open_rig(wtl_tiny_net, options, true);
        run(&used);
        assert_ok(wtl_net_copy_params(fresh.net, used.net, NULL));
        wtl_finetune_free(fresh.tune); /* its averages begin at the new weights */
        assert_ok(
            wtl_finetune_create(&fresh.tune, fresh.net, NULL, fresh.batcher, &options, NULL));
        wtl_finetune_reset(used.tune);
        used.state = fresh.state = (wtl_finetune_state){.position = 9, .steps = 3};
        run(&used);
        run(&fresh);
        assert_same(&used, &fresh);
        close_rig(&fresh);
        close_rig(&used);
    }
}

/* ---- masked weights ---- */

static int assert_held_after_step(void *context, const wtl_finetune_state *state)
{
    (void)state;
    assert_held(context);
    return 0;
}

static void run_held(rig *r)
{
    r->state.step = 0;
    r->state.steps = 5;
    assert_ok(wtl_finetune_run(r->tune, &r->state, assert_held_after_step, r->net, NULL));
    assert_held(r->net);
}

/* Whether a masked weight has a gradient. */
static bool pulled(const wtl_param *param)
{
    for (size_t j = 1; j < param->count; j += 3) {
        if (param->gradient[j] != 0.0f) {
            return true;
        }
    }
    return false;
}

static void gradient_revives_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        rig r = open_rig(wtl_tiny_net, tune_options((wtl_optimizer_kind)kind), true);
        run_held(&r);
        /* There was a gradient to hold against. */
        assert_true(pulled(wtl_net_find_param(r.net, "d.weight")));
        assert_true(pulled(wtl_net_find_param(r.net, "c.weight")));
        close_rig(&r);
    }
}

static void distillation_revives_nothing(void **state)
{
    (void)state;
    wtl_finetune_options options = taught(WTL_OPTIMIZER_NESTEROV);
    options.distill = 1.0;
    rig r = open_rig(wtl_tiny_net, options, true);
    run_held(&r);
    assert_true(pulled(wtl_net_find_param(r.net, "c.weight")));
    close_rig(&r);
}

/* Momentum, Adam's moments and averages from before there was a mask, and no reset. */
static void momentum_moments_and_averages_of_old_revive_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        rig r = open_rig(wtl_tiny_net, tune_options((wtl_optimizer_kind)kind), false);
        run(&r);
        set_masks(r.net);
        run_held(&r);
        wtl_finetune_swap_ema(r.tune);
        assert_held(r.net);
        wtl_finetune_swap_ema(r.tune);
        assert_held(r.net);
        close_rig(&r);
    }
}

static void averages_older_than_the_mask_revive_nothing(void **state)
{
    (void)state;
    rig r = open_rig(wtl_tiny_net, tune_options(WTL_OPTIMIZER_SGD), false);
    run(&r);
    set_masks(r.net);
    wtl_mask_apply_net(r.net);
    wtl_finetune_swap_ema(r.tune);
    assert_held(r.net);
    wtl_finetune_swap_ema(r.tune);
    assert_held(r.net);
    close_rig(&r);
}

/* Rate 1, decay 0.9: a weight that decayed from something would not be 0. */
static void weight_decay_leaves_a_pruned_weight_at_zero(void **state)
{
    (void)state;
    wtl_finetune_options options = tune_options(WTL_OPTIMIZER_ADAM);
    options.optimizer.weight_decay = 0.9;
    options.optimizer.decay_all = true;
    rig r = open_rig(wtl_tiny_net, options, true);
    run_held(&r);
    close_rig(&r);
}

/* Someone wrote into pruned weights and forgot wtl_mask_apply(): not even the first step sees
 * them. */
static void what_is_written_under_a_mask_is_never_seen(void **state)
{
    (void)state;
    const wtl_finetune_options options = tune_options(WTL_OPTIMIZER_NESTEROV);
    rig r = open_rig(wtl_tiny_net, options, true),
        never = open_rig(wtl_tiny_net, options, true);
    for (size_t j = 1; j < 30; j += 3) {
        wtl_net_find_param(r.net, "d.weight")->value[j] = 5.0f;
    }
    run_held(&r);
    run_held(&never);
    assert_same(&r, &never);
    close_rig(&never);
    close_rig(&r);
}

static void a_checkpoint_revives_nothing(void **state)
{
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        /* It has masks, and weights and momentum that are not 0 under them. */
        rig dense = open_rig(wtl_tiny_net, tune_options((wtl_optimizer_kind)kind), false);
        run(&dense);
        set_masks(dense.net);
        save(&dense, "spoiled.wtl");
        rig r = open_rig(wtl_tiny_net, tune_options((wtl_optimizer_kind)kind), false);
        load(&r, "spoiled.wtl", true);
        assert_held(r.net);
        run_held(&r);
        wtl_finetune_swap_ema(r.tune);
        assert_held(r.net);
        save(&r, "clean.wtl");
        load(&r, "clean.wtl", true);
        assert_held(r.net);
        /* Its optimiser's state alone, into a net with masks. */
        rig other = open_rig(wtl_tiny_net, tune_options((wtl_optimizer_kind)kind), true);
        load(&other, "spoiled.wtl", false);
        assert_held(other.net);
        wtl_finetune_swap_ema(other.tune);
        assert_held(other.net);
        run_held(&other);
        close_rig(&other);
        close_rig(&r);
        close_rig(&dense);
    }
}

static void recalibration_revives_nothing(void **state)
{
    (void)state;
    rig r = open_rig(wtl_tiny_net, tune_options(WTL_OPTIMIZER_NESTEROV), true);
    run_held(&r);
    float before = wtl_net_find_param(r.net, "b.running_mean")->value[0];
    assert_ok(wtl_recalibrate(r.net, r.batcher, 3, NULL));
    assert_true(wtl_net_find_param(r.net, "b.running_mean")->value[0] != before);
    assert_held(r.net);
    close_rig(&r);
}

/* ---- failures ---- */

/* The next call fails with `text` and changes nothing: another net that never failed goes the
 * same way once the cause, one weight, is put back. */
static void assert_fails_without_trace(rig *r, rig *never, float *cause, float spoiled,
                                       const char *text)
{
    wtl_error err;
    uint64_t two = 2;
    assert_ok(wtl_finetune_run(r->tune, &r->state, leave_at, &two, NULL));
    const float good = *cause;
    *cause = spoiled;
    assert_fails(wtl_finetune_run(r->tune, &r->state, NULL, NULL, &err), WTL_E_NAN, &err, text);
    assert_int_equal(r->state.step, 2);
    assert_int_equal(r->state.position, 2);
    *cause = good;
    run(r);
    run(never);
    assert_same(r, never);
}

static void a_loss_that_is_no_number_leaves_no_trace(void **state)
{
    (void)state;
    const wtl_finetune_options options = taught(WTL_OPTIMIZER_ADAM);
    rig r = open_rig(wtl_tiny_net, options, true),
        never = open_rig(wtl_tiny_net, options, true);
    assert_fails_without_trace(&r, &never, wtl_net_find_param(r.net, "d.weight")->value, NAN,
                               "fine-tuning: step 3 of 9: the loss is not finite; a lower "
                               "learning rate or clipping may help");
    close_rig(&never);
    close_rig(&r);
}

static void a_teacher_that_is_no_number_leaves_no_trace(void **state)
{
    (void)state;
    const wtl_finetune_options options = taught(WTL_OPTIMIZER_SGD);
    rig r = open_rig(wtl_tiny_net, options, true),
        never = open_rig(wtl_tiny_net, options, true);
    assert_fails_without_trace(&r, &never, wtl_net_find_param(r.teacher, "d.bias")->value,
                               INFINITY,
                               "fine-tuning: step 3 of 9: the loss is not finite; a lower "
                               "learning rate or clipping may help");
    close_rig(&never);
    close_rig(&r);
}

/* With a.weight 0 the logits are 0, whatever d.weight; the gradient of a.weight is not. */
static const char steep_text[] =
    "net steep\n"
    "classes 4\n"
    "input data 1x6x6\n"
    "preprocess order=rgb resize=none scale=0.004 mean=0.5 std=0.3\n"
    "n = batchnorm data\n"
    "a = dense n out=2 bias=no\n"
    "d = dense a out=classes\n"
    "p = softmax d\n";

static void a_gradient_that_is_no_number_leaves_no_trace(void **state)
{
    (void)state;
    static const char *const spoiled[] = {"n.weight", "a.weight", "d.weight"};
    static const float size[] = {1000.0f, 0.0f, 3e38f};
    const wtl_finetune_options options = tune_options(WTL_OPTIMIZER_NESTEROV);
    rig r = open_rig(steep_text, options, false), never = open_rig(steep_text, options, false);
    for (int i = 0; i < 3; i++) {
        wtl_param *param = wtl_net_find_param(r.net, spoiled[i]);
        for (size_t j = 0; j < param->count; j++) { /* d.weight [4,2]: row 0 against the rest */
            param->value[j] = j < 2 && i == 2 ? -size[i] : size[i];
        }
    }
    wtl_error err;
    assert_fails(wtl_finetune_run(r.tune, &r.state, NULL, NULL, &err), WTL_E_NAN, &err,
                 "fine-tuning: step 1 of 9: the gradient is not finite; a lower learning rate "
                 "or clipping may help");
    assert_same_state(&r.state, &never.state);
    for (int i = 0; i < 3; i++) {
        wtl_param *param = wtl_net_find_param(r.net, spoiled[i]);
        memcpy(param->value, wtl_net_find_param(never.net, spoiled[i])->value,
               param->count * sizeof(float));
    }
    run(&r);
    run(&never);
    assert_same(&r, &never);
    close_rig(&never);
    close_rig(&r);
}

/* ---- pictures that cannot be read ---- */

/* Exchange the rig's batches for ones of a single picture: `count` of 6x6, those that are
 * multiples of `every` no pictures. */
static void damage(rig *r, int count, int every)
{
    wtl_text list = {0};
    char name[64], data[4400];
    assert_ok(wtl_make_folder(wtl_test_path("bad"), NULL));
    for (int i = 0; i < count; i++) {
        unsigned char pixels[SIDE * SIDE];
        memset(pixels, 20 * i + 1, sizeof pixels);
        snprintf(name, sizeof name, "bad/%d.png", i);
        if (i % every == 0) {
            wtl_test_write(wtl_test_path(name), "no picture", 10);
        } else {
            wtl_test_write_png(wtl_test_path(name), SIDE, SIDE, 1, pixels);
        }
        wtl_text_printf(&list, "%s %d\n", name + 4, i % CLASSES);
    }
    wtl_test_write(wtl_test_path("bad/list.txt"), list.bytes, list.length);
    wtl_text_clear(&list);
    wtl_finetune_free(r->tune);
    wtl_batcher_free(r->batcher);
    wtl_dataset_free(r->dataset);
    snprintf(data, sizeof data, "list:%s@test", wtl_test_path("bad/list.txt"));
    assert_ok(wtl_dataset_open(&r->dataset, data, NULL, NULL));
    const wtl_batch_options batches = {.batch = 1,
                                       .preprocess = wtl_net_def(r->net)->preprocess,
                                       .seed = 4,
                                       .shuffle = true,
                                       .most_unreadable = 0.9};
    const wtl_finetune_options options = tune_options(WTL_OPTIMIZER_SGD);
    assert_ok(wtl_batcher_create(&r->batcher, r->dataset, &batches, NULL));
    assert_ok(wtl_finetune_create(&r->tune, r->net, NULL, r->batcher, &options, NULL));
}

static int note_positions(void *context, const wtl_finetune_state *state)
{
    ((uint64_t *)context)[state->step - 1] = state->position - 1;
    return 0;
}

/* 0 and 4 of 7 are no pictures: 5 steps an epoch of 7 positions. */
static void batches_without_a_picture_keep_their_positions(void **state)
{
    (void)state;
    enum { STEPS = 23, COUNT = 7 };
    uint64_t want[STEPS], got[STEPS], again[STEPS];
    rig r = open_rig(linear_text, tune_options(WTL_OPTIMIZER_SGD), false);
    damage(&r, COUNT, 4);
    for (uint64_t epoch = 0, found = 0; found < STEPS; epoch++) {
        wtl_batch batch = {.count = 1};
        assert_ok(wtl_batcher_start(r.batcher, epoch, 0, NULL));
        while (batch.count > 0 && found < STEPS) {
            assert_ok(wtl_batcher_next(r.batcher, &batch, NULL));
            if (batch.count > 0) {
                want[found++] = epoch * COUNT + batch.number;
            }
        }
    }
    r.state.steps = STEPS;
    assert_ok(wtl_finetune_run(r.tune, &r.state, note_positions, got, NULL));
    assert_memory_equal(got, want, sizeof want);
    assert_int_equal(r.state.images, STEPS);
    /* The first epoch has five pictures. */
    assert_true(want[4] < COUNT && want[5] >= COUNT);
    /* In two parts it is the same, wherever the cut. */
    for (uint64_t cut = 1; cut < STEPS; cut += 3) {
        r.state = (wtl_finetune_state){.steps = cut};
        assert_ok(wtl_finetune_run(r.tune, &r.state, note_positions, again, NULL));
        r.state = (wtl_finetune_state){.position = r.state.position, .steps = STEPS - cut};
        assert_ok(wtl_finetune_run(r.tune, &r.state, note_positions, again + cut, NULL));
        assert_memory_equal(again, want, sizeof want);
    }
    close_rig(&r);
}

static void without_any_picture_it_fails_and_does_not_wait(void **state)
{
    (void)state;
    wtl_error err;
    rig r = open_rig(linear_text, tune_options(WTL_OPTIMIZER_SGD), false);
    damage(&r, 1, 1);
    assert_fails(wtl_finetune_run(r.tune, &r.state, NULL, NULL, &err), WTL_E_FORMAT, &err,
                 "fine-tuning: not one image of an epoch could be read");
    assert_int_equal(r.state.position, 0);
    close_rig(&r);
}

/* ---- refusals ---- */

static void options_out_of_range_are_refused(void **state)
{
    (void)state;
    const wtl_finetune_options good = taught(WTL_OPTIMIZER_SGD);
    rig r = open_rig(wtl_tiny_net, good, true);
    const struct {
        wtl_finetune_options options;
        const char *message;
    } cases[] = {
        {{.rate = -1}, "fine-tuning: rate is -1, must be from 0 to 1e+06"},
        {{.rate = NAN}, "fine-tuning: rate is nan, must be from 0 to 1e+06"},
        {{.final_share = 1.5}, "fine-tuning: final_share is 1.5, must be from 0 to 1"},
        {{.smoothing = 2.0f}, "fine-tuning: smoothing is 2, must be from 0 to 1"},
        {{.distill = 1.25}, "fine-tuning: distill is 1.25, must be from 0 to 1"},
        {{.temperature = -2}, "fine-tuning: temperature is -2, must be from 0.01 to 1000"},
        {{.optimizer = {.momentum = 1}},
         "optimizer: momentum is 1, must be at least 0 and below 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_error err;
        wtl_finetune *tune = r.tune;
        assert_fails(
            wtl_finetune_create(&tune, r.net, r.teacher, r.batcher, &cases[i].options, &err),
            WTL_E_RANGE, &err, cases[i].message);
        assert_null(tune);
    }
    close_rig(&r);
}

static void nets_that_do_not_fit_are_refused(void **state)
{
    (void)state;
    static const char wide_text[] = "net wide\nclasses 5\ninput data 1x6x6\n"
                                    "d = dense data out=classes\np = softmax d\n";
    static const char tall_text[] = "net tall\nclasses 4\ninput data 1x7x6\n"
                                    "d = dense data out=classes\np = softmax d\n";
    const wtl_finetune_options options = taught(WTL_OPTIMIZER_SGD);
    rig r = open_rig(wtl_tiny_net, options, true);
    wtl_net *wide = net_of(wide_text, BATCH, false, 1), *tall = net_of(tall_text, 9, false, 1);
    wtl_net *narrow = net_of(wtl_tiny_net, BATCH - 1, false, 1);
    wtl_net *small = net_of(wtl_tiny_net, BATCH - 1, true, 1);
    wtl_finetune *tune = NULL;
    wtl_error err;
    const struct {
        wtl_net *net, *teacher;
        wtl_status status;
        const char *message;
    } cases[] = {
        {r.net, NULL, WTL_E_ARG, "fine-tuning: distillation of 0.6 without a teacher"},
        {r.teacher, r.teacher, WTL_E_ARG, "fine-tuning: net rich is not planned for training"},
        {r.net, wide, WTL_E_SHAPE,
         "fine-tuning: net rich tells 4 classes apart, its teacher wide 5"},
        {r.net, tall, WTL_E_SHAPE, "fine-tuning: net rich takes 1x6x6, its teacher tall 1x7x6"},
        {r.net, narrow, WTL_E_SHAPE, "fine-tuning: batches of 8, the teacher is planned for 7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_fails(wtl_finetune_create(&tune, cases[i].net, cases[i].teacher, r.batcher,
                                         &options, &err),
                     cases[i].status, &err, cases[i].message);
        assert_null(tune);
    }
    assert_ok(wtl_finetune_create(&tune, small, narrow, r.batcher, &options, NULL));
    assert_fails(wtl_finetune_run(tune, &r.state, NULL, NULL, &err), WTL_E_SHAPE, &err,
                 "fine-tuning: batches of 8, the net takes 7");
    assert_int_equal(r.state.position, 0);
    wtl_finetune_free(tune);
    wtl_net_free(small);
    wtl_net_free(narrow);
    wtl_net_free(tall);
    wtl_net_free(wide);
    close_rig(&r);
}

static wtl_status create_again(void *context)
{
    const rig *r = context;
    const wtl_finetune_options options = taught(WTL_OPTIMIZER_ADAM);
    wtl_finetune *tune = NULL;
    wtl_status status =
        wtl_finetune_create(&tune, r->net, r->teacher, r->batcher, &options, NULL);
    wtl_finetune_free(tune);
    return status;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    rig r = open_rig(wtl_tiny_net, taught(WTL_OPTIMIZER_ADAM), true);
    wtl_test_every_allocation_fails(create_again, &r);
    close_rig(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(distillation_of_two_classes_is_as_worked_by_hand),
        WTL_TEST(distillation_survives_logits_far_apart),
        WTL_TEST(distillation_gradient_is_that_of_central_differences),
        WTL_TEST(a_step_follows_the_gradient_of_the_mixed_loss),
        WTL_TEST(without_distillation_it_is_plain_training_bit_for_bit),
        WTL_TEST(seven_steps_are_three_saved_and_loaded_and_four),
        WTL_TEST(leaving_after_every_step_changes_nothing),
        WTL_TEST(after_a_reset_it_is_as_if_it_were_new),
        WTL_TEST(gradient_revives_nothing),
        WTL_TEST(distillation_revives_nothing),
        WTL_TEST(momentum_moments_and_averages_of_old_revive_nothing),
        WTL_TEST(averages_older_than_the_mask_revive_nothing),
        WTL_TEST(weight_decay_leaves_a_pruned_weight_at_zero),
        WTL_TEST(what_is_written_under_a_mask_is_never_seen),
        WTL_TEST(a_checkpoint_revives_nothing),
        WTL_TEST(recalibration_revives_nothing),
        WTL_TEST(a_loss_that_is_no_number_leaves_no_trace),
        WTL_TEST(a_teacher_that_is_no_number_leaves_no_trace),
        WTL_TEST(a_gradient_that_is_no_number_leaves_no_trace),
        WTL_TEST(batches_without_a_picture_keep_their_positions),
        WTL_TEST(without_any_picture_it_fails_and_does_not_wait),
        WTL_TEST(options_out_of_range_are_refused),
        WTL_TEST(nets_that_do_not_fit_are_refused),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("finetune", tests);
}
