/* optimizer.c - SGD, Nesterov and AdamW, with clipping, masks and an average of weights.
 *
 * A step goes once over the parameters in chunks that stay in the first-level cache, so that
 * decay, momentum, update, mask and average cost one pass over memory. Chunks are fixed by
 * the parameters' sizes alone: the gradient's norm is the sum of the chunks' sums in order,
 * whatever the number of threads.
 *
 * The average follows every parameter, running statistics included, so that the averaged
 * weights come with the statistics that belong to them. Its decay begins low,
 * min(ema, (1+t)/(10+t)) at step t, for otherwise the initial weights would stay in a short
 * run's average for good.
 */
#include "wattle/optimizer.h"

#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <jansson.h>
#include <math.h>
#include <omp.h>
#include <string.h>

enum { CHUNK = 4096, LANES = 16 };

/* One parameter and its state; what is not kept is NULL. All are [param->count]. */
typedef struct slot {
    wtl_param *param;
    bool decays;
    uint64_t
        held; /* a step of this param->followed held the mask: since then all that is masked
                      is 0, and gradients of 0 leave it so */
    float *momentum; /* v, or Adam's m */
    float *second;   /* Adam's s */
    float *average;
} slot;

typedef struct chunk {
    int slot;
    size_t begin, count;
} chunk;

struct wtl_optimizer {
    wtl_optimizer_options options;
    uint64_t steps;
    int slot_count;
    slot *slots;
    size_t chunk_count;
    chunk *chunks;
    double *chunk_sums; /* [chunk_count] */
    float *state;       /* every slot's arrays */
    size_t state_bytes;
};

/* What one step multiplies by. */
typedef struct step_numbers {
    float rate, scale; /* scale: of the gradient, below 1 when it is clipped */
    float momentum, decay;
    float beta2, epsilon;
    float first_correction, second_correction; /* 1 / (1 - beta^t) */
    float follow;                              /* 1 - decay of the average */
} step_numbers;

/* ---- the sweeps over one chunk: w, g, v, m, s, mask, x are [n] ---- */

WTL_HOT static double sum_of_squares(size_t n, const float *g, const float *mask)
{
    double lane[LANES] = {0}, sum = 0.0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t l = 0; l < LANES; l++) {
            double value = (double)(mask ? g[i + l] * mask[i + l] : g[i + l]);
            lane[l] += value * value;
        }
    }
    for (; i < n; i++) {
        double value = (double)(mask ? g[i] * mask[i] : g[i]);
        sum += value * value;
    }
    for (size_t l = 0; l < LANES; l++) {
        sum += lane[l];
    }
    return sum;
}

WTL_HOT static void sweep_sgd(size_t n, const step_numbers *by, const float *restrict g,
                              float *restrict w, float *restrict v)
{
    const float rate = by->rate, scale = by->scale, momentum = by->momentum, decay = by->decay;
    for (size_t i = 0; i < n; i++) {
        float moved = momentum * v[i] + (scale * g[i] + decay * w[i]);
        v[i] = moved;
        w[i] -= rate * moved;
    }
}

WTL_HOT static void sweep_nesterov(size_t n, const step_numbers *by, const float *restrict g,
                                   float *restrict w, float *restrict v)
{
    const float rate = by->rate, scale = by->scale, momentum = by->momentum, decay = by->decay;
    for (size_t i = 0; i < n; i++) {
        float slope = scale * g[i] + decay * w[i];
        float moved = momentum * v[i] + slope;
        v[i] = moved;
        w[i] -= rate * (slope + momentum * moved);
    }
}

WTL_HOT static void sweep_adam(size_t n, const step_numbers *by, const float *restrict g,
                               float *restrict w, float *restrict m, float *restrict s)
{
    const float rate = by->rate, scale = by->scale, decay = by->decay, epsilon = by->epsilon;
    const float beta1 = by->momentum, beta2 = by->beta2;
    const float first = by->first_correction, second = by->second_correction;
    for (size_t i = 0; i < n; i++) {
        float slope = scale * g[i];
        m[i] = beta1 * m[i] + (1.0f - beta1) * slope;
        s[i] = beta2 * s[i] + (1.0f - beta2) * slope * slope;
        w[i] -= rate * (first * m[i] / (sqrtf(second * s[i]) + epsilon) + decay * w[i]);
    }
}

