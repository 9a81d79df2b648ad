/* conv_masked.c - see conv_masked.h. */
#include "conv_masked.h"

#include <math.h>

/* Time that was measured over that which conv_sparse_plan.c estimates, and for the weights'
 * gradient beside the forward product's estimate. */
static const double forward_share = 1.15, weights_share = 1.4;

bool wtl_conv_masked_plan(wtl_conv_masked *m, const wtl_native *native,
                          const wtl_conv_geometry *g, int batch, bool plain, bool wants_data,
                          double dense_seconds, const float *mask)
{
    double data_seconds = INFINITY, kept_seconds = INFINITY;
    *m = (wtl_conv_masked){0};
    if (wtl_conv_sparse_plan_pattern(&m->kept, native, g, batch, mask, false, plain)) {
        kept_seconds = m->kept.seconds;
    }
    if (wants_data && wtl_conv_sparse_flipped(g, &m->flipped_layer) &&
        wtl_conv_sparse_plan_pattern(&m->flipped, native, &m->flipped_layer, batch, mask, true,
                                     false)) {
        data_seconds = m->flipped.seconds;
    }
    m->forward = kept_seconds * forward_share < dense_seconds;
    m->weights = kept_seconds * weights_share < dense_seconds;
    m->data = data_seconds * forward_share < dense_seconds;
    m->seconds = fmin(kept_seconds * forward_share, dense_seconds) +
                 fmin(kept_seconds * weights_share, dense_seconds) +
                 (wants_data ? fmin(data_seconds * forward_share, dense_seconds) : 0.0);
    return m->forward || m->data || m->weights;
}

static size_t kept_bytes(const wtl_conv_masked *m)
{
    return m->forward || m->weights ? m->kept.bytes : 0;
}

size_t wtl_conv_masked_bytes(const wtl_conv_masked *m)
{
    return kept_bytes(m) + (m->data ? m->flipped.bytes : 0);
}

size_t wtl_conv_masked_scratch(const wtl_conv_masked *m, int threads)
{
    const size_t needs[] = {m->forward ? wtl_conv_sparse_own_scratch(&m->kept, threads) : 0,
                            m->data ? wtl_conv_sparse_own_scratch(&m->flipped, threads) : 0,
                            m->weights ? wtl_conv_sparse_weights_scratch(&m->kept, threads)
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
    if (kept_bytes(m)) {
        (void)wtl_conv_sparse_make_pattern(&m->kept, g, mask, false, memory);
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

wtl_conv_sparse *wtl_conv_masked_flipped(const wtl_conv_masked *m, void *memory)
{
    return (wtl_conv_sparse *)(void *)((char *)memory + kept_bytes(m));
}
