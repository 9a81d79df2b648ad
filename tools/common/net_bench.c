/* net_bench.c - timing nets, and the roofline of their layers.
 *
 * Bytes of a layer, each tensor once:
 *   forward    weights, inputs, output
 *   backward   weights and their gradient; the output's gradient; the inputs' gradient, unless
 *              they are the images; the inputs, where the gradient depends on them (with
 *              weights, LRN)
 *
 * Where they come from: maps from the cache if those of the layer fill no more than half of it,
 * as the layer before has just written them; weights from the cache only if the whole network
 * fits like that, as everything else ran in between.
 */
#include "net_bench.h"
#include "signals.h"

#include "wattle/blas.h"
#include "wattle/loss.h"
#include "wattle/memory.h"
#include "wattle/optimizer.h"
#include "wattle/rng.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- limits ---- */

void wtl_limits_measure(wtl_limits *limits, int threads)
{
    static const double SECONDS = 0.1; /* of each figure */
    static const size_t MEMORY_BYTES = (size_t)128 << 20;
    size_t cache = wtl_peak_cache_bytes(), large = MEMORY_BYTES;
    large = large < 2 * cache && cache < SIZE_MAX / 8 ? 2 * cache : large;
    *limits = (wtl_limits){.threads = threads, .isa = wtl_peak_widest(), .cache_bytes = cache};
    limits->flops = wtl_peak_flops(limits->isa, threads, SECONDS);
    limits->memory_read = wtl_peak_bytes(WTL_PEAK_READ, threads, large, SECONDS);
    limits->memory_copy = wtl_peak_bytes(WTL_PEAK_COPY, threads, large, SECONDS);
    limits->cache_read = limits->memory_read;
    limits->cache_copy = limits->memory_copy;
    if (cache) { /* an eighth each: not in the levels before, surely in this one */
        limits->cache_read = wtl_peak_bytes(WTL_PEAK_READ, threads, cache / 8, SECONDS);
        limits->cache_copy = wtl_peak_bytes(WTL_PEAK_COPY, threads, cache / 8, SECONDS);
    }
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

wtl_spread wtl_spread_of(double *values, int count)
{
    double sum = 0.0, squares = 0.0;
    qsort(values, (size_t)count, sizeof *values, by_value);
    for (int i = 0; i < count; i++) {
        sum += values[i];
    }
    for (int i = 0; i < count; i++) {
        squares += (values[i] - sum / count) * (values[i] - sum / count);
    }
    return (wtl_spread){.mean = sum / count,
                        .sd = count > 1 ? sqrt(squares / (count - 1)) : NAN,
                        .median = 0.5 * (values[(count - 1) / 2] + values[count / 2]),
                        .least = values[0],
                        .most = values[count - 1]};
}

/* ---- a net that runs ---- */

typedef struct bench_run {
    const wtl_bench_plan *plan;
    wtl_bench_point *point; /* of it */
    double *samples;        /* [series][plan->repeats]: the rows last */
    wtl_net *net;
    wtl_optimizer *optimizer; /* NULL: inference */
    int *labels;
    uint64_t step;
} bench_run;

static double now(void *context)
{
    (void)context;
    return wtl_peak_now();
}

static wtl_status make_net(wtl_net **net, const wtl_subject *subject,
                           const wtl_net_options *options, uint64_t seed, wtl_error *err)
{
    wtl_status status = wtl_net_create(net, subject->def, options, err);
    if (status != WTL_OK) {
        return status;
    }
    if (!subject->checkpoint) {
        wtl_net_init(*net, seed);
        return WTL_OK;
    }
    status = wtl_checkpoint_fill_net(subject->checkpoint, *net, err);
    return status == WTL_E_MISSING ? wtl_fail_in(err, WTL_E_FORMAT, subject->def->name)
                                   : status;
}

static bool has_batchnorm(const wtl_netdef *def)
{
    for (int i = 0; i < def->layer_count; i++) {
        if (def->layers[i].kind == WTL_LAYER_BATCHNORM) {
            return true;
        }
    }
    return false;
}

static wtl_status make_run(bench_run *run, const wtl_subject *subject, bool no_sparse,
                           wtl_error *err)
{
    const wtl_bench_plan *plan = run->plan;
    const wtl_net_options options = {.batch = plan->batch,
                                     .threads = plan->threads,
                                     .engine = plan->engine,
                                     .isa = plan->isa,
                                     .no_winograd = plan->no_winograd,
                                     .no_sparse = no_sparse,
                                     .training = plan->training,
                                     .seed = plan->seed};
    bool fold = !plan->training && !plan->no_fold && has_batchnorm(subject->def);
    wtl_net_options one = options;
    one.batch = fold ? 1 : options.batch; /* what is folded never runs */
    wtl_status status = make_net(&run->net, subject, &one, plan->seed, err);
    if (status == WTL_OK && fold) {
        wtl_net *whole = run->net;
        status = wtl_net_fold(&run->net, whole, &options, err);
        wtl_net_free(whole);
    }
    if (status != WTL_OK || !plan->training) {
        return status == WTL_OK ? wtl_net_freeze(run->net, plan->costs, err) : status;
    }
    const wtl_optimizer_options sgd = {.kind = WTL_OPTIMIZER_SGD,
                                       .momentum = 0.9,
                                       .weight_decay = 5e-4,
                                       .threads = plan->threads};
    return wtl_optimizer_create(&run->optimizer, run->net, &sgd, err);
}

static wtl_status fill_inputs(bench_run *run, wtl_error *err)
{
    wtl_rng rng = wtl_rng_make(run->plan->seed, WTL_RNG_SAMPLE, 0, 0);
    size_t batch = (size_t)run->plan->batch;
    size_t floats = batch * wtl_shape_count(wtl_net_def(run->net)->input);
    const wtl_head *head = wtl_net_main_head(run->net);
    float *images = wtl_net_input(run->net);
    run->labels = wtl_alloc(batch, sizeof *run->labels);
    if (!run->labels) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %zu labels", batch);
    }
    for (size_t i = 0; i < floats; i++) {
        images[i] = 2.0f * wtl_rng_uniform(&rng) - 1.0f;
    }
    for (size_t i = 0; i < batch; i++) {
        run->labels[i] = head ? (int)wtl_rng_below(&rng, (uint32_t)head->classes) : 0;
    }
    return WTL_OK;
}

