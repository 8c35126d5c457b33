"""The sentences and equations of `wordprob`, as data.

A template is a text with slots, the steps that solve it, and the range of each number:
    text    "{name} packs {a} boxes with {b} {item} each. ..."
    steps   "a*b; r1+c"      r1 is the result of the first step; three operands count as two operations
    ranges  "a 2-9, b 3-12, c 2-30"
Slots: {name} {other} {third} are different people, and {he} {him} {his} {He} belong to {name}. {item} {item2}
{food} {place} are words, and so is {spare}, an item that the problem does not use. {k:times} says a number as
"twice" or "three times", {k:part} as "half of" or "a third of".
Steps come in the order in which the text makes them possible.

Frozen as version v1: a change here changes the data of every record, so add a v2 instead.
"""

from typing import NamedTuple


class Template(NamedTuple):
    """A family of problems that differ in numbers, people and things only."""

    key: str  # enters the split hash: never rename
    text: str
    steps: str
    ranges: str


class Distractor(NamedTuple):
    """A sentence with a number {x} that does not matter."""

    text: str
    range: tuple[int, int]  # of {x}
    clashes: tuple[str, ...]  # words that, if the problem has them, would make {x} seem to matter


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


HE = _words(
    "Adam Ben Carl David Ethan Felix George Henry Ivan Jack Kevin "
    "Leo Mark Noah Oscar Paul Ravi Sam Tom Victor Will Omar"
)
SHE = _words(
    "Alice Bella Clara Diana Emma Fiona Grace Hannah Irene Julia Kate "
    "Lily Maria Nina Olivia Priya Rosa Sara Tina Uma Wendy Zoe"
)
ITEMS = _words(
    "marbles stickers pencils coins stamps cards buttons shells beads balloons "
    "crayons stones toys ribbons badges magnets postcards keys candles books"
)
FOODS = _words("apples pears plums oranges lemons peaches mangoes figs limes bananas tomatoes carrots")
PLACES = _words("market school library museum park station beach fair farm bakery")

TIMES = {2: "twice", 3: "three times", 4: "four times", 5: "five times"}
PARTS = {2: "half of", 3: "a third of", 4: "a quarter of", 5: "a fifth of"}

