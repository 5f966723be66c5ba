//! People join the race: under `mode = "propose"` they approve, deny, mark a dispute, end it, propose and take a refund out of
//! the API's hands, while two workers reserve and send, the provider notifies, a cashier asks and the merchant cancels.
//!
//! Who wins is a matter of luck; what must hold is not. What was written first is read from each row's own journal: its
//! entries are numbered under the row's lock, and no clock is asked.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use rekon::{
    domain::{
        person::{Actor, PersonKind, Role, Scope},
        resolution::{About, ResolutionKind},
    },
    engine::{
        Ctx, EngineError,
        approvals::{self, Wish},
        check,
        control::{self, Decided},
        replay,
        sentinel::{self, SentinelSettings},
        transfer::{self, Deed},
        verify,
    },
    sim::{Answer, RefundBehaviour, Rng, SimPayment},
    store::{StoreError, limits::CallClass},
};

use super::{NOTIFIED, overpaid};
use crate::{
    engine::{SAFE, payment},
    notify::door::{Doorway, Knock},
    support::shop::{ACCOUNT, SHORT_TIMES, Shop},
};

const SEEDS: [u64; 3] = [20_261_120, 20_261_121, 20_261_122];
const ROWS: usize = 24;
const ROUNDS: usize = 6;
/// "Not now" is heard for so long.
const PUT_OFF: &str = "[accounts.doku-main.profile.refund.codes]\n\"403xx14\" = { wait = \"1s\" }\n";

/// What a person tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Doing {
    Approve,
    Deny,
    Dispute,
    Undispute,
    Propose,
    ByHand,
    Transferred,
}

/// Who does what after how many milliseconds.
type Turn = (&'static str, Doing, u64);

fn actor(name: &str) -> Actor {
    let (roles, scopes) = match name {
        "wati" => (vec![Role::Operator], vec![Scope::ExceptionsWrite]),
        "budi" => (
            vec![Role::Maker, Role::Checker],
            vec![Scope::RefundsPropose, Scope::RefundsApprove, Scope::ExceptionsWrite],
        ),
        _ => (vec![Role::Checker], vec![Scope::RefundsApprove, Scope::ExceptionsWrite]),
    };
    Actor {
        name: name.to_owned(),
        kind: PersonKind::Person,
        roles: roles.into_iter().collect(),
        scopes: scopes.into_iter().collect(),
        token_id: 0,
    }
}

/// What came of it: `None` where it was refused, the refund's id and number of calls where it was about one.
async fn act(ctx: &Ctx, reference: &str, (who, doing, _): Turn) -> Result<Option<(i64, i32)>, EngineError> {
    let (store, book, by) = (&ctx.store, &ctx.rulebook, actor(who));
    let about = |row: rekon::store::reads::RefundRow| Some((row.refund_id, row.attempts));
    let resolved = async |kind| {
        let decided = Decided { kind, about: About::default(), reason: "the payer called his bank".to_owned() };
        control::resolve(store, book, &by, reference, &decided).await.map(|_| None)
    };
    match doing {
        Doing::Approve => approvals::approve(store, book, &by, reference, None).await.map(about),
        Doing::Deny => approvals::deny(store, book, &by, reference, "it was a deposit").await.map(about),
        Doing::Dispute => resolved(ResolutionKind::Dispute).await,
        Doing::Undispute => resolved(ResolutionKind::Undispute).await,
        Doing::Propose => {
            let wish = Wish { cause: None, amount: None, reason: "goods came back".to_owned() };
            approvals::propose(store, book, &by, reference, &wish).await.map(about)
        }
        Doing::ByHand | Doing::Transferred => {
            let sql = "select id::text from rekon.refund_saga r where transaction_id = (select id from rekon.transactions where partner_reference_no = $1)
                order by r.id desc limit 1";
            let last: Option<String> =
                sqlx::query_scalar(sql).bind(reference).fetch_optional(store.pool()).await.expect("a refund");
            let Some(last) = last else { return Ok(None) };
            let bank = format!("FT-{last}");
            let deed = if doing == Doing::ByHand { Deed::ByHand("the API is slow") } else { Deed::Transferred(&bank) };
            transfer::record(store, book, &by, &last, deed).await.map(about)
        }
    }
}

/// Somebody was quicker, or it is not his to do: no more than that may go wrong.
fn is_a_refusal(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::Refused(_)
            | EngineError::Forbidden(_)
            | EngineError::Transfer(_)
            | EngineError::Store(StoreError::Refused { .. })
    )
}

