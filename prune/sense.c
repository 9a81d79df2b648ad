/* sense.c - the sensitivity scan: one layer pruned at a time, the net judged each time.
 *
 * Every judgement is a plain run of the whole net over the sample: what stands before the
 * pruned layer is computed again, as a net cannot be run from its middle. What leaves as many
 * weights as the judgement before it is not judged twice; so the net as it came, level 0 of
 * every layer, is judged once.
 */
#include "wattle/sense.h"

#include "wattle/loss.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <math.h>
#include <string.h>

typedef struct judgement {
    double top1, top5; /* percent */
    double loss;       /* mean over the images */
} judgement;

typedef struct scan {
    wtl_net *net;
    const wtl_sample *sample;
    const wtl_sense_options *options;
    judgement untouched; /* the net as it came */
} scan;

/* ---- what cannot be scanned ---- */

static wtl_status check_sparsities(const double *sparsities, int count, wtl_error *err)
{
    if (count < 1) {
        return wtl_fail(err, WTL_E_ARG, "sensitivity: %d sparsities, at least one is needed",
                        count);
    }
    for (int i = 0; i < count; i++) {
        if (!(sparsities[i] >= 0.0 && sparsities[i] <= 1.0)) {
            return wtl_fail(err, WTL_E_RANGE, "sensitivity: sparsity %g is outside 0..1",
                            sparsities[i]);
        }
        if (i > 0 && !(sparsities[i] > sparsities[i - 1])) {
            return wtl_fail(err, WTL_E_ARG, "sensitivity: sparsity %g after %g, they ascend",
                            sparsities[i], sparsities[i - 1]);
        }
    }
    return WTL_OK;
}

static bool has_param(wtl_net *net, const wtl_param *param)
{
    bool found = false;
    for (int i = 0; i < wtl_net_param_count(net); i++) {
        found = found || wtl_net_param(net, i) == param;
    }
    return found;
}

static wtl_status check_params(wtl_net *net, wtl_param *const *params, int count,
                               wtl_granularity granularity, wtl_error *err)
{
    if (count < 1) {
        return wtl_fail(err, WTL_E_ARG, "sensitivity: %d layers, at least one is needed",
                        count);
    }
    for (int i = 0; i < count; i++) {
        if (!has_param(net, params[i])) {
            return wtl_fail(err, WTL_E_ARG, "%s: not a parameter of this net %s",
                            params[i]->name, wtl_net_def(net)->name);
        }
        if (!wtl_mask_allowed(params[i])) {
            return wtl_fail(err, WTL_E_ARG, "%s: not a weight, only weights can be pruned",
                            params[i]->name);
        }
        wtl_blocks blocks = wtl_blocks_of(granularity, net, params[i]);
        wtl_status status = wtl_blocks_check(params[i], &blocks, err);
        if (status != WTL_OK) {
            return status;
        }
    }
    return WTL_OK;
}

static wtl_status check_sample(wtl_net *net, const wtl_sample *sample, wtl_error *err)
{
    const wtl_netdef *def = wtl_net_def(net);
    const wtl_head *head = wtl_net_main_head(net);
    const wtl_shape in = def->input, has = sample->shape;
    if (!head) {
        return wtl_fail(err, WTL_E_SHAPE, "net %s has no softmax to be judged by", def->name);
    }
    if (sample->count < 1) {
        return wtl_fail(err, WTL_E_ARG, "sensitivity: a sample of %d images", sample->count);
    }
    if (has.c != in.c || has.h != in.h || has.w != in.w) {
        return wtl_fail(err, WTL_E_SHAPE,
                        "net %s takes images of %dx%dx%d, the sample's have "
                        "%dx%dx%d",
                        def->name, in.c, in.h, in.w, has.c, has.h, has.w);
    }
    for (int i = 0; i < sample->count; i++) {
        if (sample->labels[i] < 0 || sample->labels[i] >= head->classes) {
            return wtl_fail(err, WTL_E_SHAPE,
                            "net %s tells %d classes apart, image %d of the "
                            "sample has label %d",
                            def->name, head->classes, i, sample->labels[i]);
        }
    }
    return WTL_OK;
}

