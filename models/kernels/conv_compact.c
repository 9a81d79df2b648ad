/* conv_compact.c - see conv_compact.h. */
#include "conv_compact.h"

#include "planes.h"

#include "wattle/memory.h"
#include "wattle/threads.h"

#include <string.h>

enum { B = WTL_BLOCK_CHANNELS };

/* What follow() made: this header, then the maps. */
typedef struct compact {
    wtl_conv_native inner;
    /* Channels of one layer for each of the other, -1: none. In int32_t behind the header. */
    size_t filters, channels;             /* of the small layer: where they come from */
    size_t small_filters, small_channels; /* of the whole layer: where they went */
} compact;

static size_t aligned(size_t bytes)
{
    return (bytes + WTL_ALIGNMENT - 1) / WTL_ALIGNMENT * WTL_ALIGNMENT;
}

static const int32_t *map_at(const void *memory, size_t offset)
{
    return (const int32_t *)(const void *)((const char *)memory + offset);
}

/* ---- what is left ---- */

/* Filter k, or channel c of filters begin .. end-1: is any weight kept? */
static bool filter_lives(const wtl_conv_geometry *g, const float *mask, int k)
{
    size_t filter = (size_t)(g->c / g->groups) * g->r * g->s;
    for (size_t i = 0; i < filter; i++) {
        if (mask[k * filter + i] != 0.0f) {
            return true;
        }
    }
    return false;
}

static bool channel_lives(const wtl_conv_geometry *g, const float *mask, int channel)
{
    int channels = g->c / g->groups, filters = g->k / g->groups, group = channel / channels;
    size_t taps = (size_t)g->r * g->s;
    for (int k = group * filters; k < (group + 1) * filters; k++) {
        const float *at = mask + ((size_t)k * channels + channel % channels) * taps;
        for (size_t i = 0; i < taps; i++) {
            if (at[i] != 0.0f) {
                return true;
            }
        }
    }
    return false;
}

typedef bool lives_function(const wtl_conv_geometry *g, const float *mask, int index);

/* Channels (or filters) that each group of `count` needs, in all groups. */
static int count_left(const wtl_conv_geometry *g, const float *mask, int all,
                      lives_function *lives)
{
    int count = all / g->groups, fullest = 1;
    for (int group = 0; group < g->groups; group++) {
        int left = 0;
        for (int i = 0; i < count; i++) {
            left += lives(g, mask, group * count + i);
        }
        fullest = left > fullest ? left : fullest;
    }
    int whole = (fullest + B - 1) / B * B;
    return (whole < count ? whole : count) * g->groups;
}

bool wtl_conv_compact_geometry(const wtl_conv_native *c, const float *mask,
                               wtl_conv_geometry *small)
{
    const wtl_conv_geometry *g = &c->geometry;
    *small = *g;
    small->k = count_left(g, mask, g->k, filter_lives);
    if (!c->plain) {
        small->c = count_left(g, mask, g->c, channel_lives);
    }
    return small->k < g->k || small->c < g->c;
}

bool wtl_conv_compact_is_full(const wtl_conv_native *c, const float *mask)
{
    const wtl_conv_geometry *g = &c->geometry;
    int channels = g->c / g->groups, filters = g->k / g->groups;
    size_t taps = (size_t)g->r * g->s;
    for (int k = 0; k < g->k; k++) {
        for (int i = 0; i < channels && filter_lives(g, mask, k); i++) {
            const float *at = mask + ((size_t)k * channels + i) * taps;
            size_t kept = 0;
            for (size_t t = 0; t < taps; t++) {
                kept += at[t] != 0.0f;
            }
            if (kept < taps &&
                (c->plain || channel_lives(g, mask, k / filters * channels + i))) {
                return false;
            }
        }
    }
    return true;
}

double wtl_conv_compact_copying(const wtl_conv_native *c, const wtl_conv_geometry *small)
{
    static const double block_seconds = 6e-9; /* of a pixel's 16 channels */
    const wtl_conv_geometry *g = &c->geometry;
    double y = (double)g->p * g->q * (g->k + small->k) / B;
    double x = (double)g->h * g->w * (g->c + 2 * small->c) / B;
    return block_seconds * c->batch *
           ((small->k < g->k ? y : 0.0) + (small->c < g->c ? x : 0.0));
}

/* ---- making ---- */

