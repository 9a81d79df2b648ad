/* workload.c - the layers' fields and what must hold between them. */
#include "wattle/workload.h"

#include "wattle/memory.h"
#include "workload_private.h"

#include <math.h>
#include <stdint.h>

/* Far beyond any layer, and small enough that sums of two sizes and pads stay ints. */
enum { MOST_SIZE = 1 << 20, MOST_INDEX = 1000000000, MOST_BITS = 32 };

static const double MOST_VALUES = 9007199254740992.0; /* 2^53: counts in doubles are exact */

#define SIZE(name, member)                                                                     \
    {                                                                                          \
        name, offsetof(wtl_work_layer, member), 1, MOST_SIZE, false                            \
    }
#define ZEROS(name, member)                                                                    \
    {                                                                                          \
        name, offsetof(wtl_work_layer, member), 0, 0, true                                     \
    }
#define BITS(name, member)                                                                     \
    {                                                                                          \
        name, offsetof(wtl_work_layer, member), 1, MOST_BITS, false                            \
    }
#define PAD(name, member)                                                                      \
    {                                                                                          \
        name, offsetof(wtl_work_layer, member), 0, MOST_SIZE, false                            \
    }

/* clang-format off */
const wtl_work_field wtl_work_fields[WTL_WORK_FIELD_COUNT] = {
    {"layer index", offsetof(wtl_work_layer, index), 0, MOST_INDEX, false},
    SIZE("ifmap height", ifmap.h),
    SIZE("ifmap width", ifmap.w),
    SIZE("ifmap channels", ifmap.channels),
    SIZE("ifmap maps", ifmap.count),
    ZEROS("ifmap zeros", ifmap.zeros),
    BITS("ifmap bits", ifmap.bits),
    SIZE("filter height", filter.h),
    SIZE("filter width", filter.w),
    SIZE("filter channels", filter.channels),
    SIZE("filters", filter.count),
    ZEROS("filter zeros", filter.zeros),
    BITS("filter bits", filter.bits),
    SIZE("ofmap height", ofmap.h),
    SIZE("ofmap width", ofmap.w),
    SIZE("ofmap channels", ofmap.channels),
    SIZE("ofmap maps", ofmap.count),
    ZEROS("ofmap zeros", ofmap.zeros),
    BITS("ofmap bits", ofmap.bits),
    SIZE("stride y", stride[0]),
    SIZE("stride x", stride[1]),
    PAD("pad top", pad[0]),
    PAD("pad bottom", pad[1]),
    PAD("pad left", pad[2]),
    PAD("pad right", pad[3]),
};
/* clang-format on */

static wtl_status check_ranges(const wtl_work_layer *layer, wtl_error *err)
{
    for (int i = 0; i < WTL_WORK_FIELD_COUNT; i++) {
        const wtl_work_field *field = &wtl_work_fields[i];
        if (field->is_zeros) {
            continue;
        }
        int value = wtl_work_field_get(layer, field);
        if (value < field->low || value > field->high) {
            return wtl_fail(err, WTL_E_RANGE, "%s: %d; expected a whole number from %d to %d",
                            field->name, value, field->low, field->high);
        }
    }
    for (int axis = 0; axis < 2; axis++) {
        if (layer->dilation[axis] < 1 || layer->dilation[axis] > MOST_SIZE) {
            return wtl_fail(err, WTL_E_RANGE,
                            "dilation %s: %d; expected a whole number from 1 to %d",
                            axis ? "x" : "y", layer->dilation[axis], MOST_SIZE);
        }
    }
    return WTL_OK;
}

