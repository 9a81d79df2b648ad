/* magnitude_gradual.c - Zhu & Gupta 2017 ("To prune, or not to prune"): in every layer the same
 * sparsity, the largest weights stay; it grows in many small steps, along a cubic:
 *
 *   s_t = s_f + (s_i - s_f) (1 - (t - t_0) / (n dt))^3
 *
 * The steps are the run's, in energy; what a step cuts is what magnitude-uniform does.
 */
#include "methods.h"

static wtl_status prune(const wtl_method_context *c, wtl_error *err)
{
    return wtl_prune_one_density(c, wtl_choose_largest, err);
}

const wtl_method wtl_method_magnitude_gradual = {
    .name = "magnitude-gradual",
    .line = "as magnitude-uniform, in many small steps along a cubic (Zhu and Gupta 2017)",
    .cubic = true,
    .prune = prune,
};
