// The order desk: takes placed orders into the books and says which orders may be placed.

#include "json.h"
#include "plinth.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// From here on a person decides, unless the configuration says otherwise; beyond the second nobody does.
static const int64_t LIMIT_CENTS = 100000, REVIEW_CENTS = 1000000;

struct order {
  char *id, *mode;
  int64_t amount_cents;
};

typedef plinth_database_sql_own_database_t database;
typedef plinth_database_sql_borrow_transaction_t transaction;

static char *decimal(int64_t n) {
  char *digits = malloc(24);
  snprintf(digits, 24, "%lld", (long long)n);
  return digits;
}

static bool mode_is(const struct order *order, const char *mode) {
  return order->mode && strcmp(order->mode, mode) == 0;
}

static bool known_mode(const struct order *order) {
  static const char *const modes[] = {"retry", "reject", "capability-error", "trap", "deadline"};
  for (size_t i = 0; i < COUNT(modes); i++) {
    if (mode_is(order, modes[i])) return true;
  }
  return order->mode == NULL;
}

static bool read_order(const plinth_hooks_hook_types_payload_t *payload, struct order *order, hook_error *err) {
  struct json_value id, amount, mode;
  const plugin_list_u8_t *data = &payload->data;
  bool object = json_field(data->ptr, data->len, "order", &id) && json_field(data->ptr, data->len, "amount_cents", &amount) &&
                json_field(data->ptr, data->len, "mode", &mode);
  if (!object) return reject(err, "bad-event", "not a JSON object");
  *order = (struct order){id.string, mode.string, amount.integer};
  bool whole = id.kind == JSON_STRING && amount.kind == JSON_INTEGER && mode.kind <= JSON_STRING && known_mode(order);
  if (!whole) return reject(err, "bad-event", "an order has an id, a whole amount_cents and perhaps a known mode");
  return true;
}

static bool open_books(database *books, sql_error *error) {
  text name = text_of("orders");
  return plinth_database_sql_static_database_open(&name, books, error);
}

static bool insert(transaction work, const struct order *order, sql_error *error) {
  plugin_list_u8_t bytes;
  plinth_context_random_bytes(8, &bytes);
  char receipt[17] = "";
  for (size_t i = 0; i < bytes.len; i++) snprintf(receipt + 2 * i, 3, "%02x", bytes.ptr[i]);
  text statement = text_of("insert into orders (id, amount_cents, placed_at_ms, receipt) values ($1, $2, $3, $4)");
  sql_value row[] = {sql_text(order->id), sql_integer(order->amount_cents), sql_integer((int64_t)plinth_context_clock_now_ms()),
                     sql_text(receipt)};
  plinth_database_sql_list_value_t params = {row, COUNT(row)};
  plinth_database_sql_execution_t done;
  return plinth_database_sql_method_transaction_execute(work, &statement, &params, &done, error);
}

static bool publish(transaction work, const struct order *order, sql_error *error) {
  const char *id = json_quoted(order->id), *amount = decimal(order->amount_cents);
  size_t room = strlen(id) + strlen(amount) + 32;
  char *body = malloc(room);
  int len = snprintf(body, room, "{\"order\":%s,\"amount_cents\":%s}", id, amount);
  text destination = text_of("shipments"), message_id;
  plinth_queue_queue_types_message_t message = {.body = {(uint8_t *)body, (size_t)len}, .content_type = text_of("application/json")};
  plinth_queue_queue_types_publish_options_t options = {.routing_key = {true, text_of(order->id)}};
  return plinth_outbox_outbox_publish(work, &destination, &message, &options, &message_id, error);
}

static bool record(transaction work, const struct order *order, text event_id, sql_error *error) {
  audit_entry entry = entry_of("order.placed", "order", order->id, "an order was taken into the books");
  fact facts[] = {{text_of("amount-cents"), text_of(decimal(order->amount_cents))}, {text_of("event-id"), event_id}};
  entry.attributes = (plugin_list_tuple2_string_string_t){facts, COUNT(facts)};
  text id;
  return plinth_outbox_outbox_audit(work, &entry, &id, error);
}

