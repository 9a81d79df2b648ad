/* methods.h - what the pruning methods share: their tables, how many weights each layer keeps
 * under an energy goal, and keeping the largest.
 *
 * kept[layer] is always within [least, most] of the context's layers, and a number of weights
 * that whole blocks make. A kept weight is priced as one that is not 0: fine-tuning makes it so.
 */
#ifndef WTL_METHODS_H
#define WTL_METHODS_H

#include "wattle/method.h"

extern const wtl_method wtl_method_magnitude_uniform, wtl_method_magnitude_global,
    wtl_method_magnitude_sensitivity, wtl_method_magnitude_gradual, wtl_method_random,
    wtl_method_energy_aware;

/* ---- how many ---- */

/* `wanted` within what the layer allows and whole blocks make, from below where they can. Of a
 * layer that holds fewer than `least` already, what it holds. */
size_t wtl_kept_within(const wtl_method_layer *layer, size_t wanted);

/* Sum of the layers' energies with kept[] weights. */
double wtl_kept_energy(const wtl_method_context *c, const size_t *kept);

/* WTL_E_FIT, with floor and goal in the message, if the goal is below the floor. */
wtl_status wtl_goal_check(const wtl_method_context *c, wtl_error *err) WTL_MUST_CHECK;

/* kept[layer] := weights that each layer keeps at t; 0 <= t <= 1, and with more t never fewer in
 * any layer. It need not heed limits. */
typedef void wtl_allocation(const void *context, double t, size_t *kept);

/* kept[] := the allocation of largest t whose energy is at most the goal, topped up. Fails as
 * wtl_goal_check(). */
wtl_status wtl_kept_at_goal(const wtl_method_context *c, wtl_allocation *allocate,
                            const void *context, size_t *kept, wtl_error *err) WTL_MUST_CHECK;

/* Largest n in [low, high] with which the goal holds when layer i keeps n (within its limits)
 * and the others kept[]. It must hold at `low`. kept[i] is left at that. */
size_t wtl_kept_most(const wtl_method_context *c, size_t *kept, int i, size_t low, size_t high);

/* Give weights back where the goal, which holds, leaves room for them: first to the layer where
 * one weight (block) costs most. Afterwards not one more fits in any layer. */
void wtl_kept_top_up(const wtl_method_context *c, size_t *kept);

/* ---- which ---- */

/* How the weights of layer i go together. */
wtl_blocks wtl_blocks_of_layer(const wtl_method_context *c, int i);

/* wtl_blocks_keep() in layer i. WTL_E_NOMEM, WTL_E_RANGE. */
wtl_status wtl_keep_best(const wtl_method_context *c, int i, float *score, size_t keep,
                         wtl_error *err) WTL_MUST_CHECK;

/* How a method chooses the `keep` weights of layer i that stay. */
typedef wtl_status wtl_choice(const wtl_method_context *c, int i, size_t keep, wtl_error *err);

/* The largest. */
wtl_status wtl_choose_largest(const wtl_method_context *c, int i, size_t keep, wtl_error *err);

/* Choose in every layer; report, progress and stop as the context asks. Errors are NaN. */
wtl_status wtl_prune_layers(const wtl_method_context *c, const size_t *kept, wtl_choice *choose,
                            wtl_error *err) WTL_MUST_CHECK;

/* wtl_kept_at_goal() with one density t for all layers, then choose. */
wtl_status wtl_prune_one_density(const wtl_method_context *c, wtl_choice *choose,
                                 wtl_error *err) WTL_MUST_CHECK;

#endif
