/* run.c - the course of a pruning run.
 *
 * A round is PRUNE, TUNE, JUDGE; after it wtl_run_decide() says what the next one is. last.wtl is
 * written after PRUNE, within and after TUNE, and after the decision, always with plan.jsonl
 * already behind it: a run that is resumed does again what came after, with the same outcome.
 */
#include "certificate.h"
#include "run_private.h"

#include "wattle/json.h"
#include "wattle/memory.h"
#include "wattle/sense.h"

#include <math.h>
#include <stdio.h>

/* The last step stays above the target: weights do not come back, so a correction can only take
 * away. */
static const double MARGIN = 0.002, APPROACH_DRIFT = 0.2;
/* A correction is small: so is its learning rate. */
static const double CORRECTION_RATE = 0.1;

/* ---- pruning ---- */

static void on_layer(void *context, const wtl_method_step *step)
{
    wtl_run *r = context;
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
    wtl_run *r = context;
    wtl_session_stage(&r->s, "prune", done, total);
}

static int on_stop(void *context)
{
    wtl_run *r = context;
    return wtl_session_stopped(&r->s);
}

static wtl_status scan(wtl_run *r, wtl_error *err)
{
    wtl_session *s = &r->s;
    int count = s->layer_count;
    wtl_sense sense = {0};
    const wtl_sense_options options = {.granularity = s->options.how.granularity,
                                       .progress = on_progress,
                                       .stop = on_stop,
                                       .context = r};
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

static wtl_status plan_layer(wtl_run *r, int l, size_t kept_before, double energy_before,
                             wtl_error *err)
{
    const wtl_session *s = &r->s;
    const wtl_method_step *step = &r->steps[l];
    wtl_priced_layer layer = wtl_pricing_layer(s->pricing, l);
    return wtl_run_plan(
        r,
        json_pack("{s:s, s:i, s:s, s:I, s:I, s:I, s:o, s:o, s:o, s:o, s:o, s:o}", "event",
                  "layer", "round", s->round, "layer", layer.name, "weights",
                  (json_int_t)layer.weights, "kept_before", (json_int_t)kept_before,
                  "kept_after", (json_int_t)wtl_mask_kept(s->layers[l].param), "energy_before",
                  wtl_json_real(energy_before), "energy_after",
                  wtl_json_real(wtl_pricing_cost(s->pricing, l, s->nonzeros[l])),
                  "error_before", wtl_json_real(step->error_before), "error_removal",
                  wtl_json_real(step->error_removal), "error_restoral",
                  wtl_json_real(step->error_restoral), "error", wtl_json_real(step->error)),
        err);
}

/* One line a layer: those that the method told about, in its order; all, if it told nothing. */
static wtl_status plan_layers(wtl_run *r, const size_t *kept_before,
                              const double *energy_before, wtl_error *err)
{
    bool told = r->order_count > 0;
    int count = told ? r->order_count : r->s.layer_count;
    wtl_status status = WTL_OK;
    for (int i = 0; i < count && status == WTL_OK; i++) {
        int l = told ? r->order[i] : i;
        status = plan_layer(r, l, kept_before[l], energy_before[l], err);
    }
    return status;
}

static wtl_status ask_method(wtl_run *r, double goal, wtl_error *err)
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
        r->steps[i] = (wtl_method_step){
            .error_before = NAN, .error_removal = NAN, .error_restoral = NAN, .error = NAN};
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

static wtl_status no_further(wtl_run *r, wtl_error *err)
{
    wtl_status status = wtl_run_conclude(r, err);
    return status == WTL_OK ? wtl_run_save(r, err) : status;
}

static wtl_status below_floor(wtl_run *r, double floor, wtl_error *err)
{
    if (wtl_run_targeted(r)) {
        wtl_run_reason(
            r, "the energy cannot fall below %.4g of dense with the weights that must stay",
            floor);
    }
    return no_further(r, err);
}

static wtl_status prune_stage(wtl_run *r, wtl_error *err)
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
    double aim = st->goal, floor = wtl_method_floor(s->pricing, s->layers);
    if (wtl_run_is_last_step(r) && !wtl_run_limited(r) && wtl_run_epochs(r) > 0.0) {
        double drift = fmin(fmax(st->drift, 0.95), 1.05);
        drift = st->approached ? 1.0 + APPROACH_DRIFT * (drift - 1.0) : drift;
        aim *= (1.0 + MARGIN) / drift;
    }
    if (fmax(aim, st->goal) * st->dense_energy < floor) {
        return below_floor(r, floor / st->dense_energy, err);
    }
    double density = wtl_session_density(s);
    status = ask_method(r, fmax(aim * st->dense_energy, floor), err);
    if (status != WTL_OK) {
        return status;
    }
    if (wtl_session_density(s) >= density && st->campaign_rounds == WTL_NO_ROUNDS &&
        !wtl_run_is_last_step(r)) {
        status = wtl_run_load(r, WTL_FILE_HELD, err); /* nothing went, and nothing will */
        return status == WTL_OK ? no_further(r, err) : status;
    }
    bool correction = st->kind == WTL_ROUND_CORRECT;
    wtl_run_begin_tuning(r, wtl_run_epochs(r), correction ? CORRECTION_RATE : 1.0);
    st->stage = WTL_STAGE_TUNE;
    return wtl_run_save(r, err);
}

