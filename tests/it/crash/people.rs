//! What people decide, and the process dies at the commit: right before it took effect, and right after. Nobody heard what came
//! of it, so they do the same again, and it ends as if it had been done once.

use std::collections::BTreeMap;

use rekon::{
    domain::{
        person::{Actor, PersonKind, Role, Scope},
        resolution::{About, ResolutionKind},
    },
    engine::{
        EngineError, approvals,
        control::{self, Decided},
        rulebook::Rulebook,
        verify,
    },
    sim::Answer,
    store::Store,
};

use super::points::{Point, assert_each_was_met};
use crate::{
    engine::{SAFE, payment},
    support::{
        connect_options,
        proxy::Proxy,
        shop::{SHORT_TIMES, Shop},
    },
};

/// What a person does, and about which payment.
#[derive(Debug, Clone, Copy)]
enum Deed {
    Approve(&'static str),
    Deny(&'static str),
    Resolve(&'static str, ResolutionKind),
}

impl Deed {
    async fn done(self, store: &Store, book: &Rulebook, by: &Actor) -> Result<(), EngineError> {
        match self {
            Self::Approve(which) => approvals::approve(store, book, by, which, Some("receipt seen")).await.map(drop),
            Self::Deny(which) => approvals::deny(store, book, by, which, "it was a deposit").await.map(drop),
            Self::Resolve(which, kind) => {
                let decided = Decided { kind, about: About::default(), reason: "seen".to_owned() };
                control::resolve(store, book, by, which, &decided).await.map(drop)
            }
        }
    }
}

fn checker(name: &str) -> Actor {
    Actor {
        name: name.to_owned(),
        kind: PersonKind::Person,
        roles: [Role::Checker].into(),
        scopes: [Scope::RefundsApprove, Scope::ExceptionsWrite].into(),
        token_id: 0,
    }
}

/// In their order: the first word of two people is a request, which whoever is unsure may repeat; all else is done once.
const DEEDS: [(&str, Deed, bool); 8] = [
    ("sari", Deed::Approve("GOES"), false),
    ("sari", Deed::Deny("STAYS"), false),
    ("sari", Deed::Resolve("CALLED", ResolutionKind::Dispute), false),
    ("sari", Deed::Resolve("QUARREL", ResolutionKind::Dispute), false),
    ("sari", Deed::Resolve("QUARREL", ResolutionKind::Undispute), true),
    ("joko", Deed::Resolve("QUARREL", ResolutionKind::Undispute), false),
    ("sari", Deed::Resolve("LESS", ResolutionKind::AcceptAsPaid), true),
    ("joko", Deed::Resolve("LESS", ResolutionKind::AcceptAsPaid), false),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_death_at_the_commit_of_what_people_decide_leaves_it_decided_once() {
    let mut deaths: [BTreeMap<Point, bool>; DEEDS.len()] = Default::default();
    for at in Point::up_to(1) {
        let shop = undecided().await;
        for ((who, deed, may_repeat), deaths) in DEEDS.into_iter().zip(&mut deaths) {
            let story = format!("{who} {deed:?}: {}", at.told());
            let (rulebook, by) = (shop.rulebook(), checker(who));
            let door = Proxy::open(&shop.db.url).await;
            let behind = Store::connect(&connect_options(&door.url)).await.expect("the door is open");
            at.arm(&door);
            let first = deed.done(&behind, &rulebook, &by).await;
            deaths.insert(at, door.disarm().await);
            assert!(first.is_err(), "{story}: nobody heard that it was done");
            let again = deed.done(&shop.db.store, &rulebook, &by).await;
            assert_eq!(again.is_ok(), may_repeat || !at.takes_effect, "{story}: {again:?}");
            if let Err(said) = again {
                assert!(matches!(said, EngineError::Refused(_)), "{story}: {said:?}");
            }
        }
        as_if_once(&shop, &at.told()).await;
    }
    for ((who, deed, _), deaths) in DEEDS.iter().zip(&deaths) {
        assert_each_was_met(&format!("{who} {deed:?}"), 1, deaths);
    }
}

/// Four excesses that wait for people, and a payment that fell short; nobody is at work.
async fn undecided() -> Shop {
    let shop = Shop::open(SAFE, &SHORT_TIMES.replace("mode = \"auto\"", "mode = \"propose\"")).await;
    shop.db.people().await;
    for (name, paid) in
        [("GOES", 170_000), ("STAYS", 170_000), ("CALLED", 170_000), ("QUARREL", 170_000), ("LESS", 100_000)]
    {
        shop.expect(payment(name, 150_000).answering([Answer::paid_amount(paid * 100)]), &[]).await;
    }
    let work = shop.work().await;
    shop.until("select count(*) from rekon.refund_saga where state = 'proposed'", "4").await;
    shop.until("select state from rekon.transactions where partner_reference_no = 'LESS'", "held").await;
    work.stop().await;
    shop
}

async fn as_if_once(shop: &Shop, story: &str) {
    let work = shop.work().await;
    let refunds = "select string_agg(concat_ws(' ', t.partner_reference_no, r.state, r.approved_by, r.denied_by), ', ' order by r.id)
        from (select partner_reference_no, id as tx from rekon.transactions order by id) t join rekon.refund_saga r on r.transaction_id = t.tx";
    shop.until("select state from rekon.refund_saga where approved_by = 'sari'", "confirmed").await;
    work.stop().await;
    let told = shop.db.text(refunds).await;
    let mut each: Vec<&str> = told.split(", ").collect();
    each.sort_unstable();
    assert_eq!(each, ["CALLED proposed", "GOES confirmed sari", "QUARREL proposed", "STAYS denied sari"], "{story}");
    let book = shop.sim.world().book();
    assert_eq!((book.returned_sen, book.refunded_more_than_once().len()), (2_000_000, 0), "{story}");

    let in_force = "select string_agg(concat_ws(' ', t.partner_reference_no, r.kind, coalesce(a.made_by || '+', '') || r.made_by), ', ' order by r.id)
        from rekon.resolutions r join rekon.transactions t on t.id = r.transaction_id left join rekon.resolutions a on a.id = r.confirms where r.seq is not null";
    assert_eq!(
        shop.db.text(in_force).await,
        "CALLED dispute sari, QUARREL dispute sari, QUARREL undispute sari+joko, LESS accept_as_paid sari+joko",
        "{story}"
    );
    let journalled = "select string_agg(concat_ws(' ', kind, n), ', ' order by kind)
        from (select kind, count(*) as n from rekon.journal where content::jsonb ? 'act' group by kind) x";
    assert_eq!(
        shop.db.text(journalled).await,
        "refund approved 1, refund denied 1, resolution accept_as_paid 1, resolution dispute 2, resolution undispute 1",
        "{story}"
    );
    assert_eq!(shop.db.text("select state from rekon.transactions where partner_reference_no = 'LESS'").await, "paid");
    let books = "select string_agg(account || ' ' || sen, '; ' order by account) from
        (select account, sum(debit - credit) as sen from rekon.postings group by account having sum(debit - credit) <> 0) b";
    let provider = 4 * 170_000 + 100_000 - 20_000;
    let told = shop.db.text(books).await;
    assert!(told.contains(&format!("provider_clearing {provider}.00")), "{story}: {told}");
    let proof = verify::verify(&shop.db.store, |_| {}).await.expect("the database answers");
    assert_eq!(proof.breaks, [], "{story}");
}
