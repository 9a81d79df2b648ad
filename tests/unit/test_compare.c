/* test_compare.c - comparisons: the summary by hand, the files, and the ladder with runs that
 * are played. */
#include "wtl_test.h"

#include "prune/compare/compare_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- points by hand ---- */

/* Methods, seeds and budgets 0.5, 0.25, 0.125 of a comparison without a net yet; the dense net
 * has top-1 90 (validation 91), energy 800 and 4 units of the rest. */
static void begin(wtl_comparison *c, int methods, int seeds)
{
    static const char *const names[] = {"magnitude-global", "energy-aware", "random"};
    *c = (wtl_comparison){.options = {.method_count = methods,
                                      .budgets = {0.5, 0.25, 0.125},
                                      .budget_count = 3,
                                      .seeds = seeds,
                                      .max_drop = 1,
                                      .equal_energy = 0.25},
                          .floor = 0.1,
                          .net = "toy"};
    wtl_prune_defaults(&c->options.prune);
    c->options.prune.seed = 7;
    for (int m = 0; m < methods; m++) {
        snprintf(c->options.methods[m], sizeof c->options.methods[m], "%s", names[m]);
    }
    assert_ok(wtl_compare_allocate(c, NULL));
    c->dense.energy = 1;
    c->dense.energy_absolute = 8e8;
    c->dense.weights = 4e6;
    c->dense.macs = 4e8;
    c->dense.density = 1;
    c->dense.val_top1 = 91;
    c->dense.top1 = 90;
    c->dense.top5 = 99;
}

static void put(wtl_comparison *c, int method, int seed, int budget, double energy, double top1)
{
    wtl_compare_point *p = wtl_compare_at(c, method, seed, budget);
    p->energy = energy;
    p->energy_absolute = energy * 8e8;
    p->weights = energy * 2e6;
    p->macs = energy * 3e8;
    p->density = energy / 2;
    p->top1 = top1;
    p->top5 = top1 + 9;
    p->val_top1 = top1 + 1;
    p->minutes = 10.0 * (budget + 1);
    p->peak_bytes = 1e9 + seed;
}

/* ---- curves ---- */

/* By hand: the target, 89, is half-way between 89.5 at 1/4 and 88.5 at 1/8, so the energy is
 * the geometric mean, sqrt(1/32). */
static void a_loss_is_interpolated_in_the_logarithm_of_energy(void **state)
{
    (void)state;
    wtl_comparison c;
    bool bounded = true;
    begin(&c, 1, 1);
    put(&c, 0, 0, 0, 0.5, 90);
    put(&c, 0, 0, 1, 0.25, 89.5);
    put(&c, 0, 0, 2, 0.125, 88.5);
    assert_close(wtl_compare_energy_at(&c, 0, 0, 89, &bounded), 0.17677669529663687, 1e-12);
    assert_false(bounded);
    wtl_comparison_clear(&c);
}

/* 88 at 1/2, 90 at 1/4, 88 at 1/8: 89 is crossed three times; the cheapest is half-way down
 * the last piece. */
static void of_several_crossings_the_cheapest_counts(void **state)
{
    (void)state;
    wtl_comparison c;
    bool bounded;
    begin(&c, 1, 1);
    put(&c, 0, 0, 0, 0.5, 88);
    put(&c, 0, 0, 1, 0.25, 90);
    put(&c, 0, 0, 2, 0.125, 88);
    assert_close(wtl_compare_energy_at(&c, 0, 0, 89, &bounded), 0.17677669529663687, 1e-12);
    wtl_comparison_clear(&c);
}

/* The first net is already too bad: half-way from (1, 90) to (1/2, 88). */
static void the_dense_net_begins_the_curve(void **state)
{
    (void)state;
    wtl_comparison c;
    bool bounded;
    begin(&c, 1, 1);
    put(&c, 0, 0, 0, 0.5, 88);
    put(&c, 0, 0, 1, 0.25, 80);
    assert_close(wtl_compare_energy_at(&c, 0, 0, 89, &bounded), 0.70710678118654752, 1e-12);
    wtl_comparison_clear(&c);
}

static void a_curve_that_never_falls_so_far_is_bounded(void **state)
{
    (void)state;
    wtl_comparison c;
    bool bounded = false;
    begin(&c, 1, 1);
    put(&c, 0, 0, 0, 0.5, 90);
    put(&c, 0, 0, 1, 0.26, 89); /* exactly at the target; the last budget is a gap */
    assert_close(wtl_compare_energy_at(&c, 0, 0, 89, &bounded), 0.26, 1e-12);
    assert_true(bounded);
    wtl_comparison_clear(&c);
}

/* From (1/2, 90) over the gap to (1/8, 88): 89 at 1/4. */
static void gaps_are_stepped_over(void **state)
{
    (void)state;
    wtl_comparison c;
    bool bounded;
    begin(&c, 1, 1);
    put(&c, 0, 0, 0, 0.5, 90);
    put(&c, 0, 0, 2, 0.125, 88);
    assert_close(wtl_compare_energy_at(&c, 0, 0, 89, &bounded), 0.25, 1e-12);
    assert_close(wtl_compare_top1_at(&c, 0, 0, 0.25), 89, 1e-12);
    assert_false(bounded);
    wtl_comparison_clear(&c);
}

