/* checkpoint_read.c - from bytes that nobody vouches for to a checkpoint; the layout is in
 * wattle/checkpoint.h.
 *
 * Every offset of a payload follows from the sizes before it, so the reader computes each
 * and compares; no number of the file is ever used to find something before it was bounded
 * by the bytes that are there. Memory: the bytes, their JSON tree, and at most 32 times a
 * bitmap's bytes for its floats.
 */
#include "checkpoint_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <inttypes.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct reader {
    unsigned char *bytes; /* aligned as WTL_ALIGNMENT says */
    size_t length;
    const char *name;
    wtl_checkpoint *checkpoint;
    wtl_error *err;
} reader;

static wtl_status bad(reader *in, size_t offset, const char *format, ...) WTL_PRINTF(3, 4);

static wtl_status bad(reader *in, size_t offset, const char *format, ...)
{
    char text[WTL_ERROR_TEXT_SIZE];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    return wtl_fail(in->err, WTL_E_FORMAT, "%s: offset %zu: %s", in->name, offset, text);
}

static wtl_status out_of_memory(reader *in)
{
    return wtl_fail(in->err, WTL_E_NOMEM, "%s: out of memory", in->name);
}

/* ---- the fixed part ---- */

/* *header_length = H, with 24 + H inside the file and the header's CRC right. */
static wtl_status read_prefix(reader *in, size_t *header_length)
{
    size_t there =
        in->length < WTL_CHECKPOINT_MAGIC_SIZE ? in->length : (size_t)WTL_CHECKPOINT_MAGIC_SIZE;
    if (there == 0 || memcmp(in->bytes, WTL_CHECKPOINT_MAGIC, there) != 0) {
        return bad(in, 0, "not a wattle checkpoint");
    }
    if (in->length < WTL_CHECKPOINT_PREFIX) {
        return bad(in, in->length, "the file is cut inside its first %d bytes",
                   WTL_CHECKPOINT_PREFIX);
    }
    uint32_t version = wtl_load_le32(in->bytes + 8);
    if (version != WTL_CHECKPOINT_VERSION) {
        return bad(in, 8, "format version %" PRIu32 ", this reader knows %d", version,
                   WTL_CHECKPOINT_VERSION);
    }
    uint64_t length = wtl_load_le32(in->bytes + 16) | (uint64_t)wtl_load_le32(in->bytes + 20)
                                                          << 32;
    if (length > WTL_CHECKPOINT_MOST_HEADER) {
        return bad(in, 16, "a header of %" PRIu64 " bytes, at most %d go", length,
                   WTL_CHECKPOINT_MOST_HEADER);
    }
    if (length > in->length - WTL_CHECKPOINT_PREFIX) {
        return bad(in, 16, "a header of %" PRIu64 " bytes, the file has %zu left", length,
                   in->length - WTL_CHECKPOINT_PREFIX);
    }
    *header_length = (size_t)length;
    uint32_t stored = wtl_load_le32(in->bytes + 12);
    uint32_t crc = wtl_crc32(0, in->bytes + WTL_CHECKPOINT_PREFIX, *header_length);
    return crc == stored
               ? WTL_OK
               : bad(in, 12, "the header's CRC-32 is %08" PRIx32 ", its bytes give %08" PRIx32,
                     stored, crc);
}

/* Bytes begin .. end-1 are there and zero. */
static wtl_status check_zeros(reader *in, size_t begin, size_t end, const char *where)
{
    for (size_t i = begin; i < end; i++) {
        if (i >= in->length) {
            return bad(in, i, "the file is cut in the padding %s", where);
        }
        if (in->bytes[i] != 0) {
            return bad(in, i, "a byte of the padding %s is %d, not 0", where, in->bytes[i]);
        }
    }
    return WTL_OK;
}

/* ---- the header: what is said of it carries the offset where it begins ---- */

