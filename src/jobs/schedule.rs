//! The calendar. Every replica looks once a minute which slots have come since the last one in `rekon.runs`; inserting
//! the slot decides who runs it, and the same transaction puts the command on the bus. No leader, and a slot that
//! passed while nobody ran is seen; so is a run that lost its command or its worker, which gets a new command.

use std::{str::FromStr, sync::Arc, time::Duration};

use apalis::prelude::{BoxDynError, Data, Monitor, WorkerBuilder};
use apalis_cron::{CronScheduler, Tick};
use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    config::{Missed, Schedule},
    domain::day::BusinessDay,
    engine::{Ctx, reconcile},
    jobs::{
        JobsError,
        commands::{ATTEMPTS_MAX, SILENT_MAX, push},
    },
    store::{
        self, StoreError, Tx,
        slots::{self, Patience},
    },
};

/// Slots of one job that are caught up at most; older ones are left out and said so.
const CATCH_UP_MAX: usize = 31;
/// A slot this old is missed, not due.
const DUE_WITHIN: TimeDelta = TimeDelta::minutes(2);
/// How far back the first slot of a job may lie that nobody watches every minute.
const FIRST_WITHIN: TimeDelta = TimeDelta::days(1);
/// What makes a run lost.
const PATIENCE: Patience = Patience { queued: Duration::from_mins(1), running: SILENT_MAX, attempts_max: ATTEMPTS_MAX };
/// Once a minute, at its start.
const EVERY_MINUTE: &str = "0 * * * * *";

async fn minute(_tick: Tick<Utc>, ctx: Data<Arc<Ctx>>) -> Result<(), BoxDynError> {
    let ctx = Arc::clone(&ctx);
    rescue(&ctx).await;
    if let Err(error) = find_lost(&ctx).await {
        tracing::warn!(%error, "lost runs could not be looked for; looking again in a minute");
    }
    for (job, schedule) in &ctx.schedules {
        if let Err(error) = look(&ctx, job, schedule).await {
            tracing::warn!(job, %error, "the calendar could not be read; looking again in a minute");
        }
    }
    Ok(())
}

/// Commands that a dead worker left behind go back; none takes longer than a run's deadline.
async fn rescue(ctx: &Ctx) {
    match ctx.store.rescue_commands(ctx.limits.deadline.saturating_mul(2)).await {
        Ok(0) => {}
        Ok(rescued) => tracing::warn!(rescued, "commands of a dead worker run again"),
        Err(error) => tracing::debug!(%error, "commands could not be looked after"),
    }
}

async fn look(ctx: &Ctx, job: &str, schedule: &Schedule) -> Result<(), BoxDynError> {
    let now = ctx.store.now().await?;
    let after = last_slot(ctx, job).await?.unwrap_or_else(|| now.checked_sub_signed(DUE_WITHIN).unwrap_or(now));
    for slot in due_slots(schedule, after, now) {
        enqueue(ctx, job, slot).await?;
    }
    Ok(())
}

fn slots_between(schedule: &Schedule, after: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let mut slots = Vec::new();
    let mut at = after;
    while let Some(next) = schedule.next_after(at).filter(|next| *next <= now) {
        slots.push(next);
        at = next;
    }
    slots
}

/// The slots after `after` up to `now` that are to be run.
fn due_slots(schedule: &Schedule, after: DateTime<Utc>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let mut slots = slots_between(schedule, after, now);
    match schedule.missed {
        Missed::CatchUp => {
            let left_out = slots.len().saturating_sub(CATCH_UP_MAX);
            if left_out > 0 {
                tracing::warn!(left_out, "more slots were missed than are caught up");
            }
            slots.split_off(left_out)
        }
        Missed::Skip => slots.into_iter().filter(|slot| now.signed_duration_since(*slot) < DUE_WITHIN).collect(),
    }
}

