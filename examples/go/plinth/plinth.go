// Package plinth is a thin layer over the generated bindings: what makes them feel like Go.
//
// Copy it into your plugin. A capability that says no answers a [HostError], whose Code is the
// error's name in the WIT ("constraint-violation"). A hook goes through [Hook]: it answers a
// [Retry] or a [Reject], and any HostError it hands on becomes the one of the two that fits.
//
// A world that lacks one of the interfaces below lacks the package too: delete what you do not use.
package plinth

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	audit_types "wit_component/plinth_audit_audit_types"
	audit_writer "wit_component/plinth_audit_writer"
	"wit_component/plinth_cache_buckets"
	"wit_component/plinth_cache_cache_types"
	"wit_component/plinth_context_clock"
	"wit_component/plinth_context_random"
	"wit_component/plinth_database_sql"
	sql_types "wit_component/plinth_database_sql_types"
	hook_types "wit_component/plinth_hooks_hook_types"
	"wit_component/plinth_log_log"
	"wit_component/plinth_metrics_instruments"
	"wit_component/plinth_outbox_outbox"
	queue_types "wit_component/plinth_queue_queue_types"
	"wit_component/wasi_config_store"

	wit "go.bytecodealliance.org/pkg/wit/types"
)

// HostError is a capability saying no. Branch on Code and, of a broken constraint, on Kind; never on Text.
type HostError struct {
	Capability, Code, Kind, Text string
	// Passing errors may go away by themselves, so that trying again makes sense.
	Passing bool
}

func (e *HostError) Error() string { return e.Capability + ": " + e.Code + ": " + e.Text }

// Retry asks to be called again, no earlier than After if that is not zero.
type Retry struct {
	Message string
	After   time.Duration
}

func (e *Retry) Error() string { return e.Message }

// Reject says that trying again cannot help: what was delivered becomes a dead letter.
type Reject struct{ Code, Message string }

func (e *Reject) Error() string { return e.Code + ": " + e.Message }

// Hook turns an idiomatic function into the answer of event-listener, task-handler, decision or scheduled-job.
func Hook[T any](call func() (T, error)) wit.Result[T, hook_types.HookError] {
	defer func() {
		// Nobody sees a plugin's stderr, but the log. The call traps all the same.
		if bug := recover(); bug != nil {
			Log(plinth_log_log.Level_Error, "panic", "text", fmt.Sprint(bug))
			panic(bug)
		}
	}()
	value, err := call()
	if err == nil {
		return wit.Ok[T, hook_types.HookError](value)
	}
	return wit.Err[T](hookError(err))
}

func hookError(err error) hook_types.HookError {
	var retry *Retry
	var reject *Reject
	var host *HostError
	switch {
	case errors.As(err, &retry):
		after := wit.None[uint32]()
		if retry.After > 0 {
			after = wit.Some(uint32(retry.After.Milliseconds()))
		}
		return hook_types.MakeHookErrorRetry(hook_types.Retry{Message: retry.Message, AfterMs: after})
	case errors.As(err, &reject):
		return hook_types.MakeHookErrorReject(hook_types.Failure{Code: reject.Code, Message: reject.Message})
	case errors.As(err, &host) && host.Passing:
		return hook_types.MakeHookErrorRetry(hook_types.Retry{Message: err.Error(), AfterMs: wit.None[uint32]()})
	case errors.As(err, &host):
		return hook_types.MakeHookErrorReject(hook_types.Failure{Code: host.Capability, Message: err.Error()})
	}
	return hook_types.MakeHookErrorReject(hook_types.Failure{Code: "error", Message: err.Error()})
}

// Activation is Hook for lifecycle.activate: an error keeps the version that is running.
func Activation(call func() error) wit.Result[wit.Unit, hook_types.Failure] {
	if err := call(); err != nil {
		return wit.Err[wit.Unit](hook_types.Failure{Code: "activation", Message: err.Error()})
	}
	return wit.Ok[wit.Unit, hook_types.Failure](wit.Unit{})
}

// Database is SQL with $1, $2, ...; parameters are plain Go values.
type Database struct {
	raw *plinth_database_sql.Database
}

func OpenDatabase(name string) (Database, error) {
	raw, err := database(plinth_database_sql.DatabaseOpen(name))
	return Database{raw}, err
}

func (d Database) Execute(statement string, params ...any) (rows uint64, err error) {
	done, err := database(d.raw.Execute(statement, values(params)))
	return done.RowsAffected, err
}

