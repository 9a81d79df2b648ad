#define _GNU_SOURCE /* setenv */
#include "wtl_test.h"

#include "prune/masks/npy.h"
#include "wattle/file.h"
#include "wattle/mask.h"
#include "wattle/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* c.weight [2,1,2,2], d.weight [3,8] */
static const char small_text[] = "net small\n"
                                 "input data 1x3x3\n"
                                 "c = conv data out=2 kernel=2\n"
                                 "d = dense c out=3\n";
enum { C = 8, D = 24 };
/* What the files of the corpus hold: d has every third. */
static const float c_mask[C] = {1, 0, 1, 1, 0, 0, 1, 0};

static wtl_net *small_net(void)
{
    wtl_netdef *def;
    wtl_net *net;
    const wtl_net_options options = {.batch = 1};
    assert_ok(wtl_netdef_parse(&def, small_text, strlen(small_text), "t", NULL, NULL));
    assert_ok(wtl_net_create(&net, def, &options, NULL));
    wtl_netdef_free(def);
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        wtl_param *p = wtl_net_param(net, i);
        wtl_fill_random(p->value, p->count, (unsigned)i + 1);
    }
    return net;
}

static wtl_param *param(wtl_net *net, const char *name)
{
    wtl_param *found = wtl_net_find_param(net, name);
    assert_non_null(found);
    return found;
}

static wtl_net *masked_net(void)
{
    wtl_net *net = small_net();
    wtl_param *c = param(net, "c.weight"), *d = param(net, "d.weight");
    assert_ok(wtl_mask_make(c, NULL));
    assert_ok(wtl_mask_make(d, NULL));
    memcpy(c->mask, c_mask, sizeof c_mask);
    for (int i = 0; i < D; i++) {
        d->mask[i] = i % 3 == 0 ? 1.0f : 0.0f;
    }
    wtl_mask_apply_net(net);
    return net;
}

static void assert_masks_of_corpus(wtl_net *net, bool with_d)
{
    const wtl_param *c = param(net, "c.weight"), *d = param(net, "d.weight");
    assert_memory_equal(c->mask, c_mask, sizeof c_mask);
    for (int i = 0; i < C; i++) {
        assert_int_equal(c->value[i] != 0.0f, c_mask[i] != 0.0f);
    }
    assert_int_equal(d->mask != NULL, with_d);
    for (int i = 0; with_d && i < D; i++) {
        assert_true(d->mask[i] == (i % 3 == 0 ? 1.0f : 0.0f));
        assert_int_equal(d->value[i] != 0.0f, i % 3 == 0);
    }
}

static void masks_written_by_numpy_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        bool with_d;
    } files[] = {{WTL_SOURCE_DIR "/tests/fuzz/corpus/npz/numpy.npz", true},
                 {WTL_SOURCE_DIR "/tests/fuzz/corpus/npz/deflated.npz", true},
                 {WTL_SOURCE_DIR "/tests/fuzz/corpus/npz/format-2.npz", false}};
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        wtl_net *net = small_net();
        wtl_error err = {0};
        assert_ok(wtl_mask_make(param(net, "d.weight"), NULL));
        if (wtl_mask_load(net, files[i].path, &err) != WTL_OK) {
            fail_msg("%s", err.text);
        }
        assert_masks_of_corpus(net, files[i].with_d);
        wtl_net_free(net);
    }
}

