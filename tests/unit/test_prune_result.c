#define _GNU_SOURCE
#include "tiny_run.h"
#include "wtl_test.h"

#include "prune/run/session.h"
#include "wattle/checkpoint.h"
#include "wattle/evaluate.h"
#include "wattle/file.h"
#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/pricing.h"
#include "wattle/prune.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* What a run hands out, computed again from its files. */

enum { SIDE = WTL_TINY_SIDE, PIXELS = SIDE * SIDE, TRAIN = WTL_TINY_IMAGES - WTL_TINY_VAL };

static wtl_prune_options tiny_options(const char *method)
{
    static bool written;
    if (!written) {
        wtl_tiny_data("data");
        wtl_tiny_train("dense", wtl_tiny_net);
        written = true;
    }
    return wtl_tiny_prune_options(method);
}

static wtl_status prune(const char *run, const wtl_prune_options *o, wtl_prune_result *r,
                        wtl_error *err)
{
    return wtl_prune(wtl_test_path(run), o, false, true, NULL, r, err);
}

/* ---- computed again ---- */

typedef struct again {
    wtl_checkpoint *checkpoint;
    wtl_net *net; /* inference, keep_outputs */
    wtl_pricing *pricing;
    double search, held_out; /* energies */
    double top1, top5, loss;
    double nonzeros[4];
    double cost[4];
} again;

static wtl_dataset *part_of(const wtl_prune_options *o, wtl_data_part part)
{
    wtl_dataset *dataset;
    const wtl_dataset_options options = {.part = part, .split_seed = 3, .val_share = 0.25};
    assert_ok(wtl_dataset_open(&dataset, o->data, &options, NULL));
    return dataset;
}

static double energy_on(again *a, const wtl_prune_options *o, wtl_data_part part)
{
    wtl_sample sample;
    wtl_dataset *dataset = part_of(o, part);
    assert_ok(wtl_sample_draw(&sample, dataset, wtl_checkpoint_net(a->checkpoint),
                              o->search_images, o->seed, NULL));
    assert_ok(wtl_pricing_measure(a->pricing, &sample, NULL, NULL, NULL));
    wtl_pricing_nonzeros(a->pricing, a->net, a->nonzeros);
    for (int i = 0; i < wtl_pricing_count(a->pricing); i++) {
        a->cost[i] = wtl_pricing_cost(a->pricing, i, a->nonzeros[i]);
    }
    wtl_sample_clear(&sample);
    wtl_dataset_free(dataset);
    return wtl_pricing_total(a->pricing, a->nonzeros);
}

static again compute(const wtl_prune_options *o, const char *file)
{
    again a = {0};
    wtl_hardware hardware;
    wtl_evaluation seen;
    const wtl_net_options plan = {.batch = 7, .keep_outputs = true};
    assert_ok(wtl_checkpoint_read(&a.checkpoint, file, NULL));
    assert_ok(wtl_net_create(&a.net, wtl_checkpoint_net(a.checkpoint), &plan, NULL));
    assert_ok(wtl_checkpoint_fill_net(a.checkpoint, a.net, NULL));
    assert_ok(wtl_hardware_load(&hardware, o->hardware, NULL));
    assert_ok(wtl_pricing_create(&a.pricing, a.net, &hardware, &o->pricing, NULL));
    a.held_out = energy_on(&a, o, WTL_DATA_VAL);
    a.search = energy_on(&a, o, WTL_DATA_TRAIN);
    wtl_dataset *val = part_of(o, WTL_DATA_VAL);
    assert_ok(wtl_evaluate(&seen, a.net, val, NULL, NULL));
    assert_int_equal(seen.scores.images, WTL_TINY_VAL);
    a.top1 = wtl_percent(seen.scores.top1, seen.scores.images);
    a.top5 = wtl_percent(seen.scores.top5, seen.scores.images);
    a.loss = seen.scores.loss / (double)seen.scores.images;
    wtl_evaluation_clear(&seen);
    wtl_dataset_free(val);
    return a;
}

static void done_with(again *a)
{
    wtl_pricing_free(a->pricing);
    wtl_net_free(a->net);
    wtl_checkpoint_free(a->checkpoint);
}

