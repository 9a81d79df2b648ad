/* energy_input.h - what wattle energy estimates: a checkpoint, a network or a layer file, made
 * into a workload. */
#ifndef WTL_TOOLS_ENERGY_INPUT_H
#define WTL_TOOLS_ENERGY_INPUT_H

#include "options.h"

#include "wattle/energy.h"

typedef struct wtl_energy_input {
    const char *what; /* CKPT, NET or layer file */
    const char *data; /* DATA to measure activations on, or NULL */
    long images;      /* of it, at most */
    int batch;        /* of workloads from networks */
    int bits;         /* of their values */
    bool batch_given; /* refused with a layer file, which has its own */
    int engine, workers;
    bool seed_given; /* the seed also says which images are held out */
} wtl_energy_input;

/* Make the workload. WTL_E_ARG where options do not suit what `what` is. */
wtl_status wtl_energy_input_load(wtl_workload *out, const wtl_energy_input *input,
                                 const wtl_common *common, wtl_error *err) WTL_MUST_CHECK;

/* Read mappings for the layers of `work`, a line a layer: "INDEX: MAPPING"; '#' starts a
 * comment. *out has a mapping a layer, freed by wtl_free().
 *   WTL_E_FORMAT  with "FILE:LINE: ..."; WTL_E_MISSING, WTL_E_IO, WTL_E_NOMEM */
wtl_status wtl_energy_mappings_read(wtl_mapping **out, const char *path,
                                    const wtl_workload *work, wtl_dataflow dataflow,
                                    wtl_error *err) WTL_MUST_CHECK;

/* Write the mappings of an estimate in that form. */
wtl_status wtl_energy_mappings_write(const char *path, const wtl_energy_report *report,
                                     wtl_error *err) WTL_MUST_CHECK;

#endif
