/* zoo_texts.h - what the build makes of models/zoo/: see cmake/WattleTexts.cmake. */
#ifndef WTL_ZOO_TEXTS_H
#define WTL_ZOO_TEXTS_H

#include <stddef.h>

typedef struct wtl_zoo_entry {
    const char *name, *text;
    size_t length;
} wtl_zoo_entry;

extern const wtl_zoo_entry wtl_zoo_entries[]; /* by name, ended by a NULL name */
extern const char *const wtl_zoo_name_list[]; /* the same names, ended by NULL */

#endif
