/* augment.c - random changes to training pictures: crop, flip, jitter, normalise, cutout.
 *
 * All random numbers of a picture come from its own stream, drawn in this order and only for
 * the steps that are asked for.
 */
#include "pipeline.h"

#include <math.h>
#include <string.h>

bool wtl_augment_preset(const char *name, wtl_augment *augment)
{
    static const struct {
        const char *name;
        wtl_augment augment;
    } presets[] = {
        {"none", {0}},
        {"flip", {.flip = true}},
        {"cifar", {.flip = true, .pad = 4}},
        {"imagenet", {.flip = true, .resized_crop = true}},
        {"caffe", {.flip = true, .random_crop = true}},
    };
    for (size_t i = 0; i < sizeof presets / sizeof presets[0]; i++) {
        if (strcmp(name, presets[i].name) == 0) {
            *augment = presets[i].augment;
            return true;
        }
    }
    return false;
}

wtl_status wtl_augment_check(const wtl_augment *a, wtl_error *err)
{
    enum { LARGEST = 16384 };
    if ((a->pad != 0) + a->resized_crop + a->random_crop > 1) {
        return wtl_fail(err, WTL_E_ARG,
                        "augment: only one of pad, resized crop and random crop can be chosen");
    }
    if (a->pad < 0 || a->pad > LARGEST || a->cutout < 0 || a->cutout > LARGEST) {
        return wtl_fail(err, WTL_E_ARG, "augment: pad %d, cutout %d: not inside 0..%d", a->pad,
                        a->cutout, LARGEST);
    }
    if (!(a->least_area >= 0.0 && a->least_area <= 1.0)) {
        return wtl_fail(err, WTL_E_ARG, "augment: a least area of %g, not inside 0..1",
                        a->least_area);
    }
    const float jitter[] = {a->brightness, a->contrast, a->saturation};
    for (int i = 0; i < 3; i++) {
        if (!(jitter[i] >= 0.0f && jitter[i] <= 1.0f)) {
            return wtl_fail(err, WTL_E_ARG, "augment: a jitter of %g, not inside 0..1",
                            (double)jitter[i]);
        }
    }
    return WTL_OK;
}

static double uniform_between(wtl_rng *rng, double low, double high)
{
    return low + (high - low) * (double)wtl_rng_uniform(rng);
}

wtl_view wtl_random_area(wtl_view whole, double least_area, wtl_rng *rng)
{
    enum { TRIES = 10 };
    const double least_aspect = 3.0 / 4.0, most_aspect = 4.0 / 3.0;
    double area = (double)whole.width * whole.height;
    for (int i = 0; i < TRIES; i++) {
        double share = uniform_between(rng, least_area > 0.0 ? least_area : 0.08, 1.0);
        double aspect = exp(uniform_between(rng, log(least_aspect), log(most_aspect)));
        double width = nearbyint(sqrt(area * share * aspect));
        double height = nearbyint(sqrt(area * share / aspect));
        if (width >= 1 && width <= whole.width && height >= 1 && height <= whole.height) {
            int w = (int)width, h = (int)height;
            int top = (int)wtl_rng_below(rng, (uint32_t)(whole.height - h + 1));
            int left = (int)wtl_rng_below(rng, (uint32_t)(whole.width - w + 1));
            return wtl_view_part(whole, left, top, w, h);
        }
    }
    /* As torchvision: all of it, cut in the centre to the nearest aspect allowed. */
    int w = whole.width, h = whole.height;
    if ((double)w / h < least_aspect) {
        h = (int)nearbyint(w / least_aspect);
    } else if ((double)w / h > most_aspect) {
        w = (int)nearbyint(h * most_aspect);
    }
    w = w < 1 ? 1 : w;
    h = h < 1 ? 1 : h;
    return wtl_view_part(whole, (whole.width - w) / 2, (whole.height - h) / 2, w, h);
}

static unsigned char blend(double from, double to, double share)
{
    double value = from + (to - from) * share;
    return (unsigned char)(value <= 0.0 ? 0 : value >= 255.0 ? 255 : (int)(value + 0.5));
}

static double gray_of(const unsigned char *pixel, int channels)
{
    return channels == 1 ? pixel[0] : 0.299 * pixel[0] + 0.587 * pixel[1] + 0.114 * pixel[2];
}

static double mean_gray(const wtl_image *picture)
{
    size_t count = (size_t)picture->width * (size_t)picture->height;
    double sum = 0.0;
    for (size_t i = 0; i < count; i++) {
        sum += gray_of(picture->pixels + i * (size_t)picture->channels, picture->channels);
    }
    return sum / (double)count;
}

