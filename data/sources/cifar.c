/* cifar.c - CIFAR-10 and CIFAR-100 in their binary form.
 *
 * A file is a row of records, nothing else:
 *   CIFAR-10    1 byte   label 0..9
 *   CIFAR-100   2 bytes  coarse label 0..19, fine label 0..99
 *   both        3072 bytes: the red, green and blue planes, 32 rows of 32 pixels each
 */
#define _DEFAULT_SOURCE
#include "source.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <string.h>

enum { SIDE = 32, PLANE = SIDE * SIDE, PIXELS = 3 * PLANE };

static void interleave(unsigned char *to, const unsigned char *planes)
{
    for (int i = 0; i < PLANE; i++) {
        to[3 * i] = planes[i];
        to[3 * i + 1] = planes[PLANE + i];
        to[3 * i + 2] = planes[2 * PLANE + i];
    }
}

static wtl_status check_record(const unsigned char *record, size_t offset, int label_bytes,
                               const char *file, wtl_error *err)
{
    static const struct {
        const char *name;
        int classes;
    } cifar10[] = {{"label", 10}}, cifar100[] = {{"coarse label", 20}, {"fine label", 100}};
    for (int i = 0; i < label_bytes; i++) {
        const char *name = label_bytes == 1 ? cifar10[i].name : cifar100[i].name;
        int classes = label_bytes == 1 ? cifar10[i].classes : cifar100[i].classes;
        if (record[i] >= classes) {
            return wtl_fail(err, WTL_E_FORMAT, "%s: offset %zu: %s %d, not 0..%d", file,
                            offset + (size_t)i, name, record[i], classes - 1);
        }
    }
    return WTL_OK;
}

wtl_status wtl_cifar_parse(wtl_source *source, const unsigned char *bytes, size_t length,
                           int label_bytes, const char *file, wtl_error *err)
{
    size_t record_bytes = (size_t)label_bytes + PIXELS;
    size_t more = length / record_bytes, count = source->count + more;
    if (more == 0) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: offset 0: %zu bytes hold no record of %zu",
                        file, length, record_bytes);
    }
    if (length % record_bytes != 0) {
        return wtl_fail(err, WTL_E_FORMAT,
                        "%s: offset %zu: %zu bytes left over after records of %zu bytes", file,
                        more * record_bytes, length % record_bytes, record_bytes);
    }
    for (size_t i = 0; i < more; i++) {
        wtl_status status =
            check_record(bytes + i * record_bytes, i * record_bytes, label_bytes, file, err);
        if (status != WTL_OK) {
            return status;
        }
    }
    if (wtl_grow((void **)&source->labels, source->count, count, sizeof source->labels[0]) !=
            WTL_OK ||
        wtl_grow(&source->storage, source->count, count, PIXELS) != WTL_OK) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for %zu images", file, count);
    }
    for (size_t i = 0; i < more; i++) {
        const unsigned char *record = bytes + i * record_bytes;
        size_t to = source->count + i;
        source->labels[to] = record[label_bytes - 1];
        interleave((unsigned char *)source->storage + to * PIXELS, record + label_bytes);
    }
    source->count = count;
    source->pixels = source->storage;
    source->channels = 3;
    source->height = source->width = SIDE;
    return WTL_OK;
}

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), m = strlen(end);
    return n >= m && strcmp(name + n - m, end) == 0;
}

/* The official names come first, so that a stray "my_train.bin" beside them is left alone. */
static bool is_official(const char *name, bool test)
{
    return test ? strcmp(name, "test_batch.bin") == 0 || strcmp(name, "test.bin") == 0
                : strncmp(name, "data_batch_", 11) == 0 || strcmp(name, "train.bin") == 0;
}

static bool is_wanted(const char *name, bool test, bool official)
{
    return ends_with(name, ".bin") &&
           (official ? is_official(name, test) : strstr(name, test ? "test" : "train") != NULL);
}

