/* run.c - the course of a pruning run.
 *
 * A round is PRUNE, TUNE, JUDGE; after it decide() says what the next one is. last.wtl is
 * written after PRUNE, within and after TUNE, and after the decision, always with plan.jsonl
 * already behind it: a run that is resumed does again what came after, with the same outcome.
 */
#include "certificate.h"
#include "prune_folder.h"
#include "prune_state.h"
#include "session.h"

#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/sense.h"

#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { GRADUAL_STEPS = 4, MOST_CORRECTIONS = 3, NO_LIMIT = 1000000 };
/* How near the target is near enough, and by how much the last step stays above it: weights do
 * not come back, so a correction can only take away. */
static const double TOLERANCE = 0.005, MARGIN = 0.002;
/* The target is approached from a little above, with half of the last fine-tuning, so that
 * little is left to change the zeros of activations after the last weights went. */
static const double APPROACH = 1.03, APPROACH_DRIFT = 0.2;
/* A correction is small: so are its learning rate and its epochs. */
static const double CORRECTION_RATE = 0.1, CORRECTION_EPOCHS = 0.25;

typedef struct run {
    wtl_session s;
    wtl_prune_state st;
    wtl_prune_folder *folder;
    const wtl_prune_hooks *hooks;
    double earlier, began, last_save; /* seconds: of earlier calls; of the clock */
    double *sensitivity;              /* [layer][level], once it is known */
    wtl_method_step *steps;           /* [layer_count]: what the method reported */
    int *order, order_count;          /* of the reports */
} run;

/* ---- small things ---- */

static double clock_now(const run *r)
{
    return r->hooks->seconds ? r->hooks->seconds(r->hooks->context) : 0.0;
}

static double seconds(const run *r)
{
    return r->hooks->seconds ? r->earlier + clock_now(r) - r->began : (double)NAN;
}

static double batches_an_epoch(const run *r)
{
    return (double)wtl_batcher_count(r->s.batcher);
}

static bool targeted(const run *r)
{
    return r->s.options.target_energy > 0.0;
}

static bool limited(const run *r)
{
    return r->s.options.max_drop >= 0.0;
}

/* The row of round `number`, from 1; 0 is the dense net. */
static wtl_prune_row row_of(const run *r, int number)
{
    const wtl_prune_state *st = &r->st;
    if (number > 0) {
        return st->rows[number - 1];
    }
    return (wtl_prune_row){.goal = 1.0,
                           .energy = 1.0,
                           .density = 1.0,
                           .val_loss = st->dense_loss,
                           .val_top1 = st->dense_top1,
                           .val_top5 = st->dense_top5,
                           .held = true,
                           .seconds = NAN};
}

static double energy_now(const run *r)
{
    return row_of(r, r->st.present).energy;
}

/* What a step leaves alone: nearly the floor, and below every target. */
static double base_energy(const run *r)
{
    double floor = fmin(r->st.floor, energy_now(r)); /* zeros of activations lower it */
    double target = r->s.options.target_energy;
    return 0.9 * (targeted(r) && target < floor ? target : floor);
}

static void note(const run *r, const char *format, ...) WTL_PRINTF(2, 3);
static void note(const run *r, const char *format, ...)
{
    char text[512];
    if (r->hooks->event) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        const wtl_prune_event event = {.kind = WTL_PRUNE_NOTE, .note = text};
        r->hooks->event(r->hooks->context, &event);
    }
}

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static wtl_status plan(run *r, json_t *object, wtl_error *err)
{
    if (object && json_object_set_new(object, "seconds", real(seconds(r))) != 0) {
        json_decref(object);
        object = NULL;
    }
    return wtl_prune_folder_plan(r->folder, &r->st, object, err);
}

static wtl_status plan_decision(run *r, const char *what, const char *why, wtl_error *err)
{
    return plan(r,
                json_pack("{s:s, s:i, s:s, s:s}", "event", "decision", "round",
                          r->st.round_count, "what", what, "why", why),
                err);
}

/* ---- checkpoints ---- */

static wtl_status put_classes(const run *r, wtl_checkpoint *checkpoint, wtl_error *err)
{
    int count = wtl_checkpoint_class_count(r->s.dense);
    if (count == 0) {
        return WTL_OK;
    }
    const char **names = wtl_alloc((size_t)count, sizeof *names);
    if (!names) {
        return wtl_fail(err, WTL_E_NOMEM, "out of memory for %d class names", count);
    }
    for (int i = 0; i < count; i++) {
        names[i] = wtl_checkpoint_class(r->s.dense, i);
    }
    wtl_status status = wtl_checkpoint_set_classes(checkpoint, names, count, err);
    wtl_free(names);
    return status;
}

