/* magnitude_uniform.c - the same density in every layer, the largest weights of each.
 *
 * Limits bind where they must; the others share what that leaves.
 */
#include "methods.h"
#include "wattle/memory.h"

static wtl_status prune(const wtl_method_context *c, wtl_error *err)
{
    return wtl_prune_one_density(c, wtl_choose_largest, err);
}

const wtl_method wtl_method_magnitude_uniform = {
    .name = "magnitude-uniform",
    .line = "the largest weights of each layer, one density for all",
    .prune = prune,
};
