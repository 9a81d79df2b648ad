/* table.h - rows of text that come out aligned, as Markdown or as CSV. */
#ifndef WTL_TOOLS_TABLE_H
#define WTL_TOOLS_TABLE_H

#include "wattle/text.h"

#include <stdio.h>

typedef enum wtl_table_form {
    WTL_TABLE_TEXT,
    WTL_TABLE_MARKDOWN,
    WTL_TABLE_CSV
} wtl_table_form;

typedef struct wtl_column {
    const char *heading; /* for readers */
    const char *name;    /* for CSV; NULL: the heading */
    bool left;           /* words; numbers stand at the right */
} wtl_column;

/* Start from {.columns, .column_count}; cells come row by row. */
typedef struct wtl_table {
    const wtl_column *columns;
    int column_count;
    wtl_text cells; /* each ended by a NUL */
} wtl_table;

void wtl_table_cell(wtl_table *table, const char *format, ...) WTL_PRINTF(2, 3);
/* A number with `digits` behind the point, or "-" for NaN. */
void wtl_table_number(wtl_table *table, double value, int digits);

/* Print headings and rows. WTL_E_NOMEM if memory ran short while cells were added. */
wtl_status wtl_table_print(FILE *stream, const wtl_table *table, wtl_table_form form,
                           wtl_error *err) WTL_MUST_CHECK;
void wtl_table_clear(wtl_table *table);

#endif
