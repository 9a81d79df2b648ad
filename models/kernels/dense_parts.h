/* dense_parts.h - how work on fully connected layers is shared by threads. */
#ifndef WTL_DENSE_PARTS_H
#define WTL_DENSE_PARTS_H

#include "wattle/threads.h"

#include <omp.h>

/* Columns of a share, whatever the instruction set's vectors. */
enum { WTL_DENSE_COLUMNS = 32 };

/* Threads worth waking for so many multiplications. */
static inline int wtl_dense_threads(int threads, double macs)
{
    enum { LEAST = 1 << 16 }; /* of a thread: fewer are done before it has woken up */
    double useful = macs / LEAST;
    return useful < 1.0 ? 1 : useful < threads ? (int)useful : threads;
}

/* In a parallel region: this thread's part of `count`, in whole units but for the last. */
static inline void wtl_dense_share(long count, long unit, long *begin, long *end)
{
    wtl_share((count + unit - 1) / unit, omp_get_thread_num(), omp_get_num_threads(), begin,
              end);
    *begin *= unit;
    *end = *end * unit < count ? *end * unit : count;
    *begin = *begin < *end ? *begin : *end;
}

#endif
