"""The lists of words that the PTB tokenizer treats in a special way.

The lists were found by giving the original every word of up to five letters, and many longer ones, alone and beside
other words.
"""

from __future__ import annotations


def _word_list(text: str) -> tuple[str, ...]:
    return tuple(text.split())


# The dot after these words belongs to the word, wherever they stand and in any case.
ABBREVIATIONS = _word_list("""
    jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri
    ala ariz calif colo conn dak fla ga ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc wyo
    inc cos corp ltd co plc bancorp bhd assn univ intl sys jr sr bros esq ph.d
    blvd rd rt sq ct bldg est ext etc al seq tel
""")

# The dot belongs to these words too, and the sentence goes on after them: Mr.X is one word, but etc.X is two.
TITLES = _word_list("""
    dr drs mr mrs ms mme mlle msgr messrs prof profs gen gov govs hon pres rev sen sens rep reps treas
    pvt lt lieut maj col capt cpl sgt sfc spc pfc cmdr comdr brig adm ens det insp supt supts atty attys asst
    assoc ph st ave mt ft dept natl elec vs cf cie ste invt adj adv alex jos wm
""")

# These are abbreviations in lower case and with one capital, but not in capitals alone; the second list is like TITLES.
NEVER_SHOUTED = tuple(
    form for word in _word_list("pte ptes pty ptys ppte pptes ppty pptys") for form in (word, word.title())
)

NEVER_SHOUTED_TITLES = ("mfg", "Mfg", "mtg", "Mtg")

# These are also ordinary words, and are abbreviations only if they start with a capital.
CAPITALISED = tuple(
    form for word in _word_list("Ark Az Del Ill La Mass Miss Ore Pa Tex Wash") for form in (word, word.upper())
)

# These keep their dot only before a number.
NUMBERED = _word_list("art ca fig figs no nos op pp prop")

# Capitalised words that begin a sentence: before them, a single letter loses its dot.
SENTENCE_STARTERS = _word_list("""
    A About According Additionally After An As At But Earlier He Her Here However If In It Last Many More Mr. Ms. Now
    Once One Other Our She Since So Some Such That The Their Then There These They This We What When While Yet You
""")

# These keep a hyphen that no word follows: pro- and anti-war.
DANGLING = ("anti", "pro")

# Words with an apostrophe that no other rule would keep whole.
APOSTROPHE_WORDS = _word_list("""
    cap'n c'est c'mon dunkin' e'er ev'ry li'l ne'er nor'easter ol' o'er s'mores somethin' whate'er o'o o`o
""")

# Words of two tokens: the first token, and the second one, which must follow it.
FUSED = (("can", "not"), ("gim", "me"), ("gon", "na"), ("got", "ta"), ("lem", "me"), ("wan", "na"))

# A name that ends in one of these is the name of a file.
FILE_TYPES = _word_list("""
    bat bmp c cgi class cpp dll doc docx exe gif gz h htm html jar java jpeg jpg mov mp3 pdf php pl png ppt ps py sql
    tar txt wav x xml zip
""")
