/* kernel_costs_file.c - measured rates as JSON; the format stands in wattle/kernel_costs.h. */
#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/kernel_costs.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <math.h>
#include <stddef.h>
#include <string.h>

enum { MOST_BYTES = 16 * 1024, MOST_THREADS = 65536, VERSION = 1 };
#define FORMAT    "wattle kernel costs"
#define MOST_RATE 1e9

static const char *const ISA_NAMES[WTL_ISA_COUNT] = {
    [WTL_ISA_PLAIN] = "plain", [WTL_ISA_AVX2] = "avx2", [WTL_ISA_AVX512] = "avx512"};

#define RATE(name)                                                                             \
    {                                                                                          \
#name, offsetof(wtl_kernel_costs, name)                                                \
    }
static const struct {
    const char *name;
    size_t at;
} RATES[] = {
    RATE(dense_gflops), RATE(winograd_gflops), RATE(memory_gbs),   RATE(rows_ns),
    RATE(rows_far_ns),  RATE(quads_ns),        RATE(quads_far_ns), RATE(sum_ns),
    RATE(turn_ns),      RATE(copy_ns),         RATE(call_ns),
};
enum { RATE_COUNT = sizeof RATES / sizeof *RATES, OTHER_KEYS = 5 };

static double *rate_of(wtl_kernel_costs *costs, int i)
{
    return (double *)(void *)((char *)costs + RATES[i].at);
}

static wtl_status read_rates(wtl_kernel_costs *costs, const json_t *object, const char *name,
                             wtl_error *err)
{
    for (int i = 0; i < RATE_COUNT; i++) {
        double value = wtl_json_number(json_object_get(object, RATES[i].name));
        if (!(value > 0 && value <= MOST_RATE)) {
            return wtl_fail(err, WTL_E_FORMAT, "%s: %s is no number above 0, up to 1e9", name,
                            RATES[i].name);
        }
        *rate_of(costs, i) = value;
    }
    return WTL_OK;
}

static wtl_status read_head(wtl_kernel_costs *costs, const json_t *object, const char *name,
                            wtl_error *err)
{
    const char *format = json_string_value(json_object_get(object, "format"));
    if (!format || strcmp(format, FORMAT) != 0) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: not a file of " FORMAT, name);
    }
    const json_t *version = json_object_get(object, "version");
    if (!json_is_integer(version) || json_integer_value(version) != VERSION) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: version is not %d", name, VERSION);
    }
    const char *processor = json_string_value(json_object_get(object, "processor"));
    if (!processor || strlen(processor) >= sizeof costs->processor) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: processor is no text of up to %zu bytes", name,
                        sizeof costs->processor - 1);
    }
    memcpy(costs->processor, processor, strlen(processor) + 1);
    const char *isa = json_string_value(json_object_get(object, "isa"));
    for (int i = 0; i < WTL_ISA_COUNT; i++) {
        costs->isa =
            isa && ISA_NAMES[i] && !strcmp(isa, ISA_NAMES[i]) ? (wtl_isa)i : costs->isa;
    }
    if (costs->isa == WTL_ISA_BEST) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: isa is none of plain, avx2, avx512", name);
    }
    const json_t *threads = json_object_get(object, "threads");
    json_int_t count = json_is_integer(threads) ? json_integer_value(threads) : 0;
    if (count < 1 || count > MOST_THREADS) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: threads is no number from 1 to %d", name,
                        MOST_THREADS);
    }
    costs->threads = (int)count;
    return WTL_OK;
}

wtl_status wtl_kernel_costs_parse(wtl_kernel_costs *costs, const char *text, size_t length,
                                  const char *name, wtl_error *err)
{
    wtl_kernel_costs read = {.isa = WTL_ISA_BEST};
    json_error_t why;
    memset(costs, 0, sizeof *costs);
    json_t *object = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (!object) {
        bool memory = json_error_code(&why) == json_error_out_of_memory;
        return wtl_fail(err, memory ? WTL_E_NOMEM : WTL_E_FORMAT, "%s:%d: %s", name, why.line,
                        why.text);
    }
    wtl_status status = read_head(&read, object, name, err);
    if (status == WTL_OK) {
        status = read_rates(&read, object, name, err);
    }
    /* Every key that is known has been found, so that any more are unknown. */
    if (status == WTL_OK && json_object_size(object) != RATE_COUNT + OTHER_KEYS) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s: has keys that mean nothing", name);
    }
    if (status == WTL_OK) {
        *costs = read;
    }
    json_decref(object);
    return status;
}

wtl_status wtl_kernel_costs_load(wtl_kernel_costs *costs, const char *path, wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    memset(costs, 0, sizeof *costs);
    wtl_status status = wtl_file_read_plain(path, MOST_BYTES, &bytes, &length, err);
    if (status == WTL_OK) {
        status = wtl_kernel_costs_parse(costs, (const char *)bytes, length, path, err);
        wtl_free(bytes);
    }
    return status;
}

wtl_status wtl_kernel_costs_save(const wtl_kernel_costs *costs, const char *path,
                                 wtl_error *err)
{
    wtl_kernel_costs copy = *costs;
    json_t *object = json_pack("{s:s, s:i, s:o, s:s, s:i}", "format", FORMAT, "version",
                               VERSION, "processor", wtl_json_string(copy.processor), "isa",
                               ISA_NAMES[copy.isa], "threads", copy.threads);
    for (int i = 0; object && i < RATE_COUNT; i++) {
        if (json_object_set_new(object, RATES[i].name, wtl_json_real(*rate_of(&copy, i))) !=
            0) {
            json_decref(object);
            object = NULL;
        }
    }
    return wtl_json_write(path, object, err);
}