static wtl_status parse_json(reader *in, size_t header_length, json_t **out)
{
    json_error_t why;
    *out = json_loadb((const char *)in->bytes + WTL_CHECKPOINT_PREFIX, header_length,
                      JSON_REJECT_DUPLICATES, &why);
    if (*out) {
        return WTL_OK;
    }
    /* jansson says nothing when it runs out of memory. */
    if (why.text[0] == '\0' || json_error_code(&why) == json_error_out_of_memory) {
        return out_of_memory(in);
    }
    size_t position = why.position > 0 ? (size_t)why.position : 0;
    return bad(in, WTL_CHECKPOINT_PREFIX + position, "the header is not JSON: %s", why.text);
}

static const char *type_name(json_type type)
{
    switch (type) {
    case JSON_OBJECT:
        return "an object";
    case JSON_ARRAY:
        return "an array";
    case JSON_STRING:
        return "a string";
    case JSON_INTEGER:
        return "an integer";
    default:
        return "something else";
    }
}

static wtl_status check_keys(reader *in, json_t *object, const char *what,
                             const char *const *known)
{
    for (void *at = json_object_iter(object); at; at = json_object_iter_next(object, at)) {
        const char *key = json_object_iter_key(at);
        int i = 0;
        while (known[i] && strcmp(known[i], key) != 0) {
            i++;
        }
        if (!known[i]) {
            return bad(in, WTL_CHECKPOINT_PREFIX, "%s has the unknown key \"%s\"", what, key);
        }
    }
    return WTL_OK;
}

static wtl_status check_type(reader *in, const json_t *value, const char *what, const char *key,
                             json_type type)
{
    if (json_typeof(value) != type) {
        return bad(in, WTL_CHECKPOINT_PREFIX, "%s: \"%s\" is not %s", what, key,
                   type_name(type));
    }
    return WTL_OK;
}

/* *out = object[key], which must be there and of `type`. */
static wtl_status member(reader *in, json_t *object, const char *what, const char *key,
                         json_type type, json_t **out)
{
    *out = json_object_get(object, key);
    if (!*out) {
        return bad(in, WTL_CHECKPOINT_PREFIX, "%s has no \"%s\"", what, key);
    }
    return check_type(in, *out, what, key, type);
}

/* The member must be this very word. */
static wtl_status fixed_word(reader *in, json_t *object, const char *what, const char *key,
                             const char *word)
{
    json_t *value;
    wtl_status status = member(in, object, what, key, JSON_STRING, &value);
    if (status == WTL_OK && strcmp(json_string_value(value), word) != 0) {
        status =
            bad(in, WTL_CHECKPOINT_PREFIX, "%s: \"%s\" is \"%s\", this reader knows \"%s\"",
                what, key, json_string_value(value), word);
    }
    return status;
}

static wtl_status number(reader *in, json_t *object, const char *what, const char *key,
                         uint64_t most, uint64_t *out)
{
    json_t *value;
    wtl_status status = member(in, object, what, key, JSON_INTEGER, &value);
    if (status != WTL_OK) {
        return status;
    }
    json_int_t stored = json_integer_value(value);
    if (stored < 0 || (uint64_t)stored > most) {
        return bad(in, WTL_CHECKPOINT_PREFIX,
                   "%s: \"%s\" is %" JSON_INTEGER_FORMAT ", 0 to %" PRIu64 " go", what, key,
                   stored, most);
    }
    *out = (uint64_t)stored;
    return WTL_OK;
}

static wtl_status read_identity(reader *in, json_t *header)
{
    static const char *const known[] = {"format", "version", "net", "classes",
                                        "meta",   "tensors", NULL};
    uint64_t version = 0;
    if (!json_is_object(header)) {
        return bad(in, WTL_CHECKPOINT_PREFIX, "the header is not an object");
    }
    wtl_status status = check_keys(in, header, "the header", known);
    if (status == WTL_OK) {
        status = fixed_word(in, header, "the header", "format", WTL_CHECKPOINT_FORMAT);
    }
    if (status == WTL_OK) {
        status = number(in, header, "the header", "version", UINT32_MAX, &version);
    }
    if (status == WTL_OK && version != WTL_CHECKPOINT_VERSION) {
        status = bad(in, WTL_CHECKPOINT_PREFIX,
                     "the header: \"version\" is %" PRIu64 ", this reader knows %d", version,
                     WTL_CHECKPOINT_VERSION);
    }
    return status;
}

