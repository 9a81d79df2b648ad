/* zoo.c - networks that come with wattle, and networks as users name them. */
#include "wattle/zoo.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "zoo_texts.h"

#include <string.h>

enum { MOST_FILE_BYTES = 1 << 20 };

const char *const *wtl_zoo_names(void)
{
    return wtl_zoo_name_list;
}

const char *wtl_zoo_text(const char *name, size_t *length)
{
    return wtl_named_text_find(wtl_zoo_entries, name, length);
}

/* One "key=value" of NET. `pair` is cut at the '='. */
static wtl_status read_pair(char *pair, const char *net, wtl_netdef_options *options,
                            wtl_error *err)
{
    static const char *const keys[] = {"width", "classes", NULL};
    char *value = strchr(pair, '=');
    if (!value) {
        return wtl_fail(err, WTL_E_ARG, "%s: '%s' is not width=W or classes=N", net, pair);
    }
    *value++ = '\0';
    bool is_width = strcmp(pair, keys[0]) == 0;
    if (!is_width && strcmp(pair, keys[1]) != 0) {
        const char *near = wtl_suggest(pair, keys);
        return wtl_fail(err, WTL_E_ARG, "%s: unknown key '%s'; %s%s%s", net, pair,
                        near ? "did you mean '" : "expected width or classes", near ? near : "",
                        near ? "'?" : "");
    }
    if (is_width ? options->width > 0 : options->classes > 0) {
        return wtl_fail(err, WTL_E_ARG, "%s: %s is given twice", net, pair);
    }
    /* Only the form is read here; the parser knows the ranges. */
    bool good = is_width ? wtl_parse_double(value, 1e-9, 1e9, &options->width)
                         : wtl_parse_int(value, 1, 1 << 30, &options->classes);
    return good ? WTL_OK
                : wtl_fail(err, WTL_E_ARG, "%s: %s=%s: expected a number above 0", net, pair,
                           value);
}

static wtl_status read_pairs(char *pairs, const char *net, wtl_netdef_options *options,
                             wtl_error *err)
{
    while (pairs) {
        char *comma = strchr(pairs, ',');
        if (comma) {
            *comma++ = '\0';
        }
        wtl_status status = read_pair(pairs, net, options, err);
        if (status != WTL_OK) {
            return status;
        }
        pairs = comma;
    }
    return WTL_OK;
}

static wtl_status load_file(wtl_netdef **out, const char *path,
                            const wtl_netdef_options *options, wtl_error *err)
{
    unsigned char *bytes = NULL;
    size_t length;
    wtl_status status = wtl_file_read(path, MOST_FILE_BYTES, &bytes, &length, err);
    if (status == WTL_E_MISSING) {
        const char *near = wtl_suggest(path, wtl_zoo_name_list);
        return wtl_fail(err, status, "no network '%s': neither in the zoo nor a file%s%s%s",
                        path, near ? "; did you mean '" : "", near ? near : "",
                        near ? "'?" : "");
    }
    if (status == WTL_OK) {
        status = wtl_netdef_parse(out, (const char *)bytes, length, path, options, err);
    }
    wtl_free(bytes);
    return status;
}

/* A net whose sizes do not fit is refused here, where its file is known. */
static wtl_status check_shapes(wtl_netdef **def, const char *file, wtl_error *err)
{
    wtl_shape *shapes = wtl_alloc((size_t)(*def)->layer_count, sizeof *shapes);
    wtl_status status = shapes ? wtl_netdef_shapes(*def, shapes, err)
                               : wtl_fail(err, WTL_E_NOMEM, "out of memory");
    wtl_free(shapes);
    if (status != WTL_OK) {
        (void)wtl_fail_in(err, status, file);
        wtl_netdef_free(*def);
        *def = NULL;
    }
    return status;
}

static wtl_status load_named(wtl_netdef **out, char *name, const char *net, int classes,
                             wtl_error *err)
{
    wtl_netdef_options options = {0};
    /* A file may have a colon in its name. */
    char *colon = wtl_file_exists(name) ? NULL : strrchr(name, ':');
    if (colon) {
        *colon = '\0';
        wtl_status status = read_pairs(colon + 1, net, &options, err);
        if (status != WTL_OK) {
            return status;
        }
    }
    if (options.classes == 0) {
        options.classes = classes;
    }
    size_t length;
    const char *text = wtl_zoo_text(name, &length);
    wtl_status status = text ? wtl_netdef_parse(out, text, length, name, &options, err)
                             : load_file(out, name, &options, err);
    return status == WTL_OK ? check_shapes(out, name, err) : status;
}

wtl_status wtl_netdef_load(wtl_netdef **out, const char *net, int classes, wtl_error *err)
{
    *out = NULL;
    char *name = wtl_strdup(net);
    if (!name) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", net);
    }
    wtl_status status = load_named(out, name, net, classes, err);
    wtl_free(name);
    return status;
}
