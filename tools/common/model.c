/* model.c - from what users name to a net that runs. */
#include "model.h"

#include "wattle/blas.h"
#include "wattle/threads.h"
#include "wattle/zoo.h"

#include <stdio.h>
#include <string.h>

const char *const wtl_engine_words[] = {[WTL_ENGINE_NATIVE] = "native",
                                        [WTL_ENGINE_BLAS] = "blas",
                                        [WTL_ENGINE_REFERENCE] = "reference",
                                        [WTL_ENGINE_COUNT] = NULL};

const char *const wtl_isa_words[] = {[WTL_ISA_BEST] = "best",
                                     [WTL_ISA_PLAIN] = "plain",
                                     [WTL_ISA_AVX2] = "avx2",
                                     [WTL_ISA_AVX512] = "avx512",
                                     [WTL_ISA_COUNT] = NULL};

void wtl_subject_clear(wtl_subject *subject)
{
    wtl_netdef_free(subject->loaded);
    wtl_checkpoint_free(subject->checkpoint);
    *subject = (wtl_subject){0};
}

/* A file is a checkpoint if its name or its reader says so; else it is network text or a
 * name of the zoo. */
static bool is_checkpoint(const char *what)
{
    unsigned char head[64];
    FILE *file = fopen(what, "rb");
    size_t length = file ? fread(head, 1, sizeof head, file) : 0;
    if (file) {
        fclose(file);
    }
    const char *end = strrchr(what, '.');
    return (end && strcmp(end, ".wtl") == 0) || (length && wtl_checkpoint_sniff(head, length));
}

wtl_status wtl_subject_load(wtl_subject *subject, const char *what, wtl_error *err)
{
    *subject = (wtl_subject){0};
    if (!is_checkpoint(what)) {
        wtl_status status = wtl_netdef_load(&subject->loaded, what, 0, err);
        subject->def = subject->loaded;
        return status;
    }
    wtl_status status = wtl_checkpoint_read(&subject->checkpoint, what, err);
    subject->def = status == WTL_OK ? wtl_checkpoint_net(subject->checkpoint) : NULL;
    if (status == WTL_OK && !subject->def) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s: holds no network, only tensors", what);
        wtl_subject_clear(subject);
    }
    return status;
}

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
