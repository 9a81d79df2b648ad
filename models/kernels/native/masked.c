/* masked.c - see masked.h. One function a width, so that dy stays in registers while the kept
 * weights of its filter pass; each has a vector of sums, added up across its lanes at the end,
 * LANES weights at a time. */
#include "masked.h"
#include "block.h"
#include "transpose.h"

/* The most vectors of dy that fit the registers beside the sums. */
#if defined WTL_FOR_AVX512
enum { MOST_ROWS = 16, MOST_QUADS = 6, MOST_SPREAD = 16 };
#elif defined WTL_FOR_AVX2
enum { MOST_ROWS = 12, MOST_QUADS = 2, MOST_SPREAD = 12 };
#else
enum { MOST_ROWS = 8, MOST_QUADS = 2, MOST_SPREAD = 8 };
#endif

enum {
    RUN = 64,  /* weights whose vectors are kept before they are added up */
    CHAINS = 2 /* of sums of one weight: the adders work on several at a time */
};

/* Of the weights begin .. end-1 of filter f on, over `width` vectors: kept[e - begin] (+)= */
WTL_INLINE void row_gradients(int width, int f, int begin, int end, const int32_t *starts,
                              const wtl_sparse_entry *entries, const float *x, const float *dy,
                              long pitch, float *kept, bool fresh)
{
    for (int e = begin; e < end; f++) {
        int last = starts[f + 1] < end ? starts[f + 1] : end;
        if (e == last) {
            continue;
        }
        vec of_y[MOST_ROWS];
        UNROLL for (int i = 0; i < width; i++)
        {
            of_y[i] = vec_load(dy + f * pitch + i * LANES);
        }
        for (; e < last; e++) {
            const float *from = x + entries[e].offset;
            float *to = kept + (long)(e - begin) * LANES;
            vec sum[CHAINS] = {fresh ? vec_zero() : vec_load(to), vec_zero()};
            UNROLL for (int i = 0; i < width; i++)
            {
                sum[i % CHAINS] = vec_fma(of_y[i], vec_load(from + i * LANES), sum[i % CHAINS]);
            }
            vec_store(to, sum[0] + sum[1]);
        }
    }
}

WTL_INLINE void quad_gradients(int width, int f, int begin, int end, const int32_t *starts,
                               const wtl_sparse_quad *entries, const float *x, const float *dy,
                               long pitch, float *kept, bool fresh)
{
    for (int e = begin; e < end; f++) {
        int last = starts[f + 1] < end ? starts[f + 1] : end;
        if (e == last) {
            continue;
        }
        vec of_y[WTL_QUAD][MOST_QUADS];
        UNROLL for (int k = 0; k < WTL_QUAD; k++)
        {
            UNROLL for (int i = 0; i < width; i++)
            {
                of_y[k][i] = vec_load(dy + ((long)f * WTL_QUAD + k) * pitch + i * LANES);
            }
        }
        for (; e < last; e++) {
            const float *from = x + entries[e].offset;
            float *to = kept + (long)(e - begin) * WTL_QUAD * LANES;
            vec sum[WTL_QUAD];
            UNROLL for (int k = 0; k < WTL_QUAD; k++)
            {
                sum[k] = fresh ? vec_zero() : vec_load(to + k * LANES);
            }
            UNROLL for (int i = 0; i < width; i++)
            {
                vec value = vec_load(from + i * LANES);
                UNROLL for (int k = 0; k < WTL_QUAD; k++)
                {
                    sum[k] = vec_fma(of_y[k][i], value, sum[k]);
                }
            }
            UNROLL for (int k = 0; k < WTL_QUAD; k++)
            {
                vec_store(to + k * LANES, sum[k]);
            }
        }
    }
}

WTL_INLINE void spread_rows(int width, int count, const int32_t *starts,
                            const wtl_sparse_entry *entries, const float *dy, long pitch,
                            float *dx)
{
    for (int f = 0; f < count; f++, dy += pitch) {
        vec of_y[MOST_SPREAD];
        UNROLL for (int i = 0; i < width; i++)
        {
            of_y[i] = vec_load(dy + i * LANES);
        }
        for (int e = starts[f]; e < starts[f + 1]; e++) {
            float *to = dx + entries[e].offset;
            vec value = vec_all(entries[e].value);
            UNROLL for (int i = 0; i < width; i++)
            {
                vec_store(to + i * LANES, vec_fma(value, of_y[i], vec_load(to + i * LANES)));
            }
        }
    }
}

typedef void rows_function(int f, int begin, int end, const int32_t *starts,
                           const wtl_sparse_entry *entries, const float *x, const float *dy,
                           long pitch, float *kept, bool fresh);
