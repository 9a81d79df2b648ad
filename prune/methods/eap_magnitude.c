/* eap_magnitude.c - a deconv layer scatters its inputs, so that its outputs are no product of
 * patches and a filter, and there are no moments of it: magnitude decides within a filter.
 */
#include "eap.h"
#include "wattle/memory.h"

#include <math.h>
#include <stdlib.h>

/* A weight of a filter; in 4x1 blocks, a block of a band. */
typedef struct ranked {
    float magnitude;
    uint32_t rank; /* within its filter, largest first */
    size_t index;  /* of the block */
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

/* all[] := the blocks that are there, in the order in which they are kept; returns how many. */
static size_t rank_blocks(const wtl_param *param, const wtl_blocks *b, ranked *all)
{
    size_t alive = 0;
    for (int i = 0; i < wtl_blocks_bands(b); i++) {
        wtl_band band = wtl_blocks_band(b, i);
        size_t first = alive;
        for (size_t j = 0; j < b->width; j++) {
            if (wtl_mask_keeps(param, wtl_block_at(b, band, j))) {
                all[alive++] = (ranked){.magnitude = wtl_block_norm(b, band, j, param->value),
                                        .index = (size_t)i * b->width + j};
            }
        }
        qsort(all + first, alive - first, sizeof *all, larger_first);
        for (size_t at = first; at < alive; at++) {
            all[at].rank = (uint32_t)(at - first);
        }
    }
    qsort(all, alive, sizeof *all, lower_rank_first);
    return alive;
}

wtl_status wtl_eap_keep_largest(const wtl_eap_layer *layer, size_t keep, bool apply,
                                double *lost, wtl_error *err)
{
    wtl_param *param = layer->param;
    const wtl_blocks *b = &layer->blocks;
    ranked *all = wtl_alloc(wtl_blocks_count(b), sizeof *all);
    if (!all) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for ranks", layer->def->name);
    }
    size_t alive = rank_blocks(param, b, all);
    wtl_block_stock stock = wtl_blocks_kept(b, param->mask);
    double removed = 0.0, sum = 0.0;
    for (size_t i = 0; i < alive; i++) {
        wtl_band band = wtl_blocks_band(b, (int)(all[i].index / b->width));
        bool stays = wtl_stock_take(&stock, wtl_blocks_kind(b, band), &keep);
        sum += (double)all[i].magnitude;
        removed += stays ? 0.0 : (double)all[i].magnitude;
        if (apply && !stays) {
            wtl_block_set(b, band, all[i].index % b->width, param->mask, 0.0f);
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
