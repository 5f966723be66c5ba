//! What people decide, by the binary and their tokens, on rows that rekon has really worked on: four eyes, the kill switch, the
//! refund breaker, resolutions. After each the chain still proves itself.

use rekon::sim::{Answer, RefundBehaviour, SimPayment};

use super::rig::{Run, bare};
use crate::support::shop::{SHORT_TIMES, Shop};

const QUICK: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\", \"5m\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";

/// A shop with four people, each with a token from the binary itself.
pub(crate) struct Desk {
    pub(crate) shop: Shop,
    folder: tempfile::TempDir,
}

pub(crate) const BUDI: &str = "budi";
pub(crate) const SARI: &str = "sari";
pub(crate) const WATI: &str = "wati";

impl Desk {
    pub(crate) async fn open(sections: &str) -> Self {
        Self::of(Shop::open(QUICK, sections).await)
    }

    /// The same in front of another shop.
    pub(crate) fn of(shop: Shop) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("jobs.toml"), &shop.config_text).unwrap();
        let desk = Self { shop, folder };
        let first = desk.run("", &["users", "add", "agus", "--admin", "--json"]).ends(0).json();
        desk.keep("agus", first["token"].as_str().unwrap());
        for (name, roles) in
            [(BUDI, &["maker"][..]), (SARI, &["checker"]), ("joko", &["checker"]), (WATI, &["operator"])]
        {
            let mut args = vec!["users", "add", name];
            for role in roles {
                args.extend(["--role", role]);
            }
            desk.run("agus", &args).ends(0);
            let made = desk.run("agus", &["tokens", "create", "--person", name, "--json"]).ends(0).json();
            desk.keep(name, made["token"].as_str().unwrap());
        }
        desk
    }

    fn keep(&self, name: &str, token: &str) {
        std::fs::write(self.folder.path().join(name), format!("{token}\n")).unwrap();
    }

    /// Writes a file beside the configuration and gives its path.
    pub(super) fn file(&self, name: &str, content: &str) -> String {
        let path = self.folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    /// Runs the binary as somebody; nobody where the name is empty.
    pub(crate) fn run(&self, who: &str, args: &[&str]) -> Run {
        let path = |name: &str| self.folder.path().join(name).display().to_string();
        let env = self.shop.env();
        let mut env: Vec<(&str, &str)> = env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let config = path("jobs.toml");
        env.push(("REKON_CONFIG", config.as_str()));
        let file = path(who);
        let mut args = args.to_vec();
        if !who.is_empty() {
            args.extend(["--token-file", file.as_str()]);
        }
        Run::of(bare(&args, &env).output().expect("rekon can be started"))
    }

    /// A payment of `expected` rupiah for which `paid` came.
    pub(super) async fn pays(&self, reference: &str, expected: i64, paid: i64) -> i64 {
        self.refunding(reference, expected, paid, vec![]).await
    }

    async fn refunding(&self, reference: &str, expected: i64, paid: i64, refunds: Vec<RefundBehaviour>) -> i64 {
        let payment =
            SimPayment { reference_no: format!("R-{reference}"), ..SimPayment::exact(reference, expected * 100) };
        let payment =
            SimPayment { taken_sen: Some(paid * 100), ..payment.answering([Answer::paid_amount(paid * 100)]) };
        let payment = if refunds.is_empty() { payment } else { payment.refunding(refunds) };
        self.shop.expect(payment, &[]).await
    }

    fn returned(&self) -> i64 {
        self.shop.sim.world().book().returned_sen / 100
    }

    fn proves_itself(&self) {
        self.run("", &["verify"]).ends(0);
    }
}