static wtl_status read_net(reader *in, json_t *header)
{
    json_t *net = json_object_get(header, "net");
    if (!net) {
        return WTL_OK;
    }
    wtl_status status = check_type(in, net, "the header", "net", JSON_STRING);
    if (status != WTL_OK) {
        return status;
    }
    char *place = wtl_format("%s: offset %d: net", in->name, WTL_CHECKPOINT_PREFIX);
    if (!place) {
        return out_of_memory(in);
    }
    status = wtl_netdef_parse(&in->checkpoint->net, json_string_value(net),
                              json_string_length(net), place, NULL, in->err);
    wtl_free(place);
    return status;
}

static wtl_status read_classes(reader *in, json_t *header)
{
    json_t *names = json_object_get(header, "classes");
    if (!names) {
        return WTL_OK;
    }
    wtl_status status = check_type(in, names, "the header", "classes", JSON_ARRAY);
    if (status != WTL_OK) {
        return status;
    }
    wtl_checkpoint *c = in->checkpoint;
    int count = (int)json_array_size(names); /* a header's bytes fit an int */
    c->classes = wtl_alloc((size_t)count, sizeof *c->classes);
    if (!c->classes) {
        return out_of_memory(in);
    }
    for (; c->class_count < count; c->class_count++) {
        json_t *name = json_array_get(names, (size_t)c->class_count);
        if (!json_is_string(name)) {
            return bad(in, WTL_CHECKPOINT_PREFIX,
                       "the header: \"classes\" has an entry that is "
                       "not a string");
        }
        c->classes[c->class_count] = wtl_strdup(json_string_value(name));
        if (!c->classes[c->class_count]) {
            return out_of_memory(in);
        }
    }
    return WTL_OK;
}

static wtl_status read_meta(reader *in, json_t *header)
{
    json_t *meta = json_object_get(header, "meta");
    wtl_status status = meta ? check_type(in, meta, "the header", "meta", JSON_OBJECT) : WTL_OK;
    if (meta && status == WTL_OK) {
        in->checkpoint->meta = json_incref(meta);
    }
    return status;
}

/* ---- one tensor's entry in the header ---- */

static wtl_status read_name(reader *in, json_t *object, const char *what,
                            wtl_checkpoint_entry *entry)
{
    json_t *name;
    wtl_status status = member(in, object, what, "name", JSON_STRING, &name);
    if (status != WTL_OK) {
        return status;
    }
    size_t length = json_string_length(name);
    if (length < 1 || length > WTL_CHECKPOINT_LONGEST_NAME) {
        return bad(in, WTL_CHECKPOINT_PREFIX, "%s: a name of %zu bytes, 1 to %d go", what,
                   length, WTL_CHECKPOINT_LONGEST_NAME);
    }
    entry->name = wtl_strdup(json_string_value(name));
    return entry->name ? WTL_OK : out_of_memory(in);
}

static wtl_status read_shape(reader *in, json_t *object, const char *what,
                             wtl_checkpoint_entry *entry)
{
    json_t *shape;
    wtl_status status = member(in, object, what, "shape", JSON_ARRAY, &shape);
    if (status != WTL_OK) {
        return status;
    }
    if (json_array_size(shape) > WTL_MAX_RANK) {
        return bad(in, WTL_CHECKPOINT_PREFIX, "%s: rank %zu, 0 to %d go", what,
                   json_array_size(shape), WTL_MAX_RANK);
    }
    entry->rank = (int)json_array_size(shape);
    for (int i = 0; i < entry->rank; i++) {
        json_t *size = json_array_get(shape, (size_t)i);
        if (!json_is_integer(size) || json_integer_value(size) < 1) {
            return bad(in, WTL_CHECKPOINT_PREFIX,
                       "%s: a size of \"shape\" is not an integer >= 1", what);
        }
        entry->dims[i] = (size_t)json_integer_value(size);
    }
    return wtl_checkpoint_count(entry->rank, entry->dims, &entry->count)
               ? WTL_OK
               : bad(in, WTL_CHECKPOINT_PREFIX, "%s: the product of \"shape\" is too large",
                     what);
}

