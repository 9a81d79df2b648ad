/* mask_choice.c - which weights stay: the largest, or any.
 *
 * The bits of |w| grow with |w|, so the k-th largest magnitude is found exactly by four
 * passes that count bytes (radix selection): linear time, no sorting, no copies.
 */
#include "wattle/mask.h"

#include <stdint.h>
#include <string.h>

/* Parameters seen as one long row of weights: those from `begin`, `count` of each. */
typedef struct span {
    wtl_param *const *params;
    int param_count;
    size_t begin, count; /* of the only parameter; count 0: all of every parameter */
} span;

static size_t begin_of(const span *s)
{
    return s->count ? s->begin : 0;
}

static size_t end_of(const span *s, const wtl_param *param)
{
    return s->count ? s->begin + s->count : param->count;
}

static uint32_t magnitude_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7fffffffu;
}

/* counts[b] := weights whose magnitude has the byte b at `shift` and `prefix` above it. */
static void count_bytes(const span *s, uint32_t prefix, int shift, size_t counts[256])
{
    memset(counts, 0, 256 * sizeof *counts);
    for (int p = 0; p < s->param_count; p++) {
        const wtl_param *param = s->params[p];
        size_t end = end_of(s, param);
        for (size_t i = begin_of(s); i < end; i++) {
            uint32_t bits = magnitude_bits(param->value[i]);
            if ((uint64_t)bits >> (shift + 8) == prefix) {
                counts[bits >> shift & 255]++;
            }
        }
    }
}

/* Bits of the smallest magnitude among the `keep` largest; *ties := how many of that very
 * magnitude are among them. */
static uint32_t threshold_of(const span *s, size_t keep, size_t *ties)
{
    uint32_t prefix = 0;
    size_t left = keep;
    for (int shift = 24; shift >= 0; shift -= 8) {
        size_t counts[256];
        count_bytes(s, prefix, shift, counts);
        uint32_t byte = 255;
        while (counts[byte] < left) {
            left -= counts[byte];
            byte--;
        }
        prefix = prefix << 8 | byte;
    }
    *ties = left;
    return prefix;
}

static void keep_top(const span *s, size_t keep)
{
    size_t ties = 0;
    uint32_t threshold = keep > 0 ? threshold_of(s, keep, &ties) : UINT32_MAX;
    for (int p = 0; p < s->param_count; p++) {
        wtl_param *param = s->params[p];
        size_t end = end_of(s, param);
        for (size_t i = begin_of(s); i < end; i++) {
            uint32_t bits = magnitude_bits(param->value[i]);
            bool tie = bits == threshold && ties > 0;
            ties -= tie;
            param->mask[i] = bits > threshold || tie ? 1.0f : 0.0f;
        }
    }
}

/* Every parameter gets a mask, or, on failure, none gets one that had none. */
static wtl_status make_masks(wtl_param *const *params, int count, size_t keep, size_t of,
                             wtl_error *err)
{
    if (keep > of) {
        return wtl_fail(err, WTL_E_RANGE, "%s: %zu weights are to be kept, there are %zu",
                        count == 1 ? params[0]->name : "masks", keep, of);
    }
    wtl_status status = WTL_OK;
    int made = 0;
    for (; made < count && status == WTL_OK; made++) {
        bool had = params[made]->mask != NULL;
        status = wtl_mask_make(params[made], err);
        if (status == WTL_OK && !had) {
            params[made]->mask[0] = 2.0f; /* new: known again if a later one fails */
        }
    }
    for (int i = 0; status != WTL_OK && i < made; i++) {
        if (params[i]->mask && params[i]->mask[0] == 2.0f) {
            wtl_mask_free(params[i]);
        }
    }
    return status;
}

static size_t total_of(wtl_param *const *params, int count)
{
    size_t total = 0;
    for (int i = 0; i < count; i++) {
        total += params[i]->count;
    }
    return total;
}

static void apply_all(wtl_param *const *params, int count)
{
    for (int i = 0; i < count; i++) {
        wtl_mask_apply(params[i]);
    }
}

wtl_status wtl_mask_keep_top(wtl_param *const *params, int count, size_t keep, wtl_error *err)
{
    wtl_status status = make_masks(params, count, keep, total_of(params, count), err);
    if (status == WTL_OK) {
        keep_top(&(span){.params = params, .param_count = count}, keep);
        apply_all(params, count);
    }
    return status;
}

wtl_status wtl_mask_keep_top_filters(wtl_param *param, size_t keep, wtl_error *err)
{
    size_t filters = param->spec.rank > 0 ? (size_t)param->spec.dims[0] : 1;
    size_t each = param->count / filters;
    wtl_status status = make_masks(&param, 1, keep, each, err);
    if (status != WTL_OK) {
        return status;
    }
    for (size_t k = 0; k < filters; k++) {
        keep_top(&(span){&param, 1, k * each, each}, keep);
    }
    wtl_mask_apply(param);
    return WTL_OK;
}

/* Selection sampling: weight i stays with probability (still wanted) / (still to come). */
wtl_status wtl_mask_keep_random(wtl_param *const *params, int count, size_t keep, wtl_rng *rng,
                                wtl_error *err)
{
    size_t left = total_of(params, count), wanted = keep;
    if (left > UINT32_MAX) {
        return wtl_fail(err, WTL_E_RANGE, "masks: %zu weights, random ones have at most 2^32-1",
                        left);
    }
    wtl_status status = make_masks(params, count, keep, left, err);
    if (status != WTL_OK) {
        return status;
    }
    for (int p = 0; p < count; p++) {
        for (size_t i = 0; i < params[p]->count; i++, left--) {
            bool stays = wtl_rng_below(rng, (uint32_t)left) < wanted;
            wanted -= stays;
            params[p]->mask[i] = stays ? 1.0f : 0.0f;
        }
    }
    apply_all(params, count);
    return WTL_OK;
}
