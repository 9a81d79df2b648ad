/* data_fit.h - whether a data set's pictures suit a net's input. */
#ifndef WTL_DATA_FIT_H
#define WTL_DATA_FIT_H

#include "wattle/dataset.h"
#include "wattle/netdef.h"

/* Pictures of a known size must cover the input where nothing resizes them. A training run
 * asks for more, because a mistake is likelier than a wish: the input's very size, unless it
 * crops at random, and its channels, though any can be turned into any.
 * WTL_E_SHAPE names both. */
wtl_status wtl_data_fits(const wtl_netdef *def, const wtl_dataset *dataset, bool same_channels,
                         bool same_size, wtl_error *err) WTL_MUST_CHECK;

#endif
