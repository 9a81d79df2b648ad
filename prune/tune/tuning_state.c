/* tuning_state.c - position and outcome of a fine-tuning run, to and from a checkpoint. */
#include "tuning_state.h"

#include "wattle/memory.h"

#include <jansson.h>
#include <math.h>

enum { MOST_ROWS = 1000000 };

static wtl_status reserve(wtl_tuning_state *state, int rows, wtl_error *err)
{
    if (rows <= state->row_capacity) {
        return WTL_OK;
    }
    if (wtl_grow((void **)&state->rows, (size_t)state->row_capacity, (size_t)rows,
                 sizeof *state->rows) != WTL_OK) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d epochs of history", rows);
    }
    state->row_capacity = rows;
    return WTL_OK;
}

wtl_status wtl_tuning_state_add(wtl_tuning_state *state, wtl_error *err)
{
    const wtl_finetune_state *tune = &state->tune;
    if (state->row_count == state->row_capacity) {
        wtl_status status = reserve(state, 2 * state->row_capacity + 16, err);
        if (status != WTL_OK) {
            return status;
        }
    }
    state->rows[state->row_count++] =
        (wtl_tuning_row){tune->step, tune->loss, tune->top1, tune->images};
    return WTL_OK;
}

void wtl_tuning_state_clear(wtl_tuning_state *state)
{
    wtl_free(state->rows);
    *state = (wtl_tuning_state){0};
}

/* ---- saving ---- */

static json_t *scores_to_json(const wtl_scores *scores)
{
    return json_pack("{s:f, s:I, s:I, s:I}", "loss", scores->loss, "top1",
                     (json_int_t)scores->top1, "top5", (json_int_t)scores->top5, "images",
                     (json_int_t)scores->images);
}

static json_t *rows_to_json(const wtl_tuning_state *state)
{
    json_t *rows = json_array();
    for (int i = 0; rows && i < state->row_count; i++) {
        const wtl_tuning_row *row = &state->rows[i];
        json_t *values = json_pack("[I, f, I, I]", (json_int_t)row->step, row->loss,
                                   (json_int_t)row->top1, (json_int_t)row->images);
        if (json_array_append_new(rows, values) != 0) {
            json_decref(rows);
            rows = NULL;
        }
    }
    return rows;
}

wtl_status wtl_tuning_state_save(const wtl_tuning_state *state, wtl_checkpoint *checkpoint,
                                 wtl_error *err)
{
    const wtl_finetune_state *tune = &state->tune;
    json_t *meta = json_pack(
        "{s:I, s:I, s:I, s:f, s:I, s:I, s:o, s:I, s:I, s:I, s:o}", "position",
        (json_int_t)tune->position, "step", (json_int_t)tune->step, "steps",
        (json_int_t)tune->steps, "loss", tune->loss, "top1", (json_int_t)tune->top1, "images",
        (json_int_t)tune->images, "before", scores_to_json(&state->before), "train_hash",
        (json_int_t)state->train_hash, "val_hash", (json_int_t)state->val_hash, "teacher_hash",
        (json_int_t)state->teacher_hash, "rows", rows_to_json(state));
    return wtl_checkpoint_set_meta(checkpoint, "tuning", meta, err);
}

wtl_status wtl_tuning_result_save(const wtl_finetune_result *result, wtl_checkpoint *checkpoint,
                                  wtl_error *err)
{
    json_t *meta = json_pack(
        "{s:o, s:o, s:I, s:I, s:I, s:I, s:f}", "before", scores_to_json(&result->before),
        "after", scores_to_json(&result->after), "weights", (json_int_t)result->weights, "kept",
        (json_int_t)result->kept, "nonzero", (json_int_t)result->nonzero, "steps",
        (json_int_t)result->steps, "epochs", result->epochs);
    return wtl_checkpoint_set_meta(checkpoint, "finetuned", meta, err);
}

/* ---- loading ---- */

/* A whole number from 0 to `most`, or false. */
static bool whole(const json_t *number, int64_t most, int64_t *value)
{
    *value = json_is_integer(number) ? json_integer_value(number) : -1;
    return *value >= 0 && *value <= most;
}

static bool member(const json_t *object, const char *key, int64_t most, int64_t *value)
{
    return whole(json_object_get(object, key), most, value);
}

static bool load_scores(wtl_scores *scores, const json_t *object)
{
    int64_t images, top1, top5;
    const json_t *loss = json_object_get(object, "loss");
    if (!member(object, "images", INT64_MAX / 2, &images) ||
        !member(object, "top1", images, &top1) || !member(object, "top5", images, &top5)) {
        return false;
    }
    *scores = (wtl_scores){json_number_value(loss), (long)top1, (long)top5, (long)images};
    return json_is_number(loss) != 0;
}

