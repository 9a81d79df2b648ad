/* The layout is built here a second time, by hand, from the text in wattle/checkpoint.h. */
#include "wtl_test.h"

#include "wattle/checkpoint.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* ---- a file made by hand ---- */

enum { BASE = 512, W_AT = 512, M_AT = 576, S_AT = 640, LENGTH = 644 };

static const unsigned char W_BYTES[24] = {
    0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0, 0, 0, 0,    0x3f, /* 1, -2, 0.5 */
    0, 0, 0,    0x80, 0, 0, 0, 0,    0, 0, 0x40, 0x40, /* -0, 0, 3 */
};
static const float W[6] = {1.0f, -2.0f, 0.5f, -0.0f, 0.0f, 3.0f};

/* Values 0, 9 and 39 of 40 are kept: 7, 0.25 and -0. */
static const unsigned char M_BYTES[20] = {
    0x01, 0x02, 0, 0, 0x80, 0, 0, 0, 0, 0, 0xe0, 0x40, 0, 0, 0x80, 0x3e, 0, 0, 0, 0x80,
};

static const unsigned char S_BYTES[4] = {0, 0, 0x28, 0x42}; /* 42 */

typedef struct hand {
    char header[BASE];
    unsigned char bytes[LENGTH];
} hand;

/* CRC-32 of IEEE 802.3, bit by bit. */
static uint32_t plain_crc(const unsigned char *bytes, size_t length)
{
    uint32_t crc = 0xffffffffu;
    for (size_t i = 0; i < length; i++) {
        crc ^= bytes[i];
        for (int bit = 0; bit < 8; bit++) {
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
        }
    }
    return ~crc;
}

static void store32(unsigned char *at, uint32_t word)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (unsigned char)(word >> 8 * i);
    }
}

/* The fixed part and the header text around the payloads that are there. */
static void seal(hand *h)
{
    size_t used = strlen(h->header);
    assert_true(used <= BASE - 24);
    memset(h->header + used, ' ', BASE - 24 - used);
    h->header[BASE - 24] = '\0';
    memcpy(h->bytes, "WATTLE\r\n", 8);
    store32(h->bytes + 8, 1);
    store32(h->bytes + 12, plain_crc((const unsigned char *)h->header, BASE - 24));
    store32(h->bytes + 16, BASE - 24);
    store32(h->bytes + 20, 0);
    memcpy(h->bytes + 24, h->header, BASE - 24);
}

static void write_header(hand *h)
{
    snprintf(
        h->header, sizeof h->header,
        "{\"format\":\"wattle-checkpoint\",\"version\":1,\"classes\":[\"cat\",\"d\xc3\xb6g\"],"
        "\"meta\":{\"epoch\":3,\"note\":\"by hand\",\"rate\":0.10000000000000001},"
        "\"tensors\":[{\"name\":\"w\",\"type\":\"f32\",\"shape\":[2,3],\"encoding\":\"dense\","
        "\"offset\":512,\"bytes\":24,\"crc32\":%lu},{\"name\":\"m\",\"type\":\"f32\",\"shape\":"
        "[40],\"encoding\":\"bitmap\",\"offset\":576,\"bytes\":20,\"crc32\":%lu},{\"name\":"
        "\"s\",\"type\":\"f32\",\"shape\":[],\"encoding\":\"dense\",\"offset\":640,\"bytes\":4,"
        "\"crc32\":%lu}]}",
        (unsigned long)plain_crc(h->bytes + W_AT, 24),
        (unsigned long)plain_crc(h->bytes + M_AT, 20),
        (unsigned long)plain_crc(h->bytes + S_AT, 4));
}

static void make_by_hand(hand *h)
{
    memset(h, 0, sizeof *h);
    memcpy(h->bytes + W_AT, W_BYTES, sizeof W_BYTES);
    memcpy(h->bytes + M_AT, M_BYTES, sizeof M_BYTES);
    memcpy(h->bytes + S_AT, S_BYTES, sizeof S_BYTES);
    write_header(h);
    seal(h);
}

/* The same with one piece of the header's text replaced. */
static void make_with(hand *h, const char *from, const char *to)
{
    make_by_hand(h);
    write_header(h);
    char *at = strstr(h->header, from);
    assert_non_null(at);
    char rest[BASE];
    snprintf(rest, sizeof rest, "%s", at + strlen(from));
    snprintf(at, (size_t)(h->header + sizeof h->header - at), "%s%s", to, rest);
    seal(h);
}

static void parse_fails(const unsigned char *bytes, size_t length, wtl_status status,
                        const char *text)
{
    wtl_error err;
    wtl_checkpoint *checkpoint = (wtl_checkpoint *)&err;
    assert_fails(wtl_checkpoint_parse(&checkpoint, bytes, length, "x.wtl", &err), status, &err,
                 text);
    assert_null(checkpoint);
}

static void assert_same_bits(const float *got, const float *want, size_t count)
{
    assert_memory_equal(got, want, count * sizeof *want);
}

/* ---- reading ---- */

