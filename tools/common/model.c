/* model.c - from a checkpoint file to a net that runs. */
#include "model.h"

#include "wattle/blas.h"
#include "wattle/threads.h"

#include <stdio.h>

const char *const wtl_engine_words[] = {[WTL_ENGINE_NATIVE] = "native",
                                        [WTL_ENGINE_BLAS] = "blas",
                                        [WTL_ENGINE_REFERENCE] = "reference",
                                        [WTL_ENGINE_COUNT] = NULL};

void wtl_model_clear(wtl_model *model)
{
    wtl_net_free(model->net);
    wtl_checkpoint_free(model->checkpoint);
    *model = (wtl_model){0};
}

static wtl_status plan(wtl_model *model, const char *path, const wtl_net_options *options,
                       wtl_error *err)
{
    const wtl_netdef *def = wtl_checkpoint_net(model->checkpoint);
    if (!def) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: holds no network, only tensors", path);
    }
    wtl_status status = wtl_net_create(&model->net, def, options, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_fill_net(model->checkpoint, model->net, err);
    }
    /* A tensor that the file lacks is a bad file, not a missing one. */
    return status == WTL_E_MISSING ? wtl_fail_in(err, WTL_E_FORMAT, path)
           : status != WTL_OK      ? wtl_fail_in(err, status, path)
                                   : WTL_OK;
}

wtl_status wtl_model_load(wtl_model *model, const char *path, wtl_net_options options,
                          wtl_error *err)
{
    *model = (wtl_model){0};
    options.threads = options.threads ? options.threads : wtl_threads_available();
    wtl_blas_prepare();
    wtl_threads_prepare(options.threads);
    wtl_status status = wtl_checkpoint_read(&model->checkpoint, path, err);
    if (status == WTL_OK) {
        status = plan(model, path, &options, err);
    }
    if (status != WTL_OK) {
        wtl_model_clear(model);
    }
    return status;
}

const char *wtl_model_class(const wtl_checkpoint *checkpoint, int index, char spare[32])
{
    if (index < wtl_checkpoint_class_count(checkpoint)) {
        return wtl_checkpoint_class(checkpoint, index);
    }
    snprintf(spare, 32, "class %d", index);
    return spare;
}
