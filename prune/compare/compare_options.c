/* compare_options.c - a comparison's options: checked, and to and from config.json. */
#include "compare_private.h"
#include "run/session.h"

#include "wattle/json.h"
#include "wattle/memory.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* Budgets name files (ckpt/at-0.50.wtl): nearer ones would share a file. */
static const double LEAST_STEP = 0.01;

/* ---- checks ---- */

static wtl_status unknown_method(const char *name, wtl_error *err)
{
    enum { MOST_NAMES = 64 };
    const char *names[MOST_NAMES + 1];
    int count = 0;
    for (const wtl_method *method; count < MOST_NAMES && (method = wtl_method_at(count));) {
        names[count++] = method->name;
    }
    names[count] = NULL;
    const char *near = wtl_suggest(name, names);
    return wtl_fail(err, WTL_E_ARG, "there is no method '%s'%s%s%s", name,
                    near ? " (did you mean " : "", near ? near : "", near ? "?)" : "");
}

static wtl_status check_methods(const wtl_compare_options *o, wtl_error *err)
{
    if (o->method_count < 1 || o->method_count > WTL_COMPARE_METHODS) {
        return wtl_fail(err, WTL_E_ARG, "a comparison takes 1 to %d methods, not %d",
                        WTL_COMPARE_METHODS, o->method_count);
    }
    for (int i = 0; i < o->method_count; i++) {
        if (!wtl_method_find(o->methods[i])) {
            return unknown_method(o->methods[i], err);
        }
        for (int j = 0; j < i; j++) {
            if (strcmp(o->methods[i], o->methods[j]) == 0) {
                return wtl_fail(err, WTL_E_ARG, "the method %s is there twice", o->methods[i]);
            }
        }
    }
    return WTL_OK;
}

static wtl_status check_budgets(const wtl_compare_options *o, wtl_error *err)
{
    if (o->budget_count < 1 || o->budget_count > WTL_COMPARE_BUDGETS) {
        return wtl_fail(err, WTL_E_ARG, "a comparison takes 1 to %d budgets, not %d",
                        WTL_COMPARE_BUDGETS, o->budget_count);
    }
    for (int i = 0; i < o->budget_count; i++) {
        double budget = o->budgets[i], before = i > 0 ? o->budgets[i - 1] : 1.0;
        if (!(budget > 0 && budget < 1)) {
            return wtl_fail(err, WTL_E_RANGE,
                            "the budget %g is not a share of the dense energy between 0 and 1",
                            budget);
        }
        if (budget > before - LEAST_STEP + 1e-9) {
            return wtl_fail(err, WTL_E_RANGE,
                            "the budget %g comes after %g: budgets fall, by %g at least",
                            budget, before, LEAST_STEP);
        }
    }
    return WTL_OK;
}

static wtl_status check_numbers(const wtl_compare_options *o, wtl_error *err)
{
    if (o->seeds < 1 || o->seeds > WTL_COMPARE_SEEDS) {
        return wtl_fail(err, WTL_E_RANGE, "a comparison takes 1 to %d seeds, not %d",
                        WTL_COMPARE_SEEDS, o->seeds);
    }
    if (!(o->max_drop > 0 && o->max_drop <= 100)) {
        return wtl_fail(err, WTL_E_RANGE, "the largest drop, %g points, is not in (0, 100]",
                        o->max_drop);
    }
    if (!(o->equal_energy > 0 && o->equal_energy <= 1)) {
        return wtl_fail(err, WTL_E_RANGE,
                        "the equal energy, %g, is not a share of the dense energy in (0, 1]",
                        o->equal_energy);
    }
    return WTL_OK;
}

/* What is 0 for a default becomes the default, so that config.json tells it. */
static void fill_in(wtl_compare_options *o)
{
    o->seeds = o->seeds ? o->seeds : 1;
    o->max_drop = o->max_drop != 0 ? o->max_drop : 1.0;
    if (o->equal_energy == 0 && o->budget_count > 0 && o->budget_count <= WTL_COMPARE_BUDGETS) {
        o->equal_energy = o->budgets[o->budget_count / 2];
    }
    /* These are the comparison's to set, for each run. */
    o->prune.target_energy = 0;
    o->prune.max_drop = -1;
    o->prune.method[0] = '\0';
}