static wtl_status read_encoding(reader *in, json_t *object, const char *what,
                                wtl_checkpoint_entry *entry)
{
    json_t *encoding;
    wtl_status status = member(in, object, what, "encoding", JSON_STRING, &encoding);
    if (status != WTL_OK) {
        return status;
    }
    entry->bitmap = strcmp(json_string_value(encoding), "bitmap") == 0;
    if (!entry->bitmap && strcmp(json_string_value(encoding), "dense") != 0) {
        return bad(in, WTL_CHECKPOINT_PREFIX,
                   "%s: \"encoding\" is \"%s\", this reader knows \"dense\" and \"bitmap\"",
                   what, json_string_value(encoding));
    }
    return WTL_OK;
}

static wtl_status read_place(reader *in, json_t *object, const char *what,
                             wtl_checkpoint_entry *entry)
{
    uint64_t offset = 0, bytes = 0, crc = 0;
    wtl_status status = number(in, object, what, "offset", INT64_MAX, &offset);
    if (status == WTL_OK) {
        status = number(in, object, what, "bytes", INT64_MAX, &bytes);
    }
    if (status == WTL_OK) {
        status = number(in, object, what, "crc32", UINT32_MAX, &crc);
    }
    if (status == WTL_OK && (offset > SIZE_MAX || bytes > SIZE_MAX)) {
        status = bad(in, WTL_CHECKPOINT_PREFIX, "%s: too large for this machine", what);
    }
    entry->offset = (size_t)offset;
    entry->bytes = (size_t)bytes;
    entry->crc = (uint32_t)crc;
    return status;
}

static wtl_status read_entry(reader *in, json_t *object, int index, wtl_checkpoint_entry *entry)
{
    static const char *const known[] = {"name",   "type",  "shape", "encoding",
                                        "offset", "bytes", "crc32", NULL};
    char what[32];
    snprintf(what, sizeof what, "tensor %d", index);
    if (!json_is_object(object)) {
        return bad(in, WTL_CHECKPOINT_PREFIX, "%s is not an object", what);
    }
    wtl_status status = check_keys(in, object, what, known);
    if (status == WTL_OK) {
        status = read_name(in, object, what, entry);
    }
    if (status == WTL_OK) {
        status = fixed_word(in, object, what, "type", "f32");
    }
    if (status == WTL_OK) {
        status = read_shape(in, object, what, entry);
    }
    if (status == WTL_OK) {
        status = read_encoding(in, object, what, entry);
    }
    return status == WTL_OK ? read_place(in, object, what, entry) : status;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorting keeps a hostile header of very many tensors from costing their square. */
static wtl_status refuse_equal_names(reader *in)
{
    const wtl_checkpoint *c = in->checkpoint;
    const char **names = wtl_alloc((size_t)c->entry_count, sizeof *names);
    if (!names) {
        return out_of_memory(in);
    }
    for (int i = 0; i < c->entry_count; i++) {
        names[i] = c->entries[i].name;
    }
    qsort(names, (size_t)c->entry_count, sizeof *names, compare_names);
    wtl_status status = WTL_OK;
    for (int i = 1; status == WTL_OK && i < c->entry_count; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            status =
                bad(in, WTL_CHECKPOINT_PREFIX, "two tensors have the name \"%s\"", names[i]);
        }
    }
    wtl_free(names);
    return status;
}

static wtl_status read_entries(reader *in, json_t *header)
{
    json_t *list;
    wtl_status status = member(in, header, "the header", "tensors", JSON_ARRAY, &list);
    if (status != WTL_OK) {
        return status;
    }
    wtl_checkpoint *c = in->checkpoint;
    int count = (int)json_array_size(list); /* a header's bytes fit an int */
    c->entries = wtl_alloc((size_t)count, sizeof *c->entries);
    if (!c->entries) {
        return out_of_memory(in);
    }
    c->entry_capacity = count;
    while (status == WTL_OK && c->entry_count < count) {
        int index = c->entry_count++; /* counted first: its name is freed with the others */
        status = read_entry(in, json_array_get(list, (size_t)index), index, &c->entries[index]);
    }
    return status == WTL_OK ? refuse_equal_names(in) : status;
}

