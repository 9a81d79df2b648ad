/* bench_masked.c - a training step of a pruned net beside one of the dense net: the same net and
 * batch, without masks, and with masks that are followed. A Markdown table of seconds of a step,
 * medians of some taken in turn, and their ratio.
 *
 *   bench_masked [-b BATCH] [-t THREADS] [-r REPEATS] [-i avx2|avx512|plain] [-d DENSITY]
 *                [-m random|4x1|filters] [-v] [NET...]
 *
 * With one thread the time is the processor's, else the clock's. -v tells each layer's kernel.
 */
#define _POSIX_C_SOURCE 200809L
#include "wattle/loss.h"
#include "wattle/memory.h"
#include "wattle/optimizer.h"
#include "wattle/rng.h"
#include "wattle/text.h"
#include "wattle/zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { MOST_REPEATS = 101 };

typedef enum mask_kind { RANDOM, QUADS, FILTERS, KIND_COUNT } mask_kind;
static const char *const KINDS[KIND_COUNT] = {"random", "4x1", "filters"};

typedef struct options {
    wtl_net_options net;
    int repeats;
    double density;
    const char *kind; /* or NULL: all */
    bool verbose;
} options;

static void fail(const wtl_error *err)
{
    fprintf(stderr, "bench_masked: %s\n", err->text);
    exit(1);
}

static double now(int threads)
{
    struct timespec t;
    (void)clock_gettime(threads > 1 ? CLOCK_MONOTONIC : CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

typedef struct trained {
    wtl_net *net;
    wtl_optimizer *optimizer;
    int *labels;
    int batch;
    uint64_t step;
} trained;

static void take_step(trained *t)
{
    wtl_scores scores = {0};
    wtl_net_forward(t->net, t->batch, WTL_RUN_TRAINING, t->step++);
    (void)wtl_net_loss(t->net, t->batch, t->labels, 0.0f, &scores);
    wtl_net_backward(t->net, t->batch);
    (void)wtl_optimizer_step(t->optimizer, 1e-4);
}

static double time_step(trained *t, int threads)
{
    double start = now(threads);
    take_step(t);
    return now(threads) - start;
}

/* ---- masks ---- */

static bool kept(const wtl_param *p, size_t i, mask_kind kind, double density, wtl_rng *rng)
{
    size_t filter = p->count / (size_t)p->spec.dims[0];
    if (kind == QUADS && i / filter % 4) {
        return p->mask[i - filter] != 0.0f;
    }
    if (kind == FILTERS && i % filter) {
        return p->mask[i - 1] != 0.0f;
    }
    return wtl_rng_uniform(rng) < density;
}

static void set_masks(wtl_net *net, mask_kind kind, double density)
{
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_param *p = wtl_net_param(net, i);
        wtl_rng rng = wtl_rng_make(1, WTL_RNG_INIT, (uint64_t)i, 0);
        if (p->spec.role != WTL_PARAM_WEIGHT) {
            continue;
        }
        p->mask = wtl_alloc(p->count, sizeof *p->mask);
        if (!p->mask) {
            fail(&(wtl_error){.text = "out of memory"});
        }
        for (size_t j = 0; j < p->count; j++) {
            p->mask[j] = kept(p, j, kind, density, &rng);
            p->value[j] = p->mask[j] != 0.0f ? p->value[j] : 0.0f;
        }
    }
}

static void drop_masks(trained *t)
{
    wtl_net *net = t->net;
    wtl_net_forget_masks(net);
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_free(wtl_net_param(net, i)->mask);
        wtl_net_param(net, i)->mask = NULL;
    }
}

/* ---- a net ---- */

static void follow(trained *t, mask_kind kind, double density)
{
    wtl_error err;
    set_masks(t->net, kind, density);
    if (wtl_net_follow_masks(t->net, &err) != WTL_OK) {
        fail(&err);
    }
}

static void tell_kernels(const wtl_net *net)
{
    const wtl_netdef *def = wtl_net_def(net);
    for (int i = 0; i < def->layer_count; i++) {
        if (def->layers[i].kind == WTL_LAYER_CONV || def->layers[i].kind == WTL_LAYER_DENSE) {
            printf("    %s: %s\n", def->layers[i].name, wtl_net_kernel(net, i));
        }
    }
}

