/* fuzz_plot.c - plots that a report takes over from files: in what passes, every tag is of a plot
 * and no attribute is a handler or an address. */
#include "prune/report/report_private.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static bool begins(const char *text, const char *const *words)
{
    for (; *words; words++) {
        if (strncmp(text, *words, strlen(*words)) == 0) {
            return true;
        }
    }
    return false;
}

/* From '<' to '>': a known name, and nothing outside quotes that a browser would act on. */
static void check_tag(const char *tag)
{
    static const char *const known[] = {"svg", "title", "style", "rect",   "path", "text",
                                        "g",   "line",  "tspan", "circle", NULL};
    static const char *const acted_on[] = {"on", "href", "xlink", "src", "style=", NULL};
    tag += 1 + (tag[1] == '/');
    if (!begins(tag, known)) {
        abort();
    }
    bool quoted = false;
    for (tag += strcspn(tag, " \t\r\n>"); *tag && *tag != '>'; tag++) {
        quoted ^= *tag == '"';
        if (!quoted && strchr(" \t\r\n\"", *tag) && begins(tag + 1, acted_on)) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    wtl_error err;
    char *text = malloc(length + 1);
    if (!text) {
        return 0;
    }
    memcpy(text, bytes, length);
    text[length] = '\0';
    if (wtl_report_svg_check(text, "fuzz", &err) == WTL_OK) {
        for (const char *tag = text; (tag = strchr(tag, '<')); tag++) {
            check_tag(tag);
        }
    } else if (strchr(err.text, '\n')) {
        abort();
    }
    free(text);
    return 0;
}
