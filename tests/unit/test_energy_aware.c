#include "wtl_test.h"

#include "prune/methods/methods.h"
#include "wattle/memory.h"
#include "wattle/method.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LAYERS = 3, MOST_WEIGHTS = 720, MOST_IMAGES = 400, IMAGE = 2 * 9 * 9, BATCH = 16 };

/* Two convolutions (stride, padding, groups, a batch norm) and a dense layer. */
static const char NET[] = "net tiny\n"
                          "input data 2x9x9\n"
                          "conv1 = conv data out=6 kernel=3 stride=2 pad=1\n"
                          "relu1 = relu conv1\n"
                          "conv2 = conv relu1 out=8 kernel=3 pad=1 groups=2\n"
                          "bn2 = batchnorm conv2\n"
                          "relu2 = relu bn2\n"
                          "pool2 = maxpool relu2 kernel=2 stride=2 ceil=yes\n"
                          "fc = dense pool2 out=10\n"
                          "prob = softmax fc\n";
static const char *const WEIGHT[LAYERS] = {"conv1.weight", "conv2.weight", "fc.weight"};
static const char *const BIAS[LAYERS] = {"conv1.bias", "conv2.bias", "fc.bias"};
static const size_t COUNT[LAYERS] = {108, 216, 720};

/* ---- a net, its dense original, a sample, prices ---- */

typedef struct fixture {
    wtl_net *net, *probe, *original;
    wtl_pricing *pricing;
    wtl_sample sample;
    wtl_method_layer layers[LAYERS];
    wtl_method_options options;
    wtl_method_context context;
    wtl_method_step steps[LAYERS];
    int step_count;
    int done, total, asked, stop_at; /* progress; stop() calls; the one that says yes */
    float images[MOST_IMAGES * IMAGE];
    int labels[MOST_IMAGES];
} fixture;

static void take_step(void *context, const wtl_method_step *step)
{
    fixture *f = context;
    assert_true(f->step_count < LAYERS);
    f->steps[f->step_count++] = *step;
}

static void take_progress(void *context, int done, int total)
{
    fixture *f = context;
    assert_true(done == f->done + 1 && done <= total && (f->total == 0 || f->total == total));
    f->done = done;
    f->total = total;
}

static int may_stop(void *context)
{
    fixture *f = context;
    return ++f->asked == f->stop_at;
}

static wtl_net *plan(const wtl_netdef *def, bool keep_outputs)
{
    const wtl_net_options options = {.batch = BATCH, .keep_outputs = keep_outputs};
    wtl_net *net = NULL;
    assert_ok(wtl_net_create(&net, def, &options, NULL));
    return net;
}

static float *values(wtl_net *net, const char *name)
{
    wtl_param *param = wtl_net_find_param(net, name);
    assert_non_null(param);
    return param->value;
}

/* Every parameter gets values of its own; a variance is positive, and batch norm's scales are
 * far apart. */
static void fill_net(wtl_net *net)
{
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_param *param = wtl_net_param(net, i);
        wtl_fill_random(param->value, param->count, 10u + (unsigned)i);
        for (size_t k = 0; k < param->count; k++) {
            if (param->spec.role == WTL_PARAM_RUNNING_VAR) {
                param->value[k] = 1.0f + 0.5f * param->value[k];
            } else if (param->spec.role == WTL_PARAM_SCALE) {
                param->value[k] = 0.1f + 0.4f * (float)k;
            }
        }
    }
}

static void set_context(fixture *f, int images)
{
    f->sample = (wtl_sample){
        .count = images, .shape = {2, 9, 9}, .images = f->images, .labels = f->labels};
    f->options = (wtl_method_options){.images = images, .positions = 25};
    f->context = (wtl_method_context){.net = f->net,
                                      .probe = f->probe,
                                      .original = f->original,
                                      .pricing = f->pricing,
                                      .sample = &f->sample,
                                      .layers = f->layers,
                                      .seed = 5,
                                      .options = &f->options,
                                      .report = take_step,
                                      .progress = take_progress,
                                      .stop = may_stop,
                                      .context = f};
}

/* With `trained`, the net's weights have moved away from the original's. */
static fixture *open_fixture(int images, bool trained)
{
    fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    wtl_netdef *def = NULL;
    wtl_hardware hw;
    assert_ok(wtl_netdef_parse(&def, NET, strlen(NET), "tiny.net", NULL, NULL));
    f->net = plan(def, false);
    f->probe = plan(def, true);
    f->original = plan(def, true);
    wtl_netdef_free(def);
    fill_net(f->original);
    assert_ok(wtl_net_copy_params(f->net, f->original, NULL));
    for (int l = 0; trained && l < LAYERS; l++) {
        float moved[MOST_WEIGHTS];
        wtl_fill_random(moved, COUNT[l], 90u + (unsigned)l);
        for (size_t i = 0; i < COUNT[l]; i++) {
            values(f->net, WEIGHT[l])[i] += 0.2f * moved[i];
        }
    }
    wtl_fill_random(f->images, (size_t)images * IMAGE, 1);
    assert_ok(wtl_hardware_load(&hw, "eyeriss-cvpr17", NULL));
    assert_ok(wtl_net_copy_params(f->probe, f->net, NULL));
    assert_ok(wtl_pricing_create(&f->pricing, f->probe, &hw, NULL, NULL));
    set_context(f, images);
    assert_ok(wtl_pricing_measure(f->pricing, &f->sample, NULL, NULL, NULL));
    assert_int_equal(wtl_pricing_count(f->pricing), LAYERS);
    for (int l = 0; l < LAYERS; l++) {
        f->layers[l] = (wtl_method_layer){.param = wtl_net_find_param(f->net, WEIGHT[l]),
                                          .weights = COUNT[l],
                                          .least = 1,
                                          .most = COUNT[l]};
    }
    return f;
}

static void close_fixture(fixture *f)
{
    wtl_pricing_free(f->pricing);
    wtl_net_free(f->net);
    wtl_net_free(f->probe);
    wtl_net_free(f->original);
    free(f);
}

