/* workload.c - layers of shapes, their checks, and the 25-column text. */
#include "wattle/workload.h"

#include "wattle/memory.h"

void wtl_workload_clear(wtl_workload *workload)
{
    wtl_free(workload->layers);
    *workload = (wtl_workload){0};
}