# 2 operations
_TWO = (
    Template(
        "eggs-sold",
        "{name} collects {a} eggs each morning. {He} keeps {b} eggs and sells the rest for {c} dollars "
        "each. How many dollars does {he} earn each morning?",
        "a-b; r1*c",
        "a 6-40, b 2-25, c 2-9",
    ),
    Template(
        "boxes-and-loose",
        "{name} fills {a} boxes with {b} {item} each. After that {c} {item} are left over. How many "
        "{item} did {name} have at the start?",
        "a*b; r1+c",
        "a 2-9, b 3-20, c 2-30",
    ),
    Template(
        "gave-then-bought",
        "{name} had {a} {item} and gave {b} of them to {other}. Later {he} bought {c} more at the "
        "{place}. How many {item} does {name} have now?",
        "a-b; r1+c",
        "a 8-80, b 2-50, c 2-50",
    ),
    Template(
        "pages-three-days",
        "{name} read {a} pages on Monday, {b} pages on Tuesday and {c} pages on Wednesday. How many pages "
        "did {he} read on these days in total?",
        "a+b+c",
        "a 3-50, b 3-50, c 3-50",
    ),
    Template(
        "pooled-shared",
        "{name} has {a} {item} and {other} has {b} {item}. They put the {item} together and share them "
        "equally among {c} friends. How many {item} does each friend get?",
        "a+b; r1/c",
        "a 3-60, b 3-60, c 2-9",
    ),
    Template(
        "times-as-many",
        "{other} picked {a} {food}. {name} picked {k:times} as many {food} as {other} and then ate {b} of "
        "them. How many {food} does {name} have left?",
        "a*k; r1-b",
        "a 4-45, k 2-5, b 2-30",
    ),
    Template(
        "fewer-then-both",
        "{name} has {a} {item}. {other} has {b} fewer {item} than {name}. How many {item} do they have "
        "together?",
        "a-b; a+r1",
        "a 8-60, b 2-40",
    ),
    Template(
        "change-from-note",
        "{name} buys {a} {food} for {b} dollars each. {He} pays with {c} dollars. How many dollars does "
        "{he} get back?",
        "a*b; c-r1",
        "a 2-15, b 2-9, c 10-99",
    ),
    Template(
        "bus-stops",
        "A bus leaves the {place} with {a} people. At the first stop {b} people get off, and at the "
        "second stop {c} people get on. How many people are on the bus now?",
        "a-b; r1+c",
        "a 10-70, b 2-50, c 2-40",
    ),
    Template(
        "sold-twice-a-day",
        "A shop has {a} {item}. The shop sells {b} {item} in the morning and {c} {item} in the afternoon. "
        "How many {item} are left in the shop?",
        "a-b-c",
        "a 20-99, b 3-50, c 3-50",
    ),
    Template(
        "gave-half",
        "{name} has {a} {item}. {He} gives half of the {item} to {other} and finds {b} more on the way to "
        "the {place}. How many {item} does {name} have now?",
        "a/2; r1+b",
        "a 4-98, b 2-50",
    ),
    Template(
        "rows-of-trees",
        "A farmer plants {a} rows of trees with {b} trees in each row. In winter {c} of the trees die. "
        "How many trees are still alive?",
        "a*b; r1-c",
        "a 2-9, b 3-20, c 2-50",
    ),
    Template(
        "teams",
        "On Friday {a} children come to play and {b} of them go home early. The other children make teams "
        "of {c}. How many teams are there?",
        "a-b; r1/c",
        "a 12-90, b 2-50, c 2-9",
    ),
    Template(
        "age-later",
        "{other} is {a} years old. {name} is {k:times} as old as {other}. How old will {name} be in {b} "
        "years?",
        "a*k; r1+b",
        "a 2-30, k 2-5, b 2-30",
    ),
    Template(
        "two-shifts-wage",
        "{name} earns {a} dollars an hour. {He} works {b} hours on Saturday and {c} hours on Sunday. How "
        "many dollars does {he} earn on the two days?",
        "b+c; a*r1",
        "a 3-20, b 2-20, c 2-20",
    ),
    Template(
        "train-speed",
        "A train goes {a} miles in {b} hours and does not stop. At the same speed, how many miles does "
        "the train go in {c} hours?",
        "a/b; r1*c",
        "a 10-99, b 2-9, c 2-12",
    ),
    Template(
        "bags-sold",
        "{name} packs {a} {food} into bags of {b}. {He} sells each bag for {c} dollars. How many dollars "
        "does {he} get for all the bags?",
        "a/b; r1*c",
        "a 10-99, b 2-9, c 2-12",
    ),
)

