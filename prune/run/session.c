/* session.c - opening what a pruning run works with, and the things it does over and over. */
#include "session.h"

#include "tune/retrain.h"

#include "wattle/blas.h"
#include "wattle/json.h"
#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/threads.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

enum { PROBE_BATCH = 32 };

/* ---- options ---- */

static double otherwise(double value, double when_zero)
{
    return value != 0.0 ? value : when_zero;
}

static void fill_in(wtl_prune_options *o)
{
    wtl_prune_options defaults;
    wtl_prune_defaults(&defaults);
    o->pricing.batch = o->pricing.batch ? o->pricing.batch : defaults.pricing.batch;
    o->pricing.bits = o->pricing.bits ? o->pricing.bits : defaults.pricing.bits;
    o->rounds = o->rounds ? o->rounds : defaults.rounds;
    o->step = otherwise(o->step, defaults.step);
    o->refinements = o->refinements ? o->refinements : defaults.refinements;
    o->batch = o->batch ? o->batch : defaults.batch;
    o->recalibration = o->recalibration ? o->recalibration : defaults.recalibration;
    o->search_images = o->search_images ? o->search_images : defaults.search_images;
    o->how.images = o->how.images ? o->how.images : defaults.how.images;
    o->how.positions = o->how.positions ? o->how.positions : defaults.how.positions;
    o->how.probes = o->how.probes ? o->how.probes : defaults.how.probes;
    wtl_reconstruct_options *r = &o->how.reconstruct;
    r->overshoot = otherwise(r->overshoot, defaults.how.reconstruct.overshoot);
    r->restore_step = r->restore_step ? r->restore_step : defaults.how.reconstruct.restore_step;
    wtl_finetune_options *f = &o->finetune;
    f->temperature = otherwise(f->temperature, defaults.finetune.temperature);
    f->optimizer.beta2 = otherwise(f->optimizer.beta2, 0.999);
    f->optimizer.epsilon = otherwise(f->optimizer.epsilon, 1e-8);
    o->workers = o->workers ? o->workers : 1;
    o->save_minutes = otherwise(o->save_minutes, 5.0);
    o->threads = o->threads ? o->threads : wtl_threads_available();
    if (!o->method[0]) {
        memcpy(o->method, defaults.method, sizeof o->method);
    }
    if (!o->hardware[0]) {
        memcpy(o->hardware, defaults.hardware, sizeof o->hardware);
    }
    if (!o->augment[0]) {
        memcpy(o->augment, defaults.augment, sizeof o->augment);
    }
}

/* Every negative number that means none is the one that the table of options knows. */
static void level_negatives(wtl_prune_options *o)
{
    wtl_reconstruct_options *r = &o->how.reconstruct;
    o->max_drop = o->max_drop < 0.0 ? -1.0 : o->max_drop;
    o->refinements = o->refinements < 0 ? -1 : o->refinements;
    o->recalibration = o->recalibration < 0 ? -1 : o->recalibration;
    r->overshoot = r->overshoot < 0.0 ? -1.0 : r->overshoot;
    r->ridge = r->ridge < 0.0 ? -1.0 : r->ridge;
}

static wtl_status check_method(const wtl_prune_options *o, wtl_error *err)
{
    const char *names[32];
    int count = 0;
    for (; count < 31 && wtl_method_at(count); count++) {
        names[count] = wtl_method_at(count)->name;
    }
    names[count] = NULL;
    if (wtl_method_find(o->method)) {
        return WTL_OK;
    }
    const char *near = wtl_suggest(o->method, names);
    return wtl_fail(err, WTL_E_ARG, "there is no method '%s'%s%s%s", o->method,
                    near ? "; did you mean '" : "; see 'wattle prune --methods'",
                    near ? near : "", near ? "'?" : "");
}

/* *options := what config.json will give back: a resumed run must see the very same numbers, and
 * nothing counts that the file cannot hold. Every option is held to the limits of its table. */