/* A NaN need not reach the output (max(0, NaN) can be 0), so the values are looked at. */
static wtl_status check_finite(wtl_net *net, wtl_error *err)
{
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        const wtl_param *param = wtl_net_param(net, p);
        for (size_t i = 0; i < param->count; i++) {
            if (!isfinite(param->value[i])) {
                return wtl_fail(err, WTL_E_NAN, "%s: value %zu is not finite", param->name, i);
            }
        }
    }
    return WTL_OK;
}

static wtl_status check(wtl_net *net, wtl_param *const *params, int count,
                        const wtl_sample *sample, const wtl_sense_options *options,
                        wtl_error *err)
{
    if (wtl_net_options_of(net)->training) {
        return wtl_fail(err, WTL_E_ARG, "sensitivity: net %s is planned for training",
                        wtl_net_def(net)->name);
    }
    wtl_status status = check_sparsities(options->sparsities, options->sparsity_count, err);
    if (status == WTL_OK) {
        status = check_params(net, params, count, options->granularity, err);
    }
    if (status == WTL_OK) {
        status = check_sample(net, sample, err);
    }
    return status == WTL_OK ? check_finite(net, err) : status;
}

/* ---- judging ---- */

static wtl_status judge(judgement *out, const scan *s, wtl_error *err)
{
    const wtl_sample *sample = s->sample;
    const wtl_head *head = wtl_net_main_head(s->net);
    size_t each = wtl_shape_count(sample->shape);
    int batch = wtl_net_options_of(s->net)->batch;
    wtl_scores scores = {0};
    for (int first = 0; first < sample->count; first += batch) {
        int n = sample->count - first < batch ? sample->count - first : batch;
        if (s->options->stop && s->options->stop(s->options->context)) {
            return wtl_fail(err, WTL_E_STOPPED, "sensitivity scan stopped");
        }
        memcpy(wtl_net_input(s->net), sample->images + (size_t)first * each,
               (size_t)n * each * sizeof(float));
        wtl_net_forward(s->net, n, WTL_RUN_INFERENCE, 0);
        double loss = wtl_cross_entropy(n, head->classes, head->logits, sample->labels + first,
                                        0.0f, 1.0f, NULL, &scores);
        if (!isfinite(loss) || !wtl_net_output_finite(s->net, n)) {
            return wtl_fail(err, WTL_E_NAN, "net %s: its output is not finite",
                            wtl_net_def(s->net)->name);
        }
    }
    out->top1 = 100.0 * (double)scores.top1 / (double)scores.images;
    out->top5 = 100.0 * (double)scores.top5 / (double)scores.images;
    out->loss = scores.loss / (double)scores.images;
    return WTL_OK;
}

/* ---- one layer ---- */

typedef struct saved {
    float *value, *mask; /* mask NULL: there was none */
} saved;

static void free_saved(saved *old)
{
    wtl_free(old->value);
    wtl_free(old->mask);
}

static wtl_status save(saved *old, const wtl_param *param, wtl_error *err)
{
    *old = (saved){.value = wtl_alloc(param->count, sizeof *old->value)};
    if (param->mask) {
        old->mask = wtl_alloc(param->count, sizeof *old->mask);
    }
    if (!old->value || (param->mask && !old->mask)) {
        free_saved(old);
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for %zu weights", param->name,
                        param->count);
    }
    memcpy(old->value, param->value, param->count * sizeof *old->value);
    if (old->mask) {
        memcpy(old->mask, param->mask, param->count * sizeof *old->mask);
    }
    return WTL_OK;
}

static void restore(wtl_param *param, const saved *old)
{
    memcpy(param->value, old->value, param->count * sizeof *old->value);
    if (old->mask) {
        memcpy(param->mask, old->mask, param->count * sizeof *old->mask);
    } else {
        wtl_mask_free(param);
    }
}

/* What a mask has pruned stays pruned: a low sparsity asks for nothing then. */
static size_t kept_at(double sparsity, const wtl_param *param, const wtl_block_stock *stock)
{
    size_t kept = param->count - (size_t)llround(sparsity * (double)param->count);
    return wtl_stock_at_most(stock, kept);
}

/* A layer under scan. */
typedef struct subject {
    wtl_param *param;
    saved old;
    wtl_blocks blocks;
    wtl_block_stock stock; /* as it came */
    judgement latest;      /* of latest_kept weights */
    size_t latest_kept;
} subject;

