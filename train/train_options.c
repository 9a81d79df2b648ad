/* train_options.c - defaults, and options to and from JSON by one table. */
#include "json.h"
#include "wattle/text.h"
#include "wattle/trainer.h"

#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wtl_train_defaults(wtl_train_options *options)
{
    *options = (wtl_train_options){
        .epochs = 10,
        .batch = 128,
        .optimizer = {.kind = WTL_OPTIMIZER_NESTEROV,
                      .momentum = 0.9,
                      .beta2 = 0.999,
                      .epsilon = 1e-8,
                      .weight_decay = 5e-4},
        .schedule = {.kind = WTL_SCHEDULE_ONECYCLE, .peak = 0.1, .gamma = 0.1},
        .augment = "none",
        .val_share = 0.1,
        .seed = 1,
        .workers = 1,
        .save_minutes = 5,
    };
}

typedef enum field_type {
    FIELD_INT,
    FIELD_REAL,  /* double */
    FIELD_FLOAT, /* float */
    FIELD_BOOL,
    FIELD_TEXT, /* char[], high is its size */
    FIELD_WORD, /* an enum, by its name in words */
    FIELD_SEED  /* uint64_t; a string of digits where JSON's integers end */
} field_type;

typedef struct field {
    const char *group; /* the object it is in, or NULL */
    const char *key;
    field_type type;
    size_t offset;
    double low, high; /* of numbers */
    const char *const *words;
} field;

static const char *const optimizer_words[] = {"sgd", "nesterov", "adam", NULL};
static const char *const schedule_words[] = {"constant", "step", "cosine", "onecycle", NULL};
static const char *const engine_words[] = {"blas", "reference", NULL};

#define AT(member) offsetof(wtl_train_options, member)
#define BELOW_ONE  0.9999999999
static const field fields[] = {
    {NULL, "net", FIELD_TEXT, AT(net), 0, sizeof(((wtl_train_options *)0)->net), NULL},
    {NULL, "data", FIELD_TEXT, AT(data), 0, sizeof(((wtl_train_options *)0)->data), NULL},
    {NULL, "from", FIELD_TEXT, AT(from), 0, sizeof(((wtl_train_options *)0)->from), NULL},
    {NULL, "epochs", FIELD_INT, AT(epochs), 1, 1e6, NULL},
    {NULL, "batch", FIELD_INT, AT(batch), 1, 65536, NULL},
    {"optimizer", "kind", FIELD_WORD, AT(optimizer.kind), 0, 0, optimizer_words},
    {"optimizer", "momentum", FIELD_REAL, AT(optimizer.momentum), 0, BELOW_ONE, NULL},
    {"optimizer", "beta2", FIELD_REAL, AT(optimizer.beta2), 0, BELOW_ONE, NULL},
    {"optimizer", "epsilon", FIELD_REAL, AT(optimizer.epsilon), 0, 1, NULL},
    {"optimizer", "weight_decay", FIELD_REAL, AT(optimizer.weight_decay), 0, 1, NULL},
    {"optimizer", "decay_all", FIELD_BOOL, AT(optimizer.decay_all), 0, 0, NULL},
    {"optimizer", "clip_norm", FIELD_REAL, AT(optimizer.clip_norm), 0, 1e9, NULL},
    {"optimizer", "ema", FIELD_REAL, AT(optimizer.ema), 0, BELOW_ONE, NULL},
    {"schedule", "kind", FIELD_WORD, AT(schedule.kind), 0, 0, schedule_words},
    {"schedule", "peak", FIELD_REAL, AT(schedule.peak), 0, 1e6, NULL},
    {"schedule", "warmup_epochs", FIELD_REAL, AT(schedule.warmup_epochs), 0, 1e6, NULL},
    {"schedule", "step_epochs", FIELD_REAL, AT(schedule.step_epochs), 0, 1e6, NULL},
    {"schedule", "gamma", FIELD_REAL, AT(schedule.gamma), 0, 1, NULL},
    {"schedule", "final_share", FIELD_REAL, AT(schedule.final_share), 0, 1, NULL},
    {NULL, "smoothing", FIELD_FLOAT, AT(smoothing), 0, BELOW_ONE, NULL},
    {NULL, "augment", FIELD_TEXT, AT(augment), 0, sizeof(((wtl_train_options *)0)->augment),
     NULL},
    {NULL, "cutout", FIELD_INT, AT(cutout), 0, 65536, NULL},
    {NULL, "val_share", FIELD_REAL, AT(val_share), 0, 0.9, NULL},
    {NULL, "whole_train", FIELD_BOOL, AT(whole_train), 0, 0, NULL},
    {NULL, "seed", FIELD_SEED, AT(seed), 0, 0, NULL},
    {NULL, "threads", FIELD_INT, AT(threads), 0, 1024, NULL},
    {NULL, "workers", FIELD_INT, AT(workers), 0, 256, NULL},
    {NULL, "engine", FIELD_WORD, AT(engine), 0, 0, engine_words},
    {NULL, "save_minutes", FIELD_REAL, AT(save_minutes), 0, 1e6, NULL},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

/* ---- to JSON ---- */

/* The double with the fewest digits that gives this float back, so that 0.1f is written as
 * 0.1. */
static double shortest(float value)
{
    char text[32];
    double parsed = (double)value;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)value);
        parsed = strtod(text, NULL);
        if ((float)parsed == value) {
            break;
        }
    }
    return parsed;
}

