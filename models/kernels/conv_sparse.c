/* conv_sparse.c - see conv_sparse.h: packing, and the loops over tiles, panels and filters. */
#include "conv_sparse.h"
#include "native/masked.h"
#include "native/sparse.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

#include <assert.h>
#include <string.h>

enum {
    BLOCK = WTL_BLOCK_CHANNELS,
    BLOCK_WORK = 64 /* of a block of filters beside its entries, in entries */
};

static int divided_up(long a, long b)
{
    return (int)((a + b - 1) / b);
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static int unit_of(wtl_sparse_form form)
{
    return form == WTL_SPARSE_ROWS ? 1 : WTL_QUAD;
}

/* ---- packing ---- */

/* Filters k .. k+count-1 (one unit: a filter or a quad) in channels begin .. end-1. */
typedef struct piece {
    int k, count, begin, end;
} piece;

/* The weights that are packed, and in which order. */
typedef struct source {
    const float *w;
    bool flipped;   /* g is wtl_conv_sparse_flipped() of the layer whose w it is */
    bool indexed;   /* each entry's places in w are kept */
    bool gradients; /* laid out for those of the weights */
} source;

/* Where w has tap i % taps of channel i / taps, of a group, of filter k. */
static int64_t place_of(const wtl_conv_geometry *g, const source *from, int k, int64_t i)
{
    int64_t taps = (int64_t)g->r * g->s, channels = g->c / g->groups,
            filters = g->k / g->groups;
    if (!from->flipped) {
        return k * channels * taps + i;
    }
    int64_t filter = k / filters * channels + i / taps;
    return (filter * filters + k % filters) * taps + (taps - 1 - i % taps);
}

/* place: of each filter of the unit, or -1. */
typedef void emit_function(void *context, const int64_t place[WTL_QUAD], int channel, int r,
                           int s);

/* Emit every position where a filter of the piece is not 0; their number. */
static size_t visit(const wtl_conv_geometry *g, const source *from, const piece *at,
                    emit_function *emit, void *context)
{
    int group_channels = g->c / g->groups, group_filters = g->k / g->groups;
    int64_t taps = (int64_t)g->r * g->s;
    size_t count = 0;
    for (int k = at->k, next; k < at->k + at->count; k = next) { /* filters of one group */
        int group = k / group_filters, first = group * group_channels;
        next = least((group + 1) * group_filters, at->k + at->count);
        int begin = at->begin > first ? at->begin : first;
        int end = least(at->end, first + group_channels);
        for (int64_t i = (begin - first) * taps; begin < end && i < (end - first) * taps; i++) {
            int64_t place[WTL_QUAD] = {-1, -1, -1, -1};
            bool any = false;
            for (int f = k; f < next; f++) {
                int64_t here = place_of(g, from, f, i);
                if (from->w[here] != 0.0f) {
                    place[f - at->k] = here;
                    any = true;
                }
            }
            if (any) {
                count++;
                if (emit) {
                    emit(context, place, first + (int)(i / taps), (int)(i % taps) / g->s,
                         (int)(i % taps) % g->s);
                }
            }
        }
    }
    return count;
}

static size_t count_entries(const wtl_conv_geometry *g, wtl_sparse_form form,
                            const source *from)
{
    size_t count = 0;
    int unit = unit_of(form);
    for (int k = 0; k < g->k; k += unit) {
        piece at = {k, least(unit, g->k - k), 0, g->c};
        count += visit(g, from, &at, NULL, NULL);
    }
    return count;
}

static size_t aligned(size_t bytes)
{
    return (bytes + WTL_ALIGNMENT - 1) / WTL_ALIGNMENT * WTL_ALIGNMENT;
}

/* The header of the packed form, with all sizes. */
static bool measure(wtl_conv_sparse *p, const wtl_native *native, const wtl_conv_geometry *g,
                    int batch, wtl_sparse_form form, const source *from)
{
    if (!wtl_sparse_plan(p, native, g, batch, form, count_entries(g, form, from),
                         from->gradients)) {
        return false;
    }
    size_t units = (size_t)divided_up(p->group_filters, unit_of(form));
    size_t blocks = (size_t)divided_up(p->group_filters, BLOCK);
    size_t starts = (size_t)p->groups * (size_t)p->layout.panels * units + 1;
    size_t entry = form == WTL_SPARSE_ROWS ? sizeof(wtl_sparse_entry) : sizeof(wtl_sparse_quad);
    p->starts_at = aligned(sizeof *p);
    p->weights_at = p->starts_at + aligned(starts * sizeof(int32_t));
    p->entries_at = p->weights_at + aligned((size_t)p->groups * (blocks + 1) * sizeof(int64_t));
    p->bytes = p->entries_at + aligned(p->entries * entry);
    if (from->indexed) {
        p->index_at = p->bytes;
        p->bytes += aligned(p->entries * (size_t)unit_of(form) * sizeof(int32_t));
    }
    return true;
}

/* In the form that is estimated to be faster. */
static bool choose(wtl_conv_sparse *p, const wtl_native *native, const wtl_conv_geometry *g,
                   int batch, const source *from)
{
    wtl_conv_sparse quads;
    bool is_rows = measure(p, native, g, batch, WTL_SPARSE_ROWS, from);
    bool is_quads = measure(&quads, native, g, batch, WTL_SPARSE_QUADS, from);
    if (is_quads && (!is_rows || quads.seconds < p->seconds)) {
        *p = quads;
    }
    return is_rows || is_quads;
}

typedef struct packing {
    const wtl_conv_sparse *p;
    const float *w;
    int channel; /* the first of the panel */
    wtl_sparse_entry *entry;
    wtl_sparse_quad *quad;
    int32_t *index; /* or NULL */
} packing;

static void emit(void *context, const int64_t place[WTL_QUAD], int channel, int r, int s)
{
    packing *to = context;
    long offset = (channel - to->channel) * to->p->layout.plane + wtl_sparse_tap(to->p, r, s);
    int unit = unit_of(to->p->form);
    float value[WTL_QUAD];
    for (int f = 0; f < unit; f++) {
        value[f] = place[f] < 0 ? 0.0f : to->w[place[f]];
    }
    for (int f = 0; to->index && f < unit; f++) {
        *to->index++ = (int32_t)place[f];
    }
    if (to->p->form == WTL_SPARSE_ROWS) {
        *to->entry++ = (wtl_sparse_entry){value[0], (int32_t)offset};
    } else {
        memcpy(to->quad->value, value, sizeof to->quad->value);
        to->quad++->offset = (int32_t)offset;
    }
}

static void pack_group(const wtl_conv_geometry *g, const source *from, int group, packing *to,
                       int32_t **start, int64_t *weights)
{
    const wtl_conv_sparse *p = to->p;
    const wtl_sparse_layout *l = &p->layout;
    int unit = unit_of(p->form), first = group * p->group_channels;
    for (int panel = 0; panel < l->panels; panel++) {
        to->channel = first + panel * l->channels;
        int end = least(to->channel + l->channels, first + p->group_channels);
        for (int k = 0; k < p->group_filters; k += unit) {
            piece at = {group * p->group_filters + k, least(unit, p->group_filters - k),
                        to->channel, end};
            int32_t count = (int32_t)visit(g, from, &at, emit, to);
            (*start)[1] = (*start)[0] + count;
            ++*start;
            weights[k / BLOCK + 1] += count;
        }
    }
    for (int b = 0; b * BLOCK < p->group_filters; b++) {
        weights[b + 1] += weights[b] + BLOCK_WORK;
    }
}

static const wtl_conv_sparse *pack(const wtl_conv_sparse *header, const wtl_conv_geometry *g,
                                   const source *from, void *memory)
{
    char *bytes = memory;
    memset(bytes, 0, header->entries_at);
    memcpy(bytes, header, sizeof *header);
    packing to = {.p = memory,
                  .w = from->w,
                  .entry = (wtl_sparse_entry *)(void *)(bytes + header->entries_at),
                  .quad = (wtl_sparse_quad *)(void *)(bytes + header->entries_at),
                  .index =
                      from->indexed ? (int32_t *)(void *)(bytes + header->index_at) : NULL};
    int32_t *start = (int32_t *)(void *)(bytes + header->starts_at);
    int64_t *weights = (int64_t *)(void *)(bytes + header->weights_at);
    for (int group = 0; group < header->groups; group++) {
        pack_group(g, from, group, &to, &start, weights);
        weights += divided_up(header->group_filters, BLOCK) + 1;
    }
    return memory;
}

size_t wtl_conv_sparse_bytes(const wtl_native *native, const wtl_conv_geometry *g, int batch,
                             const float *w)
{
    wtl_conv_sparse header;
    return choose(&header, native, g, batch, &(source){.w = w}) ? header.bytes : SIZE_MAX;
}

const wtl_conv_sparse *wtl_conv_sparse_pack(const wtl_native *native,
                                            const wtl_conv_geometry *g, int batch,
                                            const float *w, void *memory)
{
    wtl_conv_sparse header;
    bool fits = choose(&header, native, g, batch, &(source){.w = w});
    assert(fits);
    (void)fits;
    return pack(&header, g, &(source){.w = w}, memory);
}

size_t wtl_conv_sparse_bytes_as(const wtl_native *native, const wtl_conv_geometry *g, int batch,
                                wtl_sparse_form form, const float *w)
{
    wtl_conv_sparse header;
    return measure(&header, native, g, batch, form, &(source){.w = w}) ? header.bytes
                                                                       : SIZE_MAX;
}

const wtl_conv_sparse *wtl_conv_sparse_pack_as(const wtl_native *native,
                                               const wtl_conv_geometry *g, int batch,
                                               wtl_sparse_form form, const float *w,
                                               void *memory)
{
    wtl_conv_sparse header;
    bool fits = measure(&header, native, g, batch, form, &(source){.w = w});
    assert(fits);
    (void)fits;
    return pack(&header, g, &(source){.w = w}, memory);
}

/* ---- patterns: places that masks keep, for values that change ---- */

bool wtl_conv_sparse_flipped(const wtl_conv_geometry *g, wtl_conv_geometry *flipped)
{
    *flipped = *g;
    flipped->c = g->k;
    flipped->h = g->p;
    flipped->w = g->q;
    flipped->k = g->c;
    flipped->p = g->h;
    flipped->q = g->w;
    bool fits = g->stride[0] == 1 && g->stride[1] == 1;
    for (int side = 0; side < 4; side++) {
        int reach = side < 2 ? (g->r - 1) * g->dilation[0] : (g->s - 1) * g->dilation[1];
        flipped->pad[side] = reach - g->pad[side];
        fits = fits && flipped->pad[side] >= 0;
    }
    return fits;
}

/* Of what the mask keeps; a pattern of the flipped layer is always in rows, as filters that share
 * positions do not make its own do so. */
static bool measure_pattern(wtl_conv_sparse *p, const wtl_native *native,
                            const wtl_conv_geometry *g, int batch, const source *mask)
{
    int64_t weights = (int64_t)g->k * (g->c / g->groups) * g->r * g->s;
    if (weights > INT32_MAX) {
        return false;
    }
    return mask->flipped ? measure(p, native, g, batch, WTL_SPARSE_ROWS, mask)
                         : choose(p, native, g, batch, mask);
}

bool wtl_conv_sparse_plan_pattern(wtl_conv_sparse *p, const wtl_native *native,
                                  const wtl_conv_geometry *g, int batch, const float *mask,
                                  bool flipped, bool plain, bool gradients)
{
    source from = {.w = mask, .flipped = flipped, .indexed = true, .gradients = gradients};
    bool fits = measure_pattern(p, native, g, batch, &from);
    p->plain = plain;
    return fits;
}

wtl_conv_sparse *wtl_conv_sparse_make_pattern(const wtl_conv_sparse *planned,
                                              const wtl_conv_geometry *g, const float *mask,
                                              bool flipped, void *memory)
{
    source from = {.w = mask, .flipped = flipped, .indexed = true};
    (void)pack(planned, g, &from, memory);
    return memory;
}

static const int32_t *index_of(const wtl_conv_sparse *p)
{
    return (const int32_t *)(const void *)((const char *)p + p->index_at);
}

void wtl_conv_sparse_take(wtl_conv_sparse *p, int threads, const float *w)
{
    const int32_t *index = index_of(p);
    char *entries = (char *)p + p->entries_at;
    bool rows = p->form == WTL_SPARSE_ROWS;
    long count = (long)p->entries;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (long e = 0; e < count; e++) {
        if (rows) {
            ((wtl_sparse_entry *)(void *)entries)[e].value = w[index[e]];
            continue;
        }
        wtl_sparse_quad *quad = (wtl_sparse_quad *)(void *)entries + e;
        for (int f = 0; f < WTL_QUAD; f++) {
            int32_t at = index[e * WTL_QUAD + f];
            quad->value[f] = at < 0 ? 0.0f : w[at];
        }
    }
}

/* ---- running ---- */

typedef struct job {
    const wtl_sparse_kernels *kernels;
    const wtl_conv_sparse *p;
    int n, threads;
    const float *x, *bias, *add;
    float *y;
    const float *dy; /* laid out as y */
    size_t x_image, y_image;
    wtl_activation activation;
} job;

typedef struct buffers {
    float *panel, *lines, *zeros, *sums;
} buffers;

/* A tile of one group: output rows p .. p+rows-1 of images n .. n+images-1. */
typedef struct tile {
    int group, n, images, p, rows;
} tile;

/* Input row h of image n, for 16 channels from block b on, as lines of each phase; what padding
 * the lines have around it is 0 from the beginning. */
static void turn_row(const job *j, int n, int b, int h, float *lines)
{
    const wtl_conv_geometry *g = &j->p->g;
    const wtl_sparse_layout *l = &j->p->layout;
    const float *row =
        j->x + (size_t)n * j->x_image + ((size_t)b * g->h + h) * (size_t)g->w * BLOCK;
    for (int phase = 0; phase < l->phases; phase++, lines += BLOCK * l->line) {
        int from = phase * g->dilation[1] % g->stride[1] - g->pad[2]; /* column of place 0 */
        int first = from < 0 ? divided_up(-from, g->stride[1]) : 0;
        int reach = g->q + (g->s - 1) * g->dilation[1] / g->stride[1];
        int end = least(divided_up(g->w - from, g->stride[1]), reach);
        if (end > first) {
            j->kernels->to_planes(row + ((long)from + (long)first * g->stride[1]) * BLOCK,
                                  (long)g->stride[1] * BLOCK, end - first, lines + first,
                                  l->line);
        }
    }
}

/* to[i] = from[i * stride]; the usual strides by code of their own, in vectors. */
WTL_HOT static void gather(const float *restrict from, int stride, int count,
                           float *restrict to)
{
    switch (stride) {
    case 2:
        for (int i = 0; i < count; i++) {
            to[i] = from[2L * i];
        }
        break;
    case 4:
        for (int i = 0; i < count; i++) {
            to[i] = from[4L * i];
        }
        break;
    default:
        for (int i = 0; i < count; i++) {
            to[i] = from[(long)i * stride];
        }
    }
}

/* The same from an NCHW image, for channels begin .. end-1 of a block. */
static void gather_row(const job *j, int n, int begin, int end, int h, float *lines)
{
    const wtl_conv_geometry *g = &j->p->g;
    const wtl_sparse_layout *l = &j->p->layout;
    for (int phase = 0; phase < l->phases; phase++, lines += BLOCK * l->line) {
        int from = phase * g->dilation[1] % g->stride[1] - g->pad[2];
        int first = from < 0 ? divided_up(-from, g->stride[1]) : 0;
        int reach = g->q + (g->s - 1) * g->dilation[1] / g->stride[1];
        int last = least(divided_up(g->w - from, g->stride[1]), reach);
        for (int c = begin; c < end; c++) {
            const float *row =
                j->x + (size_t)n * j->x_image + ((size_t)c * g->h + h) * (size_t)g->w;
            float *to = lines + c % BLOCK * l->line;
            gather(row + from + (long)first * g->stride[1], g->stride[1], last - first,
                   to + first);
        }
    }
}

/* Channels begin .. end-1, of one block, of one line of row view v, into their views. */
static void fill_line(const job *j, const buffers *to, const tile *t, int begin, int end, int v,
                      int row, int image, float *planes)
{
    const wtl_conv_geometry *g = &j->p->g;
    const wtl_sparse_layout *l = &j->p->layout;
    int h = (t->p + row) * g->stride[0] + wtl_sparse_view_base(j->p, v) - g->pad[0];
    bool inside = h >= 0 && h < g->h;
    if (inside && j->p->plain) {
        gather_row(j, t->n + image, begin, end, h, to->lines);
    } else if (inside) {
        turn_row(j, t->n + image, begin / BLOCK, h, to->lines);
    }
    float *at = planes + (long)v * g->s * l->view + row * l->pitch + (long)image * g->q;
    for (int s = 0; s < g->s; s++, at += l->view) {
        const float *from = to->zeros;
        if (inside) {
            from = to->lines + (s % l->phases * (long)BLOCK + begin % BLOCK) * l->line +
                   s * g->dilation[1] / g->stride[1];
        }
        j->kernels->copy(from, inside ? l->line : 0, at, l->plane, end - begin,
                         divided_up(g->q, j->kernels->lanes));
    }
}

/* Lines are written in order: what a line writes beyond its end belongs to the next one. */
static void fill_block(const job *j, const buffers *to, const tile *t, int begin, int end,
                       float *planes)
{
    const wtl_sparse_layout *l = &j->p->layout;
    int rows = t->rows + l->view_rows - l->rows;
    for (int v = 0; v < l->row_views; v++) {
        for (int row = 0; row < rows; row++) {
            for (int image = 0; image < t->images; image++) {
                fill_line(j, to, t, begin, end, v, row, image, planes);
            }
        }
    }
}

/* A 1x1 filter's planes are lines themselves. */
static void turn_block(const job *j, const tile *t, int block, float *planes)
{
    const wtl_conv_geometry *g = &j->p->g;
    for (int row = 0; row < t->rows; row++) {
        for (int image = 0; image < t->images; image++) {
            const float *x = j->x + (size_t)(t->n + image) * j->x_image +
                             ((size_t)block * g->h + t->p + row) * (size_t)g->w * BLOCK;
            j->kernels->to_planes(x, BLOCK, g->q,
                                  planes + row * j->p->layout.pitch + (long)image * g->q,
                                  j->p->layout.plane);
        }
    }
}

static void fill_panel(const job *j, const buffers *to, const tile *t, int panel)
{
    const wtl_conv_geometry *g = &j->p->g;
    const wtl_sparse_layout *l = &j->p->layout;
    int first = t->group * j->p->group_channels, begin = first + panel * l->channels;
    int end = least(begin + l->channels, first + j->p->group_channels);
    bool point = g->r == 1 && g->s == 1 && g->stride[0] == 1 && g->stride[1] == 1 &&
                 g->p == g->h && g->q == g->w && g->pad[0] == 0 && g->pad[2] == 0;
    float *planes = to->panel;
    for (int c = begin; c < end; c += BLOCK, planes += BLOCK * l->plane) {
        if (point && l->channels >= BLOCK && !j->p->plain) {
            turn_block(j, t, c / BLOCK, planes);
        } else {
            fill_block(j, to, t, c, least(c + BLOCK, end), planes);
        }
    }
}

/* Sums of blocks begin .. end-1 of the tile's group over one panel. */
static void add_panel(const job *j, const buffers *b, const tile *t, int begin, int end,
                      int panel)
{
    const wtl_conv_sparse *p = j->p;
    const wtl_sparse_layout *l = &p->layout;
    bool rows = p->form == WTL_SPARSE_ROWS;
    int unit = unit_of(p->form), units = divided_up(p->group_filters, unit);
    int first = begin * BLOCK / unit, count = least(end * BLOCK / unit, units) - first;
    const char *bytes = (const char *)p;
    const void *entries = bytes + p->entries_at;
    const int32_t *starts = (const int32_t *)(const void *)(bytes + p->starts_at) +
                            ((size_t)t->group * l->panels + panel) * units + first;
    int lanes = j->kernels->lanes, vectors = divided_up(t->rows * l->pitch, lanes);
    int most = rows ? j->kernels->most_rows : j->kernels->most_quads;
    int calls = divided_up(vectors, most);
    for (int call = 0, at = 0; call < calls; call++) {
        int width = divided_up(vectors - at, calls - call);
        const float *x = b->panel + (long)at * lanes;
        float *sums = b->sums + (long)at * lanes;
        if (rows) {
            j->kernels->rows(width, count, starts, entries, x, sums, l->sums_pitch, panel == 0);
        } else {
            j->kernels->quads(width, count, starts, entries, x, sums, l->sums_pitch,
                              panel == 0);
        }
        at += width;
    }
}

/* The sums of block `block` of the group into y. */
static void finish_block(const job *j, const tile *t, int block, const float *sums)
{
    const wtl_conv_geometry *g = &j->p->g;
    int k = t->group * j->p->group_filters + block * BLOCK;
    int count = least(BLOCK, j->p->group_filters - block * BLOCK);
    float bias[BLOCK] = {0};
    if (j->bias) {
        memcpy(bias, j->bias + k, (size_t)count * sizeof *bias);
    }
    wtl_sparse_finish how = {bias, j->activation};
    for (int row = 0; row < t->rows; row++) {
        for (int image = 0; image < t->images; image++) {
            size_t at = (size_t)(t->n + image) * j->y_image +
                        ((size_t)(k / BLOCK) * g->p + t->p + row) * (size_t)g->q * BLOCK;
            j->kernels->finish(&how, sums + row * j->p->layout.pitch + (long)image * g->q,
                               j->p->layout.sums_pitch, g->q, j->add ? j->add + at : NULL,
                               j->y + at);
        }
    }
}

/* Filters that only fill up the last block have no entries: their sums are 0. */
static void clear_missing(const job *j, const buffers *b, int begin, int end)
{
    int unit = unit_of(j->p->form);
    long missing = (long)divided_up(j->p->group_filters, unit) * unit - (long)begin * BLOCK;
    long all = (long)(end - begin) * BLOCK;
    if (missing < all) {
        memset(b->sums + missing * j->p->layout.sums_pitch, 0,
               (size_t)(all - missing) * (size_t)j->p->layout.sums_pitch * sizeof(float));
    }
}

static void run_tile(const job *j, const buffers *b, const tile *t, int begin, int end)
{
    for (int next; begin < end; begin = next) {
        next = least(begin + WTL_SPARSE_SEGMENT, end);
        clear_missing(j, b, begin, next);
        for (int panel = 0; panel < j->p->layout.panels; panel++) {
            fill_panel(j, b, t, panel);
            add_panel(j, b, t, begin, next, panel);
        }
        for (int block = begin; block < next; block++) {
            finish_block(j, t, block,
                         b->sums + (long)(block - begin) * BLOCK * j->p->layout.sums_pitch);
        }
    }
}

/* ---- threads: each takes an equal part of the work, cut between blocks of filters ---- */

typedef struct part {
    int64_t begin, end; /* of the work */
} part;

static tile tile_of(const job *j, int index)
{
    const wtl_sparse_layout *l = &j->p->layout;
    int tiles = divided_up(j->p->g.p, l->rows), rest = index / tiles;
    tile t = {.group = rest % j->p->groups,
              .n = rest / j->p->groups * l->images,
              .p = index % tiles * l->rows};
    t.images = least(l->images, j->n - t.n);
    t.rows = least(l->rows, j->p->g.p - t.p);
    return t;
}

static int tile_count(const job *j)
{
    const wtl_sparse_layout *l = &j->p->layout;
    return divided_up(j->n, l->images) * j->p->groups * divided_up(j->p->g.p, l->rows);
}

/* Work before each block of the tile's group, and of all of them. */
static const int64_t *weights_of(const job *j, const tile *t)
{
    const char *bytes = (const char *)j->p;
    return (const int64_t *)(const void *)(bytes + j->p->weights_at) +
           (size_t)t->group * ((size_t)divided_up(j->p->group_filters, BLOCK) + 1);
}

/* Every block that begins within the part. */
static void run_part(const job *j, const buffers *b, part work)
{
    int blocks = divided_up(j->p->group_filters, BLOCK), count = tile_count(j);
    int64_t at = 0;
    for (int i = 0; i < count && at < work.end; i++) {
        tile t = tile_of(j, i);
        const int64_t *weights = weights_of(j, &t);
        int64_t rows = t.rows; /* the pixels of a tile whose images are few cost the same */
        int begin = 0, end = blocks;
        while (begin < blocks && at + rows * weights[begin] < work.begin) {
            begin++;
        }
        while (end > begin && at + rows * weights[end - 1] >= work.end) {
            end--;
        }
        run_tile(j, b, &t, begin, end);
        at += rows * weights[blocks];
    }
}

static int64_t all_work(const job *j)
{
    int blocks = divided_up(j->p->group_filters, BLOCK), count = tile_count(j);
    int64_t sum = 0;
    for (int i = 0; i < count; i++) {
        tile t = tile_of(j, i);
        sum += t.rows * weights_of(j, &t)[blocks];
    }
    return sum;
}

static buffers buffers_at(const wtl_sparse_layout *l, float *scratch)
{
    buffers b = {.panel = scratch};
    b.lines = b.panel + l->panel_floats;
    b.zeros = b.lines + (size_t)l->line * BLOCK * (size_t)l->phases;
    b.sums = b.lines + l->line_floats;
    memset(b.lines, 0, l->line_floats * sizeof(float));
    return b;
}

void wtl_conv_sparse_forward(const wtl_native *native, const wtl_conv_sparse *packed, int n,
                             int threads, const float *x, size_t x_image, const float *bias,
                             wtl_activation activation, const float *add, float *y,
                             size_t y_image, float *scratch)
{
    const job j = {.kernels = native->sparse,
                   .p = packed,
                   .n = n,
                   .threads = threads,
                   .x = x,
                   .x_image = x_image,
                   .bias = bias,
                   .activation = activation,
                   .add = add,
                   .y = y,
                   .y_image = y_image};
    const wtl_sparse_layout *l = &packed->layout;
    size_t own = l->panel_floats + l->line_floats + l->sums_floats;
    int64_t work = all_work(&j);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int i = 0; i < threads; i++) {
        buffers b = buffers_at(l, scratch + (size_t)i * own);
        part share = {work / threads * i + work % threads * i / threads,
                      work / threads * (i + 1) + work % threads * (i + 1) / threads};
        run_part(&j, &b, share);
    }
}

