/* bench_prune.c - one full round of energy-aware pruning: seconds of each layer, by the clock and
 * of all processors together (what counts where other work runs beside), and the peak of memory.
 * Prints a Markdown table.
 *
 * The network is freshly initialised and, without --data, the images are noise: what a round
 * costs depends on the shapes, hardly on the values. "Probing" is the search for how far every
 * layer may go, all layers together; then each layer is pruned in turn: the sample runs through
 * the nets, weights are removed, restored and fitted.
 */
#define _POSIX_C_SOURCE 200809L
#include "wattle/blas.h"
#include "wattle/memory.h"
#include "wattle/method.h"
#include "wattle/rng.h"
#include "wattle/text.h"
#include "wattle/threads.h"
#include "wattle/zoo.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { BATCH = 32, SEED = 1 };

typedef struct options {
    const char *net, *data, *hardware;
    double energy; /* goal, as a share of dense */
    int images, hardware_batch, threads;
} options;

typedef struct bench {
    options o;
    wtl_net *net, *probe, *original;
    wtl_pricing *pricing;
    wtl_sample sample;
    wtl_method_layer *layers;
    double start, last, start_busy, last_busy; /* seconds */
} bench;

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(wtl_status status, const wtl_error *err)
{
    if (status != WTL_OK) {
        fprintf(stderr, "bench_prune: %s\n", err->text);
        exit(1);
    }
}

/* ---- set-up ---- */

static void plan_nets(bench *b, const wtl_netdef *def)
{
    wtl_error err;
    const wtl_net_options plain = {.batch = BATCH, .threads = b->o.threads},
                          keeping = {
                              .batch = BATCH, .threads = b->o.threads, .keep_outputs = true};
    check(wtl_net_create(&b->net, def, &plain, &err), &err);
    check(wtl_net_create(&b->probe, def, &keeping, &err), &err);
    check(wtl_net_create(&b->original, def, &keeping, &err), &err);
    wtl_net_init(b->original, SEED);
    check(wtl_net_copy_params(b->net, b->original, &err), &err);
    check(wtl_net_copy_params(b->probe, b->original, &err), &err);
}

static void make_noise(bench *b, const wtl_netdef *def)
{
    static const double DEVIATION = 60.0; /* of pixels */
    wtl_rng rng = wtl_rng_make(SEED, WTL_RNG_TEST, 0, 0);
    size_t count = (size_t)b->o.images * wtl_shape_count(def->input);
    b->sample = (wtl_sample){.count = b->o.images, .shape = def->input};
    b->sample.images = wtl_alloc(count, sizeof(float));
    b->sample.labels = wtl_alloc((size_t)b->o.images, sizeof(int));
    if (!b->sample.images || !b->sample.labels) {
        check(WTL_E_NOMEM, &(wtl_error){.text = "out of memory for images"});
    }
    for (size_t i = 0; i < count; i++) {
        b->sample.images[i] = (float)(DEVIATION * wtl_rng_normal(&rng)) * def->preprocess.scale;
    }
}

static void take_sample(bench *b, const wtl_netdef *def)
{
    wtl_error err;
    wtl_dataset *data = NULL;
    if (!b->o.data) {
        make_noise(b, def);
        return;
    }
    check(wtl_dataset_open(&data, b->o.data, NULL, &err), &err);
    check(wtl_sample_draw(&b->sample, data, def, b->o.images, SEED, &err), &err);
    wtl_dataset_free(data);
}

static void price(bench *b)
{
    wtl_error err;
    wtl_hardware hw;
    const wtl_pricing_options pricing = {.batch = b->o.hardware_batch};
    check(wtl_hardware_load(&hw, b->o.hardware, &err), &err);
    check(wtl_pricing_create(&b->pricing, b->probe, &hw, &pricing, &err), &err);
    check(wtl_pricing_measure(b->pricing, &b->sample, NULL, NULL, &err), &err);
    int count = wtl_pricing_count(b->pricing);
    b->layers = wtl_alloc((size_t)count, sizeof *b->layers);
    for (int i = 0; b->layers && i < count; i++) {
        wtl_priced_layer layer = wtl_pricing_layer(b->pricing, i);
        b->layers[i] = (wtl_method_layer){.param = wtl_net_find_param(b->net, layer.weight),
                                          .weights = layer.weights,
                                          .least = 1,
                                          .most = layer.weights};
    }
}

/* ---- the round ---- */

static double peak_gigabytes(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss * 1024 / 1e9;
}

static double busy(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
}

/* The last columns of a row: since the row before. */
static void end_row(bench *b)
{
    double t = now(), work = busy();
    printf(" %.1f | %.1f | %.2f |\n", t - b->last, work - b->last_busy, peak_gigabytes());
    (void)fflush(stdout);
    b->last = t;
    b->last_busy = work;
}

static void take_step(void *context, const wtl_method_step *step)
{
    bench *b = context;
    printf("| %s | %zu | %.1f | %.3f | %.3f |", wtl_pricing_layer(b->pricing, step->layer).name,
           step->kept_before, 100.0 * (double)step->kept_after / (double)step->kept_before,
           step->error_restoral, step->error);
    end_row(b);
}

