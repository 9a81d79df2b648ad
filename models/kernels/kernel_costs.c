/* kernel_costs.c - the rates that are known without measuring, and the choice of a kernel. */
#include "wattle/kernel_costs.h"

#include "conv_sparse.h"
#include "conv_winograd.h"
#include "native/sparse.h"
#include "sparse_dense.h"

#include <math.h>

/* Measured by wtl_kernel_costs_measure() with two threads: 1 MiB of second-level cache a core. */
static const wtl_kernel_costs DEFAULTS[WTL_ISA_COUNT] = {
    [WTL_ISA_PLAIN] = {.dense_gflops = 46,
                       .winograd_gflops = 151,
                       .memory_gbs = 36,
                       .rows_ns = 0.0365,
                       .rows_far_ns = 0.0405,
                       .quads_ns = 0.159,
                       .quads_far_ns = 0.164,
                       .sum_ns = 0.058,
                       .turn_ns = 0.197,
                       .copy_ns = 0.072,
                       .call_ns = 1.5},
    [WTL_ISA_AVX2] = {.dense_gflops = 114,
                      .winograd_gflops = 380,
                      .memory_gbs = 36,
                      .rows_ns = 0.0175,
                      .rows_far_ns = 0.0238,
                      .quads_ns = 0.0585,
                      .quads_far_ns = 0.0598,
                      .sum_ns = 0.027,
                      .turn_ns = 0.049,
                      .copy_ns = 0.0335,
                      .call_ns = 1.8},
    [WTL_ISA_AVX512] = {.dense_gflops = 236,
                        .winograd_gflops = 705,
                        .memory_gbs = 36,
                        .rows_ns = 0.0098,
                        .rows_far_ns = 0.0168,
                        .quads_ns = 0.031,
                        .quads_far_ns = 0.0316,
                        .sum_ns = 0.030,
                        .turn_ns = 0.049,
                        .copy_ns = 0.0195,
                        .call_ns = 2.7},
};

wtl_kernel_costs wtl_kernel_costs_default(wtl_isa isa)
{
    wtl_isa which = isa == WTL_ISA_BEST ? wtl_native_of(isa)->isa : isa;
    wtl_kernel_costs costs = DEFAULTS[which];
    costs.isa = which;
    costs.threads = 2;
    return costs;
}

/* ---- predictions ---- */

enum { FEW_IMAGES = 6 }; /* of a dense layer: up to so many, its weights' bytes are its cost */
/* Bytes of a dense layer's non-zero: the value and 16 bits of position; four share a position. */
#define ROW_BYTES  6.0
#define QUAD_BYTES (4 * 4 + 2.0)

static double rounded_up(int a, int b)
{
    return (double)((a + b - 1) / b) * b;
}

static double dense_seconds(const wtl_kernel_costs *costs, const wtl_conv_geometry *g,
                            int batch)
{
    double weights = (double)g->k * (g->c / g->groups) * g->r * g->s;
    double flop = 2.0 * weights * g->p * g->q * batch;
    double seconds = 1e-9 * flop / costs->dense_gflops;
    if (wtl_winograd_pays(g)) {
        /* The rate is that of F(4x4,3x3); F(2x2,5x5) has 36 products for 2 x 2 x 25. */
        int tile = g->r == 3 ? 4 : 2;
        double products = (4.0 * 3 * 4 * 3) / (tile * g->r * tile * g->r);
        double whole = rounded_up(g->p, tile) * rounded_up(g->q, tile) / ((double)g->p * g->q);
        seconds = fmin(seconds, 1e-9 * flop * whole * products / costs->winograd_gflops);
    }
    return seconds;
}

/* A dense layer of few images: weights pass by once. */
static bool is_passed(const wtl_conv_geometry *g, int batch)
{
    return g->h * g->w * g->p * g->q == 1 && batch <= FEW_IMAGES;
}

/* At the speed of memory. */
static bool is_streamed(const wtl_conv_geometry *g, int batch)
{
    return is_passed(g, batch) && (double)g->k * g->c > WTL_CACHED_WEIGHTS;
}

/* From a cache: cycles as in sparse_dense.c, of a processor of 4 GHz. */
static double cached_seconds(const wtl_conv_geometry *g, wtl_kernel kernel,
                             wtl_kernel_density density, int batch)
{
    static const double SECONDS = 0.25e-9, ROW_END = 10.0;
    static const double CYCLES[2][WTL_KERNEL_COUNT] = {{0.24, 1.1, 3.3}, {0.54, 1.7, 3.3}};
    double weights = (double)g->k * g->c, each = CYCLES[batch > 1][kernel];
    if (kernel == WTL_KERNEL_DENSE) {
        return SECONDS * weights * each;
    }
    bool rows = kernel == WTL_KERNEL_ROWS;
    double entries = rows ? weights * density.weights : weights / WTL_QUAD * density.quads;
    return SECONDS * (entries * each + ROW_END * (rows ? g->k : (double)g->k / WTL_QUAD));
}

