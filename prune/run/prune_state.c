/* prune_state.c - the position of a pruning run to and from a checkpoint's meta. */
#include "prune_state.h"

#include "wattle/fields.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

#define AT(member)        offsetof(wtl_prune_state, member)
#define INT(member, most) WTL_FIELD_INT, AT(member), 0, most, NULL
#define REAL(member, low) WTL_FIELD_REAL, AT(member), low, 1e300, NULL
#define BOOL(member)      WTL_FIELD_BOOL, AT(member), 0, 0, NULL
#define COUNT(member)     WTL_FIELD_SEED, AT(member), 0, 0, NULL
enum { MOST_ROUNDS = 1000000 };
static const wtl_field fields[] = {
    {NULL, "kind", INT(kind, WTL_ROUND_POLISH)},
    {NULL, "stage", INT(stage, WTL_STAGE_FINISHED)},
    {NULL, "goal", REAL(goal, 0)},
    {NULL, "drift", REAL(drift, 0)},
    {NULL, "pruned_to", REAL(pruned_to, 0)},
    {NULL, "target", REAL(target, 0)},
    {NULL, "limit", REAL(limit, -1)},
    {NULL, "step", REAL(step, 0)},
    {NULL, "campaign_from", REAL(campaign_from, 0)},
    {NULL, "campaign_round", INT(campaign_round, MOST_ROUNDS)},
    {NULL, "campaign_rounds", INT(campaign_rounds, MOST_ROUNDS)},
    {NULL, "corrections", INT(corrections, MOST_ROUNDS)},
    {NULL, "approached", BOOL(approached)},
    {NULL, "refinements", INT(refinements, MOST_ROUNDS)},
    {NULL, "present", INT(present, MOST_ROUNDS)},
    {NULL, "held", INT(held, MOST_ROUNDS)},
    {NULL, "polished", BOOL(polished)},
    {NULL, "held_polished", BOOL(held_polished)},
    {NULL, "met", BOOL(met)},
    {"dense", "energy", REAL(dense_energy, 0)},
    {"dense", "held_out", REAL(dense_held_out, 0)},
    {"dense", "floor", REAL(floor, 0)},
    {"dense", "loss", REAL(dense_loss, -1e300)},
    {"dense", "top1", REAL(dense_top1, 0)},
    {"dense", "top5", REAL(dense_top5, 0)},
    {NULL, "epochs", REAL(epochs, 0)},
    {NULL, "plan_lines", INT(plan_lines, 1e9)},
    {"tune", "position", COUNT(tune.position)},
    {"tune", "step", COUNT(tune.step)},
    {"tune", "steps", COUNT(tune.steps)},
    {"tune", "rate", REAL(tune.rate, 0)},
    {"tune", "loss", REAL(tune.loss, -1e300)},
    {NULL, "why", WTL_FIELD_TEXT, AT(why), 0, sizeof(((wtl_prune_state *)0)->why), NULL},
};
enum { FIELD_COUNT = sizeof fields / sizeof *fields };

/* The values of a row that a checkpoint keeps, in order; `held` comes last. */
enum { ROW_REALS = 8 };
static void row_reals(wtl_prune_row *row, double *values[ROW_REALS])
{
    double *const all[ROW_REALS] = {&row->goal,     &row->energy,   &row->density,
                                    &row->val_loss, &row->val_top1, &row->val_top5,
                                    &row->drop,     &row->epochs};
    memcpy(values, all, sizeof all);
}

wtl_status wtl_prune_state_add(wtl_prune_state *state, const wtl_prune_row *row, wtl_error *err)
{
    if (state->round_count == state->row_capacity) {
        int capacity = state->row_capacity ? 2 * state->row_capacity : 16;
        wtl_prune_row *rows = wtl_alloc((size_t)capacity, sizeof *rows);
        if (!rows) {
            return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d rounds", capacity);
        }
        if (state->rows) {
            memcpy(rows, state->rows, (size_t)state->round_count * sizeof *rows);
        }
        wtl_free(state->rows);
        state->rows = rows;
        state->row_capacity = capacity;
    }
    state->rows[state->round_count++] = *row;
    return WTL_OK;
}

void wtl_prune_state_clear(wtl_prune_state *state)
{
    wtl_free(state->rows);
    *state = (wtl_prune_state){0};
}

/* ---- saving ---- */

