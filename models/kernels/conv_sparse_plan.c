/* conv_sparse_plan.c - how the tiles of a sparse convolution are laid out: of all that fit, the
 * layout that is estimated to be fastest
 * by the rates of wattle/kernel_costs.h that are the default: the same on every machine. */
#include "conv_sparse.h"
#include "native/sparse.h"

#include <limits.h>
#include <math.h>

enum {
    BLOCK = WTL_BLOCK_CHANNELS,
    MOST_PIXELS = 512,       /* of a tile, if a tile of one row is no more */
    MOST_PANEL = 256 * 1024, /* floats, if one of one channel is no more */
    MOST_FLOATS = 1 << 30,   /* of a panel at all: offsets are 32 bits */
    MOST_IMAGES = 16         /* side by side */
};

static int divided_up(long a, long b)
{
    return (int)((a + b - 1) / b);
}

static long rounded_up(long a, long b)
{
    return (a + b - 1) / b * b;
}

static int greatest_divisor(int a, int b)
{
    while (b) {
        int rest = a % b;
        a = b;
        b = rest;
    }
    return a;
}

/* Different starts, modulo the stride, of the taps of a row or column of the filter. */
static int phase_count(int taps, int dilation, int stride)
{
    int period = stride / greatest_divisor(stride, dilation);
    return taps < period ? taps : period;
}

wtl_conv_geometry wtl_sparse_geometry(const wtl_conv_geometry *g)
{
    wtl_conv_geometry plain = *g;
    bool point = g->r == 1 && g->s == 1 && g->stride[0] == 1 && g->stride[1] == 1;
    long pixels = (long)g->h * g->w;
    if (!point || g->p != g->h || g->q != g->w || (pixels % BLOCK && pixels > MOST_PIXELS)) {
        return plain;
    }
    int width = pixels % BLOCK ? (int)pixels : BLOCK;
    plain.w = plain.q = width;
    plain.h = plain.p = (int)(pixels / width);
    return plain;
}

/* Everything of *l that follows from flat, rows, images and channels; false if it is too large. */
static bool lay_out(wtl_sparse_layout *l, const wtl_conv_sparse *p, int lanes)
{
    const wtl_conv_geometry *g = &p->g;
    l->panels = divided_up(p->group_channels, l->channels);
    l->row_views = l->flat ? g->r : phase_count(g->r, g->dilation[0], g->stride[0]);
    l->view_rows = l->rows + (l->flat ? 0 : (g->r - 1) * g->dilation[0] / g->stride[0]);
    l->pitch = (long)l->images * g->q;
    if (!l->flat) {
        l->pitch = rounded_up(l->pitch, lanes);
    }
    double view = (double)l->view_rows * l->pitch + 2 * BLOCK;
    double views = (double)l->row_views * g->s;
    l->phases = phase_count(g->s, g->dilation[1], g->stride[1]);
    double line = (double)g->q + (double)(g->s - 1) * g->dilation[1] / g->stride[1] + 3 * BLOCK;
    double planes = (double)rounded_up(l->channels, l->channels < BLOCK ? 1 : BLOCK);
    if (view * views * planes > MOST_FLOATS || line * BLOCK * l->phases > MOST_FLOATS) {
        return false;
    }
    l->views = (int)views;
    /* An odd number of cache lines: equal places of many views must not share cache sets. */
    l->view = rounded_up((long)l->view_rows * l->pitch, BLOCK) + BLOCK;
    l->view += l->view / BLOCK % 2 ? 0 : BLOCK;
    l->plane = l->view * l->views;
    l->plane += l->plane / BLOCK % 2 ? 0 : BLOCK;
    l->vectors = divided_up((long)l->rows * l->pitch, lanes);
    l->sums_pitch = rounded_up((long)l->vectors * lanes, BLOCK) + BLOCK;
    l->sums_pitch += l->sums_pitch / BLOCK % 2 ? 0 : BLOCK;
    l->line = rounded_up((long)line, BLOCK);
    l->panel_floats = (size_t)((double)l->plane * planes) + BLOCK;
    l->line_floats = (size_t)l->line * BLOCK * ((size_t)l->phases + 1);
    int blocks = divided_up(p->group_filters, BLOCK);
    blocks = blocks < WTL_SPARSE_SEGMENT ? blocks : WTL_SPARSE_SEGMENT;
    l->sums_floats = (size_t)blocks * BLOCK * (size_t)l->sums_pitch + BLOCK;
    return true;
}

