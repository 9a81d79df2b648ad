/* signals.h - being asked to stop. */
#ifndef WTL_TOOLS_SIGNALS_H
#define WTL_TOOLS_SIGNALS_H

/* SIGINT, SIGTERM and SIGUSR1 ask to stop from now on; a second one exits at once (130). */
void wtl_signals_catch(void);

/* Non-zero once asked to stop; the context is not used (a hook of the trainer). */
int wtl_signals_stop(void *context);

#endif
