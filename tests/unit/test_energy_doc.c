/* The worked layer of docs/energy-model.md: the numbers there are those of the library. */
#include "wtl_test.h"

#include "wattle/energy.h"
#include "wattle/file.h"
#include "wattle/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Copies the text between two lines of the document. */
static void section(const char *begin, const char *end, char *text, size_t size)
{
    wtl_error err;
    unsigned char *bytes;
    size_t length;
    assert_ok(
        wtl_file_read(WTL_SOURCE_DIR "/docs/energy-model.md", 1 << 20, &bytes, &length, &err));
    const char *from = strstr((const char *)bytes, begin);
    assert_non_null(from);
    from += strlen(begin);
    const char *to = strstr(from, end);
    assert_non_null(to);
    assert_true((size_t)(to - from) < size);
    memcpy(text, from, (size_t)(to - from));
    text[to - from] = '\0';
    wtl_free(bytes);
}

static wtl_layer_energy estimate(void)
{
    char line[512], mapping_text[512];
    section("<!-- worked layer -->\n\n    ", "\n", line, sizeof line);
    section("<!-- worked mapping -->\n\n    ", "\n", mapping_text, sizeof mapping_text);
    wtl_hardware hw;
    wtl_workload work;
    wtl_mapping mapping;
    wtl_layer_energy layer;
    wtl_error err;
    assert_ok(wtl_hardware_load(&hw, "eyeriss-cvpr17", &err));
    assert_ok(wtl_workload_parse(&work, line, strlen(line), "energy-model.md", &err));
    assert_ok(wtl_mapping_parse(&mapping, hw.dataflow, mapping_text, &err));
    assert_ok(wtl_energy_layer(&layer, &hw, &work.layers[0], true, &mapping, &err));
    wtl_workload_clear(&work);
    return layer;
}

static int index_of(const char *word, const char *(*name)(int), int count)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(word, name(i)) == 0) {
            return i;
        }
    }
    fail_msg("'%s' is neither a data type nor a level", word);
    return -1;
}

static const char *type_name(int type)
{
    return wtl_data_type_name((wtl_data_type)type);
}

static const char *level_name(int level)
{
    return wtl_memory_level_name((wtl_memory_level)level);
}

/* Rows "| type | level | how | energy |": each pair once or not at all, then it is 0. */
static void the_worked_layer_has_the_numbers_of_the_document(void **state)
{
    (void)state;
    char table[8192];
    double want[WTL_DATA_TYPE_COUNT][WTL_LEVEL_COUNT] = {{0}}, total = 0;
    int rows = 0;
    section("<!-- worked table -->\n", "<!-- end -->", table, sizeof table);
    for (char *next, *line = table; *line; line = next) {
        size_t length = strcspn(line, "\n");
        next = line + length + (line[length] == '\n');
        line[length] = '\0';
        char type[32], level[32];
        char *last = strrchr(line, '|');
        if (sscanf(line, "| %31s | %31s |", type, level) != 2 || strcmp(type, "type") == 0 ||
            type[0] == '-') {
            continue;
        }
        *last = '\0';
        double energy = strtod(strrchr(line, '|') + 1, NULL);
        want[index_of(type, type_name, WTL_DATA_TYPE_COUNT)]
            [index_of(level, level_name, WTL_LEVEL_COUNT)] += energy;
        total += energy;
        rows++;
    }
    assert_int_equal(rows, 13);
    wtl_layer_energy layer = estimate();
    for (int type = 0; type < WTL_DATA_TYPE_COUNT; type++) {
        for (int level = 0; level < WTL_LEVEL_COUNT; level++) {
            assert_close(layer.energy[type][level], want[type][level], 1e-9);
        }
    }
    assert_close(layer.total, total, 1e-9);
    assert_close(total, 22969.5, 1e-9);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WTL_TEST(the_worked_layer_has_the_numbers_of_the_document),
    };
    return WTL_RUN("energy_doc", tests);
}
