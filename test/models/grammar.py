#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
"""Writes little stories from a seed: the training and held-out text of the storyteller model.

A story has a small world: people with a trade and a trait, a town whose river, landmark and product never change, a
season, objects of one material and colour. Later sentences refer to what earlier ones set up: an object is found where
its owner had been, counts add up, the winner is the one with the most points, the last lines ask about the facts. So
the text cannot be predicted well from the last few words alone.

    python3 grammar.py --split train --stories 3            # print three stories
    python3 grammar.py --split heldout --bytes 100000 --output heldout.txt

The splits share nothing but the grammar: their seeds differ, and one pair of (first person, town) in eight is kept for
held-out text. Every choice adds -ln(probability) to Writer.nats. That is more than the entropy of the text, because some
choices are made and not used and others lead to the same words: a bound from above for the loss of a perfect model.
"""
import argparse
import math
import random
import re
import sys
import zlib

from grammar_scenery import interlude
from grammar_words import (ANIMALS, COLOURS, CONTESTS, DAYS, DISHES, GOODS_KNOWN, LANDMARKS, MEN, NUMBER_WORDS, OBJECTS, PETS,
                           PLACE_HEADS, PLACE_TAILS, PRIZES, PRODUCE, PROVERBS, RIVERS, SEASON_SIGN, SPOTS, TRADES, TRAITS,
                           WEATHER, WOMEN)

SPLIT_SEED = {"train": 1, "heldout": 2}
CHOICE = re.compile(r"\[([^\[\]]*)\]")
ARTICLE = re.compile(r"\b([Aa]) (?=[aeio]|hon|un[a-hj-z]|ug)")


def number(n):
    """Numbers up to twenty are words, as in most printed prose."""
    return NUMBER_WORDS[n] if n <= 20 else str(n)


def count(n, singular, plural):
    return f"{number(n)} {singular if n == 1 else plural}"


def joined(items):
    return items[0] if len(items) == 1 else ", ".join(items[:-1]) + " and " + items[-1]


def capital(text):
    return text[:1].upper() + text[1:]