/* Times of one pass: whole, loss, step. */
typedef struct pass_times {
    double whole, loss, step;
} pass_times;

static pass_times run_pass(bench_run *run)
{
    static const double RATE = 1e-6; /* labels are noise: weights must not run away */
    int batch = run->plan->batch;
    pass_times times = {0.0, 0.0, 0.0};
    double begin = wtl_peak_now();
    if (!run->optimizer) {
        wtl_net_forward(run->net, batch, WTL_RUN_INFERENCE, 0);
        times.whole = wtl_peak_now() - begin;
        return times;
    }
    wtl_net_forward(run->net, batch, WTL_RUN_TRAINING, run->step++);
    double forwarded = wtl_peak_now();
    (void)wtl_net_loss(run->net, batch, run->labels, 0.0f, NULL);
    times.loss = wtl_peak_now() - forwarded;
    wtl_net_backward(run->net, batch);
    double back = wtl_peak_now();
    (void)wtl_optimizer_step(run->optimizer, RATE);
    double end = wtl_peak_now();
    times.step = end - back;
    times.whole = end - begin;
    return times;
}

static void clear_run(bench_run *run)
{
    wtl_optimizer_free(run->optimizer);
    wtl_net_free(run->net);
    wtl_free(run->labels);
    wtl_free(run->samples);
    *run = (bench_run){0};
}

/* ---- rows ---- */

static double weight_bytes(wtl_net *net, int layer)
{
    double bytes = 0.0;
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        const wtl_param *param = wtl_net_param(net, p);
        bytes += param->layer == layer ? (double)param->count * sizeof(float) : 0.0;
    }
    return bytes;
}

static double time_of(double bytes, double rate)
{
    return rate > 0.0 ? bytes / rate : 0.0;
}

