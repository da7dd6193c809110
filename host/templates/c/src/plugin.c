// What the host calls: an event listener and a decision.

#include "json.h"
#include "plinth.h"
#include "rules.h"

#include <stdio.h>
#include <stdlib.h>

// What cannot be read will not be readable later: rejected, and not tried again.
static bool judged(const payload *payload, enum says *says, int64_t *limit, hook_error *err) {
  struct json_value amount;
  if (!json_field(payload->data.ptr, payload->data.len, "amount_cents", &amount)) return reject(err, "not-json", "not a JSON object");
  if (amount.kind != JSON_INTEGER) return reject(err, "bad-order", "amount_cents is not a whole number");
  if (!config_integer("limit-cents", LIMIT_CENTS, limit, err)) return false;
  *says = judge(amount.integer, *limit);
  return true;
}

bool exports_plinth_hooks_event_listener_on_event(exports_plinth_hooks_event_listener_event_t *event, hook_error *err) {
  enum says says;
  int64_t limit;
  if (!judged(&event->payload, &says, &limit, err)) return false;
  fact fields[] = {{text_of("order"), event->subject}, {text_of("says"), text_of(says_name(says))}};
  log_info("order placed", fields, 2);
  count("orders_placed_total", "says", says_name(says));
  return true;
}

// A verdict's reason belongs to the host once it is answered, so all of it is copied.
static exports_plinth_hooks_decision_reason_t review(int64_t limit) {
  char digits[24];
  snprintf(digits, sizeof digits, "%lld", (long long)limit);
  fact *detail = malloc(sizeof *detail);
  *detail = (fact){kept("limit-cents"), kept(digits)};
  exports_plinth_hooks_decision_reason_t reason = {.code = kept("review"), .message = kept("a person has to look at this amount")};
  reason.details = (plugin_list_tuple2_string_string_t){detail, 1};
  return reason;
}

bool exports_plinth_hooks_decision_decide(exports_plinth_hooks_decision_question_t *question,
                                          exports_plinth_hooks_decision_verdict_t *ret, hook_error *err) {
  enum says says;
  int64_t limit;
  if (!judged(&question->payload, &says, &limit, err)) return false;
  switch (says) {
  case SAYS_ALLOW:
    ret->tag = EXPORTS_PLINTH_HOOKS_DECISION_VERDICT_ALLOW;
    break;
  case SAYS_HOLD:
    ret->tag = EXPORTS_PLINTH_HOOKS_DECISION_VERDICT_HOLD;
    ret->val.hold = review(limit);
    break;
  case SAYS_DENY:
    ret->tag = EXPORTS_PLINTH_HOOKS_DECISION_VERDICT_DENY;
    ret->val.deny = (exports_plinth_hooks_decision_reason_t){
        .code = kept("no-amount"), .message = kept("an order is over more than nothing")};
    break;
  }
  return true;
}
