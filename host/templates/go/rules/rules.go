// Package rules is the business rule: functions of their arguments, tested natively by `go test ./rules`.
package rules

// LimitCents is from where on a person decides, unless the configuration says otherwise.
const LimitCents = 100_000

// Says is what becomes of an order.
type Says string

const (
	Allow Says = "allow"
	Hold  Says = "hold"
	Deny  Says = "deny"
)

func Judge(amountCents, limitCents int64) Says {
	switch {
	case amountCents <= 0:
		return Deny
	case amountCents < limitCents:
		return Allow
	}
	return Hold
}
