//! `rekon explain`: why a row stands where it stands, from the evidence that is stored.

use std::fmt::Write as _;

use serde_json::Value;

use crate::{
    cli::{
        context::Context,
        exit::{Exit, Failure},
        output::{or_dash, table, wib, wib_or_dash},
        transactions, wiring,
    },
    domain::money::Sen,
    engine::explain::{self, Because, Explanation, Lang},
    store::reads::evidence::{EntryRow, FactRow},
};

/// Characters of an answer shown beside its fact; `--json` has more of it.
const EXCERPT_SHOWN: usize = 300;

/// Explain why a payment stands where it stands
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: rekon explain doku-main/INV-1 --lang id")]
pub(crate) struct Explain {
    /// A partner_reference_no, or ACCOUNT/REF where it stands on several accounts
    #[arg(value_name = "REF")]
    reference: String,
    /// The language: en or id; without it the one that REKON_LANG names, else en
    #[arg(long, value_name = "LANG", value_parser = ["en", "id"])]
    lang: Option<String>,
}

impl Explain {
    pub(crate) fn run(self, context: &Context) -> Result<Exit, Failure> {
        let chosen = self.lang.as_deref().or_else(|| context.variable("REKON_LANG"));
        let lang = chosen.and_then(Lang::from_word).unwrap_or_default();
        let explanation = context.with_database(async |session| {
            let rulebook = wiring::rulebook(session.config)?;
            Ok(explain::explain(&session.store, &rulebook, &self.reference, lang).await?)
        })?;
        context.out.document(&explanation, || page(&explanation, lang))?;
        Ok(Exit::Clean)
    }
}

fn page(explanation: &Explanation, lang: Lang) -> String {
    let mut parts =
        vec![transactions::card(&explanation.transaction), why(explanation, lang), timeline(explanation, lang)];
    if let Some(facts) = facts(explanation, lang) {
        parts.push(facts);
    }
    if !explanation.refunds.is_empty() {
        parts.push(refunds(explanation, lang));
    }
    if !explanation.journal.is_empty() {
        parts.push(journal(&explanation.journal, lang));
    }
    if !explanation.balances.is_empty() {
        let rows =
            explanation.balances.iter().map(|b| vec![b.account.clone(), b.side.to_owned(), b.amount.to_string()]);
        let heading = lang.pick("Where its money is", "Di mana uangnya");
        parts.push(format!("{heading}\n{}", table(&["account", "", "rupiah"], &[2], rows)));
    }
    let next = lang.pick("What next, and what would change it", "Berikutnya, dan apa yang mengubahnya");
    parts.push(format!("{next}\n  {}", explanation.what_next.join("\n  ")));
    if let Some(answer) = &explanation.last_answer {
        parts.push(format!("{}\n  {answer}", lang.pick("Last answer as it came", "Jawaban terakhir apa adanya")));
    }
    parts.join("\n\n")
}

/// What became of each fact, with the start of its body.
fn facts(explanation: &Explanation, lang: Lang) -> Option<String> {
    let mut text = lang.pick("Facts used and ignored", "Fakta yang dipakai dan diabaikan").to_owned();
    for fact in &explanation.facts {
        let became = match fact.ignored {
            None => lang.pick("used", "dipakai").to_owned(),
            Some(why) => format!("{}: {why}", lang.pick("ignored", "diabaikan")),
        };
        write!(text, "\n  #{} {}", fact.row.seq, became).unwrap_or_default();
        if let Some(excerpt) = &fact.excerpt {
            let short: String = excerpt.chars().take(EXCERPT_SHOWN).collect();
            write!(text, "\n      {short}").unwrap_or_default();
        }
    }
    (!explanation.facts.is_empty()).then_some(text)
}

fn why(explanation: &Explanation, lang: Lang) -> String {
    let now = &explanation.now;
    let rules = |reasons: &[Because]| reasons.iter().map(|because| because.rule.clone()).collect::<Vec<_>>();
    let mut text = match explanation.decided_at {
        Some(at) => {
            let heading = lang.pick("Why (decided", "Mengapa (diputuskan");
            format!("{heading} {}){}", wib(at), reasons(&explanation.because))
        }
        None => lang
            .pick(
                "Why\n  No decision has changed the row since it was written.",
                "Mengapa\n  Belum ada keputusan yang mengubah baris ini sejak ditulis.",
            )
            .to_owned(),
    };
    if rules(&now.because) != rules(&explanation.because) {
        let flags = now.flags.join(", ");
        let heading = lang.pick("As it stands now", "Keadaan sekarang");
        write!(text, "\n{heading}: {}{{{flags}}}{}", now.state.as_str(), reasons(&now.because)).unwrap_or_default();
    }
    text
}

