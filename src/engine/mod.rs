//! One function per use-case: gather, record, decide, carry out. No apalis, axum or clap.
