#include "wtl_test.h"

#include "prune/run/prune_state.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Numbers that 15 digits would not bring back. */
static wtl_prune_state odd_state(void)
{
    wtl_prune_state s = {
        .kind = WTL_ROUND_CORRECT,
        .stage = WTL_STAGE_TUNE,
        .goal = 1.0 / 3.0,
        .drift = 0.1 + 0.2,
        .pruned_to = 2.0 / 7.0,
        .target = 0.3,
        .limit = -1.0,
        .step = 0.7000000000000001,
        .campaign_from = 10.0 / 11.0,
        .campaign_round = 3,
        .campaign_rounds = 1000000,
        .corrections = 2,
        .refinements = 99,
        .approached = true,
        .present = 2,
        .held = 1,
        .polished = true,
        .held_polished = true,
        .met = true,
        .dense_energy = 1234567.890123456,
        .dense_held_out = 1234567.0 / 3.0,
        .floor = 1e-17,
        .dense_loss = 0.12345678901234567,
        .dense_top1 = 200.0 / 3.0,
        .dense_top5 = 100.0,
        .epochs = 7.0 / 3.0,
        .plan_lines = 77,
        .tune = {.position = UINT64_MAX,
                 .step = 5,
                 .steps = (uint64_t)1 << 63,
                 .rate = 0.1 / 3.0,
                 .loss = -5e-324,
                 .top1 = 12,
                 .images = 1L << 60},
        .train_hash = UINT32_MAX,
        .val_hash = 5,
        .why = "the energy is \xc3\xa4\"0.3\"",
    };
    for (int i = 0; i < 20; i++) { /* more than the first capacity */
        const wtl_prune_row row = {.goal = 1.0 / (i + 3),
                                   .energy = 1.0 / (i + 7),
                                   .density = 1.0 / (i + 9),
                                   .val_loss = 3.0 / (i + 11),
                                   .val_top1 = 100.0 / (i + 13),
                                   .val_top5 = 100.0 / (i + 17),
                                   .drop = -1.0 / (i + 19),
                                   .epochs = 1.0 / (i + 23),
                                   .held = i % 3 == 0,
                                   .seconds = 5.0};
        assert_ok(wtl_prune_state_add(&s, &row, NULL));
    }
    return s;
}

static void write_state(const wtl_prune_state *s, const char *path)
{
    wtl_checkpoint *checkpoint;
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_ok(wtl_prune_state_save(s, checkpoint, NULL));
    assert_ok(wtl_checkpoint_write(checkpoint, path, NULL));
    wtl_checkpoint_free(checkpoint);
}

static void assert_same_way(const wtl_prune_state *a, const wtl_prune_state *b)
{
    assert_int_equal(a->kind, b->kind);
    assert_int_equal(a->stage, b->stage);
    assert_close(a->goal, b->goal, 0.0);
    assert_close(a->drift, b->drift, 0.0);
    assert_close(a->pruned_to, b->pruned_to, 0.0);
    assert_close(a->target, b->target, 0.0);
    assert_close(a->limit, b->limit, 0.0);
    assert_close(a->step, b->step, 0.0);
    assert_close(a->campaign_from, b->campaign_from, 0.0);
    assert_int_equal(a->campaign_round, b->campaign_round);
    assert_int_equal(a->campaign_rounds, b->campaign_rounds);
    assert_int_equal(a->corrections, b->corrections);
    assert_int_equal(a->refinements, b->refinements);
    assert_int_equal(a->approached, b->approached);
    assert_int_equal(a->present, b->present);
    assert_int_equal(a->held, b->held);
    assert_int_equal(a->polished, b->polished);
    assert_int_equal(a->held_polished, b->held_polished);
    assert_int_equal(a->met, b->met);
    assert_close(a->epochs, b->epochs, 0.0);
    assert_int_equal(a->plan_lines, b->plan_lines);
    assert_string_equal(a->why, b->why);
}