static void a_run_of_gaps_alone_has_no_curve(void **state)
{
    (void)state;
    wtl_comparison c;
    bool bounded = true;
    begin(&c, 1, 1);
    assert_true(isnan(wtl_compare_energy_at(&c, 0, 0, 89, &bounded)));
    assert_false(bounded);
    assert_true(isnan(wtl_compare_top1_at(&c, 0, 0, 0.5)));
    assert_null(wtl_compare_chosen(&c, 0, 0));
    wtl_comparison_clear(&c);
}

/* 0.254 counts as 0.25 (within 2 %), 0.2551 does not; nothing is extrapolated. */
static void accuracy_at_an_energy_needs_a_net_on_either_side(void **state)
{
    (void)state;
    wtl_comparison c;
    begin(&c, 1, 1);
    put(&c, 0, 0, 0, 0.5, 90);
    put(&c, 0, 0, 1, 0.254, 88);
    assert_close(wtl_compare_top1_at(&c, 0, 0, 0.25), 88, 0);
    wtl_compare_at(&c, 0, 0, 1)->energy = 0.2551;
    assert_true(isnan(wtl_compare_top1_at(&c, 0, 0, 0.25)));
    /* sqrt(1/2) is half-way from the dense net to the first. */
    put(&c, 0, 0, 0, 0.5, 88);
    assert_close(wtl_compare_top1_at(&c, 0, 0, 0.70710678118654752), 89, 1e-9);
    wtl_comparison_clear(&c);
}

/* ---- the choice ---- */

/* Chosen on validation, whatever the test images say: 91 - 90 = 1 point holds, 1.01 does not;
 * of those that hold the cheapest, though a dearer one failed. */
static void the_cheapest_net_that_holds_on_validation_is_chosen(void **state)
{
    (void)state;
    wtl_comparison c;
    begin(&c, 1, 1);
    put(&c, 0, 0, 0, 0.5, 85);
    put(&c, 0, 0, 1, 0.25, 85);
    put(&c, 0, 0, 2, 0.125, 90);
    wtl_compare_at(&c, 0, 0, 0)->val_top1 = 80;
    wtl_compare_at(&c, 0, 0, 1)->val_top1 = 90;
    wtl_compare_at(&c, 0, 0, 2)->val_top1 = 89.99;
    assert_ptr_equal(wtl_compare_chosen(&c, 0, 0), wtl_compare_at(&c, 0, 0, 1));
    wtl_comparison_clear(&c);
}

/* Two seeds with energies 0.25 and 0.5, a third without a net that holds: mean 0.375, sample
 * deviation sqrt(2 * 0.125^2 / 1). */
static void rows_have_mean_and_sample_deviation_over_seeds(void **state)
{
    (void)state;
    wtl_comparison c;
    begin(&c, 2, 3);
    put(&c, 1, 0, 0, 0.5, 90);
    put(&c, 1, 0, 1, 0.25, 89);
    put(&c, 1, 1, 0, 0.5, 90);
    put(&c, 1, 1, 1, 0.25, 80);
    put(&c, 1, 2, 0, 0.5, 60);
    wtl_compare_summarise(&c);
    const wtl_compare_row *row = &c.rows[1];
    assert_int_equal(row->seeds, 2);
    assert_close(row->energy_mean, 0.375, 1e-15);
    assert_close(row->energy_sd, 0.17677669529663687, 1e-15);
    assert_close(row->top1_mean, 89.5, 1e-12);
    assert_close(row->top1_sd, 0.70710678118654752, 1e-12);
    assert_close(row->top5_mean, 98.5, 1e-12);
    assert_close(row->weights_mean, 750000, 1e-6);
    assert_close(row->macs_mean, 1.125e8, 1e-4);
    /* 1/4 (bounded); 1 of 10 points down from 1/2 to 1/4; 1 of 30 down from 1 to 1/2. */
    assert_true(row->bounded);
    assert_int_equal(row->iso_seeds, 3);
    assert_close(row->iso_energy_mean, (0.25 + 0.4665164957684037 + 0.9771599684342459) / 3,
                 1e-12);
    /* At 1/4: 89, 80, and none. */
    assert_int_equal(row->iso_top1_seeds, 2);
    assert_close(row->iso_top1_mean, 84.5, 1e-12);
    assert_close(row->iso_top1_sd, 6.3639610306789276, 1e-12);
    /* The last nets: 20, 20 and 10 minutes. */
    assert_close(row->minutes_mean, 50.0 / 3, 1e-12);
    assert_close(row->peak_bytes, 1e9 + 2, 0);
    assert_int_equal(c.rows[0].seeds, 0);
    assert_true(isnan(c.rows[0].energy_mean) && isnan(c.rows[0].iso_energy_mean));
    assert_true(isnan(c.rows[0].peak_bytes));
    wtl_comparison_clear(&c);
}

static void one_seed_has_no_deviation(void **state)
{
    (void)state;
    wtl_comparison c;
    begin(&c, 1, 1);
    put(&c, 0, 0, 0, 0.5, 89.5);
    wtl_compare_summarise(&c);
    assert_close(c.rows[0].energy_mean, 0.5, 0);
    assert_true(isnan(c.rows[0].energy_sd) && isnan(c.rows[0].top1_sd));
    char *table = wtl_comparison_table(&c);
    assert_non_null(table);
    assert_non_null(strstr(table, "| toy   | magnitude-global | 89.50 ± - | 98.50 ± - |"));
    assert_non_null(strstr(table, "| 4.00 ± - (50 %) |"));
    wtl_free(table);
    wtl_comparison_clear(&c);
}