/* Both maps between `all` and `left` channels of all groups. */
static void fill_maps(const wtl_conv_geometry *g, const float *mask, int all, int left,
                      lives_function *lives, int32_t *from, int32_t *to)
{
    int count = all / g->groups, places = left / g->groups;
    for (int i = 0; i < left; i++) {
        from[i] = -1;
    }
    for (int group = 0; group < g->groups; group++) {
        int next = group * places;
        for (int i = group * count; i < (group + 1) * count; i++) {
            bool placed = left == all || lives(g, mask, i);
            to[i] = placed ? next : -1;
            if (placed) {
                from[next++] = i;
            }
        }
    }
}

static compact header_of(const wtl_conv_geometry *g, const wtl_conv_geometry *small)
{
    compact h = {.filters = aligned(sizeof(compact))};
    h.channels = h.filters + aligned((size_t)small->k * sizeof(int32_t));
    h.small_filters = h.channels + aligned((size_t)small->c * sizeof(int32_t));
    h.small_channels = h.small_filters + aligned((size_t)g->k * sizeof(int32_t));
    return h;
}

size_t wtl_conv_compact_bytes(const wtl_conv_geometry *g, const wtl_conv_geometry *small)
{
    return header_of(g, small).small_channels + aligned((size_t)g->c * sizeof(int32_t));
}

static size_t set_up(const wtl_conv_native *c, const wtl_conv_geometry *small,
                     wtl_conv_native *inner)
{
    wtl_layer_plan plan = {.batch = c->batch,
                           .threads = c->threads,
                           .engine = WTL_ENGINE_NATIVE,
                           .native = c->native,
                           .blocked_in = !c->plain,
                           .blocked_out = true,
                           .no_winograd = c->no_winograd,
                           .training = true,
                           .input_gradient = c->wants_data,
                           .fused = c->fused};
    wtl_conv_native_setup(inner, small, c->has_bias, &plan);
    return plan.scratch_bytes;
}

void wtl_conv_compact_make(const wtl_conv_native *c, const wtl_conv_geometry *small,
                           const float *mask, void *memory)
{
    const wtl_conv_geometry *g = &c->geometry;
    compact *h = memory;
    char *bytes = memory;
    *h = header_of(g, small);
    (void)set_up(c, small, &h->inner);
    fill_maps(g, mask, g->k, small->k, filter_lives, (int32_t *)(void *)(bytes + h->filters),
              (int32_t *)(void *)(bytes + h->small_filters));
    fill_maps(g, mask, g->c, small->c, channel_lives, (int32_t *)(void *)(bytes + h->channels),
              (int32_t *)(void *)(bytes + h->small_channels));
}

/* ---- scratch ---- */

typedef struct buffers {
    float *w, *b, *fill, *x, *y, *rest;
} buffers;

static size_t blocked(int channels, int h, int w)
{
    return wtl_blocked_count((wtl_shape){channels, h, w});
}

static size_t weights_of(const wtl_conv_geometry *g)
{
    return (size_t)g->k * (size_t)(g->c / g->groups) * (size_t)g->r * (size_t)g->s;
}

static size_t padded(size_t floats)
{
    return (floats + B - 1) / B * B;
}

static size_t x_floats(const wtl_conv_geometry *g, const wtl_conv_geometry *small, int batch)
{
    return small->c < g->c ? (size_t)batch * blocked(small->c, g->h, g->w) : 0;
}

static size_t y_floats(const wtl_conv_geometry *g, const wtl_conv_geometry *small, int batch)
{
    return small->k < g->k ? (size_t)batch * blocked(small->k, g->p, g->q) : 0;
}

size_t wtl_conv_compact_scratch(const wtl_conv_native *c, const wtl_conv_geometry *small)
{
    const wtl_conv_geometry *g = &c->geometry;
    wtl_conv_native inner;
    size_t rest = set_up(c, small, &inner);
    double maps = (double)c->batch * ((double)blocked(small->c, g->h, g->w) +
                                      (double)blocked(small->k, g->p, g->q));
    if (rest == SIZE_MAX || maps > (double)(SIZE_MAX / 16)) {
        return SIZE_MAX;
    }
    size_t floats = padded(weights_of(small)) + padded((size_t)small->k) +
                    padded((size_t)g->k) + x_floats(g, small, c->batch) +
                    y_floats(g, small, c->batch);
    return floats > (SIZE_MAX - rest) / sizeof(float) ? SIZE_MAX
                                                      : floats * sizeof(float) + rest;
}

