/* pricing.h - what a net's layers cost in energy now, and would cost with other weights.
 *
 * Energies are per image, normalised (1 = one 16-bit MAC), estimated (wattle/energy.h). The
 * mapping of every layer onto the hardware is searched once; zeros do not change it. A cost
 * depends on the layer's non-zero weights and on the zeros of its maps, which were measured
 * last and stand until the next measurement: after training, or much pruning, measure again.
 *
 * Layers are those of the workload (wattle/from_net.h), each with one weight parameter.
 */
#ifndef WATTLE_PRICING_H
#define WATTLE_PRICING_H

#include "wattle/energy.h"
#include "wattle/net.h"
#include "wattle/sample.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wtl_pricing_options {
    int batch; /* images that hardware takes at once; 0: 44 */
    int bits;  /* of all values; 0: 16 */
} wtl_pricing_options;

typedef struct wtl_pricing wtl_pricing;

/* `net` is an inference net planned with keep_outputs; it is kept and must outlive the
 * pricing. Activations count as dense until the first measurement.
 *   WTL_E_ARG    the net was planned otherwise
 *   WTL_E_FIT, WTL_E_RANGE, WTL_E_SHAPE  as wtl_energy_estimate()
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_pricing_create(wtl_pricing **out, wtl_net *net, const wtl_hardware *hw,
                                      const wtl_pricing_options *options,
                                      wtl_error *err) WTL_MUST_CHECK;
WTL_API void wtl_pricing_free(wtl_pricing *pricing); /* takes NULL */

/* Run the sample through the net as it stands and count zeros in all maps. `stop` (may be
 * NULL) is asked between batches: non-zero returns WTL_E_STOPPED. After a failure the last
 * measurement stands.
 *   WTL_E_NAN    an output is not finite
 *   WTL_E_SHAPE  the sample's images are not of the net's size
 *   WTL_E_ARG    the sample is empty
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_pricing_measure(wtl_pricing *pricing, const wtl_sample *sample,
                                       int (*stop)(void *context), void *context,
                                       wtl_error *err) WTL_MUST_CHECK;

typedef struct wtl_priced_layer {
    const char *name;                    /* of the layer */
    const char *weight;                  /* of its parameter: NAME.weight */
    int layer;                           /* index in the definition */
    size_t weights;                      /* of the parameter */
    double macs;                         /* per image, none skipped */
    double ifmap_density, ofmap_density; /* as measured last */
} wtl_priced_layer;

WTL_API int wtl_pricing_count(const wtl_pricing *pricing);
WTL_API wtl_priced_layer wtl_pricing_layer(const wtl_pricing *pricing, int index);

/* Energy of one layer with `nonzeros` weights. */
WTL_API double wtl_pricing_cost(const wtl_pricing *pricing, int index, double nonzeros);

/* MACs of one layer with `nonzeros` weights that are not skipped: by zeros of weights alone,
 * and by zeros of weights and ifmap (padding counts as zeros), per image. */
WTL_API double wtl_pricing_macs(const wtl_pricing *pricing, int index, double nonzeros,
                                bool activations);

/* nonzeros[count] := the weights of `net` (same definition) that are not 0, layer by layer. */
WTL_API void wtl_pricing_nonzeros(const wtl_pricing *pricing, wtl_net *net, double *nonzeros);

/* The sum of the costs; nonzeros [count]. */
WTL_API double wtl_pricing_total(const wtl_pricing *pricing, const double *nonzeros);

/* The workload as it stands: `nonzeros` weights, zeros as measured. Cleared by the caller. */
WTL_API wtl_status wtl_pricing_workload(const wtl_pricing *pricing, const double *nonzeros,
                                        wtl_workload *out, wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
