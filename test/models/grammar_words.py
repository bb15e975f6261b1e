# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Word tables of the story grammar. Data only; grammar.py says how they are used."""

WOMEN = """Ada Agnes Alma Anouk Astrid Beatrix Bella Carmen Cleo Dagny Daria Edith Elin Esme Fatima Flora Freya Greta
Hana Hilda Ida Ines Iris Jana Josie Karin Kiran Leda Lena Lotte Mara Mina Nadia Nell Nora Olga Paloma Petra Rosa Runa
Sanna Selma Signe Tamar Tilda Uma Vera Wilma Yara Zora""".split()

MEN = """Abel Anders Arno Basil Benno Bram Caspar Cyril Dario Edgar Emil Enzo Felix Finn Gideon Gustav Hamid Hugo Igor
Ivo Jakob Janek Jonas Kasimir Kofi Lars Leo Linus Magnus Marek Milo Nils Nuri Oskar Otto Pavel Quentin Ravi Rolf Rune
Samir Sven Tariq Theo Tomas Ulf Viktor Wendel Yusuf Zeno""".split()

PLACE_HEADS = """Alder Ash Barley Birch Black Clay Cold Crow Elm Fern Fox Glen Gold Green Hazel Heron High Holly Iron
King Lark Long Maple Marsh Mill North Oak Otter Pine Raven Red Salt Sand Silver Stone Thorn White Willow Winter
Wolf""".split()

PLACE_TAILS = "bridge brook bury dale field ford gate ham haven mere mouth port ridge stead ton well wick wood".split()

RIVERS = "Amber Brenna Callow Dove Esk Fenner Gray Hollin Isel Kessa Lune Marrow Nidd Orrin Pell Sorrel".split()

GOODS_KNOWN = ["honey", "cheese", "wool", "pottery", "glass", "cider", "salt", "rope", "baskets", "candles", "smoked fish",
               "bread", "leather", "clocks", "bells", "apples", "boats", "paper", "lace", "knives"]

LANDMARKS = ["an old stone tower", "a round chapel", "a wooden bridge", "a tall white windmill", "a market hall with a green roof",
             "a ruined castle", "a lighthouse", "a lime tree as old as the town", "a fountain with a bronze fish",
             "a clock that is always late", "a long sea wall", "a school with a red door"]

