/* test_sense.c - the scan against a slow definition of its own; what it leaves untouched. */
#include "wattle/memory.h"
#include "wattle/sense.h"
#include "wtl_test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Weights: c [3,2,3,3], d [8,12], e [7,8]. */
static const char net_text[] = "net sensed\n"
                               "classes 7\n"
                               "input data 2x5x4\n"
                               "c = conv data out=3 kernel=3 pad=1\n"
                               "cr = relu c\n"
                               "p = maxpool cr kernel=2 stride=2\n"
                               "d = dense p out=8\n"
                               "dr = relu d\n"
                               "e = dense dr out=classes\n"
                               "prob = softmax e\n";
enum {
    C = 2,
    H = 5,
    W = 4,
    K = 3,
    P = 2, /* of the pooled map, square */
    HIDDEN = 8,
    CLASSES = 7,
    LAYERS = 3,
    IMAGES = 37,
    BATCH = 8, /* the last one is not full */
    PIXELS = C * H * W
};
static const int counts[LAYERS] = {54, 96, 56};
static const char *const names[LAYERS] = {"c.weight", "d.weight", "e.weight"};

typedef struct fixture {
    wtl_net *net;
    wtl_param *params[LAYERS];
    float images[IMAGES * PIXELS];
    int labels[IMAGES];
    wtl_sample sample;
} fixture;

static wtl_net *plan(const char *text, bool training)
{
    wtl_netdef *def = NULL;
    wtl_net *net = NULL;
    wtl_error err;
    const wtl_net_options options = {.batch = BATCH, .training = training};
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "t.net", NULL, &err));
    assert_ok(wtl_net_create(&net, def, &options, &err));
    wtl_netdef_free(def);
    return net;
}

static void set_up(fixture *f)
{
    f->net = plan(net_text, false);
    for (int i = 0; i < wtl_net_param_count(f->net); i++) {
        wtl_param *param = wtl_net_param(f->net, i);
        wtl_fill_random(param->value, param->count, (unsigned)i + 3);
    }
    for (int i = 0; i < LAYERS; i++) {
        f->params[i] = wtl_net_find_param(f->net, names[i]);
        assert_non_null(f->params[i]);
        assert_int_equal(f->params[i]->count, counts[i]);
    }
    wtl_fill_random(f->images, IMAGES * PIXELS, 99);
    for (int i = 0; i < IMAGES; i++) {
        f->labels[i] = (i * i + 3) % CLASSES;
    }
    f->sample = (wtl_sample){
        .count = IMAGES, .shape = {C, H, W}, .images = f->images, .labels = f->labels};
}

static void tear_down(fixture *f)
{
    wtl_net_free(f->net);
}

/* ---- the slow definition ---- */

static double conv_at(const fixture *f, const float *x, int k, int p, int q)
{
    const float *w = wtl_net_find_param(f->net, "c.weight")->value;
    double sum = (double)wtl_net_find_param(f->net, "c.bias")->value[k];
    for (int i = 0; i < C * 9; i++) {
        int c = i / 9, h = p + i % 9 / 3 - 1, v = q + i % 3 - 1;
        if (h >= 0 && h < H && v >= 0 && v < W) {
            sum += (double)w[k * C * 9 + i] * (double)x[(c * H + h) * W + v];
        }
    }
    return sum > 0 ? sum : 0;
}

static void dense(const fixture *f, const char *weight, const char *bias, const double *x,
                  int inputs, double *y, int outputs)
{
    const float *w = wtl_net_find_param(f->net, weight)->value;
    const float *b = wtl_net_find_param(f->net, bias)->value;
    for (int k = 0; k < outputs; k++) {
        y[k] = (double)b[k];
        for (int i = 0; i < inputs; i++) {
            y[k] += (double)w[k * inputs + i] * x[i];
        }
    }
}

static void forward(const fixture *f, const float *x, double z[CLASSES])
{
    double pooled[K * P * P], hidden[HIDDEN];
    for (int i = 0; i < K * P * P; i++) {
        int k = i / (P * P), p = i / P % P, q = i % P;
        pooled[i] = 0;
        for (int j = 0; j < 4; j++) {
            pooled[i] = fmax(pooled[i], conv_at(f, x, k, 2 * p + j / 2, 2 * q + j % 2));
        }
    }
    dense(f, "d.weight", "d.bias", pooled, K * P * P, hidden, HIDDEN);
    for (int i = 0; i < HIDDEN; i++) {
        hidden[i] = fmax(hidden[i], 0);
    }
    dense(f, "e.weight", "e.bias", hidden, HIDDEN, z, CLASSES);
}

