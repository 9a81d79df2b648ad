/* compare.c - a comparison with real pruning runs. */
#include "compare_private.h"

wtl_status wtl_compare(const char *out, const wtl_compare_options *options, bool resume,
                       bool force, const wtl_prune_hooks *hooks, wtl_comparison *result,
                       wtl_error *err)
{
    wtl_compare_engine engine = wtl_compare_judging;
    engine.preflight = wtl_prune_preflight;
    engine.prune = wtl_prune;
    return wtl_compare_with(&engine, out, options, resume, force, hooks, result, err);
}
