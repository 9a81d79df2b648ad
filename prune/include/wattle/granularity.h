/* granularity.h - which weights go and stay together.
 *
 * A parameter is [K, width]: K filters (rows, see wattle/mask.h) of `width` weights. It is cut
 * into bands of consecutive filters and each band into blocks: block (band, j) is weight j of
 * every filter of the band. A mask keeps a block whole or not at all.
 *
 *   weight  a band is one filter, a block one weight
 *   4x1     a band is four filters, k = 4i ... 4i+3, that share one pattern. Bands do not cross
 *           the groups of a convolution; where a group's filters are no multiple of four, its
 *           last band has what is left, 1 to 3. A layer of one filter a group (depthwise, or a
 *           conv that is one) counts as one group: four consecutive filters share R x S.
 *
 * Blocks are numbered band by band: band * width + j. They count by the weights they have, so a
 * number of weights is not always one that whole blocks add up to: wtl_block_stock says which
 * are.
 */
#ifndef WATTLE_GRANULARITY_H
#define WATTLE_GRANULARITY_H

#include "wattle/net.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum wtl_granularity { WTL_GRANULARITY_WEIGHT, WTL_GRANULARITY_4X1 } wtl_granularity;

/* The granularities' names by their value, ended by NULL: "weight", "4x1". */
WTL_API extern const char *const wtl_granularity_words[];

/* ---- blocks of a parameter ---- */

typedef struct wtl_blocks {
    int filters;  /* K */
    int group;    /* filters of a group */
    int height;   /* filters of a whole band */
    size_t width; /* weights of a filter */
} wtl_blocks;

WTL_API wtl_blocks wtl_blocks_make(wtl_granularity granularity, int filters, int groups,
                                   size_t width);
/* Of a prunable parameter of `net`, by the groups of its layer. */
WTL_API wtl_blocks wtl_blocks_of(wtl_granularity granularity, const wtl_net *net,
                                 const wtl_param *param);

typedef struct wtl_band {
    int first, count; /* filters */
} wtl_band;

static inline int wtl_blocks_bands(const wtl_blocks *b)
{
    return b->filters / b->group * ((b->group + b->height - 1) / b->height);
}

static inline wtl_band wtl_blocks_band(const wtl_blocks *b, int band)
{
    int each = (b->group + b->height - 1) / b->height, at = band % each * b->height;
    wtl_band found = {band / each * b->group + at,
                      b->group - at < b->height ? b->group - at : b->height};
    return found;
}

static inline size_t wtl_blocks_count(const wtl_blocks *b)
{
    return (size_t)wtl_blocks_bands(b) * b->width;
}

/* The first weight of block (band, j); the others are `width` apart. */
static inline size_t wtl_block_at(const wtl_blocks *b, wtl_band band, size_t j)
{
    return (size_t)band.first * b->width + j;
}

/* How much a block is worth by magnitude: the l2 norm of its weights; |w| of a single one. */
WTL_API float wtl_block_norm(const wtl_blocks *b, wtl_band band, size_t j, const float *values);

/* array[i] := value for the weights i of block (band, j). */
WTL_API void wtl_block_set(const wtl_blocks *b, wtl_band band, size_t j, float *array,
                           float value);

/* True if `mask` (NULL: all ones) keeps every block whole or not at all. */
WTL_API bool wtl_blocks_whole(const wtl_blocks *b, const float *mask);

/* ---- what whole blocks add up to ---- */

/* Blocks by their weights: whole ones [0], those of a group's last band [1]. All zero: of any
 * number of single weights. */
typedef struct wtl_block_stock {
    size_t weights[2]; /* of one */
    size_t count[2];
} wtl_block_stock;

/* The blocks that `mask` (NULL: all ones; of whole blocks) keeps. */
WTL_API wtl_block_stock wtl_blocks_kept(const wtl_blocks *b, const float *mask);

/* The index in a stock of the blocks of a band. */
static inline int wtl_blocks_kind(const wtl_blocks *b, wtl_band band)
{
    return band.count < b->height;
}

/* Whether some of the blocks have `weights` weights together. */
WTL_API bool wtl_stock_makes(const wtl_block_stock *stock, size_t weights);

/* The same of `weights` less those of one block of that kind, which is taken. */
WTL_API bool wtl_stock_makes_with(const wtl_block_stock *stock, int kind, size_t weights);

/* A block of that kind is looked at and leaves the stock: true if it is taken, and *left less its
 * weights, as what is left after it can still be made of the stock. */
WTL_API bool wtl_stock_take(wtl_block_stock *stock, int kind, size_t *left);

/* The nearest number that the blocks make: at most `weights`; at least `weights`, or all. */
WTL_API size_t wtl_stock_at_most(const wtl_block_stock *stock, size_t weights);
WTL_API size_t wtl_stock_at_least(const wtl_block_stock *stock, size_t weights);

/* ---- choosing ---- */

/* Of the blocks that are kept, those of the largest score stay, of as many weights as `keep`
 * allows; where the last few must add up to it, the largest that do. Among equal scores the
 * lower block. `score` [blocks], which is overwritten, is not negative, and 0 where a block is
 * pruned; NULL: their norms. Where nothing is to go, nothing happens; else the parameter has a mask
 * afterwards, and it is applied. The mask there is must be of whole blocks.
 *   WTL_E_ARG    the parameter is not prunable
 *   WTL_E_RANGE  2^32 blocks or more, of several weights
 *   WTL_E_NOMEM  the mask is as it was */
WTL_API wtl_status wtl_blocks_keep(wtl_param *param, const wtl_blocks *b, float *score,
                                   size_t keep, wtl_error *err) WTL_MUST_CHECK;

/* WTL_E_ARG, with the parameter's name, if its mask is not of whole blocks. */
WTL_API wtl_status wtl_blocks_check(const wtl_param *param, const wtl_blocks *b,
                                    wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
