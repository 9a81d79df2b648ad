/* native.c - which instruction sets there are, and which this processor has. */
#include "native.h"

#define DECLARE(set)                                                                           \
    extern const struct wtl_tile_kernels wtl_##set##_tile;                                     \
    extern const struct wtl_reorder_kernels wtl_##set##_reorder;                               \
    extern const struct wtl_pool_kernels wtl_##set##_pool;                                     \
    extern const struct wtl_lrn_kernels wtl_##set##_lrn;                                       \
    extern const struct wtl_batchnorm_kernels wtl_##set##_batchnorm;                           \
    extern const struct wtl_depthwise_kernels wtl_##set##_depthwise
#define TABLE(which, set)                                                                      \
    [which] = {                                                                                \
        .isa = (which),                                                                        \
        .tile = &wtl_##set##_tile,                                                             \
        .reorder = &wtl_##set##_reorder,                                                       \
        .pool = &wtl_##set##_pool,                                                             \
        .lrn = &wtl_##set##_lrn,                                                               \
        .batchnorm = &wtl_##set##_batchnorm,                                                   \
        .depthwise = &wtl_##set##_depthwise,                                                   \
    }

DECLARE(plain);
#if defined WTL_X86
DECLARE(avx2);
DECLARE(avx512);
#endif

static const wtl_native TABLES[] = {
    TABLE(WTL_ISA_PLAIN, plain),
#if defined WTL_X86
    TABLE(WTL_ISA_AVX2, avx2),
    TABLE(WTL_ISA_AVX512, avx512),
#endif
};

#if defined WTL_X86
static wtl_isa best(void)
{
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
        return WTL_ISA_AVX512;
    }
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") ? WTL_ISA_AVX2
                                                                           : WTL_ISA_PLAIN;
}
#else
static wtl_isa best(void)
{
    return WTL_ISA_PLAIN;
}
#endif

const wtl_native *wtl_native_of(wtl_isa most)
{
    wtl_isa isa = best();
    if (most != WTL_ISA_BEST && most < isa) {
        isa = most;
    }
    return &TABLES[isa];
}