wtl_status wtl_compare_resolve(wtl_compare_options *options, wtl_error *err)
{
    fill_in(options);
    wtl_status status = check_methods(options, err);
    if (status == WTL_OK) {
        status = check_budgets(options, err);
    }
    if (status == WTL_OK) {
        status = check_numbers(options, err);
    }
    return status == WTL_OK ? wtl_prune_resolve(&options->prune, err) : status;
}

/* ---- config.json ---- */

static json_t *methods_to_json(const wtl_compare_options *o)
{
    json_t *array = json_array();
    for (int i = 0; array && i < o->method_count; i++) {
        if (json_array_append_new(array, json_string(o->methods[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

static json_t *budgets_to_json(const wtl_compare_options *o)
{
    json_t *array = json_array();
    for (int i = 0; array && i < o->budget_count; i++) {
        if (json_array_append_new(array, json_real(o->budgets[i])) != 0) {
            json_decref(array);
            array = NULL;
        }
    }
    return array;
}

char *wtl_compare_config_text(const wtl_compare_options *options)
{
    json_t *root =
        json_pack("{s:o, s:o, s:i, s:f, s:f, s:o}", "methods", methods_to_json(options),
                  "budgets", budgets_to_json(options), "seeds", options->seeds, "max_drop",
                  options->max_drop, "equal_energy", options->equal_energy, "prune",
                  wtl_prune_options_to_json(&options->prune));
    char *text = wtl_json_text(root);
    char *copy = text ? wtl_format("%s\n", text) : NULL;
    free(text);
    return copy;
}

static wtl_status methods_from_json(wtl_compare_options *o, const json_t *array,
                                    const char *file, wtl_error *err)
{
    size_t count = json_array_size(array);
    for (size_t i = 0; i < count && i < WTL_COMPARE_METHODS; i++) {
        const char *name = json_string_value(json_array_get(array, i));
        if (!name || strlen(name) >= sizeof o->methods[i]) {
            return wtl_fail(err, WTL_E_FORMAT, "%s: methods: must be names", file);
        }
        memcpy(o->methods[i], name, strlen(name) + 1);
    }
    o->method_count = count <= WTL_COMPARE_METHODS ? (int)count : WTL_COMPARE_METHODS + 1;
    return WTL_OK;
}

static wtl_status budgets_from_json(wtl_compare_options *o, const json_t *array,
                                    const char *file, wtl_error *err)
{
    size_t count = json_array_size(array);
    for (size_t i = 0; i < count && i < WTL_COMPARE_BUDGETS; i++) {
        const json_t *value = json_array_get(array, i);
        if (!json_is_number(value)) {
            return wtl_fail(err, WTL_E_FORMAT, "%s: budgets: must be numbers", file);
        }
        o->budgets[i] = json_number_value(value);
    }
    o->budget_count = count <= WTL_COMPARE_BUDGETS ? (int)count : WTL_COMPARE_BUDGETS + 1;
    return WTL_OK;
}

static wtl_status from_json(wtl_compare_options *o, json_t *root, const char *file,
                            wtl_error *err)
{
    json_error_t why;
    json_t *methods, *budgets, *prune;
    if (json_unpack_ex(root, &why, JSON_STRICT, "{s:o, s:o, s:i, s:F, s:F, s:o}", "methods",
                       &methods, "budgets", &budgets, "seeds", &o->seeds, "max_drop",
                       &o->max_drop, "equal_energy", &o->equal_energy, "prune", &prune) != 0) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: %s", file, why.text);
    }
    wtl_prune_defaults(&o->prune);
    wtl_status status = wtl_prune_options_from_json(&o->prune, prune, file, err);
    if (status == WTL_OK) {
        status = methods_from_json(o, methods, file, err);
    }
    if (status == WTL_OK) {
        status = budgets_from_json(o, budgets, file, err);
    }
    if (status == WTL_OK && wtl_compare_resolve(o, err) != WTL_OK) {
        status = wtl_fail_in(err, WTL_E_FORMAT, file);
    }
    return status;
}

wtl_status wtl_compare_config_parse(wtl_compare_options *options, const char *text,
                                    size_t length, const char *file, wtl_error *err)
{
    json_error_t why;
    json_t *root = json_loadb(text, length, JSON_REJECT_DUPLICATES, &why);
    if (!root) {
        return wtl_fail(err, WTL_E_FORMAT, "%s:%d: %s", file, why.line, why.text);
    }
    *options = (wtl_compare_options){0};
    wtl_status status = from_json(options, root, file, err);
    json_decref(root);
    return status;
}
