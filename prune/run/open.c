/* open.c - a pruning run begun, resumed or extended. */
#include "run_private.h"

#include "wattle/memory.h"

#include <string.h>

/* ---- beginning and resuming ---- */

/* The dense net: its energy, its floor, its accuracy. */
static wtl_status look_at_dense(wtl_run *r, wtl_error *err)
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
    if (wtl_run_targeted(r) && s->options.target_energy < st->floor) {
        return wtl_prune_out_of_reach(s->options.target_energy, st->floor, s->hardware.name,
                                      err);
    }
    status = wtl_session_judge(s, &scores, err);
    if (status == WTL_OK) {
        wtl_run_note(
            r, "dense: energy %.4g an image on %s, of which %.1f %% is out of pruning's reach",
            st->dense_energy, s->hardware.name, 100.0 * st->floor);
        st->dense_loss = scores.loss / (double)scores.images;
        st->dense_top1 = wtl_percent(scores.top1, scores.images);
        st->dense_top5 = wtl_percent(scores.top5, scores.images);
        st->train_hash = wtl_dataset_hash(s->train);
        st->val_hash = wtl_dataset_hash(s->val);
        wtl_run_note(r, "dense: val Acc@1 %.2f Acc@5 %.2f on %ld images", st->dense_top1,
                     st->dense_top5, scores.images);
    }
    return status;
}

static wtl_status begin(wtl_run *r, bool has_copy, wtl_error *err)
{
    wtl_status status = look_at_dense(r, err);
    if (status == WTL_E_STOPPED) {
        return wtl_fail(err, WTL_E_STOPPED, "stopped before the first round");
    }
    if (status == WTL_OK) {
        const char *checkpoint = has_copy ? NULL : r->s.options.checkpoint;
        status = wtl_prune_folder_begin(r->folder, checkpoint, err);
    }
    wtl_run_begin_campaign(r);
    return status;
}

static wtl_status check_data(const wtl_run *r, wtl_error *err)
{
    if (wtl_dataset_hash(r->s.train) != r->st.train_hash ||
        wtl_dataset_hash(r->s.val) != r->st.val_hash) {
        return wtl_fail(err, WTL_E_ARG, "%s: the data are not those the run began with",
                        r->s.options.data);
    }
    return WTL_OK;
}

/* Masks of blocks are no use to a run that prunes weights, nor the other way round. */
static wtl_status check_granularity(const wtl_run *r, const wtl_checkpoint *checkpoint,
                                    const char *file, wtl_error *err)
{
    const json_t *pruned = wtl_checkpoint_meta(checkpoint, "pruned");
    const char *was = json_string_value(json_object_get(pruned, "granularity"));
    const char *is = wtl_granularity_words[r->s.options.how.granularity];
    was = was ? was : wtl_granularity_words[WTL_GRANULARITY_WEIGHT]; /* of older runs */
    return strcmp(was, is) == 0
               ? WTL_OK
               : wtl_fail(err, WTL_E_ARG,
                          "%s: the run began with granularity '%.40s', it cannot go on with "
                          "'%s'",
                          file, was, is);
}

static wtl_status restore(wtl_run *r, wtl_error *err)
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
        status = check_granularity(r, checkpoint, path, err);
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
static wtl_status extend(wtl_run *r, wtl_error *err)
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
    if (wtl_run_targeted(r) && o->target_energy < st->floor) {
        return wtl_fail(
            err, WTL_E_GOAL,
            "an energy of %g of dense cannot be reached: with every prunable weight "
            "gone, and activations as they are, %.4g of it is left; ask for more",
            o->target_energy, st->floor);
    }
    st->held = st->present;
    st->held_polished = st->polished;
    wtl_run_begin_campaign(r);
    return wtl_run_limited(r) ? wtl_run_write(r, WTL_FILE_HELD, err) : WTL_OK;
}

/* *o := the options of the run that is resumed, with what `asked` (may be NULL) may change. */
static wtl_status resume_options(const wtl_run *r, wtl_prune_options *o,
                                 const wtl_prune_options *asked, wtl_error *err)
{
    wtl_status status = wtl_prune_folder_read_config(r->folder, o, err);
    if (status != WTL_OK || !asked) {
        return status;
    }
    wtl_granularity other = asked->how.granularity;
    if (other != WTL_GRANULARITY_WEIGHT && other != o->how.granularity) {
        return wtl_fail(err, WTL_E_ARG,
                        "%s: the run began with granularity '%s', it cannot go on with '%s'",
                        wtl_prune_folder_path(r->folder, WTL_FILE_CONFIG),
                        wtl_granularity_words[o->how.granularity],
                        wtl_granularity_words[other]);
    }
    o->threads = asked->threads ? asked->threads : o->threads;
    o->target_energy = asked->target_energy > 0 ? asked->target_energy : o->target_energy;
    o->max_drop = asked->max_drop >= 0 ? asked->max_drop : o->max_drop;
    o->rounds = asked->rounds ? asked->rounds : o->rounds;
    return WTL_OK;
}

wtl_status wtl_run_open(wtl_run *r, const char *path, const wtl_prune_options *options,
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
        status = resume_options(r, &o, options, err);
    } else {
        o = *options;
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

wtl_status wtl_run_write_folder(wtl_run *r, wtl_error *err)
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
        status =
            wtl_run_plan(r,
                         json_pack("{s:s, s:i, s:f, s:f, s:f, s:f}", "event", "begin", "round",
                                   0, "dense_energy", r->st.dense_energy, "floor", r->st.floor,
                                   "top1", r->st.dense_top1, "top5", r->st.dense_top5),
                         err);
        if (status == WTL_OK) {
            status = wtl_run_hold(r, err);
        }
        status = status == WTL_OK ? wtl_run_save(r, err) : status;
    }
    return status;
}

void wtl_run_close(wtl_run *r)
{
    wtl_free(r->steps);
    wtl_free(r->order);
    wtl_free(r->sensitivity);
    wtl_prune_state_clear(&r->st);
    wtl_session_close(&r->s);
    wtl_prune_folder_free(r->folder);
}
