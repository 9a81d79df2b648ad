/* loss.h - softmax cross-entropy over a batch. */
#ifndef WATTLE_LOSS_H
#define WATTLE_LOSS_H

#include "wattle/net.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_scores {
    double loss;     /* sum over images of the main head's cross-entropy */
    long top1, top5; /* images whose label is among the 1 or 5 largest logits; ties count
                          against the label */
    long images;
} wtl_scores;

/* Cross-entropy of logits [n,k] against labels [n]. With smoothing s the target is
 * 1 - s + s/k at the label and s/k elsewhere. gradient [n,k] (may be NULL) gets
 * scale * (softmax - target); `scores` (may be NULL) is added to. Returns the loss sum. */
WTL_API double wtl_cross_entropy(int n, int k, const float *logits, const int *labels,
                                 float smoothing, float scale, float *gradient,
                                 wtl_scores *scores);

/* All heads of a training net after a forward of n images: fills every head's gradient with
 * weight/n * d, adds the main head's scores, returns the weighted mean loss over all heads. */
WTL_API double wtl_net_loss(wtl_net *net, int n, const int *labels, float smoothing,
                            wtl_scores *scores);

#ifdef __cplusplus
}
#endif
#endif
