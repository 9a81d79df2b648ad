#include "wtl_test.h"

#include "prune/report/report_private.h"

#include "wattle/compare.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/report.h"
#include "wattle/svg.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- folders made by hand ---- */

typedef struct part {
    const char *name, *text;
} part;

static const char certificate[] = "{\n"
                                  "  \"schema_version\": 1,\n"
                                  "  \"met\": true,\n"
                                  "  \"why\": \"\",\n"
                                  "  \"method\": \"energy-aware\",\n"
                                  "  \"checkpoint\": \"runs/a b/last.wtl\",\n"
                                  "  \"data\": \"fashion-mnist\",\n"
                                  "  \"hardware\": \"eyeriss-cvpr17\",\n"
                                  "  \"hardware_batch\": 44,\n"
                                  "  \"seed\": 0,\n"
                                  "  \"energy_asked\": 0.3,\n"
                                  "  \"energy\": 0.3004,\n"
                                  "  \"energy_held_out\": 0.3012,\n"
                                  "  \"floor\": 0.125,\n"
                                  "  \"dense_energy\": 17699900.0,\n"
                                  "  \"pruned_energy\": 5317049.96,\n"
                                  "  \"metric\": \"top1\",\n"
                                  "  \"drop_asked\": null,\n"
                                  "  \"drop\": 0.62,\n"
                                  "  \"dense_top1\": 91.62,\n"
                                  "  \"dense_top5\": 99.8,\n"
                                  "  \"top1\": 91.0,\n"
                                  "  \"top5\": 99.75,\n"
                                  "  \"val_images\": 6000,\n"
                                  "  \"search_images\": 512,\n"
                                  "  \"train_images\": 54000,\n"
                                  "  \"weights\": 25500.0,\n"
                                  "  \"weights_before\": 25500.0,\n"
                                  "  \"weights_kept\": 8120.0,\n"
                                  "  \"macs\": 2293000.0,\n"
                                  "  \"macs_before\": 2289927.9,\n"
                                  "  \"macs_after\": 761854.6,\n"
                                  "  \"rounds\": 2,\n"
                                  "  \"epochs\": 3.0,\n"
                                  "  \"seconds\": 4000.0,\n"
                                  "  \"peak_bytes\": 168697856.0\n"
                                  "}\n";

static const part run_parts[] = {
    {"certificate.json", certificate},
    {"config.json", "{\n"
                    "  \"checkpoint\": \"runs/a b/last.wtl\",\n"
                    "  \"data\": \"fashion-mnist\",\n"
                    "  \"method\": \"energy-aware\",\n"
                    "  \"target_energy\": 0.3,\n"
                    "  \"rounds\": 2,\n"
                    "  \"finetune\": {\"rate\": 0.005, \"augment\": \"flip\"},\n"
                    "  \"how\": {\"no_fit\": true},\n"
                    "  \"limits\": {\"fc 8\": 1.0, \"conv1\": 0.25},\n"
                    "  \"threads\": 2\n"
                    "}\n"},
    {"env.json", "{\"version\": \"0.1.0\", \"processor\": \"A <B> & C\", \"threads\": 2}\n"},
    {"metrics.csv",
     "round,goal,energy,density,val_loss,val_top1,val_top5,drop,epochs,held,seconds\n"
     "1,0.55,0.551,0.6,0.24,91.5,99.8,0.12,1,1,30\n"
     "2,0.3,0.3004,0.3184,0.27,91,99.75,0.62,2,1,4000\n"},
    {"energy.csv",
     "layer,weights,kept_before,kept_after,energy_before,energy_after,macs,macs_before,"
     "macs_after,ifmap_density_before,ifmap_density_after,ofmap_density_before,"
     "ofmap_density_after\n"
     "conv1,500,500,429,4041898.5,1855640.5,288000,288000,247104,1,1,0.5,0.45\n"
     "conv2,25000,25000,7691,9559785.4,3461409.4,1600000,1600000,492224,0.5,0.45,1,\n"},
    {"plan.jsonl",
     "{\"event\":\"begin\",\"round\":0,\"seconds\":1}\n"
     "{\"event\":\"layer\",\"round\":1,\"layer\":\"conv2\",\"weights\":25000,\"kept_before\":"
     "25000,\"kept_after\":12500,\"error_before\":null,\"error_removal\":0.4642,"
     "\"error_restoral\":0.1964,\"error\":0.0871,\"seconds\":2}\n"
     "{\"event\":\"round\",\"round\":1,\"held\":true,\"seconds\":3}\n"
     "{\"event\":\"decision\",\"round\":2,\"what\":\"finished\",\"why\":\"all rounds are "
     "done\",\"seconds\":4}\n"},
};
enum { RUN_PARTS = sizeof run_parts / sizeof *run_parts };

