#define _DEFAULT_SOURCE
#include "picture_files.h"
#include "wtl_test.h"

#include "data/source.h"
#include "wattle/dataset.h"
#include "wattle/file.h"
#include "wattle/memory.h"
#include "wattle/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

/* "kind:SCRATCH/name" as DATA; static storage. */
static const char *data_in(const char *kind, const char *name)
{
    static char text[4600];
    snprintf(text, sizeof text, "%s:%s/%s", kind, wtl_test_folder(), name);
    return text;
}

/* Like assert_fails; the message must be `form` with the scratch folder for each "~". */
static void open_fails(const char *data, const wtl_dataset_options *options, wtl_status status,
                       const char *form)
{
    wtl_error err = {0};
    wtl_dataset *dataset = (wtl_dataset *)&err;
    wtl_text want = {0};
    for (const char *at = form; *at; at++) {
        if (*at == '~') {
            wtl_text_printf(&want, "%s", wtl_test_folder());
        } else {
            wtl_text_put(&want, at, 1);
        }
    }
    want.bytes[want.length < sizeof err.text ? want.length : sizeof err.text - 1] = '\0';
    assert_int_equal(wtl_dataset_open(&dataset, data, options, &err), status);
    assert_string_equal(err.text, want.bytes);
    assert_null(dataset);
    wtl_text_clear(&want);
}

static wtl_dataset *opened(const char *data, const wtl_dataset_options *options)
{
    wtl_error err = {0};
    wtl_dataset *dataset = NULL;
    if (wtl_dataset_open(&dataset, data, options, &err) != WTL_OK) {
        fail_msg("%s: %s", data, err.text);
    }
    return dataset;
}

static void make_folder(const char *path)
{
    assert_ok(wtl_make_folder(path, NULL));
}

/* IDX */

/* labels[count], images [count,2,3] with pixel (i, y, x) = 10 i + 3 y + x. */
static void write_idx(const char *folder, const char *part, int count,
                      const unsigned char *labels, bool gz)
{
    unsigned char bytes[1024] = {0, 0, 8, 1, 0, 0, 0, (unsigned char)count};
    char path[4600];
    make_folder(folder);
    memcpy(bytes + 8, labels, (size_t)count);
    snprintf(path, sizeof path, "%s/%s-labels-idx1-ubyte", folder, part);
    wtl_test_write(path, bytes, 8 + (size_t)count);
    bytes[3] = 3;
    memset(bytes + 8, 0, 8);
    bytes[11] = 2;
    bytes[15] = 3;
    for (int i = 0; i < 6 * count; i++) {
        bytes[16 + i] = (unsigned char)(10 * (i / 6) + i % 6);
    }
    snprintf(path, sizeof path, "%s/%s-images-idx3-ubyte%s", folder, part, gz ? ".gz" : "");
    if (!gz) {
        wtl_test_write(path, bytes, 16 + 6 * (size_t)count);
        return;
    }
    gzFile file = gzopen(path, "wb");
    assert_int_equal(gzwrite(file, bytes, 16 + 6 * (unsigned)count), 16 + 6 * count);
    assert_int_equal(gzclose(file), Z_OK);
}

static void idx_folders_give_pictures_and_labels(void **state)
{
    (void)state;
    static const unsigned char train[5] = {0, 3, 1, 2, 1}, test[2] = {2, 0};
    write_idx(wtl_test_path("idx"), "train", 5, train, true);
    write_idx(wtl_test_path("idx"), "t10k", 2, test, false);
    const wtl_dataset_options whole = {.whole_train = true};
    wtl_dataset *set = opened(data_in("idx", "idx"), &whole);
    assert_int_equal(wtl_dataset_count(set), 5);
    assert_int_equal(wtl_dataset_classes(set), 4);
    assert_null(wtl_dataset_class_name(set, 0));
    int c = 0, h = 0, w = 0;
    wtl_dataset_shape(set, &c, &h, &w);
    assert_int_equal(c, 1);
    assert_int_equal(h, 2);
    assert_int_equal(w, 3);
    wtl_image image = {0};
    assert_ok(wtl_dataset_image(set, 3, &image, NULL));
    static const unsigned char want[6] = {30, 31, 32, 33, 34, 35};
    assert_int_equal(image.width, 3);
    assert_int_equal(image.height, 2);
    assert_int_equal(image.channels, 1);
    assert_memory_equal(image.pixels, want, 6);
    for (size_t i = 0; i < 5; i++) {
        assert_int_equal(wtl_dataset_label(set, i), train[i]);
    }
    assert_int_equal(wtl_dataset_image(set, 5, &image, NULL), WTL_E_ARG);
    wtl_image_clear(&image);
    wtl_dataset_free(set);

    char at_test[4700];
    snprintf(at_test, sizeof at_test, "%s@test", data_in("idx", "idx"));
    set = opened(at_test, NULL);
    assert_string_equal(wtl_dataset_name(set), at_test);
    assert_int_equal(wtl_dataset_count(set), 2);
    assert_int_equal(wtl_dataset_classes(set), 4); /* as train has them */
    char text[5000], want_text[5000];
    wtl_dataset_describe(set, 1, text, sizeof text);
    snprintf(want_text, sizeof want_text, "%s test image 1", data_in("idx", "idx"));
    assert_string_equal(text, want_text);
    wtl_dataset_free(set);
}

