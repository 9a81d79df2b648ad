/* eap_probe.c - how a layer's output error grows as weights go: remove, restore and fit at a few
 * densities, on copies; the layer stays as it is.
 *
 * The error is that on images which the fit has not seen: with as many weights as rows a fit
 * leaves no error on its own rows, and says nothing about the layer. (LeNet-5 on Fashion-MNIST,
 * one round to 0.45 of its energy, not fine-tuned: top-1 89.6 instead of 85.7, of 91.7.) Layers
 * share a run of the sample as far as their moments fit into memory together.
 */
#include "eap.h"
#include "local/reconstruct_private.h"
#include "wattle/memory.h"

#include <math.h>
#include <string.h>

enum {
    WHOLE_WEIGHTS = 1 << 16, /* a layer of so many is probed with all of its filters, */
    PROBE_FILTERS = 64       /* a larger one with so many, spread evenly over each group */
};
static const double LEAST_SHARE = 0.05;              /* the ladder's last step */
static const double MOST_WORK = 2e9;                 /* of one probe's restoring */
static const size_t MOST_BYTES = (size_t)1024 << 20; /* of moments held together */

/* A layer's filters that are probed, as they are now. */
typedef struct probed {
    wtl_eap_layer *layer;
    wtl_eap_view view;
    wtl_layer_def def;
    wtl_block_stock stock; /* of what is kept */
    size_t count, kept;    /* weights */
    float *targets;        /* [filters, m] */
    float *weights, *mask; /* [filters, m] now */
    float *trial, *trial_mask;
    float *scale; /* [filters] or NULL */
} probed;

static bool is_probed(const wtl_eap_layer *layer)
{
    return layer->least < layer->kept && !wtl_eap_by_magnitude(layer);
}

/* ---- opening ---- */

static void close_probed(probed *p)
{
    wtl_eap_view_close(&p->view);
    wtl_free(p->targets);
    wtl_free(p->weights);
    wtl_free(p->mask);
    wtl_free(p->trial);
    wtl_free(p->trial_mask);
    wtl_free(p->scale);
    *p = (probed){0};
}

static bool allocate_probed(probed *p, size_t filters, size_t width)
{
    p->count = filters * width;
    p->targets = wtl_alloc(p->count, sizeof *p->targets);
    p->weights = wtl_alloc(p->count, sizeof *p->weights);
    p->mask = wtl_alloc(p->count, sizeof *p->mask);
    p->trial = wtl_alloc(p->count, sizeof *p->trial);
    p->trial_mask = wtl_alloc(p->count, sizeof *p->trial_mask);
    p->scale = p->layer->scale ? wtl_alloc(filters, sizeof *p->scale) : NULL;
    return p->targets && p->weights && p->mask && p->trial && p->trial_mask &&
           (p->scale || !p->layer->scale);
}

static void copy_filter(probed *p, size_t to, size_t from, size_t width)
{
    const wtl_eap_layer *layer = p->layer;
    size_t source = from * width, sink = to * width;
    memcpy(p->targets + sink, layer->targets + source, width * sizeof(float));
    memcpy(p->weights + sink, layer->param->value + source, width * sizeof(float));
    for (size_t i = 0; i < width; i++) {
        bool keeps = wtl_mask_keeps(layer->param, source + i);
        p->mask[sink + i] = keeps ? 1.0f : 0.0f;
        p->kept += keeps;
    }
    if (p->scale) {
        p->scale[to] = layer->scale[from];
    }
}

static int groups_of(const wtl_eap_layer *layer)
{
    return layer->def->kind == WTL_LAYER_DENSE       ? 1
           : layer->def->kind == WTL_LAYER_DEPTHWISE ? layer->param->spec.dims[0]
                                                     : layer->def->as.conv.groups;
}

/* from[] := the filters of one group that are probed: whole bands, so that they have the
 * layer's blocks; returns how many. */
static int choose_filters(const wtl_eap_layer *layer, int each, int groups, int *from)
{
    int height = layer->blocks.height, bands = (each + height - 1) / height, some = bands;
    if (layer->param->count > WHOLE_WEIGHTS) {
        int share = PROBE_FILTERS / groups / height;
        some = share < 1 ? 1 : share < bands ? share : bands;
    }
    int count = 0;
    for (int i = 0; i < some; i++) {
        int first = (int)((int64_t)i * bands / some) * height;
        for (int k = first; k < first + height && k < each; k++) {
            from[count++] = k;
        }
    }
    return count;
}

