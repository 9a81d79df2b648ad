/* from_net.c - the layers of a network as hardware sees them, and the zeros in its maps. */
#include "wattle/from_net.h"

#include "wattle/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A layer that computes, and the layers of the definition whose outputs are its maps. */
typedef struct net_layer {
    int layer, ifmap, ofmap;
} net_layer;

typedef struct net_view {
    const wtl_netdef *def;
    wtl_shape *shapes;   /* [def->layer_count] */
    net_layer *computes; /* [compute_count] */
    int compute_count;
} net_view;

static void clear_view(net_view *view)
{
    wtl_free(view->shapes);
    wtl_free(view->computes);
    *view = (net_view){0};
}

/* ---- which layers, which maps ---- */

static bool computes(wtl_layer_kind kind)
{
    return kind == WTL_LAYER_CONV || kind == WTL_LAYER_DEPTHWISE || kind == WTL_LAYER_DECONV ||
           kind == WTL_LAYER_DENSE;
}

/* At inference these pass their input on as it is. */
static bool passes_through(wtl_layer_kind kind)
{
    return kind == WTL_LAYER_DROPOUT || kind == WTL_LAYER_FLATTEN;
}

static int source_of(const wtl_netdef *def, int layer)
{
    while (passes_through(def->layers[layer].kind)) {
        layer = def->layers[layer].inputs[0];
    }
    return layer;
}

/* reader[i] := the one layer of the inference network that reads layer i, or -1. */
static void find_readers(const wtl_netdef *def, const bool *keep, int *reader)
{
    enum { NONE = -1, SEVERAL = -2 };
    for (int i = 0; i < def->layer_count; i++) {
        reader[i] = NONE;
        for (int k = 0; keep[i] && k < def->layers[i].input_count; k++) {
            int *of_input = &reader[def->layers[i].inputs[k]];
            *of_input = *of_input == NONE ? i : SEVERAL;
        }
    }
}

/* From a conv or dense layer over the batch norm that folds into it to the ReLU that is
 * applied on the way out. */
static int end_of_chain(const wtl_netdef *def, const int *reader, int layer)
{
    bool norm = false;
    int end = layer;
    for (int next = reader[layer]; next >= 0; next = reader[next]) {
        wtl_layer_kind kind = def->layers[next].kind;
        if (kind == WTL_LAYER_RELU || kind == WTL_LAYER_RELU6) {
            return next;
        }
        if (kind == WTL_LAYER_BATCHNORM && !norm) {
            norm = true;
            end = next;
        } else if (!passes_through(kind)) {
            break;
        }
    }
    return end;
}

static void list_layers(net_view *view, const bool *keep, const int *reader)
{
    const wtl_netdef *def = view->def;
    for (int i = 0; i < def->layer_count; i++) {
        if (keep[i] && computes(def->layers[i].kind)) {
            view->computes[view->compute_count++] =
                (net_layer){.layer = i,
                            .ifmap = source_of(def, def->layers[i].inputs[0]),
                            .ofmap = end_of_chain(def, reader, i)};
        }
    }
}

static wtl_status make_view(net_view *view, const wtl_netdef *def, wtl_error *err)
{
    size_t count = (size_t)def->layer_count;
    *view = (net_view){.def = def,
                       .shapes = wtl_alloc(count, sizeof *view->shapes),
                       .computes = wtl_alloc(count, sizeof *view->computes)};
    bool *keep = wtl_alloc(count, sizeof *keep);
    int *reader = wtl_alloc(count, sizeof *reader);
    wtl_status status = WTL_OK;
    if (!view->shapes || !view->computes || !keep || !reader) {
        status =
            wtl_fail(err, WTL_E_NOMEM, "net %s: out of memory for its workload", def->name);
    } else {
        status = wtl_netdef_shapes(def, view->shapes, err);
    }
    if (status == WTL_OK) {
        (void)wtl_netdef_inference_layers(def, keep);
        find_readers(def, keep, reader);
        list_layers(view, keep, reader);
        if (view->compute_count == 0) {
            status = wtl_fail(err, WTL_E_ARG, "net %s: has no conv or dense layer", def->name);
        }
    }
    wtl_free(keep);
    wtl_free(reader);
    if (status != WTL_OK) {
        clear_view(view);
    }
    return status;
}