/* ---- the weights' gradient ---- */

/* dy of blocks begin .. end-1 of the tile's group, as planes where the sums would be; 0 wherever
 * there is no pixel, so that what x has there does not count. */
static void turn_gradient(const job *j, const buffers *b, const tile *t, int begin, int end)
{
    const wtl_conv_geometry *g = &j->p->g;
    const wtl_sparse_layout *l = &j->p->layout;
    int first = t->group * j->p->group_filters / BLOCK;
    memset(b->sums, 0, (size_t)(end - begin) * BLOCK * (size_t)l->sums_pitch * sizeof *b->sums);
    for (int block = begin; block < end; block++) {
        float *planes = b->sums + (long)(block - begin) * BLOCK * l->sums_pitch;
        for (int row = 0; row < t->rows; row++) {
            for (int image = 0; image < t->images; image++) {
                const float *dy =
                    j->dy + (size_t)(t->n + image) * j->y_image +
                    ((size_t)(first + block) * g->p + t->p + row) * (size_t)g->q * BLOCK;
                j->kernels->to_planes(dy, BLOCK, g->q,
                                      planes + row * l->pitch + (long)image * g->q,
                                      l->sums_pitch);
            }
        }
    }
}

/* What one panel of the tile adds to the gradients [entries * unit] of the filters in blocks
 * begin .. end-1. */
