/* blas.c - GEMM through OpenBLAS, threads our own. The only file that sees <cblas.h>. */
#include "wattle/blas.h"

#include "wattle/threads.h"

#include <cblas.h>
#include <omp.h>
#include <stdio.h>

void wtl_blas_prepare(void)
{
    openblas_set_num_threads(1);
}

void wtl_blas_describe(char *text, size_t size)
{
    snprintf(text, size, "%s, kernel %s", openblas_get_config(), openblas_get_corename());
}

static CBLAS_TRANSPOSE transpose_of(char op)
{
    return op == 'T' ? CblasTrans : CblasNoTrans;
}

void wtl_gemm(char op_a, char op_b, int m, int n, int k, const float *a, int lda,
              const float *b, int ldb, float beta, float *c, int ldc)
{
    if (m == 0 || n == 0) {
        return;
    }
    if (n == 1 && op_b == 'N' && ldb == 1 && ldc == 1) { /* a vector: read A once */
        cblas_sgemv(CblasRowMajor, transpose_of(op_a), op_a == 'T' ? k : m, op_a == 'T' ? m : k,
                    1.0f, a, lda, b, 1, beta, c, 1);
        return;
    }
    cblas_sgemm(CblasRowMajor, transpose_of(op_a), transpose_of(op_b), m, n, k, 1.0f, a, lda, b,
                ldb, beta, c, ldc);
}

void wtl_gemm_threads(int threads, char op_a, char op_b, int m, int n, int k, const float *a,
                      int lda, const float *b, int ldb, float beta, float *c, int ldc)
{
    enum { SMALLEST_BLOCK = 16, WORTH_A_FORK = 1 << 16 };
    int widest = m > n ? m : n;
    int most = (widest + SMALLEST_BLOCK - 1) / SMALLEST_BLOCK;
    int parts = threads < most ? threads : most;
    if (parts <= 1 || (double)m * n * k < WORTH_A_FORK) {
        wtl_gemm(op_a, op_b, m, n, k, a, lda, b, ldb, beta, c, ldc);
        return;
    }
#pragma omp parallel for num_threads(parts) schedule(static, 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        if (n >= m) {
            wtl_share(n, part, parts, &begin, &end);
            const float *slice = op_b == 'T' ? b + begin * ldb : b + begin;
            wtl_gemm(op_a, op_b, m, (int)(end - begin), k, a, lda, slice, ldb, beta, c + begin,
                     ldc);
        } else {
            wtl_share(m, part, parts, &begin, &end);
            const float *slice = op_a == 'T' ? a + begin : a + begin * lda;
            wtl_gemm(op_a, op_b, (int)(end - begin), n, k, slice, lda, b, ldb, beta,
                     c + begin * ldc, ldc);
        }
    }
}