/// Three people for one row: somebody approves, and two others do something else meanwhile.
fn turns(rng: &mut Rng) -> [Turn; 3] {
    use Doing::{Approve, ByHand, Deny, Dispute, Propose, Transferred, Undispute};
    let at = |rng: &mut Rng, who, doing| (who, doing, rng.between(0, 120).unsigned_abs());
    let approves = *rng.pick(&["sari", "joko", "budi"]).expect("one of them");
    let against = [
        ("sari", Deny),
        ("joko", Deny),
        ("wati", Dispute),
        ("wati", Dispute),
        ("sari", Dispute),
        ("budi", ByHand),
        ("joko", Approve),
        ("budi", Undispute),
    ];
    let (who, against) = *rng.pick(&against).expect("one of them");
    let (third, more) = *rng
        .pick(&[
            ("joko", Undispute),
            ("sari", Undispute),
            ("budi", Propose),
            ("joko", Transferred),
            ("budi", Undispute),
        ])
        .expect("one of them");
    [at(rng, approves, Approve), at(rng, who, against), at(rng, third, more)]
}

/// What happened: how often each was done and refused, and the denied refunds with their calls until then.
#[derive(Default)]
struct Heard {
    done: BTreeMap<Doing, (u32, u32)>,
    denied: Vec<(i64, i32)>,
}

impl Heard {
    fn note(&mut self, (who, doing, _): Turn, result: Result<Option<(i64, i32)>, EngineError>) {
        let (done, refused) = self.done.entry(doing).or_default();
        match result {
            Ok(about) => {
                *done += 1;
                self.denied.extend(about.filter(|_| doing == Doing::Deny));
            }
            Err(error) if is_a_refusal(&error) => *refused += 1,
            Err(error) => panic!("{who} {doing:?}: {error:?}"),
        }
    }
}

