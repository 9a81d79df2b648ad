/* energy_output.h - an estimate as table, JSON and plots. */
#ifndef WTL_TOOLS_ENERGY_OUTPUT_H
#define WTL_TOOLS_ENERGY_OUTPUT_H

#include "wattle/energy.h"

#include <jansson.h>

/* The costliest layer first, or in the network's order; with `levels` also by memory level. */
void wtl_energy_print(const wtl_energy_report *report, bool in_order, bool levels);

/* Two estimates beside each other: layer by layer if they have the same layers, else by the
 * totals alone. */
void wtl_energy_print_both(const wtl_energy_report *a, const wtl_energy_report *b,
                           bool in_order);

json_t *wtl_energy_json(const wtl_energy_report *report);

/* Stacked bars: by data type, and by memory level. WTL_E_WRITE, WTL_E_NOMEM */
wtl_status wtl_energy_plot(const char *path, const wtl_energy_report *report,
                           wtl_error *err) WTL_MUST_CHECK;

/* Each layer's energy over its weights and over its MACs. */
wtl_status wtl_energy_scatter(const char *path, const wtl_workload *work,
                              const wtl_energy_report *report, wtl_error *err) WTL_MUST_CHECK;

#endif