static void a_file_made_by_hand_is_understood(void **state)
{
    (void)state;
    hand h;
    wtl_error err;
    wtl_checkpoint *c;
    make_by_hand(&h);
    assert_ok(wtl_checkpoint_parse(&c, h.bytes, LENGTH, "x.wtl", &err));
    assert_null(wtl_checkpoint_net(c));
    assert_int_equal(wtl_checkpoint_class_count(c), 2);
    assert_string_equal(wtl_checkpoint_class(c, 0), "cat");
    assert_string_equal(wtl_checkpoint_class(c, 1), "d\xc3\xb6g");
    assert_int_equal(json_integer_value(wtl_checkpoint_meta(c, "epoch")), 3);
    assert_true(json_real_value(wtl_checkpoint_meta(c, "rate")) == 0.1);
    assert_null(wtl_checkpoint_meta(c, "absent"));

    assert_int_equal(wtl_checkpoint_tensor_count(c), 3);
    wtl_tensor_view view = wtl_checkpoint_tensor(c, 0);
    assert_string_equal(view.name, "w");
    assert_int_equal(view.rank, 2);
    assert_int_equal(view.dims[0], 2);
    assert_int_equal(view.dims[1], 3);
    assert_int_equal(view.count, 6);
    assert_same_bits(view.value, W, 6);
    assert_int_equal((uintptr_t)view.value % WTL_ALIGNMENT, 0);

    float m[40] = {[0] = 7.0f, [9] = 0.25f, [39] = -0.0f};
    assert_true(wtl_checkpoint_find(c, "m", &view));
    assert_int_equal(view.count, 40);
    assert_same_bits(view.value, m, 40);

    assert_true(wtl_checkpoint_find(c, "s", &view));
    assert_int_equal(view.rank, 0);
    assert_int_equal(view.count, 1);
    assert_close(view.value[0], 42.0, 0.0);
    assert_false(wtl_checkpoint_find(c, "absent", &view));
    wtl_checkpoint_free(c);
}

static void zero_bytes_may_stand_between_header_and_payload(void **state)
{
    (void)state;
    hand h;
    wtl_error err;
    wtl_checkpoint *c;
    make_by_hand(&h);
    size_t used = BASE - 24;
    while (h.header[used - 1] == ' ') {
        h.bytes[24 + --used] = 0;
    }
    store32(h.bytes + 12, plain_crc(h.bytes + 24, used));
    store32(h.bytes + 16, (uint32_t)used);
    assert_ok(wtl_checkpoint_parse(&c, h.bytes, LENGTH, "x.wtl", &err));
    wtl_checkpoint_free(c);

    h.bytes[BASE - 1] = 9;
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT,
                "x.wtl: offset 511: a byte of the padding behind the header is 9, not 0");
}

static void every_length_that_is_cut_is_refused(void **state)
{
    (void)state;
    hand h;
    make_by_hand(&h);
    for (size_t length = 0; length < LENGTH; length++) {
        wtl_error err;
        wtl_checkpoint *c;
        unsigned char *cut = malloc(length ? length : 1); /* ASan watches its end */
        memcpy(cut, h.bytes, length);
        assert_int_equal(wtl_checkpoint_parse(&c, cut, length, "x.wtl", &err), WTL_E_FORMAT);
        assert_null(c);
        assert_memory_equal(err.text, "x.wtl: offset ", 14);
        free(cut);
    }
    parse_fails(h.bytes, 0, WTL_E_FORMAT, "x.wtl: offset 0: not a wattle checkpoint");
    parse_fails(h.bytes, 20, WTL_E_FORMAT,
                "x.wtl: offset 20: the file is cut inside its first 24 bytes");
    parse_fails(h.bytes, 511, WTL_E_FORMAT,
                "x.wtl: offset 16: a header of 488 bytes, the file has 487 left");
    parse_fails(h.bytes, 530, WTL_E_FORMAT,
                "x.wtl: offset 512: w has 24 bytes, the file has 18 left");
    parse_fails(h.bytes, 540, WTL_E_FORMAT,
                "x.wtl: offset 540: the file is cut in the padding between tensors");
}

static void every_flipped_bit_is_refused(void **state)
{
    (void)state;
    hand h;
    make_by_hand(&h);
    for (size_t bit = 0; bit < 8 * (size_t)LENGTH; bit++) {
        wtl_checkpoint *c;
        h.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        wtl_status status = wtl_checkpoint_parse(&c, h.bytes, LENGTH, "x.wtl", NULL);
        h.bytes[bit / 8] ^= (unsigned char)(1 << bit % 8);
        if (status != WTL_E_FORMAT || c) {
            fail_msg("bit %zu flipped: %s", bit, wtl_status_name(status));
        }
    }
}

static void bytes_behind_the_end_are_refused(void **state)
{
    (void)state;
    hand h;
    unsigned char longer[LENGTH + 60] = {0};
    make_by_hand(&h);
    memcpy(longer, h.bytes, LENGTH);
    parse_fails(longer, sizeof longer, WTL_E_FORMAT,
                "x.wtl: offset 644: 60 bytes behind the end");
}

static void the_fixed_part_is_checked_field_by_field(void **state)
{
    (void)state;
    hand h;
    make_by_hand(&h);
    h.bytes[7] = '\r'; /* what a copy in text mode does */
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT, "x.wtl: offset 0: not a wattle checkpoint");
    make_by_hand(&h);
    h.bytes[8] = 2;
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT,
                "x.wtl: offset 8: format version 2, this reader knows 1");
    make_by_hand(&h);
    h.bytes[23] = 0x80;
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT,
                "x.wtl: offset 16: a header of 9223372036854776296 bytes, at most 67108864 go");
    make_by_hand(&h);
    h.bytes[18] = 1;
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT,
                "x.wtl: offset 16: a header of 66024 bytes, the file has 620 left");
    make_by_hand(&h);
    memcpy(h.bytes + 12, "\x78\x56\x34\x12", 4);
    char text[128];
    snprintf(text, sizeof text,
             "x.wtl: offset 12: the header's CRC-32 is 12345678, its bytes give %08lx",
             (unsigned long)plain_crc(h.bytes + 24, BASE - 24));
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT, text);
}

