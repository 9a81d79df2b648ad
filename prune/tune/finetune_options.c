/* finetune_options.c - the defaults of a fine-tuning run, and its options to and from JSON. */
#include "wattle/fields.h"
#include "wattle/finetune_run.h"

#include <jansson.h>
#include <stddef.h>

void wtl_finetune_run_defaults(wtl_finetune_run_options *options)
{
    *options = (wtl_finetune_run_options){
        .epochs = 1.0,
        .batch = 128,
        .augment = "none",
        .recalibration = 50,
        .workers = 1,
        .save_minutes = 5.0,
    };
    wtl_finetune_defaults(&options->finetune);
}

#define AT(member) offsetof(wtl_finetune_run_options, member)
#define TEXT(member)                                                                           \
    WTL_FIELD_TEXT, AT(member), 0, sizeof(((wtl_finetune_run_options *)0)->member), NULL
#define INT(member, low, high)  WTL_FIELD_INT, AT(member), low, high, NULL
#define REAL(member, low, high) WTL_FIELD_REAL, AT(member), low, high, NULL
#define BOOL(member)            WTL_FIELD_BOOL, AT(member), 0, 0, NULL
#define BELOW_ONE               0.9999999999
static const wtl_field fields[] = {
    {NULL, "checkpoint", TEXT(checkpoint)},
    {NULL, "data", TEXT(data)},
    {NULL, "masks", TEXT(masks)},
    {NULL, "epochs", REAL(epochs, 1e-9, 1e5)},
    {"optimizer", "kind", WTL_FIELD_WORD, AT(finetune.optimizer.kind), 0, 0,
     wtl_optimizer_words},
    {"optimizer", "momentum", REAL(finetune.optimizer.momentum, 0, BELOW_ONE)},
    {"optimizer", "beta2", REAL(finetune.optimizer.beta2, 0, BELOW_ONE)},
    {"optimizer", "epsilon", REAL(finetune.optimizer.epsilon, 0, 1)},
    {"optimizer", "weight_decay", REAL(finetune.optimizer.weight_decay, 0, 1)},
    {"optimizer", "decay_all", BOOL(finetune.optimizer.decay_all)},
    {"optimizer", "clip_norm", REAL(finetune.optimizer.clip_norm, 0, 1e9)},
    {"optimizer", "ema", REAL(finetune.optimizer.ema, 0, BELOW_ONE)},
    {NULL, "rate", REAL(finetune.rate, 0, 1e6)},
    {NULL, "final_share", REAL(finetune.final_share, 0, 1)},
    {NULL, "smoothing", WTL_FIELD_FLOAT, AT(finetune.smoothing), 0, BELOW_ONE, NULL},
    {"distill", "weight", REAL(finetune.distill, 0, 1)},
    {"distill", "teacher", TEXT(teacher)},
    {"distill", "temperature", REAL(finetune.temperature, 0.01, 1000)},
    {NULL, "batch", INT(batch, 1, 65536)},
    {NULL, "augment", TEXT(augment)},
    {NULL, "recalibration", INT(recalibration, -1, 1e6)},
    {NULL, "seed", WTL_FIELD_SEED, AT(seed), 0, 0, NULL},
    {NULL, "threads", INT(threads, 0, 1024)},
    {NULL, "workers", INT(workers, 1, 256)},
    {NULL, "save_minutes", REAL(save_minutes, 0, 1e6)},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

json_t *wtl_finetune_run_options_to_json(const wtl_finetune_run_options *options)
{
    return wtl_fields_to_json(fields, FIELD_COUNT, options);
}

wtl_status wtl_finetune_run_options_from_json(wtl_finetune_run_options *options,
                                              const json_t *json, const char *file,
                                              wtl_error *err)
{
    wtl_finetune_run_options copy = *options;
    wtl_status status = wtl_fields_from_json(fields, FIELD_COUNT, &copy, json, file, err);
    if (status == WTL_OK) {
        *options = copy;
    }
    return status;
}
