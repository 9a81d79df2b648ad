/* report_numbers.c - numbers as people write them; what is not known is a dash. */
#include "report_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_unknown(wtl_report_number text, double value)
{
    snprintf(text, WTL_REPORT_NUMBER_SIZE, WTL_REPORT_DASH);
    return !(fabs(value) <= 1e24);
}

const char *wtl_report_count(wtl_report_number text, double value)
{
    if (is_unknown(text, value)) {
        return text;
    }
    char digits[32];
    int length = snprintf(digits, sizeof digits, "%.0f", value), used = 0;
    for (int i = 0; i < length && used < WTL_REPORT_NUMBER_SIZE - 1; i++) {
        int left = length - i;
        if (i > 0 && digits[i - 1] != '-' && left % 3 == 0) {
            text[used++] = ',';
        }
        text[used++] = digits[i];
    }
    text[used] = '\0';
    return text;
}

/* Decimals that leave `digits` significant ones, none beyond the point where there are more. */
static int decimals_of(double value, int digits)
{
    double size = fabs(value);
    int decimals = digits - 1;
    for (double limit = 10; decimals > 0 && size >= limit - 0.5 * pow(10, 1 - digits) * limit;
         limit *= 10) {
        decimals--;
    }
    return decimals;
}

const char *wtl_report_amount(wtl_report_number text, double value)
{
    static const char *const units[] = {"", " k", " M", " G", " T", " P"};
    if (is_unknown(text, value)) {
        return text;
    }
    int unit = 0;
    while (unit < 5 && fabs(value) >= 999.5) {
        value /= 1000;
        unit++;
    }
    bool whole = unit == 0 && value == floor(value);
    snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.*f%s", whole ? 0 : decimals_of(value, 3), value,
             units[unit]);
    return text;
}

const char *wtl_report_percent(wtl_report_number text, double share)
{
    if (!is_unknown(text, share)) {
        double percent = 100 * share;
        snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.*f %%",
                 percent == 100 || percent == 0 ? 0 : decimals_of(percent, 3), percent);
    }
    return text;
}

const char *wtl_report_fixed(wtl_report_number text, double value, int decimals)
{
    if (!is_unknown(text, value)) {
        snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.*f", decimals, value);
    }
    return text;
}

const char *wtl_report_times(wtl_report_number text, double ratio)
{
    if (!is_unknown(text, ratio)) {
        snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.*f\xc3\x97",
                 ratio < 10    ? 2
                 : ratio < 100 ? 1
                               : 0,
                 ratio);
    }
    return text;
}

const char *wtl_report_duration(wtl_report_number text, double seconds)
{
    if (is_unknown(text, seconds)) {
        return text;
    }
    double minutes = floor(seconds / 60 + 0.5);
    if (seconds < 119.5) {
        snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.*f s", seconds < 10 ? 1 : 0, seconds);
    } else if (minutes < 60) {
        snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.0f min", minutes);
    } else {
        snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.0f h %02.0f min", floor(minutes / 60),
                 fmod(minutes, 60));
    }
    return text;
}

const char *wtl_report_bytes(wtl_report_number text, double bytes)
{
    if (!is_unknown(text, bytes)) {
        double mib = bytes / 1048576;
        snprintf(text, WTL_REPORT_NUMBER_SIZE, mib < 1024 ? "%.0f MiB" : "%.2f GiB",
                 mib < 1024 ? mib : mib / 1024);
    }
    return text;
}

const char *wtl_report_points(wtl_report_number text, double points)
{
    wtl_report_number number;
    snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.24s point%s", wtl_report_exact(number, points),
             points == 1 ? "" : "s");
    return text;
}

const char *wtl_report_exact(wtl_report_number text, double value)
{
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, WTL_REPORT_NUMBER_SIZE, "%.*g", digits, value);
        if (strtod(text, NULL) == value) {
            break;
        }
    }
    return text;
}