/* Flops, bytes and the bound. */
static void weigh(wtl_bench_row *row, wtl_net *net, const wtl_shape *shapes, int batch,
                  const wtl_limits *limits)
{
    const wtl_layer_def *layer = &wtl_net_def(net)->layers[row->layer];
    bool images = layer->inputs[0] == 0;
    wtl_net_memory memory = wtl_net_memory_of(net);
    double half = 0.5 * (double)limits->cache_bytes, in = 0.0;
    double whole = (double)(memory.parameters + memory.gradients + memory.activations);
    double map = (double)batch * sizeof(float);
    double out = map * (double)wtl_shape_count(shapes[row->layer]);
    for (int i = 0; i < layer->input_count; i++) {
        in += map * (double)wtl_shape_count(shapes[layer->inputs[i]]);
    }
    double weights = weight_bytes(net, row->layer) * (row->backward ? 2.0 : 1.0);
    bool reads_inputs = !row->backward || weights > 0.0 || layer->kind == WTL_LAYER_LRN;
    bool gives_gradient = row->backward && !images;
    double maps = out + (reads_inputs ? in : 0.0) + (gives_gradient ? in : 0.0);
    row->flops = 2.0 * batch * (gives_gradient ? 2.0 : 1.0) *
                 (double)wtl_layer_macs(layer, shapes[layer->inputs[0]], shapes[row->layer]);
    row->bytes = weights + maps;
    double moving = time_of(weights, whole <= half ? limits->cache_read : limits->memory_read) +
                    time_of(maps, maps <= half ? limits->cache_copy : limits->memory_copy);
    double computing = row->flops / limits->flops;
    row->memory_bound = moving > computing;
    row->bound_seconds = row->memory_bound ? moving : computing;
}

/* A row for each layer that took time in the pass just run. */
static wtl_status list_rows(wtl_bench_point *point, wtl_net *net, const wtl_limits *limits,
                            wtl_error *err)
{
    const wtl_netdef *def = wtl_net_def(net);
    int count = def->layer_count;
    wtl_shape *shapes = wtl_alloc((size_t)count, sizeof *shapes);
    point->rows = wtl_alloc(2 * (size_t)count, sizeof *point->rows);
    wtl_status status = shapes && point->rows
                            ? wtl_netdef_shapes(def, shapes, err)
                            : wtl_fail(err, WTL_E_NOMEM, "out of memory for %d layers", count);
    for (int i = 0; i < 2 * count && status == WTL_OK; i++) {
        bool backward = i >= count;
        int layer = backward ? 2 * count - 1 - i : i;
        if (wtl_net_layer_seconds(net, layer, backward) <= 0.0) {
            continue;
        }
        wtl_bench_row *row = &point->rows[point->row_count++];
        *row = (wtl_bench_row){.layer = layer,
                               .backward = backward,
                               .name = wtl_strdup(def->layers[layer].name),
                               .kernel = wtl_strdup(wtl_net_kernel(net, layer)),
                               .kind = wtl_layer_kind_name(def->layers[layer].kind)};
        if (!row->name || !row->kernel) {
            status = wtl_fail(err, WTL_E_NOMEM, "out of memory for %d layers", count);
        } else {
            weigh(row, net, shapes, point->batch, limits);
            point->flops += row->flops;
        }
    }
    wtl_free(shapes);
    return status;
}

static void clear_point(wtl_bench_point *point)
{
    for (int i = 0; i < point->row_count; i++) {
        wtl_free(point->rows[i].name);
        wtl_free(point->rows[i].kernel);
    }
    wtl_free(point->rows);
    *point = (wtl_bench_point){0};
}

void wtl_bench_pair_clear(wtl_bench_pair *pair)
{
    clear_point(&pair->point);
    clear_point(&pair->dense);
}

/* ---- measuring ---- */

enum { SERIES_WHOLE, SERIES_LOSS, SERIES_STEP, SERIES_REST, SERIES_ROWS };

/* What takes how long in one repeat. */
static void take_sample(bench_run *run)
{
    wtl_bench_point *point = run->point;
    size_t stride = (size_t)run->plan->repeats;
    double *sample = run->samples + point->repeats++;
    pass_times times = run_pass(run);
    double rest = times.whole - times.loss - times.step;
    for (int i = 0; i < point->row_count; i++) {
        const wtl_bench_row *row = &point->rows[i];
        double seconds = wtl_net_layer_seconds(run->net, row->layer, row->backward);
        sample[(size_t)(SERIES_ROWS + i) * stride] = seconds;
        rest -= seconds;
    }
    sample[SERIES_WHOLE * stride] = times.whole;
    sample[SERIES_LOSS * stride] = times.loss;
    sample[SERIES_STEP * stride] = times.step;
    sample[SERIES_REST * stride] = rest;
}

static void sum_up(const bench_run *run)
{
    wtl_bench_point *point = run->point;
    size_t stride = (size_t)run->plan->repeats;
    wtl_spread all[SERIES_ROWS];
    for (int i = 0; i < SERIES_ROWS; i++) {
        all[i] = wtl_spread_of(run->samples + (size_t)i * stride, point->repeats);
    }
    point->seconds = all[SERIES_WHOLE];
    point->loss_seconds = all[SERIES_LOSS].median;
    point->step_seconds = all[SERIES_STEP].median;
    point->rest_seconds = all[SERIES_REST].median;
    for (int i = 0; i < point->row_count; i++) {
        double *series = run->samples + (size_t)(SERIES_ROWS + i) * stride;
        point->rows[i].seconds = wtl_spread_of(series, point->repeats).median;
    }
}

