/* mapping_rs.c - what a row-stationary mapping moves, and whether it fits.
 *
 * Letters as in the Eyeriss papers, per group: N images, C channels, M filters, R x S filter,
 * U stride, E x F ofmap, W width of the ifmap; strips = ceil(E/e), h = U(e-1)+R rows of the
 * ifmap behind a strip, k = ceil(C/(q*r)) accumulation passes. Words of the whole batch, times
 * the groups (ISCA 2016 section VI and its authors' evaluation; JSSC 2017 section III):
 *
 *   weights  DRAM   M C R S ceil(N/n) strips       array  M C R S ceil(N/n) E
 *            RF     N M C R S E F
 *   ifmap    DRAM   N C W h strips ceil(M/m), padding not fetched
 *            buffer N C W h strips ceil(M/(p t))   array  N C W E R ceil(M/p)
 *            RF     N M C R S E F
 *   psums    DRAM   N M E F                        buffer 2 N M E F k
 *            array  N M E F (R ceil(C/q) - k)      RF     2 N M E F (C R S - R ceil(C/q))
 *
 * A transfer between two levels is charged once, at the dearer one: filling the buffer from
 * DRAM and a scratchpad from the buffer is free.
 *
 * WTL_COUNT_ISCA16 differs as the authors' own evaluation does: the ifmap's halo is a real
 * factor (E/H)(h/e), padding is fetched, psums leave the buffer once a pass less, and a hop
 * between PEs is weighed twice.
 *
 * WTL_COUNT_CVPR17 is inferred from four rows that the tool's authors published, b bits:
 *
 *   all      channels are filled up to whole passes: C' = k q r in place of C
 *   psums    buffer 2 k; array k R r + k, which is hops plus in and out; RF 2 a MAC
 *   weights  exact on the two 1x1 rows: array and DRAM compressed; each delivery fills
 *            a scratchpad with 1 + 1/b words; each MAC, skipped or not, reads a presence bit
 *   ifmap    exact on the two 1x1 rows; what it means is a guess: a DRAM fetch is written to
 *            the buffer and read back compressed, each pass reads 1 + 1/b words a value from
 *            the buffer, deliveries, fills and presence bits as for weights. The halo is taken
 *            as in ISCA16 without padding; the published rows with a halo are not reproduced.
 */
#include "mapping_rs.h"

#include <limits.h>
#include <math.h>
#include <string.h>

/* ---- the shape ---- */

static bool kernel_too_large(const wtl_hardware *hw, const wtl_rs_shape *s)
{
    if (wtl_rs_sets(hw, s, 1) < 1) {
        return true;
    }
    if (hw->rf_pool_words > 0) {
        return (double)s->kernel_w + s->span_w + 1.0 > hw->rf_pool_words;
    }
    return s->kernel_w > hw->rf_words[WTL_DATA_WEIGHT] ||
           s->span_w > hw->rf_words[WTL_DATA_IFMAP];
}

wtl_rs_shape wtl_rs_shape_of(const wtl_hardware *hw, const wtl_work_layer *l)
{
    int groups = wtl_work_groups(l);
    wtl_rs_shape s = {
        .images = l->ifmap.count,
        .channels = l->filter.channels,
        .filters = l->filter.count / groups,
        .groups = groups,
        .kernel_h = l->filter.h,
        .kernel_w = l->filter.w,
        .span_h = (l->filter.h - 1) * l->dilation[0] + 1,
        .span_w = (l->filter.w - 1) * l->dilation[1] + 1,
        .out_h = l->ofmap.h,
        .out_w = l->ofmap.w,
        .stride_h = l->stride[0],
        .in_h = l->ifmap.h,
        .in_w = l->ifmap.w,
        .pad_top = l->pad[0],
        .padded_h = l->ifmap.h + l->pad[0] + l->pad[1],
        .padded_w = l->ifmap.w + l->pad[2] + l->pad[3],
        .bits = {l->ifmap.bits, l->ofmap.bits, l->filter.bits},
    };
    double values = (double)s.channels * s.kernel_h * s.kernel_w;
    bool dense = s.kernel_h == s.padded_h && s.kernel_w == s.padded_w && s.in_h == s.padded_h &&
                 s.in_w == s.padded_w && values < INT_MAX;
    if (dense && kernel_too_large(hw, &s)) {
        s.channels = (int)values;
        s.kernel_h = s.kernel_w = s.span_h = s.span_w = 1;
        s.in_h = s.in_w = s.padded_h = s.padded_w = 1;
    }
    return s;
}

