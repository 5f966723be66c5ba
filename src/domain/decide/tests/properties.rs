//! The invariants, on random histories: whatever providers, merchants, people and crashes do, money stays accounted for.
//! The world (`super::world`) checks after every step what must always hold; here it is driven.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::{
    build::{self, DAY, HOUR, auto, case, paid, profile, says, silence, t, wrong},
    world::{Event, Fault, World},
};
use crate::domain::{
    case::{Case, Terms},
    decide::decide,
    fact::Answer,
    money::Sen,
    observation::Observation,
    order::{Direction, OrderStatus},
    policy::{FlagAction, Policy, RefundMode},
    posting::{LedgerAccount, Money, Moved, postings, target_balances},
    profile::RefundRepeat,
    refund::{Channel, Proof, RefundState},
    saga,
    state::{Flag, State},
    window::{Hours, RefundWindow},
};

fn quiet_observation() -> impl Strategy<Value = Observation> {
    prop::sample::select(vec![
        Observation::Open,
        Observation::InFlight,
        Observation::Cancelled,
        Observation::Expired,
        Observation::Failed,
        Observation::Absent,
    ])
}

fn paid_answer() -> impl Strategy<Value = Answer> {
    let amount = prop_oneof![
        6 => Just(100_000),
        3 => Just(150_000),
        1 => Just(60_000),
        1 => Just(1_000_000),
    ];
    let currency = prop_oneof![9 => Just("IDR"), 1 => Just("USD")];
    let payment = prop_oneof![9 => Just("RRN-1"), 1 => Just("RRN-2")];
    let time = prop::option::weighted(0.3, -HOUR..4 * HOUR);
    (amount, currency, payment, time).prop_map(|(rupiah, currency, payment, time)| {
        let mut answer = paid(rupiah);
        answer.currency = Some(currency.into());
        answer.payment_id = Some(payment.into());
        answer.paid_time = time.map(t);
        answer
    })
}

fn any_answer() -> impl Strategy<Value = Answer> {
    prop_oneof![
        6 => paid_answer(),
        4 => quiet_observation().prop_map(says),
        2 => Just(silence()),
        1 => Just(wrong()),
        1 => Just(says(Observation::Reversed)),
    ]
}

/// Mostly early, sometimes after the watch has ended.
fn any_time() -> impl Strategy<Value = i64> {
    prop_oneof![4 => 0..2 * HOUR, 1 => 0..7 * DAY]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let mode = prop::sample::select(vec![RefundMode::Auto, RefundMode::Auto, RefundMode::Propose, RefundMode::Off]);
    // Everything that the configuration accepts.
    let free = || prop::sample::select(vec![FlagAction::Hold, FlagAction::Accept, FlagAction::RefundFull]);
    let over = prop::sample::select(vec![FlagAction::Hold, FlagAction::Accept, FlagAction::RefundDifference]);
    let limit = prop::sample::select(vec![1_000, 60_000, 1_000_000]);
    (mode, over, free(), free(), free(), free(), limit).prop_map(|(mode, over, cancel, close, late, under, limit)| {
        let mut policy = auto();
        policy.refunds.mode = mode;
        policy.refunds.auto_limit_sen = Sen::rupiah(limit).sen();
        policy.flags.overpaid = over;
        policy.flags.paid_after_cancel = cancel;
        policy.flags.paid_after_close = close;
        policy.flags.paid_late = late;
        policy.flags.underpaid = under;
        policy
    })
}

fn any_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Nudge),
        2 => Just(Event::Becomes(OrderStatus::Cancelled)),
        1 => Just(Event::Becomes(OrderStatus::Fulfilled)),
        1 => (HOUR..6 * DAY).prop_map(Event::ValidUntil),
        1 => any_policy().prop_map(|p| Event::Policy(Box::new(p))),
        2 => Just(Event::Approve),
        1 => Just(Event::Deny),
        3 => Just(Event::Transfer),
        1 => Just(Event::SentBack),
        1 => Just(Event::Candidate),
    ]
}

pub(super) fn any_fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::None,
        Fault::LostAfter,
        Fault::LostBefore,
        Fault::CrashAfter,
        Fault::CrashBefore,
        Fault::Later,
        Fault::Refuse,
        Fault::Close,
        Fault::NoAmount,
    ])
}

fn any_direction() -> impl Strategy<Value = Direction> {
    prop_oneof![9 => Just(Direction::In), 1 => Just(Direction::Out)]
}