# trade: workplace, tools, what is made there, how the work is done, material
TRADES = {
    "baker": ("bakery", ["rolling pin", "oven shovel", "scale"], ["loaves", "rolls", "cakes"], "kneaded the dough", "flour"),
    "blacksmith": ("forge", ["hammer", "pair of tongs", "pair of bellows"], ["horseshoes", "hinges", "nails"], "struck the hot iron", "iron"),
    "carpenter": ("workshop", ["saw", "plane", "chisel"], ["tables", "chairs", "doors"], "planed the boards", "wood"),
    "weaver": ("weaving room", ["loom", "shuttle", "comb"], ["blankets", "shawls", "rugs"], "threw the shuttle", "wool"),
    "potter": ("pottery", ["wheel", "kiln", "sponge"], ["bowls", "jugs", "cups"], "turned the wheel", "clay"),
    "tailor": ("tailor's shop", ["needle", "pair of scissors", "measuring tape"], ["coats", "shirts", "trousers"], "sewed the seams", "cloth"),
    "cobbler": ("cobbler's shop", ["awl", "last", "small hammer"], ["boots", "shoes", "sandals"], "stitched the soles", "leather"),
    "miller": ("mill", ["millstone", "sieve", "hoist"], ["sacks of flour", "sacks of bran", "sacks of oats"], "ground the grain", "grain"),
    "clockmaker": ("clock shop", ["pair of tweezers", "magnifying glass", "tiny screwdriver"], ["clocks", "watches", "music boxes"], "set the small wheels", "brass"),
    "glassblower": ("glass house", ["blowpipe", "furnace", "pair of shears"], ["bottles", "lamps", "beads"], "blew the soft glass", "sand"),
    "cooper": ("cooperage", ["drawknife", "mallet", "iron hoop"], ["barrels", "buckets", "tubs"], "bent the staves", "oak"),
    "candlemaker": ("candle shop", ["dipping frame", "mold", "copper kettle"], ["candles", "lanterns", "torches"], "dipped the wicks", "wax"),
    "bookbinder": ("bindery", ["press", "bone folder", "brush"], ["books", "notebooks", "albums"], "folded the pages", "paper"),
    "basketmaker": ("willow shed", ["knife", "bodkin", "soaking trough"], ["baskets", "cradles", "fish traps"], "wove the willow rods", "willow"),
    "beekeeper": ("bee garden", ["smoker", "veil", "honey knife"], ["jars of honey", "combs", "cakes of wax"], "looked after the hives", "honey"),
    "gardener": ("garden", ["spade", "rake", "watering can"], ["cabbages", "roses", "beans"], "watered the beds", "earth"),
    "fisher": ("boat", ["net", "line", "oar"], ["herrings", "crabs", "eels"], "hauled in the nets", "fish"),
    "shepherd": ("sheepfold", ["crook", "whistle", "pair of shears"], ["fleeces", "lambs", "cheeses"], "counted the sheep", "wool"),
    "ropemaker": ("rope walk", ["hook", "winding wheel", "comb"], ["ropes", "nets", "hammocks"], "twisted the strands", "hemp"),
    "printer": ("print shop", ["press", "ink roller", "type case"], ["posters", "almanacs", "maps"], "set the letters", "paper"),
    "saddler": ("saddlery", ["round knife", "awl", "stitching clamp"], ["saddles", "belts", "bridles"], "cut the hides", "leather"),
    "apothecary": ("apothecary's shop", ["mortar", "scale", "glass funnel"], ["ointments", "syrups", "teas"], "ground the herbs", "herbs"),
    "tinker": ("cart", ["soldering iron", "pair of pliers", "file"], ["pots", "pans", "kettles"], "soldered the seams", "tin"),
    "boatbuilder": ("boatyard", ["adze", "caulking iron", "clamp"], ["rowing boats", "rafts", "oars"], "bent the planks", "larch"),
}

# trait: what such a person does (past), how the person says things, the opposite outcome
TRAITS = {
    "patient": ("never hurried", "calmly"),
    "curious": ("asked questions all day long", "eagerly"),
    "shy": ("seldom spoke to strangers", "quietly"),
    "cheerful": ("whistled from morning to night", "brightly"),
    "stubborn": ("never changed a plan", "firmly"),
    "forgetful": ("tied knots in a handkerchief and then forgot what they meant", "vaguely"),
    "careful": ("checked everything twice", "slowly"),
    "proud": ("did not like to ask for help", "stiffly"),
    "generous": ("gave away more than was wise", "warmly"),
    "hasty": ("always began before thinking", "quickly"),
    "honest": ("could not tell a lie", "plainly"),
    "brave": ("was afraid of nothing but geese", "loudly"),
    "thrifty": ("kept every button and every piece of string", "dryly"),
    "dreamy": ("looked at clouds instead of the road", "softly"),
    "clever": ("found a way where others saw a wall", "with a smile"),
    "grumpy": ("complained about everything and helped everyone", "in a low voice"),
    "gentle": ("spoke even to spiders politely", "kindly"),
    "tidy": ("could not bear a crooked picture", "crisply"),
}

# animal: sound, food, where it sleeps
ANIMALS = {
    "dog": ("barked", "bones", "on the doormat"), "cat": ("purred", "fish heads", "beside the stove"),
    "goat": ("bleated", "thistles", "in the shed"), "donkey": ("brayed", "carrots", "in the stable"),
    "hen": ("clucked", "corn", "in the coop"), "goose": ("hissed", "grass", "under the cart"),
    "owl": ("hooted", "mice", "in the attic"), "crow": ("cawed", "crumbs", "on the roof"),
    "horse": ("neighed", "oats", "in the stable"), "pig": ("grunted", "acorns", "in the sty"),
    "hedgehog": ("snuffled", "beetles", "under the hedge"), "duck": ("quacked", "snails", "by the pond"),
    "rabbit": ("thumped", "clover", "in the hutch"), "fox": ("yelped", "berries", "under the roots"),
    "lamb": ("bleated", "milk", "in the straw"), "squirrel": ("chattered", "nuts", "in the hollow tree"),
}
PETS = ["Biscuit", "Button", "Cinder", "Clover", "Domino", "Feather", "Ginger", "Moss", "Nutmeg", "Pepper", "Pebble", "Patch",
        "Smoke", "Socks", "Thistle", "Tumble"]

