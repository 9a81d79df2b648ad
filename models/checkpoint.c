/* checkpoint.c - the checkpoint as an object: put together, taken apart, asked. */
#include "checkpoint_private.h"

#include "wattle/memory.h"
#include "wattle/text.h"

#include <limits.h>
#include <string.h>

wtl_status wtl_checkpoint_create(wtl_checkpoint **out, wtl_error *err)
{
    *out = wtl_alloc(1, sizeof **out);
    return *out ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "checkpoint: out of memory");
}

static void free_classes(char **classes, int count)
{
    for (int i = 0; classes && i < count; i++) {
        wtl_free(classes[i]);
    }
    wtl_free(classes);
}

void wtl_checkpoint_free(wtl_checkpoint *checkpoint)
{
    if (!checkpoint) {
        return;
    }
    wtl_netdef_free(checkpoint->net);
    free_classes(checkpoint->classes, checkpoint->class_count);
    json_decref(checkpoint->meta);
    for (int i = 0; i < checkpoint->entry_count; i++) {
        wtl_free(checkpoint->entries[i].name);
        wtl_free(checkpoint->entries[i].unpacked);
    }
    wtl_free(checkpoint->entries);
    wtl_free(checkpoint->file);
    wtl_free(checkpoint);
}

wtl_status wtl_checkpoint_set_net(wtl_checkpoint *checkpoint, const wtl_netdef *def,
                                  wtl_error *err)
{
    wtl_netdef *copy = wtl_netdef_copy(def);
    if (!copy) {
        return wtl_fail(err, WTL_E_NOMEM, "checkpoint: out of memory for the net");
    }
    wtl_netdef_free(checkpoint->net);
    checkpoint->net = copy;
    return WTL_OK;
}

/* The header is JSON, which holds UTF-8 alone. */
static wtl_status check_utf8(const char *what, const char *text, wtl_error *err)
{
    json_t *checked = json_string(text);
    json_t *unchecked = checked ? NULL : json_string_nocheck(text);
    wtl_status status = WTL_OK;
    if (!checked) {
        status = unchecked ? wtl_fail(err, WTL_E_ARG, "checkpoint: %s \"%s\" is not UTF-8",
                                      what, text)
                           : wtl_fail(err, WTL_E_NOMEM, "checkpoint: out of memory");
    }
    json_decref(checked);
    json_decref(unchecked);
    return status;
}

wtl_status wtl_checkpoint_set_classes(wtl_checkpoint *checkpoint, const char *const *names,
                                      int count, wtl_error *err)
{
    if (count < 0) {
        return wtl_fail(err, WTL_E_ARG, "checkpoint: %d class names", count);
    }
    char **copy = wtl_alloc((size_t)count, sizeof *copy);
    wtl_status status = copy ? WTL_OK : WTL_E_NOMEM;
    for (int i = 0; status == WTL_OK && i < count; i++) {
        status = check_utf8("class name", names[i], err);
        copy[i] = status == WTL_OK ? wtl_strdup(names[i]) : NULL;
        if (status == WTL_OK && !copy[i]) {
            status = WTL_E_NOMEM;
        }
    }
    if (status != WTL_OK) {
        free_classes(copy, count);
        return status == WTL_E_NOMEM
                   ? wtl_fail(err, status, "checkpoint: out of memory for %d class names",
                              count)
                   : status;
    }
    free_classes(checkpoint->classes, checkpoint->class_count);
    checkpoint->classes = copy;
    checkpoint->class_count = count;
    return WTL_OK;
}

wtl_status wtl_checkpoint_set_meta(wtl_checkpoint *checkpoint, const char *key, json_t *value,
                                   wtl_error *err)
{
    wtl_status status = check_utf8("meta key", key, err);
    if (status != WTL_OK) {
        json_decref(value);
        return status;
    }
    if (!checkpoint->meta) {
        checkpoint->meta = json_object();
    }
    /* A NULL value is a caller's failed json_...(): it is refused here, once for all. */
    if (json_object_set_new(checkpoint->meta, key, value) != 0) {
        return wtl_fail(err, WTL_E_NOMEM, "checkpoint: out of memory for meta \"%s\"", key);
    }
    return WTL_OK;
}

bool wtl_checkpoint_count(int rank, const size_t *dims, size_t *count)
{
    size_t bytes = sizeof(float);
    for (int i = 0; i < rank; i++) {
        if (dims[i] == 0 || !wtl_mul(bytes, dims[i], &bytes)) {
            return false;
        }
    }
    *count = bytes / sizeof(float);
    return bytes <= SIZE_MAX / 4; /* so that rounding up and adding an offset cannot wrap */
}

