/* npz.c - reading and writing .npz through libzip. The only file that sees <zip.h>. */
#include "npz.h"

#include "npy.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <string.h>
#include <zip.h>

enum { SMALLEST_ZIP = 22, MOST_NAME = 255 }; /* an empty zip is its 22-byte end record */

static wtl_status no_memory(wtl_error *err, const char *file)
{
    return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", file);
}

/* libzip's reason, as ours. */
static wtl_status zip_refusal(wtl_error *err, const char *file, zip_error_t *reason)
{
    if (zip_error_code_zip(reason) == ZIP_ER_MEMORY) {
        return no_memory(err, file);
    }
    if (zip_error_code_zip(reason) == ZIP_ER_EXISTS) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: two arrays have the same name", file);
    }
    return wtl_fail(err, WTL_E_FORMAT, "%s: not a sound zip: %s", file,
                    zip_error_strerror(reason));
}

/* ---- reading ---- */

static wtl_status open_zip(zip_t **zip, const unsigned char *bytes, size_t length,
                           const char *file, wtl_error *err)
{
    if (length < SMALLEST_ZIP) { /* libzip takes no bytes for an archive without entries */
        return wtl_fail(err, WTL_E_FORMAT, "%s: not a zip: %zu bytes", file, length);
    }
    zip_error_t reason;
    zip_error_init(&reason);
    /* ZIP_CHECKCONS: both records of an entry must agree, and no name may come twice. */
    zip_source_t *source = zip_source_buffer_create(bytes, length, 0, &reason);
    *zip = source ? zip_open_from_source(source, ZIP_RDONLY | ZIP_CHECKCONS, &reason) : NULL;
    wtl_status status = *zip ? WTL_OK : zip_refusal(err, file, &reason);
    if (!*zip && source) {
        zip_source_free(source);
    }
    zip_error_fini(&reason);
    return status;
}

/* The array's name from the entry's, checked. */
static wtl_status name_array(wtl_npz *npz, const zip_stat_t *stat, const char *file,
                             wtl_error *err)
{
    size_t length = strlen(stat->name);
    if (length < 5 || length > MOST_NAME || strcmp(stat->name + length - 4, ".npy") != 0) {
        return wtl_fail(err, WTL_E_FORMAT,
                        "%s: entry %.80s: a name ends in .npy and has 5 to %d"
                        " bytes",
                        file, stat->name, MOST_NAME);
    }
    wtl_npz_array *array = &npz->arrays[npz->count];
    array->name = wtl_strndup(stat->name, length - 4);
    if (!array->name) {
        return no_memory(err, file);
    }
    return WTL_OK;
}

static wtl_status check_stat(const zip_stat_t *stat, size_t room, const char *name,
                             const char *file, wtl_error *err)
{
    const zip_uint64_t known =
        ZIP_STAT_SIZE | ZIP_STAT_COMP_METHOD | ZIP_STAT_ENCRYPTION_METHOD;
    if ((stat->valid & known) != known || stat->encryption_method != ZIP_EM_NONE) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: array %s is encrypted", file, name);
    }
    if (stat->comp_method != ZIP_CM_STORE && stat->comp_method != ZIP_CM_DEFLATE) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: array %s is neither stored nor deflated", file,
                        name);
    }
    if (stat->size > room) {
        return wtl_fail(err, WTL_E_RANGE, "%s: array %s has %llu bytes, there is room for %zu",
                        file, name, (unsigned long long)stat->size, room);
    }
    return WTL_OK;
}

/* All of the entry and not a byte more; libzip compares the CRC when it meets the end. */
static bool read_entry(zip_t *zip, zip_uint64_t index, unsigned char *bytes, size_t length)
{
    zip_file_t *entry = zip_fopen_index(zip, index, 0);
    if (!entry) {
        return false;
    }
    size_t have = 0;
    zip_int64_t got = 1;
    while (have < length && got > 0) {
        got = zip_fread(entry, bytes + have, length - have);
        have += got > 0 ? (size_t)got : 0;
    }
    unsigned char beyond;
    bool whole = have == length && zip_fread(entry, &beyond, 1) == 0;
    return zip_fclose(entry) == 0 && whole;
}

/* Entry number `index` becomes the next array; *room is what values may still take. */
static wtl_status read_array(wtl_npz *npz, zip_t *zip, zip_uint64_t index, size_t *room,
                             const char *file, wtl_error *err)
{
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_stat_index(zip, index, 0, &stat) != 0 || !(stat.valid & ZIP_STAT_NAME)) {
        return zip_refusal(err, file, zip_get_error(zip));
    }
    wtl_npz_array *array = &npz->arrays[npz->count];
    wtl_status status = name_array(npz, &stat, file, err);
    if (status == WTL_OK) {
        status = check_stat(&stat, *room + WTL_NPY_MOST_HEAD, array->name, file, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    size_t length = (size_t)stat.size;
    unsigned char *bytes = npz->entries[npz->count] = wtl_alloc(length, 1);
    if (!bytes) {
        return no_memory(err, file);
    }
    if (!read_entry(zip, index, bytes, length)) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: array %s is cut or altered", file, array->name);
    }
    status = wtl_npy_parse(array, bytes, length, file, err);
    if (status == WTL_OK && array->count > *room) {
        status = wtl_fail(err, WTL_E_RANGE, "%s: array %s has %zu bytes, there is room for %zu",
                          file, array->name, array->count, *room);
    }
    *room -= status == WTL_OK ? array->count : 0;
    return status;
}

