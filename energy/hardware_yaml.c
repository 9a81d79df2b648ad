/* hardware_yaml.c - a hardware description from YAML: every key, its form and its bounds.
 *
 * Keys with one value are a table; `energy` and `compression`, which can be given for all data
 * types at once or apart, are read by hand.
 */
#include "hardware_private.h"
#include "yaml_tree.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

typedef enum value_form {
    FORM_TEXT,   /* char[high + 1] of 1..high bytes */
    FORM_WHOLE,  /* int */
    FORM_NUMBER, /* double */
    FORM_WORD,   /* an enum: the word's place in `words` */
    FORM_FLAG    /* bool: the same with two words */
} value_form;

typedef struct key_rule {
    const char *section, *key; /* section "": the top */
    bool required;             /* where its section is there or required */
    value_form form;
    size_t offset; /* in wtl_hardware */
    double low, high;
    const char *const *words;
} key_rule;

static const char *const accounting_words[] = {"rows", "isca16", "cvpr17", NULL};
static const char *const fit_words[] = {"pes", "grid", NULL};
static const char *const bypass_words[] = {"shared", "bypass", NULL};
static const char *const zero_words[] = {"count", "gate", "skip", NULL};
static const char *const raw_words[] = {"compressed", "raw", NULL};
static const char *const compression_words[] = {"none", "run-length", "presence", NULL};

#define AT(member) offsetof(wtl_hardware, member)
#define MOST_WORDS 1048576.0
#define LEAST      1e-9 /* stands for "above 0" */
#define MOST       1e12

/* clang-format off */
static const key_rule rules[] = {
    {"", "name", true, FORM_TEXT, AT(name), 1, 63, NULL},
    {"", "title", false, FORM_TEXT, AT(title), 1, 255, NULL},
    {"", "source", true, FORM_TEXT, AT(source), 1, 1023, NULL},
    {"", "dataflow", true, FORM_WORD, AT(dataflow), 0, 0, wtl_dataflow_words},
    {"", "accounting", false, FORM_WORD, AT(accounting), 0, 0, accounting_words},
    {"", "word_bits", false, FORM_WHOLE, AT(word_bits), 1, 64, NULL},
    {"", "most_images", false, FORM_WHOLE, AT(most_images), 1, MOST_WORDS, NULL},
    {"", "clock_mhz", false, FORM_NUMBER, AT(clock_mhz), LEAST, MOST, NULL},
    {"array", "rows", true, FORM_WHOLE, AT(rows), 1, 1024, NULL},
    {"array", "columns", true, FORM_WHOLE, AT(columns), 1, 1024, NULL},
    {"array", "fit", true, FORM_FLAG, AT(grid), 0, 0, fit_words},
    {"registers", "pool_words", false, FORM_WHOLE, AT(rf_pool_words), 1, MOST_WORDS, NULL},
    {"registers", "ifmap_words", false, FORM_WHOLE, AT(rf_words[WTL_DATA_IFMAP]), 0, MOST_WORDS, NULL},
    {"registers", "psum_words", false, FORM_WHOLE, AT(rf_words[WTL_DATA_OFMAP]), 0, MOST_WORDS, NULL},
    {"registers", "weight_words", false, FORM_WHOLE, AT(rf_words[WTL_DATA_WEIGHT]), 0, MOST_WORDS, NULL},
    {"buffer", "words", true, FORM_NUMBER, AT(buffer_words), 1, MOST, NULL},
    {"buffer", "weights", true, FORM_FLAG, AT(weights_bypass_buffer), 0, 0, bypass_words},
    {"mac", "energy", false, FORM_NUMBER, AT(mac_energy), 0, MOST, NULL},
    {"mac", "picojoules", false, FORM_NUMBER, AT(mac_pj), LEAST, MOST, NULL},
    {"zeros", "ifmap", true, FORM_WORD, AT(zero_ifmap), 0, 0, zero_words},
    {"zeros", "weight", true, FORM_WORD, AT(zero_weight), 0, 0, zero_words},
    {"zeros", "gated_share", false, FORM_NUMBER, AT(gated_share), 0, 1, NULL},
    {"compression", "first_ifmap", false, FORM_FLAG, AT(first_ifmap_raw), 0, 0, raw_words},
    {"bandwidth", "dram_words_per_cycle", false, FORM_NUMBER, AT(dram_words_per_cycle), LEAST, MOST, NULL},
    {"bandwidth", "buffer_words_per_cycle", false, FORM_NUMBER, AT(buffer_words_per_cycle), LEAST, MOST, NULL},
};
/* clang-format on */
enum { RULE_COUNT = sizeof rules / sizeof *rules };

