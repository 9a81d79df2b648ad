/* netdef.c - network definitions: life, shapes, counts. */
#include "wattle/netdef.h"

#include "layer_ops.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <limits.h>
#include <string.h>

void wtl_netdef_free(wtl_netdef *def)
{
    if (!def) {
        return;
    }
    for (int i = 0; i < def->layer_count; i++) {
        wtl_free(def->layers[i].name);
        wtl_free(def->layers[i].inputs);
    }
    wtl_free(def->layers);
    wtl_free(def->name);
    wtl_free(def);
}

static bool copy_layer(wtl_layer_def *to, const wtl_layer_def *from)
{
    *to = *from;
    to->name = wtl_strdup(from->name);
    to->inputs = wtl_alloc((size_t)from->input_count, sizeof *to->inputs);
    if (!to->name || !to->inputs) {
        return false;
    }
    if (from->input_count > 0) {
        memcpy(to->inputs, from->inputs, (size_t)from->input_count * sizeof *to->inputs);
    }
    return true;
}

wtl_netdef *wtl_netdef_copy(const wtl_netdef *def)
{
    wtl_netdef *copy = wtl_alloc(1, sizeof *copy);
    if (!copy) {
        return NULL;
    }
    *copy = *def;
    copy->layer_count = 0;
    copy->name = wtl_strdup(def->name);
    copy->layers = wtl_alloc((size_t)def->layer_count, sizeof *copy->layers);
    bool good = copy->name && copy->layers;
    while (good && copy->layer_count < def->layer_count) {
        int i = copy->layer_count++;
        good = copy_layer(&copy->layers[i], &def->layers[i]);
    }
    if (!good) {
        wtl_netdef_free(copy);
        return NULL;
    }
    return copy;
}

int wtl_netdef_find(const wtl_netdef *def, const char *name)
{
    for (int i = 0; i < def->layer_count; i++) {
        if (strcmp(def->layers[i].name, name) == 0) {
            return i;
        }
    }
    return -1;
}

const char *wtl_layer_kind_name(wtl_layer_kind kind)
{
    const wtl_layer_ops *ops = wtl_layer_ops_of(kind);
    return ops ? ops->word : "unknown";
}

/* ---- shapes ---- */

/* Everything that follows counts the values of one image in an int. */
static wtl_status size_fits(wtl_shape out, wtl_error *err)
{
    size_t plane, count;
    if (!wtl_mul((size_t)out.c, (size_t)out.h, &plane) ||
        !wtl_mul(plane, (size_t)out.w, &count) || count > INT_MAX) {
        return wtl_fail(err, WTL_E_SHAPE, "the output of %dx%dx%d has more than 2^31 values",
                        out.c, out.h, out.w);
    }
    return WTL_OK;
}

static wtl_status layer_shape(const wtl_netdef *def, int index, wtl_shape *shapes,
                              wtl_shape *in, wtl_error *err)
{
    const wtl_layer_def *layer = &def->layers[index];
    if (layer->kind == WTL_LAYER_INPUT) {
        shapes[index] = def->input;
        return size_fits(def->input, err);
    }
    for (int k = 0; k < layer->input_count; k++) {
        in[k] = shapes[layer->inputs[k]];
    }
    const wtl_layer_ops *ops = wtl_layer_ops_of(layer->kind);
    wtl_status status = ops->shape(layer, in, layer->input_count, &shapes[index], err);
    return status == WTL_OK ? size_fits(shapes[index], err) : status;
}

static size_t most_inputs(const wtl_netdef *def)
{
    int most = 1;
    for (int i = 0; i < def->layer_count; i++) {
        most = def->layers[i].input_count > most ? def->layers[i].input_count : most;
    }
    return (size_t)most;
}

