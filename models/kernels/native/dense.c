/* dense.c - see dense.h.
 *
 * Forward of a few images works in dot products: lanes along d, a tile of images by four
 * filters in registers, added across lanes at the end. It waits for w, not for arithmetic.
 *
 * Forward of more has lanes along images, put side by side first: a tile of filters by
 * vectors of images in registers, w read in place. A chunk of the images' d stays in the second
 * cache while a block of filters passes over it.
 *
 * Both gradients are sums of rows: out[i] += a[j][i] * row[j], lanes along d, a tile of
 * outputs by two vectors in registers.
 *
 * Rows of w, x and y often lie a multiple of 4096 bytes apart, which sets of caches take
 * badly: what is read down a column more than once is copied together first.
 */
#include "dense.h"

#include "isa.h"
#include "panel.h"

#include <assert.h>

/* Tiles that fit the registers: images by FILTERS dot products, SIDE_FILTERS by vectors of
 * images, outputs by two vectors. */
#if defined WTL_FOR_AVX512
enum { MOST_IMAGES = 6, SIDE_FILTERS = 6, SIDE_VECS = 4, MOST_OUT = 14 };
#define EACH_IMAGES(M) M(1) M(2) M(3) M(4) M(5) M(6)
#define EACH_SIDE(M)   M(1) M(2) M(3) M(4)
#define EACH_OUT(M)    M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8) M(9) M(10) M(11) M(12) M(13) M(14)
#elif defined WTL_FOR_AVX2
enum { MOST_IMAGES = 3, SIDE_FILTERS = 6, SIDE_VECS = 2, MOST_OUT = 6 };
#define EACH_IMAGES(M) M(1) M(2) M(3)
#define EACH_SIDE(M)   M(1) M(2)
#define EACH_OUT(M)    M(1) M(2) M(3) M(4) M(5) M(6)
#else
enum { MOST_IMAGES = 2, SIDE_FILTERS = 4, SIDE_VECS = 2, MOST_OUT = 4 };
#define EACH_IMAGES(M) M(1) M(2)
#define EACH_SIDE(M)   M(1) M(2)
#define EACH_OUT(M)    M(1) M(2) M(3) M(4)
#endif

/* What is done at a time, so that it stays in a cache; measured. */
enum {
    ALONE_FILTERS = 8,   /* of a single vector of images: enough sums to be under way at once */
    FILTERS = 4,         /* of a tile of dot products: a vector `four` holds their sums */
    LINE = 16,           /* floats of a cache line */
    IMAGE_BLOCK = 128,   /* images side by side */
    CHUNK = 1024,        /* d of theirs in the second cache */
    FILTER_BLOCK = 96,   /* filters that pass over it */
    WEIGHTS_ROWS = 128,  /* images that the weights' gradient adds */
    WEIGHTS_WIDE = 2048, /* d of theirs */
    DATA_ROWS = 96,      /* filters that the input's gradient adds */
    DATA_WIDE = 512      /* d of theirs and of all images, in the second cache */
};

static long least(long a, long b)
{
    return a < b ? a : b;
}

/* Equal parts of at most `most`. */
static long part_of(long count, long most)
{
    long parts = (count + most - 1) / most;
    return parts ? (count + parts - 1) / parts : 0;
}

/* ---- forward, few images ---- */

typedef struct dots {
    long d, x_step, w_step;
    const float *x, *w;
    four *sum; /* [images] */
} dots;

WTL_INLINE void dot_step(int images, int filters, const dots *t, long at, int part,
                         vec sum[MOST_IMAGES][FILTERS])
{
    vec of_w[FILTERS];
    WTL_UNROLL for (int f = 0; f < filters; f++)
    {
        const float *p = t->w + f * t->w_step + at;
        of_w[f] = part ? part_load(p, part) : vec_load(p);
    }
    WTL_UNROLL for (int i = 0; i < images; i++)
    {
        const float *p = t->x + i * t->x_step + at;
        vec value = part ? part_load(p, part) : vec_load(p);
        WTL_UNROLL for (int f = 0; f < filters; f++)
        {
            sum[i][f] = vec_fma(value, of_w[f], sum[i][f]);
        }
    }
}

