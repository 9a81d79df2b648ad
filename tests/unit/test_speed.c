/* What zeros gain, predicted by rates made by hand. */
#include "wtl_test.h"

#include "wattle/memory.h"
#include "wattle/speed.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

/* conv1 reads the image; conv2 and ip1 may skip. */
static const char NET[] = "net t\n"
                          "classes 4\n"
                          "input data 3x8x8\n"
                          "conv1 = conv data out=16 kernel=3 pad=1\n"
                          "conv2 = conv conv1 out=16 kernel=3 pad=1\n"
                          "ip1 = dense conv2 out=classes\n"
                          "prob = softmax ip1\n";
enum { CONV1, CONV2, IP1, LAYERS };
enum { CONV2_WEIGHTS = 16 * 16 * 9, CONV2_ROW = 16 * 9, IP1_WEIGHTS = 4 * 1024 };

static wtl_net *make_net(void)
{
    wtl_netdef *def = NULL;
    wtl_net *net = NULL;
    wtl_error err;
    const wtl_net_options options = {.batch = 1};
    assert_ok(wtl_netdef_parse(&def, NET, strlen(NET), "t.net", NULL, &err));
    assert_ok(wtl_net_create(&net, def, &options, &err));
    wtl_netdef_free(def);
    for (int p = 0; p < wtl_net_param_count(net); p++) {
        wtl_param *param = wtl_net_param(net, p);
        for (size_t i = 0; i < param->count; i++) {
            param->value[i] = 1.0f;
        }
    }
    return net;
}

static float *weights(wtl_net *net, const char *name)
{
    return wtl_net_find_param(net, name)->value;
}

/* Of the first n weights of each of conv2's filters, every `step`-th filter keeps its own. */
static void thin(wtl_net *net, int n, int step)
{
    float *w = weights(net, "conv2.weight");
    for (int k = 0; k < 16; k++) {
        for (int i = 0; i < CONV2_ROW; i++) {
            w[k * CONV2_ROW + i] = i < n && k % step == 0 ? 1.0f : 0.0f;
        }
    }
}

/* Two threads; a GFLOP/s; all else free, but for what the test sets. */
static wtl_kernel_costs rates(double rows_ns, double quads_ns)
{
    return (wtl_kernel_costs){.processor = "by hand",
                              .isa = WTL_ISA_PLAIN,
                              .threads = 2,
                              .dense_gflops = 1,
                              .winograd_gflops = 1,
                              .memory_gbs = 1,
                              .rows_ns = rows_ns,
                              .rows_far_ns = rows_ns,
                              .quads_ns = quads_ns,
                              .quads_far_ns = quads_ns,
                              .sum_ns = 1e-9,
                              .turn_ns = 1e-9,
                              .copy_ns = 1e-9,
                              .call_ns = 1e-9};
}

static wtl_speed predict(wtl_net *net, double rows_ns, double quads_ns)
{
    wtl_speed speed;
    wtl_error err;
    wtl_kernel_costs costs = rates(rows_ns, quads_ns);
    assert_ok(wtl_speed_predict(&speed, net, &costs, 1, &err));
    assert_int_equal(speed.count, LAYERS);
    return speed;
}

/* 2 operations a multiply-accumulate at 1 GFLOP/s a thread. The dense layer's 4096 weights lie in
 * a cache: 0.24 cycles each of 0.25 ns. */
static void dense_times_are_those_of_the_threads_together(void **state)
{
    (void)state;
    wtl_net *net = make_net();
    wtl_speed speed = predict(net, 1e6, 1e6);
    const double conv1 = 2e-9 * 3 * 16 * 9 * 64 / 2, conv2 = 2e-9 * CONV2_WEIGHTS * 64 / 2,
                 ip1 = 0.24 * 0.25e-9 * IP1_WEIGHTS / 2;
    assert_string_equal(speed.layers[CONV1].name, "conv1");
    assert_string_equal(speed.layers[IP1].name, "ip1");
    assert_close(speed.layers[CONV1].dense_seconds, conv1, 1e-15);
    assert_close(speed.layers[CONV2].dense_seconds, conv2, 1e-15);
    assert_close(speed.layers[IP1].dense_seconds, ip1, 1e-15);
    assert_close(speed.dense_seconds, conv1 + conv2 + ip1, 1e-15);
    assert_close(speed.seconds, speed.dense_seconds, 1e-15);
    assert_close(speed.speed_up, 1.0, 1e-12);
    assert_int_equal(speed.faster, 0);
    wtl_speed_clear(&speed);
    wtl_net_free(net);
}

/* Of 36 of 144 weights one filter in four keeps its own: 1/16 of weights, 1/4 of blocks. */
static void densities_are_of_weights_and_of_blocks_of_four_filters(void **state)
{
    (void)state;
    wtl_net *net = make_net();
    thin(net, 36, 4);
    wtl_speed speed = predict(net, 1, 1);
    assert_close(speed.layers[CONV2].density.weights, 1.0 / 16, 1e-15);
    assert_close(speed.layers[CONV2].density.quads, 1.0 / 4, 1e-15);
    assert_close(speed.layers[IP1].density.weights, 1.0, 0.0);
    wtl_speed_clear(&speed);
    wtl_net_free(net);
}

/* A quarter of the weights, in whole blocks, each of 1 ns a pixel against 2 of dense. Padding may
 * make the sparse kernel's pixels more, not fewer. */