/* Two methods and one budget; ratios and rows as prune/compare_write.c writes them. */
static const char summary_format[] =
    "{\n"
    "  \"net\": \"tiny\",\n"
    "  \"checkpoint\": \"last.wtl\",\n"
    "  \"data\": \"fashion-mnist\",\n"
    "  \"seeds\": 3,\n"
    "  \"max_drop\": 1.0,\n"
    "  \"equal_energy\": 0.5,\n"
    "  \"budgets\": [0.5],\n"
    "  \"train_images\": 54000, \"val_images\": 6000, \"test_images\": 10000,\n"
    "  \"search_images\": 512,\n"
    "  \"dense\": {\"top1\": 91.62, \"top5\": 99.8, \"weights\": 430500, \"macs\": 2293000},\n"
    "  \"points\": [\n"
    "    {\"method\": \"energy-aware\", \"seed\": 0, \"budget\": 0.5, \"energy\": 0.5},\n"
    "    {\"method\": \"random\", \"seed\": 0, \"budget\": 0.5, \"note\": \"a <gap>\"}\n"
    "  ],\n"
    "  \"rows\": [\n"
    "    {\"method\": \"energy-aware\", \"iso_energy_mean\": %s, \"bounded\": %s, "
    "\"seeds\": 3},\n"
    "    {\"method\": \"magnitude-global\", \"iso_energy_mean\": %s, \"bounded\": %s, "
    "\"energy_mean\": 0.702, \"energy_sd\": 0.0123}\n"
    "  ],\n"
    "  \"ratios\": {\"energy_aware\": \"energy-aware\", "
    "\"best_magnitude\": \"magnitude-global\"},\n"
    "  \"layers\": [{\"net\": \"original\", \"layer\": \"conv1\", \"energy\": 4e6, "
    "\"density\": 1}]\n"
    "}\n";

static const part comparison_parts[] = {
    {"config.json", "{\"methods\": [\"energy-aware\", \"magnitude-global\"], \"seeds\": 3, "
                    "\"prune\": {\"checkpoint\": \"last.wtl\", \"data\": \"fashion-mnist\", "
                    "\"epochs\": 0.5, \"seed\": 7}}\n"},
    {"plots/pareto.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><text>P</text></svg>\n"},
    {"plots/bars.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><text>B</text></svg>\n"},
    {"plots/layers.svg", "<svg xmlns=\"http://www.w3.org/2000/svg\"><text>L</text></svg>\n"},
};
enum { COMPARISON_PARTS = sizeof comparison_parts / sizeof *comparison_parts };

static void write_part(const char *folder, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    wtl_test_write(wtl_test_path(path), text, strlen(text));
}

/* A folder of these parts; its path, which is good until the 8th next path. */
static const char *make_folder(const char *name, const part *parts, int count)
{
    char plots[256];
    snprintf(plots, sizeof plots, "%s/plots", name);
    assert_ok(wtl_make_folder(wtl_test_path(plots), NULL));
    for (int i = 0; i < count; i++) {
        write_part(name, parts[i].name, parts[i].text);
    }
    return wtl_test_path(name);
}

static const char *make_comparison(const char *name, const char *ours, bool ours_bounded,
                                   const char *theirs, bool theirs_bounded)
{
    char text[4096];
    static const char *const words[] = {"false", "true"};
    snprintf(text, sizeof text, summary_format, ours, words[ours_bounded], theirs,
             words[theirs_bounded]);
    const char *folder = make_folder(name, comparison_parts, COMPARISON_PARTS);
    write_part(name, "summary.json", text);
    return folder;
}

/* `text` with `old` (which must be there) replaced by `with`; freed by wtl_free(). */
static char *replaced(const char *text, const char *old, const char *with)
{
    const char *at = strstr(text, old);
    if (!at) {
        fail_msg("'%s' is not in the text", old);
        return NULL;
    }
    char *copy = wtl_format("%.*s%s%s", (int)(at - text), text, with, at + strlen(old));
    assert_non_null(copy);
    return copy;
}

static char *page_of(const char *folder)
{
    unsigned char *bytes;
    size_t length;
    wtl_error err = {0};
    wtl_status status = wtl_report_write(folder, NULL, &err);
    if (status != WTL_OK) {
        fail_msg("%s: %s", folder, err.text);
    }
    char *path = wtl_path_join(folder, "report.html");
    assert_non_null(path);
    assert_ok(wtl_file_read(path, 1 << 24, &bytes, &length, &err));
    wtl_free(path);
    return (char *)bytes;
}

static void assert_has(const char *page, const char *piece)
{
    if (!strstr(page, piece)) {
        const char *body = strstr(page, "<body>");
        fail_msg("\"%s\" is not in\n%.3000s", piece, body ? body : page);
    }
}

static void assert_lacks(const char *page, const char *piece)
{
    const char *at = strstr(page, piece);
    if (at) {
        fail_msg("\"%s\" is there: %.200s", piece, at);
    }
}

/* ---- the page as a document ---- */

