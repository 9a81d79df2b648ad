/* test_pricing.c - layers priced: against the estimate, by hand, refusals. */
#include "wtl_test.h"

#include "wattle/from_net.h"
#include "wattle/memory.h"
#include "wattle/pricing.h"
#include "wattle/rng.h"
#include "wattle/zoo.h"

#include <math.h>
#include <string.h>

/* ---- nets and samples ---- */

static wtl_net *plan(const char *text, size_t length, int batch, bool keep_outputs)
{
    wtl_netdef *def = NULL;
    wtl_net *net = NULL;
    wtl_error err;
    const wtl_net_options options = {.batch = batch, .keep_outputs = keep_outputs};
    assert_ok(wtl_netdef_parse(&def, text, length, "t.net", NULL, &err));
    assert_ok(wtl_net_create(&net, def, &options, &err));
    wtl_netdef_free(def);
    return net;
}

/* A net of the zoo with random weights of which a share, different in each layer, is 0. */
static wtl_net *zoo_net(const char *name)
{
    size_t length = 0;
    const char *text = wtl_zoo_text(name, &length);
    assert_non_null(text);
    wtl_net *net = plan(text, length, 2, true);
    wtl_net_init(net, 5);
    wtl_rng rng = wtl_rng_make(1, WTL_RNG_TEST, 0, 0);
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        wtl_param *param = wtl_net_param(net, p);
        float share = wtl_rng_uniform(&rng);
        for (size_t i = 0; param->spec.role == WTL_PARAM_WEIGHT && i < param->count; i++) {
            param->value[i] = wtl_rng_uniform(&rng) < share ? 0.0f : param->value[i];
        }
    }
    return net;
}

/* `count` images of which every third value is 0. */
static wtl_sample make_sample(wtl_shape shape, int count)
{
    size_t values = wtl_shape_count(shape) * (size_t)count;
    wtl_sample sample = {count, shape, wtl_alloc(values, sizeof(float)), NULL};
    assert_non_null(sample.images);
    wtl_fill_random(sample.images, values, 3);
    for (size_t i = 0; i < values; i += 3) {
        sample.images[i] = 0.0f;
    }
    return sample;
}

static void forget_sample(wtl_sample *sample)
{
    wtl_free(sample->images);
}

static wtl_hardware hardware(const char *name)
{
    wtl_hardware hw;
    wtl_error err;
    assert_ok(wtl_hardware_load(&hw, name, &err));
    return hw;
}

static wtl_pricing *price(wtl_net *net, const wtl_hardware *hw,
                          const wtl_pricing_options *options)
{
    wtl_pricing *pricing = NULL;
    wtl_error err;
    assert_ok(wtl_pricing_create(&pricing, net, hw, options, &err));
    return pricing;
}

/* ---- against the estimate ---- */

/* The workload as the energy folder alone makes it: 3 images, run in twos. */
static wtl_workload measured_by_hand(wtl_net *net, const wtl_sample *sample)
{
    wtl_workload work;
    wtl_zero_counter *counter = NULL;
    wtl_error err;
    const wtl_from_net_options options = {.batch = 44};
    assert_ok(wtl_workload_from_net(&work, net, &options, &err));
    assert_ok(wtl_zero_counter_create(&counter, net, &err));
    size_t image = wtl_shape_count(sample->shape) * sizeof(float);
    memcpy(wtl_net_input(net), sample->images, 2 * image);
    wtl_net_forward(net, 2, WTL_RUN_INFERENCE, 0);
    wtl_zero_counter_add(counter, 2);
    memcpy(wtl_net_input(net), (const char *)sample->images + 2 * image, image);
    wtl_net_forward(net, 1, WTL_RUN_INFERENCE, 0);
    wtl_zero_counter_add(counter, 1);
    assert_ok(wtl_zero_counter_apply(counter, &work, &err));
    wtl_zero_counter_free(counter);
    return work;
}

static void assert_prices(const wtl_pricing *pricing, const double *nonzeros,
                          const wtl_hardware *hw, const wtl_workload *work)
{
    wtl_energy_report report;
    wtl_error err;
    assert_ok(wtl_energy_estimate(&report, hw, work, NULL, &err));
    assert_int_equal(wtl_pricing_count(pricing), report.layer_count);
    for (int i = 0; i < report.layer_count; i++) {
        double want = report.layers[i].total;
        assert_true(want > 0);
        assert_close(wtl_pricing_cost(pricing, i, nonzeros[i]), want, 1e-12 * want);
    }
    double total = wtl_pricing_total(pricing, nonzeros);
    assert_close(total, report.total, 1e-12 * report.total);
    wtl_energy_report_clear(&report);
}

