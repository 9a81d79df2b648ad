/* blas.h - the one door to BLAS. Row-major. OpenBLAS is kept at one thread of its own;
 * threads are ours, so that the order of every sum is fixed by the thread count. */
#ifndef WATTLE_BLAS_H
#define WATTLE_BLAS_H

#include "wattle/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Call once before the first product: sets OpenBLAS to one thread. */
WTL_API void wtl_blas_prepare(void);

/* Name, version, threading and chosen kernel of the BLAS, for logs. */
WTL_API void wtl_blas_describe(char *text, size_t size);

/* C [m,n] = op(A) [m,k] * op(B) [k,n] + beta * C; op is 'N' or 'T'; lda, ldb, ldc are row
 * lengths in memory. Single-threaded: callable from any of our threads. */
WTL_API void wtl_gemm(char op_a, char op_b, int m, int n, int k, const float *a, int lda,
                      const float *b, int ldb, float beta, float *c, int ldc);

/* The same, split over `threads` of ours along n or m, whichever gives fuller blocks. */
WTL_API void wtl_gemm_threads(int threads, char op_a, char op_b, int m, int n, int k,
                              const float *a, int lda, const float *b, int ldb, float beta,
                              float *c, int ldc);

#ifdef __cplusplus
}
#endif
#endif