typedef void quads_function(int f, int begin, int end, const int32_t *starts,
                            const wtl_sparse_quad *entries, const float *x, const float *dy,
                            long pitch, float *kept, bool fresh);
typedef void spread_function(int count, const int32_t *starts, const wtl_sparse_entry *entries,
                             const float *dy, long pitch, float *dx);

#define ROWS(width)                                                                            \
    static void rows_##width(int f, int begin, int end, const int32_t *starts,                 \
                             const wtl_sparse_entry *entries, const float *x, const float *dy, \
                             long pitch, float *kept, bool fresh)                              \
    {                                                                                          \
        row_gradients(width, f, begin, end, starts, entries, x, dy, pitch, kept, fresh);       \
    }                                                                                          \
    static void spread_##width(int count, const int32_t *starts,                               \
                               const wtl_sparse_entry *entries, const float *dy, long pitch,   \
                               float *dx)                                                      \
    {                                                                                          \
        spread_rows(width, count, starts, entries, dy, pitch, dx);                             \
    }
#define QUADS(width)                                                                           \
    static void quads_##width(int f, int begin, int end, const int32_t *starts,                \
                              const wtl_sparse_quad *entries, const float *x, const float *dy, \
                              long pitch, float *kept, bool fresh)                             \
    {                                                                                          \
        quad_gradients(width, f, begin, end, starts, entries, x, dy, pitch, kept, fresh);      \
    }
#define ROWS_NAME(width)   rows_##width
#define SPREAD_NAME(width) spread_##width
#define QUADS_NAME(width)  quads_##width

#define EACH_2(M)  M(1) SEP M(2)
#define EACH_6(M)  EACH_2(M) SEP M(3) SEP M(4) SEP M(5) SEP M(6)
#define EACH_8(M)  EACH_6(M) SEP M(7) SEP M(8)
#define EACH_12(M) EACH_8(M) SEP M(9) SEP M(10) SEP M(11) SEP M(12)
#define EACH_16(M) EACH_12(M) SEP M(13) SEP M(14) SEP M(15) SEP M(16)

#if defined WTL_FOR_AVX512
#define ROW_WIDTHS  EACH_16
#define QUAD_WIDTHS EACH_6
#elif defined WTL_FOR_AVX2
#define ROW_WIDTHS  EACH_12
#define QUAD_WIDTHS EACH_2
#else
#define ROW_WIDTHS  EACH_8
#define QUAD_WIDTHS EACH_2
#endif

#define SEP
ROW_WIDTHS(ROWS)
QUAD_WIDTHS(QUADS)
#undef SEP
#define SEP ,
static rows_function *const rows_of[MOST_ROWS] = {ROW_WIDTHS(ROWS_NAME)};
static spread_function *const spread_of[MOST_SPREAD] = {ROW_WIDTHS(SPREAD_NAME)};
static quads_function *const quads_of[MOST_QUADS] = {QUAD_WIDTHS(QUADS_NAME)};
#undef SEP

