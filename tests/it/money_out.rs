//! Money out in all its ways, on real Postgres against the simulator over HTTP: put off, out of hours, by hand, towards another
//! order, and the end of a cancelled order's QR.

use rekon::{
    domain::person::{Actor, PersonKind, Role, Scope},
    engine::{
        EngineError,
        explain::{self, Lang},
        sentinel::{self, SentinelSettings},
        transfer::{self, Deed},
    },
    sim::{Answer, Fault, RefundBehaviour, Service, SimPayment},
};

use crate::{
    engine::{SAFE, payment},
    support::shop::{SHORT_TIMES, Shop, Working},
};

const SAGA: &str = "select state || ' ' || channel from rekon.refund_saga order by id desc limit 1";
const BOTH: &str = "select string_agg(state || ' ' || channel, ', ' order by id) from rekon.refund_saga";

/// A shop whose account's profile has these lines more.
async fn shop(profile: &str, sections: &str) -> Shop {
    Shop::open(&format!("{SAFE}{profile}\n"), &format!("{SHORT_TIMES}{sections}")).await
}

/// Rp 20,000 more than expected, and what the provider makes of its refund.
fn overpaid(refunds: Vec<RefundBehaviour>) -> SimPayment {
    let mut more = payment("INV-1", 150_000).refunding(refunds);
    more.script = vec![Answer::paid_amount(17_000_000)];
    more.taken_sen = Some(17_000_000);
    more
}

fn refuse(code: &str) -> RefundBehaviour {
    RefundBehaviour::Refuse { response_code: code.to_owned() }
}

async fn record(work: &Working, by: &str, which: &str, deed: Deed<'_>) -> Result<String, EngineError> {
    let by = Actor {
        name: by.to_owned(),
        kind: PersonKind::Person,
        roles: [Role::Checker].into(),
        scopes: [Scope::RefundsApprove].into(),
        token_id: 0,
    };
    let row = transfer::record(&work.ctx.store, &work.ctx.rulebook, &by, which, deed).await?;
    Ok(format!("{} {}", row.state.as_str(), row.channel.as_str()))
}

/// What the approving command does, as long as the proposal is what it was.
async fn approve(shop: &Shop) {
    if shop.db.value::<i64>("select count(*) from rekon.people").await == 0 {
        shop.db.people().await;
    }
    shop.db
        .run("update rekon.refund_saga set state = 'approved', approved_by = 'sari', approved_at = now(), next_at = now() where state = 'proposed'")
        .await;
}

