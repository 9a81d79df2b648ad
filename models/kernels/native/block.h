/* block.h - the 16 channels of one pixel in registers: one AVX-512 register, two of AVX2, four
 * of 16 bytes. GCC takes vectors wider than the registers apart value by value, so a block is
 * made of vecs. Loads and stores need no alignment. */
#ifndef WTL_BLOCK_H
#define WTL_BLOCK_H

#include "isa.h"

#include "wattle/net.h"

enum { BLOCK_VECS = WTL_BLOCK / LANES };

typedef struct block {
    vec of[BLOCK_VECS];
} block;

#define UNROLL   _Pragma("GCC unroll 64")
#define EACH_VEC UNROLL for (int v_ = 0; v_ < BLOCK_VECS; v_++)

WTL_INLINE block block_all(float f)
{
    block b;
    EACH_VEC
    {
        b.of[v_] = vec_all(f);
    }
    return b;
}

WTL_INLINE block block_load(const float *p)
{
    block b;
    EACH_VEC
    {
        b.of[v_] = vec_load(p + v_ * LANES);
    }
    return b;
}

WTL_INLINE void block_store(float *p, block b)
{
    EACH_VEC
    {
        vec_store(p + v_ * LANES, b.of[v_]);
    }
}

WTL_INLINE void block_stream(float *p, block b)
{
    EACH_VEC
    {
        vec_stream(p + v_ * LANES, b.of[v_]);
    }
}

WTL_INLINE block block_add(block a, block b)
{
    EACH_VEC
    {
        a.of[v_] += b.of[v_];
    }
    return a;
}

WTL_INLINE block block_sub(block a, block b)
{
    EACH_VEC
    {
        a.of[v_] -= b.of[v_];
    }
    return a;
}

WTL_INLINE block block_mul(block a, block b)
{
    EACH_VEC
    {
        a.of[v_] *= b.of[v_];
    }
    return a;
}

WTL_INLINE block block_fma(block a, block b, block c) /* a * b + c */
{
    EACH_VEC
    {
        c.of[v_] = vec_fma(a.of[v_], b.of[v_], c.of[v_]);
    }
    return c;
}

WTL_INLINE vec vec_activated(vec v, wtl_activation activation)
{
    if (activation != WTL_ACTIVATION_NONE) {
        v = vec_max(vec_zero(), v); /* a NaN stays */
    }
    return activation == WTL_ACTIVATION_RELU6 ? vec_min(vec_all(6.0f), v) : v;
}

/* `value` where the activation that would make y of `before` is not flat, else 0. */
WTL_INLINE vec vec_passed(vec before, vec value, wtl_activation activation)
{
    if (activation != WTL_ACTIVATION_NONE) {
        value = vec_where_less(vec_zero(), before, value);
    }
    return activation == WTL_ACTIVATION_RELU6 ? vec_where_less(before, vec_all(6.0f), value)
                                              : value;
}

WTL_INLINE block block_passed(block before, block value, wtl_activation activation)
{
    EACH_VEC
    {
        value.of[v_] = vec_passed(before.of[v_], value.of[v_], activation);
    }
    return value;
}

WTL_INLINE block block_activated(block b, wtl_activation activation)
{
    EACH_VEC
    {
        b.of[v_] = vec_activated(b.of[v_], activation);
    }
    return b;
}

#endif