static void the_best_baseline_is_a_magnitude_method_where_there_is_one(void **state)
{
    (void)state;
    wtl_comparison c;
    begin(&c, 3, 1);
    put(&c, 0, 0, 0, 0.5, 90);
    put(&c, 1, 0, 1, 0.25, 90);
    put(&c, 2, 0, 2, 0.125, 90); /* random does better here, but is no magnitude method */
    wtl_compare_summarise(&c);
    assert_int_equal(c.energy_aware, 1);
    assert_int_equal(c.best_magnitude, 0);
    strcpy(c.options.methods[2], "magnitude-uniform");
    wtl_compare_summarise(&c);
    assert_int_equal(c.best_magnitude, 2);
    strcpy(c.options.methods[0], "random");
    strcpy(c.options.methods[1], "random");
    strcpy(c.options.methods[2], "energy-aware");
    wtl_compare_summarise(&c);
    assert_int_equal(c.energy_aware, 2);
    assert_int_equal(c.best_magnitude, 1); /* no magnitude: the cheapest of the others */
    wtl_comparison_clear(&c);
}

/* A method that only one of two seeds brought so far is not better for being cheap there. */
static void a_baseline_that_holds_with_more_seeds_is_better(void **state)
{
    (void)state;
    wtl_comparison c;
    begin(&c, 3, 2);
    strcpy(c.options.methods[2], "magnitude-uniform");
    put(&c, 0, 0, 0, 0.5, 90);
    put(&c, 0, 1, 0, 0.5, 90);
    put(&c, 2, 0, 2, 0.125, 90);
    put(&c, 2, 1, 2, 0.125, 50);
    wtl_compare_summarise(&c);
    assert_int_equal(c.best_magnitude, 0);
    wtl_comparison_clear(&c);
}

/* ---- results.csv ---- */

static char *read_text(const char *path)
{
    unsigned char *bytes = NULL;
    size_t length;
    assert_ok(wtl_file_read_plain(path, 1 << 24, &bytes, &length, NULL));
    return (char *)bytes;
}

#define HEADER                                                                                 \
    "method,seed,budget,energy,energy_absolute,weights,macs,density,val_top1,top1,top5,"       \
    "minutes,peak_bytes,note\n"

static void results_are_written_and_read_back(void **state)
{
    (void)state;
    wtl_comparison c, back;
    begin(&c, 2, 2);
    put(&c, 1, 1, 2, 0.125, 88.25);
    wtl_compare_at(&c, 1, 1, 2)->minutes = NAN;
    strcpy(wtl_compare_at(&c, 0, 1, 0)->note, "the floor, \"0.6\"\nis higher");
    const char *path = wtl_test_path("results.csv");
    assert_ok(wtl_compare_results_write(&c, path, NULL));
    char *text = read_text(path);
    assert_string_equal(text, HEADER
                        "dense,,,1,800000000,4000000,400000000,1,91,90,99,,,\n"
                        "magnitude-global,8,0.5,,,,,,,,,,,the floor;  0.6  is higher\n"
                        "energy-aware,8,0.125,0.125,100000000,250000,37500000,0.0625,89.25,"
                        "88.25,97.25,,1000000001,\n");
    begin(&back, 2, 2);
    wtl_compare_blank(&back.dense, -1, -1, -1);
    assert_ok(wtl_compare_results_parse(&back, text, "results.csv", NULL));
    assert_close(back.dense.energy_absolute, 8e8, 0);
    const wtl_compare_point *p = wtl_compare_at(&back, 1, 1, 2);
    assert_close(p->energy, 0.125, 0);
    assert_close(p->top5, 97.25, 0);
    assert_true(isnan(p->minutes));
    assert_false(wtl_compare_has_net(wtl_compare_at(&back, 1, 1, 1)));
    assert_string_equal(wtl_compare_at(&back, 0, 1, 0)->note, "the floor;  0.6  is higher");
    wtl_free(text);
    wtl_comparison_clear(&back);
    wtl_comparison_clear(&c);
}