static double streamed_seconds(const wtl_kernel_costs *costs, double weights, wtl_kernel kernel,
                               wtl_kernel_density density)
{
    double bytes = kernel == WTL_KERNEL_DENSE ? weights * sizeof(float)
                   : kernel == WTL_KERNEL_ROWS
                       ? weights * density.weights * ROW_BYTES
                       : weights / WTL_QUAD * density.quads * QUAD_BYTES;
    return 1e-9 * bytes / costs->memory_gbs;
}

static double sparse_seconds(const wtl_kernel_costs *costs, const wtl_conv_geometry *g,
                             int batch, wtl_sparse_form form, double entries)
{
    wtl_conv_sparse plan;
    const wtl_native *native = wtl_native_of(costs->isa);
    if (!wtl_sparse_plan(&plan, native, g, batch, form, (size_t)entries, false)) {
        return INFINITY;
    }
    return wtl_sparse_estimate(&plan, native, batch, costs);
}

wtl_kernel_choice wtl_kernel_choose_for(const wtl_kernel_costs *costs,
                                        const wtl_conv_geometry *g, wtl_kernel_density density,
                                        int batch)
{
    double weights = (double)g->k * (g->c / g->groups) * g->r * g->s;
    wtl_kernel_choice choice = {WTL_KERNEL_DENSE, {0}, 1, is_streamed(g, batch)};
    if (choice.streamed) {
        for (int k = 0; k < WTL_KERNEL_COUNT; k++) {
            choice.seconds[k] = streamed_seconds(costs, weights, (wtl_kernel)k, density);
        }
    } else if (is_passed(g, batch)) {
        for (int k = 0; k < WTL_KERNEL_COUNT; k++) {
            choice.seconds[k] = cached_seconds(g, (wtl_kernel)k, density, batch);
        }
    } else {
        choice.seconds[WTL_KERNEL_DENSE] = dense_seconds(costs, g, batch);
        choice.seconds[WTL_KERNEL_ROWS] =
            sparse_seconds(costs, g, batch, WTL_SPARSE_ROWS, weights * density.weights);
        choice.seconds[WTL_KERNEL_QUADS] = sparse_seconds(costs, g, batch, WTL_SPARSE_QUADS,
                                                          weights / WTL_QUAD * density.quads);
    }
    for (int k = 1; k < WTL_KERNEL_COUNT; k++) {
        choice.kernel =
            choice.seconds[k] < choice.seconds[choice.kernel] ? (wtl_kernel)k : choice.kernel;
    }
    if (choice.kernel != WTL_KERNEL_DENSE) {
        choice.speed_up = choice.seconds[WTL_KERNEL_DENSE] / choice.seconds[choice.kernel];
    }
    return choice;
}

wtl_kernel_choice wtl_kernel_choose(const wtl_kernel_costs *costs,
                                    const wtl_conv_options *options, wtl_shape in,
                                    wtl_shape out, wtl_kernel_density density, int batch)
{
    wtl_conv_geometry g = wtl_conv_geometry_of(options, in, out);
    return wtl_kernel_choose_for(costs, &g, density, batch);
}

/* Quads do not reach over the end of a group; an incomplete one counts as a quad. */
wtl_kernel_density wtl_kernel_density_of(const wtl_conv_geometry *g, const float *w)
{
    int filters = g->k / g->groups;
    size_t row = (size_t)(g->c / g->groups) * (size_t)g->r * (size_t)g->s;
    size_t weights = 0, quads = 0, all_quads = 0;
    for (int k = 0; k < g->k;) {
        int left = filters - k % filters, count = left < WTL_QUAD ? left : WTL_QUAD;
        for (size_t i = 0; i < row; i++) {
            int here = 0;
            for (int f = 0; f < count; f++) {
                here += w[(size_t)(k + f) * row + i] != 0.0f;
            }
            weights += (size_t)here;
            quads += here > 0;
        }
        all_quads += row;
        k += count;
    }
    return (wtl_kernel_density){(double)weights / ((double)g->k * (double)row),
                                (double)quads / (double)all_quads};
}

double wtl_kernel_break_even(const wtl_kernel_costs *costs, const wtl_conv_options *options,
                             wtl_shape in, wtl_shape out, wtl_kernel kernel, int batch)
{
    double low = 0, high = 1;
    for (int i = 0; i < 12; i++) { /* to 1/4096 */
        double density = i == 0 ? 1 : (low + high) / 2;
        wtl_kernel_choice choice = wtl_kernel_choose(
            costs, options, in, out, (wtl_kernel_density){density, density}, batch);
        if (choice.seconds[kernel] > choice.seconds[WTL_KERNEL_DENSE]) {
            high = density;
        } else if (i == 0) {
            return 1;
        } else {
            low = density;
        }
    }
    return low;
}