WTL_INLINE void dot_tile(int images, int filters, const dots *t)
{
    vec sum[MOST_IMAGES][FILTERS];
    WTL_UNROLL for (int i = 0; i < images; i++)
    {
        WTL_UNROLL for (int f = 0; f < FILTERS; f++)
        {
            sum[i][f] = vec_zero();
        }
    }
    long at = 0;
    for (; at + LANES <= t->d; at += LANES) {
        dot_step(images, filters, t, at, 0, sum);
    }
    if (at < t->d) {
        dot_step(images, filters, t, at, (int)(t->d - at), sum);
    }
    WTL_UNROLL for (int i = 0; i < images; i++)
    {
        t->sum[i] = four_sums(sum[i][0], sum[i][1], sum[i][2], sum[i][3]);
    }
}

typedef void dots_function(const dots *t);

#define DOTS(images)                                                                           \
    static void dots_1_##images(const dots *t)                                                 \
    {                                                                                          \
        dot_tile(images, 1, t);                                                                \
    }                                                                                          \
    static void dots_4_##images(const dots *t)                                                 \
    {                                                                                          \
        dot_tile(images, FILTERS, t);                                                          \
    }
#define DOTS_1_NAME(images) dots_1_##images,
#define DOTS_4_NAME(images) dots_4_##images,
EACH_IMAGES(DOTS)
static dots_function *const DOTS_1[] = {EACH_IMAGES(DOTS_1_NAME)};
static dots_function *const DOTS_4[] = {EACH_IMAGES(DOTS_4_NAME)};

/* A few images by one or four filters. */
static void dots_of_filters(dots t, int filters, int images)
{
    dots_function *const *table = filters == FILTERS ? DOTS_4 : DOTS_1;
    int parts = (images + MOST_IMAGES - 1) / MOST_IMAGES, i = 0;
    for (int part = 0; part < parts; part++) {
        int count = images * (part + 1) / parts - i;
        table[count - 1](&t);
        t.x += count * t.x_step;
        t.sum += count;
        i += count;
    }
}

static void forward_few(const wtl_dense *l, long begin, long end, const float *x,
                        const float *w, const float *bias, float *y)
{
    four sum[WTL_DENSE_FEW];
    int filters;
    for (long k = begin; k < end; k += filters) {
        filters = end - k >= FILTERS ? FILTERS : 1;
        dots t = {.d = l->d,
                  .x_step = l->x_step,
                  .w_step = l->d,
                  .x = x,
                  .w = w + k * l->d,
                  .sum = sum};
        dots_of_filters(t, filters, l->n);
        for (int i = 0; i < l->n; i++) {
            float *to = y + i * l->y_step + k;
            if (filters == FILTERS) {
                four start = bias ? four_load(bias + k) : (four){0};
                four_store(to, four_activated(sum[i] + start, l->activation));
            } else {
                *to = four_activated(sum[i] + (four){bias ? bias[k] : 0.0f}, l->activation)[0];
            }
        }
    }
}

/* ---- forward, images side by side ---- */

typedef struct side {
    long d, w_step;
    const float *x; /* [d, width] */
    const float *w;
    bool add;   /* to the sums that are there */
    float *sum; /* [filters, width] */
} side;

WTL_INLINE void side_tile(int filters, int vecs, const side *t)
{
    const long width = vecs * LANES;
    vec sum[ALONE_FILTERS][SIDE_VECS];
    WTL_UNROLL for (int f = 0; f < filters; f++)
    {
        WTL_UNROLL for (int v = 0; v < vecs; v++)
        {
            sum[f][v] = t->add ? vec_load(t->sum + f * width + v * LANES) : vec_zero();
        }
    }
    const float *x = t->x;
    for (long begin = 0; begin < t->d; begin += LINE) {
        const float *w = t->w + begin;
        /* The next filters' rows, to be there when their turn comes. */
        WTL_UNROLL for (int f = 0; f < filters; f++)
        {
            __builtin_prefetch(w + (filters + f) * t->w_step, 0, 2);
        }
        for (long count = least(LINE, t->d - begin); count > 0; count--, w++, x += width) {
            vec of_x[SIDE_VECS];
            WTL_UNROLL for (int v = 0; v < vecs; v++)
            {
                of_x[v] = vec_load(x + v * LANES);
            }
            WTL_UNROLL for (int f = 0; f < filters; f++)
            {
                vec weight = vec_all(w[f * t->w_step]);
                WTL_UNROLL for (int v = 0; v < vecs; v++)
                {
                    sum[f][v] = vec_fma(weight, of_x[v], sum[f][v]);
                }
            }
        }
    }
    WTL_UNROLL for (int f = 0; f < filters; f++)
    {
        WTL_UNROLL for (int v = 0; v < vecs; v++)
        {
            vec_store(t->sum + f * width + v * LANES, sum[f][v]);
        }
    }
}