static double energy_of(const fixture *f, size_t conv1, size_t conv2, size_t fc)
{
    const double nonzeros[LAYERS] = {(double)conv1, (double)conv2, (double)fc};
    return wtl_pricing_total(f->pricing, nonzeros);
}

static double dense_energy(const fixture *f)
{
    return energy_of(f, COUNT[0], COUNT[1], COUNT[2]);
}

/* A share of what lies between one weight a layer and all of them. */
static double goal_at(const fixture *f, double share)
{
    double least = energy_of(f, 1, 1, 1);
    return least + share * (dense_energy(f) - least);
}

static double present_energy(const fixture *f)
{
    double nonzeros[LAYERS];
    wtl_pricing_nonzeros(f->pricing, f->net, nonzeros);
    return wtl_pricing_total(f->pricing, nonzeros);
}

static void set_granularity(fixture *f, wtl_granularity granularity)
{
    f->options.granularity = granularity;
    for (int l = 0; l < LAYERS; l++) {
        f->layers[l] = wtl_method_layer_of(f->net, f->layers[l].param, granularity);
    }
}

/* The layers keep exactly these. */
static void ask_for(fixture *f, size_t conv1, size_t conv2, size_t fc)
{
    f->layers[0].least = conv1;
    f->layers[1].least = conv2;
    f->layers[2].least = fc;
    f->context.goal_energy = energy_of(f, conv1, conv2, fc);
}

static void run(fixture *f)
{
    wtl_error err;
    wtl_status status = wtl_method_energy_aware.prune(&f->context, &err);
    if (status != WTL_OK) {
        fail_msg("%s", err.text);
    }
    assert_int_equal(f->step_count, LAYERS);
}

/* ---- the algorithm, literally: plain double, everything computed anew at every step ---- */

typedef struct slow_layer {
    int c, h, w, k, r, s, stride, pad, groups, p, q;
    int m;      /* weights of a filter */
    int height; /* filters that share a pattern: 1 or 4 */
    double weight[MOST_WEIGHTS], bias[10], scale[10];
    int mask[MOST_WEIGHTS];
} slow_layer;

typedef struct slow_net {
    slow_layer layer[LAYERS];
    double gamma[8], beta[8], mean[8], variance[8];
} slow_net;

static const double BN_EPS = 1e-5;

static void slow_take(slow_net *slow, wtl_net *net, int height)
{
    static const slow_layer shape[LAYERS] = {
        {.c = 2,
         .h = 9,
         .w = 9,
         .k = 6,
         .r = 3,
         .s = 3,
         .stride = 2,
         .pad = 1,
         .groups = 1,
         .p = 5,
         .q = 5,
         .m = 18},
        {.c = 6,
         .h = 5,
         .w = 5,
         .k = 8,
         .r = 3,
         .s = 3,
         .stride = 1,
         .pad = 1,
         .groups = 2,
         .p = 5,
         .q = 5,
         .m = 27},
        {.c = 8,
         .h = 3,
         .w = 3,
         .k = 10,
         .r = 3,
         .s = 3,
         .stride = 1,
         .pad = 0,
         .groups = 1,
         .p = 1,
         .q = 1,
         .m = 72},
    };
    for (int l = 0; l < LAYERS; l++) {
        slow->layer[l] = shape[l];
        slow->layer[l].height = height;
        for (size_t i = 0; i < COUNT[l]; i++) {
            slow->layer[l].weight[i] = (double)values(net, WEIGHT[l])[i];
            slow->layer[l].mask[i] = 1;
        }
        for (int k = 0; k < shape[l].k; k++) {
            slow->layer[l].bias[k] = (double)values(net, BIAS[l])[k];
            slow->layer[l].scale[k] = 1.0;
        }
    }
    for (int k = 0; k < 8; k++) {
        slow->gamma[k] = (double)values(net, "bn2.weight")[k];
        slow->beta[k] = (double)values(net, "bn2.bias")[k];
        slow->mean[k] = (double)values(net, "bn2.running_mean")[k];
        slow->variance[k] = (double)values(net, "bn2.running_var")[k];
        slow->layer[1].scale[k] = fabs(slow->gamma[k]) / sqrt(slow->variance[k] + BN_EPS);
    }
}

/* What weight j of filter k meets at output (p, q). */
static double slow_patch(const slow_layer *l, const double *x, int k, int j, int p, int q)
{
    int channels = l->c / l->groups, group = k / (l->k / l->groups);
    int c = group * channels + j / (l->r * l->s);
    int h = p * l->stride - l->pad + j / l->s % l->r, w = q * l->stride - l->pad + j % l->s;
    return h < 0 || h >= l->h || w < 0 || w >= l->w ? 0.0 : x[(c * l->h + h) * l->w + w];
}

static double slow_output(const slow_layer *l, const double *x, int k, int p, int q)
{
    double sum = 0.0;
    for (int j = 0; j < l->m; j++) {
        sum += l->weight[k * l->m + j] * slow_patch(l, x, k, j, p, q);
    }
    return sum;
}

/* x[l] := what layer l reads of one image. */
static void slow_inputs(const slow_net *net, const float *image, double x[LAYERS][IMAGE])
{
    double y[8 * 5 * 5];
    for (int i = 0; i < IMAGE; i++) {
        x[0][i] = (double)image[i];
    }
    for (int i = 0; i < 6 * 25; i++) {
        int k = i / 25;
        x[1][i] = fmax(0.0, slow_output(&net->layer[0], x[0], k, i / 5 % 5, i % 5) +
                                net->layer[0].bias[k]);
    }
    for (int i = 0; i < 8 * 25; i++) {
        int k = i / 25;
        double v = slow_output(&net->layer[1], x[1], k, i / 5 % 5, i % 5);
        v = (v + net->layer[1].bias[k] - net->mean[k]) / sqrt(net->variance[k] + BN_EPS);
        y[i] = fmax(0.0, net->gamma[k] * v + net->beta[k]);
    }
    for (int i = 0; i < 8 * 9; i++) {
        double most = -1.0;
        for (int at = 0; at < 4; at++) {
            int h = i / 3 % 3 * 2 + at / 2, w = i % 3 * 2 + at % 2;
            most = h < 5 && w < 5 ? fmax(most, y[(i / 9 * 5 + h) * 5 + w]) : most;
        }
        x[2][i] = most;
    }
}

