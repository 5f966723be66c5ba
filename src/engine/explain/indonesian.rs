//! What an explanation says, in Indonesian: for the finance people and cashiers who ask why. The same sentences as in
//! English, one for one.

use crate::domain::{
    explain::Rule,
    state::{Flag, State},
};

/// The rule in one sentence.
pub(super) const fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::AccountUnknown => "Akun ini tidak ada di konfigurasi, jadi tidak ada yang bisa ditanya.",
        Rule::ReferenceMissing => "Referensi yang diwajibkan penyedia ini belum diisi, jadi belum bisa ditanyakan.",
        Rule::NothingSaid => "Penyedia belum mengatakan apa pun.",
        Rule::NotPaidYet => "Jawaban terakhir tidak menyatakan sudah dibayar.",
        Rule::IdentityDiffers => "Sebuah jawaban menyebut pembayaran atau merchant lain; jawaban itu tidak dihitung.",
        Rule::IdentityThrice => "Tiga jawaban berturut-turut menyebut pembayaran atau merchant lain.",
        Rule::ClosedUnpaid => "Cukup banyak jawaban negatif datang setelah masa berlaku dan masa pantau.",
        Rule::Reopened => "Sudah ditutup sebagai belum dibayar, lalu expires_at yang lebih lambat membukanya lagi.",
        Rule::Stuck => "Lama setelah masa pantau, belum dibayar dan belum juga bisa ditutup.",
        Rule::PaidExact => "Jumlah yang dibayar tepat sama dengan yang diharapkan.",
        Rule::PaidWithTip => "Yang dibayar adalah jumlah yang diharapkan ditambah tip dalam QR.",
        Rule::PaidWithFee => "Yang dibayar adalah jumlah yang diharapkan ditambah biaya yang disebut jawaban.",
        Rule::PaidTruncated => "Yang dibayar adalah jumlah yang diharapkan tanpa sennya.",
        Rule::PaidAccepted => "Kebijakan menerima selisih ini.",
        Rule::AmountOver => "Dibayar lebih dari yang diharapkan; kelebihannya berada di suspense.",
        Rule::AmountUnder => "Dibayar kurang dari yang diharapkan.",
        Rule::AmountScale => "Jumlah yang dibayar adalah jumlah yang diharapkan kali pangkat sepuluh: salah satuan.",
        Rule::AmountChanged => "Jawaban PAID berikutnya menyebut jumlah lain.",
        Rule::AmountChangedTwice => "Dua jawaban PAID berikutnya menyebut jumlah lain.",
        Rule::CurrencyDiffers => "Dibayar dalam mata uang lain.",
        Rule::DuplicateReference => "Pesanan lain memakai referensi penyedia yang sama.",
        Rule::DuplicatePayment => "Ada dua pembayaran berbeda untuk pesanan ini.",
        Rule::CancelledBefore => "Pesanan sudah dibatalkan ketika jawaban PAID pertama datang.",
        Rule::CancelledAfter => "Pesanan dibatalkan setelah diketahui sudah dibayar.",
        Rule::LateByPaidTime => "Waktu bayar menurut penyedia lewat dari masa berlaku.",
        Rule::LateByAnswer => "Setelah masa berlaku masih ada jawaban belum dibayar: jadi dibayar terlambat.",
        Rule::AfterClose => "Dibayar setelah ditutup sebagai belum dibayar.",
        Rule::TimeSkew => "Waktu bayar lebih baru dari jawabannya sendiri: jam atau zona waktunya salah.",
        Rule::TimeWithoutZone => {
            "Waktu bayar tidak menyebut zona waktu, atau bukan waktu; tidak menentukan tanggal apa pun."
        }
        Rule::RegressionOnce => "Pembayaran yang lunas sekali disebut mati; refund menunggu pemeriksaan kedua.",
        Rule::RegressionTwice => "Pembayaran yang lunas dua kali disebut mati.",
        Rule::ReversedOutside => "Penyedia menyatakan dana dikembalikan, padahal bukan kita yang mengembalikannya.",
        Rule::ReversedOurs => "Penyedia menyatakan dana dikembalikan: itu refund kita sendiri.",
        Rule::ReversedWhileSending => "Penyedia menyatakan dana dikembalikan sementara refund kita sedang berjalan.",
        Rule::RefundProposed => "Ada uang yang harus kembali dan refund diusulkan.",
        Rule::RefundApproved => "Kebijakan menyetujui refund ini sendiri.",
        Rule::RefundExpired => "Dasar sebuah refund tidak berlaku lagi.",
        Rule::RefundProvedByQuery => "Pengembalian yang terlihat setelah refund penuh kita dikirim adalah buktinya.",
        Rule::RefundContradicted => "Dua jawaban PAID membantah refund yang dibuktikan lewat query.",
        Rule::PayoutUnaskable => {
            "Penyedia akun ini tidak punya layanan untuk pencairan, jadi tidak ada yang bisa ditanya."
        }
        Rule::RefundByHand => {
            "Ada uang yang harus kembali lewat transfer bank: orang menyetujui, mentransfer, lalu mencatatnya."
        }
        Rule::QrCancelAsked => "Pesanan dibatalkan sebelum ada yang membayar: QR-nya diakhiri di penyedia.",
        Rule::RefundBlocked => "Ada uang yang harus kembali dan tidak bisa pergi dengan sendirinya.",
        Rule::RefundUnknown => "Tidak bisa dipastikan apakah sebuah refund terjadi.",
        Rule::RefundAmountDiffers => "Refund terjadi dengan jumlah lain dari yang diminta.",
        Rule::RefundedInFull => "Semua yang dibayar sudah kembali.",
        Rule::RefundedInPart => "Sebagian dari yang dibayar sudah kembali.",
        Rule::Refunding => "Uang pesanan ini sedang dikembalikan.",
        Rule::HeldByCause => "Sebab ini menahan uang dari merchant sampai diselesaikan.",
        Rule::RefundRequested => "Seseorang meminta uang dikembalikan yang tidak terutang oleh aturan mana pun.",
        Rule::RefundDisputed => "Seseorang menandai sengketa: tidak ada uang baru yang pergi sampai selesai.",
        Rule::SettledByPerson => "Penanda ini diselesaikan oleh orang.",
        Rule::KeptByPerson => "Seseorang menahan uang ini di suspense: tidak ada aturan yang mengembalikannya.",
        Rule::ClosedByPerson => "Ditutup oleh orang sebagaimana adanya.",
        Rule::PayoutPaid => "Payout sampai ke penerimanya.",
        Rule::PayoutNotDone => "Payout dua kali disebut gagal.",
    }
}