static void add_gradients(const job *j, const wtl_masked_kernels *kernels, const buffers *b,
                          const tile *t, int begin, int end, int panel, float *gradients)
{
    const wtl_conv_sparse *p = j->p;
    const wtl_sparse_layout *l = &p->layout;
    bool rows = p->form == WTL_SPARSE_ROWS;
    int unit = unit_of(p->form), units = divided_up(p->group_filters, unit);
    int first = begin * BLOCK / unit, count = least(end * BLOCK / unit, units) - first;
    const char *bytes = (const char *)p;
    const void *entries = bytes + p->entries_at;
    const int32_t *starts = (const int32_t *)(const void *)(bytes + p->starts_at) +
                            ((size_t)t->group * l->panels + panel) * units + first;
    int vectors = divided_up(t->rows * l->pitch, j->kernels->lanes);
    gradients += (size_t)starts[0] * (size_t)unit;
    if (rows) {
        kernels->rows(vectors, count, starts, entries, b->panel, b->sums, l->sums_pitch,
                      gradients);
    } else {
        kernels->quads(vectors, count, starts, entries, b->panel, b->sums, l->sums_pitch,
                       gradients);
    }
}

static void gradients_of_tile(const job *j, const wtl_masked_kernels *kernels, const buffers *b,
                              const tile *t, float *gradients)
{
    int blocks = divided_up(j->p->group_filters, BLOCK);
    for (int begin = 0, end; begin < blocks; begin = end) {
        end = least(begin + WTL_SPARSE_SEGMENT, blocks);
        turn_gradient(j, b, t, begin, end);
        for (int panel = 0; panel < j->p->layout.panels; panel++) {
            fill_panel(j, b, t, panel);
            add_gradients(j, kernels, b, t, begin, end, panel, gradients);
        }
    }
}