/* One layer's problem: rows are images times output positions. */
typedef struct slow_problem {
    slow_layer *l;
    int rows;
    double *x; /* [groups][rows][m] */
    double *y; /* [k][rows] */
} slow_problem;

static double x_of(const slow_problem *s, int k, int row, int j)
{
    int group = k / (s->l->k / s->l->groups);
    return s->x[((size_t)group * (size_t)s->rows + (size_t)row) * (size_t)s->l->m + (size_t)j];
}

/* X as `inputs` sees the images, Y the outputs of `targets` without bias. */
static slow_problem slow_gather(slow_net *pruned, const slow_net *inputs,
                                const slow_net *targets, int l, const float *images, int count)
{
    slow_layer *layer = &pruned->layer[l];
    int map = layer->p * layer->q, per_group = layer->k / layer->groups;
    slow_problem s = {.l = layer, .rows = count * map};
    s.x = calloc((size_t)layer->groups * (size_t)s.rows * (size_t)layer->m, sizeof *s.x);
    s.y = calloc((size_t)layer->k * (size_t)s.rows, sizeof *s.y);
    assert_true(s.x && s.y);
    double seen[LAYERS][IMAGE], wanted[LAYERS][IMAGE];
    for (int row = 0; row < s.rows; row++) {
        const float *image = images + (size_t)(row / map) * IMAGE;
        int p = row % map / layer->q, q = row % map % layer->q;
        if (row % map == 0) {
            slow_inputs(inputs, image, seen);
            slow_inputs(targets, image, wanted);
        }
        for (int g = 0; g < layer->groups; g++) {
            for (int j = 0; j < layer->m; j++) {
                s.x[(g * s.rows + row) * layer->m + j] =
                    slow_patch(layer, seen[l], g * per_group, j, p, q);
            }
        }
        for (int k = 0; k < layer->k; k++) {
            s.y[k * s.rows + row] = slow_output(&targets->layer[l], wanted[l], k, p, q);
        }
    }
    return s;
}

static void slow_close(slow_problem *s)
{
    free(s->x);
    free(s->y);
}

/* ||y - X w||_1 of filter k, with weight `extra` (or -1) given back as `old`. */
static double slow_error(const slow_problem *s, int k, int extra, const double *old)
{
    double sum = 0.0;
    for (int row = 0; row < s->rows; row++) {
        double r = s->y[k * s->rows + row];
        for (int j = 0; j < s->l->m; j++) {
            double w = j == extra ? old[k * s->l->m + j] : s->l->weight[k * s->l->m + j];
            r -= x_of(s, k, row, j) * w;
        }
        sum += fabs(r);
    }
    return sum;
}

/* ---- bands: filters that share a pattern; the last of a group may be smaller ---- */

static int slow_bands(const slow_layer *l)
{
    int each = l->k / l->groups;
    return l->groups * ((each + l->height - 1) / l->height);
}

/* Filters *first to the returned one, which is not of the band. */
static int slow_band(const slow_layer *l, int band, int *first)
{
    int each = l->k / l->groups, bands = (each + l->height - 1) / l->height;
    int begin = band / bands * each, end = begin + each;
    *first = begin + band % bands * l->height;
    return *first + l->height < end ? *first + l->height : end;
}

static double slow_norm(const slow_problem *s, int band, int j)
{
    double sum = 0.0;
    int k, end = slow_band(s->l, band, &k);
    for (; k < end; k++) {
        sum += s->l->weight[k * s->l->m + j] * s->l->weight[k * s->l->m + j];
    }
    return sqrt(sum);
}

static void slow_set(const slow_problem *s, int band, int j, int mask, const double *old)
{
    int k, end = slow_band(s->l, band, &k);
    for (; k < end; k++) {
        s->l->mask[k * s->l->m + j] = mask;
        s->l->weight[k * s->l->m + j] = mask ? old[k * s->l->m + j] : 0.0;
    }
}

static int slow_has(const slow_problem *s, int band, int j)
{
    int first;
    (void)slow_band(s->l, band, &first);
    return s->l->mask[first * s->l->m + j];
}

static void slow_remove(const slow_problem *s, int each)
{
    int m = s->l->m;
    for (int band = 0; band < slow_bands(s->l); band++) {
        for (int gone = 0; gone < m - each; gone++) {
            int smallest = -1;
            for (int j = 0; j < m; j++) {
                if (slow_has(s, band, j) &&
                    (smallest < 0 || slow_norm(s, band, j) < slow_norm(s, band, smallest))) {
                    smallest = j;
                }
            }
            slow_set(s, band, smallest, 0, NULL);
        }
    }
}

/* How close a choice was: sums in float are good to 1e-6 or so. */
static double closest_choice;

static void note_choice(double better, double worse)
{
    double gap = (better - worse) / fabs(better);
    closest_choice = gap < closest_choice ? gap : closest_choice;
}

/* Whether the removed blocks, less one of `size`, can make up what is wanted after it. */
static bool slow_fits(const slow_problem *s, int size, int wanted)
{
    int whole = 0, rest = 0, rest_size = s->l->k / s->l->groups % s->l->height;
    for (int band = 0; band < slow_bands(s->l); band++) {
        int first, count = slow_band(s->l, band, &first) - first;
        for (int j = 0; j < s->l->m; j++) {
            whole += !slow_has(s, band, j) && count == s->l->height;
            rest += !slow_has(s, band, j) && count < s->l->height;
        }
    }
    whole -= size == s->l->height;
    rest -= size < s->l->height;
    for (int i = 0; i <= rest; i++) {
        int left = wanted - size - i * rest_size;
        if (left >= 0 && left % s->l->height == 0 && left / s->l->height <= whole) {
            return true;
        }
    }
    return false;
}

