/* batcher.c - a ring of batches that background threads fill ahead of the caller.
 *
 * Batch b of an epoch goes to slot b modulo the ring's size. A slot is free, being filled,
 * or ready; the caller holds one ready slot until its next call. Workers take batches in
 * order, each a whole one, so a batch is made by one thread from its number alone. All
 * fields under `lock` in the struct below are guarded by it; a slot's arrays belong to
 * whoever the slot's state says.
 */
#define _GNU_SOURCE
#include "pipeline.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>

typedef enum slot_state { SLOT_FREE, SLOT_FILLING, SLOT_READY } slot_state;

typedef struct slot {
    slot_state state;
    float *images;       /* [batch, C, H, W] */
    int *labels;         /* [batch] */
    uint32_t *indices;   /* [batch] */
    int count;           /* images that could be read */
    uint32_t *bad;       /* [batch]: those that could not, */
    wtl_error *problems; /* [batch]: and why */
    int bad_count;
    wtl_status status; /* what stops the run, with `error` */
    wtl_error error;
} slot;

struct wtl_batcher {
    const wtl_dataset *dataset;
    wtl_batch_options options;
    wtl_normalise_table table;
    size_t image_values, images_bytes; /* of one image; of a slot's images */
    size_t batch_count;

    pthread_mutex_t lock;
    pthread_cond_t work; /* a slot became free, an epoch began, or the end */
    pthread_cond_t done; /* a slot became ready or a worker idle */
    bool locks_made;
    pthread_t *threads;
    int thread_count;

    slot *slots;
    size_t slot_count;
    uint64_t epoch;
    uint32_t *order; /* [images]: the epoch's */
    size_t next_fill, next_out;
    int busy;      /* workers filling a slot */
    bool started;  /* an epoch is under way */
    bool abandon;  /* it is being ended: leave what is half done */
    bool quitting; /* workers shall return */

    /* The caller's alone: */
    slot *held;
    wtl_status failed; /* kept until the next start */
    wtl_error failure;
    bool *known_bad; /* [images] */
    size_t unreadable;
    void (*report)(void *context, const char *message);
    void *report_context;
};

static bool abandoned(wtl_batcher *b)
{
    pthread_mutex_lock(&b->lock);
    bool yes = b->abandon;
    pthread_mutex_unlock(&b->lock);
    return yes;
}

/* Read and prepare image `index` as the next of the slot; a picture that cannot be used is
 * noted, any other failure is returned. */
static wtl_status add_image(const wtl_batcher *b, slot *s, uint32_t index, wtl_image *picture,
                            wtl_workspace *space)
{
    const wtl_batch_options *o = &b->options;
    wtl_error *err = &s->problems[s->bad_count];
    wtl_status status = wtl_dataset_image(b->dataset, index, picture, err);
    if (status == WTL_OK) {
        wtl_rng rng = wtl_rng_make(o->seed, WTL_RNG_AUGMENT, b->epoch, index);
        status = wtl_prepare_image(&o->preprocess, &b->table, &o->augment, &rng, picture, space,
                                   s->images + (size_t)s->count * b->image_values, err);
        if (status != WTL_OK) {
            char name[WTL_ERROR_TEXT_SIZE / 2];
            wtl_dataset_describe(b->dataset, index, name, sizeof name);
            (void)wtl_fail_in(err, status, name);
        }
    }
    if (status == WTL_OK) {
        s->labels[s->count] = wtl_dataset_label(b->dataset, index);
        s->indices[s->count++] = index;
    } else if (wtl_is_unreadable(status)) {
        s->bad[s->bad_count++] = index;
        status = WTL_OK;
    } else {
        s->error = *err;
    }
    return status;
}

static void fill(wtl_batcher *b, slot *s, size_t number, wtl_image *picture,
                 wtl_workspace *space)
{
    size_t images = wtl_dataset_count(b->dataset), size = (size_t)b->options.batch;
    size_t first = number * size, last = first + size < images ? first + size : images;
    s->count = s->bad_count = 0;
    s->status = WTL_OK;
    for (size_t i = first; i < last && s->status == WTL_OK && !abandoned(b); i++) {
        s->status = add_image(b, s, b->order[i], picture, space);
    }
}

