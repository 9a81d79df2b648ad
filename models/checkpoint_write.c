/* checkpoint_write.c - from a checkpoint to a file; the layout is in wattle/checkpoint.h.
 *
 * The header names sizes and CRCs, so each tensor is encoded twice: once to learn them,
 * once into the file. Nothing is held in memory but the header and a small buffer.
 */
#include "checkpoint_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <inttypes.h>
#include <string.h>

/* Where encoded bytes go: into a CRC always, into a file in the second pass. */
typedef struct sink {
    wtl_writer *writer; /* or NULL */
    uint32_t crc;
    size_t used;
    unsigned char bytes[1 << 14];
} sink;

static void sink_flush(sink *to)
{
    to->crc = wtl_crc32(to->crc, to->bytes, to->used);
    if (to->writer) {
        wtl_writer_put(to->writer, to->bytes, to->used);
    }
    to->used = 0;
}

/* Room for four more bytes. */
static unsigned char *sink_word(sink *to)
{
    if (to->used == sizeof to->bytes) {
        sink_flush(to);
    }
    to->used += 4;
    return to->bytes + to->used - 4;
}

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* One bit a value, four bytes at a time: the zero bytes at the end come by themselves. A
 * value is kept unless it is +0.0: -0.0 compares equal but has a bit set. */
static void encode_bitmap(sink *to, const float *value, size_t count)
{
    for (size_t first = 0; first < count; first += 32) {
        size_t here = count - first < 32 ? count - first : 32;
        uint32_t word = 0;
        for (size_t i = 0; i < here; i++) {
            word |= (uint32_t)(bits_of(value[first + i]) != 0) << i;
        }
        wtl_store_le32(sink_word(to), word);
    }
}

static void encode(sink *to, const wtl_checkpoint_entry *entry)
{
    to->crc = 0;
    to->used = 0;
    if (entry->bitmap) {
        encode_bitmap(to, entry->value, entry->count);
    }
    for (size_t i = 0; i < entry->count; i++) {
        uint32_t bits = bits_of(entry->value[i]);
        if (bits != 0 || !entry->bitmap) {
            wtl_store_le32(sink_word(to), bits);
        }
    }
    sink_flush(to);
}

/* Choose the encoding of a tensor and learn its size and CRC. */
static wtl_status measure(wtl_checkpoint_entry *entry, sink *to, const char *path,
                          wtl_error *err)
{
    size_t kept = 0;
    for (size_t i = 0; i < entry->count; i++) {
        uint32_t bits = bits_of(entry->value[i]);
        kept += bits != 0;
        if (!wtl_bits_are_finite(bits)) {
            return wtl_fail(err, WTL_E_NAN, "%s: not written: %s[%zu] is %g", path, entry->name,
                            i, (double)entry->value[i]);
        }
    }
    size_t dense = entry->count * 4;
    size_t bitmap = wtl_checkpoint_bitmap_bytes(entry->count) + kept * 4;
    entry->bitmap = bitmap < dense;
    entry->bytes = entry->bitmap ? bitmap : dense;
    encode(to, entry);
    entry->crc = to->crc;
    return WTL_OK;
}

static int put_json_bytes(const char *bytes, size_t length, void *text)
{
    wtl_text_put(text, bytes, length);
    return ((wtl_text *)text)->failed ? -1 : 0;
}

/* False when memory is short, or when `value` is no tree. */
static bool put_json(wtl_text *text, const json_t *value)
{
    /* Sorted, so that the order in which meta was put together does not show. */
    return json_dump_callback(value, put_json_bytes, text,
                              JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS) == 0;
}

static bool put_string(wtl_text *text, const char *string)
{
    json_t *value = json_string(string);
    bool good = value && put_json(text, value);
    json_decref(value);
    return good;
}

static bool put_net(wtl_text *text, const wtl_checkpoint *checkpoint)
{
    if (!checkpoint->net) {
        return true;
    }
    char *net = wtl_netdef_text(checkpoint->net);
    wtl_text_printf(text, ",\"net\":");
    bool good = net && put_string(text, net);
    wtl_free(net);
    return good;
}

static bool put_classes(wtl_text *text, const wtl_checkpoint *checkpoint)
{
    bool good = true;
    for (int i = 0; good && i < checkpoint->class_count; i++) {
        wtl_text_printf(text, "%s", i == 0 ? ",\"classes\":[" : ",");
        good = put_string(text, checkpoint->classes[i]);
    }
    if (checkpoint->class_count > 0) {
        wtl_text_printf(text, "]");
    }
    return good;
}

static bool put_meta(wtl_text *text, const wtl_checkpoint *checkpoint)
{
    if (checkpoint->meta) {
        wtl_text_printf(text, ",\"meta\":");
        return put_json(text, checkpoint->meta);
    }
    wtl_text_printf(text, ",\"meta\":{}");
    return true;
}

