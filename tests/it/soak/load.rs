//! The API under load beside a working sweep: so many requests a second, half of them new payments under idempotency keys, half of
//! them reads over several routes, each sent when its time has come and not when an earlier one was answered. What a request
//! took counts from the time at which it was due, so that a stall is seen by all who came during it.
//!
//! Small in `cargo test`; `make load` runs it at full size in a release build (`REKON_LOAD_RATE`, `REKON_LOAD_SECS`). Times are
//! printed and never judged; a wrong answer, a payment that was lost or doubled, fails the run.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use rekon::{
    domain::{
        person::{Actor, PersonKind, Role, Scope},
        token::TokenKind,
    },
    engine::people::{self, TokenWish},
    sim::CallBudget,
    store::Store,
};
use secrecy::ExposeSecret as _;
use serde_json::json;
use tokio::task::JoinSet;

use super::{Size, crew::Crew, merchant::Merchant, number, replicas::PENDING};
use crate::support::{connect_options, server::variable};

/// A read asks for a payment that was sent so long before.
const SEEN_AFTER: Duration = Duration::from_secs(2);
/// A request that is not answered by then is an error.
const PATIENCE: Duration = Duration::from_secs(20);
/// Errors that are told in full.
const TOLD: usize = 5;

/// What is asked for; reads take turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Operation {
    New,
    One,
    Newest,
    Paid,
    Refunds,
    Exceptions,
    Accounts,
}

impl Operation {
    const READS: [Self; 6] = [Self::One, Self::Newest, Self::Paid, Self::Refunds, Self::Exceptions, Self::Accounts];

    /// Every other request is a new payment.
    fn of(nth: usize) -> Self {
        if nth.is_multiple_of(2) { Self::New } else { Self::READS[nth / 2 % Self::READS.len()] }
    }

    const fn name(self) -> &'static str {
        match self {
            Self::New => "POST /transactions, new",
            Self::One => "GET  /transactions/ACCOUNT/REF",
            Self::Newest => "GET  /transactions, newest 50",
            Self::Paid => "GET  /transactions, paid",
            Self::Refunds => "GET  /refunds",
            Self::Exceptions => "GET  /exceptions",
            Self::Accounts => "GET  /accounts",
        }
    }
}

/// One that sends.
struct Client {
    http: reqwest::Client,
    base: String,
    token: String,
    accounts: usize,
    /// Requests in [`SEEN_AFTER`].
    behind: usize,
}

/// An answer's operation, what it took, and what was wrong with it.
type Answered = (Operation, Duration, Result<(), String>);

impl Client {
    fn account(&self, nth: usize) -> String {
        Crew::account(nth / 2 % self.accounts)
    }

    async fn send(self: Arc<Self>, nth: usize, due: Instant) -> Answered {
        let operation = Operation::of(nth);
        let request = match operation {
            Operation::New => {
                let body = json!({ "account": self.account(nth), "partner_reference_no": format!("L{nth}"),
                    "reference_no": format!("R-L{nth}"), "amount": "50000.00" });
                let request = self.http.post(format!("{}/transactions", self.base));
                let request = request.header("content-type", "application/json").body(body.to_string());
                request.header("idempotency-key", format!("load-{nth}"))
            }
            Operation::One => {
                // New ones are even.
                let earlier = nth.checked_sub(self.behind).map(|nth| nth / 2 * 2);
                let path = earlier.map_or("soak-0/FIRST0".to_owned(), |nth| format!("{}/L{nth}", self.account(nth)));
                self.http.get(format!("{}/transactions/{path}", self.base))
            }
            Operation::Newest => self.http.get(format!("{}/transactions?limit=50", self.base)),
            Operation::Paid => self.http.get(format!("{}/transactions?state=paid&limit=50", self.base)),
            Operation::Refunds => self.http.get(format!("{}/refunds", self.base)),
            Operation::Exceptions => self.http.get(format!("{}/exceptions", self.base)),
            Operation::Accounts => self.http.get(format!("{}/accounts", self.base)),
        };
        let wanted = if operation == Operation::New { 201 } else { 200 };
        let answered = request.bearer_auth(&self.token).send().await;
        let result = match answered {
            Ok(response) => {
                let status = response.status().as_u16();
                match response.text().await {
                    Ok(_) if status == wanted => Ok(()),
                    Ok(text) => Err(format!("{}: {status} {text}", operation.name())),
                    Err(error) => Err(format!("{}: {error:?}", operation.name())),
                }
            }
            Err(error) => Err(format!("{}: {error:?}", operation.name())),
        };
        (operation, due.elapsed(), result)
    }
}

