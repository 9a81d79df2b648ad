/* Products against their definition in double. */
#include "wtl_test.h"

#include "wattle/blas.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

typedef struct product {
    char op_a, op_b;
    int m, n, k;
    int pad; /* extra columns of every matrix in memory */
    float beta;
    int threads; /* 0: wtl_gemm */
} product;

/* The lengths of a row in memory. */
static int lda_of(const product *p)
{
    return (p->op_a == 'T' ? p->m : p->k) + p->pad;
}

static int ldb_of(const product *p)
{
    return (p->op_b == 'T' ? p->k : p->n) + p->pad;
}

static double element(const product *p, const float *a, const float *b, int i, int j)
{
    double sum = 0;
    for (int l = 0; l < p->k; l++) {
        double x = (double)(p->op_a == 'T' ? a[l * lda_of(p) + i] : a[i * lda_of(p) + l]);
        double y = (double)(p->op_b == 'T' ? b[j * ldb_of(p) + l] : b[l * ldb_of(p) + j]);
        sum += x * y;
    }
    return sum;
}

/* C starts as NaN where beta is 0; the columns behind a row of C must stay as they are. */
static void check(const product *p)
{
    int ldc = p->n + p->pad;
    size_t a_count = (size_t)(p->op_a == 'T' ? p->k : p->m) * (size_t)lda_of(p);
    size_t b_count = (size_t)(p->op_b == 'T' ? p->n : p->k) * (size_t)ldb_of(p);
    size_t c_count = (size_t)p->m * (size_t)ldc;
    float *a = wtl_alloc(a_count, 4), *b = wtl_alloc(b_count, 4), *c = wtl_alloc(c_count, 4),
          *want = wtl_alloc(c_count, 4);
    wtl_fill_random(a, a_count, 1);
    wtl_fill_random(b, b_count, 2);
    wtl_fill_random(c, c_count, 3);
    memcpy(want, c, c_count * sizeof *c);
    for (int i = 0; i < p->m; i++) {
        for (int j = 0; j < p->n; j++) {
            double old = p->beta == 0.0f ? 0.0 : (double)p->beta * (double)c[i * ldc + j];
            want[i * ldc + j] = (float)(old + element(p, a, b, i, j));
            c[i * ldc + j] = p->beta == 0.0f ? NAN : c[i * ldc + j];
        }
    }
    if (p->threads > 0) {
        wtl_gemm_threads(p->threads, p->op_a, p->op_b, p->m, p->n, p->k, a, lda_of(p), b,
                         ldb_of(p), p->beta, c, ldc);
    } else {
        wtl_gemm(p->op_a, p->op_b, p->m, p->n, p->k, a, lda_of(p), b, ldb_of(p), p->beta, c,
                 ldc);
    }
    /* Rounding of a sum of k products below 1: at most k * 2^-24 * k, in practice less. */
    assert_all_close(c, want, c_count, 1e-6 * (p->k + 10));
    wtl_free(a);
    wtl_free(b);
    wtl_free(c);
    wtl_free(want);
}

static void check_all_forms(int m, int n, int k, int threads)
{
    for (int form = 0; form < 24; form++) {
        check(&(product){.op_a = form % 2 ? 'T' : 'N',
                         .op_b = form / 2 % 2 ? 'T' : 'N',
                         .m = m,
                         .n = n,
                         .k = k,
                         .pad = form / 4 % 2 * 3,
                         .beta = (const float[]){0.0f, 1.0f, -0.5f}[form / 8],
                         .threads = threads});
    }
}

/* The operands' four forms with and without beta: threads that share cores are slow. */
static void check_on_threads(int m, int n, int k, int threads)
{
    for (int form = 0; form < 8; form++) {
        check(&(product){.op_a = form % 2 ? 'T' : 'N',
                         .op_b = form / 2 % 2 ? 'T' : 'N',
                         .m = m,
                         .n = n,
                         .k = k,
                         .pad = 3,
                         .beta = form / 4 ? -0.5f : 0.0f,
                         .threads = threads});
    }
}

static const int SHAPES[][3] = {
    {1, 1, 1}, {1, 7, 5},   {7, 1, 5},    {5, 7, 1},
    {3, 4, 2}, {17, 33, 9}, {1, 40, 300}, {40, 1, 300},
};

static void every_form_of_a_product_follows_its_definition(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof SHAPES / sizeof SHAPES[0]; i++) {
        check_all_forms(SHAPES[i][0], SHAPES[i][1], SHAPES[i][2], 0);
    }
}

static void an_empty_sum_leaves_beta_c(void **state)
{
    (void)state;
    check_all_forms(3, 4, 0, 0);
    check_all_forms(3, 1, 0, 0);
    check_all_forms(1, 4, 0, 0);
    float c = 5.0f;
    wtl_gemm('N', 'N', 0, 1, 1, &c, 1, &c, 1, 0.0f, &c, 1);
    wtl_gemm('N', 'N', 1, 0, 1, &c, 1, &c, 1, 0.0f, &c, 1);
    assert_close(c, 5.0, 0.0);
}

/* Large enough to be split, along n and along m, and with more threads than blocks. */
static void products_split_over_threads_follow_the_same_definition(void **state)
{
    (void)state;
    check_on_threads(21, 150, 40, 2);
    check_on_threads(150, 21, 40, 2);
    check_on_threads(33, 33, 70, 7);
    check_on_threads(1, 300, 300, 2);
    check_on_threads(300, 1, 300, 2);
    check_on_threads(4, 4, 4, 4); /* too small to be split */
    check_on_threads(5, 6, 7, 0);
}

static void the_same_thread_count_gives_the_same_bits(void **state)
{
    (void)state;
    enum { M = 40, N = 130, K = 50 };
    float *a = wtl_alloc(M * K, 4), *b = wtl_alloc(K * N, 4), *c = wtl_alloc(2 * M * N, 4);
    wtl_fill_random(a, M * K, 1);
    wtl_fill_random(b, K * N, 2);
    for (int run = 0; run < 2; run++) {
        wtl_gemm_threads(3, 'N', 'N', M, N, K, a, K, b, N, 0.0f, c + run * M * N, N);
    }
    assert_memory_equal(c, c + M * N, M * N * sizeof *c);
    wtl_free(a);
    wtl_free(b);
    wtl_free(c);
}

static void the_library_says_what_it_is(void **state)
{
    (void)state;
    char text[256], cut[8];
    wtl_blas_prepare();
    wtl_blas_describe(text, sizeof text);
    assert_non_null(strstr(text, "OpenBLAS"));
    wtl_blas_describe(cut, sizeof cut);
    assert_int_equal(strlen(cut), sizeof cut - 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(every_form_of_a_product_follows_its_definition),
        WTL_TEST(an_empty_sum_leaves_beta_c),
        WTL_TEST(products_split_over_threads_follow_the_same_definition),
        WTL_TEST(the_same_thread_count_gives_the_same_bits),
        WTL_TEST(the_library_says_what_it_is),
    };
    return WTL_RUN("blas", tests);
}