static wtl_status read_back(wtl_prune_options *options, wtl_error *err)
{
    wtl_prune_options read;
    json_t *json = wtl_prune_options_to_json(options);
    wtl_status status = json ? WTL_E_NOMEM : WTL_E_ARG;
    json_t *back = wtl_json_reread(json);
    if (!back) {
        return wtl_fail(err, status, "the options' names are not UTF-8, or memory is short");
    }
    wtl_prune_defaults(&read);
    status = wtl_prune_options_from_json(&read, back, "options", err);
    json_decref(back);
    if (status == WTL_OK) {
        *options = read;
    }
    if (status == WTL_E_FORMAT && err) {
        err->status = WTL_E_ARG; /* it is the caller's number, not a file's */
    }
    return status == WTL_E_FORMAT ? WTL_E_ARG : status;
}

wtl_status wtl_prune_out_of_reach(double target, double floor, const char *hardware,
                                  wtl_error *err)
{
    return wtl_fail(err, WTL_E_GOAL,
                    "an energy of %g of dense cannot be reached on %s: with every prunable "
                    "weight gone, and activations as they are, %.4g of it is left; ask for "
                    "more",
                    target, hardware, floor);
}

wtl_status wtl_prune_resolve(wtl_prune_options *options, wtl_error *err)
{
    wtl_augment augment;
    fill_in(options);
    level_negatives(options);
    wtl_status status = check_method(options, err);
    if (status == WTL_OK) {
        status = read_back(options, err);
    }
    if (status == WTL_OK && !wtl_augment_preset(options->augment, &augment)) {
        status =
            wtl_fail(err, WTL_E_ARG,
                     "augment: there is no '%s'; there are none, flip, cifar, imagenet and "
                     "caffe",
                     options->augment);
    }
    options->finetune.optimizer.threads = options->threads;
    options->how.reconstruct.threads = options->threads;
    return status;
}

/* ---- data ---- */

static wtl_status open_samples(wtl_session *s, wtl_error *err)
{
    const wtl_prune_options *o = &s->options;
    const wtl_netdef *def = wtl_net_def(s->net);
    wtl_status status =
        wtl_sample_draw(&s->search, s->train, def, o->search_images, o->seed, err);
    return status == WTL_OK
               ? wtl_sample_draw(&s->held_out, s->val, def, o->search_images, o->seed, err)
               : status;
}

/* ---- nets ---- */

static wtl_status open_nets(wtl_session *s, const char *file, wtl_error *err)
{
    const wtl_prune_options *o = &s->options;
    const wtl_net_options train = {
        .batch = o->batch, .threads = o->threads, .training = true, .seed = o->seed};
    const wtl_net_options look = {
        .batch = PROBE_BATCH, .threads = o->threads, .keep_outputs = true};
    const wtl_net_options teach = {.batch = o->batch, .threads = o->threads};
    wtl_status status = wtl_retrain_open_net(&s->net, s->dense, file, &train, err);
    if (status == WTL_OK) {
        status = wtl_retrain_open_net(&s->probe, s->dense, file, &look, err);
    }
    if (status == WTL_OK && s->method->rewrites) {
        status = wtl_retrain_open_net(&s->original, s->dense, file, &look, err);
    }
    if (status == WTL_OK && o->finetune.distill > 0.0) {
        status = wtl_retrain_open_net(&s->teacher, s->dense, file, &teach, err);
    }
    return status;
}

static wtl_status open_layers(wtl_session *s, wtl_error *err)
{
    s->layer_count = wtl_pricing_count(s->pricing);
    s->layers = wtl_alloc((size_t)s->layer_count, sizeof *s->layers);
    s->nonzeros = wtl_alloc((size_t)s->layer_count, sizeof *s->nonzeros);
    if (!s->layers || !s->nonzeros) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d layers", s->layer_count);
    }
    for (int i = 0; i < s->layer_count; i++) {
        const char *name = wtl_pricing_layer(s->pricing, i).weight;
        wtl_param *param = wtl_net_find_param(s->net, name);
        wtl_blocks blocks = wtl_blocks_of(s->options.how.granularity, s->net, param);
        wtl_status status = wtl_blocks_check(param, &blocks, err);
        if (status != WTL_OK) {
            return status;
        }
        s->layers[i] = wtl_method_layer_of(s->net, param, s->options.how.granularity);
    }
    return WTL_OK;
}

