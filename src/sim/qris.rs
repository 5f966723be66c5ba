//! A QRIS payload from the provider's side: written for a generate, read for a decode and a payment. Apart from rekon's own
//! reader on purpose. Static codes are not played.

use super::snap;

/// Writes a dynamic QR with its reference in tag 62.50, as DOKU's samples have it.
pub(super) fn written(
    merchant_id: &str,
    amount_sen: i64,
    tip_sen: Option<i64>,
    terminal: &str,
    reference: &str,
) -> String {
    let mut amount = String::new();
    snap::push_amount(&mut amount, amount_sen);
    let acquirer = [("00", "COM.DOKU.WWW"), ("01", "936008990000002997"), ("02", merchant_id), ("03", "UMI")];
    let mut fields = vec![
        ("00", "01".to_owned()),
        ("01", "12".to_owned()),
        ("26", acquirer.map(|(id, value)| tlv(id, value)).concat()),
        ("52", "5411".to_owned()),
        ("53", "360".to_owned()),
        ("54", amount),
    ];
    if let Some(tip_sen) = tip_sen {
        let mut tip = String::new();
        snap::push_amount(&mut tip, tip_sen);
        fields.extend([("55", "02".to_owned()), ("56", tip)]);
    }
    fields.extend([
        ("58", "ID".to_owned()),
        ("59", "Green Pages".to_owned()),
        ("60", "Jakarta".to_owned()),
        ("62", tlv("07", terminal) + &tlv("50", reference)),
    ]);
    let body = fields.iter().map(|(id, value)| tlv(id, value)).collect::<String>() + "6304";
    let crc = crc(&body);
    format!("{body}{crc:04X}")
}

fn tlv(id: &str, value: &str) -> String {
    format!("{id}{:02}{value}", value.len())
}

/// What a dynamic QR says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    pub(super) merchant_name: String,
    pub(super) amount_sen: i64,
    pub(super) tip_sen: Option<i64>,
    /// Tag 62.50.
    pub(super) reference: String,
}

impl Read {
    /// Reads a whole QR; `None` if its structure or its checksum is wrong, or something is missing.
    pub(super) fn try_new(text: &str) -> Option<Self> {
        let (body, checksum) = text.split_at_checked(text.len().checked_sub(4)?)?;
        if !body.ends_with("6304") || u16::from_str_radix(checksum, 16).ok()? != crc(body) {
            return None;
        }
        let fields = parts(text)?;
        let get = |id: &str| fields.iter().find(|(found, _)| *found == id).map(|(_, value)| *value);
        let inside = parts(get("62")?)?;
        Some(Self {
            merchant_name: get("59")?.to_owned(),
            amount_sen: snap::parse_amount(get("54")?)?,
            tip_sen: get("56").map(snap::parse_amount).map_or(Some(None), |tip| tip.map(Some))?,
            reference: inside.iter().find(|(id, _)| *id == "50")?.1.to_owned(),
        })
    }
}

fn parts(mut text: &str) -> Option<Vec<(&str, &str)>> {
    let mut fields = Vec::new();
    while !text.is_empty() {
        let (id, rest) = text.split_at_checked(2)?;
        let (length, rest) = rest.split_at_checked(2)?;
        let (value, rest) = rest.split_at_checked(length.parse().ok()?)?;
        fields.push((id, value));
        text = rest;
    }
    Some(fields)
}

/// CRC-16/CCITT-FALSE.
fn crc(text: &str) -> u16 {
    text.bytes().fold(0xFFFF, |crc, byte| {
        (0..8)
            .fold(crc ^ (u16::from(byte) << 8), |crc, _| if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "00020101021226530012COM.DOKU.WWW0118936008990000002997020429970303UMI51440014ID.CO.QRIS.WWW0215ID20200622029970303UMI52045411530336054071200.255502025606500.525802ID5911Green Pages6007Jakarta61051312062430703K455032a98757c8dbc6434ab5dd4c55d9092d9a6304F6EA";

    #[test]
    fn the_checksum_is_the_published_one() {
        assert_eq!(crc("123456789"), 0x29B1);
    }

    #[test]
    fn dokus_sample_reads_and_a_changed_or_shortened_one_does_not() {
        let read = Read::try_new(SAMPLE).unwrap();
        assert_eq!((read.amount_sen, read.tip_sen), (120_025, Some(50_052)));
        assert_eq!(read.reference, "a98757c8dbc6434ab5dd4c55d9092d9a");
        assert_eq!(Read::try_new(&SAMPLE.replace("1200.25", "1200.26")), None);
        assert_eq!(Read::try_new(&SAMPLE[1..]), None);
        assert_eq!(Read::try_new(""), None);
    }

    #[test]
    fn what_is_written_reads_back() {
        for tip_sen in [None, Some(50_000)] {
            let text = written("2997", 120_025, tip_sen, "K45", "INV-1");
            let read = Read::try_new(&text).unwrap();
            assert_eq!((read.amount_sen, read.tip_sen, read.reference.as_str()), (120_025, tip_sen, "INV-1"));
        }
    }
}