static wtl_status scan_row(wtl_sense_row *row, subject *u, const scan *s, wtl_error *err)
{
    wtl_status status = WTL_OK;
    if (row->kept != u->latest_kept) {
        restore(u->param, &u->old); /* a row does not depend on those before it */
        status = wtl_blocks_keep(u->param, &u->blocks, NULL, row->kept, err);
        if (status == WTL_OK) {
            status = judge(&u->latest, s, err);
        }
        u->latest_kept = row->kept;
    }
    row->top1 = u->latest.top1;
    row->top5 = u->latest.top5;
    row->loss = u->latest.loss;
    return status;
}

/* rows[sparsity_count] of one layer, which is as before afterwards. `done` rows came before. */
static wtl_status scan_layer(wtl_sense_row *rows, wtl_param *param, const scan *s, int done,
                             int total, wtl_error *err)
{
    const wtl_sense_options *options = s->options;
    subject u = {.param = param,
                 .blocks = wtl_blocks_of(options->granularity, s->net, param),
                 .latest = s->untouched,
                 .latest_kept = wtl_mask_kept(param)};
    u.stock = wtl_blocks_kept(&u.blocks, param->mask);
    wtl_status status = save(&u.old, param, err);
    if (status != WTL_OK) {
        return status;
    }
    for (int i = 0; i < options->sparsity_count && status == WTL_OK; i++) {
        double sparsity = options->sparsities[i];
        rows[i] = (wtl_sense_row){.parameter = param->name,
                                  .sparsity = sparsity,
                                  .weights = param->count,
                                  .kept = kept_at(sparsity, param, &u.stock)};
        status = scan_row(&rows[i], &u, s, err);
        if (status == WTL_OK && options->progress) {
            options->progress(options->context, done + i + 1, total);
        }
    }
    restore(param, &u.old);
    free_saved(&u.old);
    return status;
}

/* ---- the scan ---- */

static wtl_status scan_layers(wtl_sense *out, wtl_param *const *params, int count, scan *s,
                              wtl_error *err)
{
    int each = s->options->sparsity_count, total = 0;
    if (__builtin_mul_overflow(count, each, &total)) {
        return wtl_fail(err, WTL_E_RANGE,
                        "sensitivity: %d sparsities of %d layers are too many", each, count);
    }
    out->rows = wtl_alloc((size_t)total, sizeof *out->rows);
    if (!out->rows) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d rows", total);
    }
    wtl_status status = judge(&s->untouched, s, err);
    for (int i = 0; i < count && status == WTL_OK; i++) {
        status = scan_layer(out->rows + (size_t)i * (size_t)each, params[i], s, i * each, total,
                            err);
        out->count += each;
    }
    return status;
}

wtl_status wtl_sense_scan(wtl_sense *out, wtl_net *net, wtl_param *const *params, int count,
                          const wtl_sample *sample, const wtl_sense_options *options,
                          wtl_error *err)
{
    double levels[WTL_SENSE_LEVELS];
    for (int i = 0; i < WTL_SENSE_LEVELS; i++) {
        levels[i] = i / 10.0; /* 1 - wtl_sense_density(i), without its rounding */
    }
    wtl_sense_options how = options ? *options : (wtl_sense_options){0};
    if (!how.sparsities) {
        how.sparsities = levels;
        how.sparsity_count = WTL_SENSE_LEVELS;
    }
    *out = (wtl_sense){0};
    scan s = {.net = net, .sample = sample, .options = &how};
    wtl_status status = check(net, params, count, sample, &how, err);
    if (status == WTL_OK) {
        status = scan_layers(out, params, count, &s, err);
    }
    if (status != WTL_OK) {
        wtl_sense_clear(out);
    }
    return status;
}

void wtl_sense_clear(wtl_sense *sense)
{
    wtl_free(sense->rows);
    *sense = (wtl_sense){0};
}

char *wtl_sense_csv(const wtl_sense *sense)
{
    wtl_text text = {0};
    wtl_text_printf(&text, "parameter,sparsity,top1,top5,loss\n");
    for (int i = 0; i < sense->count; i++) {
        const wtl_sense_row *row = &sense->rows[i];
        wtl_text_printf(&text, "%s,%.10g,%.10g,%.10g,%.10g\n", row->parameter, row->sparsity,
                        row->top1, row->top5, row->loss);
    }
    return wtl_text_take(&text);
}
