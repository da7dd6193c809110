// Package export_plinth_hooks_decision is what the generated code calls for plinth:hooks/decision.
package export_plinth_hooks_decision

import (
	"wit_component/orders"
	"wit_component/plinth"
	"wit_component/plinth_hooks_decision"
	hook_types "wit_component/plinth_hooks_hook_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

func Decide(question plinth_hooks_decision.Question) wit.Result[plinth_hooks_decision.Verdict, hook_types.HookError] {
	return plinth.Hook(func() (plinth_hooks_decision.Verdict, error) { return orders.Decide(question) })
}
