/* fuzz_checkpoint.c - any bytes as a checkpoint: as they are, and once more with the CRCs
 * made to agree, or else no mutation would come past them. */
#include "wattle/checkpoint.h"
#include "wattle/file.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

enum { PREFIX = 24 };

static void look_at_everything(const wtl_checkpoint *c)
{
    unsigned char sink = 0;
    for (int i = 0; i < wtl_checkpoint_tensor_count(c); i++) {
        wtl_tensor_view view = wtl_checkpoint_tensor(c, i), found;
        for (size_t k = 0; k < view.count * sizeof(float); k++) {
            sink ^= ((const unsigned char *)view.value)[k];
        }
        if (!wtl_checkpoint_find(c, view.name, &found) || found.value != view.value) {
            abort();
        }
    }
    for (int i = 0; i < wtl_checkpoint_class_count(c); i++) {
        sink ^= (unsigned char)strlen(wtl_checkpoint_class(c, i));
    }
    (void)wtl_checkpoint_meta(c, "epoch");
    (void)wtl_checkpoint_net(c);
    volatile unsigned char read = sink;
    (void)read;
}

static void parse(const uint8_t *bytes, size_t length)
{
    wtl_checkpoint *checkpoint;
    wtl_error err = {0};
    wtl_status status = wtl_checkpoint_parse(&checkpoint, bytes, length, "fuzz", &err);
    if (status == WTL_OK) {
        look_at_everything(checkpoint);
        wtl_checkpoint_free(checkpoint);
    } else if (checkpoint || err.text[0] == '\0' || !wtl_status_name(status)) {
        abort(); /* a refusal leaves nothing behind and says why */
    }
}

static void mend_tensor(const uint8_t *bytes, size_t length, json_t *tensor)
{
    json_int_t offset = json_integer_value(json_object_get(tensor, "offset"));
    json_int_t size = json_integer_value(json_object_get(tensor, "bytes"));
    if (offset >= 0 && size >= 0 && (size_t)offset <= length &&
        (size_t)size <= length - (size_t)offset) {
        uint32_t crc = wtl_crc32(0, bytes + offset, (size_t)size);
        (void)json_object_set_new(tensor, "crc32", json_integer(crc));
    }
}

/* The header's text anew, with the tensors' right CRCs, where it still fits. */
static void mend_header(uint8_t *bytes, size_t length, size_t header)
{
    json_t *root = json_loadb((const char *)bytes + PREFIX, header, 0, NULL);
    json_t *tensors = json_object_get(root, "tensors");
    for (size_t i = 0; i < json_array_size(tensors); i++) {
        if (json_is_object(json_array_get(tensors, i))) {
            mend_tensor(bytes, length, json_array_get(tensors, i));
        }
    }
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    if (text && strlen(text) <= header) {
        memset(bytes + PREFIX, ' ', header);
        memcpy(bytes + PREFIX, text, strlen(text));
    }
    free(text);
    json_decref(root);
}

static void mend(uint8_t *bytes, size_t length)
{
    memcpy(bytes, "WATTLE\r\n\1\0\0\0", 12);
    size_t header = bytes[16] | (size_t)bytes[17] << 8;
    header = header < length - PREFIX ? header : length - PREFIX;
    memset(bytes + 16, 0, 8);
    bytes[16] = (uint8_t)header;
    bytes[17] = (uint8_t)(header >> 8);
    mend_header(bytes, length, header);
    uint32_t crc = wtl_crc32(0, bytes + PREFIX, header);
    for (int i = 0; i < 4; i++) {
        bytes[12 + i] = (uint8_t)(crc >> 8 * i);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    parse(bytes, length);
    if (length >= PREFIX && length <= 1 << 16) {
        uint8_t *mended = malloc(length); /* exact, so that a sanitizer sees its end */
        if (mended) {
            memcpy(mended, bytes, length);
            mend(mended, length);
            parse(mended, length);
            free(mended);
        }
    }
    return 0;
}