/* The mean over the band's filters. */
static double slow_band_error(const slow_problem *s, int band)
{
    double sum = 0.0;
    int first, end = slow_band(s->l, band, &first);
    for (int k = first; k < end; k++) {
        sum += s->l->scale[k] * slow_error(s, k, -1, NULL);
    }
    return sum / (end - first);
}

/* The worst band that may give something back and is not set aside, or -1. */
static int slow_worst(const slow_problem *s, const int *aside, int wanted)
{
    int worst = -1;
    double most = -1.0, second = -1.0;
    for (int band = 0; band < slow_bands(s->l); band++) {
        int removed = 0, first, count = slow_band(s->l, band, &first) - first;
        for (int j = 0; j < s->l->m; j++) {
            removed += !slow_has(s, band, j);
        }
        if (removed == 0 || aside[band] || !slow_fits(s, count, wanted)) {
            continue;
        }
        double error = slow_band_error(s, band);
        if (error > most) {
            second = most;
            most = error;
            worst = band;
        } else {
            second = fmax(second, error);
        }
    }
    if (second >= 0.0) {
        note_choice(most, second);
    }
    return worst;
}

/* Give the band back the block with the largest gain of `gains`, if it is positive. */
static int slow_give_one(const slow_problem *s, int band, double *gains, const double *old)
{
    int m = s->l->m, best = -1;
    for (int j = 0; j < m; j++) {
        if (!slow_has(s, band, j) && (best < 0 || gains[j] > gains[best])) {
            best = j;
        }
    }
    if (best < 0 || !(gains[best] > 0.0)) {
        return 0;
    }
    for (int j = 0; j < m; j++) {
        if (!slow_has(s, band, j) && j != best) {
            note_choice(gains[best], gains[j]);
        }
    }
    slow_set(s, band, best, 1, old);
    return 1;
}

/* What a block's return takes off the errors of the band's filters, each by its scale. */
static double slow_gain(const slow_problem *s, int band, int j, const double *old)
{
    double gain = 0.0;
    int k, end = slow_band(s->l, band, &k);
    for (; k < end; k++) {
        gain += s->l->scale[k] * (slow_error(s, k, -1, NULL) - slow_error(s, k, j, old));
    }
    return gain;
}

static void slow_restore(const slow_problem *s, int wanted, const double *old)
{
    int aside[10] = {0}, m = s->l->m;
    while (wanted > 0) {
        double gains[72];
        int band = slow_worst(s, aside, wanted), given = 0, first;
        assert_true(band >= 0); /* the cases have enough that helps */
        int size = slow_band(s->l, band, &first) - first;
        for (int j = 0; j < m; j++) {
            gains[j] = slow_has(s, band, j) ? 0.0 : slow_gain(s, band, j, old);
        }
        while (given < 2 && slow_fits(s, size, wanted) && slow_give_one(s, band, gains, old)) {
            given++;
            wanted -= size;
        }
        aside[band] = given == 0;
    }
}

/* a [n,n] v = b by Gaussian elimination with pivots; b := v. */
static void slow_solve(int n, double *a, double *b)
{
    for (int c = 0; c < n; c++) {
        int pivot = c;
        for (int i = c + 1; i < n; i++) {
            pivot = fabs(a[i * n + c]) > fabs(a[pivot * n + c]) ? i : pivot;
        }
        for (int j = 0; j < n; j++) {
            double t = a[c * n + j];
            a[c * n + j] = a[pivot * n + j];
            a[pivot * n + j] = t;
        }
        double t = b[c];
        b[c] = b[pivot];
        b[pivot] = t;
        for (int i = 0; i < n; i++) {
            double factor = i == c ? 0.0 : a[i * n + c] / a[c * n + c];
            for (int j = c; j < n && factor != 0.0; j++) {
                a[i * n + j] -= factor * a[c * n + j];
            }
            b[i] -= factor * b[c];
        }
    }
    for (int c = 0; c < n; c++) {
        b[c] /= a[c * n + c];
    }
}

/* (X_S^T X_S + lambda) w = X_S^T y + lambda a_S, lambda = ridge * mean of the diagonal. */
static void slow_fit_filter(const slow_problem *s, int k, double ridge)
{
    static double a[72 * 72], b[72];
    int kept[72], n = 0, m = s->l->m;
    for (int j = 0; j < m; j++) {
        if (s->l->mask[k * m + j]) {
            kept[n++] = j;
        }
    }
    double mean = 0.0;
    for (int i = 0; i < n; i++) {
        b[i] = 0.0;
        for (int row = 0; row < s->rows; row++) {
            b[i] += x_of(s, k, row, kept[i]) * s->y[k * s->rows + row];
        }
        for (int j = 0; j < n; j++) {
            a[i * n + j] = 0.0;
            for (int row = 0; row < s->rows; row++) {
                a[i * n + j] += x_of(s, k, row, kept[i]) * x_of(s, k, row, kept[j]);
            }
        }
        mean += a[i * n + i] / n;
    }
    for (int i = 0; i < n; i++) {
        a[i * n + i] += ridge * mean;
        b[i] += ridge * mean * s->l->weight[k * m + kept[i]];
    }
    slow_solve(n, a, b);
    for (int i = 0; i < n; i++) {
        s->l->weight[k * m + kept[i]] = b[i];
    }
}

/* One layer: q weights are to stay. */
static void slow_prune(const slow_problem *s, int q, const wtl_method_options *options)
{
    double old[MOST_WEIGHTS], all = s->l->k * s->l->m;
    double over = options->no_restore ? 0.0 : fmin(0.05, 0.5 * q / all);
    memcpy(old, s->l->weight, sizeof old);
    int each = (int)floor((q / all - over) * s->l->m + 1e-9);
    slow_remove(s, each);
    slow_restore(s, q - each * s->l->k, old);
    for (int k = 0; k < s->l->k && !options->no_fit; k++) {
        slow_fit_filter(s, k, options->reconstruct.ridge);
    }
}

