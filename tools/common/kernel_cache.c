/* kernel_cache.c - see kernel_cache.h. */
#include "kernel_cache.h"

#include "model.h"
#include "output.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <stdlib.h>
#include <string.h>

/* NULL: nobody says where, or memory is short. A relative XDG_CACHE_HOME is to be ignored, says
 * its specification. */
static char *cache_folder(void)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/') {
        return wtl_format("%s/wattle", cache);
    }
    return home && home[0] ? wtl_format("%s/.cache/wattle", home) : NULL;
}

/* What the processor runs when it may use `most`. */
static wtl_isa isa_of(wtl_isa most)
{
    wtl_isa best = wtl_kernel_costs_default(WTL_ISA_BEST).isa;
    return most == WTL_ISA_BEST || most > best ? best : most;
}

static char *path_in(const char *folder, wtl_isa isa)
{
    return wtl_format("%s/kernels-%s.json", folder, wtl_isa_words[isa]);
}

wtl_status wtl_kernel_cache_prepare(char **path, wtl_isa isa, wtl_error *err)
{
    char *folder = cache_folder();
    *path = NULL;
    if (!folder) {
        return wtl_fail(err, WTL_E_WRITE,
                        "no folder for the rates: set HOME, or XDG_CACHE_HOME to a whole path");
    }
    wtl_status status = wtl_make_folder(folder, err);
    if (status == WTL_OK) {
        *path = path_in(folder, isa_of(isa));
        status = *path ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder);
    }
    wtl_free(folder);
    return status;
}

/* False: not there, or not of use; the latter is said. */
static bool load(wtl_kernel_costs *costs, const char *path, wtl_isa isa)
{
    char processor[sizeof costs->processor];
    wtl_error err = {0};
    wtl_status status = wtl_kernel_costs_load(costs, path, &err);
    wtl_processor_name(processor, sizeof processor);
    if (status == WTL_OK && costs->isa != isa) {
        status = wtl_fail(&err, WTL_E_FORMAT, "%s: is of %s", path, wtl_isa_words[costs->isa]);
    }
    if (status != WTL_OK && status != WTL_E_MISSING) {
        fprintf(stderr,
                "wattle: warning: %s; the default rates are used: 'wattle bench --calibrate' "
                "measures anew\n",
                err.text);
    }
    return status == WTL_OK && strcmp(costs->processor, processor) == 0;
}

wtl_kernel_costs wtl_kernel_cache_load(wtl_isa isa)
{
    wtl_kernel_costs defaults = wtl_kernel_costs_default(isa_of(isa)), read;
    char *folder = cache_folder(), *path = folder ? path_in(folder, defaults.isa) : NULL;
    bool found = path && load(&read, path, defaults.isa);
    wtl_free(path);
    wtl_free(folder);
    return found ? read : defaults;
}