static void the_header_is_checked_field_by_field(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *text;
    } cases[] = {
        {"{\"format", "[\"format", "34: the header is not JSON: ']' expected near ':'"},
        {"}]}", "}]}x", "469: the header is not JSON: end of file expected near 'x'"},
        {"\"epoch\":3", "\"rate\":3",
         "131: the header is not JSON: duplicate object key near "
         "'\"rate\"'"},
        {"\"by hand\"", "\"\xff\"",
         "117: the header is not JSON: unable to decode byte 0xff near '\"'"},
        {"wattle-checkpoint", "wattle",
         "the header: \"format\" is \"wattle\", this reader knows "
         "\"wattle-checkpoint\""},
        {"\"format\":\"wattle-checkpoint\",", "", "the header has no \"format\""},
        {"\"version\":1,", "", "the header has no \"version\""},
        {"\"version\":1", "\"version\":1.0", "the header: \"version\" is not an integer"},
        {"\"version\":1", "\"version\":2", "the header: \"version\" is 2, this reader knows 1"},
        {"\"version\":1", "\"version\":1,\"x\":0", "the header has the unknown key \"x\""},
        {"\"version\":1", "\"version\":1,\"net\":7", "the header: \"net\" is not a string"},
        {"\"classes\":[\"cat\",\"d\xc3\xb6g\"]", "\"classes\":{}",
         "the header: \"classes\" is not an array"},
        {"\"cat\"", "1", "the header: \"classes\" has an entry that is not a string"},
        {"\"meta\":{\"epoch\":3,\"note\":\"by hand\",\"rate\":0.10000000000000001}",
         "\"meta\":[]", "the header: \"meta\" is not an object"},
        {"\"tensors\"", "\"tonsors\"", "the header has the unknown key \"tonsors\""},
        {"[{\"name\":\"w\"", "[0,{\"name\":\"w\"", "tensor 0 is not an object"},
        {"\"name\":\"w\",", "", "tensor 0 has no \"name\""},
        {"\"name\":\"w\"", "\"name\":[]", "tensor 0: \"name\" is not a string"},
        {"\"name\":\"w\"", "\"name\":\"\"", "tensor 0: a name of 0 bytes, 1 to 255 go"},
        {"\"name\":\"m\"", "\"name\":\"s\"", "two tensors have the name \"s\""},
        {"\"f32\"", "\"f16\"", "tensor 0: \"type\" is \"f16\", this reader knows \"f32\""},
        {"\"type\":\"f32\",", "", "tensor 0 has no \"type\""},
        {"\"type\"", "\"kind\":0,\"type\"", "tensor 0 has the unknown key \"kind\""},
        {"\"shape\":[2,3],", "", "tensor 0 has no \"shape\""},
        {"[2,3]", "6", "tensor 0: \"shape\" is not an array"},
        {"[2,3]", "[1,1,1,2,3]", "tensor 0: rank 5, 0 to 4 go"},
        {"[2,3]", "[6,0]", "tensor 0: a size of \"shape\" is not an integer >= 1"},
        {"[2,3]", "[-2,-3]", "tensor 0: a size of \"shape\" is not an integer >= 1"},
        {"[2,3]", "[2,3.0]", "tensor 0: a size of \"shape\" is not an integer >= 1"},
        {"[2,3]", "[4294967296,4294967296]", "tensor 0: the product of \"shape\" is too large"},
        {"[2,3]", "[2305843009213693952]", "tensor 0: the product of \"shape\" is too large"},
        {"\"dense\"", "\"csr\"",
         "tensor 0: \"encoding\" is \"csr\", this reader knows \"dense\" "
         "and \"bitmap\""},
        {"\"offset\":512,", "", "tensor 0 has no \"offset\""},
        {"\"bytes\":24,", "", "tensor 0 has no \"bytes\""},
        {"\"crc32\"", "\"crc\"", "tensor 0 has the unknown key \"crc\""},
        {"\"bytes\":24", "\"bytes\":-24",
         "tensor 0: \"bytes\" is -24, 0 to 9223372036854775807 "
         "go"},
        {"\"bytes\":24", "\"bytes\":\"24\"", "tensor 0: \"bytes\" is not an integer"},
        {"\"crc32\":", "\"crc32\":4294967296},{\"crc32\":",
         "tensor 0: \"crc32\" is 4294967296, 0 to 4294967295 go"},
        {"\"offset\":512", "\"offset\":448", "512: w begins at 448, the layout puts it here"},
        {"\"offset\":512", "\"offset\":9223372036854775807",
         "512: w begins at 9223372036854775807, the layout puts it here"},
        {"\"bytes\":24", "\"bytes\":9223372036854775807",
         "512: w has 9223372036854775807 bytes, the file has 132 left"},
        {"[2,3]", "[2,2]", "512: w has 24 bytes, its shape takes 16"},
        {"[2,3]", "[1000000,1000000]", "512: w has 24 bytes, its shape takes 4000000000000"},
        {"[40]", "[1000]", "576: m has 20 bytes, its bitmap alone takes 128"},
        {"[40]", "[4000000000000]", "576: m has 20 bytes, its bitmap alone takes 500000000000"},
        {"[40]", "[39]", "580: m: the bitmap has a bit behind value 38"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        hand h;
        char text[WTL_ERROR_TEXT_SIZE];
        make_with(&h, cases[i].from, cases[i].to);
        bool placed = cases[i].text[0] >= '0' && cases[i].text[0] <= '9';
        snprintf(text, sizeof text, "x.wtl: offset %s%s", placed ? "" : "24: ", cases[i].text);
        parse_fails(h.bytes, LENGTH, WTL_E_FORMAT, text);
    }
    hand h;
    wtl_error err;
    wtl_checkpoint *c;
    make_with(&h, "[40]", "[64]"); /* bits 40 to 63 are zero bytes already: equally good */
    assert_ok(wtl_checkpoint_parse(&c, h.bytes, LENGTH, "x.wtl", &err));
    wtl_checkpoint_free(c);
}