enum { MOST_LAYERS = 64 };

/* The mapping is kept, so other zeros than those it was found with must price alike. */
static void check_net_on(wtl_net *net, const wtl_sample *sample, const wtl_workload *measured,
                         const char *preset)
{
    double nonzeros[MOST_LAYERS];
    wtl_workload work;
    wtl_error err;
    wtl_hardware hw = hardware(preset);
    wtl_pricing *pricing = price(net, &hw, NULL);
    assert_ok(wtl_pricing_measure(pricing, sample, NULL, NULL, &err));
    wtl_pricing_nonzeros(pricing, net, nonzeros);
    assert_prices(pricing, nonzeros, &hw, measured);

    for (int i = 0; i < wtl_pricing_count(pricing); i++) {
        nonzeros[i] = floor(nonzeros[i] / (1 + i % 3));
    }
    assert_ok(wtl_pricing_workload(pricing, nonzeros, &work, &err));
    assert_true(work.weight_zeros_measured && work.activation_zeros_measured);
    assert_int_equal(work.sample_images, 3);
    assert_prices(pricing, nonzeros, &hw, &work);
    wtl_workload_clear(&work);
    wtl_pricing_free(pricing);
}

static void check_net(const char *name)
{
    wtl_net *net = zoo_net(name);
    wtl_sample sample = make_sample(wtl_net_def(net)->input, 3);
    wtl_workload measured = measured_by_hand(net, &sample);
    for (const char *const *preset = wtl_hardware_presets(); *preset; preset++) {
        check_net_on(net, &sample, &measured, *preset);
    }
    wtl_workload_clear(&measured);
    forget_sample(&sample);
    wtl_net_free(net);
}

static void prices_are_those_of_the_estimate_on_every_hardware(void **state)
{
    (void)state;
    check_net("lenet5");
    check_net("alexnet-28");
    check_net("googlenet-28");
}

/* Steps of a 500th of the layer; saves: the energy falls at all. */
static bool falls_with_weights(const wtl_pricing *pricing, int layer)
{
    double weights = (double)wtl_pricing_layer(pricing, layer).weights;
    double before = wtl_pricing_cost(pricing, layer, 0);
    double none = before;
    for (int step = 1; step <= 500; step++) {
        double cost = wtl_pricing_cost(pricing, layer, floor(weights * step / 500));
        if (!(cost >= before)) {
            fail_msg("layer %d costs %.17g with more weights, %.17g with fewer", layer, cost,
                     before);
        }
        before = cost;
    }
    return before > none;
}

static void more_weights_never_cost_less(void **state)
{
    (void)state;
    wtl_net *net = zoo_net("alexnet-28");
    for (const char *const *preset = wtl_hardware_presets(); *preset; preset++) {
        wtl_hardware hw = hardware(*preset);
        wtl_pricing *pricing = price(net, &hw, NULL);
        /* Compression or a skipped zero: only then does a weight's zero save anything. */
        bool saves = hw.zero_weight != WTL_ZERO_COUNTS ||
                     hw.compress[WTL_LEVEL_DRAM][WTL_DATA_WEIGHT] != WTL_COMPRESS_NONE;
        for (int i = 0; i < wtl_pricing_count(pricing); i++) {
            assert_int_equal(falls_with_weights(pricing, i), saves);
        }
        wtl_pricing_free(pricing);
    }
    wtl_net_free(net);
}

/* ---- by hand ---- */

/* c.weight [2,1,3,3], d.weight [4,1*2*2*2] */
static const char hand_text[] = "net hand\n"
                                "input data 1x4x4\n"
                                "c = conv data out=2 kernel=3 stride=2 pad=1,0,1,0\n"
                                "r = relu c\n"
                                "d = dense r out=4\n";

static wtl_net *hand_net(void)
{
    wtl_net *net = plan(hand_text, strlen(hand_text), 2, true);
    wtl_param *c = wtl_net_find_param(net, "c.weight"),
              *d = wtl_net_find_param(net, "d.weight");
    for (size_t i = 0; i < c->count; i++) {
        c->value[i] = i < 9 ? 1.0f : -1.0f; /* the second filter's outputs are <= 0 */
    }
    for (size_t i = 0; i < d->count; i++) {
        d->value[i] = i % 4 ? 0.5f : 0.0f;
    }
    return net;
}

