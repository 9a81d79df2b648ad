#include "wtl_test.h"

#include "wattle/fields.h"

#include <jansson.h>
#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* One of every type, in and out of a group. */
typedef struct things {
    int count;
    double share;
    float little;
    bool on;
    char name[8];
    int colour;
    uint64_t seed;
    double deep;
} things;

static const char *const colours[] = {"red", "green", "blue", NULL};
static const wtl_field table[] = {
    {NULL, "count", WTL_FIELD_INT, offsetof(things, count), -2, 2147483647.0, NULL},
    {NULL, "share", WTL_FIELD_REAL, offsetof(things, share), 0, 1, NULL},
    {"group", "little", WTL_FIELD_FLOAT, offsetof(things, little), -1e30, 1e30, NULL},
    {"group", "on", WTL_FIELD_BOOL, offsetof(things, on), 0, 0, NULL},
    {NULL, "name", WTL_FIELD_TEXT, offsetof(things, name), 0, 8, NULL},
    {NULL, "colour", WTL_FIELD_WORD, offsetof(things, colour), 0, 0, colours},
    {NULL, "seed", WTL_FIELD_SEED, offsetof(things, seed), 0, 0, NULL},
    {"group", "share", WTL_FIELD_REAL, offsetof(things, deep), -1e300, 1e300, NULL},
};
enum { COUNT = sizeof table / sizeof *table };

static const things some = {.count = -2,
                            .share = 0.37,
                            .little = 0.1f,
                            .on = true,
                            .name = "seven77",
                            .colour = 2,
                            .seed = 12,
                            .deep = -0.1};

static char *text_of(const things *t)
{
    json_t *json = wtl_fields_to_json(table, COUNT, t);
    assert_non_null(json);
    char *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(15));
    json_decref(json);
    return text;
}

static wtl_status take(things *t, const char *text, wtl_error *err)
{
    json_t *json = json_loads(text, 0, NULL);
    assert_non_null(json);
    wtl_status status = wtl_fields_from_json(table, COUNT, t, json, "f.json", err);
    json_decref(json);
    return status;
}

static void a_struct_is_an_object_in_the_order_of_its_table(void **state)
{
    (void)state;
    char *text = text_of(&some);
    assert_string_equal(text, "{\"count\":-2,\"share\":0.37,\"group\":{\"little\":0.1,"
                              "\"on\":true,\"share\":-0.1},\"name\":\"seven77\","
                              "\"colour\":\"blue\",\"seed\":12}");
    free(text);
}

static void assert_same(const things *a, const things *b)
{
    assert_int_equal(a->count, b->count);
    assert_close(a->share, b->share, 0.0);
    assert_close((double)a->little, (double)b->little, 0.0);
    assert_int_equal(a->on, b->on);
    assert_string_equal(a->name, b->name);
    assert_int_equal(a->colour, b->colour);
    assert_true(a->seed == b->seed);
    assert_close(a->deep, b->deep, 0.0);
}

static void every_value_comes_back(void **state)
{
    (void)state;
    things sent[] = {some, some, some};
    sent[1].count = 2147483647;
    sent[1].share =
        1.0 / 3.0; /* 17 digits: the caller's choice of precision, not the table's */
    sent[1].little = 16777217.5f;
    sent[1].on = false;
    sent[1].name[0] = '\0';
    sent[1].colour = 0;
    sent[1].seed = INT64_MAX;
    sent[2].seed = UINT64_MAX;
    sent[2].little = 1.17549435e-38f;
    sent[2].deep = 1e300;
    for (size_t i = 0; i < sizeof sent / sizeof *sent; i++) {
        things got = {.count = 7, .name = "rubbish"};
        json_t *json = wtl_fields_to_json(table, COUNT, &sent[i]);
        char *text = json_dumps(json, 0);
        json_decref(json);
        assert_ok(take(&got, text, NULL));
        assert_same(&got, &sent[i]);
        free(text);
    }
}

