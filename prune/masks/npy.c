/* npy.c - the head of a .npy array: a Python dict as text. */
#include "npy.h"

#include "wattle/memory.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

static const char magic[] = "\x93NUMPY";
enum { MAGIC = 6, PREFIX_1 = 10, PREFIX_2 = 12 };

/* What is left of the dict's text. */
typedef struct cursor {
    const char *at, *end;
} cursor;

static void skip_blanks(cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\n')) {
        c->at++;
    }
}

static bool take(cursor *c, const char *word)
{
    skip_blanks(c);
    size_t length = strlen(word);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0) {
        return false;
    }
    c->at += length;
    return true;
}

static bool take_number(cursor *c, size_t *number)
{
    skip_blanks(c);
    const char *begin = c->at;
    *number = 0;
    for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++) {
        if (!wtl_mul(*number, 10, number) ||
            !wtl_add(*number, (size_t)(*c->at - '0'), number)) {
            return false;
        }
    }
    return c->at > begin;
}

/* (), (4,), (4, 3), (4, 3,) */
static bool take_shape(cursor *c, wtl_npz_array *array)
{
    array->rank = 0;
    array->count = 1;
    if (!take(c, "(")) {
        return false;
    }
    while (!take(c, ")")) {
        size_t *dim = &array->dims[array->rank];
        if (array->rank == WTL_NPZ_MOST_RANK || !take_number(c, dim) ||
            !wtl_mul(array->count, *dim, &array->count)) {
            return false;
        }
        array->rank++;
        if (!take(c, ",")) {
            return array->rank > 1 && take(c, ")"); /* (4) is a number in Python */
        }
    }
    return true;
}

/* The keys of the dict, each exactly once in any order. */
typedef struct dict {
    bool has_type, right_type, has_order, fortran, has_shape;
} dict;

static bool take_type(cursor *c, dict *d)
{
    d->right_type = take(c, "'|u1'") || take(c, "'|b1'");
    if (!d->right_type && take(c, "'")) { /* some other type, or text that is none */
        while (c->at < c->end && *c->at != '\'') {
            c->at++;
        }
        return take(c, "'");
    }
    return d->right_type;
}

static bool take_pair(cursor *c, dict *d, wtl_npz_array *array)
{
    if (!d->has_type && take(c, "'descr'")) {
        d->has_type = true;
        return take(c, ":") && take_type(c, d);
    }
    if (!d->has_order && take(c, "'fortran_order'")) {
        d->has_order = true;
        if (!take(c, ":")) {
            return false;
        }
        d->fortran = take(c, "True");
        return d->fortran || take(c, "False");
    }
    if (!d->has_shape && take(c, "'shape'")) {
        d->has_shape = true;
        return take(c, ":") && take_shape(c, array);
    }
    return false;
}

static bool take_dict(cursor *c, dict *d, wtl_npz_array *array)
{
    if (!take(c, "{")) {
        return false;
    }
    while (!take(c, "}")) {
        if (!take_pair(c, d, array)) {
            return false;
        }
        if (!take(c, ",")) {
            if (!take(c, "}")) {
                return false;
            }
            break;
        }
    }
    skip_blanks(c);
    return c->at == c->end && d->has_type && d->has_order && d->has_shape;
}

static wtl_status refuse(wtl_error *err, const char *file, const wtl_npz_array *array,
                         const char *why)
{
    return wtl_fail(err, WTL_E_FORMAT, "%s: array %s: %s", file, array->name, why);
}

/* Where the dict begins, and its length; 0 if there is none. */
static size_t find_dict(const unsigned char *entry, size_t length, size_t *dict_length)
{
    if (length < PREFIX_2 || memcmp(entry, magic, MAGIC) != 0 || entry[7] != 0) {
        return 0;
    }
    if (entry[6] == 1) {
        *dict_length = entry[8] | (size_t)entry[9] << 8;
        return PREFIX_1;
    }
    *dict_length =
        entry[8] | (size_t)entry[9] << 8 | (size_t)entry[10] << 16 | (size_t)entry[11] << 24;
    return entry[6] == 2 ? PREFIX_2 : 0;
}

wtl_status wtl_npy_parse(wtl_npz_array *array, const unsigned char *entry, size_t length,
                         const char *file, wtl_error *err)
{
    size_t dict_length = 0;
    size_t begin = find_dict(entry, length, &dict_length);
    if (begin == 0) {
        return refuse(err, file, array, "does not begin like a .npy of format 1.0 or 2.0");
    }
    if (dict_length > length - begin || dict_length > WTL_NPY_MOST_HEAD - PREFIX_2) {
        return refuse(err, file, array, "its header is longer than the array, or than 4 KiB");
    }
    cursor c = {(const char *)entry + begin, (const char *)entry + begin + dict_length};
    dict d = {0};
    if (!take_dict(&c, &d, array)) {
        return refuse(err, file, array,
                      "its header is not {'descr', 'fortran_order', 'shape'}");
    }
    if (!d.right_type) {
        return refuse(err, file, array, "its type is neither |u1 nor |b1");
    }
    if (d.fortran) {
        return refuse(err, file, array,
                      "is in Fortran order; save np.ascontiguousarray() of it");
    }
    if (array->count != length - begin - dict_length) {
        return wtl_fail(err, WTL_E_FORMAT,
                        "%s: array %s: %zu bytes of values, its shape needs %zu", file,
                        array->name, length - begin - dict_length, array->count);
    }
    array->values = entry + begin + dict_length;
    return WTL_OK;
}

size_t wtl_npy_head(const wtl_npz_array *array, unsigned char head[WTL_NPY_WRITTEN_HEAD])
{
    char *text = (char *)head + PREFIX_1;
    size_t room = WTL_NPY_WRITTEN_HEAD - PREFIX_1;
    size_t length =
        (size_t)snprintf(text, room, "{'descr': '|u1', 'fortran_order': False, 'shape': (");
    for (int i = 0; i < array->rank; i++) { /* at most 8 * 22 characters */
        const char *after = array->rank == 1 ? "," : i + 1 < array->rank ? ", " : "";
        length +=
            (size_t)snprintf(text + length, room - length, "%zu%s", array->dims[i], after);
    }
    length += (size_t)snprintf(text + length, room - length, "), }");
    size_t whole = (PREFIX_1 + length + 1 + 63) / 64 * 64;
    memset(text + length, ' ', whole - PREFIX_1 - length - 1);
    head[whole - 1] = '\n';
    memcpy(head, magic, MAGIC);
    head[6] = 1;
    head[7] = 0;
    head[8] = (unsigned char)((whole - PREFIX_1) & 255);
    head[9] = (unsigned char)((whole - PREFIX_1) >> 8);
    return whole;
}