typedef struct section_rule {
    const char *name;
    bool required;
    const char *others[6]; /* keys that the table has not, ended by NULL */
} section_rule;

/* The top comes first; the order is that of messages about missing sections. */
static const section_rule sections[] = {
    {"", true, {NULL}}, /* the sections below */
    {"array", true, {NULL}},
    {"registers", true, {NULL}},
    {"buffer", true, {NULL}},
    {"energy", true, {"dram", "buffer", "array", "register", NULL}},
    {"mac", false, {NULL}},
    {"zeros", false, {NULL}},
    {"compression", false, {"dram", "buffer", NULL}},
    {"bandwidth", false, {NULL}},
};
enum { SECTION_COUNT = sizeof sections / sizeof *sections };

static const char *const level_keys[WTL_LEVEL_MAC + 1] = {"dram", "buffer", "array", "register",
                                                          NULL};
static const char *const type_keys[] = {"ifmap", "ofmap", "weight", NULL};
static const char *const access_keys[] = {"read", "write", NULL};

typedef struct reader {
    wtl_hardware *out;
    const wtl_yaml_tree *tree;
    const char *file;
    wtl_error *err;
} reader;

/* "a, b or c" */
static void join_words(char *text, size_t size, const char *const *words)
{
    size_t length = 0;
    text[0] = '\0';
    for (int i = 0; words[i] && length < size; i++) {
        const char *before = i == 0 ? "" : words[i + 1] ? ", " : " or ";
        length += (size_t)snprintf(text + length, size - length, "%s%s", before, words[i]);
    }
}

/* "file:3:7: array.rows: 'many'; expected ..." with the names of `path` joined by dots. */
static wtl_status refuse_value(const reader *r, const wtl_yaml_node *node, const char *path,
                               const char *expected)
{
    bool scalar = node->kind == WTL_YAML_SCALAR;
    const char *value = wtl_yaml_value(r->tree, node);
    const char *quote = scalar ? "'" : "";
    return wtl_fail(r->err, WTL_E_FORMAT, "%s:%d:%d: %s: %s%.40s%s%s; expected %s", r->file,
                    node->line, node->column, path, quote, value,
                    strlen(value) > 40 ? "..." : "", quote, expected);
}

/* "file:3:7: array: the key 'rows' is missing" with `node` the mapping at `path`, "" the top. */
static wtl_status refuse_missing(const reader *r, const wtl_yaml_node *node, const char *path,
                                 const char *key, const char *why)
{
    return wtl_fail(r->err, WTL_E_FORMAT, "%s:%d:%d: %s%sthe key '%s' is missing%s", r->file,
                    node->line, node->column, path, path[0] ? ": " : "", key, why);
}

/* ---- single values ---- */

static bool read_number(const reader *r, const wtl_yaml_node *node, double low, double high,
                        double *value)
{
    return node->kind == WTL_YAML_SCALAR &&
           wtl_parse_double(wtl_yaml_value(r->tree, node), low, high, value);
}

static bool read_word(const reader *r, const wtl_yaml_node *node, const char *const *words,
                      int *index)
{
    if (node->kind == WTL_YAML_SCALAR) {
        for (int i = 0; words[i]; i++) {
            if (strcmp(wtl_yaml_value(r->tree, node), words[i]) == 0) {
                *index = i;
                return true;
            }
        }
    }
    return false;
}

static bool read_text(const reader *r, const wtl_yaml_node *node, size_t most, char *text)
{
    const char *value = wtl_yaml_value(r->tree, node);
    size_t length = strlen(value);
    if (node->kind != WTL_YAML_SCALAR || length < 1 || length > most) {
        return false;
    }
    memcpy(text, value, length + 1);
    for (char *c = text; *c; c++) {
        *c = *c == '\n' ? ' ' : *c;
    }
    return true;
}

static bool read_whole(const reader *r, const wtl_yaml_node *node, const key_rule *rule,
                       void *member)
{
    return node->kind == WTL_YAML_SCALAR &&
           wtl_parse_int(wtl_yaml_value(r->tree, node), (int)rule->low, (int)rule->high,
                         member);
}

