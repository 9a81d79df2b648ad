/* report_common.c - parts that both kinds of reports have: commands, methods, estimates. */
#include "report_private.h"

#include <math.h>
#include <string.h>

void wtl_report_quote(wtl_text *out, const char *word)
{
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@+%";
    if (word[0] && strspn(word, plain) == strlen(word)) {
        wtl_text_printf(out, "%s", word);
        return;
    }
    wtl_text_put(out, "'", 1);
    for (const char *c = word; *c; c++) {
        if (*c == '\'') {
            wtl_text_put(out, "'\\''", 4);
        } else {
            wtl_text_put(out, c, 1);
        }
    }
    wtl_text_put(out, "'", 1);
}

/* ---- options ---- */

/* Keys of config.json and the option that says the same. "": no option does. A '!' stands before
 * flags. */
static const char *const option_names[][2] = {
    {"method", "method"},
    {"hardware", "hw"},
    {"hardware_batch", "hw-batch"},
    {"bits", "bits"},
    {"target_energy", "target-energy"},
    {"max_drop", "max-drop"},
    {"metric", "metric"},
    {"rounds", "rounds"},
    {"step", "step"},
    {"refinements", "refinements"},
    {"epochs", "epochs"},
    {"final_epochs", "final-epochs"},
    {"optimizer.kind", "optimizer"},
    {"optimizer.momentum", "momentum"},
    {"optimizer.weight_decay", "weight-decay"},
    {"optimizer.clip_norm", "clip"},
    {"finetune.rate", "lr"},
    {"finetune.final_share", "final-share"},
    {"finetune.smoothing", "label-smoothing"},
    {"finetune.distill", "distill"},
    {"finetune.temperature", "temperature"},
    {"finetune.batch", "batch"},
    {"finetune.augment", "augment"},
    {"finetune.recalibration", "recalibrate"},
    {"search_images", "search-images"},
    {"how.granularity", "granularity"},
    {"how.images", "sample-images"},
    {"how.positions", "positions"},
    {"how.allocation", "allocation"},
    {"how.inputs_original", "!inputs-original"},
    {"how.targets_dense", "!targets-dense"},
    {"how.probes", "probes"},
    {"how.no_restore", "!no-restore"},
    {"how.no_fit", "!no-fit"},
    {"how.overshoot", "overshoot"},
    {"how.restore_step", "restore-step"},
    {"how.ridge", "ridge"},
    {"seed", "seed"},
    {"threads", "threads"},
    {"workers", "workers"},
    {"save_minutes", "save-minutes"},
};

static const char *option_of(const char *key)
{
    for (size_t i = 0; i < sizeof option_names / sizeof *option_names; i++) {
        if (strcmp(option_names[i][0], key) == 0) {
            return option_names[i][1];
        }
    }
    return "";
}

static bool is_among(const char *key, const char *const *words)
{
    for (; *words; words++) {
        if (strcmp(*words, key) == 0) {
            return true;
        }
    }
    return false;
}

static void put_value(wtl_text *out, const json_t *value)
{
    wtl_report_number number;
    if (json_is_string(value)) {
        wtl_report_quote(out, json_string_value(value));
    } else if (json_is_integer(value)) {
        wtl_text_printf(out, "%lld", (long long)json_integer_value(value));
    } else if (json_is_real(value)) {
        wtl_text_printf(out, "%s", wtl_report_exact(number, json_real_value(value)));
    } else {
        wtl_text_printf(out, "%s", json_is_true(value) ? "true" : "false");
    }
}

static void put_option(wtl_text *out, wtl_text *beyond, const char *key, const json_t *value)
{
    const char *option = option_of(key);
    if (option[0] == '\0') {
        wtl_text_printf(beyond, "%s = ", key);
        put_value(beyond, value);
        wtl_text_put(beyond, "\n", 1);
        return;
    }
    bool flag = option[0] == '!';
    wtl_text_printf(out, " \\\n    --%s", option + flag);
    if (!flag) {
        wtl_text_put(out, " ", 1);
        put_value(out, value);
    }
}

static void put_group(wtl_text *out, wtl_text *beyond, const char *group, json_t *object,
                      const json_t *defaults, const char *const *leave)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char name[128];
        const json_t *usual = json_object_get(defaults, key);
        snprintf(name, sizeof name, "%s%s%s", group, group[0] ? "." : "", key);
        if (strcmp(name, "limits") == 0) {
            continue;
        }
        if (json_is_object(value)) {
            put_group(out, beyond, name, value, usual, leave);
        } else if (!json_equal(value, (json_t *)(uintptr_t)usual) && !is_among(name, leave)) {
            put_option(out, beyond, name, value);
        }
    }
}

