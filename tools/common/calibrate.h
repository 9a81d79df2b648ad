/* calibrate.h - wattle bench --calibrate: the rates of the kernels measured and kept, and from
 * which share of zeros on a few typical layers run faster.
 */
#ifndef WTL_TOOLS_CALIBRATE_H
#define WTL_TOOLS_CALIBRATE_H

#include "options.h"
#include "table.h"

#include "wattle/net.h"

/* Prints in `form`, or JSON where the command line asks for it. Returns an exit code; failures
 * are said. */
int wtl_calibrate(const wtl_parsed *parsed, wtl_isa isa, wtl_table_form form);

#endif