/// The slots of which nobody made a run, for one who looks now and then and not every minute: all that are caught up, of
/// others the newest, and of a job that never ran the newest of the last day.
fn slots_left(schedule: &Schedule, last: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Vec<DateTime<Utc>> {
    let after = last.unwrap_or_else(|| now.checked_sub_signed(FIRST_WITHIN).unwrap_or(now));
    let mut slots = slots_between(schedule, after, now);
    let most = if schedule.missed == Missed::CatchUp && last.is_some() { CATCH_UP_MAX } else { 1 };
    slots.split_off(slots.len().saturating_sub(most))
}

async fn enqueue(ctx: &Ctx, job: &str, slot: DateTime<Utc>) -> Result<(), BoxDynError> {
    let mut tx = ctx.store.begin().await?;
    let Some(run) = begin(&mut tx, job, slot).await? else { return Ok(()) };
    push(&mut tx, run).await?;
    tx.commit().await.map_err(StoreError::from)?;
    tracing::info!(job, %slot, run, "a slot has come");
    Ok(())
}

/// Takes a slot; the run's id, or `None` where somebody has it.
async fn begin(tx: &mut Tx, job: &str, slot: DateTime<Utc>) -> Result<Option<i64>, StoreError> {
    let params = serde_json::json!({ "day": BusinessDay::yesterday(slot).to_string() });
    let run = store::runs::begin(tx, job, &slot.to_rfc3339(), &params, "queued", "schedule").await?;
    Ok(run.map(|run| run.id))
}

/// Runs of these jobs that nobody does: slots that have come, taken here, and runs that lost their worker. No command is made for
/// them: the caller carries them out, and the calendar of a daemon finds those that he does not.
pub(super) async fn left_over(ctx: &Ctx, jobs: &[&str]) -> Result<Vec<i64>, BoxDynError> {
    let now = ctx.store.now().await?;
    let mut tx = ctx.store.begin().await?;
    let lost = slots::find_lost(&mut tx, jobs, PATIENCE).await?;
    let mut runs: Vec<i64> = lost.iter().filter(|run| !run.given_up).map(|run| run.id).collect();
    for (job, schedule) in ctx.schedules.iter().filter(|(job, _)| jobs.contains(&job.as_str())) {
        for slot in slots_left(schedule, last_slot(ctx, job).await?, now) {
            runs.extend(begin(&mut tx, job, slot).await?);
        }
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(runs)
}

async fn last_slot(ctx: &Ctx, job: &str) -> Result<Option<DateTime<Utc>>, StoreError> {
    let slot = ctx.store.last_slot(job).await?.and_then(|slot| DateTime::parse_from_rfc3339(&slot).ok());
    Ok(slot.map(|slot| slot.with_timezone(&Utc)))
}

/// Runs whose command or worker is gone get a new command: a slot that was used is a run that is done.
async fn find_lost(ctx: &Ctx) -> Result<(), BoxDynError> {
    let jobs: Vec<&str> = ctx.schedules.iter().map(|(job, _)| job.as_str()).chain([reconcile::JOB]).collect();
    let mut tx = ctx.store.begin().await?;
    let lost = slots::find_lost(&mut tx, &jobs, PATIENCE).await?;
    for run in lost.iter().filter(|run| !run.given_up) {
        push(&mut tx, run.id).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    for run in lost {
        if run.given_up {
            tracing::error!(run = run.id, "a run never came to its end and is given up");
        } else {
            tracing::warn!(run = run.id, "a run that nobody had goes back to the queue");
        }
    }
    Ok(())
}

/// Adds the calendar to the monitor.
pub(super) fn register(monitor: Monitor, ctx: &Arc<Ctx>) -> Result<Monitor, JobsError> {
    let problem = |e: cron::error::Error| JobsError::Schedule { job: "schedule", problem: e.to_string() };
    let every_minute = cron::Schedule::from_str(EVERY_MINUTE).map_err(problem)?;
    let ctx = Arc::clone(ctx);
    Ok(monitor.register(move |restarts: usize| {
        WorkerBuilder::new(format!("schedule-{}-{restarts}", ctx.owner))
            .backend(CronScheduler::new(every_minute.clone()))
            .data(Arc::clone(&ctx))
            .build(minute)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn daily(missed: Missed) -> Schedule {
        let cron = cron::Schedule::from_str("0 0 6 * * *").unwrap();
        Schedule { text: "0 6 * * *".into(), cron, timezone: chrono_tz::Asia::Jakarta, missed }
    }

    fn at(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().with_timezone(&Utc)
    }

    #[test]
    fn slots_that_passed_while_nobody_ran_are_caught_up_or_skipped() {
        let (after, now) = (at("2026-11-16T23:00:00Z"), at("2026-11-19T23:00:30Z"));
        let slots = due_slots(&daily(Missed::CatchUp), after, now);
        assert_eq!(slots, [at("2026-11-17T23:00:00Z"), at("2026-11-18T23:00:00Z"), at("2026-11-19T23:00:00Z")]);
        assert_eq!(due_slots(&daily(Missed::Skip), after, now), [at("2026-11-19T23:00:00Z")]);
        assert!(due_slots(&daily(Missed::Skip), after, at("2026-11-19T22:59:00Z")).is_empty());
    }

    #[test]
    fn who_looks_now_and_then_takes_what_is_left_however_late() {
        let (after, now) = (at("2026-11-16T23:00:00Z"), at("2026-11-19T23:14:00Z"));
        let all = [at("2026-11-17T23:00:00Z"), at("2026-11-18T23:00:00Z"), at("2026-11-19T23:00:00Z")];
        assert_eq!(slots_left(&daily(Missed::CatchUp), Some(after), now), all);
        assert_eq!(slots_left(&daily(Missed::Skip), Some(after), now), all[2..], "the newest, and not all");
        assert_eq!(slots_left(&daily(Missed::CatchUp), None, now), all[2..], "a first run catches up nothing");
        assert!(slots_left(&daily(Missed::CatchUp), Some(all[2]), now).is_empty());
    }
}
