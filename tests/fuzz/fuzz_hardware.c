/* fuzz_hardware.c - any hardware description: what is read is within its bounds. */
#include "wattle/hardware.h"

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

static void check_energies(const wtl_hardware *hw)
{
    const double *energy = &hw->energy[0][0][0];
    for (size_t i = 0; i < sizeof hw->energy / sizeof *energy; i++) {
        check(isfinite(energy[i]) && energy[i] >= 0, "energy");
    }
    check(isfinite(hw->mac_energy) && hw->mac_energy >= 0, "mac");
    check(hw->gated_share >= 0 && hw->gated_share <= 1, "gated share");
}

static void check_sizes(const wtl_hardware *hw)
{
    check(hw->name[0] && memchr(hw->name, '\0', sizeof hw->name), "name");
    check(hw->source[0] && memchr(hw->source, '\0', sizeof hw->source), "source");
    check(memchr(hw->title, '\0', sizeof hw->title) != NULL, "title");
    check(hw->rows >= 1 && hw->rows <= 1024 && hw->columns >= 1 && hw->columns <= 1024,
          "array");
    check(hw->rf_pool_words >= 0 && hw->buffer_words >= 1 && hw->word_bits >= 1, "words");
    check((unsigned)hw->dataflow < WTL_DATAFLOW_COUNT, "dataflow");
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    wtl_hardware hw;
    wtl_error err;
    if (wtl_hardware_parse(&hw, (const char *)bytes, length, "fuzz", &err) == WTL_OK) {
        check_sizes(&hw);
        check_energies(&hw);
    } else {
        check(strncmp(err.text, "fuzz:", 5) == 0, err.text);
        check(hw.name[0] == '\0' && hw.rows == 0, "something is left");
    }
    return 0;
}
