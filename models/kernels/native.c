/* native.c - which instruction sets there are, and which this processor has. */
#include "native.h"

#define PLAIN(family)  extern const struct wtl_##family##_kernels wtl_plain_##family;
#define AVX2(family)   extern const struct wtl_##family##_kernels wtl_avx2_##family;
#define AVX512(family) extern const struct wtl_##family##_kernels wtl_avx512_##family;
WTL_NATIVE_FAMILIES(PLAIN)
WTL_NATIVE_FAMILIES(AVX2)
WTL_NATIVE_FAMILIES(AVX512)
#undef PLAIN
#undef AVX2
#undef AVX512

#define PLAIN(family)  .family = &wtl_plain_##family,
#define AVX2(family)   .family = &wtl_avx2_##family,
#define AVX512(family) .family = &wtl_avx512_##family,
static const wtl_native TABLES[] = {
    [WTL_ISA_PLAIN] = {.isa = WTL_ISA_PLAIN, WTL_NATIVE_FAMILIES(PLAIN)},
#if defined WTL_X86
    [WTL_ISA_AVX2] = {.isa = WTL_ISA_AVX2, WTL_NATIVE_FAMILIES(AVX2)},
    [WTL_ISA_AVX512] = {.isa = WTL_ISA_AVX512, WTL_NATIVE_FAMILIES(AVX512)},
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
