/* pool.c - see pool.h. Gradients are gathered, not scattered: each value of dx is the sum over
 * the windows that cover it, and is written once. */
#include "pool.h"
#include "block.h"

/* ---- maxima and their places, in one byte a channel ---- */

#if defined WTL_FOR_AVX512

typedef __m128i places;

WTL_INLINE places places_all(int place)
{
    return _mm_set1_epi8((char)place);
}

WTL_INLINE places places_less(places p, places step)
{
    return _mm_sub_epi8(p, step);
}

WTL_INLINE void places_store(uint8_t *to, places p)
{
    _mm_storeu_si128((__m128i *)to, p);
}

WTL_INLINE bool has_nan(block b)
{
    return _mm512_cmp_ps_mask(b.of[0], b.of[0], _CMP_UNORD_Q) != 0;
}

WTL_INLINE void offer(block value, int place, bool nans, block *best, places *where)
{
    __mmask16 wins = _mm512_cmp_ps_mask(value.of[0], best->of[0], _CMP_GT_OQ);
    if (nans) {
        __mmask16 nan = _mm512_cmp_ps_mask(value.of[0], value.of[0], _CMP_UNORD_Q);
        wins = _kor_mask16(wins, nan);
    }
    best->of[0] = _mm512_mask_mov_ps(best->of[0], wins, value.of[0]);
    *where = _mm_mask_mov_epi8(*where, wins, places_all(place));
}

/* sum + dy in the channels whose place is `place` */
WTL_INLINE block add_where(block sum, const uint8_t *from, places place, block dy)
{
    /* Not an addition under a mask: a masked operand in memory, which it would have, is not
     * prefetched. */
    __mmask16 here = _mm_cmpeq_epi8_mask(_mm_loadu_si128((const __m128i *)from), place);
    sum.of[0] += _mm512_and_ps(dy.of[0], _mm512_castsi512_ps(_mm512_movm_epi32(here)));
    return sum;
}

#elif defined WTL_FOR_AVX2

typedef struct places {
    __m256i of[BLOCK_VECS];
} places;

WTL_INLINE places places_all(int place)
{
    places p = {{_mm256_set1_epi32(place), _mm256_set1_epi32(place)}};
    return p;
}

WTL_INLINE places places_less(places p, places step)
{
    EACH_VEC
    {
        p.of[v_] = _mm256_sub_epi32(p.of[v_], step.of[v_]);
    }
    return p;
}

WTL_INLINE void places_store(uint8_t *to, places p)
{
    __m256i words = _mm256_packs_epi32(p.of[0], p.of[1]); /* quarters 0 2 1 3 of the block */
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi16(low, high));
}

WTL_INLINE bool has_nan(block b)
{
    return _mm256_movemask_ps(_mm256_cmp_ps(b.of[0], b.of[1], _CMP_UNORD_Q)) != 0;
}

WTL_INLINE void offer(block value, int place, bool nans, block *best, places *where)
{
    __m256 here = _mm256_castsi256_ps(_mm256_set1_epi32(place));
    EACH_VEC
    {
        __m256 wins = _mm256_cmp_ps(value.of[v_], best->of[v_], _CMP_GT_OQ);
        if (nans) {
            __m256 nan = _mm256_cmp_ps(value.of[v_], value.of[v_], _CMP_UNORD_Q);
            wins = _mm256_or_ps(wins, nan);
        }
        __m256 there = _mm256_castsi256_ps(where->of[v_]);
        best->of[v_] = _mm256_blendv_ps(best->of[v_], value.of[v_], wins);
        where->of[v_] = _mm256_castps_si256(_mm256_blendv_ps(there, here, wins));
    }
}

WTL_INLINE block add_where(block sum, const uint8_t *from, places place, block dy)
{
    EACH_VEC
    {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(from + v_ * LANES));
        __m256i here = _mm256_cmpeq_epi32(_mm256_cvtepu8_epi32(bytes), place.of[v_]);
        sum.of[v_] += _mm256_and_ps(dy.of[v_], _mm256_castsi256_ps(here));
    }
    return sum;
}

#else

typedef struct places {
    lane4i of[BLOCK_VECS];
} places;

