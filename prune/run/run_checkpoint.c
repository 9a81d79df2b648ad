/* run_checkpoint.c - a run's rows, plan lines, notes and checkpoints. */
#include "run_private.h"

#include "tune/retrain.h"

#include "wattle/json.h"
#include "wattle/memory.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>

/* ---- small things ---- */

double wtl_run_clock(const wtl_run *r)
{
    return r->hooks->seconds ? r->hooks->seconds(r->hooks->context) : 0.0;
}

double wtl_run_seconds(const wtl_run *r)
{
    return r->hooks->seconds ? r->earlier + wtl_run_clock(r) - r->began : (double)NAN;
}

/* The row of round `number`, from 1; 0 is the dense net. */
wtl_prune_row wtl_run_row(const wtl_run *r, int number)
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

double wtl_run_energy(const wtl_run *r)
{
    return wtl_run_row(r, r->st.present).energy;
}

void wtl_run_note(const wtl_run *r, const char *format, ...)
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

wtl_status wtl_run_plan(wtl_run *r, json_t *object, wtl_error *err)
{
    if (object &&
        json_object_set_new(object, "seconds", wtl_json_real(wtl_run_seconds(r))) != 0) {
        json_decref(object);
        object = NULL;
    }
    return wtl_prune_folder_plan(r->folder, &r->st, object, err);
}

wtl_status wtl_run_decided(wtl_run *r, const char *what, const char *why, wtl_error *err)
{
    return wtl_run_plan(r,
                        json_pack("{s:s, s:i, s:s, s:s}", "event", "decision", "round",
                                  r->st.round_count, "what", what, "why", why),
                        err);
}

/* ---- checkpoints ---- */

/* What all checkpoints of the run hold. *out is freed by the caller, also on failure. */
static wtl_status compose(wtl_checkpoint **out, const wtl_run *r, wtl_error *err)
{
    const wtl_prune_options *o = &r->s.options;
    json_t *data = wtl_checkpoint_meta(r->s.dense, "data");
    wtl_prune_row row = wtl_run_row(r, r->st.present);
    wtl_status status = wtl_checkpoint_create(out, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_set_net(*out, wtl_net_def(r->s.net), err);
    }
    if (status == WTL_OK) {
        status = wtl_retrain_copy_classes(*out, r->s.dense, err);
    }
    if (status == WTL_OK && data) {
        status = wtl_checkpoint_set_meta(*out, "data", json_incref(data), err);
    }
    if (status == WTL_OK) {
        json_t *pruned =
            json_pack("{s:s, s:s, s:s, s:i, s:f, s:f}", "method", o->method, "granularity",
                      wtl_granularity_words[o->how.granularity], "hardware", r->s.hardware.name,
                      "hardware_batch", o->pricing.batch, "energy", row.energy, "density",
                      wtl_session_density(&r->s));
        status = wtl_checkpoint_set_meta(*out, "pruned", pruned, err);
    }
    return status == WTL_OK ? wtl_checkpoint_add_net(*out, r->s.net, err) : status;
}

wtl_status wtl_run_write(const wtl_run *r, wtl_prune_file file, wtl_error *err)
{
    wtl_checkpoint *checkpoint = NULL;
    wtl_status status = compose(&checkpoint, r, err);
    if (status == WTL_OK) {
        status = wtl_checkpoint_write(checkpoint, wtl_prune_folder_path(r->folder, file), err);
    }
    wtl_checkpoint_free(checkpoint);
    return status;
}

wtl_status wtl_run_save(wtl_run *r, wtl_error *err)
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
    r->last_save = wtl_run_clock(r);
    if (status == WTL_OK && r->hooks->event) {
        const wtl_prune_event event = {.kind = WTL_PRUNE_SAVED, .round = r->s.round};
        r->hooks->event(r->hooks->context, &event);
    }
    return status;
}

wtl_status wtl_run_load(wtl_run *r, wtl_prune_file file, wtl_error *err)
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