/* The first layer's turn begins when the last probe has ended. */
static void take_progress(void *context, int done, int total)
{
    bench *b = context;
    if (done == total - wtl_pricing_count(b->pricing)) {
        printf("| probing, all | | | | |");
        end_row(b);
    }
}

static void run(bench *b)
{
    wtl_error err;
    int count = wtl_pricing_count(b->pricing);
    double *nonzeros = wtl_alloc((size_t)count, sizeof *nonzeros);
    if (!nonzeros || !b->layers) {
        check(WTL_E_NOMEM, &(wtl_error){.text = "out of memory"});
        return;
    }
    wtl_pricing_nonzeros(b->pricing, b->net, nonzeros);
    double dense = wtl_pricing_total(b->pricing, nonzeros);
    const wtl_method_options how = {.images = b->o.images};
    const wtl_method_context context = {.net = b->net,
                                        .probe = b->probe,
                                        .original = b->original,
                                        .pricing = b->pricing,
                                        .sample = &b->sample,
                                        .layers = b->layers,
                                        .goal_energy = b->o.energy * dense,
                                        .seed = SEED,
                                        .threads = b->o.threads,
                                        .options = &how,
                                        .report = take_step,
                                        .progress = take_progress,
                                        .context = b};
    printf("%s, %d images, %d threads, %.3g of dense energy\n\n"
           "| layer | weights | kept %% | l1 error restored | l2 error fitted | seconds | of "
           "processors | peak GB |\n|---|---|---|---|---|---|---|---|\n",
           b->o.net, b->sample.count, b->o.threads, b->o.energy);
    (void)fflush(stdout);
    b->start = b->last = now();
    b->start_busy = b->last_busy = busy();
    check(wtl_method_find("energy-aware")->prune(&context, &err), &err);
    wtl_pricing_nonzeros(b->pricing, b->net, nonzeros);
    printf("\n%.2f minutes, %.2f of processors, peak %.2f GB, energy %.4f of dense\n",
           (now() - b->start) / 60, (busy() - b->start_busy) / 60, peak_gigabytes(),
           wtl_pricing_total(b->pricing, nonzeros) / dense);
    wtl_free(nonzeros);
}

/* ---- options ---- */

static void usage(FILE *to)
{
    fprintf(to, "usage: bench_prune [OPTION...]\n"
                "  --net NET           a zoo name or file (alexnet-bvlc)\n"
                "  --data DATA         where images come from (noise)\n"
                "  --images N          (256)\n"
                "  --energy SHARE      of dense that is the goal (0.5)\n"
                "  --hardware HW       (eyeriss-cvpr17)\n"
                "  --hardware-batch N  (44)\n"
                "  --threads N         (all processors)\n");
}

static double number(const char *text, double low, double high)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != '\0' || !(value >= low && value <= high)) {
        fprintf(stderr, "bench_prune: %s: not a number from %g to %g\n", text, low, high);
        exit(2);
    }
    return value;
}

static options parse(int argc, char **argv)
{
    static const struct option known[] = {{"net", required_argument, NULL, 'n'},
                                          {"data", required_argument, NULL, 'd'},
                                          {"images", required_argument, NULL, 'i'},
                                          {"energy", required_argument, NULL, 'e'},
                                          {"hardware", required_argument, NULL, 'w'},
                                          {"hardware-batch", required_argument, NULL, 'b'},
                                          {"threads", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {NULL, 0, NULL, 0}};
    options o = {.net = "alexnet-bvlc",
                 .hardware = "eyeriss-cvpr17",
                 .energy = 0.5,
                 .images = 256,
                 .hardware_batch = 44,
                 .threads = wtl_threads_available()};
    int c;
    while ((c = getopt_long(argc, argv, "", known, NULL)) != -1) {
        switch (c) {
        case 'n':
            o.net = optarg;
            break;
        case 'd':
            o.data = optarg;
            break;
        case 'w':
            o.hardware = optarg;
            break;
        case 'i':
            o.images = (int)number(optarg, 1, 1e6);
            break;
        case 'e':
            o.energy = number(optarg, 0, 1);
            break;
        case 'b':
            o.hardware_batch = (int)number(optarg, 1, 65536);
            break;
        case 't':
            o.threads = (int)number(optarg, 1, 1024);
            break;
        case 'h':
            usage(stdout);
            exit(0);
        default:
            usage(stderr);
            exit(2);
        }
    }
    return o;
}

int main(int argc, char **argv)
{
    bench b = {.o = parse(argc, argv)};
    wtl_error err;
    wtl_netdef *def = NULL;
    wtl_blas_prepare();
    wtl_threads_prepare(b.o.threads);
    check(wtl_netdef_load(&def, b.o.net, 0, &err), &err);
    plan_nets(&b, def);
    take_sample(&b, def);
    wtl_netdef_free(def);
    price(&b);
    run(&b);
    wtl_pricing_free(b.pricing);
    wtl_net_free(b.net);
    wtl_net_free(b.probe);
    wtl_net_free(b.original);
    wtl_sample_clear(&b.sample);
    wtl_free(b.layers);
    return 0;
}
