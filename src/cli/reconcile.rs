//! `rekon reconcile`: closes a day by hand or as a CronJob. Says what it will cost, starts its own workers on the budget that
//! the daemon uses too, follows until nothing more is due before the deadline, and prints the day.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use indicatif::ProgressBar;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::{
        context::{Context, OnSignal, Schema, Session},
        exit::{Exit, Failure},
    },
    config::LogFormat,
    domain::day::BusinessDay,
    engine::{
        Ctx, Engine,
        reconcile::{self, Cost, Days, End, Request},
        webhooks,
    },
    jobs::{self, house::House},
    store::{
        limits::CallClass,
        runs::{Progress, Run},
    },
    telemetry::heartbeat::Heartbeats,
};

/// How long the run's last messages to merchants' endpoints may take.
const LAST_ROUND: Duration = Duration::from_mins(1);

/// The run's seal and pruning may take this long, however short its own deadline is.
const HOUSE_MIN: Duration = Duration::from_mins(1);

/// Reconcile a day: ask about its rows, settle, return what is owed, report
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Without dates: yesterday in WIB and every row that is not terminal.\n\nExample: rekon reconcile --date 2026-11-19 --format xlsx --out 19-november.xlsx"
)]
pub(crate) struct Reconcile {
    /// Rows created or paid on this day (WIB)
    #[arg(long, value_name = "YYYY-MM-DD", conflicts_with_all = ["from", "to"])]
    date: Option<BusinessDay>,
    /// First day (WIB)
    #[arg(long, value_name = "YYYY-MM-DD", requires = "to")]
    from: Option<BusinessDay>,
    /// Last day (WIB), included
    #[arg(long, value_name = "YYYY-MM-DD", requires = "from")]
    to: Option<BusinessDay>,
    /// Only this account; may be repeated
    #[arg(long = "account", value_name = "ACCOUNT")]
    accounts: Vec<String>,
    /// Say what would be asked and how long it takes; write nothing, ask nothing
    #[arg(long)]
    dry_run: bool,
    /// End by then at the latest, e.g. 30m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    deadline: Option<Duration>,
    /// Ask terminal rows again whose last answer is older, e.g. 24h; 0 asks all
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    fresh: Option<Duration>,
    /// Open exceptions that are still clean: a number, or a share such as 1%
    #[arg(long, value_name = "N|N%", default_value = "0", value_parser = Threshold::parse)]
    threshold: Threshold,
    #[command(flatten)]
    report: super::report::ReportArgs,
}

/// How many exceptions a clean run may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Threshold {
    Rows(u64),
    Percent(u64),
}

impl Threshold {
    fn parse(text: &str) -> Result<Self, String> {
        let (digits, percent) = text.strip_suffix('%').map_or((text, false), |digits| (digits, true));
        let number = digits.parse().map_err(|_| "a number such as 5, or a share such as 1%".to_owned())?;
        match percent {
            true if number > 100 => Err("at most 100%".to_owned()),
            true => Ok(Self::Percent(number)),
            false => Ok(Self::Rows(number)),
        }
    }

