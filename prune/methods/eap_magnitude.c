/* eap_magnitude.c - a deconv layer scatters its inputs, so that its outputs are no product of
 * patches and a filter, and there are no moments of it: magnitude decides within a filter.
 */
#include "eap.h"
#include "wattle/memory.h"

#include <math.h>
#include <stdlib.h>

typedef struct ranked {
    float magnitude;
    uint32_t rank; /* within its filter, largest first */
    size_t index;
} ranked;

bool wtl_eap_by_magnitude(const wtl_eap_layer *layer)
{
    return layer->def->kind == WTL_LAYER_DECONV;
}

static int larger_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->magnitude > y->magnitude || x->magnitude < y->magnitude) {
        return x->magnitude > y->magnitude ? -1 : 1;
    }
    return x->index < y->index ? -1 : x->index > y->index;
}

static int lower_rank_first(const void *a, const void *b)
{
    const ranked *x = a, *y = b;
    if (x->rank != y->rank) {
        return x->rank < y->rank ? -1 : 1;
    }
    return larger_first(a, b);
}

/* all[] := the weights that are there, in the order in which they are kept; returns how many. */
static size_t rank_weights(const wtl_param *param, ranked *all)
{
    size_t width = param->count / (size_t)param->spec.dims[0], alive = 0;
    for (size_t filter = 0; filter < param->count; filter += width) {
        size_t first = alive;
        for (size_t i = filter; i < filter + width; i++) {
            if (wtl_mask_keeps(param, i)) {
                all[alive++] = (ranked){.magnitude = fabsf(param->value[i]), .index = i};
            }
        }
        qsort(all + first, alive - first, sizeof *all, larger_first);
        for (size_t i = first; i < alive; i++) {
            all[i].rank = (uint32_t)(i - first);
        }
    }
    qsort(all, alive, sizeof *all, lower_rank_first);
    return alive;
}

wtl_status wtl_eap_keep_largest(const wtl_eap_layer *layer, size_t keep, bool apply,
                                double *lost, wtl_error *err)
{
    wtl_param *param = layer->param;
    ranked *all = wtl_alloc(param->count, sizeof *all);
    if (!all) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for ranks", layer->def->name);
    }
    size_t alive = rank_weights(param, all);
    double removed = 0.0, sum = 0.0;
    for (size_t i = 0; i < alive; i++) {
        sum += (double)all[i].magnitude;
        removed += i < keep ? 0.0 : (double)all[i].magnitude;
        if (apply && i >= keep) {
            param->mask[all[i].index] = 0.0f;
        }
    }
    if (apply) {
        wtl_mask_apply(param);
    }
    if (lost) {
        *lost = sum > 0.0 ? removed / sum : 0.0;
    }
    wtl_free(all);
    return WTL_OK;
}
