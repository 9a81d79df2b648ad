/* prune_folder.h - the files of a pruning run beside its checkpoints; see wattle/prune.h for
 * which. plan.jsonl is appended to, line by line; the others are replaced whole. */
#ifndef WTL_PRUNE_FOLDER_H
#define WTL_PRUNE_FOLDER_H

#include "prune_state.h"
#include "session.h"

struct json_t;

typedef enum wtl_prune_file {
    WTL_FILE_CONFIG,
    WTL_FILE_ENV,
    WTL_FILE_PLAN,
    WTL_FILE_METRICS,
    WTL_FILE_CERTIFICATE,
    WTL_FILE_ENERGY,
    WTL_FILE_MASKS,
    WTL_FILE_DENSE,
    WTL_FILE_LAST,
    WTL_FILE_HELD,
    WTL_FILE_PRUNED,
    WTL_FILE_COUNT
} wtl_prune_file;

typedef struct wtl_prune_folder wtl_prune_folder;

/* Only remembers the paths; nothing on disk changes. WTL_E_NOMEM. */
wtl_status wtl_prune_folder_create(wtl_prune_folder **out, const char *path, wtl_error *err);
void wtl_prune_folder_free(wtl_prune_folder *folder); /* takes NULL */
const char *wtl_prune_folder_path(const wtl_prune_folder *folder, wtl_prune_file file);
bool wtl_prune_folder_has(const wtl_prune_folder *folder, wtl_prune_file file);

/* Make the folders; copy `checkpoint` to dense.wtl, unless NULL: it is there; remove what an
 * earlier run left (`checkpoint` may be part of that). With a checkpoint config.json goes, too:
 * a kill in between never leaves the network of one run beside the config of another. */
wtl_status wtl_prune_folder_begin(wtl_prune_folder *folder, const char *checkpoint,
                                  wtl_error *err);

wtl_status wtl_prune_folder_write_config(const wtl_prune_folder *folder,
                                         const wtl_prune_options *options, wtl_error *err);
/* Defaults, then what config.json says. WTL_E_MISSING: there is none. */
wtl_status wtl_prune_folder_read_config(const wtl_prune_folder *folder,
                                        wtl_prune_options *options, wtl_error *err);
wtl_status wtl_prune_folder_write_env(const wtl_prune_folder *folder, const wtl_session *s,
                                      wtl_error *err);
wtl_status wtl_prune_folder_write_metrics(const wtl_prune_folder *folder,
                                          const wtl_prune_state *state, wtl_error *err);
/* Open plan.jsonl for appending, of which the first state->plan_lines lines stay. The rows of
 * `state` get their seconds from it; *seconds := what the last line that stays says. */
wtl_status wtl_prune_folder_open_plan(wtl_prune_folder *folder, wtl_prune_state *state,
                                      double *seconds, wtl_error *err);
/* Append one object (taken over; NULL means memory was short) and count it in `state`. */
wtl_status wtl_prune_folder_plan(wtl_prune_folder *folder, wtl_prune_state *state,
                                 struct json_t *object, wtl_error *err);

#endif
