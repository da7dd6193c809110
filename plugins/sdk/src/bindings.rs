//! The generated half of the SDK: every import once, and each hook in a world
//! of its own, so that a component exports only the hooks it declares. Imports
//! a plugin never calls are dropped when its component is made.

wit_bindgen::generate!({
    path: "../../wit",
    world: "plinth:platform/imports",
    generate_all,
    additional_derives: [PartialEq],
});

/// The types all hooks share.
pub mod types {
    wit_bindgen::generate!({
        path: "../../wit",
        world: "plinth:hooks/types@1.0.0",
        generate_all,
        generate_unused_types: true,
        additional_derives: [PartialEq],
    });
}

/// Generates the bindings of one exported hook.
macro_rules! hook {
    ($module:ident, $macro:literal, $wit:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../../wit",
                inline: $wit,
                with: { "plinth:hooks/hook-types@1.0.0": crate::bindings::types::plinth::hooks::hook_types },
                additional_derives: [PartialEq],
                pub_export_macro: true,
                export_macro_name: $macro,
            });
        }
    };
}

hook!(
    event_listener,
    "export_event_listener",
    "package plinth:sdk; world event-listener-only { export plinth:hooks/event-listener@1.0.0; }"
);
hook!(task_handler, "export_task_handler", "package plinth:sdk; world task-handler-only { export plinth:hooks/task-handler@1.0.0; }");
hook!(decision, "export_decision", "package plinth:sdk; world decision-only { export plinth:hooks/decision@1.0.0; }");
hook!(scheduled_job, "export_scheduled_job", "package plinth:sdk; world scheduled-job-only { export plinth:hooks/scheduled-job@1.0.0; }");
hook!(lifecycle, "export_lifecycle", "package plinth:sdk; world lifecycle-only { export plinth:hooks/lifecycle@1.0.0; }");
hook!(health, "export_health", "package plinth:sdk; world health-only { export plinth:hooks/health@1.0.0; }");
