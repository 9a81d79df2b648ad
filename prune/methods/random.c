/* random.c - the same density in every layer, any weights (blocks) of each: the baseline that
 * says what a choice is worth.
 *
 * A block's rank is drawn from (seed, layer, index), in no round anew, and the highest ranks
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

static void draw_ranks(const wtl_param *param, const wtl_blocks *blocks, uint64_t seed,
                       float *ranks)
{
    wtl_rng rng = wtl_rng_make(seed, WTL_RNG_PRUNE, (uint64_t)param->layer, 0);
    for (int i = 0; i < wtl_blocks_bands(blocks); i++) {
        wtl_band band = wtl_blocks_band(blocks, i);
        for (size_t j = 0; j < blocks->width; j++) {
            float rank = draw_rank(&rng);
            bool keeps = wtl_mask_keeps(param, wtl_block_at(blocks, band, j));
            *ranks++ = keeps ? rank : 0.0f;
        }
    }
}

static wtl_status choose(const wtl_method_context *c, int i, size_t keep, wtl_error *err)
{
    const wtl_param *param = c->layers[i].param;
    wtl_blocks blocks = wtl_blocks_of_layer(c, i);
    float *ranks = wtl_alloc(wtl_blocks_count(&blocks), sizeof *ranks);
    if (!ranks) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for random ranks", param->name);
    }
    draw_ranks(param, &blocks, c->seed, ranks);
    wtl_status status = wtl_keep_best(c, i, ranks, keep, err);
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
