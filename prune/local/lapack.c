/* lapack.c - the only file that sees <lapacke.h>. */
#include "lapack.h"

#include "wattle/memory.h"

#include <lapacke.h>
#include <math.h>

/* Row-major upper triangles are column-major lower ones: nothing is transposed. */
bool wtl_lapack_cholesky(int n, double *a)
{
    return LAPACKE_dpotrf(LAPACK_COL_MAJOR, 'L', n, a, n) == 0;
}

void wtl_lapack_solve(int n, const double *a, double *b)
{
    (void)LAPACKE_dpotrs_work(LAPACK_COL_MAJOR, 'L', n, 1, a, n, b,
                              n); /* only arguments fail */
}

static void mirror(int n, double *a)
{
    for (size_t i = 0; i < (size_t)n; i++) {
        for (size_t j = i + 1; j < (size_t)n; j++) {
            a[j * (size_t)n + i] = a[i * (size_t)n + j];
        }
    }
}

static bool all_finite(const double *values, size_t count)
{
    bool finite = true;
    for (size_t i = 0; i < count; i++) {
        finite &= isfinite(values[i]) != 0;
    }
    return finite;
}

wtl_status wtl_lapack_svd(int n, double *a, double *b)
{
    const double least = 1e-10;
    double size;
    lapack_int int_size, rank;
    mirror(n, a);
    if (!all_finite(a, (size_t)n * (size_t)n) || !all_finite(b, (size_t)n) ||
        LAPACKE_dgelsd_work(LAPACK_COL_MAJOR, n, n, 1, a, n, b, n, NULL, least, &rank, &size,
                            -1, &int_size) != 0) {
        return WTL_E_NAN;
    }
    double *work = wtl_alloc((size_t)size, sizeof *work);
    lapack_int *int_work = wtl_alloc((size_t)int_size, sizeof *int_work);
    double *singular = wtl_alloc((size_t)n, sizeof *singular);
    wtl_status status = work && int_work && singular ? WTL_OK : WTL_E_NOMEM;
    if (status == WTL_OK &&
        LAPACKE_dgelsd_work(LAPACK_COL_MAJOR, n, n, 1, a, n, b, n, singular, least, &rank, work,
                            (lapack_int)size, int_work) != 0) {
        status = WTL_E_NAN;
    }
    wtl_free(work);
    wtl_free(int_work);
    wtl_free(singular);
    return status;
}