static json_t *seed_to_json(uint64_t seed)
{
    char digits[24];
    if (seed <= INT64_MAX) {
        return json_integer((json_int_t)seed);
    }
    snprintf(digits, sizeof digits, "%llu", (unsigned long long)seed);
    return json_string(digits);
}

static json_t *field_to_json(const field *f, const wtl_train_options *options)
{
    const void *at = (const char *)options + f->offset;
    switch (f->type) {
    case FIELD_INT:
        return json_integer(*(const int *)at);
    case FIELD_REAL:
        return wtl_json_real(*(const double *)at);
    case FIELD_FLOAT:
        return wtl_json_real(shortest(*(const float *)at));
    case FIELD_BOOL:
        return json_boolean(*(const bool *)at);
    case FIELD_TEXT:
        return json_string(at);
    case FIELD_WORD:
        return json_string(f->words[*(const int *)at]);
    case FIELD_SEED:
        return seed_to_json(*(const uint64_t *)at);
    }
    return NULL;
}

/* The object a field goes into, made when it is not there yet; NULL without memory. */
static json_t *group_object(json_t *root, const char *group)
{
    if (!group) {
        return root;
    }
    json_t *object = json_object_get(root, group);
    if (!object && json_object_set_new(root, group, json_object()) == 0) {
        object = json_object_get(root, group);
    }
    return object;
}

json_t *wtl_train_options_to_json(const wtl_train_options *options)
{
    json_t *root = json_object();
    for (int i = 0; root && i < FIELD_COUNT; i++) {
        json_t *object = group_object(root, fields[i].group);
        if (!object || json_object_set_new(object, fields[i].key,
                                           field_to_json(&fields[i], options)) != 0) {
            json_decref(root);
            root = NULL;
        }
    }
    return root;
}

/* ---- from JSON ---- */

typedef struct reading {
    const char *file;
    wtl_train_options *options;
    wtl_error *err;
} reading;

static bool same_group(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static wtl_status wrong(const reading *r, const field *f, const char *wanted)
{
    return wtl_fail(r->err, WTL_E_FORMAT, "%s: %s%s%s: must be %s", r->file,
                    f->group ? f->group : "", f->group ? "." : "", f->key, wanted);
}

static wtl_status number_from_json(const reading *r, const field *f, const json_t *value,
                                   void *at)
{
    char wanted[96];
    bool whole = f->type == FIELD_INT;
    double number = wtl_json_number(value);
    if (!(number >= f->low && number <= f->high) || (whole && !json_is_integer(value))) {
        snprintf(wanted, sizeof wanted, "a %snumber from %.10g to %.10g", whole ? "whole " : "",
                 f->low, f->high);
        return wrong(r, f, wanted);
    }
    if (f->type == FIELD_INT) {
        *(int *)at = (int)number;
    } else if (f->type == FIELD_REAL) {
        *(double *)at = number;
    } else {
        *(float *)at = (float)number;
    }
    return WTL_OK;
}

static wtl_status text_from_json(const reading *r, const field *f, const json_t *value,
                                 char *at)
{
    size_t size = (size_t)f->high;
    const char *text = json_string_value(value);
    if (!text || json_string_length(value) >= size) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "a string of fewer than %zu bytes", size);
        return wrong(r, f, wanted);
    }
    memset(at, 0, size);
    memcpy(at, text, json_string_length(value));
    return WTL_OK;
}

