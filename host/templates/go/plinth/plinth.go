// Package plinth is a thin layer over what the host offers.
package plinth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	hook_types "wit_component/plinth_hooks_hook_types"
	"wit_component/plinth_log_log"
	"wit_component/plinth_metrics_instruments"
	"wit_component/wasi_config_store"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// Retry asks to be called again, no earlier than After if that is not zero.
type Retry struct {
	Message string
	After   time.Duration
}

func (e *Retry) Error() string { return e.Message }

// Reject says that trying again cannot help. An event becomes a dead letter.
type Reject struct{ Code, Message string }

func (e *Reject) Error() string { return e.Code + ": " + e.Message }

// Hook turns what a function answers into the answer of a hook. A panic is logged, and the call traps.
func Hook[T any](call func() (T, error)) wit.Result[T, hook_types.HookError] {
	defer func() {
		if bug := recover(); bug != nil {
			Log(plinth_log_log.Level_Error, "panic", "text", fmt.Sprint(bug))
			panic(bug)
		}
	}()
	value, err := call()
	var retry *Retry
	var reject *Reject
	switch {
	case err == nil:
		return wit.Ok[T, hook_types.HookError](value)
	case errors.As(err, &retry):
		after := wit.None[uint32]()
		if retry.After > 0 {
			after = wit.Some(uint32(retry.After.Milliseconds()))
		}
		return wit.Err[T](hook_types.MakeHookErrorRetry(hook_types.Retry{Message: retry.Message, AfterMs: after}))
	case errors.As(err, &reject):
		return wit.Err[T](hook_types.MakeHookErrorReject(hook_types.Failure{Code: reject.Code, Message: reject.Message}))
	}
	return wit.Err[T](hook_types.MakeHookErrorReject(hook_types.Failure{Code: "error", Message: err.Error()}))
}

// Parse reads a payload's JSON.
func Parse(payload hook_types.Payload, into any) error { return json.Unmarshal(payload.Data, into) }

// Config is one value of the plugin's configuration as text, or otherwise.
func Config(key, otherwise string) (string, error) {
	found := wasi_config_store.Get(key)
	if found.IsErr() {
		return "", &Reject{Code: "config", Message: key}
	}
	return found.Ok().SomeOr(otherwise), nil
}

// Count adds to a counter; labels are given as name, value, name, value.
func Count(name string, delta float64, labels ...string) {
	plinth_metrics_instruments.CounterAdd(name, delta, pairs(labels))
}

// Info writes a line with fields, given as name, value, name, value.
func Info(message string, fields ...string) { Log(plinth_log_log.Level_Info, message, fields...) }

func Log(level plinth_log_log.Level, message string, fields ...string) {
	plinth_log_log.Write(level, message, pairs(fields))
}

func pairs(words []string) []wit.Tuple2[string, string] {
	var all []wit.Tuple2[string, string]
	for pair := range slices.Chunk(words, 2) {
		all = append(all, wit.Tuple2[string, string]{F0: pair[0], F1: pair[1]})
	}
	return all
}