static void bad_results_are_named_with_file_and_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "r.csv: empty, without a header"},
        {"method", "r.csv:1: the line does not end"},
        {"method\n", "r.csv:1: not the header of results.csv: 'method'"},
        {HEADER "dense,,,1", "r.csv:2: the line does not end"},
        {HEADER "dense,,,1\n", "r.csv:2: a row has 14 fields"},
        {HEADER "dense,,,1,,,,,,,,,,,\n", "r.csv:2: a row has 14 fields"},
        {HEADER "dense,7,,1,1,1,1,1,1,1,1,,,\n",
         "r.csv:2: the dense network has no seed and no budget, not '7'"},
        {HEADER "random,7,0.5,1,1,1,1,1,1,1,1,,,\n",
         "r.csv:2: a method of another comparison, 'random'"},
        {HEADER "energy-aware,6,0.5,1,1,1,1,1,1,1,1,,,\n",
         "r.csv:2: a seed of another comparison, '6'"},
        {HEADER "energy-aware,-7,0.5,1,1,1,1,1,1,1,1,,,\n",
         "r.csv:2: a seed of another comparison, '-7'"},
        {HEADER "energy-aware,7,0.4,1,1,1,1,1,1,1,1,,,\n",
         "r.csv:2: a budget of another comparison, '0.4'"},
        {HEADER "energy-aware,7,nan,1,1,1,1,1,1,1,1,,,\n",
         "r.csv:2: a budget of another comparison, 'nan'"},
        {HEADER "energy-aware,7,0.5,x,1,1,1,1,1,1,1,,,\n", "r.csv:2: not a number: 'x'"},
        {HEADER "energy-aware,7,0.5,nan,1,1,1,1,1,1,1,,,\n", "r.csv:2: not a number: 'nan'"},
        {HEADER "energy-aware,7,0.5,,,,,,,,,,,\n",
         "r.csv:2: no energy, no accuracy and no note: 'energy-aware'"},
        {HEADER "energy-aware,7,0.5,,,,,,,,,,,a\nenergy-aware,7,0.5,,,,,,,,,,,b\n",
         "r.csv:3: a second row for the same network: 'energy-aware'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_comparison c;
        wtl_error err;
        begin(&c, 2, 2);
        wtl_compare_blank(&c.dense, -1, -1, -1);
        char *text = wtl_strdup(cases[i][0]);
        assert_fails(wtl_compare_results_parse(&c, text, "r.csv", &err), WTL_E_FORMAT, &err,
                     cases[i][1]);
        wtl_free(text);
        wtl_comparison_clear(&c);
    }
}

/* ---- runs that are played ----
 *
 * A run "prunes" by writing its target into ckpt/pruned.wtl; the judge reads it back. The net
 * of energy e has top-1 90 - lost/e. */

typedef struct play {
    double floor;         /* budgets below it are refused */
    int stop_at;          /* the call of prune() that is stopped; 0: none */
    int prunes, judgings; /* calls */
    int resumed;          /* of them with resume */
    bool diverges;        /* random does */
    char latest[256];     /* the run of the latest call */
    uint64_t seed;        /* of the latest call */
    char notes[2048];
} play;
static play p;

static wtl_status play_preflight(wtl_preflight *out, const wtl_prune_options *o, wtl_error *err)
{
    *out = (wtl_preflight){.net = "toy",
                           .dense = 1000,
                           .floor = 1000 * p.floor,
                           .train_images = 900,
                           .val_images = 100,
                           .search_images = 64};
    return o->target_energy < p.floor ? wtl_fail(err, WTL_E_GOAL, "the floor is %g", p.floor)
                                      : WTL_OK;
}

static wtl_status play_prune(const char *run, const wtl_prune_options *o, bool resume,
                             bool force, const wtl_prune_hooks *hooks, wtl_prune_result *result,
                             wtl_error *err)
{
    (void)hooks;
    assert_int_equal(resume, !force);
    assert_true(o->max_drop < 0);
    p.prunes++;
    p.resumed += resume;
    p.seed = o->seed;
    snprintf(p.latest, sizeof p.latest, "%s", run);
    if (p.prunes == p.stop_at) {
        return wtl_fail(err, WTL_E_STOPPED, "stopped and saved");
    }
    if (o->target_energy < p.floor) {
        return wtl_fail(err, WTL_E_GOAL, "below the floor, %g", p.floor);
    }
    if (p.diverges && strcmp(o->method, "random") == 0) {
        return wtl_fail(err, WTL_E_NAN, "the loss is not finite");
    }
    char text[128], folder[512], file[512], config[512];
    snprintf(folder, sizeof folder, "%s/ckpt", run);
    snprintf(file, sizeof file, "%s/ckpt/pruned.wtl", run);
    snprintf(config, sizeof config, "%s/config.json", run);
    snprintf(text, sizeof text, "%.6f %s", o->target_energy, o->method);
    wtl_status status = wtl_make_folder(folder, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_test_write(config, "{}", 2);
    wtl_test_write(file, text, strlen(text));
    *result = (wtl_prune_result){.met = true, .seconds = 120, .peak_bytes = 5e8};
    return WTL_OK;
}

static wtl_status play_open(void **judge, const wtl_prune_options *o, long *test_images,
                            wtl_error *err)
{
    (void)o;
    *test_images = 50;
    *judge = wtl_alloc(1, 1);
    return *judge ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "out of memory");
}

static wtl_status play_report(wtl_energy_report *report, double energy, wtl_error *err)
{
    *report = (wtl_energy_report){.layer_count = 2};
    report->layers = wtl_alloc(2, sizeof *report->layers);
    if (!report->layers) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory");
    }
    for (int i = 0; i < 2; i++) {
        wtl_layer_energy *l = &report->layers[i];
        snprintf(l->name, sizeof l->name, "conv%d", i + 1);
        l->weights = 100 * (i + 1);
        l->weight_density = energy;
        l->weights_not_zero = energy * l->weights;
        l->energy[WTL_DATA_WEIGHT][WTL_LEVEL_DRAM] = l->total = 500 * energy;
        l->macs = 1000;
        l->macs_not_skipped = 1000 * energy;
        l->ifmap_density = l->ofmap_density = 0.5;
    }
    report->total = 1000 * energy;
    return WTL_OK;
}