/* Of the net as it stands. */
static void judge(const fixture *f, double *top1, double *top5, double *loss)
{
    int first = 0, among_five = 0;
    *loss = 0;
    for (int i = 0; i < IMAGES; i++) {
        double z[CLASSES], sum = 0;
        forward(f, f->images + (size_t)i * PIXELS, z);
        int larger = 0;
        for (int k = 0; k < CLASSES; k++) {
            sum += exp(z[k]);
            larger += z[k] > z[f->labels[i]];
        }
        first += larger == 0;
        among_five += larger < 5;
        *loss += (log(sum) - z[f->labels[i]]) / IMAGES;
    }
    *top1 = 100.0 * first / IMAGES;
    *top5 = 100.0 * among_five / IMAGES;
}

/* Filters of a layer, and whether they go in blocks of four (the last of fewer). */
static const int filters[LAYERS] = {3, 8, 7};

/* Of the blocks by norm, the largest first, those that stay when `kept` weights do: such as the
 * rest can be made up of. Sizes are 4 and at most one other. */
static void prune_blocks_slowly(float *value, int layer, int kept)
{
    int k = filters[layer], width = counts[layer] / k, bands = (k + 3) / 4, left = kept;
    bool seen[128] = {false};
    for (int turn = 0; turn < bands * width; turn++) {
        int best = -1, size, later[5] = {0};
        double most = -1.0;
        for (int i = 0; i < bands * width; i++) {
            double sum = 0.0;
            int first = i / width * 4, end = first + 4 < k ? first + 4 : k;
            for (int f = first; f < end; f++) {
                sum += pow((double)value[f * width + i % width], 2.0);
            }
            later[end - first] += !seen[i];
            if (!seen[i] && sqrt(sum) > most) {
                most = sqrt(sum);
                best = i;
            }
        }
        seen[best] = true;
        size = best / width * 4 + 4 < k ? 4 : k - best / width * 4;
        later[size]--;
        bool stays = false;
        for (int whole = 0; whole <= later[4]; whole++) {
            int rest = left - size - 4 * whole, other = k % 4;
            stays = stays || rest == 0 ||
                    (other && rest > 0 && rest % other == 0 && rest / other <= later[other]);
        }
        left -= stays ? size : 0;
        for (int f = best / width * 4; f < best / width * 4 + size; f++) {
            value[f * width + best % width] *= stays ? 1.0f : 0.0f;
        }
    }
    assert_int_equal(left, 0);
}

static bool in_blocks; /* what assert_row() prunes by */

/* All but the `kept` largest become 0: the smallest goes, again and again. */
static void prune_slowly(float *value, int count, int kept)
{
    bool gone[128] = {false};
    for (int n = count; n > kept; n--) {
        int smallest = -1;
        for (int i = 0; i < count; i++) {
            bool less = smallest < 0 || fabs((double)value[i]) < fabs((double)value[smallest]);
            smallest = !gone[i] && less ? i : smallest;
        }
        gone[smallest] = true;
    }
    for (int i = 0; i < count; i++) {
        value[i] = gone[i] ? 0.0f : value[i];
    }
}

static void assert_row(fixture *f, const wtl_sense_row *row, int layer, int kept)
{
    wtl_param *param = f->params[layer];
    float old[128];
    double top1, top5, loss;
    memcpy(old, param->value, param->count * sizeof(float));
    if (in_blocks) {
        prune_blocks_slowly(param->value, layer, kept);
    } else {
        prune_slowly(param->value, counts[layer], kept);
    }
    judge(f, &top1, &top5, &loss);
    memcpy(param->value, old, param->count * sizeof(float));
    assert_string_equal(row->parameter, names[layer]);
    assert_int_equal(row->weights, counts[layer]);
    assert_int_equal(row->kept, kept);
    assert_close(row->top1, top1, 1e-9);
    assert_close(row->top5, top5, 1e-9);
    assert_close(row->loss, loss, 1e-5); /* float sums of under a hundred products */
}