static void bench_masks(const options *o, trained *t, mask_kind kind, double density)
{
    enum { ROUNDS = 3 };
    double seconds[2][MOST_REPEATS * ROUNDS];
    int count = 0;
    size_t memory = 0;
    for (int round = 0; round < ROUNDS; round++) {
        take_step(t);
        for (int i = 0; i < o->repeats; i++) {
            seconds[0][count + i] = time_step(t, o->net.threads);
        }
        follow(t, kind, density);
        if (o->verbose && round == 0) {
            tell_kernels(t->net);
        }
        take_step(t);
        for (int i = 0; i < o->repeats; i++) {
            seconds[1][count + i] = time_step(t, o->net.threads);
        }
        memory = wtl_net_memory_of(t->net).masked;
        drop_masks(t);
        wtl_net_init(t->net, 1);
        count += o->repeats;
    }
    for (int i = 0; i < 2; i++) {
        qsort(seconds[i], (size_t)count, sizeof seconds[i][0], by_value);
    }
    double dense = seconds[0][count / 2], masked = seconds[1][count / 2];
    printf("| %s | %d | %d | %s | %.0f | %.3f | %.3f | %.2f | %.2f | %zu |\n",
           wtl_net_def(t->net)->name, o->net.batch, o->net.threads, KINDS[kind], 100 * density,
           dense, masked, dense / masked, seconds[0][0] / seconds[1][0], memory >> 20);
    (void)fflush(stdout);
}

static void bench_net(const options *o, const char *name)
{
    wtl_error err;
    wtl_netdef *def;
    wtl_net_options net = o->net;
    net.training = true;
    trained t = {.batch = net.batch};
    wtl_optimizer_options sgd;
    wtl_optimizer_defaults(&sgd);
    sgd.threads = net.threads;
    t.labels = wtl_alloc((size_t)t.batch, sizeof *t.labels);
    if (wtl_netdef_load(&def, name, 0, &err) != WTL_OK ||
        wtl_net_create(&t.net, def, &net, &err) != WTL_OK ||
        wtl_optimizer_create(&t.optimizer, t.net, &sgd, &err) != WTL_OK) {
        fail(&err);
    }
    wtl_net_init(t.net, 1);
    wtl_rng rng = wtl_rng_make(2, WTL_RNG_INIT, 0, 0);
    size_t pixels = (size_t)t.batch * wtl_shape_count(def->input);
    for (size_t i = 0; i < pixels; i++) {
        wtl_net_input(t.net)[i] = (float)wtl_rng_uniform(&rng) - 0.5f;
    }
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        if (!o->kind || strcmp(o->kind, KINDS[kind]) == 0) {
            bench_masks(o, &t, (mask_kind)kind, kind == FILTERS ? 0.5 : o->density);
        }
    }
    wtl_free(t.labels);
    wtl_optimizer_free(t.optimizer);
    wtl_net_free(t.net);
    wtl_netdef_free(def);
}

static wtl_isa isa_of(const char *name)
{
    return !strcmp(name, "avx2")    ? WTL_ISA_AVX2
           : !strcmp(name, "plain") ? WTL_ISA_PLAIN
                                    : WTL_ISA_AVX512;
}

static int positive(const char *text, int most)
{
    int value;
    return wtl_parse_int(text, 1, most, &value) ? value : 1;
}

int main(int argc, char **argv)
{
    options o = {.net = {.batch = 64, .threads = 1}, .repeats = 3, .density = 0.1};
    for (int option; (option = getopt(argc, argv, "b:t:r:i:d:m:v")) != -1;) {
        switch (option) {
        case 'b':
            o.net.batch = positive(optarg, 4096);
            break;
        case 't':
            o.net.threads = positive(optarg, 256);
            break;
        case 'r':
            o.repeats = positive(optarg, MOST_REPEATS);
            break;
        case 'i':
            o.net.isa = isa_of(optarg);
            break;
        case 'd':
            if (!wtl_parse_double(optarg, 0, 1, &o.density)) {
                return 64;
            }
            break;
        case 'm':
            o.kind = optarg;
            break;
        case 'v':
            o.verbose = true;
            break;
        default:
            return 64;
        }
    }
    printf("| net | images | threads | gone | kept %% | dense s | masked s | ratio of medians "
           "| of "
           "best | MiB |\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n");
    static const char *const nets[] = {"alexnet-bvlc", "alexnet-torchvision"};
    for (int i = 0; optind == argc && i < 2; i++) {
        bench_net(&o, nets[i]);
    }
    for (int a = optind; a < argc; a++) {
        bench_net(&o, argv[a]);
    }
    return 0;
}
