/* sparse.c - see sparse.h. One function a width, so that all sums stay in registers. */
#include "sparse.h"
#include "transpose.h"

#define UNROLL _Pragma("GCC unroll 16")

enum { BLOCK_VECS = WTL_BLOCK / LANES };

/* The most sums that fit the registers, beside what they are summed from. */
#if defined WTL_FOR_AVX512
enum { MOST_ROWS = 16, MOST_QUADS = 6 };
#elif defined WTL_FOR_AVX2
enum { MOST_ROWS = 12, MOST_QUADS = 3 };
#else
enum { MOST_ROWS = 8, MOST_QUADS = 2 };
#endif

WTL_INLINE void sum_rows(int width, int count, const int32_t *starts,
                         const wtl_sparse_entry *entries, const float *x, float *sums,
                         long pitch, bool fresh)
{
    for (int f = 0; f < count; f++, sums += pitch) {
        const wtl_sparse_entry *e = entries + starts[f], *end = entries + starts[f + 1];
        vec sum[MOST_ROWS];
        UNROLL for (int i = 0; i < width; i++)
        {
            sum[i] = fresh ? vec_zero() : vec_load(sums + i * LANES);
        }
        for (; e < end; e++) {
            const float *from = x + e->offset;
            vec value = vec_all(e->value);
            UNROLL for (int i = 0; i < width; i++)
            {
                sum[i] = vec_fma(value, vec_load(from + i * LANES), sum[i]);
            }
        }
        UNROLL for (int i = 0; i < width; i++)
        {
            vec_store(sums + i * LANES, sum[i]);
        }
    }
}

WTL_INLINE void sum_quads(int width, int count, const int32_t *starts,
                          const wtl_sparse_quad *entries, const float *x, float *sums,
                          long pitch, bool fresh)
{
    for (int f = 0; f < count; f++, sums += WTL_QUAD * pitch) {
        const wtl_sparse_quad *e = entries + starts[f], *end = entries + starts[f + 1];
        vec sum[WTL_QUAD][MOST_QUADS];
        UNROLL for (int k = 0; k < WTL_QUAD; k++)
        {
            UNROLL for (int i = 0; i < width; i++)
            {
                sum[k][i] = fresh ? vec_zero() : vec_load(sums + k * pitch + i * LANES);
            }
        }
        for (; e < end; e++) {
            const float *from = x + e->offset;
            vec value[MOST_QUADS];
            UNROLL for (int i = 0; i < width; i++)
            {
                value[i] = vec_load(from + i * LANES);
            }
            UNROLL for (int k = 0; k < WTL_QUAD; k++)
            {
                vec weight = vec_all(e->value[k]);
                UNROLL for (int i = 0; i < width; i++)
                {
                    sum[k][i] = vec_fma(weight, value[i], sum[k][i]);
                }
            }
        }
        UNROLL for (int k = 0; k < WTL_QUAD; k++)
        {
            UNROLL for (int i = 0; i < width; i++)
            {
                vec_store(sums + k * pitch + i * LANES, sum[k][i]);
            }
        }
    }
}

typedef void rows_function(int count, const int32_t *starts, const wtl_sparse_entry *entries,
                           const float *x, float *sums, long pitch, bool fresh);
typedef void quads_function(int count, const int32_t *starts, const wtl_sparse_quad *entries,
                            const float *x, float *sums, long pitch, bool fresh);

#define ROWS(width)                                                                            \
    static void rows_##width(int count, const int32_t *starts,                                 \
                             const wtl_sparse_entry *entries, const float *x, float *sums,     \
                             long pitch, bool fresh)                                           \
    {                                                                                          \
        sum_rows(width, count, starts, entries, x, sums, pitch, fresh);                        \
    }
#define QUADS(width)                                                                           \
    static void quads_##width(int count, const int32_t *starts,                                \
                              const wtl_sparse_quad *entries, const float *x, float *sums,     \
                              long pitch, bool fresh)                                          \
    {                                                                                          \
        sum_quads(width, count, starts, entries, x, sums, pitch, fresh);                       \
    }
#define ROWS_NAME(width)  rows_##width
#define QUADS_NAME(width) quads_##width

#define EACH_2(M)  M(1) SEP M(2)
#define EACH_3(M)  EACH_2(M) SEP M(3)
#define EACH_6(M)  EACH_3(M) SEP M(4) SEP M(5) SEP M(6)
#define EACH_8(M)  EACH_6(M) SEP M(7) SEP M(8)
#define EACH_12(M) EACH_8(M) SEP M(9) SEP M(10) SEP M(11) SEP M(12)
#define EACH_16(M) EACH_12(M) SEP M(13) SEP M(14) SEP M(15) SEP M(16)

