/* kernel_costs.h - how fast this processor's kernels are, and what follows for a layer: whether it
 * runs faster by its dense kernel or by one that skips weights that are 0.
 *
 * The rates are measured once on a processor (a second or two) and kept in a small file; without
 * one there are defaults, measured on one machine. All are of one thread, but `memory_gbs`.
 *
 *   costs = wtl_kernel_costs_default(WTL_ISA_BEST);
 *   choice = wtl_kernel_choose(&costs, &options, in, out, &weights, batch);
 *
 * The file is JSON: {"format": "wattle kernel costs", "version": 1, "processor": TEXT,
 * "isa": "plain"|"avx2"|"avx512", "threads": N, and a positive number for every rate below, by the
 * name it has here}. Unknown keys are refused.
 */
#ifndef WATTLE_KERNEL_COSTS_H
#define WATTLE_KERNEL_COSTS_H

#include "wattle/net.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_kernel_costs {
    char processor[64];
    wtl_isa isa; /* of the kernels: never WTL_ISA_BEST */
    int threads; /* that read memory together */

    double dense_gflops;    /* direct convolution; a multiply-add counts 2 */
    double winograd_gflops; /* 3x3 convolution by Winograd, counted as if direct */
    double memory_gbs;      /* reading weights that no cache holds, all threads together */

    /* One weight times one output pixel, in ns: input in the first-level and in the second-level
     * cache. */
    double rows_ns, rows_far_ns;
    double quads_ns, quads_far_ns; /* the same for four filters' weights at one position */
    /* One value, in ns. */
    double sum_ns;  /* a sum put away and fetched again, beside input in the first level */
    double turn_ns; /* between maps in blocks of channels and planes of pixels */
    double copy_ns; /* a plane copied */
    double call_ns; /* beginning the sums of one filter */
} wtl_kernel_costs;

/* Measured on an AMD Zen 5 server processor, two threads, with the kernels for `isa` or, with
 * WTL_ISA_BEST, those that this processor runs. */
WTL_API wtl_kernel_costs wtl_kernel_costs_default(wtl_isa isa);

/* Seconds since some moment: the library itself reads no clock. */
typedef struct wtl_clock {
    double (*now)(void *context);
    void *context;
} wtl_clock;

/* Measure the kernels for `isa` (with WTL_ISA_BEST: the best this processor has).
 *   WTL_E_ARG    threads < 1
 *   WTL_E_RANGE  the clock stands still or goes backwards
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_kernel_costs_measure(wtl_kernel_costs *costs, wtl_isa isa, int threads,
                                            const wtl_clock *clock,
                                            wtl_error *err) WTL_MUST_CHECK;

/* Read what wtl_kernel_costs_save() wrote. *costs is all zero on failure.
 *   WTL_E_FORMAT, WTL_E_RANGE, WTL_E_MISSING, WTL_E_IO, WTL_E_NOMEM; the message begins with the
 *   path, or with `name` */
WTL_API wtl_status wtl_kernel_costs_load(wtl_kernel_costs *costs, const char *path,
                                         wtl_error *err) WTL_MUST_CHECK;
WTL_API wtl_status wtl_kernel_costs_parse(wtl_kernel_costs *costs, const char *text,
                                          size_t length, const char *name,
                                          wtl_error *err) WTL_MUST_CHECK;

/* Replace `path`. WTL_E_WRITE, WTL_E_NOMEM */
WTL_API wtl_status wtl_kernel_costs_save(const wtl_kernel_costs *costs, const char *path,
                                         wtl_error *err) WTL_MUST_CHECK;

typedef enum wtl_kernel {
    WTL_KERNEL_DENSE, /* direct or Winograd */
    WTL_KERNEL_ROWS,  /* every weight that is not 0 by itself */
    WTL_KERNEL_QUADS, /* in fours: filters 4i .. 4i+3 at one position */
    WTL_KERNEL_COUNT
} wtl_kernel;

/* How full the weights are, 0 .. 1. */
typedef struct wtl_kernel_density {
    double weights; /* share of them that are not 0 */
    double quads;   /* share of quads (4x1 blocks) that are not all 0; at least `weights` */
} wtl_kernel_density;

typedef struct wtl_kernel_choice {
    wtl_kernel kernel;
    double seconds[WTL_KERNEL_COUNT]; /* predicted, one thread; infinite where it cannot run */
    double speed_up; /* of `kernel` over dense, at least 1: predicted, not measured */
} wtl_kernel_choice;

/* The fastest kernel for a convolution whose options and shapes have been checked, on `batch`
 * images at a time. A dense layer is a 1x1 convolution of a 1x1 map. */
WTL_API wtl_kernel_choice wtl_kernel_choose(const wtl_kernel_costs *costs,
                                            const wtl_conv_options *options, wtl_shape in,
                                            wtl_shape out, wtl_kernel_density density,
                                            int batch);

/* The density at which `kernel` is as fast as dense: sparser weights run faster. Quads are either
 * full or 0 there. 1 where it is faster at any density, 0 where it never is. */
WTL_API double wtl_kernel_break_even(const wtl_kernel_costs *costs,
                                     const wtl_conv_options *options, wtl_shape in,
                                     wtl_shape out, wtl_kernel kernel, int batch);

#ifdef __cplusplus
}
#endif
#endif
