/* list.c - a list file as Caffe has it: one picture a line, its path, blanks, its label.
 *
 * The label is what follows the last blank, so a path may hold blanks. Paths are relative to
 * the file's folder. Empty lines are left out.
 */
#include "source.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <string.h>

typedef struct line {
    const char *text;
    size_t length;
    size_t number; /* from 1 */
} line;

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* Splits "path label"; *path_length 0 stands for an empty line. */
static wtl_status split_line(const line *l, const char *file, const char **path,
                             size_t *path_length, int *label, wtl_error *err)
{
    enum { LONGEST_LABEL = 11 };
    const char *begin = l->text, *end = l->text + l->length;
    *path_length = 0;
    if (memchr(begin, '\0', l->length)) {
        return wtl_fail(err, WTL_E_FORMAT, "%s:%zu: the line holds a zero byte", file,
                        l->number);
    }
    while (begin < end && is_blank(end[-1])) {
        end--;
    }
    while (begin < end && is_blank(*begin)) {
        begin++;
    }
    if (begin == end) {
        return WTL_OK;
    }
    const char *word = end;
    while (word > begin && !is_blank(word[-1])) {
        word--;
    }
    char number[LONGEST_LABEL + 1] = {0};
    size_t digits = (size_t)(end - word);
    memcpy(number, word, digits < LONGEST_LABEL ? digits : LONGEST_LABEL);
    if (word == begin || digits > LONGEST_LABEL ||
        !wtl_parse_int(number, 0, WTL_MOST_CLASSES - 1, label)) {
        return wtl_fail(err, WTL_E_FORMAT,
                        "%s:%zu: \"path label\" was expected, with a label 0..%d", file,
                        l->number, WTL_MOST_CLASSES - 1);
    }
    while (is_blank(word[-1])) {
        word--;
    }
    *path = begin;
    *path_length = (size_t)(word - begin);
    return WTL_OK;
}

static size_t count_lines(const unsigned char *bytes, size_t length)
{
    size_t count = 1;
    for (size_t i = 0; i < length; i++) {
        count += bytes[i] == '\n';
    }
    return count;
}

wtl_status wtl_list_parse(wtl_source *source, const unsigned char *bytes, size_t length,
                          const char *file, wtl_error *err)
{
    source->labels = wtl_alloc(count_lines(bytes, length), sizeof source->labels[0]);
    if (!source->labels) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for labels", file);
    }
    const char *text = (const char *)bytes, *end = text + length;
    for (line l = {.number = 1}; text < end; l.number++) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        l.text = text;
        l.length = (size_t)((newline ? newline : end) - text);
        text = newline ? newline + 1 : end;
        const char *path;
        size_t path_length;
        int label;
        wtl_status status = split_line(&l, file, &path, &path_length, &label, err);
        if (status == WTL_OK && path_length > 0) {
            status = wtl_strings_add(&source->paths, path, path_length, err);
            source->labels[source->count] = label;
            source->count += status == WTL_OK;
            source->classes = label >= source->classes ? label + 1 : source->classes;
        }
        if (status != WTL_OK) {
            return status;
        }
    }
    if (source->count == 0) {
        return wtl_fail(err, WTL_E_FORMAT, "%s: the list holds no pictures", file);
    }
    return WTL_OK;
}

/* A list is one part by itself, chosen by its name: @test takes all of it, @train and @val
 * share it. */
static wtl_status open_list(wtl_source *source, const char *where, wtl_data_part part,
                            wtl_error *err)
{
    unsigned char *bytes = NULL;
    size_t length;
    wtl_status status = wtl_file_read(where, WTL_MOST_SOURCE_BYTES, &bytes, &length, err);
    if (status == WTL_OK) {
        status = wtl_list_parse(source, bytes, length, where, err);
    }
    wtl_free(bytes);
    if (status != WTL_OK) {
        return status;
    }
    const char *slash = strrchr(where, '/');
    source->folder = wtl_strndup(where, slash ? (size_t)(slash - where) + 1 : 0);
    source->splits = part != WTL_DATA_TEST;
    if (!source->folder) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", where);
    }
    return wtl_pictures_prepare(source, err);
}

const wtl_source_kind wtl_source_list = {"list", "FILE", open_list};
