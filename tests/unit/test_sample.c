#include "wtl_test.h"

#include "wattle/batcher.h"
#include "wattle/file.h"
#include "wattle/sample.h"

#include <stdio.h>
#include <string.h>

/* 50 pictures of 2x2, picture i all i, its label i % 5. Batches of a sample are of 32. */
enum { IMAGES = 50, PIXELS = 4, CLASSES = 5 };

static wtl_dataset *open_numbered(int count)
{
    unsigned char images[16 + IMAGES * PIXELS] = {0, 0, 8, 3},
                                       labels[8 + IMAGES] = {0, 0, 8, 1};
    images[7] = labels[7] = (unsigned char)count;
    images[11] = images[15] = 2;
    for (int i = 0; i < count; i++) {
        memset(images + 16 + PIXELS * i, i, PIXELS);
        labels[8 + i] = (unsigned char)(i % CLASSES);
    }
    char data[4400];
    wtl_dataset *dataset;
    assert_ok(wtl_make_folder(wtl_test_path("set"), NULL));
    wtl_test_write(wtl_test_path("set/t10k-images-idx3-ubyte"), images,
                   16 + (size_t)count * PIXELS);
    wtl_test_write(wtl_test_path("set/t10k-labels-idx1-ubyte"), labels, 8 + (size_t)count);
    wtl_test_write(wtl_test_path("set/train-images-idx3-ubyte"), images,
                   16 + (size_t)count * PIXELS);
    wtl_test_write(wtl_test_path("set/train-labels-idx1-ubyte"), labels, 8 + (size_t)count);
    snprintf(data, sizeof data, "idx:%s@test", wtl_test_path("set"));
    assert_ok(wtl_dataset_open(&dataset, data, NULL, NULL));
    return dataset;
}

/* Pixels become (v - 1) / 2. */
static wtl_netdef *definition_of(int height)
{
    char text[256];
    wtl_netdef *def;
    snprintf(text, sizeof text,
             "net tiny\ninput data 1x%dx2\n"
             "preprocess order=rgb resize=none scale=1 mean=1 std=2\n"
             "d = dense data out=5\np = softmax d\n",
             height);
    assert_ok(wtl_netdef_parse(&def, text, strlen(text), "test.net", NULL, NULL));
    return def;
}

static wtl_netdef *definition(void)
{
    return definition_of(2);
}

/* Which images they are; each whole, with its label, and no one twice. */
static void note_images(const wtl_sample *sample, int indices[IMAGES])
{
    bool seen[IMAGES] = {false};
    for (int i = 0; i < sample->count; i++) {
        int index = (int)(sample->images[i * PIXELS] * 2.0f + 1.5f);
        assert_in_range(index, 0, IMAGES - 1);
        assert_false(seen[index]);
        seen[index] = true;
        indices[i] = index;
        for (int p = 0; p < PIXELS; p++) {
            assert_close((double)sample->images[i * PIXELS + p], (index - 1) / 2.0, 0.0);
        }
        assert_int_equal(sample->labels[i], index % CLASSES);
    }
}

static void a_sample_has_that_many_different_images(void **state)
{
    (void)state;
    static const int counts[] = {1, 31, 32, 33, 49, 50};
    wtl_dataset *dataset = open_numbered(IMAGES);
    wtl_netdef *def = definition();
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        wtl_sample sample;
        int indices[IMAGES];
        assert_ok(wtl_sample_draw(&sample, dataset, def, counts[i], 3, NULL));
        assert_int_equal(sample.count, counts[i]);
        assert_int_equal(sample.shape.c, 1);
        assert_int_equal(sample.shape.h, 2);
        assert_int_equal(sample.shape.w, 2);
        note_images(&sample, indices);
        wtl_sample_clear(&sample);
        assert_null(sample.images);
        wtl_sample_clear(&sample);
    }
    wtl_netdef_free(def);
    wtl_dataset_free(dataset);
}

