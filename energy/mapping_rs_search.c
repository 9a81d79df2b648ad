/* mapping_rs_search.c - the row-stationary mapping of least energy for dense data.
 *
 * Exhaustive but for what cannot be better:
 *
 *   - Costs see a parameter x of a size X only through ceil(X/x), so the smallest x of each
 *     ceil is enough: it needs the least room. ceil(X/(x*y)) = ceil(ceil(X/x)/y), so this
 *     holds for q and then r, and for p and then t.
 *   - e: within one number of strips, only those that fetch fewer rows than each smaller e.
 *   - m: the largest that fits, then the smallest of the same ceil(M/m).
 *   - t: the largest that fits, unless weights share the buffer.
 *   - (n, e), (q, r) and p are left out when a bound on their cost is above the best so far.
 *     Bounds take the other parameters at their best, each alone.
 */
#include "mapping_rs.h"

#include <math.h>

typedef struct search {
    const wtl_hardware *hw;
    wtl_rs_shape shape;
    double least_psums; /* over all (q, r) */
    bool found;
    wtl_rs_mapping best;
    double best_cost;
} search;

/* The smallest y with ceil(size/y) = ceil(size/x). */
static int least_like(int size, int x)
{
    return (int)wtl_ceil_div(size, wtl_ceil_div(size, x));
}

static int floor_to(double value, int most)
{
    return value >= most ? most : (int)floor(value);
}

static double cost_of(const search *s, const wtl_rs_terms *terms, wtl_data_type type)
{
    wtl_rs_words w;
    wtl_rs_words_of(&w, s->hw, &s->shape, terms, type);
    double cost = 0.0;
    for (int level = 0; level < WTL_LEVEL_MAC; level++) {
        const double *energy = s->hw->energy[level][type];
        cost += w.words[level][WTL_READ] * energy[WTL_READ] +
                w.words[level][WTL_WRITE] * energy[WTL_WRITE];
    }
    return cost * s->shape.bits[type] / s->hw->word_bits;
}

/* Rounding must not hide an equal or a better mapping behind a bound. */
static bool hopeless(const search *s, double bound)
{
    return s->found && bound > s->best_cost * (1.0 + 1e-9);
}

static bool comes_first(const wtl_rs_mapping *a, const wtl_rs_mapping *b)
{
    const int x[] = {a->m, a->n, a->e, a->p, a->q, a->r, a->t};
    const int y[] = {b->m, b->n, b->e, b->p, b->q, b->r, b->t};
    for (int i = 0; i < 7; i++) {
        if (x[i] != y[i]) {
            return x[i] < y[i];
        }
    }
    return false;
}

static void offer(search *s, const wtl_rs_mapping *map, double cost)
{
    if (!s->found || cost < s->best_cost ||
        (cost == s->best_cost && comes_first(map, &s->best))) {
        s->found = true;
        s->best = *map;
        s->best_cost = cost;
    }
}

/* ---- what fits ---- */

static int most_channels_in_pe(const search *s)
{
    const wtl_hardware *hw = s->hw;
    const wtl_rs_shape *shape = &s->shape;
    double most;
    if (hw->rf_pool_words > 0) {
        most = (hw->rf_pool_words - 1.0) / ((double)shape->kernel_w + shape->span_w);
    } else {
        most = fmin(floor((double)hw->rf_words[WTL_DATA_IFMAP] / shape->span_w),
                    floor((double)hw->rf_words[WTL_DATA_WEIGHT] / shape->kernel_w));
    }
    return floor_to(most, shape->channels);
}

static int most_filters_in_pe(const search *s, int q)
{
    const wtl_hardware *hw = s->hw;
    const wtl_rs_shape *shape = &s->shape;
    double weights = (double)q * shape->kernel_w;
    double most;
    if (hw->rf_pool_words > 0) {
        most = (hw->rf_pool_words - (double)q * shape->span_w) / (weights + 1.0);
    } else {
        most = fmin(hw->rf_words[WTL_DATA_WEIGHT] / weights, hw->rf_words[WTL_DATA_OFMAP]);
    }
    return floor_to(most, shape->filters);
}