static json_t *json_of(const char *path)
{
    json_error_t why;
    json_t *json = json_load_file(path, JSON_REJECT_DUPLICATES, &why);
    if (!json) {
        fail_msg("%s: %s", path, why.text);
    }
    return json;
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_number(value)) {
        fail_msg("%s is no number", key);
    }
    return json_number_value(value);
}

/* The last event of that kind in the plan; decref'd by the caller. */
static json_t *last_of(const char *run, const char *event)
{
    FILE *file = fopen(wtl_tiny_path(run, "plan.jsonl"), "r");
    char line[2048];
    json_t *found = NULL;
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, NULL);
        assert_non_null(object);
        if (strcmp(json_string_value(json_object_get(object, "event")), event) == 0) {
            json_decref(found);
            found = json_incref(object);
        }
        json_decref(object);
    }
    fclose(file);
    assert_non_null(found);
    return found;
}

static void check_layers(const char *run, const again *dense, const again *pruned)
{
    FILE *file = fopen(wtl_tiny_path(run, "energy.csv"), "r");
    char line[512];
    assert_non_null(file && fgets(line, sizeof line, file) ? file : NULL);
    for (int i = 0; i < wtl_pricing_count(pruned->pricing); i++) {
        double kept[2], energy[2];
        assert_non_null(fgets(line, sizeof line, file));
        size_t name = strcspn(line, ",");
        assert_true(line[name] == ',');
        line[name] = '\0';
        char *at = line + name + 1;
        (void)strtod(at, &at); /* weights */
        double *const values[] = {&kept[0], &kept[1], &energy[0], &energy[1]};
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            assert_true(*at == ',');
            *values[v] = strtod(at + 1, &at);
        }
        assert_string_equal(line, wtl_pricing_layer(pruned->pricing, i).name);
        assert_close(kept[0], dense->nonzeros[i], 0.0);
        assert_close(kept[1], pruned->nonzeros[i], 0.0);
        assert_close(energy[0], dense->cost[i], 0.001);
        assert_close(energy[1], pruned->cost[i], 0.001);
    }
    assert_null(fgets(line, sizeof line, file));
    fclose(file);
}

static void check_certificate(const char *run, const wtl_prune_options *o,
                              const wtl_prune_result *r)
{
    again dense = compute(o, wtl_tiny_path(run, "ckpt/dense.wtl")),
          pruned = compute(o, wtl_tiny_path(run, "ckpt/pruned.wtl"));
    json_t *c = json_of(wtl_tiny_path(run, "certificate.json"));
    double weights = 0, kept = 0;
    for (int i = 0; i < wtl_pricing_count(pruned.pricing); i++) {
        weights += (double)wtl_pricing_layer(pruned.pricing, i).weights;
        kept += pruned.nonzeros[i];
    }
    /* The run's batches are others than these: float sums differ in their last bits, which
     * can move a zero of a map. */
    double tolerance = 1e-4;
    assert_close(number(c, "dense_energy") / dense.search, 1.0, tolerance);
    assert_close(number(c, "pruned_energy") / pruned.search, 1.0, tolerance);
    assert_close(number(c, "energy"), pruned.search / dense.search, tolerance);
    assert_close(number(c, "energy_held_out"), pruned.held_out / dense.held_out, tolerance);
    assert_close(number(c, "dense_top1"), dense.top1, 1e-9);
    assert_close(number(c, "dense_top5"), dense.top5, 1e-9);
    assert_close(number(c, "top1"), pruned.top1, 1e-9);
    assert_close(number(c, "top5"), pruned.top5, 1e-9);
    assert_close(number(c, "weights"), weights, 0.0);
    assert_close(number(c, "weights_kept"), kept, 0.0);
    assert_close(r->density, kept / weights, 1e-12);
    assert_close(r->energy, number(c, "energy"), 1e-12);
    assert_close(r->drop, dense.top1 - pruned.top1, 1e-9);
    assert_int_equal(number(c, "val_images"), WTL_TINY_VAL);
    assert_int_equal(number(c, "train_images"), TRAIN);
    assert_int_equal(number(c, "rounds"), r->rounds);
    check_layers(run, &dense, &pruned);
    json_t *round = last_of(run, "round");
    assert_close(number(round, "val_loss"), pruned.loss, 1e-6);
    assert_close(number(round, "energy"), number(c, "energy"), 1e-8);
    json_decref(round);
    json_decref(c);
    done_with(&dense);
    done_with(&pruned);
}

