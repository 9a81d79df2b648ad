#include "wtl_test.h"

#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static void numbers_that_json_lacks_become_null_and_nan(void **state)
{
    (void)state;
    const double lacking[] = {NAN, INFINITY, -INFINITY};
    for (size_t i = 0; i < 3; i++) {
        json_t *json = wtl_json_real(lacking[i]);
        assert_true(json_is_null(json));
        assert_true(isnan(wtl_json_number(json)));
        json_decref(json);
    }
    json_t *json = wtl_json_real(0.1);
    assert_close(wtl_json_number(json), 0.1, 0.0);
    json_decref(json);
    json = json_integer(7);
    assert_close(wtl_json_number(json), 7.0, 0.0);
    json_decref(json);
    assert_true(isnan(wtl_json_number(NULL)));
}

static void bytes_that_are_no_text_become_question_marks(void **state)
{
    (void)state;
    const char *const cases[][2] = {{"a\xc3\xbc", "a\xc3\xbc"}, {"a\xff/b", "a?/b"}, {"", ""}};
    for (size_t i = 0; i < 3; i++) {
        json_t *json = wtl_json_string(cases[i][0]);
        assert_string_equal(json_string_value(json), cases[i][1]);
        json_decref(json);
    }
}

/* 17 digits would be 0.29999999999999999 here, and a third is cut after the 15th. */
static void a_document_keeps_15_digits(void **state)
{
    (void)state;
    char *text = wtl_json_text(json_pack("{s:f, s:f}", "a", 0.3, "b", 1.0 / 3));
    assert_string_equal(text, "{\n  \"a\": 0.3,\n  \"b\": 0.333333333333333\n}");
    free(text);
    assert_null(wtl_json_text(NULL));
    json_t *read = wtl_json_reread(json_pack("{s:f}", "b", 1.0 / 3));
    assert_close(wtl_json_number(json_object_get(read, "b")), 0.333333333333333, 0.0);
    json_decref(read);
    assert_null(wtl_json_reread(NULL));
}

static void files_are_written_and_read_back(void **state)
{
    (void)state;
    const char *path = wtl_test_path("a.json");
    unsigned char *bytes;
    size_t length;
    json_t *json;
    assert_ok(wtl_json_write(path, json_pack("{s:i}", "n", 3), NULL));
    assert_ok(wtl_file_read(path, 100, &bytes, &length, NULL));
    assert_string_equal((char *)bytes, "{\n  \"n\": 3\n}\n");
    wtl_free(bytes);
    assert_ok(wtl_json_read(&json, path, 100, NULL));
    assert_int_equal(json_integer_value(json_object_get(json, "n")), 3);
    json_decref(json);
    assert_int_equal(wtl_json_read(&json, path, 5, NULL), WTL_E_RANGE);
    assert_int_equal(wtl_json_read(&json, wtl_test_path("none.json"), 5, NULL), WTL_E_MISSING);
    assert_int_equal(wtl_json_write(path, NULL, NULL), WTL_E_NOMEM);
    assert_int_equal(wtl_json_write(wtl_test_path("no/a.json"), json_object(), NULL),
                     WTL_E_WRITE);
}

static void damage_is_named_with_its_line(void **state)
{
    (void)state;
    static const char *const bad[] = {"{\n\"a\": 1,\n\"a\": 2}", "{\n\n", "x"};
    static const char *const places[] = {"b.json:3: ", "b.json:3: ", "b.json:1: "};
    for (size_t i = 0; i < 3; i++) {
        json_t *json;
        wtl_error err;
        wtl_test_write(wtl_test_path("b.json"), bad[i], strlen(bad[i]));
        assert_int_equal(wtl_json_read(&json, wtl_test_path("b.json"), 100, &err),
                         WTL_E_FORMAT);
        assert_null(json);
        assert_non_null(strstr(err.text, places[i]));
    }
}

static void lines_are_appended_at_once(void **state)
{
    (void)state;
    const char *path = wtl_test_path("c.jsonl");
    unsigned char *bytes;
    size_t length;
    wtl_error err;
    FILE *file = fopen(path, "a");
    assert_non_null(file);
    assert_ok(wtl_json_append(file, path, json_pack("{s:i}", "n", 1), NULL));
    assert_ok(wtl_json_append(file, path, json_pack("{s:f}", "x", 1.0 / 3), NULL));
    assert_ok(wtl_file_read(path, 100, &bytes, &length, NULL)); /* before it is closed */
    assert_string_equal((char *)bytes, "{\"n\":1}\n{\"x\":0.333333333}\n");
    wtl_free(bytes);
    assert_int_equal(wtl_json_append(file, path, NULL, NULL), WTL_E_NOMEM);
    fclose(file);
    file = fopen("/dev/full", "a");
    assert_non_null(file);
    assert_int_equal(wtl_json_append(file, "full", json_object(), &err), WTL_E_WRITE);
    assert_non_null(strstr(err.text, "full: cannot be written: "));
    (void)fclose(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(numbers_that_json_lacks_become_null_and_nan),
        WTL_TEST(bytes_that_are_no_text_become_question_marks),
        WTL_TEST(a_document_keeps_15_digits),
        WTL_TEST(files_are_written_and_read_back),
        WTL_TEST(damage_is_named_with_its_line),
        WTL_TEST(lines_are_appended_at_once),
    };
    return WTL_RUN("json", tests);
}
