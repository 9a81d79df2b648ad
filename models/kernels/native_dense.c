/* native_dense.c - see native_dense.h. */
#include "native_dense.h"

#include "dense_parts.h"

enum { FILTERS = 12 }; /* of a share: whole tiles of each kernel */

static double macs(const wtl_dense *t)
{
    return (double)t->n * t->k * t->d;
}

size_t wtl_native_dense_scratch(int n, int d)
{
    return wtl_dense_panel(n, d) * sizeof(float);
}

void wtl_native_dense_forward(const wtl_native *native, int threads, const wtl_dense *t,
                              const float *x, const float *w, const float *b, float *y,
                              float *scratch)
{
#pragma omp parallel num_threads(wtl_dense_threads(threads, macs(t)))
    {
        long begin, end;
        if (t->n > WTL_DENSE_FEW) {
            wtl_dense_share(t->d, WTL_DENSE_COLUMNS, &begin, &end);
            native->dense->turn(t, begin, end, x, scratch);
#pragma omp barrier
        }
        wtl_dense_share(t->k, FILTERS, &begin, &end);
        native->dense->forward(t, begin, end, x, scratch, w, b, y);
    }
}

void wtl_native_dense_weights(const wtl_native *native, int threads, const wtl_dense *t,
                              bool fresh, const float *x, const float *dy, float *dw, float *db,
                              float *scratch)
{
#pragma omp parallel num_threads(wtl_dense_threads(threads, macs(t)))
    {
        long begin, end;
        wtl_dense_share(t->d, WTL_DENSE_COLUMNS, &begin, &end);
        native->dense->cut(t, begin, end, x, scratch);
#pragma omp barrier
        wtl_dense_share(t->k, FILTERS, &begin, &end);
        native->dense->weights(t, begin, end, !fresh, scratch, dy, dw);
        if (db) {
            native->dense->bias(t, begin, end, !fresh, dy, db);
        }
    }
}

void wtl_native_dense_data(const wtl_native *native, int threads, const wtl_dense *t,
                           const float *dy, const float *w, float *dx)
{
#pragma omp parallel num_threads(wtl_dense_threads(threads, macs(t)))
    {
        long begin, end;
        wtl_dense_share(t->d, WTL_DENSE_COLUMNS, &begin, &end);
        native->dense->data(t, begin, end, dy, w, dx);
    }
}
