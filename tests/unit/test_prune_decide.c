#include "tiny_run.h"
#include "wtl_test.h"

#include "prune/run/run_private.h"
#include "wattle/file.h"
#include "wattle/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* Rounds that are played: the test says what energy and drop came out, the run what is next. */

static const wtl_prune_hooks no_hooks = {0};

/* A run from a dense net whose floor is 0.2, at round 0. */
static wtl_run begin(const char *method, double target, double drop, int rounds)
{
    static bool written;
    wtl_run r = {.hooks = &no_hooks};
    wtl_prune_options o;
    wtl_prune_defaults(&o);
    if (!written) {
        wtl_tiny_data("data");
        wtl_tiny_checkpoint("net.wtl", wtl_tiny_net, 1, 0);
        written = true;
    }
    snprintf(o.checkpoint, sizeof o.checkpoint, "%s", wtl_test_path("net.wtl"));
    snprintf(o.data, sizeof o.data, "idx:%s", wtl_test_path("data"));
    snprintf(o.method, sizeof o.method, "%s", method);
    o.target_energy = target > 0 ? 1.0 : 0; /* the tiny net's own floor is high */
    o.max_drop = drop;
    o.rounds = rounds;
    o.batch = 5; /* 9 batches an epoch */
    o.epochs = 2;
    o.final_epochs = 4;
    o.search_images = 20;
    o.threads = 1;
    assert_ok(wtl_run_open(&r, wtl_test_path("run"), &o, false, true, NULL));
    assert_ok(wtl_run_write_folder(&r, NULL));
    r.s.options.target_energy = target;
    r.st.floor = 0.2;
    wtl_run_begin_campaign(&r);
    return r;
}

/* The round under way ends so. */
static void play(wtl_run *r, double energy, double drop)
{
    wtl_prune_state *st = &r->st;
    const wtl_prune_row row = {.goal = st->goal,
                               .energy = energy,
                               .density = energy,
                               .drop = drop,
                               .held = !wtl_run_limited(r) || drop <= r->s.options.max_drop};
    assert_true(st->stage != WTL_STAGE_FINISHED);
    bool last = wtl_run_is_last_step(r);
    assert_ok(wtl_prune_state_add(st, &row, NULL));
    st->present = st->round_count;
    st->polished = st->kind == WTL_ROUND_CHANCE || st->kind == WTL_ROUND_POLISH || last;
    assert_ok(wtl_run_decide(r, NULL));
}

static void expect_round(const wtl_run *r, wtl_round_kind kind, double goal, double epochs)
{
    assert_int_equal(r->st.kind, kind);
    assert_close(r->st.goal, goal, 1e-12);
    assert_close(wtl_run_epochs(r), epochs, 1e-12);
    bool prunes = kind == WTL_ROUND_STEP || kind == WTL_ROUND_CORRECT;
    assert_int_equal(r->st.stage, prunes ? WTL_STAGE_PRUNE : WTL_STAGE_TUNE);
    if (!prunes) {
        assert_int_equal(r->st.tune.steps, (uint64_t)(epochs * 9));
    }
}

static void expect_end(wtl_run *r, bool met, int present, const char *why)
{
    assert_int_equal(r->st.stage, WTL_STAGE_FINISHED);
    assert_int_equal(r->st.met, met);
    assert_int_equal(r->st.present, present);
    assert_string_equal(r->st.why, why);
    assert_true(wtl_prune_folder_has(r->folder, WTL_FILE_PRUNED));
    wtl_run_close(r);
}

/* ---- a target ---- */

/* base = 0.9 * 0.2 = 0.18; steps are equal factors of what is above it, and 3 of 4 reach
 * 0.18 + 0.82 * (0.22 / 0.82)^(k/4). */
static double goal_of(int k)
{
    return 0.18 + 0.82 * pow((0.4 - 0.18) / (1.0 - 0.18), k / 4.0);
}

static void steps_are_equal_factors_and_the_target_is_approached(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0.4, -1, 4);
    for (int k = 1; k <= 3; k++) {
        expect_round(&r, WTL_ROUND_STEP, goal_of(k), 2.0);
        assert_false(wtl_run_is_last_step(&r));
        play(&r, goal_of(k), 50.0);
    }
    /* From 0.486 the last step is no small one: 1.03 times the target first. */
    expect_round(&r, WTL_ROUND_STEP, 1.03 * 0.4, 2.0);
    play(&r, 1.03 * 0.4, 50.0);
    expect_round(&r, WTL_ROUND_STEP, 0.4, 2.0);
    assert_true(wtl_run_is_last_step(&r));
    play(&r, 0.4019, 50.0); /* within half a percent */
    expect_end(&r, true, 5, "");
}