// Row, message and audit record become visible together or not at all.
static bool place(const struct order *order, text event_id, sql_error *error) {
  database books;
  plinth_database_sql_own_transaction_t own;
  if (!open_books(&books, error)) return false;
  if (!plinth_database_sql_method_database_begin(plinth_database_sql_borrow_database(books), NULL, &own, error)) return false;
  transaction work = plinth_database_sql_borrow_transaction(own);
  bool written = insert(work, order, error) && publish(work, order, error) && record(work, order, event_id, error);
  // The second row of the same order: the first and all of the above go with it.
  if (written && mode_is(order, "capability-error")) written = insert(work, order, error);
  if (written) written = plinth_database_sql_method_transaction_commit(work, error);
  // Dropped without a commit, it is rolled back.
  plinth_database_sql_transaction_drop_own(own);
  return written;
}

static bool is_duplicate(const sql_error *error) {
  return error->tag == PLINTH_DATABASE_SQL_TYPES_ERROR_CONSTRAINT_VIOLATION &&
         error->val.constraint_violation.kind.tag == PLINTH_DATABASE_SQL_TYPES_CONSTRAINT_KIND_UNIQUE;
}

static bool refuse_duplicate(const struct order *order, text event_id, hook_error *err) {
  audit_entry entry = entry_of("order.duplicate", "order", order->id, "the order is already in the books");
  entry.outcome.tag = PLINTH_AUDIT_AUDIT_TYPES_OUTCOME_DENIED;
  entry.outcome.val.denied = text_of("unique");
  fact facts[] = {{text_of("event-id"), event_id}};
  entry.attributes = (plugin_list_tuple2_string_string_t){facts, COUNT(facts)};
  plinth_audit_writer_receipt_t receipt;
  plinth_audit_writer_error_t error;
  return plinth_audit_writer_write(&entry, &receipt, &error) || failed_audit(err, &error);
}

// After the commit: what may be lost without the books being wrong.
static bool tell(const struct order *order, hook_error *err) {
  text name = text_of("desk"), count = text_of("count"), last = text_of("last"), metric = text_of("orders_placed_total");
  plinth_cache_buckets_own_bucket_t own;
  plinth_cache_buckets_error_t error;
  if (!plinth_cache_buckets_static_bucket_open(&name, &own, &error)) return failed_cache(err, &error);
  plinth_cache_buckets_borrow_bucket_t bucket = plinth_cache_buckets_borrow_bucket(own);
  int64_t placed;
  if (!plinth_cache_buckets_method_bucket_increment(bucket, &count, 1, NULL, &placed, &error)) return failed_cache(err, &error);
  plugin_list_u8_t id = {(uint8_t *)order->id, strlen(order->id)};
  if (!plinth_cache_buckets_method_bucket_set(bucket, &last, &id, NULL, &error)) return failed_cache(err, &error);
  plinth_metrics_instruments_labels_t labels = {NULL, 0};
  plinth_metrics_instruments_counter_add(&metric, 1, &labels);
  log_line(PLINTH_LOG_LOG_LEVEL_INFO, "order placed", "order", order->id);
  return true;
}

// A statement that names no table there is comes back as just that.
static bool check_typed_errors(hook_error *err) {
  database books;
  sql_error error;
  if (!open_books(&books, &error)) return failed_database(err, &error);
  text statement = text_of("insert into no_such_table (id) values ($1)");
  sql_value row[] = {sql_text("x")};
  plinth_database_sql_list_value_t params = {row, COUNT(row)};
  plinth_database_sql_execution_t done;
  bool went_through =
      plinth_database_sql_method_database_execute(plinth_database_sql_borrow_database(books), &statement, &params, &done, &error);
  if (went_through || error.tag != PLINTH_DATABASE_SQL_TYPES_ERROR_INVALID_STATEMENT) {
    return reject(err, "untyped", "a bad statement was not answered as one");
  }
  return true;
}

static void trap(void) {
  log_line(PLINTH_LOG_LOG_LEVEL_ERROR, "trap", "text", "the desk fell over");
  __builtin_trap();
}

