/* bench_worker.c - the wattle side of `versus`: a worker that keeps one network ready.
 *
 *   bench_worker NET train|infer BATCH THREADS
 *
 * The first line of its output is JSON: parameters, macs, how it runs. Then on each line "K" of
 * stdin it runs K steps and answers with the seconds they took.
 *
 *   infer   a forward pass, batch norm folded
 *   train   forward, loss, backward and an SGD step with momentum and weight decay of all
 *           parameters (as torch does it), without auxiliary heads
 *
 * Images are random and in memory.
 */
#define _POSIX_C_SOURCE 200809L
#include "wattle/blas.h"
#include "wattle/loss.h"
#include "wattle/memory.h"
#include "wattle/optimizer.h"
#include "wattle/rng.h"
#include "wattle/text.h"
#include "wattle/threads.h"
#include "wattle/zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SEED = 1, MOST_STEPS = 1000000 };

typedef struct worker {
    wtl_net *net;
    wtl_optimizer *optimizer; /* NULL: inference */
    int batch, *labels;
    uint64_t step;
} worker;

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop(const char *text)
{
    fprintf(stderr, "bench_worker: %s\n", text);
    exit(1);
}

static void check(wtl_status status, const wtl_error *err)
{
    if (status != WTL_OK) {
        stop(err->text);
    }
}

/* Take the layers that only auxiliary heads need out of `def`. */
static void drop_heads(wtl_netdef *def)
{
    bool *keep = wtl_alloc((size_t)def->layer_count, sizeof *keep);
    int *moved = wtl_alloc((size_t)def->layer_count, sizeof *moved), kept = 0;
    if (!keep || !moved) {
        stop("out of memory");
    }
    (void)wtl_netdef_inference_layers(def, keep);
    for (int i = 0; i < def->layer_count; i++) {
        wtl_layer_def layer = def->layers[i];
        if (!keep[i]) {
            wtl_free(layer.name);
            wtl_free(layer.inputs);
            continue;
        }
        for (int j = 0; j < layer.input_count; j++) {
            layer.inputs[j] = moved[layer.inputs[j]];
        }
        moved[i] = kept;
        def->layers[kept++] = layer;
    }
    def->layer_count = kept;
    wtl_free(moved);
    wtl_free(keep);
}

static void plan_training(worker *w, const wtl_netdef *def, int threads)
{
    wtl_error err;
    const wtl_net_options plan = {
        .batch = w->batch, .threads = threads, .training = true, .seed = SEED};
    const wtl_optimizer_options sgd = {.kind = WTL_OPTIMIZER_SGD,
                                       .momentum = 0.9,
                                       .weight_decay = 5e-4,
                                       .decay_all = true,
                                       .threads = threads};
    check(wtl_net_create(&w->net, def, &plan, &err), &err);
    wtl_net_init(w->net, SEED);
    check(wtl_optimizer_create(&w->optimizer, w->net, &sgd, &err), &err);
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

/* A net that is folded is planned for one image, so that it takes little memory. */
static void plan_inference(worker *w, const wtl_netdef *def, int threads)
{
    wtl_error err;
    const wtl_net_options one = {.batch = 1, .threads = threads},
                          plan = {.batch = w->batch, .threads = threads};
    wtl_net *whole;
    if (!has_batchnorm(def)) {
        check(wtl_net_create(&w->net, def, &plan, &err), &err);
        wtl_net_init(w->net, SEED);
        check(wtl_net_freeze(w->net, NULL, &err), &err);
        return;
    }
    check(wtl_net_create(&whole, def, &one, &err), &err);
    wtl_net_init(whole, SEED);
    check(wtl_net_fold(&w->net, whole, &plan, &err), &err);
    check(wtl_net_freeze(w->net, NULL, &err), &err);
    wtl_net_free(whole);
}

static void fill_inputs(worker *w, const wtl_netdef *def)
{
    wtl_rng rng = wtl_rng_make(SEED, WTL_RNG_SAMPLE, 0, 0);
    size_t floats = (size_t)w->batch * wtl_shape_count(def->input);
    float *images = wtl_net_input(w->net);
    w->labels = wtl_alloc((size_t)w->batch, sizeof *w->labels);
    if (!w->labels || !wtl_net_main_head(w->net)) {
        stop(w->labels ? "the network has no softmax" : "out of memory");
    }
    for (size_t i = 0; i < floats; i++) {
        images[i] = 2.0f * wtl_rng_uniform(&rng) - 1.0f;
    }
    for (int i = 0; i < w->batch; i++) {
        w->labels[i] = (int)wtl_rng_below(&rng, (uint32_t)wtl_net_main_head(w->net)->classes);
    }
}

static void run_step(worker *w)
{
    static const double RATE = 1e-6; /* labels are random: nothing is learnt */
    if (!w->optimizer) {
        wtl_net_forward(w->net, w->batch, WTL_RUN_INFERENCE, 0);
        return;
    }
    wtl_net_forward(w->net, w->batch, WTL_RUN_TRAINING, w->step++);
    (void)wtl_net_loss(w->net, w->batch, w->labels, 0.0f, NULL);
    wtl_net_backward(w->net, w->batch);
    (void)wtl_optimizer_step(w->optimizer, RATE);
}

static void serve(worker *w)
{
    char line[64];
    while (fgets(line, sizeof line, stdin)) {
        int steps;
        line[strcspn(line, "\n")] = '\0';
        if (!wtl_parse_int(line, 0, MOST_STEPS, &steps)) {
            stop("a line of input is not a number of steps");
        }
        double begin = now();
        for (int i = 0; i < steps; i++) {
            run_step(w);
        }
        printf("%.9f\n", now() - begin);
        (void)fflush(stdout);
    }
}

int main(int count, char **arguments)
{
    worker w = {0};
    int threads;
    bool good = count == 5 && wtl_parse_int(arguments[3], 1, 65536, &w.batch) &&
                wtl_parse_int(arguments[4], 1, 1024, &threads);
    bool training = good && strcmp(arguments[2], "train") == 0;
    if (!training && (!good || strcmp(arguments[2], "infer") != 0)) {
        fprintf(stderr, "usage: bench_worker NET train|infer BATCH THREADS\n");
        return 64;
    }
    wtl_error err;
    wtl_netdef *def;
    uint64_t parameters, macs;
    char blas[256];
    check(wtl_netdef_load(&def, arguments[1], 0, &err), &err);
    check(wtl_netdef_totals(def, &parameters, &macs, &err), &err);
    drop_heads(def);
    wtl_blas_prepare();
    wtl_threads_prepare(threads);
    if (training) {
        plan_training(&w, def, threads);
    } else {
        plan_inference(&w, def, threads);
    }
    fill_inputs(&w, def);
    wtl_blas_describe(blas, sizeof blas);
    printf("{\"version\": \"wattle %s\", \"how\": \"%s\", \"parameters\": %llu, "
           "\"macs\": %llu, \"input\": [%d, %d, %d]}\n",
           WTL_VERSION, blas, (unsigned long long)parameters, (unsigned long long)macs,
           def->input.c, def->input.h, def->input.w);
    (void)fflush(stdout);
    serve(&w);
    wtl_optimizer_free(w.optimizer);
    wtl_net_free(w.net);
    wtl_free(w.labels);
    wtl_netdef_free(def);
    return 0;
}
