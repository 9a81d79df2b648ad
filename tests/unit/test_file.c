#define _GNU_SOURCE
#include "wtl_test.h"

#include "wattle/file.h"
#include "wattle/memory.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* "hello\n" packed with `gzip -n`. */
static const unsigned char HELLO_GZ[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x03, 0xcb, 0x48, 0xcd,
    0xc9, 0xc9, 0xe7, 0x02, 0x00, 0x20, 0x30, 0x3a, 0x36, 0x06, 0x00, 0x00, 0x00,
};

/* 20000 zero bytes packed with `gzip -9n`. */
static const unsigned char ZEROS_GZ[] = {
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xed, 0xc1, 0x31, 0x01,
    0x00, 0x00, 0x00, 0xc2, 0xa0, 0xf5, 0x4f, 0x6d, 0x0d, 0x0f, 0xa0, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
    0x00, 0x00, 0x78, 0x30, 0x02, 0x53, 0x2f, 0x97, 0x20, 0x4e, 0x00, 0x00};

static void assert_file(const char *path, const char *want)
{
    wtl_error err;
    unsigned char *bytes;
    size_t length;
    assert_ok(wtl_file_read(path, 1 << 20, &bytes, &length, &err));
    assert_int_equal(length, strlen(want));
    assert_memory_equal(bytes, want, length + 1); /* with the NUL behind */
    wtl_free(bytes);
}

static void assert_read_fails(const char *path, size_t most, wtl_status status, const char *why)
{
    wtl_error err;
    unsigned char *bytes = (unsigned char *)&err;
    size_t length = 9;
    char text[WTL_ERROR_TEXT_SIZE];
    snprintf(text, sizeof text, "%s: %s", path, why);
    assert_fails(wtl_file_read(path, most, &bytes, &length, &err), status, &err, text);
    assert_null(bytes);
    assert_int_equal(length, 0);
}

/* ---- reading ---- */

static void plain_and_packed_files_are_told_by_content(void **state)
{
    (void)state;
    const char *path = wtl_test_path("plain.gz"); /* the name means nothing */
    wtl_test_write(path, "hello\n", 6);
    assert_file(path, "hello\n");
    path = wtl_test_path("packed.txt");
    wtl_test_write(path, HELLO_GZ, sizeof HELLO_GZ);
    assert_file(path, "hello\n");
    path = wtl_test_path("empty");
    wtl_test_write(path, "", 0);
    assert_file(path, "");
}

static void a_large_file_is_read_whole(void **state)
{
    (void)state;
    enum { N = 300000 };
    const char *path = wtl_test_path("large");
    unsigned char *pattern = wtl_alloc(N, 1), *bytes;
    size_t length;
    wtl_error err;
    for (int i = 0; i < N; i++) {
        pattern[i] = (unsigned char)(i * 7 + i / 256);
    }
    wtl_test_write(path, pattern, N);
    assert_ok(wtl_file_read(path, N, &bytes, &length, &err));
    assert_int_equal(length, N);
    assert_memory_equal(bytes, pattern, N);
    wtl_free(bytes);
    assert_read_fails(path, N - 1, WTL_E_RANGE, "larger than the 299999 bytes allowed here");
    wtl_free(pattern);
}

static void a_packed_file_may_be_much_larger_than_it_looks(void **state)
{
    (void)state;
    wtl_error err;
    unsigned char *bytes;
    size_t length;
    const char *path = wtl_test_path("zeros.gz");
    wtl_test_write(path, ZEROS_GZ, sizeof ZEROS_GZ);
    assert_ok(wtl_file_read(path, 20000, &bytes, &length, &err));
    assert_int_equal(length, 20000);
    for (size_t i = 0; i <= length; i++) {
        assert_int_equal(bytes[i], 0);
    }
    wtl_free(bytes);
    assert_read_fails(path, 19999, WTL_E_RANGE, "larger than the 19999 bytes allowed here");
}

