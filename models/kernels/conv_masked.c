/* conv_masked.c - see conv_masked.h. */
#include "conv_masked.h"

#include <math.h>

/* Time that was measured over that which conv_sparse_plan.c estimates. */
static const double forward_share = 1.15, weights_share = 1.25;

bool wtl_conv_masked_plan(wtl_conv_masked *m, const wtl_native *native,
                          const wtl_conv_geometry *g, int batch, bool plain, bool wants_data,
                          double dense_seconds, const float *mask)
{
    double forward = INFINITY, weights = INFINITY, data = INFINITY;
    *m = (wtl_conv_masked){0};
    if (wtl_conv_sparse_plan_pattern(&m->kept, native, g, batch, mask, false, plain, false)) {
        forward = m->kept.seconds * forward_share;
    }
    if (wtl_conv_sparse_plan_pattern(&m->sampled, native, g, batch, mask, false, plain, true)) {
        weights = m->sampled.seconds * weights_share;
    }
    if (wants_data && wtl_conv_sparse_flipped(g, &m->flipped_layer) &&
        wtl_conv_sparse_plan_pattern(&m->flipped, native, &m->flipped_layer, batch, mask, true,
                                     false, false)) {
        data = m->flipped.seconds * forward_share;
    }
    m->forward = forward < dense_seconds;
    m->weights = weights < dense_seconds;
    m->data = data < dense_seconds;
    m->seconds = fmin(forward, dense_seconds) + fmin(weights, dense_seconds) +
                 (wants_data ? fmin(data, dense_seconds) : 0.0);
    return m->forward || m->data || m->weights;
}

/* Behind forward's pattern lies that of the weights' gradient, then the input's. */
static size_t sampled_at(const wtl_conv_masked *m)
{
    return m->forward ? m->kept.bytes : 0;
}

static size_t flipped_at(const wtl_conv_masked *m)
{
    return sampled_at(m) + (m->weights ? m->sampled.bytes : 0);
}

size_t wtl_conv_masked_bytes(const wtl_conv_masked *m)
{
    return flipped_at(m) + (m->data ? m->flipped.bytes : 0);
}

size_t wtl_conv_masked_scratch(const wtl_conv_masked *m, int threads)
{
    const size_t needs[] = {m->forward ? wtl_conv_sparse_own_scratch(&m->kept, threads) : 0,
                            m->data ? wtl_conv_sparse_own_scratch(&m->flipped, threads) : 0,
                            m->weights ? wtl_conv_sparse_weights_scratch(&m->sampled, threads)
                                       : 0};
    size_t most = 0;
    for (int i = 0; i < 3; i++) {
        most = needs[i] > most ? needs[i] : most;
    }
    return most;
}

void wtl_conv_masked_make(const wtl_conv_masked *m, const wtl_conv_geometry *g,
                          const float *mask, void *memory)
{
    if (m->forward) {
        (void)wtl_conv_sparse_make_pattern(&m->kept, g, mask, false, memory);
    }
    if (m->weights) {
        (void)wtl_conv_sparse_make_pattern(&m->sampled, g, mask, false,
                                           wtl_conv_masked_sampled(m, memory));
    }
    if (m->data) {
        (void)wtl_conv_sparse_make_pattern(&m->flipped, &m->flipped_layer, mask, true,
                                           wtl_conv_masked_flipped(m, memory));
    }
}

wtl_conv_sparse *wtl_conv_masked_kept(const wtl_conv_masked *m, void *memory)
{
    (void)m;
    return memory;
}

wtl_conv_sparse *wtl_conv_masked_sampled(const wtl_conv_masked *m, void *memory)
{
    return (wtl_conv_sparse *)(void *)((char *)memory + sampled_at(m));
}

wtl_conv_sparse *wtl_conv_masked_flipped(const wtl_conv_masked *m, void *memory)
{
    return (wtl_conv_sparse *)(void *)((char *)memory + flipped_at(m));
}
