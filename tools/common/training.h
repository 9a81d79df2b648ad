/* training.h - a training run as the command shows it; shared by train and demo. */
#ifndef WTL_TOOLS_TRAINING_H
#define WTL_TOOLS_TRAINING_H

#include "options.h"

#include "wattle/trainer.h"

/* wtl_train() with progress on stderr and the signals of signals.h. An interruption is
 * reported with the command that goes on (exit code 75); `resume_with` is that command. */
int wtl_cli_run_training(const wtl_common *common, const char *run,
                         const wtl_train_options *options, bool resume, bool force,
                         const char *resume_with, wtl_train_result *result);

/* Whether `run` has a checkpoint to go on from. WTL_E_NOMEM */
wtl_status wtl_cli_has_run(const char *run, bool *has, wtl_error *err);

/* The words of --augment, ended by NULL. */
extern const char *const wtl_augment_words[];

/* "" (not given) or a preset's name; else 64, and it is said. */
int wtl_cli_check_augment(const wtl_parsed *parsed, const char *augment);

/* What suits DATA: mirrored clothes are clothes, mirrored digits are not. `side` is the
 * height of the network's input. */
const char *wtl_cli_suitable_augment(const char *data, int side);

#endif
