/* test_zoo.c - the zoo's networks have the published sizes, and NET is found as users write
 * it. */
#include "wtl_test.h"

#include "wattle/memory.h"
#include "wattle/text.h"
#include "wattle/zoo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static wtl_error err;

static wtl_netdef *loaded(const char *net)
{
    wtl_netdef *def = NULL;
    if (wtl_netdef_load(&def, net, 0, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    return def;
}

/* Parameters and multiply-accumulates of the inference network. "torchvision" stands for
 * torchvision 0.14 in Debian 12: sum of numel() over the parameters outside aux heads, and
 * MACs counted by forward hooks on Conv2d and Linear at 1x3x224x224. "By layer" stands for
 * a sum over the layer sizes printed in the paper, made apart from this library. */
static const struct {
    const char *net;
    uint64_t parameters, macs;
    int height; /* of the input */
} published[] = {
    /* Caffe's LeNet, by layer: 520 + 25,050 + 400,500 + 5,010 parameters. */
    {"lenet5", 431080, 2293000, 28},
    /* Walked from BVLC's prototxt; Caffe's model file has 60,965,224 floats as well. */
    {"alexnet-bvlc", 60965224, 724406816, 227},
    {"caffenet", 60965224, 724406816, 227}, /* the same layers in another order */
    {"googlenet-bvlc", 6998552, 1582671872, 224},
    /* torchvision; its documentation prints these parameter counts, too. */
    {"alexnet-torchvision", 61100840, 714188480, 224},
    {"googlenet-torchvision", 6624904, 1498376192, 224},
    {"squeezenet-1.0", 1248424, 818924576, 224},
    {"squeezenet-1.1", 1235496, 349151936, 224},
    {"resnet-18", 11689512, 1814073344, 224},
    {"resnet-50", 25557032, 4089184256, 224},
    {"vgg-16", 138357544, 15470264320, 224},
    {"mobilenet-v2", 3504872, 300774272, 224}, /* paper: 3.4M, 300M */
    {"mobilenet-v2:width=0.35", 1677128, 59285808, 224},
    {"mobilenet-v2:width=0.5", 1968680, 97131840, 224},
    {"mobilenet-v2:width=0.75", 2636424, 209069792, 224},
    {"mobilenet-v2:width=1.3", 5386792, 509374560, 224},
    {"mobilenet-v2:width=1.4", 6108776, 582195824, 224}, /* paper: 6.9M, 585M */
    /* Paper, table 6: 4.2M and 569M, 2.6M and 325M, 1.3M and 149M, 0.5M and 41M; Keras
     * prints 4,231,976 trainable parameters. The rest by layer. */
    {"mobilenet-v1", 4231976, 568740352, 224},
    {"mobilenet-v1:width=0.75", 2585560, 325400448, 224},
    {"mobilenet-v1:width=0.5", 1331592, 149497088, 224},
    {"mobilenet-v1:width=0.25", 470072, 41030272, 224},
    /* Lin et al.: a model file of 29 MB = 7.6M floats; by layer. */
    {"nin", 7595176, 1100188800, 224},
    /* He et al., table 6: 0.27M and 0.85M parameters; later papers give 40.6M and 125M MACs
     * for them; by layer. */
    {"resnet-20", 269722, 40551040, 32},
    {"resnet-56", 853018, 125485696, 32},
    /* Our own; by layer. */
    {"alexnet-28", 383402, 11680768, 28},
    {"alexnet-32", 1966842, 56906752, 32},
    {"googlenet-28", 917794, 45179072, 28},
    {"googlenet-32", 918226, 61021952, 32},
};
enum { PUBLISHED = sizeof published / sizeof published[0] };

static void every_net_has_the_published_parameters_and_macs(void **state)
{
    (void)state;
    for (int i = 0; i < PUBLISHED; i++) {
        wtl_netdef *def = loaded(published[i].net);
        uint64_t parameters = 0, macs = 0;
        assert_ok(wtl_netdef_totals(def, &parameters, &macs, &err));
        if (parameters != published[i].parameters || macs != published[i].macs) {
            fail_msg("%s: %llu parameters and %llu MACs", published[i].net,
                     (unsigned long long)parameters, (unsigned long long)macs);
        }
        assert_int_equal(def->input.h, published[i].height);
        assert_int_equal(def->input.w, published[i].height);
        wtl_netdef_free(def);
    }
}

static void every_name_is_in_the_table_above_and_in_order(void **state)
{
    (void)state;
    const char *const *names = wtl_zoo_names();
    int count = 0;
    for (; names[count]; count++) {
        bool found = false;
        for (int i = 0; i < PUBLISHED; i++) {
            found = found || strcmp(published[i].net, names[count]) == 0;
        }
        if (!found) {
            fail_msg("%s has no published size here", names[count]);
        }
        assert_true(count == 0 || strcmp(names[count - 1], names[count]) < 0);
    }
    assert_int_equal(count, 20);
}

static void every_net_is_called_as_its_text_says_and_reads_back(void **state)
{
    (void)state;
    for (const char *const *name = wtl_zoo_names(); *name; name++) {
        wtl_netdef *def = loaded(*name), *again = NULL;
        assert_string_equal(def->name, *name);
        char *text = wtl_netdef_text(def);
        assert_ok(wtl_netdef_parse(&again, text, strlen(text), *name, NULL, &err));
        char *text_again = wtl_netdef_text(again);
        assert_string_equal(text, text_again);
        wtl_free(text_again);
        wtl_free(text);
        wtl_netdef_free(again);
        wtl_netdef_free(def);
    }
}

static void every_net_ends_in_one_probability_a_class(void **state)
{
    (void)state;
    for (const char *const *name = wtl_zoo_names(); *name; name++) {
        wtl_netdef *def = NULL;
        assert_ok(wtl_netdef_load(&def, *name, 17, &err));
        wtl_shape *shapes = calloc((size_t)def->layer_count, sizeof *shapes);
        bool *keep = calloc((size_t)def->layer_count, sizeof *keep);
        assert_ok(wtl_netdef_shapes(def, shapes, &err));
        int head = wtl_netdef_inference_layers(def, keep);
        assert_string_equal(def->layers[head].name, "prob");
        for (int i = 0; i < def->layer_count; i++) {
            bool softmax = def->layers[i].kind == WTL_LAYER_SOFTMAX;
            static const wtl_shape want = {17, 1, 1};
            assert_true(!softmax || memcmp(&shapes[i], &want, sizeof want) == 0);
        }
        free(keep);
        free(shapes);
        wtl_netdef_free(def);
    }
}

/* What training the auxiliary heads adds. */
static uint64_t all_parameters(const wtl_netdef *def)
{
    wtl_shape *shapes = calloc((size_t)def->layer_count, sizeof *shapes);
    assert_ok(wtl_netdef_shapes(def, shapes, &err));
    uint64_t sum = 0;
    for (int i = 1; i < def->layer_count; i++) {
        const wtl_layer_def *layer = &def->layers[i];
        wtl_param_spec specs[WTL_MAX_LAYER_PARAMS];
        int count = wtl_layer_params(layer, &shapes[layer->inputs[0]], specs);
        for (int p = 0; p < count; p++) {
            uint64_t values = 1;
            for (int d = 0; d < specs[p].rank; d++) {
                values *= (uint64_t)specs[p].dims[d];
            }
            bool trained = specs[p].role != WTL_PARAM_RUNNING_MEAN &&
                           specs[p].role != WTL_PARAM_RUNNING_VAR;
            sum += trained ? values : 0;
        }
    }
    free(shapes);
    return sum;
}

static void googlenet_has_two_auxiliary_heads_of_the_published_size(void **state)
{
    (void)state;
    wtl_netdef *bvlc = loaded("googlenet-bvlc"), *torch = loaded("googlenet-torchvision");
    assert_int_equal(all_parameters(bvlc), 6998552 + 6379728);
    assert_int_equal(all_parameters(torch), 13004888); /* torchvision, aux heads included */
    const wtl_layer_def *head = &bvlc->layers[wtl_netdef_find(bvlc, "loss1/loss")];
    assert_int_equal(head->kind, WTL_LAYER_SOFTMAX);
    assert_true(head->as.softmax.aux);
    assert_close(head->as.softmax.weight, 0.3, 1e-7);
    wtl_netdef_free(torch);
    wtl_netdef_free(bvlc);
}

/* Names under which weights are handed over; all names of torchvision's nets were compared
 * with its state dicts once, this keeps the ways they are formed. */
static void layers_are_named_as_where_the_net_comes_from(void **state)
{
    (void)state;
    static const char *const names[][2] = {
        {"lenet5", "ip2"},
        {"alexnet-bvlc", "fc8"},
        {"googlenet-bvlc", "inception_3a/5x5_reduce"},
        {"googlenet-bvlc", "loss3/classifier"},
        {"googlenet-torchvision", "inception4e.branch2.1.bn"},
        {"googlenet-torchvision", "aux2.fc2"},
        {"alexnet-torchvision", "classifier.6"},
        {"vgg-16", "features.28"},
        {"squeezenet-1.1", "features.12.expand3x3"},
        {"mobilenet-v2", "features.17.conv.1.0"},
        {"mobilenet-v2", "features.1.conv.2"},
        {"resnet-18", "layer4.0.downsample.1"},
        {"resnet-50", "layer3.5.conv3"},
        {"nin", "cccp8-1024"},
    };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        wtl_netdef *def = loaded(names[i][0]);
        if (wtl_netdef_find(def, names[i][1]) < 0) {
            fail_msg("%s has no layer %s", names[i][0], names[i][1]);
        }
        wtl_netdef_free(def);
    }
}

static void caffe_nets_start_as_their_fillers_say(void **state)
{
    (void)state;
    wtl_netdef *alex = loaded("alexnet-bvlc"), *caffe = loaded("caffenet");
    wtl_netdef *goog = loaded("googlenet-bvlc");
    const wtl_conv_options *conv2 = &alex->layers[wtl_netdef_find(alex, "conv2")].as.conv;
    assert_int_equal(conv2->init.kind, WTL_INIT_GAUSS);
    assert_close(conv2->init.value, 0.01, 1e-9);
    assert_close(conv2->bias_init.value, 0.1, 1e-7);
    conv2 = &caffe->layers[wtl_netdef_find(caffe, "conv2")].as.conv;
    assert_close(conv2->bias_init.value, 1.0, 0.0);
    const wtl_conv_options *first = &goog->layers[1].as.conv;
    assert_int_equal(first->init.kind, WTL_INIT_XAVIER);
    assert_close(first->bias_init.value, 0.2, 1e-7);
    static const float mean[3] = {104, 117, 123};
    assert_all_close(goog->preprocess.mean, mean, 3, 0.0);
    assert_int_equal(goog->preprocess.order, WTL_ORDER_BGR);
    assert_int_equal(goog->preprocess.rule, WTL_RESIZE_WARP);
    assert_int_equal(goog->preprocess.resize, 256);
    wtl_netdef_free(goog);
    wtl_netdef_free(caffe);
    wtl_netdef_free(alex);
}

/* ---- NET as users write it ---- */

static const char small_net[] = "net small\nclasses 4\nwidth 1\ninput d 1x4x4\n"
                                "f = dense d out=8*width\ng = dense f out=classes\n";

static void a_file_is_loaded_with_its_options(void **state)
{
    (void)state;
    const char *path = wtl_test_path("small.net");
    wtl_test_write(path, small_net, sizeof small_net - 1);
    char net[1024];
    wtl_netdef *def = loaded(path);
    assert_int_equal(def->layers[1].as.dense.out, 8);
    wtl_netdef_free(def);
    snprintf(net, sizeof net, "%s:width=0.5,classes=3", path);
    def = loaded(net);
    assert_int_equal(def->layers[1].as.dense.out, 4);
    assert_int_equal(def->layers[2].as.dense.out, 3);
    wtl_netdef_free(def);
}

static void a_file_may_have_a_colon_in_its_name(void **state)
{
    (void)state;
    const char *path = wtl_test_path("a:b.net");
    wtl_test_write(path, small_net, sizeof small_net - 1);
    char net[1024];
    wtl_netdef_free(loaded(path));
    snprintf(net, sizeof net, "%s:classes=9", path);
    wtl_netdef *def = loaded(net);
    assert_int_equal(def->classes, 9);
    wtl_netdef_free(def);
}

static void classes_of_the_caller_give_way_to_those_of_the_user(void **state)
{
    (void)state;
    wtl_netdef *def = NULL;
    assert_ok(wtl_netdef_load(&def, "lenet5", 26, &err));
    assert_int_equal(def->classes, 26);
    wtl_netdef_free(def);
    assert_ok(wtl_netdef_load(&def, "lenet5:classes=47", 26, &err));
    assert_int_equal(def->classes, 47);
    wtl_netdef_free(def);
}

static void what_cannot_be_loaded_has_its_message(void **state)
{
    (void)state;
    static const struct {
        const char *net;
        wtl_status status;
        const char *message;
    } table[] = {
        {"alexnet-bvcl", WTL_E_MISSING,
         "no network 'alexnet-bvcl': neither in the zoo nor a file; did you mean "
         "'alexnet-bvlc'?"},
        {"no/such.net", WTL_E_MISSING,
         "no network 'no/such.net': neither in the zoo nor a file"},
        {"lenet6:classes=3", WTL_E_MISSING,
         "no network 'lenet6': neither in the zoo nor a file; did you mean 'lenet5'?"},
        {"lenet5:width=2", WTL_E_ARG, "lenet5: width=2 does not apply: no 'width' line"},
        {"lenet5:wide=2", WTL_E_ARG,
         "lenet5:wide=2: unknown key 'wide'; did you mean 'width'?"},
        {"lenet5:x=2", WTL_E_ARG, "lenet5:x=2: unknown key 'x'; expected width or classes"},
        {"lenet5:classes", WTL_E_ARG, "lenet5:classes: 'classes' is not width=W or classes=N"},
        {"lenet5:", WTL_E_ARG, "lenet5:: '' is not width=W or classes=N"},
        {"lenet5:classes=0", WTL_E_ARG,
         "lenet5:classes=0: classes=0: expected a number above 0"},
        {"mobilenet-v2:width=nan", WTL_E_ARG,
         "mobilenet-v2:width=nan: width=nan: expected a number above 0"},
        {"mobilenet-v2:width=65", WTL_E_ARG, "mobilenet-v2: width=65 is outside 0.015625..64"},
        {"lenet5:classes=3,classes=4", WTL_E_ARG,
         "lenet5:classes=3,classes=4: classes is given twice"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        wtl_netdef *def = (wtl_netdef *)&err;
        assert_fails(wtl_netdef_load(&def, table[i].net, 0, &err), table[i].status, &err,
                     table[i].message);
        assert_null(def);
    }
}

static void mistakes_in_a_file_name_the_file(void **state)
{
    (void)state;
    const char *path = wtl_test_path("wrong.net");
    wtl_test_write(path, "net t\n\nwhat\n", 12);
    char message[2048];
    snprintf(message, sizeof message,
             "%s:3: expected NAME = KIND INPUT... or a line that begins with net, classes, "
             "width, input or preprocess",
             path);
    message[WTL_ERROR_TEXT_SIZE - 1] = '\0';
    wtl_netdef *def;
    assert_fails(wtl_netdef_load(&def, path, 0, &err), WTL_E_FORMAT, &err, message);
}

static void a_text_that_is_not_there_is_null(void **state)
{
    (void)state;
    size_t length = 0;
    const char *text = wtl_zoo_text("lenet5", &length);
    assert_non_null(text);
    assert_int_equal(strlen(text), length);
    assert_int_equal(text[length - 1], '\n');
    assert_null(wtl_zoo_text("lenet", &length));
}

static wtl_status load_and_free(void *context)
{
    wtl_netdef *def;
    wtl_status status = wtl_netdef_load(&def, context, 0, &err);
    wtl_netdef_free(def);
    return status;
}

static void every_allocation_may_fail(void **state)
{
    (void)state;
    char path[1024];
    snprintf(path, sizeof path, "%s", wtl_test_path("small.net"));
    wtl_test_write(path, small_net, sizeof small_net - 1);
    wtl_test_every_allocation_fails(load_and_free, path);
    char name[] = "lenet5:classes=3";
    wtl_test_every_allocation_fails(load_and_free, name);
}

static void sizes_that_do_not_fit_are_refused_with_the_file(void **state)
{
    (void)state;
    static const char text[] = "net n\ninput data 1x4x4\nc = conv data out=3 kernel=9\n";
    const char *path = wtl_test_path("unfit.net");
    wtl_test_write(path, text, sizeof text - 1);
    wtl_netdef *def;
    char *want = wtl_format("%s: c: the 9x9 window does not fit the padded input of 4x4", path);
    assert_fails(wtl_netdef_load(&def, path, 0, &err), WTL_E_SHAPE, &err, want);
    assert_null(def);
    wtl_free(want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(sizes_that_do_not_fit_are_refused_with_the_file),
        WTL_TEST(every_net_has_the_published_parameters_and_macs),
        WTL_TEST(every_name_is_in_the_table_above_and_in_order),
        WTL_TEST(every_net_is_called_as_its_text_says_and_reads_back),
        WTL_TEST(every_net_ends_in_one_probability_a_class),
        WTL_TEST(googlenet_has_two_auxiliary_heads_of_the_published_size),
        WTL_TEST(layers_are_named_as_where_the_net_comes_from),
        WTL_TEST(caffe_nets_start_as_their_fillers_say),
        WTL_TEST(a_file_is_loaded_with_its_options),
        WTL_TEST(a_file_may_have_a_colon_in_its_name),
        WTL_TEST(classes_of_the_caller_give_way_to_those_of_the_user),
        WTL_TEST(what_cannot_be_loaded_has_its_message),
        WTL_TEST(mistakes_in_a_file_name_the_file),
        WTL_TEST(a_text_that_is_not_there_is_null),
        WTL_TEST(every_allocation_may_fail),
    };
    return WTL_RUN("zoo", tests);
}