/* ---- one layer as a workload says it ---- */

/* Sizes are 1 to 2^31 in all; where a text's numbers are larger the check refuses them. */
static wtl_work_tensor tensor(wtl_shape s, int count, int bits)
{
    return (wtl_work_tensor){.h = s.h, .w = s.w, .channels = s.c, .count = count, .bits = bits};
}

static void describe_conv(wtl_work_layer *out, const wtl_conv_options *o, int groups)
{
    out->filter.h = o->kernel[0];
    out->filter.w = o->kernel[1];
    out->filter.channels = out->ifmap.channels / groups;
    memcpy(out->stride, o->stride, sizeof out->stride);
    memcpy(out->dilation, o->dilation, sizeof out->dilation);
    memcpy(out->pad, o->pad, sizeof out->pad);
}

/* Zeros between the values that a deconv reads, per image. */
static double zeros_between(const wtl_layer_def *layer, wtl_shape in)
{
    if (layer->kind != WTL_LAYER_DECONV) {
        return 0;
    }
    const int *stride = layer->as.conv.stride;
    double h = (in.h - 1) * (double)stride[0] + 1, w = (in.w - 1) * (double)stride[1] + 1;
    return in.c * (h * w - (double)in.h * in.w);
}

static wtl_status describe_deconv(wtl_work_layer *out, const wtl_layer_def *layer, wtl_shape in,
                                  wtl_error *err)
{
    const wtl_conv_options *o = &layer->as.conv;
    for (int side = 0; side < 4; side++) {
        int kernel = o->kernel[side / 2];
        if (o->pad[side] >= kernel) {
            return wtl_fail(err, WTL_E_SHAPE,
                            "%s: padding %d of a deconv with kernel %d is no convolution",
                            layer->name, o->pad[side], kernel);
        }
        out->pad[side] = kernel - 1 - o->pad[side];
    }
    out->filter.h = o->kernel[0];
    out->filter.w = o->kernel[1];
    out->filter.channels = in.c;
    out->ifmap.h = (in.h - 1) * o->stride[0] + 1;
    out->ifmap.w = (in.w - 1) * o->stride[1] + 1;
    out->ifmap.zeros = zeros_between(layer, in) * out->ifmap.count;
    return WTL_OK;
}