static bool load_tune(wtl_finetune_state *tune, const json_t *meta)
{
    int64_t position, step, steps, images, top1;
    const json_t *loss = json_object_get(meta, "loss");
    if (!member(meta, "position", INT64_MAX, &position) ||
        !member(meta, "steps", INT64_MAX, &steps) || !member(meta, "step", steps, &step) ||
        !member(meta, "images", INT64_MAX / 2, &images) ||
        !member(meta, "top1", images, &top1)) {
        return false;
    }
    *tune = (wtl_finetune_state){.position = (uint64_t)position,
                                 .step = (uint64_t)step,
                                 .steps = (uint64_t)steps,
                                 .loss = json_number_value(loss),
                                 .top1 = (long)top1,
                                 .images = (long)images};
    return json_is_number(loss) != 0;
}

static bool load_hashes(wtl_tuning_state *state, const json_t *meta)
{
    const struct {
        const char *key;
        uint32_t *hash;
    } hashes[] = {{"train_hash", &state->train_hash},
                  {"val_hash", &state->val_hash},
                  {"teacher_hash", &state->teacher_hash}};
    bool good = true;
    for (size_t i = 0; i < sizeof hashes / sizeof *hashes; i++) {
        int64_t value;
        good = member(meta, hashes[i].key, UINT32_MAX, &value) && good;
        *hashes[i].hash = (uint32_t)value;
    }
    return good;
}

/* Rows follow each other and none is beyond the state. */
static bool load_row(wtl_tuning_row *row, const json_t *array, const wtl_tuning_row *previous,
                     const wtl_finetune_state *tune)
{
    int64_t step, top1, images;
    const json_t *loss = json_array_get(array, 1);
    if (json_array_size(array) != 4 ||
        !whole(json_array_get(array, 0), (int64_t)tune->step, &step) || !json_is_number(loss) ||
        !whole(json_array_get(array, 3), tune->images, &images) ||
        !whole(json_array_get(array, 2), images, &top1)) {
        return false;
    }
    *row = (wtl_tuning_row){(uint64_t)step, json_number_value(loss), (long)top1, (long)images};
    return !previous || (row->step > previous->step && row->images > previous->images);
}

static wtl_status load_rows(wtl_tuning_state *state, const json_t *rows, const char *file,
                            wtl_error *err)
{
    size_t count = json_array_size(rows);
    if (!json_is_array(rows) || count > MOST_ROWS) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: its history is malformed", file);
    }
    wtl_status status = reserve(state, (int)count, err);
    for (int i = 0; i < (int)count && status == WTL_OK; i++) {
        wtl_tuning_row *row = &state->rows[i];
        if (!load_row(row, json_array_get(rows, (size_t)i), i > 0 ? row - 1 : NULL,
                      &state->tune)) {
            status = wtl_fail(err, WTL_E_FORMAT, "%s: row %d of its history is malformed", file,
                              i + 1);
        }
        state->row_count = i + 1;
    }
    return status;
}

wtl_status wtl_tuning_state_load(wtl_tuning_state *state, const wtl_checkpoint *checkpoint,
                                 const char *file, wtl_error *err)
{
    *state = (wtl_tuning_state){0};
    const json_t *meta = wtl_checkpoint_meta(checkpoint, "tuning");
    if (!load_tune(&state->tune, meta) || !load_hashes(state, meta) ||
        !load_scores(&state->before, json_object_get(meta, "before"))) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: is not the checkpoint of a fine-tuning run",
                        file);
    }
    return load_rows(state, json_object_get(meta, "rows"), file, err);
}

wtl_status wtl_tuning_result_load(wtl_finetune_result *result, const wtl_checkpoint *checkpoint,
                                  const char *file, wtl_error *err)
{
    int64_t weights, kept, nonzero, steps;
    const json_t *meta = wtl_checkpoint_meta(checkpoint, "finetuned");
    const json_t *epochs = json_object_get(meta, "epochs");
    *result = (wtl_finetune_result){.epochs = json_number_value(epochs)};
    if (!load_scores(&result->before, json_object_get(meta, "before")) ||
        !load_scores(&result->after, json_object_get(meta, "after")) ||
        !member(meta, "weights", INT64_MAX, &weights) ||
        !member(meta, "kept", weights, &kept) || !member(meta, "nonzero", kept, &nonzero) ||
        !member(meta, "steps", INT64_MAX, &steps) || !json_is_number(epochs)) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: is not the result of a fine-tuning run", file);
    }
    result->weights = (size_t)weights;
    result->kept = (size_t)kept;
    result->nonzero = (size_t)nonzero;
    result->steps = (uint64_t)steps;
    return WTL_OK;
}
