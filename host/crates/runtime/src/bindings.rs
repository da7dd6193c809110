//! The one `bindgen!`: what the WIT worlds look like in Rust. Only `glue` and `invoke` name these types.

wasmtime::component::bindgen!({
    path: "../../../wit",
    world: "plinth:platform/every-interface",
    imports: {
        "plinth:metrics/instruments": trappable,
        "plinth:log/log": trappable,
        "plinth:context/invocation": trappable,
        "plinth:context/clock": trappable,
        "plinth:context/random": trappable,
        "wasi:config/store": trappable,
        "wasi:logging/logging": trappable,
        "plinth:database/sql.[method]database.dialect": trappable,
        "plinth:database/sql.[method]cursor.columns": trappable,
        default: async | trappable,
    },
    exports: { default: async },
    with: {
        "plinth:cache/buckets.bucket": crate::glue::cache::Bucket,
        "wasi:keyvalue/store@0.2.0-draft.bucket": crate::glue::cache::Bucket,
        "wasi:keyvalue/store@0.2.0-draft2.bucket": crate::glue::cache::Bucket,
        "wasi:keyvalue/atomics@0.2.0-draft2.cas": crate::glue::wasi_keyvalue::Cas,
        "plinth:database/sql.database": crate::glue::database::OpenDatabase,
        "plinth:database/sql.transaction": crate::glue::database::OpenTransaction,
        "plinth:database/sql.cursor": crate::glue::database::OpenCursor,
    },
    require_store_data_send: true,
});