/* The round, by the steps' order; `pruned` begins as the net. */
static void slow_round(slow_net *pruned, const slow_net *original, const fixture *f,
                       const wtl_method_options *options)
{
    slow_net *before = malloc(sizeof *before);
    assert_non_null(before);
    *before = *pruned;
    bool done[LAYERS] = {false};
    for (int turn = 0; turn < LAYERS; turn++) {
        int l = -1;
        for (int i = 0; i < LAYERS; i++) { /* the most energy of those left */
            if (!done[i] && (l < 0 || wtl_pricing_cost(f->pricing, i, (double)COUNT[i]) >
                                          wtl_pricing_cost(f->pricing, l, (double)COUNT[l]))) {
                l = i;
            }
        }
        done[l] = true;
        slow_problem s = slow_gather(pruned, options->inputs_original ? original : pruned,
                                     options->targets_dense ? original : before, l, f->images,
                                     f->sample.count);
        slow_prune(&s, (int)f->layers[l].least, options);
        slow_close(&s);
    }
    free(before);
}

/* ---- step by step ---- */

static void assert_same_layer(fixture *f, const slow_net *slow, int l, double tolerance)
{
    const wtl_param *param = f->layers[l].param;
    assert_non_null(param->mask);
    for (size_t i = 0; i < COUNT[l]; i++) {
        assert_true((param->mask[i] != 0.0f) == (slow->layer[l].mask[i] != 0));
        double want = slow->layer[l].weight[i];
        assert_close((double)param->value[i], want, tolerance * fmax(1.0, fabs(want)));
    }
}

/* `set` changes the options. Weights are about 1. */
static void compare_with(wtl_granularity granularity, void (*set)(wtl_method_options *options))
{
    fixture *f = open_fixture(12, true);
    slow_net *original = malloc(sizeof *original), *pruned = malloc(sizeof *pruned);
    assert_true(original && pruned);
    f->options.reconstruct.ridge = 1e-2;
    set(&f->options);
    int height = granularity == WTL_GRANULARITY_4X1 ? 4 : 1;
    set_granularity(f, granularity);
    slow_take(original, f->original, height);
    slow_take(pruned, f->net, height);
    ask_for(f, 62, height == 1 ? 101 : 100, 300);
    closest_choice = 1.0;
    slow_round(pruned, original, f, &f->options);
    assert_true(closest_choice > 5e-5);
    run(f);
    for (int l = 0; l < LAYERS; l++) {
        assert_same_layer(f, pruned, l, 1e-4);
    }
    free(original);
    free(pruned);
    close_fixture(f);
}

static void compare(void (*set)(wtl_method_options *options))
{
    compare_with(WTL_GRANULARITY_WEIGHT, set);
}

static void set_nothing(wtl_method_options *options)
{
    (void)options;
}
static void set_inputs_original(wtl_method_options *options)
{
    options->inputs_original = true;
}
static void set_targets_dense(wtl_method_options *options)
{
    options->targets_dense = true;
}
static void set_both_nets(wtl_method_options *options)
{
    options->inputs_original = options->targets_dense = true;
}
static void set_no_fit(wtl_method_options *options)
{
    options->no_fit = true;
}
static void set_no_restore(wtl_method_options *options)
{
    options->no_restore = true;
}

static void a_round_equals_the_literal_algorithm(void **state)
{
    (void)state;
    compare(set_nothing);
}

static void inputs_can_come_from_the_dense_net(void **state)
{
    (void)state;
    compare(set_inputs_original);
}

static void targets_can_come_from_the_dense_net(void **state)
{
    (void)state;
    compare(set_targets_dense);
}

static void inputs_and_targets_can_come_from_the_dense_net(void **state)
{
    (void)state;
    compare(set_both_nets);
}

static void blocks_follow_the_literal_algorithm(void **state)
{
    (void)state;
    compare_with(WTL_GRANULARITY_4X1, set_nothing);
}

static void blocks_follow_it_with_inputs_and_targets_of_the_dense_net(void **state)
{
    (void)state;
    compare_with(WTL_GRANULARITY_4X1, set_both_nets);
}

static void blocks_without_a_fit_have_their_old_weights(void **state)
{
    (void)state;
    compare_with(WTL_GRANULARITY_4X1, set_no_fit);
}

static void blocks_without_restoring_go_by_their_norm(void **state)
{
    (void)state;
    compare_with(WTL_GRANULARITY_4X1, set_no_restore);
}

static void without_a_fit_weights_stay_as_they_were(void **state)
{
    (void)state;
    compare(set_no_fit);
}

static void without_restoring_magnitude_chooses(void **state)
{
    (void)state;
    compare(set_no_restore);
}

/* The transcriptions differ, so the options do. */
static void options_change_the_result(void **state)
{
    (void)state;
    void (*const sets[])(wtl_method_options *) = {
        set_nothing, set_inputs_original, set_targets_dense, set_no_fit, set_no_restore};
    enum { SETS = sizeof sets / sizeof *sets };
    static float weights[SETS][MOST_WEIGHTS];
    for (int i = 0; i < SETS; i++) {
        fixture *f = open_fixture(12, true);
        sets[i](&f->options);
        ask_for(f, 62, 101, 300);
        run(f);
        memcpy(weights[i], f->layers[2].param->value, sizeof weights[i]);
        close_fixture(f);
        for (int j = 0; j < i; j++) {
            assert_memory_not_equal(weights[i], weights[j], sizeof weights[i]);
        }
    }
}

/* ---- order, goal, limits ---- */

