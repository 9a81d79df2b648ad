/* pipeline.h - from a decoded picture to the network's input, private to this folder.
 *
 *   picture -> resize -> crop -> flip -> jitter -> normalise -> cutout -> float [C,H,W]
 *
 * Bytes until normalising; each step is a function of its own file.
 */
#ifndef WTL_PIPELINE_H
#define WTL_PIPELINE_H

#include "wattle/batcher.h"
#include "wattle/rng.h"

/* A rectangle inside a picture, without copying. */
typedef struct wtl_view {
    const unsigned char *pixels; /* top left */
    size_t row_bytes;            /* from a row to the next */
    int width, height, channels;
} wtl_view;

static inline wtl_view wtl_view_of(const wtl_image *image)
{
    return (wtl_view){image->pixels, (size_t)image->width * (size_t)image->channels,
                      image->width, image->height, image->channels};
}

static inline wtl_view wtl_view_part(wtl_view whole, int left, int top, int width, int height)
{
    whole.pixels += (size_t)top * whole.row_bytes + (size_t)left * (size_t)whole.channels;
    whole.width = width;
    whole.height = height;
    return whole;
}

/* Resizing (resize.c). */

typedef struct wtl_resize_space {
    void *table; /* filter weights */
    size_t table_bytes;
    wtl_image half; /* resized in width, not yet in height */
} wtl_resize_space;

void wtl_resize_space_clear(wtl_resize_space *space);

/* Bilinear with a triangle filter as wide as the reduction: what Pillow's
 * Image.resize(BILINEAR) gives, bit for bit, and so torchvision on pictures. WTL_E_NOMEM. */
wtl_status wtl_resize_antialiased(wtl_image *out, wtl_view from, int width, int height,
                                  wtl_resize_space *space) WTL_MUST_CHECK;

/* Bilinear between the four nearest pixels whatever the reduction: what OpenCV's
 * INTER_LINEAR and so Caffe's tools give, within one level. WTL_E_NOMEM. */
wtl_status wtl_resize_bilinear(wtl_image *out, wtl_view from, int width, int height,
                               wtl_resize_space *space) WTL_MUST_CHECK;

/* Preprocessing (preprocess.c). */

/* Which statuses of a picture mean "this one cannot be used", not "stop". */
bool wtl_is_unreadable(wtl_status status);

/* WTL_E_ARG when the numbers make no sense. */
wtl_status wtl_preprocess_check(const wtl_preprocess *preprocess,
                                wtl_error *err) WTL_MUST_CHECK;

/* value[c][byte]: normalisation as a table. */
typedef struct wtl_normalise_table {
    float value[WTL_MAX_IMAGE_CHANNELS][256];
} wtl_normalise_table;

void wtl_normalise_prepare(wtl_normalise_table *table, const wtl_preprocess *preprocess);

/* picture [H,W,1 or 3] -> out [channels,H,W]; gray fills all channels of the network. */
void wtl_normalise(const wtl_normalise_table *table, const wtl_preprocess *preprocess,
                   const wtl_image *picture, float *out);

/* What one thread needs to prepare pictures; start from {0}. */
typedef struct wtl_workspace {
    wtl_image resized, framed;
    wtl_resize_space resize;
} wtl_workspace;

void wtl_workspace_clear(wtl_workspace *space);

/* By the rule of `preprocess`, before the crop. *out is a view of *image or of the
 * workspace. WTL_E_NOMEM, WTL_E_RANGE. */
wtl_status wtl_apply_resize_rule(wtl_view *out, const wtl_preprocess *preprocess,
                                 const wtl_image *image, wtl_workspace *space,
                                 wtl_error *err) WTL_MUST_CHECK;

/* The rectangle of the network's size in the centre. WTL_E_SHAPE when `from` is smaller. */
wtl_status wtl_centre_crop(wtl_view *out, const wtl_preprocess *preprocess, wtl_view from,
                           wtl_error *err) WTL_MUST_CHECK;

/* space->framed := `from` moved right and down by (dx, dy) with zeros around, mirrored if
 * `flip`; in gray when the network takes one channel. WTL_E_NOMEM. */
wtl_status wtl_frame(const wtl_preprocess *preprocess, wtl_view from, int dx, int dy, bool flip,
                     wtl_workspace *space) WTL_MUST_CHECK;

/* Augmentation (augment.c). */

/* WTL_E_ARG when options contradict each other or make no sense. */
wtl_status wtl_augment_check(const wtl_augment *augment, wtl_error *err) WTL_MUST_CHECK;

/* The whole way, with random numbers from `rng`; augment all zero: none are drawn and the
 * result is that of wtl_preprocess_image(). WTL_E_NOMEM, WTL_E_RANGE, WTL_E_SHAPE. */
wtl_status wtl_prepare_image(const wtl_preprocess *preprocess, const wtl_normalise_table *table,
                             const wtl_augment *augment, wtl_rng *rng, const wtl_image *image,
                             wtl_workspace *space, float *out, wtl_error *err) WTL_MUST_CHECK;

/* The steps that draw random numbers, apart for tests. */
void wtl_jitter(wtl_image *picture, const wtl_augment *augment, wtl_rng *rng);
void wtl_cutout(float *image, int channels, int height, int width, int side, wtl_rng *rng);
/* RandomResizedCrop's rectangle in a picture of this size. */
wtl_view wtl_random_area(wtl_view whole, double least_area, wtl_rng *rng);

#endif
