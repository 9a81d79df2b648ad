/* energy_aware.c - energy-aware pruning (Yang, Chen, Sze, CVPR 2017): one round of it.
 *
 *   1. order the layers by their present estimated energy, most first
 *   2. decide how many weights every layer keeps, so that the energies add up to the goal
 *   3. in that order: remove too many weights of every filter by magnitude, restore greedily by
 *      effect on the layer's output, fit what is left by least squares (reconstruct.h); the
 *      next layer sees the net as it is by then
 *
 * Fine-tuning and the next round are the run's. What the paper leaves open, and our answers:
 *
 *   X            from the net as it is pruned so far, Y from the net as it stood before the
 *                round (in the first round, the dense net) on its own inputs, less the bias: the
 *                fit corrects what the layers before did in this round, and keeps what global
 *                fine-tuning learnt in earlier ones. inputs_original and targets_dense choose
 *                otherwise (targets of the dense net cost 2 points of alexnet-28's accuracy in
 *                three rounds, docs/results/pruning.md)
 *   samples      128 images, 16 positions of each map
 *   how far      least error (default): the sum over layers of squared relative output errors
 *                is least for the energy. Equal error: every layer may have the same, its
 *                tolerance bisected to the goal. By energy: density falls by s * E / E_max, one
 *                s bisected to the goal
 *   the error    is ||r||_1 / ||y||_1 after remove, restore and fit. Of 6 probes 4 look at it on
 *                a geometric ladder of densities, down to 0.05 of the present weights, and 2 at
 *                the answers found so far; between them its logarithm is a line. A quarter of
 *                the images is kept out of the fit and judges. Layers of over 65536 weights are
 *                probed with 64 filters
 *   filters      are compared by |gamma| / sigma where a batch norm follows directly
 *   g            2, doubled up to 64 where the search would take more than 2e11 updates of a
 *                residual (a probe's: 2e9) or 262144 turns: AlexNet's first two dense layers
 *   no change    a layer that may lose nothing (limit reached, excluded) is left alone; one that
 *                is only asked to lose nothing is fitted
 *   deconv       has no moments: magnitude within a filter, no fit; its tolerance is the share
 *                of its own magnitude that goes
 */
#include "eap.h"
#include "methods.h"
#include "wattle/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double MOST_WORK = 2e11; /* residual updates of one layer's restoring */

/* ---- opening a round ---- */

static void take_options(wtl_eap_round *round)
{
    const wtl_method_context *context = round->context;
    wtl_method_options *o = &round->options;
    if (context->options) {
        *o = *context->options;
    }
    o->images = o->images > 0 ? o->images : 128;
    o->positions = o->positions > 0 ? o->positions : 16;
    o->probes = o->probes > 0 ? o->probes : 6;
    o->probes = o->probes < WTL_EAP_POINTS - 4 ? o->probes : WTL_EAP_POINTS - 4;
    if (o->reconstruct.overshoot == 0.0) {
        o->reconstruct.overshoot = 0.05;
    }
    if (o->reconstruct.restore_step == 0) {
        o->reconstruct.restore_step = 2;
    }
    round->threads = context->threads > 0 ? context->threads : 1;
    round->images = o->images < context->sample->count ? o->images : context->sample->count;
}

/* The batch norm that alone reads the layer, or -1. */
static int batch_norm_behind(const wtl_netdef *def, int layer)
{
    int readers = 0, found = -1;
    for (int i = 0; i < def->layer_count; i++) {
        for (int k = 0; k < def->layers[i].input_count; k++) {
            if (def->layers[i].inputs[k] == layer) {
                readers++;
                found = i;
            }
        }
    }
    return readers == 1 && def->layers[found].kind == WTL_LAYER_BATCHNORM ? found : -1;
}

static const float *values_of(wtl_net *net, int layer, wtl_param_role role)
{
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        if (param->layer == layer && param->spec.role == role) {
            return param->value;
        }
    }
    return NULL;
}

/* What a batch norm behind the layer multiplies its filters by. A filter that it switches off
 * (gamma 0) still needs a positive scale: it comes last. */
static wtl_status find_scale(wtl_eap_round *round, wtl_eap_layer *layer, wtl_error *err)
{
    static const float OFF = 1e-12f;
    int norm = batch_norm_behind(round->def, layer->layer);
    if (norm < 0 || wtl_eap_by_magnitude(layer)) {
        return WTL_OK;
    }
    int filters = layer->param->spec.dims[0];
    const float *gamma = values_of(round->context->net, norm, WTL_PARAM_SCALE);
    const float *variance = values_of(round->context->net, norm, WTL_PARAM_RUNNING_VAR);
    float eps = round->def->layers[norm].as.batchnorm.eps;
    layer->scale = wtl_alloc((size_t)filters, sizeof *layer->scale);
    if (!layer->scale) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for scales", layer->def->name);
    }
    for (int k = 0; k < filters; k++) {
        float scale = (gamma ? fabsf(gamma[k]) : 1.0f) / sqrtf(variance[k] + eps);
        if (!isfinite(scale)) {
            return wtl_fail(err, WTL_E_NAN, "%s: scale of channel %d is not finite",
                            round->def->layers[norm].name, k);
        }
        layer->scale[k] = scale > OFF ? scale : OFF;
    }
    return WTL_OK;
}