static wtl_status play_judge(void *judge, const char *checkpoint, const wtl_prune_hooks *hooks,
                             wtl_compare_point *point, wtl_energy_report *report,
                             wtl_error *err)
{
    double energy = 1, lost = 0;
    (void)hooks;
    assert_non_null(judge);
    if (strcmp(checkpoint, "dense.wtl") != 0) {
        unsigned char *bytes;
        size_t length;
        wtl_status status = wtl_file_read_plain(checkpoint, 1000, &bytes, &length, err);
        if (status != WTL_OK) {
            return status;
        }
        energy = strtod((const char *)bytes, NULL);
        lost = strstr((const char *)bytes, "energy-aware") ? 0.2 : 0.4;
        wtl_free(bytes);
    }
    if (report) {
        return play_report(report, energy, err);
    }
    p.judgings++;
    point->energy_absolute = 1000 * energy;
    point->weights = 300 * energy;
    point->macs = 2000 * energy;
    point->density = energy;
    point->top1 = point->val_top1 = 90 - lost / energy;
    point->top5 = 99;
    return WTL_OK;
}

static const wtl_compare_engine engine = {play_preflight, play_prune, play_open, play_judge,
                                          wtl_free};

static void on_event(void *context, const wtl_prune_event *event)
{
    (void)context;
    assert_int_equal(event->kind, WTL_PRUNE_NOTE);
    strncat(p.notes, event->note, sizeof p.notes - strlen(p.notes) - 1);
}

static wtl_compare_options two_methods(void)
{
    wtl_compare_options o = {.methods = {"magnitude-global", "energy-aware"},
                             .method_count = 2,
                             .budgets = {0.7, 0.5, 0.3},
                             .budget_count = 3,
                             .seeds = 2};
    wtl_prune_defaults(&o.prune);
    strcpy(o.prune.checkpoint, "dense.wtl");
    strcpy(o.prune.data, "idx:d");
    o.prune.seed = 7;
    return o;
}

static const char *fresh_folder(char folder[64])
{
    static int count;
    snprintf(folder, 64, "compare-%d", count++);
    p = (play){.floor = 0.1};
    return wtl_test_path(folder);
}

static char *file_of(const char *folder, const char *name)
{
    char *path = wtl_path_join(folder, name), *text = read_text(path);
    wtl_free(path);
    return text;
}

/* Energies 0.7, 0.5, 0.3: magnitude loses 0.57, 0.8, 1.33 points; energy-aware 0.29, 0.4,
 * 0.67. At 1 point: magnitude's 0.5, energy-aware's 0.3. */
static void a_comparison_goes_down_every_ladder_once(void **state)
{
    (void)state;
    char name[64];
    const char *out = fresh_folder(name);
    const wtl_compare_options o = two_methods();
    const wtl_prune_hooks hooks = {.event = on_event};
    wtl_comparison c;
    assert_ok(wtl_compare_with(&engine, out, &o, false, false, &hooks, &c, NULL));
    assert_int_equal(p.prunes, 12);
    assert_int_equal(p.resumed, 8); /* of each of 4 runs the second and third budget */
    assert_int_equal(p.judgings, 13);
    assert_non_null(strstr(p.latest, "/runs/energy-aware-seed8"));
    assert_int_equal(p.seed, 8);
    assert_non_null(strstr(p.notes, "energy-aware, seed 7 (run 2 of 4): to 50 % of the dense"));
    assert_string_equal(c.net, "toy");
    assert_close(c.floor, 0.1, 1e-15);
    assert_int_equal(c.test_images, 50);
    assert_int_equal(c.point_count, 12);
    assert_close(wtl_compare_at(&c, 0, 1, 2)->top1, 90 - 0.4 / 0.3, 1e-7);
    assert_close(wtl_compare_at(&c, 0, 1, 2)->minutes, 2, 0);
    assert_int_equal(c.rows[0].seeds, 2);
    assert_close(c.rows[0].energy_mean, 0.5, 1e-9);
    assert_close(c.rows[0].energy_sd, 0, 1e-12);
    assert_close(c.rows[1].energy_mean, 0.3, 1e-9);
    assert_true(c.rows[1].bounded && !c.rows[0].bounded);
    assert_int_equal(c.best_magnitude, 0);
    wtl_comparison_clear(&c);

    char *text = file_of(out, "runs/energy-aware-seed8/ckpt/at-0.50.wtl");
    assert_string_equal(text, "0.500000 energy-aware");
    wtl_free(text);
    text = file_of(out, "layers.csv");
    assert_non_null(strstr(text, "original,dense,,,conv1,100,100,1,500,1000,1000,0.5,0.5\n"));
    assert_non_null(strstr(
        text, "magnitude,magnitude-global,7,0.5,conv2,200,100,0.5,250,1000,500,0.5,0.5\n"));
    assert_non_null(strstr(text, "energy-aware,energy-aware,7,0.3,conv2,200,60,0.3,150,"));
    wtl_free(text);
    text = file_of(out, "summary.md");
    assert_non_null(strstr(text, "energy-aware: 1.67 (networks of the first table)"));
    assert_non_null(strstr(text, "| conv2 |     200 |"));
    wtl_free(text);
    /* A decade of energy from 0.1 is 626 pixels, a point of top-1 380 / 1.4; the mean of both
     * seeds at 0.7 is 4/7 of a point below the original. */
    text = file_of(out, "plots/pareto.svg");
    assert_non_null(strstr(text, "d=\"M690.00 88.00L593.03 243.10M"));
    wtl_free(text);
    static const char *const plots[] = {"plots/pareto.svg", "plots/bars.svg",
                                        "plots/layers.svg"};
    for (int i = 0; i < 3; i++) {
        text = file_of(out, plots[i]);
        assert_memory_equal(text, "<svg ", 5);
        assert_null(strstr(text, "nan"));
        wtl_free(text);
    }
}

