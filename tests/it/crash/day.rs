//! A day of payments of every kind, each with the end that the rules of money name for it, and the proof that all of them
//! came to it with the books of rekon and of the provider equal to the sen.

use rekon::sim::{Answer, Fault, GatePoint, GateSpec, Rng, Service, SimPayment};

use crate::support::{
    process::Daemon,
    shop::{CLIENT, Shop},
};

/// The account: as many calls as anybody wants, quick looks, repeats of a refund proved to be safe, and time-outs that
/// fit into a lease of three seconds.
const ACCOUNT_LINES: &str = "rate = { per_second = 1000, burst = 100, concurrency = 32 }\ntimeout = \"1s\"\n\
    [accounts.doku-main.ladder]\ndefault = [\"1s\"]\n\
    [accounts.doku-main.profile]\nrefund_repeat = \"safe\"\n";
const SECTIONS: &str = "[policy]\nconfirm_after = \"1s\"\nwatch = \"1h\"\n[refunds]\nmode = \"auto\"\n\
    [database]\nmax_connections = 8\n[jobs.sweep]\nevery = \"50ms\"\nlease = \"3s\"\nchunk_span = \"1s\"\n\
    [log]\nlevel = \"warn\"\n";

/// What happens to a payment. What becomes of it stands in [`Kind::end`], written from the rules and not from the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Exact,
    Overpaid,
    Underpaid,
    CancelledThenPaid,
    FailedThenPaid,
    NotFoundThenPaid,
    UnknownThenPaid,
}

impl Kind {
    pub(super) const ALL: [Self; 7] = [
        Self::Exact,
        Self::Overpaid,
        Self::Underpaid,
        Self::CancelledThenPaid,
        Self::FailedThenPaid,
        Self::NotFoundThenPaid,
        Self::UnknownThenPaid,
    ];
    /// Those for which money goes back: a difference, and everything.
    pub(super) const GOES_BACK: [Self; 2] = [Self::Overpaid, Self::CancelledThenPaid];

    /// Those of which the first answer says that they are paid.
    pub(super) const PAID_AT_ONCE: [Self; 4] = [Self::Exact, Self::Overpaid, Self::Underpaid, Self::CancelledThenPaid];

    /// State and flags, and the share of the money that goes back.
    const fn end(self) -> (&'static str, GoesBack) {
        match self {
            Self::Exact | Self::FailedThenPaid | Self::NotFoundThenPaid | Self::UnknownThenPaid => {
                ("paid{}", GoesBack::Nothing)
            }
            Self::Overpaid => ("paid{overpaid}", GoesBack::Excess),
            Self::Underpaid => ("held{underpaid}", GoesBack::Nothing),
            Self::CancelledThenPaid => ("refunded{paid_after_cancel}", GoesBack::Everything),
        }
    }

    fn payment(self, reference: &str, expected_sen: i64, difference_sen: i64) -> SimPayment {
        let script = match self {
            Self::Exact | Self::CancelledThenPaid => vec![],
            Self::Overpaid => vec![Answer::paid_amount(expected_sen + difference_sen)],
            Self::Underpaid => vec![Answer::paid_amount(expected_sen - difference_sen)],
            Self::FailedThenPaid => vec![Answer::status("06"), Answer::paid()],
            Self::NotFoundThenPaid => vec![Answer::not_found(), Answer::status("07"), Answer::paid()],
            Self::UnknownThenPaid => vec![Answer::fault(Fault::http(504, "00")), Answer::status("14"), Answer::paid()],
        };
        let payment = SimPayment::exact(reference, expected_sen).answering(script);
        SimPayment { reference_no: format!("R-{reference}"), ..payment }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GoesBack {
    Nothing,
    Excess,
    Everything,
}

/// An expected payment of the day.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) id: i64,
    pub(super) reference: String,
    pub(super) kind: Kind,
    /// A kill met it in the window that it was aimed at.
    pub(super) was_hit: bool,
    ends: &'static str,
    returned_sen: i64,
}

/// A shop, its payments so far, and the program that is killed again and again.
pub(super) struct Day {
    pub(super) shop: Shop,
    pub(super) rng: Rng,
    pub(super) rows: Vec<Row>,
    daemon: Option<Daemon>,
    name: &'static str,
}

impl Day {
    /// A day drawn from a seed. One excess has already gone back alone and proved itself, so that others may follow.
    pub(super) async fn begin(name: &'static str, seed: u64) -> Self {
        let shop = Shop::open(ACCOUNT_LINES, SECTIONS).await;
        let mut day = Self { shop, rng: Rng::new(seed), rows: Vec::new(), daemon: None, name };
        let first = day.sell(Kind::Overpaid).await;
        day.rekon();
        day.shop.until("select partial_proven from rekon.account_controls", "true").await;
        assert_eq!(day.refund_of(&first, "state").await, "confirmed");
        day
    }

    /// The program, started where it does not run.
    pub(super) fn rekon(&mut self) -> &mut Daemon {
        let (config, env) = (&self.shop.config_text, self.shop.env());
        self.daemon.get_or_insert_with(|| Daemon::spawn(config, &env))
    }

    /// `kill -9`.
    pub(super) fn kill_9(&mut self) {
        if let Some(daemon) = self.daemon.take() {
            daemon.kill_9();
        }
    }