static wtl_status open_layer(wtl_eap_round *round, int index, const wtl_shape *shapes,
                             wtl_error *err)
{
    const wtl_method_context *context = round->context;
    const wtl_method_layer *given = &context->layers[index];
    wtl_eap_layer *layer = &round->layers[index];
    wtl_priced_layer priced = wtl_pricing_layer(context->pricing, index);
    layer->index = index;
    layer->layer = priced.layer;
    layer->def = &round->def->layers[priced.layer];
    layer->in = shapes[layer->def->inputs[0]];
    layer->param = given->param;
    layer->granularity = given->granularity;
    layer->blocks = wtl_blocks_of_layer(context, index);
    layer->probe = wtl_net_find_param(context->probe, given->param->name);
    const wtl_param *targets = wtl_net_find_param(round->targets, given->param->name);
    if (!layer->probe || !targets || layer->probe->count != given->param->count ||
        targets->count != given->param->count) {
        return wtl_fail(err, WTL_E_SHAPE, "%s: the nets differ", given->param->name);
    }
    layer->targets = targets->value;
    layer->kept = wtl_mask_kept(given->param);
    layer->kept = given->most < layer->kept ? given->most : layer->kept;
    layer->least = wtl_kept_within(given, 0);
    layer->energy = wtl_pricing_cost(context->pricing, index, round->nonzeros[index]);
    return find_scale(round, layer, err);
}

static int most_energy_first(const void *a, const void *b)
{
    const wtl_eap_layer *x = a, *y = b;
    if (x->energy > y->energy || x->energy < y->energy) {
        return x->energy > y->energy ? -1 : 1;
    }
    return x->index - y->index;
}

static bool same_values(wtl_net *a, wtl_net *b)
{
    for (int i = 0; i < wtl_net_param_count(a); i++) {
        const wtl_param *x = wtl_net_param(a, i), *y = wtl_net_find_param(b, x->name);
        if (!y || x->count != y->count ||
            memcmp(x->value, y->value, x->count * sizeof *x->value) != 0) {
            return false;
        }
    }
    return true;
}

/* The nets that X and Y come from; the net as it stands is in `probe` already. In the first
 * round it is the original, and no copy of it is needed. */
static wtl_status choose_nets(wtl_eap_round *round, wtl_error *err)
{
    const wtl_method_context *context = round->context;
    round->inputs = round->options.inputs_original ? context->original : context->probe;
    round->targets = context->original;
    if (round->options.targets_dense || same_values(context->probe, context->original)) {
        return WTL_OK;
    }
    wtl_status status =
        wtl_net_create(&round->before, round->def, wtl_net_options_of(context->probe), err);
    round->targets = round->before;
    return status == WTL_OK ? wtl_net_copy_params(round->before, context->probe, err) : status;
}

static wtl_status open_layers(wtl_eap_round *round, const wtl_shape *shapes, wtl_error *err)
{
    wtl_pricing_nonzeros(round->context->pricing, round->context->net, round->nonzeros);
    wtl_status status = WTL_OK;
    for (int i = 0; i < round->count && status == WTL_OK; i++) {
        status = open_layer(round, i, shapes, err);
    }
    if (status == WTL_OK) {
        qsort(round->layers, (size_t)round->count, sizeof *round->layers, most_energy_first);
    }
    return status;
}

static wtl_status open_round(wtl_eap_round *round, wtl_error *err)
{
    const wtl_method_context *context = round->context;
    round->def = wtl_net_def(context->probe);
    round->count = wtl_pricing_count(context->pricing);
    round->layers = wtl_alloc((size_t)round->count, sizeof *round->layers);
    round->nonzeros = wtl_alloc((size_t)round->count, sizeof *round->nonzeros);
    wtl_shape *shapes = wtl_alloc((size_t)round->def->layer_count, sizeof *shapes);
    round->kept = wtl_alloc((size_t)round->count, sizeof *round->kept);
    if (!round->layers || !round->nonzeros || !round->kept || !shapes) {
        wtl_free(shapes);
        return wtl_fail(err, WTL_E_NOMEM, "energy-aware: out of memory");
    }
    take_options(round);
    wtl_status status = wtl_net_copy_params(context->probe, context->net, err);
    status = status == WTL_OK ? choose_nets(round, err) : status;
    status = status == WTL_OK ? wtl_netdef_shapes(round->def, shapes, err) : status;
    status = status == WTL_OK ? open_layers(round, shapes, err) : status;
    wtl_free(shapes);
    return status;
}

static void close_round(wtl_eap_round *round)
{
    for (int i = 0; round->layers && i < round->count; i++) {
        wtl_free(round->layers[i].scale);
    }
    wtl_free(round->layers);
    wtl_free(round->nonzeros);
    wtl_free(round->kept);
    wtl_net_free(round->before);
}

/* ---- 2. how far ---- */

