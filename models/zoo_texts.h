/* zoo_texts.h - what the build makes of models/zoo/: see cmake/WattleTexts.cmake. */
#ifndef WTL_ZOO_TEXTS_H
#define WTL_ZOO_TEXTS_H

#include "wattle/text.h"

extern const wtl_named_text wtl_zoo_entries[]; /* by name, ended by a NULL name */
extern const char *const wtl_zoo_name_list[];  /* the same names, ended by NULL */

#endif
