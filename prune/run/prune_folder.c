/* prune_folder.c - config, environment, plan, metrics of a pruning run. */
#include "prune_folder.h"

#include "wattle/blas.h"
#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/memory.h"
#include "wattle/threads.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_CONFIG_BYTES = 1 << 24 };
static const size_t MOST_PLAN_BYTES = (size_t)1 << 30;

static const char *const names[WTL_FILE_COUNT] = {
    [WTL_FILE_CONFIG] = "config.json",
    [WTL_FILE_ENV] = "env.json",
    [WTL_FILE_PLAN] = "plan.jsonl",
    [WTL_FILE_METRICS] = "metrics.csv",
    [WTL_FILE_CERTIFICATE] = "certificate.json",
    [WTL_FILE_ENERGY] = "energy.csv",
    [WTL_FILE_MASKS] = "masks.npz",
    [WTL_FILE_DENSE] = "ckpt/dense.wtl",
    [WTL_FILE_LAST] = "ckpt/last.wtl",
    [WTL_FILE_HELD] = "ckpt/held.wtl",
    [WTL_FILE_PRUNED] = "ckpt/pruned.wtl",
};

struct wtl_prune_folder {
    char *root;
    char *paths[WTL_FILE_COUNT];
    FILE *plan;
};

static wtl_status no_memory(wtl_error *err)
{
    return wtl_fail(err, WTL_E_NOMEM, "out of memory for the files of the run");
}

wtl_status wtl_prune_folder_create(wtl_prune_folder **out, const char *path, wtl_error *err)
{
    *out = NULL;
    wtl_prune_folder *folder = wtl_alloc(1, sizeof *folder);
    if (!folder) {
        return no_memory(err);
    }
    folder->root = wtl_path_join(path, "");
    bool whole = folder->root != NULL;
    for (int i = 0; i < WTL_FILE_COUNT && whole; i++) {
        folder->paths[i] = wtl_path_join(path, names[i]);
        whole = folder->paths[i] != NULL;
    }
    if (!whole) {
        wtl_prune_folder_free(folder);
        return no_memory(err);
    }
    *out = folder;
    return WTL_OK;
}

void wtl_prune_folder_free(wtl_prune_folder *folder)
{
    if (!folder) {
        return;
    }
    if (folder->plan) {
        fclose(folder->plan);
    }
    for (int i = 0; i < WTL_FILE_COUNT; i++) {
        wtl_free(folder->paths[i]);
    }
    wtl_free(folder->root);
    wtl_free(folder);
}

const char *wtl_prune_folder_path(const wtl_prune_folder *folder, wtl_prune_file file)
{
    return folder->paths[file];
}

bool wtl_prune_folder_has(const wtl_prune_folder *folder, wtl_prune_file file)
{
    return wtl_file_exists(folder->paths[file]);
}

static wtl_status forget(const wtl_prune_folder *folder, wtl_prune_file file, wtl_error *err)
{
    if (remove(folder->paths[file]) != 0 && errno != ENOENT) {
        return wtl_fail(err, WTL_E_WRITE, "%s: cannot be removed: %s", folder->paths[file],
                        strerror(errno));
    }
    return WTL_OK;
}

static wtl_status copy_dense(const wtl_prune_folder *folder, const char *checkpoint,
                             wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    wtl_status status = wtl_file_read_plain(checkpoint, SIZE_MAX / 2, &bytes, &length, err);
    if (status == WTL_OK) {
        status = wtl_file_write(folder->paths[WTL_FILE_DENSE], bytes, length, err);
        wtl_free(bytes);
    }
    return status;
}

wtl_status wtl_prune_folder_begin(wtl_prune_folder *folder, const char *checkpoint,
                                  wtl_error *err)
{
    char *checkpoints = wtl_path_join(folder->root, "ckpt");
    wtl_status status = checkpoints ? wtl_make_folder(checkpoints, err) : no_memory(err);
    wtl_free(checkpoints);
    if (status == WTL_OK && checkpoint) {
        status = forget(folder, WTL_FILE_CONFIG, err);
        status = status == WTL_OK ? copy_dense(folder, checkpoint, err) : status;
    }
    static const wtl_prune_file old[] = {
        WTL_FILE_LAST,        WTL_FILE_PRUNED,  WTL_FILE_HELD,   WTL_FILE_PLAN,
        WTL_FILE_CERTIFICATE, WTL_FILE_METRICS, WTL_FILE_ENERGY, WTL_FILE_MASKS};
    for (size_t i = 0; i < sizeof old / sizeof *old && status == WTL_OK; i++) {
        status = forget(folder, old[i], err);
    }
    return status;
}

/* ---- JSON ---- */

wtl_status wtl_prune_folder_write_config(const wtl_prune_folder *folder,
                                         const wtl_prune_options *options, wtl_error *err)
{
    return wtl_json_write(folder->paths[WTL_FILE_CONFIG], wtl_prune_options_to_json(options),
                          err);
}