static bool read_enum(const reader *r, const wtl_yaml_node *node, const key_rule *rule,
                      void *member)
{
    int index;
    if (!read_word(r, node, rule->words, &index)) {
        return false;
    }
    if (rule->form == FORM_FLAG) {
        *(bool *)member = index == 1;
    } else {
        memcpy(member, &index, sizeof index);
    }
    return true;
}

_Static_assert(sizeof(wtl_dataflow) == sizeof(int) && sizeof(wtl_accounting) == sizeof(int) &&
                   sizeof(wtl_zero_rule) == sizeof(int),
               "enums are stored as ints");

static void describe(const key_rule *rule, char *text, size_t size)
{
    switch (rule->form) {
    case FORM_TEXT:
        snprintf(text, size, "a text of 1 to %.0f bytes", rule->high);
        break;
    case FORM_WHOLE:
        snprintf(text, size, "a whole number from %.0f to %.0f", rule->low, rule->high);
        break;
    case FORM_NUMBER:
        if (rule->low == LEAST) {
            snprintf(text, size, "a number above 0");
        } else if (rule->high == MOST) {
            snprintf(text, size, "a number, %g or more", rule->low);
        } else {
            snprintf(text, size, "a number from %g to %g", rule->low, rule->high);
        }
        break;
    default:
        join_words(text, size, rule->words);
    }
}

static bool read_form(const reader *r, const wtl_yaml_node *node, const key_rule *rule)
{
    void *member = (char *)r->out + rule->offset;
    switch (rule->form) {
    case FORM_TEXT:
        return read_text(r, node, (size_t)rule->high, member);
    case FORM_WHOLE:
        return read_whole(r, node, rule, member);
    case FORM_NUMBER:
        return read_number(r, node, rule->low, rule->high, member);
    default:
        return read_enum(r, node, rule, member);
    }
}

static wtl_status read_key(const reader *r, const wtl_yaml_node *section, const key_rule *rule)
{
    const wtl_yaml_node *node = wtl_yaml_find(r->tree, section, rule->key);
    if (!node) {
        return rule->required ? refuse_missing(r, section, rule->section, rule->key, "")
                              : WTL_OK;
    }
    if (read_form(r, node, rule)) {
        return WTL_OK;
    }
    char path[80], expected[128];
    snprintf(path, sizeof path, "%s%s%s", rule->section, rule->section[0] ? "." : "",
             rule->key);
    describe(rule, expected, sizeof expected);
    return refuse_value(r, node, path, expected);
}

/* ---- which keys there may be ---- */

static wtl_status check_keys(const reader *r, const wtl_yaml_node *section,
                             const char *const *known)
{
    for (int i = section->first; i >= 0; i = r->tree->nodes[i].next) {
        const wtl_yaml_node *node = &r->tree->nodes[i];
        const char *key = wtl_yaml_key(r->tree, node);
        int k = 0;
        while (known[k] && strcmp(known[k], key) != 0) {
            k++;
        }
        if (known[k]) {
            continue;
        }
        const char *near = wtl_suggest(key, known);
        char expected[256];
        join_words(expected, sizeof expected, known);
        return wtl_fail(r->err, WTL_E_FORMAT, "%s:%d:%d: unknown key '%.40s'; %s%s%s", r->file,
                        node->key_line, node->key_column, key,
                        near ? "did you mean '" : "expected ", near ? near : expected,
                        near ? "'?" : "");
    }
    return WTL_OK;
}

static wtl_status check_section_keys(const reader *r, const wtl_yaml_node *node,
                                     const section_rule *section)
{
    const char *known[RULE_COUNT + SECTION_COUNT + 1];
    int count = 0;
    for (int i = 0; i < RULE_COUNT; i++) {
        if (strcmp(rules[i].section, section->name) == 0) {
            known[count++] = rules[i].key;
        }
    }
    if (section->name[0] == '\0') {
        for (int i = 1; i < SECTION_COUNT; i++) {
            known[count++] = sections[i].name;
        }
    } else {
        for (int i = 0; section->others[i]; i++) {
            known[count++] = section->others[i];
        }
    }
    known[count] = NULL;
    return check_keys(r, node, known);
}

