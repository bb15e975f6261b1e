# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Sentences beside the plot: what is seen, worn, carried, done, remembered and said in passing.

Each noun has its own adjectives and verbs, each relative an own way of speaking. This is what costs a model weights to know, and
what it loses first when weights are rounded or removed. Facts told here (clothes, pockets, relatives) are asked about at the end.
"""

# noun: adjectives, what it does (past)
SIGHTS = {
    "oak": ("old crooked mighty hollow", "creaked in the wind|dropped an acorn|gave shade to three benches|had lost a branch"),
    "birch": ("slender silver young bare", "bent in the wind|shook its leaves|stood alone on the slope"),
    "willow": ("weeping bent gray thirsty", "trailed its twigs in the water|leaned over the bank|hid a nest"),
    "hill": ("low round green bald", "rose behind the roofs|hid the next village|was covered with broom"),
    "brook": ("clear narrow noisy shallow", "ran over the stones|murmured under the planks|turned a small wheel"),
    "pond": ("still muddy round deep", "mirrored the clouds|was full of frogs|smelled of reeds"),
    "meadow": ("wet wide steep flowering", "hummed with bees|steamed in the sun|was full of daisies"),
    "cloud": ("dark ragged white lonely", "drifted over the ridge|looked like a sleeping bear|covered the sun"),
    "moon": ("pale full thin yellow", "rose behind the barn|stood above the chimneys|shone through the branches"),
    "star": ("bright single cold faint", "stood above the church|twinkled over the roofs|fell and went out"),
    "path": ("stony winding sandy overgrown", "led down to the water|ended at a gate|climbed between the hedges"),
    "gate": ("rusty heavy wooden broken", "swung open and shut|squeaked on its hinges|hung by one nail"),
    "fence": ("crooked mossy painted low", "leaned toward the road|had lost a board|kept nobody out"),
    "barn": ("red drafty huge empty", "smelled of hay|stood open|creaked like a ship"),
    "chimney": ("tall smoking brick sooty", "sent up a thin thread of smoke|carried a stork's nest|whistled in the wind"),
    "church": ("small white cool ancient", "stood among the graves|struck the quarter|smelled of wax"),
    "mill": ("busy distant wooden white", "turned slowly|stood still for once|clattered behind the alders"),
    "boat": ("leaky green flat tarred", "rocked at its rope|lay upside down on the sand|drifted past without anybody in it"),
    "cart": ("loaded empty rattling muddy", "rolled past|stood in the way|lost a sack at the corner"),
    "stork": ("proud white hungry lonely", "clattered on the roof|walked through the wet grass|caught a frog"),
    "swallow": ("quick busy early blue", "shot under the eaves|fed its young|flew low, which means rain"),
    "blackbird": ("shiny bold fat early", "sang on the gable|pulled a worm from the lawn|scolded the cat"),
    "sparrow": ("cheeky dusty small brown", "bathed in the dust|stole a crumb|quarreled in the hedge"),
    "heron": ("gray patient lean solemn", "stood on one leg in the shallows|speared a fish|flapped away slowly"),
    "frog": ("green fat loud tiny", "jumped into the water|croaked without stopping|sat on a lily leaf"),
    "snail": ("striped slow yellow sticky", "crossed the doorstep|ate the lettuce|slept in its shell"),
    "bee": ("sleepy golden busy late", "crept into a bell flower|bumped against the pane|carried pollen home"),
    "beetle": ("black shiny clumsy green", "fell on its back|crawled over the bread|hummed around the lamp"),
    "moth": ("white soft dusty lost", "fluttered around the candle|sat on the curtain|had eaten the scarf"),
    "mouse": ("gray hungry quick bold", "rustled behind the wall|nibbled at the cheese|looked out of its hole"),
    "stove": ("warm black tiled iron", "crackled|glowed in the corner|had gone out"),
    "candle": ("short dripping crooked last", "flickered in the draft|had burned down to a stump|threw long shadows"),
    "kettle": ("dented copper big singing", "began to sing|boiled over|hung above the fire"),
    "clock": ("loud old wooden stopped", "ticked on the wall|struck the hour|was eleven minutes slow"),
    "table": ("long scrubbed wobbly round", "was covered with flour|stood in the middle of the room|wobbled on three legs"),
    "window": ("open small dusty round", "looked out on the yard|rattled in its frame|let in the smell of lilac"),
    "curtain": ("thin striped faded yellow", "moved in the draft|was drawn|hid half the street"),
    "stair": ("steep dark narrow worn", "creaked at the fourth step|led up to the attic|smelled of apples"),
    "cellar": ("cool dark damp low", "was full of barrels|smelled of potatoes|had a door nobody used"),
    "bell": ("cracked small deep distant", "rang for noon|rang twice|called the children in"),
    "fountain": ("mossy stone dry splashing", "splashed in the square|was full of leaves|ran day and night"),
    "inn": ("noisy smoky friendly crowded", "was full to the last chair|smelled of roast goose|had lit its lamps"),
    "lane": ("narrow muddy quiet cobbled", "lay in shadow|wound between the walls|was empty"),
    "laundry": ("wet white fluttering patched", "hung across the yard|dried on the hedge|blew into the street"),
    "rose": ("wild late red climbing", "bloomed by the door|had lost its petals|grew through the fence"),
    "nettle": ("tall young stinging green", "grew along the wall|burned the ankles|had taken over the yard"),
    "mushroom": ("brown spotted early big", "stood under the pines|had been nibbled by snails|smelled of earth"),
    "scarecrow": ("ragged friendly crooked straw", "wore an old hat|waved its sleeves|frightened nobody"),
    "ferry": ("slow flat crowded creaking", "crossed the water|waited at the landing|was late"),
    "raft": ("long wet heavy clumsy", "came down the river|was stuck on a sandbank|carried logs to the sea"),
}

# relatives: adjective-like fact and saying
RELATIVES = ["grandmother", "grandfather", "aunt", "uncle", "older sister", "younger brother", "cousin", "mother", "father", "godmother",
             "great-uncle", "sister-in-law"]
DEEDS = ["had sailed around the cape", "had built a house without a single nail", "had once met a king", "could read the stars",
         "had taught a raven to count", "had walked to the sea in nine days", "had slept through an earthquake",
         "knew a song with forty verses", "had planted every lime tree on the road", "had won a horse at cards and lost it again",
         "could tell the weather from a sore knee", "had never eaten a warm supper", "had been a drummer in the army",
         "had sold the same cow twice", "could whistle two notes at once", "had painted the ceiling of the town hall",
         "spoke five languages and was silent in all of them", "had found a gold coin in a herring", "had kept a bear for a winter",
         "had carried a piano over the pass", "baked a cake for every funeral", "had swum across the lake at night",
         "collected keys without locks", "had written a book about moss", "had once stopped a runaway coach",
         "mended umbrellas for the whole valley", "had been struck by lightning and felt much better", "wore two different shoes",
         "slept with the window open even in snow", "had danced until the fiddler fell asleep"]

GARMENTS = ["coat", "hat", "scarf", "apron", "shirt", "waistcoat", "cap", "shawl", "jacket", "pair of gloves", "pair of stockings", "cloak"]
CLOTH = ["knitted", "patched", "linen", "felt", "striped", "woolen", "quilted", "velvet", "checked", "long", "short", "borrowed"]
POCKET = ["a piece of chalk", "two walnuts", "a ball of string", "a folded map", "a stub of pencil", "a dried fig", "a bent nail", "a blue marble",
          "a slice of bread", "a snail shell", "an unpaid bill", "a lump of sugar", "a feather", "a horn button", "a candle end", "a peppermint",
          "a torn ticket", "a fishing hook", "a tiny mirror", "a clay pipe", "a handful of seeds", "a love letter", "a wooden top", "a rusty key"]

# small things people do, each with the place where it makes sense
GESTURES = ["scratched {his} nose", "pulled up {his} collar", "rubbed {his} hands", "counted the tiles on the roof", "wiped {his} spectacles",
            "hummed an old tune", "shifted from one foot to the other", "looked up at the sky", "kicked a pebble into the gutter",
            "took a deep breath", "bit into an apple", "blew on {his} cold fingers", "leaned against the doorpost", "sat down on an upturned bucket",
            "rolled up {his} sleeves", "tied {his} bootlace", "stroked {his} chin", "yawned behind {his} hand", "drew a circle in the dust",
            "shook {his} head", "tapped on the barometer", "cleared {his} throat", "folded {his} arms", "poured a cup of tea",
            "peeled an orange in one long strip", "put another log on the fire", "swept the step", "sharpened a pencil", "shut one eye",
            "turned {his} cap in {his} hands"]

# what a comparison is made with is fixed by the adjective
SIMILES = {"quiet": "a snowfield", "slow": "cold honey", "stubborn": "a mule on a bridge", "red": "a boiled crab", "pale": "a tallow candle",
           "hungry": "a wolf in March", "tired": "a dog after the hunt", "happy": "a lark over the corn", "busy": "an anthill in May",
           "stiff": "a frozen shirt", "light": "a thistle seed", "deaf": "a post", "sly": "an old fox", "wet": "a herring",
           "angry": "a stirred wasp nest", "clean": "a licked plate", "dark": "the inside of a sack", "sour": "a green gooseberry",
           "nervous": "a hen before a storm", "warm": "a fresh loaf", "lonely": "a lighthouse keeper", "round": "a well-fed pigeon"}
FEEL = ["hungry", "tired", "happy", "nervous", "angry", "pale", "red", "stiff", "wet", "quiet", "lonely", "busy"]

RUMOURS = ["the bridge will be closed next week", "the price of {goods} is going up", "a ship with {goods} has sunk", "the mayor has lost his wig",
           "there is a new teacher from {place}", "the road to {place} is flooded", "somebody in {place} has found a chest of {goods}",
           "the old {trade} wants to marry", "wolves have been seen near {place}", "the {trade} of {place} can no longer pay the rent",
           "the king will travel through {place}", "nobody buys {goods} any more", "the ferry at {place} has a new captain",
           "the {trade}'s cat has had seven kittens", "there will be a fair in {place}", "a {trade} from {place} has made a clock of {goods}"]

SMELLS = ["fresh bread", "wet dog", "tar and rope", "cut grass", "burnt milk", "leather and oil", "smoke", "lavender", "fried onions", "rain on warm stone",
          "soap", "roasted chestnuts", "old paper", "pine resin", "fish", "cinnamon"]
SOUNDS = ["a hammer on an anvil", "children counting out a game", "a cartwheel on the cobbles", "somebody practicing the trumpet", "geese",
          "an axe in the wood", "a window being shut", "two women laughing", "the bell of the ferry", "a dog behind a door", "an old song",
          "water dripping from a gutter", "a pump handle", "hooves on the bridge"]
TIMES = ["in the early morning", "toward noon", "in the late afternoon", "at dusk", "after supper", "before sunrise", "at midnight", "during the night"]


def sight(w):
    noun = w.pick(SIGHTS)
    adjectives, verbs = SIGHTS[noun]
    return w.pick(adjectives.split()), noun, w.pick(verbs.split("|"))


def scenery(w, s):
    adjective, noun, verb = sight(w)
    if w.chance(0.3):
        adjective2, noun2, verb2 = sight(w)
        if noun2 != noun:
            return f"[Outside|Nearby|Not far away|On the way] {w.pick(['a', 'the'])} {adjective} {noun} {verb}, and {w.pick(['a', 'the'])} {adjective2} {noun2} {verb2}."
    return f"[Somewhere|Outside|Nearby|In the distance|Not far from there|{w.pick(TIMES)}] a {adjective} {noun} {verb}."


def smell_and_sound(w, s):
    return w.pick([f"The air smelled of {w.pick(SMELLS)} and {w.pick(SMELLS)}.", f"One could hear {w.pick(SOUNDS)}[| and {w.pick(SOUNDS)}].",
                   f"There was a smell of {w.pick(SMELLS)}, and from far off came the sound of {w.pick(SOUNDS)}."])


def clothes(w, s):
    who = w.somebody(s)
    if who.name + " wore" in w.used:
        return gesture(w, s)
    w.used.add(who.name + " wore")
    dress = f"a {w.pick(w.COLOURS)} {w.pick(CLOTH)} {w.pick(GARMENTS)}"
    w.fact(f"What was {who} wearing?", f"{who} was wearing {dress}.")
    return f"{who} wore {dress}[ that day| as always|, in spite of the {s.season}|]."


def pocket(w, s):
    who = w.somebody(s)
    if who.name + " carried" in w.used:
        return gesture(w, s)
    w.used.add(who.name + " carried")
    things = w.pick_some(POCKET, w.integer(2, 4))
    listed = ", ".join(things[:-1]) + " and " + things[-1]
    w.fact(f"What did {who} have in {who.his} pocket?", f"{listed[:1].upper()}{listed[1:]}.")
    return f"In {who.his} pocket {who} had {listed}."


def gesture(w, s):
    who = w.somebody(s)
    first, second = w.pick_some(GESTURES, 2)
    return w.pick([f"{who} {first}.", f"{who} {first} and {second}.", f"{who} {first}, then {who.he} {second}."]).replace("{his}", who.his)


def relative(w, s):
    who = w.somebody(s)
    kin, deed = w.pick(RELATIVES), w.pick(DEEDS)
    if who.name + " kin" not in w.used:
        w.used.add(who.name + " kin")
        w.fact(f"Which relative did {who} think of?", f"{who} thought of {who.his} {kin}, who {deed}.")
    return w.pick([f"{who} thought of {who.his} {kin}, who {deed}.", f"{who} thought of {who.his} {kin}, who {deed} and {w.pick(DEEDS)}."])


def simile(w, s):
    who, feeling = w.somebody(s), w.pick(FEEL)
    return w.pick([f"{who} was as {feeling} as {SIMILES[feeling]}.", f"By then {who} felt as {feeling} as {SIMILES[feeling]}.",
                   f"It was {w.pick(['quiet', 'dark', 'warm'])}, and {who} was as {feeling} as {SIMILES[feeling]}."])


def rumour(w, s):
    text = w.pick(RUMOURS).replace("{goods}", w.pick(w.GOODS)).replace("{place}", w.pick(w.HEADS) + w.pick(w.TAILS)).replace("{trade}", w.pick(w.TRADES))
    return f"[People said that|There was a rumor that|It was said that|{w.somebody(s)} had heard that|Everybody was talking about it:] {text}."


KINDS = [scenery, scenery, scenery, smell_and_sound, clothes, pocket, gesture, gesture, relative, simile, rumour]


def interlude(w, s):
    """One sentence beside the plot."""
    return w.pick(KINDS)(w, s)