static void a_header_that_is_no_object_is_refused(void **state)
{
    (void)state;
    hand h;
    make_by_hand(&h);
    snprintf(h.header, sizeof h.header, "[]");
    seal(&h);
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT, "x.wtl: offset 24: the header is not an object");
}

/* One byte of a payload differs and the CRCs agree with it. */
static void payload_fails(size_t at, unsigned char byte, wtl_status status, const char *text)
{
    hand h;
    make_by_hand(&h);
    h.bytes[at] = byte;
    write_header(&h);
    seal(&h);
    parse_fails(h.bytes, LENGTH, status, text);
}

static void payloads_are_checked_behind_a_right_crc(void **state)
{
    (void)state;
    payload_fails(M_AT + 5, 1, WTL_E_FORMAT,
                  "x.wtl: offset 581: m: the bitmap has a bit behind value 39");
    payload_fails(M_AT, 3, WTL_E_FORMAT,
                  "x.wtl: offset 576: m has 20 bytes, a bitmap of 4 kept values takes 24");
    payload_fails(M_AT, 0, WTL_E_FORMAT,
                  "x.wtl: offset 576: m has 20 bytes, a bitmap of 2 kept values takes 16");
}

static void values_that_are_not_finite_are_refused(void **state)
{
    (void)state;
    hand h;
    static const struct {
        size_t at;
        uint32_t bits;
        const char *text;
    } cases[] = {
        {W_AT + 8, 0x7fc00000, "x.wtl: offset 520: w[2] is NaN"},
        {W_AT + 20, 0xffc00001, "x.wtl: offset 532: w[5] is NaN"},
        {W_AT, 0x7f800000, "x.wtl: offset 512: w[0] is infinite"},
        {M_AT + 12, 0xff800000, "x.wtl: offset 588: m[9] is infinite"},
        {M_AT + 16, 0x7f800001, "x.wtl: offset 592: m[39] is NaN"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        make_by_hand(&h);
        store32(h.bytes + cases[i].at, cases[i].bits);
        write_header(&h);
        seal(&h);
        parse_fails(h.bytes, LENGTH, WTL_E_NAN, cases[i].text);
    }
}

static void a_payload_with_another_crc_is_refused(void **state)
{
    (void)state;
    hand h;
    char text[160];
    make_by_hand(&h);
    h.bytes[S_AT] = 1;
    snprintf(text, sizeof text,
             "x.wtl: offset 640: the CRC-32 of s is %08lx, its bytes give %08lx",
             (unsigned long)plain_crc(S_BYTES, 4), (unsigned long)plain_crc(h.bytes + S_AT, 4));
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT, text);
    make_by_hand(&h);
    h.bytes[W_AT + 24] = 7;
    parse_fails(h.bytes, LENGTH, WTL_E_FORMAT,
                "x.wtl: offset 536: a byte of the padding between tensors is 7, not 0");
}

static void a_net_that_does_not_parse_is_refused_with_its_line(void **state)
{
    (void)state;
    hand h;
    wtl_error err;
    wtl_checkpoint *c;
    make_with(&h, "\"meta\":{\"epoch\":3,\"note\":\"by hand\",\"rate\":0.10000000000000001}",
              "\"net\":\"net t\\ninput data 1x2x2\\nx = nosuch data\\n\"");
    assert_int_equal(wtl_checkpoint_parse(&c, h.bytes, LENGTH, "x.wtl", &err), WTL_E_FORMAT);
    assert_null(c);
    assert_memory_equal(err.text, "x.wtl: offset 24: net:3: ", 25);
}

static void nothing_but_a_file_that_is_no_checkpoint_fails_to_be_sniffed(void **state)
{
    (void)state;
    hand h;
    make_by_hand(&h);
    assert_true(wtl_checkpoint_sniff(h.bytes, 8));
    assert_false(wtl_checkpoint_sniff(h.bytes, 7));
    assert_false(wtl_checkpoint_sniff((const unsigned char *)"WATTLE\n\n", 8));
}

