/* zoo.h - the networks that come with wattle, as text inside the library. */
#ifndef WATTLE_ZOO_H
#define WATTLE_ZOO_H

#include "wattle/netdef.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Names of the zoo in alphabetical order, ended by NULL. */
WTL_API const char *const *wtl_zoo_names(void);

/* The text of a zoo network and its length, or NULL. */
WTL_API const char *wtl_zoo_text(const char *name, size_t *length);

/* Load NET as users write it: a zoo name or a file, both optionally followed by
 * ":key=value[,key=value]" with keys width and classes, e.g. "mobilenet-v2:width=0.5".
 * `classes` (0: as said) applies unless the key is given.
 *   WTL_E_MISSING  neither a zoo name (a near miss is suggested) nor a file
 *   WTL_E_SHAPE    a layer's inputs do not fit it; "FILE: LAYER: ..."
 *   and what wtl_netdef_parse() returns */
WTL_API wtl_status wtl_netdef_load(wtl_netdef **out, const char *net, int classes,
                                   wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
