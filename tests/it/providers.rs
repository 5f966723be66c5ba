//! Every provider against its own fixtures and its own document. A new provider adds a folder of cases and a page; the
//! tests here find them.

mod conformance;
mod crosscheck;
mod doors;
mod line;
mod lines;

use std::{collections::BTreeMap, fs, path::PathBuf};

use chrono::DateTime;
use proptest::prelude::*;
use rekon::{
    domain::{money::Sen, observation::Observation, observe::Asked, reply::RefundReply},
    engine::provider_check,
    providers::{
        Account, AccountSettings, ByHand, Drift, Provider, ProviderProfile, Service,
        by_hand::{Cancel, Decode, Generate, Payment},
        profile::{AuthMode, CodeAs, TokenUse},
        providers,
        wire::{HttpResponse, KEPT_HEADERS},
    },
};
use toml::{Table, Value};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseFile {
    source: String,
    read_on: String,
    case: Vec<Case>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    name: String,
    asked: AskedOf,
    #[serde(default)]
    profile: Table,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    status: u16,
    body: String,
    #[serde(default)]
    drift: Vec<String>,
    /// Spelt as the document has it; what is not said is so in `query_documented.toml` and nowhere else.
    documented: Option<bool>,
    /// A call by hand, by its key under `[operations]`.
    service: Option<String>,
    answer: Option<Table>,
    reply: Option<Table>,
    by_hand: Option<Table>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct AskedOf {
    partner_reference_no: String,
    reference_no: Option<String>,
    external_id: Option<String>,
    merchant_id: String,
    #[serde(default)]
    is_payout: bool,
}

impl Case {
    fn asked(&self) -> Asked<'_> {
        Asked {
            partner_reference_no: &self.asked.partner_reference_no,
            reference_no: self.asked.reference_no.as_deref(),
            external_id: self.asked.external_id.as_deref(),
            merchant_id: &self.asked.merchant_id,
            is_payout: self.asked.is_payout,
        }
    }

    fn by_hand(&self) -> ByHand<'_> {
        let partner_reference_no = &*self.asked.partner_reference_no;
        let (amount, fee_amount) = (Sen::rupiah(1200), None);
        let (qr_content, customer_token) = ("0002", None);
        match self.service.as_deref() {
            Some("generate") => ByHand::Generate(Generate {
                partner_reference_no,
                amount,
                fee_amount,
                terminal_id: None,
                expires_at: None,
                postal_code: None,
            }),
            Some("decode") => {
                ByHand::Decode(Decode { partner_reference_no, qr_content, scanned_at: DateTime::UNIX_EPOCH })
            }
            Some("payment") => {
                ByHand::Payment(Payment { partner_reference_no, amount, fee_amount, qr_content, customer_token })
            }
            Some("cancel") => ByHand::Cancel(Cancel { partner_reference_no, reference_no: None, reason: "closed" }),
            other => panic!("{}: no call by hand is {other:?}", self.name),
        }
    }

    fn response(&self) -> HttpResponse {
        let header = |name: &&'static str| Some((*name, self.headers.get(*name)?.clone()));
        HttpResponse {
            status: self.status,
            headers: KEPT_HEADERS.iter().filter_map(header).collect(),
            body: self.body.clone().into_bytes(),
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub(crate) fn account(provider: &dyn Provider, profile: Table) -> Account {
    let pem = fs::read_to_string(root().join("tests/fixtures/providers/test_key.pem")).unwrap();
    Account::try_new(AccountSettings {
        name: format!("{}-main", provider.name()),
        provider: provider.name().into(),
        base_url: "https://provider.invalid/base".into(),
        client_id: "client".into(),
        client_secret: "client-secret".into(),
        private_key: Some(pem.into()),
        merchant_id: "2997".into(),
        terminal_id: None,
        channel_id: None,
        customer_token: Some("customer-token".into()),
        inquiry: "query".into(),
        per_second: None,
        burst: None,
        concurrency: None,
        timeout: None,
        ladder: BTreeMap::new(),
        profile,
    })
    .unwrap()
}

fn cases(provider: &dyn Provider) -> Vec<(String, Case)> {
    let folder = root().join("tests/fixtures/providers").join(provider.name());
    let mut files: Vec<PathBuf> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort_unstable();
    let mut cases = Vec::new();
    for path in files.iter().filter(|path| path.extension().is_some_and(|e| e == "toml")) {
        let file: CaseFile =
            toml::from_str(&fs::read_to_string(path).unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(!file.source.is_empty() && file.read_on.len() == 10, "{}: source and date", path.display());
        let name = path.file_name().unwrap().to_string_lossy();
        cases.extend(file.case.into_iter().map(|case| (format!("{name}: {}", case.name), case)));
    }
    cases
}

/// A table without its empty lists, so that a case names only what there is.
fn without_empty(mut table: Table) -> Table {
    table.retain(|_, value| value.as_array().is_none_or(|list| !list.is_empty()));
    table
}

fn reply_table(reply: &RefundReply) -> Table {
    let mut table = Table::new();
    table.insert("class".into(), Value::try_from(reply.class).unwrap());
    for (key, text) in [
        ("response_code", &reply.response_code),
        ("partner_refund_no", &reply.partner_refund_no),
        ("refund_no", &reply.refund_no),
        ("doubt", &reply.doubt),
    ] {
        if let Some(text) = text {
            table.insert(key.into(), text.clone().into());
        }
    }
    for (key, number) in [("amount", reply.amount.map(Sen::sen)), ("retry_after_secs", reply.retry_after_secs)] {
        if let Some(number) = number {
            table.insert(key.into(), number.into());
        }
    }
    table
}

fn words(drift: &[Drift]) -> Vec<String> {
    drift.iter().map(Drift::to_string).collect()
}

#[test]
fn every_provider_reads_its_fixtures_as_they_say() {
    let mut wrong = Vec::new();
    for provider in providers() {
        let cases = cases(*provider);
        assert!(cases.iter().any(|(_, c)| c.answer.is_some()), "{} has no case of a query", provider.name());
        for (name, case) in cases {
            let account = account(*provider, case.profile.clone());
            let (said, drift, expected) = match (&case.answer, &case.reply, &case.by_hand) {
                (None, None, Some(expected)) => {
                    let reply = provider.read_by_hand(&case.by_hand(), &case.response());
                    (Table::try_from(&reply).unwrap(), Vec::new(), expected)
                }
                (Some(expected), None, None) => {
                    let reading = provider.read_query(&account, &case.asked(), &case.response());
                    (without_empty(Table::try_from(&reading.answer).unwrap()), reading.drift, expected)
                }
                (None, Some(expected), None) => {
                    let reading = provider.read_refund(&account, &case.asked(), &case.response());
                    (reply_table(&reading.reply), reading.drift, expected)
                }
                _ => panic!("{name}: a case expects an answer, a reply or the end of a call by hand"),
            };
            if &said != expected || words(&drift) != case.drift {
                wrong.push(format!("{name}\n    said {said:?}, drift {:?}\n    not  {expected:?}", words(&drift)));
            }
        }
    }
    assert!(wrong.is_empty(), "{} cases are read differently:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn no_documented_answer_is_drift() {
    for provider in providers() {
        let mut samples = 0;
        for (name, case) in cases(*provider) {
            if !case.documented.unwrap_or_else(|| name.starts_with("query_documented.toml")) || case.answer.is_none() {
                continue;
            }
            let account = account(*provider, case.profile.clone());
            let reading = provider.read_query(&account, &case.asked(), &case.response());
            assert!(reading.drift.is_empty(), "{}: {name}: {:?}", provider.name(), words(&reading.drift));
            samples += 1;
        }
        assert!(samples > 0, "{}: no documented answer", provider.name());
    }
}

/// Points of the checklist of odd spellings that are about what is sent, and the test that shows each.
const SENT: [(u8, &str, &str); 3] = [
    (20, "paydia/tests.rs", "our_own_reference_is_enough_and_an_external_id_that_does_not_fit_is_left_out"),
    (21, "doku/tests.rs", "a_refund_that_doku_would_refuse_by_its_fields_is_not_built"),
    (22, "paydia/tests.rs", "a_query_is_the_documents_sample_with_the_customers_token_bare_in_its_header"),
];

#[test]
fn each_of_the_24_points_of_tolerance_has_a_case_or_a_test_and_stands_on_the_page() {
    let page = fs::read_to_string(root().join("docs/providers/doku.md")).unwrap();
    let names: Vec<String> = providers().iter().flat_map(|p| cases(*p)).map(|(_, case)| case.name).collect();
    for point in 1..=24_u8 {
        if let Some((_, file, test)) = SENT.iter().find(|(sent, ..)| *sent == point) {
            let text = fs::read_to_string(root().join("src/providers").join(file)).unwrap();
            assert!(text.contains(&format!("#[test]\nfn {test}()")), "{point}: {file} has no test {test}");
        } else {
            let mark = format!("{point}: ");
            assert!(names.iter().any(|name| name.starts_with(&mark)), "no case is called \"{mark}…\"");
            let said = page.split_whitespace().any(|word| word == format!("{point}."));
            assert!(said, "docs/providers/doku.md lacks the point {point}");
        }
    }
}

#[test]
fn every_provider_keeps_to_the_rules_that_no_profile_can_lift() {
    for provider in providers() {
        for (name, case) in cases(*provider).into_iter().filter(|(_, c)| c.answer.is_some()) {
            let account = account(*provider, case.profile.clone());
            let asked =
                Asked { partner_reference_no: "SOMEBODY-ELSES", reference_no: None, external_id: None, ..case.asked() };
            let answer = provider.read_query(&account, &asked, &case.response()).answer;
            assert!(
                matches!(answer.observation, Observation::Indeterminate | Observation::Absent),
                "{name}: believed about another payment"
            );
            for cut in 0..case.body.trim_end().len() {
                let body = case.body.as_bytes()[..cut].to_vec();
                let response = HttpResponse { body, ..case.response() };
                let answer = provider.read_query(&account, &case.asked(), &response).answer;
                assert_eq!(answer.observation, Observation::Indeterminate, "{name}: believed when cut at {cut}");
            }
        }
    }
}

#[test]
fn the_page_of_every_provider_says_what_its_profile_does() {
    for provider in providers() {
        let page = fs::read_to_string(root().join(format!("docs/providers/{}.md", provider.name()))).unwrap();
        let profile = account(*provider, Table::new()).profile;
        for (service, operation) in &profile.operations {
            let row = format!(
                "| {service} | {} | {} | `{}` |",
                operation.service_code,
                operation.method.as_str(),
                operation.path
            );
            assert!(page.contains(&row), "{}: the page lacks the row\n{row}", provider.name());
        }
        check_words_of_the_page(&page, &profile);
        for (code, meaning) in profile.rules.status.iter() {
            let row = format!("| {code} | {} | {} |", meaning.means.as_str(), meaning.note);
            assert!(page.contains(&row), "{}: the page lacks the row\n{row}", provider.name());
        }
        for host in profile.hosts.iter().chain(&profile.sandbox_hosts) {
            assert!(page.contains(&format!("`{host}`")), "{}: the page lacks {host}", provider.name());
        }
        assert!(
            page.contains(&profile.read_on) && page.contains(&profile.source),
            "{}: source and date",
            provider.name()
        );
    }
}

/// Headers, types and demands, as the profile has them, are said by the page too; and so is each thing that is only believed.
fn check_words_of_the_page(page: &str, profile: &ProviderProfile) {
    let name = &profile.rules.provider;
    let says = |what: &str, why: &str| assert!(page.contains(what), "{name}: the page lacks {what:?}: {why}");
    let (has_token, asks_for_customer) = (profile.tokens != TokenUse::None, customer_header(profile));
    for header in ["X-TIMESTAMP", "X-SIGNATURE", "X-PARTNER-ID", "X-EXTERNAL-ID", "CHANNEL-ID"] {
        says(&format!("`{header}`"), "every call carries it");
    }
    assert_eq!(
        page.contains("| `Authorization`"),
        has_token,
        "{name}: Authorization where there are tokens, and only there"
    );
    assert_eq!(page.contains("Authorization-Customer"), asks_for_customer, "{name}: the customer's token");
    says(&format!("`{}`", profile.channel_id), "CHANNEL-ID where the account names none");
    let types = |field: &str, typed: CodeAs| {
        let word = match typed {
            CodeAs::String => "string",
            CodeAs::Number => "number",
            CodeAs::Either => "string or number",
        };
        says(&format!("| {field} | {word} |"), "how the code is typed in answers");
    };
    types("`responseCode`", profile.response_code_as);
    types("`latestTransactionStatus`", profile.latest_transaction_status_as);
    for (service, operation) in &profile.operations {
        if let Some(typed) = operation.response_code_as {
            types(&format!("`responseCode` of {service}"), typed);
        }
    }
    let signature = match profile.auth {
        AuthMode::Symmetric => "HMAC-SHA512",
        AuthMode::Asymmetric => "SHA256withRSA",
    };
    says(signature, "how transactions are signed");
    for service in [Service::Query, Service::Status] {
        let Some(operation) = profile.operation(service) else { continue };
        let sent = operation.sent_service_code.as_ref().unwrap_or(&operation.service_code);
        let row = |line: &str| line.starts_with("| `serviceCode` |") && line.contains(sent.as_str());
        assert!(page.lines().any(row), "{name}: the body of {service} has the serviceCode {sent}");
    }
    if profile.rules.required.reference_no {
        let row = page.lines().find(|line| line.starts_with("| `originalReferenceNo` |")).unwrap_or_default();
        assert!(!row.is_empty() && !row.contains("where known"), "{name}: originalReferenceNo is required: {row}");
    }
    for unproven in provider_check::unproven(profile) {
        let word = unproven.split(':').next().unwrap_or_default();
        match word {
            "refunds" => says("refund_blocked", "refunds that go by hand"),
            word if word.starts_with("status ") => {}
            "paidTime" => says("`paidTime`", "a time that is not trusted"),
            word => says(word, "what nobody proved"),
        }
    }
}

fn customer_header(profile: &ProviderProfile) -> bool {
    profile.operations.values().any(|operation| operation.customer_token.is_some())
}

fn paid_body(amount: &str) -> String {
    format!(
        r#"{{"responseCode":"2005100","originalPartnerReferenceNo":"INV-1","latestTransactionStatus":"00","amount":{{"value":{amount},"currency":"IDR"}}}}"#
    )
}

fn amount_of(provider: &dyn Provider, account: &Account, token: &str) -> Option<Sen> {
    let asked = Asked {
        partner_reference_no: "INV-1",
        reference_no: None,
        external_id: None,
        merchant_id: "2997",
        is_payout: false,
    };
    let response = HttpResponse { status: 200, headers: Vec::new(), body: paid_body(token).into_bytes() };
    let answer = provider.read_query(account, &asked, &response).answer;
    (answer.observation == Observation::Paid).then_some(answer.amount).flatten()
}

/// Whole part and decimals without the zeros that mean nothing.
fn spelt(text: &str) -> (&str, &str) {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    (whole.trim_start_matches('0'), decimals.trim_end_matches('0'))
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer_without_a_verdict_or_a_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300), status in 100_u16..600,
    ) {
        for provider in providers() {
            let account = account(*provider, Table::new());
            let asked = Asked { partner_reference_no: "INV-1", reference_no: None, external_id: None, merchant_id: "2997", is_payout: false };
            let response = HttpResponse { status, headers: Vec::new(), body: bytes.clone() };
            let answer = provider.read_query(&account, &asked, &response).answer;
            prop_assert_eq!(answer.observation, Observation::Indeterminate);
            let reply = provider.read_refund(&account, &asked, &response).reply;
            prop_assert!(reply.amount.is_none() && reply.response_code.is_none());
            prop_assert!(provider.read_token(&response).is_err());
        }
    }

    #[test]
    fn an_accepted_amount_is_the_amount_of_the_text(rupiah in 1_i64..9_999_999_999_999_999, sen in 0_i64..100, quoted: bool) {
        for provider in providers() {
            let account = account(*provider, Table::new());
            let text = format!("{rupiah}.{sen:02}");
            let token = if quoted { format!("\"{text}\"") } else { text };
            prop_assert_eq!(amount_of(*provider, &account, &token), Some(Sen::new(rupiah * 100 + sen)));
        }
    }

    #[test]
    fn a_text_that_is_accepted_as_an_amount_spells_it(text in "[-+0-9., eE]{0,14}") {
        for provider in providers() {
            let account = account(*provider, Table::new());
            if let Some(amount) = amount_of(*provider, &account, &format!("\"{text}\"")) {
                let ours = amount.to_string();
                prop_assert_eq!(spelt(&ours), spelt(text.trim()));
            }
        }
    }
}
