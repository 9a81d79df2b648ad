/* report.c - an estimate's storage, and its table as the MIT energy estimation tool prints it. */
#include "wattle/energy.h"
#include "wattle/memory.h"
#include "wattle/text.h"

void wtl_energy_report_clear(wtl_energy_report *report)
{
    wtl_free(report->layers);
    *report = (wtl_energy_report){0};
}

static double sum_of_levels(const double energy[WTL_LEVEL_COUNT])
{
    double sum = 0.0;
    for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
        sum += energy[level];
    }
    return sum;
}

char *wtl_energy_csv(const wtl_energy_report *report)
{
    wtl_text text = {0};
    wtl_text_printf(&text,
                    "Layer_Index,Input_Feature_Map,Output_Feature_Map,Weight,Computation\n");
    for (int i = 0; i < report->layer_count; i++) {
        const wtl_layer_energy *layer = &report->layers[i];
        wtl_text_printf(&text, "%d", layer->index);
        for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
            wtl_text_printf(&text, ",%.15g", sum_of_levels(layer->energy[type]));
        }
        wtl_text_printf(&text, "\n");
    }
    return wtl_text_take(&text);
}