static bool put_entry(wtl_text *text, const wtl_checkpoint_entry *entry)
{
    wtl_text_printf(text, "{\"name\":");
    bool good = put_string(text, entry->name);
    wtl_text_printf(text, ",\"type\":\"f32\",\"shape\":[");
    for (int i = 0; i < entry->rank; i++) {
        wtl_text_printf(text, "%s%zu", i > 0 ? "," : "", entry->dims[i]);
    }
    wtl_text_printf(
        text, "],\"encoding\":\"%s\",\"offset\":%zu,\"bytes\":%zu,\"crc32\":%" PRIu32 "}",
        entry->bitmap ? "bitmap" : "dense", entry->offset, entry->bytes, entry->crc);
    return good;
}

static bool put_header(wtl_text *text, const wtl_checkpoint *checkpoint)
{
    wtl_text_printf(text, "{\"format\":\"" WTL_CHECKPOINT_FORMAT "\",\"version\":%d",
                    WTL_CHECKPOINT_VERSION);
    bool good = put_net(text, checkpoint) && put_classes(text, checkpoint) &&
                put_meta(text, checkpoint);
    wtl_text_printf(text, ",\"tensors\":[");
    for (int i = 0; good && i < checkpoint->entry_count; i++) {
        wtl_text_printf(text, "%s", i > 0 ? "," : "");
        good = put_entry(text, &checkpoint->entries[i]);
    }
    wtl_text_printf(text, "]}");
    return good && !text->failed;
}

static void place_entries(wtl_checkpoint *checkpoint, size_t base)
{
    for (int i = 0; i < checkpoint->entry_count; i++) {
        wtl_checkpoint_entry *entry = &checkpoint->entries[i];
        entry->offset = base;
        base = wtl_checkpoint_round_up(base + entry->bytes, WTL_CHECKPOINT_ALIGNMENT);
    }
}

/* Offsets stand in the header, whose length moves them: the base grows until the header
 * fits before it, then spaces fill the rest. */
static wtl_status lay_out(wtl_checkpoint *checkpoint, wtl_text *text, const char *path,
                          wtl_error *err)
{
    size_t base = 0, needed = WTL_CHECKPOINT_ALIGNMENT;
    while (needed > base) {
        base = needed;
        place_entries(checkpoint, base);
        wtl_text_clear(text);
        if (!put_header(text, checkpoint)) {
            return wtl_fail(err, WTL_E_NOMEM, "%s: not written: out of memory for the header",
                            path);
        }
        if (text->length > WTL_CHECKPOINT_MOST_HEADER - WTL_CHECKPOINT_ALIGNMENT) {
            return wtl_fail(err, WTL_E_RANGE,
                            "%s: not written: the header has %zu bytes, %d go", path,
                            text->length, WTL_CHECKPOINT_MOST_HEADER);
        }
        needed = wtl_checkpoint_round_up(WTL_CHECKPOINT_PREFIX + text->length,
                                         WTL_CHECKPOINT_ALIGNMENT);
    }
    wtl_text_printf(text, "%*s", (int)(base - WTL_CHECKPOINT_PREFIX - text->length), "");
    return text->failed ? wtl_fail(err, WTL_E_NOMEM, "%s: not written: out of memory", path)
                        : WTL_OK;
}

static void put_prefix(wtl_writer *writer, const wtl_text *header)
{
    unsigned char prefix[WTL_CHECKPOINT_PREFIX] = {0};
    memcpy(prefix, WTL_CHECKPOINT_MAGIC, WTL_CHECKPOINT_MAGIC_SIZE);
    wtl_store_le32(prefix + 8, WTL_CHECKPOINT_VERSION);
    wtl_store_le32(prefix + 12, wtl_crc32(0, header->bytes, header->length));
    wtl_store_le32(prefix + 16, (uint32_t)header->length);
    wtl_writer_put(writer, prefix, sizeof prefix);
}

static wtl_status put_file(const wtl_checkpoint *checkpoint, const wtl_text *header, sink *to,
                           const char *path, wtl_error *err)
{
    static const unsigned char zeros[WTL_CHECKPOINT_ALIGNMENT];
    wtl_status status = wtl_writer_open(&to->writer, path, err);
    if (status != WTL_OK) {
        return status;
    }
    put_prefix(to->writer, header);
    wtl_writer_put(to->writer, header->bytes, header->length);
    for (int i = 0; i < checkpoint->entry_count; i++) {
        const wtl_checkpoint_entry *entry = &checkpoint->entries[i];
        wtl_writer_put(to->writer, zeros, entry->offset - wtl_writer_position(to->writer));
        encode(to, entry);
    }
    return wtl_writer_commit(to->writer, err);
}

wtl_status wtl_checkpoint_write(wtl_checkpoint *checkpoint, const char *path, wtl_error *err)
{
    wtl_text header = {0};
    wtl_status status = WTL_OK;
    sink *to = wtl_alloc(1, sizeof *to);
    if (!to) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: not written: out of memory", path);
    }
    for (int i = 0; status == WTL_OK && i < checkpoint->entry_count; i++) {
        status = measure(&checkpoint->entries[i], to, path, err);
    }
    if (status == WTL_OK) {
        status = lay_out(checkpoint, &header, path, err);
    }
    if (status == WTL_OK) {
        status = put_file(checkpoint, &header, to, path, err);
    }
    wtl_text_clear(&header);
    wtl_free(to);
    return status;
}