# 3 operations
_THREE = (
    Template(
        "two-kinds-cost",
        "{name} buys {a} {item} for {b} dollars each and {c} {item2} for {d} dollars each. How many "
        "dollars does {he} spend in total?",
        "a*b; c*d; r1+r2",
        "a 2-12, b 2-9, c 2-12, d 2-9",
    ),
    Template(
        "wage-difference",
        "{name} works {a} hours for {b} dollars an hour. {other} works {c} hours for {d} dollars an hour. "
        "How many more dollars does {name} earn than {other}?",
        "a*b; c*d; r1-r2",
        "a 3-15, b 3-9, c 2-12, d 2-9",
    ),
    Template(
        "cookies-shared",
        "{name} bakes {a} trays of {b} cookies. {He} eats {c} cookies and shares the rest equally among "
        "{d} friends. How many cookies does each friend get?",
        "a*b; r1-c; r2/d",
        "a 2-9, b 4-20, c 2-20, d 2-9",
    ),
    Template(
        "three-pickers",
        "{other} picked {a} {food}. {name} picked {k:times} as many as {other}, and {third} picked {b} "
        "more than {name}. How many {food} did {name} and {third} pick together?",
        "a*k; r1+b; r1+r2",
        "a 2-20, k 2-5, b 2-40",
    ),
    Template(
        "lost-half",
        "{name} has {a} {item}. {He} gives {b} {item} to {other} and then loses half of what is left. The "
        "next day {he} finds {c} {item}. How many {item} does {name} have now?",
        "a-b; r1/2; r2+c",
        "a 10-95, b 2-50, c 2-50",
    ),
    Template(
        "dozen-broken",
        "{name} buys {a} dozen eggs and drops {b} of them on the way home. There are {c} eggs in the "
        "kitchen. How many good eggs does {name} have now?",
        "a*12; r1-b; r2+c",
        "a 2-8, b 2-60, c 2-40",
    ),
    Template(
        "class-pencils",
        "A class has {a} girls and {b} boys. The teacher gives {c} pencils to each child and has {d} "
        "pencils left. How many pencils did the teacher have at first?",
        "a+b; r1*c; r2+d",
        "a 2-20, b 2-20, c 2-6, d 2-30",
    ),
    Template(
        "saving-weeks",
        "{name} gets {a} dollars each week and spends {b} of them. {He} has {d} dollars at the start. How "
        "many dollars does {name} have after {c} weeks?",
        "a-b; r1*c; r2+d",
        "a 5-30, b 2-25, c 2-9, d 2-50",
    ),
    Template(
        "two-games",
        "{name} scores {a} points in the first game and {b} points in the second. {other} scores {c} "
        "points in the first game and {d} in the second. How many more points than {other} does {name} "
        "have?",
        "a+b; c+d; r1-r2",
        "a 5-50, b 5-50, c 2-40, d 2-40",
    ),
    Template(
        "family-tickets",
        "A ticket for an adult costs {a} dollars. A ticket for a child costs {b} dollars less. A family "
        "buys {c} tickets for children and one for an adult. How many dollars do they pay?",
        "a-b; r1*c; r2+a",
        "a 6-40, b 2-30, c 2-7",
    ),
    Template(
        "library-shelf",
        "A shelf has {a} rows with {b} books in each row. On Monday {c} books are taken out, and on "
        "Tuesday {d} books are brought back. How many books are on the shelf now?",
        "a*b; r1-c; r2+d",
        "a 2-9, b 4-20, c 3-50, d 2-40",
    ),
    Template(
        "leaking-tank",
        "A tank holds {a} litres of water. The tank loses {b} litres each day for {c} days. Then {name} "
        "adds {d} litres. How many litres are in the tank now?",
        "b*c; a-r1; r2+d",
        "a 30-99, b 2-12, c 2-9, d 2-40",
    ),
    Template(
        "bad-fruit",
        "{name} fills {a} baskets and {other} fills {b} baskets. Each basket holds {c} {food}. It turns "
        "out that {d} of the {food} are bad. How many good {food} are there?",
        "a+b; r1*c; r2-d",
        "a 2-9, b 2-9, c 3-12, d 2-30",
    ),
    Template(
        "way-to-school",
        "A school has {a} children. Of these, {k:part} the children walk and {b} children come by bike. "
        "All other children come by bus. How many children come by bus?",
        "a/k; a-r1-b",
        "a 12-99, k 2-5, b 2-50",
    ),
    Template(
        "rest-of-the-book",
        "A book has {a} pages. {name} reads {b} pages a day for {c} days. {He} reads the rest in {d} "
        "days, the same number each day. How many pages does {he} read on each of these last days?",
        "b*c; a-r1; r2/d",
        "a 30-99, b 3-15, c 2-7, d 2-6",
    ),
    Template(
        "flower-colours",
        "A garden has {a} red flowers. The garden has {k:times} as many yellow flowers, and {b} fewer "
        "white flowers than yellow ones. How many red and white flowers does it have together?",
        "a*k; r1-b; a+r2",
        "a 4-30, k 2-5, b 2-40",
    ),
    Template(
        "shared-bill",
        "A group of {c} friends eats pizza for {a} dollars and salad for {b} dollars. They share the cost "
        "equally, and each one also pays {d} dollars for a drink. How many dollars does each friend pay?",
        "a+b; r1/c; r2+d",
        "a 10-60, b 5-40, c 2-9, d 2-9",
    ),
    Template(
        "bags-of-two",
        "{name} puts {a} {item} into bags of {b}. {other} puts {c} {item} into bags of {d}. How many bags "
        "do they have together?",
        "a/b; c/d; r1+r2",
        "a 8-99, b 2-9, c 8-99, d 2-9",
    ),
    Template(
        "packs-for-friends",
        "One pack holds {a} {item}. {name} buys {b} packs and gives {c} {item} to each of {d} friends. "
        "How many {item} are left?",
        "a*b; c*d; r1-r2",
        "a 4-20, b 2-9, c 2-9, d 2-9",
    ),
)