static buffers buffers_of(const wtl_conv_native *c, const wtl_conv_geometry *small,
                          float *scratch)
{
    const wtl_conv_geometry *g = &c->geometry;
    buffers b = {.w = scratch};
    b.b = b.w + padded(weights_of(small));
    b.fill = b.b + padded((size_t)small->k);
    b.x = b.fill + padded((size_t)g->k);
    b.y = b.x + x_floats(g, small, c->batch);
    b.rest = b.y + y_floats(g, small, c->batch);
    return b;
}

/* ---- copying ---- */

typedef struct copying {
    int n, threads;
    size_t pixels;
    const int32_t *from; /* [channels] of the target: channel of the source, or -1 */
    int channels;
    const float *fill; /* [channels], for -1; or NULL: 0 */
} copying;

static void copy_block(const copying *c, int first, const float *from, float *to)
{
    size_t offset[B];
    float fill[B];
    bool copied[B];
    for (int i = 0; i < B; i++) {
        int source = first + i < c->channels ? c->from[first + i] : -1;
        copied[i] = source >= 0;
        offset[i] = copied[i] ? (size_t)(source / B) * c->pixels * B + (size_t)(source % B) : 0;
        fill[i] = c->fill && first + i < c->channels ? c->fill[first + i] : 0.0f;
    }
    for (size_t p = 0; p < c->pixels; p++, from += B, to += B) {
        for (int i = 0; i < B; i++) {
            to[i] = copied[i] ? from[offset[i]] : fill[i];
        }
    }
}

static void copy_maps(const copying *c, const float *from, size_t from_image, float *to,
                      size_t to_image)
{
    int blocks = wtl_blocks_of(c->channels);
#pragma omp parallel for num_threads(c->threads) schedule(static) if (c->threads > 1)
    for (long i = 0; i < (long)c->n * blocks; i++) {
        int block = (int)(i % blocks);
        copy_block(c, block * B, from + (size_t)(i / blocks) * from_image,
                   to + (size_t)(i / blocks) * to_image + (size_t)block * c->pixels * B);
    }
}

/* The whole layer's w and b into the small layer's. */
static void take_weights(const wtl_conv_native *c, const compact *h, const float *w,
                         const float *b, const buffers *to)
{
    const wtl_conv_geometry *g = &c->geometry, *small = &h->inner.geometry;
    const int32_t *filters = map_at(h, h->filters), *channels = map_at(h, h->channels);
    int count = small->c / small->groups, all = g->c / g->groups;
    size_t taps = (size_t)g->r * g->s;
    memset(to->w, 0, weights_of(small) * sizeof *to->w);
    for (int k = 0; k < small->k; k++) {
        int group = k / (small->k / small->groups);
        to->b[k] = b && filters[k] >= 0 ? b[filters[k]] : 0.0f;
        for (int i = 0; i < count && filters[k] >= 0; i++) {
            int channel = channels[group * count + i];
            if (channel >= 0) {
                memcpy(to->w + ((size_t)k * count + i) * taps,
                       w + ((size_t)filters[k] * all + channel % all) * taps, taps * sizeof *w);
            }
        }
    }
}

static void put_weights(const wtl_conv_native *c, const compact *h, const float *small_dw,
                        float *dw)
{
    const wtl_conv_geometry *g = &c->geometry, *small = &h->inner.geometry;
    const int32_t *filters = map_at(h, h->filters), *channels = map_at(h, h->channels);
    int count = small->c / small->groups, all = g->c / g->groups;
    size_t taps = (size_t)g->r * g->s;
    for (int k = 0; k < small->k; k++) {
        int group = k / (small->k / small->groups);
        for (int i = 0; i < count && filters[k] >= 0; i++) {
            int channel = channels[group * count + i];
            if (channel >= 0) {
                memcpy(dw + ((size_t)filters[k] * all + (size_t)(channel % all)) * taps,
                       small_dw + ((size_t)k * count + i) * taps, taps * sizeof *dw);
            }
        }
    }
}

/* ---- the products ---- */

/* x of the small layer, and in *image how far its images are apart. */
static const float *small_x(const wtl_conv_native *c, const compact *h,
                            const wtl_layer_run *run, const float *x, float *to, size_t *image)
{
    const wtl_conv_geometry *g = &c->geometry, *small = &h->inner.geometry;
    *image = run->x_image[0];
    if (small->c == g->c) {
        return x;
    }
    *image = blocked(small->c, g->h, g->w);
    const copying how = {.n = run->n,
                         .threads = c->threads,
                         .pixels = (size_t)g->h * g->w,
                         .from = map_at(h, h->channels),
                         .channels = small->c};
    copy_maps(&how, x, run->x_image[0], to, *image);
    return to;
}