static wtl_status read_arrays(wtl_npz *npz, zip_t *zip, const wtl_npz_limits *limits,
                              const char *file, wtl_error *err)
{
    zip_uint64_t count = (zip_uint64_t)zip_get_num_entries(zip, 0);
    if (count > limits->arrays) {
        return wtl_fail(err, WTL_E_RANGE, "%s: %llu arrays, at most %zu fit", file,
                        (unsigned long long)count, limits->arrays);
    }
    npz->arrays = wtl_alloc((size_t)count, sizeof *npz->arrays);
    npz->entries = wtl_alloc((size_t)count, sizeof *npz->entries);
    if (!npz->arrays || !npz->entries) {
        return no_memory(err, file);
    }
    size_t room = limits->values;
    wtl_status status = WTL_OK;
    for (zip_uint64_t i = 0; i < count && status == WTL_OK; i++) {
        status = read_array(npz, zip, i, &room, file, err);
        npz->count++; /* in any case: for clear */
    }
    return status;
}

wtl_status wtl_npz_read(wtl_npz *npz, const unsigned char *bytes, size_t length,
                        const wtl_npz_limits *limits, const char *file, wtl_error *err)
{
    memset(npz, 0, sizeof *npz);
    zip_t *zip;
    wtl_status status = open_zip(&zip, bytes, length, file, err);
    if (status == WTL_OK) {
        status = read_arrays(npz, zip, limits, file, err);
        zip_discard(zip);
    }
    return status;
}

void wtl_npz_clear(wtl_npz *npz)
{
    for (size_t i = 0; i < npz->count; i++) {
        wtl_free(npz->arrays[i].name);
        wtl_free(npz->entries[i]);
    }
    wtl_free(npz->arrays);
    wtl_free(npz->entries);
    memset(npz, 0, sizeof *npz);
}

/* ---- writing ---- */

/* Add one array; *entry is its bytes, which libzip reads only when the zip is closed. */
static bool add_array(zip_t *zip, const wtl_npz_array *array, unsigned char **entry)
{
    enum { DAY_ONE = 1 << 5 | 1 }; /* 1980-01-01 as DOS writes dates */
    unsigned char head[WTL_NPY_WRITTEN_HEAD];
    size_t head_length = wtl_npy_head(array, head);
    char *name = wtl_format("%s.npy", array->name);
    *entry = wtl_alloc(head_length + array->count, 1);
    bool added = false;
    if (name && *entry) {
        memcpy(*entry, head, head_length);
        memcpy(*entry + head_length, array->values, array->count);
        zip_source_t *source = zip_source_buffer(zip, *entry, head_length + array->count, 0);
        zip_int64_t index = source ? zip_file_add(zip, name, source, ZIP_FL_ENC_UTF_8) : -1;
        if (source && index < 0) {
            zip_source_free(source);
        }
        added = index >= 0 &&
                zip_set_file_compression(zip, (zip_uint64_t)index, ZIP_CM_STORE, 0) == 0 &&
                zip_file_set_dostime(zip, (zip_uint64_t)index, 0, DAY_ONE, 0) == 0;
    }
    wtl_free(name);
    return added;
}

static bool add_arrays(zip_t *zip, const wtl_npz_array *arrays, size_t count,
                       unsigned char **entries)
{
    for (size_t i = 0; i < count; i++) {
        if (!add_array(zip, &arrays[i], &entries[i])) {
            return false;
        }
    }
    return true;
}

/* Fill `memory`, an empty buffer source, with the zip. */
static bool fill(zip_source_t *memory, const wtl_npz_array *arrays, size_t count,
                 unsigned char **entries)
{
    zip_source_keep(memory); /* the zip takes one reference with it */
    zip_t *zip = zip_open_from_source(memory, ZIP_CREATE | ZIP_TRUNCATE, NULL);
    if (!zip) {
        zip_source_free(memory);
        return false;
    }
    if (!add_arrays(zip, arrays, count, entries) || zip_close(zip) != 0) {
        zip_discard(zip);
        return false;
    }
    return true;
}

/* What the source holds, to the file. */
static wtl_status save(zip_source_t *memory, const char *path, wtl_error *err)
{
    zip_stat_t stat;
    zip_stat_init(&stat);
    if (zip_source_stat(memory, &stat) != 0 || zip_source_open(memory) != 0) {
        return no_memory(err, path);
    }
    size_t length = (size_t)stat.size;
    unsigned char *bytes = wtl_alloc(length, 1);
    bool read = bytes && zip_source_read(memory, bytes, length) == (zip_int64_t)length;
    zip_source_close(memory);
    wtl_status status = read ? wtl_file_write(path, bytes, length, err) : no_memory(err, path);
    wtl_free(bytes);
    return status;
}

wtl_status wtl_npz_write(const wtl_npz_array *arrays, size_t count, const char *path,
                         wtl_error *err)
{
    unsigned char **entries = wtl_alloc(count, sizeof *entries);
    zip_source_t *memory = entries ? zip_source_buffer_create(NULL, 0, 0, NULL) : NULL;
    wtl_status status = WTL_E_NOMEM;
    if (memory && fill(memory, arrays, count, entries)) {
        status = save(memory, path, err);
    } else {
        status = no_memory(err, path);
    }
    if (memory) {
        zip_source_free(memory);
    }
    for (size_t i = 0; entries && i < count; i++) {
        wtl_free(entries[i]);
    }
    wtl_free(entries);
    return status;
}