static void idx_parts_that_disagree_are_refused(void **state)
{
    (void)state;
    static const unsigned char few[2] = {0, 1}, many[3] = {0, 1, 1}, high[2] = {0, 2};
    const wtl_dataset_options test = {.part = WTL_DATA_TEST};
    write_idx(wtl_test_path("idx-count"), "train", 3, many, false);
    assert_int_equal(
        rename(wtl_test_path("idx-count/train-images-idx3-ubyte"), wtl_test_path("images")), 0);
    write_idx(wtl_test_path("idx-count"), "train", 2, few, false);
    assert_int_equal(
        rename(wtl_test_path("images"), wtl_test_path("idx-count/train-images-idx3-ubyte")), 0);
    open_fails(data_in("idx", "idx-count"), NULL, WTL_E_FORMAT,
               "~/idx-count/train-images-idx3-ubyte: offset 4: 3 images, but 2 labels");
    write_idx(wtl_test_path("idx-class"), "train", 2, few, false);
    write_idx(wtl_test_path("idx-class"), "t10k", 2, high, false);
    open_fails(data_in("idx", "idx-class"), &test, WTL_E_FORMAT,
               "~/idx-class: t10k label 1 is 2, but there are 2 classes");
    make_folder(wtl_test_path("idx-none"));
    open_fails(data_in("idx", "idx-none"), NULL, WTL_E_MISSING,
               "~/idx-none: there is no train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz");
}

static void idx_files_that_lie_are_refused(void **state)
{
    (void)state;
    static const struct {
        unsigned char bytes[20];
        size_t length;
        int dimensions;
        const char *text;
    } cases[] = {
        {{0}, 0, 1, "f: offset 0: cut short inside the header"},
        {{0, 0, 8}, 3, 1, "f: offset 3: cut short inside the header"},
        {{0, 0, 8, 1, 0, 0, 0}, 7, 1, "f: offset 7: cut short inside the header"},
        {{0, 0, 8, 3, 0, 0, 0, 1},
         8,
         1,
         "f: offset 0: 0x00000803 is not the 0x00000801 that begins IDX labels"},
        {{0, 0, 0x0d, 3},
         4,
         3,
         "f: offset 0: 0x00000d03 is not the 0x00000803 that begins IDX images"},
        {{0, 0, 8, 1, 0, 0, 0, 3, 1, 1},
         10,
         1,
         "f: offset 8: the header promises 3 bytes, 2 follow"},
        {{0, 0, 8, 1, 0, 0, 0, 1, 1, 1},
         10,
         1,
         "f: offset 8: the header promises 1 bytes, 2 follow"},
        {{0, 0, 8, 1, 0, 0, 0, 0}, 8, 1, "f: offset 4: dimension 1 is 0, not 1..4294967295"},
        {{0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0x40, 1, 0, 0, 0, 1},
         16,
         3,
         "f: offset 8: dimension 2 is 16385, not 1..16384"},
        {{0, 0, 8, 3, 0xff, 0xff, 0xff, 0xff, 0, 0, 0x40, 0, 0, 0, 0x40, 0},
         16,
         3,
         "f: offset 16: the header promises 1152921504338411520 bytes, 0 follow"},
    };
    wtl_error err;
    wtl_idx idx;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_fails(wtl_idx_parse(&idx, cases[i].bytes, cases[i].length, cases[i].dimensions,
                                   "f", &err),
                     WTL_E_FORMAT, &err, cases[i].text);
    }
}

/* CIFAR */

enum { CIFAR10_RECORD = 3073, CIFAR100_RECORD = 3074 };