static wtl_status read_section(const reader *r, const section_rule *section)
{
    const wtl_yaml_node *root = &r->tree->nodes[0];
    const wtl_yaml_node *node =
        section->name[0] ? wtl_yaml_find(r->tree, root, section->name) : root;
    if (!node) {
        return section->required ? refuse_missing(r, root, "", section->name, "") : WTL_OK;
    }
    if (node->kind != WTL_YAML_MAPPING) {
        return refuse_value(r, node, section->name[0] ? section->name : "hardware",
                            "a mapping of keys to values");
    }
    wtl_status status = check_section_keys(r, node, section);
    for (int i = 0; status == WTL_OK && i < RULE_COUNT; i++) {
        if (strcmp(rules[i].section, section->name) == 0) {
            status = read_key(r, node, &rules[i]);
        }
    }
    return status;
}

/* ---- energy: a number, or apart by data type, or by data type and direction ---- */

static wtl_status read_accesses(const reader *r, const wtl_yaml_node *node, const char *path,
                                double energy[2])
{
    if (node->kind != WTL_YAML_MAPPING) {
        double value;
        if (!read_number(r, node, 0, MOST, &value)) {
            return refuse_value(r, node, path,
                                "a number, 0 or more, or {read: a number, write: a number}");
        }
        energy[WTL_READ] = energy[WTL_WRITE] = value;
        return WTL_OK;
    }
    wtl_status status = check_keys(r, node, access_keys);
    for (int i = WTL_READ; status == WTL_OK && i <= WTL_WRITE; i++) {
        const wtl_yaml_node *child = wtl_yaml_find(r->tree, node, access_keys[i]);
        if (!child) {
            return refuse_missing(r, node, path, access_keys[i], "");
        }
        if (!read_number(r, child, 0, MOST, &energy[i])) {
            status = refuse_value(r, child, path, "a number, 0 or more");
        }
    }
    return status;
}

static wtl_status read_level(const reader *r, const wtl_yaml_node *node, const char *level,
                             double energy[WTL_DATA_COMPUTATION][2])
{
    char path[80];
    snprintf(path, sizeof path, "energy.%s", level);
    if (node->kind != WTL_YAML_MAPPING) {
        double value;
        if (!read_number(r, node, 0, MOST, &value)) {
            return refuse_value(r, node, path,
                                "a number, 0 or more, or one each for ifmap, ofmap and weight");
        }
        for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
            energy[type][WTL_READ] = energy[type][WTL_WRITE] = value;
        }
        return WTL_OK;
    }
    wtl_status status = check_keys(r, node, type_keys);
    for (int type = 0; status == WTL_OK && type < WTL_DATA_COMPUTATION; type++) {
        const wtl_yaml_node *child = wtl_yaml_find(r->tree, node, type_keys[type]);
        if (!child) {
            return refuse_missing(r, node, path, type_keys[type], "");
        }
        char inner[80];
        snprintf(inner, sizeof inner, "energy.%s.%s", level, type_keys[type]);
        status = read_accesses(r, child, inner, energy[type]);
    }
    return status;
}

static wtl_status read_energy(const reader *r)
{
    const wtl_yaml_node *section = wtl_yaml_find(r->tree, &r->tree->nodes[0], "energy");
    wtl_status status = WTL_OK;
    for (int level = 0; status == WTL_OK && level < WTL_LEVEL_MAC; level++) {
        const wtl_yaml_node *node = wtl_yaml_find(r->tree, section, level_keys[level]);
        status = node ? read_level(r, node, level_keys[level], r->out->energy[level])
                      : refuse_missing(r, section, "energy", level_keys[level], "");
    }
    return status;
}

/* ---- compression: a word, or apart by data type ---- */

static wtl_status read_compressions(const reader *r, const wtl_yaml_node *node,
                                    const char *level, wtl_compression *compress)
{
    char path[80], expected[128];
    snprintf(path, sizeof path, "compression.%s", level);
    join_words(expected, sizeof expected, compression_words);
    int index;
    if (node->kind != WTL_YAML_MAPPING) {
        if (!read_word(r, node, compression_words, &index)) {
            return refuse_value(r, node, path, expected);
        }
        for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
            compress[type] = (wtl_compression)index;
        }
        return WTL_OK;
    }
    wtl_status status = check_keys(r, node, type_keys);
    for (int type = 0; status == WTL_OK && type < WTL_DATA_COMPUTATION; type++) {
        const wtl_yaml_node *child = wtl_yaml_find(r->tree, node, type_keys[type]);
        if (child && !read_word(r, child, compression_words, &index)) {
            snprintf(path, sizeof path, "compression.%s.%s", level, type_keys[type]);
            return refuse_value(r, child, path, expected);
        }
        compress[type] = child ? (wtl_compression)index : WTL_COMPRESS_NONE;
    }
    return status;
}