typedef void side_function(const side *t);

#define SIDE(vecs)                                                                             \
    static void side_1_##vecs(const side *t)                                                   \
    {                                                                                          \
        side_tile(1, vecs, t);                                                                 \
    }                                                                                          \
    static void side_most_##vecs(const side *t)                                                \
    {                                                                                          \
        side_tile(SIDE_FILTERS, vecs, t);                                                      \
    }
#define SIDE_NAME(vecs) {side_1_##vecs, side_most_##vecs},
EACH_SIDE(SIDE)
static void side_alone(const side *t)
{
    side_tile(ALONE_FILTERS, 1, t);
}
static side_function *const SIDES[][2] = {EACH_SIDE(SIDE_NAME)};

/* Sums [filters, width of each tile] to y. */
static void side_finish(const wtl_dense *l, wtl_panel p, int filters, const float *sum,
                        const float *bias, float *y)
{
    for (int tile = 0; tile < p.tiles; tile++) {
        int first = panel_begin(p, tile) * LANES, last = panel_begin(p, tile + 1) * LANES;
        int images = (int)least(last, p.images) - first, f = 0;
        long width = last - first;
        float *to = y + first * l->y_step;
        for (; f + 4 <= filters; f += 4) {
            panel_finish(images, width, sum + f * width, bias ? bias + f : NULL, l->activation,
                         to + f, l->y_step);
        }
        panel_finish_few(filters - f, images, width, sum + f * width, bias ? bias + f : NULL,
                         l->activation, to + f, l->y_step);
        sum += width * FILTER_BLOCK;
    }
}

/* A block of images and filters; panel has the tiles of these images alone. */
static void side_block(const wtl_dense *l, int images, int filters, const float *panel,
                       const float *w, const float *bias, float *y)
{
    float sum[FILTER_BLOCK * IMAGE_BLOCK];
    wtl_panel p = panel_of(images, SIDE_VECS);
    const int most = p.vecs == 1 ? ALONE_FILTERS : SIDE_FILTERS;
    assert(l->d > 0);
    for (long d = 0; d < l->d; d += CHUNK) {
        int many;
        for (int f = 0; f < filters; f += many) {
            many = filters - f >= most ? most : 1;
            side t = {.d = least(CHUNK, l->d - d),
                      .w_step = l->d,
                      .w = w + f * (long)l->d + d,
                      .add = d > 0};
            for (int tile = 0; tile < p.tiles; tile++) {
                int first = panel_begin(p, tile), vecs = panel_begin(p, tile + 1) - first;
                t.x = panel + (first * (long)l->d + d * vecs) * LANES;
                t.sum = sum + (first * FILTER_BLOCK + f * vecs) * LANES;
                if (many == ALONE_FILTERS) {
                    side_alone(&t);
                } else {
                    SIDES[vecs - 1][many > 1](&t);
                }
            }
        }
    }
    side_finish(l, p, filters, sum, bias, y);
}

static int images_at(const wtl_dense *l, int first)
{
    return (int)least(IMAGE_BLOCK, l->n - first);
}

static void turn(const wtl_dense *l, long begin, long end, const float *x, float *panel)
{
    for (int i = 0; i < l->n; i += IMAGE_BLOCK) {
        panel_fill(panel_of(images_at(l, i), SIDE_VECS), l->d, begin, end, x + i * l->x_step,
                   l->x_step, panel + (long)i * l->d);
    }
}

static void forward(const wtl_dense *l, long begin, long end, const float *x,
                    const float *panel, const float *w, const float *bias, float *y)
{
    if (l->n <= WTL_DENSE_FEW) {
        forward_few(l, begin, end, x, w, bias, y);
        return;
    }
    for (int i = 0; i < l->n; i += IMAGE_BLOCK) {
        for (long k = begin; k < end; k += FILTER_BLOCK) {
            side_block(l, images_at(l, i), (int)least(FILTER_BLOCK, end - k),
                       panel + (long)i * l->d, w + k * l->d, bias ? bias + k : NULL,
                       y + i * l->y_step + k);
        }
    }
}

/* ---- gradients ---- */