pub(super) fn any_world() -> impl Strategy<Value = World> {
    let script = prop::collection::vec((any_time(), any_answer()), 1..7);
    let events = prop::collection::vec((any_time(), any_event()), 0..8);
    let faults = prop::collection::vec(any_fault(), 0..5);
    let ability = prop::sample::select(vec![
        None,
        Some((true, RefundRepeat::Safe)),
        Some((true, RefundRepeat::Safe)),
        Some((true, RefundRepeat::Unproven)),
        Some((false, RefundRepeat::Safe)),
    ]);
    (script, events, faults, any_policy(), (ability, any_window()), any_direction()).prop_map(
        |(mut script, events, faults, policy, (ability, window), direction)| {
            script.sort_by_key(|(at, _)| *at);
            let took = script.iter().filter_map(|(_, a)| a.amount).max();
            let mut world = World::new(script);
            world.provider.took = took.unwrap_or(Sen::ZERO);
            world.provider.faults = faults;
            world.policy = policy;
            world.case.order.direction = direction;
            world.events = legal(events);
            if let Some(profile) = &mut world.profile {
                profile.refund = profile.refund.take().zip(ability).map(|(mut api, (partial, repeat))| {
                    api.partial = partial;
                    api.repeat = repeat;
                    api.window = window;
                    api
                });
            }
            world
        },
    )
}

/// Mostly none; else an age, an end, or hours in which nothing is taken.
fn any_window() -> impl Strategy<Value = RefundWindow> {
    let hours = prop::sample::select(vec![vec![], vec![], vec!["10:05-10:30"], vec!["10:00-11:00", "11:00-09:00"]]);
    let min = prop::sample::select(vec![None, None, Some(900), Some(2 * HOUR)]);
    let max = prop::sample::select(vec![None, None, Some(3 * HOUR), Some(2 * DAY)]);
    (hours, min, max).prop_map(|(hours, min_age_secs, max_age_secs)| RefundWindow {
        min_age_secs,
        max_age_secs,
        blackout: hours.into_iter().filter_map(Hours::parse).collect(),
    })
}

