/* prune_options.c - what prune and compare do with their shared options; progress. */
#include "prune_options.h"
#include "output.h"
#include "progress.h"
#include "signals.h"
#include "training.h"

#include "wattle/checkpoint.h"
#include "wattle/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

void wtl_prune_extra_begin(wtl_prune_extra *extra, const wtl_prune_options *options)
{
    *extra = (wtl_prune_extra){.optimizer = (int)options->finetune.optimizer.kind,
                               .metric = (int)options->metric,
                               .allocation = (int)options->how.allocation,
                               .granularity = (int)options->how.granularity};
}

/* One of "LAYER" (which has density `density`) or "LAYER=D". */
static int add_limit(wtl_prune_options *options, const char *word, const char *option,
                     double density, const wtl_command *command)
{
    const char *equals = strrchr(word, '=');
    size_t length = equals ? (size_t)(equals - word) : strlen(word);
    if (length == 0 || length >= WTL_LIMIT_NAME) {
        return wtl_cli_usage_error(command, "--%s: '%.60s' names no layer", option, word);
    }
    if (density < 0 && (!equals || !wtl_parse_double(equals + 1, 0, 1, &density))) {
        return wtl_cli_usage_error(
            command, "--%s takes LAYER=D with D from 0 to 1, not '%.60s'", option, word);
    }
    if (options->limit_count == WTL_PRUNE_LIMITS) {
        return wtl_cli_usage_error(command, "--%s: more than %d layers", option,
                                   WTL_PRUNE_LIMITS);
    }
    wtl_prune_limit *limit = &options->limits[options->limit_count++];
    *limit = (wtl_prune_limit){.least_density = density};
    memcpy(limit->layer, word, length);
    return WTL_EXIT_DONE;
}

static int add_limits(wtl_prune_options *options, const char *list, const char *option,
                      double density, const wtl_command *command)
{
    int code = WTL_EXIT_DONE;
    while (*list && code == WTL_EXIT_DONE) {
        char word[WTL_LIMIT_NAME + 32];
        size_t length = strcspn(list, ",");
        snprintf(word, sizeof word, "%.*s", (int)length, list);
        code =
            length < sizeof word
                ? add_limit(options, word, option, density, command)
                : wtl_cli_usage_error(command, "--%s: '%.60s...' names no layer", option, word);
        list += length + (list[length] == ',');
    }
    return code;
}

int wtl_prune_extra_end(const wtl_prune_extra *extra, wtl_prune_options *options,
                        const wtl_parsed *parsed)
{
    options->finetune.optimizer.kind = (wtl_optimizer_kind)extra->optimizer;
    options->metric = (wtl_prune_metric)extra->metric;
    options->how.allocation = (wtl_eap_allocation)extra->allocation;
    options->how.granularity = (wtl_granularity)extra->granularity;
    options->threads = parsed->common.threads;
    options->seed = parsed->common.seed;
    int code = wtl_cli_check_augment(parsed, options->augment);
    code = code ? code : add_limits(options, extra->exclude, "exclude", 1.0, parsed->command);
    return code ? code : add_limits(options, extra->keep, "keep", -1.0, parsed->command);
}

void wtl_cli_augment_of(wtl_prune_options *options)
{
    wtl_checkpoint *checkpoint = NULL;
    if (options->augment[0] ||
        wtl_checkpoint_read(&checkpoint, options->checkpoint, NULL) != WTL_OK) {
        return; /* the run will say what is wrong with the file */
    }
    const json_t *config = wtl_checkpoint_meta(checkpoint, "config");
    const char *trained = json_string_value(json_object_get(config, "augment"));
    const wtl_netdef *def = wtl_checkpoint_net(checkpoint);
    int side = def ? def->input.h : 0;
    snprintf(options->augment, sizeof options->augment, "%s",
             trained ? trained : wtl_cli_suitable_augment(options->data, side));
    wtl_checkpoint_free(checkpoint);
}

/* ---- progress ---- */

static void show_stage(wtl_progress *progress, const wtl_prune_event *e)
{
    char label[64], rest[128] = "";
    snprintf(label, sizeof label, e->rounds ? "round %d/%d %s" : "round %d%.0d %s", e->round,
             e->rounds, e->stage);
    if (strcmp(e->stage, "fine-tune") == 0) {
        snprintf(rest, sizeof rest, "loss %.4f  acc@1 %.1f", e->loss, e->top1);
    }
    wtl_progress_show(progress, label, e->done, e->total, rest, -1);
}

static void show_round(wtl_progress *progress, const wtl_prune_event *e)
{
    char goal[32] = "";
    if (!isnan(e->goal)) {
        snprintf(goal, sizeof goal, " (goal %.2f %%)", 100.0 * e->goal);
    }
    wtl_progress_log(progress,
                     "round %d  energy %.2f %%%s  weights %.2f %%  val Acc@1 %.2f Acc@5 %.2f  "
                     "drop %+.2f",
                     e->round, 100.0 * e->energy, goal, 100.0 * e->density, e->top1, e->top5,
                     e->drop);
}

static void on_event(void *context, const wtl_prune_event *event)
{
    wtl_progress *progress = context;
    switch (event->kind) {
    case WTL_PRUNE_STAGE:
        show_stage(progress, event);
        break;
    case WTL_PRUNE_ROUND:
        show_round(progress, event);
        break;
    case WTL_PRUNE_NOTE:
        wtl_progress_log(progress, "%s", event->note);
        break;
    case WTL_PRUNE_LAYER:
    case WTL_PRUNE_SAVED:
        break;
    }
}

static double peak_bytes(void *context)
{
    (void)context;
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) == 0 ? 1024.0 * (double)usage.ru_maxrss : (double)NAN;
}

wtl_prune_hooks wtl_cli_prune_hooks(wtl_progress *progress)
{
    return (wtl_prune_hooks){.event = on_event,
                             .seconds = wtl_cli_clock,
                             .peak_bytes = peak_bytes,
                             .stop = wtl_signals_stop,
                             .context = progress};
}
