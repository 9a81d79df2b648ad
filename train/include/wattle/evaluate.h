/* evaluate.h - a net's accuracy over a data set, and batch-norm recalibration. */
#ifndef WATTLE_EVALUATE_H
#define WATTLE_EVALUATE_H

#include "wattle/batcher.h"
#include "wattle/loss.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_evaluation {
    wtl_scores scores;
    int classes;
    long *confusion; /* [classes][classes], rows true labels, columns predictions; freed by
                        wtl_evaluation_clear(); NULL if not asked for */
    long unreadable; /* pictures left out */
} wtl_evaluation;

typedef struct wtl_evaluate_options {
    uint64_t seed;
    int workers;
    bool confusion;
    long most_images; /* 0: all */
    /* Called after each batch with images done and in all; may return false to stop
     * (WTL_E_STOPPED). NULL: none. */
    bool (*progress)(void *context, long done, long total);
    void (*report)(void *context, const char *message); /* unreadable pictures; may be NULL */
    void *context;
} wtl_evaluate_options;

/* Run every image of `dataset` through `net` (its batch size, inference mode).
 *   WTL_E_SHAPE   the data have labels or pictures that the net cannot take
 *   WTL_E_NAN     the net's output is not finite
 *   WTL_E_FORMAT  not one image could be read
 *   and what the batcher returns */
WTL_API wtl_status wtl_evaluate(wtl_evaluation *out, wtl_net *net, const wtl_dataset *dataset,
                                const wtl_evaluate_options *options,
                                wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_evaluation_clear(wtl_evaluation *evaluation);

static inline double wtl_percent(long part, long whole)
{
    return whole > 0 ? 100.0 * (double)part / (double)whole : 0.0;
}

/* Replace batch norm's running statistics by plain averages over `batches` training batches
 * (a training net; no weights change). */
WTL_API wtl_status wtl_recalibrate(wtl_net *net, wtl_batcher *batcher, int batches,
                                   wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
