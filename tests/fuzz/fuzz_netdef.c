/* fuzz_netdef.c - any text: parse, shapes, canonical text; what is written reads back as the
 * same network. */
#include "wattle/memory.h"
#include "wattle/netdef.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(int condition, const char *what, const char *text)
{
    if (!condition) {
        fprintf(stderr, "%s:\n%s\n", what, text ? text : "(no text)");
        abort();
    }
}

/* Parameters and counts must not overflow, whatever the sizes. */
static void use_shapes(const wtl_netdef *def)
{
    wtl_shape *shapes = wtl_alloc((size_t)def->layer_count, sizeof *shapes);
    wtl_error err;
    if (shapes && wtl_netdef_shapes(def, shapes, &err) == WTL_OK) {
        uint64_t parameters, macs;
        (void)!wtl_netdef_totals(def, &parameters, &macs, &err);
    }
    wtl_free(shapes);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const wtl_netdef_options changed = {.width = 0.3, .classes = 5};
    wtl_netdef *def, *again;
    wtl_error err;
    if (wtl_netdef_parse(&def, (const char *)bytes, length, "fuzz", &changed, &err) == WTL_OK) {
        wtl_netdef_free(def);
    }
    if (wtl_netdef_parse(&def, (const char *)bytes, length, "fuzz", NULL, &err) != WTL_OK) {
        check(strncmp(err.text, "fuzz:", 5) == 0, "a message without place", err.text);
        return 0;
    }
    use_shapes(def);
    char *text = wtl_netdef_text(def);
    check(text != NULL, "no memory for the text", NULL);
    wtl_status status = wtl_netdef_parse(&again, text, strlen(text), "text", NULL, &err);
    check(status == WTL_OK, err.text, text);
    char *text_again = wtl_netdef_text(again);
    check(text_again && strcmp(text, text_again) == 0, "reads back differently", text);
    check(again->layer_count == def->layer_count &&
              memcmp(&again->preprocess, &def->preprocess, sizeof def->preprocess) == 0,
          "another network", text);
    wtl_free(text_again);
    wtl_free(text);
    wtl_netdef_free(again);
    wtl_netdef_free(def);
    return 0;
}