/* Every element is closed in order; void ones and, in tables, <tr> need no end. */
static void assert_well_formed(const char *page)
{
    enum { DEEPEST = 64 };
    char open[DEEPEST][16];
    int depth = 0;
    for (const char *at = page; (at = strchr(at, '<')); at++) {
        char name[16] = "";
        bool ends = at[1] == '/';
        if (sscanf(at + 1 + ends, "%15[a-z0-9]", name) != 1 || strcmp(name, "meta") == 0 ||
            strcmp(name, "tr") == 0) {
            continue;
        }
        const char *close = strchr(at, '>');
        assert_non_null(close);
        if (ends) {
            assert_true(depth > 0);
            assert_string_equal(name, open[--depth]);
        } else if (close[-1] != '/') {
            assert_true(depth < DEEPEST);
            memcpy(open[depth++], name, sizeof name);
        }
    }
    assert_int_equal(depth, 0);
}

static void assert_self_contained(const char *page)
{
    static const char *const never[] = {"<script", "src=",  "href=", "url(",   "@import",
                                        "onload",  "<link", "<img",  "<iframe"};
    for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
        assert_lacks(page, never[i]);
    }
    for (const char *at = page; (at = strstr(at, "http")); at++) {
        if (strncmp(at, "http-equiv", 10) != 0 &&
            strncmp(at, "http://www.w3.org/2000/svg\"", 27) != 0) {
            fail_msg("an address: %.80s", at);
        }
    }
}

static void a_run_becomes_one_page_that_loads_nothing(void **state)
{
    (void)state;
    char *page = page_of(make_folder("run", run_parts, RUN_PARTS));
    assert_well_formed(page);
    assert_self_contained(page);
    assert_has(page, "<p class=\"said\">Energy 30.0 % of dense (asked 30.0 %) at 0.62 points "
                     "less top-1 on 6,000 validation images: goal met</p>");
    assert_has(page, "<div class=\"verdict good\">");
    wtl_free(page);
}

/* Worked by hand from the files above: 17699900 / 5317049.96 = 3.3289, 25500 / 8120 = 3.14,
 * 2289927.9 / 761854.6 = 3.006; of layer conv1 1 - 1855640.5 / 4041898.5 = 54.09 %. */
static void a_page_has_the_figures_of_the_files(void **state)
{
    (void)state;
    static const char *const pieces[] = {
        "91.62 %</td>\n<td class=\"n\">91.00 %</td>\n<td class=\"n\">\xe2\x88\x92"
        "0.62 points</td>",
        "17.7 M</td>\n<td class=\"n\">5.32 M</td>\n<td class=\"n\">30.0 %</td>\n"
        "<td class=\"n\">3.33\xc3\x97</td>",
        "25.5 k</td>\n<td class=\"n\">8.12 k</td>\n<td class=\"n\">31.8 %</td>\n"
        "<td class=\"n\">3.14\xc3\x97</td>",
        "2.29 M</td>\n<td class=\"n\">762 k</td>\n<td class=\"n\">33.3 %</td>\n"
        "<td class=\"n\">3.01\xc3\x97</td>",
        "with none skipped an image takes 2.29 M",
        "on 512 validation images the pruned network comes to 30.1 % of dense",
        "With every prunable weight gone 12.5 % would be left",
        "<th scope=\"row\">conv1</th>\n<td class=\"n\">4.04 M</td>\n<td "
        "class=\"n\">1.86 M</td>\n<td class=\"n\">54.1 %</td>\n<td class=\"n\">500</td>\n"
        "<td class=\"n share\" style=\"background-size:85.8% .25rem\">85.8 %</td>",
        "1 h 07 min",
        "161 MiB",
        /* the round: goal, energy, weights, accuracies, drop, epochs, held */
        "<th scope=\"row\">2</th>\n<td class=\"n\">30.0 %</td>\n<td class=\"n\">30.0 %</td>\n"
        "<td class=\"n\">31.8 %</td>\n<td class=\"n\">91.00</td>\n<td class=\"n\">99.75</td>\n"
        "<td class=\"n\">0.62</td>\n<td class=\"n\">2.00</td>\n<td>yes</td>",
        /* the decision of the method and that of the run */
        "<td>conv2</td>\n<td class=\"n\">100 %</td>\n<td class=\"n\">50.0 %</td>\n"
        "<td class=\"n\">\xe2\x80\x93</td>\n<td class=\"n\">0.464</td>\n"
        "<td class=\"n\">0.196</td>\n<td class=\"n\">0.087</td>",
        "<td>finished</td>\n<td>all rounds are done</td>",
        "<td>A &lt;B&gt; &amp; C</td>",
        "512 search images are some of them",
        "Test images were not touched",
        "nothing was measured on hardware",
    };
    char *page = page_of(make_folder("figures", run_parts, RUN_PARTS));
    for (size_t i = 0; i < sizeof pieces / sizeof *pieces; i++) {
        assert_has(page, pieces[i]);
    }
    wtl_free(page);
}