static void the_images_follow_from_the_seed_and_a_larger_sample_has_the_smaller(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_numbered(IMAGES);
    wtl_netdef *def = definition();
    wtl_sample sample[4];
    int indices[4][IMAGES];
    for (int i = 0; i < 4; i++) {
        assert_ok(
            wtl_sample_draw(&sample[i], dataset, def, i == 3 ? 20 : 40, i == 2 ? 8 : 7, NULL));
        note_images(&sample[i], indices[i]);
    }
    assert_memory_equal(indices[0], indices[1], 40 * sizeof(int));
    assert_memory_not_equal(indices[0], indices[2], 40 * sizeof(int));
    assert_memory_equal(indices[0], indices[3], 20 * sizeof(int));
    /* Not merely the first ones in order. */
    bool ordered = true;
    for (int i = 1; i < 40; i++) {
        ordered = ordered && indices[0][i] > indices[0][i - 1];
    }
    assert_false(ordered);
    for (int i = 0; i < 4; i++) {
        wtl_sample_clear(&sample[i]);
    }
    wtl_netdef_free(def);
    wtl_dataset_free(dataset);
}

static void a_small_data_set_is_taken_whole(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_numbered(3);
    wtl_netdef *def = definition();
    wtl_sample sample;
    int indices[IMAGES];
    assert_ok(wtl_sample_draw(&sample, dataset, def, 2000000000, 1, NULL));
    assert_int_equal(sample.count, 3);
    note_images(&sample, indices);
    wtl_sample_clear(&sample);
    wtl_netdef_free(def);
    wtl_dataset_free(dataset);
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_numbered(3);
    wtl_netdef *def = definition();
    wtl_sample sample;
    wtl_error err;
    static const int counts[] = {0, -1};
    for (int i = 0; i < 2; i++) {
        char want[64];
        snprintf(want, sizeof want, "a sample of %d images", counts[i]);
        assert_fails(wtl_sample_draw(&sample, dataset, def, counts[i], 1, &err), WTL_E_ARG,
                     &err, want);
        wtl_sample_clear(&sample); /* is empty */
    }
    wtl_netdef_free(def);
    def = definition_of(3);
    assert_int_equal(wtl_sample_draw(&sample, dataset, def, 2, 1, &err), WTL_E_SHAPE);
    assert_null(sample.images);
    wtl_netdef_free(def);
    wtl_dataset_free(dataset);
}

static wtl_dataset *open_list(const char *list)
{
    char data[4400];
    wtl_dataset *dataset;
    wtl_test_write(wtl_test_path("bad.png"), "no picture", 10);
    wtl_test_write(wtl_test_path("list.txt"), list, strlen(list));
    snprintf(data, sizeof data, "list:%s@test", wtl_test_path("list.txt"));
    assert_ok(wtl_dataset_open(&dataset, data, NULL, NULL));
    return dataset;
}

static void without_a_readable_picture_there_is_no_sample(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_list("bad.png 0\n");
    wtl_netdef *def = definition();
    wtl_sample sample;
    wtl_error err;
    char want[WTL_ERROR_TEXT_SIZE];
    snprintf(want, sizeof want, "%s: not one image could be read", wtl_dataset_name(dataset));
    assert_fails(wtl_sample_draw(&sample, dataset, def, 5, 1, &err), WTL_E_FORMAT, &err, want);
    assert_null(sample.images);
    wtl_netdef_free(def);
    wtl_dataset_free(dataset);
}

typedef struct place {
    const wtl_dataset *dataset;
    const wtl_netdef *def;
} place;

static wtl_status draw_again(void *context)
{
    const place *p = context;
    wtl_sample sample;
    wtl_status status = wtl_sample_draw(&sample, p->dataset, p->def, 20, 1, NULL);
    wtl_sample_clear(&sample);
    return status;
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    wtl_dataset *dataset = open_numbered(IMAGES);
    wtl_netdef *def = definition();
    wtl_test_every_allocation_fails(draw_again, &(place){dataset, def});
    wtl_netdef_free(def);
    wtl_dataset_free(dataset);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(a_sample_has_that_many_different_images),
        WTL_TEST(the_images_follow_from_the_seed_and_a_larger_sample_has_the_smaller),
        WTL_TEST(a_small_data_set_is_taken_whole),
        WTL_TEST(nonsense_is_refused),
        WTL_TEST(without_a_readable_picture_there_is_no_sample),
        WTL_TEST(every_failing_allocation_is_reported),
    };
    return WTL_RUN("sample", tests);
}
