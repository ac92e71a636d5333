"""Word banks of the simulator: genres and themes with their words, plot templates and parts of names."""

from typing import NamedTuple


class Genre(NamedTuple):
    adjectives: tuple[str, ...]  # none starts with a vowel: sentences put "a" before them
    roles: tuple[str, ...]
    places: tuple[str, ...]


class Theme(NamedTuple):
    genre: str
    nouns: tuple[str, ...]


def _genre(adjectives: str, roles: str, places: str) -> Genre:
    return Genre(*(tuple(word.strip() for word in words.split(",")) for words in (adjectives, roles, places)))


GENRES = {
    "Action": _genre("relentless, battered, fearless", "bodyguard, stuntman, commando", "a sealed tower, the docks"),
    "Adventure": _genre("restless, weathered, bold", "explorer, sailor, pilot", "the high pass, a lost delta"),
    "Animation": _genre("tiny, squeaky, cheerful", "robot, hedgehog, paper knight", "a toy town, the cloud valley"),
    "Comedy": _genre("clumsy, boastful, hapless", "waiter, wedding planner, caretaker", "a seaside hotel, the office"),
    "Crime": _genre("crooked, tight-lipped, reckless", "detective, fixer, getaway driver", "the precinct, a pawn shop"),
    "Documentary": _genre("candid, patient, plain", "filmmaker, witness, archivist", "the archive, a fishing town"),
    "Drama": _genre("grieving, weary, stubborn", "teacher, nurse, farmer", "a mill town, the family house"),
    "Family": _genre("kind, mischievous, gentle", "schoolgirl, grandfather, puppy", "the treehouse, a summer camp"),
    "Fantasy": _genre(
        "cursed, hooded, moonlit", "sorceress, dragon rider, changeling", "the elder wood, a glass castle"
    ),
    "History": _genre("defiant, crowned, banished", "queen, chronicler, mason", "the old capital, a walled city"),
    "Horror": _genre("pale, whispering, hollow", "caretaker's widow, medium, priest", "a shuttered asylum, the cellar"),
    "Music": _genre(
        "sleepless, dazzling, tone-deaf", "singer, drummer, conductor", "a basement club, the conservatory"
    ),
    "Mystery": _genre("secretive, nameless, watchful", "librarian, lodger, inspector", "a fogbound island, the manor"),
    "Romance": _genre("lovesick, shy, tender", "florist, pen pal, bridesmaid", "a vineyard, the night train"),
    "Science Fiction": _genre(
        "synthetic, weightless, cloned", "android, astronaut, physicist", "a lunar base, the colony"
    ),
    "Thriller": _genre("hunted, paranoid, desperate", "courier, whistleblower, analyst", "the embassy, a parking deck"),
    "War": _genre("shell-shocked, drafted, loyal", "medic, deserter, sergeant", "the trenches, a bombed village"),
    "Western": _genre(
        "dusty, sunburnt, quick-handed", "gunslinger, sheriff, rancher", "a mining camp, the border saloon"
    ),
}

_THEMES = """
Action: martial arts: dojo master fist tournament bruise
Action: explosions: detonator bunker fireball helicopter countdown
Action: car chase: tyre motorway roadblock engine skid
Adventure: treasure hunt: map chest compass reef doubloon
Adventure: survival: glacier raft flare wilderness avalanche
Animation: talking animals: burrow acorn paw meadow whisker
Animation: toys: puppet button marble spinning-top dollhouse
Comedy: mistaken identity: wig alias mix-up disguise doorbell
Comedy: workplace: photocopier memo promotion stapler canteen
Comedy: road trip: caravan motel hitchhiker postcard suitcase
Crime: heist: vault safe alarm loot blueprint
Crime: organised crime: cartel godfather racket betrayal ledger
Crime: police procedural: warrant stakeout fingerprint badge confession
Documentary: nature: herd migration coral canopy tundra
Documentary: true story: testimony footage headline interview transcript
Drama: coming of age: diary graduation bicycle crush curfew
Drama: illness: hospital diagnosis ward heartbeat farewell
Drama: family secrets: inheritance letter sibling attic will
Family: friendship: sleepover promise kite handshake treehouse
Family: holidays: snowman stocking sleigh mistletoe carol
Fantasy: magic: wand spell grimoire potion familiar
Fantasy: mythical creatures: dragon griffin lair talon unicorn
Fantasy: prophecy: oracle throne omen bloodline relic
History: royalty: crown court regent coronation dowry
History: revolution: barricade manifesto guillotine uprising banner
Horror: haunted house: poltergeist staircase seance mirror nursery
Horror: vampires: coffin fang crypt garlic bat
Horror: zombies: outbreak horde quarantine bite mall
Music: band: guitar tour encore setlist drumkit
Music: dance: ballet rehearsal slipper stage choreography
Mystery: whodunit: alibi butler poison clue parlour
Mystery: amnesia: photograph scar notebook stranger flashback
Romance: first love: kiss locket serenade valentine carousel
Romance: second chance: wedding ex-wife reunion vow bouquet
Romance: forbidden love: balcony elopement feud masquerade sonnet
Science Fiction: space travel: starship airlock wormhole orbit beacon
Science Fiction: artificial intelligence: algorithm circuit mainframe upload prototype
Science Fiction: time travel: paradox timeline portal hourglass loop
Science Fiction: dystopia: ration checkpoint regime implant informer
Thriller: espionage: dossier agent cipher microfilm safehouse
Thriller: conspiracy: cover-up leak senator wiretap shredder
Thriller: stalker: voicemail shadow binoculars lock footstep
War: battlefield: trench bayonet artillery foxhole retreat
War: homefront: telegram rationing blackout factory siren
War: resistance: saboteur transmitter forgery courier partisan
Western: outlaws: revolver bounty noose stagecoach hideout
Western: frontier: homestead cattle wagon prairie railroad
Western: revenge: grave duel brother whiskey reckoning
"""