/* Record i: labels, then red = i + 1, green = x of the pixel, blue = y. */
static void fill_cifar(unsigned char *to, int label_bytes, const unsigned char *labels,
                       unsigned char red)
{
    memcpy(to, labels, (size_t)label_bytes);
    to += label_bytes;
    for (int i = 0; i < 1024; i++) {
        to[i] = red;
        to[1024 + i] = (unsigned char)(i % 32);
        to[2048 + i] = (unsigned char)(i / 32);
    }
}

static void write_cifar10(const char *path, int count, unsigned char first_label)
{
    unsigned char bytes[3 * CIFAR10_RECORD];
    for (int i = 0; i < count; i++) {
        unsigned char label = (unsigned char)(first_label + i);
        fill_cifar(bytes + i * CIFAR10_RECORD, 1, &label, (unsigned char)(label + 100));
    }
    wtl_test_write(path, bytes, (size_t)count * CIFAR10_RECORD);
}

static void cifar10_planes_become_pixels_in_file_order(void **state)
{
    (void)state;
    make_folder(wtl_test_path("c10"));
    write_cifar10(wtl_test_path("c10/data_batch_2.bin"), 1, 2);
    write_cifar10(wtl_test_path("c10/data_batch_1.bin"), 2, 0);
    write_cifar10(wtl_test_path("c10/my_train.bin"), 1, 9); /* not an official name */
    write_cifar10(wtl_test_path("c10/test_batch.bin"), 3, 7);
    const wtl_dataset_options whole = {.whole_train = true};
    wtl_dataset *set = opened(data_in("cifar10", "c10"), &whole);
    assert_int_equal(wtl_dataset_count(set), 3);
    assert_int_equal(wtl_dataset_classes(set), 10);
    assert_string_equal(wtl_dataset_class_name(set, 9), "truck");
    wtl_image image = {0};
    for (int i = 0; i < 3; i++) {
        assert_int_equal(wtl_dataset_label(set, (size_t)i), i);
        assert_ok(wtl_dataset_image(set, (size_t)i, &image, NULL));
        const unsigned char *pixel = image.pixels + (5 * 32 + 17) * 3;
        assert_int_equal(pixel[0], 100 + i);
        assert_int_equal(pixel[1], 17);
        assert_int_equal(pixel[2], 5);
    }
    assert_int_equal(image.width * 1000 + image.height, 32032);
    assert_int_equal(image.channels, 3);
    wtl_image_clear(&image);
    wtl_dataset_free(set);
}

static void cifar_names_come_from_the_file_beside_the_data(void **state)
{
    (void)state;
    make_folder(wtl_test_path("c10n"));
    write_cifar10(wtl_test_path("c10n/some_test.bin"), 3, 7);
    static const char names[] = "a\nb\r\nc\nd\ne\nf\ng\nh\ni\nlast one\n\n";
    wtl_test_write(wtl_test_path("c10n/batches.meta.txt"), names, sizeof names - 1);
    const wtl_dataset_options test = {.part = WTL_DATA_TEST};
    wtl_dataset *set = opened(data_in("cifar10", "c10n"), &test);
    assert_int_equal(wtl_dataset_count(set), 3);
    assert_string_equal(wtl_dataset_class_name(set, 1), "b");
    assert_string_equal(wtl_dataset_class_name(set, 9), "last one");
    assert_null(wtl_dataset_class_name(set, 10));
    assert_null(wtl_dataset_class_name(set, -1));
    wtl_dataset_free(set);
    wtl_test_write(wtl_test_path("c10n/batches.meta.txt"), names, 6);
    open_fails(data_in("cifar10", "c10n"), &test, WTL_E_FORMAT,
               "~/c10n/batches.meta.txt: 3 class names, 10 expected");
    open_fails(data_in("cifar10", "c10n"), NULL, WTL_E_MISSING,
               "~/c10n: there is no data_batch_*.bin, nor a *train*.bin");
}

static void cifar100_keeps_the_fine_label(void **state)
{
    (void)state;
    unsigned char bytes[2 * CIFAR100_RECORD];
    static const unsigned char labels[2][2] = {{19, 99}, {3, 4}};
    make_folder(wtl_test_path("c100"));
    fill_cifar(bytes, 2, labels[0], 1);
    fill_cifar(bytes + CIFAR100_RECORD, 2, labels[1], 2);
    wtl_test_write(wtl_test_path("c100/test.bin"), bytes, sizeof bytes);
    const wtl_dataset_options test = {.part = WTL_DATA_TEST};
    wtl_dataset *set = opened(data_in("cifar100", "c100"), &test);
    assert_int_equal(wtl_dataset_classes(set), 100);
    assert_int_equal(wtl_dataset_label(set, 0), 99);
    assert_int_equal(wtl_dataset_label(set, 1), 4);
    assert_null(wtl_dataset_class_name(set, 0));
    wtl_dataset_free(set);
}