fn reasons(reasons: &[Because]) -> String {
    let mut text = String::new();
    for because in reasons {
        let inputs: Vec<String> = because
            .inputs
            .as_object()
            .into_iter()
            .flatten()
            .map(|(name, value)| format!("{name}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        let facts: Vec<String> = because.facts.iter().map(|seq| format!("#{seq}")).collect();
        let details = [inputs.join(" "), facts.join(" ")].join("  ");
        write!(text, "\n  {}: {}", because.rule, because.sentence).unwrap_or_default();
        if !details.trim().is_empty() {
            write!(text, "\n      {}", details.trim()).unwrap_or_default();
        }
    }
    text
}

/// Facts and the merchant's changes, which share one sequence.
fn timeline(explanation: &Explanation, lang: Lang) -> String {
    let mut lines: Vec<(i32, Vec<String>)> =
        explanation.facts.iter().map(|fact| (fact.row.seq, fact_line(&fact.row))).collect();
    lines.extend(explanation.changes.iter().map(|change| {
        let what = if change.status_from == change.status_to {
            "order changed".to_owned()
        } else {
            format!("order {} -> {}", change.status_from, change.status_to)
        };
        let detail: Vec<String> =
            change.detail.as_object().into_iter().flatten().filter_map(|(n, v)| set(n, v)).collect();
        let cells =
            [format!("#{}", change.seq), wib(change.at), "merchant".into(), what, "-".into(), "-".into(), "-".into()];
        (change.seq, cells.into_iter().chain(["-".to_owned(), detail.join(" ")]).collect())
    }));
    lines.extend(explanation.resolutions.iter().filter_map(|resolution| {
        let who = [Some(resolution.made_by.as_str()), resolution.confirmed_by.as_deref()];
        let who = who.into_iter().flatten().collect::<Vec<_>>().join(" and ");
        let what = [Some(resolution.kind.as_str()), resolution.flag.as_deref()];
        let what = what.into_iter().flatten().collect::<Vec<_>>().join(" ");
        let seq = resolution.seq?;
        let cells = [format!("#{seq}"), wib(resolution.at), who, what, "-".into(), "-".into(), "-".into(), "-".into()];
        Some((seq, cells.into_iter().chain([resolution.reason.clone()]).collect()))
    }));
    if lines.is_empty() {
        return lang.pick("What was said\n  Nothing yet.", "Apa yang dikatakan\n  Belum ada.").to_owned();
    }
    lines.sort_by_key(|(seq, _)| *seq);
    let header = ["seq", "when", "who", "what", "code", "amount", "echo", "seen", "doubt"];
    let heading = lang.pick("What was said", "Apa yang dikatakan");
    format!("{heading}\n{}", table(&header, &[5], lines.into_iter().map(|(_, cells)| cells)))
}

fn set(name: &str, value: &Value) -> Option<String> {
    value.as_str().map(|value| format!("{name}={value}"))
}

fn fact_line(fact: &FactRow) -> Vec<String> {
    let code =
        [fact.response_code.as_deref(), fact.latest_transaction_status.as_deref()].map(|c| c.unwrap_or("-")).join("/");
    let amount = fact.amount.map(|amount| format!("{amount} {}", fact.currency.as_deref().unwrap_or("?")));
    let seen =
        if fact.sightings > 1 { format!("{}x until {}", fact.sightings, wib(fact.last_at)) } else { "once".to_owned() };
    let mut doubts = fact.warnings.clone();
    doubts.extend(fact.doubt.clone());
    doubts.extend(fact.bad_weather.then(|| "bad weather".to_owned()));
    vec![
        format!("#{}", fact.seq),
        wib(fact.answered_at),
        fact.source.clone(),
        fact.observation.clone(),
        code,
        or_dash(amount),
        fact.echo.clone(),
        seen,
        or_dash((!doubts.is_empty()).then(|| doubts.join(", "))),
    ]
}

fn refunds(explanation: &Explanation, lang: Lang) -> String {
    let mut text = lang.pick("Refunds", "Refund").to_owned();
    for refund in &explanation.refunds {
        let proof = refund.proof.as_ref().map_or_else(String::new, |proof| format!(", proved by {proof}"));
        let number = or_dash(refund.partner_refund_no.as_ref());
        write!(text, "\n  {} {} for {}: {}{proof}", number, refund.amount, refund.cause, refund.state.as_str())
            .unwrap_or_default();
        let by = format!("proposed by {}, approved by {}", refund.proposed_by, or_dash(refund.approved_by.as_ref()));
        write!(text, "\n      id {}, {by}, reason {}", refund.refund_id, or_dash(refund.reason.as_ref()))
            .unwrap_or_default();
        for attempt in explanation.attempts.iter().filter(|attempt| attempt.refund_id == refund.refund_id) {
            let code = or_dash(attempt.response_code.as_ref());
            let (sent, ended) = (wib(attempt.sent_at), wib_or_dash(attempt.ended_at));
            let outcome = attempt.outcome.as_deref().unwrap_or("no answer");
            write!(text, "\n      attempt {}: {sent} to {ended}, {outcome}, code {code}", attempt.attempt)
                .unwrap_or_default();
        }
    }
    text
}

fn journal(entries: &[EntryRow], lang: Lang) -> String {
    let mut text = lang.pick("Journal", "Jurnal").to_owned();
    for entry in entries {
        let at = wib(entry.at);
        write!(text, "\n  {} {at}  {} -> {} (seen up to #{})", entry.entry_no, entry.kind, entry.state, entry.upto_seq)
            .unwrap_or_default();
        if let Some(act) = entry.content.get("act") {
            let word = |key: &str| act.get(key).and_then(Value::as_str).filter(|word| !word.is_empty());
            let with = word("with").map_or_else(String::new, |who| format!(", after {who}"));
            write!(text, "\n      by {}{with}: {}", or_dash(word("by")), or_dash(word("why"))).unwrap_or_default();
        }
        for posting in &entry.postings {
            let (side, amount) = if posting.debit > Sen::ZERO { ("Dr", posting.debit) } else { ("Cr", posting.credit) };
            let amount = amount.to_string();
            write!(text, "\n      {side} {:<32}{amount:>20}", posting.account).unwrap_or_default();
        }
    }
    text
}