#if defined WTL_FOR_AVX512
#define ROW_WIDTHS  EACH_16
#define QUAD_WIDTHS EACH_6
#elif defined WTL_FOR_AVX2
#define ROW_WIDTHS  EACH_12
#define QUAD_WIDTHS EACH_3
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
static quads_function *const quads_of[MOST_QUADS] = {QUAD_WIDTHS(QUADS_NAME)};
#undef SEP

static void rows(int width, int count, const int32_t *starts, const wtl_sparse_entry *entries,
                 const float *x, float *sums, long pitch, bool fresh)
{
    rows_of[width - 1](count, starts, entries, x, sums, pitch, fresh);
}

static void quads(int width, int count, const int32_t *starts, const wtl_sparse_quad *entries,
                  const float *x, float *sums, long pitch, bool fresh)
{
    quads_of[width - 1](count, starts, entries, x, sums, pitch, fresh);
}

/* ---- between blocks and planes ---- */

WTL_INLINE void load_pixels(vec row[LANES], const float *x, long step, long count)
{
    UNROLL for (int i = 0; i < LANES; i++)
    {
        row[i] = i < count ? vec_load(x + i * step) : vec_zero();
    }
}

WTL_INLINE void pixels_to_planes(const float *x, long step, long count, float *planes,
                                 long pitch)
{
    for (int b = 0; b < BLOCK_VECS; b++) {
        vec row[LANES];
        load_pixels(row, x + b * LANES, step, count);
        vec_transpose(row);
        UNROLL for (int i = 0; i < LANES; i++)
        {
            vec_store(planes + (b * LANES + i) * pitch, row[i]);
        }
    }
}

static void to_planes(const float *x, long step, long count, float *planes, long pitch)
{
    for (; count >= LANES; count -= LANES, x += LANES * step, planes += LANES) {
        pixels_to_planes(x, step, LANES, planes, pitch);
    }
    if (count > 0) {
        pixels_to_planes(x, step, count, planes, pitch);
    }
}

static void copy(const float *from, long from_pitch, float *to, long to_pitch, int channels,
                 int vectors)
{
    for (int c = 0; c < channels; c++, from += from_pitch, to += to_pitch) {
        for (int i = 0; i < vectors; i++) {
            vec_store(to + i * LANES, vec_load(from + i * LANES));
        }
    }
}

WTL_INLINE vec activated(vec v, wtl_activation activation)
{
    if (activation != WTL_ACTIVATION_NONE) {
        v = vec_max(vec_zero(), v); /* a NaN stays */
    }
    return activation == WTL_ACTIVATION_RELU6 ? vec_min(vec_all(6.0f), v) : v;
}

WTL_INLINE void finish_pixels(const wtl_sparse_finish *how, const float *sums, long pitch,
                              long count, const float *add, float *y)
{
    for (int b = 0; b < BLOCK_VECS; b++) {
        vec row[LANES], bias = vec_load(how->bias + b * LANES);
        load_pixels(row, sums + b * LANES * pitch, pitch, LANES);
        vec_transpose(row);
        UNROLL for (int i = 0; i < LANES; i++)
        {
            if (i < count) {
                vec value = row[i] + bias;
                if (add) {
                    value += vec_load(add + i * WTL_BLOCK + b * LANES);
                }
                vec_store(y + i * WTL_BLOCK + b * LANES, activated(value, how->activation));
            }
        }
    }
}

static void finish(const wtl_sparse_finish *how, const float *sums, long pitch, long count,
                   const float *add, float *y)
{
    for (; count >= LANES; count -= LANES, sums += LANES, y += LANES * WTL_BLOCK) {
        finish_pixels(how, sums, pitch, LANES, add, y);
        add = add ? add + LANES * WTL_BLOCK : NULL;
    }
    if (count > 0) {
        finish_pixels(how, sums, pitch, count, add, y);
    }
}

const wtl_sparse_kernels WTL_NATIVE(sparse) = {
    .lanes = LANES,
    .most_rows = MOST_ROWS,
    .most_quads = MOST_QUADS,
    .rows = rows,
    .quads = quads,
    .to_planes = to_planes,
    .copy = copy,
    .finish = finish,
};