static void the_summary_is_json_too(void **state)
{
    (void)state;
    char name[64];
    const char *out = fresh_folder(name);
    wtl_compare_options o = two_methods();
    wtl_comparison c;
    o.prune.how.granularity = WTL_GRANULARITY_4X1;
    assert_ok(wtl_compare_with(&engine, out, &o, false, false, NULL, &c, NULL));
    wtl_comparison_clear(&c);
    char *text = file_of(out, "summary.md");
    assert_non_null(strstr(text, ". Weights go in 4x1 blocks. Mean"));
    wtl_free(text);
    text = file_of(out, "summary.json");
    json_t *root = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    wtl_free(text);
    assert_non_null(root);
    assert_int_equal(json_integer_value(json_object_get(root, "schema_version")), 1);
    assert_string_equal(json_string_value(json_object_get(root, "granularity")), "4x1");
    assert_int_equal(json_array_size(json_object_get(root, "points")), 12);
    assert_int_equal(json_array_size(json_object_get(root, "layers")), 6);
    const json_t *rows = json_object_get(root, "rows"), *row = json_array_get(rows, 1);
    assert_string_equal(json_string_value(json_object_get(row, "method")), "energy-aware");
    assert_true(json_is_true(json_object_get(row, "bounded")));
    const json_t *chosen = json_object_get(json_object_get(root, "ratios"), "chosen");
    assert_close(json_number_value(json_object_get(chosen, "magnitude_over_energy_aware")),
                 5.0 / 3, 1e-9);
    json_decref(root);
}

/* Stopped at the 5th run's call, then again: every file is as if it had not been. */
static void a_stopped_comparison_goes_on_where_it_was(void **state)
{
    (void)state;
    static const char *const files[] = {"results.csv", "summary.json", "summary.md",
                                        "layers.csv",  "config.json",  "plots/pareto.svg"};
    char whole_name[64], name[64];
    const wtl_compare_options o = two_methods();
    wtl_comparison c;
    wtl_error err;
    const char *whole = fresh_folder(whole_name);
    assert_ok(wtl_compare_with(&engine, whole, &o, false, false, NULL, &c, NULL));
    wtl_comparison_clear(&c);

    const char *out = fresh_folder(name);
    p.stop_at = 5;
    assert_fails(wtl_compare_with(&engine, out, &o, false, false, NULL, &c, &err),
                 WTL_E_STOPPED, &err, "stopped and saved");
    assert_null(c.points);
    p = (play){.floor = 0.1};
    assert_ok(wtl_compare_with(&engine, out, NULL, true, false, NULL, &c, NULL));
    wtl_comparison_clear(&c);
    assert_int_equal(p.prunes, 8); /* 4 of 12 were done */
    assert_int_equal(p.judgings, 8);
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        char *a = file_of(whole, files[i]), *b = file_of(out, files[i]);
        assert_string_equal(a, b);
        wtl_free(a);
        wtl_free(b);
    }
    /* Finished: nothing is pruned or judged again. */
    p = (play){.floor = 0.1};
    assert_ok(wtl_compare_with(&engine, out, NULL, true, false, NULL, &c, NULL));
    wtl_comparison_clear(&c);
    assert_int_equal(p.prunes + p.judgings, 0);
}

static void more_seeds_can_be_added_afterwards(void **state)
{
    (void)state;
    char name[64];
    const char *out = fresh_folder(name);
    wtl_compare_options o = two_methods();
    wtl_comparison c;
    o.seeds = 1;
    assert_ok(wtl_compare_with(&engine, out, &o, false, false, NULL, &c, NULL));
    wtl_comparison_clear(&c);
    p = (play){.floor = 0.1};
    o = (wtl_compare_options){.seeds = 2};
    assert_ok(wtl_compare_with(&engine, out, &o, true, false, NULL, &c, NULL));
    assert_int_equal(c.options.seeds, 2);
    assert_int_equal(p.prunes, 6);
    assert_int_equal(c.rows[0].seeds, 2);
    wtl_comparison_clear(&c);
}

