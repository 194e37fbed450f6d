"""METEOR values that more than one test holds against."""

# Outputs of pycocoevalcap 1.2: tokenized candidate, references, score. Their corpus score is 0.2896401776781528.
GOLDEN = [
    ("a dog runs in the park", ["a dog is running through a park", "the puppy runs in a park"], 0.3196413750944834),
    ("the cat sat on the mat", ["a cat sits on a mat", "a cat is on the rug"], 0.37417456858415504),
    (
        "a man is riding a brown horse on the beach",
        [
            "a person rides a horse along the shore",
            "a man on horseback at the beach",
            "someone riding a brown horse near the ocean",
        ],
        0.3433979169820929,
    ),
    (
        "two children",
        ["two kids are playing with a red ball in the yard", "children play in a garden"],
        0.12060301507537688,
    ),
    ("a a a a a a a a", ["a red bus", "a bus on a street"], 0.0903954802259887),
    ("", ["an empty caption", "nothing"], 0.0),
    ("a bus", ["a bus", "a red bus"], 1.0),
    (
        "a woman 's hand is n't holding the half-eaten sandwich",
        ["a hand holding a half eaten sandwich", "the woman holds a sandwich"],
        0.3863656243121846,
    ),
    ("street", ["a busy street with cars", "street"], 1.0),
    (
        "a large white airplane flying through a blue sky over some tall buildings in the city",
        [
            "a plane flies over the city",
            "an airplane in the sky above skyscrapers",
            "a jet flying over tall buildings",
        ],
        0.2709869075945524,
    ),
]
