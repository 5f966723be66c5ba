//! The merchants: they expect payments in batches, each kind of the grammar as often as any other, cancel and fulfil some of
//! their orders while rekon is at work, and have cashiers who cannot wait.

use std::time::Instant;

use rekon::sim::{Answer, FaultKind, RefundBehaviour, Rng, SimPayment, play};

use super::{
    Size,
    crew::Crew,
    ends::{Expected, Turn},
};

/// Payments put down at once.
const BATCH: usize = 500;
/// Of so many payments one is never paid, and the excess of one is refused for good.
const ODD_ONES: usize = 50;
/// Rows that nobody has asked about yet, at most, before more are sold.
const UNASKED_MAX: i64 = 3_000;

pub(super) struct Merchant {
    rng: Rng,
    size: Size,
}

/// One line of the merchants' table.
struct Line {
    expected: Expected,
    payment: SimPayment,
    valid_secs: Option<i64>,
    is_cancelled: bool,
    turn: Turn,
}

impl Merchant {
    pub(super) fn open(size: Size) -> Self {
        Self { rng: Rng::new(size.seed), size }
    }

    /// Sells everything, while the crew is at its work; what must become of each payment.
    pub(super) async fn sell_all(mut self, crew: &mut Crew) -> Vec<Expected> {
        let mut all = self.first_of_each_account(crew).await;
        let kinds = self.kinds();
        for (nth, batch) in kinds.chunks(BATCH).enumerate() {
            let lines: Vec<Line> =
                batch.iter().enumerate().map(|(at, kind)| self.draw(*kind, nth * BATCH + at)).collect();
            let now = crew.now().await;
            insert(crew, &lines, &now).await;
            self.change_minds(crew, &lines).await;
            all.extend(lines.into_iter().map(|line| line.expected));
            crew.work_until_few_are_unasked(UNASKED_MAX, &all).await;
        }
        all
    }

    /// Sells what nothing goes wrong with, all at once.
    pub(super) async fn sell_a_heap(&mut self, crew: &mut Crew, from: usize, count: usize) -> Vec<Expected> {
        let lines: Vec<Line> = (from..from + count).map(|nth| self.draw(FaultKind::Ok, nth)).collect();
        let now = crew.now().await;
        for batch in lines.chunks(BATCH) {
            insert(crew, batch, &now).await;
        }
        self.change_minds(crew, &lines).await;
        lines.into_iter().map(|line| line.expected).collect()
    }

    /// Sells without pause until then, as many at once as keep so many unasked; something is wrong with one in ten.
    pub(super) async fn sell_until(
        &mut self,
        crew: &mut Crew,
        until: Instant,
        unasked: usize,
        all: &mut Vec<Expected>,
    ) {
        while Instant::now() < until {
            let from = all.len();
            let lines: Vec<Line> = (from..from + unasked / 2)
                .map(|nth| {
                    let any = *self.rng.pick(&FaultKind::ALL[1..]).expect("there are faults");
                    let kind = if self.rng.between(0, 9) == 0 { any } else { FaultKind::Ok };
                    self.draw(kind, nth)
                })
                .collect();
            let now = crew.now().await;
            insert(crew, &lines, &now).await;
            self.change_minds(crew, &lines).await;
            all.extend(lines.into_iter().map(|line| line.expected));
            crew.work_until_few_are_unasked(i64::try_from(unasked / 2).expect("few"), all).await;
        }
    }

    /// The first difference of an account goes back alone and proves itself; then others may follow.
    pub(super) async fn first_of_each_account(&mut self, crew: &mut Crew) -> Vec<Expected> {
        let mut lines = Vec::new();
        for account in 0..self.size.accounts {
            let payment = SimPayment::exact(format!("FIRST{account}"), 5_000_000);
            let mut payment = payment.answering([Answer::paid_amount(5_700_000)]);
            payment.reference_no = format!("R-FIRST{account}");
            payment.client_id = Crew::client_id(account);
            let expected = Expected {
                reference: payment.partner_reference_no.clone(),
                account,
                kind: FaultKind::Ok,
                ends: vec![("paid{overpaid}".to_owned(), 700_000)],
                is_told_truly: true,
            };
            lines.push(Line { expected, payment, valid_secs: None, is_cancelled: false, turn: Turn::Stays });
        }
        let now = crew.now().await;
        insert(crew, &lines, &now).await;
        crew.wait_for_proven_accounts().await;
        lines.into_iter().map(|line| line.expected).collect()
    }

