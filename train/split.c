/* split.c - the held-out images of a checkpoint's training, from its meta "data". */
#include "wattle/split.h"
#include "wattle/text.h"

#include <jansson.h>

/* Seeds that JSON's integers cannot hold are strings of digits. */
static uint64_t seed_value(const json_t *json)
{
    uint64_t seed = 0;
    if (json_is_string(json) && !wtl_parse_u64(json_string_value(json), 0, UINT64_MAX, &seed)) {
        return 0;
    }
    return json_is_integer(json) ? (uint64_t)json_integer_value(json) : seed;
}

wtl_dataset_options wtl_split_of(const wtl_checkpoint *checkpoint)
{
    const json_t *data = wtl_checkpoint_meta(checkpoint, "data");
    double share = json_number_value(json_object_get(data, "val_share"));
    return (wtl_dataset_options){
        .part = WTL_DATA_VAL,
        .split_seed = seed_value(json_object_get(data, "split_seed")),
        .val_share = share > 0 && share < 1 ? share : 0,
        .whole_train = json_is_true(json_object_get(data, "whole_train")),
    };
}
