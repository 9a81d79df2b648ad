/* data_fit.h - whether a data set's pictures suit a net's input. */
#ifndef WTL_DATA_FIT_H
#define WTL_DATA_FIT_H

#include "wattle/dataset.h"
#include "wattle/netdef.h"

/* Without resizing, pictures of a known size must cover the input; with `exact` they must be
 * of its very size. WTL_E_SHAPE names both. */
wtl_status wtl_data_fits(const wtl_netdef *def, const wtl_dataset *dataset, bool exact,
                         wtl_error *err) WTL_MUST_CHECK;

#endif
