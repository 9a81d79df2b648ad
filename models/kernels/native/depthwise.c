/* depthwise.c - see depthwise.h.
 *
 * All is made of sums over a grid of taps. The outputs fall into rectangles that have the same
 * taps in the map: one large one, which has all, and those along its edges; so nothing is
 * looked at within a rectangle. The gradient of x is such a sum over dy, one for each phase of
 * the strides. */
#include "depthwise.h"
#include "block.h"

#include <stdbool.h>

/* Along one axis, tap t of output o is input first + o*step + t*tap_step; tap_step >= 1. */
typedef struct axis {
    int outputs, inputs, taps;
    int first, step, tap_step;
} axis;

/* Outputs begin .. end-1, of which the taps first_tap .. first_tap+taps-1 are in the map. */
typedef struct run {
    int begin, end;
    int first_tap, taps;
} run;

static int up(long a, int b) /* a/b, rounded up, at least 0 */
{
    if (a <= 0) {
        return 0;
    }
    return b == 1 ? (int)a : (int)((a + b - 1) / b);
}

static run one_output(const axis *a, int output)
{
    long base = a->first + (long)output * a->step;
    int first = up(-base, a->tap_step), end = up(a->inputs - base, a->tap_step);
    end = end < a->taps ? end : a->taps;
    return (run){output, output + 1, first, end > first ? end - first : 0};
}

/* All outputs of which all taps are in the map. */
static run inside_of(const axis *a)
{
    long last = a->inputs - 1 - (long)(a->taps - 1) * a->tap_step - a->first;
    run all = {up(-(long)a->first, a->step), up(last + 1, a->step), 0, a->taps};
    all.end = all.end < a->outputs ? all.end : a->outputs;
    all.begin = all.begin < all.end ? all.begin : all.end;
    return all;
}

/* The run that begins with an output, no longer than `most`. */
static run run_from(const axis *a, const run *inside, int output, int most)
{
    if (output < inside->begin || output >= inside->end) {
        return one_output(a, output);
    }
    run part = *inside;
    part.begin = output;
    part.end = inside->end - output < most ? inside->end : output + most;
    return part;
}

/* The input of a run's first output and tap; 0 if it has none. */
static long input_of(const axis *a, const run *r)
{
    return r->taps ? a->first + (long)r->begin * a->step + (long)r->first_tap * a->tap_step : 0;
}

/* Rows of taps whose inputs the outputs above have not read. */
static int fresh_rows(const axis *rows, const run *r)
{
    int fresh = rows->step < rows->tap_step ? 1 : rows->step / rows->tap_step;
    return fresh < r->taps ? fresh : r->taps;
}

enum { BAND = 16 }; /* rows of a rectangle: its edges come while its inside is in the cache */

/* ---- sums ---- */

enum { WIDE = 8 }; /* outputs at once */

/* Distances in floats. */
typedef struct grid {
    int rows, cols; /* taps */
    long x_row, x_col, w_row, w_col;
    long x_step, y_step; /* between outputs */
    int fresh; /* rows of taps whose inputs no output above has read; 0: of a column */
    wtl_activation activation;
} grid;

/* What comes this much later is fetched now: the processor does not follow several rows of x
 * and one of y by itself. Maps follow each other in memory, so beyond a row and a map, too,
 * lies what is wanted next. */
enum { AHEAD = 64 * WTL_BLOCK };

WTL_INLINE void fetch(const float *x, int lines)
{
    for (int i = 0; i < lines; i++) {
        __builtin_prefetch(x + AHEAD + i * WTL_BLOCK);
    }
}

WTL_INLINE void fetch_to_write(const float *y, int lines)
{
    for (int i = 0; i < lines; i++) {
        __builtin_prefetch(y + AHEAD + i * WTL_BLOCK, 1);
    }
}