/// No rule of money is broken, by the sentinel's word.
async fn proves_itself(shop: &Shop) {
    let always = SentinelSettings { every: std::time::Duration::ZERO, slice: 1_000 };
    let pass = sentinel::pass(&shop.db.store, always, &[]).await.expect("the database answers").expect("it is due");
    assert_eq!(pass.found, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn not_now_is_heard_and_the_same_number_goes_later() {
    let shop = shop("[accounts.doku-main.profile.refund.codes]\n\"403xx14\" = { wait = \"1s\" }", "").await;
    let id = shop.expect(overpaid(vec![refuse("4037814"), refuse("4037814"), RefundBehaviour::Ok]), &[]).await;
    let work = shop.work().await;
    shop.until(SAGA, "confirmed api").await;
    shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    work.stop().await;
    let attempts = "select string_agg(outcome || coalesce(' ' || response_code, ''), ', ' order by attempt) from rekon.refund_attempts";
    assert_eq!(shop.db.text(attempts).await, "later 4037814, later 4037814, success 2007800");
    assert_eq!(shop.db.text("select count(distinct partner_refund_no) from rekon.refund_saga").await, "1");
    assert_eq!(shop.sim.world().book().returned_sen, 2_000_000, "once");
    let told =
        "select count(*) > 0 from rekon.journal where content like '%refund_blocked%' and content like '%not now%'";
    assert_eq!(shop.db.text(told).await, "true", "the row said that it waits, and why");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_not_now_for_too_long_calls_a_person_who_sends_again_or_transfers() {
    let profile = "[accounts.doku-main.profile.refund]\nlater_for = \"1s\"\n[accounts.doku-main.profile.refund.codes]\n\"405xx01\" = { wait = \"1s\" }";
    let shop = shop(profile, "").await;
    let id = shop.expect(overpaid(vec![refuse("4057801")]), &[]).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "review{overpaid,refund_blocked}").await;
    assert_eq!(shop.db.text(SAGA).await, "reserved api");
    let calls = shop.db.value::<i64>("select count(*) from rekon.refund_attempts").await;
    assert_eq!(record(&work, "budi", "1", Deed::Again).await.expect("a person may"), "reserved api");
    shop.until(&format!("select count(*) > {calls} from rekon.refund_attempts"), "true").await;
    shop.until(&Shop::end_of(id), "review{overpaid,refund_blocked}").await;
    assert_eq!(record(&work, "budi", "1", Deed::ByHand("no balance")).await.expect("a person may"), "refused api");
    shop.until(BOTH, "refused api, proposed manual").await;
    shop.until(&Shop::end_of(id), "paid{overpaid,refund_blocked}").await;
    work.stop().await;
    assert_eq!(shop.sim.world().book().returned_sen, 0);
    let spent = "select reserved::text from rekon.refund_budgets";
    assert_eq!(shop.db.text(spent).await, "0.00", "a refused refund gives its budget back");
}

#[tokio::test(flavor = "multi_thread")]
async fn in_the_providers_night_a_refund_waits_and_says_until_when() {
    let mut shop = shop("", "").await;
    let hour =
        |ago: i32| format!("select to_char(now() at time zone 'Asia/Jakarta' - {ago} * interval '1 hour', 'HH24:MI')");
    let (from, to) = (shop.db.text(&hour(2)).await, shop.db.text(&hour(-2)).await);
    let night = format!("[accounts.doku-main.profile.refund]\nblackout = [\"{from}-{to}\"]\n");
    shop.config_text.push_str(&night);
    let id = shop.expect(overpaid(Vec::new()), &[]).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "paid{overpaid,refund_blocked}").await;
    work.stop().await;
    assert_eq!(shop.db.text(SAGA).await, "approved api");
    assert_eq!(shop.db.text("select next_at > now() + interval '1 hour' from rekon.refund_saga").await, "true");
    assert_eq!(
        shop.db.text("select reason like '%no refund of this payment before%' from rekon.refunds").await,
        "true"
    );
    assert_eq!(shop.db.text("select count(*) from rekon.refund_attempts").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_young_a_payment_is_waited_for_and_its_refund_goes_as_soon_as_it_may() {
    for (age, ends) in [("1h", "approved api"), ("6s", "confirmed api")] {
        let shop = shop(&format!("[accounts.doku-main.profile.refund]\nmin_age = \"{age}\""), "").await;
        let id = shop.expect(overpaid(Vec::new()), &[]).await;
        let work = shop.work().await;
        let told = "select count(*) > 0 from rekon.journal where content like '%no refund of this payment before%'";
        shop.until(told, "true").await;
        shop.until(SAGA, ends).await;
        let is_blocked = ends == "approved api";
        shop.until(&Shop::end_of(id), if is_blocked { "paid{overpaid,refund_blocked}" } else { "paid{overpaid}" })
            .await;
        work.stop().await;
        if is_blocked {
            let waits = "select next_at between now() + interval '50 minutes' and now() + interval '1 hour' from rekon.refund_saga";
            assert_eq!(shop.db.text(waits).await, "true");
            assert_eq!(shop.db.text("select count(*) from rekon.refund_attempts").await, "0");
        } else {
            let early = "select min(a.sent_at) < min(f.paid_time) + interval '6 seconds' from rekon.refund_attempts a, rekon.facts f where f.observation = 'PAID'";
            assert_eq!(shop.db.text(early).await, "false", "it left too early");
            assert_eq!(shop.db.text("select count(*) from rekon.refund_attempts").await, "1");
        }
        assert_eq!(shop.sim.world().book().returned_sen, if is_blocked { 0 } else { 2_000_000 });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_late_too_small_or_refused_for_good_a_transfer_is_proposed() {
    for (profile, refunds, told) in [
        ("[accounts.doku-main.profile.refund]\nmax_age = \"1s\"", Vec::new(), "proposed manual"),
        ("[accounts.doku-main.profile.refund]\nmin_amount = \"20000.01\"", Vec::new(), "proposed manual"),
        ("refund_partial = false", Vec::new(), "proposed manual"),
        ("", vec![refuse("4037815")], "refused api, proposed manual"),
        ("", vec![refuse("4037803")], "refused api"),
    ] {
        let shop = shop(profile, "").await;
        // paidTime of the simulator is the time of its registration.
        let id = shop.expect(overpaid(refunds), &[]).await;
        let work = shop.work().await;
        shop.until(BOTH, told).await;
        shop.until(&Shop::end_of(id), "paid{overpaid,refund_blocked}").await;
        work.stop().await;
        assert_eq!(shop.sim.world().book().returned_sen, 0, "{profile}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_return_by_bank_what_no_api_returns_and_the_books_follow() {
    let shop = shop("refund_by_api = false", "").await;
    let id = shop.expect(payment("INV-1", 150_000), &[("order_status", "'cancelled'")]).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "held{paid_after_cancel,refund_blocked}").await;
    assert_eq!(shop.db.text(SAGA).await, "proposed manual");
    let early = record(&work, "joko", "1", Deed::Transferred("FT1")).await;
    assert!(matches!(early, Err(EngineError::Transfer(_))), "{early:?}");
    approve(&shop).await;
    shop.until(SAGA, "sending manual").await;
    shop.until(&Shop::end_of(id), "refunding{paid_after_cancel,refund_blocked}").await;
    let facts = "select count(*) >= 2 from rekon.facts where observation = 'PAID'";
    assert_eq!(shop.db.text(facts).await, "true", "two observations, as for every refund");
    proves_itself(&shop).await;
    let own = record(&work, "sari", "1", Deed::Transferred("FT1")).await;
    assert!(own.is_err_and(|e| e.to_string().contains("another person")));
    assert_eq!(
        record(&work, "joko", "1", Deed::NotTransferred("account closed")).await.expect("so it is"),
        "refused manual"
    );
    shop.until(BOTH, "refused manual, proposed manual").await;
    shop.until(&Shop::end_of(id), "held{paid_after_cancel,refund_blocked}").await;
    approve(&shop).await;
    shop.until(BOTH, "refused manual, sending manual").await;
    assert_eq!(
        record(&work, "joko", "2", Deed::Transferred("FT26324XYZ")).await.expect("so it is"),
        "confirmed manual"
    );
    shop.until(&Shop::end_of(id), "refunded{paid_after_cancel}").await;
    work.stop().await;
    proves_itself(&shop).await;
    let told = "select string_agg(concat_ws(' ', state, proof, bank_reference, transferred_by), ', ' order by refund_id) from rekon.refunds";
    assert_eq!(shop.db.text(told).await, "refused, confirmed person FT26324XYZ joko");
    let numbers = "select count(distinct partner_refund_no) from rekon.refund_saga";
    assert_eq!(shop.db.text(numbers).await, "2", "another transfer, another number");
    let books = "select string_agg(account || ' ' || sum, '; ' order by account) from
        (select account, sum(debit - credit) from rekon.postings group by account having sum(debit - credit) <> 0) as b";
    assert_eq!(shop.db.text(books).await, "bank -150000.00; provider_clearing 150000.00");
    assert_eq!(shop.db.text("select sum(reserved) from rekon.refund_budgets").await, "150000.00");
    let hashed = "select count(*) from rekon.journal where content like '%FT26324XYZ%'";
    assert_ne!(shop.db.text(hashed).await, "0", "who and where stand in the chain");
    assert_eq!(shop.sim.world().book().returned_sen, 0);
}

const SEARCH: &str = "[refunds.counter_evidence]\nsame_amount = true\nwithin = \"5m\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn money_that_another_order_waits_for_leaves_only_after_a_person_has_seen_that() {
    let shop = shop("", SEARCH).await;
    let waits = SimPayment { script: vec![Answer::status("01")], ..payment("INV-2", 20_000) };
    shop.expect(waits, &[]).await;
    let id = shop.expect(overpaid(Vec::new()), &[]).await;
    let work = shop.work().await;
    let named = "select state || ' ' || candidate_reference_no || ' ' || candidate_why from rekon.refunds";
    shop.until(named, "proposed INV-2 open_order").await;
    shop.until(&Shop::end_of(id), "paid{overpaid,refund_blocked}").await;
    assert_eq!(shop.sim.world().book().returned_sen, 0);
    assert_eq!(shop.db.text("select reason like 'INV-2 waits for the same amount%' from rekon.refunds").await, "true");
    for (lang, said) in [(Lang::En, "fulfil INV-2 with that money"), (Lang::Id, "penuhi INV-2 dengan uang itu")] {
        let told = explain::explain(&shop.db.store, &work.ctx.rulebook, "doku-main/INV-1", lang)
            .await
            .expect("the row is there")
            .what_next;
        assert!(told.iter().any(|next| next.contains(said) && next.contains("accept_as_paid")), "{told:?}");
    }
    approve(&shop).await;
    shop.until(SAGA, "confirmed api").await;
    shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    work.stop().await;
    assert_eq!(shop.sim.world().book().returned_sen, 2_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_that_another_order_carries_goes_nowhere_and_amounts_alone_are_no_evidence_unless_asked() {
    let shop = shop("payment_id = \"reference_no\"", "").await;
    // Equal prices are the rule: not searched for as shipped.
    let waits = SimPayment { script: vec![Answer::status("01")], ..payment("INV-2", 20_000) };
    let other = shop.expect(waits, &[]).await;
    let free = shop.expect(payment("INV-3", 70_000), &[("order_status", "'cancelled'")]).await;
    shop.db
        .run(&format!(
            "insert into rekon.facts (transaction_id, seq, source, call_id, observation, echo, amount, currency, payment_id, unique_payment_id, sent_at, answered_at, profile_hash)
             values ({other}, 900, 'query', 'by-file', 'PAID', 'right', 170000, 'IDR', 'R-INV-1', 'R-INV-1', now(), now(), '-');
             update rekon.transactions set next_check_at = null where id = {other}"
        ))
        .await;
    shop.expect(overpaid(Vec::new()), &[]).await;
    let work = shop.work().await;
    let named = "select state || ' ' || candidate_reference_no || ' ' || candidate_why from rekon.refunds where cause = 'overpaid'";
    shop.until(named, "proposed INV-2 same_payment").await;
    shop.until(&Shop::end_of(free), "refunded{paid_after_cancel}").await;
    work.stop().await;
    assert_eq!(shop.sim.world().book().returned_sen, 7_000_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_order_with_this_code_and_amount_within_minutes_is_seen_before_money_leaves_where_that_is_wanted() {
    // The amount, the code and how long ago the other order was paid with them; what becomes of the excess.
    for (other, ends) in [
        ((17_000_000, "004217", "1 minute"), "proposed INV-2 same_payment"),
        ((17_000_001, "004217", "1 minute"), "confirmed"),
        ((17_000_000, "004218", "1 minute"), "confirmed"),
        ((17_000_000, "004217", "16 minutes"), "confirmed"),
    ] {
        let (sen, code, ago) = other;
        let shop = shop("", "[refunds.counter_evidence]\nsame_id_and_amount = true\n").await;
        let second = shop.expect(payment("INV-2", 170_000), &[]).await;
        shop.db
            .run(&format!(
                "insert into rekon.facts (transaction_id, seq, source, call_id, observation, echo, amount, currency, payment_id, sent_at, answered_at, profile_hash)
                 values ({second}, 900, 'query', 'by-file', 'PAID', 'right', {sen} / 100.0, 'IDR', '{code}', now(), now(), '-');
                 update rekon.transactions set state = 'held', paid_amount = {sen} / 100.0, paid_at = now() - interval '{ago}', next_check_at = null
                  where id = {second}"
            ))
            .await;
        let id = shop.expect(SimPayment { approval_code: "004217".into(), ..overpaid(Vec::new()) }, &[]).await;
        let work = shop.work().await;
        let named = "select concat_ws(' ', state, candidate_reference_no, candidate_why) from rekon.refunds";
        shop.until(named, ends).await;
        let is_seen = ends != "confirmed";
        shop.until(&Shop::end_of(id), if is_seen { "paid{overpaid,refund_blocked}" } else { "paid{overpaid}" }).await;
        assert_eq!(shop.sim.world().book().returned_sen, if is_seen { 0 } else { 2_000_000 }, "{other:?}");
        if is_seen {
            approve(&shop).await;
            shop.until(SAGA, "confirmed api").await;
        }
        work.stop().await;
        assert_eq!(shop.sim.world().book().returned_sen, 2_000_000, "{other:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_shipped_one_code_on_all_payments_of_a_price_stops_no_refund() {
    let shop = shop("", "").await;
    let alike = |name: &str| SimPayment {
        approval_code: "004217".into(),
        ..SimPayment::exact(name, 15_000_000).answering([Answer::paid_amount(17_000_000)])
    };
    for name in ["INV-1", "INV-2"] {
        shop.expect(SimPayment { reference_no: format!("R-{name}"), ..alike(name) }, &[]).await;
    }
    let work = shop.work().await;
    shop.until("select count(*) from rekon.refund_saga where state = 'confirmed'", "2").await;
    work.stop().await;
}

const ENDS_QRS: &str = "cancel_qr = true";
const QR: &str = "select state from rekon.qr_cancels";

#[tokio::test(flavor = "multi_thread")]
async fn the_qr_of_a_cancelled_order_is_ended_asked_about_and_decides_nothing() {
    let shop = shop(ENDS_QRS, "").await;
    let open = SimPayment { script: vec![Answer::status("01")], ..payment("INV-1", 1_000) };
    let id = shop.expect(open, &[]).await;
    let work = shop.work().await;
    shop.until("select count(*) from rekon.facts where observation = 'OPEN'", "1").await;
    assert_eq!(shop.db.text("select count(*) from rekon.qr_cancels").await, "0", "nobody cancelled");
    shop.db.run(&format!("update rekon.transactions set order_status = 'cancelled' where id = {id}")).await;
    shop.until(QR, "done").await;
    shop.until("select count(*) > 0 from rekon.facts where observation = 'CANCELLED'", "true").await;
    let record = "select attempts || ' ' || response_code from rekon.qr_cancels";
    assert_eq!(shop.db.text(record).await, "1 2007700");
    assert_eq!(shop.db.text(&Shop::end_of(id)).await, "pending{}", "a dead QR closes nothing");
    // The customer was quicker after all: the queries say so, and the row goes the usual way.
    shop.sim.world().set_script("", "INV-1", vec![Answer::paid()]).expect("the customer pays");
    shop.db.run(&format!("update rekon.transactions set next_check_at = now() where id = {id}")).await;
    shop.until(&Shop::end_of(id), "refunded{paid_after_cancel}").await;
    work.stop().await;
    assert_eq!(shop.db.text("select count(*) from rekon.qr_cancels").await, "1", "asked once");
    assert_eq!(shop.sim.world().book().returned_sen, 100_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_whose_answer_died_with_its_worker_is_repeated_without_harm() {
    let shop = shop(ENDS_QRS, "").await;
    // The provider ended it; the process that had asked is dead.
    let ended = SimPayment { script: vec![Answer::status("05")], ..payment("INV-1", 1_000) };
    let id = shop.expect(ended, &[("order_status", "'cancelled'")]).await;
    shop.db
        .run(&format!(
            "insert into rekon.qr_cancels (transaction_id, state, attempts, asked_at, lease_owner, lease_until, lease_epoch)
             values ({id}, 'asking', 1, now(), 'dead', now() - interval '1 second', 1)"
        ))
        .await;
    let work = shop.work().await;
    shop.until("select state in ('done', 'refused') from rekon.qr_cancels", "true").await;
    shop.until("select count(*) > 0 from rekon.facts where observation = 'CANCELLED'", "true").await;
    work.stop().await;
    assert_eq!(shop.db.text(&Shop::end_of(id)).await, "pending{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_ends_the_qr_of_what_is_paid() {
    let shop = shop(ENDS_QRS, "").await;
    let id = shop.expect(payment("INV-1", 1_000), &[]).await;
    let work = shop.work().await;
    shop.until(&Shop::end_of(id), "paid{}").await;
    shop.db.run(&format!("update rekon.transactions set order_status = 'cancelled' where id = {id}")).await;
    shop.until(&Shop::end_of(id), "held{cancelled_after_paid}").await;
    work.stop().await;
    assert_eq!(shop.db.text("select count(*) from rekon.qr_cancels").await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_nobody_answers_is_left_to_the_queries() {
    let shop = shop(ENDS_QRS, "").await;
    shop.sim.world().set_weather(Service::Cancel, Some(Fault::TimeoutBefore { ms: 10 }));
    let open = SimPayment { script: vec![Answer::status("01")], ..payment("INV-1", 1_000) };
    let id = shop.expect(open, &[("order_status", "'cancelled'")]).await;
    let work = shop.work().await;
    for lost in 1..=3 {
        shop.until("select lost from rekon.qr_cancels", &lost.to_string()).await;
        assert_eq!(shop.db.text(QR).await, "asking");
        shop.db.run("update rekon.qr_cancels set next_at = now() where state = 'asking'").await;
    }
    shop.until(QR, "unknown").await;
    assert_eq!(shop.db.text("select attempts from rekon.qr_cancels").await, "3");
    let asked =
        "select sum(coalesce(s.n, 1)) > 1 from rekon.facts f left join rekon.sightings s using (transaction_id, seq)";
    shop.until(asked, "true").await;
    work.stop().await;
    assert_eq!(shop.db.text(&Shop::end_of(id)).await, "pending{}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_cancel_is_not_repeated_once_a_query_calls_the_qr_dead() {
    let shop = shop(ENDS_QRS, "").await;
    shop.sim.world().set_weather(Service::Cancel, Some(Fault::TimeoutBefore { ms: 10 }));
    let ends = SimPayment { script: vec![Answer::status("01"), Answer::status("05")], ..payment("INV-1", 1_000) };
    shop.expect(ends, &[("order_status", "'cancelled'")]).await;
    let work = shop.work().await;
    shop.until("select lost from rekon.qr_cancels", "1").await;
    let after = "select count(*) > 0 from rekon.facts f left join rekon.sightings s using (transaction_id, seq), rekon.qr_cancels c
        where f.observation = 'CANCELLED' and coalesce(s.last_sent_at, f.sent_at) > c.asked_at";
    shop.until(after, "true").await;
    shop.db.run("update rekon.qr_cancels set next_at = now()").await;
    shop.until(QR, "done").await;
    work.stop().await;
    assert_eq!(shop.db.text("select attempts || ' ' || lost from rekon.qr_cancels").await, "1 1");
}

#[tokio::test]
async fn the_search_for_another_order_reads_no_table() {
    let db = crate::support::TestDb::new().await;
    db.run(
        "insert into rekon.transactions (account, partner_reference_no, amount, created_at)
           select 'doku-main', 'INV-' || n, 1000 + n % 50, now() - n * interval '1 minute' from generate_series(1, 20000) as n;
         update rekon.transactions set state = 'paid', paid_amount = amount, paid_at = created_at where id % 2 = 0;
         analyze rekon.transactions, rekon.facts",
    )
    .await;
    let near = "select id from rekon.transactions where created_at between now() - interval '5 minutes' and now() + interval '5 minutes'
        and account = 'doku-main' and direction = 'in' and amount * 100 = any(array[100100::bigint]) and state in ('pending', 'unpaid')";
    let by_payment =
        "select transaction_id from rekon.facts where unique_payment_id = any(array['RRN-1']) and observation = 'PAID'";
    let alike = "select o.id from rekon.transactions o where o.paid_at between now() - interval '5 minutes' and now() + interval '5 minutes'
        and o.account = 'doku-main' and o.direction = 'in' and o.paid_amount * 100 = 100100::bigint
        and (select true from rekon.facts f where f.transaction_id = o.id and f.observation = 'PAID' and f.payment_id = any(array['004217']) limit 1)";
    for (statement, index) in
        [(near, "transactions_by_creation"), (by_payment, "facts_by_payment"), (alike, "transactions_by_payment")]
    {
        let mut connection = db.connect().await;
        sqlx::query("set enable_seqscan = off").execute(&mut connection).await.expect("a setting");
        let lines: Vec<String> = sqlx::query_scalar(sqlx::AssertSqlSafe(format!("explain {statement}")))
            .fetch_all(&mut connection)
            .await
            .expect("a plan");
        let plan = lines.join("\n");
        assert!(plan.contains(index) && !plan.contains("Seq Scan"), "{plan}");
    }
}