static void a_near_target_takes_one_step_with_all_final_epochs(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0.4, -1, 1);
    expect_round(&r, WTL_ROUND_STEP, 1.03 * 0.4, 2.0);
    wtl_run_close(&r);
    r = begin("random", 0.95, -1, 1);
    expect_round(&r, WTL_ROUND_STEP, 0.95, 4.0);
    wtl_run_close(&r);
    r = begin("random", 0.975, -1, 2); /* the first of 2 would end within 2 % of the target */
    expect_round(&r, WTL_ROUND_STEP, 0.975, 4.0);
    wtl_run_close(&r);
    r = begin("random", 0.4, -1, 1);
    r.s.options.final_epochs = 0;
    wtl_run_begin_campaign(&r);
    expect_round(&r, WTL_ROUND_STEP, 0.4, 0.0);
    wtl_run_close(&r);
}

static void three_corrections_and_no_more(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0.95, -1, 1);
    for (int k = 0; k < 3; k++) {
        play(&r, 0.97, 0.0);
        expect_round(&r, WTL_ROUND_CORRECT, 0.95, 0.25);
    }
    play(&r, 0.96, 0.0);
    expect_end(&r, false, 4, "the energy is 0.96 of dense, 0.95 was asked");
    r = begin("random", 0.95, -1, 1);
    play(&r, 0.97, 0.0);
    play(&r, 0.954, 0.0); /* 0.42 % above */
    expect_end(&r, true, 2, "");
}

/* Otherwise a method whose energies fall in fine-tuning would be given less of it. */
static void an_energy_that_falls_below_early_still_gets_its_last_fine_tuning(void **state)
{
    (void)state;
    for (int cubic = 0; cubic < 2; cubic++) {
        wtl_run r = begin(cubic ? "magnitude-gradual" : "random", 0.4, -1, 4);
        play(&r, 0.39, 0.0);
        expect_round(&r, WTL_ROUND_STEP, 0.4, 4.0);
        assert_true(wtl_run_is_last_step(&r));
        play(&r, 0.395, 0.0);
        expect_end(&r, true, 2, "");
    }
    wtl_run r = begin("random", 0.4, -1, 1);
    expect_round(&r, WTL_ROUND_STEP, 1.03 * 0.4, 2.0);
    play(&r, 0.4, 0.0);
    expect_round(&r, WTL_ROUND_STEP, 0.4, 2.0); /* the other half */
    play(&r, 0.39, 0.0);
    expect_end(&r, true, 2, "");
}

/* Zhu & Gupta: E_k = E_f + (E_0 - E_f) (1 - k/N)^3, N = 4 * rounds. */
static void gradual_steps_follow_the_cubic(void **state)
{
    (void)state;
    wtl_run r = begin("magnitude-gradual", 0.4, -1, 2);
    for (int k = 1; k <= 8; k++) {
        double goal = 0.4 + 0.6 * pow(1.0 - k / 8.0, 3);
        expect_round(&r, WTL_ROUND_STEP, goal, k < 8 ? 2.0 / 4 : 4.0);
        play(&r, goal + (k < 8 ? 0.01 : 0), 0.0); /* what came out does not matter */
    }
    expect_end(&r, true, 8, "");
    r = begin("magnitude-gradual", 0, 5, 2); /* no end to head for */
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.82 * pow(0.7, 0.25), 0.5);
    wtl_run_close(&r);
}

/* ---- a limit ---- */

static void a_limit_is_tried_with_chances_ways_back_and_a_polish(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0, 5, 6);
    double half = sqrt(0.7);
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.82 * 0.7, 2.0);
    play(&r, 0.75, 4.9);
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.57 * 0.7, 2.0); /* from what came out */
    play(&r, 0.58, 5.1);
    expect_round(&r, WTL_ROUND_CHANCE, 0.18 + 0.57 * 0.7, 4.0);
    play(&r, 0.58, 5.0); /* at most 5 */
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.4 * 0.7, 2.0);
    play(&r, 0.46, 9.0);
    play(&r, 0.46, 8.0); /* the chance was none: back to 0.58 */
    assert_int_equal(r.st.present, 3);
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.4 * half, 2.0);
    play(&r, 0.51, 4.0);
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.33 * half, 2.0);
    play(&r, 0.45, 6.0);
    play(&r, 0.45, 6.0);
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.33 * sqrt(half), 2.0);
    play(&r, 0.48, 6.0);
    play(&r, 0.48, 6.0); /* no refinement is left: the one of 0.51 is polished */
    expect_round(&r, WTL_ROUND_POLISH, 0.18 + 0.4 * half, 4.0);
    play(&r, 0.52, 3.0);
    expect_end(&r, true, 11, "");
}

