/* method.c - the list of pruning methods, and the least energy that limits allow. */
#include "wattle/method.h"

#include "methods.h"

#include <string.h>

static const wtl_method *const methods[] = {
    &wtl_method_energy_aware,      &wtl_method_magnitude_uniform,
    &wtl_method_magnitude_global,  &wtl_method_magnitude_sensitivity,
    &wtl_method_magnitude_gradual, &wtl_method_random,
};
enum { METHODS = sizeof methods / sizeof *methods };

const wtl_method *wtl_method_at(int index)
{
    return index >= 0 && index < METHODS ? methods[index] : NULL;
}

const wtl_method *wtl_method_find(const char *name)
{
    for (int i = 0; i < METHODS; i++) {
        if (strcmp(methods[i]->name, name) == 0) {
            return methods[i];
        }
    }
    return NULL;
}

wtl_method_layer wtl_method_layer_of(const wtl_net *net, wtl_param *param,
                                     wtl_granularity granularity)
{
    wtl_blocks blocks = wtl_blocks_of(granularity, net, param);
    wtl_method_layer layer = {.param = param,
                              .weights = param->count,
                              .most = wtl_mask_kept(param),
                              .granularity = granularity,
                              .stock = wtl_blocks_kept(&blocks, param->mask)};
    layer.least = wtl_stock_at_least(&layer.stock, 1);
    return layer;
}

double wtl_method_floor(const wtl_pricing *pricing, const wtl_method_layer *layers)
{
    double total = 0.0;
    for (int i = 0; i < wtl_pricing_count(pricing); i++) {
        total += wtl_pricing_cost(pricing, i, (double)wtl_kept_within(&layers[i], 0));
    }
    return total;
}