/// Only what the table's trigger lets a merchant do: fulfilled and cancelled are not undone, validity only grows.
fn legal(mut events: Vec<(i64, Event)>) -> Vec<(i64, Event)> {
    events.sort_by_key(|(at, _)| *at);
    let mut status = OrderStatus::Open;
    let mut validity = build::VALID_SECS;
    events.retain(|(_, event)| match event {
        Event::Becomes(to) => {
            let ok = status != *to && status != OrderStatus::Cancelled;
            status = if ok { *to } else { status };
            ok
        }
        Event::ValidUntil(secs) => {
            let ok = *secs > validity;
            validity = validity.max(*secs);
            ok
        }
        Event::Nudge
        | Event::Policy(_)
        | Event::Approve
        | Event::Deny
        | Event::Transfer
        | Event::SentBack
        | Event::Candidate => true,
    });
    events
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World")
            .field("script", &self.provider.script)
            .field("faults", &self.provider.faults)
            .field("events", &self.events)
            .field("policy", &self.policy)
            .field("refunds", &self.profile.as_ref().map(|p| &p.refund))
            .finish_non_exhaustive()
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn whatever_happens_money_stays_accounted_for(mut world in any_world()) {
        let tells_of_reversals = world.provider.script.iter().any(|(_, a)| a.observation == Observation::Reversed);
        world.run(9 * DAY);
        let open = world.case.refunds.iter().any(|r| r.state.holds_reservation());
        if !open && !tells_of_reversals {
            let confirmed = world.case.refunds.iter()
                .filter(|r| r.state == RefundState::Confirmed)
                .fold(Sen::ZERO, |sum, r| sum.plus(r.amount));
            let gone = world.provider.total_returned().plus(world.transferred);
            prop_assert_eq!(confirmed, gone, "our books are not the provider's and the bank's");
            let bank = world.case.balances.get(&LedgerAccount::Bank).copied().unwrap_or(0);
            prop_assert_eq!(bank, -world.transferred.sen(), "the bank's account is not what was transferred");
        }
        let foreign = world.case.first_paid().is_some_and(|f| f.answer.currency.as_deref() != Some("IDR"));
        prop_assert!(!foreign || world.provider.returned.is_empty(), "money left under another currency");
        let fulfilled_at = world.case.changes.iter().find(|c| c.to == OrderStatus::Fulfilled).map(|c| c.at);
        let taken_back = world.case.refunds.iter()
            .any(|r| r.is_own_money() && r.attempts == 1 && fulfilled_at.is_some_and(|at| r.last_sent_at > Some(at)));
        prop_assert!(!taken_back, "a fulfilled order was refunded");
    }

    #[test]
    fn crashes_and_lost_answers_end_where_a_quiet_day_ends(
        faults in prop::collection::vec(
            prop::sample::select(vec![
                Fault::None, Fault::LostAfter, Fault::LostBefore, Fault::CrashAfter, Fault::CrashBefore, Fault::Later,
            ]),
            0..5,
        ),
        cancelled in any::<bool>(),
    ) {
        let play = |faults: Vec<Fault>| {
            let mut world = World::new(vec![(0, says(Observation::Open)), (200, paid(150_000))]);
            world.provider.faults = faults;
            if cancelled {
                world.events.push((100, Event::Becomes(OrderStatus::Cancelled)));
            }
            world.run(9 * DAY);
            (world.row(), world.provider.total_returned(), world.provider.returned.len(), world.case.balances)
        };
        prop_assert_eq!(play(faults), play(Vec::new()));
    }

    #[test]
    fn silence_in_any_number_is_never_a_verdict(times in prop::collection::vec(0..20 * DAY, 0..60), now in 0..30 * DAY) {
        let mut times = times;
        times.sort_unstable();
        let case = times.iter().fold(case(), |c, at| c.hear(*at, silence()));
        let profile = profile();
        let terms = Terms { profile: Some(&profile), policy: &auto() };
        let decision = decide(&case, &terms, t(now));
        prop_assert!(matches!(decision.state, State::Pending | State::Review));
        prop_assert!(decision.flags.open.iter().all(|f| *f == Flag::Stuck));
        prop_assert!(decision.actions.is_empty() && decision.postings.is_empty());
        prop_assert!(decision.next_check_at.is_some());
    }

    #[test]
    fn silence_between_answers_changes_nothing_but_the_next_look(
        answers in prop::collection::vec((1..40i64, any_answer()), 1..8),
        at in any::<prop::sample::Index>(),
        many in 1..5i64,
    ) {
        let place = at.index(answers.len());
        let tell = |noisy: bool| {
            let mut told = case();
            let mut secs = 0;
            for (nth, (gap, answer)) in answers.iter().enumerate() {
                secs += gap * 60;
                if noisy && nth == place {
                    told = (1..=many).fold(told, |c, n| c.hear(secs - 10 + n, silence()));
                }
                told = told.hear(secs, answer.clone());
            }
            (told, t(secs + 1))
        };
        let profile = profile();
        let policy = auto();
        let terms = Terms { profile: Some(&profile), policy: &policy };
        let ((quiet, now), (noisy, _)) = (tell(false), tell(true));
        let (a, b) = (decide(&quiet, &terms, now), decide(&noisy, &terms, now));
        prop_assert_eq!(a.state, b.state);
        prop_assert_eq!(a.flags, b.flags);
        prop_assert_eq!(a.postings, b.postings);
        prop_assert_eq!(a.paid_amount, b.paid_amount);
    }

    #[test]
    fn one_more_sighting_in_time_changes_nothing_but_the_next_look(
        observation in prop::sample::select(vec![
            Observation::Open, Observation::Absent, Observation::InFlight, Observation::Failed,
        ]),
        paid_before in any::<bool>(),
    ) {
        let paid_before = paid_before && observation != Observation::Failed;
        let mut case = case();
        if paid_before {
            case = case.hear(1, paid(150_000));
        }
        let once = case.hear(100, says(observation));
        let mut twice = once.clone();
        if let Some(fact) = twice.facts.last_mut() {
            fact.sightings += 1;
            fact.last_at = t(301);
            fact.last_sent_at = t(300);
        }
        let profile = profile();
        let policy = auto();
        let terms = Terms { profile: Some(&profile), policy: &policy };
        let (a, b) = (decide(&once, &terms, t(301)), decide(&twice, &terms, t(301)));
        prop_assert_eq!((a.state, a.flags, a.actions, a.postings), (b.state, b.flags, b.actions, b.postings));
    }

    #[test]
    fn no_case_however_odd_makes_decide_or_the_saga_panic(case in any_case(), policy in any_policy(), now in 0..40 * DAY) {
        let profile = profile();
        let terms = Terms { profile: Some(&profile), policy: &policy };
        let decision = decide(&case, &terms, t(now));
        prop_assert!(!decision.because.is_empty());
        prop_assert_eq!(decision.postings.iter().map(|p| p.sen).sum::<i64>(), 0);
        prop_assert!(case.first_paid().is_none() || !matches!(decision.state, State::Pending | State::Unpaid));
        for refund in &case.refunds {
            let step = saga::next_step(&case, refund, &terms, t(now));
            let leaves = matches!(step, saga::Step::Send | saga::Step::Reserve);
            prop_assert!(!leaves || policy.refunds.mode != RefundMode::Off);
        }
    }

    #[test]
    fn target_balances_add_up_to_zero_and_postings_lead_there(
        paid in 0..10_000_000_i64,
        excess in 0..10_000_000_i64,
        state in prop::sample::select(State::ALL.to_vec()),
        cause in prop::option::of(prop::sample::select(Flag::ALL.to_vec())),
        overpaid_open in any::<bool>(),
        refunds in prop::collection::vec(
            (
                prop::sample::select(Flag::ALL.to_vec()), 0..5_000_000_i64, prop::sample::select(RefundState::ALL.to_vec()),
                prop::sample::select(Channel::ALL.to_vec()),
            ), 0..4,
        ),
        before in prop::collection::vec((prop::sample::select(Flag::ALL.to_vec()), -9_000..9_000_i64), 0..4),
    ) {
        let refunds: Vec<_> = refunds
            .into_iter()
            .map(|(cause, sen, state, channel)| Moved { cause, amount: Sen::new(sen), state, channel })
            .collect();
        let money = Money {
            paid: Sen::new(paid), outside: Sen::ZERO, excess: Sen::new(excess.min(paid)), state, cause, overpaid_open, refunds: &refunds,
        };
        let target = target_balances(&money);
        prop_assert_eq!(target.values().sum::<i64>(), 0);
        let rests = matches!(state, State::Paid | State::Refunded | State::PartlyRefunded);
        prop_assert!(rests || !target.contains_key(&LedgerAccount::MerchantPayable), "the merchant was given money at risk");
        let mut books: BTreeMap<LedgerAccount, i64> = BTreeMap::new();
        for (flag, sen) in before {
            *books.entry(LedgerAccount::Suspense(flag)).or_default() += sen;
            *books.entry(LedgerAccount::ProviderClearing).or_default() -= sen;
        }
        let lines = postings(&books, &target);
        prop_assert_eq!(lines.iter().map(|p| p.sen).sum::<i64>(), 0);
        for line in lines {
            *books.entry(line.account).or_default() += line.sen;
        }
        books.retain(|_, sen| *sen != 0);
        prop_assert_eq!(books, target);
    }

    #[test]
    fn a_refund_number_is_a_pure_name_of_what_it_pays(
        inputs in prop::collection::vec(("[a-c]{0,3}", "[a-c]{0,3}", "[a-c]{0,3}", "[a-c]{0,3}", 1..4), 1..40),
    ) {
        let mut numbers = BTreeSet::new();
        let distinct: BTreeSet<_> = inputs.into_iter().collect();
        for (provider, client, merchant, reference, sequence) in &distinct {
            let no = saga::partner_refund_no(provider, client, merchant, reference, Flag::Overpaid, *sequence);
            prop_assert!(no.len() <= 32 && no.bytes().all(|b| b.is_ascii_alphanumeric()));
            let again = saga::partner_refund_no(provider, client, merchant, reference, Flag::Overpaid, *sequence);
            prop_assert_eq!(&no, &again);
            numbers.insert(no);
        }
        prop_assert_eq!(numbers.len(), distinct.len());
    }
}

