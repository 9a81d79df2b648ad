/* resize.c - the two bilinear resizings that published networks were trained with.
 *
 * Both are separable. With scale = old/new and centre(x) = (x + 1/2) * scale:
 *
 *   antialiased   out[x] = sum over i of f((i + 1/2 - centre(x)) / s) * in[i] / sum of f
 *                 f(t) = max(0, 1 - |t|),  s = max(1, scale)
 *   plain         out[x] = (1 - t) * in[j] + t * in[j+1],  j + t = centre(x) - 1/2
 *
 * The antialiased one follows Pillow's arithmetic: weights in fixed point with 22 bits,
 * width first, rounded to bytes in between.
 */
#include "pipeline.h"

#include "wattle/memory.h"

#include <math.h>
#include <string.h>

enum { WEIGHT_BITS = 22 };

/* One output position: the sum of count weights times in[first...]. */
typedef struct tap {
    int first, count;
} tap;

typedef struct filter {
    tap *taps;        /* [size] */
    int32_t *weights; /* [size, most] */
    int most;         /* weights a position can have */
} filter;

void wtl_resize_space_clear(wtl_resize_space *space)
{
    wtl_free(space->table);
    wtl_image_clear(&space->half);
    *space = (wtl_resize_space){0};
}

static wtl_status reserve(wtl_resize_space *space, size_t bytes)
{
    if (bytes > space->table_bytes) {
        void *table = wtl_alloc(bytes, 1);
        if (!table) {
            return WTL_E_NOMEM;
        }
        wtl_free(space->table);
        space->table = table;
        space->table_bytes = bytes;
    }
    return WTL_OK;
}

static int32_t fixed_point(double weight)
{
    return (int32_t)(weight * (1 << WEIGHT_BITS) + (weight < 0 ? -0.5 : 0.5));
}

static void fill_triangle(int32_t *weights, tap *t, int x, double scale, int old_size)
{
    double reach = scale > 1.0 ? scale : 1.0;
    double centre = (x + 0.5) * scale, narrow = 1.0 / reach, sum = 0.0;
    int first = (int)(centre - reach + 0.5), last = (int)(centre + reach + 0.5);
    first = first < 0 ? 0 : first;
    last = last > old_size ? old_size : last;
    for (int i = first; i < last; i++) {
        sum += fmax(0.0, 1.0 - fabs((i - centre + 0.5) * narrow));
    }
    for (int i = first; i < last; i++) {
        double weight = fmax(0.0, 1.0 - fabs((i - centre + 0.5) * narrow));
        weights[i - first] = fixed_point(sum > 0.0 ? weight / sum : weight);
    }
    t->first = first;
    t->count = last - first;
}

static void fill_pair(int32_t *weights, tap *t, int x, double scale, int old_size)
{
    double place = (x + 0.5) * scale - 0.5;
    place = place < 0.0 ? 0.0 : place > old_size - 1 ? old_size - 1 : place;
    t->first = (int)place;
    t->count = t->first + 1 < old_size ? 2 : 1;
    double right = t->count == 2 ? place - t->first : 0.0;
    weights[0] = (1 << WEIGHT_BITS) - fixed_point(right);
    if (t->count == 2) {
        weights[1] = fixed_point(right);
    }
}

static wtl_status make_filter(filter *f, int old_size, int new_size, bool antialiased,
                              wtl_resize_space *space)
{
    double scale = (double)old_size / new_size;
    f->most = antialiased ? (int)ceil(scale > 1.0 ? scale : 1.0) * 2 + 1 : 2;
    size_t taps_bytes = (size_t)new_size * sizeof(tap);
    wtl_status status =
        reserve(space, taps_bytes + (size_t)new_size * (size_t)f->most * sizeof f->weights[0]);
    if (status != WTL_OK) {
        return status;
    }
    f->taps = space->table;
    f->weights = (int32_t *)(f->taps + new_size);
    for (int x = 0; x < new_size; x++) {
        int32_t *weights = f->weights + (size_t)x * (size_t)f->most;
        if (antialiased) {
            fill_triangle(weights, &f->taps[x], x, scale, old_size);
        } else {
            fill_pair(weights, &f->taps[x], x, scale, old_size);
        }
    }
    return WTL_OK;
}

