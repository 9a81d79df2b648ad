/* idx.c - IDX files (MNIST, Fashion-MNIST), plain or gzip.
 *
 *   bytes 0..3    big-endian 0x00000803 for images, 0x00000801 for labels
 *   then          one big-endian 32-bit size a dimension: count, rows, columns; or count
 *   then          the values, one byte each, last dimension fastest
 */
#include "source.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <stdio.h>

enum { LARGEST_SIDE = 16384 };

static uint32_t big_endian(const unsigned char *bytes)
{
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 |
           bytes[3];
}

wtl_status wtl_idx_parse(wtl_idx *idx, const unsigned char *bytes, size_t length,
                         int dimensions, const char *file, wtl_error *err)
{
    size_t header = 4 + 4 * (size_t)dimensions;
    uint32_t magic = 0x00000800 | (uint32_t)dimensions;
    if (length >= 4 && big_endian(bytes) != magic) {
        return wtl_fail(err, WTL_E_FORMAT,
                        "%s: offset 0: 0x%08x is not the 0x%08x that begins IDX %s", file,
                        big_endian(bytes), magic, dimensions == 1 ? "labels" : "images");
    }
    if (length < header) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: offset %zu: cut short inside the header", file,
                        length);
    }
    size_t size = 1;
    for (int d = 0; d < dimensions; d++) {
        size_t side = big_endian(bytes + 4 + 4 * d);
        size_t most = d == 0 ? UINT32_MAX : LARGEST_SIDE;
        if (side == 0 || side > most || !wtl_mul(size, side, &size)) {
            return wtl_fail(err, WTL_E_FORMAT, "%s: offset %d: dimension %d is %zu, not 1..%zu",
                            file, 4 + 4 * d, d + 1, side, most);
        }
    }
    if (size != length - header) {
        return wtl_fail(err, WTL_E_FORMAT,
                        "%s: offset %zu: the header promises %zu bytes, %zu follow", file,
                        header, size, length - header);
    }
    idx->count = big_endian(bytes + 4);
    idx->rows = dimensions == 3 ? (int)big_endian(bytes + 8) : 1;
    idx->columns = dimensions == 3 ? (int)big_endian(bytes + 12) : 1;
    idx->values = bytes + header;
    return WTL_OK;
}

/* Reads DIR/name or DIR/name.gz; *path gets the one that was found. */
static wtl_status read_either(const char *folder, const char *name, char **path,
                              unsigned char **bytes, size_t *length, wtl_error *err)
{
    static const char *const suffixes[] = {"", ".gz"};
    *path = NULL;
    *bytes = NULL;
    for (int i = 0; i < 2; i++) {
        char file[64];
        snprintf(file, sizeof file, "%s%s", name, suffixes[i]);
        wtl_free(*path);
        *path = wtl_path_join(folder, file);
        if (!*path) {
            return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder);
        }
        if (wtl_file_exists(*path)) {
            return wtl_file_read(*path, WTL_MOST_SOURCE_BYTES, bytes, length, err);
        }
    }
    return wtl_fail(err, WTL_E_MISSING, "%s: there is no %s or %s.gz", folder, name, name);
}

static wtl_status load_labels(const char *folder, const char *part, int **labels, size_t *count,
                              int *classes, wtl_error *err)
{
    char name[32], *path;
    unsigned char *bytes;
    size_t length;
    snprintf(name, sizeof name, "%s-labels-idx1-ubyte", part);
    wtl_status status = read_either(folder, name, &path, &bytes, &length, err);
    wtl_idx idx = {0};
    if (status == WTL_OK) {
        status = wtl_idx_parse(&idx, bytes, length, 1, path, err);
    }
    if (status == WTL_OK) {
        *count = idx.count;
        *labels = wtl_alloc(idx.count, sizeof **labels);
        if (!*labels) {
            status = wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for labels", path);
        }
    }
    for (size_t i = 0; status == WTL_OK && i < idx.count; i++) {
        (*labels)[i] = idx.values[i];
        *classes = idx.values[i] >= *classes ? idx.values[i] + 1 : *classes;
    }
    wtl_free(path);
    wtl_free(bytes);
    return status;
}

