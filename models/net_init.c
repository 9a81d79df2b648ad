/* net_init.c - the values that parameters start from.
 *
 * Glorot & Bengio 2010 as Caffe scales it: uniform +-sqrt(3/fan_in); He et al. 2015: normal of
 * deviation sqrt(2/fan). Element i of a parameter is a function of (seed, parameter, i) alone.
 */
#include "net_private.h"

#include "wattle/rng.h"
#include "wattle/threads.h"

#include <math.h>

/* Four uniform values in [-1, 1). */
static void four_uniform(const uint32_t words[4], float out[4])
{
    for (int i = 0; i < 4; i++) {
        out[i] = (float)((double)words[i] * 0x1p-31 - 1.0);
    }
}

/* Four standard normal values (Box-Muller). */
static void four_normal(const uint32_t words[4], float out[4])
{
    for (int i = 0; i < 4; i += 2) {
        double radius = sqrt(-2.0 * log(((double)words[i] + 1.0) * 0x1p-32));
        double angle = 6.283185307179586 * (double)words[i + 1] * 0x1p-32;
        out[i] = (float)(radius * cos(angle));
        out[i + 1] = (float)(radius * sin(angle));
    }
}

static void fill_random(float *values, size_t count, const wtl_rng *stream, double scale,
                        bool normal, int threads)
{
    long blocks = (long)((count + 3) / 4);
#pragma omp parallel for num_threads(threads) schedule(static)
    for (long block = 0; block < blocks; block++) {
        uint32_t words[4];
        float four[4];
        wtl_rng_block(stream, (uint32_t)block, words);
        if (normal) {
            four_normal(words, four);
        } else {
            four_uniform(words, four);
        }
        for (size_t i = (size_t)block * 4, j = 0; j < 4 && i < count; i++, j++) {
            values[i] = (float)(scale * (double)four[j]);
        }
    }
}

static void fill_constant(float *values, size_t count, float value)
{
    for (size_t i = 0; i < count; i++) {
        values[i] = value;
    }
}

static void init_param(const wtl_net *net, const wtl_param *param, const wtl_rng *stream)
{
    const wtl_param_spec *spec = &param->spec;
    double fan_in = spec->fan_in > 0 ? spec->fan_in : 1;
    double fan_out = spec->fan_out > 0 ? spec->fan_out : 1;
    double scale = 0.0;
    bool normal = false;
    switch (spec->init.kind) {
    case WTL_INIT_CONST:
        fill_constant(param->value, param->count, spec->init.value);
        return;
    case WTL_INIT_GAUSS:
        scale = (double)spec->init.value;
        normal = true;
        break;
    case WTL_INIT_UNIFORM:
        scale = (double)spec->init.value;
        break;
    case WTL_INIT_XAVIER:
        scale = sqrt(3.0 / fan_in);
        break;
    case WTL_INIT_MSRA:
        scale = sqrt(2.0 / fan_in);
        normal = true;
        break;
    case WTL_INIT_MSRA_OUT:
        scale = sqrt(2.0 / fan_out);
        normal = true;
        break;
    case WTL_INIT_TORCH:
        scale = 1.0 / sqrt(fan_in);
        break;
    }
    fill_random(param->value, param->count, stream, scale, normal, net->options.threads);
}

void wtl_net_init(wtl_net *net, uint64_t seed)
{
    for (int p = 0; p < net->param_count; p++) {
        wtl_rng stream = wtl_rng_make(seed, WTL_RNG_INIT, net->param_keys[p], 0);
        init_param(net, &net->params[p], &stream);
    }
}