wtl_status wtl_session_open(wtl_session *s, const wtl_prune_options *options, const char *dense,
                            const wtl_prune_hooks *hooks, wtl_error *err)
{
    static const wtl_prune_hooks no_hooks = {0};
    *s = (wtl_session){.options = *options,
                       .method = wtl_method_find(options->method),
                       .hooks = hooks ? hooks : &no_hooks};
    const wtl_retraining what = {
        .work = "pruning", .data = options->data, .checkpoint = options->checkpoint};
    const wtl_retrain_batches batches = {.batch = options->batch,
                                         .workers = options->workers,
                                         .augment = options->augment,
                                         .seed = options->seed,
                                         .recalibrate = options->recalibration > 0};
    wtl_blas_prepare();
    wtl_threads_prepare(options->threads);
    wtl_status status = wtl_hardware_load(&s->hardware, options->hardware, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_read(&s->dense, dense, err);
    }
    if (status == WTL_OK) {
        status = wtl_retrain_open_data(&s->train, &s->val, &what, s->dense, err);
    }
    if (status == WTL_OK) {
        status = open_nets(s, dense, err);
    }
    if (status == WTL_OK) {
        status = wtl_retrain_check(s->net, s->train, &what, err);
    }
    if (status == WTL_OK) {
        status = wtl_retrain_open_batches(&s->batcher, &s->calibration, s->net, s->train,
                                          &batches, err);
    }
    if (status == WTL_OK) {
        status = open_samples(s, err);
    }
    if (status == WTL_OK) {
        status =
            wtl_pricing_create(&s->pricing, s->probe, &s->hardware, &options->pricing, err);
    }
    if (status == WTL_OK) {
        status = open_layers(s, err);
    }
    if (status == WTL_OK) {
        status = wtl_finetune_create(&s->finetune, s->net, s->teacher, s->batcher,
                                     &options->finetune, err);
    }
    return status == WTL_OK ? wtl_session_limit(s, err) : status;
}

void wtl_session_close(wtl_session *s)
{
    wtl_finetune_free(s->finetune);
    wtl_pricing_free(s->pricing);
    wtl_free(s->layers);
    wtl_free(s->nonzeros);
    wtl_net_free(s->teacher);
    wtl_net_free(s->original);
    wtl_net_free(s->probe);
    wtl_net_free(s->net);
    wtl_sample_clear(&s->held_out);
    wtl_sample_clear(&s->search);
    wtl_batcher_free(s->calibration);
    wtl_batcher_free(s->batcher);
    wtl_dataset_free(s->val);
    wtl_dataset_free(s->train);
    wtl_checkpoint_free(s->dense);
    *s = (wtl_session){0};
}

/* ---- limits ---- */

static wtl_status unknown_layer(const wtl_session *s, const char *name, wtl_error *err)
{
    enum { MOST = 512 };
    const char *names[MOST + 1];
    int count = s->layer_count < MOST ? s->layer_count : MOST;
    for (int i = 0; i < count; i++) {
        names[i] = wtl_pricing_layer(s->pricing, i).name;
    }
    names[count] = NULL;
    const char *near = wtl_suggest(name, names);
    return wtl_fail(err, WTL_E_ARG, "net %s has no layer '%s' to limit%s%s%s",
                    wtl_net_def(s->net)->name, name, near ? "; did you mean '" : "",
                    near ? near : "", near ? "'?" : "");
}