static void the_limit_counts_unpacked_bytes(void **state)
{
    (void)state;
    wtl_error err;
    unsigned char *bytes;
    size_t length;
    const char *path = wtl_test_path("limit.gz");
    wtl_test_write(path, HELLO_GZ, sizeof HELLO_GZ);
    assert_ok(wtl_file_read(path, 6, &bytes, &length, &err));
    assert_int_equal(length, 6);
    wtl_free(bytes);
    assert_read_fails(path, 5, WTL_E_RANGE, "larger than the 5 bytes allowed here");
    assert_read_fails(path, 0, WTL_E_RANGE, "larger than the 0 bytes allowed here");
    assert_read_fails("/dev/zero", 100000, WTL_E_RANGE,
                      "larger than the 100000 bytes allowed here");
}

static void damaged_gzip_is_not_half_read(void **state)
{
    (void)state;
    unsigned char damaged[sizeof HELLO_GZ];
    const char *path = wtl_test_path("damaged.gz");
    for (size_t length = 18; length < sizeof HELLO_GZ; length++) {
        wtl_test_write(path, HELLO_GZ, length);
        assert_read_fails(path, 100, WTL_E_IO, "the gzip data is cut short");
    }
    for (size_t i = 10; i < sizeof HELLO_GZ; i += i == 16 ? 2 : 1) { /* 17: unused bits */
        wtl_error err;
        unsigned char *bytes;
        size_t length;
        memcpy(damaged, HELLO_GZ, sizeof damaged);
        damaged[i] ^= 0x10;
        wtl_test_write(path, damaged, sizeof damaged);
        assert_int_equal(wtl_file_read(path, 100, &bytes, &length, &err), WTL_E_IO);
        assert_null(bytes);
    }
    assert_read_fails(path, 100, WTL_E_IO, "cannot be read: incorrect length check");
}

static void plain_reading_refuses_gzip(void **state)
{
    (void)state;
    wtl_error err;
    unsigned char *bytes;
    size_t length;
    char text[WTL_ERROR_TEXT_SIZE];
    const char *path = wtl_test_path("strict");
    wtl_test_write(path, "hello\n", 6);
    assert_ok(wtl_file_read_plain(path, 6, &bytes, &length, &err));
    assert_string_equal((const char *)bytes, "hello\n");
    wtl_free(bytes);
    wtl_test_write(path, "", 0);
    assert_ok(wtl_file_read_plain(path, 6, &bytes, &length, &err));
    assert_int_equal(length, 0);
    wtl_free(bytes);
    wtl_test_write(path, HELLO_GZ, sizeof HELLO_GZ);
    snprintf(text, sizeof text, "%s: offset 0: is packed with gzip: unpack it first", path);
    assert_fails(wtl_file_read_plain(path, 100, &bytes, &length, &err), WTL_E_FORMAT, &err,
                 text);
    assert_null(bytes);
}

static void what_is_no_file_is_said(void **state)
{
    (void)state;
    const char *file = wtl_test_path("file");
    wtl_test_write(file, "x", 1);
    assert_read_fails(wtl_test_path("absent"), 10, WTL_E_MISSING, "No such file or directory");
    assert_read_fails(wtl_test_path("file/x"), 10, WTL_E_MISSING, "Not a directory");
    assert_read_fails(wtl_test_folder(), 10, WTL_E_IO, "is a folder, a file was expected");
    assert_true(wtl_file_exists(file));
    assert_false(wtl_file_exists(wtl_test_folder()));
    assert_false(wtl_file_exists(wtl_test_path("absent")));
    assert_true(wtl_folder_exists(wtl_test_folder()));
    assert_false(wtl_folder_exists(file));
}

/* ---- writing ---- */

static void a_file_is_replaced_only_by_commit(void **state)
{
    (void)state;
    wtl_error err;
    wtl_writer *writer;
    const char *path = wtl_test_path("replaced"), *temporary = wtl_test_path("replaced.tmp");
    wtl_test_write(path, "old", 3);
    assert_ok(wtl_writer_open(&writer, path, &err));
    wtl_writer_put(writer, "new ", 4);
    wtl_writer_printf(writer, "%d %s", 12, "x");
    assert_int_equal(wtl_writer_position(writer), 8);
    assert_file(path, "old");
    assert_true(wtl_file_exists(temporary));
    assert_ok(wtl_writer_commit(writer, &err));
    assert_file(path, "new 12 x");
    assert_false(wtl_file_exists(temporary));
}

