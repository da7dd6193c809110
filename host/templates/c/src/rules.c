#include "rules.h"

enum says judge(int64_t amount_cents, int64_t limit_cents) {
  if (amount_cents <= 0) return SAYS_DENY;
  return amount_cents < limit_cents ? SAYS_ALLOW : SAYS_HOLD;
}

const char *says_name(enum says says) {
  static const char *const names[] = {[SAYS_ALLOW] = "allow", [SAYS_HOLD] = "hold", [SAYS_DENY] = "deny"};
  return names[says];
}