static wtl_sample hand_sample(float *images, int count)
{
    /* 4 of 16 values are 0; every window holds a positive one. */
    for (int i = 0; i < 16 * count; i++) {
        images[i] = i % 4 ? 1.0f : 0.0f;
    }
    return (wtl_sample){count, {1, 4, 4}, images, NULL};
}

static void a_layer_is_described_as_counted_by_hand(void **state)
{
    (void)state;
    float images[3 * 16];
    wtl_sample sample = hand_sample(images, 3);
    wtl_hardware hw = hardware("eyeriss-cvpr17");
    wtl_net *net = hand_net();
    wtl_pricing *pricing = price(net, &hw, NULL);
    wtl_error err;
    assert_int_equal(wtl_pricing_count(pricing), 2);
    wtl_priced_layer c = wtl_pricing_layer(pricing, 0), d = wtl_pricing_layer(pricing, 1);
    assert_string_equal(c.name, "c");
    assert_string_equal(c.weight, "c.weight");
    assert_int_equal(c.layer, 1);
    assert_int_equal(c.weights, 18);
    assert_close(c.macs, 2 * 2 * 2 * 9, 0);
    assert_close(c.ifmap_density, 1, 0);
    assert_close(c.ofmap_density, 1, 0);
    assert_string_equal(d.weight, "d.weight");
    assert_int_equal(d.layer, 3);
    assert_int_equal(d.weights, 32);
    assert_close(d.macs, 32, 0);

    assert_ok(wtl_pricing_measure(pricing, &sample, NULL, NULL, &err));
    c = wtl_pricing_layer(pricing, 0);
    d = wtl_pricing_layer(pricing, 1);
    assert_close(c.ifmap_density, 0.75, 1e-12);
    assert_close(c.ofmap_density, 0.5, 1e-12); /* behind the ReLU */
    assert_close(d.ifmap_density, 0.5, 1e-12);
    assert_close(d.ofmap_density, 1, 1e-12);
    wtl_pricing_free(pricing);
    wtl_net_free(net);
}

static void macs_skip_zeros_of_weights_ifmap_and_padding(void **state)
{
    (void)state;
    float images[16];
    wtl_sample sample = hand_sample(images, 1);
    wtl_hardware hw = hardware("tpu-like"); /* skips nothing: what is skipped is not its say */
    wtl_net *net = hand_net();
    wtl_pricing *pricing = price(net, &hw, NULL);
    wtl_error err;
    double nonzeros[2];
    assert_ok(wtl_pricing_measure(pricing, &sample, NULL, NULL, &err));
    wtl_pricing_nonzeros(pricing, net, nonzeros);
    assert_close(nonzeros[0], 18, 0);
    assert_close(nonzeros[1], 24, 0);
    assert_close(wtl_pricing_macs(pricing, 0, 18, false), 72, 1e-12);
    assert_close(wtl_pricing_macs(pricing, 0, 9, false), 36, 1e-12);
    /* 0.75 of the values, 16 of the 25 places of the padded map */
    assert_close(wtl_pricing_macs(pricing, 0, 9, true), 36 * 0.75 * 16 / 25, 1e-12);
    assert_close(wtl_pricing_macs(pricing, 1, 24, true), 24 * 0.5, 1e-12);
    wtl_pricing_free(pricing);
    wtl_net_free(net);
}

static void batch_and_bits_are_as_asked(void **state)
{
    (void)state;
    static const double nonzeros[2] = {7, 8};
    const wtl_pricing_options options = {.batch = 3, .bits = 8};
    wtl_hardware hw = hardware("eyeriss-cvpr17");
    wtl_net *net = hand_net();
    wtl_pricing *asked = price(net, &hw, &options), *usual = price(net, &hw, NULL);
    wtl_workload work;
    wtl_error err;
    assert_ok(wtl_pricing_workload(asked, nonzeros, &work, &err));
    assert_int_equal(work.layers[0].ifmap.count, 3);
    assert_int_equal(work.layers[1].filter.bits, 8);
    assert_close(work.layers[0].filter.zeros, 18 - 7, 0);
    assert_false(work.activation_zeros_measured);
    wtl_workload_clear(&work);
    assert_ok(wtl_pricing_workload(usual, nonzeros, &work, &err));
    assert_int_equal(work.layers[0].ifmap.count, 44);
    assert_int_equal(work.layers[1].filter.bits, 16);
    wtl_workload_clear(&work);
    wtl_pricing_free(asked);
    wtl_pricing_free(usual);
    wtl_net_free(net);
}

