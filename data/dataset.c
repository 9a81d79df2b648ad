/* dataset.c - the DATA text, the kinds of sources, and the part of a source a user sees. */
#include "source.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/rng.h"
#include "wattle/text.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

struct wtl_dataset {
    char *name;                  /* the DATA text with @part */
    char *origin;                /* the DATA text without it */
    const wtl_source_kind *kind; /* static */
    wtl_data_part part;
    wtl_source source;
    uint32_t *records; /* [count]: places in the source; NULL: all of them, in order */
    size_t count;
};

static const wtl_source_kind *const kinds[] = {
    &wtl_source_fashion_mnist, &wtl_source_idx,    &wtl_source_cifar10,
    &wtl_source_cifar100,      &wtl_source_folder, &wtl_source_list,
};
enum { KIND_COUNT = sizeof kinds / sizeof kinds[0] };

static const char *const part_names[] = {"train", "val", "test"};

static wtl_status unknown_scheme(const char *data, const char *scheme, wtl_error *err)
{
    const char *schemes[KIND_COUNT + 1] = {0};
    char known[256] = "";
    size_t used = 0;
    for (int i = 0; i < KIND_COUNT; i++) {
        const wtl_source_kind *kind = kinds[i];
        schemes[i] = kind->scheme;
        used += (size_t)snprintf(known + used, sizeof known - used, "%s%s%s%s",
                                 i == 0                ? ""
                                 : i == KIND_COUNT - 1 ? " or "
                                                       : ", ",
                                 kind->scheme, kind->argument ? ":" : "",
                                 kind->argument ? kind->argument : "");
    }
    const char *close = wtl_suggest(scheme, schemes);
    return wtl_fail(err, WTL_E_ARG, "\"%s\" is not a data set: expected %s%s%s%s", data, known,
                    close ? "; did you mean " : "", close ? close : "", close ? "?" : "");
}

/* Cuts "@part" off `text`; a path with an @ of its own needs a '/' or '.' after it. */
static wtl_status take_part(char *text, wtl_data_part *part, wtl_error *err)
{
    char *at = strrchr(text, '@');
    if (!at || strpbrk(at, "/.")) {
        return WTL_OK;
    }
    for (int i = 0; i < 3; i++) {
        if (strcmp(at + 1, part_names[i]) == 0) {
            *part = (wtl_data_part)i;
            *at = '\0';
            return WTL_OK;
        }
    }
    return wtl_fail(err, WTL_E_ARG, "\"%s\": %s is not @train, @val or @test", text, at);
}

/* *where points into dataset->origin. */
static wtl_status parse_data(wtl_dataset *dataset, const char **where, wtl_error *err)
{
    wtl_status status = take_part(dataset->origin, &dataset->part, err);
    if (status != WTL_OK) {
        return status;
    }
    const char *colon = strchr(dataset->origin, ':');
    size_t length = colon ? (size_t)(colon - dataset->origin) : strlen(dataset->origin);
    *where = colon ? colon + 1 : "";
    for (int i = 0; i < KIND_COUNT; i++) {
        if (strlen(kinds[i]->scheme) == length &&
            memcmp(kinds[i]->scheme, dataset->origin, length) == 0) {
            dataset->kind = kinds[i];
        }
    }
    if (!dataset->kind) {
        char scheme[32];
        snprintf(scheme, sizeof scheme, "%.*s", length < 31 ? (int)length : 31,
                 dataset->origin);
        return unknown_scheme(dataset->origin, scheme, err);
    }
    const wtl_source_kind *kind = dataset->kind;
    if (kind->argument && **where == '\0') {
        return wtl_fail(err, WTL_E_ARG, "\"%s\": %s:%s was expected", dataset->origin,
                        kind->scheme, kind->argument);
    }
    if (!kind->argument && colon) {
        return wtl_fail(err, WTL_E_ARG, "\"%s\": nothing may follow %s; a folder is idx:DIR",
                        dataset->origin, kind->scheme);
    }
    return WTL_OK;
}