static wtl_status load_file(wtl_source *source, const char *folder, const char *name,
                            int label_bytes, wtl_error *err)
{
    unsigned char *bytes = NULL;
    size_t length;
    char *path = wtl_path_join(folder, name);
    if (!path) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder);
    }
    wtl_status status = wtl_file_read(path, WTL_MOST_SOURCE_BYTES, &bytes, &length, err);
    if (status == WTL_OK) {
        status = wtl_cifar_parse(source, bytes, length, label_bytes, path, err);
    }
    wtl_free(bytes);
    wtl_free(path);
    return status;
}

static wtl_status load_part(wtl_source *source, const char *folder, bool test, int label_bytes,
                            wtl_error *err)
{
    wtl_string_list names = {0};
    wtl_status status = wtl_folder_names(&names, folder, false, err);
    for (int official = 1; official >= 0 && source->count == 0; official--) {
        for (size_t i = 0; status == WTL_OK && i < names.count; i++) {
            const char *name = wtl_strings_at(&names, i);
            if (is_wanted(name, test, official)) {
                status = load_file(source, folder, name, label_bytes, err);
            }
        }
    }
    wtl_strings_clear(&names);
    if (status == WTL_OK && source->count == 0) {
        status = wtl_fail(err, WTL_E_MISSING, "%s: there is no %s, nor a *%s*.bin", folder,
                          label_bytes == 2 ? (test ? "test.bin" : "train.bin")
                                           : (test ? "test_batch.bin" : "data_batch_*.bin"),
                          test ? "test" : "train");
    }
    return status;
}

/* One name a line; exactly as many as there are classes. */
static wtl_status parse_names(wtl_source *source, const unsigned char *bytes, size_t length,
                              const char *file, wtl_error *err)
{
    const char *text = (const char *)bytes, *end = text + length;
    wtl_status status = WTL_OK;
    while (status == WTL_OK && text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *stop = newline ? newline : end;
        size_t n = (size_t)(stop - text);
        n -= n > 0 && text[n - 1] == '\r';
        if (n > 0) {
            status = wtl_strings_add(&source->class_names, text, n, err);
        }
        text = newline ? newline + 1 : end;
    }
    if (status == WTL_OK && source->class_names.count != (size_t)source->classes) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s: %zu class names, %d expected", file,
                          source->class_names.count, source->classes);
    }
    return status;
}

static wtl_status load_names(wtl_source *source, const char *folder, const char *name,
                             wtl_error *err)
{
    enum { MOST_BYTES = 1 << 16 };
    unsigned char *bytes = NULL;
    size_t length;
    char *path = wtl_path_join(folder, name);
    if (!path) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder);
    }
    wtl_status status = WTL_OK;
    if (wtl_file_exists(path)) {
        status = wtl_file_read(path, MOST_BYTES, &bytes, &length, err);
        if (status == WTL_OK) {
            status = parse_names(source, bytes, length, path, err);
        }
    }
    wtl_free(bytes);
    wtl_free(path);
    return status;
}

static wtl_status open_cifar10(wtl_source *source, const char *where, wtl_data_part part,
                               wtl_error *err)
{
    static const char *const names[] = {"airplane", "automobile", "bird",  "cat",  "deer",
                                        "dog",      "frog",       "horse", "ship", "truck"};
    source->classes = 10;
    source->splits = part != WTL_DATA_TEST;
    wtl_status status = load_part(source, where, part == WTL_DATA_TEST, 1, err);
    if (status == WTL_OK) {
        status = load_names(source, where, "batches.meta.txt", err);
    }
    if (status == WTL_OK && source->class_names.count == 0) {
        status = wtl_source_name_classes(source, names, 10, err);
    }
    return status;
}

static wtl_status open_cifar100(wtl_source *source, const char *where, wtl_data_part part,
                                wtl_error *err)
{
    source->classes = 100;
    source->splits = part != WTL_DATA_TEST;
    wtl_status status = load_part(source, where, part == WTL_DATA_TEST, 2, err);
    return status == WTL_OK ? load_names(source, where, "fine_label_names.txt", err) : status;
}

const wtl_source_kind wtl_source_cifar10 = {"cifar10", "DIR", open_cifar10};
const wtl_source_kind wtl_source_cifar100 = {"cifar100", "DIR", open_cifar100};
