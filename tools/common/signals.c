/* signals.c - the first signal asks, the second exits. */
#define _GNU_SOURCE
#include "signals.h"
#include "output.h"

#include <signal.h>
#include <unistd.h>

static volatile sig_atomic_t asked;

static void ask(int signal_number)
{
    (void)signal_number;
    if (asked) {
        _exit(WTL_EXIT_INTERRUPTED);
    }
    asked = 1;
}

void wtl_signals_catch(void)
{
    struct sigaction action = {.sa_handler = ask, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    (void)sigaction(SIGUSR1, &action, NULL);
}

int wtl_signals_stop(void *context)
{
    (void)context;
    return asked;
}