/* Files made by another program, with the layout and zlib's crc32 of Python. */
static void every_bad_file_is_refused_with_its_message(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        wtl_status status;
        const char *text;
    } cases[] = {
        {"behind.wtl", WTL_E_FORMAT, "offset 208: 1 bytes behind the end"},
        {"bitmap-count.wtl", WTL_E_FORMAT,
         "offset 192: m has 16 bytes, a bitmap of 3 kept values takes 20"},
        {"bitmap-tail.wtl", WTL_E_FORMAT,
         "offset 196: m: the bitmap has a bit behind value 38"},
        {"cut-header.wtl", WTL_E_FORMAT,
         "offset 16: a header of 424 bytes, the file has 176 left"},
        {"cut-payload.wtl", WTL_E_FORMAT, "offset 576: m has 16 bytes, the file has 13 left"},
        {"cut-prefix.wtl", WTL_E_FORMAT,
         "offset 20: the file is cut inside its first 24 bytes"},
        {"deep.wtl", WTL_E_FORMAT,
         "offset 2125: the header is not JSON: maximum parsing depth reached near '['"},
        {"flipped-header.wtl", WTL_E_FORMAT,
         "offset 12: the header's CRC-32 is d13c6f4d, its bytes give 406f06ab"},
        {"flipped-padding.wtl", WTL_E_FORMAT,
         "offset 382: a byte of the padding between tensors is 4, not 0"},
        {"flipped-payload.wtl", WTL_E_FORMAT,
         "offset 576: the CRC-32 of m is 811b75cf, its bytes give 8676b1d6"},
        {"foreign.wtl", WTL_E_FORMAT, "offset 0: not a wattle checkpoint"},
        {"huge-bytes.wtl", WTL_E_FORMAT,
         "offset 256: c.weight has 9223372036854775807 bytes, the file has 16 left"},
        {"huge-header.wtl", WTL_E_FORMAT,
         "offset 16: a header of 9223372036854775813 bytes, at most 67108864 go"},
        {"huge-shape.wtl", WTL_E_FORMAT,
         "offset 24: tensor 0: the product of \"shape\" is too large"},
        {"infinite.wtl", WTL_E_NAN, "offset 204: m[39] is infinite"},
        {"nan.wtl", WTL_E_NAN, "offset 196: c.weight[1] is NaN"},
        {"nothing.wtl", WTL_E_FORMAT, "offset 0: not a wattle checkpoint"},
        {"overlap.wtl", WTL_E_FORMAT,
         "offset 384: c.bias begins at 512, the layout puts it here"},
        {"two-keys.wtl", WTL_E_FORMAT,
         "offset 75: the header is not JSON: duplicate object key near '\"version\"'"},
        {"two-names.wtl", WTL_E_FORMAT, "offset 24: two tensors have the name \"c.weight\""},
        {"unknown-encoding.wtl", WTL_E_FORMAT,
         "offset 24: tensor 0: \"encoding\" is \"csr\", this reader knows \"dense\" and "
         "\"bitmap\""},
        {"unknown-key.wtl", WTL_E_FORMAT,
         "offset 24: the header has the unknown key \"extra\""},
        {"unknown-type.wtl", WTL_E_FORMAT,
         "offset 24: tensor 0: \"type\" is \"f16\", this reader knows \"f32\""},
        {"version-2.wtl", WTL_E_FORMAT, "offset 8: format version 2, this reader knows 1"},
        {"zero-size.wtl", WTL_E_FORMAT,
         "offset 24: tensor 0: a size of \"shape\" is not an integer >= 1"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_error err;
        wtl_checkpoint *c;
        char path[300], text[WTL_ERROR_TEXT_SIZE];
        snprintf(path, sizeof path, WTL_SOURCE_DIR "/tests/bad/checkpoint/%s", cases[i].name);
        snprintf(text, sizeof text, "%s: %s", path, cases[i].text);
        assert_fails(wtl_checkpoint_read(&c, path, &err), cases[i].status, &err, text);
        assert_null(c);
    }
}

static void files_made_by_another_program_are_read(void **state)
{
    (void)state;
    wtl_error err;
    wtl_checkpoint *c;
    wtl_tensor_view view;
    assert_ok(
        wtl_checkpoint_read(&c, WTL_SOURCE_DIR "/tests/fuzz/corpus/checkpoint/net.wtl", &err));
    assert_string_equal(wtl_checkpoint_net(c)->name, "t");
    assert_string_equal(wtl_checkpoint_class(c, 0), "cat");
    assert_int_equal(json_array_size(wtl_checkpoint_meta(c, "history")), 4);
    assert_true(wtl_checkpoint_find(c, "c.weight", &view));
    assert_close(view.value[1], -2.0, 0.0);
    assert_true(wtl_checkpoint_find(c, "m", &view));
    assert_close(view.value[0], 7.0, 0.0);
    assert_true(view.value[39] == 0.0f && signbit(view.value[39]));
    wtl_checkpoint_free(c);
}

/* ---- writing ---- */

static const float M[40] = {[0] = 7.0f, [9] = 0.25f, [39] = -0.0f};
static const float S[1] = {42.0f};

