/* granularity.c - single weights, or blocks of four filters: cutting, counting, choosing. */
#include "wattle/granularity.h"

#include "wattle/mask.h"
#include "wattle/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const wtl_granularity_words[] = {
    [WTL_GRANULARITY_WEIGHT] = "weight", [WTL_GRANULARITY_4X1] = "4x1", NULL};

/* ---- blocks of a parameter ---- */

wtl_blocks wtl_blocks_make(wtl_granularity granularity, int filters, int groups, size_t width)
{
    bool one_each = groups == filters;
    return (wtl_blocks){.filters = filters,
                        .group = one_each ? filters : filters / groups,
                        .height = granularity == WTL_GRANULARITY_4X1 ? 4 : 1,
                        .width = width};
}

wtl_blocks wtl_blocks_of(wtl_granularity granularity, const wtl_net *net,
                         const wtl_param *param)
{
    const wtl_layer_def *layer = &wtl_net_def(net)->layers[param->layer];
    int filters = param->spec.dims[0];
    int groups = layer->kind == WTL_LAYER_CONV ? layer->as.conv.groups : 1;
    return wtl_blocks_make(granularity, filters, groups, param->count / (size_t)filters);
}

float wtl_block_norm(const wtl_blocks *b, wtl_band band, size_t j, const float *values)
{
    const float *w = values + wtl_block_at(b, band, j);
    if (band.count == 1) {
        return fabsf(*w);
    }
    double sum = 0.0;
    for (int f = 0; f < band.count; f++, w += b->width) {
        sum += (double)*w * (double)*w;
    }
    return (float)sqrt(sum);
}

void wtl_block_set(const wtl_blocks *b, wtl_band band, size_t j, float *array, float value)
{
    float *at = array + wtl_block_at(b, band, j);
    for (int f = 0; f < band.count; f++, at += b->width) {
        *at = value;
    }
}

bool wtl_blocks_whole(const wtl_blocks *b, const float *mask)
{
    for (int i = 0; mask && i < wtl_blocks_bands(b); i++) {
        wtl_band band = wtl_blocks_band(b, i);
        const float *first = mask + wtl_block_at(b, band, 0);
        for (size_t at = b->width; at < (size_t)band.count * b->width; at++) {
            if ((first[at] != 0.0f) != (first[at % b->width] != 0.0f)) {
                return false;
            }
        }
    }
    return true;
}

wtl_status wtl_blocks_check(const wtl_param *param, const wtl_blocks *b, wtl_error *err)
{
    return wtl_blocks_whole(b, param->mask)
               ? WTL_OK
               : wtl_fail(err, WTL_E_ARG,
                          "%s: its weights were pruned one by one, so they cannot be pruned in "
                          "4x1 blocks: take the dense network, or the granularity weight",
                          param->name);
}

bool wtl_mask_is_4x1(const float *mask, int filters, size_t per_filter, int groups)
{
    wtl_blocks blocks = wtl_blocks_make(WTL_GRANULARITY_4X1, filters, groups, per_filter);
    return wtl_blocks_whole(&blocks, mask);
}

bool wtl_mask_net_is_4x1(wtl_net *net)
{
    bool pruned = false;
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        if (!wtl_mask_allowed(param) || !param->mask) {
            continue;
        }
        wtl_blocks blocks = wtl_blocks_of(WTL_GRANULARITY_4X1, net, param);
        if (!wtl_blocks_whole(&blocks, param->mask)) {
            return false;
        }
        pruned = pruned || wtl_mask_kept(param) < param->count;
    }
    return pruned;
}

/* ---- what whole blocks add up to ---- */

wtl_block_stock wtl_blocks_kept(const wtl_blocks *b, const float *mask)
{
    wtl_block_stock stock = {{(size_t)b->height, (size_t)(b->group % b->height)}, {0, 0}};
    for (int i = 0; i < wtl_blocks_bands(b); i++) {
        wtl_band band = wtl_blocks_band(b, i);
        const float *first = mask ? mask + wtl_block_at(b, band, 0) : NULL;
        size_t kept = first ? 0 : b->width;
        for (size_t j = 0; first && j < b->width; j++) {
            kept += first[j] != 0.0f;
        }
        stock.count[wtl_blocks_kind(b, band)] += kept;
    }
    return stock;
}

/* With x of the short blocks the whole ones must make up the rest. More whole ones than there
 * are cannot: that is the least x; from there on remainders repeat after a whole block's
 * weights. */
bool wtl_stock_makes(const wtl_block_stock *stock, size_t weights)
{
    size_t whole = stock->weights[0], short_one = stock->weights[1];
    if (whole <= 1) {
        return whole == 0 || weights <= stock->count[0];
    }
    size_t most = whole * stock->count[0];
    if (stock->count[1] == 0) {
        return weights <= most && weights % whole == 0;
    }
    size_t least = weights > most ? (weights - most + short_one - 1) / short_one : 0;
    for (size_t x = least; x < least + whole && x <= stock->count[1]; x++) {
        if (x * short_one <= weights && (weights - x * short_one) % whole == 0) {
            return true;
        }
    }
    return false;
}

bool wtl_stock_makes_with(const wtl_block_stock *stock, int kind, size_t weights)
{
    wtl_block_stock rest = *stock;
    if (rest.count[kind] == 0 || weights < rest.weights[kind]) {
        return false;
    }
    rest.count[kind]--;
    return wtl_stock_makes(&rest, weights - rest.weights[kind]);
}