/* Choose filters, copy them, make room for their moments. */
static wtl_status take_filters(probed *p, int *from, wtl_error *err)
{
    const wtl_eap_layer *layer = p->layer;
    int filters = layer->param->spec.dims[0], groups = groups_of(layer);
    int each = filters / groups, some = choose_filters(layer, each, groups, from);
    size_t width = layer->param->count / (size_t)filters;
    if (!allocate_probed(p, (size_t)some * (size_t)groups, width)) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for probing", p->def.name);
    }
    for (int to = 0; to < some * groups; to++) {
        copy_filter(p, (size_t)to,
                    (size_t)to / (size_t)some * (size_t)each + (size_t)from[to % some], width);
    }
    wtl_blocks blocks = wtl_blocks_make(layer->granularity, some * groups, groups, width);
    p->stock = wtl_blocks_kept(&blocks, p->mask);
    if (p->def.kind == WTL_LAYER_DENSE) {
        p->def.as.dense.out = some;
    } else {
        p->def.as.conv.out = some * groups;
    }
    return WTL_OK;
}

static wtl_status open_probed(const wtl_eap_round *round, probed *p, wtl_error *err)
{
    wtl_eap_layer *layer = p->layer;
    p->def = *layer->def;
    int *from = wtl_alloc((size_t)layer->param->spec.dims[0], sizeof *from);
    wtl_status status =
        from ? take_filters(p, from, err)
             : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for probing", p->def.name);
    wtl_free(from);
    if (status != WTL_OK) {
        return status;
    }
    p->view = (wtl_eap_view){.layer = layer, .def = &p->def, .targets = p->targets};
    return wtl_eap_view_open(round, &p->view, true, err);
}

/* ---- probing ---- */

/* The relative l1 error of p->trial on the rows that judge. */
static wtl_status judge(const wtl_eap_round *round, const probed *p, double *error,
                        wtl_error *err)
{
    const wtl_moments *rows = p->view.judge ? p->view.judge : p->view.fit;
    const wtl_local local = {
        .moments = rows, .options.threads = round->threads, .weights = p->trial};
    wtl_output_error got;
    wtl_status status = wtl_output_error_of(&local, &got, err);
    if (status != WTL_OK) {
        return status;
    }
    double target = 0.0;
    for (size_t k = 0; k < (size_t)rows->g.k; k++) {
        target += wtl_norm_1(rows->targets + k * rows->capacity, rows->rows);
    }
    *error = target > 0.0 ? got.l1 / target : 0.0;
    return WTL_OK;
}

/* Add the point at `share` of the present weights to the layer's curve. */
static wtl_status probe(wtl_eap_round *round, probed *p, double share, wtl_error *err)
{
    double error = 0.0;
    size_t keep = (size_t)ceil(share * (double)p->kept - 1e-6);
    keep = wtl_stock_at_least(&p->stock, keep > 0 ? keep : 1);
    wtl_reconstruct_options options =
        wtl_eap_reconstruction(round, p->layer, p->view.fit, p->kept, keep, MOST_WORK);
    options.filter_scale = p->scale;
    memcpy(p->trial, p->weights, p->count * sizeof *p->trial);
    memcpy(p->trial_mask, p->mask, p->count * sizeof *p->trial_mask);
    wtl_status status = WTL_OK;
    if (keep < p->kept) {
        status = (round->options.no_fit ? wtl_reconstruct_select : wtl_reconstruct_layer)(
            p->view.fit, p->trial, p->trial_mask, keep, &options, NULL, err);
    }
    status = status == WTL_OK ? judge(round, p, &error, err) : status;
    if (status == WTL_OK) {
        wtl_eap_curve_add(&p->layer->curve, (double)keep / (double)p->kept, error);
        wtl_eap_progress(round, 1);
        status = wtl_eap_check_stop(round, err);
    }
    return status;
}

int wtl_eap_refinements(const wtl_eap_round *round)
{
    return round->options.probes > 3 ? 2 : round->options.probes > 1 ? 1 : 0;
}

/* The other probes make the ladder. */
static int ladder_steps(const wtl_eap_round *round)
{
    return round->options.probes - wtl_eap_refinements(round);
}

