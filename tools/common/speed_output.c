/* speed_output.c - see speed_output.h. */
#include "speed_output.h"

#include "model.h"
#include "output.h"

#include <string.h>

wtl_status wtl_speed_of_file(wtl_speed *speed, const char *path, const wtl_kernel_costs *costs,
                             wtl_error *err)
{
    wtl_model model;
    *speed = (wtl_speed){.layers = NULL};
    wtl_status status = wtl_model_load(&model, path, (wtl_net_options){.batch = 1}, err);
    if (status == WTL_OK) {
        status = wtl_speed_predict(speed, model.net, costs, 1, err);
    }
    wtl_model_clear(&model);
    return status;
}

/* ---- lists of layers ---- */

enum { WIDTH = 92, MOST_NAMES = 24 };

typedef struct lines {
    int indent, used; /* columns */
    int named, left;  /* layers, shown and not */
} lines;

static void begin(lines *l, const char *words)
{
    printf("%*s%s", l->indent, "", words);
    l->used = l->indent + (int)strlen(words);
    l->named = l->left = 0;
}

static void add(lines *l, const char *name, const char *text)
{
    if (l->named == MOST_NAMES) {
        l->left++;
        return;
    }
    int length = (int)(strlen(name) + strlen(text)) + 2;
    if (l->named > 0) {
        putchar(',');
    }
    if (l->used + length > WIDTH) {
        printf("\n%*s", l->indent + 1, "");
        l->used = l->indent + 1;
    }
    putchar(' ');
    wtl_cli_print_text(stdout, name);
    fputs(text, stdout);
    l->used += length;
    l->named++;
}

static void end(const lines *l)
{
    if (l->left > 0) {
        printf(" and %d more", l->left);
    }
    putchar('\n');
}

typedef enum outcome { FASTER, IN_BLOCKS, NOT_FASTER, OUTCOME_COUNT } outcome;

static outcome outcome_of(const wtl_speed_layer *l)
{
    return l->speed_up > 1.0 ? FASTER : l->in_blocks > 1.0 ? IN_BLOCKS : NOT_FASTER;
}

static void list(const wtl_speed *speed, outcome which, int indent, const char *words)
{
    lines l = {.indent = indent};
    begin(&l, words);
    for (int i = 0; i < speed->count; i++) {
        const wtl_speed_layer *layer = &speed->layers[i];
        char text[32] = "";
        if (outcome_of(layer) != which) {
            continue;
        }
        if (which == NOT_FASTER) {
            snprintf(text, sizeof text, "%s", layer->can_skip ? "" : " (always dense)");
        } else {
            snprintf(text, sizeof text, " %.2fx",
                     which == FASTER ? layer->speed_up : layer->in_blocks);
        }
        add(&l, layer->name, text);
    }
    end(&l);
}

static const char *rates(const wtl_speed *speed)
{
    return speed->costs.processor[0]
               ? "rates of this processor"
               : "default rates: 'wattle bench --calibrate' measures this processor's";
}

void wtl_speed_print(const wtl_speed *speed, const char *head, const char *path)
{
    static const char *const words[OUTCOME_COUNT] = {
        "faster:", "in 4x1 blocks they would be (--granularity 4x1):", "not faster:"};
    int indent = (int)strlen(head), counts[OUTCOME_COUNT] = {0};
    for (int i = 0; i < speed->count; i++) {
        counts[outcome_of(&speed->layers[i])]++;
    }
    printf("%s%d of %d layers will run faster on this machine, all of them together %.2fx\n",
           head, counts[FASTER], speed->count, speed->speed_up);
    printf("%*s(predicted at batch %d on %d thread%s, not measured; %s)\n", indent, "",
           speed->batch, speed->costs.threads, speed->costs.threads == 1 ? "" : "s",
           rates(speed));
    for (int o = 0; o < OUTCOME_COUNT; o++) {
        if (counts[o] > 0) {
            list(speed, (outcome)o, indent, words[o]);
        }
    }
    printf("%*smeasure it: wattle bench ", indent, "");
    wtl_cli_print_text(stdout, path);
    putchar('\n');
}

void wtl_speed_print_prospect(const wtl_speed *speed, const char *head)
{
    lines l = {.indent = (int)strlen(head)};
    printf(
        "%sa layer runs faster on this machine with fewer weights left than (in 4x1 blocks)\n",
        head);
    begin(&l, "");
    for (int i = 0; i < speed->count; i++) {
        const wtl_speed_layer *layer = &speed->layers[i];
        char text[48] = " never";
        if (layer->can_skip) {
            snprintf(text, sizeof text, " %.2f (%.2f)", layer->pays_below[WTL_KERNEL_ROWS],
                     layer->pays_below[WTL_KERNEL_QUADS]);
        }
        add(&l, layer->name, text);
    }
    end(&l);
    printf("%*s(predicted at batch %d; %s)\n", l.indent, "", speed->batch, rates(speed));
}