/// Any facts beside any refunds, also such as no history leads to.
fn any_case() -> impl Strategy<Value = Case> {
    let facts = prop::collection::vec((any_time(), any_answer()), 0..8);
    let refund = (
        prop::sample::select(Flag::ALL.to_vec()),
        1..200_000_i64,
        prop::sample::select(RefundState::ALL.to_vec()),
        prop::option::of(prop::sample::select(vec![Proof::Answer, Proof::Query])),
        prop::option::of(0..DAY),
        prop::option::of(Just(Flag::RefundUnknown)),
    );
    let refunds = prop::collection::vec(refund, 0..3);
    let prior = prop::sample::select(State::ALL.to_vec());
    let closed = prop::option::of(0..9);
    let status = prop::sample::select(vec![OrderStatus::Open, OrderStatus::Fulfilled, OrderStatus::Cancelled]);
    (facts, refunds, prior, closed, status, any_direction()).prop_map(
        |(mut facts, refunds, prior, closed, status, direction)| {
            facts.sort_by_key(|(at, _)| *at);
            let mut case = facts.into_iter().fold(case(), |c, (at, answer)| c.hear(at, answer));
            case.order.order_status = status;
            case.order.direction = direction;
            case.prior.state = prior;
            case.prior.closed_seq = closed;
            for (id, (cause, rupiah, state, proof, ended, needs_person)) in (1..).zip(refunds) {
                let mut refund = build::refund(cause, rupiah, state);
                refund.id = id;
                refund.proof = proof;
                refund.last_ended_at = ended.map(t);
                refund.needs_person = needs_person;
                case.refunds.push(refund);
            }
            case
        },
    )
}