/* The weights of a position add up to one within rounding, so sums of bytes fit. */
static unsigned char to_byte(int32_t sum)
{
    int32_t value = sum >> WEIGHT_BITS;
    return (unsigned char)(value < 0 ? 0 : value > 255 ? 255 : value);
}

static void resize_row(unsigned char *to, const unsigned char *from, const filter *f, int width,
                       int channels)
{
    for (int x = 0; x < width; x++) {
        const int32_t *weights = f->weights + (size_t)x * (size_t)f->most;
        const unsigned char *first = from + (size_t)f->taps[x].first * (size_t)channels;
        for (int c = 0; c < channels; c++) {
            int32_t sum = 1 << (WEIGHT_BITS - 1);
            for (int i = 0; i < f->taps[x].count; i++) {
                sum += weights[i] * first[i * channels + c];
            }
            *to++ = to_byte(sum);
        }
    }
}

static void resize_column_row(unsigned char *to, wtl_view from, const tap *t,
                              const int32_t *weights)
{
    size_t count = (size_t)from.width * (size_t)from.channels;
    const unsigned char *first = from.pixels + (size_t)t->first * from.row_bytes;
    for (size_t x = 0; x < count; x++) {
        int32_t sum = 1 << (WEIGHT_BITS - 1);
        for (int i = 0; i < t->count; i++) {
            sum += weights[i] * first[(size_t)i * from.row_bytes + x];
        }
        to[x] = to_byte(sum);
    }
}

static wtl_status resize_width(wtl_image *out, wtl_view from, int width, bool antialiased,
                               wtl_resize_space *space)
{
    filter f;
    wtl_status status = wtl_image_resize(out, width, from.height, from.channels);
    if (status == WTL_OK) {
        status = make_filter(&f, from.width, width, antialiased, space);
    }
    size_t row_bytes = (size_t)width * (size_t)from.channels;
    for (int y = 0; status == WTL_OK && y < from.height; y++) {
        resize_row(out->pixels + (size_t)y * row_bytes,
                   from.pixels + (size_t)y * from.row_bytes, &f, width, from.channels);
    }
    return status;
}

static wtl_status resize_height(wtl_image *out, wtl_view from, int height, bool antialiased,
                                wtl_resize_space *space)
{
    filter f;
    wtl_status status = wtl_image_resize(out, from.width, height, from.channels);
    if (status == WTL_OK) {
        status = make_filter(&f, from.height, height, antialiased, space);
    }
    size_t row_bytes = (size_t)from.width * (size_t)from.channels;
    for (int y = 0; status == WTL_OK && y < height; y++) {
        resize_column_row(out->pixels + (size_t)y * row_bytes, from, &f.taps[y],
                          f.weights + (size_t)y * (size_t)f.most);
    }
    return status;
}

static wtl_status copy(wtl_image *out, wtl_view from)
{
    wtl_status status = wtl_image_resize(out, from.width, from.height, from.channels);
    size_t row_bytes = (size_t)from.width * (size_t)from.channels;
    for (int y = 0; status == WTL_OK && y < from.height; y++) {
        memcpy(out->pixels + (size_t)y * row_bytes, from.pixels + (size_t)y * from.row_bytes,
               row_bytes);
    }
    return status;
}

static wtl_status resize(wtl_image *out, wtl_view from, int width, int height, bool antialiased,
                         wtl_resize_space *space)
{
    if (width == from.width && height == from.height) {
        return copy(out, from);
    }
    if (height == from.height) {
        return resize_width(out, from, width, antialiased, space);
    }
    if (width != from.width) {
        wtl_status status = resize_width(&space->half, from, width, antialiased, space);
        if (status != WTL_OK) {
            return status;
        }
        from = wtl_view_of(&space->half);
    }
    return resize_height(out, from, height, antialiased, space);
}

wtl_status wtl_resize_antialiased(wtl_image *out, wtl_view from, int width, int height,
                                  wtl_resize_space *space)
{
    return resize(out, from, width, height, true, space);
}

wtl_status wtl_resize_bilinear(wtl_image *out, wtl_view from, int width, int height,
                               wtl_resize_space *space)
{
    return resize(out, from, width, height, false, space);
}
