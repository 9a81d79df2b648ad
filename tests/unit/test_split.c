#include "tiny_run.h"
#include "wtl_test.h"

#include "wattle/split.h"
#include "wattle/trainer.h"

#include <jansson.h>
#include <stdio.h>
#include <string.h>

/* What a checkpoint tells whose meta "data" is `text`; NULL: it has none. */
static wtl_dataset_options split_of(const char *text)
{
    wtl_checkpoint *checkpoint;
    assert_ok(wtl_checkpoint_create(&checkpoint, NULL));
    if (text) {
        json_t *data = json_loads(text, JSON_DECODE_ANY, NULL);
        assert_ok(wtl_checkpoint_set_meta(checkpoint, "data", data, NULL));
    }
    wtl_dataset_options split = wtl_split_of(checkpoint);
    wtl_checkpoint_free(checkpoint);
    return split;
}

static void the_split_is_the_one_that_was_written(void **state)
{
    (void)state;
    wtl_dataset_options split = split_of(
        "{\"name\":\"idx:d\",\"split_seed\":7,\"val_share\":0.25,\"whole_train\":true}");
    assert_int_equal(split.part, WTL_DATA_VAL);
    assert_true(split.split_seed == 7);
    assert_close(split.val_share, 0.25, 0.0);
    assert_true(split.whole_train);
    /* Beyond JSON's integers seeds are strings of digits. */
    assert_true(split_of("{\"split_seed\":9223372036854775807}").split_seed == INT64_MAX);
    assert_true(split_of("{\"split_seed\":\"18446744073709551615\"}").split_seed == UINT64_MAX);
}

static void a_checkpoint_that_does_not_tell_has_the_default_split(void **state)
{
    (void)state;
    static const char *const silent[] = {
        NULL,
        "{}",
        "[1]",
        "3",
        "{\"split_seed\":\"x\",\"val_share\":\"y\",\"whole_train\":1}",
        "{\"split_seed\":1.5,\"val_share\":0}",
        "{\"split_seed\":\"18446744073709551616\",\"val_share\":1.0}",
        "{\"val_share\":-0.5}",
    };
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
        wtl_dataset_options split = split_of(silent[i]);
        assert_int_equal(split.part, WTL_DATA_VAL);
        assert_true(split.split_seed == 0);
        assert_close(split.val_share, 0.0, 0.0); /* which means 0.1 */
        assert_false(split.whole_train);
    }
}

enum { PIXELS = WTL_TINY_SIDE * WTL_TINY_SIDE };

static size_t pictures_of(const wtl_dataset_options *split, wtl_data_part part,
                          unsigned char (*pixels)[PIXELS])
{
    wtl_dataset *dataset;
    wtl_image image = {0};
    wtl_dataset_options options = *split;
    char data[600];
    options.part = part;
    snprintf(data, sizeof data, "idx:%s", wtl_test_path("data"));
    assert_ok(wtl_dataset_open(&dataset, data, &options, NULL));
    size_t count = wtl_dataset_count(dataset);
    for (size_t i = 0; i < count; i++) {
        assert_ok(wtl_dataset_image(dataset, i, &image, NULL));
        memcpy(pixels[i], image.pixels, PIXELS);
    }
    wtl_image_clear(&image);
    wtl_dataset_free(dataset);
    return count;
}

/* The pictures of training's own validation part, by training's own options. */
static void what_training_held_out_is_what_is_judged_by(void **state)
{
    (void)state;
    static unsigned char train[WTL_TINY_IMAGES][PIXELS], val[WTL_TINY_IMAGES][PIXELS],
        held_out[WTL_TINY_IMAGES][PIXELS];
    const uint64_t seeds[] = {3, UINT64_MAX - 1};
    wtl_tiny_data("data");
    wtl_test_write(wtl_test_path("tiny.net"), wtl_tiny_net, strlen(wtl_tiny_net));
    for (int k = 0; k < 2; k++) {
        wtl_checkpoint *checkpoint;
        wtl_train_options o;
        wtl_train_defaults(&o);
        snprintf(o.net, sizeof o.net, "%s", wtl_test_path("tiny.net"));
        snprintf(o.data, sizeof o.data, "idx:%s", wtl_test_path("data"));
        o.epochs = 1;
        o.val_share = 0.25;
        o.seed = seeds[k];
        o.threads = 1;
        assert_ok(wtl_train(wtl_test_path("run"), &o, false, true, NULL, NULL, NULL));
        assert_ok(wtl_checkpoint_read(&checkpoint, wtl_test_path("run/ckpt/last.wtl"), NULL));
        wtl_dataset_options split = wtl_split_of(checkpoint);
        wtl_checkpoint_free(checkpoint);
        assert_true(split.split_seed == seeds[k]);
        const wtl_dataset_options of_training = {.split_seed = seeds[k], .val_share = 0.25};
        assert_int_equal(pictures_of(&of_training, WTL_DATA_VAL, held_out), WTL_TINY_VAL);
        assert_int_equal(pictures_of(&split, WTL_DATA_VAL, val), WTL_TINY_VAL);
        assert_memory_equal(val, held_out, sizeof held_out[0] * WTL_TINY_VAL);
        size_t count = pictures_of(&split, WTL_DATA_TRAIN, train);
        assert_int_equal(count, WTL_TINY_IMAGES - WTL_TINY_VAL);
        for (size_t i = 0; i < count * WTL_TINY_VAL; i++) {
            assert_true(memcmp(train[i / WTL_TINY_VAL], val[i % WTL_TINY_VAL], PIXELS) != 0);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(the_split_is_the_one_that_was_written),
        WTL_TEST(a_checkpoint_that_does_not_tell_has_the_default_split),
        WTL_TEST(what_training_held_out_is_what_is_judged_by),
    };
    return WTL_RUN("split", tests);
}
