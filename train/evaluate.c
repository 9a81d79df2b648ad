/* evaluate.c - accuracy and loss over a data set; batch-norm recalibration. */
#include "wattle/evaluate.h"

#include "data_fit.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

wtl_status wtl_data_fits(const wtl_netdef *def, const wtl_dataset *dataset, bool same_channels,
                         bool same_size, wtl_error *err)
{
    int channels, height, width;
    wtl_dataset_shape(dataset, &channels, &height, &width);
    const wtl_shape in = def->input;
    bool known = channels > 0 && height > 0 && width > 0;
    bool size = def->preprocess.rule != WTL_RESIZE_NONE || (height == in.h && width == in.w) ||
                (!same_size && height >= in.h && width >= in.w);
    if (!known || (size && (channels == in.c || !same_channels))) {
        return WTL_OK;
    }
    return wtl_fail(err, WTL_E_SHAPE, "net %s takes pictures of %dx%dx%d, %s has %dx%dx%d",
                    def->name, in.c, in.h, in.w, wtl_dataset_name(dataset), channels, height,
                    width);
}

/* ---- evaluation ---- */

static int largest(int k, const float *z)
{
    int best = 0;
    for (int j = 1; j < k; j++) {
        best = z[j] > z[best] ? j : best;
    }
    return best;
}

static wtl_status score_batch(wtl_evaluation *out, wtl_net *net, const wtl_batch *batch, int n,
                              wtl_error *err)
{
    const wtl_head *head = wtl_net_main_head(net);
    memcpy(wtl_net_input(net), batch->images,
           (size_t)n * wtl_shape_count(wtl_net_def(net)->input) * sizeof(float));
    wtl_net_forward(net, n, WTL_RUN_INFERENCE, 0);
    double loss = wtl_cross_entropy(n, head->classes, head->logits, batch->labels, 0.0f, 1.0f,
                                    NULL, &out->scores);
    if (!isfinite(loss) || !wtl_net_output_finite(net, n)) {
        return wtl_fail(err, WTL_E_NAN, "net %s: its output is not finite",
                        wtl_net_def(net)->name);
    }
    for (int i = 0; out->confusion && i < n; i++) {
        int seen = largest(head->classes, head->logits + (size_t)i * (size_t)head->classes);
        out->confusion[(size_t)batch->labels[i] * (size_t)head->classes + (size_t)seen]++;
    }
    return WTL_OK;
}

static wtl_status evaluate_batches(wtl_evaluation *out, wtl_net *net, wtl_batcher *batcher,
                                   long total, const wtl_evaluate_options *options,
                                   wtl_error *err)
{
    long done = 0;
    while (done < total) {
        wtl_batch batch;
        wtl_status status = wtl_batcher_next(batcher, &batch, err);
        if (status != WTL_OK || batch.count == 0) {
            return status;
        }
        int n = batch.count < total - done ? batch.count : (int)(total - done);
        status = score_batch(out, net, &batch, n, err);
        if (status != WTL_OK) {
            return status;
        }
        done += n;
        if (options->progress && !options->progress(options->context, done, total)) {
            return wtl_fail(err, WTL_E_STOPPED, "evaluation stopped after %ld of %ld images",
                            done, total);
        }
    }
    return WTL_OK;
}

static wtl_status check_evaluation(const wtl_net *net, const wtl_dataset *dataset,
                                   wtl_error *err)
{
    const wtl_netdef *def = wtl_net_def(net);
    const wtl_head *head = wtl_net_main_head(net);
    if (!head) {
        return wtl_fail(err, WTL_E_SHAPE, "net %s has no softmax to be judged by", def->name);
    }
    if (wtl_dataset_classes(dataset) > head->classes) {
        return wtl_fail(err, WTL_E_SHAPE, "net %s tells %d classes apart, %s has %d", def->name,
                        head->classes, wtl_dataset_name(dataset), wtl_dataset_classes(dataset));
    }
    return wtl_data_fits(def, dataset, false, false, err);
}