static void layers_go_by_present_energy_most_first(void **state)
{
    (void)state;
    fixture *f = open_fixture(12, false);
    const size_t present[LAYERS] = {60, COUNT[1], COUNT[2]};
    for (int i = 0; i < 12 * IMAGE; i++) { /* what is mostly 0 costs conv1 little */
        f->images[i] *= fabsf(f->images[i]) > 0.9f;
    }
    assert_ok(wtl_pricing_measure(f->pricing, &f->sample, NULL, NULL, NULL));
    wtl_param *conv1 = f->layers[0].param;
    assert_ok(wtl_mask_keep_top(&conv1, 1, present[0], NULL));
    f->layers[0].most = present[0];
    f->context.goal_energy = 0.5 * (present_energy(f) + energy_of(f, 1, 1, 1));
    run(f);
    bool sorted_by_place = true;
    for (int i = 0; i < LAYERS; i++) {
        const wtl_method_step *step = &f->steps[i];
        size_t count = present[step->layer];
        assert_int_equal(step->kept_before, count);
        assert_close(step->energy_before,
                     wtl_pricing_cost(f->pricing, step->layer, (double)count), 0.0);
        assert_int_equal(step->kept_after, wtl_mask_kept(f->layers[step->layer].param));
        assert_close(step->energy_after,
                     wtl_pricing_cost(f->pricing, step->layer, (double)step->kept_after), 0.0);
        assert_true(i == 0 || step->energy_before < f->steps[i - 1].energy_before);
        sorted_by_place = sorted_by_place && step->layer == i;
        assert_true(step->error_before >= 0 && step->error_removal > step->error_restoral &&
                    step->error_restoral > 0 && step->error > 0);
    }
    assert_false(sorted_by_place); /* else the net is no test */
    close_fixture(f);
}

static void the_goal_is_met_within_half_a_percent(void **state)
{
    (void)state;
    static const wtl_eap_allocation how[] = {WTL_EAP_LEAST_ERROR, WTL_EAP_EQUAL_ERROR,
                                             WTL_EAP_BY_ENERGY};
    for (int i = 0; i < 12; i++) {
        fixture *f = open_fixture(12, false);
        double goal = goal_at(f, 0.05 + 0.3 * (i % 4));
        f->options.allocation = how[i / 4];
        f->context.goal_energy = goal;
        run(f);
        double got = present_energy(f);
        assert_true(got <= goal * (1 + 1e-12));
        assert_true(got >= 0.995 * goal);
        close_fixture(f);
    }
}

/* No layer can have one more weight. */
static void the_goal_leaves_no_room_for_a_weight(void **state)
{
    (void)state;
    fixture *f = open_fixture(12, false);
    f->context.goal_energy = goal_at(f, 0.7);
    run(f);
    double nonzeros[LAYERS];
    for (int l = 0; l < LAYERS; l++) {
        wtl_pricing_nonzeros(f->pricing, f->net, nonzeros);
        nonzeros[l] += 2; /* one may be lost between two equal tolerances */
        assert_true(wtl_pricing_total(f->pricing, nonzeros) > f->context.goal_energy);
    }
    close_fixture(f);
}

static void limits_and_exclusions_hold(void **state)
{
    (void)state;
    fixture *f = open_fixture(12, true);
    float conv2[MOST_WEIGHTS];
    memcpy(conv2, f->layers[1].param->value, COUNT[1] * sizeof *conv2);
    f->layers[0].least = 100;
    f->layers[1].least = COUNT[1];
    f->context.goal_energy = energy_of(f, 101, COUNT[1], 30);
    run(f);
    assert_true(wtl_mask_kept(f->layers[0].param) >= 100);
    assert_null(f->layers[1].param->mask);
    assert_memory_equal(conv2, f->layers[1].param->value, COUNT[1] * sizeof *conv2);
    close_fixture(f);
}

static void a_goal_below_the_floor_is_refused(void **state)
{
    (void)state;
    fixture *f = open_fixture(4, false);
    wtl_error err;
    f->layers[1].least = 200;
    f->context.goal_energy = energy_of(f, 1, 200, 1) * 0.999;
    assert_int_equal(wtl_method_energy_aware.prune(&f->context, &err), WTL_E_FIT);
    assert_non_null(strstr(err.text, "the least that the limits and the hardware allow"));
    assert_null(f->layers[0].param->mask);
    close_fixture(f);
}

static void pruned_weights_stay_pruned_in_the_next_round(void **state)
{
    (void)state;
    fixture *f = open_fixture(12, false);
    float mask[LAYERS][MOST_WEIGHTS];
    f->context.goal_energy = goal_at(f, 0.8);
    run(f);
    for (int l = 0; l < LAYERS; l++) {
        f->layers[l].most = wtl_mask_kept(f->layers[l].param);
        memcpy(mask[l], f->layers[l].param->mask, COUNT[l] * sizeof(float));
    }
    f->step_count = f->done = f->total = 0;
    f->context.goal_energy = goal_at(f, 0.7);
    run(f);
    for (int l = 0; l < LAYERS; l++) {
        for (size_t i = 0; i < COUNT[l]; i++) {
            assert_true(mask[l][i] != 0.0f || f->layers[l].param->mask[i] == 0.0f);
        }
    }
    assert_true(present_energy(f) <= f->context.goal_energy);
    close_fixture(f);
}

/* The fit alone: a layer whose inputs are the dense net's returns to the dense weights. */
static void at_the_present_energy_only_the_fit_acts(void **state)
{
    (void)state;
    fixture *f = open_fixture(60, true);
    f->options.reconstruct.ridge = -1;
    f->options.targets_dense = true;
    f->context.goal_energy = dense_energy(f);
    run(f);
    for (int l = 0; l < LAYERS; l++) {
        assert_int_equal(wtl_mask_kept(f->layers[l].param), COUNT[l]);
    }
    assert_all_close(f->layers[0].param->value, values(f->original, WEIGHT[0]), COUNT[0], 1e-3);
    close_fixture(f);
}