static size_t gradient_floats(const wtl_conv_sparse *p)
{
    return (p->entries * (size_t)unit_of(p->form) + WTL_MASKED_SLACK + BLOCK - 1) / BLOCK *
           BLOCK;
}

size_t wtl_conv_sparse_own_scratch(const wtl_conv_sparse *p, int threads)
{
    const wtl_sparse_layout *l = &p->layout;
    size_t own = l->panel_floats + l->line_floats + l->sums_floats;
    return own > SIZE_MAX / sizeof(float) / (size_t)threads
               ? SIZE_MAX
               : own * sizeof(float) * (size_t)threads;
}

size_t wtl_conv_sparse_weights_scratch(const wtl_conv_sparse *p, int threads)
{
    const wtl_sparse_layout *l = &p->layout;
    size_t own = l->panel_floats + l->line_floats + l->sums_floats + gradient_floats(p);
    return own > SIZE_MAX / sizeof(float) / (size_t)threads
               ? SIZE_MAX
               : own * sizeof(float) * (size_t)threads;
}

/* dw of each kept weight: the threads' sums in order. */
static void write_gradients(const wtl_conv_sparse *p, int threads, const float *gradients,
                            size_t step, float *dw)
{
    const int32_t *index = index_of(p);
    long count = (long)p->entries * unit_of(p->form);
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (long i = 0; i < count; i++) {
        float sum = gradients[i];
        for (int thread = 1; thread < threads; thread++) {
            sum += gradients[(size_t)thread * step + (size_t)i];
        }
        if (index[i] >= 0) {
            dw[index[i]] = sum;
        }
    }
}

