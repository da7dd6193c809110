// Package desk is the order desk: it takes placed orders into the books and says which orders may be placed.
package desk

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"time"

	"wit_component/plinth"
	"wit_component/plinth_hooks_decision"
	"wit_component/plinth_hooks_event_listener"
	hook_types "wit_component/plinth_hooks_hook_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// From limitCents on a person decides, unless the configuration says otherwise; beyond reviewCents nobody does.
const (
	limitCents  = "100000"
	reviewCents = 1_000_000
)

type order struct {
	Order       *string `json:"order"`
	AmountCents *int64  `json:"amount_cents"`
	Mode        string  `json:"mode"`
}

var modes = []string{"", "retry", "reject", "capability-error", "trap", "deadline"}

// Prepare makes the table, if it is not there.
func Prepare() error {
	books, err := plinth.OpenDatabase("orders")
	if err != nil {
		return err
	}
	_, err = books.Execute("create table if not exists orders" +
		" (id text primary key, amount_cents bigint not null, placed_at_ms bigint not null, receipt text not null)")
	return err
}

// Placed takes an order into the books.
func Placed(event plinth_hooks_event_listener.Event) error {
	placed, err := read(event.Payload)
	if err != nil {
		return err
	}
	switch placed.Mode {
	case "retry":
		return &plinth.Retry{Message: "busy: the desk is closed", After: 1500 * time.Millisecond}
	case "reject":
		return &plinth.Reject{Code: "bad-order", Message: "this order is refused"}
	case "trap":
		panic("the desk fell over")
	case "deadline":
		for {
		}
	case "capability-error":
		if err := checkTypedErrors(); err != nil {
			return err
		}
	}
	err = place(placed, event.Id)
	var host *plinth.HostError
	if errors.As(err, &host) && host.Code == "constraint-violation" && host.Kind == "unique" {
		// Also what a redelivery after the commit comes to.
		return plinth.Audit(plinth.Entry{
			Action: "order.duplicate", Kind: "order", ID: *placed.Order, Summary: "the order is already in the books",
			Denied: host.Kind, Attributes: map[string]string{"event-id": event.Id},
		})
	}
	if err != nil {
		return err
	}
	return tell(placed)
}

// Decide says whether an order of an amount may be placed.
func Decide(question plinth_hooks_decision.Question) (plinth_hooks_decision.Verdict, error) {
	var none plinth_hooks_decision.Verdict
	var asked order
	if err := json.Unmarshal(question.Payload.Data, &asked); err != nil {
		return none, &plinth.Reject{Code: "bad-question", Message: err.Error()}
	}
	if asked.AmountCents == nil {
		return none, &plinth.Reject{Code: "bad-question", Message: "amount_cents is not a whole number"}
	}
	text, err := plinth.Config("limit-cents", limitCents)
	if err != nil {
		return none, err
	}
	limit, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return none, &plinth.Reject{Code: "config", Message: err.Error()}
	}
	switch amount := *asked.AmountCents; {
	case amount < limit:
		return plinth_hooks_decision.MakeVerdictAllow(), nil
	case amount <= reviewCents:
		return plinth_hooks_decision.MakeVerdictHold(reason("review", "a person has to look at this amount", limit)), nil
	default:
		return plinth_hooks_decision.MakeVerdictDeny(reason("too-large", "orders of this amount are not taken", reviewCents)), nil
	}
}

// place makes row, message and audit record visible together or not at all.
func place(placed order, eventID string) error {
	books, err := plinth.OpenDatabase("orders")
	if err != nil {
		return err
	}
	return books.Transaction(func(work plinth.Transaction) error {
		if err := insert(work, placed); err != nil {
			return err
		}
		message := struct {
			Order       string `json:"order"`
			AmountCents int64  `json:"amount_cents"`
		}{*placed.Order, *placed.AmountCents}
		if _, err := work.Publish("shipments", message.Order, message); err != nil {
			return err
		}
		err := work.Audit(plinth.Entry{
			Action: "order.placed", Kind: "order", ID: message.Order, Summary: "an order was taken into the books",
			Attributes: map[string]string{"amount-cents": strconv.FormatInt(message.AmountCents, 10), "event-id": eventID},
		})
		if err != nil {
			return err
		}
		if placed.Mode == "capability-error" {
			// The second row of the same order: the first and all of the above go with it.
			return insert(work, placed)
		}
		return nil
	})
}

func insert(work plinth.Transaction, placed order) error {
	_, err := work.Execute("insert into orders (id, amount_cents, placed_at_ms, receipt) values ($1, $2, $3, $4)",
		*placed.Order, *placed.AmountCents, plinth.NowMs(), hex.EncodeToString(plinth.RandomBytes(8)))
	return err
}

// tell comes after the commit: what may be lost without the books being wrong.
func tell(placed order) error {
	bucket, err := plinth.OpenBucket("desk")
	if err != nil {
		return err
	}
	if _, err := bucket.Increment("count", 1); err != nil {
		return err
	}
	if err := bucket.Set("last", []byte(*placed.Order)); err != nil {
		return err
	}
	plinth.Count("orders_placed_total", 1)
	plinth.Info("order placed", "order", *placed.Order)
	return nil
}

// checkTypedErrors sees that a statement that names no table there is comes back as just that.
func checkTypedErrors() error {
	books, err := plinth.OpenDatabase("orders")
	if err != nil {
		return err
	}
	_, err = books.Execute("insert into no_such_table (id) values ($1)", "x")
	var host *plinth.HostError
	if errors.As(err, &host) && host.Code == "invalid-statement" {
		return nil
	}
	return &plinth.Reject{Code: "untyped", Message: "a bad statement was not answered as one"}
}

func read(payload hook_types.Payload) (order, error) {
	var placed order
	if err := json.Unmarshal(payload.Data, &placed); err != nil {
		return placed, &plinth.Reject{Code: "bad-event", Message: err.Error()}
	}
	if placed.Order == nil || placed.AmountCents == nil || !slices.Contains(modes, placed.Mode) {
		return placed, &plinth.Reject{Code: "bad-event", Message: "an order has an id, a whole amount_cents and perhaps a known mode"}
	}
	return placed, nil
}

func reason(code, message string, limit int64) hook_types.Reason {
	details := []wit.Tuple2[string, string]{{F0: "limit-cents", F1: strconv.FormatInt(limit, 10)}}
	return hook_types.Reason{Code: code, Message: message, Details: details}
}
