/* json.c - numbers, documents and log lines around jansson. */
#include "wattle/json.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

json_t *wtl_json_real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

double wtl_json_number(const json_t *value)
{
    return json_is_number(value) ? json_number_value(value) : (double)NAN;
}

json_t *wtl_json_string(const char *text)
{
    json_t *json = json_string(text);
    if (json) {
        return json;
    }
    char *copy = wtl_strdup(text);
    for (char *c = copy; c && *c; c++) {
        *c = (unsigned char)*c < 128 ? *c : '?';
    }
    json = copy ? json_string(copy) : NULL;
    wtl_free(copy);
    return json;
}

char *wtl_json_text(json_t *document)
{
    char *text =
        document ? json_dumps(document, JSON_INDENT(2) | JSON_REAL_PRECISION(15)) : NULL;
    json_decref(document);
    return text;
}

json_t *wtl_json_reread(json_t *document)
{
    char *text = wtl_json_text(document);
    json_t *read = text ? json_loads(text, 0, NULL) : NULL;
    free(text);
    return read;
}

static wtl_status no_memory(const char *path, wtl_error *err)
{
    return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", path);
}

wtl_status wtl_json_write(const char *path, json_t *document, wtl_error *err)
{
    char *text = wtl_json_text(document);
    wtl_writer *writer;
    wtl_status status = text ? wtl_writer_open(&writer, path, err) : no_memory(path, err);
    if (status == WTL_OK) {
        wtl_writer_put(writer, text, strlen(text));
        wtl_writer_put(writer, "\n", 1);
        status = wtl_writer_commit(writer, err);
    }
    free(text);
    return status;
}

wtl_status wtl_json_read(json_t **out, const char *path, size_t most_bytes, wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    json_error_t why;
    *out = NULL;
    wtl_status status = wtl_file_read(path, most_bytes, &bytes, &length, err);
    if (status != WTL_OK) {
        return status;
    }
    *out = json_loadb((const char *)bytes, length, JSON_REJECT_DUPLICATES, &why);
    wtl_free(bytes);
    return *out ? WTL_OK : wtl_fail(err, WTL_E_FORMAT, "%s:%d: %s", path, why.line, why.text);
}

wtl_status wtl_json_append(FILE *file, const char *path, json_t *document, wtl_error *err)
{
    char *text = document ? json_dumps(document, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(document);
    if (!text) {
        return no_memory(path, err);
    }
    bool written = fprintf(file, "%s\n", text) > 0 && fflush(file) == 0;
    int why = errno;
    free(text);
    return written
               ? WTL_OK
               : wtl_fail(err, WTL_E_WRITE, "%s: cannot be written: %s", path, strerror(why));
}
