/* prune_options.c - the defaults of a pruning run, and its options to and from JSON. */
#include "wattle/fields.h"
#include "wattle/prune.h"

#include <jansson.h>
#include <stddef.h>
#include <string.h>

void wtl_prune_defaults(wtl_prune_options *options)
{
    *options = (wtl_prune_options){
        .method = "energy-aware",
        .hardware = "eyeriss-cvpr17",
        .pricing = {.batch = 44, .bits = 16},
        .max_drop = -1.0,
        .rounds = 6,
        .step = 0.7,
        .refinements = 2,
        .epochs = 1.0,
        .final_epochs = 2.0,
        .batch = 128,
        .augment = "none",
        .recalibration = 50,
        .search_images = 512,
        .how = {.reconstruct = {.overshoot = 0.05, .restore_step = 2, .ridge = 0},
                .images = 128,
                .positions = 16,
                .probes = 6},
        .workers = 1,
        .save_minutes = 5.0,
    };
    wtl_finetune_defaults(&options->finetune);
}

const char *const wtl_metric_words[] = {
    [WTL_METRIC_TOP1] = "top1", [WTL_METRIC_TOP5] = "top5", NULL};

#define AT(member) offsetof(wtl_prune_options, member)
#define TEXT(member)                                                                           \
    WTL_FIELD_TEXT, AT(member), 0, sizeof(((wtl_prune_options *)0)->member), NULL
