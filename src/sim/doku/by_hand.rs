//! What a person may do at DOKU: a new QR (47), what a QR says (48), a customer's payment (50), the end of an unpaid QR
//! (77), and the customer's token (74). A generated QR is a payment of this world: unpaid until it is paid here.

use serde_json::{Value, json};

use super::super::client::ClientState;
use super::super::desk::Desk;
use super::super::door::{Call, Door};
use super::super::qris;
use super::super::reply::Outcome;
use super::super::script::{Answer, SimPayment};
use super::super::snap::{self, Refusal, Service};
use super::super::standard::field;
use super::super::world::World;
use super::DOOR;

/// A body that reads as JSON, and the merchant's reference in it.
pub(super) struct Asked {
    body: Value,
    reference: String,
}

impl Asked {
    fn try_new(call: &Call, reference: &str, needed: &[&str]) -> Result<Self, Refusal> {
        let body: Value = serde_json::from_slice(call.body()).map_err(|_| Refusal::missing("body"))?;
        for name in needed {
            if body.get(name).is_none_or(Value::is_null) {
                return Err(Refusal::missing(name));
            }
        }
        let reference = field(&body, reference)?.ok_or_else(|| Refusal::missing(reference))?;
        Ok(Self { body, reference })
    }

    fn amount(&self, name: &str) -> Result<i64, Refusal> {
        let value = self.body.pointer(&format!("/{name}/value")).ok_or_else(|| Refusal::missing(name))?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        snap::parse_amount(&text).ok_or_else(|| Refusal::malformed(name))
    }

    fn fee(&self) -> Result<Option<i64>, Refusal> {
        self.body.get("feeAmount").map(|_| self.amount("feeAmount")).transpose()
    }
}

fn check_merchant(asked: &Asked, client: &ClientState) -> Result<(), Refusal> {
    let said = asked.body.get("merchantId").map(|id| id.to_string().trim_matches('"').to_owned());
    if said.as_ref() == Some(&client.client.merchant_id) { Ok(()) } else { Err(Refusal::new(404, "08")) }
}

fn told(service: Service, done: Result<Value, Refusal>) -> Outcome {
    match done {
        Ok(body) => Outcome::answer(200, service.response_code(200, "00"), body.to_string()),
        Err(refusal) => Outcome::refused(service, &refusal),
    }
}

/// A new QR.
pub(super) struct Generate;

impl Desk for Generate {
    const SERVICE: Service = Service::Generate;
    const DOOR: Door = DOOR;
    type Asked<'a> = Asked;

    fn read(call: &Call, client: &ClientState) -> Result<Asked, Refusal> {
        let asked = Asked::try_new(call, "partnerReferenceNo", &["amount", "merchantId", "terminalId"])?;
        check_merchant(&asked, client)?;
        let terminal = field(&asked.body, "terminalId")?.unwrap_or_default();
        if !(3..=16).contains(&terminal.len()) {
            return Err(Refusal::malformed("terminalId"));
        }
        Ok(asked)
    }

    fn reference(asked: &Asked) -> &str {
        &asked.reference
    }

    fn outcome(world: &World, client: &ClientState, asked: &Asked, _call: &Call) -> Outcome {
        told(Self::SERVICE, generate(world, client, asked))
    }
}

fn generate(world: &World, client: &ClientState, asked: &Asked) -> Result<Value, Refusal> {
    let (expected_sen, fee_sen) = (asked.amount("amount")?, asked.fee()?);
    let payment = SimPayment {
        client_id: client.client.client_id.clone(),
        fee_sen,
        ..SimPayment::exact(&asked.reference, expected_sen).answering([Answer::status("01")])
    };
    world.add_payment(payment).map_err(|_| Refusal::new(409, "01"))?;
    let reference_no = client.with_payment(&asked.reference, |payment| payment.reference_no().to_owned());
    let terminal = field(&asked.body, "terminalId")?.unwrap_or_default().to_ascii_uppercase();
    let qr = qris::written(&client.client.merchant_id, expected_sen, fee_sen, &terminal, &asked.reference);
    Ok(json!({
        "responseCode": "2004700",
        "responseMessage": "Request has been processed successfully",
        "referenceNo": reference_no,
        "partnerReferenceNo": asked.reference,
        "qrContent": qr,
        "terminalId": terminal,
        "additionalInfo": { "validityPeriod": asked.body.get("validityPeriod") },
    }))
}

/// What a QR says.
pub(super) struct Decode;

impl Desk for Decode {
    const SERVICE: Service = Service::Decode;
    const DOOR: Door = DOOR;
    type Asked<'a> = Asked;