class Town:
    """What is true of a town is a function of its name: knowledge that the model has to store in its weights."""

    def __init__(self, name):
        self.name = name
        code = zlib.crc32(name.encode())
        self.river = RIVERS[code % len(RIVERS)]
        self.known_for = GOODS_KNOWN[code // 16 % len(GOODS_KNOWN)]
        self.landmark = LANDMARKS[code // 1000 % len(LANDMARKS)]
        self.size = ["village", "small town", "town", "busy town"][code // 20000 % 4]


class Person:
    def __init__(self, name, woman, trade, trait, age):
        self.name, self.woman, self.trade, self.trait, self.age = name, woman, trade, trait, age
        self.he, self.him, self.his = ("she", "her", "her") if woman else ("he", "him", "his")
        self.himself = self.him + "self"
        self.place, self.tools, self.wares, self.works, self.material = TRADES[trade]
        self.habit, self.manner = TRAITS[trait]

    def __str__(self):
        return self.name


class Writer:
    """Random choices that keep account of their cost, and the text they lead to."""

    def __init__(self, seed, split):
        self.random = random.Random(seed * 1000003 + SPLIT_SEED[split])
        self.split = split
        self.nats = 0.0
        self.paragraphs = [[]]
        self.facts = []
        self.used = set()
        self.setting = None   # the Story, once there is one

    COLOURS, GOODS, HEADS, TAILS, TRADES = COLOURS, GOODS_KNOWN, PLACE_HEADS, PLACE_TAILS, TRADES

    def pick(self, options):
        options = list(options)
        self.nats += math.log(len(options))
        return self.random.choice(options)

    def pick_some(self, options, how_many):
        left = list(options)
        picked = []
        for _ in range(how_many):
            picked.append(self.pick(left))
            left.remove(picked[-1])
        return picked

    def integer(self, low, high):
        return self.pick(range(low, high + 1))

    def chance(self, probability):
        hit = self.random.random() < probability
        self.nats -= math.log(probability if hit else 1 - probability)
        return hit

    def expand(self, text):
        """Replaces each [a|b|c] by one of its alternatives, innermost first."""
        while match := CHOICE.search(text):
            text = text[:match.start()] + self.pick(match.group(1).split("|")) + text[match.end():]
        return ARTICLE.sub(r"\1n ", re.sub(" +", " ", text)).replace(" ,", ",").replace(" .", ".").strip()

    def say(self, *sentences):
        for sentence in sentences:
            sentence = capital(self.expand(sentence))
            if sentence:
                self.paragraphs[-1].append(sentence)

    def speak(self, person, words, manner=0.3):
        """Direct speech, with the speaker before or after it."""
        words = capital(self.expand(words))
        verb = "asked" if words.endswith("?") else self.pick(["said", "said", "replied" if self.used else "said", "called"])
        how = f" {person.manner}" if self.chance(manner) else ""
        who = self.pick([person.name, person.name, f"the {person.trade}"])
        if self.chance(0.7):
            if words.endswith("."):
                words = words[:-1] + ","
            self.say(f'"{words}" {verb} {who}{how}.')
        else:
            self.say(f'{who} {verb}{how}: "{words}"')

    def paragraph(self):
        """Ends a paragraph, sometimes with a look around."""
        self.aside(0.7)
        if self.paragraphs[-1]:
            self.paragraphs.append([])

    def somebody(self, setting):
        """One of those the reader has met."""
        met = [who for who in (setting.hero, setting.other) if any(who.name in text for part in self.paragraphs for text in part)]
        return self.pick(met or [setting.hero])

    def aside(self, probability):
        while self.setting and self.chance(probability):
            self.say(interlude(self, self.setting))
            probability /= 2

    def fact(self, question, answer):
        self.facts.append((question, answer))

    def person(self, first=False, town=None):
        """A person whose name, trade and trait nobody else in the story has."""
        while True:
            woman = self.chance(0.5)
            name = self.pick(WOMEN if woman else MEN)
            kept = zlib.crc32(f"{name} {town.name}".encode()) % 8 == 0 if first else None
            if name not in self.used and (kept is None or kept == (self.split == "heldout")):
                break
            self.nats -= math.log(2) + math.log(50)
        trade = self.pick(t for t in TRADES if t not in self.used)
        trait = self.pick(t for t in TRAITS if t not in self.used)
        self.used |= {name, trade, trait}
        return Person(name, woman, trade, trait, self.integer(19, 78))

    def thing(self):
        kind = self.pick(OBJECTS)
        materials, why = OBJECTS[kind]
        return f"{self.pick(materials)} {kind}", kind, why

    def text(self, title):
        body = "\n".join(" ".join(sentences) for sentences in self.paragraphs if sentences)
        lines = [capital(title), body]
        if self.facts:
            asked = self.pick_some(self.facts, min(len(self.facts), self.integer(1, 3)))
            for question, answer in asked:
                lines.append(f"Question: {self.expand(question)}\nAnswer: {self.expand(answer)}")
        return "\n".join(lines) + "\n"


class Story:
    """The opening every plot shares: where, when, who."""

    def __init__(self, writer):
        self.w = writer
        self.town = Town(writer.pick(PLACE_HEADS) + writer.pick(PLACE_TAILS))
        self.season = writer.pick(WEATHER)
        self.weather, self.effect = writer.pick(WEATHER[self.season])
        self.sign = writer.pick(SEASON_SIGN[self.season])
        self.hero = writer.person(first=True, town=self.town)
        self.other = writer.person()
        writer.setting = self

    def opening(self):
        w, town, hero = self.w, self.town, self.hero
        w.say(w.pick([
            f"In {town.name}, a {town.size} on the river {town.river}, lived a {hero.trade} [named|called] {hero}.",
            f"{hero} was a {hero.trade} in {town.name}, [where the river {town.river} runs|a {town.size} on the river {town.river}].",
            f"[Once|Many years ago|Not long ago] there was a {hero.trait} {hero.trade} in {town.name}, and {hero.his} name was {hero}.",
            f"It was {self.season} in {town.name}, and {self.sign}. {hero} the {hero.trade} was {hero.age} years old.",
        ]))
        if w.chance(0.5):
            w.say(w.pick([
                f"{town.name} is known for {town.landmark} and for its {town.known_for}.",
                f"People come to {town.name} for the {town.known_for}.",
                f"Strangers remember {town.name} for {town.landmark}.",
            ]))
            w.fact(f"What is {town.name} known for?", f"[For its {town.known_for}.|{town.name} is known for its {town.known_for}.]")
        w.say(w.pick([
            f"{hero} was {hero.trait} and {hero.habit}.",
            f"Everybody knew that {hero.he} was {hero.trait}: {hero.he} {hero.habit}.",
            f"{capital(hero.he)} {hero.habit}.",
            f"[Every day|From morning to evening|Six days a week] {hero.he} {hero.works} [in|at] the {hero.place} and made {w.pick(hero.wares)}."
            if hero.trade not in ("fisher", "shepherd", "tinker", "gardener") else f"[Every day|Six days a week] {hero.he} {hero.works}.",
        ]))
        w.aside(0.8)
        w.fact(f"[What was {hero}'s trade?|What did {hero} do for a living?]", f"{hero} was a {hero.trade}.")
        w.fact("[Where does the story take place?|Where did this happen?]", f"In {town.name}, on the river {town.river}.")

    def weather_line(self):
        w = self.w
        w.say(w.pick([
            f"One [{self.season} morning|{self.season} day] {self.weather}, and {self.effect}.",
            f"[That day|On {w.pick(DAYS)}] {self.weather}, [so|and] {self.effect}.",
            f"It was {self.season}. {capital(self.weather)}, and {self.effect}.",
        ]))
        w.aside(0.4)
        w.fact("[What season was it?|In which season did this happen?]", f"It was {self.season}.")

    def moral(self):
        w, hero = self.w, self.hero
        if w.chance(0.6):
            proverb = w.pick(PROVERBS)
            w.say(w.pick([f'In {self.town.name} they say: "{proverb}"', f'"{proverb[:-1]}," said {self.other} at the end.', proverb]))


def lost_and_found(s):
    w, hero, other = s.w, s.hero, s.other
    thing, kind, why = w.thing()
    spots = w.pick_some(SPOTS, 3)
    found = w.integer(0, 2)
    s.opening()
    s.weather_line()
    w.paragraph()
    w.say(f"[On the way home|In the evening|Before supper] {hero} noticed that the {thing} was [gone|missing|no longer there].",
          f"{hero} [needed it, because|could not do without it, for] {why}.",
          f"{hero} [thought about the day|tried to remember]. First {hero.he} had [rested|eaten lunch|talked to a neighbor] {spots[0]}, "
          f"then {hero.he} had [waited for the cart|met {other}|stopped for a drink of water] {spots[1]}, and at last "
          f"{hero.he} had [tied a shoe|fed the birds|looked for mushrooms|listened to the bells] {spots[2]}.")
    w.say(f"{hero} asked {other} the {other.trade}, who was {other.trait}, to help.")
    w.speak(other, f"[We will look in all three places|Let us walk the same way again|A {thing} cannot fly], and we will [start|begin] {spots[0]}.")
    w.paragraph()
    for index in range(found):
        w.say(f"They searched {spots[index]}, but [found only|there was nothing but] "
              f"[an old boot|a rusty nail|a bird's nest|a broken cup|some string|wet leaves|an empty bottle].")
    w.say(f"{spots[found]} {w.pick([hero, other])} [saw something shine|bent down|pushed the leaves aside|heard a small sound], "
          f"and there [lay|was] the {thing}[| at last].")
    w.speak(hero, f"[I knew it|There it is|What luck|I will never lose this {kind} again]! "
                  f"[Thank you|I thank you], {other}.")
    w.say(f"{hero} [gave|brought] {other} {w.pick(PRIZES)} [for the help|the next day|in return].",
          f"[Since then|From that day on] the {kind} [hung on a nail by the door|was tied to a string|stayed in a deep pocket|lay in a box].")
    s.moral()
    w.fact(f"Where was the {kind}?", f"[It was|The {kind} was] {spots[found]}.")
    w.fact(f"Who helped {hero}?", f"{other} the {other.trade} helped {hero.him}.")
    w.fact(f"What was the {kind} made of?", f"It was a {thing}.")
    return f"[The lost {kind}|{hero} and the {thing}|The {thing}]"


def market(s):
    w, hero, other = s.w, s.hero, s.other
    one, many = w.pick(PRODUCE)
    price = w.integer(1, 4)
    stock = w.integer(8, 30)
    s.opening()
    w.say(f"On {w.pick(DAYS)} {hero} [took|carried|brought] {count(stock, one, many)} to the market[| in {s.town.name}].",
          f"Each {one} cost {count(price, 'coin', 'coins')}.")
    w.paragraph()
    left = stock
    buyers = []
    for buyer in [other, w.person(), w.person()][:w.integer(2, 3)]:
        n = w.integer(1, max(1, min(9, left - 1)))
        if left - n < 0:
            break
        left -= n
        buyers.append((buyer, n))
        w.say(w.pick([
            f"{buyer} the {buyer.trade} [came|came by|stopped] and bought {number(n)}.",
            f"Then came {buyer}, a {buyer.trait} {buyer.trade}, who [wanted|bought|took] {number(n)}.",
            f'"[Please give me|I need|I will take] {number(n)}," said {buyer} the {buyer.trade}.',
        ]))
        w.say(f"{capital(buyer.he)} paid {count(n * price, 'coin', 'coins')}[|, and {number(left)} {'was' if left == 1 else 'were'} left].")
        w.fact(f"How many {many} did {buyer} buy?", f"{buyer} bought {number(n)}.")
    w.paragraph()
    sold = stock - left
    w.say(f"[Toward evening|When the bell rang|At the end of the day] {s.weather}, and {s.effect}.",
          f"{hero} counted: {count(sold, one, many)} {'was' if sold == 1 else 'were'} sold, "
          f"{number(left)} {'was' if left == 1 else 'were'} left, and there were {count(sold * price, 'coin', 'coins')} in the purse.",
          f"{capital(hero.he)} [gave the rest to|shared the rest with] [the children at the fountain|an old neighbor|the ferryman|{other}]."
          if left else f"{capital(hero.he)} [went home|walked home] with an empty cart.")
    s.moral()
    w.fact(f"How many {many} were left?", f"[There were {number(left)} left|{capital(number(left))}]." if left != 1 else "One was left.")
    w.fact(f"How many coins did {hero} earn?", f"{hero} earned {count(sold * price, 'coin', 'coins')}.")
    return f"[{hero} at the market|Market day in {s.town.name}|The price of {'an' if one[0] in 'aeio' else 'a'} {one}]"


def journey(s):
    w, hero, other = s.w, s.hero, s.other
    goal = Town(w.pick(PLACE_HEADS) + w.pick(PLACE_TAILS))
    start, hours = w.integer(5, 9), w.integer(2, 5)
    delay = w.integer(1, 2)
    obstacle, remedy = w.pick([
        ("the bridge was broken", "[took off both shoes and waded|laid two planks over the gap|waited for the ferry]"),
        ("a tree lay across the road", "[sawed it in two|climbed over it|rolled it into the ditch]"),
        ("a herd of sheep filled the road", "[waited for the last lamb|sat down on a stone and counted them]"),
        ("a wheel came off the cart", "[hammered a new pin|mended it with rope|lifted the cart and put it back]"),
        ("the signpost had fallen down", "[asked an old woman at a window|followed the river|looked at the sun]"),
        ("the donkey would not take another step", "[offered it a carrot|sang to it|pushed from behind]"),
    ])
    load = w.pick(hero.wares)
    s.opening()
    w.say(f"One day a letter came from {goal.name}. [{other} the {other.trade}|A {other.trait} {other.trade} called {other}] "
          f"[wanted|asked for|had ordered] {load}[|, and as soon as possible].")
    w.paragraph()
    w.say(f"{hero} [set out|left] at {number(start)} o'clock in the morning. The way to {goal.name} takes {number(hours)} hours.",
          f"{s.weather}, and {s.effect}.",
          f"[Half way|After an hour|Behind the second hill|Near {goal.name}] {obstacle}.")
    w.speak(hero, w.pick(["[What now|What shall I do now]?", "[This will take time|I have seen worse|Nobody told me about this]."]))
    w.say(f"{hero}, who was {hero.trait}, {remedy}. That took {count(delay, 'hour', 'hours')}.")
    arrival = start + hours + delay
    clock = arrival if arrival <= 12 else arrival - 12
    w.paragraph()
    w.say(f"So it was {number(clock)} o'clock when {hero} [reached {goal.name}|saw the roofs of {goal.name}|stood in {goal.name}], "
          f"the {goal.size} on the river {goal.river}.",
          w.pick([f"There was {goal.landmark}, as everybody had said.", f"[The whole place|Every street] smelled of {goal.known_for}."
                  if goal.known_for in ("honey", "cheese", "cider", "bread", "leather", "apples", "smoked fish", "candles")
                  else f"[In every window there was|Everybody was selling] {goal.known_for}."]))
    w.speak(other, f"[You are late|You have come at last|Come in], {hero}, but [the {load} are beautiful|I have never seen better {load}|the soup is still warm].")
    w.say(f"{other} paid well and gave {hero} {w.pick(PRIZES)} for the way back.")
    s.moral()
    w.fact(f"When did {hero} arrive?", f"At {number(clock)} o'clock.")
    w.fact(f"Where did {hero} go?", f"{hero} went to {goal.name}.")
    w.fact(f"Which river runs through {goal.name}?", f"The {goal.river}.")
    w.fact(f"What did {hero} bring?", f"{capital(hero.he)} brought {load}.")
    return f"[The road to {goal.name}|A journey to {goal.name}|{hero} travels to {goal.name}]"


def repair(s):
    w, hero, other = s.w, s.hero, s.other
    thing, kind, why = w.thing()
    tool = w.pick(hero.tools)
    days = w.integer(2, 6)
    start = w.integer(0, 6)
    ready = DAYS[(start + days) % 7]
    price = w.integer(3, 15)
    s.opening()
    w.say(f"On {DAYS[start]} {other}, a {other.trade} of {other.age}, [came in|stood at the door|entered the {hero.place}]. "
          f"{capital(other.he)} [held|was carrying] a {thing}, and it was [broken|bent|cracked].")
    w.speak(other, f"[Can you mend it|Can it be saved|Is there any hope for it]?")
    w.speak(hero, f"[I am a {hero.trade}, not a magician|I have never mended a {kind}], but I [will try|can try]. Come back in {count(days, 'day', 'days')}.")
    w.say(f"{other} [needed it badly, because|was glad, for] {why}.")
    w.paragraph()
    w.say(f"{hero} [took|reached for|looked for] the {tool} and [began|set to work].",
          f"{capital(hero.he)} was {hero.trait}: {hero.he} {hero.habit}. [Even so|All the same|So] the work went [slowly|well|badly at first].",
          f"Outside {s.weather}, but the lamp in the {hero.place} [went on burning|burned until midnight].")
    w.paragraph()
    w.say(f"On {ready} {other} came back. The {kind} [looked like new|was whole again|shone like the sun].")
    w.speak(other, "[How much do I owe you|What does it cost|What do I pay]?")
    w.speak(hero, f"{count(price, 'coin', 'coins')}.")
    paid = price + w.integer(1, 5)
    w.say(f"{other} [put down|laid down|gave {hero.him}] {count(paid, 'coin', 'coins')}, [and|so] {hero} gave back {number(paid - price)}."
          if w.chance(0.5) else f"{other} paid with {w.pick(other.wares)} instead, and both were [pleased|content|happy].")
    s.moral()
    w.fact(f"What was broken?", f"A {thing} was broken.")
    w.fact(f"On which day was the {kind} ready?", f"On {ready}.")
    w.fact(f"What tool did {hero} use?", f"{capital(hero.he)} used a {tool}.")
    w.fact(f"How much did the repair cost?", f"It cost {count(price, 'coin', 'coins')}.")
    return f"[The broken {kind}|{hero} mends a {kind}|{other}'s {kind}]"


def cooking(s):
    w, hero, other = s.w, s.hero, s.other
    dish = w.pick(DISHES)
    ingredients, steps = DISHES[dish]
    missing = w.pick(ingredients)
    be = "were" if missing.endswith("s") else "was"
    guests = w.integer(2, 9)
    s.opening()
    s.weather_line()
    w.say(f"{number(guests)} guests were coming to supper, and {hero} wanted to make {dish}.",
          f"For that {hero.he} needed {joined(ingredients)}.",
          f"But there {be} no {missing} in the house.")
    w.paragraph()
    w.say(f"So {hero} [ran|went|walked] to {other} the {other.trade}.")
    w.speak(hero, f"[Have you any {missing}|Can you lend me some {missing}]?")
    answer = w.pick(["yes", "trade"])
    if answer == "yes":
        w.speak(other, f"[Take what you need|You may have all I have], but [save me a plate|invite me too|bring back the bowl].")
    else:
        w.speak(other, f"[I have plenty of {missing}|There is some in the cellar], but what [do I get|will you give me] for it?")
        w.speak(hero, f"[One of my|Two of my|Some of my] {w.pick(hero.wares)}.")
        w.say(f"{other}, who was {other.trait}, [nodded|laughed|agreed] and [fetched|brought] the {missing}.")
    w.paragraph()
    w.say(f"[At home|Back in the kitchen] {hero} {steps[0]} and {steps[1]}. Then {hero.he} {steps[2]}, and finally {hero.he} {steps[3]}.")
    if w.chance(0.3):
        w.say(f"[Because {hero.he} was {hero.trait}|As always], {hero.he} [tasted it {number(w.integer(2, 6))} times|added a little salt|let nobody into the kitchen].")
    plates = guests + 1 + (answer == "yes")
    w.say(f"When the {dish} was ready, there were {number(plates)} plates on the table: {number(guests)} for the guests, one for {hero}"
          + (f" and one for {other}." if answer == "yes" else "."),
          f"[Nobody left a crumb|Everybody asked for more|They ate until the moon was up|The guests sang on the way home].")
    s.moral()
    w.fact(f"What did {hero} cook?", f"{hero} made {dish}.")
    w.fact("What was missing?", f"There {be} no {missing} in the house.")
    w.fact("How many plates were on the table?", f"There were {number(plates)} plates.")
    return f"[{dish} for {number(guests)}|{hero} makes {dish}|The missing {missing}]"


def animal(s):
    w, hero, other = s.w, s.hero, s.other
    kind = w.pick(ANIMALS)
    sound, food, bed = ANIMALS[kind]
    colour = w.pick(["white", "black", "brown", "gray"])
    pet = w.pick(PETS)
    spot = w.pick(SPOTS)
    s.opening()
    s.weather_line()
    w.say(f"{spot} {hero} [found|came upon|saw] a {colour} {kind}. It [was thin and wet|had hurt its foot|shivered|looked lost] and {sound}.")
    w.speak(hero, f"[Where do you come from|Who are you|What are you doing here]?")
    w.say(f"But the {kind} only {sound} again.")
    w.paragraph()
    w.say(f"{hero} carried it home [in a basket|under one arm|in a coat] and gave it {food}.",
          f"{capital(hero.he)} called it {pet}. At night {pet} slept {bed}.")
    if w.chance(0.5):
        w.say(f"[Soon|After a week] {pet} [followed {hero.him} everywhere|knew the way to the {hero.place}|waited at the gate every evening].")
    owner = w.chance(0.5)
    w.paragraph()
    if owner:
        w.say(f"[One morning|After {number(w.integer(2, 9))} days|On {w.pick(DAYS)}] {other} the {other.trade} [knocked|came to the door|stopped at the fence].")
        w.speak(other, f"[I have lost a {kind}|My {kind} ran away]. It is {colour} and likes {food}.")
        w.say(f"{hero} [was sad|swallowed hard|did not want to answer], but {hero.he} [opened the door|called {pet}|showed {other} the {kind}].")
        if w.chance(0.5):
            w.say(f"The {kind} {sound} and ran to {other}. [Since then|From then on] {hero} visited {pet} every {w.pick(DAYS)}.")
            w.fact(f"Who was the owner of the {kind}?", f"{other} the {other.trade}.")
        else:
            w.say(f"The {kind} {sound} and hid behind {hero}.")
            w.speak(other, f"[It has chosen|I see how it is]. Keep it, {hero}.")
            w.fact(f"Who kept the {kind}?", f"{hero} kept it.")
    else:
        w.say(f"One night [thieves|two thieves|a thief] came to {s.town.name}. {pet} {sound} so loudly that [the whole street woke up|even {other} the {other.trade} woke up].",
              f"[Since then|From that night on] nobody in {s.town.name} said a bad word about the {colour} {kind}[| of the {hero.trade}].")
    s.moral()
    w.fact(f"What was the {kind} called?", f"It was called {pet}.")
    w.fact(f"Where did {hero} find the {kind}?", f"{capital(spot)}.")
    w.fact(f"What did {pet} eat?", f"{pet} ate {food}.")
    w.fact(f"What color was {pet}?", f"{pet} was {colour}.")
    return f"[The {colour} {kind}|{hero} and {pet}|A {kind} called {pet}]"


def contest(s):
    w, hero, other = s.w, s.hero, s.other
    name = w.pick(CONTESTS)
    verb, unit, low, high, praise = CONTESTS[name]
    third = w.person()
    people = w.pick_some([hero, other, third], 3)
    scores = w.pick_some(range(low, high + 1), 3)
    prize = w.pick(PRIZES)
    best = min if unit == "minutes" else max
    winner = people[scores.index(best(scores))]
    loser = people[scores.index((max if unit == "minutes" else min)(scores))]
    s.opening()
    w.say(f"Every {s.season} there is a {name} in {s.town.name}. The prize that year was {prize}.",
          f"[Three people|Only three people] [had put down their names|dared to take part]: {people[0]} the {people[0].trade}, "
          f"{people[1]} the {people[1].trade} and {people[2]} the {people[2].trade}.")
    s.weather_line()
    w.speak(hero, f"[Today I will win|I have practiced all year|I only want to take part|May the best one win].")
    w.paragraph()
    for person, score in zip(people, scores):
        if name == "pumpkin show":
            w.say(f"{person}'s pumpkin weighed {score} {unit}.")
        else:
            w.say(f"{person} {verb} {score} {unit}[|, and {'the crowd clapped' if w.chance(0.5) else 'somebody whistled'}].")
        w.fact(f"What was {person}'s result?", f"{score} {unit}.")
    w.paragraph()
    w.say(f"So {winner} won, for {winner.he} {praise}. {loser} came last.",
          f"{winner} [carried home|was given|took] {prize}, and [the band played|everybody cheered|the bells rang].")
    w.speak(loser, "[Next year I will be back|It was a good day all the same|I was never any good at this|I want to see that again].", 0.6)
    s.moral()
    w.fact("Who won?", f"{winner} the {winner.trade} won.")
    w.fact("Who came last?", f"{loser} came last.")
    w.fact("What was the prize?", f"The prize was {prize}.")
    return f"[The {name}|The {name} of {s.town.name}|{hero} and the {name}]"


def letter(s):
    w, hero, other, town = s.w, s.hero, s.other, s.town
    third = w.person()
    thing, kind, _ = w.thing()
    dish = w.pick(DISHES)
    w.setting = None   # the writer of a letter does not look at themselves from outside
    w.say(f"Dear {other},")
    w.paragraph()
    w.say(f"[I am writing to you from|Greetings from] {town.name}, {w.pick([f'a {town.size} on the river {town.river}', f'where they make the best {town.known_for}' if town.known_for not in ('apples', 'salt') else f'where you get the best {town.known_for}'])}.",
          f"It was {s.season} when I came, and {s.sign}. [Yesterday|On the second day] {s.weather}, and {s.effect}.",
          f"[From my window I see|Opposite the house there is|In the middle of the {town.size} there is] {town.landmark}.")
    w.paragraph()
    w.say(f"[I live|I am staying] with {third}, a {third.trade} of {third.age}. They say that {third.he} is {third.trait}, and it is true: "
          f"{third.he} {third.habit}[| before I came|, even at supper| last week]." if w.chance(0.5) else
          f"I work in the {third.place} of {third}, who is a {third.trait} {third.trade}. Today we {third.works} until dark.")
    w.say(f"[In the evening|On {w.pick(DAYS)}] we eat {dish}, and then {third} [tells stories|plays the flute|falls asleep in the chair|talks about the old days].",
          f"[Do you still have|Have you found|Are you taking good care of] the {thing}? [I often think of it|{third} would like to see it|You must bring it when you come].")
    w.paragraph()
    visit = w.pick(["spring", "summer", "autumn", "winter"])
    w.say(f"[Please come and see us in {visit}|I hope to be home in {visit}]. [Give my love to everyone|Do not forget to write|The geese are well, too].",
          f"Your friend, {hero}")
    w.fact("Who wrote the letter?", f"{hero} wrote it.")
    w.fact("Who is the letter for?", f"It is for {other}.")
    w.fact(f"What is {third}'s trade?", f"{third} is a {third.trade}.")
    w.fact(f"On which river is {town.name}?", f"On the {town.river}.")
    w.fact(f"What does the letter ask about?", f"It asks about the {thing}.")
    return f"[A letter from {town.name}|A letter to {other}|{hero} writes to {other}]"


def portrait(s):
    w, town, hero, other = s.w, s.town, s.hero, s.other
    w.setting = None   # told in the present
    third = w.person()
    houses = w.integer(21, 99)
    w.say(w.pick([f"{town.name} is a {town.size} of {houses} houses on the river {town.river}.",
                  f"On the river {town.river} lies {town.name}, a {town.size} of {houses} houses."]),
          f"[Travelers|Strangers|Visitors] [notice|see] {town.landmark} first, and then they [buy|ask for] {town.known_for}.",
          f"[I was there in {s.season}|I last saw it in {s.season}], when {s.sign}[, and did not want to leave|, and everybody was outdoors|].")
    w.paragraph()
    for who, link in ((hero, "[The first house on the left|The house by the bridge|The white house] belongs to"),
                      (other, "[Next door|Across the street|Two doors further] is the house of"),
                      (third, "[At the end of the road|Behind the church|On the hill] stands the home of")):
        w.say(f"{link} {who}, the {who.trade}. " + w.pick([
            f"{capital(who.he)} is {who.age} years old and {who.trait}.",
            f"{capital(who.he)} sells {w.pick(who.wares)} and keeps a {w.pick(ANIMALS)}.",
            f"You will know {who.him} by the {w.pick(who.tools)} in {who.his} hand.",
        ]))
        w.fact(f"Who is {who}?", f"{who} is the {who.trade}.")
    w.paragraph()
    oldest = max((hero, other, third), key=lambda p: p.age)
    if len({hero.age, other.age, third.age}) == 3:
        w.say(f"{hero} is {hero.age}, {other} is {other.age} and {third} is {third.age}, so {oldest} is the oldest of the three.")
        w.fact("Who is the oldest?", f"{oldest} is the oldest.")
    w.say(f"[On Sundays|In the evenings|Once a month] they [play cards|drink tea|sing|argue about the weather] [at {oldest}'s table|{w.pick(SPOTS)}].")
    s.moral()
    w.fact(f"How many houses are there in {town.name}?", f"There are {houses} houses.")
    w.fact(f"Which river runs through {town.name}?", f"The {town.river}.")
    return f"[{town.name}|A walk through {town.name}|The people of {town.name}]"


def lesson(s):
    w, hero, other = s.w, s.hero, s.other
    w.say(f"[{hero} the {hero.trade} was teaching {other} to count.|In {s.town.name} {hero} taught sums to {other}, who wanted to become a {hero.trade}.]",
          f"{hero} was a {hero.trait} teacher and {other} was a {other.trait} student.",
          f"[It was {s.season}, and outside {s.weather}.|They sat {w.pick(SPOTS)}.|]")
    for _ in range(w.integer(2, 4)):
        w.paragraph()
        (one, many) = w.pick(PRODUCE)
        kind = w.pick(["add", "take", "share", "times"])
        if kind == "add":
            a, b = w.integer(2, 12), w.integer(2, 12)
            ask, result = f"If you have {count(a, one, many)} and I give you {number(b)} more, how many do you have?", a + b
        elif kind == "take":
            a = w.integer(5, 20)
            b = w.integer(1, a - 2)
            ask, result = f"A {s.w.pick(list(TRADES))} has {count(a, one, many)} and sells {number(b)}. How many are left?", a - b
        elif kind == "share":
            b, each = w.integer(2, 5), w.integer(2, 6)
            ask, result = f"{capital(number(b))} friends share {count(b * each, one, many)}. How many does each of them get?", each
        else:
            a, b = w.integer(2, 6), w.integer(2, 9)
            ask, result = f"There are {number(a)} baskets with {count(b, one, many)} in each. How many {many} are there?", a * b
        w.say(f'"{ask}" [asked {hero}|{hero} asked].')
        if w.chance(0.25):
            wrong = result + w.pick([-1, 1, 2])
            w.say(f'"{capital(number(wrong))}," said {other} {other.manner}.', f'"No," said {hero} {hero.manner}. "[Count again|Think once more|Take your time]."',
                  f'{other} [counted on {other.his} fingers|closed {other.his} eyes|drew lines in the sand]. "{capital(number(result))}!"')
        else:
            w.say(f'"{capital(number(result))}," said {other}[| {other.manner}].')
        w.say(f'"[Right|That is right|Correct|Good]," said {hero}.')
    w.paragraph()
    w.say(f"[After the lesson|At the end] {hero} gave {other} {w.pick(PRIZES)}[, because {other.he} had earned it|].")
    w.fact("Who was the teacher?", f"{hero} the {hero.trade} was the teacher.")
    w.fact("Who was the student?", f"{other} was the student.")
    return f"[A lesson in {s.town.name}|{other} learns to count|The {hero.trait} teacher]"


def diary(s):
    w, hero, other = s.w, s.hero, s.other
    s.opening()
    goal = w.pick(hero.wares)
    total = w.integer(12, 40)
    w.say(f"{hero} had promised {other} the {other.trade} {number(total)} {goal}, and this is what {hero.he} wrote in {hero.his} diary.")
    done = 0
    w.setting = None   # a diary has its own asides
    day = w.integer(0, 6)
    while done < total:
        w.paragraph()
        made = min(w.integer(3, 12), total - done)
        made += total - done - made == 1   # "one crabs" is no English
        done += made
        season_weather, effect = w.pick(WEATHER[s.season])
        w.say(f"{DAYS[day % 7]}. {capital(season_weather)}. " + w.pick([
            f"I finished {number(made)} {goal}, which makes {number(done)}.",
            f"Today {number(made)}. Now I have {number(done)} {goal}.",
            f"Made {number(made)} more, so there are {number(done)}.",
        ]) + w.pick(["", "", f" My {w.pick(hero.tools)} needs care.", f" {other} looked in and [smiled|frowned|said nothing].", " I am tired.",
                     f" For supper there was {w.pick(DISHES)}.", f" The {w.pick(ANIMALS)} kept me company."]))
        day += 1
    w.paragraph()
    last = DAYS[(day - 1) % 7]
    w.say(f"On {DAYS[day % 7]} {hero} [brought|carried] all {number(total)} {goal} to {other}, who [counted them twice|could hardly believe it|paid at once].")
    s.moral()
    w.fact(f"How many {goal} did {hero} make?", f"{capital(number(total))}.")
    w.fact("On which day was the work finished?", f"On {last}.")
    w.fact(f"Who had ordered the {goal}?", f"{other} the {other.trade}.")
    return f"[{hero}'s diary|{capital(number(total))} {goal}|A week in the {hero.place}]"


def quarrel(s):
    w, hero, other = s.w, s.hero, s.other
    judge = w.person()
    thing, kind, why = w.thing()
    mark = w.pick(["a small star", "a crescent moon", "three dots", "a tiny fish", "the letter {0}", "a deep scratch", "two crossed lines", "a leaf"])
    mark = mark.format(hero.name[0])
    s.opening()
    w.say(f"{hero} [owned|had] a {thing} with {mark} on the [bottom|back|inside]. {capital(hero.he)} loved it, because {why}.",
          f"One [day|evening] it disappeared[|, and nobody knew how].")
    w.paragraph()
    w.say(f"A [week|month] later {hero} saw the {kind} in the hands of {other}, a {other.trait} {other.trade}.")
    w.speak(hero, f"[That {kind} is mine|Give me back my {kind}]!")
    w.speak(other, f"[I found it {w.pick(SPOTS)}|I bought it at the market|It has always been mine].")
    w.say(f"They [argued|shouted|quarreled] until {judge} the {judge.trade} came, [whom everybody trusted|who was known to be {judge.trait}].")
    w.paragraph()
    w.say(f"{judge} [took the {kind}|covered the {kind} with a cloth|held the {kind} behind {judge.his} back].")
    w.speak(judge, f"[Let each of you tell me|Tell me, both of you,] what mark is on it.")
    wrong = w.pick(m for m in ["a flower", "a cross", "a crown", "nothing at all", "a bird"])
    w.say(f'"[There is|I remember] {wrong}," said {other}.', f'"{capital(mark)}," said {hero}.',
          f"{judge} [turned the {kind} over|looked closely|held it to the light]. The mark was {mark}.",
          f"So {hero} got the {thing} back, and {other} [blushed|went home without a word|asked to be forgiven|bought everybody a drink].")
    s.moral()
    w.fact(f"What mark was on the {kind}?", f"{capital(mark)}.")
    w.fact("Who was the judge?", f"{judge} the {judge.trade}.")
    w.fact(f"To whom did the {kind} belong?", f"It belonged to {hero}.")
    return f"[The quarrel about the {kind}|Whose {kind}?|The {thing} with {mark}]"


def gift(s):
    w, hero, other = s.w, s.hero, s.other
    third = w.person()
    thing, kind, why = w.thing()
    colour = w.pick(COLOURS)
    spot = w.pick(SPOTS)
    age = hero.age + 1
    s.opening()
    w.say(f"In {s.season} {hero} was going to be {age}, and {other} the {other.trade} and {third} the {third.trade} wanted to [surprise {hero.him}|give {hero.him} something].")
    w.speak(other, f"[What does {hero.he} need|What would {hero.he} like]?")
    w.speak(third, f"[{capital(hero.he)} has always wanted|Last week {hero.he} talked about] a {thing}.")
    w.say(f"So {third} [went to|rode to] {w.pick(PLACE_HEADS)}{w.pick(PLACE_TAILS)} and bought one, and {other} tied a {colour} ribbon around it.",
          f"They hid it {spot}.")
    w.paragraph()
    s.weather_line()
    w.say(f"{hero} [suspected nothing|knew nothing about it|had forgotten the day]. [In the morning|At noon] there was a note on the door of the {hero.place}: "
          f'"[Look|Go and look] {spot}."',
          f"{hero}, who was {hero.trait}, [went there at once|read it twice and went|laughed and went], and there {hero.he} found a parcel with a {colour} ribbon.")
    w.speak(hero, f"A {thing}! [How did you know|Who told you]?")
    w.say(f"[Behind the wall|Behind a bush|From above] {other} and {third} began to sing.")
    s.moral()
    w.fact(f"What was the present?", f"It was a {thing}.")
    w.fact(f"What color was the ribbon?", f"The ribbon was {colour}.")
    w.fact(f"How old was {hero} on the day of the present?", f"{capital(hero.he)} was {age}.")
    w.fact("Where was the present hidden?", f"It was hidden {spot}.")
    return f"[The {colour} ribbon|A present for {hero}|{hero} turns {age}]"


def garden(s):
    w, hero, other = s.w, s.hero, s.other
    one, many = w.pick([p for p in PRODUCE if p[0] in ("onion", "turnip", "pumpkin", "cabbage", "melon", "radish")])
    rows, each = w.integer(2, 6), w.integer(3, 9)
    total = rows * each
    lost = w.integer(1, total // 3)
    thief = w.pick(["the snails", "the crows", "a goat", "a hard frost", "a rabbit", "the hail"])
    s.opening()
    w.say(f"Behind the house {hero} [had|kept] a small garden. In spring {hero.he} planted {number(rows)} rows of {many}, {number(each)} in each row, {number(total)} in all.",
          f"In summer {w.pick(WEATHER['summer'])[0]}, and {hero} [carried water from the {s.town.river}|pulled weeds every morning|put up a scarecrow in an old coat].",
          f"But {thief} [took|destroyed] {number(lost)} of them, so {number(total - lost)} were left.")
    w.speak(other, f"[You should build a fence|That is how it goes|In my garden that never happens], {hero}.", 0.5)
    w.paragraph()
    gave = w.integer(1, total - lost - 1)
    w.say(f"In autumn {hero} [brought in|harvested] the {total - lost if total - lost > 20 else number(total - lost)} {many}. {capital(hero.he)} gave {number(gave)} to {other} the {other.trade} and kept {number(total - lost - gave)}.",
          f"In winter, when {w.pick(SEASON_SIGN['winter'])}, there was [soup|hot soup|stew] from [the|their] {many} on both tables.")
    s.moral()
    w.fact(f"How many {many} did {hero} plant?", f"{capital(number(total))}.")
    w.fact(f"What happened to some of the {many}?", f"{capital(thief)} took {number(lost)} of them.")
    w.fact(f"How many {many} did {hero} keep?", f"{capital(hero.he)} kept {number(total - lost - gave)}.")
    return f"[{hero}'s garden|{capital(number(rows))} rows of {many}|The {many} of {s.town.name}]"


def drill(seed, split):
    """A note in which nearly every sentence repeats names, things and towns from the ones before it.

    Stories repeat a name every thirty words, which is too seldom for a small model to find out soon that names are copied.
    """
    w = Writer(seed, split)
    towns = [Town(head + w.pick(PLACE_TAILS)) for head in w.pick_some(PLACE_HEADS, 2)]
    people = [w.person(first=True, town=towns[0])] + [w.person() for _ in range(w.integer(1, 2))]
    things = [w.thing()[0] for _ in people]
    w.say("[" + "|".join([f"{joined([f'{p} the {p.trade}' for p in people])} met in {towns[0].name}.",
                          " ".join(f"{p} was a {p.trade}." for p in people) + f" They lived in {towns[0].name}."]) + "]",
          *(f"{p} had a {thing}." for p, thing in zip(people, things)))
    for _ in range(w.integer(4, 7)):
        one, two = w.pick_some(people, 2)
        thing = things[people.index(one)]
        w.say(w.pick([
            f"{one} [thanked|greeted|knew|helped] {two}.", f'"[Good morning|Come in|Wait|Listen], {two}," said {one}.',
            f"{one} showed {two} the {thing}.", f"{two} [looked at|asked about|praised] the {thing} of {one}.",
            f"{one} the {one.trade} [laughed|slept|sang|waited], but {two} the {two.trade} did not.",
            f"{one} wanted to leave {towns[0].name} and go to {towns[1].name} with {two}.",
            f"{two} had never been to {w.pick(towns).name}.", f"{one} the {one.trade} was {one.trait}, and {two} was not {one.trait}.",
        ]))
    for p, thing in zip(people, things):
        w.fact(f"What did {p} have?", f"{p} had a {thing}.")
        w.fact(f"Who had the {thing}?", f"{p} had it.")
        w.fact(f"What was {p}'s trade?", f"{p} was a {p.trade}.")
    w.fact("Where did they meet?", f"In {towns[0].name}.")
    return w.text("A note")


PLOTS = [lost_and_found, market, journey, repair, cooking, animal, contest, letter, portrait, lesson, diary, quarrel, gift, garden]


def story(seed, split):
    """One story and the nats its choices cost, used or not."""
    writer = Writer(seed, split)
    setting = Story(writer)
    title = writer.pick(PLOTS)(setting)
    return writer.text(writer.expand(title)), writer.nats


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--split", choices=SPLIT_SEED, default="train")
    parser.add_argument("--first", type=int, default=0, help="first seed")
    parser.add_argument("--stories", type=int, help="how many stories")
    parser.add_argument("--bytes", type=int, help="stop before the text gets longer than this")
    parser.add_argument("--output", help="file to write (default: standard output)")
    args = parser.parse_args()
    if args.stories is None and args.bytes is None:
        args.stories = 3
    texts, size, nats, seed = [], 0, 0.0, args.first
    while args.stories is None or len(texts) < args.stories:
        text, cost = story(seed, args.split)
        if args.bytes is not None and size + len(text.encode()) + 1 > args.bytes:
            break
        texts.append(text)
        size += len(text.encode()) + 1
        nats += cost
        seed += 1
    with open(args.output, "w", encoding="utf-8") if args.output else sys.stdout as file:
        file.write("\n".join(texts))
    print(f"{len(texts)} stories, {size} bytes, choices cost {nats / max(size, 1):.4f} nats per byte", file=sys.stderr)


if __name__ == "__main__":
    main()