static wtl_status describe(wtl_work_layer *out, const net_view *view, int index,
                           const wtl_from_net_options *options, wtl_error *err)
{
    const net_layer *place = &view->computes[index];
    const wtl_layer_def *layer = &view->def->layers[place->layer];
    wtl_shape in = view->shapes[place->ifmap], made = view->shapes[place->layer];
    int bits = options->bits ? options->bits : 16;
    *out = (wtl_work_layer){.index = index + 1,
                            .ifmap = tensor(in, options->batch, bits),
                            .filter = tensor(in, made.c, bits),
                            .ofmap = tensor(made, options->batch, bits),
                            .stride = {1, 1},
                            .dilation = {1, 1}};
    snprintf(out->name, sizeof out->name, "%s", layer->name);
    wtl_status status = WTL_OK;
    if (layer->kind == WTL_LAYER_CONV) {
        describe_conv(out, &layer->as.conv, layer->as.conv.groups);
    } else if (layer->kind == WTL_LAYER_DEPTHWISE) {
        describe_conv(out, &layer->as.conv, in.c);
    } else if (layer->kind == WTL_LAYER_DECONV) {
        status = describe_deconv(out, layer, in, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    status = wtl_work_layer_check(out, err);
    return status == WTL_OK ? status : wtl_fail_in(err, status, layer->name);
}

static wtl_status fill_workload(wtl_workload *out, const net_view *view,
                                const wtl_from_net_options *options, wtl_error *err)
{
    if (options->batch < 1 || options->bits < 0 || options->bits > 32) {
        return wtl_fail(err, WTL_E_ARG, "workload of a net: batch %d, %d bits", options->batch,
                        options->bits);
    }
    snprintf(out->name, sizeof out->name, "%s", view->def->name);
    out->layers = wtl_alloc((size_t)view->compute_count, sizeof *out->layers);
    if (!out->layers) {
        return wtl_fail(err, WTL_E_NOMEM, "net %s: out of memory for its workload",
                        view->def->name);
    }
    out->layer_count = view->compute_count;
    wtl_status status = WTL_OK;
    for (int i = 0; i < view->compute_count && status == WTL_OK; i++) {
        status = describe(&out->layers[i], view, i, options, err);
    }
    return status;
}

wtl_status wtl_workload_from_netdef(wtl_workload *out, const wtl_netdef *def,
                                    const wtl_from_net_options *options, wtl_error *err)
{
    *out = (wtl_workload){0};
    net_view view;
    wtl_status status = make_view(&view, def, err);
    if (status != WTL_OK) {
        return status;
    }
    status = fill_workload(out, &view, options, err);
    clear_view(&view);
    if (status != WTL_OK) {
        wtl_workload_clear(out);
    }
    return status;
}

/* ---- zeros among weights ---- */

static size_t zeros_among(const float *values, size_t count)
{
    size_t zeros = 0;
    for (size_t i = 0; i < count; i++) {
        zeros += values[i] == 0.0f;
    }
    return zeros;
}

static void count_weight_zeros(wtl_workload *work, wtl_net *net)
{
    for (int i = 0; i < work->layer_count; i++) {
        wtl_work_layer *layer = &work->layers[i];
        int index = wtl_netdef_find(wtl_net_def(net), layer->name);
        for (int p = 0; p < wtl_net_param_count(net); p++) {
            const wtl_param *param = wtl_net_param(net, p);
            if (param->layer == index && param->spec.role == WTL_PARAM_WEIGHT) {
                layer->filter.zeros = (double)zeros_among(param->value, param->count);
            }
        }
    }
    work->weight_zeros_measured = true;
}

wtl_status wtl_workload_from_net(wtl_workload *out, wtl_net *net,
                                 const wtl_from_net_options *options, wtl_error *err)
{
    wtl_status status = wtl_workload_from_netdef(out, wtl_net_def(net), options, err);
    if (status == WTL_OK) {
        count_weight_zeros(out, net);
    }
    return status;
}

/* ---- zeros among activations ---- */

/* Running mean and sum of squared differences (Welford) of one layer's output. */
typedef struct share_sum {
    bool wanted;
    double mean, squares;
} share_sum;

struct wtl_zero_counter {
    wtl_net *net;
    net_view view;
    share_sum *sums; /* [def->layer_count] */
    long images;
};

wtl_status wtl_zero_counter_create(wtl_zero_counter **out, wtl_net *net, wtl_error *err)
{
    *out = NULL;
    const wtl_net_options *options = wtl_net_options_of(net);
    const wtl_netdef *def = wtl_net_def(net);
    if (!options->keep_outputs || options->training) {
        return wtl_fail(err, WTL_E_ARG,
                        "net %s: zeros are counted in an inference net that keeps its outputs",
                        def->name);
    }
    wtl_zero_counter *counter = wtl_alloc(1, sizeof *counter);
    if (!counter) {
        return wtl_fail(err, WTL_E_NOMEM, "net %s: out of memory to count zeros", def->name);
    }
    wtl_status status = make_view(&counter->view, def, err);
    if (status != WTL_OK) {
        wtl_free(counter);
        return status;
    }
    counter->net = net;
    counter->sums = wtl_alloc((size_t)def->layer_count, sizeof *counter->sums);
    if (!counter->sums) {
        wtl_zero_counter_free(counter);
        return wtl_fail(err, WTL_E_NOMEM, "net %s: out of memory to count zeros", def->name);
    }
    for (int i = 0; i < counter->view.compute_count; i++) {
        counter->sums[counter->view.computes[i].ifmap].wanted = true;
        counter->sums[counter->view.computes[i].ofmap].wanted = true;
    }
    *out = counter;
    return WTL_OK;
}

void wtl_zero_counter_free(wtl_zero_counter *counter)
{
    if (counter) {
        clear_view(&counter->view);
        wtl_free(counter->sums);
        wtl_free(counter);
    }
}

static void add_map(share_sum *sum, const float *values, size_t count, int n, long images)
{
    for (int i = 0; i < n; i++) {
        double share = (double)zeros_among(values + (size_t)i * count, count) / (double)count;
        double away = share - sum->mean;
        sum->mean += away / (double)(images + i + 1);
        sum->squares += away * (share - sum->mean);
    }
}

void wtl_zero_counter_add(wtl_zero_counter *counter, int n)
{
    for (int i = 0; i < counter->view.def->layer_count; i++) {
        if (counter->sums[i].wanted) {
            wtl_shape shape;
            const float *values = wtl_net_layer_output(counter->net, i, &shape);
            add_map(&counter->sums[i], values, wtl_shape_count(shape), n, counter->images);
        }
    }
    counter->images += n;
}

long wtl_zero_counter_images(const wtl_zero_counter *counter)
{
    return counter->images;
}

static wtl_zero_share share_of(const wtl_zero_counter *counter, int layer)
{
    const share_sum *sum = &counter->sums[layer];
    double variance = counter->images > 1 ? sum->squares / (double)(counter->images - 1) : 0.0;
    return (wtl_zero_share){.mean = sum->mean, .deviation = sqrt(fmax(variance, 0.0))};
}

wtl_zero_share wtl_zero_counter_ifmap(const wtl_zero_counter *counter, int layer)
{
    return share_of(counter, counter->view.computes[layer].ifmap);
}

wtl_zero_share wtl_zero_counter_ofmap(const wtl_zero_counter *counter, int layer)
{
    return share_of(counter, counter->view.computes[layer].ofmap);
}

static bool same_layers(const net_view *view, const wtl_workload *work)
{
    bool same = view->compute_count == work->layer_count;
    for (int i = 0; same && i < work->layer_count; i++) {
        int layer = view->computes[i].layer;
        wtl_shape made = view->shapes[layer];
        const wtl_work_tensor *ofmap = &work->layers[i].ofmap;
        same = strcmp(work->layers[i].name, view->def->layers[layer].name) == 0 &&
               ofmap->h == made.h && ofmap->w == made.w && ofmap->channels == made.c;
    }
    return same;
}

wtl_status wtl_zero_counter_apply(const wtl_zero_counter *counter, wtl_workload *workload,
                                  wtl_error *err)
{
    const net_view *view = &counter->view;
    if (counter->images == 0) {
        return wtl_fail(err, WTL_E_ARG, "net %s: no image was run to count zeros",
                        view->def->name);
    }
    if (!same_layers(view, workload)) {
        return wtl_fail(err, WTL_E_SHAPE, "the workload %s is not that of net %s",
                        workload->name, view->def->name);
    }
    for (int i = 0; i < view->compute_count; i++) {
        wtl_work_layer *layer = &workload->layers[i];
        const net_layer *place = &view->computes[i];
        wtl_shape in = view->shapes[place->ifmap];
        wtl_zero_share ifmap = wtl_zero_counter_ifmap(counter, i);
        wtl_zero_share ofmap = wtl_zero_counter_ofmap(counter, i);
        double between = zeros_between(&view->def->layers[place->layer], in);
        layer->ifmap.zeros =
            round((between + ifmap.mean * (double)wtl_shape_count(in)) * layer->ifmap.count);
        layer->ofmap.zeros = round(ofmap.mean * wtl_work_values(&layer->ofmap));
        layer->ifmap_zero_deviation = ifmap.deviation;
        layer->ofmap_zero_deviation = ofmap.deviation;
    }
    workload->activation_zeros_measured = true;
    workload->sample_images = counter->images;
    return WTL_OK;
}