static bool can_fill(const wtl_batcher *b)
{
    return b->started && !b->abandon && b->next_fill < b->batch_count &&
           b->slots[b->next_fill % b->slot_count].state == SLOT_FREE;
}

static void *work(void *context)
{
    wtl_batcher *b = context;
    wtl_image picture = {0};
    wtl_workspace space = {0};
    wtl_flush_denormals();
    pthread_mutex_lock(&b->lock);
    while (!b->quitting) {
        if (!can_fill(b)) {
            pthread_cond_wait(&b->work, &b->lock);
            continue;
        }
        size_t number = b->next_fill++;
        slot *s = &b->slots[number % b->slot_count];
        s->state = SLOT_FILLING;
        b->busy++;
        pthread_mutex_unlock(&b->lock);
        fill(b, s, number, &picture, &space);
        pthread_mutex_lock(&b->lock);
        s->state = SLOT_READY;
        b->busy--;
        pthread_cond_broadcast(&b->done);
    }
    pthread_mutex_unlock(&b->lock);
    wtl_image_clear(&picture);
    wtl_workspace_clear(&space);
    return NULL;
}

static wtl_status check_options(const wtl_dataset *dataset, const wtl_batch_options *o,
                                wtl_error *err)
{
    enum { MOST_WORKERS = 256, MOST_PREFETCH = 1024 };
    size_t images = wtl_dataset_count(dataset);
    if (o->batch < 1) {
        return wtl_fail(err, WTL_E_ARG, "batches of %d images", o->batch);
    }
    if (o->workers < 0 || o->workers > MOST_WORKERS || o->prefetch < 0 ||
        o->prefetch > MOST_PREFETCH) {
        return wtl_fail(err, WTL_E_ARG,
                        "%d workers, %d batches ahead: at most %d and %d can be had",
                        o->workers, o->prefetch, MOST_WORKERS, MOST_PREFETCH);
    }
    if (!(o->most_unreadable >= 0.0 && o->most_unreadable <= 1.0)) {
        return wtl_fail(err, WTL_E_ARG, "a share of %g unreadable pictures, not inside 0..1",
                        o->most_unreadable);
    }
    if (o->drop_last && images < (size_t)o->batch) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s: %zu images make no batch of %d, and a short one is to be dropped",
                        wtl_dataset_name(dataset), images, o->batch);
    }
    wtl_status status = wtl_preprocess_check(&o->preprocess, err);
    return status == WTL_OK ? wtl_augment_check(&o->augment, err) : status;
}

static wtl_status make_arrays(wtl_batcher *b, wtl_error *err)
{
    size_t batch = (size_t)b->options.batch, images = wtl_dataset_count(b->dataset);
    bool fits = wtl_mul(b->image_values * sizeof(float), batch, &b->images_bytes);
    b->order = wtl_alloc(images, sizeof b->order[0]);
    b->known_bad = wtl_alloc(images, sizeof b->known_bad[0]);
    b->slots = wtl_alloc(b->slot_count, sizeof b->slots[0]);
    bool made = fits && b->order && b->known_bad && b->slots;
    for (size_t i = 0; made && i < b->slot_count; i++) {
        slot *s = &b->slots[i];
        s->images = wtl_alloc_pages(b->images_bytes);
        s->labels = wtl_alloc(batch, sizeof s->labels[0]);
        s->indices = wtl_alloc(batch, sizeof s->indices[0]);
        s->bad = wtl_alloc(batch, sizeof s->bad[0]);
        s->problems = wtl_alloc(batch, sizeof s->problems[0]);
        made = s->images && s->labels && s->indices && s->bad && s->problems;
    }
    return made ? WTL_OK
                : wtl_fail(err, WTL_E_NOMEM, "out of memory for %zu batches of %zu images",
                           b->slot_count, batch);
}

