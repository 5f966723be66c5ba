//! Shows that the house's tests can fail: small violating sources are caught, and lawful ones beside them are let through.

use super::{MAX_LINES, Source};

fn snippet(file: &str, code: &str) -> Vec<String> {
    Source { file: file.to_owned(), text: format!("//! A charter.\n{code}") }.violations()
}

#[test]
fn an_arrow_up_or_sideways_is_found_however_it_is_written() {
    for (file, code) in [
        ("domain/decide.rs", "use crate::store::Pool;"),
        ("domain/decide.rs", "fn f() { crate::engine::check::run() }"),
        ("domain/decide.rs", "use super::super::config::Config;"),
        ("domain/decide.rs", "use crate::{domain::money::Sen, config::{secret::Secret}};"),
        ("domain/mod.rs", "mod tests { use super::super::sim::x; }"),
        ("store/leases.rs", "use crate::providers::doku;"),
        ("report/day.rs", "use crate::store::Day;"),
        ("jobs/check.rs", "use crate::web::router;"),
        ("web/notify.rs", "use crate::providers::doku;"),
        ("engine/check.rs", "use crate::jobs;"),
        ("engine/check.rs", "use crate::sim::world;"),
        ("sim/world.rs", "use crate::providers::sign;"),
        ("jobs/check.rs", "use crate::cli::main;"),
        ("config/mod.rs", "use crate::telemetry::metrics;"),
        ("engine/check.rs", "use crate::*;"),
        ("main.rs", "use rekon::engine::x;"),
        ("engine/check.rs", "use rekon::web;"),
    ] {
        assert_eq!(snippet(file, code).len(), 1, "{file}: {code}");
    }
}

#[test]
fn an_arrow_down_is_let_through() {
    for (file, code) in [
        ("engine/check.rs", "use crate::{domain::money::Sen, store::{self, Pool}, providers};"),
        ("cli/demo.rs", "use crate::sim::world; use crate::jobs;"),
        (
            "engine/check.rs",
            "use super::settle; use crate::engine::Ctx; pub(crate) fn f() {} pub(in crate::engine) fn g() {}",
        ),
        ("main.rs", "fn main() { rekon::cli::main() }"),
        ("domain/decide.rs", "// crate::store::Pool\nconst S: &str = \"crate::store::Pool\";"),
        ("domain/decide.rs", "mod tests { use super::*; }"),
    ] {
        assert_eq!(snippet(file, code), Vec::<String>::new(), "{file}: {code}");
    }
}

#[test]
fn a_crate_away_from_its_home_is_found() {
    for (file, code) in [
        ("engine/check.rs", "use sqlx::Row;"),
        ("jobs/check.rs", "fn f(x: ::sqlx::PgPool) {}"),
        ("engine/check.rs", "use {sqlx, std::fmt};"),
        ("engine/check.rs", "use sqlx as database;"),
        ("providers/doku.rs", "use reqwest::Client;"),
        ("cli/serve.rs", "use axum::Router;"),
        ("engine/mod.rs", "use anyhow::Result;"),
        ("domain/refund.rs", "use hmac::Hmac;"),
        ("store/limits.rs", "#[tokio_util::x] fn f() { apalis_postgres::queries::push_tasks() }"),
    ] {
        assert_eq!(snippet(file, code).len(), 1, "{file}: {code}");
    }
    for (file, code) in [
        ("store/limits.rs", "use sqlx::Row;"),
        ("providers/transport.rs", "use reqwest::Client;"),
        ("providers/transport/pool.rs", "use reqwest::Client;"),
        ("cli/bench.rs", "use reqwest::Client;"),
        ("jobs/mod.rs", "use apalis::prelude::*;"),
    ] {
        assert_eq!(snippet(file, code), Vec::<String>::new(), "{file}: {code}");
    }
}

#[test]
fn floats_clocks_dice_and_waiting_are_found_where_they_are_banned() {
    for (file, code) in [
        ("domain/money.rs", "fn f(x: f64) {}"),
        ("store/limits.rs", "const RATE: u8 = 1_f32 as u8;"),
        ("domain/day.rs", "fn f() { chrono::Utc::now(); }"),
        ("domain/day.rs", "use std::time::SystemTime;"),
        ("domain/day.rs", "fn f() { Instant::now(); }"),
        ("domain/ids.rs", "fn f() { Uuid::now_v7(); }"),
        ("domain/decide.rs", "async fn f() {}"),
    ] {
        assert_eq!(snippet(file, code).len(), 1, "{file}: {code}");
    }
    assert_eq!(snippet("telemetry/metrics.rs", "fn f(x: f64) {}"), Vec::<String>::new());
    assert_eq!(snippet("domain/day.rs", "/// Not `Utc::now()`, not f64.\nfn f() {}"), Vec::<String>::new());
}

#[test]
fn bad_manners_are_found() {
    assert_eq!(snippet("engine/utils.rs", "").len(), 1);
    assert_eq!(snippet("engine/helpers/x.rs", "").len(), 1);
    assert_eq!(snippet("engine/check.rs", "mod misc;").len(), 1);
    assert_eq!(snippet("engine/check.rs", &"\n".repeat(MAX_LINES)).len(), 1);
    assert_eq!(snippet("engine/check.rs", &"\n".repeat(MAX_LINES - 1)).len(), 0);
    let bare = Source { file: "engine/check.rs".to_owned(), text: "use std::fmt;".to_owned() };
    assert_eq!(bare.violations().len(), 1);
}
