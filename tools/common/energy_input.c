/* energy_input.c - checkpoints, networks, layer files and mapping files for wattle energy. */
#include "energy_input.h"
#include "model.h"
#include "progress.h"
#include "signals.h"

#include "wattle/batcher.h"
#include "wattle/file.h"
#include "wattle/from_net.h"
#include "wattle/memory.h"
#include "wattle/split.h"
#include "wattle/text.h"
#include "wattle/zoo.h"

#include <stdio.h>
#include <string.h>

static const size_t MOST_TEXT_BYTES = 1 << 24;

/* ---- what it is ---- */

typedef enum input_kind { INPUT_CHECKPOINT, INPUT_NET, INPUT_LAYERS } input_kind;

/* Layer files have commas in their first line that says something; network text begins with
 * "net NAME". */
static bool looks_like_layers(const char *text)
{
    while (*text) {
        size_t length = strcspn(text, "\n"), blanks = strspn(text, " \t\r");
        if (blanks < length && text[blanks] != '#') {
            return memchr(text, ',', length) != NULL && strncmp(text + blanks, "net ", 4) != 0;
        }
        text += length + (text[length] == '\n');
    }
    return false;
}

static input_kind kind_of(const char *what)
{
    char head[4096];
    FILE *file = fopen(what, "rb");
    size_t length = file ? fread(head, 1, sizeof head - 1, file) : 0;
    if (file) {
        fclose(file);
    }
    head[length] = '\0';
    const char *end = strrchr(what, '.');
    if ((end && strcmp(end, ".wtl") == 0) ||
        (length && wtl_checkpoint_sniff((const unsigned char *)head, length))) {
        return INPUT_CHECKPOINT;
    }
    return looks_like_layers(head) ? INPUT_LAYERS : INPUT_NET;
}