/* `width` outputs in LANES channels: x is of the first tap of the first output. */
WTL_INLINE void sum_tile(const grid *g, int width, int rows, int cols, long x_step,
                         const float *x, const float *w, vec start, float *y)
{
    vec sum[WIDE];
    UNROLL for (int i = 0; i < width; i++)
    {
        sum[i] = start;
    }
    for (int r = 0; r < rows; r++) {
        for (int s = 0; s < cols; s++) {
            const float *at = x + r * g->x_row + s * g->x_col;
            vec weight = vec_load(w + r * g->w_row + s * g->w_col);
            UNROLL for (int i = 0; i < width; i++)
            {
                sum[i] = vec_fma(vec_load(at + i * x_step), weight, sum[i]);
            }
        }
    }
    UNROLL for (int i = 0; i < width; i++)
    {
        vec_store(y + i * g->y_step, vec_activated(sum[i], g->activation));
    }
}

WTL_INLINE void fetch_tile(const grid *g, int width, int rows, long x_step, const float *x,
                           const float *y)
{
    for (int r = 1; r <= g->fresh; r++) {
        fetch(x + (rows - r) * g->x_row, width * (int)(x_step / WTL_BLOCK));
    }
    if (g->fresh > 0) {
        fetch_to_write(y, width);
    }
}

#define REST(width)                                                                            \
    case width:                                                                                \
        sum_tile(g, width, rows, cols, x_step, x, w, start, y);                                \
        break

/* `count` outputs in LANES channels. */
WTL_INLINE void sum_lanes(const grid *g, int count, int rows, int cols, long x_step,
                          const float *x, const float *w, vec start, float *y)
{
    for (; count >= WIDE; count -= WIDE, x += WIDE * x_step, y += WIDE * g->y_step) {
        fetch_tile(g, WIDE, rows, x_step, x, y);
        sum_tile(g, WIDE, rows, cols, x_step, x, w, start, y);
    }
    fetch_tile(g, count, rows, x_step, x, y);
    switch (count) {
        REST(1);
        REST(2);
        REST(3);
        REST(4);
        REST(5);
        REST(6);
        REST(7);
    default:
        break;
    }
}

/* `lines` times `count` outputs. */
WTL_INLINE void sum_lines(const grid *g, int lines, int count, long x_line, long y_line,
                          int rows, int cols, long x_step, const float *x, const float *w,
                          const float *b, float *y)
{
    for (int line = 0; line < lines; line++, x += x_line, y += y_line) {
        for (int v = 0; v < WTL_BLOCK; v += LANES) {
            sum_lanes(g, count, rows, cols, x_step, x + v, w + v, vec_load(b + v), y + v);
        }
    }
}

static void sum_rectangle(const grid *g, int lines, int count, long x_line, long y_line,
                          const float *x, const float *w, const float *b, float *y)
{
    if (g->rows == 3 && g->cols == 3 && g->x_step == WTL_BLOCK) { /* the usual ones */
        sum_lines(g, lines, count, x_line, y_line, 3, 3, WTL_BLOCK, x, w, b, y);
    } else if (g->rows == 3 && g->cols == 3 && g->x_step == 2 * WTL_BLOCK) {
        sum_lines(g, lines, count, x_line, y_line, 3, 3, 2 * WTL_BLOCK, x, w, b, y);
    } else {
        sum_lines(g, lines, count, x_line, y_line, g->rows, g->cols, g->x_step, x, w, b, y);
    }
}

/* A map to sum up: outputs are y_row and y_col floats apart, weights w_row and w_col. */
typedef struct plane {
    axis rows, cols;
    const float *x, *w, *b;
    long w_row, w_col, y_row, y_col;
    float *y;
    wtl_activation activation;
} plane;

