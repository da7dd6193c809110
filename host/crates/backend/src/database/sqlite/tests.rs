//! What the conformance suite cannot see: limits, races and failures of this backend.