static wtl_status load_layers(wtl_workload *out, const char *path, wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    wtl_status status = wtl_file_read(path, MOST_TEXT_BYTES, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    status = wtl_workload_parse(out, (const char *)bytes, length, path, err);
    wtl_free(bytes);
    return status;
}

static wtl_status load_net(wtl_workload *out, const char *what,
                           const wtl_from_net_options *options, wtl_error *err)
{
    wtl_netdef *def;
    wtl_status status = wtl_netdef_load(&def, what, 0, err);
    if (status == WTL_OK) {
        status = wtl_workload_from_netdef(out, def, options, err);
        wtl_netdef_free(def);
    }
    return status;
}

/* ---- zeros of activations ---- */

typedef struct sample {
    wtl_net *net;
    wtl_zero_counter *counter;
    wtl_batcher *batcher;
    wtl_progress progress;
    long total;
} sample;

static void on_unreadable(void *context, const char *message)
{
    sample *s = context;
    wtl_progress_log(&s->progress, "left out: %s", message);
}

static wtl_status run_sample(sample *s, wtl_error *err)
{
    size_t image = wtl_shape_count(wtl_net_def(s->net)->input);
    for (long done = 0; done < s->total;) {
        wtl_batch batch;
        wtl_status status = wtl_batcher_next(s->batcher, &batch, err);
        if (status != WTL_OK || batch.count == 0) {
            return status;
        }
        int n = batch.count < s->total - done ? batch.count : (int)(s->total - done);
        memcpy(wtl_net_input(s->net), batch.images, (size_t)n * image * sizeof(float));
        wtl_net_forward(s->net, n, WTL_RUN_INFERENCE, 0);
        wtl_zero_counter_add(s->counter, n);
        done += n;
        wtl_progress_show(&s->progress, "counting zeros", done, s->total, "", -1);
        if (wtl_signals_stop(NULL)) {
            return wtl_fail(err, WTL_E_STOPPED, "stopped after %ld of %ld images", done,
                            s->total);
        }
    }
    return WTL_OK;
}

static wtl_status measure(wtl_workload *work, wtl_net *net, const wtl_dataset *dataset,
                          const wtl_energy_input *input, const wtl_common *common,
                          wtl_error *err)
{
    long all = (long)wtl_dataset_count(dataset);
    sample s = {.net = net, .total = input->images < all ? input->images : all};
    const wtl_batch_options batches = {.batch = wtl_net_options_of(net)->batch,
                                       .preprocess = wtl_net_def(net)->preprocess,
                                       .seed = common->seed,
                                       .shuffle = s.total < all, /* a fair sample */
                                       .workers = input->workers};
    wtl_progress_begin(&s.progress, common);
    wtl_status status = wtl_zero_counter_create(&s.counter, net, err);
    if (status == WTL_OK) {
        status = wtl_batcher_create(&s.batcher, dataset, &batches, err);
    }
    if (status == WTL_OK) {
        wtl_batcher_on_unreadable(s.batcher, on_unreadable, &s);
        status = wtl_batcher_start(s.batcher, 0, 0, err);
    }
    if (status == WTL_OK) {
        status = run_sample(&s, err);
    }
    wtl_progress_end(&s.progress);
    if (status == WTL_OK) {
        status = wtl_zero_counter_apply(s.counter, work, err);
    }
    wtl_batcher_free(s.batcher);
    wtl_zero_counter_free(s.counter);
    return status;
}

static wtl_status load_checkpoint(wtl_workload *out, const wtl_energy_input *input,
                                  const wtl_from_net_options *options, const wtl_common *common,
                                  wtl_error *err)
{
    enum { MOST_BATCH = 32 };
    wtl_model model = {0};
    wtl_dataset *dataset = NULL;
    wtl_net_options plan = {.batch = input->data && input->images > 1
                                         ? input->images < MOST_BATCH ? (int)input->images
                                                                      : MOST_BATCH
                                         : 1,
                            .threads = common->threads,
                            .engine = (wtl_engine)input->engine,
                            .keep_outputs = input->data != NULL};
    wtl_signals_catch();
    wtl_status status = wtl_model_load(&model, input->what, plan, err);
    if (status == WTL_OK) {
        status = wtl_workload_from_net(out, model.net, options, err);
    }
    if (status == WTL_OK && input->data) {
        wtl_dataset_options split = wtl_split_of(model.checkpoint);
        if (input->seed_given) {
            split.split_seed = common->seed;
        }
        status = wtl_dataset_open(&dataset, input->data, &split, err);
        if (status == WTL_OK) {
            status = measure(out, model.net, dataset, input, common, err);
        }
    }
    wtl_dataset_free(dataset);
    wtl_model_clear(&model);
    return status;
}

wtl_status wtl_energy_input_load(wtl_workload *out, const wtl_energy_input *input,
                                 const wtl_common *common, wtl_error *err)
{
    *out = (wtl_workload){0};
    wtl_from_net_options options = {.batch = input->batch, .bits = input->bits};
    input_kind kind = kind_of(input->what);
    wtl_status status;
    if (input->data && kind != INPUT_CHECKPOINT) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s has no weights: --data measures activations of a checkpoint",
                        input->what);
    }
    if (kind == INPUT_LAYERS && input->batch_given) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s says its own batch and bits: leave out --batch and --bits",
                        input->what);
    }
    if (kind == INPUT_LAYERS) {
        status = load_layers(out, input->what, err);
    } else if (kind == INPUT_NET) {
        status = load_net(out, input->what, &options, err);
    } else {
        status = load_checkpoint(out, input, &options, common, err);
    }
    if (status != WTL_OK) {
        wtl_workload_clear(out);
    }
    return status;
}

/* ---- mapping files ---- */

typedef struct mapping_reader {
    const char *path;
    const wtl_workload *work;
    wtl_dataflow dataflow;
    wtl_mapping *mappings; /* [work->layer_count] */
    int *lines;            /* where each was said; 0: not yet */
} mapping_reader;

static int find_layer(const wtl_workload *work, int index)
{
    for (int i = 0; i < work->layer_count; i++) {
        if (work->layers[i].index == index) {
            return i;
        }
    }
    return -1;
}