static void assert_same_rest(const wtl_prune_state *a, const wtl_prune_state *b)
{
    assert_close(a->dense_energy, b->dense_energy, 0.0);
    assert_close(a->dense_held_out, b->dense_held_out, 0.0);
    assert_close(a->floor, b->floor, 0.0);
    assert_close(a->dense_loss, b->dense_loss, 0.0);
    assert_close(a->dense_top1, b->dense_top1, 0.0);
    assert_close(a->dense_top5, b->dense_top5, 0.0);
    assert_true(a->tune.position == b->tune.position);
    assert_true(a->tune.step == b->tune.step);
    assert_true(a->tune.steps == b->tune.steps);
    assert_close(a->tune.rate, b->tune.rate, 0.0);
    assert_close(a->tune.loss, b->tune.loss, 0.0);
    assert_int_equal(a->tune.top1, b->tune.top1);
    assert_int_equal(a->tune.images, b->tune.images);
    assert_true(a->train_hash == b->train_hash && a->val_hash == b->val_hash);
    assert_int_equal(a->round_count, b->round_count);
    for (int i = 0; i < a->round_count; i++) {
        const wtl_prune_row *r = &a->rows[i], *q = &b->rows[i];
        assert_close(r->goal, q->goal, 0.0);
        assert_close(r->energy, q->energy, 0.0);
        assert_close(r->density, q->density, 0.0);
        assert_close(r->val_loss, q->val_loss, 0.0);
        assert_close(r->val_top1, q->val_top1, 0.0);
        assert_close(r->val_top5, q->val_top5, 0.0);
        assert_close(r->drop, q->drop, 0.0);
        assert_close(r->epochs, q->epochs, 0.0);
        assert_int_equal(r->held, q->held);
    }
}

static void every_field_comes_back_through_a_file_bit_for_bit(void **state)
{
    (void)state;
    wtl_prune_state sent = odd_state(), got;
    wtl_checkpoint *checkpoint;
    write_state(&sent, wtl_test_path("state.wtl"));
    assert_ok(wtl_checkpoint_read(&checkpoint, wtl_test_path("state.wtl"), NULL));
    assert_ok(wtl_prune_state_load(&got, checkpoint, "state.wtl", NULL));
    wtl_checkpoint_free(checkpoint);
    assert_same_way(&sent, &got);
    assert_same_rest(&sent, &got);
    assert_true(isnan(got.rows[0].seconds)); /* timings are the plan's */
    wtl_prune_state_clear(&sent);
    wtl_prune_state_clear(&got);
}

/* ---- what is refused ---- */

/* The state of `sent` with meta changed at `key` (after a '.' in that object) to `value`, or
 * without the key where value is NULL. */
static wtl_status load_changed(const char *key, const char *value, wtl_error *err)
{
    wtl_prune_state sent = odd_state(), got;
    wtl_checkpoint *checkpoint;
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_ok(wtl_prune_state_save(&sent, checkpoint, NULL));
    json_t *meta = wtl_checkpoint_meta(checkpoint, "pruning");
    const char *dot = strchr(key, '.');
    char group[32] = "";
    if (dot) {
        snprintf(group, sizeof group, "%.*s", (int)(dot - key), key);
        meta = json_object_get(meta, group);
        key = dot + 1;
    }
    assert_non_null(meta);
    if (value) {
        json_t *changed = json_loads(value, JSON_DECODE_ANY, NULL);
        assert_int_equal(json_object_set_new(meta, key, changed), 0);
    } else {
        assert_non_null(json_object_get(meta, key));
        json_object_del(meta, key);
    }
    wtl_status status = wtl_prune_state_load(&got, checkpoint, "f.wtl", err);
    wtl_prune_state_clear(&got);
    wtl_prune_state_clear(&sent);
    wtl_checkpoint_free(checkpoint);
    return status;
}