// Query answers rows by column; a value is nil, bool, int64, float64, string or []byte, or else a [sql_types.Value].
func (d Database) Query(statement string, params ...any) ([]map[string]any, error) {
	return rows(d.raw.Query(statement, values(params)))
}

// Transaction commits when work answers nil and rolls back otherwise.
func (d Database) Transaction(work func(Transaction) error) error {
	raw, err := database(d.raw.Begin(wit.None[sql_types.TransactionOptions]()))
	if err != nil {
		return err
	}
	defer raw.Drop()
	if err := work(Transaction{raw}); err != nil {
		_, lost := database(raw.Rollback())
		return errors.Join(err, lost)
	}
	_, err = database(raw.Commit())
	return err
}

// Transaction is a unit of work: rows, messages and audit records appear together or not at all.
type Transaction struct {
	raw *plinth_database_sql.Transaction
}

func (t Transaction) Execute(statement string, params ...any) (rows uint64, err error) {
	done, err := database(t.raw.Execute(statement, values(params)))
	return done.RowsAffected, err
}

// Query sees what this transaction did; see [Database.Query].
func (t Transaction) Query(statement string, params ...any) ([]map[string]any, error) {
	return rows(t.raw.Query(statement, values(params)))
}

// Publish sends value as JSON with the commit; it answers the message id.
func (t Transaction) Publish(destination, about string, value any) (string, error) {
	body, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	message := queue_types.Message{Body: body, ContentType: "application/json"}
	options := queue_types.PublishOptions{RoutingKey: wit.Some(about)}
	return database(plinth_outbox_outbox.Publish(t.raw, destination, message, wit.Some(options)))
}

func (t Transaction) Audit(entry Entry) error {
	_, err := database(plinth_outbox_outbox.Audit(t.raw, entry.raw()))
	return err
}

// Entry is an audit record; a success unless Denied says which rule refused it.
type Entry struct {
	Action, Kind, ID, Summary string
	Denied                    string
	Attributes                map[string]string
}

func (e Entry) raw() audit_types.Entry {
	outcome := audit_types.MakeOutcomeSuccess()
	if e.Denied != "" {
		outcome = audit_types.MakeOutcomeDenied(e.Denied)
	}
	subject := audit_types.Subject{Kind: e.Kind, Id: e.ID}
	return audit_types.Entry{Action: e.Action, Subject: subject, Outcome: outcome, Summary: e.Summary, Attributes: pairs(e.Attributes)}
}

// Audit writes a record at once.
func Audit(entry Entry) error {
	result := audit_writer.Write(entry.raw())
	if result.IsOk() {
		return nil
	}
	e := result.Err()
	codes := []string{"access-denied", "invalid-argument", "limit-exceeded", "timeout", "unavailable", "outcome-unknown", "other"}
	host := &HostError{Capability: "audit", Code: codes[e.Tag()]}
	if e.Tag() == audit_types.Error_Other {
		host.Text, host.Passing = e.Other().Message, e.Other().Retryable
	}
	return host.judged()
}

// Bucket is bytes under keys that may vanish.
type Bucket struct {
	raw *plinth_cache_buckets.Bucket
}

func OpenBucket(name string) (Bucket, error) {
	raw, err := cache(plinth_cache_buckets.BucketOpen(name))
	return Bucket{raw}, err
}

// Get answers nil if there is nothing.
func (b Bucket) Get(key string) ([]byte, error) {
	found, err := cache(b.raw.Get(key))
	return found.SomeOr(nil), err
}

func (b Bucket) Set(key string, value []byte) error {
	_, err := cache(b.raw.Set(key, value, wit.None[uint32]()))
	return err
}

func (b Bucket) Increment(key string, delta int64) (int64, error) {
	return cache(b.raw.Increment(key, delta, wit.None[uint32]()))
}

// Config is one value of the plugin's configuration as text, or otherwise.
func Config(key, otherwise string) (string, error) {
	result := wasi_config_store.Get(key)
	if result.IsErr() {
		return "", &HostError{Capability: "config", Code: "upstream", Text: key}
	}
	return result.Ok().SomeOr(otherwise), nil
}

func Count(name string, delta float64) { plinth_metrics_instruments.CounterAdd(name, delta, nil) }

// Log writes a line with fields, given as name, value, name, value.
func Log(level plinth_log_log.Level, message string, fields ...string) {
	var facts []wit.Tuple2[string, string]
	for pair := range slices.Chunk(fields, 2) {
		facts = append(facts, wit.Tuple2[string, string]{F0: pair[0], F1: pair[1]})
	}
	plinth_log_log.Write(level, message, facts)
}

func Info(message string, fields ...string) { Log(plinth_log_log.Level_Info, message, fields...) }