int wtl_rs_sets(const wtl_hardware *hw, const wtl_rs_shape *s, int e)
{
    if (!hw->grid) { /* only their number counts */
        double pes = (double)hw->rows * hw->columns;
        return (int)(pes / ((double)s->kernel_h * e));
    }
    if (e <= hw->columns) {
        return (hw->rows / s->kernel_h) * (hw->columns / e);
    }
    /* A set wider than the array is cut into segments that lie above each other. */
    return (hw->rows / s->kernel_h) / (int)wtl_ceil_div(e, hw->columns);
}

int wtl_rs_strip_rows(const wtl_rs_shape *s, int e)
{
    return s->stride_h * (e - 1) + s->span_h;
}

/* ---- terms ---- */

/* Rows of the ifmap that the strips fetch, padding and what lies past the map left out. */
static double fetched_rows(const wtl_rs_shape *s, int e)
{
    double rows = 0.0;
    for (int y = 0; y < s->out_h; y += e) {
        int here = s->out_h - y < e ? s->out_h - y : e;
        int begin = y * s->stride_h - s->pad_top;
        int end = begin + wtl_rs_strip_rows(s, here);
        begin = begin > 0 ? begin : 0;
        end = end < s->in_h ? end : s->in_h;
        rows += end > begin ? end - begin : 0;
    }
    return rows;
}

void wtl_rs_image_terms(wtl_rs_terms *terms, const wtl_hardware *hw, const wtl_rs_shape *s,
                        int n, int e)
{
    terms->image_passes = (double)wtl_ceil_div(s->images, n);
    terms->strips = (double)wtl_ceil_div(s->out_h, e);
    double h = wtl_rs_strip_rows(s, e);
    switch (hw->accounting) {
    case WTL_COUNT_ROWS:
        terms->buffer_rows = h * terms->strips;
        terms->dram_values = fetched_rows(s, e) * s->in_w;
        break;
    case WTL_COUNT_ISCA16:
        terms->buffer_rows = s->out_h * h / e;
        terms->dram_values = terms->buffer_rows * s->padded_w;
        break;
    case WTL_COUNT_CVPR17:
        terms->buffer_rows = (double)s->in_h / s->padded_h * s->out_h * h / e;
        terms->dram_values = terms->buffer_rows * s->in_w;
        break;
    }
}

void wtl_rs_channel_terms(wtl_rs_terms *terms, const wtl_hardware *hw, const wtl_rs_shape *s,
                          int q, int r)
{
    int turns = (int)wtl_ceil_div(s->channels, q);
    int passes = (int)wtl_ceil_div(turns, r);
    bool filled = hw->accounting == WTL_COUNT_CVPR17;
    terms->channel_turns = turns;
    terms->channel_passes = passes;
    terms->channels = filled ? (double)passes * q * r : s->channels;
    terms->sets = r;
}

void wtl_rs_filter_terms(wtl_rs_terms *terms, const wtl_rs_shape *s, int m, int p, int t)
{
    int turns = (int)wtl_ceil_div(s->filters, p);
    terms->filter_turns = turns;
    terms->filter_passes = (double)wtl_ceil_div(turns, t); /* = ceil(M / (p*t)) */
    terms->ifmap_fetches = (double)wtl_ceil_div(s->filters, m);
}

/* ---- words ---- */

static double macs_of(const wtl_rs_shape *s, double channels)
{
    return (double)s->images * s->filters * channels * s->kernel_h * s->kernel_w * s->out_h *
           s->out_w;
}

