//! A ledger that was changed behind rekon's back is found out, and the entry is named. The changes are made the way a
//! person with all rights on the database makes them: triggers off.

use rekon::{
    domain::{
        person::{Actor, PersonKind, Role, Scope},
        resolution::{About, ResolutionKind},
    },
    engine::{
        control::{self, Decided},
        verify::{self, Proof},
    },
    sim::{Answer, SimPayment},
};

use crate::{
    engine::{SAFE, payment},
    support::shop::{SHORT_TIMES, Shop},
};

/// Somebody with all rights on the database: no triggers, no foreign keys.
const OFF: &str = "set session_replication_role = replica";
const ON: &str = "set session_replication_role = default";

/// A shop with one overpaid payment whose excess has gone back.
async fn settled() -> Shop {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    let more = SimPayment {
        script: vec![Answer::paid_amount(17_000_000)],
        taken_sen: Some(17_000_000),
        ..payment("INV-1", 150_000)
    };
    let id = shop.expect(more, &[]).await;
    let work = shop.work().await;
    shop.until("select state from rekon.refunds", "confirmed").await;
    shop.until(&Shop::end_of(id), "paid{overpaid}").await;
    work.stop().await;
    shop
}

async fn proof(shop: &Shop) -> Proof {
    verify::verify(&shop.db.store, |_| {}).await.expect("the database answers")
}

