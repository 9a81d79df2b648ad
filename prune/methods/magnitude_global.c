/* magnitude_global.c - one threshold on |w| for all layers.
 *
 * All weights (blocks, by their norm) stand in one row: the larger first; among equals the
 * earlier layer, then the lower index. The longest beginning of that row that meets the energy
 * goal stays; layers' limits bind where they must. What room is left then, less than the next
 * weight of the row, is topped up.
 *
 * The threshold is found exactly, without sorting: the bits of |w| grow with |w|, so three
 * passes over the weights count 11, 10 and 10 of the 31 bits, and each goes down the counts as
 * far as the goal allows.
 */
#include "methods.h"
#include "wattle/memory.h"

#include <string.h>

enum { PASSES = 3, MOST_DIGITS = 1 << 11 };

static const struct pass {
    int shift;
    uint32_t digits;
} passes[PASSES] = {{20, 1 << 11}, {10, 1 << 10}, {0, 1 << 10}};

typedef struct search {
    const wtl_method_context *c;
    int layers;
    uint32_t prefix; /* bits of the threshold above the pass' digit */
    size_t *above;   /* [layers] weights above the threshold as far as it is known */
    size_t *kept;    /* [layers] the same within limits */
    size_t *counts;  /* [layers][MOST_DIGITS] */
} search;

static uint32_t magnitude_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7fffffffu;
}

static void count_digits_of(const search *s, const struct pass *pass, int layer, size_t *counts)
{
    const float *values = s->c->layers[layer].param->value;
    wtl_blocks blocks = wtl_blocks_of_layer(s->c, layer);
    for (int i = 0; i < wtl_blocks_bands(&blocks); i++) {
        wtl_band band = wtl_blocks_band(&blocks, i);
        for (size_t j = 0; j < blocks.width; j++) {
            float norm = wtl_block_norm(&blocks, band, j, values);
            uint32_t rest = magnitude_bits(norm) >> pass->shift;
            if (rest / pass->digits == s->prefix) {
                counts[rest % pass->digits] += (size_t)band.count;
            }
        }
    }
}

/* counts[layer][digit] := weights of the blocks with that digit behind the prefix. */
static void count_digits(const search *s, const struct pass *pass)
{
    memset(s->counts, 0, (size_t)s->layers * MOST_DIGITS * sizeof *s->counts);
    for (int i = 0; i < s->layers; i++) {
        count_digits_of(s, pass, i, s->counts + (size_t)i * MOST_DIGITS);
    }
}

/* The digit's weights are above the threshold, or (direction -1) are not. */
static void move(search *s, uint32_t digit, int direction)
{
    for (int i = 0; i < s->layers; i++) {
        size_t count = s->counts[(size_t)i * MOST_DIGITS + digit];
        s->above[i] = direction > 0 ? s->above[i] + count : s->above[i] - count;
        s->kept[i] = wtl_kept_within(&s->c->layers[i], s->above[i]);
    }
}

/* The prefix gets the first digit, from above, whose weights do not all fit; false if all do. */
static bool go_down(search *s, const struct pass *pass)
{
    for (uint32_t digit = pass->digits; digit-- > 0;) {
        move(s, digit, 1);
        if (wtl_kept_energy(s->c, s->kept) > s->c->goal_energy) {
            move(s, digit, -1);
            s->prefix = s->prefix * pass->digits + digit;
            return true;
        }
    }
    return false;
}

/* Of the weights that equal the threshold, as many as fit, layer by layer. */
static void share_ties(search *s)
{
    uint32_t digit = s->prefix % passes[PASSES - 1].digits;
    for (int i = 0; i < s->layers; i++) {
        size_t all = s->above[i] + s->counts[(size_t)i * MOST_DIGITS + digit];
        if (wtl_kept_most(s->c, s->kept, i, s->above[i], all) < all) {
            break; /* the row ends here */
        }
    }
}

static void find_kept(search *s)
{
    bool found = true;
    for (int i = 0; i < s->layers; i++) {
        s->kept[i] = wtl_kept_within(&s->c->layers[i], 0);
    }
    for (int p = 0; p < PASSES && found; p++) {
        count_digits(s, &passes[p]);
        found = go_down(s, &passes[p]);
    }
    if (found) {
        share_ties(s);
    }
    wtl_kept_top_up(s->c, s->kept);
}

static wtl_status prune(const wtl_method_context *c, wtl_error *err)
{
    wtl_status status = wtl_goal_check(c, err);
    if (status != WTL_OK) {
        return status;
    }
    search s = {.c = c, .layers = wtl_pricing_count(c->pricing)};
    s.above = wtl_alloc((size_t)s.layers, sizeof *s.above);
    s.kept = wtl_alloc((size_t)s.layers, sizeof *s.kept);
    s.counts = wtl_alloc((size_t)s.layers, MOST_DIGITS * sizeof *s.counts);
    if (!s.above || !s.kept || !s.counts) {
        status = wtl_fail(err, WTL_E_NOMEM, "pruning: out of memory for %d layers", s.layers);
    } else {
        find_kept(&s);
        status = wtl_prune_layers(c, s.kept, wtl_choose_largest, err);
    }
    wtl_free(s.above);
    wtl_free(s.kept);
    wtl_free(s.counts);
    return status;
}

const wtl_method wtl_method_magnitude_global = {
    .name = "magnitude-global",
    .line = "the largest weights of the net, one threshold for all layers",
    .prune = prune,
};
