/* batcher.h - batches of preprocessed images, decoded and augmented ahead of time by
 * background threads. What a batch holds depends on (seed, epoch, options) alone, never on
 * the number of workers.
 */
#ifndef WATTLE_BATCHER_H
#define WATTLE_BATCHER_H

#include "wattle/dataset.h"
#include "wattle/preprocess.h"

#ifdef __cplusplus
extern "C" {
#endif

/* All zero: no augmentation. Order: crop, flip, jitter, normalise, cutout. */
typedef struct wtl_augment {
    bool flip;         /* left-right, with probability 1/2 */
    int pad;           /* pad-and-crop: up to this many pixels of shift, edges 0 */
    bool resized_crop; /* torchvision's RandomResizedCrop: area 0.08..1 (least_area),
                             aspect 3/4..4/3, then to the network's size, bilinear */
    double least_area; /* 0 means 0.08 */
    bool random_crop;  /* Caffe: a random window of the resized picture, not the centre */
    float brightness, contrast, saturation; /* jitter factors uniform in 1 +- value */
    int cutout;                             /* side of a square set to the mean; 0: none */
} wtl_augment;

/* The preset of that name: "none", "flip", "cifar" (pad 4, flip), "imagenet" (resized crop,
 * flip), "caffe" (random crop, flip); false if unknown. */
WTL_API bool wtl_augment_preset(const char *name, wtl_augment *augment);

typedef struct wtl_batch_options {
    int batch; /* images in a batch; the last one may have fewer */
    wtl_preprocess preprocess;
    wtl_augment augment;
    uint64_t seed;          /* of order and augmentation */
    bool shuffle;           /* a new order each epoch */
    bool drop_last;         /* leave a short last batch out */
    int workers;            /* background threads; 0 means 1 */
    int prefetch;           /* batches ready ahead; 0 means 2 */
    double most_unreadable; /* share of unreadable pictures that stops a run; 0 means 0.01;
                             one alone never stops it */
} wtl_batch_options;

typedef struct wtl_batch {
    int count;               /* images; 0 at the end of the epoch */
    size_t number;           /* place of this batch in the epoch, from 0; at the end of the
                                epoch wtl_batcher_count() */
    const float *images;     /* [count, C, H, W] */
    const int *labels;       /* [count] */
    const uint32_t *indices; /* [count]: which images of the data set */
} wtl_batch;

typedef struct wtl_batcher wtl_batcher;

/* `dataset` must outlive the batcher.
 *   WTL_E_ARG (options that contradict), WTL_E_NOMEM, WTL_E_SYSTEM */
WTL_API wtl_status wtl_batcher_create(wtl_batcher **out, const wtl_dataset *dataset,
                                      const wtl_batch_options *options,
                                      wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_batcher_free(wtl_batcher *batcher); /* stops the workers; takes NULL */

/* Batches in an epoch. */
WTL_API size_t wtl_batcher_count(const wtl_batcher *batcher);

/* Begin `epoch` at batch `first`: 0, or where an interrupted run stopped. Ends an epoch that
 * is under way. WTL_E_RANGE when the epoch has fewer than `first` batches. */
WTL_API wtl_status wtl_batcher_start(wtl_batcher *batcher, uint64_t epoch, size_t first,
                                     wtl_error *err) WTL_MUST_CHECK;

/* The next batch; valid until the next call of a function of this batcher that is not const.
 * Waits for the workers. Unreadable pictures are left out (the batch is smaller; a batch with
 * none left is passed over) and reported.
 *   WTL_E_ARG     no epoch was started
 *   WTL_E_FORMAT  too many unreadable pictures
 *   WTL_E_SHAPE   a picture is smaller than the network's input and nothing resizes it
 *   WTL_E_NOMEM   out of memory
 * A failure ends the epoch: further calls return it again until wtl_batcher_start(). */
WTL_API wtl_status wtl_batcher_next(wtl_batcher *batcher, wtl_batch *batch,
                                    wtl_error *err) WTL_MUST_CHECK;

/* Different pictures left out since creation. Each is passed once to `report`, from the
 * thread that calls wtl_batcher_next(), in the order of the batches. */
WTL_API size_t wtl_batcher_unreadable(const wtl_batcher *batcher);
WTL_API void wtl_batcher_on_unreadable(wtl_batcher *batcher,
                                       void (*report)(void *context, const char *message),
                                       void *context);

/* Bring one picture to the network's input [C,H,W] without augmentation: what evaluation
 * and `wattle infer` see. Resized by the rule (WARP: plain bilinear, as OpenCV; SHORT:
 * antialiased, as Pillow and so torchvision), then cropped in the centre. A gray picture
 * fills three channels alike; a colour picture becomes one channel by ITU-R 601 luma.
 *   WTL_E_ARG    numbers in `preprocess` that make no sense
 *   WTL_E_SHAPE  smaller than the network's input and nothing resizes it
 *   WTL_E_RANGE  so narrow that it would be resized to over 16384 pixels
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_preprocess_image(const wtl_preprocess *preprocess,
                                        const wtl_image *image, float *out,
                                        wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
