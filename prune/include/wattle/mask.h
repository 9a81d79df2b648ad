/* mask.h - which weights of a network are pruned.
 *
 * A mask is an array beside a parameter's values, of the same shape: 1.0f where the weight is
 * kept, 0.0f where it is pruned. A pruned weight is exactly 0.0f: the functions here make it
 * so, the optimisers keep it so, checkpoints store both. A parameter without a mask
 * (mask == NULL) is dense.
 *
 * Only weights are prunable (WTL_PARAM_WEIGHT: of conv, depthwise, deconv and dense layers);
 * biases, scales, shifts and statistics are not, and every function here that makes a mask
 * refuses them with WTL_E_ARG.
 *
 * A filter is a row of the parameter: everything behind one index of its first dimension
 * (conv [K,C/G,R,S], depthwise [C,1,R,S], dense [K,D]: one output channel; deconv [C,K,R,S]:
 * one input channel).
 *
 * The mask belongs to the net, which frees it. Nothing here is thread-safe for one net.
 */
#ifndef WATTLE_MASK_H
#define WATTLE_MASK_H

#include "wattle/net.h"
#include "wattle/rng.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- one parameter ---- */

/* True for a parameter that may have a mask. */
WTL_API bool wtl_mask_allowed(const wtl_param *param);

/* Give the parameter a mask that keeps everything; one that it has already stays as it is.
 * WTL_E_ARG, WTL_E_NOMEM. */
WTL_API wtl_status wtl_mask_make(wtl_param *param, wtl_error *err) WTL_MUST_CHECK;

/* The parameter is dense again; pruned weights stay 0 until they are trained. */
WTL_API void wtl_mask_free(wtl_param *param);

/* True if weight i is kept (always, where there is no mask). */
WTL_API bool wtl_mask_keeps(const wtl_param *param, size_t i);

/* Every pruned weight becomes exactly +0.0f, whatever it was (NaN too). Call after values
 * were put in from elsewhere. */
WTL_API void wtl_mask_apply(wtl_param *param);

/* Weights kept: all of them where there is no mask. */
WTL_API size_t wtl_mask_kept(const wtl_param *param);

/* True if `mask` (NULL: all ones) of `filters` rows of `per_filter` weights, in `groups` groups of
 * filters, is of whole 4x1 blocks (wattle/granularity.h): four consecutive filters of a group
 * have one pattern. */
WTL_API bool wtl_mask_is_4x1(const float *mask, int filters, size_t per_filter, int groups);

/* ---- a whole net ---- */

/* True if something is pruned, and every mask of the net is of whole 4x1 blocks. */
WTL_API bool wtl_mask_net_is_4x1(wtl_net *net);

/* params[] := the net's prunable parameters in the net's order, at most `most` of them (params
 * may be NULL when most is 0); returns how many there are. */
WTL_API int wtl_mask_params(wtl_net *net, wtl_param **params, int most);

/* wtl_mask_apply() on every parameter. */
WTL_API void wtl_mask_apply_net(wtl_net *net);

typedef struct wtl_mask_count {
    size_t weights; /* prunable ones */
    size_t kept;    /* of them */
    size_t nonzero; /* kept ones whose value is not 0 */
} wtl_mask_count;

/* Over all prunable parameters; density is kept / weights. */
WTL_API wtl_mask_count wtl_mask_count_net(wtl_net *net);

/* `to` gets the masks of `from`, parameter by parameter by name, and they are applied; a
 * parameter that `from` lacks or has no mask for is dense afterwards. On failure `to` is as it
 * was: WTL_E_SHAPE names the parameter whose sizes differ; WTL_E_NOMEM. */
WTL_API wtl_status wtl_mask_copy_net(wtl_net *to, wtl_net *from, wtl_error *err) WTL_MUST_CHECK;

/* ---- choosing weights ----
 *
 * Each call sets the masks anew and applies them. What a mask was before does not matter: a
 * pruned weight competes with its value, 0. Larger magnitudes are kept; among equal ones the
 * lower index (and before that, the earlier parameter). A NaN counts as larger than any
 * number, so it is never hidden by pruning. The choice depends on the values alone.
 *   WTL_E_ARG    a parameter is not prunable
 *   WTL_E_RANGE  more weights are to be kept than there are
 *   WTL_E_NOMEM  (the masks are as they were) */

/* Keep the `keep` largest of all weights of params[count] together: with one parameter per
 * layer, with those of wtl_mask_params() globally. */
WTL_API wtl_status wtl_mask_keep_top(wtl_param *const *params, int count, size_t keep,
                                     wtl_error *err) WTL_MUST_CHECK;

/* Keep the `keep` largest of every filter. */
WTL_API wtl_status wtl_mask_keep_top_filters(wtl_param *param, size_t keep,
                                             wtl_error *err) WTL_MUST_CHECK;

/* Keep `keep` weights of params[count] together, every choice equally likely. */
WTL_API wtl_status wtl_mask_keep_random(wtl_param *const *params, int count, size_t keep,
                                        wtl_rng *rng, wtl_error *err) WTL_MUST_CHECK;

/* ---- files ----
 *
 * All masks of a net as an .npz: a zip with one array a mask, "conv1.weight.npy", uint8 (|u1),
 * 1 kept, 0 pruned, C order, the parameter's shape. NumPy reads it: np.load(path)
 * ["conv1.weight"].
 *
 * What is written: NumPy format 1.0, stored, not deflated, all dates 1980-01-01: the same
 * masks give the same bytes. What is read: |u1 or |b1, formats 1.0 and 2.0, C order, stored or
 * deflated, the sizes checked before anything is unpacked, so a file cannot take more memory
 * than the net's weights need. */

/* Write the masks atomically; parameters without a mask are left out.
 *   WTL_E_MISSING  the net has no mask
 *   WTL_E_WRITE, WTL_E_NOMEM */
WTL_API wtl_status wtl_mask_save(wtl_net *net, const char *path, wtl_error *err) WTL_MUST_CHECK;

/* Read masks and apply them; a prunable parameter without one there is dense afterwards. On
 * failure the net is as it was, and the message begins with the file and the array:
 *   WTL_E_MISSING  no such file, or an array whose name is no prunable parameter
 *   WTL_E_IO       cannot be read
 *   WTL_E_FORMAT   not a zip of .npy arrays, cut, altered, encrypted, a name twice, another
 *                  type than |u1 and |b1, Fortran order, a name that does not end in .npy
 *   WTL_E_SHAPE    not the parameter's shape
 *   WTL_E_RANGE    a value other than 0 and 1; larger than masks of this net can be
 *   WTL_E_NOMEM */
WTL_API wtl_status wtl_mask_load(wtl_net *net, const char *path, wtl_error *err) WTL_MUST_CHECK;

/* The same from memory (not kept); `name` stands for the file in messages. */
WTL_API wtl_status wtl_mask_parse(wtl_net *net, const unsigned char *bytes, size_t length,
                                  const char *name, wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