bool wtl_stock_take(wtl_block_stock *stock, int kind, size_t *left)
{
    bool taken = wtl_stock_makes_with(stock, kind, *left);
    *left -= taken ? stock->weights[kind] : 0;
    stock->count[kind]--;
    return taken;
}

static size_t all_of(const wtl_block_stock *stock)
{
    return stock->weights[0] * stock->count[0] + stock->weights[1] * stock->count[1];
}

size_t wtl_stock_at_most(const wtl_block_stock *stock, size_t weights)
{
    if (stock->weights[0] == 0) {
        return weights;
    }
    size_t nearest = weights < all_of(stock) ? weights : all_of(stock);
    while (!wtl_stock_makes(stock, nearest)) {
        nearest--;
    }
    return nearest;
}

size_t wtl_stock_at_least(const wtl_block_stock *stock, size_t weights)
{
    if (stock->weights[0] == 0) {
        return weights;
    }
    size_t nearest = weights;
    while (nearest < all_of(stock) && !wtl_stock_makes(stock, nearest)) {
        nearest++;
    }
    return nearest < all_of(stock) ? nearest : all_of(stock);
}

/* ---- choosing single weights ---- */

/* All that are not 0 stay, and so many of the zeros, the first ones, that `keep` do. (The
 * choice among all would take pruned weights, zeros too, back.) */
static void drop_zeros(wtl_param *ranked, size_t kept, size_t keep)
{
    for (size_t i = ranked->count; kept > keep; i--) {
        if (ranked->mask[i - 1] != 0.0f && ranked->value[i - 1] == 0.0f) {
            ranked->mask[i - 1] = 0.0f;
            kept--;
        }
    }
}

/* `ranked` has the parameter's mask, and scores as values. */
static wtl_status keep_weights(wtl_param *ranked, size_t kept, size_t keep, wtl_error *err)
{
    size_t scored = 0;
    for (size_t i = 0; i < ranked->count; i++) {
        scored += ranked->value[i] != 0.0f;
    }
    if (keep <= scored) {
        return wtl_mask_keep_top(&ranked, 1, keep, err);
    }
    drop_zeros(ranked, kept, keep);
    return WTL_OK;
}

/* ---- choosing blocks ---- */

static int descending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static uint32_t magnitude_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7fffffffu;
}

/* keys[] := the blocks that are kept, the largest score first; returns how many. */
static size_t rank_blocks(const wtl_param *param, const wtl_blocks *b, const float *score,
                          uint64_t *keys)
{
    size_t alive = 0;
    for (int i = 0; i < wtl_blocks_bands(b); i++) {
        wtl_band band = wtl_blocks_band(b, i);
        for (size_t j = 0; j < b->width; j++) {
            size_t block = (size_t)i * b->width + j;
            if (wtl_mask_keeps(param, wtl_block_at(b, band, j))) {
                float worth = score ? score[block] : wtl_block_norm(b, band, j, param->value);
                keys[alive++] =
                    (uint64_t)magnitude_bits(worth) << 32 | (UINT32_MAX - (uint32_t)block);
            }
        }
    }
    qsort(keys, alive, sizeof *keys, descending);
    return alive;
}

/* In the order of their ranks, every block stays after which the rest can still be made. */
static void keep_ranked(wtl_param *param, const wtl_blocks *b, const uint64_t *keys,
                        size_t alive, size_t keep)
{
    wtl_block_stock stock = wtl_blocks_kept(b, param->mask);
    size_t left = wtl_stock_at_most(&stock, keep);
    for (size_t rank = 0; rank < alive; rank++) {
        size_t block = UINT32_MAX - (uint32_t)keys[rank];
        wtl_band band = wtl_blocks_band(b, (int)(block / b->width));
        if (!wtl_stock_take(&stock, wtl_blocks_kind(b, band), &left)) {
            wtl_block_set(b, band, block % b->width, param->mask, 0.0f);
        }
    }
}

static wtl_status keep_blocks(wtl_param *param, const wtl_blocks *b, const float *score,
                              size_t keep, wtl_error *err)
{
    size_t count = wtl_blocks_count(b);
    if (count > UINT32_MAX) {
        return wtl_fail(err, WTL_E_RANGE, "%s: %zu blocks, at most 2^32-1 can be ranked",
                        param->name, count);
    }
    uint64_t *keys = wtl_alloc(count, sizeof *keys);
    if (!keys) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for ranks", param->name);
    }
    wtl_status status = wtl_mask_make(param, err);
    if (status == WTL_OK) {
        keep_ranked(param, b, keys, rank_blocks(param, b, score, keys), keep);
    }
    wtl_free(keys);
    return status;
}

wtl_status wtl_blocks_keep(wtl_param *param, const wtl_blocks *b, float *score, size_t keep,
                           wtl_error *err)
{
    size_t kept = wtl_mask_kept(param);
    if (keep >= kept) {
        return WTL_OK;
    }
    wtl_status status;
    if (b->height > 1) {
        status = keep_blocks(param, b, score, keep, err);
    } else { /* many: found by their threshold, not sorted */
        status = wtl_mask_make(param, err);
        wtl_param ranked = *param; /* shares the mask */
        ranked.value = score ? score : param->value;
        status = status == WTL_OK ? keep_weights(&ranked, kept, keep, err) : status;
    }
    wtl_mask_apply(param);
    return status;
}
