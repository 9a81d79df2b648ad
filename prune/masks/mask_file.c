/* mask_file.c - a net's masks as .npz. */
#include "npz.h"
#include "wattle/file.h"
#include "wattle/mask.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <stdint.h>
#include <string.h>

/* ---- writing ---- */

/* The mask as an array of bytes, which *values owns. */
static wtl_status array_of(wtl_npz_array *array, unsigned char **values, const wtl_param *param,
                           wtl_error *err)
{
    *values = wtl_alloc(param->count, 1);
    array->name = wtl_strdup(param->name);
    if (!*values || !array->name) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the mask's file", param->name);
    }
    for (size_t i = 0; i < param->count; i++) {
        (*values)[i] = param->mask[i] != 0.0f;
    }
    array->values = *values;
    array->count = param->count;
    array->rank = param->spec.rank;
    for (int i = 0; i < array->rank; i++) {
        array->dims[i] = (size_t)param->spec.dims[i];
    }
    return WTL_OK;
}

static wtl_status write_masks(wtl_net *net, wtl_npz_array *arrays, unsigned char **values,
                              const char *path, wtl_error *err)
{
    size_t count = 0;
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        if (!param->mask) {
            continue;
        }
        wtl_status status = array_of(&arrays[count], &values[count], param, err);
        count++;
        if (status != WTL_OK) {
            return status;
        }
    }
    if (count == 0) {
        return wtl_fail(err, WTL_E_MISSING, "%s: the network has no masks to write", path);
    }
    return wtl_npz_write(arrays, count, path, err);
}

wtl_status wtl_mask_save(wtl_net *net, const char *path, wtl_error *err)
{
    size_t most = (size_t)wtl_net_param_count(net);
    wtl_npz_array *arrays = wtl_alloc(most, sizeof *arrays);
    unsigned char **values = wtl_alloc(most, sizeof *values);
    wtl_status status = arrays && values
                            ? write_masks(net, arrays, values, path, err)
                            : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", path);
    for (size_t i = 0; arrays && values && i < most; i++) {
        wtl_free(arrays[i].name);
        wtl_free(values[i]);
    }
    wtl_free(arrays);
    wtl_free(values);
    return status;
}

/* ---- reading ---- */

static bool has_shape(const wtl_npz_array *array, const wtl_param *param)
{
    bool same = array->rank == param->spec.rank;
    for (int i = 0; same && i < array->rank; i++) {
        same = array->dims[i] == (size_t)param->spec.dims[i];
    }
    return same;
}

static wtl_status read_mask(float **mask, const wtl_npz_array *array, const wtl_param *param,
                            const char *file, wtl_error *err)
{
    if (!has_shape(array, param)) {
        return wtl_fail(err, WTL_E_SHAPE, "%s: array %s has another shape than the weights",
                        file, array->name);
    }
    *mask = wtl_alloc(param->count, sizeof **mask);
    if (!*mask) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", file);
    }
    for (size_t i = 0; i < param->count; i++) {
        if (array->values[i] > 1) {
            return wtl_fail(err, WTL_E_RANGE,
                            "%s: array %s: value %zu is %d, a mask has 0 and 1", file,
                            array->name, i, array->values[i]);
        }
        (*mask)[i] = (float)array->values[i];
    }
    return WTL_OK;
}

/* Index of the prunable parameter of that name, or -1. */
static int index_of(wtl_net *net, const char *name)
{
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        if (wtl_mask_allowed(param) && strcmp(param->name, name) == 0) {
            return i;
        }
    }
    return -1;
}

/* masks[] by parameter; the caller frees them, on failure, too. */
static wtl_status read_masks(float **masks, wtl_net *net, const wtl_npz *npz, const char *file,
                             wtl_error *err)
{
    for (size_t a = 0; a < npz->count; a++) {
        int i = index_of(net, npz->arrays[a].name);
        if (i < 0) {
            return wtl_fail(err, WTL_E_MISSING,
                            "%s: array %s: the network has no weights of that name", file,
                            npz->arrays[a].name);
        }
        wtl_status status =
            read_mask(&masks[i], &npz->arrays[a], wtl_net_param(net, i), file, err);
        if (status != WTL_OK) {
            return status;
        }
    }
    return WTL_OK;
}

static void take_masks(wtl_net *net, float **masks)
{
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_param *param = wtl_net_param(net, i);
        if (wtl_mask_allowed(param)) {
            wtl_mask_free(param);
            param->mask = masks[i];
            masks[i] = NULL;
            wtl_mask_apply(param);
        }
    }
}

/* What a file of this net's masks may hold. */
static wtl_npz_limits limits_of(wtl_net *net)
{
    wtl_npz_limits limits = {0};
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        if (wtl_mask_allowed(param)) {
            limits.arrays++;
            limits.values += param->count;
        }
    }
    return limits;
}

wtl_status wtl_mask_parse(wtl_net *net, const unsigned char *bytes, size_t length,
                          const char *name, wtl_error *err)
{
    int count = wtl_net_param_count(net);
    float **masks = wtl_alloc((size_t)count, sizeof *masks);
    if (!masks) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", name);
    }
    wtl_npz npz;
    wtl_npz_limits limits = limits_of(net);
    wtl_status status = wtl_npz_read(&npz, bytes, length, &limits, name, err);
    if (status == WTL_OK) {
        status = read_masks(masks, net, &npz, name, err);
    }
    if (status == WTL_OK) {
        take_masks(net, masks);
    }
    wtl_npz_clear(&npz);
    for (int i = 0; i < count; i++) {
        wtl_free(masks[i]);
    }
    wtl_free(masks);
    return status;
}

wtl_status wtl_mask_load(wtl_net *net, const char *path, wtl_error *err)
{
    /* Per array: the values, a head, and the zip's own records, twice over. */
    wtl_npz_limits limits = limits_of(net);
    size_t most = 2 * limits.values + (limits.arrays + 1) * ((size_t)1 << 14);
    unsigned char *bytes;
    size_t length;
    wtl_status status = wtl_file_read_plain(path, most, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    status = wtl_mask_parse(net, bytes, length, path, err);
    wtl_free(bytes);
    return status;
}
