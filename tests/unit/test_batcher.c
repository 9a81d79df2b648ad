#include "picture_files.h"
#include "wtl_test.h"

#include "wattle/batcher.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

enum { IMAGES = 23, SIDE = 4, VALUES = SIDE * SIDE, BATCH = 5, BATCHES = 5 };

/* An IDX set of IMAGES pictures of SIDE x SIDE; picture i is all i + 1, its label i % 7. */
static wtl_dataset *numbered_set(void)
{
    unsigned char bytes[16 + IMAGES * VALUES] = {0, 0, 8, 1, 0, 0, 0, IMAGES};
    for (int i = 0; i < IMAGES; i++) {
        bytes[8 + i] = (unsigned char)(i % 7);
    }
    assert_ok(wtl_make_folder(wtl_test_path("set"), NULL));
    wtl_test_write(wtl_test_path("set/train-labels-idx1-ubyte"), bytes, 8 + IMAGES);
    static const unsigned char sizes[8] = {0, 0, 0, SIDE, 0, 0, 0, SIDE};
    bytes[3] = 3;
    memcpy(bytes + 8, sizes, 8);
    for (int i = 0; i < IMAGES * VALUES; i++) {
        bytes[16 + i] = (unsigned char)(i / VALUES + 1);
    }
    wtl_test_write(wtl_test_path("set/train-images-idx3-ubyte"), bytes, sizeof bytes);
    char data[4600];
    snprintf(data, sizeof data, "idx:%s", wtl_test_path("set"));
    const wtl_dataset_options whole = {.whole_train = true};
    wtl_dataset *set;
    assert_ok(wtl_dataset_open(&set, data, &whole, NULL));
    return set;
}

static wtl_batch_options plain_options(void)
{
    return (wtl_batch_options){.batch = BATCH,
                               .preprocess = {.channels = 1,
                                              .height = SIDE,
                                              .width = SIDE,
                                              .scale = 1.0f,
                                              .deviation = {1.0f}},
                               .seed = 11};
}