static void an_aborted_write_leaves_the_old_file(void **state)
{
    (void)state;
    wtl_error err;
    wtl_writer *writer;
    const char *path = wtl_test_path("aborted");
    wtl_test_write(path, "old", 3);
    assert_ok(wtl_writer_open(&writer, path, &err));
    wtl_writer_put(writer, "new", 3);
    wtl_writer_abort(writer);
    wtl_writer_abort(NULL);
    assert_file(path, "old");
    assert_false(wtl_file_exists(wtl_test_path("aborted.tmp")));
}

static void a_leftover_of_a_killed_run_is_replaced(void **state)
{
    (void)state;
    wtl_error err;
    const char *path = wtl_test_path("killed");
    wtl_test_write(wtl_test_path("killed.tmp"), "half of someth", 14);
    assert_ok(wtl_file_write(path, "all", 3, &err));
    assert_file(path, "all");
    assert_false(wtl_file_exists(wtl_test_path("killed.tmp")));
}

static void a_link_in_place_of_the_temporary_file_is_not_followed(void **state)
{
    (void)state;
    wtl_error err;
    const char *path = wtl_test_path("target"), *victim = wtl_test_path("victim");
    wtl_test_write(victim, "mine", 4);
    assert_int_equal(symlink(victim, wtl_test_path("target.tmp")), 0);
    assert_ok(wtl_file_write(path, "new", 3, &err));
    assert_file(victim, "mine");
    assert_file(path, "new");
}

static void a_symbolic_link_stays_and_its_file_is_replaced(void **state)
{
    (void)state;
    wtl_error err;
    struct stat info;
    const char *file = wtl_test_path("behind"), *link = wtl_test_path("link");
    wtl_test_write(file, "old", 3);
    assert_int_equal(symlink("behind", link), 0);
    assert_ok(wtl_file_write(link, "new", 3, &err));
    assert_int_equal(lstat(link, &info), 0);
    assert_true(S_ISLNK(info.st_mode));
    assert_file(file, "new");
}

