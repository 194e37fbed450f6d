"""The words the PTB tokenizer knows by name, found by giving it every word of up to five letters, and many longer ones."""

from __future__ import annotations

# The dot after these belongs to the word wherever they stand and however they are capitalised.
ABBREVIATIONS = (
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thurs fri "
    "ala ariz calif colo conn dak fla ga ind kan kans ky md mich minn mo mont neb nev okla penn tenn va vt wis wisc wyo "
    "inc cos corp ltd co plc bancorp bhd assn assoc univ intl sys jr sr bros ph esq dr drs mr mrs ms mme mlle msgr "
    "messrs prof profs pte ptes ppte pptes pty ptys ppty pptys pvt gen gov govs hon pres rev sen sens rep reps treas "
    "lt lieut maj col capt cpl sgt sfc spc pfc cmdr comdr brig adm ens det insp supt supts atty attys asst "
    "st ave blvd rd rt sq ct bldg mt mtg ft dept univ natl elec mfg est ext etc al seq vs cf cie ste tel invt "
    "adj adv alex jos wm"
).split()

# These are words too, and abbreviations only when they start with a capital.
CAPITALISED_ABBREVIATIONS = "Ark Az Del Ill La Mass Miss Ore Pa Tex Wash".split()

# These keep their dot before a number only.
NUMBERED = "art ca fig figs no nos op pp prop".split()