static wtl_status load_images(wtl_source *source, const char *folder, const char *part,
                              wtl_error *err)
{
    char name[32], *path;
    unsigned char *bytes;
    size_t length;
    snprintf(name, sizeof name, "%s-images-idx3-ubyte", part);
    wtl_status status = read_either(folder, name, &path, &bytes, &length, err);
    source->storage = bytes;
    wtl_idx idx = {0};
    if (status == WTL_OK) {
        status = wtl_idx_parse(&idx, bytes, length, 3, path, err);
    }
    if (status == WTL_OK && idx.count != source->count) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s: offset 4: %zu images, but %zu labels", path,
                          idx.count, source->count);
    }
    if (status == WTL_OK) {
        source->pixels = idx.values;
        source->channels = 1;
        source->height = idx.rows;
        source->width = idx.columns;
    }
    wtl_free(path);
    return status;
}

/* The class count is that of the training labels, so that both parts agree on it. */
static wtl_status count_training_classes(const char *folder, int *classes, wtl_error *err)
{
    int *labels = NULL;
    size_t count;
    wtl_status status = load_labels(folder, "train", &labels, &count, classes, err);
    wtl_free(labels);
    return status == WTL_E_MISSING ? WTL_OK : status;
}

static wtl_status check_labels(const wtl_source *source, const char *folder, const char *part,
                               int classes, wtl_error *err)
{
    for (size_t i = 0; i < source->count; i++) {
        if (source->labels[i] >= classes) {
            return wtl_fail(err, WTL_E_FORMAT,
                            "%s: %s label %zu is %d, but there are %d classes", folder, part, i,
                            source->labels[i], classes);
        }
    }
    return WTL_OK;
}

/* `classes` 0: as many as the training labels show. */
static wtl_status open_folder(wtl_source *source, const char *folder, wtl_data_part part,
                              int classes, wtl_error *err)
{
    const char *name = part == WTL_DATA_TEST ? "t10k" : "train";
    int found = 0;
    wtl_status status = load_labels(folder, name, &source->labels, &source->count, &found, err);
    if (status == WTL_OK && classes == 0 && part == WTL_DATA_TEST) {
        status = count_training_classes(folder, &classes, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    source->classes = classes ? classes : found;
    source->splits = part != WTL_DATA_TEST;
    status = check_labels(source, folder, name, source->classes, err);
    return status == WTL_OK ? load_images(source, folder, name, err) : status;
}

static wtl_status open_idx(wtl_source *source, const char *where, wtl_data_part part,
                           wtl_error *err)
{
    return open_folder(source, where, part, 0, err);
}

static wtl_status open_fashion_mnist(wtl_source *source, const char *where, wtl_data_part part,
                                     wtl_error *err)
{
    (void)where;
    static const char folder[] = "/usr/share/datasets/fashion-mnist";
    static const char *const names[] = {"T-shirt/top", "Trouser",   "Pullover", "Dress",
                                        "Coat",        "Sandal",    "Shirt",    "Sneaker",
                                        "Bag",         "Ankle boot"};
    if (!wtl_folder_exists(folder)) {
        return wtl_fail(
            err, WTL_E_MISSING,
            "fashion-mnist: %s is not there: install the Debian package "
            "dataset-fashion-mnist, or name a folder with the four files by idx:DIR",
            folder);
    }
    wtl_status status = open_folder(source, folder, part, 10, err);
    return status == WTL_OK ? wtl_source_name_classes(source, names, 10, err) : status;
}

const wtl_source_kind wtl_source_idx = {"idx", "DIR", open_idx};
const wtl_source_kind wtl_source_fashion_mnist = {"fashion-mnist", NULL, open_fashion_mnist};