wtl_status wtl_netdef_shapes(const wtl_netdef *def, wtl_shape *shapes, wtl_error *err)
{
    wtl_shape *in = wtl_alloc(most_inputs(def), sizeof *in);
    if (!in) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", def->name);
    }
    wtl_status status = WTL_OK;
    for (int i = 0; i < def->layer_count && status == WTL_OK; i++) {
        status = layer_shape(def, i, shapes, in, err);
        if (status != WTL_OK) {
            /* To a caller here every size that does not fit is a matter of shape. */
            status = wtl_fail_in(err, WTL_E_SHAPE, def->layers[i].name);
        }
    }
    wtl_free(in);
    return status;
}

/* ---- the inference network and its counts ---- */

int wtl_netdef_inference_layers(const wtl_netdef *def, bool *keep)
{
    int head = def->layer_count - 1;
    for (int i = 0; i < def->layer_count; i++) {
        const wtl_layer_def *layer = &def->layers[i];
        keep[i] = false;
        if (layer->kind == WTL_LAYER_SOFTMAX && !layer->as.softmax.aux) {
            head = i;
        }
    }
    keep[head] = true;
    for (int i = head; i >= 0; i--) {
        for (int k = 0; keep[i] && k < def->layers[i].input_count; k++) {
            keep[def->layers[i].inputs[k]] = true;
        }
    }
    return head;
}

int wtl_layer_params(const wtl_layer_def *layer, const wtl_shape *in,
                     wtl_param_spec specs[WTL_MAX_LAYER_PARAMS])
{
    const wtl_layer_ops *ops = wtl_layer_ops_of(layer->kind);
    return ops->params ? ops->params(layer, in, specs) : 0;
}

uint64_t wtl_layer_macs(const wtl_layer_def *layer, wtl_shape in, wtl_shape out)
{
    const wtl_layer_ops *ops = wtl_layer_ops_of(layer->kind);
    return ops->macs ? ops->macs(layer, in, out) : 0;
}

static uint64_t trained_count(const wtl_layer_def *layer, const wtl_shape *in)
{
    wtl_param_spec specs[WTL_MAX_LAYER_PARAMS];
    int count = wtl_layer_params(layer, in, specs);
    uint64_t sum = 0;
    for (int p = 0; p < count; p++) {
        uint64_t values = 1;
        for (int d = 0; d < specs[p].rank; d++) {
            values *= (uint64_t)specs[p].dims[d];
        }
        bool statistic =
            specs[p].role == WTL_PARAM_RUNNING_MEAN || specs[p].role == WTL_PARAM_RUNNING_VAR;
        sum += statistic ? 0 : values;
    }
    return sum;
}

/* With the limits on sizes one layer stays below 2^63; their sum is checked. */
static wtl_status add_up(const wtl_netdef *def, const bool *keep, const wtl_shape *shapes,
                         uint64_t *parameters, uint64_t *macs, wtl_error *err)
{
    *parameters = *macs = 0;
    for (int i = 0; i < def->layer_count; i++) {
        const wtl_layer_def *layer = &def->layers[i];
        if (!keep[i] || layer->input_count == 0) {
            continue;
        }
        wtl_shape in = shapes[layer->inputs[0]];
        uint64_t p = trained_count(layer, &in), m = wtl_layer_macs(layer, in, shapes[i]);
        if (p > UINT64_MAX - *parameters || m > UINT64_MAX - *macs) {
            return wtl_fail(err, WTL_E_SHAPE, "%s: the totals exceed 2^64", layer->name);
        }
        *parameters += p;
        *macs += m;
    }
    return WTL_OK;
}

wtl_status wtl_netdef_totals(const wtl_netdef *def, uint64_t *parameters, uint64_t *macs,
                             wtl_error *err)
{
    bool *keep = wtl_alloc((size_t)def->layer_count, sizeof *keep);
    wtl_shape *shapes = wtl_alloc((size_t)def->layer_count, sizeof *shapes);
    wtl_status status = keep && shapes
                            ? wtl_netdef_shapes(def, shapes, err)
                            : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", def->name);
    if (status == WTL_OK) {
        (void)wtl_netdef_inference_layers(def, keep);
        status = add_up(def, keep, shapes, parameters, macs, err);
    }
    wtl_free(shapes);
    wtl_free(keep);
    return status;
}
