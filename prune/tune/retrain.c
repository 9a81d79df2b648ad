/* retrain.c - a trained checkpoint and its data, opened to be trained further. */
#include "retrain.h"

#include "wattle/memory.h"
#include "wattle/split.h"

#include <string.h>

/* ---- data ---- */

wtl_status wtl_retrain_open_data(wtl_dataset **train, wtl_dataset **val,
                                 const wtl_retraining *what, const wtl_checkpoint *from,
                                 wtl_error *err)
{
    const char *at = strrchr(what->data, '@');
    if (at &&
        (strcmp(at, "@train") == 0 || strcmp(at, "@val") == 0 || strcmp(at, "@test") == 0)) {
        return wtl_fail(err, WTL_E_ARG,
                        "data: %s: %s takes the training and the validation part: leave %s out",
                        what->data, what->work, at);
    }
    wtl_dataset_options split = wtl_split_of(from);
    if (split.whole_train) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s was trained on all training images, so %s has no validation part "
                        "to judge by: train it without --whole-train",
                        what->checkpoint, what->data);
    }
    split.part = WTL_DATA_TRAIN;
    wtl_status status = wtl_dataset_open(train, what->data, &split, err);
    if (status == WTL_OK) {
        split.part = WTL_DATA_VAL;
        status = wtl_dataset_open(val, what->data, &split, err);
    }
    if (status == WTL_OK && (wtl_dataset_count(*train) == 0 || wtl_dataset_count(*val) == 0)) {
        status = wtl_fail(err, WTL_E_ARG, "%s has no %s images", what->data,
                          wtl_dataset_count(*train) == 0 ? "training" : "validation");
    }
    return status;
}

/* ---- the net ---- */

wtl_status wtl_retrain_open_net(wtl_net **out, const wtl_checkpoint *from, const char *file,
                                const wtl_net_options *plan, wtl_error *err)
{
    const wtl_netdef *def = wtl_checkpoint_net(from);
    if (!def) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: holds no network, only tensors", file);
    }
    wtl_status status = wtl_net_create(out, def, plan, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_fill_net(from, *out, err);
    }
    if (status == WTL_OK || status == WTL_E_NOMEM) {
        return status;
    }
    /* A tensor that the file lacks is a bad file, not a missing one. */
    return wtl_fail_in(err, status == WTL_E_MISSING ? WTL_E_FORMAT : status, file);
}

static wtl_status check_classes(const wtl_net *net, const wtl_dataset *train,
                                const wtl_retraining *what, wtl_error *err)
{
    int classes = wtl_dataset_classes(train);
    for (int h = 0; h < wtl_net_head_count(net); h++) {
        const wtl_head *head = wtl_net_head(net, h);
        if (head->classes != classes) {
            return wtl_fail(err, WTL_E_SHAPE, "net %s tells %d classes apart, %s has %d",
                            wtl_net_def(net)->name, head->classes, what->data, classes);
        }
    }
    return WTL_OK;
}

wtl_status wtl_retrain_check(const wtl_net *net, const wtl_dataset *train,
                             const wtl_retraining *what, wtl_error *err)
{
    int c, h, w;
    const wtl_netdef *def = wtl_net_def(net);
    const wtl_shape in = def->input;
    if (!wtl_net_main_head(net)) {
        return wtl_fail(err, WTL_E_SHAPE, "net %s has no softmax to be judged by", def->name);
    }
    wtl_status status = check_classes(net, train, what, err);
    wtl_dataset_shape(train, &c, &h, &w);
    bool sized = h > 0 && def->preprocess.rule == WTL_RESIZE_NONE;
    if (status == WTL_OK && sized && (c != in.c || h != in.h || w != in.w)) {
        status =
            wtl_fail(err, WTL_E_SHAPE, "net %s takes %dx%dx%d, %s has pictures of %dx%dx%d",
                     def->name, in.c, in.h, in.w, what->data, c, h, w);
    }
    return status;
}

/* ---- batches ---- */

static bool has_batch_norm(const wtl_netdef *def)
{
    bool found = false;
    for (int i = 0; i < def->layer_count; i++) {
        found = found || def->layers[i].kind == WTL_LAYER_BATCHNORM;
    }
    return found;
}

wtl_status wtl_retrain_open_batches(wtl_batcher **batcher, wtl_batcher **calibration,
                                    const wtl_net *net, const wtl_dataset *train,
                                    const wtl_retrain_batches *options, wtl_error *err)
{
    const wtl_netdef *def = wtl_net_def(net);
    wtl_batch_options batches = {.batch = options->batch,
                                 .preprocess = def->preprocess,
                                 .seed = options->seed,
                                 .shuffle = true,
                                 .workers = options->workers};
    wtl_status status = WTL_OK;
    if (options->recalibrate && has_batch_norm(def)) {
        status = wtl_batcher_create(calibration, train, &batches, err);
    }
    (void)wtl_augment_preset(options->augment, &batches.augment);
    return status == WTL_OK ? wtl_batcher_create(batcher, train, &batches, err) : status;
}

/* ---- checkpoints ---- */

wtl_status wtl_retrain_copy_classes(wtl_checkpoint *to, const wtl_checkpoint *from,
                                    wtl_error *err)
{
    int count = wtl_checkpoint_class_count(from);
    if (count == 0) {
        return WTL_OK;
    }
    const char **names = wtl_alloc((size_t)count, sizeof *names);
    if (!names) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d class names", count);
    }
    for (int i = 0; i < count; i++) {
        names[i] = wtl_checkpoint_class(from, i);
    }
    wtl_status status = wtl_checkpoint_set_classes(to, names, count, err);
    wtl_free(names);
    return status;
}