/* Floor 0.4: of 0.7, 0.5, 0.3 the last is a gap for all; random never trains. */
static void what_cannot_be_met_leaves_a_noted_gap(void **state)
{
    (void)state;
    char name[64];
    const char *out = fresh_folder(name);
    wtl_compare_options o = two_methods();
    wtl_comparison c;
    strcpy(o.methods[0], "random");
    p = (play){.floor = 0.4, .diverges = true};
    assert_ok(wtl_compare_with(&engine, out, &o, false, false, NULL, &c, NULL));
    assert_string_equal(wtl_compare_at(&c, 1, 0, 2)->note, "below the floor; 0.4");
    assert_string_equal(wtl_compare_at(&c, 0, 1, 0)->note, "the loss is not finite");
    assert_true(isnan(wtl_compare_at(&c, 0, 1, 0)->energy));
    assert_true(isnan(c.rows[0].iso_energy_mean));
    assert_close(c.rows[1].energy_mean, 0.5, 1e-9);
    wtl_comparison_clear(&c);
    char *text = file_of(out, "summary.md");
    assert_non_null(strstr(text, "- energy-aware, seed 8, 30 %: below the floor; 0.4\n"));
    assert_non_null(strstr(text, "| random       |            - |"));
    wtl_free(text);
    /* Noted is done. */
    p = (play){.floor = 0.4};
    assert_ok(wtl_compare_with(&engine, out, NULL, true, false, NULL, &c, NULL));
    wtl_comparison_clear(&c);
    assert_int_equal(p.prunes, 0);
}

static void a_first_budget_below_the_floor_is_told_before_any_work(void **state)
{
    (void)state;
    char name[64];
    const char *out = fresh_folder(name);
    const wtl_compare_options o = two_methods();
    wtl_comparison c;
    wtl_error err;
    p.floor = 0.8;
    assert_fails(wtl_compare_with(&engine, out, &o, false, false, NULL, &c, &err), WTL_E_GOAL,
                 &err, "the floor is 0.8");
    assert_false(wtl_folder_exists(out));
}

static void another_comparison_in_the_folder_is_refused_or_forced(void **state)
{
    (void)state;
    char name[64], text[512];
    char *out = wtl_strdup(fresh_folder(name));
    wtl_compare_options o = two_methods();
    wtl_comparison c;
    wtl_error err;
    assert_fails(wtl_compare_with(&engine, out, NULL, true, false, NULL, &c, &err),
                 WTL_E_MISSING, &err,
                 (snprintf(text, sizeof text,
                           "%s: no config.json there, so no comparison to resume; start one "
                           "without resuming",
                           out),
                  text));
    assert_ok(wtl_compare_with(&engine, out, &o, false, false, NULL, &c, NULL));
    wtl_comparison_clear(&c);
    snprintf(text, sizeof text,
             "%s: holds a comparison or a run already; resume it, overwrite it by force, or "
             "choose another folder",
             out);
    assert_fails(wtl_compare_with(&engine, out, &o, false, false, NULL, &c, &err), WTL_E_ARG,
                 &err, text);
    /* By force: runs of before are not resumed, rows of before are gone. */
    p = (play){.floor = 0.1};
    o.seeds = 1;
    assert_ok(wtl_compare_with(&engine, out, &o, false, true, NULL, &c, NULL));
    wtl_comparison_clear(&c);
    assert_int_equal(p.prunes, 6);
    assert_int_equal(p.resumed, 4);
    wtl_free(out);
}

/* ---- options ---- */

static void options_come_back_from_config_json(void **state)
{
    (void)state;
    wtl_compare_options o = two_methods(), back;
    wtl_error err;
    strcpy(o.prune.limits[0].layer, "conv1");
    o.prune.limits[0].least_density = 0.5;
    o.prune.limit_count = 1;
    o.prune.how.granularity = WTL_GRANULARITY_4X1;
    o.prune.rounds = 0;
    o.prune.max_drop = 3;
    assert_ok(wtl_compare_resolve(&o, &err));
    assert_int_equal(o.prune.rounds, 6);
    assert_true(o.prune.max_drop < 0);
    assert_close(o.max_drop, 1, 0);
    assert_close(o.equal_energy, 0.5, 0);
    char *text = wtl_compare_config_text(&o);
    assert_ok(wtl_compare_config_parse(&back, text, strlen(text), "config.json", &err));
    char *again = wtl_compare_config_text(&back);
    assert_string_equal(text, again);
    assert_string_equal(back.methods[1], "energy-aware");
    assert_close(back.budgets[2], 0.3, 0);
    assert_int_equal(back.prune.limit_count, 1);
    assert_int_equal(back.prune.how.granularity, WTL_GRANULARITY_4X1);
    wtl_free(again);
    wtl_free(text);
}

static void bad_configs_are_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"{", "c.json:1: string or '}' expected near end of file"},
        {"[]", "c.json: Expected object, got array"},
        {"{\"methods\":[]}", "c.json: Object item not found: budgets"},
        {"{\"methods\":[\"random\"],\"budgets\":[0.5],\"seeds\":1,\"max_drop\":1,"
         "\"equal_energy\":0.5,\"prune\":{\"rouns\":1}}",
         "c.json: unknown key rouns; did you mean rounds?"},
        {"{\"methods\":[1],\"budgets\":[0.5],\"seeds\":1,\"max_drop\":1,"
         "\"equal_energy\":0.5,\"prune\":{}}",
         "c.json: methods: must be names"},
        {"{\"methods\":[\"random\"],\"budgets\":[\"a\"],\"seeds\":1,\"max_drop\":1,"
         "\"equal_energy\":0.5,\"prune\":{}}",
         "c.json: budgets: must be numbers"},
        {"{\"methods\":[\"random\"],\"budgets\":[0.5,0.6],\"seeds\":1,\"max_drop\":1,"
         "\"equal_energy\":0.5,\"prune\":{}}",
         "c.json: the budget 0.6 comes after 0.5: budgets fall, by 0.01 at least"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_compare_options o;
        wtl_error err;
        assert_fails(
            wtl_compare_config_parse(&o, cases[i][0], strlen(cases[i][0]), "c.json", &err),
            WTL_E_FORMAT, &err, cases[i][1]);
    }
}