fn propose_mode() -> String {
    SHORT_TIMES.replace("mode = \"auto\"", "mode = \"propose\"")
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acts_without_a_token_and_no_token_does_more_than_its_person_may() {
    let desk = Desk::open(&propose_mode()).await;
    desk.run("", &["users", "add", "eve", "--admin"]).ends(2).says("REKON_TOKEN");
    desk.run(WATI, &["users", "add", "eve", "--role", "checker"]).ends(1).says("scope admin");
    desk.run("agus", &["users", "change", "agus", "--role", "checker"]).ends(1).says("people_changed_by_an_admin");
    desk.keep("eve", &rekon::domain::token::write(rekon::domain::token::TokenKind::Personal, &[9; 32]));
    desk.run("eve", &["tokens", "create"]).ends(1).says("unknown, revoked or expired");
    desk.keep("torn", "rekon_pat_abc");
    desk.run("torn", &["tokens", "create"]).ends(1).says("damaged");
    // A narrow token makes no wide one, and a revoked or a disabled person's token is none.
    let narrow = desk
        .run(SARI, &["tokens", "create", "--scope", "transactions:read", "--label", "reader", "--json"])
        .ends(0)
        .json();
    desk.keep("reader", narrow["token"].as_str().unwrap());
    desk.run("reader", &["tokens", "create", "--scope", "refunds:approve"]).ends(1).says("no refunds:approve itself");
    desk.run("reader", &["switch", "set", "*", "post", "--reason", "x"]).ends(1).says("switches:write");
    desk.run(SARI, &["tokens", "revoke", &narrow["id"].to_string()]).ends(0);
    desk.run("reader", &["tokens", "create"]).ends(1).says("revoked");
    desk.run("agus", &["users", "disable", WATI]).ends(0);
    desk.run(WATI, &["switch", "set", "*", "post", "--reason", "x"]).ends(1).says("disabled");
    let stored =
        desk.shop.db.text("select count(*) from rekon.tokens where encode(hash, 'escape') like '%rekon%'").await;
    assert_eq!(stored, "0");
    let listed = desk.run("", &["tokens", "list", "--json"]).ends(0).stdout;
    assert!(!listed.contains("rekon_pat_") && listed.contains("last_used_at"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_that_no_rule_owes_goes_back_once_two_people_agreed() {
    let desk = Desk::open(&propose_mode()).await;
    let id = desk.pays("INV-1", 100_000, 100_000).await;
    let work = desk.shop.work().await;
    desk.shop.until(&Shop::end_of(id), "paid{}").await;
    desk.run(SARI, &["refunds", "propose", "INV-1", "--reason", "goods came back"]).ends(1).says("refunds:propose");
    desk.run(BUDI, &["refunds", "propose", "INV-1", "--amount", "100000.01", "--reason", "x"])
        .ends(1)
        .says("from 1.00 to 100000.00");
    desk.run(BUDI, &["refunds", "propose", "INV-1", "--amount", "12.000", "--reason", "x"])
        .ends(2)
        .says("two decimals");
    let proposed = desk
        .run(BUDI, &["refunds", "propose", "INV-1", "--amount", "30000", "--reason", "goods came back", "--json"])
        .ends(0)
        .json();
    assert_eq!((proposed["cause"].as_str(), proposed["state"].as_str()), (Some("requested"), Some("proposed")));
    desk.run(BUDI, &["refunds", "propose", "INV-1", "--reason", "again"]).ends(1).says("one refund per cause");
    desk.run(BUDI, &["refunds", "approve", "INV-1"]).ends(1).says("refunds:approve");
    desk.run(WATI, &["refunds", "approve", "INV-1"]).ends(1);
    desk.shop.until(&Shop::end_of(id), "paid{requested}").await;
    desk.run(SARI, &["refunds", "approve", "INV-1", "--reason", "receipt seen"]).ends(0);
    desk.shop.until(&Shop::end_of(id), "partly_refunded{requested}").await;
    work.stop().await;
    assert_eq!(desk.returned(), 30_000);
    let told = desk.run("", &["explain", "INV-1"]).ends(0).stdout;
    for part in [
        "refund proposed",
        "by budi: goods came back",
        "refund approved",
        "by sari, after budi: receipt seen",
        "refund.requested",
    ] {
        assert!(told.contains(part), "explain lacks {part:?}\n{told}");
    }
    desk.proves_itself();
    desk.shop.db.run("alter table rekon.resolutions disable trigger all; alter table rekon.refund_saga disable trigger all; update rekon.refund_saga set approved_by = 'joko'").await;
    desk.run("", &["verify"]).ends(5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_asked_for_at_the_provider_of_a_payment_we_know_is_proposed_and_nothing_leaves() {
    let desk = Desk::open(&propose_mode()).await;
    let id = desk.pays("INV-1", 100_000, 100_000).await;
    let work = desk.shop.work().await;
    desk.shop.until(&Shop::end_of(id), "paid{}").await;
    let refund = |amount| ["qris", "refund", "INV-1", "--amount", amount, "--reason", "goods came back"];
    desk.run("", &refund("30000")).ends(2).says("REKON_TOKEN");
    desk.run(SARI, &refund("30000")).ends(1).says("refunds:propose");
    desk.run(BUDI, &refund("100000.01")).ends(1).says("from 1.00 to 100000.00");
    desk.run(BUDI, &["qris", "refund", "INV-1"]).ends(2).says("--reason TEXT");
    desk.run(BUDI, &[&refund("30000")[..], &["--reference-no", "R-2"]].concat()).ends(2).says("reference_no");
    let told = desk.run(BUDI, &refund("30000")).ends(0).stdout;
    let number = desk.shop.db.text("select id from rekon.refund_saga").await;
    assert!(told.contains(&format!("`rekon refunds approve {number}`")), "{told}");
    desk.run(BUDI, &refund("30000")).ends(1).says("one refund per cause");
    let saga = "select state || ' ' || proposed_by || ' ' || amount from rekon.refund_saga";
    assert_eq!(desk.shop.db.text(saga).await, "proposed budi 30000.00");
    assert_eq!(desk.shop.sim.world().count_of(rekon::sim::Service::Refund, "2007800"), 0);
    desk.run(SARI, &["refunds", "approve", &number, "--reason", "receipt seen"]).ends(0);
    desk.shop.until(&Shop::end_of(id), "partly_refunded{requested}").await;
    work.stop().await;
    assert_eq!(desk.returned(), 30_000);
    desk.proves_itself();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_proposal_of_the_policy_is_not_made_again() {
    let desk = Desk::open(&propose_mode()).await;
    let id = desk.pays("INV-1", 100_000, 150_000).await;
    let work = desk.shop.work().await;
    desk.shop.until("select state from rekon.refunds", "proposed").await;
    desk.run(BUDI, &["refunds", "deny", "INV-1", "--reason", "no"]).ends(1).says("refunds:approve");
    desk.run(SARI, &["refunds", "deny", "INV-1", "--reason", "it was a deposit"]).ends(0);
    desk.run(WATI, &["exceptions", "resolve", "INV-1", "--with", "ask_again", "--reason", "look"]).ends(0);
    desk.shop.until(&format!("select checks > 1 from rekon.transactions where id = {id}"), "true").await;
    work.stop().await;
    assert_eq!(
        desk.shop
            .db
            .text("select string_agg(state || ' ' || denied_by || ' ' || reason, ',') from rekon.refunds")
            .await,
        "denied sari it was a deposit"
    );
    // What the rule no longer asks for, a person may.
    desk.run(BUDI, &["refunds", "propose", "INV-1", "--amount", "20000", "--reason", "so much after all"]).ends(0);
    assert_eq!(desk.returned(), 0);
    desk.proves_itself();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_approval_that_is_too_old_or_stands_on_other_facts_is_void() {
    let desk = Desk::open(&propose_mode()).await;
    let old = desk.pays("OLD", 100_000, 150_000).await;
    let other = desk.pays("OTHER", 100_000, 150_000).await;
    let work = desk.shop.work().await;
    desk.shop.until("select count(*) from rekon.refunds where state = 'proposed'", "2").await;
    desk.shop.until("select bool_and(next_check_at is null or next_check_at > now() + interval '1 hour') from rekon.transactions", "true").await;
    work.stop().await;
    desk.run(SARI, &["refunds", "approve", "OLD"]).ends(0);
    desk.run(SARI, &["refunds", "approve", "OTHER"]).ends(0);
    desk.shop
        .db
        .run(&format!(
            "update rekon.refund_saga set approved_at = now() - interval '25 hours' where transaction_id = {old};
        update rekon.transactions set order_status = 'cancelled' where id = {other}"
        ))
        .await;
    let work = desk.shop.work().await;
    desk.shop
        .until(
            &format!("select state || ' ' || reason from rekon.refund_saga where transaction_id = {old}"),
            "proposed the approval is older than approval_ttl: approve it again",
        )
        .await;
    desk.shop
        .until(
            &format!("select state from rekon.refund_saga where transaction_id = {other} order by id limit 1"),
            "expired",
        )
        .await;
    assert_eq!(desk.returned(), 0);
    desk.run("joko", &["refunds", "approve", "OLD"]).ends(0);
    desk.shop.until(&format!("select state from rekon.refund_saga where transaction_id = {old}"), "confirmed").await;
    work.stop().await;
    assert_eq!(desk.returned(), 50_000);
    desk.proves_itself();
}

#[tokio::test(flavor = "multi_thread")]
async fn at_observe_nothing_is_posted_at_post_nothing_is_proposed_and_raising_catches_up() {
    let desk = Desk::open(SHORT_TIMES).await;
    desk.run(WATI, &["switch", "set", "doku-main", "observe", "--reason", "incident 42"]).ends(0);
    let id = desk.pays("INV-1", 100_000, 150_000).await;
    let work = desk.shop.work().await;
    desk.shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    assert_eq!(desk.shop.db.text("select count(*) from rekon.postings").await, "0");
    desk.run(SARI, &["switch", "set", "doku-main", "post", "--reason", "ledger is fine"]).ends(0);
    assert_eq!(desk.shop.db.text("select count(*) from rekon.postings").await, "0", "one person raises nothing");
    desk.run(SARI, &["switch", "set", "doku-main", "post", "--reason", "ledger is fine"]).ends(0);
    desk.run(WATI, &["switch", "set", "doku-main", "post", "--reason", "me too"])
        .ends(1)
        .says("switches_raised_by_two");
    let shown = desk.run("", &["status"]).ends(0).stdout;
    assert!(shown.contains("observe") && shown.contains("asked for"), "{shown}");
    desk.run("joko", &["switch", "set", "doku-main", "post", "--reason", "seen"]).ends(0);
    desk.shop
        .until("select coalesce(sum(credit), 0) from rekon.postings where account = 'suspense:overpaid'", "50000.00")
        .await;
    assert_eq!(desk.shop.db.text("select count(*) from rekon.refunds").await, "0");
    desk.run(SARI, &["switch", "set", "doku-main", "auto", "--reason", "over"]).ends(0);
    desk.run("joko", &["switch", "set", "doku-main", "auto", "--reason", "over"]).ends(0);
    desk.run(WATI, &["exceptions", "resolve", "INV-1", "--with", "ask_again", "--reason", "go on"]).ends(0);
    desk.shop.until("select state from rekon.refunds", "confirmed").await;
    work.stop().await;
    assert_eq!(desk.returned(), 50_000);
    let ceilings = "select string_agg(distinct content::jsonb ->> 'ceiling', ' ') from rekon.journal";
    assert_eq!(desk.shop.db.text(ceilings).await, "auto observe post");
    desk.proves_itself();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_passed_limit_falls_back_to_two_people_until_two_people_re_arm_it() {
    let desk = Desk::open(&format!("{SHORT_TIMES}[refunds.breaker]\ncount_per_hour = 1\n")).await;
    let work = desk.shop.work().await;
    desk.pays("INV-1", 100_000, 150_000).await;
    desk.shop.until("select state from rekon.refunds", "confirmed").await;
    desk.pays("INV-2", 100_000, 150_000).await;
    desk.pays("INV-3", 100_000, 150_000).await;
    desk.shop
        .until("select string_agg(state, ' ' order by state) from rekon.refunds", "confirmed proposed proposed")
        .await;
    desk.shop
        .until(
            "select breaker_reason from rekon.account_controls",
            "the refund breaker's limit count_per_hour is reached",
        )
        .await;
    assert!(desk.run("", &["status"]).ends(0).stdout.contains("Refunds leave by two people only from doku-main"));
    assert_eq!(desk.returned(), 50_000);
    let waiting = desk.shop.db.text("select min(refund_id) from rekon.refunds where state = 'proposed'").await;
    desk.run(SARI, &["refunds", "approve", &waiting]).ends(0);
    desk.shop.until("select count(*) from rekon.refunds where state = 'confirmed'", "2").await;
    desk.run(WATI, &["refunds", "rearm", "doku-main", "--reason", "x"]).ends(1).says("checker or admin");
    desk.run(SARI, &["refunds", "rearm", "doku-main", "--reason", "a rush, all real"]).ends(0);
    assert_eq!(desk.shop.db.text("select breaker_opened_at is null from rekon.account_controls").await, "false");
    let said = desk.run("joko", &["refunds", "rearm", "doku-main", "--reason", "agreed"]).ends(0).stdout;
    assert!(said.contains("as sari asked"), "{said}");
    assert_eq!(desk.shop.db.text("select breaker_opened_at is null from rekon.account_controls").await, "true");
    // Counted anew: the one that waited goes alone again.
    desk.shop.until("select count(*) from rekon.refunds where state = 'confirmed'", "3").await;
    work.stop().await;
    desk.run(SARI, &["refunds", "rearm", "doku-main", "--reason", "x"]).ends(1).says("not stopped");
    assert_eq!(desk.returned(), 150_000);
    desk.proves_itself();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_people_accept_less_one_marks_a_dispute_and_nothing_leaves_meanwhile() {
    let desk = Desk::open(&propose_mode()).await;
    let less = desk.pays("LESS", 100_000, 90_000).await;
    let more = desk.pays("MORE", 100_000, 150_000).await;
    let work = desk.shop.work().await;
    desk.shop.until(&Shop::end_of(less), "held{underpaid}").await;
    desk.shop.until("select state from rekon.refunds", "proposed").await;
    let accept = ["exceptions", "resolve", "LESS", "--with", "accept_as_paid", "--reason", "goods were cheaper"];
    desk.run(WATI, &accept).ends(1).says("resolutions_by_people");
    desk.run(
        BUDI,
        &["exceptions", "resolve", "LESS", "--with", "accept_as_paid", "--flag", "overpaid", "--reason", "x"],
    )
    .ends(1)
    .says("not open on this row");
    desk.run(BUDI, &accept).ends(0);
    desk.run(BUDI, &accept).ends(0);
    assert_eq!(desk.shop.db.text(&Shop::end_of(less)).await, "held{underpaid}", "one person moves nothing");
    let listed = desk.run("", &["exceptions", "list", "--json"]).ends(0);
    assert!(listed.stdout.contains("accept_as_paid by budi"), "{}", listed.stdout);
    desk.run(SARI, &accept).ends(0);
    desk.shop.until(&Shop::end_of(less), "paid{underpaid}").await;
    let payable = "select sum(credit - debit) from rekon.postings p join rekon.transactions t on t.id = p.transaction_id where t.partner_reference_no = 'LESS' and p.account = 'merchant_payable'";
    assert_eq!(desk.shop.db.text(payable).await, "90000.00");

    desk.run(WATI, &["exceptions", "assign", "MORE", "--to", SARI]).ends(0);
    desk.run(WATI, &["exceptions", "resolve", "MORE", "--with", "dispute", "--reason", "the payer called his bank"])
        .ends(0);
    desk.run(SARI, &["refunds", "approve", "MORE"]).ends(1).says("a dispute is open");
    desk.run(BUDI, &["refunds", "propose", "MORE", "--reason", "x"]).ends(1).says("a dispute is open");
    let undispute = ["exceptions", "resolve", "MORE", "--with", "undispute", "--reason", "withdrawn"];
    desk.run(BUDI, &undispute).ends(0);
    desk.run(SARI, &["refunds", "approve", "MORE"]).ends(1).says("a dispute is open");
    desk.run("joko", &undispute).ends(0);
    desk.run(SARI, &["refunds", "approve", "MORE"]).ends(0);
    desk.shop.until("select state from rekon.refunds", "confirmed").await;
    desk.shop.until(&Shop::end_of(more), "paid{overpaid}").await;
    work.stop().await;
    assert_eq!(desk.returned(), 50_000);
    desk.proves_itself();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refund_of_unknown_fate_is_found_out_by_two_people() {
    let desk = Desk::open(SHORT_TIMES).await;
    let lost = |n: usize| {
        vec![
            RefundBehaviour::BeforeEffect { fault: rekon::sim::Fault::Reset { at: rekon::sim::ResetAt::BeforeHeaders } };
            n
        ]
    };
    let id = desk.refunding("INV-1", 100_000, 150_000, lost(50)).await;
    let work = desk.shop.work().await;
    desk.shop.until("select state from rekon.refunds", "unknown").await;
    let not_done =
        ["exceptions", "resolve", "INV-1", "--with", "refund_not_done", "--reason", "the provider's desk says no"];
    desk.run(BUDI, &not_done).ends(0);
    desk.run(SARI, &not_done).ends(0);
    desk.shop.until("select state from rekon.refunds", "refused").await;
    desk.shop.until(&Shop::end_of(id), "paid{overpaid,refund_blocked}").await;
    work.stop().await;
    assert_eq!(desk.shop.db.text("select refund_reserved from rekon.transactions").await, "0.00");
    assert_eq!(desk.returned(), 0);
    // Another number, because people know that the first one did nothing.
    desk.run(BUDI, &["refunds", "propose", "INV-1", "--amount", "50000", "--reason", "once more"]).ends(0);
    assert_eq!(desk.shop.db.text("select max(sequence) from rekon.refund_saga").await, "2");
    desk.proves_itself();
}
