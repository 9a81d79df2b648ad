/* run_folder.h - the files of a run beside its checkpoints; see wattle/trainer.h for which.
 *
 * metrics.csv, config.json, env.json and the plots are replaced whole. log.jsonl is appended
 * to, one line an event, each with the keys "event", "epoch" (under way, from 1; of an
 * "epoch" event: the one that ended) and "step" (batches in all), so that a resumed run can
 * drop what came after its checkpoint.
 */
#ifndef WTL_RUN_FOLDER_H
#define WTL_RUN_FOLDER_H

#include "train_state.h"
#include "wattle/trainer.h"

typedef struct wtl_run_folder wtl_run_folder;

/* Only remembers the paths; nothing on disk changes. WTL_E_NOMEM. */
wtl_status wtl_run_folder_create(wtl_run_folder **out, const char *path,
                                 wtl_error *err) WTL_MUST_CHECK;
void wtl_run_folder_free(wtl_run_folder *folder); /* takes NULL */

const char *wtl_run_folder_last(const wtl_run_folder *folder); /* path of ckpt/last.wtl */
const char *wtl_run_folder_best(const wtl_run_folder *folder); /* path of ckpt/best.wtl */
bool wtl_run_folder_has_checkpoint(const wtl_run_folder *folder);

/* Make the folders that are not there yet. */
wtl_status wtl_run_folder_prepare(wtl_run_folder *folder, wtl_error *err) WTL_MUST_CHECK;
/* Remove what an earlier run left, but for config.json and env.json, which are replaced. */
wtl_status wtl_run_folder_clear(wtl_run_folder *folder, wtl_error *err) WTL_MUST_CHECK;

wtl_status wtl_run_folder_write_config(const wtl_run_folder *folder,
                                       const wtl_train_options *options,
                                       wtl_error *err) WTL_MUST_CHECK;
/* Defaults, then what config.json says. WTL_E_MISSING: there is none. */
wtl_status wtl_run_folder_read_config(const wtl_run_folder *folder, wtl_train_options *options,
                                      wtl_error *err) WTL_MUST_CHECK;

wtl_status wtl_run_folder_write_env(const wtl_run_folder *folder,
                                    const wtl_train_options *options, uint32_t data_hash,
                                    wtl_error *err) WTL_MUST_CHECK;

/* metrics.csv and the plots from rows[count]. */
wtl_status wtl_run_folder_write_metrics(const wtl_run_folder *folder, const wtl_train_row *rows,
                                        int count, wtl_error *err) WTL_MUST_CHECK;
wtl_status wtl_run_folder_write_plots(const wtl_run_folder *folder, const wtl_train_row *rows,
                                      int count, wtl_error *err) WTL_MUST_CHECK;
/* Fill the rows' seconds from metrics.csv as far as it has them. */
void wtl_run_folder_read_seconds(const wtl_run_folder *folder, wtl_train_row *rows, int count);

/* Open log.jsonl for appending. What is behind `state`, or is no whole line, is dropped
 * first. *seconds := how long the epoch under way has taken, if the log tells, else 0. */
wtl_status wtl_run_folder_open_log(wtl_run_folder *folder, const wtl_train_state *state,
                                   double *seconds, wtl_error *err) WTL_MUST_CHECK;
/* Append one event; takes over the reference. A NULL event means memory was short. */
wtl_status wtl_run_folder_log(wtl_run_folder *folder, struct json_t *event,
                              wtl_error *err) WTL_MUST_CHECK;

#endif