static void zeros_pay_where_the_rates_say_so(void **state)
{
    (void)state;
    wtl_net *net = make_net();
    thin(net, 36, 1);
    wtl_speed speed = predict(net, 1, 1e6);
    const wtl_speed_layer *l = &speed.layers[CONV2];
    assert_int_equal(l->kernel, WTL_KERNEL_ROWS);
    assert_true(l->speed_up > 2.0 && l->speed_up < 8.01);
    assert_close(l->seconds, l->dense_seconds / l->speed_up, 1e-15);
    assert_int_equal(speed.faster, 1);
    assert_close(speed.speed_up, speed.dense_seconds / speed.seconds, 1e-12);
    double gained = l->dense_seconds - l->seconds;
    assert_close(speed.seconds, speed.dense_seconds - gained, 1e-15);
    assert_true(l->pays_below[WTL_KERNEL_ROWS] == 1.0);
    assert_true(l->pays_below[WTL_KERNEL_QUADS] < 1.0 / 575); /* less than one block */
    wtl_speed_clear(&speed);

    speed = predict(net, 1e6, 1e6);
    assert_int_equal(speed.layers[CONV2].kernel, WTL_KERNEL_DENSE);
    assert_int_equal(speed.faster, 0);
    wtl_speed_clear(&speed);
    wtl_net_free(net);
}

/* One weight of a block in four: as many weights in whole blocks are a quarter of the blocks. */
static void it_tells_where_blocks_would_pay(void **state)
{
    (void)state;
    wtl_net *net = make_net();
    thin(net, CONV2_ROW, 4); /* every block has one weight */
    wtl_speed speed = predict(net, 1e6, 8);
    const wtl_speed_layer *l = &speed.layers[CONV2];
    assert_close(l->density.quads, 1.0, 0.0);
    assert_int_equal(l->kernel, WTL_KERNEL_DENSE);
    assert_close(l->speed_up, 1.0, 0.0);
    assert_true(l->in_blocks > 1.5);
    wtl_speed_clear(&speed);
    wtl_net_free(net);
}

static void a_layer_that_reads_the_image_is_always_dense(void **state)
{
    (void)state;
    wtl_net *net = make_net();
    memset(weights(net, "conv1.weight"), 0, sizeof(float) * 16 * 27);
    wtl_speed speed = predict(net, 1e-6, 1e-6);
    const wtl_speed_layer *l = &speed.layers[CONV1];
    assert_false(l->can_skip);
    assert_true(speed.layers[CONV2].can_skip && speed.layers[IP1].can_skip);
    assert_close(l->density.weights, 0.0, 0.0);
    assert_int_equal(l->kernel, WTL_KERNEL_DENSE);
    assert_close(l->speed_up, 1.0, 0.0);
    assert_close(l->in_blocks, 1.0, 0.0);
    wtl_speed_clear(&speed);
    wtl_net_free(net);
}

/* One of 64, elsewhere in each filter: 64 weights at 1.1 cycles and 4 rows' ends of 10 against 4096 at 0.24. */
static void a_dense_layer_in_a_cache_gains_less_than_its_zeros(void **state)
{
    (void)state;
    wtl_net *net = make_net();
    float *w = weights(net, "ip1.weight");
    for (int i = 0; i < IP1_WEIGHTS; i++) {
        w[i] = (i + i / 1024) % 64 == 0 ? 1.0f : 0.0f;
    }
    wtl_speed speed = predict(net, 1e6, 1e6);
    assert_int_equal(speed.layers[IP1].kernel, WTL_KERNEL_ROWS);
    assert_close(speed.layers[IP1].speed_up, 4096 * 0.24 / (64 * 1.1 + 40), 1e-12);
    wtl_speed_clear(&speed);
    wtl_net_free(net);
}

static void its_json_has_every_layer(void **state)
{
    (void)state;
    wtl_net *net = make_net();
    thin(net, 36, 1);
    wtl_speed speed = predict(net, 1, 1e6);
    json_t *json = wtl_speed_to_json(&speed);
    assert_non_null(json);
    const json_t *layers = json_object_get(json, "layers");
    const json_t *conv2 = json_array_get(layers, CONV2);
    assert_int_equal(json_array_size(layers), LAYERS);
    assert_string_equal(json_string_value(json_object_get(conv2, "layer")), "conv2");
    assert_string_equal(json_string_value(json_object_get(conv2, "kernel")), "sparse");
    assert_close(json_number_value(json_object_get(conv2, "density")), 0.25, 1e-15);
    assert_int_equal(json_integer_value(json_object_get(json, "layers_faster")), 1);
    assert_true(json_is_true(json_object_get(json, "predicted")));
    assert_string_equal(json_string_value(json_object_get(json, "isa")), "plain");
    json_decref(json);
    wtl_speed_clear(&speed);
    wtl_net_free(net);
}

static wtl_status predict_once(void *net)
{
    wtl_speed speed;
    wtl_kernel_costs costs = rates(1, 1);
    wtl_status status = wtl_speed_predict(&speed, net, &costs, 1, NULL);
    if (status == WTL_OK) {
        wtl_speed_clear(&speed);
    } else {
        assert_null(speed.layers);
        assert_int_equal(speed.count, 0);
    }
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    wtl_net *net = make_net();
    wtl_test_every_allocation_fails(predict_once, net);
    wtl_net_free(net);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(dense_times_are_those_of_the_threads_together),
        WTL_TEST(densities_are_of_weights_and_of_blocks_of_four_filters),
        WTL_TEST(zeros_pay_where_the_rates_say_so),
        WTL_TEST(it_tells_where_blocks_would_pay),
        WTL_TEST(a_layer_that_reads_the_image_is_always_dense),
        WTL_TEST(a_dense_layer_in_a_cache_gains_less_than_its_zeros),
        WTL_TEST(its_json_has_every_layer),
        WTL_TEST(every_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
