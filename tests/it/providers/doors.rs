//! What each simulated provider refuses, and with which code: the adapter's own request, spoilt in one place. So the
//! simulator is shown to look at everything that the document demands, and the adapter to send nothing idle.

use rekon::{
    providers::{
        Account, Asked, Call, Provider, Transport, TransportError, providers,
        wire::{HttpRequest, HttpResponse},
    },
    sim::{Sim, SimHandle, SimOptions, SimPayment, SimProvider},
};

use super::line::{EXPECTED_SEN, merchant, now, settings};

struct Door {
    sim: SimHandle,
    account: Account,
    transport: Transport,
    provider: &'static dyn Provider,
    calls: u32,
}

impl Door {
    async fn of(provider: &'static dyn Provider) -> Self {
        let plays = serde_json::from_value::<SimProvider>(provider.name().into()).unwrap();
        let sim = Sim::start(SimOptions::loopback(vec![merchant(plays)])).await.unwrap();
        let payment = SimPayment { reference_no: "DK1".into(), ..SimPayment::exact("INV1", EXPECTED_SEN) };
        sim.world().add_payment(payment).unwrap();
        let account = Account::try_new(settings(provider.name(), sim.base_url(), "")).unwrap();
        Self { sim, account, transport: Transport::try_new().unwrap(), provider, calls: 0 }
    }

    /// A query that is in order, with a token of its own.
    async fn query(&mut self) -> HttpRequest {
        let token = match self.provider.token_request(&self.account, now()) {
            Ok(request) => Some(self.provider.read_token(&self.send(request).await.unwrap()).unwrap().token),
            Err(_) => None,
        };
        self.calls += 1;
        let external_id = format!("{:020}", self.calls);
        let call = Call { token: token.as_deref(), customer_token: None, external_id: &external_id, at: now() };
        let asked = Asked {
            partner_reference_no: "INV1",
            reference_no: Some("DK1"),
            external_id: None,
            merchant_id: "2997",
            is_payout: false,
        };
        self.provider.query_request(&self.account, &asked, &call).unwrap()
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, TransportError> {
        self.transport.send(request, self.account.timeout).await
    }

    async fn code(&self, request: HttpRequest) -> String {
        let response = self.send(request).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&response.body).unwrap();
        body["responseCode"].to_string().trim_matches('"').to_owned()
    }
}

fn replace(mut request: HttpRequest, name: &str, value: &str) -> HttpRequest {
    for header in request.headers.iter_mut().filter(|(n, _)| *n == name) {
        value.clone_into(&mut header.1);
    }
    request
}

#[tokio::test]
async fn every_header_that_a_document_demands_is_missed() {
    for provider in providers() {
        let mut door = Door::of(*provider).await;
        let good = door.query().await;
        let names: Vec<&str> = good.headers.iter().map(|(name, _)| *name).filter(|n| *n != "content-type").collect();
        assert_eq!(door.code(good).await, "2005100", "{}", provider.name());
        for name in names {
            let mut request = door.query().await;
            request.headers.retain(|(n, _)| *n != name);
            assert_eq!(door.code(request).await, "4005102", "{}: {name}", provider.name());
        }
    }
}

#[tokio::test]
async fn a_header_of_a_wrong_shape_is_a_malformed_field() {
    for provider in providers() {
        let mut door = Door::of(*provider).await;
        for (name, value) in [
            ("x-timestamp", "2026-11-20T10:00:05Z"),
            ("x-external-id", "not-a-number"),
            ("x-external-id", "1234567890123456789012345678901234567"),
            ("x-partner-id", "1234567890123456789012345678901234567"),
            ("channel-id", "123456"),
        ] {
            let request = replace(door.query().await, name, value);
            assert_eq!(door.code(request).await, "4005101", "{}: {name} {value}", provider.name());
        }
    }
}

#[tokio::test]
async fn a_signature_that_does_not_cover_what_arrives_is_unauthorized() {
    for provider in providers() {
        let mut door = Door::of(*provider).await;
        let good = door.query().await;
        let signature = good.headers.iter().find(|(n, _)| *n == "x-signature").unwrap().1.clone();
        let first = if signature.starts_with('A') { "B" } else { "A" };
        let request = replace(good, "x-signature", &format!("{first}{}", &signature[1..]));
        assert_eq!(door.code(request).await, "4015100", "{}: one character differs", provider.name());
        let mut request = door.query().await;
        if request.body.is_empty() {
            request.endpoint.url = request.endpoint.url.replace("INV1", "INV2").into();
        } else {
            request.body = String::from_utf8(request.body).unwrap().replace("INV1", "INV2").into_bytes();
        }
        assert_eq!(door.code(request).await, "4015100", "{}: another payment", provider.name());
        let old = "2020-01-01T00:00:00+07:00";
        let request = replace(door.query().await, "x-timestamp", old);
        assert_eq!(door.code(request).await, "4015100", "{}: an old timestamp", provider.name());
        assert_eq!(door.sim.world().book_entry("", "INV1").unwrap().queries, 0, "{}", provider.name());
    }
}

#[tokio::test]
async fn the_same_request_again_meets_its_used_id_or_its_used_token() {
    for provider in providers() {
        let mut door = Door::of(*provider).await;
        let request = door.query().await;
        assert_eq!(door.code(request.clone()).await, "2005100", "{}", provider.name());
        let again = if provider.name() == "brick" { "4015101" } else { "4095100" };
        assert_eq!(door.code(request).await, again, "{}", provider.name());
    }
}

#[tokio::test]
async fn a_token_that_is_over_is_invalid_wherever_there_are_tokens() {
    for provider in providers().iter().filter(|p| p.name() != "winpay") {
        let mut door = Door::of(*provider).await;
        let request = door.query().await;
        door.sim.world().expire_tokens();
        assert_eq!(door.code(request).await, "4015101", "{}", provider.name());
    }
}
