/* sparse_dense.c - see sparse_dense.h.
 *
 * A processor starts more products in a cycle than come out of a single chain of sums, so that
 * every sum is gathered in several parts, which are added at its end.
 */
#include "sparse_dense.h"

#include "isa.h"
#include "panel.h"

enum { QUAD = WTL_SPARSE_DENSE_QUAD };

#if defined WTL_FOR_AVX512
enum { MOST_ROWS = 4, MOST_QUADS = 4 };
#define EACH_ROWS(M)  M(1) M(2) M(3) M(4)
#define EACH_QUADS(M) M(1) M(2) M(3) M(4)
#elif defined WTL_FOR_AVX2
enum { MOST_ROWS = 8, MOST_QUADS = 2 };
#define EACH_ROWS(M)  M(1) M(2) M(3) M(4) M(5) M(6) M(7) M(8)
#define EACH_QUADS(M) M(1) M(2)
#else
enum { MOST_ROWS = 4, MOST_QUADS = 2 };
#define EACH_ROWS(M)  M(1) M(2) M(3) M(4)
#define EACH_QUADS(M) M(1) M(2)
#endif

/* Entries are read once and in order, but the loads of x between them keep the processor from
 * seeing that: they are fetched so many ahead. */
enum { AHEAD = 1536 };

WTL_INLINE void fetch_entries(int filters, const uint16_t *index, const float *value)
{
    __builtin_prefetch(index + AHEAD, 0, 3);
    __builtin_prefetch(value + AHEAD / (filters > 1 ? 2 : 1) * filters, 0, 3);
}

/* ---- one image ---- */

#if defined WTL_FOR_AVX512 || defined WTL_FOR_AVX2
/* x at four columns; faster than the processor's own gather. */
WTL_INLINE __m128 x_of_four(const uint16_t *index, const float *x)
{
    __m128 v = _mm_load_ss(x + index[0]);
    v = _mm_insert_ps(v, _mm_load_ss(x + index[1]), 0x10);
    v = _mm_insert_ps(v, _mm_load_ss(x + index[2]), 0x20);
    return _mm_insert_ps(v, _mm_load_ss(x + index[3]), 0x30);
}
WTL_INLINE __m256 x_of_eight(const uint16_t *index, const float *x)
{
    return _mm256_insertf128_ps(_mm256_castps128_ps256(x_of_four(index, x)),
                                x_of_four(index + 4, x), 1);
}
#endif

/* x at the columns of a vector of entries. */
WTL_INLINE vec x_of(const uint16_t *index, const float *x)
{
#if defined WTL_FOR_AVX512
    return _mm512_insertf32x8(_mm512_castps256_ps512(x_of_eight(index, x)),
                              x_of_eight(index + 8, x), 1);
#elif defined WTL_FOR_AVX2
    return x_of_eight(index, x);
#else
    return (vec){x[index[0]], x[index[1]], x[index[2]], x[index[3]]};
#endif
}

WTL_INLINE float row_sum(const uint16_t *index, const float *value, long count, const float *x)
{
    enum { STEP = 16 };
    vec part[STEP / LANES];
    WTL_UNROLL for (int p = 0; p < STEP / LANES; p++)
    {
        part[p] = vec_zero();
    }
    long e = 0;
    for (; e + STEP <= count; e += STEP) {
        fetch_entries(1, index + e, value + e);
        WTL_UNROLL for (int p = 0; p < STEP / LANES; p++)
        {
            long at = e + p * LANES;
            part[p] = vec_fma(x_of(index + at, x), vec_load(value + at), part[p]);
        }
    }
    WTL_UNROLL for (int p = 1; p < STEP / LANES; p++)
    {
        part[0] += part[p];
    }
    float rest = 0.0f;
    for (; e < count; e++) {
        rest += value[e] * x[index[e]];
    }
    return four_sums(part[0], vec_zero(), vec_zero(), vec_zero())[0] + rest;
}

WTL_INLINE four quad_sum(const uint16_t *index, const float *value, long count, const float *x)
{
    enum { PARTS = 4 };
    four part[PARTS] = {{0}};
    long e = 0;
    for (; e + PARTS <= count; e += PARTS) {
        fetch_entries(QUAD, index + e, value + e * QUAD);
        WTL_UNROLL for (int p = 0; p < PARTS; p++)
        {
            part[p] += four_load(value + (e + p) * QUAD) * x[index[e + p]];
        }
    }
    for (; e < count; e++) {
        part[0] += four_load(value + e * QUAD) * x[index[e]];
    }
    return (part[0] + part[2]) + (part[1] + part[3]);
}

static void one(const wtl_sparse_dense_panel *p, const float *x, float *sums)
{
    for (long g = p->begin; g < p->end; g++) {
        const uint32_t first = p->starts[g];
        const long count = (long)(p->starts[g + 1] - first);
        const uint16_t *index = p->index + first;
        if (p->quads) {
            float *to = sums + g * QUAD;
            four sum = quad_sum(index, p->value + (size_t)first * QUAD, count, x);
            four_store(to, p->fresh ? sum : four_load(to) + sum);
        } else {
            float sum = row_sum(index, p->value + first, count, x);
            sums[g] = p->fresh ? sum : sums[g] + sum;
        }
    }
}

