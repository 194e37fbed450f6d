"""Hostile text for the tokenizer: fragments that its rules care about, glued together in ways nobody writes."""

from __future__ import annotations

import random

FAMILIES = {
    "words": (
        "a b I A dog Dog DOG cat the The He ab x s t d n o l re ve ll don can cannot gonna wanna Gotta "
        "lemme gimme more tis twas 'tis 'twas is was not wo do did U S J K Rowling é café naïve Zürich 中文 "
        "Привет مرحبا हिन्दी ñ ß"
    ),
    "abbreviations": (
        "Mr Mrs dr St st Ave etc vs jr Inc co corp Jan sept U.S U.S.A a.m p.m P.M Ph.D e.g i.e No no Fig pp "
        "art ca op Mass mass Ill ill wash Wash Tex tex La la al est ft mt Mt ph Alex seq a.k.a R.I.P T.V "
        "gen Gov approx lb"
    ),
    "numbers": (
        "0 1 5 10 12 99 100 555 1234 2010 1,000 3.5 .5 1/2 3/4 12:30 24/7 1st 2nd 3D 4x4 90s 1990s '90s '05 "
        "10% 5'10 6'2\" 747-400 3-2 100-200 1,000-1,640 555-1234 0800 020 7946 (555) ½ ¼ ⅓ 1⁄2 ² ₂ ٣ 1e5 "
        "11/12/2013 1.5-inch 80's"
    ),
    "punctuation": (
        ". , ; : ! ? ... .. .... … - -- --- ----- – — ' '' \" ` `` ‘ ’ “ ” „ « » ‹ › ( ) [ ] { } < > / \\ | _ "
        "__ * ** ~ ^ + ++ = == # ## @ & && % $ $$ ° © ™ € £ ¢ ¥ × ÷ ± → ♥ ?! !? !! ?? !!! ´ ¨ ¿ ¡ ′ ″ "
        "\u200b \u2010 \ufeff"
    ),
    "apostrophes": (
        "n't n’t n`t 's ’s 'S 'm 'd 'll 've 're 't 'em 'til 'till 'cause 'n' 'n ’n’ 'bout o' O' d' l' j' y' "
        "y'all c'mon ma'am o'clock ol' cap'n s'mores qu'il Hawai'i d'ye more'n dunkin' somethin' don't "
        "can't isn't ain’t it's dogs' rock'n'roll cat's 'cuz ev'ry e'er o'er li'l xi'an &apos;s &apos;em "
        "don&apos;t"
    ),
    "web": (
        "http:// http://a.b www. www.a.b www.site.com site.com a.com/bb aa.org/x/y bob@site.com a@b @user "
        "@a_b #tag #1 photo.jpg a.JPG 0.txt a.b.c <b> </b> <br/> <unk> &amp; &lt; &gt; &quot; &apos; &nbsp; "
        "&#39; &mdash; &copy; &amp .com \\* \\/ -LRB- -rrb-"
    ),
    "smileys": (
        ":) :-) :( ;) :D :P :p :/ :'( =) 8) :] :[ :} :{ XD :o :O :| <3 ^_^ -_- o_O T_T >:( (: (^_^) >_< :3 😀 ☺ 👍🏽 ♀️"
    ),
    "money": ("US$ US$5 A$ C$5 HK$ $5 $5.50 $1,000 $.50 £5 €10 5€ 5¢ ¥100 USD Rs. 5$ R$ $US"),
    "joined": (
        "AT&T R&B a&b C++ c# F# A+ B- AT&amp;T Q&A H&M and/or w/ w/o his/her n/a a/b/c half-eaten/raw x-ray "
        "t-shirts black-and-white 12-year-old U.S.-based mother-in-law semi- -ish F-16 A380 snake_case _x_ "
        "__init__ a*b a=b x+y"
    ),
}
_GLUE = ("", "", "", " ", " ", "  ", "-", ".", "'", "\u00a0", ", ", ". ", "/")


def hostile(count: int, seed: int, family: str | None = None) -> list[str]:
    """Make texts of two to five fragments; with a family, most fragments come from it."""
    rng = random.Random(f"{seed} {family}")
    pools = {name: text.split(" ") for name, text in FAMILIES.items()}
    names = sorted(pools)
    texts = []
    for _ in range(count):
        parts: list[str] = []
        for _ in range(rng.randint(2, 5)):
            pool = pools[family] if family and rng.random() < 0.6 else pools[rng.choice(names)]
            fragment = rng.choice(pool)
            shape = rng.random()
            fragment = fragment.upper() if shape < 0.05 else fragment.title() if shape < 0.1 else fragment
            parts += [fragment, rng.choice(_GLUE)]
        texts.append("".join(parts[:-1]))
    return texts