/* Presence bits: each delivered value brings one along, each MAC reads one. */
static void count_presence(wtl_rs_words *out, const wtl_rs_shape *s, const wtl_rs_terms *t,
                           double bits)
{
    out->words[WTL_LEVEL_RF][WTL_WRITE] =
        out->words[WTL_LEVEL_ARRAY][WTL_READ] * (1.0 + 1.0 / bits);
    out->whole[WTL_LEVEL_RF][WTL_READ] = macs_of(s, t->channels) / bits;
    out->words[WTL_LEVEL_RF][WTL_READ] += out->whole[WTL_LEVEL_RF][WTL_READ];
}

static void count_weights(wtl_rs_words *out, const wtl_hardware *hw, const wtl_rs_shape *s,
                          const wtl_rs_terms *t)
{
    double weights = (double)s->filters * t->channels * s->kernel_h * s->kernel_w;
    double fetched = weights * t->image_passes * t->strips;
    out->words[WTL_LEVEL_DRAM][WTL_READ] = fetched;
    if (!hw->weights_bypass_buffer) {
        out->words[WTL_LEVEL_BUFFER][WTL_READ] = fetched;
        out->words[WTL_LEVEL_BUFFER][WTL_WRITE] = fetched;
    }
    out->words[WTL_LEVEL_ARRAY][WTL_READ] = weights * t->image_passes * s->out_h;
    out->words[WTL_LEVEL_RF][WTL_READ] = macs_of(s, s->channels);
    if (hw->accounting == WTL_COUNT_CVPR17) {
        count_presence(out, s, t, s->bits[WTL_DATA_WEIGHT]);
    }
}

static void count_ifmap(wtl_rs_words *out, const wtl_hardware *hw, const wtl_rs_shape *s,
                        const wtl_rs_terms *t)
{
    bool cvpr17 = hw->accounting == WTL_COUNT_CVPR17;
    double planes = s->images * t->channels;
    double width = cvpr17 ? s->in_w : s->padded_w;
    double fetched = planes * t->dram_values * t->ifmap_fetches;
    double passed = planes * width * t->buffer_rows * t->filter_passes;
    out->words[WTL_LEVEL_DRAM][WTL_READ] = fetched;
    out->words[WTL_LEVEL_BUFFER][WTL_READ] = passed;
    out->words[WTL_LEVEL_ARRAY][WTL_READ] =
        planes * s->padded_w * s->out_h * s->kernel_h * t->filter_turns;
    out->words[WTL_LEVEL_RF][WTL_READ] = macs_of(s, s->channels);
    if (cvpr17) {
        double bits = s->bits[WTL_DATA_IFMAP];
        double raw = passed * (1.0 + 1.0 / bits);
        out->words[WTL_LEVEL_BUFFER][WTL_WRITE] = fetched;
        out->words[WTL_LEVEL_BUFFER][WTL_READ] = fetched + raw;
        out->whole[WTL_LEVEL_BUFFER][WTL_READ] = raw;
        count_presence(out, s, t, bits);
    }
}

static void count_psums(wtl_rs_words *out, const wtl_hardware *hw, const wtl_rs_shape *s,
                        const wtl_rs_terms *t)
{
    double values = (double)s->images * s->filters * s->out_h * s->out_w;
    double buffered = t->channel_passes;
    double hops = s->kernel_h * t->channel_turns - t->channel_passes;
    double added = (double)s->channels * s->kernel_h * s->kernel_w;
    switch (hw->accounting) {
    case WTL_COUNT_ROWS:
        added -= s->kernel_h * t->channel_turns;
        break;
    case WTL_COUNT_ISCA16:
        added -= s->kernel_h * t->channel_turns;
        buffered -= 1.0;
        hops *= 2.0;
        break;
    case WTL_COUNT_CVPR17:
        hops = t->channel_passes * (s->kernel_h * t->sets + 1.0);
        break;
    }
    out->words[WTL_LEVEL_DRAM][WTL_WRITE] = values;
    out->words[WTL_LEVEL_BUFFER][WTL_READ] = values * buffered;
    out->words[WTL_LEVEL_BUFFER][WTL_WRITE] = values * buffered;
    out->words[WTL_LEVEL_ARRAY][WTL_READ] = values * hops;
    out->words[WTL_LEVEL_RF][WTL_READ] = values * added;
    out->words[WTL_LEVEL_RF][WTL_WRITE] = values * added;
    if (hw->accounting == WTL_COUNT_CVPR17) {
        out->whole[WTL_LEVEL_ARRAY][WTL_READ] = values * hops;
    }
}