static void the_command_has_what_differs_from_the_defaults(void **state)
{
    (void)state;
    char *page = page_of(make_folder("command", run_parts, RUN_PARTS));
    assert_has(page, "<pre>\nwattle prune 'runs/a b/last.wtl' \\\n"
                     "    --data fashion-mnist --out RUN \\\n"
                     "    --target-energy 0.3 \\\n"
                     "    --rounds 2 \\\n"
                     "    --lr 0.005 \\\n"
                     "    --augment flip \\\n"
                     "    --no-fit \\\n"
                     "    --threads 2 \\\n"
                     "    --keep 'fc 8=1',conv1=0.25\n"
                     "wattle report RUN\n</pre>");
    wtl_free(page);
}

static void the_verdict_says_what_was_asked_and_got(void **state)
{
    (void)state;
    static const struct {
        const char *old[3], *with[3], *verdict, *mood;
    } cases[] = {
        {{"\"energy_asked\": 0.3", "\"drop_asked\": null"},
         {"\"energy_asked\": null", "\"drop_asked\": 1.0"},
         "Energy 30.0 % of dense at 0.62 points less top-1 (asked at most 1) on 6,000 "
         "validation images: goal met",
         "verdict good"},
        {{"\"drop\": 0.62", "\"metric\": \"top1\""},
         {"\"drop\": -0.05", "\"metric\": \"top5\""},
         "Energy 30.0 % of dense (asked 30.0 %) at 0.05 points more top-5 on 6,000 validation "
         "images: goal met",
         "verdict good"},
        {{"\"met\": true", "\"why\": \"\"", "\"energy\": 0.3004"},
         {"\"met\": false", "\"why\": \"the limit of <1> came first\"", "\"energy\": 0.0512"},
         "Energy 5.12 % of dense (asked 30.0 %) at 0.62 points less top-1 on 6,000 validation "
         "images: goal not met</p>\n<p class=\"why\">the limit of &lt;1&gt; came first</p>",
         "verdict bad"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = make_folder("verdict", run_parts, RUN_PARTS);
        char *text = wtl_strdup(certificate);
        for (int r = 0; r < 3 && cases[i].old[r]; r++) {
            char *next = replaced(text, cases[i].old[r], cases[i].with[r]);
            wtl_free(text);
            text = next;
        }
        write_part("verdict", "certificate.json", text);
        char *page = page_of(folder);
        assert_has(page, cases[i].verdict);
        assert_has(page, cases[i].mood);
        wtl_free(page);
        wtl_free(text);
    }
}

static void the_same_folder_gives_the_same_bytes(void **state)
{
    (void)state;
    char *first = page_of(make_folder("once", run_parts, RUN_PARTS));
    char *again = page_of(wtl_test_path("once"));
    /* Not even the folder's name matters. */
    char *other = page_of(make_folder("another", run_parts, RUN_PARTS));
    assert_string_equal(first, again);
    assert_string_equal(first, other);
    wtl_free(first);
    wtl_free(again);
    wtl_free(other);
}

static void nothing_of_a_file_becomes_markup(void **state)
{
    (void)state;
    static const char evil[] = "</title><script>alert(1)</script>\\\"' onload=x";
    const char *folder = make_folder("evil", run_parts, RUN_PARTS);
    for (int i = 0; i < 2; i++) { /* certificate and config: all texts of them */
        static const char *const old[] = {"runs/a b/last.wtl", "fashion-mnist"};
        char *text = wtl_strdup(run_parts[i].text);
        for (int r = 0; r < 2; r++) {
            char *next = replaced(text, old[r], evil);
            wtl_free(text);
            text = next;
        }
        write_part("evil", run_parts[i].name, text);
        wtl_free(text);
    }
    static const int others[] = {2, 4, 5};
    static const char *const names[] = {"A <B> & C", "conv1", "conv2\",\"weights"};
    static const char *const with[] = {evil, "<script>", "<script>\",\"weights"};
    for (int i = 0; i < 3; i++) {
        char *text = replaced(run_parts[others[i]].text, names[i], with[i]);
        write_part("evil", run_parts[others[i]].name, text);
        wtl_free(text);
    }
    char *page = page_of(folder);
    assert_lacks(page, "<script");
    assert_has(page, "&lt;script&gt;alert(1)");
    assert_well_formed(page);
    /* One word of the shell, whatever is in it. */
    assert_has(page, "wattle prune '&lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&quot;"
                     "'\\'' onload=x' \\");
    wtl_free(page);
}

/* ---- damage ---- */

static void assert_refused(const char *folder, wtl_status status, const char *message)
{
    wtl_error err = {0};
    char want[768];
    char *page = wtl_path_join(folder, "report.html");
    snprintf(want, sizeof want, "%s%s", folder, message);
    assert_fails(wtl_report_write(folder, NULL, &err), status, &err, want);
    assert_false(wtl_file_exists(page));
    wtl_free(page);
}

static void damage_is_told_by_file_and_line(void **state)
{
    (void)state;
    static const struct {
        const char *file, *old, *with, *message;
    } cases[] = {
        {"certificate.json", "\"met\": true", "\"met\": yes",
         "/certificate.json:3: invalid token near 'yes'"},
        {"certificate.json", "\"met\": true", "\"met\": 1",
         "/certificate.json:3: met must be true or false"},
        {"certificate.json", "\"method\": \"energy-aware\"", "\"method\": 3",
         "/certificate.json:5: method must be a text"},
        {"certificate.json", "\"energy\": 0.3004", "\"energy\": null",
         "/certificate.json:12: energy must be a number from 0 to 1e+18"},
        {"certificate.json", "  \"top1\": 91.0,\n", "",
         "/certificate.json:1: top1 must be a number from 0 to 1e+18"},
        {"certificate.json", "\"drop\": 0.62", "\"drop\": 101",
         "/certificate.json:19: drop must be a number from -100 to 100"},
        {"config.json", "\"target_energy\"", "\"target_enrgy\"",
         "/config.json: unknown key target_enrgy; did you mean target_energy?"},
        {"config.json", "\"rounds\": 2,", "\"rounds\": 2,,",
         "/config.json:6: string or '}' expected near ','"},
        {"env.json", "{\"version\"", "[\"version\"", "/env.json:1: ']' expected near ':'"},
        {"metrics.csv", "0.551", "0.5x1",
         "/metrics.csv:2: energy must be a number from 0 to 1e+18, not '0.5x1'"},
        {"metrics.csv", ",held,", ",hold,", "/metrics.csv:1: there is no column 'held'"},
        {"metrics.csv", ",4000\n", ",4000", "/metrics.csv:3: the line does not end"},
        {"metrics.csv", ",4000\n", "\n", "/metrics.csv:3: 10 fields under 11 columns"},
        {"metrics.csv", "0.551", "nan",
         "/metrics.csv:2: energy must be a number from 0 to 1e+18, not 'nan'"},
        {"energy.csv", "conv2,25000,", "conv2,,",
         "/energy.csv:3: weights must be a number from 0 to 1e+18, not ''"},
        {"energy.csv", "conv2,25000,", "conv2,-1,",
         "/energy.csv:3: weights must be a number from 0 to 1e+18, not '-1'"},
        {"plan.jsonl", "\"round\":1,\"layer\"", "\"round\":1;\"layer\"",
         "/plan.jsonl:2: '}' expected near ';'"},
        {"plan.jsonl", "\"kept_after\":12500", "\"kept_after\":\"12500\"",
         "/plan.jsonl:2: kept_after must be a number from 0 to 1e+18"},
        {"plan.jsonl", "{\"event\":\"round\",\"round\":1", "{\"event\":\"round\"",
         "/plan.jsonl:3: round must be a number from 0 to 1e+09"},
        {"plan.jsonl", ",\"seconds\":4}\n", ",\"seconds\":4}",
         "/plan.jsonl:4: must be an object and a whole line"},
        {"plan.jsonl", "{\"event\":\"begin\",\"round\":0,\"seconds\":1}", "[]",
         "/plan.jsonl:1: must be an object and a whole line"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = make_folder("damaged", run_parts, RUN_PARTS);
        int p = 0;
        while (strcmp(run_parts[p].name, cases[i].file) != 0) {
            p++;
        }
        char *text = replaced(run_parts[p].text, cases[i].old, cases[i].with);
        write_part("damaged", cases[i].file, text);
        assert_refused(folder, WTL_E_FORMAT, cases[i].message);
        wtl_free(text);
    }
}

static void a_nul_byte_an_empty_and_a_missing_file_are_told(void **state)
{
    (void)state;
    const char *folder = make_folder("nul", run_parts, RUN_PARTS);
    wtl_test_write(wtl_test_path("nul/env.json"), "{\n\"a\": \"\0\"}", 11);
    assert_refused(folder, WTL_E_FORMAT, "/env.json:2: a NUL byte in a text");
    write_part("nul", "env.json", "");
    assert_refused(folder, WTL_E_FORMAT, "/env.json:1: '[' or '{' expected near end of file");
    write_part("nul", "energy.csv", "");
    write_part("nul", "env.json", "{}");
    assert_refused(folder, WTL_E_FORMAT, "/energy.csv:1: the line does not end");
    assert_int_equal(remove(wtl_test_path("nul/env.json")), 0);
    wtl_error err = {0};
    assert_int_equal(wtl_report_write(folder, NULL, &err), WTL_E_MISSING);
    assert_has(err.text, "/nul/env.json");
}

static void what_is_not_finished_is_refused(void **state)
{
    (void)state;
    const part config = {"config.json", "{}"};
    assert_refused(make_folder("none", NULL, 0), WTL_E_MISSING,
                   ": holds no pruning run and no comparison");
    assert_refused(make_folder("begun", &config, 1), WTL_E_MISSING,
                   ": not a finished pruning run or comparison: neither certificate.json nor "
                   "summary.json is there");
}

static void a_page_that_cannot_be_written_is_told(void **state)
{
    (void)state;
    wtl_error err = {0};
    const char *folder = make_folder("write", run_parts, RUN_PARTS);
    assert_int_equal(wtl_report_write(folder, "/no/such/folder/x.html", &err), WTL_E_WRITE);
    assert_has(err.text, "/no/such/folder/x.html");
}

/* ---- comparisons ---- */

static void a_comparison_says_who_needs_less_and_how_surely(void **state)
{
    (void)state;
    static const struct {
        const char *ours;
        bool ours_bounded;
        const char *theirs;
        bool theirs_bounded;
        const char *verdict, *mood;
    } cases[] = {
        {"0.3", false, "0.6", false,
         "At equal accuracy (1 point less top-1) energy-aware pruning needs 30.0 % of the "
         "dense "
         "energy, the best magnitude baseline (magnitude-global) 60.0 %: 2.00\xc3\x97 less<",
         "verdict good"},
        {"0.6", false, "0.3", false,
         "60.0 % of the dense energy, the best magnitude baseline "
         "(magnitude-global) 30.0 %: 2.00\xc3\x97 more<",
         "verdict bad"},
        {"0.3", false, "0.301", false, "(magnitude-global) 30.1 %: as much<", "\"verdict\""},
        {"0.3", true, "0.6", false,
         "at most 30.0 % of the dense energy, the best magnitude "
         "baseline (magnitude-global) 60.0 %: at least 2.00",
         "verdict good"},
        {"0.3", false, "0.6", true,
         "(magnitude-global) at most 60.0 %: at most 2.00\xc3\x97 less", "verdict good"},
        {"0.6", true, "0.3", false, ": at most 2.00\xc3\x97 more", "verdict bad"},
        {"0.6", false, "0.3", true, ": at least 2.00\xc3\x97 more", "verdict bad"},
        {"0.3", true, "0.6", true, ": about 2.00\xc3\x97 less", "verdict good"},
        {"null", false, "0.6", false, "Pruning methods from one checkpoint, on equal terms",
         "\"verdict\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char *page = page_of(make_comparison("compared", cases[i].ours, cases[i].ours_bounded,
                                             cases[i].theirs, cases[i].theirs_bounded));
        assert_has(page, cases[i].verdict);
        assert_has(page, cases[i].mood);
        wtl_free(page);
    }
}

static void a_comparison_has_its_plots_tables_and_command(void **state)
{
    (void)state;
    char *page = page_of(make_comparison("tables", "0.3", false, "0.6", false));
    assert_well_formed(page);
    assert_self_contained(page);
    assert_has(page, "<text>P</text>");
    assert_has(page, "<text>B</text>");
    assert_has(page, "<text>L</text>");
    assert_has(page, "70.2 % \xc2\xb1 1.23");
    assert_has(page, "a &lt;gap&gt;");
    assert_has(page, "<td>energy-aware, magnitude-global</td>"); /* an array of config.json */
    assert_has(page, "54,000 to train on (512 search images are some of them), 6,000 to choose "
                     "by, 10,000 to test");
    assert_has(page, "<pre>\nwattle compare last.wtl \\\n"
                     "    --data fashion-mnist --out DIR \\\n"
                     "    --methods energy-aware,magnitude-global \\\n"
                     "    --budgets 0.5 \\\n"
                     "    --seeds 3 --max-drop 1 --equal-energy 0.5 \\\n"
                     "    --epochs 0.5 \\\n"
                     "    --seed 7\n"
                     "wattle report DIR\n</pre>");
    wtl_free(page);
}

static void damage_in_a_comparison_is_told_by_line(void **state)
{
    (void)state;
    static const struct {
        const char *old, *with, *message;
    } cases[] = {
        {"\"seeds\": 3,\n", "", "/summary.json:1: seeds must be a number from 1 to 1e+06"},
        {"\"max_drop\": 1.0", "\"max_drop\": \"1\"",
         "/summary.json:6: max_drop must be a number from 0 to 100"},
        {"\"note\": \"a <gap>\"", "\"note\": 1", "/summary.json:14: note must be a text"},
        {"\"bounded\": true", "\"bounded\": 1",
         "/summary.json:18: bounded must be true or false"},
        {"\"energy_sd\": 0.0123", "\"energy_sd\": [\"}]\"]",
         "/summary.json:18: energy_sd must be a number from -1e+18 to 1e+18"},
        {"\"points\": [", "\"points\": [1,",
         "/summary.json:12: points must be an array of objects"},
        {"\"ratios\": {", "\"ratio\": {", "/summary.json:1: ratios must be an object"},
        {"\"density\": 1}]", "\"density\": 1]", "/summary.json:21: '}' expected near ']'"},
    };
    char text[4096];
    snprintf(text, sizeof text, summary_format, "0.3", "false", "0.6", "true");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *folder = make_comparison("hurt", "0.3", false, "0.6", true);
        char *bad = replaced(text, cases[i].old, cases[i].with);
        write_part("hurt", "summary.json", bad);
        assert_refused(folder, WTL_E_FORMAT, cases[i].message);
        wtl_free(bad);
    }
}

