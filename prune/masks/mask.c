/* mask.c - making, applying, counting and copying masks. */
#include "wattle/mask.h"

#include "wattle/memory.h"

#include <string.h>

bool wtl_mask_allowed(const wtl_param *param)
{
    return param->spec.role == WTL_PARAM_WEIGHT;
}

wtl_status wtl_mask_make(wtl_param *param, wtl_error *err)
{
    if (!wtl_mask_allowed(param)) {
        return wtl_fail(err, WTL_E_ARG, "%s: not a weight, only weights can be pruned",
                        param->name);
    }
    if (param->mask) {
        return WTL_OK;
    }
    param->mask = wtl_alloc(param->count, sizeof *param->mask);
    if (!param->mask) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the mask", param->name);
    }
    for (size_t i = 0; i < param->count; i++) {
        param->mask[i] = 1.0f;
    }
    return WTL_OK;
}

void wtl_mask_free(wtl_param *param)
{
    wtl_free(param->mask);
    param->mask = NULL;
}

bool wtl_mask_keeps(const wtl_param *param, size_t i)
{
    return !param->mask || param->mask[i] != 0.0f;
}

void wtl_mask_apply(wtl_param *param)
{
    for (size_t i = 0; param->mask && i < param->count; i++) {
        if (param->mask[i] == 0.0f) { /* not a product: NaN * 0 is NaN, -1 * 0 is -0 */
            param->value[i] = 0.0f;
        }
    }
}

size_t wtl_mask_kept(const wtl_param *param)
{
    size_t kept = 0;
    for (size_t i = 0; i < param->count; i++) {
        kept += wtl_mask_keeps(param, i);
    }
    return kept;
}

int wtl_mask_params(wtl_net *net, wtl_param **params, int most)
{
    int found = 0;
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_param *param = wtl_net_param(net, i);
        if (!wtl_mask_allowed(param)) {
            continue;
        }
        if (found < most) {
            params[found] = param;
        }
        found++;
    }
    return found;
}

void wtl_mask_apply_net(wtl_net *net)
{
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_mask_apply(wtl_net_param(net, i));
    }
}

wtl_mask_count wtl_mask_count_net(wtl_net *net)
{
    wtl_mask_count count = {0};
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        const wtl_param *param = wtl_net_param(net, p);
        if (!wtl_mask_allowed(param)) {
            continue;
        }
        count.weights += param->count;
        for (size_t i = 0; i < param->count; i++) {
            bool keeps = wtl_mask_keeps(param, i);
            count.kept += keeps;
            count.nonzero += keeps && param->value[i] != 0.0f;
        }
    }
    return count;
}

static bool same_shape(const wtl_param *a, const wtl_param *b)
{
    return a->spec.rank == b->spec.rank && a->count == b->count &&
           memcmp(a->spec.dims, b->spec.dims, (size_t)a->spec.rank * sizeof *a->spec.dims) == 0;
}

/* *mask := a copy of from's, NULL where it has none. */
static wtl_status copy_mask(float **mask, const wtl_param *to, const wtl_param *from,
                            wtl_error *err)
{
    if (!from || !from->mask) {
        return WTL_OK;
    }
    if (!same_shape(to, from)) {
        return wtl_fail(err, WTL_E_SHAPE, "%s: the two nets have it in different shapes",
                        to->name);
    }
    *mask = wtl_alloc(to->count, sizeof **mask);
    if (!*mask) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the mask", to->name);
    }
    memcpy(*mask, from->mask, to->count * sizeof **mask);
    return WTL_OK;
}

wtl_status wtl_mask_copy_net(wtl_net *to, wtl_net *from, wtl_error *err)
{
    int count = wtl_net_param_count(to);
    float **masks = wtl_alloc((size_t)count, sizeof *masks);
    if (!masks) {
        return wtl_fail(err, WTL_E_NOMEM, "masks: out of memory");
    }
    wtl_status status = WTL_OK;
    for (int i = 0; i < count && status == WTL_OK; i++) {
        const wtl_param *param = wtl_net_param(to, i);
        if (wtl_mask_allowed(param)) {
            status = copy_mask(&masks[i], param, wtl_net_find_param(from, param->name), err);
        }
    }
    for (int i = 0; i < count; i++) {
        wtl_param *param = wtl_net_param(to, i);
        if (status != WTL_OK || !wtl_mask_allowed(param)) {
            wtl_free(masks[i]);
        } else {
            wtl_free(param->mask);
            param->mask = masks[i];
            wtl_mask_apply(param);
        }
    }
    wtl_free(masks);
    return status;
}