static void a_net_that_is_its_original_stays_at_its_energy(void **state)
{
    (void)state;
    fixture *f = open_fixture(12, false);
    f->context.goal_energy = dense_energy(f);
    run(f);
    for (int l = 0; l < LAYERS; l++) {
        assert_all_close(f->layers[l].param->value, values(f->original, WEIGHT[l]), COUNT[l],
                         1e-5);
    }
    close_fixture(f);
}

/* ---- allocation ---- */

static void by_energy_densities_fall_in_proportion(void **state)
{
    (void)state;
    fixture *f = open_fixture(12, false);
    f->options.allocation = WTL_EAP_BY_ENERGY;
    f->context.goal_energy = goal_at(f, 0.75);
    run(f);
    double first = 0.0;
    for (int i = 0; i < LAYERS; i++) {
        const wtl_method_step *step = &f->steps[i];
        double gone = 1.0 - (double)step->kept_after / (double)step->kept_before;
        double s = gone / step->energy_before;
        first = i == 0 ? s : first;
        assert_true(gone > 0);
        /* two weights of rounding */
        assert_close(s, first, 2.0 / (double)step->kept_before / step->energy_before);
    }
    close_fixture(f);
}

/* ||y - X w||_1 / ||y||_1 of a layer on the dense net's inputs, for images that the method has
 * not seen. */
static double relative_error(const fixture *f, int l)
{
    slow_net *original = malloc(sizeof *original), *pruned = malloc(sizeof *pruned);
    assert_true(original && pruned);
    slow_take(original, f->original, 1);
    slow_take(pruned, f->net, 1);
    slow_problem s =
        slow_gather(pruned, original, original, l, f->images + f->options.images * IMAGE,
                    f->sample.count - f->options.images);
    double error = 0.0, target = 0.0;
    for (int k = 0; k < s.l->k; k++) {
        error += slow_error(&s, k, -1, NULL);
        for (int row = 0; row < s.rows; row++) {
            target += fabs(s.y[k * s.rows + row]);
        }
    }
    slow_close(&s);
    free(original);
    free(pruned);
    return error / target;
}

/* error[LAYERS] after a round with that allocation; returns the sum of their squares. */
static double errors_by(wtl_eap_allocation allocation, double goal, double error[LAYERS])
{
    fixture *f = open_fixture(400, false);
    f->options.allocation = allocation;
    f->options.inputs_original = true; /* so that errors stand as they were probed */
    f->options.positions = 4;
    f->options.images = 300;
    f->context.goal_energy = goal_at(f, goal);
    run(f);
    double squares = 0.0;
    for (int l = 0; l < LAYERS; l++) {
        error[l] = relative_error(f, l);
        squares += error[l] * error[l];
    }
    close_fixture(f);
    return squares;
}

static void equal_error_leaves_layers_at_the_same_error(void **state)
{
    (void)state;
    double error[LAYERS];
    (void)errors_by(WTL_EAP_EQUAL_ERROR, 0.75, error);
    double mean = (error[0] + error[1] + error[2]) / LAYERS;
    for (int l = 0; l < LAYERS; l++) { /* other rows; one weight of conv1 matters */
        assert_close(error[l] / mean, 1.0, 0.12);
    }
    assert_true(mean > 0.03);
}

/* On other images than those that chose. */
static void least_error_has_the_least_sum_of_squares(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        double error[LAYERS], goal = 0.3 + 0.2 * i;
        double least = errors_by(WTL_EAP_LEAST_ERROR, goal, error);
        assert_true(least < errors_by(WTL_EAP_EQUAL_ERROR, goal, error));
        assert_true(least < errors_by(WTL_EAP_BY_ENERGY, goal, error));
    }
}

static void more_probes_and_other_samples_change_the_allocation(void **state)
{
    (void)state;
    size_t kept[4];
    for (int i = 0; i < 4; i++) {
        fixture *f = open_fixture(40, false);
        f->options.probes = i == 1 ? 2 : 0;
        f->options.images = i == 2 ? 20 : 40;
        f->options.positions = i == 3 ? 2 : 25;
        f->context.goal_energy = goal_at(f, 0.75);
        run(f);
        kept[i] = wtl_mask_kept(f->layers[2].param);
        close_fixture(f);
    }
    assert_true(kept[1] != kept[0] && kept[2] != kept[0] && kept[3] != kept[0]);
}

/* ---- the machinery ---- */

static void progress_ends_at_its_total_and_a_stop_is_obeyed(void **state)
{
    (void)state;
    int asked = 0;
    for (int stop = 0; stop == 0 || stop <= asked; stop += stop == 0 ? 1 : 7) {
        fixture *f = open_fixture(12, false);
        wtl_error err;
        f->context.goal_energy = goal_at(f, 0.8);
        f->stop_at = stop;
        wtl_status status = wtl_method_energy_aware.prune(&f->context, &err);
        assert_int_equal(status, stop ? WTL_E_STOPPED : WTL_OK);
        assert_true(stop || f->done == f->total);
        asked = stop ? asked : f->asked;
        close_fixture(f);
    }
    assert_true(asked > 10);
}

static void the_same_seed_gives_the_same_bytes_on_any_threads(void **state)
{
    (void)state;
    static float weights[MOST_WEIGHTS];
    for (int threads = 1; threads <= 3; threads++) {
        fixture *f = open_fixture(40, false);
        f->options.positions = 5;
        f->context.threads = threads;
        f->context.goal_energy = goal_at(f, 0.7);
        run(f);
        if (threads == 1) {
            memcpy(weights, f->layers[2].param->value, sizeof weights);
        }
        assert_memory_equal(weights, f->layers[2].param->value, sizeof weights);
        close_fixture(f);
    }
}

static void what_is_not_finite_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        fixture *f = open_fixture(8, false);
        wtl_error err;
        f->context.goal_energy = goal_at(f, 0.8);
        float *value = i == 0   ? f->images
                       : i == 1 ? values(f->net, WEIGHT[1])
                                : values(f->net, "bn2.running_var");
        value[5] = i == 2 ? -3.0f : NAN;
        assert_int_equal(wtl_method_energy_aware.prune(&f->context, &err), WTL_E_NAN);
        close_fixture(f);
    }
}