/* Ofmap channels whose psums fit beside the ifmap and `weights` words. */
static int most_psum_channels(const search *s, const wtl_rs_mapping *map, double weights)
{
    const wtl_rs_shape *shape = &s->shape;
    double ifmap =
        (double)map->n * map->q * map->r * shape->padded_w * wtl_rs_strip_rows(shape, map->e);
    double room = s->hw->buffer_words - ifmap - weights;
    return room < 0.0
               ? 0
               : floor_to(room / ((double)map->n * map->e * shape->out_w), shape->filters);
}

/* ---- the loops ---- */

/* Filters: map holds n, e, q, r. `rest` is the cost of weights and psums. */
static void search_filters(search *s, wtl_rs_mapping map, wtl_rs_terms *terms, double rest)
{
    const wtl_rs_shape *shape = &s->shape;
    bool bypass = s->hw->weights_bypass_buffer;
    int most_sets = wtl_rs_sets(s->hw, shape, map.e) / map.r;
    int most_m = most_psum_channels(s, &map, 0.0);
    int most_p = most_filters_in_pe(s, map.q);
    double pass_weights = (double)map.q * map.r * shape->kernel_h * shape->kernel_w;
    if (most_p > most_m) {
        most_p = most_m;
    }
    if (most_p < 1) {
        return;
    }
    wtl_rs_terms bound = *terms;
    wtl_rs_filter_terms(&bound, shape, most_m, most_p, most_sets);
    for (int p = least_like(shape->filters, most_p); p >= 1;
         p = p > 1 ? least_like(shape->filters, p - 1) : 0) {
        int turns = (int)wtl_ceil_div(shape->filters, p);
        bound.filter_turns = turns;
        if (hopeless(s, rest + cost_of(s, &bound, WTL_DATA_IFMAP))) {
            return; /* a smaller p delivers more often */
        }
        int t = most_sets < most_m / p ? most_sets : most_m / p;
        for (t = t < turns ? t : turns; t >= 1; t--) {
            t = least_like(turns, t);
            double weights = bypass ? 0.0 : pass_weights * p * t;
            int m = most_psum_channels(s, &map, weights);
            if (m < p * t) {
                continue;
            }
            wtl_rs_filter_terms(terms, shape, m, p, t);
            map.m = least_like(shape->filters, m);
            map.m = map.m > p * t ? map.m : p * t;
            map.p = p;
            map.t = t;
            offer(s, &map, rest + cost_of(s, terms, WTL_DATA_IFMAP));
            if (bypass) {
                break; /* fewer sets over filters only pass the ifmap more often */
            }
        }
    }
}

static bool fewest_filter_terms(const search *s, wtl_rs_terms *terms, const wtl_rs_mapping *map)
{
    int sets = wtl_rs_sets(s->hw, &s->shape, map->e) / map->r;
    int m = most_psum_channels(s, map, 0.0);
    int p = most_filters_in_pe(s, map->q);
    if (sets < 1 || m < 1 || p < 1) {
        return false;
    }
    wtl_rs_filter_terms(terms, &s->shape, m, p, sets);
    return true;
}

static void search_channels(search *s, wtl_rs_mapping map, wtl_rs_terms *terms)
{
    int channels = s->shape.channels, sets = wtl_rs_sets(s->hw, &s->shape, map.e);
    for (int q = most_channels_in_pe(s); q >= 1; q--) {
        q = map.q = least_like(channels, q);
        int turns = (int)wtl_ceil_div(channels, q), most_r = channels / q;
        for (int r = sets < most_r ? sets : most_r; r >= 1; r--) {
            r = map.r = least_like(turns, r);
            wtl_rs_channel_terms(terms, s->hw, &s->shape, q, r);
            if (!fewest_filter_terms(s, terms, &map)) {
                continue;
            }
            double rest =
                cost_of(s, terms, WTL_DATA_WEIGHT) + cost_of(s, terms, WTL_DATA_OFMAP);
            if (!hopeless(s, rest + cost_of(s, terms, WTL_DATA_IFMAP))) {
                search_filters(s, map, terms, rest);
            }
        }
    }
}