/* Each pixel goes from its reference (black, the mean gray, its own gray) by `factor`. */
static void blend_all(wtl_image *picture, double factor, bool own_gray, double reference)
{
    size_t count = (size_t)picture->width * (size_t)picture->height;
    int channels = picture->channels;
    for (size_t i = 0; i < count; i++) {
        unsigned char *pixel = picture->pixels + i * (size_t)channels;
        double from = own_gray ? gray_of(pixel, channels) : reference;
        for (int c = 0; c < channels; c++) {
            pixel[c] = blend(from, pixel[c], factor);
        }
    }
}

void wtl_jitter(wtl_image *picture, const wtl_augment *a, wtl_rng *rng)
{
    if (a->brightness > 0.0f) {
        double factor = uniform_between(rng, 1.0 - a->brightness, 1.0 + a->brightness);
        blend_all(picture, factor, false, 0.0);
    }
    if (a->contrast > 0.0f) {
        double factor = uniform_between(rng, 1.0 - a->contrast, 1.0 + a->contrast);
        blend_all(picture, factor, false, mean_gray(picture));
    }
    if (a->saturation > 0.0f) {
        double factor = uniform_between(rng, 1.0 - a->saturation, 1.0 + a->saturation);
        blend_all(picture, factor, true, 0.0);
    }
}

void wtl_cutout(float *image, int channels, int height, int width, int side, wtl_rng *rng)
{
    int top = (int)wtl_rng_below(rng, (uint32_t)height) - side / 2;
    int left = (int)wtl_rng_below(rng, (uint32_t)width) - side / 2;
    int bottom = top + side < height ? top + side : height;
    int right = left + side < width ? left + side : width;
    top = top < 0 ? 0 : top;
    left = left < 0 ? 0 : left;
    for (int c = 0; c < channels; c++) {
        for (int y = top; y < bottom; y++) {
            float *row = image + ((size_t)c * (size_t)height + (size_t)y) * (size_t)width;
            for (int x = left; x < right; x++) {
                row[x] = 0.0f; /* the mean, after normalising */
            }
        }
    }
}

/* *window := the rectangle of the network's size that is cut out, before any shift. */
static wtl_status choose_window(wtl_view *window, const wtl_preprocess *p, const wtl_augment *a,
                                wtl_rng *rng, const wtl_image *image, wtl_workspace *space,
                                wtl_error *err)
{
    if (a->resized_crop) {
        wtl_view area = wtl_random_area(wtl_view_of(image), a->least_area, rng);
        if (wtl_resize_antialiased(&space->resized, area, p->width, p->height,
                                   &space->resize) != WTL_OK) {
            return wtl_fail(err, WTL_E_NOMEM, "out of memory to resize");
        }
        *window = wtl_view_of(&space->resized);
        return WTL_OK;
    }
    wtl_view whole;
    wtl_status status = wtl_apply_resize_rule(&whole, p, image, space, err);
    if (status == WTL_OK) {
        status = wtl_centre_crop(window, p, whole, err);
    }
    if (status == WTL_OK && a->random_crop) {
        int top = (int)wtl_rng_below(rng, (uint32_t)(whole.height - p->height + 1));
        int left = (int)wtl_rng_below(rng, (uint32_t)(whole.width - p->width + 1));
        *window = wtl_view_part(whole, left, top, p->width, p->height);
    }
    return status;
}

wtl_status wtl_prepare_image(const wtl_preprocess *p, const wtl_normalise_table *table,
                             const wtl_augment *a, wtl_rng *rng, const wtl_image *image,
                             wtl_workspace *space, float *out, wtl_error *err)
{
    wtl_view window;
    wtl_status status = choose_window(&window, p, a, rng, image, space, err);
    if (status != WTL_OK) {
        return status;
    }
    int dx = 0, dy = 0;
    if (a->pad > 0) {
        dy = (int)wtl_rng_below(rng, 2 * (uint32_t)a->pad + 1) - a->pad;
        dx = (int)wtl_rng_below(rng, 2 * (uint32_t)a->pad + 1) - a->pad;
    }
    bool flip = a->flip && wtl_rng_below(rng, 2) == 1;
    if (wtl_frame(p, window, dx, dy, flip, space) != WTL_OK) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for an image");
    }
    wtl_jitter(&space->framed, a, rng);
    wtl_normalise(table, p, &space->framed, out);
    if (a->cutout > 0) {
        wtl_cutout(out, p->channels, p->height, p->width, a->cutout, rng);
    }
    return WTL_OK;
}
