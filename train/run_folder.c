/* run_folder.c - config.json, env.json, metrics.csv, log.jsonl and the plots of a run. */
#include "run_folder.h"

#include "wattle/blas.h"
#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/memory.h"
#include "wattle/svg.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MOST_CONFIG_BYTES = 1 << 20,
    MOST_LOG_BYTES = 1 << 30,
};

typedef enum part {
    PART_LAST,
    PART_BEST,
    PART_CONFIG,
    PART_ENV,
    PART_METRICS,
    PART_LOG,
    PART_LOSS_PLOT,
    PART_ACCURACY_PLOT,
    PART_COUNT
} part;

static const char *const part_names[PART_COUNT] = {
    [PART_LAST] = "ckpt/last.wtl",       [PART_BEST] = "ckpt/best.wtl",
    [PART_CONFIG] = "config.json",       [PART_ENV] = "env.json",
    [PART_METRICS] = "metrics.csv",      [PART_LOG] = "log.jsonl",
    [PART_LOSS_PLOT] = "plots/loss.svg", [PART_ACCURACY_PLOT] = "plots/accuracy.svg",
};

struct wtl_run_folder {
    char *path;
    char *parts[PART_COUNT];
    FILE *log;
};

static wtl_status no_memory(const wtl_run_folder *folder, wtl_error *err)
{
    return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder->path);
}

wtl_status wtl_run_folder_create(wtl_run_folder **out, const char *path, wtl_error *err)
{
    *out = NULL;
    wtl_run_folder *folder = wtl_alloc(1, sizeof *folder);
    bool whole = folder && (folder->path = wtl_strdup(path));
    for (int i = 0; whole && i < PART_COUNT; i++) {
        folder->parts[i] = wtl_path_join(path, part_names[i]);
        whole = folder->parts[i] != NULL;
    }
    if (!whole) {
        wtl_run_folder_free(folder);
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", path);
    }
    *out = folder;
    return WTL_OK;
}

void wtl_run_folder_free(wtl_run_folder *folder)
{
    if (!folder) {
        return;
    }
    if (folder->log) {
        (void)fclose(folder->log); /* every line was flushed when it was written */
    }
    for (int i = 0; i < PART_COUNT; i++) {
        wtl_free(folder->parts[i]);
    }
    wtl_free(folder->path);
    wtl_free(folder);
}

const char *wtl_run_folder_last(const wtl_run_folder *folder)
{
    return folder->parts[PART_LAST];
}

const char *wtl_run_folder_best(const wtl_run_folder *folder)
{
    return folder->parts[PART_BEST];
}

bool wtl_run_folder_has_checkpoint(const wtl_run_folder *folder)
{
    return wtl_file_exists(folder->parts[PART_LAST]) ||
           wtl_file_exists(folder->parts[PART_BEST]);
}

wtl_status wtl_run_folder_prepare(wtl_run_folder *folder, wtl_error *err)
{
    static const char *const folders[] = {"ckpt", "plots"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char *path = wtl_path_join(folder->path, folders[i]);
        wtl_status status = path ? wtl_make_folder(path, err) : no_memory(folder, err);
        wtl_free(path);
        if (status != WTL_OK) {
            return status;
        }
    }
    return WTL_OK;
}

wtl_status wtl_run_folder_clear(wtl_run_folder *folder, wtl_error *err)
{
    /* Checkpoints first, so that a kill in between never leaves one beside the config of
     * another run. config.json stays until it is replaced: without it there is no run. */
    static const part old[] = {PART_LAST, PART_BEST,      PART_METRICS,
                               PART_LOG,  PART_LOSS_PLOT, PART_ACCURACY_PLOT};
    for (size_t i = 0; i < sizeof old / sizeof *old; i++) {
        const char *path = folder->parts[old[i]];
        if (remove(path) != 0 && errno != ENOENT) {
            return wtl_fail(err, WTL_E_WRITE, "%s: cannot be removed: %s", path,
                            strerror(errno));
        }
    }
    return WTL_OK;
}

/* ---- config.json and env.json ---- */

wtl_status wtl_run_folder_write_config(const wtl_run_folder *folder,
                                       const wtl_train_options *options, wtl_error *err)
{
    return wtl_json_write(folder->parts[PART_CONFIG], wtl_train_options_to_json(options), err);
}