void wtl_rs_words_of(wtl_rs_words *out, const wtl_hardware *hw, const wtl_rs_shape *s,
                     const wtl_rs_terms *t, wtl_data_type type)
{
    *out = (wtl_rs_words){0};
    switch (type) {
    case WTL_DATA_IFMAP:
        count_ifmap(out, hw, s, t);
        break;
    case WTL_DATA_OFMAP:
        count_psums(out, hw, s, t);
        break;
    default:
        count_weights(out, hw, s, t);
        break;
    }
    for (int i = 0; i < WTL_LEVEL_MAC * 2; i++) {
        out->words[i / 2][i % 2] *= s->groups;
        out->whole[i / 2][i % 2] *= s->groups;
    }
}

/* ---- a mapping ---- */

static void terms_of(wtl_rs_terms *terms, const wtl_hardware *hw, const wtl_rs_shape *s,
                     const wtl_rs_mapping *map)
{
    wtl_rs_image_terms(terms, hw, s, map->n, map->e);
    wtl_rs_channel_terms(terms, hw, s, map->q, map->r);
    wtl_rs_filter_terms(terms, s, map->m, map->p, map->t);
}

double wtl_rs_channel_share(const wtl_hardware *hw, const wtl_work_layer *layer,
                            const wtl_rs_mapping *map)
{
    wtl_rs_shape s = wtl_rs_shape_of(hw, layer);
    wtl_rs_terms terms;
    wtl_rs_channel_terms(&terms, hw, &s, map->q, map->r);
    return terms.channels / s.channels;
}

void wtl_rs_count(wtl_access_counts *out, const wtl_hardware *hw, const wtl_work_layer *layer,
                  const wtl_rs_mapping *map)
{
    wtl_rs_shape s = wtl_rs_shape_of(hw, layer);
    wtl_rs_terms terms;
    terms_of(&terms, hw, &s, map);
    *out = (wtl_access_counts){0};
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        wtl_rs_words words;
        wtl_rs_words_of(&words, hw, &s, &terms, (wtl_data_type)type);
        for (int level = 0; level < WTL_LEVEL_MAC; level++) {
            memcpy(out->words[level][type], words.words[level], sizeof words.words[level]);
            memcpy(out->whole[level][type], words.whole[level], sizeof words.whole[level]);
        }
    }
    out->macs = macs_of(&s, s.channels) * s.groups;
    out->active_pes = s.kernel_h * map->e * map->r * map->t;
    double h = wtl_rs_strip_rows(&s, map->e);
    out->buffer_ifmap_words = (double)map->n * map->q * map->r * s.padded_w * h;
    out->buffer_psum_words = (double)map->n * map->m * map->e * s.out_w;
    if (!hw->weights_bypass_buffer) { /* those of one pass */
        out->buffer_weight_words =
            (double)map->p * map->t * map->q * map->r * s.kernel_h * s.kernel_w;
    }
    /* A PE does p*q 1-D primitives of S*F MACs a pass and image. */
    out->cycles = terms.strips * terms.channel_passes * terms.filter_passes * s.images *
                  s.groups * map->p * map->q * s.kernel_w * s.out_w;
}

/* ---- limits ---- */

