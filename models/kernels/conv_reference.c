/* conv_reference.c - convolution by its definition; slow and obvious. */
#include "conv_kernels.h"

/* Input row or column read by output position `out` at filter tap `tap`; -1 in the padding. */
static int tap_source(int out, int stride, int tap, int dilation, int pad, int size)
{
    int at = out * stride + tap * dilation - pad;
    return at >= 0 && at < size ? at : -1;
}

void wtl_conv_reference_forward(const wtl_conv_geometry *g, int n, const float *x,
                                const float *w, const float *b, float *y)
{
    int cg = g->c / g->groups, kg = g->k / g->groups;
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < g->k; k++) {
            for (int pq = 0; pq < g->p * g->q; pq++) {
                int p = pq / g->q, q = pq % g->q;
                double sum = b ? b[k] : 0.0;
                for (int crs = 0; crs < cg * g->r * g->s; crs++) {
                    int c = crs / (g->r * g->s), r = crs / g->s % g->r, s = crs % g->s;
                    int h = tap_source(p, g->stride[0], r, g->dilation[0], g->pad[0], g->h);
                    int v = tap_source(q, g->stride[1], s, g->dilation[1], g->pad[2], g->w);
                    if (h >= 0 && v >= 0) {
                        size_t channel = (size_t)i * g->c + (size_t)(k / kg) * cg + c;
                        sum += (double)w[(size_t)k * cg * g->r * g->s + crs] *
                               x[(channel * g->h + h) * g->w + v];
                    }
                }
                y[((size_t)i * g->k + k) * g->p * g->q + pq] = (float)sum;
            }
        }
    }
}

void wtl_conv_reference_data(const wtl_conv_geometry *g, int n, const float *dy, const float *w,
                             float *dx)
{
    int cg = g->c / g->groups, kg = g->k / g->groups;
    for (size_t i = 0; i < (size_t)n * g->c * g->h * g->w; i++) {
        dx[i] = 0.0f;
    }
    for (int i = 0; i < n; i++) {
        for (int k = 0; k < g->k; k++) {
            for (int pq = 0; pq < g->p * g->q; pq++) {
                int p = pq / g->q, q = pq % g->q;
                float upstream = dy[((size_t)i * g->k + k) * g->p * g->q + pq];
                for (int crs = 0; crs < cg * g->r * g->s; crs++) {
                    int c = crs / (g->r * g->s), r = crs / g->s % g->r, s = crs % g->s;
                    int h = tap_source(p, g->stride[0], r, g->dilation[0], g->pad[0], g->h);
                    int v = tap_source(q, g->stride[1], s, g->dilation[1], g->pad[2], g->w);
                    if (h >= 0 && v >= 0) {
                        size_t channel = (size_t)i * g->c + (size_t)(k / kg) * cg + c;
                        dx[(channel * g->h + h) * g->w + v] +=
                            w[(size_t)k * cg * g->r * g->s + crs] * upstream;
                    }
                }
            }
        }
    }
}

void wtl_conv_reference_weights(const wtl_conv_geometry *g, int n, const float *x,
                                const float *dy, float *dw, float *db)
{
    int cg = g->c / g->groups, kg = g->k / g->groups;
    for (int k = 0; k < g->k; k++) {
        for (int crs = 0; crs < cg * g->r * g->s; crs++) {
            int c = crs / (g->r * g->s), r = crs / g->s % g->r, s = crs % g->s;
            double sum = 0.0;
            for (int i = 0; i < n; i++) {
                size_t channel = (size_t)i * g->c + (size_t)(k / kg) * cg + c;
                for (int pq = 0; pq < g->p * g->q; pq++) {
                    int p = pq / g->q, q = pq % g->q;
                    int h = tap_source(p, g->stride[0], r, g->dilation[0], g->pad[0], g->h);
                    int v = tap_source(q, g->stride[1], s, g->dilation[1], g->pad[2], g->w);
                    if (h >= 0 && v >= 0) {
                        sum += (double)dy[((size_t)i * g->k + k) * g->p * g->q + pq] *
                               x[(channel * g->h + h) * g->w + v];
                    }
                }
            }
            dw[(size_t)k * cg * g->r * g->s + crs] += (float)sum;
        }
        double sum = 0.0;
        for (int i = 0; i < n; i++) {
            for (int pq = 0; pq < g->p * g->q; pq++) {
                sum += dy[((size_t)i * g->k + k) * g->p * g->q + pq];
            }
        }
        if (db) {
            db[k] += (float)sum;
        }
    }
}
