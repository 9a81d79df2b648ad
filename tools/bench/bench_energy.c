/* bench_energy.c - how long estimates, searches and oracle queries take, on one core. Prints
 * Markdown tables.
 *
 *   estimate    a whole network: every layer's mapping is searched, then counted and priced
 *   exhaustive  AlexNet's convolutions on the chip: every mapping that fits, counted and priced
 *               one by one, beside the search of the library; both must find the same cost.
 *               conv1 and conv2; --all: the five, a minute. Dense layers have 1e9 mappings and
 *               more
 *   oracle      one query and all marginals of a layer at its cached mapping
 */
#define _POSIX_C_SOURCE 200809L
#include "wattle/energy.h"

#include "../../tests/support/energy_cases.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { ALEXNET_IMAGES = 44, GOOGLENET_IMAGES = 48, REPEATS = 5, QUERIES = 200000 };

static void stop(const wtl_error *err)
{
    fprintf(stderr, "bench_energy: %s\n", err->text);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static wtl_hardware preset(const char *name)
{
    wtl_hardware hw;
    wtl_error err;
    if (wtl_hardware_load(&hw, name, &err) != WTL_OK) {
        stop(&err);
    }
    return hw;
}

static wtl_workload alexnet(wtl_work_layer layers[CASE_ALEXNET_LAYERS], int images)
{
    for (int i = 0; i < CASE_ALEXNET_LAYERS; i++) {
        layers[i] = case_layer(&CASE_ALEXNET[i], i + 1, images);
    }
    return (wtl_workload){
        .name = "AlexNet", .layers = layers, .layer_count = CASE_ALEXNET_LAYERS};
}

static wtl_workload googlenet(wtl_work_layer layers[CASE_GOOGLENET_LAYERS], int images)
{
    int count = case_googlenet(layers, images);
    return (wtl_workload){.name = "GoogLeNet", .layers = layers, .layer_count = count};
}

/* ---- whole networks ---- */

static void bench_estimate(const wtl_workload *work, const char *name)
{
    wtl_hardware hw = preset(name);
    double least = INFINITY, total = 0.0;
    for (int i = 0; i < REPEATS; i++) {
        wtl_energy_report report;
        wtl_error err;
        double start = now();
        if (wtl_energy_estimate(&report, &hw, work, NULL, &err) != WTL_OK) {
            stop(&err);
        }
        least = fmin(least, now() - start);
        total = report.total;
        wtl_energy_report_clear(&report);
    }
    printf("| %s | %d | %s | %.2f | %.4g |\n", work->name, work->layers[0].ifmap.count, name,
           1e3 * least, total);
}

static void bench_estimates(void)
{
    static const char *const names[] = {"eyeriss-isca16", "eyeriss-chip", "eyeriss-cvpr17"};
    wtl_work_layer a[CASE_ALEXNET_LAYERS], g[CASE_GOOGLENET_LAYERS];
    wtl_workload works[] = {alexnet(a, ALEXNET_IMAGES), googlenet(g, GOOGLENET_IMAGES)};
    printf("| network | batch | hardware | ms, least of %d | energy an image |\n", REPEATS);
    printf("|---|---|---|---|---|\n");
    for (int i = 0; i < 6; i++) {
        bench_estimate(&works[i / 3], names[i % 3]);
    }
}

/* ---- search beside every mapping ---- */

static double dense_cost(const wtl_hardware *hw, const wtl_access_counts *counts)
{
    double cost = 0.0;
    for (int i = 0; i < WTL_LEVEL_MAC * WTL_DATA_COMPUTATION * 2; i++) {
        cost += (&counts->words[0][0][0])[i] * (&hw->energy[0][0][0])[i];
    }
    return cost;
}

typedef struct tally {
    const wtl_hardware *hw;
    const wtl_work_layer *layer;
    double best;
    long fitting;
} tally;

static bool try_mapping(tally *all, wtl_mapping mapping)
{
    wtl_access_counts counts;
    if (wtl_mapping_count(&counts, all->hw, all->layer, &mapping, NULL) != WTL_OK) {
        return false;
    }
    all->best = fmin(all->best, dense_cost(all->hw, &counts));
    all->fitting++;
    return true;
}

/* More of r, t or m never fits where less does not. */
static void try_sets(tally *all, int n, int e, int p, int q)
{
    int groups = wtl_work_groups(all->layer);
    int channels = all->layer->filter.channels, filters = all->layer->filter.count / groups;
    for (int r = 1; q * r <= channels; r++) {
        for (int t = 1; p * t <= filters; t++) {
            int m = p * t;
            while (m <= filters && try_mapping(all, case_mapping(m, n, e, p, q, r, t))) {
                m++;
            }
            if (m == p * t) {
                break; /* these sets do not fit */
            }
        }
    }
}

static void try_all(tally *all)
{
    const wtl_work_layer *layer = all->layer;
    int filters = layer->filter.count / wtl_work_groups(layer);
    for (int n = 1; n <= layer->ifmap.count; n++) {
        for (int e = 1; e <= layer->ofmap.h; e++) {
            for (int q = 1; q <= layer->filter.channels; q++) {
                for (int p = 1; p <= filters; p++) {
                    long before = all->fitting;
                    try_sets(all, n, e, p, q);
                    if (all->fitting == before) {
                        break; /* no room for p filters */
                    }
                }
            }
        }
    }
}

static void bench_search(const wtl_hardware *hw, const wtl_work_layer *layer)
{
    wtl_error err;
    wtl_mapping mapping;
    wtl_access_counts counts;
    double start = now();
    if (wtl_mapping_search(&mapping, hw, layer, &err) != WTL_OK ||
        wtl_mapping_count(&counts, hw, layer, &mapping, &err) != WTL_OK) {
        stop(&err);
    }
    double searched = now() - start;
    tally all = {hw, layer, INFINITY, 0};
    start = now();
    try_all(&all);
    double tried = now() - start;
    char text[80];
    wtl_mapping_text(&mapping, text, sizeof text);
    bool equal = fabs(dense_cost(hw, &counts) - all.best) <= 1e-9 * all.best;
    printf("| %s | %ld | %.1f | %.3f | %.0f | %s | %s |\n", layer->name, all.fitting,
           1e3 * tried, 1e3 * searched, tried / searched, equal ? "yes" : "NO", text);
    if (!equal) {
        exit(1);
    }
}

static void bench_searches(int layers)
{
    wtl_hardware hw = preset("eyeriss-chip");
    printf("\n| AlexNet, batch 4, eyeriss-chip | mappings that fit | exhaustive ms | search ms "
           "| times faster | same cost | mapping |\n|---|---|---|---|---|---|---|\n");
    for (int i = 0; i < layers; i++) {
        wtl_work_layer layer = case_layer(&CASE_ALEXNET[i], i + 1, 4);
        bench_search(&hw, &layer);
    }
}

/* ---- oracle ---- */

static void bench_oracle(const char *name)
{
    wtl_hardware hw = preset(name);
    wtl_work_layer layers[CASE_ALEXNET_LAYERS];
    wtl_workload work = alexnet(layers, ALEXNET_IMAGES);
    wtl_energy_oracle *oracle;
    wtl_error err;
    if (wtl_energy_oracle_create(&oracle, &hw, &work, &err) != WTL_OK) {
        stop(&err);
    }
    wtl_energy_query query = wtl_energy_oracle_now(oracle, 1);
    double sum = 0.0, start = now();
    for (int i = 0; i < QUERIES; i++) {
        query.weight_nonzeros -= 1;
        sum += wtl_energy_oracle_ask(oracle, 1, &query);
    }
    double ask = (now() - start) / QUERIES;
    start = now();
    for (int i = 0; i < QUERIES; i++) {
        query.weight_nonzeros += 1;
        sum += wtl_energy_oracle_marginals(oracle, 1, &query).per_weight;
    }
    double marginals = (now() - start) / QUERIES;
    printf("| %s | %.3f | %.3f | %.3g |\n", name, 1e6 * ask, 1e6 * marginals, sum / QUERIES);
    wtl_energy_oracle_free(oracle);
}

int main(int argc, char **argv)
{
    bool all = argc > 1 && strcmp(argv[1], "--all") == 0;
    bench_estimates();
    bench_searches(all ? 5 : 2);
    printf("\n| oracle, AlexNet conv2 | query us | all marginals us | mean of the sums |\n"
           "|---|---|---|---|\n");
    bench_oracle("eyeriss-isca16");
    bench_oracle("eyeriss-chip");
    bench_oracle("eyeriss-cvpr17");
    return 0;
}
