/* fuzz_npz.c - any bytes as masks: as an archive, and through a small net. Also one .npy head
 * by itself, or no mutation would come past the CRC of the zip. */
#include "prune/masks/npy.h"
#include "wattle/mask.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void require(bool holds)
{
    if (!holds) {
        abort();
    }
}

static void read_all(const wtl_npz_array *array)
{
    unsigned char sink = 0;
    size_t product = 1;
    for (size_t i = 0; i < array->count; i++) {
        sink ^= array->values[i];
    }
    for (int i = 0; i < array->rank; i++) {
        product *= array->dims[i];
    }
    require(product == array->count);
    volatile unsigned char seen = sink;
    (void)seen;
}

static void as_archive(const uint8_t *bytes, size_t length)
{
    const wtl_npz_limits limits = {.arrays = 16, .values = 4096};
    wtl_npz npz;
    wtl_error err = {0};
    wtl_status status = wtl_npz_read(&npz, bytes, length, &limits, "fuzz", &err);
    require(status == WTL_OK || err.text[0] != '\0');
    for (size_t i = 0; status == WTL_OK && i < npz.count; i++) {
        require(strlen(npz.arrays[i].name) > 0);
        read_all(&npz.arrays[i]);
    }
    wtl_npz_clear(&npz);
}

static void as_array(const uint8_t *bytes, size_t length)
{
    char name[] = "array";
    wtl_npz_array array = {.name = name};
    wtl_error err = {0};
    if (wtl_npy_parse(&array, bytes, length, "fuzz", &err) == WTL_OK) {
        read_all(&array);
    } else {
        require(err.text[0] != '\0');
    }
}

static void as_masks(const uint8_t *bytes, size_t length)
{
    static const char text[] = "net small\ninput data 1x3x3\nc = conv data out=2 kernel=2\n"
                               "d = dense c out=3\n";
    const wtl_net_options options = {.batch = 1};
    static wtl_net *net;
    wtl_netdef *def;
    if (!net) {
        require(wtl_netdef_parse(&def, text, strlen(text), "fuzz", NULL, NULL) == WTL_OK &&
                wtl_net_create(&net, def, &options, NULL) == WTL_OK);
        wtl_netdef_free(def);
    }
    (void)!wtl_mask_parse(net, bytes, length, "fuzz", NULL);
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        const wtl_param *param = wtl_net_param(net, i);
        for (size_t k = 0; param->mask && k < param->count; k++) {
            require(param->mask[k] == 0.0f || param->mask[k] == 1.0f);
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    as_archive(bytes, length);
    as_array(bytes, length);
    as_masks(bytes, length);
    return 0;
}