/* Signals are for the caller's threads: the workers start with all of them blocked. */
static wtl_status start_workers(wtl_batcher *b, int count, wtl_error *err)
{
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->work, NULL);
    pthread_cond_init(&b->done, NULL);
    b->locks_made = true;
    b->threads = wtl_alloc((size_t)count, sizeof b->threads[0]);
    if (!b->threads) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d workers", count);
    }
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (error == 0 && b->thread_count < count) {
        error = pthread_create(&b->threads[b->thread_count], NULL, work, b);
        b->thread_count += error == 0;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 ? WTL_OK
                      : wtl_fail(err, WTL_E_SYSTEM, "worker thread %d cannot be started: %s",
                                 b->thread_count + 1, strerror(error));
}

static wtl_status set_up(wtl_batcher *b, wtl_error *err)
{
    enum { DEFAULT_PREFETCH = 2 };
    wtl_batch_options *o = &b->options;
    const wtl_preprocess *p = &o->preprocess;
    size_t images = wtl_dataset_count(b->dataset), batch = (size_t)o->batch;
    int workers = o->workers > 0 ? o->workers : 1;
    int ahead = o->prefetch > 0 ? o->prefetch : DEFAULT_PREFETCH;
    b->image_values = (size_t)p->channels * (size_t)p->height * (size_t)p->width;
    b->batch_count = o->drop_last ? images / batch : (images + batch - 1) / batch;
    b->slot_count = 1 + (size_t)(ahead > workers ? ahead : workers);
    wtl_normalise_prepare(&b->table, p);
    wtl_status status = make_arrays(b, err);
    return status == WTL_OK ? start_workers(b, workers, err) : status;
}

wtl_status wtl_batcher_create(wtl_batcher **out, const wtl_dataset *dataset,
                              const wtl_batch_options *options, wtl_error *err)
{
    *out = NULL;
    wtl_status status = check_options(dataset, options, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_batcher *batcher = wtl_alloc(1, sizeof *batcher);
    if (!batcher) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for a batcher");
    }
    batcher->dataset = dataset;
    batcher->options = *options;
    status = set_up(batcher, err);
    if (status != WTL_OK) {
        wtl_batcher_free(batcher);
        return status;
    }
    *out = batcher;
    return WTL_OK;
}

static void stop_workers(wtl_batcher *b)
{
    pthread_mutex_lock(&b->lock);
    b->quitting = b->abandon = true;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    for (int i = 0; i < b->thread_count; i++) {
        pthread_join(b->threads[i], NULL);
    }
    pthread_cond_destroy(&b->work);
    pthread_cond_destroy(&b->done);
    pthread_mutex_destroy(&b->lock);
}

void wtl_batcher_free(wtl_batcher *b)
{
    if (!b) {
        return;
    }
    if (b->locks_made) {
        stop_workers(b);
    }
    for (size_t i = 0; b->slots && i < b->slot_count; i++) {
        slot *s = &b->slots[i];
        wtl_free_pages(s->images, b->images_bytes);
        wtl_free(s->labels);
        wtl_free(s->indices);
        wtl_free(s->bad);
        wtl_free(s->problems);
    }
    wtl_free(b->slots);
    wtl_free(b->order);
    wtl_free(b->known_bad);
    wtl_free(b->threads);
    wtl_free(b);
}

size_t wtl_batcher_count(const wtl_batcher *batcher)
{
    return batcher->batch_count;
}

static void order_images(wtl_batcher *b)
{
    uint32_t images = (uint32_t)wtl_dataset_count(b->dataset);
    if (b->options.shuffle) {
        wtl_rng rng = wtl_rng_make(b->options.seed, WTL_RNG_SHUFFLE, b->epoch, 0);
        wtl_rng_permutation(&rng, b->order, images);
        return;
    }
    for (uint32_t i = 0; i < images; i++) {
        b->order[i] = i;
    }
}

