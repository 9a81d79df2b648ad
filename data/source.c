/* source.c - what the readers of data sets share: lists of strings, folders in order. */
#define _GNU_SOURCE
#include "source.h"

#include "wattle/memory.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static wtl_status make_room(void **array, size_t *room, size_t used, size_t needed, size_t size,
                            wtl_error *err)
{
    if (needed <= *room) {
        return WTL_OK;
    }
    size_t larger = needed < 64 ? 64 : needed + needed / 2;
    if (wtl_grow(array, used, larger, size) != WTL_OK) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %zu names", needed);
    }
    *room = larger;
    return WTL_OK;
}

wtl_status wtl_strings_add(wtl_string_list *list, const char *text, size_t length,
                           wtl_error *err)
{
    wtl_status status = make_room((void **)&list->bytes, &list->capacity, list->used,
                                  list->used + length + 1, 1, err);
    if (status == WTL_OK) {
        status = make_room((void **)&list->starts, &list->room, list->count, list->count + 1,
                           sizeof list->starts[0], err);
    }
    if (status != WTL_OK) {
        return status;
    }
    memcpy(list->bytes + list->used, text, length);
    list->bytes[list->used + length] = '\0';
    list->starts[list->count++] = list->used;
    list->used += length + 1;
    return WTL_OK;
}

const char *wtl_strings_at(const wtl_string_list *list, size_t index)
{
    return list->bytes + list->starts[index];
}

static int compare_starts(const void *a, const void *b, void *bytes)
{
    return strcmp((const char *)bytes + *(const size_t *)a,
                  (const char *)bytes + *(const size_t *)b);
}

void wtl_strings_sort(wtl_string_list *list)
{
    if (list->count > 1) {
        qsort_r(list->starts, list->count, sizeof list->starts[0], compare_starts, list->bytes);
    }
}

void wtl_strings_clear(wtl_string_list *list)
{
    wtl_free(list->bytes);
    wtl_free(list->starts);
    *list = (wtl_string_list){0};
}

void wtl_source_clear(wtl_source *source)
{
    wtl_pictures_forget(source);
    wtl_free(source->labels);
    wtl_free(source->storage);
    wtl_free(source->folder);
    wtl_strings_clear(&source->class_names);
    wtl_strings_clear(&source->paths);
    *source = (wtl_source){0};
}

wtl_status wtl_source_name_classes(wtl_source *source, const char *const *names, int count,
                                   wtl_error *err)
{
    wtl_status status = WTL_OK;
    for (int i = 0; status == WTL_OK && i < count; i++) {
        status = wtl_strings_add(&source->class_names, names[i], strlen(names[i]), err);
    }
    return status;
}

/* The system tells most kinds in the entry itself; only links and a few file systems cost a
 * call. Entries that vanish or lead nowhere are of no kind. */
static bool entry_is(DIR *stream, const struct dirent *entry, bool folder)
{
    if (entry->d_type != DT_LNK && entry->d_type != DT_UNKNOWN) {
        return entry->d_type == (folder ? DT_DIR : DT_REG);
    }
    struct stat info;
    return fstatat(dirfd(stream), entry->d_name, &info, 0) == 0 &&
           (folder ? S_ISDIR(info.st_mode) : S_ISREG(info.st_mode));
}

wtl_status wtl_folder_names(wtl_string_list *names, const char *path, bool folders,
                            wtl_error *err)
{
    DIR *stream = opendir(path);
    if (!stream) {
        wtl_status status = errno == ENOENT || errno == ENOTDIR ? WTL_E_MISSING
                            : errno == ENOMEM                   ? WTL_E_NOMEM
                                                                : WTL_E_IO;
        return wtl_fail(err, status, "%s: the folder cannot be read: %s", path,
                        strerror(errno));
    }
    wtl_status status = WTL_OK;
    struct dirent *entry;
    errno = 0;
    while (status == WTL_OK && (entry = readdir(stream)) != NULL) {
        if (entry->d_name[0] != '.' && entry_is(stream, entry, folders)) {
            status = wtl_strings_add(names, entry->d_name, strlen(entry->d_name), err);
        }
        errno = 0;
    }
    if (status == WTL_OK && errno != 0) {
        status =
            wtl_fail(err, WTL_E_IO, "%s: the folder cannot be read: %s", path, strerror(errno));
    }
    closedir(stream);
    wtl_strings_sort(names);
    return status;
}
