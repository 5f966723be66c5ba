//! `jobs.toml`, environment and secret files become one checked, immutable configuration. Nothing else reads the environment.
