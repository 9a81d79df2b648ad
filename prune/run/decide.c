/* decide.c - what the next round of a run does, and when there is none. */
#include "run_private.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

enum { MOST_CORRECTIONS = 3 };
/* A step that would end this near the target goes to it; but not when a run that went back takes
 * smaller steps: it would take the one again that lost too much. */
static const double SNAP = 1.02;
/* The target is approached from a little above, with half of the last fine-tuning, so that
 * little is left to change the zeros of activations after the last weights went. */
static const double APPROACH = 1.03;
/* A correction is small: so are its epochs. */
static const double CORRECTION_EPOCHS = 0.25;

/* What a step leaves alone: nearly the floor, and below every target. */
static double base_energy(const wtl_run *r)
{
    double floor = fmin(r->st.floor, wtl_run_energy(r)); /* zeros of activations lower it */
    double target = r->s.options.target_energy;
    return 0.9 * (wtl_run_targeted(r) && target < floor ? target : floor);
}

/* ---- what comes next ---- */

void wtl_run_begin_tuning(wtl_run *r, double epochs, double rate_share)
{
    wtl_finetune_state *tune = &r->st.tune;
    wtl_finetune_reset(r->s.finetune);
    tune->step = 0;
    tune->steps = (uint64_t)llround(epochs * wtl_run_batches(r));
    tune->rate = rate_share * r->s.options.finetune.rate;
    tune->loss = 0.0;
    tune->top1 = tune->images = 0;
}

bool wtl_run_is_last_step(const wtl_run *r)
{
    return r->st.kind == WTL_ROUND_STEP && wtl_run_targeted(r) &&
           r->st.goal <= r->s.options.target_energy;
}

static bool is_approach(const wtl_run *r)
{
    return r->st.kind == WTL_ROUND_STEP && r->st.approached && !wtl_run_is_last_step(r);
}

double wtl_run_epochs(const wtl_run *r)
{
    const wtl_prune_options *o = &r->s.options;
    switch ((wtl_round_kind)r->st.kind) {
    case WTL_ROUND_STEP:
        if (wtl_run_is_last_step(r)) {
            return r->st.approached ? 0.5 * o->final_epochs : o->final_epochs;
        }
        return is_approach(r) ? 0.5 * o->final_epochs
                              : o->epochs / (r->s.method->cubic ? WTL_GRADUAL_STEPS : 1);
    case WTL_ROUND_CORRECT:
        return CORRECTION_EPOCHS * fmin(1.0, o->final_epochs);
    case WTL_ROUND_CHANCE:
    case WTL_ROUND_POLISH:
        break;
    }
    return o->final_epochs;
}

static void next_step(wtl_run *r)
{
    wtl_prune_state *st = &r->st;
    double target = r->s.options.target_energy, base = base_energy(r);
    st->kind = WTL_ROUND_STEP;
    st->stage = WTL_STAGE_PRUNE;
    st->campaign_round++;
    st->goal = base + (wtl_run_energy(r) - base) * st->step;
    if (wtl_run_targeted(r)) {
        bool cubic = r->s.method->cubic && st->campaign_rounds != WTL_NO_ROUNDS;
        double left = 1.0 - (double)st->campaign_round / (double)st->campaign_rounds;
        if (cubic) { /* Zhu & Gupta 2017, (1) */
            st->goal = target + (st->campaign_from - target) * left * left * left;
        }
        double snap = st->campaign_rounds == WTL_NO_ROUNDS ? 1.0 + WTL_ENERGY_TOLERANCE : SNAP;
        if (left <= 0.0 || (!cubic && st->goal <= snap * target)) {
            bool near = r->s.method->cubic || st->approached ||
                        wtl_run_energy(r) < 1.1 * target || r->s.options.final_epochs == 0.0;
            st->goal = near ? target : APPROACH * target;
            st->approached = !near || st->approached;
        }
    }
}

/* The energy fell below the target before the last step: what is left of it is its
 * fine-tuning, so that no method gets away with less of it. */
static void last_step(wtl_run *r)
{
    next_step(r);
    r->st.goal = r->s.options.target_energy;
}

/* Begin to head for the options' target and limit from the net as it is. */
void wtl_run_begin_campaign(wtl_run *r)
{
    const wtl_prune_options *o = &r->s.options;
    wtl_prune_state *st = &r->st;
    double base = base_energy(r);
    int parts = r->s.method->cubic ? WTL_GRADUAL_STEPS : 1;
    st->target = o->target_energy;
    st->limit = o->max_drop;
    st->campaign_from = wtl_run_energy(r);
    st->campaign_round = 0;
    st->campaign_rounds = wtl_run_targeted(r) ? o->rounds * parts : WTL_NO_ROUNDS;
    st->corrections = 0;
    st->approached = false;
    st->refinements = o->refinements > 0 ? o->refinements : 0;
    st->met = false;
    st->why[0] = '\0';
    st->step = pow(o->step, 1.0 / parts);
    if (wtl_run_targeted(r) && st->campaign_from > o->target_energy) {
        st->step = pow((o->target_energy - base) / (st->campaign_from - base),
                       1.0 / st->campaign_rounds);
    }
    next_step(r);
}

static void next_tuning(wtl_run *r, wtl_round_kind kind)
{
    r->st.kind = kind;
    r->st.stage = WTL_STAGE_TUNE;
    wtl_run_begin_tuning(r, wtl_run_epochs(r), 1.0);
}

