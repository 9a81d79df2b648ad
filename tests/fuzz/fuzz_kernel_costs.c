/* fuzz_kernel_costs.c - any file of measured rates: what is read is within its bounds, and leads to
 * a choice. */
#include "wattle/kernel_costs.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "%s\n", what);
        abort();
    }
}

static void check_choice(const wtl_kernel_costs *costs)
{
    const wtl_conv_options options = {.kernel = {3, 3},
                                      .stride = {1, 1},
                                      .pad = {1, 1, 1, 1},
                                      .dilation = {1, 1},
                                      .groups = 1};
    wtl_shape map = {32, 5, 5};
    wtl_kernel_choice choice =
        wtl_kernel_choose(costs, &options, map, map, (wtl_kernel_density){0.1, 0.3}, 2);
    check((unsigned)choice.kernel < WTL_KERNEL_COUNT, "kernel");
    check(choice.speed_up >= 1 && isfinite(choice.speed_up), "speed-up");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    wtl_kernel_costs costs, zero;
    wtl_error err;
    memset(&zero, 0, sizeof zero);
    if (wtl_kernel_costs_parse(&costs, (const char *)bytes, length, "fuzz", &err) == WTL_OK) {
        check(memchr(costs.processor, '\0', sizeof costs.processor) != NULL, "processor");
        check(costs.threads >= 1 && costs.isa > WTL_ISA_BEST && costs.isa < WTL_ISA_COUNT,
              "head");
        for (const double *rate = &costs.dense_gflops; rate <= &costs.call_ns; rate++) {
            check(*rate > 0 && *rate <= 1e9, "rate");
        }
        check_choice(&costs);
    } else {
        check(strncmp(err.text, "fuzz:", 5) == 0, err.text);
        check(memcmp(&costs, &zero, sizeof costs) == 0, "something is left");
    }
    return 0;
}
