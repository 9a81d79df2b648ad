#define _GNU_SOURCE
#include "tiny_run.h"
#include "wtl_test.h"

#include "prune/run/prune_folder.h"
#include "wattle/file.h"
#include "wattle/json.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static wtl_prune_folder *folder_at(const char *name)
{
    wtl_prune_folder *folder;
    assert_ok(wtl_prune_folder_create(&folder, wtl_test_path(name), NULL));
    return folder;
}

static void write_text(const wtl_prune_folder *folder, wtl_prune_file file, const char *text)
{
    wtl_test_write(wtl_prune_folder_path(folder, file), text, strlen(text));
}

static void assert_text(const wtl_prune_folder *folder, wtl_prune_file file, const char *want)
{
    unsigned char *bytes;
    size_t length;
    assert_ok(
        wtl_file_read(wtl_prune_folder_path(folder, file), 1 << 20, &bytes, &length, NULL));
    assert_string_equal((const char *)bytes, want);
    wtl_free(bytes);
}

/* ---- the folder ---- */

static void paths_are_those_of_the_header_and_nothing_is_made(void **state)
{
    (void)state;
    static const char *const names[WTL_FILE_COUNT] = {
        "config.json",      "env.json",      "plan.jsonl",     "metrics.csv",
        "certificate.json", "energy.csv",    "masks.npz",      "ckpt/dense.wtl",
        "ckpt/last.wtl",    "ckpt/held.wtl", "ckpt/pruned.wtl"};
    wtl_prune_folder *folder = folder_at("paths");
    for (int i = 0; i < WTL_FILE_COUNT; i++) {
        char name[64];
        snprintf(name, sizeof name, "paths/%s", names[i]);
        assert_string_equal(wtl_prune_folder_path(folder, (wtl_prune_file)i),
                            wtl_test_path(name));
        assert_false(wtl_prune_folder_has(folder, (wtl_prune_file)i));
    }
    assert_false(wtl_folder_exists(wtl_test_path("paths")));
    wtl_prune_folder_free(folder);
    wtl_prune_folder_free(NULL);
}

static void beginning_removes_what_an_earlier_run_left(void **state)
{
    (void)state;
    wtl_prune_folder *folder = folder_at("left");
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    for (int i = 0; i < WTL_FILE_COUNT; i++) {
        write_text(folder, (wtl_prune_file)i, "old");
    }
    wtl_test_write(wtl_test_path("left/mine.txt"), "mine", 4);
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    static const wtl_prune_file gone[] = {
        WTL_FILE_LAST,        WTL_FILE_PRUNED,  WTL_FILE_HELD,   WTL_FILE_PLAN,
        WTL_FILE_CERTIFICATE, WTL_FILE_METRICS, WTL_FILE_ENERGY, WTL_FILE_MASKS};
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        assert_false(wtl_prune_folder_has(folder, gone[i]));
    }
    assert_true(wtl_file_exists(wtl_test_path("left/mine.txt")));
    wtl_prune_folder_free(folder);
}

/* A kill, or a full disk, in between: no run may be resumed that is half another. */
static void a_new_run_takes_the_config_away_before_anything_else(void **state)
{
    (void)state;
    wtl_error err;
    wtl_prune_folder *folder = folder_at("half");
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    write_text(folder, WTL_FILE_CONFIG, "old");
    write_text(folder, WTL_FILE_LAST, "old");
    assert_int_equal(wtl_prune_folder_begin(folder, wtl_test_path("half/no-such-file"), &err),
                     WTL_E_MISSING);
    assert_false(wtl_prune_folder_has(folder, WTL_FILE_CONFIG));
    assert_true(wtl_prune_folder_has(folder, WTL_FILE_LAST)); /* nothing else is lost */
    write_text(folder, WTL_FILE_CONFIG, "old");
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL)); /* resumed: it is this run's */
    assert_text(folder, WTL_FILE_CONFIG, "old");
    wtl_prune_folder_free(folder);
}

static void the_checkpoint_may_be_what_the_earlier_run_left(void **state)
{
    (void)state;
    static const wtl_prune_file sources[] = {WTL_FILE_PRUNED, WTL_FILE_LAST, WTL_FILE_DENSE};
    wtl_prune_folder *folder = folder_at("own");
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    for (int i = 0; i < 3; i++) {
        write_text(folder, sources[i], "a network");
        assert_ok(
            wtl_prune_folder_begin(folder, wtl_prune_folder_path(folder, sources[i]), NULL));
        assert_text(folder, WTL_FILE_DENSE, "a network");
        assert_false(wtl_prune_folder_has(folder, WTL_FILE_PRUNED));
        assert_false(wtl_prune_folder_has(folder, WTL_FILE_LAST));
    }
    wtl_prune_folder_free(folder);
}