static void a_key_that_is_not_there_leaves_its_field(void **state)
{
    (void)state;
    things got = some;
    assert_ok(take(&got, "{}", NULL));
    assert_same(&got, &some);
    assert_ok(take(&got, "{\"group\":{\"on\":false}}", NULL));
    assert_false(got.on);
    got.on = true;
    assert_same(&got, &some);
}

static void what_is_wrong_is_named(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"[]", "f.json: must be an object"},
        {"{\"group\":3}", "f.json: group: must be an object"},
        {"{\"cuont\":3}", "f.json: unknown key cuont; did you mean count?"},
        {"{\"zzzzzz\":3}", "f.json: unknown key zzzzzz"},
        {"{\"little\":3}", "f.json: unknown key little"},
        {"{\"group\":{\"onn\":true}}", "f.json: unknown key group.onn; did you mean on?"},
        {"{\"group\":{\"count\":1}}", "f.json: unknown key group.count"},
        {"{\"count\":-3}", "f.json: count: must be a whole number from -2 to 2147483647"},
        {"{\"count\":2147483648}",
         "f.json: count: must be a whole number from -2 to 2147483647"},
        {"{\"count\":1.0}", "f.json: count: must be a whole number from -2 to 2147483647"},
        {"{\"count\":\"1\"}", "f.json: count: must be a whole number from -2 to 2147483647"},
        {"{\"share\":1.5}", "f.json: share: must be a number from 0 to 1"},
        {"{\"share\":null}", "f.json: share: must be a number from 0 to 1"},
        {"{\"group\":{\"share\":true}}",
         "f.json: group.share: must be a number from -1e+300 to 1e+300"},
        {"{\"group\":{\"on\":1}}", "f.json: group.on: must be true or false"},
        {"{\"name\":\"eight888\"}", "f.json: name: must be a string of fewer than 8 bytes"},
        {"{\"name\":8}", "f.json: name: must be a string of fewer than 8 bytes"},
        {"{\"colour\":\"bluish\"}", "f.json: colour: must be one of red green blue"},
        {"{\"colour\":1}", "f.json: colour: must be one of red green blue"},
        {"{\"seed\":-1}",
         "f.json: seed: must be a whole number from 0 to 18446744073709551615"},
        {"{\"seed\":\"18446744073709551616\"}",
         "f.json: seed: must be a whole number from 0 to 18446744073709551615"},
        {"{\"seed\":\"x\"}",
         "f.json: seed: must be a whole number from 0 to 18446744073709551615"},
        {"{\"seed\":1.5}",
         "f.json: seed: must be a whole number from 0 to 18446744073709551615"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        things got = some;
        wtl_error err;
        assert_fails(take(&got, cases[i][0], &err), WTL_E_FORMAT, &err, cases[i][1]);
    }
}

/* A caller's slip must end in a message, not in a read beyond the words. */
static void what_json_cannot_say_becomes_null_and_is_refused(void **state)
{
    (void)state;
    static const char *const messages[] = {
        "f.json: share: must be a number from 0 to 1",
        "f.json: group.share: must be a number from -1e+300 to 1e+300",
        "f.json: colour: must be one of red green blue",
        "f.json: colour: must be one of red green blue",
    };
    things odd[] = {some, some, some, some};
    odd[0].share = (double)NAN;
    odd[1].deep = -(double)INFINITY;
    odd[2].colour = 3;
    odd[3].colour = -1;
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        things got = some;
        wtl_error err;
        char *text = text_of(&odd[i]);
        assert_fails(take(&got, text, &err), WTL_E_FORMAT, &err, messages[i]);
        free(text);
    }
}

static void a_name_that_is_not_utf_8_has_no_json(void **state)
{
    (void)state;
    things t = some;
    t.name[0] = '\xff';
    assert_null(wtl_fields_to_json(table, COUNT, &t));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_struct_is_an_object_in_the_order_of_its_table),
        WTL_TEST(every_value_comes_back),
        WTL_TEST(a_key_that_is_not_there_leaves_its_field),
        WTL_TEST(what_is_wrong_is_named),
        WTL_TEST(what_json_cannot_say_becomes_null_and_is_refused),
        WTL_TEST(a_name_that_is_not_utf_8_has_no_json),
    };
    return WTL_RUN("fields", tests);
}