/// Changes something with the triggers off, and gives the sentences that the proof says of it.
async fn after(sql: &str) -> Vec<String> {
    let shop = settled().await;
    assert_eq!(proof(&shop).await.broken, 0, "an honest ledger proves itself");
    shop.db.run(&format!("{OFF}; {sql}; {ON}")).await;
    let found = proof(&shop).await;
    found
        .breaks
        .into_iter()
        .map(|b| format!("{} {}", b.entry_no.map_or("row".to_owned(), |n| n.to_string()), b.what))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_journal_entry_is_named_and_so_is_every_link_after_it() {
    let found =
        after("update rekon.journal set content = replace(content, '170000.00', '170000.01') where entry_no = 1").await;
    assert!(found.contains(&"1 its content does not give its hash: it was changed".to_owned()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rewritten_entry_with_a_new_hash_breaks_the_next_link() {
    let found = after("update rekon.journal set hash = sha256(content::bytea) where entry_no = 1").await;
    assert!(found.contains(&"2 it does not link to the entry before it".to_owned()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_posting_is_named() {
    let found = after("update rekon.postings set debit = debit + 1 where debit > 0 and entry_no = 1").await;
    assert_eq!(found, ["1 its postings differ from its content"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_fact_breaks_every_entry_that_had_seen_it() {
    let found = after("update rekon.facts set amount = amount - 1 where seq = 1").await;
    assert!(
        !found.is_empty()
            && found.iter().any(|f| f == "1 a fact, an order change or a resolution that it had seen was changed")
            && found.iter().any(|f| f == "row fact #1 does not give its hash: it was changed"),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_refund_is_named() {
    let found = after("update rekon.refund_saga set amount = amount - 1").await;
    assert!(found.contains(&"row a refund is not what the row's last entry says".to_owned()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_tail_of_the_journal_is_found() {
    let found =
        after("delete from rekon.postings where entry_no > 1; delete from rekon.journal where entry_no > 1").await;
    assert!(found.contains(&"row the row's journal head is not its last entry".to_owned()), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_body_is_found() {
    let found = after("update rekon.raw_answers set body = body || '\\x20'::bytea where hash = (select hash from rekon.raw_answers order by hash limit 1)").await;
    assert_eq!(found, ["row 1 stored bodies do not match their hash"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_bodies_are_counted_across_all_pages() {
    let many = "insert into rekon.raw_answers (hash, body)
        select case when n % 1000 = 0 then sha256('x' || n::text::bytea) else sha256(n::text::bytea) end, n::text::bytea from generate_series(1, 7000) n";
    assert_eq!(after(many).await, ["row 7 stored bodies do not match their hash"]);
}

/// A column and what stands in it afterwards: one byte, or the least step, away.
const OTHER: &str = "select c.table_name || '.' || c.column_name, format('update rekon.%1$I set %2$I = %3$s where ctid = (select ctid from rekon.%1$I %4$s limit 1)',
    c.table_name, c.column_name, format(case c.udt_name
      when 'text' then 'coalesce(overlay(%1$I placing case left(%1$I, 1) when $q$z$q$ then $q$y$q$ else $q$z$q$ end from 1 for 1), $q$z$q$)'
      when 'bytea' then 'coalesce(set_byte(%1$I, 0, get_byte(%1$I, 0) # 1), $q$z$q$::bytea)'
      when 'numeric' then 'coalesce(%1$I, 0) + 0.01'
      when 'timestamptz' then 'coalesce(%1$I, now()) + interval $q$1 microsecond$q$'
      when 'date' then 'coalesce(%1$I, now()::date) + 1'
      when 'bool' then 'not %1$I'
      when 'jsonb' then 'jsonb_build_object($q$x$q$, 1)'
      when '_text' then '%1$I || $q$amount$q$::text'
      else 'coalesce(%1$I, 0) + 1' end, c.column_name),
    case c.table_name when 'postings' then 'where debit > 0' else '' end)
  from information_schema.columns c
 where c.table_schema = 'rekon' and c.is_identity = 'NO' and c.table_name in ('facts', 'order_changes', 'resolutions', 'journal', 'postings', 'refund_saga', 'sealed', 'seals')
 order by c.table_name, c.column_name";

/// When a refund is looked at next and by whom, when it came where it is, the budget's day: no money depends on it, and it
/// changes without a journal entry. What a request of two people was found by: a resolution in force is not looked for. When a
/// seal was made: what it covers says more.
const FREE: [&str; 11] = [
    "refund_saga.budget_day",
    "refund_saga.ended_at",
    "refund_saga.lease_epoch",
    "refund_saga.lease_owner",
    "refund_saga.lease_until",
    "refund_saga.next_at",
    "refund_saga.proposed_at",
    "refund_saga.reserved_at",
    "refund_saga.response_code",
    "resolutions.content_hash",
    "seals.at",
];

/// Changes each column of these tables, one at a time, and undoes it: how many there are, and those whose change nobody saw.
async fn unseen(shop: &Shop, tables: &[&str]) -> (usize, Vec<String>) {
    let sql = sqlx::AssertSqlSafe(OTHER.to_owned());
    let mut columns: Vec<(String, String)> =
        sqlx::query_as(sql).fetch_all(shop.db.store.pool()).await.expect("the catalogue answers");
    columns.retain(|(column, _)| column.split('.').next().is_some_and(|table| tables.contains(&table)));
    let count = columns.len();
    let mut unseen = Vec::new();
    for (column, change) in columns {
        // Somebody with all rights: no triggers, no foreign keys. What a check refuses even so needs no proof.
        let table = column.split('.').next().expect("table.column");
        shop.db.run(&format!("create table public.kept as select * from rekon.{table}")).await;
        let refused = shop.db.try_run(&format!("{OFF}; {change}; {ON}")).await;
        if let Err(error) = &refused {
            let named = error.as_database_error().and_then(|e| e.constraint()).is_some();
            assert!(named, "{column}: {error}\n{change}");
        }
        if refused.is_ok() && proof(shop).await.broken == 0 {
            unseen.push(column.clone());
        }
        shop.db
            .run(&format!(
                "{OFF}; delete from rekon.{table};
                 insert into rekon.{table} overriding system value select * from public.kept; drop table public.kept; {ON}"
            ))
            .await;
    }
    assert_eq!(proof(shop).await.breaks, [], "all of it was undone");
    (count, unseen)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_changed_byte_in_any_column_of_the_evidence_is_found() {
    let shop = settled().await;
    shop.db.run("update rekon.transactions set order_status = 'fulfilled'").await;
    disputed(&shop).await;
    assert!(shop.db.store.seal("2026-11-19".parse().unwrap()).await.unwrap());
    assert_eq!(proof(&shop).await.breaks, [], "an honest ledger proves itself");
    let evidence = ["facts", "order_changes", "resolutions", "journal", "postings", "refund_saga", "sealed", "seals"];
    let (columns, unseen) = unseen(&shop, &evidence).await;
    assert!(columns > 70, "{columns}");
    assert_eq!(unseen, FREE);
}

/// One person marks a dispute and two end it: a resolution alone, a request, and what confirmed it.
async fn disputed(shop: &Shop) {
    shop.db.people().await;
    let rulebook = shop.rulebook();
    for (who, kind) in
        [("sari", ResolutionKind::Dispute), ("sari", ResolutionKind::Undispute), ("joko", ResolutionKind::Undispute)]
    {
        let by = Actor {
            name: who.to_owned(),
            kind: PersonKind::Person,
            roles: [Role::Checker].into(),
            scopes: [Scope::ExceptionsWrite].into(),
            token_id: 0,
        };
        let decided = Decided { kind, about: About::default(), reason: "the payer called his bank".to_owned() };
        control::resolve(&shop.db.store, &rulebook, &by, "INV-1", &decided).await.expect("a checker may");
    }
}

/// A shop whose refund is approved and does not go: the provider takes none in these hours.
async fn approved() -> Shop {
    let mut shop = Shop::open(SAFE, SHORT_TIMES).await;
    let hour =
        |ago: i32| format!("select to_char(now() at time zone 'Asia/Jakarta' - {ago} * interval '1 hour', 'HH24:MI')");
    let (from, to) = (shop.db.text(&hour(2)).await, shop.db.text(&hour(-2)).await);
    let night = format!("[accounts.doku-main.profile.refund]\nblackout = [\"{from}-{to}\"]\n");
    shop.config_text.push_str(&night);
    wait_unsent(shop, "approved").await
}

/// A shop whose refund has its number and its part of the budget, and whose worker came to the send and no further.
async fn reserved() -> Shop {
    let shop = Shop::open(SAFE, SHORT_TIMES).await;
    shop.db
        .run(
            "create function public.not_yet() returns trigger language plpgsql as $$ begin raise exception 'not yet'; end $$;
             create trigger not_yet before insert on rekon.refund_attempts for each row execute function public.not_yet()",
        )
        .await;
    wait_unsent(shop, "reserved").await
}

async fn wait_unsent(shop: Shop, state: &str) -> Shop {
    let more = SimPayment {
        script: vec![Answer::paid_amount(17_000_000)],
        taken_sen: Some(17_000_000),
        ..payment("INV-1", 150_000)
    };
    shop.expect(more, &[]).await;
    let work = shop.work().await;
    shop.until("select state from rekon.refund_saga", state).await;
    work.stop().await;
    assert_eq!(shop.db.text("select state from rekon.refund_saga").await, state);
    assert_eq!(shop.db.text("select count(*) from rekon.refund_attempts").await, "0", "nothing was sent");
    assert_eq!(shop.sim.world().book().returned_sen, 0);
    shop
}

/// The day before the send: whoever changes an approved refund then would have another amount, number or payment returned.
#[tokio::test(flavor = "multi_thread")]
async fn one_changed_byte_in_any_column_of_an_approved_refund_is_found_before_it_is_sent() {
    for shop in [approved().await, reserved().await] {
        let state = shop.db.text("select state from rekon.refund_saga").await;
        assert_eq!(proof(&shop).await.breaks, [], "{state}: an honest ledger proves itself");
        let (columns, unseen) = unseen(&shop, &["refund_saga"]).await;
        assert!(columns > 30, "{state}: {columns}");
        let covered: Vec<&String> = unseen.iter().filter(|column| !FREE.contains(&column.as_str())).collect();
        assert!(covered.is_empty(), "{state}: nobody saw a change of {covered:?}");
        for (change, row) in [("amount = amount + 0.01", "INV-1"), ("approved_by = 'sari'", "INV-1")] {
            shop.db.run(&format!("{OFF}; create table public.kept as select * from rekon.refund_saga; update rekon.refund_saga set {change}; {ON}")).await;
            let found = proof(&shop).await.breaks;
            let is_named = found
                .iter()
                .any(|b| b.partner_reference_no == row && b.what == "a refund is not what the row's last entry says");
            assert!(is_named, "{state}, {change}: {found:?}");
            shop.db.run(&format!("{OFF}; delete from rekon.refund_saga; insert into rekon.refund_saga overriding system value select * from public.kept; drop table public.kept; {ON}")).await;
        }
    }
}

/// The last entry of the chain goes with all that speaks of it, and the row's head goes back: what is left links.
const CUT_TAIL: &str = "with last as (delete from rekon.journal j using rekon.transactions t
      where t.id = j.transaction_id and j.entry_no = t.journal_no returning j.transaction_id, j.entry_no, j.prev_hash),
    lines as (delete from rekon.postings p using last where (p.transaction_id, p.entry_no) = (last.transaction_id, last.entry_no))
  update rekon.transactions t set journal_no = last.entry_no - 1, journal_hash = last.prev_hash from last where t.id = last.transaction_id";

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_was_cut_off_with_all_that_speaks_of_it_is_found_by_the_seal() {
    let shop = settled().await;
    assert!(shop.db.store.seal("2026-11-19".parse().unwrap()).await.unwrap());
    assert!(shop.db.store.seal("2026-11-20".parse().unwrap()).await.unwrap());
    let honest = proof(&shop).await;
    assert_eq!((honest.broken, honest.seals), (0, 2));
    let last: i32 = shop.db.value("select journal_no from rekon.transactions").await;
    let off = async |sql: &str| {
        shop.db.run(&format!("{OFF}; {sql}; {ON}")).await;
        proof(&shop).await.breaks
    };
    let found = off(CUT_TAIL).await;
    let cut = found.iter().find(|b| b.what.contains("tail was cut off")).unwrap_or_else(|| panic!("{found:?}"));
    assert_eq!((cut.entry_no, cut.partner_reference_no.as_str()), (Some(last), "INV-1"));
    assert!(found.iter().any(|b| b.seal == "2026-11-19".parse().ok()), "{found:?}");
    // Whoever takes it out of the seal as well breaks the seal, and whoever makes that seal anew breaks the next one.
    let found = off("delete from rekon.sealed").await;
    assert!(found.iter().any(|b| b.seal.is_some() && b.what.contains("0 are there")), "{found:?}");
    let found = off("update rekon.seals set chains = 0, head = sha256(head) where no = 1").await;
    assert!(found.iter().any(|b| b.what == "it does not stand upon the seal before it"), "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_proves_itself_without_the_database_and_a_changed_line_is_named() {
    let shop = settled().await;
    assert!(shop.db.store.seal("2026-11-19".parse().unwrap()).await.unwrap());
    let mut file = Vec::new();
    let online = verify::verify_to(&shop.db.store, &mut file, |_| {}).await.expect("the database answers");
    let offline = |file: &[u8]| verify::verify_export(file, |_| {}).expect("it can be read");
    // Bodies are no part of an export.
    assert!(online.bodies > 0);
    assert_eq!(offline(&file), Proof { bodies: 0, ..online.clone() });
    assert_eq!((online.broken, online.seals, online.rows), (0, 1, 1));
    let text = String::from_utf8(file).expect("it is text");
    assert_ne!(offline(text.replacen("170000.00", "170000.01", 1).as_bytes()).broken, 0);
    let forged = text.replace("\\\"state\\\":\\\"paid\\\"", "\\\"state\\\":\\\"held\\\"");
    let found = offline(forged.as_bytes()).breaks;
    assert_eq!(found[0].entry_no, Some(1), "{found:?}");
    assert_eq!(found[0].what, "its content does not give its hash: it was changed");
    let cut = text.lines().take(3).collect::<Vec<_>>().join("\n");
    assert!(offline(cut.as_bytes()).breaks.iter().any(|b| b.what.contains("it was cut off")));
    // A chain that is gone whole leaves no gap in a chain; the seals and the end know it.
    let chainless: Vec<&str> = text.lines().filter(|line| !line.starts_with("{\"chain\"")).collect();
    let found = offline(chainless.join("\n").as_bytes()).breaks;
    assert!(found.iter().any(|b| b.seal.is_some()), "{found:?}");
}