void wtl_conv_sparse_weights(const wtl_native *native, const wtl_conv_sparse *pattern, int n,
                             int threads, const float *x, size_t x_image, const float *dy,
                             size_t y_image, float *dw, float *scratch)
{
    const job j = {.kernels = native->sparse,
                   .p = pattern,
                   .n = n,
                   .threads = threads,
                   .x = x,
                   .x_image = x_image,
                   .dy = dy,
                   .y_image = y_image};
    const wtl_sparse_layout *l = &pattern->layout;
    size_t own = l->panel_floats + l->line_floats + l->sums_floats;
    size_t floats = gradient_floats(pattern);
    float *gradients = scratch + own * (size_t)threads;
    memset(gradients, 0, floats * (size_t)threads * sizeof *gradients);
#pragma omp parallel for num_threads(threads) schedule(static, 1) if (threads > 1)
    for (int i = 0; i < threads; i++) {
        buffers b = buffers_at(l, scratch + (size_t)i * own);
        /* Between the lines lies what others left here, perhaps not a number. */
        memset(b.panel, 0, l->panel_floats * sizeof *b.panel);
        long begin, end;
        wtl_share(tile_count(&j), i, threads, &begin, &end);
        for (long at = begin; at < end; at++) {
            tile t = tile_of(&j, (int)at);
            gradients_of_tile(&j, native->masked, &b, &t, gradients + (size_t)i * floats);
        }
    }
    write_gradients(pattern, threads, gradients, floats, dw);
}
