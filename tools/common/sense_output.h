/* sense_output.h - a sensitivity scan as text, CSV, JSON and SVG. */
#ifndef WTL_TOOLS_SENSE_OUTPUT_H
#define WTL_TOOLS_SENSE_OUTPUT_H

#include "output.h"

#include "wattle/sense.h"

typedef struct wtl_sense_view {
    const wtl_sense *sense;
    const char *checkpoint, *net, *data;
    wtl_granularity granularity;
    int images, layers;     /* each layer has sense->count / layers rows */
    wtl_mask_count weights; /* of the net as it came */
} wtl_sense_view;

/* Each prints and returns an exit code. */
int wtl_sense_print(const wtl_sense_view *view);
int wtl_sense_print_csv(const wtl_sense_view *view);

json_t *wtl_sense_json(const wtl_sense_view *view);

/* Top-1 over sparsity, a line a layer. Freed by wtl_free(); NULL when memory is short. */
char *wtl_sense_svg(const wtl_sense_view *view);

#endif
