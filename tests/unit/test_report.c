#include "wtl_test.h"

#include "prune/report/report_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/prune.h"
#include "wattle/report.h"

#include <stdio.h>
#include <string.h>

/* ---- a run, written by hand ---- */

static const char certificate[] =
    "{\"met\": true, \"why\": \"\", \"method\": \"energy-aware\",\n"
    " \"checkpoint\": \"a <b> & 'c'.wtl\", \"data\": \"idx:d\", \"hardware\": "
    "\"eyeriss-cvpr17\",\n"
    " \"metric\": \"top1\", \"energy_asked\": 0.3, \"energy\": 0.2987, \"energy_held_out\": "
    "0.3001,\n"
    " \"floor\": 0.12, \"dense_energy\": 4e7, \"pruned_energy\": 1.2e7, \"drop_asked\": null,\n"
    " \"drop\": 0.62, \"dense_top1\": 93.1, \"dense_top5\": 99.9, \"top1\": 92.48, \"top5\": "
    "99.8,\n"
    " \"val_images\": 6000, \"search_images\": 512, \"train_images\": 54000, \"weights\": "
    "1000,\n"
    " \"weights_before\": 1000, \"weights_kept\": 250, \"macs\": 5000, \"macs_before\": 4000,\n"
    " \"macs_after\": 1000, \"rounds\": 1, \"epochs\": 2, \"seconds\": 75, \"peak_bytes\": "
    "1e8}\n";
static const char layers[] =
    "layer,weights,kept_before,kept_after,energy_before,energy_after,macs,macs_before,macs_"
    "after,"
    "ifmap_density_before,ifmap_density_after,ofmap_density_before,ofmap_density_after\n"
    "conv<1>,1000,1000,250,4e7,1.2e7,5000,4000,1000,1,1,0.5,0.4\n";
static const char metrics[] =
    "round,goal,energy,density,val_loss,val_top1,val_top5,drop,epochs,held,seconds\n"
    "1,0.3,0.2987,0.25,0.21,92.48,99.8,0.62,2,1,70.5\n";
static const char plan[] =
    "{\"event\":\"layer\",\"round\":1,\"layer\":\"conv<1>\",\"weights\":1000,\"kept_before\":"
    "1000,"
    "\"kept_after\":250,\"error_before\":0,\"error_removal\":0.5,\"error_restoral\":0.25,"
    "\"error\":0.125,\"seconds\":3}\n"
    "{\"event\":\"decision\",\"round\":1,\"what\":\"finished\",\"why\":\"\",\"seconds\":75}\n";
static const char config[] = "{\"checkpoint\": \"a <b> & 'c'.wtl\", \"data\": \"idx:d\",\n"
                             " \"target_energy\": 0.3, \"finetune\": {\"distill\": 0.5},\n"
                             " \"how\": {\"no_fit\": true}, \"limits\": {\"conv1\": 0.5}}\n";
static const char env[] = "{\"version\": \"1\", \"processor\": \"p\", \"threads\": 2}\n";

static const struct {
    const char *name, *text;
} files[] = {{"certificate.json", certificate}, {"energy.csv", layers},
             {"metrics.csv", metrics},          {"plan.jsonl", plan},
             {"config.json", config},           {"env.json", env}};
enum { FILES = sizeof files / sizeof *files };

static void write_file(const char *folder, const char *name, const char *text, size_t length)
{
    char path[256];
    assert_ok(wtl_make_folder(wtl_test_path(folder), NULL));
    snprintf(path, sizeof path, "%s/%s", folder, name);
    wtl_test_write(wtl_test_path(path), text, length);
}

static void write_run(const char *folder)
{
    for (int i = 0; i < FILES; i++) {
        write_file(folder, files[i].name, files[i].text, strlen(files[i].text));
    }
}

/* The page, freed by wtl_free(). */
static char *page_of(const char *folder)
{
    unsigned char *bytes;
    size_t length;
    char path[256];
    assert_ok(wtl_report_write(wtl_test_path(folder), NULL, NULL));
    snprintf(path, sizeof path, "%s/report.html", folder);
    assert_ok(wtl_file_read_plain(wtl_test_path(path), 1 << 24, &bytes, &length, NULL));
    return (char *)bytes;
}

static void assert_has(const char *page, const char *text)
{
    if (!strstr(page, text)) {
        fail_msg("the page lacks: %s", text);
    }
}

/* ---- the page ---- */

static void the_verdict_says_what_was_asked_and_got(void **state)
{
    (void)state;
    write_run("met");
    char *page = page_of("met");
    assert_has(page, "Energy 29.9 % of dense (asked 30.0 %) at 0.62 points less top1 on 6,000 "
                     "validation images: goal met");
    assert_has(page, "3.35\xc3\x97");
    assert_has(page, "25.0 %");
    assert_has(page, "4.00\xc3\x97");
    wtl_free(page);
    static const char yes[] = "{\"met\": true", no[] = "{\"met\": false";
    char lost[sizeof certificate + 1];
    snprintf(lost, sizeof lost, "%s%s", no, certificate + strlen(yes));
    write_run("lost");
    write_file("lost", "certificate.json", lost, strlen(lost));
    page = page_of("lost");
    assert_has(page, "goal not met");
    wtl_free(page);
}

static void everything_from_files_is_escaped(void **state)
{
    (void)state;
    write_run("escaped");
    char *page = page_of("escaped");
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "a <b>"));
    assert_null(strstr(page, "conv<1>"));
    assert_has(page, "conv&lt;1&gt;");
    assert_null(strstr(page, "href="));
    wtl_free(page);
}

