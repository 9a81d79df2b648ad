/* pictures.c - records that are picture files, and the memory of decoded ones.
 *
 * Decoding tiny JPEGs again each epoch costs more than training on them, so a data set that
 * fits is kept decoded: filled as pictures are first asked for, by whichever thread, and
 * never beyond CACHE_BYTES.
 */
#include "source.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <stdatomic.h>
#include <string.h>

enum { CACHE_BYTES = 512 << 20 };

typedef struct kept_picture {
    int width, height, channels;
    unsigned char pixels[];
} kept_picture;

struct wtl_picture_cache {
    atomic_size_t bytes;            /* taken or being taken */
    _Atomic(kept_picture *) kept[]; /* [count], NULL where not yet decoded */
};

static size_t pixel_bytes(int width, int height, int channels)
{
    return (size_t)width * (size_t)height * (size_t)channels;
}

static wtl_status load_file(const wtl_source *source, size_t record, wtl_image *image,
                            wtl_error *err)
{
    char *path = wtl_path_join(source->folder, wtl_strings_at(&source->paths, record));
    if (!path) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", source->folder);
    }
    wtl_status status = wtl_image_load(image, path, err);
    wtl_free(path);
    return status;
}

/* The first picture that can be read stands for all. */
static wtl_status guess_size(const wtl_source *source, size_t *bytes, wtl_error *err)
{
    enum { TRIES = 8 };
    wtl_image image = {0};
    wtl_status status = WTL_E_FORMAT;
    *bytes = SIZE_MAX;
    for (size_t i = 0; i < source->count && i < TRIES; i++) {
        status = load_file(source, i, &image, err);
        if (status == WTL_OK) {
            *bytes = pixel_bytes(image.width, image.height, image.channels);
        }
        if (status == WTL_OK || status == WTL_E_NOMEM) {
            break;
        }
    }
    wtl_image_clear(&image);
    return status == WTL_E_NOMEM ? status : WTL_OK;
}

wtl_status wtl_pictures_prepare(wtl_source *source, wtl_error *err)
{
    size_t bytes, total;
    wtl_status status = guess_size(source, &bytes, err);
    if (status != WTL_OK || !wtl_mul(bytes, source->count, &total) || total > CACHE_BYTES) {
        return status;
    }
    source->cache =
        wtl_alloc(1, sizeof *source->cache + source->count * sizeof source->cache->kept[0]);
    if (!source->cache) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for %zu pictures", source->folder,
                        source->count);
    }
    return WTL_OK;
}

/* Not having the memory to keep a picture is no failure. */
static void keep(wtl_picture_cache *cache, size_t record, const wtl_image *image)
{
    size_t bytes = pixel_bytes(image->width, image->height, image->channels);
    size_t whole = sizeof(kept_picture) + bytes;
    if (atomic_fetch_add(&cache->bytes, whole) + whole > CACHE_BYTES) {
        atomic_fetch_sub(&cache->bytes, whole);
        return;
    }
    kept_picture *picture = wtl_alloc(1, whole), *none = NULL;
    if (picture) {
        picture->width = image->width;
        picture->height = image->height;
        picture->channels = image->channels;
        memcpy(picture->pixels, image->pixels, bytes);
    }
    if (!picture || !atomic_compare_exchange_strong(&cache->kept[record], &none, picture)) {
        wtl_free(picture); /* another thread was first */
        atomic_fetch_sub(&cache->bytes, whole);
    }
}

wtl_status wtl_pictures_load(const wtl_source *source, size_t record, wtl_image *image,
                             wtl_error *err)
{
    wtl_picture_cache *cache = source->cache;
    const kept_picture *picture = cache ? atomic_load(&cache->kept[record]) : NULL;
    if (!picture) {
        wtl_status status = load_file(source, record, image, err);
        if (status == WTL_OK && cache) {
            keep(cache, record, image);
        }
        return status;
    }
    if (wtl_image_resize(image, picture->width, picture->height, picture->channels) != WTL_OK) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for a picture", source->folder);
    }
    memcpy(image->pixels, picture->pixels,
           pixel_bytes(picture->width, picture->height, picture->channels));
    return WTL_OK;
}

void wtl_pictures_forget(wtl_source *source)
{
    for (size_t i = 0; source->cache && i < source->count; i++) {
        wtl_free(atomic_load(&source->cache->kept[i]));
    }
    wtl_free(source->cache);
    source->cache = NULL;
}
