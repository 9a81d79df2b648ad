/* lapack.h - solving symmetric systems. The only door to LAPACKE.
 *
 * Matrices are [n,n] doubles of which a[i*n + j] with i <= j is given, and are overwritten; b [n]
 * is overwritten with the solution. Single-threaded where OpenBLAS is: callable from any
 * thread. */
#ifndef WTL_LAPACK_H
#define WTL_LAPACK_H

#include "wattle/status.h"

#include <stdbool.h>

/* a := its Cholesky factor. False if the matrix is not positive definite or not finite. */
bool wtl_lapack_cholesky(int n, double *a) WTL_MUST_CHECK;

/* b := the solution, by the factor `a`, as often as there are right-hand sides. */
void wtl_lapack_solve(int n, const double *a, double *b);

/* The shortest of the x that bring a*x closest to b, by singular values; those below 1e-10 of
 * the largest count as 0. WTL_E_NAN if values are not finite or LAPACK does not converge;
 * WTL_E_NOMEM. */
wtl_status wtl_lapack_svd(int n, double *a, double *b) WTL_MUST_CHECK;

#endif