static wtl_status read_header(reader *in, size_t header_length)
{
    json_t *header;
    wtl_status status = parse_json(in, header_length, &header);
    if (status != WTL_OK) {
        return status;
    }
    status = read_identity(in, header);
    if (status == WTL_OK) {
        status = read_entries(in, header);
    }
    if (status == WTL_OK) {
        status = read_classes(in, header);
    }
    if (status == WTL_OK) {
        status = read_meta(in, header);
    }
    if (status == WTL_OK) {
        status = read_net(in, header);
    }
    json_decref(header);
    return status;
}

/* ---- payloads ---- */

/* The payload lies inside the file and has a size that its shape allows. */
static wtl_status check_extent(reader *in, const wtl_checkpoint_entry *entry, size_t expected)
{
    if (entry->offset != expected) {
        return bad(in, expected, "%s begins at %zu, the layout puts it here", entry->name,
                   entry->offset);
    }
    if (entry->offset > in->length || entry->bytes > in->length - entry->offset) {
        return bad(in, entry->offset, "%s has %zu bytes, the file has %zu left", entry->name,
                   entry->bytes, in->length > entry->offset ? in->length - entry->offset : 0);
    }
    size_t dense = entry->count * 4;
    if (!entry->bitmap && entry->bytes != dense) {
        return bad(in, entry->offset, "%s has %zu bytes, its shape takes %zu", entry->name,
                   entry->bytes, dense);
    }
    if (entry->bitmap && entry->bytes < wtl_checkpoint_bitmap_bytes(entry->count)) {
        return bad(in, entry->offset, "%s has %zu bytes, its bitmap alone takes %zu",
                   entry->name, entry->bytes, wtl_checkpoint_bitmap_bytes(entry->count));
    }
    uint32_t crc = wtl_crc32(0, in->bytes + entry->offset, entry->bytes);
    return crc == entry->crc
               ? WTL_OK
               : bad(in, entry->offset,
                     "the CRC-32 of %s is %08" PRIx32 ", its bytes give %08" PRIx32,
                     entry->name, entry->crc, crc);
}

static wtl_status not_finite(reader *in, const wtl_checkpoint_entry *entry, size_t offset,
                             size_t index)
{
    uint32_t bits = wtl_load_le32(in->bytes + offset);
    return wtl_fail(in->err, WTL_E_NAN, "%s: offset %zu: %s[%zu] is %s", in->name, offset,
                    entry->name, index, (bits & 0x7fffff) != 0 ? "NaN" : "infinite");
}

/* The floats stay where they are. On a machine of the other byte order they are turned
 * round in place; on ours the loop changes nothing. */
static wtl_status unpack_dense(reader *in, wtl_checkpoint_entry *entry)
{
    for (size_t i = 0; i < entry->count; i++) {
        unsigned char *place = in->bytes + entry->offset + 4 * i;
        uint32_t bits = wtl_load_le32(place);
        if (!wtl_bits_are_finite(bits)) {
            return not_finite(in, entry, entry->offset + 4 * i, i);
        }
#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
        memcpy(place, &bits, sizeof bits);
#endif
    }
    entry->value = (const float *)(const void *)(in->bytes + entry->offset);
    return WTL_OK;
}

/* The bits behind the last value are zero and the floats are as many as the bits set. */
static wtl_status check_bitmap(reader *in, const wtl_checkpoint_entry *entry)
{
    const unsigned char *map = in->bytes + entry->offset;
    size_t bytes = wtl_checkpoint_bitmap_bytes(entry->count), kept = 0;
    for (size_t i = 0; i < bytes; i++) {
        size_t left = entry->count > 8 * i ? entry->count - 8 * i : 0;
        if (left < 8 && map[i] >> left != 0) {
            return bad(in, entry->offset + i, "%s: the bitmap has a bit behind value %zu",
                       entry->name, entry->count - 1);
        }
        kept += (size_t)__builtin_popcount(map[i]);
    }
    return entry->bytes == bytes + 4 * kept
               ? WTL_OK
               : bad(in, entry->offset,
                     "%s has %zu bytes, a bitmap of %zu kept values takes %zu", entry->name,
                     entry->bytes, kept, bytes + 4 * kept);
}