/* ---- the estimate, in ns of one thread ---- */

/* What the first-level cache holds beside sums and weights passing by, and from where on a panel is
 * read from the second level as a whole; beyond the last it shares that with the sums. */
enum { NEAR_BYTES = 44 * 1024, FAR_BYTES = 160 * 1024, FULL_BYTES = 700 * 1024 };

/* Between the rates for input that is near and far. */
static double rate(double near, double far, double bytes)
{
    if (bytes <= NEAR_BYTES) {
        return near;
    }
    if (bytes < FAR_BYTES) {
        return near + (far - near) * (bytes - NEAR_BYTES) / (FAR_BYTES - NEAR_BYTES);
    }
    return bytes <= FULL_BYTES ? far : far * bytes / FULL_BYTES;
}

/* Sums of one filter or quad of a tile over one panel with n entries. */
static double ns_of_sums(const wtl_conv_sparse *p, const wtl_sparse_layout *l,
                         const wtl_sparse_kernels *kernels, const wtl_kernel_costs *costs,
                         double n)
{
    bool rows = p->form == WTL_SPARSE_ROWS;
    double bytes = 4.0 * (double)l->panel_floats;
    double pixels = (double)l->vectors * kernels->lanes;
    int calls = divided_up(l->vectors, rows ? kernels->most_rows : kernels->most_quads);
    double each = rows ? rate(costs->rows_ns, costs->rows_far_ns, bytes)
                       : rate(costs->quads_ns, costs->quads_far_ns, bytes);
    /* An entry itself is read once a call: as long as a vector's product. */
    each *= pixels + calls * kernels->lanes * (rows ? 1.0 : 0.25);
    if (p->gradients) {
        /* dy is read once for all entries; a weight's vector of sums is put away after each call,
         * and added up at last. */
        double weights = n * (rows ? 1 : WTL_QUAD);
        return n * each + weights * kernels->lanes * costs->sum_ns * (2.0 + calls) / 3 +
               calls * costs->call_ns + (rows ? 1 : WTL_QUAD) * pixels * costs->sum_ns / 3;
    }
    return n * each + calls * costs->call_ns + (rows ? 1 : WTL_QUAD) * pixels * costs->sum_ns;
}

static double ns_of_panel(const wtl_conv_sparse *p, const wtl_sparse_layout *l, int lanes,
                          const wtl_kernel_costs *costs)
{
    const wtl_conv_geometry *g = &p->g;
    double lines = (double)l->row_views * l->view_rows * l->images;
    int channels = l->channels < p->group_channels ? l->channels : p->group_channels;
    double turned = (double)rounded_up(channels, BLOCK) * (double)rounded_up(g->w, lanes);
    double copied = (double)g->s * channels * (double)rounded_up(g->q, lanes);
    /* Written to the second level, values take several times as long. */
    double far = 4.0 * (double)l->panel_floats > NEAR_BYTES ? 2.0 : 1.0;
    return lines * (turned * costs->turn_ns + far * copied * costs->copy_ns + costs->call_ns);
}

double wtl_sparse_estimate(const wtl_conv_sparse *p, const wtl_native *native, int batch,
                           const wtl_kernel_costs *costs)
{
    const wtl_conv_geometry *g = &p->g;
    const wtl_sparse_layout *l = &p->layout;
    double units = divided_up(p->group_filters, p->form == WTL_SPARSE_ROWS ? 1 : WTL_QUAD);
    double n = (double)p->entries / ((double)p->groups * l->panels * units);
    double blocks = divided_up(p->group_filters, BLOCK);
    double sums = l->panels * units * ns_of_sums(p, l, native->sparse, costs, n);
    double segments = ceil(blocks / WTL_SPARSE_SEGMENT);
    double panels = segments * l->panels * ns_of_panel(p, l, native->sparse->lanes, costs);
    double finish = blocks * BLOCK * l->rows * l->images *
                    (double)rounded_up(g->q, native->sparse->lanes) * costs->turn_ns;
    double tiles = (double)divided_up(g->p, l->rows) * divided_up(batch, l->images);
    return 1e-9 * tiles * p->groups * (sums + panels + finish);
}

