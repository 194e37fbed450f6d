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
    "quotes": (
        "\" \"\" ' '' ''' ` `` “ ” ‘ ’ ‚ „ ‟ ‛ « » ‹ › &quot; &apos; &QUOT; \"Stop\" 'no' “yes” ‘tis ’90s "
        '\'90s "A "b." '
        "'c.' said: rock'n'roll 5' 5\" 6'2 ′ ″ \x91 \x92 \x93 \x94"
    ),
    "brackets": (
        "( ) [ ] { } < > (a) [b] {c} ((x)) (555) (1) [1] (s) :( ;) () [] {} << >> -LRB- -RRB- -lsb- -RCB- "
        "1) a) (. .) "
        '(, ,) ). (" (^_^) (TM) (c)'
    ),
    "dates": (
        "Jan. Jan May 5 5th 2014 1/2 01/02/03 2014-05-06 12-25-99 5-6-07 3:15 p.m. a.m. A.M. 8AM 8am-5pm "
        "12:30:45 Mon. "
        "MON.-FRI. Sept. Fri 1980s 1980s-era '80s mid-1990s 9/11 24/7 Dec. 31st o'clock noon 1990-95 1/4/2011 100 BC "
        "A.D. B.C. CE"
    ),
    "measures": (
        "5ft 6'2\" 5'10 10x12 3/4-inch 1 1/2 2½ ½ 1⁄2 5% 90° 20°C 72°F -5 +5 ±3 10km 5.5kg 1,000,000 "
        "1.000,5 $5.99 US$5 "
        "€5,00 5€ £3.50 50¢ #1 No. 7 1-800-555-1234 (555)555-1234 +44 555.1234 3-2 21-14 1st 1.5 .5 5. 1e-5 x2 2x 4K "
        "10-12 10–12 1/2/3 1:2 12,5 1\\/2 m2 m² H₂O"
    ),
    "mail": (
        "a@b.c bob.smith@site.co.uk <a@b.c> mailto:x@y.z @user @user's .@user user@ @ @@ a@b@c http://a.b/c?d=e&f=g "
        "https://site.com/ www.Site.org. WWW.A.NET http://a.b) (http://a.b site.edu/x-y, x.net! #tag "
        "#Tag's ##x #a_b #1a "
        "a.jpeg x.mp3, y.tar.gz z.PHP? &lt;a@b &amp;c@d ftp://x file.c main.py e.g.com"
    ),
    "oddities": (
        "\xad a\xadb 1\xad2 \xad1 Σ ΑΣ Σα ΟΔΟΣ. σΣ-Α \x85 \u2003 \u2009 \u3000 \x00 \x07 \x1f \x7f \t 𝒳 𐐀 "
        "😀 \u0300 e\u0301 "
        "&eacute; &Ouml; &agrave;b \u200d \ufeff \ufffd İ I ı ſ ǅ ﬁ Å K ａ Ａ １ ！ 、 。 ・ ー ٫ ١٢ "
        "http:// http://a www.a.com/ "
        "a.com #a @a a@ b. The No. <a <!b > </b> A&B 5 a-b a_b d' y'"
    ),
}
# What may follow a letter and its dot, hyphens after which nothing comes, a sigma beside soft hyphens.
_OPENERS = (
    "Mr. Ms. MR. MS. mr. mS. Mr Mrs. Dr. Mr., Mr.. Mr.' Mr.Smith Additionally ADDITIONALLY additionally Additionally,"
)
_DANGLING = (
    "pro- anti- Pro- ANTI- xpro- x-pro- 1pro- a/pro- l'pro- pro\xad- pro-\xad pro-anti- pre- non- pro_ pro\u2010 pro-x pro-1 "
    "pro-5.5 pro-b. pro-a.com pro-U.S. anti-U.S., non-u.s."
)
HABITS = [
    *(
        f"{before}{opener}{after}"
        for before in ("B. ", "Panel b.  ", "U.S. ", "9B. ", "B.\u00a0")
        for opener in _OPENERS.split()
        for after in (" x", "")
    ),
    *(f"B. {opener}{after}x" for opener in ("Mr.", "Additionally") for after in ("  ", "\t", "\u00a0", "\x85")),
    *(f"{word}{after}" for word in _DANGLING.split() for after in (" and x", "")),
    *(
        f"pro-{after}"
        for after in [
            "-",
            "-x",
            "--x",
            "---x",
            ".",
            ",",
            "x",
            "!",
            "?x",
            ":",
            ";",
            "/x",
            "_x",
            "'x",
            "'s",
            '"x"',
            "(x)",
            "$5",
            "@x",
            "#x",
            "&x",
            "…",
            ".\xa0The",
        ]
    ),
    *("AA\xad\xadΣ", "AA1\xadΣ", "AΣ.\xadA", "AA.\u0300Σ", "AΣ-\xadA", "AΣ\xad中"),
    *("(pro-) x", "pro -x", "pro's", "pro- b. The", "pro- -x"),
]
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