# 4 operations
_FOUR = (
    Template(
        "two-kinds-change",
        "{name} has {e} dollars. {He} buys {a} {item} for {b} dollars each and {c} {item2} for {d} "
        "dollars each. How many dollars does {he} have left?",
        "a*b; c*d; r1+r2; e-r3",
        "a 2-9, b 2-9, c 2-9, d 2-9, e 25-99",
    ),
    Template(
        "jars-of-sweets",
        "{name} makes {a} jars of {b} sweets. {He} eats {c} sweets and shares the rest equally among {d} "
        "children. {other}, one of these children, had {e} sweets before. How many sweets does {other} "
        "have now?",
        "a*b; r1-c; r2/d; r3+e",
        "a 2-9, b 4-20, c 2-20, d 2-7, e 2-40",
    ),
    Template(
        "flat-wheels",
        "There are {a} cars with 4 wheels each and {b} bikes with 2 wheels each behind the {place}. Of "
        "all these wheels, {c} are flat. How many wheels are good?",
        "a*4; b*2; r1+r2; r3-c",
        "a 2-20, b 2-30, c 2-50",
    ),
    Template(
        "ages-together",
        "{name} is {a} years old. {other} is {k:times} as old as {name}. In {b} years, how old will "
        "{name} and {other} be together?",
        "a*k; a+b; r1+b; r2+r3",
        "a 2-24, k 2-5, b 2-25",
    ),
    Template(
        "three-runners",
        "{name} ran {a} miles in June. In July {he} ran {k:times} as many miles as in June, and in August "
        "{b} miles more than in July. How many miles did {name} run in the three months?",
        "a*k; r1+b; a+r1+r2",
        "a 2-24, k 2-5, b 2-40",
    ),
    Template(
        "two-shifts-against-one",
        "{name} works {a} hours on Saturday and {b} hours on Sunday for {c} dollars an hour. {other} "
        "works {d} hours for {e} dollars an hour. How many more dollars does {name} earn than {other}?",
        "a+b; r1*c; d*e; r2-r3",
        "a 2-9, b 2-9, c 3-9, d 2-9, e 2-9",
    ),
    Template(
        "two-gardens-sold",
        "{name} picks {a} {food}, but {b} of them are bad. {other} picks {c} {food}, but {d} of them are "
        "bad. They sell the good {food} for {e} dollars each. How many dollars do they get?",
        "a-b; c-d; r1+r2; r3*e",
        "a 6-40, b 2-30, c 6-40, d 2-30, e 2-6",
    ),
    Template(
        "two-bag-sizes-sold",
        "A shop packs {a} {food} into bags of {b} and {c} lemons into bags of {d}. Each bag costs {e} "
        "dollars. How many dollars do all the bags cost?",
        "a/b; c/d; r1+r2; r3*e",
        "a 8-80, b 2-9, c 8-80, d 2-9, e 2-7",
    ),
    Template(
        "baker-weekend",
        "On Saturday a baker makes {a} trays of {b} rolls. On Sunday the baker makes half as many rolls "
        "as on Saturday. People buy {c} rolls in all. How many rolls are left?",
        "a*b; r1/2; r1+r2; r3-c",
        "a 2-9, b 3-20, c 2-80",
    ),
    Template(
        "half-of-the-rest",
        "{name} has {c} dollars and buys {a} {item} for {b} dollars each. {He} puts half of the rest in "
        "the bank. Then {other} gives {him} {d} dollars. How many dollars does {name} have in {his} hand?",
        "a*b; c-r1; r2/2; r3+d",
        "a 2-9, b 2-9, c 20-99, d 2-50",
    ),
    Template(
        "eggs-and-milk",
        "A hen house gives {a} eggs a day. {name} eats {b} eggs, bakes with {c} and sells the rest for "
        "{d} dollars each. {He} also sells milk for {e} dollars. How many dollars does {he} get a day?",
        "a-b-c; r1*d; r2+e",
        "a 10-50, b 2-20, c 2-20, d 2-9, e 2-50",
    ),
    Template(
        "two-sports",
        "In {a} weeks {name} plans {d} hours of sport. Each week {he} swims for {b} hours and runs for "
        "{c} hours. How many hours are still missing from the plan?",
        "a*b; a*c; r1+r2; d-r3",
        "a 2-9, b 2-9, c 2-9, d 20-99",
    ),
    Template(
        "three-boxes-pooled",
        "{name} has a box with {a} {item}, a box with {b} and a box with {c}. {He} gives {d} {item} to "
        "{other} and puts the others into {e} equal rows. How many {item} are in each row?",
        "a+b+c; r1-d; r2/e",
        "a 4-40, b 4-40, c 4-40, d 2-40, e 2-9",
    ),
)