    fn read(call: &Call, _client: &ClientState) -> Result<Asked, Refusal> {
        Asked::try_new(call, "partnerReferenceNo", &["qrContent", "scanTime"])
    }

    fn reference(asked: &Asked) -> &str {
        &asked.reference
    }

    fn outcome(_world: &World, _client: &ClientState, asked: &Asked, _call: &Call) -> Outcome {
        told(Self::SERVICE, decode(asked))
    }
}

fn decode(asked: &Asked) -> Result<Value, Refusal> {
    let text = field(&asked.body, "qrContent")?.unwrap_or_default();
    let qr = qris::Read::try_new(&text).ok_or_else(|| Refusal::malformed("qrContent"))?;
    // Whole rupiah, as in the sample: DOKU answers 1200 for a QR of 1200.25.
    let rupiah = |sen: i64| json!({ "value": sen / 100, "currency": "IDR" });
    Ok(json!({
        "responseCode": "2004800",
        "responseMessage": "Request has been processed successfullys",
        "referenceNo": asked.reference,
        "partnerReferenceNo": asked.reference,
        "merchantName": qr.merchant_name,
        "transactionAmount": rupiah(qr.amount_sen),
        "feeAmount": qr.tip_sen.map(rupiah),
        "additionalInfo": { "pointOfInitiationMethod": 12, "pointOfInitiationMethodDescription": "DYNAMIC" },
    }))
}

/// A customer's payment.
pub(super) struct Payment;

impl Desk for Payment {
    const SERVICE: Service = Service::Payment;
    const DOOR: Door = Door { wants_customer: true, ..DOOR };
    type Asked<'a> = Asked;

    fn read(call: &Call, _client: &ClientState) -> Result<Asked, Refusal> {
        Asked::try_new(call, "partnerReferenceNo", &["amount", "additionalInfo"])
    }

    fn reference(asked: &Asked) -> &str {
        &asked.reference
    }

    fn outcome(_world: &World, client: &ClientState, asked: &Asked, _call: &Call) -> Outcome {
        told(Self::SERVICE, pay(client, asked))
    }
}

fn pay(client: &ClientState, asked: &Asked) -> Result<Value, Refusal> {
    let text = asked.body.pointer("/additionalInfo/qrContent").and_then(Value::as_str).unwrap_or_default();
    let qr = qris::Read::try_new(text).ok_or_else(|| Refusal::malformed("qrContent"))?;
    let (amount_sen, fee_sen) = (asked.amount("amount")?, asked.fee()?);
    if amount_sen != qr.amount_sen || fee_sen != qr.tip_sen {
        return Err(Refusal::new(404, "13"));
    }
    let was_paid = client.with_payment(&qr.reference, |payment| {
        let open = payment.is_open();
        if open {
            payment.set_script(vec![Answer::paid()]);
        }
        open
    });
    match was_paid {
        None => Err(Refusal::new(404, "01")),
        Some(false) => Err(Refusal::new(404, "00")),
        Some(true) => Ok(json!({
            "responseCode": "2005000",
            "responseMessage": "Request has been processed successfully",
            "referenceNo": asked.reference,
            "partnerReferenceNo": asked.reference,
            "amount": asked.body.get("amount"),
            "feeAmount": asked.body.get("feeAmount"),
            "additionalInfo": { "approvalCode": 328_580 },
        })),
    }
}

/// The end of an unpaid QR.
pub(super) struct Cancel;

impl Desk for Cancel {
    const SERVICE: Service = Service::Cancel;
    const DOOR: Door = DOOR;
    type Asked<'a> = Asked;

    fn read(call: &Call, client: &ClientState) -> Result<Asked, Refusal> {
        let asked = Asked::try_new(call, "originalPartnerReferenceNo", &["merchantId", "reason"])?;
        check_merchant(&asked, client)?;
        Ok(asked)
    }

    fn reference(asked: &Asked) -> &str {
        &asked.reference
    }

    fn outcome(world: &World, client: &ClientState, asked: &Asked, _call: &Call) -> Outcome {
        let cancelled = client.with_payment(&asked.reference, |payment| {
            let open = payment.is_open();
            if open {
                payment.set_script(vec![Answer::status("05")]);
            }
            open
        });
        let done = match cancelled {
            None => Err(Refusal::new(404, "01")),
            Some(false) => Err(Refusal::new(404, "00")),
            Some(true) => Ok(json!({
                "responseCode": "2007700",
                "responseMessage": "Request has been processed successfully",
                "originalPartnerReferenceNo": asked.reference,
                "cancelTime": snap::wib_text(world.script_clock()),
            })),
        };
        told(Self::SERVICE, done)
    }
}