/* ---- what is scanned ---- */

static void levels_are_what_a_slow_evaluation_gives(void **state)
{
    (void)state;
    /* counts less the rounded tenths */
    static const int kept[LAYERS][WTL_SENSE_LEVELS] = {
        {54, 49, 43, 38, 32, 27, 22, 16, 11, 5},
        {96, 86, 77, 67, 58, 48, 38, 29, 19, 10},
        {56, 50, 45, 39, 34, 28, 22, 17, 11, 6},
    };
    fixture f;
    wtl_sense sense;
    wtl_error err;
    set_up(&f);
    assert_ok(wtl_sense_scan(&sense, f.net, f.params, LAYERS, &f.sample, NULL, &err));
    assert_int_equal(sense.count, LAYERS * WTL_SENSE_LEVELS);
    for (int i = 0; i < sense.count; i++) {
        int layer = i / WTL_SENSE_LEVELS, level = i % WTL_SENSE_LEVELS;
        assert_close(sense.rows[i].sparsity, 0.1 * level, 1e-12);
        assert_close(1.0 - sense.rows[i].sparsity, wtl_sense_density(level), 1e-12);
        assert_row(&f, &sense.rows[i], layer, kept[layer][level]);
    }
    wtl_sense_clear(&sense);
    assert_null(sense.rows);
    tear_down(&f);
}

static void blocks_of_four_filters_go_together_when_asked(void **state)
{
    (void)state;
    /* The numbers above, down to what blocks of 3, of 4, and of 4 and 3 make. */
    static const int kept[LAYERS][WTL_SENSE_LEVELS] = {
        {54, 48, 42, 36, 30, 27, 21, 15, 9, 3},
        {96, 84, 76, 64, 56, 48, 36, 28, 16, 8},
        {56, 50, 45, 39, 34, 28, 22, 17, 11, 6},
    };
    const wtl_sense_options options = {.granularity = WTL_GRANULARITY_4X1};
    fixture f;
    wtl_sense sense;
    wtl_error err;
    set_up(&f);
    assert_ok(wtl_sense_scan(&sense, f.net, f.params, LAYERS, &f.sample, &options, &err));
    in_blocks = true;
    for (int i = 0; i < sense.count; i++) {
        int layer = i / WTL_SENSE_LEVELS, level = i % WTL_SENSE_LEVELS;
        assert_row(&f, &sense.rows[i], layer, kept[layer][level]);
    }
    in_blocks = false;
    wtl_sense_clear(&sense);
    /* A mask of single weights is no start. */
    assert_ok(wtl_mask_keep_top(&f.params[1], 1, 56, &err));
    assert_fails(wtl_sense_scan(&sense, f.net, f.params, LAYERS, &f.sample, &options, &err),
                 WTL_E_ARG, &err,
                 "d.weight: its weights were pruned one by one, so they cannot be pruned in "
                 "4x1 blocks: take the dense network, or the granularity weight");
    tear_down(&f);
}

static void sparsities_and_layers_are_those_asked_for_in_their_order(void **state)
{
    (void)state;
    static const double sparsities[] = {0.25, 0.255, 1};
    static const int kept_e[] = {42, 42, 0}, kept_c[] = {40, 40, 0};
    fixture f;
    wtl_sense sense;
    wtl_error err;
    set_up(&f);
    wtl_param *const params[] = {f.params[2], f.params[0]};
    const wtl_sense_options options = {.sparsities = sparsities, .sparsity_count = 3};
    assert_ok(wtl_sense_scan(&sense, f.net, params, 2, &f.sample, &options, &err));
    assert_int_equal(sense.count, 6);
    for (int i = 0; i < 3; i++) {
        assert_close(sense.rows[i].sparsity, sparsities[i], 0);
        assert_row(&f, &sense.rows[i], 2, kept_e[i]);
        assert_row(&f, &sense.rows[3 + i], 0, kept_c[i]);
    }
    wtl_sense_clear(&sense);
    tear_down(&f);
}

/* ---- what is left as it was ---- */

typedef struct copy {
    float value[LAYERS][128], mask[LAYERS][128];
    bool masked[LAYERS];
} copy;