static wtl_status word_from_json(const reading *r, const field *f, const json_t *value, int *at)
{
    const char *text = json_string_value(value);
    for (int i = 0; text && f->words[i]; i++) {
        if (strcmp(f->words[i], text) == 0) {
            *at = i;
            return WTL_OK;
        }
    }
    char wanted[96] = "one of";
    for (int i = 0; f->words[i]; i++) {
        size_t used = strlen(wanted);
        snprintf(wanted + used, sizeof wanted - used, " %s", f->words[i]);
    }
    return wrong(r, f, wanted);
}

static wtl_status seed_from_json(const reading *r, const field *f, const json_t *value,
                                 uint64_t *at)
{
    if (json_is_integer(value) && json_integer_value(value) >= 0) {
        *at = (uint64_t)json_integer_value(value);
        return WTL_OK;
    }
    if (json_is_string(value) && wtl_parse_u64(json_string_value(value), 0, UINT64_MAX, at)) {
        return WTL_OK;
    }
    return wrong(r, f, "a whole number from 0 to 18446744073709551615");
}

static wtl_status field_from_json(const reading *r, const field *f, const json_t *value)
{
    void *at = (char *)r->options + f->offset;
    switch (f->type) {
    case FIELD_INT:
    case FIELD_REAL:
    case FIELD_FLOAT:
        return number_from_json(r, f, value, at);
    case FIELD_TEXT:
        return text_from_json(r, f, value, at);
    case FIELD_WORD:
        return word_from_json(r, f, value, at);
    case FIELD_SEED:
        return seed_from_json(r, f, value, at);
    case FIELD_BOOL:
        if (!json_is_boolean(value)) {
            return wrong(r, f, "true or false");
        }
        *(bool *)at = json_is_true(value);
        return WTL_OK;
    }
    return WTL_OK;
}

static wtl_status unknown_key(const reading *r, const char *group, const char *key)
{
    const char *words[FIELD_COUNT + 1];
    int count = 0;
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (same_group(fields[i].group, group)) {
            words[count++] = fields[i].key;
        }
    }
    words[count] = NULL;
    const char *near = wtl_suggest(key, words);
    return wtl_fail(r->err, WTL_E_FORMAT, "%s: unknown key %s%s%s%s%s%s", r->file,
                    group ? group : "", group ? "." : "", key, near ? "; did you mean " : "",
                    near ? near : "", near ? "?" : "");
}

static const field *find_field(const char *group, const char *key)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        if (same_group(fields[i].group, group) && strcmp(fields[i].key, key) == 0) {
            return &fields[i];
        }
    }
    return NULL;
}

static bool is_group(const char *key)
{
    bool found = false;
    for (int i = 0; i < FIELD_COUNT; i++) {
        found = found || (fields[i].group && strcmp(fields[i].group, key) == 0);
    }
    return found;
}

/* The whole, or the group of that name. */
static wtl_status object_from_json(const reading *r, const char *group, const json_t *object)
{
    if (!json_is_object(object)) {
        return wtl_fail(r->err, WTL_E_FORMAT, "%s: %s%smust be an object", r->file,
                        group ? group : "", group ? ": " : "");
    }
    wtl_status status = WTL_OK;
    /* jansson's iterators take no const object, but change nothing. */
    json_t *readable = json_incref((json_t *)(uintptr_t)object);
    const char *key;
    json_t *value;
    json_object_foreach(readable, key, value)
    {
        const field *f = find_field(group, key);
        if (f) {
            status = field_from_json(r, f, value);
        } else if (!group && is_group(key)) {
            status = object_from_json(r, key, value);
        } else {
            status = unknown_key(r, group, key);
        }
        if (status != WTL_OK) {
            break;
        }
    }
    json_decref(readable);
    return status;
}

wtl_status wtl_train_options_from_json(wtl_train_options *options, const json_t *json,
                                       const char *file, wtl_error *err)
{
    wtl_train_options copy = *options;
    const reading r = {file, &copy, err};
    wtl_status status = object_from_json(&r, NULL, json);
    if (status == WTL_OK) {
        *options = copy;
    }
    return status;
}