#define INT(member, low, high)  WTL_FIELD_INT, AT(member), low, high, NULL
#define REAL(member, low, high) WTL_FIELD_REAL, AT(member), low, high, NULL
#define BOOL(member)            WTL_FIELD_BOOL, AT(member), 0, 0, NULL
#define WORD(member, words)     WTL_FIELD_WORD, AT(member), 0, 0, words
#define BELOW_ONE               0.9999999999
static const wtl_field fields[] = {
    {NULL, "checkpoint", TEXT(checkpoint)},
    {NULL, "data", TEXT(data)},
    {NULL, "method", TEXT(method)},
    {NULL, "hardware", TEXT(hardware)},
    {NULL, "hardware_batch", INT(pricing.batch, 1, 65536)},
    {NULL, "bits", INT(pricing.bits, 1, 32)},
    {NULL, "target_energy", REAL(target_energy, 0, 1)},
    {NULL, "max_drop", REAL(max_drop, -1, 100)},
    {NULL, "metric", WORD(metric, wtl_metric_words)},
    {NULL, "rounds", INT(rounds, 1, 1000)},
    {NULL, "step", REAL(step, 0.01, 0.99)},
    {NULL, "refinements", INT(refinements, -1, 100)},
    {NULL, "epochs", REAL(epochs, 0, 1e5)},
    {NULL, "final_epochs", REAL(final_epochs, 0, 1e5)},
    {"optimizer", "kind", WORD(finetune.optimizer.kind, wtl_optimizer_words)},
    {"optimizer", "momentum", REAL(finetune.optimizer.momentum, 0, BELOW_ONE)},
    {"optimizer", "beta2", REAL(finetune.optimizer.beta2, 0, BELOW_ONE)},
    {"optimizer", "epsilon", REAL(finetune.optimizer.epsilon, 0, 1)},
    {"optimizer", "weight_decay", REAL(finetune.optimizer.weight_decay, 0, 1)},
    {"optimizer", "decay_all", BOOL(finetune.optimizer.decay_all)},
    {"optimizer", "clip_norm", REAL(finetune.optimizer.clip_norm, 0, 1e9)},
    {"finetune", "rate", REAL(finetune.rate, 0, 1e6)},
    {"finetune", "final_share", REAL(finetune.final_share, 0, 1)},
    {"finetune", "smoothing", WTL_FIELD_FLOAT, AT(finetune.smoothing), 0, BELOW_ONE, NULL},
    {"finetune", "distill", REAL(finetune.distill, 0, 1)},
    {"finetune", "temperature", REAL(finetune.temperature, 0.01, 1000)},
    {"finetune", "batch", INT(batch, 1, 65536)},
    {"finetune", "augment", TEXT(augment)},
    {"finetune", "recalibration", INT(recalibration, -1, 1e6)},
    {NULL, "search_images", INT(search_images, 1, 1e6)},
    {"how", "granularity", WORD(how.granularity, wtl_granularity_words)},
    {"how", "images", INT(how.images, 1, 1e6)},
    {"how", "positions", INT(how.positions, 1, 65536)},
    {"how", "allocation", WORD(how.allocation, wtl_allocation_words)},
    {"how", "inputs_original", BOOL(how.inputs_original)},
    {"how", "targets_dense", BOOL(how.targets_dense)},
    {"how", "probes", INT(how.probes, 2, 100)},
    {"how", "no_restore", BOOL(how.no_restore)},
    {"how", "no_fit", BOOL(how.no_fit)},
    {"how", "overshoot", REAL(how.reconstruct.overshoot, -1, 1)},
    {"how", "restore_step", INT(how.reconstruct.restore_step, 1, 64)},
    {"how", "restore_losses", BOOL(how.reconstruct.restore_losses)},
    {"how", "ridge", REAL(how.reconstruct.ridge, -1, 1e6)},
    {NULL, "seed", WTL_FIELD_SEED, AT(seed), 0, 0, NULL},
    {NULL, "threads", INT(threads, 0, 1024)},
    {NULL, "workers", INT(workers, 0, 256)},
    {NULL, "save_minutes", REAL(save_minutes, 0, 1e6)},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

/* ---- limits: {"layer": density, ...} ---- */

static json_t *limits_to_json(const wtl_prune_options *options)
{
    json_t *object = json_object();
    for (int i = 0; object && i < options->limit_count; i++) {
        const wtl_prune_limit *limit = &options->limits[i];
        if (json_object_set_new(object, limit->layer, json_real(limit->least_density)) != 0) {
            json_decref(object);
            object = NULL;
        }
    }
    return object;
}

json_t *wtl_prune_options_to_json(const wtl_prune_options *options)
{
    json_t *root = wtl_fields_to_json(fields, FIELD_COUNT, options);
    if (root && json_object_set_new(root, "limits", limits_to_json(options)) != 0) {
        json_decref(root);
        root = NULL;
    }
    return root;
}

static wtl_status limits_from_json(wtl_prune_options *options, json_t *object, const char *file,
                                   wtl_error *err)
{
    const char *layer;
    json_t *value;
    if (!json_is_object(object)) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: limits: must be an object", file);
    }
    options->limit_count = 0;
    json_object_foreach(object, layer, value)
    {
        double density = json_is_number(value) ? json_number_value(value) : -1.0;
        if (options->limit_count == WTL_PRUNE_LIMITS || strlen(layer) >= WTL_LIMIT_NAME ||
            !(density >= 0.0 && density <= 1.0)) {
            return wtl_fail(err, WTL_E_FORMAT,
                            "%s: limits: at most %d layers, each with a density from 0 to 1; "
                            "%.40s has %g",
                            file, WTL_PRUNE_LIMITS, layer, density);
        }
        wtl_prune_limit *limit = &options->limits[options->limit_count++];
        *limit = (wtl_prune_limit){.least_density = density};
        memcpy(limit->layer, layer, strlen(layer));
    }
    return WTL_OK;
}

wtl_status wtl_prune_options_from_json(wtl_prune_options *options, const json_t *json,
                                       const char *file, wtl_error *err)
{
    wtl_prune_options copy = *options;
    /* The table knows no object with free keys: it sees the rest. jansson's copy takes no
     * const object, but changes nothing. */
    json_t *rest = json_copy((json_t *)(uintptr_t)json);
    if (!rest) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for the options");
    }
    wtl_status status = WTL_OK;
    json_t *limits = json_object_get(rest, "limits");
    if (limits) {
        status = limits_from_json(&copy, limits, file, err);
        (void)json_object_del(rest, "limits");
    }
    if (status == WTL_OK) {
        status = wtl_fields_from_json(fields, FIELD_COUNT, &copy, rest, file, err);
    }
    json_decref(rest);
    if (status == WTL_OK) {
        *options = copy;
    }
    return status;
}
