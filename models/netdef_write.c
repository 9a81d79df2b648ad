/* netdef_write.c - the canonical text of a network definition. */
#include "netdef_options.h"

#include <string.h>

/* Append a list, or one number where all are the same. */
static void put_channels(wtl_text *out, const char *word, const float *values, int count)
{
    int written = 1;
    for (int c = 1; c < count; c++) {
        if (values[c] != values[0]) {
            written = count;
        }
    }
    wtl_text_printf(out, " %s=", word);
    for (int c = 0; c < written; c++) {
        wtl_text_printf(out, c ? "," : "");
        wtl_put_float(out, values[c]);
    }
}

static bool all_are(const float *values, int count, float value)
{
    for (int c = 0; c < count; c++) {
        if (values[c] != value) {
            return false;
        }
    }
    return true;
}

static void put_preprocess(wtl_text *out, const wtl_preprocess *p)
{
    /* A map of many channels is no picture and has no such line. */
    int count = p->channels <= WTL_MAX_IMAGE_CHANNELS ? p->channels : 0;
    bool plain_values =
        p->scale == 1.0f && all_are(p->mean, count, 0.0f) && all_are(p->deviation, count, 1.0f);
    if (plain_values && p->order == WTL_ORDER_RGB && p->rule == WTL_RESIZE_NONE) {
        return;
    }
    wtl_text_printf(out, "preprocess");
    if (p->order == WTL_ORDER_BGR) {
        wtl_text_printf(out, " order=bgr");
    }
    if (p->rule != WTL_RESIZE_NONE) {
        wtl_text_printf(out, " resize=%s:%d", p->rule == WTL_RESIZE_WARP ? "warp" : "short",
                        p->resize);
    }
    if (p->scale != 1.0f) {
        wtl_text_printf(out, " scale=");
        wtl_put_float(out, p->scale);
    }
    if (!all_are(p->mean, count, 0.0f)) {
        put_channels(out, "mean", p->mean, count);
    }
    if (!all_are(p->deviation, count, 1.0f)) {
        put_channels(out, "std", p->deviation, count);
    }
    wtl_text_printf(out, "\n");
}

static bool same_options(const wtl_layer_ops *ops, const wtl_layer_def *a,
                         const wtl_layer_def *b)
{
    for (const wtl_layer_option *o = ops->options; o->name; o++) {
        if (!wtl_option_equal(o, a, b)) {
            return false;
        }
    }
    return true;
}

/* An option is left out if the reader, who fills in defaults and then runs the layer's
 * check, would come to the same layer without it. */
static void put_options(wtl_text *out, const wtl_layer_ops *ops, const wtl_layer_def *layer)
{
    wtl_layer_def said = *layer; /* what the text so far, and all options to come, say */
    for (const wtl_layer_option *o = ops->options; o->name; o++) {
        wtl_layer_def without = said;
        wtl_option_set_default(&without, o);
        wtl_layer_def read = without;
        if (o->default_text && (!ops->check || ops->check(&read, NULL) == WTL_OK) &&
            same_options(ops, &read, layer)) {
            said = without;
        } else {
            wtl_text_printf(out, " %s=", o->name);
            wtl_option_put(out, o, layer);
        }
    }
}

char *wtl_netdef_text(const wtl_netdef *def)
{
    wtl_text out = {0};
    wtl_text_printf(&out, "net %s\n", def->name);
    if (def->classes > 0) {
        wtl_text_printf(&out, "classes %d\n", def->classes);
    }
    wtl_text_printf(&out, "input %s %dx%dx%d\n", def->layers[0].name, def->input.c,
                    def->input.h, def->input.w);
    put_preprocess(&out, &def->preprocess);
    for (int i = 1; i < def->layer_count; i++) {
        const wtl_layer_def *layer = &def->layers[i];
        const wtl_layer_ops *ops = wtl_layer_ops_of(layer->kind);
        wtl_text_printf(&out, "%s = %s", layer->name, ops->word);
        for (int k = 0; k < layer->input_count; k++) {
            wtl_text_printf(&out, " %s", def->layers[layer->inputs[k]].name);
        }
        if (ops->options) {
            put_options(&out, ops, layer);
        }
        wtl_text_printf(&out, "\n");
    }
    return wtl_text_take(&out);
}