static wtl_status read_compression(const reader *r)
{
    const wtl_yaml_node *section = wtl_yaml_find(r->tree, &r->tree->nodes[0], "compression");
    wtl_status status = WTL_OK;
    for (int level = WTL_LEVEL_DRAM; status == WTL_OK && level <= WTL_LEVEL_BUFFER; level++) {
        const wtl_yaml_node *node = wtl_yaml_find(r->tree, section, level_keys[level]);
        if (node) {
            status = read_compressions(r, node, level_keys[level], r->out->compress[level]);
        }
    }
    return status;
}

/* ---- what must hold between keys ---- */

static wtl_status check_registers(const reader *r)
{
    static const char *const apart[] = {"ifmap_words", "psum_words", "weight_words"};
    static const char *const paths[] = {"registers.ifmap_words", "registers.psum_words",
                                        "registers.weight_words"};
    const wtl_yaml_node *section = wtl_yaml_find(r->tree, &r->tree->nodes[0], "registers");
    bool pool = wtl_yaml_find(r->tree, section, "pool_words") != NULL;
    for (int type = 0; type < WTL_DATA_COMPUTATION; type++) {
        const wtl_yaml_node *node = wtl_yaml_find(r->tree, section, apart[type]);
        if (pool && node) {
            return refuse_value(r, node, paths[type], "no such key beside pool_words");
        }
        if (!pool && !node) {
            return refuse_missing(r, section, "registers", apart[type],
                                  "; expected pool_words or all of ifmap_words, psum_words and "
                                  "weight_words");
        }
        if (node && r->out->dataflow == WTL_ROW_STATIONARY && r->out->rf_words[type] == 0) {
            return refuse_value(r, node, paths[type],
                                "1 or more, as the dataflow is row-stationary");
        }
    }
    return WTL_OK;
}

static wtl_status check_together(const reader *r)
{
    const wtl_yaml_node *root = &r->tree->nodes[0];
    const wtl_yaml_node *accounting = wtl_yaml_find(r->tree, root, "accounting");
    if (accounting && r->out->dataflow != WTL_ROW_STATIONARY) {
        return refuse_value(r, accounting, "accounting",
                            "no such key, as the dataflow is not row-stationary");
    }
    const wtl_yaml_node *zeros = wtl_yaml_find(r->tree, root, "zeros");
    bool gates = r->out->zero_ifmap == WTL_ZERO_GATES || r->out->zero_weight == WTL_ZERO_GATES;
    if (gates && !wtl_yaml_find(r->tree, zeros, "gated_share")) {
        return refuse_missing(r, zeros, "zeros", "gated_share", ", as a zero gates");
    }
    return check_registers(r);
}

static wtl_status read_all(const reader *r)
{
    wtl_status status = WTL_OK;
    for (int i = 0; status == WTL_OK && i < SECTION_COUNT; i++) {
        status = read_section(r, &sections[i]);
    }
    if (status == WTL_OK) {
        status = read_energy(r);
    }
    if (status == WTL_OK) {
        status = read_compression(r);
    }
    return status == WTL_OK ? check_together(r) : status;
}

wtl_status wtl_hardware_parse(wtl_hardware *out, const char *text, size_t length,
                              const char *file, wtl_error *err)
{
    *out = (wtl_hardware){.word_bits = 16, .mac_energy = 1};
    wtl_yaml_tree tree;
    wtl_status status = wtl_yaml_read(&tree, text, length, file, err);
    assert(status != WTL_OK || tree.nodes); /* a tree that was read has a root */
    if (status == WTL_OK && tree.nodes) {
        const reader r = {.out = out, .tree = &tree, .file = file, .err = err};
        status = read_all(&r);
    }
    wtl_yaml_clear(&tree);
    if (status != WTL_OK) {
        *out = (wtl_hardware){0};
    }
    return status;
}
