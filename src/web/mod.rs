//! Probes, metrics, notifications, API and console over HTTP. No SQL text and no provider calls.
