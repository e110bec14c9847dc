"""The words of the bookshop, by theme and by hour."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

__all__ = ["ASIDES", "HOUR_WORDS", "THEME_WORDS", "HourWords", "ThemeWords"]


@dataclass(frozen=True, slots=True)
class ThemeWords:
    """Words of a theme; heroes and deeds fit together as ``hero deed``."""

    heroes: tuple[str, ...]
    things: tuple[str, ...]
    places: tuple[str, ...]
    adjectives: tuple[str, ...]
    deeds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class HourWords:
    """Words of an hour: for titles, and whole sentences for descriptions."""

    names: tuple[str, ...]
    sentences: tuple[str, ...]


def _theme(heroes: str, things: str, places: str, adjectives: str, deeds: str) -> ThemeWords:
    return ThemeWords(*(tuple(words.split(", ")) for words in (heroes, things, places, adjectives, deeds)))


THEME_WORDS: Mapping[str, ThemeWords] = MappingProxyType(
    {
        "Sea tales": _theme(
            "lighthouse keeper, harbour pilot, ship's cook, net mender, smuggler, sailmaker, whaler's widow, cabin boy",
            "anchor, drowned bell, tide table, sea chest, spyglass, foghorn, message in a bottle, storm lantern, compass, shanty",
            "Saltmere, Gull Point, Port Orrin, the Skerry Rocks, Low Quay, Marrow Bay, Hallick Sound, the Grey Strand",
            "salt-worn, windward, drifting, tide-bound, weatherbeaten, seaworthy, becalmed, briny",
            "follows a drowned bell out past the breakwater, signs on to a ship that is never seen in harbour, keeps the lamp lit through forty nights of storm, finds a chart drawn on sailcloth, owes a debt to the tide, reads the wreck like a letter",
        ),
        "Mountain walks": _theme(
            "shepherd, guide, cartographer, muleteer, hermit, surveyor, hut warden, goatherd",
            "summit book, rope, cairn, pass, walking stick, avalanche bell, glacier, ridge path, edelweiss, hut key",
            "Karrenhorn, the Upper Val, Sennegrat, Mount Ilvar, the Blue Saddle, Tarn Edge, Hochwald Pass, Windle Peak",
            "steep, snow-capped, high, craggy, footsore, thin-aired, granite, unclimbed",
            "crosses the pass a week before the snow, walks from hut to hut with a borrowed map, builds a cairn for everyone who turned back, hears a bell above the tree line, counts the peaks and always finds one more, carries the post over the ridge",
        ),
        "City lights": _theme(
            "tram driver, night porter, window cleaner, newspaper boy, taxi dancer, lift operator, jazz pianist, rooftop gardener",
            "neon sign, last train, fire escape, telephone box, skyline, ticket, elevator, back alley, jukebox, penthouse key",
            "Ninth Avenue, Lower Brandt, the Meridian Hotel, Foundry Square, Platform Six, Old Exchange, Vesper Street, the East Towers",
            "neon, sleepless, crowded, rain-lit, underground, metropolitan, electric, forty-storey",
            "rides the last tram to the end of the line, knows every window that stays lit, finds a key to a floor that is on no plan, waits for a call in a telephone box, meets the same stranger at every crossing, plays until the cleaners come",
        ),
        "Garden lore": _theme(
            "head gardener, beekeeper, botanist, herb wife, seed collector, orchardist, hedge trimmer, rose breeder",
            "potting shed, walled orchard, beehive, seed drawer, sundial, rose, greenhouse, compost heap, watering can, hedge maze",
            "Thornbury Lodge, the Kitchen Beds, Larkmeadow, Petal Court, Old Orchard, Quince Hall, Marigold Lane, the South Border",
            "blooming, overgrown, fragrant, green-fingered, perennial, bee-loud, rambling, mossy",
            "inherits a garden that nobody may prune, grafts a pear on to a rose, learns the names of weeds, keeps bees that know a secret, plants by the moon and is usually right, digs up a tin box under the medlar",
        ),
        "Clockwork": _theme(
            "clockmaker, apprentice, automaton, tinkerer, locksmith, bell founder, toymaker, engineer",
            "mainspring, brass heart, pendulum, music box, cogwheel, escapement, tin soldier, winding key, orrery, steam whistle",
            "Cog Lane, the Brass Quarter, Tick Hall, Pendle Works, the Hall of Hours, Spring Street, Great Foundry, Regulator House",
            "mechanical, brass, wound-up, ticking, intricate, oiled, unhurried, automatic",
            "repairs a clock that runs before its time, builds a bird that sings only the truth, hides a letter among the gears, winds the town every Sunday, teaches an automaton to play chess badly, swears the thirteenth hour exists",
        ),
        "Star maps": _theme(
            "astronomer, comet hunter, night watcher, lens grinder, navigator, moon surveyor, stargazer, observatory cat",
            "telescope, comet, constellation, ringed planet, star atlas, meteor, eclipse, orbit, lunar sea, astrolabe",
            "Zenith Hill, the Far Observatory, Lyra Station, Mare Tacitum, the Seventh Orbit, Altair Deep, Meridian Dome, Perihel",
            "celestial, distant, ringed, orbiting, lightless, sidereal, radiant, uncharted",
            "names a star and loses it again, grinds a lens for eleven years, measures the silence between two moons, redraws a constellation to please a friend, follows a comet round the world, answers a light that blinks back",
        ),
        "Desert roads": _theme(
            "caravan leader, mapmaker, well digger, motorcyclist, salt trader, storyteller, fuel seller, camel doctor",
            "mirage, dry well, dune, salt road, caravan, water skin, petrol pump, cactus, sandstorm, mesa",
            "Tamarek, the Red Erg, Mirage Junction, Wadi Sel, the Empty Mile, Copper Mesa, Dust Creek, Oasis Nine",
            "sun-bleached, sandblown, thirsty, endless, dusty, scorched, nomad, wind-carved",
            "drives a road that the sand moves every night, trades stories for water, follows a caravan that left no tracks, digs where the acacia leans, runs a petrol station without a road, mends an engine with date palm rope",
        ),
        "Winter hearth": _theme(
            "grandmother, woodcutter, baker, ice skater, sledge driver, letter carrier, fiddler, chimney sweep",
            "stove, snow globe, woollen sock, sledge, spiced loaf, icicle, patchwork quilt, firewood, candle, frozen lake",
            "Frostholm, the Last Cottage, Birch Hollow, Emberby, Snowfield Farm, Kettle Hill, Pinewick, the Ice Ferry",
            "snowbound, woollen, frosty, fireside, candle-lit, cinnamon, hushed, wintry",
            "keeps the kettle on for a guest who is three winters late, bakes the same loaf until it is right, takes the post across the frozen lake, knits a map of the valley, lets the fox in once, tells the long story on the longest evening",
        ),
        "Deep forest": _theme(
            "charcoal burner, fox, mushroom picker, ranger, owl, wood carver, foundling, moss witch",
            "hollow oak, lantern, antler, mushroom ring, fern, wolf track, cabin, old root, acorn, clearing",
            "Hollowood, the Fernway, Mosskirk, Owl Stand, the Thicket, Antler Ridge, Darkleaf, Bramble End",
            "tangled, mossy-green, whispering, rooted, antlered, shadowed, leafy, wild",
            "leaves the path on purpose, trades names with a fox, carves a door into a fallen oak, knows which mushrooms answer, tracks a wolf that walks upright, finds a lamp burning where nobody lives",
        ),
        "Sky voyages": _theme(
            "balloonist, kite maker, cloud shepherd, parachutist, aeronaut, weather girl, glider pilot, stowaway",
            "hot-air balloon, weather vane, cloud atlas, silk envelope, ballast, tailwind, kite, airship, barometer, feather",
            "Cumulus Field, Aerodrome Two, Highwind, the Jet Stream, Mooring Mast, Cirrus Landing, Featherby, Upper Nimbus",
            "airborne, striped, windblown, weightless, high-flying, cloud-soft, aerial, untethered",
            "crosses the channel with a cat and no ballast, sews a balloon out of wedding dresses, sells shade by the yard, wins a race by going up, lands in the wrong country to applause, maps the clouds and apologises to each",
        ),
        "River towns": _theme(
            "ferryman, bridge keeper, washerwoman, bargeman, innkeeper, miller, chimney painter, toll collector",
            "footbridge, barge, gable, mill wheel, towpath, canal lock, flood mark, market boat, ferry bell, cobbled quay",
            "Weirbridge, Oldlock, Tanner's Row, the Nine Gables, Millrace, Ferry Landing, Canal Street, Upper Sluice",
            "gabled, cobbled, riverside, half-timbered, slow-flowing, flood-marked, crooked, neighbourly",
            "takes anyone across for a story, paints the flood marks higher every year, rents a room above the mill, keeps the bridge and its gossip, falls in love by canal boat, finds the river running the other way",
        ),
        "Coral depths": _theme(
            "pearl diver, submarine captain, octopus, marine biologist, sponge fisher, turtle, mermaid's tailor, reef painter",
            "coral garden, diving bell, pearl, sea horse, porthole, sunken city, anemone, bathysphere, kelp forest, shoal",
            "Anemone Reef, the Blue Hole, Atoll Station, Kelp Gate, Lagoon Four, the Pearl Banks, Abyss Stairs, Old Bathys",
            "submerged, coral-pink, phosphorescent, deep-sea, bubbling, pearly, fathomless, aquatic",
            "counts the fish and is counted back, lives a year in a diving bell, learns patience from an octopus, follows a turtle home, mends the reef one branch at a time, hears a piano on the sea floor",
        ),
    }
)

HOUR_WORDS: Mapping[str, HourWords] = MappingProxyType(
    {
        "dawn": HourWords(
            ("Dawn", "First Light", "Sunrise", "Daybreak"),
            (
                "A tender book about beginnings, pink at the edges.",
                "Best read before breakfast, while the dew is out.",
                "Gentle and hopeful, it opens like a morning.",
                "An early, rosy story of fresh starts.",
            ),
        ),
        "day": HourWords(
            ("Noon", "High Noon", "Midday", "High Summer"),
            (
                "A sunny, cheerful adventure for the whole family.",
                "Bright and brisk, with a joke on every page.",
                "Clear as noon and just as warm.",
                "A merry, wide-awake tale under a blue sky.",
            ),
        ),
        "dusk": HourWords(
            ("Dusk", "Sunset", "Twilight", "Evening"),
            (
                "A wistful, golden novel about saying goodbye.",
                "Bittersweet and amber, for the end of the day.",
                "Long shadows, old friends and one last promise.",
                "A slow romance in the colours of sunset.",
            ),
        ),
        "night": HourWords(
            ("Midnight", "Moonrise", "Nightfall", "Starlight"),
            (
                "A dark, quiet mystery that will not let you sleep.",
                "Eerie and moonlit, best with the door locked.",
                "Something knocks after midnight, and someone answers.",
                "A suspenseful whisper of a book, full of shadows.",
            ),
        ),
    }
)

ASIDES = (
    "With a map inside the cover.",
    "The first of three.",
    "Translated from a language nobody admits to speaking.",
    "Illustrated throughout.",
    "Winner of the Paper Lantern prize.",
    "Short enough for one evening.",
    "A favourite of the shop's cat.",
    "Newly bound.",
)