static wtl_status probe_layer(wtl_eap_round *round, probed *p, bool again, wtl_error *err)
{
    if (again) {
        return probe(round, p, (double)p->layer->keep / (double)p->layer->kept, err);
    }
    wtl_eap_curve *curve = &p->layer->curve;
    curve->count = 0;
    wtl_eap_curve_add(curve, 0.0, 1.0); /* without weights the error is the target */
    int steps = ladder_steps(round);
    wtl_status status = probe(round, p, 1.0, err);
    for (int i = 1; i <= steps && status == WTL_OK; i++) {
        status = probe(round, p, pow(LEAST_SHARE, (double)i / steps), err);
    }
    return status;
}

/* The share of the weights' own magnitude that goes stands for the outputs'. */
static wtl_status probe_magnitudes(const wtl_eap_round *round, wtl_eap_layer *layer,
                                   wtl_error *err)
{
    int steps = ladder_steps(round);
    wtl_status status = WTL_OK;
    wtl_block_stock stock = wtl_blocks_kept(&layer->blocks, layer->param->mask);
    layer->curve.count = 0;
    wtl_eap_curve_add(&layer->curve, 0.0, 1.0);
    for (int i = 0; i <= steps && status == WTL_OK; i++) {
        double lost = 0.0,
               share = ceil(pow(LEAST_SHARE, (double)i / steps) * (double)layer->kept - 1e-6);
        size_t keep = wtl_stock_at_least(&stock, (size_t)share);
        status = wtl_eap_keep_largest(layer, keep, false, &lost, err);
        wtl_eap_curve_add(&layer->curve, (double)keep / (double)layer->kept, lost);
    }
    return status;
}

/* ---- all layers ---- */

static size_t bytes_of(const wtl_eap_view *view)
{
    return wtl_moments_info_of(view->fit).bytes +
           (view->judge ? wtl_moments_info_of(view->judge).bytes : 0);
}

/* Open layers from *next on, as many as fit together, at least one; *opened := how many. */
static wtl_status open_some(wtl_eap_round *round, probed *all, wtl_eap_view *views, int *next,
                            int *opened, wtl_error *err)
{
    size_t bytes = 0;
    wtl_status status = WTL_OK;
    for (; *next < round->count && bytes < MOST_BYTES && status == WTL_OK; (*next)++) {
        if (is_probed(&round->layers[*next])) {
            probed *p = &all[(*opened)++];
            p->layer = &round->layers[*next];
            status = open_probed(round, p, err);
            if (status == WTL_OK) {
                views[*opened - 1] = p->view;
                bytes += bytes_of(&p->view);
            }
        }
    }
    return status;
}

static wtl_status probe_some(wtl_eap_round *round, probed *all, wtl_eap_view *views, int *next,
                             bool again, wtl_error *err)
{
    int opened = 0;
    wtl_status status = open_some(round, all, views, next, &opened, err);
    if (status == WTL_OK && opened > 0) {
        status = wtl_eap_gather(round, views, opened, true, err);
    }
    for (int i = 0; i < opened; i++) {
        if (status == WTL_OK) {
            status = probe_layer(round, &all[i], again, err);
        }
        close_probed(&all[i]);
    }
    return status;
}

static wtl_status probe_all(wtl_eap_round *round, bool again, wtl_error *err)
{
    probed *all = wtl_alloc((size_t)round->count, sizeof *all);
    wtl_eap_view *views = wtl_alloc((size_t)round->count, sizeof *views);
    wtl_status status = WTL_OK;
    if (!all || !views) {
        status = wtl_fail(err, WTL_E_NOMEM, "energy-aware: out of memory for probing");
    }
    for (int next = 0; next < round->count && status == WTL_OK;) {
        status = probe_some(round, all, views, &next, again, err);
    }
    for (int i = 0; i < round->count && status == WTL_OK; i++) {
        wtl_eap_layer *layer = &round->layers[i];
        if (!again && layer->least < layer->kept && wtl_eap_by_magnitude(layer)) {
            status = probe_magnitudes(round, layer, err);
        }
        wtl_eap_curve_finish(&layer->curve);
    }
    wtl_free(all);
    wtl_free(views);
    return status;
}

int wtl_eap_probe_count(const wtl_eap_round *round)
{
    int layers = 0;
    for (int i = 0; i < round->count; i++) {
        layers += is_probed(&round->layers[i]);
    }
    return layers * (1 + round->options.probes); /* all weights, then fewer */
}

wtl_status wtl_eap_probe(wtl_eap_round *round, wtl_error *err)
{
    return probe_all(round, false, err);
}

wtl_status wtl_eap_probe_again(wtl_eap_round *round, wtl_error *err)
{
    return probe_all(round, true, err);
}