fn paid(n: usize) -> (SimPayment, &'static [(&'static str, &'static str)]) {
    let reference = format!("R{n:02}");
    match n % 3 {
        0 => (overpaid(&reference), &[]),
        1 => (payment(&reference, 150_000), &[("order_status", "'cancelled'")]),
        // The provider puts its refund off once: it stands `reserved`, with a call behind it.
        _ => {
            let later = RefundBehaviour::Refuse { response_code: "4037814".to_owned() };
            let more = payment(&reference, 150_000).answering([Answer::paid_amount(17_000_000)]);
            (more.refunding([later, RefundBehaviour::Ok]), &[])
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn people_who_approve_deny_and_dispute_race_the_workers_and_what_was_written_first_holds() {
    let mut all: BTreeMap<Doing, (u32, u32)> = BTreeMap::new();
    for seed in SEEDS {
        let (shop, heard) = race(seed).await;
        holds(&shop, &heard, seed).await;
        for (doing, (done, refused)) in heard.done {
            let sum = all.entry(doing).or_default();
            *sum = (sum.0 + done, sum.1 + refused);
        }
    }
    println!("done, refused: {all:?}");
    for doing in [Doing::Approve, Doing::Deny, Doing::Dispute, Doing::Undispute, Doing::Propose, Doing::ByHand] {
        let (done, refused) = all.get(&doing).copied().unwrap_or_default();
        assert!(done > 0 && refused > 0, "{doing:?} was done {done} times and refused {refused} times: no race");
    }
}

async fn race(seed: u64) -> (Shop, Heard) {
    let sections = SHORT_TIMES.replace("mode = \"auto\"", "mode = \"propose\"");
    let shop = Shop::open(&format!("{SAFE}{PUT_OFF}{NOTIFIED}"), &sections).await;
    shop.db.people().await;
    let first = payment("FIRST", 150_000).answering([Answer::paid_amount(17_000_000)]);
    shop.expect(first, &[]).await;
    let workers = (shop.work().await, shop.work().await);
    shop.until("select state from rekon.refund_saga", "proposed").await;
    act(&workers.0.ctx, "FIRST", ("sari", Doing::Approve, 0)).await.expect("nobody is in the way");
    shop.until("select partial_proven from rekon.account_controls", "true").await;

    let door = Doorway::open(&shop).await;
    let (mut rng, mut heard, mut ids) = (Rng::new(seed), Heard::default(), Vec::new());
    for n in 0..ROWS {
        let (payment, columns) = paid(n);
        ids.push(shop.expect(payment, columns).await);
    }
    shop.until("select count(*) from rekon.refund_saga where state = 'proposed'", &ROWS.to_string()).await;
    for round in 0..ROUNDS {
        let races = ids.iter().enumerate().map(|(n, id)| {
            let (turns, who, reference) = (turns(&mut rng), rng.between(0, 7), format!("R{n:02}"));
            let ctx = if who % 2 == 0 { &workers.0.ctx } else { &workers.1.ctx };
            on_one_row(&shop, &door, Arc::clone(ctx), (reference, *id), (round, who), turns)
        });
        for (turn, result) in futures::future::join_all(races).await.into_iter().flatten() {
            heard.note(turn, result);
        }
    }
    come_to_rest(&shop, &workers.0.ctx).await;
    workers.0.stop().await;
    workers.1.stop().await;
    (shop, heard)
}

async fn on_one_row(
    shop: &Shop,
    door: &Doorway,
    ctx: Arc<Ctx>,
    (reference, id): (String, i64),
    (round, who): (usize, i64),
    turns: [Turn; 3],
) -> Vec<(Turn, Result<Option<(i64, i32)>, EngineError>)> {
    let people = futures::future::join_all(turns.map(|turn| {
        let (ctx, reference) = (Arc::clone(&ctx), reference.clone());
        async move {
            tokio::time::sleep(Duration::from_millis(turn.2)).await;
            (turn, act(&ctx, &reference, turn).await)
        }
    }));
    let knock = Knock::paid(&reference, &format!("{}.00", 150_000 + round)).signed();
    let account = ctx.account(ACCOUNT).expect("it is configured");
    let cashier = async {
        if who < 4 {
            drop(check::one(&ctx, account, id, CallClass::Cashier, Duration::from_secs(5)).await);
        }
    };
    let merchant = async {
        if who == 7 && round == 3 {
            let turned = format!(
                "update rekon.transactions set order_status = 'cancelled' where id = {id} and order_status = 'open'"
            );
            shop.db.run(&turned).await;
        }
    };
    futures::join!(people, door.knock(&knock), cashier, merchant).0
}

/// Until nothing is on its way: transfers that were handed over are made by whoever may.
async fn come_to_rest(shop: &Shop, ctx: &Ctx) {
    let moving = "select (select count(*) from rekon.transactions where state = 'pending')
        + (select count(*) from rekon.refund_saga where state in ('approved', 'reserved', 'sending', 'unknown'))";
    for _ in 0..300 {
        if shop.db.text(moving).await == "0" {
            return;
        }
        let handed = "select coalesce(string_agg(id::text, ' '), '') from rekon.refund_saga where state = 'sending' and channel = 'manual'";
        for id in shop.db.text(handed).await.split_whitespace() {
            for who in ["joko", "sari", "budi"] {
                let bank = format!("FT-{id}");
                drop(transfer::record(&ctx.store, &ctx.rulebook, &actor(who), id, Deed::Transferred(&bank)).await);
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    shop.until(moving, "0").await;
}

/// Journal entries at which a refund left for the first time or was handed over, and the last word about a dispute before them.
const LEFT_IN_A_DISPUTE: &str = "select string_agg(format('%s/%s', e.transaction_id, e.entry_no), ' ')
  from rekon.journal e
 where e.kind = 'refund sending'
   and exists (select from jsonb_array_elements(e.content::jsonb -> 'refunds') r where r ->> 'state' = 'sending' and not (r ->> 'unanswered')::boolean)
   and (select d.kind = 'resolution dispute' from rekon.journal d
         where d.transaction_id = e.transaction_id and d.entry_no < e.entry_no and d.kind in ('resolution dispute', 'resolution undispute')
         order by d.entry_no desc limit 1)";

/// Numbers that stood under a no in one entry, and on their way in a later one.
const LEFT_AFTER_A_NO: &str = "select string_agg(distinct n.number, ' ')
  from (select j.transaction_id, j.entry_no, r ->> 'partner_refund_no' as number
          from rekon.journal j, jsonb_array_elements(j.content::jsonb -> 'refunds') r where r ->> 'state' = 'denied') n
  join (select j.transaction_id, j.entry_no, r ->> 'partner_refund_no' as number
          from rekon.journal j, jsonb_array_elements(j.content::jsonb -> 'refunds') r where r ->> 'state' = 'sending') s
    on s.transaction_id = n.transaction_id and s.number = n.number and s.entry_no > n.entry_no";

async fn holds(shop: &Shop, heard: &Heard, seed: u64) {
    let book = shop.sim.world().book();
    assert_eq!(book.refunded_more_than_once(), Vec::<&rekon::sim::BookEntry>::new(), "SEED={seed}");
    assert!(book.entries.iter().all(|entry| !entry.is_returned_beyond_taken()), "SEED={seed}");
    let twice = "select count(*) from (select 1 from rekon.refund_saga where state = 'confirmed' group by transaction_id, cause having count(*) > 1) x";
    assert_eq!(shop.db.text(twice).await, "0", "SEED={seed}: returned twice for one cause");

    let by_api = "select (coalesce(sum(amount), 0) * 100)::bigint from rekon.refund_saga where state = 'confirmed' and channel = 'api'";
    assert_eq!(shop.db.value::<i64>(by_api).await, book.returned_sen, "SEED={seed}: our book is not the provider's");
    let sums = "select string_agg(t.partner_reference_no, ' ') from rekon.transactions t where t.refund_reserved <> 0 or t.refunded_amount <>
        (select coalesce(sum(r.amount), 0) from rekon.refund_saga r where r.transaction_id = t.id and r.state = 'confirmed')";
    assert_eq!(shop.db.text(sums).await, "-", "SEED={seed}: a row's sums are not its refunds'");

    assert_eq!(shop.db.text(LEFT_IN_A_DISPUTE).await, "-", "SEED={seed}: a refund left in a dispute");
    assert_eq!(shop.db.text(LEFT_AFTER_A_NO).await, "-", "SEED={seed}: a refund left after it was denied");
    for (id, calls) in &heard.denied {
        let since =
            shop.db.text(&format!("select state || ' ' || attempts from rekon.refund_saga where id = {id}")).await;
        assert_eq!(since, format!("denied {calls}"), "SEED={seed}: refund {id} was called for after it was denied");
        let number = shop.db.text(&format!("select partner_refund_no from rekon.refund_saga where id = {id}")).await;
        let returned = book.entries.iter().flat_map(|entry| &entry.returned);
        assert!(
            returned.into_iter().all(|back| back.partner_refund_no != number),
            "SEED={seed}: denied {number} went back"
        );
    }

    let alone = "select count(*) from rekon.refund_saga where approved_by = proposed_by or approved_by = 'policy' or transferred_by = approved_by
        or state in ('confirmed', 'refused') and approved_by is null";
    assert_eq!(shop.db.text(alone).await, "0", "SEED={seed}: one person alone moved money");
    let ended_alone = "select count(*) from rekon.resolutions r where r.kind = 'undispute' and r.seq is not null
        and (r.confirms is null or r.made_by = (select a.made_by from rekon.resolutions a where a.id = r.confirms))";
    assert_eq!(shop.db.text(ended_alone).await, "0", "SEED={seed}: one person alone ended a dispute");

    let always = SentinelSettings { every: Duration::ZERO, slice: 1_000 };
    let pass = sentinel::pass(&shop.db.store, always, &[]).await.expect("the database answers").expect("it is due");
    assert_eq!(pass.found, [], "SEED={seed}");
    let proof = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
    assert_eq!(proof.breaks, [], "SEED={seed}");
    let days = "select string_agg(distinct ((at at time zone 'Asia/Jakarta')::date)::text, ' ') from rekon.journal";
    for day in shop.db.text(days).await.split_whitespace() {
        let again = replay::replay(&shop.db.store, day.parse().expect("a day"), None, |_| {}).await;
        assert_eq!(again.expect("the database answers").differences, [], "SEED={seed}");
    }
}