static void sum_runs(const plane *m, const run *rows, const run *cols)
{
    const long width = (long)m->cols.inputs * WTL_BLOCK;
    const long x_row = m->rows.step * width, x_col = (long)m->cols.step * WTL_BLOCK;
    grid g = {.rows = rows->taps,
              .cols = cols->taps,
              .x_row = m->rows.tap_step * width,
              .x_col = (long)m->cols.tap_step * WTL_BLOCK,
              .w_row = m->w_row,
              .w_col = m->w_col,
              .activation = m->activation};
    const float *x =
        m->x + input_of(&m->rows, rows) * width + input_of(&m->cols, cols) * WTL_BLOCK;
    const float *w = m->w + rows->first_tap * m->w_row + cols->first_tap * m->w_col;
    float *y = m->y + rows->begin * m->y_row + cols->begin * m->y_col;
    int high = rows->end - rows->begin, wide = cols->end - cols->begin;
    if (wide > 1) {
        g.fresh = fresh_rows(&m->rows, rows);
        g.x_step = x_col;
        g.y_step = m->y_col;
        sum_rectangle(&g, high, wide, x_row, m->y_row, x, w, m->b, y);
    } else { /* a column, downwards */
        g.x_step = x_row;
        g.y_step = m->y_row;
        sum_rectangle(&g, wide, high, x_col, m->y_col, x, w, m->b, y);
    }
}

/* The rows begin .. begin+BAND-1, as far as there are. */
static void sum_band(const plane *m, int begin)
{
    const run inside_rows = inside_of(&m->rows), inside = inside_of(&m->cols);
    int end = m->rows.outputs - begin < BAND ? m->rows.outputs : begin + BAND;
    run rows, cols;
    for (int p = begin; p < end; p = rows.end) {
        rows = run_from(&m->rows, &inside_rows, p, end - p);
        if (inside.end > inside.begin) {
            sum_runs(m, &rows, &inside);
        }
        for (int q = 0; q < m->cols.outputs; q++) {
            if (q >= inside.begin && q < inside.end) {
                q = inside.end - 1;
                continue;
            }
            cols = one_output(&m->cols, q);
            sum_runs(m, &rows, &cols);
        }
    }
}

static axis forward_axis(const wtl_conv_geometry *g, int which)
{
    return (axis){.outputs = which ? g->q : g->p,
                  .inputs = which ? g->w : g->h,
                  .taps = which ? g->s : g->r,
                  .first = -g->pad[2 * which],
                  .step = g->stride[which],
                  .tap_step = g->dilation[which]};
}

static void forward(const wtl_conv_geometry *g, const float *x, const float *w, const float *b,
                    wtl_activation activation, float *y)
{
    plane m = {.rows = forward_axis(g, 0),
               .cols = forward_axis(g, 1),
               .x = x,
               .w = w,
               .b = b,
               .w_row = (long)g->s * WTL_BLOCK,
               .w_col = WTL_BLOCK,
               .y_row = (long)g->q * WTL_BLOCK,
               .y_col = WTL_BLOCK,
               .y = y,
               .activation = activation};
    for (int p = 0; p < g->p; p += BAND) {
        sum_band(&m, p);
    }
}

/* ---- gradient of x ---- */

/* Along one axis, every stride-th value of dx from `phase` on reads the taps last,
 * last - tap_back, ... of the filter, the last first, so that dy is read forwards. */
typedef struct phase_axis {
    axis sum;
    int last, back;
} phase_axis;

/* dx[h] reads tap r from dy[(h + pad - r*dilation) / stride] where that divides. */
static phase_axis phase_of(const wtl_conv_geometry *g, int which, int phase)
{
    int stride = g->stride[which], dilation = g->dilation[which];
    int size = which ? g->w : g->h, taps = which ? g->s : g->r;
    long base = (long)phase + g->pad[2 * which];
    phase_axis a = {.sum = {.outputs = up((long)size - phase, stride),
                            .inputs = which ? g->q : g->p,
                            .step = 1,
                            .tap_step = 1},
                    .back = 1};
    int first = -1, second = -1;
    for (int r = 0; r < taps && second < 0; r++) {
        if ((base - (long)r * dilation) % stride == 0) {
            *(first < 0 ? &first : &second) = r;
        }
    }
    a.last = first < 0 ? 0 : first;
    a.sum.taps = first >= 0; /* none: zeros */
    if (second >= 0) {
        a.back = second - first;
        a.sum.tap_step = (int)((long)a.back * dilation / stride);
        a.sum.taps = (taps - 1 - first) / a.back + 1;
        a.last = first + (a.sum.taps - 1) * a.back;
    }
    a.sum.first = (int)((base - (long)a.last * dilation) / stride);
    return a;
}

