// A thin layer over what the host offers.
//
// The host makes an instance for every call and drops it afterwards, so nothing here frees what
// a call needs; only what is handed back to the host must come from malloc (`kept`).
#ifndef PLINTH_H
#define PLINTH_H

#include "plugin.h"

typedef plugin_string_t text;
typedef plugin_tuple2_string_string_t fact;
typedef plinth_hooks_hook_types_hook_error_t hook_error;
typedef plinth_hooks_hook_types_payload_t payload;

// A text without a copy: for what goes to the host.
text text_of(const char *chars);
// A copy from malloc: for what is handed back from a hook.
text kept(const char *chars);
// With a zero at its end.
char *chars_of(text t);

// Errors of hooks; each answers false, so that a hook can return it.
bool retry(hook_error *err, const char *message, uint32_t after_ms);
// Trying again cannot help. An event becomes a dead letter.
bool reject(hook_error *err, const char *code, const char *message);

// One value of the plugin's configuration as a whole number, or `otherwise`.
bool config_integer(const char *key, int64_t otherwise, int64_t *value, hook_error *err);

void count(const char *name, const char *label, const char *value);
void log_info(const char *message, const fact *fields, size_t len);

#endif