WTL_INLINE places places_all(int place)
{
    places p;
    EACH_VEC
    {
        p.of[v_] = (lane4i){place, place, place, place};
    }
    return p;
}

WTL_INLINE places places_less(places p, places step)
{
    EACH_VEC
    {
        p.of[v_] -= step.of[v_];
    }
    return p;
}

WTL_INLINE void places_store(uint8_t *to, places p)
{
    UNROLL for (int j = 0; j < WTL_BLOCK; j++)
    {
        to[j] = (uint8_t)p.of[j / LANES][j % LANES];
    }
}

/* Neither of two comparisons that one of must hold. */
WTL_INLINE lane4i is_nan(vec v)
{
    return ~((lane4i)(v < vec_zero()) | (lane4i)(v >= vec_zero()));
}

WTL_INLINE bool has_nan(block b)
{
    lane4i nan = {0};
    EACH_VEC
    {
        nan |= is_nan(b.of[v_]);
    }
    return (nan[0] | nan[1] | nan[2] | nan[3]) != 0;
}

WTL_INLINE void offer(block value, int place, bool nans, block *best, places *where)
{
    places here = places_all(place);
    EACH_VEC
    {
        vec v = value.of[v_], old = best->of[v_];
        lane4i wins = (lane4i)(v > old);
        if (nans) {
            wins |= is_nan(v);
        }
        best->of[v_] = (vec)((wins & (lane4i)v) | (~wins & (lane4i)old));
        where->of[v_] = (wins & here.of[v_]) | (~wins & where->of[v_]);
    }
}

WTL_INLINE block add_where(block sum, const uint8_t *from, places place, block dy)
{
    EACH_VEC
    {
        const uint8_t *at = from + v_ * LANES;
        lane4i here = (lane4i){at[0], at[1], at[2], at[3]} == place.of[v_];
        sum.of[v_] += (vec)(here & (lane4i)dy.of[v_]);
    }
    return sum;
}

#endif

/* `row` and `place` are of the first value of a window of rows x cols, all in the map. */
WTL_INLINE void window_maximum(const float *row, long width, int rows, int cols, int place,
                               bool nans, block *best, places *where)
{
    *best = block_load(row);
    *where = places_all(place);
    for (int r = 0; r < rows; r++, row += width * WTL_BLOCK) {
        for (int s = 0; s < cols; s++) {
            int here = place + r * WTL_POOL_MOST_TAPS + s;
            offer(block_load(row + s * WTL_BLOCK), here, nans, best, where);
        }
    }
}

WTL_INLINE void maxima(const wtl_pool_geometry *g, const float *x, bool nans, float *y,
                       uint8_t *to)
{
    for (int p = 0; p < g->out[0]; p++) {
        wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
        int top = p * g->stride[0] - g->pad[0], left = -g->pad[2];
        int r = rows.end - rows.begin, width = g->in[1];
        for (int q = 0; q < g->out[1]; q++, left += g->stride[1], y += WTL_BLOCK) {
            wtl_pool_window cols = wtl_pool_window_of(g, 1, q);
            const float *first = x + ((long)rows.begin * width + cols.begin) * WTL_BLOCK;
            int place = (rows.begin - top) * WTL_POOL_MOST_TAPS + cols.begin - left;
            int s = cols.end - cols.begin;
            block best;
            places where;
            if (r == 3 && s == 3 && place == 0) { /* the usual ones as straight code */
                window_maximum(first, width, 3, 3, 0, nans, &best, &where);
            } else if (r == 2 && s == 2 && place == 0) {
                window_maximum(first, width, 2, 2, 0, nans, &best, &where);
            } else {
                window_maximum(first, width, r, s, place, nans, &best, &where);
            }
            block_store(y, best);
            if (to) {
                places_store(to, where);
                to += WTL_BLOCK;
            }
        }
    }
}

static bool any_nan(const float *x, long pixels)
{
    enum { TOGETHER = 16 };
    long i = 0;
    for (; i + TOGETHER <= pixels; i += TOGETHER) {
        block sum = block_all(0.0f);
        for (int j = 0; j < TOGETHER; j++) {
            sum = block_add(sum, block_load(x + (i + j) * WTL_BLOCK));
        }
        if (has_nan(sum)) { /* or infinities of both signs: then the exact way is slow only */
            return true;
        }
    }
    for (; i < pixels; i++) {
        if (has_nan(block_load(x + i * WTL_BLOCK))) {
            return true;
        }
    }
    return false;
}