static plane data_plane(const wtl_conv_geometry *g, int row_phase, int column_phase,
                        const float *dy, const float *w, float *dx)
{
    static const float zeros[WTL_BLOCK];
    const phase_axis rows = phase_of(g, 0, row_phase), cols = phase_of(g, 1, column_phase);
    const long w_row = (long)g->s * WTL_BLOCK, width = (long)g->w * WTL_BLOCK;
    return (plane){.rows = rows.sum,
                   .cols = cols.sum,
                   .x = dy,
                   .w = w + rows.last * w_row + (long)cols.last * WTL_BLOCK,
                   .b = zeros,
                   .w_row = -rows.back * w_row,
                   .w_col = -(long)cols.back * WTL_BLOCK,
                   .y_row = g->stride[0] * width,
                   .y_col = (long)g->stride[1] * WTL_BLOCK,
                   .y = dx + row_phase * width + (long)column_phase * WTL_BLOCK};
}

/* Band by band, so that the phases of a cache line follow each other. */
static void data(const wtl_conv_geometry *g, const float *dy, const float *w, float *dx)
{
    for (long h = 0; h < g->h; h += (long)BAND * g->stride[0]) {
        int band = (int)(h / g->stride[0]);
        for (int i = 0; i < g->stride[0] && i < g->h - h; i++) {
            for (int j = 0; j < g->stride[1] && j < g->w; j++) {
                plane m = data_plane(g, i, j, dy, w, dx);
                sum_band(&m, band);
            }
        }
    }
}

/* ---- gradient of the weights ---- */

/* Some taps over `lines` times `count` outputs; distances in floats. */
typedef struct weighing {
    int lines, count;
    long x_line, dy_line, x_step, dy_step;
    long x_row, x_col, w_row; /* between taps */
    int fresh;                /* as of a grid */
} weighing;

enum { MOST_SUMS = 9 };

/* dw of rows x cols taps in LANES channels: x is of the first tap of the first output. */
WTL_INLINE void weigh(const weighing *g, int rows, int cols, const float *x, const float *dy,
                      float *dw)
{
    const weighing k = *g; /* vectors may be anywhere, so *g would be read again */
    vec sum[MOST_SUMS];
    UNROLL for (int t = 0; t < rows * cols; t++)
    {
        sum[t] = vec_load(dw + t / cols * k.w_row + t % cols * WTL_BLOCK);
    }
    for (int line = 0; line < k.lines; line++, x += k.x_line, dy += k.dy_line) {
        const float *from = x, *gradient = dy;
        for (int i = 0; i < k.count; i++, from += k.x_step, gradient += k.dy_step) {
            vec upstream = vec_load(gradient);
            for (int r = 1; r <= k.fresh; r++) {
                fetch(from + (rows - r) * k.x_row, 1);
            }
            fetch(gradient, 1);
            UNROLL for (int t = 0; t < rows * cols; t++)
            {
                const float *at = from + t / cols * k.x_row + t % cols * k.x_col;
                sum[t] = vec_fma(upstream, vec_load(at), sum[t]);
            }
        }
    }
    UNROLL for (int t = 0; t < rows * cols; t++)
    {
        vec_store(dw + t / cols * k.w_row + t % cols * WTL_BLOCK, sum[t]);
    }
}

/* Any number of taps, a few at a time. */
static void weigh_any(const weighing *g, int rows, int cols, const float *x, const float *dy,
                      float *dw)
{
    for (int r = 0; r < rows; r++, x += g->x_row, dw += g->w_row) {
        int s = 0;
        for (; s + 5 <= cols; s += 5) {
            weigh(g, 1, 5, x + s * g->x_col, dy, dw + s * WTL_BLOCK);
        }
        for (; s + 3 <= cols; s += 3) {
            weigh(g, 1, 3, x + s * g->x_col, dy, dw + s * WTL_BLOCK);
        }
        for (; s < cols; s++) {
            weigh(g, 1, 1, x + s * g->x_col, dy, dw + s * WTL_BLOCK);
        }
    }
}

