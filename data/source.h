/* source.h - what a kind of DATA provides, private to this folder.
 *
 * A source is plain data filled in by the opener of its kind: labels, and for each record
 * either pixels in memory (idx, cifar) or the path of a picture file (folder, list). How the
 * records are parted into train and val is dataset.c's business.
 */
#ifndef WTL_SOURCE_H
#define WTL_SOURCE_H

#include "wattle/dataset.h"

enum {
    WTL_MOST_CLASSES = 65536 /* a larger label in a file is taken for damage */
};
/* Larger files are refused before they are read. */
#define WTL_MOST_SOURCE_BYTES ((size_t)1 << 32)

/* Strings in one block, by index. Start from {0}. */
typedef struct wtl_string_list {
    char *bytes;
    size_t used, capacity;
    size_t *starts;
    size_t count, room;
} wtl_string_list;

wtl_status wtl_strings_add(wtl_string_list *list, const char *text, size_t length,
                           wtl_error *err) WTL_MUST_CHECK;
const char *wtl_strings_at(const wtl_string_list *list, size_t index);
void wtl_strings_sort(wtl_string_list *list); /* by strcmp */
void wtl_strings_clear(wtl_string_list *list);

typedef struct wtl_picture_cache wtl_picture_cache;

typedef struct wtl_source {
    size_t count;
    int classes;
    int *labels;                 /* [count], each 0 .. classes-1 */
    wtl_string_list class_names; /* empty, or one a class */
    bool splits;                 /* train and val are both held in these records */

    int channels, height, width; /* of every record, or zeros */
    const unsigned char *pixels; /* [count, height, width, channels], or NULL */
    void *storage;               /* what `pixels` points into; owned */

    char *folder;          /* paths are relative to it; NULL where pixels are in memory */
    wtl_string_list paths; /* [count] */
    wtl_picture_cache *cache;
} wtl_source;

typedef struct wtl_source_kind {
    const char *scheme;   /* the word before ':' */
    const char *argument; /* what stands after it, for messages; NULL: nothing may */
    wtl_status (*open)(wtl_source *source, const char *where, wtl_data_part part,
                       wtl_error *err);
} wtl_source_kind;

extern const wtl_source_kind wtl_source_fashion_mnist, wtl_source_idx, wtl_source_cifar10,
    wtl_source_cifar100, wtl_source_folder, wtl_source_list;

/* Frees what the source owns; fine on a source whose opener failed. */
void wtl_source_clear(wtl_source *source);

/* source->class_names := copies of names[count]. */
wtl_status wtl_source_name_classes(wtl_source *source, const char *const *names, int count,
                                   wtl_error *err) WTL_MUST_CHECK;

/* Names in the folder `path`, sorted by strcmp, hidden ones left out: its sub-folders, or
 * its regular files; links are followed. WTL_E_MISSING, WTL_E_IO, WTL_E_NOMEM. */
wtl_status wtl_folder_names(wtl_string_list *names, const char *path, bool folders,
                            wtl_error *err) WTL_MUST_CHECK;

/* Readers of bytes, apart from their files for tests and fuzzing. `file` is for messages. */

typedef struct wtl_idx {
    size_t count;
    int rows, columns; /* 1, 1 for labels */
    const unsigned char *values;
} wtl_idx;

/* An IDX file of bytes with `dimensions` dimensions: 1 (labels) or 3 (images). */
wtl_status wtl_idx_parse(wtl_idx *idx, const unsigned char *bytes, size_t length,
                         int dimensions, const char *file, wtl_error *err) WTL_MUST_CHECK;

/* Append the records of a CIFAR file with `label_bytes` labels each: 1 (CIFAR-10), or 2
 * (CIFAR-100: coarse, then fine, which is the one kept). source->storage holds all. */
wtl_status wtl_cifar_parse(wtl_source *source, const unsigned char *bytes, size_t length,
                           int label_bytes, const char *file, wtl_error *err) WTL_MUST_CHECK;

/* The lines "path label" of a list file. */
wtl_status wtl_list_parse(wtl_source *source, const unsigned char *bytes, size_t length,
                          const char *file, wtl_error *err) WTL_MUST_CHECK;

/* Picture files. Decide at opening whether decoded pictures are kept in memory. */
wtl_status wtl_pictures_prepare(wtl_source *source, wtl_error *err) WTL_MUST_CHECK;
wtl_status wtl_pictures_load(const wtl_source *source, size_t record, wtl_image *image,
                             wtl_error *err) WTL_MUST_CHECK;
void wtl_pictures_forget(wtl_source *source);

#endif