/* ---- all layouts ---- */

typedef struct search {
    wtl_conv_sparse *p;
    const wtl_native *native;
    int batch;
    wtl_kernel_costs costs;
    size_t most_scratch; /* of all that fit */
    double best;
    wtl_sparse_layout layout; /* of the best */
} search;

static void try_layout(search *s, wtl_sparse_layout *l, bool smallest)
{
    const wtl_sparse_kernels *kernels = s->native->sparse;
    if (!lay_out(l, s->p, kernels->lanes) ||
        (!smallest &&
         (l->panel_floats > MOST_PANEL || (long)l->vectors * kernels->lanes > MOST_PIXELS))) {
        return;
    }
    size_t scratch = l->panel_floats + l->line_floats + l->sums_floats;
    s->most_scratch = scratch > s->most_scratch ? scratch : s->most_scratch;
    s->p->layout = *l;
    double seconds = wtl_sparse_estimate(s->p, s->native, s->batch, &s->costs);
    if (seconds < s->best) {
        s->best = seconds;
        s->layout = *l;
    }
}

/* Panels of 1, 2, 4, 8, 16, 32, 48, 64, 96, 128, ... channels. */
static void try_channels(search *s, bool flat, int images, int rows)
{
    int most = s->p->group_channels;
    for (int channels = 1;; channels += channels < BLOCK ? channels
                                        : channels < 64  ? BLOCK
                                                         : channels / 32 * BLOCK) {
        wtl_sparse_layout l = {
            .flat = flat, .rows = rows, .images = images, .channels = channels};
        try_layout(s, &l, !flat && images == 1 && rows == 1 && channels == 1);
        if (channels >= most) {
            return;
        }
    }
}

static void try_rows(search *s, bool flat, int images)
{
    int before = 0;
    for (int tiles = s->p->g.p; tiles > 0; tiles--) {
        int rows = divided_up(s->p->g.p, tiles);
        if (rows > 1 && (long)rows * images * s->p->g.q > MOST_PIXELS) {
            return;
        }
        if (rows != before) {
            try_channels(s, flat, images, rows);
        }
        before = rows;
    }
}

static bool try_all(search *s)
{
    s->best = INFINITY;
    s->most_scratch = 0;
    s->costs = wtl_kernel_costs_default(s->native->isa);
    int most = s->batch < MOST_IMAGES ? s->batch : MOST_IMAGES;
    for (int images = 1; images <= most; images++) {
        try_rows(s, false, images);
        try_rows(s, true, images);
    }
    s->p->layout = s->layout;
    return isfinite(s->best);
}

/* Groups that are not whole blocks are taken as one, with zeros between them. */
static void set_groups(wtl_conv_sparse *p, const wtl_conv_geometry *g)
{
    p->g = wtl_sparse_geometry(g);
    bool whole = g->c / g->groups % BLOCK == 0 && g->k / g->groups % BLOCK == 0;
    p->groups = whole ? g->groups : 1;
    p->group_channels = g->c / p->groups;
    p->group_filters = g->k / p->groups;
}

bool wtl_sparse_plan(wtl_conv_sparse *p, const wtl_native *native, const wtl_conv_geometry *g,
                     int batch, wtl_sparse_form form, size_t entries, bool gradients)
{
    *p = (wtl_conv_sparse){.form = form, .entries = entries, .gradients = gradients};
    set_groups(p, g);
    search s = {.p = p, .native = native, .batch = batch};
    if (entries > INT32_MAX || !try_all(&s)) {
        return false;
    }
    p->seconds = s.best;
    return true;
}

size_t wtl_conv_sparse_scratch(const wtl_native *native, const wtl_conv_geometry *g, int batch,
                               int threads)
{
    wtl_conv_sparse p = {.form = WTL_SPARSE_ROWS};
    set_groups(&p, g);
    search s = {.p = &p, .native = native, .batch = batch};
    if (!try_all(&s) || s.most_scratch > SIZE_MAX / sizeof(float) / (size_t)threads) {
        return SIZE_MAX;
    }
    return s.most_scratch * sizeof(float) * (size_t)threads;
}