/// What a flag says, and what a person does about it.
pub(super) const fn flag(flag: Flag) -> (&'static str, &'static str) {
    match flag {
        Flag::Currency => ("dibayar dalam mata uang lain", "tanyakan ke penyedia jumlah yang diselesaikan"),
        Flag::Scale => ("jumlah bayar adalah yang diharapkan kali pangkat sepuluh", "tanyakan jumlah yang benar"),
        Flag::Identity => ("jawaban menyebut pembayaran atau merchant lain", "cocokkan referensi dengan penyedia"),
        Flag::AmountChanged => ("PAID berikutnya menyebut jumlah lain", "tanyakan ke penyedia jumlah yang benar"),
        Flag::DuplicateReference => {
            ("dua pesanan memakai satu referensi penyedia", "cari tahu pesanan mana yang dibayar")
        }
        Flag::Regression => ("penyedia menyebut pembayaran lunas sebagai mati", "minta kata akhir dari penyedia"),
        Flag::RefundedOutside => ("uang kembali bukan oleh rekon", "nyatakan refund di luar itu"),
        Flag::RefundUnknown => ("nasib sebuah refund tidak diketahui", "tanyakan dengan partner_refund_no-nya"),
        Flag::RefundAmountDiffers => ("refund terjadi dengan jumlah lain", "selesaikan selisihnya dengan penyedia"),
        Flag::CancelledAfterPaid => ("pesanan dibatalkan setelah dibayar", "putuskan apakah uangnya kembali"),
        Flag::PaidAfterCancel => ("dibayar padahal pesanan sudah batal", "setujui refund, atau tetap penuhi"),
        Flag::PaidAfterClose => ("dibayar setelah ditutup sebagai belum dibayar", "penuhi terlambat, atau kembalikan"),
        Flag::PaidLate => ("dibayar setelah masa berlaku QR", "penuhi terlambat, atau kembalikan"),
        Flag::DuplicatePayment => ("dua pembayaran untuk satu pesanan", "kembalikan yang kedua"),
        Flag::Underpaid => ("dibayar kurang", "tagih sisanya, terima, atau kembalikan uangnya"),
        Flag::Overpaid => ("dibayar lebih", "setujui refund selisihnya"),
        Flag::Requested => ("seseorang meminta uang dikembalikan", "setujui atau tolak refund-nya"),
        Flag::RefundBlocked => {
            ("refund terutang dan tidak bisa jalan sendiri", "lihat alasan refund; kembalikan manual")
        }
        Flag::Stuck => ("lama setelah masa pantau belum dibayar dan belum ditutup", "tanyakan ke penyedia"),
        Flag::TimeSkew => ("waktu dari penyedia meleset", "cocokkan jam dengan penyedia"),
        Flag::UnknownAccount => ("akunnya tidak dikonfigurasi", "tambahkan di [accounts]"),
        Flag::MissingReference => ("referensi yang diwajibkan penyedia kosong", "isi pada barisnya"),
        Flag::PayoutNotDone => ("payout disebut gagal", "tanyakan apakah uangnya sudah keluar"),
    }
}

/// What would move a row out of this state.
pub(super) const fn outlook(state: State) -> &'static str {
    match state {
        State::Pending => "Jawaban PAID atas query melunasinya; cukup jawaban negatif setelah masa pantau menutupnya.",
        State::Paid => "Pengembalian, jawaban mati dua kali, jumlah lain atau pembatalan pesanan akan mengubahnya.",
        State::Held => "Selesai bila sebabnya diselesaikan: oleh refund, kebijakan, atau orang.",
        State::Refunding => "Selesai bila refund dikonfirmasi, ditolak, atau dibatalkan sebelum dikirim.",
        State::Refunded => "Diam; jawaban PAID setelah refund yang dibuktikan lewat query membukanya lagi.",
        State::PartlyRefunded => "Diam; sebab lain atau pengembalian akan mengubahnya.",
        State::Unpaid => "Diam; jawaban PAID kemudian membukanya sebagai held dengan paid_after_close.",
        State::Review => "Orang yang memutuskan, kecuali penandanya pulih sendiri.",
    }
}