    /// Every kind equally often, in an order drawn from the seed. Runs of one kind are what makes a 429 a storm.
    fn kinds(&mut self) -> Vec<FaultKind> {
        let run = (self.size.payments / FaultKind::ALL.len() / 6).clamp(1, 64);
        let mut kinds = Vec::with_capacity(self.size.payments);
        while kinds.len() < self.size.payments {
            let mut round = FaultKind::ALL;
            for last in (1..round.len()).rev() {
                let other = self.rng.between(0, i64::try_from(last).expect("few"));
                round.swap(last, usize::try_from(other).expect("few"));
            }
            kinds.extend(round.iter().flat_map(|kind| std::iter::repeat_n(*kind, run)));
        }
        kinds.truncate(self.size.payments);
        kinds
    }

    fn draw(&mut self, kind: FaultKind, nth: usize) -> Line {
        let expected_sen = self.rng.between(10_000, 100_000) * 100;
        // Neighbours are of one kind: they go to one account, whose storm it is.
        let account = nth / 8 % self.size.accounts;
        let reference = format!("S{nth:07}");
        let is_never_paid = nth % ODD_ONES == ODD_ONES - 1;
        if is_never_paid || nth % ODD_ONES == ODD_ONES / 2 {
            let payment = SimPayment::exact(&reference, expected_sen);
            let (payment, expected) = if is_never_paid {
                (payment.answering([Answer::status("01")]), Expected::never_paid(reference.clone(), account))
            } else {
                let refusal = RefundBehaviour::Refuse { response_code: "4037815".to_owned() };
                let payment = payment.answering([Answer::paid_amount(expected_sen + 500_000)]).refunding([refusal]);
                (payment, Expected::refused_for_good(reference.clone(), account))
            };
            let payment =
                SimPayment { reference_no: format!("R-{reference}"), client_id: Crew::client_id(account), ..payment };
            let valid_secs = is_never_paid.then_some(1);
            return Line { expected, payment, valid_secs, is_cancelled: false, turn: Turn::Stays };
        }
        let mut play = play(kind, expected_sen, &mut self.rng);
        play.payment.partner_reference_no.clone_from(&reference);
        play.payment.reference_no = format!("R-{reference}");
        play.payment.client_id = Crew::client_id(account);
        let is_cancelled = play.truth == rekon::sim::Truth::Cancelled;
        let may_turn = matches!(kind, FaultKind::Ok | FaultKind::Slow) && play.truth == rekon::sim::Truth::Exact;
        let turn = match self.rng.between(0, 3) {
            0 if may_turn => Turn::Cancels,
            1 if may_turn => Turn::Fulfils,
            _ => Turn::Stays,
        };
        let expected = Expected::of(&play, account, turn);
        Line { expected, payment: play.payment, valid_secs: play.valid_secs, is_cancelled, turn }
    }

    /// Some cancel and some fulfil, while rekon is asking.
    async fn change_minds(&mut self, crew: &mut Crew, lines: &[Line]) {
        for (turn, status) in [(Turn::Cancels, "cancelled"), (Turn::Fulfils, "fulfilled")] {
            let who: Vec<&str> =
                lines.iter().filter(|line| line.turn == turn).map(|line| line.expected.reference.as_str()).collect();
            if !who.is_empty() {
                let who = format!("'{{{}}}'::text[]", who.join(","));
                crew.run(&format!(
                    "update rekon.transactions set order_status = '{status}' where partner_reference_no = any ({who}) and order_status = 'open'"
                ))
                .await;
            }
            let pause = self.rng.between(20, 200).unsigned_abs();
            tokio::time::sleep(std::time::Duration::from_millis(pause)).await;
        }
    }
}

/// The provider knows them, and the merchants write them down. Tried again until the database has them all.
async fn insert(crew: &mut Crew, lines: &[Line], now: &str) {
    let mut values = Vec::with_capacity(lines.len());
    for Line { expected, payment, valid_secs, is_cancelled, .. } in lines {
        let mut payment = payment.clone();
        payment.registered_at = valid_secs.is_some().then(|| now.parse().expect("a time"));
        let expires =
            valid_secs.map_or("null".to_owned(), |secs| format!("'{now}'::timestamptz + interval '{secs} seconds'"));
        let status = if *is_cancelled { "cancelled" } else { "open" };
        let rupiah = format!("{}.{:02}", payment.expected_sen / 100, payment.expected_sen % 100);
        values.push(format!(
            "('{}', '{}', '{}', {rupiah}, '{status}', '{now}'::timestamptz, {expires})",
            Crew::account(expected.account),
            payment.partner_reference_no,
            payment.reference_no,
        ));
        crew.sim.world().add_payment(payment).expect("it is new");
    }
    crew.run(&format!(
        "insert into rekon.transactions (account, partner_reference_no, reference_no, amount, order_status, created_at, expires_at) values {}
         on conflict do nothing",
        values.join(",")
    ))
    .await;
}