static void a_certificate_holds_when_all_is_computed_again(void **state)
{
    (void)state;
    static const char *const methods[] = {"energy-aware", "magnitude-global",
                                          "magnitude-sensitivity"};
    for (int i = 0; i < 3; i++) {
        wtl_prune_options o = tiny_options(methods[i]);
        wtl_prune_result r;
        o.target_energy = wtl_tiny_above_floor(&o, 0.4);
        assert_ok(prune("again", &o, &r, NULL));
        assert_true(r.met && r.energy <= 1.01 * o.target_energy);
        check_certificate("again", &o, &r);
    }
}

static void the_certificate_of_a_resumed_run_is_the_same(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("magnitude-global");
    wtl_prune_result r, resumed;
    o.target_energy = wtl_tiny_above_floor(&o, 0.4);
    assert_ok(prune("twice", &o, &r, NULL));
    json_t *first = json_of(wtl_tiny_path("twice", "certificate.json"));
    assert_ok(wtl_prune(wtl_test_path("twice"), NULL, true, false, NULL, &resumed, NULL));
    json_t *second = json_of(wtl_tiny_path("twice", "certificate.json"));
    assert_true(json_equal(first, second));
    json_decref(first);
    json_decref(second);
}

/* ---- batch norm ---- */

/* One batch of all training images: the running mean is the mean of the conv outputs over all
 * of them, whatever their order, and the variance the unbiased one. */
static void check_statistics(const wtl_prune_options *o, const char *file)
{
    static double out[TRAIN * PIXELS];
    wtl_checkpoint *checkpoint;
    wtl_tensor_view w, mean, var;
    wtl_sample all;
    assert_ok(wtl_checkpoint_read(&checkpoint, file, NULL));
    assert_true(wtl_checkpoint_find(checkpoint, "c.weight", &w));
    assert_true(wtl_checkpoint_find(checkpoint, "b.running_mean", &mean));
    assert_true(wtl_checkpoint_find(checkpoint, "b.running_var", &var));
    wtl_dataset *train = part_of(o, WTL_DATA_TRAIN);
    assert_ok(wtl_sample_draw(&all, train, wtl_checkpoint_net(checkpoint), TRAIN, 1, NULL));
    assert_int_equal(all.count, TRAIN);
    for (int k = 0; k < 6; k++) {
        double sum = 0, squares = 0;
        for (int i = 0; i < TRAIN * PIXELS; i++) {
            const float *x = all.images + (size_t)(i / PIXELS) * PIXELS;
            int y0 = i % PIXELS / SIDE - 1, x0 = i % SIDE - 1;
            out[i] = 0;
            for (int t = 0; t < 9; t++) {
                int yy = y0 + t / 3, xx = x0 + t % 3;
                bool in = yy >= 0 && yy < SIDE && xx >= 0 && xx < SIDE;
                out[i] += in ? (double)w.value[k * 9 + t] * (double)x[yy * SIDE + xx] : 0.0;
            }
            sum += out[i];
        }
        double average = sum / (TRAIN * PIXELS);
        for (int i = 0; i < TRAIN * PIXELS; i++) {
            squares += (out[i] - average) * (out[i] - average);
        }
        assert_close((double)mean.value[k], average, 1e-5);
        assert_close((double)var.value[k], squares / (TRAIN * PIXELS - 1), 1e-5);
    }
    wtl_sample_clear(&all);
    wtl_dataset_free(train);
    wtl_checkpoint_free(checkpoint);
}