static unsigned get(const unsigned char *bytes, int count)
{
    unsigned value = 0;
    for (int i = count - 1; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

/* The first local record and array by their published layouts. */
static void what_is_written_is_stored_dated_1980_and_npy_1_0(void **state)
{
    (void)state;
    wtl_net *net = masked_net();
    const char *path = wtl_test_path("masks.npz");
    unsigned char *bytes;
    size_t length;
    assert_ok(wtl_mask_save(net, path, NULL));
    assert_ok(wtl_file_read_plain(path, 1 << 20, &bytes, &length, NULL));
    assert_int_equal(get(bytes, 4), 0x04034b50);
    assert_int_equal(get(bytes + 8, 2), 0);     /* stored */
    assert_int_equal(get(bytes + 10, 2), 0);    /* 00:00:00 */
    assert_int_equal(get(bytes + 12, 2), 0x21); /* 1980-01-01 */
    assert_int_equal(get(bytes + 22, 4), 128 + C);
    assert_int_equal(get(bytes + 26, 2), strlen("c.weight.npy"));
    assert_memory_equal(bytes + 30, "c.weight.npy", 12);
    const unsigned char *entry = bytes + 30 + 12 + get(bytes + 28, 2);
    assert_int_equal(get(bytes + 14, 4), wtl_crc32(0, entry, 128 + C));
    static const char head[] =
        "{'descr': '|u1', 'fortran_order': False, 'shape': (2, 1, 2, 2), }";
    assert_memory_equal(entry, "\x93NUMPY\1\0\x76\0", 10);
    assert_memory_equal(entry + 10, head, strlen(head));
    assert_int_equal(entry[126], ' ');
    assert_int_equal(entry[127], '\n');
    for (int i = 0; i < C; i++) {
        assert_int_equal(entry[128 + i], (int)c_mask[i]);
    }
    wtl_free(bytes);
    wtl_net_free(net);
}

static void the_same_masks_give_the_same_bytes_and_come_back(void **state)
{
    (void)state;
    wtl_net *net = masked_net(), *back = small_net();
    unsigned char *first, *second;
    size_t length, again;
    wtl_error err;
    assert_ok(wtl_mask_save(net, wtl_test_path("one.npz"), NULL));
    assert_ok(wtl_mask_load(back, wtl_test_path("one.npz"), &err));
    assert_masks_of_corpus(back, true);
    setenv("TZ", "Pacific/Auckland", 1);
    assert_ok(wtl_mask_save(back, wtl_test_path("two.npz"), NULL));
    assert_ok(wtl_file_read_plain(wtl_test_path("one.npz"), 1 << 20, &first, &length, NULL));
    assert_ok(wtl_file_read_plain(wtl_test_path("two.npz"), 1 << 20, &second, &again, NULL));
    assert_int_equal(length, again);
    assert_memory_equal(first, second, length);
    wtl_free(first);
    wtl_free(second);
    wtl_net_free(net);
    wtl_net_free(back);
}

static void heads_of_every_rank_are_written_and_read_back(void **state)
{
    (void)state;
    static const char *const shapes[] = {"()", "(3,)", "(3, 1)", "(3, 1, 2)"};
    static const size_t dims[3] = {3, 1, 2}, counts[] = {1, 3, 3, 6};
    char name[] = "x";
    for (int rank = 0; rank <= 3; rank++) {
        unsigned char entry[WTL_NPY_WRITTEN_HEAD + 6] = {0};
        wtl_npz_array array = {.name = name, .rank = rank}, back = {.name = name};
        memcpy(array.dims, dims, (size_t)rank * sizeof *dims);
        size_t head = wtl_npy_head(&array, entry);
        assert_int_equal(head % 64, 0);
        assert_non_null(strstr((char *)entry + 10, shapes[rank]));
        assert_ok(wtl_npy_parse(&back, entry, head + counts[rank], "t", NULL));
        assert_int_equal(back.rank, rank);
        assert_memory_equal(back.dims, dims, (size_t)rank * sizeof *dims);
        assert_int_equal(back.count, counts[rank]);
        assert_ptr_equal(back.values, entry + head);
    }
    wtl_npz_array wide = {.name = name, .rank = WTL_NPZ_MOST_RANK};
    for (int i = 0; i < WTL_NPZ_MOST_RANK; i++) {
        wide.dims[i] = SIZE_MAX;
    }
    unsigned char head[WTL_NPY_WRITTEN_HEAD];
    assert_true(wtl_npy_head(&wide, head) <= sizeof head);
}

static void every_bad_file_is_refused_with_its_message_and_changes_nothing(void **state)
{
    (void)state;
    static const char not_zip[] = "not a sound zip: Not a zip archive";
    static const char bad_head[] =
        "array c.weight: its header is not {'descr', 'fortran_order', 'shape'}";
    static const struct {
        const char *name;
        wtl_status status;
        const char *text;
    } cases[] = {
        {"bias.npz", WTL_E_MISSING, "array c.bias: the network has no weights of that name"},
        {"bomb.npz", WTL_E_RANGE, "array c.weight has 4194432 bytes, there is room for 4128"},
        {"bzip.npz", WTL_E_FORMAT, "array c.weight is neither stored nor deflated"},
        {"cut.npz", WTL_E_FORMAT, not_zip},
        {"cut-early.npz", WTL_E_FORMAT, not_zip},
        {"dict.npz", WTL_E_FORMAT, bad_head},
        {"dict-key-twice.npz", WTL_E_FORMAT, bad_head},
        {"empty-array.npz", WTL_E_FORMAT,
         "array c.weight: does not begin like a .npy of format 1.0 or 2.0"},
        {"encrypted.npz", WTL_E_FORMAT, "array c.weight is encrypted"},
        {"flipped.npz", WTL_E_FORMAT, "array c.weight is cut or altered"},
        {"float.npz", WTL_E_FORMAT, "array c.weight: its type is neither |u1 nor |b1"},
        {"fortran.npz", WTL_E_FORMAT,
         "array d.weight: is in Fortran order; save np.ascontiguousarray() of it"},
        {"head-length.npz", WTL_E_FORMAT,
         "array c.weight: its header is longer than the array, or than 4 KiB"},
        {"huge-shape.npz", WTL_E_FORMAT, bad_head},
        {"liar.npz", WTL_E_FORMAT, "array c.weight is cut or altered"},
        {"long.npz", WTL_E_FORMAT, "array c.weight: 9 bytes of values, its shape needs 8"},
        {"magic.npz", WTL_E_FORMAT,
         "array c.weight: does not begin like a .npy of format 1.0 or 2.0"},
        {"many.npz", WTL_E_RANGE, "3 arrays, at most 2 fit"},
        {"no-suffix.npz", WTL_E_FORMAT,
         "entry c.weight: a name ends in .npy and has 5 to 255 bytes"},
        {"nothing.npz", WTL_E_FORMAT, "not a zip: 0 bytes"},
        {"number-shape.npz", WTL_E_FORMAT, bad_head},
        {"object.npz", WTL_E_FORMAT, "array c.weight: its type is neither |u1 nor |b1"},
        {"only-suffix.npz", WTL_E_FORMAT,
         "entry .npy: a name ends in .npy and has 5 to 255 bytes"},
        {"shape.npz", WTL_E_SHAPE, "array c.weight has another shape than the weights"},
        {"short.npz", WTL_E_FORMAT, "array c.weight: 7 bytes of values, its shape needs 8"},
        {"transposed.npz", WTL_E_SHAPE, "array d.weight has another shape than the weights"},
        {"twice.npz", WTL_E_FORMAT, "two arrays have the same name"},
        {"two.npz", WTL_E_RANGE, "array c.weight: value 7 is 2, a mask has 0 and 1"},
        {"unknown.npz", WTL_E_MISSING,
         "array e.weight: the network has no weights of that name"},
        {"version-3.npz", WTL_E_FORMAT,
         "array c.weight: does not begin like a .npy of format 1.0 or 2.0"},
    };
    wtl_net *net = masked_net();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char path[256], want[WTL_ERROR_TEXT_SIZE];
        wtl_error err;
        snprintf(path, sizeof path, WTL_SOURCE_DIR "/tests/bad/npz/%s", cases[i].name);
        snprintf(want, sizeof want, "%s: %s", path, cases[i].text);
        assert_fails(wtl_mask_load(net, path, &err), cases[i].status, &err, want);
        assert_masks_of_corpus(net, true);
    }
    wtl_net_free(net);
}

static void an_archive_without_arrays_means_dense(void **state)
{
    (void)state;
    wtl_net *net = masked_net();
    assert_ok(wtl_mask_load(net, WTL_SOURCE_DIR "/tests/bad/npz/empty.npz", NULL));
    assert_null(param(net, "c.weight")->mask);
    assert_null(param(net, "d.weight")->mask);
    wtl_net_free(net);
}

static void what_cannot_be_read_or_written_is_told(void **state)
{
    (void)state;
    wtl_net *net = small_net();
    wtl_error err = {0};
    assert_int_equal(wtl_mask_load(net, wtl_test_path("absent.npz"), &err), WTL_E_MISSING);
    assert_fails(wtl_mask_save(net, "x.npz", &err), WTL_E_MISSING, &err,
                 "x.npz: the network has no masks to write");
    assert_ok(wtl_mask_make(param(net, "c.weight"), NULL));
    assert_int_equal(wtl_mask_save(net, wtl_test_path("no/such/x.npz"), &err), WTL_E_WRITE);
    wtl_net_free(net);
}

/* A file that is larger than any masks of the net is not even read. */
static void a_huge_file_is_refused_unread(void **state)
{
    (void)state;
    enum { BYTES = 1 << 20 };
    wtl_net *net = small_net();
    char *zeros = calloc(BYTES, 1);
    wtl_error err = {0};
    wtl_test_write(wtl_test_path("huge.npz"), zeros, BYTES);
    assert_int_equal(wtl_mask_load(net, wtl_test_path("huge.npz"), &err), WTL_E_RANGE);
    free(zeros);
    wtl_net_free(net);
}

/* Every prefix of a good file, and every byte of it changed. */
static void no_damage_makes_a_mask_of_other_values(void **state)
{
    (void)state;
    unsigned char *bytes;
    size_t length;
    wtl_net *net = masked_net();
    assert_ok(wtl_file_read_plain(WTL_SOURCE_DIR "/tests/fuzz/corpus/npz/numpy.npz", 1 << 20,
                                  &bytes, &length, NULL));
    for (size_t cut = 0; cut < length; cut++) {
        assert_int_not_equal(wtl_mask_parse(net, bytes, cut, "t", NULL), WTL_OK);
    }
    for (size_t i = 0; i < length; i++) {
        bytes[i] ^= 0x41;
        if (wtl_mask_parse(net, bytes, length, "t", NULL) == WTL_OK) { /* a date, say */
            assert_masks_of_corpus(net, true);
        }
        bytes[i] ^= 0x41;
    }
    wtl_free(bytes);
    wtl_net_free(net);
}

static wtl_status save_and_load(void *context)
{
    wtl_net *net = context;
    wtl_status status = wtl_mask_save(net, wtl_test_path("oom.npz"), NULL);
    return status == WTL_OK ? wtl_mask_load(net, wtl_test_path("oom.npz"), NULL) : status;
}

static wtl_status load_and_drop(void *context)
{
    wtl_net *net = context;
    wtl_status status =
        wtl_mask_load(net, WTL_SOURCE_DIR "/tests/fuzz/corpus/npz/deflated.npz", NULL);
    wtl_mask_free(param(net, "c.weight"));
    wtl_mask_free(param(net, "d.weight"));
    return status;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    wtl_net *net = masked_net(), *bare = small_net();
    wtl_test_every_allocation_fails(save_and_load, net);
    assert_masks_of_corpus(net, true);
    wtl_test_every_allocation_fails(load_and_drop, bare);
    wtl_net_free(net);
    wtl_net_free(bare);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(masks_written_by_numpy_are_read),
        WTL_TEST(what_is_written_is_stored_dated_1980_and_npy_1_0),
        WTL_TEST(the_same_masks_give_the_same_bytes_and_come_back),
        WTL_TEST(heads_of_every_rank_are_written_and_read_back),
        WTL_TEST(every_bad_file_is_refused_with_its_message_and_changes_nothing),
        WTL_TEST(an_archive_without_arrays_means_dense),
        WTL_TEST(what_cannot_be_read_or_written_is_told),
        WTL_TEST(a_huge_file_is_refused_unread),
        WTL_TEST(no_damage_makes_a_mask_of_other_values),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("npz", tests);
}