static wtl_batcher *created(const wtl_dataset *set, const wtl_batch_options *options)
{
    wtl_batcher *batcher = NULL;
    wtl_error err = {0};
    if (wtl_batcher_create(&batcher, set, options, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    return batcher;
}

static wtl_batch next(wtl_batcher *batcher)
{
    wtl_batch batch = {.count = -1};
    wtl_error err = {0};
    if (wtl_batcher_next(batcher, &batch, &err) != WTL_OK) {
        fail_msg("%s", err.text);
    }
    return batch;
}

/* A whole epoch as it came, from batch `first` on. */
typedef struct epoch_record {
    int batches, images;
    int counts[IMAGES];
    size_t numbers[IMAGES];
    uint32_t indices[IMAGES];
    int labels[IMAGES];
    float values[IMAGES * VALUES];
} epoch_record;

static void record_epoch(wtl_batcher *batcher, uint64_t epoch, size_t first, epoch_record *r)
{
    memset(r, 0, sizeof *r);
    assert_ok(wtl_batcher_start(batcher, epoch, first, NULL));
    for (;;) {
        wtl_batch b = next(batcher);
        if (b.count == 0) {
            assert_int_equal(b.number, wtl_batcher_count(batcher));
            break;
        }
        assert_true(r->images + b.count <= IMAGES);
        size_t n = (size_t)b.count, at = (size_t)r->images;
        memcpy(r->indices + at, b.indices, n * sizeof r->indices[0]);
        memcpy(r->labels + at, b.labels, n * sizeof r->labels[0]);
        memcpy(r->values + at * VALUES, b.images, n * VALUES * sizeof r->values[0]);
        r->numbers[r->batches] = b.number;
        r->counts[r->batches++] = b.count;
        r->images += b.count;
    }
    assert_int_equal(next(batcher).count, 0); /* and stays so */
}

static void an_epoch_without_shuffle_is_the_set_in_order(void **state)
{
    (void)state;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = plain_options();
    wtl_batcher *batcher = created(set, &o);
    assert_int_equal(wtl_batcher_count(batcher), BATCHES);
    static epoch_record r;
    record_epoch(batcher, 3, 0, &r);
    assert_int_equal(r.batches, BATCHES);
    assert_int_equal(r.images, IMAGES);
    static const int counts[BATCHES] = {5, 5, 5, 5, 3};
    assert_memory_equal(r.counts, counts, sizeof counts);
    for (int i = 0; i < IMAGES; i++) {
        assert_int_equal(r.indices[i], i);
        assert_int_equal(r.labels[i], i % 7);
        for (int j = 0; j < VALUES; j++) {
            assert_close(r.values[i * VALUES + j], i + 1, 0.0);
        }
    }
    for (int i = 0; i < BATCHES; i++) {
        assert_int_equal(r.numbers[i], i);
    }
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void a_shuffled_epoch_has_each_image_once_in_an_order_of_its_own(void **state)
{
    (void)state;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = plain_options();
    o.shuffle = true;
    wtl_batcher *batcher = created(set, &o);
    static epoch_record r[3];
    for (int epoch = 0; epoch < 3; epoch++) {
        int seen[IMAGES] = {0};
        record_epoch(batcher, (uint64_t)epoch, 0, &r[epoch]);
        assert_int_equal(r[epoch].images, IMAGES);
        for (int i = 0; i < IMAGES; i++) {
            uint32_t index = r[epoch].indices[i];
            assert_true(index < IMAGES);
            seen[index]++;
            assert_int_equal(r[epoch].labels[i], index % 7);
            assert_close(r[epoch].values[i * VALUES], index + 1, 0.0);
        }
        for (int i = 0; i < IMAGES; i++) {
            assert_int_equal(seen[i], 1);
        }
    }
    assert_memory_not_equal(r[0].indices, r[1].indices, sizeof r[0].indices);
    assert_memory_not_equal(r[1].indices, r[2].indices, sizeof r[0].indices);
    assert_memory_not_equal(r[0].indices, r[2].indices, sizeof r[0].indices);
    wtl_batcher_free(batcher);
    o.seed = 12;
    batcher = created(set, &o);
    record_epoch(batcher, 0, 0, &r[1]);
    assert_memory_not_equal(r[0].indices, r[1].indices, sizeof r[0].indices);
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static wtl_batch_options augmented_options(void)
{
    wtl_batch_options o = plain_options();
    o.shuffle = true;
    o.augment = (wtl_augment){.pad = 2, .flip = true, .brightness = 0.5f, .cutout = 2};
    return o;
}

static void batches_are_the_same_for_any_number_of_workers(void **state)
{
    (void)state;
    static const struct {
        int workers, prefetch;
    } cases[] = {{1, 1}, {1, 7}, {2, 0}, {4, 1}, {8, 3}};
    static epoch_record one, many;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = augmented_options();
    wtl_batcher *batcher = created(set, &o);
    record_epoch(batcher, 5, 0, &one);
    wtl_batcher_free(batcher);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        o.workers = cases[i].workers;
        o.prefetch = cases[i].prefetch;
        batcher = created(set, &o);
        for (uint64_t epoch = 4; epoch <= 6; epoch++) {
            record_epoch(batcher, epoch, 0, &many);
            assert_int_equal(memcmp(&one, &many, sizeof one) == 0, epoch == 5);
        }
        wtl_batcher_free(batcher);
    }
    wtl_dataset_free(set);
}

static void augmentation_is_of_the_epoch_and_the_image_alone(void **state)
{
    (void)state;
    static epoch_record shuffled, plain, later;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = augmented_options();
    wtl_batcher *batcher = created(set, &o);
    record_epoch(batcher, 3, 0, &shuffled);
    wtl_batcher_free(batcher);
    o.shuffle = false;
    batcher = created(set, &o);
    record_epoch(batcher, 3, 0, &plain);
    record_epoch(batcher, 4, 0, &later);
    for (int i = 0; i < IMAGES; i++) {
        size_t index = shuffled.indices[i];
        assert_memory_equal(shuffled.values + i * VALUES, plain.values + index * VALUES,
                            VALUES * sizeof(float));
    }
    assert_memory_not_equal(plain.values, later.values, sizeof plain.values);
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void a_run_can_go_on_at_any_batch(void **state)
{
    (void)state;
    static epoch_record all, rest;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = augmented_options();
    o.workers = 2;
    wtl_batcher *batcher = created(set, &o);
    record_epoch(batcher, 2, 0, &all);
    for (int k = 0; k <= BATCHES; k++) {
        record_epoch(batcher, 2, (size_t)k, &rest);
        int skipped = k * BATCH < IMAGES ? k * BATCH : IMAGES;
        assert_int_equal(rest.images, IMAGES - skipped);
        assert_int_equal(rest.batches, BATCHES - k);
        size_t n = (size_t)rest.images;
        assert_memory_equal(rest.indices, all.indices + skipped, n * sizeof all.indices[0]);
        assert_memory_equal(rest.values, all.values + skipped * VALUES,
                            n * VALUES * sizeof all.values[0]);
        if (rest.batches > 0) {
            assert_int_equal(rest.numbers[0], k);
        }
    }
    wtl_error err;
    assert_fails(wtl_batcher_start(batcher, 2, BATCHES + 1, &err), WTL_E_RANGE, &err,
                 "batch 6 of an epoch with 5");
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void an_epoch_can_be_left_at_any_time(void **state)
{
    (void)state;
    static epoch_record first, again;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = augmented_options();
    o.workers = 3;
    wtl_batcher *batcher = created(set, &o);
    record_epoch(batcher, 0, 0, &first);
    for (int taken = 0; taken < 40; taken++) {
        assert_ok(wtl_batcher_start(batcher, 1, (size_t)(taken % BATCHES), NULL));
        for (int i = 0; i < taken % 4; i++) {
            (void)next(batcher);
        }
    }
    record_epoch(batcher, 0, 0, &again);
    assert_int_equal(memcmp(&first, &again, sizeof first), 0);
    wtl_batcher_free(batcher);
    for (int taken = 0; taken < 20; taken++) {
        batcher = created(set, &o);
        for (int i = 0; i < taken % 4; i++) {
            if (i == 0) {
                assert_ok(wtl_batcher_start(batcher, 1, 0, NULL));
            }
            (void)next(batcher);
        }
        wtl_batcher_free(batcher);
    }
    wtl_batcher_free(NULL);
    wtl_dataset_free(set);
}

static void a_batch_half_made_does_not_reach_the_next_epoch(void **state)
{
    (void)state;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = plain_options();
    /* Large inputs, so that workers are met in the middle of a batch. */
    o.preprocess.height = o.preprocess.width = o.preprocess.resize = 200;
    o.preprocess.rule = WTL_RESIZE_WARP;
    o.batch = 4;
    o.workers = 3;
    wtl_batcher *batcher = created(set, &o);
    for (uint64_t epoch = 0; epoch < 10; epoch++) {
        assert_ok(wtl_batcher_start(batcher, epoch, 0, NULL));
        (void)next(batcher); /* others are under way now */
        assert_ok(wtl_batcher_start(batcher, epoch, 1, NULL));
        for (int index = 4; index < IMAGES;) {
            wtl_batch b = next(batcher);
            assert_int_equal(b.number, index / 4);
            assert_int_equal(b.count, index + 4 <= IMAGES ? 4 : IMAGES - index);
            for (int j = 0; j < b.count; j++, index++) {
                assert_int_equal(b.indices[j], index);
                assert_close(b.images[(size_t)(j + 1) * 40000 - 1], index + 1, 0.0);
            }
        }
    }
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void a_batch_stays_valid_until_the_next_call(void **state)
{
    (void)state;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = plain_options();
    o.batch = 1;
    o.workers = 4;
    o.prefetch = 1;
    wtl_batcher *batcher = created(set, &o);
    assert_ok(wtl_batcher_start(batcher, 0, 0, NULL));
    for (int i = 0; i < IMAGES; i++) {
        wtl_batch b = next(batcher);
        /* Time for the workers to overwrite it, were they allowed to. */
        for (int spin = 0; spin < 2; spin++) {
            sched_yield();
            assert_close(b.images[VALUES - 1], i + 1, 0.0);
            assert_int_equal(b.indices[0], i);
        }
    }
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void a_short_last_batch_can_be_dropped(void **state)
{
    (void)state;
    static epoch_record r;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = plain_options();
    o.drop_last = true;
    wtl_batcher *batcher = created(set, &o);
    assert_int_equal(wtl_batcher_count(batcher), 4);
    record_epoch(batcher, 0, 0, &r);
    assert_int_equal(r.images, 20);
    assert_int_equal(r.batches, 4);
    wtl_batcher_free(batcher);
    o.batch = IMAGES;
    batcher = created(set, &o);
    assert_int_equal(wtl_batcher_count(batcher), 1);
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

/* A list of `count` pictures 4x4, the multiples of `every` of them no pictures. */
static wtl_dataset *damaged_set(int count, int every)
{
    wtl_text list = {0};
    assert_ok(wtl_make_folder(wtl_test_path("bad"), NULL));
    for (int i = 0; i < count; i++) {
        char name[32];
        unsigned char pixels[VALUES];
        memset(pixels, i + 1, sizeof pixels);
        snprintf(name, sizeof name, "bad/%d.png", i);
        if (i % every == 0) {
            wtl_test_write(wtl_test_path(name), "no picture", 10);
        } else {
            wtl_test_write_png(wtl_test_path(name), SIDE, SIDE, 1, pixels);
        }
        wtl_text_printf(&list, "%s %d\n", name + 4, i % 7);
    }
    wtl_test_write(wtl_test_path("bad/list.txt"), list.bytes, list.length);
    wtl_text_clear(&list);
    char data[4600];
    snprintf(data, sizeof data, "list:%s@test", wtl_test_path("bad/list.txt"));
    wtl_dataset *set;
    assert_ok(wtl_dataset_open(&set, data, NULL, NULL));
    return set;
}

static void note_message(void *context, const char *message)
{
    wtl_text_printf(context, "%s;", message);
}

static void unreadable_pictures_are_left_out_and_told_once(void **state)
{
    (void)state;
    static epoch_record r;
    wtl_dataset *set = damaged_set(IMAGES, 11); /* 0, 11 and 22 */
    wtl_batch_options o = plain_options();
    o.most_unreadable = 0.2;
    o.workers = 3;
    wtl_batcher *batcher = created(set, &o);
    wtl_text told = {0};
    wtl_batcher_on_unreadable(batcher, note_message, &told);
    assert_int_equal(wtl_batcher_unreadable(batcher), 0);
    for (uint64_t epoch = 0; epoch < 20; epoch++) {
        record_epoch(batcher, epoch, 0, &r);
        static const int counts[BATCHES] = {4, 5, 4, 5, 2};
        assert_memory_equal(r.counts, counts, sizeof counts);
        for (int i = 0, index = 0; i < r.images; i++, index++) {
            index += index % 11 == 0;
            assert_int_equal(r.indices[i], index);
            assert_int_equal(r.labels[i], index % 7);
            assert_close(r.values[i * VALUES + 3], index + 1, 0.0);
        }
        assert_int_equal(wtl_batcher_unreadable(batcher), 3);
    }
    wtl_text want = {0};
    static const char *const names[] = {"bad/0.png", "bad/11.png", "bad/22.png"};
    for (int i = 0; i < 3; i++) {
        wtl_text_printf(&want, "%s: neither PNG nor JPEG: begins with bytes 6e 6f 20 70;",
                        wtl_test_path(names[i]));
    }
    assert_string_equal(told.bytes, want.bytes);
    wtl_text_clear(&want);
    wtl_text_clear(&told);
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void a_batch_with_nothing_readable_is_passed_over(void **state)
{
    (void)state;
    static epoch_record r;
    wtl_dataset *set = damaged_set(IMAGES, 11);
    wtl_batch_options o = plain_options();
    o.most_unreadable = 0.2;
    o.batch = 1;
    wtl_batcher *batcher = created(set, &o);
    record_epoch(batcher, 0, 10, &r);
    assert_int_equal(r.images, 11);
    assert_int_equal(r.numbers[0], 10);
    assert_int_equal(r.numbers[1], 12);
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void one_unreadable_picture_never_stops_and_two_may(void **state)
{
    (void)state;
    static epoch_record r;
    wtl_batch_options o = plain_options();
    wtl_dataset *set = damaged_set(10, 10);
    wtl_batcher *batcher = created(set, &o);
    record_epoch(batcher, 0, 0, &r);
    assert_int_equal(r.images, 9);
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);

    set = damaged_set(12, 6); /* 0 and 6: more than 1 % */
    batcher = created(set, &o);
    assert_ok(wtl_batcher_start(batcher, 0, 0, NULL));
    assert_int_equal(next(batcher).count, 4);
    wtl_batch batch = {.count = 5};
    wtl_error err;
    char want[WTL_ERROR_TEXT_SIZE];
    snprintf(want, sizeof want,
             "%s: too many unreadable pictures: 2 of 12, the latest %s: neither PNG nor JPEG: "
             "begins with bytes 6e 6f 20 70",
             wtl_dataset_name(set), wtl_test_path("bad/6.png"));
    for (int i = 0; i < 2; i++) { /* the failure stays */
        assert_fails(wtl_batcher_next(batcher, &batch, &err), WTL_E_FORMAT, &err, want);
        assert_int_equal(batch.count, 0);
    }
    assert_ok(wtl_batcher_start(batcher, 1, 2, NULL)); /* until another start */
    assert_int_equal(next(batcher).count, 2);
    assert_int_equal(next(batcher).count, 0);
    assert_ok(wtl_batcher_start(batcher, 1, 0, NULL)); /* but there are still too many */
    assert_int_equal(wtl_batcher_next(batcher, &batch, &err), WTL_E_FORMAT);
    assert_int_equal(wtl_batcher_unreadable(batcher), 2);
    wtl_batcher_free(batcher);
    o.most_unreadable = 0.2;
    batcher = created(set, &o);
    record_epoch(batcher, 0, 0, &r);
    assert_int_equal(r.images, 10);
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void pictures_smaller_than_the_input_stop_the_run(void **state)
{
    (void)state;
    wtl_dataset *set = numbered_set();
    wtl_batch_options o = plain_options();
    o.preprocess.width = SIDE + 1;
    wtl_batcher *batcher = created(set, &o);
    wtl_batch batch;
    wtl_error err;
    assert_ok(wtl_batcher_start(batcher, 0, 0, NULL));
    char want[WTL_ERROR_TEXT_SIZE];
    snprintf(want, sizeof want,
             "idx:%s train image 0: a picture of 4 x 4 pixels (width x height), the network "
             "takes 5 x 4 and resizes nothing",
             wtl_test_path("set"));
    assert_fails(wtl_batcher_next(batcher, &batch, &err), WTL_E_SHAPE, &err, want);
    assert_int_equal(wtl_batcher_unreadable(batcher), 0);
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

static void options_without_sense_are_refused(void **state)
{
    (void)state;
    wtl_dataset *set = numbered_set();
    wtl_batcher *batcher = (wtl_batcher *)set;
    wtl_error err;
    wtl_batch_options o = plain_options();
    o.batch = 0;
    assert_fails(wtl_batcher_create(&batcher, set, &o, &err), WTL_E_ARG, &err,
                 "batches of 0 images");
    assert_null(batcher);
    o = plain_options();
    o.workers = -1;
    assert_fails(wtl_batcher_create(&batcher, set, &o, &err), WTL_E_ARG, &err,
                 "-1 workers, 0 batches ahead: at most 256 and 1024 can be had");
    o = plain_options();
    o.most_unreadable = 1.5;
    assert_fails(wtl_batcher_create(&batcher, set, &o, &err), WTL_E_ARG, &err,
                 "a share of 1.5 unreadable pictures, not inside 0..1");
    o = plain_options();
    o.augment.pad = -1;
    assert_int_equal(wtl_batcher_create(&batcher, set, &o, &err), WTL_E_ARG);
    o = plain_options();
    o.preprocess.deviation[0] = 0.0f;
    assert_int_equal(wtl_batcher_create(&batcher, set, &o, &err), WTL_E_ARG);
    o = plain_options();
    o.batch = IMAGES + 1;
    o.drop_last = true;
    char want[WTL_ERROR_TEXT_SIZE];
    snprintf(want, sizeof want,
             "idx:%s@train: 23 images make no batch of 24, and a short one is to be dropped",
             wtl_test_path("set"));
    assert_fails(wtl_batcher_create(&batcher, set, &o, &err), WTL_E_ARG, &err, want);
    o = plain_options();
    assert_ok(wtl_batcher_create(&batcher, set, &o, &err));
    wtl_batch batch;
    assert_fails(wtl_batcher_next(batcher, &batch, &err), WTL_E_ARG, &err,
                 "no epoch was started");
    wtl_batcher_free(batcher);
    wtl_dataset_free(set);
}

typedef struct run_context {
    wtl_dataset *set;
    wtl_batch_options options;
} run_context;

static wtl_status create_and_run(void *context)
{
    const run_context *c = context;
    wtl_batcher *batcher;
    wtl_batch batch = {.count = 1};
    wtl_status status = wtl_batcher_create(&batcher, c->set, &c->options, NULL);
    if (status == WTL_OK) {
        status = wtl_batcher_start(batcher, 0, 0, NULL);
    }
    while (status == WTL_OK && batch.count > 0) {
        status = wtl_batcher_next(batcher, &batch, NULL);
    }
    wtl_batcher_free(batcher);
    return status;
}

static void every_failing_allocation_is_no_memory(void **state)
{
    (void)state;
    run_context c = {numbered_set(), plain_options()};
    c.options.augment.resized_crop = true;
    wtl_test_every_allocation_fails(create_and_run, &c);
    wtl_dataset_free(c.set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(an_epoch_without_shuffle_is_the_set_in_order),
        WTL_TEST(a_shuffled_epoch_has_each_image_once_in_an_order_of_its_own),
        WTL_TEST(batches_are_the_same_for_any_number_of_workers),
        WTL_TEST(augmentation_is_of_the_epoch_and_the_image_alone),
        WTL_TEST(a_run_can_go_on_at_any_batch),
        WTL_TEST(an_epoch_can_be_left_at_any_time),
        WTL_TEST(a_batch_half_made_does_not_reach_the_next_epoch),
        WTL_TEST(a_batch_stays_valid_until_the_next_call),
        WTL_TEST(a_short_last_batch_can_be_dropped),
        WTL_TEST(unreadable_pictures_are_left_out_and_told_once),
        WTL_TEST(a_batch_with_nothing_readable_is_passed_over),
        WTL_TEST(one_unreadable_picture_never_stops_and_two_may),
        WTL_TEST(pictures_smaller_than_the_input_stop_the_run),
        WTL_TEST(options_without_sense_are_refused),
        WTL_TEST(every_failing_allocation_is_no_memory),
    };
    return WTL_RUN("batcher", tests);
}