/* out[i][d] (+)= sum over j of a[j][i] * row[j][d], for the d of one or two vectors */
typedef struct rows {
    int count; /* of rows j */
    long row_step, out_step;
    bool add;
    const float *a;   /* [count, OUT_STEP] */
    const float *row; /* [count, 2 vectors] */
    float *out;
} rows;

enum { PAIR = 2 * LANES, OUT_STEP = (MOST_OUT + 3) / 4 * 4 };

/* `part` 0: two whole vectors of out; else so many floats of it. */
WTL_INLINE void rows_tile(int outputs, bool whole, int part, const rows *t)
{
    vec sum[MOST_OUT][2];
    WTL_UNROLL for (int i = 0; i < outputs; i++)
    {
        const float *p = t->out + i * t->out_step;
        WTL_UNROLL for (int v = 0; v < 2; v++)
        {
            sum[i][v] = !t->add ? vec_zero()
                        : whole ? vec_load(p + v * LANES)
                                : some_load(p + v * LANES, part - v * LANES);
        }
    }
    const float *a = t->a, *row = t->row;
    for (int j = 0; j < t->count; j++, a += OUT_STEP, row += t->row_step) {
        vec of_row[2] = {whole ? vec_load(row) : some_load(row, part),
                         whole ? vec_load(row + LANES) : some_load(row + LANES, part - LANES)};
        WTL_UNROLL for (int i = 0; i < outputs; i++)
        {
            vec value = vec_all(a[i]);
            sum[i][0] = vec_fma(value, of_row[0], sum[i][0]);
            sum[i][1] = vec_fma(value, of_row[1], sum[i][1]);
        }
    }
    WTL_UNROLL for (int i = 0; i < outputs; i++)
    {
        float *p = t->out + i * t->out_step;
        WTL_UNROLL for (int v = 0; v < 2; v++)
        {
            if (whole) {
                vec_store(p + v * LANES, sum[i][v]);
            } else {
                some_store(p + v * LANES, part - v * LANES, sum[i][v]);
            }
        }
    }
}

typedef void rows_function(const rows *t, int columns);

#define ROWS(outputs)                                                                          \
    static void rows_##outputs(const rows *t, int columns)                                     \
    {                                                                                          \
        if (columns == PAIR) {                                                                 \
            rows_tile(outputs, true, 0, t);                                                    \
        } else {                                                                               \
            rows_tile(outputs, false, columns, t);                                             \
        }                                                                                      \
    }
#define ROWS_NAME(outputs) rows_##outputs,
EACH_OUT(ROWS)
static rows_function *const ROWS[] = {EACH_OUT(ROWS_NAME)};

/* a [count, OUT_STEP] = rows of `from`. */
static void pack(int count, int outputs, const float *from, long row, float *a)
{
    for (int j = 0; j < count; j++, a += OUT_STEP, from += row) {
        for (int i = 0; i < outputs; i++) {
            a[i] = from[i];
        }
    }
}

/* to [count, PAIR] = the columns of rows, 0 beyond them. */
WTL_INLINE void pack_pair(int count, int columns, const float *from, long row, float *to)
{
    for (int j = 0; j < count; j++, from += row, to += PAIR) {
        if (columns == PAIR) {
            vec_store(to, vec_load(from));
            vec_store(to + LANES, vec_load(from + LANES));
        } else {
            memset(to, 0, PAIR * sizeof *to);
            memcpy(to, from, (size_t)columns * sizeof *to);
        }
    }
}

static void cut(const wtl_dense *l, long begin, long end, const float *x, float *panel)
{
    for (long d = begin; d < end; d += PAIR) {
        pack_pair(l->n, (int)least(PAIR, l->d - d), x + d, l->x_step, panel + d * l->n);
    }
}

/* What will be added to, on its way from memory. */
WTL_INLINE void fetch_pair(long count, const float *from, long row)
{
    for (long i = 0; i < count; i++) {
        __builtin_prefetch(from + i * row, 1, 3);
        __builtin_prefetch(from + i * row + LINE, 1, 3);
    }
}

