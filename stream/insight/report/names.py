"""What people call parties, lists' categories and the gate's reasons."""

from typing import Final

from stream.core.model.agreement import is_country

_WITH_ARTICLE: Final = ("Philippines", "Netherlands", "Maldives", "Bahamas", "Comoros")
_ARTICLE_BEGINS: Final = ("United ", "Central African", "Dominican Rep", "Czech Rep")


def country_name(code: str) -> str:
    """`Cambodia` for KH, by CLDR as libphonenumber carries it; what is no country stays itself."""
    # 0.3 s and 90 MB, which every command and worker would carry: only reports need it.
    from phonenumbers.geodata.locale import LOCALE_DATA  # noqa: PLC0415

    names = LOCALE_DATA.get(code, {}) if is_country(code) else {}
    name = names.get("en", "")
    if name.startswith("*"):  # the same as in another language
        name = names.get(name[1:], "")
    return name or code


def in_sentence(code: str) -> str:
    """The same within a sentence: `the Philippines`."""
    name = country_name(code)
    article = name in _WITH_ARTICLE or name.startswith(_ARTICLE_BEGINS) or name.endswith("Islands")
    return f"the {name}" if article else name


def worded(word: str) -> str:
    """A word of ours for people: `call centre` for call_centre."""
    return word.replace("_", " ")
