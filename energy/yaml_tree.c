/* yaml_tree.c - libyaml's events as a tree. The only file that sees <yaml.h>. */
#include "yaml_tree.h"

#include "wattle/memory.h"

#include <string.h>
#include <yaml.h>

/* So few nodes that looking through all keys of a mapping is quick. */
enum { MOST_DEPTH = 8, MOST_NODES = 1024, NONE = -1 };

/* A mapping or list that is being read. */
typedef struct open_node {
    int node, last; /* last child so far */
    int key;        /* of the child to come; NONE: a key comes next */
    int key_line, key_column;
} open_node;

typedef struct reader {
    wtl_yaml_tree *tree;
    yaml_parser_t parser;
    open_node stack[MOST_DEPTH];
    int depth;
    const char *bytes; /* the text */
    size_t length;
    const char *file;
    wtl_error *err;
} reader;

static wtl_status refuse(const reader *r, const yaml_mark_t *mark, const char *reason)
{
    return wtl_fail(r->err, WTL_E_FORMAT, "%s:%zu:%zu: %s", r->file, mark->line + 1,
                    mark->column + 1, reason);
}

static wtl_status out_of_memory(const reader *r)
{
    return wtl_fail(r->err, WTL_E_NOMEM, "%s: out of memory", r->file);
}

/* The text so far is at most three times WTL_YAML_MOST_BYTES: offsets are ints. */
static wtl_status keep_text(const reader *r, const yaml_event_t *event, int *offset)
{
    const char *bytes = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (memchr(bytes, '\0', length)) {
        return refuse(r, &event->start_mark, "a NUL byte");
    }
    *offset = (int)r->tree->text.length;
    wtl_text_put(&r->tree->text, bytes, length);
    wtl_text_put(&r->tree->text, "", 1);
    return r->tree->text.failed ? out_of_memory(r) : WTL_OK;
}

static wtl_status add_node(reader *r, wtl_yaml_node node, int *index)
{
    wtl_yaml_tree *tree = r->tree;
    if (tree->count == MOST_NODES) {
        return wtl_fail(r->err, WTL_E_FORMAT, "%s:%d:%d: more than %d values", r->file,
                        node.line, node.column, MOST_NODES);
    }
    if (tree->count == tree->room) {
        int room = tree->room ? 2 * tree->room : 64;
        void *nodes = tree->nodes;
        if (wtl_grow(&nodes, (size_t)tree->room, (size_t)room, sizeof node) != WTL_OK) {
            return out_of_memory(r);
        }
        tree->nodes = nodes;
        tree->room = room;
    }
    *index = tree->count++;
    tree->nodes[*index] = node;
    return WTL_OK;
}

/* Hangs a node under the innermost open one. */
static void attach(reader *r, int index)
{
    if (r->depth == 0) {
        return;
    }
    open_node *parent = &r->stack[r->depth - 1];
    wtl_yaml_node *node = &r->tree->nodes[index];
    node->key = parent->key;
    node->key_line = parent->key_line;
    node->key_column = parent->key_column;
    if (parent->last == NONE) {
        r->tree->nodes[parent->node].first = index;
    } else {
        r->tree->nodes[parent->last].next = index;
    }
    parent->last = index;
    parent->key = NONE;
}

static wtl_status read_key(reader *r, const yaml_event_t *event)
{
    open_node *parent = &r->stack[r->depth - 1];
    if (event->type != YAML_SCALAR_EVENT) {
        return refuse(r, &event->start_mark, "expected a key, a word before a colon");
    }
    wtl_status status = keep_text(r, event, &parent->key);
    if (status != WTL_OK) {
        return status;
    }
    parent->key_line = (int)event->start_mark.line + 1;
    parent->key_column = (int)event->start_mark.column + 1;
    const char *key = r->tree->text.bytes + parent->key;
    if (wtl_yaml_find(r->tree, &r->tree->nodes[parent->node], key)) {
        return wtl_fail(r->err, WTL_E_FORMAT, "%s:%d:%d: the key '%.40s' is there twice",
                        r->file, parent->key_line, parent->key_column, key);
    }
    return WTL_OK;
}

static wtl_status read_value(reader *r, const yaml_event_t *event)
{
    wtl_yaml_node node = {.kind = event->type == YAML_SCALAR_EVENT           ? WTL_YAML_SCALAR
                                  : event->type == YAML_SEQUENCE_START_EVENT ? WTL_YAML_LIST
                                                                             : WTL_YAML_MAPPING,
                          .key = NONE,
                          .value = NONE,
                          .first = NONE,
                          .next = NONE,
                          .line = (int)event->start_mark.line + 1,
                          .column = (int)event->start_mark.column + 1};
    wtl_status status = WTL_OK;
    if (node.kind == WTL_YAML_SCALAR) {
        status = keep_text(r, event, &node.value);
    } else if (r->depth == MOST_DEPTH) {
        return refuse(r, &event->start_mark, "nested more than 8 deep");
    }
    int index = 0;
    if (status == WTL_OK) {
        status = add_node(r, node, &index);
    }
    if (status != WTL_OK) {
        return status;
    }
    attach(r, index);
    if (node.kind != WTL_YAML_SCALAR) {
        r->stack[r->depth++] = (open_node){index, NONE, NONE, 0, 0};
    }
    return WTL_OK;
}

