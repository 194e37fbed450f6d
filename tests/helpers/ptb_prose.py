"""Long descriptions for the tokenizer: paragraphs with the punctuation that such texts have."""

from __future__ import annotations

import random
from collections.abc import Sequence

_FRAMES = (
    "A {adj} {noun} with the words {sign} on it, {measure} tall; {clause}.",
    "The {noun}—{clause}—is {adj}.",
    "{name} said, “{sentence}” and {clause}.",
    'He asked: "Is the {noun} {adj}?" - {clause}...',
    "In {date}, {name} ({number}) won {score} against {place}.",
    "At {time}, the {noun}'s {adj} side ({measure}) faces {place}.",
    "**{adj}** {noun}: {clause}",
    "### The {noun} in {place}",
    "- {clause}",
    "{small}. {clause}.",
    "{sign}",
    "RT {handle}: {clause} {tag} {tag} {url}",
    "({place}) -- {sentence}",
    "The {brand} {noun} costs {price}, i.e. {number} less than the {brand}'s.",
    "Temperatures of {degree} were measured in {place} on {date}.",
    "Call {phone} or write to {mail}; see {url}.",
    "The plate reads {plate}, and the {noun}s' colours are {adj}/{adj}.",
    "{name}'s {noun}, {clause} – {adj}, {adj}, and {adj} – can't be {adj}!",
    "It doesn't matter; they're {adj}, we'll see... {sentence}",
    "{sentence} {small}% of the {noun}s weren't {adj} ({date}).",
    "a {adj} {noun} is sitting on a {noun} , {clause} .",
    "`` {sentence} '' said {name} .",
    "{roman}. {sentence} See No. {small}, Fig. {small}, pp. {small}-{number}.",
    "<p>{sentence}</p> &amp; {clause}",
    "{sentence} What?! No way!!! :-) {clause} ;)",
    "{clause}, etc. {sentence}",
    "{noun} #{small}: {clause}, vs. {noun} no. {small}.",
    "Letter {letter}. {sentence}",
    "[{noun}] {clause} / {clause} | {adj} _{noun}_ ~{small} {measure}",
)
_WORDS = {
    "adj": "red white-and-blue well-lit 10-year-old semi-transparent U.S.-made half-eaten so-called "
    "café-style dark/light "
    "non-descript 1950s-style two-toned multi-colored (blurry) 'old' \"new\" black & white X-shaped 3D 90s 45-degree",
    "noun": "dog cat stop sign t-shirt T-shirt man woman SUV jack-o'-lantern o'clock TV building B-52 "
    "iPhone 6s Boeing 747-400 "
    "F/A-18 R2-D2 No.7 CD's DVDs passer-by mother-in-law children's dogs' rock 'n' roll ma'am Xbox360 A380 "
    "WW2 GPT-4o",
    "clause": "it's raining|they can't see|the 2nd one isn't here|y'all gonna love it|there's a 'no entry' sign|"
    "a man (left) and a woman (right) walk|he's 6'2\" tall|it was the '80s|people of the 1980's dance|"
    "wanna go|gotta run|'tis true|ol' man river flows|she'd've known|who's who|cannot move|lemme see|"
    "the top-left corner says 'EXIT'|both—the cat and the dog—sleep|two-thirds (2/3) is empty|approx. 5 ft. away|"
    'a.k.a. "the big one"|e.g. dogs, cats, etc.|w/o shoes|and/or hats|some 1,000+ people|his/her bag',
    "name": "Dr. Smith|J. K. Rowling|J.K. Rowling|Martin Luther King, Jr.|John F. Kennedy|"
    "Mr. and Mrs. O'Neil|St. Nicholas|"
    "Gov. Brown|Lt. Col. Adams|Prof. X|George W. Bush|D'Angelo|Sgt. Pepper's Band|Ms. Lee-Jones|Beyoncé|Sen. Ted "
    "Kennedy (D-Mass.)|Rep. Ron Paul, R-Texas|Pres. Obama|Sammy Davis Jr.|Robert E. Lee|Mrs. Zürcher",
    "place": "St. Louis, Mo.|Washington, D.C.|the U.S. Army|U.K.|N.Y.|Ft. Lauderdale, Fla.|Mt. Everest|"
    "5th Ave.|221B Baker St.|"
    "Calif.|São Paulo|St. John's|L.A.|New York (N.Y.)|Los Angeles, Calif.-based|U.S.A.|Main St. & 3rd Ave.|"
    "Minn. and Wis.",
    "date": "Jan. 5, 2014|the 1980s|the '90s|9/11|5/6/07|Sept. 11th|2013-05-06|May 5th|Mon., Dec. 3|"
    "1914-18|the mid-1990s|"
    "Feb. 29|500 B.C.|A.D. 79|Oct. 2012|Tues.|the 21st century|Nov.|12.05.2011|FY2013",
    "time": "3:15 p.m.|8AM|10 o'clock|12:30|7:00 A.M.|a quarter to 5|23:59:59|11 a.m. ET|4pm|6 P.M|9:30am-5pm",
    "measure": '6\'2"|5"|10x12|3/4-inch|1 1/2 in.|5-ft.|20 ft.|100m|3.5 km|½ inch|2½ cups|8.5" x 11"|'
    "6 ft. 2 in.|12 oz.|5 lbs.|"
    "1,200 sq. ft.|10' x 12'|35mm f/2.8|1920x1080|16:9|50 mph|2 × 4",
    "number": "1,000|3.5|No. 7|42|100-200|1.5 million|20%|5.5%|1/2|3 1/2|-5|+10|1st|22nd|#1|1,234,567.89|"
    "0.05|50,000+|one-third|.500|10^3",
    "score": "3-2|21-14|6-4, 7-6 (7-3)|2–1|100 to 98|1-0|(4-1)|3:2",
    "price": "$5|$5.99|US$20|€5|£3.50|50¢|$1.5 million|5€|¥100|$10-$20|A$50|$1,000,000|$.99|20 USD|99c|Rs. 500",
    "degree": "90°|72°F|-5 °C|98.6 degrees|20-25°C|32°|100° F|0.5°",
    "phone": "555-1234|(555) 555-1234|1-800-555-1234|555.123.4567|+44 20 7946 0958|911|1 (800) 555 1234|"
    "0800 123 456|555 1234",
    "handle": "@bob|@a_b|@NASA's|@user1|.@cnn|@",
    "tag": "#fun|#TBT|#1|#no_filter|#café|#a1b2|##x",
    "url": "http://t.co/aB3dE|www.site.com|https://site.co.uk/a-b?c=d&e=f.|site.com|www.site.org/x,|"
    "Site.com|CNN.com|Amazon.com's|"
    "a.b.com/x|(http://a.b/c)|http://www.cnn.com/2013/05/06/x.html|photo.jpg|index.html|Node.js",
    "mail": "bob@site.com|a.b@c.co.uk.|<x@y.org>|bob@site|mailto:a@b.com",
    "plate": "ABC-123|7XYZ 123|\"CA 5ABC123\"|B-MW 1234|K-9|N747BA|GO4IT|P51 D|'LV·123'",
    "brand": "Coca-Cola M&M's 7-Eleven Dunkin' Dunkin'Donuts Yahoo! AT&T H&M Toys\"R\"Us L'Oréal "
    "Ben&Jerry's A&W McDonald's 3M E*Trade "
    "Macy's Levi's® iPad™ Dr.Pepper Wal-Mart P&G C&A Chick-fil-A Häagen-Dazs Rolls-Royce 20th D&G Jeep®",
    "small": "1 2 3 4 7 9 10 11 15 20 50 99 100",
    "roman": "I II III IV V X XIV i ii iv A B",
    "letter": "A B C K S X e",
}
_SIGNS = (
    "NO PARKING 8AM-5PM MON.-FRI.|WELCOME TO ST. JOHN'S|SALE! 50% OFF!!|EST. 1987|STOP|ONE WAY ->|"
    "DON'T WALK|OPEN 24 HRS.|"
    "NO. 7|JAN. 1 - DEC. 31|MR. & MRS.|CO., INC.|U.S. MAIL|BUS STOP / ARRÊT|EXIT 25A|10¢|"
    "SPEED LIMIT 55 M.P.H.|RR XING|"
    "BOB'S BAR-B-Q|I ♥ NY|HWY. 66|P.O. BOX 12|FIRE DEPT.|ST. PAUL'S CATH.|$2.99/LB.|MADE IN U.S.A.|"
    "LOVE IS...|5TH AVE.|"
    "W. 42ND ST.|NO U-TURN|KEEP OUT!!!|HAPPY B-DAY|CAN'T STOP|WANNA PLAY?|LOT #5|B&B|R.I.P.|24/7|100% PURE|"
    "ROCK 'N' ROLL|"
    "GATES 1-10|X-ING|PHONE: 555-1234|WWW.SITE.COM|SITE.COM|GO! GO! GO!|DR. PEPPER|ELM ST|TEL. 555-1234|"
    "FIG. 1|VT. MAPLE|WASH. ME"
)
_QUOTES = ('"{}"', "'{}'", "“{}”", "‘{}’", "{}", "*{}*", "`{}'", "``{}''", "«{}»", '"{},"', '"{}."', "'{}.'", "({})")