// NowMs and RandomBytes are the host's; Go's own clock and crypto/rand work too, through WASI.
func NowMs() int64 { return int64(plinth_context_clock.NowMs()) }

func RandomBytes(n uint16) []byte { return plinth_context_random.Bytes(n) }

func database[T any](result wit.Result[T, sql_types.Error]) (value T, err error) {
	if result.IsOk() {
		return result.Ok(), nil
	}
	codes := []string{"no-such-database", "access-denied", "invalid-argument", "invalid-statement", "constraint-violation", "conflict",
		"transaction-closed", "limit-exceeded", "timeout", "unavailable", "outcome-unknown", "failed", "other"}
	e := result.Err()
	host := &HostError{Capability: "database", Code: codes[e.Tag()]}
	switch e.Tag() {
	case sql_types.Error_ConstraintViolation:
		kinds := []string{"unique", "foreign-key", "not-null", "check", "other"}
		host.Kind, host.Text = kinds[e.ConstraintViolation().Kind.Tag()], e.ConstraintViolation().Message
	case sql_types.Error_InvalidStatement:
		host.Text = e.InvalidStatement().Message
	case sql_types.Error_Failed:
		host.Text = e.Failed().Message
	case sql_types.Error_InvalidArgument:
		host.Text = e.InvalidArgument()
	case sql_types.Error_AccessDenied:
		host.Text = e.AccessDenied()
	case sql_types.Error_Other:
		host.Text, host.Passing = e.Other().Message, e.Other().Retryable
	}
	return value, host.judged()
}

func rows(result wit.Result[sql_types.RowSet, sql_types.Error]) ([]map[string]any, error) {
	set, err := database(result)
	var all []map[string]any
	for _, raw := range set.Rows {
		row := make(map[string]any, len(raw))
		for i, value := range raw {
			row[set.Columns[i].Name] = plain(value)
		}
		all = append(all, row)
	}
	return all, err
}

func plain(value sql_types.Value) any {
	switch value.Tag() {
	case sql_types.Value_Null:
		return nil
	case sql_types.Value_Boolean:
		return value.Boolean()
	case sql_types.Value_Integer:
		return value.Integer()
	case sql_types.Value_Real:
		return value.Real()
	case sql_types.Value_Text:
		return value.Text()
	case sql_types.Value_Blob:
		return value.Blob()
	}
	return value
}

func cache[T any](result wit.Result[T, plinth_cache_cache_types.Error]) (value T, err error) {
	if result.IsOk() {
		return result.Ok(), nil
	}
	codes := []string{"no-such-cache", "access-denied", "invalid-argument", "limit-exceeded", "wrong-type", "timeout", "unavailable", "other"}
	e := result.Err()
	host := &HostError{Capability: "cache", Code: codes[e.Tag()]}
	if e.Tag() == plinth_cache_cache_types.Error_Other {
		host.Text, host.Passing = e.Other().Message, e.Other().Retryable
	}
	return value, host.judged()
}

func (e *HostError) judged() *HostError {
	passing := []string{"conflict", "transaction-closed", "timeout", "unavailable", "outcome-unknown"}
	e.Passing = e.Passing || slices.Contains(passing, e.Code) || (e.Code == "limit-exceeded" && e.Capability == "cache")
	return e
}

func values(params []any) []sql_types.Value {
	raw := make([]sql_types.Value, 0, len(params))
	for _, param := range params {
		switch v := param.(type) {
		case nil:
			raw = append(raw, sql_types.MakeValueNull())
		case bool:
			raw = append(raw, sql_types.MakeValueBoolean(v))
		case int64:
			raw = append(raw, sql_types.MakeValueInteger(v))
		case int:
			raw = append(raw, sql_types.MakeValueInteger(int64(v)))
		case float64:
			raw = append(raw, sql_types.MakeValueReal(v))
		case string:
			raw = append(raw, sql_types.MakeValueText(v))
		case []byte:
			raw = append(raw, sql_types.MakeValueBlob(v))
		case sql_types.Value:
			raw = append(raw, v)
		default:
			panic(fmt.Sprintf("no SQL value for %T", param))
		}
	}
	return raw
}

func pairs(facts map[string]string) []wit.Tuple2[string, string] {
	var all []wit.Tuple2[string, string]
	for name, value := range facts {
		all = append(all, wit.Tuple2[string, string]{F0: name, F1: value})
	}
	slices.SortFunc(all, func(a, b wit.Tuple2[string, string]) int {
		if a.F0 < b.F0 {
			return -1
		}
		return 1
	})
	return all
}