static void take_copy(copy *c, const fixture *f)
{
    memset(c, 0, sizeof *c);
    for (int i = 0; i < LAYERS; i++) {
        const wtl_param *param = f->params[i];
        memcpy(c->value[i], param->value, param->count * sizeof(float));
        c->masked[i] = param->mask != NULL;
        if (param->mask) {
            memcpy(c->mask[i], param->mask, param->count * sizeof(float));
        }
    }
}

static void assert_as_before(const copy *before, const fixture *f)
{
    copy now;
    take_copy(&now, f);
    assert_memory_equal(&now, before, sizeof now);
}

/* d has a mask that prunes 40 of its 96 weights, and a kept weight that is -0. */
static void mask_some(fixture *f)
{
    wtl_error err;
    assert_ok(wtl_mask_keep_top(&f->params[1], 1, 56, &err));
    for (size_t i = 0; i < f->params[1]->count; i++) {
        if (wtl_mask_keeps(f->params[1], i)) {
            f->params[1]->value[i] = -0.0f;
            return;
        }
    }
}

static void weights_and_masks_are_as_before(void **state)
{
    (void)state;
    fixture f;
    copy before;
    wtl_sense sense;
    wtl_error err;
    set_up(&f);
    mask_some(&f);
    take_copy(&before, &f);
    assert_ok(wtl_sense_scan(&sense, f.net, f.params, LAYERS, &f.sample, NULL, &err));
    assert_as_before(&before, &f);
    wtl_sense_clear(&sense);
    tear_down(&f);
}

static void a_mask_that_is_there_stays_in_force(void **state)
{
    (void)state;
    /* Of 96: 96 - 10, - 19, - 29, - 38 and more than the 56 that the mask keeps; then fewer. */
    static const int kept[] = {56, 56, 56, 56, 56, 48, 38, 29, 19, 10};
    fixture f;
    wtl_sense sense;
    wtl_error err;
    set_up(&f);
    assert_ok(wtl_mask_keep_top(&f.params[1], 1, 56, &err));
    f.params[1]->mask[0] = 1.0f - f.params[1]->mask[0]; /* not just the largest */
    int held = (int)wtl_mask_kept(f.params[1]);
    wtl_mask_apply(f.params[1]);
    assert_ok(wtl_sense_scan(&sense, f.net, f.params + 1, 1, &f.sample, NULL, &err));
    for (int i = 0; i < WTL_SENSE_LEVELS; i++) {
        assert_row(&f, &sense.rows[i], 1, kept[i] == 56 ? held : kept[i]);
    }
    wtl_sense_clear(&sense);
    tear_down(&f);
}

typedef struct watch {
    int asked, stop_at; /* the stop_at-th question, from 0, is answered with yes */
    int latest, total;
} watch;

static void on_progress(void *context, int done, int total)
{
    watch *w = context;
    assert_int_equal(done, w->latest + 1);
    w->latest = done;
    w->total = total;
}

static int on_stop(void *context)
{
    watch *w = context;
    return w->asked++ == w->stop_at;
}

static void a_stop_between_any_two_batches_leaves_the_net_as_before(void **state)
{
    (void)state;
    fixture f;
    copy before;
    wtl_sense sense;
    wtl_error err;
    watch w = {.stop_at = -1};
    wtl_sense_options options = {.progress = on_progress, .stop = on_stop, .context = &w};
    set_up(&f);
    mask_some(&f);
    take_copy(&before, &f);
    assert_ok(wtl_sense_scan(&sense, f.net, f.params, LAYERS, &f.sample, &options, &err));
    assert_int_equal(w.latest, LAYERS * WTL_SENSE_LEVELS);
    assert_int_equal(w.total, LAYERS * WTL_SENSE_LEVELS);
    wtl_sense_clear(&sense);
    /* 5 batches each time; the untouched net once, c and e 9 times, d 5 times. */
    int asked = w.asked;
    assert_int_equal(asked, 5 * (1 + 9 + 9 + 5));
    for (int i = 0; i < asked; i++) {
        w = (watch){.stop_at = i};
        assert_fails(wtl_sense_scan(&sense, f.net, f.params, LAYERS, &f.sample, &options, &err),
                     WTL_E_STOPPED, &err, "sensitivity scan stopped");
        assert_null(sense.rows);
        assert_int_equal(sense.count, 0);
        assert_as_before(&before, &f);
    }
    tear_down(&f);
}

