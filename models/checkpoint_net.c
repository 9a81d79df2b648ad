/* checkpoint_net.c - between a checkpoint and a net's parameters and masks. */
#include "checkpoint_private.h"

#include "wattle/memory.h"
#include "wattle/text.h"

#include <string.h>

static wtl_status mask_name(char **out, const wtl_param *param, wtl_error *err)
{
    *out = wtl_format("%s.mask", param->name);
    return *out ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", param->name);
}

static wtl_status add_param(wtl_checkpoint *checkpoint, const wtl_param *param, wtl_error *err)
{
    size_t dims[WTL_MAX_RANK] = {0};
    for (int i = 0; i < param->spec.rank; i++) {
        dims[i] = (size_t)param->spec.dims[i];
    }
    wtl_status status =
        wtl_checkpoint_add(checkpoint, param->name, param->spec.rank, dims, param->value, err);
    if (status != WTL_OK || !param->mask) {
        return status;
    }
    char *name;
    status = mask_name(&name, param, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_add(checkpoint, name, param->spec.rank, dims, param->mask, err);
        wtl_free(name);
    }
    return status;
}

wtl_status wtl_checkpoint_add_net(wtl_checkpoint *checkpoint, wtl_net *net, wtl_error *err)
{
    wtl_status status = WTL_OK;
    for (int i = 0; status == WTL_OK && i < wtl_net_param_count(net); i++) {
        status = add_param(checkpoint, wtl_net_param(net, i), err);
    }
    return status;
}

static bool same_shape(const wtl_tensor_view *view, const wtl_param *param)
{
    bool same = view->rank == param->spec.rank;
    for (int i = 0; same && i < view->rank; i++) {
        same = view->dims[i] == (size_t)param->spec.dims[i];
    }
    return same;
}

static wtl_status shape_differs(const wtl_tensor_view *view, const wtl_param *param,
                                wtl_error *err)
{
    wtl_text text = {0};
    for (int i = 0; i < view->rank; i++) {
        wtl_text_printf(&text, "%s%zu", i > 0 ? "x" : "", view->dims[i]);
    }
    wtl_text_printf(&text, ", the net takes ");
    for (int i = 0; i < param->spec.rank; i++) {
        wtl_text_printf(&text, "%s%d", i > 0 ? "x" : "", param->spec.dims[i]);
    }
    wtl_status status = wtl_fail(err, WTL_E_SHAPE, "%s: the checkpoint has %s", view->name,
                                 text.failed ? "another shape" : text.bytes);
    wtl_text_clear(&text);
    return status;
}

/* *mask = a new mask, or NULL where the checkpoint has none. */
static wtl_status read_mask(float **mask, const wtl_checkpoint *checkpoint,
                            const wtl_param *param, wtl_error *err)
{
    char *name;
    wtl_tensor_view view;
    wtl_status status = mask_name(&name, param, err);
    if (status != WTL_OK) {
        return status;
    }
    bool found = wtl_checkpoint_find(checkpoint, name, &view);
    wtl_free(name);
    if (!found) {
        return WTL_OK;
    }
    if (!same_shape(&view, param)) {
        return shape_differs(&view, param, err);
    }
    for (size_t i = 0; i < view.count; i++) {
        if (view.value[i] != 0.0f && view.value[i] != 1.0f) {
            return wtl_fail(err, WTL_E_RANGE, "%s[%zu] is %g, a mask has 0 and 1", view.name, i,
                            (double)view.value[i]);
        }
    }
    *mask = wtl_alloc(view.count, sizeof **mask);
    if (!*mask) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", view.name);
    }
    memcpy(*mask, view.value, view.count * sizeof **mask);
    return WTL_OK;
}

static wtl_status find_value(wtl_tensor_view *view, const wtl_checkpoint *checkpoint,
                             const wtl_param *param, wtl_error *err)
{
    if (!wtl_checkpoint_find(checkpoint, param->name, view)) {
        return wtl_fail(err, WTL_E_MISSING, "%s: the checkpoint has no such tensor",
                        param->name);
    }
    return same_shape(view, param) ? WTL_OK : shape_differs(view, param, err);
}

/* Masked weights are zero; a -0.0 stays, so that what was saved is what comes back. */
static void fill_param(wtl_param *param, const wtl_tensor_view *view, float *mask)
{
    memcpy(param->value, view->value, param->count * sizeof *param->value);
    wtl_free(param->mask);
    param->mask = mask;
    for (size_t i = 0; mask && i < param->count; i++) {
        if (mask[i] == 0.0f && param->value[i] != 0.0f) {
            param->value[i] = 0.0f;
        }
    }
}

/* Everything that can fail comes first: a net is filled whole or left as it was. */
wtl_status wtl_checkpoint_fill_net(const wtl_checkpoint *checkpoint, wtl_net *net,
                                   wtl_error *err)
{
    int count = wtl_net_param_count(net);
    wtl_tensor_view *views = wtl_alloc((size_t)count, sizeof *views);
    float **masks = wtl_alloc((size_t)count, sizeof *masks);
    wtl_status status =
        views && masks ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "checkpoint: out of memory");
    for (int i = 0; status == WTL_OK && i < count; i++) {
        const wtl_param *param = wtl_net_param(net, i);
        status = find_value(&views[i], checkpoint, param, err);
        if (status == WTL_OK) {
            status = read_mask(&masks[i], checkpoint, param, err);
        }
    }
    for (int i = 0; masks && i < count; i++) {
        if (status == WTL_OK) {
            fill_param(wtl_net_param(net, i), &views[i], masks[i]);
        } else {
            wtl_free(masks[i]);
        }
    }
    wtl_free(views);
    wtl_free(masks);
    return status;
}