/* A bound on all mappings of (n, e), or a negative number when there are none. */
static double image_bound(const search *s, wtl_rs_terms *terms, int n, int e)
{
    wtl_rs_mapping map = {.n = n, .e = e, .q = 1, .r = 1};
    wtl_rs_image_terms(terms, s->hw, &s->shape, n, e);
    wtl_rs_channel_terms(terms, s->hw, &s->shape, 1, 1);
    if (!fewest_filter_terms(s, terms, &map)) {
        return -1.0;
    }
    return cost_of(s, terms, WTL_DATA_IFMAP) + cost_of(s, terms, WTL_DATA_WEIGHT) +
           s->least_psums;
}

typedef struct image_choice {
    int n, e;
    double bound;
} image_choice;

/* Go through the (n, e) that can be best. With `choice` only find the least bound. */
static void search_images(search *s, image_choice *choice)
{
    int images = s->shape.images, rows = s->shape.out_h, most = s->hw->most_images;
    for (int n = most > 0 && most < images ? most : images; n >= 1; n--) {
        n = least_like(images, n);
        double strips = 0.0, least_dram = 0.0, least_buffer = 0.0;
        for (int e = 1; e <= rows && wtl_rs_sets(s->hw, &s->shape, e) >= 1; e++) {
            wtl_rs_terms terms;
            double bound = image_bound(s, &terms, n, e);
            bool beaten = terms.strips == strips && terms.dram_values >= least_dram &&
                          terms.buffer_rows >= least_buffer;
            if (bound < 0.0 || beaten || hopeless(s, bound)) {
                continue;
            }
            if (terms.strips != strips) {
                strips = terms.strips;
                least_dram = terms.dram_values;
                least_buffer = terms.buffer_rows;
            }
            least_dram = fmin(least_dram, terms.dram_values);
            least_buffer = fmin(least_buffer, terms.buffer_rows);
            if (!choice) {
                search_channels(s, (wtl_rs_mapping){.n = n, .e = e}, &terms);
            } else if (choice->n == 0 || bound < choice->bound) {
                *choice = (image_choice){n, e, bound};
            }
        }
    }
}

static double least_psum_cost(const search *s)
{
    int channels = s->shape.channels, sets = wtl_rs_sets(s->hw, &s->shape, 1);
    double least = INFINITY;
    wtl_rs_terms terms = {0};
    for (int q = most_channels_in_pe(s); q >= 1; q--) {
        q = least_like(channels, q);
        int turns = (int)wtl_ceil_div(channels, q), most_r = channels / q;
        for (int r = sets < most_r ? sets : most_r; r >= 1; r--) {
            r = least_like(turns, r);
            wtl_rs_channel_terms(&terms, s->hw, &s->shape, q, r);
            least = fmin(least, cost_of(s, &terms, WTL_DATA_OFMAP));
        }
    }
    return least;
}

wtl_status wtl_rs_search(wtl_rs_mapping *out, const wtl_hardware *hw,
                         const wtl_work_layer *layer, wtl_error *err)
{
    /* The mapping of ones needs least of everything: where it does not fit, none does. */
    const wtl_rs_mapping ones = {1, 1, 1, 1, 1, 1, 1};
    wtl_status status = wtl_rs_check(hw, layer, &ones, err);
    if (status != WTL_OK) {
        return status;
    }
    search s = {.hw = hw, .shape = wtl_rs_shape_of(hw, layer)};
    s.least_psums = least_psum_cost(&s);
    /* A good mapping first, so that the bounds bite. */
    image_choice choice = {0};
    search_images(&s, &choice);
    wtl_rs_terms terms;
    wtl_rs_image_terms(&terms, hw, &s.shape, choice.n, choice.e);
    search_channels(&s, (wtl_rs_mapping){.n = choice.n, .e = choice.e}, &terms);
    search_images(&s, NULL);
    *out = s.best;
    return WTL_OK;
}
