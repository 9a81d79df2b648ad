/* yaml_tree.h - a small YAML text as a tree whose nodes know their line and column.
 *
 * For descriptions that people write: one document of at most 64 KiB and 1024 values,
 * mappings and lists eight deep, no anchors, aliases or tags, no key twice in a mapping. libyaml does the reading.
 */
#ifndef WTL_YAML_TREE_H
#define WTL_YAML_TREE_H

#include "wattle/text.h"

enum { WTL_YAML_MOST_BYTES = 1 << 16 };

typedef enum wtl_yaml_kind { WTL_YAML_SCALAR, WTL_YAML_LIST, WTL_YAML_MAPPING } wtl_yaml_kind;

typedef struct wtl_yaml_node {
    wtl_yaml_kind kind;
    int key, value;   /* offsets in `text`; key -1: not in a mapping; value -1: no scalar */
    int first, next;  /* first child, next of the same parent; -1: none */
    int line, column; /* of the value, from 1 */
    int key_line, key_column;
} wtl_yaml_node;

typedef struct wtl_yaml_tree {
    wtl_yaml_node *nodes; /* [0] is the root */
    int count, room;
    wtl_text text; /* keys and scalars, each ended by NUL */
} wtl_yaml_tree;

/* On failure *out is empty and the message starts with "file:line:column: ".
 *   WTL_E_FORMAT, WTL_E_NOMEM */
wtl_status wtl_yaml_read(wtl_yaml_tree *out, const char *text, size_t length, const char *file,
                         wtl_error *err) WTL_MUST_CHECK;
void wtl_yaml_clear(wtl_yaml_tree *tree);

const char *wtl_yaml_key(const wtl_yaml_tree *tree, const wtl_yaml_node *node);
/* A scalar's text; "a mapping" or "a list" for the others, for messages. */
const char *wtl_yaml_value(const wtl_yaml_tree *tree, const wtl_yaml_node *node);

/* The child of that key, or NULL; NULL has no children. */
const wtl_yaml_node *wtl_yaml_find(const wtl_yaml_tree *tree, const wtl_yaml_node *node,
                                   const char *key);

#endif
