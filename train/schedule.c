/* schedule.c - the learning rate as a function of the position in the run.
 *
 *   warm-up    peak * (1/100 + 99/100 * t)                          t: share of warm-up done
 *   step       peak * gamma^floor(position / step_epochs)
 *   cosine     peak * (f + (1-f) * (1 + cos(pi*t)) / 2)             t: share of the rest done
 *   onecycle   peak * (1 - (1-f) * t)                               f: final_share
 */
#include "wattle/optimizer.h"

#include <math.h>

static double clamp(double value, double low, double high)
{
    return value < low ? low : value > high ? high : value;
}

double wtl_schedule_rate(const wtl_schedule *schedule, double position, double epochs)
{
    static const double pi = 3.14159265358979323846, first_share = 0.01;
    const double final_share = schedule->final_share;
    double warmup = schedule->warmup_epochs;
    if (schedule->kind == WTL_SCHEDULE_ONECYCLE && warmup <= 0.0) {
        warmup = 0.3 * epochs;
    }
    position = clamp(position, 0.0, epochs);
    if (position < warmup) {
        double done = position / warmup;
        return schedule->peak * (first_share + (1.0 - first_share) * done);
    }
    double done = epochs > warmup ? (position - warmup) / (epochs - warmup) : 1.0;
    double share = 1.0;
    switch (schedule->kind) {
    case WTL_SCHEDULE_STEP: {
        double period = schedule->step_epochs > 0.0 ? schedule->step_epochs : epochs / 3.0;
        /* A step boundary is a sum of 1/steps fractions: do not miss it by a rounding. */
        share = pow(schedule->gamma, floor(position / period + 1e-9));
        break;
    }
    case WTL_SCHEDULE_COSINE:
        share = final_share + (1.0 - final_share) * (1.0 + cos(pi * done)) / 2.0;
        break;
    case WTL_SCHEDULE_ONECYCLE:
        share = 1.0 - (1.0 - final_share) * done;
        break;
    case WTL_SCHEDULE_CONSTANT:
        break;
    }
    return schedule->peak * share;
}
