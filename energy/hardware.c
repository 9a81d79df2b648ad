/* hardware.c - presets, loading, and the names of data types, levels and dataflows. */
#include "hardware_private.h"

#include "hardware_texts.h"
#include "yaml_tree.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <string.h>

const char *const wtl_data_type_words[] = {"ifmap", "ofmap", "weight", "computation", NULL};
const char *const wtl_dataflow_words[] = {"row-stationary", "weight-stationary",
                                          "output-stationary", "no-local-reuse", NULL};

const char *const *wtl_hardware_presets(void)
{
    return wtl_hardware_name_list;
}

const char *wtl_hardware_preset_text(const char *name, size_t *length)
{
    return wtl_named_text_find(wtl_hardware_entries, name, length);
}

wtl_status wtl_hardware_load(wtl_hardware *out, const char *name_or_file, wtl_error *err)
{
    *out = (wtl_hardware){0};
    size_t length;
    const char *text = wtl_hardware_preset_text(name_or_file, &length);
    if (text) {
        return wtl_hardware_parse(out, text, length, name_or_file, err);
    }
    unsigned char *bytes = NULL;
    wtl_status status =
        wtl_file_read_plain(name_or_file, WTL_YAML_MOST_BYTES, &bytes, &length, err);
    if (status == WTL_E_MISSING) {
        const char *near = wtl_suggest(name_or_file, wtl_hardware_name_list);
        return wtl_fail(err, status, "no hardware '%s': neither a preset nor a file%s%s%s",
                        name_or_file, near ? "; did you mean '" : "", near ? near : "",
                        near ? "'?" : "");
    }
    if (status == WTL_OK) {
        status = wtl_hardware_parse(out, (const char *)bytes, length, name_or_file, err);
    }
    wtl_free(bytes);
    return status;
}

const char *wtl_data_type_name(wtl_data_type type)
{
    return (unsigned)type < WTL_DATA_TYPE_COUNT ? wtl_data_type_words[type] : "unknown";
}

const char *wtl_memory_level_name(wtl_memory_level level)
{
    static const char *const names[] = {"DRAM", "buffer", "array", "RF", "MAC"};
    return (unsigned)level < WTL_LEVEL_COUNT ? names[level] : "unknown";
}

const char *wtl_dataflow_name(wtl_dataflow dataflow)
{
    return (unsigned)dataflow < WTL_DATAFLOW_COUNT ? wtl_dataflow_words[dataflow] : "unknown";
}
