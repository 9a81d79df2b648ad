/* fuzz_workload.c - any 25-column text: what is read is consistent, and what is written reads
 * back as the same layers. */
#include "wattle/memory.h"
#include "wattle/workload.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void check(int condition, const char *what, const char *text)
{
    if (!condition) {
        fprintf(stderr, "%s:\n%s\n", what, text);
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    wtl_workload work, again;
    wtl_error err;
    if (wtl_workload_parse(&work, (const char *)bytes, length, "fuzz", &err) != WTL_OK) {
        check(strncmp(err.text, "fuzz:", 5) == 0, "a message without place", err.text);
        check(work.layers == NULL && work.layer_count == 0, "something is left", err.text);
        return 0;
    }
    for (int i = 0; i < work.layer_count; i++) {
        check(wtl_work_layer_check(&work.layers[i], &err) == WTL_OK, "inconsistent", err.text);
    }
    char *text;
    check(wtl_workload_text(&text, &work, &err) == WTL_OK, "not written", err.text);
    check(wtl_workload_parse(&again, text, strlen(text), "fuzz", &err) == WTL_OK,
          "does not read back", err.text);
    char *text_again;
    check(wtl_workload_text(&text_again, &again, &err) == WTL_OK, "not written", err.text);
    check(strcmp(text, text_again) == 0, "reads back differently", text);
    wtl_free(text_again);
    wtl_free(text);
    wtl_workload_clear(&again);
    wtl_workload_clear(&work);
    return 0;
}