wtl_status wtl_run_folder_read_config(const wtl_run_folder *folder, wtl_train_options *options,
                                      wtl_error *err)
{
    const char *path = folder->parts[PART_CONFIG];
    if (!wtl_file_exists(path)) {
        return wtl_fail(err, WTL_E_MISSING,
                        "%s: no config.json there, so no run to resume; start one without "
                        "resuming",
                        folder->path);
    }
    json_t *json;
    wtl_status status = wtl_json_read(&json, path, MOST_CONFIG_BYTES, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_train_defaults(options);
    status = wtl_train_options_from_json(options, json, path, err);
    json_decref(json);
    return status;
}

wtl_status wtl_run_folder_write_env(const wtl_run_folder *folder,
                                    const wtl_train_options *options, uint32_t data_hash,
                                    wtl_error *err)
{
    char processor[256], blas[256] = "", hash[16];
    wtl_processor_name(processor, sizeof processor);
    wtl_blas_describe(blas, sizeof blas);
    snprintf(hash, sizeof hash, "%08x", (unsigned)data_hash);
    /* The seed as config.json has it: a string where JSON's integers end. */
    json_t *config = wtl_train_options_to_json(options);
    json_t *env = json_pack("{s:s, s:s, s:s, s:i, s:O, s:s}", "version", WTL_VERSION,
                            "processor", processor, "blas", blas, "threads", options->threads,
                            "seed", json_object_get(config, "seed"), "data_hash", hash);
    json_decref(config);
    return wtl_json_write(folder->parts[PART_ENV], env, err);
}

/* ---- metrics.csv and the plots ---- */

/* A NaN is an empty field. */
static void put_value(wtl_writer *writer, int decimals, double value)
{
    if (isnan(value)) {
        wtl_writer_put(writer, ",", 1);
    } else {
        wtl_writer_printf(writer, ",%.*f", decimals, value);
    }
}

wtl_status wtl_run_folder_write_metrics(const wtl_run_folder *folder, const wtl_train_row *rows,
                                        int count, wtl_error *err)
{
    wtl_writer *writer;
    wtl_status status = wtl_writer_open(&writer, folder->parts[PART_METRICS], err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_writer_printf(writer,
                      "epoch,rate,train_loss,train_top1,val_loss,val_top1,val_top5,seconds\n");
    for (int i = 0; i < count; i++) {
        const wtl_train_row *row = &rows[i];
        wtl_writer_printf(writer, "%d", i + 1);
        put_value(writer, 8, row->rate);
        put_value(writer, 6, row->train_loss);
        put_value(writer, 4, row->train_top1);
        put_value(writer, 6, row->val_loss);
        put_value(writer, 4, row->val_top1);
        put_value(writer, 4, row->val_top5);
        put_value(writer, 2, row->seconds);
        wtl_writer_put(writer, "\n", 1);
    }
    return wtl_writer_commit(writer, err);
}

void wtl_run_folder_read_seconds(const wtl_run_folder *folder, wtl_train_row *rows, int count)
{
    unsigned char *bytes;
    size_t length;
    if (wtl_file_read(folder->parts[PART_METRICS], MOST_CONFIG_BYTES, &bytes, &length, NULL) !=
        WTL_OK) {
        return;
    }
    char *line = (char *)bytes;
    for (int i = -1; i < count && *line; i++) { /* line -1 is the header */
        char *end = line + strcspn(line, "\n");
        char *next = *end ? end + 1 : end;
        *end = '\0';
        const char *comma = strrchr(line, ',');
        if (i >= 0 && comma) {
            (void)!wtl_parse_double(comma + 1, 0.0, 1e9, &rows[i].seconds);
        }
        line = next;
    }
    wtl_free(bytes);
}

static wtl_status write_plot(const wtl_run_folder *folder, part p, const wtl_plot *plot,
                             wtl_error *err)
{
    wtl_text text = {0};
    wtl_svg_lines(&text, plot);
    size_t length = text.length;
    char *svg = wtl_text_take(&text);
    wtl_status status =
        svg ? wtl_file_write(folder->parts[p], svg, length, err) : no_memory(folder, err);
    wtl_free(svg);
    return status;
}

wtl_status wtl_run_folder_write_plots(const wtl_run_folder *folder, const wtl_train_row *rows,
                                      int count, wtl_error *err)
{
    enum { LINES = 6 }; /* epochs, two losses, three accuracies */
    double *values = wtl_alloc((size_t)count * LINES, sizeof *values);
    if (!values) {
        return no_memory(folder, err);
    }
    double *line[LINES];
    for (int l = 0; l < LINES; l++) {
        line[l] = values + (size_t)l * (size_t)count;
    }
    bool validated = false;
    for (int i = 0; i < count; i++) {
        const wtl_train_row *row = &rows[i];
        const double epoch[LINES] = {i + 1,           row->train_loss, row->val_loss,
                                     row->train_top1, row->val_top1,   row->val_top5};
        for (int l = 0; l < LINES; l++) {
            line[l][i] = epoch[l];
        }
        validated = validated || !isnan(row->val_top1);
    }
    const wtl_series loss[] = {{"training", line[0], line[1], count, false},
                               {"validation", line[0], line[2], count, false}};
    const wtl_series accuracy[] = {{"training top-1", line[0], line[3], count, false},
                                   {"validation top-1", line[0], line[4], count, false},
                                   {"validation top-5", line[0], line[5], count, true}};
    const wtl_plot loss_plot = {"Loss", "epoch",           "cross-entropy",
                                loss,   validated ? 2 : 1, false};
    const wtl_plot accuracy_plot = {"Accuracy", "epoch",           "percent",
                                    accuracy,   validated ? 3 : 1, false};
    wtl_status status = write_plot(folder, PART_LOSS_PLOT, &loss_plot, err);
    if (status == WTL_OK) {
        status = write_plot(folder, PART_ACCURACY_PLOT, &accuracy_plot, err);
    }
    wtl_free(values);
    return status;
}

/* ---- log.jsonl ---- */

/* Whether a line was written at or before the position of `state`; of a line that saved that
 * very position, *seconds is taken. */
static bool keep_line(const char *line, size_t length, const wtl_train_state *state,
                      double *seconds)
{
    json_t *event = json_loadb(line, length, JSON_REJECT_DUPLICATES, NULL);
    const json_t *step = json_object_get(event, "step");
    const json_t *epoch = json_object_get(event, "epoch");
    const char *name = json_string_value(json_object_get(event, "event"));
    bool keep = false;
    if (name && json_is_integer(step) && json_is_integer(epoch) &&
        json_integer_value(step) >= 0) {
        uint64_t at = (uint64_t)json_integer_value(step);
        bool ended_later =
            strcmp(name, "epoch") == 0 && json_integer_value(epoch) > state->epoch;
        keep = at < state->step || (at == state->step && !ended_later);
        if (at == state->step && strcmp(name, "saved") == 0) {
            double value = wtl_json_number(json_object_get(event, "seconds"));
            *seconds = isnan(value) ? 0.0 : value;
        }
    }
    json_decref(event);
    return keep;
}

static wtl_status rewind_log(wtl_run_folder *folder, const wtl_train_state *state,
                             double *seconds, wtl_error *err)
{
    const char *path = folder->parts[PART_LOG];
    unsigned char *bytes;
    size_t length;
    wtl_status status = wtl_file_read(path, MOST_LOG_BYTES, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    size_t kept = 0;
    char *text = (char *)bytes;
    for (size_t begin = 0; begin < length;) {
        char *end = memchr(text + begin, '\n', length - begin);
        if (!end) { /* torn: the process was killed while writing it */
            break;
        }
        size_t line = (size_t)(end - text) + 1 - begin;
        if (keep_line(text + begin, line, state, seconds)) {
            memmove(text + kept, text + begin, line);
            kept += line;
        }
        begin += line;
    }
    if (kept != length) {
        status = wtl_file_write(path, text, kept, err);
    }
    wtl_free(bytes);
    return status;
}

wtl_status wtl_run_folder_open_log(wtl_run_folder *folder, const wtl_train_state *state,
                                   double *seconds, wtl_error *err)
{
    const char *path = folder->parts[PART_LOG];
    *seconds = 0.0;
    if (wtl_file_exists(path)) {
        wtl_status status = rewind_log(folder, state, seconds, err);
        if (status != WTL_OK) {
            return status;
        }
    }
    folder->log = fopen(path, "ae");
    return folder->log
               ? WTL_OK
               : wtl_fail(err, WTL_E_WRITE, "%s: cannot be written: %s", path, strerror(errno));
}

wtl_status wtl_run_folder_log(wtl_run_folder *folder, json_t *event, wtl_error *err)
{
    return wtl_json_append(folder->log, folder->parts[PART_LOG], event, err);
}
