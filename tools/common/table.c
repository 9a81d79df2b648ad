/* table.c - rows of text that come out aligned, as Markdown or as CSV. */
#include "table.h"

#include "wattle/memory.h"

#include <math.h>
#include <stdarg.h>
#include <string.h>

enum { LONGEST_CELL = 512 };

void wtl_table_cell(wtl_table *table, const char *format, ...)
{
    char cell[LONGEST_CELL];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(cell, sizeof cell, format, arguments);
    va_end(arguments);
    for (char *c = cell; *c; c++) { /* as wtl_cli_print_text(): names come from files */
        *c = (unsigned char)*c < ' ' || *c == 127 ? '?' : *c;
    }
    wtl_text_put(&table->cells, cell, strlen(cell) + 1);
}

void wtl_table_number(wtl_table *table, double value, int digits)
{
    if (isnan(value)) {
        wtl_table_cell(table, "-");
        return;
    }
    wtl_table_cell(table, "%.*f", digits, value);
}

static void print_text_row(FILE *stream, const wtl_table *table, const char *const *cells,
                           const int *widths)
{
    for (int i = 0; i < table->column_count; i++) {
        const char *gap = i ? "  " : "";
        bool last = i == table->column_count - 1;
        if (!table->columns[i].left) {
            fprintf(stream, "%s%*s", gap, widths[i], cells[i]);
        } else {
            fprintf(stream, "%s%-*s", gap, last ? 0 : widths[i], cells[i]);
        }
    }
    putc('\n', stream);
}

static void print_markdown_row(FILE *stream, const wtl_table *table, const char *const *cells)
{
    for (int i = 0; i < table->column_count; i++) {
        fputs(i ? " " : "| ", stream);
        for (const char *c = cells[i]; *c; c++) {
            fprintf(stream, "%s%c", *c == '|' ? "\\" : "", *c);
        }
        fputs(" |", stream);
    }
    putc('\n', stream);
}

static void print_csv_row(FILE *stream, const wtl_table *table, const char *const *cells)
{
    for (int i = 0; i < table->column_count; i++) {
        bool quoted = strpbrk(cells[i], ",\"") != NULL;
        fputs(i ? "," : "", stream);
        fputs(quoted ? "\"" : "", stream);
        for (const char *c = cells[i]; *c; c++) {
            fprintf(stream, "%s%c", *c == '"' ? "\"" : "", *c);
        }
        fputs(quoted ? "\"" : "", stream);
    }
    putc('\n', stream);
}

static void print_row(FILE *stream, const wtl_table *table, const char *const *cells,
                      const int *widths, wtl_table_form form)
{
    if (form == WTL_TABLE_TEXT) {
        print_text_row(stream, table, cells, widths);
    } else if (form == WTL_TABLE_MARKDOWN) {
        print_markdown_row(stream, table, cells);
    } else {
        print_csv_row(stream, table, cells);
    }
}

/* cells[] := the row at *at, which moves behind it. */
static void find_row(const wtl_table *table, const char **at, const char **cells)
{
    for (int i = 0; i < table->column_count; i++) {
        cells[i] = *at;
        *at += strlen(*at) + 1;
    }
}

static void widen(const wtl_table *table, const char *const *cells, int *widths)
{
    for (int i = 0; i < table->column_count; i++) {
        int length = (int)strlen(cells[i]);
        widths[i] = length > widths[i] ? length : widths[i];
    }
}

wtl_status wtl_table_print(FILE *stream, const wtl_table *table, wtl_table_form form,
                           wtl_error *err)
{
    size_t count = (size_t)table->column_count;
    const char **cells = wtl_alloc(count, sizeof *cells);
    int *widths = wtl_alloc(count, sizeof *widths);
    wtl_status status = WTL_OK;
    if (!cells || !widths || table->cells.failed) {
        status = wtl_fail(err, WTL_E_NOMEM, "out of memory for a table");
        goto done;
    }
    const char *begin = table->cells.bytes, *end = begin + table->cells.length;
    for (const char *at = begin; at < end;) {
        find_row(table, &at, cells);
        widen(table, cells, widths);
    }
    for (int i = 0; i < table->column_count; i++) {
        const wtl_column *column = &table->columns[i];
        cells[i] = form == WTL_TABLE_CSV && column->name ? column->name : column->heading;
    }
    widen(table, cells, widths);
    print_row(stream, table, cells, widths, form);
    for (int i = 0; form == WTL_TABLE_MARKDOWN && i < table->column_count; i++) {
        fprintf(stream, "%s%s%s", i ? "" : "|", table->columns[i].left ? "---" : "--:",
                i == table->column_count - 1 ? "|\n" : "|");
    }
    for (const char *at = begin; at < end;) {
        find_row(table, &at, cells);
        print_row(stream, table, cells, widths, form);
    }
done:
    wtl_free((void *)cells);
    wtl_free(widths);
    return status;
}

void wtl_table_clear(wtl_table *table)
{
    wtl_text_clear(&table->cells);
}