static void options_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    wtl_error err;
    wtl_compare_options o = two_methods();
    strcpy(o.methods[1], "energy-awre");
    assert_fails(wtl_compare_resolve(&o, &err), WTL_E_ARG, &err,
                 "there is no method 'energy-awre' (did you mean energy-aware?)");
    strcpy(o.methods[1], "magnitude-global");
    assert_fails(wtl_compare_resolve(&o, &err), WTL_E_ARG, &err,
                 "the method magnitude-global is there twice");
    o.method_count = 0;
    assert_fails(wtl_compare_resolve(&o, &err), WTL_E_ARG, &err,
                 "a comparison takes 1 to 8 methods, not 0");
    static const struct {
        double first, second;
        const char *text;
    } budgets[] = {
        {1, 0.5, "the budget 1 is not a share of the dense energy between 0 and 1"},
        {NAN, 0.5, "the budget nan is not a share of the dense energy between 0 and 1"},
        {0.5, 0, "the budget 0 is not a share of the dense energy between 0 and 1"},
        {0.5, 0.5, "the budget 0.5 comes after 0.5: budgets fall, by 0.01 at least"},
        {0.5, 0.495, "the budget 0.495 comes after 0.5: budgets fall, by 0.01 at least"},
    };
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        o = two_methods();
        o.budgets[0] = budgets[i].first;
        o.budgets[1] = budgets[i].second;
        assert_fails(wtl_compare_resolve(&o, &err), WTL_E_RANGE, &err, budgets[i].text);
    }
    o = two_methods();
    o.budgets[1] = 0.69; /* exactly one step */
    assert_ok(wtl_compare_resolve(&o, &err));
    o.seeds = 65;
    assert_fails(wtl_compare_resolve(&o, &err), WTL_E_RANGE, &err,
                 "a comparison takes 1 to 64 seeds, not 65");
    o = two_methods();
    o.max_drop = -1;
    assert_fails(wtl_compare_resolve(&o, &err), WTL_E_RANGE, &err,
                 "the largest drop, -1 points, is not in (0, 100]");
    o = two_methods();
    o.equal_energy = 1.5;
    assert_fails(wtl_compare_resolve(&o, &err), WTL_E_RANGE, &err,
                 "the equal energy, 1.5, is not a share of the dense energy in (0, 1]");
}

/* ---- memory ---- */

/* A whole comparison; the folder is made anew, so that every call does the same. */
static wtl_status whole_comparison(void *context)
{
    wtl_compare_options o = two_methods();
    wtl_comparison c;
    p = (play){.floor = 0.4};
    o.seeds = o.method_count = 1;
    o.budget_count = 2;
    o.budgets[1] = 0.3; /* a gap */
    wtl_status status = wtl_compare_with(&engine, context, &o, false, true, NULL, &c, NULL);
    if (status == WTL_OK) {
        char *table = wtl_comparison_table(&c);
        status = table ? WTL_OK : WTL_E_NOMEM;
        wtl_free(table);
        wtl_comparison_clear(&c);
    }
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char name[64];
    char *out = wtl_strdup(fresh_folder(name));
    wtl_test_every_allocation_fails(whole_comparison, out);
    wtl_free(out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_loss_is_interpolated_in_the_logarithm_of_energy),
        WTL_TEST(of_several_crossings_the_cheapest_counts),
        WTL_TEST(the_dense_net_begins_the_curve),
        WTL_TEST(a_curve_that_never_falls_so_far_is_bounded),
        WTL_TEST(gaps_are_stepped_over),
        WTL_TEST(a_run_of_gaps_alone_has_no_curve),
        WTL_TEST(accuracy_at_an_energy_needs_a_net_on_either_side),
        WTL_TEST(the_cheapest_net_that_holds_on_validation_is_chosen),
        WTL_TEST(rows_have_mean_and_sample_deviation_over_seeds),
        WTL_TEST(one_seed_has_no_deviation),
        WTL_TEST(the_best_baseline_is_a_magnitude_method_where_there_is_one),
        WTL_TEST(a_baseline_that_holds_with_more_seeds_is_better),
        WTL_TEST(results_are_written_and_read_back),
        WTL_TEST(bad_results_are_named_with_file_and_line),
        WTL_TEST(a_comparison_goes_down_every_ladder_once),
        WTL_TEST(the_summary_is_json_too),
        WTL_TEST(a_stopped_comparison_goes_on_where_it_was),
        WTL_TEST(more_seeds_can_be_added_afterwards),
        WTL_TEST(what_cannot_be_met_leaves_a_noted_gap),
        WTL_TEST(a_first_budget_below_the_floor_is_told_before_any_work),
        WTL_TEST(another_comparison_in_the_folder_is_refused_or_forced),
        WTL_TEST(options_come_back_from_config_json),
        WTL_TEST(bad_configs_are_named),
        WTL_TEST(options_that_make_no_sense_are_refused),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("compare", tests);
}