/* Methods and budgets come from a file too: one word of the shell each. */
static void a_list_in_a_command_is_one_word(void **state)
{
    (void)state;
    char text[4096];
    snprintf(text, sizeof text, summary_format, "0.3", "false", "0.6", "false");
    const char *folder = make_comparison("list", "0.3", false, "0.6", false);
    char *bad = replaced(text, "{\"method\": \"energy-aware\", \"iso",
                         "{\"method\": \"a; rm b\", \"iso");
    write_part("list", "summary.json", bad);
    char *page = page_of(folder);
    assert_has(page, "--methods 'a; rm b,magnitude-global' \\");
    wtl_free(page);
    wtl_free(bad);
}

/* ---- plots from files ---- */

static void a_plot_that_is_more_than_a_plot_is_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"", "it begins with ''"},
        {"plot", "it begins with 'plot'"},
        {"<svg>", "it ends with ''"},
        {"<svg></svg><svg></svg>", "it ends with '<svg></svg>'"},
        {"<g></g>", "the element '<g></g>'"},
        {"<svg><svg></svg></svg>", "the element '<svg></svg></svg>'"},
        {"<svg><script></script></svg>", "the element '<script></script></svg>'"},
        {"<svg><image/></svg>", "the element '<image/></svg>'"},
        {"<svg><!-- x --></svg>", "the element '<!-- x --></svg>'"},
        {"<svg><![CDATA[]]></svg>", "the element '<![CDATA[]]></svg>'"},
        {"<svg onload=\"x\"></svg>", "the attribute 'onload=\"x\"></svg>'"},
        {"<svg style=\"x\"></svg>", "the attribute 'style=\"x\"></svg>'"},
        {"<svg class='x'></svg>", "the attribute 'class='x'></svg>'"},
        {"<svg class=\"a<b\"></svg>", "the value of 'class=\"a<b\"></svg>'"},
        {"<svg class=\"a", "the value of 'class=\"a'"},
        {"<svg/ ></svg>", "the end of an element '/ ></svg>'"},
        {"<svg></svg ></svg>", "the end '</svg ></svg>'"},
        {"<svg><style>a{b:url(x)}</style></svg>", "the style 'url(x)}</style></svg>'"},
        {"<svg><style>@import 'x'</style></svg>", "the style '@import 'x'</style></svg'"},
        {"<svg><style>\\75rl</style></svg>", "the style '\\75rl</style></svg>'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_error err = {0};
        char want[128];
        snprintf(want, sizeof want, "p.svg:1: not a plot of wattle: %s", cases[i][1]);
        assert_fails(wtl_report_svg_check(cases[i][0], "p.svg", &err), WTL_E_FORMAT, &err,
                     want);
    }
    wtl_error err = {0};
    assert_fails(wtl_report_svg_check("<svg>\n<text>a</text>\n<a>", "p.svg", &err),
                 WTL_E_FORMAT, &err, "p.svg:3: not a plot of wattle: the element '<a>'");
}

