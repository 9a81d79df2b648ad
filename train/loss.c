/* loss.c - softmax cross-entropy and top-k counts.
 *
 *   l[i] = log(sum over j of exp z[i,j]) - sum over j of t[i,j] * z[i,j]
 *   d l[i] / d z[i,j] = p[i,j] - t[i,j]          p = softmax(z)
 *   t[i,j] = s/k + (1-s) at the label            s: label smoothing
 *
 * Shapes:  logits z [n,k]   labels [n]   gradient [n,k]
 * The logits, not the probabilities, are used: a probability that rounds to 0 has no log.
 */
#include "wattle/loss.h"

#include <math.h>

static double log_sum_exp(int k, const float *z)
{
    float largest = z[0];
    for (int j = 1; j < k; j++) {
        largest = z[j] > largest ? z[j] : largest;
    }
    double sum = 0.0;
    for (int j = 0; j < k; j++) {
        sum += exp((double)z[j] - (double)largest);
    }
    return (double)largest + log(sum);
}

static double image_loss(int k, const float *z, int label, double smoothing, double lse)
{
    double loss = (1.0 - smoothing) * (lse - (double)z[label]);
    if (smoothing > 0.0) {
        double sum = 0.0;
        for (int j = 0; j < k; j++) {
            sum += lse - (double)z[j];
        }
        loss += smoothing / k * sum;
    }
    return loss;
}

static void image_gradient(int k, const float *z, int label, double smoothing, double lse,
                           double scale, float *gradient)
{
    double elsewhere = smoothing / k;
    for (int j = 0; j < k; j++) {
        double target = elsewhere + (j == label ? 1.0 - smoothing : 0.0);
        gradient[j] = (float)(scale * (exp((double)z[j] - lse) - target));
    }
}

/* How many other classes are at least as likely as the label. Written so that a NaN counts
 * against the label, as ties do. */
static int rank_of_label(int k, const float *z, int label)
{
    int rank = 0;
    for (int j = 0; j < k; j++) {
        rank += j != label && !(z[j] < z[label]);
    }
    return rank;
}

double wtl_cross_entropy(int n, int k, const float *logits, const int *labels, float smoothing,
                         float scale, float *gradient, wtl_scores *scores)
{
    double total = 0.0;
    for (int i = 0; i < n; i++) {
        const float *z = logits + (size_t)i * (size_t)k;
        double lse = log_sum_exp(k, z);
        total += image_loss(k, z, labels[i], (double)smoothing, lse);
        if (gradient) {
            image_gradient(k, z, labels[i], (double)smoothing, lse, (double)scale,
                           gradient + (size_t)i * (size_t)k);
        }
        if (scores) {
            int rank = rank_of_label(k, z, labels[i]);
            scores->top1 += rank < 1;
            scores->top5 += rank < 5;
        }
    }
    if (scores) {
        scores->loss += total;
        scores->images += n;
    }
    return total;
}

double wtl_net_loss(wtl_net *net, int n, const int *labels, float smoothing, wtl_scores *scores)
{
    const wtl_head *main_head = wtl_net_main_head(net);
    double loss = 0.0;
    for (int h = 0; h < wtl_net_head_count(net); h++) {
        const wtl_head *head = wtl_net_head(net, h);
        double sum = wtl_cross_entropy(n, head->classes, head->logits, labels, smoothing,
                                       head->weight / (float)n, head->gradient,
                                       head == main_head ? scores : NULL);
        loss += (double)head->weight * sum / n;
    }
    return loss;
}