WTL_HOT static void sweep_average(size_t n, float follow, const float *restrict w,
                                  float *restrict average)
{
    for (size_t i = 0; i < n; i++) {
        average[i] += follow * (w[i] - average[i]);
    }
}

/* A choice, not a product: -1 * 0 would be -0 and NaN * 0 would stay NaN. */
WTL_HOT static void sweep_mask(size_t n, const float *restrict mask, float *restrict x)
{
    for (size_t i = 0; i < n; i++) {
        x[i] = mask[i] != 0.0f ? x[i] : 0.0f;
    }
}

/* ---- one chunk ---- */

/* The mask, or NULL where there is none or nothing for it to do. */
static const float *mask_to_hold(const slot *s)
{
    return s->param->followed && s->held == s->param->followed ? NULL : s->param->mask;
}

static void mask_state(const slot *s, size_t begin, size_t count)
{
    const float *mask = s->param->mask;
    float *const arrays[] = {s->param->value, s->momentum, s->second, s->average};
    for (size_t a = 0; mask && a < sizeof arrays / sizeof *arrays; a++) {
        if (arrays[a]) {
            sweep_mask(count, mask + begin, arrays[a] + begin);
        }
    }
}

static void step_chunk(const wtl_optimizer *optimizer, const chunk *c, step_numbers by)
{
    const slot *s = &optimizer->slots[c->slot];
    float *w = s->param->value + c->begin;
    if (s->param->gradient) {
        const float *g = s->param->gradient + c->begin;
        float *v = s->momentum + c->begin;
        by.decay = s->decays ? by.decay : 0.0f;
        switch (optimizer->options.kind) {
        case WTL_OPTIMIZER_SGD:
            sweep_sgd(c->count, &by, g, w, v);
            break;
        case WTL_OPTIMIZER_NESTEROV:
            sweep_nesterov(c->count, &by, g, w, v);
            break;
        case WTL_OPTIMIZER_ADAM:
            sweep_adam(c->count, &by, g, w, v, s->second + c->begin);
            break;
        }
    }
    if (s->average) {
        sweep_average(c->count, by.follow, w, s->average + c->begin);
    }
    if (mask_to_hold(s)) {
        mask_state(s, c->begin, c->count);
    }
}

/* ---- options ---- */

const char *const wtl_optimizer_words[] = {[WTL_OPTIMIZER_SGD] = "sgd",
                                           [WTL_OPTIMIZER_NESTEROV] = "nesterov",
                                           [WTL_OPTIMIZER_ADAM] = "adam",
                                           NULL};

void wtl_optimizer_defaults(wtl_optimizer_options *options)
{
    *options = (wtl_optimizer_options){.kind = WTL_OPTIMIZER_NESTEROV,
                                       .momentum = 0.9,
                                       .beta2 = 0.999,
                                       .epsilon = 1e-8,
                                       .weight_decay = 5e-4};
}

/* ---- create, reset, free ---- */

static wtl_status check_options(const wtl_optimizer_options *o, wtl_error *err)
{
    const struct {
        const char *name;
        double value;
        bool share; /* must be below 1 */
    } numbers[] = {{"momentum", o->momentum, true},    {"beta2", o->beta2, true},
                   {"epsilon", o->epsilon, false},     {"weight_decay", o->weight_decay, false},
                   {"clip_norm", o->clip_norm, false}, {"ema", o->ema, true}};
    if (o->kind != WTL_OPTIMIZER_SGD && o->kind != WTL_OPTIMIZER_NESTEROV &&
        o->kind != WTL_OPTIMIZER_ADAM) {
        return wtl_fail(err, WTL_E_ARG, "optimizer: there is no kind %d", (int)o->kind);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        double value = numbers[i].value;
        if (!(value >= 0.0 && isfinite(value) && !(numbers[i].share && value >= 1.0))) {
            return wtl_fail(err, WTL_E_RANGE, "optimizer: %s is %g, must be %s",
                            numbers[i].name, value,
                            numbers[i].share ? "at least 0 and below 1" : "at least 0");
        }
    }
    if (o->threads < 0) {
        return wtl_fail(err, WTL_E_RANGE, "optimizer: %d threads", o->threads);
    }
    return WTL_OK;
}