def _theme(line: str) -> tuple[str, Theme]:
    genre, name, nouns = (part.strip() for part in line.split(":"))
    return name, Theme(genre, tuple(nouns.split()))


THEMES = dict(_theme(line) for line in _THEMES.strip().splitlines())

# The sentences of a plot: {role}, {adjective} and {place} are words of a genre, {0}, {1} ... each of a theme.
OPENINGS = (
    "In {place}, a {adjective} {role} stumbles on the {0} and the {1}.",
    "A {adjective} {role} leaves {place} with nothing but a {0} and the memory of a {1}.",
    "For years the {role} of {place} kept the {0} hidden, until the {1} brings a {adjective} visitor.",
    "Nobody in {place} believes the {adjective} {role} who saw the {0} beside the {1}.",
)
TURNS = (
    "When the {2} goes missing, only the {3} can explain why.",
    "But the {2} has a price, and the {3} is part of it.",
    "Soon the {2} draws everyone towards the {3}, and there is no way back.",
    "Then a {role} arrives with the {2}, and the {3} changes everything.",
)
ENDINGS = (
    "It all comes down to the {4}, the {5} and one last {6}.",
    "Between the {4} and the {5}, the truth about the {6} comes out.",
    "What begins with the {4} ends with the {5} and a {6} that nobody expected.",
    "Now the {4} must be found before the {5} and the {6} are lost for good.",
)
NOUNS_PER_PLOT = 7

TITLE_PATTERNS = (
    "The {adjective} {noun}",
    "The {noun} and the {other}",
    "{noun} of the {role}",
    "The {role}'s {noun}",
    "Beyond the {noun}",
    "The Last {noun}",
    "No {noun} for the {role}",
    "A {adjective} {role}",
    "The {other} Beneath the {noun}",
    "{adjective} {noun}",
    "Every {noun} Has Its {other}",
    "Return to the {noun}",
)

_FIRST_NAMES = """
Ada Akira Alma Amara Anders Anya Aron Bela Bianca Bruno Carmen Cato Cecil Clara Dario Delia Dina Edgar Elena Elias
Emil Esme Etta Farid Fiona Flora Gita Greta Gustav Hana Hector Hugo Ida Imani Ines Ivo Jasper Jonas Juno Kaito Katya
Kiran Lars Leila Lena Leon Lucia Mabel Magda Malik Marco Maren Mila Milo Mina Nadia Nico Nils Nora Odile Oren Otis
Pablo Petra Priya Quentin Rafael Rhea Rosa Rufus Sami Selma Silas Sofia Tariq Tessa Theo Uma Viggo Zora
"""
_SURNAME_STARTS = """
Ash Bell Bran Cald Cor Dal Dun Ever Fal Gar Hal Hart Holl Kel Lang Lind Mar Mor Nor Oak Pen Quill Ran Ross Sand Sten
Thorn Vale West Win
"""
_SURNAME_ENDS = """
er berg bridge by dale den ens feld ford gate ham ing ley low man mere more ner ridge son stad ton vik wick wood worth
"""
FIRST_NAMES = tuple(_FIRST_NAMES.split())
SURNAMES = tuple(start + end for start in _SURNAME_STARTS.split() for end in _SURNAME_ENDS.split())