wtl_status wtl_evaluate(wtl_evaluation *out, wtl_net *net, const wtl_dataset *dataset,
                        const wtl_evaluate_options *options, wtl_error *err)
{
    static const wtl_evaluate_options none = {0};
    options = options ? options : &none;
    *out = (wtl_evaluation){0};
    wtl_status status = check_evaluation(net, dataset, err);
    if (status != WTL_OK) {
        return status;
    }
    long total = (long)wtl_dataset_count(dataset);
    bool part = options->most_images > 0 && options->most_images < total;
    total = part ? options->most_images : total;
    wtl_batcher *batcher = NULL;
    const wtl_batch_options batches = {.batch = wtl_net_options_of(net)->batch,
                                       .preprocess = wtl_net_def(net)->preprocess,
                                       .seed = options->seed,
                                       .shuffle = part, /* a fair sample, not the first */
                                       .workers = options->workers};
    out->classes = wtl_net_main_head(net)->classes;
    if (options->confusion) {
        size_t classes = (size_t)out->classes;
        out->confusion = wtl_alloc(classes * classes, sizeof *out->confusion);
        if (!out->confusion) {
            status = wtl_fail(err, WTL_E_NOMEM, "out of memory for %d x %d counts",
                              out->classes, out->classes);
            goto done;
        }
    }
    status = wtl_batcher_create(&batcher, dataset, &batches, err);
    if (status == WTL_OK) {
        wtl_batcher_on_unreadable(batcher, options->report, options->context);
        status = wtl_batcher_start(batcher, 0, 0, err);
    }
    if (status == WTL_OK) {
        status = evaluate_batches(out, net, batcher, total, options, err);
        out->unreadable = (long)wtl_batcher_unreadable(batcher);
    }
    if (status == WTL_OK && out->scores.images == 0) { /* there is no accuracy to tell */
        status = wtl_fail(err, WTL_E_FORMAT, "%s: not one image could be read",
                          wtl_dataset_name(dataset));
    }
done:
    wtl_batcher_free(batcher);
    if (status != WTL_OK) {
        wtl_evaluation_clear(out);
    }
    return status;
}

void wtl_evaluation_clear(wtl_evaluation *evaluation)
{
    wtl_free(evaluation->confusion);
    *evaluation = (wtl_evaluation){0};
}

/* ---- recalibration ---- */

static wtl_status recalibrate_batch(wtl_net *net, const wtl_batch *batch, int k, wtl_error *err)
{
    if (batch->count > wtl_net_options_of(net)->batch) {
        return wtl_fail(err, WTL_E_SHAPE, "recalibration: batches of %d, the net takes %d",
                        batch->count, wtl_net_options_of(net)->batch);
    }
    memcpy(wtl_net_input(net), batch->images,
           (size_t)batch->count * wtl_shape_count(wtl_net_def(net)->input) * sizeof(float));
    wtl_net_set_stat_momentum(net, 1.0f / (float)k);
    wtl_net_forward(net, batch->count, WTL_RUN_TRAINING, (uint64_t)k);
    return WTL_OK;
}

wtl_status wtl_recalibrate(wtl_net *net, wtl_batcher *batcher, int batches, wtl_error *err)
{
    if (!wtl_net_options_of(net)->training || batches < 1) {
        return wtl_fail(err, WTL_E_ARG, "recalibration: %d batches through %s net", batches,
                        wtl_net_options_of(net)->training ? "a training" : "an inference");
    }
    wtl_status status = wtl_batcher_start(batcher, 0, 0, err);
    int seen = 0;
    wtl_batch batch = {.count = 1};
    while (status == WTL_OK && seen < batches && batch.count > 0) {
        status = wtl_batcher_next(batcher, &batch, err);
        if (status == WTL_OK && batch.count > 0) {
            status = recalibrate_batch(net, &batch, ++seen, err);
        }
    }
    wtl_net_set_stat_momentum(net, -1.0f);
    if (status == WTL_OK && seen == 0) {
        status = wtl_fail(err, WTL_E_ARG, "recalibration: there are no images");
    }
    return status;
}
