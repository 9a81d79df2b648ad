/* elementwise.c - see elementwise.h. */
#include "elementwise.h"

#include "wattle/threads.h"

#include <string.h>

enum { WORTH_A_FORK = 1 << 15 }; /* floats: below this one thread is done sooner */

WTL_HOT static void relu(float *y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        y[i] = y[i] < 0.0f ? 0.0f : y[i];
    }
}

WTL_HOT static void relu6(float *y, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = y[i] < 0.0f ? 0.0f : y[i];
        y[i] = value > 6.0f ? 6.0f : value;
    }
}

void wtl_activate(float *y, size_t count, wtl_activation activation)
{
    if (activation == WTL_ACTIVATION_RELU) {
        relu(y, count);
    } else if (activation == WTL_ACTIVATION_RELU6) {
        relu6(y, count);
    }
}

WTL_HOT static void relu_gradient(const float *y, float *dy, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        dy[i] = y[i] > 0.0f ? dy[i] : 0.0f;
    }
}

WTL_HOT static void relu6_gradient(const float *y, float *dy, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float value = y[i] > 0.0f ? dy[i] : 0.0f;
        dy[i] = y[i] < 6.0f ? value : 0.0f;
    }
}

WTL_HOT static void add(float *sum, const float *more, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        sum[i] += more[i];
    }
}

static int parts_for(int threads, size_t count)
{
    return count < WORTH_A_FORK ? 1 : threads;
}

void wtl_activation_gradient(int threads, const float *y, float *dy, size_t count,
                             wtl_activation activation)
{
    int parts = parts_for(threads, count);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share((long)count, part, parts, &begin, &end);
        if (activation == WTL_ACTIVATION_RELU) {
            relu_gradient(y + begin, dy + begin, (size_t)(end - begin));
        } else if (activation == WTL_ACTIVATION_RELU6) {
            relu6_gradient(y + begin, dy + begin, (size_t)(end - begin));
        }
    }
}

void wtl_accumulate(int threads, float *sum, const float *more, size_t count)
{
    int parts = parts_for(threads, count);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share((long)count, part, parts, &begin, &end);
        add(sum + begin, more + begin, (size_t)(end - begin));
    }
}

void wtl_clear(int threads, float *values, size_t count)
{
    int parts = parts_for(threads, count);
#pragma omp parallel for num_threads(parts) schedule(static, 1) if (parts > 1)
    for (int part = 0; part < parts; part++) {
        long begin, end;
        wtl_share((long)count, part, parts, &begin, &end);
        memset(values + begin, 0, (size_t)(end - begin) * sizeof *values);
    }
}

/* Maps that lie close are one array. */
static bool close_together(int n, size_t count, size_t a, size_t b)
{
    return n == 1 || (a == count && b == count);
}

void wtl_activation_gradient_maps(int threads, int n, size_t count, const float *y,
                                  size_t y_image, float *dy, size_t dy_image,
                                  wtl_activation activation)
{
    if (close_together(n, count, y_image, dy_image)) {
        wtl_activation_gradient(threads, y, dy, (size_t)n * count, activation);
        return;
    }
    int parts = n < threads ? n : threads;
#pragma omp parallel for num_threads(parts) schedule(static) if (parts > 1)
    for (int i = 0; i < n; i++) {
        wtl_activation_gradient(1, y + (size_t)i * y_image, dy + (size_t)i * dy_image, count,
                                activation);
    }
}

void wtl_accumulate_maps(int threads, int n, size_t count, float *sum, size_t sum_image,
                         const float *more, size_t more_image)
{
    if (close_together(n, count, sum_image, more_image)) {
        wtl_accumulate(threads, sum, more, (size_t)n * count);
        return;
    }
    int parts = n < threads ? n : threads;
#pragma omp parallel for num_threads(parts) schedule(static) if (parts > 1)
    for (int i = 0; i < n; i++) {
        wtl_accumulate(1, sum + (size_t)i * sum_image, more + (size_t)i * more_image, count);
    }
}