static wtl_status prune_once(void *context)
{
    fixture *f = context;
    for (int l = 0; l < LAYERS; l++) {
        wtl_mask_free(f->layers[l].param);
    }
    f->step_count = f->done = f->total = 0;
    wtl_status status = wtl_net_copy_params(f->net, f->original, NULL);
    f->layers[0].param->value[0] += 0.5f; /* the net before the round is a net of its own */
    status = status == WTL_OK ? wtl_method_energy_aware.prune(&f->context, NULL) : status;
    for (int l = 0; l < LAYERS; l++) {
        wtl_mask_free(f->layers[l].param);
    }
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    fixture *f = open_fixture(8, false);
    f->options.positions = 3;
    f->context.goal_energy = goal_at(f, 0.8);
    wtl_test_every_allocation_fails(prune_once, f);
    close_fixture(f);
}

/* ---- a layer without moments ---- */

static const char DECONV[] = "net up\n"
                             "input data 2x4x4\n"
                             "conv1 = conv data out=3 kernel=3 pad=1\n"
                             "relu1 = relu conv1\n"
                             "up2 = deconv relu1 out=4 kernel=2 stride=2\n";

static void a_deconv_keeps_the_largest_of_every_filter(void **state)
{
    (void)state;
    wtl_netdef *def = NULL;
    wtl_hardware hw;
    wtl_pricing *pricing = NULL;
    float images[8 * 32], before[48];
    wtl_fill_random(images, sizeof images / sizeof *images, 3);
    wtl_sample sample = {.count = 8, .shape = {2, 4, 4}, .images = images};
    assert_ok(wtl_netdef_parse(&def, DECONV, strlen(DECONV), "up.net", NULL, NULL));
    wtl_net *net = plan(def, false), *probe = plan(def, true), *original = plan(def, true);
    wtl_netdef_free(def);
    fill_net(original);
    assert_ok(wtl_net_copy_params(net, original, NULL));
    assert_ok(wtl_hardware_load(&hw, "eyeriss-cvpr17", NULL));
    assert_ok(wtl_pricing_create(&pricing, probe, &hw, NULL, NULL));
    wtl_method_layer layers[2] = {{.param = wtl_net_find_param(net, "conv1.weight"),
                                   .weights = 54,
                                   .least = 54,
                                   .most = 54},
                                  {.param = wtl_net_find_param(net, "up2.weight"),
                                   .weights = 48,
                                   .least = 20, /* 6 of each of 3 filters, and two more */
                                   .most = 48}};
    const double goal[2] = {54, 20};
    wtl_method_context context = {.net = net,
                                  .probe = probe,
                                  .original = original,
                                  .pricing = pricing,
                                  .sample = &sample,
                                  .layers = layers,
                                  .goal_energy = wtl_pricing_total(pricing, goal)};
    memcpy(before, layers[1].param->value, sizeof before);
    assert_ok(wtl_method_energy_aware.prune(&context, NULL));
    const wtl_param *up = layers[1].param;
    assert_int_equal(wtl_mask_kept(up), 20);
    for (int filter = 0; filter < 3; filter++) {
        float smallest_kept = 2.0f, largest_gone = 0.0f;
        int kept = 0;
        for (int i = filter * 16; i < filter * 16 + 16; i++) {
            float size = fabsf(before[i]);
            if (up->mask[i] != 0.0f) {
                kept++;
                smallest_kept = size < smallest_kept ? size : smallest_kept;
                assert_true(up->value[i] == before[i]);
            } else {
                largest_gone = size > largest_gone ? size : largest_gone;
                assert_true(up->value[i] == 0.0f);
            }
        }
        assert_true((kept == 6 || kept == 7) && smallest_kept >= largest_gone);
    }
    wtl_pricing_free(pricing);
    wtl_net_free(net);
    wtl_net_free(probe);
    wtl_net_free(original);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_round_equals_the_literal_algorithm),
        WTL_TEST(inputs_can_come_from_the_dense_net),
        WTL_TEST(targets_can_come_from_the_dense_net),
        WTL_TEST(inputs_and_targets_can_come_from_the_dense_net),
        WTL_TEST(blocks_follow_the_literal_algorithm),
        WTL_TEST(blocks_follow_it_with_inputs_and_targets_of_the_dense_net),
        WTL_TEST(blocks_without_a_fit_have_their_old_weights),
        WTL_TEST(blocks_without_restoring_go_by_their_norm),
        WTL_TEST(without_a_fit_weights_stay_as_they_were),
        WTL_TEST(without_restoring_magnitude_chooses),
        WTL_TEST(options_change_the_result),
        WTL_TEST(layers_go_by_present_energy_most_first),
        WTL_TEST(the_goal_is_met_within_half_a_percent),
        WTL_TEST(the_goal_leaves_no_room_for_a_weight),
        WTL_TEST(limits_and_exclusions_hold),
        WTL_TEST(a_goal_below_the_floor_is_refused),
        WTL_TEST(pruned_weights_stay_pruned_in_the_next_round),
        WTL_TEST(at_the_present_energy_only_the_fit_acts),
        WTL_TEST(a_net_that_is_its_original_stays_at_its_energy),
        WTL_TEST(by_energy_densities_fall_in_proportion),
        WTL_TEST(equal_error_leaves_layers_at_the_same_error),
        WTL_TEST(least_error_has_the_least_sum_of_squares),
        WTL_TEST(more_probes_and_other_samples_change_the_allocation),
        WTL_TEST(progress_ends_at_its_total_and_a_stop_is_obeyed),
        WTL_TEST(the_same_seed_gives_the_same_bytes_on_any_threads),
        WTL_TEST(what_is_not_finite_is_refused),
        WTL_TEST(every_allocation_may_fail),
        WTL_TEST(a_deconv_keeps_the_largest_of_every_filter),
    };
    return WTL_RUN("energy-aware", tests);
}