/* What all checkpoints of the run hold. *out is freed by the caller, also on failure. */
static wtl_status compose(wtl_checkpoint **out, const run *r, wtl_error *err)
{
    const wtl_prune_options *o = &r->s.options;
    json_t *data = wtl_checkpoint_meta(r->s.dense, "data");
    wtl_prune_row row = row_of(r, r->st.present);
    wtl_status status = wtl_checkpoint_create(out, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_set_net(*out, wtl_net_def(r->s.net), err);
    }
    if (status == WTL_OK) {
        status = put_classes(r, *out, err);
    }
    if (status == WTL_OK && data) {
        status = wtl_checkpoint_set_meta(*out, "data", json_incref(data), err);
    }
    if (status == WTL_OK) {
        json_t *pruned = json_pack("{s:s, s:s, s:i, s:f, s:f}", "method", o->method, "hardware",
                                   r->s.hardware.name, "hardware_batch", o->pricing.batch,
                                   "energy", row.energy, "density", row.density);
        status = wtl_checkpoint_set_meta(*out, "pruned", pruned, err);
    }
    return status == WTL_OK ? wtl_checkpoint_add_net(*out, r->s.net, err) : status;
}

static wtl_status write_net(const run *r, wtl_prune_file file, wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = compose(&checkpoint, r, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_write(checkpoint, wtl_prune_folder_path(r->folder, file), err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}

static wtl_status save(run *r, wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = compose(&checkpoint, r, err);
    if (status == WTL_OK) {
        status = wtl_prune_state_save(&r->st, checkpoint, err);
    }
    if (status == WTL_OK) {
        status = wtl_finetune_save(r->s.finetune, checkpoint, err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_write(checkpoint,
                                      wtl_prune_folder_path(r->folder, WTL_FILE_LAST), err);
    }
    wtl_checkpoint_free(checkpoint);
    r->last_save = clock_now(r);
    if (status == WTL_OK && r->hooks->event) {
        const wtl_prune_event event = {.kind = WTL_PRUNE_SAVED, .round = r->s.round};
        r->hooks->event(r->hooks->context, &event);
    }
    return status;
}

static wtl_status load_net(run *r, wtl_prune_file file, wtl_error *err)
{
    wtl_checkpoint *checkpoint;
    const char *path = wtl_prune_folder_path(r->folder, file);
    wtl_status status = wtl_checkpoint_read(&checkpoint, path, err);
    if (status != WTL_OK) {
        return status;
    }
    status = wtl_checkpoint_fill_net(checkpoint, r->s.net, err);
    wtl_checkpoint_free(checkpoint);
    return status == WTL_OK || status == WTL_E_NOMEM ? status : wtl_fail_in(err, status, path);
}

/* ---- what comes next ---- */

static void begin_tuning(run *r, double epochs, double rate_share)
{
    wtl_finetune_state *tune = &r->st.tune;
    wtl_finetune_reset(r->s.finetune);
    tune->step = 0;
    tune->steps = (uint64_t)llround(epochs * batches_an_epoch(r));
    tune->rate = rate_share * r->s.options.finetune.rate;
    tune->loss = 0.0;
    tune->top1 = tune->images = 0;
}

static bool is_last_step(const run *r)
{
    return r->st.kind == WTL_ROUND_STEP && targeted(r) &&
           r->st.goal <= r->s.options.target_energy;
}

static bool is_approach(const run *r)
{
    return r->st.kind == WTL_ROUND_STEP && r->st.approached && !is_last_step(r);
}

static double epochs_of_round(const run *r)
{
    const wtl_prune_options *o = &r->s.options;
    switch ((wtl_round_kind)r->st.kind) {
    case WTL_ROUND_STEP:
        if (is_last_step(r)) {
            return r->st.approached ? 0.5 * o->final_epochs : o->final_epochs;
        }
        return is_approach(r) ? 0.5 * o->final_epochs
                              : o->epochs / (r->s.method->cubic ? GRADUAL_STEPS : 1);
    case WTL_ROUND_CORRECT:
        return CORRECTION_EPOCHS * fmin(1.0, o->final_epochs);
    case WTL_ROUND_CHANCE:
    case WTL_ROUND_POLISH:
        break;
    }
    return o->final_epochs;
}

static void next_step(run *r)
{
    wtl_prune_state *st = &r->st;
    double target = r->s.options.target_energy, base = base_energy(r);
    st->kind = WTL_ROUND_STEP;
    st->stage = WTL_STAGE_PRUNE;
    st->campaign_round++;
    st->goal = base + (energy_now(r) - base) * st->step;
    if (targeted(r)) {
        double left = 1.0 - (double)st->campaign_round / (double)st->campaign_rounds;
        if (r->s.method->cubic && st->campaign_rounds != NO_LIMIT) { /* Zhu & Gupta 2017, (1) */
            st->goal = target + (st->campaign_from - target) * left * left * left;
        }
        if (left <= 0.0 || st->goal <= 1.02 * target) {
            bool near = r->s.method->cubic || st->approached || energy_now(r) < 1.1 * target ||
                        r->s.options.final_epochs == 0.0;
            st->goal = near ? target : APPROACH * target;
            st->approached = !near || st->approached;
        }
    }
}

/* Begin to head for the options' target and limit from the net as it is. */
static void begin_campaign(run *r)
{
    const wtl_prune_options *o = &r->s.options;
    wtl_prune_state *st = &r->st;
    double base = base_energy(r);
    int parts = r->s.method->cubic ? GRADUAL_STEPS : 1;
    st->target = o->target_energy;
    st->limit = o->max_drop;
    st->campaign_from = energy_now(r);
    st->campaign_round = 0;
    st->campaign_rounds = targeted(r) ? o->rounds * parts : NO_LIMIT;
    st->corrections = 0;
    st->approached = false;
    st->refinements = o->refinements > 0 ? o->refinements : 0;
    st->met = false;
    st->why[0] = '\0';
    st->step = pow(o->step, 1.0 / parts);
    if (targeted(r) && st->campaign_from > o->target_energy) {
        st->step = pow((o->target_energy - base) / (st->campaign_from - base),
                       1.0 / st->campaign_rounds);
    }
    next_step(r);
}

static void next_tuning(run *r, wtl_round_kind kind)
{
    r->st.kind = kind;
    r->st.stage = WTL_STAGE_TUNE;
    begin_tuning(r, epochs_of_round(r), 1.0);
}

/* ---- the end ---- */

static void give_reason(run *r, const char *format, ...) WTL_PRINTF(2, 3);
static void give_reason(run *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->st.why, sizeof r->st.why, format, arguments);
    va_end(arguments);
}

static void weigh(run *r)
{
    const wtl_prune_options *o = &r->s.options;
    wtl_prune_row row = row_of(r, r->st.present);
    bool cheap = !targeted(r) || row.energy <= o->target_energy * (1.0 + TOLERANCE);
    bool good = !limited(r) || row.drop <= o->max_drop + 1e-9;
    r->st.met = cheap && good;
    if (r->st.met || r->st.why[0]) {
        return;
    }
    if (!cheap && limited(r)) {
        give_reason(r, "below %.4g of the dense energy the network lost more than %g points",
                    row.energy, o->max_drop);
    } else if (!cheap) {
        give_reason(r, "the energy is %.4g of dense, %.4g was asked", row.energy,
                    o->target_energy);
    } else {
        give_reason(r, "%.2f points were lost, at most %g were asked", row.drop, o->max_drop);
    }
}

static wtl_status finish(run *r, wtl_error *err)
{
    r->st.stage = WTL_STAGE_FINISHED;
    weigh(r);
    wtl_status status = write_net(r, WTL_FILE_PRUNED, err);
    return status == WTL_OK ? plan_decision(r, "finished", r->st.why, err) : status;
}

/* No further: what held last is the result, after the fine-tuning that it did not have yet. */
static wtl_status conclude(run *r, wtl_error *err)
{
    bool polish = limited(r) && !targeted(r) && r->st.present > 0 && !r->st.polished &&
                  r->s.options.final_epochs > 0.0;
    if (!polish) {
        return finish(r, err);
    }
    next_tuning(r, WTL_ROUND_POLISH);
    return WTL_OK;
}

static wtl_status go_back(run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    wtl_status status = load_net(r, WTL_FILE_HELD, err);
    st->present = st->held;
    st->polished = st->held_polished;
    return status == WTL_OK ? plan_decision(r, "back", "to the last network that held", err)
                            : status;
}

static wtl_status lost(run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    bool tuned = st->kind == WTL_ROUND_CHANCE || st->kind == WTL_ROUND_POLISH ||
                 r->s.options.final_epochs == 0.0 || is_last_step(r);
    if (!tuned) {
        next_tuning(r, WTL_ROUND_CHANCE);
        return plan_decision(r, "second chance", "the round lost more than the limit", err);
    }
    bool was_polish = st->kind == WTL_ROUND_POLISH;
    wtl_status status = go_back(r, err);
    if (status != WTL_OK || was_polish) {
        return status == WTL_OK ? finish(r, err) : status;
    }
    if (st->refinements == 0) {
        return conclude(r, err);
    }
    st->refinements--;
    st->step = sqrt(st->step);
    st->campaign_rounds = NO_LIMIT; /* as long as it holds, now */
    next_step(r);
    return WTL_OK;
}

static wtl_status hold(run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    if (!limited(r)) {
        return WTL_OK;
    }
    st->held = st->present;
    st->held_polished = st->polished;
    wtl_status status = write_net(r, WTL_FILE_HELD, err);
    return status == WTL_OK ? plan_decision(r, "held", "", err) : status;
}

static wtl_status decide(run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    double target = r->s.options.target_energy;
    if (!st->rows[st->round_count - 1].held) {
        return lost(r, err);
    }
    bool was_last = is_last_step(r) || st->kind == WTL_ROUND_CORRECT;
    bool polished = st->kind == WTL_ROUND_POLISH;
    wtl_status status = hold(r, err);
    if (status != WTL_OK) {
        return status;
    }
    if (polished || (targeted(r) && energy_now(r) <= target * (1.0 + TOLERANCE))) {
        return finish(r, err);
    }
    if (!was_last) {
        next_step(r);
        return WTL_OK;
    }
    if (st->corrections == MOST_CORRECTIONS) {
        return finish(r, err);
    }
    st->corrections++;
    st->kind = WTL_ROUND_CORRECT;
    st->stage = WTL_STAGE_PRUNE;
    st->goal = target;
    return plan_decision(r, "corrected", "the zeros of activations changed in fine-tuning",
                         err);
}

/* ---- pruning ---- */

static void on_layer(void *context, const wtl_method_step *step)
{
    run *r = context;
    r->steps[step->layer] = *step;
    r->order[r->order_count++] = step->layer;
    if (r->hooks->event) {
        const wtl_prune_event event = {.kind = WTL_PRUNE_LAYER,
                                       .round = r->s.round,
                                       .layer =
                                           wtl_pricing_layer(r->s.pricing, step->layer).name,
                                       .layer_step = step};
        r->hooks->event(r->hooks->context, &event);
    }
}

static void on_progress(void *context, int done, int total)
{
    run *r = context;
    wtl_session_stage(&r->s, "prune", done, total);
}

static int on_stop(void *context)
{
    run *r = context;
    return wtl_session_stopped(&r->s);
}

static wtl_status scan(run *r, wtl_error *err)
{
    wtl_session *s = &r->s;
    int count = s->layer_count;
    wtl_sense sense = {0};
    const wtl_sense_options options = {.progress = on_progress, .stop = on_stop, .context = r};
    wtl_param **params = wtl_alloc((size_t)count, sizeof *params);
    r->sensitivity = wtl_alloc((size_t)count * WTL_SENSE_LEVELS, sizeof *r->sensitivity);
    wtl_status status = params && r->sensitivity
                            ? wtl_checkpoint_fill_net(s->dense, s->probe, err)
                            : wtl_fail(err, WTL_E_NOMEM, "out of memory for %d layers", count);
    for (int i = 0; i < count && status == WTL_OK; i++) {
        params[i] = wtl_net_find_param(s->probe, wtl_pricing_layer(s->pricing, i).weight);
    }
    if (status == WTL_OK) {
        status = wtl_sense_scan(&sense, s->probe, params, count, &s->search, &options, err);
    }
    for (int i = 0; i < sense.count && status == WTL_OK; i++) {
        const wtl_sense_row *row = &sense.rows[i],
                            *dense = &sense.rows[i - i % WTL_SENSE_LEVELS];
        r->sensitivity[i] = dense->top1 - row->top1;
    }
    wtl_sense_clear(&sense);
    wtl_free(params);
    return status;
}

/* One line a layer: in the order in which the method went, others behind. */
static wtl_status plan_layers(run *r, const size_t *kept_before, const double *energy_before,
                              wtl_error *err)
{
    wtl_session *s = &r->s;
    wtl_status status = WTL_OK;
    for (int i = 0; i < s->layer_count && status == WTL_OK; i++) {
        int l = i < r->order_count ? r->order[i] : i;
        if (r->order_count > 0 && i >= r->order_count) {
            break; /* it told about those that it touched */
        }
        const wtl_method_step *step = &r->steps[l];
        bool told = r->order_count > 0;
        wtl_priced_layer layer = wtl_pricing_layer(s->pricing, l);
        double nan = NAN;
        status = plan(r,
                      json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}",
                                "event", "layer", "round", r->s.round, "layer", layer.name,
                                "weights", (json_int_t)layer.weights, "kept_before",
                                (json_int_t)kept_before[l], "kept_after",
                                (json_int_t)wtl_mask_kept(s->layers[l].param), "energy_before",
                                real(energy_before[l]), "energy_after",
                                real(wtl_pricing_cost(s->pricing, l, s->nonzeros[l])),
                                "error_before", real(told ? step->error_before : nan),
                                "error_removal", real(told ? step->error_removal : nan),
                                "error_restoral", real(told ? step->error_restoral : nan),
                                "error", real(told ? step->error : nan)),
                      err);
    }
    return status;
}

