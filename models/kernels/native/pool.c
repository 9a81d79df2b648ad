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

WTL_INLINE void places_store(uint8_t *to, places p)
{
    _mm_storeu_si128((__m128i *)to, p);
}

WTL_INLINE void offer(block value, int place, block *best, places *where)
{
    __mmask16 larger = _mm512_cmp_ps_mask(value.of[0], best->of[0], _CMP_GT_OQ);
    __mmask16 nan = _mm512_cmp_ps_mask(value.of[0], value.of[0], _CMP_UNORD_Q);
    __mmask16 wins = _kor_mask16(larger, nan);
    best->of[0] = _mm512_mask_mov_ps(best->of[0], wins, value.of[0]);
    *where = _mm_mask_mov_epi8(*where, wins, _mm_set1_epi8((char)place));
}

/* sum + dy in the channels whose place is `place` */
WTL_INLINE block add_where(block sum, const uint8_t *from, int place, block dy)
{
    __m128i all = _mm_loadu_si128((const __m128i *)from);
    __mmask16 here = _mm_cmpeq_epi8_mask(all, _mm_set1_epi8((char)place));
    sum.of[0] = _mm512_mask_add_ps(sum.of[0], here, sum.of[0], dy.of[0]);
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

WTL_INLINE void places_store(uint8_t *to, places p)
{
    __m256i words = _mm256_packs_epi32(p.of[0], p.of[1]); /* quarters 0 2 1 3 of the block */
    words = _mm256_permute4x64_epi64(words, 0xd8);
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    _mm_storeu_si128((__m128i *)to, _mm_packus_epi16(low, high));
}

WTL_INLINE void offer(block value, int place, block *best, places *where)
{
    __m256 here = _mm256_castsi256_ps(_mm256_set1_epi32(place));
    EACH_VEC
    {
        __m256 larger = _mm256_cmp_ps(value.of[v_], best->of[v_], _CMP_GT_OQ);
        __m256 nan = _mm256_cmp_ps(value.of[v_], value.of[v_], _CMP_UNORD_Q);
        __m256 wins = _mm256_or_ps(larger, nan), there = _mm256_castsi256_ps(where->of[v_]);
        best->of[v_] = _mm256_blendv_ps(best->of[v_], value.of[v_], wins);
        where->of[v_] = _mm256_castps_si256(_mm256_blendv_ps(there, here, wins));
    }
}

WTL_INLINE block add_where(block sum, const uint8_t *from, int place, block dy)
{
    __m128i all = _mm_loadu_si128((const __m128i *)from);
    __m128i here = _mm_cmpeq_epi8(all, _mm_set1_epi8((char)place));
    __m256 low = _mm256_castsi256_ps(_mm256_cvtepi8_epi32(here));
    __m256 high = _mm256_castsi256_ps(_mm256_cvtepi8_epi32(_mm_srli_si128(here, 8)));
    sum.of[0] += _mm256_and_ps(dy.of[0], low);
    sum.of[1] += _mm256_and_ps(dy.of[1], high);
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

WTL_INLINE void places_store(uint8_t *to, places p)
{
    UNROLL for (int j = 0; j < WTL_BLOCK; j++)
    {
        to[j] = (uint8_t)p.of[j / LANES][j % LANES];
    }
}

WTL_INLINE void offer(block value, int place, block *best, places *where)
{
    EACH_VEC
    {
        vec v = value.of[v_], old = best->of[v_];
        lane4i wins = (lane4i)(v > old) | (lane4i)(v != v);
        best->of[v_] = (vec)((wins & (lane4i)v) | (~wins & (lane4i)old));
        where->of[v_] = (wins & (lane4i){place, place, place, place}) | (~wins & where->of[v_]);
    }
}

WTL_INLINE block add_where(block sum, const uint8_t *from, int place, block dy)
{
    EACH_VEC
    {
        const uint8_t *at = from + v_ * LANES;
        lane4i all = {at[0], at[1], at[2], at[3]};
        lane4i here = all == (lane4i){place, place, place, place};
        sum.of[v_] += (vec)(here & (lane4i)dy.of[v_]);
    }
    return sum;
}

#endif

WTL_INLINE void maxima(const wtl_pool_geometry *g, const float *x, float *y, uint8_t *to)
{
    for (int p = 0; p < g->out[0]; p++) {
        wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
        int top = p * g->stride[0] - g->pad[0], left = -g->pad[2];
        for (int q = 0; q < g->out[1]; q++, left += g->stride[1], y += WTL_BLOCK) {
            wtl_pool_window cols = wtl_pool_window_of(g, 1, q);
            const float *row = x + ((long)rows.begin * g->in[1] + cols.begin) * WTL_BLOCK;
            int place = (rows.begin - top) * WTL_POOL_MOST_TAPS + cols.begin - left;
            block best = block_load(row);
            places where = places_all(place);
            for (int h = rows.begin; h < rows.end; h++) {
                const float *from = row;
                for (int v = 0; v < cols.end - cols.begin; v++, from += WTL_BLOCK) {
                    offer(block_load(from), place + v, &best, &where);
                }
                row += (long)g->in[1] * WTL_BLOCK;
                place += WTL_POOL_MOST_TAPS;
            }
            block_store(y, best);
            if (to) {
                places_store(to, where);
                to += WTL_BLOCK;
            }
        }
    }
}

static void maximum(const wtl_pool_geometry *g, const float *x, float *y, uint8_t *to)
{
    if (to) {
        maxima(g, x, y, to);
    } else {
        maxima(g, x, y, NULL);
    }
}

/* The windows along one axis that cover an index, as the index grows. */
typedef struct cover {
    int first, last; /* half open */
    int end;         /* of window `first` */
    int begin;       /* of window `last`, the next to come */
} cover;

WTL_INLINE cover cover_start(const wtl_pool_geometry *g, int axis)
{
    int pad = g->pad[2 * axis];
    return (cover){.end = g->kernel[axis] - pad, .begin = -pad};
}

WTL_INLINE void cover_move(cover *c, const wtl_pool_geometry *g, int axis, int index)
{
    while (c->first < g->out[axis] && c->end <= index) {
        c->first++;
        c->end += g->stride[axis];
    }
    while (c->last < g->out[axis] && c->begin <= index) {
        c->last++;
        c->begin += g->stride[axis];
    }
}

static void maximum_gradient(const wtl_pool_geometry *g, const float *dy, const uint8_t *from,
                             float *dx)
{
    cover rows = cover_start(g, 0);
    for (int h = 0; h < g->in[0]; h++) {
        cover_move(&rows, g, 0, h);
        cover cols = cover_start(g, 1);
        for (int v = 0; v < g->in[1]; v++, dx += WTL_BLOCK) {
            cover_move(&cols, g, 1, v);
            block sum = block_all(0.0f);
            for (int p = rows.first; p < rows.last; p++) {
                int row = h - p * g->stride[0] + g->pad[0];
                int column = v - cols.first * g->stride[1] + g->pad[2];
                int place = row * WTL_POOL_MOST_TAPS + column;
                long at = ((long)p * g->out[1] + cols.first) * WTL_BLOCK;
                for (int q = cols.first; q < cols.last; q++, at += WTL_BLOCK) {
                    sum = add_where(sum, from + at, place, block_load(dy + at));
                    place -= g->stride[1];
                }
            }
            block_store(dx, sum);
        }
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

static void mean(const wtl_pool_geometry *g, const float *x, float *y, float *line)
{
    for (int p = 0; p < g->out[0]; p++) {
        wtl_pool_window rows = wtl_pool_window_of(g, 0, p);
        add_rows(g, rows, x, line);
        for (int q = 0; q < g->out[1]; q++, y += WTL_BLOCK) {
            wtl_pool_window cols = wtl_pool_window_of(g, 1, q);
            block sum = block_load(line + (long)cols.begin * WTL_BLOCK);
            for (int v = cols.begin + 1; v < cols.end; v++) {
                sum = block_add(sum, block_load(line + (long)v * WTL_BLOCK));
            }
            float share = 1.0f / ((float)rows.extent * (float)cols.extent);
            block_store(y, block_mul(sum, block_all(share)));
        }
    }
}

/* line[q] = sum over windows first .. last-1 of dy[p,q] / their extents */
static void add_windows(const wtl_pool_geometry *g, int first, int last, const float *dy,
                        float *line)
{
    for (int q = 0; q < g->out[1]; q++) {
        block sum = block_all(0.0f);
        for (int p = first; p < last; p++) {
            block one = block_load(dy + ((long)p * g->out[1] + q) * WTL_BLOCK);
            float share = 1.0f / (float)wtl_pool_window_of(g, 0, p).extent;
            sum = block_fma(one, block_all(share), sum);
        }
        float share = 1.0f / (float)wtl_pool_window_of(g, 1, q).extent;
        block_store(line + (long)q * WTL_BLOCK, block_mul(sum, block_all(share)));
    }
}

static void mean_gradient(const wtl_pool_geometry *g, const float *dy, float *dx, float *line)
{
    int first = 0, last = 0;
    for (int h = 0; h < g->in[0]; h++, dx += (long)g->in[1] * WTL_BLOCK) {
        int old_first = first, old_last = last;
        while (first < g->out[0] && wtl_pool_window_of(g, 0, first).end <= h) {
            first++;
        }
        while (last < g->out[0] && wtl_pool_window_of(g, 0, last).begin <= h) {
            last++;
        }
        if (h == 0 || first != old_first || last != old_last) {
            add_windows(g, first, last, dy, line);
        }
        memset(dx, 0, (size_t)g->in[1] * WTL_BLOCK * sizeof *dx);
        for (int q = 0; q < g->out[1]; q++) {
            wtl_pool_window cols = wtl_pool_window_of(g, 1, q);
            block share = block_load(line + (long)q * WTL_BLOCK);
            for (int v = cols.begin; v < cols.end; v++) {
                float *to = dx + (long)v * WTL_BLOCK;
                block_store(to, block_add(block_load(to), share));
            }
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