static wtl_status allocate(wtl_eap_round *round, wtl_error *err)
{
    if (round->options.allocation == WTL_EAP_BY_ENERGY) {
        return wtl_eap_allocate(round, err);
    }
    wtl_status status = wtl_eap_probe(round, err);
    status = status == WTL_OK ? wtl_eap_allocate(round, err) : status;
    for (int i = 0; i < wtl_eap_refinements(round) && status == WTL_OK; i++) {
        status = wtl_eap_probe_again(round, err);
        status = status == WTL_OK ? wtl_eap_allocate(round, err) : status;
    }
    return status;
}

/* ---- 3. layer by layer ---- */

static double ratio(double error, double target)
{
    return target > 0.0 ? error / target : error > 0.0 ? (double)INFINITY : 0.0;
}

static void take_errors(const wtl_reconstruct_report *got, wtl_method_step *step)
{
    step->error_before = ratio(got->before.l1, got->target.l1);
    step->error_removal = ratio(got->removal.l1, got->target.l1);
    step->error_restoral = ratio(got->restoral.l1, got->target.l1);
    step->error = ratio(got->after.l2, got->target.l2);
}

static wtl_status reconstruct(const wtl_eap_round *round, wtl_eap_layer *layer,
                              const wtl_moments *moments, wtl_method_step *step, wtl_error *err)
{
    wtl_param *param = layer->param;
    wtl_reconstruct_report got;
    wtl_reconstruct_options options =
        wtl_eap_reconstruction(round, layer, moments, layer->kept, layer->keep, MOST_WORK);
    options.filter_scale = layer->scale;
    wtl_status status;
    if (layer->keep < wtl_mask_kept(param)) {
        status = (round->options.no_fit ? wtl_reconstruct_select : wtl_reconstruct_layer)(
            moments, param->value, param->mask, layer->keep, &options, &got, err);
    } else if (round->options.no_fit) {
        return WTL_OK;
    } else {
        status = wtl_reconstruct_fit(moments, param->value, param->mask, &options, &got, err);
    }
    if (status == WTL_OK) {
        take_errors(&got, step);
    }
    return status;
}

static wtl_status prune_by_moments(const wtl_eap_round *round, wtl_eap_layer *layer,
                                   wtl_method_step *step, wtl_error *err)
{
    wtl_eap_view view = {.layer = layer, .def = layer->def, .targets = layer->targets};
    wtl_status status = wtl_eap_view_open(round, &view, false, err);
    status = status == WTL_OK ? wtl_eap_gather(round, &view, 1, false, err) : status;
    status = status == WTL_OK ? reconstruct(round, layer, view.fit, step, err) : status;
    wtl_eap_view_close(&view);
    return status;
}

static wtl_status prune_layer(const wtl_eap_round *round, wtl_eap_layer *layer, wtl_error *err)
{
    const wtl_method_context *context = round->context;
    const double unknown = (double)NAN;
    wtl_method_step step = {.layer = layer->index,
                            .kept_before = layer->kept,
                            .kept_after = layer->keep,
                            .energy_before = layer->energy,
                            .error_removal = unknown,
                            .error_restoral = unknown,
                            .error = unknown,
                            .error_before = unknown};
    wtl_status status = WTL_OK;
    if (layer->least < layer->kept) {
        status = wtl_mask_make(layer->param, err);
        if (status == WTL_OK) {
            status = wtl_eap_by_magnitude(layer)
                         ? wtl_eap_keep_largest(layer, layer->keep, true, NULL, err)
                         : prune_by_moments(round, layer, &step, err);
        }
        memcpy(layer->probe->value, layer->param->value,
               layer->param->count * sizeof *layer->param->value);
    }
    step.energy_after =
        wtl_pricing_cost(context->pricing, layer->index, (double)step.kept_after);
    if (status == WTL_OK && context->report) {
        context->report(context->context, &step);
    }
    return status;
}

static wtl_status prune_layers(wtl_eap_round *round, wtl_error *err)
{
    wtl_status status = WTL_OK;
    for (int i = 0; i < round->count && status == WTL_OK; i++) {
        status = prune_layer(round, &round->layers[i], err);
        if (status == WTL_OK) {
            wtl_eap_progress(round, 1);
            status = wtl_eap_check_stop(round, err);
        }
    }
    return status;
}

/* ---- the method ---- */

static wtl_status prune(const wtl_method_context *context, wtl_error *err)
{
    wtl_eap_round round = {.context = context};
    wtl_status status = open_round(&round, err);
    if (status == WTL_OK) {
        bool probes = round.options.allocation != WTL_EAP_BY_ENERGY;
        round.total = round.count + (probes ? wtl_eap_probe_count(&round) : 0);
        status = allocate(&round, err);
    }
    status = status == WTL_OK ? prune_layers(&round, err) : status;
    close_round(&round);
    return status;
}

const wtl_method wtl_method_energy_aware = {
    .name = "energy-aware",
    .line = "CVPR 2017: most energy first, restore by output error, least squares",
    .rewrites = true,
    .prune = prune,
};