static wtl_status ask_method(run *r, double goal, wtl_error *err)
{
    wtl_session *s = &r->s;
    size_t count = (size_t)s->layer_count;
    size_t *kept = wtl_alloc(count, sizeof *kept);
    double *energy = wtl_alloc(count, sizeof *energy);
    wtl_status status =
        kept && energy ? WTL_OK : wtl_fail(err, WTL_E_NOMEM, "out of memory for layers");
    for (size_t i = 0; i < count && status == WTL_OK; i++) {
        kept[i] = wtl_mask_kept(s->layers[i].param);
        energy[i] = wtl_pricing_cost(s->pricing, (int)i, s->nonzeros[i]);
    }
    const wtl_method_context context = {.net = s->net,
                                        .probe = s->probe,
                                        .original = s->original,
                                        .pricing = s->pricing,
                                        .sample = &s->search,
                                        .layers = s->layers,
                                        .goal_energy = goal,
                                        .round = r->st.round_count,
                                        .seed = s->options.seed,
                                        .threads = s->options.threads,
                                        .options = &s->options.how,
                                        .sensitivity = r->sensitivity,
                                        .report = on_layer,
                                        .progress = on_progress,
                                        .stop = on_stop,
                                        .context = r};
    r->order_count = 0;
    if (status == WTL_OK) {
        status = s->method->prune(&context, err);
    }
    if (status == WTL_OK) {
        wtl_pricing_nonzeros(s->pricing, s->net, s->nonzeros);
        r->st.pruned_to = wtl_pricing_total(s->pricing, s->nonzeros) / r->st.dense_energy;
        status = plan_layers(r, kept, energy, err);
    }
    wtl_free(kept);
    wtl_free(energy);
    return status;
}

