// Package export_plinth_hooks_event_listener is what the generated code calls for plinth:hooks/event-listener.
package export_plinth_hooks_event_listener

import (
	"wit_component/orders"
	"wit_component/plinth"
	"wit_component/plinth_hooks_event_listener"
	hook_types "wit_component/plinth_hooks_hook_types"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

func OnEvent(event plinth_hooks_event_listener.Event) wit.Result[wit.Unit, hook_types.HookError] {
	return plinth.Hook(func() (wit.Unit, error) { return wit.Unit{}, orders.Placed(event) })
}
