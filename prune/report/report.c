/* report.c - which kind a folder is, and the file that is written about it. */
#include "wattle/report.h"

#include "report_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"

static wtl_status look_for(bool *there, const char *folder, const char *name, wtl_error *err)
{
    char *path = wtl_path_join(folder, name);
    if (!path) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder);
    }
    *there = wtl_file_exists(path);
    wtl_free(path);
    return WTL_OK;
}

static wtl_status put_page(wtl_text *page, const char *folder, wtl_error *err)
{
    enum { COMPARISON, RUN, BEGUN, KINDS };
    static const char *const names[KINDS] = {
        [COMPARISON] = "summary.json", [RUN] = "certificate.json", [BEGUN] = "config.json"};
    bool there[KINDS];
    wtl_status status = WTL_OK;
    for (int i = 0; i < KINDS && status == WTL_OK; i++) {
        status = look_for(&there[i], folder, names[i], err);
    }
    if (status != WTL_OK) {
        return status;
    }
    if (there[COMPARISON] || there[RUN]) {
        return there[COMPARISON] ? wtl_report_comparison(page, folder, err)
                                 : wtl_report_run(page, folder, err);
    }
    return wtl_fail(err, WTL_E_MISSING,
                    there[BEGUN] ? "%s: not a finished pruning run or comparison: neither "
                                   "certificate.json nor summary.json is there"
                                 : "%s: holds no pruning run and no comparison",
                    folder);
}

wtl_status wtl_report_write(const char *folder, const char *path, wtl_error *err)
{
    wtl_text page = {0};
    char *beside = path ? NULL : wtl_path_join(folder, "report.html");
    wtl_status status = path || beside
                            ? put_page(&page, folder, err)
                            : wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder);
    size_t length = page.length;
    char *html = wtl_text_take(&page);
    if (status == WTL_OK && !html) {
        status = wtl_fail(err, WTL_E_NOMEM, "%s: out of memory for the report", folder);
    }
    if (status == WTL_OK) {
        status = wtl_file_write(path ? path : beside, html, length, err);
    }
    wtl_free(html);
    wtl_free(beside);
    return status;
}