/* ---- refusals ---- */

static void a_net_planned_otherwise_is_refused(void **state)
{
    (void)state;
    wtl_hardware hw = hardware("eyeriss-cvpr17");
    wtl_net *shares = plan(hand_text, strlen(hand_text), 2, false);
    wtl_net *net = hand_net();
    wtl_pricing *pricing = (wtl_pricing *)&hw;
    wtl_error err;
    assert_fails(wtl_pricing_create(&pricing, shares, &hw, NULL, &err), WTL_E_ARG, &err,
                 "net hand: is priced as an inference net that keeps its outputs");
    assert_null(pricing);
    const wtl_pricing_options none = {.batch = -1}, wide = {.bits = 33};
    assert_fails(wtl_pricing_create(&pricing, net, &hw, &none, &err), WTL_E_ARG, &err,
                 "workload of a net: batch -1, 0 bits");
    assert_fails(wtl_pricing_create(&pricing, net, &hw, &wide, &err), WTL_E_ARG, &err,
                 "workload of a net: batch 44, 33 bits");
    wtl_net_free(shares);
    wtl_net_free(net);
}

static int stop_second_time(void *context)
{
    int *asked = context;
    return ++*asked == 2;
}

static void a_measurement_that_fails_leaves_the_last_one(void **state)
{
    (void)state;
    float images[5 * 16];
    wtl_sample sample = hand_sample(images, 5), none = sample, wide = sample;
    none.count = 0;
    wide.shape.w = 5;
    wtl_hardware hw = hardware("eyeriss-cvpr17");
    wtl_net *net = hand_net();
    wtl_pricing *pricing = price(net, &hw, NULL);
    wtl_error err;
    int asked = 0;
    assert_ok(wtl_pricing_measure(pricing, &sample, NULL, NULL, &err));
    memset(images, 0, sizeof images);
    assert_fails(wtl_pricing_measure(pricing, &sample, stop_second_time, &asked, &err),
                 WTL_E_STOPPED, &err, "stopped after 2 of 5 images");
    assert_int_equal(asked, 2);
    assert_fails(wtl_pricing_measure(pricing, &none, NULL, NULL, &err), WTL_E_ARG, &err,
                 "net hand: no image was run to count zeros");
    assert_fails(wtl_pricing_measure(pricing, &wide, NULL, NULL, &err), WTL_E_SHAPE, &err,
                 "sample: images are 1x4x5, net hand takes 1x4x4");
    images[4 * 16 + 3] = NAN;
    assert_fails(wtl_pricing_measure(pricing, &sample, NULL, NULL, &err), WTL_E_NAN, &err,
                 "net hand: an output for images 4 to 4 of the sample is not finite");
    assert_close(wtl_pricing_layer(pricing, 0).ifmap_density, 0.75, 1e-12);
    wtl_pricing_free(pricing);
    wtl_pricing_free(NULL);
    wtl_net_free(net);
}

typedef struct pricing_case {
    wtl_net *net;
    wtl_hardware hw;
} pricing_case;

static wtl_status price_and_forget(void *context)
{
    static const double nonzeros[2] = {7, 8};
    float images[2 * 16];
    wtl_sample sample = hand_sample(images, 2);
    const pricing_case *p = context;
    wtl_pricing *pricing = NULL;
    wtl_workload work = {0};
    wtl_status status = wtl_pricing_create(&pricing, p->net, &p->hw, NULL, NULL);
    if (status == WTL_OK) {
        status = wtl_pricing_measure(pricing, &sample, NULL, NULL, NULL);
    }
    if (status == WTL_OK) {
        status = wtl_pricing_workload(pricing, nonzeros, &work, NULL);
    }
    wtl_workload_clear(&work);
    wtl_pricing_free(pricing);
    return status;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    pricing_case p = {hand_net(), hardware("eyeriss-cvpr17")};
    wtl_test_every_allocation_fails(price_and_forget, &p);
    wtl_net_free(p.net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(prices_are_those_of_the_estimate_on_every_hardware),
        WTL_TEST(more_weights_never_cost_less),
        WTL_TEST(a_layer_is_described_as_counted_by_hand),
        WTL_TEST(macs_skip_zeros_of_weights_ifmap_and_padding),
        WTL_TEST(batch_and_bits_are_as_asked),
        WTL_TEST(a_net_planned_otherwise_is_refused),
        WTL_TEST(a_measurement_that_fails_leaves_the_last_one),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("pricing", tests);
}