void wtl_report_options(wtl_text *out, wtl_text *beyond, const wtl_prune_options *options,
                        const char *const *leave)
{
    wtl_prune_options usual;
    wtl_prune_defaults(&usual);
    json_t *now = wtl_prune_options_to_json(options),
           *before = wtl_prune_options_to_json(&usual);
    out->failed = out->failed || !now || !before;
    put_group(out, beyond, "", now, before, leave);
    for (int i = 0; i < options->limit_count; i++) {
        wtl_report_number number;
        wtl_text limit = {0};
        wtl_text_printf(&limit, "%s=%s", options->limits[i].layer,
                        wtl_report_exact(number, options->limits[i].least_density));
        wtl_text_printf(out, "%s", i == 0 ? " \\\n    --keep " : ",");
        out->failed = out->failed || limit.failed;
        wtl_report_quote(out, limit.bytes ? limit.bytes : "");
        wtl_text_clear(&limit);
    }
    json_decref(now);
    json_decref(before);
}

void wtl_report_reproduce(wtl_text *out, wtl_text *command, wtl_text *beyond, const char *note)
{
    out->failed = out->failed || command->failed || beyond->failed;
    wtl_html_section(out, "again", "To reproduce it");
    wtl_html_code(out, command->bytes ? command->bytes : "");
    if (beyond->bytes) {
        wtl_html_note(out, "Set by other means than options:");
        wtl_html_code(out, beyond->bytes);
    }
    if (note) {
        wtl_html_note(out, "%s", note);
    }
    wtl_html_section_end(out);
    wtl_text_clear(command);
    wtl_text_clear(beyond);
}

/* ---- words ---- */

const char *wtl_report_method(const char *name)
{
    static const char *const texts[][2] = {
        {"energy-aware",
         "Energy-aware pruning (Yang, Chen, Sze, CVPR 2017): layers in the order of their "
         "estimated "
         "energy, most first; in each, too many weights go by magnitude, those that matter "
         "most to "
         "the layer's output come back, and the rest is fitted by least squares."},
        {"magnitude-uniform", "In every layer the same share of weights stays: the largest."},
        {"magnitude-global",
         "One threshold for all layers: the largest weights of the network stay."},
        {"magnitude-sensitivity", "Magnitude pruning with a rate for each layer from a "
                                  "sensitivity scan (Han et al. 2015)."},
        {"magnitude-gradual", "As magnitude-uniform, in many small steps along a cubic "
                              "schedule (Zhu and Gupta 2017)."},
        {"random", "In every layer the same share of weights stays, chosen at random."},
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (strcmp(texts[i][0], name) == 0) {
            return texts[i][1];
        }
    }
    return "";
}

void wtl_report_granularity(wtl_text *out, const wtl_prune_options *options)
{
    if (options->how.granularity == WTL_GRANULARITY_4X1) {
        wtl_html_paragraph(out,
                           "Weights went in 4x1 blocks: four consecutive filters share one "
                           "pattern. A block's magnitude is the norm of its weights.");
    }
}

void wtl_report_estimates(wtl_text *out, const wtl_prune_options *options, double search_images)
{
    wtl_html_paragraph(
        out,
        "Energies are estimates of a model of the hardware %s with %d images at once and "
        "%d-bit "
        "values; nothing was measured on hardware. The unit is the energy of one 16-bit "
        "multiply-accumulate. Zeros among weights are those of the network; zeros among "
        "activations were counted on %.0f images, anew after each fine-tuning.",
        options->hardware, options->pricing.batch, options->pricing.bits, search_images);
}

/* A value as in the file, but without quotes; of arrays the elements. */
static void put_plain(wtl_text *out, const json_t *value)
{
    size_t i;
    json_t *element;
    if (json_is_string(value)) {
        wtl_text_printf(out, "%s", json_string_value(value));
    } else if (json_is_null(value)) {
        wtl_text_printf(out, "null");
    } else if (json_is_array(value)) {
        json_array_foreach((json_t *)(uintptr_t)value, i, element)
        {
            wtl_text_printf(out, "%s", i ? ", " : "");
            put_value(out, element);
        }
    } else {
        put_value(out, value);
    }
}

static void put_members(wtl_text *out, const char *group, json_t *object)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        char name[128];
        snprintf(name, sizeof name, "%s%s%s", group, group[0] ? "." : "", key);
        if (json_is_object(value)) {
            put_members(out, name, value);
            continue;
        }
        wtl_text text = {0};
        put_plain(&text, value);
        wtl_html_row(out);
        wtl_html_head_cell(out, "%s", name);
        out->failed = out->failed || text.failed;
        wtl_html_cell(out, "%s", text.bytes ? text.bytes : "");
        wtl_text_clear(&text);
    }
}

void wtl_report_members(wtl_text *out, const json_t *object, const char *head)
{
    const char *const heads[] = {head, "value"};
    wtl_html_table(out, heads, 2);
    put_members(out, "", (json_t *)(uintptr_t)object);
    wtl_html_table_end(out);
}