    /// One more payment, of this kind.
    pub(super) async fn sell(&mut self, kind: Kind) -> Row {
        let reference = format!("{}{:03}", self.name, self.rows.len());
        let expected_sen = self.rng.between(10_000, 100_000) * 100;
        let difference_sen = self.rng.between(1, 9_000) * 100;
        let cancelled = [("order_status", "'cancelled'")];
        let columns: &[_] = if kind == Kind::CancelledThenPaid { &cancelled } else { &[] };
        let id = self.shop.expect(kind.payment(&reference, expected_sen, difference_sen), columns).await;
        let (ends, goes_back) = kind.end();
        let returned_sen = match goes_back {
            GoesBack::Nothing => 0,
            GoesBack::Excess => difference_sen,
            GoesBack::Everything => expected_sen,
        };
        let row = Row { id, reference, kind, was_hit: false, ends, returned_sen };
        self.rows.push(row.clone());
        row
    }

    /// One more payment, of one of these kinds.
    pub(super) async fn sell_one_of(&mut self, kinds: &[Kind]) -> Row {
        let kind = *self.rng.pick(kinds).expect("kinds are given");
        self.sell(kind).await
    }

    /// Remembers whether the kill that this row was for hit its window.
    pub(super) fn aimed_at(&mut self, target: &Row, hit: bool) -> bool {
        self.rows.iter_mut().filter(|row| row.id == target.id).for_each(|row| row.was_hit = hit);
        hit
    }

    /// A gate for this row's calls of a service.
    pub(super) fn gate(&self, point: GatePoint, service: Service, row: &Row) -> rekon::sim::Gate {
        let partner_reference_no = Some(row.reference.clone());
        self.shop.sim.world().arm_gate(GateSpec { point, service, partner_reference_no })
    }

    /// A column of the row's one refund; `-` where there is none.
    pub(super) async fn refund_of(&self, row: &Row, column: &str) -> String {
        let sql = format!("select (select {column} from rekon.refund_saga where transaction_id = {})", row.id);
        self.shop.db.text(&sql).await
    }

    /// How often the provider was called for the row's refund, and how often it moved money.
    pub(super) fn refund_calls(&self, row: &Row) -> (u64, usize) {
        let entry = self.shop.sim.world().book_entry("", &row.reference).expect("the provider knows it");
        (entry.refund_calls, entry.returned.len())
    }

    /// Lets the program run to the end of the day and stop, then proves that the day ended as it should have.
    pub(super) async fn ends_well(&mut self) {
        self.rekon();
        for row in &self.rows {
            let refunded = "select (refunded_amount * 100)::bigint from rekon.transactions where id";
            self.shop.until(&format!("{refunded} = {}", row.id), &row.returned_sen.to_string()).await;
            self.shop.until(&Shop::end_of(row.id), row.ends).await;
        }
        let ended = self.daemon.take().expect("it runs").terminate().await;
        assert_eq!(ended.code, Some(0), "{}", ended.said);
        self.books_are_equal().await;
        self.nothing_is_left_over().await;
        let verified = Daemon::command("verify", &self.shop.config_text, &self.shop.env()).end().await;
        assert_eq!(verified.code, Some(0), "the ledger is not proved by what is stored: {}", verified.said);
    }

    async fn books_are_equal(&self) {
        let book = self.shop.sim.world().book();
        assert_eq!(book.refunded_more_than_once(), Vec::<&rekon::sim::BookEntry>::new());
        assert_eq!(book.returned_beyond_taken().len(), 0);
        for row in &self.rows {
            let entry = self.shop.sim.world().book_entry("", &row.reference).expect("the provider knows it");
            let sql = format!("select (refunded_amount * 100)::bigint from rekon.transactions where id = {}", row.id);
            let refunded_sen = self.shop.db.value::<i64>(&sql).await;
            let returned_sen = entry.returned_sen();
            assert_eq!((refunded_sen, returned_sen), (row.returned_sen, row.returned_sen), "{row:?}");
        }
        let clearing =
            "select (sum(debit - credit) * 100)::bigint from rekon.postings where account = 'provider_clearing'";
        assert_eq!(self.shop.db.value::<i64>(clearing).await, book.taken_sen - book.returned_sen);
        assert_eq!(self.shop.db.text("select sum(debit) = sum(credit) from rekon.postings").await, "true");
        assert_eq!(self.shop.sim.world().external_id_reuses(CLIENT), 0);
    }

    async fn nothing_is_left_over(&self) {
        for left_over in [
            "select count(*) from rekon.transactions where lease_until is not null or lease_owner is not null",
            "select count(*) from rekon.refund_saga where lease_until is not null or lease_owner is not null",
            "select count(*) from rekon.refund_saga where state not in ('confirmed', 'expired')",
            "select count(*) from rekon.transactions where refund_reserved <> 0",
            // A chain without a gap or a fork, whoever wrote its links.
            "select count(*) from (select entry_no, prev_hash, lag(hash) over w as before, row_number() over w as nth
               from rekon.journal window w as (partition by transaction_id order by entry_no)) j
              where entry_no <> nth or nth > 1 and prev_hash <> before",
            "select count(*) from rekon.transactions t join lateral (select max(entry_no) as n from rekon.journal where transaction_id = t.id) j
               on true where j.n <> t.journal_no",
        ] {
            assert_eq!(self.shop.db.text(left_over).await, "0", "{left_over}");
        }
    }
}