static int find_layer(const wtl_session *s, const char *name)
{
    for (int i = 0; i < s->layer_count; i++) {
        if (strcmp(wtl_pricing_layer(s->pricing, i).name, name) == 0) {
            return i;
        }
    }
    return -1;
}

wtl_status wtl_session_limit(wtl_session *s, wtl_error *err)
{
    for (int i = 0; i < s->layer_count; i++) {
        wtl_method_layer *layer = &s->layers[i];
        *layer = wtl_method_layer_of(s->net, layer->param, s->options.how.granularity);
    }
    for (int i = 0; i < s->options.limit_count; i++) {
        const wtl_prune_limit *limit = &s->options.limits[i];
        int found = find_layer(s, limit->layer);
        if (found < 0) {
            return unknown_layer(s, limit->layer, err);
        }
        wtl_method_layer *layer = &s->layers[found];
        size_t least = (size_t)ceil(limit->least_density * (double)layer->weights - 1e-9);
        least = least > layer->least ? least : layer->least;
        layer->least =
            least < layer->most ? wtl_stock_at_least(&layer->stock, least) : layer->most;
    }
    return WTL_OK;
}

/* ---- over and over ---- */

void wtl_session_stage(const wtl_session *s, const char *stage, long done, long total)
{
    if (s->hooks->event) {
        const wtl_prune_event event = {.kind = WTL_PRUNE_STAGE,
                                       .round = s->round,
                                       .rounds = s->rounds,
                                       .stage = stage,
                                       .done = done,
                                       .total = total};
        s->hooks->event(s->hooks->context, &event);
    }
}

int wtl_session_stopped(void *session)
{
    const wtl_session *s = session;
    return s->hooks->stop ? s->hooks->stop(s->hooks->context) : 0;
}

double wtl_session_density(const wtl_session *s)
{
    double kept = 0.0, weights = 0.0;
    for (int i = 0; i < s->layer_count; i++) {
        kept += (double)wtl_mask_kept(s->layers[i].param);
        weights += (double)s->layers[i].weights;
    }
    return kept / weights;
}

wtl_status wtl_session_measure(wtl_session *s, bool held_out, wtl_energy_now *energy,
                               wtl_error *err)
{
    *energy = (wtl_energy_now){NAN, NAN};
    wtl_session_stage(s, "measure", 0, 1);
    wtl_status status = wtl_net_copy_params(s->probe, s->net, err);
    wtl_pricing_nonzeros(s->pricing, s->net, s->nonzeros);
    if (status == WTL_OK && held_out) {
        status = wtl_pricing_measure(s->pricing, &s->held_out, wtl_session_stopped, s, err);
        energy->held_out = wtl_pricing_total(s->pricing, s->nonzeros);
    }
    if (status == WTL_OK) {
        status = wtl_pricing_measure(s->pricing, &s->search, wtl_session_stopped, s, err);
        energy->search = wtl_pricing_total(s->pricing, s->nonzeros);
    }
    return status;
}

wtl_status wtl_session_recalibrate(wtl_session *s, wtl_error *err)
{
    if (!s->calibration) {
        return WTL_OK;
    }
    wtl_session_stage(s, "recalibrate", 0, 1);
    return wtl_recalibrate(s->net, s->calibration, s->options.recalibration, err);
}

static bool judging(void *context, long done, long total)
{
    wtl_session *s = context;
    wtl_session_stage(s, "validate", done, total);
    return !wtl_session_stopped(s);
}

wtl_status wtl_session_judge(wtl_session *s, wtl_scores *scores, wtl_error *err)
{
    const wtl_evaluate_options options = {.seed = s->options.seed,
                                          .workers = s->options.workers,
                                          .progress = judging,
                                          .context = s};
    wtl_evaluation evaluation;
    wtl_status status = wtl_evaluate(&evaluation, s->net, s->val, &options, err);
    if (status == WTL_OK) {
        *scores = evaluation.scores;
        wtl_evaluation_clear(&evaluation);
    }
    return status;
}