static wtl_status check_groups(const wtl_work_layer *layer, wtl_error *err)
{
    int channels = layer->ifmap.channels;
    if (channels % layer->filter.channels != 0) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "filter channels: %d; expected a divisor of the %d ifmap channels",
                        layer->filter.channels, channels);
    }
    int groups = wtl_work_groups(layer);
    if (layer->filter.count % groups != 0) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "filters: %d; expected a multiple of the %d groups (%d ifmap channels "
                        "/ %d filter channels)",
                        layer->filter.count, groups, channels, layer->filter.channels);
    }
    if (layer->ofmap.channels != layer->filter.count) {
        return wtl_fail(err, WTL_E_SHAPE, "ofmap channels: %d; expected %d, one a filter",
                        layer->ofmap.channels, layer->filter.count);
    }
    if (layer->ofmap.count != layer->ifmap.count) {
        return wtl_fail(err, WTL_E_SHAPE, "ofmap maps: %d; expected %d, as many as ifmap maps",
                        layer->ofmap.count, layer->ifmap.count);
    }
    return WTL_OK;
}

/* One axis: floor((H + pads - D*(R-1) - 1) / U) + 1 outputs. */
static wtl_status check_axis(const wtl_work_layer *layer, int axis, wtl_error *err)
{
    const char *side = axis ? "width" : "height";
    int in = axis ? layer->ifmap.w : layer->ifmap.h;
    int filter = axis ? layer->filter.w : layer->filter.h;
    int out = axis ? layer->ofmap.w : layer->ofmap.h;
    const int *pad = &layer->pad[2 * axis];
    int64_t room = (int64_t)in + pad[0] + pad[1];
    int64_t reach = (int64_t)layer->dilation[axis] * (filter - 1) + 1;
    if (reach > room) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "filter %s: %d; expected at most %lld, the %s of the padded ifmap",
                        side, filter, (long long)((room - 1) / layer->dilation[axis] + 1),
                        side);
    }
    int64_t want = (room - reach) / layer->stride[axis] + 1;
    if (out != want) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "ofmap %s: %d; expected %lld (ifmap %d, pads %d and %d, filter %d, "
                        "stride %d%s)",
                        side, out, (long long)want, in, pad[0], pad[1], filter,
                        layer->stride[axis], layer->dilation[axis] > 1 ? ", dilated" : "");
    }
    return WTL_OK;
}

static wtl_status check_zeros(const wtl_work_tensor *tensor, const char *name, wtl_error *err)
{
    double values = wtl_work_values(tensor);
    if (values > MOST_VALUES) {
        return wtl_fail(err, WTL_E_RANGE, "%s: %d x %d x %d x %d values; expected at most 2^53",
                        name, tensor->h, tensor->w, tensor->channels, tensor->count);
    }
    if (!(tensor->zeros >= 0 && tensor->zeros <= values)) {
        return wtl_fail(
            err, WTL_E_RANGE, "%s zeros: %.17g; expected 0 to %.0f (%d x %d x %d x %d values)",
            name, tensor->zeros, values, tensor->h, tensor->w, tensor->channels, tensor->count);
    }
    return WTL_OK;
}

static wtl_status check_deviation(double deviation, const char *name, wtl_error *err)
{
    return deviation >= 0 && deviation <= 1
               ? WTL_OK
               : wtl_fail(err, WTL_E_RANGE,
                          "%s zero deviation: %g; expected a share from 0 to 1", name,
                          deviation);
}

wtl_status wtl_work_layer_check(const wtl_work_layer *layer, wtl_error *err)
{
    wtl_status status = check_ranges(layer, err);
    if (status == WTL_OK) {
        status = check_groups(layer, err);
    }
    for (int axis = 0; status == WTL_OK && axis < 2; axis++) {
        status = check_axis(layer, axis, err);
    }
    const wtl_work_tensor *tensors[] = {&layer->ifmap, &layer->filter, &layer->ofmap};
    static const char *const names[] = {"ifmap", "filter", "ofmap"};
    for (int i = 0; status == WTL_OK && i < 3; i++) {
        status = check_zeros(tensors[i], names[i], err);
    }
    if (status == WTL_OK) {
        status = check_deviation(layer->ifmap_zero_deviation, "ifmap", err);
    }
    return status == WTL_OK ? check_deviation(layer->ofmap_zero_deviation, "ofmap", err)
                            : status;
}

void wtl_workload_clear(wtl_workload *workload)
{
    wtl_free(workload->layers);
    *workload = (wtl_workload){0};
}