static void damaged_cifar_files_are_refused(void **state)
{
    (void)state;
    static unsigned char bytes[2 * CIFAR100_RECORD];
    wtl_source source = {0};
    wtl_error err;
    assert_fails(wtl_cifar_parse(&source, bytes, 0, 1, "f", &err), WTL_E_FORMAT, &err,
                 "f: offset 0: 0 bytes hold no record of 3073");
    assert_fails(wtl_cifar_parse(&source, bytes, 3072, 1, "f", &err), WTL_E_FORMAT, &err,
                 "f: offset 0: 3072 bytes hold no record of 3073");
    assert_fails(wtl_cifar_parse(&source, bytes, CIFAR10_RECORD, 2, "f", &err), WTL_E_FORMAT,
                 &err, "f: offset 0: 3073 bytes hold no record of 3074");
    assert_fails(wtl_cifar_parse(&source, bytes, CIFAR10_RECORD + 7, 1, "f", &err),
                 WTL_E_FORMAT, &err,
                 "f: offset 3073: 7 bytes left over after records of 3073 bytes");
    bytes[CIFAR10_RECORD] = 10;
    assert_fails(wtl_cifar_parse(&source, bytes, 2 * CIFAR10_RECORD, 1, "f", &err),
                 WTL_E_FORMAT, &err, "f: offset 3073: label 10, not 0..9");
    bytes[CIFAR10_RECORD] = 0;
    bytes[CIFAR100_RECORD] = 20;
    assert_fails(wtl_cifar_parse(&source, bytes, sizeof bytes, 2, "f", &err), WTL_E_FORMAT,
                 &err, "f: offset 3074: coarse label 20, not 0..19");
    bytes[CIFAR100_RECORD] = 19;
    bytes[CIFAR100_RECORD + 1] = 100;
    assert_fails(wtl_cifar_parse(&source, bytes, sizeof bytes, 2, "f", &err), WTL_E_FORMAT,
                 &err, "f: offset 3075: fine label 100, not 0..99");
    bytes[CIFAR100_RECORD] = bytes[CIFAR100_RECORD + 1] = 0;
    assert_int_equal(source.count, 0);
    wtl_source_clear(&source);
}

/* Folders and lists */

/* A 2x1 gray PNG whose pixels are `value` and 0. */
static void write_picture(const char *name, unsigned char value)
{
    unsigned char pixels[2] = {value, 0};
    char *folder = wtl_strdup(wtl_test_path(name));
    *strrchr(folder, '/') = '\0';
    make_folder(folder);
    wtl_free(folder);
    wtl_test_write_png(wtl_test_path(name), 2, 1, 1, pixels);
}

/* The pictures' first pixels and labels, in order. */
static void holds(const char *data, const wtl_dataset_options *options, int count,
                  const unsigned char *values, const int *labels)
{
    wtl_dataset *set = opened(data, options);
    wtl_image image = {0};
    assert_int_equal(wtl_dataset_count(set), count);
    for (int round = 0; round < 2; round++) { /* the second from memory */
        for (int i = 0; i < count; i++) {
            assert_ok(wtl_dataset_image(set, (size_t)i, &image, NULL));
            assert_int_equal(image.width, 2);
            assert_int_equal(image.pixels[0], values[i]);
            assert_int_equal(image.pixels[1], 0);
            assert_int_equal(wtl_dataset_label(set, (size_t)i), labels[i]);
        }
    }
    wtl_image_clear(&image);
    wtl_dataset_free(set);
}