static void a_state_that_makes_no_sense_is_refused(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"kind", "4"},
        {"kind", "-1"},
        {"stage", "4"},
        {"goal", "null"},
        {"goal", "-0.1"},
        {"goals", "1"},
        {"dense", "3"},
        {"dense.energy", "0"}, /* shares of it are told */
        {"dense.held_out", "0"},
        {"dense.energy", "\"x\""},
        {"campaign_rounds", "0"}, /* parts of it are taken */
        {"present", "21"},        /* there are 20 rounds */
        {"held", "21"},
        {"present", "1000001"},
        {"tune", "[]"},
        {"tune.images", "-1"},
        {"tune.top1", "1152921504606846977"}, /* more right than there were */
        {"tune.step", "\"9223372036854775809\""},
        {"tune.position", "-1"},
        {"train_hash", "4294967296"},
        {"val_hash", "1.5"},
        {"why", "3"},
        {"rows", "3"},
        {"rows", "[[1,1,1,1,1,1,1,1]]"},
        {"rows", "[[1,1,1,1,1,1,1,1,1]]"},
        {"rows", "[[1,1,1,1,1,1,1,null,true]]"},
        {"rows", "[[1,1,1,1,1,1,1,1,true,1]]"},
        {"rows", "[7]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        wtl_error err = {.text = ""};
        if (load_changed(cases[i][0], cases[i][1], &err) != WTL_E_FORMAT) {
            fail_msg("%s = %s is taken", cases[i][0], cases[i][1]);
        }
        if (strncmp(err.text, "f.wtl: ", 7) != 0 || strchr(err.text, '\n')) {
            fail_msg("%s = %s: \"%s\"", cases[i][0], cases[i][1], err.text);
        }
    }
    assert_ok(load_changed("rows", "[[1,1,1,1,1,1,1,1,true],[1,1,1,1,1,1,1,1,false]]", NULL));
}

static void a_state_that_lacks_something_is_refused(void **state)
{
    (void)state;
    static const char *const keys[] = {
        "kind",          "stage",         "goal",        "drift",
        "pruned_to",     "target",        "limit",       "step",
        "campaign_from", "corrections",   "refinements", "campaign_round",
        "approached",    "present",       "held",        "campaign_rounds",
        "polished",      "held_polished", "met",         "dense",
        "epochs",        "plan_lines",    "why",         "rows",
        "train_hash",    "val_hash",      "tune",        "dense.energy",
        "dense.floor",   "dense.top1",    "tune.step",   "tune.images",
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        wtl_error err = {.text = ""};
        if (load_changed(keys[i], NULL, &err) != WTL_E_FORMAT) {
            fail_msg("a state without %s is taken", keys[i]);
        }
    }
}

static void a_checkpoint_of_no_pruning_run_is_told(void **state)
{
    (void)state;
    wtl_checkpoint *checkpoint;
    wtl_prune_state got;
    wtl_error err;
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    assert_fails(wtl_prune_state_load(&got, checkpoint, "f.wtl", &err), WTL_E_FORMAT, &err,
                 "f.wtl: is not the checkpoint of a pruning run");
    wtl_prune_state_clear(&got);
    wtl_checkpoint_free(checkpoint);
}

static wtl_status add_many(void *context)
{
    (void)context;
    wtl_prune_state s = {0};
    wtl_status status = WTL_OK;
    for (int i = 0; i < 40 && status == WTL_OK; i++) {
        const wtl_prune_row row = {.goal = i};
        status = wtl_prune_state_add(&s, &row, NULL);
        assert_true(status != WTL_OK || s.rows[i / 2].goal == i / 2);
    }
    wtl_prune_state_clear(&s);
    return status;
}

static void rows_survive_growing_and_no_memory(void **state)
{
    (void)state;
    wtl_test_every_allocation_fails(add_many, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(every_field_comes_back_through_a_file_bit_for_bit),
        WTL_TEST(a_state_that_makes_no_sense_is_refused),
        WTL_TEST(a_state_that_lacks_something_is_refused),
        WTL_TEST(a_checkpoint_of_no_pruning_run_is_told),
        WTL_TEST(rows_survive_growing_and_no_memory),
    };
    return WTL_RUN("prune state", tests);
}