static json_t *row_to_json(wtl_prune_row row)
{
    double *values[ROW_REALS];
    row_reals(&row, values);
    json_t *array = json_array();
    for (int i = 0; array && i < ROW_REALS; i++) {
        if (json_array_append_new(array, json_real(*values[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    if (array && json_array_append_new(array, json_boolean(row.held)) != 0) {
        json_decref(array);
        array = NULL;
    }
    return array;
}

static json_t *rows_to_json(const wtl_prune_state *state)
{
    json_t *rows = json_array();
    for (int i = 0; rows && i < state->round_count; i++) {
        if (json_array_append_new(rows, row_to_json(state->rows[i])) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    }
    return rows;
}

wtl_status wtl_prune_state_save(const wtl_prune_state *state, wtl_checkpoint *checkpoint,
                                wtl_error *err)
{
    json_t *meta = wtl_fields_to_json(fields, FIELD_COUNT, state);
    json_t *tune = json_object_get(meta, "tune");
    bool whole =
        meta && json_object_set_new(meta, "rows", rows_to_json(state)) == 0 &&
        json_object_set_new(tune, "top1", json_integer(state->tune.top1)) == 0 &&
        json_object_set_new(tune, "images", json_integer(state->tune.images)) == 0 &&
        json_object_set_new(meta, "train_hash", json_integer(state->train_hash)) == 0 &&
        json_object_set_new(meta, "val_hash", json_integer(state->val_hash)) == 0;
    if (!whole) {
        json_decref(meta);
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for the state of the run");
    }
    return wtl_checkpoint_set_meta(checkpoint, "pruning", meta, err);
}

/* ---- loading ---- */

/* object[key], which is removed, as a whole number from 0 to `most`; false if it is none. */
static bool take_count(json_t *object, const char *key, int64_t most, int64_t *value)
{
    const json_t *number = json_object_get(object, key);
    *value = json_is_integer(number) ? json_integer_value(number) : -1;
    (void)json_object_del(object, key);
    return *value >= 0 && *value <= most;
}

static bool take_counts(wtl_prune_state *state, json_t *meta)
{
    int64_t top1, images, train_hash, val_hash;
    json_t *tune = json_object_get(meta, "tune");
    if (!take_count(tune, "images", INT64_MAX / 2, &images) ||
        !take_count(tune, "top1", images, &top1) ||
        !take_count(meta, "train_hash", UINT32_MAX, &train_hash) ||
        !take_count(meta, "val_hash", UINT32_MAX, &val_hash)) {
        return false;
    }
    state->tune.images = (long)images;
    state->tune.top1 = (long)top1;
    state->train_hash = (uint32_t)train_hash;
    state->val_hash = (uint32_t)val_hash;
    return true;
}

static bool load_row(wtl_prune_row *row, const json_t *array)
{
    double *values[ROW_REALS];
    *row = (wtl_prune_row){.seconds = NAN};
    row_reals(row, values);
    bool good = json_array_size(array) == ROW_REALS + 1;
    for (size_t i = 0; i < ROW_REALS && good; i++) {
        const json_t *value = json_array_get(array, i);
        good = json_is_number(value) != 0;
        *values[i] = json_number_value(value);
    }
    row->held = json_is_true(json_array_get(array, ROW_REALS));
    return good && json_is_boolean(json_array_get(array, ROW_REALS));
}

static wtl_status load_rows(wtl_prune_state *state, const json_t *rows, const char *file,
                            wtl_error *err)
{
    wtl_status status = json_is_array(rows)
                            ? WTL_OK
                            : wtl_fail(err, WTL_E_FORMAT, "%s: its rounds are missing", file);
    for (size_t i = 0; i < json_array_size(rows) && status == WTL_OK; i++) {
        wtl_prune_row row;
        status = load_row(&row, json_array_get(rows, i))
                     ? wtl_prune_state_add(state, &row, err)
                     : wtl_fail(err, WTL_E_FORMAT, "%s: row %zu of its rounds is malformed",
                                file, i + 1);
    }
    return status;
}

/* The table leaves alone what is not there: here everything must be. */
static wtl_status check_complete(const json_t *meta, const char *file, wtl_error *err)
{
    for (int i = 0; i < FIELD_COUNT; i++) {
        const wtl_field *f = &fields[i];
        const json_t *object = f->group ? json_object_get(meta, f->group) : meta;
        if (!json_object_get(object, f->key)) {
            return wtl_fail(err, WTL_E_FORMAT, "%s: its state lacks %s%s%s", file,
                            f->group ? f->group : "", f->group ? "." : "", f->key);
        }
    }
    return WTL_OK;
}

/* What the run counts and divides by. */
static wtl_status check_sense(const wtl_prune_state *s, const char *file, wtl_error *err)
{
    if (s->present > s->round_count || s->held > s->round_count) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: its network is of round %d, it has %d", file,
                        s->present > s->held ? s->present : s->held, s->round_count);
    }
    if (!(s->dense_energy > 0.0) || !(s->dense_held_out > 0.0) || s->campaign_rounds < 1 ||
        s->tune.step > s->tune.steps) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: its state is malformed", file);
    }
    return WTL_OK;
}

wtl_status wtl_prune_state_load(wtl_prune_state *state, const wtl_checkpoint *checkpoint,
                                const char *file, wtl_error *err)
{
    *state = (wtl_prune_state){0};
    json_t *stored = wtl_checkpoint_meta(checkpoint, "pruning");
    if (!json_is_object(stored)) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: is not the checkpoint of a pruning run", file);
    }
    json_t *meta = json_deep_copy(stored);
    if (!meta) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for the state of the run");
    }
    json_t *rows = json_incref(json_object_get(meta, "rows"));
    (void)json_object_del(meta, "rows");
    wtl_status status = take_counts(state, meta)
                            ? check_complete(meta, file, err)
                            : wtl_fail(err, WTL_E_FORMAT, "%s: its state is malformed", file);
    if (status == WTL_OK) {
        status = wtl_fields_from_json(fields, FIELD_COUNT, state, meta, file, err);
    }
    if (status == WTL_OK) {
        status = load_rows(state, rows, file, err);
    }
    if (status == WTL_OK) {
        status = check_sense(state, file, err);
    }
    json_decref(rows);
    json_decref(meta);
    return status;
}
