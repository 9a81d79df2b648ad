/* net_bench.h - how long a network takes, as a whole and layer by layer, and how long it would
 * take at the limits of the machine. For wattle bench.
 */
#ifndef WTL_TOOLS_NET_BENCH_H
#define WTL_TOOLS_NET_BENCH_H

#include "model.h"
#include "peak.h"

#include "wattle/kernel_costs.h"

/* Limits of the machine with so many threads; FLOP/s and bytes/s, 0 where memory was short. */
typedef struct wtl_limits {
    int threads;
    wtl_peak_isa isa; /* of flops */
    double flops, memory_read, memory_copy, cache_read, cache_copy;
    size_t cache_bytes; /* of the last level; 0: unknown, then cache_* are memory's */
} wtl_limits;

/* About a second. */
void wtl_limits_measure(wtl_limits *limits, int threads);

typedef struct wtl_spread {
    double mean, sd, median, least, most; /* sd NaN for one value */
} wtl_spread;

/* Of `count` >= 1 values, which are sorted. */
wtl_spread wtl_spread_of(double *values, int count);

/* A layer's forward or backward. */
typedef struct wtl_bench_row {
    int layer; /* in the definition */
    bool backward;
    char *name, *kernel;
    const char *kind;
    double seconds;       /* median */
    double flops;         /* 2 a multiply-accumulate; as if no weight were 0 */
    double bytes;         /* of weights and maps, each moved once */
    double bound_seconds; /* no faster at the limits: max(flops / peak, bytes / bandwidth) */
    bool memory_bound;    /* the bytes take longer */
} wtl_bench_row;

typedef struct wtl_bench_point {
    int threads, batch, repeats;
    wtl_spread seconds; /* of a pass over a batch */
    double flops;
    double loss_seconds, step_seconds; /* medians, in training: loss; the optimiser's step */
    double rest_seconds;               /* what no layer, loss or step accounts for */
    wtl_net_memory memory;
    wtl_bench_row *rows; /* in the order of the run */
    int row_count;
} wtl_bench_point;

typedef struct wtl_bench_plan {
    bool training; /* forward, loss, backward, SGD step; else a forward pass */
    bool no_fold;  /* keep batch norm apart at inference */
    wtl_engine engine;
    wtl_isa isa;                   /* of the native engine: the most it may use */
    bool no_winograd;              /* native engine */
    bool no_sparse;                /* dense kernels alone, whatever the weights' zeros */
    const wtl_kernel_costs *costs; /* to choose kernels by; NULL: the defaults */
    int threads, batch;
    int warmup, repeats; /* passes before, and at most; both >= 1 */
    double seconds;      /* after which repeats end, three of them apart */
    uint64_t seed;       /* of weights without a checkpoint, images, labels */
} wtl_bench_plan;

/* What was measured under one plan. */
typedef struct wtl_bench_pair {
    wtl_bench_point point;
    wtl_bench_point dense; /* where zeros of a checkpoint made layers of `point` choose other
                              kernels: the same with the dense ones; else repeats is 0 */
} wtl_bench_pair;

/* Images are noise. Passes of a pair take turns, so that whatever else the machine does meets
 * both; each has its own plan->seconds. WTL_E_STOPPED after Ctrl-C; what wtl_net_create() and
 * wtl_checkpoint_fill_net() return. On success freed by wtl_bench_pair_clear(), else empty. */
wtl_status wtl_bench_measure(wtl_bench_pair *pair, const wtl_subject *subject,
                             const wtl_bench_plan *plan, const wtl_limits *limits,
                             wtl_error *err) WTL_MUST_CHECK;
void wtl_bench_pair_clear(wtl_bench_pair *pair);

#endif
