// Large orders are for people and empty ones for nobody.
#include "rules.h"

#include <stdio.h>

int main(void) {
  static const struct {
    int64_t amount;
    enum says says;
  } cases[] = {{-1, SAYS_DENY}, {0, SAYS_DENY}, {1, SAYS_ALLOW}, {99999, SAYS_ALLOW}, {100000, SAYS_HOLD}};
  int wrong = 0;
  for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
    enum says found = judge(cases[i].amount, LIMIT_CENTS);
    if (found == cases[i].says) continue;
    printf("%lld: %s, wanted %s\n", (long long)cases[i].amount, says_name(found), says_name(cases[i].says));
    wrong++;
  }
  puts(wrong ? "the rule is broken" : "the rule holds");
  return wrong != 0;
}
