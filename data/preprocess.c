/* preprocess.c - resize rule, centre crop, channels and normalisation. */
#include "image.h"
#include "pipeline.h"

#include "wattle/memory.h"

#include <math.h>
#include <string.h>

bool wtl_is_unreadable(wtl_status status)
{
    return status == WTL_E_FORMAT || status == WTL_E_RANGE || status == WTL_E_MISSING ||
           status == WTL_E_IO;
}

static wtl_status check_numbers(const wtl_preprocess *p, wtl_error *err)
{
    if (!isfinite(p->scale) || p->scale == 0.0f) {
        return wtl_fail(err, WTL_E_ARG, "preprocess: a scale of %g", (double)p->scale);
    }
    for (int c = 0; c < p->channels; c++) {
        if (!isfinite(p->mean[c])) {
            return wtl_fail(err, WTL_E_ARG, "preprocess: a mean of %g", (double)p->mean[c]);
        }
        if (!isfinite(p->deviation[c]) || p->deviation[c] <= 0.0f) {
            return wtl_fail(err, WTL_E_ARG, "preprocess: a deviation of %g, not above 0",
                            (double)p->deviation[c]);
        }
    }
    return WTL_OK;
}

wtl_status wtl_preprocess_check(const wtl_preprocess *p, wtl_error *err)
{
    if (p->channels != 1 && p->channels != 3) {
        return wtl_fail(err, WTL_E_ARG, "preprocess: %d channels, not 1 or 3", p->channels);
    }
    if (p->width < 1 || p->height < 1 || p->width > WTL_LARGEST_SIDE ||
        p->height > WTL_LARGEST_SIDE) {
        return wtl_fail(err, WTL_E_ARG, "preprocess: an input of %d x %d pixels, not 1..%d",
                        p->height, p->width, WTL_LARGEST_SIDE);
    }
    int larger = p->width > p->height ? p->width : p->height;
    if (p->rule != WTL_RESIZE_NONE && (p->resize < larger || p->resize > WTL_LARGEST_SIDE)) {
        return wtl_fail(err, WTL_E_ARG,
                        "preprocess: a resize to %d pixels for an input of %d x %d", p->resize,
                        p->height, p->width);
    }
    return check_numbers(p, err);
}

void wtl_normalise_prepare(wtl_normalise_table *table, const wtl_preprocess *p)
{
    for (int c = 0; c < p->channels; c++) {
        for (int i = 0; i < 256; i++) {
            table->value[c][i] = ((float)i * p->scale - p->mean[c]) / p->deviation[c];
        }
    }
}

void wtl_normalise(const wtl_normalise_table *table, const wtl_preprocess *p,
                   const wtl_image *picture, float *out)
{
    size_t count = (size_t)picture->width * (size_t)picture->height;
    int step = picture->channels;
    for (int c = 0; c < p->channels; c++) {
        int from = step == 1 ? 0 : p->order == WTL_ORDER_BGR ? 2 - c : c;
        const unsigned char *pixel = picture->pixels + from;
        const float *value = table->value[c];
        for (size_t i = 0; i < count; i++, pixel += step) {
            *out++ = value[*pixel];
        }
    }
}

void wtl_workspace_clear(wtl_workspace *space)
{
    wtl_image_clear(&space->resized);
    wtl_image_clear(&space->framed);
    wtl_resize_space_clear(&space->resize);
}

/* The short side to `resize`; the long one in proportion, rounded down as torchvision does. */
static wtl_status resize_short(const wtl_preprocess *p, wtl_view from, wtl_workspace *space,
                               wtl_error *err)
{
    int shorter = from.width < from.height ? from.width : from.height;
    int longer = from.width < from.height ? from.height : from.width;
    int64_t new_longer = (int64_t)p->resize * longer / shorter;
    if (new_longer > WTL_LARGEST_SIDE) {
        return wtl_fail(err, WTL_E_RANGE,
                        "%d x %d pixels is too narrow: with the short side at %d the long one "
                        "would be over %d",
                        from.width, from.height, p->resize, WTL_LARGEST_SIDE);
    }
    int width = from.width <= from.height ? p->resize : (int)new_longer;
    int height = from.width <= from.height ? (int)new_longer : p->resize;
    wtl_status status =
        wtl_resize_antialiased(&space->resized, from, width, height, &space->resize);
    return status == WTL_OK ? WTL_OK : wtl_fail(err, status, "out of memory to resize");
}