static void a_polish_that_loses_is_not_taken(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0, 5, 6);
    r.st.refinements = 0;
    play(&r, 0.75, 1.0);
    play(&r, 0.6, 6.0);
    play(&r, 0.6, 6.0);
    assert_int_equal(r.st.kind, WTL_ROUND_POLISH);
    play(&r, 0.75, 5.5);
    expect_end(&r, true, 1, "");
    r = begin("random", 0, 5, 6); /* what held by its second chance is polished already */
    r.st.refinements = 0;
    play(&r, 0.75, 6.0);
    play(&r, 0.75, 4.0);
    play(&r, 0.6, 6.0);
    play(&r, 0.6, 6.0);
    expect_end(&r, true, 2, "");
    r = begin("random", 0, 5, 6); /* the dense one needs none */
    r.st.refinements = 0;
    play(&r, 0.75, 6.0);
    play(&r, 0.75, 6.0);
    expect_end(&r, true, 0, "");
}

static void without_final_epochs_there_is_neither_chance_nor_polish(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0, 5, 6);
    r.s.options.final_epochs = 0;
    r.st.refinements = 0;
    play(&r, 0.75, 1.0);
    play(&r, 0.6, 6.0);
    expect_end(&r, true, 1, "");
}

/* ---- both ---- */

static void with_both_goals_the_target_must_hold(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0.95, 5, 1);
    play(&r, 0.95, 4.0);
    expect_end(&r, true, 1, "");
    /* What is there and holds is not put at risk once more. */
    r = begin("random", 0.4, 5, 4);
    play(&r, 0.39, 4.0);
    expect_end(&r, true, 1, "");
}

static void a_smaller_step_is_not_the_same_step_again(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0.95, 5, 1);
    expect_round(&r, WTL_ROUND_STEP, 0.95, 4.0);
    play(&r, 0.95, 6.0); /* had all final epochs: no second chance */
    /* Half of one step of factor 0.77 / 0.82 ends at 0.9746. */
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.82 * sqrt(0.77 / 0.82), 2.0);
    play(&r, 0.97, 4.0);
    /* The next would end at 0.9455, below the target. */
    expect_round(&r, WTL_ROUND_STEP, 0.95, 4.0);
    play(&r, 0.95, 6.0);
    /* Half of that again, from 0.97: 0.9577, which is within 2 % of what just lost too much. */
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.79 * pow(0.77 / 0.82, 0.25), 2.0);
    wtl_run_close(&r);
}

static void a_run_that_goes_back_takes_ordinary_steps_again(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0.4, 5, 1);
    expect_round(&r, WTL_ROUND_STEP, 1.03 * 0.4, 2.0);
    r.s.options.epochs = 1.5;
    play(&r, 0.41, 9.0);
    play(&r, 0.41, 9.0);
    expect_round(&r, WTL_ROUND_STEP, 0.18 + 0.82 * sqrt(0.22 / 0.82), 1.5);
    wtl_run_close(&r);
}

static void what_was_lost_is_said(void **state)
{
    (void)state;
    wtl_run r = begin("random", 0.4, 5, 4);
    r.st.refinements = 0;
    play(&r, 0.7, 4.0);
    play(&r, 0.6, 9.0);
    play(&r, 0.6, 9.0);
    expect_end(&r, false, 1,
               "below 0.7 of the dense energy the network lost more than 5 points");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(steps_are_equal_factors_and_the_target_is_approached),
        WTL_TEST(a_near_target_takes_one_step_with_all_final_epochs),
        WTL_TEST(three_corrections_and_no_more),
        WTL_TEST(an_energy_that_falls_below_early_still_gets_its_last_fine_tuning),
        WTL_TEST(gradual_steps_follow_the_cubic),
        WTL_TEST(a_limit_is_tried_with_chances_ways_back_and_a_polish),
        WTL_TEST(a_polish_that_loses_is_not_taken),
        WTL_TEST(without_final_epochs_there_is_neither_chance_nor_polish),
        WTL_TEST(with_both_goals_the_target_must_hold),
        WTL_TEST(a_smaller_step_is_not_the_same_step_again),
        WTL_TEST(a_run_that_goes_back_takes_ordinary_steps_again),
        WTL_TEST(what_was_lost_is_said),
    };
    return WTL_RUN("prune decide", tests);
}