static void maximum(const wtl_pool_geometry *g, const float *x, float *y, uint8_t *to)
{
    bool nans = any_nan(x, (long)g->in[0] * g->in[1]);
    if (nans) {
        maxima(g, x, true, y, to);
    } else if (to) {
        maxima(g, x, false, y, to);
    } else {
        maxima(g, x, false, y, NULL);
    }
}

/* The windows along one axis that cover an index, as the index grows. */
typedef struct cover {
    int first, last; /* half open */
    int end, begin;  /* of window `first`, and of window `last`: the next to come */
} cover;

WTL_INLINE cover cover_start(const wtl_pool_geometry *g, int axis)
{
    wtl_pool_window window = wtl_pool_window_of(g, axis, 0);
    return (cover){.end = window.end, .begin = window.begin};
}

WTL_INLINE void cover_move(cover *c, const wtl_pool_geometry *g, int axis, int index)
{
    while (c->first < g->out[axis] && c->end <= index) {
        c->first++;
        c->end = wtl_pool_window_of(g, axis, c->first).end;
    }
    while (c->last < g->out[axis] && c->begin <= index) {
        c->last++;
        c->begin = wtl_pool_window_of(g, axis, c->last).begin;
    }
}

/* Of windows that are alike but for their place, by sums alone. */
WTL_INLINE void cover_step(cover *c, int count, int stride, int index)
{
    while (c->first < count && c->end <= index) {
        c->first++;
        c->end += stride;
    }
    while (c->last < count && c->begin <= index) {
        c->last++;
        c->begin += stride;
    }
}

/* One row of dx: dy and from are of the first of the `rows` windows that cover it, in which it
 * is row `row`. */
static void maximum_gradient_row(wtl_pool_geometry g, int rows, int row, const float *dy,
                                 const uint8_t *from, float *dx)
{
    const int count = g.out[1], stride = g.stride[1], width = g.in[1];
    const places row_step = places_all(g.stride[0] * WTL_POOL_MOST_TAPS);
    const places column_step = places_all(stride);
    cover cols = {.end = g.kernel[1] - g.pad[2], .begin = -g.pad[2]};
    int first = row * WTL_POOL_MOST_TAPS + g.pad[2];
    for (int v = 0; v < width; v++, dx += WTL_BLOCK) {
        cover_step(&cols, count, stride, v);
        places in_row = places_all(first + v - cols.first * stride);
        block sum = block_all(0.0f);
        for (int p = 0; p < rows; p++) {
            long at = ((long)p * count + cols.first) * WTL_BLOCK;
            places place = in_row;
            for (int q = cols.first; q < cols.last; q++, at += WTL_BLOCK) {
                sum = add_where(sum, from + at, place, block_load(dy + at));
                place = places_less(place, column_step);
            }
            in_row = places_less(in_row, row_step);
        }
        block_store(dx, sum);
    }
}

static void maximum_gradient(const wtl_pool_geometry *g, const float *dy, const uint8_t *from,
                             float *dx)
{
    cover rows = {.end = g->kernel[0] - g->pad[0], .begin = -g->pad[0]};
    for (int h = 0; h < g->in[0]; h++) {
        cover_step(&rows, g->out[0], g->stride[0], h);
        long at = (long)rows.first * g->out[1] * WTL_BLOCK;
        maximum_gradient_row(*g, rows.last - rows.first,
                             h - rows.first * g->stride[0] + g->pad[0], dy + at, from + at,
                             dx + (long)h * g->in[1] * WTL_BLOCK);
    }
}

/* ---- means: a window is a product of rows and columns, so first its rows are added up ---- */