/* `text` is one line, without its end or comment. */
static wtl_status read_mapping(const mapping_reader *r, char *text, int line, wtl_error *err)
{
    char *colon = strchr(text, ':');
    int index;
    if (!colon) {
        return wtl_fail(err, WTL_E_FORMAT, "%s:%d: expected 'INDEX: mapping'", r->path, line);
    }
    *colon = '\0';
    if (!wtl_parse_int(text, 0, INT32_MAX, &index)) {
        return wtl_fail(err, WTL_E_FORMAT, "%s:%d: '%.60s' is no layer index", r->path, line,
                        text);
    }
    int layer = find_layer(r->work, index);
    if (layer < 0) {
        return wtl_fail(err, WTL_E_FORMAT, "%s:%d: there is no layer %d", r->path, line, index);
    }
    if (r->lines[layer]) {
        return wtl_fail(err, WTL_E_FORMAT, "%s:%d: layer %d was given in line %d", r->path,
                        line, index, r->lines[layer]);
    }
    r->lines[layer] = line;
    const char *mapping = colon + 1 + strspn(colon + 1, " \t");
    if (wtl_mapping_parse(&r->mappings[layer], r->dataflow, mapping, err) != WTL_OK) {
        char place[512];
        snprintf(place, sizeof place, "%.400s:%d", r->path, line);
        return wtl_fail_in(err, WTL_E_FORMAT, place);
    }
    return WTL_OK;
}

static wtl_status read_lines(const mapping_reader *r, char *text, wtl_error *err)
{
    wtl_status status = WTL_OK;
    int line = 0;
    while (*text && status == WTL_OK) {
        size_t length = strcspn(text, "\n");
        char *next = text + length + (text[length] == '\n');
        text[length] = '\0';
        text[strcspn(text, "#\r")] = '\0';
        char *begin = text + strspn(text, " \t");
        for (size_t end = strlen(begin); end > 0 && strchr(" \t", begin[end - 1]); end--) {
            begin[end - 1] = '\0';
        }
        line++;
        if (*begin) {
            status = read_mapping(r, begin, line, err);
        }
        text = next;
    }
    for (int i = 0; i < r->work->layer_count && status == WTL_OK; i++) {
        if (!r->lines[i]) {
            status = wtl_fail(err, WTL_E_FORMAT, "%s: no mapping for layer %d", r->path,
                              r->work->layers[i].index);
        }
    }
    return status;
}

wtl_status wtl_energy_mappings_read(wtl_mapping **out, const char *path,
                                    const wtl_workload *work, wtl_dataflow dataflow,
                                    wtl_error *err)
{
    unsigned char *bytes;
    size_t length, count = (size_t)work->layer_count;
    *out = NULL;
    wtl_status status = wtl_file_read(path, MOST_TEXT_BYTES, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    mapping_reader r = {.path = path, .work = work, .dataflow = dataflow};
    r.mappings = wtl_alloc(count, sizeof *r.mappings);
    r.lines = wtl_alloc(count, sizeof *r.lines);
    if (!r.mappings || !r.lines) {
        status = wtl_fail(err, WTL_E_NOMEM, "out of memory for %zu mappings", count);
    } else if (strlen((const char *)bytes) != length) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s: has a zero byte", path);
    } else {
        status = read_lines(&r, (char *)bytes, err);
    }
    wtl_free(bytes);
    wtl_free(r.lines);
    if (status != WTL_OK) {
        wtl_free(r.mappings);
        return status;
    }
    *out = r.mappings;
    return WTL_OK;
}

wtl_status wtl_energy_mappings_write(const char *path, const wtl_energy_report *report,
                                     wtl_error *err)
{
    wtl_writer *writer;
    wtl_status status = wtl_writer_open(&writer, path, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_writer_printf(writer, "# %s on %s\n", report->workload, report->hardware);
    for (int i = 0; i < report->layer_count; i++) {
        char text[1024];
        wtl_mapping_text(&report->layers[i].mapping, text, sizeof text);
        wtl_writer_printf(writer, "%d: %s\n", report->layers[i].index, text);
    }
    return wtl_writer_commit(writer, err);
}