# 5 operations
_FIVE = (
    Template(
        "three-kinds-cost",
        "{name} buys {a} {item} for {b} dollars each, {c} {item2} for {d} dollars each and {e} {food} for "
        "{f} dollars each. How many dollars does {he} spend in total?",
        "a*b; c*d; e*f; r1+r2+r3",
        "a 2-9, b 2-9, c 2-9, d 2-9, e 2-9, f 2-6",
    ),
    Template(
        "two-trays-shared",
        "{name} bakes {a} trays of {b} rolls and {other} bakes {c} trays of {d} rolls. They eat {e} rolls "
        "together and put the rest into bags of {f}. How many bags do they fill?",
        "a*b; c*d; r1+r2; r3-e; r4/f",
        "a 2-9, b 3-12, c 2-9, d 3-12, e 2-30, f 2-8",
    ),
    Template(
        "two-classes-paper",
        "Class one has {a} girls and {b} boys. Class two has {c} girls and {d} boys. Each child in class "
        "one gets {e} {item}, each child in class two gets {f}. How many more {item} does class one get?",
        "a+b; c+d; r1*e; r2*f; r3-r4",
        "a 3-16, b 3-16, c 2-12, d 2-12, e 2-7, f 2-5",
    ),
    Template(
        "three-piles-shared",
        "{name} finds {a} {item}. {other} finds {k:times} as many, and {third} finds {b} fewer than "
        "{other}. They share all the {item} equally among {c} children. How many {item} does each child "
        "get?",
        "a*k; r1-b; a+r1+r2; r3/c",
        "a 3-24, k 2-5, b 2-40, c 2-8",
    ),
    Template(
        "half-sold-for-money",
        "{name} has {a} {food} and eats {b} of them. {He} gives half of the rest to {other} and sells all "
        "others for {c} dollars each. {He} had {d} dollars before. How many dollars does {name} have now?",
        "a-b; r1/2; r1-r2; r3*c; r4+d",
        "a 8-60, b 2-40, c 2-9, d 2-50",
    ),
    Template(
        "last-dollars",
        "{name} has {e} dollars. {He} buys {a} {item} for {b} dollars each and {c} {item2} for {d} "
        "dollars each. With all that is left {he} buys {food} for {f} dollars each. How many {food} does "
        "{he} buy?",
        "a*b; c*d; e-r1-r2; r3/f",
        "a 2-9, b 2-9, c 2-9, d 2-9, e 30-99, f 2-8",
    ),
    Template(
        "bags-gain",
        "{name} packs {a} {food} into bags of {b} and {c} {food} into boxes of {d}. {He} sells each bag "
        "and each box for {e} dollars. The stand costs {f} dollars. How many dollars does {he} keep?",
        "a/b; c/d; r1+r2; r3*e; r4-f",
        "a 8-80, b 2-9, c 8-80, d 2-9, e 2-9, f 3-60",
    ),
    Template(
        "two-loads",
        "A truck brings {a} boxes of {b} {item}, but {c} {item} are broken. Another truck brings {d} "
        "boxes of {e}, all good. The good {item} go to {f} shops in equal parts. How many does each shop "
        "get?",
        "a*b; r1-c; d*e; r2+r3; r4/f",
        "a 2-9, b 3-12, c 2-30, d 2-9, e 2-12, f 2-8",
    ),
)

SEEN = _TWO + _THREE + _FOUR + _FIVE