static wtl_status check_range(const wtl_rs_shape *s, const wtl_rs_mapping *map, wtl_error *err)
{
    const struct {
        char name;
        int value, most;
    } parameters[] = {{'m', map->m, s->filters},  {'n', map->n, s->images},
                      {'e', map->e, s->out_h},    {'p', map->p, s->filters},
                      {'q', map->q, s->channels}, {'r', map->r, s->channels},
                      {'t', map->t, s->filters}};
    for (size_t i = 0; i < sizeof parameters / sizeof *parameters; i++) {
        if (parameters[i].value < 1 || parameters[i].value > parameters[i].most) {
            return wtl_fail(err, WTL_E_RANGE, "mapping: %c is %d, this layer takes 1..%d",
                            parameters[i].name, parameters[i].value, parameters[i].most);
        }
    }
    if ((double)map->q * map->r > s->channels) {
        return wtl_fail(err, WTL_E_RANGE, "mapping: q*r is %.0f, a group has %d channels",
                        (double)map->q * map->r, s->channels);
    }
    if ((double)map->p * map->t > map->m) {
        return wtl_fail(err, WTL_E_RANGE, "mapping: p*t is %.0f, more than m, which is %d",
                        (double)map->p * map->t, map->m);
    }
    return WTL_OK;
}

static wtl_status check_array(const wtl_hardware *hw, const wtl_rs_shape *s,
                              const wtl_rs_mapping *map, wtl_error *err)
{
    double wanted = (double)map->r * map->t;
    int sets = wtl_rs_sets(hw, s, map->e);
    if (hw->grid && s->kernel_h > hw->rows) {
        return wtl_fail(err, WTL_E_FIT, "mapping: the filter has %d rows, the array %d",
                        s->kernel_h, hw->rows);
    }
    if (wanted > sets) {
        return wtl_fail(err, WTL_E_FIT,
                        "mapping: r*t is %.0f sets of %dx%d PEs, the %dx%d array takes %d",
                        wanted, s->kernel_h, map->e, hw->rows, hw->columns, sets);
    }
    return WTL_OK;
}

static wtl_status check_scratchpads(const wtl_hardware *hw, const wtl_rs_shape *s,
                                    const wtl_rs_mapping *map, wtl_error *err)
{
    double need[WTL_DATA_COMPUTATION] = {
        [WTL_DATA_IFMAP] = (double)map->q * s->span_w,
        [WTL_DATA_OFMAP] = map->p,
        [WTL_DATA_WEIGHT] = (double)map->p * map->q * s->kernel_w,
    };
    if (hw->rf_pool_words > 0) {
        double sum = need[WTL_DATA_IFMAP] + need[WTL_DATA_OFMAP] + need[WTL_DATA_WEIGHT];
        if (sum > hw->rf_pool_words) {
            return wtl_fail(err, WTL_E_FIT,
                            "mapping: a PE keeps %.0f words, its scratchpad has %d", sum,
                            hw->rf_pool_words);
        }
        return WTL_OK;
    }
    static const char *const names[] = {"ifmap", "psum", "weight"};
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        if (need[type] > hw->rf_words[type]) {
            return wtl_fail(err, WTL_E_FIT,
                            "mapping: a PE keeps %.0f %s words, that scratchpad has %d",
                            need[type], names[type], hw->rf_words[type]);
        }
    }
    return WTL_OK;
}

wtl_status wtl_rs_check(const wtl_hardware *hw, const wtl_work_layer *layer,
                        const wtl_rs_mapping *map, wtl_error *err)
{
    wtl_rs_shape s = wtl_rs_shape_of(hw, layer);
    wtl_status status = check_range(&s, map, err);
    if (status == WTL_OK && hw->most_images > 0 && map->n > hw->most_images) {
        status = wtl_fail(err, WTL_E_FIT, "mapping: n is %d, a pass takes at most %d images",
                          map->n, hw->most_images);
    }
    if (status == WTL_OK) {
        status = check_array(hw, &s, map, err);
    }
    if (status == WTL_OK) {
        status = check_scratchpads(hw, &s, map, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    wtl_access_counts counts;
    wtl_rs_count(&counts, hw, layer, map);
    double stored =
        counts.buffer_ifmap_words + counts.buffer_psum_words + counts.buffer_weight_words;
    if (stored > hw->buffer_words) {
        return wtl_fail(err, WTL_E_FIT, "mapping: %.0f words are kept in the buffer of %.0f",
                        stored, hw->buffer_words);
    }
    return WTL_OK;
}