static void a_folder_that_cannot_be_is_told(void **state)
{
    (void)state;
    wtl_error err;
    wtl_test_write(wtl_test_path("file"), "x", 1);
    wtl_prune_folder *folder = folder_at("file/run");
    assert_int_equal(wtl_prune_folder_begin(folder, NULL, &err), WTL_E_WRITE);
    assert_non_null(strstr(err.text, "file"));
    wtl_prune_folder_free(folder);
    folder = folder_at("stuck");
    char inside[600];
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    snprintf(inside, sizeof inside, "%s/x", wtl_prune_folder_path(folder, WTL_FILE_PLAN));
    assert_ok(wtl_make_folder(inside, NULL));
    assert_int_equal(wtl_prune_folder_begin(folder, NULL, &err), WTL_E_WRITE);
    assert_non_null(strstr(err.text, "plan.jsonl: cannot be removed"));
    wtl_prune_folder_free(folder);
}

static wtl_status create_folder(void *context)
{
    (void)context;
    wtl_prune_folder *folder;
    wtl_status status = wtl_prune_folder_create(&folder, "somewhere", NULL);
    assert_true((status == WTL_OK) == (folder != NULL));
    wtl_prune_folder_free(folder);
    return status;
}

static void no_memory_leaves_nothing_behind(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(create_folder, NULL);
}

/* ---- config.json ---- */

static void the_config_comes_back(void **state)
{
    (void)state;
    wtl_prune_folder *folder = folder_at("config");
    wtl_prune_options sent, got;
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    wtl_prune_defaults(&sent);
    sent.target_energy = 0.37;
    sent.step = 0.1 + 0.2; /* written with 15 digits: 0.3 */
    sent.limits[0] = (wtl_prune_limit){"conv1", 0.25};
    sent.limit_count = 1;
    assert_ok(wtl_prune_folder_write_config(folder, &sent, NULL));
    assert_ok(wtl_prune_folder_read_config(folder, &got, NULL));
    assert_close(got.target_energy, 0.37, 0.0);
    assert_close(got.step, 0.3, 0.0);
    assert_int_equal(got.limit_count, 1);
    assert_string_equal(got.limits[0].layer, "conv1");
    wtl_prune_folder_free(folder);
}

