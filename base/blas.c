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
    /* A vector times a matrix reads the matrix once and packs nothing: more than twice as
     * fast (dense layers on one image). With k = 0, sgemv would leave C as it is. */
    if (n == 1 && k > 0) {
        int rows = op_a == 'T' ? k : m, columns = op_a == 'T' ? m : k;
        cblas_sgemv(CblasRowMajor, transpose_of(op_a), rows, columns, 1.0f, a, lda, b,
                    op_b == 'T' ? 1 : ldb, beta, c, ldc);
        return;
    }
    if (m == 1 && k > 0) { /* c = op(B)^T a */
        int rows = op_b == 'T' ? n : k, columns = op_b == 'T' ? k : n;
        cblas_sgemv(CblasRowMajor, op_b == 'T' ? CblasNoTrans : CblasTrans, rows, columns, 1.0f,
                    b, ldb, a, op_a == 'T' ? lda : 1, beta, c, 1);
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