/* Lane j is the sum of all lanes of row[j]: rows are added in pairs while they are turned. */
#if defined WTL_FOR_AVX512
WTL_INLINE vec sums_of_rows(vec row[LANES])
{
    UNROLL for (int i = 0; i < 8; i++)
    {
        row[i] = _mm512_unpacklo_ps(row[2 * i], row[2 * i + 1]) +
                 _mm512_unpackhi_ps(row[2 * i], row[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 4; i++)
    {
        __m512d low = _mm512_castps_pd(row[2 * i]), high = _mm512_castps_pd(row[2 * i + 1]);
        row[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(low, high)) +
                 _mm512_castpd_ps(_mm512_unpackhi_pd(low, high));
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        row[i] = _mm512_shuffle_f32x4(row[2 * i], row[2 * i + 1], 0x88) +
                 _mm512_shuffle_f32x4(row[2 * i], row[2 * i + 1], 0xdd);
    }
    return _mm512_shuffle_f32x4(row[0], row[1], 0x88) +
           _mm512_shuffle_f32x4(row[0], row[1], 0xdd);
}
#elif defined WTL_FOR_AVX2
WTL_INLINE vec sums_of_rows(vec row[LANES])
{
    UNROLL for (int i = 0; i < 4; i++)
    {
        row[i] = _mm256_unpacklo_ps(row[2 * i], row[2 * i + 1]) +
                 _mm256_unpackhi_ps(row[2 * i], row[2 * i + 1]);
    }
    UNROLL for (int i = 0; i < 2; i++)
    {
        __m256d low = _mm256_castps_pd(row[2 * i]), high = _mm256_castps_pd(row[2 * i + 1]);
        row[i] = _mm256_castpd_ps(_mm256_unpacklo_pd(low, high)) +
                 _mm256_castpd_ps(_mm256_unpackhi_pd(low, high));
    }
    return _mm256_permute2f128_ps(row[0], row[1], 0x20) +
           _mm256_permute2f128_ps(row[0], row[1], 0x31);
}
#else
WTL_INLINE vec sums_of_rows(vec row[LANES])
{
    vec_transpose(row);
    return (row[0] + row[1]) + (row[2] + row[3]);
}
#endif

/* sums[i] += all lanes of kept[i] for i < count; count is a multiple of LANES. */
static void add_up(int count, const float *kept, float *sums)
{
    for (int i = 0; i < count; i += LANES) {
        vec row[LANES];
        UNROLL for (int j = 0; j < LANES; j++)
        {
            row[j] = vec_load(kept + (long)(i + j) * LANES);
        }
        vec_store(sums + i, vec_load(sums + i) + sums_of_rows(row));
    }
}

/* Fill up to whole vectors of sums; how many there are then. */
static int rounded(int count, float *kept)
{
    int all = (count + LANES - 1) / LANES * LANES;
    memset(kept + (long)count * LANES, 0, (size_t)(all - count) * LANES * sizeof *kept);
    return all;
}

static int least(int a, int b)
{
    return a < b ? a : b;
}

static void rows(int vectors, int count, const int32_t *starts, const wtl_sparse_entry *entries,
                 const float *x, const float *dy, long pitch, float *sums)
{
    float kept[RUN * LANES] __attribute__((aligned(64)));
    int calls = (vectors + MOST_ROWS - 1) / MOST_ROWS;
    for (int f = 0, begin = starts[0], end; begin < starts[count]; begin = end) {
        end = least(begin + RUN, starts[count]);
        while (starts[f + 1] <= begin) {
            f++;
        }
        for (int call = 0, at = 0; call < calls; call++) {
            int width = (vectors - at + calls - call - 1) / (calls - call);
            rows_of[width - 1](f, begin, end, starts, entries, x + (long)at * LANES,
                               dy + (long)at * LANES, pitch, kept, call == 0);
            at += width;
        }
        add_up(rounded(end - begin, kept), kept, sums + (begin - starts[0]));
    }
}

static void quads(int vectors, int count, const int32_t *starts, const wtl_sparse_quad *entries,
                  const float *x, const float *dy, long pitch, float *sums)
{
    float kept[RUN * LANES] __attribute__((aligned(64)));
    int calls = (vectors + MOST_QUADS - 1) / MOST_QUADS;
    for (int f = 0, begin = starts[0], end; begin < starts[count]; begin = end) {
        end = least(begin + RUN / WTL_QUAD, starts[count]);
        while (starts[f + 1] <= begin) {
            f++;
        }
        for (int call = 0, at = 0; call < calls; call++) {
            int width = (vectors - at + calls - call - 1) / (calls - call);
            quads_of[width - 1](f, begin, end, starts, entries, x + (long)at * LANES,
                                dy + (long)at * LANES, pitch, kept, call == 0);
            at += width;
        }
        add_up(rounded((end - begin) * WTL_QUAD, kept), kept,
               sums + (long)(begin - starts[0]) * WTL_QUAD);
    }
}

static void spread(int width, int count, const int32_t *starts, const wtl_sparse_entry *entries,
                   const float *dy, long pitch, float *dx)
{
    spread_of[width - 1](count, starts, entries, dy, pitch, dx);
}

/* ---- from planes ---- */

static void from_planes(const wtl_sparse_finish *how, const float *planes, long pitch,
                        long count, float *x, long step)
{
    for (long at = 0; at < count; at += LANES) {
        for (int b = 0; b < BLOCK_VECS; b++) {
            vec row[LANES], bias = vec_load(how->bias + b * LANES);
            UNROLL for (int i = 0; i < LANES; i++)
            {
                row[i] = vec_load(planes + (b * LANES + i) * pitch + at);
            }
            vec_transpose(row);
            UNROLL for (int i = 0; i < LANES; i++)
            {
                if (at + i < count) {
                    vec_store(x + (at + i) * step + b * LANES,
                              vec_activated(row[i] + bias, how->activation));
                }
            }
        }
    }
}

const wtl_masked_kernels WTL_NATIVE(masked) = {
    .rows = rows,
    .quads = quads,
    .spread = spread,
    .most_spread = MOST_SPREAD,
    .from_planes = from_planes,
};
