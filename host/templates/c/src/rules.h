// The business rule: functions of their arguments, tested natively by `make test`.
#ifndef RULES_H
#define RULES_H

#include <stdint.h>

// From here on a person decides, unless the configuration says otherwise.
enum { LIMIT_CENTS = 100000 };

// What becomes of an order.
enum says { SAYS_ALLOW, SAYS_HOLD, SAYS_DENY };

enum says judge(int64_t amount_cents, int64_t limit_cents);
const char *says_name(enum says says);

#endif
