/* netdef_options.h - values of layer options: from text, to text, compared. Driven by the
 * option tables of the layers, so that a new option is one line in its layer's file. */
#ifndef WTL_NETDEF_OPTIONS_H
#define WTL_NETDEF_OPTIONS_H

#include "layer_ops.h"
#include "wattle/text.h"

/* What `out=classes` and `out=32*width` refer to. */
typedef struct wtl_option_context {
    int classes;       /* 0: no `classes` line so far */
    double width;      /* 0: no `width` line so far */
    int multiple;      /* scaled widths are rounded to multiples of this */
    bool classes_used; /* set by the reader once some out=classes was read */
} wtl_option_context;

enum { WTL_EXPECTED_SIZE = 128 };

/* Read `text` into the option's field of `def`. False, with what was expected (for
 * "kernel=0: expected ..."), if it has another form or is out of range. */
bool wtl_option_read(wtl_layer_def *def, const wtl_layer_option *option, const char *text,
                     wtl_option_context *context, char expected[WTL_EXPECTED_SIZE]);

/* Set the field to the option's default text, which may lie outside the range that users
 * have (a pool's stride 0 means "as the kernel" and is resolved by the layer's check). */
void wtl_option_set_default(wtl_layer_def *def, const wtl_layer_option *option);

bool wtl_option_equal(const wtl_layer_option *option, const wtl_layer_def *a,
                      const wtl_layer_def *b);

/* Append the value as wtl_option_read() takes it. */
void wtl_option_put(wtl_text *out, const wtl_layer_option *option, const wtl_layer_def *def);

/* Append the shortest decimal that reads back as the same float. */
void wtl_put_float(wtl_text *out, float value);

/* Read `most` or fewer whole numbers separated by `separator`; returns how many, or 0. */
int wtl_read_ints(const char *text, char separator, int low, int high, int *values, int most);

/* The same for finite floats. */
int wtl_read_floats(const char *text, char separator, double low, double high, float *values,
                    int most);

#endif