static void weights(const wtl_dense *l, long begin, long end, bool add, const float *panel,
                    const float *dy, float *dw)
{
    float a[WEIGHTS_ROWS * OUT_STEP];
    const long outputs = part_of(end - begin, MOST_OUT);
    for (int n = 0; n < l->n; n += WEIGHTS_ROWS) {
        rows t = {.count = (int)least(WEIGHTS_ROWS, l->n - n),
                  .row_step = PAIR,
                  .out_step = l->d,
                  .add = add || n > 0,
                  .a = a};
        for (long from = 0; from < l->d; from += WEIGHTS_WIDE) {
            long to = least(from + WEIGHTS_WIDE, l->d);
            for (long k = begin; k < end; k += outputs) {
                long count = least(outputs, end - k);
                assert(count > 0 && count <= MOST_OUT);
                pack(t.count, (int)count, dy + n * l->y_step + k, l->y_step, a);
                for (long d = from; d < to; d += PAIR) {
                    t.row = panel + d * l->n + n * PAIR;
                    t.out = dw + k * l->d + d;
                    fetch_pair(count, t.out + 2 * PAIR, l->d);
                    ROWS[count - 1](&t, (int)least(PAIR, to - d));
                }
            }
        }
    }
}

static void bias(const wtl_dense *l, long begin, long end, bool add, const float *dy, float *db)
{
    for (int n = 0; n < l->n; n++, dy += l->y_step) {
        for (long k = begin; k < end; k++) {
            db[k] = add || n > 0 ? db[k] + dy[k] : dy[k];
        }
    }
}

/* Lines begin..end of a block of rows, counted along the rows, on their way to the second cache.
 */
WTL_INLINE void fetch_lines(long begin, long end, const float *from, long row, long lines)
{
    long r = begin / lines, at = begin % lines;
    for (; begin < end; begin++) {
        __builtin_prefetch(from + r * row + at * LINE, 0, 2);
        if (++at == lines) {
            at = 0;
            r++;
        }
    }
}

/* A block of rows k and columns d of w; a [tiles of images, rows, OUT_STEP]. The rows after
 * it are fetched meanwhile, in long runs. */
static void data_block(const wtl_dense *l, int images, int count, long columns, bool add,
                       const float *a, const float *w, float *dx)
{
    const long outputs = part_of(images, MOST_OUT), tiles = (images + outputs - 1) / outputs;
    const long pairs = (columns + PAIR - 1) / PAIR, lines = (columns + LINE - 1) / LINE;
    rows t = {.row_step = l->d, .count = count, .out_step = l->x_step, .add = add, .a = a};
    long step = 0, steps = tiles * pairs;
    for (long tile = 0; tile < tiles; tile++, t.a += count * OUT_STEP) {
        long many = least(outputs, images - tile * outputs);
        for (long d = 0; d < columns; d += PAIR, step++) {
            fetch_lines(step * count * lines / steps, (step + 1) * count * lines / steps,
                        w + count * (long)l->d, l->d, lines);
            t.row = w + d;
            t.out = dx + tile * outputs * l->x_step + d;
            ROWS[many - 1](&t, (int)least(PAIR, columns - d));
        }
    }
}

/* A panel of columns d stays in the second cache while all of its rows k pass. */
static void data_panel(const wtl_dense *l, int images, long columns, const float *dy,
                       const float *w, float *dx)
{
    float a[DATA_ROWS * IMAGE_BLOCK * 2]; /* outputs are more than half of OUT_STEP */
    const int outputs = (int)part_of(images, MOST_OUT);
    for (int k = 0; k < l->k; k += DATA_ROWS) {
        int count = (int)least(DATA_ROWS, l->k - k);
        float *to = a;
        for (int n = 0; n < images; n += outputs, to += count * OUT_STEP) {
            int many = (int)least(outputs, images - n);
            for (int i = 0; i < many; i += 4) {
                panel_turn_four((int)least(4, many - i), count, dy + (n + i) * l->y_step + k,
                                l->y_step, to + i, OUT_STEP);
            }
        }
        data_block(l, images, count, columns, k > 0, a, w + (long)k * l->d, dx);
    }
}

static void data(const wtl_dense *l, long begin, long end, const float *dy, const float *w,
                 float *dx)
{
    for (int i = 0; i < l->n; i += IMAGE_BLOCK) {
        for (long d = begin; d < end; d += DATA_WIDE) {
            data_panel(l, images_at(l, i), least(DATA_WIDE, end - d), dy + i * l->y_step, w + d,
                       dx + i * l->x_step + d);
        }
    }
}

const wtl_dense_kernels WTL_NATIVE(dense) = {
    .turn = turn,
    .forward = forward,
    .cut = cut,
    .weights = weights,
    .bias = bias,
    .data = data,
};
