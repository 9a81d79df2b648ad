/* speed_output.h - what wattle prune says about a network's speed here (wattle/speed.h). */
#ifndef WTL_TOOLS_SPEED_OUTPUT_H
#define WTL_TOOLS_SPEED_OUTPUT_H

#include "wattle/speed.h"

/* Of the checkpoint `path`, at batch 1; cleared by wtl_speed_clear(). */
wtl_status wtl_speed_of_file(wtl_speed *speed, const char *path, const wtl_kernel_costs *costs,
                             wtl_error *err) WTL_MUST_CHECK;

/* Lines that begin with `head`, later ones with as many blanks. The network is `path`. */
void wtl_speed_print(const wtl_speed *speed, const char *head, const char *path);

/* The same before anything is cut: from which density on each layer gains. */
void wtl_speed_print_prospect(const wtl_speed *speed, const char *head);

#endif