/* Ready to be timed: net, images, warm, rows. */
static wtl_status prepare(bench_run *run, const wtl_subject *subject, bool no_sparse,
                          const wtl_limits *limits, wtl_error *err)
{
    wtl_bench_point *point = run->point;
    *point = (wtl_bench_point){.threads = run->plan->threads, .batch = run->plan->batch};
    wtl_status status = make_run(run, subject, no_sparse, err);
    if (status == WTL_OK) {
        status = fill_inputs(run, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    wtl_net_set_clock(run->net, now, NULL);
    for (int i = 0; i < run->plan->warmup; i++) {
        (void)run_pass(run);
    }
    point->memory = wtl_net_memory_of(run->net);
    status = list_rows(point, run->net, limits, err);
    size_t series = (size_t)SERIES_ROWS + (size_t)point->row_count;
    run->samples = wtl_alloc(series * (size_t)run->plan->repeats, sizeof *run->samples);
    return status == WTL_OK && !run->samples
               ? wtl_fail(err, WTL_E_NOMEM, "out of memory for %d repeats", run->plan->repeats)
               : status;
}

/* Whether some layer runs by another kernel. */
static bool differ(const wtl_net *a, const wtl_net *b)
{
    for (int i = 0; i < wtl_net_def(a)->layer_count; i++) {
        if (strcmp(wtl_net_kernel(a, i), wtl_net_kernel(b, i)) != 0) {
            return true;
        }
    }
    return false;
}

static bool wants_more(const bench_run *run, double seconds)
{
    enum { LEAST_REPEATS = 3 };
    int repeats = run->point->repeats;
    return repeats < run->plan->repeats &&
           (repeats < LEAST_REPEATS || seconds < run->plan->seconds);
}

/* Passes of `count` runs by turns of some milliseconds: a short pass keeps what it has in the
 * caches for the next one. False when stopped. */
static bool repeat(bench_run *runs, int count)
{
    static const double TURN = 0.01;
    double spent[2] = {0.0, 0.0};
    for (bool more = true; more;) {
        more = false;
        for (int i = 0; i < count; i++) {
            double begin = wtl_peak_now(), turn = 0.0;
            for (; turn < TURN && wants_more(&runs[i], spent[i] + turn);
                 turn = wtl_peak_now() - begin) {
                take_sample(&runs[i]);
            }
            spent[i] += turn;
            more |= wants_more(&runs[i], spent[i]);
            if (wtl_signals_stop(NULL)) {
                return false;
            }
        }
    }
    return true;
}

static wtl_status measure(bench_run runs[2], const wtl_subject *subject,
                          const wtl_limits *limits, wtl_error *err)
{
    const wtl_bench_plan *plan = runs[0].plan;
    int count = 1;
    wtl_status status = prepare(&runs[0], subject, plan->no_sparse, limits, err);
    bool has_zeros = subject->checkpoint && !plan->training && !plan->no_sparse &&
                     plan->engine == WTL_ENGINE_NATIVE;
    if (status == WTL_OK && has_zeros) {
        status = prepare(&runs[1], subject, true, limits, err);
        count += status == WTL_OK && differ(runs[0].net, runs[1].net);
    }
    if (status != WTL_OK) {
        return status;
    }
    if (!repeat(runs, count)) {
        return wtl_fail(err, WTL_E_STOPPED, "stopped");
    }
    for (int i = 0; i < count; i++) {
        sum_up(&runs[i]);
    }
    return WTL_OK;
}

wtl_status wtl_bench_measure(wtl_bench_pair *pair, const wtl_subject *subject,
                             const wtl_bench_plan *plan, const wtl_limits *limits,
                             wtl_error *err)
{
    *pair = (wtl_bench_pair){.point = {0}};
    bench_run runs[2] = {{.plan = plan, .point = &pair->point},
                         {.plan = plan, .point = &pair->dense}};
    wtl_blas_prepare();
    wtl_threads_prepare(plan->threads);
    wtl_status status = measure(runs, subject, limits, err);
    clear_run(&runs[0]);
    clear_run(&runs[1]);
    if (status != WTL_OK) {
        wtl_bench_pair_clear(pair);
    } else if (pair->dense.repeats == 0) {
        clear_point(&pair->dense);
    }
    return status;
}
