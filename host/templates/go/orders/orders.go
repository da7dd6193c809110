// Package orders is the plugin: what it does with an event, and what it answers when it is asked.
package orders

import (
	"strconv"

	"wit_component/plinth"
	"wit_component/plinth_hooks_decision"
	"wit_component/plinth_hooks_event_listener"
	hook_types "wit_component/plinth_hooks_hook_types"
	"wit_component/rules"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Placed is told about an order.
func Placed(event plinth_hooks_event_listener.Event) error {
	says, _, err := judged(event.Payload)
	if err != nil {
		return err
	}
	plinth.Info("order placed", "order", event.Subject, "says", string(says))
	plinth.Count("orders_placed_total", 1, "says", string(says))
	return nil
}

// Decide is asked about an order.
func Decide(question plinth_hooks_decision.Question) (verdict plinth_hooks_decision.Verdict, err error) {
	says, limit, err := judged(question.Payload)
	if err != nil {
		return verdict, err
	}
	switch says {
	case rules.Allow:
		return plinth_hooks_decision.MakeVerdictAllow(), nil
	case rules.Hold:
		details := []wit.Tuple2[string, string]{{F0: "limit-cents", F1: strconv.FormatInt(limit, 10)}}
		reason := hook_types.Reason{Code: "review", Message: "a person has to look at this amount", Details: details}
		return plinth_hooks_decision.MakeVerdictHold(reason), nil
	}
	reason := hook_types.Reason{Code: "no-amount", Message: "an order is over more than nothing"}
	return plinth_hooks_decision.MakeVerdictDeny(reason), nil
}

// judged asks the rule. What cannot be read will not be readable later: rejected, and not tried again.
func judged(payload hook_types.Payload) (rules.Says, int64, error) {
	var order struct {
		AmountCents *int64 `json:"amount_cents"`
	}
	if err := plinth.Parse(payload, &order); err != nil || order.AmountCents == nil {
		return "", 0, &plinth.Reject{Code: "bad-order", Message: "amount_cents is not a whole number"}
	}
	text, err := plinth.Config("limit-cents", strconv.Itoa(rules.LimitCents))
	if err != nil {
		return "", 0, err
	}
	limit, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "", 0, &plinth.Reject{Code: "config", Message: err.Error()}
	}
	return rules.Judge(*order.AmountCents, limit), limit, nil
}