static wtl_status fill_as_by_hand(wtl_checkpoint *c, bool backwards, wtl_error *err)
{
    static const char *const classes[] = {"cat", "d\xc3\xb6g"};
    static const size_t two[] = {2, 3}, one[] = {40};
    wtl_status status = wtl_checkpoint_set_classes(c, classes, 2, err);
    for (int i = 0; status == WTL_OK && i < 3; i++) {
        int which = backwards ? 2 - i : i;
        status = which == 0   ? wtl_checkpoint_set_meta(c, "epoch", json_integer(3), err)
                 : which == 1 ? wtl_checkpoint_set_meta(c, "note", json_string("by hand"), err)
                              : wtl_checkpoint_set_meta(c, "rate", json_real(0.1), err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_add(c, "w", 2, two, W, err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_add(c, "m", 1, one, M, err);
    }
    return status == WTL_OK ? wtl_checkpoint_add(c, "s", 0, NULL, S, err) : status;
}

static void the_writer_gives_the_bytes_made_by_hand(void **state)
{
    (void)state;
    hand h;
    make_by_hand(&h);
    const char *path = wtl_test_path("same.wtl");
    for (int backwards = 0; backwards < 2; backwards++) {
        wtl_error err;
        wtl_checkpoint *c;
        unsigned char *bytes;
        size_t length;
        assert_ok(wtl_checkpoint_create(&c, &err));
        assert_ok(fill_as_by_hand(c, backwards, &err));
        assert_ok(wtl_checkpoint_write(c, path, &err));
        wtl_checkpoint_free(c);
        assert_ok(wtl_file_read(path, 10000, &bytes, &length, &err));
        assert_int_equal(length, LENGTH);
        assert_memory_equal(bytes, h.bytes, LENGTH);
        wtl_free(bytes);
    }
}

static void an_empty_checkpoint_is_written_and_read(void **state)
{
    (void)state;
    wtl_error err;
    wtl_checkpoint *c;
    const char *path = wtl_test_path("empty.wtl");
    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_ok(wtl_checkpoint_write(c, path, &err));
    wtl_checkpoint_free(c);
    assert_ok(wtl_checkpoint_read(&c, path, &err));
    assert_int_equal(wtl_checkpoint_tensor_count(c), 0);
    assert_int_equal(wtl_checkpoint_class_count(c), 0);
    assert_null(wtl_checkpoint_meta(c, "x"));
    wtl_checkpoint_free(c);
}

/* Sizes round a word of the bitmap and densities round the break-even of 31/32. */
static void tensors_of_every_size_and_density_come_back_bit_for_bit(void **state)
{
    (void)state;
    enum { CASES = 60, MOST = 300 };
    static float values[CASES][MOST];
    wtl_error err;
    wtl_checkpoint *c;
    char name[16];
    const char *path = wtl_test_path("many.wtl");
    assert_ok(wtl_checkpoint_create(&c, &err));
    for (int i = 0; i < CASES; i++) {
        size_t count = (size_t)(i < 40 ? i + 1 : 5 * i);
        wtl_fill_random(values[i], count, (unsigned)i);
        for (size_t k = 0; k < count; k++) {
            if (k * 7 % 10 < (size_t)i % 11) {
                values[i][k] = k % 3 == 0 ? -0.0f : 0.0f;
            }
        }
        snprintf(name, sizeof name, "t%d", i);
        assert_ok(wtl_checkpoint_add(c, name, 1, &count, values[i], &err));
    }
    assert_ok(wtl_checkpoint_write(c, path, &err));
    wtl_checkpoint_free(c);
    assert_ok(wtl_checkpoint_read(&c, path, &err));
    assert_int_equal(wtl_checkpoint_tensor_count(c), CASES);
    for (int i = 0; i < CASES; i++) {
        wtl_tensor_view view = wtl_checkpoint_tensor(c, i);
        assert_int_equal(view.count, i < 40 ? i + 1 : 5 * i);
        assert_same_bits(view.value, values[i], view.count);
    }
    wtl_checkpoint_free(c);
}

static void a_bitmap_is_taken_only_where_it_is_smaller(void **state)
{
    (void)state;
    static const float kept[64] = {[0 ... 61] = 1.0f}; /* 8 + 62*4 = 256: no gain */
    static const float fewer[64] = {[0 ... 60] = 1.0f};
    static const size_t count = 64;
    wtl_error err;
    wtl_checkpoint *c;
    unsigned char *bytes;
    size_t length;
    const char *path = wtl_test_path("choice.wtl");
    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_ok(wtl_checkpoint_add(c, "kept", 1, &count, kept, &err));
    assert_ok(wtl_checkpoint_add(c, "fewer", 1, &count, fewer, &err));
    assert_ok(wtl_checkpoint_write(c, path, &err));
    wtl_checkpoint_free(c);
    assert_ok(wtl_file_read(path, 10000, &bytes, &length, &err));
    const char *text = (const char *)bytes + 24;
    assert_non_null(
        strstr(text, "\"kept\",\"type\":\"f32\",\"shape\":[64],\"encoding\":\"dense\""));
    assert_non_null(
        strstr(text, "\"fewer\",\"type\":\"f32\",\"shape\":[64],\"encoding\":\"bitmap\""));
    wtl_free(bytes);
}

static void the_net_goes_with_its_text(void **state)
{
    (void)state;
    static const char text[] = "net tiny\nclasses 3\ninput data 2x5x5\n"
                               "c1 = conv data out=classes kernel=3\nprob = softmax c1\n";
    wtl_error err;
    wtl_netdef *def;
    wtl_checkpoint *c;
    const char *path = wtl_test_path("net.wtl");
    assert_ok(wtl_netdef_parse(&def, text, sizeof text - 1, "tiny.net", NULL, &err));
    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_ok(wtl_checkpoint_set_net(c, def, &err));
    assert_ok(wtl_checkpoint_set_net(c, def, &err)); /* the last one counts */
    wtl_netdef_free(def);
    assert_ok(wtl_checkpoint_write(c, path, &err));
    wtl_checkpoint_free(c);
    assert_ok(wtl_checkpoint_read(&c, path, &err));
    const wtl_netdef *got = wtl_checkpoint_net(c);
    assert_non_null(got);
    assert_string_equal(got->name, "tiny");
    assert_int_equal(got->layer_count, 3);
    assert_int_equal(got->layers[1].as.conv.out, 3);
    wtl_checkpoint_free(c);
}

static void what_was_read_can_be_written_again(void **state)
{
    (void)state;
    hand h;
    wtl_error err;
    wtl_checkpoint *c;
    unsigned char *bytes;
    size_t length;
    const char *path = wtl_test_path("again.wtl");
    make_by_hand(&h);
    assert_ok(wtl_checkpoint_parse(&c, h.bytes, LENGTH, "x.wtl", &err));
    assert_ok(wtl_checkpoint_write(c, path, &err));
    wtl_checkpoint_free(c);
    assert_ok(wtl_file_read(path, 10000, &bytes, &length, &err));
    assert_int_equal(length, LENGTH);
    assert_memory_equal(bytes, h.bytes, LENGTH);
    wtl_free(bytes);
}

static void a_network_gone_bad_does_not_replace_a_good_file(void **state)
{
    (void)state;
    static const size_t count = 3;
    float values[3] = {1.0f, NAN, 2.0f};
    wtl_error err;
    wtl_checkpoint *c;
    unsigned char *bytes;
    size_t length;
    char text[WTL_ERROR_TEXT_SIZE];
    const char *path = wtl_test_path("kept.wtl");
    wtl_test_write(path, "old", 3);
    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_ok(wtl_checkpoint_add(c, "b", 1, &count, values, &err));
    snprintf(text, sizeof text, "%s: not written: b[1] is nan", path);
    assert_fails(wtl_checkpoint_write(c, path, &err), WTL_E_NAN, &err, text);
    values[1] = -INFINITY;
    snprintf(text, sizeof text, "%s: not written: b[1] is -inf", path);
    assert_fails(wtl_checkpoint_write(c, path, &err), WTL_E_NAN, &err, text);
    wtl_checkpoint_free(c);
    assert_ok(wtl_file_read(path, 100, &bytes, &length, &err));
    assert_string_equal((const char *)bytes, "old");
    wtl_free(bytes);
}

static void a_full_disk_is_said(void **state)
{
    (void)state;
    wtl_error err;
    wtl_checkpoint *c;
    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_fails(wtl_checkpoint_write(c, "/dev/full", &err), WTL_E_WRITE, &err,
                 "/dev/full: cannot be written: No space left on device");
    wtl_checkpoint_free(c);
}

static void calls_that_make_no_sense_are_refused(void **state)
{
    (void)state;
    static const size_t none[] = {3, 0}, huge[] = {1ul << 40, 1ul << 40}, one[] = {1};
    static const char *const bad_classes[] = {"a", "\xff"};
    wtl_error err;
    wtl_checkpoint *c;
    char name[300];
    memset(name, 'n', sizeof name);
    name[256] = '\0';
    assert_ok(wtl_checkpoint_create(&c, &err));
    assert_fails(wtl_checkpoint_add(c, "", 1, one, S, &err), WTL_E_ARG, &err,
                 "checkpoint: a tensor's name has 0 bytes, 1 to 255 go");
    assert_fails(wtl_checkpoint_add(c, name, 1, one, S, &err), WTL_E_ARG, &err,
                 "checkpoint: a tensor's name has 256 bytes, 1 to 255 go");
    assert_fails(wtl_checkpoint_add(c, "\xc3", 1, one, S, &err), WTL_E_ARG, &err,
                 "checkpoint: tensor name \"\xc3\" is not UTF-8");
    assert_fails(wtl_checkpoint_add(c, "a", 5, one, S, &err), WTL_E_ARG, &err,
                 "checkpoint: a: rank 5, 0 to 4 go");
    assert_fails(wtl_checkpoint_add(c, "a", 2, none, S, &err), WTL_E_ARG, &err,
                 "checkpoint: a: a size is 0 or the product too large");
    assert_fails(wtl_checkpoint_add(c, "a", 2, huge, S, &err), WTL_E_ARG, &err,
                 "checkpoint: a: a size is 0 or the product too large");
    assert_ok(wtl_checkpoint_add(c, "a", 1, one, S, &err));
    assert_fails(wtl_checkpoint_add(c, "a", 1, one, S, &err), WTL_E_ARG, &err,
                 "checkpoint: a: there is a tensor of that name");
    assert_fails(wtl_checkpoint_set_classes(c, bad_classes, 2, &err), WTL_E_ARG, &err,
                 "checkpoint: class name \"\xff\" is not UTF-8");
    assert_fails(wtl_checkpoint_set_classes(c, bad_classes, -1, &err), WTL_E_ARG, &err,
                 "checkpoint: -1 class names");
    assert_fails(wtl_checkpoint_set_meta(c, "\xff", json_true(), &err), WTL_E_ARG, &err,
                 "checkpoint: meta key \"\xff\" is not UTF-8");
    assert_fails(wtl_checkpoint_set_meta(c, "k", NULL, &err), WTL_E_NOMEM, &err,
                 "checkpoint: out of memory for meta \"k\"");
    wtl_checkpoint_free(c);
    wtl_checkpoint_free(NULL);
}

static void a_file_that_is_none_is_refused_with_the_reason(void **state)
{
    (void)state;
    /* gzip of "x", made by `printf x | gzip -n` */
    static const unsigned char packed[] = {0x1f, 0x8b, 8,    0,    0,    0,    0, 0, 0, 3, 0xab,
                                           0,    0,    0x83, 0x16, 0xdc, 0x8c, 1, 0, 0, 0};
    wtl_error err;
    wtl_checkpoint *c;
    char text[WTL_ERROR_TEXT_SIZE];
    const char *path = wtl_test_path("absent.wtl");
    snprintf(text, sizeof text, "%s: No such file or directory", path);
    assert_fails(wtl_checkpoint_read(&c, path, &err), WTL_E_MISSING, &err, text);
    path = wtl_test_folder();
    snprintf(text, sizeof text, "%s: is a folder, a file was expected", path);
    assert_fails(wtl_checkpoint_read(&c, path, &err), WTL_E_IO, &err, text);
    path = wtl_test_path("packed.wtl");
    wtl_test_write(path, packed, sizeof packed);
    snprintf(text, sizeof text, "%s: offset 0: is packed with gzip: unpack it first", path);
    assert_fails(wtl_checkpoint_read(&c, path, &err), WTL_E_FORMAT, &err, text);
    path = wtl_test_path("nothing.wtl");
    wtl_test_write(path, "", 0);
    snprintf(text, sizeof text, "%s: offset 0: not a wattle checkpoint", path);
    assert_fails(wtl_checkpoint_read(&c, path, &err), WTL_E_FORMAT, &err, text);
}

/* ---- memory ---- */

static const char NET_TEXT[] = "net t\ninput data 1x4x4\nc = conv data out=1 kernel=3\n";

static wtl_status write_one(void *context)
{
    wtl_error err;
    wtl_netdef *def = context;
    wtl_checkpoint *c;
    wtl_status status = wtl_checkpoint_create(&c, &err);
    if (status == WTL_OK) {
        status = fill_as_by_hand(c, false, &err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_set_net(c, def, &err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_write(c, wtl_test_path("memory.wtl"), &err);
    }
    wtl_checkpoint_free(c);
    return status;
}

static wtl_status read_one(void *context)
{
    (void)context;
    wtl_error err;
    wtl_checkpoint *c;
    wtl_status status = wtl_checkpoint_read(&c, wtl_test_path("memory.wtl"), &err);
    wtl_checkpoint_free(c);
    return status;
}

static wtl_status parse_one(void *context)
{
    wtl_error err;
    wtl_checkpoint *c;
    wtl_status status = wtl_checkpoint_parse(&c, context, LENGTH, "x.wtl", &err);
    wtl_checkpoint_free(c);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    hand h;
    wtl_netdef *def;
    make_by_hand(&h);
    assert_ok(
        wtl_netdef_parse(&def, NET_TEXT, sizeof NET_TEXT - 1, "t.net", NULL, &(wtl_error){0}));
    wtl_test_every_allocation_fails(write_one, def);
    wtl_test_every_allocation_fails(read_one, NULL);
    wtl_test_every_allocation_fails(parse_one, h.bytes);
    wtl_netdef_free(def);
}

/* jansson has an allocator of its own. */
static long json_asked, json_fails_at, json_live;

static void *json_allocate(size_t size)
{
    void *memory = ++json_asked == json_fails_at ? NULL : malloc(size);
    json_live += memory != NULL;
    return memory;
}

static void json_free(void *memory)
{
    json_live -= memory != NULL;
    free(memory);
}

/* Its scanner reports a failed allocation as a malformed word: any refusal will do. */
static void jansson_may_run_out_of_memory(void **state)
{
    (void)state;
    hand h;
    wtl_netdef *def;
    make_by_hand(&h);
    assert_ok(
        wtl_netdef_parse(&def, NET_TEXT, sizeof NET_TEXT - 1, "t.net", NULL, &(wtl_error){0}));
    json_set_alloc_funcs(json_allocate, json_free);
    for (int which = 0; which < 2; which++) {
        long count = 1;
        for (json_fails_at = 0; json_fails_at <= count; json_fails_at++) {
            long live = wtl_test_live_allocations();
            json_asked = 0;
            wtl_status status = which ? parse_one(h.bytes) : write_one(def);
            count = json_fails_at == 0 ? json_asked : count;
            if ((status == WTL_OK) != (json_fails_at == 0) || json_live != 0 ||
                wtl_test_live_allocations() != live) {
                json_set_alloc_funcs(malloc, free);
                fail_msg("allocation %ld of %ld: %s, %ld left", json_fails_at, count,
                         wtl_status_name(status), json_live);
            }
        }
        assert_true(count > 10);
    }
    json_set_alloc_funcs(malloc, free);
    wtl_netdef_free(def);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_file_made_by_hand_is_understood),
        WTL_TEST(zero_bytes_may_stand_between_header_and_payload),
        WTL_TEST(every_length_that_is_cut_is_refused),
        WTL_TEST(every_flipped_bit_is_refused),
        WTL_TEST(bytes_behind_the_end_are_refused),
        WTL_TEST(the_fixed_part_is_checked_field_by_field),
        WTL_TEST(the_header_is_checked_field_by_field),
        WTL_TEST(a_header_that_is_no_object_is_refused),
        WTL_TEST(payloads_are_checked_behind_a_right_crc),
        WTL_TEST(values_that_are_not_finite_are_refused),
        WTL_TEST(a_payload_with_another_crc_is_refused),
        WTL_TEST(a_net_that_does_not_parse_is_refused_with_its_line),
        WTL_TEST(nothing_but_a_file_that_is_no_checkpoint_fails_to_be_sniffed),
        WTL_TEST(every_bad_file_is_refused_with_its_message),
        WTL_TEST(files_made_by_another_program_are_read),
        WTL_TEST(the_writer_gives_the_bytes_made_by_hand),
        WTL_TEST(an_empty_checkpoint_is_written_and_read),
        WTL_TEST(tensors_of_every_size_and_density_come_back_bit_for_bit),
        WTL_TEST(a_bitmap_is_taken_only_where_it_is_smaller),
        WTL_TEST(the_net_goes_with_its_text),
        WTL_TEST(what_was_read_can_be_written_again),
        WTL_TEST(a_network_gone_bad_does_not_replace_a_good_file),
        WTL_TEST(a_full_disk_is_said),
        WTL_TEST(calls_that_make_no_sense_are_refused),
        WTL_TEST(a_file_that_is_none_is_refused_with_the_reason),
        WTL_TEST(every_allocation_may_fail),
        WTL_TEST(jansson_may_run_out_of_memory),
    };
    return WTL_RUN("checkpoint", tests);
}
