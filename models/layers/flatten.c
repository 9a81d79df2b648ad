/* flatten.c - a map as a vector; the same values in the same order.
 *
 * Shapes:  x [n,C,H,W]   y [n,C*H*W,1,1]
 */
#include "layer_ops.h"

#include <limits.h>

static wtl_status flatten_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                                wtl_shape *out, wtl_error *err)
{
    (void)def;
    (void)input_count;
    if (in->h > INT_MAX / in->w || in->c > INT_MAX / (in->h * in->w)) {
        return wtl_fail(err, WTL_E_SHAPE, "input of %dx%dx%d has more than %d values", in->c,
                        in->h, in->w, INT_MAX);
    }
    *out = (wtl_shape){in->c * in->h * in->w, 1, 1};
    return WTL_OK;
}

const wtl_layer_ops wtl_flatten_ops = {
    .kind = WTL_LAYER_FLATTEN,
    .word = "flatten",
    .least_inputs = 1,
    .most_inputs = 1,
    .alias = true,
    .shape = flatten_shape,
};