static void folders_are_classes_in_order_of_their_names(void **state)
{
    (void)state;
    write_picture("flat/cat/2.PNG", 2);
    write_picture("flat/cat/10.jpeg", 10);
    write_picture("flat/Bird/x.Jpg", 20);
    write_picture("flat/ant/z.png", 30);
    write_picture("flat/ant/.hidden.png", 99);
    write_picture("flat/ant/notes.txt", 99);
    wtl_test_write(wtl_test_path("flat/ant/README"), "?", 1);
    write_picture("flat/.git/a.png", 99);
    write_picture("flat/loose.png", 99);
    write_picture("elsewhere/far.png", 40);
    make_folder(wtl_test_path("flat/ant/folder.png"));
    (void)unlink(wtl_test_path("flat/cat/link.jpg"));
    assert_int_equal(symlink("../../elsewhere/far.png", wtl_test_path("flat/cat/link.jpg")), 0);
    (void)unlink(wtl_test_path("flat/dog"));
    assert_int_equal(symlink("../elsewhere", wtl_test_path("flat/dog")), 0);
    (void)unlink(wtl_test_path("flat/cat/broken.jpg"));
    assert_int_equal(symlink("nowhere", wtl_test_path("flat/cat/broken.jpg")), 0);
    /* Bird < ant < cat < dog; "10.jpeg" < "2.PNG" < "link.jpg" */
    static const unsigned char values[6] = {20, 30, 10, 2, 40, 40};
    static const int labels[6] = {0, 1, 2, 2, 2, 3};
    const wtl_dataset_options whole = {.whole_train = true};
    holds(data_in("folder", "flat"), &whole, 6, values, labels);
    wtl_dataset *set = opened(data_in("folder", "flat"), &whole);
    assert_int_equal(wtl_dataset_classes(set), 4);
    assert_string_equal(wtl_dataset_class_name(set, 0), "Bird");
    char text[5000];
    wtl_dataset_describe(set, 0, text, sizeof text);
    assert_string_equal(text, wtl_test_path("flat/Bird/x.Jpg"));
    int c = 9, h = 9, w = 9;
    wtl_dataset_shape(set, &c, &h, &w);
    assert_int_equal(c + h + w, 0);
    wtl_dataset_free(set);
    const wtl_dataset_options test = {.part = WTL_DATA_TEST};
    open_fails(data_in("folder", "flat"), &test, WTL_E_MISSING,
               "~/flat/: has no test part (no test/CLASS or val/CLASS folders): use @train or "
               "@val");
}

static void the_only_other_part_is_the_test_part(void **state)
{
    (void)state;
    write_picture("two/train/a/1.png", 1);
    write_picture("two/train/b/2.png", 2);
    write_picture("two/val/b/3.png", 3);
    static const unsigned char train[2] = {1, 2}, test[1] = {3};
    static const int train_labels[2] = {0, 1}, test_labels[1] = {1};
    const wtl_dataset_options whole = {.whole_train = true};
    const wtl_dataset_options testing = {.part = WTL_DATA_TEST};
    holds(data_in("folder", "two"), &whole, 2, train, train_labels);
    holds(data_in("folder", "two/"), &testing, 1, test, test_labels);
    write_picture("two/val/c/4.png", 4);
    open_fails(data_in("folder", "two"), &testing, WTL_E_FORMAT,
               "~/two/val/c: is a class that train/ does not have");
}

static void a_folder_with_three_parts_holds_nothing_out(void **state)
{
    (void)state;
    write_picture("three/train/a/1.png", 1);
    write_picture("three/train/b/2.png", 2);
    write_picture("three/val/b/3.png", 3);
    write_picture("three/test/a/4.png", 4);
    static const unsigned char values[4] = {1, 2, 3, 4};
    static const int labels[4] = {0, 1, 1, 0};
    wtl_dataset_options o = {.part = WTL_DATA_TRAIN};
    holds(data_in("folder", "three"), &o, 2, values, labels);
    o.part = WTL_DATA_VAL;
    holds(data_in("folder", "three"), &o, 1, values + 2, labels + 2);
    o.part = WTL_DATA_TEST;
    holds(data_in("folder", "three"), &o, 1, values + 3, labels + 3);
}

static void a_class_may_be_called_train(void **state)
{
    (void)state;
    write_picture("cars/bus/1.png", 1);
    write_picture("cars/train/2.png", 2);
    static const unsigned char values[2] = {1, 2};
    static const int labels[2] = {0, 1};
    const wtl_dataset_options whole = {.whole_train = true};
    holds(data_in("folder", "cars"), &whole, 2, values, labels);
}

static void folders_without_pictures_are_missing(void **state)
{
    (void)state;
    make_folder(wtl_test_path("bare/train/a"));
    open_fails(
        data_in("folder", "bare"), NULL, WTL_E_MISSING,
        "~/bare/train: no pictures: .png, .jpg or .jpeg files in a folder for each class "
        "were expected");
    make_folder(wtl_test_path("bare2/test/a"));
    open_fails(data_in("folder", "bare2"), NULL, WTL_E_MISSING,
               "~/bare2/: has no train/CLASS folders");
    open_fails(data_in("folder", "nowhere"), NULL, WTL_E_MISSING,
               "~/nowhere: there is no such folder");
}