wtl_status wtl_prune_folder_read_config(const wtl_prune_folder *folder,
                                        wtl_prune_options *options, wtl_error *err)
{
    const char *path = folder->paths[WTL_FILE_CONFIG];
    if (!wtl_file_exists(path)) {
        return wtl_fail(err, WTL_E_MISSING,
                        "%s: no such file, so there is no run to resume; start one without "
                        "resuming",
                        path);
    }
    json_t *json;
    wtl_status status = wtl_json_read(&json, path, MOST_CONFIG_BYTES, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_prune_defaults(options);
    status = wtl_prune_options_from_json(options, json, path, err);
    json_decref(json);
    return status;
}

wtl_status wtl_prune_folder_write_env(const wtl_prune_folder *folder, const wtl_session *s,
                                      wtl_error *err)
{
    char processor[256], blas[256] = "", train[16], val[16];
    wtl_processor_name(processor, sizeof processor);
    wtl_blas_describe(blas, sizeof blas);
    snprintf(train, sizeof train, "%08x", (unsigned)wtl_dataset_hash(s->train));
    snprintf(val, sizeof val, "%08x", (unsigned)wtl_dataset_hash(s->val));
    json_t *config = wtl_prune_options_to_json(&s->options);
    json_t *env =
        json_pack("{s:s, s:s, s:s, s:i, s:O, s:s, s:s}", "version", WTL_VERSION, "processor",
                  processor, "blas", blas, "threads", s->options.threads, "seed",
                  json_object_get(config, "seed"), "train_hash", train, "val_hash", val);
    json_decref(config);
    return wtl_json_write(folder->paths[WTL_FILE_ENV], env, err);
}

/* ---- metrics.csv ---- */

wtl_status wtl_prune_folder_write_metrics(const wtl_prune_folder *folder,
                                          const wtl_prune_state *state, wtl_error *err)
{
    wtl_writer *writer;
    wtl_status status = wtl_writer_open(&writer, folder->paths[WTL_FILE_METRICS], err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_writer_printf(writer,
                      "round,goal,energy,density,val_loss,val_top1,val_top5,drop,epochs,"
                      "held,seconds\n");
    for (int i = 0; i < state->round_count; i++) {
        const wtl_prune_row *row = &state->rows[i];
        wtl_writer_printf(writer, "%d,%.6f,%.6f,%.6f,%.6f,%.4f,%.4f,%.4f,%.4f,%d,", i + 1,
                          row->goal, row->energy, row->density, row->val_loss, row->val_top1,
                          row->val_top5, row->drop, row->epochs, row->held ? 1 : 0);
        if (!isnan(row->seconds)) {
            wtl_writer_printf(writer, "%.2f", row->seconds);
        }
        wtl_writer_put(writer, "\n", 1);
    }
    return wtl_writer_commit(writer, err);
}

/* ---- plan.jsonl ---- */

/* Takes a row's and the run's seconds out of one line. */
static void read_line(const char *line, size_t length, wtl_prune_state *state, double *seconds)
{
    json_t *object = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    const json_t *value = json_object_get(object, "seconds");
    const char *event = json_string_value(json_object_get(object, "event"));
    json_int_t round = json_integer_value(json_object_get(object, "round"));
    if (json_is_number(value)) {
        *seconds = json_number_value(value);
        if (event && strcmp(event, "round") == 0 && round >= 1 && round <= state->round_count) {
            state->rows[round - 1].seconds = *seconds;
        }
    }
    json_decref(object);
}

static wtl_status rewind_plan(wtl_prune_folder *folder, wtl_prune_state *state, double *seconds,
                              wtl_error *err)
{
    const char *path = folder->paths[WTL_FILE_PLAN];
    unsigned char *bytes;
    size_t length, kept = 0;
    wtl_status status = wtl_file_read(path, MOST_PLAN_BYTES, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    const char *text = (const char *)bytes;
    for (int line = 0; line < state->plan_lines; line++) {
        const char *end = memchr(text + kept, '\n', length - kept);
        if (!end) {
            wtl_free(bytes);
            return wtl_fail(err, WTL_E_FORMAT, "%s:%d: lines are missing; the run had %d", path,
                            line + 1, state->plan_lines);
        }
        size_t next = (size_t)(end - text) + 1;
        read_line(text + kept, next - kept, state, seconds);
        kept = next;
    }
    if (kept != length) {
        status = wtl_file_write(path, text, kept, err);
    }
    wtl_free(bytes);
    return status;
}

wtl_status wtl_prune_folder_open_plan(wtl_prune_folder *folder, wtl_prune_state *state,
                                      double *seconds, wtl_error *err)
{
    const char *path = folder->paths[WTL_FILE_PLAN];
    *seconds = 0.0;
    if (wtl_file_exists(path) || state->plan_lines > 0) {
        wtl_status status = rewind_plan(folder, state, seconds, err);
        if (status != WTL_OK) {
            return status;
        }
    }
    folder->plan = fopen(path, "ae");
    return folder->plan
               ? WTL_OK
               : wtl_fail(err, WTL_E_WRITE, "%s: cannot be written: %s", path, strerror(errno));
}

wtl_status wtl_prune_folder_plan(wtl_prune_folder *folder, wtl_prune_state *state,
                                 json_t *object, wtl_error *err)
{
    wtl_status status =
        wtl_json_append(folder->plan, folder->paths[WTL_FILE_PLAN], object, err);
    state->plan_lines += status == WTL_OK;
    return status;
}