/* ---- the end ---- */

void wtl_run_reason(wtl_run *r, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(r->st.why, sizeof r->st.why, format, arguments);
    va_end(arguments);
}

static void weigh(wtl_run *r)
{
    const wtl_prune_options *o = &r->s.options;
    wtl_prune_row row = wtl_run_row(r, r->st.present);
    bool cheap =
        !wtl_run_targeted(r) || row.energy <= o->target_energy * (1.0 + WTL_ENERGY_TOLERANCE);
    bool good = !wtl_run_limited(r) || row.drop <= o->max_drop + 1e-9;
    r->st.met = cheap && good;
    if (r->st.met) {
        r->st.why[0] = '\0';
    }
    if (r->st.met || r->st.why[0]) {
        return;
    }
    if (!cheap && wtl_run_limited(r)) {
        wtl_run_reason(r, "below %.4g of the dense energy the network lost more than %g points",
                       row.energy, o->max_drop);
    } else if (!cheap) {
        wtl_run_reason(r, "the energy is %.4g of dense, %.4g was asked", row.energy,
                       o->target_energy);
    } else {
        wtl_run_reason(r, "%.2f points were lost, at most %g were asked", row.drop,
                       o->max_drop);
    }
}

static wtl_status finish(wtl_run *r, wtl_error *err)
{
    r->st.stage = WTL_STAGE_FINISHED;
    weigh(r);
    wtl_status status = wtl_run_write(r, WTL_FILE_PRUNED, err);
    if (status == WTL_OK && wtl_session_density(&r->s) < 1.0) {
        status = wtl_mask_save(r->s.net, wtl_prune_folder_path(r->folder, WTL_FILE_MASKS), err);
    }
    return status == WTL_OK ? wtl_run_decided(r, "finished", r->st.why, err) : status;
}

/* No further: what held last is the result, after the fine-tuning that it did not have yet. */
wtl_status wtl_run_conclude(wtl_run *r, wtl_error *err)
{
    bool polish = wtl_run_limited(r) && !wtl_run_targeted(r) && r->st.present > 0 &&
                  !r->st.polished && r->s.options.final_epochs > 0.0;
    if (!polish) {
        return finish(r, err);
    }
    r->st.goal = wtl_run_row(r, r->st.present).goal;
    next_tuning(r, WTL_ROUND_POLISH);
    return WTL_OK;
}

static wtl_status go_back(wtl_run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    wtl_status status = wtl_run_load(r, WTL_FILE_HELD, err);
    st->present = st->held;
    st->polished = st->held_polished;
    st->approached = false; /* what comes now are ordinary steps again */
    return status == WTL_OK ? wtl_run_decided(r, "back", "to the last network that held", err)
                            : status;
}

static wtl_status lost(wtl_run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    bool tuned = st->kind == WTL_ROUND_CHANCE || st->kind == WTL_ROUND_POLISH ||
                 r->s.options.final_epochs == 0.0 || wtl_run_is_last_step(r);
    if (!tuned) {
        next_tuning(r, WTL_ROUND_CHANCE);
        return wtl_run_decided(r, "second chance", "the round lost more than the limit", err);
    }
    bool was_polish = st->kind == WTL_ROUND_POLISH;
    wtl_status status = go_back(r, err);
    if (status != WTL_OK || was_polish) {
        return status == WTL_OK ? finish(r, err) : status;
    }
    if (st->refinements == 0) {
        return wtl_run_conclude(r, err);
    }
    st->refinements--;
    st->step = sqrt(st->step);
    st->campaign_rounds = WTL_NO_ROUNDS; /* as long as it holds, now */
    next_step(r);
    return WTL_OK;
}

wtl_status wtl_run_hold(wtl_run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    if (!wtl_run_limited(r)) {
        return WTL_OK;
    }
    st->held = st->present;
    st->held_polished = st->polished;
    wtl_status status = wtl_run_write(r, WTL_FILE_HELD, err);
    return status == WTL_OK ? wtl_run_decided(r, "held", "", err) : status;
}

wtl_status wtl_run_decide(wtl_run *r, wtl_error *err)
{
    wtl_prune_state *st = &r->st;
    double target = r->s.options.target_energy;
    if (!st->rows[st->round_count - 1].held) {
        return lost(r, err);
    }
    bool was_last = wtl_run_is_last_step(r) || st->kind == WTL_ROUND_CORRECT;
    bool polished = st->kind == WTL_ROUND_POLISH;
    wtl_status status = wtl_run_hold(r, err);
    if (status != WTL_OK) {
        return status;
    }
    bool there =
        wtl_run_targeted(r) && wtl_run_energy(r) <= target * (1.0 + WTL_ENERGY_TOLERANCE);
    if (polished || (there && (was_last || wtl_run_limited(r)))) {
        return finish(r, err);
    }
    if (!was_last) {
        (there ? last_step : next_step)(r);
        return WTL_OK;
    }
    if (st->corrections == MOST_CORRECTIONS) {
        return finish(r, err);
    }
    st->corrections++;
    st->kind = WTL_ROUND_CORRECT;
    st->stage = WTL_STAGE_PRUNE;
    st->goal = target;
    return wtl_run_decided(r, "corrected", "the zeros of activations changed in fine-tuning",
                           err);
}
