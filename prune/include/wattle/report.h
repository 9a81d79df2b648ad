/* report.h - a pruning run or a comparison as one self-contained HTML file: no script, no
 * network, plots inlined; prints well. It opens with the verdict and ends with the commands that
 * reproduce it. Same folder, same bytes. */
#ifndef WATTLE_REPORT_H
#define WATTLE_REPORT_H

#include "wattle/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Write PATH (NULL: FOLDER/report.html) about the run or comparison in `folder`.
 *   WTL_E_MISSING  the folder holds neither, or it is not finished
 *   WTL_E_FORMAT   a file in it is damaged; names file and line
 *   WTL_E_WRITE, WTL_E_NOMEM, WTL_E_IO */
WTL_API wtl_status wtl_report_write(const char *folder, const char *path,
                                    wtl_error *err) WTL_MUST_CHECK;

#ifdef __cplusplus
}
#endif
#endif