typedef struct attempt {
    fixture *f;
    copy before;
} attempt;

static wtl_status scan_all(void *context)
{
    attempt *a = context;
    wtl_sense sense;
    wtl_error err;
    wtl_status status =
        wtl_sense_scan(&sense, a->f->net, a->f->params, LAYERS, &a->f->sample, NULL, &err);
    assert_as_before(&a->before, a->f);
    wtl_sense_clear(&sense);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fixture f;
    attempt a = {.f = &f};
    set_up(&f);
    mask_some(&f);
    take_copy(&a.before, &f);
    wtl_test_every_allocation_fails(scan_all, &a);
    tear_down(&f);
}

/* ---- refusals ---- */

static wtl_status scan(fixture *f, int count, const wtl_sense_options *options, wtl_error *err)
{
    wtl_sense sense;
    wtl_status status =
        wtl_sense_scan(&sense, f->net, f->params, count, &f->sample, options, err);
    assert_true(status == WTL_OK || (!sense.rows && sense.count == 0));
    wtl_sense_clear(&sense);
    return status;
}

static void what_is_not_finite_is_refused(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f);
    /* It shows even where no output does, and where the layer is not scanned. */
    float *weight = &wtl_net_find_param(f.net, "e.weight")->value[3], old = *weight;
    *weight = NAN;
    assert_fails(scan(&f, 1, NULL, &err), WTL_E_NAN, &err, "e.weight: value 3 is not finite");
    *weight = -INFINITY;
    assert_fails(scan(&f, LAYERS, NULL, &err), WTL_E_NAN, &err,
                 "e.weight: value 3 is not finite");
    *weight = old;
    wtl_net_find_param(f.net, "c.bias")->value[1] = NAN;
    assert_fails(scan(&f, LAYERS, NULL, &err), WTL_E_NAN, &err,
                 "c.bias: value 1 is not finite");
    wtl_net_find_param(f.net, "c.bias")->value[1] = 3e38f;
    wtl_fill_random(weight, 1, 1);
    for (int i = 0; i < counts[1]; i++) { /* finite weights, sums that are not */
        f.params[1]->value[i] = 3e38f;
    }
    assert_fails(scan(&f, LAYERS, NULL, &err), WTL_E_NAN, &err,
                 "net sensed: its output is not finite");
    tear_down(&f);
}

static void sparsities_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const double wrong[][2] = {{0.5, 1.01}, {-0.1, 0.5}, {0.5, 0.5}, {0.5, 0.4}};
    static const char *const said[] = {"sensitivity: sparsity 1.01 is outside 0..1",
                                       "sensitivity: sparsity -0.1 is outside 0..1",
                                       "sensitivity: sparsity 0.5 after 0.5, they ascend",
                                       "sensitivity: sparsity 0.4 after 0.5, they ascend"};
    fixture f;
    wtl_error err;
    set_up(&f);
    for (int i = 0; i < 4; i++) {
        const wtl_sense_options options = {.sparsities = wrong[i], .sparsity_count = 2};
        assert_fails(scan(&f, LAYERS, &options, &err), i < 2 ? WTL_E_RANGE : WTL_E_ARG, &err,
                     said[i]);
    }
    const double nan = (double)NAN;
    const wtl_sense_options number = {.sparsities = &nan, .sparsity_count = 1};
    assert_int_equal(scan(&f, LAYERS, &number, &err), WTL_E_RANGE);
    const wtl_sense_options empty = {.sparsities = &nan, .sparsity_count = 0};
    assert_fails(scan(&f, LAYERS, &empty, &err), WTL_E_ARG, &err,
                 "sensitivity: 0 sparsities, at least one is needed");
    tear_down(&f);
}

