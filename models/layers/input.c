/* input.c - the images themselves: layer 0 of every net, filled by the caller. */
#include "layer_ops.h"

/* in[0] is the size on the net's `input` line. */
static wtl_status input_shape(const wtl_layer_def *def, const wtl_shape *in, int input_count,
                              wtl_shape *out, wtl_error *err)
{
    (void)def;
    (void)input_count;
    (void)err;
    *out = in[0];
    return WTL_OK;
}

const wtl_layer_ops wtl_input_ops = {
    .kind = WTL_LAYER_INPUT,
    .word = "input",
    .shape = input_shape,
};