wtl_status wtl_apply_resize_rule(wtl_view *out, const wtl_preprocess *p, const wtl_image *image,
                                 wtl_workspace *space, wtl_error *err)
{
    *out = wtl_view_of(image);
    int shorter = image->width < image->height ? image->width : image->height;
    bool fits = p->rule == WTL_RESIZE_NONE ||
                (p->rule == WTL_RESIZE_SHORT && shorter == p->resize) ||
                (image->width == p->resize && image->height == p->resize);
    if (fits) {
        return WTL_OK;
    }
    wtl_status status;
    if (p->rule == WTL_RESIZE_SHORT) {
        status = resize_short(p, *out, space, err);
    } else {
        status =
            wtl_resize_bilinear(&space->resized, *out, p->resize, p->resize, &space->resize);
        if (status != WTL_OK) {
            (void)wtl_fail(err, status, "out of memory to resize");
        }
    }
    if (status == WTL_OK) {
        *out = wtl_view_of(&space->resized);
    }
    return status;
}

/* Half of `excess`; torchvision rounds halves to even, Caffe down. */
static int centre_offset(int excess, wtl_resize_rule rule)
{
    int half = excess / 2;
    return rule == WTL_RESIZE_SHORT && excess % 2 == 1 ? half + half % 2 : half;
}

wtl_status wtl_centre_crop(wtl_view *out, const wtl_preprocess *p, wtl_view from,
                           wtl_error *err)
{
    if (from.width < p->width || from.height < p->height) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "a picture of %d x %d pixels (width x height), the network takes %d x "
                        "%d and resizes nothing",
                        from.width, from.height, p->width, p->height);
    }
    *out = wtl_view_part(from, centre_offset(from.width - p->width, p->rule),
                         centre_offset(from.height - p->height, p->rule), p->width, p->height);
    return WTL_OK;
}

/* ITU-R 601-2 luma in 16-bit fixed point, as Pillow's convert("L"). */
static unsigned char luma(const unsigned char *rgb)
{
    return (unsigned char)((rgb[0] * 19595u + rgb[1] * 38470u + rgb[2] * 7471u + 0x8000u) >>
                           16);
}

static void put_row(unsigned char *to, int to_channels, const unsigned char *from,
                    int from_channels, int count, bool flip)
{
    int step = flip ? -to_channels : to_channels;
    to += flip ? (ptrdiff_t)(count - 1) * to_channels : 0;
    for (int x = 0; x < count; x++, to += step, from += from_channels) {
        if (to_channels == from_channels) {
            for (int c = 0; c < to_channels; c++) {
                to[c] = from[c];
            }
        } else {
            *to = luma(from);
        }
    }
}

wtl_status wtl_frame(const wtl_preprocess *p, wtl_view from, int dx, int dy, bool flip,
                     wtl_workspace *space)
{
    wtl_image *framed = &space->framed;
    int channels = from.channels < p->channels ? from.channels : p->channels;
    if (wtl_image_resize(framed, p->width, p->height, channels) != WTL_OK) {
        return WTL_E_NOMEM;
    }
    int left = dx > 0 ? dx : 0, right = p->width + (dx < 0 ? dx : 0); /* of what is seen */
    size_t row_bytes = (size_t)p->width * (size_t)channels;
    if (dx != 0 || dy != 0) {
        memset(framed->pixels, 0, row_bytes * (size_t)p->height);
    }
    int first = flip ? p->width - right : left;
    for (int y = 0; y < p->height && left < right; y++) {
        if (y - dy < 0 || y - dy >= p->height) {
            continue;
        }
        put_row(framed->pixels + (size_t)y * row_bytes + (size_t)first * (size_t)channels,
                channels,
                from.pixels + (size_t)(y - dy) * from.row_bytes +
                    (size_t)(left - dx) * (size_t)from.channels,
                from.channels, right - left, flip);
    }
    return WTL_OK;
}

wtl_status wtl_preprocess_image(const wtl_preprocess *preprocess, const wtl_image *image,
                                float *out, wtl_error *err)
{
    static const wtl_augment none = {0};
    wtl_status status = wtl_preprocess_check(preprocess, err);
    if (status != WTL_OK) {
        return status;
    }
    wtl_normalise_table *table = wtl_alloc(1, sizeof *table);
    if (!table) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for an image");
    }
    wtl_normalise_prepare(table, preprocess);
    wtl_workspace space = {0};
    status = wtl_prepare_image(preprocess, table, &none, NULL, image, &space, out, err);
    wtl_workspace_clear(&space);
    wtl_free(table);
    return status;
}