def _values(name: str, rng: random.Random) -> str:
    if name == "sign":
        sign = rng.choice(_SIGNS.split("|"))
        return rng.choice(_QUOTES).format(sign if rng.random() < 0.8 else sign.title())
    text = _WORDS[name]
    return rng.choice(text.split("|" if "|" in text else " "))


def _sentence(captions: Sequence[str], rng: random.Random) -> str:
    shape = rng.random()
    if shape < 0.4:
        caption = rng.choice(captions)
        return caption[:1].upper() + caption[1:] if shape < 0.3 else caption
    text = rng.choice(_FRAMES)
    for name in (*_WORDS, "sign"):
        while f"{{{name}}}" in text:
            text = text.replace(f"{{{name}}}", _values(name, rng), 1)
    return text.replace("{sentence}", rng.choice(captions))


def paragraphs(count: int, seed: int, captions: Sequence[str]) -> list[str]:
    """Make texts of one to eight sentences out of captions and templates, glued as people glue them."""
    rng = random.Random(seed)
    glue = (" ", " ", " ", "  ", "", " - ", "; ", ", ", "\u00a0", " \\n", "—", "… ", "/")
    texts = []
    for _ in range(count):
        parts: list[str] = []
        for _ in range(rng.choice((1, 2, 3, 4, 8))):
            sentence = _sentence(captions, rng)
            sentence = sentence.upper() if rng.random() < 0.03 else sentence
            parts += [sentence, rng.choice(glue)]
        texts.append("".join(parts[:-1]))
    return texts