static void our_own_plots_pass(void **state)
{
    (void)state;
    static const char *const names[] = {"lines", "bars", "scatter", "pareto"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char path[512];
        unsigned char *bytes;
        size_t length;
        wtl_error err = {0};
        snprintf(path, sizeof path, WTL_SOURCE_DIR "/tests/golden/%s.svg", names[i]);
        if (strcmp(names[i], "pareto") == 0 && !wtl_file_exists(path)) {
            continue; /* not every plot has a stored one */
        }
        assert_ok(wtl_file_read(path, 1 << 20, &bytes, &length, &err));
        wtl_status status = wtl_report_svg_check((char *)bytes, path, &err);
        wtl_free(bytes);
        if (status != WTL_OK) {
            fail_msg("%s", err.text);
        }
    }
}

static void a_bad_plot_stops_a_comparison(void **state)
{
    (void)state;
    const char *folder = make_comparison("plot", "0.3", false, "0.6", false);
    write_part("plot", "plots/layers.svg", "<svg>\n<script/></svg>");
    assert_refused(folder, WTL_E_FORMAT,
                   "/plots/layers.svg:2: not a plot of wattle: the element '<script/></svg>'");
}

/* ---- numbers ---- */

static void numbers_are_written_as_people_do(void **state)
{
    (void)state;
    static const struct {
        const char *(*write)(wtl_report_number text, double value);
        double value;
        const char *want;
    } cases[] = {
        {wtl_report_count, 0, "0"},
        {wtl_report_count, 999, "999"},
        {wtl_report_count, 1000, "1,000"},
        {wtl_report_count, 1234567, "1,234,567"},
        {wtl_report_count, -123456, "-123,456"},
        {wtl_report_count, (double)NAN, "\xe2\x80\x93"},
        {wtl_report_amount, 0, "0"},
        {wtl_report_amount, 12, "12"},
        {wtl_report_amount, 1.5, "1.50"},
        {wtl_report_amount, 999.4, "999"},
        {wtl_report_amount, 999.6, "1.00 k"},
        {wtl_report_amount, 3.97e9, "3.97 G"},
        {wtl_report_amount, 99.96e6, "100 M"},
        {wtl_report_amount, (double)INFINITY, "\xe2\x80\x93"},
        {wtl_report_percent, 1, "100 %"},
        {wtl_report_percent, 0, "0 %"},
        {wtl_report_percent, 0.3124, "31.2 %"},
        {wtl_report_percent, 0.0312, "3.12 %"},
        {wtl_report_percent, 0.09996, "10.0 %"},
        {wtl_report_percent, 1.234, "123 %"},
        {wtl_report_times, 3.749, "3.75\xc3\x97"},
        {wtl_report_times, 37.49, "37.5\xc3\x97"},
        {wtl_report_times, 374.9, "375\xc3\x97"},
        {wtl_report_duration, 4.25, "4.2 s"},
        {wtl_report_duration, 59, "59 s"},
        {wtl_report_duration, 300, "5 min"},
        {wtl_report_duration, 3599, "1 h 00 min"},
        {wtl_report_duration, 3961, "1 h 06 min"},
        {wtl_report_bytes, 536870912, "512 MiB"},
        {wtl_report_bytes, 1610612736, "1.50 GiB"},
        {wtl_report_points, 1, "1 point"},
        {wtl_report_points, 0.5, "0.5 points"},
        {wtl_report_exact, 0.1, "0.1"},
        {wtl_report_exact, 1e-8, "1e-08"},
        {wtl_report_exact, 0.1234567891, "0.1234567891"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_report_number text;
        assert_string_equal(cases[i].write(text, cases[i].value), cases[i].want);
    }
}

static void words_are_quoted_for_a_shell(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a/b-c_1.wtl", "a/b-c_1.wtl"}, {"", "''"},    {"a b", "'a b'"}, {"$(x)", "'$(x)'"},
        {"it's", "'it'\\''s'"},         {"~x", "'~x'"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_text out = {0};
        wtl_report_quote(&out, cases[i][0]);
        assert_string_equal(out.bytes, cases[i][1]);
        wtl_text_clear(&out);
    }
}

/* Every method that is there has its sentence. */
static void every_method_is_explained(void **state)
{
    (void)state;
    for (int i = 0; wtl_method_at(i); i++) {
        if (!wtl_report_method(wtl_method_at(i)->name)[0]) {
            fail_msg("%s has no words", wtl_method_at(i)->name);
        }
    }
    assert_string_equal(wtl_report_method("nonsense"), "");
}

/* ---- memory ---- */

static wtl_status write_report(void *context)
{
    return wtl_report_write(context, NULL, NULL);
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char run[256], comparison[256];
    snprintf(run, sizeof run, "%s", make_folder("short", run_parts, RUN_PARTS));
    snprintf(comparison, sizeof comparison, "%s",
             make_comparison("short2", "0.3", false, "0.6", false));
    wtl_test_every_allocation_fails(write_report, run);
    wtl_test_every_allocation_fails(write_report, comparison);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_run_becomes_one_page_that_loads_nothing),
        WTL_TEST(a_page_has_the_figures_of_the_files),
        WTL_TEST(the_command_has_what_differs_from_the_defaults),
        WTL_TEST(the_verdict_says_what_was_asked_and_got),
        WTL_TEST(the_same_folder_gives_the_same_bytes),
        WTL_TEST(nothing_of_a_file_becomes_markup),
        WTL_TEST(damage_is_told_by_file_and_line),
        WTL_TEST(a_nul_byte_an_empty_and_a_missing_file_are_told),
        WTL_TEST(what_is_not_finished_is_refused),
        WTL_TEST(a_page_that_cannot_be_written_is_told),
        WTL_TEST(a_comparison_says_who_needs_less_and_how_surely),
        WTL_TEST(a_comparison_has_its_plots_tables_and_command),
        WTL_TEST(damage_in_a_comparison_is_told_by_line),
        WTL_TEST(a_list_in_a_command_is_one_word),
        WTL_TEST(a_plot_that_is_more_than_a_plot_is_refused),
        WTL_TEST(our_own_plots_pass),
        WTL_TEST(a_bad_plot_stops_a_comparison),
        WTL_TEST(numbers_are_written_as_people_do),
        WTL_TEST(words_are_quoted_for_a_shell),
        WTL_TEST(every_method_is_explained),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("report", tests);
}
