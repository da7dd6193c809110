//! `plugin!`: turns implemented traits into exported hooks.

/// Exports the hooks a type implements.
///
/// Hooks: `event_listener`, `task_handler`, `decision`, `scheduled_job`,
/// `lifecycle`, `health`, `http`.
///
/// A panic is written to the host's log before the call traps, so a plugin
/// imports `plinth:log`. `plugin!(Rules: decision; no_panic_log)` leaves that
/// out: a plugin of pure functions then imports nothing at all.
#[macro_export]
macro_rules! plugin {
    ($plugin:ident : $($hook:ident),+ $(,)?) => {
        $crate::plugin!(@export $plugin, $crate::log::report_panics, $($hook),+);
    };
    ($plugin:ident : $($hook:ident),+ ; no_panic_log) => {
        $crate::plugin!(@export $plugin, $crate::log::ignore_panics, $($hook),+);
    };
    (@export $plugin:ident, $enter:path, $($hook:ident),+) => {
        const _: () = {
            struct Exports;
            // Names with `:` and `@` are none a native linker takes, so natively
            // the hooks are only type-checked.
            #[cfg(not(target_family = "wasm"))]
            const _: ::core::marker::PhantomData<Exports> = ::core::marker::PhantomData;
            $( $crate::__hook!($hook, $plugin, Exports, $enter); )+
        };
    };
}

/// One hook: the generated trait on `Exports`, which hands over to the plugin.
#[doc(hidden)]
#[macro_export]
macro_rules! __hook {
    (event_listener, $plugin:ident, $exports:ident, $enter:path) => {
        impl $crate::bindings::event_listener::exports::plinth::hooks::event_listener::Guest for $exports {
            fn on_event(event: $crate::Event) -> ::core::result::Result<(), $crate::HookError> {
                $enter();
                <$plugin as $crate::EventListener>::on_event(event)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::event_listener::export_event_listener!($exports with_types_in $crate::bindings::event_listener);
    };
    (task_handler, $plugin:ident, $exports:ident, $enter:path) => {
        impl $crate::bindings::task_handler::exports::plinth::hooks::task_handler::Guest for $exports {
            fn handle(task: $crate::Task) -> ::core::result::Result<(), $crate::HookError> {
                $enter();
                <$plugin as $crate::TaskHandler>::handle(task)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::task_handler::export_task_handler!($exports with_types_in $crate::bindings::task_handler);
    };
    (decision, $plugin:ident, $exports:ident, $enter:path) => {
        impl $crate::bindings::decision::exports::plinth::hooks::decision::Guest for $exports {
            fn decide(question: $crate::Question) -> ::core::result::Result<$crate::Verdict, $crate::HookError> {
                $enter();
                <$plugin as $crate::Decision>::decide(question)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::decision::export_decision!($exports with_types_in $crate::bindings::decision);
    };
    (scheduled_job, $plugin:ident, $exports:ident, $enter:path) => {
        impl $crate::bindings::scheduled_job::exports::plinth::hooks::scheduled_job::Guest for $exports {
            fn run(trigger: $crate::Trigger) -> ::core::result::Result<(), $crate::HookError> {
                $enter();
                <$plugin as $crate::ScheduledJob>::run(trigger)
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::scheduled_job::export_scheduled_job!($exports with_types_in $crate::bindings::scheduled_job);
    };
    (lifecycle, $plugin:ident, $exports:ident, $enter:path) => {
        impl $crate::bindings::lifecycle::exports::plinth::hooks::lifecycle::Guest for $exports {
            fn activate(activation: $crate::Activation) -> ::core::result::Result<(), $crate::Failure> {
                $enter();
                <$plugin as $crate::Lifecycle>::activate(activation)
            }
            fn deactivate() {
                $enter();
                <$plugin as $crate::Lifecycle>::deactivate()
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::lifecycle::export_lifecycle!($exports with_types_in $crate::bindings::lifecycle);
    };
    (health, $plugin:ident, $exports:ident, $enter:path) => {
        impl $crate::bindings::health::exports::plinth::hooks::health::Guest for $exports {
            fn check() -> ::core::result::Result<(), $crate::Failure> {
                $enter();
                <$plugin as $crate::Health>::check()
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::bindings::health::export_health!($exports with_types_in $crate::bindings::health);
    };
    (http, $plugin:ident, $exports:ident, $enter:path) => {
        impl $crate::wasip2::exports::http::incoming_handler::Guest for $exports {
            fn handle(request: $crate::wasip2::http::types::IncomingRequest, answer: $crate::wasip2::http::types::ResponseOutparam) {
                $enter();
                $crate::http::serve::<$plugin>(request, answer);
            }
        }
        #[cfg(target_family = "wasm")]
        $crate::wasip2::http::proxy::export!($exports with_types_in $crate::wasip2);
    };
}
