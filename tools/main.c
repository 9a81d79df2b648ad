/* main.c - the wattle command: a table of sub-commands. */
#include <stdio.h>

int main(void)
{
    puts("wattle " WTL_VERSION);
    return 0;
}