static wtl_status check_options(const wtl_dataset *dataset, const wtl_dataset_options *options,
                                wtl_error *err)
{
    if (dataset->part > WTL_DATA_TEST) {
        return wtl_fail(err, WTL_E_ARG, "data part %d is none of train, val, test",
                        (int)dataset->part);
    }
    if (!(options->val_share >= 0.0 && options->val_share < 1.0)) {
        return wtl_fail(err, WTL_E_ARG, "a validation share of %g is not inside 0..1",
                        options->val_share);
    }
    if (options->whole_train && dataset->part == WTL_DATA_VAL) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s@val: nothing is held out when all of train is trained on",
                        dataset->origin);
    }
    return WTL_OK;
}

/* How many of `count` images are held out: at least one, and never all. */
static size_t held_out(size_t count, double share)
{
    size_t held = (size_t)((double)count * (share > 0.0 ? share : 0.1) + 0.5);
    if (held == 0) {
        held = 1;
    }
    return held < count ? held : count - 1;
}

/* The first images of a permutation are val, the rest train, each in the source's order. */
static wtl_status split(wtl_dataset *dataset, const wtl_dataset_options *options,
                        wtl_error *err)
{
    size_t count = dataset->source.count, held = held_out(count, options->val_share);
    bool val = dataset->part == WTL_DATA_VAL;
    if (val && held == 0) {
        return wtl_fail(err, WTL_E_ARG, "%s: too few images (%zu) to hold some out",
                        dataset->name, count);
    }
    uint32_t *order = wtl_alloc(count, sizeof *order);
    bool *is_val = wtl_alloc(count, sizeof *is_val);
    dataset->count = val ? held : count - held;
    dataset->records = wtl_alloc(dataset->count, sizeof dataset->records[0]);
    wtl_status status = WTL_OK;
    if (order && is_val && dataset->records) {
        wtl_rng rng = wtl_rng_make(options->split_seed, WTL_RNG_SPLIT, 0, 0);
        wtl_rng_permutation(&rng, order, (uint32_t)count);
        for (size_t i = 0; i < held; i++) {
            is_val[order[i]] = true;
        }
        for (size_t i = 0, to = 0; i < count; i++) {
            if (is_val[i] == val) {
                dataset->records[to++] = (uint32_t)i;
            }
        }
    } else {
        status = wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", dataset->name);
    }
    wtl_free(order);
    wtl_free(is_val);
    return status;
}

static wtl_status open_data(wtl_dataset *dataset, const char *data,
                            const wtl_dataset_options *options, wtl_error *err)
{
    const char *where;
    dataset->part = options->part;
    dataset->origin = wtl_strdup(data);
    if (!dataset->origin) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", data);
    }
    wtl_status status = parse_data(dataset, &where, err);
    if (status == WTL_OK) {
        status = check_options(dataset, options, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    dataset->name = wtl_format("%s@%s", dataset->origin, part_names[dataset->part]);
    if (!dataset->name) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", data);
    }
    status = dataset->kind->open(&dataset->source, where, dataset->part, err);
    if (status != WTL_OK) {
        return status;
    }
    if (dataset->source.count > UINT32_MAX) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: more than 2^32 images", dataset->name);
    }
    dataset->count = dataset->source.count;
    bool all = !dataset->source.splits || options->whole_train;
    return all ? WTL_OK : split(dataset, options, err);
}

wtl_status wtl_dataset_open(wtl_dataset **out, const char *data,
                            const wtl_dataset_options *options, wtl_error *err)
{
    static const wtl_dataset_options defaults = {0};
    *out = NULL;
    wtl_dataset *dataset = wtl_alloc(1, sizeof *dataset);
    if (!dataset) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", data);
    }
    wtl_status status = open_data(dataset, data, options ? options : &defaults, err);
    if (status != WTL_OK) {
        wtl_dataset_free(dataset);
        return status;
    }
    *out = dataset;
    return WTL_OK;
}