static void the_commands_reproduce_what_differs_from_the_defaults(void **state)
{
    (void)state;
    write_run("again");
    char *page = page_of("again");
    assert_has(page, "wattle prune ");
    assert_has(page, "--target-energy 0.3");
    assert_has(page, "--distill 0.5");
    assert_has(page, "--no-fit");
    assert_has(page, "--keep conv1=0.5");
    assert_null(strstr(page, "--rounds"));
    assert_null(strstr(page, "--lr"));
    wtl_free(page);
}

static void the_same_folder_gives_the_same_bytes(void **state)
{
    (void)state;
    write_run("same");
    char *a = page_of("same"), *b = page_of("same");
    assert_string_equal(a, b);
    wtl_free(a);
    wtl_free(b);
}

/* ---- damage ---- */

static void damaged_files_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *file, *text, *message;
    } bad[] = {
        {"certificate.json", "{\"met\": 1}", "certificate.json:1: met must be"},
        {"certificate.json", "{\n\"met\": true", "certificate.json:2: "},
        {"certificate.json", "[]", "certificate.json:1: must be an object"},
        {"energy.csv", "layer,weights\nconv1,3\n", "energy.csv:1: "},
        {"energy.csv", "", "energy.csv:1: "},
        {"metrics.csv",
         "round,goal,energy,density,val_loss,val_top1,val_top5,drop,epochs,held,seconds\n"
         "1,x,0.2,0.2,0.2,92,99,0.6,2,1,70\n",
         "metrics.csv:2: "},
        {"plan.jsonl", "{\"event\":\"layer\"}\n{\n", "plan.jsonl:2: "},
        {"config.json", "{\"epoch\": 1}", "config.json: unknown key epoch"},
        {"env.json", "x", "env.json:1: "},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wtl_error err;
        write_run("damaged");
        write_file("damaged", bad[i].file, bad[i].text, strlen(bad[i].text));
        err.text[0] = '\0';
        assert_int_equal(wtl_report_write(wtl_test_path("damaged"), NULL, &err), WTL_E_FORMAT);
        if (!strstr(err.text, bad[i].message)) {
            fail_msg("'%s' lacks '%s'", err.text, bad[i].message);
        }
    }
}

static void a_folder_without_a_finished_run_is_refused(void **state)
{
    (void)state;
    wtl_error err;
    assert_ok(wtl_make_folder(wtl_test_path("empty"), NULL));
    assert_int_equal(wtl_report_write(wtl_test_path("empty"), NULL, &err), WTL_E_MISSING);
    assert_non_null(strstr(err.text, "no pruning run and no comparison"));
    write_file("begun", "config.json", "{}", 2);
    assert_int_equal(wtl_report_write(wtl_test_path("begun"), NULL, &err), WTL_E_MISSING);
    assert_non_null(strstr(err.text, "not a finished"));
}

static void only_plots_of_ours_are_inlined(void **state)
{
    (void)state;
    static const char *const good =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 9 9\">"
        "<title>t</title><path d=\"M0 0\"/></svg>\n";
    static const char *const bad[] = {
        "<svg><script>alert(1)</script></svg>",
        "<svg onload=\"x\"></svg>",
        "<svg><a href=\"x\">y</a></svg>",
        "<svg><image/></svg>",
        "<svg><style>p{background:url(x)}</style></svg>",
        "<svg><path d=\"M0\"",
        "<svg></svg><p>",
        "<p></p>",
        "",
    };
    assert_ok(wtl_report_svg_check(good, "p.svg", NULL));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        wtl_error err;
        assert_int_equal(wtl_report_svg_check(bad[i], "p.svg", &err), WTL_E_FORMAT);
        assert_non_null(strstr(err.text, "p.svg:1: "));
    }
}

/* ---- parts ---- */

static void words_are_quoted_for_a_shell(void **state)
{
    (void)state;
    static const char *const cases[][2] = {{"plain-1.wtl", "plain-1.wtl"},
                                           {"a b", "'a b'"},
                                           {"$HOME", "'$HOME'"},
                                           {"it's", "'it'\\''s'"},
                                           {"", "''"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_text text = {0};
        wtl_report_quote(&text, cases[i][0]);
        assert_string_equal(text.bytes, cases[i][1]);
        wtl_text_clear(&text);
    }
}

static void numbers_are_written_for_people(void **state)
{
    (void)state;
    wtl_report_number n;
    assert_string_equal(wtl_report_count(n, 1234567), "1,234,567");
    assert_string_equal(wtl_report_amount(n, 1.06e9), "1.06 G");
    assert_string_equal(wtl_report_percent(n, 0.0312), "3.12 %");
    assert_string_equal(wtl_report_percent(n, 1), "100 %");
    assert_string_equal(wtl_report_duration(n, 3960), "1 h 06 min");
    assert_string_equal(wtl_report_exact(n, 0.1), "0.1");
}

static wtl_status write_page(void *context)
{
    return wtl_report_write(context, NULL, NULL);
}

static void every_failing_allocation_is_told(void **state)
{
    (void)state;
    write_run("memory");
    char folder[256];
    snprintf(folder, sizeof folder, "%s", wtl_test_path("memory"));
    wtl_test_every_allocation_fails(write_page, folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(the_verdict_says_what_was_asked_and_got),
        WTL_TEST(everything_from_files_is_escaped),
        WTL_TEST(the_commands_reproduce_what_differs_from_the_defaults),
        WTL_TEST(the_same_folder_gives_the_same_bytes),
        WTL_TEST(damaged_files_are_named),
        WTL_TEST(a_folder_without_a_finished_run_is_refused),
        WTL_TEST(only_plots_of_ours_are_inlined),
        WTL_TEST(words_are_quoted_for_a_shell),
        WTL_TEST(numbers_are_written_for_people),
        WTL_TEST(every_failing_allocation_is_told),
    };
    return WTL_RUN("report", tests);
}