/* What filters that are gone give. */
static void fill_values(const wtl_conv_native *c, const float *b, float *fill)
{
    for (int k = 0; k < c->geometry.k; k++) {
        fill[k] = b ? b[k] : 0.0f;
    }
    wtl_activate(fill, (size_t)c->geometry.k, c->fused);
}

void wtl_conv_compact_forward(const wtl_conv_native *c, const wtl_layer_run *run,
                              const float *x, float *y)
{
    const compact *h = run->masked;
    const wtl_conv_geometry *g = &c->geometry, *small = &h->inner.geometry;
    const float *bias = c->has_bias ? run->value[1] : NULL;
    buffers b = buffers_of(c, small, run->scratch);
    size_t x_image;
    take_weights(c, h, run->value[0], bias, &b);
    const float *from = small_x(c, h, run, x, b.x, &x_image);
    bool apart = small->k < g->k;
    wtl_layer_run inner = *run;
    float *value[] = {b.w, b.b};
    inner.value = value;
    inner.masked = NULL;
    inner.scratch = b.rest;
    inner.x_image = &x_image;
    inner.y_image = apart ? blocked(small->k, g->p, g->q) : run->y_image;
    wtl_conv_native_forward(&h->inner, &inner, &from, apart ? b.y : y);
    if (apart) {
        fill_values(c, bias, b.fill);
        const copying how = {.n = run->n,
                             .threads = c->threads,
                             .pixels = (size_t)g->p * g->q,
                             .from = map_at(h, h->small_filters),
                             .channels = g->k,
                             .fill = b.fill};
        copy_maps(&how, b.y, inner.y_image, y, run->y_image);
    }
}

/* dx of the small layer, then of the whole one: 0 of channels that are gone. */
static void compact_data(const wtl_conv_native *c, const wtl_layer_run *run,
                         const wtl_layer_run *inner, const buffers *b, wtl_const_map dy,
                         float *dx)
{
    const compact *h = run->masked;
    const wtl_conv_geometry *g = &c->geometry, *small = &h->inner.geometry;
    bool apart = small->c < g->c;
    wtl_map to = {apart ? b->x : dx, apart ? blocked(small->c, g->h, g->w) : run->dx_image[0]};
    wtl_conv_native_data(&h->inner, inner, dy, to);
    if (apart) {
        const copying how = {.n = run->n,
                             .threads = c->threads,
                             .pixels = (size_t)g->h * g->w,
                             .from = map_at(h, h->small_channels),
                             .channels = g->c};
        copy_maps(&how, to.data, to.image, dx, run->dx_image[0]);
    }
}

void wtl_conv_compact_backward(const wtl_conv_native *c, const wtl_layer_run *run,
                               const float *x, const float *dy, float *dx)
{
    const compact *h = run->masked;
    const wtl_conv_geometry *g = &c->geometry, *small = &h->inner.geometry;
    buffers b = buffers_of(c, small, run->scratch);
    wtl_const_map of_x = {0}, of_y = {dy, run->dy_image};
    of_x.data = small_x(c, h, run, x, b.x, &of_x.image);
    if (small->k < g->k) {
        const copying how = {.n = run->n,
                             .threads = c->threads,
                             .pixels = (size_t)g->p * g->q,
                             .from = map_at(h, h->filters),
                             .channels = small->k};
        of_y = (wtl_const_map){b.y, blocked(small->k, g->p, g->q)};
        copy_maps(&how, dy, run->dy_image, b.y, of_y.image);
    }
    wtl_layer_run inner = *run;
    float *value[] = {b.w, b.b}, *gradient[] = {b.w, NULL};
    inner.value = value;
    inner.gradient = gradient;
    inner.masked = NULL;
    inner.scratch = b.rest;
    memset(b.w, 0, weights_of(small) * sizeof *b.w);
    wtl_conv_native_weights(&h->inner, &inner, of_x, of_y);
    put_weights(c, h, b.w, run->gradient[0]);
    if (dx) {
        take_weights(c, h, run->value[0], NULL, &b);
        compact_data(c, run, &inner, &b, of_y, dx);
    }
}