static void until_stopped(void) {
  for (volatile unsigned turns = 0;; turns++) {
  }
}

bool exports_plinth_hooks_lifecycle_activate(exports_plinth_hooks_lifecycle_activation_t *activation,
                                             exports_plinth_hooks_lifecycle_failure_t *err) {
  (void)activation;
  database books;
  sql_error error;
  text statement = text_of("create table if not exists orders"
                           " (id text primary key, amount_cents bigint not null, placed_at_ms bigint not null, receipt text not null)");
  plinth_database_sql_list_value_t params = {NULL, 0};
  plinth_database_sql_execution_t done;
  if (open_books(&books, &error) &&
      plinth_database_sql_method_database_execute(plinth_database_sql_borrow_database(books), &statement, &params, &done, &error)) {
    return true;
  }
  err->code = kept("database");
  err->message = kept("the table could not be made");
  return false;
}

void exports_plinth_hooks_lifecycle_deactivate(void) {}

bool exports_plinth_hooks_event_listener_on_event(exports_plinth_hooks_event_listener_event_t *event, hook_error *err) {
  struct order order;
  sql_error error;
  if (!read_order(&event->payload, &order, err)) return false;
  if (mode_is(&order, "retry")) return retry(err, "busy: the desk is closed", 1500);
  if (mode_is(&order, "reject")) return reject(err, "bad-order", "this order is refused");
  if (mode_is(&order, "trap")) trap();
  if (mode_is(&order, "deadline")) until_stopped();
  if (mode_is(&order, "capability-error") && !check_typed_errors(err)) return false;
  if (place(&order, event->id, &error)) return tell(&order, err);
  // Also what a redelivery after the commit comes to.
  return is_duplicate(&error) ? refuse_duplicate(&order, event->id, err) : failed_database(err, &error);
}

static bool read_limit(int64_t *limit, hook_error *err) {
  text key = text_of("limit-cents");
  plugin_option_string_t found;
  wasi_config_store_error_t error;
  *limit = LIMIT_CENTS;
  if (!wasi_config_store_get(&key, &found, &error)) return reject(err, "config", "the configuration does not answer");
  if (!found.is_some) return true;
  char *chars = chars_of(found.val), *end;
  errno = 0;
  *limit = strtoll(chars, &end, 10);
  return (*chars && !*end && errno == 0) || reject(err, "config", "limit-cents is not a whole number");
}

// A verdict's reason belongs to the host once it is answered, so all of it is copied.
static exports_plinth_hooks_decision_reason_t reason(const char *code, const char *message, int64_t limit) {
  exports_plinth_hooks_decision_reason_t reason = {.code = kept(code), .message = kept(message)};
  fact *detail = malloc(sizeof *detail);
  *detail = (fact){kept("limit-cents"), kept(decimal(limit))};
  reason.details = (plugin_list_tuple2_string_string_t){detail, 1};
  return reason;
}

bool exports_plinth_hooks_decision_decide(exports_plinth_hooks_decision_question_t *question,
                                          exports_plinth_hooks_decision_verdict_t *ret, hook_error *err) {
  struct json_value amount;
  int64_t limit;
  if (!json_field(question->payload.data.ptr, question->payload.data.len, "amount_cents", &amount) || amount.kind != JSON_INTEGER) {
    return reject(err, "bad-question", "amount_cents is not a whole number");
  }
  if (!read_limit(&limit, err)) return false;
  if (amount.integer < limit) {
    ret->tag = EXPORTS_PLINTH_HOOKS_DECISION_VERDICT_ALLOW;
  } else if (amount.integer <= REVIEW_CENTS) {
    ret->tag = EXPORTS_PLINTH_HOOKS_DECISION_VERDICT_HOLD;
    ret->val.hold = reason("review", "a person has to look at this amount", limit);
  } else {
    ret->tag = EXPORTS_PLINTH_HOOKS_DECISION_VERDICT_DENY;
    ret->val.deny = reason("too-large", "orders of this amount are not taken", REVIEW_CENTS);
  }
  return true;
}