static bool has_anchor_or_tag(const yaml_event_t *event)
{
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor || event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor || event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor || event->data.mapping_start.tag;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

static bool wants_key(const reader *r)
{
    return r->depth > 0 && r->stack[r->depth - 1].key == NONE &&
           r->tree->nodes[r->stack[r->depth - 1].node].kind == WTL_YAML_MAPPING;
}

static wtl_status take_event(reader *r, const yaml_event_t *event)
{
    if (has_anchor_or_tag(event)) {
        return refuse(r, &event->start_mark, "anchors, aliases and tags are not read here");
    }
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        return r->tree->count == 0
                   ? WTL_OK
                   : refuse(r, &event->start_mark, "a second document; expected one");
    case YAML_SCALAR_EVENT:
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return wants_key(r) ? read_key(r, event) : read_value(r, event);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        r->depth--;
        return WTL_OK;
    default:
        return WTL_OK;
    }
}

/* libyaml's reader gives the offset alone of bytes that are no text. */
static yaml_mark_t mark_at(const reader *r, size_t offset)
{
    yaml_mark_t mark = {0};
    for (; mark.index < offset && mark.index < r->length; mark.index++) {
        bool newline = r->bytes[mark.index] == '\n';
        mark.line += newline;
        mark.column = newline ? 0 : mark.column + 1;
    }
    return mark;
}

/* libyaml's own complaint, with the place that it gives. */
static wtl_status not_yaml(const reader *r)
{
    const yaml_parser_t *p = &r->parser;
    if (p->error == YAML_MEMORY_ERROR) {
        return out_of_memory(r);
    }
    yaml_mark_t mark =
        p->error == YAML_READER_ERROR ? mark_at(r, p->problem_offset) : p->problem_mark;
    return wtl_fail(r->err, WTL_E_FORMAT, "%s:%zu:%zu: not YAML: %s%s%s", r->file,
                    mark.line + 1, mark.column + 1, p->problem, p->context ? " " : "",
                    p->context ? p->context : "");
}

static wtl_status read_events(reader *r)
{
    wtl_status status = WTL_OK;
    bool more = true;
    while (status == WTL_OK && more) {
        yaml_event_t event;
        if (!yaml_parser_parse(&r->parser, &event)) {
            return not_yaml(r);
        }
        status = take_event(r, &event);
        more = event.type != YAML_STREAM_END_EVENT;
        yaml_event_delete(&event);
    }
    return status;
}

wtl_status wtl_yaml_read(wtl_yaml_tree *out, const char *text, size_t length, const char *file,
                         wtl_error *err)
{
    *out = (wtl_yaml_tree){0};
    reader r = {.tree = out, .bytes = text, .length = length, .file = file, .err = err};
    if (length > WTL_YAML_MOST_BYTES) {
        return wtl_fail(err, WTL_E_FORMAT, "%s:1:1: %zu bytes; expected at most %d", file,
                        length, WTL_YAML_MOST_BYTES);
    }
    if (!yaml_parser_initialize(&r.parser)) {
        return out_of_memory(&r);
    }
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
    wtl_status status = read_events(&r);
    if (status == WTL_OK && out->count == 0) {
        status = wtl_fail(err, WTL_E_FORMAT, "%s:1:1: there is nothing in it", file);
    }
    yaml_parser_delete(&r.parser);
    if (status != WTL_OK) {
        wtl_yaml_clear(out);
    }
    return status;
}

void wtl_yaml_clear(wtl_yaml_tree *tree)
{
    wtl_free(tree->nodes);
    wtl_text_clear(&tree->text);
    *tree = (wtl_yaml_tree){0};
}

const char *wtl_yaml_key(const wtl_yaml_tree *tree, const wtl_yaml_node *node)
{
    return node->key == NONE ? "" : tree->text.bytes + node->key;
}

const char *wtl_yaml_value(const wtl_yaml_tree *tree, const wtl_yaml_node *node)
{
    return node->kind == WTL_YAML_SCALAR ? tree->text.bytes + node->value
           : node->kind == WTL_YAML_LIST ? "a list"
                                         : "a mapping";
}

const wtl_yaml_node *wtl_yaml_find(const wtl_yaml_tree *tree, const wtl_yaml_node *node,
                                   const char *key)
{
    if (!node || node->kind != WTL_YAML_MAPPING) {
        return NULL;
    }
    for (int i = node->first; i != NONE; i = tree->nodes[i].next) {
        if (strcmp(wtl_yaml_key(tree, &tree->nodes[i]), key) == 0) {
            return &tree->nodes[i];
        }
    }
    return NULL;
}
