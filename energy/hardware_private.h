/* hardware_private.h - what the files of the hardware description share. */
#ifndef WTL_HARDWARE_PRIVATE_H
#define WTL_HARDWARE_PRIVATE_H

#include "wattle/hardware.h"

/* Words of a description, in the order of their enums, ended by NULL. */
extern const char *const wtl_data_type_words[];
extern const char *const wtl_dataflow_words[];

#endif
