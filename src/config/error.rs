//! What is wrong with a configuration, all of it at once, each with its place, key, what was found and what is allowed.
//! No value of a secret is ever part of a message.

use std::fmt;

use serde::Serialize;

/// Where a value stands.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The defaults compiled into rekon: the shipped `jobs.toml`.
    Default,
    /// A line of the configuration file, counted from 1.
    File {
        /// The file as it was named.
        file: String,
        /// The line.
        line: usize,
    },
    /// An environment variable.
    Environment {
        /// Its name.
        variable: String,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => out.write_str("default"),
            Self::File { file, line } => write!(out, "{file}:{line}"),
            Self::Environment { variable } => write!(out, "environment {variable}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct ConfigError {
    /// Where it stands.
    pub source: Source,
    /// The full key, such as `jobs.sweep.every`; empty where the file itself cannot be read.
    pub key: String,
    /// What was found there, as TOML; `None` for secrets and for what is missing.
    pub found: Option<String>,
    /// What is wrong, what is allowed and, where one is near, the key that was meant.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: ", self.source)?;
        if !self.key.is_empty() {
            out.write_str(&self.key)?;
            if let Some(found) = &self.found {
                write!(out, " = {found}")?;
            }
            out.write_str(": ")?;
        }
        out.write_str(&self.problem)
    }
}

/// Everything that is wrong, in the order of the sections. Never empty.
#[derive(Clone, Debug, Eq, PartialEq, Serialize, thiserror::Error)]
pub struct ConfigErrors {
    /// The single errors.
    pub errors: Vec<ConfigError>,
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.errors.len() {
            1 => writeln!(out, "the configuration has 1 error:")?,
            count => writeln!(out, "the configuration has {count} errors:")?,
        }
        for error in &self.errors {
            writeln!(out, "  {error}")?;
        }
        out.write_str("Every key is described in docs/config.md and in the shipped jobs.toml.")
    }
}