/* line[v] = sum over rows of x[h,v] */
static void add_rows(const wtl_pool_geometry *g, wtl_pool_window rows, const float *x,
                     float *line)
{
    enum { WIDE = 4 };
    long row = (long)g->in[1] * WTL_BLOCK;
    const float *first = x + rows.begin * row;
    int v = 0;
    for (; v + WIDE <= g->in[1]; v += WIDE) {
        block sum[WIDE];
        UNROLL for (int i = 0; i < WIDE; i++)
        {
            sum[i] = block_load(first + (v + i) * WTL_BLOCK);
        }
        const float *from = first + (long)v * WTL_BLOCK;
        for (int h = rows.begin + 1; h < rows.end; h++) {
            from += row;
            UNROLL for (int i = 0; i < WIDE; i++)
            {
                sum[i] = block_add(sum[i], block_load(from + i * WTL_BLOCK));
            }
        }
        UNROLL for (int i = 0; i < WIDE; i++)
        {
            block_store(line + (v + i) * WTL_BLOCK, sum[i]);
        }
    }
    for (; v < g->in[1]; v++) {
        const float *from = first + (long)v * WTL_BLOCK;
        block sum = block_load(from);
        for (int h = rows.begin + 1; h < rows.end; h++) {
            from += row;
            sum = block_add(sum, block_load(from));
        }
        block_store(line + (long)v * WTL_BLOCK, sum);
    }
}

/* 1 / (extent of the row * extent of the column), which seldom changes along a row */
typedef struct share {
    int extent; /* of the column */
    block value;
} share;

WTL_INLINE void share_move(share *s, int row_extent, int extent)
{
    if (s->extent != extent) {
        s->extent = extent;
        s->value = block_all(1.0f / ((float)row_extent * (float)extent));
    }
}

static void mean(const wtl_pool_geometry *g, const float *x, float *y, float *line)
{
    for (int p = 0; p < g->out[0]; p++) {
        wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
        share part = {0};
        add_rows(g, rows, x, line);
        for (int q = 0; q < g->out[1]; q++, y += WTL_BLOCK) {
            wtl_pool_window cols = wtl_pool_window_of(g, 1, q);
            block sum = block_load(line + (long)cols.begin * WTL_BLOCK);
            for (int v = cols.begin + 1; v < cols.end; v++) {
                sum = block_add(sum, block_load(line + (long)v * WTL_BLOCK));
            }
            share_move(&part, rows.extent, cols.extent);
            block_store(y, block_mul(sum, part.value));
        }
    }
}

/* line[q] = sum over windows first .. last-1 of dy[p,q] / extents */
static void add_windows(const wtl_pool_geometry *g, int first, int last, const float *dy,
                        float *line)
{
    memset(line, 0, (size_t)g->out[1] * WTL_BLOCK * sizeof *line);
    for (int p = first; p < last; p++) {
        int row_extent = wtl_pool_window_of(g, 0, p).extent;
        share part = {0};
        for (int q = 0; q < g->out[1]; q++) {
            float *to = line + (long)q * WTL_BLOCK;
            block one = block_load(dy + ((long)p * g->out[1] + q) * WTL_BLOCK);
            share_move(&part, row_extent, wtl_pool_window_of(g, 1, q).extent);
            block_store(to, block_fma(one, part.value, block_load(to)));
        }
    }
}

static void mean_gradient(const wtl_pool_geometry *g, const float *dy, float *dx, float *line)
{
    cover rows = cover_start(g, 0);
    for (int h = 0; h < g->in[0]; h++) {
        cover before = rows;
        cover_move(&rows, g, 0, h);
        if (h == 0 || rows.first != before.first || rows.last != before.last) {
            add_windows(g, rows.first, rows.last, dy, line);
        }
        cover cols = cover_start(g, 1);
        for (int v = 0; v < g->in[1]; v++, dx += WTL_BLOCK) {
            cover_move(&cols, g, 1, v);
            block sum = block_all(0.0f);
            for (int q = cols.first; q < cols.last; q++) {
                sum = block_add(sum, block_load(line + (long)q * WTL_BLOCK));
            }
            block_store(dx, sum);
        }
    }
}

extern const wtl_pool_kernels WTL_NATIVE(pool);
const wtl_pool_kernels WTL_NATIVE(pool) = {
    .maximum = maximum,
    .maximum_gradient = maximum_gradient,
    .mean = mean,
    .mean_gradient = mean_gradient,
};
