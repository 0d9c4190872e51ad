"""True or false, as people spell it. B and F are those of the Cook Inlet tables: B a beluga was there, F the detection was false."""
from __future__ import annotations

import pandas as pd

TRUE, FALSE, UNSURE = "true", "false", "unsure"
SPELLINGS = {
    TRUE: ("true", "t", "yes", "y", "1", "1.0", "b", "beluga", "tp", "true positive", "true detection", "confirmed", "correct", "valid", "verified", "present"),
    FALSE: ("false", "f", "no", "n", "0", "0.0", "fp", "false positive", "false detection", "false alarm", "rejected", "wrong", "incorrect", "invalid", "noise", "absent"),
    UNSURE: ("", "unsure", "u", "?", "unknown", "maybe", "possible", "uncertain", "na", "n/a", "nan"),
}


def read_verdicts(texts, spellings: dict | None = None) -> tuple[pd.Series, pd.Series]:
    """What each text means.

    Parameters
    ----------
    spellings : text -> True, False, or None for unsure; goes before the usual ones. Case and blanks at the ends do not matter.

    Returns
    -------
    verdicts (n,) "true", "false" or "unsure", and which texts (n,) bool are in no map; they count as unsure.
    """
    known = {text: verdict for verdict, told in SPELLINGS.items() for text in told}
    for text, meaning in (spellings or {}).items():
        if meaning not in (True, False, None):
            raise ValueError(f"verdict {text!r}: its meaning is {meaning!r}; give True, False, or None for unsure")
        known[_plain([text]).iloc[0]] = UNSURE if meaning is None else TRUE if meaning else FALSE
    verdicts = _plain(texts).map(known)
    return verdicts.fillna(UNSURE).astype("str"), verdicts.isna()


def _plain(texts) -> pd.Series:
    texts = pd.Series(["" if text is None else str(text) for text in texts], dtype="str")
    return texts.fillna("").str.lower().str.replace(r"[\s_-]+", " ", regex=True).str.strip()
