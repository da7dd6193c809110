#include "plinth.h"

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

sql_value sql_text(const char *chars) {
  return (sql_value){.tag = PLINTH_DATABASE_SQL_TYPES_VALUE_TEXT, .val.text = text_of(chars)};
}

sql_value sql_integer(int64_t n) {
  return (sql_value){.tag = PLINTH_DATABASE_SQL_TYPES_VALUE_INTEGER, .val.integer = n};
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

static bool failed(hook_error *err, bool passing, const char *capability, const char *message) {
  return passing ? retry(err, message, 0) : reject(err, capability, message);
}

bool failed_database(hook_error *err, const sql_error *error) {
  switch (error->tag) {
  case PLINTH_DATABASE_SQL_TYPES_ERROR_CONFLICT:
    return failed(err, true, "database", "database: conflict");
  case PLINTH_DATABASE_SQL_TYPES_ERROR_TRANSACTION_CLOSED:
    return failed(err, true, "database", "database: transaction-closed");
  case PLINTH_DATABASE_SQL_TYPES_ERROR_TIMEOUT:
    return failed(err, true, "database", "database: timeout");
  case PLINTH_DATABASE_SQL_TYPES_ERROR_UNAVAILABLE:
    return failed(err, true, "database", "database: unavailable");
  case PLINTH_DATABASE_SQL_TYPES_ERROR_OUTCOME_UNKNOWN:
    return failed(err, true, "database", "database: outcome-unknown");
  case PLINTH_DATABASE_SQL_TYPES_ERROR_OTHER:
    return failed(err, error->val.other.retryable, "database", chars_of(error->val.other.message));
  case PLINTH_DATABASE_SQL_TYPES_ERROR_INVALID_STATEMENT:
    return failed(err, false, "database", chars_of(error->val.invalid_statement.message));
  case PLINTH_DATABASE_SQL_TYPES_ERROR_CONSTRAINT_VIOLATION:
    return failed(err, false, "database", chars_of(error->val.constraint_violation.message));
  default:
    return failed(err, false, "database", "database: not possible");
  }
}

bool failed_cache(hook_error *err, const plinth_cache_cache_types_error_t *error) {
  switch (error->tag) {
  case PLINTH_CACHE_CACHE_TYPES_ERROR_TIMEOUT:
  case PLINTH_CACHE_CACHE_TYPES_ERROR_UNAVAILABLE:
  case PLINTH_CACHE_CACHE_TYPES_ERROR_LIMIT_EXCEEDED:
    return failed(err, true, "cache", "cache: not now");
  case PLINTH_CACHE_CACHE_TYPES_ERROR_OTHER:
    return failed(err, error->val.other.retryable, "cache", chars_of(error->val.other.message));
  default:
    return failed(err, false, "cache", "cache: not possible");
  }
}

bool failed_audit(hook_error *err, const plinth_audit_audit_types_error_t *error) {
  switch (error->tag) {
  case PLINTH_AUDIT_AUDIT_TYPES_ERROR_TIMEOUT:
  case PLINTH_AUDIT_AUDIT_TYPES_ERROR_UNAVAILABLE:
  case PLINTH_AUDIT_AUDIT_TYPES_ERROR_OUTCOME_UNKNOWN:
    return failed(err, true, "audit", "audit: not now");
  case PLINTH_AUDIT_AUDIT_TYPES_ERROR_OTHER:
    return failed(err, error->val.other.retryable, "audit", chars_of(error->val.other.message));
  default:
    return failed(err, false, "audit", "audit: not possible");
  }
}

audit_entry entry_of(const char *action, const char *kind, const char *id, const char *summary) {
  audit_entry entry = {.action = text_of(action), .summary = text_of(summary)};
  entry.subject.kind = text_of(kind);
  entry.subject.id = text_of(id);
  entry.outcome.tag = PLINTH_AUDIT_AUDIT_TYPES_OUTCOME_SUCCESS;
  return entry;
}

void log_line(plinth_log_log_level_t level, const char *message, const char *name, const char *value) {
  text line = text_of(message);
  fact field = {text_of(name), text_of(value)};
  plugin_list_tuple2_string_string_t fields = {&field, 1};
  plinth_log_log_write(level, &line, &fields);
}