static void batch_norm_is_recalibrated_before_it_is_judged(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("energy-aware");
    wtl_prune_result r;
    o.batch = 64; /* more than there are: one batch is an epoch */
    o.recalibration = 5;
    o.epochs = 3;
    snprintf(o.augment, sizeof o.augment, "flip"); /* not in recalibration */
    o.target_energy = wtl_tiny_above_floor(&o, 0.4);
    assert_ok(prune("norm", &o, &r, NULL));
    check_statistics(&o, wtl_tiny_path("norm", "ckpt/pruned.wtl"));
    check_certificate("norm", &o, &r);
    o.recalibration = -1;
    assert_ok(prune("norm", &o, &r, NULL));
    wtl_checkpoint *checkpoint; /* a moving average is not that mean */
    wtl_tensor_view mean;
    assert_ok(wtl_checkpoint_read(&checkpoint, wtl_tiny_path("norm", "ckpt/pruned.wtl"), NULL));
    assert_true(wtl_checkpoint_find(checkpoint, "b.running_mean", &mean));
    wtl_checkpoint_free(checkpoint);
    check_certificate("norm", &o, &r);
}

/* ---- images ---- */

/* No picture of `a` is in `b`. */
static void assert_apart(const wtl_sample *a, const wtl_sample *b)
{
    size_t bytes = PIXELS * sizeof(float);
    assert_true(a->count > 0 && b->count > 0);
    for (int i = 0; i < a->count * b->count; i++) {
        const float *x = a->images + (size_t)(i / b->count) * PIXELS,
                    *y = b->images + (size_t)(i % b->count) * PIXELS;
        assert_true(memcmp(x, y, bytes) != 0);
    }
}

static void search_validation_and_test_images_are_apart(void **state)
{
    (void)state;
    wtl_prune_options o = tiny_options("random");
    wtl_session s = {0};
    wtl_sample val, test, train;
    o.search_images = TRAIN; /* as many as there are */
    o.target_energy = 0.9;
    /* The test part: other pictures, with as many images. */
    static unsigned char file[16 + WTL_TINY_IMAGES * PIXELS];
    const char *names[2][2] = {{"data/train-images-idx3-ubyte", "data/t10k-images-idx3-ubyte"},
                               {"data/train-labels-idx1-ubyte", "data/t10k-labels-idx1-ubyte"}};
    for (int k = 0; k < 2; k++) {
        unsigned char *bytes;
        size_t length;
        assert_ok(wtl_file_read_plain(wtl_test_path(names[k][0]), sizeof file, &bytes, &length,
                                      NULL));
        for (size_t i = 16; k == 0 && i < length; i++) {
            bytes[i] ^= 1;
        }
        wtl_test_write(wtl_test_path(names[k][1]), bytes, length);
        wtl_free(bytes);
    }
    assert_ok(wtl_prune_resolve(&o, NULL));
    assert_ok(wtl_session_open(&s, &o, o.checkpoint, NULL, NULL));
    const wtl_netdef *def = wtl_net_def(s.net);
    wtl_dataset *test_part = part_of(&o, WTL_DATA_TEST);
    assert_ok(wtl_sample_draw(&val, s.val, def, 1000, 1, NULL));
    assert_ok(wtl_sample_draw(&train, s.train, def, 1000, 1, NULL));
    assert_ok(wtl_sample_draw(&test, test_part, def, 1000, 1, NULL));
    assert_int_equal(s.search.count, TRAIN);
    assert_int_equal(s.held_out.count, WTL_TINY_VAL); /* fewer than search images */
    assert_int_equal(val.count, WTL_TINY_VAL);
    assert_int_equal(test.count, WTL_TINY_IMAGES);
    assert_apart(&s.search, &val);
    assert_apart(&s.search, &test);
    assert_apart(&s.search, &s.held_out);
    assert_apart(&train, &val);
    assert_apart(&train, &test);
    assert_apart(&val, &test);
    wtl_sample_clear(&val);
    wtl_sample_clear(&test);
    wtl_sample_clear(&train);
    wtl_dataset_free(test_part);
    wtl_session_close(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_certificate_holds_when_all_is_computed_again),
        WTL_TEST(the_certificate_of_a_resumed_run_is_the_same),
        WTL_TEST(batch_norm_is_recalibrated_before_it_is_judged),
        WTL_TEST(search_validation_and_test_images_are_apart),
    };
    return WTL_RUN("prune result", tests);
}
