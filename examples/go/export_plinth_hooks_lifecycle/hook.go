// Package export_plinth_hooks_lifecycle is what the generated code calls for plinth:hooks/lifecycle.
package export_plinth_hooks_lifecycle

import (
	"wit_component/desk"
	"wit_component/plinth"
	hook_types "wit_component/plinth_hooks_hook_types"
	"wit_component/plinth_hooks_lifecycle"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

func Activate(plinth_hooks_lifecycle.Activation) wit.Result[wit.Unit, hook_types.Failure] {
	return plinth.Activation(desk.Prepare)
}

func Deactivate() {}