static wtl_status check_new_tensor(const wtl_checkpoint *checkpoint, const char *name, int rank,
                                   const size_t *dims, size_t *count, wtl_error *err)
{
    size_t length = strlen(name);
    if (length < 1 || length > WTL_CHECKPOINT_LONGEST_NAME) {
        return wtl_fail(err, WTL_E_ARG, "checkpoint: a tensor's name has %zu bytes, 1 to %d go",
                        length, WTL_CHECKPOINT_LONGEST_NAME);
    }
    if (rank < 0 || rank > WTL_MAX_RANK) {
        return wtl_fail(err, WTL_E_ARG, "checkpoint: %s: rank %d, 0 to %d go", name, rank,
                        WTL_MAX_RANK);
    }
    if (!wtl_checkpoint_count(rank, dims, count)) {
        return wtl_fail(err, WTL_E_ARG, "checkpoint: %s: a size is 0 or the product too large",
                        name);
    }
    if (wtl_checkpoint_find(checkpoint, name, NULL)) {
        return wtl_fail(err, WTL_E_ARG, "checkpoint: %s: there is a tensor of that name", name);
    }
    return check_utf8("tensor name", name, err);
}

static wtl_status reserve_entry(wtl_checkpoint *checkpoint)
{
    if (checkpoint->entry_count < checkpoint->entry_capacity) {
        return WTL_OK;
    }
    if (checkpoint->entry_capacity > INT_MAX / 2) {
        return WTL_E_NOMEM;
    }
    int larger = checkpoint->entry_capacity > 0 ? checkpoint->entry_capacity * 2 : 32;
    wtl_status status = wtl_grow((void **)&checkpoint->entries, (size_t)checkpoint->entry_count,
                                 (size_t)larger, sizeof *checkpoint->entries);
    if (status == WTL_OK) {
        checkpoint->entry_capacity = larger;
    }
    return status;
}

wtl_status wtl_checkpoint_add(wtl_checkpoint *checkpoint, const char *name, int rank,
                              const size_t *dims, const float *value, wtl_error *err)
{
    size_t count = 0;
    wtl_status status = check_new_tensor(checkpoint, name, rank, dims, &count, err);
    if (status != WTL_OK) {
        return status;
    }
    char *copy = wtl_strdup(name);
    if (!copy || reserve_entry(checkpoint) != WTL_OK) {
        wtl_free(copy);
        return wtl_fail(err, WTL_E_NOMEM, "checkpoint: %s: out of memory", name);
    }
    wtl_checkpoint_entry *entry = &checkpoint->entries[checkpoint->entry_count++];
    *entry = (wtl_checkpoint_entry){.name = copy, .rank = rank, .count = count, .value = value};
    for (int i = 0; i < rank; i++) {
        entry->dims[i] = dims[i];
    }
    return WTL_OK;
}

bool wtl_checkpoint_sniff(const unsigned char *bytes, size_t length)
{
    return length >= WTL_CHECKPOINT_MAGIC_SIZE &&
           memcmp(bytes, WTL_CHECKPOINT_MAGIC, WTL_CHECKPOINT_MAGIC_SIZE) == 0;
}

const wtl_netdef *wtl_checkpoint_net(const wtl_checkpoint *checkpoint)
{
    return checkpoint->net;
}

int wtl_checkpoint_class_count(const wtl_checkpoint *checkpoint)
{
    return checkpoint->class_count;
}

const char *wtl_checkpoint_class(const wtl_checkpoint *checkpoint, int index)
{
    return checkpoint->classes[index];
}

json_t *wtl_checkpoint_meta(const wtl_checkpoint *checkpoint, const char *key)
{
    return json_object_get(checkpoint->meta, key);
}

int wtl_checkpoint_tensor_count(const wtl_checkpoint *checkpoint)
{
    return checkpoint->entry_count;
}

wtl_tensor_view wtl_checkpoint_tensor(const wtl_checkpoint *checkpoint, int index)
{
    const wtl_checkpoint_entry *entry = &checkpoint->entries[index];
    wtl_tensor_view view = {
        .name = entry->name, .rank = entry->rank, .count = entry->count, .value = entry->value};
    memcpy(view.dims, entry->dims, sizeof view.dims);
    return view;
}

bool wtl_checkpoint_find(const wtl_checkpoint *checkpoint, const char *name,
                         wtl_tensor_view *view)
{
    for (int i = 0; i < checkpoint->entry_count; i++) {
        if (strcmp(checkpoint->entries[i].name, name) == 0) {
            if (view) {
                *view = wtl_checkpoint_tensor(checkpoint, i);
            }
            return true;
        }
    }
    return false;
}
