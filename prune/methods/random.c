/* random.c - the same density in every layer, any weights of each: the baseline that says what
 * a choice is worth.
 *
 * A weight's rank is drawn from (seed, layer, index), in no round anew, and the highest ranks
 * stay. So rounds are nested, and how many there are does not change what the last one keeps.
 */
#include "methods.h"
#include "wattle/memory.h"

#include <string.h>

/* A float whose bits are equally likely to be those of any positive finite number. */
static float draw_rank(wtl_rng *rng)
{
    enum { FINITE = 0x7f7fffff };
    uint32_t bits = 1 + wtl_rng_below(rng, FINITE);
    float rank;
    memcpy(&rank, &bits, sizeof rank);
    return rank;
}

static wtl_status choose(const wtl_method_context *c, int i, size_t keep, wtl_error *err)
{
    wtl_param *param = c->layers[i].param;
    if (keep >= wtl_mask_kept(param)) {
        return WTL_OK;
    }
    float *ranks = wtl_alloc(param->count, sizeof *ranks);
    if (!ranks) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for random ranks", param->name);
    }
    wtl_rng rng = wtl_rng_make(c->seed, WTL_RNG_PRUNE, (uint64_t)param->layer, 0);
    for (size_t k = 0; k < param->count; k++) {
        float rank = draw_rank(&rng);
        ranks[k] = wtl_mask_keeps(param, k) ? rank : 0.0f;
    }
    wtl_status status = wtl_mask_make(param, err);
    if (status == WTL_OK) {
        wtl_param ranked = *param; /* shares the mask */
        ranked.value = ranks;
        status = wtl_mask_keep_top(&(wtl_param *){&ranked}, 1, keep, err);
        wtl_mask_apply(param);
    }
    wtl_free(ranks);
    return status;
}

static wtl_status prune(const wtl_method_context *c, wtl_error *err)
{
    return wtl_prune_one_density(c, choose, err);
}

const wtl_method wtl_method_random = {
    .name = "random",
    .line = "any weights of each layer, one density for all",
    .prune = prune,
};