static wtl_status unpack_bitmap(reader *in, wtl_checkpoint_entry *entry)
{
    wtl_status status = check_bitmap(in, entry);
    if (status != WTL_OK) {
        return status;
    }
    entry->unpacked = wtl_alloc(entry->count, sizeof(float));
    if (!entry->unpacked) {
        return out_of_memory(in);
    }
    const unsigned char *map = in->bytes + entry->offset;
    size_t next = entry->offset + wtl_checkpoint_bitmap_bytes(entry->count);
    for (size_t i = 0; i < entry->count; i++) {
        if ((map[i / 8] >> i % 8 & 1) == 0) {
            continue;
        }
        uint32_t bits = wtl_load_le32(in->bytes + next);
        if (!wtl_bits_are_finite(bits)) {
            return not_finite(in, entry, next, i);
        }
        memcpy(&entry->unpacked[i], &bits, sizeof bits);
        next += 4;
    }
    entry->value = entry->unpacked;
    return WTL_OK;
}

static wtl_status read_payloads(reader *in, size_t header_length)
{
    wtl_checkpoint *c = in->checkpoint;
    size_t end = WTL_CHECKPOINT_PREFIX + header_length;
    size_t next = wtl_checkpoint_round_up(end, WTL_CHECKPOINT_ALIGNMENT);
    wtl_status status = check_zeros(in, end, next, "behind the header");
    end = next;
    for (int i = 0; status == WTL_OK && i < c->entry_count; i++) {
        wtl_checkpoint_entry *entry = &c->entries[i];
        next = wtl_checkpoint_round_up(end, WTL_CHECKPOINT_ALIGNMENT);
        status = check_zeros(in, end, next, "between tensors");
        if (status == WTL_OK) {
            status = check_extent(in, entry, next);
        }
        if (status == WTL_OK) {
            status = entry->bitmap ? unpack_bitmap(in, entry) : unpack_dense(in, entry);
        }
        end = next + entry->bytes;
    }
    if (status == WTL_OK && end != in->length) {
        status = bad(in, end, "%zu bytes behind the end", in->length - end);
    }
    return status;
}

/* ---- entry points ---- */

/* Takes over `bytes`, also on failure. */
static wtl_status parse_own(wtl_checkpoint **out, unsigned char *bytes, size_t length,
                            const char *name, wtl_error *err)
{
    *out = NULL;
    wtl_checkpoint *checkpoint;
    wtl_status status = wtl_checkpoint_create(&checkpoint, NULL);
    if (status != WTL_OK) {
        wtl_free(bytes);
        return wtl_fail(err, status, "%s: out of memory", name);
    }
    checkpoint->file = bytes;
    reader in = {bytes, length, name, checkpoint, err};
    size_t header_length = 0;
    status = read_prefix(&in, &header_length);
    if (status == WTL_OK) {
        status = read_header(&in, header_length);
    }
    if (status == WTL_OK) {
        status = read_payloads(&in, header_length);
    }
    if (status != WTL_OK) {
        wtl_checkpoint_free(checkpoint);
        return status;
    }
    *out = checkpoint;
    return WTL_OK;
}

wtl_status wtl_checkpoint_parse(wtl_checkpoint **out, const unsigned char *bytes, size_t length,
                                const char *name, wtl_error *err)
{
    *out = NULL;
    unsigned char *copy = wtl_alloc(length, 1);
    if (!copy) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory (%zu bytes)", name, length);
    }
    if (length > 0) {
        memcpy(copy, bytes, length);
    }
    return parse_own(out, copy, length, name, err);
}

wtl_status wtl_checkpoint_read(wtl_checkpoint **out, const char *path, wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    *out = NULL;
    wtl_status status = wtl_file_read_plain(path, SIZE_MAX / 4, &bytes, &length, err);
    return status == WTL_OK ? parse_own(out, bytes, length, path, err) : status;
}