static size_t padded(size_t count)
{
    enum { FLOATS = WTL_ALIGNMENT / sizeof(float) };
    return (count + FLOATS - 1) / FLOATS * FLOATS;
}

/* Hand out each slot's arrays from `state` and return how many floats that took; with a
 * NULL state it only counts. */
static size_t lay_out(wtl_optimizer *optimizer, float *state)
{
    size_t used = 0;
    for (int i = 0; i < optimizer->slot_count; i++) {
        slot *s = &optimizer->slots[i];
        const struct {
            float **array;
            bool kept;
        } parts[] = {
            {&s->momentum, s->param->gradient != NULL},
            {&s->second,
             s->param->gradient != NULL && optimizer->options.kind == WTL_OPTIMIZER_ADAM},
            {&s->average, optimizer->options.ema > 0.0},
        };
        for (size_t p = 0; p < sizeof parts / sizeof *parts; p++) {
            if (parts[p].kept) {
                *parts[p].array = state ? state + used : NULL;
                used += padded(s->param->count);
            }
        }
    }
    return used;
}

static bool decays(const wtl_optimizer_options *options, const wtl_param *param)
{
    return options->decay_all || param->spec.role == WTL_PARAM_WEIGHT;
}

static size_t chunks_of(const wtl_param *param)
{
    return (param->count + CHUNK - 1) / CHUNK;
}

static void cut_chunks(wtl_optimizer *optimizer)
{
    chunk *next = optimizer->chunks;
    for (int i = 0; i < optimizer->slot_count; i++) {
        size_t count = optimizer->slots[i].param->count;
        for (size_t begin = 0; begin < count; begin += CHUNK) {
            size_t left = count - begin;
            *next++ = (chunk){i, begin, left < CHUNK ? left : CHUNK};
        }
    }
}

static bool allocate(wtl_optimizer *optimizer, wtl_net *net)
{
    optimizer->slot_count = wtl_net_param_count(net);
    optimizer->slots = wtl_alloc((size_t)optimizer->slot_count, sizeof *optimizer->slots);
    if (!optimizer->slots) {
        return false;
    }
    for (int i = 0; i < optimizer->slot_count; i++) {
        slot *s = &optimizer->slots[i];
        s->param = wtl_net_param(net, i);
        s->decays = decays(&optimizer->options, s->param);
        optimizer->chunk_count += chunks_of(s->param);
    }
    optimizer->chunks = wtl_alloc(optimizer->chunk_count, sizeof *optimizer->chunks);
    optimizer->chunk_sums = wtl_alloc(optimizer->chunk_count, sizeof *optimizer->chunk_sums);
    optimizer->state_bytes = lay_out(optimizer, NULL) * sizeof(float);
    optimizer->state = wtl_alloc_pages(optimizer->state_bytes);
    if (!optimizer->chunks || !optimizer->chunk_sums || !optimizer->state) {
        return false;
    }
    (void)lay_out(optimizer, optimizer->state);
    cut_chunks(optimizer);
    return true;
}

void wtl_optimizer_reset(wtl_optimizer *optimizer)
{
    optimizer->steps = 0;
    for (int i = 0; i < optimizer->slot_count; i++) {
        const slot *s = &optimizer->slots[i];
        const size_t bytes = s->param->count * sizeof(float);
        if (s->momentum) {
            memset(s->momentum, 0, bytes);
        }
        if (s->second) {
            memset(s->second, 0, bytes);
        }
        if (s->average) {
            memcpy(s->average, s->param->value, bytes);
        }
        mask_state(s, 0, s->param->count);
    }
}