static void lists_name_pictures_beside_them(void **state)
{
    (void)state;
    write_picture("list/a b/1.png", 1);
    write_picture("list/2.png", 2);
    wtl_text text = {0};
    wtl_text_printf(&text, "2.png 7\r\n\n  a b/1.png \t 0  \n%s 3",
                    wtl_test_path("list/2.png"));
    wtl_test_write(wtl_test_path("list/all.txt"), text.bytes, text.length);
    wtl_text_clear(&text);
    static const unsigned char values[3] = {2, 1, 2};
    static const int labels[3] = {7, 0, 3};
    const wtl_dataset_options whole = {.whole_train = true};
    const wtl_dataset_options test = {.part = WTL_DATA_TEST};
    holds(data_in("list", "list/all.txt"), &whole, 3, values, labels);
    holds(data_in("list", "list/all.txt"), &test, 3, values, labels);
    wtl_dataset *set = opened(data_in("list", "list/all.txt"), &test);
    assert_int_equal(wtl_dataset_classes(set), 8);
    wtl_dataset_free(set);
}

static void list_lines_that_cannot_be_read_are_named(void **state)
{
    (void)state;
#define EXPECTED ": \"path label\" was expected, with a label 0..65535"
    static const struct {
        const char *bytes;
        size_t length;
        const char *text;
    } cases[] = {
        {"a.png 1\nb.png\n", 14, "l.txt:2" EXPECTED},
        {"a.png one\n", 10, "l.txt:1" EXPECTED},
        {"\n\na.png -1", 10, "l.txt:3" EXPECTED},
        {"a.png 65536", 11, "l.txt:1" EXPECTED},
        {"a.png 00000000000000000001", 26, "l.txt:1" EXPECTED},
        {"17", 2, "l.txt:1" EXPECTED},
        {"  17", 4, "l.txt:1" EXPECTED},
        {"a\0.png 1", 8, "l.txt:1: the line holds a zero byte"},
        {"", 0, "l.txt: the list holds no pictures"},
        {" \n\r\n", 4, "l.txt: the list holds no pictures"},
    };
    wtl_error err;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        wtl_source source = {0};
        assert_fails(wtl_list_parse(&source, (const unsigned char *)cases[i].bytes,
                                    cases[i].length, "l.txt", &err),
                     WTL_E_FORMAT, &err, cases[i].text);
        wtl_source_clear(&source);
    }
}

/* Parts */

static void write_many(const char *folder)
{
    unsigned char labels[100];
    for (int i = 0; i < 100; i++) {
        labels[i] = (unsigned char)(i % 10);
    }
    write_idx(folder, "train", 100, labels, false);
}

/* seen[i] += 1 for each record i of the set, told by its description; order ascending. */
static void count_records(const wtl_dataset *set, int *seen)
{
    long before = -1;
    for (size_t i = 0; i < wtl_dataset_count(set); i++) {
        char text[5000];
        wtl_dataset_describe(set, i, text, sizeof text);
        long record = strtol(strrchr(text, ' ') + 1, NULL, 10);
        assert_true(record > before);
        before = record;
        seen[record]++;
        assert_int_equal(wtl_dataset_label(set, i), record % 10);
    }
}

static void train_and_val_share_the_images_by_seed(void **state)
{
    (void)state;
    write_many(wtl_test_path("many"));
    for (int seed = 0; seed < 2; seed++) {
        int seen[100] = {0};
        wtl_dataset_options o = {.split_seed = (uint64_t)seed, .val_share = seed ? 0.254 : 0.0};
        wtl_dataset *train = opened(data_in("idx", "many"), &o);
        o.part = WTL_DATA_VAL;
        wtl_dataset *val = opened(data_in("idx", "many"), &o);
        assert_int_equal(wtl_dataset_count(val), seed ? 25 : 10);
        assert_int_equal(wtl_dataset_count(train), seed ? 75 : 90);
        count_records(train, seen);
        count_records(val, seen);
        for (int i = 0; i < 100; i++) {
            assert_int_equal(seen[i], 1);
        }
        wtl_dataset *again = opened(data_in("idx", "many"), &o);
        assert_int_equal(wtl_dataset_hash(again), wtl_dataset_hash(val));
        assert_int_not_equal(wtl_dataset_hash(train), wtl_dataset_hash(val));
        wtl_image image = {0};
        assert_ok(wtl_dataset_image(val, 7, &image, NULL));
        char text[5000];
        wtl_dataset_describe(val, 7, text, sizeof text);
        assert_int_equal(image.pixels[5],
                         (10 * strtol(strrchr(text, ' ') + 1, NULL, 10) + 5) % 256);
        wtl_image_clear(&image);
        wtl_dataset_free(again);
        wtl_dataset_free(val);
        wtl_dataset_free(train);
    }
}

