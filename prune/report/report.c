/* report.c - which kind a folder is, and the file that is written about it. */
#include "wattle/report.h"

#include "report_private.h"

#include "wattle/file.h"
#include "wattle/memory.h"

static bool has_file(const char *folder, const char *name, bool *failed)
{
    char *path = wtl_path_join(folder, name);
    bool there = path && wtl_file_exists(path);
    *failed = *failed || !path;
    wtl_free(path);
    return there;
}

static wtl_status put_page(wtl_text *page, const char *folder, wtl_error *err)
{
    bool failed = false;
    if (has_file(folder, "summary.json", &failed)) {
        return wtl_report_comparison(page, folder, err);
    }
    if (has_file(folder, "certificate.json", &failed)) {
        return wtl_report_run(page, folder, err);
    }
    bool begun = has_file(folder, "config.json", &failed);
    if (failed) {
        return wtl_fail(err, WTL_E_NOMEM, "%s: out of memory", folder);
    }
    return wtl_fail(err, WTL_E_MISSING,
                    begun ? "%s: not a finished pruning run or comparison: neither "
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