wtl_status wtl_optimizer_create(wtl_optimizer **out, wtl_net *net,
                                const wtl_optimizer_options *options, wtl_error *err)
{
    *out = NULL;
    wtl_status status = check_options(options, err);
    if (status != WTL_OK) {
        return status;
    }
    if (!wtl_net_options_of(net)->training) {
        return wtl_fail(err, WTL_E_ARG, "optimizer: the net is not planned for training");
    }
    wtl_optimizer *optimizer = wtl_alloc(1, sizeof *optimizer);
    if (!optimizer) {
        return wtl_fail(err, WTL_E_NOMEM, "optimizer: out of memory");
    }
    optimizer->options = *options;
    wtl_optimizer_options *o = &optimizer->options;
    o->beta2 = o->beta2 > 0.0 ? o->beta2 : 0.999;
    o->epsilon = o->epsilon > 0.0 ? o->epsilon : 1e-8;
    o->threads = o->threads > 0 ? o->threads : 1;
    if (!allocate(optimizer, net)) {
        wtl_optimizer_free(optimizer);
        return wtl_fail(err, WTL_E_NOMEM, "optimizer: out of memory");
    }
    wtl_optimizer_reset(optimizer);
    *out = optimizer;
    return WTL_OK;
}

void wtl_optimizer_free(wtl_optimizer *optimizer)
{
    if (optimizer) {
        wtl_free(optimizer->slots);
        wtl_free(optimizer->chunks);
        wtl_free(optimizer->chunk_sums);
        wtl_free_pages(optimizer->state, optimizer->state_bytes);
        wtl_free(optimizer);
    }
}

/* ---- a step ---- */

static double gradient_norm(wtl_optimizer *optimizer)
{
    const long count = (long)optimizer->chunk_count;
#pragma omp parallel num_threads(optimizer->options.threads)
    {
        long begin, end;
        wtl_share(count, omp_get_thread_num(), omp_get_num_threads(), &begin, &end);
        for (long i = begin; i < end; i++) {
            const chunk *c = &optimizer->chunks[i];
            const wtl_param *p = optimizer->slots[c->slot].param;
            const float *mask = p->followed ? NULL : p->mask; /* else it is 0 where masked */
            optimizer->chunk_sums[i] = p->gradient
                                           ? sum_of_squares(c->count, p->gradient + c->begin,
                                                            mask ? mask + c->begin : NULL)
                                           : 0.0;
        }
    }
    double sum = 0.0;
    for (long i = 0; i < count; i++) {
        sum += optimizer->chunk_sums[i];
    }
    return sqrt(sum);
}

static step_numbers numbers_of_step(const wtl_optimizer *optimizer, double rate, double norm)
{
    const wtl_optimizer_options *o = &optimizer->options;
    double t = (double)optimizer->steps; /* this step counts, from 1 */
    double warm = (1.0 + t) / (10.0 + t);
    bool clipped = o->clip_norm > 0.0 && norm > o->clip_norm;
    return (step_numbers){
        .rate = (float)rate,
        .scale = clipped ? (float)(o->clip_norm / norm) : 1.0f,
        .momentum = (float)o->momentum,
        .decay = (float)o->weight_decay,
        .beta2 = (float)o->beta2,
        .epsilon = (float)o->epsilon,
        .first_correction = (float)(1.0 / (1.0 - pow(o->momentum, t))),
        .second_correction = (float)(1.0 / (1.0 - pow(o->beta2, t))),
        .follow = (float)(1.0 - (o->ema < warm ? o->ema : warm)),
    };
}

double wtl_optimizer_step(wtl_optimizer *optimizer, double rate)
{
    double norm = gradient_norm(optimizer);
    if (!isfinite(norm)) {
        return NAN;
    }
    optimizer->steps++;
    const step_numbers by = numbers_of_step(optimizer, rate, norm);
#pragma omp parallel num_threads(optimizer->options.threads)
    {
        long begin, end;
        wtl_share((long)optimizer->chunk_count, omp_get_thread_num(), omp_get_num_threads(),
                  &begin, &end);
        for (long i = begin; i < end; i++) {
            step_chunk(optimizer, &optimizer->chunks[i], by);
        }
    }
    for (int i = 0; i < optimizer->slot_count; i++) {
        optimizer->slots[i].held = optimizer->slots[i].param->followed;
    }
    return norm;
}

