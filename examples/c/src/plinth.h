// A thin layer over the generated bindings. Copy it into your plugin and delete what your world
// does not import.
//
// The host makes an instance for every call and drops it afterwards, so nothing here frees what
// a call needs; only what is handed back to the host must come from malloc (`kept`).
#ifndef PLINTH_H
#define PLINTH_H

#include "plugin.h"

typedef plugin_string_t text;
typedef plugin_tuple2_string_string_t fact;
typedef plinth_database_sql_value_t sql_value;
typedef plinth_database_sql_error_t sql_error;
typedef plinth_hooks_hook_types_hook_error_t hook_error;
typedef plinth_audit_audit_types_entry_t audit_entry;

#define COUNT(array) (sizeof(array) / sizeof *(array))

// A text without a copy: for what goes to the host.
text text_of(const char *chars);
// A copy from malloc: for what is handed back from a hook.
text kept(const char *chars);
// With a zero at its end.
char *chars_of(text t);

sql_value sql_text(const char *chars);
sql_value sql_integer(int64_t n);

// Errors of hooks; each answers false, so that a hook can return it.
bool retry(hook_error *err, const char *message, uint32_t after_ms);
bool reject(hook_error *err, const char *code, const char *message);
// What passes by itself is tried again, what does not becomes a dead letter.
bool failed_database(hook_error *err, const sql_error *error);
bool failed_cache(hook_error *err, const plinth_cache_cache_types_error_t *error);
bool failed_audit(hook_error *err, const plinth_audit_audit_types_error_t *error);

// An audit record of success.
audit_entry entry_of(const char *action, const char *kind, const char *id, const char *summary);

void log_line(plinth_log_log_level_t level, const char *message, const char *name, const char *value);

#endif
