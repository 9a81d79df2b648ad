/* sample.c - drawing a few images into memory. */
#include "wattle/sample.h"

#include "wattle/batcher.h"
#include "wattle/memory.h"

#include <string.h>

static wtl_status take(wtl_sample *sample, wtl_batcher *batcher, int wanted, wtl_error *err)
{
    size_t image = wtl_shape_count(sample->shape);
    while (sample->count < wanted) {
        wtl_batch batch;
        wtl_status status = wtl_batcher_next(batcher, &batch, err);
        if (status != WTL_OK || batch.count == 0) {
            return status;
        }
        int room = wanted - sample->count, n = batch.count < room ? batch.count : room;
        memcpy(sample->images + (size_t)sample->count * image, batch.images,
               (size_t)n * image * sizeof(float));
        memcpy(sample->labels + sample->count, batch.labels, (size_t)n * sizeof(int));
        sample->count += n;
    }
    return WTL_OK;
}

static wtl_status reserve(wtl_sample *sample, int images, wtl_error *err)
{
    size_t values;
    sample->images = wtl_mul((size_t)images, wtl_shape_count(sample->shape), &values)
                         ? wtl_alloc(values, sizeof(float))
                         : NULL;
    sample->labels = wtl_alloc((size_t)images, sizeof(int));
    return sample->images && sample->labels
               ? WTL_OK
               : wtl_fail(err, WTL_E_NOMEM, "out of memory for a sample of %d images", images);
}

wtl_status wtl_sample_draw(wtl_sample *out, const wtl_dataset *dataset, const wtl_netdef *def,
                           int count, uint64_t seed, wtl_error *err)
{
    enum { BATCH = 32 };
    const wtl_batch_options options = {
        .batch = BATCH, .preprocess = def->preprocess, .seed = seed, .shuffle = true};
    wtl_batcher *batcher = NULL;
    *out = (wtl_sample){.shape = def->input};
    if (count < 1) {
        return wtl_fail(err, WTL_E_ARG, "a sample of %d images", count);
    }
    size_t all = wtl_dataset_count(dataset);
    int wanted = (size_t)count < all ? count : (int)all;
    wtl_status status = reserve(out, wanted, err);
    if (status == WTL_OK) {
        status = wtl_batcher_create(&batcher, dataset, &options, err);
    }
    if (status == WTL_OK) {
        status = wtl_batcher_start(batcher, 0, 0, err);
    }
    if (status == WTL_OK) {
        status = take(out, batcher, wanted, err);
    }
    if (status == WTL_OK && out->count == 0) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s: not one image could be read",
                          wtl_dataset_name(dataset));
    }
    wtl_batcher_free(batcher);
    if (status != WTL_OK) {
        wtl_sample_clear(out);
    }
    return status;
}

void wtl_sample_clear(wtl_sample *sample)
{
    wtl_free(sample->images);
    wtl_free(sample->labels);
    *sample = (wtl_sample){0};
}