void wtl_optimizer_swap_ema(wtl_optimizer *optimizer)
{
    for (int i = 0; i < optimizer->slot_count; i++) {
        const slot *s = &optimizer->slots[i];
        for (size_t j = 0; s->average && j < s->param->count; j++) {
            float kept = s->param->value[j];
            s->param->value[j] = s->average[j];
            s->average[j] = kept;
        }
        mask_state(s, 0, s->param->count); /* the averages may be older than the mask */
    }
}

/* ---- saving and loading ---- */

enum { STATE_KINDS = 3 };
static const char *const state_names[STATE_KINDS] = {"momentum", "second", "average"};

static float *state_of(const slot *s, int kind)
{
    float *const arrays[STATE_KINDS] = {s->momentum, s->second, s->average};
    return arrays[kind];
}

static char *state_name(const slot *s, int kind)
{
    return wtl_format("optimizer.%s.%s", s->param->name, state_names[kind]);
}

static wtl_status save_state(const slot *s, int kind, wtl_checkpoint *checkpoint,
                             wtl_error *err)
{
    size_t dims[WTL_MAX_RANK];
    for (int d = 0; d < s->param->spec.rank; d++) {
        dims[d] = (size_t)s->param->spec.dims[d];
    }
    char *name = state_name(s, kind);
    wtl_status status = name ? wtl_checkpoint_add(checkpoint, name, s->param->spec.rank, dims,
                                                  state_of(s, kind), err)
                             : wtl_fail(err, WTL_E_NOMEM, "optimizer: out of memory");
    wtl_free(name);
    return status;
}

wtl_status wtl_optimizer_save(wtl_optimizer *optimizer, wtl_checkpoint *checkpoint,
                              wtl_error *err)
{
    json_t *meta = json_pack("{s:I}", "steps", (json_int_t)optimizer->steps);
    if (!meta) {
        return wtl_fail(err, WTL_E_NOMEM, "optimizer: out of memory");
    }
    wtl_status status = wtl_checkpoint_set_meta(checkpoint, "optimizer", meta, err);
    for (int i = 0; i < optimizer->slot_count; i++) {
        for (int kind = 0; kind < STATE_KINDS; kind++) {
            if (status == WTL_OK && state_of(&optimizer->slots[i], kind)) {
                status = save_state(&optimizer->slots[i], kind, checkpoint, err);
            }
        }
    }
    return status;
}

static wtl_status load_state(const slot *s, int kind, const wtl_checkpoint *checkpoint,
                             wtl_error *err)
{
    char *name = state_name(s, kind);
    if (!name) {
        return wtl_fail(err, WTL_E_NOMEM, "optimizer: out of memory");
    }
    wtl_tensor_view view;
    wtl_status status = WTL_OK;
    if (!wtl_checkpoint_find(checkpoint, name, &view)) {
        status = wtl_fail(err, WTL_E_MISSING, "the checkpoint has no %s", name);
    } else if (view.count != s->param->count) {
        status = wtl_fail(err, WTL_E_SHAPE, "%s has %zu values, %s has %zu", name, view.count,
                          s->param->name, s->param->count);
    } else {
        for (size_t j = 0; j < view.count; j++) {
            state_of(s, kind)[j] = view.value[j];
        }
    }
    wtl_free(name);
    return status;
}

wtl_status wtl_optimizer_load(wtl_optimizer *optimizer, const wtl_checkpoint *checkpoint,
                              wtl_error *err)
{
    const json_t *steps =
        json_object_get(wtl_checkpoint_meta(checkpoint, "optimizer"), "steps");
    if (!json_is_integer(steps) || json_integer_value(steps) < 0) {
        return wtl_fail(err, WTL_E_MISSING, "the checkpoint has no optimizer state");
    }
    wtl_status status = WTL_OK;
    for (int i = 0; i < optimizer->slot_count && status == WTL_OK; i++) {
        const slot *s = &optimizer->slots[i];
        for (int kind = 0; kind < STATE_KINDS && status == WTL_OK; kind++) {
            if (state_of(s, kind)) {
                status = load_state(s, kind, checkpoint, err);
            }
        }
        mask_state(s, 0, s->param->count);
    }
    if (status == WTL_OK) {
        optimizer->steps = (uint64_t)json_integer_value(steps);
    }
    return status;
}