wtl_status wtl_batcher_start(wtl_batcher *b, uint64_t epoch, size_t first, wtl_error *err)
{
    if (first > b->batch_count) {
        return wtl_fail(err, WTL_E_RANGE, "batch %zu of an epoch with %zu", first,
                        b->batch_count);
    }
    pthread_mutex_lock(&b->lock);
    b->abandon = true;
    while (b->busy > 0) {
        pthread_cond_wait(&b->done, &b->lock);
    }
    for (size_t i = 0; i < b->slot_count; i++) {
        b->slots[i].state = SLOT_FREE;
    }
    b->epoch = epoch;
    b->next_fill = b->next_out = first;
    b->held = NULL;
    b->failed = WTL_OK;
    order_images(b);
    b->started = true;
    b->abandon = false;
    pthread_cond_broadcast(&b->work);
    pthread_mutex_unlock(&b->lock);
    return WTL_OK;
}

/* Give the held slot back and wait for the next; NULL at the end of the epoch. */
static slot *take_next(wtl_batcher *b, size_t *number)
{
    pthread_mutex_lock(&b->lock);
    if (b->held) {
        b->held->state = SLOT_FREE;
        b->held = NULL;
        pthread_cond_broadcast(&b->work);
    }
    *number = b->next_out;
    if (b->next_out < b->batch_count) {
        slot *next = &b->slots[b->next_out++ % b->slot_count];
        while (next->state != SLOT_READY) {
            pthread_cond_wait(&b->done, &b->lock);
        }
        b->held = next;
    }
    pthread_mutex_unlock(&b->lock);
    return b->held;
}

static wtl_status count_unreadable(wtl_batcher *b, const slot *s, wtl_error *err)
{
    const double default_share = 0.01;
    double share =
        b->options.most_unreadable > 0.0 ? b->options.most_unreadable : default_share;
    size_t images = wtl_dataset_count(b->dataset);
    for (int i = 0; i < s->bad_count; i++) {
        bool *known = &b->known_bad[s->bad[i]];
        b->unreadable += !*known;
        if (!*known && b->report) {
            b->report(b->report_context, s->problems[i].text);
        }
        *known = true;
        if (b->unreadable > 1 && (double)b->unreadable > share * (double)images) {
            return wtl_fail(err, WTL_E_FORMAT,
                            "%s: too many unreadable pictures: %zu of %zu, the latest %s",
                            wtl_dataset_name(b->dataset), b->unreadable, images,
                            s->problems[i].text);
        }
    }
    return WTL_OK;
}

static wtl_status next_batch(wtl_batcher *b, wtl_batch *batch, wtl_error *err)
{
    slot *s;
    while ((s = take_next(b, &batch->number)) != NULL) {
        wtl_status status = count_unreadable(b, s, err);
        if (status != WTL_OK) {
            return status;
        }
        if (s->status != WTL_OK) {
            return wtl_fail(err, s->status, "%s", s->error.text);
        }
        if (s->count > 0) {
            batch->count = s->count;
            batch->images = s->images;
            batch->labels = s->labels;
            batch->indices = s->indices;
            break;
        }
    }
    return WTL_OK;
}

wtl_status wtl_batcher_next(wtl_batcher *b, wtl_batch *batch, wtl_error *err)
{
    *batch = (wtl_batch){0};
    if (!b->started) {
        return wtl_fail(err, WTL_E_ARG, "no epoch was started");
    }
    if (b->failed == WTL_OK) {
        b->failed = next_batch(b, batch, &b->failure);
    }
    return b->failed == WTL_OK ? WTL_OK : wtl_fail(err, b->failed, "%s", b->failure.text);
}

size_t wtl_batcher_unreadable(const wtl_batcher *batcher)
{
    return batcher->unreadable;
}

void wtl_batcher_on_unreadable(wtl_batcher *batcher,
                               void (*report)(void *context, const char *message),
                               void *context)
{
    batcher->report = report;
    batcher->report_context = context;
}