    fn is_passed(self, exceptions: u64, rows: u64) -> bool {
        match self {
            Self::Rows(limit) => exceptions > limit,
            Self::Percent(limit) => exceptions.saturating_mul(100) > rows.saturating_mul(limit),
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    crate::config::parse_duration(text).ok_or_else(|| "a duration such as \"90s\", \"30m\", \"24h\", or 0".to_owned())
}

impl Reconcile {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        self.report.check(context.out.json)?;
        // A person has the progress and the report; where logs are for machines this may be all that runs, and it says what it meets.
        let config = context.config()?;
        if config.log.format == LogFormat::Json {
            super::serve::init_logs(config)?;
        }
        let place = context.place()?;
        context.session(place, Schema::Current, OnSignal::Drain, async |session, stop| self.work(session, stop).await)
    }

    fn request(&self, config: &crate::config::Config) -> Result<Request, Failure> {
        let days = match (self.date, self.from.zip(self.to)) {
            (Some(day), _) => Days::Span { first: day, last: day },
            (None, Some((first, last))) if first <= last => Days::Span { first, last },
            (None, Some(_)) => return Err(Failure::Usage("--from lies after --to".to_owned())),
            (None, None) => Days::YesterdayAndUnsettled,
        };
        Ok(Request {
            days,
            accounts: self.accounts.clone(),
            fresh: self.fresh.unwrap_or(config.reconcile.fresh),
            requested_by: "cli".to_owned(),
        })
    }

    async fn work(&self, session: Session<'_>, stop: CancellationToken) -> Result<Exit, Failure> {
        let request = self.request(session.config)?;
        let now = session.store.now().await?;
        let costs = reconcile::cost(&session.store, session.config, &request, now).await?;
        session.out.say(&announcement(&request, now, &costs));
        if self.dry_run {
            if session.out.json {
                session.out.document(&costs, String::new)?;
            }
            return Ok(Exit::Clean);
        }
        let engine =
            Engine::start(session.store.clone(), session.config, CallClass::Adhoc, &self.accounts, Heartbeats::new())
                .await?;
        let ctx = Arc::clone(&engine.ctx);
        let result = self.on_engine(&session, &ctx, (&request, now), &stop).await;
        let interrupted = stop.is_cancelled();
        ctx.stop.cancel();
        engine.finish().await?;
        // No daemon need be there to tell what this run has decided.
        if !interrupted {
            webhooks::last_round(&ctx, LAST_ROUND).await;
        }
        result
    }

    async fn on_engine(
        &self,
        session: &Session<'_>,
        ctx: &Arc<Ctx>,
        (request, now): (&Request, DateTime<Utc>),
        stop: &CancellationToken,
    ) -> Result<Exit, Failure> {
        let run = reconcile::begin(ctx, request).await?;
        let deadline = later(now, self.deadline.unwrap_or(session.config.reconcile.deadline));
        let (end, progress) = self.follow(session, ctx, &run, deadline, stop).await?;
        reconcile::finish(ctx, &run, end, &progress).await?;
        let report = self.report.print(session, request, &run, end, &progress).await?;
        Ok(self.exit(end, report))
    }

    /// Own workers for as long as the run lasts; a breaker or a dead provider ends by the deadline. What a daemon does beside
    /// asking is done too: no daemon need be there.
    async fn follow(
        &self,
        session: &Session<'_>,
        ctx: &Arc<Ctx>,
        run: &Run,
        deadline: DateTime<Utc>,
        stop: &CancellationToken,
    ) -> Result<(End, Progress), Failure> {
        let house = Box::pin(House::open(ctx)).await;
        let workers = tokio::spawn(jobs::run(Arc::clone(ctx), jobs::Roles { commands: false }));
        let stopping = ctx.stop.clone();
        let stop = stop.clone();
        let relay = tokio_util::task::AbortOnDropHandle::new(tokio::spawn(async move {
            stop.cancelled().await;
            stopping.cancel();
        }));
        // Its true length comes with the first look.
        let bar = session.out.bar(1, "rows");
        let limit = deadline.signed_duration_since(ctx.clock.now()).to_std().unwrap_or_default().max(HOUSE_MIN);
        let done = CancellationToken::new();
        let asked = Box::pin(async {
            let follow = reconcile::follow(ctx, run, deadline, |progress| show(&bar, progress));
            let (followed, ()) = tokio::join!(follow, house.calendar(limit));
            done.cancel();
            followed
        });
        let (followed, ()) = tokio::join!(asked, Box::pin(house.watch(&done)));
        bar.finish_and_clear();
        ctx.stop.cancel();
        drop(relay);
        match workers.await {
            Ok(ended) => ended?,
            Err(error) => tracing::error!(%error, "the workers ended badly"),
        }
        let followed = followed?;
        if followed.0 != End::Stopped {
            Box::pin(house.close()).await;
        }
        Ok(followed)
    }

    fn exit(&self, end: End, report: super::report::Printed) -> Exit {
        if !report.ties {
            Exit::Invariant
        } else if end != End::Complete {
            Exit::Incomplete
        } else if self.threshold.is_passed(report.exceptions, report.rows) {
            Exit::Exceptions
        } else {
            Exit::Clean
        }
    }
}

fn later(now: DateTime<Utc>, by: Duration) -> DateTime<Utc> {
    TimeDelta::from_std(by).ok().and_then(|by| now.checked_add_signed(by)).unwrap_or(now)
}

fn show(bar: &ProgressBar, progress: &Progress) {
    let count = |n: i64| n.max(0).unsigned_abs();
    bar.set_length(count(progress.must_ask));
    bar.set_position(count(progress.asked));
    bar.set_message(format!("{} looks, {} refunds to go", progress.looks, progress.refunds));
}

/// The calls and the time at the present budget, said before the first call.
fn announcement(request: &Request, now: DateTime<Utc>, costs: &[Cost]) -> String {
    let (first, last) = request.span(now);
    let days = if first == last { first.to_string() } else { format!("{first} to {last}") };
    let more = if request.days == Days::YesterdayAndUnsettled { " and every row that is not terminal" } else { "" };
    let mut lines = vec![format!("Reconciling {days} (WIB){more}")];
    for cost in costs {
        lines.push(format!(
            "  {}: {} rows, {} to ask, about {} s at the present budget",
            cost.account, cost.selected, cost.calls, cost.eta_secs
        ));
    }
    if costs.is_empty() {
        lines.push("  no rows: `rekon import` brings them".to_owned());
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_threshold_is_a_number_or_a_share() {
        assert_eq!(Threshold::parse("5"), Ok(Threshold::Rows(5)));
        assert_eq!(Threshold::parse("1%"), Ok(Threshold::Percent(1)));
        assert!(Threshold::parse("101%").is_err());
        assert!(Threshold::parse("-1").is_err());
        assert!(!Threshold::Rows(5).is_passed(5, 10));
        assert!(Threshold::Percent(1).is_passed(2, 100));
        assert!(!Threshold::Percent(1).is_passed(1, 100));
    }
}