# Never in train, validation or test: other stories, and some other shapes of equation.
HELD_OUT = (
    Template(
        "ladder-steps",
        "{name} climbs {a} steps of a tower, rests, and climbs {b} steps more. The tower has {c} steps. "
        "How many steps are still above {name}?",
        "a+b; c-r1",
        "a 4-45, b 4-45, c 30-99",
    ),
    Template(
        "weeks-of-feed",
        "A farm has {a} cows that eat {b} bags of feed a day. There are {c} bags of feed for each cow. "
        "How many days does the feed last?",
        "a*c; r1/b",
        "a 2-20, b 2-20, c 2-12",
    ),
    Template(
        "birds-on-a-lake",
        "There are {a} ducks and {b} geese on a lake. Half of all these birds fly away. How many birds "
        "are left?",
        "a+b; r1/2",
        "a 3-60, b 3-60",
    ),
    Template(
        "chairs-in-halls",
        "A hall has {a} rows of {b} chairs, and a small hall has {c} rows of {d} chairs. How many more "
        "chairs are in the first hall than in the small one?",
        "a*b; c*d; r1-r2",
        "a 3-12, b 4-9, c 2-9, d 2-9",
    ),
    Template(
        "paint-cans",
        "{name} needs {a} cans of paint for the house and {b} cans for the fence. {He} has {c} cans "
        "already and pays {d} dollars for each can {he} still needs. How many dollars does {he} pay?",
        "a+b; r1-c; r2*d",
        "a 3-20, b 2-20, c 2-20, d 2-9",
    ),
    Template(
        "rope-pieces",
        "A rope is {a} feet long. {name} cuts off {b} feet, cuts the rest into {c} equal parts, and ties "
        "{d} feet to one part. How many feet long is this part now?",
        "a-b; r1/c; r2+d",
        "a 12-99, b 2-50, c 2-8, d 2-30",
    ),
    Template(
        "lamps-by-room",
        "A house has {a} rooms with {b} lamps each and a cellar with {c} lamps. Each lamp needs {d} hours "
        "of work. How many hours of work do all the lamps need?",
        "a*b; r1+c; r2*d",
        "a 2-9, b 2-9, c 2-15, d 2-5",
    ),
    Template(
        "ship-crew",
        "A ship carries {a} men and {b} women. At a port {c} people leave, and {d} boats with {e} people "
        "each come on board. How many people does the ship carry now?",
        "a+b; r1-c; d*e; r2+r3",
        "a 5-45, b 5-45, c 3-50, d 2-7, e 2-9",
    ),
    Template(
        "match-goals",
        "{name} shoots {a} goals in each of {b} games. {other} shoots {c} goals in each of {d} games and "
        "{e} goals in the last game. How many goals do they shoot together?",
        "a*b; c*d; r2+e; r1+r3",
        "a 2-9, b 2-9, c 2-9, d 2-9, e 2-9",
    ),
    Template(
        "third-of-the-wood",
        "{name} brings {a} logs and {other} brings {b} logs. They burn {k:part} the logs and then {c} "
        "logs more. How many logs are left?",
        "a+b; r1/k; r1-r2-c",
        "a 5-50, b 5-50, k 2-5, c 2-40",
    ),
    Template(
        "two-painters-fence",
        "{name} paints {a} boards an hour and {other} paints {b} boards an hour. {name} works {c} hours "
        "and {other} works {d} hours. The boards make fences of {e} boards, and {f} fences stood before. "
        "How many fences stand now?",
        "a*c; b*d; r1+r2; r3/e; r4+f",
        "a 2-9, b 2-9, c 2-9, d 2-9, e 2-8, f 2-40",
    ),
    Template(
        "concert-money",
        "A choir sells {a} cheap tickets for {b} dollars each and {c} dear tickets for {d} dollars each. "
        "The choir pays {e} dollars for the hall and {f} dollars for flowers. How many dollars does the "
        "choir keep?",
        "a*b; c*d; r1+r2; r3-e-f",
        "a 3-15, b 2-6, c 2-9, d 3-9, e 3-50, f 2-20",
    ),
)

# Sentences about {name}, for problems that have one.
PERSONAL_DISTRACTORS = (
    Distractor("{name} is {x} years old.", (5, 80), ("years", "old")),
    Distractor("{name} lives {x} miles from the {place}.", (2, 30), ("miles",)),
    Distractor("{name} has {x} cousins.", (2, 20), ()),
    Distractor("{name} gets up at {x} each day.", (4, 9), ("day",)),
    Distractor("{name} has a dog that is {x} years old.", (2, 15), ("years", "old")),
    Distractor("{name} also saw {x} birds on the way.", (2, 60), ("birds",)),
    Distractor("{name} slept for {x} minutes after lunch.", (5, 60), ("minutes", "lunch")),
    Distractor("{name} has known the farmer for {x} months.", (2, 40), ("months", "farmer")),
    Distractor("The house of {name} has number {x}.", (2, 99), ("house",)),
    Distractor("{name} once read a story of {x} pages.", (5, 99), ("pages",)),
    Distractor("{name} saw {x} {spare} in a window.", (2, 60), ()),
    Distractor("{name} is {x} inches tall.", (50, 75), ("feet",)),
)
# Sentences that fit any problem.
PLAIN_DISTRACTORS = (
    Distractor("It was {x} degrees warm that day.", (50, 90), ()),
    Distractor("The {place} is {x} minutes away.", (3, 50), ("minutes",)),
    Distractor("The day before, {x} people were at the {place}.", (3, 99), ("people",)),
    Distractor("Last year it rained on {x} days in May.", (2, 30), ()),
    Distractor("The radio played {x} songs.", (2, 20), ()),
    Distractor("There are {x} cars in the street.", (2, 40), ("cars",)),
    Distractor("A clock on the wall was {x} minutes slow.", (2, 20), ("minutes",)),
    Distractor("A poster shows {x} {spare}.", (2, 40), ()),
)
