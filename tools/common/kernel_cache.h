/* kernel_cache.h - the rates of this processor's kernels (wattle/kernel_costs.h), measured once by
 * `wattle bench --calibrate` and kept in $XDG_CACHE_HOME/wattle/kernels-ISA.json, or, without
 * XDG_CACHE_HOME, in ~/.cache/wattle.
 */
#ifndef WTL_TOOLS_KERNEL_CACHE_H
#define WTL_TOOLS_KERNEL_CACHE_H

#include "wattle/kernel_costs.h"

/* What is kept for this processor and `isa` (the most that it may be), else the
 * defaults. A file that is not sound is told
 * of in one line on stderr; one that another processor left is passed over. */
wtl_kernel_costs wtl_kernel_cache_load(wtl_isa isa);

/* Make the folder; *path, freed by wtl_free(), is where the rates for `isa` go.
 *   WTL_E_WRITE  it cannot be made, or neither XDG_CACHE_HOME nor HOME says where
 *   WTL_E_NOMEM */
wtl_status wtl_kernel_cache_prepare(char **path, wtl_isa isa, wtl_error *err) WTL_MUST_CHECK;

#endif
