#include "wtl_test.h"

#include "wattle/optimizer.h"

/* Every expected rate is worked on paper from the formulas in the header; sums and products
 * of a few doubles near 1 are good to 1e-12. */
static const double close = 1e-12;

static void constant_is_the_peak_after_its_warm_up(void **state)
{
    (void)state;
    const wtl_schedule s = {.kind = WTL_SCHEDULE_CONSTANT, .peak = 0.5, .warmup_epochs = 2};
    assert_close(wtl_schedule_rate(&s, 0, 10), 0.005, close);
    assert_close(wtl_schedule_rate(&s, 1, 10), 0.5 * (0.01 + 0.99 / 2), close);
    assert_close(wtl_schedule_rate(&s, 2, 10), 0.5, close);
    assert_close(wtl_schedule_rate(&s, 10, 10), 0.5, close);
}

static void step_drops_at_each_multiple_even_of_fractions(void **state)
{
    (void)state;
    const wtl_schedule s = {
        .kind = WTL_SCHEDULE_STEP, .peak = 8, .step_epochs = 3, .gamma = 0.5};
    assert_close(wtl_schedule_rate(&s, 0, 10), 8, close);
    assert_close(wtl_schedule_rate(&s, 2.99, 10), 8, close);
    assert_close(wtl_schedule_rate(&s, 3, 10), 4, close);
    assert_close(wtl_schedule_rate(&s, 9.5, 10), 1, close);
    /* 3 * 0.1 < 0.3 in doubles: the boundary must not be missed. */
    const wtl_schedule tenth = {
        .kind = WTL_SCHEDULE_STEP, .peak = 1, .step_epochs = 0.1, .gamma = 0.5};
    assert_close(wtl_schedule_rate(&tenth, 0.7, 1), 1.0 / 128, close);
}

static void step_without_a_period_takes_a_third_of_the_run(void **state)
{
    (void)state;
    const wtl_schedule s = {.kind = WTL_SCHEDULE_STEP, .peak = 1, .gamma = 0.1};
    assert_close(wtl_schedule_rate(&s, 9.9, 30), 1, close);
    assert_close(wtl_schedule_rate(&s, 10, 30), 0.1, close);
    assert_close(wtl_schedule_rate(&s, 20, 30), 0.01, close);
}

static void cosine_falls_from_the_peak_to_its_final_share(void **state)
{
    (void)state;
    const wtl_schedule s = {
        .kind = WTL_SCHEDULE_COSINE, .peak = 2, .warmup_epochs = 2, .final_share = 0.1};
    assert_close(wtl_schedule_rate(&s, 0, 12), 0.02, close);
    assert_close(wtl_schedule_rate(&s, 2, 12), 2, close);
    assert_close(wtl_schedule_rate(&s, 7, 12), 2 * (0.1 + 0.9 / 2), close);
    assert_close(wtl_schedule_rate(&s, 12, 12), 0.2, close);
}

static void onecycle_goes_up_for_three_tenths_and_down_to_zero(void **state)
{
    (void)state;
    const wtl_schedule s = {.kind = WTL_SCHEDULE_ONECYCLE, .peak = 1};
    assert_close(wtl_schedule_rate(&s, 0, 10), 0.01, close);
    assert_close(wtl_schedule_rate(&s, 1.5, 10), 0.505, close);
    assert_close(wtl_schedule_rate(&s, 3, 10), 1, close);
    assert_close(wtl_schedule_rate(&s, 6.5, 10), 0.5, close);
    assert_close(wtl_schedule_rate(&s, 10, 10), 0, close);
    const wtl_schedule own = {
        .kind = WTL_SCHEDULE_ONECYCLE, .peak = 1, .warmup_epochs = 5, .final_share = 0.5};
    assert_close(wtl_schedule_rate(&own, 2.5, 10), 0.505, close);
    assert_close(wtl_schedule_rate(&own, 7.5, 10), 0.75, close);
}

static void positions_outside_the_run_are_its_ends(void **state)
{
    (void)state;
    const wtl_schedule s = {.kind = WTL_SCHEDULE_ONECYCLE, .peak = 1, .final_share = 0.25};
    assert_close(wtl_schedule_rate(&s, -1, 10), 0.01, close);
    assert_close(wtl_schedule_rate(&s, 11, 10), 0.25, close);
    /* A warm-up as long as the run ends at the peak, not in a division by zero. */
    const wtl_schedule all = {.kind = WTL_SCHEDULE_COSINE, .peak = 1, .warmup_epochs = 10};
    assert_close(wtl_schedule_rate(&all, 9.99, 10), 0.01 + 0.99 * 0.999, close);
    assert_close(wtl_schedule_rate(&all, 10, 10), 0, close);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(constant_is_the_peak_after_its_warm_up),
        WTL_TEST(step_drops_at_each_multiple_even_of_fractions),
        WTL_TEST(step_without_a_period_takes_a_third_of_the_run),
        WTL_TEST(cosine_falls_from_the_peak_to_its_final_share),
        WTL_TEST(onecycle_goes_up_for_three_tenths_and_down_to_zero),
        WTL_TEST(positions_outside_the_run_are_its_ends),
    };
    return WTL_RUN("schedule", tests);
}
