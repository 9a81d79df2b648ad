/* certificate.h - the end of a pruning run: what was asked, what came out, on which data. */
#ifndef WTL_PRUNE_CERTIFICATE_H
#define WTL_PRUNE_CERTIFICATE_H

#include "prune_folder.h"

/* Measure the net as it stands, fill *result, write energy.csv and certificate.json.
 * WTL_E_GOAL if a goal was not met. */
wtl_status wtl_prune_certify(wtl_session *s, const wtl_prune_state *state,
                             const wtl_prune_folder *folder, double seconds,
                             wtl_prune_result *result, wtl_error *err);

#endif