static void layers_that_cannot_be_scanned_are_refused(void **state)
{
    (void)state;
    fixture f, other;
    wtl_error err;
    set_up(&f);
    set_up(&other);
    assert_fails(scan(&f, 0, NULL, &err), WTL_E_ARG, &err,
                 "sensitivity: 0 layers, at least one is needed");
    f.params[1] = wtl_net_find_param(f.net, "c.bias");
    assert_fails(scan(&f, 2, NULL, &err), WTL_E_ARG, &err,
                 "c.bias: not a weight, only weights can be pruned");
    f.params[1] = other.params[1];
    assert_fails(scan(&f, 2, NULL, &err), WTL_E_ARG, &err,
                 "d.weight: not a parameter of this net sensed");
    tear_down(&other);
    tear_down(&f);
}

static void a_sample_that_does_not_fit_the_net_is_refused(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f);
    f.sample.shape.w = 5;
    assert_fails(scan(&f, LAYERS, NULL, &err), WTL_E_SHAPE, &err,
                 "net sensed takes images of 2x5x4, the sample's have 2x5x5");
    f.sample.shape.w = W;
    f.labels[36] = CLASSES;
    assert_fails(scan(&f, LAYERS, NULL, &err), WTL_E_SHAPE, &err,
                 "net sensed tells 7 classes apart, image 36 of the sample has label 7");
    f.labels[36] = -1;
    assert_int_equal(scan(&f, LAYERS, NULL, &err), WTL_E_SHAPE);
    f.sample.count = 0;
    assert_fails(scan(&f, LAYERS, NULL, &err), WTL_E_ARG, &err,
                 "sensitivity: a sample of 0 images");
    tear_down(&f);
}

static void a_net_that_cannot_be_judged_is_refused(void **state)
{
    (void)state;
    fixture f;
    wtl_error err;
    set_up(&f);
    wtl_net *whole = f.net;
    f.net = plan(net_text, true);
    assert_fails(scan(&f, LAYERS, NULL, &err), WTL_E_ARG, &err,
                 "sensitivity: net sensed is planned for training");
    wtl_net_free(f.net);
    f.net = plan("net headless\ninput data 2x5x4\nc = conv data out=3 kernel=3\n", false);
    f.params[0] = wtl_net_find_param(f.net, "c.weight");
    assert_fails(scan(&f, 1, NULL, &err), WTL_E_SHAPE, &err,
                 "net headless has no softmax to be judged by");
    wtl_net_free(f.net);
    wtl_net_free(whole);
}

/* ---- CSV ---- */

static void the_csv_has_the_header_that_distiller_writes(void **state)
{
    (void)state;
    wtl_sense_row rows[] = {{"conv1.weight", 0, 500, 500, 94.140625, 100, 0.5},
                            {"conv1.weight", 0.1, 500, 450, 93.75, 99.609375, 1.0 / 3}};
    const wtl_sense sense = {rows, 2}, nothing = {NULL, 0};
    char *csv = wtl_sense_csv(&sense);
    assert_string_equal(csv, "parameter,sparsity,top1,top5,loss\n"
                             "conv1.weight,0,94.140625,100,0.5\n"
                             "conv1.weight,0.1,93.75,99.609375,0.3333333333\n");
    wtl_free(csv);
    csv = wtl_sense_csv(&nothing);
    assert_string_equal(csv, "parameter,sparsity,top1,top5,loss\n");
    wtl_free(csv);
    wtl_test_fail_allocation(1, 1);
    assert_null(wtl_sense_csv(&sense));
    wtl_test_fail_allocation(0, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(levels_are_what_a_slow_evaluation_gives),
        WTL_TEST(blocks_of_four_filters_go_together_when_asked),
        WTL_TEST(sparsities_and_layers_are_those_asked_for_in_their_order),
        WTL_TEST(weights_and_masks_are_as_before),
        WTL_TEST(a_mask_that_is_there_stays_in_force),
        WTL_TEST(a_stop_between_any_two_batches_leaves_the_net_as_before),
        WTL_TEST(every_allocation_may_fail),
        WTL_TEST(what_is_not_finite_is_refused),
        WTL_TEST(sparsities_that_make_no_sense_are_refused),
        WTL_TEST(layers_that_cannot_be_scanned_are_refused),
        WTL_TEST(a_sample_that_does_not_fit_the_net_is_refused),
        WTL_TEST(a_net_that_cannot_be_judged_is_refused),
        WTL_TEST(the_csv_has_the_header_that_distiller_writes),
    };
    return WTL_RUN("sense", tests);
}