static void weigh_rectangle(const weighing *g, int rows, int cols, const float *x,
                            const float *dy, float *dw)
{
    for (int v = 0; v < WTL_BLOCK; v += LANES) {
        if (rows == 3 && cols == 3) { /* of a 3x3 filter: all, and at the edges */
            weigh(g, 3, 3, x + v, dy + v, dw + v);
        } else if (rows == 2 && cols == 3) {
            weigh(g, 2, 3, x + v, dy + v, dw + v);
        } else if (rows == 3 && cols == 2) {
            weigh(g, 3, 2, x + v, dy + v, dw + v);
        } else if (rows == 2 && cols == 2) {
            weigh(g, 2, 2, x + v, dy + v, dw + v);
        } else {
            weigh_any(g, rows, cols, x + v, dy + v, dw + v);
        }
    }
}

/* What a plane's gradient is made of. */
typedef struct gradient {
    axis rows, cols;
    const float *x, *dy;
    float *dw;
} gradient;

static void weigh_runs(const gradient *m, const run *rows, const run *cols)
{
    const long width = (long)m->cols.inputs * WTL_BLOCK;
    const long dy_row = (long)m->cols.outputs * WTL_BLOCK;
    const long w_row = (long)m->cols.taps * WTL_BLOCK;
    const weighing g = {.lines = rows->end - rows->begin,
                        .count = cols->end - cols->begin,
                        .x_line = m->rows.step * width,
                        .dy_line = dy_row,
                        .x_step = (long)m->cols.step * WTL_BLOCK,
                        .dy_step = WTL_BLOCK,
                        .x_row = m->rows.tap_step * width,
                        .x_col = (long)m->cols.tap_step * WTL_BLOCK,
                        .w_row = w_row,
                        .fresh = cols->taps == 1 ? 0 : fresh_rows(&m->rows, rows)};
    weigh_rectangle(&g, rows->taps, cols->taps,
                    m->x + input_of(&m->rows, rows) * width +
                        input_of(&m->cols, cols) * WTL_BLOCK,
                    m->dy + rows->begin * dy_row + (long)cols->begin * WTL_BLOCK,
                    m->dw + rows->first_tap * w_row + (long)cols->first_tap * WTL_BLOCK);
}

static void add_all(const float *dy, long count, float *db)
{
    block sum = block_load(db), other = block_all(0.0f);
    long i = 0;
    for (; i + 2 <= count; i += 2, dy += 2 * WTL_BLOCK) {
        sum = block_add(sum, block_load(dy));
        other = block_add(other, block_load(dy + WTL_BLOCK));
    }
    if (i < count) {
        sum = block_add(sum, block_load(dy));
    }
    block_store(db, block_add(sum, other));
}

static void weights(const wtl_conv_geometry *g, const float *x, const float *dy, float *dw,
                    float *db)
{
    gradient m = {forward_axis(g, 0), forward_axis(g, 1), x, dy, dw};
    const run inside_rows = inside_of(&m.rows), inside = inside_of(&m.cols);
    run rows, cols;
    for (int p = 0; p < g->p; p = rows.end) {
        rows = run_from(&m.rows, &inside_rows, p, BAND);
        if (inside.end > inside.begin) {
            weigh_runs(&m, &rows, &inside);
        }
        for (int q = 0; q < g->q; q++) {
            if (q >= inside.begin && q < inside.end) {
                q = inside.end - 1;
                continue;
            }
            cols = one_output(&m.cols, q);
            weigh_runs(&m, &rows, &cols);
        }
        if (db) {
            const long row = (long)g->q * WTL_BLOCK;
            add_all(dy + rows.begin * row, (long)(rows.end - rows.begin) * g->q, db);
        }
    }
}

extern const wtl_depthwise_kernels WTL_NATIVE(depthwise);
const wtl_depthwise_kernels WTL_NATIVE(depthwise) = {forward, data, weights};