/* ---- images side by side ---- */

WTL_INLINE void entry(int filters, int vecs, const float *value, const float *x,
                      vec sum[QUAD][MOST_ROWS])
{
    vec of_x[MOST_ROWS];
    WTL_UNROLL for (int v = 0; v < vecs; v++)
    {
        of_x[v] = vec_load(x + v * LANES);
    }
    WTL_UNROLL for (int f = 0; f < filters; f++)
    {
        vec weight = vec_all(value[f]);
        WTL_UNROLL for (int v = 0; v < vecs; v++)
        {
            sum[f][v] = vec_fma(weight, of_x[v], sum[f][v]);
        }
    }
}

WTL_INLINE void side_by_side(int filters, int vecs, int parts, const wtl_sparse_dense_panel *p,
                             const float *x, float *sums)
{
    const long width = (long)vecs * LANES;
    for (long g = p->begin; g < p->end; g++) {
        vec sum[4][QUAD][MOST_ROWS];
        float *to = sums + g * filters * width;
        WTL_UNROLL for (int f = 0; f < filters; f++)
        {
            WTL_UNROLL for (int v = 0; v < vecs; v++)
            {
                sum[0][f][v] = p->fresh ? vec_zero() : vec_load(to + f * width + v * LANES);
                WTL_UNROLL for (int part = 1; part < parts; part++)
                {
                    sum[part][f][v] = vec_zero();
                }
            }
        }
        long e = p->starts[g];
        const long end = p->starts[g + 1];
        for (; e + parts <= end; e += parts) {
            fetch_entries(filters, p->index + e, p->value + e * filters);
            WTL_UNROLL for (int part = 0; part < parts; part++)
            {
                entry(filters, vecs, p->value + (e + part) * filters,
                      x + p->index[e + part] * width, sum[part]);
            }
        }
        for (; e < end; e++) {
            entry(filters, vecs, p->value + e * filters, x + p->index[e] * width, sum[0]);
        }
        WTL_UNROLL for (int f = 0; f < filters; f++)
        {
            WTL_UNROLL for (int v = 0; v < vecs; v++)
            {
                WTL_UNROLL for (int part = 1; part < parts; part++)
                {
                    sum[0][f][v] += sum[part][f][v];
                }
                vec_store(to + f * width + v * LANES, sum[0][f][v]);
            }
        }
    }
}

typedef void many_function(const wtl_sparse_dense_panel *p, const float *x, float *sums);

#define ROWS(vecs)                                                                             \
    static void rows_##vecs(const wtl_sparse_dense_panel *p, const float *x, float *sums)      \
    {                                                                                          \
        side_by_side(1, vecs, (vecs) <= 2 ? 4 : (vecs) <= 4 ? 2 : 1, p, x, sums);              \
    }
#define ROWS_NAME(vecs) rows_##vecs,
#define QUADS(vecs)                                                                            \
    static void quads_##vecs(const wtl_sparse_dense_panel *p, const float *x, float *sums)     \
    {                                                                                          \
        side_by_side(QUAD, vecs, (vecs) == 1 ? 2 : 1, p, x, sums);                             \
    }
#define QUADS_NAME(vecs) quads_##vecs,
EACH_ROWS(ROWS)
EACH_QUADS(QUADS)
static many_function *const ROWS[] = {EACH_ROWS(ROWS_NAME)};
static many_function *const QUADS[] = {EACH_QUADS(QUADS_NAME)};

static void many(const wtl_sparse_dense_panel *p, int vecs, const float *x, float *sums)
{
    (p->quads ? QUADS : ROWS)[vecs - 1](p, x, sums);
}

static void turn(int n, int most, long d, long begin, long end, const float *x, long x_step,
                 float *panel)
{
    panel_fill(panel_of(n, most), d, begin, end, x, x_step, panel);
}

static void finish(int images, int filters, long width, const float *sums, const float *bias,
                   wtl_activation activation, float *y, long y_step)
{
    int f = 0;
    for (; width == 1 && f + 4 <= filters; f += 4) {
        four start = bias ? four_load(bias + f) : (four){0};
        four_store(y + f, four_activated(four_load(sums + f) + start, activation));
    }
    for (; f + 4 <= filters; f += 4) {
        panel_finish(images, width, sums + f * width, bias ? bias + f : NULL, activation, y + f,
                     y_step);
    }
    panel_finish_few(filters - f, images, width, sums + f * width, bias ? bias + f : NULL,
                     activation, y + f, y_step);
}

const wtl_sparse_dense_kernels WTL_NATIVE(sparse_dense) = {
    .lanes = LANES,
    .most_rows = MOST_ROWS,
    .most_quads = MOST_QUADS,
    .one = one,
    .many = many,
    .turn = turn,
    .finish = finish,
};
