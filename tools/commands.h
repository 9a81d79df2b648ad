/* commands.h - the sub-commands, for the table in main.c. */
#ifndef WTL_TOOLS_COMMANDS_H
#define WTL_TOOLS_COMMANDS_H

#include "common/options.h"

extern const wtl_command wtl_command_demo, wtl_command_train, wtl_command_eval,
    wtl_command_infer, wtl_command_info, wtl_command_energy, wtl_command_sense,
    wtl_command_prune, wtl_command_finetune, wtl_command_compare, wtl_command_report,
    wtl_command_bench;

#endif
