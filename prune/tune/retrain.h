/* retrain.h - what pruning runs and fine-tuning runs open alike: a trained checkpoint's net, the
 * images that its training did not hold out, and batches of them. */
#ifndef WTL_RETRAIN_H
#define WTL_RETRAIN_H

#include "wattle/batcher.h"
#include "wattle/checkpoint.h"

/* What is retrained, in the user's words, for messages. */
typedef struct wtl_retraining {
    const char *work;       /* "pruning" */
    const char *data;       /* DATA, which may have no part */
    const char *checkpoint; /* CKPT */
} wtl_retraining;

/* Open the training and the validation part of the split that `from` was trained with. Both are
 * the caller's, also after a failure.
 *   WTL_E_ARG  DATA names a part; nothing was held out; a part has no images */
wtl_status wtl_retrain_open_data(wtl_dataset **train, wtl_dataset **val,
                                 const wtl_retraining *what, const wtl_checkpoint *from,
                                 wtl_error *err) WTL_MUST_CHECK;

/* Plan the net of `from` and fill it; *out is the caller's, also after a failure. `file` is where
 * `from` was read. WTL_E_FORMAT: it holds no net, or lacks a tensor of it. */
wtl_status wtl_retrain_open_net(wtl_net **out, const wtl_checkpoint *from, const char *file,
                                const wtl_net_options *plan, wtl_error *err) WTL_MUST_CHECK;

/* The net has a head to be judged by, tells as many classes apart as the data have, and takes
 * pictures of their size, where that is known: a mistake is likelier than a wish. WTL_E_SHAPE */
wtl_status wtl_retrain_check(const wtl_net *net, const wtl_dataset *train,
                             const wtl_retraining *what, wtl_error *err) WTL_MUST_CHECK;

typedef struct wtl_retrain_batches {
    int batch, workers;
    const char *augment; /* a preset's name, checked */
    uint64_t seed;
    bool recalibrate; /* batch norm, where the net has any */
} wtl_retrain_batches;

/* *batcher: training images, shuffled and augmented. *calibration: the same as evaluation sees
 * them; stays as it is where there is nothing to recalibrate. */
wtl_status wtl_retrain_open_batches(wtl_batcher **batcher, wtl_batcher **calibration,
                                    const wtl_net *net, const wtl_dataset *train,
                                    const wtl_retrain_batches *options,
                                    wtl_error *err) WTL_MUST_CHECK;

/* Give `to` the class names of `from`, if it has any. */
wtl_status wtl_retrain_copy_classes(wtl_checkpoint *to, const wtl_checkpoint *from,
                                    wtl_error *err) WTL_MUST_CHECK;

#endif