static wtl_status no_further(run *r, double floor, wtl_error *err)
{
    if (targeted(r)) {
        give_reason(
            r, "the energy cannot fall below %.4g of dense with the weights that must stay",
            floor);
    }
    wtl_status status = conclude(r, err);
    return status == WTL_OK ? save(r, err) : status;
}

static wtl_status prune_stage(run *r, wtl_error *err)
{
    wtl_session *s = &r->s;
    wtl_prune_state *st = &r->st;
    wtl_energy_now energy;
    wtl_status status = WTL_OK;
    if (s->method->wants_sense && !r->sensitivity) {
        status = scan(r, err);
    }
    if (status == WTL_OK) {
        status = wtl_session_measure(s, false, &energy, err);
    }
    if (status == WTL_OK) {
        status = wtl_session_limit(s, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    /* The zeros of activations change in fine-tuning: aim so that the target comes out. */
    double aim = st->goal;
    if (is_last_step(r) && !limited(r) && epochs_of_round(r) > 0.0) {
        double drift = fmin(fmax(st->drift, 0.95), 1.05);
        drift = st->approached ? 1.0 + APPROACH_DRIFT * (drift - 1.0) : drift;
        aim *= (1.0 + MARGIN) / drift;
    }
    double floor = wtl_method_floor(s->pricing, s->layers);
    if (aim * st->dense_energy < floor) {
        return no_further(r, floor / st->dense_energy, err);
    }
    double density = wtl_session_density(s);
    status = ask_method(r, aim * st->dense_energy, err);
    if (status != WTL_OK) {
        return status;
    }
    if (wtl_session_density(s) >= density && !targeted(r)) {
        status = load_net(r, WTL_FILE_HELD, err); /* nothing went */
        return status == WTL_OK ? no_further(r, floor / st->dense_energy, err) : status;
    }
    bool correction = st->kind == WTL_ROUND_CORRECT;
    begin_tuning(r, epochs_of_round(r), correction ? CORRECTION_RATE : 1.0);
    st->stage = WTL_STAGE_TUNE;
    return save(r, err);
}

/* ---- fine-tuning ---- */

typedef struct ticker {
    run *r;
    wtl_status status; /* of saving */
    wtl_error *err;
    bool stopped;
} ticker;

static void show_tuning(const run *r, const wtl_finetune_state *tune)
{
    if (r->hooks->event) {
        double images = tune->images ? (double)tune->images : 1.0;
        const wtl_prune_event event = {.kind = WTL_PRUNE_STAGE,
                                       .round = r->s.round,
                                       .rounds = r->s.rounds,
                                       .stage = "fine-tune",
                                       .done = (long)tune->step,
                                       .total = (long)tune->steps,
                                       .loss = tune->loss / images,
                                       .top1 = wtl_percent(tune->top1, tune->images)};
        r->hooks->event(r->hooks->context, &event);
    }
}

static int on_tick(void *context, const wtl_finetune_state *tune)
{
    ticker *t = context;
    run *r = t->r;
    show_tuning(r, tune);
    if (tune->step == tune->steps) {
        return 0;
    }
    t->stopped = wtl_session_stopped(&r->s) != 0;
    bool due =
        r->hooks->seconds && clock_now(r) - r->last_save >= 60.0 * r->s.options.save_minutes;
    if (t->stopped || due) {
        r->st.tune = *tune;
        t->status = save(r, t->err);
    }
    return t->stopped || t->status != WTL_OK;
}

static wtl_status stopped(const run *r, wtl_error *err)
{
    return wtl_fail(err, WTL_E_STOPPED, "stopped in round %d; saved, ready to resume",
                    r->s.round);
}

static wtl_status tune_stage(run *r, wtl_error *err)
{
    ticker t = {.r = r, .err = err};
    wtl_finetune_state tune = r->st.tune;
    wtl_status status = wtl_finetune_run(r->s.finetune, &tune, on_tick, &t, err);
    r->st.tune = tune;
    if (status == WTL_OK && t.status != WTL_OK) {
        return t.status;
    }
    if (status == WTL_OK && t.stopped) {
        return stopped(r, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    r->st.stage = WTL_STAGE_JUDGE;
    return save(r, err);
}

/* ---- judging ---- */

static double metric(const run *r, double top1, double top5)
{
    return r->s.options.metric == WTL_METRIC_TOP5 ? top5 : top1;
}

static void fill_scores(const run *r, wtl_prune_row *row, const wtl_scores *scores)
{
    const wtl_prune_state *st = &r->st;
    row->val_loss = scores->loss / (double)scores->images;
    row->val_top1 = wtl_percent(scores->top1, scores->images);
    row->val_top5 = wtl_percent(scores->top5, scores->images);
    row->drop =
        metric(r, st->dense_top1, st->dense_top5) - metric(r, row->val_top1, row->val_top5);
    row->held = !limited(r) || row->drop <= r->s.options.max_drop + 1e-9;
}

static wtl_status tell_round(run *r, const wtl_prune_row *row, wtl_error *err)
{
    if (r->hooks->event) {
        const wtl_prune_event event = {.kind = WTL_PRUNE_ROUND,
                                       .round = r->s.round,
                                       .rounds = r->s.rounds,
                                       .goal = row->goal,
                                       .energy = row->energy,
                                       .density = row->density,
                                       .loss = row->val_loss,
                                       .top1 = row->val_top1,
                                       .top5 = row->val_top5,
                                       .drop = row->drop};
        r->hooks->event(r->hooks->context, &event);
    }
    return plan(r,
                json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:f}",
                          "event", "round", "round", r->s.round, "goal", row->goal, "energy",
                          row->energy, "density", row->density, "val_loss", row->val_loss,
                          "val_top1", row->val_top1, "val_top5", row->val_top5, "drop",
                          row->drop, "epochs", row->epochs, "held", (int)row->held,
                          "top1_train", wtl_percent(r->st.tune.top1, r->st.tune.images)),
                err);
}

static wtl_status judge_stage(run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    wtl_energy_now energy;
    wtl_scores scores;
    wtl_prune_row row = {.goal = st->goal,
                         .epochs = (double)st->tune.steps / batches_an_epoch(r),
                         .seconds = seconds(r)};
    wtl_status status = wtl_session_recalibrate(&r->s, err);
    if (status == WTL_OK) {
        status = wtl_session_measure(&r->s, false, &energy, err);
    }
    if (status == WTL_OK) {
        status = wtl_session_judge(&r->s, &scores, err);
    }
    if (status != WTL_OK) {
        return status;
    }
    row.energy = energy.search / st->dense_energy;
    row.density = wtl_session_density(&r->s);
    fill_scores(r, &row, &scores);
    if (st->kind == WTL_ROUND_STEP && st->pruned_to > 0.0) {
        st->drift = row.energy / st->pruned_to;
    }
    st->epochs += row.epochs;
    status = wtl_prune_state_add(st, &row, err);
    st->present = st->round_count;
    st->polished =
        st->kind == WTL_ROUND_CHANCE || st->kind == WTL_ROUND_POLISH || is_last_step(r);
    if (status == WTL_OK) {
        status = tell_round(r, &row, err);
    }
    if (status == WTL_OK) {
        status = wtl_prune_folder_write_metrics(r->folder, st, err);
    }
    if (status == WTL_OK) {
        status = decide(r, err);
    }
    return status == WTL_OK ? save(r, err) : status;
}

/* ---- the way through ---- */

static wtl_status go(run *r, wtl_error *err)
{
    wtl_status status = WTL_OK;
    while (status == WTL_OK && r->st.stage != WTL_STAGE_FINISHED) {
        r->s.round = r->st.round_count + 1;
        r->s.rounds = r->st.campaign_rounds < NO_LIMIT
                          ? r->s.round - r->st.campaign_round + r->st.campaign_rounds
                          : 0;
        switch ((wtl_round_stage)r->st.stage) {
        case WTL_STAGE_PRUNE:
            status = prune_stage(r, err);
            break;
        case WTL_STAGE_TUNE:
            status = tune_stage(r, err);
            break;
        case WTL_STAGE_JUDGE:
            status = judge_stage(r, err);
            break;
        case WTL_STAGE_FINISHED:
            break;
        }
        if (status == WTL_OK && wtl_session_stopped(&r->s) &&
            r->st.stage != WTL_STAGE_FINISHED) {
            status = stopped(r, err);
        }
    }
    return status == WTL_E_STOPPED ? stopped(r, err) : status;
}

/* ---- beginning and resuming ---- */

/* The dense net: its energy, its floor, its accuracy. */
static wtl_status look_at_dense(run *r, wtl_error *err)
{
    wtl_session *s = &r->s;
    wtl_prune_state *st = &r->st;
    wtl_energy_now energy;
    wtl_scores scores;
    wtl_status status = wtl_session_measure(s, true, &energy, err);
    if (status != WTL_OK) {
        return status;
    }
    st->dense_energy = energy.search;
    st->dense_held_out = energy.held_out;
    st->floor = wtl_method_floor(s->pricing, s->layers) / energy.search;
    st->drift = 1.0;
    if (targeted(r) && s->options.target_energy < st->floor) {
        return wtl_fail(
            err, WTL_E_GOAL,
            "an energy of %g of dense cannot be reached on %s: with every prunable "
            "weight gone, and activations as they are, %.4g of it is left; ask for more",
            s->options.target_energy, s->hardware.name, st->floor);
    }
    status = wtl_session_judge(s, &scores, err);
    if (status == WTL_OK) {
        note(r, "dense: energy %.4g an image on %s, of which %.1f %% is out of pruning's reach",
             st->dense_energy, s->hardware.name, 100.0 * st->floor);
        st->dense_loss = scores.loss / (double)scores.images;
        st->dense_top1 = wtl_percent(scores.top1, scores.images);
        st->dense_top5 = wtl_percent(scores.top5, scores.images);
        st->train_hash = wtl_dataset_hash(s->train);
        st->val_hash = wtl_dataset_hash(s->val);
        note(r, "dense: val Acc@1 %.2f Acc@5 %.2f on %ld images", st->dense_top1,
             st->dense_top5, scores.images);
    }
    return status;
}

static wtl_status copy_dense(run *r, wtl_error *err)
{
    unsigned char *bytes;
    size_t length;
    wtl_status status =
        wtl_file_read_plain(r->s.options.checkpoint, SIZE_MAX / 2, &bytes, &length, err);
    if (status == WTL_OK) {
        status = wtl_file_write(wtl_prune_folder_path(r->folder, WTL_FILE_DENSE), bytes, length,
                                err);
        wtl_free(bytes);
    }
    return status;
}

static wtl_status begin(run *r, bool has_copy, wtl_error *err)
{
    wtl_status status = look_at_dense(r, err);
    if (status == WTL_OK) {
        status = wtl_prune_folder_begin(r->folder, err);
    }
    if (status == WTL_OK && !has_copy) {
        status = copy_dense(r, err);
    }
    begin_campaign(r);
    return status;
}

static wtl_status check_data(const run *r, wtl_error *err)
{
    if (wtl_dataset_hash(r->s.train) != r->st.train_hash ||
        wtl_dataset_hash(r->s.val) != r->st.val_hash) {
        return wtl_fail(err, WTL_E_ARG, "%s: the data are not those the run began with",
                        r->s.options.data);
    }
    return WTL_OK;
}

static wtl_status restore(run *r, wtl_error *err)
{
    wtl_checkpoint *checkpoint;
    const char *path = wtl_prune_folder_path(r->folder, WTL_FILE_LAST);
    wtl_status status = wtl_checkpoint_read(&checkpoint, path, err);
    if (status != WTL_OK) {
        return status;
    }
    status = wtl_prune_state_load(&r->st, checkpoint, path, err);
    if (status == WTL_OK) {
        status = check_data(r, err);
    }
    if (status == WTL_OK) {
        status = wtl_checkpoint_fill_net(checkpoint, r->s.net, err);
    }
    if (status == WTL_OK) {
        status = wtl_finetune_load(r->s.finetune, checkpoint, err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}

/* A finished run that is asked for more goes on. */
static wtl_status extend(run *r, wtl_error *err)
{
    const wtl_prune_options *o = &r->s.options;
    wtl_prune_state *st = &r->st;
    bool other = st->target != o->target_energy || st->limit != o->max_drop;
    if (!other) {
        return WTL_OK;
    }
    if (st->stage != WTL_STAGE_FINISHED) {
        return wtl_fail(err, WTL_E_ARG,
                        "the run is still on its way to another goal: resume it without one "
                        "first");
    }
    if (targeted(r) && o->target_energy < st->floor) {
        return wtl_fail(
            err, WTL_E_GOAL,
            "an energy of %g of dense cannot be reached: with every prunable weight "
            "gone, and activations as they are, %.4g of it is left; ask for more",
            o->target_energy, st->floor);
    }
    st->held = st->present;
    st->held_polished = st->polished;
    begin_campaign(r);
    return limited(r) ? write_net(r, WTL_FILE_HELD, err) : WTL_OK;
}

static wtl_status open_run(run *r, const char *path, const wtl_prune_options *options,
                           bool resume, bool force, wtl_error *err)
{
    wtl_prune_options o;
    wtl_status status = wtl_prune_folder_create(&r->folder, path, err);
    if (status != WTL_OK) {
        return status;
    }
    if (!resume && !force && wtl_prune_folder_has(r->folder, WTL_FILE_LAST)) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s: holds a run already; resume it, overwrite it by force, or choose "
                        "another folder",
                        path);
    }
    if (resume) {
        status = wtl_prune_folder_read_config(r->folder, &o, err);
    } else {
        o = *options;
    }
    if (status == WTL_OK && resume && options) {
        o.threads = options->threads ? options->threads : o.threads;
        o.target_energy = options->target_energy > 0 ? options->target_energy : o.target_energy;
        o.max_drop = options->max_drop >= 0 ? options->max_drop : o.max_drop;
        o.rounds = options->rounds ? options->rounds : o.rounds;
    }
    if (status == WTL_OK) {
        status = wtl_prune_resolve(&o, err);
    }
    if (status == WTL_OK && o.target_energy <= 0 && o.max_drop < 0) {
        status = wtl_fail(err, WTL_E_ARG, "a target energy or a largest drop is to be given");
    }
    if (status != WTL_OK) {
        return status;
    }
    bool has_copy = resume && wtl_prune_folder_has(r->folder, WTL_FILE_DENSE);
    bool interrupted = resume && wtl_prune_folder_has(r->folder, WTL_FILE_LAST);
    const char *dense =
        has_copy ? wtl_prune_folder_path(r->folder, WTL_FILE_DENSE) : o.checkpoint;
    status = wtl_session_open(&r->s, &o, dense, r->hooks, err);
    if (status == WTL_OK) {
        status = interrupted ? restore(r, err) : begin(r, has_copy, err);
    }
    return status == WTL_OK && interrupted ? extend(r, err) : status;
}

static wtl_status write_folder(run *r, wtl_error *err)
{
    size_t layers = (size_t)r->s.layer_count;
    wtl_status status = wtl_prune_folder_write_config(r->folder, &r->s.options, err);
    if (status == WTL_OK) {
        status = wtl_prune_folder_write_env(r->folder, &r->s, err);
    }
    if (status == WTL_OK) {
        status = wtl_prune_folder_open_plan(r->folder, &r->st, &r->earlier, err);
    }
    if (status == WTL_OK) {
        status = wtl_prune_folder_write_metrics(r->folder, &r->st, err);
    }
    r->steps = wtl_alloc(layers, sizeof *r->steps);
    r->order = wtl_alloc(layers, sizeof *r->order);
    if (status == WTL_OK && (!r->steps || !r->order)) {
        status = wtl_fail(err, WTL_E_NOMEM, "out of memory for %zu layers", layers);
    }
    if (status == WTL_OK && r->st.stage != WTL_STAGE_FINISHED && r->st.plan_lines == 0) {
        status = plan(r,
                      json_pack("{s:s, s:i, s:f, s:f, s:f, s:f}", "event", "begin", "round", 0,
                                "dense_energy", r->st.dense_energy, "floor", r->st.floor,
                                "top1", r->st.dense_top1, "top5", r->st.dense_top5),
                      err);
        if (status == WTL_OK) {
            status = hold(r, err);
        }
        status = status == WTL_OK ? save(r, err) : status;
    }
    return status;
}

static void close_run(run *r)
{
    wtl_free(r->steps);
    wtl_free(r->order);
    wtl_free(r->sensitivity);
    wtl_prune_state_clear(&r->st);
    wtl_session_close(&r->s);
    wtl_prune_folder_free(r->folder);
}

wtl_status wtl_prune(const char *path, const wtl_prune_options *options, bool resume,
                     bool force, const wtl_prune_hooks *hooks, wtl_prune_result *result,
                     wtl_error *err)
{
    static const wtl_prune_hooks none = {0};
    run r = {.hooks = hooks ? hooks : &none};
    wtl_prune_result spare;
    r.began = clock_now(&r);
    wtl_status status = open_run(&r, path, options, resume, force, err);
    if (status == WTL_OK) {
        status = write_folder(&r, err);
    }
    r.last_save = clock_now(&r);
    if (status == WTL_OK) {
        status = go(&r, err);
    }
    if (status == WTL_OK) {
        status = wtl_prune_certify(&r.s, &r.st, r.folder, seconds(&r), result ? result : &spare,
                                   err);
    }
    close_run(&r);
    return status;
}
