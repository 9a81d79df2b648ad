/* train_state.c - a run's position and history, to and from a checkpoint's meta. */
#include "train_state.h"

#include "wattle/json.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <math.h>

wtl_status wtl_train_state_reserve(wtl_train_state *state, int epochs, wtl_error *err)
{
    if (epochs <= state->row_capacity) {
        return WTL_OK;
    }
    if (wtl_grow((void **)&state->rows, (size_t)state->row_capacity, (size_t)epochs,
                 sizeof *state->rows) != WTL_OK) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d epochs of history", epochs);
    }
    state->row_capacity = epochs;
    return WTL_OK;
}

void wtl_train_state_clear(wtl_train_state *state)
{
    wtl_free(state->rows);
    *state = (wtl_train_state){0};
}

int wtl_train_state_best(const wtl_train_state *state)
{
    int best = -1;
    for (int i = 0; i < state->epoch; i++) {
        double top1 = state->rows[i].val_top1;
        if (!isnan(top1) && (best < 0 || top1 > state->rows[best].val_top1)) {
            best = i;
        }
    }
    return best;
}

/* ---- saving ---- */

/* A row in a checkpoint is an array of these, in this order. */
enum { ROW_VALUES = 6 };

static void row_values(wtl_train_row *row, double *values[ROW_VALUES])
{
    double *const list[ROW_VALUES] = {&row->rate,     &row->train_loss, &row->train_top1,
                                      &row->val_loss, &row->val_top1,   &row->val_top5};
    for (int i = 0; i < ROW_VALUES; i++) {
        values[i] = list[i];
    }
}

static json_t *row_to_json(wtl_train_row row)
{
    double *values[ROW_VALUES];
    row_values(&row, values);
    json_t *array = json_array();
    for (int i = 0; array && i < ROW_VALUES; i++) {
        if (json_array_append_new(array, wtl_json_real(*values[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *history_to_json(const wtl_train_state *state)
{
    json_t *history = json_array();
    for (int i = 0; history && i < state->epoch; i++) {
        if (json_array_append_new(history, row_to_json(state->rows[i])) != 0) {
            json_decref(history);
            history = NULL;
        }
    }
    return history;
}

wtl_status wtl_train_state_save(const wtl_train_state *state, wtl_checkpoint *checkpoint,
                                wtl_error *err)
{
    const wtl_scores *sums = &state->sums;
    json_t *meta =
        json_pack("{s:i, s:I, s:I, s:f, s:{s:f, s:I, s:I, s:I}, s:I, s:I, s:o}", "epoch",
                  state->epoch, "batch", (json_int_t)state->batch, "step",
                  (json_int_t)state->step, "rate", state->rate, "sums", "loss", sums->loss,
                  "top1", (json_int_t)sums->top1, "top5", (json_int_t)sums->top5, "images",
                  (json_int_t)sums->images, "train_hash", (json_int_t)state->train_hash,
                  "val_hash", (json_int_t)state->val_hash, "history", history_to_json(state));
    if (!meta) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for the training state");
    }
    return wtl_checkpoint_set_meta(checkpoint, "training", meta, err);
}

/* ---- loading ---- */

/* A whole number from 0 to `most`, or false. */
static bool get_count(const json_t *object, const char *key, int64_t most, int64_t *value)
{
    const json_t *number = json_object_get(object, key);
    *value = json_is_integer(number) ? json_integer_value(number) : -1;
    return *value >= 0 && *value <= most;
}

static bool load_position(wtl_train_state *state, const json_t *meta, size_t batches)
{
    int64_t epoch, batch, step, train_hash, val_hash;
    if (!get_count(meta, "epoch", 1000000, &epoch) ||
        !get_count(meta, "batch", (int64_t)batches, &batch) ||
        !get_count(meta, "step", INT64_MAX, &step) ||
        !get_count(meta, "train_hash", UINT32_MAX, &train_hash) ||
        !get_count(meta, "val_hash", UINT32_MAX, &val_hash)) {
        return false;
    }
    state->epoch = (int)epoch;
    state->batch = (size_t)batch;
    state->step = (uint64_t)step;
    state->train_hash = (uint32_t)train_hash;
    state->val_hash = (uint32_t)val_hash;
    state->rate = wtl_json_number(json_object_get(meta, "rate"));
    return isfinite(state->rate);
}

static bool load_sums(wtl_scores *sums, const json_t *object)
{
    int64_t top1, top5, images;
    if (!get_count(object, "images", INT64_MAX / 2, &images) ||
        !get_count(object, "top1", images, &top1) ||
        !get_count(object, "top5", images, &top5)) {
        return false;
    }
    sums->images = (long)images;
    sums->top1 = (long)top1;
    sums->top5 = (long)top5;
    sums->loss = wtl_json_number(json_object_get(object, "loss"));
    return isfinite(sums->loss);
}

static bool load_row(wtl_train_row *row, const json_t *array)
{
    double *values[ROW_VALUES];
    row_values(row, values);
    if (json_array_size(array) != ROW_VALUES) {
        return false;
    }
    for (size_t i = 0; i < ROW_VALUES; i++) {
        *values[i] = wtl_json_number(json_array_get(array, i));
    }
    row->seconds = NAN;
    return isfinite(row->rate) && isfinite(row->train_loss) && isfinite(row->train_top1);
}

wtl_status wtl_train_state_load(wtl_train_state *state, const wtl_checkpoint *checkpoint,
                                size_t batches, const char *file, wtl_error *err)
{
    *state = (wtl_train_state){0};
    const json_t *meta = wtl_checkpoint_meta(checkpoint, "training");
    if (!meta) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: is not the checkpoint of a training run", file);
    }
    const json_t *history = json_object_get(meta, "history");
    if (!load_position(state, meta, batches) ||
        !load_sums(&state->sums, json_object_get(meta, "sums")) ||
        json_array_size(history) != (size_t)state->epoch) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: its training state does not fit this run",
                        file);
    }
    wtl_status status = wtl_train_state_reserve(state, state->epoch, err);
    for (int i = 0; i < state->epoch && status == WTL_OK; i++) {
        if (!load_row(&state->rows[i], json_array_get(history, (size_t)i))) {
            status = wtl_fail(err, WTL_E_FORMAT, "%s: row %d of its history is malformed", file,
                              i + 1);
        }
    }
    return status;
}
