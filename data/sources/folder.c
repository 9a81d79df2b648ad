/* folder.c - a folder of pictures, one sub-folder a class.
 *
 *   DIR/CLASS/picture                        one part: @train and @val share it
 *   DIR/train/CLASS/picture with
 *   DIR/test/CLASS/picture  or DIR/val/...   the second is @test
 *   all three                                each is what it is called
 *
 * DIR/train counts as a part when it holds folders: a class may be called "train", too.
 * Labels are the places of the class names in strcmp order, those of train for every part.
 */
#define _DEFAULT_SOURCE
#include "source.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <string.h>
#include <strings.h>

/* Suffixes of other formats or of notes beside the pictures are left alone; the content
 * decides what a file really is. */
static bool is_picture_name(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && (strcasecmp(dot, ".png") == 0 || strcasecmp(dot, ".jpg") == 0 ||
                   strcasecmp(dot, ".jpeg") == 0);
}

static wtl_status add_class(wtl_source *source, const char *part, const char *class_name,
                            int label, size_t *label_room, wtl_error *err)
{
    wtl_string_list names = {0};
    wtl_text relative = {0};
    char *folder =
        wtl_format("%s%s%s%s/", source->folder, part, part[0] ? "/" : "", class_name);
    wtl_status status = folder ? wtl_folder_names(&names, folder, false, err)
                               : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", class_name);
    size_t needed = source->count + names.count;
    if (status == WTL_OK && needed > *label_room) {
        *label_room = needed + needed / 2;
        if (wtl_grow((void **)&source->labels, source->count, *label_room,
                     sizeof source->labels[0]) != WTL_OK) {
            status = wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for labels", folder);
        }
    }
    for (size_t i = 0; status == WTL_OK && i < names.count; i++) {
        const char *name = wtl_strings_at(&names, i);
        if (!is_picture_name(name)) {
            continue;
        }
        relative.length = 0;
        wtl_text_printf(&relative, "%s%s%s/%s", part, part[0] ? "/" : "", class_name, name);
        status = relative.failed
                     ? wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder)
                     : wtl_strings_add(&source->paths, relative.bytes, relative.length, err);
        source->labels[source->count] = label;
        source->count += status == WTL_OK;
    }
    wtl_text_clear(&relative);
    wtl_strings_clear(&names);
    wtl_free(folder);
    return status;
}

static int class_label(const wtl_source *source, const char *name)
{
    for (int i = 0; i < source->classes; i++) {
        if (strcmp(wtl_strings_at(&source->class_names, (size_t)i), name) == 0) {
            return i;
        }
    }
    return -1;
}

/* The names of sub-folders of DIR/part; none is no failure. */
static wtl_status sub_folders(const wtl_source *source, const char *part,
                              wtl_string_list *names, wtl_error *err)
{
    char *path = wtl_path_join(source->folder, part);
    if (!path) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", source->folder);
    }
    wtl_status status = WTL_OK;
    if (part[0] == '\0' || wtl_folder_exists(path)) {
        status = wtl_folder_names(names, path, true, err);
    }
    wtl_free(path);
    return status;
}

static wtl_status has_part(const wtl_source *source, const char *part, bool *has,
                           wtl_error *err)
{
    wtl_string_list names = {0};
    wtl_status status = sub_folders(source, part, &names, err);
    *has = names.count > 0;
    wtl_strings_clear(&names);
    return status;
}

/* Which sub-folder of DIR holds `part`: "" where DIR itself does. */
static wtl_status find_part(wtl_source *source, wtl_data_part part, const char **stored,
                            const char **class_part, wtl_error *err)
{
    static const char *const names[] = {"train", "val", "test"};
    bool has[3];
    for (int i = 0; i < 3; i++) {
        wtl_status status = has_part(source, names[i], &has[i], err);
        if (status != WTL_OK) {
            return status;
        }
    }
    bool own_val = has[1] && has[2];
    bool flat = !has[0] && !has[1] && !has[2];
    source->splits = part != WTL_DATA_TEST && !own_val;
    *class_part = flat ? "" : has[0] ? "train" : has[2] ? "test" : "val";
    if (part == WTL_DATA_TEST) {
        *stored = has[2] ? "test" : "val";
    } else {
        *stored = flat ? "" : own_val ? names[part] : "train";
    }
    if (part == WTL_DATA_TEST && !has[1] && !has[2]) {
        return wtl_fail(err, WTL_E_MISSING,
                        "%s: has no test part (no test/CLASS or val/CLASS folders): use @train "
                        "or @val",
                        source->folder);
    }
    if (strcmp(*stored, "train") == 0 && !has[0]) {
        return wtl_fail(err, WTL_E_MISSING, "%s: has no train/CLASS folders", source->folder);
    }
    return WTL_OK;
}

static wtl_status add_part(wtl_source *source, const char *part, wtl_error *err)
{
    wtl_string_list folders = {0};
    size_t label_room = 0;
    wtl_status status = sub_folders(source, part, &folders, err);
    for (size_t i = 0; status == WTL_OK && i < folders.count; i++) {
        const char *name = wtl_strings_at(&folders, i);
        int label = class_label(source, name);
        status = label >= 0 ? add_class(source, part, name, label, &label_room, err)
                            : wtl_fail(err, WTL_E_FORMAT,
                                       "%s%s/%s: is a class that train/ does not have",
                                       source->folder, part, name);
    }
    wtl_strings_clear(&folders);
    return status;
}

static wtl_status open_folder(wtl_source *source, const char *where, wtl_data_part part,
                              wtl_error *err)
{
    size_t length = strlen(where);
    source->folder = wtl_format("%s%s", where, where[length - 1] == '/' ? "" : "/");
    if (!source->folder) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", where);
    }
    if (!wtl_folder_exists(where)) {
        return wtl_fail(err, WTL_E_MISSING, "%s: there is no such folder", where);
    }
    const char *stored, *class_part;
    wtl_status status = find_part(source, part, &stored, &class_part, err);
    if (status == WTL_OK) {
        status = sub_folders(source, class_part, &source->class_names, err);
    }
    if (status == WTL_OK && source->class_names.count > WTL_MOST_CLASSES) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s: %zu class folders, at most %d are taken",
                          where, source->class_names.count, WTL_MOST_CLASSES);
    }
    if (status == WTL_OK) {
        source->classes = (int)source->class_names.count;
        status = add_part(source, stored, err);
    }
    if (status == WTL_OK && source->count == 0) {
        status = wtl_fail(err, WTL_E_MISSING,
                          "%s%s: no pictures: .png, .jpg or .jpeg files in a folder for each "
                          "class were expected",
                          source->folder, stored);
    }
    return status == WTL_OK ? wtl_pictures_prepare(source, err) : status;
}

const wtl_source_kind wtl_source_folder = {"folder", "DIR", open_folder};