COLOURS = ["red", "blue", "green", "yellow", "white", "black", "brown", "gray", "purple", "orange"]
MATERIALS = ["copper", "silver", "wooden", "leather", "iron", "brass", "glass", "stone", "tin", "bone"]

# object: materials that make sense, what it is for
OBJECTS = {
    "key": (["copper", "silver", "iron", "brass"], "it opened the cellar"),
    "lantern": (["copper", "iron", "brass", "tin"], "the nights were dark and the road was long"),
    "whistle": (["wooden", "silver", "bone", "tin"], "it called the dogs home"),
    "ring": (["copper", "silver", "brass", "bone"], "it had belonged to a grandmother"),
    "box": (["wooden", "silver", "leather", "tin"], "all the letters were kept in it"),
    "flute": (["wooden", "silver", "bone"], "there was to be a dance"),
    "spoon": (["wooden", "silver", "bone", "tin"], "no other spoon was good enough for the soup"),
    "compass": (["brass", "silver", "wooden"], "without it every path looked the same"),
    "bell": (["copper", "silver", "iron", "brass"], "it hung over the shop door"),
    "cup": (["copper", "silver", "tin", "glass"], "it had been a prize"),
    "knife": (["iron", "silver", "bone"], "it was the sharpest in the house"),
    "purse": (["leather"], "a whole week of earnings was in it"),
    "belt": (["leather"], "it had come from far away"),
    "mirror": (["silver", "brass", "glass"], "it had hung in the hall for years"),
    "thimble": (["silver", "iron", "brass", "bone"], "the coat had to be finished"),
    "button": (["silver", "wooden", "brass", "bone"], "there was no other like it"),
    "comb": (["wooden", "silver", "bone"], "it was a birthday present"),
    "seal": (["silver", "stone", "brass"], "no letter could be sent without it"),
}

SPOTS = ["behind the mill", "under the bridge", "beside the well", "on the church steps", "in the tall grass", "near the ferry",
         "at the edge of the wood", "in the market square", "by the duck pond", "on the school bench", "under the apple tree",
         "in the hay barn", "at the crossroads", "beside the old wall", "on the river bank", "behind the bakery"]

# season: kinds of weather with an effect
WEATHER = {
    "spring": [("a soft rain fell", "the path was muddy"), ("a warm wind blew", "the blossoms danced"),
               ("the sun shone between small clouds", "the birds sang"), ("a late frost came", "the grass was white in the morning")],
    "summer": [("the sun burned", "the dust lay thick on the road"), ("a thunderstorm broke", "the ditches filled with water"),
               ("the air was hot and still", "even the dogs stayed in the shade"), ("a cool breeze came from the river", "the laundry dried in an hour")],
    "autumn": [("fog lay over the fields", "nobody could see the church"), ("a strong wind blew", "leaves flew through every door"),
               ("it rained for three days", "the river rose"), ("the sun was low and golden", "the apples shone")],
    "winter": [("snow fell all night", "the road had disappeared"), ("ice covered the pond", "the ducks walked about crossly"),
               ("a cold wind blew", "everybody wore two coats"), ("the sky was clear and the cold was bitter", "the pump was frozen")],
}
SEASON_SIGN = {
    "spring": ["the first swallows were back", "the lambs were learning to jump", "the cherry trees were in flower"],
    "summer": ["the hay was in", "the strawberries were ripe", "the evenings were long and light"],
    "autumn": ["the geese were flying south", "the barns were full", "the leaves were turning red"],
    "winter": ["the nights were long", "every chimney was smoking", "the fields were bare"],
}