void wtl_dataset_free(wtl_dataset *dataset)
{
    if (dataset) {
        wtl_source_clear(&dataset->source);
        wtl_free(dataset->records);
        wtl_free(dataset->name);
        wtl_free(dataset->origin);
        wtl_free(dataset);
    }
}

const char *wtl_dataset_name(const wtl_dataset *dataset)
{
    return dataset->name;
}

size_t wtl_dataset_count(const wtl_dataset *dataset)
{
    return dataset->count;
}

int wtl_dataset_classes(const wtl_dataset *dataset)
{
    return dataset->source.classes;
}

const char *wtl_dataset_class_name(const wtl_dataset *dataset, int label)
{
    const wtl_string_list *names = &dataset->source.class_names;
    return label >= 0 && (size_t)label < names->count ? wtl_strings_at(names, (size_t)label)
                                                      : NULL;
}

void wtl_dataset_shape(const wtl_dataset *dataset, int *channels, int *height, int *width)
{
    *channels = dataset->source.channels;
    *height = dataset->source.height;
    *width = dataset->source.width;
}

static size_t record_of(const wtl_dataset *dataset, size_t index)
{
    return dataset->records ? dataset->records[index] : index;
}

int wtl_dataset_label(const wtl_dataset *dataset, size_t index)
{
    return dataset->source.labels[record_of(dataset, index)];
}

void wtl_dataset_describe(const wtl_dataset *dataset, size_t index, char *text, size_t size)
{
    const wtl_source *source = &dataset->source;
    size_t record = record_of(dataset, index);
    if (!source->pixels) {
        const char *path = wtl_strings_at(&source->paths, record);
        snprintf(text, size, "%s%s", path[0] == '/' ? "" : source->folder, path);
        return;
    }
    /* The number is the one in the files, where val is a part of train. */
    const char *stored = dataset->part == WTL_DATA_TEST ? "test" : "train";
    snprintf(text, size, "%s %s image %zu", dataset->origin, stored, record);
}

static size_t bytes_each(const wtl_source *source)
{
    return (size_t)source->channels * (size_t)source->height * (size_t)source->width;
}

wtl_status wtl_dataset_image(const wtl_dataset *dataset, size_t index, wtl_image *image,
                             wtl_error *err)
{
    const wtl_source *source = &dataset->source;
    if (index >= dataset->count) {
        return wtl_fail(err, WTL_E_ARG, "%s: image %zu of %zu", dataset->name, index,
                        dataset->count);
    }
    size_t record = record_of(dataset, index);
    if (!source->pixels) {
        return wtl_pictures_load(source, record, image, err);
    }
    if (wtl_image_resize(image, source->width, source->height, source->channels) != WTL_OK) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for an image", dataset->name);
    }
    memcpy(image->pixels, source->pixels + record * bytes_each(source), bytes_each(source));
    return WTL_OK;
}

uint32_t wtl_dataset_hash(const wtl_dataset *dataset)
{
    const wtl_source *source = &dataset->source;
    uint32_t crc = 0;
    for (size_t i = 0; i < dataset->count; i++) {
        size_t record = record_of(dataset, i);
        uint32_t label = (uint32_t)source->labels[record];
        unsigned char bytes[4] = {(unsigned char)label, (unsigned char)(label >> 8),
                                  (unsigned char)(label >> 16), (unsigned char)(label >> 24)};
        crc = wtl_crc32(crc, bytes, sizeof bytes);
        if (source->pixels) {
            crc = wtl_crc32(crc, source->pixels + record * bytes_each(source),
                            bytes_each(source));
        } else {
            const char *path = wtl_strings_at(&source->paths, record);
            crc = wtl_crc32(crc, path, strlen(path) + 1);
        }
    }
    return crc;
}
