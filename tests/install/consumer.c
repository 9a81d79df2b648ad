/* What a user of the installed library might write first. */
#include <wattle/blas.h>
#include <wattle/threads.h>

#include <stdio.h>

int main(void)
{
    static const float a[] = {1, 2, 3, 4}, b[] = {5, 6, 7, 8};
    float c[4];
    wtl_blas_prepare();
    wtl_gemm_threads(wtl_threads_available(), 'N', 'N', 2, 2, 2, a, 2, b, 2, 0.0f, c, 2);
    printf("%g %g %g %g\n", (double)c[0], (double)c[1], (double)c[2], (double)c[3]);
    return 0;
}