static void a_bad_config_is_named_with_its_line(void **state)
{
    (void)state;
    wtl_prune_folder *folder = folder_at("bad-config");
    wtl_prune_options o;
    wtl_error err;
    assert_int_equal(wtl_prune_folder_read_config(folder, &o, &err), WTL_E_MISSING);
    assert_non_null(strstr(err.text, "config.json: no such file, so there is no run to"));
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    static const char *const cases[][2] = {
        {"{\n\"rounds\": 1,\n\"rounds\": 2}", "config.json:3: duplicate object key"},
        {"{\n", "config.json:2: "},
        {"", "config.json:1: "},
        {"{\"rounds\": 1} x", "config.json:1: "},
        {"{\"rounds\": 0}", "config.json: rounds: must be a whole number from 1 to 1000"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text(folder, WTL_FILE_CONFIG, cases[i][0]);
        assert_int_equal(wtl_prune_folder_read_config(folder, &o, &err), WTL_E_FORMAT);
        if (!strstr(err.text, cases[i][1])) {
            fail_msg("\"%s\" lacks \"%s\"", err.text, cases[i][1]);
        }
    }
    wtl_prune_folder_free(folder);
}

/* ---- plan.jsonl ---- */

static const char three_lines[] =
    "{\"event\":\"begin\",\"round\":0,\"seconds\":1.5}\n"
    "{\"event\":\"round\",\"round\":1,\"seconds\":2.5}\n"
    "{\"event\":\"decision\",\"round\":1,\"what\":\"held\",\"seconds\":3.5}\n";

/* A plan of `text`, of which `lines` stay; *seconds and the first row's. */
static wtl_status reopen(const char *text, int lines, double *seconds, double *row_seconds,
                         wtl_error *err)
{
    wtl_prune_folder *folder = folder_at("plan");
    wtl_prune_row row = {.seconds = (double)NAN};
    wtl_prune_state st = {.plan_lines = lines, .rows = &row, .round_count = 1};
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    if (text) {
        write_text(folder, WTL_FILE_PLAN, text);
    }
    wtl_status status = wtl_prune_folder_open_plan(folder, &st, seconds, err);
    if (status == WTL_OK) {
        assert_ok(wtl_prune_folder_plan(folder, &st, json_pack("{s:s}", "event", "x"), NULL));
        assert_int_equal(st.plan_lines, lines + 1);
    }
    *row_seconds = row.seconds;
    wtl_prune_folder_free(folder);
    return status;
}

static void a_plan_goes_back_to_the_lines_of_the_state(void **state)
{
    (void)state;
    double seconds, row;
    wtl_prune_folder *folder = folder_at("plan");
    char want[512], torn[512];
    const char *second = strchr(three_lines, '\n') + 1, *third = strchr(second, '\n') + 1;
    snprintf(want, sizeof want, "%.*s{\"event\":\"x\"}\n", (int)(third - three_lines),
             three_lines);
    assert_ok(reopen(three_lines, 2, &seconds, &row, NULL));
    assert_close(seconds, 2.5, 0.0);
    assert_close(row, 2.5, 0.0);
    assert_text(folder, WTL_FILE_PLAN, want);
    /* A kill tears the last line: it is not the state's. */
    snprintf(torn, sizeof torn, "%.*s{\"event\":\"deci", (int)(third - three_lines),
             three_lines);
    assert_ok(reopen(torn, 2, &seconds, &row, NULL));
    assert_text(folder, WTL_FILE_PLAN, want);
    snprintf(want, sizeof want, "%s{\"event\":\"x\"}\n", three_lines);
    assert_ok(reopen(three_lines, 3, &seconds, &row, NULL));
    assert_close(seconds, 3.5, 0.0);
    assert_text(folder, WTL_FILE_PLAN, want);
    assert_ok(reopen(three_lines, 0, &seconds, &row, NULL));
    assert_close(seconds, 0.0, 0.0);
    assert_true(isnan(row));
    assert_text(folder, WTL_FILE_PLAN, "{\"event\":\"x\"}\n");
    assert_ok(reopen(NULL, 0, &seconds, &row, NULL));
    assert_text(folder, WTL_FILE_PLAN, "{\"event\":\"x\"}\n");
    wtl_prune_folder_free(folder);
}

static void lines_that_are_missing_are_told(void **state)
{
    (void)state;
    double seconds, row;
    wtl_error err;
    assert_int_equal(reopen(three_lines, 4, &seconds, &row, &err), WTL_E_FORMAT);
    assert_non_null(strstr(err.text, "plan.jsonl:4: lines are missing; the run had 4"));
    wtl_prune_folder *folder = folder_at("plan"); /* and nothing was cut */
    assert_text(folder, WTL_FILE_PLAN, three_lines);
    wtl_prune_folder_free(folder);
    assert_int_equal(reopen("{}\n{\"event\"", 2, &seconds, &row, &err), WTL_E_FORMAT);
    assert_non_null(strstr(err.text, "plan.jsonl:2: lines are missing; the run had 2"));
    assert_int_equal(reopen("", 1, &seconds, &row, &err), WTL_E_FORMAT);
    assert_int_equal(reopen(NULL, 1, &seconds, &row, &err), WTL_E_MISSING);
}

/* Lines are for people: what they say of times is taken only where it makes sense. */
static void odd_lines_do_no_harm(void **state)
{
    (void)state;
    double seconds, row;
    const char *odd = "rubbish\n"
                      "[]\n"
                      "{\"event\":\"round\",\"round\":0,\"seconds\":1}\n"
                      "{\"event\":\"round\",\"round\":2,\"seconds\":2}\n"
                      "{\"event\":\"round\",\"round\":-9000000000,\"seconds\":3}\n"
                      "{\"event\":7,\"round\":1,\"seconds\":\"4\"}\n"
                      "{\"event\":\"round\",\"round\":1,\"seconds\":null}\n"
                      "\n";
    assert_ok(reopen(odd, 8, &seconds, &row, NULL));
    assert_close(seconds, 3.0, 0.0);
    assert_true(isnan(row));
}

/* Files of this process may not grow beyond `bytes`; 0: any length. */
static void limit_files(rlim_t bytes)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes ? bytes : limit.rlim_max;
    (void)signal(SIGXFSZ, bytes ? SIG_IGN : SIG_DFL);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

static void a_plan_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    wtl_error err;
    wtl_prune_state st = {0};
    double seconds;
    wtl_prune_folder *folder = folder_at("full");
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    assert_ok(wtl_prune_folder_open_plan(folder, &st, &seconds, NULL));
    limit_files(1);
    wtl_status status = wtl_prune_folder_plan(folder, &st, json_object(), &err);
    limit_files(0);
    assert_int_equal(status, WTL_E_WRITE);
    assert_non_null(strstr(err.text, "plan.jsonl: cannot be written: File too large"));
    assert_int_equal(st.plan_lines, 0);
    wtl_prune_folder_free(folder);
    folder = folder_at("full2");
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    assert_ok(wtl_make_folder(wtl_prune_folder_path(folder, WTL_FILE_PLAN), NULL));
    assert_int_equal(wtl_prune_folder_open_plan(folder, &st, &seconds, &err), WTL_E_WRITE);
    assert_non_null(strstr(err.text, "plan.jsonl: cannot be written"));
    wtl_prune_folder_free(folder);
}

