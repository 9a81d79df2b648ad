/* native_dense.c - see native_dense.h. */
#include "native_dense.h"

#include "wattle/threads.h"

#include <omp.h>

enum {
    FILTERS = 12,        /* shares of filters are multiples of it: whole tiles of each kernel */
    COLUMNS = 32,        /* and of columns */
    LEAST_MACS = 1 << 16 /* of a thread: fewer are done before another one has woken up */
};

static int threads_of(int threads, const wtl_dense *t)
{
    double useful = (double)t->n * t->k * t->d / LEAST_MACS;
    return useful < 1.0 ? 1 : useful < threads ? (int)useful : threads;
}

/* This thread's part of `count` in whole units. */
static void share(long count, long unit, long *begin, long *end)
{
    wtl_share((count + unit - 1) / unit, omp_get_thread_num(), omp_get_num_threads(), begin,
              end);
    *begin *= unit;
    *end = *end * unit < count ? *end * unit : count;
}

size_t wtl_native_dense_scratch(int n, int d)
{
    return wtl_dense_panel(n, d) * sizeof(float);
}

void wtl_native_dense_forward(const wtl_native *native, int threads, const wtl_dense *t,
                              const float *x, const float *w, const float *b, float *y,
                              float *scratch)
{
#pragma omp parallel num_threads(threads_of(threads, t))
    {
        long begin, end;
        if (t->n > WTL_DENSE_FEW) {
            share(t->d, COLUMNS, &begin, &end);
            native->dense->turn(t, begin, end, x, scratch);
#pragma omp barrier
        }
        share(t->k, FILTERS, &begin, &end);
        native->dense->forward(t, begin, end, x, scratch, w, b, y);
    }
}

void wtl_native_dense_weights(const wtl_native *native, int threads, const wtl_dense *t,
                              bool fresh, const float *x, const float *dy, float *dw, float *db,
                              float *scratch)
{
#pragma omp parallel num_threads(threads_of(threads, t))
    {
        long begin, end;
        share(t->d, COLUMNS, &begin, &end);
        native->dense->cut(t, begin, end, x, scratch);
#pragma omp barrier
        share(t->k, FILTERS, &begin, &end);
        native->dense->weights(t, begin, end, !fresh, scratch, dy, dw);
        if (db) {
            native->dense->bias(t, begin, end, !fresh, dy, db);
        }
    }
}

void wtl_native_dense_data(const wtl_native *native, int threads, const wtl_dense *t,
                           const float *dy, const float *w, float *dx)
{
#pragma omp parallel num_threads(threads_of(threads, t))
    {
        long begin, end;
        share(t->d, COLUMNS, &begin, &end);
        native->dense->data(t, begin, end, dy, w, dx);
    }
}
