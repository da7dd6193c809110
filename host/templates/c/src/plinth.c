#include "plinth.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

text text_of(const char *chars) {
  return (text){(uint8_t *)chars, strlen(chars)};
}

text kept(const char *chars) {
  text copy;
  plugin_string_dup(&copy, chars);
  return copy;
}

char *chars_of(text t) {
  char *chars = malloc(t.len + 1);
  if (t.len) memcpy(chars, t.ptr, t.len);
  chars[t.len] = 0;
  return chars;
}

bool retry(hook_error *err, const char *message, uint32_t after_ms) {
  err->tag = PLINTH_HOOKS_HOOK_TYPES_HOOK_ERROR_RETRY;
  err->val.retry.message = kept(message);
  err->val.retry.after_ms = (plugin_option_u32_t){after_ms > 0, after_ms};
  return false;
}

bool reject(hook_error *err, const char *code, const char *message) {
  err->tag = PLINTH_HOOKS_HOOK_TYPES_HOOK_ERROR_REJECT;
  err->val.reject.code = kept(code);
  err->val.reject.message = kept(message);
  return false;
}

bool config_integer(const char *key, int64_t otherwise, int64_t *value, hook_error *err) {
  text name = text_of(key);
  plugin_option_string_t found;
  wasi_config_store_error_t error;
  *value = otherwise;
  if (!wasi_config_store_get(&name, &found, &error)) return reject(err, "config", "the configuration does not answer");
  if (!found.is_some) return true;
  char *chars = chars_of(found.val), *end;
  errno = 0;
  *value = strtoll(chars, &end, 10);
  return (*chars && !*end && errno == 0) || reject(err, "config", "not a whole number");
}

void count(const char *name, const char *label, const char *value) {
  text metric = text_of(name);
  fact one = {text_of(label), text_of(value)};
  plinth_metrics_instruments_labels_t labels = {&one, 1};
  plinth_metrics_instruments_counter_add(&metric, 1, &labels);
}

void log_info(const char *message, const fact *fields, size_t len) {
  text line = text_of(message);
  plugin_list_tuple2_string_string_t list = {(fact *)fields, len};
  plinth_log_log_write(PLINTH_LOG_LOG_LEVEL_INFO, &line, &list);
}