/* ---- fine-tuning ---- */

typedef struct ticker {
    wtl_run *r;
    wtl_status status; /* of saving */
    wtl_error *err;
    bool stopped;
} ticker;

static void show_tuning(const wtl_run *r, const wtl_finetune_state *tune)
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
    wtl_run *r = t->r;
    show_tuning(r, tune);
    if (tune->step == tune->steps) {
        return 0;
    }
    t->stopped = wtl_session_stopped(&r->s) != 0;
    bool due = r->hooks->seconds &&
               wtl_run_clock(r) - r->last_save >= 60.0 * r->s.options.save_minutes;
    if (t->stopped || due) {
        r->st.tune = *tune;
        t->status = wtl_run_save(r, t->err);
    }
    return t->stopped || t->status != WTL_OK;
}

static wtl_status stopped(const wtl_run *r, wtl_error *err)
{
    return wtl_fail(err, WTL_E_STOPPED, "stopped in round %d; saved, ready to resume",
                    r->s.round);
}

static wtl_status tune_stage(wtl_run *r, wtl_error *err)
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
    return wtl_run_save(r, err);
}

/* ---- judging ---- */

static double metric(const wtl_run *r, double top1, double top5)
{
    return r->s.options.metric == WTL_METRIC_TOP5 ? top5 : top1;
}

static void fill_scores(const wtl_run *r, wtl_prune_row *row, const wtl_scores *scores)
{
    const wtl_prune_state *st = &r->st;
    row->val_loss = scores->loss / (double)scores->images;
    row->val_top1 = wtl_percent(scores->top1, scores->images);
    row->val_top5 = wtl_percent(scores->top5, scores->images);
    row->drop =
        metric(r, st->dense_top1, st->dense_top5) - metric(r, row->val_top1, row->val_top5);
    row->held = !wtl_run_limited(r) || row->drop <= r->s.options.max_drop + 1e-9;
}

static wtl_status tell_round(wtl_run *r, const wtl_prune_row *row, wtl_error *err)
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
    return wtl_run_plan(
        r,
        json_pack("{s:s, s:i, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:f, s:b, s:f}", "event",
                  "round", "round", r->s.round, "goal", row->goal, "energy", row->energy,
                  "density", row->density, "val_loss", row->val_loss, "val_top1", row->val_top1,
                  "val_top5", row->val_top5, "drop", row->drop, "epochs", row->epochs, "held",
                  (int)row->held, "top1_train",
                  wtl_percent(r->st.tune.top1, r->st.tune.images)),
        err);
}

static wtl_status judge_stage(wtl_run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    wtl_energy_now energy;
    wtl_scores scores;
    wtl_prune_row row = {.goal = st->goal,
                         .epochs = (double)st->tune.steps / wtl_run_batches(r),
                         .seconds = wtl_run_seconds(r)};
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
        st->kind == WTL_ROUND_CHANCE || st->kind == WTL_ROUND_POLISH || wtl_run_is_last_step(r);
    if (status == WTL_OK) {
        status = tell_round(r, &row, err);
    }
    if (status == WTL_OK) {
        status = wtl_prune_folder_write_metrics(r->folder, st, err);
    }
    if (status == WTL_OK) {
        status = wtl_run_decide(r, err);
    }
    return status == WTL_OK ? wtl_run_save(r, err) : status;
}

/* ---- the way through ---- */

static wtl_status go(wtl_run *r, wtl_error *err)
{
    wtl_status status = WTL_OK;
    while (status == WTL_OK && r->st.stage != WTL_STAGE_FINISHED) {
        r->s.round = r->st.round_count + 1;
        r->s.rounds = r->st.campaign_rounds < WTL_NO_ROUNDS
                          ? r->s.round - r->st.campaign_round + r->st.campaign_rounds
                          : 0;
        if (r->s.rounds > 0 && r->s.rounds < r->s.round) {
            r->s.rounds = r->s.round; /* corrections, and a step before the last */
        }
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

wtl_status wtl_prune(const char *path, const wtl_prune_options *options, bool resume,
                     bool force, const wtl_prune_hooks *hooks, wtl_prune_result *result,
                     wtl_error *err)
{
    static const wtl_prune_hooks none = {0};
    wtl_run r = {.hooks = hooks ? hooks : &none};
    wtl_prune_result spare;
    r.began = wtl_run_clock(&r);
    wtl_status status = wtl_run_open(&r, path, options, resume, force, err);
    if (status == WTL_OK) {
        status = wtl_run_write_folder(&r, err);
    }
    r.last_save = wtl_run_clock(&r);
    if (status == WTL_OK) {
        status = go(&r, err);
    }
    if (status == WTL_OK) {
        status = wtl_prune_certify(&r.s, &r.st, r.folder, wtl_run_seconds(&r),
                                   result ? result : &spare, err);
    }
    wtl_run_close(&r);
    return status;
}