# fruit and vegetables: singular, plural
PRODUCE = [("apple", "apples"), ("pear", "pears"), ("plum", "plums"), ("egg", "eggs"), ("onion", "onions"), ("turnip", "turnips"),
           ("pumpkin", "pumpkins"), ("lemon", "lemons"), ("cabbage", "cabbages"), ("melon", "melons"), ("radish", "radishes"),
           ("fish", "fish"), ("candle", "candles"), ("basket", "baskets"), ("broom", "brooms"), ("jug", "jugs"), ("rope", "ropes"),
           ("cheese", "cheeses"), ("loaf", "loaves"), ("ribbon", "ribbons")]

# dish: ingredients, how it is made, what it tastes of
DISHES = {
    "onion soup": (["onions", "butter", "stale bread", "thyme"], ["sliced the onions", "let them turn brown in the butter", "poured in hot water", "laid the bread on top"]),
    "apple cake": (["apples", "flour", "eggs", "cinnamon"], ["peeled the apples", "beat the eggs", "stirred in the flour", "put the tin into the oven"]),
    "bean stew": (["beans", "carrots", "garlic", "bacon"], ["soaked the beans", "chopped the carrots", "fried the bacon", "let the pot simmer for two hours"]),
    "pancakes": (["flour", "milk", "eggs", "honey"], ["mixed the flour with the milk", "broke three eggs into the bowl", "heated the pan", "turned each one in the air"]),
    "fish pie": (["fish", "potatoes", "cream", "parsley"], ["boned the fish", "mashed the potatoes", "warmed the cream", "baked the pie until it was golden"]),
    "pumpkin bread": (["pumpkin", "flour", "yeast", "salt"], ["boiled the pumpkin", "woke the yeast in warm water", "kneaded the dough", "left it to rise by the stove"]),
    "mushroom rice": (["mushrooms", "rice", "cheese", "leeks"], ["cleaned the mushrooms", "cut the leeks into rings", "stirred the rice", "grated the cheese over it"]),
    "lentil soup": (["lentils", "tomatoes", "cumin", "lemons"], ["washed the lentils", "crushed the tomatoes", "roasted the cumin", "squeezed a lemon over the bowl"]),
    "cherry dumplings": (["cherries", "flour", "sugar", "curd"], ["stoned the cherries", "rolled the dough", "closed each dumpling with two fingers", "dropped them into boiling water"]),
    "vegetable pie": (["turnips", "peas", "flour", "butter"], ["diced the turnips", "shelled the peas", "rubbed the butter into the flour", "folded the crust over the filling"]),
}

CONTESTS = {
    "pumpkin show": ("weighed", "pounds", 30, 90, "had the heaviest pumpkin"),
    "rowing race": ("needed", "minutes", 11, 40, "crossed the line first"),
    "archery contest": ("scored", "points", 20, 70, "had the best eye"),
    "fishing day": ("caught", "fish", 3, 30, "had the fullest basket"),
    "spelling match": ("spelled", "words", 8, 40, "knew the most words"),
    "apple picking": ("picked", "baskets", 5, 35, "had the quickest hands"),
    "stone throwing": ("threw", "yards", 15, 60, "had the strongest arm"),
    "riddle evening": ("solved", "riddles", 2, 20, "had the sharpest head"),
}
PRIZES = ["a ham", "a silver spoon", "a basket of pears", "a blue ribbon", "a barrel of cider", "a wheel of cheese", "a new hat",
          "a jar of honey", "a book of maps", "a warm blanket"]

DAYS = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]

NUMBER_WORDS = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen twenty""".split()

PROVERBS = [
    "A borrowed horse walks slowly.", "Rain asks nobody.", "He who counts twice pays once.", "Good bread needs time.",
    "A small lamp is enough for a small room.", "Even the miller gets wet.", "Every road is shorter with a friend.",
    "A closed mouth catches no flies.", "The last plum is the sweetest.", "What is mended lasts longer than what is new.",
    "Ask the way before it is dark.", "The goose does not thank the grass.", "An empty sack cannot stand.",
    "Many hands make the roof.", "A truth told late is still a truth.", "The well is deep, but the rope is long.",
]
