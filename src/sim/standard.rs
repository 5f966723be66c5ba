//! What the providers that keep close to the standard have in common: a query (51) that may name either reference, and the
//! fields of its answer. How each field is spelt is each provider's own.

use serde_json::{Map, Value, json};

use super::client::ClientState;
use super::payment::Given;
use super::reply::Outcome;
use super::script::{AmountStyle, Answer, Echo};
use super::snap::{self, Refusal, Service};
use super::world::World;

/// A query that reads well; at least one of the references is there.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reference_no: Option<String>,
    pub(super) partner_reference_no: Option<String>,
}

impl Asked {
    /// Takes the fields of a request, each checked for its length; 400xx02 where no reference is named.
    pub(super) fn try_new(
        reference_no: Option<String>,
        partner_reference_no: Option<String>,
        service_code: Option<&str>,
    ) -> Result<Self, Refusal> {
        for (field, said) in
            [("originalReferenceNo", &reference_no), ("originalPartnerReferenceNo", &partner_reference_no)]
        {
            if said.as_ref().is_some_and(|text| text.chars().count() > 64) {
                return Err(Refusal::malformed(field));
            }
        }
        if reference_no.is_none() && partner_reference_no.is_none() {
            return Err(Refusal::missing("originalPartnerReferenceNo"));
        }
        match service_code {
            None => Err(Refusal::missing("serviceCode")),
            Some(code) if code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_digit()) => {
                Ok(Self { reference_no, partner_reference_no })
            }
            Some(_) => Err(Refusal::malformed("serviceCode")),
        }
    }

    /// The merchant's reference, for the log of arrivals.
    pub(super) fn reference(&self) -> &str {
        self.partner_reference_no.as_deref().unwrap_or_default()
    }
}

/// A field of a JSON body as a text; an empty one is missing.
pub(super) fn field(body: &Value, name: &str) -> Result<Option<String>, Refusal> {
    match body.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(Refusal::malformed(name)),
    }
}

/// The scripted answer to a query, spelt by the provider, at which the statuses `taking` say that the money was taken.
pub(super) fn answered(
    world: &World,
    client: &ClientState,
    asked: &Asked,
    taking: &[&str],
    spell: impl Fn(&Given<'_>) -> Value,
) -> Outcome {
    let not_found = || Outcome::refused(Service::Query, &Refusal::new(404, "01"));
    let found = asked.partner_reference_no.clone().or_else(|| client.reference_of(asked.reference_no.as_deref()?));
    let Some(partner_reference_no) = found else { return not_found() };
    let now = world.script_clock();
    let outcome = client.with_payment(&partner_reference_no, |payment| {
        let is_ours = asked.reference_no.as_deref().is_none_or(|no| no == payment.reference_no());
        is_ours.then(|| {
            let given = payment.query_where(now, taking);
            let body = spell(&given).to_string();
            let outcome = match &given.answer.fault {
                Some(fault) => Outcome::faulted(Service::Query, fault, body),
                None => Outcome::answer(200, "2005100", body),
            };
            outcome.slowed(given.answer.slow_ms)
        })
    });
    outcome.flatten().unwrap_or_else(not_found)
}

/// The references as the script echoes them.
pub(super) fn push_echo(out: &mut Map<String, Value>, given: &Given<'_>, with_reference_no: bool) {
    let other = match given.answer.echo {
        Echo::None => return,
        Echo::WrongReference => "X",
        Echo::WrongMerchant => {
            out.insert("merchantId".to_owned(), json!("0"));
            ""
        }
        Echo::Right => "",
    };
    if with_reference_no {
        out.insert("originalReferenceNo".to_owned(), json!(format!("{other}{}", given.payment.reference_no)));
    }
    let partner_reference_no = format!("{other}{}", given.payment.partner_reference_no);
    out.insert("originalPartnerReferenceNo".to_owned(), json!(partner_reference_no));
}

/// A code as a text, or as a number where the provider or the script has it so.
pub(super) fn code(digits: &str, answer: &Answer, usually_number: bool) -> Value {
    match digits.parse::<u32>() {
        Ok(number) if usually_number || answer.integer_codes => json!(number),
        _ => json!(digits),
    }
}

/// An amount as the script has it; `usual` is this provider's own spelling of the plain style.
pub(super) fn money(amount_sen: i64, answer: &Answer, usual: AmountStyle) -> Option<Value> {
    let style = if answer.amount_style == AmountStyle::Number { usual } else { answer.amount_style };
    let mut text = String::new();
    snap::push_amount(&mut text, amount_sen);
    let value = match style {
        AmountStyle::Absent => return None,
        AmountStyle::Null => return Some(Value::Null),
        AmountStyle::Text => json!(text),
        AmountStyle::Number | AmountStyle::Decimal => serde_json::from_str(&text).unwrap_or_default(),
    };
    Some(json!({ "value": value, "currency": answer.currency }))
}