/* ---- metrics.csv ---- */

static void metrics_are_a_row_a_round(void **state)
{
    (void)state;
    wtl_prune_row rows[2] = {{.goal = 0.5,
                              .energy = 0.4999996,
                              .density = 0.25,
                              .val_loss = 1.5,
                              .val_top1 = 66.66667,
                              .val_top5 = 100,
                              .drop = -0.3333,
                              .epochs = 1.4,
                              .held = true,
                              .seconds = 12.345},
                             {.goal = 0.25,
                              .energy = 0.26,
                              .density = 0.125,
                              .val_loss = 2,
                              .val_top1 = 50,
                              .val_top5 = 90,
                              .drop = 16.33337,
                              .epochs = 0,
                              .held = false,
                              .seconds = (double)NAN}};
    const wtl_prune_state st = {.rows = rows, .round_count = 2};
    const wtl_prune_state none = {.round_count = 0};
    wtl_prune_folder *folder = folder_at("metrics");
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    assert_ok(wtl_prune_folder_write_metrics(folder, &st, NULL));
    assert_text(
        folder, WTL_FILE_METRICS,
        "round,goal,energy,density,val_loss,val_top1,val_top5,drop,epochs,held,seconds\n"
        "1,0.500000,0.500000,0.250000,1.500000,66.6667,100.0000,-0.3333,1.4000,1,12.35\n"
        "2,0.250000,0.260000,0.125000,2.000000,50.0000,90.0000,16.3334,0.0000,0,\n");
    assert_ok(wtl_prune_folder_write_metrics(folder, &none, NULL));
    assert_text(
        folder, WTL_FILE_METRICS,
        "round,goal,energy,density,val_loss,val_top1,val_top5,drop,epochs,held,seconds\n");
    wtl_prune_folder_free(folder);
}

static void files_that_cannot_be_written_are_told(void **state)
{
    (void)state;
    static const wtl_prune_file files[] = {WTL_FILE_METRICS, WTL_FILE_CERTIFICATE,
                                           WTL_FILE_CONFIG};
    wtl_prune_options o;
    wtl_prune_defaults(&o);
    wtl_prune_folder *folder = folder_at("no-room");
    assert_ok(wtl_prune_folder_begin(folder, NULL, NULL));
    for (int i = 0; i < 3; i++) {
        const char *path = wtl_prune_folder_path(folder, files[i]);
        const wtl_prune_state none = {.round_count = 0};
        wtl_error err;
        assert_int_equal(symlink("/dev/full", path), 0);
        wtl_status status = i == 0   ? wtl_prune_folder_write_metrics(folder, &none, &err)
                            : i == 1 ? wtl_json_write(wtl_prune_folder_path(folder, files[i]),
                                                      json_object(), &err)
                                     : wtl_prune_folder_write_config(folder, &o, &err);
        assert_int_equal(status, WTL_E_WRITE);
        assert_string_equal(err.text, "/dev/full: cannot be written: No space left on device");
    }
    wtl_error err;
    wtl_prune_state st = {0};
    assert_int_equal(wtl_json_write(wtl_prune_folder_path(folder, WTL_FILE_ENERGY), NULL, &err),
                     WTL_E_NOMEM);
    assert_int_equal(wtl_prune_folder_plan(folder, &st, NULL, &err), WTL_E_NOMEM);
    wtl_prune_folder_free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(paths_are_those_of_the_header_and_nothing_is_made),
        WTL_TEST(beginning_removes_what_an_earlier_run_left),
        WTL_TEST(a_new_run_takes_the_config_away_before_anything_else),
        WTL_TEST(the_checkpoint_may_be_what_the_earlier_run_left),
        WTL_TEST(a_folder_that_cannot_be_is_told),
        WTL_TEST(no_memory_leaves_nothing_behind),
        WTL_TEST(the_config_comes_back),
        WTL_TEST(a_bad_config_is_named_with_its_line),
        WTL_TEST(a_plan_goes_back_to_the_lines_of_the_state),
        WTL_TEST(lines_that_are_missing_are_told),
        WTL_TEST(odd_lines_do_no_harm),
        WTL_TEST(a_plan_that_cannot_be_written_is_told),
        WTL_TEST(metrics_are_a_row_a_round),
        WTL_TEST(files_that_cannot_be_written_are_told),
    };
    return WTL_RUN("prune folder", tests);
}