static void another_seed_holds_other_images_out(void **state)
{
    (void)state;
    write_many(wtl_test_path("many"));
    uint32_t hashes[3];
    for (int seed = 0; seed < 3; seed++) {
        wtl_dataset_options o = {.split_seed = (uint64_t)seed, .part = WTL_DATA_VAL};
        wtl_dataset *val = opened(data_in("idx", "many"), &o);
        hashes[seed] = wtl_dataset_hash(val);
        wtl_dataset_free(val);
    }
    assert_true(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
}

static void the_hash_sees_a_pixel_and_a_label(void **state)
{
    (void)state;
    static const unsigned char labels[2][2] = {{0, 1}, {1, 1}};
    const wtl_dataset_options whole = {.whole_train = true};
    uint32_t hashes[3];
    for (int i = 0; i < 3; i++) {
        write_idx(wtl_test_path("hash"), "train", 2, labels[i == 1], false);
        if (i == 2) {
            FILE *file = fopen(wtl_test_path("hash/train-images-idx3-ubyte"), "r+b");
            assert_non_null(file);
            fseek(file, 27, SEEK_SET);
            fputc(77, file);
            fclose(file);
        }
        wtl_dataset *set = opened(data_in("idx", "hash"), &whole);
        hashes[i] = wtl_dataset_hash(set);
        wtl_dataset_free(set);
    }
    assert_true(hashes[0] != hashes[1] && hashes[1] != hashes[2] && hashes[0] != hashes[2]);
}

static void tiny_sets_keep_at_least_one_image_on_each_side(void **state)
{
    (void)state;
    static const unsigned char labels[2] = {0, 1};
    wtl_dataset_options o = {.val_share = 0.99};
    write_idx(wtl_test_path("pair"), "train", 2, labels, false);
    wtl_dataset *set = opened(data_in("idx", "pair"), &o);
    assert_int_equal(wtl_dataset_count(set), 1);
    wtl_dataset_free(set);
    write_idx(wtl_test_path("one"), "train", 1, labels, false);
    set = opened(data_in("idx", "one"), &o);
    assert_int_equal(wtl_dataset_count(set), 1);
    wtl_dataset_free(set);
    o.part = WTL_DATA_VAL;
    open_fails(data_in("idx", "one"), &o, WTL_E_ARG,
               "idx:~/one@val: too few images (1) to hold some out");
}

static void data_texts_that_mean_nothing_are_explained(void **state)
{
    (void)state;
#define KNOWN                                                                                  \
    "expected fashion-mnist, idx:DIR, cifar10:DIR, cifar100:DIR, folder:DIR or list:FILE"
    static const struct {
        const char *data, *text;
    } cases[] = {
        {"fashion-mnst",
         "\"fashion-mnst\" is not a data set: " KNOWN "; did you mean fashion-mnist?"},
        {"/home/me/pictures", "\"/home/me/pictures\" is not a data set: " KNOWN},
        {"", "\"\" is not a data set: " KNOWN},
        {"cifar10", "\"cifar10\": cifar10:DIR was expected"},
        {"folder:", "\"folder:\": folder:DIR was expected"},
        {"list:@val", "\"list:\": list:FILE was expected"},
        {"fashion-mnist:/data", "\"fashion-mnist:/data\": nothing may follow fashion-mnist; a "
                                "folder is idx:DIR"},
        {"idx:/data@vall", "\"idx:/data@vall\": @vall is not @train, @val or @test"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        open_fails(cases[i].data, NULL, WTL_E_ARG, cases[i].text);
    }
    const wtl_dataset_options whole = {.whole_train = true}, share = {.val_share = 1.0};
    open_fails("idx:x@val", &whole, WTL_E_ARG,
               "idx:x@val: nothing is held out when all of train is trained on");
    open_fails("idx:x", &share, WTL_E_ARG, "a validation share of 1 is not inside 0..1");
    open_fails("idx:/x@home/y", NULL, WTL_E_MISSING,
               "/x@home/y: there is no train-labels-idx1-ubyte or train-labels-idx1-ubyte.gz");
}

static void fashion_mnist_is_the_package_or_says_which(void **state)
{
    (void)state;
    const char *folder = "/usr/share/datasets/fashion-mnist";
    if (!wtl_folder_exists(folder)) {
        open_fails("fashion-mnist", NULL, WTL_E_MISSING,
                   "fashion-mnist: /usr/share/datasets/fashion-mnist is not there: install the "
                   "Debian package dataset-fashion-mnist, or name a folder with the four files "
                   "by idx:DIR");
        return;
    }
    wtl_dataset *set = opened("fashion-mnist@test", NULL);
    assert_int_equal(wtl_dataset_count(set), 10000);
    assert_int_equal(wtl_dataset_classes(set), 10);
    /* The first test image is an ankle boot, as in its authors' own pictures. */
    assert_string_equal(wtl_dataset_class_name(set, wtl_dataset_label(set, 0)), "Ankle boot");
    char text[100];
    wtl_dataset_describe(set, 17, text, sizeof text);
    assert_string_equal(text, "fashion-mnist test image 17");
    wtl_dataset_free(set);
}

static wtl_status open_and_free(void *context)
{
    wtl_dataset *set;
    const wtl_dataset_options test = {.part = WTL_DATA_TEST};
    const char *data = context;
    wtl_status status =
        wtl_dataset_open(&set, data, strncmp(data, "cifar100", 8) == 0 ? &test : NULL, NULL);
    wtl_dataset_free(set);
    return status;
}

static void every_failing_allocation_is_no_memory(void **state)
{
    (void)state;
    static const unsigned char labels[3] = {0, 1, 2};
    static const char list[] = "a/1.png 0\nb/2.png 1\n";
    unsigned char record[CIFAR100_RECORD];
    write_idx(wtl_test_path("mem"), "train", 3, labels, true);
    make_folder(wtl_test_path("mem10"));
    write_cifar10(wtl_test_path("mem10/data_batch_1.bin"), 3, 1);
    make_folder(wtl_test_path("mem100"));
    fill_cifar(record, 2, labels, 3);
    wtl_test_write(wtl_test_path("mem100/test.bin"), record, sizeof record);
    write_picture("memf/train/a/1.png", 1);
    write_picture("memf/train/b/2.png", 2);
    wtl_test_write(wtl_test_path("memf/train/list.txt"), list, sizeof list - 1);
    const char *sets[][2] = {{"idx", "mem"},
                             {"cifar10", "mem10"},
                             {"cifar100", "mem100"},
                             {"folder", "memf"},
                             {"list", "memf/train/list.txt"}};
    for (size_t i = 0; i < sizeof sets / sizeof sets[0]; i++) {
        char data[4700];
        snprintf(data, sizeof data, "%s", data_in(sets[i][0], sets[i][1]));
        wtl_test_every_allocation_fails(open_and_free, data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(idx_folders_give_pictures_and_labels),
        WTL_TEST(idx_parts_that_disagree_are_refused),
        WTL_TEST(idx_files_that_lie_are_refused),
        WTL_TEST(cifar10_planes_become_pixels_in_file_order),
        WTL_TEST(cifar_names_come_from_the_file_beside_the_data),
        WTL_TEST(cifar100_keeps_the_fine_label),
        WTL_TEST(damaged_cifar_files_are_refused),
        WTL_TEST(folders_are_classes_in_order_of_their_names),
        WTL_TEST(the_only_other_part_is_the_test_part),
        WTL_TEST(a_folder_with_three_parts_holds_nothing_out),
        WTL_TEST(a_class_may_be_called_train),
        WTL_TEST(folders_without_pictures_are_missing),
        WTL_TEST(lists_name_pictures_beside_them),
        WTL_TEST(list_lines_that_cannot_be_read_are_named),
        WTL_TEST(train_and_val_share_the_images_by_seed),
        WTL_TEST(another_seed_holds_other_images_out),
        WTL_TEST(the_hash_sees_a_pixel_and_a_label),
        WTL_TEST(tiny_sets_keep_at_least_one_image_on_each_side),
        WTL_TEST(data_texts_that_mean_nothing_are_explained),
        WTL_TEST(fashion_mnist_is_the_package_or_says_which),
        WTL_TEST(every_failing_allocation_is_no_memory),
    };
    return WTL_RUN("dataset", tests);
}