/// Sends all of them, each at its time, whatever became of those before.
async fn send_all(client: Client, rate: u64, count: usize) -> Vec<Answered> {
    let client = Arc::new(client);
    let mut under_way = JoinSet::new();
    let begun = Instant::now();
    for nth in 0..count {
        let due = begun + Duration::from_micros(u64::try_from(nth).expect("few") * 1_000_000 / rate);
        tokio::time::sleep_until(due.into()).await;
        under_way.spawn(Arc::clone(&client).send(nth, due));
    }
    under_way.join_all().await
}

async fn token(crew: &mut Crew) -> String {
    crew.run("insert into rekon.people (name, roles, changed_by) values ('agus', '{admin}', 'agus'); insert into rekon.people (name, roles, changed_by) values ('wati', '{operator}', 'agus')").await;
    let store = Store::connect(&connect_options(&crew.env["DATABASE_URL"])).await.expect("the database answers");
    let wati = "wati".to_owned();
    let by = Actor {
        name: wati.clone(),
        kind: PersonKind::Person,
        roles: [Role::Operator].into(),
        scopes: Scope::ALL.into(),
        token_id: 0,
    };
    let wish =
        TokenWish { person: wati, kind: TokenKind::Personal, label: "load".to_owned(), scopes: Vec::new(), days: None };
    let fresh = people::create_token(&store, &by, wish).await.expect("a token");
    store.close().await;
    fresh.token.expose_secret().to_owned()
}

/// The n-th of a thousand.
fn permille(sorted: &[Duration], n: usize) -> Duration {
    sorted[(sorted.len() * n / 1000).min(sorted.len() - 1)]
}

fn table(answered: &[Answered]) -> String {
    let mut took: BTreeMap<Operation, Vec<Duration>> = BTreeMap::new();
    for (operation, duration, _) in answered {
        took.entry(*operation).or_default().push(*duration);
    }
    let heads = ["requests", "p50 ms", "p90 ms", "p99 ms", "p99.9 ms", "max ms"].map(|head| format!("{head:>10}"));
    let mut text = format!("{:<32}{}\n", "operation", heads.concat());
    for (operation, mut durations) in took {
        durations.sort_unstable();
        write!(text, "{:<32}{:>10}", operation.name(), durations.len()).expect("a text grows");
        for n in [500, 900, 990, 999, 1000] {
            let micros = permille(&durations, n).as_micros();
            write!(text, "{:>10}", format!("{}.{}", micros / 1000, micros % 1000 / 100)).expect("a text grows");
        }
        text.push('\n');
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_takes_its_load_beside_a_working_sweep_without_an_error_and_no_payment_is_lost_or_doubled() {
    let (rate, secs) = (number("REKON_LOAD_RATE", 40).max(1), number("REKON_LOAD_SECS", 3));
    let count = usize::try_from(rate * secs).expect("few");
    let size = Size {
        name: "load",
        payments: 0,
        seed: number("REKON_SOAK_SEED", 1),
        deadline: Duration::from_mins(5),
        accounts: 2,
        kills: 0,
        workers: 1,
        grants: CallBudget { per_second: 1_000, burst: 100 },
        latency_ms: 20,
        kill_every: None,
        is_small: variable("REKON_LOAD_SECS").is_none(),
    };
    let mut crew = Crew::begin(size).await;
    let token = token(&mut crew).await;
    let first = Merchant::open(size).first_of_each_account(&mut crew).await;
    // The provider knows every other one: the new payments.
    crew.is_to_be_told("L", (0..count).step_by(2), |nth| nth / 2);
    let http = reqwest::Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
    let base = format!("http://{}/api/v1", crew.address().await);
    let behind = usize::try_from(rate * SEEN_AFTER.as_secs()).expect("few");
    let client = Client { http, base, token, accounts: size.accounts, behind };

    let facts = "select count(*) from rekon.facts";
    let before: i64 = crew.value(facts).await;
    let begun = Instant::now();
    let answered = send_all(client, rate, count).await;
    let took = begun.elapsed();
    let checks = crew.value::<i64>(facts).await - before;
    let wrong: Vec<&String> = answered.iter().filter_map(|(.., result)| result.as_ref().err()).collect();
    println!(
        "{} requests in {:.1} s, {} errors; meanwhile the sweep settled {checks} answers",
        count,
        took.as_secs_f64(),
        wrong.len()
    );
    println!("{}", table(&answered));
    for error in wrong.iter().take(TOLD) {
        println!("{error}");
    }
    assert_eq!(wrong.len(), 0, "wrong answers");

    while crew.value::<i64>(PENDING).await > 0 {
        assert!(begun.elapsed() < size.deadline, "payments stay pending");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let rows: i64 = crew.value("select count(*) from rekon.transactions where state = 'paid'").await;
    assert_eq!(rows, i64::try_from(count.div_ceil(2) + first.len()).expect("few"), "payments that are found paid");
    crew.end_in_order().await;
}
