/* train_options.c - defaults, and options to and from JSON by one table. */
#include "wattle/fields.h"
#include "wattle/trainer.h"

#include <jansson.h>
#include <stddef.h>

void wtl_train_defaults(wtl_train_options *options)
{
    *options = (wtl_train_options){
        .epochs = 10,
        .batch = 128,
        .schedule = {.kind = WTL_SCHEDULE_ONECYCLE, .peak = 0.1, .gamma = 0.1},
        .augment = "none",
        .val_share = 0.1,
        .seed = 1,
        .workers = 1,
        .save_minutes = 5,
    };
    wtl_optimizer_defaults(&options->optimizer);
}

static const char *const schedule_words[] = {"constant", "step", "cosine", "onecycle", NULL};
static const char *const engine_words[] = {"native", "blas", "reference", NULL};

#define AT(member) offsetof(wtl_train_options, member)
#define BELOW_ONE  0.9999999999
static const wtl_field fields[] = {
    {NULL, "net", WTL_FIELD_TEXT, AT(net), 0, sizeof(((wtl_train_options *)0)->net), NULL},
    {NULL, "data", WTL_FIELD_TEXT, AT(data), 0, sizeof(((wtl_train_options *)0)->data), NULL},
    {NULL, "from", WTL_FIELD_TEXT, AT(from), 0, sizeof(((wtl_train_options *)0)->from), NULL},
    {NULL, "epochs", WTL_FIELD_INT, AT(epochs), 1, 1e6, NULL},
    {NULL, "batch", WTL_FIELD_INT, AT(batch), 1, 65536, NULL},
    {"optimizer", "kind", WTL_FIELD_WORD, AT(optimizer.kind), 0, 0, wtl_optimizer_words},
    {"optimizer", "momentum", WTL_FIELD_REAL, AT(optimizer.momentum), 0, BELOW_ONE, NULL},
    {"optimizer", "beta2", WTL_FIELD_REAL, AT(optimizer.beta2), 0, BELOW_ONE, NULL},
    {"optimizer", "epsilon", WTL_FIELD_REAL, AT(optimizer.epsilon), 0, 1, NULL},
    {"optimizer", "weight_decay", WTL_FIELD_REAL, AT(optimizer.weight_decay), 0, 1, NULL},
    {"optimizer", "decay_all", WTL_FIELD_BOOL, AT(optimizer.decay_all), 0, 0, NULL},
    {"optimizer", "clip_norm", WTL_FIELD_REAL, AT(optimizer.clip_norm), 0, 1e9, NULL},
    {"optimizer", "ema", WTL_FIELD_REAL, AT(optimizer.ema), 0, BELOW_ONE, NULL},
    {"schedule", "kind", WTL_FIELD_WORD, AT(schedule.kind), 0, 0, schedule_words},
    {"schedule", "peak", WTL_FIELD_REAL, AT(schedule.peak), 0, 1e6, NULL},
    {"schedule", "warmup_epochs", WTL_FIELD_REAL, AT(schedule.warmup_epochs), 0, 1e6, NULL},
    {"schedule", "step_epochs", WTL_FIELD_REAL, AT(schedule.step_epochs), 0, 1e6, NULL},
    {"schedule", "gamma", WTL_FIELD_REAL, AT(schedule.gamma), 0, 1, NULL},
    {"schedule", "final_share", WTL_FIELD_REAL, AT(schedule.final_share), 0, 1, NULL},
    {NULL, "smoothing", WTL_FIELD_FLOAT, AT(smoothing), 0, BELOW_ONE, NULL},
    {NULL, "augment", WTL_FIELD_TEXT, AT(augment), 0, sizeof(((wtl_train_options *)0)->augment),
     NULL},
    {NULL, "cutout", WTL_FIELD_INT, AT(cutout), 0, 65536, NULL},
    {NULL, "val_share", WTL_FIELD_REAL, AT(val_share), 0, 0.9, NULL},
    {NULL, "whole_train", WTL_FIELD_BOOL, AT(whole_train), 0, 0, NULL},
    {NULL, "seed", WTL_FIELD_SEED, AT(seed), 0, 0, NULL},
    {NULL, "threads", WTL_FIELD_INT, AT(threads), 0, 1024, NULL},
    {NULL, "workers", WTL_FIELD_INT, AT(workers), 0, 256, NULL},
    {NULL, "engine", WTL_FIELD_WORD, AT(engine), 0, 0, engine_words},
    {NULL, "save_minutes", WTL_FIELD_REAL, AT(save_minutes), 0, 1e6, NULL},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

json_t *wtl_train_options_to_json(const wtl_train_options *options)
{
    return wtl_fields_to_json(fields, FIELD_COUNT, options);
}

wtl_status wtl_train_options_from_json(wtl_train_options *options, const json_t *json,
                                       const char *file, wtl_error *err)
{
    wtl_train_options copy = *options;
    wtl_status status = wtl_fields_from_json(fields, FIELD_COUNT, &copy, json, file, err);
    if (status == WTL_OK) {
        *options = copy;
    }
    return status;
}
