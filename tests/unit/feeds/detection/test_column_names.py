"""Names of columns in the languages of the region."""

import pytest

from stream.feeds.detection.column_names import (
    NEVER,
    Says,
    names_call_records,
    names_category,
    names_culprit,
    regions_hinted,
    says,
    says_at,
    words_known,
)

MEANINGS = {
    Says.NUMBER: (
        "phone", "Phone Number", "phoneNumber", "MSISDN", "callerId", "Caller-ID", "เบอร์โทร",
        "เบอร์โทรศัพท์มิจฉาชีพ", "เลขหมายต้นทาง", "Số điện thoại", "SĐT", "So Dien Thoai",
        "លេខទូរស័ព្ទ", "ເບີໂທ", "ဖုန်းနံပါတ်", "Nomor Telepon", "No. HP", "Nombor Telefon",
        "Numero ng Telepono", "电话号码", "電話番号", "전화번호", "Company_Phone_Number",
        "Reported Number", "Scammer number", "หมายเลขที่ถูกแจ้ง", "เบอร์ผู้ถูกแจ้ง",
        "SĐT người bị tố cáo", "신고 당한 전화번호",
    ),
    Says.GENERIC: ("number", "No.", "หมายเลข", "Nomor", "Số", "号码", "번호", "នំាក់លេខ"),
    Says.UNSURE: ("Contact number", "เบอร์ติดต่อ", "Phone ID", "User phone", "เบอร์ร้องเรียน", "Liên hệ"),
    Says.OTHER_PARTY: (
        "Victim phone", "เบอร์โทรผู้แจ้ง", "เบอร์ผู้เสียหาย", "called_number", "B-Number", "Callee",
        "SĐT nạn nhân", "No HP Korban", "Nomor pelapor", "被叫号码", "피해자 전화번호",
        "เลขหมายปลายทาง", "លេខជនរងគ្រោះ", "Complainant Tel",
        "SĐT người bị lừa", "SĐT người bị lừa đảo", "被诈骗人电话", "被騙人電話", "เบอร์โทรผู้ถูกหลอก",
        "เบอร์โทรผู้ถูกมิจฉาชีพหลอก", "사기 당한 전화번호", "詐欺に遭った方の電話番号",
        "No telefon orang ditipu", "Nomor HP yang tertipu", "nabiktima selpon", "Your phone",
        "Phone of person scammed",
    ),
    Says.DATE: (
        "Date", "Created_At", "วันที่", "วันที่แจ้ง", "Ngày báo cáo", "Tanggal", "Tarikh", "Petsa",
        "ថ្ងៃខែឆ្នាំ", "ວັນທີ", "နေ့စွဲ", "日期", "報案時間", "날짜", "Phone registration date",
        "Reported", "Reporting date",
    ),
    Says.ID: (
        "ID", "Ticket ID", "TicketID", "Case No.", "ลำดับ", "ที่", "เลขคดี", "รหัส", "STT", "Mã số",
        "ល.រ", "စဉ်", "No. Kes", "Bil.", "编号", "序号", "접수번호", "Reference", "Report number",
    ),
    Says.ACCOUNT: (
        "Account number", "เลขที่บัญชี", "เลขบัตรประชาชน", "Số tài khoản", "No. Rekening", "IMEI",
        "卡号", "계좌번호", "NIK", "CCCD", "លេខគណនី",
    ),
    Says.AMOUNT: (
        "Amount", "Loss (THB)", "มูลค่าความเสียหาย", "จำนวนเงิน", "Số tiền", "Kerugian", "金额",
        "피해금액", "Number of calls", "votes", "Halaga",
    ),
    Says.PLACE: ("IP address", "Latitude", "จังหวัด", "Area code", "Địa chỉ", "邮编"),
    Says.NOTHING: ("", "x", "ประเภท", "remarks", "Loại", "Việt Nam"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "meaning"), [(name, one) for one, names in MEANINGS.items() for name in names]
)
def test_what_a_name_says(name, meaning):
    """Names of numbers, and of what is never one, in Thai, Vietnamese, Khmer, Malay and others."""
    assert says(name) is meaning


def test_what_is_never_the_number_weighs_more():
    """A name that has words of both is never the number; an id may be either, and is asked."""
    assert {says("victim mobile"), says("phone date"), says("mobile bank account")} <= NEVER
    assert says("phone ref") is Says.UNSURE


@pytest.mark.parametrize(
    ("path", "meaning"),
    [
        ("call.caller", Says.NUMBER),
        ("caller.number", Says.NUMBER),
        ("victim.phone", Says.OTHER_PARTY),
        ("report.phone_number", Says.NUMBER),
        ("user.phone", Says.UNSURE),
        ("scammer.contact.phone", Says.NUMBER),
        ("account.number", Says.ACCOUNT),
        ("ticket.id", Says.ID),
        ("x.y", Says.NOTHING),
    ],
)
def test_what_a_path_says(path, meaning):
    """In JSON the objects around a key say whose it is."""
    assert says_at(path) is meaning


def test_suspects_and_kinds():
    """A suspect's number goes before others; kinds of reports are categories."""
    assert names_culprit("เบอร์คนร้าย")
    assert not names_culprit("caller")
    assert names_category("ประเภทคดี")
    assert not names_category("phone")
    assert words_known(["ลำดับ", "เบอร์โทร", "อื่น ๆ"]) == 2


@pytest.mark.parametrize(
    ("names", "texts", "regions"),
    [
        (["ลำดับ", "เบอร์โทร"], [], ("TH",)),
        (["STT", "Số điện thoại"], [], ("VN",)),
        (["លេខទូរស័ព្ទ"], [], ("KH",)),
        (["ເບີໂທ"], [], ("LA",)),
        (["ဖုန်းနံပါတ်"], [], ("MM",)),
        (["Nomor Telepon", "Tanggal"], [], ("ID",)),
        (["Nombor Telefon", "Tarikh"], [], ("MY",)),
        (["전화번호"], [], ("KR",)),
        (["电话号码", "类型"], [], ("CN", "SG", "MY")),
        (["電話號碼"], [], ("TW", "HK", "MO")),
        (["電話番号"], [], ("JP",)),
        (["Amount (THB)", "Phone"], [], ("TH",)),
        (["phone", "type"], ["เงินกู้", "0812345678"], ("TH",)),
        (["phone", "type"], ["loan"], ()),
        (["ลำดับ", "Số điện thoại"], [], ()),
        ([], [], ()),
    ],
)
def test_a_language_hints_at_countries(names, texts, regions):
    """Names go before texts; English hints at none, and two languages at none either."""
    assert regions_hinted(names, texts) == regions


@pytest.mark.parametrize(
    ("names", "are_calls"),
    [
        (["call_id", "caller", "callee", "start_time", "duration"], True),
        (["src", "dst", "billsec", "disposition"], True),
        (["call_id", "from", "to", "duration"], True),
        (["time", "fromNumber", "toNumber", "duration"], True),
        (["date", "from", "to", "category"], False),
        (["phone", "called_number", "date"], False),
        (["phone", "duration", "channel"], False),
        ([], False),
    ],
)
def test_tables_of_calls(names, are_calls):
    """A table of calls with durations is no list: its callers are everybody."""
    assert names_call_records(names) is are_calls
