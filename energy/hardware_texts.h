/* hardware_texts.h - what the build makes of energy/hardware/: see cmake/WattleTexts.cmake. */
#ifndef WTL_HARDWARE_TEXTS_H
#define WTL_HARDWARE_TEXTS_H

#include "wattle/text.h"

extern const wtl_named_text wtl_hardware_entries[]; /* by name, ended by a NULL name */
extern const char *const wtl_hardware_name_list[];  /* the same names, ended by NULL */

#endif
