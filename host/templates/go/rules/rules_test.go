package rules

import "testing"

func TestLargeOrdersAreForPeopleAndEmptyOnesForNobody(t *testing.T) {
	for amount, says := range map[int64]Says{-1: Deny, 0: Deny, 1: Allow, 99_999: Allow, 100_000: Hold} {
		if found := Judge(amount, LimitCents); found != says {
			t.Errorf("%d: %s, wanted %s", amount, found, says)
		}
	}
}