static void a_device_is_written_to_and_stays_a_device(void **state)
{
    (void)state;
    wtl_error err;
    struct stat info;
    assert_ok(wtl_file_write("/dev/null", "x", 1, &err));
    assert_int_equal(stat("/dev/null", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
    assert_fails(wtl_file_write("/dev/full", "x", 1, &err), WTL_E_WRITE, &err,
                 "/dev/full: cannot be written: No space left on device");
    assert_int_equal(stat("/dev/full", &info), 0);
    assert_true(S_ISCHR(info.st_mode));
}

/* Larger than stdio's buffer, so that put and printf meet the error, not the flush. */
static void the_first_error_of_a_writer_is_kept(void **state)
{
    (void)state;
    static char much[100000];
    wtl_error err;
    wtl_writer *writer;
    assert_ok(wtl_writer_open(&writer, "/dev/full", &err));
    wtl_writer_put(writer, much, sizeof much);
    errno = EPERM;
    wtl_writer_put(writer, much, sizeof much);
    assert_int_equal(wtl_writer_position(writer), 2 * sizeof much);
    assert_fails(wtl_writer_commit(writer, &err), WTL_E_WRITE, &err,
                 "/dev/full: cannot be written: No space left on device");
    assert_ok(wtl_writer_open(&writer, "/dev/full", &err));
    wtl_writer_printf(writer, "%99999d", 1);
    assert_fails(wtl_writer_commit(writer, &err), WTL_E_WRITE, &err,
                 "/dev/full: cannot be written: No space left on device");
}

static void places_that_cannot_be_written_are_said(void **state)
{
    (void)state;
    wtl_error err;
    wtl_writer *writer = (wtl_writer *)&err;
    char text[WTL_ERROR_TEXT_SIZE];
    const char *path = wtl_test_path("no/such/folder");
    snprintf(text, sizeof text, "%s: cannot be written: No such file or directory", path);
    assert_fails(wtl_writer_open(&writer, path, &err), WTL_E_WRITE, &err, text);
    assert_null(writer);
    path = wtl_test_path("inway");
    assert_int_equal(mkdir(path, 0777), 0);
    snprintf(text, sizeof text, "%s: cannot be written: Is a directory", path);
    assert_fails(wtl_file_write(path, "x", 1, &err), WTL_E_WRITE, &err, text);
    assert_int_equal(mkdir(wtl_test_path("inway2.tmp"), 0777), 0);
    path = wtl_test_path("inway2");
    snprintf(text, sizeof text, "%s: cannot be written: File exists", path);
    assert_fails(wtl_file_write(path, "x", 1, &err), WTL_E_WRITE, &err, text);
    assert_false(wtl_file_exists(path));
}

/* ---- folders and paths ---- */

static void folders_are_made_with_their_parents(void **state)
{
    (void)state;
    wtl_error err;
    char text[WTL_ERROR_TEXT_SIZE];
    const char *path = wtl_test_path("a/b//c/");
    assert_ok(wtl_make_folder(path, &err));
    assert_true(wtl_folder_exists(path));
    assert_ok(wtl_make_folder(path, &err));
    wtl_test_write(wtl_test_path("a/file"), "x", 1);
    path = wtl_test_path("a/file");
    snprintf(text, sizeof text, "%s: is in the way: a folder was expected", path);
    assert_fails(wtl_make_folder(path, &err), WTL_E_WRITE, &err, text);
    path = wtl_test_path("a/file/b");
    snprintf(text, sizeof text, "%s: cannot make the folder: Not a directory", path);
    assert_fails(wtl_make_folder(path, &err), WTL_E_WRITE, &err, text);
}

static void paths_are_joined_with_one_slash(void **state)
{
    (void)state;
    static const char *const cases[][3] = {
        {"a", "b", "a/b"}, {"a/", "b", "a/b"}, {"", "b", "b"},
        {"a", "/b", "/b"}, {"/", "b", "/b"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *path = wtl_path_join(cases[i][0], cases[i][1]);
        assert_string_equal(path, cases[i][2]);
        wtl_free(path);
    }
}

static void the_crc_is_that_of_zlib_and_png(void **state)
{
    (void)state;
    assert_true(wtl_crc32(0, "123456789", 9) == 0xcbf43926u); /* the standard check value */
    assert_true(wtl_crc32(wtl_crc32(0, "1234", 4), "56789", 5) == 0xcbf43926u);
    assert_true(wtl_crc32(0, "", 0) == 0);
}

/* ---- memory ---- */

static wtl_status read_one(void *path)
{
    wtl_error err;
    unsigned char *bytes;
    size_t length;
    wtl_status status = wtl_file_read(path, 1 << 20, &bytes, &length, &err);
    wtl_free(bytes);
    return status;
}

static wtl_status write_one(void *path)
{
    wtl_error err;
    return wtl_file_write(path, "x", 1, &err);
}

static wtl_status make_one(void *path)
{
    wtl_error err;
    return wtl_make_folder(path, &err);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char path[4400];
    snprintf(path, sizeof path, "%s", wtl_test_path("memory"));
    wtl_test_every_allocation_fails(write_one, path);
    wtl_test_write(path, ZEROS_GZ, sizeof ZEROS_GZ);
    wtl_test_every_allocation_fails(read_one, path);
    snprintf(path, sizeof path, "%s", wtl_test_path("memory-folder"));
    wtl_test_every_allocation_fails(make_one, path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(plain_and_packed_files_are_told_by_content),
        WTL_TEST(a_large_file_is_read_whole),
        WTL_TEST(a_packed_file_may_be_much_larger_than_it_looks),
        WTL_TEST(the_limit_counts_unpacked_bytes),
        WTL_TEST(damaged_gzip_is_not_half_read),
        WTL_TEST(plain_reading_refuses_gzip),
        WTL_TEST(what_is_no_file_is_said),
        WTL_TEST(a_file_is_replaced_only_by_commit),
        WTL_TEST(an_aborted_write_leaves_the_old_file),
        WTL_TEST(a_leftover_of_a_killed_run_is_replaced),
        WTL_TEST(a_link_in_place_of_the_temporary_file_is_not_followed),
        WTL_TEST(a_symbolic_link_stays_and_its_file_is_replaced),
        WTL_TEST(a_device_is_written_to_and_stays_a_device),
        WTL_TEST(the_first_error_of_a_writer_is_kept),
        WTL_TEST(places_that_cannot_be_written_are_said),
        WTL_TEST(folders_are_made_with_their_parents),
        WTL_TEST(paths_are_joined_with_one_slash),
        WTL_TEST(the_crc_is_that_of_zlib_and_png),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("file", tests);
}
